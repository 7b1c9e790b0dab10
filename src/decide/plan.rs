//! All that decide may ask of the world, and what the world answered.
//! `act` carries a [`Plan`] out and returns an [`Outcome`] for each action; the simulator does the same in virtual time.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::{BudgetVerdict, Grip, LaneVerdict, Method, PoolVerdict, RoomVerdict, Term};
use super::pipeline::{PipelineId, TargetId};
use super::reason::Reason;
use super::snapshot::{FinishedJob, Writing};

/// Which stage of which pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Index in flow order.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
}

impl std::fmt::Display for StageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} stage {}", self.pipeline, self.name)
    }
}

/// What a turn asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One verdict for each stage of each due pipeline.
    pub verdicts: Vec<Verdict>,
    /// What is to be done; at most one action for each target.
    pub actions: Vec<Action>,
    /// Decisions that broke a promise of our own: never outside bounds, never down without fresh data. Counted and not carried
    /// out; always 0 unless Penstock has a bug.
    #[serde(default)]
    pub violations: u32,
    /// Servers that are doubted from this turn on: one alarm each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubted: Vec<Doubted>,
    /// What is believed of each pool of nodes that is described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolVerdict>,
    /// How each budget fares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetVerdict>,
    /// When to look again at pipelines that have no verdict, since they cannot be decided on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<(PipelineId, Timestamp)>,
}

/// A server that is doubted, since many of the pipelines that ask it fell silent within one poll. None of them goes down until then,
/// or until enough of them are heard again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubted {
    /// The server, as [`Source::origin`](super::Source::origin) names it.
    pub origin: Arc<str>,
    /// Pipelines that fell silent together.
    pub silent: u32,
    /// Pipelines that ask it.
    pub of: u32,
    /// Until when nothing is concluded from their silence.
    pub until: Timestamp,
}

/// What was decided for a stage, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The stage.
    pub stage: StageId,
    /// Replicas it should have; `None` when its target is not known.
    pub replicas: Option<u32>,
    /// Every phase that had a say, in order; the last one bound.
    pub why: Vec<Reason>,
    /// The signals it rests on.
    pub signals: Signals,
    /// A down window that keeps more than is wished: how many, since when.
    pub held: Option<(u32, Timestamp)>,
    /// When to think again even if nothing happens: a window ends, a hold expires.
    pub next: Option<Timestamp>,
    /// What is odd, though it need not bind the count: one sick consumer, replicas that get less done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Reason>,
    /// How its replicas are shared out over its lanes, in their order; empty without lanes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneVerdict>,
    /// Room that is kept on nodes, for the stage or for each of its lanes; empty where none is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<RoomVerdict>,
}

impl Verdict {
    /// The reason that bound: the last.
    pub fn reason(&self) -> Option<&Reason> {
        self.why.last()
    }

    /// Does the stage wait to learn how fast its pods work? Then each commit tells more the sooner it is read.
    pub fn hangs_on_commits(&self) -> bool {
        self.why.iter().any(|reason| matches!(reason, Reason::Learning { .. }))
    }
}

/// What a stage's sources come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Items waiting, over all sources; `None` when unknown.
    pub lag: Option<u64>,
    /// Age of the oldest item not yet served, in seconds; `None` when unknown.
    pub delay: Option<f64>,
    /// True when the oldest item is older than we have watched, so that `delay` is the least it can be.
    #[serde(default)]
    pub is_delay_at_least: bool,
    /// Items a second that arrive.
    pub arrival_rate: Option<f64>,
    /// Items a second that will arrive when pods asked for now are at work; `None` while no forecast has proved better than the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_rate: Option<f64>,
    /// Items a second that one replica gets through, learned or hinted.
    pub rate_per_replica: Option<f64>,
    /// And what one got through that had more CPU or less, until the present ones have shown what they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_rate: Option<f64>,
    /// Seconds from a write to Ready, learned or hinted.
    pub startup: Option<f64>,
    /// Seconds a group pauses when its members change, learned.
    pub rebalance: Option<f64>,
    /// The delay this stage must keep, in seconds.
    pub objective: Option<f64>,
    /// Finest delay that can be seen: commit interval, poll and rebalance, in seconds.
    pub resolution: Option<f64>,
    /// Partitions of its sources, 0 when they have none.
    pub partitions: u32,
    /// Was every source fresh?
    pub is_fresh: bool,
    /// Since when it has been blind, if it is.
    pub blind_since: Option<Timestamp>,
    /// When a batch is to be done; in the past while it is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_by: Option<Timestamp>,
    /// Is the batch not done though it should be?
    #[serde(default)]
    pub is_overdue: bool,
}

