//! The workloads that stages scale: any kind with `/scale`, found by discovery. Each kind has a metadata watch; `/scale` itself
//! cannot be watched, so it is read only when its object's `resourceVersion` moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ApiResource;

use crate::decide::{
    CRON_JOB, PipelineId, Places, Standing, Target, TargetId, Unusable, Workload, Writing,
};

use super::Extent;
use super::levers::OURS;
use super::pods::{Asked, PODS, Readiness};
use super::selector::Selector;
use super::stores::{Name, Stores};

/// A kind of workload: API version and kind.
pub(super) type KindId = (Arc<str>, Arc<str>);

/// What is known of kinds, objects and scales.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) kinds: BTreeMap<KindId, Kind>,
    /// Every object of the watched kinds.
    objects: BTreeMap<TargetId, Note>,
    /// `/scale` of the targets that pipelines name.
    pub(super) scales: BTreeMap<TargetId, ScaleNote>,
    /// Which pipelines name a target. Most often one does: a set would set eleven places aside for it.
    owners: BTreeMap<TargetId, Box<[PipelineId]>>,
    /// Targets whose `/scale` must be read.
    pub(super) stale: BTreeSet<TargetId>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Looking,
    Unusable(Unusable),
    Served { resource: ApiResource, unlisted: Unlisted },
}

/// Where a kind has not been listed yet, and why if it may not be.
pub(super) type Unlisted = BTreeMap<Extent, Option<Unusable>>;

#[derive(Debug, PartialEq)]
pub(super) struct Note {
    pub(super) uid: Arc<str>,
    pub(super) resource_version: Arc<str>,
    pub(super) is_ours: bool,
}

#[derive(Debug)]
pub(super) enum ScaleNote {
    Unreadable(Unusable),
    Read {
        uid: Arc<str>,
        resource_version: Arc<str>,
        desired: u32,
        /// `None` where only its pods tell, or a count is in force as soon as it is written.
        current: Option<u32>,
        selector: Option<Selector>,
        /// Pods of one replica.
        pods_each: u32,
        writing: Writing,
        at: Timestamp,
    },
}

impl Targets {
    /// Which pipelines name this target.
    pub(super) fn owners(&self, target: &TargetId) -> Option<&[PipelineId]> {
        self.owners.get(target).map(AsRef::as_ref)
    }

    /// The pipelines that name a target which others name, too.
    pub(super) fn contested(&self) -> impl Iterator<Item = PipelineId> {
        self.owners
            .values()
            .filter(|owners| 1 < owners.len())
            .flat_map(|owners| owners.iter())
            .cloned()
    }

    /// Sets which targets are named, and by whom. Returns the kinds that nobody has looked up yet.
    pub(super) fn want(&mut self, owners: BTreeMap<TargetId, Vec<PipelineId>>) -> Vec<KindId> {
        self.scales.retain(|target, _| owners.contains_key(target));
        let mut unknown = Vec::new();
        for target in owners.keys() {
            let kind = kind_of(target);
            if !self.kinds.contains_key(&kind) {
                self.kinds.insert(kind.clone(), Kind::Looking);
                unknown.push(kind);
            }
            if !self.scales.contains_key(target) && self.note(target).is_some() {
                self.stale.insert(target.clone());
            }
        }
        self.owners = owners.into_iter().map(|(target, owners)| (target, owners.into())).collect();
        unknown
    }

    /// What is known of the object that a target is, or is a part of.
    fn note(&self, target: &TargetId) -> Option<&Note> {
        match target.part {
            None => self.objects.get(target),
            Some(_) => self.objects.get(&target.whole()),
        }
    }

    /// The targets that pipelines name of one object: itself, or its parts, which come right after it.
    fn named(&self, object: &TargetId) -> Vec<TargetId> {
        let after = self.owners.range(object.clone()..).map(|(target, _)| target);
        after.take_while(|target| target.is_of(object)).cloned().collect()
    }

    /// The namespaces and selectors of read targets, for those whose pods one label change may touch.
    pub(super) fn touched_by(&self, namespace: &str, labels: &[&str]) -> Vec<TargetId> {
        self.scales
            .iter()
            .filter(|(target, _)| &*target.namespace == namespace)
            .filter(|(_, scale)| match scale {
                ScaleNote::Read { selector: Some(selector), .. } => {
                    labels.iter().any(|l| selector.matches(l))
                }
                ScaleNote::Read { .. } | ScaleNote::Unreadable(_) => false,
            })
            .map(|(target, _)| target.clone())
            .collect()
    }

