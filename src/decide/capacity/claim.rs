//! What a stage asks of the budgets over it, replicas and room on nodes, and what each budget remembers of that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::pipeline::{Pipeline, PipelineId, Stage};
use super::super::writes::span;
use super::budget::PerReplica;
use super::ration::{Ask, Share};

/// What a stage asked, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct Asked {
    pub(super) ask: Ask,
    /// What each of the budgets over it leaves, where that is less than it asks for.
    pub(super) left: Vec<(Arc<str>, u32)>,
    /// For so long its highest wish counts: others shall not waver with it.
    pub(super) window: Duration,
    /// The room it would keep besides, and what each of these budgets leaves of that.
    pub(super) room: RoomAsk,
    pub(super) room_left: Vec<(Arc<str>, u32)>,
}

/// Room on nodes that a stage would keep beside its replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoomAsk {
    /// For so many replicas.
    pub(super) wished: u32,
    /// For so many something stands.
    pub(super) standing: u32,
    /// And for so many it shall.
    pub(super) kept: u32,
}

/// What a stage last asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) pipeline: PipelineId,
    pub(super) stage: Arc<str>,
    pub(super) priority: i32,
    /// What it asked of this budget: no more than the others over it leave.
    pub(super) ask: Ask,
    /// Its highest wish within its down window, and when that was.
    pub(super) peak: (u32, Timestamp),
    /// What this budget left it.
    pub(super) granted: u32,
    /// Replicas that run.
    pub(super) running: u32,
    /// And of which there are pods.
    #[serde(default)]
    present: u32,
    pub(super) per: PerReplica,
    /// Room it asked of this budget, as above.
    #[serde(default)]
    pub(super) room: RoomAsk,
}

/// A stage at its turn, as budgets see it.
#[derive(Debug, Clone)]
pub(in crate::decide) struct Claimant<'a> {
    pub(in crate::decide) pipeline: &'a PipelineId,
    pub(in crate::decide) stage: &'a Arc<str>,
    pub(in crate::decide) priority: i32,
    pub(in crate::decide) running: u32,
    /// Replicas of which there are pods: those of a rollout and those on their way out are among them, and a quota counts them.
    pub(in crate::decide) present: u32,
    pub(in crate::decide) per: PerReplica,
}

impl Asked {
    /// No replicas: a stage whose workload is not there for us.
    pub(super) fn nothing() -> Self {
        let (ask, window) = (Ask { wished: 0, least: 0 }, Duration::ZERO);
        let (left, room, room_left) = (Vec::new(), RoomAsk::default(), Vec::new());
        Self { ask, left, window, room, room_left }
    }

    /// Does it ask for room, or hold any?
    pub(super) fn keeps_room(&self) -> bool {
        self.room != RoomAsk::default()
    }
}

impl Claim {
    /// What a stage claims of the budget of this name at its turn; `known` is what it claimed before.
    pub(super) fn new(
        budget: &str,
        claimant: &Claimant<'_>,
        asked: &Asked,
        known: Option<&Self>,
        at: Timestamp,
    ) -> Self {
        let of_it = |left: &[(Arc<str>, u32)]| least(left, |name| *name == *budget);
        let of_others = |left: &[(Arc<str>, u32)]| least(left, |name| *name != *budget);
        // What another budget does not leave it is not asked of this one.
        let wished = asked.ask.wished.min(of_others(&asked.left));
        let peak = known
            .map(|claim| claim.peak)
            .filter(|(peak, since)| wished < *peak && span(*since, at) < asked.window);
        Self {
            pipeline: claimant.pipeline.clone(),
            stage: Arc::clone(claimant.stage),
            priority: claimant.priority,
            ask: Ask { wished, least: asked.ask.least.min(wished) },
            peak: peak.unwrap_or((wished, at)),
            granted: wished.min(of_it(&asked.left)),
            running: claimant.running,
            present: claimant.present,
            per: claimant.per.after(known.map(|claim| claim.per)),
            room: RoomAsk {
                wished: asked.room.wished.min(of_others(&asked.room_left)),
                ..asked.room
            },
        }
    }

    /// Replicas that are there, or are on their way: they have not been given back yet.
    pub(super) fn holds(&self) -> u32 {
        self.running.max(self.granted).max(self.present)
    }

    /// Its replicas as a share of a limit of which each takes so much: the most that was wished within its window.
    pub(super) fn share(&self, unit: f64) -> Share {
        let ask = Ask { wished: self.ask.wished.max(self.peak.0), ..self.ask };
        Share { unit, priority: self.priority, ask }
    }

    /// And its room.
    pub(super) fn room_share(&self, unit: f64) -> Share {
        let ask = Ask { wished: self.room.wished, least: 0 };
        Share { unit, priority: self.priority, ask }
    }

    /// What was kept after all.
    pub(super) fn keep(&mut self, kept: u32) {
        self.ask.wished = self.ask.wished.max(kept);
        self.ask.least = self.ask.least.max(kept);
        self.granted = self.granted.max(kept);
    }
}

/// The least that those of these budgets leave; more than anybody asks for where none says anything.
fn least(left: &[(Arc<str>, u32)], is_meant: impl Fn(&str) -> bool) -> u32 {
    let those = left.iter().filter(|(budget, _)| is_meant(budget));
    those.map(|(_, left)| *left).min().unwrap_or(u32::MAX)
}

impl<'a> Claimant<'a> {
    pub(in crate::decide) fn of(
        pipeline: &'a Pipeline,
        stage: &'a Stage,
        (running, present): (u32, u32),
        per: PerReplica,
    ) -> Self {
        let (id, stage, priority) = (&pipeline.id, &stage.name, pipeline.priority);
        Self { pipeline: id, stage, priority, running, present, per }
    }
}
