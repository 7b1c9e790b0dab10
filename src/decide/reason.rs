//! Why a stage has the replicas it has: one variant for each cause, one sentence each.
//! Condition, event, metric, page and `penstock explain` all say these codes, and the sentences that `words` gives them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::{Nodes, Room};
use super::pipeline::{PipelineId, Stage};
use super::snapshot::Unusable;

/// A cause. Its [`code`](Reason::code) is the CamelCase word of conditions, events and metrics; its `Display` the sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "a variant's fields are what its sentence names")]
pub enum Reason {
    // What was wished, and by whom.
    /// A threshold asks for this many.
    Threshold { source: String, lag: f64, per_replica: f64, wished: u32 },
    /// The arrivals and the backlog, worked off within the objective, ask for this many.
    CatchUp { lag: u64, delay: f64, objective: f64, rate: f64, wished: u32 },
    /// The arrivals alone ask for this many: the backlog is within the objective.
    KeepUp { arrivals: f64, rate: f64, wished: u32 },
    /// What the stages above are about to send asks for this many.
    KeepAhead { arrivals: f64, rate: f64, wished: u32 },
    /// So many times what arrives may come before new pods are at work: room for it is kept.
    KeepRoom { arrivals: f64, surge: f64, startup: f64, wished: u32 },
    /// Bursts are over before new pods are at work, and this many have been enough for them.
    KeepLevel { wished: u32, kept: u32 },
    /// What is usual at this time of day asks for this many, by when new pods are at work.
    Forecast { arrivals: f64, expected: f64, startup: f64, wished: u32 },
    /// A batch: the fewest that are done by then.
    InTime { lag: u64, by: Timestamp, rate: f64, wished: u32 },
    /// A batch that should have been done by then.
    Overdue { lag: u64, by: Timestamp, rate: f64, wished: u32 },
    /// A batch asleep: work gathers until it is worth a start, or the time is up. `work` in seconds of one replica.
    Gathering { replicas: u32, lag: u64, by: Timestamp, begins: Timestamp, work: f64 },
    /// A batch that waits for hours in which nodes cost less, and which are enough for it; prices in per cent of what is written.
    Cheaper { replicas: u32, lag: u64, by: Timestamp, begins: Timestamp, now: f64, then: f64 },
    /// The owner's expression over what each source wants.
    Combined { wants: Vec<(String, f64)>, wished: u32 },
    /// The owner's expression gives no count: what runs is kept.
    CombineFailed { message: String },
    /// The present count fits.
    Steady { delay: f64, objective: f64 },
    /// Fewer than keep up, for as long as the objective leaves room for what piles up.
    OnSlack { wished: u32, keeps_up: u32, arrivals: f64, delay: f64, objective: f64, lasts: f64 },
    /// No rate is known: run a few, watch them work, then jump.
    Learning { replicas: u32 },
    /// Something waits (or a first item came) and there are no replicas.
    Woken { source: String, items: u64 },
    /// There are no replicas, and the stages before it are about to send so many items a second.
    WokenAhead { arrivals: f64 },
    /// No load was ever heavy enough to show what a replica can do: try the next lower count and watch.
    Probing { replicas: u32, at_least: f64 },
    /// Kept: pods have other CPU than those that showed this rate, and take nothing away until they have shown their own.
    Relearning { wished: u32, rate: f64 },
    /// Not to zero: waking up takes longer than the objective allows.
    KeptAwake { objective: f64, wake: f64, replicas: u32 },
    /// Nothing waits and nothing arrives.
    Idle { since: Timestamp, replicas: u32 },
    /// More replicas than partitions would stand idle.
    PartitionBound { wished: u32, partitions: u32 },
    /// The next count that evens out the partitions.
    Breakpoint { wished: u32, partitions: u32, per_consumer: u32 },
    // What bounded it.
    /// `min` keeps it up.
    AtMin { wished: u32, min: u32 },
    /// `max` keeps it down.
    AtMax { wished: u32, max: u32 },
    /// A schedule's `min` keeps it up until then.
    AtScheduledMin { wished: u32, min: u32, schedule: String, until: Option<Timestamp> },
    /// A schedule's `max` keeps it down until then.
    AtScheduledMax { wished: u32, max: u32, schedule: String, until: Option<Timestamp> },
    /// Kept: it was needed within the down window.
    HeldByWindow { wished: u32, peak: u32, window: Duration },
    /// Kept: what was needed before Penstock started (or the topic was recreated) is not known, so it keeps for one window what
    /// it found.
    HeldSinceStart { wished: u32, kept: u32, until: Timestamp },
    /// Kept: an up window is open.
    HeldByUpWindow { wished: u32, lowest: u32, window: Duration },
    /// A policy of `behavior` lets it go no further now.
    LimitedByPolicy { wished: u32, limit: u32, period: Duration },
    /// `selectPolicy: Disabled` in that direction.
    DirectionDisabled { wished: u32, is_up: bool },
    /// The change is within `tolerance`.
    WithinTolerance { wished: u32, tolerance: f64 },
    /// Kept: arrivals stopped all at once; a dead producer returns with its backlog.
    HeldBySilence { wished: u32, until: Timestamp },
    /// Kept: a stage after it is late with all the replicas it may have.
    DownstreamFull { wished: u32, stage: String },
    /// A budget leaves less than was wished: one comes first, or it is shared with so many equals.
    OverBudget { wished: u32, granted: u32, budget: String, first: Option<PipelineId>, equals: u32 },
    /// A `ResourceQuota` leaves less than was wished, of what it has for all pods of the namespace; `is_awaited`: others are to give some of it
    /// back first.
    OverQuota {
        wished: u32,
        granted: u32,
        quota: Box<str>,
        room: Room,
        first: Option<PipelineId>,
        equals: u32,
        is_awaited: bool,
    },
    /// Kept: a gate says so; `since`: it has not been read since then, and what it said last still stands.
    GateHolds { gate: Box<str>, value: f64, hold_when: Box<str>, since: Option<Timestamp> },
    /// Not lowered: a gate cannot be read.
    GateUnread { gate: String, label: String, message: String },
    /// Kept: the pods asked for before are not Ready yet, and fewer would kill some of them.
    AwaitingPods { wished: u32, ready: u32 },
    // What is doubted.
    /// So many partitions stand still while others of their group move: left out of the need, not out of the delay.
    Stuck { source: String, partition: i32, stuck: u32, of: u32, lag: u64, since: Timestamp },
    /// The whole group has stopped committing though work waits: neither more nor fewer would help.
    Stopped { source: String, of: u32, lag: u64, since: Timestamp },
    /// A number far above all of late, seen once: at most doubled until a second reading agrees.
    SpikeUnconfirmed { source: String, value: f64, usual: f64, kept: u32, wished: u32 },
    /// Two steps up in a row got no more done: no further one for a while.
    NoEffect {
        wished: u32,
        from: u32,
        to: u32,
        before: f64,
        after: f64,
        is_uneven: bool,
        until: Timestamp,
    },
    /// More Jobs run than are wished: none is made, and none of them is ended.
    LetEnd { wished: u32, running: u32 },
    /// No Job is made until the sources are read again: the reading is older than the end of some, and may hold their work still.
    AwaitingReading { wished: u32, running: u32, ended: u32 },
    /// No Job is made for a while: those before it have failed, so many rounds in a row.
    AwaitingRetry { wished: u32, jobs: u32, until: Timestamp },
    // What is odd, though it binds nothing.
    /// The CronJob is not suspended: it makes Jobs of its own, too.
    SchedulesItself { cron_job: String },
    /// The Jobs that ended last have all failed.
    JobsFail { jobs: u32, message: String },
    /// One consumer hardly moves while the others are well; it is left out of what is learned.
    SickConsumer { source: String, partition: i32, partitions: u32, rate: f64, usual: f64 },
    /// More comes to one partition than one replica gets through: no number of replicas keeps up with it.
    /// `topic`: which of several topics of the source.
    HotPartition { source: String, topic: Option<String>, partition: i32, arrives: f64, rate: f64 },
    /// Partitions in which the group has committed nothing count as read to their end, as `offsetReset: Latest` says.
    Uncommitted { source: String, partitions: u32, of: u32 },
    /// What arrives is far from what is usual at this time of day.
    UnusualArrivals { rate: f64, usual: f64, since: Timestamp },
    /// A replica gets through less than it used to.
    SlowerReplicas { rate: f64, usual: f64 },
    /// The group's pause at a change of members is longer than it used to be.
    LongerRebalances { pause: f64, usual: f64 },
    /// A cause that lies with nodes: it moves replicas between lanes.
    Nodes(Nodes),
    // What is not known.
    /// A source is not fresh; blind stages never go down.
    NoFreshData { source: String, label: String, message: String },
    /// Nobody has answered yet (start-up).
    AwaitingData { source: String },
    /// A partition or topic looks recreated or reset; held until a second reading agrees.
    OffsetsReset { source: String },
    /// The fallback policy of the owner.
    Fallback { policy: String, replicas: u32, blind: Duration },
    /// There is nothing to size it by.
    NoSources,
    // Who forbids it.
    /// `mode: Observe`: this is what would be written.
    Observed { would_be: u32 },
    /// Paused by annotation; this is what would be written.
    Paused { annotation: String, would_be: u32 },
    /// `penstock.dev/paused-replicas` states the count.
    PinnedByAnnotation { replicas: u32 },
    /// `penstock.dev/force-activation` keeps it off zero.
    ForcedActive { replicas: u32 },
    /// Another writer owns the count; no write until then.
    WriterConflict { manager: String, until: Timestamp },
    /// A hand's change was taken over.
    TakenOver { manager: String, theirs: u32 },
    /// A HorizontalPodAutoscaler names the same target.
    HpaOnTarget { hpa: String },
    /// Another pipeline names the same target.
    TargetTaken { by: PipelineId },
    /// The target itself allows no more, or no fewer, without harm.
    TargetLimit { wished: u32, kept: u32, limit: String },
    // What is broken.
    /// The target cannot be scaled.
    TargetUnusable { code: String, message: String },
    /// The target has not been looked up yet.
    TargetUnseen,
    /// A write for it is on its way, or its cache is older than our last write.
    WriteInFlight,
    /// Nobody can tell whether the last write was carried out: the target is read first.
    OutcomeUnknown { message: String },
    /// The last write is younger than the shortest gap between two writes.
    TooSoon { wished: u32, until: Timestamp },
    /// Many pipelines are being lowered at once; this one waits its turn.
    FleetBudget { wished: u32, until: Timestamp },
    /// Many pipelines that ask the same server fell silent at once: rather that server than all of them.
    SourceDoubted { wished: u32, origin: String, until: Timestamp },
    /// The API server refused the write.
    WriteRefused { code: u16, message: String, until: Timestamp },
    /// What was decided broke one of our own promises; it was counted and is not carried out.
    PromiseBroken { promise: String },
    /// Deciding this pipeline failed in our own code.
    InternalError { message: String },
}

