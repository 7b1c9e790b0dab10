//! What the parameters of a trigger hold, as far as the files tell: plain text, a key of a Secret, or nothing that is known here. KEDA
//! looks these up in the cluster; this command looks into the files it was given and nowhere else.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;

use super::keda::{Authentication, Environment, plain};
use crate::crd::login::SecretRef;

/// What a parameter holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// This text.
    Text(String),
    /// What stands in a Secret of this namespace.
    Secret(String, SecretRef),
    /// Nobody knows here, for this reason, with what to do.
    Unknown(String),
}

/// One parameter of a trigger: where it was written, and what it holds.
#[derive(Debug, Clone)]
pub(super) struct Param {
    pub(super) path: String,
    pub(super) given: Given,
}

/// An object by namespace and name.
type Name = (String, String);

/// Everything in the files that KEDA's objects may refer to.
#[derive(Debug, Default)]
pub(super) struct World {
    secrets: BTreeMap<Name, BTreeMap<String, String>>,
    config_maps: BTreeMap<Name, BTreeMap<String, String>>,
    /// Pod specs by namespace, kind and name.
    pods: BTreeMap<(String, String, String), Value>,
    /// Authentications; those of the cluster have an empty namespace.
    authentications: BTreeMap<Name, Authentication>,
    /// Where `ClusterTriggerAuthentication`s have their Secrets.
    pub(super) keda_namespace: String,
}

/// Whose environment is read: the pod, the container, and what to call them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: Option<&'a Value>,
    pub(super) container: Option<&'a str>,
    pub(super) title: &'a str,
}

/// A text of a manifest; empty when it is not there.
pub(super) fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The namespace that an object lies in.
pub(super) fn namespace(document: &Value) -> &str {
    let written = text(document, "/metadata/namespace");
    if written.is_empty() { "default" } else { written }
}

impl World {
    /// Collects what is there.
    pub(super) fn of(documents: &[Value], keda_namespace: &str) -> Self {
        let mut world = Self { keda_namespace: keda_namespace.to_owned(), ..Self::default() };
        for document in documents {
            world.note(document);
        }
        world
    }

    fn note(&mut self, document: &Value) {
        let (kind, name) = (text(document, "/kind"), text(document, "/metadata/name").to_owned());
        let namespace = namespace(document).to_owned();
        let api_version = text(document, "/apiVersion");
        match kind {
            "Secret" if api_version == "v1" => {
                self.secrets.insert((namespace, name), secret(document));
            }
            "ConfigMap" if api_version == "v1" => {
                let data = texts(document.get("data"));
                self.config_maps.insert((namespace, name), data);
            }
            "TriggerAuthentication" | "ClusterTriggerAuthentication" => {
                let spec = document.get("spec").cloned().unwrap_or_default();
                let scope = if kind == "TriggerAuthentication" { namespace } else { String::new() };
                if let Ok(read) = serde_json::from_value(spec) {
                    self.authentications.insert((scope, name), read);
                }
            }
            kind => {
                if let Some(pod) = document.pointer("/spec/template/spec") {
                    self.pods.insert((namespace, kind.to_owned(), name), pod.clone());
                }
            }
        }
    }

    /// The pods of a workload.
    pub(super) fn pod(&self, namespace: &str, kind: &str, name: &str) -> Option<&Value> {
        self.pods.get(&(namespace.to_owned(), kind.to_owned(), name.to_owned()))
    }

