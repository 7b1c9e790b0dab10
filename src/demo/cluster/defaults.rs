//! What the API server fills into built-in objects, as far as a reader of this API can see it matter. Called on each write of a
//! built-in kind, after pruning. Nothing is filled in that another default does not hang on or `kubectl get -o yaml` would miss.

use crate::crd::schema::{Kind, Node};
use serde_json::{Map, Value, json};

fn set(map: &mut Map<String, Value>, key: &str, value: Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value);
    }
}

fn within<'v>(object: &'v mut Value, key: &str) -> Option<&'v mut Map<String, Value>> {
    object.get_mut(key)?.as_object_mut()
}

fn child<'v>(map: &'v mut Map<String, Value>, key: &str) -> Option<&'v mut Map<String, Value>> {
    map.entry(key.to_owned()).or_insert_with(|| json!({})).as_object_mut()
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = within(volume, source) {
                set(source, "defaultMode", json!(420));
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let tag = image
                .rsplit('/')
                .next()
                .and_then(|last| last.split_once(':'))
                .map_or("latest", |(_, tag)| tag);
            let policy =
                if tag == "latest" && !image.contains('@') { "Always" } else { "IfNotPresent" };
            set(container, "resources", json!({}));
            set(container, "terminationMessagePath", json!("/dev/termination-log"));
            set(container, "terminationMessagePolicy", json!("File"));
            set(container, "imagePullPolicy", json!(policy));
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(spec) = spec.get_mut("template").and_then(|template| within(template, "spec")) {
        pod_spec(spec);
    }
}

pub(super) fn namespace(object: &mut Value) {
    let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
    if let Some(meta) = within(object, "metadata")
        && let Some(labels) = child(meta, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    let Some(object) = object.as_object_mut() else { return };
    if let Some(spec) = child(object, "spec") {
        set(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = child(object, "status") {
        set(status, "phase", json!("Active"));
    }
}

pub(super) fn pod(object: &mut Value) {
    if let Some(spec) = within(object, "spec") {
        pod_spec(spec);
        set(spec, "enableServiceLinks", json!(true));
        set(spec, "priority", json!(0));
        set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    }
    if let Some(object) = object.as_object_mut()
        && let Some(status) = child(object, "status")
    {
        set(status, "phase", json!("Pending"));
        set(status, "qosClass", json!("BestEffort"));
    }
}

pub(super) fn deployment(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    if let Some(strategy) = child(spec, "strategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", json!("25%"));
            set(rolling, "maxSurge", json!("25%"));
        }
    }
    template(spec);
}

pub(super) fn replica_set(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "replicas", json!(1));
    template(spec);
}

pub(super) fn stateful_set(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    if let Some(strategy) = child(spec, "updateStrategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            set(rolling, "partition", json!(0));
        }
    }
    template(spec);
    if let Some(object) = object.as_object_mut()
        && let Some(status) = child(object, "status")
    {
        set(status, "replicas", json!(0));
        set(status, "availableReplicas", json!(0));
    }
}

fn job_spec(spec: &mut Map<String, Value>) {
    set(spec, "parallelism", json!(1));
    set(spec, "completions", json!(1));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "backoffLimit", json!(6));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    set(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

pub(super) fn job(object: &mut Value) {
    if let Some(spec) = within(object, "spec") {
        job_spec(spec);
    }
}

pub(super) fn cron_job(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(spec) = spec.get_mut("jobTemplate").and_then(|template| within(template, "spec"))
        && let Some(spec) = spec.get_mut("template").and_then(|template| within(template, "spec"))
    {
        pod_spec(spec);
    }
}

pub(super) fn secret(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    set(object, "type", json!("Opaque"));
    if let Some(Value::Object(plain)) = object.shift_remove("stringData")
        && let Some(data) = child(object, "data")
    {
        for (key, value) in plain {
            data.insert(key, json!(base64(value.as_str().unwrap_or_default().as_bytes())));
        }
    }
}

/// Fields of a core event that are there even when nobody set them.
pub(super) fn event(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for key in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        object.entry(key).or_insert(Value::Null);
    }
    for key in ["reportingComponent", "reportingInstance"] {
        set(object, key, json!(""));
    }
    set(object, "source", json!({}));
}

/// The same for `events.k8s.io/v1`.
pub(super) fn new_event(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    for key in ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"] {
        object.entry(key).or_insert(Value::Null);
    }
    set(object, "deprecatedSource", json!({}));
}

/// Labels and selector by which a new job knows its pods.
pub(super) fn job_labels(object: &mut Value) {
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    object["spec"]["selector"] =
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    for pointer in ["/metadata", "/spec/template/metadata"] {
        if pointer != "/metadata" && object.pointer(pointer).is_none() {
            object["spec"]["template"]["metadata"] = json!({});
        }
        let labels = object
            .pointer_mut(pointer)
            .and_then(Value::as_object_mut)
            .and_then(|meta| child(meta, "labels"));
        if let Some(labels) = labels {
            for (key, value) in [
                ("batch.kubernetes.io/controller-uid", &uid),
                ("batch.kubernetes.io/job-name", &name),
                ("controller-uid", &uid),
                ("job-name", &name),
            ] {
                labels.insert(key.to_owned(), value.clone());
            }
        }
    }
}

/// Leaves out maps and lists that are empty, as Go's encoder does; structs stay. Numbers where quantities belong become texts.
pub(super) fn omit_empty(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                let Some(child) = node.field(name) else { return true };
                let is_map = child.kind == Kind::Object && child.extra.is_some();
                match value {
                    Value::Object(inner) => !(inner.is_empty() && is_map),
                    Value::Array(list) => !list.is_empty() || name == "managedFields",
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
                }
            });
            for (name, value) in map.iter_mut() {
                if let Some(child) = node.field(name) {
                    if matches!(name.as_str(), "requests" | "limits") {
                        quantities(value);
                    }
                    omit_empty(child, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(child) = &node.items {
                for value in list {
                    omit_empty(child, value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn quantities(map: &mut Value) {
    for quantity in map.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        if quantity.is_number() {
            *quantity = json!(quantity.to_string());
        }
    }
}

/// Standard base64 with padding, for `stringData`.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let six = (word >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { char::from(LETTERS[six as usize]) } else { '=' });
        }
    }
    out
}

pub(super) fn service(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "type", json!("ClusterIP"));
    set(spec, "sessionAffinity", json!("None"));
    set(spec, "internalTrafficPolicy", json!("Cluster"));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let number = port.get("port").cloned().unwrap_or_default();
        if let Some(port) = port.as_object_mut() {
            set(port, "targetPort", number);
        }
    }
}

pub(super) fn autoscaler(object: &mut Value) {
    let Some(spec) = within(object, "spec") else { return };
    set(spec, "minReplicas", json!(1));
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    set(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
    );
    if let Some(object) = object.as_object_mut()
        && let Some(status) = child(object, "status")
    {
        set(status, "desiredReplicas", json!(0));
        status.entry("currentMetrics").or_insert(Value::Null);
    }
}

pub(super) fn disruption_budget(object: &mut Value) {
    if let Some(object) = object.as_object_mut()
        && let Some(status) = child(object, "status")
    {
        for count in ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"] {
            set(status, count, json!(0));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_as_the_standard_says() {
        let coded: Vec<String> =
            ["", "f", "fo", "foo", "foob"].iter().map(|s| super::base64(s.as_bytes())).collect();
        assert_eq!(coded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
