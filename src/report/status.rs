//! The status teller: writes a pipeline's status when `gist` finds it worth it, at most 10 a second in all, and never over
//! something it has not seen. Turns put the latest wish for each pipeline on the desk; one task takes them off.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::Notify;

use super::compose::{compose, whole};
use super::conditions::{Calm, Claim, Truth, claims};
use super::gist::{Dwell, Gist, Urgency};
use super::{Glance, Picture, patch};
use crate::act::{self, Licence};
use crate::clock::Clock;
use crate::crd::PipelineStatus;
use crate::decide::PipelineId;

/// For so long after its first turn a pipeline's sources and targets may not have answered yet.
const GETTING_READY: Duration = Duration::from_secs(15);
/// 10 a second in all.
const PACE: Duration = Duration::from_millis(100);

/// Where the wishes lie. Cheap to clone.
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
    files: Mutex<Files>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Files {
    // Boxed: a tree sets places aside for about twice as many as there are.
    pipelines: BTreeMap<PipelineId, Box<File>>,
    is_closed: bool,
}

/// What is kept of one pipeline.
#[derive(Debug)]
struct File {
    uid: Arc<str>,
    /// Its first turn in this process.
    since: Timestamp,
    /// Each condition as it was last known, whether written or not.
    told: Vec<Told>,
    calm: Calm,
    dwell: Dwell,
    last_write: Option<Timestamp>,
    /// Our last write, until the cache has seen it.
    own: Option<Own>,
    wish: Option<Wish>,
    /// No attempt before this, after one that failed.
    not_before: Option<Timestamp>,
}

/// A condition as it was last known.
#[derive(Debug)]
struct Told {
    kind: &'static str,
    truth: Truth,
    warned: bool,
}

/// A write of ours that the cache may not show yet.
#[derive(Debug)]
struct Own {
    /// The version the cache had when we wrote.
    over: Arc<str>,
    /// The version that came of it.
    now: Arc<str>,
    status: Arc<PipelineStatus>,
}

impl Own {
    /// Is it this write that the cache shows, and less of it than was written?
    fn is_cut(&self, glance: &Glance) -> bool {
        self.now == glance.resource_version
            && Gist::of_status(&self.status) != Gist::of_status(&glance.status)
    }
}

/// What we would write now.
#[derive(Debug, Clone)]
struct Wish {
    picture: Arc<Picture>,
    claims: Vec<Claim>,
    due: Timestamp,
    is_urgent: bool,
}

/// Changes of a condition since the last turn: what events are made of.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Status before; `None` when it was never told.
    pub(super) before: Option<Truth>,
    /// Did it warn before?
    pub(super) warned: bool,
    pub(super) claim: Claim,
}

/// A condition as it stands after a turn: what metrics show of it.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    /// Its type.
    pub(super) kind: &'static str,
    pub(super) truth: Truth,
    pub(super) reason: Cow<'static, str>,
}

/// What a turn did to the conditions of a pipeline.
#[derive(Debug)]
pub(super) struct Taken {
    /// Those that turned over.
    pub(super) changes: Vec<Change>,
    /// All of them.
    pub(super) conditions: Vec<Stand>,
}

