//! Every change to an object goes through here: identity, defaults, the split of spec and status, generation, checks, managers,
//! and at last the store. Called by `http` for requests and by the controllers for their own writes, under one lock.

use super::crds;
use super::kinds::{Catalogue, Resource};
use super::managers::{self, Writer, bare};
use super::refusal::Refusal;
use super::rules;
use super::store::{Place, Store};
use crate::crd::schema::{Fault, Node};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Everything the API holds.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) kinds: Catalogue,
    /// The shape of `metadata`, for custom kinds.
    pub(super) metadata: Arc<Node>,
    /// Draws uids and name endings.
    pub(super) lots: fastrand::Rng,
}

/// What unknown fields lead to (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unknown {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Which face of the object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    Main,
    Status,
    Scale,
}

/// One write in progress.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) state: &'a mut State,
    pub(super) resource: Arc<Resource>,
    pub(super) writer: Writer,
    /// RFC 3339, whole seconds.
    pub(super) now: String,
    pub(super) dry_run: bool,
    pub(super) unknown: Unknown,
    pub(super) warnings: Vec<String>,
}

/// What a delete asks for.
#[derive(Debug, Default, Clone)]
pub(super) struct Deletion {
    pub(super) uid: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) orphan: bool,
    pub(super) grace: Option<u64>,
}

/// What became of a delete.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is gone; this was its last state.
    Gone(Arc<Value>),
    /// It waits for finalizers or for its pod to stop.
    Going(Arc<Value>),
}

fn meta_text<'v>(object: &'v Value, key: &str) -> &'v str {
    object
        .get("metadata")
        .and_then(|meta| meta.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A fresh uid.
pub(super) fn uid(lots: &mut fastrand::Rng) -> String {
    let n = lots.u128(..);
    let hex = format!("{n:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// Five letters that make no words, as generated names end in.
pub(super) fn suffix(lots: &mut fastrand::Rng) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[lots.usize(..LETTERS.len())])).collect()
}

