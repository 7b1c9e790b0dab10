//! Kubeflow's Spark operator: what it does when a spec moves, as its event filter and its state machine have it.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::definitions;
use super::yard::{Complaints, Operator, Yard, seen, tell};

const VERSION: &str = "sparkoperator.k8s.io/v1beta2";

/// Runs one application.
pub(crate) struct Spark {
    applications: Api<DynamicObject>,
    name: String,
    /// The spec of the last look, without what may change at any time.
    known: Option<Value>,
    complaints: Complaints,
}

impl Spark {
    pub(crate) fn of(yard: &Yard, name: &str) -> Self {
        let applications = yard.api(VERSION, "SparkApplication");
        Self { applications, name: name.to_owned(), known: None, complaints: yard.complaints() }
    }

    fn complain(&self, what: &str) {
        self.complaints.lock().unwrap().push(format!("{}: {what}", self.name));
    }
}

impl Operator for Spark {
    async fn round(&mut self) -> Result<()> {
        let object = seen(&self.applications, &self.name).await?;
        let state = object.pointer("/status/applicationState/state").and_then(Value::as_str);
        let state = state.unwrap_or_default();
        let is_suspended = object["spec"]["suspend"] == true;
        let mut spec = object["spec"].clone();
        for free in ["suspend", "timeToLiveSeconds"] {
            spec.as_object_mut().into_iter().for_each(|spec| drop(spec.remove(free)));
        }
        let next = if self.known.replace(spec.clone()).is_some_and(|known| known != spec) {
            self.complain(&format!("its spec changed while {state}: the run is thrown away"));
            "INVALIDATING"
        } else {
            match (state, is_suspended) {
                ("COMPLETED" | "FAILED", _) | ("SUSPENDED", true) => return Ok(()),
                ("SUBMITTED" | "RUNNING", true) => {
                    self.complain(&format!("suspended while {state}: its pods are deleted"));
                    "SUSPENDING"
                }
                (_, true) => "SUSPENDED",
                ("SUBMITTED" | "RUNNING", false) => "RUNNING",
                (_, false) => "SUBMITTED",
            }
        };
        if next != state {
            tell(&self.applications, &self.name, json!({"applicationState": {"state": next}}))
                .await?;
        }
        Ok(())
    }
}

fn application(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "SparkApplication", "metadata": {"name": name}, "spec": spec})
}

fn template(executor: &Value, dynamic: &Value) -> Value {
    json!({
        "type": "Python", "mode": "cluster", "sparkVersion": "3.5.3", "mainApplicationFile": "local:///app/job.py",
        "driver": {"cores": 1}, "executor": executor, "dynamicAllocation": dynamic,
    })
}

pub(crate) async fn an_application_is_let_go_once_and_never_suspended_again(
    mut yard: Yard,
) -> Result<()> {
    yard.define(&definitions::spark_application()).await?;
    let mut spec = template(&json!({"instances": 4}), &json!({"enabled": false}));
    spec["suspend"] = json!(true);
    yard.create(&application("nightly", &spec)).await?;
    yard.employ(Spark::of(&yard, "nightly"));
    let api = yard.api(VERSION, "SparkApplication");
    let trail = yard.follow(&api, "nightly", "/spec/suspend").await?;
    let target = json!({"apiVersion": VERSION, "kind": "SparkApplication", "name": "nightly"});
    let idle = json!({"replicas": 0, "after": "1s"});
    let stage = json!({"target": target, "replicas": {"min": 0, "max": 3}, "idle": idle});
    yard.pipeline("nightly", stage).await?;
    yard.until_reason("nightly", "Idle").await?;
    // Three would be wished, and it is one application.
    yard.wait_in("nightly", 30);
    yard.until_gone(&trail, &json!([true, false])).await?;
    let said = yard.until_reason("nightly", "TargetLimit").await?;
    ensure!(said == "kept at 1: 3 would do, but it is one application: 1 lets it run", "{said}");
    yard.until("it to run", async || {
        Ok((yard.stage("nightly").await?["replicas"]["ready"] == 1).then_some(()))
    })
    .await?;
    yard.wait_in("nightly", 0);
    yard.until("what keeps it", async || {
        let said = yard.until_reason("nightly", "TargetLimit").await?;
        Ok((said == "kept at 1: 0 would do, but suspending it would delete its pods").then_some(()))
    })
    .await?;
    tell(&api, "nightly", json!({"applicationState": {"state": "COMPLETED"}})).await?;
    yard.until("it to be over", async || {
        let said = yard.until_reason("nightly", "TargetLimit").await?;
        Ok(said.ends_with("it is COMPLETED, and an application runs once").then_some(()))
    })
    .await?;
    let object = seen(&api, "nightly").await?;
    ensure!(object["metadata"]["generation"] == 2, "one write: {object}");
    ensure!(object["spec"]["executor"]["instances"] == 4, "{object}");
    yard.until_gone(&trail, &json!([true, false])).await?;
    yard.is_unharmed()
}

