//! Room kept on nodes ahead of need, with the real scheduler and controllers on nodes of KWOK's, and with a real Karpenter and its buffers: pods of a
//! peak find their room at once, also while nobody keeps it any more; nothing is left half done, nor behind.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::ToSpan;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use penstock::clock::Clock;
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Karpenter, Kubernetes, Penstock, RequestLog};
use crate::scene::{SOON, Scene, workload};
use crate::yard::{Items, node};

/// Longer than a poll or two.
const QUIET: Duration = Duration::from_secs(10);
const LABEL: &str = "penstock.dev/headroom";

/// A stage that needs so many replicas in half an hour, and whose pods are said to take longer than that: it keeps room from now on.
pub(crate) fn ahead_of_a_schedule(target: &str, replicas: u32, source: &Value) -> Result<Value> {
    let now = Clock::start().now();
    let cron = |at: jiff::Timestamp| at.strftime("%-M %-H * * *").to_string();
    let (start, end) = (now.checked_add(30.minutes())?, now.checked_add(3.hours())?);
    Ok(json!({
        "name": "work", "target": {"name": target}, "replicas": {"min": 1, "max": 20}, "startup": "50m",
        "schedules": [{"name": "soon", "start": cron(start), "end": cron(end), "replicas": {"min": replicas}}],
        "capacity": {"headroom": {"mode": "Auto"}}, "sources": [source],
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}, "scaleDown": {"stabilizationWindowSeconds": 0}},
    }))
}

/// A Deployment of pods of one CPU.
fn deployment(name: &str, replicas: u32, selector: &Value) -> Value {
    let requests = json!({"cpu": "1", "memory": "1Gi"});
    workload("Deployment", name, replicas, &requests, json!({"nodeSelector": selector}))
}

struct Yard {
    cluster: Cluster,
    scene: Scene,
    log: RequestLog,
    items: Items,
}

impl Yard {
    async fn open(name: &str) -> Result<Self> {
        let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let scene = Scene::on(&cluster, name).await?;
        let items = Items::open(&scene.namespace).await?;
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "penstock-headroom"},
            "value": -10, "preemptionPolicy": "Never",
        });
        cluster.apply("default", &class.to_string()).await?;
        let log = cluster.requests()?;
        Ok(Self { cluster, scene, log, items })
    }

    fn stage(&self, replicas: u32) -> Result<Value> {
        ahead_of_a_schedule("sink", replicas, &self.items.source())
    }

    /// Pods with these labels: how many there are, and how many of them are Ready.
    async fn pods(&self, labels: &str) -> Result<(usize, usize)> {
        let pods = Api::<Pod>::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let all = pods.list(&ListParams::default().labels(labels)).await?;
        let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let is_ready = |pod: &&Pod| {
            let status = pod.status.as_ref();
            let mut conditions = status.into_iter().flat_map(|it| it.conditions.iter().flatten());
            conditions.any(|it| it.type_ == "Ready" && it.status == "True")
        };
        let there: Vec<_> = all.iter().filter(stays).collect();
        let ready = there.iter().copied().filter(is_ready).count();
        Ok((there.len(), ready))
    }

    /// Waits until so many pods with these labels are there, all of them Ready; how long that took.
    async fn until_ready(&self, labels: &str, count: usize) -> Result<Duration> {
        let (clock, since) = (Clock::start(), Clock::start().now());
        self.scene
            .until(&format!("{count} ready pods of {labels}"), SOON * 2, async || {
                let (there, ready) = self.pods(labels).await?;
                ensure!((there, ready) == (count, count), "{there} are there, {ready} are ready");
                Ok(Some(()))
            })
            .await?;
        Ok(Duration::try_from(clock.now().duration_since(since))?)
    }

    /// What stands for room in this namespace.
    async fn rooms(&self, kind: &str) -> Result<Vec<Value>> {
        let ask = ["-n", &self.scene.namespace, "get", kind, "-l", LABEL, "-o", "json"];
        let list: Value = serde_json::from_str(&self.cluster.kubectl(&ask).await?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    async fn until_no_room(&self, kind: &str) -> Result<()> {
        self.scene
            .until("no room to be kept", SOON, async || {
                let left = self.rooms(kind).await?.len() + self.pods(LABEL).await?.0;
                ensure!(left == 0, "{left} are left");
                Ok(Some(()))
            })
            .await
    }

    /// Writes of room since the last call.
    fn written(&mut self) -> Result<usize> {
        let all = self.log.take()?;
        let is_write = |verb: &str| ["create", "patch", "delete"].contains(&verb);
        let is_ours = |uri: &str| uri.contains("fieldManager=penstock-headroom");
        Ok(all.iter().filter(|it| is_ours(&it.uri) && is_write(&it.verb)).count())
    }

    async fn next(&self) -> Result<Penstock> {
        let here =
            ["--namespace", &self.scene.namespace, "--lease-namespace", &self.scene.namespace];
        Penstock::run(self.cluster.kubeconfig(), &here).await
    }

    async fn change(&self, stage: Value) -> Result<()> {
        self.scene
            .change(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
                "metadata": {"name": "orders"}, "spec": {"stages": [stage]},
            }))
            .await
    }
}

