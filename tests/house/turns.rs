//! Turns made by hand, told to the real tellers over the in-memory cluster: for the tests of report and answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use penstock::act::{Brake, Grant, Licence};
use penstock::clock::Clock;
use penstock::crd::{self, PipelineStatus, ScaledPipeline};
use penstock::decide::{
    Budget, BudgetVerdict, Class, Ending, Memory, Missing, Observation, Outcome, Pause, Pipeline,
    PipelineId, Plan, PoolState, PoolVerdict, Reading, Reason, Reserves, Scale, Signals, Situation,
    Snapshot, Source, Stage, StageId, Step, Target, TargetId, Value as Read, Verdict, Workload,
    Writing,
};
use penstock::demo::cluster::{Cluster, Logged, Options};
use penstock::report::{
    self, BudgetGlance, BudgetPicture, Destination, Fault, Glance, Polls, PoolGlance, PoolPicture,
    Report, Requests, Tick,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::decide::plain;

/// A pool of three nodes with four CPUs each, that gives nodes and whose price nobody knows.
pub(crate) fn pool(name: &str, class: Class, at: Timestamp) -> PoolPicture {
    let glance = PoolGlance {
        uid: "pool".into(),
        resource_version: "1".into(),
        class,
        generation: 1,
        status: Arc::default(),
        unpriced: None,
        unmade: None,
        nodes: 3,
        cores: 12.0,
        startup: None,
        cost: None,
    };
    let verdict = PoolVerdict {
        pool: name.into(),
        state: PoolState::Available,
        since: at,
        evidence: Vec::new(),
        next_probe: None,
    };
    PoolPicture { glance, verdict, at }
}

/// A budget without limits that is exceeded by 80 CPUs, so that these gave way.
pub(crate) fn budget(name: &str, gave_way: Vec<(PipelineId, u32)>, at: Timestamp) -> BudgetPicture {
    let name: Arc<str> = name.into();
    let glance = BudgetGlance {
        uid: "budget".into(),
        resource_version: "1".into(),
        generation: 1,
        status: Arc::default(),
    };
    let meant = Arc::new(Budget {
        name: Arc::clone(&name),
        cost_per_hour: None,
        cores: None,
        is_enforced: true,
        rooms: Vec::new(),
    });
    let verdict = BudgetVerdict {
        budget: name,
        cost_per_hour: None,
        cores: 80.0,
        gave_way,
        is_exceeded: true,
        unpriced: Vec::new(),
    };
    BudgetPicture { glance, meant, verdict, at }
}

/// One stage as a test wants it told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) stage: Stage,
    pub(crate) verdict: Verdict,
    pub(crate) target: Target,
    pub(crate) observation: Option<Observation>,
}

/// A pipeline as a test wants it told.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) stages: Vec<Told>,
    pub(crate) pause: Pause,
    pub(crate) outcomes: Vec<(usize, Outcome)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) may_act: bool,
    pub(crate) violations: u32,
    /// Id of the trace of the turn.
    pub(crate) trace: Option<String>,
    pub(crate) polls: Polls,
    /// Why the newest credentials of each source are not in use.
    pub(crate) refusal: Option<Missing>,
    /// Pools of nodes.
    pub(crate) pools: Vec<PoolPicture>,
    pub(crate) budgets: Vec<BudgetPicture>,
    /// What each stage costs, by pool.
    pub(crate) costs: Vec<BTreeMap<Arc<str>, Option<f64>>>,
    /// What stands for room on nodes.
    pub(crate) reserves: Reserves,
    /// What the room costs that is kept for each.
    pub(crate) room_costs: Vec<BTreeMap<Arc<str>, Option<f64>>>,
}

/// The tellers, and a cluster for them to write to.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) clock: Clock,
    pub(crate) grant: Grant,
    pub(crate) leads: watch::Sender<bool>,
    pub(crate) requests: Requests,
    pub(crate) report: Report,
    /// What is told gives way to it.
    pub(crate) brake: Brake,
    pub(crate) licence: Licence,
    tasks: JoinSet<()>,
}

pub(crate) fn id(name: &str) -> PipelineId {
    PipelineId { namespace: "default".into(), name: name.into() }
}

