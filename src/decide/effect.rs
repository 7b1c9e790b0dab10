//! Did more replicas get more done? Two steps up in a row that did not, with work waiting all the while, block further ones for a time:
//! something else is the limit, and more replicas only press on it. Called by `doubt` once a turn.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::{Bid, Load, Means};
use super::partitions::capacity;
use super::reason::Reason;
use super::writes::{Move, later, span};

/// What is done is measured over this long, or over four commits where those are rarer.
const MEASURE: Duration = Duration::from_mins(1);
/// A step that brings less than this share of what it should had no effect.
const EFFECT: f64 = 0.2;
/// So many seconds of work for all replicas wait while they are saturated.
const SATURATED: f64 = 10.0;
/// Steps without effect in a row.
const FAILURES: u8 = 2;
/// The first block, doubled each time up to the longest.
const FIRST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(1);
/// A block ends at once when arrivals, or what gets done, change by this much.
const CHANGE: f64 = 0.2;

/// What is remembered of steps up and what they brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Effect {
    /// What is done at present.
    measure: Option<Measure>,
    /// Items a second that were done over the last full measure, if work was waiting throughout.
    done: Option<f64>,
    trial: Option<Trial>,
    failures: u8,
    /// Blocks so far without a step that helped.
    blocks: u8,
    block: Option<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Measure {
    since: Timestamp,
    served: u64,
}

/// A step up that is to show what it brings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Trial {
    from: u32,
    to: u32,
    before: f64,
    /// Its pods should be at work by then.
    ripe: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Block {
    until: Timestamp,
    trial: Trial,
    after: f64,
    arrivals: f64,
    is_uneven: bool,
}

/// What a turn shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) at: Timestamp,
    pub(super) load: &'a Load<'a>,
    pub(super) means: &'a Means,
    /// Items taken so far, over all queues, as of the latest reading of commits, and whether that is this turn's.
    pub(super) served: (u64, bool),
    /// Time between two commits.
    pub(super) commits: Duration,
    /// Does half of what waits lie in one partition?
    pub(super) is_uneven: bool,
}

impl Effect {
    /// Takes in a turn, and the moves that were accepted since the last one.
    pub(super) fn observe(&mut self, shown: &Shown<'_>, moves: &[Move]) {
        let Shown { at, means, .. } = *shown;
        let Some(rate) = means.rate else {
            *self = Self::default();
            return;
        };
        self.lift(shown);
        for step in moves {
            self.step(*step, shown);
        }
        let is_saturated = rate * f64::from(means.ready) * SATURATED <= shown.load.backlog;
        if !is_saturated {
            // What waits shrinks to little: whatever was tried, it is enough.
            if self.trial.take_if(|trial| trial.ripe <= at).is_some() {
                (self.failures, self.blocks) = (0, 0);
            }
            (self.measure, self.done) = (None, None);
            return;
        }
        if means.ready != means.desired || self.trial.is_some_and(|trial| at < trial.ripe) {
            self.measure = None;
            return;
        }
        let (served, is_new) = shown.served;
        if !is_new {
            return;
        }
        let Some(measure) = self.measure else {
            self.measure = Some(Measure { since: at, served });
            return;
        };
        let wide = span(measure.since, at);
        if wide < MEASURE.max(shown.commits.saturating_mul(4)) {
            return;
        }
        let done = super::evidence::float(served.saturating_sub(measure.served));
        let done = done / wide.as_secs_f64();
        self.measure = Some(Measure { since: at, served });
        self.done = Some(done);
        if let Some(trial) = self.trial.take() {
            self.judge(trial, done, shown, rate);
        }
    }

