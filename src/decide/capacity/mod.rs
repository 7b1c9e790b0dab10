//! Nodes: what is known of each pool of them, whether more can be had of it, and how a stage with lanes is spread over its pools. Penstock
//! makes no nodes; it says how many replicas of which lane there shall be, and node autoscalers do the rest.
//!
//! `pool` keeps what is believed of each pool, `belief` says how that changes, `alone` by which lanes (`patience` says how long a pod may wait), `split` shares replicas out (both pure arithmetic),
//! `lanes` joins them to a stage's turn; `drain` holds who drains nodes until replacements are Ready, by what `evictions` knows, and `adrift` sees that none is held for too long where nobody looks; `pack` chooses the pods whose going empties nodes and `costs` says when they are told; `reserve`, `rooms` and `headroom` keep room for what may come; `claim`, `purse` and `ration` share out what several pipelines may use together,
//! `vacancy` among their rooms what is left of it, `sharing` what a pool holds that may grow no further, `fare` says how that goes, and `afford` joins that to the turn.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pipeline::TargetId;
use super::snapshot::Workload;
use super::stage::Turn;
use super::tariff::Tariff;

mod adrift;
mod afford;
mod alone;
mod belief;
mod budget;
mod claim;
mod costs;
mod drain;
mod evictions;
mod fare;
mod headroom;
mod purse;
mod ration;
mod reserve;
mod rooms;
mod lanes;
mod pack;
mod patience;
mod pool;
mod sharing;
mod split;
mod vacancy;
mod words;

pub use budget::{Budget, BudgetVerdict, PerReplica, Room, Thing};
pub use evictions::{BudgetSeen, Compare, Crew, Draining, Grip, Leaving, Term};
pub use pack::{Cost, NodeStanding, PodStanding, Standing};
pub use reserve::{
    Cause, Keeps, Method, ReserveSeen, Reserves, RoomVerdict, reserve_name, reserve_of,
};
pub use words::Nodes;

pub(super) use claim::{Asked, Claimant};
pub(super) use costs::{Before, Costs};
pub(super) use drain::{Drained, Drains};
pub(super) use lanes::{LanePlan, Lanes, counted};
pub(super) use pool::{Pools, StagePools};
pub(super) use purse::Purses;
pub(super) use rooms::Rooms;
pub(super) use sharing::PoolClaim;

/// A pool of nodes, as its owner describes it. Made by `crd::meaning`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Name of the `CapacityPool`.
    pub name: Arc<str>,
    /// How its nodes are paid for, and whether they may be taken away.
    pub class: Class,
    /// What an interruption leaves, from the first sign to the end of the node.
    pub notice: Duration,
    /// How long a pool that ran dry is left alone before one replica tries it again; twice as long after each failure.
    pub probe: Duration,
    /// But never longer than this.
    pub longest_probe: Duration,
    /// What its nodes cost by the hour, beside their price.
    #[serde(default, skip_serializing_if = "Tariff::is_flat")]
    pub tariff: Tariff,
}

/// How the nodes of a pool are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// By use, and kept for as long as one likes.
    OnDemand,
    /// Cheap, and taken away at short notice.
    Spot,
    /// Paid for whether used or not.
    Reserved,
}

/// A pool at an instant, as its nodes and those who make them show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSeen {
    /// Which one.
    pub pool: Arc<Pool>,
    /// Nodes that are Ready and stay.
    pub nodes: u32,
    /// When the youngest of them became Ready.
    pub newest: Option<Timestamp>,
    /// How long its nodes take from being made to Ready: 95 of 100 no longer. `None` while none has been seen.
    pub boot: Option<Duration>,
    /// Signs that no more can be had, as those who make nodes give them, oldest first; a few of the last hour. What is said of the pods of
    /// one lane is with that lane.
    pub signs: Vec<Sign>,
    /// Why it may grow no further: as its owner limits it, or as who makes its nodes says before anybody waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Arc<str>>,
    /// What its nodes have, what of that is taken, and what may come, where it has limits or who makes its nodes has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<PoolCpu>,
    /// What the lanes of all pipelines need of it, each workload once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneNeed>,
    /// What its status says from before this process started.
    pub recalled: Option<(PoolState, Timestamp)>,
}

