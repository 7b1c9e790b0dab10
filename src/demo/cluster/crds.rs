//! CustomResourceDefinitions at work: what a stored definition adds to the catalogue, and what its end takes away. Called by `write`
//! when a definition is stored or removed; schemas are `crd::schema`'s.

use super::kinds::{Column, Resource, ScalePaths};
use super::refusal::qualified;
use super::store::Place;
use super::write::State;
use crate::crd::schema::Schema;
use serde_json::{Value, json};
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

/// Serves the kinds of a definition and returns it with its status: names accepted, established at once.
pub(super) fn adopt(state: &mut State, mut object: Value, now: &str) -> Value {
    let kind = text(&object, "/spec/names/kind");
    let (group, plural) = (text(&object, "/spec/group"), text(&object, "/spec/names/plural"));
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
    let versions =
        object.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let storage = versions
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(v, "/name"))
        .unwrap_or_default();
    state.kinds.remove(&group, &plural);
    for version in versions.iter().filter(|v| v["served"] != false) {
        if let Some(resource) = resource(state, &object, version, &storage) {
            state.kinds.add(resource);
        }
    }
    let condition = |kind: &str, reason: &str, message: &str| json!({"lastTransitionTime": now, "message": message, "observedGeneration": object.pointer("/metadata/generation"), "reason": reason, "status": "True", "type": kind});
    let mut status = json!({
        "acceptedNames": object.pointer("/spec/names"),
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": [storage],
    });
    if let Some(before) = object.pointer("/status/conditions") {
        status["conditions"] = before.clone();
    }
    object["status"] = status;
    object
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
