//! Recorded turns decided again, as a shell sees it: the same plan, or a difference that can be read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use insta::assert_snapshot;
use penstock::decide::Step;
use penstock::report::{FORMAT, Tick};
use serde_json::Value;

use crate::decide::story::{Given, World};
use crate::turns::Bench;

/// Exit code, standard output, standard error; the folder's own name is left out of both.
fn replay(folder: &Path, name: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    let output = command.arg("replay").arg(folder.join(name)).args(more).output().unwrap();
    let own = folder.display().to_string();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&own, "DIR");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Records three minutes of a stage under `given`: a stream to which a backlog comes. What runs is as it was decided.
async fn record(given: Given, folder: &Path) {
    let bench = Bench::recording(Some(folder.to_owned())).await;
    let mut world = World::new(given);
    world.arrive = 100;
    world.take = 100;
    while world.at < 180 {
        if world.at == 120 {
            world.bring(12_000);
        }
        let snapshot = world.snapshot();
        let step = world.decide(&snapshot);
        tell(&bench, snapshot, step);
        world.pass(2);
    }
    drop(bench.end().await);
}

fn tell(bench: &Bench, snapshot: penstock::decide::Snapshot, step: Step) {
    bench.report.tell(Tick {
        snapshot,
        step,
        glances: Vec::new(),
        took: Duration::from_micros(300),
        lateness: Duration::ZERO,
        trace: None,
        polls: BTreeMap::new(),
        refusals: BTreeMap::new(),
        pools: BTreeMap::new(),
        budgets: BTreeMap::new(),
    });
}

fn sized() -> Given {
    Given { objective: Some(60), rate: Some(50.0), startup: Some(5), ..Given::default() }
}

/// Sized by a threshold, as `policy` says: what is decided is plain.
fn threshold() -> Given {
    Given { per_replica: Some(1000.0), ..Given::default() }
}

/// The policy of `threshold`, with at most so many replicas.
fn policy(max: u32) -> String {
    format!(
        "
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {{name: orders, namespace: shop}}
spec:
  stages:
  - name: work
    target: {{kind: Deployment, name: work}}
    replicas: {{min: 1, max: {max}}}
    sources:
    - {{name: orders, kafka: {{bootstrapServers: 'kafka:9092', topics: [orders], group: work, perReplica: 1000}}}}
"
    )
}

