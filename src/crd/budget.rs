//! `CapacityBudget`: how much the pipelines of some namespaces may use, in money and in CPUs. What people write, optional and
//! lenient, and what is in force where they left something out; and the limits that pools have too.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::Selector;
use super::quantity::Quantity;
use super::{rules, status};

/// How much the pipelines of some namespaces may use.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "CapacityBudget",
    plural = "capacitybudgets",
    shortname = "cbudget",
    category = "penstock",
    status = "CapacityBudgetStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"OnExceeded","type":"string","jsonPath":".spec.onExceeded"}"#,
    printcolumn = r#"{"name":"Limit","type":"string","jsonPath":".spec.limits.costPerHour"}"#,
    printcolumn = r#"{"name":"Used","type":"string","jsonPath":".status.used.costPerHour"}"#,
    printcolumn = r#"{"name":"CPU","type":"string","jsonPath":".status.used.cpu"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CapacityBudgetSpec {
    /// Whose pipelines share it, by the labels of their namespaces. Empty: all.
    pub namespace_selector: Selector,
    /// How much all of them together may use.
    pub limits: Limits,
    /// What is done when they would use more. Default Limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exceeded: Option<OnExceeded>,
}

/// An upper bound in money, in CPUs, or in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("has(self.costPerHour) || has(self.cpu)", rules::SOME_LIMIT),
]))]
pub struct Limits {
    /// Money for an hour, in the currency of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_hour: Option<Quantity>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
}

/// What is done when more would be used than a budget allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExceeded {
    /// those of the lowest priority get less.
    #[default]
    Limit,
    /// it is told, and nothing else.
    Warn,
}

/// How a budget fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityBudgetStatus {
    /// Generation of the spec that this speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is used now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// Who got less than it asked for, so that others keep their promise. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["pipeline"])
    )]
    pub gave_way: Vec<GaveWay>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "status::conditions")]
    pub conditions: Vec<Condition>,
}

/// What is used of a budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Money for an hour; not there when a price is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cost_per_hour: Option<String>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cpu: Option<String>,
}

/// A pipeline that got less than it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GaveWay {
    /// Namespace and name.
    #[schemars(length(min = 1, max = 317))]
    pub pipeline: String,
    /// By how many replicas, all its stages together.
    pub replicas: u32,
}

impl CapacityBudgetSpec {
    /// What is done when more would be used, as it is in force: Limit when nothing is written.
    pub fn on_exceeded(&self) -> OnExceeded {
        self.on_exceeded.unwrap_or_default()
    }
}

impl Limits {
    /// Money for an hour; `None` when it is not limited. What cannot be read, which the API server refuses, limits nothing.
    pub fn cost_per_hour(&self) -> Option<f64> {
        self.cost_per_hour.as_ref()?.read()
    }

    /// CPUs; `None` when they are not limited. What cannot be read, which the API server refuses, limits nothing.
    pub fn cpu(&self) -> Option<f64> {
        self.cpu.as_ref()?.read()
    }
}
