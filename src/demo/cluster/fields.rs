//! Sets of fields, as `managedFields` records them (fieldsV1). The algebra of server-side apply is built on these; it knows
//! nothing of objects or managers.

use crate::crd::schema::go_json;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field of a struct or a key of a map.
    Field(String),
    /// The item of a list map with these keys, as JSON with sorted keys.
    Key(String),
    /// The item of a set, as JSON.
    Value(String),
    /// The item of a list at this position.
    Index(usize),
}

impl Step {
    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(i) => format!("i:{i}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => serde_json::from_str::<Value>(rest).ok().map(|keys| Self::Key(go_json(&keys))),
            "v" => {
                serde_json::from_str::<Value>(rest).ok().map(|value| Self::Value(go_json(&value)))
            }
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// The step to a list item, by the values of its keys.
    pub(super) fn key(
        item: &Value,
        keys: &[String],
        default: impl Fn(&str) -> Option<Value>,
    ) -> Self {
        let pairs = keys.iter().filter_map(|key| {
            Some((key.clone(), item.get(key).cloned().or_else(|| default(key))?))
        });
        Self::Key(go_json(&Value::Object(pairs.collect::<Map<_, _>>())))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let pairs: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", pairs.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(i) => write!(f, "[{i}]"),
        }
    }
}

/// A set of paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Set {
    nodes: BTreeMap<Step, Branch>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Branch {
    member: bool,
    below: Set,
}

impl Branch {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl Set {
    /// Whether no path is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.values().all(Branch::is_empty)
    }

    /// A set of one path of field names.
    pub(super) fn of(path: &[&str]) -> Self {
        let mut set = Self::default();
        set.insert(&path.iter().map(|name| Step::Field((*name).to_owned())).collect::<Vec<_>>());
        set
    }

    /// Adds a path; the empty path is no member of any set.
    pub(super) fn insert(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else { return };
        let branch = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            branch.member = true;
        } else {
            branch.below.insert(rest);
        }
    }

    /// Whether this very step is a member here.
    pub(super) fn has(&self, step: &Step) -> bool {
        self.nodes.get(step).is_some_and(|branch| branch.member)
    }

    /// What lies below a step.
    pub(super) fn below(&self, step: &Step) -> Option<&Self> {
        self.nodes.get(step).map(|branch| &branch.below).filter(|below| !below.is_empty())
    }

    /// Steps out of here, each with whether it is a member and what lies below.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Step, bool, &Self)> {
        self.nodes.iter().map(|(step, branch)| (step, branch.member, &branch.below))
    }

    /// Puts a branch in as it is.
    pub(super) fn graft(&mut self, step: Step, member: bool, below: Self) {
        if member || !below.is_empty() {
            self.nodes.insert(step, Branch { member, below });
        }
    }

    /// Whether the path of field names is in it.
    pub(super) fn has_path(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let step = Step::Field((*first).to_owned());
        if rest.is_empty() {
            self.has(&step)
        } else {
            self.below(&step).is_some_and(|below| below.has_path(rest))
        }
    }

    /// Paths in either.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (step, branch) in &other.nodes {
            let mine = out.nodes.entry(step.clone()).or_default();
            mine.member |= branch.member;
            mine.below = mine.below.union(&branch.below);
        }
        out
    }

    /// Paths in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, mine) in &self.nodes {
            if let Some(theirs) = other.nodes.get(step) {
                out.graft(
                    step.clone(),
                    mine.member && theirs.member,
                    mine.below.intersection(&theirs.below),
                );
            }
        }
        out
    }

    /// Paths in this one alone.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, mine) in &self.nodes {
            match other.nodes.get(step) {
                Some(theirs) => {
                    out.graft(
                        step.clone(),
                        mine.member && !theirs.member,
                        mine.below.difference(&theirs.below),
                    );
                }
                None => out.graft(step.clone(), mine.member, mine.below.clone()),
            }
        }
        out
    }

    /// Paths that neither are in `other` nor lie below one of its paths.
    pub(super) fn without_trees(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (step, mine) in &self.nodes {
            match other.nodes.get(step) {
                Some(theirs) if theirs.member => {}
                Some(theirs) => {
                    out.graft(step.clone(), mine.member, mine.below.without_trees(&theirs.below));
                }
                None => out.graft(step.clone(), mine.member, mine.below.clone()),
            }
        }
        out
    }

    /// All paths, as texts: `.spec.template.spec.containers[name="app"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        for (step, branch) in &self.nodes {
            let path = format!("{prefix}{step}");
            if branch.member {
                out.push(path.clone());
            }
            branch.below.collect(&path, out);
        }
    }

    /// The fieldsV1 form.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        for (step, branch) in &self.nodes {
            if branch.is_empty() {
                continue;
            }
            let mut below = branch.below.to_json();
            if branch.member
                && !branch.below.is_empty()
                && let Some(inner) = below.as_object_mut()
            {
                inner.shift_insert(0, ".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.text(), below);
        }
        Value::Object(map)
    }

    /// Reads the fieldsV1 form; steps that make no sense are dropped.
    pub(super) fn from_json(value: &Value) -> Self {
        let mut set = Self::default();
        for (text, below) in value.as_object().into_iter().flatten() {
            let Some(step) = Step::parse(text) else { continue };
            let member =
                below.as_object().is_none_or(|map| map.is_empty() || map.contains_key("."));
            set.graft(step, member, Self::from_json(below));
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::Set;
    use serde_json::json;

    #[test]
    fn a_set_survives_its_json_form() {
        let json = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}, "f:replicas": {}}});
        let set = Set::from_json(&json);
        assert_eq!(set.to_json(), json);
        let paths = [
            ".metadata.labels",
            ".metadata.labels.app",
            ".spec.ports[port=80]",
            ".spec.ports[port=80].port",
            ".spec.replicas",
        ];
        assert_eq!(set.paths(), paths);
    }

    #[test]
    fn difference_keeps_children_of_a_removed_parent() {
        let set = Set::from_json(&json!({"f:a": {".": {}, "f:b": {}}}));
        assert_eq!(set.difference(&Set::of(&["a"])).paths(), [".a.b"]);
        assert!(set.without_trees(&Set::of(&["a"])).is_empty());
    }
}
