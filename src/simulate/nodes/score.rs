//! What a stage with lanes came to on its nodes: what they cost, and how interruptions were got over. Summed up second by second by `lanes`.

use serde::Serialize;

use super::super::score::{Interval, days};
use super::{LaneSeries, LaneWorld};

/// What nodes came to, over the time after the warm-up. Of all stages with lanes together, or of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeScore {
    /// Hours of nodes at their price, from the second each is asked for to the second it is gone.
    pub cost: f64,
    /// Share of the hours of Ready pods that were on spot.
    pub spot_share: f64,
    /// Nodes that were told that they will go, a day.
    pub interrupted_per_day: f64,
    /// Ready pods that went with their node, a day.
    pub lost_per_day: f64,
    /// Of these, pods whose replacement was not Ready yet: the stage had fewer than it needs then.
    pub missed_per_day: f64,
    /// Replicas that were asked for in place of those on nodes that are about to go, a day.
    pub surges_per_day: f64,
    /// Seconds a day in which fewer were Ready than the stage needs.
    pub short_seconds_per_day: f64,
    /// Pods that found no place on a node in the second they were made, a day.
    pub waited_per_day: f64,
    /// Replicas that room was asked for on nodes, in the mean.
    pub room: f64,
    /// Share of the cost that was paid for the places it had.
    pub room_share: f64,
    /// Pool by pool.
    pub pools: Vec<PoolScore>,
}

/// What one pool came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolScore {
    /// Its name.
    pub pool: String,
    /// Hours of its nodes.
    pub node_hours: f64,
    /// What they cost.
    pub cost: f64,
    /// And what the places that were kept for pods to come cost of that.
    pub room_cost: f64,
    /// Hours of pods that were Ready on them.
    pub ready_hours: f64,
    /// Is it spot?
    pub is_spot: bool,
    /// Times that it was said that it has no capacity.
    pub refusals: u32,
}

/// The means of [`NodeScore`] over seeds; see there for what each is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of NodeScore")]
pub struct NodeSummary {
    pub cost: Interval,
    pub spot_share: Interval,
    pub interrupted_per_day: Interval,
    pub lost_per_day: Interval,
    pub missed_per_day: Interval,
    pub surges_per_day: Interval,
    pub short_seconds_per_day: Interval,
    pub waited_per_day: Interval,
    pub room: Interval,
    pub room_share: Interval,
}

impl NodeSummary {
    /// Of these scores; `None` where there are no nodes.
    pub fn of(scores: &[&NodeScore]) -> Option<Self> {
        let over = |figure| Interval::over(scores, figure);
        (!scores.is_empty()).then(|| Self {
            cost: over(|score| score.cost),
            spot_share: over(|score| score.spot_share),
            interrupted_per_day: over(|score| score.interrupted_per_day),
            lost_per_day: over(|score| score.lost_per_day),
            missed_per_day: over(|score| score.missed_per_day),
            surges_per_day: over(|score| score.surges_per_day),
            short_seconds_per_day: over(|score| score.short_seconds_per_day),
            waited_per_day: over(|score| score.waited_per_day),
            room: over(|score| score.room),
            room_share: over(|score| score.room_share),
        })
    }
}

impl NodeScore {
    /// Of several stages together; `None` of none.
    pub(in crate::simulate) fn join<'a>(each: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut all: Option<Self> = None;
        for one in each {
            let sum = all.get_or_insert_default();
            sum.cost += one.cost;
            sum.interrupted_per_day += one.interrupted_per_day;
            sum.lost_per_day += one.lost_per_day;
            sum.missed_per_day += one.missed_per_day;
            sum.surges_per_day += one.surges_per_day;
            sum.short_seconds_per_day += one.short_seconds_per_day;
            sum.waited_per_day += one.waited_per_day;
            sum.room += one.room;
            sum.pools.extend_from_slice(&one.pools);
        }
        let mut all = all?;
        all.spot_share = spot(&all.pools);
        all.room_share = room(&all.pools);
        Some(all)
    }
}

/// Share of the hours of Ready pods that were on spot.
fn spot(pools: &[PoolScore]) -> f64 {
    // The sum of nothing is -0.
    let (spot, all) = pools.iter().fold((0.0, 0.0), |(spot, all), pool| {
        let hours = pool.ready_hours;
        (if pool.is_spot { spot + hours } else { spot }, all + hours)
    });
    if 0.0 < all { spot / all } else { 0.0 }
}

