//! Every metric that Penstock exports, in one table: its name, kind, unit, labels and meaning. What is printed, the reference page
//! `docs/metrics.md`, the Grafana boards and the rules of the alerts all come from it or are checked against it.
//!
//! `exposition` prints these families and no others; a test of the house compares both.

use std::fmt;

/// One family of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name as Prometheus stores it, without what Prometheus adds to a histogram (`_bucket`, `_sum`, `_count`).
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its base unit, with which its name ends (before `_total`); `None` for a count of things or a yes and no.
    pub unit: Option<Unit>,
    /// Its labels, in the order in which they are printed.
    pub labels: &'static [Label],
    /// Which of Penstock's replicas tell it.
    pub told_by: ToldBy,
    /// What it says, in a sentence: the HELP line.
    pub help: &'static str,
}

/// Kinds of numbers, as OpenMetrics calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A number that only grows, until the process starts again.
    Counter,
    /// How many of the values seen were at most so large.
    Histogram,
    /// Always 1; its labels tell.
    Info,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
            Self::Info => "info",
        })
    }
}

/// What a number is counted in, and its name ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Messages, or whatever a queue counts.
    Messages,
}

impl Unit {
    /// As it stands in a name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Messages => "messages",
        }
    }
}

/// Which of Penstock's replicas tell a metric, and so how its series are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldBy {
    /// Every replica sees the same world and tells the same: take the greatest.
    All,
    /// Every replica tells of its own work: add them up, or look at each.
    Each,
    /// Only the one that leads: the others say nothing, or have nothing to count.
    Leader,
}

/// A label and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it holds, and which values there are when they are few.
    pub holds: &'static str,
}

const fn label(name: &'static str, holds: &'static str) -> Label {
    Label { name, holds }
}

const NAMESPACE: Label = label("namespace", "namespace of the pipeline");
const PIPELINE: Label = label("pipeline", "name of the pipeline");
const STAGE: Label = label("stage", "name of the stage");
const SOURCE: Label = label("source", "name of the source within its stage");
const STATE: Label = label("state", "`current`, `ready`, `desired`, `min` or `max`");
const DIRECTION: Label = label("direction", "`up` or `down`");
const REASON: Label = label("reason", "code of the reason, the same word as in status and events");
const TYPE: Label = label(
    "type",
    "type of the condition: `Ready`, `Active`, `Paused`, `Fallback`, `ObjectiveMet`, `CapacityShort` or `WriterConflict`",
);
const STATUS: Label = label("status", "`True`, `False` or `Unknown`");
const RESULT_OF_POLL: Label =
    label("result", "what came of a poll: `fresh`, `partial` or `failed`");
const RESULT_OF_RECORDING: Label =
    label("result", "what became of a turn to be recorded: `written` or `lost`");
const VERB: Label = label("verb", "verb of the request, as the API server's audit names it");
const RESOURCE: Label = label("resource", "resource and subresource, such as `deployments/scale`");
const CODE: Label = label("code", "HTTP status, or `error` when no answer came");
const POOL: Label = label("pool", "name of the `CapacityPool`");
const STATE_OF_LANE: Label = label(
    "state",
    "`share`, `desired` or `ready`; `share` is what falls to it when every pool gives nodes",
);
const SURVIVED: Label = label(
    "survived",
    "`true` when the stage had as many ready replicas as it needs all the same, else `false`",
);
const STATE_OF_POOL: Label = label("state", "`Unknown`, `Available`, `Constrained` or `Exhausted`");
const VERSION: Label = label("version", "version of Penstock");

const OF_STAGE: &[Label] = &[NAMESPACE, PIPELINE, STAGE];
const OF_SOURCE: &[Label] = &[NAMESPACE, PIPELINE, STAGE, SOURCE];

/// A gauge of each stage that every replica tells.
const fn stage_gauge(name: &'static str, unit: Option<Unit>, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, unit, labels: OF_STAGE, told_by: ToldBy::All, help }
}

/// Replicas of a stage, in five states.
pub const STAGE_REPLICAS: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, STATE],
    ..stage_gauge(
        "penstock_stage_replicas",
        None,
        "Replicas of a stage: there are, are ready, should be, and may be at least and at most.",
    )
};

/// Items that wait.
pub const STAGE_LAG: Family = stage_gauge(
    "penstock_stage_lag_messages",
    Some(Unit::Messages),
    "Items that wait for a stage.",
);

/// How old the oldest of them is.
pub const STAGE_DELAY: Family = stage_gauge(
    "penstock_stage_delay_seconds",
    Some(Unit::Seconds),
    "Age of the oldest item that waits for a stage.",
);

/// How old it may be.
pub const STAGE_OBJECTIVE: Family = stage_gauge(
    "penstock_stage_objective_seconds",
    Some(Unit::Seconds),
    "Age that the oldest item may reach: the stage's share of its pipeline's promise.",
);

