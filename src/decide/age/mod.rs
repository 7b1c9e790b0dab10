//! How one queue moved: a short record of its end offsets over time, from which follow the age of the oldest item and (`arrivals`)
//! the speed at which items come. Fed once for each new reading by a stage's turn; what the figures are used for is not its concern.
//!
//! The record keeps fifteen instants. When it is full, the instant goes that is missed least: one that lies on the line between its
//! neighbours, so that bursts and lulls stay sharp and a steady stream costs nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::arrivals::Point;
use super::part::{Part, partitions};
use super::snapshot::{Queue, Reading};
use super::writes::span;

mod told;

/// Spreads numbers over 64 bits (the golden ratio, as in Fibonacci hashing).
const SPREADING: u64 = 0x9E37_79B9_7F4A_7C15;
/// Instants kept.
const SLOTS: usize = 15;
/// The newest instants are always kept: the speed of the last two polls rests on them.
const NEWEST: usize = 3;
/// History kept at least, for rates; more while an item that old still waits.
const MEMORY_MS: i64 = 130_000;

/// What is remembered of one queue. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Trace {
    /// When the latest reading was made.
    read: Option<Timestamp>,
    /// When commits were last read, and when they last moved.
    commits_read: Option<Timestamp>,
    commits_moved: Option<Timestamp>,
    /// Time between the last two readings of commits.
    commit_gap: Duration,
    /// Oldest first.
    times: Vec<i64>,
    /// Items that had arrived by each instant, since the record began.
    arrived: Vec<u64>,
    /// End offsets less `base`, instant by instant, partition by partition within it.
    ends: Vec<u32>,
    /// In the order of topic and number.
    parts: Vec<Part>,
    /// Items that came with the latest reading.
    came: u64,
    /// Items taken since the record began.
    served: u64,
    /// Items that arrived in partitions where the group never committed, since the stage last ran.
    unclaimed: u64,
    /// When the topic was last seen recreated.
    recreated: Option<Timestamp>,
    /// Are its counters reckoned from a depth, and no source's own?
    #[serde(default)]
    pub(in crate::decide) is_reckoned: bool,
    /// A reading in which offsets went backwards; until a second one agrees nothing is concluded from it.
    suspect: Option<Timestamp>,
}

/// One consumer of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::decide) struct Consumer {
    pub(in crate::decide) owner: u16,
    /// Does something wait for it that should long have been taken?
    pub(in crate::decide) is_busy: bool,
    /// What it holds, as a number that another set of partitions hardly has.
    pub(in crate::decide) holds: u32,
    /// Sum of the positions of its partitions: grows by what it takes as long as it holds the same.
    pub(in crate::decide) taken: i64,
}

/// How old the oldest item is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::decide) struct Age {
    /// In seconds.
    pub(in crate::decide) seconds: f64,
    /// Is it older than the record reaches, so that this is the least it can be?
    pub(in crate::decide) is_at_least: bool,
}

impl Trace {
    /// Takes in a reading, once. A `whole` reading lists every partition; from any other, what is missing is kept as it was.
    pub(in crate::decide) fn push(&mut self, reading: &Reading, queue: &Queue, is_whole: bool) {
        if self.read.is_some_and(|read| reading.at <= read) {
            return;
        }
        let seen = partitions(queue);
        let commits = queue.served_at.unwrap_or(reading.at);
        let (went_back, is_recreated) = self.follow(&seen, is_whole, commits);
        if is_recreated {
            self.recreated = Some(reading.at);
        }
        self.suspect = if went_back {
            Some(reading.at)
        } else {
            self.suspect.filter(|&since| !agrees(since, reading.at, queue))
        };
        self.read = Some(reading.at);
        self.record(reading.at.as_millisecond());
    }