#[tokio::test(start_paused = true)]
async fn a_terminal_shows_how_much_of_a_recording_was_read() {
    let folder = tempfile::tempdir().unwrap();
    record(sized(), folder.path()).await;
    let shown = crate::cli::shown(&["replay", folder.path().to_str().unwrap()]);
    assert!(shown.contains("0 % of the recording"), "{shown}");
    assert!(shown.contains("The same plan at every turn."), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_decided_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    record(sized(), folder.path()).await;
    let (code, out, error) = replay(folder.path(), "", &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert_snapshot!(out, @r"
    DIR/turns-000001.jsonl, recorded by Penstock 0.1.0: 90 turns of shop/orders, 2026-01-01 00:00:00 UTC to 2026-01-01 00:02:58 UTC.
    The same plan at every turn.
    ");
    assert_eq!(replay(folder.path(), "", &["--carry"]), (code, out, error));
}

/// Where recordings are kept, each in a folder that is named as a sentence.
const KEPT: &str = "tests/data/recordings";
/// The one that was made here, by `INSTA_UPDATE=always`: four minutes with a backlog, and the peace after it.
const BACKLOG: &str = "a_backlog_brings_replicas_and_the_window_gives_them_back";

async fn record_backlog(folder: &Path) {
    drop(std::fs::remove_dir_all(folder));
    let given = Given { partitions: Some(4), poll: Some(30), desired: Some(1), ..sized() };
    let bench = Bench::recording(Some(folder.to_owned())).await;
    let mut world = World::new(given);
    (world.arrive, world.take) = (30, 30);
    while world.at <= 240 {
        match world.at {
            60 => world.bring(6_000),
            90 => world.take = 1_000,
            _ => {}
        }
        let snapshot = world.snapshot();
        let step = world.decide(&snapshot);
        tell(&bench, snapshot, step);
        world.pass(30);
    }
    drop(bench.end().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_as_a_recording_moves_as_it_did() {
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        record_backlog(&Path::new(KEPT).join(BACKLOG)).await;
    }
    let folders: Vec<_> = std::fs::read_dir(KEPT).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(folders.iter().any(|folder| folder.ends_with(BACKLOG)), "{folders:?}");
    for folder in folders {
        let (code, out, error) = replay(&folder, "", &["-o", "json"]);
        assert!(matches!(code, Some(0 | 1)), "{}: {error}", folder.display());
        let told: Value = serde_json::from_str(&out).unwrap();
        assert!(5 < told["turns"].as_u64().unwrap(), "{told}");
        // Other reasons for the same moves are no harm.
        for difference in told["differences"].as_array().unwrap() {
            let moves = |side: &str| {
                let said = &difference[side];
                (said["replicas"].clone(), said["write"].clone())
            };
            assert_eq!(moves("before"), moves("after"), "{}: {difference}", folder.display());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_recording_of_a_backlog_is_short_moves_up_and_down_and_tells_of_no_machine() {
    let folder = Path::new(KEPT).join(BACKLOG);
    let text = std::fs::read_to_string(folder.join("turns-000001.jsonl")).unwrap();
    assert!(text.len() < 60 * 1024, "{} bytes", text.len());
    assert!(!text.contains("/home/") && !text.contains("/tmp/"), "it names a path");
    // By another policy each turn has another plan, so all that was written is told.
    let with = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(with.path(), policy(1)).unwrap();
    let with = with.path().to_str().unwrap();
    let (code, out, error) = replay(&folder, "", &["--with", with, "--all", "-o", "json"]);
    assert_eq!(code, Some(1), "{error}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let differences = told["differences"].as_array().unwrap().iter();
    let writes: Vec<_> = differences.filter_map(|it| it["before"]["write"].as_str()).collect();
    assert_eq!(writes, ["4 for 1", "1 for 4"], "{out}");
}

#[tokio::test(start_paused = true)]
async fn the_recorded_policy_as_a_manifest_is_the_same_policy() {
    let folder = tempfile::tempdir().unwrap();
    record(threshold(), folder.path()).await;
    let with = folder.path().join("same.yaml");
    std::fs::write(&with, policy(48)).unwrap();
    let (code, out, _) = replay(folder.path(), "", &["--with", with.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}");
}

#[tokio::test(start_paused = true)]
async fn another_policy_is_a_difference_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    record(threshold(), folder.path()).await;
    let with = folder.path().join("other.yaml");
    std::fs::write(&with, policy(3)).unwrap();
    let with = with.to_str().unwrap();
    let (code, out, error) = replay(folder.path(), "turns-000001.jsonl", &["--with", with]);
    assert_eq!((code, error.as_str()), (Some(1), ""));
    assert_snapshot!(out, @r"
        DIR/turns-000001.jsonl, recorded by Penstock 0.1.0: 90 turns of shop/orders, 2026-01-01 00:00:00 UTC to 2026-01-01 00:02:58 UTC.

        2026-01-01 00:02:00: shop/orders stage work
          replicas: 12 -> 3
          reasons: Threshold -> Threshold, AtMax
          writes: 12 for 1 -> 3 for 1
          - 12 replicas: orders stands at 12000, and each replica may have 1000
          + kept at max 3: 12 are wished

        2026-01-01 00:02:02 to 00:02:04, 2 turns: shop/orders stage work
          reasons: Threshold -> Threshold, AtMax, TooSoon
          - 12 replicas: orders stands at 12000, and each replica may have 1000
          + 3 replicas at 00:02:05 UTC: the last write is too young

        2026-01-01 00:02:06 to 00:02:58, 27 turns: shop/orders stage work
          replicas: 12 -> 3
          reasons: Threshold -> Threshold, AtMax
          writes: nothing -> 3 for 12
          - 12 replicas: orders stands at 12000, and each replica may have 1000
          + kept at max 3: 12 are wished

        30 of 90 turns have another plan.
        ");
    let (code, out, _) = replay(folder.path(), "", &["--with", with, "-o", "json"]);
    assert_eq!(code, Some(1));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["turns"], 90);
    assert_eq!(told["differences"][0]["stage"], "work");
    assert_eq!(told["differences"][0]["after"]["replicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_torn_last_line_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    record(sized(), folder.path()).await;
    let file = folder.path().join("turns-000001.jsonl");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    let (code, out, error) = replay(folder.path(), "", &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("89 turns"), "{out}");
    assert!(out.contains("The last line of DIR/turns-000001.jsonl is not whole and is left out."));
    let (_, out, _) = replay(folder.path(), "", &["-o", "yaml"]);
    assert!(out.contains("torn:"), "{out}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_recording_of_this_format_is_refused_with_a_hint_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("later.jsonl", r#"{"record":"start","format":7,"version":"9.9.9","soul":{}}"#);
    put("earlier.jsonl", r#"{"record":"start","version":"0.0.9","memory":{"pipelines":[]}}"#);
    put("notes.txt", "dear diary");
    put("empty.jsonl", "");
    let start = format!(
        r#"{{"record":"start","format":{FORMAT},"version":"0.1.0","memory":{{"pipelines":[]}}}}"#
    );
    put("broken.jsonl", &format!("{start}\n{{\"record\":\"turn\"}}\n{start}\n"));
    put("begun.jsonl", &format!("{start}\n"));
    let expected = [
        ("later.jsonl", "has format 7, and this Penstock reads format 1; hint: replay it with"),
        ("earlier.jsonl", "has format 0, and this Penstock reads format 1; hint: replay it with"),
        ("notes.txt", "is no recording of Penstock's"),
        ("empty.jsonl", "is no recording of Penstock's"),
        ("broken.jsonl", "line 2 cannot be read: missing field"),
        ("begun.jsonl", "holds no whole turn; hint: "),
        ("nowhere", "cannot read DIR/nowhere"),
        ("", "holds no recording; hint: its files are called turns-000001.jsonl"),
    ];
    for (name, words) in expected {
        let (code, out, error) = replay(folder.path(), name, &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{name}: {error}");
        assert!(error.contains(words) && error.contains("hint: "), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_policy_must_be_one_of_a_recorded_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    record(threshold(), folder.path()).await;
    let with = folder.path().join("other.yaml");
    for (text, words) in [
        (
            policy(3).replace("name: orders, namespace", "name: others, namespace"),
            "no pipeline shop/others",
        ),
        (policy(0), "spec.stages[0].replicas.max"),
        ("kind: Pod".to_owned(), "holds no ScaledPipeline"),
        ("a: [".to_owned(), "is no YAML"),
    ] {
        std::fs::write(&with, text).unwrap();
        let (code, out, error) = replay(folder.path(), "", &["--with", with.to_str().unwrap()]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_of_many_turns_stays_within_its_limit_and_can_be_replayed_from_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 512 << 10;
    let bench = Bench::recording_within(folder.path(), limit).await;
    let mut world = World::new(Given { partitions: Some(48), ..sized() });
    (world.arrive, world.take) = (100, 100);
    while world.at < 900 {
        let snapshot = world.snapshot();
        let step = world.decide(&snapshot);
        tell(&bench, snapshot, step);
        world.pass(2);
        // As many as wait at most are handed in before the disk is given its turn.
        if world.at % 100 == 0 {
            bench.wait(Duration::from_millis(10)).await;
        }
    }
    drop(bench.end().await);
    let mut names = Vec::new();
    let mut sum = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        sum += entry.metadata().unwrap().len();
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert!(sum <= limit && limit / 2 <= sum, "{sum} bytes in {names:?}");
    assert!(names[0] != "turns-000001.jsonl" && 4 <= names.len(), "{names:?}");
    for name in names.iter().map(String::as_str).chain([""]) {
        let (code, out, error) = replay(folder.path(), name, &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{name}: {out}");
    }
}

#[tokio::test(start_paused = true)]
async fn turns_that_the_disk_is_too_slow_for_are_lost_and_leave_no_false_difference() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    let mut world = World::new(sized());
    (world.arrive, world.take) = (100, 100);
    for _ in 0..2 {
        // Nothing is awaited, so nothing is written meanwhile.
        for _ in 0..400 {
            let snapshot = world.snapshot();
            let step = world.decide(&snapshot);
            tell(&bench, snapshot, step);
            world.pass(2);
        }
        bench.wait(Duration::from_millis(100)).await;
    }
    let metrics = bench.report.metrics().text().unwrap();
    let count = |result: &str| -> u32 {
        let name = format!("penstock_recorded_turns_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    };
    let (written, lost) = (count("written"), count("lost"));
    assert_eq!(written + lost, 800);
    assert!(0 < lost && 0 < written, "{written} {lost}");
    drop(bench.end().await);
    let (code, out, _) = replay(folder.path(), "", &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains(&format!("{written} turns")), "{out}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_no_number_can_be_recorded_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    let mut world = World::new(Given { gauge: Some(1.0), sources: Some(0), ..Given::default() });
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.5] {
        world.gauge = number;
        let snapshot = world.snapshot();
        let step = world.decide(&snapshot);
        tell(&bench, snapshot, step);
        world.pass(2);
    }
    drop(bench.end().await);
    let (code, out, error) = replay(folder.path(), "", &[]);
    assert_eq!(code, Some(0), "{out}{error}");
}

#[tokio::test(start_paused = true)]
async fn the_input_of_a_panic_is_a_recording_of_one_turn() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    let mut world = World::new(sized());
    let snapshot = world.snapshot();
    let mut step = world.decide(&snapshot);
    let message = "index out of bounds".to_owned();
    step.plan.verdicts[0].why = vec![penstock::decide::Reason::InternalError { message }];
    tell(&bench, snapshot, step);
    drop(bench.end().await);
    let (code, out, error) = replay(folder.path(), "panic-shop.orders.jsonl", &[]);
    assert_eq!((code, error.as_str()), (Some(1), ""));
    assert_snapshot!(out, @r"
        DIR/panic-shop.orders.jsonl, recorded by Penstock 0.1.0: 1 turn of shop/orders, 2026-01-01 00:00:00 UTC to 2026-01-01 00:00:00 UTC.

        2026-01-01 00:00:00: shop/orders stage work
          reasons: InternalError -> Steady
          - held: deciding this pipeline failed in Penstock's own code (index out of bounds); please report it
          + the present count fits: nothing waits, and 60 s are allowed

        1 of 1 turn has another plan.
        ");
}
