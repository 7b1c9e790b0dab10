//! The event teller: each move, each hand taken over, each refusal and each condition that turned over becomes one Event of
//! `events.k8s.io` on the pipeline. The same one again within ten minutes counts up instead; at most five a second go out.
//! kube's own recorder merges events of different words, hence this one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::Notify;

use super::Picture;
use super::tale::{Subject, Tale};
use crate::act::{self, Licence, WRITE_DEADLINE};
use crate::clock::Clock;
use crate::crd::ScaledPipeline;

/// Who reports every event of ours.
pub(super) const CONTROLLER: &str = "penstock.dev/penstock";
/// Five a second in all.
const PACE: Duration = Duration::from_millis(200);
/// The same words again within this long are the same event.
const SERIES: Duration = Duration::from_mins(10);
/// A series is counted up on the server at most this often.
const SERIES_PACE: Duration = Duration::from_mins(1);
/// What waits at most; beyond it the oldest that is no move makes room.
const WAITING: usize = 10_000;

/// What was told, to be counted up when it happens again.
#[derive(Debug)]
struct Told {
    name: String,
    count: i32,
    /// Counted here but not on the server yet.
    is_behind: bool,
    last: Timestamp,
    sent: Timestamp,
}

/// Where tales wait. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    inner: Arc<Inner>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

