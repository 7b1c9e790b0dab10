//! A pipeline as it was written, and what it means: read once for each change, kept until something it leans on moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{DynamicObject, ObjectMeta};

use crate::crd::meaning::{self, Fault, InsideDraft, Meaning, QuestionDraft, Surroundings};
use crate::crd::{ClusterConnection, Connection, GROUP, PipelineStatus, ScaledPipeline};
use crate::decide::{Mode, Pipeline, PipelineId, QuestionId, Stage};

use super::stores::{Name, Stores, chain};

/// One `ScaledPipeline`.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) uid: Arc<str>,
    pub(super) resource_version: Arc<str>,
    pub(super) generation: i64,
    /// Seconds since the epoch: of two pipelines that enforce a count on one target the older has it.
    pub(super) created: i64,
    pub(super) status: Arc<PipelineStatus>,
    /// Its spec and our annotations as JSON: typed they fill ten times the room, and they are read only when something moved.
    text: Box<str>,
    understood: Option<Understood>,
}

/// What was made of it.
#[derive(Debug)]
enum Understood {
    /// It can be decided on.
    Meant(Meant),
    /// It cannot.
    Faulty(Arc<[Fault]>),
}

/// A pipeline that can be decided on.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) pipeline: Arc<Pipeline>,
    /// What observe is asked, once the Secrets are read.
    pub(super) questions: Box<[QuestionDraft]>,
    /// What the cluster itself is asked.
    pub(super) inside: Box<[InsideDraft]>,
    /// Questions that cannot be put, and why.
    pub(super) unanswerable: Box<[(QuestionId, Fault)]>,
}

impl Written {
    fn read(mut object: DynamicObject) -> Self {
        let uid = object.uid().unwrap_or_default().into();
        let resource_version = object.resource_version().unwrap_or_default().into();
        let generation = object.metadata.generation.unwrap_or(0);
        let created =
            object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        let status = object.data.as_object_mut().and_then(|data| data.remove("status"));
        let status =
            status.and_then(|status| serde_json::from_value(status).ok()).unwrap_or_default();
        let mut annotations = object.metadata.annotations.take().unwrap_or_default();
        annotations
            .retain(|key, _| key.strip_prefix(GROUP).is_some_and(|key| key.starts_with('/')));
        object.metadata = ObjectMeta {
            namespace: object.metadata.namespace.take(),
            name: object.metadata.name.take(),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        };
        // Text that cannot be made is text that cannot be read: a fault, told when it is.
        let text = serde_json::to_string(&object).unwrap_or_default().into();
        Self {
            uid,
            resource_version,
            generation,
            created,
            status: Arc::new(status),
            text,
            understood: None,
        }
    }

    /// Is anything but its status another than before?
    fn means_the_same(&self, other: &Self) -> bool {
        self.uid == other.uid && self.generation == other.generation && self.text == other.text
    }

    /// What it means; `None` until it has been read.
    pub(super) fn meant(&self) -> Option<&Meant> {
        match &self.understood {
            Some(Understood::Meant(meant)) => Some(meant),
            Some(Understood::Faulty(_)) | None => None,
        }
    }

    /// What is wrong with it.
    pub(super) fn faults(&self) -> Arc<[Fault]> {
        match &self.understood {
            Some(Understood::Faulty(faults)) => Arc::clone(faults),
            Some(Understood::Meant(_)) | None => Arc::default(),
        }
    }

    /// Does it say that drains are to be held? As far as that can be told where it cannot be read: what it left tight is looked for then.
    pub(super) fn asks_to_hold(&self) -> bool {
        let object: Option<DynamicObject> = serde_json::from_str(&self.text).ok();
        let stages = object.as_ref().and_then(|object| object.data.pointer("/spec/stages"));
        let says = |stage: &serde_json::Value| {
            stage.pointer("/capacity/drain").is_some_and(|drain| drain == "Hold")
        };
        stages.and_then(serde_json::Value::as_array).is_some_and(|stages| stages.iter().any(says))
    }

