//! What a stage has to do, in replicas' worth of work, and whether a count does it. Asked by `demand`; the sums are those of its closed form.

use super::demand::{Load, Means};
use super::partitions::{breakpoints, capacity, ceil};
use super::skew::Skew;

/// Share of the objective that is planned with; the rest is for what no plan foresees.
pub(super) const GOAL: f64 = 0.8;
/// What cannot be served in time because pods start too slowly is worked off within this share of the goal once they are up.
const LATE: f64 = 0.25;
/// Fewer than now must do it within this share of the goal even when it is late already: next to never.
const KEPT: f64 = 0.02;
/// How much of the busiest consumer's excess is provided for: the deals it is taken from are unlucky ones. With less, items come late.
pub(super) const EXCESS: f64 = 0.6;
/// A lower count must carry this much more than there is, so that noise does not move it.
const SLACK: f64 = 1.05;

/// What a count lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// It falls behind what arrives.
    KeepUp,
    /// What waits takes too long.
    Backlog,
    /// More may come before new pods are at work.
    Room,
    /// It is fewer than now, and would just do.
    Spare,
}

/// Partitions that a consumer may hold with a hot one among them: the busiest consumer's load is then within a tenth of the least that any
/// count makes of it, and the others take no more than half of that consumer. All in replicas' worth of work.
fn beside(hot: f64, others: f64, partitions: u32) -> u32 {
    let each = others / f64::from(partitions.saturating_sub(1).max(1));
    breakpoints(partitions)
        .map(|count| partitions.div_ceil(count))
        .find(|&held| each * f64::from(held - 1) <= (0.1 * hot).min(0.5))
        .unwrap_or(1)
}

/// What must be done, in replicas' worth of work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    means: &'a Means,
    skew: &'a Skew,
    /// For what arrives.
    pub(super) arrivals: f64,
    /// For what may arrive before new pods are at work.
    surge: f64,
    /// What waits, in seconds of one replica's work.
    pub(super) backlog: f64,
    /// Seconds in which what waits must be served.
    pub(super) goal: f64,
    /// The same for what came first, which has waited already.
    left: f64,
    /// More partitions than this for one consumer take too much from a hot one.
    held: Option<u32>,
}

impl<'a> Need<'a> {
    pub(super) fn new(objective: f64, load: &Load<'a>, means: &'a Means, rate: f64) -> Self {
        let goal = (GOAL * objective - load.commits).max(LATE * objective).max(1.0);
        // The later it is already, the sooner it is to be over: at twice the objective, in half the time.
        let lateness = (load.delay / objective.max(1.0) - 1.0).clamp(0.0, 1.0);
        let mut arrivals = load.arrivals.max(0.0) / rate;
        let hot = load.hot.zip(load.partitions).map(|(hot, partitions)| (hot / rate, partitions));
        let held = hot.map(|(hot, partitions)| {
            let others = (arrivals - hot).max(0.0);
            // Of a hot partition one consumer gets its rate through, whatever the count.
            arrivals = others + 1.0;
            beside(hot, others, partitions)
        });
        Self {
            means,
            skew: load.skew,
            arrivals,
            surge: load.surge * arrivals,
            backlog: load.backlog.max(0.0) / rate,
            goal: goal * (1.0 - 0.5 * lateness),
            left: goal - load.tail,
            held,
        }
    }

    /// The same where what waits may take so many seconds, or as long as it may now if that is longer.
    pub(super) fn within(self, goal: f64) -> Self {
        Self { goal: self.goal.max(goal), ..self }
    }

    /// The same with no room for more than arrives now.
    pub(super) fn without_surge(self) -> Self {
        Self { surge: self.arrivals, ..self }
    }

    /// What a count must carry for the backlog to be served in time.
    fn for_backlog(&self, count: u32) -> f64 {
        let (rest, within) = self.rest(count);
        rest / within
    }

