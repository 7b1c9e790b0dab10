//! Tales of a stage that runs Jobs: a queue, Jobs that take a while to start and a while to work, a watch that tells late, readings at
//! polls, turn by turn through decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Behaviour, Ending, Failing, Fallback, FallbackPolicy, FinishedJob, JobsSeen, Memory,
    Missing, Mode, Observation, Outcome, Pause, Pipeline, Policy, Queue, Reading, Rules, Situation,
    Snapshot, Source, Stage, StartJobs, Target, TargetId, Unit, Value, Verdict, Workload, Writing,
    decide,
};

use super::plain;

/// A Job of the tale: when it was made, was Ready, ended; and whether it fails.
#[derive(Debug, Clone)]
struct Job {
    made: i64,
    ready: i64,
    ends: i64,
    fails: bool,
}

/// The world, one second a turn.
struct Tale {
    pipeline: Pipeline,
    at: i64,
    /// Items that wait or are in work.
    items: u64,
    poll: i64,
    startup: i64,
    work: i64,
    /// Seconds until the watch tells what happened.
    delay: i64,
    /// Do Jobs fail from here on?
    fails: bool,
    is_away: bool,
    is_gauge: bool,
    jobs: Vec<Job>,
    surplus: Vec<FinishedJob>,
    reading: Option<Observation>,
    outcomes: Vec<(usize, Outcome)>,
    memory: Memory,
    /// When, and how many.
    starts: Vec<(i64, u32)>,
    removals: Vec<i64>,
    last: Option<Verdict>,
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn stage() -> Stage {
    let id = plain::id("nightly");
    Stage {
        min: 0,
        max: 20,
        ..plain::stage(
            "backfill",
            TargetId::cron_job(&"shop".into(), "backfill"),
            vec![Source {
                poll_interval: Duration::from_secs(15),
                per_replica: Some(1.0),
                origin: "postgres:5432".into(),
                ..plain::source(&id, "backfill", "todo")
            }],
        )
    }
}

impl Tale {
    /// One Job for an item; read every 15 s; a Job is Ready after 10 s, and done 40 s later.
    fn new(change: impl FnOnce(&mut Stage)) -> Self {
        let mut stage = stage();
        change(&mut stage);
        let id = plain::id("nightly");
        let pause = Pause::default();
        Self {
            pipeline: Pipeline { pause, ..plain::pipeline(id, stage) },
            at: 0,
            items: 0,
            poll: 15,
            startup: 10,
            work: 40,
            delay: 1,
            fails: false,
            is_away: false,
            is_gauge: true,
            jobs: Vec::new(),
            surplus: Vec::new(),
            reading: None,
            outcomes: Vec::new(),
            memory: Memory::default(),
            starts: Vec::new(),
            removals: Vec::new(),
            last: None,
        }
    }

    /// What the watch has told of them by now.
    fn seen(&self) -> Workload {
        let told = self.at - self.delay;
        let there = || self.jobs.iter().filter(move |job| job.made <= told);
        let running = || there().filter(move |job| told < job.ends);
        let ready = || running().filter(move |job| job.ready <= told);
        let count = |n: usize| u32::try_from(n).unwrap();
        let done = || there().filter(move |job| job.ends <= told);
        let mut failing = None;
        let mut last = -1;
        for job in done() {
            if !job.fails {
                failing = None;
            } else if last <= job.made {
                let jobs = failing.map_or(0, |it: Failing| it.jobs) + 1;
                let at = time(job.ends + self.delay);
                failing = Some(Failing { jobs, message: "BackoffLimitExceeded".into(), at });
                last = job.ends;
            }
        }
        let lived = done().rfind(|job| !job.fails).map(|job| job.ends - job.ready);
        let seconds = |n: i64| Duration::from_secs(u64::try_from(n).unwrap());
        Workload {
            resource_version: there().count().to_string().into(),
            ready: count(ready().count()),
            ready_since: ready().map(|job| time(job.ready + self.delay)).max(),
            writing: Writing::Merge,
            read_at: time(0),
            jobs: Some(Box::new(JobsSeen {
                next: u64::try_from(there().count()).unwrap() + 1,
                ended: done().map(|job| time(job.ends + self.delay)).collect(),
                oldest: ready().map(|job| time(job.ready + self.delay)).min(),
                life: lived.map(seconds),
                startup: ready().next().map(|job| seconds(job.ready - job.made)),
                surplus: self.surplus.clone(),
                is_scheduled: false,
                failing,
            })),
            ..plain::workload("cronjob", count(running().count()))
        }
    }

