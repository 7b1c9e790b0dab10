//! The Connections that triggers lead to: one for each address and login, however many triggers share it, and a Secret for what stood in
//! clear text where Penstock wants a Secret.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::crd::connection::Kinds;
use crate::crd::source::{ConnectionKind, ConnectionRef};
use crate::crd::{ClusterConnection, ClusterConnectionSpec, Connection, ConnectionSpec};

/// Where a connection belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// In a namespace; `None` is the one that objects get which say none.
    Namespace(Option<String>),
    /// Of the cluster, with its Secrets in this namespace.
    Cluster(String),
}

/// One connection that a source names.
#[derive(Debug)]
struct Made {
    scope: Scope,
    name: String,
    /// `None` where nobody here could write it.
    spec: Option<Value>,
    /// What is to stand in a Secret beside it.
    plain: BTreeMap<String, String>,
}

/// All of them, in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: Vec<Made>,
    /// Manifests that nobody has taken yet.
    fresh: Vec<Value>,
}

impl Connections {
    /// The connection that leads there, made if there is none yet, and called like this if nothing else is.
    pub(super) fn find(
        &mut self,
        scope: &Scope,
        wish: &str,
        kind: Kinds,
        plain: BTreeMap<String, String>,
    ) -> ConnectionRef {
        let spec = serde_json::to_value(&kind).ok();
        let alike = |it: &&Made| it.scope == *scope && it.spec == spec && it.plain == plain;
        if let Some(found) = self.all.iter().find(alike) {
            return reference(scope, &found.name);
        }
        let name = self.name(scope, wish);
        let kind = with_login(kind, &name);
        if !plain.is_empty() {
            self.fresh.push(login(scope, &name, &plain));
        }
        self.fresh.push(manifest(scope, &name, kind));
        let made = Made { scope: scope.clone(), name, spec, plain };
        let name = made.name.clone();
        self.all.push(made);
        reference(scope, &name)
    }

    /// A connection that is for somebody else to write.
    pub(super) fn lacking(&mut self, scope: &Scope, wish: &str) -> ConnectionRef {
        let alike =
            |it: &&Made| it.scope == *scope && it.spec.is_none() && it.plain.contains_key(wish);
        if let Some(found) = self.all.iter().find(alike) {
            return reference(scope, &found.name);
        }
        let name = self.name(scope, wish);
        // Found again by what it was to be called.
        let plain = BTreeMap::from([(wish.to_owned(), String::new())]);
        self.all.push(Made { scope: scope.clone(), name: name.clone(), spec: None, plain });
        reference(scope, &name)
    }

    /// The manifests since the last time.
    pub(super) fn take(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.fresh)
    }

    /// A name that no other has.
    fn name(&self, scope: &Scope, wish: &str) -> String {
        let is_taken =
            |name: &str| self.all.iter().any(|it| is_beside(&it.scope, scope) && it.name == name);
        let numbered = (2..).map(|number| format!("{wish}-{number}"));
        let mut names = std::iter::once(wish.to_owned()).chain(numbered);
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }
}

/// Would two of one name be one object?
fn is_beside(one: &Scope, other: &Scope) -> bool {
    matches!((one, other), (Scope::Cluster(_), Scope::Cluster(_))) || one == other
}

fn reference(scope: &Scope, name: &str) -> ConnectionRef {
    let kind = match scope {
        Scope::Namespace(_) => None,
        Scope::Cluster(_) => Some(ConnectionKind::ClusterConnection),
    };
    ConnectionRef { kind, name: name.to_owned() }
}

/// What is to stand in a Secret beside the connection has no name before.
fn with_login(kind: Kinds, name: &str) -> Kinds {
    let mut written = serde_json::to_value(&kind).unwrap_or_default();
    name_login(&mut written, &format!("{name}-login"));
    serde_json::from_value(written).unwrap_or(kind)
}

fn name_login(at: &mut Value, name: &str) {
    if at.get("name") == Some(&json!("")) && at.get("key").is_some() {
        at["name"] = json!(name);
        return;
    }
    match at {
        Value::Object(map) => {
            for value in map.values_mut() {
                name_login(value, name);
            }
        }
        Value::Array(all) => {
            for value in all {
                name_login(value, name);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn login(scope: &Scope, name: &str, plain: &BTreeMap<String, String>) -> Value {
    let name = format!("{name}-login");
    let metadata = match scope {
        Scope::Namespace(None) => json!({"name": name}),
        Scope::Namespace(Some(namespace)) | Scope::Cluster(namespace) => {
            json!({"name": name, "namespace": namespace})
        }
    };
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": plain})
}

fn manifest(scope: &Scope, name: &str, kind: Kinds) -> Value {
    let written = match scope {
        Scope::Namespace(namespace) => {
            let mut object = Connection::new(name, ConnectionSpec { kind });
            object.metadata.namespace.clone_from(namespace);
            serde_json::to_value(object)
        }
        Scope::Cluster(namespace) => serde_json::to_value(ClusterConnection::new(
            name,
            ClusterConnectionSpec {
                secret_namespace: Some(namespace.clone()),
                allowed_namespaces: Some(crate::crd::connection::Selector::default()),
                kind,
            },
        )),
    };
    written.unwrap_or_default()
}
