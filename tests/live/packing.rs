//! Scale-in that empties nodes, with the real controllers and scheduler on nodes of KWOK's: the pods that go are those that were told to, a
//! second writer of costs is left alone, and a daemon that is killed between telling and stepping leaves nothing half done. Judged by where pods
//! stand and by what the API server recorded of who wrote what.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, RequestLog, until};
use crate::scene::{SOON, Scene, workload};
use crate::yard::{Items, node};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Longer than costs that no step needs stand there, and than a poll or two.
const QUIET: Duration = Duration::from_secs(20);

/// Three nodes with room for five pods each, a Deployment spread evenly over them, and a queue that says how many there shall be.
struct Yard {
    cluster: Cluster,
    scene: Scene,
    log: RequestLog,
    items: Items,
}

fn deployment() -> Value {
    let more = json!({
        "nodeSelector": {"pool": "w"},
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "sink"}},
        }],
    });
    workload("Deployment", "sink", 9, &json!({"cpu": "1"}), more)
}

impl Yard {
    async fn open() -> Result<Self> {
        let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let scene = Scene::on(&cluster, "packing").await?;
        for number in 1..=3 {
            cluster.apply("default", &node("w", number, 5).to_string()).await?;
        }
        scene.create(deployment()).await?;
        let items = Items::open(&scene.namespace).await?;
        let log = cluster.requests()?;
        let mut yard = Self { cluster, scene, log, items };
        yard.items.want(9).await?;
        yard.until_spread(&[3, 3, 3]).await?;
        let at_once = json!({"stabilizationWindowSeconds": 0});
        let source = yard.items.source();
        yard.scene
            .pipeline(
                "orders",
                json!({
                    "name": "sink", "target": {"name": "sink"}, "replicas": {"min": 1, "max": 12},
                    "capacity": {"scaleIn": "Pack"}, "behavior": {"scaleUp": at_once, "scaleDown": at_once},
                    "sources": [source],
                }),
            )
            .await?;
        Ok(yard)
    }