impl Write<'_> {
    pub(super) fn not_found(&self, name: &str) -> Refusal {
        Refusal::not_found(&self.resource.plural, &self.resource.group, name)
    }

    fn conflict(&self, name: &str, why: &str) -> Refusal {
        Refusal::conflict(&self.resource.plural, &self.resource.group, name, why)
    }

    pub(super) fn invalid(&self, name: &str, faults: &[Fault]) -> Refusal {
        Refusal::invalid(&self.resource.kind, &self.resource.group, name, faults)
    }

    /// The stored object.
    pub(super) fn live(&self, place: &Place) -> Result<Arc<Value>, Refusal> {
        let found = self.state.store.object(&self.resource.shelf, place);
        found.cloned().ok_or_else(|| self.not_found(&place.1))
    }

    /// Creates an object in a namespace (empty for cluster-wide kinds). With `record`, the writer gets to own it all; else the object
    /// says who owns what: it is the outcome of an apply.
    pub(super) fn create(
        &mut self,
        namespace: &str,
        mut object: Value,
        record: bool,
    ) -> Result<Arc<Value>, Refusal> {
        if object.pointer("/metadata/resourceVersion").is_some_and(|r| !r.is_null() && r != "") {
            return Err(Refusal::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.identify(&mut object, namespace)?;
        let name = meta_text(&object, "name").to_owned();
        if self.resource.namespaced
            && self
                .state
                .store
                .object("namespaces", &(String::new(), namespace.to_owned()))
                .is_none()
        {
            return Err(Refusal::not_found("namespaces", "", namespace));
        }
        if self
            .state
            .store
            .object(&self.resource.shelf, &(namespace.to_owned(), name.clone()))
            .is_some()
        {
            return Err(Refusal::already_exists(
                &self.resource.plural,
                &self.resource.group,
                &name,
            ));
        }
        let object = self.admit(object, None, Face::Main, record)?;
        Ok(self.commit(object))
    }

    /// Gives a new object what only the server can give, and checks what the request says about its identity.
    fn identify(&mut self, object: &mut Value, namespace: &str) -> Result<(), Refusal> {
        let Some(map) = object.as_object_mut() else {
            return Err(Refusal::bad_request(
                "the object provided is unrecognized (must be of type Object)",
            ));
        };
        let meta = map.entry("metadata").or_insert_with(|| json!({}));
        let Some(meta) = meta.as_object_mut() else {
            return Err(Refusal::bad_request("metadata must be an object"));
        };
        let text = |meta: &Map<String, Value>, key: &str| {
            meta.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (given, stem, place) =
            (text(meta, "name"), text(meta, "generateName"), text(meta, "namespace"));
        if !place.is_empty() && place != namespace {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if given.is_empty() && !stem.is_empty() {
            let generated = format!(
                "{}{}",
                stem.get(..stem.len().min(58)).unwrap_or(&stem),
                suffix(&mut self.state.lots)
            );
            meta.insert("name".to_owned(), json!(generated));
        }
        if namespace.is_empty() {
            meta.shift_remove("namespace");
        } else {
            meta.insert("namespace".to_owned(), json!(namespace));
        }
        meta.insert("uid".to_owned(), json!(uid(&mut self.state.lots)));
        meta.insert("creationTimestamp".to_owned(), json!(self.now));
        for key in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
            "resourceVersion",
        ] {
            meta.shift_remove(key);
        }
        Ok(())
    }

    /// Replaces an object (PUT). The body may carry a resourceVersion and a uid to be held against the stored one.
    pub(super) fn update(
        &mut self,
        place: &Place,
        mut body: Value,
        face: Face,
    ) -> Result<Arc<Value>, Refusal> {
        let name = meta_text(&body, "name").to_owned();
        if name.is_empty() {
            body["metadata"]["name"] = json!(place.1);
        } else if name != place.1 {
            let message = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                place.1
            );
            return Err(Refusal::bad_request(message));
        }
        let live = match self.live(place) {
            Ok(live) => live,
            // Leases and events may be created by a PUT.
            Err(_)
                if face == Face::Main
                    && matches!(self.resource.kind.as_str(), "Lease" | "Event") =>
            {
                return self.create(&place.0, body, true);
            }
            Err(refusal) => return Err(refusal),
        };
        if meta_text(&body, "resourceVersion").is_empty()
            && (self.resource.custom
                || matches!(self.resource.kind.as_str(), "Lease" | "CustomResourceDefinition"))
        {
            let fault = Fault::invalid(
                "metadata.resourceVersion",
                Some(&json!(0)),
                "must be specified for an update",
            );
            return Err(self.invalid(&place.1, &[fault]));
        }
        self.replace(place, &live, body, face, true)
    }

    /// Puts `new` in the place of `live`. With `record`, the writer gets to own what changes; else `new` says who owns what.
    pub(super) fn replace(
        &mut self,
        place: &Place,
        live: &Arc<Value>,
        mut new: Value,
        face: Face,
        record: bool,
    ) -> Result<Arc<Value>, Refusal> {
        let wanted = meta_text(&new, "uid");
        let uid = meta_text(live, "uid");
        if !wanted.is_empty() && wanted != uid {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            );
            return Err(self.conflict(&place.1, &why));
        }
        let revision = meta_text(&new, "resourceVersion");
        if !revision.is_empty() && revision != meta_text(live, "resourceVersion") {
            return Err(Refusal::modified(&self.resource.plural, &self.resource.group, &place.1));
        }
        self.keep_identity(&mut new, live);
        let object = self.admit(new, Some(live), face, record)?;
        if same_but_for_times(live, &object) {
            return Ok(Arc::clone(live));
        }
        let ended = !meta_text(&object, "deletionTimestamp").is_empty()
            && object
                .pointer("/metadata/finalizers")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty)
            && object
                .pointer("/metadata/deletionGracePeriodSeconds")
                .is_none_or(|grace| grace == 0);
        let object = self.commit(object);
        if ended && !self.dry_run {
            self.remove(place);
        }
        Ok(object)
    }

    fn keep_identity(&self, new: &mut Value, live: &Value) {
        let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
            new["metadata"] = live["metadata"].clone();
            return;
        };
        let keys = [
            "name",
            "namespace",
            "generateName",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ];
        for key in keys {
            match live["metadata"].get(key) {
                Some(value) => meta.insert(key.to_owned(), value.clone()),
                None => meta.shift_remove(key),
            };
        }
    }

    /// Makes an object fit to be stored, or says why it is not.
    fn admit(
        &mut self,
        mut new: Value,
        live: Option<&Arc<Value>>,
        face: Face,
        record: bool,
    ) -> Result<Value, Refusal> {
        let resource = Arc::clone(&self.resource);
        self.check_type(&new)?;
        let name = meta_text(&new, "name").to_owned();
        new["apiVersion"] = json!(resource.stored_as);
        new["kind"] = json!(resource.kind);
        self.shape(&mut new, &resource)?;
        match live {
            None => begin(&resource, &mut new),
            Some(live) => separate(&resource, &mut new, live, face),
        }
        if let Some(fill) = resource.fill {
            fill(&mut new);
        }
        if let Some(live) = live {
            count_generation(&resource, &mut new, live);
        }
        let mut faults = rules::metadata(&resource, &new, live.map(AsRef::as_ref));
        if resource.custom {
            if let Some(schema) = &resource.schema {
                faults.extend(schema.faults(&new, live.map(AsRef::as_ref)));
            }
        } else {
            faults.extend(rules::built_in(&resource, &new, live.map(AsRef::as_ref)));
        }
        if !faults.is_empty() {
            return Err(self.invalid(&name, &faults));
        }
        if record {
            let skeleton = rules::skeleton(&resource);
            let (before, is_new) = live.map_or((&skeleton, true), |live| (live.as_ref(), false));
            managers::record(&resource.shape, before, &mut new, is_new, &self.writer, &self.now);
        }
        Ok(new)
    }

    fn check_type(&self, object: &Value) -> Result<(), Refusal> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let expected = self.resource.api_version();
        if !version.is_empty() && version != expected && version != self.resource.stored_as {
            let message = format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            );
            return Err(Refusal::bad_request(message));
        }
        if !kind.is_empty() && kind != self.resource.kind {
            let (own, served) = (&self.resource.kind, &self.resource.version);
            let message = format!(
                "{kind} in version {served:?} cannot be handled as a {own}: converting ({kind}) to ({own}): unknown conversion"
            );
            return Err(Refusal::bad_request(message));
        }
        Ok(())
    }

    /// Removes unknown fields, fills in the schema's defaults, and refuses wrong JSON types of built-in kinds.
    fn shape(&mut self, new: &mut Value, resource: &Resource) -> Result<(), Refusal> {
        let Some(schema) = &resource.schema else { return Ok(()) };
        let unknown = if resource.custom {
            schema.fill(new)
        } else {
            let mut whole = new.clone();
            let unknown = schema.fill(&mut whole);
            if let Some(fault) = schema.type_faults(&whole).first() {
                let message = format!(
                    "{} in version {:?} cannot be handled as a {}: {fault}",
                    resource.kind, resource.version, resource.kind
                );
                return Err(Refusal::bad_request(message));
            }
            *new = whole;
            unknown
        };
        let texts: Vec<String> =
            unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        match self.unknown {
            Unknown::Strict if !texts.is_empty() => {
                Err(Refusal::bad_request(format!("strict decoding error: {}", texts.join(", "))))
            }
            Unknown::Warn => {
                self.warnings.extend(texts);
                Ok(())
            }
            Unknown::Strict | Unknown::Ignore => Ok(()),
        }
    }

    /// Stores the object, unless this is a dry run.
    fn commit(&mut self, object: Value) -> Arc<Value> {
        if self.dry_run {
            return Arc::new(object);
        }
        let object = if self.resource.kind == "CustomResourceDefinition" {
            crds::adopt(self.state, object, &self.now)
        } else {
            object
        };
        self.state.store.put(&self.resource.shelf, object)
    }

    /// Deletes an object, at once or when its finalizers and its grace are through.
    pub(super) fn delete(&mut self, place: &Place, how: &Deletion) -> Result<Deleted, Refusal> {
        let live = self.live(place)?;
        let uid = meta_text(&live, "uid");
        if let Some(wanted) = how.uid.as_deref().filter(|wanted| *wanted != uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            );
            return Err(self.conflict(&place.1, &why));
        }
        let revision = meta_text(&live, "resourceVersion");
        if let Some(wanted) = how.revision.as_deref().filter(|wanted| *wanted != revision) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {revision}"
            );
            return Err(self.conflict(&place.1, &why));
        }
        if self.dry_run {
            return Ok(Deleted::Gone(live));
        }
        if how.orphan {
            self.orphan(uid);
        }
        let has_finalizers = live
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        let grace =
            if self.resource.kind == "Pod" { how.grace.unwrap_or(rules::grace(&live)) } else { 0 };
        if !has_finalizers && grace == 0 {
            let last = self.remove(place).ok_or_else(|| self.not_found(&place.1))?;
            return Ok(Deleted::Gone(last));
        }
        if !meta_text(&live, "deletionTimestamp").is_empty() {
            return Ok(Deleted::Going(live));
        }
        let mut going = Value::clone(&live);
        going["metadata"]["deletionTimestamp"] = json!(self.now);
        going["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        if let Some(generation) = going.pointer("/metadata/generation").and_then(Value::as_i64) {
            going["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(Deleted::Going(self.state.store.put(&self.resource.shelf, going)))
    }

    /// Takes an object out for good, and what goes with it: the objects of a namespace, the kind of a CRD.
    pub(super) fn remove(&mut self, place: &Place) -> Option<Arc<Value>> {
        if self.resource.kind == "CustomResourceDefinition" {
            crds::retire(self.state, place);
        }
        let last = self.state.store.take(&self.resource.shelf, place)?;
        if self.resource.kind == "Namespace" {
            let inside: Vec<(String, Place)> = self
                .state
                .store
                .shelves()
                .flat_map(|(key, shelf)| {
                    shelf
                        .objects
                        .keys()
                        .filter(|p| p.0 == place.1)
                        .map(|p| (key.clone(), p.clone()))
                })
                .collect();
            for (key, place) in inside {
                self.state.store.take(&key, &place);
            }
        }
        Some(last)
    }

    fn orphan(&mut self, uid: &str) {
        for (key, place) in self.state.store.owned_by(uid) {
            let Some(object) = self.state.store.object(&key, &place) else { continue };
            let mut object = Value::clone(object);
            if let Some(owners) =
                object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut)
            {
                owners.retain(|owner| owner["uid"] != uid);
            }
            self.state.store.put(&key, object);
        }
    }
}

