//! Types, bounds, enums and required fields, with the texts of the API server's `OpenAPI` validator. Called by `Schema::faults`.

use super::fault::{Fault, Reason};
use super::node::{Kind, Node};
use serde_json::{Map, Value, json};

/// Appends what is wrong with `value`. A part that equals its `old` self is not faulted.
pub(super) fn check(node: &Node, value: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    let mut visit = Visit { faults: Vec::new() };
    visit.node(node, value, old, "");
    faults.append(&mut visit.faults);
}

struct Visit {
    faults: Vec<Fault>,
}

fn child_path(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64()
        || value.is_u64()
        || value.as_f64().is_some_and(|n| n.fract().abs() < f64::EPSILON && n.abs() < 9e15)
}

impl Visit {
    fn node(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &str) {
        if old == Some(value) {
            return;
        }
        if !self.kind(node, value, path) {
            return;
        }
        self.branches(node, value, path);
        match value {
            Value::String(text) => self.string(node, text, path),
            Value::Number(_) => self.number(node, value, path),
            Value::Array(items) => self.array(node, items, old, path),
            Value::Object(map) => self.object(node, map, old, path),
            Value::Null | Value::Bool(_) => {}
        }
        if let Some(allowed) = &node.allowed
            && !allowed.contains(value)
        {
            let word = |v: &Value| match v {
                Value::String(s) => format!("{s:?}"),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => {
                    format!("{:?}", v.to_string())
                }
            };
            let words: Vec<String> = allowed.iter().map(word).collect();
            let detail = format!("supported values: {}", words.join(", "));
            self.faults.push(Fault::new(path, Reason::NotSupported, Some(value), &detail));
        }
    }

    /// Whether the value has the type asked for; without it, the other checks would only repeat the fault.
    fn kind(&mut self, node: &Node, value: &Value, path: &str) -> bool {
        let fits = match (node.kind, value) {
            (Kind::Any, _) => true,
            (_, Value::Null) => node.nullable,
            (Kind::Object, v) => v.is_object(),
            (Kind::Array, v) => v.is_array(),
            (Kind::String, v) => v.is_string(),
            (Kind::Boolean, v) => v.is_boolean(),
            (Kind::Number, v) => v.is_number(),
            (Kind::Integer, v) => v.is_number() && is_whole(v),
            (Kind::IntOrString, v) => v.is_string() || (v.is_number() && is_whole(v)),
        };
        if !fits {
            let (wanted, is) = match (node.kind, &node.format, value) {
                // A number format is printed in place of the type, but not to strings and lists.
                (Kind::Integer | Kind::Number, Some(format), Value::Bool(_) | Value::Object(_)) => {
                    (format.as_str(), "")
                }
                (Kind::Integer, Some(format), Value::Number(_)) => (format.as_str(), "float64"),
                _ => (node.kind.word(), type_word(value)),
            };
            let detail = format!("{path} in body must be of type {wanted}: {is:?}");
            self.faults.push(Fault::new(path, Reason::TypeInvalid, Some(&json!(is)), &detail));
            if value.is_number() {
                self.whole_number(node, value, path);
            }
        }
        fits && !value.is_null()
    }

    fn branches(&mut self, node: &Node, value: &Value, path: &str) {
        let tried = |part: &Node| {
            let mut visit = Self { faults: Vec::new() };
            visit.node(part, value, None, path);
            visit.faults
        };
        let must =
            |detail: &str| Fault::invalid(path, Some(&json!("")), &format!("{path:?} {detail}"));
        if !node.any_of.is_empty() {
            let results: Vec<_> = node.any_of.iter().map(|branch| tried(branch)).collect();
            if results.iter().all(|r| !r.is_empty()) {
                self.faults.push(must("must validate at least one schema (anyOf)"));
                self.faults.extend(results.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
        }
        if !node.one_of.is_empty() {
            let results: Vec<_> = node.one_of.iter().map(|branch| tried(branch)).collect();
            let valid = results.iter().filter(|r| r.is_empty()).count();
            if valid == 0 {
                self.faults
                    .push(must("must validate one and only one schema (oneOf). Found none valid"));
                self.faults.extend(results.into_iter().min_by_key(Vec::len).unwrap_or_default());
            } else if valid > 1 {
                let detail = format!(
                    "must validate one and only one schema (oneOf). Found {valid} valid alternatives"
                );
                self.faults.push(must(&detail));
            }
        }
        let failed: Vec<_> =
            node.all_of.iter().map(|branch| tried(branch)).filter(|r| !r.is_empty()).collect();
        if !failed.is_empty() {
            let all_failed = failed.len() == node.all_of.len();
            self.faults.extend(failed.into_iter().flatten());
            let tail = if all_failed { ". None validated" } else { "" };
            self.faults.push(must(&format!("must validate all the schemas (allOf){tail}")));
        }
        if let Some(not) = &node.not
            && tried(not).is_empty()
        {
            self.faults.push(must("must not validate the schema (not)"));
        }
    }

    fn string(&mut self, node: &Node, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        let value = json!(text);
        if let Some(max) = node.max_length.filter(|max| length > *max) {
            let unit = if max == 1 { "byte" } else { "bytes" };
            self.faults.push(Fault::new(
                path,
                Reason::TooLong,
                None,
                &format!("may not be more than {max} {unit}"),
            ));
        }
        if let Some(min) = node.min_length.filter(|min| length < *min) {
            let detail = format!("{path} in body should be at least {min} chars long");
            self.faults.push(Fault::invalid(path, Some(&value), &detail));
        }
        if let Some(pattern) = node.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            let detail = format!("{path} in body should match '{}'", pattern.as_str());
            self.faults.push(Fault::invalid(path, Some(&value), &detail));
        }
        if node.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
            let detail = format!("{path} in body must be of type date-time: {value}");
            self.faults.push(Fault::invalid(path, Some(&value), &detail));
        }
    }

