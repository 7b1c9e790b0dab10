//! A queue that tells its depth and counts nothing: what came and what was taken, reckoned from how the depth moves and how many pods
//! work. Called by `knowledge` once for each new reading; the counters it gives stand for those of a queue that counts.
//!
//! The depth alone shows only the difference between what comes and what is taken. The two come apart where the pods change and
//! arrivals do not: asleep, the slope of the depth is the arrivals; with one pod more it is smaller by what one pod gets through. So
//! each change of pods is a measurement, and measurements are joined by their variances (a scalar Kalman filter, 1960). Whatever the
//! rate is taken to be, arrivals are reckoned with the same one, so an error makes steps too small or too large and the next
//! measurement better, but never leaves the depth growing. While next to nothing waits, arrivals may be anything up to what
//! the pods can do: what was seen last is believed less and less, so that fewer pods are tried.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{float, whole};
use super::writes::span;

/// A slope counts once it was watched for so many seconds, over so many steps from reading to reading.
const SHORTEST: f64 = 10.0;
const FEWEST: f64 = 2.0;
/// It is taken anew after so many seconds, and compared with one that ended no longer ago than that.
const LEG: f64 = 60.0;
const RECENT: f64 = 120.0;
/// Arrivals may differ by this share from one slope to the next.
const DRIFT: f64 = 0.03;
/// A first measurement must be surer than this share of itself; a word of the owner's or of an earlier life is taken to be so sure.
const SURE: f64 = 0.5;
const TOLD: f64 = 0.3;
/// What a pod gets through wanders by this share from one change of pods to the next.
const WANDERS: f64 = 0.05;
/// One measurement moves the rate by this factor at most.
const MOST: f64 = 2.0;
/// Pods that bring surely less than this share of what they should bring nothing: something else is the limit.
const VAIN: f64 = 0.2;
/// What arrives is followed with this time constant, in seconds.
const FOLLOWS: f64 = 15.0;
/// Rates beyond these, in items a second, are none.
const LEAST: f64 = 1e-9;
const LARGEST: f64 = 1e12;
/// Less than this that arrives in a second is nothing.
const NOTHING: f64 = 1e-3;

/// One look at the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    /// Items that wait, over all such queues of the stage, and how many queues these are.
    pub(super) depth: u64,
    pub(super) queues: u32,
    /// Pods that work.
    pub(super) pods: u32,
    /// What one is said to get through, items a second; and was that said of pods that had more CPU or less?
    pub(super) told: Option<f64>,
    pub(super) is_former: bool,
    /// While arrivals cannot be seen, half as much is believed after so many seconds.
    pub(super) half_life: f64,
}

/// What is remembered of the queue. Items, seconds, pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    read: Option<Timestamp>,
    depth: u64,
    queues: u32,
    pods: u32,
    /// Items taken since the record began.
    served: f64,
    /// Items a second that are believed to arrive.
    level: f64,
    /// Items a second of one pod.
    rate: Option<Guess>,
    /// Is that of pods that had more CPU or less, and nothing measured since?
    #[serde(default)]
    is_former: bool,
    /// What a pod gets through if it does as much as is left over: good enough to try another count, and no more.
    hunch: Option<f64>,
    /// More pods than this have brought nothing.
    useful: Option<u32>,
    /// Items counted as taken by pods that brought nothing.
    owed: f64,
    leg: Leg,
    before: Option<Slope>,
}

/// A figure, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Guess {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// A stretch in which the same pods were busy, or there were none. The mean and the squares of its steps are Welford's (1962).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Leg {
    since: Option<Timestamp>,
    /// When the pods became what they are, and what was known of them then.
    taught: Option<Guess>,
    seconds: f64,
    steps: f64,
    mean: f64,
    squares: f64,
}

/// How the depth moved with so many pods, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Slope {
    pods: u32,
    growth: Guess,
    until: Timestamp,
}

impl Tally {
    /// Takes in a reading, once. Gives counters of what came and what was taken; they never go back, and differ by the depth.
    pub(super) fn count(&mut self, look: &Look) -> (u64, u64) {
        if self.queues != look.queues {
            *self = Self { queues: look.queues, served: self.served, ..Self::default() };
        }
        if look.is_former && !self.is_former {
            self.start_anew(look.at);
        }
        match self.read {
            Some(read) if read < look.at => {
                let took = span(read, look.at).as_secs_f64();
                self.follow(look, took);
                self.read = Some(look.at);
            }
            Some(_) => {}
            None => {
                (self.depth, self.pods, self.read) = (look.depth, look.pods, Some(look.at));
                self.leg = Leg::from(look.at, None);
            }
        }
        let served = whole(self.served);
        (served.saturating_add(self.depth), served)
    }

