//! Keeps room on nodes, or gives it back: makes, changes and removes one object for each reserve, a `CapacityBuffer` or a Deployment of
//! placeholders. Each belongs to the pipeline, so that it goes with it; none without our label is ever touched.
//!
//! A buffer names the workload, and who makes nodes reads its shape there. Placeholders have the shape of the workload's template as it stands
//! when they are written: what their pods request and where they may run, and nothing else of it. They do nothing, and a real pod pushes them out.

use std::sync::Arc;

use http::Method as Verb;
use kube::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Licence;
use super::jobs::as_label;
use super::kinds::{Kinds, NoPath};
use super::wire::{self, Answered, Failed, JSON, JSON_PATCH, cut, ending_of, get, text};
use crate::decide::{Ending, Method, Reserve, ReserveSeen, TargetId, reserve_of};

/// By this name the API server knows who made it.
const FIELD_MANAGER: &str = "penstock-headroom";
const PIPELINE: &str = "penstock.dev/pipeline";
const STAGE: &str = "penstock.dev/stage";
/// The user that the pause image runs as.
const NOBODY: u32 = 65535;

/// What placeholders are.
#[derive(Debug, Clone)]
pub struct Placeholders {
    /// The image of their containers, which does nothing.
    pub image: String,
    /// Their `PriorityClass`: below that of any real pod.
    pub priority_class: String,
}

impl Default for Placeholders {
    fn default() -> Self {
        let [image, priority_class] =
            ["registry.k8s.io/pause:3.10", "penstock-headroom"].map(str::to_owned);
        Self { image, priority_class }
    }
}

impl Placeholders {
    /// What they are made of, as it is written on what stands for them: what says otherwise is made anew.
    pub fn made_of(&self) -> String {
        format!("{} {}", self.image, self.priority_class)
    }
}

/// Who keeps room. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keeper {
    client: Client,
    kinds: Kinds,
    placeholders: Arc<Placeholders>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Owned,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owned {
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
}

impl Keeper {
    pub(super) fn new(client: Client, placeholders: Placeholders) -> Self {
        Self { client, kinds: Kinds::default(), placeholders: Arc::new(placeholders) }
    }

    /// The same, with other placeholders.
    pub(super) fn with(&self, placeholders: Placeholders) -> Self {
        Self { placeholders: Arc::new(placeholders), ..self.clone() }
    }

    /// Makes the object what it shall be. Nothing is overwritten that is not the one that was seen.
    pub(super) async fn carry_out(&self, reserve: &Reserve, licence: &Licence) -> Ending {
        let path = match self.kinds.path(&self.client, &reserve.scale.target).await {
            Ok(path) => path,
            Err(none) => return none.into(),
        };
        let is_there = !reserve.scale.uid.is_empty();
        if reserve.scale.to == 0 {
            let gone = Ending::Done { resource_version: "".into() };
            return if is_there { self.remove(&path, reserve, licence).await } else { gone };
        }
        let template = if reserve.is_reshaped && reserve.method == Method::Placeholders {
            match self.template(reserve).await {
                Ok(template) => Some(template),
                Err(ending) => return ending,
            }
        } else {
            None
        };
        if is_there {
            let steps = self.change(reserve, template.as_ref());
            let path = format!("{path}?fieldManager={FIELD_MANAGER}");
            return self.send(Verb::PATCH, &path, &steps, licence).await;
        }
        let object = self.object(reserve, template.as_ref());
        let all = path.rsplit_once('/').map_or(path.as_str(), |(all, _)| all);
        let made = format!("{all}?fieldManager={FIELD_MANAGER}");
        match self.send(Verb::POST, &made, &object, licence).await {
            Ending::Outdated => self.met(all, reserve).await,
            // The kind is served no more: its path is looked up anew.
            Ending::Gone => {
                self.kinds.forget(&reserve.scale.target);
                Ending::Gone
            }
            ending @ (Ending::Done { .. }
            | Ending::Conflict { .. }
            | Ending::Refused { .. }
            | Ending::Unknown { .. }
            | Ending::NotSent { .. }) => ending,
        }
    }

