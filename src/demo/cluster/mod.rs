//! A Kubernetes API server in memory: the base of `penstock demo` and of every in-process test.
//!
//! It speaks to `kube::Client` as a tower service and to kubectl over HTTP, and answers as Kubernetes 1.36 does, in its words, for what
//! Penstock, kubectl (get, apply, edit, scale, delete, describe) and the tests ask of it. A conformance suite runs the same cases
//! here and against a real kube-apiserver (`tests/conformance`).
//!
//! Left out: authentication and authorization (everybody may do everything; only reviews tell people apart, where a test names some), admission webhooks, protobuf, `OpenAPI` v2, conversion
//! between versions of a custom kind beyond the name, validation of built-in specs beyond `rules`, quotas, and everything that a
//! kubelet does to a pod but starting and stopping it.

mod admit;
mod apply;
mod builtin;
mod compare;
mod controllers;
mod crds;
mod defaults;
mod delete;
mod discovery;
mod faults;
mod fields;
mod http;
mod kinds;
mod managers;
mod openapi;
mod patch;
mod read;
mod refusal;
mod reviews;
mod route;
mod rules;
mod scale;
mod selector;
mod serve;
mod shapes;
mod store;
mod strategic;
mod table;
mod typed;
mod view;
mod watch;
mod write;

pub use faults::{Fault, Faults, Logged, Match};
pub use reviews::Person;
pub use serve::{Body, Door};

use crate::clock::Clock;
use http::Api;
use kinds::Catalogue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Store;
use tokio::task::JoinSet;
use write::State;

/// How a cluster behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where all draws come from: names, uids, start-up times. Default 1.
    pub seed: u64,
    /// The shortest and the longest time from a pod's creation to Ready; drawn evenly between them. Default none.
    pub startup: (Duration, Duration),
    /// How long a pod is Terminating before it is gone. Default none: gone at once.
    pub shutdown: Duration,
    /// Nodes, all Ready. Default 4.
    pub nodes: usize,
    /// Pods that fit on one node; more stay Pending. Default 1,000.
    pub pods_per_node: usize,
    /// Changes remembered for each kind; a watch from before gets 410. Default 4,096.
    pub history: usize,
    /// The gap between bookmarks on a watch that asked for them. Default 60 s.
    pub bookmark_every: Duration,
    /// Whether deployments, replica sets, stateful sets, jobs and pods come to life. Default true.
    pub controllers: bool,
    /// Custom kinds with a scale subresource that get pods like a replica set does, as `plural.group`. Default none.
    pub workloads: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            startup: (Duration::ZERO, Duration::ZERO),
            shutdown: Duration::ZERO,
            nodes: 4,
            pods_per_node: 1_000,
            history: 4_096,
            bookmark_every: Duration::from_mins(1),
            controllers: true,
            workloads: Vec::new(),
        }
    }
}

/// A cluster in memory. Clones are the same cluster; its tasks end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Cluster {
    api: Arc<Api>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Cluster {
    /// Starts a cluster with its nodes and the four namespaces that each cluster has. Needs a tokio runtime.
    pub fn new(options: Options) -> Self {
        let clock = Clock::start();
        let mut kinds = Catalogue::default();
        let metadata = builtin::fill_catalogue(&mut kinds);
        let state = State {
            store: Store::new(options.history),
            kinds,
            metadata,
            lots: fastrand::Rng::with_seed(options.seed),
        };
        let api = Arc::new(Api::new(state, clock, options));
        let cluster = Self { api, tasks: Arc::default() };
        controllers::furnish(&cluster.api);
        if cluster.api.options.controllers {
            let run = controllers::run(Arc::clone(&cluster.api));
            cluster.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(run);
        }
        cluster
    }

    /// The API as a tower service, for `kube::Client::new(cluster.service(), "default")`.
    pub fn service(&self) -> Door {
        Door::new(Arc::clone(&self.api))
    }

    /// A client in process, without a user agent of its own.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.service(), "default")
    }

    /// Serves HTTP/1.1 and HTTP/2 without TLS, until the cluster is dropped.
    pub fn serve(&self, listener: tokio::net::TcpListener) {
        let door = self.service();
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(serve::serve(listener, door));
    }

    /// A kubeconfig for `kubectl --kubeconfig`, for a cluster served at this address.
    pub fn kubeconfig(&self, address: SocketAddr) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: demo\nclusters:\n- name: demo\n  cluster: {{server: \"http://{address}\"}}\nusers:\n- name: demo\n  user: {{}}\ncontexts:\n- name: demo\n  context: {{cluster: demo, user: demo, namespace: default}}\n"
        )
    }

    /// The door for tests: planned faults, and the log of requests.
    pub fn faults(&self) -> &Faults {
        &self.api.faults
    }

    /// From now on, reviews know these people and no others; nobody named: everybody may do everything.
    pub fn knows(&self, people: Vec<Person>) {
        *self.api.people.lock().unwrap_or_else(PoisonError::into_inner) = people;
    }

    /// Ends all watches, as a restart of the API server would.
    pub fn drop_watches(&self) {
        self.api.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Forgets all history: watches and list pages from before now get 410.
    pub fn compact(&self) {
        self.api.write().store.compact();
    }

    /// The revision of the latest change.
    pub fn revision(&self) -> u64 {
        self.api.read().store.revision
    }

    /// The clock the cluster stamps its objects by.
    pub fn clock(&self) -> Clock {
        self.api.clock
    }

    /// Adds custom kinds from their definitions (JSON of `CustomResourceDefinition`), as `kubectl create` would.
    /// The error is the API's message.
    pub fn define(&self, definition: Value) -> Result<(), String> {
        self.put("apiextensions.k8s.io", "v1", "customresourcedefinitions", "", definition)
    }

    /// Creates an object without the way through HTTP; `namespace` is empty for cluster-wide kinds. The error is the API's message.
    pub fn put(
        &self,
        group: &str,
        version: &str,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> Result<(), String> {
        let mut state = self.api.write();
        let resource = state.kinds.find(group, version, plural).cloned().ok_or("no such kind")?;
        let mut write = controllers::hand(&self.api, &mut state, &resource, "demo", "");
        write
            .create(namespace, object, true)
            .map(drop)
            .map_err(|refusal| refusal.message().to_owned())
    }

    /// A node joins, with these labels besides its own, and is Ready at once.
    pub fn join(&self, name: &str, labels: &Value) {
        controllers::join(&self.api, name, labels);
    }

    /// How many objects of a kind there are, by `plural.group` (`pods`, `deployments.apps`).
    pub fn count(&self, kind: &str) -> usize {
        self.api.read().store.shelf(kind).map_or(0, |shelf| shelf.objects.len())
    }
}

/// A definition's condition or any other list of typed entries: the entry of a type.
fn entry_of<'v>(list: Option<&'v Value>, kind: &str) -> Option<&'v Value> {
    list?.as_array()?.iter().find(|entry| entry["type"] == kind)
}

/// `conditions` with one of them set; its transition time moves only when its status does.
fn with_condition(
    old: Option<&Value>,
    kind: &str,
    status: bool,
    words: (&str, &str),
    now: &str,
) -> Value {
    let status = if status { "True" } else { "False" };
    let since = entry_of(old, kind)
        .filter(|entry| entry["status"] == status)
        .and_then(|entry| entry["lastTransitionTime"].as_str())
        .unwrap_or(now);
    json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": words.0, "message": words.1})
}
