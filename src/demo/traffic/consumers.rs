//! One real Kafka consumer for each Ready pod of a label selector, started and stopped with its pod as seen through the Kubernetes
//! API: what stands in for the containers that a toy cluster (or KWOK) does not run. Started by the story and by live tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::member::Member;
use super::outlet::Outlet;
use super::{Error, Kafka, Ledger};

/// Which pods get a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// Their namespace.
    pub namespace: String,
    /// Their labels, as kubectl's `-l` takes them.
    pub selector: String,
}

/// What each consumer does.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Topics it reads.
    pub topics: Vec<String>,
    /// Group it joins.
    pub group: String,
    /// Items a second it gets through while there are any.
    pub rate: f64,
    /// How often it commits what it has done.
    pub commit_interval: Duration,
    /// `partition.assignment.strategy` of librdkafka.
    pub assignor: String,
    /// Which stage of the ledger it is, 0 for the first.
    pub stage: usize,
    /// The topic it writes its items on to, if any.
    pub pass_on: Option<String>,
}

impl Work {
    /// Reads `topic` in `group` at `rate` items a second, commits every second, rebalances cooperatively, passes nothing on.
    pub fn on(topic: &str, group: &str, rate: f64) -> Self {
        Self {
            topics: vec![topic.to_owned()],
            group: group.to_owned(),
            rate,
            commit_interval: Duration::from_secs(1),
            assignor: "cooperative-sticky".to_owned(),
            stage: 0,
            pass_on: None,
        }
    }
}

/// How things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that exist and are not on their way out.
    pub pods: usize,
    /// Consumers at work: one for each Ready pod.
    pub consumers: usize,
    /// Partitions given to a consumer so far, over all rebalances.
    pub assignments: u64,
    /// The latest thing that went wrong, if any did.
    pub fault: Option<String>,
}

/// The consumers of one stage. They stop when told to, or when this is dropped (then without a last commit).
#[derive(Debug)]
pub struct Consumers {
    notes: Arc<Notes>,
    outlet: Option<Arc<Outlet>>,
    stop: DropGuard,
    tasks: JoinSet<()>,
}

/// What the tasks let others know.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pods: AtomicUsize,
    consumers: AtomicUsize,
    pub(super) assignments: AtomicU64,
    fault: Mutex<Option<String>>,
}

impl Notes {
    pub(super) fn fault(&self, what: impl Into<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }
}

impl Consumers {
    /// Watches the pods from now on. Nothing here waits; what cannot be reached is tried again and told in [`Counts::fault`].
    pub fn start(
        client: Client,
        pods: Pods,
        kafka: Kafka,
        work: Work,
        ledger: Arc<Ledger>,
    ) -> Result<Self, Error> {
        let outlet = work
            .pass_on
            .as_deref()
            .map(|topic| Outlet::open(&kafka, topic))
            .transpose()?
            .map(Arc::new);
        let notes = Arc::new(Notes::default());
        let stop = CancellationToken::new();
        let crew = Crew {
            member: Member {
                kafka,
                work,
                ledger,
                outlet: outlet.clone(),
                notes: Arc::clone(&notes),
            },
            seen: BTreeMap::new(),
            leaving: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(crew.follow(client, pods, stop.clone()));
        Ok(Self { notes, outlet, stop: stop.drop_guard(), tasks })
    }

    /// How things stand.
    pub fn counts(&self) -> Counts {
        Counts {
            pods: self.notes.pods.load(Ordering::Relaxed),
            consumers: self.notes.consumers.load(Ordering::Relaxed),
            assignments: self.notes.assignments.load(Ordering::Relaxed),
            fault: self.notes.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Stops all consumers as a good container would: each commits what it has done and leaves the group.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.join_all().await;
        if let Some(outlet) = self.outlet {
            outlet.flush().await;
        }
    }
}

/// The pods seen, and the consumers of those that are Ready.
struct Crew {
    member: Member,
    /// By uid; the token of a Ready pod's consumer.
    seen: BTreeMap<String, Option<CancellationToken>>,
    leaving: JoinSet<()>,
}

impl Crew {
    async fn follow(mut self, client: Client, pods: Pods, stop: CancellationToken) {
        let api: Api<Pod> = Api::namespaced(client, &pods.namespace);
        let config = watcher::Config::default().labels(&pods.selector);
        let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
        let mut listed = BTreeSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.try_next() => match event {
                    Ok(Some(event)) => self.hear(event, &mut listed),
                    Ok(None) => break,
                    Err(watcher::Error::WatchError(status)) if status.code == 410 => {}
                    Err(error) => self.member.notes.fault(format!("pods cannot be watched: {error}")),
                },
                Some(ended) = self.leaving.join_next() => if let Err(error) = ended {
                    self.member.notes.fault(format!("a consumer broke off: {error}"));
                },
            }
        }
        self.seen.values().flatten().for_each(CancellationToken::cancel);
        self.leaving.join_all().await;
    }

    fn hear(&mut self, event: watcher::Event<Pod>, listed: &mut BTreeSet<String>) {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(pod) => {
                listed.extend(pod.uid());
                self.apply(&pod);
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> =
                    self.seen.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in &gone {
                    self.forget(uid);
                }
            }
            watcher::Event::Apply(pod) => self.apply(&pod),
            watcher::Event::Delete(pod) => {
                if let Some(uid) = pod.uid() {
                    self.forget(&uid);
                }
            }
        }
        let notes = &self.member.notes;
        notes.pods.store(self.seen.len(), Ordering::Relaxed);
        notes.consumers.store(self.seen.values().flatten().count(), Ordering::Relaxed);
    }

    fn apply(&mut self, pod: &Pod) {
        let Some(uid) = pod.uid() else { return };
        if pod.metadata.deletion_timestamp.is_some() || has_ended(pod) {
            self.forget(&uid);
            return;
        }
        let consumer = self.seen.entry(uid).or_default();
        match (is_ready(pod), consumer.is_some()) {
            (true, false) => {
                let stop = CancellationToken::new();
                self.leaving.spawn(self.member.clone().work(pod.name_any(), stop.clone()));
                *consumer = Some(stop);
            }
            (false, true) => {
                if let Some(stop) = consumer.take() {
                    stop.cancel();
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    fn forget(&mut self, uid: &str) {
        if let Some(Some(stop)) = self.seen.remove(uid) {
            stop.cancel();
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
