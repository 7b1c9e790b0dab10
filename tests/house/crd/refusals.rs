//! What is refused, in the API server's words, and what is not. The same cases are held against real servers in tests/live.

use std::sync::LazyLock;

use penstock::crd::manifest::{Checked, Checker, Neighbours, Outcome};
use penstock::crd::{ScaledPipeline, meaning};
use serde_json::Value;

use super::manifests::{BUDGET, POOL, cases};
use super::{Around, CLUSTER_CONNECTION, CONNECTION, EVERYTHING, PIPELINE, put, yaml};

/// The schemas, compiled once.
pub(crate) static CHECKER: LazyLock<Checker> = LazyLock::new(|| Checker::new().unwrap());

/// Checks one manifest that stands alone.
fn check(manifest: &Value) -> Checked {
    CHECKER.check(manifest, &Neighbours::default())
}

#[test]
fn what_breaks_a_rule_is_refused_in_the_api_servers_words() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut says = CHECKER.check(&case.manifest(), &Neighbours::default()).faults;
        says.sort();
        assert!(!case.says.is_empty(), "{} is not refused by a real server", case.title);
        if says != case.says {
            wrong
                .push(format!("{}\n  server:  {:#?}\n  offline: {says:#?}", case.title, case.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_contract_shows_is_accepted() {
    for manifest in [PIPELINE, CONNECTION, CLUSTER_CONNECTION, POOL, BUDGET, EVERYTHING] {
        let checked = check(&yaml(manifest));
        assert_eq!(checked.result, Outcome::Good, "{checked:?}");
    }
}

#[test]
fn every_example_is_accepted_without_a_warning() {
    let folder = format!("{}/deploy/examples", env!("CARGO_MANIFEST_DIR"));
    let within = |folder: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
    };
    let mut files = Vec::new();
    for path in within(folder.as_ref()) {
        if !path.is_dir() {
            files.push(path);
        } else if !path.ends_with("scenarios") {
            // The simulator's scenarios are no manifests, and words are none.
            files.extend(
                within(&path).into_iter().filter(|it| it.extension() != Some("md".as_ref())),
            );
        }
    }
    for path in files {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let neighbours = Neighbours::of(&documents);
        for document in &documents {
            let checked = CHECKER.check(document, &neighbours);
            let is_ours = document["apiVersion"].as_str().unwrap().starts_with("penstock.dev/");
            let expected = if is_ours { Outcome::Good } else { Outcome::Skipped };
            assert_eq!(checked.result, expected, "{}: {checked:?}", path.display());
        }
    }
}

#[test]
fn what_slips_past_the_api_server_is_refused_by_the_daemon_too() {
    for case in cases().iter().filter(|case| case.of == "pipeline") {
        let Ok(written) = serde_json::from_value::<ScaledPipeline>(case.manifest()) else {
            continue; // The watch cannot read it, and says so.
        };
        let is_unknown_field = case.says.iter().any(|line| line.starts_with("unknown field"));
        let result = meaning::read(&written, &Around::default());
        assert!(result.is_err() || is_unknown_field, "{} is taken: {result:?}", case.title);
    }
}

#[test]
fn who_leads_or_holds_state_is_warned_of_on_spot_where_the_pool_is_beside_it() {
    let lanes = serde_json::json!([
        {"pool": "kept", "target": {"name": "sink"}},
        {"pool": "spot", "target": {"name": "sink-spot"}},
    ]);
    let said = |class: &str, role: &str| {
        let mut pipeline = yaml(PIPELINE);
        let stage = &mut pipeline["spec"]["stages"][0];
        stage.as_object_mut().unwrap().shift_remove("target");
        stage["lanes"] = lanes.clone();
        stage["capacity"] = serde_json::json!({"role": role});
        let mut pool = yaml(POOL);
        put(&mut pool, "/metadata/name", &"spot".into());
        put(&mut pool, "/spec/class", &class.into());
        CHECKER.check(&pipeline, &Neighbours::of([&pool, &pipeline]))
    };
    for role in ["Driver", "Stateful"] {
        let checked = said("Spot", role);
        assert_eq!(checked.result, Outcome::Warned, "{checked:?}");
        let [warning] = checked.warnings.try_into().unwrap();
        assert!(warning.starts_with("spec.stages[0].lanes[1].pool: spot is of class Spot"));
        assert!(warning.contains("; hint: name a pool of class OnDemand or Reserved"), "{warning}");
    }
    for (class, role) in [("OnDemand", "Driver"), ("Spot", "Worker")] {
        let checked = said(class, role);
        assert_eq!(checked.result, Outcome::Good, "{checked:?}");
    }
}

#[test]
fn a_manifest_of_another_kind_is_skipped_and_an_unknown_kind_of_ours_is_refused() {
    let of = |api_version: &str, kind: &str| {
        check(
            &serde_json::json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}),
        )
    };
    assert_eq!(of("apps/v1", "Deployment").result, Outcome::Skipped);
    let unknown = of("penstock.dev/v1alpha1", "ScaledPipelines");
    assert_eq!(unknown.result, Outcome::Refused);
    assert_eq!(
        unknown.faults,
        [r#"no matches for kind "ScaledPipelines" in version "penstock.dev/v1alpha1""#]
    );
    assert_eq!(of("", "").result, Outcome::Refused);
}

#[test]
fn an_unknown_field_that_stands_in_one_other_place_comes_with_that_place() {
    let mut manifest = yaml(PIPELINE);
    put(&mut manifest, "/spec/objective", &serde_json::json!({"doneBy": {"time": "06:00"}}));
    assert_eq!(
        check(&manifest).faults,
        [r#"unknown field "spec.objective.doneBy"; hint: there is spec.stages[].objective.doneBy"#]
    );
}

#[test]
fn a_name_that_is_none_is_refused() {
    let mut manifest = yaml(PIPELINE);
    put(&mut manifest, "/metadata/name", &"Orders".into());
    let [fault] = check(&manifest).faults.try_into().unwrap();
    assert!(
        fault.starts_with("metadata.name: Invalid value: \"Orders\": a lowercase RFC 1123"),
        "{fault}"
    );
    put(&mut manifest, "/metadata/name", &Value::Null);
    assert_eq!(
        check(&manifest).faults,
        ["metadata.name: Required value: name or generateName is required"]
    );
}