    fn observation(&mut self) -> Option<Observation> {
        let is_due = self.at % self.poll == 0;
        if is_due && !self.is_away {
            #[expect(clippy::cast_precision_loss, reason = "few items")]
            let value = if self.is_gauge {
                Value::Gauge(self.items as f64)
            } else {
                Value::Queue(Queue { backlog: self.items, ..Queue::default() })
            };
            let reading = Reading { at: time(self.at), value };
            self.reading = Some(Observation::Fresh(Arc::new(reading)));
        } else if is_due {
            let missing = Missing {
                label: "Unreachable".into(),
                message: "connection refused".into(),
                is_lasting: false,
                since: time(self.at),
            };
            self.reading = match self.reading.take() {
                Some(Observation::Fresh(reading)) => Some(Observation::Stale(reading, missing)),
                other => other.or(Some(Observation::Failed(missing))),
            };
        }
        self.reading.clone()
    }

    fn turn(&mut self) {
        let ended = self.jobs.iter().filter(|job| job.ends == self.at && !job.fails).count();
        self.items = self.items.saturating_sub(u64::try_from(ended).unwrap());
        let mut observations = BTreeMap::new();
        if let Some(observation) = self.observation() {
            let question = self.pipeline.stages[0].sources[0].question.clone();
            observations.insert(question, observation);
        }
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(self.seen())],
                outcomes: std::mem::take(&mut self.outcomes),
                recalled: vec![None],
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations,
            ..Snapshot::of(time(self.at), true)
        };
        let step = decide(&snapshot, &self.memory);
        self.memory.merge(step.memory.clone());
        for action in &step.plan.actions {
            let Action::StartJobs(StartJobs { scale, first, remove }) = action else {
                panic!("{action:?} for a stage of Jobs");
            };
            assert!(scale.from <= scale.to && scale.to <= self.pipeline.stages[0].max);
            assert!(*first <= u64::try_from(self.jobs.len()).unwrap() + 1);
            // The API server refuses names that are taken.
            let made = (*first..*first + u64::from(scale.to - scale.from))
                .filter(|&number| u64::try_from(self.jobs.len()).unwrap() < number)
                .count();
            for _ in 0..made {
                let (made, ready) = (self.at, self.at + self.startup);
                let ends = ready + self.work;
                self.jobs.push(Job { made, ready, ends, fails: self.fails });
            }
            if 0 < made {
                self.starts.push((self.at, u32::try_from(made).unwrap()));
            }
            if !remove.is_empty() {
                self.removals.push(self.at);
            }
            let version = if 0 < made { self.jobs.len().to_string() } else { "0".to_owned() };
            let result = Ending::Done { resource_version: version.into() };
            self.outcomes.push((0, Outcome { action: action.clone(), at: time(self.at), result }));
        }
        assert_eq!(step.plan.violations, 0, "{:?}", step.plan.verdicts);
        self.last = step.plan.verdicts.into_iter().next();
        self.at += 1;
    }

    fn until(&mut self, end: i64) {
        while self.at < end {
            self.turn();
        }
    }

    fn code(&self) -> &str {
        self.last.as_ref().and_then(Verdict::reason).map_or("", |reason| reason.code())
    }

    fn running(&self) -> usize {
        self.jobs.iter().filter(|job| self.at < job.ends).count()
    }
}