    /// The template of the workload's pods as it stands now.
    async fn template(&self, reserve: &Reserve) -> Result<Value, Ending> {
        let not_sent = |error: &kube::Error| {
            let message = cut(&format!("its template could not be read: {}", text(error)));
            Ending::NotSent { message }
        };
        let path = match self.kinds.path(&self.client, &reserve.of).await {
            Ok(path) => path,
            Err(NoPath::Unusable(message)) => return Err(Ending::Refused { code: 404, message }),
            Err(NoPath::Failed(error)) => return Err(not_sent(&error)),
        };
        match get::<Value>(&self.client, &path).await {
            Ok(object) if object["spec"]["template"]["spec"].is_object() => {
                Ok(object["spec"]["template"]["spec"].clone())
            }
            Ok(_) => {
                let message = format!("{} has no template of pods", reserve.of);
                Err(Ending::Refused { code: 422, message })
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                Err(ending_of(&status))
            }
            Err(error) => Err(not_sent(&error)),
        }
    }

    /// Somebody has this name already. If it belongs to a pipeline, what was decided on is outdated, or it goes with an earlier pipeline of that
    /// name; else someone must move it out of the way: nobody adopts what its owner let go.
    async fn met(&self, all: &str, reserve: &Reserve) -> Ending {
        let (name, target) = (&reserve.scale.target.name, &reserve.scale.target);
        let path = format!("{all}?labelSelector=penstock.dev%2Fheadroom%3D{name}");
        let refused = |message: String| Ending::Refused { code: 409, message: cut(&message) };
        let is_owned =
            |it: &Object| it.metadata.owner_references.iter().any(|of| of.kind == "ScaledPipeline");
        match get::<List>(&self.client, &path).await {
            Ok(list) if list.items.is_empty() => {
                refused(format!("{target} is there already and was not made by Penstock"))
            }
            Ok(list) if !list.items.iter().any(is_owned) => refused(format!(
                "{target} is there already and belongs to no pipeline: it was left behind, and is to be deleted by hand"
            )),
            _ => Ending::Outdated,
        }
    }

