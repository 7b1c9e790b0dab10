//! Tales of a queue that flows: pods that start late, work at a rate that nobody tells decide, and commit in steps. What is learned
//! is judged by what is true.

use penstock::decide::{Reason, Step};
use proptest::prelude::*;

use super::story::{Given, World, time, verdict};

/// Steps a second.
const STEPS: i64 = 4;

/// A world with pods in it.
pub(super) struct Tale {
    pub(super) world: World,
    /// Items a second that one pod gets through, which decide must find out.
    pub(super) rate: f64,
    pub(super) startup: f64,
    /// Seconds between two commits of a pod, and of a rebalance.
    pub(super) commits: f64,
    pub(super) rebalance: f64,
    /// How often commits are read; 0: with every poll.
    pub(super) commits_read: i64,
    /// Items a second that arrive.
    pub(super) arrive: f64,
    pub(super) now: f64,
    pub(super) pods: Vec<Pod>,
    /// Where each partition really stands.
    pub(super) truth: Vec<f64>,
    pub(super) ends: Vec<f64>,
    pub(super) committed: Vec<i64>,
    pub(super) paused_until: f64,
    pub(super) writes: Vec<(i64, u32, u32, Reason)>,
    pub(super) seed: u64,
    /// The oldest an item was seen.
    pub(super) worst: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Pod {
    pub(super) ready_at: f64,
    pub(super) next_commit: f64,
    pub(super) is_member: bool,
}

impl Tale {
    pub(super) fn new(given: Given, rate: f64, startup: f64) -> Self {
        let commits = given.commits.unwrap_or(5);
        let world = World::new(given);
        let count = world.ends.len();
        let desired = world.workload.desired;
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let commits = commits as f64;
        let mut tale = Self {
            world,
            rate,
            startup,
            commits,
            rebalance: 2.0,
            commits_read: 0,
            arrive: 0.0,
            now: 0.0,
            pods: Vec::new(),
            truth: vec![1e6; count],
            ends: vec![1e6; count],
            committed: vec![1_000_000; count],
            paused_until: 0.0,
            writes: Vec::new(),
            seed: 7,
            worst: 0.0,
        };
        for _ in 0..desired {
            tale.pods.push(Pod { ready_at: 0.0, next_commit: 0.0, is_member: false });
        }
        tale
    }

    /// Chance that is the same each time.
    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        #[expect(clippy::cast_precision_loss, reason = "a fraction")]
        let share = (self.seed >> 33) as f64 / (1_u64 << 31) as f64;
        share
    }

    pub(super) fn burst(&mut self, items: f64) {
        #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
        let each = items / self.ends.len() as f64;
        self.ends.iter_mut().for_each(|end| *end += each);
    }

    /// Lets time pass until `until`, a turn at each poll.
    pub(super) fn run(&mut self, until: i64) {
        let poll = i64::try_from(self.world.given.poll.unwrap_or(2)).unwrap();
        while self.world.at < until {
            if self.world.at % poll == 0 {
                self.show();
                let before = self.world.workload.desired;
                let step = self.world.turn();
                self.note(before, &step);
            }
            for _ in 0..STEPS {
                self.step();
            }
            self.world.at += 1;
            self.show_pods();
        }
    }

    fn note(&mut self, before: u32, step: &Step) {
        assert_eq!(step.plan.violations, 0);
        self.worst = self.worst.max(verdict(step).signals.delay.unwrap_or(0.0));
        let desired = self.world.workload.desired;
        if before != desired {
            let why = verdict(step).reason().unwrap().clone();
            self.writes.push((self.world.at, before, desired, why));
            while self.pods.len() < desired as usize {
                let late = self.chance();
                let ready_at = self.now + self.startup + late;
                self.pods.push(Pod { ready_at, next_commit: 0.0, is_member: false });
            }
            if (desired as usize) < self.pods.len() {
                self.pods.truncate(desired as usize);
                self.join();
            }
            self.show_pods();
        }
    }