/// A stage that is well: 4 replicas, 10 items waiting for 5 s of 60 s.
pub(crate) fn stage(name: &str) -> Told {
    let source = Source {
        origin: Arc::default(),
        topics: vec!["orders".into()],
        ..plain::source(&id("orders"), name, "todo")
    };
    let target = TargetId::object(&"default".into(), "apps/v1", "Deployment", name);
    let stage = Stage {
        max: 20,
        max_delay: Some(Duration::from_mins(1)),
        ..plain::stage(name, target, vec![source])
    };
    let verdict = Verdict {
        stage: StageId { pipeline: id("orders"), index: 0, name: name.into() },
        replicas: Some(4),
        why: vec![Reason::Steady { delay: 5.0, objective: 60.0 }],
        signals: Signals {
            lag: Some(10),
            delay: Some(5.0),
            arrival_rate: Some(12.0),
            objective: Some(60.0),
            is_fresh: true,
            partitions: 8,
            ..Signals::default()
        },
        held: None,
        next: None,
        anomalies: Vec::new(),
        lanes: Vec::new(),
        rooms: Vec::new(),
    };
    let target = Target::Seen(Workload {
        resource_version: "7".into(),
        ready: 3,
        ..plain::workload("u-target", 4)
    });
    Told { stage, verdict, target, observation: None }
}

pub(crate) fn turn(stages: Vec<Told>) -> Turn {
    Turn {
        stages,
        pause: Pause::default(),
        outcomes: Vec::new(),
        faults: Vec::new(),
        may_act: true,
        violations: 0,
        trace: None,
        polls: Polls::default(),
        refusal: None,
        pools: Vec::new(),
        budgets: Vec::new(),
        costs: Vec::new(),
        reserves: Reserves::Unseen,
        room_costs: Vec::new(),
    }
}

impl Turn {
    /// A turn of one stage `enrich`, changed.
    pub(crate) fn of(change: impl FnOnce(&mut Told)) -> Self {
        let mut told = stage("enrich");
        change(&mut told);
        turn(vec![told])
    }
}

/// What became of a move of stage `enrich`.
pub(crate) fn moved(from: u32, to: u32, why: Reason, result: Ending) -> (usize, Outcome) {
    let told = stage("enrich");
    let scale = Scale {
        stage: told.verdict.stage,
        lane: None,
        target: told.stage.target,
        uid: "u-target".into(),
        resource_version: "7".into(),
        writing: Writing::Apply,
        from,
        to,
        force: false,
        why,
    };
    let action = penstock::decide::Action::Scale(scale);
    (0, Outcome { action, at: Timestamp::UNIX_EPOCH, result })
}

pub(crate) fn done() -> Ending {
    Ending::Done { resource_version: "8".into() }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::recording(None).await
    }

    pub(crate) async fn recording(record: Option<PathBuf>) -> Self {
        let record = record.map(|folder| Destination { folder, limit: 256 << 20 });
        Self::with(record).await
    }

    /// Recording into a folder, no more than so many bytes.
    pub(crate) async fn recording_within(folder: &Path, limit: u64) -> Self {
        Self::with(Some(Destination { folder: folder.to_owned(), limit })).await
    }

    async fn with(record: Option<Destination>) -> Self {
        let bench = Self::over(Self::cluster(|_| {}), record);
        bench.create("orders").await;
        bench.cluster.faults().clear_log();
        bench
    }

    /// A cluster with the definitions, each as `change` leaves it.
    pub(crate) fn cluster(change: impl Fn(&mut Value)) -> Cluster {
        let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
        for definition in crd::all() {
            let mut definition = serde_json::to_value(definition).unwrap();
            change(&mut definition);
            cluster.define(definition).unwrap();
        }
        cluster
    }

    /// Fresh tellers over a cluster that is there: a restart.
    pub(crate) fn over(cluster: Cluster, record: Option<Destination>) -> Self {
        let clock = cluster.clock();
        let (grant, licence) = Licence::new();
        let (leads, is_leading) = watch::channel(true);
        let requests = Requests::default();
        let options = report::Options {
            instance: "penstock-0".into(),
            record,
            requests: requests.clone(),
            past: None,
        };
        let brake = Brake::default();
        let writer = brake.behind(cluster.client());
        let (report, teller) = Report::new(writer, licence.clone(), is_leading, clock, &options);
        let mut tasks = JoinSet::new();
        tasks.spawn(teller.run());
        grant.renew(Instant::now());
        Self { cluster, clock, grant, leads, requests, report, brake, licence, tasks }
    }

    pub(crate) async fn create(&self, name: &str) {
        let object: ScaledPipeline = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"stages": [{
                "name": "enrich", "target": {"kind": "Deployment", "name": "enrich"}, "replicas": {"max": 20},
                "sources": [{"name": "todo", "kafka": {"bootstrapServers": "kafka:9092", "topics": ["in"], "group": "g"}}],
            }]},
        }))
        .unwrap();
        self.api().create(&PostParams::default(), &object).await.unwrap();
    }

    pub(crate) fn api(&self) -> Api<ScaledPipeline> {
        Api::namespaced(self.cluster.client(), "default")
    }

    pub(crate) async fn object(&self, name: &str) -> ScaledPipeline {
        self.api().get(name).await.unwrap()
    }

    pub(crate) async fn status(&self) -> PipelineStatus {
        self.object("orders").await.status.unwrap_or_default()
    }

    pub(crate) async fn glance(&self, name: &str) -> Glance {
        let object = self.object(name).await;
        Glance {
            id: id(name),
            uid: object.metadata.uid.unwrap().into(),
            generation: object.metadata.generation.unwrap(),
            resource_version: object.metadata.resource_version.unwrap().into(),
            status: Arc::new(object.status.unwrap_or_default()),
            faults: Arc::default(),
            costs: Vec::new(),
            room_costs: Vec::new(),
        }
    }

    /// Tells a turn of `orders` over the object as it is now, and lets the tellers work for a moment. The lease stays young.
    pub(crate) async fn tell(&self, turn: &Turn) {
        let glance = self.glance("orders").await;
        self.tell_over(glance, turn);
        self.wait(Duration::from_millis(100)).await;
    }

    /// Tells a turn over an object as it once was.
    pub(crate) fn tell_over(&self, mut glance: Glance, turn: &Turn) {
        glance.faults = turn.faults.clone().into();
        glance.costs.clone_from(&turn.costs);
        glance.room_costs.clone_from(&turn.room_costs);
        self.report.tell(tick(glance, turn, self.clock.now()));
    }

    /// Lets time pass with a lease that is renewed.
    pub(crate) async fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        let holds = self.licence.check().is_ok();
        while Instant::now() < end {
            if holds {
                self.grant.renew(Instant::now());
            }
            sleep((end - Instant::now()).min(Duration::from_secs(1))).await;
        }
    }

    /// Status writes since the log was cleared last.
    pub(crate) fn writes(&self) -> Vec<Logged> {
        let log = self.cluster.faults().log();
        log.into_iter().filter(|r| r.verb == "patch" && r.subresource == "status").collect()
    }

    /// Takes the tellers' ear away and waits for their last words.
    pub(crate) async fn end(self) -> Cluster {
        let Self { cluster, report, mut tasks, .. } = self;
        drop(report);
        while let Some(end) = tasks.join_next().await {
            end.unwrap();
        }
        cluster
    }
}

