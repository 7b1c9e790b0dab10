//! Karpenter with the provider that makes KWOK's nodes: pods that fit nowhere get a node in seconds, with labels of capacity type, zone and
//! price, and no cloud. Wants a cluster with controllers, since it is their scheduler that finds the pods too large. Started by the tests
//! of node pools.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cluster::Cluster;
use super::process::{Process, Program};
use super::{folder, http, ports, tool};

/// A busy machine takes several times the usual 3 s.
const START: Duration = Duration::from_secs(90);

/// A running Karpenter.
#[derive(Debug)]
pub(crate) struct Karpenter {
    process: Process,
    /// Where it serves `/metrics`.
    pub(crate) metrics: u16,
}

impl Karpenter {
    /// Makes its kinds and a KWOKNodeClass called `default` known, starts it, and waits until it is ready. Gates are those of
    /// `FEATURE_GATES`, such as `CapacityBuffer=true`; those that are not named keep their defaults.
    pub(crate) async fn start(cluster: &Cluster, gates: &str) -> Result<Self> {
        cluster.define(&tool("karpenter/crds.yaml")?).await?;
        let class = "
apiVersion: karpenter.kwok.sh/v1alpha1
kind: KWOKNodeClass
metadata: {name: default}
spec: {}
";
        cluster.apply("default", class).await?;
        let (metrics, health) = (ports::free()?, ports::free()?);
        let program = Program::new(tool("karpenter/karpenter")?)
            .env("KUBECONFIG", cluster.kubeconfig().display().to_string())
            .env("DISABLE_LEADER_ELECTION", "true")
            .env("SYSTEM_NAMESPACE", "kube-system")
            .env("METRICS_PORT", metrics.to_string())
            .env("HEALTH_PROBE_PORT", health.to_string())
            .env("BATCH_IDLE_DURATION", "100ms")
            .env("BATCH_MAX_DURATION", "1s")
            .env("FEATURE_GATES", gates);
        let process = Process::start("karpenter", program, &folder::fresh("karpenter")?)?;
        process
            .ready(START, async || {
                let (code, body) = http::get(health, "/readyz").await?;
                ensure!(code == 200, "karpenter answers {code}: {body}");
                Ok(())
            })
            .await
            .context("karpenter does not become ready")?;
        Ok(Self { process, metrics })
    }

    /// Its process, to kill it or freeze it.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The manifest of a NodePool that may make nodes of these capacity types, and removes empty ones after 30 s; `limits` is YAML.
    pub(crate) fn node_pool(name: &str, capacity_types: &[&str], limits: &str) -> String {
        format!(
            "---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {{name: {name}}}
spec:
  limits: {limits}
  disruption: {{consolidationPolicy: WhenEmpty, consolidateAfter: 30s}}
  template:
    spec:
      nodeClassRef: {{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}}
      requirements:
      - {{key: karpenter.sh/capacity-type, operator: In, values: [{}]}}
",
            capacity_types.join(", ")
        )
    }
}
