//! The conditions of a pipeline: what each turn claims of it, in Kubernetes' and KEDA's meanings. Called by the status teller for
//! each picture; events are made of their changes. Calm by design: noise around a limit does not turn a claim over.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use super::Picture;
use super::readiness::{self, Standoff};
use super::status::Stand;
use crate::decide::{FallbackPolicy, Nodes, Reason, Signals, Stage, Verdict};

/// A pipeline counts as quiet once nothing has waited or arrived for this long.
const QUIET: Duration = Duration::from_mins(1);
/// How long readings must be missing before anything is written of it: brokers stall and links drop for seconds, for all pipelines
/// at once, and nobody can mend what is over before it is read.
pub(super) const HICCUP: Duration = Duration::from_secs(20);
/// A late stage is in time again once its delay is below this share of its objective.
const IN_TIME_AGAIN: f64 = 0.9;
/// And only after so long: where commits come in leaps, a delay falls with each and grows back.
const ALL_CLEAR: Duration = Duration::from_mins(1);
/// Where a promise is finer than can be seen, an item is late once this many of the finest visible delays have gone by: one
/// commit may have been missed.
const BEYOND_DOUBT: f64 = 2.0;
/// What one message may fill.
const MESSAGE_LIMIT: usize = 1024;

/// Ready, but by credentials that were replaced and whose successors the server refuses.
pub const CREDENTIALS_REFUSED: &str = "CredentialsRefused";

/// Every reason that a condition can carry besides the codes of `Reason`, the faults of meaning and the labels of sources.
pub const REASONS: &[&str] = &[
    "Serving",
    CREDENTIALS_REFUSED,
    "Working",
    "Quiet",
    "NotKnown",
    "NotPaused",
    "ScaleInPaused",
    "ScaleOutPaused",
    "NotNeeded",
    "NoObjective",
    "ObjectiveBelowResolution",
    "DelayUnknown",
    "InTime",
    "Late",
    "RoomForAll",
    "SoleWriter",
    "Settled",
];

/// Does a condition hold?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// The truth that a word stands for.
    pub(super) fn of(word: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown].into_iter().find(|truth| truth.word() == word)
    }
}

/// One condition as this turn sees it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Its type.
    pub(super) kind: &'static str,
    pub(super) truth: Truth,
    pub(super) reason: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
}

impl Claim {
    /// What it says, without its message.
    pub(super) fn stand(&self) -> Stand {
        Stand { kind: self.kind, truth: self.truth, reason: self.reason.clone() }
    }

    /// True, and yet someone should mend something before it is no more.
    pub(super) fn warns(&self) -> bool {
        self.truth == Truth::True && self.reason == CREDENTIALS_REFUSED
    }
}

/// What the claims of the next turn lean on.
#[derive(Debug, Clone, Default)]
pub(super) struct Calm {
    is_active: Option<bool>,
    quiet_since: Option<Timestamp>,
    is_late: bool,
    /// Since when no stage is late any more.
    in_time_since: Option<Timestamp>,
    standoff: Option<Box<Standoff>>,
}

impl Calm {
    /// As a status of an earlier life tells it.
    pub(super) fn recalled(is_active: Option<bool>, is_late: bool) -> Self {
        Self { is_active, quiet_since: None, is_late, in_time_since: None, standoff: None }
    }
}

/// All conditions of a pipeline at this turn, in the order of the contract.
pub(super) fn claims(picture: &Picture, calm: &mut Calm) -> Vec<Claim> {
    let [ready, conflict, reconciling, stalled] = readiness::judge(picture, &mut calm.standoff);
    let before = [ready, active(picture, calm), paused(picture), fallback(picture)];
    let short = capacity_short(picture);
    let after = [conflict, reconciling, stalled];
    before.into_iter().chain([objective_met(picture, calm)]).chain(short).chain(after).collect()
}

pub(super) fn claim(
    kind: &'static str,
    truth: Truth,
    reason: &'static str,
    message: &'static str,
) -> Claim {
    Claim { kind, truth, reason: reason.into(), message: message.into() }
}

/// A claim in the words of a reason.
pub(super) fn told(kind: &'static str, truth: Truth, verdict: &Verdict, reason: &Reason) -> Claim {
    let mut message = format!("stage {}: {reason}", verdict.stage.name);
    if let Some(hint) = reason.hint() {
        message.push_str("; hint: ");
        message.push_str(&hint);
    }
    Claim { kind, truth, reason: reason.code().into(), message: cut(message).into() }
}

pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MESSAGE_LIMIT));
    text
}

/// The first reason of any stage that `of` accepts.
pub(super) fn first(
    picture: &Picture,
    of: impl Fn(&Reason) -> bool,
) -> Option<(&Verdict, &Reason)> {
    picture.verdicts.iter().find_map(|verdict| {
        let reason = verdict.why.iter().rev().find(|reason| of(reason))?;
        Some((verdict, reason))
    })
}

