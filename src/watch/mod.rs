//! What the cluster says: pipelines, connections, targets and their pods, Secrets. `Watch` starts the stores and answers `seen`;
//! it writes nothing. Called by the daemon only.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{DynamicResourceScope, Object, PartialObjectMeta};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::warn;

use crate::clock::Clock;
use crate::crd::{ClusterConnection, Connection, ScaledPipeline};
use crate::decide::{PipelineId, TargetId};
use crate::tasks::Tasks;

mod stores;
mod written;
mod targets;
mod pods;
mod secrets;
mod seen;

pub use seen::{Seen, Sight};

use stores::{Keeper, Name, Shelf, Stores, config, keep};

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Namespaces; empty means all.
    pub namespaces: Vec<String>,
    /// Label selector for pipelines; `None` means all.
    pub selector: Option<String>,
    /// Namespaces whose Secrets a ClusterConnection may name.
    pub secret_namespaces: BTreeSet<String>,
}

/// The namespaces a store covers; empty means all.
#[derive(Debug, Clone)]
struct Scope(Vec<String>);

impl Scope {
    /// One handle for each namespace, or one for all.
    fn apis<K>(&self, client: &Client, resource: &ApiResource) -> Vec<Api<K>>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        if self.0.is_empty() {
            return vec![Api::all_with(client.clone(), resource)];
        }
        self.0
            .iter()
            .map(|namespace| Api::namespaced_with(client.clone(), namespace, resource))
            .collect()
    }
}