impl Reason {
    /// Every code there is, in the order of the enum. Closed: dashboards and alerts rest on it.
    pub const CODES: &'static [&'static str] = &[
        "Threshold",
        "CatchUp",
        "KeepUp",
        "KeepAhead",
        "KeepRoom",
        "KeepLevel",
        "Forecast",
        "InTime",
        "Overdue",
        "Gathering",
        "Cheaper",
        "Combined",
        "CombineFailed",
        "Steady",
        "OnSlack",
        "Learning",
        "Woken",
        "WokenAhead",
        "Probing",
        "Relearning",
        "KeptAwake",
        "Idle",
        "PartitionBound",
        "Breakpoint",
        "AtMin",
        "AtMax",
        "AtScheduledMin",
        "AtScheduledMax",
        "HeldByWindow",
        "HeldSinceStart",
        "HeldByUpWindow",
        "LimitedByPolicy",
        "DirectionDisabled",
        "WithinTolerance",
        "HeldBySilence",
        "DownstreamFull",
        "OverBudget",
        "OverQuota",
        "GateHolds",
        "GateUnread",
        "AwaitingPods",
        "Stuck",
        "Stopped",
        "SpikeUnconfirmed",
        "NoEffect",
        "LetEnd",
        "AwaitingReading",
        "AwaitingRetry",
        "SchedulesItself",
        "JobsFail",
        "SickConsumer",
        "HotPartition",
        "Uncommitted",
        "UnusualArrivals",
        "SlowerReplicas",
        "LongerRebalances",
        Nodes::CODES[0],
        Nodes::CODES[1],
        Nodes::CODES[2],
        Nodes::CODES[3],
        Nodes::CODES[4],
        Nodes::CODES[5],
        Nodes::CODES[6],
        Nodes::CODES[7],
        Nodes::CODES[8],
        Nodes::CODES[9],
        Nodes::CODES[10],
        Nodes::CODES[11],
        Nodes::CODES[12],
        Nodes::CODES[13],
        Nodes::CODES[14],
        Nodes::CODES[15],
        Nodes::CODES[16],
        Nodes::CODES[17],
        "NoFreshData",
        "AwaitingData",
        "OffsetsReset",
        "Fallback",
        "NoSources",
        "Observed",
        "Paused",
        "PinnedByAnnotation",
        "ForcedActive",
        "WriterConflict",
        "TakenOver",
        "HpaOnTarget",
        "TargetTaken",
        "TargetLimit",
        "TargetUnusable",
        "TargetUnseen",
        "WriteInFlight",
        "OutcomeUnknown",
        "TooSoon",
        "FleetBudget",
        "SourceDoubted",
        "WriteRefused",
        "PromiseBroken",
        "InternalError",
    ];

    /// Why nothing is written to a target that cannot be scaled.
    pub(super) fn unusable(why: &Unusable, stage: &Stage) -> Self {
        let target = &stage.target;
        let (code, message) = match why {
            Unusable::UnknownKind => (
                "UnknownKind",
                format!("the API server knows no {} {}", target.api_version, target.kind),
            ),
            Unusable::NotScalable => ("NotScalable", format!("{} has no /scale", target.kind)),
            Unusable::NotFound if target.is_jobs() => {
                ("NotFound", format!("there is no {target}, from whose template its Jobs are made"))
            }
            Unusable::NotFound => ("NotFound", format!("there is no {target}")),
            Unusable::NoLever(what) => ("NoLever", format!("{target}: {what}")),
            Unusable::Forbidden(what) => ("Forbidden", format!("Penstock may not {what}")),
            Unusable::TakenBy(other) => {
                let (namespace, name) = other.split_once('/').unwrap_or((&target.namespace, other));
                let by = PipelineId { namespace: namespace.into(), name: name.into() };
                return Self::TargetTaken { by };
            }
        };
        Self::TargetUnusable { code: code.to_owned(), message }
    }

    /// The CamelCase word of conditions, events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Threshold { .. } => "Threshold",
            Self::CatchUp { .. } => "CatchUp",
            Self::KeepUp { .. } => "KeepUp",
            Self::KeepAhead { .. } => "KeepAhead",
            Self::KeepRoom { .. } => "KeepRoom",
            Self::KeepLevel { .. } => "KeepLevel",
            Self::Forecast { .. } => "Forecast",
            Self::InTime { .. } => "InTime",
            Self::Overdue { .. } => "Overdue",
            Self::Gathering { .. } => "Gathering",
            Self::Cheaper { .. } => "Cheaper",
            Self::Combined { .. } => "Combined",
            Self::CombineFailed { .. } => "CombineFailed",
            Self::Steady { .. } => "Steady",
            Self::OnSlack { .. } => "OnSlack",
            Self::Learning { .. } => "Learning",
            Self::Woken { .. } => "Woken",
            Self::WokenAhead { .. } => "WokenAhead",
            Self::Probing { .. } => "Probing",
            Self::Relearning { .. } => "Relearning",
            Self::KeptAwake { .. } => "KeptAwake",
            Self::Idle { .. } => "Idle",
            Self::PartitionBound { .. } => "PartitionBound",
            Self::Breakpoint { .. } => "Breakpoint",
            Self::AtMin { .. } => "AtMin",
            Self::AtMax { .. } => "AtMax",
            Self::AtScheduledMin { .. } => "AtScheduledMin",
            Self::AtScheduledMax { .. } => "AtScheduledMax",
            Self::HeldByWindow { .. } => "HeldByWindow",
            Self::HeldSinceStart { .. } => "HeldSinceStart",
            Self::HeldByUpWindow { .. } => "HeldByUpWindow",
            Self::LimitedByPolicy { .. } => "LimitedByPolicy",
            Self::DirectionDisabled { .. } => "DirectionDisabled",
            Self::WithinTolerance { .. } => "WithinTolerance",
            Self::HeldBySilence { .. } => "HeldBySilence",
            Self::DownstreamFull { .. } => "DownstreamFull",
            Self::OverBudget { .. } => "OverBudget",
            Self::OverQuota { .. } => "OverQuota",
            Self::GateHolds { .. } => "GateHolds",
            Self::GateUnread { .. } => "GateUnread",
            Self::AwaitingPods { .. } => "AwaitingPods",
            Self::Stuck { .. } => "Stuck",
            Self::Stopped { .. } => "Stopped",
            Self::SpikeUnconfirmed { .. } => "SpikeUnconfirmed",
            Self::NoEffect { .. } => "NoEffect",
            Self::LetEnd { .. } => "LetEnd",
            Self::AwaitingReading { .. } => "AwaitingReading",
            Self::AwaitingRetry { .. } => "AwaitingRetry",
            Self::SchedulesItself { .. } => "SchedulesItself",
            Self::JobsFail { .. } => "JobsFail",
            Self::SickConsumer { .. } => "SickConsumer",
            Self::HotPartition { .. } => "HotPartition",
            Self::Uncommitted { .. } => "Uncommitted",
            Self::UnusualArrivals { .. } => "UnusualArrivals",
            Self::SlowerReplicas { .. } => "SlowerReplicas",
            Self::LongerRebalances { .. } => "LongerRebalances",
            Self::Nodes(nodes) => nodes.code(),
            Self::NoFreshData { .. } => "NoFreshData",
            Self::AwaitingData { .. } => "AwaitingData",
            Self::OffsetsReset { .. } => "OffsetsReset",
            Self::Fallback { .. } => "Fallback",
            Self::NoSources => "NoSources",
            Self::Observed { .. } => "Observed",
            Self::Paused { .. } => "Paused",
            Self::PinnedByAnnotation { .. } => "PinnedByAnnotation",
            Self::ForcedActive { .. } => "ForcedActive",
            Self::WriterConflict { .. } => "WriterConflict",
            Self::TakenOver { .. } => "TakenOver",
            Self::HpaOnTarget { .. } => "HpaOnTarget",
            Self::TargetTaken { .. } => "TargetTaken",
            Self::TargetLimit { .. } => "TargetLimit",
            Self::TargetUnusable { .. } => "TargetUnusable",
            Self::TargetUnseen => "TargetUnseen",
            Self::WriteInFlight => "WriteInFlight",
            Self::OutcomeUnknown { .. } => "OutcomeUnknown",
            Self::TooSoon { .. } => "TooSoon",
            Self::FleetBudget { .. } => "FleetBudget",
            Self::SourceDoubted { .. } => "SourceDoubted",
            Self::WriteRefused { .. } => "WriteRefused",
            Self::PromiseBroken { .. } => "PromiseBroken",
            Self::InternalError { .. } => "InternalError",
        }
    }
}
