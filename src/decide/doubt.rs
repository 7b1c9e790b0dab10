//! What is doubted of a stage's signals before it is sized by them, and of the step that follows: partitions that a reading lacks or that
//! stand still, spikes that nothing confirms, steps up that bring nothing. Called by a stage's turn; each doubt has a file of its own, this
//! one puts them to use.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::age::Trace;
use super::anomaly::Hot;
use super::demand::{Bid, Load};
use super::effect::Shown;
use super::evidence::{Evidence, Seen, Trust, float, whole};
use super::knowledge::{COAST, Known};
use super::memory::StageMemory;
use super::part::Part;
use super::rate::COMMITS;
use super::reason::Reason;
use super::spike::Spike;
use super::stage::Turn;
use super::stuck::{self, Still};
use super::writes::{Move, span};

/// What is doubted in this turn.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    stills: Vec<Still>,
    /// Does all work there is stand still? Then no count is better than the present one.
    is_halted: bool,
    /// A partition to which more comes than one consumer gets through.
    hot: Option<Hot>,
    /// What waits where no count helps.
    aside: Option<Aside>,
    spike: Option<Spike>,
    /// Items that should wait in partitions which partial readings lack.
    lacking: f64,
    /// What is odd, whether it changed the count or not.
    anomalies: Vec<Reason>,
}

/// What waits where no count helps: it is no reason for more replicas, and yet it is late.
#[derive(Debug, Clone, Copy)]
struct Aside {
    /// Items.
    lag: u64,
    /// Age in seconds of the oldest item elsewhere.
    delay: f64,
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
        let is_still = |place| stills.iter().any(|still| still.is_all && still.place == place);
        let is_moving = |seen: &Seen<'_>| {
            let last = self.trace(&seen.source.name).and_then(|trace| trace.commits().1);
            last.is_some_and(|last| span(last, at) < stuck::window(seen))
        };
        let mut queues = turn.evidence.sources.iter().enumerate();
        let is_halted = !stills.is_empty()
            && queues.all(|(place, seen)| {
                is_still(place) || (seen.whole().is_none_or(|it| it <= 0.0) && !is_moving(seen))
            });
        if self.recreated().is_some() && self.recreated() == turn.newest_reading() {
            // What was known of partitions was of others.
            self.skew = super::skew::Skew::default();
        }
        let arrivals = known.load().map_or(0.0, |load| load.arrivals);
        let anomalies = self.anomalies(&turn.evidence, arrivals, at);
        let hot = self.hot(&turn.evidence, at).filter(|_| !turn.is_jobs());
        // What helps nobody by more replicas: of each source the partitions.
        let apart: Vec<BTreeSet<_>> = (0..turn.evidence.sources.len())
            .map(|place| {
                let stills = stills.iter().filter(|still| still.place == place && !is_halted);
                let stills = stills.flat_map(|still| still.parts.iter().copied());
                // A partition is called hot in stages of one source only.
                stills.chain(hot.as_ref().map(Hot::key)).collect()
            })
            .collect();
        let is_promised = turn.stage.max_delay.is_some();
        for (seen, apart) in turn.evidence.sources.iter_mut().zip(&apart) {
            seen.lacking = self.lacking(seen, apart, at);
            // A threshold without a promise counts what is hot, as its owner wrote.
            let is_hot = |key: (u16, i32)| hot.as_ref().map(Hot::key) == Some(key);
            let waits =
                self.waits(seen, |key| apart.contains(&key) && (is_promised || !is_hot(key)));
            seen.stuck = waits;
        }
        turn.doubts = Doubts {
            aside: self.aside(&turn.evidence, &apart, at),
            stills,
            is_halted,
            hot,
            spike: self.spikes.observe(&turn.evidence),
            lacking: turn.evidence.sources.iter().map(|seen| seen.lacking).sum(),
            anomalies,
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

    /// What waits where no count helps, and how old the oldest item elsewhere is.
    fn aside(
        &self,
        evidence: &Evidence<'_>,
        apart: &[BTreeSet<(u16, i32)>],
        at: Timestamp,
    ) -> Option<Aside> {
        if apart.iter().all(BTreeSet::is_empty) {
            return None;
        }
        let (mut lag, mut delay) = (0_u64, 0.0_f64);
        for (seen, apart) in evidence.sources.iter().zip(apart) {
            lag = lag.saturating_add(self.waits(seen, |key| apart.contains(&key)));
            let aged = self.trace(&seen.source.name).into_iter().flat_map(|trace| trace.aged(at));
            let others = aged.filter(|(part, _)| !apart.contains(&part.key()));
            delay = others.map(|(_, age)| age).fold(delay, f64::max);
        }
        Some(Aside { lag, delay })
    }

    /// What waits in some partitions of a source, of those that its reading shows.
    fn waits(&self, seen: &Seen<'_>, is_meant: impl Fn((u16, i32)) -> bool) -> u64 {
        let here = shown(seen);
        let parts = self.trace(&seen.source.name).into_iter().flat_map(Trace::parts);
        let parts = parts.filter(|part| is_meant(part.key()));
        let parts =
            parts.filter(|part| here.as_ref().is_none_or(|here| here.contains(&part.key())));
        parts.map(Part::lag).fold(0, u64::saturating_add)
    }

    /// Does half of what waits lie in one partition of several?
    fn is_uneven(&self) -> bool {
        let parts = || self.traces.values().flat_map(Trace::parts);
        let most = parts().map(Part::lag).max().unwrap_or(0);
        let sum = parts().map(Part::lag).fold(0, u64::saturating_add);
        1 < parts().count() && sum / 2 < most
    }

    /// Items that should wait in the partitions which a partial reading lacks, but for those where no count helps: those that did when they were last
    /// seen, and as many as came to each of the others since.
    fn lacking(&self, seen: &Seen<'_>, apart: &BTreeSet<(u16, i32)>, at: Timestamp) -> f64 {
        let Some((trace, here)) = self.trace(&seen.source.name).zip(shown(seen)) else {
            return 0.0;
        };
        let is_away = |part: &&Part| !here.contains(&part.key()) && !apart.contains(&part.key());
        let away = || trace.parts().iter().filter(is_away);
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

/// The partitions that a partial reading shows; `None` where it shows all.
fn shown(seen: &Seen<'_>) -> Option<BTreeSet<(u16, i32)>> {
    let queue = seen.queue().filter(|_| seen.trust == Trust::AtLeast)?;
    Some(queue.partitions.iter().map(|part| (part.topic, part.id)).collect())
}

impl Doubts {
    /// The load as it is to be sized by: without what waits where no count helps, with what the missing partitions should hold by now.
    pub(super) fn amend<'a>(&self, load: Load<'a>) -> Load<'a> {
        let Aside { lag, delay } = self.aside.unwrap_or(Aside { lag: 0, delay: f64::INFINITY });
        Load {
            lag: load.lag.saturating_sub(lag).saturating_add(whole(self.lacking.round())),
            backlog: (load.backlog - float(lag)).max(0.0) + self.lacking,
            delay: delay.min(load.delay),
            tail: delay.min(load.tail),
            hot: self.hot.map(|hot| hot.arrives),
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
            if self.is_halted && bid.replicas != current {
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
