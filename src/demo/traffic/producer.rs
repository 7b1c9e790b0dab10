//! Sends items as a load says, from one task. Started by the story and by live tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::outlet::Outlet;
use super::{Error, Kafka, Ledger, Load};

/// How often due items are sent.
const TICK: Duration = Duration::from_millis(20);

/// A producer at work. Stops when told to, or when dropped (then without waiting for the last items).
#[derive(Debug)]
pub struct Producer {
    outlet: Arc<Outlet>,
    extra: Arc<AtomicU64>,
    stop: DropGuard,
    tasks: JoinSet<Option<()>>,
}

impl Producer {
    /// Follows `load` from now on, into `topic`, entering every item in `ledger`. Does not wait for the broker: an item that is
    /// made while no broker answers waits here, and its age counts.
    pub fn start(
        kafka: &Kafka,
        topic: &str,
        load: Load,
        ledger: Arc<Ledger>,
    ) -> Result<Self, Error> {
        let outlet = Arc::new(Outlet::open(kafka, topic)?);
        let extra = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let walk = follow(Arc::clone(&outlet), load, Arc::clone(&extra), ledger);
        tasks.spawn(stop.clone().run_until_cancelled_owned(walk));
        Ok(Self { outlet, extra, stop: stop.drop_guard(), tasks })
    }

    /// Asks for this many more items at once, on top of the load: a backlog out of nothing.
    pub fn add(&self, items: u64) {
        self.extra.fetch_add(items, Ordering::Relaxed);
    }

    /// Items the broker has confirmed.
    pub fn confirmed(&self) -> u64 {
        self.outlet.confirmed()
    }

    /// Items given up for lost.
    pub fn lost(&self) -> u64 {
        self.outlet.lost()
    }

    /// Stops, and waits until the broker has what was sent, at most five seconds.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.join_all().await;
        self.outlet.flush().await;
    }
}

async fn follow(outlet: Arc<Outlet>, load: Load, extra: Arc<AtomicU64>, ledger: Arc<Ledger>) {
    let start = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut made: u64 = 0;
    let mut waiting = VecDeque::new();
    loop {
        tick.tick().await;
        let due = whole(load.made_by(start.elapsed()));
        let more = due.saturating_sub(made) + extra.swap(0, Ordering::Relaxed);
        made = made.max(due);
        waiting.extend((0..more).map(|_| ledger.make()));
        while waiting.front().is_some_and(|number| outlet.put(*number)) {
            waiting.pop_front();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole items of a load, never negative"
)]
fn whole(items: f64) -> u64 {
    items as u64
}
