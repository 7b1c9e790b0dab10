//! `penstock check` against a real API server: what is missing is named, what it prints mends it, and what is wrong with a pipeline is told
//! before and after a daemon runs.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, shared, until};
use crate::scene::{SOON, Scene, kafka};

/// What `penstock check` says, and the code it ends with.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

pub(crate) async fn check(kubeconfig: &Path, arguments: &[&str]) -> Result<Said> {
    let program = tokio::process::Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("check")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .output();
    let Output { status, stdout, stderr } = program.await.context("cannot run penstock")?;
    let text = String::from_utf8(stdout)? + &String::from_utf8(stderr)?;
    Ok(Said { code: status.code(), text })
}

impl Said {
    /// The findings, when JSON was asked for.
    fn findings(&self) -> Result<Vec<Value>> {
        let report: Value = serde_json::from_str(&self.text).context(self.text.clone())?;
        Ok(report["findings"].as_array().context("no findings")?.clone())
    }

    /// What is said of a subject.
    pub(crate) fn of(&self, subject: &str) -> Result<(String, String)> {
        let all = self.findings()?;
        let found = all.iter().find(|finding| finding["subject"] == subject);
        let found = found.with_context(|| format!("{subject} is not in {}", self.text))?;
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        Ok((text("grade"), text("said")))
    }
}

