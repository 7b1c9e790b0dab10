//! What is scaled: a target, lanes or Jobs, how, and on what kind of node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rules;

/// A workload in the pipeline's namespace: anything with /scale, and some kinds that have another safe lever: SparkApplication,
/// ScheduledSparkApplication, FlinkDeployment, RayCluster, Numaflow's Vertex and MonoVertex; and Argo's throttles, a ConfigMap of
/// semaphores or the Namespace of the pipeline. docs/targets.md says what a replica of each is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rules::rule(rules::part(), rules::PART)]))]
pub struct Target {
    /// Group and version. Default apps/v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317), extend("default" = "apps/v1"))]
    pub api_version: Option<String>,
    /// Kind. Default Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("default" = "Deployment"))]
    pub kind: Option<String>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which of its counts, for the kinds that have several: the worker group of a RayCluster, the key of a ConfigMap of semaphores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub part: Option<String>,
}

impl Target {
    /// Group and version, as they are in force.
    pub fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or("apps/v1")
    }

    /// Kind, as it is in force.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("Deployment")
    }
}

/// One of several workloads on one queue, on its own kind of node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// The CapacityPool it runs on, unique in the stage.
    #[schemars(length(min = 1, max = 63))]
    pub pool: String,
    /// Replicas it gets before anything is shared out. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub base: Option<u32>,
    /// Share in per cent of what is above the bases. Left out: an equal part of what the others leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub share: Option<u32>,
    /// Pool of the lane that takes over when this one cannot be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub fallback_to: Option<String>,
    /// The workload of this lane.
    pub target: Target,
}

/// Jobs made from a template; replicas are running Jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jobs {
    /// The object whose Job template is used.
    pub template_ref: TemplateRef,
}

/// Whose Job template is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// Default CronJob, which is best suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = json!("CronJob")))]
    pub kind: Option<TemplateKind>,
    /// Name of the object, in the pipeline's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kinds with a Job template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TemplateKind {
    /// batch/v1 CronJob.
    CronJob,
}

/// How a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Actuate {
    /// write /scale.
    Scale,
    /// make a HorizontalPodAutoscaler that reads Penstock's external metric.
    HPA,
}

/// What kind of nodes a stage runs on, and how they are used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// What the pods are to the pipeline. Default Worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Which pods go first. Default Spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_in: Option<ScaleIn>,
    /// What evictions of its pods wait for. Default Leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Room kept free on nodes ahead of need; see docs/headroom.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom: Option<Headroom>,
}

/// What pods are to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// one of many; another takes over when it goes.
    Worker,
    /// the one that leads: Spark drivers, job managers. None of its pods is told to go so that a node becomes empty; its lanes belong on pools that are kept, and Ready is False while one is on a pool of class Spot.
    Driver,
    /// holds state that is dear to rebuild. None of its pods is told to go so that a node becomes empty; its lanes belong on pools that are kept, and Ready is False while one is on a pool of class Spot.
    Stateful,
}

/// Which pods go first when a stage is scaled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScaleIn {
    /// those whose going empties a node, told by their deletion cost. For Deployments and what has ReplicaSets like them; see docs/lanes.md.
    Pack,
    /// as Kubernetes chooses.
    Spread,
}

/// What evictions of a stage's pods wait for when nodes are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drain {
    /// until replacements are Ready, by a PodDisruptionBudget for each lane; and what is left is deleted with its grace before the node
    /// ends. For stages with lanes; see docs/lanes.md.
    Hold,
    /// nothing.
    Leave,
}

/// Room kept free ahead of need.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Headroom {
    /// Default Off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<HeadroomMode>,
    /// Replicas that room is kept for at most, in all lanes together. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max: Option<u32>,
}

/// Whether room is kept free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeadroomMode {
    /// for what the forecast or a schedule may ask for before new nodes come, and on spot for the pods of the fullest node.
    Auto,
    /// none.
    Off,
}
