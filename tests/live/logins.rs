//! Scenarios of logging in through a Connection: every listener of Kafka, a wrong password that is named, and Secrets that are rotated, of Kafka, Redis
//! and MySQL.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::demo::traffic::Work;
use serde_json::{Value, json};

use crate::rig::{Broker, Listener, Mariadb, Redis, USER, shared};
use crate::scene::{SOON, Scene};

/// Secrets are read again every 30 s; then a poll and a visit.
const ROTATION: Duration = Duration::from_secs(30 + 2 + 3);

#[tokio::test]
async fn every_listener_is_read_through_a_connection() -> Result<()> {
    let broker = shared::secured_broker().await?;
    let scene = Scene::open("logins").await?;
    scene.create(login_secret(USER.1)).await?;
    scene.create(certificates(broker)).await?;
    let ways = [
        ("tls", Listener::Tls, json!({"tls": authority()})),
        ("mutual", Listener::MutualTls, json!({"tls": with_certificate()})),
        ("scram256", Listener::Sasl, json!({"sasl": sasl("SCRAM-SHA-256")})),
        ("scram512", Listener::Sasl, json!({"sasl": sasl("SCRAM-SHA-512")})),
        ("plain", Listener::SaslTls, json!({"tls": authority(), "sasl": sasl("PLAIN")})),
        ("both", Listener::SaslTls, json!({"tls": authority(), "sasl": sasl("SCRAM-SHA-512")})),
    ];
    for (items, (name, listener, login)) in (1..).zip(ways) {
        let topic = &format!("{}-{name}", scene.namespace);
        broker.topic(topic, 2).await?;
        broker.send(topic, None, items).await?;
        scene.deployment(name, 0).await?;
        connect(&scene, broker, (name, listener), login).await?;
        scene.pipeline(name, stage(name, topic)).await?;
        let lag = scene.stage(name).await?.lag;
        assert_eq!(lag, Some(u64::try_from(items)?), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_counts_within_30_s() -> Result<()> {
    let broker = shared::secured_broker().await?;
    let scene = Scene::open("rotated").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 8).await?;
    scene.create(login_secret("guessed")).await?;
    scene.create(certificates(broker)).await?;
    scene.deployment("worker", 0).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 10.0))?;
    let producer = crew.producer(topic)?;
    producer.add(80);
    let login = json!({"tls": authority(), "sasl": sasl("SCRAM-SHA-512")});
    connect(&scene, broker, ("events", Listener::SaslTls), login).await?;
    scene.pipeline_unread("orders", stage_of("worker", "events", topic)).await?;
    let refused = ("Ready", "False", "AuthenticationFailed");
    let said = scene.until_condition("orders", refused, SOON).await?;
    let address = broker.address(Listener::SaslTls)?;
    assert!(said.contains(&format!("{address} refuses the login")), "{said}");
    assert!(!said.contains("guessed"), "{said}");
    assert_eq!(scene.moves("worker", 0)?, [0_u32; 0]);

    scene.change(login_secret(USER.1)).await?;
    assert_eq!(scene.until_moved(("worker", 0, 8), ROTATION).await?, [8]);
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;
    scene.until_done(&crew, 80).await?;
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_rotated_password_that_is_refused_is_told_while_the_former_one_serves_and_mended_is_forgotten()
-> Result<()> {
    let broker = shared::secured_broker().await?;
    let scene = Scene::open("replaced").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 8).await?;
    scene.create(login_secret(USER.1)).await?;
    scene.create(certificates(broker)).await?;
    scene.deployment("worker", 0).await?;
    let login = json!({"tls": authority(), "sasl": sasl("SCRAM-SHA-512")});
    connect(&scene, broker, ("events", Listener::SaslTls), login).await?;
    scene.pipeline("orders", stage_of("worker", "events", topic)).await?;
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;

    scene.change(login_secret("guessed")).await?;
    let refused = ("Ready", "True", "CredentialsRefused");
    let said = scene.until_condition("orders", refused, ROTATION + SOON).await?;
    let address = broker.address(Listener::SaslTls)?;
    for words in [
        "work/queue only by its former credentials",
        "not in use since",
        "refuses the login",
        &address,
    ] {
        assert!(said.contains(words), "{words:?} is not in {said:?}");
    }
    assert!(!said.contains("guessed"), "{said}");
    let source = scene.stage("orders").await?.sources.remove(0);
    assert_eq!(source.state, "Fresh");
    assert_eq!(source.refusal.context("no word on the page")?.code, "AuthenticationFailed");
    // Readings and decisions go on.
    broker.send(topic, None, 80).await?;
    assert_eq!(scene.until_moved(("worker", 0, 8), SOON).await?, [8]);

    scene.change(login_secret(USER.1)).await?;
    scene.until_condition("orders", ("Ready", "True", "Serving"), ROTATION + SOON).await?;
    assert_eq!(scene.stage("orders").await?.sources[0].refusal, None);
    Ok(())
}

