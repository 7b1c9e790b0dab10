//! How unevenly the work falls on consumers: the share that the busiest of `n` gets. Nobody tells which partitions a consumer will
//! hold, so a few fixed deals stand for all. Called by `knowledge`; knows nothing of rates or time.
//!
//! The 75th percentile over nine deals of equal numbers of partitions, as thinking in shares rather than counts wants it: with
//! partitions of equal weight it is exactly ⌈P/n⌉/P.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::partitions::breakpoints;
use super::writes::span;

/// How often the partitions are looked at, and by how much of a difference what is known moves then.
const EVERY: Duration = Duration::from_mins(2);
const GAIN: f32 = 0.25;
/// Deals looked at; the seventh smallest of them counts.
const DEALS: usize = 9;
const COUNTS: usize = 6;
/// With this many partitions chance evens itself out, and one deal says enough.
const MANY: usize = 1024;
/// Seed of the deals: a constant, so that the same input gives the same answer.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// By how much the busiest consumer's load is above an even one, remembered for each number of partitions that it may hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Skew {
    partitions: u32,
    /// For each breakpoint of `partitions`, ascending: the busiest's share over ⌈P/n⌉/P, so 1 where all is even.
    uneven: Vec<f32>,
    looked: Option<Timestamp>,
}

impl Skew {
    /// Takes in what came to each partition lately; looks at it only now and then, and moves gently.
    pub(super) fn observe(&mut self, came: impl FnOnce() -> Vec<f64>, at: Timestamp) {
        if self.is_fresh(EVERY, at) {
            return;
        }
        let mut came = came();
        if came.iter().sum::<f64>() <= 0.0 {
            return;
        }
        self.looked = Some(at);
        without_chance(&mut came);
        let found = Self::from_loads(&came);
        if self.partitions == found.partitions && self.uneven.len() == found.uneven.len() {
            for (known, found) in self.uneven.iter_mut().zip(found.uneven) {
                *known += GAIN * (found - *known);
            }
        } else {
            *self = Self { looked: self.looked, ..found };
        }
    }

    /// Takes these loads for all there is; looks at them only so often.
    pub(super) fn renew(
        &mut self,
        loads: impl FnOnce() -> Vec<f64>,
        every: Duration,
        at: Timestamp,
    ) {
        if !self.is_fresh(every, at) {
            *self = Self { looked: Some(at), ..Self::from_loads(&loads()) };
        }
    }

    /// Was it looked at less than so long ago?
    fn is_fresh(&self, every: Duration, at: Timestamp) -> bool {
        self.looked.is_some_and(|looked| span(looked, at) < every)
    }

    /// How unevenly these loads would fall, one for each partition.
    #[expect(clippy::cast_possible_truncation, reason = "three figures are plenty")]
    pub(super) fn from_loads(loads: &[f64]) -> Self {
        let partitions = u32::try_from(loads.len()).unwrap_or(u32::MAX);
        let counts: Vec<u32> = breakpoints(partitions).collect();
        let even = loads.iter().sum::<f64>() / f64::from(partitions.max(1));
        let uneven = |(&n, busiest): (&u32, f64)| {
            let held = f64::from(partitions.div_ceil(n).max(1));
            if 0.0 < even { (busiest / even / held).max(1.0) as f32 } else { 1.0 }
        };
        let uneven = counts.iter().zip(busiest(loads, &counts)).map(uneven).collect();
        Self { partitions, uneven, looked: None }
    }

    /// How much more than an even share of the partitions' load the busiest of `n` gets; 1 until known.
    pub(super) fn of(&self, n: u32) -> f64 {
        let at = breakpoints(self.partitions).take_while(|&point| point <= n).count();
        self.uneven.get(at.saturating_sub(1)).map_or(1.0, |&uneven| f64::from(uneven))
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.uneven.capacity() * size_of::<f32>()
    }
}

/// Pulls counts towards their mean by as much as their scatter is chance: what arrives at random scatters by the root of its number
/// (James and Stein's shrinkage, with Poisson's variance).
fn without_chance(counts: &mut [f64]) {
    let number = f64::from(u32::try_from(counts.len()).unwrap_or(u32::MAX)).max(1.0);
    let mean = counts.iter().sum::<f64>() / number;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / number;
    let kept = if mean < variance { 1.0 - mean / variance } else { 0.0 };
    for count in counts {
        *count = mean + kept * (*count - mean);
    }
}