    fn understand(&self, id: &PipelineId, stores: &Stores) -> Result<Meant, Vec<Fault>> {
        let object = parsed(&self.text).map_err(|error| {
            vec![Fault {
                path: "spec".to_owned(),
                code: meaning::Code::InvalidSpec,
                message: format!("cannot be read by this version: {error}"),
                hint: Some("apply the CRDs of this version, then the pipeline again".to_owned()),
            }]
        })?;
        let Meaning { mut pipeline, questions, inside, unanswerable } =
            meaning::read(&object, stores)?;
        pipeline.id = id.clone();
        pipeline.uid = Arc::clone(&self.uid);
        pipeline.generation = self.generation;
        if stores.house.observe_only {
            pipeline.stages.iter_mut().for_each(|stage| stage.mode = Mode::Observe);
        }
        Ok(Meant {
            pipeline: Arc::new(pipeline),
            questions: questions.into(),
            inside: inside.into(),
            unanswerable: unanswerable.into(),
        })
    }

    /// Drops what was read out of it.
    pub(super) fn forget_meaning(&mut self) {
        self.understood = None;
    }
}

impl Stores {
    /// A pipeline came or changed.
    pub(super) fn put_pipeline(&mut self, name: &Name, object: DynamicObject) {
        let id = id_of(name);
        let mut new = Written::read(object);
        match self.pipelines.get_mut(&id) {
            // Our own status came back: nothing to think about.
            Some(old) if old.means_the_same(&new) && old.understood.is_some() => {
                new.understood = old.understood.take();
                *old = new;
                return;
            }
            Some(old) if old.uid != new.uid => {
                self.gone.insert(id.clone());
            }
            _ => {}
        }
        self.quotas.enter(&name.namespace);
        self.pipelines.insert(id.clone(), new);
        self.dirty.insert(id);
        self.questions_moved = true;
    }

    /// A pipeline went.
    pub(super) fn drop_pipeline(&mut self, name: &Name) {
        let id = id_of(name);
        self.quotas.touch(&name.namespace);
        if let Some(written) = self.pipelines.remove(&id) {
            // A target it had may now be another's.
            if let Some(meant) = written.meant() {
                for target in meant.pipeline.stages.iter().flat_map(Stage::targets) {
                    self.touch_target(target);
                }
            }
        }
        self.dirty.remove(&id);
        self.gone.insert(id);
        self.questions_moved = true;
    }

    /// Reads every pipeline that has not been read since it, or something it leans on, moved.
    pub(super) fn understand(&mut self) {
        let unread = self.pipelines.iter().filter(|(_, written)| written.understood.is_none());
        let understood = unread
            .map(|(id, written)| {
                let understood = match written.understand(id, self) {
                    Ok(meant) => Understood::Meant(meant),
                    Err(faults) => Understood::Faulty(faults.into()),
                };
                (id.clone(), understood)
            })
            .collect::<Vec<_>>();
        for (id, understood) in understood {
            if let Some(written) = self.pipelines.get_mut(&id) {
                written.understood = Some(understood);
            }
        }
    }
}

impl Surroundings for Stores {
    fn connection(&self, namespace: &str, name: &str) -> Option<Arc<Connection>> {
        self.connections.get(&Name { namespace: namespace.into(), name: name.into() }).cloned()
    }

    fn cluster_connection(&self, name: &str) -> Option<Arc<ClusterConnection>> {
        self.cluster_connections.get(name).cloned()
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.namespaces.get(namespace).cloned()
    }

    fn may_lend_secrets_of(&self, namespace: &str) -> bool {
        self.house.lendable.contains(namespace)
    }
}

/// Reads what was kept as text.
fn parsed(text: &str) -> Result<ScaledPipeline, String> {
    let object: DynamicObject = serde_json::from_str(text).map_err(|error| chain(&error))?;
    object.try_parse().map_err(|error| chain(&error))
}

fn id_of(name: &Name) -> PipelineId {
    PipelineId { namespace: Arc::clone(&name.namespace), name: Arc::clone(&name.name) }
}
