//! The manifests of the pages, and the parts of manifests: each put where it belongs and judged as `penstock validate` would, with no field
//! left that the daemon refuses. A part says by its first line where it belongs.

use penstock::crd::manifest::{Neighbours, Outcome};
use penstock::simulate::Scenario;
use serde_json::{Value, json};

use super::fences::{Block, root};
use super::values;
use crate::crd::CHECKER;

/// Whose parts of files are shown without being ours.
const OTHERS: &[&str] = &["Argo", "Argo CD", "Flux", "KEDA", "Strimzi", "OpenLineage"];
const VERBS: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];

/// What is wrong with a block of YAML.
pub(super) fn faults(block: &Block) -> Vec<String> {
    let told = |faults: Vec<String>| -> Vec<String> {
        faults.into_iter().map(|fault| format!("{}: {fault}", block.place())).collect()
    };
    let documents: Vec<Value> = match serde_saphyr::from_multiple(&block.text) {
        Ok(documents) => documents,
        Err(error) => return told(vec![format!("is no YAML: {error}")]),
    };
    let heading = block.heading().unwrap_or_default();
    let mut faults = Vec::new();
    if heading.starts_with("deploy/examples/") {
        let kept = std::fs::read_to_string(root().join(heading)).unwrap_or_default();
        if block.text != format!("# {heading}\n{kept}") {
            faults.push(format!("{heading} has another text"));
        }
    }
    if documents.iter().all(|document| document["apiVersion"].is_string()) {
        faults.extend(judged(&documents));
        return told(faults);
    }
    let [document] = documents.as_slice() else {
        return told(vec!["some documents say no apiVersion".to_owned()]);
    };
    faults.extend(match heading {
        "in a stage" => judged(&[stage(document)]),
        "in a stage, one of" => {
            let each: Vec<Value> = document.as_array().into_iter().flatten().map(stage).collect();
            each.iter().flat_map(|one| judged(std::slice::from_ref(one))).collect()
        }
        "in the spec of a ScaledPipeline" => judged(&[of_kind("ScaledPipeline", document)]),
        "in the spec of a Connection" => judged(&[of_kind("Connection", document)]),
        "in a Role" => role(document),
        "values.yaml" => values::faults(document),
        "scenario.yaml" => scenario(&block.text),
        other if other.rsplit_once(" of ").is_some_and(|(_, who)| OTHERS.contains(&who)) => {
            Vec::new()
        }
        other => vec![format!("nobody knows where this belongs: its first line says {other:?}")],
    });
    told(faults)
}

/// What the API server or the daemon would say.
fn judged(documents: &[Value]) -> Vec<String> {
    let neighbours = Neighbours::of(documents);
    let checked = documents.iter().map(|document| CHECKER.check(document, &neighbours));
    let bad = checked.filter(|checked| !matches!(checked.result, Outcome::Good | Outcome::Skipped));
    bad.map(|checked| {
        let why = [checked.faults, checked.unworkable, checked.warnings].concat().join("; ");
        format!("{} {}: {why}", checked.kind, checked.name)
    })
    .collect()
}

fn of_kind(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "penstock.dev/v1alpha1", "kind": kind, "metadata": {"name": "shown"}, "spec": spec})
}

/// A pipeline of one stage that says this, and besides only what a stage must.
fn stage(part: &Value) -> Value {
    let mut stage = json!({
        "name": "shown", "target": {"name": "shown"}, "replicas": {"max": 60},
        "sources": [{"name": "pods", "workload": {"selector": {"matchLabels": {"app": "a"}}, "perReplica": 1}}],
    });
    if part.get("lanes").is_some() {
        stage["target"].take();
    }
    for (name, value) in part.as_object().into_iter().flatten() {
        stage[name] = value.clone();
    }
    of_kind("ScaledPipeline", &json!({"stages": [stage]}))
}

/// Rules of a Role name groups, resources and verbs.
fn role(part: &Value) -> Vec<String> {
    let rules = part["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_whole = |rule: &Value| {
        let all = |field: &str| rule[field].as_array().is_some_and(|all| !all.is_empty());
        all("apiGroups")
            && all("resources")
            && all("verbs")
            && rule["verbs"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|verb| VERBS.contains(&verb.as_str().unwrap()))
    };
    if rules.is_empty() || !rules.iter().all(is_whole) {
        return vec![format!("these are no rules of a Role: {part}")];
    }
    Vec::new()
}

/// Beside the scenarios that are there.
fn scenario(text: &str) -> Vec<String> {
    let read = Scenario::read(text, &root().join("deploy/examples/scenarios"));
    read.err().map(|error| format!("is no scenario: {error}")).into_iter().collect()
}