    /// The group settles anew: all commit, nobody works for a while, and each commits at its own pace from then on.
    fn join(&mut self) {
        for at in 0..self.truth.len() {
            self.commit(at);
        }
        self.paused_until = self.now + self.rebalance;
        for at in 0..self.pods.len() {
            let phase = self.chance();
            if self.pods[at].ready_at <= self.now {
                self.pods[at].is_member = true;
                self.pods[at].next_commit = self.paused_until + self.commits * phase;
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "offsets")]
    fn commit(&mut self, at: usize) {
        self.committed[at] = self.truth[at] as i64;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn step(&mut self) {
        let dt = 1.0 / STEPS as f64;
        self.now += dt;
        let each = self.arrive * dt / self.ends.len() as f64;
        self.ends.iter_mut().for_each(|end| *end += each);
        if self.pods.iter().any(|pod| pod.ready_at <= self.now && !pod.is_member) {
            self.join();
        }
        if self.now < self.paused_until {
            return;
        }
        let members: Vec<_> = (0..self.pods.len()).filter(|&at| self.pods[at].is_member).collect();
        for (rank, &pod) in members.iter().enumerate() {
            let own: Vec<_> =
                (0..self.truth.len()).filter(|at| at % members.len() == rank).collect();
            self.work(&own, self.rate * dt);
            if self.pods[pod].next_commit <= self.now {
                own.iter().for_each(|&at| self.commit(at));
                self.pods[pod].next_commit += self.commits;
            }
        }
    }

    /// A pod works on what waits, evenly.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn work(&mut self, own: &[usize], items: f64) {
        let mut left = items;
        for _ in 0..4 {
            let waiting: Vec<_> =
                own.iter().copied().filter(|&at| self.truth[at] + 1e-9 < self.ends[at]).collect();
            if waiting.is_empty() || left < 1e-9 {
                return;
            }
            let each = left / waiting.len() as f64;
            for at in waiting {
                let taken = each.min(self.ends[at] - self.truth[at]);
                self.truth[at] += taken;
                left -= taken;
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "offsets")]
    fn show(&mut self) {
        for (shown, end) in self.world.ends.iter_mut().zip(&self.ends) {
            *shown = *end as i64;
        }
        if self.commits_read == 0 || self.world.at % self.commits_read == 0 {
            self.world.positions.clone_from(&self.committed);
            self.world.commits_at = self.world.at;
        }
    }

    fn show_pods(&mut self) {
        let ready = self.pods.iter().filter(|pod| pod.ready_at <= self.now).count();
        let ready = u32::try_from(ready).unwrap();
        if self.world.workload.ready < ready {
            self.world.workload.ready_since = Some(time(self.world.at));
        }
        self.world.workload.ready = ready;
    }

    fn learned(&mut self) -> f64 {
        self.show();
        let step = self.world.turn();
        verdict(&step).signals.rate_per_replica.unwrap()
    }

    /// How far from the truth the learned rate is.
    fn off(&mut self) -> f64 {
        self.learned() / self.rate - 1.0
    }

    fn assert_learned(&mut self, within: f64) {
        let off = self.off();
        let Self { rate, commits, ref pods, ref writes, .. } = *self;
        let pods = pods.len();
        assert!(off.abs() < within, "{off} off {rate}, {pods} pods, {commits} s: {writes:?}");
    }
}

pub(super) fn unknown(commits: u64, objective: u64) -> Given {
    Given {
        min: Some(0),
        objective: Some(objective),
        commits: Some(commits),
        desired: Some(0),
        ..Given::default()
    }
}

#[test]
fn from_zero_with_no_rate_known_it_is_two_writes_within_a_minute() {
    for commits in [1, 5] {
        let mut tale = Tale::new(unknown(commits, 60), 47.0, 8.0);
        tale.run(6);
        tale.burst(60_000.0);
        tale.arrive = 700.0;
        tale.run(66);
        let counts: Vec<_> = tale.writes.iter().map(|(_, from, to, _)| (*from, *to)).collect();
        assert_eq!(counts, [(0, 3), (3, 24)], "{commits} s: {:?}", tale.writes);
        let codes: Vec<_> = tale.writes.iter().map(|(_, _, _, why)| why.code()).collect();
        assert_eq!(codes, ["Learning", "PartitionBound"], "{commits} s");
        tale.run(200);
        // Two minutes of work: a first figure.
        tale.assert_learned(0.1);
    }
}

#[test]
fn a_known_rate_makes_a_backlog_one_write_at_the_first_poll() {
    for commits in [1, 5, 30] {
        let given = Given { rate: Some(47.0), startup: Some(8), ..unknown(commits, 120) };
        let mut tale = Tale::new(given, 47.0, 8.0);
        tale.run(6);
        tale.burst(40_000.0);
        tale.run(90);
        assert_eq!(tale.writes.len(), 1, "{commits} s: {:?}", tale.writes);
        assert_eq!(tale.writes[0].0, 6, "{commits} s");
    }
}

#[test]
fn a_known_rate_makes_a_new_level_of_arrivals_one_write_at_the_second_poll() {
    for commits in [1, 5, 30] {
        let given = Given { rate: Some(47.0), startup: Some(8), ..unknown(commits, 120) };
        let mut tale = Tale::new(Given { desired: Some(1), ..given }, 47.0, 8.0);
        tale.arrive = 20.0;
        tale.run(80);
        tale.arrive = 400.0;
        tale.run(400);
        let moves: Vec<_> = tale.writes.iter().map(|(at, from, to, _)| (*at, *from, *to)).collect();
        assert_eq!(moves, [(84, 1, 12)], "{commits} s: {:?}", tale.writes);
    }
}

#[test]
fn ten_busy_minutes_teach_the_rate_to_a_twentieth_whatever_the_commit_interval() {
    for commits in [1, 5, 30] {
        for pods in [1, 2, 3, 5, 8] {
            for rate in [3.0, 47.0, 900.0] {
                let given = Given { desired: Some(pods), max: Some(pods), ..unknown(commits, 120) };
                let mut tale = Tale::new(Given { min: Some(pods), ..given }, rate, 8.0);
                tale.arrive = 1.5 * rate * f64::from(pods);
                tale.run(600);
                tale.assert_learned(0.05);
            }
        }
    }
}

#[test]
fn commits_read_only_as_often_as_they_are_made_teach_the_same() {
    for commits in [5, 30] {
        let given = Given { desired: Some(4), max: Some(4), min: Some(4), ..unknown(commits, 120) };
        let mut tale = Tale::new(given, 47.0, 8.0);
        tale.commits_read = i64::try_from(commits).unwrap();
        tale.arrive = 1.5 * 47.0 * 4.0;
        tale.run(900);
        tale.assert_learned(0.05);
    }
}

#[test]
fn idle_pods_teach_only_what_they_do_at_least() {
    let given = Given { desired: Some(4), min: Some(4), ..unknown(5, 60) };
    let mut tale = Tale::new(given, 47.0, 8.0);
    tale.arrive = 60.0;
    tale.run(600);
    let step = tale.world.turn();
    assert_eq!(verdict(&step).signals.rate_per_replica, None, "{:?}", tale.writes);
}

#[test]
fn pods_that_turn_idle_never_teach_more_than_a_tenth_too_much() {
    // Each way to be busy with two of the three commit intervals.
    for (commits, (pods, busy)) in [
        (1, (1, 0.3)),
        (30, (1, 0.3)),
        (5, (4, 0.5)),
        (30, (4, 0.5)),
        (1, (4, 0.9)),
        (5, (4, 0.9)),
        (5, (8, 0.7)),
        (30, (8, 0.7)),
    ] {
        let given = Given { desired: Some(pods), max: Some(pods), ..unknown(commits, 120) };
        let mut tale = Tale::new(Given { min: Some(pods), ..given }, 47.0, 8.0);
        // Busy at first, so that there is a rate to be wrong about; then never again, but for a burst now and then.
        tale.arrive = 1.5 * 47.0 * f64::from(pods);
        tale.run(600);
        tale.arrive = busy * 47.0 * f64::from(pods);
        for quarter in 1..=6 {
            tale.run(600 + quarter * 900);
            let off = tale.off();
            assert!(off <= 0.1, "{off} off, {pods} pods {busy} busy, {commits} s");
            tale.burst(47.0 * 20.0 * f64::from(pods));
        }
    }
}

/// How many pods, how often they commit, how busy they are in each of some quarters of an hour, and whether they are ever busy at first.
fn any_idle_life() -> impl Strategy<Value = (u32, u64, Vec<f64>, bool)> {
    let commits = prop::sample::select(vec![1, 5, 30]);
    let busy = prop_oneof![1 => Just(0.0), 3 => 0.0..0.9_f64];
    (1..9_u32, commits, prop::collection::vec(busy, 2..5), any::<bool>())
}

proptest! {
    #![proptest_config(super::cases(8))]

    /// Idle and half idle for hours, with a burst after each quarter: what is believed of a pod is never above 1.1 times the truth.
    #[test]
    fn a_long_idle_life_never_teaches_more_than_a_tenth_too_much(
        (pods, commits, quarters, is_busy_at_first) in any_idle_life(),
    ) {
        let given = Given { desired: Some(pods), max: Some(pods), ..unknown(commits, 120) };
        let mut tale = Tale::new(Given { min: Some(pods), ..given }, 47.0, 8.0);
        let all = 47.0 * f64::from(pods);
        tale.arrive = if is_busy_at_first { 1.5 * all } else { 0.0 };
        let mut until = 600;
        tale.run(until);
        for busy in quarters {
            tale.arrive = busy * all;
            for _ in 0..15 {
                until += 60;
                tale.run(until);
                let step = tale.world.turn();
                let believed = verdict(&step).signals.rate_per_replica.unwrap_or(0.0);
                prop_assert!(believed <= 1.1 * 47.0, "{believed} at {until} s, {busy} busy");
            }
            tale.burst(20.0 * all);
        }
    }
}

#[test]
fn the_time_pods_take_to_start_is_learned() {
    let mut tale = Tale::new(unknown(5, 60), 47.0, 20.0);
    tale.run(6);
    tale.burst(60_000.0);
    tale.run(120);
    let step = tale.world.turn();
    let startup = verdict(&step).signals.startup.unwrap();
    assert!((19.0..=22.0).contains(&startup), "{startup}");
}

#[test]
fn a_steady_load_is_met_with_few_moves_and_no_late_item() {
    for commits in [1, 5] {
        let given = Given { rate: Some(47.0), startup: Some(8), ..unknown(commits, 60) };
        let mut tale = Tale::new(given, 47.0, 8.0);
        tale.run(6);
        tale.arrive = 400.0;
        tale.run(1800);
        // Up, and then now and then fewer than keep up, until the slack is used.
        assert!(tale.writes.len() <= 6, "{commits} s: {:?}", tale.writes);
        assert!(tale.worst < 60.0, "{commits} s: {} s late; {:?}", tale.worst, tale.writes);
    }
}

#[test]
fn a_release_that_makes_replicas_slower_is_told() {
    let given = Given { desired: Some(3), max: Some(3), min: Some(3), ..unknown(5, 120) };
    let mut tale = Tale::new(given, 50.0, 8.0);
    tale.arrive = 200.0;
    let odd = |tale: &mut Tale| {
        tale.show();
        verdict(&tale.world.turn()).anomalies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    tale.run(3600);
    assert_eq!(odd(&mut tale), Vec::<String>::new());
    tale.rate = 25.0;
    tale.run(3600 + 2400);
    let told = odd(&mut tale);
    assert!(
        told.iter().any(|odd| odd.starts_with("replicas have become slower: one gets through 2")),
        "{told:?}"
    );
}
