//! The peers in the world: the bound stays below what they pay, and all of them do their work.

use std::path::Path;

use penstock::simulate::bound::{Ground, Rounding, Sharing, bound};
use penstock::simulate::peers::{NAMES, by_name};
use penstock::simulate::{Each, Pilot, Scenario, run_whole, work};

/// Four hours of steps on two stages, of which the second gets half as many items.
const SCENARIO: &str = "
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: played, namespace: default}
  spec:
    objective: {maxDelay: 120s}
    stages:
    - name: first
      target: {kind: Deployment, name: first}
      replicas: {min: 1, max: 24}
      sources:
      - name: first
        kafka: {bootstrapServers: 'kafka:9092', topics: [first], group: first}
    - name: second
      after: [first]
      target: {kind: Deployment, name: second}
      replicas: {min: 1, max: 24}
      sources:
      - name: second
        kafka: {bootstrapServers: 'kafka:9092', topics: [second], group: second}
workload: {steps: {hold: 30m}, peakReplicas: 12}
world: {rate: 100, partitions: 24}
stages:
  second: {selectivity: 0.5}
duration: 4h
warmup: 1h
";

#[test]
fn no_peer_pays_less_than_the_bound_and_all_do_the_same_work() {
    let scenario = Scenario::read(SCENARIO, Path::new(".")).unwrap();
    let seed = 3;
    let stages: Vec<Vec<f64>> = work(&scenario, seed);
    let stages: Vec<_> = stages.iter().map(|work| &work[3600..]).collect();
    let works: Vec<f64> = stages.iter().map(|work| work.iter().sum()).collect();
    assert!((works[1] / works[0] - 0.5).abs() < 0.05, "{works:?}");
    let ground = Ground { deadline: 120.0, per_start: 45.0, most: 24, sharing: Sharing::Free };
    let bounds = stages.iter().map(|work| bound(work, &ground, Rounding::Below).unwrap());
    let bound: f64 = bounds.sum();
    for name in NAMES {
        let policies = [name; 2].map(|name| by_name(name).unwrap());
        let mut pilot = Each::new(policies.into());
        let run = run_whole(&scenario, &mut pilot, seed);
        let paid = 3600.0 * run.score.replica_hours;
        // A scored hour may begin with less waiting than it ends with: at most the two minutes that items may wait.
        assert!(0.98 * bound < paid, "{}: {paid} for a bound of {bound}", pilot.name());
        let done = 3600.0 * run.score.work_hours / works.iter().sum::<f64>();
        let is_all = 0.9 < done && done < 1.1;
        assert!(
            is_all || 0.01 < run.score.late_share.unwrap(),
            "{} did {done} of it",
            pilot.name()
        );
    }
}