    /// What one pod gets through, once that was seen of pods with the CPU they have.
    pub(super) fn rate(&self) -> Option<Guess> {
        self.rate.filter(|_| !self.is_former)
    }

    /// With what to try another count of pods while their rate is not known.
    pub(super) fn hunch(&self) -> Option<f64> {
        self.hunch.filter(|_| self.rate.is_none())
    }

    /// Pods have another CPU. What was known still says how to try another count, and next to nothing against what that shows; no slope
    /// of before is compared with one of after.
    fn start_anew(&mut self, at: Timestamp) {
        let wide = |Guess { mean, variance }| Guess {
            mean,
            variance: (SURE * mean).powi(2).max(variance),
        };
        (self.rate, self.is_former) = (self.rate.map(wide), true);
        (self.hunch, self.useful, self.before) = (None, None, None);
        self.leg = Leg::from(at, self.rate);
    }

    fn follow(&mut self, look: &Look, took: f64) {
        let Look { at, depth, pods, told, half_life, .. } = *look;
        if self.rate.is_none()
            && let Some(mean) = told.filter(|mean| (LEAST..=LARGEST).contains(mean))
        {
            self.rate = Some(Guess { mean, variance: (TOLD * mean).powi(2) });
        }
        let change = float(depth) - float(self.depth);
        // Each pod has something to do.
        let is_busy = 0 < pods && u64::from(pods.max(self.pods)) <= self.depth.min(depth);
        let is_told = is_busy || (pods == 0 && self.pods == 0);
        let working = self.pods.min(pods);
        let working = self.useful.map_or(working, |useful| useful.min(working));
        let full = self.rate.map_or(0.0, |rate| rate.mean * f64::from(working) * took);
        let least = (-change).max(0.0);
        let done = if is_busy { full } else { full.min(self.level * took) };
        let done = done.max(least);
        let repaid = self.owed.min(done - least);
        self.owed -= repaid;
        self.served += done - repaid;
        if is_told {
            let gain = 1.0 - (-took / FOLLOWS).exp();
            self.level += gain * (((done + change) / took).max(0.0) - self.level);
        } else {
            self.level *= 0.5_f64.powf(took / half_life.max(1.0));
        }
        if self.level < NOTHING {
            self.level = 0.0;
        }
        self.walk(at, took, change, pods, is_told);
        (self.depth, self.pods) = (depth, pods);
    }

    /// Lengthens the stretch, or ends it, and learns from it.
    fn walk(&mut self, at: Timestamp, took: f64, change: f64, pods: u32, is_told: bool) {
        if pods != self.pods {
            self.finish();
            self.leg = Leg::from(at, self.rate);
            return;
        }
        if !is_told || RECENT < took {
            self.finish();
            self.leg = Leg { since: None, ..self.leg };
            return;
        }
        if self.leg.since.is_none() {
            self.leg = Leg { since: self.read, ..Leg::from(at, self.leg.taught) };
        }
        self.leg.step(change / took, took);
        let Some(growth) = self.leg.growth() else { return };
        if 0 < pods {
            self.compare(growth);
            self.bound(growth);
        }
        if LEG <= self.leg.seconds {
            self.suppose(growth);
            self.before = Some(Slope { pods, growth, until: at });
            self.leg = Leg::from(at, self.rate);
        }
    }

    /// Keeps what the stretch has shown.
    fn finish(&mut self) {
        if let (Some(growth), Some(until)) = (self.leg.growth(), self.read) {
            self.before = Some(Slope { pods: self.pods, growth, until });
        }
    }

    /// What the pods that came or went have made of the slope.
    fn compare(&mut self, growth: Guess) {
        let Some(before) = self.before.filter(|it| it.pods != self.pods) else { return };
        if self.leg.since.is_none_or(|since| RECENT < span(before.until, since).as_secs_f64()) {
            return;
        }
        let more = f64::from(self.pods) - f64::from(before.pods);
        let known = self.leg.taught;
        let arrivals =
            before.growth.mean + known.map_or(0.0, |rate| rate.mean * f64::from(before.pods));
        let drift = (DRIFT * arrivals).powi(2);
        let seen = Guess {
            mean: (before.growth.mean - growth.mean) / more,
            variance: (before.growth.variance + growth.variance + drift) / (more * more),
        };
        let Some(known) = known else {
            if (LEAST..=LARGEST).contains(&seen.mean) && seen.sd() < SURE * seen.mean {
                (self.rate, self.hunch, self.useful) = (Some(seen), None, None);
                self.is_former = false;
            } else if seen.mean + 2.0 * seen.sd() < VAIN * self.hunch.unwrap_or(0.0) {
                self.hunch = None;
            }
            return;
        };
        if seen.mean + 2.0 * seen.sd() < VAIN * known.mean {
            let useful = self.pods.min(before.pods);
            if self.useful != Some(useful) && 0.0 < more {
                self.owed = known.mean * more * self.leg.seconds;
            }
            (self.rate, self.useful) = (Some(known), Some(useful));
            return;
        }
        (self.rate, self.useful) = (Some(known.joined(seen)), None);
        self.is_former = false;
    }