/// What a new object may not bring along: a status, where that has a door of its own.
fn begin(resource: &Resource, new: &mut Value) {
    if resource.custom {
        if resource.has_status
            && let Some(map) = new.as_object_mut()
        {
            map.shift_remove("status");
        }
    } else if resource.has_status && resource.kind != "CustomResourceDefinition" {
        new["status"] = json!({});
    }
    if resource.counts_generations {
        new["metadata"]["generation"] = json!(1);
    }
}

/// A write to one face leaves the others as they were.
fn separate(resource: &Resource, new: &mut Value, live: &Value, face: Face) {
    match face {
        Face::Main if resource.has_status => match live.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => {
                if let Some(map) = new.as_object_mut() {
                    map.shift_remove("status");
                }
            }
        },
        Face::Main | Face::Scale => {}
        Face::Status => {
            let status = new.get("status").cloned();
            let managed = new.pointer("/metadata/managedFields").cloned();
            let mut whole = live.clone();
            match status {
                Some(status) => whole["status"] = status,
                None => {
                    if let Some(map) = whole.as_object_mut() {
                        map.shift_remove("status");
                    }
                }
            }
            if let Some(managed) = managed {
                whole["metadata"]["managedFields"] = managed;
            }
            *new = whole;
        }
    }
}

