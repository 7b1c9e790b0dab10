//! Nodes under the stages that have lanes: they take a while to come, are refused, are taken away after a notice and cost money whether pods stand on
//! them or not. A stage with lanes has its pods here instead of in `pods`; queue, consumers and readings are those of every stage. Beside Penstock, which
//! places its pods by the daemon's own `decide`, stand the rules of others and a bound. Everything in it follows from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::penstock::{LaneView, time};
use super::pilot::Pilot;
use super::scenario::Scenario;
use super::world::World;
use super::{Run, summed};
use crate::crd::CapacityPoolSpec;
use crate::crd::pool::Class as Described;
use crate::decide::{Class, Pool, PoolSeen, PoolState, Stage, TargetId};

mod terms;
mod weather;
mod pool;
mod room;
mod lane;
mod lanes;
mod score;
mod rules;
mod bound;
mod written;

pub use bound::{Ground, bound, least};
pub use rules::{
    AllOnDemand, AllSpot, FixedShare, NAMES, Rule, Ruled, SkyServe, by_name, fitting, is_rule,
};
pub use score::{NodeScore, NodeSummary, PoolScore};
pub use terms::{Kind, Spell, Terms};
pub use weather::{Outage, Region, Sky, Weather};
pub use written::Written;

pub(super) use lanes::Lanes;
pub(super) use room::Stand;
pub(super) use written::About;

/// The lanes of a [`Split`], in the order of all pairs here.
pub const LANES: [&str; 2] = ["on-demand", "spot"];
/// What a node of each costs an hour where nobody says: spot at 35 % of on demand.
pub const PRICES: [f64; 2] = [1.0, 0.35];

/// The nodes that one lane of a stage runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneWorld {
    /// What its `CapacityPool` says.
    pub pool: Arc<Pool>,
    /// What is true of its nodes.
    pub terms: Terms,
    /// What a node costs an hour.
    pub price: f64,
    /// Most nodes there may be; `None` is no limit.
    pub limit: Option<u32>,
    /// When zones have nodes to give; it is not looked at where they are not spot.
    pub sky: Sky,
}

impl LaneWorld {
    /// How its nodes are had.
    pub fn kind(&self) -> Kind {
        if self.pool.class == Class::Spot { Kind::Spot } else { Kind::OnDemand }
    }

    /// The least that a node costs an hour, at any time.
    fn least_price(&self) -> f64 {
        self.price * f64::from(self.pool.tariff.least()) / 100.0
    }

    /// What a node costs an hour at a second, and until which that stays so; `None` is for good.
    fn price(&self, now: u32) -> (f64, Option<u32>) {
        let at = time(f64::from(now));
        let (percent, until) = self.pool.tariff.look(at);
        let lasts = until.map(|until| until.duration_since(at).as_secs());
        let until = lasts.map(|lasts| now.saturating_add(u32::try_from(lasts).unwrap_or(u32::MAX)));
        (self.price * f64::from(percent) / 100.0, until)
    }
}

impl std::fmt::Display for LaneWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, terms) = (self.kind(), &self.terms);
        let class = match self.pool.class {
            Class::OnDemand => "on demand",
            Class::Spot => "on spot",
            Class::Reserved => "reserved",
        };
        write!(f, "{}: {class}, {} an hour; {}", self.pool.name, self.price, terms.words(kind))?;
        if let Some(most) = self.limit {
            write!(f, "; at most {most} nodes")?;
        }
        if kind == Kind::Spot { write!(f, "; {}", self.sky) } else { Ok(()) }
    }
}

/// What can be seen of a stage's lanes and pools at a second.
#[derive(Debug, Clone)]
pub struct Seen {
    pub(super) lanes: Vec<LaneView>,
    kinds: Vec<Kind>,
    /// Replicas that room is kept for on each lane, and who stands on which of its nodes.
    pub(super) rooms: Vec<u32>,
    pub(super) footing: Vec<Vec<Stand>>,
    pub(super) pools: BTreeMap<Arc<str>, PoolSeen>,
}

impl Seen {
    /// Ready pods on demand and on spot.
    pub fn ready(&self) -> [u32; 2] {
        let mut ready = [0; 2];
        for (lane, kind) in self.lanes.iter().zip(&self.kinds) {
            ready[*kind as usize] += lane.ready;
        }
        ready
    }
}

