//! The stores: what the API server last said of each object we care for, and whether all have had their first list.
//! Filled by one `keep` task a kind; read by `seen`. Objects are cut down as they arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::crd::{ClusterConnection, Connection};
use crate::decide::{PipelineId, TargetId};
use crate::observe::{Address, Credentials};

use super::budgets::Budgets;
use super::drains::Drains;
use super::inside::Counted;
use super::jobs::Jobs;
use super::meter::Meter;
use super::nodes::Nodes;
use super::pauses::Pauses;
use super::pods::Pods;
use super::quotas::Quotas;
use super::reserves::Stock;
use super::secrets::Vault;
use super::strimzi::Strimzi;
use super::targets::Targets;
use super::written::Written;

/// Namespace and name; the namespace is empty for cluster-scoped kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

/// A part of an object that is not looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Nothing {}

/// What the daemon's flags say of all pipelines.
#[derive(Debug, Default)]
pub(super) struct House {
    /// Namespaces whose Secrets a `ClusterConnection` may name.
    pub(super) lendable: BTreeSet<String>,
    /// Every stage is read as `mode: Observe`.
    pub(super) observe_only: bool,
    /// What placeholders are made of now, where anybody makes any.
    pub(super) placeholders: Option<String>,
    /// By which it is told how old is what was said.
    pub(super) clock: Option<Clock>,
}

/// Everything that is held.
#[derive(Debug, Default)]
pub(super) struct Stores {
    pub(super) pipelines: BTreeMap<PipelineId, Written>,
    pub(super) connections: BTreeMap<Name, Arc<Connection>>,
    pub(super) cluster_connections: BTreeMap<Arc<str>, Arc<ClusterConnection>>,
    /// Labels of namespaces, which a `ClusterConnection` may select by.
    pub(super) namespaces: BTreeMap<Arc<str>, BTreeMap<String, String>>,
    /// Which target each HorizontalPodAutoscaler names.
    pub(super) hpas: BTreeMap<Name, TargetId>,
    pub(super) pods: Pods,
    pub(super) nodes: Nodes,
    pub(super) budgets: Budgets,
    pub(super) drains: Drains,
    pub(super) quotas: Quotas,
    pub(super) reserves: Stock,
    /// Does any pipeline keep room on nodes, or did it, as its status says?
    pub(super) keeps_room: bool,
    /// Pipelines with lanes: whatever moves of nodes concerns them.
    pub(super) laned: BTreeSet<PipelineId>,
    pub(super) targets: Targets,
    pub(super) jobs: Jobs,
    pub(super) secrets: Vault,
    pub(super) strimzi: Strimzi,
    /// What each address was last logged in to with.
    pub(super) in_use: BTreeMap<Address, Arc<Credentials>>,
    pub(super) meter: Meter,
    /// Whose pods are counted.
    pub(super) counted: Counted,
    pub(super) house: House,
    /// Pipelines that something changed for since the last turn.
    pub(super) dirty: BTreeSet<PipelineId>,
    /// Deleted pipelines that the daemon has not been told of.
    pub(super) gone: BTreeSet<PipelineId>,
    /// True when the set of questions may have changed.
    pub(super) questions_moved: bool,
    /// Stores that still wait for their first list.
    unsynced: BTreeSet<String>,
    /// Stores of what may not be read, or is not served.
    without: BTreeSet<String>,
}

impl Stores {
    /// Marks every pipeline, as a change of something shared does.
    pub(super) fn touch_all(&mut self) {
        self.dirty.extend(self.pipelines.keys().cloned());
        self.questions_moved = true;
    }

    /// Is there anything for the loop to do?
    pub(super) fn has_news(&self) -> bool {
        self.questions_moved
            || !self.dirty.is_empty()
            || !self.gone.is_empty()
            || self.nodes.has_moved
            || self.budgets.have_moved
    }

    /// Is any store of this name one of what may not be read, or is not served?
    pub(super) fn is_without(&self, store: &str) -> bool {
        self.without.iter().any(|it| it.starts_with(store))
    }

    /// Does any store of this name still wait for its first list?
    pub(super) fn awaits(&self, store: &str) -> bool {
        self.unsynced.iter().any(|it| it.starts_with(store))
    }

    /// May this not be read, or is it not served, in this namespace?
    pub(super) fn is_without_in(&self, store: &str, namespace: &str) -> bool {
        names_in(store, namespace).iter().any(|name| self.without.contains(name))
    }

