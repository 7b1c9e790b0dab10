//! Flux's kustomize-controller, and a source for it: a `GitRepository` whose artifact the test makes of a folder and serves, as source-controller
//! would. Started by the tests beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::{StatusCode, Uri};
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::State;
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rig::{
    Cluster, Process, Program, free_port, fresh_folder, http_get, serve, tool, until,
};

/// A busy machine takes several times the usual 3 s.
const START: Duration = Duration::from_secs(90);
/// How long a reconcile may take: it waits for health, and asks for it each few seconds.
const RECONCILE: Duration = Duration::from_mins(2);
type Tarballs = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running kustomize-controller, and the tarballs it fetches.
pub(super) struct Flux<'a> {
    /// Where it lives, and the only namespace whose objects it looks at.
    pub(super) namespace: String,
    cluster: &'a Cluster,
    process: Process,
    tarballs: Tarballs,
    port: u16,
    _tasks: JoinSet<()>,
}

impl<'a> Flux<'a> {
    /// Makes its kinds known and starts it as its manifests do, apart from addresses.
    pub(super) async fn start(cluster: &'a Cluster) -> Result<Self> {
        cluster.define(&tool("flux/crds.yaml")?).await?;
        let namespace = cluster.namespace("flux-system").await?;
        let tarballs = Tarballs::default();
        let router = Router::new().fallback(fetch).with_state(Arc::clone(&tarballs));
        let (port, tasks) = serve(router).await?;
        let health = free_port()?;
        let folder = fresh_folder("kustomize-controller")?;
        let program = Program::new(tool("flux/kustomize-controller")?)
            .env("KUBECONFIG", cluster.kubeconfig().display().to_string())
            .env("RUNTIME_NAMESPACE", &*namespace)
            .env("TMPDIR", folder.display().to_string())
            .args(["--watch-all-namespaces=false", "--log-level=info", "--metrics-addr=0"])
            .arg(format!("--health-addr=127.0.0.1:{health}"));
        let process = Process::start("kustomize-controller", program, &folder)?;
        process
            .ready(START, async || {
                let (code, body) = http_get(health, "/readyz").await?;
                ensure!(code == 200, "kustomize-controller answers {code}: {body}");
                Ok(())
            })
            .await?;
        Ok(Self { namespace, cluster, process, tarballs, port, _tasks: tasks })
    }

    /// A folder becomes the new revision of a `GitRepository`.
    pub(super) async fn push(&self, source: &str, folder: &Path) -> Result<String> {
        let place = fresh_folder("artifact")?.join("artifact.tar.gz").display().to_string();
        let from = folder.display().to_string();
        Program::new("tar").args(["-C", &from, "-czf", &place, "."]).run().await?;
        let tarball = std::fs::read(&place)?;
        let hash = ring::digest::digest(&ring::digest::SHA256, &tarball);
        let hex = |text, byte: &u8| format!("{text}{byte:02x}");
        let digest = hash.as_ref().iter().fold(String::new(), hex);
        let (path, size) = (format!("/{source}/{digest}.tar.gz"), tarball.len());
        self.tarballs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), tarball);
        let name = json!({"name": source, "namespace": self.namespace});
        let repository = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": name,
            "spec": {"interval": "10m", "url": "https://git.example.com/shop/deploy.git", "ref": {"branch": "main"}},
        });
        self.apply(&repository).await?;
        let revision = format!("main@sha1:{}", &digest[..40]);
        let status = json!({"status": {
            "observedGeneration": 1,
            "artifact": {
                "path": path, "url": format!("http://127.0.0.1:{}{path}", self.port),
                "revision": revision, "digest": format!("sha256:{digest}"), "size": size,
                "lastUpdateTime": "2026-11-01T00:00:00Z",
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
                "lastTransitionTime": "2026-11-01T00:00:00Z", "observedGeneration": 1,
            }],
        }});
        let (status, place) =
            (status.to_string(), ["-n", &self.namespace, "patch", "gitrepository", source]);
        let change = ["--subresource=status", "--type=merge", "-p", &status];
        self.cluster.kubectl(&[&place[..], &change].concat()).await?;
        Ok(revision)
    }

    /// Applies an object in its namespace.
    pub(super) async fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.apply(&self.namespace, &object.to_string()).await.map(drop)
    }

    /// What a Kustomization is now.
    pub(super) async fn kustomization(&self, name: &str) -> Result<Value> {
        let text = self
            .cluster
            .kubectl(&["-n", &self.namespace, "get", "kustomization", name, "-o", "json"])
            .await?;
        serde_json::from_str(&text).context("understand a Kustomization")
    }

    /// A condition of it: status, reason, message; nothing while it has none.
    pub(super) async fn condition(&self, name: &str, kind: &str) -> Result<[String; 3]> {
        let object = self.kustomization(name).await?;
        let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|it| it["type"] == kind).unwrap_or_default();
        Ok(["status", "reason", "message"]
            .map(|field| found[field].as_str().unwrap_or_default().to_owned()))
    }

    /// Waits until it is Ready, or is not, at this revision; of what is Ready the last change is part.
    pub(super) async fn until_ready(
        &self,
        name: &str,
        status: &str,
        revision: &str,
    ) -> Result<String> {
        self.told(
            until(
                &format!("Kustomization {name} to be Ready={status} at {revision}"),
                RECONCILE,
                async || {
                    let object = self.kustomization(name).await?;
                    let [is, reason, message] = self.condition(name, "Ready").await?;
                    // It counts only generations that became Ready.
                    let is_whole =
                        object["status"]["observedGeneration"] == object["metadata"]["generation"];
                    let is_new = object["status"]["lastAttemptedRevision"] == revision
                        && (is_whole || status != "True");
                    ensure!(is == status && is_new, "it is {is}, {reason}: {message}");
                    Ok(Some(message))
                },
            )
            .await,
        )
    }

    /// Asks for a reconcile, as `flux reconcile kustomization` does, and waits until it is over.
    pub(super) async fn reconcile(&self, name: &str) -> Result<()> {
        let now = Clock::start().now().to_string();
        let request = format!("reconcile.fluxcd.io/requestedAt={now}");
        self.cluster
            .kubectl(&[
                "-n",
                &self.namespace,
                "annotate",
                "--overwrite",
                "kustomization",
                name,
                &request,
            ])
            .await?;
        self.told(
            until(&format!("the reconcile of {name} at {now}"), RECONCILE, async || {
                let object = self.kustomization(name).await?;
                let [is, reason, message] = self.condition(name, "Ready").await?;
                let is_handled = object["status"]["lastHandledReconcileAt"] == *now;
                ensure!(is_handled && is != "Unknown", "it is {is}, {reason}: {message}");
                Ok(Some(()))
            })
            .await,
        )
    }

    /// An error with the end of the controller's log.
    fn told<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let log = self.process.log().unwrap_or_default();
            let mut lines: Vec<_> = log.lines().rev().take(20).collect();
            lines.reverse();
            error.context(format!("kustomize-controller's log ends with\n{}\n", lines.join("\n")))
        })
    }
}

async fn fetch(State(tarballs): State<Tarballs>, uri: Uri) -> (StatusCode, Vec<u8>) {
    let tarballs = tarballs.lock().unwrap_or_else(PoisonError::into_inner);
    match tarballs.get(uri.path()) {
        Some(tarball) => (StatusCode::OK, tarball.clone()),
        None => (StatusCode::NOT_FOUND, Vec::new()),
    }
}
