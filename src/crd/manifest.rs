//! One manifest checked offline, as the API server would check it and as the daemon would read it.
//! Called by `penstock validate` and by the tests that hold our words against a real server's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::meaning::{self, Code, Fault, Surroundings};
use super::schema::Schema;
use crate::decide::{Nodes, Pipeline, Reason};

use super::{CapacityPool, ClusterConnection, Connection, GROUP, ScaledPipeline, VERSION};

/// The schemas of all kinds, made ready once.
#[derive(Debug)]
pub struct Checker {
    kinds: BTreeMap<String, Kind>,
}

/// One kind.
#[derive(Debug)]
struct Kind {
    schema: Schema,
    /// Every field there is, as a path.
    fields: Vec<String>,
    is_namespaced: bool,
}

/// What became of one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Its kind; empty when it has none.
    pub kind: String,
    /// Its namespace, `default` when it says none; `None` for kinds of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name; empty when it has none.
    pub name: String,
    /// Good, warned, unworkable, refused or skipped.
    pub result: Outcome,
    /// What the API server would refuse it for, in its words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// What the API server would take, though it can never work: Ready=False would say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unworkable: Vec<String>,
    /// What the API server would take, and this version cannot serve yet: Ready=False would say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What became of a manifest, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing is wrong with it.
    Good,
    /// The API server takes it, this version cannot serve all of it yet.
    Warned,
    /// The API server takes it, and it can never work.
    Unworkable,
    /// The API server refuses it.
    Refused,
    /// It is none of ours.
    Skipped,
}

/// What the manifests of one call know of each other: the connections, namespaces and pools among them.
#[derive(Debug, Default)]
pub struct Neighbours {
    connections: BTreeMap<(String, String), Arc<Connection>>,
    cluster_connections: BTreeMap<String, Arc<ClusterConnection>>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pools of class Spot.
    spot: BTreeSet<String>,
}

impl Neighbours {
    /// Collects what pipelines may refer to; what cannot be read is told when it is checked itself.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut all = Self::default();
        for document in documents {
            let name = text(document, "/metadata/name");
            match (text(document, "/apiVersion").as_str(), text(document, "/kind").as_str()) {
                ("v1", "Namespace") => {
                    let labels = document.pointer("/metadata/labels").cloned().unwrap_or_default();
                    all.namespaces.insert(name, serde_json::from_value(labels).unwrap_or_default());
                }
                (version, "Connection") if version == api_version() => {
                    if let Ok(object) = serde_json::from_value(document.clone()) {
                        all.connections.insert((namespace(document), name), Arc::new(object));
                    }
                }
                (version, "ClusterConnection") if version == api_version() => {
                    if let Ok(object) = serde_json::from_value(document.clone()) {
                        all.cluster_connections.insert(name, Arc::new(object));
                    }
                }
                (version, "CapacityPool")
                    if version == api_version() && text(document, "/spec/class") == "Spot" =>
                {
                    all.spot.insert(name);
                }
                _ => {}
            }
        }
        all
    }

    /// Lanes of a pipeline on nodes that are taken away, where no other pod takes over from one that goes.
    fn misplaced(&self, pipeline: &Pipeline) -> Vec<String> {
        let mut told = Vec::new();
        for (stage, it) in pipeline.stages.iter().enumerate().filter(|(_, it)| it.is_dear) {
            for (lane, it) in it.lanes.iter().enumerate() {
                let pool = it.pool.to_string();
                if self.spot.contains(&pool) {
                    let reason = Reason::Nodes(Nodes::RoleOnSpot { stage, lane, pool });
                    let hint = reason.hint().map(|hint| format!("; hint: {hint}"));
                    told.push(format!("{reason}{}", hint.unwrap_or_default()));
                }
            }
        }
        told
    }
}

