//! How an object is shown to who asked: whole, as metadata alone, or as a row of a table, in the version asked for. Called by `read`,
//! `watch` and `http` when they write answers.

use super::kinds::Resource;
use super::refusal::Refusal;
use super::table;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The form that the `Accept` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Whole,
    Metadata,
    Table,
}

impl View {
    /// The first form in the header that is served here.
    pub(super) fn of(accept: &str) -> Result<Self, Refusal> {
        if accept.is_empty() {
            return Ok(Self::Whole);
        }
        for offer in accept.split(',').map(str::trim) {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let form = parts.find_map(|part| part.strip_prefix("as="));
            let json = matches!(media, "application/json" | "*/*" | "application/*");
            match form {
                None if json => return Ok(Self::Whole),
                Some("Table") if json => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if json => {
                    return Ok(Self::Metadata);
                }
                _ => {}
            }
        }
        Err(Refusal::not_acceptable())
    }

    /// `kind` and `apiVersion` of a list in this form.
    pub(super) fn list_type(self, resource: &Resource) -> (String, String) {
        match self {
            Self::Whole => (format!("{}List", resource.kind), resource.api_version()),
            Self::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Self::Table => ("Table".to_owned(), "meta.k8s.io/v1".to_owned()),
        }
    }

    /// One object alone.
    pub(super) fn one(
        self,
        resource: &Resource,
        object: &Arc<Value>,
        now: jiff::Timestamp,
    ) -> Value {
        match self {
            Self::Whole => whole(resource, object),
            Self::Metadata => metadata(object),
            Self::Table => table::table(resource, std::slice::from_ref(object), true, now),
        }
    }
}

/// The stored object in the version of the request.
pub(super) fn whole(resource: &Resource, object: &Value) -> Value {
    if resource.group == "events.k8s.io" {
        return event_out(object);
    }
    let mut out = object.clone();
    if resource.stored_as != resource.api_version() {
        out["apiVersion"] = json!(resource.api_version());
    }
    out
}

/// An object of the request's version as it is stored.
pub(super) fn stored(resource: &Resource, mut object: Value) -> Value {
    if resource.group == "events.k8s.io" {
        return event_in(&object);
    }
    if resource.stored_as != resource.api_version() {
        object["apiVersion"] = json!(resource.stored_as);
    }
    object
}

/// The object's metadata, as `PartialObjectMetadata`.
pub(super) fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// Appends one list item. Items of built-in kinds do not repeat their kind, as Go's typed lists do not.
pub(super) fn write_item(
    view: View,
    resource: &Resource,
    object: &Arc<Value>,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    if view == View::Metadata {
        return serde_json::to_writer(out, &metadata(object));
    }
    if resource.custom && resource.stored_as == resource.api_version() {
        return serde_json::to_writer(out, object.as_ref());
    }
    let mut item = whole(resource, object);
    if !resource.custom
        && let Some(map) = item.as_object_mut()
    {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
    }
    serde_json::to_writer(out, &item)
}

/// Core name, and the name in `events.k8s.io/v1`.
pub(super) const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn renamed(object: &Value, api_version: &str, to: impl Fn(&str) -> Option<&'static str>) -> Value {
    let entries = object.as_object().into_iter().flatten();
    let mut out: Map<String, Value> = entries
        .map(|(name, value)| (to(name).map_or_else(|| name.clone(), str::to_owned), value.clone()))
        .collect();
    out.insert("apiVersion".to_owned(), json!(api_version));
    out.insert("kind".to_owned(), json!("Event"));
    Value::Object(out)
}

/// A stored event as `events.k8s.io/v1` shows it.
fn event_out(object: &Value) -> Value {
    renamed(object, "events.k8s.io/v1", |name| {
        EVENT_FIELDS.iter().find(|(core, _)| *core == name).map(|(_, new)| *new)
    })
}

/// An `events.k8s.io/v1` event as it is stored.
fn event_in(object: &Value) -> Value {
    renamed(object, "v1", |name| {
        EVENT_FIELDS.iter().find(|(_, new)| *new == name).map(|(core, _)| *core)
    })
}
