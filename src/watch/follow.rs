//! Follows the objects of a target kind: found by discovery, then a metadata watch for as long as the process lives.
//! One task a kind, started when the first pipeline names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::decide::{TargetId, Unusable};

use super::Scope;
use super::levers::{Lever, OURS};
use super::pauses::Pauses;
use super::stores::{Shelf, chain, config, is_refused};
use super::targets::{Kind, KindId, Note, Unlisted, in_place};

/// How long to wait before asking again for a kind that is not served.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// How long to rest when discovery failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// How long one look at discovery may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds a kind, then keeps its objects' notes for as long as the process lives. Asks again while it is not served.
pub(super) async fn follow(
    client: Client,
    kind: KindId,
    scope: Scope,
    shelf: Arc<Shelf>,
    stale: Arc<Notify>,
) {
    let resource = loop {
        let answer = tokio::time::timeout(PATIENCE, look_up(&client, &kind)).await;
        let answer = answer.unwrap_or_else(|silence| Err(kube::Error::Service(silence.into())));
        let failure = match answer {
            Ok(Ok(resource)) => break resource,
            Ok(Err(why)) => why,
            Err(error) => {
                warn!(kind = %kind.1, error = %chain(&error), "discovery failed; it is tried again");
                tokio::time::sleep(AFTER_FAILURE).await;
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
    let (places, watches) = (scope.extents(), watches(&client, &resource, &scope));
    let mut unlisted: Unlisted = places.iter().map(|place| (place.clone(), None)).collect();
    shelf.open().put_kind(&kind, &resource, unlisted.clone());
    let watches = watches
        .into_iter()
        .map(|(api, config)| Box::pin(watcher(api, config).backoff(Pauses::new())));
    let mut events = stream::select_all(
        watches.enumerate().map(|(at, watch)| watch.map(move |event| (at, event))),
    );
    let mut listed: BTreeMap<usize, BTreeSet<TargetId>> = BTreeMap::new();
    let mut known: BTreeMap<usize, BTreeSet<TargetId>> = BTreeMap::new();
    while let Some((at, event)) = events.next().await {
        match event {
            Ok(Event::Init) => {
                // What a list that broke off has brought is there as well, and may be gone by the next.
                if let Some(half) = listed.remove(&at) {
                    known.entry(at).or_default().extend(half);
                }
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
                if let Some(place) = places.get(at) {
                    unlisted.remove(place);
                }
                stores.put_kind(&kind, &resource, unlisted.clone());
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
                warn!(kind = %kind.1, error = %chain(&error), "watch failed; it is tried again");
                let place = places.get(at).filter(|_| is_refused(&error));
                if let Some((place, why)) =
                    place.and_then(|place| Some((place, unlisted.get_mut(place)?)))
                {
                    let what = format!("list {}", spelled(&resource));
                    *why = Some(Unusable::Forbidden(in_place(&what, place)));
                    shelf.open().put_kind(&kind, &resource, unlisted.clone());
                }
            }
        }
        stale.notify_one();
        shelf.change(|_| {});
    }
}

/// `deployments.apps`, as rights are spelled.
fn spelled(resource: &ApiResource) -> String {
    match &*resource.group {
        "" => resource.plural.clone(),
        group => format!("{}.{group}", resource.plural),
    }
}

/// What to watch for a kind: the namespaces in scope, or of all namespaces those in scope.
fn watches(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
) -> Vec<(Api<PartialObjectMeta<DynamicObject>>, watcher::Config)> {
    if !is_namespace(&resource.api_version, &resource.kind) {
        return scope.apis(client, resource).into_iter().map(|api| (api, config())).collect();
    }
    let all = || Api::all_with(client.clone(), resource);
    if scope.0.is_empty() {
        return vec![(all(), config())];
    }
    let only = |name: &String| config().fields(&format!("metadata.name={name}"));
    scope.0.iter().map(|name| (all(), only(name))).collect()
}

fn is_namespace(api_version: &str, kind: &str) -> bool {
    Lever::of(api_version, kind) == Some(Lever::Namespace)
}

fn target_id(kind: &KindId, object: &PartialObjectMeta<DynamicObject>) -> TargetId {
    let name: Arc<str> = object.name_any().into();
    let namespace = object.namespace().map(Into::into);
    TargetId {
        api_version: Arc::clone(&kind.0),
        kind: Arc::clone(&kind.1),
        // A pipeline may name the namespace it lies in, and no other.
        namespace: namespace.unwrap_or_else(|| Arc::clone(&name)),
        name,
        part: None,
    }
}

fn note(object: &PartialObjectMeta<DynamicObject>) -> Note {
    let is_ours = object.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(OURS)
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
    let has_scale = || {
        let scale = |name: &str| name.strip_suffix("/scale") == Some(&found.name);
        found.namespaced && list.resources.iter().any(|resource| scale(&resource.name))
    };
    let is_scalable = Lever::of(&kind.0, &kind.1).is_some() || has_scale();
    if !is_scalable {
        return Ok(Err(Unusable::NotScalable));
    }
    let (group, version) = kind.0.split_once('/').unwrap_or(("", &kind.0));
    Ok(Ok(ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: kind.0.to_string(),
        kind: kind.1.to_string(),
        plural: found.name.clone(),
    }))
}
