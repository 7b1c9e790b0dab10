//! The examples whose stages stand on nodes of two kinds, applied as they are printed but for their namespace, their addresses and the names of what
//! lies in none; their READMEs' counts and promises hold. Nodes are KWOK's: those of `karpenter` a real Karpenter makes and takes away; what Cluster
//! Autoscaler says is played, in its words, since it cannot be had here.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use penstock::answer::page::{Capacity, PoolRow};
use penstock::clock::Clock;
use serde_json::{Value, json};

use crate::examples::{apply_on, manifests};
use crate::prices::{opencost, scraping};
use crate::rig::{Cluster, ClusterOptions, Karpenter, Kubernetes, plain_client, shared};
use crate::scene::{SOON, Scene, workload};
use crate::yard::{self, drain, evict, staying, until_budget};

/// Items that wait, ten for each replica; and what that makes of both lanes.
const BACKLOG: usize = 120;
const SHARES: [u32; 2] = [5, 7];
const PARTITIONS: i32 = 24;

/// A scene, and the cluster it plays on.
struct Ground<'a> {
    cluster: &'a Cluster,
    scene: Scene,
}

/// A lane's Deployment of pods of one CPU, on nodes with this label; no other node's taint keeps them away.
fn deployment(name: &str, replicas: u32, on: (&str, &str)) -> Value {
    let more = json!({
        "terminationGracePeriodSeconds": 1, "nodeSelector": {on.0: on.1},
        "tolerations": [{"key": "only", "operator": "Exists"}, {"key": "spot", "operator": "Exists"}],
    });
    workload("Deployment", name, replicas, &json!({"cpu": "1", "memory": "1Gi"}), more)
}

