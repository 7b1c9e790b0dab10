//! The workloads that stages scale: any kind with `/scale`, found by discovery. Each kind has a metadata watch; `/scale` itself
//! cannot be watched, so it is read only when its object's `resourceVersion` moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt, api::ApiResource, api::DynamicObject};
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::decide::{PipelineId, Target, TargetId, Unusable, Workload, Writing};

use super::Scope;
use super::pods::Selector;
use super::stores::{Name, Shelf, Stores, chain, config};

/// The field manager that `act` writes with.
const MANAGER: &str = "penstock";

/// How many `/scale` are read at once.
const READS_AT_ONCE: usize = 16;

/// How long to wait before asking again for a kind that is not served, or for a `/scale` that could not be read.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// A kind of workload: API version and kind.
pub(super) type KindId = (Arc<str>, Arc<str>);

/// What is known of kinds, objects and scales.
#[derive(Debug, Default)]
pub(super) struct Targets {
    kinds: BTreeMap<KindId, Kind>,
    /// Every object of the watched kinds.
    objects: BTreeMap<TargetId, Note>,
    /// `/scale` of the targets that pipelines name.
    scales: BTreeMap<TargetId, ScaleNote>,
    /// Which pipelines name a target.
    owners: BTreeMap<TargetId, BTreeSet<PipelineId>>,
    /// Targets whose `/scale` must be read.
    stale: BTreeSet<TargetId>,
}

#[derive(Debug)]
enum Kind {
    Looking,
    Unusable(Unusable),
    Served { resource: ApiResource, is_synced: bool },
}

#[derive(Debug, PartialEq)]
struct Note {
    uid: Arc<str>,
    resource_version: Arc<str>,
    is_ours: bool,
}

#[derive(Debug)]
enum ScaleNote {
    Unreadable(Unusable),
    Read {
        uid: Arc<str>,
        resource_version: Arc<str>,
        desired: u32,
        current: u32,
        selector: Option<Selector>,
        at: Timestamp,
    },
}

impl Targets {
    /// Which pipelines name this target.
    pub(super) fn owners(&self, target: &TargetId) -> Option<&BTreeSet<PipelineId>> {
        self.owners.get(target)
    }

    /// Sets which targets are named, and by whom. Returns the kinds that nobody has looked up yet.
    pub(super) fn want(&mut self, owners: BTreeMap<TargetId, BTreeSet<PipelineId>>) -> Vec<KindId> {
        self.scales.retain(|target, _| owners.contains_key(target));
        let mut unknown = Vec::new();
        for target in owners.keys() {
            let kind = kind_of(target);
            if !self.kinds.contains_key(&kind) {
                self.kinds.insert(kind.clone(), Kind::Looking);
                unknown.push(kind);
            }
            if !self.scales.contains_key(target) && self.objects.contains_key(target) {
                self.stale.insert(target.clone());
            }
        }
        self.owners = owners;
        unknown
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

    /// Asks for a fresh reading of a target's `/scale`.
    pub(super) fn reread(&mut self, target: &TargetId) {
        self.stale.insert(target.clone());
    }
}

impl Stores {
    /// What is known of a target now.
    pub(super) fn target(&self, target: &TargetId) -> Target {
        match self.targets.kinds.get(&kind_of(target)) {
            None | Some(Kind::Looking) => return Target::Unseen,
            Some(Kind::Unusable(why)) => return Target::Unusable(why.clone()),
            Some(Kind::Served { is_synced, .. }) => {
                if !is_synced {
                    return Target::Unseen;
                }
            }
        }
        let Some(note) = self.targets.objects.get(target) else {
            return Target::Unusable(Unusable::NotFound);
        };
        match self.targets.scales.get(target) {
            None => Target::Unseen,
            Some(ScaleNote::Unreadable(why)) => Target::Unusable(why.clone()),
            Some(ScaleNote::Read { uid, .. }) if *uid != note.uid => Target::Unseen,
            Some(ScaleNote::Read { uid, resource_version, desired, current, selector, at }) => {
                let pods = selector.as_ref().map(|s| self.pods.readiness(&target.namespace, s));
                Target::Seen(Workload {
                    uid: Arc::clone(uid),
                    resource_version: Arc::clone(resource_version),
                    desired: *desired,
                    current: *current,
                    ready: pods.map_or(*current, |pods| pods.ready),
                    ready_since: pods.and_then(|pods| pods.since),
                    writing: writing(target),
                    read_at: *at,
                    is_ours: note.is_ours,
                    hpa: self
                        .hpas
                        .iter()
                        .find(|(_, named)| *named == target)
                        .map(|(hpa, _)| Arc::clone(&hpa.name)),
                })
            }
        }
    }

