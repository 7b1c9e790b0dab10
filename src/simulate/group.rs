//! A consumer group: who reads which partition, how fast, and what stands still while members change. Formed anew by `world` when pods
//! come and go; reads the `queue`.
//!
//! Partitions are dealt by count, and as few as possible change hands. A member works on what waits in its partitions evenly, as
//! a Kafka consumer does that fetches from each in turn; within a partition it is first in, first out.

use super::chance::{Tag, lot, scatter};
use super::ground::{Ground, Mode};
use super::policy::Offsets;
use super::queue::Queue;
use super::tally::Tally;

/// Nobody reads this partition.
const NOBODY: u32 = u32::MAX;
/// A replica's rate is drawn anew so often, in seconds.
const NOISE: u32 = 10;
/// Less work than this is none: what rounding leaves.
const NOTHING: f64 = 1e-9;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    members: Vec<Member>,
    /// Partitions by member, in the order of members; those of nobody last.
    order: Vec<u32>,
    /// Pod that reads each partition, and until when it stands still.
    owner: Vec<u32>,
    paused: Vec<u32>,
    /// When shares and speeds are worked out anew.
    next_speeds: u32,
    /// A crashed member is given up on: the group is formed anew then.
    gives_up: u32,
    busy: Busy,
    /// Scratch: partitions of one member with work.
    active: Vec<u32>,
    seed: u64,
    which: u64,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    pod: u32,
    since: u32,
    /// Its partitions' place in `order`.
    from: usize,
    to: usize,
    /// Its part of what arrives.
    share: f64,
    /// Items it gets through in a second, at present.
    speed: f64,
    next_commit: u32,
    /// Does anything wait in its partitions, or stand still?
    is_behind: bool,
}

/// What a second of work came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Worked {
    /// Age of the oldest item that waits, in seconds.
    pub(super) oldest: u32,
    /// Replica-seconds of work done.
    pub(super) work: f64,
}

impl Group {
    pub(super) fn new(partitions: u32, seed: u64, which: u64) -> Self {
        let count = partitions as usize;
        Self {
            members: Vec::new(),
            order: (0..partitions).collect(),
            owner: vec![NOBODY; count],
            paused: vec![0; count],
            next_speeds: 0,
            gives_up: u32::MAX,
            busy: Busy::default(),
            active: Vec::with_capacity(count),
            seed,
            which,
        }
    }

    /// Forms the group anew from the pods that are Ready (number, since when), eldest first. Returns how many partitions changed
    /// hands.
    pub(super) fn form(
        &mut self,
        now: u32,
        pods: &[(u32, u32)],
        queue: &mut Queue,
        ground: &Ground,
    ) -> u32 {
        self.gives_up = u32::MAX;
        let was_empty = self.members.is_empty();
        let rebalance = ground.rebalance;
        let wait = if was_empty { rebalance.join_delay.steps() } else { 0 };
        let until = now + rebalance.pause.steps() + wait;
        // Who keeps what; what nobody keeps is dealt.
        let mut hands: Vec<Vec<u32>> = vec![Vec::new(); pods.len()];
        let mut free = Vec::new();
        for (partition, owner) in (0..).zip(&self.owner) {
            match pods.iter().position(|(pod, _)| pod == owner) {
                Some(at) => hands[at].push(partition),
                None => free.push(partition),
            }
        }
        let moved = deal(&mut hands, &mut free);
        for (hand, (pod, _)) in hands.iter().zip(pods) {
            for &partition in hand {
                let at = partition as usize;
                let is_moved = self.owner[at] != *pod;
                if is_moved || rebalance.mode == Mode::Eager {
                    self.let_go(at, queue);
                    self.paused[at] = until;
                }
                self.owner[at] = *pod;
            }
        }
        for partition in free {
            self.let_go(partition as usize, queue);
            self.owner[partition as usize] = NOBODY;
        }
        self.seat(now, until, pods, &hands, ground);
        moved
    }

    /// A member that gives a partition up in good order commits first; what a crash left behind is nobody's to commit.
    fn let_go(&self, partition: usize, queue: &mut Queue) {
        if self.owner[partition] != NOBODY {
            queue.commit(partition);
        }
    }

