//! Sleep and waking: zero (or the idle count) is earned by complete readings of nothing for long enough, and left at the first sign
//! of work. Called between `demand` and `steady`.
//!
//! That the stages before it are about to send something is such a sign, so that a chain wakes in one turn and pays for one start-up. Its
//! own queue has the last word: where nothing has come in the time that takes, it sleeps on until they have stopped and begun anew.
//!
//! How long is enough, where the owner does not say, is ski rental: staying awake is rent, waking is the price of the skis. Nothing known,
//! one rents until the rent has come to the price, and never pays twice what was needed (Karlin, Manasse, Rudolph and Sleator 1988).
//! Once enough gaps have been seen, one stays as long as would have been cheapest over those.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::Trace;
use super::evidence::{Evidence, Seen, Trust, float, whole};
use super::frame::Frame;
use super::knowledge::Known;
use super::memory::StageMemory;
use super::reason::Reason;
use super::stage::Turn;
use super::writes::{later, span};

/// Complete readings of nothing, in a row, before a stage may sleep.
const READINGS: u8 = 3;
/// Lengths of gaps, in half doublings: up to 4 s, up to 5.7 s, and so on to 512 s, and longer.
const BINS: usize = 16;
const SHORTEST: f64 = 4.0;
/// Gaps before they are believed, and when half of all is forgotten: what was usual may change.
const ENOUGH: u16 = 20;
const MANY: u16 = 200;
/// Bounds of staying awake while little is known, in seconds.
const LEAST: f64 = 60.0;
const MOST: f64 = 600.0;

/// What is remembered of the quiet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Quiet {
    /// Since when nothing has waited or arrived.
    since: Option<Timestamp>,
    /// Complete readings of it in a row.
    readings: u8,
    /// The latest of them.
    counted: Option<Timestamp>,
    /// How long it was quiet before.
    #[serde(default)]
    gaps: Gaps,
    /// Since when the stages before it are about to send something: the second of the epoch, and one, in four bytes.
    #[serde(default)]
    announced: Option<NonZeroU32>,
}

/// How many gaps between work there were of each length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Gaps([u8; BINS]);

impl Gaps {
    /// Takes in a gap of so many seconds.
    fn note(&mut self, seconds: f64) {
        let longest = |bin: usize| Self::up_to(bin) < seconds;
        let bin = (0..BINS - 1).take_while(|&bin| longest(bin)).count();
        self.0[bin] = self.0[bin].saturating_add(1);
        if MANY <= self.count() {
            self.0.iter_mut().for_each(|count| *count /= 2);
        }
    }

    fn count(&self) -> u16 {
        self.0.iter().map(|&count| u16::from(count)).sum()
    }

    /// The longest gap of a bin, in seconds.
    fn up_to(bin: usize) -> f64 {
        let half = if bin.is_multiple_of(2) { 1.0 } else { std::f64::consts::SQRT_2 };
        SHORTEST * half * float(1 << (bin / 2))
    }

    /// How long staying awake would have been cheapest, when waking costs as much as staying so many seconds; `None` while few gaps
    /// were seen.
    fn best(&self, wake: f64) -> Option<f64> {
        if self.count() < ENOUGH {
            return None;
        }
        let cost = |stays: f64| -> f64 {
            let each = self.0.iter().enumerate().map(|(bin, &count)| {
                let gap = Self::up_to(bin);
                // Of the longest nothing is known but that.
                let is_slept = stays < gap || bin == BINS - 1;
                f64::from(count) * if is_slept { stays + wake } else { gap }
            });
            each.sum()
        };
        let stays = (0..BINS).map(Self::up_to);
        stays.min_by(|a, b| cost(*a).total_cmp(&cost(*b)))
    }
}

/// The first sign of work, if there is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// So much waits in a source, or has come there.
    Here { source: String, items: u64 },
    /// So many items a second are about to come from the stages before it.
    Ahead { arrivals: f64 },
}

