//! The recommender of the Vertical Pod Autoscaler, alone: it says what pods should request, and changes none. Wants a cluster that serves
//! metrics.k8s.io. Started by the test of what Penstock makes of pods whose requests change.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::cluster::Cluster;
use super::process::{Process, Program};
use super::{folder, http, ports, tool};

/// A busy machine takes several times the usual second.
const START: Duration = Duration::from_mins(1);

/// A running recommender.
#[derive(Debug)]
pub(crate) struct Recommender {
    process: Process,
}

impl Recommender {
    /// Makes its kinds known, starts it for the objects of one namespace, looking each second, and waits until it looks.
    pub(crate) async fn start(cluster: &Cluster, namespace: &str) -> Result<Self> {
        cluster.define(&tool("vpa/crds.yaml")?).await?;
        let port = ports::free()?;
        let program = Program::new(tool("vpa/recommender")?).args([
            format!("--kubeconfig={}", cluster.kubeconfig().display()),
            format!("--vpa-object-namespace={namespace}"),
            format!("--address=127.0.0.1:{port}"),
            "--recommender-interval=1s".to_owned(),
        ]);
        let process = Process::start("recommender", program, &folder::fresh("recommender")?)?;
        process
            .ready(START, async || {
                let (code, body) = http::get(port, "/health-check").await?;
                ensure!(code == 200, "the recommender answers {code}: {body}");
                Ok(())
            })
            .await?;
        Ok(Self { process })
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}