    fn seat(
        &mut self,
        now: u32,
        until: u32,
        pods: &[(u32, u32)],
        hands: &[Vec<u32>],
        ground: &Ground,
    ) {
        let interval = ground.commit_interval.seconds();
        let before = std::mem::take(&mut self.members);
        self.order.clear();
        for ((pod, since), hand) in pods.iter().zip(hands) {
            let old = before.iter().find(|member| member.pod == *pod);
            let kept = old.filter(|_| ground.rebalance.mode == Mode::Cooperative);
            let phase = lot(self.seed, Tag::Commits, self.which, u64::from(*pod));
            let first = until + super::span::Span::of(phase * interval).steps();
            let from = self.order.len();
            self.order.extend(hand);
            self.members.push(Member {
                pod: *pod,
                since: *since,
                from,
                to: self.order.len(),
                share: 0.0,
                speed: 0.0,
                next_commit: kept.map_or(first, |old| old.next_commit),
                is_behind: true,
            });
        }
        let nobodys = (0..).zip(&self.owner).filter(|(_, owner)| **owner == NOBODY);
        self.order.extend(nobodys.map(|(partition, _)| partition));
        self.next_speeds = now;
    }

    /// A member crashed without a word: its partitions stand still until the group gives up on it, and what it had not committed
    /// is worked on again.
    pub(super) fn lose(&mut self, pod: u32, now: u32, queue: &mut Queue, ground: &Ground) {
        let pods: Vec<_> = self.members.iter().map(|it| (it.pod, it.since)).collect();
        let Some(at) = pods.iter().position(|(it, _)| *it == pod) else { return };
        let member = self.members.remove(at);
        let lost = self.order[member.from..member.to].to_vec();
        for partition in &lost {
            queue.forget(*partition as usize);
            self.owner[*partition as usize] = NOBODY;
        }
        self.order.drain(member.from..member.to);
        self.order.extend(&lost);
        for other in self.members.iter_mut().filter(|other| member.from < other.to) {
            other.from -= lost.len();
            other.to -= lost.len();
        }
        self.gives_up = self.gives_up.min(now + ground.session_timeout.steps());
    }

    /// Is it time to give up on a crashed member?
    pub(super) fn is_giving_up(&self, now: u32) -> bool {
        self.gives_up <= now
    }

    /// Shares or speeds are to be worked out anew.
    pub(super) fn refresh(&mut self) {
        self.next_speeds = 0;
    }

    /// What each member gets through from now on. `rate` is that of one replica, alone and warm.
    fn pace(&mut self, now: u32, rate: f64, queue: &Queue, ground: &Ground) {
        let count = f64::from(u32::try_from(self.members.len()).unwrap_or(u32::MAX));
        let together = 1.0 / (1.0 + ground.contention * (count - 1.0).max(0.0));
        self.next_speeds = (now / NOISE + 1) * NOISE;
        for member in &mut self.members {
            let pod = u64::from(member.pod) | (self.which << 32);
            let own = 1.0 + ground.spread * scatter(self.seed, Tag::Speed, pod, 0);
            let noise =
                1.0 + ground.noise * scatter(self.seed, Tag::Noise, pod, u64::from(now / NOISE));
            member.speed = rate * together * own.max(0.1) * noise.max(0.1);
            let warm = member.since + ground.cold.lasts.steps();
            if now < warm {
                member.speed *= ground.cold.speed;
                self.next_speeds = self.next_speeds.min(warm);
            }
            let own = &self.order[member.from..member.to];
            member.share = own.iter().map(|&at| queue.share(at as usize, now)).sum();
        }
    }

    /// One second of work.
    pub(super) fn work(
        &mut self,
        now: u32,
        rate: impl Fn() -> f64,
        queue: &mut Queue,
        tally: &mut Tally,
        ground: &Ground,
    ) -> Worked {
        if self.next_speeds <= now {
            self.pace(now, rate(), queue, ground);
        }
        let arrived = queue.inflow(now);
        let mut worked = Worked::default();
        let mut nobodys = 0;
        let mut fresh = 0.0;
        for at in 0..self.members.len() {
            let member = self.members[at];
            nobodys = member.to;
            let needed = member.share * arrived;
            if !member.is_behind && needed <= member.speed {
                fresh += needed;
                worked.work += needed / member.speed;
                continue;
            }
            let (left, oldest) = self.catch_up(member, now, queue, tally);
            worked.work += 1.0 - left / member.speed;
            worked.oldest = worked.oldest.max(oldest.unwrap_or(0));
            self.members[at].is_behind = self.is_behind(member, now, queue);
        }
        if 0.0 < fresh {
            queue.read_at_once(fresh, now, tally);
        }
        for &partition in &self.order[nobodys..] {
            queue.arrive(partition as usize, now);
            worked.oldest = worked.oldest.max(age(queue, partition, now));
        }
        self.commit(now, queue, ground);
        worked
    }