    /// A step up is on trial if what was done before it is known; steps that follow before it is judged are one with it.
    fn step(&mut self, step: Move, shown: &Shown<'_>) {
        let before = self.trial.map(|trial| (trial.from, trial.before));
        let before = before.or_else(|| Some((step.from, self.done?)));
        self.measure = None;
        self.trial = before.filter(|_| step.from < step.to).map(|(from, before)| {
            let seconds = shown.means.startup + shown.means.rebalance;
            let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST);
            Trial { from, to: step.to, before, ripe: later(step.at, wait) }
        });
        self.done = None;
    }

    fn judge(&mut self, trial: Trial, after: f64, shown: &Shown<'_>, rate: f64) {
        let more =
            capacity(trial.to, shown.load.partitions) - capacity(trial.from, shown.load.partitions);
        let expected = rate * more;
        if expected <= 0.0 {
            return;
        }
        if EFFECT * expected <= after - trial.before {
            (self.failures, self.blocks) = (0, 0);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES {
            return;
        }
        let length = FIRST.saturating_mul(1 << self.blocks.min(4)).min(LONGEST);
        self.blocks = self.blocks.saturating_add(1);
        // The next step without effect blocks again.
        self.failures = FAILURES - 1;
        self.block = Some(Block {
            until: later(shown.at, length),
            trial,
            after,
            arrivals: shown.load.arrivals,
            is_uneven: shown.is_uneven,
        });
    }

    /// Ends a block when its time has come, or what it rested on has changed.
    fn lift(&mut self, shown: &Shown<'_>) {
        let done = self.done;
        self.block.take_if(|block| {
            let is_other = |now: f64, then: f64| CHANGE * then.max(1e-9) < (now - then).abs();
            block.until <= shown.at
                || is_other(shown.load.arrivals, block.arrivals)
                || done.is_some_and(|done| is_other(done, block.after))
        });
    }

    /// Keeps a bid from rising while that is of no use.
    pub(super) fn hold(&self, bid: &mut Bid, current: u32) {
        let Some(Block { until, trial, after, is_uneven, .. }) = self.block else { return };
        if bid.replicas <= current {
            return;
        }
        let Trial { from, to, before, .. } = trial;
        let wished = bid.replicas;
        bid.set(current, Reason::NoEffect { wished, from, to, before, after, is_uneven, until });
    }

    /// The block that stands.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.block.map(|block| block.until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::skew::Skew;
    use super::*;

    /// A stage of 48 partitions and a rate of 50 under a shared limit, with work always waiting.
    struct Stage {
        effect: Effect,
        now: i64,
        served: u64,
        desired: u32,
        limit: u64,
        arrivals: f64,
        backlog: f64,
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    impl Stage {
        fn new(limit: u64) -> Self {
            Self {
                effect: Effect::default(),
                now: 0,
                served: 0,
                desired: 4,
                limit,
                arrivals: 900.0,
                backlog: 1e6,
            }
        }

        fn turn(&mut self, moves: &[Move]) {
            let skew = Skew::default();
            let load = Load {
                lag: 1_000_000,
                backlog: self.backlog,
                arrivals: self.arrivals,
                delay: 100.0,
                ..Load::none(&skew)
            };
            let means = Means {
                rate: Some(50.0),
                startup: 20.0,
                settled: 100.0,
                may_probe: false,
                ..Means::of(self.desired)
            };
            let shown = Shown {
                at: at(self.now),
                load: &load,
                means: &means,
                served: (self.served, true),
                commits: Duration::from_secs(5),
                is_uneven: false,
            };
            self.effect.observe(&shown, moves);
            self.now += 5;
            self.served += 5 * self.limit.min(u64::from(self.desired) * 50);
        }

        fn run(&mut self, seconds: i64) {
            let end = self.now + seconds;
            while self.now < end {
                self.turn(&[]);
            }
        }

        fn step(&mut self, to: u32) {
            let from = std::mem::replace(&mut self.desired, to);
            self.turn(&[Move { at: at(self.now), from, to }]);
        }

        fn is_blocked(&self) -> bool {
            let mut bid = Bid::new(48, Reason::NoSources);
            self.effect.hold(&mut bid, self.desired);
            bid.replicas != 48
        }
    }

    #[test]
    fn two_steps_that_bring_nothing_block_a_third_for_longer_each_time() {
        let mut stage = Stage::new(200);
        stage.run(120);
        stage.step(8);
        stage.run(120);
        assert!(!stage.is_blocked(), "once may be chance");
        stage.step(12);
        stage.run(120);
        assert!(stage.is_blocked());
        let first = stage.effect.until().unwrap();
        stage.run(300);
        assert!(!stage.is_blocked(), "blocked until {first}");
        stage.step(16);
        stage.run(120);
        assert!(stage.is_blocked());
        assert!(Duration::from_mins(7) < span(at(stage.now), stage.effect.until().unwrap()));
    }

    #[test]
    fn steps_that_help_never_block() {
        let mut stage = Stage::new(100_000);
        for to in [8, 12, 16, 24] {
            stage.run(120);
            stage.step(to);
        }
        stage.run(240);
        assert!(!stage.is_blocked());
        assert_eq!(stage.effect.failures, 0);
    }

    #[test]
    fn a_block_ends_at_once_when_arrivals_change_or_more_gets_done() {
        for change in ["arrivals", "limit"] {
            let mut stage = Stage::new(200);
            stage.run(120);
            stage.step(8);
            stage.run(120);
            stage.step(12);
            stage.run(120);
            assert!(stage.is_blocked());
            match change {
                "arrivals" => stage.arrivals *= 1.3,
                _ => stage.limit = 300,
            }
            stage.run(130);
            assert!(!stage.is_blocked(), "{change}");
        }
    }

    #[test]
    fn a_step_after_which_little_waits_was_enough() {
        let mut stage = Stage::new(200);
        stage.run(120);
        stage.step(8);
        stage.run(120);
        stage.step(12);
        stage.backlog = 100.0;
        stage.run(120);
        assert!(!stage.is_blocked());
        assert_eq!(stage.effect.failures, 0);
    }
}
