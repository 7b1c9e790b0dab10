//! What Penstock says of a pipeline, and what it remembers there across restarts. Written by `report`, read back by `watch`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::duration::Duration;
use crate::decide::Recalled;

/// How a pipeline fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// Generation of the spec that this speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When this was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64), extend("format" = "date-time"))]
    pub observed_at: Option<Timestamp>,
    /// Number of stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_count: Option<u32>,
    /// The stage worst against its objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub bottleneck: Option<String>,
    /// Age of the oldest item of that stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub delay: Option<String>,
    /// Replicas of all stages together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicasStatus>,
    /// Ready, Active, Paused, Fallback, ObjectiveMet, `CapacityShort`, `WriterConflict`, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The stages, in flow order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"])
    )]
    pub stages: Vec<StageStatus>,
}

/// Replicas of all stages together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicasStatus {
    /// Replicas that there should be.
    pub desired: u32,
    /// Pods that are Ready.
    pub ready: u32,
}

/// How a stage fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Name of the stage.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Replicas it should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// Pods that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
    /// Pods that are Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// Items waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Age of the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub delay: Option<String>,
    /// Age that it may reach: this stage's share of the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub objective: Option<String>,
    /// Why it has the replicas it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonStatus>,
    /// A down window that keeps more than is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldStatus>,
    /// Room that is kept on nodes for replicas to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom: Option<HeadroomStatus>,
    /// What was learned of it; read back after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedStatus>,
}

/// Why a stage has the replicas it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReasonStatus {
    /// One word from the list that docs/reasons.md prints.
    #[schemars(length(max = 63))]
    pub code: String,
    /// One sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A down window that keeps more than is wished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// How many are kept.
    pub replicas: u32,
    /// Since when.
    #[schemars(with = "String", length(max = 64), extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// Room that is kept on nodes for replicas to come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadroomStatus {
    /// For how many, in all lanes together.
    pub replicas: u32,
    /// Of these, those that have room on a node; left out where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed: Option<u32>,
    /// Why so many, in a sentence for each lane that keeps any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// What was learned of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearnedStatus {
    /// Items a second that one replica gets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_replica: Option<f64>,
    /// And what one got through that had more CPU or less, until the present ones have shown what they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_rate_per_replica: Option<f64>,
    /// Time from a write to Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub startup: Option<String>,
    /// Pause of a group when its members change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub rebalance: Option<String>,
}

impl StageStatus {
    /// What it remembers from an earlier life; unreadable parts are forgotten.
    pub fn recalled(&self) -> Recalled {
        let read = |text: &Option<String>| text.clone().and_then(|text| Duration(text).read());
        let learned = self.learned.clone().unwrap_or_default();
        let rate = |told: Option<f64>| told.filter(|rate| rate.is_finite() && *rate > 0.0);
        Recalled {
            rate_per_replica: rate(learned.rate_per_replica),
            former_rate: rate(learned.former_rate_per_replica),
            startup: read(&learned.startup),
            rebalance: read(&learned.rebalance),
            held: self.held.as_ref().map(|held| (held.replicas, held.since)),
        }
    }
}

/// The schema of Kubernetes' own conditions.
pub(super) fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let schema = json!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "Name of the condition."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "One word from the list that docs/reasons.md prints.",
                },
                "message": {"type": "string", "maxLength": 32768, "description": "One sentence."},
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "maxLength": 64, "description": "When the status last changed.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "Generation of the spec that it speaks of.",
                },
            },
        },
    });
    serde_json::from_value(schema).unwrap_or_default()
}
