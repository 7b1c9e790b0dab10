//! The manifests of the contract, and those that break its rules with the words they are refused with. Held against the offline
//! checks by the house tests and against real API servers by the live ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The manifests beside the refusals: the contract's own.
pub(crate) const PIPELINE: &str = include_str!("../data/crd/pipeline.yaml");
/// The contract's Connection.
pub(crate) const CONNECTION: &str = include_str!("../data/crd/connection.yaml");
/// The contract's ClusterConnection.
pub(crate) const CLUSTER_CONNECTION: &str = include_str!("../data/crd/clusterconnection.yaml");
/// The contract's CapacityPool.
pub(crate) const POOL: &str = include_str!("../data/crd/capacitypool.yaml");
/// The contract's CapacityBudget.
pub(crate) const BUDGET: &str = include_str!("../data/crd/capacitybudget.yaml");
/// Every field of the contract at once.
pub(crate) const EVERYTHING: &str = include_str!("../data/crd/everything.yaml");

/// A document of YAML.
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Puts a value where a JSON pointer points: null removes, one past the end of a list appends.
pub(crate) fn put(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
    match parent {
        Value::Array(items) => {
            let index: usize = last.parse().unwrap();
            if value.is_null() {
                items.remove(index);
            } else if index == items.len() {
                items.push(value.clone());
            } else {
                items[index] = value.clone();
            }
        }
        Value::Object(fields) if value.is_null() => {
            fields.shift_remove(last);
        }
        Value::Object(fields) => {
            fields.insert(last.to_owned(), value.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{pointer} points into {parent}")
        }
    }
}

/// One case of `tests/data/crd/refusals.yaml`.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) of: String,
    pub(crate) set: BTreeMap<String, Value>,
    pub(crate) says: Vec<String>,
}

impl Case {
    /// The manifest it comes to.
    pub(crate) fn manifest(&self) -> Value {
        let mut object = yaml(match self.of.as_str() {
            "pipeline" => PIPELINE,
            "connection" => CONNECTION,
            "pool" => POOL,
            "budget" => BUDGET,
            _ => CLUSTER_CONNECTION,
        });
        for (pointer, value) in &self.set {
            put(&mut object, pointer, value);
        }
        object
    }
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("../data/crd/refusals.yaml")).unwrap()
}