    /// The depth cannot fall faster than the pods take from it.
    fn bound(&mut self, growth: Guess) {
        let pods = f64::from(self.pods);
        let (fall, sd) = (-growth.mean / pods, growth.sd() / pods);
        let least = fall - sd;
        if (LEAST..=LARGEST).contains(&least)
            && sd < SURE * fall
            && self.rate.is_none_or(|rate| rate.mean < least)
        {
            self.rate = Some(Guess { mean: least, variance: (TOLD * least).powi(2) });
            self.leg.taught = self.rate;
            self.is_former = false;
        }
    }

    /// The depth has grown for long, and nobody knows the pods.
    fn suppose(&mut self, growth: Guess) {
        if self.rate.is_none() && 0 < self.pods && 2.0 * growth.sd() < growth.mean {
            self.hunch = Some(growth.mean / f64::from(self.pods));
        }
    }
}

impl Guess {
    fn sd(self) -> f64 {
        self.variance.sqrt()
    }

    /// What is known after a measurement.
    fn joined(self, seen: Self) -> Self {
        let gain = self.variance / (self.variance + seen.variance).max(f64::MIN_POSITIVE);
        let mean = self.mean + gain * (seen.mean - self.mean);
        let mean = mean.clamp(self.mean / MOST, self.mean * MOST).clamp(LEAST, LARGEST);
        Self { mean, variance: (1.0 - gain) * self.variance + (WANDERS * mean).powi(2) }
    }
}

impl Leg {
    fn from(since: Timestamp, taught: Option<Guess>) -> Self {
        Self { since: Some(since), taught, ..Self::default() }
    }

    fn step(&mut self, growth: f64, took: f64) {
        self.seconds += took;
        self.steps += 1.0;
        let off = growth - self.mean;
        self.mean += off / self.steps;
        self.squares += off * (growth - self.mean);
    }

