//! The page `docs/api.md`: every field of every kind, made of the schemas that the API server is given. `make api` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::links::slug;
use crate::crd::not_yet;

const HEAD: &str = r"<!-- Made of src/crd by `make api`; edit the doc comments there, or tests/house/docs/api.rs. -->
# API reference
Group `penstock.dev`, version `v1alpha1`. Every field of every kind, as the API server checks it: the same schemas make the definitions, `kubectl explain`,
`penstock validate` and this page.

- A **duration** is written `90s`, `5m`, `1h30m` (GEP-2257). A **quantity** is a number or a text as Kubernetes has it: `1000`, `500m`, `2Gi`. A **time** is RFC 3339.
- A field without `required` may be left out; what then holds stands under *default*.
- A field that does not work yet says so. It is refused by its path in condition Ready, never ignored.
- Rules that concern several fields stand below their table, in the words of the API server's refusal.
- The codes that status carries are listed in [reasons.md](reasons.md).
";

/// What a page is made of while it is written.
pub(super) struct Page {
    text: String,
    /// The section of each object, by its schema: how deep it lies, and its heading. Of equal ones the least deep has it.
    homes: BTreeMap<String, (usize, String)>,
    /// Paths of a pipeline that are refused.
    refused: BTreeSet<String>,
}

/// An object whose fields are to be told.
pub(super) struct Object<'a> {
    pub(super) path: String,
    pub(super) schema: &'a Value,
}

pub(crate) fn page() -> String {
    let kinds = kinds();
    let mut page = Page::of(&kinds);
    for (schema, crd) in &kinds {
        page.kind(crd, schema);
    }
    page.text
}

/// Every kind with its schema.
pub(super) fn kinds() -> Vec<(Value, CustomResourceDefinition)> {
    penstock::crd::all().into_iter().map(|crd| (schema_of(&crd), crd)).collect()
}

fn schema_of(crd: &CustomResourceDefinition) -> Value {
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    serde_json::to_value(schema.open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// Spec and, where there is one, status.
fn roots(schema: &Value) -> impl Iterator<Item = Object<'_>> {
    let root = |path: &str| Object { path: path.to_owned(), schema: &schema["properties"][path] };
    ["spec", "status"].map(root).into_iter().filter(|object| object.schema.is_object())
}

impl Page {
    /// The beginning, and which object will have a section where.
    pub(super) fn of(kinds: &[(Value, CustomResourceDefinition)]) -> Self {
        let mut page = Self { text: HEAD.to_owned(), homes: BTreeMap::new(), refused: not_yet() };
        for (schema, crd) in kinds {
            for object in roots(schema) {
                page.settle(&crd.spec.names.kind, &object);
            }
        }
        page
    }

    /// Finds out which object has a section where.
    fn settle(&mut self, kind: &str, object: &Object<'_>) {
        let depth = object.path.matches('.').count();
        let home = (depth, format!("{kind} {}", object.path));
        let known = self.homes.entry(essence(object.schema)).or_insert_with(|| home.clone());
        if depth < known.0 {
            *known = home;
        }
        for below in object.below() {
            self.settle(kind, &below);
        }
    }

    /// The heading of an object's section.
    fn home(&self, schema: &Value) -> &str {
        &self.homes[&essence(schema)].1
    }

    fn kind(&mut self, crd: &CustomResourceDefinition, schema: &Value) {
        let names = &crd.spec.names;
        let version = &crd.spec.versions[0];
        let short = names.short_names.iter().flatten();
        let short: Vec<String> = short.map(|name| format!("`{name}`")).collect();
        let where_it_lives =
            if crd.spec.scope == "Namespaced" { "Lives in a namespace" } else { "Cluster-wide" };
        let columns = version.additional_printer_columns.iter().flatten();
        let columns: Vec<String> = columns.map(|column| column.name.clone()).collect();
        writeln!(self.text, "\n## {}\n{}\n", names.kind, described(schema)).unwrap();
        writeln!(
            self.text,
            "{where_it_lives}; plural `{}`, short {}. `kubectl get` shows {}.",
            names.plural,
            short.join(", "),
            columns.join(", ")
        )
        .unwrap();
        for object in roots(schema) {
            self.object(&names.kind, &object);
        }
    }

    /// The section of an object, and after it those of the objects in it.
    fn object(&mut self, kind: &str, object: &Object<'_>) {
        let heading = format!("{kind} {}", object.path);
        let fields = self.fields(kind, object, "");
        write!(self.text, "\n### {heading}\n{}\n\n{fields}", described(object.schema)).unwrap();
        for below in object.below() {
            if self.home(below.schema) == format!("{kind} {}", below.path) {
                self.object(kind, &below);
            }
        }
    }

    /// The table of an object's fields, and the rules on them; for a page from which this one is at `here`.
    pub(super) fn fields(&self, kind: &str, object: &Object<'_>, here: &str) -> String {
        let mut text =
            "| field | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n"
                .to_owned();
        let required: BTreeSet<&str> = object.schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, schema) in object.schema["properties"].as_object().unwrap() {
            let path = format!("{}.{name}", object.path);
            let inner = inner(&path, schema);
            let about = match &inner {
                Some(inner) => {
                    let word = if schema["type"] == "array" { "list" } else { "object" };
                    format!("[{word}]({here}#{})", slug(self.home(inner.schema)))
                }
                None => type_of(schema),
            };
            let (default, mut meaning) = default_and_meaning(schema);
            let default =
                if required.contains(name.as_str()) { "required".to_owned() } else { default };
            if kind == "ScaledPipeline" && self.refused.contains(&path) {
                meaning.insert_str(0, "**Does not work yet.** ");
            }
            writeln!(
                text,
                "| `{name}` | {about} | {} | {} | {} |",
                cell(&default),
                cell(&bounds(schema)),
                cell(&meaning)
            )
            .unwrap();
        }
        let rules = messages(object.schema);
        if !rules.is_empty() {
            writeln!(text, "\nRules:").unwrap();
            for rule in rules {
                writeln!(text, "- {}", cell(&rule)).unwrap();
            }
        }
        text
    }
}

