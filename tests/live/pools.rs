//! `penstock pools` on a real API server: what it proposes is taken by kubectl as it is printed, and then covers what there is; with the
//! labels of managed node groups, and with the NodePools and nodes of a real Karpenter.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Karpenter, Kubernetes, Program, fresh_folder, until};

/// A node is there a second after its pod; a busy machine takes its time.
const NODE: Duration = Duration::from_mins(1);

async fn cluster() -> Result<Cluster> {
    let options = ClusterOptions { nodes: 1, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    cluster.install().await?;
    Ok(cluster)
}

/// What `penstock pools` prints.
async fn pools(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let program = Program::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["pools", "--kubeconfig"])
        .arg(cluster.kubeconfig().display().to_string());
    program.args(arguments.iter().copied()).run().await
}

/// Applies what is proposed as people do, once by kubectl's own merge and once on the server; gives the names of what was made.
async fn apply_proposal(cluster: &Cluster) -> Result<Vec<String>> {
    let proposed = pools(cluster, &["--propose"]).await?;
    let file = fresh_folder("proposal")?.join("pools.yaml");
    std::fs::write(&file, &proposed)?;
    let file = file.display().to_string();
    cluster
        .kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", &file])
        .await
        .context(proposed.clone())?;
    let made = cluster
        .kubectl(&["apply", "--validate=strict", "-o", "name", "-f", &file])
        .await
        .context(proposed)?;
    Ok(made.lines().map(|line| line.rsplit('/').next().unwrap_or(line).to_owned()).collect())
}

#[tokio::test]
async fn what_the_labels_of_nodes_propose_is_taken_and_then_covers_them() -> Result<()> {
    let cluster = cluster().await?;
    for (name, labels) in [
        (
            "eks-spot",
            json!({"eks.amazonaws.com/capacityType": "SPOT", "node.kubernetes.io/instance-type": "m5.large"}),
        ),
        ("eks-steady", json!({"eks.amazonaws.com/capacityType": "ON_DEMAND"})),
        (
            "gke-spot",
            json!({"cloud.google.com/gke-nodepool": "cheap", "cloud.google.com/gke-spot": "true"}),
        ),
        ("gke-steady", json!({"cloud.google.com/gke-nodepool": "main"})),
        (
            "aks-spot",
            json!({"kubernetes.azure.com/scalesetpriority": "spot", "example.com/hourly-price": "0.05"}),
        ),
        ("capi-spot", json!({"cluster.x-k8s.io/interruptible": ""})),
        ("kops-spot", json!({"node.kubernetes.io/lifecycle": "spot"})),
    ] {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        });
        cluster.apply("default", &node.to_string()).await?;
    }
    let mut made = apply_proposal(&cluster).await?;
    made.sort();
    ensure!(
        made == ["main", "on-demand", "spot", "spot-2", "spot-3", "spot-4", "spot-5"],
        "{made:?}"
    );
    let kept = cluster.kubectl(&["get", "cpool", "-o", "json"]).await?;
    let kept: Value = serde_json::from_str(&kept)?;
    let of = |key: &str| {
        let all = kept["items"].as_array().into_iter().flatten();
        all.map(|it| &it["spec"]).find(|spec| !spec["nodeSelector"][key].is_null()).cloned()
    };
    let gke = of("cloud.google.com/gke-spot").context("no pool of GKE's spot nodes")?;
    ensure!(gke["notice"] == "30s" && gke["class"] == "Spot", "{gke}");
    let aks = of("kubernetes.azure.com/scalesetpriority").context("no pool of AKS' spot nodes")?;
    let price = json!({"source": "NodeLabel", "label": "example.com/hourly-price"});
    ensure!(aks["price"] == price, "{aks}");
    let again = pools(&cluster, &["--propose"]).await?;
    // The rig's own node says nothing of how it was had.
    ensure!(again.starts_with("# Nothing to propose") && again.contains("node-0"), "{again}");
    let table = pools(&cluster, &[]).await?;
    ensure!(
        table.lines().any(|row| row.starts_with("main") && row.contains("OnDemand")),
        "{table}"
    );
    Ok(())
}

#[tokio::test]
async fn what_karpenters_node_pools_propose_has_its_nodes_and_their_prices() -> Result<()> {
    let cluster = cluster().await?;
    let karpenter = Karpenter::start(&cluster, "").await?;
    let general = Karpenter::node_pool("general", &["spot", "on-demand"], "{cpu: 1000}");
    let steady = Karpenter::node_pool("steady", &["on-demand"], "{}");
    cluster.apply("default", &format!("{general}{steady}")).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"},
        "spec": {
            "nodeSelector": {"karpenter.sh/capacity-type": "spot"},
            "containers": [{"name": "worker", "image": "none", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        },
    });
    cluster.apply("default", &pod.to_string()).await?;
    let of_general = "karpenter.sh/nodepool=general,karpenter.sh/capacity-type=spot";
    until("a node of Karpenter", NODE, async || {
        let found = cluster.kubectl(&["get", "nodes", "-l", of_general, "-o", "name"]).await?;
        Ok((found.lines().count() == 1).then_some(()))
    })
    .await
    .with_context(|| karpenter.process().log().unwrap_or_default())?;
    let proposed = pools(&cluster, &["--propose"]).await?;
    ensure!(
        proposed.contains("NodePool general, whose requirements allow spot; 1 node now"),
        "{proposed}"
    );
    let made = apply_proposal(&cluster).await?;
    ensure!(made == ["general-on-demand", "general-spot", "steady-on-demand"], "{made:?}");
    let spot = cluster.kubectl(&["get", "cpool", "general-spot", "-o", "json"]).await?;
    let spot: Value = serde_json::from_str(&spot)?;
    ensure!(
        spot["spec"]
            == json!({
                "class": "Spot",
                "nodeSelector": {"karpenter.sh/nodepool": "general", "karpenter.sh/capacity-type": "spot"},
                "price": {"source": "NodeLabel"},
                "limits": {"cpu": 1000},
                "provider": {"kind": "Karpenter", "name": "general"},
            }),
        "{spot}"
    );
    let report: Value = serde_json::from_str(&pools(&cluster, &["-o", "json"]).await?)?;
    ensure!(report["without"] == json!([]), "{report}");
    let row =
        report["pools"].as_array().into_iter().flatten().find(|it| it["name"] == "general-spot");
    ensure!(row.is_some_and(|row| row["nodes"] == 1), "{report}");
    Ok(())
}