    /// Integers with a format must fit it.
    fn whole_number(&mut self, node: &Node, value: &Value, path: &str) {
        let fits = value
            .as_f64()
            .is_some_and(|n| n.fract().abs() < f64::EPSILON && n.abs() <= f64::from(i32::MAX));
        if node.kind == Kind::Integer && node.format.as_deref() == Some("int32") && !fits {
            let detail =
                format!("Checked value must be of type integer with format int32 in {path}");
            self.faults.push(Fault::invalid("", Some(&json!("")), &detail));
        }
    }

    fn number(&mut self, node: &Node, value: &Value, path: &str) {
        self.whole_number(node, value, path);
        let n = value.as_f64().unwrap_or(f64::NAN);
        let mut refuse = |words: &str, at: f64| {
            let detail = format!("{path} in body should be {words} {at}");
            self.faults.push(Fault::invalid(path, Some(value), &detail));
        };
        if let Some(factor) = node.multiple_of
            && (n / factor).fract().abs() > 1e-9
        {
            refuse("a multiple of", factor);
        }
        if let Some(max) = node.maximum {
            if max.exclusive && n >= max.at {
                refuse("less than", max.at);
            } else if n > max.at {
                refuse("less than or equal to", max.at);
            }
        }
        if let Some(min) = node.minimum {
            if min.exclusive && n <= min.at {
                refuse("greater than", min.at);
            } else if n < min.at {
                refuse("greater than or equal to", min.at);
            }
        }
    }

    fn array(&mut self, node: &Node, items: &[Value], old: Option<&Value>, path: &str) {
        if let Some(child) = &node.items {
            for (i, item) in items.iter().enumerate() {
                self.node(child, item, node.correlate(item, old), &format!("{path}[{i}]"));
            }
        }
        let size = items.len() as u64;
        if let Some(min) = node.min_items.filter(|min| size < *min) {
            let detail = format!("{path} in body should have at least {min} items");
            self.faults.push(Fault::invalid(path, Some(&json!(size)), &detail));
        }
        if let Some(max) = node.max_items.filter(|max| size > *max) {
            self.too_many(size, max, path);
        }
        if node.unique_items && (1..items.len()).any(|i| items[..i].contains(&items[i])) {
            let detail = format!("{path} in body shouldn't contain duplicates");
            self.faults.push(Fault::invalid(path, Some(&json!("")), &detail));
        }
    }

    fn too_many(&mut self, size: u64, max: u64, path: &str) {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        self.faults.push(Fault::new(path, Reason::TooMany, Some(&json!(size)), &detail));
    }

    fn object(&mut self, node: &Node, map: &Map<String, Value>, old: Option<&Value>, path: &str) {
        let size = map.len() as u64;
        if let Some(min) = node.min_fields.filter(|min| size < *min) {
            let detail = format!("{path} in body should have at least {min} properties");
            self.faults.push(Fault::invalid(path, Some(&json!(size)), &detail));
        }
        if let Some(max) = node.max_fields.filter(|max| size > *max) {
            self.too_many(size, max, path);
        }
        for (name, value) in map {
            if let Some(child) = node.field(name) {
                self.node(child, value, old.and_then(|old| old.get(name)), &child_path(path, name));
            }
        }
        for name in &node.required {
            if !map.contains_key(name) {
                self.faults.push(Fault::required(&child_path(path, name), ""));
            }
        }
    }
}
