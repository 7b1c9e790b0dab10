//! `penstock explain` and `penstock top` through a real port-forward: kubectl's way to the daemon, with a fake kubelet at its end
//! that leads to the real daemon.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Process, Program, free_port, until};

const PIPELINE: &str = r#"
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {name: orders, annotations: {penstock.dev/paused: "true"}}
spec:
  stages:
  - name: enrich
    target: {kind: Deployment, name: enrich}
    replicas: {max: 8}
    sources: [{name: todo, kafka: {bootstrapServers: "127.0.0.1:1", topics: [todo], group: enrich}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: enrich}
spec:
  replicas: 3
  selector: {matchLabels: {app: enrich}}
  template: {metadata: {labels: {app: enrich}}, spec: {containers: [{name: main, image: none}]}}
---
apiVersion: v1
kind: Node
metadata: {name: node-0, annotations: {kwok.x-k8s.io/node: fake}}
---
apiVersion: v1
kind: Pod
metadata: {name: penstock-0, labels: {app.kubernetes.io/name: penstock}}
spec: {nodeName: node-0, containers: [{name: penstock, image: none, ports: [{containerPort: 8082}]}]}
"#;

const STAGES: &str = "
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterPortForward
metadata: {name: penstock}
spec:
  forwards:
  - ports: [8082]
    target: {address: 127.0.0.1, port: PAGE}
";

async fn penstock(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let program = Program::new(env!("CARGO_BIN_EXE_penstock")).args(arguments.iter().copied());
    program.args(["--kubeconfig", &kubeconfig]).run().await
}

#[tokio::test]
async fn explain_and_top_reach_the_daemon_by_port_forward() -> Result<()> {
    let cluster = Cluster::start(Kubernetes::V1_36, ClusterOptions::default()).await?;
    cluster.install().await?;
    cluster.apply("default", PIPELINE).await?;
    let folder = tempfile::tempdir()?;
    let (page, kubelet) = (free_port()?, free_port()?);
    let daemon = Program::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--kubeconfig", &cluster.kubeconfig().display().to_string()])
        .args(["--listen", &format!("127.0.0.1:{}", free_port()?)])
        .args(["--page-listen", &format!("127.0.0.1:{page}")])
        .args(["--grpc-listen", "none"]);
    let _daemon = Process::start("penstock", daemon, folder.path())?;
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(in_folder("kubelet.crt"), cert.pem())?;
    std::fs::write(in_folder("kubelet.key"), signing_key.serialize_pem())?;
    std::fs::write(in_folder("forward.yaml"), STAGES.replace("PAGE", &page.to_string()))?;
    let tools = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/kwok");
    let kwok = Program::new(tools.join("kwok"))
        .args(["--manage-all-nodes=true", "--node-ip=127.0.0.1"])
        .arg(format!("--kubeconfig={}", cluster.kubeconfig().display()))
        .arg(format!("--config={}", tools.join("stages.yaml").display()))
        .arg(format!("--config={}", in_folder("forward.yaml")))
        .arg(format!("--node-port={kubelet}"))
        .arg(format!("--server-address=127.0.0.1:{kubelet}"))
        .arg(format!("--tls-cert-file={}", in_folder("kubelet.crt")))
        .arg(format!("--tls-private-key-file={}", in_folder("kubelet.key")));
    let _kwok = Process::start("kwok", kwok, folder.path())?;
    let told = until("the daemon to be told aloud", Duration::from_mins(1), async || {
        let told = penstock(&cluster, &["explain", "orders", "-n", "default"]).await?;
        ensure!(told.contains("enrich should have 3 replicas"), "{told}");
        Ok(Some(told))
    })
    .await?;
    ensure!(told.contains("Told by pod default/penstock-0, the leader."), "{told}");
    ensure!(told.contains("To change this: "), "{told}");
    let top = penstock(&cluster, &["top"]).await?;
    ensure!(top.starts_with("1 pipeline, told by pod default/penstock-0"), "{top}");
    let row = top.lines().find(|line| line.contains("default/orders")).context("a row")?;
    ensure!(row.split_whitespace().nth(1) == Some("enrich"), "{row}");
    Ok(())
}
