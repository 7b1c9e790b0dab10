//! What the cluster says: pipelines, connections, targets and their pods, Secrets. `Watch` starts the stores and answers `seen`;
//! it writes nothing. Called by the daemon only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::decide::{Observation, PipelineId, TargetId};
use crate::tasks::Tasks;

mod stores;
mod pauses;
mod kinds;
mod written;
mod targets;
mod follow;
mod levers;
mod scales;
mod pods;
mod reserves;
mod selector;
mod nodes;
mod budgets;
mod drains;
mod quotas;
mod jobs;
mod secrets;
mod strimzi;
mod seen;
mod meter;
mod usage;
mod inside;

pub use budgets::{BudgetPlace, BudgetSight};
pub use levers::{Count, Lever};
pub use nodes::{Place, PoolSight, Unpriced};
pub use seen::{Seen, Sight};

use seen::{Need, Work};
use stores::{House, Keeper, Kept, Shelf, keep};

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Namespaces; empty means all.
    pub namespaces: Vec<String>,
    /// Ask for nothing that lies in no namespace: `ClusterConnection`s are then unknown.
    pub is_namespaced: bool,
    /// Label selector for pipelines; `None` means all.
    pub selector: Option<String>,
    /// Read every stage as `mode: Observe`: decide and report, write to no workload.
    pub observe_only: bool,
    /// Namespaces whose Secrets a ClusterConnection may name.
    pub secret_namespaces: BTreeSet<String>,
    /// Follow `ResourceQuota`s, and ask for nothing beyond them.
    pub heeds_quotas: bool,
    /// What placeholders are made of now, as it is written on them; `None`: whatever they are made of.
    pub placeholders: Option<String>,
}

/// The namespaces a store covers; empty means all.
#[derive(Debug, Clone)]
struct Scope(Vec<String>);

impl Scope {
    /// In the order of [`Scope::apis`].
    fn extents(&self) -> Vec<Extent> {
        if self.0.is_empty() {
            return vec![None];
        }
        self.0.iter().map(|namespace| Some(namespace.as_str().into())).collect()
    }

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

/// Where objects of a kind are listed: a namespace, or all.
type Extent = Option<Arc<str>>;

/// How far a store reaches.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// The namespaces in scope.
    Namespaces,
    /// Cluster-scoped objects. A daemon with rights in some namespaces only may not read them, and lives without.
    Cluster,
}

