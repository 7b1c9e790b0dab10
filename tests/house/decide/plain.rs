//! The plainest of what a turn is about: a source, a stage, its pipeline, its target as it stands. A test says only what differs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Behaviour, Budget, Class, Fallback, FallbackPolicy, Lane, LaneNeed, Mode, OnSilence, Pause,
    Pipeline, PipelineId, Pool, PoolSeen, Prefer, QuestionId, Room, Rules, Source, Stage, TargetId,
    Tariff, Thing, Workload, Writing,
};

/// A pipeline of the namespace `shop`.
pub(crate) fn id(name: &str) -> PipelineId {
    PipelineId { namespace: "shop".into(), name: name.into() }
}

/// A Deployment of the namespace `shop`.
pub(crate) fn deployment(name: &str) -> TargetId {
    TargetId::object(&"shop".into(), "apps/v1", "Deployment", name)
}

/// What is read every 2 s and has no threshold.
pub(crate) fn source(pipeline: &PipelineId, stage: &str, name: &str) -> Source {
    Source {
        name: name.into(),
        question: QuestionId::new(pipeline, stage, name),
        origin: "redis:6379".into(),
        poll_interval: Duration::from_secs(2),
        activation: 0.0,
        per_replica: None,
        topics: Vec::new(),
    }
}

/// Enforced, 1 to 40 replicas, without an objective.
pub(crate) fn stage(name: &str, target: TargetId, sources: Vec<Source>) -> Stage {
    Stage {
        name: name.into(),
        mode: Mode::Enforce,
        after: Vec::new(),
        target,
        lanes: Vec::new(),
        min: 1,
        max: 40,
        idle: None,
        pinned: None,
        max_delay: None,
        done_by: None,
        prefer: Prefer::default(),
        is_default_objective: false,
        is_forecast: true,
        packs: false,
        holds: false,
        is_dear: false,
        headroom: None,
        rate_hint: None,
        startup_hint: None,
        on_silence: OnSilence::Hold,
        sources,
        combine: None,
        schedules: Vec::new(),
        gates: Vec::new(),
        behaviour: Behaviour::default(),
        fallback: Fallback { after: Duration::from_mins(2), policy: FallbackPolicy::Hold },
    }
}

/// Of one stage.
pub(crate) fn pipeline(id: PipelineId, stage: Stage) -> Pipeline {
    Pipeline {
        id,
        uid: "pipeline-uid".into(),
        generation: 1,
        pause: Pause::default(),
        priority: 0,
        stages: vec![stage],
    }
}

/// So many replicas, all Ready; since when is not known. The scale is ours and written by apply.
pub(crate) fn workload(uid: &str, replicas: u32) -> Workload {
    Workload {
        uid: uid.into(),
        resource_version: "1".into(),
        desired: replicas,
        current: replicas,
        ready: replicas,
        ready_since: None,
        writing: Writing::Apply,
        read_at: Timestamp::UNIX_EPOCH,
        is_ours: true,
        hpa: None,
        cpu: None,
        jobs: None,
        lanes: Vec::new(),
    }
}

/// One stage over two lanes: two replicas on nodes that are kept, and of those above seven in ten on spot; ten items a replica.
pub(crate) fn two_lanes() -> Pipeline {
    let id = id("orders");
    let todo = Source { per_replica: Some(10.0), ..source(&id, "sink", "todo") };
    let lane = |pool: &str, base, share, fallback_to| {
        let name = format!("sink-{pool}");
        Lane { pool: pool.into(), base, share, fallback_to, target: deployment(&name) }
    };
    let at_once = Rules { window: Some(Duration::ZERO), ..Rules::default() };
    let split = Stage {
        lanes: vec![lane("kept", 2, None, None), lane("spot", 0, Some(70), Some(0))],
        min: 2,
        on_silence: OnSilence::Follow,
        behaviour: Behaviour { up: at_once.clone(), down: at_once },
        ..stage("sink", deployment("sink-kept"), vec![todo])
    };
    pipeline(id, split)
}

/// A pool of three nodes that nothing is held against.
pub(crate) fn pool(name: &str, class: Class) -> PoolSeen {
    let pool = Pool {
        name: name.into(),
        class,
        notice: Duration::from_mins(2),
        probe: Duration::from_mins(10),
        longest_probe: Duration::from_hours(1),
        tariff: Tariff::default(),
    };
    PoolSeen {
        pool: Arc::new(pool),
        nodes: 3,
        newest: None,
        boot: None,
        signs: Vec::new(),
        full: None,
        cpu: None,
        lanes: Vec::new(),
        recalled: None,
    }
}

/// What a lane shows of its pool: since when a pod of it waits, and since when its youngest is Ready.
pub(crate) fn need(lane: &Lane, waiting: Option<Timestamp>, ready: Option<Timestamp>) -> LaneNeed {
    let target = lane.target.clone();
    LaneNeed { target, waiting, served: ready, placed: ready, signs: Vec::new() }
}

/// A quota of so many pods, none of which others have, and its name.
pub(crate) fn quota_of_pods(pods: f64) -> (Arc<str>, Arc<Budget>) {
    let name: Arc<str> = "shop/pods".into();
    let quota = Budget {
        name: Arc::clone(&name),
        cost_per_hour: None,
        cores: None,
        is_enforced: true,
        rooms: vec![Room { of: Thing::Pods, hard: pods, left: pods }],
    };
    (name, Arc::new(quota))
}
