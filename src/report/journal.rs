//! What is logged of a turn: each write and what became of it, each condition that turned over, each server that is doubted. Called by
//! the tellers; a quiet pipeline logs nothing.

use super::conditions::Truth;
use super::status::Change;
use super::{Picture, Tick};
use crate::decide::{Action, Doubted, Ending, Outcome};

/// Gives the alarm for servers that are doubted from this turn on: one for all their pipelines; and tells of the writes of pipelines that
/// cannot be decided on, of which there is no picture.
pub(super) fn alarm(tick: &Tick) {
    let adrift = tick.snapshot.adrift.iter().flat_map(|adrift| &adrift.outcomes);
    adrift.for_each(|(_, outcome)| write_outcome(outcome));
    for Doubted { origin, silent, of, until } in &tick.step.plan.doubted {
        if tick.snapshot.may_act {
            tracing::warn!(%origin, silent, of, %until, "many pipelines of one server fell silent at once; none of them goes down");
        }
    }
}

/// Logs what happened in a turn of one pipeline.
pub(super) fn write(picture: &Picture, changes: &[Change]) {
    let outcomes = picture.situation.iter().flat_map(|situation| &situation.outcomes);
    for (_, outcome) in outcomes {
        write_outcome(outcome);
    }
    let pipeline = &picture.glance.id;
    for change in changes.iter().filter(|_| picture.may_act) {
        let (condition, reason) = (change.claim.kind, &change.claim.reason);
        let (status, message) = (change.claim.truth.word(), &change.claim.message);
        let is_good = match condition {
            "Ready" | "ObjectiveMet" => change.claim.truth == Truth::True && !change.claim.warns(),
            "Fallback" | "CapacityShort" | "WriterConflict" | "Stalled" => {
                change.claim.truth == Truth::False
            }
            _ => true,
        };
        if is_good {
            tracing::info!(%pipeline, condition, status, %reason, detail = %message, "condition");
        } else {
            tracing::warn!(%pipeline, condition, status, %reason, detail = %message, "condition");
        }
    }
}

fn write_outcome(outcome: &Outcome) {
    let scale = outcome.action.scale();
    let (stage, target, from, to) = (&scale.stage, &scale.target, scale.from, scale.to);
    let (reason, why) = (scale.why.code(), &scale.why);
    match (&outcome.action, &outcome.result) {
        (Action::Scale(_), Ending::Done { .. }) => {
            tracing::info!(%stage, workload = %target, from, to, reason, %why, "scaled");
        }
        (Action::Claim(_), Ending::Done { .. }) => {
            tracing::info!(%stage, workload = %target, replicas = from, "now owns the replica count");
        }
        (Action::StartJobs(jobs), Ending::Done { .. }) => {
            let (made, removed) = (to.saturating_sub(from), jobs.remove.len());
            tracing::info!(%stage, workload = %target, made, removed, reason, %why, "Jobs made and removed");
        }
        (Action::GiveUpFirst(told), Ending::Done { .. }) => {
            let pods = told.costs.iter().filter(|cost| cost.cost.is_some()).count();
            let no_more = told.costs.len() - pods;
            tracing::info!(%stage, workload = %target, pods, no_more, "which pods go first was told");
        }
        (Action::HoldDrain(hold), Ending::Done { .. }) => {
            let budget = &hold.budget;
            let is_kept = hold.grip.is_some();
            tracing::info!(%stage, workload = %target, %budget, is_kept, reason, %why, "who may evict its pods was told");
        }
        (Action::LetGo(gone), Ending::Done { .. }) => {
            let pods = gone.pods.len();
            tracing::info!(%stage, workload = %target, pods, reason, %why, "pods were let go before their node ends");
        }
        (Action::Reserve(reserve), Ending::Done { .. }) => {
            let (object, workload) = (target, &reserve.of);
            tracing::info!(%stage, %workload, %object, from, to, reason, %why, "room on nodes");
        }
        (_, Ending::Conflict { writer }) => {
            let (manager, applies) = (&writer.manager, writer.applies);
            tracing::warn!(%stage, workload = %target, from, to, %manager, applies, "another writer owns the replica count");
        }
        (_, Ending::Refused { code, message }) => {
            tracing::warn!(%stage, workload = %target, from, to, code, detail = message, "the write was refused");
        }
        (_, Ending::Unknown { message }) => {
            tracing::warn!(%stage, workload = %target, from, to, detail = message, "nobody can tell whether the write was carried out");
        }
        (_, Ending::Outdated | Ending::Gone) => {
            tracing::debug!(%stage, workload = %target, from, to, "the target moved under the write");
        }
        (_, Ending::NotSent { message }) => {
            tracing::debug!(%stage, workload = %target, from, to, detail = message, "the write was not sent");
        }
    }
}