/// A change of the world. Closed list: a new one does not compile until `act` and the simulator know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Set the replica count. Inverse: the same with the counts swapped. Idempotent: it states a count. A crash leaves the
    /// old or the new count, and the next turn reads which.
    Scale(Scale),
    /// Apply the present count without force, so that we own it and others may drop it. Inverse: none is needed, owning
    /// harms nobody. Idempotent. A crash leaves it owned or not.
    Claim(Scale),
    /// Make Jobs up to a count, and remove finished ones beyond the history limits. Inverse: none, work that began is let end.
    /// Idempotent: the names follow from what was seen, so a second one of the same sight makes none. A crash leaves some of them
    /// made; the next turn counts those.
    StartJobs(StartJobs),
    /// Say which pods a step down shall take, by their deletion costs. Inverse: the same without costs. Idempotent: it states what each
    /// pod costs. A crash leaves some of them told; the next turn tells the others, or takes away what no step needs.
    GiveUpFirst(GiveUpFirst),
    /// Hold who drains nodes to so many evictions of a workload's pods at a time, by a `PodDisruptionBudget`. Inverse: the same without one.
    /// Idempotent: it states what the budget says. A crash leaves the old or the new one; the next turn reads which, and loosens what is
    /// tight without need.
    HoldDrain(HoldDrain),
    /// Delete pods, with the time they may take to end, before their node ends. Inverse: none is needed, they would have ended with it.
    /// Idempotent: a pod goes once. A crash leaves some of them; the next turn sees those.
    LetGo(LetGo),
    /// Keep room on nodes for so many replicas, or for none any more. Inverse: the same with the counts swapped. Idempotent: it states what
    /// one object of ours shall be, and its name follows from the stage. A crash leaves the old or the new; the next turn sees which. The
    /// object goes with the pipeline.
    Reserve(Reserve),
}

/// What of a workload an action changes. Those that change different things do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// How many pods there are, and which of them go when there are to be fewer.
    Count,
    /// How many of them may be evicted.
    Drain,
    /// Some of its pods themselves.
    Pods,
    /// Room on nodes for pods to come.
    Room,
}

impl Action {
    /// What of the workload it changes.
    pub fn concern(&self) -> Concern {
        match self {
            Self::Scale(_) | Self::Claim(_) | Self::StartJobs(_) | Self::GiveUpFirst(_) => {
                Concern::Count
            }
            Self::HoldDrain(_) => Concern::Drain,
            Self::LetGo(_) => Concern::Pods,
            Self::Reserve(_) => Concern::Room,
        }
    }

    /// The write it comes to, to be changed.
    pub(super) fn scale_mut(&mut self) -> &mut Scale {
        match self {
            Self::Scale(scale) | Self::Claim(scale) => scale,
            Self::StartJobs(jobs) => &mut jobs.scale,
            Self::GiveUpFirst(told) => &mut told.scale,
            Self::HoldDrain(hold) => &mut hold.scale,
            Self::LetGo(gone) => &mut gone.scale,
            Self::Reserve(reserve) => &mut reserve.scale,
        }
    }

    /// The write it comes to.
    pub fn scale(&self) -> &Scale {
        match self {
            Self::Scale(scale) | Self::Claim(scale) => scale,
            Self::StartJobs(jobs) => &jobs.scale,
            Self::GiveUpFirst(told) => &told.scale,
            Self::HoldDrain(hold) => &hold.scale,
            Self::LetGo(gone) => &gone.scale,
            Self::Reserve(reserve) => &reserve.scale,
        }
    }
}

/// Jobs to be made from a CronJob's template, and finished ones to be removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartJobs {
    /// For whom, of what, and how many: `to` less `from` Jobs are made.
    pub scale: Scale,
    /// The number in the name of the first of them.
    pub first: u64,
    /// Finished Jobs to be removed.
    pub remove: Vec<FinishedJob>,
}

/// Pods that a step down shall take before others, or that it shall not any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GiveUpFirst {
    /// For whom, of what; the count stays as it is.
    pub scale: Scale,
    /// What is to be written.
    pub costs: Vec<PodCost>,
}

