//! Reads the counts of the targets that moved: their `/scale`, or the object itself where that holds the lever; of a CronJob its Jobs are
//! counted instead. The metadata watch tells when to read; nothing else does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::DynamicObject;
use kube::{Api, Client};
use tokio::sync::Notify;
use tracing::warn;

use crate::clock::Clock;
use crate::decide::{TargetId, Unusable, Writing};

use super::jobs;
use super::levers::Lever;
use super::selector::Selector;
use super::stores::{Shelf, chain};
use super::targets::{self, Kind, ScaleNote, kind_of};

/// How many `/scale` are read at once.
const READS_AT_ONCE: usize = 16;

/// How long to wait before a read that failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait before one asks again for what one may not read: a right that is granted moves no object.
const DENIED: Duration = Duration::from_secs(20);

/// How long one read may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads every stale `/scale`, some at a time, for as long as the process lives. A slow one holds up no other.
pub(super) async fn read_all(client: Client, clock: Clock, shelf: Arc<Shelf>, stale: Arc<Notify>) {
    let mut reads = FuturesUnordered::new();
    let mut rests = FuturesUnordered::new();
    // What is read or rests.
    let mut busy = BTreeSet::new();
    loop {
        while reads.len() < READS_AT_ONCE {
            let Some(target) = take_one(&shelf, &busy) else { break };
            busy.insert(target.clone());
            let (client, shelf) = (&client, &*shelf);
            reads.push(async move {
                let attempt = attempt(client, clock, shelf, &target).await;
                (target, attempt)
            });
        }
        tokio::select! {
            () = stale.notified() => {}
            Some((target, attempt)) = reads.next() => match attempt {
                Attempt::Settled => drop(busy.remove(&target)),
                Attempt::Again(pause) => rests.push(async move {
                    tokio::time::sleep(pause).await;
                    target
                }),
            },
            Some(target) = rests.next() => {
                busy.remove(&target);
                let mut stores = shelf.open();
                if stores.targets.owners(&target).is_some() {
                    stores.targets.stale.insert(target);
                }
            }
        }
    }
}

/// Takes a stale target that is not being read already: one that moved meanwhile is read once more afterwards.
fn take_one(shelf: &Shelf, busy: &BTreeSet<TargetId>) -> Option<TargetId> {
    let mut stores = shelf.open();
    let target = stores.targets.stale.iter().find(|target| !busy.contains(*target)).cloned()?;
    stores.targets.stale.remove(&target);
    Some(target)
}

/// How a read went.
enum Attempt {
    Settled,
    /// It is to be tried again after this.
    Again(Duration),
}

async fn attempt(client: &Client, clock: Clock, shelf: &Shelf, target: &TargetId) -> Attempt {
    if target.is_jobs() {
        let is_read = jobs::read(client, clock, shelf, target).await;
        return if is_read { Attempt::Settled } else { Attempt::Again(PAUSE) };
    }
    let resource = match shelf.open().targets.kinds.get(&kind_of(target)) {
        Some(Kind::Served { resource, .. }) => resource.clone(),
        _ => return Attempt::Settled,
    };
    let asked_at = clock.now();
    let lever = Lever::of(&target.api_version, &target.kind);
    let api: Api<DynamicObject> = match lever {
        Some(Lever::Namespace) => Api::all_with(client.clone(), &resource),
        _ => Api::namespaced_with(client.clone(), &target.namespace, &resource),
    };
    let request = async {
        match lever {
            Some(_) => api.get(&target.name).await,
            None => api.get_subresource("scale", &target.name).await,
        }
    };
    let Ok(answer) = tokio::time::timeout(PATIENCE, request).await else {
        return Attempt::Again(PAUSE);
    };
    let note = match answer {
        Ok(object) => match lever {
            Some(lever) => read_field(lever, target, &object, asked_at),
            None => read(target, object, asked_at),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => return Attempt::Settled,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let what = if lever.is_some() { "" } else { "/scale" };
            let what = format!("get {}{what} in {}", resource.plural, target.namespace);
            ScaleNote::Unreadable(Unusable::Forbidden(what))
        }
        Err(error) => {
            warn!(workload = %target, error = %chain(&error), "reading the scale failed; it is tried again");
            return Attempt::Again(PAUSE);
        }
    };
    let is_refused = matches!(note, ScaleNote::Unreadable(Unusable::Forbidden(_)));
    let mut stores = shelf.open();
    stores.targets.scales.insert(target.clone(), note);
    stores.touch_target(target);
    drop(stores);
    shelf.ring();
    if is_refused { Attempt::Again(DENIED) } else { Attempt::Settled }
}

/// What `/scale` says.
fn read(target: &TargetId, answer: DynamicObject, at: Timestamp) -> ScaleNote {
    let scale: Scale = match answer.try_parse() {
        Ok(scale) => scale,
        Err(error) => {
            warn!(workload = %target, error = %chain(&error), "the answer is no Scale");
            return ScaleNote::Unreadable(Unusable::NotScalable);
        }
    };
    let count = |value: Option<i32>| u32::try_from(value.unwrap_or(0)).unwrap_or(0);
    let status = scale.status.as_ref();
    ScaleNote::Read {
        uid: scale.metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: scale.metadata.resource_version.as_deref().unwrap_or_default().into(),
        desired: count(scale.spec.as_ref().and_then(|spec| spec.replicas)),
        current: Some(count(status.map(|status| status.replicas))),
        selector: status.and_then(|status| status.selector.as_deref()).and_then(Selector::read),
        pods_each: 1,
        writing: targets::writing(target),
        at,
    }
}

/// What the object itself says, for a kind that has a lever of its own.
fn read_field(lever: Lever, target: &TargetId, object: &DynamicObject, at: Timestamp) -> ScaleNote {
    let object = match serde_json::to_value(object) {
        Ok(object) => object,
        Err(error) => {
            return ScaleNote::Unreadable(Unusable::NoLever(format!("it cannot be read: {error}")));
        }
    };
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().into();
    match lever.read(&object, target.part.as_deref()) {
        Ok(count) => ScaleNote::Read {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            desired: count.desired,
            current: count.current,
            selector: count.selector.as_deref().and_then(Selector::read),
            pods_each: count.pods_each,
            writing: Writing::Field(Arc::new(count.field)),
            at,
        },
        Err(what) => ScaleNote::Unreadable(Unusable::NoLever(what)),
    }
}
