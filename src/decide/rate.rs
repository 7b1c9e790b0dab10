//! How much one replica gets through, learned from commits. Everything that sizes a stage divides by it, so it learns only where it
//! can be sure: between two moments at which commits moved, with the same pods at both, from consumers for which work was waiting
//! all the while. Where nobody can tell who holds which partition, work must wait for all of them. Consumers that were never that
//! busy show only the least a replica can do. Pods that are given more or less CPU are other pods: what was learned of those before
//! sizes the stage until these have shown their own, but takes no replica away.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::Consumer;
use super::depth::Guess;
use super::snapshot::Cpu;
use super::writes::{later, span};

/// After a change of pods nothing is learned for this long: caches are cold and the group is still sorting itself out.
const WARM_UP: Duration = Duration::from_secs(20);
/// The first guess need not wait that long: the next samples mend it.
const FIRST_WARM_UP: Duration = Duration::from_secs(8);
/// A sample is at least this long, so that not knowing just when a commit came falsifies it little.
const SHORTEST: Duration = Duration::from_secs(10);
/// Time between two commits until it is measured: what most clients ship with.
pub(super) const COMMITS: Duration = Duration::from_secs(5);
/// How fast the least that was shown is believed, and forgotten again in a second.
const FLOOR: f64 = 0.3;
const FORGOTTEN: f64 = 5e-6;
/// The best of several consumers in one short sample owes a part of that to chance.
const CHANCE: f64 = 0.9;
/// Consumers are near the middle one within this factor.
const NEAR: f64 = 0.4;
/// Samples until the rate is moved gently.
const YOUNG: u32 = 20;
/// No sample counts for more than so far off, in parts of what is known: what is purged, skipped or has expired leaves a queue as work done does.
const FAR: f64 = 0.5;
/// What was shown, while nothing was learned, grows by no more than this in one sample, for the same reason.
const LEAP: f64 = 2.0;
/// CPU that differs by no more than this part is the same.
const SAME: f64 = 0.05;

/// What is remembered of the rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rate {
    /// Items a second of one replica, once a busy stretch showed it.
    learned: Option<f64>,
    /// Variance of its logarithm.
    variance: f64,
    /// Busy samples so far.
    samples: u32,
    /// Items a second that one replica has shown without being busy.
    shown: Option<f64>,
    /// Start of the present sample.
    since: Option<Start>,
    /// The least a replica has shown lately, forgotten slowly.
    floor: f64,
    /// Pods that worked at the last turn, and since when it has been these.
    pods: u32,
    pods_since: Option<Timestamp>,
    /// Commits as last looked at.
    looked: Option<Timestamp>,
    /// What pods have of CPU.
    #[serde(default)]
    cpu: Option<Cpu>,
    /// What was learned while they had more of it, or less; until these show their own.
    #[serde(default)]
    former: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Start {
    at: Timestamp,
    served: u64,
    is_busy: bool,
    /// Who held partitions then; empty when nobody could tell.
    consumers: Vec<Consumer>,
}

/// What a turn shows of the work done.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) at: Timestamp,
    /// Pods that are Ready and serve something: never more than there are partitions.
    pub(super) pods: u32,
    /// Are these all the pods that are wanted? While some come or go nothing is learned.
    pub(super) is_settled: bool,
    /// When commits were last read and when they last moved.
    pub(super) commits: (Option<Timestamp>, Option<Timestamp>),
    /// Items taken so far.
    pub(super) served: u64,
    /// Time between two commits.
    pub(super) interval: Duration,
    /// How often anything is read.
    pub(super) poll: Duration,
    /// Had every pod work waiting the moment commits moved?
    pub(super) is_busy: bool,
    /// Who holds partitions, if that is known of all.
    pub(super) consumers: Vec<Consumer>,
    /// What pods have of CPU, if that is known.
    pub(super) cpu: Option<Cpu>,
}

impl Rate {
    /// What an earlier life or the owner says, until a busy stretch shows better.
    pub(super) fn believe(&mut self, rate: Option<f64>, samples: u32) {
        if self.learned.is_none()
            && self.former.is_none()
            && let Some(rate) = rate.filter(|rate| rate.is_finite() && 0.0 < *rate)
        {
            self.learned = Some(rate);
            self.samples = samples;
        }
    }

    /// What an earlier life knew of pods with more CPU or less, where that is all it knew.
    pub(super) fn recall_former(&mut self, rate: Option<f64>) {
        if self.learned.is_none()
            && let Some(rate) = rate.filter(|rate| rate.is_finite() && 0.0 < *rate)
        {
            self.former = Some(rate);
        }
    }