    /// Items a second by which the depth grew; `None` while that may be chance.
    fn growth(&self) -> Option<Guess> {
        if self.since.is_none() || self.seconds < SHORTEST || self.steps < FEWEST {
            return None;
        }
        let scatter = self.squares / (self.steps - 1.0) / self.steps;
        // Items come and go one by one, however even the steps look.
        let least = (self.mean.abs() * self.seconds + 1.0) / self.seconds.powi(2);
        Some(Guess { mean: self.mean, variance: scatter.max(least) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue polled every 5 s, whose pods take 20 items a second each; `limit`: all of them together.
    struct Play {
        tally: Tally,
        at: i64,
        depth: f64,
        limit: f64,
        told: Option<f64>,
        /// What each gets through, and has it another CPU than what was learned is of?
        each: f64,
        is_former: bool,
        seed: u64,
        noise: f64,
    }

    impl Play {
        fn new(depth: f64) -> Self {
            let tally = Tally::default();
            let (limit, each) = (f64::INFINITY, 20.0);
            let (told, is_former) = (None, false);
            Self { tally, at: 0, depth, limit, told, each, is_former, seed: 1, noise: 0.0 }
        }

        fn chance(&mut self) -> f64 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f64::from(u32::try_from(self.seed >> 40).unwrap()) / f64::from(1_u32 << 24) - 0.5
        }

        fn run(&mut self, polls: u32, arrive: f64, pods: u32) -> (u64, u64) {
            let mut counted = (0, 0);
            for _ in 0..polls {
                self.at += 5;
                let odd = 1.0 + self.noise * self.chance();
                let take = (self.each * f64::from(pods)).min(self.limit);
                self.depth = (self.depth + 5.0 * (arrive * odd - take)).max(0.0);
                counted = self.tally.count(&Look {
                    at: Timestamp::from_second(self.at).unwrap(),
                    depth: whole(self.depth),
                    queues: 1,
                    pods,
                    told: self.told,
                    is_former: self.is_former,
                    half_life: 120.0,
                });
                // What was measured is the rate of these pods.
                self.is_former &= self.tally.rate().is_none();
            }
            counted
        }

        fn rate(&self) -> f64 {
            self.tally.rate().unwrap().mean
        }
    }

    #[test]
    fn the_rate_of_a_pod_shows_when_the_first_one_wakes() {
        let mut play = Play::new(0.0);
        play.run(6, 100.0, 0);
        assert!((play.tally.level - 100.0).abs() < 20.0, "{:?}", play.tally);
        play.run(6, 100.0, 1);
        assert!((play.rate() - 20.0).abs() < 2.0, "{:?}", play.tally);
        play.run(6, 100.0, 1);
        assert!((play.tally.level - 100.0).abs() < 5.0, "{:?}", play.tally);
    }

    #[test]
    fn pods_with_another_cpu_are_measured_before_their_rate_is_one() {
        let mut play = Play::new(0.0);
        play.run(6, 100.0, 0);
        play.run(12, 100.0, 2);
        assert!((play.rate() - 20.0).abs() < 2.0, "{:?}", play.tally);
        (play.each, play.is_former) = (8.0, true);
        play.run(24, 100.0, 2);
        assert_eq!(play.tally.rate(), None, "the same pods show nothing: {:?}", play.tally);
        // What one change shows moves it to a half at most, and the next one the rest of the way.
        play.run(6, 100.0, 5);
        assert!((play.rate() - 10.0).abs() < 0.5, "{:?}", play.tally);
        play.run(6, 100.0, 2);
        assert!((play.rate() - 8.0).abs() < 1.0, "{:?}", play.tally);
    }

    #[test]
    fn many_changes_make_the_rate_sure_though_arrivals_wander() {
        let mut play = Play::new(5000.0);
        play.noise = 0.4;
        for pods in [0, 2, 5, 3, 6, 4, 2, 6, 3, 5, 2, 6] {
            play.depth += 8000.0;
            play.tally.depth = whole(play.depth);
            play.run(12, 80.0, pods);
        }
        assert!((play.rate() - 20.0).abs() < 3.0, "{:?}", play.tally);
    }

    #[test]
    fn counters_never_go_back_and_differ_by_the_depth() {
        let mut tally = Tally::default();
        let (mut arrived, mut served) = (0, 0);
        for step in 0..500_u64 {
            let depth = step * 7919 % 1013;
            let (now, done) = tally.count(&Look {
                at: Timestamp::from_second(i64::try_from(step).unwrap() * 3).unwrap(),
                depth,
                queues: 1,
                pods: u32::try_from(step / 50 % 4).unwrap(),
                told: Some(3.3),
                is_former: false,
                half_life: 120.0,
            });
            assert!(arrived <= now && served <= done && now - done == depth, "{step}: {tally:?}");
            (arrived, served) = (now, done);
        }
    }

    #[test]
    fn a_depth_that_falls_shows_what_the_pods_do_at_least_and_a_purge_shows_nothing() {
        let mut play = Play::new(10_000.0);
        play.run(8, 0.0, 4);
        assert!((play.rate() - 20.0).abs() < 2.0, "{:?}", play.tally);
        let mut play = Play::new(100_000.0);
        play.run(4, 20.0, 1);
        play.depth = 500.0;
        play.run(4, 20.0, 1);
        assert_eq!(play.tally.rate(), None, "{:?}", play.tally);
    }

    #[test]
    fn what_grows_for_long_is_a_reason_to_try_more_and_then_shows_the_rate() {
        let mut play = Play::new(50.0);
        play.run(13, 100.0, 2);
        assert!((play.tally.hunch().unwrap() - 30.0).abs() < 1.0, "{:?}", play.tally);
        assert_eq!(play.tally.rate(), None);
        play.run(6, 100.0, 4);
        assert!((play.rate() - 20.0).abs() < 2.0, "{:?}", play.tally);
        assert_eq!(play.tally.hunch(), None);
    }

    #[test]
    fn pods_that_bring_nothing_are_found_out_and_not_counted() {
        let mut play = Play::new(50.0);
        (play.told, play.limit) = (Some(20.0), 80.0);
        let before = play.run(24, 100.0, 4).1;
        let then = play.run(24, 100.0, 8).1;
        assert_eq!(play.tally.useful, Some(4), "{:?}", play.tally);
        // Two minutes at 80 a second, and not at 160; arrivals are seen for what they are.
        assert!((float(then - before) - 9600.0).abs() < 1200.0, "{}", then - before);
        assert!((play.tally.level - 100.0).abs() < 5.0, "{:?}", play.tally);
        assert!((play.rate() - 20.0).abs() < 1.0, "{:?}", play.tally);
        // The limit goes away: fewer pods are felt at once.
        play.limit = f64::INFINITY;
        play.depth = 50_000.0;
        play.run(12, 100.0, 8);
        play.run(12, 100.0, 2);
        assert_eq!(play.tally.useful, None, "{:?}", play.tally);
    }

    #[test]
    fn what_cannot_be_seen_is_believed_for_a_while_and_then_no_more() {
        let mut play = Play::new(0.0);
        play.run(6, 100.0, 0);
        play.run(6, 100.0, 1);
        play.run(60, 100.0, 9);
        assert!(play.depth < 1.0, "{}", play.depth);
        let soon = play.tally.level;
        play.run(120, 0.0, 9);
        assert!(play.tally.level < soon * 0.1, "{soon} to {}", play.tally.level);
    }
}
