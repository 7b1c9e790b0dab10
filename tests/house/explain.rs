//! `penstock explain`, read aloud: some scenes, and for each the suggestion of its last line is tried. What it promises must come true.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use penstock::answer::{self, Answer, Pulse, Recollection};
use penstock::decide::{Snapshot, Step};
use penstock::report::{Glance, Tick};
use regex::Regex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::decide::story::{Given, Side, World, pipeline_id};
use crate::turns::Bench;

/// A stage, how much waits from when on, and what comes and goes all the while, in items a second.
#[derive(Clone, Default)]
struct Scene {
    given: Given,
    lags: Vec<(i64, i64)>,
    flows: i64,
    /// All of it into this partition.
    hot: Option<usize>,
    until: i64,
}

impl Scene {
    /// The last turn.
    fn play(&self) -> (Snapshot, Step) {
        let mut world = World::new(self.given.clone());
        (world.arrive, world.take, world.hot) = (self.flows, self.flows, self.hot);
        let mut lags = self.lags.iter().peekable();
        loop {
            while let Some((_, lag)) = lags.next_if(|(at, _)| *at <= world.at) {
                let now: i64 = world.ends.iter().zip(&world.positions).map(|(e, p)| e - p).sum();
                if *lag < now { world.serve(now - lag) } else { world.bring(lag - now) }
            }
            let snapshot = world.snapshot();
            let step = world.decide(&snapshot);
            if self.until <= world.at {
                return (snapshot, step);
            }
            world.pass(2);
        }
    }

    fn replicas(&self) -> Option<u32> {
        self.play().1.plan.verdicts[0].replicas
    }