    /// What was reckoned from the depth of a queue that counts nothing: the rate once it was measured, and until then what may be tried.
    pub(super) fn reckoned(&mut self, rate: Option<Guess>, hunch: Option<f64>) {
        if let Some(Guess { mean, variance }) = rate {
            self.learned = Some(mean);
            self.former = None;
            self.variance = variance / (mean * mean);
            self.samples = self.samples.max(YOUNG);
        } else {
            self.shown = hunch;
        }
    }

    /// Looks at the work done since the last turn.
    pub(super) fn observe(&mut self, work: &Work) {
        if self.pods != work.pods || self.pods_since.is_none() {
            self.pods = work.pods;
            self.pods_since = Some(work.at);
            self.since = None;
        }
        if let Some(cpu) = work.cpu
            && self.cpu.is_none_or(|known| known.differs(cpu))
            && self.cpu.replace(cpu).is_some()
        {
            self.start_anew(work.at);
        }
        if !work.is_settled || work.pods == 0 {
            self.since = None;
            return;
        }
        let (Some(read), Some(moved)) = work.commits else { return };
        if self.looked.is_some_and(|looked| read <= looked) {
            return;
        }
        self.looked = Some(read);
        let warm_up = if self.learned.is_some() { WARM_UP } else { FIRST_WARM_UP };
        if moved != read || self.pods_since.is_none_or(|since| read < later(since, warm_up)) {
            return;
        }
        let consumers = work.consumers.clone();
        let now = Start { at: read, served: work.served, is_busy: work.is_busy, consumers };
        let Some(start) = &mut self.since else {
            self.since = Some(now);
            return;
        };
        if !start.has_same_owners(&now) {
            self.since = Some(now);
            return;
        }
        start.is_busy &= now.is_busy;
        for (old, new) in start.consumers.iter_mut().zip(&now.consumers) {
            old.is_busy &= new.is_busy;
        }
        let wide = span(start.at, now.at);
        if wide < window(work.interval, work.poll) {
            return;
        }
        let seconds = wide.as_secs_f64();
        let items = work.served.saturating_sub(start.served);
        let mean = super::evidence::float(items) / seconds / f64::from(work.pods);
        let (busy, rest) = start.rates(&now, seconds);
        self.floor *= 1.0 - FORGOTTEN * seconds;
        match (typical(busy), start.consumers.is_empty() && start.is_busy) {
            (Some((each, count)), _) => self.learn(each, count, seconds),
            (None, true) => self.learn(mean, f64::from(work.pods), seconds),
            (None, false) => self.show(high(rest).map_or(mean, |high| high * CHANCE), seconds),
        }
        self.since = Some(now);
    }

    /// Pods have another CPU: they may get through more or less than was learned.
    fn start_anew(&mut self, at: Timestamp) {
        self.former = self.learned.take().or(self.former);
        self.shown = None;
        self.variance = 0.0;
        self.samples = 0;
        self.floor = 0.0;
        self.since = None;
        self.pods_since = Some(at);
    }

    /// A busy sample of so many consumers says what one gets through.
    fn learn(&mut self, each: f64, count: f64, seconds: f64) {
        if !each.is_finite() || each <= 0.0 {
            return;
        }
        self.floor = self.floor.min(each);
        let Some(learned) = &mut self.learned else {
            self.learned = Some(each);
            self.former = None;
            self.variance = 0.04;
            self.samples = 1;
            return;
        };
        let gain = if self.samples < YOUNG { 0.3 } else { (0.05 * seconds / 10.0).min(0.3) };
        // Few consumers say less than many.
        let gain = gain * count / (count + 2.0);
        let off = (each / *learned).ln().clamp(-FAR, FAR);
        *learned *= (gain * off).exp();
        self.variance = (1.0 - gain) * (self.variance + gain * off * off);
        self.samples = self.samples.saturating_add(1);
    }

    /// Any sample says what a replica gets through at least.
    fn show(&mut self, each: f64, seconds: f64) {
        if !each.is_finite() || each <= 0.0 {
            return;
        }
        self.floor += FLOOR * (each - self.floor).max(0.0);
        match &mut self.learned {
            Some(learned) if 1.05 * *learned < each => {
                let gain = (0.05 * seconds / 10.0).min(0.3);
                *learned += gain * (each - *learned).min(FAR * *learned);
            }
            Some(_) => {}
            None => {
                let shown = self.shown.unwrap_or(each);
                self.shown = Some(shown + 0.3 * (each - shown).clamp(0.0, LEAP * shown));
            }
        }
    }

