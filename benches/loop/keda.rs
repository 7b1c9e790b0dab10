//! KEDA's operator and metrics adapter as child processes, served to the HPA through the API server as in a cluster. Called by
//! `contender`; the binaries come from `tests/live/tools/build keda`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::ground::PER_REPLICA;
use crate::rig::{
    Authority, Cluster, Process, Program, free_port, fresh_folder, http_get, tool, until,
};

/// KEDA on a cluster.
pub(crate) struct Keda {
    pub(crate) operator: Process,
    pub(crate) adapter: Process,
    polling: Option<u32>,
}

const NAMESPACE: &str = "keda";
const START: Duration = Duration::from_mins(2);
/// By its limit of 20 requests a second to the API server, 500 objects take it about five minutes.
const FIRST_LOOK: Duration = Duration::from_mins(15);

impl Keda {
    /// Installs its kinds, starts both processes and waits until the API server reaches its metrics.
    pub(crate) async fn start(cluster: &Cluster, polling: Option<u32>) -> Result<Self> {
        let hint = "hint: tests/live/tools/build keda";
        let (operator, adapter) =
            (tool("keda/operator").context(hint)?, tool("keda/adapter").context(hint)?);
        let kinds = tool("keda/config/crd/bases")?.display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-f", &kinds]).await?;
        // Asked before the API server has looked at a new kind, kubectl finds no conditions, and gives up.
        until("KEDA's kinds to be established", START, async || {
            let wait = ["wait", "--for=condition=Established", "crd/scaledobjects.keda.sh"];
            Ok(cluster.kubectl(&wait).await.ok().map(drop))
        })
        .await?;
        cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;

        let folder = fresh_folder("keda")?;
        // The link between the two is secured on both sides, by one certificate.
        let authority = Authority::new("keda")?;
        std::fs::write(folder.join("ca.crt"), authority.certificate())?;
        authority.server("keda-operator")?.write(&folder, "tls")?;
        let certs = folder.display().to_string();
        let [metrics, probes, link, adapter_metrics, secure] =
            [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
        let kubeconfig = cluster.kubeconfig().display().to_string();
        // What its pods are told by their manifest and, of the namespace, by their service account.
        let program = |path: &Path| {
            Program::new(path)
                .env("WATCH_NAMESPACE", "")
                .env("POD_NAMESPACE", NAMESPACE)
                .env("KEDA_CLUSTER_OBJECT_NAMESPACE", NAMESPACE)
                .env("KUBECONFIG", kubeconfig.as_str())
        };
        let operator = program(&operator).args([
            "--leader-elect=false".to_owned(),
            format!("--cert-dir={certs}"),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            format!("--health-probe-bind-address=127.0.0.1:{probes}"),
            format!("--metrics-service-bind-address=127.0.0.1:{link}"),
        ]);
        let adapter = program(&adapter).args([
            format!("--port={adapter_metrics}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={secure}"),
            format!("--cert-dir={certs}"),
            format!("--tls-cert-file={certs}/tls.crt"),
            format!("--tls-private-key-file={certs}/tls.key"),
            format!("--client-ca-file={certs}/ca.crt"),
            format!("--metrics-service-address=127.0.0.1:{link}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--lister-kubeconfig={kubeconfig}"),
        ]);
        let operator = Process::start("keda-operator", operator, &folder)?;
        operator
            .ready(START, async || {
                let (code, body) = http_get(probes, "/readyz").await?;
                anyhow::ensure!(code == 200, "KEDA's operator answers {code}: {body}");
                Ok(())
            })
            .await?;
        let adapter = Process::start("keda-adapter", adapter, &folder)?;
        cluster.apply(NAMESPACE, &served(secure)).await?;
        let client = cluster.client().await?;
        adapter
            .ready(START, async || {
                let path = "/apis/external.metrics.k8s.io/v1beta1";
                client.request_text(http::Request::get(path).body(Vec::new())?).await?;
                Ok(())
            })
            .await?;
        Ok(Self { operator, adapter, polling })
    }

    pub(crate) fn name(&self) -> String {
        match self.polling {
            None => "KEDA, defaults".into(),
            Some(seconds) => format!("KEDA, pollingInterval {seconds}"),
        }
    }

    pub(crate) fn scaled_object(&self, name: &str, least: u32, bootstrap: &str) -> Value {
        let mut spec = json!({
            "scaleTargetRef": {"name": name}, "minReplicaCount": least, "maxReplicaCount": 48,
            "triggers": [{"type": "kafka", "metadata": {
                "bootstrapServers": bootstrap, "topic": name, "consumerGroup": name,
                "lagThreshold": PER_REPLICA.to_string(), "offsetResetPolicy": "earliest",
            }}],
        });
        if let Some(seconds) = self.polling {
            spec["pollingInterval"] = json!(seconds);
        }
        json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": name}, "spec": spec,
        })
    }

    /// Waits until it calls all of these ready; fails at once, with the end of its log, when it ends.
    pub(crate) async fn ready(&self, client: &Client, names: &[String]) -> Result<()> {
        let resource = ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
            "keda.sh",
            "v1alpha1",
            "ScaledObject",
        ));
        let objects: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), "default", &resource);
        self.operator
            .ready(FIRST_LOOK, async || {
                // Every two seconds: the question itself is not for free.
                tokio::time::sleep(Duration::from_secs(2)).await;
                let found = objects.list(&ListParams::default()).await?;
                let ready = found.iter().filter(|object| {
                    let conditions = object.data["status"]["conditions"].as_array();
                    let is_ready = conditions.into_iter().flatten().any(|condition| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    });
                    is_ready && object.metadata.name.as_ref().is_some_and(|it| names.contains(it))
                });
                let (ready, all) = (ready.count(), names.len());
                anyhow::ensure!(ready == all, "{ready} of its {all} objects are Ready");
                Ok(())
            })
            .await
    }
}

/// How the API server reaches the adapter, which runs outside the cluster.
fn served(port: u16) -> String {
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "keda-metrics-apiserver", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "service": {"name": "keda-metrics-apiserver", "namespace": NAMESPACE, "port": port},
                "group": "external.metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
                "groupPriorityMinimum": 100, "versionPriority": 100,
            },
        }),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}
