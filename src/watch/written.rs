//! A pipeline as it was written, and what it means: read once for each change, kept until something it leans on moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::crd::meaning::{self, Fault, Meaning, Surroundings};
use crate::crd::{ClusterConnection, Connection, PipelineStatus, ScaledPipeline};
use crate::decide::{Mode, Pipeline, PipelineId};

use super::stores::{Name, Stores, chain};

/// One `ScaledPipeline`.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) uid: Arc<str>,
    pub(super) resource_version: Arc<str>,
    pub(super) generation: i64,
    /// Seconds since the epoch: of two pipelines with one target the older has it.
    pub(super) created: i64,
    pub(super) status: Arc<PipelineStatus>,
    /// Without its status; an error when it is not of the shape that this version reads.
    object: Result<ScaledPipeline, Vec<Fault>>,
    understood: Option<Understood>,
}

/// What was made of it.
#[derive(Debug)]
pub(super) enum Understood {
    /// It can be decided on.
    Meant { pipeline: Arc<Pipeline>, meaning: Meaning },
    /// It cannot.
    Faulty(Arc<[Fault]>),
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
        object.metadata.managed_fields = None;
        let object = object.try_parse::<ScaledPipeline>().map_err(|error| {
            vec![Fault {
                path: "spec".to_owned(),
                code: meaning::Code::InvalidSpec,
                message: format!("cannot be read by this version: {}", chain(&error)),
                hint: Some("apply the CRDs of this version, then the pipeline again".to_owned()),
            }]
        });
        Self {
            uid,
            resource_version,
            generation,
            created,
            status: Arc::new(status),
            object,
            understood: None,
        }
    }

    /// Is anything but its status another than before?
    fn means_the_same(&self, other: &Self) -> bool {
        let annotations = |written: &Self| {
            written
                .object
                .as_ref()
                .ok()
                .map(|object| (object.spec.clone(), object.metadata.annotations.clone()))
        };
        self.uid == other.uid
            && self.generation == other.generation
            && annotations(self) == annotations(other)
    }

    /// What it means; `None` until it has been read.
    pub(super) fn meaning(&self) -> Option<(&Arc<Pipeline>, &Meaning)> {
        match &self.understood {
            Some(Understood::Meant { pipeline, meaning }) => Some((pipeline, meaning)),
            Some(Understood::Faulty(_)) | None => None,
        }
    }

    /// What is wrong with it.
    pub(super) fn faults(&self) -> Arc<[Fault]> {
        match &self.understood {
            Some(Understood::Faulty(faults)) => Arc::clone(faults),
            Some(Understood::Meant { .. }) | None => Arc::default(),
        }
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
        self.pipelines.insert(id.clone(), new);
        self.dirty.insert(id);
        self.questions_moved = true;
    }

    /// A pipeline went.
    pub(super) fn drop_pipeline(&mut self, name: &Name) {
        let id = id_of(name);
        if let Some(written) = self.pipelines.remove(&id) {
            // A target it had may now be another's.
            if let Some((pipeline, _)) = written.meaning() {
                for stage in &pipeline.stages {
                    self.touch_target(&stage.target);
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
                let read = match &written.object {
                    Ok(object) => meaning::read(object, self),
                    Err(faults) => Err(faults.clone()),
                };
                let understood = match read {
                    Ok(meaning) => {
                        let mut pipeline = meaning.pipeline.clone();
                        pipeline.uid = Arc::clone(&written.uid);
                        pipeline.generation = written.generation;
                        if self.house.observe_only {
                            pipeline.stages.iter_mut().for_each(|s| s.mode = Mode::Observe);
                        }
                        Understood::Meant { pipeline: Arc::new(pipeline), meaning }
                    }
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

fn id_of(name: &Name) -> PipelineId {
    PipelineId { namespace: Arc::clone(&name.namespace), name: Arc::clone(&name.name) }
}