/// A HorizontalPodAutoscaler cut down to what it scales.
type WireHpa = Object<WireHpaSpec, Nothing>;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHpaSpec {
    scale_target_ref: WireRef,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRef {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
}

/// A part of an object that is not looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Nothing {}

/// The watched cluster.
pub struct Watch {
    client: Client,
    scope: Scope,
    options: Options,
    shelf: Arc<Shelf>,
    tasks: Tasks,
    /// Rings when a `/scale` is to be read.
    stale: Arc<Notify>,
    /// Rings when the set of wanted Secrets moved.
    wanted_secrets: Arc<Notify>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Watch {
    /// Starts a task for each store. Decisions wait until [`Watch::unsynced`] is empty.
    pub fn start(client: Client, clock: Clock, options: Options, tasks: Tasks) -> Self {
        let watch = Self {
            client,
            scope: Scope(options.namespaces.clone()),
            options,
            shelf: Arc::default(),
            tasks,
            stale: Arc::default(),
            wanted_secrets: Arc::default(),
        };
        watch.shelf.open().lendable.clone_from(&watch.options.secret_namespaces);
        watch.keep_own_kinds();
        watch.keep_others();
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        watch.tasks.spawn(
            "read scales",
            targets::read_scales(client, clock, shelf, Arc::clone(&watch.stale)),
        );
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        watch.tasks.spawn(
            "read secrets",
            secrets::read_all(client, shelf, Arc::clone(&watch.wanted_secrets)),
        );
        watch
    }

    /// Stores that have not had their first list; nothing is decided before this is empty.
    pub fn unsynced(&self) -> Vec<String> {
        self.shelf.unsynced()
    }

    /// Waits for the next change of any store.
    pub async fn changed(&self) {
        self.shelf.rung().await;
    }

    /// Reads a target's `/scale` again: after a write whose outcome nobody knows, or that came too late.
    pub fn reread(&self, target: &TargetId) {
        self.shelf.open().targets.reread(target);
        self.stale.notify_one();
    }

    /// All pipelines there are.
    pub fn pipelines(&self) -> Vec<PipelineId> {
        self.shelf.open().pipelines.keys().cloned().collect()
    }

    /// The pipelines that something moved for since the last call.
    pub fn take_moved(&self) -> BTreeSet<PipelineId> {
        std::mem::take(&mut self.shelf.open().dirty)
    }

    /// The due pipelines as they stand at `now`, and the questions of all when they may have changed.
    pub fn seen(&self, due: &BTreeSet<PipelineId>, now: Timestamp) -> Seen {
        let mut stores = self.shelf.open();
        let mut questions = None;
        if std::mem::take(&mut stores.questions_moved) {
            stores.understand();
            let (kinds, has_new_secrets, all) = stores.work_out();
            questions = Some(all);
            for kind in kinds {
                let (client, scope) = (self.client.clone(), self.scope.clone());
                let (shelf, stale) = (Arc::clone(&self.shelf), Arc::clone(&self.stale));
                self.tasks.spawn(
                    "follow a target kind",
                    targets::follow(client, kind, scope, shelf, stale),
                );
            }
            if has_new_secrets {
                self.wanted_secrets.notify_one();
            }
            self.stale.notify_one();
        }
        let gone = std::mem::take(&mut stores.gone).into_iter().collect();
        Seen { sights: stores.sights(due, now), gone, questions }
    }

    fn keep_own_kinds(&self) {
        let pipelines = match &self.options.selector {
            Some(selector) => config().labels(selector),
            None => config(),
        };
        self.keep(
            "pipelines",
            &ApiResource::erase::<ScaledPipeline>(&()),
            pipelines,
            false,
            Stores::put_pipeline,
            |stores, name| {
                stores.drop_pipeline(name);
            },
        );
        self.keep(
            "connections",
            &ApiResource::erase::<Connection>(&()),
            config(),
            false,
            |stores, name, object: DynamicObject| {
                if let Some(connection) = parsed(name, object) {
                    stores.connections.insert(name.clone(), Arc::new(connection));
                    stores.reread_all();
                }
            },
            |stores, name| {
                stores.connections.remove(name);
                stores.reread_all();
            },
        );
        self.keep_cluster_wide(
            "cluster connections",
            &ApiResource::erase::<ClusterConnection>(&()),
            |stores, name, object: DynamicObject| {
                if let Some(connection) = parsed(name, object) {
                    stores.cluster_connections.insert(Arc::clone(&name.name), Arc::new(connection));
                    stores.reread_all();
                }
            },
            |stores, name| {
                stores.cluster_connections.remove(&name.name);
                stores.reread_all();
            },
        );
    }

    fn keep_others(&self) {
        self.keep_cluster_wide(
            "namespaces",
            &ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()),
            |stores, name, object: PartialObjectMeta<DynamicObject>| {
                let labels = object.metadata.labels.unwrap_or_default();
                if stores.namespaces.insert(Arc::clone(&name.name), labels.clone()) != Some(labels)
                {
                    stores.reread_all();
                }
            },
            |stores, name| {
                stores.namespaces.remove(&name.name);
            },
        );
        self.keep(
            "pods",
            &ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
            config(),
            false,
            |stores, name, pod: pods::WirePod| {
                if let Some([new, old]) = stores.pods.put(name, &pod) {
                    targets::pod_moved(stores, name, &[&new, &old]);
                }
            },
            |stores, name| {
                if let Some(labels) = stores.pods.gone(name) {
                    targets::pod_moved(stores, name, &[&labels]);
                }
            },
        );
        self.keep(
            "horizontal pod autoscalers",
            &ApiResource::erase::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>(&()),
            config(),
            true,
            |stores, name, hpa: WireHpa| {
                let named = hpa.spec.scale_target_ref;
                let target = TargetId {
                    api_version: named.api_version.into(),
                    kind: named.kind.into(),
                    namespace: Arc::clone(&name.namespace),
                    name: named.name.into(),
                };
                stores.touch_target(&target);
                stores.hpas.insert(name.clone(), target);
            },
            |stores, name| {
                if let Some(target) = stores.hpas.remove(name) {
                    stores.touch_target(&target);
                }
            },
        );
    }

    /// Starts the watches of a store of namespaced objects, one for each namespace in scope.
    fn keep<K>(
        &self,
        store: &str,
        resource: &ApiResource,
        config: kube::runtime::watcher::Config,
        is_optional: bool,
        put: fn(&mut Stores, &Name, K),
        gone: fn(&mut Stores, &Name),
    ) where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
            + Clone
            + Debug
            + Send
            + 'static,
        K: serde::de::DeserializeOwned,
    {
        for (at, api) in self.scope.apis::<K>(&self.client, resource).into_iter().enumerate() {
            let store = self
                .scope
                .0
                .get(at)
                .map_or_else(|| store.to_owned(), |ns| format!("{store} in {ns}"));
            self.shelf.await_store(&store);
            let keeper = Keeper { store, is_optional, put, gone };
            self.tasks
                .spawn("keep a store", keep(api, config.clone(), Arc::clone(&self.shelf), keeper));
        }
    }

    /// The same for cluster-scoped objects. A daemon with rights in some namespaces only may not read them, and lives without.
    fn keep_cluster_wide<K>(
        &self,
        store: &str,
        resource: &ApiResource,
        put: fn(&mut Stores, &Name, K),
        gone: fn(&mut Stores, &Name),
    ) where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
            + Clone
            + Debug
            + Send
            + 'static,
        K: serde::de::DeserializeOwned,
    {
        self.shelf.await_store(store);
        let keeper = Keeper { store: store.to_owned(), is_optional: true, put, gone };
        let api = Api::all_with(self.client.clone(), resource);
        self.tasks.spawn("keep a store", keep(api, config(), Arc::clone(&self.shelf), keeper));
    }
}

/// Reads an object as one of ours. One that cannot be read is left out and said; the watch goes on.
fn parsed<K: Resource + serde::de::DeserializeOwned>(
    name: &Name,
    object: DynamicObject,
) -> Option<K> {
    match object.try_parse::<K>() {
        Ok(object) => Some(object),
        Err(error) => {
            warn!(name = %name.name, namespace = %name.namespace, error = %stores::chain(&error), "an object cannot be read");
            None
        }
    }
}
