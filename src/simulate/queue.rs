//! A queue as a fluid: partitions that fill by their shares and are read first in, first out, so that the age of what is read is
//! known to the second. Filled by `world`, read by the members of a `group`.
//!
//! What arrived is kept once for the queue, second by second; a partition's part of it is its share of that second. A partition
//! that keeps up therefore costs nothing: its end follows from the total, and only what waits is kept for each.

use std::f64::consts::PI;

use super::chance::{Chance, Tag, lot};
use super::ground::Skew;
use super::policy::Offsets;
use super::tally::Tally;

/// Less than this many items is nothing: what rounding leaves.
const NOTHING: f64 = 1e-9;
/// Shares that wander are set anew so often, in seconds.
const SEGMENT: u32 = 600;

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    partitions: usize,
    /// Shares, segment by segment, partition by partition within it; they add up to 1 in each.
    shares: Vec<f64>,
    /// Seconds of a segment.
    segment: u32,
    /// Items that arrived in each second so far.
    inflow: Vec<f64>,
    /// Mean second of birth of what arrived in each second; empty where everything is born here.
    births: Vec<f64>,
    total: f64,
    /// Ends when the present segment began, and the total then.
    base: Vec<f64>,
    based_on: f64,
    /// Items that wait, by partition.
    waiting: Vec<f64>,
    /// The second in which the oldest of them arrived, and how many of that second wait.
    head: Vec<u32>,
    left: Vec<f64>,
    /// Items that were read and not committed by a member that crashed: they are worked on once more, first.
    again: Vec<f64>,
    committed: Vec<f64>,
}

impl Queue {
    pub(super) fn new(
        partitions: u32,
        skew: &Skew,
        seconds: u32,
        is_fed: bool,
        (seed, which): (u64, u64),
    ) -> Self {
        let count = partitions as usize;
        let (shares, segment) = shares(partitions, skew, seconds, seed, which);
        let room = seconds as usize;
        // Where in a whole item each partition begins, so that few items do not all lie between two whole offsets.
        let base: Vec<f64> =
            (0..partitions).map(|at| lot(seed, Tag::Skew, which, u64::from(at) + 1)).collect();
        Self {
            partitions: count,
            shares,
            segment,
            inflow: Vec::with_capacity(room),
            births: Vec::with_capacity(if is_fed { room } else { 0 }),
            total: 0.0,
            committed: base.clone(),
            base,
            based_on: 0.0,
            waiting: vec![0.0; count],
            head: vec![0; count],
            left: vec![0.0; count],
            again: vec![0.0; count],
        }
    }

    /// Share of a partition at a second.
    pub(super) fn share(&self, partition: usize, second: u32) -> f64 {
        self.shares[(second / self.segment) as usize * self.partitions + partition]
    }

    /// Items arrive in the second `now`, each second once. Says whether shares changed with it.
    pub(super) fn fill(&mut self, now: u32, items: f64, birth: Option<f64>) -> bool {
        let has_changed = 0 < now && now.is_multiple_of(self.segment);
        if has_changed {
            for partition in 0..self.partitions {
                self.base[partition] +=
                    self.share(partition, now - 1) * (self.total - self.based_on);
            }
            self.based_on = self.total;
        }
        self.inflow.push(items);
        self.births.extend(birth);
        self.total += items;
        has_changed
    }

    /// Items that arrived in the second `now`.
    pub(super) fn inflow(&self, now: u32) -> f64 {
        self.inflow[now as usize]
    }

    fn birth(&self, second: u32) -> f64 {
        self.births.get(second as usize).copied().unwrap_or_else(|| f64::from(second))
    }

    fn end(&self, partition: usize) -> f64 {
        let now = u32::try_from(self.inflow.len()).unwrap_or(u32::MAX).saturating_sub(1);
        self.base[partition] + self.share(partition, now) * (self.total - self.based_on)
    }

    /// What arrived in the second `now` waits in this partition; for partitions that do not keep up, each second once.
    pub(super) fn arrive(&mut self, partition: usize, now: u32) {
        let items = self.share(partition, now) * self.inflow[now as usize];
        if self.waiting[partition] <= 0.0 {
            self.head[partition] = now;
            self.left[partition] = items;
        }
        self.waiting[partition] += items;
    }