    async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = Api::<Pod>::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let all = pods.list(&ListParams::default()).await?;
        Ok(all.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// What each pod costs, by its name, where that is written.
    async fn costs(&self) -> Result<BTreeMap<String, String>> {
        let cost = |pod: Pod| {
            let cost = pod.metadata.annotations?.remove(COST)?;
            Some((pod.metadata.name?, cost))
        };
        Ok(self.pods().await?.into_iter().filter_map(cost).collect())
    }

    /// How many Ready pods each node has, the fullest first; empty ones are left out.
    async fn spread(&self) -> Result<Vec<u32>> {
        let mut nodes = BTreeMap::<String, u32>::new();
        for pod in self.pods().await? {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
            let node = pod.spec.and_then(|spec| spec.node_name).filter(|_| is_ready);
            *nodes.entry(node.unwrap_or_default()).or_default() += 1;
        }
        let mut spread: Vec<_> = nodes.into_values().collect();
        spread.sort_unstable_by(|a, b| b.cmp(a));
        Ok(spread)
    }

    async fn until_spread(&self, wanted: &[u32]) -> Result<()> {
        self.scene
            .until(&format!("pods to stand as {wanted:?}"), SOON * 2, async || {
                let spread = self.spread().await?;
                ensure!(spread == wanted, "they stand as {spread:?}");
                Ok(Some(()))
            })
            .await
    }

    async fn replicas(&self) -> Result<u32> {
        let here = ["-n", &self.scene.namespace];
        let ask = ["get", "deployment/sink", "-o", "jsonpath={.spec.replicas}"];
        let text = self.cluster.kubectl(&[&here[..], &ask].concat()).await?;
        text.parse().with_context(|| format!("{text} replicas"))
    }

    /// Pods that Penstock wrote on since the last call: how often.
    fn told(&mut self) -> Result<usize> {
        let is_ours = |uri: &str| uri.contains("fieldManager=penstock-scalein");
        let all = self.log.take()?;
        Ok(all.iter().filter(|it| it.code == 200 && is_ours(&it.uri)).count())
    }
}

#[tokio::test]
async fn steps_down_empty_nodes_and_let_others_who_write_costs_be() -> Result<()> {
    let mut yard = Yard::open().await?;
    tokio::time::sleep(QUIET).await;
    ensure!(yard.told()? == 0, "pods were told while no step was due");

    // Left alone, the controller would take one of each node.
    yard.items.want(6).await?;
    yard.until_spread(&[3, 3]).await?;
    ensure!(yard.scene.moves("sink", 9)? == [6], "{:?}", yard.scene.moves("sink", 9)?);
    // A step that empties no node empties one in part, and the next goes on there.
    yard.items.want(5).await?;
    yard.until_spread(&[3, 2]).await?;
    yard.items.want(3).await?;
    yard.until_spread(&[3]).await?;
    tokio::time::sleep(QUIET).await;
    let told = yard.told()?;
    ensure!(told == 6, "six went, and {told} were told");
    ensure!(yard.costs().await?.is_empty(), "{:?}", yard.costs().await?);

    another_writer(&mut yard).await?;
    killed(&mut yard).await
}

/// Somebody else says which pods go: theirs go, and Penstock writes on none.
async fn another_writer(yard: &mut Yard) -> Result<()> {
    yard.items.want(9).await?;
    yard.until_spread(&[3, 3, 3]).await?;
    // One of each node.
    let mut theirs = BTreeMap::new();
    for pod in yard.pods().await? {
        let node = pod.spec.and_then(|spec| spec.node_name).context("no node")?;
        theirs.insert(node, pod.metadata.name.context("no name")?);
    }
    let mut theirs: Vec<_> = theirs.into_values().collect();
    for name in &theirs {
        let here = ["-n", &yard.scene.namespace, "annotate", "pod", name];
        yard.cluster.kubectl(&[&here[..], &[&format!("{COST}=-7")]].concat()).await?;
    }
    yard.scene
        .until("the other writer to be named", SOON, async || {
            let odd = yard.scene.stage("orders").await?.anomalies;
            let taken = odd.into_iter().find(|it| it.code == "DeletionCostTaken");
            Ok(taken.filter(|it| it.sentence.starts_with("kubectl-annotate writes")).map(drop))
        })
        .await?;
    yard.items.want(6).await?;
    yard.until_spread(&[2, 2, 2]).await?;
    let left: Vec<_> = yard.pods().await?.into_iter().filter_map(|it| it.metadata.name).collect();
    theirs.retain(|name| left.contains(name));
    ensure!(theirs.is_empty(), "{theirs:?} were to go, and stand there still");
    ensure!(yard.told()? == 0, "pods were told though another writes their costs");
    Ok(())
}

/// The daemon is killed when the pods have been told and the step has not been made. Its heir takes the costs away if no step is due any
/// more, and makes the step if it is.
async fn killed(yard: &mut Yard) -> Result<()> {
    yard.items.want(9).await?;
    yard.until_spread(&[3, 3, 3]).await?;
    tokio::time::sleep(QUIET).await;
    yard.items.want(6).await?;
    until("pods to be told", SOON, async || Ok((yard.costs().await?.len() == 3).then_some(())))
        .await?;
    yard.scene.daemon.process().kill9();
    ensure!(yard.replicas().await? == 9, "it was killed too late to show anything");
    yard.items.want(9).await?;
    let namespace = yard.scene.namespace.clone();
    let here = ["--namespace", &namespace, "--lease-namespace", &namespace];
    let next = Penstock::run(yard.cluster.kubeconfig(), &here).await?;
    until("costs to be taken away", SOON, async || {
        Ok(yard.costs().await?.is_empty().then_some(()))
    })
    .await?;
    ensure!(yard.replicas().await? == 9 && yard.spread().await? == [3, 3, 3], "pods went");

    yard.items.want(6).await?;
    until("pods to be told", SOON * 2, async || Ok((yard.costs().await?.len() == 3).then_some(())))
        .await?;
    next.process().kill9();
    // There is a second between the telling and the step, and on a busy machine the step may be made before the kill: what must come of it is the same.
    let last = Penstock::run(yard.cluster.kubeconfig(), &here).await?;
    until("the step to be made", SOON * 2, async || {
        Ok((yard.spread().await? == [3, 3]).then_some(()))
    })
    .await?;
    ensure!(yard.costs().await?.is_empty(), "{:?}", yard.costs().await?);
    last.stop().await?;
    Ok(())
}