/// One second of a stage. Pairs are on demand and on spot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Replicas that the stage was thought to need.
    pub need: u32,
    /// Replicas asked for.
    pub desired: [u32; 2],
    /// Ready pods.
    pub ready: [u32; 2],
    /// Of these, pods on nodes that are about to go.
    pub doomed: u32,
    /// New pods that found no place.
    pub waited: u32,
    /// Places that are kept for pods to come.
    pub room: [u32; 2],
    /// Nodes that exist.
    pub nodes: [u32; 2],
}

/// Something that happened in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nodes of spot were told that they will go.
    Told {
        /// How many.
        nodes: u32,
    },
    /// Ready pods went with their node.
    Lost {
        /// How many.
        pods: u32,
    },
    /// Something else is believed of a pool of spot.
    Believed {
        /// What.
        state: PoolState,
        /// Seconds that the oldest pod without a node had waited, if there was one.
        waited: Option<u32>,
        /// How long its nodes were known to take: 95 of 100 no longer.
        boot: Option<u32>,
    },
    /// It was said that there is no spot.
    Refused,
}

/// A stage with lanes, second by second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Each second, from the first one on.
    pub ticks: Vec<Tick>,
    /// What happened, in order.
    pub events: Vec<(u32, Event)>,
}

/// Plays a scenario as [`super::run_whole`] does, and writes down its first stage with lanes second by second.
pub fn followed(scenario: &Scenario, pilot: &mut dyn Pilot, seed: u64) -> (Run, Log) {
    let mut world = World::new(scenario, seed);
    if let Some(lanes) = world.scenes.iter_mut().find_map(|scene| scene.crew.lanes()) {
        lanes.follow();
    }
    world.play(pilot);
    let lanes = world.scenes.iter_mut().find_map(|scene| scene.crew.lanes());
    let log = lanes.map(Lanes::told).unwrap_or_default();
    (summed(world, scenario, pilot, seed), log)
}

/// How a stage is split, as its owner would write it: so many on demand first, and this share of the rest on spot, which falls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// `base` of the lane on demand.
    pub base: u32,
    /// `share` of the lane on spot, in per cent.
    pub share: u32,
}

impl Split {
    /// The scenario with its first stage on two lanes, at the usual prices.
    #[must_use]
    pub fn of(self, scenario: &Scenario, terms: &Terms, weather: &Weather) -> Scenario {
        let mut scenario = scenario.clone();
        let mut pipeline = (*scenario.pipeline).clone();
        if let Some(stage) = pipeline.stages.first_mut() {
            stage.lanes = self.lanes(stage);
        }
        scenario.pipeline = Arc::new(pipeline);
        let each = LANES.into_iter().zip(PRICES).zip([Class::OnDemand, Class::Spot]);
        let lanes = each.map(|((name, price), class)| LaneWorld {
            pool: Arc::new(described(class, terms.notice).meant(&name.into())),
            terms: terms.clone(),
            price,
            limit: None,
            sky: Sky::Written(weather.clone()),
        });
        if let Some(stage) = scenario.stages.first_mut() {
            stage.lanes = lanes.collect();
        }
        scenario
    }

    fn lanes(self, stage: &Stage) -> Vec<crate::decide::Lane> {
        let target = |pool: &str| {
            let name = format!("{}-{pool}", stage.target.name);
            TargetId { name: name.into(), ..stage.target.clone() }
        };
        let [kept, spot] = LANES;
        let lane = |pool: &str, base, share, fallback_to| crate::decide::Lane {
            pool: pool.into(),
            base,
            share,
            fallback_to,
            target: target(pool),
        };
        vec![lane(kept, self.base, None, None), lane(spot, 0, Some(self.share), Some(0))]
    }
}

/// A `CapacityPool` that says nothing but its class and notice: all else is as it is in force.
fn described(class: Class, notice: u32) -> CapacityPoolSpec {
    CapacityPoolSpec {
        class: match class {
            Class::OnDemand => Described::OnDemand,
            Class::Spot => Described::Spot,
            Class::Reserved => Described::Reserved,
        },
        node_selector: BTreeMap::new(),
        zones: Vec::new(),
        notice: Some(Duration::from_secs(notice.into()).into()),
        price: None,
        limits: None,
        probe: None,
        provider: None,
    }
}

/// What a lane looked like over the scored time, for plots.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneSeries {
    /// Its pool.
    pub pool: String,
    /// Is it on spot?
    pub is_spot: bool,
    /// Pods that were Ready, mean of each step.
    pub ready: Vec<f64>,
    /// Share of each step in which it was to be had.
    pub open: Vec<f64>,
}