#[tokio::test]
async fn another_login_of_a_redis_and_of_a_mysql_takes_over_within_30_s_and_no_poll_is_lost()
-> Result<()> {
    let (redis, mysql) = (Redis::start(&[]).await?, Mariadb::start().await?);
    for user in ["former", "present"] {
        redis.tell(&format!("ACL SETUSER {user} on >{user} ~* +@read +@connection")).await?;
        mysql.tell(&format!("CREATE USER {user} IDENTIFIED BY '{user}'")).await?;
    }
    mysql.tell("CREATE DATABASE shop; GRANT SELECT ON shop.* TO former, present").await?;
    redis.tell("RPUSH todo a b c").await?;
    let scene = Scene::open("rotation").await?;
    scene.create(login_of("former", "former")).await?;
    let key = |key: &str| json!({"name": "login", "key": key});
    let login = |mut server: Value| {
        server["usernameSecretRef"] = key("user");
        server["passwordSecretRef"] = key("password");
        server
    };
    let redis_at = login(json!({"addresses": [redis.address()]}));
    let mysql_at = login(json!({"host": "127.0.0.1", "port": mysql.port, "database": "shop"}));
    connection(&scene, "list", json!({"redis": redis_at})).await?;
    connection(&scene, "table", json!({"mysql": mysql_at})).await?;
    // The query tells as whom it is asked.
    let query = "SELECT CASE WHEN user() LIKE 'present@%' THEN 7 ELSE 3 END";
    for (name, mut source) in [
        ("list", json!({"redis": {"connectionRef": {"name": "list"}, "list": "todo"}})),
        ("table", json!({"mysql": {"connectionRef": {"name": "table"}, "query": query}})),
    ] {
        scene.deployment(name, 0).await?;
        source["name"] = json!("queue");
        source["pollInterval"] = json!("1s");
        let stage = json!({
            "mode": "Observe", "target": {"name": name}, "replicas": {"min": 0, "max": 20}, "sources": [source],
        });
        scene.pipeline(name, stage).await?;
        assert_eq!(scene.stage(name).await?.lag, Some(3), "{name}");
    }

    scene.change(login_of("present", "present")).await?;
    let states = Mutex::new(BTreeSet::new());
    scene
        .until("the present login alone to be in use", ROTATION, async || {
            for name in ["list", "table"] {
                let source = scene.stage(name).await?.sources.remove(0);
                states.lock().unwrap().insert(source.state);
            }
            let clients = format!("{:?}", redis.tell("CLIENT LIST").await?);
            let is_by_redis = clients.contains("user=present") && !clients.contains("user=former");
            let lag = scene.stage("table").await?.lag;
            anyhow::ensure!(is_by_redis && lag == Some(7), "{lag:?}, {clients}");
            Ok(Some(()))
        })
        .await?;
    assert_eq!(states.into_inner().unwrap(), BTreeSet::from(["Fresh".to_owned()]));
    Ok(())
}

/// Makes the Connection of this name to a listener of the broker.
async fn connect(
    scene: &Scene,
    broker: &Broker,
    (name, listener): (&str, Listener),
    mut kafka: Value,
) -> Result<()> {
    kafka["bootstrapServers"] = json!(broker.address(listener)?);
    connection(scene, name, json!({"kafka": kafka})).await
}

async fn connection(scene: &Scene, name: &str, spec: Value) -> Result<()> {
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection",
            "metadata": {"name": name}, "spec": spec,
        }))
        .await
}

/// A stage whose target and Connection have one name.
fn stage(name: &str, topic: &str) -> Value {
    let mut stage = stage_of(name, name, topic);
    stage["mode"] = json!("Observe");
    stage
}

fn stage_of(target: &str, connection: &str, topic: &str) -> Value {
    let kafka = json!({
        "connectionRef": {"name": connection}, "topics": [topic], "group": topic,
        "offsetReset": "Earliest", "perReplica": 10,
    });
    json!({
        "target": {"name": target}, "replicas": {"min": 0, "max": 20},
        "sources": [{"name": "queue", "kafka": kafka}],
    })
}

fn login_secret(password: &str) -> Value {
    login_of(USER.0, password)
}

fn login_of(user: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"user": user, "password": password},
    })
}

fn certificates(broker: &Broker) -> Value {
    let pair = broker.client_pair();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certificates"},
        "stringData": {"ca.crt": broker.authority(), "user.crt": pair.certificate, "user.key": pair.key},
    })
}

fn authority() -> Value {
    json!({"caSecretRef": {"name": "certificates", "key": "ca.crt"}})
}

fn with_certificate() -> Value {
    let key = |key| json!({"name": "certificates", "key": key});
    json!({"caSecretRef": key("ca.crt"), "certSecretRef": key("user.crt"), "keySecretRef": key("user.key")})
}

fn sasl(mechanism: &str) -> Value {
    let key = |key| json!({"name": "login", "key": key});
    json!({"mechanism": mechanism, "usernameSecretRef": key("user"), "passwordSecretRef": key("password")})
}