    /// Members that keep up read what arrived in the second `now` at once.
    pub(super) fn read_at_once(&self, items: f64, now: u32, tally: &mut Tally) {
        tally.read(items, 0, self.birth(now), now);
    }

    /// Work there is in a partition: items that wait, and items to be worked on again.
    pub(super) fn work(&self, partition: usize) -> f64 {
        self.waiting[partition] + self.again[partition]
    }

    /// The second in which the oldest waiting item arrived; `None` when none waits.
    pub(super) fn oldest(&self, partition: usize) -> Option<u32> {
        (0.0 < self.waiting[partition]).then(|| self.head[partition])
    }

    /// A member gets through so much of a partition's work, oldest first.
    pub(super) fn take(&mut self, partition: usize, items: f64, now: u32, tally: &mut Tally) {
        let repeated = items.min(self.again[partition]);
        self.again[partition] -= repeated;
        let all = self.waiting[partition];
        let mut items = (items - repeated).min(all);
        if items <= 0.0 {
            return;
        }
        let is_all = all - items <= NOTHING;
        self.waiting[partition] = if is_all { 0.0 } else { all - items };
        let (mut head, mut left) = (self.head[partition], self.left[partition]);
        loop {
            let read = left.min(items);
            if 0.0 < read {
                tally.read(read, now - head, self.birth(head), now);
                items -= read;
                left -= read;
            }
            if NOTHING < left {
                if is_all {
                    // Rounding: the last of a partition is read to the end.
                    left = 0.0;
                    continue;
                }
                break;
            }
            if now <= head {
                break;
            }
            head += 1;
            left = self.share(partition, head) * self.inflow[head as usize];
        }
        self.head[partition] = head;
        self.left[partition] = left;
    }

    /// Everything that was read is committed.
    pub(super) fn commit(&mut self, partition: usize) {
        self.committed[partition] = self.end(partition) - self.work(partition);
    }

    /// A member crashed: what it did not commit is worked on again.
    pub(super) fn forget(&mut self, partition: usize) {
        let read = self.end(partition) - self.waiting[partition];
        self.again[partition] = (read - self.committed[partition]).max(0.0);
    }

    /// What a reading would say now.
    pub(super) fn show(&self, to: &mut [Offsets]) {
        for (partition, shown) in to.iter_mut().enumerate() {
            let committed = self.committed[partition];
            *shown = Offsets { end: self.end(partition).max(committed), committed, owner: None };
        }
    }

    /// Items that wait, over all partitions.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> f64 {
        self.waiting.iter().sum()
    }

    /// The end of the scenario: what still waits and is late already, at the stage or on the whole way, counts as late; where there is no
    /// delay to keep, with its age so far.
    pub(super) fn close(
        &self,
        now: u32,
        (own, whole): (Option<f64>, Option<f64>),
        tally: &mut Tally,
    ) {
        let (own, whole) = (own.unwrap_or(0.0), whole.unwrap_or(0.0));
        for partition in 0..self.partitions {
            let Some(head) = self.oldest(partition) else { continue };
            let mut items = self.left[partition];
            for second in head..now {
                if second != head {
                    items = self.share(partition, second) * self.inflow[second as usize];
                }
                if own < f64::from(now - second) {
                    tally.unread(items, now - second);
                }
                tally.owed(items, second, now);
                if whole < f64::from(now) - self.birth(second) {
                    tally.unread_of_all(items, f64::from(now) - self.birth(second));
                }
            }
        }
    }
}

/// Shares of the partitions over time.
fn shares(partitions: u32, skew: &Skew, seconds: u32, seed: u64, which: u64) -> (Vec<f64>, u32) {
    let mut chance = Chance::new(seed, Tag::Skew, which);
    let period = skew.drift.steps();
    if period == 0 {
        return (set(partitions, skew, &mut chance), u32::MAX);
    }
    let mut all = Vec::new();
    let (mut from, mut to) =
        (set(partitions, skew, &mut chance), set(partitions, skew, &mut chance));
    let mut leg = 0;
    for second in (0..=seconds).step_by(SEGMENT as usize) {
        while leg < second / period {
            from = std::mem::replace(&mut to, set(partitions, skew, &mut chance));
            leg += 1;
        }
        let phase = f64::from(second % period) / f64::from(period);
        let share = (1.0 - (PI * phase).cos()) / 2.0;
        all.extend(from.iter().zip(&to).map(|(a, b)| a + (b - a) * share));
    }
    (all, SEGMENT)
}

