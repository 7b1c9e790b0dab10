//! All that is known at one instant: what people asked for, what runs, and what the queues say.
//! Put together by the daemon from `watch`, `observe` and `act`; the only input of decide besides its memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::{Budget, Draining, LaneSeen, PerReplica, PoolSeen, Reserves, Standing};
use super::field::Field;
use super::pipeline::{Pipeline, PipelineId, QuestionId, TargetId};
use super::plan::{Concern, Outcome};

/// One instant. `at` comes from a clock that never jumps: wall time at start plus monotonic time since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// Now.
    pub at: Timestamp,
    /// Do we hold the lease? A standby decides and learns all the same, but the moves it sees are the leader's, not a stranger's.
    pub may_act: bool,
    /// The pipelines to decide on, each with what is known of its targets.
    pub due: Vec<Situation>,
    /// The latest answer to each question of the due pipelines. A missing key means that nobody answered yet.
    pub observations: BTreeMap<QuestionId, Observation>,
    /// Every pool of nodes that is described, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<Arc<str>, PoolSeen>,
    /// Every budget, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub budgets: BTreeMap<Arc<str>, Arc<Budget>>,
    /// The pipelines that cannot be decided on, and hold drains all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adrift: Vec<Adrift>,
}

/// A pipeline that cannot be decided on, since nobody understands what was written, and what it left behind while it could.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Adrift {
    /// Which one.
    pub pipeline: PipelineId,
    /// uid of the object.
    pub uid: Arc<str>,
    /// What is known of the evictions of its pods: its budgets, and no workload.
    pub draining: Draining,
    /// What happened to the writes since the last turn.
    pub outcomes: Vec<(usize, Outcome)>,
}

/// One pipeline and its targets, at this instant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Situation {
    /// What is asked for.
    pub pipeline: Arc<Pipeline>,
    /// What is known of each stage's target, in stage order.
    pub targets: Vec<Target>,
    /// What happened to the writes since the last turn, by stage index.
    pub outcomes: Vec<(usize, Outcome)>,
    /// What status remembers from before this process started, in stage order; empty when there is nothing.
    pub recalled: Vec<Option<Recalled>>,
    /// Names of the budgets over its namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Arc<str>>,
    /// What one replica of each stage uses, in stage order; empty where it shares nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_replica: Vec<PerReplica>,
    /// For how many replicas of each stage there are pods, those of a rollout and those on their way out among them; empty where no budget
    /// asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub present: Vec<u32>,
    /// Where the pods stand of those workloads whose going empties nodes, or for which room is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standing: Vec<(TargetId, Standing)>,
    /// What is known of the evictions of its pods; `None` while nobody holds any back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// What stands for room that is kept for its stages.
    #[serde(default)]
    pub reserves: Reserves,
    /// Does the API server know `CapacityBuffer`s, and may they be read?
    #[serde(default)]
    pub serves_buffers: bool,
}

/// What a stage learned in an earlier life, as its status kept it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// Items a second of one replica.
    pub rate_per_replica: Option<f64>,
    /// The same of pods that had more CPU or less than those that ran then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_rate: Option<f64>,
    /// From a write to Ready.
    pub startup: Option<Duration>,
    /// Pause of a group when its members change.
    pub rebalance: Option<Duration>,
    /// A down window that was open: this many replicas are kept since then.
    pub held: Option<(u32, Timestamp)>,
}

/// What is known of a stage's workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Its kind or object has not been looked up yet: hold, without a complaint.
    Unseen,
    /// It cannot be scaled, and why: hold, Ready=False.
    Unusable(Unusable),
    /// It is there.
    Seen(Workload),
}

/// Why a target cannot be scaled. Lasting: someone must mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unusable {
    /// The API server does not know this kind.
    UnknownKind,
    /// The kind has no `/scale`.
    NotScalable,
    /// No object of this name.
    NotFound,
    /// We may not read or write it; the text names verb and resource.
    Forbidden(String),
    /// Another pipeline names the same target and came first.
    TakenBy(String),
    /// Its kind has a safe lever, but this object does not offer it: what is in the way, perhaps with a hint.
    NoLever(String),
}