    /// A member with work that waits: it takes evenly from its partitions until its second is over. Returns what it could still
    /// have done, and the age of the oldest item left.
    fn catch_up(
        &mut self,
        member: Member,
        now: u32,
        queue: &mut Queue,
        tally: &mut Tally,
    ) -> (f64, Option<u32>) {
        self.active.clear();
        for &partition in &self.order[member.from..member.to] {
            let at = partition as usize;
            queue.arrive(at, now);
            if self.paused[at] <= now && 0.0 < queue.work(at) {
                self.active.push(partition);
            }
        }
        let mut left = member.speed;
        while !self.active.is_empty() && NOTHING < left {
            let count = f64::from(u32::try_from(self.active.len()).unwrap_or(u32::MAX));
            let each = left / count;
            let before = self.active.len();
            self.active.retain(|&partition| {
                let work = queue.work(partition as usize);
                let is_little = work <= each;
                if is_little {
                    queue.take(partition as usize, work, now, tally);
                    left -= work;
                }
                !is_little
            });
            if self.active.len() == before {
                for &partition in &self.active {
                    queue.take(partition as usize, each, now, tally);
                }
                left = 0.0;
            }
        }
        let own = &self.order[member.from..member.to];
        (left.max(0.0), own.iter().map(|&partition| age(queue, partition, now)).max())
    }

    fn is_behind(&self, member: Member, now: u32, queue: &Queue) -> bool {
        self.order[member.from..member.to].iter().any(|&partition| {
            let at = partition as usize;
            now + 1 < self.paused[at] || 0.0 < queue.work(at)
        })
    }

    fn commit(&mut self, now: u32, queue: &mut Queue, ground: &Ground) {
        let interval = ground.commit_interval.steps().max(1);
        for at in 0..self.members.len() {
            if now < self.members[at].next_commit {
                continue;
            }
            self.members[at].next_commit = now + interval;
            let Member { from, to, .. } = self.members[at];
            for &partition in &self.order[from..to] {
                if self.paused[partition as usize] <= now {
                    queue.commit(partition as usize);
                }
            }
        }
    }

    /// Writes down who holds each partition, as far as anyone could tell at this second.
    pub(super) fn show(&self, now: u32, to: &mut [Offsets]) {
        for ((shown, owner), paused) in to.iter_mut().zip(&self.owner).zip(&self.paused) {
            shown.owner = Some(*owner).filter(|owner| *owner != NOBODY && *paused <= now);
        }
    }

    /// Takes down how busy the Ready pods were in this second.
    pub(super) fn note_busy(&mut self, work: f64, ready: u32) {
        self.busy.push(if ready == 0 { 0.0 } else { work / f64::from(ready) });
    }

    /// Share of their time that they worked, mean of the last 15 s.
    pub(super) fn busy(&self) -> f64 {
        self.busy.mean()
    }

    /// Members that read something.
    #[cfg(test)]
    fn loads(&self) -> Vec<usize> {
        self.members.iter().map(|member| member.to - member.from).collect()
    }
}

fn age(queue: &Queue, partition: u32, now: u32) -> u32 {
    queue.oldest(partition as usize).map_or(0, |oldest| now - oldest)
}

/// Deals the free partitions so that counts differ by one at most; who has too many gives up the last. Returns how many change hands;
/// with nobody to take them all stay free.
fn deal(hands: &mut [Vec<u32>], free: &mut Vec<u32>) -> u32 {
    if hands.is_empty() {
        return 0;
    }
    let partitions = hands.iter().map(Vec::len).sum::<usize>() + free.len();
    let (least, more) = (partitions / hands.len(), partitions % hands.len());
    // Who has most may keep one more; among equals the elder.
    let mut rank: Vec<usize> = (0..hands.len()).collect();
    rank.sort_by_key(|&at| std::cmp::Reverse(hands[at].len()));
    let mut quota = vec![least; hands.len()];
    rank.iter().take(more).for_each(|&at| quota[at] += 1);
    for (hand, &quota) in hands.iter_mut().zip(&quota) {
        free.extend(hand.drain(quota.min(hand.len())..));
    }
    let moved = free.len();
    for (hand, &quota) in hands.iter_mut().zip(&quota) {
        let missing = quota - hand.len();
        hand.extend(free.drain(free.len() - missing..));
    }
    u32::try_from(moved).unwrap_or(u32::MAX)
}

/// The last 15 seconds of a gauge.
#[derive(Debug, Default)]
struct Busy {
    ring: [f64; 15],
    at: usize,
}

impl Busy {
    fn push(&mut self, share: f64) {
        self.ring[self.at] = share;
        self.at = (self.at + 1) % self.ring.len();
    }