impl Work {
    /// As people are told of it where it wakes a stage.
    pub(super) fn woken(&self) -> Reason {
        match self {
            Self::Here { source, items } => Reason::Woken { source: source.clone(), items: *items },
            Self::Ahead { arrivals } => Reason::WokenAhead { arrivals: *arrivals },
        }
    }
}

impl Quiet {
    /// Is what the stages before it send still on its way? For so long, from when they began.
    pub(super) fn is_announced(&mut self, sends: bool, within: Duration, at: Timestamp) -> bool {
        let now = u32::try_from(at.as_second() + 1).ok().and_then(NonZeroU32::new);
        self.announced = self.announced.or(now).filter(|_| sends);
        let since = self.announced.zip(now).map(|(since, now)| now.get().abs_diff(since.get()));
        since.is_some_and(|since| u64::from(since) < within.as_secs())
    }

    /// Looks at the sources: is there work?
    pub(super) fn observe(&mut self, evidence: &Evidence<'_>, work: Option<&Work>, at: Timestamp) {
        if let Some(Work::Ahead { .. }) = work {
            // Nothing has come yet: it is no end of a gap, and none begins.
            self.readings = 0;
            return;
        }
        if work.is_some() {
            let Self { mut gaps, announced, .. } = *self;
            // One reading of nothing between two of something is how items fall, and no gap.
            if let Some(since) = self.since.filter(|_| 1 < self.readings) {
                gaps.note(span(since, at).as_secs_f64());
            }
            *self = Self { gaps, announced, ..Self::default() };
            return;
        }
        if evidence.sources.is_empty() || !evidence.is_fresh() {
            self.readings = 0;
            return;
        }
        self.since.get_or_insert(at);
        // All sources must have been read anew.
        let oldest = evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at)).min();
        if oldest.is_some() && self.counted < oldest {
            self.readings = self.readings.saturating_add(1);
            self.counted = evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at)).max();
        }
    }

    /// How long it must be quiet before a stage sleeps, when waking costs as much as staying awake for so many seconds.
    pub(super) fn patience(&self, wake: f64) -> Duration {
        let stays = self.gaps.best(wake).unwrap_or_else(|| wake.clamp(LEAST, MOST));
        Duration::try_from_secs_f64(stays).unwrap_or(Duration::from_mins(10))
    }

    /// Have enough gaps been seen to know what to make of one?
    pub(super) fn is_known(&self) -> bool {
        ENOUGH <= self.gaps.count()
    }

    /// Since when it has been quiet, if it is.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Since when it has been quiet, once that is long enough.
    pub(super) fn earned(&self, after: Duration, at: Timestamp) -> Option<Timestamp> {
        self.since.filter(|&since| READINGS <= self.readings && later(since, after) <= at)
    }

    /// When it will have been quiet long enough.
    pub(super) fn until(&self, after: Duration) -> Option<Timestamp> {
        self.since.map(|since| later(since, after))
    }
}

impl StageMemory {
    /// Is there work? While awake, what came has been answered for.
    pub(super) fn look(
        &mut self,
        turn: &Turn<'_>,
        known: &Known,
        frame: Frame,
        after: Duration,
    ) -> Option<Work> {
        let asleep = frame.is_asleep;
        let here = turn.evidence.sources.iter().find_map(|seen| {
            // What is only reckoned to arrive keeps nobody awake.
            let trace = self.traces.get(&seen.source.name).filter(|it| !it.is_reckoned);
            work(seen, trace, asleep, after)
        });
        if !asleep {
            self.traces.values_mut().for_each(Trace::claim);
        }
        let ahead = self.work_ahead(turn, known, frame);
        let work = here.or(ahead);
        self.quiet.observe(&turn.evidence, work.as_ref(), turn.at);
        work
    }

