//! The pages of docs/sources, one for each source: the fields on them are those of the schemas, as in docs/api.md; `make api` writes them. The rest of
//! a page is written by hand.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::api::{Object, Page, described, kinds};

/// Between these lines stands what is made.
const BEGINS: &str = "<!-- Made of src/crd by `make api`, until the next line like this. -->\n";
const ENDS: &str = "<!-- Made until here. -->\n";
/// Where the sources of a stage stand in a pipeline.
const SOURCES: [&str; 8] =
    ["properties", "spec", "properties", "stages", "items", "properties", "sources", "items"];

/// Every page, by its path, with its fields as the schemas have them now.
pub(crate) fn pages() -> Vec<(String, String)> {
    let kinds = kinds();
    let reference = Page::of(&kinds);
    let of_kind = |name: &str| {
        kinds.iter().find(|(_, crd)| crd.spec.names.kind == name).map(|(schema, _)| schema).unwrap()
    };
    let source = SOURCES.iter().fold(of_kind("ScaledPipeline"), |at, step| &at[step]);
    let connection = &of_kind("Connection")["properties"]["spec"];
    let mut made: BTreeMap<&str, String> = BTreeMap::new();
    for (name, schema) in objects(source) {
        let path = format!("spec.stages[].sources[].{name}");
        let text = made.entry(page_of(name)).or_default();
        let fields = reference.fields("ScaledPipeline", &Object { path, schema }, REFERENCE);
        if text.contains(&fields) {
            // As another kind of the same page.
            *text = text.replacen("` of a source", &format!("`, `{name}` of a source"), 1);
            continue;
        }
        write!(text, "`{name}` of a source. {}\n\n{fields}", described(schema)).unwrap();
    }
    for (name, schema) in objects(connection) {
        let text = made.get_mut(page_of(name)).unwrap();
        let object = Object { path: format!("spec.{name}"), schema };
        let fields = reference.fields("Connection", &object, REFERENCE);
        write!(text, "\n`{name}` of a `Connection`. {}\n\n{fields}", described(schema)).unwrap();
    }
    made.into_iter().map(|(name, made)| filled(name, &made)).collect()
}

/// The reference, from a page of a source.
const REFERENCE: &str = "../api.md";

/// Fields that are objects, by name.
fn objects(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = schema["properties"].as_object().unwrap().iter();
    fields
        .map(|(name, schema)| (name.as_str(), schema))
        .filter(|(_, it)| it["properties"].is_object())
}

/// The page of a kind of source.
fn page_of(kind: &str) -> &str {
    if ["cpu", "memory"].contains(&kind) { "metrics" } else { kind }
}

/// Path and text of a page, with `made` where it belongs.
fn filled(name: &str, made: &str) -> (String, String) {
    let path = format!("docs/sources/{name}.md");
    let kept = std::fs::read_to_string(super::root().join(&path)).unwrap_or_default();
    let parts = kept.split_once(BEGINS).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(ENDS)?;
        Some(format!("{head}{BEGINS}{made}{ENDS}{tail}"))
    });
    let text =
        parts.unwrap_or_else(|| panic!("{path} is not there, or has no place for its fields"));
    (path, text)
}