    fn mean(&self) -> f64 {
        self.ring.iter().sum::<f64>() / 15.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::ground::{Rebalance, Skew};
    use crate::simulate::span::Span;

    fn ground(mode: Mode) -> Ground {
        let rebalance = Rebalance { mode, pause: Span::of(5.0), join_delay: Span::of(3.0) };
        let skew = Skew { uniform: Some(0.0), ..Skew::default() };
        Ground { rate: 10.0, noise: 0.0, skew, rebalance, ..Ground::default() }
    }

    fn stand(mode: Mode) -> (Group, Queue, Ground) {
        let ground = ground(mode);
        let queue = Queue::new(12, &ground.skew, 1000, false, (1, 0));
        (Group::new(12, 1, 0), queue, ground)
    }

    #[test]
    fn partitions_are_dealt_evenly_and_few_change_hands() {
        let (mut group, mut queue, ground) = stand(Mode::Cooperative);
        assert_eq!(group.form(0, &[(0, 0)], &mut queue, &ground), 12);
        assert_eq!(group.form(0, &[(0, 0), (1, 0)], &mut queue, &ground), 6);
        let five: Vec<_> = (0..5).map(|pod| (pod, 0)).collect();
        assert_eq!(group.form(0, &five, &mut queue, &ground), 6);
        assert_eq!(group.loads(), [3, 3, 2, 2, 2]);
        assert_eq!(group.form(0, &five[..4], &mut queue, &ground), 2);
        assert_eq!(group.loads(), [3, 3, 3, 3]);
        assert_eq!(group.form(0, &[], &mut queue, &ground), 0);
        let many: Vec<_> = (0..20).map(|pod| (pod, 0)).collect();
        group.form(0, &many, &mut queue, &ground);
        assert_eq!(group.loads().iter().sum::<usize>(), 12);
    }

    fn second(
        group: &mut Group,
        queue: &mut Queue,
        ground: &Ground,
        now: u32,
        items: f64,
    ) -> (f64, Worked) {
        let mut tally = Tally::default();
        queue.fill(now, items, None);
        let worked = group.work(now, || ground.rate, queue, &mut tally, ground);
        (tally.ages.total(), worked)
    }

    #[test]
    fn an_eager_group_stands_still_and_a_cooperative_one_only_where_partitions_move() {
        for (mode, read) in [(Mode::Eager, 0.0), (Mode::Cooperative, 6.0)] {
            let (mut group, mut queue, ground) = stand(mode);
            group.form(0, &[(0, 0)], &mut queue, &ground);
            for now in 0..15 {
                let (read, _) = second(&mut group, &mut queue, &ground, now, 6.0);
                assert!(8 <= now || read < 1e-9, "a new group waits for 3 s, then pauses for 5");
            }
            assert!(
                queue.waiting() > 1e-9,
                "10 a second, 6 of which are new, have not yet made up for 8 s"
            );
            for now in 15..40 {
                second(&mut group, &mut queue, &ground, now, 6.0);
            }
            assert!(queue.waiting() < 1e-9);
            group.form(40, &[(0, 0), (1, 40)], &mut queue, &ground);
            let (during, worked) = second(&mut group, &mut queue, &ground, 40, 12.0);
            assert!((during - read).abs() < 1e-9, "{mode:?}: {during}");
            assert!((worked.work - read / 10.0).abs() < 1e-9, "{mode:?}: {}", worked.work);
            for now in 41..45 {
                second(&mut group, &mut queue, &ground, now, 12.0);
            }
            let (after, _) = second(&mut group, &mut queue, &ground, 45, 12.0);
            assert!(12.0 < after, "{mode:?}: {after}");
        }
    }

    #[test]
    fn a_crashed_members_partitions_stand_still_until_it_is_given_up_on() {
        let (mut group, mut queue, ground) = stand(Mode::Cooperative);
        group.form(0, &[(0, 0), (1, 0)], &mut queue, &ground);
        for now in 0..30 {
            second(&mut group, &mut queue, &ground, now, 6.0);
        }
        group.lose(0, 30, &mut queue, &ground);
        assert!(!group.is_giving_up(74) && group.is_giving_up(75));
        let (read, worked) = second(&mut group, &mut queue, &ground, 30, 6.0);
        assert!((read - 3.0).abs() < 1e-9, "{read}");
        assert_eq!(worked.oldest, 0);
        let (_, worked) = second(&mut group, &mut queue, &ground, 31, 6.0);
        assert_eq!(worked.oldest, 1);
        group.form(75, &[(1, 0)], &mut queue, &ground);
        assert_eq!(group.loads(), [12]);
    }
}
