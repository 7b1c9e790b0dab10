//! A walk over every leaf of every spec: each one changes what is decided in an eventful hour, or is refused by its path. None is
//! ignored. A new field fails this test until it has its line in one of the tables.

use std::collections::BTreeSet;

use penstock::crd::manifest::Neighbours;
use penstock::crd::meaning::{Code, Meaning};
use serde_json::{Value, json};

use super::refusals::CHECKER;
use super::schema::{schemas, walk};
use super::{Around, CLUSTER_CONNECTION, CONNECTION, PIPELINE, put, read, yaml};

mod working;
mod later;
mod logins;
mod kinds;
mod play;

use kinds::{Kind, changed_leaves, kinds};
use later::{of_the_cluster, refused};
use logins::{working_logins, working_openings};
use working::{FORECAST, working};

/// Changes to a manifest: JSON pointers and values.
type Changes = Vec<(&'static str, Value)>;

/// A pointer below the first stage.
macro_rules! stage {
    ($rest:literal) => {
        concat!("/spec/stages/0", $rest)
    };
}

pub(super) use stage;

/// The fields of a pipeline that do not work yet, as the schema spells them.
pub(crate) fn not_yet() -> BTreeSet<String> {
    refused().into_iter().map(|(path, ..)| path).collect()
}

/// The leaves of a schema's spec.
fn leaves(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, "", &mut |path, schema| {
        let is_leaf =
            ["properties", "items", "additionalProperties"].iter().all(|key| schema[key].is_null());
        if is_leaf && path.starts_with("spec") {
            found.insert(path.to_owned());
        }
    });
    found
}

/// The leaves that a manifest writes, as the schema spells them.
fn written(value: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                if let Some(schema) = schema["properties"].get(name) {
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    written(below, schema, &path, found);
                } else if schema["additionalProperties"].is_object() {
                    written(below, &schema["additionalProperties"], &format!("{path}{{}}"), found);
                }
            }
        }
        Value::Array(items) => {
            for below in items {
                written(below, &schema["items"], &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(path.to_owned());
        }
    }
}

fn schema_of(kind: &str) -> Value {
    schemas().into_iter().find(|(found, _)| found == kind).unwrap().1
}

/// The contract's connections, all open.
fn around() -> Around {
    let mut cluster_wide = yaml(CLUSTER_CONNECTION);
    put(&mut cluster_wide, "/spec/kafka", &yaml(CONNECTION)["spec"]["kafka"]);
    Around::with(&[yaml(CONNECTION), cluster_wide])
}

/// A manifest with changes, and what the API server would say of it.
fn judged(base: &str, changes: &[&Changes]) -> (Value, Vec<String>) {
    let mut manifest = yaml(base);
    for (pointer, value) in changes.iter().copied().flatten() {
        put(&mut manifest, pointer, value);
    }
    let faults = CHECKER.check(&manifest, &Neighbours::default()).faults;
    (manifest, faults)
}

/// A manifest with changes, which the API server would take.
fn changed(base: &str, changes: &[&Changes]) -> Value {
    let (manifest, faults) = judged(base, changes);
    assert!(faults.is_empty(), "{changes:?}: {faults:?}");
    manifest
}

/// A gate with a threshold is refused by the API server, and by the daemon at the field itself.
fn assert_sizes_nothing(kind: &str, source: &Value, around: &Around) {
    let gate = json!([{"name": "g", "holdWhen": "value > 0.0", "source": {kind: source}}]);
    let (manifest, faults) = judged(PIPELINE, &[&vec![(stage!("/gates"), gate)]]);
    assert_eq!(
        faults,
        [
            "spec.stages[0].gates[0].source: Invalid value: a gate sizes nothing: leave perReplica out"
        ]
    );
    let path = format!("spec.stages[0].gates[0].source.{kind}.perReplica");
    let faults = read(&manifest, around).unwrap_err();
    assert!(faults.iter().any(|fault| fault.path == path), "{kind}: {faults:?}");
}

