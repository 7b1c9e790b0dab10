//! The desk where statuses of cluster-wide objects are written, pools of nodes and budgets alike: when what is believed of one changes, and
//! its figures now and then. One task writes, one object at a time, and never over something it has not seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::patch;
use crate::act::{self, Licence};
use crate::clock::Clock;

/// Figures alone are written no more often than this.
const FIGURES: Duration = Duration::from_secs(30);
/// An attempt that failed is followed by another after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// The latest picture of an object whose status is ours.
pub(super) trait Subject: Clone {
    /// Its status.
    type Status: Clone + PartialEq + Serialize;
    /// Its kind, as paths have it.
    const PLURAL: &'static str;
    /// Fields of the status that are left out when there is nothing to say: a merge patch keeps what it does not name.
    const CLEARED: &'static [(&'static str, Value)];

    /// Its uid and `resourceVersion`; a write carries both.
    fn place(&self) -> (&Arc<str>, &Arc<str>);
    /// The status as it stands written.
    fn known(&self) -> &Arc<Self::Status>;
    /// The same picture, with another status standing.
    #[must_use]
    fn knowing(self, status: Arc<Self::Status>) -> Self;
    /// Fields within a field of the status that may be absent: `(outer, inner)`.
    const PARTS: &'static [(&'static str, &'static str)] = &[];
    /// What its status should be.
    fn status(&self) -> Self::Status;
    /// What of a status is worth a write at once, figures left out.
    fn gist(status: &Self::Status) -> Self::Status;
    /// Says in the log what it has come to; `old` is the picture before.
    fn tell(&self, old: Option<&Self>);
}

/// The latest picture of every object of a kind, and the wishes to write. Cheap to clone.
pub(super) struct Desk<S: Subject>(Arc<Inner<S>>);

impl<S: Subject> Clone for Desk<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Subject> fmt::Debug for Desk<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("of", &S::PLURAL).finish_non_exhaustive()
    }
}

struct Inner<S: Subject> {
    client: Client,
    licence: Licence,
    clock: Clock,
    files: Mutex<Files<S>>,
    bell: Notify,
}

/// What is to be written of which object, and when.
type Wish<S> = (Timestamp, Arc<str>, <S as Subject>::Status);

struct Files<S: Subject> {
    each: BTreeMap<Arc<str>, File<S>>,
    is_closed: bool,
}

struct File<S: Subject> {
    picture: S,
    /// What is to be written, and when.
    wish: Option<(Timestamp, S::Status)>,
    last_write: Option<Timestamp>,
    /// Our last write, over that version, until the watch shows a newer one.
    own: Option<(Arc<str>, Arc<S::Status>)>,
    not_before: Option<Timestamp>,
}

impl<S: Subject> Desk<S> {
    pub(super) fn new(client: Client, licence: Licence, clock: Clock) -> Self {
        let files = Mutex::new(Files { each: BTreeMap::new(), is_closed: false });
        Self(Arc::new(Inner { client, licence, clock, files, bell: Notify::new() }))
    }

    /// Takes in a turn: every object there is, by name.
    pub(super) fn take(&self, pictures: BTreeMap<Arc<str>, S>, at: Timestamp) {
        let mut files = self.files();
        files.each.retain(|name, _| pictures.contains_key(name));
        let mut is_news = false;
        for (name, picture) in pictures {
            let old = files.each.remove(&name);
            let own = old.as_ref().and_then(|old| old.own.clone());
            let own = own.filter(|(over, _)| over == picture.place().1);
            let picture = match &own {
                Some((_, status)) => picture.knowing(Arc::clone(status)),
                None => picture,
            };
            picture.tell(old.as_ref().map(|old| &old.picture));
            let mut file = File {
                wish: None,
                own,
                last_write: old.as_ref().and_then(|old| old.last_write),
                not_before: old.and_then(|old| old.not_before),
                picture,
            };
            file.wish = file.wish(at);
            is_news |= file.wish.is_some();
            files.each.insert(name, file);
        }
        drop(files);
        if is_news {
            self.0.bell.notify_one();
        }
    }

    /// The latest picture of every object, by name.
    pub(super) fn pictures(&self) -> Vec<S> {
        self.files().each.values().map(|file| file.picture.clone()).collect()
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

    fn next(&self) -> (Option<Wish<S>>, bool) {
        let files = self.files();
        let wishes = files.each.iter().filter_map(|(name, file)| {
            let (due, status) = file.wish.as_ref()?;
            let due = file.not_before.map_or(*due, |earliest| earliest.max(*due));
            Some((due, name, status))
        });
        let next = wishes.min_by_key(|(due, ..)| *due);
        (next.map(|(due, name, status)| (due, Arc::clone(name), status.clone())), files.is_closed)
    }

    async fn write_one(&self, name: &Arc<str>, status: S::Status) {
        let Some((uid, version)) = self.files().each.get(name).map(|file| {
            let (uid, version) = file.picture.place();
            (Arc::clone(uid), Arc::clone(version))
        }) else {
            return;
        };
        let place = format!("{}/{name}", S::PLURAL);
        let answer = match whole::<S>(&status) {
            Ok(whole) => patch::status(&self.0.client, &place, (&uid, &version), whole).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        let now = self.0.clock.now();
        let mut files = self.files();
        let Some(file) = files.each.get_mut(name) else { return };
        file.wish = None;
        match answer {
            Ok(new) => {
                file.last_write = Some(now);
                file.not_before = None;
                let status = Arc::new(status);
                // What changed nothing brings no newer version, and is not waited for.
                file.own = (*new != *version).then(|| (version, Arc::clone(&status)));
                file.picture = file.picture.clone().knowing(status);
            }
            Err(error) => {
                // The cache is behind, or the object went: the next turn says.
                let is_usual =
                    matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
                // Nothing was sent, and counts go first.
                let rest = act::rest(&error);
                if !is_usual && rest.is_none() {
                    tracing::warn!(object = %place, %error, "a status could not be written");
                }
                file.wish = Some((now, status));
                file.not_before = now.checked_add(rest.unwrap_or(AGAIN)).ok();
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, Files<S>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subject> File<S> {
    /// What is to be written, and when; `None` when what stands will do.
    fn wish(&self, at: Timestamp) -> Option<(Timestamp, S::Status)> {
        let known = self.picture.known();
        let status = self.picture.status();
        // What is newer than our own last write waits until the watch shows that one.
        if status == **known || self.own.is_some() {
            return None;
        }
        let is_urgent = S::gist(&status) != S::gist(known);
        let rested = self.last_write.and_then(|last| last.checked_add(FIGURES).ok());
        Some((rested.filter(|_| !is_urgent).unwrap_or(at), status))
    }
}

/// A merge patch keeps what it does not name, so what is no longer so is named with null.
fn whole<S: Subject>(status: &S::Status) -> Result<Value, serde_json::Error> {
    let cleared = S::CLEARED.iter().map(|(field, nothing)| ((*field).to_owned(), nothing.clone()));
    let mut whole: Map<String, Value> = cleared.collect();
    if let Value::Object(fields) = serde_json::to_value(status)? {
        whole.extend(fields);
    }
    for (outer, inner) in S::PARTS {
        if let Some(Value::Object(fields)) = whole.get_mut(*outer) {
            fields.entry(*inner).or_insert(Value::Null);
        }
    }
    Ok(Value::Object(whole))
}
