//! What is doubted of a stage's signals before it is sized by them, and of the step that follows: partitions that a reading lacks or that
//! stand still, spikes that nothing confirms, steps up that bring nothing. Called by a stage's turn; each doubt has a file of its own, this
//! one puts them to use.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::age::Trace;
use super::demand::{Bid, Load};
use super::effect::Shown;
use super::evidence::{Seen, Trust, float, whole};
use super::knowledge::{COAST, Known};
use super::memory::StageMemory;
use super::part::Part;
use super::rate::COMMITS;
use super::reason::Reason;
use super::spike::Spike;
use super::stage::Turn;
use super::stuck::Still;
use super::writes::{Move, span};

/// What is doubted in this turn.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    stills: Vec<Still>,
    spike: Option<Spike>,
    /// Items that should wait in partitions which partial readings lack.
    lacking: f64,
    /// What is odd, whether it changed the count or not.
    anomalies: Vec<Reason>,
}

impl StageMemory {
    /// Looks at all that may be doubted, and takes in what the steps up before have brought.
    pub(super) fn doubt(&mut self, turn: &mut Turn<'_>, known: &Known, moves: &[Move]) {
        let at = turn.at;
        let ready = known.means.ready;
        // A Job may commit when it ends, and not before: that nothing moves meanwhile says nothing.
        let stills = if turn.is_jobs() {
            Vec::new()
        } else {
            self.stuck.observe(&turn.evidence, &self.traces, ready, at)
        };
        for still in stills.iter().filter(|still| !still.is_all) {
            if let Some(seen) = turn.evidence.sources.get_mut(still.place) {
                seen.stuck = still.lag;
            }
        }
        for seen in &mut turn.evidence.sources {
            seen.lacking = self.lacking(seen, at);
        }
        if self.recreated().is_some() && self.recreated() == turn.newest_reading() {
            // What was known of partitions was of others.
            self.skew = super::skew::Skew::default();
        }
        let arrivals = known.load().map_or(0.0, |load| load.arrivals);
        turn.doubts = Doubts {
            stills,
            spike: self.spikes.observe(&turn.evidence),
            lacking: turn.evidence.sources.iter().map(|seen| seen.lacking).sum(),
            anomalies: self.anomalies(&turn.evidence, arrivals, at),
        };
        let stills = turn.doubts.stills.iter().map(|still| still.reason.clone());
        turn.doubts.anomalies.extend(stills);
        if let Some(load) = known.load().map(|load| turn.doubts.amend(load))
            && !turn.is_jobs()
        {
            let commits = turn.evidence.commits();
            let read = |seen: &Seen<'_>| self.traces.get(&seen.source.name)?.commits().0;
            let newest = turn.evidence.sources.iter().filter_map(read).max();
            let is_new = turn.newest_reading().is_some() && newest == turn.newest_reading();
            let served = self.traces.values().map(Trace::served);
            self.effect.observe(
                &Shown {
                    at,
                    load: &load,
                    means: &known.means,
                    served: (served.fold(0, u64::saturating_add), is_new),
                    commits: commits.unwrap_or(COMMITS),
                    is_uneven: self.is_uneven(),
                },
                moves,
            );
        }
    }

    /// Does half of what waits lie in one partition of several?
    fn is_uneven(&self) -> bool {
        let parts = || self.traces.values().flat_map(Trace::parts);
        let most = parts().map(Part::lag).max().unwrap_or(0);
        let sum = parts().map(Part::lag).fold(0, u64::saturating_add);
        1 < parts().count() && sum / 2 < most
    }

    /// Items that should wait in the partitions which a partial reading lacks: those that did when they were last seen, and as many as came
    /// to each of the others since.
    fn lacking(&self, seen: &Seen<'_>, at: Timestamp) -> f64 {
        let trace = self.trace(&seen.source.name).filter(|_| seen.trust == Trust::AtLeast);
        let (Some(trace), Some(queue)) = (trace, seen.queue()) else { return 0.0 };
        let here: BTreeSet<_> = queue.partitions.iter().map(|p| (p.topic, p.id)).collect();
        let away = || trace.parts().iter().filter(|part| !here.contains(&part.key()));
        let lag = away().map(Part::lag).fold(0, u64::saturating_add);
        let (lacking, others) = (float(away().count() as u64), float(here.len().max(1) as u64));
        let arrivals = trace.arrivals(seen.source.poll_interval).map_or(0.0, |it| it.minute);
        // As a source that says nothing at all is: nobody knows whether anything comes there for longer.
        let since = self.blind.since().map_or(Duration::ZERO, |since| span(since, at));
        let since = since.min(COAST).as_secs_f64();
        // For some of the minute that is the mean of, they were seen as well.
        let seen_too = lacking * (1.0 - since / 60.0).max(0.0);
        float(lag) + since * lacking * arrivals / (others + seen_too)
    }
}

impl Doubts {
    /// The load as it is to be sized by: without what stands still, with what the missing partitions should hold by now.
    pub(super) fn amend<'a>(&self, load: Load<'a>) -> Load<'a> {
        let lacking = self.lacking;
        let (mut stuck, mut delay) = (0_u64, None);
        for still in self.stills.iter().filter(|still| !still.is_all) {
            stuck = stuck.saturating_add(still.lag);
            delay = Some(still.delay.max(delay.unwrap_or(0.0)));
        }
        Load {
            lag: load.lag.saturating_sub(stuck).saturating_add(whole(lacking.round())),
            backlog: (load.backlog - float(stuck)).max(0.0) + lacking,
            delay: delay.map_or(load.delay, |delay| delay.min(load.delay)),
            ..load
        }
    }

    /// Adds what else is odd.
    pub(super) fn note(&mut self, odd: Vec<Reason>) {
        self.anomalies.extend(odd);
    }

    /// All that is odd, with what of it bound the bid.
    pub(super) fn odd(&self, bid: &Bid) -> Vec<Reason> {
        let bound = bid.why.iter().filter(|reason| matches!(reason, Reason::NoEffect { .. }));
        self.anomalies.iter().chain(bound).cloned().collect()
    }

    /// Holds back what rests on doubtful ground. `current`: what a hold keeps.
    pub(super) fn hold(&self, bid: &mut Bid, memory: &StageMemory, current: u32) {
        for still in &self.stills {
            if still.is_all && bid.replicas != current {
                // More would stand still too, and fewer is no answer to work that waits.
                bid.set(current, still.reason.clone());
            } else {
                bid.why.insert(0, still.reason.clone());
            }
        }
        let most = current.max(1).saturating_mul(2);
        if let Some(Spike { source, value, usual }) = self.spike.clone()
            && most < bid.replicas
        {
            let wished = bid.replicas;
            let reason = Reason::SpikeUnconfirmed { source, value, usual, kept: most, wished };
            bid.set(most, reason);
        }
        memory.effect.hold(bid, current);
    }
}

impl Turn<'_> {
    /// When the newest reading of this stage was made.
    fn newest_reading(&self) -> Option<Timestamp> {
        self.evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at)).max()
    }
}