/// A workload that is there. Counts are as the API server gave them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// uid it was read at.
    pub uid: Arc<str>,
    /// `resourceVersion` of the object it was read at; a write carries it.
    pub resource_version: Arc<str>,
    /// `spec.replicas` of its `/scale`.
    pub desired: u32,
    /// `status.replicas` of its `/scale`: pods that exist.
    pub current: u32,
    /// Of those, pods that are Ready. Equal to `current` where the pods cannot be told (no label selector).
    pub ready: u32,
    /// When the youngest of the Ready pods became so.
    pub ready_since: Option<Timestamp>,
    /// How its count wants to be written.
    pub writing: Writing,
    /// When its `/scale` was read; after a write of unknown outcome nothing is decided on an older reading.
    pub read_at: Timestamp,
    /// Do we already own the replica count (server-side apply)?
    pub is_ours: bool,
    /// A HorizontalPodAutoscaler that names it, if any.
    pub hpa: Option<Arc<str>>,
    /// What runs are Jobs, and this is known of them. Then `desired` and `current` are the Jobs that run, and `ready` those of them with a
    /// Ready pod; there is no `/scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Box<JobsSeen>>,
    /// What its Ready pods have of CPU; `None` where none is Ready, or nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// It is several workloads, one for each lane, in the order of the stage's lanes. See [`Workload::of_lanes`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneSeen>,
}

/// What a pod may use of CPU, in the mean of some: thousandths of a core, 0 where nothing is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// What it requests.
    pub request: u32,
    /// What it is limited to.
    pub limit: u32,
}

/// What is known of the Jobs that were made from one CronJob's template. A Job runs from the moment it is made until it is Complete or
/// Failed, whether its pods have started or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsSeen {
    /// The number in the name of the next Job: one above all that are there.
    pub next: u64,
    /// When each Job that ended of late was seen to have ended, oldest first. Its work may still count in a reading made before.
    pub ended: Vec<Timestamp>,
    /// When the oldest Job that runs was made.
    pub oldest: Option<Timestamp>,
    /// How long a Job is at work, as those that were completed show; `None` before the first.
    pub life: Option<Duration>,
    /// From being made to its first Ready pod, for the Job that became Ready last.
    pub startup: Option<Duration>,
    /// Finished Jobs for which the history limits leave no room, oldest first; a few of them when there are many.
    pub surplus: Vec<FinishedJob>,
    /// Is the CronJob not suspended, so that it makes Jobs of its own as well?
    pub is_scheduled: bool,
    /// The Jobs that ended last, if all of them failed.
    pub failing: Option<Failing>,
}

/// A Job that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedJob {
    /// Its name.
    pub name: Arc<str>,
    /// Its uid: another Job of this name is left alone.
    pub uid: Arc<str>,
}

/// Jobs that failed one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// How many in a row.
    pub jobs: u32,
    /// What the last of them said: reason and message of its condition, cut short.
    pub message: Arc<str>,
    /// When the last of them was seen to have failed.
    pub at: Timestamp,
}

/// How a count wants to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writing {
    /// Server-side apply of `/scale`: the built-in workloads.
    Apply,
    /// JSON merge patch of `/scale`: custom resources, whose `/scale` refuses apply.
    Merge,
    /// JSON patch of the object itself: kinds whose safe lever is not `/scale`.
    Field(Arc<Field>),
}

/// The answer to one question. Only `Fresh` may lower a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Observation {
    /// Complete, and young enough.
    Fresh(Arc<Reading>),
    /// Some of it is missing; what is there may raise.
    Partial(Arc<Reading>, Lost),
    /// It was complete once; this is how old it is, and why no newer one came.
    Stale(Arc<Reading>, Missing),
    /// Nothing, and why.
    Failed(Missing),
}

impl Observation {
    /// The reading, however good.
    pub fn reading(&self) -> Option<&Arc<Reading>> {
        match self {
            Self::Fresh(reading) | Self::Partial(reading, _) | Self::Stale(reading, _) => {
                Some(reading)
            }
            Self::Failed(_) => None,
        }
    }

    /// May this one lower a stage?
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

/// What a partial reading lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Partitions without an answer.
    pub partitions: u32,
    /// Of so many.
    pub of: u32,
    /// What the server said of the first of them.
    pub error: Arc<str>,
}

/// Why there is no (newer) reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// CamelCase word for conditions, events and metrics, for example `UnknownTopic`.
    pub label: Arc<str>,
    /// What failed and where, lower case, without secrets, perhaps with a hint.
    pub message: Arc<str>,
    /// True when someone must change something; false when waiting may do.
    pub is_lasting: bool,
    /// Since when nothing complete has come.
    pub since: Timestamp,
}