/// The finest delay to be seen.
pub const STAGE_RESOLUTION: Family = stage_gauge(
    "penstock_stage_resolution_seconds",
    Some(Unit::Seconds),
    "Finest delay of a stage that can be seen: commit interval, poll and rebalance.",
);

/// What comes.
pub const STAGE_ARRIVAL_RATE: Family =
    stage_gauge("penstock_stage_arrival_rate", None, "Items a second that arrive for a stage.");

/// What will come.
pub const STAGE_FORECAST_RATE: Family = stage_gauge(
    "penstock_stage_forecast_rate",
    None,
    "Items a second that are forecast for when pods asked for now are at work; absent while no forecast has proved \
     better than the present.",
);

/// What one replica does.
pub const STAGE_SERVICE_RATE: Family = stage_gauge(
    "penstock_stage_service_rate",
    None,
    "Items a second that one replica of a stage gets through, learned or stated.",
);

/// What it costs.
pub const STAGE_COST: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, POOL],
    ..stage_gauge(
        "penstock_stage_cost_per_hour",
        None,
        "What a stage costs in an hour, by pool: of each node the share of CPU or memory that its pods request, whichever is larger. Absent where a price is unknown.",
    )
};

/// What the room costs that is kept for it.
pub const HEADROOM_COST: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, POOL],
    ..stage_gauge(
        "penstock_headroom_cost_per_hour",
        None,
        "What the room costs in an hour that is kept for replicas of a stage to come, by pool, as pods of the stage would cost there. Absent where a price is unknown or nothing is kept.",
    )
};

/// Replicas of a lane.
pub const LANE_REPLICAS: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, POOL, STATE_OF_LANE],
    ..stage_gauge(
        "penstock_lane_replicas",
        None,
        "Replicas of a lane of a stage: what falls to it by its share, what it should have now, and what is ready.",
    )
};

/// Nodes of a pool.
pub const POOL_NODES: Family = Family {
    labels: &[POOL],
    ..stage_gauge("penstock_pool_nodes", None, "Nodes of a pool that are ready and stay.")
};

/// Whether nodes of a pool can be had.
pub const POOL_STATE: Family = Family {
    labels: &[POOL, STATE_OF_POOL],
    ..stage_gauge(
        "penstock_pool_state",
        None,
        "1 for the state that a pool of nodes is in, 0 for the others.",
    )
};

/// What the nodes of a pool cost.
pub const POOL_COST: Family = Family {
    labels: &[POOL],
    ..stage_gauge(
        "penstock_pool_cost_per_hour",
        None,
        "What the nodes of a pool cost in an hour. Absent where the price of one is unknown.",
    )
};

/// What of a pool serves no stage.
pub const IDLE_COST: Family = Family {
    labels: &[POOL],
    ..stage_gauge(
        "penstock_idle_cost_per_hour",
        None,
        "What the nodes of a pool cost in an hour beyond what pods of stages, and the room kept for them, take of it: idle, or used by others. Absent where a price is unknown.",
    )
};

/// How long a replica takes to come.
pub const STAGE_STARTUP: Family = stage_gauge(
    "penstock_stage_startup_seconds",
    Some(Unit::Seconds),
    "From the write of a replica count to Ready pods, learned or stated.",
);

/// How long a group stands still.
pub const STAGE_REBALANCE: Family = stage_gauge(
    "penstock_stage_rebalance_seconds",
    Some(Unit::Seconds),
    "How long a stage's consumers pause when their number changes, learned.",
);

/// What binds the count.
pub const STAGE_REASON: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, REASON],
    told_by: ToldBy::Leader,
    ..stage_gauge(
        "penstock_stage_reason",
        None,
        "1 for the reason why a stage has the replicas it has now: the one that bound.",
    )
};

/// Whose count is not written.
pub const STAGE_WITHHELD: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, REASON],
    ..stage_gauge(
        "penstock_stage_withheld",
        None,
        "1 while nothing is written for a stage by its owner's word, by reason: `Observed` (`mode: Observe`) or `Paused`.",
    )
};

/// What is odd.
pub const STAGE_ANOMALY: Family = Family {
    labels: &[NAMESPACE, PIPELINE, STAGE, REASON],
    ..stage_gauge(
        "penstock_stage_anomaly",
        None,
        "1 while something is odd about a stage, by its code.",
    )
};

/// The conditions of a pipeline.
pub const PIPELINE_CONDITION: Family = Family {
    name: "penstock_pipeline_condition",
    kind: Kind::Gauge,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, TYPE, STATUS, REASON],
    told_by: ToldBy::Leader,
    help: "1 for the status in which a condition of a pipeline stands, with its reason.",
};

/// Is a source heard?
pub const SOURCE_UP: Family = Family {
    labels: OF_SOURCE,
    ..stage_gauge("penstock_source_up", None, "1 when the latest reading is complete and young.")
};

/// Are its newest credentials in use?
pub const SOURCE_CREDENTIALS_REFUSED: Family = Family {
    labels: OF_SOURCE,
    ..stage_gauge(
        "penstock_source_credentials_refused",
        None,
        "1 when the newest credentials are refused while the former ones still work.",
    )
};

