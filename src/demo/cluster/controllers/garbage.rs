//! The garbage collector: what only gone owners own goes after them. Called by the crew when an owner is gone.

use super::delete;
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::Place;
use crate::demo::cluster::write::State;
use serde_json::Value;

/// Deletes an object none of whose owners is left.
pub(super) fn orphan(api: &Api, state: &mut State, shelf: &str, place: &Place) {
    let Some(object) = state.store.object(shelf, place) else { return };
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_there = |owner: &Value| {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let Some(resource) = state.kinds.by_kind(text("apiVersion"), text("kind")) else {
            return false;
        };
        let namespace = if resource.namespaced { place.0.clone() } else { String::new() };
        let found = state.store.object(&resource.shelf, &(namespace, text("name").to_owned()));
        found.is_some_and(|found| found["metadata"]["uid"] == owner["uid"])
    };
    if owners.is_some_and(|owners| !owners.is_empty() && !owners.iter().any(is_there)) {
        delete(api, state, shelf, place);
    }
}