#[test]
fn every_leaf_of_a_pipeline_matters_or_is_refused_by_its_path() {
    let schema = schema_of("ScaledPipeline");
    let mut open = leaves(&schema);
    assert!(open.len() > 150, "the walk found only {} leaves", open.len());
    for (leaf, given, change) in working() {
        let change = vec![change];
        let known = vec![(stage!("/ratePerReplica"), json!(50))];
        let before = changed(PIPELINE, &[&known, &given]);
        let after = changed(PIPELINE, &[&known, &given, &change]);
        let mut found = BTreeSet::new();
        written(&after, &schema, "", &mut found);
        assert!(found.contains(leaf), "{leaf} is not written by {change:?}");
        let before = read(&before, &around()).unwrap_or_else(|faults| panic!("{leaf}: {faults:?}"));
        let after = read(&after, &around()).unwrap_or_else(|faults| panic!("{leaf}: {faults:?}"));
        assert_ne!(before, after, "{leaf} changes nothing that is meant");
        let differs = play::decides_otherwise(&after, &play::decided(&before));
        assert_eq!(differs, leaf != FORECAST, "{leaf} changes no decision");
        assert!(open.remove(leaf), "{leaf} is no leaf, or stands here twice");
    }
    for of in kinds() {
        let (kind, connection) = (of.name, of.connections.first());
        let before = |source: &Value| of_kind(&of, source, connection.unwrap_or(&Value::Null));
        for sample in &of.sources {
            let known = play::decided(&before(sample));
            for (leaf, after) in changed_leaves(sample) {
                let differs = play::decides_otherwise(&before(&after), &known);
                assert!(differs, "{kind}{leaf} changes no decision");
                open.remove(&format!("spec.stages[].sources[].{kind}{leaf}"));
            }
        }
    }
    gates_matter(&mut open);
    the_cluster_is_asked(&mut open);
    for (subtree, path, samples) in refused() {
        let mut found = BTreeSet::new();
        for sample in &samples {
            let manifest = changed(PIPELINE, &[sample]);
            written(&manifest, &schema, "", &mut found);
            let faults = read(&manifest, &around()).unwrap_err();
            let is_told = faults
                .iter()
                .any(|fault| fault.code == Code::NotYetSupported && fault.path == path);
            assert!(is_told, "{subtree}: {faults:?}");
        }
        let below = format!("{subtree}.");
        let item = format!("{subtree}[");
        let of_subtree = |leaf: &&String| {
            **leaf == subtree || leaf.starts_with(&below) || leaf.starts_with(&item)
        };
        let mine: Vec<String> = open.iter().filter(of_subtree).cloned().collect();
        assert!(!mine.is_empty(), "{subtree} has no leaf");
        for leaf in mine {
            assert!(found.contains(&leaf), "{leaf} is written by no sample");
            open.remove(&leaf);
        }
    }
    assert!(open.is_empty(), "neither used nor refused: {open:#?}");
}

/// Each leaf of what the cluster itself answers makes another question, of a source and of a gate.
fn the_cluster_is_asked(open: &mut BTreeSet<String>) {
    for (kind, samples) in of_the_cluster() {
        let as_source = |source: &Value| {
            let source = json!({"name": "used", kind: source});
            let awake = (stage!("/replicas/min"), json!(1));
            read(&changed(PIPELINE, &[&vec![awake, (stage!("/sources/0"), source)]]), &around())
        };
        let as_gate = |source: &Value| {
            let gate = json!([{"name": "g", "holdWhen": "value > 0.0", "source": {kind: source}}]);
            read(&changed(PIPELINE, &[&vec![(stage!("/gates"), gate)]]), &around())
        };
        for mut sample in samples {
            let known = as_source(&sample).unwrap();
            assert_eq!(known.inside.len(), 1, "{known:?}");
            for (leaf, after) in changed_leaves(&sample) {
                assert_ne!(known, as_source(&after).unwrap(), "{kind}{leaf} means nothing");
                open.remove(&format!("spec.stages[].sources[].{kind}{leaf}"));
            }
            if kind == "workload" {
                assert_sizes_nothing(kind, &sample, &around());
                open.remove("spec.stages[].gates[].source.workload.perReplica");
                put(&mut sample, "/perReplica", &Value::Null);
                let known = as_gate(&sample).unwrap();
                for (leaf, after) in changed_leaves(&sample) {
                    assert_ne!(known, as_gate(&after).unwrap(), "{kind}{leaf} means nothing");
                    open.remove(&format!("spec.stages[].gates[].source.{kind}{leaf}"));
                }
            }
        }
    }
}