/// How often it was asked.
pub const SOURCE_POLLS: Family = Family {
    name: "penstock_source_polls_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, STAGE, SOURCE, RESULT_OF_POLL],
    told_by: ToldBy::Each,
    help: "Times that a source was asked, by what came of it.",
};

/// How long that took.
pub const SOURCE_POLL_DURATION: Family = Family {
    name: "penstock_source_poll_duration_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    labels: &[],
    told_by: ToldBy::Each,
    help: "How long a visit to a source took, by each question that it asked.",
};

/// Moves.
pub const SCALE_MOVES: Family = Family {
    name: "penstock_scale_moves_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, STAGE, DIRECTION, REASON],
    told_by: ToldBy::Leader,
    help: "Writes of a replica count that were taken.",
};

/// Holds.
pub const HOLDS: Family = Family {
    name: "penstock_holds_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, STAGE, REASON],
    told_by: ToldBy::Leader,
    help: "Times that a stage began to be held back from what it wishes.",
};

/// Interruptions.
pub const INTERRUPTIONS: Family = Family {
    name: "penstock_interruptions_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, STAGE, POOL, SURVIVED],
    told_by: ToldBy::Leader,
    help: "Ready pods of a lane that the interruption of their node has ended, each once.",
};

/// What spot saves.
pub const SAVED_COST: Family = Family {
    name: "penstock_saved_cost_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[NAMESPACE, PIPELINE, STAGE, POOL],
    told_by: ToldBy::Leader,
    help: "What the pods of a lane on spot would have cost more on the cheapest pool on demand of their stage, by CPUs. Absent where a price is unknown or no lane is on demand; what has fallen back to such a lane saves nothing.",
};

/// How long a turn takes.
pub const TURN_DURATION: Family = Family {
    name: "penstock_turn_duration_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    labels: &[],
    told_by: ToldBy::Each,
    help: "How long a turn of the loop took.",
};

/// How late it begins.
pub const TURN_LATENESS: Family = Family {
    name: "penstock_turn_lateness_seconds",
    kind: Kind::Gauge,
    unit: Some(Unit::Seconds),
    labels: &[],
    told_by: ToldBy::Each,
    help: "How long after it was due the latest turn began.",
};

/// Requests to the API server.
pub const API_REQUESTS: Family = Family {
    name: "penstock_api_requests_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[VERB, RESOURCE, CODE],
    told_by: ToldBy::Each,
    help: "Requests to the API server.",
};

/// Who leads.
pub const LEADER: Family = Family {
    name: "penstock_leader",
    kind: Kind::Gauge,
    unit: None,
    labels: &[],
    told_by: ToldBy::Each,
    help: "1 when this replica leads: it alone writes.",
};

/// Promises broken.
pub const INVARIANT_VIOLATIONS: Family = Family {
    name: "penstock_invariant_violations_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[],
    told_by: ToldBy::Each,
    help: "Decisions that broke a promise of Penstock's own and were not carried out; always 0.",
};

/// Turns recorded.
pub const RECORDED_TURNS: Family = Family {
    name: "penstock_recorded_turns_total",
    kind: Kind::Counter,
    unit: None,
    labels: &[RESULT_OF_RECORDING],
    told_by: ToldBy::Each,
    help: "Turns for the recording; absent when nothing is recorded.",
};

/// What runs.
pub const BUILD: Family = Family {
    name: "penstock_build_info",
    kind: Kind::Info,
    unit: None,
    labels: &[VERSION],
    told_by: ToldBy::Each,
    help: "What runs.",
};

/// All of them, in reading order: what the stages do, what the sources say, what Penstock does.
pub const FAMILIES: &[Family] = &[
    STAGE_REPLICAS,
    STAGE_LAG,
    STAGE_DELAY,
    STAGE_OBJECTIVE,
    STAGE_RESOLUTION,
    STAGE_ARRIVAL_RATE,
    STAGE_FORECAST_RATE,
    STAGE_SERVICE_RATE,
    STAGE_STARTUP,
    STAGE_REBALANCE,
    STAGE_COST,
    HEADROOM_COST,
    LANE_REPLICAS,
    POOL_NODES,
    POOL_STATE,
    POOL_COST,
    IDLE_COST,
    STAGE_REASON,
    STAGE_WITHHELD,
    STAGE_ANOMALY,
    PIPELINE_CONDITION,
    SCALE_MOVES,
    HOLDS,
    INTERRUPTIONS,
    SAVED_COST,
    SOURCE_UP,
    SOURCE_CREDENTIALS_REFUSED,
    SOURCE_POLLS,
    SOURCE_POLL_DURATION,
    TURN_DURATION,
    TURN_LATENESS,
    API_REQUESTS,
    LEADER,
    INVARIANT_VIOLATIONS,
    RECORDED_TURNS,
    BUILD,
];

/// What every name begins with; the registry adds it.
pub(super) const PREFIX: &str = "penstock";
