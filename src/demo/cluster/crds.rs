//! Definitions of custom kinds at work: what a stored definition adds to the catalogue, and what its end takes away. Called by `write`
//! when a definition is stored or removed; schemas are `crd::schema`'s.

use super::kinds::{Column, Resource, ScalePaths};
use super::refusal::qualified;
use super::store::Place;
use super::with_condition;
use super::write::State;
use crate::crd::schema::{Node, Schema};
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// `.spec.replicas` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.trim_start_matches('.')
        .split('.')
        .fold(String::new(), |pointer, name| format!("{pointer}/{name}"))
}

fn column(value: &Value) -> Column {
    Column {
        name: text(value, "/name"),
        kind: text(value, "/type"),
        format: text(value, "/format"),
        description: text(value, "/description"),
        priority: value.get("priority").and_then(Value::as_i64).unwrap_or_default(),
        path: text(value, "/jsonPath"),
    }
}

/// The shape of definitions, as far as it matters who owns what: conditions are told apart by type.
pub(super) fn shape(metadata: &Arc<Node>) -> Arc<Node> {
    let conditions = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": {"type": "object"}
    });
    let open = |fields: Value| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": fields});
    let status = open(
        json!({"conditions": conditions, "acceptedNames": open(json!({})), "storedVersions": {"type": "array"}}),
    );
    let names = open(json!({}));
    let whole = open(json!({"spec": open(json!({"names": names})), "status": status}));
    Schema::compile(&whole)
        .map_or_else(|_| Arc::default(), |schema| schema.root_with_metadata(metadata))
}

/// What the API server fills into a definition before anybody owns its fields.
pub(super) fn fill(object: &mut Value) {
    let kind = text(object, "/spec/names/kind");
    let names = &mut object["spec"]["names"];
    if names.get("singular").is_none() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names.get("listKind").is_none() {
        names["listKind"] = json!(format!("{kind}List"));
    }
    if object.pointer("/spec/conversion").is_none() {
        object["spec"]["conversion"] = json!({"strategy": "None"});
    }
    if object.get("status").is_none_or(|status| status.as_object().is_some_and(Map::is_empty)) {
        let versions = object.pointer("/spec/versions").and_then(Value::as_array);
        let storage: Vec<Value> = versions
            .into_iter()
            .flatten()
            .filter(|v| v["storage"] == true)
            .map(|v| v["name"].clone())
            .collect();
        object["status"] = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": storage});
    }
}

/// Serves the kinds of a stored definition.
pub(super) fn serve(state: &mut State, object: &Value) {
    let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
    let versions =
        object.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let storage = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(v, "/name"))
        .unwrap_or_default();
    state.kinds.remove(&group, &plural);
    for version in versions.iter().filter(|v| v["served"] != false) {
        if let Some(resource) = resource(state, object, version, &storage) {
            state.kinds.add(resource);
        }
    }
}

/// The status of a definition that is served: names accepted, established. None when it says so already.
pub(super) fn established(object: &Value, now: &str) -> Option<Value> {
    let names = object.pointer("/spec/names").cloned().unwrap_or_default();
    if object.pointer("/status/acceptedNames") == Some(&names) {
        return None;
    }
    let old = object.pointer("/status/conditions");
    let mut status = object["status"].clone();
    let accepted = ("NoConflicts", "no conflicts found");
    let initial = ("InitialNamesAccepted", "the initial names have been accepted");
    status["conditions"] = json!([
        with_condition(old, "NamesAccepted", true, accepted, now),
        with_condition(old, "Established", true, initial, now),
    ]);
    status["acceptedNames"] = names;
    Some(status)
}

fn resource(state: &State, object: &Value, version: &Value, storage: &str) -> Option<Resource> {
    let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
    let schema = Schema::compile(version.pointer("/schema/openAPIV3Schema")?).ok()?;
    let shape = schema.root_with_metadata(&state.metadata);
    let scale = version.pointer("/subresources/scale").map(|scale| ScalePaths {
        spec: pointer(&text(scale, "/specReplicasPath")),
        status: pointer(&text(scale, "/statusReplicasPath")),
        selector: scale.get("labelSelectorPath").and_then(Value::as_str).map(pointer),
    });
    let columns =
        version.get("additionalPrinterColumns").and_then(Value::as_array).into_iter().flatten();
    let selectable =
        version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    Some(Resource {
        version: text(version, "/name"),
        singular: text(object, "/spec/names/singular"),
        kind: text(object, "/spec/names/kind"),
        short_names: texts(object, "/spec/names/shortNames"),
        categories: texts(object, "/spec/names/categories"),
        namespaced: text(object, "/spec/scope") == "Namespaced",
        shelf: qualified(&plural, &group),
        stored_as: format!("{group}/{storage}"),
        has_status: version.pointer("/subresources/status").is_some(),
        counts_generations: true,
        scale,
        schema: Some(schema),
        shape: Arc::clone(&shape),
        custom: true,
        columns: columns.map(column).collect(),
        fill: None,
        selectable: selectable
            .map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned())
            .collect(),
        group,
        plural,
    })
}

/// Stops serving the kinds of the definition at `place` and forgets their objects.
pub(super) fn retire(state: &mut State, place: &Place) {
    let Some(object) =
        state.store.object("customresourcedefinitions.apiextensions.k8s.io", place).cloned()
    else {
        return;
    };
    let (group, plural) = (text(&object, "/spec/group"), text(&object, "/spec/names/plural"));
    let shelf = qualified(&plural, &group);
    let places: Vec<Place> =
        state.store.shelf(&shelf).map(|s| s.objects.keys().cloned().collect()).unwrap_or_default();
    for place in places {
        state.store.take(&shelf, &place);
    }
    state.kinds.remove(&group, &plural);
}
