//! Somebody who sees every state of some pods that the API server tells of: which are Ready and where, the fewest there were, how long each took to
//! start, and what each that went was given to end. Used by tests of drains, and by the benchmark of capacity.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// It looks until it is dropped.
pub(crate) struct Eye {
    seen: Arc<Mutex<Seen>>,
    _looking: JoinSet<()>,
}

/// What was seen of the pods.
#[derive(Default)]
pub(crate) struct Seen {
    /// Those that are Ready and stay, by the node they stand on.
    pub(crate) ready: BTreeMap<String, String>,
    /// How many these were from when on.
    pub(crate) counts: Vec<(Instant, usize)>,
    /// What each that went was told.
    pub(crate) graces: BTreeMap<String, Told>,
    /// How long each took from when it was made until it was Ready.
    pub(crate) starts: Vec<Duration>,
    /// Those that have no node yet, or are not Ready there yet.
    born: BTreeMap<String, Instant>,
    /// Why it did not see all.
    fault: Option<String>,
}

/// A pod that was told to end: where it stood, how many seconds it was given, and when.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) node: Option<String>,
    pub(crate) grace: i64,
    pub(crate) at: Instant,
}

impl Eye {
    /// Opens it on the pods of a namespace with these labels.
    pub(crate) fn on(client: Client, namespace: &str, labels: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let pods = Api::<Pod>::namespaced(client, namespace);
        let config = watcher::Config::default().labels(labels);
        let mut looking = JoinSet::new();
        looking.spawn(look(pods, config, Arc::clone(&seen)));
        Self { seen, _looking: looking }
    }

    /// What was seen so far. Whoever did not see all is no witness: that ends the run.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(seen.fault.is_none(), "pods were not seen for a while: {:?}", seen.fault);
        seen
    }
}

async fn look(pods: Api<Pod>, config: watcher::Config, seen: Arc<Mutex<Seen>>) {
    let mut events = std::pin::pin!(watcher(pods, config));
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => seen.see(&pod),
            Ok(Event::Delete(pod)) => seen.lose(&pod),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => seen.fault = Some(error.to_string()),
        }
    }
}

impl Seen {
    /// How many of the Ready pods stand on each node.
    pub(crate) fn standing(&self) -> BTreeMap<String, usize> {
        let mut nodes = BTreeMap::new();
        for node in self.ready.values() {
            *nodes.entry(node.clone()).or_default() += 1;
        }
        nodes
    }

    /// The fewest there were since then.
    pub(crate) fn fewest(&self, since: Instant) -> usize {
        let at = self.counts.partition_point(|(when, _)| *when <= since).saturating_sub(1);
        let from = self.counts.get(at..).unwrap_or_default();
        from.iter().map(|(_, count)| *count).min().unwrap_or(0)
    }

    fn see(&mut self, pod: &Pod) {
        let name = pod.name_any();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(-1);
            // The first word counts: the kubelet ends it with another.
            let told = || Told { node: node.clone(), grace, at: Instant::now() };
            self.graces.entry(name.clone()).or_insert_with(told);
        }
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
        if node.is_none() {
            self.born.entry(name.clone()).or_insert_with(Instant::now);
        }
        if is_ready && let Some(born) = self.born.remove(&name) {
            self.starts.push(born.elapsed());
        }
        match node.filter(|_| is_ready && pod.metadata.deletion_timestamp.is_none()) {
            Some(node) => drop(self.ready.insert(name, node)),
            None => drop(self.ready.remove(&name)),
        }
        self.count();
    }

    fn lose(&mut self, pod: &Pod) {
        self.ready.remove(&pod.name_any());
        self.count();
    }

    fn count(&mut self) {
        let now = self.ready.len();
        if self.counts.last().is_none_or(|(_, before)| *before != now) {
            self.counts.push((Instant::now(), now));
        }
    }
}