    /// Items a second of one replica, once known.
    pub(super) fn known(&self) -> Option<f64> {
        self.learned.or(self.former)
    }

    /// Is what is known of pods with more CPU or less, so that it takes nothing away?
    pub(super) fn is_former(&self) -> bool {
        self.learned.is_none() && self.former.is_some()
    }

    /// What to divide by: a little less than the mean while samples scatter.
    pub(super) fn cautious(&self) -> Option<f64> {
        self.known().map(|rate| {
            let cautious = rate * (-0.5 * self.variance.sqrt().min(0.2)).exp();
            cautious.max(self.floor.min(rate))
        })
    }

    /// What one replica has shown without being busy; meaningless once the rate is known.
    pub(super) fn shown(&self) -> Option<f64> {
        self.shown
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.since.as_ref().map_or(0, |start| start.consumers.capacity() * size_of::<Consumer>())
    }

    /// Since when the present pods have been at work.
    pub(super) fn pods_since(&self) -> Option<Timestamp> {
        self.pods_since
    }
}

impl Cpu {
    fn differs(self, other: Self) -> bool {
        let differ = |a: u32, b: u32| f64::from(a.max(b)) * SAME < f64::from(a.abs_diff(b));
        differ(self.request, other.request) || differ(self.limit, other.limit)
    }
}

impl Start {
    fn has_same_owners(&self, other: &Self) -> bool {
        let same =
            |(old, new): (&Consumer, &Consumer)| (old.owner, old.holds) == (new.owner, new.holds);
        self.consumers.len() == other.consumers.len()
            && self.consumers.iter().zip(&other.consumers).all(same)
    }

    /// What each consumer got through by the end of the sample, items a second: those that were busy throughout, and the others.
    fn rates(&self, end: &Self, seconds: f64) -> (Vec<f64>, Vec<f64>) {
        let (mut busy, mut rest) = (Vec::new(), Vec::new());
        for (old, new) in self.consumers.iter().zip(&end.consumers) {
            let taken = u64::try_from(new.taken.saturating_sub(old.taken)).unwrap_or(0);
            let rate = super::evidence::float(taken) / seconds;
            if old.is_busy { busy.push(rate) } else { rest.push(rate) }
        }
        (busy, rest)
    }
}

/// The mean of those near the middle one: a slow consumer among several is sick, not the measure. No median, since commits come in
/// steps and half of the consumers show one too few.
fn typical(mut rates: Vec<f64>) -> Option<(f64, f64)> {
    rates.sort_by(f64::total_cmp);
    let middle = *rates.get(rates.len() / 2)?;
    let near: Vec<_> =
        rates.iter().filter(|&&rate| NEAR * middle <= rate && NEAR * rate <= middle).collect();
    let count = f64::from(u32::try_from(near.len()).ok()?);
    (0.0 < count).then(|| (near.into_iter().sum::<f64>() / count, count))
}

/// One that nine of ten do not exceed.
fn high(mut rates: Vec<f64>) -> Option<f64> {
    rates.sort_by(f64::total_cmp);
    rates.get((rates.len() * 9 / 10).min(rates.len().saturating_sub(1))).copied()
}

