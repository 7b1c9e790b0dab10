//! The least constant count that would have been enough of late, for loads that come in bursts which are over before new pods are at work:
//! who follows each of them pays for pods that come too late. Fed by `knowledge` once a turn; asked by a stage's turn what becomes of
//! the objective's wish.
//!
//! For a few counts a queue is kept in mind that has had this count all along (a fluid queue, Lindley's recursion), and the longest delay
//! in it over the present spell and the one before. The smallest count whose delay stayed well within the objective was enough. It is
//! held, against wishes for more and for fewer, where bursts are a habit (many, or a few that are alike) and following them was dearer;
//! and let go when more waits than it bears, for then what comes is no burst like those before.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::{Bid, Load, Means};
use super::evidence::float;
use super::memory::StageMemory;
use super::partitions::{capacity, ceil};
use super::pipeline::Stage;
use super::reason::Reason;
use super::snapshot::Workload;
use super::stage::Turn;

/// Counts kept in mind.
const COUNTS: usize = 14;
/// Each is about so many times the next, or, where work goes by partitions, as many as the next that differs.
const APART: f64 = 1.25;
/// Seconds of a spell.
const SPELL: f32 = 600.0;
/// Turns further apart than this tell nothing of bursts.
const GAP: f64 = 60.0;
/// The delay that a count may have reached, in per cent of the objective.
const BEARABLE: u8 = 75;
/// Following must have been so many times as dear.
const DEARER: f64 = 1.15;
/// So many bursts in two spells are a habit, whatever they are like. Of fewer the last would tell too little of the next.
const HABIT: u8 = 10;
/// So many in a row are one when they are alike: the longest time from one to the next, and the most that came in it, no more than so
/// many times the least.
const ROW: usize = 6;
const ALIKE: f64 = 1.25;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Enough {
    /// When it looked last, in milliseconds since the epoch, and how many items had arrived by then.
    at: i64,
    arrived: u64,
    /// Partitions, if work does not split at will, and most replicas: what the counts follow from.
    ground: (Option<u32>, u32),
    /// What waits for each count, in items.
    waits: [f32; COUNTS],
    now: Spell,
    before: Option<Spell>,
    /// Mean replicas in the last spell that followed its bursts.
    followed: f32,
    /// When the last bursts began, in milliseconds, and how many items had arrived by then; the latest first.
    begun: [(i64, u64); ROW + 1],
    /// Was more than enough wished when last asked?
    is_above: bool,
    is_held: bool,
}

/// What happened in a spell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Spell {
    /// The longest delay of each count, in per cent of the objective.
    worst: [u8; COUNTS],
    /// How often more than enough was wished after less.
    bursts: u8,
    /// Seconds, and replica-seconds asked for.
    lasted: f32,
    paid: f32,
}

/// What a turn shows. Items and seconds.
#[derive(Debug, Clone, Copy)]
struct Flow {
    at: Timestamp,
    /// Items since the record began.
    arrived: u64,
    /// Of one replica.
    rate: f64,
    objective: f64,
    ground: (Option<u32>, u32),
    desired: u32,
}

/// The counts kept in mind, the largest first; 0 where there are fewer. With partitions, only counts that hold fewer than any lower one does.
fn counts((partitions, most): (Option<u32>, u32)) -> [u32; COUNTS] {
    let mut counts = [0; COUNTS];
    let mut next = most.min(partitions.unwrap_or(most));
    for count in &mut counts {
        let Some(n) = (0 < next).then_some(next) else { break };
        *count = partitions.map_or(n, |partitions| partitions.div_ceil(partitions.div_ceil(n)));
        let least = f64::from(*count) / APART;
        next = ceil(least).min(*count - 1);
    }
    counts
}

