//! Reads the counts of the targets that moved: their `/scale`, or the object itself where that holds the lever; of a CronJob its Jobs are
//! counted instead. The metadata watch tells when to read; nothing else does.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
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
    let mut last = None;
    loop {
        while reads.len() < READS_AT_ONCE {
            let Some(target) = take_one(&shelf, &busy, last.as_ref()) else { break };
            busy.insert(target.clone());
            last = Some(target.clone());
            let (client, shelf) = (&client, &*shelf);
            reads.push(async move {
                let attempt = attempt(client, clock, shelf, &target).await;
                if matches!(attempt, Attempt::Failed) {
                    // In its place: thousands that fail are no reason to ask an API server in trouble thousands of times a second.
                    tokio::time::sleep(PAUSE).await;
                }
                (target, attempt)
            });
        }
        tokio::select! {
            () = stale.notified() => {}
            Some((target, attempt)) = reads.next() => match attempt {
                Attempt::Settled => drop(busy.remove(&target)),
                Attempt::Failed => again(&shelf, &mut busy, target),
                Attempt::Denied => rests.push(async move {
                    tokio::time::sleep(DENIED).await;
                    target
                }),
            },
            Some(target) = rests.next() => again(&shelf, &mut busy, target),
        }
    }
}

/// It is to be read again, if anybody wants it still.
fn again(shelf: &Shelf, busy: &mut BTreeSet<TargetId>, target: TargetId) {
    busy.remove(&target);
    let mut stores = shelf.open();
    if stores.targets.owners(&target).is_some() {
        stores.targets.stale.insert(target);
    }
}

/// Takes a stale target that is not being read already: one that moved meanwhile is read once more afterwards. It is the next after the `last`,
/// so that those that fail again and again keep no other from its turn.
fn take_one(shelf: &Shelf, busy: &BTreeSet<TargetId>, last: Option<&TargetId>) -> Option<TargetId> {
    let mut stores = shelf.open();
    let stale = &stores.targets.stale;
    let after = last.into_iter().flat_map(|last| stale.range((Excluded(last), Unbounded)));
    let target = after.chain(stale).find(|target| !busy.contains(*target)).cloned()?;
    stores.targets.stale.remove(&target);
    Some(target)
}

/// How a read went.
enum Attempt {
    Settled,
    /// It is to be tried again after a pause.
    Failed,
    /// One may not: that lasts until somebody grants it, and needs no place meanwhile.
    Denied,
}

async fn attempt(client: &Client, clock: Clock, shelf: &Shelf, target: &TargetId) -> Attempt {
    if target.is_jobs() {
        let is_read = jobs::read(client, clock, shelf, target).await;
        return if is_read { Attempt::Settled } else { Attempt::Failed };
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
        return Attempt::Failed;
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
            return Attempt::Failed;
        }
    };
    let is_refused = matches!(note, ScaleNote::Unreadable(Unusable::Forbidden(_)));
    let mut stores = shelf.open();
    stores.targets.scales.insert(target.clone(), note);
    stores.touch_target(target);
    drop(stores);
    shelf.ring();
    if is_refused { Attempt::Denied } else { Attempt::Settled }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::api::ApiResource;
    use kube::client::Body;
    use tower::BoxError;

    use super::*;
    use crate::decide::PipelineId;

    fn deployment(name: &str) -> TargetId {
        TargetId::object(&"shop".into(), "apps/v1", "Deployment", name)
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_reads_that_fail_so_many_begin_a_second_and_no_other_waits_for_ever() {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        let failing = tower::service_fn(move |request: Request<Body>| {
            log.lock().unwrap().push(request.uri().path().to_owned());
            async {
                Ok::<_, BoxError>(Response::builder().status(500).body(Full::<Bytes>::default())?)
            }
        });
        let client = Client::new(failing, "default");
        let shelf = Arc::<Shelf>::default();
        let all: Vec<_> = (0..100).map(|n| deployment(&format!("d{n:02}"))).collect();
        let owner = PipelineId { namespace: "shop".into(), name: "p".into() };
        let owners = all.iter().map(|target| (target.clone(), vec![owner.clone()]));
        shelf.open().targets.want(owners.collect::<BTreeMap<_, _>>());
        let resource = ApiResource::erase::<Deployment>(&());
        shelf.open().put_kind(&kind_of(&deployment("d")), &resource, BTreeMap::new());
        shelf.open().targets.stale.extend(all);
        let reading = read_all(client, Clock::start(), shelf, Arc::default());
        assert!(tokio::time::timeout(Duration::from_millis(9_500), reading).await.is_err());
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 10 * READS_AT_ONCE);
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 100, "each had its turn");
    }
}