/// How long a sample must be: two commits, and long against the gaps between readings, but no longer than a minute for that.
pub(super) fn window(interval: Duration, poll: Duration) -> Duration {
    let polls = poll.saturating_mul(5).min(Duration::from_mins(1));
    interval.saturating_mul(2).max(SHORTEST).max(polls)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of two consumers, of which one has 100 items a second to take and work waiting, and the other 20 and none.
    fn learned(owners: [u16; 2]) -> Rate {
        let mut rate = Rate::default();
        for turn in 0..300_i64 {
            let at = Timestamp::from_second(2 * turn).unwrap();
            let consumer = |at: usize, each: i64| Consumer {
                owner: owners[at],
                is_busy: at == 0,
                holds: 7,
                taken: each * 2 * turn,
            };
            let consumers = if owners[0] == owners[1] {
                Vec::new()
            } else {
                vec![consumer(0, 100), consumer(1, 20)]
            };
            rate.observe(&Work {
                at,
                pods: 2,
                is_settled: true,
                commits: (Some(at), Some(at)),
                served: u64::try_from(120 * 2 * turn).unwrap(),
                interval: Duration::from_secs(2),
                poll: Duration::from_secs(2),
                is_busy: false,
                consumers,
                cpu: None,
            });
        }
        rate
    }

    /// Two busy pods with so much CPU that do so much each, from one second to another.
    fn works(rate: &mut Rate, cpu: u32, each: u64, (from, to): (u64, u64), served: &mut u64) {
        for second in (from..to).step_by(2) {
            *served += 2 * 2 * each;
            let at = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
            rate.observe(&Work {
                at,
                pods: 2,
                is_settled: true,
                commits: (Some(at), Some(at)),
                served: *served,
                interval: Duration::from_secs(2),
                poll: Duration::from_secs(2),
                is_busy: true,
                consumers: Vec::new(),
                cpu: Some(Cpu { request: cpu, limit: cpu }),
            });
        }
    }

    #[test]
    fn pods_with_other_cpu_are_learned_anew_and_the_former_rate_stands_until_then() {
        let (mut rate, mut served) = (Rate::default(), 0);
        works(&mut rate, 1000, 100, (0, 600), &mut served);
        assert!((rate.known().unwrap() - 100.0).abs() < 1.0 && !rate.is_former());
        // Nearly the same CPU is the same.
        works(&mut rate, 1040, 100, (600, 602), &mut served);
        assert!(!rate.is_former());
        works(&mut rate, 400, 40, (602, 606), &mut served);
        assert!((rate.known().unwrap() - 100.0).abs() < 1.0 && rate.is_former());
        // The owner's hint, and what was recalled, were of the former pods, too.
        rate.believe(Some(90.0), 3);
        assert!(rate.is_former());
        works(&mut rate, 400, 40, (606, 640), &mut served);
        assert!((rate.known().unwrap() - 40.0).abs() < 2.0 && !rate.is_former(), "{rate:?}");
    }

    #[test]
    fn what_is_recalled_of_other_pods_is_not_learned_of_these() {
        let (mut rate, mut served) = (Rate::default(), 0);
        rate.recall_former(Some(100.0));
        rate.believe(Some(90.0), 3);
        assert_eq!((rate.known(), rate.is_former()), (Some(100.0), true));
        // A depth that has shown nothing yet is no measurement.
        rate.reckoned(None, None);
        assert!(rate.is_former());
        works(&mut rate, 400, 40, (0, 60), &mut served);
        assert!((rate.known().unwrap() - 40.0).abs() < 2.0 && !rate.is_former(), "{rate:?}");
    }

    #[test]
    fn one_busy_consumer_among_idle_ones_teaches() {
        let rate = learned([3, 4]).known().unwrap();
        assert!((rate - 100.0).abs() < 1.0, "{rate}");
    }

    #[test]
    fn where_nobody_can_tell_who_holds_what_all_must_be_busy() {
        let rate = learned([0, 0]);
        assert_eq!(rate.known(), None);
        assert!((rate.shown().unwrap() - 60.0).abs() < 1.0, "{rate:?}");
    }

    #[test]
    fn what_is_purged_is_no_work_done() {
        let (mut rate, mut served) = (Rate::default(), 0);
        works(&mut rate, 1000, 20, (0, 600), &mut served);
        let quiet = |rate: &mut Rate, second: i64, served: u64| {
            let at = Timestamp::from_second(second).unwrap();
            rate.observe(&Work {
                at,
                pods: 2,
                is_settled: true,
                commits: (Some(at), Some(at)),
                served,
                interval: Duration::from_secs(2),
                poll: Duration::from_secs(2),
                is_busy: false,
                consumers: Vec::new(),
                cpu: Some(Cpu { request: 1000, limit: 1000 }),
            });
        };
        quiet(&mut rate, 602, served);
        quiet(&mut rate, 620, served + 500_000);
        let known = rate.known().unwrap();
        assert!((20.0..22.0).contains(&known), "{known}");
        // Who shows more without being busy, time and again, can do more.
        for sample in 1..200 {
            quiet(
                &mut rate,
                620 + 10 * sample,
                served + 500_000 + 2 * 30 * 10 * sample.unsigned_abs(),
            );
        }
        assert!((28.0..30.0).contains(&rate.known().unwrap()), "{rate:?}");
    }

    #[test]
    fn what_is_purged_while_nothing_is_learned_shows_little() {
        let mut rate = Rate::default();
        rate.show(10.0, 10.0);
        rate.show(50_000.0, 10.0);
        assert!(rate.shown().unwrap() < 17.0, "{rate:?}");
    }

    #[test]
    fn a_sick_consumer_is_not_the_measure() {
        let (rate, count) = typical(vec![100.0, 3.0, 110.0, 90.0]).unwrap();
        assert!((rate - 100.0).abs() < 1e-9 && (count - 3.0).abs() < 1e-9);
        assert!(typical(Vec::new()).is_none());
    }
}
