//! Lists what pods use from metrics.k8s.io: one request for a namespace in each poll, whatever the number of stages there that are sized by
//! CPU or memory. It cannot be watched. What follows from the numbers is for `usage`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::clock::{Clock, sleep_until};
use crate::crd::meaning::Resource;
use crate::crd::quantity::Quantity;
use crate::decide::{Missing, TargetId};

use super::stores::{Shelf, Stores, chain};

/// How many namespaces are listed at once.
const AT_ONCE: usize = 8;
/// How long one list may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wanted of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    /// The shortest poll interval of those who ask.
    pub(super) every: Duration,
    /// Only the pods of this target, where one alone asks.
    pub(super) only: Option<TargetId>,
}

/// What was read, by namespace.
#[derive(Debug, Default)]
pub(super) struct Meter {
    wanted: BTreeMap<Arc<str>, Want>,
    held: BTreeMap<Arc<str>, Held>,
}

/// The latest list of a namespace.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// When the last good one was asked for, and what it said, by pod.
    pub(super) read: Option<(Timestamp, BTreeMap<Arc<str>, Measured>)>,
    /// Why there is no newer one.
    pub(super) missing: Option<Missing>,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub(super) at: Timestamp,
    pub(super) window: Duration,
    /// By container: cores and bytes.
    pub(super) containers: Box<[(Box<str>, f64, f64)]>,
}

impl Measured {
    /// What it uses of a resource, in cores or bytes, when, and over how long; of one container only if that was measured.
    pub(super) fn of(
        &self,
        resource: Resource,
        container: Option<&str>,
    ) -> Option<(f64, Timestamp, Duration)> {
        let of = |(_, cpu, memory): &(Box<str>, f64, f64)| match resource {
            Resource::Cpu => *cpu,
            Resource::Memory => *memory,
        };
        let used = match container {
            Some(name) => of(self.containers.iter().find(|(it, ..)| **it == *name)?),
            None if self.containers.is_empty() => return None,
            None => self.containers.iter().map(of).sum(),
        };
        Some((used, self.at, self.window))
    }
}

impl Meter {
    /// Sets which namespaces are wanted; true when there is news in it.
    pub(super) fn want(&mut self, wanted: BTreeMap<Arc<str>, Want>) -> bool {
        self.held.retain(|namespace, _| wanted.contains_key(namespace));
        let is_new = self.wanted != wanted;
        self.wanted = wanted;
        is_new
    }

    /// The latest of a namespace; `None` while it has not been asked.
    pub(super) fn of(&self, namespace: &str) -> Option<&Held> {
        self.held.get(namespace)
    }
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: Metadata,
    timestamp: Timestamp,
    window: String,
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    name: String,
    usage: Used,
}