/// The watched cluster.
pub struct Watch {
    client: Client,
    clock: Clock,
    scope: Scope,
    options: Options,
    shelf: Arc<Shelf>,
    tasks: Tasks,
    /// Rings when a `/scale` is to be read.
    stale: Arc<Notify>,
    /// Rings when the set of wanted Secrets moved.
    wanted_secrets: Arc<Notify>,
    /// Rings when the set of Strimzi's clusters that are named moved.
    wanted_clusters: Arc<Notify>,
    /// Rings when other namespaces are to be metered.
    metered: Arc<Notify>,
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
            clock,
            scope: Scope(options.namespaces.clone()),
            options,
            shelf: Arc::default(),
            tasks,
            stale: Arc::default(),
            wanted_secrets: Arc::default(),
            wanted_clusters: Arc::default(),
            metered: Arc::default(),
        };
        watch.shelf.open().house = House {
            lendable: watch.options.secret_namespaces.clone(),
            observe_only: watch.options.observe_only,
            placeholders: watch.options.placeholders.clone(),
            clock: Some(clock),
        };
        kinds::keep_all(&watch);
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        watch
            .tasks
            .spawn("read scales", scales::read_all(client, clock, shelf, Arc::clone(&watch.stale)));
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        watch.tasks.spawn(
            "read secrets",
            secrets::read_all(client, shelf, Arc::clone(&watch.wanted_secrets)),
        );
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        watch.tasks.spawn(
            "read Strimzi's clusters",
            strimzi::read_all(client, shelf, Arc::clone(&watch.wanted_clusters)),
        );
        let (client, shelf) = (watch.client.clone(), Arc::clone(&watch.shelf));
        let bell = Arc::clone(&watch.metered);
        watch.tasks.spawn("read metrics of pods", meter::read_all(client, clock, shelf, bell));
        watch
    }

    /// Stores that have not had their first list; nothing is decided before this is empty.
    pub fn unsynced(&self) -> Vec<String> {
        self.shelf.unsynced()
    }

    /// Starts the watch of nodes, if there are pools of them and it is not on its way, and that of who makes them.
    pub fn follow_nodes(&self) {
        let mut stores = self.shelf.open();
        let starts =
            stores.nodes.has_pools() && !std::mem::replace(&mut stores.nodes.is_followed, true);
        let starts_makers = stores.nodes.are_karpenters()
            && !std::mem::replace(&mut stores.nodes.makers.are_followed, true);
        drop(stores);
        if starts {
            kinds::keep_nodes(self);
        }
        if starts_makers {
            kinds::keep_node_pools(self);
        }
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

    /// Takes in what a `ClusterConnection` was found to say of the prices of nodes.
    pub fn hear_prices(&self, connection: &str, said: &Observation) {
        self.shelf.open().put_prices(connection, said);
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
            let Work { kinds, has_new_secrets, has_new_clusters, questions: all } =
                stores.work_out();
            let (metered, counted) = stores.work_out_inside();
            stores.counted = counted;
            if stores.meter.want(metered) {
                self.metered.notify_one();
            }
            questions = Some(all);
            for kind in kinds {
                let (client, scope) = (self.client.clone(), self.scope.clone());
                let held = Arc::clone(&self.shelf);
                let wake_reads = Arc::clone(&self.stale);
                if targets::is_jobs(&kind) {
                    let followed = jobs::follow(client, self.clock, kind, scope, held, wake_reads);
                    self.tasks.spawn("follow jobs", followed);
                    continue;
                }
                self.tasks.spawn(
                    "follow a target kind",
                    follow::follow(client, kind, scope, held, wake_reads),
                );
            }
            if has_new_secrets {
                self.wanted_secrets.notify_one();
            }
            if has_new_clusters {
                self.wanted_clusters.notify_one();
            }
            self.stale.notify_one();
        }
        let gone: Vec<_> = std::mem::take(&mut stores.gone).into_iter().collect();
        // What a budget says of a pipeline that is gone is to be told anew.
        stores.budgets.have_moved |= !gone.is_empty() && !stores.budgets.is_empty();
        let insight = stores.insight();
        stores.nodes.pass(insight, now);
        let pools_moved = std::mem::take(&mut stores.nodes.has_moved)
            | std::mem::take(&mut stores.budgets.have_moved);
        stores.share_quotas(now);
        let sights = stores.sights(due, now);
        let (budgets, quotas) = (stores.budgets.sights(), stores.quotas_over(due.iter()));
        let mut pools = stores.nodes.sights(now);
        stores.pods.tells_places = !pools.is_empty();
        let needs = if pools.is_empty() { BTreeMap::new() } else { stores.needs(now) };
        stores.nodes.bind(&mut pools, &needs);
        for (name, Need { lanes, taken, .. }) in needs {
            if let Some(PoolSight { seen, .. }) = pools.get_mut(&name) {
                seen.lanes = lanes;
                if let Some(cpu) = &mut seen.cpu {
                    cpu.taken = taken;
                }
            }
        }
        let starts_signs =
            !pools.is_empty() && !std::mem::replace(&mut stores.nodes.is_listened, true);
        let holds = !stores.drains.holding.is_empty();
        let starts_budgets = holds && !std::mem::replace(&mut stores.drains.is_followed, true);
        let starts_reserves =
            stores.keeps_room && !std::mem::replace(&mut stores.reserves.are_followed, true);
        drop(stores);
        if starts_reserves {
            kinds::keep_reserves(self);
        }
        self.follow_nodes();
        if starts_signs {
            kinds::keep_signs(self);
        }
        if starts_budgets {
            kinds::keep_budgets_of_pods(self);
        }
        Seen { sights, gone, questions, pools, pools_moved, budgets, quotas }
    }

    /// Starts the watches of one store.
    fn keep<K: Kept>(&self, resource: &ApiResource, reach: Reach, keeper: &Keeper<K>) {
        let apis = match reach {
            Reach::Cluster if self.options.is_namespaced => Vec::new(),
            Reach::Cluster => vec![Api::all_with(self.client.clone(), resource)],
            Reach::Namespaces => self.scope.apis::<K>(&self.client, resource),
        };
        for (at, api) in apis.into_iter().enumerate() {
            let mut keeper = keeper.clone();
            let namespace = match reach {
                Reach::Cluster => None,
                Reach::Namespaces => self.scope.0.get(at).map(String::as_str),
            };
            keeper.store = stores::called(&keeper.store, namespace);
            if namespace.is_some() {
                keeper.without = keeper.without.in_a_namespace();
            }
            self.shelf.await_store(&keeper.store);
            self.tasks.spawn("keep a store", keep(api, Arc::clone(&self.shelf), keeper));
        }
    }
}