#[tokio::test]
async fn placeholders_make_room_for_a_peak_and_give_way_to_it_also_when_nobody_is_there()
-> Result<()> {
    let mut yard = Yard::open("headroom").await?;
    let selector = json!({"pool": "w"});
    for number in 1..=3 {
        let mut node = node("w", number, 5);
        node["metadata"]["labels"]["eks-node-viewer/instance-price"] = json!("0.10");
        yard.cluster.apply("default", &node.to_string()).await?;
    }
    let pool = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "w"},
        "spec": {"class": "OnDemand", "nodeSelector": selector},
    });
    yard.cluster.apply("default", &pool.to_string()).await?;
    yard.scene.create(deployment("sink", 3, &selector)).await?;
    yard.items.want(3).await?;
    yard.scene.pipeline("orders", yard.stage(12)?).await?;
    // Nine to come have room, and what is left of 15 CPUs somebody else takes.
    yard.until_ready(LABEL, 9).await?;
    yard.scene.create(deployment("other", 3, &selector)).await?;
    yard.until_ready("app=other", 3).await?;
    yard.scene
        .until("the room to be told of", SOON, async || {
            let stage = yard.scene.stage("orders").await?;
            let [room] = &stage.rooms[..] else { anyhow::bail!("{:?}", stage.rooms) };
            ensure!((room.replicas, room.placed) == (9, Some(9)), "{room:?}");
            let is_said = room.sentence.contains("the stage may need 12 replicas within");
            ensure!(is_said, "{}", room.sentence);
            ensure!(stage.replicas.current == Some(3), "placeholders are not its pods: {stage:?}");
            Ok(Some(()))
        })
        .await?;
    let (_, metrics) = yard.scene.daemon.get("/metrics").await?;
    let mut lines = metrics.lines();
    let cost = lines.find(|line| line.starts_with("penstock_headroom_cost_per_hour{"));
    let cost: f64 = cost.and_then(|it| it.rsplit(' ').next()).context("no cost")?.parse()?;
    ensure!((cost - 9.0 / 5.0 * 0.10).abs() < 1e-6, "nine of five CPUs at 0.10: {cost}");
    yard.written()?;
    tokio::time::sleep(QUIET).await;
    ensure!(yard.written()? == 0, "room was written while nothing moved");

    // Nobody is there when the peak comes: a hand scales, and real pods push placeholders out.
    yard.scene.daemon.process().kill9();
    let here = ["-n", &yard.scene.namespace];
    let scale = ["scale", "deployment/sink", "--replicas=12"];
    yard.cluster.kubectl(&[&here[..], &scale].concat()).await?;
    let took = yard.until_ready("app=sink", 12).await?;
    println!("nine pods found the room of placeholders within {took:?}");
    let (there, ready) = yard.pods(LABEL).await?;
    ensure!(there == 9 && ready == 0, "of {there} placeholders {ready} stand where others should");
    // Whoever comes next sees that the room is taken.
    yard.items.want(12).await?;
    let next = yard.next().await?;
    yard.until_no_room("deployments").await?;
    next.process().kill9();

    // With somebody there: the peak is over and room comes back, and goes again as the next one comes.
    yard.items.want(3).await?;
    let next = yard.next().await?;
    yard.until_ready("app=sink", 3).await?;
    yard.until_ready(LABEL, 9).await?;
    yard.items.want(12).await?;
    let took = yard.until_ready("app=sink", 12).await?;
    println!("with the daemon within {took:?}, from the sending of the items on");
    yard.until_no_room("deployments").await?;

    // What is taken out of the spec is taken away; what belongs to a pipeline goes with it.
    yard.items.want(3).await?;
    yard.until_ready(LABEL, 9).await?;
    let mut stage = yard.stage(12)?;
    stage["capacity"] = Value::Null;
    yard.change(stage).await?;
    yard.until_no_room("deployments").await?;
    yard.change(yard.stage(12)?).await?;
    yard.until_ready(LABEL, 9).await?;
    next.stop().await?;
    yard.scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "orders").await?;
    yard.until_no_room("deployments").await
}

