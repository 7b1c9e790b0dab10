//! A pipeline as it is meant: checked, every optional given its value, nothing left to guess.
//! Made by `crd::meaning`, the only crossing from what was written; read by every phase of decide.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::formula::Formula;
use super::gate::Gate;
use super::schedule::Schedule;

/// Which pipeline: its namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PipelineId {
    /// Namespace of the `ScaledPipeline`.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl std::fmt::Display for PipelineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One question put to one source. Its text is `namespace/pipeline/stage/source`, so that a record can be read by eye; one that no
/// pipeline asks begins with a slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuestionId(pub Arc<str>);

/// How the text of a question for prices begins.
const PRICES: &str = "/prices/";

impl QuestionId {
    /// The question that this source of this stage stands for.
    pub fn new(pipeline: &PipelineId, stage: &str, source: &str) -> Self {
        Self(format!("{pipeline}/{stage}/{source}").into())
    }

    /// What nodes cost, asked of this `ClusterConnection` for the pools that name it.
    pub fn prices(connection: &str) -> Self {
        Self(format!("{PRICES}{connection}").into())
    }

    /// The pipeline whose question this is; `None` for one that is asked for pools.
    pub fn pipeline(&self) -> Option<PipelineId> {
        let (namespace, rest) =
            self.0.split_once('/').filter(|(namespace, _)| !namespace.is_empty())?;
        Some(PipelineId { namespace: namespace.into(), name: rest.split('/').next()?.into() })
    }

    /// The `ClusterConnection` that is asked what nodes cost; `None` for any other question.
    pub fn priced_by(&self) -> Option<&str> {
        self.0.strip_prefix(PRICES)
    }
}

impl std::fmt::Display for QuestionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pipeline, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Which one.
    pub id: PipelineId,
    /// uid of the object, so that a deleted and recreated one starts afresh.
    pub uid: Arc<str>,
    /// Generation this was read from.
    pub generation: i64,
    /// What the annotations say.
    pub pause: Pause,
    /// Who is served first when a budget is short: the higher.
    #[serde(default)]
    pub priority: i32,
    /// In flow order.
    pub stages: Vec<Stage>,
}

impl Pipeline {
    /// By which word of its owner nothing is written for a stage, as a code of reasons. A count that is pinned is written all the same.
    pub fn withholds(&self, stage: &Stage) -> Option<&'static str> {
        match stage.mode {
            Mode::Observe => Some("Observed"),
            Mode::Enforce if self.pause.all && stage.pinned.is_none() => Some("Paused"),
            Mode::Enforce => None,
        }
    }
}

/// What the pause annotations ask for. Level-triggered: nothing of it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "four annotations, each there or not")]
pub struct Pause {
    /// `penstock.dev/paused`: write nothing.
    pub all: bool,
    /// `penstock.dev/paused-scale-in`: never fewer.
    pub scale_in: bool,
    /// `penstock.dev/paused-scale-out`: never more.
    pub scale_out: bool,
    /// `penstock.dev/force-activation`: never zero.
    pub force_activation: bool,
}

