//! `penstock pools` over the in-memory cluster: what is shown, and what is proposed, word for word.

use std::process::{Command, Output};

use kube::Api;
use kube::api::{Patch, PatchParams};
use penstock::crd::{self, CapacityPool};
use penstock::demo::cluster::{Cluster, Fault, Match, Options};
use serde_json::{Value, json};

use crate::served::Kubeconfig;

/// A cluster with Penstock's kinds.
struct Ground {
    cluster: Cluster,
    kubeconfig: Kubeconfig,
}

impl Ground {
    async fn new() -> Self {
        let ground = Self::bare().await;
        for definition in crd::all() {
            ground.cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        ground
    }

    /// The same without them.
    async fn bare() -> Self {
        let cluster = Cluster::new(Options { controllers: false, nodes: 0, ..Options::default() });
        let kubeconfig = Kubeconfig::of(&cluster).await;
        Self { cluster, kubeconfig }
    }

    /// Makes Karpenter's NodePools known.
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
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open}}},
                    }],
                },
            }))
            .unwrap();
        self
    }

    /// A NodePool with these requirements, of nodes of this group of node classes.
    fn node_pool(&self, name: &str, classes: &str, requirements: &Value, limits: &Value) {
        let object = json!({
            "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name},
            "spec": {"limits": limits, "template": {"spec": {
                "nodeClassRef": {"group": classes, "kind": "NodeClass", "name": "default"},
                "requirements": requirements,
            }}},
        });
        self.cluster.put("karpenter.sh", "v1", "nodepools", "", object).unwrap();
    }

    fn node(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        });
        self.cluster.put("", "v1", "nodes", "", object).unwrap();
    }

    fn pool(&self, name: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool",
            "metadata": {"name": name}, "spec": spec,
        });
        self.cluster.put(crd::GROUP, crd::VERSION, "capacitypools", "", object).unwrap();
    }

    async fn pools(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.args(["pools", "--kubeconfig", self.kubeconfig.file()]).args(arguments);
        let run = tokio::task::spawn_blocking(move || command.output());
        let Output { status, stdout, stderr } = run.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// What is proposed, without a complaint.
    async fn proposed(&self) -> String {
        let (code, out, err) = self.pools(&["--propose"]).await;
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    }

    /// Applies what was proposed, as kubectl would.
    fn apply(&self, text: &str) -> usize {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        for document in documents.iter().filter(|document| !document.is_null()) {
            self.cluster
                .put(crd::GROUP, crd::VERSION, "capacitypools", "", document.clone())
                .unwrap();
        }
        documents.len()
    }
}

const TYPE: &str = "karpenter.sh/capacity-type";
const NODE_POOL: &str = "karpenter.sh/nodepool";
const PRICE: &str = "eks-node-viewer/instance-price";