#[test]
fn as_many_jobs_are_made_as_items_come_however_late_the_watch_and_the_pods() {
    for (delay, startup, work, poll) in
        [(0, 0, 1, 1), (1, 10, 40, 15), (5, 120, 3, 2), (3, 0, 7, 30), (9, 20, 20, 5)]
    {
        let mut tale = Tale::new(|stage| {
            stage.sources[0].poll_interval = Duration::from_secs(u64::try_from(poll).unwrap());
        });
        (tale.delay, tale.startup, tale.work, tale.poll) = (delay, startup, work, poll);
        let mut came = 0;
        while tale.at < 3_000 {
            // Now and then a few, now and then many.
            let more = match tale.at % 97 {
                11 | 53 => 1,
                71 => 6,
                _ => 0,
            };
            tale.items += more;
            came += more;
            tale.turn();
        }
        tale.until(4_500);
        assert_eq!(tale.items, 0, "all is done");
        assert_eq!(
            u64::try_from(tale.jobs.len()).unwrap(),
            came,
            "{delay} {startup} {work} {poll}"
        );
    }
}

#[test]
fn a_burst_is_met_at_the_first_reading_and_goes_no_higher_than_max() {
    let mut tale = Tale::new(|_| {});
    tale.until(20);
    tale.items = 50;
    tale.until(120);
    assert_eq!(tale.starts[0], (30, 20));
    assert!(tale.running() <= 20);
    tale.until(400);
    assert_eq!((tale.items, tale.jobs.len()), (0, 50));
}

#[test]
fn while_nothing_is_known_none_is_made_and_none_is_ended() {
    let mut tale = Tale::new(|_| {});
    tale.items = 4;
    tale.until(20);
    tale.is_away = true;
    tale.items += 9;
    tale.until(100);
    assert_eq!((tale.jobs.len(), tale.running()), (4, 0), "they ended by themselves");
    assert_eq!(tale.code(), "NoFreshData");
    tale.is_away = false;
    tale.until(130);
    assert_eq!(tale.jobs.len(), 13);
}

#[test]
fn a_fallback_that_the_owner_states_keeps_so_many_running_while_nothing_is_known() {
    for policy in [FallbackPolicy::Static(3), FallbackPolicy::AtLeast(3)] {
        let fallback = Fallback { after: Duration::from_mins(1), policy };
        let mut tale = Tale::new(|stage| stage.fallback = fallback);
        tale.items = 4;
        tale.until(20);
        tale.is_away = true;
        tale.until(200);
        assert_eq!((tale.code(), tale.running()), ("Fallback", 3), "{policy:?}");
        tale.until(600);
        assert!(tale.running() <= 3 && 4 + 3 < tale.jobs.len(), "{policy:?}: {}", tale.jobs.len());
    }
    let hold = FallbackPolicy::AtMost(3);
    let fallback = Fallback { after: Duration::from_mins(1), policy: hold };
    let mut tale = Tale::new(|stage| stage.fallback = fallback);
    tale.items = 4;
    tale.until(20);
    tale.is_away = true;
    tale.until(400);
    assert_eq!(tale.jobs.len(), 4, "no more than so many may be none");
}

#[test]
fn jobs_that_fail_are_made_again_ever_later_until_one_is_completed() {
    let mut tale = Tale::new(|_| {});
    (tale.startup, tale.work, tale.fails) = (1, 4, true);
    tale.items = 2;
    tale.until(1_500);
    let rounds: Vec<i64> = tale.starts.iter().map(|&(at, _)| at).collect();
    let waits: Vec<i64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Two at once, at the next reading at first; then 10 s, 20 s and so on after the last of them, up to five minutes.
    assert!(tale.starts.iter().all(|&(_, made)| made == 2), "{:?}", tale.starts);
    assert_eq!(&waits[..2], [15, 15]);
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] + 15), "{waits:?}");
    assert!(waits.iter().all(|&wait| wait < 330) && waits.last() >= Some(&300), "{waits:?}");
    let odd = &tale.last.as_ref().unwrap().anomalies[0];
    assert_eq!(odd.code(), "JobsFail");
    let words = "rounds of Jobs have all failed, the latest with BackoffLimitExceeded";
    assert!(odd.to_string().contains(words), "{odd}");
    tale.fails = false;
    tale.until(2_200);
    assert_eq!(tale.items, 0);
    tale.items = 3;
    tale.until(2_230);
    assert_eq!(tale.starts.last().unwrap().1, 3, "the next reading is followed at once again");
}

