//! What is said of the nodes of a stage's lanes: why replicas run elsewhere than they should, and why there are more of them than needed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::figures::{clock, count, replicas};
use super::Grip;
use super::reserve::RoomVerdict;

/// A cause that lies with nodes. It moves replicas between lanes; how many the stage needs, it does not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "a variant's fields are what its sentence names")]
pub enum Nodes {
    /// A pool gives no nodes (surely or probably): so many replicas lack it, and the heir carries them, if there is one.
    Short { pool: String, lacking: u32, heir: Option<String>, sign: String },
    /// Replicas stand on nodes that are about to go; as many are started first, within bounds.
    Going { pool: String, doomed: u32, until: Option<Timestamp> },
    /// Pods of a lane have a node and do not get Ready: the heir carries them, if there is one.
    Unready { pool: String, pods: u32, heir: Option<String> },
    /// This is the lane's share, and what it carries of others' besides.
    Shared { pool: String, share: u32, carried: u32 },
    /// A lane names a pool that no `CapacityPool` describes: nodes that go are not seen coming, and and that it gives none is not seen at all.
    Undescribed { pool: String },
    /// A lane of a stage whose pods lead or hold state is on nodes that may be taken away.
    RoleOnSpot { stage: usize, lane: usize, pool: String },
    /// A step down waits until the controller of the workload knows the pods whose going empties most nodes.
    Emptying { wished: u32, pods: u32, nodes: u32 },
    /// Somebody else says which pods go first: that is left as it is.
    CostsOfAnother { writer: String, pods: u32 },
    /// Which pods go first could not be said.
    CostsRefused { message: String },
    /// Of the pods that the last step was to take, so many are still there: others went in their place.
    OthersWent { left: u32, of: u32 },
    /// So many pods of a lane may be evicted and no more, since replacements are on their way or may be needed.
    DrainHeld { pool: String, grip: Grip },
    /// Nobody wants evictions held back any more.
    DrainOver { budget: String },
    /// Pods have to end now to be done when their nodes end.
    LetGo { pool: String, pods: u32 },
    /// Somebody else's budget selects pods of the lane: a second one would make every eviction fail.
    DrainOfAnother { pool: String, budget: String },
    /// Evictions could not be held back, or pods not be let go.
    DrainRefused { message: String },
    /// Room is kept for replicas to come.
    RoomKept(RoomVerdict),
    /// No room can be kept, since nothing may be written for it.
    RoomRefused { message: String },
    /// What stands for room is there, and something is in its way.
    RoomTroubled { room: u32, message: String },
}

impl Nodes {
    /// Every code there is, in the order of the enum.
    pub(in crate::decide) const CODES: [&'static str; 18] = [
        "PoolShort",
        "NodesGoing",
        "PodsNotReady",
        "LaneShare",
        "PoolUndescribed",
        "RoleOnSpot",
        "EmptyingNodes",
        "DeletionCostTaken",
        "DeletionCostRefused",
        "OtherPodsWent",
        "DrainHeld",
        "DrainOver",
        "LetGo",
        "DrainOfAnother",
        "DrainRefused",
        "HeadroomKept",
        "HeadroomRefused",
        "HeadroomShort",
    ];

