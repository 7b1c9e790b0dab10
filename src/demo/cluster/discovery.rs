//! Documents in which the API describes itself: versions, groups, resources. Called by `http` for every path that is no resource.

use super::kinds::{Catalogue, Resource};
use super::openapi;
use super::reviews::is_review;
use serde_json::{Value, json};

/// The Kubernetes version this API acts like.
pub(super) const VERSION: (&str, &str, &str) = ("1", "36", "v1.36.3");

/// The media type of an aggregated discovery document.
pub(super) fn media_type(document: &Value) -> Option<&'static str> {
    (document["kind"] == "APIGroupDiscoveryList")
        .then_some("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
}

/// The document at a path; none when the path is no document's.
pub(super) fn document(kinds: &Catalogue, path: &[&str], accept: &str) -> Option<Value> {
    let aggregated = accept.contains("g=apidiscovery.k8s.io") && accept.contains("v=v2;")
        || accept.ends_with("v=v2");
    match path {
        [] => Some(json!({"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]})),
        ["version"] => Some(version()),
        ["api"] if aggregated => Some(list(kinds, str::is_empty)),
        ["apis"] if aggregated => Some(list(kinds, |group| !group.is_empty())),
        ["api"] => Some(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] => {
            let groups = kinds
                .groups()
                .keys()
                .filter(|group| !group.is_empty())
                .map(|group| legacy_group(kinds, group));
            Some(
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}),
            )
        }
        ["apis", group] if kinds.groups().contains_key(*group) => {
            let mut document = legacy_group(kinds, group);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            Some(document)
        }
        ["api", version] => resources(kinds, "", version),
        ["apis", group, version] => resources(kinds, group, version),
        ["openapi", "v3"] => Some(openapi::index(kinds)),
        ["openapi", "v3", "api", version] => openapi::document(kinds, "", version),
        ["openapi", "v3", "apis", group, version] => openapi::document(kinds, group, version),
        _ => None,
    }
}

fn version() -> Value {
    let (major, minor, version) = VERSION;
    json!({
        "major": major, "minor": minor, "gitVersion": version, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64"
    })
}

fn legacy_group(kinds: &Catalogue, group: &str) -> Value {
    let versions = kinds.groups().get(group).into_iter().flatten();
    let versions: Vec<Value> = versions
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

fn verbs(resource: &Resource) -> Value {
    if is_review(resource) {
        json!(["create"])
    } else {
        json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
    }
}

fn subresources(resource: &Resource) -> Vec<(&'static str, Value)> {
    let mut out = Vec::new();
    if resource.scale.is_some() {
        out.push(("scale", json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})));
    }
    if resource.has_status {
        out.push((
            "status",
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind}),
        ));
    }
    out
}

fn resources(kinds: &Catalogue, group: &str, version: &str) -> Option<Value> {
    let mut out = Vec::new();
    for resource in kinds.of(group, version) {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind, "verbs": verbs(resource)
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        out.push(entry);
        for (name, kind) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced, "kind": kind["kind"], "verbs": ["get", "patch", "update"]
            });
            if name == "scale" {
                entry["group"] = kind["group"].clone();
                entry["version"] = kind["version"].clone();
            }
            out.push(entry);
        }
    }
    if out.is_empty() {
        return None;
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": out}),
    )
}

fn list(kinds: &Catalogue, wanted: impl Fn(&str) -> bool) -> Value {
    let groups = kinds.groups().iter().filter(|(group, _)| wanted(group)).map(|(group, versions)| {
        let versions = versions.iter().map(|version| {
            let resources = kinds.of(group, version).map(|resource| {
                let subresources = subresources(resource).into_iter().map(|(name, kind)| {
                    json!({"subresource": name, "responseKind": kind, "verbs": ["get", "patch", "update"]})
                });
                let mut entry = json!({
                    "resource": resource.plural,
                    "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
                    "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                    "singularResource": resource.singular,
                    "verbs": verbs(resource),
                });
                if !resource.short_names.is_empty() {
                    entry["shortNames"] = json!(resource.short_names);
                }
                if !resource.categories.is_empty() {
                    entry["categories"] = json!(resource.categories);
                }
                let subresources: Vec<Value> = subresources.collect();
                if !subresources.is_empty() {
                    entry["subresources"] = json!(subresources);
                }
                entry
            });
            json!({"version": version, "resources": resources.collect::<Vec<_>>(), "freshness": "Current"})
        });
        let meta = if group.is_empty() { json!({}) } else { json!({"name": group}) };
        json!({"metadata": meta, "versions": versions.collect::<Vec<_>>()})
    });
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups.collect::<Vec<_>>()})
}
