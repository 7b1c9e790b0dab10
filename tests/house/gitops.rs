//! `penstock gitops` over the in-memory cluster: the snippets, word for word.

use std::process::{Command, Output};

use penstock::crd;
use penstock::demo::cluster::{Cluster, Options};
use serde_json::{Value, json};

use crate::served::Kubeconfig;

/// A cluster with a kind of its own that keeps its count where nobody would guess.
struct Ground {
    cluster: Cluster,
    kubeconfig: Kubeconfig,
}

impl Ground {
    async fn new() -> Self {
        let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
        for definition in crd::all() {
            cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        let count = json!({"type": "integer"});
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"tasksMax": count}},
            "status": {"type": "object", "properties": {"tasksMax": count}},
        }});
        let scale =
            json!({"specReplicasPath": ".spec.tasksMax", "statusReplicasPath": ".status.tasksMax"});
        cluster
            .define(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "kafkaconnectors.kafka.strimzi.io"},
                "spec": {
                    "group": "kafka.strimzi.io", "scope": "Namespaced",
                    "names": {"kind": "KafkaConnector", "plural": "kafkaconnectors"},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "subresources": {"status": {}, "scale": scale},
                        "schema": {"openAPIV3Schema": schema},
                    }],
                },
            }))
            .unwrap();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        cluster.put("", "v1", "namespaces", "", namespace).unwrap();
        let kubeconfig = Kubeconfig::of(&cluster).await;
        Self { cluster, kubeconfig }
    }

    /// A pipeline of these workloads.
    fn pipeline(&self, name: &str, workloads: &[Value]) {
        let stage = |(at, workload): (usize, &Value)| {
            let mut stage = json!({"name": format!("s{at}"), "replicas": {"max": 3}});
            stage.as_object_mut().unwrap().extend(workload.as_object().unwrap().clone());
            stage
        };
        let stages: Vec<_> = workloads.iter().enumerate().map(stage).collect();
        let object = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"stages": stages},
        });
        self.cluster.put(crd::GROUP, crd::VERSION, "scaledpipelines", "shop", object).unwrap();
    }

    async fn gitops(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command
            .args(["gitops", "-n", "shop", "--kubeconfig", self.kubeconfig.file()])
            .args(arguments);
        let run = tokio::task::spawn_blocking(move || command.output());
        let Output { status, stdout, stderr } = run.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

/// A target of a kind that keeps its count where nobody would guess.
fn connector(name: &str) -> Value {
    json!({"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector", "name": name})
}

#[tokio::test]
async fn gitops_prints_what_leaves_the_replicas_alone() {
    let ground = Ground::new().await;
    ground.pipeline("orders", &[json!({"target": {"name": "enrich"}})]);
    let (code, out, err) = ground.gitops(&["orders"]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(out, @"
    # Flux: leave the count of Deployment enrich out of Git; a rule that ignores it keeps Flux its owner.
    # Argo CD: into the Application. Without RespectIgnoreDifferences a sync still writes Git's count.
    spec:
      ignoreDifferences:
      - group: apps
        kind: Deployment
        namespace: shop
        name: enrich
        jsonPointers:
        - /spec/replicas
      syncPolicy:
        syncOptions:
        - RespectIgnoreDifferences=true
    ");
}

#[tokio::test]
async fn gitops_tells_programs_the_same() {
    let ground = Ground::new().await;
    ground.pipeline("orders", &[json!({"target": {"name": "enrich"}})]);
    let (code, out, err) = ground.gitops(&["orders", "-o", "json"]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let told: Value = serde_json::from_str(&out).unwrap();
    let enrich = json!({
        "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "enrich",
        "count": "/spec/replicas", "isOwnable": true,
    });
    assert_eq!(told["workloads"], json!([enrich]));
    // What is told to people is this, with a line above each.
    let (_, text, _) = ground.gitops(&["orders"]).await;
    let said: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(said, [told["argocd"].clone()]);
    assert!(told["flux"].is_null(), "Flux only has to leave it out: {told}");
    ground.pipeline(
        "sinks",
        &[json!({"target": connector("1")}), json!({"target": {"name": "enrich"}})],
    );
    let (_, out, _) = ground.gitops(&["sinks", "-o", "json", "--tool", "flux"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(told["argocd"].is_null(), "{told}");
    let ignored = told["flux"]["spec"]["ignore"].as_array().unwrap();
    assert_eq!(ignored.len(), 1, "{told}");
    assert_eq!(ignored[0]["target"]["kind"], "KafkaConnector");
}

#[tokio::test]
async fn gitops_finds_where_a_custom_kind_keeps_its_count() {
    let ground = Ground::new().await;
    let lanes = json!([
        {"pool": "spot", "target": {"name": "sink-spot"}},
        {"pool": "on-demand", "target": {"kind": "StatefulSet", "name": "sink"}},
    ]);
    ground.pipeline("orders", &[json!({"target": connector("1")}), json!({"lanes": lanes})]);
    let (code, out, err) = ground.gitops(&["orders", "--tool", "flux"]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(out, @r#"
    # Keep the count of KafkaConnector 1 in Git: what a manifest drops falls back to its default.
    # Flux: leave the count of Deployment sink-spot, StatefulSet sink out of Git; a rule that ignores it keeps Flux its owner.
    # Flux: into the Kustomization (kustomize-controller 1.9 and later).
    spec:
      ignore:
      - paths:
        - /spec/tasksMax
        target:
          group: kafka.strimzi.io
          kind: KafkaConnector
          namespace: shop
          name: "1"
    "#);
    let (_, out, _) = ground.gitops(&["orders", "--tool", "argocd"]).await;
    assert!(out.contains("/spec/tasksMax") && !out.contains("Flux"), "{out}");
}

#[tokio::test]
async fn gitops_finds_the_lever_of_a_kind_that_has_its_own() {
    let ground = Ground::new().await;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits", "namespace": "shop"},
        "data": {"a": "3", "words": "many"},
    });
    ground.cluster.put("", "v1", "configmaps", "shop", map).unwrap();
    let key = |part: &str| json!({"target": {"apiVersion": "v1", "kind": "ConfigMap", "name": "limits", "part": part}});
    ground.pipeline("flows", &[key("a")]);
    let (code, out, err) = ground.gitops(&["flows", "--tool", "argocd"]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    insta::assert_snapshot!(out, @r#"
    # Keep the count of ConfigMap limits in Git: what a manifest drops falls back to its default.
    # Argo CD: into the Application. Without RespectIgnoreDifferences a sync still writes Git's count.
    spec:
      ignoreDifferences:
      - group: ""
        kind: ConfigMap
        namespace: shop
        name: limits
        jsonPointers:
        - /data/a
      syncPolicy:
        syncOptions:
        - RespectIgnoreDifferences=true
    "#);
    ground.pipeline("words", &[key("words")]);
    let (code, _, err) = ground.gitops(&["words"]).await;
    let said = "error: ConfigMap shop/limits: its key words holds no whole number\n";
    assert_eq!((code, err.as_str()), (Some(1), said));
}

#[tokio::test]
async fn gitops_that_can_say_nothing_says_why() {
    let ground = Ground::new().await;
    ground.pipeline("jobs", &[json!({"jobs": {"templateRef": {"name": "backfill"}}})]);
    let unknown = json!({"apiVersion": "example.com/v1", "kind": "Worker", "name": "w"});
    ground.pipeline("unknown", &[json!({"target": unknown})]);
    for (name, expected) in [
        ("nope", "error: no ScaledPipeline shop/nope; hint: kubectl get spl -A lists all\n"),
        ("jobs", "error: shop/jobs scales Jobs only, which Git states no count of\n"),
    ] {
        let (code, out, err) = ground.gitops(&[name]).await;
        assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", expected));
    }
    let (code, _, err) = ground.gitops(&["unknown"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(err, "error: the API server knows no example.com/v1 Worker\n");
}
