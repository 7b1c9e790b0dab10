//! One stage's turn, phase by phase: what is known, what is wished, what is held back, what is written. Called by `decide` for
//! each stage of a due pipeline; each phase may change the number only by adding a reason.

use std::sync::Arc;

use jiff::Timestamp;

use super::demand::{self, Bid, Pace};
use super::evidence::{self, Evidence};
use super::memory::StageMemory;
use super::pipeline::{Mode, Pipeline, PipelineId, Stage};
use super::plan::{Action, Outcome, Scale, Signals, StageId, Verdict};
use super::reason::Reason;
use super::snapshot::{Target, Unusable, Workload, Writing};
use super::writes::later;

/// All that a stage's turn looks at.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) at: Timestamp,
    pub(super) may_act: bool,
    pub(super) pipeline: &'a Pipeline,
    pub(super) index: usize,
    pub(super) stage: &'a Stage,
    pub(super) target: &'a Target,
    pub(super) outcomes: Vec<&'a Outcome>,
    pub(super) evidence: Evidence<'a>,
}

/// What a stage's turn comes to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) action: Option<Action>,
    pub(super) violations: u32,
}

impl Turn<'_> {
    pub(super) fn id(&self) -> StageId {
        StageId {
            pipeline: self.pipeline.id.clone(),
            index: self.index,
            name: Arc::clone(&self.stage.name),
        }
    }

    /// The stage's turn.
    pub(super) fn take(&self, memory: &mut StageMemory) -> Answer {
        let workload = match self.target {
            Target::Unseen => return self.without_target(Reason::TargetUnseen),
            Target::Unusable(why) => return self.without_target(unusable(why, self.stage)),
            Target::Seen(workload) => workload,
        };
        memory.writes.settle(workload, &self.outcomes, self.at, self.may_act);
        let signals = self.signals();
        if let Some((replicas, reason)) = memory.writes.waits_for(workload) {
            let bid = Bid::new(replicas, reason);
            return self.answer(bid, signals, memory, None, 0);
        }
        let mut bid = self.wish(signals, workload.desired);
        self.hold_unless_fresh(&mut bid, workload.desired);
        self.bound(&mut bid);
        let mut violations = 0;
        if let Some(promise) = self.broken(&bid, workload.desired) {
            violations = 1;
            bid.set(workload.desired, Reason::PromiseBroken { promise: promise.to_owned() });
        }
        let action = self.write(&mut bid, workload, memory);
        self.answer(bid, signals, memory, action, violations)
    }

    fn without_target(&self, reason: Reason) -> Answer {
        let verdict = Verdict {
            stage: self.id(),
            replicas: None,
            why: vec![reason],
            signals: self.signals(),
            held: None,
            next: None,
        };
        Answer { verdict, action: None, violations: 0 }
    }

    fn signals(&self) -> Signals {
        Signals {
            lag: self.evidence.lag(),
            rate_per_replica: self.stage.rate_hint,
            startup: self.stage.startup_hint.map(|startup| startup.as_secs_f64()),
            objective: self.stage.max_delay.map(|delay| delay.as_secs_f64()),
            partitions: self.evidence.partitions(),
            is_fresh: self.evidence.is_fresh(),
            ..Signals::default()
        }
    }

    fn wish(&self, signals: Signals, current: u32) -> Bid {
        if self.stage.sources.is_empty() {
            return Bid::new(current, Reason::NoSources);
        }
        let pace = Pace {
            arrivals: signals.arrival_rate,
            rate: signals.rate_per_replica,
            delay: signals.delay,
        };
        demand::wish(self.stage, &self.evidence, pace).unwrap_or_else(|| {
            let complaint = self.evidence.complaint().cloned();
            Bid::new(current, complaint.unwrap_or(Reason::Learning { replicas: current }))
        })
    }

    fn hold_unless_fresh(&self, bid: &mut Bid, current: u32) {
        if let Some(complaint) = self.evidence.complaint()
            && bid.replicas <= current
        {
            bid.set(current, complaint.clone());
        }
    }

    fn bound(&self, bid: &mut Bid) {
        let Stage { min, max, .. } = *self.stage;
        if bid.replicas < min {
            bid.set(min, Reason::AtMin { wished: bid.replicas, min });
        }
        if max < bid.replicas {
            bid.set(max, Reason::AtMax { wished: bid.replicas, max });
        }
    }

    /// A promise of ours that the bid breaks, if any.
    fn broken(&self, bid: &Bid, current: u32) -> Option<&'static str> {
        if self.stage.max < bid.replicas {
            return Some("never above max");
        }
        if bid.replicas < current.min(self.stage.max) && !self.evidence.is_fresh() {
            return Some("never down without fresh data");
        }
        None
    }

    fn write(
        &self,
        bid: &mut Bid,
        workload: &Workload,
        memory: &mut StageMemory,
    ) -> Option<Action> {
        let would_be = bid.replicas;
        let moves = would_be != workload.desired;
        let claims = !moves && workload.writing == Writing::Apply && !workload.is_ours;
        if !moves && !claims {
            return None;
        }
        if self.stage.mode == Mode::Observe {
            bid.set(would_be, Reason::Observed { would_be });
            return None;
        }
        if self.pipeline.pause.all {
            let annotation = "penstock.dev/paused".to_owned();
            bid.set(would_be, Reason::Paused { annotation, would_be });
            return None;
        }
        if let Some(reason) = memory.writes.forbidden(workload) {
            bid.set(workload.desired, reason);
            return None;
        }
        let gap = self.evidence.poll().max(std::time::Duration::from_secs(5));
        let wakes = workload.desired == 0 && 0 < would_be;
        if let Some(until) = memory.writes.rests_until(gap, self.at)
            && !wakes
        {
            bid.set(workload.desired, Reason::TooSoon { wished: would_be, until });
            return None;
        }
        if !self.may_act {
            return None;
        }
        let (force, hand) = memory.writes.hand().map_or((false, None), |(f, r)| (f, Some(r)));
        if moves && let Some(reason) = hand {
            bid.set(would_be, reason);
        }
        let scale = Scale {
            stage: self.id(),
            target: self.stage.target.clone(),
            uid: Arc::clone(&workload.uid),
            resource_version: Arc::clone(&workload.resource_version),
            writing: workload.writing,
            from: workload.desired,
            to: would_be,
            force: force && moves,
            why: bid.why.last().cloned().unwrap_or(Reason::NoSources),
        };
        let action = if moves { Action::Scale(scale) } else { Action::Claim(scale) };
        memory.writes.ask(&action, self.at);
        Some(action)
    }

    fn answer(
        &self,
        bid: Bid,
        signals: Signals,
        memory: &StageMemory,
        action: Option<Action>,
        violations: u32,
    ) -> Answer {
        let late = self.evidence.sources.iter().filter_map(|seen| {
            let patience = evidence::patience(seen.source.poll_interval);
            Some(later(seen.reading?.at, patience)).filter(|&late| self.at < late)
        });
        let next = late.chain(memory.writes.next()).filter(|&next| self.at < next).min();
        let verdict = Verdict {
            stage: self.id(),
            replicas: Some(bid.replicas),
            why: bid.why,
            signals,
            held: None,
            next,
        };
        Answer { verdict, action, violations }
    }
}

fn unusable(why: &Unusable, stage: &Stage) -> Reason {
    let target = &stage.target;
    let (code, message) = match why {
        Unusable::UnknownKind => (
            "UnknownKind",
            format!("the API server knows no {} {}", target.api_version, target.kind),
        ),
        Unusable::NotScalable => ("NotScalable", format!("{} has no /scale", target.kind)),
        Unusable::NotFound => ("NotFound", format!("there is no {target}")),
        Unusable::Forbidden(what) => ("Forbidden", format!("Penstock may not {what}")),
        Unusable::TakenBy(other) => {
            let (namespace, name) = other.split_once('/').unwrap_or((&target.namespace, other));
            let by = PipelineId { namespace: namespace.into(), name: name.into() };
            return Reason::TargetTaken { by };
        }
    };
    Reason::TargetUnusable { code: code.to_owned(), message }
}