/// One step of a pipeline: a workload and the queues it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the owner's, there or not")]
pub struct Stage {
    /// Unique in the pipeline.
    pub name: Arc<str>,
    /// May anything be written for it?
    pub mode: Mode,
    /// Indices of the stages that feed this one, each smaller than its own.
    pub after: Vec<usize>,
    /// The workload; of a stage with lanes, that of its first.
    pub target: TargetId,
    /// Several workloads on one queue, each on its own kind of node; empty where there is one workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// Do the pods go first whose going empties a node?
    #[serde(default)]
    pub packs: bool,
    /// Do evictions of its pods wait until replacements are Ready?
    #[serde(default)]
    pub holds: bool,
    /// Do its pods lead, or hold state that is dear to rebuild? No other takes over from such a one.
    #[serde(default)]
    pub is_dear: bool,
    /// Is room kept on nodes ahead of need? `None`: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headroom: Option<Headroom>,
    /// Never fewer than this, `idle` and pause apart.
    pub min: u32,
    /// Never more than this.
    pub max: u32,
    /// What to keep when nothing arrives; `None` leaves zero to `min`.
    pub idle: Option<Idle>,
    /// `penstock.dev/paused-replicas` for this stage: keep exactly this many.
    pub pinned: Option<u32>,
    /// The delay to keep; `None` when only thresholds size this stage.
    pub max_delay: Option<Duration>,
    /// A batch: the queues are to be empty by then, at the least cost. Then there is no delay to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_by: Option<DoneBy>,
    /// What to lean to when delay and cost pull apart.
    #[serde(default)]
    pub prefer: Prefer,
    /// True when nobody wrote an objective or a threshold, so that the default is in force, or a share of it.
    pub is_default_objective: bool,
    /// Are arrivals forecast, where that has proved better than the present level?
    #[serde(default = "yes")]
    pub is_forecast: bool,
    /// Hint: items a second that one replica gets through.
    pub rate_hint: Option<f64>,
    /// Hint: seconds from a write to Ready.
    pub startup_hint: Option<Duration>,
    /// What to do when arrivals stop all at once.
    pub on_silence: OnSilence,
    /// What is read for it. Empty means there is nothing to size it by, and it is held.
    pub sources: Vec<Source>,
    /// What makes one number of what the sources want, over their names; `None` for the usual rule, the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Formula>,
    /// Bounds by the calendar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// Conditions under which it is held as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Hard limits, HPA v2 words; what was not written is `None`.
    pub behaviour: Behaviour,
    /// What to do when nothing is known for long.
    pub fallback: Fallback,
}

/// Room kept on nodes ahead of need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headroom {
    /// Replicas that room is kept for at most, in all lanes together; `None` is no limit.
    pub most: Option<u32>,
}

/// Records from before arrivals were forecast say nothing of it.
fn yes() -> bool {
    true
}

/// A time of day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoneBy {
    /// Hour, 0 to 23.
    pub hour: i8,
    /// Minute, 0 to 59.
    pub minute: i8,
    /// Where it is that time.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub zone: TimeZone,
}

impl Stage {
    /// The objective where nobody wrote one.
    pub const DEFAULT_OBJECTIVE: Duration = Duration::from_mins(1);

    /// Everything that is read for it: its sources, then its gates.
    pub fn heard(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().chain(self.gates.iter().map(|gate| &gate.source))
    }

    /// The workloads it scales: its target, or that of each lane.
    pub fn targets(&self) -> impl Iterator<Item = &TargetId> {
        let one = self.lanes.is_empty().then_some(&self.target);
        one.into_iter().chain(self.lanes.iter().map(|lane| &lane.target))
    }
}

/// One of several workloads of a stage. All serve the same queue; they differ in the nodes they run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Name of the pool of nodes it runs on, unique in the stage.
    pub pool: Arc<str>,
    /// Replicas it gets before anything is shared out.
    pub base: u32,
    /// Its share of what is above the bases, in per cent; `None` is an equal part of what the others leave.
    pub share: Option<u32>,
    /// Index of the lane that takes over when its nodes cannot be had.
    pub fallback_to: Option<usize>,
    /// Its workload.
    pub target: TargetId,
}

/// The workload of a stage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId {
    /// For example `apps/v1`.
    pub api_version: Arc<str>,
    /// For example `Deployment`.
    pub kind: Arc<str>,
    /// The pipeline's own namespace: a target never lies in another.
    pub namespace: Arc<str>,
    /// Name of the object.
    pub name: Arc<str>,
    /// Which of several counts of the object: a worker group, a key; `None` for the kinds that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Arc<str>>,
}

