//! The levers of Kubeflow's Spark operator. A spec that changes while an application runs, in anything but `suspend` and the time to
//! live, makes the operator throw the run away and begin anew (INVALIDATING): so what runs is never touched.

use serde_json::Value;

use super::{Count, is_on, whole};
use crate::decide::Form;

/// A `SparkApplication` waits suspended until there is work, and is let go once. Suspending one that runs deletes its pods.
pub(super) fn application(object: &Value) -> Count {
    let is_suspended = is_on(&object["spec"]["suspend"]);
    let state = object.pointer("/status/applicationState/state").and_then(Value::as_str);
    let count = Count::at("/spec/suspend", Form::Suspend, u32::from(!is_suspended));
    let count = Count { current: Some(u32::from(state == Some("RUNNING"))), ..count };
    if let Some(state @ ("COMPLETED" | "FAILED")) = state {
        return count.frozen(&format!("it is {state}, and an application runs once"));
    }
    let count = count.most(1, "it is one application: 1 lets it run");
    if is_suspended { count } else { count.least(1, "suspending it would delete its pods") }
}

/// A `ScheduledSparkApplication` makes each run from its template: what is written there is the next run's.
pub(super) fn scheduled(object: &Value) -> Result<Count, String> {
    let template = &object["spec"]["template"];
    let dynamic = &template["dynamicAllocation"];
    if !is_on(&dynamic["enabled"]) {
        let instances = whole(&template["executor"]["instances"]).unwrap_or(1);
        let pointer = "/spec/template/executor/instances";
        return Ok(Count::at(pointer, Form::Number, instances).least(1, "a run needs an executor"));
    }
    let most = whole(&dynamic["maxExecutors"]).ok_or(
        "its template allows any number of executors; hint: write a first spec.template.dynamicAllocation.maxExecutors",
    )?;
    let named = |key: &str| whole(&dynamic[key]).unwrap_or(0);
    let least = named("minExecutors").max(named("initialExecutors")).max(1);
    let pointer = "/spec/template/dynamicAllocation/maxExecutors";
    let why = format!("its template begins a run with {least}");
    Ok(Count::at(pointer, Form::Number, most).least(least, why))
}