/// Each leaf of a gate's source makes another question; a threshold is refused, since a gate sizes nothing.
fn gates_matter(open: &mut BTreeSet<String>) {
    let kafka = [
        json!({"bootstrapServers": "k:9092", "topics": ["t"], "group": "g", "offsetReset": "Latest", "isolation": "ReadCommitted"}),
        json!({"connectionRef": {"kind": "Connection", "name": "events"}, "topics": ["t"], "group": "g"}),
    ];
    let mut all = vec![("kafka", Vec::from(kafka), around())];
    for of in kinds() {
        let mut connection = yaml(CONNECTION);
        if let Some(login) = of.connections.first() {
            put(&mut connection, "/spec", &json!({of.login(): login}));
        }
        all.push((of.name, of.sources, Around::with(&[connection])));
    }
    for (kind, samples, around) in all {
        let read_gate = |name: &str, source: &Value| {
            let gate =
                json!([{"name": name, "holdWhen": "value > 3000.0", "source": {kind: source}}]);
            read(&changed(PIPELINE, &[&vec![(stage!("/gates"), gate)]]), &around)
        };
        for mut sample in samples {
            let mut sized = sample.clone();
            put(&mut sized, "/perReplica", &json!(5));
            assert_sizes_nothing(kind, &sized, &around);
            open.remove(&format!("spec.stages[].gates[].source.{kind}.perReplica"));
            put(&mut sample, "/perReplica", &Value::Null);
            let known = read_gate("g", &sample).unwrap();
            assert_ne!(known, read_gate("other", &sample).unwrap());
            for (leaf, after) in changed_leaves(&sample) {
                let after = read_gate("g", &after).unwrap_or_else(|faults| panic!("{faults:?}"));
                assert_ne!(known, after, "{kind}{leaf} of a gate means nothing");
                open.remove(&format!("spec.stages[].gates[].source.{kind}{leaf}"));
            }
        }
    }
    open.remove("spec.stages[].gates[].name");
}

/// What a pipeline means with a source of this kind, which names this connection.
fn of_kind(of: &Kind, source: &Value, connection: &Value) -> Meaning {
    let kind = of.name;
    let source = json!({"name": "orders", kind: source});
    let known = vec![(stage!("/ratePerReplica"), json!(50)), (stage!("/sources/0"), source)];
    let mut around = yaml(CONNECTION);
    if !connection.is_null() {
        put(&mut around, "/spec", &json!({of.login(): connection}));
    }
    let checked = CHECKER.check(&around, &Neighbours::default());
    assert!(checked.faults.is_empty(), "{kind}: {:?}", checked.faults);
    let written = changed(PIPELINE, &[&known]);
    read(&written, &Around::with(&[around])).unwrap_or_else(|faults| panic!("{kind}: {faults:?}"))
}

/// A pipeline whose source names the connection.
fn connected(kind: &str) -> Value {
    changed(
        PIPELINE,
        &[&vec![
            (stage!("/sources/0/kafka/bootstrapServers"), Value::Null),
            (stage!("/sources/0/kafka/connectionRef"), json!({"kind": kind, "name": "events"})),
        ]],
    )
}

/// What a pipeline means whose source names this connection.
fn through(kind: &str, connection: &Value) -> Meaning {
    read(&connected(kind), &Around::with(std::slice::from_ref(connection))).unwrap()
}