/// Share of the cost that was paid for room.
fn room(pools: &[PoolScore]) -> f64 {
    let (room, all) =
        pools.iter().fold((0.0, 0.0), |(room, all), pool| (room + pool.room_cost, all + pool.cost));
    if 0.0 < all { room / all } else { 0.0 }
}

/// What is summed up of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) interrupted: u32,
    pub(super) lost: u32,
    pub(super) missed: u32,
    pub(super) surges: u32,
    pub(super) short: u32,
    pub(super) waited: u32,
    pub(super) lanes: Vec<LaneSums>,
}

/// What is summed up of one of its lanes, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneSums {
    pub(super) nodes: f64,
    /// Of nodes, times the price of an hour.
    pub(super) paid: f64,
    /// Of Ready pods.
    pub(super) ready: f64,
    /// Of replicas that room was kept for.
    pub(super) room: f64,
    /// The same, by the share of their places that room had.
    pub(super) held: f64,
    pub(super) refusals: u32,
    /// What a node costs an hour, and until which second that stays so.
    price: Option<(f64, Option<u32>)>,
}

impl LaneSums {
    /// What a node costs an hour at a second. Seconds come in order.
    pub(super) fn price(&mut self, now: u32, world: &LaneWorld) -> f64 {
        let holds = |(_, until): &(f64, Option<u32>)| until.is_none_or(|until| now < until);
        self.price = self.price.filter(holds);
        self.price.get_or_insert_with(|| world.price(now)).0
    }
}

impl Sums {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: vec![LaneSums::default(); lanes], ..Self::default() }
    }

    /// The score of so many seconds.
    pub(super) fn score(&self, worlds: &[LaneWorld], seconds: u32) -> NodeScore {
        let days = days(seconds);
        let a_day = |count: u32| f64::from(count) / days;
        let of = |(world, sums): (&LaneWorld, &LaneSums)| PoolScore {
            pool: world.pool.name.to_string(),
            node_hours: sums.nodes / 3600.0,
            cost: sums.paid / 3600.0,
            room_cost: sums.held / 3600.0,
            ready_hours: sums.ready / 3600.0,
            is_spot: world.kind() == super::Kind::Spot,
            refusals: sums.refusals,
        };
        let pools: Vec<_> = worlds.iter().zip(&self.lanes).map(of).collect();
        NodeScore {
            cost: pools.iter().map(|pool| pool.cost).sum(),
            spot_share: spot(&pools),
            interrupted_per_day: a_day(self.interrupted),
            lost_per_day: a_day(self.lost),
            missed_per_day: a_day(self.missed),
            surges_per_day: a_day(self.surges),
            short_seconds_per_day: a_day(self.short),
            waited_per_day: a_day(self.waited),
            room: self.lanes.iter().map(|lane| lane.room).sum::<f64>() / f64::from(seconds.max(1)),
            room_share: room(&pools),
            pools,
        }
    }
}

/// Takes down what lanes look like, at the points of the stage's own plot.
#[derive(Debug, Default)]
pub(super) struct Strips {
    start: u32,
    step: u32,
    count: u32,
    /// By lane: Ready pods and seconds in which it could be had, of the present point.
    sums: Vec<(f64, f64)>,
    series: Vec<LaneSeries>,
}

impl Strips {
    pub(super) fn new(worlds: &[LaneWorld], (start, step): (u32, u32)) -> Self {
        let of = |world: &LaneWorld| LaneSeries {
            pool: world.pool.name.to_string(),
            is_spot: world.kind() == super::Kind::Spot,
            ..LaneSeries::default()
        };
        let series = worlds.iter().map(of).collect();
        Self { start, step, count: 0, sums: vec![(0.0, 0.0); worlds.len()], series }
    }

    /// A second: of each lane, how many are Ready, and whether nodes were to be had.
    pub(super) fn second(&mut self, now: u32, lanes: impl Iterator<Item = (u32, bool)>) {
        if now < self.start {
            return;
        }
        for (sum, (ready, is_open)) in self.sums.iter_mut().zip(lanes) {
            sum.0 += f64::from(ready);
            sum.1 += f64::from(u8::from(is_open));
        }
        self.count += 1;
        if self.count == self.step {
            self.close();
        }
    }

    fn close(&mut self) {
        let seconds = f64::from(std::mem::take(&mut self.count));
        for ((ready, open), series) in self.sums.iter_mut().zip(&mut self.series) {
            series.ready.push(std::mem::take(ready) / seconds);
            series.open.push(std::mem::take(open) / seconds);
        }
    }

    /// All of it.
    pub(super) fn into_series(mut self) -> Vec<LaneSeries> {
        if 0 < self.count {
            self.close();
        }
        self.series
    }
}
