//! The rules of the alerts: they ask for what the table knows, in both namings of the namespace, and each alert has a runbook and
//! unit tests. That they fire when they should is for promtool, in the live tier.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{file, promql};

const RULES: &str = "charts/penstock/rules/penstock.yaml";
const TESTS: &str = "tests/data/alerts";

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(file(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rules() -> Vec<Value> {
    list(&yaml(RULES)["groups"])
        .flat_map(|group| list(&group["rules"]).cloned().collect::<Vec<_>>())
        .collect()
}

fn alerts() -> impl Iterator<Item = Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Every series that a rule asks for.
pub(super) fn names() -> BTreeSet<String> {
    rules().iter().flat_map(|rule| promql::read(text(&rule["expr"])).unwrap().names()).collect()
}

#[test]
fn rules_ask_for_what_there_is() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut count = 0;
    for rule in rules() {
        let expr = text(&rule["expr"]);
        let read = promql::read(expr).unwrap_or_else(|error| panic!("{error}: {expr}"));
        for mention in read.mentions {
            count += 1;
            let Some(family) = promql::of(&mention.name) else {
                assert!(
                    known.contains(&mention.name),
                    "no rule above records {}: {expr}",
                    mention.name
                );
                continue;
            };
            let own = |name: &str| family.labels.iter().any(|label| label.name == name);
            for (label, _) in &mention.matchers {
                assert!(own(label), "{} has no label {label}: {expr}", mention.name);
            }
            // A series of ours that names a namespace is read in both namings, unless only its being there counts.
            let is_there =
                expr.contains(&format!("count by (cluster, job, instance) ({}", mention.name));
            if own("namespace") && !is_there {
                let read = format!("label_replace({}", mention.name);
                assert!(expr.contains(&read), "{} is read in one naming: {expr}", mention.name);
                assert!(
                    expr.contains(r#""namespace", "$1", "exported_namespace", "(.+)")"#),
                    "{expr}"
                );
            }
        }
        known.insert(text(&rule["record"]).to_owned());
    }
    assert!(count > 30, "only {count} series: is this test reading anything?");
}

#[test]
fn every_alert_says_what_it_is_and_where_to_read_on() {
    let mut pages = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert["alert"]);
        assert!(name.starts_with("Penstock"), "{name}");
        assert!(
            ["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])),
            "{name}"
        );
        let notes = &alert["annotations"];
        for note in ["summary", "description"] {
            assert!(
                text(&notes[note]).ends_with('.') && text(&notes[note]).len() > 20,
                "{name}: {note}"
            );
        }
        assert_eq!(text(&notes["runbook_url"]), format!("docs/runbooks/{name}.md"));
        pages.insert(format!("{name}.md"));
    }
    let index = fs::read_to_string(file("docs/runbooks/README.md")).unwrap();
    let kept = fs::read_dir(file("docs/runbooks")).unwrap();
    let kept: BTreeSet<_> = kept.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    for page in &pages {
        assert!(
            index.contains(&format!("]({page})")),
            "the list of runbooks does not lead to {page}"
        );
        let text = fs::read_to_string(file(&format!("docs/runbooks/{page}"))).unwrap_or_default();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        let title = format!("# {}", page.trim_end_matches(".md"));
        assert_eq!(
            headings,
            [title.as_str(), "## What it means", "## How to see", "## How to mend"],
            "{page}"
        );
        for name in text.split('`').filter(|it| it.starts_with("penstock_")) {
            let series =
                promql::read(name).unwrap_or_else(|error| panic!("{page}: {name}: {error}"));
            assert!(series.names().iter().all(|it| promql::of(it).is_some()), "{page}: {name}");
        }
    }
    pages.insert("README.md".to_owned());
    assert_eq!(kept, pages, "a runbook of no alert, or an alert without a runbook");
}

#[test]
fn every_alert_is_tested_both_firing_and_not() {
    let mut seen: BTreeMap<String, [bool; 2]> = BTreeMap::new();
    for entry in fs::read_dir(file(TESTS)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let tests = yaml(&format!("{TESTS}/{name}"));
        assert_eq!(
            list(&tests["rule_files"]).map(text).collect::<Vec<_>>(),
            [format!("../../../{RULES}")],
            "{name}"
        );
        for case in list(&tests["tests"]).flat_map(|test| list(&test["alert_rule_test"])) {
            let fires = list(&case["exp_alerts"]).next().is_some();
            seen.entry(text(&case["alertname"]).to_owned()).or_default()[usize::from(fires)] = true;
        }
    }
    for alert in alerts() {
        let name = text(&alert["alert"]);
        let [not, fires] = seen.get(name).copied().unwrap_or_default();
        assert!(not && fires, "{name}: tested firing: {fires}, and not firing: {not}");
    }
}