    /// The selector of a target's pods; `None` while it is not known.
    pub(super) fn selector(&self, target: &TargetId) -> Option<&Selector> {
        match self.scales.get(target)? {
            ScaleNote::Read { selector, .. } => selector.as_ref(),
            ScaleNote::Unreadable(_) => None,
        }
    }

    /// How many pods one replica of a target is; `None` while that is not known.
    pub(super) fn pods_each(&self, target: &TargetId) -> Option<u32> {
        match self.scales.get(target)? {
            ScaleNote::Read { pods_each, .. } => Some(*pods_each),
            ScaleNote::Unreadable(_) => None,
        }
    }

    /// Asks for a fresh reading of a target's `/scale`.
    pub(super) fn reread(&mut self, target: &TargetId) {
        self.stale.insert(target.clone());
    }
}

impl Stores {
    /// What stands before all that could be known of the objects of a target's kind, where it lies.
    pub(super) fn veiled(&self, target: &TargetId) -> Option<Target> {
        let unlisted = match self.targets.kinds.get(&kind_of(target)) {
            None | Some(Kind::Looking) => return Some(Target::Unseen),
            Some(Kind::Unusable(why)) => return Some(Target::Unusable(why.clone())),
            Some(Kind::Served { unlisted, .. }) => unlisted,
        };
        let here = || unlisted.get(&Some(Arc::clone(&target.namespace)));
        if let Some(why) = unlisted.get(&None).or_else(here) {
            return Some(why.clone().map_or(Target::Unseen, Target::Unusable));
        }
        self.is_without_in(PODS, &target.namespace).then(|| {
            let what = format!("list pods in {}", target.namespace);
            Target::Unusable(Unusable::Forbidden(what))
        })
    }

    /// Notes where a kind has been listed, and where it may not be.
    pub(super) fn put_kind(&mut self, kind: &KindId, resource: &ApiResource, unlisted: Unlisted) {
        let known = self.targets.kinds.get(kind);
        if !matches!(known, Some(Kind::Served { unlisted: old, .. }) if *old == unlisted) {
            let served = Kind::Served { resource: resource.clone(), unlisted };
            self.targets.kinds.insert(kind.clone(), served);
            self.touch_all();
        }
    }

    /// What is known of a target now.
    pub(super) fn target(&self, target: &TargetId) -> Target {
        if target.is_jobs() {
            return self.jobs_of(target);
        }
        if let Some(veiled) = self.veiled(target) {
            return veiled;
        }
        let Some(note) = self.targets.note(target) else {
            return Target::Unusable(Unusable::NotFound);
        };
        match self.targets.scales.get(target) {
            None => Target::Unseen,
            Some(ScaleNote::Unreadable(why)) => Target::Unusable(why.clone()),
            Some(ScaleNote::Read { uid, .. }) if *uid != note.uid => Target::Unseen,
            Some(ScaleNote::Read {
                uid,
                resource_version,
                desired,
                current,
                selector,
                pods_each,
                writing,
                at,
            }) => {
                let pods = selector.as_ref().map(|s| self.pods.readiness(&target.namespace, s));
                let current =
                    current.unwrap_or_else(|| pods.map_or(*desired, |pods| pods.there / pods_each));
                let is_ours = match writing {
                    Writing::Field(field) => {
                        field.writer.as_ref().is_some_and(|writer| &*writer.manager == OURS)
                    }
                    Writing::Apply | Writing::Merge => note.is_ours,
                };
                Target::Seen(Workload {
                    uid: Arc::clone(uid),
                    resource_version: Arc::clone(resource_version),
                    desired: *desired,
                    current,
                    ready: pods.map_or(current, |pods| pods.ready / pods_each),
                    ready_since: pods.and_then(|pods| pods.since),
                    writing: writing.clone(),
                    read_at: *at,
                    is_ours,
                    hpa: self
                        .hpas
                        .iter()
                        .find(|(_, named)| *named == target)
                        .map(|(hpa, _)| Arc::clone(&hpa.name)),
                    jobs: None,
                    cpu: pods.and_then(|pods| pods.cpu()),
                    lanes: Vec::new(),
                })
            }
        }
    }

