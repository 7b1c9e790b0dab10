//! Scenarios of logging in to Kafka through a Connection: every listener, a wrong password that is named, a Secret that is rotated.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock::demo::traffic::Work;
use serde_json::{Value, json};

use crate::rig::{Broker, Listener, USER, shared};
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

/// Makes the Connection of this name.
async fn connect(
    scene: &Scene,
    broker: &Broker,
    (name, listener): (&str, Listener),
    mut kafka: Value,
) -> Result<()> {
    kafka["bootstrapServers"] = json!(broker.address(listener)?);
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection",
            "metadata": {"name": name}, "spec": {"kafka": kafka},
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
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"user": USER.0, "password": password},
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
