//! `penstock explain`, read aloud: some scenes, and for each the suggestion of its last line is tried. What it promises must come true.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use insta::assert_snapshot;
use penstock::answer::{self, Answer, Pulse, Recollection};
use penstock::crd::strimzi::Wanted;
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
        origin: "kafka:9092".to_owned(),
        ..Given::default()
    }
}

/// How many partitions its commands give each topic.
fn grown(text: &str) -> Vec<(String, usize)> {
    let pattern = r#"--topic (\S+) --partitions ([0-9]+)|patch kafkatopic (\S+) --type merge -p '\{"spec":\{"partitions":([0-9]+)\}\}'"#;
    let of = |found: regex::Captures<'_>| {
        let part = |n: usize| found.get(n).or_else(|| found.get(n + 2)).unwrap().as_str();
        (part(1).to_owned(), part(2).parse().unwrap())
    };
    Regex::new(pattern).unwrap().captures_iter(text).map(of).collect()
}

/// The last line of what is explained.
fn last(text: &str) -> &str {
    text.lines().last().unwrap().trim()
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
          In force: prefer Balanced, priority 0, down window 60 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
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
async fn where_partitions_bound_the_count_it_prints_what_gives_the_topic_more() {
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
          In force: prefer Balanced, priority 0, down window 60 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
          Source orders: fresh, read just now.
          To change this: kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic orders --partitions 31 gives room for 31 replicas (keys move to other partitions).
        "#);
    let [replicas] = suggested(&text, "gives room for ([0-9]+) replicas")[..] else {
        panic!("{text}")
    };
    let [(_, partitions)] = grown(&text)[..] else { panic!("{text}") };
    let given = Given { partitions: Some(partitions), ..scene.given.clone() };
    assert_eq!(Scene { given, ..scene }.replicas(), Some(count(replicas)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_max_would_bind_next_it_says_how_high_that_must_be_too() {
    let given = threshold(24, 30);
    let scene = Scene { given, lags: vec![(120, 30_500)], until: 126, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(last(&text), @"To change this: kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic orders --partitions 31 gives room for 31 replicas, with replicas.max raised to 31 (keys move to other partitions).");
    let [replicas, max] =
        suggested(&text, "for ([0-9]+) replicas, with replicas.max raised to ([0-9]+)")[..]
    else {
        panic!("{text}")
    };
    let [(_, partitions)] = grown(&text)[..] else { panic!("{text}") };
    // Both are needed.
    let with = |partitions, max| {
        let given = Given { partitions: Some(partitions), max: Some(max), ..scene.given.clone() };
        Scene { given, ..scene.clone() }.replicas()
    };
    assert_eq!(with(partitions, count(max)), Some(count(replicas)));
    assert_eq!((with(partitions, 30), with(24, count(max))), (Some(30), Some(24)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cluster_that_strimzi_runs_it_prints_the_patch_of_the_kafkatopic() {
    let wanted = Wanted {
        namespace: "kafka".to_owned(),
        cluster: "events".to_owned(),
        listener: None,
        user: None,
    };
    let given = Given { origin: wanted.to_string(), ..threshold(24, 48) };
    let scene = Scene { given, lags: vec![(120, 30_500)], until: 126, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(last(&text), @r#"To change this: kubectl -n kafka patch kafkatopic orders --type merge -p '{"spec":{"partitions":31}}' gives room for 31 replicas (keys move to other partitions)."#);
    assert_eq!(grown(&text), [("orders".to_owned(), 31)]);
    // No object can have this name.
    let topics = vec![("EU_orders".to_owned(), 24)];
    let given = Given { topics, ..scene.given.clone() };
    let text = Scene { given, ..scene }.explained().await;
    assert_snapshot!(last(&text), @r#"To change this: kubectl -n kafka patch kafkatopic NAME --type merge -p '{"spec":{"partitions":31}}' with NAME the KafkaTopic whose topicName is EU_orders, gives room for 31 replicas (keys move to other partitions)."#);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_topics_each_is_to_grow_in_proportion() {
    let topics = vec![("eu".to_owned(), 4), ("us".to_owned(), 8)];
    let given = Given { topics, partitions: None, ..threshold(0, 48) };
    let scene = Scene { given, lags: vec![(120, 30_500)], until: 126, ..Scene::default() };
    let text = scene.explained().await;
    assert_snapshot!(last(&text), @"To change this: kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic eu --partitions 11; kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic us --partitions 21 together give room for 31 replicas (keys move to other partitions; by the range assignor, Kafka's default, no more replicas work than the largest topic has partitions).");
    let [replicas] = suggested(&text, "give room for ([0-9]+) replicas")[..] else {
        panic!("{text}")
    };
    let topics = grown(&text);
    assert_eq!(topics.len(), 2);
    let given = Given { topics, ..scene.given.clone() };
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
          In force: prefer Balanced, priority 0, down window 60 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
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
          In force: prefer Balanced, priority 0, down window 60 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
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
          In force: prefer Balanced, priority 0, down window 90 s, asleep after 60 s of quiet, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s and wakes above 0.
          Source orders: fresh, read just now.
          Reckoned with: start-up 40 s.
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
          In force: prefer Balanced, priority 0, down window 60 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
          Source orders: fresh, read just now.
          Reckoned with: start-up 21 s, rebalance pause 5.0 s, 43 s of the 60 s (the rest is room for error).
          Check: 6 replicas carry 6 times 20/s; what waits asks for 5.66 = 4000 / (35.3 s x 20/s), what arrives for 0 = 0/s / 20/s, with 5 % to spare.
          If what arrives now goes on, the next 8 min would bring with (REPLICA-SECONDS with what is left to do then):
           REPLICAS  SERVE   REPLICA-SECONDS  OLDEST ITEM  LATE FOR
           1         20.0/s  480              3 min        2 min     too slow for what waits: more than the 43 s planned with
           2         40.0/s  960              104 s        44 s      too slow for what waits: more than the 43 s planned with
           3         60.0/s  1440             71 s         11 s      too slow for what waits: more than the 43 s planned with
           4         80.0/s  1920             54 s         -         too slow for what waits: more than the 43 s planned with
           5         96.0/s  2400             46 s         -         too slow for what waits: more than the 43 s planned with
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
    First: 9 replicas would do if partitions could be split among them; the busiest of 12 holds 2 of the 24, and of fewer at least 3 [Breakpoint]
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
          In force: prefer Balanced, priority 0, down window 70 s, onSilence Hold, fallback Hold after 2 min; orders is asked every 2.0 s.
          Source orders: fresh, read just now.
          Reckoned with: start-up 30 s, rebalance pause 5.0 s, 43 s of the 60 s (the rest is room for error).
          Check: 6 replicas carry 6 times 20/s; what waits asks for 0 = 0 / (43 s x 20/s), what arrives for 5.5 = 110/s / 20/s.
          If what arrives now goes on, the next 8 min would bring with (REPLICA-SECONDS with what is left to do then):
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
async fn a_hot_partition_comes_with_the_command_that_splits_it() {
    let given = Given {
        objective: Some(600),
        rate: Some(50.0),
        partitions: Some(8),
        commits: Some(5),
        desired: Some(8),
        min: Some(8),
        origin: "kafka:9092".to_owned(),
        ..Given::default()
    };
    let scene = Scene { given, flows: 80, hot: Some(3), until: 400, ..Scene::default() };
    let text = scene.explained().await;
    let odd = heat(&text);
    assert_snapshot!(odd.join("\n"), @r#"
    Odd: partition 3 of orders is hot: 80/s arrive in it alone, one replica gets through 50/s, and only one can read it [HotPartition]
    spread the keys better, or make each replica faster; where many keys share that partition, kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic orders --partitions 16 splits them.
    "#);
    // The same keys in the partitions that the patch asks for: the half that stays in it is no more than a replica does.
    let [(_, partitions)] = grown(odd[1])[..] else { panic!("{text}") };
    let given = Given { partitions: Some(partitions), ..scene.given.clone() };
    let split = Scene { given, flows: 40, ..scene };
    let odd = &split.play().1.plan.verdicts[0].anomalies;
    assert!(odd.iter().all(|odd| odd.code() != "HotPartition"), "{odd:?}");
}

/// What is said of a hot partition, and what to do about it.
fn heat(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.skip_while(|line| !line.contains("[HotPartition]")).take(2).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_topics_the_one_with_the_hot_partition_is_to_be_split() {
    let given = Given {
        objective: Some(600),
        rate: Some(50.0),
        topics: vec![("eu".to_owned(), 3), ("us".to_owned(), 5)],
        commits: Some(5),
        desired: Some(8),
        min: Some(8),
        origin: "kafka:9092".to_owned(),
        ..Given::default()
    };
    let scene = Scene { given, flows: 80, hot: Some(4), until: 400, ..Scene::default() };
    let text = scene.explained().await;
    let odd = heat(&text);
    assert_snapshot!(odd.join("\n"), @"
    Odd: partition 1 of us (orders) is hot: 80/s arrive in it alone, one replica gets through 50/s, and only one can read it [HotPartition]
    spread the keys better, or make each replica faster; where many keys share that partition, kafka-topics.sh --bootstrap-server kafka:9092 --alter --topic us --partitions 10 splits them.
    ");
}

/// The sum behind a count, done again by hand: what waits asks for, what arrives asks for, and what the count carries.
fn redone(text: &str) -> (f64, f64, f64) {
    let line = text.lines().find(|line| line.trim().starts_with("Check: ")).expect("a sum");
    let pattern = r"replicas? carry ([0-9.]+) times ([0-9.]+)/s; what waits asks for ([0-9.]+) = \(?([0-9]+)(?: - ([0-9]+) done until then\))? / \(([0-9.]+) s x [0-9.]+/s\), what arrives for ([0-9.]+) = ([0-9.]+)/s(?: x ([0-9.]+))? / [0-9.]+/s";
    let found = Regex::new(pattern).unwrap().captures(line).unwrap_or_else(|| panic!("{line}"));
    let part = |n: usize| found.get(n).map(|it| it.as_str().parse::<f64>().unwrap());
    let (carries, rate) = (part(1).unwrap(), part(2).unwrap());
    let backlog = (part(4).unwrap() - part(5).unwrap_or(0.0)) / (part(6).unwrap() * rate);
    let arrivals = part(8).unwrap() * part(9).unwrap_or(1.0) / rate;
    for (told, redone) in [(part(3).unwrap(), backlog), (part(7).unwrap(), arrivals)] {
        assert!((told - redone).abs() < 0.02 * redone.max(1.0), "{redone} is not as in {line}");
    }
    (backlog, arrivals, carries)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_behind_a_count_can_be_done_again_by_hand() {
    let given = Given {
        objective: Some(60),
        rate: Some(20.0),
        startup: Some(30),
        desired: Some(2),
        ..Given::default()
    };
    let burst = Scene { given, lags: vec![(120, 2_500)], until: 120, ..Scene::default() };
    let text = burst.explained().await;
    let lines: Vec<_> =
        text.lines().filter(|it| it.contains("Reckoned with") || it.contains("Check:")).collect();
    assert_snapshot!(lines.join("\n"), @"
    Reckoned with: start-up 30 s, rebalance pause 5.0 s, 43 s of the 60 s (the rest is room for error).
    Check: 12 replicas carry 12 times 20/s; what waits asks for 8.37 = (2500 - 700 done until then) / (10.8 s x 20/s), what arrives for 0 = 0/s / 20/s.
    ");
    let (backlog, _, carries) = redone(&text);
    // Twelve do it, and eight, the next that is any use, do not.
    assert_eq!(burst.replicas(), Some(12));
    assert!(8.0 < backlog && backlog <= carries, "{text}");
    let given = Given { desired: Some(6), partitions: Some(24), ..burst.given.clone() };
    let stream = Scene { given, flows: 110, until: 280, ..Scene::default() };
    let text = stream.explained().await;
    let (_, arrivals, carries) = redone(&text);
    assert_eq!(stream.replicas(), Some(6));
    assert!(4.8 < arrivals && arrivals <= carries, "{text}");
}
