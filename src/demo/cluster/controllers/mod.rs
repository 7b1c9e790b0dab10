//! What makes objects come to life: one task that follows all changes and brings deployments, replica sets, stateful sets, jobs,
//! custom workloads and pods to what they ask for. Started by `Cluster::new`; each kind has its file. Writes go through `write`, as others' do.

mod custom;
mod deployment;
mod events;
mod garbage;
mod job;
mod pods;
mod replicas;
mod stateful;

use crate::clock::sleep_until;

use super::delete::Deletion;
use super::http::Api;
use super::kinds::Resource;
use super::managers::Writer;
use super::store::Place;
use super::write::{Face, State, Unknown, Via, Write};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

const DEPLOYMENTS: &str = "deployments.apps";
const REPLICA_SETS: &str = "replicasets.apps";
const STATEFUL_SETS: &str = "statefulsets.apps";
const JOBS: &str = "jobs.batch";
const PODS: &str = "pods";

/// A write by a controller.
pub(super) fn hand<'a>(
    api: &Api,
    state: &'a mut State,
    resource: &Arc<Resource>,
    manager: &str,
    subresource: &str,
) -> Write<'a> {
    Write {
        state,
        resource: Arc::clone(resource),
        writer: Writer {
            manager: manager.to_owned(),
            api_version: resource.api_version(),
            subresource: subresource.to_owned(),
        },
        now: api.now(),
        dry_run: false,
        via: Via::Whole,
        unknown: Unknown::Ignore,
        warnings: Vec::new(),
    }
}

/// The namespaces and nodes of a fresh cluster.
pub(super) fn furnish(api: &Api) {
    let mut state = api.write();
    let Some(namespaces) = state.kinds.find("", "v1", "namespaces").cloned() else { return };
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        // A fresh store refuses nothing.
        drop(hand(api, &mut state, &namespaces, "kube-apiserver", "").create(
            "",
            json!({"metadata": {"name": name}}),
            true,
        ));
    }
    drop(state);
    for i in 0..api.options.nodes {
        join(api, &format!("node-{}", i + 1), &json!({}));
    }
}

/// A node registers itself, with these labels besides its own, and is Ready. One of that name that is there already is left alone.
pub(super) fn join(api: &Api, name: &str, labels: &Value) {
    let mut state = api.write();
    let Some(nodes) = state.kinds.find("", "v1", "nodes").cloned() else { return };
    let place = (String::new(), name.to_owned());
    let mut all = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
    if let (Value::Object(all), Value::Object(more)) = (&mut all, labels) {
        all.extend(more.clone());
    }
    let node = json!({"metadata": {"name": name, "labels": all}, "spec": {}});
    drop(hand(api, &mut state, &nodes, "kubelet", "").create("", node, true));
    let now = api.now();
    let capacity =
        json!({"cpu": "16", "memory": "64Gi", "pods": api.options.pods_per_node.to_string()});
    let status = json!({
        "capacity": capacity, "allocatable": capacity,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now}],
        "nodeInfo": {"kubeletVersion": super::discovery::VERSION.2, "operatingSystem": "linux", "architecture": "amd64"}
    });
    set_status(api, &mut state, "nodes", &place, status);
}

/// Runs until it is dropped.
pub(super) async fn run(api: Arc<Api>) {
    let mut news = api.read().store.all_changes();
    let mut team = Crew {
        api,
        seen: 0,
        timers: BTreeMap::new(),
        stopping: BTreeMap::new(),
        load: BTreeMap::new(),
    };
    loop {
        let more = team.turn();
        if more {
            // Others get their turn between ours.
            tokio::task::yield_now().await;
            continue;
        }
        let next = team.timers.keys().next().copied();
        tokio::select! {
            told = news.changed() => if told.is_err() { return },
            () = sleep_until(next) => {}
        }
    }
}

/// Something to look at: the shelf and the place of an object.
type Item = (String, Place);

/// The controllers' memory between turns.
struct Crew {
    api: Arc<Api>,
    /// The revision up to which changes were looked at.
    seen: u64,
    /// Pods whose time comes: to be Ready, or to be gone.
    timers: BTreeMap<Instant, BTreeSet<Place>>,
    /// When pods that were told to go are gone, by uid.
    stopping: BTreeMap<String, Instant>,
    /// Pods on each node; counted anew in each turn that needs it.
    load: BTreeMap<String, usize>,
}

impl Crew {
    /// Looks at everything that changed or whose time has come. Returns whether that led to more changes.
    fn turn(&mut self) -> bool {
        let api = Arc::clone(&self.api);
        let mut state = api.write();
        let mut due = self.changed(&state);
        self.seen = state.store.revision;
        self.load.clear();
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry().filter(|entry| *entry.key() <= now) {
            due.extend(entry.remove().into_iter().map(|place| (PODS.to_owned(), place)));
        }
        // Owners after what they own: pods first, so that a set counts them as they are.
        for (_, place) in due.iter().filter(|(shelf, _)| shelf == PODS) {
            self.pod(&mut state, place, now);
        }
        for (shelf, place) in &due {
            match shelf.as_str() {
                REPLICA_SETS => replicas::replica_set(&api, &mut state, place),
                STATEFUL_SETS => stateful::stateful_set(&api, &mut state, place),
                JOBS => job::job(&api, &mut state, place),
                PODS | DEPLOYMENTS => {}
                custom => custom::workload(&api, &mut state, custom, place),
            }
        }
        for (_, place) in due.iter().filter(|(shelf, _)| shelf == DEPLOYMENTS) {
            deployment::deployment(&api, &mut state, place);
        }
        state.store.revision > self.seen
    }

