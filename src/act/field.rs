//! One write to a field of an object that holds the lever of its kind: a JSON patch, which touches nothing but that field, lists
//! included. It states the `resourceVersion` it was decided on, so that one that comes too late is answered 409 and not carried out: an
//! application that began to run meanwhile, or a group that moved in its list, is never hit.

use http::Method;
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::wire::{self, Asked, JSON_PATCH};
use crate::decide::{Field, Form, Scale};

/// The request that sets the field to the count.
pub(super) fn request(path: &str, scale: &Scale, field: &Field, count: u32) -> Asked {
    // "add" replaces what is there, and sets what is left to its default.
    let steps = json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": scale.resource_version},
        {"op": "add", "path": field.pointer, "value": spelled(field.form, count)},
    ]);
    let path = format!("{path}?fieldManager={FIELD_MANAGER}");
    wire::request(Method::PATCH, &path, Some((JSON_PATCH, &steps)))
}

fn spelled(form: Form, count: u32) -> Value {
    match form {
        Form::Number => json!(count),
        Form::Text => json!(count.to_string()),
        Form::Suspend => json!(count == 0),
    }
}