impl Desk {
    pub(super) fn new(client: Client, licence: Licence, clock: Clock) -> Self {
        let (files, bell) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { client, licence, clock, files, bell }) }
    }

    /// Takes in a turn of a pipeline. Returns its conditions, and which of them turned over.
    pub(super) fn take(&self, picture: &Arc<Picture>) -> Taken {
        let glance = &picture.glance;
        let mut files = self.files();
        let file = files
            .pipelines
            .entry(glance.id.clone())
            .or_insert_with(|| Box::new(File::new(picture)));
        if file.uid != glance.uid {
            **file = File::new(picture);
        }
        let claims = claims(picture, &mut file.calm);
        let standing = file.standing(glance);
        let written = Gist::of_status(&standing);
        let mut gist = Gist::of(picture, &claims, &mut file.dwell);
        if picture.situation.is_none() {
            gist = gist.keeping_stages(&written);
        }
        let changes = file.changes(&claims, &written);
        let conditions = claims.iter().map(Claim::stand).collect();
        let taken = Taken { changes, conditions };
        let age = Duration::try_from(picture.at.duration_since(file.since)).unwrap_or_default();
        let last = file.last_write;
        let urgency = if age >= GETTING_READY {
            gist.urgency(&written, last, &file.dwell, picture.at)
        } else if gist.is_still_starting(&written) {
            Urgency::None
        } else {
            gist.without_ignorance(&written).urgency(&written, last, &file.dwell, picture.at)
        };
        let (due, is_urgent) = match urgency {
            Urgency::None => {
                file.wish = None;
                return taken;
            }
            Urgency::At(due) => (due, false),
            Urgency::Now => (picture.at, true),
        };
        // The writer looks at all wishes when the bell rings, so it rings only for what it does not wait for already.
        let is_news =
            file.wish.as_ref().is_none_or(|wish| due < wish.due || (is_urgent && !wish.is_urgent));
        let picture = Arc::clone(picture);
        file.wish = Some(Wish { picture, claims, due, is_urgent });
        drop(files);
        if is_news {
            self.inner.bell.notify_one();
        }
        taken
    }

    /// Forgets a deleted pipeline.
    pub(super) fn forget(&self, pipeline: &PipelineId) {
        self.files().pipelines.remove(pipeline);
    }

    /// No turn will follow: what is due now is still written.
    pub(super) fn close(&self) {
        self.files().is_closed = true;
        self.inner.bell.notify_one();
    }

    /// Writes what is due, one at a time, until closed and empty.
    pub(super) async fn write(&self) {
        loop {
            let (next, is_closed) = self.next();
            let now = self.inner.clock.now();
            match next {
                Some((due, wish)) if due <= now && self.inner.licence.check().is_ok() => {
                    self.write_one(wish).await;
                    tokio::time::sleep(PACE).await;
                }
                _ if is_closed => return,
                Some((due, _)) => {
                    // Without a licence we look again every second.
                    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                    let wait = if wait.is_zero() { Duration::from_secs(1) } else { wait };
                    drop(tokio::time::timeout(wait, self.inner.bell.notified()).await);
                }
                None => self.inner.bell.notified().await,
            }
        }
    }

    /// The wish to fulfil next: conditions first, then the one that has waited longest.
    fn next(&self) -> (Option<(Timestamp, Wish)>, bool) {
        let files = self.files();
        let now = self.inner.clock.now();
        let wishes = files.pipelines.values().filter_map(|file| {
            let wish = file.wish.as_ref()?;
            let due = file.not_before.map_or(wish.due, |earliest| wish.due.max(earliest));
            Some((now < due, !wish.is_urgent, due, wish))
        });
        let next = wishes.min_by_key(|(is_later, is_calm, due, _)| (*is_later, *is_calm, *due));
        (next.map(|(_, _, due, wish)| (due, wish.clone())), files.is_closed)
    }

    async fn write_one(&self, wish: Wish) {
        let glance = &wish.picture.glance;
        let (version, known) = self.known(&wish);
        let status = Arc::new(compose(&wish.picture, &wish.claims, &known));
        let PipelineId { namespace, name } = &glance.id;
        let place = format!("namespaces/{namespace}/scaledpipelines/{name}");
        let answer = match whole(&status) {
            Ok(whole) => {
                patch::status(&self.inner.client, &place, (&glance.uid, &version), whole).await
            }
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        let now = self.inner.clock.now();
        let mut files = self.files();
        let Some(file) = files.pipelines.get_mut(&glance.id) else { return };
        if file.uid != glance.uid {
            return;
        }
        match answer {
            Ok(new) => {
                file.last_write = Some(now);
                file.dwell.tells(&status);
                file.own = Some(Own {
                    over: Arc::clone(&glance.resource_version),
                    now: new.into(),
                    status,
                });
                file.not_before = None;
                // A wish that came meanwhile is judged by its own turn, against what now stands.
                file.wish = None;
            }
            Err(error) => file.put_off(&glance.id, &error, now),
        }
    }

    /// The version to write over, and the status that stands there.
    fn known(&self, wish: &Wish) -> (Arc<str>, Arc<PipelineStatus>) {
        let glance = &wish.picture.glance;
        let files = self.files();
        let own = files.pipelines.get(&glance.id).and_then(|file| file.own.as_ref());
        match own {
            Some(own) if own.over == glance.resource_version => {
                (Arc::clone(&own.now), Arc::clone(&own.status))
            }
            _ => (Arc::clone(&glance.resource_version), Arc::clone(&glance.status)),
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.inner.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn new(picture: &Picture) -> Self {
        let status = &picture.glance.status;
        let truth = |kind: &str| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind)?;
            match &*condition.status {
                "True" => Some(true),
                "False" => Some(false),
                // Not known then is neither now.
                _ => None,
            }
        };
        Self {
            uid: Arc::clone(&picture.glance.uid),
            since: picture.at,
            told: Vec::new(),
            calm: Calm::recalled(truth("Active"), truth("ObjectiveMet") == Some(false)),
            dwell: Dwell::starting_at(Gist::of_status(status).band()),
            last_write: status.observed_at.map(|at| at.min(picture.at)),
            own: None,
            wish: None,
            not_before: None,
        }
    }

    /// What stands written: our own last write until the cache shows a newer version, be it ours, another leader's or a hand's. Where the
    /// definition is another version's, the API server drops what it does not know: then what we wrote stands as long as nobody else
    /// writes, since to write it again would change nothing, for ever.
    fn standing(&mut self, glance: &Glance) -> Arc<PipelineStatus> {
        let shown = &glance.resource_version;
        self.own.take_if(|own| own.over != *shown && !own.is_cut(glance));
        Arc::clone(self.own.as_ref().map_or(&glance.status, |own| &own.status))
    }

    /// Conditions that turned over, or began or ceased to warn, since they were last known. Not to know for a while turns nothing over.
    fn changes(&mut self, claims: &[Claim], written: &Gist<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        for claim in claims.iter().filter(|claim| claim.truth != Truth::Unknown) {
            let new = Told { kind: claim.kind, truth: claim.truth, warned: claim.warns() };
            let known = self.told.iter_mut().find(|told| told.kind == claim.kind);
            let (before, warned) = if let Some(told) = known {
                let Told { truth, warned, .. } = std::mem::replace(told, new);
                (Some(truth), warned)
            } else {
                self.told.push(new);
                written.told(claim.kind)
            };
            if before != Some(claim.truth) || warned != claim.warns() {
                changes.push(Change { before, warned, claim: claim.clone() });
            }
        }
        changes
    }

    fn put_off(&mut self, id: &PipelineId, error: &kube::Error, now: Timestamp) {
        if let Some(rest) = act::rest(error) {
            // Nothing was sent, and counts go first.
            self.not_before = now.checked_add(rest).ok();
            return;
        }
        let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
        let (wait, is_news) = match code {
            // The cache is behind: the next turn brings the newer object.
            409 => (Duration::from_secs(1), false),
            // The object went; the watch will say so.
            404 => (Duration::from_secs(5), false),
            403 | 422 => (Duration::from_mins(1), true),
            _ => (Duration::from_secs(5), true),
        };
        if is_news {
            tracing::warn!(pipeline = %id, %error, "status could not be written");
        }
        self.not_before = now.checked_add(wait).ok();
    }
}
