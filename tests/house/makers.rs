//! Karpenter's NodePools, as the watch takes them, on the in-memory API: what their limits leave of which pool, that one makes no nodes, and what
//! is known where they are not served.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use penstock::clock::Clock;
use penstock::crd;
use penstock::demo::cluster::{Cluster, Options};
use penstock::tasks::Tasks;
use penstock::watch::{self, PoolSight, Watch};
use serde_json::{Value, json};
use tokio::time::timeout;

const NODE_POOL: &str = "karpenter.sh/nodepool";
const CAPACITY: &str = "karpenter.sh/capacity-type";

/// A cluster without controllers; a pipeline with a lane on a pool on demand and one on spot, whose workload is asked for three replicas.
struct Yard {
    cluster: Cluster,
    clock: Clock,
    watch: Watch,
}

fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Yard {
    /// The pool on spot, as its owner describes it.
    fn new(spot: Value) -> Self {
        let cluster = Cluster::new(Options { controllers: false, nodes: 0, ..Options::default() });
        for definition in crd::all() {
            cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        let ours = |plural: &str, namespace: &str, object: Value| {
            cluster.put(crd::GROUP, crd::VERSION, plural, namespace, object).unwrap();
        };
        let kept = json!({"class": "OnDemand", "nodeSelector": {CAPACITY: "on-demand"}});
        for (name, spec) in [("kept", kept), ("spot", spot)] {
            let pool = json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec,
            });
            ours("capacitypools", "", pool);
            let labels = json!({"app": name});
            let containers = json!([{"name": "c", "image": "i"}]);
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
                    "metadata": {"labels": labels}, "spec": {"containers": containers},
                }},
            });
            cluster.put("apps", "v1", "deployments", "default", deployment).unwrap();
        }
        let lanes = json!([
            {"pool": "kept", "target": {"name": "kept"}},
            {"pool": "spot", "share": 50, "fallbackTo": "kept", "target": {"name": "spot"}},
        ]);
        let pipeline = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "orders"},
            "spec": {"stages": [{
                "name": "sink", "replicas": {"max": 9}, "lanes": lanes,
                "sources": [{"name": "q", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}}],
            }]},
        });
        ours("scaledpipelines", "default", pipeline);
        let clock = Clock::start();
        let watch =
            Watch::start(cluster.client(), clock, watch::Options::default(), Tasks::default());
        Self { cluster, clock, watch }
    }

    fn with_karpenter(self) -> Self {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        self.cluster
            .define(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "nodepools.karpenter.sh"},
                "spec": {
                    "group": "karpenter.sh", "scope": "Cluster",
                    "names": {"kind": "NodePool", "plural": "nodepools"},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
                    }],
                },
            }))
            .unwrap();
        self
    }

    /// A NodePool that makes nodes of one capacity type, with these limits, whose nodes have so much.
    fn node_pool(&self, name: &str, of: &str, limits: &Value, resources: &Value) {
        let requirement = json!({"key": CAPACITY, "operator": "In", "values": [of]});
        let object = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name},
            "spec": {"limits": limits, "template": {"spec": {"requirements": [requirement]}}},
            "status": {"resources": resources, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.cluster.put("karpenter.sh", "v1", "nodepools", "", object).unwrap();
    }

    async fn change(&self, name: &str, change: &Value) {
        let resource = resource("karpenter.sh/v1", "NodePool");
        let all: Api<DynamicObject> = Api::all_with(self.cluster.client(), &resource);
        all.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    async fn node(&self, name: &str, maker: &str, of: &str, cpu: u32) {
        let labels = json!({NODE_POOL: maker, CAPACITY: of});
        let object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {},
        });
        self.cluster.put("", "v1", "nodes", "", object).unwrap();
        let amounts = json!({"cpu": cpu.to_string(), "memory": "16Gi"});
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let conditions = if name == "young" { json!([]) } else { json!([ready]) };
        let status = json!({"status": {
            "capacity": amounts, "allocatable": amounts, "conditions": conditions,
        }});
        let all: Api<DynamicObject> = Api::all_with(self.cluster.client(), &resource("v1", "Node"));
        all.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    /// A pod of the lane on spot.
    fn pod(&self, name: &str, node: Option<&str>) {
        let requests = json!({"cpu": "1", "memory": "4Gi"});
        let containers = json!([{"name": "c", "image": "i", "resources": {"requests": requests}}]);
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "spot"}},
            "spec": {"containers": containers},
        });
        if let Some(node) = node {
            object["spec"]["nodeName"] = json!(node);
        }
        self.cluster.put("", "v1", "pods", "default", object).unwrap();
    }

    /// The pool on spot, once it is as it should be.
    async fn see(&self, what: &str, is_it: impl Fn(&PoolSight) -> bool) -> PoolSight {
        let mut last = None;
        // That Karpenter came is looked for twice a minute.
        for _ in 0..2500 {
            if self.watch.unsynced().is_empty() {
                let due: BTreeSet<_> = self.watch.pipelines().into_iter().collect();
                let mut pools = self.watch.seen(&due, self.clock.now()).pools;
                last = pools.remove("spot");
                if let Some(pool) = last.take_if(|pool| is_it(pool)) {
                    return pool;
                }
            }
            drop(timeout(Duration::from_millis(20), self.watch.changed()).await);
        }
        panic!("it was never {what}; the last was {last:#?}");
    }

    /// Why the pool may grow no further, once it may not or may.
    async fn full(&self, word: Option<&str>) -> Option<String> {
        let is_it = |pool: &PoolSight| match (&pool.seen.full, word) {
            (Some(full), Some(word)) => full.contains(word),
            (full, word) => full.is_none() && word.is_none() && pool.seen.cpu.is_some(),
        };
        let pool = self.see(word.unwrap_or("free"), is_it).await;
        pool.seen.full.map(|full| full.to_string())
    }
}

