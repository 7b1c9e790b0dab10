//! Uniqueness in lists that are sets or maps. Called by `Schema::faults`.

use super::fault::{Fault, Reason};
use super::node::{ListKind, Node};
use serde_json::{Map, Value};

/// Names each second appearance of an item (set) or of a key (map).
pub(super) fn faults(node: &Node, value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    walk(node, value, "", &mut faults);
    faults
}

fn walk(node: &Node, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(child) = node.fields.get(name) {
                    let here =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(child, value, &here, faults);
                } else if let Some(child) = &node.extra {
                    walk(child, value, &format!("{path}[{name}]"), faults);
                }
            }
        }
        Value::Array(items) => {
            match &node.list {
                ListKind::Atomic => {}
                ListKind::Set => duplicates(items, path, faults),
                ListKind::Map(keys) => {
                    if let Some(i) =
                        items.iter().position(|item| !item.is_object() && !item.is_null())
                    {
                        let here = format!("{path}[{i}]");
                        let detail = "must be an object for an array of list-type map";
                        faults.push(Fault::invalid(&here, Some(&items[i]), detail));
                    } else {
                        let keys: Vec<Value> =
                            items.iter().map(|item| key_of(item, keys)).collect();
                        duplicates(&keys, path, faults);
                    }
                }
            }
            if let Some(child) = &node.items {
                for (i, item) in items.iter().enumerate() {
                    walk(child, item, &format!("{path}[{i}]"), faults);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let pairs = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn duplicates(items: &[Value], path: &str, faults: &mut Vec<Fault>) {
    for (i, item) in items.iter().enumerate() {
        if items[..i].iter().filter(|other| *other == item).count() == 1 {
            faults.push(Fault::new(&format!("{path}[{i}]"), Reason::Duplicate, Some(item), ""));
        }
    }
}
