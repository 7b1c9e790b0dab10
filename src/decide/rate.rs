//! How much one replica gets through, learned from commits. Everything that sizes a stage divides by it, so it learns only where it
//! can be sure: between two moments at which commits moved, with the same pods at both, and with work waiting for all of them.
//! A stage that was never that busy shows only the least a replica can do.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::writes::{later, span};

/// After a change of pods nothing is learned for this long: caches are cold and the group is still sorting itself out.
const WARM_UP: Duration = Duration::from_secs(20);
/// The first guess need not wait that long: the next samples mend it.
const FIRST_WARM_UP: Duration = Duration::from_secs(8);
/// A sample is at least this long, so that not knowing just when a commit came falsifies it little.
const SHORTEST: Duration = Duration::from_secs(10);
/// Time between two commits until it is measured: what most clients ship with.
pub(super) const COMMITS: Duration = Duration::from_secs(5);
/// Samples until the rate is moved gently.
const YOUNG: u32 = 20;

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
    /// Pods that worked at the last turn, and since when it has been these.
    pods: u32,
    pods_since: Option<Timestamp>,
    /// Commits as last looked at.
    looked: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Start {
    at: Timestamp,
    served: u64,
    is_busy: bool,
}

/// What a turn shows of the work done.
#[derive(Debug, Clone, Copy)]
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
}

impl Rate {
    /// What an earlier life or the owner says, until a busy stretch shows better.
    pub(super) fn believe(&mut self, rate: Option<f64>, samples: u32) {
        if self.learned.is_none()
            && let Some(rate) = rate.filter(|rate| rate.is_finite() && 0.0 < *rate)
        {
            self.learned = Some(rate);
            self.samples = samples;
        }
    }

    /// Looks at the work done since the last turn.
    pub(super) fn observe(&mut self, work: &Work) {
        if self.pods != work.pods || self.pods_since.is_none() {
            self.pods = work.pods;
            self.pods_since = Some(work.at);
            self.since = None;
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
        let now = Start { at: read, served: work.served, is_busy: work.is_busy };
        let Some(start) = &mut self.since else {
            self.since = Some(now);
            return;
        };
        start.is_busy &= now.is_busy;
        let wide = span(start.at, now.at);
        if wide < window(work.interval, work.poll) {
            return;
        }
        let items = work.served.saturating_sub(start.served);
        let seconds = wide.as_secs_f64();
        let each = super::evidence::float(items) / seconds / f64::from(work.pods);
        if start.is_busy {
            self.learn(each, seconds);
        } else {
            self.show(each, seconds);
        }
        self.since = Some(now);
    }

    /// A busy sample says what a replica gets through.
    fn learn(&mut self, each: f64, seconds: f64) {
        if !each.is_finite() || each <= 0.0 {
            return;
        }
        let Some(learned) = &mut self.learned else {
            self.learned = Some(each);
            self.variance = 0.04;
            self.samples = 1;
            return;
        };
        let gain = if self.samples < YOUNG { 0.3 } else { (0.05 * seconds / 10.0).min(0.3) };
        let off = (each / *learned).ln().clamp(-0.5, 0.5);
        *learned *= (gain * off).exp();
        self.variance = (1.0 - gain) * (self.variance + gain * off * off);
        self.samples = self.samples.saturating_add(1);
    }

    /// Any sample says what a replica gets through at least.
    fn show(&mut self, each: f64, seconds: f64) {
        if !each.is_finite() || each <= 0.0 {
            return;
        }
        match &mut self.learned {
            Some(learned) if 1.05 * *learned < each => {
                *learned += (0.05 * seconds / 10.0).min(0.3) * (each - *learned);
            }
            Some(_) => {}
            None => {
                let shown = self.shown.unwrap_or(each);
                self.shown = Some(shown + 0.3 * (each - shown).max(0.0));
            }
        }
    }

    /// Items a second of one replica, once known.
    pub(super) fn known(&self) -> Option<f64> {
        self.learned
    }

    /// What to divide by: a little less than the mean while samples scatter.
    pub(super) fn cautious(&self) -> Option<f64> {
        self.learned.map(|rate| rate * (-0.5 * self.variance.sqrt().min(0.2)).exp())
    }

    /// What one replica has shown without being busy; meaningless once the rate is known.
    pub(super) fn shown(&self) -> Option<f64> {
        self.shown
    }

    /// Since when the present pods have been at work.
    pub(super) fn pods_since(&self) -> Option<Timestamp> {
        self.pods_since
    }
}

/// How long a sample must be: two commits, and long against the gaps between readings, but no longer than a minute for that.
pub(super) fn window(interval: Duration, poll: Duration) -> Duration {
    let polls = poll.saturating_mul(5).min(Duration::from_mins(1));
    interval.saturating_mul(2).max(SHORTEST).max(polls)
}
