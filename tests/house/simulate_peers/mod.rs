//! The peers follow their published rules, step by step with numbers reckoned by hand, and the clairvoyant bound is what it says.

mod bound;
mod cpu;
mod flink;
mod hpa;
mod keda;
mod knative;
mod others;
mod played;

use penstock::simulate::{Offsets, Policy, QueueView, View};

/// Items a second of one replica in these stories.
const RATE: f64 = 100.0;

/// A stage whose every figure a story sets by hand.
#[derive(Debug, Clone)]
struct Stage {
    at: f64,
    replicas: u32,
    ready: u32,
    arrived: f64,
    committed: f64,
    is_lost: bool,
    busy: f64,
    min: u32,
    partitions: u16,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            at: 0.0,
            replicas: 1,
            ready: 1,
            arrived: 0.0,
            committed: 0.0,
            is_lost: false,
            busy: 0.0,
            min: 0,
            partitions: 48,
        }
    }
}

impl Stage {
    /// What the policy answers. Nothing changes by itself.
    fn ask(&self, policy: &mut dyn Policy) -> u32 {
        let count = f64::from(self.partitions);
        let offsets =
            Offsets { end: self.arrived / count, committed: self.committed / count, owner: None };
        let partitions = vec![offsets; usize::from(self.partitions)];
        let queue = QueueView {
            partitions: &partitions,
            arrived: self.arrived,
            committed: self.committed,
            commit_interval: 5.0,
        };
        policy.decide(&View {
            at: self.at,
            desired: self.replicas,
            current: self.replicas,
            ready: self.ready,
            ready_since: None,
            queue: (!self.is_lost).then_some(queue),
            busy: self.busy,
            true_rate: RATE,
            min: self.min,
            max: 48,
            lanes: None,
        })
    }

    /// Asks, obeys at once, and passes to the next look. The answer.
    fn turn(&mut self, policy: &mut dyn Policy) -> u32 {
        self.replicas = self.ask(policy);
        self.ready = self.replicas;
        self.at += policy.period();
        self.replicas
    }

    /// So many turns in which items come and are done at these rates.
    fn flow(&mut self, policy: &mut dyn Policy, turns: u32, arrivals: f64, done: f64) -> Vec<u32> {
        let turn = |_| {
            let answer = self.turn(policy);
            self.arrived += arrivals * policy.period();
            self.committed += done * policy.period();
            answer
        };
        (0..turns).map(turn).collect()
    }

    fn with_lag(self, lag: f64) -> Self {
        Self { arrived: lag, committed: 0.0, ..self }
    }
}