    /// Moves each partition on. Says whether offsets went backwards, and whether ends did, as only in a recreated topic.
    fn follow(&mut self, seen: &[Part], is_whole: bool, commits: Timestamp) -> (bool, bool) {
        let mut went_back = false;
        let mut arrived = 0_u64;
        let mut served = 0_u64;
        let mut unclaimed = 0_u64;
        self.align(seen, is_whole);
        let mut is_recreated = false;
        for new in seen {
            let Ok(at) = self.parts.binary_search_by_key(&new.key(), Part::key) else { continue };
            let Some(part) = self.parts.get_mut(at) else { continue };
            let came = distance(part.end, new.end);
            arrived = arrived.saturating_add(came);
            // Before its first commit a partition stands where the group will begin, if that lies before its end: what the
            // first commit leaps over was worked off. One that stands at its end only follows it.
            let was_known = part.is_committed() || part.position < part.end;
            if was_known && new.is_committed() {
                served = served.saturating_add(distance(part.position, new.position));
                if new.position < part.position {
                    went_back = true;
                }
            } else if !new.is_committed() {
                unclaimed = unclaimed.saturating_add(came);
            }
            if new.end < part.end {
                went_back = true;
                is_recreated = true;
            }
            *part = Part { base: part.base, ..*new };
        }
        if is_recreated {
            self.forget();
        }
        self.came = arrived;
        self.unclaimed = self.unclaimed.saturating_add(unclaimed);
        if 0 < served {
            self.served = self.served.saturating_add(served);
            self.commits_moved = Some(commits);
        }
        if let Some(before) = self.commits_read.replace(commits)
            && before < commits
        {
            self.commit_gap = span(before, commits);
        }
        (went_back, is_recreated)
    }

    /// Makes room for partitions that are new and lets go of those that are gone.
    fn align(&mut self, seen: &[Part], is_whole: bool) {
        let same = self.parts.len() == seen.len()
            && self.parts.iter().zip(seen).all(|(old, new)| old.key() == new.key());
        if same {
            return;
        }
        let known = |parts: &[Part], key| parts.binary_search_by_key(&key, Part::key).ok();
        let mut parts: Vec<Part> = if is_whole {
            let gone = |part: &&Part| known(seen, part.key()).is_some();
            self.parts.iter().filter(gone).copied().collect()
        } else {
            self.parts.clone()
        };
        parts.extend(seen.iter().filter(|part| known(&self.parts, part.key()).is_none()));
        parts.sort_by_key(Part::key);
        let before = self.parts.len();
        let mut ends = Vec::with_capacity(self.times.len() * parts.len());
        for slot in 0..self.times.len() {
            let row = self.ends.get(slot * before..(slot + 1) * before).unwrap_or_default();
            let end = |part: &Part| {
                known(&self.parts, part.key()).and_then(|at| row.get(at)).copied().unwrap_or(0)
            };
            ends.extend(parts.iter().map(end));
        }
        self.ends = ends;
        self.parts = parts;
    }

    /// Drops the history: it is about offsets that are no more.
    fn forget(&mut self) {
        let total = self.arrived.last().copied();
        self.times.clear();
        self.ends.clear();
        self.arrived.clear();
        self.arrived.extend(total);
        for part in &mut self.parts {
            *part = part.based();
        }
    }

    /// Writes the present ends down as the newest instant. Room is made first: a record that is full never grows.
    fn record(&mut self, now: i64) {
        let reaches = |part: &Part| u32::try_from(part.end.saturating_sub(part.base)).is_ok();
        if !self.parts.iter().all(reaches) {
            self.rebase();
        }
        let total = self.arrived.last().copied().unwrap_or(0).saturating_add(self.came);
        self.shed(now);
        if SLOTS <= self.times.len() {
            self.drop_slot(self.least_missed(now));
        }
        // After `forget` the last total stands for an instant that is gone.
        self.arrived.truncate(self.times.len());
        self.times.push(now);
        self.arrived.push(total);
        self.ends.extend(self.parts.iter().map(Part::offset));
    }

