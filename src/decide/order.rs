//! From a settled count to the write that brings it about, or why there is none. Called last in a stage's turn.

use std::sync::Arc;
use std::time::Duration;

use super::capacity::Before;
use super::demand::Bid;
use super::field::Limit;
use super::jobs;
use super::memory::StageMemory;
use super::pipeline::{Mode, TargetId};
use super::plan::{Action, Scale};
use super::reason::Reason;
use super::snapshot::{Workload, Writing};
use super::stage::Turn;
use super::writes::Writes;

/// Which count is to be written, and why if not for what binds the stage.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) target: &'a TargetId,
    /// The pool of the lane it is of, if the stage has lanes.
    pub(super) lane: Option<&'a Arc<str>>,
    pub(super) why: Option<Reason>,
}

impl Turn<'_> {
    /// What is to be written, unless something forbids it.
    pub(super) fn write(
        &self,
        bid: &mut Bid,
        workload: &Workload,
        memory: &mut StageMemory,
    ) -> Option<Action> {
        let would_be = bid.replicas;
        if self.is_jobs() {
            jobs::explain(bid, workload);
        }
        let is_surplus = !jobs::surplus(workload).is_empty() && memory.writes.may_tidy(self.at);
        let moves =
            if self.is_jobs() { workload.desired < would_be } else { workload.desired != would_be };
        if self.withholds(bid, moves) {
            return None;
        }
        if let Some(reason) = memory.writes.forbidden(workload) {
            bid.set(would_be, reason);
            return None;
        }
        if self.is_jobs() {
            let is_due = moves || is_surplus;
            let start = is_due.then(|| self.start_jobs(bid, workload, memory)).flatten();
            return start.filter(|_| self.may_act);
        }
        let wakes = workload.desired == 0 && 0 < would_be;
        if let Some(until) = memory.writes.rests_until(self.gap(), self.at)
            && !wakes
        {
            if moves {
                bid.set(workload.desired, Reason::TooSoon { wished: would_be, until });
            }
            return None;
        }
        let order = Order { target: &self.stage.target, lane: None, why: bid.why.last().cloned() };
        let to = match self.before(&order, workload, &mut memory.writes.costs, would_be) {
            Before::Step(to) => to,
            Before::Part(to, nodes) => {
                bid.set(to, Reason::Nodes(nodes));
                to
            }
            Before::Wait(nodes) => {
                bid.set(workload.desired, Reason::Nodes(nodes));
                return None;
            }
            Before::Tell(told, nodes) => {
                if let Some(nodes) = nodes {
                    bid.set(workload.desired, Reason::Nodes(nodes));
                }
                return self.may_act.then_some(Action::GiveUpFirst(*told));
            }
        };
        self.order(bid, &order, workload, &memory.writes, to).filter(|_| self.may_act)
    }

    /// Does the owner forbid every write? Says so, if there were one.
    pub(super) fn withholds(&self, bid: &mut Bid, moves: bool) -> bool {
        let would_be = bid.replicas;
        if self.stage.mode == Mode::Observe {
            if moves {
                bid.set(would_be, Reason::Observed { would_be });
            }
            return true;
        }
        let is_paused = self.pipeline.pause.all && self.stage.pinned.is_none();
        if is_paused {
            let annotation = "penstock.dev/paused".to_owned();
            bid.set(would_be, Reason::Paused { annotation, would_be });
        }
        is_paused
    }

    /// The shortest time between two moves.
    pub(super) fn gap(&self) -> Duration {
        self.evidence.poll().max(Duration::from_secs(5))
    }

    /// The write of one count: a move, or a claim of what is there.
    pub(super) fn order(
        &self,
        bid: &mut Bid,
        order: &Order<'_>,
        workload: &Workload,
        writes: &Writes,
        to: u32,
    ) -> Option<Action> {
        let moves = workload.desired != to;
        let is_apply = workload.writing == Writing::Apply;
        // A count of zero is not claimed: the API server refuses to share it, and there is no fall to fear below it.
        let is_claimable = is_apply && !workload.is_ours && 0 < workload.desired;
        let claims = is_claimable && writes.may_claim(self.at);
        if !(moves || claims) {
            return None;
        }
        let mut scale = self.scale(order, workload, to);
        if let Some((force, reason)) = writes.hand().filter(|_| moves && self.may_act) {
            bid.set(bid.replicas, reason.clone());
            scale = Scale { force, why: reason, ..scale };
        }
        Some(if moves { Action::Scale(scale) } else { Action::Claim(scale) })
    }

    /// A write of a count with all that it is decided on.
    pub(super) fn scale(&self, order: &Order<'_>, workload: &Workload, to: u32) -> Scale {
        Scale {
            stage: self.id(),
            lane: order.lane.cloned(),
            target: order.target.clone(),
            uid: Arc::clone(&workload.uid),
            resource_version: Arc::clone(&workload.resource_version),
            writing: workload.writing.clone(),
            from: workload.desired,
            to,
            force: false,
            why: order.why.clone().unwrap_or(Reason::NoSources),
        }
    }
}

/// What the target itself allows, where it does not allow that count: the nearest, and why.
fn limited(workload: &Workload, wished: u32) -> Option<(u32, &Limit)> {
    match &workload.writing {
        Writing::Field(field) => field.within(workload.desired, wished),
        Writing::Apply | Writing::Merge => None,
    }
}

/// The nearest count to that which the target itself allows.
pub(super) fn within(workload: &Workload, to: u32) -> u32 {
    limited(workload, to).map_or(to, |(kept, _)| kept)
}

/// What the target itself allows comes after everything else, the owner's word included: beyond it lies harm.
pub(super) fn keep_within(bid: &mut Bid, workload: &Workload) {
    let wished = bid.replicas;
    if let Some((kept, limit)) = limited(workload, wished) {
        bid.set(kept, Reason::TargetLimit { wished, kept, limit: limit.why.to_string() });
    }
}
