//! Who works at a stage: plain pods that find a place anywhere, or lanes of pods that need nodes. Asked by `world`, which does not mind.

use super::ground::Ground;
use super::nodes::{Lanes, NodeScore, Seen};
use super::pods::Pods;
use super::record::Series;

/// The pods of a stage.
#[derive(Debug)]
pub(super) enum Crew<'a> {
    /// Of one workload, with nodes for all of them.
    Plain(Pods),
    /// Of a workload for each lane.
    Laned(Box<Lanes<'a>>),
}

/// What became of the pods in a second.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Did any become Ready, or leave in good order?
    pub(super) is_other: bool,
    /// One that crashed, if one did.
    pub(super) crashed: Option<u32>,
    /// Did anything move that wakes whoever watches lanes?
    pub(super) has_moved: bool,
}

impl<'a> Crew<'a> {
    /// What the second `now` brings.
    pub(super) fn pass(&mut self, now: u32, ground: &Ground) -> Change {
        match self {
            Self::Plain(pods) => {
                let change = pods.pass(now, ground);
                let (is_other, crashed) = (change.is_other, change.crashed);
                Change { is_other, crashed, has_moved: false }
            }
            Self::Laned(lanes) => {
                let change = lanes.pass(now, ground);
                let (is_other, crashed) = (change.is_ready, change.crashed);
                Change { is_other, crashed, has_moved: change.has_moved }
            }
        }
    }

    /// Those that are Ready, the eldest first, and since when.
    pub(super) fn working(&self) -> Vec<(u32, u32)> {
        match self {
            Self::Plain(pods) => pods.working().collect(),
            Self::Laned(lanes) => lanes.working(),
        }
    }

    /// Replicas asked for.
    pub(super) fn desired(&self) -> u32 {
        match self {
            Self::Plain(pods) => pods.desired(),
            Self::Laned(lanes) => lanes.desired(),
        }
    }

    /// Pods that exist.
    pub(super) fn current(&self) -> u32 {
        match self {
            Self::Plain(pods) => pods.current(),
            Self::Laned(lanes) => lanes.current(),
        }
    }

    pub(super) fn ready(&self) -> u32 {
        match self {
            Self::Plain(pods) => pods.ready(),
            Self::Laned(lanes) => lanes.ready(),
        }
    }

    /// When the youngest Ready pod became so.
    pub(super) fn ready_since(&self) -> Option<u32> {
        match self {
            Self::Plain(pods) => pods.ready_since(),
            Self::Laned(lanes) => lanes.ready_since(),
        }
    }

    /// Its lanes, where it has any.
    pub(super) fn lanes(&mut self) -> Option<&mut Lanes<'a>> {
        match self {
            Self::Plain(_) => None,
            Self::Laned(lanes) => Some(lanes),
        }
    }

    /// What can be seen of its lanes, where it has any.
    pub(super) fn seen(&self, now: u32) -> Option<Seen> {
        match self {
            Self::Plain(_) => None,
            Self::Laned(lanes) => Some(lanes.seen(now)),
        }
    }

    /// What its nodes came to, of so many seconds, where it has lanes.
    pub(super) fn close(self, seconds: u32, series: &mut Series) -> Option<NodeScore> {
        match self {
            Self::Plain(_) => None,
            Self::Laned(lanes) => Some(lanes.close(seconds, series)),
        }
    }
}
