//! Fills in defaults and removes unknown fields. Called on every write, and by the demo on stored objects when a schema changes.

use super::node::Node;
use serde_json::Value;

fn is_unwanted_null(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable
}

/// Fills in `default`s, parents first, so that a defaulted object gets its own fields' defaults too. A null where null is not
/// allowed counts as missing: it takes the default, or is removed.
pub fn fill_defaults(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| match node.field(name) {
                Some(child) => !is_unwanted_null(value, child) || child.default.is_some(),
                None => true,
            });
            for (name, child) in &node.fields {
                let Some(default) = &child.default else { continue };
                if map.get(name).is_none_or(|value| is_unwanted_null(value, child)) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                let Some(child) = node.field(name) else { continue };
                if is_unwanted_null(value, child)
                    && let Some(default) = &child.default
                {
                    *value = default.clone();
                }
                fill_defaults(child, value);
            }
        }
        Value::Array(items) => {
            let Some(child) = &node.items else { return };
            for value in items {
                if is_unwanted_null(value, child)
                    && let Some(default) = &child.default
                {
                    *value = default.clone();
                }
                fill_defaults(child, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes fields that the schema does not know. Returns their paths, sorted, as the strict field validation names them.
/// With `root`, `apiVersion`, `kind` and `metadata` are kept whatever the schema says.
pub fn prune(node: &Node, value: &mut Value, root: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(node, value, root, "", &mut unknown);
    unknown.sort();
    unknown
}

fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn walk(node: &Node, value: &mut Value, embedded: bool, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            if (embedded || node.embedded) && is_meta(name) {
                return true;
            }
            let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(child) = node.field(name) {
                walk(child, value, false, &here, unknown);
                return true;
            }
            if node.preserve {
                return true;
            }
            unknown.push(here);
            false
        }),
        Value::Array(items) => {
            for (i, value) in items.iter_mut().enumerate() {
                let here = format!("{path}[{i}]");
                match &node.items {
                    Some(child) => walk(child, value, false, &here, unknown),
                    None if node.preserve => {}
                    None => walk(&Node::default(), value, false, &here, unknown),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
