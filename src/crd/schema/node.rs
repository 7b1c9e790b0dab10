//! One node of a compiled schema. Built once from JSON; read by every check, and by the demo's server-side apply for its shape.

use super::rules::Rule;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The JSON type a node asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing is said: any value.
    #[default]
    Any,
    /// A map or a struct.
    Object,
    /// A list.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
}

impl Kind {
    /// The type name as error texts print it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// How the items of a list relate to each other (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// One value, replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<String>),
}

/// A number bound; `exclusive` excludes the bound itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) at: f64,
    pub(super) exclusive: bool,
}

/// Compiles the schema below a path; builders that resolve references bring their own.
pub type Child<'a> = dyn FnMut(&str, &Value) -> Result<Arc<Node>, String> + 'a;

/// One node of the schema tree.
#[expect(clippy::struct_excessive_bools, reason = "each is a marker of the schema language")]
#[derive(Debug, Default)]
pub struct Node {
    /// The JSON type asked for.
    pub kind: Kind,
    /// Null is allowed.
    pub nullable: bool,
    /// Unknown fields are kept.
    pub preserve: bool,
    /// The value is a whole Kubernetes object.
    pub embedded: bool,
    /// Known fields.
    pub fields: BTreeMap<String, Arc<Self>>,
    /// The schema of all other fields, when they are allowed.
    pub extra: Option<Arc<Self>>,
    /// The schema of list items.
    pub items: Option<Arc<Self>>,
    /// How list items relate.
    pub list: ListKind,
    /// The map is one value, replaced as a whole.
    pub atomic_map: bool,
    /// What is filled in when the field is missing.
    pub default: Option<Value>,
    /// The list's merge key in strategic merge patches; built-in kinds only.
    pub patch_key: Option<String>,
    /// Strategic merge patches unite this list of scalars; built-in kinds only.
    pub patch_union: bool,
    pub(super) format: Option<String>,
    pub(super) required: Vec<String>,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Regex>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) min_fields: Option<u64>,
    pub(super) max_fields: Option<u64>,
    pub(super) all_of: Vec<Arc<Self>>,
    pub(super) any_of: Vec<Arc<Self>>,
    pub(super) one_of: Vec<Arc<Self>>,
    pub(super) not: Option<Arc<Self>>,
    pub(super) rules: Vec<Rule>,
    /// A rule sits here or below: subtrees without any are not walked for CEL.
    pub(super) has_rules: bool,
}

impl Node {
    /// Compiles a schema tree.
    pub fn compile(schema: &Value) -> Result<Arc<Self>, String> {
        Self::at("", schema)
    }

    /// Compiles one schema object into a node whose children were compiled by `child`. For builders that resolve references.
    pub fn from_map(
        path: &str,
        map: &Map<String, Value>,
        child: &mut Child<'_>,
    ) -> Result<Self, String> {
        let mut node = Self::bounds(path, map)?;
        for (name, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            node.fields.insert(name.clone(), child(&format!("{path}.{name}"), schema)?);
        }
        node.extra = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Some(Arc::new(Self { preserve: true, ..Self::default() })),
            Some(schema @ Value::Object(_)) => Some(child(&format!("{path}.*"), schema)?),
            _ => None,
        };
        if let Some(items) = map.get("items") {
            node.items = Some(child(&format!("{path}[]"), items)?);
        }
        let mut branches = |key: &str| -> Result<Vec<Arc<Self>>, String> {
            let list = map.get(key).and_then(Value::as_array).into_iter().flatten();
            list.map(|schema| child(path, schema)).collect()
        };
        node.all_of = branches("allOf")?;
        node.any_of = branches("anyOf")?;
        node.one_of = branches("oneOf")?;
        if let Some(not) = map.get("not") {
            node.not = Some(child(path, not)?);
        }
        for rule in
            map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
        {
            node.rules.push(Rule::compile(path, rule)?);
        }
        let below = |n: &Arc<Self>| n.has_rules;
        node.has_rules = !node.rules.is_empty()
            || node.fields.values().any(below)
            || node.extra.as_ref().is_some_and(below)
            || node.items.as_ref().is_some_and(below)
            || node.all_of.iter().any(below);
        Ok(node)
    }

    fn at(path: &str, schema: &Value) -> Result<Arc<Self>, String> {
        let map =
            schema.as_object().ok_or_else(|| format!("schema of {path:?} is not an object"))?;
        Self::from_map(path, map, &mut Self::at).map(Arc::new)
    }

    fn bounds(path: &str, map: &Map<String, Value>) -> Result<Self, String> {
        let yes = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let bound = |key: &str, exclusive: &str| {
            map.get(key).and_then(Value::as_f64).map(|at| Bound { at, exclusive: yes(exclusive) })
        };
        let names = |key: &str| -> Vec<String> {
            let list = map.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let pattern = match text("pattern") {
            Some(pattern) => {
                Some(Regex::new(pattern).map_err(|e| format!("pattern of {path:?}: {e}"))?)
            }
            None => None,
        };
        let kind = if yes("x-kubernetes-int-or-string") {
            Kind::IntOrString
        } else {
            match text("type") {
                None | Some("") => Kind::Any,
                Some("object") => Kind::Object,
                Some("array") => Kind::Array,
                Some("string") => Kind::String,
                Some("integer") => Kind::Integer,
                Some("number") => Kind::Number,
                Some("boolean") => Kind::Boolean,
                Some(other) => {
                    return Err(format!("type of {path:?} is {other:?}, which is no JSON type"));
                }
            }
        };
        let list = match text("x-kubernetes-list-type") {
            Some("set") => ListKind::Set,
            Some("map") => ListKind::Map(names("x-kubernetes-list-map-keys")),
            _ => ListKind::Atomic,
        };
        Ok(Self {
            kind,
            nullable: yes("nullable"),
            preserve: yes("x-kubernetes-preserve-unknown-fields"),
            embedded: yes("x-kubernetes-embedded-resource"),
            list,
            atomic_map: text("x-kubernetes-map-type") == Some("atomic"),
            default: map.get("default").cloned(),
            format: text("format").map(str::to_owned),
            required: names("required"),
            allowed: map.get("enum").and_then(Value::as_array).cloned(),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: map.get("multipleOf").and_then(Value::as_f64),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern,
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: yes("uniqueItems"),
            min_fields: count("minProperties"),
            max_fields: count("maxProperties"),
            ..Self::default()
        })
    }

    /// A copy of the shape alone: no bounds, no rules.
    pub(super) fn shape(&self) -> Self {
        Self {
            kind: self.kind,
            nullable: self.nullable,
            preserve: self.preserve,
            embedded: self.embedded,
            fields: self.fields.clone(),
            extra: self.extra.clone(),
            items: self.items.clone(),
            list: self.list.clone(),
            atomic_map: self.atomic_map,
            default: self.default.clone(),
            ..Self::default()
        }
    }

    /// The schema of the field `name`, if it is known or other fields are allowed.
    pub fn field(&self, name: &str) -> Option<&Arc<Self>> {
        self.fields.get(name).or(self.extra.as_ref())
    }

    /// The item of `old` that is the same as `item` by the list's keys; none when the list is no map.
    pub(super) fn correlate<'v>(&self, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
        let ListKind::Map(keys) = &self.list else { return None };
        let key = |item: &Value| keys.iter().map(|key| item.get(key).cloned()).collect::<Vec<_>>();
        let wanted = key(item);
        old?.as_array()?.iter().find(|candidate| key(candidate) == wanted)
    }
}
