//! Events that controllers write about their objects, as `kubectl describe` shows them.

use super::{create, text};
use crate::demo::cluster::http::Api;
use crate::demo::cluster::write::State;
use serde_json::{Value, json};

/// Tells about `object` in its namespace.
pub(super) fn tell(api: &Api, state: &mut State, object: &Value, reason: &str, message: &str) {
    let namespace = text(object, "/metadata/namespace").to_owned();
    let now = api.now();
    let number = state.store.revision;
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{number:016x}", text(object, "/metadata/name"))},
        "involvedObject": {
            "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"], "namespace": namespace,
            "uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"]
        },
        "reason": reason, "message": message, "type": "Normal", "count": 1, "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "deployment-controller"}, "reportingComponent": "deployment-controller", "reportingInstance": ""
    });
    create(api, state, "events", &namespace, event);
}