#[tokio::test]
async fn a_buffer_has_karpenter_make_the_nodes_before_the_pods_are_there() -> Result<()> {
    let mut yard = Yard::open("buffers").await?;
    let karpenter = Karpenter::start(&yard.cluster, "CapacityBuffer=true").await?;
    let general = Karpenter::node_pool("general", &["on-demand"], "{cpu: 1000}");
    yard.cluster.apply("default", &general).await?;
    let selector = json!({"karpenter.sh/nodepool": "general"});
    yard.scene.create(deployment("sink", 2, &selector)).await?;
    yard.items.want(2).await?;
    yard.until_ready("app=sink", 2).await?;
    yard.scene.pipeline("orders", yard.stage(8)?).await?;
    let buffer = yard
        .scene
        .until("a buffer with room", SOON * 2, async || {
            let [buffer] = &yard.rooms("capacitybuffers").await?[..] else { return Ok(None) };
            let conditions = buffer["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_there = |it: &Value| it["type"] == "Provisioning" && it["status"] == "True";
            ensure!(conditions.iter().any(is_there), "{conditions:?}");
            Ok(Some(buffer.clone()))
        })
        .await
        .with_context(|| karpenter.process().log().unwrap_or_default())?;
    ensure!(buffer["spec"]["replicas"] == 6, "{buffer}");
    ensure!(yard.rooms("deployments").await?.is_empty(), "there are placeholders as well");
    // Who makes nodes has made them before anybody needs one.
    let room = yard.cpus().await?;
    ensure!(8.0 <= room, "the nodes have {room} CPUs");
    let nodes = yard.nodes().await?;
    yard.items.want(8).await?;
    let took = yard.until_ready("app=sink", 8).await?;
    println!(
        "six pods found the room of a buffer within {took:?}, from the sending of the items on"
    );
    yard.until_no_room("capacitybuffers").await?;
    ensure!(nodes == yard.nodes().await?, "nodes were made for pods that had room");

    // Who serves buffers is gone: the next one that nobody tends gives way to placeholders.
    karpenter.process().kill9();
    yard.items.want(2).await?;
    yard.scene
        .until("placeholders in place of a buffer", SOON * 3, async || {
            let buffers = yard.rooms("capacitybuffers").await?.len();
            let there = yard.rooms("deployments").await?.len();
            ensure!((buffers, there) == (0, 1), "{buffers} buffers, {there} Deployments");
            Ok(Some(()))
        })
        .await?;
    yard.until_ready(LABEL, 6).await?;
    Ok(())
}

impl Yard {
    async fn nodes(&self) -> Result<Vec<String>> {
        let ask = ["get", "nodes", "-l", "karpenter.sh/nodepool", "-o", "name"];
        Ok(self.cluster.kubectl(&ask).await?.lines().map(str::to_owned).collect())
    }

    /// CPUs of all of Karpenter's nodes together.
    async fn cpus(&self) -> Result<f64> {
        let ask = ["get", "nodes", "-l", "karpenter.sh/nodepool", "-o", "json"];
        let list: Value = serde_json::from_str(&self.cluster.kubectl(&ask).await?)?;
        let each = list["items"].as_array().into_iter().flatten().map(|node| {
            let text = node["status"]["allocatable"]["cpu"].as_str().unwrap_or_default();
            let millis = text.strip_suffix('m').map(|it| it.parse::<f64>().map(|it| it / 1000.0));
            millis.unwrap_or_else(|| text.parse()).context("CPUs of a node")
        });
        each.sum()
    }
}
