//! Nodes under a stage with two lanes, one on demand and one on spot: they take a while to come, are refused, are taken away after a notice and cost money
//! whether pods stand on them or not. Played with the very same `decide` as the daemon's, beside the rules of others and a bound. Called by
//! `benches/capacity` and the tests; everything in it follows from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::penstock::LaneView;
use super::policy::View;
use super::scenario::Scenario;
use crate::decide::{Lane, PoolSeen, PoolState, Stage, TargetId};

mod terms;
mod weather;
mod pool;
mod lane;
mod world;
mod own;
mod rules;
mod bound;

pub use bound::{Ground, bound};
pub use own::OnLanes;
pub use rules::{AllOnDemand, AllSpot, FixedShare, Rule, Ruled, SkyServe};
pub use terms::{Kind, Spell, Terms};
pub use weather::{Region, Weather};
pub use world::{Play, play, work};

/// The pools of the two lanes, in the order of all pairs here.
pub const LANES: [&str; 2] = ["on-demand", "spot"];

/// What can be seen of lanes and pools at a second.
#[derive(Debug)]
pub struct Seen {
    lanes: [LaneView; 2],
    pools: BTreeMap<Arc<str>, PoolSeen>,
}

impl Seen {
    /// Ready pods of each lane.
    pub fn ready(&self) -> [u32; 2] {
        self.lanes.map(|lane| lane.ready)
    }
}

/// What whoever places pods wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// Replicas that the stage needs.
    pub need: u32,
    /// Replicas of each lane.
    pub lanes: [u32; 2],
    /// What is believed of spot, by who believes anything.
    pub spot: Option<PoolState>,
}

/// Who says how many pods each lane has.
pub trait Placer: Send {
    /// What the table calls it.
    fn name(&self) -> String;

    /// Does it look at this second? `has_moved` says that pods or nodes did something.
    fn is_due(&self, at: f64, has_moved: bool) -> bool;

    /// What it wants now.
    fn place(&mut self, view: &View<'_>, seen: &Seen) -> Wants;
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Replicas that the stage was thought to need.
    pub need: u32,
    /// Replicas asked for, of each lane.
    pub desired: [u32; 2],
    /// Ready pods.
    pub ready: [u32; 2],
    /// Of these, pods on nodes that are about to go.
    pub doomed: u32,
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
    /// Another count was asked of a lane.
    Asked {
        /// Its pool.
        lane: &'static str,
        /// Replicas before.
        from: u32,
        /// Replicas asked for.
        to: u32,
    },
    /// Something else is believed of spot.
    Believed {
        /// What.
        state: PoolState,
        /// Seconds that the oldest pod without a node had waited, if there was one.
        waited: Option<u32>,
        /// How long nodes of spot were known to take: 95 of 100 no longer.
        boot: Option<u32>,
    },
}

/// What became of a stage on nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Who placed its pods.
    pub policy: String,
    /// Share of the items that were read, or left, later than the objective allows.
    pub late: f64,
    /// Delay that 99 of 100 items do not exceed, in seconds.
    pub delay_p99: f64,
    /// Hours of nodes of each pool, after the warm-up.
    pub node_hours: [f64; 2],
    /// What they cost.
    pub cost: f64,
    /// When it was said that there is no spot.
    pub refusals: Vec<u32>,
    /// Second by second, from the first one on.
    pub ticks: Vec<Tick>,
    /// What happened, in order.
    pub events: Vec<(u32, Event)>,
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
    /// The scenario with its first stage on two lanes.
    #[must_use]
    pub fn of(self, scenario: &Scenario) -> Scenario {
        let mut pipeline = (*scenario.pipeline).clone();
        if let Some(stage) = pipeline.stages.first_mut() {
            stage.lanes = self.lanes(stage);
        }
        Scenario { pipeline: Arc::new(pipeline), ..scenario.clone() }
    }

    fn lanes(self, stage: &Stage) -> Vec<Lane> {
        let target = |pool: &str| {
            let name = format!("{}-{pool}", stage.target.name);
            TargetId { name: name.into(), ..stage.target.clone() }
        };
        let [kept, spot] = LANES;
        vec![
            Lane {
                pool: kept.into(),
                base: self.base,
                share: None,
                fallback_to: None,
                target: target(kept),
            },
            Lane {
                pool: spot.into(),
                base: 0,
                share: Some(self.share),
                fallback_to: Some(0),
                target: target(spot),
            },
        ]
    }
}