    /// What the stages before it are about to send, if that is enough to be awake for. A Job is made for what waits, and for nothing else.
    fn work_ahead(&mut self, turn: &Turn<'_>, known: &Known, frame: Frame) -> Option<Work> {
        let may_sleep = frame.idle.is_some_and(|idle| idle < frame.floor) && !turn.is_jobs();
        let least = turn.stage.sources.iter().map(|source| source.activation);
        let least = least.fold(f64::INFINITY, f64::min).max(1.0);
        let waking = known.waking();
        let arrivals = known.expected.filter(|sent| may_sleep && least < sent * waking);
        // Those before it start first, and it reads what they commit.
        let within = Duration::try_from_secs_f64(2.0 * waking).unwrap_or(Duration::MAX);
        let is_ahead = self.quiet.is_announced(arrivals.is_some(), within, turn.at);
        arrivals.filter(|_| is_ahead).map(|arrivals| Work::Ahead { arrivals })
    }
}

/// Is there work in this source? More waits than its activation, or enough arrives to exceed it before the stage would sleep. While
/// the stage is `asleep`, also what came into partitions of which a group without commits would know nothing.
fn work(seen: &Seen<'_>, trace: Option<&Trace>, asleep: bool, after: Duration) -> Option<Work> {
    if matches!(seen.trust, Trust::Nothing | Trust::Old) {
        return None;
    }
    let activation = seen.source.activation.max(0.0);
    let amount = seen.whole()?;
    let work = |items: f64| {
        Some(Work::Here { source: seen.source.name.to_string(), items: whole(items.ceil()) })
    };
    if activation < amount {
        return work(amount);
    }
    let trace = trace?;
    if asleep {
        let unclaimed = float(trace.unclaimed());
        return if activation < unclaimed { work(unclaimed) } else { None };
    }
    let came = trace.came();
    let poll = seen.source.poll_interval.as_secs_f64().max(0.001);
    let expected = float(came) * (after.as_secs_f64() / poll).max(1.0);
    if 0 < came && activation < expected { work(float(came)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(gaps: impl IntoIterator<Item = f64>) -> Quiet {
        let mut quiet = Quiet::default();
        gaps.into_iter().for_each(|gap| quiet.gaps.note(gap));
        quiet
    }

    fn patience(quiet: &Quiet) -> f64 {
        quiet.patience(100.0).as_secs_f64()
    }

    #[test]
    fn few_gaps_say_nothing_and_the_rent_is_paid_up_to_the_price() {
        for gaps in [0, usize::from(ENOUGH) - 1] {
            assert!((patience(&learned(vec![3000.0; gaps])) - 100.0).abs() < 1e-9);
        }
        assert_eq!(Quiet::default().patience(1.0), Duration::from_mins(1));
        assert_eq!(Quiet::default().patience(1e9), Duration::from_mins(10));
    }

    #[test]
    fn where_gaps_are_long_it_sleeps_at_once() {
        assert!(patience(&learned(vec![3000.0; 20])) <= SHORTEST);
    }

    #[test]
    fn where_gaps_are_shorter_than_waking_costs_it_waits_them_out() {
        let stays = patience(&learned(vec![50.0; 40]));
        assert!((50.0..80.0).contains(&stays), "{stays}");
    }

    #[test]
    fn of_short_and_long_gaps_it_waits_out_the_short_ones() {
        let mixed = (0..40).map(|at| if at % 4 == 0 { 5000.0 } else { 20.0 });
        let stays = patience(&learned(mixed));
        assert!((20.0..35.0).contains(&stays), "{stays}");
    }

    #[test]
    fn another_habit_is_learned_in_time() {
        let stays = patience(&learned((0..1000).map(|at| if at < 500 { 20.0 } else { 5000.0 })));
        assert!(stays <= SHORTEST, "{stays}");
    }

    #[test]
    fn what_does_not_come_is_no_sign_of_work_for_long_until_it_is_announced_anew() {
        let mut quiet = Quiet::default();
        let mut is_awake = |at: i64, sends: bool| {
            let at = Timestamp::from_second(at).unwrap();
            quiet.is_announced(sends, Duration::from_mins(2), at)
        };
        assert_eq!([0, 119, 120, 9000].map(|at| is_awake(at, true)), [true, true, false, false]);
        assert!(!is_awake(9001, false));
        assert!(is_awake(9002, true));
    }
}
