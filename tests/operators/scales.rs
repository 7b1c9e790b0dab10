//! Kinds with `/scale`, whose paths are those of Argo's Rollout and of Strimzi's KafkaConnector, which tells no selector.

use anyhow::Result;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::definitions;
use super::yard::{Operator, Yard, people, seen, tell};

/// Makes what a spec asks for, and says so in status.
pub(crate) struct Echo {
    objects: Api<DynamicObject>,
    pods: Api<DynamicObject>,
    name: String,
    /// The fields of spec and of status, and the selector that is told.
    paths: (&'static str, &'static str, Option<&'static str>),
}

impl Echo {
    pub(crate) fn of(yard: &Yard, (version, kind): (&str, &str), name: &str) -> Self {
        let paths = match kind {
            "Rollout" => ("replicas", "HPAReplicas", Some("selector")),
            _ => ("tasksMax", "tasksMax", None),
        };
        let (objects, pods) = (yard.api(version, kind), yard.api("v1", "Pod"));
        Self { objects, pods, name: name.to_owned(), paths }
    }
}

impl Operator for Echo {
    async fn round(&mut self) -> Result<()> {
        let object = seen(&self.objects, &self.name).await?;
        let (spec, status, selector) = self.paths;
        let wanted = object["spec"][spec].clone();
        let mut told = json!({status: wanted});
        if let Some(selector) = selector {
            told[selector] = json!(format!("app={}", self.name));
            let labels = json!({"app": self.name});
            people(&self.pods, &self.name, &labels, wanted.as_u64().unwrap_or(1)).await?;
        }
        if object["status"] != told {
            tell(&self.objects, &self.name, told).await?;
        }
        Ok(())
    }
}

async fn there_and_back(yard: &mut Yard, target: Value, pointer: &str) -> Result<()> {
    let text = |key: &str| target[key].as_str().unwrap_or_default();
    let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    yard.employ(Echo::of(yard, (version, kind), name));
    let api = yard.api(version, kind);
    let trail = yard.follow(&api, name, pointer).await?;
    let stage = json!({"target": target, "replicas": {"min": 2, "max": 40}});
    yard.pipeline(name, stage).await?;
    yard.wait_in(name, 90);
    yard.until_gone(&trail, &json!([2, 9])).await?;
    yard.until("nine to be Ready", async || {
        Ok((yard.stage(name).await?["replicas"]["ready"] == 9).then_some(()))
    })
    .await?;
    yard.wait_in(name, 30);
    yard.until_gone(&trail, &json!([2, 9, 3])).await
}

pub(crate) async fn a_rollout_is_moved_by_its_scale(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::rollout()).await?;
    yard.create(&json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
    }))
    .await?;
    let target = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"});
    there_and_back(&mut yard, target, "/spec/replicas").await
}

pub(crate) async fn a_connector_without_selector_is_moved_by_its_scale(
    mut yard: Yard,
) -> Result<()> {
    yard.define(&definitions::kafka_connector()).await?;
    yard.create(&json!({
        "apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector", "metadata": {"name": "sink"},
        "spec": {"class": "a.B", "tasksMax": 2},
    }))
    .await?;
    let target =
        json!({"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector", "name": "sink"});
    there_and_back(&mut yard, target, "/spec/tasksMax").await
}
