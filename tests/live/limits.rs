//! Two pipelines with lanes on a pool at its limits, with the real scheduler and the real controllers on nodes of KWOK's: who is served first gets
//! the places, and who gives way never has fewer Ready than it needs.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Kubernetes};
use crate::scene::{SOON, Scene, workload};
use crate::yard::{Items, node};

const POOLS: [&str; 2] = ["kept", "spot"];
/// What twelve replicas are shared out to: two on demand, and seven of ten above them on spot.
const SHARES: [i32; 2] = [5, 7];
const NEEDED: usize = 12;

struct Yard {
    cluster: Cluster,
    scene: Scene,
}

impl Yard {
    /// Twenty CPUs on demand, and four on spot of the ten that there may be, which is room for one more node.
    async fn open() -> Result<Self> {
        let options = ClusterOptions { nodes: 1, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let scene = Scene::on(&cluster, "limits").await?;
        let yard = Self { cluster, scene };
        for number in 1..=4 {
            yard.make(&node("kept", number, 5)).await?;
        }
        yard.make(&node("spot", 1, 4)).await?;
        for (pool, class) in POOLS.into_iter().zip(["OnDemand", "Spot"]) {
            let mut spec = json!({"class": class, "nodeSelector": {"pool": pool}});
            if pool == "spot" {
                spec["limits"] = json!({"cpu": "10"});
            }
            yard.make(&json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": pool}, "spec": spec,
            }))
            .await?;
        }
        Ok(yard)
    }

    async fn make(&self, object: &Value) -> Result<()> {
        self.cluster.apply("default", &object.to_string()).await.map(drop)
    }

    /// A pipeline whose stage needs twelve replicas from now on.
    async fn pipeline(&self, name: &str, priority: i32) -> Result<()> {
        for (pool, replicas) in POOLS.into_iter().zip([2, 0]) {
            let on = json!({"nodeSelector": {"pool": pool}, "terminationGracePeriodSeconds": 1});
            let (name, cpu) = (format!("{name}-{pool}"), json!({"cpu": "1"}));
            self.scene.create(workload("Deployment", &name, replicas, &cpu, on)).await?;
        }
        let mut items = Items::open(&format!("{}-{name}", self.scene.namespace)).await?;
        items.want(i64::try_from(NEEDED)?).await?;
        let lane = |pool: &str| json!({"pool": pool, "target": {"name": format!("{name}-{pool}")}});
        let (mut kept, mut spot) = (lane("kept"), lane("spot"));
        kept["base"] = json!(2);
        (spot["share"], spot["fallbackTo"]) = (json!(70), json!("kept"));
        let at_once = json!({"stabilizationWindowSeconds": 0});
        let stage = json!({
            "name": "sink", "replicas": {"min": 2, "max": 40}, "lanes": [kept, spot],
            "behavior": {"scaleUp": at_once, "scaleDown": at_once}, "sources": [items.source()],
        });
        self.scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
                "spec": {"priority": priority, "stages": [stage]},
            }))
            .await
    }

    /// What the lanes of a pipeline are asked for, and how many of them are Ready.
    async fn lanes(&self, name: &str) -> Result<([i32; 2], usize)> {
        let (client, namespace) = (&self.scene.client, &self.scene.namespace);
        let all = Api::<Deployment>::namespaced(client.clone(), namespace);
        let mut asked = [0; 2];
        for (asked, pool) in asked.iter_mut().zip(POOLS) {
            let lane = all.get(&format!("{name}-{pool}")).await?;
            *asked = lane.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        }
        // At one instant, so that none is missed that moves from one to the other.
        let pods = ListParams::default().labels(&format!("app in ({name}-kept, {name}-spot)"));
        let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&pods).await?;
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
            let is_ready =
                conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
            is_ready && pod.metadata.deletion_timestamp.is_none()
        };
        Ok((asked, pods.iter().filter(is_ready).count()))
    }

    async fn until_shared(&self, name: &str) -> Result<()> {
        self.scene
            .until(&format!("{name} to have {SHARES:?}, all of them Ready"), SOON * 2, async || {
                let (asked, ready) = self.lanes(name).await?;
                ensure!(asked == SHARES && ready == NEEDED, "{asked:?}, {ready} are");
                Ok(Some(()))
            })
            .await
    }
}

#[tokio::test]
async fn a_pool_at_its_limits_goes_to_who_is_served_first() -> Result<()> {
    let yard = Yard::open().await?;
    yard.pipeline("bills", 0).await?;
    // Four find a place, three wait for the last node that the pool may have.
    yard.scene
        .until("all to be asked for", SOON, async || {
            let (asked, ready) = yard.lanes("bills").await?;
            ensure!(asked == SHARES && ready == 9, "{asked:?}, {ready} are Ready");
            Ok(Some(()))
        })
        .await?;
    yard.make(&node("spot", 2, 4)).await?;
    yard.until_shared("bills").await?;
    let full = "its nodes have 8 CPUs, and limits.cpu is 10, too little for one more of 4";
    yard.scene
        .until("the pool to be at its limits", SOON, async || {
            let ask = ["get", "capacitypool", "spot", "-o", "jsonpath={.status}"];
            let status = yard.cluster.kubectl(&ask).await?;
            ensure!(status.contains("Constrained") && status.contains(full), "{status}");
            Ok(Some(()))
        })
        .await?;

    let moves = || {
        let up = yard.scene.moves("bills-kept", 2)?;
        anyhow::Ok((up, yard.scene.moves("bills-spot", 0)?))
    };
    let (up, down) = moves().map(|(up, down)| (up.len(), down.len()))?;
    yard.pipeline("orders", 5).await?;
    let mut fewest = NEEDED;
    yard.scene
        .until("orders to have its share, and bills to be carried", SOON * 2, async || {
            let (of_bills, ready) = yard.lanes("bills").await?;
            fewest = fewest.min(ready);
            let (of_orders, ready) = yard.lanes("orders").await?;
            let is_so = of_bills == [12, 0] && of_orders == SHARES && ready == NEEDED;
            ensure!(is_so, "bills {of_bills:?}, orders {of_orders:?}, of which {ready} are Ready");
            Ok(Some(()))
        })
        .await?;
    ensure!(fewest == NEEDED, "bills had {fewest} Ready");
    // Nothing moved back and forth meanwhile.
    let (kept, spot) = moves().map(|(all, other)| (all[up..].to_vec(), other[down..].to_vec()))?;
    ensure!(kept.is_sorted() && spot.is_sorted_by(|a, b| a >= b), "moves {kept:?} and {spot:?}");
    let short = ("CapacityShort", "True", "PoolShort");
    let said = yard.scene.until_condition("bills", short, SOON).await?;
    let first = format!("{full}; {}/orders is served first", yard.scene.namespace);
    ensure!(said.contains(&first), "{said}");
    Ok(())
}
