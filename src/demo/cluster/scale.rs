//! The `/scale` face of workloads: a Scale object in front of the replicas field, with managers of its own. Called by `http`.
//! As on the real server, a custom resource's `/scale` takes no server-side apply that changes the number.

use super::apply::Apply;
use super::fields::Set;
use super::kinds::{Resource, ScalePaths};
use super::managers::{self, Entry, Operation, Writer};
use super::patch::{Kind, patched};
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::Place;
use super::write::{Face, Unknown, Write, meta_text};
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
fn scale_of(object: &Value, paths: &ScalePaths, custom: bool) -> Value {
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

/// The Scale object in answer to a GET. A custom resource without the replicas field has none.
pub(super) fn scale_shown(object: &Value, resource: &Resource) -> Result<Value, Refusal> {
    let paths = resource.scale.as_ref().ok_or_else(Refusal::no_such_resource)?;
    if resource.custom && object.pointer(&paths.spec).is_none() {
        let path = paths.spec.replace('/', ".");
        return Err(Refusal::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    Ok(scale_of(object, paths, resource.custom))
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

/// Where `/scale` keeps its number.
const REPLICAS: [&str; 2] = ["spec", "replicas"];

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
        let (wanted, uid) = (meta_text(body, "uid"), meta_text(&live, "uid"));
        if !wanted.is_empty() && wanted != uid {
            return Err(self.other_uid(place, wanted, uid));
        }
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
        self.check_scale(&new)?;
        if !self.resource.custom && meta_text(&new, "uid") != meta_text(&live, "uid") {
            return Err(self.other_scale(place, meta_text(&new, "uid"), meta_text(&live, "uid")));
        }
        self.put_scale(place, &live, &new)
    }

    fn other_scale(&self, place: &Place, wanted: &str, uid: &str) -> Refusal {
        let plural = format!("{}/scale", self.resource.plural);
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        );
        Refusal::conflict(&plural, &self.resource.group, &place.1, &why)
    }

    /// A patched Scale must still be one.
    fn check_scale(&self, scale: &Value) -> Result<(), Refusal> {
        let replicas = scale.pointer("/spec/replicas").unwrap_or(&Value::Null);
        let is = match replicas {
            Value::Null | Value::Number(_) => None,
            Value::String(_) => Some("string"),
            Value::Bool(_) => Some("bool"),
            Value::Array(_) => Some("array"),
            Value::Object(_) => Some("object"),
        };
        if let Some(is) = is {
            let why = format!(
                "json: cannot unmarshal {is} into Go struct field ScaleSpec.spec.replicas of type int32"
            );
            return Err(Refusal::undecodable_patch(scale, &why));
        }
        let unknown =
            scale["spec"].as_object().into_iter().flatten().find(|(name, _)| *name != "replicas");
        match unknown {
            Some((name, _)) if self.unknown == Unknown::Strict => {
                let why = format!("strict decoding error: unknown field \"spec.{name}\"");
                Err(Refusal::undecodable_patch(scale, &why))
            }
            _ => Ok(()),
        }
    }

    /// A plain write: the writer gets to own the number if it changes.
    fn put_scale(
        &mut self,
        place: &Place,
        live: &Arc<Value>,
        scale: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let paths = self.scale_paths()?;
        let mut object = self.with_scale(place, live, scale, &paths)?;
        // Go leaves a zero out of a Scale, so a plain write of zero takes the field away and nobody owns it any more.
        let number = |object: &Value| match object.pointer(&paths.spec).and_then(Value::as_i64) {
            None | Some(0) => json!({"spec": {}}),
            Some(n) => json!({"spec": {"replicas": n}}),
        };
        let owner = managers::entries(live);
        let path = names(&paths.spec);
        let mine = Entry::new(&self.scale_writer(), Operation::Update);
        let seen = in_scale(&owner, &path);
        let after = if seen.is_empty() {
            // A number that nobody owns stays nobody's until somebody applies.
            seen
        } else {
            managers::updated(&SHAPE, &number(live), &number(&object), seen, mine, &self.now)
        };
        managers::store(&mut object, to_owner(&owner, &after, &path, &self.resource.stored_as));
        self.replace(place, live, object, Face::Scale, false)
    }

    fn scale_writer(&self) -> Writer {
        Writer { api_version: "autoscaling/v1".to_owned(), ..self.writer.clone() }
    }

    /// The workload with the replicas of a Scale object, and its claim about the revision.
    fn with_scale(
        &self,
        place: &Place,
        live: &Value,
        scale: &Value,
        paths: &ScalePaths,
    ) -> Result<Value, Refusal> {
        let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
        if replicas < 0 && !self.resource.custom {
            let fault = Fault::invalid(
                "spec.replicas",
                Some(&json!(replicas)),
                "must be greater than or equal to 0",
            );
            return Err(Refusal::invalid("Scale", "autoscaling", &place.1, &[fault]));
        }
        let mut new = live.clone();
        set(&mut new, &paths.spec, json!(replicas));
        new["metadata"]["resourceVersion"] =
            scale["metadata"].get("resourceVersion").cloned().unwrap_or_default();
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
        if self.writer.manager.is_empty() {
            let fault = Fault::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid("PatchOptions", "meta.k8s.io", "", &[fault]));
        }
        let paths = self.scale_paths()?;
        let owner = managers::entries(live);
        let path = names(&paths.spec);
        let mut old = scale.clone();
        // A zero is written out here, so that applying 0 to 0 is no change.
        old["spec"]["replicas"] =
            json!(live.pointer(&paths.spec).and_then(Value::as_i64).unwrap_or_default());
        let mut seen = in_scale(&owner, &path);
        if seen.is_empty() {
            if self.resource.custom {
                return Err(Refusal::unforeseen(
                    "failed to create manager for existing fields: failed to convert live object (/; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1",
                ));
            }
            // Nobody owns the number: it counts as somebody's who came before the first apply.
            let mut writer = self.scale_writer();
            "before-first-apply".clone_into(&mut writer.manager);
            seen.push(Entry {
                fields: Set::of(&REPLICAS),
                ..Entry::new(&writer, Operation::Update)
            });
        }
        let (writer, now) = (self.scale_writer(), self.now.clone());
        let apply =
            Apply { shape: &SHAPE, writer: &writer, force, reset: Set::of(&["status"]), now: &now };
        let new = apply.run(&old, seen, config, &|_| {})?;
        let body = if new.is_null() { &old } else { &new };
        if self.resource.custom && body["spec"] != old["spec"] {
            return Err(Refusal::unforeseen(format!(
                "failed to convert new object ({}/{}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1",
                meta_text(config, "namespace"),
                meta_text(config, "name"),
            )));
        }
        let uid = meta_text(config, "uid");
        if !uid.is_empty() && uid != meta_text(live, "uid") {
            return Err(self.other_scale(place, uid, meta_text(live, "uid")));
        }
        let mut claim = body.clone();
        claim["metadata"]["resourceVersion"] =
            config["metadata"].get("resourceVersion").cloned().unwrap_or_default();
        let mut object = self.with_scale(place, live, &claim, &paths)?;
        if !new.is_null() {
            let after = managers::entries(&new);
            managers::store(&mut object, to_owner(&owner, &after, &path, &self.resource.stored_as));
        }
        self.replace(place, live, object, Face::Scale, false)
    }
}

