//! Reading is total: whatever is written is read or refused, without a panic, and what decide is told keeps its bounds.

use std::time::Duration;

use penstock::crd::manifest::Neighbours;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::refusals::CHECKER;
use super::{Around, CLUSTER_CONNECTION, CONNECTION, EVERYTHING, PIPELINE, yaml};

/// Any JSON, with words that the schema knows here and there.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "",
        "enrich",
        "90s",
        "0s",
        "99999h99999h99999h99999h",
        "Enforce",
        "Hold",
        "Static",
        "-1",
        "true",
        "0.5",
        "1e99",
        "500m",
        "a:1",
        "in",
        "Connection",
        "Kafka",
        "é",
        "\u{0}",
        "18446744073709551616",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (0_u32..100).prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "name",
        "after",
        "mode",
        "kafka",
        "min",
        "max",
        "replicas",
        "policy",
        "type",
        "value",
        "periodSeconds",
        "key",
        "maxDelay",
        "connectionRef",
        "kind",
        "topics",
        "group",
        "policies",
        "scaleUp",
        "tolerance",
        "target",
        "pool",
    ]);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..5).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// Every place in a manifest, as a JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    if !at.is_empty() {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                pointers(
                    below,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                pointers(below, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read_or_refused_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
        text in prop::sample::select(vec![PIPELINE, EVERYTHING]),
    ) {
        let mut manifest = yaml(text);
        for (place, value) in &changes {
            let mut places = Vec::new();
            pointers(&manifest, "", &mut places);
            let place = place.get(&places).clone();
            if let Some(spot) = manifest.pointer_mut(&place) {
                *spot = value.clone();
            }
        }
        let around = Around::with(&[yaml(CONNECTION), yaml(CLUSTER_CONNECTION)]);
        let checked = CHECKER.check(&manifest, &Neighbours::of([&manifest]));
        if let Ok(written) = serde_json::from_value(manifest) {
            let meaning = penstock::crd::meaning::read(&written, &around);
            if let Err(faults) = &meaning {
                prop_assert!(!faults.is_empty());
            }
            // What decide is told keeps what decide may rely on.
            for stage in meaning.iter().flat_map(|meaning| &meaning.pipeline.stages) {
                prop_assert!(stage.min <= stage.max && stage.max > 0);
                prop_assert!(stage.max_delay.is_none_or(|delay| delay > Duration::ZERO));
                prop_assert!(stage.idle.is_none_or(|idle| idle.replicas <= stage.min));
                prop_assert!(stage.sources.iter().all(|source| source.activation.is_finite()));
                prop_assert!(stage.sources.iter().all(|source| source.per_replica.is_none_or(|n| n > 0.0)));
            }
        }
        prop_assert!(checked.kind.len() < 1000);
    }
}