fn spot() -> Value {
    json!({"class": "Spot", "nodeSelector": {CAPACITY: "spot"}})
}

#[tokio::test]
async fn what_node_pools_leave_is_what_their_limits_leave_of_their_nodes_and_of_those_on_their_way()
{
    let yard = Yard::new(spot()).with_karpenter();
    yard.node_pool("cheap", "spot", &json!({"cpu": 8}), &json!({"cpu": "4"}));
    yard.node_pool("steady", "on-demand", &json!({"cpu": 1}), &json!({"cpu": "1"}));
    let left = |left: f64, coming: f64| {
        move |pool: &PoolSight| {
            pool.seen.cpu.is_some_and(|cpu| (cpu.left, cpu.coming) == (left, coming))
        }
    };
    let pool = yard.see("half full", left(4.0, 4.0)).await;
    assert_eq!(pool.seen.full, None);
    yard.node("one", "cheap", "spot", 4).await;
    yard.see("there", left(4.0, 0.0)).await;
    // The sum is told later than the node is there.
    yard.node("two", "cheap", "spot", 2).await;
    yard.see("more", left(2.0, 0.0)).await;
    yard.change("cheap", &json!({"status": {"resources": {"cpu": "7"}}})).await;
    yard.see("more on its way", left(1.0, 1.0)).await;
    // That it is there does not mean that it takes pods.
    yard.change(
        "cheap",
        &json!({"spec": {"limits": {"cpu": "11"}}, "status": {"resources": {"cpu": "9"}}}),
    )
    .await;
    yard.node("young", "cheap", "spot", 3).await;
    yard.see("not ready", left(2.0, 3.0)).await;
    yard.change(
        "cheap",
        &json!({"spec": {"limits": {"cpu": "10"}}, "status": {"resources": {"cpu": "9"}}}),
    )
    .await;
    yard.see("nearly full", left(1.0, 3.0)).await;
    // Another that makes such nodes, too: the room is the sum, and without a limit of one there is none.
    yard.node_pool("other", "spot", &json!({"cpu": "3"}), &json!({}));
    yard.see("two of them", left(4.0, 3.0)).await;
    yard.change("other", &json!({"spec": {"limits": null}})).await;
    yard.see("unlimited", left(0.0, 0.0)).await;
    yard.change("other", &json!({"spec": {"limits": {"cpu": "0"}}})).await;
    yard.change("cheap", &json!({"status": {"resources": {"cpu": "10"}}})).await;
    let full = yard.full(Some("cheap")).await.unwrap();
    let limits =
        |name: &str, of: u32| format!("NodePool {name} is at its limits: its limits.cpu is {of}");
    assert_eq!(full, format!("{}; {}", limits("cheap", 10), limits("other", 0)));
}

