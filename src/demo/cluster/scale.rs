//! The `/scale` face of workloads: a Scale object in front of the replicas field, with managers of its own. Called by `http`.
//! As on the real server, a custom resource's `/scale` takes no server-side apply.

use super::apply::Apply;
use super::fields::Set;
use super::kinds::ScalePaths;
use super::managers::{self, Entry};
use super::patch::{Kind, patched};
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::Place;
use super::write::{Face, Write};
use crate::crd::schema::{Fault, Node};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The shape of a Scale object, as far as anybody may write it.
static SHAPE: LazyLock<Node> = LazyLock::new(|| {
    let mut spec = Node::default();
    spec.fields = BTreeMap::from([("replicas".to_owned(), Arc::new(Node::default()))]);
    let mut scale = Node::default();
    for name in ["apiVersion", "kind", "metadata", "status"] {
        scale.fields.insert(name.to_owned(), Arc::new(Node::default()));
    }
    scale.fields.insert("spec".to_owned(), Arc::new(spec));
    scale
});

/// The Scale object of a workload. `spec.replicas` is left out when 0, as Go's encoder does.
pub(super) fn scale_of(object: &Value, paths: &ScalePaths, custom: bool) -> Value {
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let meta = |key: &str| object["metadata"].get(key).cloned().unwrap_or_default();
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta("name"), "namespace": meta("namespace"), "uid": meta("uid"), "resourceVersion": meta("resourceVersion"), "creationTimestamp": meta("creationTimestamp")},
        "spec": {}, "status": {"replicas": count(&paths.status)}
    });
    if scale["metadata"]["namespace"].is_null()
        && let Some(meta) = scale["metadata"].as_object_mut()
    {
        meta.shift_remove("namespace");
    }
    if count(&paths.spec) != 0 {
        scale["spec"]["replicas"] = json!(count(&paths.spec));
    }
    let selector = match &paths.selector {
        Some(pointer) => {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        None if custom => String::new(),
        None => Selector::text(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

fn names(pointer: &str) -> Vec<&str> {
    pointer.split('/').skip(1).collect()
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for name in names(pointer) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
}

impl Write<'_> {
    fn scale_paths(&self) -> Result<ScalePaths, Refusal> {
        self.resource.scale.clone().ok_or_else(Refusal::no_such_resource)
    }

    /// Replaces the Scale object (PUT).
    pub(super) fn update_scale(
        &mut self,
        place: &Place,
        body: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let live = self.live(place)?;
        self.put_scale(place, &live, body)
    }

    /// Patches the Scale object.
    pub(super) fn patch_scale(
        &mut self,
        place: &Place,
        kind: Kind,
        patch: &Value,
        force: bool,
    ) -> Result<Arc<Value>, Refusal> {
        let paths = self.scale_paths()?;
        let live = self.live(place)?;
        let scale = scale_of(&live, &paths, self.resource.custom);
        if kind == Kind::Apply {
            return self.apply_scale(place, &live, &scale, patch, force);
        }
        let new = patched(kind, Some(&SHAPE), &scale, patch)?;
        self.put_scale(place, &live, &new)
    }

    fn put_scale(
        &mut self,
        place: &Place,
        live: &Arc<Value>,
        scale: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let new = self.with_scale(place, live, scale)?;
        self.replace(place, live, new, Face::Scale, true)
    }

    /// The workload with the replicas of a Scale object, and its claims about revision and uid.
    fn with_scale(&self, place: &Place, live: &Value, scale: &Value) -> Result<Value, Refusal> {
        let paths = self.scale_paths()?;
        let replicas = scale.pointer("/spec/replicas").unwrap_or(&Value::Null);
        let replicas = match replicas {
            Value::Null => 0,
            value => value.as_i64().ok_or_else(|| {
                Refusal::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {value} into Go struct field ScaleSpec.spec.replicas of type int32"))
            })?,
        };
        if replicas < 0 {
            let fault = Fault::invalid(
                "spec.replicas",
                Some(&json!(replicas)),
                "must be greater than or equal to 0",
            );
            return Err(Refusal::invalid("Scale", "autoscaling", &place.1, &[fault]));
        }
        let mut new = live.clone();
        set(&mut new, &paths.spec, json!(replicas));
        for key in ["resourceVersion", "uid"] {
            new["metadata"][key] = scale["metadata"].get(key).cloned().unwrap_or_default();
        }
        Ok(new)
    }

    fn apply_scale(
        &mut self,
        place: &Place,
        live: &Arc<Value>,
        scale: &Value,
        config: &Value,
        force: bool,
    ) -> Result<Arc<Value>, Refusal> {
        if self.resource.custom {
            return Err(Refusal::unforeseen(
                "the server does not support server-side apply on this scale subresource",
            ));
        }
        if self.writer.manager.is_empty() {
            let fault = Fault::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid("PatchOptions", "meta.k8s.io", "", &[fault]));
        }
        let paths = self.scale_paths()?;
        let owner = managers::entries(live);
        let path = names(&paths.spec);
        let in_scale = Set::of(&["spec", "replicas"]);
        let seen: Vec<Entry> = owner
            .iter()
            .filter(|entry| entry.fields.has_path(&path))
            .map(|entry| Entry {
                fields: in_scale.clone(),
                api_version: "autoscaling/v1".to_owned(),
                ..entry.clone()
            })
            .collect();
        let mut writer = self.writer.clone();
        "autoscaling/v1".clone_into(&mut writer.api_version);
        let now = self.now.clone();
        let apply =
            Apply { shape: &SHAPE, writer: &writer, force, reset: Set::of(&["status"]), now: &now };
        let mut old = scale.clone();
        // A zero is written out here, so that applying 0 to 0 is no change.
        old["spec"]["replicas"] =
            json!(scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default());
        let new = apply.run(&old, seen.clone(), config, &|_| {})?;
        let mut body = if new.is_null() { old } else { new.clone() };
        for key in ["resourceVersion", "uid"] {
            body["metadata"][key] =
                config.pointer(&format!("/metadata/{key}")).cloned().unwrap_or_default();
        }
        let mut object = self.with_scale(place, live, &body)?;
        if !new.is_null() {
            let after = managers::entries(&new);
            managers::store(&mut object, to_owner(&owner, &after, &path, &self.resource.stored_as));
        }
        self.replace(place, live, object, Face::Scale, false)
    }
}

/// The workload's managers after a write to its Scale object: whoever lost the replicas there loses them here.
fn to_owner(owner: &[Entry], scale: &[Entry], path: &[&str], api_version: &str) -> Vec<Entry> {
    let same = |a: &Entry, b: &Entry| {
        a.manager == b.manager && a.operation == b.operation && a.subresource == b.subresource
    };
    let replicas = Set::of(path);
    let mut out = Vec::new();
    for entry in owner {
        if entry.fields.has_path(path) && !scale.iter().any(|s| same(s, entry)) {
            out.push(Entry { fields: entry.fields.difference(&replicas), ..entry.clone() });
        } else {
            out.push(entry.clone());
        }
    }
    for entry in scale {
        if !owner.iter().any(|o| same(o, entry) && o.fields.has_path(path)) {
            out.push(Entry {
                fields: replicas.clone(),
                api_version: api_version.to_owned(),
                ..entry.clone()
            });
        }
    }
    out
}
