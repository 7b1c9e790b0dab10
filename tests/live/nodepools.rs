//! Limits and conditions of Karpenter's NodePools, with the real Karpenter (its provider of KWOK's nodes), the real scheduler and the real controllers: what a
//! NodePool may not make, or makes nothing of, another lane has within seconds, though the CapacityPool says nothing of it; and it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Karpenter, Kubernetes, Penstock, Request};
use crate::scene::{SOON, Scene, workload};
use crate::yard::Items;

/// What twelve replicas are shared out to: two on demand, and seven of ten above them on spot.
const SHARES: [i32; 2] = [5, 7];
const NEEDED: i64 = 12;
/// A node has four CPUs, and a little of that is the system's.
const FIT: i32 = 3;
/// On a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);
/// What a pod waits for at the least before that alone is a sign.
const WAITS: Duration = Duration::from_secs(30);

/// A cluster with Karpenter, and a pool of nodes on demand that may have as many as it likes: `kept`, of the NodePool `steady`.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) karpenter: Karpenter,
    pub(crate) scene: Scene,
}

impl Ground {
    pub(crate) async fn open(name: &str) -> Result<Self> {
        let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let karpenter = Karpenter::start(&cluster, "").await?;
        let scene = Scene::on(&cluster, name).await?;
        let ground = Self { cluster, karpenter, scene };
        ground.node_pool("steady", "on-demand", "{}", "default").await?;
        ground.pool("kept", "OnDemand", "steady").await?;
        Ok(ground)
    }

    /// A NodePool of nodes of four CPUs.
    pub(crate) async fn node_pool(
        &self,
        name: &str,
        kind: &str,
        limits: &str,
        class: &str,
    ) -> Result<()> {
        let sized = "- {key: karpenter.kwok.sh/instance-cpu, operator: In, values: [\"4\"]}";
        let text = Karpenter::node_pool(name, &[kind], limits)
            .replace("requirements:", &format!("requirements:\n      {sized}"))
            .replace("name: default}", &format!("name: {class}}}"));
        self.cluster.apply("default", &text).await.map(drop)
    }