/// What a source said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was read.
    pub at: Timestamp,
    /// What it holds.
    pub value: Value,
}

/// What a source can hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Items wait in a queue.
    Queue(Queue),
    /// A bare number, for thresholds.
    Gauge(#[serde(with = "super::number")] f64),
    /// How old something is, in seconds: a number for thresholds, and a delay for the objective.
    Age(#[serde(with = "super::number")] f64),
    /// Numbers by name: what nodes cost. Asked for pools of nodes; no source of a stage says such a thing.
    Each(BTreeMap<Arc<str>, f64>),
}

/// A queue. Where it has partitions, they say everything; the sums are theirs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Items waiting.
    pub backlog: u64,
    /// Items that ever arrived (a counter), where the source counts them: Σ end offsets.
    pub arrived: Option<u64>,
    /// Items that were ever taken (a counter), where the source counts them: Σ committed offsets.
    pub served: Option<u64>,
    /// When `served` was read; it may be older than the reading, since commits have a slower cadence than ends.
    pub served_at: Option<Timestamp>,
    /// Measured time between two commits of the consumers, once known.
    pub commit_interval: Option<Duration>,
    /// Partitions; empty for a queue that has none.
    pub partitions: Vec<Partition>,
    /// Partitions that have something in them and no committed offset, and count 0 all the same: `offsetReset: Latest`.
    pub uncommitted: u32,
}

/// One partition of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Index of its topic in the question's list.
    pub topic: u16,
    /// Partition number.
    pub id: i32,
    /// Log end: the next offset to be written (the last stable offset under `ReadCommitted`).
    pub end: i64,
    /// Where the consumers stand: max(committed, log start), or what `offsetReset` makes of no commit.
    pub position: i64,
    /// Had the group committed here?
    pub is_committed: bool,
    /// Which consumer of the group holds it: an index that is the same for all partitions of one consumer, and stable while the
    /// membership is; `None` when nobody does or nobody can tell.
    #[serde(default)]
    pub owner: Option<u32>,
}

impl Partition {
    /// Items waiting in it.
    pub fn lag(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.position)).unwrap_or(0)
    }
}

impl Snapshot {
    /// An instant at which nothing is due and nothing is known.
    pub fn of(at: Timestamp, may_act: bool) -> Self {
        Self {
            at,
            may_act,
            due: Vec::new(),
            observations: BTreeMap::new(),
            pools: BTreeMap::new(),
            budgets: BTreeMap::new(),
            adrift: Vec::new(),
        }
    }
}

impl Situation {
    /// Is there a stage of this name, and the budget or quota over it?
    pub(super) fn is_under(&self, budget: &str, stage: &str) -> bool {
        let is_over = self.budgets.iter().any(|name| **name == *budget);
        is_over && self.pipeline.stages.iter().any(|it| *it.name == *stage)
    }

    /// Is there a stage of this name with a lane on the pool?
    pub(super) fn has_lane(&self, stage: &str, pool: &str) -> bool {
        let mut stages = self.pipeline.stages.iter().filter(|it| *it.name == *stage);
        stages.any(|stage| stage.lanes.iter().any(|lane| *lane.pool == *pool))
    }

    /// A pipeline of whose targets nothing is known yet, that no budget is over.
    pub fn of(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            targets: Vec::new(),
            outcomes: Vec::new(),
            recalled: Vec::new(),
            budgets: Vec::new(),
            per_replica: Vec::new(),
            present: Vec::new(),
            standing: Vec::new(),
            draining: None,
            reserves: Reserves::Unseen,
            serves_buffers: false,
        }
    }

    /// The same pipeline after a turn that failed; `None` when there is nothing it could have left behind.
    pub(super) fn adrift(&self) -> Option<Adrift> {
        let draining = self.draining.clone()?;
        Some(Adrift {
            pipeline: self.pipeline.id.clone(),
            uid: Arc::clone(&self.pipeline.uid),
            draining,
            outcomes: self.outcomes.clone(),
        })
    }

    /// What became of the writes of a stage that concern this.
    pub(super) fn ended(&self, index: usize, concern: Concern) -> impl Iterator<Item = &Outcome> {
        let of = move |(of, outcome): &&(usize, Outcome)| {
            *of == index && outcome.action.concern() == concern
        };
        self.outcomes.iter().filter(of).map(|(_, outcome)| outcome)
    }
}