#[tokio::test]
async fn each_node_pool_and_capacity_type_gets_its_capacity_pool_once() {
    let ground = Ground::new().await.with_karpenter();
    let both = json!([
        {"key": TYPE, "operator": "In", "values": ["spot", "on-demand"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-1b", "eu-1a"]},
    ]);
    ground.node_pool("general", "karpenter.k8s.aws", &both, &json!({"cpu": "1000"}));
    let no_spot = json!([{"key": TYPE, "operator": "NotIn", "values": ["spot"]}]);
    ground.node_pool("steady", "karpenter.azure.com", &no_spot, &Value::Null);
    ground.node_pool("anything", "example.com", &json!([]), &Value::Null);
    let reserved = json!([{"key": TYPE, "operator": "In", "values": ["reserved"]}]);
    ground.node_pool("bought", "karpenter.k8s.aws", &reserved, &Value::Null);
    ground.node("a", &[(NODE_POOL, "general"), (TYPE, "spot"), (PRICE, "0.0336")]);
    ground.node("b", &[(NODE_POOL, "steady"), (TYPE, "on-demand")]);
    // This one of the four has been seen to.
    let spec =
        json!({"class": "OnDemand", "nodeSelector": {NODE_POOL: "anything", TYPE: "on-demand"}});
    ground.pool("steady-on-demand", &spec);
    let text = ground.proposed().await;
    insta::assert_snapshot!(text);
    assert_eq!(ground.apply(&text), 5);
    assert!(ground.proposed().await.starts_with("# Nothing to propose"));
}

#[tokio::test]
async fn without_node_pools_the_labels_of_nodes_tell() {
    let ground = Ground::new().await;
    ground.node(
        "eks-1",
        &[
            ("eks.amazonaws.com/capacityType", "SPOT"),
            ("node.kubernetes.io/instance-type", "m5.large"),
        ],
    );
    ground.node(
        "eks-2",
        &[
            ("eks.amazonaws.com/capacityType", "SPOT"),
            ("node.kubernetes.io/instance-type", "c5.large"),
        ],
    );
    ground.node("eks-3", &[("eks.amazonaws.com/capacityType", "ON_DEMAND")]);
    ground.node(
        "gke-1",
        &[("cloud.google.com/gke-nodepool", "cheap"), ("cloud.google.com/gke-spot", "true")],
    );
    ground.node("gke-2", &[("cloud.google.com/gke-nodepool", "Main_Pool")]);
    ground.node(
        "aks-1",
        &[("kubernetes.azure.com/scalesetpriority", "spot"), ("example.com/hourly-price", "0.05")],
    );
    ground.node("capi-1", &[("cluster.x-k8s.io/interruptible", "")]);
    ground.node("plain-1", &[("kubernetes.io/os", "linux")]);
    ground.node("head", &[("node-role.kubernetes.io/control-plane", "")]);
    let text = ground.proposed().await;
    insta::assert_snapshot!(text);
    assert_eq!(ground.apply(&text), 6);
    let again = ground.proposed().await;
    assert!(again.starts_with("# Nothing to propose"), "{again}");
    assert!(again.contains("do not tell how they were had: plain-1; hint"), "{again}");
}

#[tokio::test]
async fn a_wider_pool_covers_what_it_has_and_a_narrower_one_is_pointed_out() {
    let ground = Ground::new().await.with_karpenter();
    let both = json!([{"key": TYPE, "operator": "In", "values": ["spot", "on-demand"]}]);
    ground.node_pool("general", "karpenter.k8s.aws", &both, &Value::Null);
    ground.pool("spot", &json!({"class": "Spot", "nodeSelector": {TYPE: "spot"}}));
    let narrow = json!({"class": "OnDemand", "zones": ["eu-1a"],
        "nodeSelector": {NODE_POOL: "general", TYPE: "on-demand"}});
    ground.pool("narrow", &narrow);
    let (_, out, _) = ground.pools(&["--propose", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&out).unwrap();
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(names, ["general-on-demand"]);
    let text = ground.proposed().await;
    assert!(
        text.contains("# beware: nodes of CapacityPool narrow would belong to this one, too"),
        "{text}"
    );
}

#[tokio::test]
async fn a_node_that_its_node_pool_would_not_make_again_gets_no_pool_of_its_own() {
    let ground = Ground::new().await.with_karpenter();
    let only = json!([{"key": TYPE, "operator": "In", "values": ["on-demand"]}]);
    ground.node_pool("general", "karpenter.k8s.aws", &only, &Value::Null);
    ground.node("drifted", &[(NODE_POOL, "general"), (TYPE, "spot")]);
    let text = ground.proposed().await;
    assert!(text.contains("name: general-on-demand\n") && !text.contains("class: Spot"), "{text}");
    assert!(text.contains("how they were had: drifted;"), "{text}");
}

#[tokio::test]
async fn the_table_shows_how_pools_fare_and_what_has_none() {
    let ground = Ground::new().await;
    for (name, labels) in [
        ("a", [(TYPE, "spot"), (PRICE, "0.03")]),
        ("b", [(TYPE, "spot"), (PRICE, "0.04")]),
        ("c", [(TYPE, "on-demand"), (PRICE, "0.10")]),
    ] {
        ground.node(name, &labels);
    }
    ground.node("d", &[("kubernetes.io/os", "linux")]);
    let status = json!({
        "state": "Constrained", "since": "2026-11-21T08:00:00Z", "nodes": 2, "costPerHour": "0.07",
        "evidence": [
            {"at": "2026-11-21T07:58:00Z", "kind": "Soft", "what": "a pod waits"},
            {"at": "2026-11-21T08:00:00Z", "kind": "Hard", "what": "InsufficientCapacityError"},
        ],
    });
    ground.pool("spot", &json!({"class": "Spot", "nodeSelector": {TYPE: "spot"}}));
    Api::<CapacityPool>::all(ground.cluster.client())
        .patch_status("spot", &PatchParams::default(), &Patch::Merge(json!({"status": status})))
        .await
        .unwrap();
    let (code, out, err) = ground.pools(&[]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(out, @"
    NAME  CLASS  STATE        NODES  COST/H  SINCE                 NEWEST EVIDENCE
    spot  Spot   Constrained  2      0.07    2026-11-21 08:00:00Z  2026-11-21 08:00:00Z: InsufficientCapacityError (Hard)

    WITHOUT A CAPACITYPOOL  CLASS     NODES  FOUND BY
    on-demand               OnDemand  1      the nodes' label karpenter.sh/capacity-type=on-demand
    hint: penstock pools --propose prints them, for kubectl apply -f -

    Nodes of no pool, whose labels do not tell how they were had: d; hint: write a CapacityPool with a label they share
    ");
    let (_, out, _) = ground.pools(&["-o", "json"]).await;
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        report["pools"][0],
        json!({
            "name": "spot", "class": "Spot", "state": "Constrained", "nodes": 2, "costPerHour": "0.07",
            "since": "2026-11-21T08:00:00Z", "newestEvidence": status["evidence"][1],
        })
    );
    assert_eq!(report["without"][0]["nodeSelector"], json!({TYPE: "on-demand"}));
    assert_eq!(report["unmarkedNodes"], json!(["d"]));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_beside_and_what_can_is_used() {
    let ground = Ground::bare().await.with_karpenter();
    ground.node("a", &[(TYPE, "spot")]);
    ground.cluster.faults().plan(Match::of("list", "nodepools", ""), Fault::Refuse(403), 1);
    let (code, out, err) = ground.pools(&["--propose"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("name: spot\n"), "{out}");
    assert!(err.contains("penstock crds | kubectl apply --server-side -f -"), "{err}");
    assert!(err.contains("NodePools may not be listed"), "{err}");
    ground.cluster.faults().plan(Match::of("list", "nodes", ""), Fault::Refuse(403), 1);
    let (code, out, err) = ground.pools(&[]).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("cannot list nodes"), "{err}");
}
