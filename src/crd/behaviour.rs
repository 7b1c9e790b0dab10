//! Hard limits in the words of HPA v2, what to keep when idle, and what to do when blind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{Duration, within};
use super::quantity::Quantity;
use super::rules;

/// HPA v2 `behavior`. What is written has HPA's exact meaning; what is left out is Penstock's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Limits on the way up. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<Rules>,
    /// Limits on the way down. Left out: an adaptive window of 60 to 600 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<Rules>,
}

/// One direction of `behavior`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Seconds over which past wishes are remembered: the largest counts on the way down, the smallest on the way up. 0 to 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<u32>,
    /// Which of several policies counts. Default Max.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// Limits on the change within a period. Left out: no limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<Policy>,
    /// A change smaller than this share of the present count is not made, for example "0.1". Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}

/// Which of several policies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// the one that allows most.
    Max,
    /// the one that allows least.
    Min,
    /// no change in this direction.
    Disabled,
}

/// A limit on the change within a period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Unit of `value`.
    #[serde(rename = "type")]
    pub unit: PolicyType,
    /// How many of them, above 0.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub value: u32,
    /// The period in seconds, 1 to 1800.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: u32,
}

/// Unit of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyType {
    /// replicas.
    Pods,
    /// per cent of the count at the start of the period.
    Percent,
}

/// What to keep when nothing arrives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// Replicas while idle, at most replicas.min. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<u32>,
    /// How long nothing must have arrived or waited, up to 24h. Default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("0s", "24h")))]
    pub after: Option<Duration>,
}

/// What to do when a stage's sources have not answered for long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule_at(
        ".replicas",
        "!has(self.policy) || self.policy == 'Hold' || has(self.replicas)",
        rules::FALLBACK_REPLICAS
    ),
]))]
pub struct Fallback {
    /// Silence that is borne first, 1s to 24h. Default 2m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "24h")))]
    pub after: Option<Duration>,
    /// What then. Static and `AtMost` may lower: that is the owner's word. Default Hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<FallbackPolicy>,
    /// The count that the policy speaks of. Required unless policy is Hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<u32>,
}

/// What a blind stage is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FallbackPolicy {
    /// what there is.
    Hold,
    /// exactly `replicas`.
    Static,
    /// no fewer than `replicas`.
    AtLeast,
    /// no more than `replicas`.
    AtMost,
}