impl Object<'_> {
    /// The objects that its fields are, or are lists of.
    fn below(&self) -> Vec<Self> {
        let fields = self.schema["properties"].as_object().into_iter().flatten();
        fields
            .filter_map(|(name, schema)| inner(&format!("{}.{name}", self.path), schema))
            .collect()
    }
}

/// What an object is, whatever the field that holds it says of it: equal ones share a section.
fn essence(schema: &Value) -> String {
    let mut schema = schema.clone();
    schema.as_object_mut().unwrap().remove("description");
    schema.to_string()
}

/// The object with fields of its own that a field is, or is a list of.
fn inner<'a>(path: &str, schema: &'a Value) -> Option<Object<'a>> {
    if schema["properties"].is_object() {
        return Some(Object { path: path.to_owned(), schema });
    }
    let items = &schema["items"];
    items["properties"].is_object().then(|| Object { path: format!("{path}[]"), schema: items })
}

pub(super) fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

/// The type of a field that is no object of ours, in a word.
fn type_of(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    let word = match schema["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}s", type_of(&schema["items"])),
        "object" => format!("map to {}s", type_of(&schema["additionalProperties"])),
        "string" if schema["enum"].is_array() => "word".to_owned(),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" if is_duration(schema) => "duration".to_owned(),
        other => other.to_owned(),
    };
    assert!(!word.is_empty(), "a field without a type: {schema}");
    word
}

fn is_duration(schema: &Value) -> bool {
    schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("(h|m|s|ms)"))
}

/// What holds when a field is left out, and the rest of what is said of it. The sentence that begins with "Default" or "Left out" tells the first.
fn default_and_meaning(schema: &Value) -> (String, String) {
    let text = described(schema);
    let (first, words) = text.split_once('\n').map_or((text.as_str(), ""), |(a, b)| (a, b));
    let (mut default, mut meaning) = (String::new(), Vec::new());
    for sentence in first.split_inclusive(". ") {
        let told = ["Default: ", "Default ", "Left out: "]
            .iter()
            .find_map(|start| sentence.strip_prefix(start));
        match told {
            Some(told) if default.is_empty() => {
                told.trim_end().trim_end_matches('.').clone_into(&mut default);
            }
            _ => meaning.push(sentence.trim_end()),
        }
    }
    let stated = &schema["default"];
    let stated = stated.as_str().map_or_else(|| stated.to_string(), str::to_owned);
    if stated != "null" && !default.contains(&stated) {
        default = stated;
    }
    let mut meaning = meaning.join(" ");
    // Each word of a choice with what it means.
    for line in words.lines() {
        let (word, about) = line.split_once(": ").unwrap_or((line, ""));
        write!(meaning, "<br>`{word}`: {about}").unwrap();
    }
    (default, meaning)
}

/// How large, how long, how many.
fn bounds(schema: &Value) -> String {
    let number = |key: &str| schema[key].as_f64().map(whole);
    let span = |least: Option<String>, most: Option<String>, unit: &str| match (least, most) {
        (Some(least), Some(most)) if least == most => Some(format!("{most}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, None) => None,
    };
    let mut all = Vec::new();
    if is_duration(schema) || schema["x-kubernetes-int-or-string"] == true {
        // Its length and its pattern are those of the type.
        let most = number("maximum");
        all.extend(most.map(|most| format!("at most {most}")));
    } else if schema["exclusiveMinimum"] == true {
        all.extend(number("minimum").map(|least| format!("above {least}")));
        all.extend(number("maximum").map(|most| format!("at most {most}")));
    } else {
        all.extend(span(number("minimum"), number("maximum"), ""));
        if schema["format"] != "date-time" {
            all.extend(span(number("minLength"), number("maxLength"), " characters"));
            all.extend(schema["pattern"].as_str().map(|pattern| format!("`{pattern}`")));
        }
    }
    all.extend(span(number("minItems"), number("maxItems"), " items"));
    all.extend(span(number("minProperties"), number("maxProperties"), " entries"));
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() {
        all.push(format!("unique by `{}`", keys.join("`, `")));
    }
    if schema["x-kubernetes-list-type"] == "set" {
        all.push("no two alike".to_owned());
    }
    // Rules on a single value; those on an object stand below its table.
    if !schema["properties"].is_object() {
        for message in messages(schema) {
            let span = message.strip_prefix("must be a duration from ");
            all.push(span.map_or_else(
                || message.clone(),
                |span| span.split(',').next().unwrap_or_default().to_owned(),
            ));
        }
    }
    all.join(", ")
}

/// The messages of the rules on a schema.
fn messages(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| rule["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A number without a needless fraction.
fn whole(number: f64) -> String {
    if number >= 1e9 { format!("{number:e}") } else { number.to_string() }
}

/// Text within a table.
fn cell(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in text.replace("<br>", "\u{1}").chars() {
        inside ^= c == '`';
        match c {
            '|' => out.push_str("\\|"),
            '<' if !inside => out.push_str("&lt;"),
            '\u{1}' => out.push_str("<br>"),
            c => out.push(c),
        }
    }
    out
}
