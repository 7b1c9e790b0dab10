//! What is checked on every object's metadata and on the few built-in kinds where a wrong spec would otherwise go unnoticed:
//! deployments, replica sets, stateful sets and definitions of custom kinds. Other built-in specs are not validated. Called by `write`.

use super::kinds::Resource;
use crate::crd::schema::{Fault, Reason, Schema};
use serde_json::{Map, Value, json};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(ends)
            && label.ends_with(ends)
            && label.chars().all(|c| ends(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Names, and what may not change about an object's identity.
pub(super) fn metadata(new: &Value, live: Option<&Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        faults.push(Fault::required("metadata.name", "name or generateName is required"));
    } else if live.is_none() && !is_subdomain(name) {
        faults.push(Fault::invalid("metadata.name", Some(&json!(name)), SUBDOMAIN));
    }
    for map in ["labels", "annotations"] {
        for (key, value) in new
            .pointer(&format!("/metadata/{map}"))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if !value.is_string() {
                let path = format!("metadata.{map}.{key}");
                faults.push(Fault::new(
                    &path,
                    Reason::TypeInvalid,
                    Some(value),
                    &format!("{path} must be a string"),
                ));
            }
        }
    }
    if let Some(live) = live {
        faults.extend(identity(new, live));
    }
    faults
}

/// What an update may not change.
fn identity(new: &Value, live: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let meta = |object: &Value, key: &str| object["metadata"].get(key).cloned().unwrap_or_default();
    if meta(new, "uid") != meta(live, "uid") {
        // The real server looks twice: once for all kinds, once for each.
        let fault = Fault::invalid("metadata.uid", Some(&meta(new, "uid")), "field is immutable");
        faults.extend([fault.clone(), fault]);
    }
    if !meta(live, "deletionTimestamp").is_null() {
        let before = meta(live, "finalizers");
        let before = before.as_array().map_or(&[][..], Vec::as_slice);
        let after = meta(new, "finalizers");
        let mut added: Vec<String> = after
            .as_array()
            .into_iter()
            .flatten()
            .filter(|f| !before.contains(f))
            .map(Value::to_string)
            .collect();
        added.sort();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            let fault = Fault::new("metadata.finalizers", Reason::Forbidden, None, &detail);
            faults.extend([fault.clone(), fault]);
        }
    }
    faults
}

/// What is wrong with a count that `/scale` shows, at this JSON pointer.
pub(super) fn count(object: &Value, pointer: &str) -> Option<Fault> {
    let value = object.pointer(pointer)?;
    let path = pointer.replace('/', ".");
    let Some(n) = value.as_i64() else {
        let is = match value {
            Value::Number(_) => "float64",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
            Value::Null => return None,
        };
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let shown = shown.strip_suffix(".0").unwrap_or(&shown);
        let detail = format!("{path} accessor error: {shown} is of the type {is}, expected int64");
        return Some(Fault::invalid(&path, Some(&json!(0)), &detail));
    };
    if n < 0 {
        return Some(Fault::invalid(&path, Some(value), "should be a non-negative integer"));
    }
    let most = i64::from(i32::MAX);
    (n > most).then(|| {
        Fault::invalid(&path, Some(value), &format!("should be less than or equal to {most}"))
    })
}

/// Checks of built-in kinds.
pub(super) fn built_in(resource: &Resource, new: &Value, live: Option<&Value>) -> Vec<Fault> {
    match resource.kind.as_str() {
        "Deployment" | "ReplicaSet" | "StatefulSet" => workload(resource, new, live),
        "CustomResourceDefinition" => definition(new),
        "Lease" => lease(new),
        _ => Vec::new(),
    }
}

