//! The throttles of Argo Workflows: the limit of a semaphore in a `ConfigMap`, and the number of workflows that one namespace runs at
//! once. Both are read by Argo each time a workflow queues, and what runs goes on.

use serde_json::Value;

use super::{Count, is_on, step, whole};
use crate::decide::Form;

/// The label that Argo's controller reads off a namespace.
const PARALLELISM: &str = "workflows.argoproj.io/parallelism-limit";

pub(super) fn semaphore(object: &Value, key: &str) -> Result<Count, String> {
    if is_on(&object["immutable"]) {
        return Err("it is immutable".to_owned());
    }
    let Some(limit) = object["data"].get(key) else {
        return Err(format!("it has no key {key}; hint: write a first limit there"));
    };
    let limit = whole(limit).ok_or_else(|| format!("its key {key} holds no whole number"))?;
    Ok(Count::at(format!("/data/{}", step(key)), Form::Text, limit))
}

pub(super) fn namespace(object: &Value) -> Result<Count, String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let Some(limit) = object["metadata"]["labels"].get(PARALLELISM) else {
        return Err(format!(
            "it has no label {PARALLELISM}; hint: kubectl label namespace {name} {PARALLELISM}=1"
        ));
    };
    let limit =
        whole(limit).ok_or_else(|| format!("its label {PARALLELISM} is no whole number"))?;
    let count = Count::at(format!("/metadata/labels/{}", step(PARALLELISM)), Form::Text, limit);
    Ok(count.least(1, "Argo takes 0 for no limit at all"))
}