impl TargetId {
    /// An object as a whole.
    pub fn object(namespace: &Arc<str>, api_version: &str, kind: &str, name: &str) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Arc::clone(namespace),
            name: name.into(),
            part: None,
        }
    }

    /// The CronJob whose template Jobs are made from.
    pub fn cron_job(namespace: &Arc<str>, name: &str) -> Self {
        let (api_version, kind) = CRON_JOB;
        Self::object(namespace, api_version, kind, name)
    }

    /// The object, whatever the part.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { part: None, ..self.clone() }
    }

    /// Are both of one object?
    pub fn is_of(&self, other: &Self) -> bool {
        self.name == other.name
            && self.namespace == other.namespace
            && self.kind == other.kind
            && self.api_version == other.api_version
    }

    /// Is it the CronJob whose template Jobs are made from? Then replicas are running Jobs.
    pub fn is_jobs(&self) -> bool {
        (&*self.api_version, &*self.kind) == CRON_JOB
    }

    /// Does it hold the template of its pods, by which room for one of them can be kept?
    pub fn has_template(&self) -> bool {
        &*self.api_version == "apps/v1"
            && matches!(&*self.kind, "Deployment" | "StatefulSet" | "ReplicaSet")
    }

    /// Does its controller take away first what costs least by `controller.kubernetes.io/pod-deletion-cost`? That of ReplicaSets does.
    pub fn chooses_by_cost(&self) -> bool {
        matches!(
            (&*self.api_version, &*self.kind),
            ("apps/v1", "Deployment" | "ReplicaSet") | ("v1", "ReplicationController")
        )
    }

    /// Does the API server itself know how many of its pods there should be, so that a budget may say how many may be lacking?
    pub fn is_counted(&self) -> bool {
        self.chooses_by_cost() || (&*self.api_version, &*self.kind) == ("apps/v1", "StatefulSet")
    }
}

/// API version and kind of what holds the template of Jobs.
pub const CRON_JOB: (&str, &str) = ("batch/v1", "CronJob");

impl std::fmt::Display for TargetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)?;
        if let Some(part) = &self.part {
            write!(f, " ({part})")?;
        }
        Ok(())
    }
}

/// Whether a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Decide, write, report.
    Enforce,
    /// Decide and report; write nothing to the workload.
    Observe,
}

/// What to keep when nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Replicas while idle, at most `min`.
    pub replicas: u32,
    /// How long nothing must have arrived or waited.
    pub after: Duration,
}

/// What a stage leans to between being early and being cheap, within its objective.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prefer {
    /// Fewer replicas and more moves: it falls behind whenever that saves anything.
    Cost,
    /// It falls behind for minutes at a time where that saves much.
    #[default]
    Balanced,
    /// It keeps up at all times.
    Latency,
}

/// What to do when arrivals stop all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnSilence {
    /// Keep what runs for a while: a dead producer returns with its backlog.
    Hold,
    /// Take silence at its word.
    Follow,
}

/// One source of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Unique in the stage.
    pub name: Arc<str>,
    /// What is asked.
    pub question: QuestionId,
    /// The server that is asked, as people know it; empty where there is none. Sources of one origin may fail together.
    #[serde(default)]
    pub origin: Arc<str>,
    /// How often it is asked.
    pub poll_interval: Duration,
    /// Wake from zero above this many items.
    pub activation: f64,
    /// Threshold: items for each replica.
    pub per_replica: Option<f64>,
    /// The topics it reads, where it reads topics: for words only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Arc<str>>,
}

/// HPA v2 `behavior`. A side that was not written is `None` and stays Penstock's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// `scaleUp`.
    pub up: Rules,
    /// `scaleDown`.
    pub down: Rules,
}

/// One direction of `behavior`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// `stabilizationWindowSeconds`, 0 to 3600; `None` when not written.
    pub window: Option<Duration>,
    /// `selectPolicy`; `Max` when not written.
    pub select: Select,
    /// `policies`; empty when not written.
    pub policies: Vec<Policy>,
    /// `tolerance`: a change smaller than this share of the present count is not made; `None` is 0.
    pub tolerance: Option<f64>,
}

/// Which of several policies counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// The one that allows most.
    #[default]
    Max,
    /// The one that allows least.
    Min,
    /// No change in this direction.
    Disabled,
}

/// A limit on the change within a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Pods, or per cent of what ran at the period's start.
    pub unit: Unit,
    /// How many of them, above 0.
    pub value: u32,
    /// The period, 1 s to 30 min.
    pub period: Duration,
}

/// Unit of a [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Replicas.
    Pods,
    /// Per cent of the count at the start of the period.
    Percent,
}

/// What to do when a stage's sources have not answered for `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Silence that is borne before the policy applies. Default 2 min.
    pub after: Duration,
    /// What then.
    pub policy: FallbackPolicy,
}

/// What a blind stage is given. Only `Static` and `AtMost` may lower: the owner wrote so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FallbackPolicy {
    /// Keep what there is.
    Hold,
    /// Exactly this many.
    Static(u32),
    /// No fewer than this many.
    AtLeast(u32),
    /// No more than this many.
    AtMost(u32),
}
