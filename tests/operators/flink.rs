//! Flink's operator: whatever changes in a native deployment besides the options of autoscaler and operator restarts the job.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::definitions;
use super::yard::{Complaints, Operator, Yard, change, people, seen, tell};

const VERSION: &str = "flink.apache.org/v1beta1";
const CEILING: &str = "job.autoscaler.vertex.max-parallelism";

/// Runs one deployment; its autoscaler always wants as much as it may have.
pub(crate) struct Flink {
    deployments: Api<DynamicObject>,
    pods: Api<DynamicObject>,
    name: String,
    known: Option<Value>,
    complaints: Complaints,
}

impl Flink {
    pub(crate) fn of(yard: &Yard, name: &str) -> Self {
        let deployments = yard.api(VERSION, "FlinkDeployment");
        let (pods, complaints) = (yard.api("v1", "Pod"), yard.complaints());
        Self { deployments, pods, name: name.to_owned(), known: None, complaints }
    }
}

/// What a change of restarts the job: all but what the operator marks as ignored, and in standalone mode the task managers.
fn upgrade_of(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(options) = spec["flinkConfiguration"].as_object_mut() {
        let ignored = ["job.autoscaler", "kubernetes.operator", "parallelism.default"];
        options.retain(|key, _| !ignored.iter().any(|prefix| key.starts_with(prefix)));
    }
    if spec["mode"] == "standalone" && spec["flinkConfiguration"]["scheduler-mode"] == "reactive" {
        spec["taskManager"]["replicas"] = Value::Null;
    }
    spec
}

impl Operator for Flink {
    async fn round(&mut self) -> Result<()> {
        let object = seen(&self.deployments, &self.name).await?;
        let spec = upgrade_of(&object["spec"]);
        if self.known.replace(spec.clone()).is_some_and(|known| known != spec) {
            let complaint =
                format!("{}: the job restarts, since its spec is now {spec}", self.name);
            self.complaints.lock().unwrap().push(complaint);
        }
        let spec = &object["spec"];
        let wanted = if spec["mode"] == "standalone" {
            spec["taskManager"]["replicas"].as_u64().unwrap_or(1)
        } else {
            let ceiling = spec["flinkConfiguration"][CEILING].as_str().unwrap_or("200");
            ceiling.parse::<u64>()?.min(5)
        };
        let labels = json!({"app": self.name, "component": "taskmanager"});
        people(&self.pods, &self.name, &labels, wanted).await?;
        let selector = format!("app={},component=taskmanager", self.name);
        let status = json!({"taskManager": {"replicas": wanted, "labelSelector": selector}});
        if object["status"]["taskManager"] != status["taskManager"] {
            tell(&self.deployments, &self.name, status).await?;
        }
        Ok(())
    }
}

fn deployment(name: &str, mode: &str, options: &Value) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "FlinkDeployment", "metadata": {"name": name},
        "spec": {
            "flinkVersion": "v1_20", "mode": mode, "flinkConfiguration": options,
            "job": {"jarURI": "local:///app.jar", "parallelism": 2, "state": "running"},
            "taskManager": {"replicas": 2},
        },
    })
}

fn target(name: &str) -> Value {
    json!({"apiVersion": VERSION, "kind": "FlinkDeployment", "name": name})
}

pub(crate) async fn a_native_job_gets_a_ceiling_and_never_restarts(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::flink_deployment()).await?;
    let options = json!({
        "job.autoscaler.enabled": "true", CEILING: "4", "job.autoscaler.vertex.min-parallelism": "2",
        "taskmanager.numberOfTaskSlots": "1",
    });
    yard.create(&deployment("sessions", "native", &options)).await?;
    yard.employ(Flink::of(&yard, "sessions"));
    let api = yard.api(VERSION, "FlinkDeployment");
    let pointer = format!("/spec/flinkConfiguration/{CEILING}");
    let trail = yard.follow(&api, "sessions", &pointer).await?;
    let stage = json!({"target": target("sessions"), "replicas": {"min": 1, "max": 40}});
    yard.pipeline("sessions", stage).await?;
    yard.wait_in("sessions", 120);
    yard.until("a ceiling of twelve", async || {
        Ok(trail.seen().contains(&json!("12")).then_some(()))
    })
    .await?;
    yard.wait_in("sessions", 0);
    let said = yard.until_reason("sessions", "TargetLimit").await?;
    ensure!(said.ends_with("its autoscaler's vertex.min-parallelism is 2"), "{said}");
    yard.until("a ceiling of two", async || {
        Ok((trail.seen().last() == Some(&json!("2"))).then_some(()))
    })
    .await?;
    let spec = seen(&api, "sessions").await?["spec"].clone();
    ensure!(spec["job"]["parallelism"] == 2 && spec["taskManager"]["replicas"] == 2, "{spec}");
    yard.is_unharmed()
}

pub(crate) async fn a_native_job_without_autoscaler_is_left_alone(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::flink_deployment()).await?;
    yard.create(&deployment("plain", "native", &json!({"a": "b"}))).await?;
    yard.employ(Flink::of(&yard, "plain"));
    let api = yard.api(VERSION, "FlinkDeployment");
    yard.pipeline("plain", json!({"target": target("plain"), "replicas": {"max": 40}})).await?;
    yard.wait_in("plain", 120);
    let said = yard.until_reason("plain", "TargetUnusable").await?;
    ensure!(said.contains("no autoscaler") && said.contains("job.autoscaler.enabled"), "{said}");
    ensure!(seen(&api, "plain").await?["metadata"]["generation"] == 1);
    // Once there is one, it heals; options may be written nested.
    let options =
        json!({"spec": {"flinkConfiguration": {"job": {"autoscaler": {"enabled": true}}}}});
    change(&api, "plain", ("team", options)).await?;
    let pointer = format!("/spec/flinkConfiguration/{CEILING}");
    let trail = yard.follow(&api, "plain", &pointer).await?;
    yard.until("a ceiling of twelve", async || {
        Ok((trail.seen().last() == Some(&json!("12"))).then_some(()))
    })
    .await
}

pub(crate) async fn a_reactive_job_gets_task_managers(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::flink_deployment()).await?;
    yard.create(&deployment("reactive", "standalone", &json!({"scheduler-mode": "reactive"})))
        .await?;
    yard.employ(Flink::of(&yard, "reactive"));
    let api = yard.api(VERSION, "FlinkDeployment");
    let trail = yard.follow(&api, "reactive", "/spec/taskManager/replicas").await?;
    let stage = json!({"target": target("reactive"), "replicas": {"min": 2, "max": 40}});
    yard.pipeline("reactive", stage).await?;
    yard.wait_in("reactive", 70);
    yard.until_gone(&trail, &json!([2, 7])).await?;
    yard.until("seven to be Ready", async || {
        Ok((yard.stage("reactive").await?["replicas"]["ready"] == 7).then_some(()))
    })
    .await?;
    yard.is_unharmed()
}
