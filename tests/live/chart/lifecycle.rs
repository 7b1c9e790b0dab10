//! A life with the real Helm on a real API server, in a namespace where Pod Security `restricted` is enforced: the last chart, the upgrade to this
//! one, changed values, a rollback, uninstall, and install again. Pipelines outlive all of it. Also: real API servers take every values file.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{documents, helm_on, path, restricted, template, values_files};
use crate::manifests::PIPELINE;
use crate::rig::{Cluster, ClusterOptions, Kubernetes, shared, tool};

/// Long enough for a busy machine: two pods of KWOK are Ready in a second.
const PATIENCE: &str = "--timeout=3m";

#[tokio::test]
async fn pipelines_outlive_upgrades_uninstall_and_install() -> Result<()> {
    let options = ClusterOptions { nodes: 2, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    for name in ["penstock", "shop"] {
        restricted(&cluster, name).await?;
    }
    let new = path("charts/penstock").display().to_string();
    let old = path("tests/data/chart/penstock-0.1.0.tgz").display().to_string();
    let here = ["-n", "penstock", "--wait", PATIENCE];
    let helm = async |arguments: &[&str]| helm_on(&cluster, &[arguments, &here[..]].concat()).await;

    // As the last chart was installed: definitions by hand, then the chart, and a pipeline.
    cluster.install().await?;
    helm(&["install", "penstock", &old, "--set", "secrets.shop={login}"]).await?;
    cluster.apply("shop", PIPELINE).await?;
    let uid = uid(&cluster).await?;

    // Whose definitions they are must be said once.
    let refused = helm(&["upgrade", "penstock", &new, "--reset-then-reuse-values"]).await;
    let refused = refused.err().context("definitions of someone else are taken unasked")?;
    ensure!(format!("{refused:#}").contains("ownership metadata"), "{refused:#}");
    let upgrade = ["upgrade", "penstock", &new, "--take-ownership", "--reset-then-reuse-values"];
    let notes = helm(&upgrade).await?;
    get(&cluster, &["-n", "shop", "role", "penstock-penstock-secrets"])
        .await
        .context("a value is lost")?;
    ensure!(notes.contains("Is it up?") && notes.contains("penstock explain"), "{notes}");
    ready(&cluster, 2).await?;
    let definition = get(&cluster, &["crd", "scaledpipelines.penstock.dev"]).await?;
    let kept = &definition["metadata"]["annotations"]["helm.sh/resource-policy"];
    ensure!(kept == "keep", "{}", definition["metadata"]);

    // Other values, and back.
    let change = ["--set", "replicaCount=3,grpc.enabled=false,networkPolicy.enabled=true"];
    helm(&[&["upgrade", "penstock", &new][..], &change].concat()).await?;
    ready(&cluster, 3).await?;
    ensure!(
        get(&cluster, &["service", "penstock-scaler"]).await.is_err(),
        "a Service of a port that is closed"
    );
    helm(&["rollback", "penstock", "2"]).await?;
    ready(&cluster, 2).await?;
    get(&cluster, &["service", "penstock-scaler"]).await?;
    ensure!(
        get(&cluster, &["networkpolicy", "penstock"]).await.is_err(),
        "the rollback left a NetworkPolicy"
    );

    // Definitions that the chart no longer brings stay, too.
    helm(&["upgrade", "penstock", &new, "--set", "crds.install=false"]).await?;
    ensure!(self::uid(&cluster).await? == uid);

    helm(&["uninstall", "penstock"]).await?;
    ensure!(self::uid(&cluster).await? == uid, "the pipeline is gone");
    let all = "deploy,svc,sa,pdb,role,rolebinding,clusterrole,clusterrolebinding,networkpolicy,lease,validatingadmissionpolicy,validatingadmissionpolicybinding";
    let left = ["get", all, "-A", "-l", "app.kubernetes.io/part-of=penstock", "-o", "name"];
    let left = cluster.kubectl(&left).await?;
    ensure!(left.trim().is_empty(), "uninstall left {left}");

    // What was kept is taken again by a release of the same name.
    helm(&["install", "penstock", &new, "--take-ownership"]).await?;
    ready(&cluster, 2).await?;
    ensure!(self::uid(&cluster).await? == uid);
    Ok(())
}

async fn get(cluster: &Cluster, what: &[&str]) -> Result<Value> {
    let text = cluster.kubectl(&[&["-n", "penstock", "get", "-o", "json"], what].concat()).await?;
    Ok(serde_json::from_str(&text)?)
}

async fn uid(cluster: &Cluster) -> Result<Value> {
    let pipeline = get(cluster, &["-n", "shop", "spl", "orders"]).await?;
    Ok(pipeline["metadata"]["uid"].clone())
}

async fn ready(cluster: &Cluster, count: u32) -> Result<()> {
    let status = get(cluster, &["deploy", "penstock"]).await?["status"].clone();
    ensure!(
        status["readyReplicas"] == json!(count) && status["replicas"] == json!(count),
        "{status}"
    );
    Ok(())
}

#[tokio::test]
async fn the_newest_api_server_takes_each_values_file() -> Result<()> {
    takes_all(shared::cluster().await?).await
}

#[tokio::test]
async fn the_oldest_api_server_takes_each_values_file() -> Result<()> {
    takes_all(shared::oldest_cluster().await?).await
}

/// Server-side, so that the API server itself judges every field, and the expressions of the policy; nothing stays.
async fn takes_all(cluster: &Cluster) -> Result<()> {
    for name in ["penstock", "sales", "billing", "lab"] {
        restricted(cluster, name).await?;
    }
    // The kinds of the Prometheus operator, as it ships them.
    cluster.define(&tool("prometheus-operator/crds.yaml")?).await?;
    let folder = crate::rig::fresh_folder("rendered")?;
    for (name, values) in values_files()? {
        let text = template(&["-f", &values]).await?;
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, &text)?;
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
        ];
        let told =
            cluster.kubectl(&[&apply[..], &["-f", &file.display().to_string()]].concat()).await;
        let told = told.with_context(|| name.clone())?;
        ensure!(told.lines().count() == documents(&text)?.len(), "{name}: {told}");
    }
    Ok(())
}