#[tokio::test]
async fn a_cluster_without_definitions_is_told_what_to_apply() -> Result<()> {
    let options = ClusterOptions { nodes: 0, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let said = check(cluster.kubeconfig(), &[]).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    for part in [
        "FAIL",
        "definition scaledpipelines.penstock.dev",
        "it is not there",
        "penstock crds | kubectl apply --server-side -f -",
        "v1.36",
    ] {
        ensure!(said.text.contains(part), "{part} is not in {}", said.text);
    }
    // What it says mends it.
    cluster.install().await?;
    let said = check(cluster.kubeconfig(), &[]).await?;
    ensure!(said.code == Some(0) && said.text.contains("all is well"), "{}", said.text);
    ensure!(said.text.contains("as this binary has it"), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn the_roles_it_prints_grant_what_is_missing() -> Result<()> {
    let options = ClusterOptions { nodes: 1, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    cluster.install().await?;
    for name in ["penstock", "shop"] {
        cluster.kubectl(&["create", "namespace", name]).await?;
    }
    cluster.kubectl(&["-n", "penstock", "create", "serviceaccount", "worker"]).await?;
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: penstock-0, labels: {app.kubernetes.io/name: penstock}}
spec:
  serviceAccountName: worker
  containers: [{name: penstock, image: none, args: [run, --lease-namespace=leases]}]
";
    cluster.apply("penstock", pod).await?;
    let written = "
apiVersion: penstock.dev/v1alpha1
kind: Connection
metadata: {name: db}
spec:
  postgres: {host: 127.0.0.1, port: 1, database: shop, usernameSecretRef: {name: login, key: u}, passwordSecretRef: {name: login, key: p}}
---
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {name: orders}
spec:
  stages:
  - name: enrich
    target: {kind: StatefulSet, name: enrich}
    replicas: {max: 5}
    sources:
    - {name: todo, postgres: {connectionRef: {name: db}, query: 'SELECT 1', perReplica: 5}}
    - {name: cpu, cpu: {utilization: 80}}
  - name: nightly
    jobs: {templateRef: {kind: CronJob, name: nightly}}
    replicas: {min: 0, max: 5}
    sources: [{name: todo, postgres: {connectionRef: {name: db}, query: 'SELECT 2', perReplica: 5}}]
";
    cluster.apply("shop", written).await?;
    let arguments = ["--here", "--timeout", "5", "-o", "json"];
    let said = check(cluster.kubeconfig(), &arguments).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    let missing: Vec<String> = said
        .findings()?
        .iter()
        .filter(|finding| finding["area"] == "rights" && finding["grade"] == "Bad")
        .filter_map(|finding| Some(finding["said"].as_str()?.to_owned()))
        .collect();
    for right in [
        "may not patch statefulsets.apps/scale in all namespaces",
        "may not create jobs.batch in all namespaces",
        "may not get secrets login in namespace shop",
        "may not update leases.coordination.k8s.io penstock in namespace leases",
        "may not list pods.metrics.k8s.io in all namespaces",
        "may not patch scaledpipelines.penstock.dev/status in all namespaces",
    ] {
        ensure!(missing.iter().any(|said| said == right), "{right} is not in {missing:?}");
    }
    ensure!(!missing.iter().any(|said| said.contains("deployments")), "{missing:?}");
    let (grade, words) = said.of("metrics.k8s.io")?;
    ensure!(grade == "Bad" && words.contains("served by nobody"), "{words}");
    // The printed roles, as they are.
    let report: Value = serde_json::from_str(&said.text)?;
    cluster.kubectl(&["create", "namespace", "leases"]).await?;
    for role in report["roles"].as_array().context("no roles")? {
        let place = role["metadata"]["namespace"].as_str().unwrap_or("default");
        cluster.apply(place, &role.to_string()).await?;
    }
    let account = "system:serviceaccount:penstock:worker";
    let said = until("the roles to count", SOON, async || {
        let said = check(cluster.kubeconfig(), &arguments).await?;
        let (grade, words) = said.of(account)?;
        ensure!(grade == "Good" && words.starts_with("may do all of the"), "{}", said.text);
        Ok(Some(said))
    })
    .await?;
    let report: Value = serde_json::from_str(&said.text)?;
    ensure!(report["roles"].is_null(), "{report}");
    a_daemon_without_a_page_is_believed_by_its_statuses(&cluster, pod).await
}

/// It runs as the arguments of its pod say, and answers nobody.
async fn a_daemon_without_a_page_is_believed_by_its_statuses(
    cluster: &Cluster,
    pod: &str,
) -> Result<()> {
    cluster.kubectl(&["-n", "penstock", "delete", "pod", "penstock-0", "--now"]).await?;
    let silent = "--page-listen=none";
    cluster.apply("penstock", &pod.replace("[run,", &format!("[run, {silent},"))).await?;
    let daemon = Penstock::run(cluster.kubeconfig(), &[silent]).await?;
    ensure!(daemon.page("/api/v1/overview").await.is_err(), "it serves a page");
    until("the daemon to say how the pipeline stands", SOON, async || {
        let said = check(cluster.kubeconfig(), &["-o", "json"]).await?;
        let report: Value = serde_json::from_str(&said.text)?;
        let by = report["toldBy"].as_str().context("nobody told")?;
        ensure!(by == "their conditions, for the daemon serves no page", "{by}");
        let (grade, words) = said.of("shop/orders")?;
        ensure!(grade == "Bad" && words.ends_with("[TargetUnusable]"), "{grade}: {words}");
        Ok(Some(()))
    })
    .await?;
    ensure!(daemon.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn pipelines_are_judged_alike_from_here_and_by_the_daemon() -> Result<()> {
    let broker = shared::broker().await?;
    let cluster = shared::cluster().await?;
    let scene = Scene::on(cluster, "check").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 4).await?;
    scene.deployment("worker", 1).await?;
    let stage = |target: &str, topic: &str| {
        json!({
            "target": {"name": target}, "replicas": {"max": 4},
            "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 10}))],
        })
    };
    scene.pipeline("good", stage("worker", topic)).await?;
    scene.pipeline_unread("bad", stage("nobody", "no-such-topic")).await?;
    let unseen = json!({"target": {"apiVersion": "odd.dev/v1", "kind": "Odd", "name": "x"}});
    let mut odd = stage("x", topic);
    odd["target"] = unseen["target"].clone();
    scene.pipeline_unread("odd", odd).await?;
    let arguments = ["-n", topic, "--here", "-o", "json"];
    let said = check(cluster.kubeconfig(), &arguments).await?;
    ensure!(said.code == Some(1), "{}", said.text);
    let name = |rest: &str| format!("{topic}/{rest}");
    let (grade, words) = said.of(&name("good"))?;
    ensure!((&*grade, &*words) == ("Good", "1 stage, 1 source read"), "{grade}: {words}");
    let (grade, words) = said.of(&name("bad work"))?;
    ensure!(grade == "Bad" && words.contains("there is no Deployment"), "{words}");
    let (grade, words) = said.of(&name("bad work queue"))?;
    ensure!(grade == "Bad" && words.contains("has no topic no-such-topic"), "{words}");
    let (grade, words) = said.of(&name("odd"))?;
    ensure!(grade == "Bad" && words.contains("knows no odd.dev/v1 Odd"), "{words}");
    // The same as a table, for people.
    let said = check(cluster.kubeconfig(), &["-n", topic, "--here"]).await?;
    ensure!(said.code == Some(1) && said.text.contains("to mend it:"), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn the_network_policy_leads_to_the_pods_behind_the_services() -> Result<()> {
    let cluster = shared::cluster().await?;
    let scene = Scene::on(cluster, "policy").await?;
    let here = &scene.namespace;
    let service = "
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: postgres}, ports: [{port: 5432, targetPort: sql}]}
";
    cluster.apply(here, service).await?;
    let url = |name: &str, url: &str| {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": name},
            "spec": {"http": {"url": url}},
        })
    };
    scene.create(url("far", "https://checks.example.com/health")).await?;
    scene.create(url("near", "http://10.9.8.7:8081")).await?;
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "db"},
            "spec": {"postgres": {
                "host": format!("db.{here}.svc"), "port": 5432, "database": "shop",
                "usernameSecretRef": {"name": "login", "key": "u"}, "passwordSecretRef": {"name": "login", "key": "p"},
            }},
        }))
        .await?;
    let http = |name: &str| json!({"name": name, "http": {"connectionRef": {"name": name}, "jsonPath": "$.n", "perReplica": 1}});
    let sql = json!({"name": "db", "postgres": {"connectionRef": {"name": "db"}, "query": "SELECT 1", "perReplica": 1}});
    let stage = json!({
        "target": {"name": "x"}, "replicas": {"max": 4}, "sources": [http("far"), http("near"), sql],
    });
    scene.pipeline_unread("all", stage).await?;
    let arguments = ["-n", here, "--network-policy", "--timeout", "5", "-o", "json"];
    let said = check(cluster.kubeconfig(), &arguments).await?;
    ensure!(said.code == Some(0), "{}", said.text);
    let policy: Value = serde_json::from_str(&said.text)?;
    let egress = policy["spec"]["egress"].as_array().context("no egress")?;
    let pods = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": here}},
        "podSelector": {"matchLabels": {"app": "postgres"}},
    });
    let tcp = |port: Value| json!([{"port": port, "protocol": "TCP"}]);
    for rule in [
        json!({"ports": tcp(json!("sql")), "to": [pods]}),
        json!({"ports": tcp(json!(8081)), "to": [{"ipBlock": {"cidr": "10.9.8.7/32"}}]}),
        json!({"ports": tcp(json!(443))}),
    ] {
        ensure!(egress.contains(&rule), "{rule} is not in {egress:?}");
    }
    // The API server takes it as it is.
    let mut policy = policy;
    policy["metadata"]["namespace"] = json!(here);
    cluster.apply(here, &policy.to_string()).await?;
    Ok(())
}