    /// What `penstock explain` prints of the last turn; ages and the address are left out.
    async fn explained(&self) -> String {
        let (snapshot, step) = self.play();
        let recollection = Recollection::of(step.memory.clone());
        let bench = Bench::new().await;
        let glance = Glance {
            id: pipeline_id(),
            uid: "pipeline-uid".into(),
            generation: 1,
            resource_version: "1".into(),
            status: Arc::default(),
            faults: Arc::default(),
            costs: Vec::new(),
            room_costs: Vec::new(),
        };
        bench.report.tell(Tick {
            snapshot,
            step,
            glances: vec![glance],
            took: Duration::from_micros(300),
            lateness: Duration::ZERO,
            trace: None,
            polls: BTreeMap::new(),
            refusals: BTreeMap::new(),
            pools: BTreeMap::new(),
            budgets: BTreeMap::new(),
        });
        bench.wait(Duration::from_millis(100)).await;
        let answer = Answer::new(&bench.report, Pulse::default(), bench.clock);
        let answer = answer.recalling(recollection);
        let listener = answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let end = CancellationToken::new();
        tasks.spawn(answer::serve(listener, answer.page(), end.clone()));
        let ask = move || {
            Command::new(env!("CARGO_BIN_EXE_penstock"))
                .args(["explain", "-n", "shop", "orders", "--server", &url])
                .output()
        };
        let output = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let text = Regex::new("(decided|read) [^,;.]*(\\.[0-9])?[^,;.]* ago")
            .unwrap()
            .replace_all(&text, "$1 just now");
        let text = Regex::new("http://[0-9.:]*/").unwrap().replace_all(&text, "its daemon");
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

/// What the last line suggests, by the pattern of a number in it.
fn suggested(text: &str, pattern: &str) -> Vec<f64> {
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("  To change this: "), "{text}");
    let found = Regex::new(pattern).unwrap().captures(last);
    let found = found.unwrap_or_else(|| panic!("{pattern} is not in {last}"));
    found.iter().skip(1).flatten().map(|number| number.as_str().parse().unwrap()).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count in words")]
fn count(number: f64) -> u32 {
    number as u32
}

fn threshold(partitions: usize, max: u32) -> Given {
    Given {
        per_replica: Some(1000.0),
        partitions: Some(partitions),
        max: Some(max),
        ..Given::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_says_which_other_one_gives_which_count() {
    let scene = Scene {
        given: threshold(48, 48),
        lags: vec![(120, 23_500)],
        until: 126,
        ..Scene::default()
    };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG    DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   24      24       24     1-48     23500  8.0 s  -          0.0/s     -

        work should have 24 replicas.
          Because: 24 replicas: orders stands at 23500, and each replica may have 1000 [Threshold]
          Source orders: fresh, read just now.
          To change this: set perReplica to 2000 for 12 replicas.
        ");
    let [per_replica, replicas] =
        suggested(&text, r"perReplica to ([0-9]+) for ([0-9]+) replicas")[..]
    else {
        panic!("{text}")
    };
    let given = Given { per_replica: Some(per_replica), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(count(replicas)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_partitions_bound_the_count_it_prints_the_patch_of_the_topic() {
    let scene = Scene {
        given: threshold(24, 48),
        lags: vec![(120, 30_500)],
        until: 126,
        ..Scene::default()
    };
    let text = scene.explained().await;
    assert_snapshot!(text, @r#"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG    DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   24      24       24     1-48     30500  8.0 s  -          0.0/s     -

        work should have 24 replicas.
          First: 31 replicas: orders stands at 30500, and each replica may have 1000 [Threshold]
          Because: 24 replicas, one for each partition: 31 were wished, and more than 24 would stand idle [PartitionBound]
          Source orders: fresh, read just now.
          To change this: kubectl patch kafkatopic orders --type merge -p '{"spec":{"partitions":31}}' gives room for 31 replicas (keys move to other partitions).
        "#);
    let [partitions, replicas] =
        suggested(&text, r#""partitions":([0-9]+)\}\}' gives room for ([0-9]+) replicas"#)[..]
    else {
        panic!("{text}")
    };
    let given = Given { partitions: Some(count(partitions) as usize), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(count(replicas)));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_max_says_how_high_max_would_have_to_be() {
    let scene = Scene {
        given: threshold(48, 20),
        lags: vec![(120, 30_500)],
        until: 126,
        ..Scene::default()
    };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG    DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   20      20       20     1-20     30500  8.0 s  -          0.0/s     -

        work should have 20 replicas.
          First: 31 replicas: orders stands at 30500, and each replica may have 1000 [Threshold]
          Because: kept at max 20: 31 are wished [AtMax]
          Source orders: fresh, read just now.
          To change this: raise replicas.max to 31.
        ");
    let max = count(suggested(&text, "replicas.max to ([0-9]+)")[0]);
    let given = Given { max: Some(max), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(max));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_down_window_says_what_it_keeps_it_from_and_how_to_be_without() {
    let scene = Scene {
        given: threshold(24, 48),
        lags: vec![(120, 11_500), (140, 2_500)],
        until: 150,
        ..Scene::default()
    };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG   DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   12      12       12     1-48     2500  30 s   -          0.0/s     -

        work should have 12 replicas.
          First: 3 replicas: orders stands at 2500, and each replica may have 1000 [Threshold]
          Because: kept at 12: 3 would do now, but 12 were needed within the last 60 s [HeldByWindow]
          A down window has kept 12 replicas since 00:02:20 UTC.
          Source orders: fresh, read just now.
          To change this: wait, or set behavior.scaleDown.stabilizationWindowSeconds to 0, and it goes to 3 at once.
        ");
    let [window, replicas] =
        suggested(&text, "stabilizationWindowSeconds to ([0-9]+), and it goes to ([0-9]+)")[..]
    else {
        panic!("{text}")
    };
    let down = Some(Side { window: Some(u64::from(count(window))), ..Side::default() });
    let given = Given { down, ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(count(replicas)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_kept_awake_says_which_objective_would_let_it_sleep() {
    let given = Given {
        min: Some(0),
        objective: Some(30),
        rate: Some(50.0),
        startup: Some(40),
        ..Given::default()
    };
    let scene = Scene { given, until: 120, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG  DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   1       1        1      0-48     0    0.0 s  30 s       0.0/s     50.0/s

        work should have 1 replica.
          Because: 1 replica kept awake: waking from zero takes 47 s, and 30 s are promised [KeptAwake]
          Source orders: fresh, read just now.
          To change this: raise objective.maxDelay to 47s, or state idle: {replicas: 0, after: 5m} to sleep all the same.
        ");
    let objective = u64::from(count(suggested(&text, "objective.maxDelay to ([0-9]+)s")[0]));
    let longer = Given { objective: Some(objective), ..scene.given.clone() };
    assert_eq!(Scene { given: longer, ..scene.clone() }.replicas(), Some(0));
    // The other suggestion of the same line.
    assert!(
        text.ends_with("or state idle: {replicas: 0, after: 5m} to sleep all the same."),
        "{text}"
    );
    let idle = Given { idle: Some((0, 300)), ..scene.given.clone() };
    assert_eq!(Scene { given: idle, until: 310, ..scene }.replicas(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_shows_what_other_counts_would_bring() {
    let given = Given {
        objective: Some(60),
        rate: Some(20.0),
        startup: Some(30),
        desired: Some(6),
        ..Given::default()
    };
    let scene = Scene { given, lags: vec![(120, 4_000)], until: 126, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG   DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   24      24       24     1-48     4000  8.0 s  60 s       0.0/s     20.0/s

        work should have 24 replicas.
          First: 6 replicas: 4000 messages wait, the oldest for 8 s; at 20/s each, 6 work it off within 60 s [CatchUp]
          Because: kept at 24: 6 would do now, but 24 were needed within the last 60 s [HeldByWindow]
          A down window has kept 24 replicas since 00:02:02 UTC.
          Source orders: fresh, read just now.
          If what arrives now goes on, the next 8 min would bring with:
           REPLICAS  SERVE   REPLICA-SECONDS  OLDEST ITEM  LATE FOR
           1         20.0/s  480              3 min        2 min     too slow for what waits, with room for error
           2         40.0/s  960              104 s        44 s      too slow for what waits, with room for error
           3         60.0/s  1440             71 s         11 s      too slow for what waits, with room for error
           4         80.0/s  1920             54 s         -         too slow for what waits, with room for error
           5         96.0/s  2400             46 s         -         too slow for what waits, with room for error
           6         120/s   2880             38 s         -         would do; what holds it back is told above
           8         160/s   3840             29 s         -         would do; what holds it back is told above
           12        240/s   5760             21 s         -         would do; what holds it back is told above
           24        480/s   11520            8.0 s        -         this is it
          To change this: wait, or set behavior.scaleDown.stabilizationWindowSeconds to 0, and it goes to 6 at once.
        ");
}

/// Ends with what is promised of other objectives, shorter and longer, and of faster replicas.
const OTHERS: &str = "maxDelay: ([0-9]+)s for ([0-9]+) replicas?, or ([0-9]+)s for ([0-9]+) replicas; or make each replica get through ([0-9.]+)/s, and ([0-9]+) replicas? would do";

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_the_objective_made_says_which_others_would_make_fewer_and_more() {
    let given = Given {
        objective: Some(60),
        rate: Some(20.0),
        startup: Some(30),
        desired: Some(2),
        ..Given::default()
    };
    let scene = Scene { given, lags: vec![(120, 2_500)], until: 120, ..Scene::default() };
    let text = scene.explained().await;
    let told = ["First:", "Because:", "To change this:"];
    let lines =
        text.lines().map(str::trim).filter(|it| told.iter().any(|told| it.starts_with(told)));
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
    First: 2 of 24 partitions fall to the busiest replica at this count; 9 would be enough only if they could be split [Breakpoint]
    Because: 12 replicas: 2500 messages wait, the oldest for 2 s; at 20/s each, 12 work it off within 60 s [CatchUp]
    To change this: state objective.maxDelay: 63s for 8 replicas, or 43s for 24 replicas; or make each replica get through 21/s, and 8 replicas would do.
    ");
    let others = suggested(&text, OTHERS);
    let [longer, fewer, shorter, more, rate, faster] = others[..] else { panic!("{text}") };
    let chosen = scene.replicas().unwrap();
    assert!(count(fewer) < chosen && chosen < count(more) && count(faster) < chosen, "{text}");
    for (objective, replicas) in [(longer, fewer), (shorter, more)] {
        let given = Given { objective: Some(count(objective).into()), ..scene.given.clone() };
        assert_eq!(
            Scene { given, ..scene.clone() }.replicas(),
            Some(count(replicas)),
            "{objective}"
        );
    }
    let given = Given { rate: Some(rate), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene.clone() }.replicas(), Some(count(faster)));
    // A second less than the longer one would not do.
    let given = Given { objective: Some(u64::from(count(longer)) - 1), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(chosen));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_objective_makes_fewer_it_says_how_fast_replicas_would_have_to_be() {
    let given = Given {
        objective: Some(60),
        rate: Some(20.0),
        startup: Some(30),
        partitions: Some(24),
        desired: Some(6),
        ..Given::default()
    };
    let scene = Scene { given, flows: 110, until: 280, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(text, @r"
        Pipeline shop/orders, generation 1, decided just now. Told by its daemon, the leader.

         STAGE  WANTED  CURRENT  READY  MIN-MAX  LAG  DELAY  OBJECTIVE  ARRIVING  RATE/REPLICA
         work   6       6        6      1-48     0    0.0 s  60 s       110/s     20.0/s

        work should have 6 replicas.
          Because: the present count fits: nothing waits, and 60 s are allowed [Steady]
          Source orders: fresh, read just now.
          If what arrives now goes on, the next 8 min would bring with:
           REPLICAS  SERVE   REPLICA-SECONDS  OLDEST ITEM    LATE FOR
           1         20.0/s  2645             7 min, rising  7 min     falls behind what arrives
           2         40.0/s  2650             5 min, rising  6 min     falls behind what arrives
           3         60.0/s  2655             4 min, rising  6 min     falls behind what arrives
           4         80.0/s  2660             2 min, rising  5 min     falls behind what arrives
           5         96.0/s  2761             66 s, rising   44 s      falls behind what arrives
           6         120/s   2880             0.0 s          -         this is it
           8         160/s   3840             5.0 s          -         would do, and costs more
           12        240/s   5760             5.0 s          -         would do, and costs more
           24        479/s   11520            5.0 s          -         would do, and costs more
          To change this: make each replica get through 25/s, and 5 replicas would do.
        ");
    let [rate, replicas] = suggested(
        &text,
        "this: make each replica get through ([0-9.]+)/s, and ([0-9]+) replicas would do",
    )[..] else {
        panic!("{text}")
    };
    let given = Given { rate: Some(rate), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(count(replicas)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_partition_comes_with_the_patch_that_splits_it() {
    let given = Given {
        objective: Some(600),
        rate: Some(50.0),
        partitions: Some(8),
        commits: Some(5),
        desired: Some(8),
        min: Some(8),
        ..Given::default()
    };
    let scene = Scene { given, flows: 80, hot: Some(3), until: 400, ..Scene::default() };
    let text = scene.explained().await;
    let odd = text.lines().map(str::trim).skip_while(|line| !line.contains("[HotPartition]"));
    let odd: Vec<_> = odd.take(2).collect();
    assert_snapshot!(odd.join("\n"), @r#"
    Odd: partition 3 of orders is hot: 80/s arrive in it alone, one replica gets through 50/s, and only one can read it [HotPartition]
    spread the keys better, or make each replica faster; where many keys share that partition, kubectl patch kafkatopic orders --type merge -p '{"spec":{"partitions":16}}' splits them.
    "#);
    // The same keys in the partitions that the patch asks for: the half that stays in it is no more than a replica does.
    let found = Regex::new(r#""partitions":([0-9]+)\}\}'"#).unwrap().captures(odd[1]);
    let partitions: usize = found.expect("a patch")[1].parse().unwrap();
    let given = Given { partitions: Some(partitions), ..scene.given.clone() };
    let split = Scene { given, flows: 40, ..scene };
    let odd = &split.play().1.plan.verdicts[0].anomalies;
    assert!(odd.iter().all(|odd| odd.code() != "HotPartition"), "{odd:?}");
}