#[tokio::test]
async fn what_was_asked_for_and_is_not_there_yet_counts() {
    let yard = Yard::new(spot()).with_karpenter();
    yard.node_pool("cheap", "spot", &json!({"cpu": "8"}), &json!({"cpu": "4"}));
    yard.node("one", "cheap", "spot", 4).await;
    yard.pod("a", Some("one"));
    yard.pod("b", None);
    // Three are asked for, of which one has a node.
    let owes = |owed: f64| {
        move |pool: &PoolSight| pool.seen.cpu.is_some_and(|it| (it.owed, it.taken) == (owed, 1.0))
    };
    let pool = yard.see("owed two", owes(2.0)).await;
    assert_eq!(pool.seen.full, None, "there are four");
    yard.change("cheap", &json!({"spec": {"limits": {"cpu": "6"}}})).await;
    yard.full(Some("its limits.cpu is 6")).await;
    // What is being made is for those.
    yard.change(
        "cheap",
        &json!({"spec": {"limits": {"cpu": "8"}}, "status": {"resources": {"cpu": "6"}}}),
    )
    .await;
    yard.full(None).await;
    // Memory for less than one, though there are CPUs; and as many nodes as there may be.
    yard.change("cheap", &json!({"spec": {"limits": {"cpu": "80", "memory": "18Gi"}}})).await;
    let full = yard.full(Some("memory")).await.unwrap();
    assert_eq!(full, "NodePool cheap is at its limits: its limits.memory is 18 GiB");
    let nodes = json!({"cpu": "80", "memory": null, "nodes": "1"});
    yard.change("cheap", &json!({"spec": {"limits": nodes}})).await;
    yard.full(Some("its limits.nodes is 1")).await;
}

#[tokio::test]
async fn a_node_pool_that_is_not_ready_makes_no_nodes_and_says_why() {
    let named = json!({"class": "Spot", "nodeSelector": {"team": "data"}, "provider": {"kind": "Karpenter", "name": "cheap"}});
    let yard = Yard::new(named).with_karpenter();
    let lost = |pool: &PoolSight| pool.unmade.is_some();
    let told = yard.see("lost", lost).await.unmade.unwrap();
    assert_eq!(&*told.label, "NodePoolNotFound");
    yard.node_pool("cheap", "spot", &json!({}), &json!({}));
    yard.full(None).await;
    assert_eq!(yard.see("found", |pool| pool.unmade.is_none()).await.seen.full, None);
    let say = |status: &str, reason: &str, message: &str| {
        let ready = json!({"type": "Ready", "status": status, "reason": "UnhealthyDependents", "message": ""});
        let class = json!({"type": "NodeClassReady", "status": status, "reason": reason, "message": message});
        json!({"status": {"conditions": [class, ready]}})
    };
    let missing = say("False", "NodeClassNotFound", "NodeClass not found on cluster");
    yard.change("cheap", &missing).await;
    let full = yard.full(Some("cheap")).await.unwrap();
    let why = "NodeClassNotFound, NodeClass not found on cluster";
    assert_eq!(full, format!("NodePool cheap is not Ready: {why}"));
    yard.change("cheap", &say("Unknown", "AwaitingReconciliation", "object is awaiting")).await;
    yard.full(None).await;
    yard.change("cheap", &missing).await;
    yard.full(Some("cheap")).await;
    yard.change("cheap", &say("True", "NodeClassReady", "")).await;
    yard.full(None).await;
}

#[tokio::test(start_paused = true)]
async fn karpenter_may_come_later_and_until_then_only_a_pool_of_its_own_says_so() {
    let yard = Yard::new(
        json!({"class": "Spot", "nodeSelector": {CAPACITY: "spot"}, "provider": {"kind": "Karpenter"}}),
    );
    let told = yard.see("without", |pool| pool.unmade.is_some()).await;
    assert_eq!(&*told.unmade.unwrap().label, "NodePoolsUnread");
    assert_eq!((told.seen.full, told.seen.cpu), (None, None));
    let yard = yard.with_karpenter();
    yard.node_pool("cheap", "spot", &json!({"cpu": "0"}), &json!({}));
    yard.full(Some("its limits.cpu is 0")).await;
    yard.see("with it", |pool| pool.unmade.is_none()).await;

    let elsewhere = Yard::new(json!({"class": "Spot", "nodeSelector": {"pool": "spot"}}));
    elsewhere.node("one", "gone", "spot", 4).await;
    let pool = elsewhere.see("there", |_| true).await;
    assert_eq!((pool.unmade, pool.seen.full, pool.seen.cpu), (None, None, None));
}
