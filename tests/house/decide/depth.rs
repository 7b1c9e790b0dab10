//! Queues without partitions, sized by the objective: those that count what comes and goes, and those that tell their depth alone. Real
//! pods work on them, of which nobody has said what they get through; what comes of it is judged by how late items are and
//! by how many pods it took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Ending, Memory, Observation, Outcome, Pipeline, QuestionId, Queue, Reading, Situation,
    Snapshot, Source, Stage, Target, Value, Workload, decide,
};

use super::plain;

/// A stage of up to 40 pods, and what it works on.
struct Tale {
    pipeline: Pipeline,
    at: i64,
    /// Items that wait, second of birth by second of birth.
    waiting: VecDeque<(i64, f64)>,
    came: f64,
    done: f64,
    /// Items a second of one pod, which decide must find out, and of all of them together at most.
    rate: f64,
    limit: f64,
    /// Seconds from a write to Ready, and between two polls.
    startup: i64,
    poll: i64,
    /// Does the queue count?
    counts: bool,
    /// Do arrivals scatter as independent ones do?
    scatters: bool,
    /// Queues that the work falls on evenly.
    queues: u32,
    /// What others put to the queue, or purge it of.
    moved: i64,
    workload: Workload,
    outcomes: Vec<(usize, Outcome)>,
    memory: Memory,
    seed: u64,
    /// Pods paid for, polls, items late, the oldest item that was taken, moves.
    paid: f64,
    seconds: f64,
    late: f64,
    worst: i64,
    moves: Vec<(i64, u32, u32, &'static str)>,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn pipeline(queues: u32, poll: i64, rate_hint: Option<f64>, min: u32) -> Pipeline {
    let id = plain::id("orders");
    let source = |number: u32| {
        let name = format!("todo{number}");
        Source {
            poll_interval: Duration::from_secs(u64::try_from(poll).unwrap()),
            ..plain::source(&id, "enrich", &name)
        }
    };
    let stage = Stage {
        min,
        max_delay: Some(Duration::from_mins(1)),
        rate_hint,
        ..plain::stage("enrich", plain::deployment("enrich"), (0..queues).map(source).collect())
    };
    plain::pipeline(id, stage)
}

impl Tale {
    /// Pods of 20/s that start in 15 s; polled every 5 s; depth alone; asleep.
    fn new() -> Self {
        Self::of(1, 5, None, 0)
    }

    fn of(queues: u32, poll: i64, rate_hint: Option<f64>, min: u32) -> Self {
        Self {
            pipeline: pipeline(queues, poll, rate_hint, min),
            at: 0,
            waiting: VecDeque::new(),
            came: 0.0,
            done: 0.0,
            rate: 20.0,
            limit: f64::INFINITY,
            startup: 15,
            poll,
            counts: false,
            scatters: false,
            queues,
            moved: 0,
            workload: Workload { read_at: time(0), ..plain::workload("target", min) },
            outcomes: Vec::new(),
            memory: Memory::default(),
            seed: 42,
            paid: 0.0,
            seconds: 0.0,
            late: 0.0,
            worst: 0,
            moves: Vec::new(),
        }
    }

    fn depth(&self) -> f64 {
        self.waiting.iter().map(|(_, items)| items).sum()
    }

    /// Between 0 and 1, the same each time.
    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f64::from(u32::try_from(self.seed >> 40).unwrap()) / f64::from(1_u32 << 24)
    }