impl Enough {
    /// Takes in a turn.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to int cast saturates; seven figures are plenty"
    )]
    fn observe(&mut self, flow: &Flow) {
        let &Flow { arrived, rate, objective, ground, desired, .. } = flow;
        let at = flow.at.as_millisecond();
        let since = Duration::from_millis(u64::try_from(at - self.at).unwrap_or(u64::MAX));
        let since = since.as_secs_f64();
        if self.ground != ground || GAP < since || arrived < self.arrived {
            *self = Self { at, arrived, ground, ..Self::default() };
            return;
        }
        let came = float(arrived - self.arrived);
        (self.at, self.arrived) = (at, arrived);
        let known = self.waits.iter_mut().zip(&mut self.now.worst);
        for (count, (waits, worst)) in counts(ground).into_iter().zip(known) {
            let speed = rate * capacity(count, ground.0);
            *waits = (f64::from(*waits) + came - speed * since).max(0.0) as f32;
            *worst = (*worst).max((100.0 * f64::from(*waits) / (speed * objective)) as u8);
        }
        self.now.lasted += since as f32;
        self.now.paid += (f64::from(desired) * since) as f32;
        if SPELL <= self.now.lasted {
            if !self.is_held {
                self.followed = self.now.paid / self.now.lasted;
            }
            self.before = Some(std::mem::take(&mut self.now));
        }
    }

    /// The smallest count that was enough; `None` before a spell is over, or where none was.
    fn least(&self) -> Option<u32> {
        let before = self.before?.worst;
        let worst = self.now.worst.iter().zip(before).map(|(now, before)| before.max(*now));
        let known = counts(self.ground).into_iter().zip(worst);
        known.filter(|&(n, worst)| 0 < n && worst <= BEARABLE).map(|(n, _)| n).min()
    }

    /// Came the last bursts at even times, at least one within a spell, each with as much as the others?
    fn are_alike(&self) -> bool {
        let (mut times, mut items) = ([0.0; ROW], [0.0; ROW]);
        for ((pair, time), items) in self.begun.windows(2).zip(&mut times).zip(&mut items) {
            let &[(at, arrived), (before, less)] = pair else { return false };
            *time = if 0 < before { float(at.abs_diff(before)) / 1000.0 } else { f64::INFINITY };
            *items = float(arrived - less);
        }
        let extremes = |all: [f64; ROW]| {
            let most = all.iter().copied().fold(0.0, f64::max);
            (all.iter().copied().fold(f64::INFINITY, f64::min), most)
        };
        let is_even = |(least, most): (f64, f64)| most <= ALIKE * least;
        extremes(times).1 <= f64::from(SPELL)
            && is_even(extremes(times))
            && is_even(extremes(items))
    }

    /// Makes the bid the count that was enough, where that is better than to follow bursts. `work` is what waits, in seconds of one replica.
    fn hold(&mut self, bid: &mut Bid, work: f64, objective: f64) {
        let Some(least) = self.least() else { return };
        let wished = bid.replicas;
        let is_above = least < wished;
        if is_above && !self.is_above {
            self.now.bursts = self.now.bursts.saturating_add(1);
            self.begun.rotate_right(1);
            self.begun[0] = (self.at, self.arrived);
        }
        self.is_above = is_above;
        let bursts = self.now.bursts.saturating_add(self.before.map_or(0, |it| it.bursts));
        let is_cheaper = DEARER * f64::from(least) <= f64::from(self.followed);
        let is_habit = || self.is_held || HABIT <= bursts || self.are_alike();
        self.is_held = is_cheaper && 0 < bursts && is_habit();
        let bearable = f64::from(BEARABLE) / 100.0 * objective * capacity(least, self.ground.0);
        if self.is_held && least != wished && (work <= bearable || !is_above) {
            bid.set(least, Reason::KeepLevel { wished, kept: least });
        }
    }
}

/// What a stage is to keep to, in seconds, if that alone sizes it: thresholds, expressions and batches are wishes of their own.
fn objective(stage: &Stage) -> Option<f64> {
    let is_alone = stage.combine.is_none()
        && stage.done_by.is_none()
        && stage.sources.iter().all(|it| it.per_replica.is_none());
    Some(stage.max_delay.filter(|_| is_alone)?.as_secs_f64())
}

impl StageMemory {
    /// Takes in what came, and what was asked for.
    pub(super) fn watch_level(
        &mut self,
        turn: &Turn<'_>,
        workload: &Workload,
        arrived: Option<u64>,
    ) {
        let Some(objective) = objective(turn.stage) else {
            self.enough = None;
            return;
        };
        let known = arrived.zip(self.rate.cautious());
        if let (Some((arrived, rate)), true) = (known, turn.evidence.is_fresh()) {
            let (at, desired) = (turn.at, workload.desired);
            let partitions = turn.evidence.is_partitioned().then(|| turn.evidence.partitions());
            let ground = (partitions.filter(|&it| 0 < it), turn.stage.max);
            let flow = Flow { at, arrived, rate, objective, ground, desired };
            self.enough.get_or_insert_default().observe(&flow);
        }
    }

