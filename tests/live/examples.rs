//! The examples of deploy/examples, applied as they are printed but for their namespace and the address of the server; the stages reach the
//! counts that their READMEs state.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::beside::exporter;
use crate::gates;
use crate::jobs::jobs;
use crate::lineage::{minutes_ago, post, token};
use crate::presets::filled;
use crate::rig::{
    Authority, Cluster, Documents, ElasticMq, Listener, Mariadb, Postgres, Prometheus, Redis,
    Scaler, shared,
};
use crate::scene::{SOON, Scene};
use crate::strimzi;

/// The manifests of an example, with words of it replaced.
pub(crate) fn manifests(example: &str, replaced: &[(&str, String)]) -> Result<Vec<Value>> {
    let path = format!("{}/deploy/examples/{example}/pipeline.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(&path).context(path)?;
    for (old, new) in replaced {
        anyhow::ensure!(text.contains(old), "{example} does not say {old}");
        text = text.replace(old, new);
    }
    Ok(serde_saphyr::from_multiple(&text)?)
}

/// Applies them on the shared cluster.
pub(crate) async fn apply(scene: &Scene, example: &str, replaced: &[(&str, String)]) -> Result<()> {
    apply_on(shared::cluster().await?, scene, manifests(example, replaced)?).await
}

/// Applies manifests of an example, in the namespace of a scene on this cluster.
pub(crate) async fn apply_on(cluster: &Cluster, scene: &Scene, all: Vec<Value>) -> Result<()> {
    for mut object in all {
        if object["metadata"]["namespace"].is_null() {
            // Of the cluster, as budgets and pools are.
            cluster.apply(&scene.namespace, &object.to_string()).await?;
            continue;
        }
        object["metadata"]["namespace"] = json!(scene.namespace);
        scene.create(object).await?;
    }
    Ok(())
}

async fn secret(scene: &Scene, name: &str, data: Value) -> Result<()> {
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data,
        }))
        .await
}

