//! What an object goes through before it is stored: pruning, defaults, the split of spec and status, generation, checks, managers.
//! Called by `write` for every create and replace.

use super::defaults;
use super::kinds::Resource;
use super::managers;
use super::refusal::Refusal;
use super::rules;
use super::write::{Face, Unknown, Via, Write, meta_text};
use crate::crd::schema::Fault;
use serde_json::{Map, Value, json};
use std::sync::Arc;

impl Write<'_> {
    /// Makes an object fit to be stored, or says why it is not.
    pub(super) fn admit(
        &mut self,
        mut new: Value,
        live: Option<&Arc<Value>>,
        face: Face,
        record: bool,
    ) -> Result<Value, Refusal> {
        let resource = Arc::clone(&self.resource);
        let live = live.map(AsRef::as_ref);
        self.check_type(&new)?;
        let name = meta_text(&new, "name").to_owned();
        new["apiVersion"] = json!(resource.api_version());
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
        let faults = faults(&resource, &new, live, face);
        if !faults.is_empty() {
            return Err(self.invalid(&name, &faults));
        }
        if record {
            let skeleton = rules::skeleton(&resource);
            let (before, is_new) = live.map_or((&skeleton, true), |live| (live, false));
            // A status with a door of its own cannot be written here: what stands there is the server's.
            let apart = face == Face::Main && resource.has_status;
            let (mut before, held) =
                (before.clone(), if apart { take_status(&mut new) } else { None });
            if apart {
                take_status(&mut before);
            }
            managers::record(&resource.shape, &before, &mut new, is_new, &self.writer, &self.now);
            if let Some(held) = held {
                new["status"] = held;
            }
        }
        if live.is_none() && resource.kind == "Job" {
            defaults::job_labels(&mut new);
        }
        Ok(new)
    }

    fn check_type(&self, object: &Value) -> Result<(), Refusal> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let resource = &self.resource;
        let (own, expected) = (&resource.kind, resource.api_version());
        if !kind.is_empty() && kind != own {
            if resource.custom {
                let fault = Fault::invalid("kind", Some(&json!(kind)), &format!("must be {own}"));
                return Err(Refusal::invalid(
                    kind,
                    &resource.group,
                    meta_text(object, "name"),
                    &[fault],
                ));
            }
            let short = version.rsplit('/').next().unwrap_or_default();
            let message = format!(
                "{kind} in version {short:?} cannot be handled as a {own}: converting ({short}.{kind}) to ({}.{own}): unknown conversion",
                resource.group
            );
            return Err(Refusal::bad_request(message));
        }
        if !version.is_empty() && version != expected && version != resource.stored_as {
            let message = format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            );
            return Err(Refusal::bad_request(message));
        }
        Ok(())
    }

    /// Removes unknown fields, fills in the schema's defaults, and refuses wrong JSON types of built-in kinds.
    fn shape(&mut self, new: &mut Value, resource: &Resource) -> Result<(), Refusal> {
        let Some(schema) = &resource.schema else { return Ok(()) };
        let sent = (self.via == Via::Patch).then(|| new.clone());
        let unknown = schema.fill(new);
        if !resource.custom {
            defaults::omit_empty(schema.root(), new);
        }
        let mut refused = None;
        if !resource.custom {
            refused = schema
                .type_faults(new)
                .first()
                .map(|fault| format!("json: cannot unmarshal: {fault}"));
        }
        let texts: Vec<String> =
            unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        if self.unknown == Unknown::Strict && !texts.is_empty() {
            refused.get_or_insert_with(|| format!("strict decoding error: {}", texts.join(", ")));
        }
        match (refused, sent) {
            (Some(why), Some(sent)) => return Err(Refusal::undecodable_patch(&sent, &why)),
            (Some(why), None) => {
                let (kind, version) = (&resource.kind, &resource.version);
                let message =
                    format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
                return Err(Refusal::bad_request(message));
            }
            (None, _) => {}
        }
        if self.unknown == Unknown::Warn {
            self.warnings.extend(texts);
        }
        Ok(())
    }
}

/// All that is wrong with an object, in the order in which the API server looks.
fn faults(resource: &Resource, new: &Value, live: Option<&Value>, face: Face) -> Vec<Fault> {
    let mut faults = rules::metadata(new, live);
    if !resource.custom {
        faults.extend(rules::built_in(resource, new, live));
        return faults;
    }
    let Some(schema) = &resource.schema else { return faults };
    if face == Face::Status {
        faults.extend(schema.status_faults(new, live));
    } else {
        faults.extend(schema.body_faults(new, live));
        faults.extend(resource.scale.iter().filter_map(|scale| rules::count(new, &scale.spec)));
    }
    faults.extend(resource.scale.iter().filter_map(|scale| rules::count(new, &scale.status)));
    schema.finish_faults(new, live, &mut faults);
    faults
}

fn take_status(object: &mut Value) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.shift_remove("status"))
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
