//! The pool teller: writes the status of each `CapacityPool` when what is believed of it changes, and its figures now and then. One task
//! writes, one pool at a time, and never over something it has not seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::compose::{condition, whole_second};
use super::conditions::{Claim, Truth};
use super::patch;
use crate::act::Licence;
use crate::clock::Clock;
use crate::crd::duration;
use crate::crd::pool_status::{CapacityPoolStatus, PoolEvidence, PoolEvidenceKind, PoolStartup};
use crate::decide::{PoolState, PoolVerdict, Sign};

/// Figures alone (nodes, cost, how long nodes take) are written no more often than this.
const FIGURES: Duration = Duration::from_secs(30);
/// An attempt that failed is followed by another after so long.
const AGAIN: Duration = Duration::from_secs(5);
/// What one sentence of evidence may fill.
const SENTENCE: usize = 256;

/// A pool as an object, and the figures of its nodes.
#[derive(Debug, Clone)]
pub struct PoolGlance {
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`; a status write carries it.
    pub resource_version: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<CapacityPoolStatus>,
    /// What is written and does not work: paths. Then it is not Ready.
    pub unserved: Arc<[String]>,
    /// Nodes that are Ready and stay.
    pub nodes: u32,
    /// How long nodes take to come: half of them, and 95 of 100, no longer than this.
    pub startup: Option<(Duration, Duration)>,
    /// What its nodes cost in an hour; `None` when the price of one is unknown.
    pub cost: Option<f64>,
}

/// One pool at the latest turn: what metrics and pages show.
#[derive(Debug, Clone)]
pub struct PoolPicture {
    /// The object and its figures.
    pub glance: PoolGlance,
    /// What is believed of it.
    pub verdict: PoolVerdict,
}

/// The latest picture of every pool, and the wishes to write. Cheap to clone.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

struct Inner {
    client: Client,
    licence: Licence,
    clock: Clock,
    files: Mutex<Files>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Files {
    pools: BTreeMap<Arc<str>, File>,
    is_closed: bool,
}

#[derive(Debug)]
struct File {
    picture: PoolPicture,
    /// What is to be written, and when.
    wish: Option<(Timestamp, CapacityPoolStatus)>,
    last_write: Option<Timestamp>,
    /// Our last write, over that version, until the watch shows a newer one.
    own: Option<(Arc<str>, Arc<CapacityPoolStatus>)>,
    not_before: Option<Timestamp>,
}

impl Desk {
    pub(super) fn new(client: Client, licence: Licence, clock: Clock) -> Self {
        let (files, bell) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { client, licence, clock, files, bell }))
    }

    /// Takes in a turn.
    pub(super) fn take(
        &self,
        glances: BTreeMap<Arc<str>, PoolGlance>,
        verdicts: &[PoolVerdict],
        at: Timestamp,
    ) {
        let mut files = self.files();
        files.pools.retain(|name, _| glances.contains_key(name));
        let mut is_news = false;
        for (name, glance) in glances {
            let Some(verdict) = verdicts.iter().find(|verdict| verdict.pool == name) else {
                continue;
            };
            let old = files.pools.remove(&name);
            let own = old.as_ref().and_then(|old| old.own.clone());
            let own = own.filter(|(over, _)| *over == glance.resource_version);
            let glance = match &own {
                Some((_, status)) => PoolGlance { status: Arc::clone(status), ..glance },
                None => glance,
            };
            let picture = PoolPicture { glance, verdict: verdict.clone() };
            tell(old.as_ref(), &picture);
            let mut file = File {
                wish: None,
                own,
                last_write: old.as_ref().and_then(|old| old.last_write),
                not_before: old.and_then(|old| old.not_before),
                picture,
            };
            file.wish = file.wish(at);
            is_news |= file.wish.is_some();
            files.pools.insert(name, file);
        }
        drop(files);
        if is_news {
            self.0.bell.notify_one();
        }
    }

    /// The latest picture of every pool, by name.
    pub(super) fn pictures(&self) -> Vec<PoolPicture> {
        self.files().pools.values().map(|file| file.picture.clone()).collect()
    }

    /// No turn will follow.
    pub(super) fn close(&self) {
        self.files().is_closed = true;
        self.0.bell.notify_one();
    }

    /// Writes what is due, one at a time, until closed.
    pub(super) async fn write(&self) {
        loop {
            let (next, is_closed) = self.next();
            let now = self.0.clock.now();
            match next {
                _ if is_closed => return,
                Some((due, name, status)) if due <= now && self.0.licence.check().is_ok() => {
                    self.write_one(&name, status).await;
                }
                Some((due, ..)) => {
                    // Without a licence we look again every second.
                    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                    let wait = wait.max(Duration::from_secs(1));
                    drop(tokio::time::timeout(wait, self.0.bell.notified()).await);
                }
                None => self.0.bell.notified().await,
            }
        }
    }

    fn next(&self) -> (Option<(Timestamp, Arc<str>, CapacityPoolStatus)>, bool) {
        let files = self.files();
        let wishes = files.pools.iter().filter_map(|(name, file)| {
            let (due, status) = file.wish.as_ref()?;
            let due = file.not_before.map_or(*due, |earliest| earliest.max(*due));
            Some((due, name, status))
        });
        let next = wishes.min_by_key(|(due, ..)| *due);
        (next.map(|(due, name, status)| (due, Arc::clone(name), status.clone())), files.is_closed)
    }

    async fn write_one(&self, name: &Arc<str>, status: CapacityPoolStatus) {
        let Some((uid, version)) = self.files().pools.get(name).map(|file| {
            let glance = &file.picture.glance;
            (Arc::clone(&glance.uid), Arc::clone(&glance.resource_version))
        }) else {
            return;
        };
        let place = format!("capacitypools/{name}");
        let answer = match whole(&status) {
            Ok(whole) => patch::status(&self.0.client, &place, (&uid, &version), whole).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        let now = self.0.clock.now();
        let mut files = self.files();
        let Some(file) = files.pools.get_mut(name) else { return };
        file.wish = None;
        match answer {
            Ok(_) => {
                file.last_write = Some(now);
                file.not_before = None;
                let status = Arc::new(status);
                file.own = Some((version, Arc::clone(&status)));
                file.picture.glance.status = status;
            }
            Err(error) => {
                // The cache is behind, or the pool went: the next turn says.
                let is_usual =
                    matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
                if !is_usual {
                    tracing::warn!(pool = %name, %error, "the status of a pool could not be written");
                }
                file.wish = Some((now, status));
                file.not_before = now.checked_add(AGAIN).ok();
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says in the log what a pool has come to.
fn tell(old: Option<&File>, picture: &PoolPicture) {
    let PoolVerdict { pool, state, evidence, .. } = &picture.verdict;
    if old.is_some_and(|old| old.picture.verdict.state == *state) {
        return;
    }
    let sign = evidence.last().map(|sign| sign.what.as_ref()).unwrap_or_default();
    match state {
        PoolState::Unknown | PoolState::Available => {
            tracing::info!(%pool, state = state.label(), "pool of nodes");
        }
        PoolState::Constrained | PoolState::Exhausted => {
            tracing::warn!(%pool, state = state.label(), sign, "pool of nodes");
        }
    }
}

impl File {
    /// What is to be written, and when; `None` when what stands will do.
    fn wish(&self, at: Timestamp) -> Option<(Timestamp, CapacityPoolStatus)> {
        let known = &self.picture.glance.status;
        let status = self.picture.status(known);
        // What is newer than our own last write waits until the watch shows that one.
        if status == **known || self.own.is_some() {
            return None;
        }
        let figures = |of: &CapacityPoolStatus| CapacityPoolStatus {
            nodes: None,
            startup: None,
            cost_per_hour: None,
            ..of.clone()
        };
        let is_urgent = figures(&status) != figures(known);
        let rested = self.last_write.and_then(|last| last.checked_add(FIGURES).ok());
        Some((rested.filter(|_| !is_urgent).unwrap_or(at), status))
    }
}

impl PoolPicture {
    fn status(&self, known: &CapacityPoolStatus) -> CapacityPoolStatus {
        let PoolVerdict { state, since, evidence, .. } = &self.verdict;
        let span = |span: Duration| duration::Duration::from(Duration::from_secs(span.as_secs())).0;
        CapacityPoolStatus {
            observed_generation: Some(self.glance.generation),
            state: Some((*state).into()),
            since: Some(whole_second(*since)),
            nodes: Some(self.glance.nodes),
            startup: self
                .glance
                .startup
                .map(|(p50, p95)| PoolStartup { p50: Some(span(p50)), p95: Some(span(p95)) }),
            evidence: evidence.iter().rev().map(told).collect(),
            cost_per_hour: self.glance.cost.map(|cost| format!("{cost:.2}")),
            conditions: vec![self.ready(known)],
        }
    }

    /// Its condition `Ready`.
    fn ready(&self, known: &CapacityPoolStatus) -> Condition {
        let unserved = &self.glance.unserved;
        let (truth, reason, message) = if unserved.is_empty() {
            (Truth::True, "Serving", String::new())
        } else {
            let message =
                format!("{} does not work in this version: leave it out", unserved.join(", "));
            (Truth::False, "NotYetSupported", message)
        };
        let claim = Claim { kind: "Ready", truth, reason: reason.into(), message: message.into() };
        condition(&claim, self.verdict.since, self.glance.generation, &known.conditions)
    }
}

fn told(sign: &Sign) -> PoolEvidence {
    PoolEvidence {
        at: whole_second(sign.at),
        kind: if sign.is_hard { PoolEvidenceKind::Hard } else { PoolEvidenceKind::Soft },
        what: sign.what[..sign.what.floor_char_boundary(SENTENCE)].to_owned(),
    }
}

/// A merge patch keeps what it does not name, so what is no longer so is named with null.
fn whole(status: &CapacityPoolStatus) -> Result<Value, serde_json::Error> {
    let mut whole = json!({"startup": null, "costPerHour": null, "evidence": []});
    if let (Value::Object(whole), Value::Object(fields)) =
        (&mut whole, serde_json::to_value(status)?)
    {
        whole.extend(fields);
    }
    Ok(whole)
}