impl Surroundings for Neighbours {
    fn connection(&self, namespace: &str, name: &str) -> Option<Arc<Connection>> {
        self.connections.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn cluster_connection(&self, name: &str) -> Option<Arc<ClusterConnection>> {
        self.cluster_connections.get(name).cloned()
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.namespaces.get(namespace).cloned()
    }

    fn may_lend_secrets_of(&self, _: &str) -> bool {
        true
    }
}

impl Checker {
    /// Makes the schemas ready. Fails only when this program's own schemas do not compile.
    pub fn new() -> Result<Self, String> {
        let mut kinds = BTreeMap::new();
        for crd in super::all() {
            let schema = crd
                .spec
                .versions
                .first()
                .and_then(|version| version.schema.as_ref())
                .and_then(|schema| schema.open_api_v3_schema.as_ref())
                .ok_or_else(|| format!("kind {} has no schema", crd.spec.names.kind))?;
            let schema = serde_json::to_value(schema).map_err(|error| error.to_string())?;
            let mut fields = Vec::new();
            self::fields(&schema, "", &mut fields);
            let kind = Kind {
                fields,
                schema: Schema::compile(&schema)?,
                is_namespaced: crd.spec.scope == "Namespaced",
            };
            kinds.insert(crd.spec.names.kind, kind);
        }
        Ok(Self { kinds })
    }

    /// Checks one manifest, given those beside it.
    pub fn check(&self, document: &Value, neighbours: &Neighbours) -> Checked {
        let mut checked = Checked {
            kind: text(document, "/kind"),
            namespace: None,
            name: text(document, "/metadata/name"),
            result: Outcome::Skipped,
            faults: Vec::new(),
            unworkable: Vec::new(),
            warnings: Vec::new(),
        };
        let version = text(document, "/apiVersion");
        if version.is_empty() || checked.kind.is_empty() {
            checked.faults.push("apiVersion and kind must be set".to_owned());
        } else if version.split('/').next() == Some(GROUP) {
            let kind = self.kinds.get(&checked.kind).filter(|_| version == api_version());
            if let Some(kind) = kind {
                checked.namespace = kind.is_namespaced.then(|| namespace(document));
                checked.faults = kind.faults(document);
                if checked.faults.is_empty() && checked.kind == "ScaledPipeline" {
                    let (later, never) = of_pipeline(document, neighbours);
                    (checked.warnings, checked.unworkable) = (later, never);
                }
                if checked.faults.is_empty() && checked.kind == "CapacityPool" {
                    checked.unworkable = of_pool(document);
                }
            } else {
                let fault =
                    format!("no matches for kind {:?} in version {version:?}", checked.kind);
                checked.faults.push(fault);
            }
        } else {
            return checked;
        }
        checked.result = if !checked.faults.is_empty() {
            Outcome::Refused
        } else if !checked.unworkable.is_empty() {
            Outcome::Unworkable
        } else if !checked.warnings.is_empty() {
            Outcome::Warned
        } else {
            Outcome::Good
        };
        checked
    }
}

impl Kind {
    /// What the API server would say, one line a fault.
    fn faults(&self, document: &Value) -> Vec<String> {
        let mut object = document.clone();
        let unknown = self.schema.fill(&mut object);
        let mut faults: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field {path:?}{}", self.hint(path)))
            .collect();
        faults.extend(name_faults(document));
        faults.extend(self.schema.faults(&object, None).iter().map(ToString::to_string));
        faults
    }

    /// Where an unknown field belongs, when only one place has such a one: `spec.objective.doneBy` is that of a stage's `objective`.
    fn hint(&self, unknown: &str) -> String {
        let end = |path: &str| -> Vec<String> {
            let names = path.rsplit('.').map(|part| part.split('[').next().unwrap_or(part));
            names.take(2).map(str::to_owned).collect()
        };
        let is_like = |it: &&String| it.starts_with("spec.") && end(it) == end(unknown);
        let mut found = self.fields.iter().filter(is_like);
        match (found.next(), found.next()) {
            (Some(only), None) => format!("; hint: there is {only}"),
            _ => String::new(),
        }
    }
}

/// Every field that a schema has, as a path; `[]` for the items of a list.
fn fields(schema: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(items) = schema.get("items") {
        fields(items, &format!("{at}[]"), found);
    }
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        fields(schema, &path, found);
        found.push(path);
    }
}

