//! `penstock convert`: fixtures after KEDA's own pages, what comes of them word for word, and that no field of them is lost unsaid.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::cli::told;

const FIXTURES: &str = "tests/data/keda";

/// The name and the text of each fixture.
fn fixtures() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keda");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    assert!(9 < all.len(), "only {} fixtures", all.len());
    all
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter()
        .flat_map(|it| it["items"].as_array().cloned().unwrap_or_else(|| vec![it]))
        .collect()
}

/// What is reported of these manifests.
fn findings(text: &str) -> Vec<Value> {
    let (_, _, report) = told(&["convert", "-", "--report", "json"], text);
    serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

#[test]
fn each_fixture_becomes_what_was_agreed_on() {
    for (name, text) in fixtures() {
        let (code, manifests, report) = told(&["convert", "-", "--report", "all"], &text);
        let code = code.unwrap();
        insta::assert_snapshot!(
            format!("convert_{name}"),
            format!("exit code {code}\n\n{report}\n{manifests}")
        );
    }
}

#[test]
fn what_is_written_passes_validate_and_comes_out_the_same_twice() {
    let mut count = 0;
    for (name, text) in fixtures() {
        let (_, yaml, _) = told(&["convert", "-"], &text);
        let (_, again, _) = told(&["convert", "-"], &text);
        assert_eq!(yaml, again, "{name}");
        let (_, list, _) = told(&["convert", "-", "-o", "json"], &text);
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["items"], json!(documents(&yaml)), "{name}");
        let (code, checked, _) = told(&["validate", "-", "-o", "json"], &yaml);
        assert_eq!(code, Some(0), "{name}: {checked}");
        let checked: Vec<Value> = serde_json::from_str(&checked).unwrap();
        for line in &checked {
            let is_ours = !["Secret", "CronJob"].contains(&line["kind"].as_str().unwrap());
            assert_eq!(line["result"], if is_ours { "good" } else { "skipped" }, "{name}: {line}");
        }
        count += checked.len();
    }
    assert!(40 < count, "only {count} manifests");
}

#[test]
fn every_object_becomes_a_pipeline_of_its_own_name_that_writes_nothing() {
    for (name, text) in fixtures().into_iter().filter(|(name, _)| name != "lacking") {
        let (_, yaml, _) = told(&["convert", "-"], &text);
        let made = documents(&yaml);
        for object in documents(&text) {
            let kind = object["kind"].as_str().unwrap();
            if !["ScaledObject", "ScaledJob"].contains(&kind) {
                continue;
            }
            let same = |it: &&Value| {
                it["kind"] == "ScaledPipeline"
                    && it["metadata"]["name"] == object["metadata"]["name"]
                    && it["metadata"]["namespace"] == object["metadata"]["namespace"]
            };
            let pipeline = made.iter().find(same).unwrap_or_else(|| panic!("{name}: {object}"));
            assert_eq!(pipeline["spec"]["mode"], "Observe", "{name}");
            assert_eq!(pipeline["spec"]["stages"].as_array().unwrap().len(), 1, "{name}");
        }
    }
}

/// Every field below, by its path as the report writes it.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &format!("{at}.{key}"), found);
            }
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            for (index, value) in all.iter().enumerate() {
                leaves(value, &format!("{at}[{index}]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            found.push(at.to_owned());
        }
    }
}

