//! Leaves of a pipeline that do not work yet, each written once.

use serde_json::{Value, json};

use super::kinds::{Kind, kinds};
use super::{Changes, stage};

/// What is written of each kind of source that does not work yet; together the samples of a kind write all of its leaves.
fn later_sources() -> Vec<(&'static str, Vec<Value>)> {
    let requirement = json!({"key": "app", "operator": "In", "values": ["a"]});
    let used =
        || vec![json!({"utilization": 80, "container": "main"}), json!({"perReplica": "500m"})];
    vec![
        ("cpu", used()),
        ("memory", used()),
        (
            "workload",
            vec![json!({
                "selector": {"matchLabels": {"app": "a"}, "matchExpressions": [requirement]}, "perReplica": 5,
            })],
        ),
    ]
}

/// Subtrees that do not work yet: the path they are refused by, and samples that together write all of their leaves.
pub(super) fn refused() -> Vec<(String, String, Vec<Changes>)> {
    let stage = |field: &str, pointer: &'static str, value: Value| {
        let schema = format!("spec.stages[].{field}");
        (schema, format!("spec.stages[0].{field}"), vec![vec![(pointer, value)]])
    };
    let target = || json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"});
    let lanes = json!([
        {"pool": "spot", "base": 1, "share": 70, "fallbackTo": "on-demand", "target": target()},
        {"pool": "on-demand", "target": target()},
    ]);
    let mut all = vec![
        (
            "spec.priority".to_owned(),
            "spec.priority".to_owned(),
            vec![vec![("/spec/priority", json!(5))]],
        ),
        (
            "spec.stages[].lanes".to_owned(),
            "spec.stages[0].lanes".to_owned(),
            vec![vec![(stage!("/target"), Value::Null), (stage!("/lanes"), lanes)]],
        ),
        (
            "spec.stages[].jobs".to_owned(),
            "spec.stages[0].jobs".to_owned(),
            vec![vec![
                (stage!("/target"), Value::Null),
                (stage!("/jobs"), json!({"templateRef": {"kind": "CronJob", "name": "x"}})),
            ]],
        ),
        stage("combine", stage!("/combine"), json!({"expression": "orders"})),
        stage(
            "schedules",
            stage!("/schedules"),
            json!([{
                "name": "day", "start": "0 8 * * *", "end": "0 9 * * *", "timeZone": "UTC",
                "replicas": {"min": 1, "max": 2},
            }]),
        ),
        stage("actuate", stage!("/actuate"), json!("HPA")),
        stage(
            "capacity",
            stage!("/capacity"),
            json!({"role": "Driver", "scaleIn": "Pack", "headroom": {"mode": "Auto", "max": 8}}),
        ),
    ];
    for (kind, samples) in later_sources() {
        let changes = samples
            .iter()
            .map(|sample| vec![(stage!("/sources/0"), json!({"name": "orders", kind: sample}))]);
        let schema = format!("spec.stages[].sources[].{kind}");
        all.push((schema, format!("spec.stages[0].sources[0].{kind}"), changes.collect()));
    }
    all.push(("spec.stages[].gates".to_owned(), "spec.stages[0].gates".to_owned(), gates()));
    all
}

/// A gate on each kind of source.
fn gates() -> Vec<Changes> {
    let kafka = [
        json!({
            "connectionRef": {"kind": "Connection", "name": "a"}, "topics": ["t"], "group": "g", "offsetReset": "Latest",
            "isolation": "ReadCommitted", "perReplica": 1,
        }),
        json!({"bootstrapServers": "k:9092", "topics": ["t"], "group": "g"}),
    ];
    let mut sources: Vec<Value> = kafka.iter().map(|kafka| json!({"kafka": kafka})).collect();
    for (kind, samples) in later_sources() {
        sources.extend(samples.iter().map(|sample| json!({kind: sample})));
    }
    for Kind { name: kind, sources: samples, .. } in kinds() {
        sources.extend(samples.iter().map(|sample| json!({kind: sample})));
    }
    sources
        .into_iter()
        .map(|source| {
            let gate = json!([{"name": "g", "holdWhen": "value > 0.0", "source": source}]);
            vec![(stage!("/gates"), gate)]
        })
        .collect()
}
