//! The lanes of a stage and the room that is kept for it, as people are shown them. Called by `view`.

use serde::{Deserialize, Serialize};

use super::view::target;
use crate::decide::{self, LaneSeen, LaneVerdict, RoomVerdict, Stage as Meant, Verdict};
use crate::report::Picture;

/// One lane of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// The pool of nodes it runs on.
    pub pool: String,
    /// Its workload, for example `Deployment enrich-spot`.
    pub target: String,
    /// Replicas it would have if nodes of every pool could be had.
    pub share: u32,
    /// Replicas it should have now.
    pub desired: u32,
    /// Are Ready.
    pub ready: u32,
    /// Of these, on nodes that are about to go.
    #[serde(default)]
    pub going: u32,
    /// Pods for which no node is found.
    #[serde(default)]
    pub unplaced: u32,
    /// What it costs in an hour, where the prices of its nodes are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_hour: Option<f64>,
}

/// Room that is kept on nodes for replicas of a stage to come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The pool of the lane it is kept for, if the stage has lanes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Replicas it is kept for.
    pub replicas: u32,
    /// Of these, those that have room on a node now; left out where nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<u32>,
    /// How much, and why.
    pub sentence: String,
}

/// The lanes of a stage, as they are and as they should be.
pub(super) fn lanes(picture: &Picture, index: usize, meant: &Meant) -> Vec<Lane> {
    let Some(verdict) = picture.verdicts.get(index) else { return Vec::new() };
    let seen = picture.workload(index).map(|workload| &*workload.lanes).unwrap_or_default();
    let costs = picture.glance.costs.get(index);
    let each = meant.lanes.iter().zip(&verdict.lanes).zip(seen);
    let lane = |((meant, verdict), seen): ((&decide::Lane, &LaneVerdict), &LaneSeen)| Lane {
        pool: meant.pool.to_string(),
        target: target(&meant.target),
        share: verdict.share,
        desired: verdict.replicas,
        ready: seen.workload.ready,
        going: seen.places.doomed,
        unplaced: seen.places.unplaced,
        cost_per_hour: costs.and_then(|costs| *costs.get(&meant.pool)?),
    };
    each.map(lane).collect()
}

/// Room that is kept for a stage.
pub(super) fn rooms(verdict: Option<&Verdict>) -> Vec<Room> {
    let rooms = verdict.into_iter().flat_map(|verdict| &verdict.rooms);
    let room = |it: &RoomVerdict| Room {
        pool: it.pool.as_ref().map(ToString::to_string),
        replicas: it.replicas,
        placed: it.placed,
        sentence: it.to_string(),
    };
    rooms.map(room).collect()
}