struct Inner {
    client: Client,
    licence: Licence,
    clock: Clock,
    instance: String,
    queue: Mutex<Queue>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Timestamp, Tale)>,
    told: BTreeMap<Tale, Told>,
    /// When what was told long ago was last forgotten.
    tidied: Option<Timestamp>,
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(client: Client, licence: Licence, clock: Clock, instance: &str) -> Self {
        let instance = if instance.is_empty() { CONTROLLER } else { instance }.to_owned();
        let (queue, bell) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { client, licence, clock, instance, queue, bell }) }
    }

    /// Takes in what is to be told of a turn of a pipeline. A standby keeps silent.
    pub(super) fn take(&self, picture: &Picture, tales: Vec<Tale>) {
        if !picture.may_act || tales.is_empty() {
            return;
        }
        let mut queue = self.queue();
        for tale in tales {
            queue.add(tale, picture.at);
        }
        drop(queue);
        self.inner.bell.notify_one();
    }

    /// No turn will follow: what waits is still told.
    pub(super) fn close(&self) {
        self.queue().is_closed = true;
        self.inner.bell.notify_one();
    }

    /// Tells what waits, one at a time, until closed and empty.
    pub(super) async fn write(&self) {
        loop {
            let is_ours = self.inner.licence.check().is_ok();
            let (next, is_closed) = {
                let mut queue = self.queue();
                let next = if is_ours { queue.next(self.inner.clock.now()) } else { None };
                (next, queue.is_closed)
            };
            match next {
                Some(Errand::New(at, tale)) => {
                    self.create(at, tale).await;
                    tokio::time::sleep(PACE).await;
                }
                Some(Errand::Again(tale)) => {
                    self.count_up(tale).await;
                    tokio::time::sleep(PACE).await;
                }
                None if is_closed => return,
                None => {
                    // Series that are behind, and a licence that may come.
                    let wait = Duration::from_secs(if is_ours { 10 } else { 1 });
                    drop(tokio::time::timeout(wait, self.inner.bell.notified()).await);
                }
            }
        }
    }

    async fn create(&self, at: Timestamp, tale: Tale) {
        let event = self.event(at, &tale);
        let name = event.name_any();
        let api = Api::<Event>::namespaced(self.inner.client.clone(), &tale.pipeline.namespace);
        let parameters = PostParams::default();
        let sent = tokio::time::timeout(WRITE_DEADLINE, api.create(&parameters, &event)).await;
        match sent {
            Ok(Ok(_)) => {
                let told = Told { name, count: 1, is_behind: false, last: at, sent: at };
                self.queue().told.insert(tale, told);
            }
            // It is there: an answer was lost on the way.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
            // Its namespace is going, or we may not: nothing that waiting mends.
            Ok(Err(kube::Error::Api(status)))
                if (400..500).contains(&status.code) && status.code != 429 =>
            {
                let reason = &tale.reason;
                tracing::warn!(pipeline = %tale.pipeline.name, reason, detail = status.message, "event refused");
            }
            Ok(Err(_)) | Err(_) => {
                self.queue().waiting.push_front((at, tale));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn count_up(&self, tale: Tale) {
        let (name, series) = {
            let queue = self.queue();
            let Some(told) = queue.told.get(&tale) else { return };
            let series =
                EventSeries { count: told.count, last_observed_time: MicroTime(told.last) };
            (told.name.clone(), series)
        };
        let api = Api::<Event>::namespaced(self.inner.client.clone(), &tale.pipeline.namespace);
        let patch = Patch::Merge(json!({"series": series}));
        let parameters = PatchParams::default();
        let patched = api.patch(&name, &parameters, &patch);
        let patched = tokio::time::timeout(WRITE_DEADLINE, patched).await;
        let mut queue = self.queue();
        match patched {
            Ok(Ok(_)) => {}
            // Nothing was sent, or the API server has no time: counted up in a minute.
            Ok(Err(error)) if has_no_time(&error) => {
                if let Some(told) = queue.told.get_mut(&tale) {
                    told.is_behind = true;
                }
            }
            // Events expire after an hour; the next time it is a new one.
            Ok(Err(_)) | Err(_) => drop(queue.told.remove(&tale)),
        }
    }

    fn event(&self, at: Timestamp, tale: &Tale) -> Event {
        let Subject { namespace, name, uid } = &tale.pipeline;
        let kind = ScaledPipeline::kind(&());
        let mut prefix = name.to_string();
        prefix.truncate(200);
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_string()),
                name: Some(format!("{prefix}.{:016x}", fastrand::u64(..))),
                ..ObjectMeta::default()
            },
            action: Some(tale.action.to_owned()),
            event_time: Some(MicroTime(at)),
            note: Some(tale.note.clone()),
            reason: Some(tale.reason.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(ScaledPipeline::api_version(&()).into_owned()),
                kind: Some(kind.into_owned()),
                namespace: Some(namespace.to_string()),
                name: Some(name.to_string()),
                uid: Some(uid.to_string()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.inner.instance.clone()),
            type_: Some(if tale.is_warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Errand {
    New(Timestamp, Tale),
    Again(Tale),
}

impl Queue {
    fn add(&mut self, tale: Tale, at: Timestamp) {
        if self.waiting.iter().any(|(_, waiting)| *waiting == tale) {
            return;
        }
        if let Some(told) = self.told.get_mut(&tale)
            && is_within(told.last, at, SERIES)
        {
            told.count = told.count.saturating_add(1);
            told.last = at;
            told.is_behind = true;
            return;
        }
        self.told.remove(&tale);
        if self.waiting.len() >= WAITING {
            let spare = self.waiting.iter().position(|(_, tale)| tale.action != "Scale");
            self.waiting.remove(spare.unwrap_or(0));
        }
        self.waiting.push_back((at, tale));
    }

    fn next(&mut self, now: Timestamp) -> Option<Errand> {
        // Also where new ones never end: what was told long ago would stay for ever.
        if self.tidied.is_none_or(|tidied| !is_within(tidied, now, SERIES_PACE)) {
            self.tidied = Some(now);
            self.told.retain(|_, told| is_within(told.last, now, SERIES * 2));
        }
        if let Some((at, tale)) = self.waiting.pop_front() {
            return Some(Errand::New(at, tale));
        }
        self.told.retain(|_, told| told.is_behind || is_within(told.last, now, SERIES));
        let (tale, told) = self
            .told
            .iter_mut()
            .find(|(_, told)| told.is_behind && !is_within(told.sent, now, SERIES_PACE))?;
        told.is_behind = false;
        told.sent = now;
        Some(Errand::Again(tale.clone()))
    }
}

fn has_no_time(error: &kube::Error) -> bool {
    act::rest(error).is_some() || matches!(error, kube::Error::Api(status) if status.code == 429)
}

fn is_within(earlier: Timestamp, now: Timestamp, limit: Duration) -> bool {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default() < limit
}