/// One set of shares.
fn set(partitions: u32, skew: &Skew, chance: &mut Chance) -> Vec<f64> {
    let count = f64::from(partitions);
    let mut weights: Vec<f64> = match (skew.zipf, skew.hot) {
        (Some(power), _) => (1..=partitions).map(|rank| f64::from(rank).powf(-power)).collect(),
        (None, Some(hot)) => {
            let other = if 1 < partitions { (1.0 - hot) / (count - 1.0) } else { 0.0 };
            let mut weights = vec![other; partitions as usize];
            weights[0] = if 1 < partitions { hot } else { 1.0 };
            weights
        }
        (None, None) => {
            let by = skew.uniform.unwrap_or(0.25);
            (0..partitions).map(|_| 1.0 + by * chance.between(-1.0, 1.0)).collect()
        }
    };
    chance.shuffle(&mut weights);
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(skew: &Skew) -> Queue {
        Queue::new(4, skew, 4000, false, (1, 0))
    }

    #[test]
    fn shares_add_up_to_one_at_all_times() {
        let drifting = Skew { drift: crate::simulate::span::Span::of(1800.0), ..Skew::default() };
        let zipf = Skew { zipf: Some(1.0), ..Skew::default() };
        let hot = Skew { hot: Some(0.7), ..Skew::default() };
        for skew in [drifting, zipf, hot] {
            let queue = queue(&skew);
            for second in [0, 599, 600, 2400, 3999] {
                let shares: Vec<f64> = (0..4).map(|at| queue.share(at, second)).collect();
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{skew:?} {shares:?}");
            }
        }
        let hottest = (0..4).map(|at| queue(&hot).share(at, 0)).fold(0.0, f64::max);
        assert!((hottest - 0.7).abs() < 1e-9, "{hottest}");
    }

    #[test]
    fn what_is_read_is_as_old_as_it_waited() {
        let mut queue = queue(&Skew { uniform: Some(0.0), ..Skew::default() });
        let mut tally = Tally::default();
        for now in 0..10 {
            queue.fill(now, 40.0, None);
            (0..4).for_each(|partition| queue.arrive(partition, now));
        }
        // 10 items a second wait in each partition; 25 of them are two seconds and a half.
        queue.take(0, 25.0, 9, &mut tally);
        assert_eq!(queue.oldest(0), Some(2));
        assert!((queue.work(0) - 75.0).abs() < 1e-9);
        let ages: Vec<f64> = [9, 8, 7, 6].iter().map(|&age| tally.ages.at(age)).collect();
        assert_eq!(format!("{ages:?}"), "[10.0, 10.0, 5.0, 0.0]");
        queue.take(0, 75.0, 9, &mut tally);
        assert_eq!(queue.oldest(0), None);
        assert!((tally.ages.total() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_crash_makes_what_was_not_committed_be_worked_on_again() {
        let mut queue = queue(&Skew { uniform: Some(0.0), ..Skew::default() });
        let mut tally = Tally::default();
        queue.fill(0, 40.0, None);
        queue.arrive(0, 0);
        queue.take(0, 4.0, 0, &mut tally);
        queue.commit(0);
        queue.take(0, 3.0, 0, &mut tally);
        queue.forget(0);
        assert!((queue.work(0) - 6.0).abs() < 1e-9, "{}", queue.work(0));
        queue.take(0, 4.0, 0, &mut tally);
        assert!((tally.ages.total() - 8.0).abs() < 1e-9, "read once: {}", tally.ages.total());
        let mut shown = [Offsets::default(); 4];
        queue.commit(0);
        queue.show(&mut shown);
        assert!((shown[0].end - shown[0].committed - 2.0).abs() < 1e-9, "{shown:?}");
    }
}
