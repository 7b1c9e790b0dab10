//! Checks an object against a CRD's schema the way the API server does: defaults, pruning, types, bounds, list rules and CEL.
//!
//! Called by `penstock validate` (offline) and by the demo's in-memory API (which adds metadata, managed fields and storage
//! around it). It is pure: no client, no clock, no tokio. The texts are those of Kubernetes 1.36, word for word.
//! Left out: formats other than `date-time` and `int32`/`int64`, the CEL cost budget, and schema checks of the CRD itself
//! beyond what is needed to compile it.

mod body;
mod fault;
mod fill;
mod lists;
mod node;
mod rules;
mod typed;

pub use fault::{Fault, Reason, go_json};
pub use fill::{fill_defaults, prune};
pub use node::{Child, Kind, ListKind, Node};

use serde_json::Value;
use std::sync::Arc;

/// A schema made ready for use: patterns and CEL rules are compiled once.
#[derive(Debug, Clone)]
pub struct Schema {
    root: Arc<Node>,
}

impl Schema {
    /// Compiles an `openAPIV3Schema`. The error says which field has a bad pattern or rule.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        Ok(Self { root: Node::compile(schema)? })
    }

    /// A schema around a tree built elsewhere.
    pub fn of(root: Arc<Node>) -> Self {
        Self { root }
    }

    /// The same schema with another tree for `metadata`, which a CRD's own schema leaves open.
    #[must_use]
    pub fn root_with_metadata(&self, metadata: &Arc<Node>) -> Arc<Node> {
        let mut root = self.root.shape();
        root.fields.insert("metadata".to_owned(), Arc::clone(metadata));
        for name in ["apiVersion", "kind"] {
            root.fields.insert(name.to_owned(), Arc::new(Node::default()));
        }
        Arc::new(root)
    }

    /// Values of a wrong JSON type, and nothing else: what decoding into a Go type would refuse.
    pub fn type_faults(&self, object: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        body::check(&self.root, object, None, &mut faults);
        faults.retain(|fault| fault.reason == Reason::TypeInvalid);
        faults
    }

    /// The compiled tree, for whoever needs its shape (server-side apply, defaulting of built-in kinds).
    pub fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Removes what the schema does not know and fills in defaults, as the API server does on every write and read.
    /// Returns the paths that were removed, sorted. `metadata`, `apiVersion` and `kind` of the root are left alone.
    pub fn fill(&self, object: &mut Value) -> Vec<String> {
        let unknown = prune(&self.root, object, true);
        fill_defaults(&self.root, object);
        unknown
    }

    /// What is wrong with `object`, given the one it replaces: types and bounds, then uniqueness in lists, then CEL rules.
    /// A fault in a part that did not change is forgiven, as the API server forgives it (ratcheting).
    pub fn faults(&self, object: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut faults = self.body_faults(object, old);
        self.finish_faults(object, old, &mut faults);
        faults
    }

    /// Types and bounds alone.
    pub fn body_faults(&self, object: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        body::check(&self.root, object, old, &mut faults);
        faults
    }

    /// Types and bounds of the status alone, as a write to the status door checks them: the texts name paths from there on.
    pub fn status_faults(&self, object: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let (Some(node), Some(status)) = (self.root.fields.get("status"), object.get("status")) {
            body::check(node, status, old.and_then(|old| old.get("status")), &mut faults);
        }
        for fault in &mut faults {
            fault.path = if fault.path == "<nil>" {
                "status".to_owned()
            } else {
                format!("status.{}", fault.path)
            };
        }
        faults
    }

    /// Appends uniqueness in lists and, unless something before forbids it, CEL rules.
    pub fn finish_faults(&self, object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
        if old.is_none_or(|old| lists::faults(&self.root, old).is_empty()) {
            faults.append(&mut lists::faults(&self.root, object));
        }
        if faults.iter().any(|fault| fault.reason.blocks_rules()) {
            faults.push(Fault::rules_not_checked());
        } else {
            rules::check(&self.root, object, old, faults);
        }
    }
}

/// Fills and checks one object in one go: prunes and defaults `object` in place and returns what is wrong with it.
/// `schema` is the `openAPIV3Schema` of one CRD version. A schema that does not compile is one fault at the root.
pub fn check(schema: &Value, object: &mut Value, old: Option<&Value>) -> Vec<Fault> {
    match Schema::compile(schema) {
        Ok(schema) => {
            schema.fill(object);
            schema.faults(object, old)
        }
        Err(why) => vec![Fault::invalid("", None, &why)],
    }
}
