//! The plainest of what a turn is about: a source, a stage, its pipeline, its target as it stands. A test says only what differs.

use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Behaviour, Fallback, FallbackPolicy, Mode, OnSilence, Pause, Pipeline, PipelineId, Prefer,
    QuestionId, Source, Stage, TargetId, Workload, Writing,
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
