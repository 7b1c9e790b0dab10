//! All objects and a bounded history of changes under one revision counter, as etcd keeps them. Read by `read` and `watch`,
//! changed by `write` alone. It knows nothing of HTTP, schemas or managers.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// Namespace (empty for cluster-wide kinds) and name.
pub(super) type Place = (String, String);

/// One change to one object.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    /// The object before, none when it was created.
    pub(super) old: Option<Arc<Value>>,
    /// The object after; for a deletion its last state under the new revision.
    pub(super) object: Arc<Value>,
    pub(super) deleted: bool,
}

/// All objects of one kind, and what happened to them lately.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) objects: BTreeMap<Place, Arc<Value>>,
    pub(super) history: VecDeque<Arc<Change>>,
    /// The newest revision that was forgotten: a watch may start from here or later.
    pub(super) floor: u64,
    tell: watch::Sender<u64>,
}

impl Shelf {
    /// Changes after `revision`, oldest first; none when some of them are forgotten.
    pub(super) fn since(&self, revision: u64) -> Option<Vec<Arc<Change>>> {
        if revision < self.floor {
            return None;
        }
        let from = self.history.partition_point(|change| change.revision <= revision);
        Some(self.history.range(from..).cloned().collect())
    }

    /// The objects as they were at `revision`; none when that is forgotten.
    pub(super) fn at(&self, revision: u64) -> Option<BTreeMap<Place, Arc<Value>>> {
        let mut objects = self.objects.clone();
        for change in self.since(revision)?.into_iter().rev() {
            let place = place_of(&change.object);
            match &change.old {
                Some(old) => objects.insert(place, Arc::clone(old)),
                None => objects.remove(&place),
            };
        }
        Some(objects)
    }
}

/// The state of the whole API.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) revision: u64,
    shelves: BTreeMap<String, Shelf>,
    /// Who names whom as owner: uid of the owner, then shelf and place of the owned.
    owned: BTreeMap<String, BTreeSet<(String, Place)>>,
    history: usize,
    any: watch::Sender<u64>,
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Where an object lives.
pub(super) fn place_of(object: &Value) -> Place {
    (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let list = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str())
}

impl Store {
    /// An empty store that keeps the last `history` changes of each kind.
    pub(super) fn new(history: usize) -> Self {
        Self {
            revision: 1,
            shelves: BTreeMap::new(),
            owned: BTreeMap::new(),
            history,
            any: watch::Sender::new(1),
        }
    }

    /// The shelf of a kind, by `plural.group`; made when first asked for.
    pub(super) fn shelf_mut(&mut self, key: &str) -> &mut Shelf {
        self.shelves.entry(key.to_owned()).or_insert_with(|| Shelf {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            floor: 0,
            tell: watch::Sender::new(0),
        })
    }

    /// The shelf of a kind, if anything was ever asked of it.
    pub(super) fn shelf(&self, key: &str) -> Option<&Shelf> {
        self.shelves.get(key)
    }

    /// All shelves by `plural.group`.
    pub(super) fn shelves(&self) -> impl Iterator<Item = (&String, &Shelf)> {
        self.shelves.iter()
    }

    /// One object.
    pub(super) fn object(&self, key: &str, place: &Place) -> Option<&Arc<Value>> {
        self.shelves.get(key)?.objects.get(place)
    }

    /// Objects that name the owner with this uid.
    pub(super) fn owned_by(&self, uid: &str) -> Vec<(String, Place)> {
        self.owned.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Told of each new revision of one kind.
    pub(super) fn changes(&mut self, key: &str) -> watch::Receiver<u64> {
        self.shelf_mut(key).tell.subscribe()
    }

    /// Told of each new revision of any kind.
    pub(super) fn all_changes(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    /// Puts an object in its place under the next revision, which it is stamped with.
    pub(super) fn put(&mut self, key: &str, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        let revision = self.revision;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let place = place_of(&object);
        let object = Arc::new(object);
        let old = self.shelf_mut(key).objects.insert(place.clone(), Arc::clone(&object));
        if let Some(old) = &old {
            self.disown(key, &place, old);
        }
        for owner in owners(&object) {
            self.owned.entry(owner.to_owned()).or_default().insert((key.to_owned(), place.clone()));
        }
        self.record(key, Change { revision, old, object: Arc::clone(&object), deleted: false });
        object
    }

    /// Takes an object away. Returns its last state, stamped with the revision of its end.
    pub(super) fn take(&mut self, key: &str, place: &Place) -> Option<Arc<Value>> {
        let old = self.shelf_mut(key).objects.remove(place)?;
        self.disown(key, place, &old);
        self.revision += 1;
        let revision = self.revision;
        let mut last = Value::clone(&old);
        last["metadata"]["resourceVersion"] = json!(revision.to_string());
        let object = Arc::new(last);
        self.record(
            key,
            Change { revision, old: Some(old), object: Arc::clone(&object), deleted: true },
        );
        Some(object)
    }

    fn disown(&mut self, key: &str, place: &Place, object: &Value) {
        for owner in owners(object) {
            if let Some(set) = self.owned.get_mut(owner) {
                set.remove(&(key.to_owned(), place.clone()));
                if set.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
    }

    fn record(&mut self, key: &str, change: Change) {
        let keep = self.history;
        let revision = change.revision;
        let kept = self.shelf_mut(key);
        kept.history.push_back(Arc::new(change));
        while kept.history.len() > keep {
            if let Some(oldest) = kept.history.pop_front() {
                kept.floor = oldest.revision;
            }
        }
        kept.tell.send_replace(revision);
        self.any.send_replace(revision);
    }

    /// Forgets all history, as an etcd compaction does: watches and pages from before now expire.
    pub(super) fn compact(&mut self) {
        let revision = self.revision;
        for shelf in self.shelves.values_mut() {
            shelf.history.clear();
            shelf.floor = revision;
            shelf.tell.send_replace(revision);
        }
    }
}