fn stage_of<'a>(picture: &'a Picture, verdict: &Verdict) -> Option<&'a Stage> {
    picture.situation.as_ref()?.pipeline.stages.get(verdict.stage.index)
}

fn active(picture: &Picture, calm: &mut Calm) -> Claim {
    const KIND: &str = "Active";
    let signals = || picture.verdicts.iter().map(|verdict| &verdict.signals);
    let works = signals().any(|signals| {
        signals.lag.is_some_and(|lag| lag > 0) || signals.arrival_rate.is_some_and(|r| r > 0.0)
    });
    if !works && signals().all(|signals| signals.lag.is_none()) {
        return claim(KIND, Truth::Unknown, "NotKnown", "no source has said what waits");
    }
    if works {
        calm.quiet_since = None;
        calm.is_active = Some(true);
    } else {
        let since = *calm.quiet_since.get_or_insert(picture.at);
        let is_long =
            Duration::try_from(picture.at.duration_since(since)).is_ok_and(|d| d >= QUIET);
        if is_long || calm.is_active.is_none() {
            calm.is_active = Some(false);
        }
    }
    if calm.is_active == Some(true) {
        claim(KIND, Truth::True, "Working", "work waits or arrives")
    } else {
        claim(KIND, Truth::False, "Quiet", "nothing waits and nothing arrives")
    }
}

/// What cannot be told of a pipeline on which nothing was decided.
pub(super) fn unread(kind: &'static str) -> Claim {
    claim(kind, Truth::Unknown, "NotKnown", "the pipeline cannot be read")
}

fn paused(picture: &Picture) -> Claim {
    const KIND: &str = "Paused";
    let Some(situation) = &picture.situation else { return unread(KIND) };
    let (pause, stages) = (&situation.pipeline.pause, &situation.pipeline.stages);
    if pause.all {
        return claim(KIND, Truth::True, "Paused", "penstock.dev/paused: nothing is written");
    }
    if stages.iter().any(|stage| stage.pinned.is_some()) {
        let pinned: Vec<String> = stages
            .iter()
            .filter_map(|stage| Some(format!("{} at {}", stage.name, stage.pinned?)))
            .collect();
        let message = format!("penstock.dev/paused-replicas keeps {}", pinned.join(", "));
        return Claim {
            kind: KIND,
            truth: Truth::True,
            reason: "PinnedByAnnotation".into(),
            message: cut(message).into(),
        };
    }
    match (pause.scale_in, pause.scale_out) {
        (true, true) => {
            claim(KIND, Truth::True, "Paused", "neither fewer nor more, by annotations")
        }
        (true, false) => claim(KIND, Truth::True, "ScaleInPaused", "never fewer, by annotation"),
        (false, true) => claim(KIND, Truth::True, "ScaleOutPaused", "never more, by annotation"),
        (false, false) => claim(KIND, Truth::False, "NotPaused", ""),
    }
}

fn fallback(picture: &Picture) -> Claim {
    const KIND: &str = "Fallback";
    if picture.situation.is_none() {
        return unread(KIND);
    }
    if let Some((verdict, reason)) =
        first(picture, |reason| matches!(reason, Reason::Fallback { .. }))
    {
        return told(KIND, Truth::True, verdict, reason);
    }
    // Hold is a fallback too, once its time has come.
    let holding = picture.verdicts.iter().find(|verdict| {
        let Some(stage) = stage_of(picture, verdict) else { return false };
        let blind = verdict.signals.blind_since.map(|since| picture.at.duration_since(since));
        let is_long = blind.and_then(|blind| Duration::try_from(blind).ok());
        stage.fallback.policy == FallbackPolicy::Hold
            && is_long.is_some_and(|blind| blind >= stage.fallback.after)
    });
    match holding.and_then(|verdict| Some((verdict, verdict.reason()?))) {
        Some((verdict, reason)) => {
            Claim { reason: "NoFreshData".into(), ..told(KIND, Truth::True, verdict, reason) }
        }
        None => claim(KIND, Truth::False, "NotNeeded", ""),
    }
}

