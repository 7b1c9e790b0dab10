//! The kinds that are not moved by `/scale`, and the lever of each: which field holds the count, what a replica is, what counts as
//! there, and how far it may be moved without harm. Read off an object by `scales`, written by `act` as one [`Field`].
//!
//! | kind | field | a replica is | never |
//! | --- | --- | --- | --- |
//! | `SparkApplication` | `suspend` | the application | suspended once it runs; `instances` |
//! | `ScheduledSparkApplication` | its template's executors | an executor of the next run | a run that is there |
//! | `FlinkDeployment`, native | the autoscaler's `vertex.max-parallelism` | one of parallelism it may use | parallelism itself |
//! | `FlinkDeployment`, standalone and reactive | `taskManager.replicas` | a `TaskManager` | without `scheduler-mode` |
//! | `RayCluster` group | `replicas`; `maxReplicas` where Ray scales | a worker; one it may have | what Ray's autoscaler owns |
//! | Numaflow `Vertex`, `MonoVertex` | `replicas` | a pod | beside Numaflow's autoscaler |
//! | `ConfigMap` key | the limit of a semaphore | a slot | |
//! | `Namespace` | Argo's label of parallelism | a workflow at once | 0, which is no limit |
//!
//! `docs/targets.md` has the reasons, kind by kind.

use std::sync::Arc;

use serde_json::Value;

use crate::decide::{Field, Form, Limit};

mod owner;
mod spark;
mod flink;
mod ray;
mod numaflow;
mod argo;

pub(super) use owner::OURS;

/// A kind with a lever of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lever {
    /// Kubeflow's `SparkApplication`.
    SparkApplication,
    /// Kubeflow's `ScheduledSparkApplication`.
    ScheduledSparkApplication,
    /// Apache Flink's operator.
    FlinkDeployment,
    /// KubeRay's `RayCluster`.
    RayCluster,
    /// Numaflow's `Vertex` and `MonoVertex`.
    Vertex,
    /// Semaphores of Argo Workflows.
    ConfigMap,
    /// How many of its workflows Argo runs at once.
    Namespace,
}

/// What an object says of its count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// What is asked for.
    pub desired: u32,
    /// What is there, where the object tells.
    pub current: Option<u32>,
    /// Label selector of the pods behind it. Without one, what is there counts as ready; and where nothing is said of what is there, a
    /// count is in force as soon as it is written.
    pub selector: Option<String>,
    /// Pods of one replica.
    pub pods_each: u32,
    /// Where it is written.
    pub field: Field,
}

impl Lever {
    /// The lever of a kind, if it has one of its own.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("sparkoperator.k8s.io", "SparkApplication") => Some(Self::SparkApplication),
            ("sparkoperator.k8s.io", "ScheduledSparkApplication") => {
                Some(Self::ScheduledSparkApplication)
            }
            ("flink.apache.org", "FlinkDeployment") => Some(Self::FlinkDeployment),
            ("ray.io", "RayCluster") => Some(Self::RayCluster),
            ("numaflow.numaproj.io", "Vertex" | "MonoVertex") => Some(Self::Vertex),
            ("", "ConfigMap") => Some(Self::ConfigMap),
            ("", "Namespace") => Some(Self::Namespace),
            _ => None,
        }
    }

    /// Reads the count of an object, or of one part of it.
    ///
    /// # Errors
    /// This object offers no safe lever: what is in the way, perhaps with a hint.
    pub fn read(self, object: &Value, part: Option<&str>) -> Result<Count, String> {
        let part = part.unwrap_or_default();
        let mut count = match self {
            Self::SparkApplication => Ok(spark::application(object)),
            Self::ScheduledSparkApplication => spark::scheduled(object),
            Self::FlinkDeployment => flink::deployment(object),
            Self::RayCluster => ray::group(object, part),
            Self::Vertex => numaflow::vertex(object),
            Self::ConfigMap => argo::semaphore(object, part),
            Self::Namespace => argo::namespace(object),
        }?;
        count.field.writer = owner::of(object, &count.field.pointer);
        Ok(count)
    }
}

impl Count {
    /// A count at this pointer with nothing else to say.
    fn at(pointer: impl Into<Arc<str>>, form: Form, desired: u32) -> Self {
        Self {
            desired,
            current: None,
            selector: None,
            pods_each: 1,
            field: Field { pointer: pointer.into(), form, least: None, most: None, writer: None },
        }
    }

    fn least(mut self, count: u32, why: impl Into<Arc<str>>) -> Self {
        self.field.least = Some(Limit { count, why: why.into() });
        self
    }

    fn most(mut self, count: u32, why: impl Into<Arc<str>>) -> Self {
        self.field.most = Some(Limit { count, why: why.into() });
        self
    }

    /// Stays as it is.
    fn frozen(self, why: &str) -> Self {
        let desired = self.desired;
        self.least(desired, why).most(desired, why)
    }
}

/// A whole number, spelled as a number or as text.
fn whole(value: &Value) -> Option<u32> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => u32::try_from(value.as_u64()?).ok(),
    }
}

/// A switch, spelled as one or as text.
fn is_on(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str() == Some("true"))
}

/// One name as a step of a JSON pointer.
fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