    /// What is left of the backlog when a count is at work, since that takes a while, and the time in which it must be served.
    pub(super) fn rest(&self, count: u32) -> (f64, f64) {
        let Means { startup, rebalance, pending, ready, desired, .. } = *self.means;
        let (wait, meanwhile) = match count {
            n if desired < n => (startup + rebalance, ready),
            n if ready < n => (pending + rebalance, ready),
            n if n == ready => (0.0, ready),
            _ => (rebalance, 0),
        };
        let rest = (self.backlog - f64::from(meanwhile) * wait).max(0.0);
        // What is there is not given back before the last of it is in time.
        let least = if count < desired { KEPT } else { LATE };
        let sooner = (self.left - wait).max(least * self.goal) / 0.9;
        (rest, sooner.min((self.goal - wait).max(LATE * self.goal)))
    }

    pub(super) fn is_backlog(&self, count: u32) -> bool {
        self.arrivals < self.for_backlog(count)
    }

    fn at(&self, count: u32) -> f64 {
        self.surge.max(self.for_backlog(count))
    }

    /// What would be enough if work could be split at will.
    pub(super) fn plain(&self, count: u32) -> u32 {
        ceil(self.at(count)).max(1)
    }

    /// The smallest useful count that carries it; the most there may be when none does.
    pub(super) fn smallest(&self, partitions: Option<u32>, most: u32) -> u32 {
        let desired = self.means.desired;
        let Some(partitions) = partitions else { return self.plainest(most) };
        // The present count needs no move, so it is as good as a breakpoint.
        let present = Some(desired).filter(|&n| 0 < n && n <= most);
        let points = breakpoints(partitions).take_while(|&n| n <= most);
        let found = points.chain(present).filter(|&n| self.fits(n, Some(partitions))).min();
        found.unwrap_or(most)
    }

    /// The same where work splits at will.
    fn plainest(&self, most: u32) -> u32 {
        let desired = self.means.desired;
        let fewer = ceil(SLACK * self.at(desired.saturating_sub(1))).max(1);
        if fewer < desired {
            fewer.min(most)
        } else if 0 < desired && self.fits(desired, None) {
            desired.min(most)
        } else {
            self.plain(desired.saturating_add(1)).max(desired).min(most)
        }
    }

    /// Does a count carry it? Fewer than now only with some slack.
    fn fits(&self, count: u32, partitions: Option<u32>) -> bool {
        self.lack(count, partitions).is_none()
    }

    /// Fewer than now must carry some more than there is.
    pub(super) fn slack(&self, count: u32) -> f64 {
        if count < self.means.desired { SLACK } else { 1.0 }
    }

    /// Lag is made by the busiest consumer, which gets so many times an even share of what arrives.
    pub(super) fn uneven(&self, count: u32, partitions: Option<u32>) -> f64 {
        let is_even = partitions.is_none() || self.held.is_some();
        let uneven = if is_even { 1.0 } else { self.skew.of(count) };
        1.0 + EXCESS * (uneven - 1.0)
    }

    /// Why a count does not carry it.
    pub(super) fn lack(&self, count: u32, partitions: Option<u32>) -> Option<Lack> {
        let slack = self.slack(count);
        let arrivals = self.arrivals * self.uneven(count, partitions);
        let backlog = self.for_backlog(count);
        let carries = capacity(count, partitions) * (1.0 + 1e-9);
        // Where work splits at will, one fewer is a small step: room is kept with some slack, too.
        let room = if partitions.is_some() { self.surge } else { self.surge * slack };
        let held = partitions.map_or(1, |partitions| partitions.div_ceil(count.max(1)));
        match () {
            () if self.held.is_some_and(|most| most < held) => Some(Lack::KeepUp),
            () if carries < arrivals => Some(Lack::KeepUp),
            () if carries < backlog => Some(Lack::Backlog),
            () if carries < self.surge => Some(Lack::Room),
            () if carries < (arrivals.max(backlog) * slack).max(room) => Some(Lack::Spare),
            () => None,
        }
    }
}