    /// So many on average, as independent arrivals scatter (the sum of twelve chances is nearly normal).
    fn scattered(&mut self, mean: f64) -> f64 {
        if !self.scatters {
            return mean;
        }
        let normal = (0..12).map(|_| self.chance()).sum::<f64>() - 6.0;
        (mean + mean.sqrt() * normal).max(0.0)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of items")]
    fn observations(&self) -> BTreeMap<QuestionId, Observation> {
        let whole = |items: f64| (items / f64::from(self.queues)).ceil() as u64;
        let sources = &self.pipeline.stages[0].sources;
        let each = sources.iter().map(|source| {
            let (arrived, served) = (whole(self.came), whole(self.came - self.depth()));
            let queue = if self.counts {
                let (backlog, arrived, served) = (arrived - served, Some(arrived), Some(served));
                Queue { backlog, arrived, served, ..Queue::default() }
            } else {
                Queue { backlog: whole(self.depth()), ..Queue::default() }
            };
            let reading = Arc::new(Reading { at: time(self.at), value: Value::Queue(queue) });
            (source.question.clone(), Observation::Fresh(reading))
        });
        each.collect()
    }

    fn turn(&mut self) {
        self.workload.read_at = time(self.at);
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(self.workload.clone())],
                outcomes: std::mem::take(&mut self.outcomes),
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations: self.observations(),
            ..Snapshot::of(time(self.at), true)
        };
        let step = decide(&snapshot, &self.memory);
        assert_eq!(step.plan.violations, 0);
        self.memory.merge(step.memory);
        for action in step.plan.actions {
            let scale = action.scale();
            let (from, to) = (scale.from, scale.to);
            if from != to {
                self.moves.push((self.at, from, to, scale.why.code()));
                self.moved = self.at;
            }
            let version: Arc<str> = self.at.to_string().into();
            self.workload.resource_version = Arc::clone(&version);
            (self.workload.desired, self.workload.current) = (to, to);
            self.workload.ready = self.workload.ready.min(to);
            let result = Ending::Done { resource_version: version };
            self.outcomes.push((0, Outcome { action, at: time(self.at), result }));
        }
    }

    /// Lets so many seconds pass in which so many items arrive each.
    fn run(&mut self, seconds: i64, arrive: impl Fn(i64) -> f64) {
        let end = self.at + seconds;
        while self.at < end {
            if self.at % self.poll == 0 {
                self.turn();
            }
            self.at += 1;
            if self.workload.ready < self.workload.desired && self.moved + self.startup <= self.at {
                self.workload.ready = self.workload.desired;
                self.workload.ready_since = Some(time(self.at));
            }
            let came = self.scattered(arrive(self.at));
            self.came += came;
            self.waiting.push_back((self.at, came));
            let most = (f64::from(self.workload.ready) * self.rate).min(self.limit);
            let most = self.scattered(most);
            self.take(most);
            self.paid += f64::from(self.workload.desired);
            self.seconds += 1.0;
        }
    }

    fn take(&mut self, most: f64) {
        let mut left = most;
        while let Some((born, items)) = self.waiting.front_mut() {
            let taken = left.min(*items);
            (*items, left) = (*items - taken, left - taken);
            self.done += taken;
            let age = self.at - *born;
            if 0.0 < taken {
                self.worst = self.worst.max(age);
                self.late += if 60 < age { taken } else { 0.0 };
            }
            if 1e-9 < *items {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// What was counted so far was the run-up.
    fn begin(&mut self) {
        (self.paid, self.seconds, self.late, self.worst, self.done) = (0.0, 0.0, 0.0, 0, 0.0);
        self.moves.clear();
    }

    /// Pods on average.
    fn pods(&self) -> f64 {
        self.paid / self.seconds
    }

    fn assert_in_time(&self) {
        let Self { late, done, worst, .. } = self;
        assert!(*late <= 0.001 * done, "{late} of {done} late, up to {worst} s: {:?}", self.moves);
    }

    /// Learned as status would tell it.
    fn rate(&mut self) -> Option<f64> {
        let mut other = self.memory.clone();
        std::mem::swap(&mut other, &mut self.memory);
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(self.workload.clone())],
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations: self.observations(),
            ..Snapshot::of(time(self.at), false)
        };
        let step = decide(&snapshot, &other);
        self.memory = other;
        step.plan.verdicts[0].signals.rate_per_replica
    }
}

#[test]
fn a_queue_that_counts_teaches_the_rate_of_several_pods() {
    for scatters in [false, true] {
        let mut tale = Tale::of(1, 5, None, 4);
        (tale.counts, tale.scatters) = (true, scatters);
        tale.run(300, |_| 160.0);
        let rate = tale.rate().unwrap();
        assert!((rate - 20.0).abs() < 2.0, "{rate}: {:?}", tale.moves);
    }
}

#[test]
fn depth_alone_is_sized_by_the_objective_whoever_wakes_it() {
    // 300 items a second want 15 pods.
    for (hint, poll, startup, scatters) in [
        (None, 2, 15, false),
        (None, 5, 15, true),
        (Some(20.0), 5, 15, true),
        (Some(30.0), 5, 15, true),
        (Some(13.0), 5, 15, true),
        (None, 15, 10, true),
        (None, 2, 30, true),
    ] {
        let mut tale = Tale::of(1, poll, hint, 0);
        (tale.startup, tale.scatters) = (startup, scatters);
        let case = format!("{hint:?} {poll} s {startup} s");
        tale.run(900, |_| 300.0);
        tale.begin();
        tale.run(3600, |_| 300.0);
        tale.assert_in_time();
        let (pods, rate) = (tale.pods(), tale.rate());
        assert!((14.0..21.0).contains(&pods), "{case}: {pods} pods, {rate:?}, {:?}", tale.moves);
        assert!(rate.is_some_and(|it| (12.0..28.0).contains(&it)), "{case}: {rate:?}");
    }
}

