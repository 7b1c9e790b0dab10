//! What needs a look: late, held, refused, in conflict, odd, paused or only watched. Read off a picture, in the words of its reasons;
//! it decides nothing and remembers nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::answer::view::{self, Said};
use crate::decide::{Observation, Reason, Verdict};
use crate::report::{Picture, is_hiccup, late_beyond};

/// How much it matters, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Nothing works until somebody mends it.
    Broken,
    /// The promise is not kept now.
    Late,
    /// It may not or cannot move: no fresh data, another writer, nothing gets done.
    Held,
    /// It works, and something about it is not as it should be.
    Odd,
    /// Somebody wanted it so: paused, pinned, only observed.
    Note,
}

impl Severity {
    /// Its class in the picture and on the page.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Late => "late",
            Self::Held => "held",
            Self::Odd => "odd",
            Self::Note => "note",
        }
    }
}

/// One thing that needs a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// How much it matters.
    pub severity: Severity,
    /// The stage; `None` where it is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// CamelCase word: a reason's code, `Late`, a fault's code, or the label of refused credentials.
    pub code: String,
    /// One sentence.
    pub sentence: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Since when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Everything about one pipeline that needs a look, the gravest first; `seen` is its view.
pub(super) fn concerns(picture: &Picture, seen: &view::Pipeline) -> Vec<Concern> {
    let mut found: Vec<Concern> = seen.faults.iter().map(fault).collect();
    for (stage, verdict) in seen.stages.iter().zip(&picture.verdicts) {
        found.extend(late(picture, stage, verdict));
        let said = stage.reasons.iter().zip(&verdict.why);
        let odd = stage.anomalies.iter().zip(&verdict.anomalies);
        for (said, reason) in said.chain(odd) {
            found.extend(trouble(picture, stage, said, reason, verdict));
        }
        let refused = stage.sources.iter().filter_map(|source| source.refusal.as_ref());
        found.extend(refused.map(|refusal| Concern {
            severity: Severity::Odd,
            stage: Some(stage.name.clone()),
            code: refusal.code.clone(),
            sentence: format!("its newest credentials are not in use: {}", refusal.message),
            hint: None,
            since: Some(refusal.since),
        }));
    }
    found.extend(pauses(picture));
    let is_elsewhere =
        |concern: &Concern| concern.stage.is_some() && concern.stage != seen.bottleneck;
    found.sort_by_key(|concern| (concern.severity, is_elsewhere(concern)));
    // Several phases may say the same of a stage, and the last one has the last word.
    let mut kept: Vec<Concern> = Vec::new();
    for concern in found {
        let same = |it: &&mut Concern| it.code == concern.code && it.stage == concern.stage;
        match kept.iter_mut().find(same) {
            Some(before) => *before = concern,
            None => kept.push(concern),
        }
    }
    // One word for many stages of one pipeline, where somebody wanted it so.
    let mut told: Vec<String> = Vec::new();
    kept.retain(|concern| {
        let is_new = !told.contains(&concern.code);
        if concern.severity == Severity::Note {
            told.push(concern.code.clone());
        }
        is_new
    });
    kept
}

/// The gravest that its view alone tells of a stage.
pub(super) fn severity_of(stage: &view::Stage) -> Option<Severity> {
    let delay = stage.delay_seconds.zip(stage.objective_seconds);
    let is_late = delay.is_some_and(|(delay, objective)| delay > objective);
    let said = stage.reasons.iter().chain(&stage.anomalies);
    let told = said.filter_map(|said| severity(&said.code));
    told.chain(is_late.then_some(Severity::Late)).min()
}