fn objective_met(picture: &Picture, calm: &mut Calm) -> Claim {
    const KIND: &str = "ObjectiveMet";
    if picture.situation.is_none() {
        return unread(KIND);
    }
    let promised = || {
        picture.verdicts.iter().filter_map(|verdict| Some((verdict, verdict.signals.objective?)))
    };
    let mut batches = picture.verdicts.iter().filter(|it| it.signals.done_by.is_some()).peekable();
    if promised().next().is_none() && batches.peek().is_none() {
        let message = "no stage is sized by an objective";
        return claim(KIND, Truth::Unknown, "NoObjective", message);
    }
    let default = by_default(picture);
    let say = |truth, reason: &'static str, message: String| Claim {
        kind: KIND,
        truth,
        reason: reason.into(),
        message: cut(message + &default).into(),
    };
    if let Some(verdict) = batches.find(|verdict| verdict.signals.is_overdue) {
        let by = verdict.signals.done_by.unwrap_or_default();
        let (name, lag) = (&verdict.stage.name, verdict.signals.lag.unwrap_or_default());
        let by = by.strftime("%Y-%m-%d %H:%M UTC");
        let message = format!("stage {name}: was to be done by {by}, and {lag} items still wait");
        return say(Truth::False, "Overdue", message);
    }
    let share = if calm.is_late { IN_TIME_AGAIN } else { 1.0 };
    let late = promised().find(|(verdict, objective)| {
        let signals = &verdict.signals;
        let limit = late_beyond(signals).unwrap_or(*objective);
        let is_guess = !calm.is_late && is_hiccup(signals, picture.at);
        !is_guess && signals.delay.is_some_and(|delay| delay > limit * share)
    });
    if let Some((verdict, objective)) = late {
        calm.is_late = true;
        calm.in_time_since = None;
        let (name, delay) = (&verdict.stage.name, verdict.signals.delay.unwrap_or_default());
        let message =
            format!("stage {name}: the oldest item has waited {delay:.0} s of {objective:.0} s");
        return say(Truth::False, "Late", message);
    }
    let since = *calm.in_time_since.get_or_insert(picture.at);
    if let Some((verdict, objective)) = promised().find(|(verdict, objective)| {
        verdict.signals.resolution.is_some_and(|finest| finest > *objective)
    }) {
        let (name, finest) = (&verdict.stage.name, verdict.signals.resolution.unwrap_or_default());
        let message = format!(
            "stage {name}: {objective:.0} s are promised, and no delay below {finest:.0} s can be seen (commit \
             interval, poll and rebalance)"
        );
        return say(Truth::Unknown, "ObjectiveBelowResolution", message);
    }
    if let Some((verdict, _)) = promised().find(|(verdict, _)| verdict.signals.delay.is_none()) {
        let message = format!("stage {}: its delay is not known", verdict.stage.name);
        return say(Truth::Unknown, "DelayUnknown", message);
    }
    let is_long =
        Duration::try_from(picture.at.duration_since(since)).is_ok_and(|d| d >= ALL_CLEAR);
    if calm.is_late && !is_long {
        let message = "every stage keeps its objective again, but not yet for a minute".to_owned();
        return say(Truth::False, "Late", message);
    }
    calm.is_late = false;
    say(Truth::True, "InTime", "every stage keeps its objective".to_owned())
}

/// That an objective is a default, where it is: of the whole, or of these stages.
fn by_default(picture: &Picture) -> String {
    let stages = picture.situation.iter().flat_map(|situation| &situation.pipeline.stages);
    let (default, own): (Vec<&Stage>, Vec<_>) =
        stages.partition(|stage| stage.is_default_objective);
    let names: Vec<&str> = default.iter().map(|stage| &*stage.name).collect();
    let of = match (names.is_empty(), own.is_empty()) {
        (true, _) => return String::new(),
        (false, true) => "from end to end".to_owned(),
        (false, false) => format!("for {}", names.join(", ")),
    };
    let seconds = Stage::DEFAULT_OBJECTIVE.as_secs();
    format!("; the objective is {seconds} s {of}, since nobody wrote one")
}

/// Does a stage get less than it needs, for want of nodes, of money or of a quota? `None` where no stage has lanes and no budget and no quota
/// is over it: then nobody looks.
fn capacity_short(picture: &Picture) -> Option<Claim> {
    const KIND: &str = "CapacityShort";
    let situation = picture.situation.as_ref()?;
    let has_lanes = situation.pipeline.stages.iter().any(|stage| !stage.lanes.is_empty());
    if !has_lanes && situation.budgets.is_empty() {
        return None;
    }
    let is_short = |reason: &&Reason| {
        matches!(
            reason,
            Reason::Nodes(Nodes::Short { .. })
                | Reason::OverBudget { .. }
                | Reason::OverQuota { .. }
        )
    };
    let mut verdicts = picture.verdicts.iter();
    let short = verdicts.find_map(|verdict| {
        let mut said = verdict.anomalies.iter().chain(&verdict.why);
        Some((verdict, said.find(is_short)?))
    });
    Some(match short {
        Some((verdict, reason)) => told(KIND, Truth::True, verdict, reason),
        None => claim(KIND, Truth::False, "RoomForAll", "nothing lacks nodes, money or quota"),
    })
}

/// The delay from which on an item is late, in seconds: the objective, or what can be seen without doubt where that is coarser. `None`
/// where no delay is promised.
pub fn late_beyond(signals: &Signals) -> Option<f64> {
    let objective = signals.objective?;
    Some(match signals.resolution {
        Some(finest) if finest > objective => BEYOND_DOUBT * finest,
        _ => objective,
    })
}

/// Have readings been missing for a moment only? Meanwhile every item seems to age, taken or not.
pub fn is_hiccup(signals: &Signals, at: Timestamp) -> bool {
    let blind = signals.blind_since.map(|since| at.duration_since(since));
    !signals.is_fresh
        && blind.is_some_and(|blind| Duration::try_from(blind).is_ok_and(|blind| blind < HICCUP))
}