/// What the busiest consumer gets of these loads, in the loads' own unit, for each number of consumers.
fn busiest(loads: &[f64], consumers: &[u32]) -> Vec<f64> {
    let deals = if loads.len() < MANY { DEALS } else { 1 };
    let mut found = vec![[0.0; DEALS]; consumers.len()];
    let mut cards = loads.to_vec();
    let mut hands = vec![0.0; loads.len()];
    let mut chance = SEED;
    for deal in 0..deals {
        shuffle(&mut cards, &mut chance);
        for (&n, found) in consumers.iter().zip(&mut found) {
            let n = usize::try_from(n).unwrap_or(usize::MAX).clamp(1, loads.len().max(1));
            let hands = hands.get_mut(..n).unwrap_or_default();
            hands.fill(0.0);
            for some in cards.chunks(n) {
                hands.iter_mut().zip(some).for_each(|(hand, load)| *hand += load);
            }
            found[deal] = hands.iter().copied().fold(0.0, f64::max);
        }
    }
    let counted = |mut found: [f64; DEALS]| {
        let found = found.get_mut(..deals).unwrap_or_default();
        found.sort_by(f64::total_cmp);
        found.get(COUNTS).or_else(|| found.first()).copied().unwrap_or(0.0)
    };
    found.into_iter().map(counted).collect()
}

/// Fisher and Yates' shuffle, with Marsaglia's xorshift for chance.
fn shuffle(loads: &mut [f64], chance: &mut u64) {
    for last in (1..loads.len()).rev() {
        *chance ^= *chance << 13;
        *chance ^= *chance >> 7;
        *chance ^= *chance << 17;
        // The upper half times the bound, halved again: a fair pick without a division.
        let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
        let pick = ((*chance >> 32).saturating_mul(bound) >> 32).try_into().unwrap_or(0);
        loads.swap(last, pick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn equal_partitions_are_shared_by_their_number() {
        let found = busiest(&[1.0; 48], &[0, 1, 10, 47, 48, 60]);
        let expected = [48.0, 48.0, 5.0, 2.0, 1.0, 1.0];
        for (&a, b) in found.iter().zip(expected) {
            assert_near(a, b);
        }
        assert_near(busiest(&[], &[3])[0], 0.0);
    }

    #[test]
    fn one_hot_partition_is_a_share_of_its_own() {
        let mut loads = [1.0; 12];
        loads[3] = 12.0;
        let found = busiest(&loads, &[12, 6, 1]);
        for (&a, b) in found.iter().zip([12.0, 13.0, 23.0]) {
            assert_near(a, b);
        }
    }

    #[test]
    fn the_busiest_gets_more_than_the_mean_and_the_same_each_time() {
        let loads: Vec<f64> = (0..48).map(|at| 0.75 + f64::from(at) / 94.0).collect();
        let mean = loads.iter().sum::<f64>() / 12.0;
        let most = busiest(&loads, &[12])[0];
        assert!(mean < most && most < 1.25 * mean, "{most} of {mean}");
        assert_near(most, busiest(&loads, &[3, 12])[1]);
    }

    #[test]
    fn what_is_chance_is_no_skew() {
        let mut counts = [9.0, 11.0, 10.0, 12.0, 8.0];
        without_chance(&mut counts);
        for count in counts {
            assert_near(count, 10.0);
        }
        let mut counts = [900.0, 1100.0];
        without_chance(&mut counts);
        assert_near(counts[0], 1000.0 - 0.9 * 100.0);
    }

    #[test]
    fn skew_is_known_for_each_count_once_seen() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut skew = Skew::default();
        assert_near(skew.of(4), 1.0);
        skew.observe(|| vec![4000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0], at(0));
        assert!(2.5 < skew.of(6) && (skew.of(6) - skew.of(9)).abs() < 1e-9, "{skew:?}");
        assert_near(skew.of(1), 1.0);
        skew.observe(|| panic!("looked at too soon"), at(60));
    }
}