fn workload(resource: &Resource, new: &Value, live: Option<&Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let replicas = new.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if replicas < 0 {
        faults.push(Fault::invalid(
            "spec.replicas",
            Some(&json!(replicas)),
            "must be greater than or equal to 0",
        ));
    }
    let selector = new.pointer("/spec/selector");
    let labels = new.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    match selector {
        None => faults.push(Fault::required("spec.selector", "")),
        Some(selector) if selector.as_object().is_none_or(Map::is_empty) => {
            faults.push(Fault::invalid(
                "spec.selector",
                Some(selector),
                &format!("empty selector is invalid for {}", resource.singular),
            ));
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let matches = wanted.is_none_or(|wanted| {
                wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
            });
            if !matches {
                let shown = labels.map_or(json!({}), |labels| Value::Object(labels.clone()));
                faults.push(Fault::invalid(
                    "spec.template.metadata.labels",
                    Some(&shown),
                    "`selector` does not match template `labels`",
                ));
            }
            if resource.kind != "StatefulSet"
                && let Some(old) = live.and_then(|live| live.pointer("/spec/selector"))
                && old != selector
            {
                faults.push(Fault::invalid("spec.selector", Some(selector), "field is immutable"));
            }
        }
    }
    let containers = new.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    match containers {
        Some(list) if !list.is_empty() => {
            for (i, container) in list.iter().enumerate() {
                let path = format!("spec.template.spec.containers[{i}]");
                for key in ["name", "image"] {
                    if container.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                        faults.push(Fault::required(&format!("{path}.{key}"), ""));
                    }
                }
            }
        }
        _ => faults.push(Fault::required("spec.template.spec.containers", "")),
    }
    if resource.kind == "StatefulSet" {
        faults.extend(live.and_then(|live| stateful_update(new, live)));
    }
    faults
}

fn lease(new: &Value) -> Vec<Fault> {
    let duration =
        new.pointer("/spec/leaseDurationSeconds").filter(|d| d.as_i64().is_some_and(|d| d <= 0));
    let path = "spec.leaseDurationSeconds";
    duration.map(|d| Fault::invalid(path, Some(d), "must be greater than 0")).into_iter().collect()
}

/// The fields of a stateful set's spec that an update may change.
const STATEFUL_OPEN: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn stateful_update(new: &Value, live: &Value) -> Option<Fault> {
    let closed = |object: &Value| {
        let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
        spec.retain(|key, _| !STATEFUL_OPEN.contains(&key.as_str()));
        spec
    };
    let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    (closed(new) != closed(live)).then(|| Fault::new("spec", Reason::Forbidden, None, detail))
}

fn definition(new: &Value) -> Vec<Fault> {
    let text = |pointer: &str| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut faults = Vec::new();
    let (name, plural, group) =
        (text("/metadata/name"), text("/spec/names/plural"), text("/spec/group"));
    for (path, value) in [
        ("spec.group", group),
        ("spec.names.plural", plural),
        ("spec.names.kind", text("/spec/names/kind")),
    ] {
        if value.is_empty() {
            faults.push(Fault::required(path, ""));
        }
    }
    if name != format!("{plural}.{group}") {
        faults.push(Fault::invalid(
            "metadata.name",
            Some(&json!(name)),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    for (i, version) in
        new.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let path = format!("spec.versions[{i}].schema.openAPIV3Schema");
        match version.pointer("/schema/openAPIV3Schema") {
            None => faults.push(Fault::required(&path, "schemas are required")),
            Some(schema) => {
                if let Err(why) = Schema::compile(schema) {
                    faults.push(Fault::invalid(&path, None, &why));
                }
            }
        }
    }
    faults
}

/// What an object of this kind is before anything is written to it: Go structs are there even when empty, so nobody owns them.
pub(super) fn skeleton(resource: &Resource) -> Value {
    if resource.custom {
        return json!({"metadata": {}});
    }
    match resource.kind.as_str() {
        "Deployment" => {
            json!({"metadata": {}, "spec": {"selector": null, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
        }
        "StatefulSet" => {
            json!({"metadata": {}, "spec": {"selector": null, "serviceName": "", "updateStrategy": {}, "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
        }
        "ReplicaSet" => {
            json!({"metadata": {}, "spec": {"selector": null, "template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
        }
        "Job" => {
            json!({"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {"containers": null}}}, "status": {}})
        }
        "CustomResourceDefinition" => {
            json!({"metadata": {}, "spec": {"names": {}, "versions": null}, "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}})
        }
        "Pod" => {
            json!({"metadata": {}, "spec": {"containers": null, "priority": 0, "preemptionPolicy": "PreemptLowerPriority"}, "status": {}})
        }
        "Event" if resource.group.is_empty() => {
            json!({"metadata": {}, "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null, "reportingComponent": "", "reportingInstance": ""})
        }
        "Event" => {
            json!({"metadata": {}, "eventTime": null, "deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null})
        }
        "HorizontalPodAutoscaler" => {
            json!({"metadata": {}, "spec": {"scaleTargetRef": {}}, "status": {}})
        }
        _ => json!({"metadata": {}, "spec": {}, "status": {}}),
    }
}

/// How long a pod may take to stop, in seconds: nothing for one that never got a node.
pub(super) fn grace(pod: &Value) -> u64 {
    if pod.pointer("/spec/nodeName").is_none() {
        return 0;
    }
    pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30)
}
