//! The benchmark of deciding: one turn of one stage, warm, by criterion; then the same by a plain loop that is held against the
//! promise of 100 µs a stage, and a turn in which 1,000 stages are due against 0.1 s. Run by `make bench`; exits 1 when the promise is missed.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use jiff::{SignedDuration, Timestamp};
use penstock::decide::{
    Behaviour, Fallback, FallbackPolicy, Memory, Mode, Observation, OnSilence, Partition, Pause,
    Pipeline, PipelineId, Prefer, QuestionId, Queue, Reading, Situation, Snapshot, Source, Stage,
    Target, TargetId, Value, Workload, Writing, decide,
};

/// What deciding for one stage may take.
const PROMISE: Duration = Duration::from_micros(100);
/// What a turn may take in which so many stages are due.
const CROWD: usize = 1_000;
const TURN: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_secs(2);

/// Pipelines of a stage each under an objective, and what they remember after ten minutes of waves.
struct Scene {
    pipelines: Vec<Arc<Pipeline>>,
    partitions: i32,
    memory: Memory,
    turn: i64,
}

impl Scene {
    fn new(count: usize, partitions: i32) -> Self {
        let pipelines = (0..count).map(|at| Arc::new(pipeline(at))).collect();
        let mut scene = Self { pipelines, partitions, memory: Memory::default(), turn: 0 };
        for _ in 0..300 {
            scene.pass();
        }
        scene
    }

    /// What is seen at the present turn: arrivals in waves, a quarter more on every fifth partition, consumers 20 s behind.
    fn snapshot(&self) -> Snapshot {
        let at = Timestamp::UNIX_EPOCH
            .checked_add(SignedDuration::from_secs(1_800_000_000 + 2 * self.turn))
            .unwrap();
        let come = |turn: i64, id: i32| {
            let wave = turn * 40 + (turn / 30) * (turn % 30);
            wave.max(0) * if id % 5 == 0 { 5 } else { 4 } / 4
        };
        let partition = |id| Partition {
            topic: 0,
            id,
            end: come(self.turn, id),
            position: come(self.turn - 10, id),
            is_committed: true,
            owner: u32::try_from(id % 12).ok(),
        };
        let queue = Queue {
            served_at: Some(at),
            commit_interval: Some(Duration::from_secs(5)),
            partitions: (0..self.partitions).map(partition).collect(),
            ..Queue::default()
        };
        let reading = Arc::new(Reading { at, value: Value::Queue(queue) });
        let workload = Workload {
            uid: "target".into(),
            resource_version: "7".into(),
            desired: 12,
            current: 12,
            ready: 12,
            ready_since: Some(Timestamp::UNIX_EPOCH),
            writing: Writing::Apply,
            read_at: at,
            is_ours: true,
            hpa: None,
            cpu: None,
            jobs: None,
            lanes: Vec::new(),
        };
        let situation = |pipeline: &Arc<Pipeline>| Situation {
            targets: vec![Target::Seen(workload.clone())],
            ..Situation::of(Arc::clone(pipeline))
        };
        let question = |pipeline: &Arc<Pipeline>| pipeline.stages[0].sources[0].question.clone();
        let fresh = || Observation::Fresh(Arc::clone(&reading));
        Snapshot {
            due: self.pipelines.iter().map(situation).collect(),
            observations: self.pipelines.iter().map(|it| (question(it), fresh())).collect(),
            ..Snapshot::of(at, false)
        }
    }

    fn pass(&mut self) {
        let step = decide(&self.snapshot(), &self.memory);
        self.memory.merge(step.memory);
        self.turn += 1;
    }
}

/// A pipeline of one stage.
fn pipeline(at: usize) -> Pipeline {
    let id = PipelineId { namespace: "shop".into(), name: format!("orders-{at}").into() };
    let question = QuestionId::new(&id, "enrich", "orders");
    let stage = Stage {
        name: "enrich".into(),
        mode: Mode::Enforce,
        after: Vec::new(),
        target: TargetId {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: format!("enrich-{at}").into(),
            part: None,
        },
        lanes: Vec::new(),
        min: 1,
        max: 48,
        idle: None,
        pinned: None,
        max_delay: Some(Duration::from_mins(1)),
        done_by: None,
        prefer: Prefer::default(),
        is_default_objective: false,
        is_forecast: true,
        packs: false,
        holds: false,
        is_dear: false,
        headroom: None,
        rate_hint: Some(50.0),
        startup_hint: None,
        on_silence: OnSilence::Hold,
        sources: vec![Source {
            name: "orders".into(),
            question,
            origin: Arc::default(),
            poll_interval: POLL,
            activation: 0.0,
            per_replica: None,
            topics: Vec::new(),
        }],
        combine: None,
        schedules: Vec::new(),
        gates: Vec::new(),
        behaviour: Behaviour::default(),
        fallback: Fallback { after: Duration::from_mins(2), policy: FallbackPolicy::Hold },
    };
    let (uid, stages) = ("uid".into(), vec![stage]);
    Pipeline { id, uid, generation: 1, pause: Pause::default(), priority: 0, stages }
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let mut slowest = Duration::ZERO;
    for partitions in [24, 48] {
        let scene = Scene::new(1, partitions);
        let snapshot = scene.snapshot();
        let name = format!("decide, one stage of {partitions} partitions");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| decide(black_box(&snapshot), black_box(&scene.memory)));
        });
        let mean = mean(&scene, 2_000);
        println!("{name}: {:.1} µs", mean.as_secs_f64() * 1e6);
        slowest = slowest.max(mean);
    }
    criterion.final_summary();
    let turn = mean(&Scene::new(CROWD, 48), 20);
    println!("a turn of {CROWD} stages of 48 partitions: {:.1} ms", turn.as_secs_f64() * 1e3);
    let mut ending = ExitCode::SUCCESS;
    if PROMISE < slowest {
        println!("MISSED  decide() takes {slowest:?} a stage, target {PROMISE:?}");
        ending = ExitCode::FAILURE;
    }
    if TURN < turn {
        println!("MISSED  decide() takes {turn:?} for {CROWD} stages, target {TURN:?}");
        ending = ExitCode::FAILURE;
    }
    ending
}

/// How long one turn takes in the mean of so many.
#[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
fn mean(scene: &Scene, rounds: u32) -> Duration {
    let snapshot = scene.snapshot();
    let start = Instant::now();
    for _ in 0..rounds {
        black_box(decide(black_box(&snapshot), black_box(&scene.memory)));
    }
    start.elapsed() / rounds
}