pub(crate) async fn a_run_is_left_alone_and_the_next_has_more_executors(
    mut yard: Yard,
) -> Result<()> {
    yard.define(&definitions::spark_application()).await?;
    yard.define(&definitions::scheduled_spark_application()).await?;
    let template = template(&json!({"instances": 2, "cores": 1}), &json!({"enabled": false}));
    let hourly = json!({
        "apiVersion": VERSION, "kind": "ScheduledSparkApplication", "metadata": {"name": "hourly"},
        "spec": {"schedule": "@every 1h", "concurrencyPolicy": "Allow", "template": template},
    });
    yard.create(&hourly).await?;
    let scheduled = yard.api(VERSION, "ScheduledSparkApplication");
    let applications = yard.api(VERSION, "SparkApplication");
    start_run(&yard, "hourly", "hourly-1").await?;
    yard.employ(Spark::of(&yard, "hourly-1"));
    let pointer = "/spec/template/executor/instances";
    let trail = yard.follow(&scheduled, "hourly", pointer).await?;
    let target =
        json!({"apiVersion": VERSION, "kind": "ScheduledSparkApplication", "name": "hourly"});
    yard.pipeline("hourly", json!({"target": target, "replicas": {"min": 2, "max": 20}})).await?;
    yard.wait_in("hourly", 80);
    yard.until_gone(&trail, &json!([2, 8])).await?;
    start_run(&yard, "hourly", "hourly-2").await?;
    yard.employ(Spark::of(&yard, "hourly-2"));
    for (run, executors) in [("hourly-1", 2), ("hourly-2", 8)] {
        yard.until(&format!("{run} to run"), async || {
            let run = seen(&applications, run).await?;
            ensure!(run["spec"]["executor"]["instances"] == executors, "{run}");
            ensure!(run["spec"]["executor"]["cores"] == 1, "{run}");
            Ok((run["status"]["applicationState"]["state"] == "RUNNING").then_some(()))
        })
        .await?;
    }
    yard.is_unharmed()
}

/// What the operator does when a run is due: it copies the template.
async fn start_run(yard: &Yard, scheduled: &str, run: &str) -> Result<()> {
    let from = yard.api(VERSION, "ScheduledSparkApplication");
    let template = seen(&from, scheduled).await?["spec"]["template"].clone();
    yard.create(&application(run, &template)).await?;
    tell(&from, scheduled, json!({"lastRunName": run})).await
}

pub(crate) async fn dynamic_allocation_gets_a_ceiling_above_its_floor(
    mut yard: Yard,
) -> Result<()> {
    yard.define(&definitions::scheduled_spark_application()).await?;
    let dynamic =
        json!({"enabled": true, "initialExecutors": 3, "minExecutors": 2, "maxExecutors": 4});
    let template = template(&json!({"instances": 1}), &dynamic);
    let elastic = json!({
        "apiVersion": VERSION, "kind": "ScheduledSparkApplication", "metadata": {"name": "elastic"},
        "spec": {"schedule": "@every 1h", "template": template},
    });
    yard.create(&elastic).await?;
    let api = yard.api(VERSION, "ScheduledSparkApplication");
    let pointer = "/spec/template/dynamicAllocation/maxExecutors";
    let trail = yard.follow(&api, "elastic", pointer).await?;
    let target =
        json!({"apiVersion": VERSION, "kind": "ScheduledSparkApplication", "name": "elastic"});
    yard.pipeline("elastic", json!({"target": target, "replicas": {"min": 1, "max": 20}})).await?;
    yard.wait_in("elastic", 120);
    yard.until("twelve", async || Ok(trail.seen().contains(&json!(12)).then_some(()))).await?;
    yard.wait_in("elastic", 0);
    let said = yard.until_reason("elastic", "TargetLimit").await?;
    ensure!(said.ends_with("its template begins a run with 3"), "{said}");
    yard.until("three", async || Ok((trail.seen().last() == Some(&json!(3))).then_some(())))
        .await?;
    let spec = seen(&api, "elastic").await?["spec"]["template"].clone();
    ensure!(spec["executor"]["instances"] == 1 && spec["dynamicAllocation"]["minExecutors"] == 2);
    yard.is_unharmed()
}
