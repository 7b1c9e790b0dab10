//! DELETE: preconditions, finalizers, grace, orphans. Called by `http` for requests and by the controllers.

use super::crds;
use super::refusal::Refusal;
use super::rules;
use super::store::Place;
use super::write::{Write, meta_text};
use serde_json::{Value, json};
use std::sync::Arc;

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

impl Write<'_> {
    /// Deletes an object, at once or when its finalizers and its grace are through.
    pub(super) fn delete(&mut self, place: &Place, how: &Deletion) -> Result<Deleted, Refusal> {
        let live = self.live(place)?;
        let uid = meta_text(&live, "uid");
        let refuse = |why: String| {
            Err(Refusal::conflict(&self.resource.kind, &self.resource.group, &place.1, &why))
        };
        if let Some(wanted) = how.uid.as_deref().filter(|wanted| *wanted != uid) {
            return refuse(format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ));
        }
        let revision = meta_text(&live, "resourceVersion");
        if let Some(wanted) = how.revision.as_deref().filter(|wanted| *wanted != revision) {
            return refuse(format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
            ));
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
        let grace = if self.resource.kind == "Pod" {
            how.grace.unwrap_or_else(|| rules::grace(&live))
        } else {
            0
        };
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