    /// A CapacityPool without limits, of the nodes that a NodePool makes. It is tried twice a minute.
    pub(crate) async fn pool(&self, name: &str, class: &str, of: &str) -> Result<()> {
        self.make(&json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name},
            "spec": {
                "class": class, "nodeSelector": {"karpenter.sh/nodepool": of}, "probe": {"interval": "20s"},
                "provider": {"kind": "Karpenter", "name": of},
            },
        }))
        .await
    }

    /// Makes an object outside of the scene's namespace, by the administrator.
    pub(crate) async fn make(&self, object: &Value) -> Result<()> {
        self.cluster.apply("default", &object.to_string()).await.map(drop)
    }

    /// A pipeline with two replicas on `kept` and seven of ten above them on another pool, of a NodePool, and what waits for it.
    pub(crate) async fn pipeline(
        &self,
        name: &str,
        priority: i32,
        (pool, of): (&str, &str),
    ) -> Result<Items> {
        for (pool, of, replicas) in [("kept", "steady", 2), (pool, of, 0)] {
            let on = json!({"nodeSelector": {"karpenter.sh/nodepool": of}});
            let (name, requests) = (format!("{name}-{pool}"), json!({"cpu": "1", "memory": "1Gi"}));
            self.scene.create(workload("Deployment", &name, replicas, &requests, on)).await?;
        }
        let mut items = Items::open(&format!("{}-{name}", self.scene.namespace)).await?;
        items.want(NEEDED).await?;
        let at_once = json!({"stabilizationWindowSeconds": 0});
        let lane = |pool: &str| json!({"pool": pool, "target": {"name": format!("{name}-{pool}")}});
        let (mut kept, mut other) = (lane("kept"), lane(pool));
        kept["base"] = json!(2);
        (other["share"], other["fallbackTo"]) = (json!(70), json!("kept"));
        let stage = json!({
            "name": "sink", "replicas": {"min": 2, "max": 40}, "lanes": [kept, other],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once}, "sources": [items.source()],
        });
        self.scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
                "spec": {"priority": priority, "stages": [stage]},
            }))
            .await?;
        Ok(items)
    }

    /// What the lanes of a pipeline are asked for, and how many of their pods are Ready and stay, at one instant.
    pub(crate) async fn lanes(&self, name: &str, pool: &str) -> Result<([i32; 2], i32)> {
        let (client, namespace) = (&self.scene.client, &self.scene.namespace);
        let all = Api::<Deployment>::namespaced(client.clone(), namespace);
        let mut asked = [0; 2];
        for (asked, pool) in asked.iter_mut().zip(["kept", pool]) {
            let lane = all.get(&format!("{name}-{pool}")).await?;
            *asked = lane.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        }
        let pods = ListParams::default().labels(&format!("app in ({name}-kept, {name}-{pool})"));
        let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&pods).await?;
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
            let is_ready =
                conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
            is_ready && pod.metadata.deletion_timestamp.is_none()
        };
        Ok((asked, i32::try_from(pods.iter().filter(is_ready).count())?))
    }

    /// Waits until the lanes are asked for this, and so many are Ready.
    pub(crate) async fn until_lanes(
        &self,
        (name, pool): (&str, &str),
        counts: [i32; 2],
        all: i32,
    ) -> Result<()> {
        self.scene
            .until(
                &format!("{name} to have {counts:?}, {all} of them Ready"),
                SOON * 2,
                async || {
                    let (asked, ready) = self.lanes(name, pool).await?;
                    ensure!(asked == counts && ready == all, "{asked:?}, {ready} are");
                    Ok(Some(()))
                },
            )
            .await
    }

    /// Waits until a pool is so, and says this of it.
    pub(crate) async fn until_state(&self, pool: &str, state: &str, word: &str) -> Result<Value> {
        self.scene
            .until(&format!("{pool} to be {state}"), SOON, async || {
                let ask = ["get", "capacitypool", pool, "-o", "jsonpath={.status}"];
                let status = self.cluster.kubectl(&ask).await?;
                let parsed: Value = serde_json::from_str(&status)?;
                ensure!(parsed["state"] == state && status.contains(word), "{status}");
                Ok(Some(parsed))
            })
            .await
    }

    /// Another daemon, after the first was killed.
    pub(crate) async fn again(&self) -> Result<Penstock> {
        let here = &self.scene.namespace;
        let here = ["--namespace", here, "--lease-namespace", here];
        Penstock::run(self.cluster.kubeconfig(), &here).await
    }

    async fn change(&self, name: &str, change: &Value) -> Result<()> {
        let change = change.to_string();
        let patch = ["patch", "nodepool", name, "--type=merge", "-p", &change];
        self.cluster.kubectl(&patch).await.map(drop)
    }

    /// When the first write left a workload with this count.
    fn when(&self, target: &str, count: u32) -> Result<Timestamp> {
        let writes = self.scene.writes(target)?;
        let is_it = |write: &&Request| write.replicas == Some(count);
        Ok(writes.iter().find(is_it).with_context(|| format!("{target} never had {count}"))?.at)
    }
}

#[tokio::test]
async fn what_a_node_pool_may_not_make_another_lane_has_and_what_none_makes_as_well() -> Result<()>
{
    let ground = Ground::open("nodepools").await?;
    let played = play(&ground).await;
    played.with_context(|| ground.karpenter.process().log().unwrap_or_default())
}

