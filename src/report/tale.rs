//! What is worth an event, and its words: a move, a refusal, trouble when it comes and when it ends. Called by the event teller.

use std::sync::Arc;

use super::conditions::{Truth, cut};
use super::status::Change;
use super::{Glance, Picture};
use crate::decide::{Action, Ending, Outcome, Reason};

/// Something to be told, once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tale {
    pub(super) pipeline: Subject,
    pub(super) reason: String,
    pub(super) note: String,
    pub(super) action: &'static str,
    pub(super) is_warning: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
}

fn tale(glance: &Glance, reason: &str, note: String, action: &'static str, warns: bool) -> Tale {
    Tale {
        pipeline: Subject {
            namespace: Arc::clone(&glance.id.namespace),
            name: Arc::clone(&glance.id.name),
            uid: Arc::clone(&glance.uid),
        },
        reason: reason.to_owned(),
        note: cut(note),
        action,
        is_warning: warns,
    }
}

/// All that is to be told of a turn: its moves, the conditions it turned over, and what odd thing began or ended.
pub(super) fn of_turn(picture: &Picture, changes: &[Change], oddities: Vec<Tale>) -> Vec<Tale> {
    let glance = &picture.glance;
    let outcomes = picture.situation.iter().flat_map(|situation| &situation.outcomes);
    let moves = outcomes.filter_map(|(_, outcome)| of_outcome(glance, outcome));
    let conditions = changes.iter().filter_map(|change| of_change(glance, change));
    moves.chain(conditions).chain(oddities).collect()
}

fn of_outcome(glance: &Glance, outcome: &Outcome) -> Option<Tale> {
    let scale = outcome.action.scale();
    let (name, from, to) = (&scale.stage.name, scale.from, scale.to);
    match (&outcome.action, &outcome.result) {
        (Action::Scale(_), Ending::Done { .. }) => {
            let took_over = matches!(scale.why, Reason::TakenOver { .. });
            let reason = match (took_over, to > from) {
                (true, _) => "TakenOver",
                (false, true) => "ScaledUp",
                (false, false) => "ScaledDown",
            };
            let on = scale.lane.as_ref().map(|pool| format!(" on {pool}")).unwrap_or_default();
            let note = format!("stage {name}{on} from {from} to {to} replicas: {}", scale.why);
            Some(tale(glance, reason, note, "Scale", took_over))
        }
        (Action::StartJobs(jobs), Ending::Done { .. }) if from < to => {
            let made = to - from;
            let what = if made == 1 { "Job" } else { "Jobs" };
            let last = jobs.first.saturating_add(u64::from(made) - 1);
            let numbers = match made {
                1 => format!("number {last}"),
                _ => format!("numbers {} to {last}", jobs.first),
            };
            let note = format!(
                "stage {name}: {made} {what} made from {} ({numbers}): {}",
                scale.target, scale.why
            );
            Some(tale(glance, "JobsCreated", note, "CreateJobs", false))
        }
        (
            Action::Scale(_) | Action::Claim(_) | Action::StartJobs(_),
            Ending::Refused { code, message },
        ) => {
            let target = &scale.target;
            let note =
                format!("stage {name}: the write to {target} was refused ({code}): {message}");
            Some(tale(glance, "WriteRefused", note, "Scale", true))
        }
        (Action::LetGo(gone), Ending::Done { .. }) => {
            let (pods, why) = (gone.pods.len(), &scale.why);
            let what = if pods == 1 { "pod" } else { "pods" };
            let note = format!("stage {name}: {pods} {what} of {} deleted: {why}", scale.target);
            Some(tale(glance, "LetGo", note, "DeletePods", false))
        }
        // A claim and tidying up move nothing; what keeps pods from being told, or room from being kept, is odd about the stage, and said as that; conflicts become conditions; the rest is decided on anew.
        (
            Action::Claim(_)
            | Action::StartJobs(_)
            | Action::GiveUpFirst(_)
            | Action::HoldDrain(_)
            | Action::Reserve(_),
            Ending::Done { .. },
        )
        | (
            _,
            Ending::Refused { .. }
            | Ending::Conflict { .. }
            | Ending::Outdated
            | Ending::Gone
            | Ending::Unknown { .. }
            | Ending::NotSent { .. },
        ) => None,
    }
}

/// Something odd about a stage, or its end.
pub(super) fn of_oddity(glance: &Glance, reason: &str, note: String, begins: bool) -> Tale {
    tale(glance, reason, note, "Report", begins)
}

/// Conditions that are worth an event: trouble when it comes, and its end.
fn of_change(glance: &Glance, change: &Change) -> Option<Tale> {
    let claim = &change.claim;
    let good = match claim.kind {
        "Ready" | "ObjectiveMet" => Truth::True,
        "Fallback" | "CapacityShort" | "WriterConflict" => Truth::False,
        _ => return None,
    };
    let is_bad = (claim.truth != good && claim.truth != Truth::Unknown) || claim.warns();
    let was_bad = change.warned
        || change.before.is_some_and(|before| before != good && before != Truth::Unknown);
    if is_bad {
        let note = format!("{}: {}", claim.kind, claim.message);
        Some(tale(glance, &claim.reason, note, "Report", true))
    } else if was_bad && claim.truth == good {
        let note = match (claim.kind, claim.message.is_empty()) {
            ("Fallback", _) => "Fallback: its sources answer again".to_owned(),
            ("WriterConflict", _) => {
                "WriterConflict: nobody else writes its replicas now".to_owned()
            }
            (kind, _) => format!("{kind}: {}", claim.message),
        };
        let reason = format!("{}Ended", claim.kind);
        let reason = if good == Truth::True { claim.reason.to_string() } else { reason };
        Some(tale(glance, &reason, note, "Report", false))
    } else {
        None
    }
}
