//! Argo CD: repository server, application controller and API server, from one program, with Debian's Redis; and the Git repository they read.
//! Started by the tests beside it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rig::{
    Cluster, Process, Program, Redis, free_port, fresh_folder, http_get, http_post, tool, until,
};

/// A busy machine takes several times the usual 5 s.
const START: Duration = Duration::from_mins(2);
/// How long a refresh or a sync may take.
const SOON: Duration = Duration::from_mins(2);
/// Where Argo CD lives, as the manifests of `deploy` have it.
pub(super) const NAMESPACE: &str = "argocd";

/// A running Argo CD.
pub(super) struct ArgoCd<'a> {
    cluster: &'a Cluster,
    /// Where its API server listens.
    port: u16,
    // Dropped in this order: those that ask end before those that answer.
    _server: Process,
    controller: Process,
    _repositories: Process,
    _redis: Redis,
}

impl<'a> ArgoCd<'a> {
    /// Makes its kinds known, configures it as its own manifests do and with deploy/argocd, and starts it.
    pub(super) async fn start(cluster: &'a Cluster) -> Result<Self> {
        cluster.define(&tool("argocd/crds.yaml")?).await?;
        cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
        for object in settings() {
            cluster.apply(NAMESPACE, &object.to_string()).await?;
        }
        let patch = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/argocd-cm.yaml");
        let patch = patch.display().to_string();
        cluster
            .kubectl(&["-n", NAMESPACE, "patch", "configmap", "argocd-cm", "--patch-file", &patch])
            .await?;

        let redis = Redis::start(&[]).await?;
        let (git, git_health) = (free_port()?, free_port()?);
        let at_git = format!("--repo-server=127.0.0.1:{git}");
        let at_redis = format!("--redis={}", redis.address());
        let repositories = part(cluster, "argocd-repo-server", git_health, |program| {
            program.args(["--address=127.0.0.1", "--metrics-address=127.0.0.1"]).args([
                at_redis.clone(),
                format!("--port={git}"),
                format!("--metrics-port={git_health}"),
            ])
        })
        .await?;
        let health = free_port()?;
        let controller = part(cluster, "argocd-application-controller", health, |program| {
            program
                .args(["--persist-resource-health"])
                .args([format!("--namespace={NAMESPACE}"), format!("--metrics-port={health}")])
                .args([at_redis.clone(), at_git.clone()])
        })
        .await?;
        let (port, metrics) = (free_port()?, free_port()?);
        let server = part(cluster, "argocd-server", port, |program| {
            program
                .args(["--insecure", "--disable-auth", "--address=127.0.0.1"])
                .args([format!("--namespace={NAMESPACE}"), format!("--port={port}")])
                .args([
                    "--metrics-address=127.0.0.1".to_owned(),
                    format!("--metrics-port={metrics}"),
                ])
                .args([at_redis, at_git])
        })
        .await?;
        Ok(Self {
            cluster,
            port,
            _server: server,
            controller,
            _repositories: repositories,
            _redis: redis,
        })
    }

    /// Applies an object in its namespace.
    pub(super) async fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.apply(NAMESPACE, &object.to_string()).await.map(drop)
    }

    /// What an Application is now.
    pub(super) async fn application(&self, name: &str) -> Result<Value> {
        let text = self
            .cluster
            .kubectl(&["-n", NAMESPACE, "get", "application", name, "-o", "json"])
            .await?;
        serde_json::from_str(&text).context("understand an Application")
    }

    /// Waits until an Application is in this state, `Synced Healthy`, with this commit.
    pub(super) async fn until_it_is(&self, name: &str, state: &str, commit: &str) -> Result<Value> {
        let what = format!("Application {name} to be {state} at {commit}");
        self.told(
            until(&what, SOON, async || {
                let application = self.application(name).await?;
                let status = &application["status"];
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let is = format!(
                    "{} {}",
                    word(&status["sync"]["status"]),
                    word(&status["health"]["status"])
                );
                let is_over = application["operation"].is_null()
                    && status["operationState"]["phase"] != "Running";
                let is_it = is == state && status["sync"]["revision"] == commit && is_over;
                ensure!(is_it, "it is {is}: {:#}", trimmed(status));
                Ok(Some(application))
            })
            .await,
        )
    }

    /// Has it look at Git and at the cluster again, as the button does, and waits until it has.
    pub(super) async fn refresh(&self, name: &str) -> Result<()> {
        let place = ["-n", NAMESPACE, "annotate", "--overwrite", "application", name];
        let word = "argocd.argoproj.io/refresh";
        self.cluster.kubectl(&[&place[..], &[&format!("{word}=hard")]].concat()).await?;
        self.told(
            until(&format!("{name} to be refreshed"), SOON, async || {
                let application = self.application(name).await?;
                // It takes its request away when it is done.
                ensure!(application["metadata"]["annotations"][word].is_null(), "not yet");
                Ok(Some(()))
            })
            .await,
        )
    }

    /// Syncs an Application, as the button does, and waits until that is over.
    pub(super) async fn sync(&self, name: &str) -> Result<()> {
        let before = self.application(name).await?["status"]["operationState"]["startedAt"].clone();
        self.post(&format!("/api/v1/applications/{name}/sync"), &json!({"name": name})).await?;
        self.told(
            until(&format!("{name} to be synced"), SOON, async || {
                let status = self.application(name).await?["status"]["operationState"].clone();
                let is_over = status["startedAt"] != before && status["phase"] == "Succeeded";
                ensure!(is_over, "{:#}", trimmed(&status));
                Ok(Some(()))
            })
            .await,
        )
    }

    /// Runs an action on a ScaledPipeline, as a click does.
    pub(super) async fn act(
        &self,
        application: &str,
        pipeline: (&str, &str),
        action: &str,
    ) -> Result<()> {
        let (namespace, name) = pipeline;
        let body = json!({
            "name": application, "namespace": namespace, "resourceName": name, "action": action,
            "group": "penstock.dev", "version": "v1alpha1", "kind": "ScaledPipeline",
        });
        self.post(&format!("/api/v1/applications/{application}/resource/actions/v2"), &body).await
    }

    /// The actions on a ScaledPipeline that may be clicked, in the order of the alphabet.
    pub(super) async fn offered(
        &self,
        application: &str,
        pipeline: (&str, &str),
    ) -> Result<Vec<String>> {
        let (namespace, name) = pipeline;
        let path = format!(
            "/api/v1/applications/{application}/resource/actions?namespace={namespace}&resourceName={name}\
             &group=penstock.dev&version=v1alpha1&kind=ScaledPipeline"
        );
        let (code, body) = http_get(self.port, &path).await?;
        ensure!(code == 200, "{path} answers {code}: {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let all = answer["actions"].as_array().cloned().unwrap_or_default();
        let offered = all.iter().filter(|action| action["disabled"] != true);
        let mut names: Vec<_> =
            offered.filter_map(|action| action["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<()> {
        let json = [("Content-Type", "application/json")];
        let (code, answer) = http_post(self.port, path, &json, &body.to_string()).await?;
        ensure!(code == 200, "{path} answers {code}: {answer}");
        Ok(())
    }

    /// An error with the end of the controller's log.
    fn told<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let log = self.controller.log().unwrap_or_default();
            let mut lines: Vec<_> = log.lines().rev().take(20).collect();
            lines.reverse();
            error.context(format!(
                "the application controller's log ends with\n{}\n",
                lines.join("\n")
            ))
        })
    }
}

