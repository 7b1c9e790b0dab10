//! Only what was promised is scored: a delay, a time of day by which all is done, or nothing at all; the same in the table, in JSON and in
//! the report.

use std::path::Path;
use std::process::Command;

use penstock::simulate::{DueTimes, Run, Scenario, run};
use serde_json::Value;

/// Ten items a second of which one replica gets through a hundred, for three hours from midnight; `OBJECTIVE` and `MORE` are to be said.
const NIGHT: &str = r#"
name: night
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: night}
  spec:
    stages:
    - name: load
      target: {kind: Deployment, name: load}
      replicas: {min: 0, max: 60}
      OBJECTIVE
      sources: [{name: queue, kafka: {PER_REPLICAbootstrapServers: "kafka:9092", topics: [t], group: g}}]
MORE
workload: {steady: {}, peakRate: 10, dispersion: 0}
world: {rate: 100, noise: 0, drift: {by: 0}, skew: {uniform: 0}, replicas: 0}
duration: 3h
"#;
const BY_TWO: &str = "objective: {doneBy: {time: \"02:00\"}}";
/// A second stage, which promises a delay.
const SINK: &str = r#"
    - name: sink
      target: {kind: Deployment, name: sink}
      replicas: {min: 0, max: 60}
      objective: {maxDelay: 60s}
      sources: [{name: loaded, kafka: {bootstrapServers: "kafka:9092", topics: [u], group: g}}]
      after: [load]
"#;

fn text(objective: &str, more: &str) -> String {
    let per_replica = if objective.is_empty() { "perReplica: 1000, " } else { "" };
    let text = NIGHT.replace("PER_REPLICA", per_replica).replace("MORE\n", more);
    text.replace("      OBJECTIVE\n", &format!("      {objective}\n")).replace("      \n", "")
}

fn by_two() -> Scenario {
    Scenario::read(&text(BY_TWO, ""), Path::new(".")).unwrap()
}

/// Nobody works until a second, and ten replicas from then on; they start within 45 s.
fn from(scenario: &Scenario, second: f64) -> Run {
    run(scenario, &mut super::scripted(|at| if at < second { 0 } else { 10 }), 1)
}

#[test]
fn a_batch_is_scored_by_its_due_time_and_by_no_delay() {
    let run = from(&by_two(), 6600.0);
    let score = &run.score;
    assert!(3600.0 < score.delay_p99, "what was gathered waited for hours: {score:?}");
    assert_eq!((score.late_share, score.late_seconds_per_day), (Some(0.0), Some(0.0)));
    assert_eq!(score.due, Some(DueTimes { times: 1, met: 1, overdue: 0.0 }));
    let stage = &run.stages[0];
    assert_eq!((stage.objective, stage.done_by.as_deref()), (None, Some("02:00 UTC")));
    assert_eq!(by_two().objective(), None);
}

#[test]
fn what_is_done_after_its_due_time_is_late_by_that_much() {
    // 72,000 items by two o'clock; a thousand a second from 45 s after it, so that the last of them is done 72 s later and some.
    let run = from(&by_two(), 7200.0);
    let due = run.score.due.unwrap();
    assert_eq!((due.times, due.met), (1, 0));
    assert!((110.0..130.0).contains(&due.overdue), "{due:?}");
    assert!((run.score.late_share.unwrap() - 1.0).abs() < 1e-6, "{:?}", run.score);
    let late = run.score.late_seconds_per_day.unwrap() * 3.0 / 24.0;
    assert!((late - due.overdue).abs() < 5.0, "{late} s of {due:?}");
}

#[test]
fn what_nobody_ever_does_is_late_until_the_end() {
    let run = from(&by_two(), f64::INFINITY);
    assert_eq!(run.score.late_share, Some(1.0));
    assert!(3599.0 < run.score.due.unwrap().overdue, "{:?}", run.score.due);
    assert!(7200.0 < run.score.delay_max, "it waits on: {}", run.score.delay_max);
}

#[test]
fn penstock_works_a_batch_off_in_time() {
    let scenario = by_two();
    let mut pilot = penstock::simulate::pilot("penstock", &scenario, 1).unwrap();
    let run = penstock::simulate::run_whole(&scenario, &mut *pilot, 1);
    let (late, hours) = (run.score.late_share.unwrap(), run.score.replica_hours);
    assert!(late < 0.01, "{late}: {:?}", run.stages[0].moves);
    assert!(hours < 1.0, "{hours} h for 0.3 h of work: {:?}", run.stages[0].moves);
}

#[test]
fn a_stage_that_promises_nothing_is_never_late() {
    let scenario = Scenario::read(&text("", ""), Path::new(".")).unwrap();
    let run = from(&scenario, f64::INFINITY);
    assert_eq!((run.score.late_share, run.score.late_seconds_per_day), (None, None));
    assert_eq!((run.score.due, run.stages[0].objective), (None, None));
}

