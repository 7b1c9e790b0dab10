//! What Penstock says of a `CapacityPool`, and what it remembers there across restarts. Written by `report`, read back by `watch`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status;

/// How a pool fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityPoolStatus {
    /// Generation of the spec that this speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether nodes can be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PoolState>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 64), extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// Nodes that it has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Time from the wish for a node to its being Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<PoolStartup>,
    /// What led to the state, the newest first. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub evidence: Vec<PoolEvidence>,
    /// What its nodes cost in an hour, in the currency of the installation; not there when a price is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cost_per_hour: Option<String>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "status::conditions")]
    pub conditions: Vec<Condition>,
}

/// Whether nodes of a pool can be had.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PoolState {
    /// nothing was seen that tells.
    #[default]
    Unknown,
    /// yes.
    Available,
    /// some were refused: it keeps what it has and is tried again now and then.
    Constrained,
    /// none: it keeps what it has and is tried again ever more seldom.
    Exhausted,
}

/// Time from the wish for a node to its being Ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStartup {
    /// Half of the nodes took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub p50: Option<String>,
    /// 95 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub p95: Option<String>,
}

/// Something seen that tells whether nodes can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolEvidence {
    /// When.
    #[schemars(with = "String", length(max = 64), extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How sure it is.
    pub kind: PoolEvidenceKind,
    /// One sentence.
    #[schemars(length(max = 256))]
    pub what: String,
}

/// How sure evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolEvidenceKind {
    /// whoever makes the nodes says so.
    Hard,
    /// it looks so: a pod waits for a node.
    Soft,
}
