//! Server-side apply: what an object becomes when a manager applies a configuration, and whom that would contradict. Pure; called
//! by `patch` on whole objects and by `scale` on Scale objects. Left out: nulls in a configuration count as not written.

use super::compare::{Difference, difference, fields_of, merged, with_parents, without};
use super::fields::Set;
use super::managers::{Entry, Operation, Writer, bare, entries, store, strip};
use super::refusal::Refusal;
use crate::crd::schema::Node;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What an apply works on.
pub(super) struct Apply<'a> {
    pub(super) shape: &'a Node,
    pub(super) writer: &'a Writer,
    /// Take over what others own.
    pub(super) force: bool,
    /// Fields that this face of the object cannot set.
    pub(super) reset: Set,
    /// RFC 3339.
    pub(super) now: &'a str,
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v)));
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

impl Apply<'_> {
    /// The object after `config` was applied to `live` (whose managers are `managers`), or the conflict.
    /// `finish` is what the server does to any object before comparing it: defaults, for one.
    pub(super) fn run(
        &self,
        live: &Value,
        managers: Vec<Entry>,
        config: &Value,
        finish: &dyn Fn(&mut Value),
    ) -> Result<Value, Refusal> {
        let live = bare(live);
        let config = without(Some(self.shape), &without_nulls(config), &self.reset);
        let config = config.unwrap_or_else(|| Value::Object(Map::new()));
        let shape = Some(self.shape);
        let mut managers = managers;
        let mine = Entry::new(self.writer, Operation::Apply);
        let before =
            managers.iter().find(|entry| entry.is_of(&mine)).map(|entry| entry.fields.clone());
        let written = fields_of(shape, &config);
        let fields = strip(&written);
        managers.retain(|entry| !entry.is_of(&mine));
        let owned_by_others: Vec<Entry> = managers.clone();
        managers.push(Entry { fields: written, ..mine.clone() });

        let united = merged(shape, &live, &config);
        let mut object = match &before {
            Some(last) if !last.is_empty() => self.pruned(&united, last, &managers),
            _ => united,
        };
        if let Some(entry) = managers.iter_mut().find(|entry| entry.is_of(&mine)) {
            entry.fields = strip(&entry.fields);
        }
        let change = difference(shape, &live, &object);
        self.settle(&owned_by_others, &mut managers, &change)?;
        finish(&mut object);
        let is_same =
            difference(shape, &live, &object).is_none() && before.as_ref() == Some(&fields);
        if let Some(entry) = managers.iter_mut().find(|entry| entry.is_of(&mine)) {
            entry.time = Some(self.now.to_owned());
        }
        if is_same {
            return Ok(Value::Null);
        }
        store(&mut object, managers);
        Ok(object)
    }

    /// Takes from others what this apply changes, or refuses when it may not.
    fn settle(
        &self,
        others: &[Entry],
        managers: &mut Vec<Entry>,
        change: &Difference,
    ) -> Result<(), Refusal> {
        let touched = change.modified.union(&change.added);
        let mut conflicts = BTreeMap::new();
        for entry in others {
            let clash = entry.fields.intersection(&touched);
            if !clash.is_empty() {
                conflicts.entry(shown(entry)).or_insert_with(Vec::new).extend(clash.paths());
            }
        }
        if !self.force && !conflicts.is_empty() {
            return Err(conflict(&conflicts));
        }
        for entry in managers.iter_mut() {
            let is_other = others.iter().any(|other| other.is_of(entry));
            if is_other {
                entry.fields = entry.fields.difference(&touched);
            }
            entry.fields = entry.fields.difference(&change.removed);
        }
        managers.retain(|entry| !entry.fields.is_empty());
        Ok(())
    }

    /// Takes away what this manager applied last time, does not apply now, and nobody else claims.
    fn pruned(&self, united: &Value, last: &Set, managers: &[Entry]) -> Value {
        let shape = Some(self.shape);
        let all = with_parents(shape, &fields_of(shape, united));
        let last = with_parents(shape, last);
        let claimed = managers.iter().fold(Set::default(), |set, entry| set.union(&entry.fields));
        let gone = without(shape, united, &last).unwrap_or_default();
        let kept =
            with_parents(shape, &fields_of(shape, &gone)).union(&with_parents(shape, &claimed));
        let back = without(shape, united, &all.difference(&kept)).unwrap_or_default();
        let still = with_parents(shape, &fields_of(shape, &back));
        without(shape, united, &all.difference(&still).intersection(&last)).unwrap_or_default()
    }
}

fn shown(entry: &Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text = format!("{text} with subresource {:?}", entry.subresource);
    }
    if entry.operation == Operation::Update {
        text = format!("{text} using {}", entry.api_version);
    }
    text
}

fn conflict(conflicts: &BTreeMap<String, Vec<String>>) -> Refusal {
    let mut causes = Vec::new();
    for (who, paths) in conflicts {
        causes.extend(paths.iter().map(|path| (format!("conflict with {who}"), path.clone())));
    }
    let message = if let [(who, path)] = &causes[..] {
        format!("Apply failed with 1 conflict: {who}: {path}")
    } else {
        let lines = conflicts.iter().map(|(who, paths)| {
            let list: Vec<String> = paths.iter().map(|path| format!("\n- {path}")).collect();
            format!("conflicts with {who}:{}", list.concat())
        });
        format!(
            "Apply failed with {} conflicts: {}",
            causes.len(),
            lines.collect::<Vec<_>>().join("\n")
        )
    };
    Refusal::apply_conflict(message, &causes)
}

impl Difference {
    /// Nothing differs.
    pub(super) fn is_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }
}

/// The managers of an object; when nobody is tracked, everything in it belongs to whoever came before the first apply.
pub(super) fn managers_of(shape: &Node, object: &Value, api_version: &str) -> Vec<Entry> {
    let managers = entries(object);
    if managers.is_empty() {
        vec![super::managers::before_first_apply(shape, object, api_version)]
    } else {
        managers
    }
}
