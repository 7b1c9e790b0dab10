//! Objects seen as sets of fields: which fields a value has, how two values differ, and a value without some fields. The rules
//! are those of Kubernetes' structured-merge-diff; used by `managers` for every write and by `apply`.

use super::fields::{Set, Step};
use crate::crd::schema::{ListKind, Node};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The step to `item` in a list of this shape; none when its items are not told apart.
pub(super) fn step_of(list: Option<&Node>, item: &Value) -> Option<Step> {
    let list = list?;
    match &list.list {
        ListKind::Atomic => None,
        ListKind::Set => Some(Step::Value(crate::crd::schema::go_json(item))),
        ListKind::Map(keys) => {
            let default = |key: &str| list.items.as_ref()?.fields.get(key)?.default.clone();
            Some(Step::key(item, keys, default))
        }
    }
}

fn is_atomic(node: Option<&Node>, value: &Value) -> bool {
    match value {
        Value::Object(_) => node.is_some_and(|node| node.atomic_map),
        Value::Array(_) => node.is_none_or(|node| node.list == ListKind::Atomic),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn is_named(node: Option<&Node>, name: &str) -> bool {
    node.is_some_and(|node| node.fields.contains_key(name))
}

pub(super) fn child<'n>(node: Option<&'n Node>, name: &str) -> Option<&'n Node> {
    node?.field(name).map(AsRef::as_ref)
}

pub(super) fn items(node: Option<&Node>) -> Option<&Node> {
    node?.items.as_deref()
}

