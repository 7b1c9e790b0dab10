//! Scenarios of targets: each kind with `/scale` goes there and back, whether the API server's own controllers make its pods or an
//! operator does, and whether or not its `/scale` tells which pods are its own.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::rig::{Cluster, shared};
use crate::scaling::there_and_back;
use crate::scene::Scene;

#[tokio::test]
async fn a_deployment_and_a_stateful_set_go_there_and_back() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("apps").await?;
    scene.workload("Deployment", "stateless", 0).await?;
    scene.workload("StatefulSet", "stateful", 0).await?;
    tokio::try_join!(
        there_and_back(&scene, broker, json!({"name": "stateless"})),
        there_and_back(&scene, broker, json!({"kind": "StatefulSet", "name": "stateful"})),
    )?;
    Ok(())
}

#[tokio::test]
async fn custom_resources_with_and_without_a_label_selector_go_there_and_back() -> Result<()> {
    let (cluster, broker) = (shared::cluster().await?, shared::broker().await?);
    let kinds = Kinds::install(cluster).await?;
    let scene = Scene::open("custom").await?;
    let (told, untold) = (kinds.make(&scene, GEAR).await?, kinds.make(&scene, WHEEL).await?);
    tokio::try_join!(
        there_and_back(&scene, broker, told.target()),
        there_and_back(&scene, broker, untold.target()),
    )?;
    Ok(())
}

/// Tells its pods by a selector.
pub(crate) const GEAR: &str = "Gear";
/// Does not.
pub(crate) const WHEEL: &str = "Wheel";

/// The kinds of a made-up operator, in a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds(());

impl Kinds {
    /// Puts their CRDs in. Once for each cluster is enough, more does no harm.
    pub(crate) async fn install(cluster: &Cluster) -> Result<Self> {
        let gear = ("gears", GEAR, json!({"labelSelectorPath": ".status.selector"}));
        for (plural, kind, scale) in [gear, ("wheels", WHEEL, json!({}))] {
            let crd = crd(plural, kind, &scale).to_string();
            cluster.apply("default", &crd).await?;
            cluster.served(&[&format!("crd/{plural}.example.com")]).await?;
        }
        Ok(Self(()))
    }

    /// Makes an object of a kind without replicas, and an operator that sees to it.
    pub(crate) async fn make(self, scene: &Scene, kind: &str) -> Result<Operator> {
        let name = kind.to_lowercase();
        let object = json!({
            "apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": name}, "spec": {"replicas": 0},
        });
        scene.create(object).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", kind));
        let objects = Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource);
        let pods = Api::namespaced(scene.client.clone(), &scene.namespace);
        let mut task = JoinSet::new();
        let work = Shift { objects, pods, name: name.clone(), tells: kind == GEAR };
        task.spawn(async move {
            loop {
                // An API server that is away comes back; the next round mends what this one left.
                drop(work.round().await);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Ok(Operator { kind: kind.to_owned(), name, _task: task })
    }
}

/// An operator at work on one object; ends when dropped.
#[derive(Debug)]
pub(crate) struct Operator {
    kind: String,
    name: String,
    _task: JoinSet<()>,
}

impl Operator {
    /// The object as a pipeline names it.
    pub(crate) fn target(&self) -> Value {
        json!({"apiVersion": "example.com/v1", "kind": self.kind, "name": self.name})
    }
}

/// What an operator works on.
struct Shift {
    objects: Api<DynamicObject>,
    pods: Api<Pod>,
    name: String,
    tells: bool,
}

impl Shift {
    /// Makes and deletes pods until they are as many as asked for, and says how many there are.
    async fn round(&self) -> Result<()> {
        let label = format!("app={}", self.name);
        let object = self.objects.get(&self.name).await?;
        let wanted = object.data["spec"]["replicas"].as_u64().context("no replicas")?;
        let there = self.pods.list(&ListParams::default().labels(&label)).await?;
        let there: BTreeSet<_> = there.items.iter().map(ResourceExt::name_any).collect();
        let names: BTreeSet<_> =
            (0..wanted).map(|number| format!("{}-{number}", self.name)).collect();
        for name in names.difference(&there) {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"app": self.name}},
                "spec": {"containers": [{"name": "worker", "image": "none"}]},
            }))?;
            self.pods.create(&PostParams::default(), &pod).await?;
        }
        for name in there.difference(&names) {
            self.pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
        }
        let mut status = json!({"replicas": there.len()});
        if self.tells {
            status["selector"] = json!(label);
        }
        if object.data.get("status") != Some(&status) {
            let status = Patch::Merge(json!({"status": status}));
            self.objects.patch_status(&self.name, &PatchParams::default(), &status).await?;
        }
        Ok(())
    }
}

fn crd(plural: &str, kind: &str, more: &Value) -> Value {
    let mut scale =
        json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    if let (Value::Object(scale), Value::Object(more)) = (&mut scale, more) {
        scale.extend(more.clone());
    }
    let whole = json!({"type": "integer", "minimum": 0});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": scale},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"replicas": whole}},
                    "status": {"type": "object", "properties": {"replicas": whole, "selector": {"type": "string"}}},
                }}},
            }],
        },
    })
}