    /// The CamelCase word of conditions, events and metrics.
    pub(in crate::decide) fn code(&self) -> &'static str {
        let [short, going, unready, shared, undescribed, misplaced, of_costs @ ..] = Self::CODES;
        let [emptying, taken, refused, others, drain @ ..] = of_costs;
        let [held, over, gone, of_another, undrained, room @ ..] = drain;
        let [kept, forbidden, troubled] = room;
        match self {
            Self::Short { .. } => short,
            Self::Going { .. } => going,
            Self::Unready { .. } => unready,
            Self::Shared { .. } => shared,
            Self::Undescribed { .. } => undescribed,
            Self::RoleOnSpot { .. } => misplaced,
            Self::Emptying { .. } => emptying,
            Self::CostsOfAnother { .. } => taken,
            Self::CostsRefused { .. } => refused,
            Self::OthersWent { .. } => others,
            Self::DrainHeld { .. } => held,
            Self::DrainOver { .. } => over,
            Self::LetGo { .. } => gone,
            Self::DrainOfAnother { .. } => of_another,
            Self::DrainRefused { .. } => undrained,
            Self::RoomKept(_) => kept,
            Self::RoomRefused { .. } => forbidden,
            Self::RoomTroubled { .. } => troubled,
        }
    }

    /// What to change to get another answer.
    pub(in crate::decide) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Short { heir: None, .. } => {
                Some("state fallbackTo on the lane, to have another take over")
            }
            Self::Unready { .. } => {
                Some("see why they do not, by the events and the log of one, and by its node")
            }
            Self::Undescribed { .. } => Some(
                "write the CapacityPool; penstock pools --propose prints what fits this cluster",
            ),
            Self::RoleOnSpot { .. } => Some(
                "name a pool of class OnDemand or Reserved; where another takes over, leave out capacity.role",
            ),
            Self::CostsOfAnother { .. } => Some(
                "to have nodes emptied, let nobody but Penstock write deletion costs on these pods",
            ),
            Self::CostsRefused { .. } => {
                Some("the chart gives the right to patch pods with --set packing.enabled=true")
            }
            Self::DrainOfAnother { .. } => {
                Some("to have Penstock hold drains, delete that PodDisruptionBudget")
            }
            Self::DrainRefused { .. } => {
                Some("the chart gives the rights with --set draining.enabled=true")
            }
            Self::RoomRefused { .. } => Some(
                "the chart gives the rights, and makes the PriorityClass, with --set headroom.enabled=true",
            ),
            Self::Short { .. }
            | Self::Going { .. }
            | Self::Shared { .. }
            | Self::Emptying { .. }
            | Self::OthersWent { .. }
            | Self::DrainHeld { .. }
            | Self::DrainOver { .. }
            | Self::LetGo { .. }
            | Self::RoomKept(_)
            | Self::RoomTroubled { .. } => None,
        }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { pool, lacking, heir, sign } => {
                write!(f, "pool {pool} gives no nodes for {}", replicas(*lacking))?;
                if !sign.is_empty() {
                    write!(f, " ({sign})")?;
                }
                match heir {
                    Some(heir) => write!(f, "; {heir} carries what is lacking"),
                    None => f.write_str("; nothing takes over"),
                }
            }
            Self::Going { pool, doomed, until } => {
                let stand = if *doomed == 1 { "stands on a node" } else { "stand on nodes" };
                let goes = if *doomed == 1 { "is" } else { "are" };
                write!(f, "{} of pool {pool} {stand} that {goes} about to go", replicas(*doomed))?;
                if let Some(until) = until {
                    write!(f, ", by {}", clock(*until))?;
                }
                f.write_str("; replacements are started first")
            }
            Self::Unready { pool, pods, heir } => {
                let (have, do_) = if *pods == 1 { ("has", "does") } else { ("have", "do") };
                let pods = count((*pods).into(), "pod");
                write!(f, "{pods} of pool {pool} {have} a node and {do_} not get ready; ")?;
                match heir {
                    Some(heir) => write!(f, "{heir} carries what is lacking"),
                    None => f.write_str("nothing takes over"),
                }
            }
            Self::Shared { pool, share, carried } => {
                write!(f, "{} of the stage fall to pool {pool}", replicas(*share))?;
                if *carried != 0 {
                    write!(f, ", and it carries {carried} that others lack")?;
                }
                Ok(())
            }
            Self::Undescribed { pool } => write!(
                f,
                "no CapacityPool is named {pool}: neither that its nodes are about to go nor that it gives none can be seen"
            ),
            Self::RoleOnSpot { stage, lane, pool } => write!(
                f,
                "spec.stages[{stage}].lanes[{lane}].pool: {pool} is of class Spot, whose nodes are taken away, and no other takes over from a Driver or Stateful pod"
            ),
            Self::Emptying { wished, pods, nodes } => write!(
                f,
                "{} would do; the {} to go {} told first, so that {nodes} {} empty",
                replicas(*wished),
                count((*pods).into(), "pod"),
                if *pods == 1 { "is" } else { "are" },
                if *nodes == 1 { "node becomes" } else { "nodes become" },
            ),
            Self::CostsOfAnother { writer, pods } => write!(
                f,
                "{writer} writes the deletion cost of {}: which pods go first is left to it",
                count((*pods).into(), "pod")
            ),
            Self::CostsRefused { message } => {
                write!(f, "which pods go first could not be told, so no node is emptied: {message}")
            }
            Self::OthersWent { left, of } => write!(
                f,
                "of {} that the last step was to take, {left} {} still there: others went instead",
                count((*of).into(), "pod"),
                if *left == 1 { "is" } else { "are" },
            ),
            Self::DrainHeld { pool, grip: Grip::Loose } => {
                write!(f, "one replica of pool {pool} may be evicted at a time")
            }
            Self::DrainHeld { pool, grip: Grip::Tight { least, until } } => write!(
                f,
                "evictions from pool {pool} wait until more than {} of it are ready, at most until {}",
                replicas(*least),
                clock(*until)
            ),
            Self::DrainOver { budget } => {
                write!(f, "PodDisruptionBudget {budget} is taken away, and holds nobody up")
            }
            Self::LetGo { pool, pods } => write!(
                f,
                "{} of pool {pool} {} to end now, to be done before the node is taken away",
                count((*pods).into(), "pod"),
                if *pods == 1 { "has" } else { "have" },
            ),
            Self::DrainOfAnother { pool, budget } => write!(
                f,
                "PodDisruptionBudget {budget} selects pods of pool {pool}: who may evict them is left to it"
            ),
            Self::DrainRefused { message } => {
                write!(f, "nodes are drained as ever, whatever is ready elsewhere: {message}")
            }
            Self::RoomKept(room) => room.fmt(f),
            Self::RoomRefused { message } => {
                write!(f, "no room can be kept for what may come: {message}")
            }
            Self::RoomTroubled { room, message } => {
                write!(f, "the room for {} is not all there: {message}", replicas(*room))
            }
        }
    }
}
