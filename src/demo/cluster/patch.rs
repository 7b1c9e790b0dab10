//! PATCH in its four kinds: JSON patch, merge patch, strategic merge patch, server-side apply. Called by `http`; what a patched object
//! then goes through is `write`'s.

use super::apply::{Apply, managers_of};
use super::fields::Set;
use super::refusal::Refusal;
use super::store::Place;
use super::strategic;
use super::typed;
use super::write::{Face, Via, Write};
use serde_json::Value;
use std::sync::Arc;

/// The kinds of patch, by content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Kind {
    /// The kind that a content type names. Custom resources know no strategic merge patch.
    pub(super) fn of(content_type: &str, custom: bool) -> Result<Self, Refusal> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            "application/strategic-merge-patch+json" => {
                let list = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                Err(Refusal::unsupported_media(list))
            }
            _ => Err(Refusal::unknown_patch()),
        }
    }
}

/// `target` after a JSON, merge or strategic merge patch.
pub(super) fn patched(
    kind: Kind,
    shape: Option<&crate::crd::schema::Node>,
    target: &Value,
    patch: &Value,
) -> Result<Value, Refusal> {
    let mut out = target.clone();
    match kind {
        Kind::Json => {
            let steps: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|e| Refusal::bad_request(format!("error decoding patch: {e}")))?;
            json_patch::patch(&mut out, &steps).map_err(|_| Refusal::refused_patch())?;
        }
        Kind::Merge => json_patch::merge(&mut out, patch),
        Kind::Strategic => out = strategic::merge(shape, target, patch),
        Kind::Apply => return Err(Refusal::unforeseen("apply is no plain patch")),
    }
    Ok(out)
}

impl Write<'_> {
    /// Patches an object; `force` is apply's. An apply to what is not there creates it.
    pub(super) fn patch(
        &mut self,
        place: &Place,
        kind: Kind,
        patch: &Value,
        face: Face,
        force: bool,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        if kind == Kind::Apply {
            return self.apply(place, patch, face, force);
        }
        self.via = Via::Patch;
        let live = self.live(place)?;
        let shape = Arc::clone(&self.resource.shape);
        let mut new = patched(kind, Some(&shape), &live, patch)?;
        // A patch that says nothing of the revision is tried on whatever is there.
        if patch.pointer("/metadata/resourceVersion").is_none() && kind != Kind::Json {
            new["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        if new["metadata"]["name"] != live["metadata"]["name"] {
            let named = new["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let message = format!(
                "the name of the object ({named}) does not match the name on the URL ({})",
                place.1
            );
            return Err(Refusal::bad_request(message));
        }
        Ok((self.replace(place, &live, new, face, true)?, false))
    }

    fn apply(
        &mut self,
        place: &Place,
        config: &Value,
        face: Face,
        force: bool,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        if self.writer.manager.is_empty() {
            let fault =
                crate::crd::schema::Fault::required("fieldManager", "is required for apply patch");
            return Err(Refusal::invalid("PatchOptions", "meta.k8s.io", "", &[fault]));
        }
        self.check_config(place, config)?;
        let resource = Arc::clone(&self.resource);
        let misfits = typed::misfits(&resource.shape, config);
        if !misfits.is_empty() {
            let said = |key: &str| config["metadata"][key].as_str().unwrap_or_default().to_owned();
            let why = if let [only] = &misfits[..] {
                only.clone()
            } else {
                format!("errors:\n  {}", misfits.join("\n  "))
            };
            return Err(Refusal::unforeseen(format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): {why}",
                said("namespace"),
                said("name"),
                resource.api_version(),
                resource.kind
            )));
        }
        let reset = match face {
            Face::Main if resource.has_status => Set::of(&["status"]),
            Face::Main | Face::Scale => Set::default(),
            Face::Status => Set::of(&["spec"]).union(&Set::of(&["metadata"])),
        };
        let writer = self.writer.clone();
        let now = self.now.clone();
        let apply = Apply { shape: &resource.shape, writer: &writer, force, reset, now: &now };
        let finish = |object: &mut Value| {
            if let Some(schema) = &resource.schema {
                crate::crd::schema::fill_defaults(schema.root(), object);
            }
            if let Some(fill) = resource.fill {
                fill(object);
            }
        };
        let found = self.state.store.object(&resource.shelf, place).cloned();
        let Some(live) = found else {
            if face != Face::Main {
                return Err(self.not_found(&place.1));
            }
            let uid = config.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
            if !uid.is_empty() {
                return Err(Refusal::conflict(
                    &resource.plural,
                    &resource.group,
                    &place.1,
                    &format!(
                        "Precondition failed: UID in precondition: {uid}, UID in object meta: "
                    ),
                ));
            }
            let empty = super::rules::skeleton(&resource);
            let object = apply.run(&empty, Vec::new(), config, &|_| {})?;
            return Ok((self.create(&place.0, object, false)?, true));
        };
        let managers = managers_of(&resource.shape, &live, &resource.stored_as);
        let new = apply.run(&live, managers, config, &finish)?;
        if new.is_null() {
            // Nothing changes; a stated revision or uid must hold all the same.
            let mut same = Value::clone(&live);
            for key in ["resourceVersion", "uid"] {
                if let Some(said) = config.pointer(&format!("/metadata/{key}")) {
                    same["metadata"][key] = said.clone();
                }
            }
            return Ok((self.replace(place, &live, same, face, false)?, false));
        }
        Ok((self.replace(place, &live, new, face, false)?, false))
    }

    fn check_config(&self, place: &Place, config: &Value) -> Result<(), Refusal> {
        let text =
            |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if config.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        if version != self.resource.api_version() || kind != self.resource.kind {
            let version = if version.is_empty() { "/" } else { version };
            return Err(Refusal::bad_request(format!(
                "invalid object type: {version}, Kind={kind}"
            )));
        }
        let name = text("/metadata/name");
        if !name.is_empty() && name != place.1 {
            let message = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                place.1
            );
            return Err(Refusal::bad_request(message));
        }
        let namespace = text("/metadata/namespace");
        if !namespace.is_empty() && namespace != place.0 {
            return Err(Refusal::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(())
    }
}