#[test]
fn where_not_all_stages_promise_a_delay_each_is_scored_by_its_own_promise() {
    let scenario = Scenario::read(&text(BY_TWO, SINK), Path::new(".")).unwrap();
    // The second stage never has anybody.
    let run = from(&scenario, 6600.0);
    let [load, sink] = &run.stages[..] else { panic!("two stages") };
    assert_eq!(load.score.late_share, Some(0.0));
    assert_eq!(sink.score.late_share, Some(1.0));
    let late = run.score.late_share.unwrap();
    assert!((0.4..0.7).contains(&late), "of the items of both: {late}");
    assert_eq!(run.score.due, load.score.due);
}

/// What the command prints, in the format that is asked for, and its report.
fn shown(text: &str, format: &str) -> (String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let [file, page] = ["night.yaml", "page.html"].map(|name| folder.path().join(name));
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("simulate")
        .args([&file, Path::new("--html"), &page])
        .args(["--policy", "penstock,static=1", "--seeds", "2", "-o", format])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    (String::from_utf8(output.stdout).unwrap(), serde_json::from_str(data).unwrap())
}

/// Of the table, what stands under a head in the row of a policy.
fn cell(table: &str, policy: &str, head: &str) -> String {
    let row = |begin: &str| {
        let line = table.lines().find(|line| line.starts_with(begin)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    let at = row("POLICY").iter().position(|it| *it == head);
    row(policy)[at.unwrap_or_else(|| panic!("no {head} in\n{table}"))].to_owned()
}

#[test]
fn the_command_tells_due_times_and_no_bound_of_them() {
    let (table, page) = shown(&text(BY_TWO, ""), "table");
    assert!(table.starts_with("night: 3h scored, 2 seeds; done by 02:00 UTC.\n"), "{table}");
    assert_eq!(cell(&table, "static=1", "LATE"), "0.000 %");
    assert_eq!(cell(&table, "static=1", "× BOUND"), "-");
    assert_eq!(cell(&table, "static=1", "DUE MET"), "2 of 2");
    assert_eq!(cell(&table, "static=1", "OVERDUE"), "-");
    let last = table.lines().last().unwrap();
    assert_eq!(last, "There is a bound only where every stage has a delay to keep.");
    let stage = &page["stages"][0];
    assert_eq!((&stage["objective"], &stage["doneBy"]), (&Value::Null, &"02:00 UTC".into()));
    assert_eq!(page["policies"][1]["summary"]["due"]["met"], 2);
    assert_eq!(page["clairvoyant"], Value::Null);
}

#[test]
fn the_command_says_that_nothing_was_promised() {
    let (table, page) = shown(&text("", ""), "table");
    assert!(table.starts_with("night: 3h scored, 2 seeds; nothing promised.\n"), "{table}");
    for head in ["LATE", "× BOUND"] {
        assert_eq!(cell(&table, "penstock", head), "-");
    }
    assert!(!table.contains("DUE MET"), "{table}");
    let told =
        "Stage load promises nothing, neither maxDelay nor doneBy, so none of its items is late. ";
    assert!(table.lines().last().unwrap().starts_with(told), "{table}");
    let told = page["unplotted"].as_str().unwrap();
    assert!(told.starts_with("Nothing is promised of these items"), "{told}");
    let (json, _) = shown(&text("", ""), "json");
    let json: Value = serde_json::from_str(&json).unwrap();
    let (entry, run) = (&json["entries"][0], &json["entries"][0]["runs"][0]);
    for (place, field) in [
        (&json, "objective"),
        (&json, "clairvoyant"),
        (&entry["summary"], "lateShare"),
        (&entry["summary"], "lateSecondsPerDay"),
        (&run["score"], "lateShare"),
        (&run["stages"][0], "objective"),
        (&run["stages"][0], "doneBy"),
    ] {
        assert!(place.is_object() && place.get(field).is_none(), "{field}: {place}");
    }
    assert!(
        entry["summary"]["delayP99"]["mean"].is_number(),
        "how long items waited is still told"
    );
}

#[test]
fn the_head_tells_the_promise_of_each_stage_where_they_differ() {
    let (table, page) = shown(&text("", SINK), "table");
    let head =
        "night: 3h scored, 2 seeds; load: nothing promised; sink: no item later than 60 s.\n";
    assert!(table.starts_with(head), "{table}");
    assert_ne!(cell(&table, "static=1", "LATE"), "-");
    assert_eq!(page["objective"], Value::Null);
    assert_eq!(page["stages"][1]["objective"], 60.0);
}

#[test]
fn a_fixed_count_has_no_move_and_a_plot_without_lateness_gives_way_to_a_sentence() {
    let text = text("objective: {maxDelay: 60s}", "").replace("replicas: 0", "replicas: 3");
    let (table, page) = shown(&text, "table");
    assert_eq!(cell(&table, "static=1", "ACTIONS/D"), "0.0", "{table}");
    assert_eq!(cell(&table, "static=1", "LATE"), "0.000 %");
    let told = page["unplotted"].as_str().unwrap();
    assert!(told.starts_with("Nobody let as much as 0.001 % of the items be late"), "{told}");
    let late = text.replace("peakRate: 10", "peakRate: 200");
    assert_eq!(shown(&late, "table").1["unplotted"], Value::Null);
}