/// Is this path that field, or something that it is part of?
fn covers(path: &str, leaf: &str) -> bool {
    leaf.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The fields of all objects of KEDA that the report says nothing of.
fn lost(text: &str) -> Vec<String> {
    let findings = findings(text);
    let mut lost = Vec::new();
    for object in documents(text) {
        let kind = object["kind"].as_str().unwrap();
        if !["ScaledObject", "ScaledJob"].contains(&kind) {
            continue;
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let title = format!("{kind} {namespace}/{}", object["metadata"]["name"].as_str().unwrap());
        let said: Vec<&Value> = findings.iter().filter(|it| it["object"] == title).collect();
        let paths: BTreeSet<&str> = said.iter().map(|it| it["path"].as_str().unwrap()).collect();
        let mut all = Vec::new();
        leaves(&object["spec"], "spec", &mut all);
        for leaf in all {
            // What a trigger is called and which type it has is in the name and the kind of its source.
            let is_told = leaf.starts_with("spec.triggers[")
                && (leaf.ends_with("].type") || leaf.ends_with("].name"));
            // What is said of all triggers is no word on one of them; of the whole spec only that nothing of it is written.
            let is_covered =
                paths.iter().any(|path| *path != "spec.triggers" && covers(path, &leaf));
            if !is_told && !is_covered {
                lost.push(format!("{title}: {leaf}"));
            }
        }
        if object["metadata"].get("labels").is_some() {
            assert!(paths.contains("metadata.labels"), "{title}");
        }
        for key in object["metadata"]["annotations"].as_object().into_iter().flatten() {
            let path = format!("metadata.annotations[{}]", key.0);
            assert!(paths.contains(path.as_str()), "{title}");
        }
    }
    lost
}

#[test]
fn no_field_is_lost_unsaid() {
    for (name, text) in fixtures() {
        assert_eq!(lost(&text), Vec::<String>::new(), "{name}");
    }
}

/// Where a `ScaledObject` or `ScaledJob` may have a field that nobody knows.
fn places(object: &Value) -> Vec<String> {
    let mut places: Vec<String> = [
        "/spec",
        "/spec/scaleTargetRef",
        "/spec/fallback",
        "/spec/advanced",
        "/spec/advanced/scalingModifiers",
        "/spec/advanced/horizontalPodAutoscalerConfig",
        "/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown",
        "/spec/rollout",
        "/spec/scalingStrategy",
    ]
    .map(str::to_owned)
    .into();
    for trigger in 0..object["spec"]["triggers"].as_array().unwrap().len() {
        for part in ["", "/metadata", "/authenticationRef"] {
            places.push(format!("/spec/triggers/{trigger}{part}"));
        }
    }
    places
}

#[test]
fn a_field_that_nobody_knows_is_told_wherever_it_stands() {
    let mut count = 0;
    for (name, text) in fixtures() {
        let mut all = documents(&text);
        for object in &mut all {
            if !["ScaledObject", "ScaledJob"].contains(&object["kind"].as_str().unwrap()) {
                continue;
            }
            for place in places(object) {
                let Some(Value::Object(map)) = object.pointer_mut(&place) else { continue };
                map.insert("frobnicate".to_owned(), json!("1"));
                count += 1;
            }
        }
        let list = json!({"kind": "List", "apiVersion": "v1", "items": all});
        assert_eq!(lost(&list.to_string()), Vec::<String>::new(), "{name}");
    }
    assert!(80 < count, "only {count} places");
}

#[test]
fn parameters_of_an_authentication_are_told_too() {
    for (name, text) in fixtures() {
        let findings = findings(&text);
        let paths: Vec<&str> = findings.iter().map(|it| it["path"].as_str().unwrap()).collect();
        for object in documents(&text) {
            let kind = object["kind"].as_str().unwrap();
            if !kind.ends_with("TriggerAuthentication") {
                continue;
            }
            let title = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap());
            for it in object["spec"]["secretTargetRef"].as_array().into_iter().flatten() {
                let path =
                    format!("{title} spec.secretTargetRef[{}]", it["parameter"].as_str().unwrap());
                assert!(paths.contains(&path.as_str()), "{name}: {path}");
            }
        }
    }
}

#[test]
fn the_exit_code_says_whether_all_of_it_was_converted() {
    let file = |name: &str| format!("{FIXTURES}/{name}.yaml");
    let (code, _, report) = told(&["convert", &file("alone")], "");
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("1 of ScaledPipeline, 0 of Connection"), "{report}");
    let (code, yaml, report) = told(&["convert", &file("lacking"), &file("alone")], "");
    assert_eq!(code, Some(1), "{report}");
    assert!(yaml.contains("name: shortest"), "{yaml}");
    let (code, _, stderr) = told(&["convert", "nowhere.yaml"], "");
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    let (code, yaml, stderr) = told(&["convert", "deploy/examples/shortest.yaml"], "");
    assert_eq!((code, yaml.as_str()), (Some(1), ""));
    assert!(stderr.contains("nothing to convert"), "{stderr}");
    let (code, _, stderr) = told(&["convert", "-"], "a: [1\nb: }");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is no YAML"), "{stderr}");
}

#[test]
fn objects_that_share_a_server_share_a_connection_and_others_do_not() {
    let object = |name: &str, namespace: &str, server: &str| {
        json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "scaleTargetRef": {"name": name},
                "triggers": [{"type": "prometheus", "metadata": {"serverAddress": server, "query": "x", "threshold": "1"}}],
            },
        })
    };
    let all = [
        object("a", "shop", "http://prometheus:9090"),
        object("b", "shop", "http://prometheus:9090"),
        object("c", "shop", "http://prometheus:9091"),
        object("d", "video", "http://prometheus:9090"),
    ];
    let (code, yaml, _) =
        told(&["convert", "-"], &json!({"kind": "List", "items": all}).to_string());
    assert_eq!(code, Some(0));
    let made = documents(&yaml);
    let connections: Vec<String> = made
        .iter()
        .filter(|it| it["kind"] == "Connection")
        .map(|it| format!("{}/{}", it["metadata"]["namespace"], it["metadata"]["name"]))
        .collect();
    assert_eq!(
        connections,
        [r#""shop"/"prometheus""#, r#""shop"/"prometheus-2""#, r#""video"/"prometheus""#]
    );
    let named: Vec<&Value> = made
        .iter()
        .filter_map(|it| it.pointer("/spec/stages/0/sources/0/prometheus/connectionRef/name"))
        .collect();
    assert_eq!(named, ["prometheus", "prometheus", "prometheus-2", "prometheus"]);
}

#[test]
fn the_page_shows_what_comes_out() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keda.md")).unwrap();
    let block = |heading: &str| {
        let start = page.find(&format!("```yaml\n# {heading}\n")).unwrap();
        let text = page[start..].split_once('\n').unwrap().1.split_once('\n').unwrap().1;
        text.split_once("```").unwrap().0.to_owned()
    };
    let (code, made, report) = told(&["convert", "-"], &block("keda.yaml"));
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(made, block("penstock.yaml"));
}