    /// What may have something to do since the last turn; everything, when history is gone.
    fn changed(&self, state: &State) -> BTreeSet<Item> {
        let mut due = BTreeSet::new();
        let mut gone = Vec::new();
        let mut shelves = vec![DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, JOBS, PODS];
        shelves.extend(self.api.options.workloads.iter().map(String::as_str));
        for (key, shelf) in state.store.shelves() {
            let ours = shelves.contains(&key.as_str());
            let Some(changes) = shelf.since(self.seen) else {
                if ours {
                    due.extend(shelf.objects.keys().map(|place| (key.clone(), place.clone())));
                }
                continue;
            };
            if key == "nodes" && !changes.is_empty() {
                // There may be room now for pods that found none.
                due.extend(pods::unplaced(state).map(|place| (PODS.to_owned(), place)));
            }
            for change in changes {
                if change.deleted {
                    gone.push(
                        change.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
                    );
                }
                if ours {
                    due.insert((key.clone(), super::store::place_of(&change.object)));
                    due.extend(owner(&change.object, &self.api.options.workloads));
                }
            }
        }
        due.extend(
            gone.iter()
                .flat_map(|uid| state.store.owned_by(uid))
                .map(|(key, place)| (format!("orphan/{key}"), place)),
        );
        due
    }
}

/// The controller that an object belongs to.
fn owner(object: &Value, workloads: &[String]) -> Option<Item> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let place = (super::store::place_of(object).0, owner["name"].as_str()?.to_owned());
    let shelf = match owner["kind"].as_str()? {
        "Deployment" => DEPLOYMENTS.to_owned(),
        "ReplicaSet" => REPLICA_SETS.to_owned(),
        "StatefulSet" => STATEFUL_SETS.to_owned(),
        "Job" => JOBS.to_owned(),
        kind => {
            let group = owner["apiVersion"].as_str()?.split('/').next()?;
            workloads
                .iter()
                .find(|w| {
                    w.ends_with(group) && w.starts_with(kind.to_lowercase().trim_end_matches('y'))
                })?
                .clone()
        }
    };
    Some((shelf, place))
}

/// Writes an object's status, when that changes anything.
fn set_status(api: &Api, state: &mut State, shelf: &str, place: &Place, status: Value) {
    let Some(resource) = state.kinds.by_shelf(shelf).cloned() else { return };
    let Some(live) = state.store.object(shelf, place).cloned() else { return };
    if live.get("status") == Some(&status) {
        return;
    }
    let mut new = Value::clone(&live);
    new["status"] = status;
    let manager =
        if matches!(shelf, PODS | "nodes") { "kubelet" } else { "kube-controller-manager" };
    // A controller's write is refused only when its object is broken; then there is nobody to tell.
    drop(hand(api, state, &resource, manager, "status").replace(
        place,
        &live,
        new,
        Face::Status,
        true,
    ));
}

/// Creates an object; what is refused is tried again when something changes.
fn create(api: &Api, state: &mut State, shelf: &str, namespace: &str, object: Value) {
    let Some(resource) = state.kinds.by_shelf(shelf).cloned() else { return };
    drop(
        hand(api, state, &resource, "kube-controller-manager", "").create(namespace, object, true),
    );
}

/// Changes an object's main face.
fn update(api: &Api, state: &mut State, shelf: &str, place: &Place, new: Value) {
    let Some(resource) = state.kinds.by_shelf(shelf).cloned() else { return };
    let Some(live) = state.store.object(shelf, place).cloned() else { return };
    drop(hand(api, state, &resource, "kube-controller-manager", "").replace(
        place,
        &live,
        new,
        Face::Main,
        true,
    ));
}

/// Deletes an object as a controller does: a pod gets its time to stop.
fn delete(api: &Api, state: &mut State, shelf: &str, place: &Place) {
    let Some(resource) = state.kinds.by_shelf(shelf).cloned() else { return };
    let grace = if api.options.shutdown.is_zero() { Some(0) } else { None };
    drop(
        hand(api, state, &resource, "kube-controller-manager", "")
            .delete(place, &Deletion { grace, ..Deletion::default() }),
    );
}

/// The reference by which `owner` owns what it makes.
fn reference(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true
    }])
}

/// The objects on a shelf that name this uid as their owner.
fn owned(state: &State, uid: &str, shelf: &str) -> Vec<Arc<Value>> {
    let items = state.store.owned_by(uid).into_iter().filter(|(key, _)| key == shelf);
    items.filter_map(|(key, place)| state.store.object(&key, &place).cloned()).collect()
}

fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}