/// A changed spec is a new generation. For custom kinds everything but metadata (and a status with a door of its own) counts.
fn count_generation(resource: &Resource, new: &mut Value, live: &Value) {
    if !resource.counts_generations {
        return;
    }
    let content = |object: &Value| {
        let map = object.as_object().cloned().unwrap_or_default();
        let counts = |key: &str| {
            if resource.custom {
                key != "metadata" && !(resource.has_status && key == "status")
            } else {
                key == "spec"
            }
        };
        map.into_iter().filter(|(key, _)| counts(key)).collect::<Map<_, _>>()
    };
    let annotations = |object: &Value| object.pointer("/metadata/annotations").cloned();
    let noted = resource.kind == "Deployment" && annotations(new) != annotations(live);
    if noted || content(new) != content(live) {
        let generation =
            live.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        new["metadata"]["generation"] = json!(generation + 1);
    }
}

/// Whether two states differ in nothing but the times of their managers: then there is nothing to write.
fn same_but_for_times(live: &Value, new: &Value) -> bool {
    if bare(live) != bare(new) {
        return false;
    }
    let timeless = |object: &Value| {
        let mut entries = managers::entries(object);
        for entry in &mut entries {
            entry.time = None;
        }
        entries.sort_by(|a, b| {
            (a.operation, &a.manager, &a.api_version, &a.subresource).cmp(&(
                b.operation,
                &b.manager,
                &b.api_version,
                &b.subresource,
            ))
        });
        entries
    };
    timeless(live) == timeless(new)
}