    /// Does this still wait for its first list in this namespace?
    pub(super) fn awaits_in(&self, store: &str, namespace: &str) -> bool {
        names_in(store, namespace).iter().any(|name| self.unsynced.contains(name))
    }

    /// Notes whether a store may be read: what is seen of any pipeline may hang on it. True: that is news.
    fn note_without(&mut self, store: &str, is_without: bool) -> bool {
        let has_changed = if is_without {
            self.without.insert(store.to_owned())
        } else {
            self.without.remove(store)
        };
        if has_changed {
            self.touch_all();
        }
        has_changed
    }

    /// Marks the pipelines that name a target.
    pub(super) fn touch_target(&mut self, target: &TargetId) {
        self.quotas.touch(&target.namespace);
        if let Some(owners) = self.targets.owners(target) {
            self.dirty.extend(owners.iter().cloned());
        }
    }

    /// The labels of a namespace changed: what a `ClusterConnection` lends may have, and which budgets are over it.
    pub(super) fn relabelled(&mut self, namespace: &str) {
        if !self.cluster_connections.is_empty() {
            self.reread_all();
        } else if !self.budgets.is_empty() {
            self.touch_namespace(namespace);
        }
    }

    /// Drops what was read out of all pipelines, since a connection or a label that they lean on changed.
    pub(super) fn reread_all(&mut self) {
        for written in self.pipelines.values_mut() {
            written.forget_meaning();
        }
        self.touch_all();
    }
}

/// How a store is called that covers a namespace, or all.
pub(super) fn called(store: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{store} of {namespace}"),
        None => format!("{store} 0"),
    }
}

/// The two of which one covers a namespace.
fn names_in(store: &str, namespace: &str) -> [String; 2] {
    [called(store, None), called(store, Some(namespace))]
}

/// The stores and the bell that rings when one moved.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    stores: Mutex<Stores>,
    bell: Notify,
}

impl Shelf {
    /// Opens the stores. Held for moments only; never across an await.
    pub(super) fn open(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the stores, and wakes the loop if that is news to it: most events are about objects that nobody scales.
    pub(super) fn change(&self, change: impl FnOnce(&mut Stores)) {
        let mut stores = self.open();
        change(&mut stores);
        let has_news = stores.has_news();
        drop(stores);
        if has_news {
            self.ring();
        }
    }

    /// Wakes the loop.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for the next change.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Announces a store that decisions must wait for.
    pub(super) fn await_store(&self, store: &str) {
        self.open().unsynced.insert(store.to_owned());
    }

    /// A store has had its first list.
    pub(super) fn synced(&self, store: &str) {
        if self.open().unsynced.remove(store) {
            debug!(store, "first list is in");
            self.ring();
        }
    }

    /// Which stores are still waited for.
    pub(super) fn unsynced(&self) -> Vec<String> {
        self.open().unsynced.iter().cloned().collect()
    }
}

/// A kind that a store can be kept of: found at run time, so that one object of an odd shape does not stop the watch.
pub(super) trait Kept:
    Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<T> Kept for T where
    T: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static
{
}

/// Whether decisions go on without a store, when it may not be read or its kind is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Never: nothing is decided before its first list.
    Never,
    /// Once it was refused for a while: an API server that just came up refuses what it will grant in a moment.
    Refused,
    /// The same, and at once when its kind is not served and never was.
    RefusedOrUnserved,
    /// At once.
    AtOnce,
}

impl Without {
    /// In one namespace of several: that it was deleted, with its Role, must not keep the others waiting.
    pub(super) fn in_a_namespace(self) -> Self {
        if self == Self::Never { Self::Refused } else { self }
    }

    /// How many such answers in a row are to be believed; `None`: it is waited for. What was listed before is not so soon unserved: an API
    /// server that just came up does not know yet what it will serve.
    fn believes(self, error: &watcher::Error, was_listed: bool) -> Option<usize> {
        let code = code_of(error)?;
        match (self, code) {
            (Self::AtOnce | Self::RefusedOrUnserved, 404) if was_listed => Some(REFUSALS),
            (Self::AtOnce, 401 | 403 | 404) | (Self::RefusedOrUnserved, 404) => Some(1),
            (Self::Refused | Self::RefusedOrUnserved, 401 | 403) => Some(REFUSALS),
            _ => None,
        }
    }
}

