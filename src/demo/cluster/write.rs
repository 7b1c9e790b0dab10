//! Every change to an object goes through here: identity, defaults, the split of spec and status, generation, checks, managers,
//! and at last the store. Called by `http` for requests and by the controllers for their own writes, under one lock.

use super::crds;
use super::kinds::{Catalogue, Resource};
use super::managers::{self, Writer};
use super::refusal::Refusal;
use super::store::{Place, Store};
use super::view;
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

/// By which verb an object is written; some refusals depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Whole,
    Patch,
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
    pub(super) via: Via,
    pub(super) unknown: Unknown,
    pub(super) warnings: Vec<String>,
}

/// A text of the object's metadata; empty when it is not there.
pub(super) fn meta_text<'v>(object: &'v Value, key: &str) -> &'v str {
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

    pub(super) fn conflict(&self, name: &str, why: &str) -> Refusal {
        Refusal::conflict(&self.resource.plural, &self.resource.group, name, why)
    }

    pub(super) fn invalid(&self, name: &str, faults: &[Fault]) -> Refusal {
        Refusal::invalid(&self.resource.kind, &self.resource.group, name, faults)
    }

    /// The stored object, in the version of the request.
    pub(super) fn live(&self, place: &Place) -> Result<Arc<Value>, Refusal> {
        let found = self.state.store.object(&self.resource.shelf, place);
        let found = found.ok_or_else(|| self.not_found(&place.1))?;
        if self.resource.stored_as == self.resource.api_version() {
            return Ok(Arc::clone(found));
        }
        Ok(Arc::new(view::whole(&self.resource, found)))
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
        let place = (namespace.to_owned(), name);
        if let Some(there) = self.state.store.object(&self.resource.shelf, &place) {
            let going = !meta_text(there, "deletionTimestamp").is_empty();
            let (plural, group) = (&self.resource.plural, &self.resource.group);
            return Err(Refusal::already_exists(plural, group, &place.1, going));
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

    /// Replaces an object (PUT); tells whether it had to be created. The body may carry a resourceVersion and a uid to be held against the stored one.
    pub(super) fn update(
        &mut self,
        place: &Place,
        mut body: Value,
        face: Face,
    ) -> Result<(Arc<Value>, bool), Refusal> {
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
                return Ok((self.create(&place.0, body, true)?, true));
            }
            Err(refusal) => return Err(refusal),
        };
        let resource = &self.resource;
        let must_say = resource.custom
            || matches!(resource.kind.as_str(), "Lease" | "CustomResourceDefinition");
        if must_say && meta_text(&body, "resourceVersion").is_empty() {
            let fault = Fault::invalid(
                "metadata.resourceVersion",
                Some(&json!(0)),
                "must be specified for an update",
            );
            return Err(Refusal::invalid(&resource.plural, &resource.group, &place.1, &[fault]));
        }
        let (wanted, uid) = (meta_text(&body, "uid"), meta_text(&live, "uid"));
        if !wanted.is_empty() && wanted != uid {
            return Err(self.other_uid(place, wanted, uid));
        }
        Ok((self.replace(place, &live, body, face, true)?, false))
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
        let revision = meta_text(&new, "resourceVersion");
        if !revision.is_empty() && revision != meta_text(live, "resourceVersion") {
            return Err(Refusal::modified(&self.resource.plural, &self.resource.group, &place.1));
        }
        Self::keep_identity(&mut new, live);
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

    /// The words of the real server's storage for a precondition that does not hold.
    pub(super) fn other_uid(&self, place: &Place, wanted: &str, uid: &str) -> Refusal {
        let group = &self.resource.group;
        let mut key = String::from("/registry");
        for part in [
            if self.resource.custom { group.as_str() } else { "" },
            &self.resource.plural,
            &place.0,
            &place.1,
        ] {
            if !part.is_empty() {
                key = format!("{key}/{part}");
            }
        }
        self.conflict(
            &place.1,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            ),
        )
    }

    /// What the server alone may say of an object stays as it is, whatever the request says. A uid that is said must be right.
    fn keep_identity(new: &mut Value, live: &Value) {
        let Some(meta) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
            new["metadata"] = live["metadata"].clone();
            return;
        };
        if meta.get("uid").is_none_or(|uid| uid.is_null() || uid == "") {
            meta.insert("uid".to_owned(), live["metadata"]["uid"].clone());
        }
        for key in [
            "name",
            "namespace",
            "generateName",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "resourceVersion",
        ] {
            match live["metadata"].get(key) {
                Some(value) => meta.insert(key.to_owned(), value.clone()),
                None => meta.shift_remove(key),
            };
        }
        if !meta.contains_key("deletionGracePeriodSeconds")
            && let Some(grace) = live["metadata"].get("deletionGracePeriodSeconds")
        {
            meta.insert("deletionGracePeriodSeconds".to_owned(), grace.clone());
        }
    }

    /// Says in a definition's status that its kinds are served, right after it was stored, as the API server itself does.
    fn establish(&mut self, definition: &Value, status: Value) {
        let mut new = definition.clone();
        new["status"] = status;
        let writer = Writer {
            manager: "kube-apiserver".to_owned(),
            api_version: self.resource.api_version(),
            subresource: "status".to_owned(),
        };
        managers::record(&self.resource.shape, definition, &mut new, false, &writer, &self.now);
        self.state.store.put(&self.resource.shelf, new);
    }

    /// Stores the object, unless this is a dry run.
    fn commit(&mut self, object: Value) -> Arc<Value> {
        if self.dry_run {
            return Arc::new(object);
        }
        let definition = self.resource.kind == "CustomResourceDefinition";
        if definition {
            crds::serve(self.state, &object);
        }
        let object = view::stored(&self.resource, object);
        let stored = self.state.store.put(&self.resource.shelf, object);
        if definition && let Some(status) = crds::established(&stored, &self.now) {
            self.establish(&stored, status);
        }
        stored
    }
}

/// Whether two states differ in nothing but the times of their managers: then there is nothing to write.
fn same_but_for_times(live: &Value, new: &Value) -> bool {
    let (Some(live_map), Some(new_map)) = (live.as_object(), new.as_object()) else { return false };
    let unmanaged = |map: &Map<String, Value>| {
        map.get("metadata")
            .and_then(Value::as_object)
            .map_or(0, |meta| meta.len() - usize::from(meta.contains_key("managedFields")))
    };
    let same_meta = unmanaged(live_map) == unmanaged(new_map)
        && live["metadata"].as_object().is_some_and(|meta| {
            meta.iter().all(|(key, value)| {
                key == "managedFields" || new["metadata"].get(key) == Some(value)
            })
        });
    let same_rest = live_map.len() == new_map.len()
        && live_map.iter().all(|(key, value)| key == "metadata" || new_map.get(key) == Some(value));
    if !same_meta || !same_rest {
        return false;
    }
    let timeless = |object: &Value| {
        let mut entries = managers::entries(object);
        for entry in &mut entries {
            entry.time = None;
        }
        entries
    };
    timeless(live) == timeless(new)
}
