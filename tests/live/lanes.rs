//! Lanes on nodes: a stage shared out over two pools by the real scheduler and the real controllers, on nodes of KWOK's. Nodes are announced
//! to go and drained, a pool runs dry and comes back, and the daemon is killed in the middle. Judged by pods and by what the API server
//! recorded of who wrote what.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use penstock::clock::Clock;
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, shared};
use crate::scene::{SOON, Scene, kafka, workload};
use crate::yard;

/// Items that wait, at ten for each replica.
const BACKLOG: usize = 120;
/// Two on demand, and seven of ten above them on spot.
const SHARES: [u32; 2] = [5, 7];
/// From a sign that a pool gives no more to the write that has another take over, on a busy machine; the product's aim is 2 s.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A cluster with three nodes of each pool, five CPUs each; a pipeline with a lane on each; and its backlog.
struct Stageful {
    cluster: Cluster,
    scene: Scene,
}

fn node(pool: &str, number: u32) -> Value {
    let mut node = yard::node(pool, number, 5);
    let price = if pool == "spot" { "0.07" } else { "0.20" };
    node["metadata"]["labels"]["eks-node-viewer/instance-price"] = json!(price);
    node
}

fn deployment(pool: &str) -> Value {
    let (replicas, on) =
        (if pool == "kept" { 2 } else { 0 }, json!({"nodeSelector": {"pool": pool}}));
    let requests = json!({"cpu": "1", "memory": "1Gi"});
    workload("Deployment", &format!("sink-{pool}"), replicas, &requests, on)
}

