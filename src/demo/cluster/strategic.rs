//! Strategic merge patch: what kubectl sends for built-in kinds (apply, edit, set). Lists with a merge key are united item by item.
//! Directives: `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`. Called by `patch`.

use super::compare::{child, items};
use crate::crd::schema::Node;
use serde_json::{Map, Value};

/// `patch` laid over `target` by the shape's merge keys.
pub(super) fn merge(node: Option<&Node>, target: &Value, patch: &Value) -> Value {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => object(node, target, patch),
        (Value::Array(target), Value::Array(patch)) => {
            match node.and_then(|node| node.patch_key.as_deref()) {
                Some(key) => Value::Array(keyed(node, key, target, patch, None)),
                None if node.is_some_and(|node| node.patch_union) => {
                    let mut out = patch.clone();
                    out.extend(target.iter().filter(|item| !patch.contains(item)).cloned());
                    Value::Array(out)
                }
                None => Value::Array(patch.clone()),
            }
        }
        (_, Value::Object(patch)) => object(node, &Map::new(), patch),
        (_, Value::Array(patch)) if node.is_some_and(|node| node.patch_key.is_some()) => {
            let key = node.and_then(|node| node.patch_key.as_deref()).unwrap_or_default();
            Value::Array(keyed(node, key, &[], patch, None))
        }
        _ => patch.clone(),
    }
}

fn object(node: Option<&Node>, target: &Map<String, Value>, patch: &Map<String, Value>) -> Value {
    let mut out = match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => Map::new(),
        Some("delete") => return Value::Object(Map::new()),
        _ => target.clone(),
    };
    if let Some(keep) = patch.get("$retainKeys").and_then(Value::as_array) {
        out.retain(|name, _| keep.iter().any(|kept| kept == name.as_str()));
    }
    for (directive, list) in patch {
        if let Some(name) = directive.strip_prefix("$deleteFromPrimitiveList/")
            && let Some(gone) = list.as_array()
            && let Some(kept) = out.get_mut(name).and_then(Value::as_array_mut)
        {
            kept.retain(|item| !gone.contains(item));
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        if value.is_null() {
            out.shift_remove(name);
            continue;
        }
        let below = child(node, name);
        let old = out.get(name).cloned().unwrap_or_default();
        let order = patch.get(&format!("$setElementOrder/{name}")).and_then(Value::as_array);
        let new = match (below.and_then(|below| below.patch_key.as_deref()), value.as_array()) {
            (Some(key), Some(list)) => Value::Array(keyed(
                below,
                key,
                old.as_array().map_or(&[], Vec::as_slice),
                list,
                order,
            )),
            _ => merge(below, &old, value),
        };
        out.insert(name.clone(), new);
    }
    for (directive, order) in patch {
        // An order without a list of its own: items were only moved or removed.
        if let Some(name) = directive.strip_prefix("$setElementOrder/")
            && !patch.contains_key(name)
            && let Some(order) = order.as_array()
            && let Some(list) = out.get_mut(name).and_then(Value::as_array_mut)
        {
            let key = child(node, name).and_then(|below| below.patch_key.as_deref());
            sort(list, key, order);
        }
    }
    Value::Object(out)
}

fn keyed(
    node: Option<&Node>,
    key: &str,
    target: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Vec<Value> {
    let mut out = if patch.iter().any(|item| item["$patch"] == "replace") {
        Vec::new()
    } else {
        target.to_vec()
    };
    for item in patch {
        let place = out.iter().position(|old| old.get(key) == item.get(key));
        match item.get("$patch").and_then(Value::as_str) {
            Some("replace") => {}
            Some("delete") => out.retain(|old| old.get(key) != item.get(key)),
            _ => match place {
                Some(i) => out[i] = merge(items(node), &out[i], item),
                None => out.push(merge(items(node), &Value::Null, item)),
            },
        }
    }
    if let Some(order) = order {
        sort(&mut out, Some(key), order);
    }
    out
}

/// Brings items into the given order; those it does not name keep their place after the one they followed.
fn sort(values: &mut [Value], key: Option<&str>, order: &[Value]) {
    let place = |item: &Value| {
        order
            .iter()
            .position(|wanted| key.map_or(wanted == item, |key| wanted.get(key) == item.get(key)))
    };
    let mut last = 0;
    let ranks: Vec<usize> = values
        .iter()
        .map(|item| {
            last = place(item).map_or(last, |place| place + 1);
            last
        })
        .collect();
    let mut paired: Vec<(usize, Value)> = ranks.into_iter().zip(values.iter().cloned()).collect();
    paired.sort_by_key(|(rank, _)| *rank);
    for (slot, (_, item)) in values.iter_mut().zip(paired) {
        *slot = item;
    }
}