#[tokio::test]
async fn the_example_of_redis_reaches_its_counts() -> Result<()> {
    let server = Redis::start(&[]).await?;
    let allowed = "~pictures ~resized +llen +type +scard +zcard +hlen +xinfo +role +ping";
    server.tell(&format!("ACL SETUSER penstock on >s3cret {allowed}")).await?;
    server.tell("XGROUP CREATE resized index 0 MKSTREAM").await?;
    for number in 0..120 {
        server.tell(&format!("LPUSH pictures {number}")).await?;
    }
    for _ in 0..40 {
        server.tell("XADD resized * picture p").await?;
    }
    let scene = Scene::open("example-redis").await?;
    secret(&scene, "penstock-redis", json!({"username": "penstock", "password": "s3cret"})).await?;
    for name in ["resize", "index"] {
        scene.deployment(name, 0).await?;
    }
    apply(&scene, "redis", &[("redis.shop:6379", server.address())]).await?;
    assert_eq!(scene.until_moved(("resize", 0, 12), SOON).await?, [12]);
    assert_eq!(scene.until_moved(("index", 0, 2), SOON).await?, [2]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_jobs_makes_as_many_as_it_says() -> Result<()> {
    let server = Postgres::start().await?;
    server
        .tell(
            "CREATE TABLE todo (id bigserial PRIMARY KEY, state text NOT NULL DEFAULT 'waiting');
             CREATE ROLE penstock LOGIN PASSWORD 's3cret';
             GRANT SELECT ON todo TO penstock;
             INSERT INTO todo (id) SELECT n FROM generate_series(1, 12) n",
        )
        .await?;
    let scene = Scene::open("example-jobs").await?;
    secret(&scene, "penstock-db", json!({"username": "penstock", "password": "s3cret"})).await?;
    let replaced = [
        ("host: db.shop", "host: 127.0.0.1".to_owned()),
        ("port: 5432", format!("port: {}", server.port)),
        ("database: shop", "database: postgres".to_owned()),
    ];
    apply(&scene, "jobs", &replaced).await?;
    let names = async || -> Result<Vec<String>> {
        Ok(jobs(&scene).await?.iter().map(ResourceExt::name_any).collect())
    };
    let expected = ["backfill-p1", "backfill-p2", "backfill-p3"];
    scene.until("its Jobs", SOON, async || Ok((names().await? == expected).then_some(()))).await?;
    scene.until_read("nightly", 2).await?;
    assert_eq!(names().await?, expected, "and no more");
    Ok(())
}

#[tokio::test]
async fn the_example_of_postgres_reaches_its_count() -> Result<()> {
    let server = Postgres::start().await?;
    server
        .tell(
            "CREATE TABLE invoices (id bigserial PRIMARY KEY, state text NOT NULL, created timestamptz NOT NULL DEFAULT now());
             CREATE INDEX ON invoices (state, created);
             CREATE ROLE penstock LOGIN PASSWORD 's3cret';
             GRANT SELECT ON invoices TO penstock;
             INSERT INTO invoices (state, created) SELECT 'waiting', now() - n * interval '3 s' FROM generate_series(1, 35) n",
        )
        .await?;
    let scene = Scene::open("example-postgres").await?;
    secret(&scene, "penstock-db", json!({"username": "penstock", "password": "s3cret"})).await?;
    secret(&scene, "db-ca", json!({"ca.crt": server.authority.certificate()})).await?;
    scene.deployment("render", 0).await?;
    let replaced = [
        ("host: db.shop", "host: localhost".to_owned()),
        ("port: 5432", format!("port: {}", server.port)),
        ("database: shop", "database: postgres".to_owned()),
    ];
    apply(&scene, "postgres", &replaced).await?;
    assert_eq!(scene.until_moved(("render", 0, 7), SOON).await?, [7]);
    let stage = scene.stage("invoices").await?;
    assert!(stage.sources.iter().all(|source| source.state == "Fresh"), "{:?}", stage.sources);
    Ok(())
}

#[tokio::test]
async fn the_example_of_mysql_reaches_its_count() -> Result<()> {
    let server = Mariadb::start().await?;
    server
        .tell(
            "CREATE DATABASE ledger; USE ledger; \
             CREATE TABLE refunds (id bigint AUTO_INCREMENT PRIMARY KEY, state varchar(20) NOT NULL, created timestamp NOT NULL DEFAULT now(), INDEX (state, created)); \
             CREATE USER penstock IDENTIFIED BY 's3cret'; \
             GRANT SELECT ON refunds TO penstock; \
             INSERT INTO refunds (state, created) SELECT 'open', now() - INTERVAL seq * 35 SECOND FROM mysql.seq_1_to_18; \
             INSERT INTO refunds (state, created) SELECT 'done', now() - INTERVAL 1 DAY FROM mysql.seq_1_to_50",
        )
        .await?;
    let scene = Scene::open("example-mysql").await?;
    let login = json!({"username": "penstock", "password": "s3cret"});
    secret(&scene, "penstock-ledger", login).await?;
    secret(&scene, "ledger-ca", json!({"ca.crt": server.authority.certificate()})).await?;
    scene.deployment("refund", 0).await?;
    let replaced = [
        ("host: ledger.shop", "host: localhost".to_owned()),
        ("port: 3306", format!("port: {}", server.port)),
    ];
    apply(&scene, "mysql", &replaced).await?;
    assert_eq!(scene.until_moved(("refund", 0, 6), SOON).await?, [6]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_workload_reaches_its_count() -> Result<()> {
    let scene = Scene::open("example-workload").await?;
    for (name, replicas) in [("api", 8), ("worker", 6), ("pgbouncer", 1)] {
        scene.deployment(name, replicas).await?;
    }
    apply(&scene, "workload", &[]).await?;
    // Pods that are still being made may be seen by and by.
    scene.until_moved(("pgbouncer", 1, 3), SOON).await?;
    Ok(())
}

#[tokio::test]
async fn the_example_of_prometheus_reaches_its_count() -> Result<()> {
    let text =
        "clips_waiting{step=\"encode\"} 30\nclips_waiting{step=\"cut\"} 9\nlive_sessions 2\n";
    let (port, _exporter) = exporter(Arc::new(Mutex::new(text.to_owned()))).await?;
    let server = Prometheus::start(port).await?;
    server.scraped("live_sessions").await?;
    let scene = Scene::open("example-prometheus").await?;
    secret(&scene, "penstock-prometheus", json!({"token": "s3cret"})).await?;
    scene.deployment("encode", 0).await?;
    let url = "http://prometheus-operated.monitoring:9090";
    apply(&scene, "prometheus", &[(url, server.url())]).await?;
    assert_eq!(scene.until_moved(("encode", 0, 12), SOON).await?, [12]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_strimzi_reaches_its_count() -> Result<()> {
    let broker = shared::secured_broker().await?;
    strimzi::install(shared::cluster().await?).await?;
    let scene = Scene::open("example-strimzi").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 12).await?;
    broker.send(topic, None, 90).await?;
    let port = broker.port(Listener::MutualTls)?;
    strimzi::kafka(&scene, &[strimzi::listener(("tls", port), true, Some("tls"))]).await?;
    strimzi::told(&scene, &[("tls", &format!("127.0.0.1:{port}"))]).await?;
    secret(&scene, "events-cluster-ca-cert", json!({"ca.crt": broker.authority()})).await?;
    let pair = broker.client_named("penstock")?;
    let data = json!({"user.crt": pair.certificate, "user.key": pair.key});
    secret(&scene, "penstock", data).await?;
    scene.deployment("enrich", 0).await?;
    apply(&scene, "strimzi", &[("topics: [orders]", format!("topics: [{topic}]"))]).await?;
    assert_eq!(scene.until_moved(("enrich", 0, 9), SOON).await?, [9]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_sqs_reaches_its_count() -> Result<()> {
    let server = ElasticMq::start().await?;
    let url = server.queue("uploads", 600).await?;
    server.send(&url, 75, 0).await?;
    assert_eq!(server.receive(&url).await?.len(), 10);
    let scene = Scene::open("example-sqs").await?;
    let login = json!({"access-key-id": "AKID", "secret-access-key": "s3cret"});
    secret(&scene, "penstock-aws", login).await?;
    scene.deployment("scan", 0).await?;
    apply(&scene, "sqs", &[("http://elasticmq.shop:9324", server.url())]).await?;
    assert_eq!(scene.until_moved(("scan", 0, 8), SOON).await?, [8]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_airflow_reaches_its_counts() -> Result<()> {
    let server = Postgres::start().await?;
    filled(&server, "airflow").await?;
    let scene = Scene::open("example-airflow").await?;
    let login = json!({"username": "penstock", "password": "s3cret"});
    secret(&scene, "penstock-airflow", login).await?;
    scene.workload("StatefulSet", "airflow-worker", 1).await?;
    scene.deployment("airflow-worker-heavy", 0).await?;
    let replaced = [
        ("host: airflow-postgresql.airflow", "host: 127.0.0.1".to_owned()),
        ("port: 5432", format!("port: {}", server.port)),
        ("database: airflow", "database: postgres".to_owned()),
    ];
    apply(&scene, "airflow", &replaced).await?;
    assert_eq!(scene.until_moved(("airflow-worker", 1, 2), SOON).await?, [2]);
    assert_eq!(scene.until_moved(("airflow-worker-heavy", 0, 3), SOON).await?, [3]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_dagster_reaches_its_counts() -> Result<()> {
    let server = Postgres::start().await?;
    filled(&server, "dagster").await?;
    let scene = Scene::open("example-dagster").await?;
    let login = json!({"username": "penstock", "password": "s3cret"});
    secret(&scene, "penstock-dagster", login).await?;
    scene.deployment("dagster-celery-workers-dagster", 0).await?;
    scene.deployment("gateway", 1).await?;
    let replaced = [
        ("host: dagster-postgresql.dagster", "host: 127.0.0.1".to_owned()),
        ("port: 5432", format!("port: {}", server.port)),
        ("database: dagster", "database: postgres".to_owned()),
    ];
    apply(&scene, "dagster", &replaced).await?;
    let moves = scene.until_moved(("dagster-celery-workers-dagster", 0, 4), SOON).await?;
    assert_eq!(moves, [4]);
    assert_eq!(scene.until_moved(("gateway", 1, 4), SOON).await?, [4]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_openlineage_reaches_its_count() -> Result<()> {
    let (port, token) = (crate::rig::free_port()?, token()?.display().to_string());
    let place = format!("127.0.0.1:{port}");
    let told = ["--lineage-listen", &place, "--lineage-token-file", &token];
    let scene = Scene::open_with("example-lineage", &told).await?;
    scene.deployment("load", 1).await?;
    apply(&scene, "openlineage", &[]).await?;
    assert_eq!(post(port, "COMPLETE", minutes_ago(25)).await?, 201);
    assert_eq!(scene.until_moved(("load", 1, 3), SOON).await?, [3]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_http_reaches_its_count() -> Result<()> {
    let server = Documents::start().await?;
    // penstock:s3cret
    server.ask_for("Basic cGVuc3RvY2s6czNjcmV0");
    let open = json!({"count": 45, "oldest": minutes_ago(32).to_string()});
    server.put("/api/returns", json!({"open": open}));
    let scene = Scene::open("example-http").await?;
    let login = json!({"username": "penstock", "password": "s3cret"});
    secret(&scene, "penstock-desk", login).await?;
    scene.deployment("inspect", 1).await?;
    apply(&scene, "http", &[("http://desk.shop:8080", server.url())]).await?;
    assert_eq!(scene.until_moved(("inspect", 1, 7), SOON).await?, [7]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_external_reaches_its_count() -> Result<()> {
    let authority = Authority::new("tickets")?;
    let scaler = Scaler::start_with_tls(&authority)?;
    scaler.fill(75.0);
    let scene = Scene::open("example-external").await?;
    let pair = authority.client("penstock", None)?;
    let data = json!({"ca.crt": authority.certificate(), "tls.crt": pair.certificate, "tls.key": pair.key});
    secret(&scene, "penstock-tickets", data).await?;
    scene.deployment("answer", 0).await?;
    apply(&scene, "external", &[("tickets-scaler.shop:6000", scaler.address())]).await?;
    assert_eq!(scene.until_moved(("answer", 0, 8), SOON).await?, [8]);
    Ok(())
}

#[tokio::test]
async fn the_example_of_gates_reaches_its_counts_and_says_why_it_holds() -> Result<()> {
    let (server, checks) = (Redis::start(&[]).await?, Documents::start().await?);
    checks.put("/orders", json!({"failed": 0}));
    let scene = Scene::open("example-gates").await?;
    scene.deployment("publish", 0).await?;
    // Trading hours that hold now, whatever the hour is: they begin each midnight and end once a year.
    let replaced = [
        ("redis.shop:6379", server.address()),
        ("http://checks.shop:8080", checks.url()),
        ("0 8 * * 1-5", "0 0 * * *".to_owned()),
        ("0 20 * * 1-5", "0 0 1 1 *".to_owned()),
    ];
    apply(&scene, "gates", &replaced).await?;
    assert_eq!(scene.until_moved(("publish", 0, 4), SOON).await?, [4]);
    for number in 0..70 {
        server.tell(&format!("LPUSH orders {number}")).await?;
    }
    // A push at a time may be seen half way.
    scene.until_moved(("publish", 0, 7), SOON).await?;
    checks.put("/orders", json!({"failed": 3}));
    let said = gates::until_reason(&scene, "orders", "GateHolds").await?;
    assert_eq!(said, "held by gate quality: value > 0.0, and value is 3");
    for number in 0..50 {
        server.tell(&format!("LPUSH orders {number}")).await?;
    }
    scene
        .until("120 to wait", SOON, async || {
            Ok((scene.stage("orders").await?.lag == Some(120)).then_some(()))
        })
        .await?;
    let before = scene.until_moved(("publish", 0, 7), SOON).await?;
    scene.until_read("orders", 2).await?;
    assert_eq!(scene.moves("publish", 0)?, before, "a gate holds it");
    checks.put("/orders", json!({"failed": 0}));
    let after = scene.until_moved(("publish", 0, 12), SOON).await?;
    assert_eq!(after, [&before[..], &[12]].concat());
    Ok(())
}
