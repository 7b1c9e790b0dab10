//! Who is measured: Penstock, or KEDA with the HPA. Each scales the same Deployments by the same lag, in its own words. Called by
//! `ground`; how KEDA is started is in `keda.rs`.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::ground::{Ground, PER_REPLICA, RATE, Sizing, merge};
use crate::keda::Keda;
use crate::rig::{Penstock, Process, Request, until};

/// One of those who are measured.
pub(crate) enum Contender {
    Penstock(Penstock),
    Keda(Keda),
}

impl Contender {
    pub(crate) async fn penstock(ground: &Ground) -> Result<Self> {
        ground.cluster.install().await?;
        Ok(Self::Penstock(Penstock::run(ground.cluster.kubeconfig(), &[]).await?))
    }

    /// `polling`: KEDA's `pollingInterval` in seconds; its own default when `None`.
    pub(crate) async fn keda(ground: &Ground, polling: Option<u32>) -> Result<Self> {
        Ok(Self::Keda(Keda::start(&ground.cluster, polling).await?))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Penstock(_) => "Penstock".into(),
            Self::Keda(keda) => keda.name(),
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Penstock(_))
    }

    /// The object that has a Deployment scaled by the lag of the group on the topic, all three of this name.
    pub(crate) fn scaler(&self, name: &str, least: u32, sizing: Sizing, bootstrap: &str) -> Value {
        match self {
            Self::Penstock(_) => pipeline(name, least, sizing, bootstrap),
            Self::Keda(keda) => keda.scaled_object(name, least, bootstrap),
        }
    }

    /// What kubectl calls that object.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Penstock(_) => "scaledpipelines.penstock.dev",
            Self::Keda(_) => "scaledobjects.keda.sh",
        }
    }

    /// Waits until it has read all of these.
    pub(crate) async fn read(&self, ground: &Ground, names: &[String]) -> Result<()> {
        match self {
            Self::Penstock(daemon) => {
                until("first readings", Duration::from_mins(3), async || {
                    let page = daemon.page("/api/v1/pipelines").await?;
                    let all = page["pipelines"].as_array();
                    let fresh = all.into_iter().flatten().filter(|pipeline| {
                        names.iter().any(|name| pipeline["name"] == **name)
                            && pipeline["stages"][0]["sources"][0]["state"] == "Fresh"
                    });
                    Ok((fresh.count() == names.len()).then_some(()))
                })
                .await
            }
            Self::Keda(keda) => keda.ready(&ground.client, names).await,
        }
    }

    pub(crate) fn processes(&self) -> Vec<&Process> {
        match self {
            Self::Penstock(daemon) => vec![daemon.process()],
            Self::Keda(keda) => vec![&keda.operator, &keda.adapter],
        }
    }

    /// The `client.id` by which the broker knows it.
    pub(crate) fn client(&self) -> &'static str {
        match self {
            Self::Penstock(_) => "penstock",
            Self::Keda(_) => "sarama",
        }
    }

    /// Does it cause this request? Leases and the Secrets that are asked for by name do not count.
    pub(crate) fn causes(&self, request: &Request) -> bool {
        let agent = &request.user_agent;
        let is_its = match self {
            Self::Penstock(_) => agent.starts_with("penstock/"),
            Self::Keda(_) => {
                let names = ["operator/", "adapter/", "keda"];
                names.iter().any(|name| agent.starts_with(name))
                    || agent.contains("horizontal-pod-autoscaler")
            }
        };
        is_its && !["leases", "secrets"].iter().any(|kind| request.resource.starts_with(kind))
    }
}

fn pipeline(name: &str, least: u32, sizing: Sizing, bootstrap: &str) -> Value {
    let (kafka, stage) = match sizing {
        Sizing::Threshold => (json!({"perReplica": PER_REPLICA}), json!({})),
        Sizing::KnownRate => {
            (json!({}), json!({"ratePerReplica": RATE, "objective": {"maxDelay": "60s"}}))
        }
    };
    let mut source = json!({
        "bootstrapServers": bootstrap, "topics": [name], "group": name, "offsetReset": "Earliest",
    });
    merge(&mut source, kafka);
    let mut whole = json!({
        "name": "work", "target": {"name": name}, "replicas": {"min": least, "max": 48},
        "sources": [{"name": "queue", "kafka": source}],
    });
    merge(&mut whole, stage);
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": name}, "spec": {"stages": [whole]},
    })
}