    fn put_object(&mut self, target: TargetId, note: Note) {
        if self.targets.owners.contains_key(&target) {
            let is_read = matches!(self.targets.scales.get(&target),
                Some(ScaleNote::Read { resource_version, .. }) if *resource_version == note.resource_version);
            if !is_read {
                self.targets.stale.insert(target.clone());
            }
            if self.targets.objects.get(&target).is_none_or(|old| old.is_ours != note.is_ours) {
                self.touch_target(&target);
            }
        }
        self.targets.objects.insert(target, note);
    }

    fn drop_object(&mut self, target: &TargetId) {
        self.targets.objects.remove(target);
        self.targets.scales.remove(target);
        self.targets.stale.remove(target);
        self.touch_target(target);
    }
}

/// Built-in workloads take server-side apply on `/scale`; custom resources refuse it (500), so they get a merge patch.
fn writing(target: &TargetId) -> Writing {
    match (&*target.api_version, &*target.kind) {
        ("apps/v1", "Deployment" | "StatefulSet" | "ReplicaSet")
        | ("v1", "ReplicationController") => Writing::Apply,
        _ => Writing::Merge,
    }
}

fn kind_of(target: &TargetId) -> KindId {
    (Arc::clone(&target.api_version), Arc::clone(&target.kind))
}

/// Finds a kind, then keeps its objects' notes for as long as the process lives. Asks again while it is not served.
pub(super) async fn follow(
    client: Client,
    kind: KindId,
    scope: Scope,
    shelf: Arc<Shelf>,
    stale: Arc<Notify>,
) {
    let resource = loop {
        let failure = match look_up(&client, &kind).await {
            Ok(Ok(resource)) => break resource,
            Ok(Err(why)) => why,
            Err(error) => {
                warn!(kind = %kind.1, error = %chain(&error), "discovery failed; it is tried again");
                tokio::time::sleep(Duration::from_secs(2)).await;
                continue;
            }
        };
        {
            let mut stores = shelf.open();
            stores.targets.kinds.insert(kind.clone(), Kind::Unusable(failure));
            stores.touch_all();
        }
        shelf.ring();
        tokio::time::sleep(ASK_AGAIN).await;
    };
    debug!(kind = %kind.1, resource = %resource.plural, "target kind found");
    shelf
        .open()
        .targets
        .kinds
        .insert(kind.clone(), Kind::Served { resource: resource.clone(), is_synced: false });
    let watches = scope.apis::<PartialObjectMeta<DynamicObject>>(&client, &resource);
    let mut open = watches.len();
    let watches = watches.into_iter().map(|api| {
        Box::pin(kube::runtime::WatchStreamExt::default_backoff(kube::runtime::watcher(
            api,
            config(),
        )))
    });
    let mut events = stream::select_all(
        watches.enumerate().map(|(at, watch)| watch.map(move |event| (at, event))),
    );
    let mut listed: BTreeMap<usize, BTreeSet<TargetId>> = BTreeMap::new();
    let mut known: BTreeMap<usize, BTreeSet<TargetId>> = BTreeMap::new();
    while let Some((at, event)) = events.next().await {
        use kube::runtime::watcher::Event;
        match event {
            Ok(Event::Init) => {
                listed.remove(&at);
            }
            Ok(Event::InitApply(object)) => {
                let target = target_id(&kind, &object);
                shelf.open().put_object(target.clone(), note(&object));
                listed.entry(at).or_default().insert(target);
            }
            Ok(Event::InitDone) => {
                let now = listed.remove(&at).unwrap_or_default();
                let before = known.insert(at, now.clone());
                let mut stores = shelf.open();
                for lost in before.iter().flatten().filter(|target| !now.contains(*target)) {
                    stores.drop_object(lost);
                }
                if before.is_none() {
                    open -= 1;
                }
                if open == 0 {
                    stores.targets.kinds.insert(
                        kind.clone(),
                        Kind::Served { resource: resource.clone(), is_synced: true },
                    );
                    stores.touch_all();
                }
            }
            Ok(Event::Apply(object)) => {
                let target = target_id(&kind, &object);
                shelf.open().put_object(target.clone(), note(&object));
                known.entry(at).or_default().insert(target);
            }
            Ok(Event::Delete(object)) => {
                let target = target_id(&kind, &object);
                shelf.open().drop_object(&target);
                known.entry(at).or_default().remove(&target);
            }
            Err(error) => {
                warn!(kind = %kind.1, error = %chain(&error), "watch failed; it is tried again")
            }
        }
        stale.notify_one();
        shelf.change(|_| {});
    }
}

fn target_id(kind: &KindId, object: &PartialObjectMeta<DynamicObject>) -> TargetId {
    TargetId {
        api_version: Arc::clone(&kind.0),
        kind: Arc::clone(&kind.1),
        namespace: object.namespace().unwrap_or_default().into(),
        name: object.name_any().into(),
    }
}

fn note(object: &PartialObjectMeta<DynamicObject>) -> Note {
    let is_ours = object.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref() == Some("scale")
    });
    Note {
        uid: object.uid().unwrap_or_default().into(),
        resource_version: object.resource_version().unwrap_or_default().into(),
        is_ours,
    }
}

