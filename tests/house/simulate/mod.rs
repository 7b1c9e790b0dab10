//! The simulator: that its world is just, that what it counts is true, and that Penstock's taste in it stays good.

use std::path::Path;

use penstock::simulate::{Offsets, Policy, Scenario, View};

mod world;
mod readings;
mod scenario;
mod load;
mod taste;
mod command;
mod promises;
mod nodes;
mod lanes;

/// A pipeline of one stage of up to 60 replicas; the rest of the scenario follows.
const PLAIN: &str = r#"
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: plain}
  spec:
    objective: {maxDelay: 60s}
    stages:
    - name: only
      target: {kind: Deployment, name: only}
      replicas: {min: 0, max: 60}
      sources: [{name: queue, kafka: {bootstrapServers: "kafka:9092", topics: [t], group: g}}]
"#;

/// The plain pipeline, with these lines after it.
fn plain(rest: &str) -> Scenario {
    Scenario::read(&format!("{PLAIN}{rest}"), Path::new(".")).unwrap()
}

/// The same, told what one replica gets through.
fn told(rest: &str) -> Scenario {
    let told = PLAIN.replace("replicas:", "ratePerReplica: 100\n      replicas:");
    Scenario::read(&format!("{told}{rest}"), Path::new(".")).unwrap()
}

/// A world in which nothing is left to chance.
const STILL: &str = "noise: 0, drift: {by: 0}, skew: {uniform: 0}";

/// Wants what a function of the time says, and writes down what it sees.
struct Scripted<F> {
    wants: F,
    seen: Vec<Seen>,
}

/// What a policy saw at one look.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    at: f64,
    ready: u32,
    arrived: Option<f64>,
    committed: Option<f64>,
    partitions: Vec<Offsets>,
    busy: f64,
}

fn scripted<F: FnMut(f64) -> u32 + Send>(wants: F) -> Scripted<F> {
    Scripted { wants, seen: Vec::new() }
}

impl<F: FnMut(f64) -> u32 + Send> Policy for Scripted<F> {
    fn name(&self) -> String {
        "scripted".into()
    }

    fn period(&self) -> f64 {
        1.0
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        self.seen.push(Seen {
            at: view.at,
            ready: view.ready,
            arrived: view.queue.map(|queue| queue.arrived),
            committed: view.queue.map(|queue| queue.committed),
            partitions: view.queue.map(|queue| queue.partitions.to_vec()).unwrap_or_default(),
            busy: view.busy,
        });
        (self.wants)(view.at)
    }
}
