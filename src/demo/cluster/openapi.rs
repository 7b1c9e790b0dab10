//! As much `OpenAPI` v3 as kubectl needs: which kinds there are, that patches take `fieldValidation`, and the schemas of custom kinds
//! for `kubectl explain`. Called by `discovery`. `OpenAPI` v2 is not served; kubectl 1.27 and later do without.

use super::kinds::{Catalogue, Resource};
use serde_json::{Map, Value, json};

/// The index of documents, one for each group and version.
pub(super) fn index(kinds: &Catalogue) -> Value {
    let mut paths = Map::new();
    for (group, versions) in kinds.groups() {
        for version in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")}));
        }
    }
    json!({"paths": paths})
}

/// The document of one group and version.
pub(super) fn document(kinds: &Catalogue, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in kinds.of(group, version) {
        let name = name(resource);
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        schemas.insert(
            name.clone(),
            json!({"type": "object", "x-kubernetes-group-version-kind": [kind]}),
        );
        let base = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let space = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let operation = |action: &str| json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind, "parameters": parameters, "responses": {}});
        paths.insert(
            format!("{base}{space}/{}", resource.plural),
            json!({"post": operation("post"), "get": operation("list")}),
        );
        let one = json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch"), "delete": operation("delete")});
        paths.insert(format!("{base}{space}/{}/{{name}}", resource.plural), one);
    }
    if paths.is_empty() {
        return None;
    }
    Some(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": super::discovery::VERSION.2}, "paths": paths, "components": {"schemas": schemas}}),
    )
}

fn name(resource: &Resource) -> String {
    let group = if resource.group.is_empty() {
        "core".to_owned()
    } else {
        resource.group.split('.').rev().collect::<Vec<_>>().join(".")
    };
    format!("{group}.{}.{}", resource.version, resource.kind)
}