/// One discovery request for the group and version.
async fn look_up(
    client: &Client,
    kind: &KindId,
) -> Result<Result<ApiResource, Unusable>, kube::Error> {
    let list = match kind.0.split_once('/') {
        Some(_) => client.list_api_group_resources(&kind.0).await,
        None => client.list_core_api_resources(&kind.0).await,
    };
    let list = match list {
        Ok(list) => list,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Ok(Err(Unusable::UnknownKind));
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Ok(Err(Unusable::Forbidden(format!("get /apis/{}", kind.0))));
        }
        Err(other) => return Err(other),
    };
    let Some(found) = list.resources.iter().find(|r| *r.kind == *kind.1 && !r.name.contains('/'))
    else {
        return Ok(Err(Unusable::UnknownKind));
    };
    if !list.resources.iter().any(|r| r.name.strip_suffix("/scale") == Some(&found.name))
        || !found.namespaced
    {
        return Ok(Err(Unusable::NotScalable));
    }
    let (group, version) = kind.0.split_once('/').unwrap_or(("", &kind.0));
    Ok(Ok(ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: kind.0.to_string(),
        kind: kind.1.to_string(),
        plural: found.name.clone(),
        ..ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&())
    }))
}

/// Reads every stale `/scale`, some at a time, for as long as the process lives.
pub(super) async fn read_scales(
    client: Client,
    clock: Clock,
    shelf: Arc<Shelf>,
    stale: Arc<Notify>,
) {
    loop {
        let due = std::mem::take(&mut shelf.open().targets.stale);
        if due.is_empty() {
            stale.notified().await;
            continue;
        }
        let failed = stream::iter(due)
            .map(|target| read_scale(&client, clock, &shelf, target))
            .buffer_unordered(READS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>()
            .await;
        if !failed.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut stores = shelf.open();
            for target in failed
                .into_iter()
                .filter(|t| stores.targets.owners.contains_key(t))
                .collect::<Vec<_>>()
            {
                stores.targets.stale.insert(target);
            }
        }
    }
}

/// Reads one `/scale`; returns the target when it should be tried again.
async fn read_scale(
    client: &Client,
    clock: Clock,
    shelf: &Shelf,
    target: TargetId,
) -> Option<TargetId> {
    let resource = match shelf.open().targets.kinds.get(&kind_of(&target)) {
        Some(Kind::Served { resource, .. }) => resource.clone(),
        _ => return None,
    };
    let asked_at = clock.now();
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &target.namespace, &resource);
    let request = api.get_subresource("scale", &target.name);
    let answer = match tokio::time::timeout(Duration::from_secs(5), request).await {
        Ok(answer) => answer,
        Err(_) => return Some(target),
    };
    let note = match answer.map(|object| object.try_parse::<Scale>()) {
        Ok(Ok(scale)) => read(&scale, asked_at),
        Ok(Err(error)) => {
            warn!(%target, error = %chain(&error), "the answer is no Scale");
            ScaleNote::Unreadable(Unusable::NotScalable)
        }
        Err(kube::Error::Api(status)) if status.code == 404 => return None,
        Err(kube::Error::Api(status)) if status.code == 403 => ScaleNote::Unreadable(
            Unusable::Forbidden(format!("get {}/scale in {}", resource.plural, target.namespace)),
        ),
        Err(error) => {
            warn!(%target, error = %chain(&error), "reading the scale failed; it is tried again");
            return Some(target);
        }
    };
    let mut stores = shelf.open();
    stores.targets.scales.insert(target.clone(), note);
    stores.touch_target(&target);
    drop(stores);
    shelf.ring();
    None
}

fn read(scale: &Scale, at: Timestamp) -> ScaleNote {
    let count = |value: Option<i32>| u32::try_from(value.unwrap_or(0)).unwrap_or(0);
    let status = scale.status.as_ref();
    ScaleNote::Read {
        uid: scale.metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: scale.metadata.resource_version.as_deref().unwrap_or_default().into(),
        desired: count(scale.spec.as_ref().and_then(|spec| spec.replicas)),
        current: count(status.map(|status| status.replicas)),
        selector: status.and_then(|status| status.selector.as_deref()).and_then(Selector::read),
        at,
    }
}

/// A pod moved: marks the pipelines whose target it belongs to.
pub(super) fn pod_moved(stores: &mut Stores, name: &Name, labels: &[&str]) {
    for target in stores.targets.touched_by(&name.namespace, labels) {
        stores.touch_target(&target);
    }
}
