//! WATCH: a stream of what happens to one kind, from a revision on. Each watch reads the shelf's history at its own pace, so a slow
//! reader costs nobody else anything, and one that falls behind what is kept is told so with a 410, as by the real server.

use super::http::Api;
use super::kinds::Resource;
use super::refusal::Refusal;
use super::route::Query;
use super::selector::Selector;
use super::store::{Change, place_of};
use super::table;
use super::view::{View, metadata, whole};
use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// One watch in progress.
struct Watcher {
    api: Arc<Api>,
    resource: Arc<Resource>,
    namespace: String,
    selector: Selector,
    view: View,
    position: u64,
    /// Where the watch began, or its last bookmark.
    marked: u64,
    queue: VecDeque<Bytes>,
    changes: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
    deadline: Instant,
    bookmark: Option<Instant>,
    headed: bool,
    over: bool,
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut out = format!("{{\"type\":{kind:?},\"object\":").into_bytes();
    // Writing JSON to memory cannot fail; if it did, the line would be cut short and the reader would complain.
    drop(serde_json::to_writer(&mut out, object));
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}

/// Starts a watch. A wrong request is refused; a revision that is gone is the stream's first and last event.
pub(super) fn start(
    api: &Arc<Api>,
    resource: &Arc<Resource>,
    namespace: &str,
    query: &Query,
    view: View,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Refusal> {
    let selector =
        Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))?;
    let asked = query.revision().map_err(Refusal::unforeseen)?;
    let initial = query.text("sendInitialEvents");
    let bookmarks = query.is_true("allowWatchBookmarks");
    if !initial.is_empty() && query.text("resourceVersionMatch") != "NotOlderThan" {
        let fault = crate::crd::schema::Fault::new(
            "resourceVersionMatch",
            crate::crd::schema::Reason::Forbidden,
            None,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        return Err(Refusal::invalid("ListOptions", "meta.k8s.io", "", &[fault]));
    }
    let timeout = query
        .number("timeoutSeconds")
        .filter(|t| *t > 0)
        .map_or(Duration::from_mins(50), Duration::from_secs);
    let now = Instant::now();
    let mut state = api.write();
    let changes = state.store.changes(&resource.shelf);
    let mut watcher = Watcher {
        api: Arc::clone(api),
        resource: Arc::clone(resource),
        namespace: namespace.to_owned(),
        selector,
        view,
        position: state.store.revision,
        marked: state.store.revision,
        queue: VecDeque::new(),
        changes,
        cuts: api.cuts.subscribe(),
        deadline: now + timeout,
        bookmark: bookmarks.then(|| now + api.options.bookmark_every),
        headed: false,
        over: false,
    };
    let all = initial == "true" || (initial.is_empty() && matches!(asked, None | Some(0)));
    if all {
        let objects =
            state.store.shelf(&resource.shelf).into_iter().flat_map(|shelf| shelf.objects.values());
        let objects: Vec<_> = objects.cloned().collect();
        for object in objects {
            if watcher.sees(&object) {
                watcher.push("ADDED", &object);
            }
        }
        if initial == "true" && bookmarks {
            watcher.push_bookmark(true);
        }
    } else if let Some(revision) = asked.filter(|revision| *revision > 0) {
        watcher.position = revision;
        watcher.marked = revision;
    }
    drop(state);
    watcher.catch_up();
    Ok(futures::stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await?;
        Some((next, watcher))
    }))
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.queue.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            let bookmark = self.bookmark.unwrap_or(self.deadline + Duration::from_secs(1));
            tokio::select! {
                biased;
                _ = self.cuts.changed() => return None,
                changed = self.changes.changed() => {
                    // The sender goes with the kind, when its CRD is deleted.
                    self.over = changed.is_err();
                    self.catch_up();
                }
                () = sleep_until(bookmark) => {
                    self.bookmark = Some(Instant::now() + self.api.options.bookmark_every);
                    self.mark_progress();
                }
                () = sleep_until(self.deadline) => {
                    if self.bookmark.is_some() {
                        self.mark_progress();
                    }
                    self.over = true;
                }
            }
        }
    }

    fn sees(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || place_of(object).0 == self.namespace)
            && self.selector.matches(object)
    }

    /// Queues what happened since the last look.
    fn catch_up(&mut self) {
        if self.over {
            return;
        }
        let api = Arc::clone(&self.api);
        let state = api.read();
        let Some(kept) = state.store.shelf(&self.resource.shelf) else { return };
        let Some(news) = kept.since(self.position) else {
            let message = format!("too old resource version: {} ({})", self.position, kept.floor);
            self.fail(&Refusal::expired(message, None));
            return;
        };
        // A watch from the future waits for it, as on the real server.
        self.position = state.store.revision.max(self.position);
        for change in news {
            self.tell(&change);
        }
    }

    fn tell(&mut self, change: &Change) {
        let before = change.old.as_ref().is_some_and(|old| self.sees(old));
        let after = !change.deleted && self.sees(&change.object);
        match (before, after) {
            (false, true) => self.push("ADDED", &change.object),
            (true, true) => self.push("MODIFIED", &change.object),
            (true, false) if change.deleted => self.push("DELETED", &change.object),
            (true, false) => {
                // It left the selection: the last state seen, under the revision of its leaving.
                let mut last = change.old.as_ref().map(|old| Value::clone(old)).unwrap_or_default();
                last["metadata"]["resourceVersion"] =
                    change.object["metadata"]["resourceVersion"].clone();
                self.push("DELETED", &Arc::new(last));
            }
            (false, false) => {}
        }
    }

    fn push(&mut self, kind: &str, object: &Arc<Value>) {
        let shown = match self.view {
            View::Whole if self.resource.stored_as == self.resource.api_version() => {
                self.queue.push_back(line(kind, object));
                return;
            }
            View::Whole => whole(&self.resource, object),
            View::Metadata => metadata(object),
            View::Table => {
                let head = !self.headed;
                self.headed = true;
                table::table(
                    &self.resource,
                    std::slice::from_ref(object),
                    head,
                    self.api.clock.now(),
                )
            }
        };
        self.queue.push_back(line(kind, &shown));
    }

    /// A bookmark, if there is news since the last one.
    fn mark_progress(&mut self) {
        self.catch_up();
        if self.position > self.marked && !self.over {
            self.push_bookmark(false);
        }
    }

    fn push_bookmark(&mut self, initial_end: bool) {
        self.marked = self.position;
        let (kind, version) = match self.view {
            View::Whole => (self.resource.kind.as_str(), self.resource.api_version()),
            View::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            View::Table => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": self.position.to_string()}});
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.queue.push_back(line("BOOKMARK", &object));
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.queue.push_back(line("ERROR", &refusal.status()));
        self.over = true;
    }
}
