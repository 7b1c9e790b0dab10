//! Scenarios of a Kafka cluster of Strimzi's that is looked up: a real broker behind the objects that Strimzi writes, which this test
//! writes in its place. Certificates, users, listeners and addresses change; nothing is restarted but the broker.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use penstock::demo::traffic::Work;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rig::{Authority, Broker, BrokerOptions, Cluster, Kafka, Listener, USER, shared};
use crate::scene::{SOON, Scene};

/// The Kafka object and the Secrets are read again every 30 s; then a poll and a visit.
const FOLLOWED: Duration = Duration::from_secs(30 + 2 + 3);
/// A reading comes every 2 s; where none has for so long it counts as old.
const LOST: Duration = Duration::from_secs(10);

pub(crate) async fn install(cluster: &Cluster) -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    cluster.define(&root.join("tests/data/strimzi/kafka.crd.yaml")).await
}

/// A listener as it is asked for: its name, what it lets in by, and whether it speaks TLS.
pub(crate) fn listener((name, port): (&str, u16), tls: bool, way: Option<&str>) -> Value {
    let mut listener = json!({"name": name, "port": port, "type": "internal", "tls": tls});
    if let Some(way) = way {
        listener["authentication"] = json!({"type": way});
    }
    listener
}

/// The Kafka object with its listeners; the address of each is another write, as the operator's is.
pub(crate) async fn kafka(scene: &Scene, listeners: &[Value]) -> Result<()> {
    scene
        .create(json!({
            "apiVersion": "kafka.strimzi.io/v1", "kind": "Kafka", "metadata": {"name": "events"},
            "spec": {"kafka": {"version": "4.1.0", "listeners": listeners}},
        }))
        .await
}

/// What the operator says of its listeners: names and addresses.
pub(crate) async fn told(scene: &Scene, listeners: &[(&str, &str)]) -> Result<()> {
    let kind = GroupVersionKind::gvk("kafka.strimzi.io", "v1", "Kafka");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> =
        Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource);
    let listeners: Vec<_> = listeners
        .iter()
        .map(|(name, address)| json!({"name": name, "bootstrapServers": address}))
        .collect();
    let status = json!({"status": {"clusterId": "c", "listeners": listeners}});
    api.patch_status("events", &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

pub(crate) fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// The Secret of a KafkaUser with authentication `tls`. Its `ca.crt` is that of clients, which no broker shows.
fn user(name: &str, broker: &Broker) -> Result<Value> {
    let pair = broker.client_named(name)?;
    let other = Authority::new("clients-ca")?.certificate();
    let data = json!({"user.crt": pair.certificate, "user.key": pair.key, "ca.crt": other, "user.password": "of the p12"});
    Ok(secret("reader", &data))
}

fn connection(listener: Option<&str>, user: Option<&str>) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "events"},
        "spec": {"kafka": {"strimzi": {"cluster": "events", "listener": listener, "user": user}}},
    })
}

fn stage(topic: &str) -> Value {
    let kafka = json!({
        "connectionRef": {"name": "events"}, "topics": [topic], "group": topic, "offsetReset": "Earliest",
        "perReplica": 10,
    });
    json!({
        "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20},
        "sources": [{"name": "queue", "kafka": kafka}],
    })
}

/// Watches the readings until the broker has served somebody; an error if one was lost on the way.
async fn served(scene: &Scene, broker: &Broker, principal: &str) -> Result<()> {
    let waits = || anyhow::Ok(scene.daemon.process().log()?.matches("AwaitingData").count());
    let waited = waits()?;
    let (mut last, mut at) = (None, Instant::now());
    let mut longest = Duration::ZERO;
    scene
        .until(&format!("{principal} to be served"), FOLLOWED + SOON, async || {
            let source = scene.stage("orders").await?.sources.remove(0);
            anyhow::ensure!(source.state == "Fresh", "the source is {}", source.state);
            if source.at != last {
                (last, at) = (source.at, Instant::now());
            }
            longest = longest.max(at.elapsed());
            Ok(broker.has_served(principal)?.then_some(()))
        })
        .await?;
    anyhow::ensure!(longest < LOST, "a poll was lost: no reading for {longest:?}");
    anyhow::ensure!(waits()? == waited, "the question was taken back for a while");
    Ok(())
}