impl Ground<'_> {
    fn name(&self) -> &str {
        &self.scene.namespace
    }

    /// The name of a pool or a node, which lie in no namespace.
    fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.name())
    }

    /// A node with this label and so many CPUs, for pods of this scene alone.
    async fn node(&self, number: u32, (key, value): (&str, &str), cpus: usize) -> Result<String> {
        let mut node = yard::node(self.name(), number, cpus);
        let labels = &mut node["metadata"]["labels"];
        (labels[key], labels["node.kubernetes.io/instance-type"]) =
            (json!(value), json!("m5.2xlarge"));
        node["spec"]["taints"] = json!([{"key": "only", "value": "these", "effect": "NoSchedule"}]);
        self.cluster.apply("default", &node.to_string()).await?;
        Ok(node["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }

    /// The topic that the stage reads, which is its group as well, and more items in it.
    async fn topic(&self) -> Result<()> {
        let (broker, topic) = (shared::broker().await?, self.name());
        broker.topic(topic, PARTITIONS).await?;
        broker.commit(topic, topic, 0).await?;
        self.send().await
    }

    async fn send(&self) -> Result<()> {
        shared::broker().await?.send(self.name(), None, BACKLOG).await
    }

    /// The example's manifests, with its pools called after the scene, and these words replaced besides.
    async fn manifests(&self, example: &str, more: &[(&str, String)]) -> Result<Vec<Value>> {
        let (broker, topic) = (shared::broker().await?, self.name());
        let pool = |name: &str| self.own(name);
        let replaced = [
            ("kafka.shop:9092", broker.bootstrap()),
            ("topics: [orders], group: sink", format!("topics: [{topic}], group: {topic}")),
            ("metadata: {name: on-demand}", format!("metadata: {{name: {}}}", pool("on-demand"))),
            ("metadata: {name: spot}", format!("metadata: {{name: {}}}", pool("spot"))),
            ("{pool: on-demand,", format!("{{pool: {},", pool("on-demand"))),
            ("{pool: spot,", format!("{{pool: {},", pool("spot"))),
            ("fallbackTo: on-demand,", format!("fallbackTo: {},", pool("on-demand"))),
        ];
        manifests(example, &[&replaced[..], more].concat())
    }

    /// Applies an example on the nodes that are there, with its backlog, and waits for the counts that its README states.
    async fn play(&self, example: &str, key: &str, values: [&str; 2]) -> Result<()> {
        self.scene.create(deployment("sink", 2, (key, values[0]))).await?;
        self.scene.create(deployment("sink-spot", 0, (key, values[1]))).await?;
        self.topic().await?;
        apply_on(self.cluster, &self.scene, self.manifests(example, &[]).await?).await?;
        self.scene.until_moved(("sink", 2, SHARES[0]), SOON).await?;
        self.scene.until_moved(("sink-spot", 0, SHARES[1]), SOON).await?;
        self.until_ready(SHARES.iter().sum()).await
    }

    async fn until_ready(&self, count: u32) -> Result<()> {
        self.scene
            .until(&format!("{count} ready replicas"), SOON, async || {
                let ready = self.scene.stage("orders").await?.replicas.ready;
                ensure!(ready == Some(count), "{ready:?} are");
                Ok(Some(()))
            })
            .await
    }

    /// A pool as the daemon shows it: others write the status of a shared cluster's pools as well.
    async fn pool(&self, name: &str) -> Result<PoolRow> {
        let capacity: Capacity =
            serde_json::from_value(self.scene.daemon.page("/api/v1/capacity").await?)?;
        let name = self.own(name);
        let row = capacity.pools.into_iter().find(|pool| pool.name == name);
        row.with_context(|| format!("no pool {name}"))
    }

    /// Takes away what lies in no namespace.
    async fn leave(&self) -> Result<()> {
        for kind in ["cpool", "node"] {
            let all = self.cluster.kubectl(&["get", kind, "-o", "name"]).await?;
            let ours = all.lines().filter(|it| it.contains(&format!("/{}-", self.name())));
            for object in ours {
                self.cluster.kubectl(&["delete", object, "--wait=false"]).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_example_of_drain_hold_has_a_drain_wait_until_replacements_are_ready() -> Result<()> {
    let (cluster, label) = (shared::cluster().await?, "karpenter.sh/capacity-type");
    let ground = Ground { cluster, scene: Scene::open("example-drain-hold").await? };
    let scene = &ground.scene;
    ground.node(1, (label, "on-demand"), 8).await?;
    // Three of the seven stand on the one, four on the other.
    let doomed = ground.node(2, (label, "spot"), 3).await?;
    ground.node(3, (label, "spot"), 4).await?;
    ground.play("drain-hold", label, ["on-demand", "spot"]).await?;
    let budget = "penstock-deployment-sink-spot";
    for name in ["penstock-deployment-sink", budget] {
        until_budget(scene, name, None).await?;
    }

    // The node is taken back: three more are asked for, and all seven are held until these are Ready.
    let taint = "aws-node-termination-handler/spot-itn=true:NoSchedule";
    cluster.kubectl(&["taint", "node", &doomed, taint]).await?;
    scene.until_moved(("sink-spot", 0, 10), SOON).await?;
    until_budget(scene, budget, Some(7)).await?;
    scene
        .until("the hold to be told of", SOON, async || {
            let odd = scene.stage("orders").await?.anomalies;
            Ok(odd.iter().any(|it| it.code == "DrainHeld").then_some(()))
        })
        .await?;
    let pods = Api::<Pod>::namespaced(plain_client(cluster.kubeconfig()).await?, ground.name());
    let standing = staying(&pods, &doomed).await?;
    ensure!(standing.len() == 3, "{standing:?} stand on it");
    for pod in &standing {
        let code = evict(&pods, pod).await?;
        ensure!(code == 429, "{pod} was not held: {code}");
    }

    // There is a node for replacements: the drain goes through, and the budget is loose again.
    ground.node(4, (label, "spot"), 4).await?;
    let codes = drain(&pods, &doomed).await?;
    ensure!(codes.iter().all(|code| [201, 404, 429].contains(code)), "{codes:?}");
    scene.until_moved(("sink-spot", 0, 7), SOON).await?;
    until_budget(scene, budget, None).await?;
    ground.until_ready(SHARES.iter().sum()).await?;
    ground.leave().await
}

#[tokio::test]
async fn the_example_of_cluster_autoscaler_hears_its_word_on_pods_and_nodes() -> Result<()> {
    let (cluster, label) = (shared::cluster().await?, "eks.amazonaws.com/capacityType");
    let ground = Ground { cluster, scene: Scene::open("example-cluster-autoscaler").await? };
    let scene = &ground.scene;
    ground.node(1, (label, "ON_DEMAND"), 12).await?;
    let doomed = ground.node(2, (label, "SPOT"), 3).await?;
    ground.node(3, (label, "SPOT"), 4).await?;
    ground.play("cluster-autoscaler", label, ["ON_DEMAND", "SPOT"]).await?;
    scene
        .until("spot to cost what two of its nodes do", SOON, async || {
            let cost = ground.pool("spot").await?.cost_per_hour;
            ensure!(cost.is_some_and(|it| (it - 2.0 * 0.142).abs() < 1e-9), "{cost:?}");
            Ok(Some(()))
        })
        .await?;

    // It takes a node away: three more are asked for at once, and find no place.
    let taint = "ToBeDeletedByClusterAutoscaler=1795000000:NoSchedule";
    cluster.kubectl(&["taint", "node", &doomed, taint]).await?;
    scene.until_moved(("sink-spot", 0, 10), SOON).await?;
    let pods = Api::<Pod>::namespaced(scene.client.clone(), ground.name());
    let waiting = scene
        .until("three pods to wait", SOON, async || {
            let all = pods.list(&ListParams::default().labels("app=sink-spot")).await?;
            let has_none = |pod: &&Pod| {
                let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
                conditions.into_iter().any(|it| it.type_ == "PodScheduled" && it.status == "False")
            };
            let waiting: Vec<_> = all.iter().filter(has_none).map(ResourceExt::name_any).collect();
            ensure!(waiting.len() == 3, "{waiting:?}");
            Ok(Some(waiting))
        })
        .await?;

    // It says that no group makes a node for them: the other lane carries the three.
    let now = Clock::start().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for pod in waiting {
        let of =
            json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": ground.name()});
        scene
            .create(json!({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.1")},
                "involvedObject": of, "reason": "NotTriggerScaleUp", "type": "Normal",
                "message": "pod didn't trigger scale-up: 1 max node group size reached",
                "firstTimestamp": now, "lastTimestamp": now, "count": 1,
                "source": {"component": "cluster-autoscaler"},
            }))
            .await?;
    }
    scene.until_moved(("sink", 2, 8), SOON).await?;
    scene.until_condition("orders", ("CapacityShort", "True", "PoolShort"), SOON).await?;
    let spot = ground.pool("spot").await?;
    ensure!(spot.state == "Constrained", "{spot:?}");
    let sign = spot.evidence.first().context("no evidence")?;
    ensure!(sign.is_hard && sign.what.starts_with("NotTriggerScaleUp: "), "{sign:?}");
    ground.leave().await
}

#[tokio::test]
async fn the_example_of_karpenter_fills_its_node_pools_and_empties_whole_nodes() -> Result<()> {
    let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let karpenter = Karpenter::start(&cluster, "").await?;
    let ground =
        Ground { cluster: &cluster, scene: Scene::on(&cluster, "example-karpenter").await? };
    let played = play_with_karpenter(&ground).await;
    played.with_context(|| karpenter.process().log().unwrap_or_default())
}

async fn play_with_karpenter(ground: &Ground<'_>) -> Result<()> {
    let Ground { cluster, scene } = ground;
    let label = "karpenter.sh/nodepool";
    let nodes = Api::<Node>::all(scene.client.clone());
    let of = async |pool: &str| -> Result<Vec<String>> {
        let all = nodes.list(&ListParams::default().labels(&format!("{label}={pool}"))).await?;
        Ok(all.iter().map(ResourceExt::name_any).collect())
    };
    // Its nodes are no cloud's, are of one size, and go sooner; replicas are taken away at once.
    let class = "{group: karpenter.kwok.sh, kind: KWOKNodeClass, name: default}";
    let sized = "- {key: karpenter.kwok.sh/instance-cpu, operator: In, values: [\"8\"]}";
    let at_once = "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}";
    let prometheus = "http://prometheus-server.prometheus-system:80";
    let replaced = |url: String| {
        [
            ("{group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}", class.to_owned()),
            ("requirements:", format!("requirements:\n      {sized}")),
            ("consolidateAfter: 1m", "consolidateAfter: 1s".to_owned()),
            ("capacity: {scaleIn: Pack}", format!("capacity: {{scaleIn: Pack}}\n    {at_once}")),
            (prometheus, url),
        ]
    };
    // Karpenter's own first: what it makes of the pods that run already.
    let is_its = |object: &Value| object["kind"] == "NodePool";
    let mut all = ground.manifests("karpenter", &replaced(String::new())).await?;
    all.retain(is_its);
    apply_on(cluster, scene, all).await?;
    scene.create(deployment("sink", SHARES[0], (label, "steady"))).await?;
    scene.create(deployment("sink-spot", SHARES[1], (label, "cheap"))).await?;
    let first = scene
        .until("a node of both", SOON * 2, async || {
            let (steady, cheap) = (of("steady").await?, of("cheap").await?);
            ensure!(steady.len() == 1 && cheap.len() == 1, "{steady:?}, {cheap:?}");
            Ok(Some([steady, cheap].concat()))
        })
        .await?;
    // OpenCost knows these two, and none that comes later.
    let prices = [(first[0].as_str(), 0.384), (first[1].as_str(), 0.142)];
    let (server, _exporter) = scraping(&opencost(&prices)).await?;
    server.scraped("node_total_hourly_cost").await?;
    ground.topic().await?;
    let mut all = ground.manifests("karpenter", &replaced(server.url())).await?;
    all.retain(|object| !is_its(object));
    apply_on(cluster, scene, all).await?;
    ground.until_ready(SHARES.iter().sum()).await?;
    scene
        .until("both pools to cost what OpenCost says", SOON, async || {
            for (pool, price) in [("on-demand", 0.384), ("spot", 0.142)] {
                let cost = ground.pool(pool).await?.cost_per_hour;
                ensure!(cost.is_some_and(|it| (it - price).abs() < 1e-9), "{pool}: {cost:?}");
            }
            Ok(Some(()))
        })
        .await?;

    // Twice as many wait: Karpenter makes nodes for them, whose price nobody knows.
    ground.send().await?;
    scene.until_moved(("sink", SHARES[0], 9), SOON).await?;
    scene.until_moved(("sink-spot", SHARES[1], 15), SOON).await?;
    ground.until_ready(24).await?;
    let many = of("cheap").await?.len();
    ensure!(1 < many, "fifteen pods stand on {many} node of eight CPUs");
    let cost = ground.pool("spot").await?.cost_per_hour;
    ensure!(cost.is_none(), "it costs {cost:?}, though nobody knows what one of its nodes does");

    // Half of them are done: whole nodes become empty, and Karpenter takes them away.
    let done = i64::try_from(BACKLOG)? / i64::from(PARTITIONS);
    shared::broker().await?.commit(ground.name(), ground.name(), done).await?;
    scene.until_moved(("sink-spot", SHARES[1], SHARES[1]), SOON).await?;
    scene
        .until("Karpenter to have taken away what is empty", SOON * 2, async || {
            let left = of("cheap").await?;
            ensure!(left.len() == 1, "{left:?} are left");
            Ok(Some(()))
        })
        .await?;
    ground.until_ready(SHARES.iter().sum()).await
}