/// How much a reason matters; `None` for those that only say why all is well.
fn severity(code: &str) -> Option<Severity> {
    Some(match code {
        "TargetUnusable" | "TargetTaken" | "HpaOnTarget" | "WriteRefused" | "PromiseBroken"
        | "InternalError" | "NoSources" => Severity::Broken,
        "Overdue" => Severity::Late,
        "NoFreshData" | "Fallback" | "WriterConflict" | "OffsetsReset" | "SourceDoubted"
        | "OutcomeUnknown" | "Stopped" | "Stuck" | "NoEffect" => Severity::Held,
        "SickConsumer" | "HotPartition" | "UnusualArrivals" | "SlowerReplicas"
        | "LongerRebalances" | "SpikeUnconfirmed" => Severity::Odd,
        "Observed" | "Paused" | "PinnedByAnnotation" | "Uncommitted" => Severity::Note,
        _ => return None,
    })
}

fn fault(fault: &view::Fault) -> Concern {
    Concern {
        severity: Severity::Broken,
        stage: None,
        code: fault.code.clone(),
        sentence: format!("nothing is decided: {} {}", fault.path, fault.message),
        hint: fault.hint.clone(),
        since: None,
    }
}

fn late(picture: &Picture, stage: &view::Stage, verdict: &Verdict) -> Option<Concern> {
    let signals = &verdict.signals;
    let (delay, limit) = (signals.delay?, late_beyond(signals)?);
    if delay <= limit || is_hiccup(signals, picture.at) {
        return None;
    }
    let objective = signals.objective.unwrap_or(limit);
    let least = if signals.is_delay_at_least { "at least " } else { "" };
    // What bounds the count is what to change; that it fits is no news.
    let bound = stage.reasons.last();
    let hint = bound.and_then(|reason| reason.hint.clone());
    let why = bound.filter(|reason| reason.code != "Steady");
    let why = why.map_or_else(String::new, |reason| format!("; {}", reason.sentence));
    let conditions = &picture.glance.status.conditions;
    let met = conditions.iter().find(|it| it.type_ == "ObjectiveMet" && it.status == "False");
    Some(Concern {
        severity: Severity::Late,
        stage: Some(stage.name.clone()),
        code: "Late".to_owned(),
        sentence: format!(
            "the oldest item has waited {least}{delay:.0} s of {objective:.0} s{why}"
        ),
        hint,
        since: met.map(|condition| condition.last_transition_time.0),
    })
}

fn trouble(
    picture: &Picture,
    stage: &view::Stage,
    said: &Said,
    reason: &Reason,
    verdict: &Verdict,
) -> Option<Concern> {
    let severity = severity(&said.code)?;
    let mut since = None;
    if matches!(reason, Reason::NoFreshData { .. }) {
        // Brokers stall and links drop for seconds; who never answered is told of at once.
        let was_heard = picture.heard.iter().any(|heard| {
            heard.observation.as_ref().is_some_and(|seen| !matches!(seen, Observation::Failed(_)))
        });
        if was_heard && is_hiccup(&verdict.signals, picture.at) {
            return None;
        }
        since = verdict.signals.blind_since;
    }
    Some(Concern {
        severity,
        stage: Some(stage.name.clone()),
        code: said.code.clone(),
        sentence: said.sentence.clone(),
        hint: said.hint.clone(),
        since,
    })
}

/// What annotations ask for, where no reason says it: a pause that holds nothing back now.
fn pauses(picture: &Picture) -> Option<Concern> {
    let pause = &picture.situation.as_ref()?.pipeline.pause;
    let why = picture.verdicts.iter().flat_map(|verdict| &verdict.why);
    if why.into_iter().any(|reason| matches!(reason, Reason::Paused { .. })) {
        return None;
    }
    let sentence = match (pause.all, pause.scale_in, pause.scale_out) {
        (true, _, _) => "penstock.dev/paused: nothing is written",
        (_, true, true) => "neither fewer nor more, by annotations",
        (_, true, false) => "never fewer, by penstock.dev/paused-scale-in",
        (_, false, true) => "never more, by penstock.dev/paused-scale-out",
        (false, false, false) => return None,
    };
    Some(Concern {
        severity: Severity::Note,
        stage: None,
        code: "Paused".to_owned(),
        sentence: sentence.to_owned(),
        hint: Some("remove the annotation".to_owned()),
        since: None,
    })
}
