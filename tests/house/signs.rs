//! What makers of nodes say, as the watch takes it, on the in-memory API: of which pool a claim is that got no node, and which words of Cluster
//! Autoscaler on a pod are about nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::ToSpan;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use penstock::clock::Clock;
use penstock::crd;
use penstock::decide::{PoolSeen, Sign};
use penstock::demo::cluster::{Cluster, Options};
use penstock::tasks::Tasks;
use penstock::watch::{self, Watch};
use serde_json::{Value, json};
use tokio::time::timeout;

const NODE_POOL: &str = "karpenter.sh/nodepool";
const CAPACITY: &str = "karpenter.sh/capacity-type";

/// A cluster without controllers: the two pools that are proposed for one NodePool, and a pipeline with a lane on each.
struct Yard {
    cluster: Cluster,
    clock: Clock,
    watch: Watch,
}

impl Yard {
    fn new() -> Self {
        let cluster = Cluster::new(Options { controllers: false, nodes: 0, ..Options::default() });
        for definition in crd::all() {
            cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        let put = |group: &str, version: &str, plural: &str, object: Value| {
            let namespace = if plural == "capacitypools" { "" } else { "default" };
            cluster.put(group, version, plural, namespace, object).unwrap();
        };
        for (name, class, kind) in [("steady", "OnDemand", "on-demand"), ("cheap", "Spot", "spot")]
        {
            put(
                "penstock.dev",
                "v1alpha1",
                "capacitypools",
                json!({
                    "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name},
                    "spec": {"class": class, "nodeSelector": {NODE_POOL: "default", CAPACITY: kind},
                        "provider": {"kind": "Karpenter", "name": "default"}},
                }),
            );
            let labels = json!({"app": name});
            let containers = json!([{"name": "c", "image": "i"}]);
            put(
                "apps",
                "v1",
                "deployments",
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                    "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                        "metadata": {"labels": labels}, "spec": {"containers": containers},
                    }},
                }),
            );
        }
        let lanes = json!([
            {"pool": "steady", "target": {"name": "steady"}},
            {"pool": "cheap", "share": 50, "fallbackTo": "steady", "target": {"name": "cheap"}},
        ]);
        put(
            "penstock.dev",
            "v1alpha1",
            "scaledpipelines",
            json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "orders"},
                "spec": {"stages": [{
                    "name": "sink", "replicas": {"max": 9}, "lanes": lanes,
                    "sources": [{"name": "q", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}}],
                }]},
            }),
        );
        let clock = Clock::start();
        let options = watch::Options::default();
        let watch = Watch::start(cluster.client(), clock, options, Tasks::default());
        Self { cluster, clock, watch }
    }

    fn seconds_ago(&self, seconds: i64) -> String {
        let then = self.clock.now() - seconds.seconds();
        then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A pod of this lane waits for a node, and is known to.
    async fn waits(&self, lane: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": lane, "labels": {"app": lane}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        self.cluster.put("", "v1", "pods", "default", pod).unwrap();
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "lastTransitionTime": self.seconds_ago(60)});
        let status = json!({"status": {"phase": "Pending", "conditions": [condition]}});
        let kind = kube::core::GroupVersionKind::gvk("", "v1", "Pod");
        let resource = kube::api::ApiResource::from_gvk(&kind);
        let pods: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client(), "default", &resource);
        pods.patch_status(lane, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        let is_known = |pool: &PoolSeen| pool.lanes.iter().any(|lane| lane.waiting.is_some());
        self.see(lane, is_known).await;
    }

    /// Somebody says so, now.
    fn say(&self, number: u32, (kind, name): (&str, &str), reason: &str, message: &str) {
        let now = self.seconds_ago(0);
        let event = json!({
            "metadata": {"name": format!("word-{number}"), "namespace": "default"},
            "involvedObject": {"kind": kind, "name": name, "namespace": "default"},
            "reason": reason, "type": "Warning", "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "maker"},
        });
        self.cluster.put("", "v1", "events", "default", event).unwrap();
    }

    fn claim_fails(&self, number: u32, why: &str) {
        let message = format!("NodeClaim default-x7k2p event: {why}");
        self.say(number, ("NodeClaim", "default-x7k2p"), "InsufficientCapacityError", &message);
    }

    fn makes_none(&self, number: u32, why: &str) {
        let message = format!("pod didn't trigger scale-up: {why}");
        self.say(number, ("Pod", "cheap"), "NotTriggerScaleUp", &message);
    }

    /// A pool, once it is as it should be.
    async fn see(&self, pool: &str, is_it: impl Fn(&PoolSeen) -> bool) -> PoolSeen {
        let mut last = None;
        for _ in 0..500 {
            if self.watch.unsynced().is_empty() {
                let mut pools = self.watch.seen(&BTreeSet::new(), self.clock.now()).pools;
                last = pools.remove(pool).map(|sight| sight.seen);
                if let Some(pool) = last.take_if(|pool| is_it(pool)) {
                    return pool;
                }
            }
            drop(timeout(Duration::from_millis(20), self.watch.changed()).await);
        }
        panic!("it was never seen; the last was {last:#?}");
    }
}

fn ends(signs: &[Sign], word: &str) -> bool {
    signs.iter().any(|sign| sign.what.ends_with(word))
}

#[tokio::test]
async fn a_claim_without_a_node_is_of_the_pool_for_which_pods_wait_and_of_none_in_doubt() {
    let yard = Yard::new();
    yard.claim_fails(0, "nobody waits");
    yard.waits("cheap").await;
    let types = "all requested instance types were unavailable during launch";
    yard.claim_fails(1, types);
    yard.see("cheap", |pool| ends(&pool.signs, types)).await;
    // What takes over waits, too, and the claim may be of either.
    yard.waits("steady").await;
    yard.claim_fails(2, "with fleet error(s), UnfulfillableCapacity");
    let told = "There is no Spot capacity available that matches your request.";
    yard.claim_fails(3, told);
    let cheap = yard.see("cheap", |pool| ends(&pool.signs, told)).await;
    assert_eq!(cheap.signs.len(), 2, "{:?}", cheap.signs);
    let steady = yard.see("steady", |_| true).await;
    assert_eq!(steady.signs, []);
}

#[tokio::test]
async fn what_a_pod_asks_for_and_no_group_has_says_nothing_of_nodes() {
    let yard = Yard::new();
    yard.waits("cheap").await;
    yard.makes_none(0, "3 node(s) had untolerated taint {spot: true}, 1 Insufficient cpu");
    let wants = [
        "2 node(s) didn't match Pod's node affinity/selector, 1 in backoff after failed scale-up",
        "1 max node group size reached",
        "1 not ready for scale-up",
        "2 max cluster cpu, memory limit reached",
        "max total nodes in cluster reached",
        "1 exceeded quota: \"CapacityQuota/cheap\", resources: cpu",
    ];
    for (number, want) in (1..).zip(wants) {
        yard.makes_none(number, want);
    }
    let said = |pool: &PoolSeen| pool.lanes.iter().any(|lane| ends(&lane.signs, wants[5]));
    let cheap = yard.see("cheap", said).await;
    assert_eq!(cheap.signs, [], "it is of one lane");
    let told: Vec<_> = cheap.lanes[0].signs.iter().map(|sign| &*sign.what).collect();
    let expected =
        wants.map(|want| format!("NotTriggerScaleUp: pod didn't trigger scale-up: {want}"));
    assert_eq!(told, expected);
}