#[test]
fn every_leaf_of_a_connection_matters_or_is_refused_by_its_path() {
    for kind in ["Connection", "ClusterConnection"] {
        let schema = schema_of(kind);
        let mut open = leaves(&schema);
        let mut base = yaml(CONNECTION);
        put(&mut base, "/kind", &kind.into());
        if kind == "ClusterConnection" {
            let contract = yaml(CLUSTER_CONNECTION);
            for field in ["secretNamespace", "allowedNamespaces"] {
                put(&mut base, &format!("/spec/{field}"), &contract["spec"][field]);
            }
        }
        let base = base.to_string();
        let before = through(kind, &changed(&base, &[]));
        assert!(before.unanswerable.is_empty(), "{before:?}");
        let decided = play::decided(&before);
        let openings = if kind == "ClusterConnection" { working_openings() } else { Vec::new() };
        for (leaf, change) in working_logins().into_iter().chain(openings) {
            let after = changed(&base, &[&change]);
            let mut found = BTreeSet::new();
            written(&after, &schema, "", &mut found);
            assert!(found.contains(leaf), "{leaf} is not written by {change:?}");
            let after = through(kind, &after);
            assert!(play::decides_otherwise(&after, &decided), "{leaf} changes no decision");
            assert!(open.remove(leaf), "{leaf} is no leaf, or stands here twice");
        }
        // Of a cluster of Strimzi every word says what is looked up; what that comes to is for the cluster to say.
        let strimzi = json!({"cluster": "c", "listener": "l", "user": "u"});
        let looked_up = |strimzi: &Value| {
            let after = changed(&base, &[&vec![("/spec/kafka", json!({"strimzi": strimzi}))]]);
            let [draft] = through(kind, &after).questions.try_into().unwrap();
            draft.strimzi.unwrap()
        };
        let namespace = if kind == "Connection" { "shop" } else { "kafka" };
        assert_eq!(looked_up(&strimzi).namespace, namespace);
        for (leaf, after) in changed_leaves(&strimzi) {
            assert_ne!(looked_up(&strimzi), looked_up(&after), "{leaf} changes nothing");
            assert!(open.remove(&format!("spec.kafka.strimzi{leaf}")), "{leaf} is no leaf");
        }
        // So does every word of where a token comes from.
        let secret = json!({"name": "s", "key": "k"});
        let oauth2 = json!({
            "tokenUrl": "https://tokens/t", "clientIdSecretRef": secret, "clientSecretSecretRef": secret,
            "scopes": ["read"],
        });
        let bought = |oauth2: &Value| {
            let sasl = json!({"mechanism": "OAUTHBEARER", "oauth2": oauth2});
            let after = changed(&base, &[&vec![("/spec/kafka/sasl", sasl)]]);
            let [draft] = through(kind, &after).questions.try_into().unwrap();
            (draft.address, draft.secrets)
        };
        for (leaf, after) in changed_leaves(&oauth2) {
            assert_ne!(bought(&oauth2), bought(&after), "{leaf} changes nothing");
            assert!(open.remove(&format!("spec.kafka.sasl.oauth2{leaf}")), "{leaf} is no leaf");
        }
        // Each leaf of the other kinds that work makes a difference, too.
        for of in kinds() {
            let (name, login) = (of.name, of.login());
            for sample in &of.connections {
                let known = of_kind(&of, &of.sources[0], sample);
                assert!(known.unanswerable.is_empty(), "{name}: {:?}", known.unanswerable);
                let known = play::decided(&known);
                for (leaf, after) in changed_leaves(sample) {
                    let after = of_kind(&of, &of.sources[0], &after);
                    let differs = play::decides_otherwise(&after, &known);
                    assert!(differs, "{name}{leaf} changes no decision");
                    open.remove(&format!("spec.{login}{leaf}"));
                }
            }
        }
        assert!(open.is_empty(), "{kind}: neither used nor refused: {open:#?}");
    }
}
