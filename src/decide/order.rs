//! From a settled count to the write that brings it about, or why there is none. Called last in a stage's turn.

use std::sync::Arc;
use std::time::Duration;

use super::demand::Bid;
use super::jobs;
use super::memory::StageMemory;
use super::pipeline::Mode;
use super::plan::{Action, Scale};
use super::reason::Reason;
use super::snapshot::{Workload, Writing};
use super::stage::Turn;

impl Turn<'_> {
    /// What is to be written, unless something forbids it.
    pub(super) fn write(
        &self,
        bid: &mut Bid,
        workload: &Workload,
        memory: &StageMemory,
    ) -> Option<Action> {
        let would_be = bid.replicas;
        if self.is_jobs() {
            jobs::explain(bid, workload);
        }
        let is_surplus = !jobs::surplus(workload).is_empty() && memory.writes.may_tidy(self.at);
        let moves =
            if self.is_jobs() { workload.desired < would_be } else { workload.desired != would_be };
        let is_apply = workload.writing == Writing::Apply;
        // A count of zero is not claimed: the API server refuses to share it, and there is no fall to fear below it.
        let is_claimable = is_apply && !workload.is_ours && 0 < workload.desired;
        let claims = !moves && is_claimable && memory.writes.may_claim(self.at);
        if self.stage.mode == Mode::Observe {
            if moves {
                bid.set(would_be, Reason::Observed { would_be });
            }
            return None;
        }
        if self.pipeline.pause.all && self.stage.pinned.is_none() {
            let annotation = "penstock.dev/paused".to_owned();
            bid.set(would_be, Reason::Paused { annotation, would_be });
            return None;
        }
        if let Some(reason) = memory.writes.forbidden(workload) {
            bid.set(would_be, reason);
            return None;
        }
        if !moves && !claims && !is_surplus {
            return None;
        }
        if self.is_jobs() {
            return self.start_jobs(bid, workload, memory).filter(|_| self.may_act);
        }
        let gap = self.evidence.poll().max(Duration::from_secs(5));
        let wakes = workload.desired == 0 && 0 < would_be;
        if let Some(until) = memory.writes.rests_until(gap, self.at)
            && !wakes
        {
            if moves {
                bid.set(workload.desired, Reason::TooSoon { wished: would_be, until });
            }
            return None;
        }
        if !self.may_act {
            return None;
        }
        let hand = memory.writes.hand().filter(|_| moves);
        let force = hand.as_ref().is_some_and(|(force, _)| *force);
        if let Some((_, reason)) = hand {
            bid.set(would_be, reason);
        }
        let scale = Scale {
            stage: self.id(),
            target: self.stage.target.clone(),
            uid: Arc::clone(&workload.uid),
            resource_version: Arc::clone(&workload.resource_version),
            writing: workload.writing.clone(),
            from: workload.desired,
            to: would_be,
            force,
            why: bid.why.last().cloned().unwrap_or(Reason::NoSources),
        };
        Some(if moves { Action::Scale(scale) } else { Action::Claim(scale) })
    }
}

/// What the target itself allows comes after everything else, the owner's word included: beyond it lies harm.
pub(super) fn keep_within(bid: &mut Bid, workload: &Workload) {
    let Writing::Field(field) = &workload.writing else { return };
    let wished = bid.replicas;
    if let Some((kept, limit)) = field.within(workload.desired, wished) {
        bid.set(kept, Reason::TargetLimit { wished, kept, limit: limit.why.to_string() });
    }
}
