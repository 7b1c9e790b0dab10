//! What is known of a topic: who leads its partitions, where their logs start and end. Filled by `read.rs`, judged by `lag.rs`.

use std::time::Duration;

use tokio::time::Instant;

use super::protocol::{Spec, TopicSaid, code};

/// An offset nobody has told yet.
pub(super) const UNKNOWN: i64 = -1;

/// A topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    /// Zero where the broker has no ids.
    id: u128,
    /// Why it cannot be read, or `NONE`.
    pub(super) error: i16,
    pub(super) partitions: Vec<Partition>,
    /// When it was last described.
    pub(super) described: Instant,
    /// When its log starts were last read.
    pub(super) starts_read: Option<Instant>,
    /// Something did not fit: describe it again soon.
    pub(super) is_doubtful: bool,
    /// The sum of its ends before this visit, if it stood still.
    pub(super) stood_at: Option<i64>,
    /// The visit in which it was first seen under its present id. What was committed before belongs to its predecessor.
    pub(super) born: u64,
}

/// A partition. Offsets are `UNKNOWN` until read; the errors are of the latest visit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partition {
    /// Node id, -1 for none.
    pub(super) leader: i32,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) stable_end: i64,
    pub(super) end_error: i16,
    pub(super) stable_error: i16,
    /// The visit in which an end was last seen to move.
    pub(super) moved: u64,
}

impl Partition {
    fn new(leader: i32) -> Self {
        let (end_error, stable_error) = (code::SILENT, code::SILENT);
        Self {
            leader,
            start: UNKNOWN,
            end: UNKNOWN,
            stable_end: UNKNOWN,
            end_error,
            stable_error,
            moved: 0,
        }
    }
}

impl Topic {
    /// A topic that nobody has described yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            id: 0,
            error: code::SILENT,
            partitions: Vec::new(),
            described: now,
            starts_read: None,
            is_doubtful: true,
            stood_at: None,
            born: 0,
        }
    }

    /// Takes over a description. A new id means another topic of the same name: nothing of the old one holds.
    pub(super) fn describe(&mut self, said: &TopicSaid, visit: u64, now: Instant) {
        self.described = now;
        self.is_doubtful = false;
        self.error = said.error;
        if said.error != code::NONE {
            return;
        }
        if self.id != said.id {
            if self.id != 0 {
                self.born = visit;
                self.partitions.clear();
                self.starts_read = None;
            }
            self.id = said.id;
        }
        // Partitions are never taken away; one that the answer skips has no leader. A broker that lags behind may know of fewer than there
        // are: those it does not name are missing, not gone. Without ids, fewer may be another topic.
        let count = said
            .leaders
            .iter()
            .map(|(number, _)| usize::try_from(*number).map_or(0, |n| n + 1))
            .max();
        let count = count.unwrap_or(0).min(said.leaders.len());
        if count > self.partitions.len() {
            // New partitions start their logs unread.
            self.starts_read = None;
        }
        if self.id == 0 {
            self.partitions.truncate(count);
        }
        for partition in self.partitions.iter_mut().skip(count) {
            partition.leader = -1;
        }
        self.partitions.resize_with(count.max(self.partitions.len()), || Partition::new(-1));
        for (number, leader) in &said.leaders {
            let known =
                usize::try_from(*number).ok().and_then(|number| self.partitions.get_mut(number));
            if let Some(partition) = known {
                partition.leader = *leader;
            }
        }
    }

    /// Are its log starts older than `age`, or not all known?
    pub(super) fn needs_starts(&self, now: Instant, age: Duration) -> bool {
        let is_unknown =
            |partition: &Partition| partition.start == UNKNOWN && partition.leader >= 0;
        self.starts_read.is_none_or(|read| read + age <= now)
            || self.partitions.iter().any(is_unknown)
    }

    /// The sum of its ends, once all are known.
    pub(super) fn end_sum(&self) -> Option<i64> {
        let ends = self.partitions.iter().map(|partition| partition.end);
        ends.map(|end| (end != UNKNOWN).then_some(end)).sum()
    }

    /// Forgets what the last visit said about the ends; whatever stays silent now is missing.
    pub(super) fn expect_ends(&mut self, still_since: u64) {
        let stood = self.partitions.iter().all(|partition| partition.moved <= still_since);
        self.stood_at = self.end_sum().filter(|_| stood);
        for partition in &mut self.partitions {
            partition.end_error = code::SILENT;
            partition.stable_error = code::SILENT;
        }
    }

    /// Takes over one offset.
    pub(super) fn tell(&mut self, spec: Spec, number: i32, error: i16, offset: i64, visit: u64) {
        let known = usize::try_from(number).ok().and_then(|number| self.partitions.get_mut(number));
        let Some(partition) = known else { return };
        let error = if error == code::NONE && offset < 0 { code::SILENT } else { error };
        let before = (partition.end, partition.stable_end);
        match (spec, error) {
            (Spec::Start, code::NONE) => partition.start = offset,
            (Spec::Start, _) => {}
            (Spec::End, code::NONE) => (partition.end, partition.end_error) = (offset, code::NONE),
            (Spec::End, error) => partition.end_error = error,
            (Spec::StableEnd, code::NONE) => {
                (partition.stable_end, partition.stable_error) = (offset, code::NONE);
            }
            (Spec::StableEnd, error) => partition.stable_error = error,
        }
        // What is read for the first time may have stood for long.
        let has_moved = |before: i64, now: i64| before != UNKNOWN && before != now;
        if has_moved(before.0, partition.end) || has_moved(before.1, partition.stable_end) {
            partition.moved = visit;
        }
    }

    /// The numbers of the partitions that this broker leads.
    pub(super) fn led_by(&self, node: i32) -> Vec<i32> {
        let all = (0..).zip(&self.partitions);
        all.filter(|(_, partition)| partition.leader == node).map(|(number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_lags_behind_takes_no_partition_away() {
        let said = |id, count: i32| TopicSaid {
            id,
            name: "orders".to_owned(),
            error: code::NONE,
            leaders: (0..count).map(|number| (number, 1)).collect(),
        };
        let leaders = |topic: &Topic| -> Vec<i32> {
            topic.partitions.iter().map(|partition| partition.leader).collect()
        };
        let now = Instant::now();
        let mut topic = Topic::new(now);
        topic.describe(&said(7, 3), 1, now);
        topic.describe(&said(7, 2), 2, now);
        assert_eq!(leaders(&topic), [1, 1, -1]);
        topic.describe(&said(7, 4), 3, now);
        assert_eq!(leaders(&topic), [1, 1, 1, 1]);
        // Another topic, and one of which nobody can tell that it is the same.
        topic.describe(&said(8, 2), 4, now);
        assert_eq!(leaders(&topic), [1, 1]);
        let mut old = Topic::new(now);
        old.describe(&said(0, 3), 1, now);
        old.describe(&said(0, 2), 2, now);
        assert_eq!(leaders(&old), [1, 1]);
    }
}
