//! What a batch has to do by its time, in one replica's seconds, which counts do that, and what of it cheaper hours have time for. Pure sums for
//! `batch`, which decides what becomes of them.

use jiff::Timestamp;

use super::demand::{Load, Means};
use super::partitions::{breakpoints, capacity, ceil};
use super::tariff::Spans;

/// Share of the time left that is planned with; the rest is for what no plan foresees: a slower hour, a lost pod.
const PLANNED: f64 = 0.85;
/// What arrives now is expected to go on for so many seconds: a producer that fills the queue in one go is not taken for a stream.
const STREAM: f64 = 600.0;
/// Pods are begun for work that keeps them busy for so many times their start, and so many seconds at least. And prices are not heeded that hold
/// for less than as many starts.
const WORTH: f64 = 20.0;
const SPELL: f64 = 600.0;
/// Who works in dear hours stops when what is left fits into cheaper ones that are longer by so much; who waits for them waits while it fits.
const SPARE: f64 = 1.2;

/// What there is to do by then, in one replica's seconds, and who could do it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chore<'a> {
    load: &'a Load<'a>,
    means: &'a Means,
    /// What waits.
    waits: f64,
    /// What arrives in a second.
    flow: f64,
    /// Seconds.
    left: f64,
    /// Replicas that are not given back: none once all was done, when the next spell is sized anew.
    pub(super) kept: u32,
}

impl<'a> Chore<'a> {
    /// Of what waits and arrives one replica gets so much through; it is to be done in so many seconds, by no fewer replicas.
    pub(super) fn new(
        load: &'a Load<'a>,
        means: &'a Means,
        rate: f64,
        (left, kept): (f64, u32),
    ) -> Self {
        let (waits, flow) = (load.backlog.max(0.0) / rate, load.arrivals.max(0.0) / rate);
        Self { load, means, waits, flow, left, kept }
    }

    /// All of it.
    pub(super) fn work(&self) -> f64 {
        self.waits + self.comes()
    }

    /// What is about to arrive.
    fn comes(&self) -> f64 {
        self.flow * self.left.clamp(0.0, STREAM)
    }

    pub(super) fn partitions(&self) -> Option<u32> {
        self.load.partitions.filter(|&partitions| 0 < partitions)
    }

    /// The most replicas that are of use, where there may be so many.
    pub(super) fn most(&self, max: u32) -> u32 {
        self.partitions().unwrap_or(u32::MAX).min(max).max(1)
    }

    /// Seconds until so many replicas are done.
    fn takes(&self, count: u32) -> f64 {
        let Means { startup, rebalance, pending, ready, desired, .. } = *self.means;
        let wait = match count {
            n if desired < n => startup + rebalance,
            n if ready < n => pending + rebalance,
            _ => 0.0,
        };
        wait + self.load.commits + self.busiest(count) / PLANNED
    }

    /// What the busiest of so many has to do: what waits where it waits, and what comes as it has fallen so far.
    fn busiest(&self, count: u32) -> f64 {
        let (lying, falling) = match self.partitions() {
            Some(_) => {
                let falling = self.load.skew.of(count);
                (self.load.lying.map_or(falling, |lying| lying.of(count)), falling)
            }
            None => (1.0, 1.0),
        };
        (self.waits * lying + self.comes() * falling) / capacity(count, self.partitions())
    }

    /// Seconds until what new pods did can be seen.
    fn start(&self) -> f64 {
        self.means.startup + self.means.rebalance + self.load.commits
    }

    /// The smallest useful count that is done in time for one more start, should that be needed after all, or else in time; `None` when
    /// none is.
    pub(super) fn smallest(&self, most: u32) -> Option<u32> {
        let early = Self { left: self.left - self.start(), ..*self };
        early.within(most).or_else(|| self.within(most))
    }

    fn within(&self, most: u32) -> Option<u32> {
        match self.partitions() {
            Some(partitions) => {
                breakpoints(partitions).take_while(|&n| n <= most).find(|&n| self.fits(n))
            }
            None => Some(self.plain()).filter(|&n| n <= most),
        }
    }

    fn fits(&self, count: u32) -> bool {
        self.takes(count) <= self.left
    }

    /// Is there time left for more pods to come and help?
    pub(super) fn is_time_for_more(&self) -> bool {
        self.start() < self.left
    }

    /// What would be enough if work could be split at will.
    pub(super) fn plain(&self) -> u32 {
        if 0 < self.kept && self.partitions().is_none() && self.fits(self.kept) {
            return self.kept;
        }
        let left = self.left - self.start();
        if left <= 0.0 { u32::MAX } else { ceil(self.work() / (PLANNED * left)).max(1) }
    }

    /// What `most` replicas do in the cheaper hours of what there is by now: each piece of them begins with pods that start, and what arrives
    /// meanwhile, should it go on, is done besides.
    fn cheaper(&self, spans: &Spans, most: u32) -> f64 {
        let lost = spans.pieces * self.start();
        let done = (spans.cheaper - lost).max(0.0) * PLANNED;
        let work = self.work();
        let even = if 0.0 < work { work / self.busiest(most) } else { f64::from(most) };
        (done * even - self.flow * (self.left - STREAM).max(0.0)).max(0.0)
    }

    /// What is to be done at the present price, where `most` replicas work in the cheaper hours; `None` where all hours cost the same or the
    /// present price does not hold for long enough to heed it.
    pub(super) fn at_this_price(&self, spans: Option<&Spans>, most: u32) -> Option<Self> {
        let spans =
            spans.filter(|spans| self.left <= spans.alike || self.worth() <= spans.alike)?;
        let waits = (self.waits - self.cheaper(spans, most)).max(0.0);
        Some(Self { waits, left: spans.alike.min(self.left), ..*self })
    }

    /// When cheaper hours begin that are enough for all of it, with what a node costs now and then in per cent of its price. Who is at work
    /// stops only for what is saved beyond the start of as many pods.
    pub(super) fn waits(&self, spans: Option<&Spans>, most: u32) -> Option<(Timestamp, f64, f64)> {
        let spans = spans?;
        let (begins, then) = spans.begins.filter(|_| 0.0 < self.work())?;
        let desired = self.means.desired;
        let saved = self.work() * (spans.now - then);
        let lost = f64::from(desired) * self.start() * then;
        let spare = if desired == 0 { 1.0 } else { SPARE };
        let is_enough = spare * self.work() <= self.cheaper(spans, most);
        (is_enough && lost <= saved).then_some((begins, spans.now, then))
    }

    /// One replica's seconds that are worth a start.
    fn worth(&self) -> f64 {
        SPELL.max(WORTH * (self.means.startup + self.means.rebalance))
    }

    /// Is there enough to keep one replica busy for a while?
    pub(super) fn is_worth_a_start(&self) -> bool {
        self.worth() <= self.work()
    }

    /// So many seconds before the time is up so many have to begin, with one more start to spare and time to see that.
    pub(super) fn ahead(&self, count: u32) -> f64 {
        self.takes(count) + 2.0 * self.start()
    }
}
