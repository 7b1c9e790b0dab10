//! The presets on a real PostgreSQL whose tables are those of Airflow and Dagster, as their own migrations make them, and on a double of Airflow's
//! REST API: what counts, and what an unknown name is.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use penstock::crd::Connection;
use penstock::crd::meaning::{self, Surroundings};
use penstock::observe::Credentials;
use serde_json::{Value, json};

use crate::beside::{Asked, Watched, keys};
use crate::rig::{Documents, Postgres};

/// The tables of `preset`, filled so that each kind of row that counts and that does not is there.
pub(crate) async fn filled(server: &Postgres, preset: &str) -> Result<()> {
    let path = format!("{}/tests/data/presets/{preset}.sql", env!("CARGO_MANIFEST_DIR"));
    server.tell(&std::fs::read_to_string(&path).context(path)?).await?;
    let rows = match preset {
        "airflow" => AIRFLOW,
        _ => DAGSTER,
    };
    server.tell(rows).await
}

/// Tasks: 12 running and 8 queued of `default`, 5 of `heavy`, and many that wait for nobody or run elsewhere.
const AIRFLOW: &str = "
    CREATE ROLE penstock LOGIN PASSWORD 's3cret';
    GRANT SELECT ON task_instance, slot_pool TO penstock;
    INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('default_pool', 128, false), ('imports', 8, false), ('slow', 8, true), ('idle', 8, false);
    CREATE FUNCTION tasks(number int, state text, queue text, pool text, executor text) RETURNS void LANGUAGE sql AS $$
      INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, state, try_number, pool, pool_slots, queue, executor)
      SELECT gen_random_uuid(), concat_ws('-', state, queue, pool, executor), 'dag', 'run', n, state, 1, pool, 2, queue, executor
      FROM generate_series(1, number) n
    $$;
    SELECT tasks(12, 'running', 'default', 'default_pool', NULL), tasks(7, 'queued', 'default', 'default_pool', NULL),
      tasks(1, 'restarting', 'default', 'default_pool', 'CeleryExecutor'), tasks(2, 'running', 'heavy', 'imports', NULL),
      tasks(3, 'queued', 'heavy', 'imports', 'CeleryExecutor'), tasks(50, 'queued', 'default', 'default_pool', 'KubernetesExecutor'),
      tasks(9, 'running', 'heavy', 'slow', 'airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor'),
      tasks(4, 'deferred', 'heavy', 'slow', NULL), tasks(6, 'deferred', 'heavy', 'imports', NULL),
      tasks(30, 'scheduled', 'default', 'default_pool', NULL), tasks(40, 'success', 'default', 'default_pool', NULL),
      tasks(5, 'up_for_retry', 'heavy', 'imports', NULL), tasks(5, 'failed', 'heavy', 'imports', NULL)";

/// Runs: 9 queued and 5 in progress. Steps of `api`: 2 with a slot and 5 that wait.
const DAGSTER: &str = "
    CREATE ROLE penstock LOGIN PASSWORD 's3cret';
    GRANT SELECT ON runs, pending_steps, concurrency_limits TO penstock;
    INSERT INTO runs (run_id, status)
      SELECT status || n, status FROM (VALUES ('QUEUED', 9), ('STARTING', 1), ('STARTED', 3), ('CANCELING', 1), ('NOT_STARTED', 4),
        ('SUCCESS', 50), ('FAILURE', 7), ('CANCELED', 2), ('MANAGED', 1)) AS many (status, number), generate_series(1, number) n;
    INSERT INTO concurrency_limits (concurrency_key, \"limit\") VALUES ('api', 2), ('idle', 2);
    INSERT INTO concurrency_slots (concurrency_key, run_id, step_key, deleted) VALUES ('api', 'r', 's1', false), ('api', 'r', 's2', false);
    INSERT INTO pending_steps (concurrency_key, run_id, step_key, assigned_timestamp)
      SELECT 'api', 'r', 's' || n, CASE WHEN n <= 2 THEN now() END FROM generate_series(1, 7) n;
    INSERT INTO pending_steps (concurrency_key, run_id, step_key) VALUES ('other', 'r', 's')";

/// Around one Connection.
struct Around(Arc<Connection>);

impl Surroundings for Around {
    fn connection(&self, _: &str, _: &str) -> Option<Arc<Connection>> {
        Some(Arc::clone(&self.0))
    }

    fn cluster_connection(&self, _: &str) -> Option<Arc<penstock::crd::ClusterConnection>> {
        None
    }

    fn namespace_labels(&self, _: &str) -> Option<BTreeMap<String, String>> {
        None
    }

    fn may_lend_secrets_of(&self, _: &str) -> bool {
        false
    }
}

/// The question that a source of this kind puts to a database as user penstock.
fn question<'a>(name: &'a str, port: u16, kind: &str, source: &Value) -> Result<Asked<'a>> {
    let place = json!({"postgres": {
        "host": "127.0.0.1", "port": port, "database": "postgres", "usernameSecretRef": secret(),
        "passwordSecretRef": secret(),
    }});
    let login = keys(&[("username", "penstock"), ("password", "s3cret")]);
    question_to(name, &place, login, (kind, source))
}

fn secret() -> Value {
    json!({"name": "s", "key": "k"})
}

