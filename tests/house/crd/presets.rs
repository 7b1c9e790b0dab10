//! The presets: what they ask of whom, and what cannot be asked.

use penstock::crd::meaning::{Fault, Meaning};
use penstock::observe::{Address, Ask};
use serde_json::{Value, json};

use super::{Around, PIPELINE, read, with};

fn connection(kind: &str, login: &Value) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection",
        "metadata": {"name": "db", "namespace": "shop"}, "spec": {kind: login},
    })
}

fn database() -> Value {
    json!({"host": "db", "database": "airflow", "usernameSecretRef": {"name": "s", "key": "u"}})
}

fn meant(preset: &str, source: &Value, around: &Value) -> Result<Meaning, Vec<Fault>> {
    let mut source = json!({"name": "tasks", preset: source});
    if preset != "lineage" {
        source[preset]["connectionRef"] = json!({"name": "db"});
    }
    let written = with(PIPELINE, &[("/spec/stages/0/sources/0", source)]);
    read(&written, &Around::with(std::slice::from_ref(around)))
}

fn query(meaning: &Meaning) -> &str {
    let Ask::Sql(ask) = &meaning.questions[0].ask else { panic!("no query") };
    &ask.query
}

#[test]
fn airflow_is_asked_by_queue_or_pool_with_its_own_worker_concurrency() {
    let postgres = connection("postgres", &database());
    let meaning = meant("airflow", &json!({"queue": "heavy"}), &postgres).unwrap();
    assert!(query(&meaning).ends_with(" AND queue = 'heavy'"), "{}", query(&meaning));
    assert!(matches!(meaning.questions[0].address, Address::Sql(_)));
    assert_eq!(meaning.pipeline.stages[0].sources[0].per_replica, Some(16.0));
    let meaning = meant("airflow", &json!({"perReplica": 4}), &postgres).unwrap();
    assert!(!query(&meaning).contains("queue ="), "{}", query(&meaning));
    assert_eq!(meaning.pipeline.stages[0].sources[0].per_replica, Some(4.0));
    let mysql = connection("mysql", &database());
    let meaning = meant("airflow", &json!({"pool": "imports"}), &mysql).unwrap();
    assert!(query(&meaning).ends_with("FROM slot_pool p WHERE p.pool = 'imports'"));
}

#[test]
fn a_pool_of_airflow_is_also_asked_over_rest_and_a_queue_is_not() {
    let rest = connection("http", &json!({"url": "http://airflow:8080"}));
    let meaning = meant("airflow", &json!({"pool": "a b"}), &rest).unwrap();
    let Ask::Http(ask) = &meaning.questions[0].ask else { panic!("no document") };
    assert_eq!((&*ask.path, &*ask.json_path), ("/api/v2/pools/a%20b", "$.occupied_slots"));
    let secret = json!({"name": "s", "key": "k"});
    let login = json!({"url": "http://airflow:8080", "usernameSecretRef": secret, "passwordSecretRef": secret});
    let meaning =
        meant("airflow", &json!({"pool": "imports"}), &connection("http", &login)).unwrap();
    let Ask::Http(ask) = &meaning.questions[0].ask else { panic!("no document") };
    assert_eq!(&*ask.path, "/api/v1/pools/imports", "Airflow 3 takes no password");
    let meaning = meant("airflow", &json!({"queue": "heavy"}), &rest).unwrap();
    let (_, fault) = &meaning.unanswerable[0];
    assert!(fault.message.contains("a queue wants its database"), "{fault}");
    let redis = connection("redis", &json!({"addresses": ["r:1"]}));
    let meaning = meant("airflow", &json!({}), &redis).unwrap();
    assert!(meaning.unanswerable[0].1.message.contains("postgres, mysql or http"));
}

#[test]
fn dagster_is_asked_for_runs_or_the_steps_of_a_pool() {
    let postgres = connection("postgres", &database());
    let meaning = meant("dagster", &json!({}), &postgres).unwrap();
    assert!(query(&meaning).starts_with("SELECT count(*) FROM runs WHERE status IN ('QUEUED', "));
    assert_eq!(meaning.pipeline.stages[0].sources[0].per_replica, None);
    let meaning = meant("dagster", &json!({"pool": "api", "perReplica": 2}), &postgres).unwrap();
    assert!(query(&meaning).ends_with("l.concurrency_key = 'api'"), "{}", query(&meaning));
    let mysql = connection("mysql", &database());
    let meaning = meant("dagster", &json!({}), &mysql).unwrap();
    assert_eq!(meaning.unanswerable.len(), 1);
}

#[test]
fn a_name_that_would_end_a_quotation_is_refused() {
    let postgres = connection("postgres", &database());
    for (preset, field) in [("airflow", "queue"), ("airflow", "pool"), ("dagster", "pool")] {
        for name in ["a' OR '1'='1", "a\\", "a\nb"] {
            let faults = meant(preset, &json!({field: name}), &postgres).unwrap_err();
            assert!(faults[0].path.ends_with(&format!("{preset}.{field}")), "{faults:?}");
        }
    }
    let faults = meant("airflow", &json!({"queue": "a", "pool": "b"}), &postgres).unwrap_err();
    assert!(faults[0].message.contains("at most one of queue, pool"), "{faults:?}");
}

#[test]
fn an_age_is_compared_with_the_objective_unless_a_threshold_is_written() {
    let around = connection("http", &json!({"url": "http://x"}));
    let source = |more: Value| {
        let mut source = json!({"namespace": "s3://lake", "dataset": "orders"});
        for (name, value) in more.as_object().unwrap() {
            source[name] = value.clone();
        }
        let meaning = meant("lineage", &source, &around).unwrap();
        let source = &meaning.pipeline.stages[0].sources[0];
        (source.per_replica, source.activation)
    };
    // The pipeline promises 60 s.
    assert_eq!(source(json!({})), (Some(60.0), 60.0));
    assert_eq!(source(json!({"perReplica": 600})), (Some(600.0), 600.0));
}