#[derive(Debug, Deserialize)]
struct Used {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

/// Lists what is wanted for as long as the process lives. A slow list holds up no other namespace.
pub(super) async fn read_all(client: Client, clock: Clock, shelf: Arc<Shelf>, bell: Arc<Notify>) {
    let mut due: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
    let mut reads = FuturesUnordered::new();
    let mut busy: BTreeSet<Arc<str>> = BTreeSet::new();
    loop {
        let wanted = shelf.open().meter.wanted.clone();
        due.retain(|namespace, _| wanted.contains_key(namespace));
        let now = Instant::now();
        for (namespace, want) in &wanted {
            let at = due.entry(Arc::clone(namespace)).or_insert(now);
            *at = (*at).min(now + want.every);
            if *at <= now && busy.len() < AT_ONCE && busy.insert(Arc::clone(namespace)) {
                *at = now + want.every;
                let (namespace, want) = (Arc::clone(namespace), want.clone());
                let (client, shelf) = (&client, &shelf);
                reads.push(async move {
                    read(client, clock, shelf, &namespace, &want).await;
                    namespace
                });
            }
        }
        let free = due.iter().filter(|(namespace, _)| !busy.contains(*namespace));
        // While all places are taken, what is due waits for one of them and for no time.
        let next = free.map(|(_, at)| *at).min().filter(|_| busy.len() < AT_ONCE);
        tokio::select! {
            () = sleep_until(next) => {}
            () = bell.notified() => {}
            Some(namespace) = reads.next() => {
                busy.remove(&namespace);
            }
        }
    }
}

async fn read(client: &Client, clock: Clock, shelf: &Shelf, namespace: &Arc<str>, want: &Want) {
    let asked_at = clock.now();
    let selector = want
        .only
        .as_ref()
        .and_then(|target| shelf.open().targets.selector(target).map(ToString::to_string));
    let answer = list(client, namespace, selector).await;
    shelf.change(|stores| {
        // Nobody may want it any more.
        if !stores.meter.wanted.contains_key(namespace) {
            return;
        }
        let held = stores.meter.held.entry(Arc::clone(namespace)).or_default();
        match answer {
            Ok(pods) => {
                held.missing = None;
                held.read = Some((asked_at, pods));
            }
            Err((label, message, is_lasting)) => {
                if held.missing.is_none() {
                    warn!(%namespace, label, "no metrics of pods: {message}");
                } else {
                    debug!(%namespace, label, "no metrics of pods: {message}");
                }
                let since = held.missing.as_ref().map(|missing| missing.since);
                let since = since.or_else(|| Some(held.read.as_ref()?.0)).unwrap_or(asked_at);
                held.missing = Some(Missing {
                    label: label.into(),
                    message: message.into(),
                    is_lasting,
                    since,
                });
            }
        }
        touch(stores, namespace);
    });
}

/// Marks the pipelines of a namespace that are sized by what pods use.
fn touch(stores: &mut Stores, namespace: &str) {
    let here = stores.pipelines.iter().filter(|(id, _)| *id.namespace == *namespace);
    let asking =
        here.filter(|(_, written)| written.meant().is_some_and(|meant| !meant.inside.is_empty()));
    let asking: Vec<_> = asking.map(|(id, _)| id.clone()).collect();
    stores.dirty.extend(asking);
}

type Read = Result<BTreeMap<Arc<str>, Measured>, (&'static str, String, bool)>;

async fn list(client: &Client, namespace: &str, label_selector: Option<String>) -> Read {
    let params = ListParams { label_selector, ..ListParams::default() };
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let failed = |detail: String| ("MetricsUnavailable", detail, false);
    let request = Request::new(path).list(&params).map_err(|error| failed(chain(&error)))?;
    let answer = tokio::time::timeout(PATIENCE, client.request::<List>(request)).await;
    let answer = answer.map_err(|_| {
        (
            "Timeout",
            format!("metrics.k8s.io has not answered within {} s", PATIENCE.as_secs()),
            false,
        )
    })?;
    let list = answer.map_err(|error| refused(namespace, &error))?;
    let mut pods = BTreeMap::new();
    for item in list.items {
        let name = item.metadata.name.clone();
        if let Some(measured) = measured(item) {
            pods.insert(name.into(), measured);
        }
    }
    Ok(pods)
}

/// What the API server's refusal means.
fn refused(namespace: &str, error: &kube::Error) -> (&'static str, String, bool) {
    let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
    match code {
        404 => (
            "MetricsNotServed",
            "the cluster does not serve metrics.k8s.io; hint: install metrics-server".to_owned(),
            true,
        ),
        401 | 403 => (
            "AccessDenied",
            format!(
                "Penstock may not list pods of metrics.k8s.io in {namespace}; hint: the chart's rights have it"
            ),
            true,
        ),
        _ => {
            let message = format!("metrics.k8s.io does not answer: {}", chain(error));
            ("MetricsUnavailable", message, false)
        }
    }
}

/// A pod with a number that is none is left out: it counts as not measured.
fn measured(item: Item) -> Option<Measured> {
    let number = |quantity: Option<Quantity>| match quantity {
        Some(quantity) => quantity.read(),
        None => Some(0.0),
    };
    let mut containers = Vec::new();
    for Container { name, usage } in item.containers {
        containers.push((name.into(), number(usage.cpu)?, number(usage.memory)?));
    }
    let window = item.window.parse::<jiff::SignedDuration>().ok()?;
    Some(Measured {
        at: item.timestamp,
        window: Duration::try_from(window).ok()?,
        containers: containers.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures::future::{pending, poll_fn};
    use http::{Request, Response};
    use http_body_util::Empty;
    use kube::client::Body;
    use tower::BoxError;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_all_places_are_taken_what_is_due_waits_without_a_stir() {
        let silent = tower::service_fn(|_: Request<Body>| {
            pending::<Result<Response<Empty<bytes::Bytes>>, BoxError>>()
        });
        let client = Client::new(silent, "default");
        let shelf = Arc::<Shelf>::default();
        let want = || Want { every: Duration::from_secs(15), only: None };
        let names = (0..=AT_ONCE).map(|n| (format!("n{n}").into(), want()));
        shelf.open().meter.want(names.collect());
        let mut reading = pin!(read_all(client, Clock::start(), shelf, Arc::default()));
        let mut polls = 0;
        let counted = poll_fn(|context| {
            polls += 1;
            if 100 < polls { Poll::Ready(()) } else { reading.as_mut().poll(context) }
        });
        assert!(tokio::time::timeout(PATIENCE / 2, counted).await.is_err(), "it spins");
    }
}
