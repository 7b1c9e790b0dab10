//! What people write: the kinds of group `penstock.dev`, their rules and their manual, and how they are read.
//! `watch` and `report` use the types, `meaning` is the only way from them to decide's terms. No client, no waiting.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub mod pipeline;
pub mod source;
pub mod wish;
pub mod workload;
pub mod behaviour;
pub mod connection;
pub mod login;
pub mod pool;
pub mod budget;
pub mod status;
pub mod pool_status;
pub mod strimzi;
pub mod duration;
pub mod quantity;
pub mod meaning;
pub mod manifest;
mod rules;
mod generate;
pub mod schema;

pub use budget::{CapacityBudget, CapacityBudgetSpec, CapacityBudgetStatus};
pub use connection::{ClusterConnection, ClusterConnectionSpec, Connection, ConnectionSpec};
pub use pipeline::{ScaledPipeline, ScaledPipelineSpec};
pub use pool::{CapacityPool, CapacityPoolSpec};
pub use pool_status::CapacityPoolStatus;
pub use status::PipelineStatus;

/// The API group of all kinds.
pub const GROUP: &str = "penstock.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all kinds, as the API server takes them.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        generate::with_schema::<ScaledPipelineSpec, PipelineStatus>(
            ScaledPipeline::crd(),
            "Says how late the data of a pipeline may be; Penstock sizes its stages so that it is no later.",
        ),
        generate::with_schema::<ConnectionSpec, ()>(
            Connection::crd(),
            "Where a source is and how to log in, for the pipelines of one namespace.",
        ),
        generate::with_schema::<ClusterConnectionSpec, ()>(
            ClusterConnection::crd(),
            "Where a source is and how to log in, for the namespaces it allows.",
        ),
        generate::with_schema::<CapacityPoolSpec, CapacityPoolStatus>(
            CapacityPool::crd(),
            "The nodes of one kind, what they cost and how they may be taken away.",
        ),
        generate::with_schema::<CapacityBudgetSpec, CapacityBudgetStatus>(
            CapacityBudget::crd(),
            "How much the pipelines of some namespaces may use, in money and in CPUs.",
        ),
    ]
}

/// One definition as YAML.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// The name and text of the file that each definition is kept in, under `deploy/crds`.
pub fn files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let file = |crd: &CustomResourceDefinition| {
        let name = format!("{GROUP}_{}.yaml", crd.spec.names.plural);
        Ok((name, format!("# Generated from src/crd by `make crds`.\n{}", yaml(crd)?)))
    };
    all().iter().map(file).collect()
}
