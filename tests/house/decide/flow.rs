//! Stages in a row, played in the simulator's world: the next stage rises with the one before it, and nobody feeds a stage that is full.

use std::path::Path;

use penstock::simulate::{Move, Penstock, Run, Scenario, StageRun, run_whole};

/// Two stages with known rates; twice in six hours the load steps up.
const PAIR: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: pair, namespace: shop}
  spec:
    objective: {maxDelay: 2m}
    stages:
    - name: parse
      target: {kind: Deployment, name: parse}
      replicas: {min: 1, max: 48}
      ratePerReplica: 100
      sources: [{name: raw, kafka: {bootstrapServers: 'kafka:9092', topics: [raw], group: parse}}]
    - name: sink
      AFTER
      target: {kind: Deployment, name: sink}
      replicas: {min: 1, max: MAX}
      ratePerReplica: 100
      sources: [{name: parsed, kafka: {bootstrapServers: 'kafka:9092', topics: [parsed], group: sink}}]
workload: {steps: {levels: 4, hold: 90m}, peakReplicas: 12}
world: {rate: 100}
duration: 6h
warmup: 1h
";

fn play(after: &str, max: u32) -> Run {
    let text = PAIR.replace("AFTER", after).replace("MAX", &max.to_string());
    let text = if after.is_empty() { text.replace("      \n", "") } else { text };
    let scenario = Scenario::read(&text, Path::new(".")).unwrap();
    run_whole(&scenario, &mut Penstock::new(&scenario), 1)
}

fn ups(moves: &[Move]) -> impl Iterator<Item = &Move> {
    moves.iter().filter(|moved| moved.from < moved.to)
}

#[test]
fn the_next_stage_rises_before_the_burst_reaches_it() {
    let run = play("after: [parse]", 48);
    let [parse, sink] = &run.stages[..] else { panic!("two stages") };
    let is_ahead = |moved: &&Move| {
        let has_cause = ups(&parse.moves).any(|cause| cause.at.abs_diff(moved.at) <= 5);
        moved.code.as_deref() == Some("KeepAhead") && has_cause
    };
    assert!(ups(&sink.moves).any(|moved| is_ahead(&moved)), "{:?} {:?}", parse.moves, sink.moves);
    assert!(run.score.late_share.unwrap() < 0.001, "{}", run.score.late_share.unwrap());
}

#[test]
fn a_stage_that_feeds_a_full_one_is_not_raised() {
    let held = play("after: [parse]", 2);
    let most = |run: &Run| ups(&run.stages[0].moves).map(|moved| moved.to).max();
    assert!(most(&held) < most(&play("after: [parse]", 48)), "{:?}", held.stages[0].moves);
}

/// Two first stages whose loads step at other times, and a sink that gets what both pass on.
const FAN_IN: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: fan-in, namespace: shop}
  spec:
    objective: {maxDelay: 2m}
    stages:
    - name: orders
      target: {kind: Deployment, name: orders}
      replicas: {min: 1, max: 48}
      ratePerReplica: 100
      sources: [{name: raw, kafka: {bootstrapServers: 'kafka:9092', topics: [orders], group: orders}}]
    - name: clicks
      target: {kind: Deployment, name: clicks}
      replicas: {min: 1, max: 48}
      ratePerReplica: 100
      sources: [{name: raw, kafka: {bootstrapServers: 'kafka:9092', topics: [clicks], group: clicks}}]
    - name: sink
      after: [orders, clicks]
      target: {kind: Deployment, name: sink}
      replicas: {min: 1, max: 48}
      ratePerReplica: 100
      sources: [{name: parsed, kafka: {bootstrapServers: 'kafka:9092', topics: [parsed], group: sink}}]
stages:
  orders: {workload: {steps: {levels: 4, hold: 90m}, peakReplicas: 8}}
  clicks: {workload: {steps: {levels: 4, hold: 70m}, peakReplicas: 8}}
world: {rate: 100}
duration: 6h
warmup: 1h
";

#[test]
fn where_two_stages_feed_one_it_carries_what_both_pass_on() {
    let scenario = Scenario::read(FAN_IN, Path::new(".")).unwrap();
    let run = run_whole(&scenario, &mut Penstock::new(&scenario), 1);
    let [orders, clicks, sink] = &run.stages[..] else { panic!("three stages") };
    let work = |stage: &StageRun| stage.score.work_hours;
    let fed = work(orders) + work(clicks);
    assert!((work(sink) / fed - 1.0).abs() < 0.05, "{} of {fed} h", work(sink));
    assert!(run.score.late_share.unwrap() < 0.001, "{:?}", run.score);
}

/// Three stages that sleep, and bursts every two hours.
const ASLEEP: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: asleep, namespace: shop}
  spec:
    objective: {maxDelay: 6m}
    stages:
    - name: parse
      target: {kind: Deployment, name: parse}
      replicas: {min: 0, max: 48}
      idle: {replicas: 0, after: 2m}
      ratePerReplica: 100
      sources: [{name: raw, kafka: {bootstrapServers: 'kafka:9092', topics: [raw], group: parse}}]
    - name: join
      after: [parse]
      target: {kind: Deployment, name: join}
      replicas: {min: 0, max: 48}
      idle: {replicas: 0, after: 2m}
      ratePerReplica: 100
      sources: [{name: parsed, kafka: {bootstrapServers: 'kafka:9092', topics: [parsed], group: join}}]
    - name: sink
      after: [join]
      target: {kind: Deployment, name: sink}
      replicas: {min: 0, max: 48}
      idle: {replicas: 0, after: 2m}
      ratePerReplica: 100
      sources: [{name: joined, kafka: {bootstrapServers: 'kafka:9092', topics: [joined], group: sink}}]
workload: {rare: {every: 2h, shortest: 2m, longest: 5m}, peakReplicas: 12}
world: {rate: 100}
duration: 1d
warmup: 6h
";

/// When a stage woke.
fn wakes(stage: &StageRun) -> Vec<u32> {
    stage.moves.iter().filter(|moved| moved.from == 0).map(|moved| moved.at).collect()
}

#[test]
fn a_chain_that_sleeps_wakes_as_one() {
    let scenario = Scenario::read(ASLEEP, Path::new(".")).unwrap();
    let run = run_whole(&scenario, &mut Penstock::new(&scenario), 1);
    let [parse, join, sink] = [0, 1, 2].map(|at| wakes(&run.stages[at]));
    // What one brings the next is learned from the first burst.
    assert!(3 < parse.len(), "{parse:?}");
    assert_eq!(parse[1..], join[1..]);
    assert_eq!(parse[1..], sink[1..]);
    // A start-up of 45 s is waited for once, and not by each in turn.
    assert!(run.score.delay_p99 < 75.0, "{:?}", run.score);
}