impl Stageful {
    async fn open() -> Result<Self> {
        let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let scene = Scene::on(&cluster, "lanes").await?;
        let broker = shared::broker().await?;
        let this = Self { cluster, scene };
        for pool in ["kept", "spot"] {
            for number in 1..=3 {
                this.make(&node(pool, number)).await?;
            }
            let class = if pool == "spot" { "Spot" } else { "OnDemand" };
            this.make(&json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": pool},
                "spec": {
                    "class": class, "nodeSelector": {"pool": pool},
                    "provider": {"kind": "Karpenter", "name": pool}, "probe": {"interval": "20s"},
                },
            }))
            .await?;
            this.scene.create(deployment(pool)).await?;
        }
        let topic = &this.scene.namespace;
        broker.topic(topic, 24).await?;
        broker.commit(topic, topic, 0).await?;
        let at_once = json!({"stabilizationWindowSeconds": 0});
        this.scene
            .pipeline(
                "orders",
                json!({
                    "name": "sink", "replicas": {"min": 2, "max": 40},
                    "lanes": [
                        {"pool": "kept", "base": 2, "target": {"name": "sink-kept"}},
                        {"pool": "spot", "share": 70, "fallbackTo": "kept", "target": {"name": "sink-spot"}},
                    ],
                    "behavior": {"scaleUp": at_once, "scaleDown": at_once},
                    "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 10}))],
                }),
            )
            .await?;
        broker.send(topic, None, BACKLOG).await?;
        Ok(this)
    }

    /// Makes an object outside of the scene's namespace, by the administrator.
    async fn make(&self, object: &Value) -> Result<()> {
        self.cluster.apply("default", &object.to_string()).await?;
        Ok(())
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let here = ["-n", &self.scene.namespace];
        self.cluster.kubectl(&[&here[..], arguments].concat()).await
    }

    /// Ready pods that stay, by the node they stand on.
    async fn ready(&self) -> Result<BTreeMap<String, u32>> {
        let pods = Api::<Pod>::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let mut ready = BTreeMap::new();
        for pod in pods.list(&ListParams::default()).await? {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
            let node = pod.spec.and_then(|spec| spec.node_name);
            if let (true, None, Some(node)) = (is_ready, pod.metadata.deletion_timestamp, node) {
                *ready.entry(node).or_default() += 1;
            }
        }
        Ok(ready)
    }

    /// What each lane is asked for.
    async fn asked(&self) -> Result<[u32; 2]> {
        let mut asked = [0; 2];
        for (asked, pool) in asked.iter_mut().zip(["kept", "spot"]) {
            let name = format!("deployment/sink-{pool}");
            let text = self.kubectl(&["get", &name, "-o", "jsonpath={.spec.replicas}"]).await?;
            *asked = text.parse().with_context(|| format!("{name} has {text} replicas"))?;
        }
        Ok(asked)
    }

    /// Waits until the lanes are asked for these counts, and all of their pods are Ready.
    async fn until_even(&self, counts: [u32; 2], deadline: Duration) -> Result<()> {
        let what = format!("{counts:?} to be asked for, and ready");
        self.scene
            .until(&what, deadline, async || {
                let (asked, ready) = (self.asked().await?, self.ready().await?);
                let sum: u32 = ready.values().sum();
                anyhow::ensure!(
                    asked == counts && sum == counts.iter().sum::<u32>(),
                    "{asked:?} are asked for; ready are {ready:?}"
                );
                Ok(Some(()))
            })
            .await
    }

    async fn pool(&self, name: &str) -> Result<Value> {
        let text = self.cluster.kubectl(&["get", "capacitypool", name, "-o", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn until_state(&self, pool: &str, state: &str) -> Result<Value> {
        self.scene
            .until(&format!("{pool} to be {state}"), SOON * 2, async || {
                let status = self.pool(pool).await?["status"].clone();
                anyhow::ensure!(status["state"] == state, "{status}");
                Ok(Some(status))
            })
            .await
    }
}

#[tokio::test]
async fn a_stage_is_shared_out_over_two_pools_and_survives_what_its_nodes_do() -> Result<()> {
    let begun = tokio::time::Instant::now();
    let stageful = Stageful::open().await?;
    let scene = &stageful.scene;
    // One write for each lane, and each is right.
    stageful.until_even(SHARES, SOON).await?;
    assert_eq!(scene.moves("sink-kept", 2)?, [5]);
    assert_eq!(scene.moves("sink-spot", 0)?, [7]);
    let spot = stageful.until_state("spot", "Available").await?;
    assert_eq!((&spot["nodes"], &spot["costPerHour"]), (&json!(3), &json!("0.21")));
    scene.until_condition("orders", ("CapacityShort", "False", "RoomForAll"), SOON).await?;
    let cost = on_spot(scene, "penstock_stage_cost_per_hour").await?;
    assert!((cost - 7.0 / 5.0 * 0.07).abs() < 1e-6, "seven of five CPUs at 0.07: {cost}");
    let idle = on_spot(scene, "penstock_idle_cost_per_hour").await?;
    assert!((idle - (0.21 - cost)).abs() < 1e-6, "three nodes less that: {idle}");

    going(&stageful).await?;
    // As many CPUs cost 0.20 on demand where they cost 0.07 on spot; never were there more than fourteen at once.
    let saved = on_spot(scene, "penstock_saved_cost_total").await?;
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    let most = 14.0 / 5.0 * (0.20 - 0.07) * hours;
    assert!(0.0 < saved && saved < most, "{saved} of at most {most}");
    dry(&stageful).await
}

/// What a metric says of the pool on spot.
async fn on_spot(scene: &Scene, metric: &str) -> Result<f64> {
    let (_, metrics) = scene.daemon.get("/metrics").await?;
    let mut lines = metrics.lines().filter(|line| line.starts_with(metric));
    let line = lines.find(|line| line.contains("\"spot\""));
    let line = line.with_context(|| format!("no {metric} of the pool on spot"))?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

/// A node is announced to go, and drained two minutes later: as many pods as stood on it are Ready elsewhere before the first of them goes.
async fn going(stageful: &Stageful) -> Result<()> {
    let scene = &stageful.scene;
    let ready = stageful.ready().await?;
    let (doomed, on_it) =
        ready.iter().find(|(node, _)| node.starts_with("spot")).context("spot")?;
    // aws-node-termination-handler's mark.
    let taint = "aws-node-termination-handler/spot-itn=true:NoSchedule";
    stageful.kubectl(&["taint", "node", doomed, taint]).await?;
    scene
        .until("replacements to be ready", SOON, async || {
            let ready = stageful.ready().await?;
            let stay: u32 = ready.iter().filter(|(node, _)| *node != doomed).map(|(_, n)| n).sum();
            anyhow::ensure!(12 <= stay, "{ready:?} with {doomed} on its way out");
            Ok(Some(()))
        })
        .await?;
    assert_eq!(stageful.asked().await?, [5, 7 + on_it]);
    let stage = scene.stage("orders").await?;
    assert_eq!(stage.replicas.desired, Some(12), "what replaces is not needed besides");
    stageful
        .kubectl(&["drain", doomed, "--force", "--ignore-daemonsets", "--delete-emptydir-data"])
        .await?;
    stageful.cluster.kubectl(&["delete", "node", doomed]).await?;
    stageful.until_even(SHARES, SOON).await
}

/// The pool says that it gives no more while pods wait: another takes over at once, and lets go once nodes come back. Killed meanwhile,
/// the daemon goes on where it was.
async fn dry(stageful: &Stageful) -> Result<()> {
    let scene = &stageful.scene;
    let left: Vec<_> =
        stageful.ready().await?.into_keys().filter(|node| node.starts_with("spot")).collect();
    for node in &left {
        stageful.kubectl(&["cordon", node]).await?;
        stageful
            .kubectl(&[
                "delete",
                "pods",
                "--field-selector",
                &format!("spec.nodeName={node}"),
                "--wait=false",
            ])
            .await?;
        stageful.cluster.kubectl(&["delete", "node", node]).await?;
    }
    // What Karpenter says of a claim that it cannot fulfil.
    let now = Clock::start().now();
    let claim = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": "spot-x7k2p", "namespace": "default"});
    stageful
        .make(&json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "dry", "namespace": "default"},
            "involvedObject": claim, "reason": "InsufficientCapacityError", "type": "Warning",
            "message": "NodeClaim spot-x7k2p event: all requested instance types were unavailable",
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "count": 1, "source": {"component": "karpenter"},
        }))
        .await?;
    scene.until_moved(("sink-kept", 2, 12), SOON).await?;
    let write = scene.writes("sink-kept")?.pop().context("a write")?;
    let took = Duration::try_from(write.at.duration_since(now))?;
    // What `kubectl` takes to make the Event is in it. A sign of another kind takes half a minute.
    assert!(took <= AT_ONCE + Duration::from_secs(8), "it took over after {took:?}");
    scene.until_condition("orders", ("CapacityShort", "True", "PoolShort"), SOON).await?;
    let spot = stageful.pool("spot").await?;
    assert_eq!(spot["status"]["evidence"][0]["kind"], "Hard", "{spot}");

    // Nobody is there when it gets worse; the next one sees it as it is.
    scene.daemon.process().kill9();
    let here = ["--namespace", &scene.namespace, "--lease-namespace", &scene.namespace];
    let next = Penstock::run(stageful.cluster.kubeconfig(), &here).await?;
    scene
        .until("all to run where they can", SOON * 2, async || {
            let ready: u32 = stageful.ready().await?.values().sum();
            anyhow::ensure!(12 <= ready, "{ready} are ready");
            Ok(Some(()))
        })
        .await?;
    for number in 7..=9 {
        stageful.make(&node("spot", number)).await?;
    }
    // Nor while it is tried, and the first are back: those that carry go on, and are let go of one by one, by whoever comes next.
    scene
        .until("some to be back, and some to be carried", SOON * 2, async || {
            let (ready, [kept, _]) = (stageful.ready().await?, stageful.asked().await?);
            let back = ready.keys().any(|node| node.starts_with("spot"));
            ensure!(!back || 5 < kept, "all are back: {kept}");
            Ok(back.then_some(()))
        })
        .await?;
    next.process().kill9();
    let before = scene.moves("sink-kept", 2)?.len();
    let last = Penstock::run(stageful.cluster.kubeconfig(), &here).await?;
    let mut fewest = u32::MAX;
    scene
        .until("the shares to be even", Duration::from_mins(4), async || {
            let (asked, ready) = (stageful.asked().await?, stageful.ready().await?);
            let ready: u32 = ready.values().sum();
            fewest = fewest.min(ready);
            ensure!(asked == SHARES && ready == 12, "{asked:?}, {ready} are ready");
            Ok(Some(()))
        })
        .await?;
    ensure!(12 <= fewest, "{fewest} were ready");
    let moves = scene.moves("sink-kept", 2)?;
    ensure!(moves[before..].is_sorted_by(|a, b| a >= b), "its moves are {moves:?}");
    stageful.until_state("spot", "Available").await?;
    last.stop().await?;
    Ok(())
}
