//! The definitions themselves: small, fresh, bounded, structural.

use serde_json::Value;

/// The schema of each kind.
pub(super) fn schemas() -> Vec<(String, Value)> {
    penstock::crd::all()
        .iter()
        .map(|crd| {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap();
            let schema = schema.open_api_v3_schema.as_ref().unwrap();
            (crd.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
        })
        .collect()
}

/// Calls on each schema below, with its path: `spec.stages[].name`, `metadata{}`.
pub(super) fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(below, &path, visit);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&schema["additionalProperties"], &format!("{path}{{}}"), visit);
    }
}

#[test]
fn each_definition_is_below_200_kb() {
    for (name, text) in penstock::crd::files().unwrap() {
        assert!(text.len() < 200_000, "{name} has {} bytes", text.len());
    }
}

#[test]
fn the_files_in_deploy_are_fresh() {
    for (name, text) in penstock::crd::files().unwrap() {
        let path = format!("{}/deploy/crds/{name}", env!("CARGO_MANIFEST_DIR"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{path} is stale: run `make crds`");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no flags of its own")]
fn the_reference_of_the_fields_is_fresh() {
    let mut pages = crate::docs::manual::pages();
    pages.push(("docs/api.md".to_owned(), crate::docs::api::page()));
    for (path, text) in pages {
        let at = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var("PENSTOCK_REFRESH").is_ok() {
            std::fs::write(&at, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&at).unwrap_or_default();
        assert!(kept == text, "{path} is stale: run `make api`");
    }
}

#[test]
fn every_text_list_and_map_has_a_maximum() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            let has = |key: &str| !schema[key].is_null();
            let is_bounded = match schema["type"].as_str() {
                Some("string") => has("maxLength") || has("enum"),
                Some("array") => has("maxItems"),
                Some("object") if has("additionalProperties") => has("maxProperties"),
                Some("integer" | "number") if path.starts_with("spec") => {
                    has("maximum") && has("minimum")
                }
                None => has("maxLength") && schema["x-kubernetes-int-or-string"] == true,
                _ => true,
            };
            assert!(is_bounded, "{kind} {path} has no maximum");
        });
    }
}

#[test]
fn every_list_says_how_it_merges() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            if schema["type"] == "array" {
                assert!(!schema["x-kubernetes-list-type"].is_null(), "{kind} {path}");
            }
        });
    }
}

#[test]
fn every_field_has_its_line_in_the_manual() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            if !path.ends_with(']') && !path.ends_with('}') && !path.is_empty() {
                let text = schema["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{kind} {path} has no description");
                assert!(!text.contains('`'), "{kind} {path}: {text}");
            }
        });
    }
}

#[test]
fn the_schema_is_structural() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            for key in ["$ref", "anyOf", "oneOf", "allOf", "not", "nullable", "title"] {
                assert!(schema[key].is_null(), "{kind} {path} has {key}");
            }
            if !schema["properties"].is_null() {
                assert!(schema["additionalProperties"].is_null(), "{kind} {path}");
            }
            let format = schema["format"].as_str();
            assert!(
                matches!(format, None | Some("int32" | "int64" | "double" | "date-time")),
                "{path} {format:?}"
            );
        });
    }
}

#[test]
fn only_what_can_never_be_learned_or_inherited_has_a_default() {
    let mut found = std::collections::BTreeSet::new();
    for (_, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            if !schema["default"].is_null() {
                found.insert(path.rsplit('.').next().unwrap().to_owned());
            }
        });
    }
    let found: Vec<_> = found.into_iter().collect();
    assert_eq!(found, ["apiVersion", "kind", "min", "mode", "offsetReset"]);
}

#[test]
fn every_rule_has_words() {
    for (kind, schema) in schemas() {
        walk(&schema, "", &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_default();
                assert!(!message.is_empty(), "{kind} {path}: {rule}");
            }
        });
    }
}

#[test]
fn the_rule_on_the_namespace_of_secrets_knows_every_field_that_names_one() {
    let (_, schema) = schemas().into_iter().find(|(kind, _)| kind == "ClusterConnection").unwrap();
    let rules = schema["properties"]["spec"]["x-kubernetes-validations"].to_string();
    let mut seen = 0;
    walk(&schema, "", &mut |path, _| {
        if path.ends_with("SecretRef") || path.ends_with(".strimzi") {
            seen += 1;
            let test = format!("has(self.{})", path.trim_start_matches("spec."));
            assert!(rules.contains(&test), "{path} is not in the rule");
        }
    });
    assert!(seen > 30, "{seen}");
}

#[test]
fn kubectl_shows_the_columns_of_the_contract() {
    let all = penstock::crd::all();
    let names = &all[0].spec.names;
    assert_eq!(names.short_names.as_deref(), Some(&["spl".to_owned()][..]));
    let columns = all[0].spec.versions[0].additional_printer_columns.as_ref().unwrap();
    let columns: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        ["Mode", "Stages", "Bottleneck", "Delay", "Desired", "Ready", "ObjectiveMet", "Age"]
    );
    let shown = |kind: &str| {
        let crd = all.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
        let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        (
            crd.spec.scope.as_str(),
            crd.spec.names.short_names.clone().unwrap().join(" "),
            columns.join(" "),
        )
    };
    assert_eq!(
        shown("CapacityPool"),
        ("Cluster", "cpool".to_owned(), "Class State Nodes Cost Age".to_owned())
    );
    assert_eq!(
        shown("CapacityBudget"),
        ("Cluster", "cbudget".to_owned(), "OnExceeded Limit Used CPU Age".to_owned())
    );
    for crd in &all {
        assert_eq!(crd.spec.names.categories.as_deref(), Some(&["penstock".to_owned()][..]));
    }
}
