//! Can Penstock do its work for a pipeline: Ready, Stalled, Reconciling and `WriterConflict`, the conditions that wait for a hand.
//! Called by `conditions`. A refusal or a conflict is backed off from and tried again; between two tries its condition stands.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use super::conditions::{CREDENTIALS_REFUSED, Claim, Truth, claim, cut, first, told, unread};
use super::{Heard, Picture};
use crate::decide::{Action, Ending, Missing, Nodes, Observation, Reason, Verdict};

/// A refusal or conflict that has not come again for this long is over.
const OVER: Duration = Duration::from_mins(1);

/// The latest refusal or conflict, until a write succeeds or it has not come again for long.
#[derive(Debug, Clone)]
pub(super) struct Standoff {
    stage: usize,
    seen: Timestamp,
    ready: Claim,
    conflict: Claim,
}

/// Ready, `WriterConflict`, Reconciling, Stalled.
pub(super) fn judge(picture: &Picture, standoff: &mut Option<Box<Standoff>>) -> [Claim; 4] {
    let mut ready = ready(picture);
    let mut conflict = writer_conflict(picture);
    let is_standoff = |reason: &Reason| {
        matches!(reason, Reason::WriterConflict { .. } | Reason::WriteRefused { .. })
    };
    if let Some((verdict, _)) = first(picture, is_standoff) {
        let (stage, seen) = (verdict.stage.index, picture.at);
        let (ready, conflict) = (ready.clone(), conflict.clone());
        *standoff = Some(Box::new(Standoff { stage, seen, ready, conflict }));
    } else if let Some(last) = standoff {
        let is_over = Duration::try_from(picture.at.duration_since(last.seen))
            .is_ok_and(|since| since >= OVER);
        if is_over || has_written(picture, last.stage) {
            *standoff = None;
        } else if ready.truth != Truth::False {
            (ready, conflict) = (last.ready.clone(), last.conflict.clone());
        }
    }
    let (stalled, reconciling) = progress(&ready);
    [ready, conflict, reconciling, stalled]
}

fn has_written(picture: &Picture, stage: usize) -> bool {
    let outcomes = picture.situation.iter().flat_map(|situation| &situation.outcomes);
    outcomes.into_iter().any(|(of, outcome)| {
        // Room that is kept says nothing of the count.
        let is_room = matches!(outcome.action, Action::Reserve(_));
        *of == stage && !is_room && matches!(outcome.result, Ending::Done { .. })
    })
}

/// Can Penstock do its work for this pipeline?
fn ready(picture: &Picture) -> Claim {
    const KIND: &str = "Ready";
    if let Some(fault) = picture.glance.faults.first() {
        let all: Vec<String> = picture.glance.faults.iter().map(ToString::to_string).collect();
        return Claim {
            kind: KIND,
            truth: Truth::False,
            reason: fault.code.label().into(),
            message: cut(all.join("; ")).into(),
        };
    }
    if let Some((verdict, reason)) = first(picture, is_broken) {
        return told(KIND, Truth::False, verdict, reason);
    }
    if let Some((name, missing)) = lasting_silence(picture) {
        return Claim {
            kind: KIND,
            truth: Truth::False,
            reason: word(&missing.label),
            message: cut(format!("source {name}: {}", missing.message)).into(),
        };
    }
    if let Some((verdict, reason)) = misplaced(picture) {
        return told(KIND, Truth::False, verdict, reason);
    }
    let is_starting =
        |reason: &Reason| matches!(reason, Reason::TargetUnseen | Reason::AwaitingData { .. });
    match first(picture, is_starting) {
        Some((verdict, reason)) => told(KIND, Truth::Unknown, verdict, reason),
        None => refused(picture).unwrap_or_else(|| {
            claim(KIND, Truth::True, "Serving", "every stage is watched, sized and served")
        }),
    }
}

/// Served still, by a login that someone has replaced: true, and worth a warning before the former one ends as well.
fn refused(picture: &Picture) -> Option<Claim> {
    let (name, why) =
        sources(picture).find_map(|(name, heard)| Some((name, heard.refusal.as_ref()?)))?;
    let since = why.since.strftime("%Y-%m-%d %H:%M:%S UTC");
    let message = format!(
        "every stage is served, but source {name} only by its former credentials; the newest are not in use since \
         {since}: {}",
        why.message
    );
    Some(Claim {
        kind: "Ready",
        truth: Truth::True,
        reason: CREDENTIALS_REFUSED.into(),
        message: cut(message).into(),
    })
}

/// What every source said, by `stage/source`.
fn sources(picture: &Picture) -> impl Iterator<Item = (String, &Heard)> {
    let stages = picture.situation.iter().flat_map(|situation| &situation.pipeline.stages);
    let named = stages.flat_map(|stage| {
        stage.heard().map(move |source| format!("{}/{}", stage.name, source.name))
    });
    named.zip(&picture.heard)
}

/// Reasons that stand in the way until someone mends something.
fn is_broken(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::InternalError { .. }
            | Reason::PromiseBroken { .. }
            | Reason::TargetUnusable { .. }
            | Reason::TargetTaken { .. }
            | Reason::HpaOnTarget { .. }
            | Reason::WriterConflict { .. }
            | Reason::WriteRefused { .. }
            | Reason::NoSources
    )
}

/// A lane on nodes that are no place for its pods. It is served all the same: which nodes those are the pool says, and that may change while it
/// runs.
fn misplaced(picture: &Picture) -> Option<(&Verdict, &Reason)> {
    let is_misplaced = |reason: &&Reason| matches!(reason, Reason::Nodes(Nodes::RoleOnSpot { .. }));
    let mut verdicts = picture.verdicts.iter();
    verdicts.find_map(|verdict| Some((verdict, verdict.anomalies.iter().find(is_misplaced)?)))
}

/// A source that will not answer until someone mends something, by `stage/source`.
fn lasting_silence(picture: &Picture) -> Option<(String, &Missing)> {
    sources(picture).find_map(|(name, heard)| match heard.observation.as_ref()? {
        Observation::Failed(missing) | Observation::Stale(_, missing) if missing.is_lasting => {
            Some((name, missing))
        }
        Observation::Fresh(_)
        | Observation::Partial(..)
        | Observation::Stale(..)
        | Observation::Failed(_) => None,
    })
}

/// A label of another room as a condition's reason, which must be one word.
fn word(label: &str) -> Cow<'static, str> {
    let word: String = label.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
        word.into()
    } else {
        "NoFreshData".into()
    }
}

/// Stalled and Reconciling, as kstatus wants them: what waits for a hand, and what is still coming up.
fn progress(ready: &Claim) -> (Claim, Claim) {
    let same = |kind| Claim { kind, truth: Truth::True, ..ready.clone() };
    let not = |kind| claim(kind, Truth::False, "Settled", "");
    match ready.truth {
        Truth::True => (not("Stalled"), not("Reconciling")),
        Truth::False => (same("Stalled"), not("Reconciling")),
        Truth::Unknown => (not("Stalled"), same("Reconciling")),
    }
}

fn writer_conflict(picture: &Picture) -> Claim {
    const KIND: &str = "WriterConflict";
    if picture.situation.is_none() {
        return unread(KIND);
    }
    let is_conflict = |reason: &Reason| {
        matches!(
            reason,
            Reason::WriterConflict { .. } | Reason::HpaOnTarget { .. } | Reason::TargetTaken { .. }
        )
    };
    match first(picture, is_conflict) {
        Some((verdict, reason)) => told(KIND, Truth::True, verdict, reason),
        None => claim(KIND, Truth::False, "SoleWriter", ""),
    }
}
