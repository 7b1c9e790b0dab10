//! How far a stage may fall behind what arrives while it keeps its objective: the slack that lets fewer replicas do for a while.
//! Called by `demand` once it knows what count keeps up; it knows neither bounds nor windows.
//!
//! Partitions come whole, so what keeps up is often much more than what is needed on average. Fewer consumers fall behind slowly;
//! more catch up quickly. Between the two the delay moves within the objective, as the stock of an (s, S) policy moves between its
//! marks (Scarf 1960): up as late as new pods still come in time, down when what is saved until then pays for both moves.

use super::demand::{Load, Means};
use super::partitions::{breakpoints, capacity};
use super::pipeline::Prefer;

/// Share of the objective that may be used up.
const GOAL: f64 = 0.9;
/// Arrivals may turn out so much higher before new pods are up.
const MORE: f64 = 1.05;
/// How much of the busiest consumer's excess is expected of a count that does not run: the deals it is taken from are rather
/// unlucky ones.
const EXCESS: f64 = 0.8;
/// Seconds until a delay is seen and acted on.
const SEEN: f64 = 5.0;
/// What is left of the slack when it is used must be worth while, in seconds; and longer than this is not planned.
const LEAST: f64 = 5.0;
const LONGEST: f64 = 900.0;
/// A change costs this much besides the work it stops, in replica-seconds.
const CHANGE: f64 = 120.0;

/// What is asked of a spell on slack before it is begun.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// The present pods have been at work for so long, in seconds.
    settled: f64,
    /// It is to last so long, in seconds.
    lasts: f64,
    /// It is to save this share.
    saves: f64,
}

impl Terms {
    /// `None`: slack is not used.
    fn of(prefer: Prefer) -> Option<Self> {
        match prefer {
            Prefer::Latency => None,
            Prefer::Balanced => Some(Self { settled: 300.0, lasts: 120.0, saves: 0.08 }),
            Prefer::Cost => Some(Self { settled: 30.0, lasts: 60.0, saves: 0.02 }),
        }
    }
}

/// The room there is below the objective. Work in replicas, time in seconds.
#[derive(Debug)]
pub(super) struct Slack<'a> {
    load: &'a Load<'a>,
    means: &'a Means,
    terms: Terms,
    /// What arrives, and what waits.
    arrivals: f64,
    backlog: f64,
    /// The delay that may be reached.
    goal: f64,
}

/// Fewer replicas than keep up, and for how many seconds they do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spell {
    pub(super) replicas: u32,
    pub(super) lasts: f64,
}

impl<'a> Slack<'a> {
    /// `None` where latency is preferred.
    pub(super) fn of(
        prefer: Prefer,
        objective: f64,
        load: &'a Load<'a>,
        means: &'a Means,
        rate: f64,
    ) -> Option<Self> {
        let terms = Terms::of(prefer)?;
        // Work shows only when it is committed.
        let goal = (GOAL * objective).min(objective - load.commits);
        let (arrivals, backlog) = (load.arrivals.max(0.0) / rate, load.backlog.max(0.0) / rate);
        Some(Self { load, means, terms, arrivals, backlog, goal })
    }

    /// Does the present count do for now, even if it does not keep up? New pods asked for at the next look must come in time.
    pub(super) fn carries_on(&self) -> bool {
        let Means { desired, ready, rebalance, .. } = *self.means;
        let then = self.delay(desired) + self.growth(desired) * self.notice() + rebalance;
        0 < desired && ready == desired && then <= self.goal && self.holds(desired)
    }

    /// The lower count that is cheapest in the long run, if one is clearly cheaper than the present one, which keeps up.
    pub(super) fn lower(&self) -> Option<Spell> {
        let Means { desired, ready, settled, .. } = *self.means;
        let partitions = self.load.partitions.filter(|&partitions| 0 < partitions)?;
        if ready != desired || settled < self.terms.settled || self.load.is_jump {
            return None;
        }
        let spells = breakpoints(partitions).take_while(|&fewer| fewer < desired);
        let worth = spells.filter(|&fewer| self.holds(fewer)).filter_map(|fewer| self.spell(fewer));
        let (spell, cost) = worth.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (cost < f64::from(desired) * (1.0 - self.terms.saves)).then_some(spell)
    }

