//! What came to a queue and what was done of it, as two counters that never go back and differ by what waits. Kept by the sources whose
//! servers count in and out, one for each question; what is learned from the counters is decide's.
//!
//! Servers' own counters are not fit for that: they start again with the server, and things also leave a queue that nobody took
//! (they expire, or are thrown away) or come to it uncounted (another queue hands them on).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::Queue;

/// Readings over which counters must disagree with the depth in one direction before that is believed, and for how long: a server of
/// RabbitMQ gathers each figure every 5 s, and each at its own time.
const READINGS: usize = 3;
const APART: Duration = Duration::from_secs(12);

/// What a server says of one queue at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Items that ever came, by the server's own counter; `None` where it is as good as `done` plus `waiting`.
    pub(super) came: Option<u64>,
    /// Items that were ever done.
    pub(super) done: u64,
    /// Items that came and are not done.
    pub(super) waiting: u64,
}

/// Two counters, carried on from reading to reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ledger {
    arrived: u64,
    served: u64,
    last: Option<Counts>,
    /// The latest readings, as many as it takes.
    gaps: VecDeque<Gap>,
}

/// A reading: by how much more the counters say than waits, and by how much they moved.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gap {
    at: Instant,
    items: i64,
    moved: u64,
}

impl Ledger {
    /// Takes in a reading of this instant, and writes the counters beside its backlog.
    pub(super) fn enter(&mut self, now: Counts, at: Instant, queue: &mut Queue) {
        let Some(last) = self.last.replace(now) else {
            self.served = now.done;
            self.arrived = now.done.saturating_add(now.waiting);
            self.write(queue);
            return;
        };
        // A counter that went back began again from 0.
        let done = now.done.checked_sub(last.done).unwrap_or(now.done);
        self.served = self.served.saturating_add(done);
        if let Some((to, from)) = now.came.zip(last.came) {
            let came = to.checked_sub(from).unwrap_or(to);
            self.arrived = self.arrived.saturating_add(came);
            self.settle(came.max(done), now.waiting, at);
        } else {
            self.level(now.waiting);
        }
        self.write(queue);
    }

    fn write(&self, queue: &mut Queue) {
        queue.arrived = Some(self.arrived);
        queue.served = Some(self.served);
    }

    /// Makes the counters differ by just what waits: what is more came, what is less left.
    fn level(&mut self, waiting: u64) {
        self.arrived = self.arrived.max(self.served.saturating_add(waiting));
        self.served = self.arrived.saturating_sub(waiting);
    }

    /// The counters and the depth were noted some seconds apart, so they may differ by what moves in that time. What they differ by
    /// beyond that, reading after reading in one direction, came or left uncounted.
    fn settle(&mut self, moved: u64, waiting: u64, at: Instant) {
        let items = signed(self.arrived) - signed(self.served) - signed(waiting);
        self.gaps.push_back(Gap { at, items, moved });
        // The second is old enough to stand for the first.
        while READINGS < self.gaps.len() && self.gaps.get(1).is_some_and(|it| APART <= at - it.at) {
            self.gaps.pop_front();
        }
        let is_long = self.gaps.front().is_some_and(|first| APART <= at - first.at);
        if self.gaps.len() < READINGS || !is_long {
            return;
        }
        let apart = self.gaps.iter().map(|gap| signed(gap.moved)).max().unwrap_or(0);
        let least = self.gaps.iter().map(|gap| gap.items).min().unwrap_or(0) - apart;
        let most = self.gaps.iter().map(|gap| gap.items).max().unwrap_or(0) + apart;
        let uncounted = if 0 < least { least } else { most.min(0) };
        let items = uncounted.unsigned_abs();
        if 0 < uncounted {
            self.served = self.served.saturating_add(items);
        } else {
            self.arrived = self.arrived.saturating_add(items);
        }
        self.gaps.iter_mut().for_each(|gap| gap.items -= uncounted);
    }
}

/// A counter far below 2^63, for differences.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the counters say after each reading, one every 6 s: came, done, waiting.
    fn entered(readings: &[(u64, u64, u64)]) -> Vec<(u64, u64)> {
        entered_every(6, readings)
    }

    fn entered_every(seconds: u64, readings: &[(u64, u64, u64)]) -> Vec<(u64, u64)> {
        let mut ledger = Ledger::default();
        let mut at = Instant::now();
        let enter = |&(came, done, waiting): &(u64, u64, u64)| {
            let mut queue = Queue::default();
            ledger.enter(Counts { came: Some(came), done, waiting }, at, &mut queue);
            at += Duration::from_secs(seconds);
            (queue.arrived.unwrap(), queue.served.unwrap())
        };
        readings.iter().map(enter).collect()
    }

    #[test]
    fn a_depth_that_is_told_seconds_before_its_counters_counts_nothing_twice() {
        let mut readings = vec![(10, 1, 9)];
        readings.extend([(10, 1, 27); 10]);
        readings.extend([(30, 3, 27); 20]);
        assert_eq!(entered_every(1, &readings).last(), Some(&(30, 3)));
    }

    #[test]
    fn counters_begin_with_what_waits_and_move_as_the_servers_do() {
        assert_eq!(
            entered(&[(90, 40, 7), (100, 45, 12), (100, 57, 0)]),
            [(47, 40), (57, 45), (57, 57)]
        );
    }

    #[test]
    fn a_server_that_began_again_takes_nothing_back() {
        assert_eq!(entered(&[(90, 40, 50), (5, 2, 53)]), [(90, 40), (95, 42)]);
    }

    #[test]
    fn what_left_uncounted_is_believed_when_it_stays_so() {
        let seen = entered(&[(50, 0, 50), (50, 0, 0), (50, 0, 0), (50, 0, 0), (50, 0, 0)]);
        assert_eq!(seen[2], (50, 0));
        assert_eq!(seen[3..], [(50, 50), (50, 50)]);
    }

    #[test]
    fn what_came_uncounted_is_believed_when_it_stays_so() {
        let seen = entered(&[(0, 0, 0), (0, 0, 30), (0, 0, 30), (0, 0, 30), (0, 0, 30)]);
        assert_eq!(seen[3..], [(30, 0), (30, 0)]);
    }

    #[test]
    fn counters_that_were_noted_a_while_apart_are_left_as_they_are() {
        // 100 a reading come and go; the depth is noted now before, now after the counters.
        let readings: Vec<_> = (0..20).map(|i| (i * 100, i * 100 - i.min(60), 60)).collect();
        let seen = entered(&readings);
        let (arrived, served) = seen[19];
        assert_eq!(arrived - seen[0].0, 1900);
        assert!(arrived - served <= 160, "{seen:?}");
    }

    #[test]
    fn counters_of_one_instant_always_differ_by_what_waits() {
        let mut ledger = Ledger::default();
        let mut before = (0, 0);
        let at = Instant::now();
        for (done, waiting) in [(10, 5), (12, 9), (12, 1), (40, 3), (0, 4), (6, 0)] {
            let mut queue = Queue { backlog: waiting, ..Queue::default() };
            ledger.enter(Counts { came: None, done, waiting }, at, &mut queue);
            let now = (queue.arrived.unwrap(), queue.served.unwrap());
            assert_eq!(now.0 - now.1, waiting);
            assert!(before.0 <= now.0 && before.1 <= now.1, "{before:?} {now:?}");
            before = now;
        }
    }
}
