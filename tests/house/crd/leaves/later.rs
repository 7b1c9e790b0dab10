//! Leaves of a pipeline that do not work yet, each written once.

use serde_json::{Value, json};

use super::{Changes, stage};

/// Subtrees that do not work yet: the path they are refused by, and samples that together write all of their leaves.
pub(super) fn refused() -> Vec<(String, String, Vec<Changes>)> {
    let stage = |field: &str, pointer: &'static str, value: Value| {
        let schema = format!("spec.stages[].{field}");
        (schema, format!("spec.stages[0].{field}"), vec![vec![(pointer, value)]])
    };
    let mut all = vec![stage("actuate", stage!("/actuate"), json!("HPA"))];
    for (kind, samples) in of_the_cluster() {
        // What its own pods use holds no stage.
        if kind != "workload" {
            let gates = samples.iter().map(|sample| {
                let gate =
                    json!([{"name": "g", "holdWhen": "value > 0.0", "source": {kind: sample}}]);
                vec![(stage!("/gates"), gate)]
            });
            let schema = format!("spec.stages[].gates[].source.{kind}");
            all.push((schema, format!("spec.stages[0].gates[0].source.{kind}"), gates.collect()));
        }
    }
    all
}

/// The kinds that the cluster itself answers, with samples that together write all of their leaves.
pub(super) fn of_the_cluster() -> Vec<(&'static str, Vec<Value>)> {
    let used =
        || vec![json!({"utilization": 80, "container": "main"}), json!({"perReplica": "500m"})];
    let requirement = json!({"key": "app", "operator": "In", "values": ["a"]});
    let selector = json!({"matchLabels": {"app": "a"}, "matchExpressions": [requirement]});
    vec![
        ("cpu", used()),
        ("memory", used()),
        ("workload", vec![json!({"selector": selector, "perReplica": 5})]),
    ]
}