/// What is wrong with the object's name.
fn name_faults(document: &Value) -> Option<String> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        let is_generated = !text(document, "/metadata/generateName").is_empty();
        return (!is_generated)
            .then(|| "metadata.name: Required value: name or generateName is required".to_owned());
    }
    if name.len() <= 253 && name.split('.').all(is_label_of_subdomain) {
        return None;
    }
    Some(format!(
        "metadata.name: Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
         '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ))
}

/// One part of a DNS subdomain, of any length.
fn is_label_of_subdomain(part: &str) -> bool {
    let is_end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// What the daemon would say of a pipeline that the API server takes: what does not work yet or is better not done, and what never works. A connection that is
/// not beside it may well be in the cluster, and a namespace that is not beside it may have any label: nothing is said of those.
fn of_pipeline(document: &Value, neighbours: &Neighbours) -> (Vec<String>, Vec<String>) {
    let mut object: ScaledPipeline = match serde_json::from_value(document.clone()) {
        Ok(object) => object,
        Err(error) => return (Vec::new(), vec![format!("cannot be read: {error}")]),
    };
    let namespace = object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    let is_namespace_known = neighbours.namespaces.contains_key(namespace.as_str());
    let mut warnings = Vec::new();
    let faults = match meaning::read(&object, neighbours) {
        Err(faults) => faults,
        Ok(meaning) => {
            warnings = neighbours.misplaced(&meaning.pipeline);
            let faults = meaning.unanswerable.into_iter().map(|(_, fault)| fault);
            faults
                .filter(|fault| fault.code != Code::ConnectionNotFound)
                .filter(|fault| is_namespace_known || fault.code != Code::NamespaceNotAllowed)
                .collect()
        }
    };
    let (later, never): (Vec<Fault>, Vec<Fault>) =
        faults.into_iter().partition(|fault| fault.code == Code::NotYetSupported);
    warnings.extend(later.iter().map(ToString::to_string));
    (warnings, never.iter().map(ToString::to_string).collect())
}

/// What the daemon would say of a pool that the API server takes.
fn of_pool(document: &Value) -> Vec<String> {
    match serde_json::from_value::<CapacityPool>(document.clone()) {
        Ok(pool) => pool.spec.tariff().1.iter().map(ToString::to_string).collect(),
        Err(error) => vec![format!("cannot be read: {error}")],
    }
}

/// The pipelines of a text of one or many documents, as decide takes them, whatever the rest of it is. What they refer to may be
/// elsewhere: it is not needed to decide.
///
/// # Errors
/// The text is no YAML, or a pipeline of it cannot be understood; the words are for people.
pub fn pipelines(text: &str) -> Result<Vec<Pipeline>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| format!("is no YAML: {error}"))?;
    let neighbours = Neighbours::of(&documents);
    let is_ours = |document: &&Value| {
        self::text(document, "/apiVersion") == api_version()
            && self::text(document, "/kind") == "ScaledPipeline"
    };
    let mut found = Vec::new();
    for document in documents.iter().filter(is_ours) {
        let mut object: ScaledPipeline =
            serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
        object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
        let meant = meaning::read(&object, &neighbours).map_err(|faults| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        found.push(meant.pipeline);
    }
    Ok(found)
}

/// `penstock.dev/v1alpha1`.
fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// The namespace that a manifest says, or the one it gets.
fn namespace(document: &Value) -> String {
    let written = text(document, "/metadata/namespace");
    if written.is_empty() { "default".to_owned() } else { written }
}

/// A text of a manifest; empty when it is not there.
fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