/// What to do with the objects of one kind.
#[derive(Clone)]
pub(super) struct Keeper<T> {
    /// Its name in logs and in `unsynced`.
    pub(super) store: String,
    /// What to ask for.
    pub(super) config: watcher::Config,
    /// May decisions go on without it?
    pub(super) without: Without,
    /// An object came or changed.
    pub(super) put: fn(&mut Stores, &Name, T),
    /// An object went.
    pub(super) gone: fn(&mut Stores, &Name),
}

/// Watch connections end after this many seconds, so that a half-open one is noticed within 60.
const WATCH_SECONDS: u32 = 55;
/// A page of a list is read and dropped before the next is asked for: what a longer one takes meanwhile is never quite given back to
/// the system.
const PAGE: u32 = 100;

/// What one may not read, or what is not served, is asked for again after this: it lasts until someone changes the cluster, and the watch
/// by itself would ask each second.
const DENIED: Duration = Duration::from_secs(30);
/// A refusal is believed the third time in a row, with these pauses between.
const REFUSALS: usize = 3;
const DOUBT: Duration = Duration::from_secs(10);

/// The watch settings of every store.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

/// Keeps one store true for as long as the process lives. `known` holds the names of this scope, so that what a relist no
/// longer shows is dropped, and only after the list was complete.
pub(super) async fn keep<T: Kept>(api: Api<T>, shelf: Arc<Shelf>, keeper: Keeper<T>) {
    let mut known = BTreeSet::new();
    let mut listed = BTreeSet::new();
    let mut refusals = 0;
    let mut was_listed = false;
    let watch = || watcher(api.clone(), keeper.config.clone()).backoff(Pauses::new()).boxed();
    let mut stream = watch();
    while let Some(event) = stream.next().await {
        match event {
            // What a list that broke off has brought is there as well, and may be gone by the next.
            Ok(watcher::Event::Init) => known.append(&mut listed),
            Ok(watcher::Event::InitApply(object)) => {
                let mut name = name_of(&object);
                // Lists go namespace by namespace, so those of one can share its name.
                if let Some(last) =
                    listed.last().filter(|last: &&Name| last.namespace == name.namespace)
                {
                    name.namespace = Arc::clone(&last.namespace);
                }
                (keeper.put)(&mut shelf.open(), &name, object);
                listed.insert(name);
            }
            Ok(watcher::Event::InitDone) => {
                let lost = known.difference(&listed).cloned().collect::<Vec<_>>();
                for name in lost {
                    (keeper.gone)(&mut shelf.open(), &name);
                }
                known = std::mem::take(&mut listed);
                refusals = 0;
                was_listed = true;
                shelf.open().note_without(&keeper.store, false);
                shelf.synced(&keeper.store);
                shelf.ring();
            }
            Ok(watcher::Event::Apply(object)) => {
                let name = name_of(&object);
                shelf.change(|stores| (keeper.put)(stores, &name, object));
                known.insert(name);
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = name_of(&object);
                shelf.change(|stores| (keeper.gone)(stores, &name));
                known.remove(&name);
            }
            Err(error) => {
                let (store, why) = (&keeper.store, chain(&error));
                let Some(enough) = keeper.without.believes(&error, was_listed) else {
                    warn!(store, error = %why, "watch failed; it is tried again");
                    refusals = 0;
                    continue;
                };
                refusals += 1;
                if refusals < enough {
                    warn!(store, error = %why, "it may not be read; it is asked for again before that is believed");
                    tokio::time::sleep(DOUBT).await;
                } else {
                    if shelf.open().note_without(store, true) {
                        warn!(store, error = %why, "done without until it can be read; hint: penstock check");
                    }
                    shelf.synced(store);
                    shelf.ring();
                    tokio::time::sleep(DENIED).await;
                }
                // Begun anew with a list: by that alone it shows when it is granted.
                stream = watch();
            }
        }
    }
}

fn name_of<T: Resource>(object: &T) -> Name {
    Name {
        namespace: object.namespace().unwrap_or_default().into(),
        name: object.name_any().into(),
    }
}

/// Not allowed: it lasts until someone changes the cluster.
pub(super) fn is_refused(error: &watcher::Error) -> bool {
    matches!(code_of(error), Some(401 | 403))
}

/// What the API server answered.
fn code_of(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
