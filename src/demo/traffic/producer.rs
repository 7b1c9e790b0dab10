//! Sends items as a load says, from one task. Started by the story and by live tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::outlet::Outlet;
use super::{Error, Kafka, Ledger, Load};

/// How often due items are sent.
const TICK: Duration = Duration::from_millis(20);

/// A producer at work. Stops when told to, or when dropped (then without waiting for the last items).
#[derive(Debug)]
pub struct Producer {
    outlet: Arc<Outlet>,
    orders: mpsc::UnboundedSender<Order>,
    tasks: JoinSet<()>,
}

/// What a producer can be told.
#[derive(Debug)]
enum Order {
    Follow(Load),
    Add { items: u64, partition: Option<i32> },
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
        let (orders, taken) = mpsc::unbounded_channel();
        let desk = Desk { outlet: Arc::clone(&outlet), ledger, waiting: VecDeque::new() };
        let mut tasks = JoinSet::new();
        tasks.spawn(desk.follow(load, taken));
        Ok(Self { outlet, orders, tasks })
    }

    /// Follows another load, which begins now.
    pub fn follow(&self, load: Load) {
        self.order(Order::Follow(load));
    }

    /// Makes this many more items at once, on top of the load: a backlog out of nothing.
    pub fn add(&self, items: u64) {
        self.order(Order::Add { items, partition: None });
    }

    /// The same, all in one partition.
    pub fn add_to(&self, partition: i32, items: u64) {
        self.order(Order::Add { items, partition: Some(partition) });
    }

    /// Items the broker has confirmed.
    pub fn confirmed(&self) -> u64 {
        self.outlet.confirmed()
    }

    /// Items given up for lost.
    pub fn lost(&self) -> u64 {
        self.outlet.lost()
    }

    /// Stops, and waits until the broker has what was sent, at most five seconds. What no broker could be given is lost.
    pub async fn stop(self) {
        let Self { outlet, orders, tasks } = self;
        drop(orders);
        tasks.join_all().await;
        outlet.flush().await;
    }

    fn order(&self, order: Order) {
        // Its task ends before this only by a panic, which the counts show.
        drop(self.orders.send(order));
    }
}

/// The producer's own side.
struct Desk {
    outlet: Arc<Outlet>,
    ledger: Arc<Ledger>,
    /// Made, and not yet handed over.
    waiting: VecDeque<(u64, Option<i32>)>,
}

impl Desk {
    async fn follow(mut self, mut load: Load, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut start = Instant::now();
        let mut made: u64 = 0;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let due = whole(load.made_by(start.elapsed()));
                    self.make(due.saturating_sub(made), None);
                    made = due;
                }
                order = orders.recv() => match order {
                    Some(Order::Follow(other)) => (load, start, made) = (other, Instant::now(), 0),
                    Some(Order::Add { items, partition }) => self.make(items, partition),
                    None => return,
                },
            }
            self.hand_over();
        }
    }

    fn make(&mut self, items: u64, partition: Option<i32>) {
        self.waiting.extend((0..items).map(|_| (self.ledger.make(), partition)));
    }

    fn hand_over(&mut self) {
        while self
            .waiting
            .front()
            .is_some_and(|(number, partition)| self.outlet.put(*number, *partition))
        {
            self.waiting.pop_front();
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