/// What a pod shall cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCost {
    /// Its name.
    pub pod: Arc<str>,
    /// The `resourceVersion` that was seen: another hand's cost that came since is left alone.
    pub version: u64,
    /// The lower, the sooner it goes; `None` takes the cost away.
    pub cost: Option<i32>,
}

/// A `PodDisruptionBudget` that is to be made, to say something else, or to go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldDrain {
    /// For whom, of what; the count stays as it is.
    pub scale: Scale,
    /// Its name.
    pub budget: Arc<str>,
    /// uid of the one that is there; `None` makes one.
    pub uid: Option<Arc<str>>,
    /// `resourceVersion` it was seen at.
    pub version: Option<Arc<str>>,
    /// How many may be evicted; `None` takes the budget away.
    pub grip: Option<Grip>,
    /// Whose evictions.
    pub selector: Vec<Term>,
    /// uid of the pipeline, with which it goes.
    pub owner: Arc<str>,
}

/// Pods that are to end before their node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetGo {
    /// For whom, of what; the count stays as it is.
    pub scale: Scale,
    /// Which ones.
    pub pods: Vec<PodSeen>,
}

/// A pod, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSeen {
    /// Its name.
    pub pod: Arc<str>,
    /// The `resourceVersion` that was seen: another pod of this name, and one that moved since, is left alone.
    pub version: u64,
}

/// Room on nodes for replicas to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// Of the object that stands for the room: its uid, empty while there is none, and replicas. With 0 of them it is taken away.
    pub scale: Scale,
    /// The workload whose pods the room is for.
    pub of: TargetId,
    /// How it is kept.
    pub method: Method,
    /// uid of the pipeline, with which the object goes.
    pub owner: Arc<str>,
    /// The revision of the workload that is there, where that is known.
    pub revision: Option<Arc<str>>,
    /// Is its shape to be taken from the workload anew, and not its count alone?
    pub is_reshaped: bool,
}

/// A write to `/scale`, with all that it was decided on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// For whom.
    pub stage: StageId,
    /// The pool of the lane it is of, if the stage has lanes: then the counts are the lane's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Arc<str>>,
    /// Of what.
    pub target: TargetId,
    /// uid it was decided on.
    pub uid: Arc<str>,
    /// `resourceVersion` it was decided on.
    pub resource_version: Arc<str>,
    /// How to write.
    pub writing: Writing,
    /// Count before.
    pub from: u32,
    /// Count wanted.
    pub to: u32,
    /// Take the field from another owner? Only after evidence, and once.
    pub force: bool,
    /// Why, for the event.
    pub why: Reason,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was tried.
    pub action: Action,
    /// When the answer came.
    pub at: Timestamp,
    /// How it ended.
    pub result: Ending,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ending {
    /// The API server took it; the object's `resourceVersion` is now this.
    Done {
        /// As the answer said; a cache older than this is not decided on.
        resource_version: Arc<str>,
    },
    /// Someone else owns the replica count.
    Conflict {
        /// Who.
        writer: ForeignWriter,
    },
    /// The object moved since it was read: read, and decide anew.
    Outdated,
    /// The object is gone, or another of its name has come.
    Gone,
    /// Refused, and why: rights, admission, quota, validation. Lasting.
    Refused {
        /// HTTP status.
        code: u16,
        /// As the API server said it, cut at 256 bytes.
        message: String,
    },
    /// Nobody can tell whether it was carried out: read before anything else.
    Unknown {
        /// What went wrong.
        message: String,
    },
    /// It never left: we do not hold the lease, or it was too old.
    NotSent {
        /// Why.
        message: String,
    },
}

impl Ending {
    /// Its word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Done { .. } => "Done",
            Self::Conflict { .. } => "Conflict",
            Self::Outdated => "Outdated",
            Self::Gone => "Gone",
            Self::Refused { .. } => "Refused",
            Self::Unknown { .. } => "Unknown",
            Self::NotSent { .. } => "NotSent",
        }
    }
}

/// Who else writes a replica count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignWriter {
    /// Field manager, for example `kubectl`, `argocd-controller`, `kustomize-controller`.
    pub manager: Arc<str>,
    /// True for an Apply manager (Flux, Argo CD), which will come back; false for an Update one (kubectl, Helm, a hand).
    pub applies: bool,
}
