//! KEDA's kinds as far as they are read: light types whose unknown fields are kept, so that none is lost unsaid.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The group that these kinds are of.
pub(super) const GROUP: &str = "keda.sh";

/// Fields that nobody knows.
pub(super) type Rest = BTreeMap<String, Value>;

/// Spec of a `ScaledObject`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScaledObject {
    pub(super) scale_target_ref: ScaleTarget,
    pub(super) cooldown_period: Option<u64>,
    pub(super) initial_cooldown_period: Option<u64>,
    pub(super) idle_replica_count: Option<u32>,
    pub(super) fallback: Option<Fallback>,
    pub(super) advanced: Option<Advanced>,
    #[serde(flatten)]
    pub(super) common: Common,
}

/// What both `ScaledObject` and `ScaledJob` have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Common {
    pub(super) polling_interval: Option<u64>,
    pub(super) min_replica_count: Option<u32>,
    pub(super) max_replica_count: Option<u32>,
    pub(super) triggers: Vec<Trigger>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// What a `ScaledObject` scales.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScaleTarget {
    pub(super) name: String,
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) env_source_container_name: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// One trigger.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trigger {
    #[serde(rename = "type")]
    pub(super) scaler: String,
    pub(super) name: Option<String>,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) authentication_ref: Option<AuthenticationRef>,
    pub(super) metric_type: Option<String>,
    pub(super) use_cached_metrics: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// Which authentication a trigger uses.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AuthenticationRef {
    pub(super) name: String,
    pub(super) kind: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// What to do when a trigger fails.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Fallback {
    pub(super) failure_threshold: Option<u64>,
    pub(super) replicas: Option<u32>,
    pub(super) behavior: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// Advanced options.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Advanced {
    pub(super) restore_to_original_replica_count: Option<bool>,
    pub(super) horizontal_pod_autoscaler_config: Option<HpaConfig>,
    pub(super) scaling_modifiers: Option<ScalingModifiers>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// What the HPA is told.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HpaConfig {
    pub(super) name: Option<String>,
    pub(super) behavior: Option<Value>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// A formula over the values of triggers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScalingModifiers {
    pub(super) formula: Option<String>,
    pub(super) target: Option<Value>,
    pub(super) activation_target: Option<Value>,
    pub(super) metric_type: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// Spec of a `ScaledJob`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScaledJob {
    pub(super) job_target_ref: Value,
    pub(super) successful_jobs_history_limit: Option<u32>,
    pub(super) failed_jobs_history_limit: Option<u32>,
    pub(super) env_source_container_name: Option<String>,
    pub(super) rollout_strategy: Option<String>,
    pub(super) rollout: Option<Rollout>,
    pub(super) scaling_strategy: Option<ScalingStrategy>,
    #[serde(flatten)]
    pub(super) common: Common,
}

/// What becomes of running Jobs when the `ScaledJob` changes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rollout {
    pub(super) strategy: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// How many Jobs are made.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScalingStrategy {
    pub(super) strategy: Option<String>,
    pub(super) multiple_scalers_calculation: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// Spec of a `TriggerAuthentication` or `ClusterTriggerAuthentication`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Authentication {
    pub(super) secret_target_ref: Vec<TargetRef>,
    pub(super) config_map_target_ref: Vec<TargetRef>,
    pub(super) env: Vec<Environment>,
    pub(super) pod_identity: Option<PodIdentity>,
    /// Vaults and all else: each with a list of parameters, if it gives any.
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// A key of a Secret or a `ConfigMap`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TargetRef {
    pub(super) parameter: String,
    pub(super) name: String,
    pub(super) key: String,
}

/// A variable of the workload's environment.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Environment {
    pub(super) parameter: String,
    pub(super) name: String,
    pub(super) container_name: Option<String>,
}

/// Who KEDA is to a cloud.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodIdentity {
    pub(super) provider: String,
}

/// A scalar as the text that it is written with; objects and lists as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
