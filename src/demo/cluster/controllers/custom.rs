//! Custom workloads: kinds with a scale subresource that the cluster's options name get pods, as their operator would make them.
//! Called by the crew, which also hands over what lost its owner.

use super::{garbage, is_going, pods, replicas, set_status, text};
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::Place;
use crate::demo::cluster::write::State;
use serde_json::{Value, json};

/// Brings a custom workload to its replicas. Pods take `spec.template` where there is one.
pub(super) fn workload(api: &Api, state: &mut State, shelf: &str, place: &Place) {
    if let Some(shelf) = shelf.strip_prefix("orphan/") {
        garbage::orphan(api, state, shelf, place);
        return;
    }
    let Some(resource) = state.kinds.by_shelf(shelf).cloned() else { return };
    let (Some(paths), Some(object)) = (&resource.scale, state.store.object(shelf, place).cloned())
    else {
        return;
    };
    if is_going(&object) {
        return;
    }
    let wanted = object.pointer(&paths.spec).and_then(Value::as_i64).unwrap_or_default();
    let mut template = object.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
    if template.pointer("/metadata/labels").is_none() {
        template["metadata"]["labels"] = json!({"app": place.1});
    }
    if template.pointer("/spec/containers").is_none() {
        template["spec"]["containers"] = json!([{"name": "main", "image": "demo"}]);
    }
    replicas::fit(api, state, &object, wanted, &template);
    let pods = replicas::active(state, text(&object, "/metadata/uid"));
    let ready = pods.iter().filter(|pod| pods::is_ready(pod)).count();
    let mut whole = Value::clone(&object);
    if !whole["status"].is_object() {
        whole["status"] = json!({});
    }
    let mut set = |pointer: &str, value: Value| {
        let names: Vec<&str> = pointer.split('/').skip(1).collect();
        let mut at = &mut whole;
        for name in names {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name];
        }
        *at = value;
    };
    set(&paths.status, json!(pods.len()));
    set("/status/readyReplicas", json!(ready));
    set("/status/observedGeneration", object["metadata"]["generation"].clone());
    if let Some(selector) = &paths.selector {
        let labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let words: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        set(selector, json!(words.join(",")));
    }
    let mut status = whole["status"].take();
    // Fields that the kind's schema does not know are dropped on the way in: then this would never settle.
    if let Some(schema) = &resource.schema {
        let mut whole = json!({"status": status});
        schema.fill(&mut whole);
        status = whole["status"].take();
    }
    set_status(api, state, shelf, place, status);
}