/// What the pods of one lane show of its pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneNeed {
    /// The workload.
    pub target: TargetId,
    /// Since when the oldest of its pods has waited for a node.
    pub waiting: Option<Timestamp>,
    /// When the youngest Ready one became so.
    pub served: Option<Timestamp>,
    /// When the youngest of the Ready ones got its node.
    pub placed: Option<Timestamp>,
    /// Signs that were given of its pods, as those of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<Sign>,
}

/// CPUs of a pool at an instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolCpu {
    /// What pods may request on its nodes.
    pub cores: f64,
    /// Of that, what pods of lanes request that have a node, those that end among them.
    pub taken: f64,
    /// What who makes its nodes may still add; 0 where nobody says.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    pub left: f64,
    /// What nodes will have that are being made.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    pub coming: f64,
    /// What pods of lanes request that were asked for and have no node yet, on all pools of the same maker.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    pub owed: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none_of_it(cores: &f64) -> bool {
    *cores == 0.0
}

/// A sign that a pool gives no more nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// When it was given.
    pub at: Timestamp,
    /// True for the word of who makes nodes (no capacity, a limit); false for what pods alone show (none was found a node in time).
    pub is_hard: bool,
    /// What was said, and by whom.
    pub what: Arc<str>,
}

/// Whether nodes can be had of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolState {
    /// No node of it has been seen, and no sign either way. It is used as if they could be had.
    Unknown,
    /// Yes.
    Available,
    /// Not surely: what waits may wait, but nothing is added, and others take over meanwhile.
    Constrained,
    /// No: what runs is kept, and one replica tries again now and then.
    Exhausted,
}

impl PoolState {
    /// Its word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Available => "Available",
            Self::Constrained => "Constrained",
            Self::Exhausted => "Exhausted",
        }
    }

    /// Every state, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Available, Self::Constrained, Self::Exhausted];
}

/// What is believed of a pool after a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolVerdict {
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Can nodes be had?
    pub state: PoolState,
    /// Since when.
    pub since: Timestamp,
    /// What it rests on, oldest first, at most ten.
    pub evidence: Vec<Sign>,
    /// When it is tried again, while it is exhausted.
    pub next_probe: Option<Timestamp>,
}

impl Turn<'_> {
    /// Lanes on nodes that are taken away, where no other pod takes over from one that goes.
    fn misplaced(&self) -> impl Iterator<Item = Nodes> {
        let is_spot = |seen: &PoolSeen| seen.pool.class == Class::Spot;
        let lanes = self.stage.lanes.iter().enumerate().filter(|_| self.stage.is_dear);
        let on_spot =
            lanes.filter(move |(_, lane)| self.pools_seen.get(&lane.pool).is_some_and(is_spot));
        on_spot.map(|(index, lane)| Nodes::RoleOnSpot {
            stage: self.index,
            lane: index,
            pool: lane.pool.to_string(),
        })
    }
}

/// One lane of a stage, as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneSeen {
    /// Its workload.
    pub workload: Workload,
    /// Where its pods stand.
    pub places: Places,
}

/// Where the pods of a workload stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Ready pods on nodes that are about to go.
    pub doomed: u32,
    /// When the first of those nodes is gone, where that is known.
    pub deadline: Option<Timestamp>,
    /// Pods for which the scheduler finds no node.
    pub unplaced: u32,
    /// Since when the oldest of them has waited.
    pub unplaced_since: Option<Timestamp>,
    /// Since when each pod has not been Ready that has a node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unready: Vec<Timestamp>,
    /// Ready pods that interruptions of their nodes have ended, ever since the process began.
    #[serde(default)]
    pub interrupted: u64,
}

/// What was decided for one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneVerdict {
    /// The pool it runs on.
    pub pool: Arc<str>,
    /// Replicas it would have if nodes of every pool could be had.
    pub share: u32,
    /// Replicas it shall have.
    pub replicas: u32,
    /// Of these, replicas beyond what the stage needs: they replace others that are about to go, or try whether the pool gives nodes again.
    pub extra: u32,
    /// Pods that interruptions of their nodes have ended since the last turn, where the stage had as many Ready as it needs all the same.
    #[serde(default)]
    pub survived: u32,
    /// Those whose replacements were not Ready yet.
    #[serde(default)]
    pub missed: u32,
}
