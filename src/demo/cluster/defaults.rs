//! What the API server fills into built-in objects, as far as a reader of this API can see it matter. Called on each write of a
//! built-in kind, after pruning. Nothing is filled in that another default does not hang on or `kubectl get -o yaml` would miss.

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
}

fn job_spec(spec: &mut Map<String, Value>) {
    set(spec, "parallelism", json!(1));
    set(spec, "completions", json!(1));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "backoffLimit", json!(6));
    set(spec, "suspend", json!(false));
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