    async fn remove(&self, path: &str, reserve: &Reserve, licence: &Licence) -> Ending {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": reserve.scale.uid},
        });
        self.send(Verb::DELETE, path, &options, licence).await
    }

    /// One write. The licence is asked at the last moment.
    async fn send(&self, verb: Verb, path: &str, body: &Value, licence: &Licence) -> Ending {
        let kind = if verb == Verb::PATCH { JSON_PATCH } else { JSON };
        let request = wire::request(verb.clone(), path, Some((kind, body)));
        match wire::send::<Answered>(&self.client, request, licence).await {
            Ok(answered) => answered.done(),
            // A test of the patch failed: it is another than was seen. What a rule refuses is said to be invalid.
            Err(Failed::Answered(status))
                if (status.code, &verb) == (422, &Verb::PATCH)
                    && !status.message.contains("is invalid") =>
            {
                Ending::Outdated
            }
            Err(failed) => failed.into(),
        }
    }

    /// A JSON patch that holds to the object that was seen, and to our label on it.
    fn change(&self, reserve: &Reserve, template: Option<&Value>) -> Value {
        let scale = &reserve.scale;
        let pointer =
            |part: &str, key: &str| format!("/metadata/{part}/{}", key.replace('/', "~1"));
        let mut steps = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": scale.uid}),
            json!({"op": "test", "path": pointer("labels", ReserveSeen::LABEL), "value": scale.target.name}),
            json!({"op": "add", "path": "/spec/replicas", "value": scale.to}),
        ];
        if reserve.is_reshaped && reserve.method == Method::Buffer {
            let of = scalable(&reserve.of);
            steps.push(json!({"op": "add", "path": "/spec/scalableRef", "value": of}));
        }
        if let Some(template) = template {
            let pods = self.pods(reserve, template);
            steps.push(json!({"op": "replace", "path": "/spec/template", "value": pods}));
        }
        for (key, value) in self.annotations(reserve) {
            let place = pointer("annotations", &key);
            steps.push(json!({"op": "add", "path": place, "value": value}));
        }
        Value::Array(steps)
    }

    fn object(&self, reserve: &Reserve, template: Option<&Value>) -> Value {
        let scale = &reserve.scale;
        let (target, pipeline) = (&scale.target, &scale.stage.pipeline);
        let spec = match reserve.method {
            Method::Buffer => json!({
                "scalableRef": scalable(&reserve.of),
                // Alone: beside a percentage, releases differ in which of the two counts.
                "replicas": scale.to,
                "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
            }),
            Method::Placeholders => json!({
                "replicas": scale.to,
                "selector": {"matchLabels": {ReserveSeen::LABEL: target.name}},
                // All at once: there is nothing to be kept up meanwhile.
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 0,
                "template": self.pods(reserve, template.unwrap_or(&Value::Null)),
            }),
        };
        json!({
            "apiVersion": target.api_version,
            "kind": target.kind,
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "labels": labels(reserve),
                "annotations": self.annotations(reserve),
                "ownerReferences": [{
                    "apiVersion": "penstock.dev/v1alpha1",
                    "kind": "ScaledPipeline",
                    "name": pipeline.name,
                    "uid": reserve.owner,
                    "controller": true,
                }],
            },
            "spec": spec,
        })
    }

    /// What is written on it besides: why, and what it was made for and of.
    fn annotations(&self, reserve: &Reserve) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("penstock.dev/reason".to_owned(), reserve.scale.why.to_string().into());
        if reserve.is_reshaped {
            all.insert(ReserveSeen::OF.to_owned(), reserve_of(&reserve.of).into());
            if reserve.method == Method::Placeholders {
                all.insert(ReserveSeen::MADE.to_owned(), self.placeholders.made_of().into());
            }
        }
        if let Some(revision) = &reserve.revision {
            all.insert(ReserveSeen::REVISION.to_owned(), (**revision).into());
        }
        all
    }

    /// The pods of a Deployment of placeholders.
    fn pods(&self, reserve: &Reserve, template: &Value) -> Value {
        let Placeholders { image, priority_class } = &*self.placeholders;
        let mut spec = Map::new();
        for field in [
            "nodeSelector",
            "tolerations",
            "affinity",
            "schedulerName",
            "runtimeClassName",
            "overhead",
            "imagePullSecrets",
            "resources",
        ] {
            if let Some(value) = template.get(field) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
        let mine = json!({"matchLabels": {ReserveSeen::LABEL: reserve.scale.target.name}});
        let spread = template["topologySpreadConstraints"].as_array();
        let spread = spread.into_iter().flatten().map(|constraint| {
            let mut constraint = constraint.clone();
            // Among themselves: the pods that they keep room for have other labels.
            constraint["labelSelector"] = mine.clone();
            constraint
        });
        spec.insert("topologySpreadConstraints".to_owned(), spread.collect());
        let sidecars = template["initContainers"].as_array().into_iter().flatten();
        let sidecars = sidecars.filter(|it| it["restartPolicy"] == "Always");
        let containers = template["containers"].as_array().into_iter().flatten().chain(sidecars);
        let containers = containers.map(|it| {
            let mut resources = it["resources"].as_object().cloned().unwrap_or_default();
            // Claims are of the pod that makes them.
            resources.remove("claims");
            json!({
                "name": it["name"],
                "image": image,
                "resources": resources,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            })
        });
        spec.insert("containers".to_owned(), containers.collect());
        let own = json!({
            "priorityClassName": priority_class,
            // Not 0: who is pushed out at once may be gone before the scheduler has put the pod aside that pushes, which then waits for 5 min
            // beside its free room (kubernetes/kubernetes#141694).
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        });
        if let Value::Object(own) = own {
            spec.extend(own);
        }
        json!({"metadata": {"labels": labels(reserve)}, "spec": spec})
    }
}

fn labels(reserve: &Reserve) -> Value {
    let stage = &reserve.scale.stage;
    json!({
        ReserveSeen::LABEL: reserve.scale.target.name,
        PIPELINE: as_label(&stage.pipeline.name),
        STAGE: as_label(&stage.name),
    })
}

/// A workload, as a buffer names it.
fn scalable(of: &TargetId) -> Value {
    let group = of.api_version.split_once('/').map_or("", |(group, _)| group);
    json!({"apiGroup": group, "kind": of.kind, "name": of.name})
}