    /// Where the pods of a target stand.
    pub(super) fn places(&self, target: &TargetId, now: Timestamp) -> Places {
        let of = |selector| self.pods.places(&target.namespace, selector, &self.nodes, now);
        let places = self.targets.selector(target).map(of).unwrap_or_default();
        Places { interrupted: self.interrupted(target), ..places }
    }

    /// Its pods by the node they stand on; `None` while they cannot be told.
    pub(super) fn standing(&self, target: &TargetId, now: Timestamp) -> Option<Standing> {
        let selector = self.targets.selector(target)?;
        Some(self.pods.standing(&target.namespace, selector, &self.nodes, now))
    }

    /// What its pods request that have a node, and what those do that are asked for and have none.
    pub(super) fn asked(&self, target: &TargetId) -> Asked {
        let Some(ScaleNote::Read { desired, selector: Some(selector), pods_each, .. }) =
            self.targets.scales.get(target)
        else {
            return Asked::default();
        };
        let desired = desired.saturating_mul(*pods_each);
        self.pods.asked(&target.namespace, selector, desired)
    }

    /// Since when the oldest of its pods has waited for a node.
    pub(super) fn waits_since(&self, target: &TargetId, now: Timestamp) -> Option<Timestamp> {
        self.places(target, now).unplaced_since
    }

    /// How many of its pods are Ready, and since when.
    pub(super) fn readiness(&self, target: &TargetId) -> Readiness {
        let of = |selector| self.pods.readiness(&target.namespace, selector);
        self.targets.selector(target).map(of).unwrap_or_default()
    }

    /// What the pods of a target cost in an hour, by pool.
    pub(super) fn costs(
        &self,
        target: &TargetId,
        now: Timestamp,
    ) -> BTreeMap<Arc<str>, Option<f64>> {
        let of = |selector| self.pods.costs(&target.namespace, selector, &self.nodes, now);
        self.targets.selector(target).map(of).unwrap_or_default()
    }

    pub(super) fn put_object(&mut self, object: TargetId, note: Note) {
        for target in self.targets.named(&object) {
            let is_read = matches!(self.targets.scales.get(&target),
                Some(ScaleNote::Read { resource_version, .. }) if *resource_version == note.resource_version);
            if self.targets.objects.get(&object).is_none_or(|old| old.is_ours != note.is_ours) {
                self.touch_target(&target);
            }
            if !is_read {
                self.targets.stale.insert(target);
            }
        }
        self.targets.objects.insert(object, note);
    }

    pub(super) fn drop_object(&mut self, object: &TargetId) {
        self.targets.objects.remove(object);
        for target in self.targets.named(object) {
            self.targets.scales.remove(&target);
            self.targets.stale.remove(&target);
            self.touch_target(&target);
        }
    }
}

/// Built-in workloads take server-side apply on `/scale`; custom resources refuse it (500), so they get a merge patch.
pub(super) fn writing(target: &TargetId) -> Writing {
    match (&*target.api_version, &*target.kind) {
        ("apps/v1", "Deployment" | "StatefulSet" | "ReplicaSet")
        | ("v1", "ReplicationController") => Writing::Apply,
        _ => Writing::Merge,
    }
}

pub(super) fn kind_of(target: &TargetId) -> KindId {
    (Arc::clone(&target.api_version), Arc::clone(&target.kind))
}

/// Is this the kind whose objects are templates for Jobs?
pub(super) fn is_jobs(kind: &KindId) -> bool {
    (&*kind.0, &*kind.1) == CRON_JOB
}

/// A pod moved: marks the pipelines whose target it belongs to.
pub(super) fn pod_moved(stores: &mut Stores, name: &Name, labels: &[&str]) {
    stores.touch_counters(&name.namespace, labels);
    for target in stores.targets.touched_by(&name.namespace, labels) {
        stores.touch_target(&target);
    }
}

/// What is asked for, and where.
pub(super) fn in_place(what: &str, place: &Extent) -> String {
    match place {
        Some(namespace) => format!("{what} in {namespace}"),
        None => what.to_owned(),
    }
}