    /// What becomes of a wish for an awake stage.
    pub(super) fn keep_level(
        &mut self,
        stage: &Stage,
        mut bid: Bid,
        load: Option<&Load<'_>>,
        means: &Means,
    ) -> Bid {
        let known = load.zip(means.known()).filter(|_| 0 < means.desired);
        if let (Some(enough), Some((load, rate)), Some(objective)) =
            (&mut self.enough, known, objective(stage))
        {
            enough.hold(&mut bid, load.backlog / rate, objective);
        }
        bid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bursts a minute of 40 replicas' work for 10 s, on 48 partitions, followed by all 48.
    fn played(minutes: i64, every: i64) -> Enough {
        let mut enough = Enough::default();
        let mut arrived = 0;
        for second in (0..minutes * 60).step_by(2) {
            arrived += if second % every < 10 { 2 * 4000 } else { 0 };
            let at = Timestamp::from_second(1_000_000 + second).unwrap();
            let (rate, objective, ground, desired) = (100.0, 60.0, (Some(48), 48), 48);
            enough.observe(&Flow { at, arrived, rate, objective, ground, desired });
            let wish = if second % every < 10 { 48 } else { 1 };
            enough.hold(&mut Bid::new(wish, Reason::NoSources), 0.0, objective);
        }
        enough
    }

    fn held(enough: &mut Enough, wish: u32, work: f64) -> u32 {
        let mut bid = Bid::new(wish, Reason::NoSources);
        enough.hold(&mut bid, work, 60.0);
        bid.replicas
    }

    #[test]
    fn the_counts_are_the_largest_that_matter() {
        let known = |partitions, most| {
            let counts = counts((partitions, most)).to_vec();
            counts.into_iter().filter(|n| 0 < *n).collect::<Vec<_>>()
        };
        assert_eq!(known(Some(48), 48), [48, 24, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(known(Some(48), 20), [16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(known(Some(3), 48), [3, 2, 1]);
        assert_eq!(known(None, 40), [40, 32, 26, 21, 17, 14, 12, 10, 8, 7, 6, 5, 4, 3]);
        assert_eq!(known(None, 2), [2, 1]);
    }

    #[test]
    fn a_train_of_bursts_is_met_by_what_clears_each_in_time() {
        // Bursts of 400 s of one replica's work: at its end 320 wait for eight, 40 s, and 330 for seven, 47 of the 45 that are borne.
        let mut enough = played(25, 60);
        assert_eq!(held(&mut enough, 48, 100.0), 8);
        assert_eq!(held(&mut enough, 1, 0.0), 8, "and is not given back in between");
        assert_eq!(held(&mut enough, 48, 370.0), 48, "so much never waited for eight");
    }

    #[test]
    fn rare_bursts_and_the_first_ones_are_followed_unless_they_are_alike() {
        assert_eq!(held(&mut played(9, 60), 48, 100.0), 48);
        assert_eq!(held(&mut played(60, 700), 48, 100.0), 48, "none of them within a spell");
        assert_eq!(held(&mut played(60, 300), 48, 100.0), 8, "one comes like the other");
        let other = |(later, more)| {
            let mut enough = played(60, 300);
            let (at, arrived) = enough.begun[2];
            enough.begun[2] = (at + later, arrived + more);
            enough.are_alike()
        };
        assert!(other((0, 0)) && !other((100_000, 0)) && !other((0, 15_000)));
    }

    #[test]
    fn it_ends_when_bursts_do_or_a_gap_hides_them() {
        let mut enough = played(25, 60);
        let mut flow = Flow {
            at: Timestamp::from_second(1_000_000 + 25 * 60).unwrap(),
            arrived: enough.arrived,
            rate: 100.0,
            objective: 60.0,
            ground: (Some(48), 48),
            desired: 10,
        };
        let mut lone = enough.clone();
        lone.observe(&Flow { at: flow.at + Duration::from_secs(61), ..flow });
        assert_eq!(held(&mut lone, 1, 0.0), 1, "what came in the gap is not known");
        for _ in 0..610 {
            flow.at += Duration::from_secs(2);
            enough.observe(&flow);
            held(&mut enough, 1, 0.0);
        }
        assert_eq!(held(&mut enough, 1, 0.0), 1);
    }
}