pub(crate) fn tick(glance: Glance, turn: &Turn, at: Timestamp) -> Tick {
    let mut observations = BTreeMap::new();
    let mut verdicts = Vec::new();
    let mut stages = Vec::new();
    let (mut polls, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    for (index, told) in turn.stages.iter().enumerate() {
        let mut told = told.clone();
        told.verdict.stage =
            StageId { pipeline: glance.id.clone(), index, name: Arc::clone(&told.stage.name) };
        let question = told.stage.sources[0].question.clone();
        let fresh = Observation::Fresh(Arc::new(Reading { at, value: Read::Gauge(1.0) }));
        polls.insert(question.clone(), turn.polls);
        refusals.extend(turn.refusal.clone().map(|why| (question.clone(), why)));
        observations.insert(question, told.observation.unwrap_or(fresh));
        verdicts.push(told.verdict);
        stages.push(told.stage);
    }
    let situation = Situation {
        targets: turn.stages.iter().map(|told| told.target.clone()).collect(),
        outcomes: turn.outcomes.clone(),
        reserves: turn.reserves.clone(),
        ..Situation::of(Arc::new(Pipeline {
            id: glance.id.clone(),
            uid: Arc::clone(&glance.uid),
            generation: glance.generation,
            pause: turn.pause.clone(),
            priority: 0,
            stages,
        }))
    };
    let due = if turn.faults.is_empty() { vec![situation] } else { Vec::new() };
    let (mut of_nodes, mut beliefs) = (BTreeMap::new(), Vec::new());
    for PoolPicture { glance, verdict, .. } in turn.pools.clone() {
        of_nodes.insert(Arc::clone(&verdict.pool), glance);
        beliefs.push(verdict);
    }
    let (mut over, mut meant, mut fares) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for picture in turn.budgets.clone() {
        let name = Arc::clone(&picture.meant.name);
        over.insert(Arc::clone(&name), picture.glance);
        meant.insert(name, picture.meant);
        fares.push(picture.verdict);
    }
    let violations = turn.violations;
    let plan = Plan { verdicts, violations, pools: beliefs, budgets: fares, ..Plan::default() };
    Tick {
        snapshot: Snapshot { due, observations, budgets: meant, ..Snapshot::of(at, turn.may_act) },
        step: Step { plan, memory: Memory::default() },
        glances: vec![glance],
        took: Duration::from_micros(300),
        lateness: Duration::from_millis(2),
        trace: turn.trace.clone(),
        polls,
        refusals,
        pools: of_nodes,
        budgets: over,
    }
}