async fn play(ground: &Ground) -> Result<()> {
    let scene = &ground.scene;
    ground.node_pool("cheap", "spot", "{cpu: 4}", "default").await?;
    ground.pool("spot", "Spot", "cheap").await?;
    ground.node_pool("broken", "spot", "{}", "missing").await?;
    ground.pool("gone", "Spot", "broken").await?;
    let _orders = ground.pipeline("orders", 0, ("spot", "cheap")).await?;
    let beyond = SHARES[1] - FIT;
    ground.until_lanes(("orders", "spot"), [SHARES[0] + beyond, SHARES[1]], 12).await?;
    // At once three, for which there surely is no room, and one more when it is seen that there is none for it, either.
    let asked = ground.when("orders-spot", 7)?;
    for (carried, most) in [(8, AT_ONCE), (9, WAITS)] {
        let carried = ground.when("orders-kept", carried)?;
        let took = Duration::try_from(carried.duration_since(asked))?;
        ensure!(took < most, "it was carried after {took:?}");
    }
    let limits = "NodePool cheap is at its limits: its limits.cpu is 4";
    let status = ground.until_state("spot", "Constrained", limits).await?;
    ensure!(status["evidence"][0]["kind"] == "Hard", "{status}");
    let short = ("CapacityShort", "True", "PoolShort");
    let said = scene.until_condition("orders", short, SOON).await?;
    ensure!(said.contains(limits), "{said}");

    // One that makes none: nothing is asked of it.
    let _bills = ground.pipeline("bills", 0, ("gone", "broken")).await?;
    ground.until_lanes(("bills", "gone"), [12, 0], 12).await?;
    let status =
        ground.until_state("gone", "Constrained", "NodePool broken is not Ready: ").await?;
    ensure!(status["evidence"][0]["kind"] == "Hard", "{status}");
    let said = scene.until_condition("bills", short, SOON).await?;
    ensure!(said.contains("NodePool broken is not Ready: NodeClass"), "{said}");
    ensure!(scene.moves("bills-gone", 0)?.is_empty(), "it was asked for replicas");

    // Both are mended.
    ground.change("cheap", &json!({"spec": {"limits": {"cpu": "100"}}})).await?;
    let class = json!({"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "missing"}, "spec": {}});
    ground.make(&class).await?;
    ground.until_lanes(("orders", "spot"), SHARES, 12).await?;
    ground.until_lanes(("bills", "gone"), SHARES, 12).await?;
    for pool in ["spot", "gone"] {
        ground.until_state(pool, "Available", "").await?;
    }
    Ok(())
}

/// Killed while another lane takes over what a NodePool may not make: the next daemon ends where this one would have, and takes nothing back on the way.
#[tokio::test]
async fn a_daemon_that_is_killed_in_the_middle_of_a_fallback_leaves_the_next_one_to_end_it()
-> Result<()> {
    let ground = Ground::open("fallback").await?;
    let scene = &ground.scene;
    ground.node_pool("cheap", "spot", "{cpu: 4}", "default").await?;
    ground.pool("spot", "Spot", "cheap").await?;
    let _orders = ground.pipeline("orders", 0, ("spot", "cheap")).await?;
    let end = SHARES[0] + SHARES[1] - FIT;
    scene
        .until("the first of them to be carried", SOON, async || {
            let moves = scene.moves("orders-kept", 2)?;
            let now = moves.last().copied().unwrap_or_default();
            ensure!(now < u32::try_from(end)?, "nothing is left to be carried: {moves:?}");
            Ok((5 < now).then_some(()))
        })
        .await?;
    scene.daemon.process().kill9();
    let next = ground.again().await?;
    ground.until_lanes(("orders", "spot"), [end, SHARES[1]], 12).await?;
    // Who runs twelve never has fewer, and nothing was moved there and back.
    let mut asked = BTreeMap::from([("orders-kept", 2), ("orders-spot", 0)]);
    let mut writes = Vec::new();
    for target in ["orders-kept", "orders-spot"] {
        writes.extend(
            scene.writes(target)?.into_iter().map(|write| (write.at, target, write.replicas)),
        );
    }
    writes.sort_unstable();
    let mut most = 0;
    for (_, target, replicas) in &writes {
        asked.insert(target, replicas.context("a write without its answer")?);
        let all = asked.values().sum();
        ensure!(all >= most.min(12), "{all} were asked for after {most}: {writes:?}");
        most = most.max(all);
    }
    let (kept, spot) = (scene.moves("orders-kept", 2)?, scene.moves("orders-spot", 0)?);
    ensure!(kept.is_sorted() && spot == [7], "moves {kept:?} and {spot:?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(scene.moves("orders-kept", 2)? == kept && scene.moves("orders-spot", 0)? == spot);
    next.stop().await?;
    Ok(())
}