    /// Drops the oldest instants that neither a rate nor a waiting item needs.
    fn shed(&mut self, now: i64) {
        while let Some(&second) = self.times.get(1) {
            let row = self.ends.get(self.parts.len()..2 * self.parts.len()).unwrap_or_default();
            let needed = |(part, &end): (&Part, &u32)| {
                part.is_waiting() && part.position.saturating_sub(part.base) < i64::from(end)
            };
            if now.saturating_sub(second) < MEMORY_MS || self.parts.iter().zip(row).any(needed) {
                return;
            }
            self.drop_slot(0);
            self.rebase();
        }
    }

    /// Counts the kept ends from the oldest instant again.
    fn rebase(&mut self) {
        let count = self.parts.len();
        for (at, part) in self.parts.iter_mut().enumerate() {
            let first = self.ends.get(at).copied().unwrap_or(0);
            part.base = part.base.saturating_add(i64::from(first));
            for end in self.ends.iter_mut().skip(at).step_by(count.max(1)) {
                *end = end.saturating_sub(first);
            }
        }
        let far = |part: &Part| u32::try_from(part.end.saturating_sub(part.base)).is_err();
        if self.parts.iter().any(far) {
            self.forget();
        }
    }

    fn drop_slot(&mut self, slot: usize) {
        let count = self.parts.len();
        if slot < self.times.len() {
            self.times.remove(slot);
            self.arrived.remove(slot);
            self.ends.drain(slot * count..(slot + 1) * count);
        }
    }

    /// The instant whose loss falsifies the age of an item least, relative to that age; `now` is about to become the newest.
    fn least_missed(&self, now: i64) -> usize {
        let last = (self.times.len() + 1).saturating_sub(NEWEST);
        let missed = |slot: usize| {
            let (Some(before), Some(here), Some(after)) =
                (self.point(slot - 1), self.point(slot), self.point(slot + 1))
            else {
                return f64::INFINITY;
            };
            let came = after.1 - before.1;
            let share = if 0.0 < came { (here.1 - before.1) / came } else { 0.5 };
            let guess = before.0 + share * (after.0 - before.0);
            let error = if 0.0 < came { (guess - here.0).abs() } else { 0.0 };
            let age = ms(now) - here.0 + 5_000.0;
            (error + 0.05 * (after.0 - before.0)) / age
        };
        (1..last).min_by(|&a, &b| missed(a).total_cmp(&missed(b))).unwrap_or(1)
    }

    fn point(&self, slot: usize) -> Option<Point> {
        Some((ms(*self.times.get(slot)?), count(*self.arrived.get(slot)?)))
    }

    /// Age of the oldest waiting item at `now`; `None` when the queue was never read or does not count what comes and goes.
    pub(in crate::decide) fn age(&self, now: Timestamp) -> Option<Age> {
        self.parts.first()?;
        let now = now.as_millisecond();
        let mut oldest = Age { seconds: 0.0, is_at_least: false };
        for (at, _) in self.parts.iter().enumerate().filter(|(_, part)| part.is_waiting()) {
            let age = self.age_of(at, now);
            if oldest.seconds < age.seconds || (age.is_at_least && oldest.seconds <= age.seconds) {
                oldest = age;
            }
        }
        Some(oldest)
    }

    /// Partitions, and those of them whose oldest item is at least this old.
    pub(in crate::decide) fn waiting(&self, now: Timestamp, at_least: Duration) -> (u32, u32) {
        let now = now.as_millisecond();
        let is_old = |(at, part): &(usize, &Part)| {
            part.is_waiting() && at_least.as_secs_f64() <= self.age_of(*at, now).seconds
        };
        let old = self.parts.iter().enumerate().filter(is_old).count();
        let size = |n| u32::try_from(n).unwrap_or(u32::MAX);
        (size(self.parts.len()), size(old))
    }