#[test]
fn an_objective_without_a_threshold_sizes_by_the_life_of_a_job_and_never_beyond_the_items() {
    for (work, max) in [(5, 50), (30, 50), (200, 50)] {
        let mut tale = Tale::new(|stage| {
            stage.max_delay = Some(Duration::from_mins(2));
            stage.max = max;
            stage.sources[0].per_replica = None;
        });
        (tale.is_gauge, tale.work) = (false, work);
        let mut came = 0;
        while tale.at < 3_600 {
            if tale.at == 100 {
                tale.items += 40;
                came += 40;
            }
            if 1_000 < tale.at && tale.at % 20 == 0 {
                tale.items += 1;
                came += 1;
            }
            assert!(tale.running() <= usize::try_from(max).unwrap());
            tale.turn();
        }
        tale.until(4_500);
        assert_eq!(tale.items, 0, "{work} s of work");
        assert_eq!(tale.jobs.len(), came, "{work} s of work: one for each item, no idle ones");
        let burst: Vec<_> = tale.jobs.iter().filter(|job| job.made < 1_000).collect();
        let last = burst.iter().map(|job| job.ends).max().unwrap();
        // From a cold start the first Job has to show how long one takes: the burst is over within twice the promise.
        assert!(last <= 100 + 2 * 120 + work, "{work} s of work: done at {last}");
    }
}

#[test]
fn a_policy_of_behavior_limits_how_many_are_made_within_its_period() {
    let policies = vec![Policy { unit: Unit::Pods, value: 4, period: Duration::from_mins(1) }];
    let up = Rules { policies, ..Rules::default() };
    let mut tale = Tale::new(|stage| {
        stage.min = 1;
        stage.behaviour = Behaviour { up, down: Rules::default() };
    });
    tale.work = 1_000;
    tale.items = 1;
    tale.until(10);
    tale.items = 20;
    tale.until(130);
    let made: u32 = tale.starts.iter().map(|&(_, made)| made).sum();
    assert!(made <= 1 + 4 * 3, "{:?}", tale.starts);
    assert_eq!(tale.code(), "LimitedByPolicy");
}

#[test]
fn finished_jobs_are_removed_at_a_measured_pace_and_not_while_paused() {
    let surplus = |n: u32| FinishedJob { name: format!("p{n}").into(), uid: n.to_string().into() };
    let mut tale = Tale::new(|_| {});
    tale.surplus = (1..=20).map(surplus).collect();
    tale.until(31);
    // The tale's watch never shows them gone, so they are asked for again and again, but not at every turn.
    assert!((4..=7).contains(&tale.removals.len()), "{:?}", tale.removals);
    let mut tale = Tale::new(|stage| stage.mode = Mode::Observe);
    tale.surplus = vec![surplus(1)];
    tale.until(31);
    assert!(tale.removals.is_empty());
    let mut tale = Tale::new(|_| {});
    tale.pipeline.pause.all = true;
    tale.surplus = vec![surplus(1)];
    tale.until(31);
    assert!(tale.removals.is_empty());
}

#[test]
fn more_than_max_that_run_are_let_end() {
    let mut tale = Tale::new(|_| {});
    tale.items = 12;
    tale.until(20);
    assert_eq!(tale.running(), 12);
    tale.pipeline.stages[0].max = 5;
    tale.until(40);
    assert_eq!((tale.running(), tale.code()), (12, "LetEnd"));
    assert_eq!(tale.last.as_ref().unwrap().replicas, Some(5));
    tale.until(80);
    assert_eq!(tale.items, 0);
}
