//! Values of the chart, held against its schema: each that a page sets is there. Whether it is of the right type, Helm says in the live tier.

use std::sync::LazyLock;

use serde_json::Value;

use super::fences::root;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(root().join("charts/penstock/values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

/// What is wrong with values as a file states them.
pub(super) fn faults(values: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    walk(values, &SCHEMA, "", &mut faults);
    faults
}

fn walk(values: &Value, schema: &Value, path: &str, faults: &mut Vec<String>) {
    match values {
        Value::Object(fields) => {
            for (name, below) in fields {
                match below_of(schema, name) {
                    Some(schema) => walk(below, schema, &format!("{path}.{name}"), faults),
                    None => faults.push(format!("the chart has no value {path}.{name}")),
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| walk(item, &schema["items"], path, faults));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of a field; where any name may stand, what it says of those.
fn below_of<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let named = &schema["properties"][name];
    if named.is_object() {
        return Some(named);
    }
    let free = &schema["additionalProperties"];
    let is_open = schema["properties"].is_null() && *free != Value::Bool(false);
    (free.is_object() || is_open).then_some(free)
}

/// What is wrong with the words of `--set`: `a.b=c,d[0].e={f,g}`.
pub(super) fn set_faults(words: &str) -> Vec<String> {
    let assigned = split(words, ',');
    assigned.iter().filter_map(|one| set_fault(one)).collect()
}

fn set_fault(one: &str) -> Option<String> {
    let Some((path, _)) = one.split_once('=') else {
        return Some(format!("--set {one}: sets nothing"));
    };
    let mut schema = &*SCHEMA;
    for part in split(path, '.') {
        let (name, index) =
            part.split_once('[').map_or((part.as_str(), None), |(a, b)| (a, Some(b)));
        let Some(below) = below_of(schema, &name.replace('\\', "")) else {
            return Some(format!("--set {one}: the chart has no value {path}"));
        };
        schema = if index.is_some() { &below["items"] } else { below };
    }
    None
}

/// Split where it is neither within braces nor after a backslash.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut depth, mut is_escaped) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == at && depth == 0 && !is_escaped {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
        is_escaped = c == '\\';
    }
    parts
}