    /// A spell with fewer than now, and the mean number of replicas over it and the time to catch up after it.
    fn spell(&self, fewer: u32) -> Option<(Spell, f64)> {
        let Means { desired, startup, rebalance, .. } = *self.means;
        let spare = 1.0 - self.busyness(desired);
        let falls = (self.busyness(fewer) - 1.0).max(0.0);
        // Kept back for the way up, and for the two pauses of the group.
        let kept = self.growth(fewer) * self.notice() + 3.0 * rebalance;
        let room = self.goal - self.delay(fewer) - kept;
        let lasts = if LONGEST * falls <= room { LONGEST } else { room / falls };
        if spare <= 0.0 || room <= LEAST || lasts < self.terms.lasts {
            return None;
        }
        let behind = self.delay(fewer) + falls * (lasts + self.notice()) + rebalance;
        let catches_up = startup + behind / spare;
        let moved = f64::from(desired - fewer);
        let changes = 2.0 * (CHANGE + 2.0 * rebalance * moved);
        let paid = f64::from(fewer) * lasts + f64::from(desired) * catches_up + changes;
        Some((Spell { replicas: fewer, lasts }, paid / (lasts + catches_up)))
    }

    /// Would a count bear what may come before new pods are at work?
    fn holds(&self, count: u32) -> bool {
        self.load.surge <= 1.0 || self.load.surge * self.busyness(count) <= 1.0
    }

    /// The delay there is, and that of the last item that waits at the busiest consumer. What came at once is as old at its end as at
    /// its head when so many begin with it.
    fn delay(&self, count: u32) -> f64 {
        let last = self.load.tail + 0.9 * self.backlog * self.share(count);
        self.load.delay.max(self.backlog * self.share(self.means.desired)).max(last)
    }

    /// Share of its time that the busiest of so many consumers works; above 1 it falls behind.
    fn busyness(&self, count: u32) -> f64 {
        self.arrivals * self.share(count)
    }

    /// What the busiest of so many consumers gets of the whole.
    fn share(&self, count: u32) -> f64 {
        let Means { desired, ready, .. } = *self.means;
        let partitions = self.load.partitions.filter(|&partitions| 0 < partitions);
        let present = self.load.busiest.filter(|_| count == desired && count == ready);
        present.unwrap_or_else(|| {
            let uneven = if partitions.is_some() { self.load.skew.of(count) } else { 1.0 };
            (1.0 + EXCESS * (uneven - 1.0)) / capacity(count, partitions)
        })
    }

    /// Seconds by which the delay grows in a second, if more arrives than now.
    fn growth(&self, count: u32) -> f64 {
        (MORE * self.busyness(count) - 1.0).max(0.0)
    }

    /// From a look until pods that it asks for work.
    fn notice(&self) -> f64 {
        self.means.startup + self.means.rebalance + SEEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::skew::Skew;

    /// 48 partitions, 60 s, and pods that start in 45 s.
    fn judged(arrivals: f64, delay: f64, desired: u32) -> (Option<Spell>, bool) {
        let skew = Skew::default();
        let load = Load { arrivals, delay, ..Load::none(&skew) };
        let means = Means::of(desired);
        let slack = Slack::of(Prefer::Balanced, 60.0, &load, &means, 100.0).unwrap();
        (slack.lower(), slack.carries_on())
    }

    #[test]
    fn a_count_that_nearly_keeps_up_does_for_a_while() {
        let spell = judged(1250.0, 0.0, 16).0.unwrap();
        // It falls behind by 1250/1200 - 1 in a second; 54 s less 15 s and 5.2 s are there to be used.
        assert_eq!(spell.replicas, 12);
        assert!((780.0..830.0).contains(&spell.lasts), "{spell:?}");
    }

    #[test]
    fn a_count_that_falls_behind_fast_is_not_tried() {
        assert_eq!(judged(1550.0, 0.0, 16).0, None);
    }

    #[test]
    fn what_already_waits_leaves_less_to_use() {
        let lasts = |delay| judged(1250.0, delay, 16).0.unwrap().lasts;
        assert!(lasts(5.0) < lasts(0.0));
        assert_eq!(judged(1250.0, 40.0, 16).0, None);
    }

    #[test]
    fn the_way_up_begins_while_new_pods_still_come_in_time() {
        assert!(judged(1250.0, 40.0, 12).1);
        assert!(!judged(1250.0, 45.0, 12).1);
        assert!(!judged(2500.0, 0.0, 12).1);
    }

    #[test]
    fn whoever_prefers_latency_uses_none() {
        assert!(Terms::of(Prefer::Latency).is_none());
    }
}