/// The fields that a configuration sets: what its applier owns.
pub(super) fn fields_of(node: Option<&Node>, value: &Value) -> Set {
    let mut set = Set::default();
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let node_below = child(node, name);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let member = empty || is_atomic(node_below, value) || !is_named(node, name);
                let below = if is_atomic(node_below, value) {
                    Set::default()
                } else {
                    fields_of(node_below, value)
                };
                set.graft(Step::Field(name.clone()), member, below);
            }
        }
        Value::Array(list) => {
            for item in list {
                if let Some(step) = step_of(node, item) {
                    let below = if is_atomic(items(node), item) {
                        Set::default()
                    } else {
                        fields_of(items(node), item)
                    };
                    set.graft(step, true, below);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    set
}

/// How two values differ, as sets of fields.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

/// Compares two objects.
pub(super) fn difference(node: Option<&Node>, old: &Value, new: &Value) -> Difference {
    let mut out = Difference::default();
    walk(node, Some(old), Some(new), &mut Vec::new(), &mut out);
    out
}

fn is_empty(value: Option<&Value>) -> bool {
    value.is_none_or(|value| match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    })
}

fn walk(
    node: Option<&Node>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Step>,
    out: &mut Difference,
) {
    if old == new {
        return;
    }
    let shape = new.filter(|new| !new.is_null()).or(old).unwrap_or(&Value::Null);
    let same_kind = |value: Option<&Value>| {
        value.is_none_or(|v| {
            v.is_null() || (v.is_object() == shape.is_object() && v.is_array() == shape.is_array())
        })
    };
    let leaf = is_atomic(node, shape) || !same_kind(old) || (is_empty(old) && is_empty(new));
    match (old, new) {
        (None, Some(_)) => out.added.insert(path),
        (Some(_), None) => out.removed.insert(path),
        _ if leaf => out.modified.insert(path),
        _ => {}
    }
    if leaf {
        return;
    }
    match shape {
        Value::Object(_) => {
            let empty = Map::new();
            let before = old.and_then(Value::as_object).unwrap_or(&empty);
            let after = new.and_then(Value::as_object).unwrap_or(&empty);
            let names =
                before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            for name in names {
                path.push(Step::Field(name.clone()));
                walk(child(node, name), before.get(name), after.get(name), path, out);
                path.pop();
            }
        }
        Value::Array(_) => {
            let (before, after) = (keyed(node, old), keyed(node, new));
            let steps =
                before.keys().chain(after.keys().filter(|step| !before.contains_key(*step)));
            for step in steps {
                path.push(step.clone());
                walk(items(node), before.get(step).copied(), after.get(step).copied(), path, out);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn keyed<'v>(node: Option<&Node>, value: Option<&'v Value>) -> BTreeMap<Step, &'v Value> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| Some((step_of(node, item)?, item))).collect()
}

/// The set with all struct fields on the way to its members added as members.
pub(super) fn with_parents(node: Option<&Node>, set: &Set) -> Set {
    let mut out = Set::default();
    for (step, member, below) in set.steps() {
        let (node_below, named) = match step {
            Step::Field(name) => (child(node, name), is_named(node, name)),
            Step::Key(_) | Step::Value(_) | Step::Index(_) => (items(node), false),
        };
        out.graft(step.clone(), member || named, with_parents(node_below, below));
    }
    out
}

/// The value without the fields of `set`. A map or list that becomes empty by that disappears.
pub(super) fn without(node: Option<&Node>, value: &Value, set: &Set) -> Option<Value> {
    match value {
        Value::Object(map) if !map.is_empty() && !is_atomic(node, value) => {
            let mut kept = Map::new();
            for (name, value) in map {
                let step = Step::Field(name.clone());
                if set.has(&step) {
                    continue;
                }
                let rest = match set.below(&step) {
                    Some(below) => without(child(node, name), value, below),
                    None => Some(value.clone()),
                };
                if let Some(rest) = rest {
                    kept.insert(name.clone(), rest);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(list) if !list.is_empty() && !is_atomic(node, value) => {
            let mut kept = Vec::new();
            for item in list {
                let Some(step) = step_of(node, item) else { continue };
                if set.has(&step) {
                    continue;
                }
                match set.below(&step) {
                    Some(below) => kept.extend(without(items(node), item, below)),
                    None => kept.push(item.clone()),
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => Some(value.clone()),
    }
}

/// `config` laid over `live`: its fields win, lists with keys are united, everything else of `live` stays.
pub(super) fn merged(node: Option<&Node>, live: &Value, config: &Value) -> Value {
    if is_atomic(node, config) {
        return config.clone();
    }
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            let mut out = live.clone();
            for (name, value) in config {
                let over = match live.get(name) {
                    Some(old) => merged(child(node, name), old, value),
                    None => value.clone(),
                };
                out.insert(name.clone(), over);
            }
            Value::Object(out)
        }
        (Value::Array(live), Value::Array(config)) => Value::Array(merged_list(node, live, config)),
        _ => config.clone(),
    }
}

/// The order of `config`, with what only `live` has kept near where it stood.
fn merged_list(node: Option<&Node>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let keyed = |list: &[Value]| -> Vec<(Option<Step>, Value)> {
        list.iter().map(|item| (step_of(node, item), item.clone())).collect()
    };
    let (live, config) = (keyed(live), keyed(config));
    let is_shared = |step: &Option<Step>| config.iter().any(|(s, _)| s == step);
    let mut wanted =
        config.iter().filter(|(step, _)| live.iter().any(|(s, _)| s == step)).map(|(step, _)| step);
    let mut next = wanted.next();
    let mut out = Vec::new();
    let mut at = 0;
    for (step, item) in &config {
        while let Some((here, value)) = live.get(at) {
            if !is_shared(here) {
                out.push(value.clone());
            } else if Some(here) == next {
                break;
            }
            at += 1;
        }
        match live.iter().find(|(s, _)| s == step) {
            Some((_, old)) => {
                out.push(merged(items(node), old, item));
                if Some(step) == next {
                    at += 1;
                    next = wanted.next();
                }
            }
            None => out.push(item.clone()),
        }
    }
    out.extend(
        live[at.min(live.len())..]
            .iter()
            .filter(|(step, _)| !is_shared(step))
            .map(|(_, value)| value.clone()),
    );
    out
}