    /// An authentication; of the cluster when the namespace is empty.
    pub(super) fn authentication(&self, namespace: &str, name: &str) -> Option<&Authentication> {
        self.authentications.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// What a key of a Secret says, if the Secret is among the files.
    pub(super) fn read(&self, namespace: &str, secret: &SecretRef) -> Option<&String> {
        self.secrets.get(&(namespace.to_owned(), secret.name.clone()))?.get(&secret.key)
    }

    /// All parameters that an authentication gives, by name.
    pub(super) fn parameters(
        &self,
        (title, read): (&str, &Authentication),
        secret_namespace: &str,
        around: Surroundings<'_>,
    ) -> Vec<(String, Param)> {
        let mut all = Vec::new();
        for it in &read.secret_target_ref {
            let secret = SecretRef { name: it.name.clone(), key: it.key.clone() };
            let given = Given::Secret(secret_namespace.to_owned(), secret);
            all.push((it.parameter.clone(), "secretTargetRef", given));
        }
        for it in &read.config_map_target_ref {
            let given = self.of_config_map(secret_namespace, &it.name, &it.key);
            all.push((it.parameter.clone(), "configMapTargetRef", given));
        }
        for it in &read.env {
            let Environment { parameter, name, container_name } = it;
            let container = container_name.as_deref().or(around.container);
            let given = self.variable(Surroundings { container, ..around }, name);
            all.push((parameter.clone(), "env", given));
        }
        for (field, value) in &read.rest {
            for parameter in parameters_within(value) {
                let given = Given::Unknown(format!(
                    "comes from {field}: Penstock reads Secrets only, so let External Secrets, a CSI driver or the like bring it into one"
                ));
                all.push((parameter, field.as_str(), given));
            }
        }
        let param = |(parameter, list, given): (String, &str, Given)| {
            let path = format!("{title} spec.{list}[{parameter}]");
            (parameter, Param { path, given })
        };
        all.into_iter().map(param).collect()
    }

    fn of_config_map(&self, namespace: &str, name: &str, key: &str) -> Given {
        let map = self.config_maps.get(&(namespace.to_owned(), name.to_owned()));
        map.and_then(|map| map.get(key)).map_or_else(
            || {
                Given::Unknown(format!(
                    "stands in ConfigMap {namespace}/{name} (key {key}), which is not among the files: give it too"
                ))
            },
            |text| Given::Text(text.clone()),
        )
    }

    /// What a variable of a container's environment holds.
    pub(super) fn variable(&self, around: Surroundings<'_>, name: &str) -> Given {
        let Surroundings { namespace, pod, container, title } = around;
        let unknown = |why: &str| {
            Given::Unknown(format!(
                "is what variable {name} of {title} holds, {why}: write the value, or the Secret that it comes from, in its place"
            ))
        };
        let Some(pod) = pod else { return unknown("whose manifest is not among the files") };
        let all = pod.get("containers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let chosen = match container {
            Some(named) => all.iter().find(|it| text(it, "/name") == named),
            None => all.first(),
        };
        let Some(chosen) = chosen else { return unknown("which has no such container") };
        let variables = chosen.get("env").and_then(Value::as_array);
        if let Some(found) = variables.into_iter().flatten().find(|it| text(it, "/name") == name) {
            return self.of_variable(namespace, found).unwrap_or_else(|| {
                unknown("which comes from somewhere that only a running pod knows")
            });
        }
        let lists = chosen.get("envFrom").and_then(Value::as_array);
        let found =
            lists.into_iter().flatten().rev().find_map(|it| self.of_list(namespace, it, name));
        found.unwrap_or_else(|| unknown("which its manifest does not say"))
    }

    fn of_variable(&self, namespace: &str, written: &Value) -> Option<Given> {
        if let Some(value) = written.get("value") {
            let value = plain(value);
            return (!value.contains("$(")).then_some(Given::Text(value));
        }
        let from = written.get("valueFrom")?;
        if let Some(secret) = from.get("secretKeyRef") {
            let (name, key) = (text(secret, "/name").to_owned(), text(secret, "/key").to_owned());
            return Some(Given::Secret(namespace.to_owned(), SecretRef { name, key }));
        }
        let map = from.get("configMapKeyRef")?;
        Some(self.of_config_map(namespace, text(map, "/name"), text(map, "/key")))
    }

    /// A variable out of a whole Secret or `ConfigMap`, if that is among the files and has it.
    fn of_list(&self, namespace: &str, written: &Value, name: &str) -> Option<Given> {
        let key = name.strip_prefix(text(written, "/prefix"))?.to_owned();
        if let Some(secret) = written.get("secretRef") {
            let secret = SecretRef { name: text(secret, "/name").to_owned(), key };
            self.read(namespace, &secret)?;
            return Some(Given::Secret(namespace.to_owned(), secret));
        }
        let map = (namespace.to_owned(), text(written.get("configMapRef")?, "/name").to_owned());
        self.config_maps.get(&map)?.get(&key).cloned().map(Given::Text)
    }
}

/// The parameters that a vault's list of secrets gives.
pub(super) fn parameters_within(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Array(all) => found.extend(all.iter().flat_map(parameters_within)),
        Value::Object(map) => {
            if let Some(Value::String(parameter)) = map.get("parameter") {
                found.push(parameter.clone());
            } else {
                found.extend(map.values().flat_map(parameters_within));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

/// The keys of a Secret, decoded; what is no text is left out.
fn secret(document: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, coded) in texts(document.get("data")) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(coded.trim());
        if let Some(text) = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            all.insert(key, text);
        }
    }
    all.extend(texts(document.get("stringData")));
    all
}

fn texts(map: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), plain(value))).collect()
}
