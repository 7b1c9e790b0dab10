//! Whether a configuration fits its kind's shape, as server-side apply asks before it merges anything. Called by `patch`.

use super::compare::{items, step_of};
use crate::crd::schema::{Kind, ListKind, Node};
use serde_json::Value;

/// What does not fit, in structured-merge-diff's words; empty when all does.
pub(super) fn misfits(shape: &Node, config: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(Some(shape), config, "", &mut out);
    out
}

fn got(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(n) if n.is_f64() => "float64".to_owned(),
        Value::Number(_) => "int64".to_owned(),
        Value::Array(_) => "[]interface {}".to_owned(),
        Value::Object(_) => "map[string]interface {}".to_owned(),
    }
}

fn walk(node: Option<&Node>, value: &Value, path: &str, out: &mut Vec<String>) {
    let Some(node) = node else { return };
    if value.is_null() {
        return;
    }
    let wrong = match node.kind {
        Kind::Integer | Kind::Number => (!value.is_number())
            .then(|| format!("expected numeric (int or float), got {}", got(value))),
        Kind::String => (!value.is_string())
            .then(|| format!("expected string, got &value.valueUnstructured{{Value:{value}}}")),
        Kind::Boolean => {
            (!value.is_boolean()).then(|| format!("expected boolean, got &{{{value}}}"))
        }
        Kind::Array => (!value.is_array()).then(|| format!("expected list, got &{{{value}}}")),
        Kind::Object => (!value.is_object()).then(|| format!("expected map, got &{{{value}}}")),
        Kind::Any | Kind::IntOrString => None,
    };
    if let Some(wrong) = wrong {
        out.push(format!("{path}: {wrong}"));
        return;
    }
    match value {
        Value::Object(map) => {
            let open = node.preserve || (node.kind == Kind::Any && node.fields.is_empty());
            for (name, value) in map {
                let below = format!("{path}.{name}");
                match node.field(name) {
                    Some(child) => walk(Some(child), value, &below, out),
                    None if open => {}
                    None => out.push(format!("{below}: field not declared in schema")),
                }
            }
        }
        Value::Array(list) => list_misfits(node, list, path, out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn list_misfits(node: &Node, list: &[Value], path: &str, out: &mut Vec<String>) {
    let mut seen = Vec::new();
    for (i, item) in list.iter().enumerate() {
        let step = step_of(Some(node), item);
        if let ListKind::Map(keys) = &node.list {
            let has_default = |key: &String| {
                node.items
                    .as_ref()
                    .and_then(|items| items.fields.get(key))
                    .is_some_and(|key| key.default.is_some())
            };
            let missing =
                keys.iter().find(|key| item.get(key.as_str()).is_none() && !has_default(key));
            if let Some(key) = missing {
                let why = "associative list with keys has an element that omits key field";
                out.push(format!(
                    "{path}: element {i}: {why} {key:?} (and doesn't have default value)"
                ));
                continue;
            }
        }
        let below =
            step.as_ref().map_or_else(|| format!("{path}[{i}]"), |step| format!("{path}{step}"));
        if let Some(step) = step {
            if seen.contains(&step) {
                out.push(format!("{path}: duplicate entries for key {step}"));
            }
            seen.push(step);
        }
        walk(items(Some(node)), item, &below, out);
    }
}
