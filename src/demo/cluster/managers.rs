//! Who owns which fields: `metadata.managedFields`, kept on every write as the API server keeps it. Called by `write` for plain
//! writes and by `apply` for server-side apply.

use super::compare::{difference, fields_of};
use super::fields::Set;
use crate::crd::schema::Node;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Who writes, to which face of the object.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The `fieldManager` parameter, or the first part of the user agent.
    pub(super) manager: String,
    /// Group and version of the request.
    pub(super) api_version: String,
    /// `status`, `scale`, or empty.
    pub(super) subresource: String,
}

/// How a manager came by its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The fields of one manager.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Entry {
    pub(super) fn new(writer: &Writer, operation: Operation) -> Self {
        Self {
            manager: if writer.manager.is_empty() {
                "unknown".to_owned()
            } else {
                writer.manager.clone()
            },
            operation,
            api_version: writer.api_version.clone(),
            subresource: writer.subresource.clone(),
            time: None,
            fields: Set::default(),
        }
    }

    /// What tells managers apart. Appliers are the same across versions.
    pub(super) fn identity(&self) -> (Operation, &str, &str, &str) {
        let version = if self.operation == Operation::Apply { "" } else { &self.api_version };
        (self.operation, &self.manager, version, &self.subresource)
    }

    /// Whether this is the entry of that writer: appliers are the same across versions.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn parse(value: &Value) -> Option<Self> {
        let text =
            |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let time = value.get("time").and_then(Value::as_str).map(str::to_owned);
        let fields = Set::from_json(value.get("fieldsV1").unwrap_or(&Value::Null));
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time,
            fields,
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".to_owned(), json!(self.manager));
        entry.insert(
            "operation".to_owned(),
            json!(if self.operation == Operation::Apply { "Apply" } else { "Update" }),
        );
        entry.insert("apiVersion".to_owned(), json!(self.api_version));
        if let Some(time) = &self.time {
            entry.insert("time".to_owned(), json!(time));
        }
        entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
        entry.insert("fieldsV1".to_owned(), self.fields.to_json());
        if !self.subresource.is_empty() {
            entry.insert("subresource".to_owned(), json!(self.subresource));
        }
        Value::Object(entry)
    }
}

/// The managers of an object, most settled first.
pub(super) fn entries(object: &Value) -> Vec<Entry> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut out: Vec<Entry> = Vec::new();
    for entry in list.into_iter().flatten().filter_map(Entry::parse) {
        // The real server reads them into a map: of two entries of one manager the later counts.
        out.retain(|other| !other.is_of(&entry));
        out.push(entry);
    }
    out
}

/// Writes the managers into the object, in the order the API server keeps.
pub(super) fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |e: &Entry| {
            (
                e.operation,
                e.time.clone(),
                e.manager.clone(),
                e.api_version.clone(),
                e.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        meta.shift_remove("managedFields");
    } else {
        meta.insert("managedFields".to_owned(), entries.iter().map(Entry::to_json).collect());
    }
}

/// The object without its managers, for comparing.
pub(super) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.shift_remove("managedFields");
    }
    object
}

/// What no manager owns: the identity of the object, and what the server keeps.
static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    let meta = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let top = Set::of(&["apiVersion"]).union(&Set::of(&["kind"]));
    meta.iter().fold(top, |set, name| set.union(&Set::of(&["metadata", name])))
});

/// Takes out what no manager owns; `metadata` itself, but not what lies below it.
pub(super) fn strip(set: &Set) -> Set {
    set.without_trees(&UNOWNED).difference(&Set::of(&["metadata"]))
}

/// Whether the object asks for its managers to be forgotten: `managedFields: [{}]`.
fn asks_reset(object: &Value) -> bool {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.is_some_and(|list| list.len() == 1 && list[0].as_object().is_some_and(Map::is_empty))
}

/// Records a plain write: whatever `new` changes against `live` now belongs to the writer. `is_new` says that `live` is a mere
/// skeleton. `now` is RFC 3339.
pub(super) fn record(
    shape: &Node,
    live: &Value,
    new: &mut Value,
    is_new: bool,
    writer: &Writer,
    now: &str,
) {
    if asks_reset(new) && writer.subresource.is_empty() && !is_new {
        store(new, Vec::new());
        return;
    }
    let given = if writer.subresource.is_empty() { entries(new) } else { Vec::new() };
    let managers = if given.is_empty() { entries(live) } else { given };
    if managers.is_empty() && !is_new {
        // An object nobody tracks stays untracked until somebody applies.
        store(new, Vec::new());
        return;
    }
    let mine = Entry::new(writer, Operation::Update);
    let managers = updated(shape, live, new, managers, mine, now);
    store(new, managers);
}

/// The managers after `mine` changed `live` into `new` by a plain write.
pub(super) fn updated(
    shape: &Node,
    live: &Value,
    new: &Value,
    mut managers: Vec<Entry>,
    mine: Entry,
    now: &str,
) -> Vec<Entry> {
    // What differs in the managers themselves is stripped with the rest that nobody owns.
    let change = difference(Some(shape), live, new);
    let gained = strip(&change.modified.union(&change.added));
    let lost = change.removed.union(&change.modified).union(&change.added);
    for entry in &mut managers {
        entry.fields = if entry.is_of(&mine) {
            entry.fields.difference(&change.removed)
        } else {
            entry.fields.difference(&lost)
        };
    }
    if !gained.is_empty() {
        match managers.iter_mut().find(|entry| entry.is_of(&mine)) {
            Some(entry) => {
                entry.fields = entry.fields.union(&gained);
                entry.time = Some(now.to_owned());
            }
            None => managers.push(Entry { fields: gained, time: Some(now.to_owned()), ..mine }),
        }
    }
    managers.retain(|entry| !entry.fields.is_empty());
    managers
}

/// The entry of somebody who wrote all of `object` before anybody applied.
pub(super) fn before_first_apply(shape: &Node, object: &Value, api_version: &str) -> Entry {
    let writer = Writer {
        manager: "before-first-apply".to_owned(),
        api_version: api_version.to_owned(),
        subresource: String::new(),
    };
    let all = difference(Some(shape), &json!({"metadata": {}}), &bare(object)).added;
    Entry {
        fields: strip(&all.union(&fields_of(Some(shape), &bare(object)))),
        ..Entry::new(&writer, Operation::Update)
    }
}