/// The question that a source of this kind puts through a connection of this spec, with what its Secrets hold.
fn question_to<'a>(
    name: &'a str,
    connection: &Value,
    login: Arc<Credentials>,
    (kind, source): (&str, &Value),
) -> Result<Asked<'a>> {
    let around = Around(Arc::new(serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection",
        "metadata": {"name": "db", "namespace": "shop"}, "spec": connection,
    }))?));
    let mut source = source.clone();
    source["connectionRef"] = json!({"name": "db"});
    let written = serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"stages": [{
            "name": "s", "target": {"name": "t"}, "replicas": {"max": 9},
            "sources": [{"name": "q", kind: source}],
        }]},
    }))?;
    let meaning =
        meaning::read(&written, &around).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let draft = meaning.questions.into_iter().next().context("no question")?;
    Ok((name, draft.address, draft.ask, login))
}

#[tokio::test]
async fn airflow_tells_what_its_celery_workers_and_pools_have_to_do() -> Result<()> {
    let server = Postgres::start().await?;
    filled(&server, "airflow").await?;
    let ask = |name, source: Value| question(name, server.port, "airflow", &source);
    let watched = Watched::asking(vec![
        ask("default", json!({"queue": "default"}))?,
        ask("heavy", json!({"queue": "heavy"}))?,
        ask("all", json!({}))?,
        ask("misspelled", json!({"queue": "haevy"}))?,
        ask("imports", json!({"pool": "imports"}))?,
        ask("slow", json!({"pool": "slow"}))?,
        ask("idle", json!({"pool": "idle"}))?,
        ask("nowhere", json!({"pool": "nowhere"}))?,
    ]);
    for (name, count) in [
        ("default", 20.0),
        ("heavy", 5.0),
        ("all", 25.0),
        ("misspelled", 0.0),
        // Two slots each.
        ("imports", 10.0),
        ("slow", 26.0),
        ("idle", 0.0),
    ] {
        watched.is(name, count).await.context(name)?;
    }
    watched.lacks("nowhere", "EmptyAnswer").await?;
    server.tell("UPDATE task_instance SET state = 'success' WHERE queue = 'heavy'").await?;
    watched.is("heavy", 0.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

/// What Airflow says of a pool, in both versions of its REST API.
fn pool(name: &str, occupied: u32) -> Value {
    json!({
        "name": name, "slots": 16, "description": null, "include_deferred": false, "occupied_slots": occupied,
        "running_slots": occupied, "queued_slots": 0, "scheduled_slots": 3, "deferred_slots": 2, "open_slots": 16 - occupied,
    })
}

#[tokio::test]
async fn airflow_tells_what_its_pools_hold_over_rest_by_token_or_by_password() -> Result<()> {
    let (third, second) = (Documents::start().await?, Documents::start().await?);
    third.ask_for("Bearer t0ken");
    // penstock:s3cret
    second.ask_for("Basic cGVuc3RvY2s6czNjcmV0");
    third.put("/api/v2/pools/imports%20eu", pool("imports eu", 10));
    second.put("/api/v1/pools/imports", pool("imports", 7));
    let by_token = json!({"http": {"url": third.url(), "tokenSecretRef": secret()}});
    let by_name = json!({"http": {
        "url": second.url(), "usernameSecretRef": secret(), "passwordSecretRef": secret(),
    }});
    let name = || keys(&[("username", "penstock"), ("password", "s3cret")]);
    let ask = |who, place: &Value, login, pool: &str| {
        question_to(who, place, login, ("airflow", &json!({"pool": pool})))
    };
    let watched = Watched::asking(vec![
        ask("third", &by_token, keys(&[("token", "t0ken")]), "imports eu")?,
        ask("nowhere", &by_token, keys(&[("token", "t0ken")]), "exports")?,
    ]);
    watched.is("third", 10.0).await?;
    watched.lacks("nowhere", "NotFound").await?;
    // A token that has ended: what was read is old, and no zero.
    third.ask_for("Bearer n3xt");
    watched.lacks("third", "AuthenticationFailed").await?;
    watched.ask(vec![ask("second", &by_name, name(), "imports")?]);
    watched.is("second", 7.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn dagster_tells_its_runs_and_the_steps_of_a_pool() -> Result<()> {
    let server = Postgres::start().await?;
    filled(&server, "dagster").await?;
    let ask = |name, source: Value| question(name, server.port, "dagster", &source);
    let watched = Watched::asking(vec![
        ask("runs", json!({}))?,
        ask("api", json!({"pool": "api"}))?,
        ask("idle", json!({"pool": "idle"}))?,
        ask("nowhere", json!({"pool": "nowhere"}))?,
    ]);
    watched.is("runs", 14.0).await?;
    watched.is("api", 7.0).await?;
    watched.is("idle", 0.0).await?;
    watched.lacks("nowhere", "EmptyAnswer").await?;
    // A queue that has just been emptied still has its runs in progress.
    server.tell("UPDATE runs SET status = 'STARTED' WHERE status = 'QUEUED'").await?;
    watched.is("runs", 14.0).await?;
    server.tell("UPDATE runs SET status = 'SUCCESS'; DELETE FROM pending_steps").await?;
    watched.is("runs", 0.0).await?;
    watched.is("api", 0.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}