#[tokio::test]
async fn certificates_listeners_and_addresses_are_followed_without_losing_a_poll() -> Result<()> {
    let options = BrokerOptions { secured: true, request_log: true, ..BrokerOptions::default() };
    let mut broker = Broker::start(Kafka::V4_1, options).await?;
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    let scene = Scene::open("strimzi").await?;
    let topic = &scene.namespace.clone();
    broker.topic(topic, 8).await?;
    scene.deployment("worker", 0).await?;
    let crew = scene.consume(&broker, "worker", Work::on(topic, topic, 10.0))?;
    let producer = crew.producer(topic)?;
    producer.add(80);
    let (mutual, scram) = (broker.port(Listener::MutualTls)?, broker.port(Listener::SaslTls)?);
    let ways = [
        listener(("tls", mutual), true, Some("tls")),
        listener(("scram", scram), true, Some("scram-sha-512")),
    ];
    kafka(&scene, &ways).await?;
    let (mutual_at, scram_at) = (format!("127.0.0.1:{mutual}"), format!("127.0.0.1:{scram}"));
    told(&scene, &[("tls", &mutual_at), ("scram", &scram_at)]).await?;
    let authority = |now: &str, before: Option<&str>| {
        secret(
            "events-cluster-ca-cert",
            &json!({"ca.crt": now, "ca-2026-01-01T00-00-00Z.crt": before.unwrap_or(now)}),
        )
    };
    scene.create(authority(&broker.authority(), None)).await?;
    scene.create(user("reader", &broker)?).await?;
    scene.create(secret(USER.0, &json!({"password": USER.1, "sasl.jaas.config": "x"}))).await?;
    scene.create(connection(Some("tls"), Some("reader"))).await?;
    scene.pipeline_unread("orders", stage(topic)).await?;
    assert_eq!(scene.until_moved(("worker", 0, 8), SOON).await?, [8]);
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;
    assert!(broker.has_served("User:CN=reader")?);

    // The user's certificate is renewed.
    assert!(!broker.has_served("User:CN=renewed")?);
    scene.change(user("renewed", &broker)?).await?;
    served(&scene, &broker, "User:CN=renewed").await?;

    // Another listener, another way to log in.
    scene.change(connection(Some("scram"), Some(USER.0))).await?;
    served(&scene, &broker, &format!("User:{}", USER.0)).await?;

    // The authority is replaced: for a while both stand in its Secret, and the broker is restarted with a certificate of the new one.
    let new = Authority::new("replaced")?;
    let both = authority(&new.certificate(), Some(&broker.authority()));
    scene.change(both).await?;
    broker.recertify(new).await?;
    scene.until_condition("orders", ("Ready", "True", "Serving"), FOLLOWED + SOON).await?;
    producer.add(80);
    scene.until_done(&crew, 160).await?;
    scene
        .until("a fresh reading", SOON, async || {
            let source = scene.stage("orders").await?.sources.remove(0);
            Ok((source.state == "Fresh").then_some(()))
        })
        .await?;

    // The listener moves; when nobody answers any more, the new address is the one that is named.
    let moved = format!("localhost:{scram}");
    told(&scene, &[("scram", &moved)]).await?;
    tokio::time::sleep(FOLLOWED).await;
    broker.process().stop().await?;
    let words = format!("no broker of {moved} can be reached");
    scene
        .until(&words, SOON, async || {
            let source = scene.stage("orders").await?.sources.remove(0);
            Ok(source.message.is_some_and(|said| said.contains(&words)).then_some(()))
        })
        .await?;
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_strimzi_does_not_have_ready_is_named_and_found_once_it_is_there() -> Result<()> {
    let broker = shared::secured_broker().await?;
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    let scene = Scene::as_user("unready", rights()).await?;
    let topic = &scene.namespace;
    broker.topic(topic, 3).await?;
    broker.send(topic, None, 30).await?;
    scene.deployment("worker", 0).await?;
    scene.create(connection(Some("tls"), Some("reader"))).await?;
    scene.pipeline_unread("orders", stage(topic)).await?;
    let refused = async |reason: &str, words: &str| {
        scene
            .until(&format!("Ready=False {reason} with {words:?}"), SOON, async || {
                let found = scene.condition("orders", "Ready").await?;
                let found = found.context("there is no condition yet")?;
                let said = &found.message;
                let is_it = found.status == "False" && found.reason == reason;
                anyhow::ensure!(
                    is_it && said.contains(words) && said.contains("hint:"),
                    "{found:?}"
                );
                Ok(Some(()))
            })
            .await
    };
    let namespace = &scene.namespace;
    let cluster_name = format!("Kafka {namespace}/events");
    refused("KafkaForbidden", &format!("may not get {cluster_name}")).await?;
    // The right to get that one object is enough.
    let right = [rule("kafka.strimzi.io", &["kafkas"], &["get"], Some("events"))];
    cluster.allow(&format!("{namespace}-kafka"), namespace, right.to_vec()).await?;
    refused("KafkaNotFound", &format!("there is no {cluster_name}")).await?;

    let port = broker.port(Listener::MutualTls)?;
    let ways = [
        listener(("tls", port), true, Some("tls")),
        listener(("own", 9_999), true, Some("custom")),
        listener(("plain", 9_998), false, None),
    ];
    kafka(&scene, &ways).await?;
    refused("SecretNotFound", "of KafkaUser reader").await?;
    let pair = broker.client_pair();
    let data = json!({"user.crt": pair.certificate, "user.key": pair.key});
    scene.create(secret("reader", &json!({"username": "x"}))).await?;
    refused("SecretKeyNotFound", "neither user.crt and user.key nor password").await?;
    scene.change(secret("reader", &data)).await?;
    refused("ListenerNotReady", &format!("listener tls of {cluster_name} has no address yet"))
        .await?;
    for (name, user, reason, words) in [
        ("tsl", Some("reader"), "ListenerNotFound", "has no listener tsl, but tls, own, plain"),
        ("tls", None, "ListenerMismatch", "no user is given"),
        ("own", Some("reader"), "AuthenticationNotSupported", "by custom"),
        ("plain", Some("reader"), "ListenerMismatch", "asks nobody who he is"),
    ] {
        scene.change(connection(Some(name), user)).await?;
        refused(reason, words).await?;
    }
    scene.change(connection(None, Some("reader"))).await?;
    refused("ListenerNotReady", "listener tls").await?;
    told(&scene, &[("tls", &format!("127.0.0.1:{port}"))]).await?;
    refused("SecretNotFound", "events-cluster-ca-cert").await?;
    scene.create(secret("events-cluster-ca-cert", &json!({"ca.crt": broker.authority()}))).await?;
    assert_eq!(scene.until_moved(("worker", 0, 3), FOLLOWED + SOON).await?, [3]);
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;
    Ok(())
}

fn rule(group: &str, resources: &[&str], verbs: &[&str], name: Option<&str>) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        resource_names: name.map(|name| vec![name.to_owned()]),
        ..PolicyRule::default()
    }
}

/// What the chart gives the daemon, and the Secrets of every name, but nothing of Strimzi's.
fn rights() -> Vec<PolicyRule> {
    let seen = ["get", "list", "watch"];
    vec![
        rule(
            "penstock.dev",
            &["scaledpipelines", "connections", "clusterconnections"],
            &seen,
            None,
        ),
        rule("penstock.dev", &["scaledpipelines/status"], &["patch"], None),
        rule("", &["pods", "namespaces"], &seen, None),
        rule("", &["secrets"], &["get"], None),
        rule("autoscaling", &["horizontalpodautoscalers"], &seen, None),
        rule("apps", &["deployments"], &seen, None),
        rule("apps", &["deployments/scale"], &["get", "patch"], None),
        rule("events.k8s.io", &["events"], &["create", "patch"], None),
        rule("coordination.k8s.io", &["leases"], &["get", "create", "update"], None),
    ]
}
