//! What a stage wishes before anything holds it back: to sleep, to wake, to gather work asleep, or what its sources ask for. Called in the middle of
//! a stage's turn.

use std::time::Duration;

use super::batch;
use super::combine;
use super::demand::{self, Bid, Load};
use super::frame::Frame;
use super::idle::Work;
use super::knowledge::Known;
use super::memory::StageMemory;
use super::reason::Reason;
use super::snapshot::Target;
use super::stage::Turn;
use super::steady::Haste;
use super::writes::later;

/// A bid on its way through the phases.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) bid: Bid,
    pub(super) haste: Haste,
    /// Does the owner's own word lower it, whatever is known?
    pub(super) is_told: bool,
}

impl Turn<'_> {
    /// How long it must be quiet before the stage sleeps: as the owner says, else as waking costs and gaps of before advise.
    pub(super) fn patience(&self, known: &Known, memory: &StageMemory) -> Duration {
        let learned = || memory.quiet.patience(known.means.startup + known.means.rebalance);
        self.stage.idle.map_or_else(learned, |idle| idle.after)
    }

    /// What the sources ask for.
    pub(super) fn wish(
        &self,
        known: &Known,
        memory: &mut StageMemory,
        frame: Frame,
        work: Option<&Work>,
    ) -> Draft {
        let draft = |bid, haste| Draft { bid, haste, is_told: false };
        if self.stage.sources.is_empty() {
            return draft(Bid::new(frame.current, Reason::NoSources), Haste::No);
        }
        if frame.is_asleep && work.is_none() {
            let since = memory.quiet.since().unwrap_or(self.at);
            let replicas = frame.current;
            return draft(Bid::new(replicas, Reason::Idle { since, replicas }), Haste::Sleep);
        }
        if let Some(asleep) = self.sleep(known, memory, frame) {
            return asleep;
        }
        let load = known.load().map(|load| self.doubts.amend(load));
        if let Some(gathering) = load.as_ref().and_then(|load| self.gather(load, known, frame)) {
            return draft(gathering, Haste::Sleep);
        }
        let bid = match (&self.stage.combine, self.target) {
            (Some(formula), Target::Seen(workload)) => {
                Some(combine::wish(self, (memory, known), workload, formula, frame.current))
            }
            _ => demand::wish(self.stage, &self.evidence, load.as_ref(), &known.means),
        };
        let bid = bid.map(|bid| memory.keep_level(self.stage, bid, load.as_ref(), &known.means));
        let mut bid = bid.unwrap_or_else(|| {
            let complaint = self.evidence.complaint().cloned();
            Bid::new(frame.current, complaint.unwrap_or(Reason::NoSources))
        });
        if let Some(work) = work.filter(|_| frame.is_asleep) {
            // Where no more is asked for than being awake takes, that there is work is all the reason there is.
            let at = if bid.replicas <= frame.floor { bid.why.len() } else { 0 };
            bid.why.insert(at, work.woken());
        }
        if bid.replicas < frame.floor {
            let wished = bid.replicas;
            bid.set(frame.floor, Reason::AtMin { wished, min: frame.floor });
        }
        draft(bid, Haste::No)
    }

    /// Sleep, if that is earned.
    fn sleep(&self, known: &Known, memory: &StageMemory, frame: Frame) -> Option<Draft> {
        let idle = frame.idle.filter(|&idle| idle < frame.desired && idle < frame.floor)?;
        let since = memory.quiet.earned(self.patience(known, memory), self.at)?;
        let wake = known.wake();
        let is_promised = self.stage.idle.is_none() && idle == 0;
        match (self.stage.max_delay, wake) {
            (Some(objective), Some(wake)) if is_promised && objective.as_secs_f64() < wake => {
                let objective = objective.as_secs_f64();
                let replicas = frame.floor;
                let bid = Bid::new(replicas, Reason::KeptAwake { objective, wake, replicas });
                Some(Draft { bid, haste: Haste::No, is_told: false })
            }
            _ => {
                let bid = Bid::new(idle, Reason::Idle { since, replicas: idle });
                // Without a word of the owner's on idleness, and while silence is not known, it is suspicious as for any other move down.
                let is_told = self.stage.idle.is_some() || memory.quiet.is_known();
                let silent = known.silent.is_some() && !is_told;
                let haste = if silent { Haste::No } else { Haste::Sleep };
                Some(Draft { bid, haste, is_told: false })
            }
        }
    }

    /// A batch that gathers work asleep. A threshold is a wish of its own and knows no such patience.
    fn gather(&self, load: &Load<'_>, known: &Known, frame: Frame) -> Option<Bid> {
        let idle = frame.idle.filter(|&idle| idle < frame.floor)?;
        let is_alone = self.stage.sources.iter().all(|source| source.per_replica.is_none());
        let due = load.due.filter(|_| is_alone && self.evidence.is_fresh())?;
        let rested = self.stage.idle.map_or(Duration::ZERO, |idle| idle.after);
        let is_rested = due.done_since.is_none_or(|since| later(since, rested) <= self.at);
        if !frame.is_asleep && !is_rested {
            return None;
        }
        batch::gather(load, &known.means, &due, (idle, frame.floor, self.stage.max))
    }
}