    /// Every partition, and the age in seconds of what its consumers take next; 0 where nothing waits.
    pub(in crate::decide) fn aged(&self, now: Timestamp) -> impl Iterator<Item = (&Part, f64)> {
        let now = now.as_millisecond();
        let age = move |at, part: &Part| {
            if part.is_waiting() { self.age_of(at, now).seconds } else { 0.0 }
        };
        self.parts.iter().enumerate().map(move |(at, part)| (part, age(at, part)))
    }

    /// Every partition as last seen.
    pub(in crate::decide) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What each consumer has taken so far, and whether any of its partitions has an item at least this old waiting; by consumer,
    /// ascending. Nothing when it is not known who holds every partition.
    pub(in crate::decide) fn consumers(&self, now: Timestamp, at_least: Duration) -> Vec<Consumer> {
        let now = now.as_millisecond();
        let each = self.by_owner(|consumer: &mut Consumer, at, part| {
            consumer.holds ^= mark(at);
            consumer.taken = consumer.taken.saturating_add(part.position);
            consumer.is_busy |=
                part.is_waiting() && at_least.as_secs_f64() <= self.age_of(at, now).seconds;
        });
        let named = |(owner, consumer)| Consumer { owner, ..consumer };
        each.unwrap_or_default().into_iter().map(named).collect()
    }

    /// Joins what is to be said of each consumer's partitions, which come with their places; by consumer, ascending. `None` when it
    /// is not known who holds every one.
    pub(in crate::decide) fn by_owner<T: Default>(
        &self,
        mut join: impl FnMut(&mut T, usize, &Part),
    ) -> Option<Vec<(u16, T)>> {
        let mut each: Vec<(u16, T)> = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            let owner = part.owner()?;
            let place = each.binary_search_by_key(&owner, |&(known, _)| known);
            let place = place.unwrap_or_else(|place| {
                each.insert(place, (owner, T::default()));
                place
            });
            if let Some((_, one)) = each.get_mut(place) {
                join(one, at, part);
            }
        }
        Some(each)
    }

    /// Age of the item that the consumers of partition `at` take next. Looks back from the newest instant: most items are young.
    fn age_of(&self, at: usize, now: i64) -> Age {
        let none = Age { seconds: 0.0, is_at_least: false };
        let Some(part) = self.parts.get(at) else { return none };
        let position = part.position.saturating_sub(part.base);
        let since = |time: f64| ((ms(now) - time) / 1000.0).max(0.0);
        let mut after: Option<(i64, i64)> = None;
        for (slot, &time) in self.times.iter().enumerate().rev() {
            let Some(&end) = self.ends.get(slot * self.parts.len() + at) else { return none };
            let end = i64::from(end);
            if end <= position {
                let Some((until, to)) = after else { return none };
                // It came between two instants: as far along as its place among those that came then.
                let share = real(position + 1 - end) / real(to - end);
                let came = ms(time) + share * ms(until - time);
                return Age { seconds: since(came), is_at_least: false };
            }
            after = Some((time, end));
        }
        after.map_or(none, |(oldest, _)| Age { seconds: since(ms(oldest)), is_at_least: true })
    }
}

/// A number for a partition's place, of which the exclusive or over one set hardly equals that over another.
pub(in crate::decide) fn mark(at: usize) -> u32 {
    let spread = (at as u64 + 1).wrapping_mul(SPREADING) >> 32;
    u32::try_from(spread).unwrap_or_default()
}

/// A later reading agrees once its commits, too, were read after the suspicious one; half a minute is enough in any case.
fn agrees(since: Timestamp, at: Timestamp, queue: &Queue) -> bool {
    queue.served_at.is_none_or(|commits| since < commits)
        || Duration::from_secs(30) <= span(since, at)
}

/// How far on `to` is from `from`; none when it went back.
fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double exactly")]
fn ms(time: i64) -> f64 {
    time as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "differences of offsets kept as u32 fit a double exactly"
)]
fn real(difference: i64) -> f64 {
    difference as f64
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs three figures, not nineteen")]
fn count(items: u64) -> f64 {
    items as f64
}
