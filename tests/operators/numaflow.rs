//! Numaflow: a vertex and its own autoscaler, which writes the same number while it is on.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::definitions;
use super::yard::{Complaints, Operator, Yard, change, people, seen, tell};

const VERSION: &str = "numaflow.numaproj.io/v1alpha1";

/// Runs one vertex, of a pipeline or on its own.
pub(crate) struct Numaflow {
    vertices: Api<DynamicObject>,
    pods: Api<DynamicObject>,
    name: String,
    /// What its pods are labelled as: component, and the key of the vertex's name.
    labels: (&'static str, &'static str),
    known: Option<Value>,
    complaints: Complaints,
}

impl Numaflow {
    pub(crate) fn of(yard: &Yard, kind: &str, name: &str) -> Self {
        let (vertices, pods) = (yard.api(VERSION, kind), yard.api("v1", "Pod"));
        let (name, complaints) = (name.to_owned(), yard.complaints());
        let labels = match kind {
            "MonoVertex" => ("mono-vertex", "numaflow.numaproj.io/mono-vertex-name"),
            _ => ("vertex", "numaflow.numaproj.io/vertex-name"),
        };
        Self { vertices, pods, name, labels, known: None, complaints }
    }
}

impl Operator for Numaflow {
    async fn round(&mut self) -> Result<()> {
        let object = seen(&self.vertices, &self.name).await?;
        let wanted = object["spec"]["replicas"].clone();
        let is_moved = self.known.replace(wanted.clone()).is_some_and(|known| known != wanted);
        if is_moved && object["spec"]["scale"]["disabled"] != true {
            let complaint = format!("{}: somebody fights with its autoscaler", self.name);
            self.complaints.lock().unwrap().push(complaint);
        }
        let (component, key) = self.labels;
        let labels = json!({"app.kubernetes.io/component": component, key: self.name});
        people(&self.pods, &self.name, &labels, wanted.as_u64().unwrap_or(1)).await?;
        let selector = format!("app.kubernetes.io/component={component},{key}={}", self.name);
        let status = json!({"replicas": wanted, "selector": selector});
        if object["status"] != status {
            tell(&self.vertices, &self.name, status).await?;
        }
        Ok(())
    }
}

pub(crate) async fn a_vertex_is_moved_once_its_own_autoscaler_is_off(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::vertex("Vertex")).await?;
    yard.create(&json!({
        "apiVersion": VERSION, "kind": "Vertex", "metadata": {"name": "flow-enrich"},
        "spec": {"name": "enrich", "pipelineName": "flow", "replicas": 1, "scale": {"min": 1, "max": 5}},
    }))
    .await?;
    yard.employ(Numaflow::of(&yard, "Vertex", "flow-enrich"));
    let api = yard.api(VERSION, "Vertex");
    let trail = yard.follow(&api, "flow-enrich", "/spec/replicas").await?;
    let target = json!({"apiVersion": VERSION, "kind": "Vertex", "name": "flow-enrich"});
    yard.pipeline("flow", json!({"target": target, "replicas": {"max": 20}})).await?;
    yard.wait_in("flow", 60);
    let said = yard.until_reason("flow", "TargetUnusable").await?;
    ensure!(said.contains("scale.disabled: true"), "{said}");
    ensure!(trail.seen() == [json!(1)], "{:?}", trail.seen());
    change(&api, "flow-enrich", ("numaflow", json!({"spec": {"scale": {"disabled": true}}})))
        .await?;
    yard.until_gone(&trail, &json!([1, 6])).await?;
    yard.until("six to be Ready", async || {
        Ok((yard.stage("flow").await?["replicas"]["ready"] == 6).then_some(()))
    })
    .await?;
    yard.is_unharmed()
}
