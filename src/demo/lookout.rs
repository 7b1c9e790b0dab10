//! Looks on as anyone could: at replica counts and events with watches, at Penstock's thoughts through its own API. Read by the story for its view and its score.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::scenery::{NAMESPACE, PIPELINE};
use super::traffic::Ledger;

/// How often Penstock is asked what it thinks.
const ASK: Duration = Duration::from_millis(500);

/// Looks on until it is dropped.
#[derive(Debug)]
pub(super) struct Lookout {
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    fleets: BTreeMap<String, Fleet>,
    /// Replicas asked for, over all Deployments, from each time on.
    totals: Vec<(Duration, u32)>,
    stages: Vec<Stage>,
    /// Penstock's events, by name and how often they were told.
    told: BTreeMap<String, i32>,
    news: Option<(Duration, String)>,
}

/// The replicas of one Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    /// Asked for.
    pub(super) desired: u32,
    /// Ready.
    pub(super) ready: u32,
}

/// What Penstock's API says of a pipeline, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Pipeline {
    stages: Vec<Stage>,
}

/// What it says of a stage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stage {
    name: String,
    /// Items a second of one replica, once learned.
    pub(super) rate_per_replica: Option<f64>,
    /// Why it has so many replicas; the last one bound.
    #[serde(default)]
    pub(super) reasons: Vec<Reason>,
}

/// A reason.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reason {
    /// In words.
    pub(super) sentence: String,
}

impl Lookout {
    /// Watches the Deployments and asks the daemon's page from now on; times are the ledger's.
    pub(super) fn start(client: Client, page: SocketAddr, ledger: Arc<Ledger>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let (deployments, events) =
            (Api::namespaced(client.clone(), NAMESPACE), Api::namespaced(client, NAMESPACE));
        let (fleets, news, clock) = (Arc::clone(&seen), Arc::clone(&seen), Arc::clone(&ledger));
        tasks.spawn(follow(deployments, move |deployment| {
            count(&deployment, &mut held(&fleets), clock.now());
        }));
        tasks.spawn(follow(events, move |event| hear(&event, &mut held(&news), ledger.now())));
        tasks.spawn(ask(page, Arc::clone(&seen)));
        Self { seen, _tasks: tasks }
    }

    /// The replicas of a Deployment now.
    pub(super) fn fleet(&self, name: &str) -> Fleet {
        held(&self.seen).fleets.get(name).copied().unwrap_or_default()
    }

    /// What Penstock says of a stage, if it has said something.
    pub(super) fn stage(&self, name: &str) -> Option<Stage> {
        held(&self.seen).stages.iter().find(|stage| stage.name == name).cloned()
    }

    /// The last event of Penstock's, and when it was seen.
    pub(super) fn news(&self) -> Option<(Duration, String)> {
        held(&self.seen).news.clone()
    }

    /// Replicas asked for so far, over all Deployments, from each time on.
    pub(super) fn totals(&self) -> Vec<(Duration, u32)> {
        held(&self.seen).totals.clone()
    }
}

async fn follow<K>(api: Api<K>, mut look: impl FnMut(K))
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let stream = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.try_next().await {
            Ok(Some(object)) => look(object),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a watch of the lookout broke off; it comes back");
            }
        }
    }
}

fn hear(event: &Event, seen: &mut Seen, now: Duration) {
    let Some(note) = event
        .regarding
        .as_ref()
        .filter(|of| of.kind.as_deref() == Some("ScaledPipeline"))
        .and_then(|_| event.note.clone())
    else {
        return;
    };
    let times = event.series.as_ref().map_or(1, |series| series.count);
    if seen.told.insert(event.name_any(), times) != Some(times) {
        seen.news = Some((now, note));
    }
}

fn count(deployment: &Deployment, seen: &mut Seen, now: Duration) {
    let whole =
        |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let fleet = Fleet {
        desired: whole(deployment.spec.as_ref().and_then(|spec| spec.replicas)),
        ready: whole(deployment.status.as_ref().and_then(|status| status.ready_replicas)),
    };
    seen.fleets.insert(deployment.name_any(), fleet);
    let total = seen.fleets.values().map(|fleet| fleet.desired).sum();
    if seen.totals.last().is_none_or(|(_, last)| *last != total) {
        seen.totals.push((now, total));
    }
}

async fn ask(page: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let place =
        http::Uri::builder().scheme("http").authority(page.to_string()).path_and_query("/").build();
    let Some(client) = place.ok().and_then(|place| Client::try_from(Config::new(place)).ok())
    else {
        return;
    };
    let path = format!("/api/v1/pipelines/{NAMESPACE}/{PIPELINE}");
    let mut asking = interval(ASK);
    asking.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        asking.tick().await;
        let Ok(request) = http::Request::get(&path).body(Vec::new()) else { return };
        // Before its first turn it has nothing to say, and what was said last stands.
        if let Ok(pipeline) = client.request::<Pipeline>(request).await {
            held(&seen).stages = pipeline.stages;
        }
    }
}

fn held(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