/// The managers of the number, as managers of the Scale object.
fn in_scale(owner: &[Entry], path: &[&str]) -> Vec<Entry> {
    let holds = owner.iter().filter(|entry| entry.fields.has_path(path));
    let seen = holds.map(|entry| Entry {
        fields: Set::of(&REPLICAS),
        api_version: "autoscaling/v1".to_owned(),
        ..entry.clone()
    });
    seen.collect()
}

/// The workload's managers after a write to its Scale object: whoever lost the number there loses it here, whoever got it gets an
/// entry without a time. As on the real server, a plain writer is not recognized across the two: his number moves to a new entry.
fn to_owner(owner: &[Entry], scale: &[Entry], path: &[&str], api_version: &str) -> Vec<Entry> {
    let number = Set::of(path);
    let mut scale: Vec<&Entry> = scale.iter().collect();
    let mut out = Vec::new();
    for entry in owner {
        let kept = scale.iter().position(|s| s.is_of(entry));
        match kept {
            _ if !entry.fields.has_path(path) => out.push(entry.clone()),
            Some(i) => {
                scale.remove(i);
                out.push(entry.clone());
            }
            None => out.push(Entry { fields: entry.fields.difference(&number), ..entry.clone() }),
        }
    }
    for entry in scale {
        out.push(Entry {
            fields: number.clone(),
            api_version: api_version.to_owned(),
            time: None,
            ..entry.clone()
        });
    }
    out
}
