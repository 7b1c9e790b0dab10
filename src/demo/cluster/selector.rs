//! Label and field selectors, as lists and watches take them. Parsed once a request, then asked for each object.

use super::kinds::Resource;
use super::refusal::Refusal;
use serde_json::Value;

#[derive(Debug, Clone)]
enum Test {
    Equals(String),
    Differs(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

/// Which objects a request is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

/// Splits at commas that are not inside parentheses.
fn parts(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                out.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[from..]);
    out.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn set(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('(').trim_end_matches(')');
    inner.split(',').map(|word| word.trim().to_owned()).collect()
}

fn test(part: &str) -> (String, Test) {
    let pair = |sign: &str| {
        part.split_once(sign).map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
    };
    if let Some((key, value)) = pair("!=") {
        return (key, Test::Differs(value));
    }
    if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
        return (key, Test::Equals(value));
    }
    if let Some((key, list)) = part.split_once(" notin ") {
        return (key.trim().to_owned(), Test::NotIn(set(list)));
    }
    if let Some((key, list)) = part.split_once(" in ") {
        return (key.trim().to_owned(), Test::In(set(list)));
    }
    match part.strip_prefix('!') {
        Some(key) => (key.trim().to_owned(), Test::Missing),
        None => (part.to_owned(), Test::Exists),
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(other) => value != Some(other),
            Self::In(list) => value.is_some_and(|value| list.iter().any(|word| word == value)),
            Self::NotIn(list) => !value.is_some_and(|value| list.iter().any(|word| word == value)),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
        }
    }
}

impl Selector {
    /// Parses both selectors of a request; a field that the kind cannot be selected by is refused.
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels: Vec<_> = parts(labels).into_iter().map(test).collect();
        for (key, _) in &labels {
            if let Some((_, word)) = key.split_once(' ') {
                let word = word.split(' ').next().unwrap_or_default();
                return Err(Refusal::bad_request(format!(
                    "unable to parse requirement: found '{word}', expected: in, notin, =, ==, !=, gt, lt"
                )));
            }
        }
        let mut fields: Vec<_> = parts(fields).into_iter().map(test).collect();
        for (key, _) in &mut fields {
            if resource.group == "events.k8s.io"
                && let Some(rest) = key.strip_prefix("regarding.")
            {
                *key = format!("involvedObject.{rest}");
            }
            let meta =
                key == "metadata.name" || (*key == "metadata.namespace" && resource.namespaced);
            if !meta && !resource.selectable.contains(key) {
                return Err(Refusal::bad_request(
                    if resource.custom || !resource.selectable.is_empty() {
                        format!("field label not supported: {key}")
                    } else {
                        let names = if resource.namespaced {
                            "\"metadata.name\", \"metadata.namespace\""
                        } else {
                            "\"metadata.name\""
                        };
                        format!("{key:?} is not a known field selector: only {names}")
                    },
                ));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Whether an object is meant.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.labels.iter().all(|(key, test)| {
            test.holds(labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
        }) && self.fields.iter().all(|(key, test)| {
            let found = key.split('.').try_fold(object, |value, name| value.get(name));
            let text = match found {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            test.holds(Some(&text))
        })
    }

    /// The text form that `/scale` shows in `status.selector`.
    pub(super) fn text(selector: &Value) -> String {
        let mut words = Vec::new();
        for (key, value) in
            selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
        {
            words.push(format!("{key}={}", value.as_str().unwrap_or_default()));
        }
        for rule in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten()
        {
            let key = rule["key"].as_str().unwrap_or_default();
            let list: Vec<&str> =
                rule["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            words.push(match rule["operator"].as_str() {
                Some("In") => format!("{key} in ({})", list.join(",")),
                Some("NotIn") => format!("{key} notin ({})", list.join(",")),
                Some("DoesNotExist") => format!("!{key}"),
                _ => key.to_owned(),
            });
        }
        words.sort();
        words.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::{Selector, parts, test};
    use serde_json::json;

    #[test]
    fn a_set_selector_keeps_its_commas() {
        assert_eq!(parts("a in (x,y),b!=c,!d"), ["a in (x,y)", "b!=c", "!d"]);
        let selector = Selector {
            labels: parts("a in (x,y),b!=c,!d").into_iter().map(test).collect(),
            fields: Vec::new(),
        };
        assert!(selector.matches(&json!({"metadata": {"labels": {"a": "y"}}})));
        assert!(!selector.matches(&json!({"metadata": {"labels": {"a": "y", "b": "c"}}})));
    }
}