#[test]
fn slow_work_and_fast_work_are_told_alike() {
    for (rate, arrive) in [(0.5, 6.0), (1000.0, 12_000.0)] {
        let mut tale = Tale::new();
        (tale.rate, tale.scatters) = (rate, true);
        tale.run(900, |_| arrive);
        tale.begin();
        tale.run(3600, |_| arrive);
        tale.assert_in_time();
        let pods = tale.pods();
        assert!((11.0..19.0).contains(&pods), "{rate}: {pods} pods, {:?}", tale.moves);
    }
}

#[test]
fn depth_alone_follows_a_day_of_load() {
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let load = |at: i64| 200.0 + 180.0 * (at as f64 / 7200.0 * std::f64::consts::TAU).sin();
    let [alone, counted] = [false, true].map(|counts| {
        let mut tale = Tale::new();
        (tale.scatters, tale.counts) = (true, counts);
        tale.run(1800, load);
        tale.begin();
        tale.run(4 * 7200, load);
        tale.assert_in_time();
        eprintln!(
            "counts: {counts}, {:.1} pods, oldest {} s, {} moves",
            tale.pods(),
            tale.worst,
            tale.moves.len()
        );
        tale.pods()
    });
    // The work is that of 10 pods.
    assert!(alone < 16.0 && alone < 1.4 * counted, "{alone} pods, {counted} where it counts");
}

#[test]
fn a_new_level_is_met_within_the_objective() {
    let mut tale = Tale::new();
    tale.scatters = true;
    tale.run(1800, |_| 60.0);
    tale.begin();
    tale.run(1200, |_| 500.0);
    assert!(tale.worst < 60, "{} s: {:?}", tale.worst, tale.moves);
    tale.run(1800, |_| 60.0);
    tale.begin();
    tale.run(1200, |_| 60.0);
    let pods = tale.pods();
    assert!(pods < 7.0, "{pods} pods: {:?}", tale.moves);
}

#[test]
fn a_stage_that_never_slept_and_lags_tries_more_and_learns() {
    let mut tale = Tale::of(1, 5, None, 2);
    tale.run(600, |_| 300.0);
    assert!(tale.rate().is_some_and(|it| (15.0..25.0).contains(&it)), "{:?}", tale.moves);
    tale.run(600, |_| 300.0);
    tale.begin();
    tale.run(1200, |_| 300.0);
    tale.assert_in_time();
}

#[test]
fn two_lists_of_one_stage_are_added() {
    let mut tale = Tale::of(2, 5, None, 0);
    tale.scatters = true;
    tale.run(900, |_| 300.0);
    tale.begin();
    tale.run(2400, |_| 300.0);
    tale.assert_in_time();
    let pods = tale.pods();
    assert!((14.0..21.0).contains(&pods), "{pods} pods: {:?}", tale.moves);
}

#[test]
fn more_pods_are_pressed_no_further_on_what_limits_them_all_than_where_it_is_counted() {
    let [alone, counted] = [false, true].map(|counts| {
        let mut tale = Tale::of(1, 5, Some(20.0), 4);
        (tale.limit, tale.counts) = (80.0, counts);
        tale.run(900, |_| 100.0);
        (tale.workload.desired, tale.moves)
    });
    assert!(alone.0 <= counted.0, "{alone:?} and {counted:?}");
}

#[test]
fn a_purge_teaches_nothing_and_what_empties_falls_asleep() {
    let mut tale = Tale::new();
    tale.run(900, |_| 300.0);
    let before = tale.rate().unwrap();
    let desired = tale.workload.desired;
    // Somebody fills it by mistake and purges it.
    tale.waiting.push_back((tale.at, 1e6));
    tale.run(7, |_| 300.0);
    tale.waiting.clear();
    tale.run(60, |_| 300.0);
    let after = tale.rate().unwrap();
    assert!((after / before - 1.0).abs() < 0.2, "{before} to {after}");
    assert!(desired / 2 <= tale.workload.desired, "{:?}", tale.moves);
    tale.run(3600, |_| 0.0);
    assert_eq!(tale.workload.desired, 0, "{:?}", tale.moves);
}

#[test]
fn a_quiet_queue_is_left_asleep() {
    let mut tale = Tale::new();
    tale.run(1200, |_| 0.0);
    assert!(tale.moves.is_empty(), "{:?}", tale.moves);
}
