//! `ScaledPipeline`: the stages of a pipeline, what each may become, and how late its data may be.
//! What people write, optional and lenient; `meaning` reads it, the API server checks it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::behaviour::{Behavior, Fallback, Idle};
use super::duration::{Duration, within};
use super::rules;
use super::source::Source;
use super::status::PipelineStatus;
use super::wish::{Combine, Forecast, Gate, Objective, Schedule, StageObjective};
use super::workload::{Actuate, Capacity, Jobs, Lane, Target};

/// Says how late the data of a pipeline may be; Penstock sizes its stages so that it is no later.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "ScaledPipeline",
    plural = "scaledpipelines",
    namespaced,
    shortname = "spl",
    category = "penstock",
    status = "PipelineStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Stages","type":"integer","jsonPath":".status.stageCount"}"#,
    printcolumn = r#"{"name":"Bottleneck","type":"string","jsonPath":".status.bottleneck"}"#,
    printcolumn = r#"{"name":"Delay","type":"string","jsonPath":".status.delay"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".status.replicas.desired"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.replicas.ready"}"#,
    printcolumn = r#"{"name":"ObjectiveMet","type":"string","jsonPath":".status.conditions[?(@.type=='ObjectiveMet')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ScaledPipelineSpec {
    /// Whether decisions are carried out. A stage may say its own. Default Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Enforce"))]
    pub mode: Option<Mode>,
    /// Who is served first when capacity or budget is short: the higher. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i32>,
    /// How late data may be from the first source to the last commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// How often sources are asked, 1s to 10m; a source may say its own. Default by kind: kafka, redis, nats 2s; rabbitmq 5s;
    /// all others 15s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "10m")))]
    pub poll_interval: Option<Duration>,
    /// The stages, in flow order: data goes from those above to those below. At most 32.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"]),
        extend("x-kubernetes-validations" = [rules::rule(
            "[self.map(t, t.name)].all(names, self.all(s, !has(s.after) || s.after.all(a, a in names && names.indexOf(a) < names.indexOf(s.name))))",
            rules::AFTER_ABOVE
        )])
    )]
    pub stages: Vec<Stage>,
}

/// Whether a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// decide, write, report.
    Enforce,
    /// decide and report; write nothing to the workload.
    Observe,
}

/// One step of a pipeline: a workload and the queues it serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&["target", "lanes", "jobs"]), rules::ONE_WORKLOAD),
    rules::rule_at(
        ".idle.replicas",
        "!has(self.idle) || !has(self.idle.replicas) || self.idle.replicas <= (has(self.replicas.min) ? self.replicas.min : 1)",
        rules::IDLE_ABOVE_MIN
    ),
    rules::rule_at(".schedules", rules::SCHEDULED, rules::SCHEDULE_ABOVE_MAX),
    rules::rule_at(".sources", rules::WAKES, rules::ASLEEP),
    rules::rule_at(".capacity.scaleIn", rules::packs(), rules::PACK),
    rules::rule_at(".capacity.drain", rules::HOLDS, rules::HOLD_LANES),
]))]
pub struct Stage {
    /// Name of the stage, unique in the pipeline.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Stages above that feed this one: the edges of the graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31), inner(length(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub after: Vec<String>,
    /// Whether decisions on this stage are carried out. Default: as the pipeline says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How late this stage may be: pins its share of the pipeline's objective. Left out: an equal share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<StageObjective>,
    /// The workload, anything with /scale in the pipeline's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Several workloads on one queue, one for each kind of node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["pool"]),
        extend("x-kubernetes-validations" = [
            rules::rule(
                "self.all(l, !has(l.fallbackTo) || (l.fallbackTo != l.pool && self.exists(o, o.pool == l.fallbackTo)))",
                rules::FALLBACK_TO
            ),
            rules::rule(
                "self.map(l, has(l.share) ? l.share : 0).sum() <= 100",
                rules::SHARES
            ),
        ])
    )]
    pub lanes: Vec<Lane>,
    /// Jobs instead of a standing workload; replicas are running Jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Jobs>,
    /// Bounds.
    pub replicas: Replicas,
    /// What to keep when nothing arrives. Left out: learned, and never below replicas.min.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// Hint: items a second that one replica gets through, above 0. Left out: learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1e12), extend("exclusiveMinimum" = true))]
    pub rate_per_replica: Option<f64>,
    /// Hint: time from a write to Ready, up to 1h. Left out: learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("0s", "1h")))]
    pub startup: Option<Duration>,
    /// What to do when arrivals stop all at once. Default Hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_silence: Option<OnSilence>,
    /// What is read for this stage. At most 16. Backlogs of several queues are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"])
    )]
    pub sources: Vec<Source>,
    /// How the wishes of several sources become one; replaces the usual rule (the largest wins).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,
    /// Hard limits in the words of HPA v2, applied after Penstock's own choice. What is left out is Penstock's: no up limit, an
    /// adaptive down window (60 to 600 s), tolerance 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// What to do when sources have not answered for long. Default: hold after 2m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Bounds by time of day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"])
    )]
    pub schedules: Vec<Schedule>,
    /// Whether arrivals are forecast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Conditions under which the stage is held as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"])
    )]
    pub gates: Vec<Gate>,
    /// How a decision is carried out. Default Scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actuate: Option<Actuate>,
    /// What kind of nodes, and how they are emptied and kept in reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
}

/// Bounds of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule_at(".min", "!has(self.min) || self.min <= self.max", rules::MIN_ABOVE_MAX),
]))]
pub struct Replicas {
    /// Never fewer, idle and pause apart. Default 1; 0 lets the stage sleep.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000), extend("default" = json!(1)))]
    pub min: Option<u32>,
    /// Never more.
    #[schemars(range(min = 1, max = 100_000))]
    pub max: u32,
}

/// What to do when arrivals stop all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnSilence {
    /// keep what runs for a while: a dead producer returns with its backlog.
    Hold,
    /// take silence at its word.
    Follow,
}