/// One part of it, started and ready: its health is at a port.
#[expect(clippy::disallowed_methods, reason = "its own scripts come before those of the PATH")]
async fn part(
    cluster: &Cluster,
    name: &str,
    health: u16,
    more: impl FnOnce(Program) -> Program,
) -> Result<Process> {
    let folder = fresh_folder(name)?;
    let here = folder.display().to_string();
    let scripts = tool("argocd/git-verify-wrapper.sh")?;
    let scripts = scripts.parent().context("no folder")?.display().to_string();
    let path = std::env::var("PATH").context("no PATH")?;
    let program = Program::new(tool("argocd/argocd")?)
        .env("PATH", format!("{scripts}:{path}"))
        .env("ARGOCD_BINARY_NAME", name)
        .env("KUBECONFIG", cluster.kubeconfig().display().to_string())
        // Its cluster is the one of this file, and not the one that it runs in.
        .env("ARGOCD_FAKE_IN_CLUSTER", "true")
        .env("ARGOCD_GPG_ENABLED", "false")
        .env("ARGOCD_ASK_PASS_SOCK", folder.join("ask").display().to_string())
        .env("HOME", &*here)
        .env("TMPDIR", &*here)
        .in_folder(&folder);
    let process = Process::start(name, more(program), &folder)?;
    process
        .ready(START, async || {
            let (code, body) = http_get(health, "/healthz").await?;
            ensure!(code == 200, "{name} answers {code}: {body}");
            Ok(())
        })
        .await?;
    Ok(process)
}

/// What its own manifests configure, as far as it does not start without.
fn settings() -> [Value; 3] {
    let named = |name: &str| {
        let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"});
        json!({"name": name, "namespace": NAMESPACE, "labels": labels})
    };
    let any = json!([{"group": "*", "kind": "*"}]);
    [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("argocd-cm")}),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": named("argocd-secret"),
            "stringData": {"server.secretkey": "nobody logs in here"},
        }),
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "default"},
            "spec": {
                "sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
                "clusterResourceWhitelist": any,
            },
        }),
    ]
}

/// What is worth telling of a status.
fn trimmed(status: &Value) -> Value {
    let mut status = status.clone();
    if let Value::Object(fields) = &mut status {
        for field in ["history", "summary", "reconciledAt"] {
            fields.remove(field);
        }
    }
    status
}

/// Commits all that lies in a folder, which becomes a repository; gives the commit.
pub(super) async fn commit(folder: &Path) -> Result<String> {
    let git = |arguments: &[&str]| {
        let who = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let arguments = [&who[..], arguments].concat();
        // Not as whoever runs the test signs and hooks his commits.
        let alone = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"];
        let program = Program::new("git").args(arguments).in_folder(folder);
        let program = alone.into_iter().fold(program, |git, name| git.env(name, "/dev/null"));
        async move { program.run().await }
    };
    git(&["init", "-q", "-b", "main"]).await?;
    git(&["add", "-A"]).await?;
    git(&["commit", "-q", "-m", "what runs"]).await?;
    Ok(git(&["rev-parse", "HEAD"]).await?.trim().to_owned())
}
