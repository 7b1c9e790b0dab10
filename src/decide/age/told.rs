//! What a queue's record tells besides ages: how fast items come, how they fall on the partitions, what was counted, when commits were
//! read. Asked by `knowledge` and those it calls.

use std::time::Duration;

use jiff::Timestamp;

use super::super::arrivals::Arrivals;
use super::super::part::Part;
use super::super::writes::span;
use super::{Point, Trace};

/// The tail of a queue is its last tenth.
const TAIL: f64 = 0.1;

impl Trace {
    /// Age, in seconds, when the queue was last read, of the item behind which a tenth of all waiting ones wait: near 0 while items keep coming, and that of all of them
    /// when they came at once. At least the record's own where it does not reach back so far.
    pub(in crate::decide) fn tail(&self) -> Option<f64> {
        let waiting = self.parts.iter().map(Part::lag).fold(0, u64::saturating_add);
        let points = || (0..self.times.len()).filter_map(|slot| self.point(slot));
        let (now, all) = points().next_back()?;
        let mark = all - TAIL * super::count(waiting);
        let mut before: Option<Point> = None;
        let came = points().find_map(|(time, arrived)| {
            let from = before.replace((time, arrived));
            if arrived < mark {
                return None;
            }
            Some(match from {
                Some((then, had)) if had < arrived => {
                    then + (time - then) * ((mark - had) / (arrived - had)).clamp(0.0, 1.0)
                }
                Some(_) | None => time,
            })
        })?;
        Some(((now - came) / 1000.0).max(0.0))
    }

    /// How fast items arrive; `None` before there are two readings, and where nothing counts them.
    pub(in crate::decide) fn arrivals(&self, poll: Duration) -> Option<Arrivals> {
        self.parts.first()?;
        let points: Vec<_> = (0..self.times.len()).filter_map(|slot| self.point(slot)).collect();
        Arrivals::of(&points, poll.as_secs_f64() * 1000.0)
    }

    /// Items that came to each partition while the record goes back.
    pub(in crate::decide) fn came_each(&self) -> Vec<f64> {
        let count = self.parts.len();
        let last = self.ends.len().saturating_sub(count);
        let pairs = self.ends.iter().take(count).zip(self.ends.iter().skip(last));
        pairs.map(|(first, last)| f64::from(last.saturating_sub(*first))).collect()
    }

    /// Share of what came lately that the partitions of the busiest consumer got, if it is known who holds every one.
    pub(in crate::decide) fn busiest(&self) -> Option<f64> {
        let came = self.came_each();
        let all: f64 = came.iter().sum();
        let held = self.by_owner(|held: &mut f64, at, _| {
            *held += came.get(at).copied().unwrap_or(0.0);
        })?;
        let busiest = held.iter().map(|&(_, held)| held).fold(0.0, f64::max);
        (0.0 < all).then(|| busiest / all)
    }

    /// Bytes on the heap.
    pub(in crate::decide) fn weight(&self) -> usize {
        8 * (self.times.capacity() + self.arrived.capacity())
            + 4 * self.ends.capacity()
            + size_of::<Part>() * self.parts.capacity()
    }

    /// Items taken since the record began: a counter that never goes back.
    pub(in crate::decide) fn served(&self) -> u64 {
        self.served
    }

    /// Items that have come since the record began: a counter that never goes back.
    pub(in crate::decide) fn arrived(&self) -> u64 {
        self.arrived.last().copied().unwrap_or(0)
    }

    /// Items that came with the latest reading.
    pub(in crate::decide) fn came(&self) -> u64 {
        self.came
    }

    /// Does the queue count what comes and goes?
    pub(in crate::decide) fn counts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Time between the last two readings of commits.
    pub(in crate::decide) fn commit_gap(&self) -> Duration {
        self.commit_gap
    }

    /// How long before the latest reading commits last moved; none when they never did.
    pub(in crate::decide) fn since_commit(&self) -> Duration {
        self.commits_moved.zip(self.read).map_or(Duration::ZERO, |(moved, read)| span(moved, read))
    }

    /// Items that came into partitions without a commit since the stage last ran.
    pub(in crate::decide) fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// The stage runs: what came while it slept has been answered for.
    pub(in crate::decide) fn claim(&mut self) {
        self.unclaimed = 0;
    }

    /// When commits were last read, and when they last moved.
    pub(in crate::decide) fn commits(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (self.commits_read, self.commits_moved)
    }

    /// When the topic was last seen recreated.
    pub(in crate::decide) fn recreated(&self) -> Option<Timestamp> {
        self.recreated
    }

    /// Did offsets go backwards, with no second reading yet that agrees?
    pub(in crate::decide) fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }
}
