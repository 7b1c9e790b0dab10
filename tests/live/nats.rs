//! NATS, a real one with `JetStream`: what consumers have to do, what it refuses, every way to log in, TLS; a thousand consumers; and a
//! stage that is sized by one.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::Client;
use penstock::observe::nats::{self as source, Login};
use penstock::observe::{Address, Ask as AnyAsk, Credentials};
use serde_json::json;

use crate::rig::nats::{ADMIN, Nats, acknowledge, consumer, publish, send, stream, take};
use crate::rig::{Authority, connections_to, fresh_folder, shared};
use crate::scene::{SOON, Scene};
use crate::watched::{Watched, id, keys};
use crate::workers::{Done, Workers};

fn place(url: String, login: Login) -> Address {
    let tls = url.starts_with("tls://");
    Address::Nats(source::Address { connection: "shop/nats".to_owned(), url, tls, login })
}

fn ask(stream: &str, consumer: &str) -> AnyAsk {
    AnyAsk::Nats(source::Ask { stream: stream.to_owned(), consumer: consumer.to_owned() })
}

fn admin_keys() -> Arc<Credentials> {
    keys(&[("username", ADMIN.0), ("password", ADMIN.1)])
}

/// A user who may ask about consumers of `orders` alone.
const READER: &str = r#"{user: penstock, password: s3cret, permissions: {publish: ["$JS.API.CONSUMER.INFO.orders.*"], subscribe: ["_INBOX.>"]}}"#;

#[tokio::test]
async fn what_consumers_have_to_do_is_read_with_the_least_rights() -> Result<()> {
    let server = Nats::start("", &[READER]).await?;
    let admin = server.client().await?;
    stream(&admin, "orders").await?;
    stream(&admin, "secret").await?;
    consumer(&admin, "orders", "all", json!({})).await?;
    consumer(&admin, "orders", "eu", json!({"filter_subject": "orders.eu"})).await?;
    consumer(&admin, "secret", "all", json!({})).await?;
    send(&admin, "orders.eu", 10).await?;
    send(&admin, "orders.us", 5).await?;
    let taken = take(&admin, "orders", "all", 4).await?;
    ensure!(taken.len() == 4, "{taken:?}");

    let reader = keys(&[("username", "penstock"), ("password", "s3cret")]);
    let url = format!("nats://127.0.0.1:{}", server.port);
    let wanted = |name: &'static str, ask: AnyAsk| {
        (name, place(url.clone(), Login::Password), ask, Arc::clone(&reader))
    };
    let watched = Watched::asking(vec![
        wanted("all", ask("orders", "all")),
        wanted("eu", ask("orders", "eu")),
        wanted("gone", ask("orders", "gone")),
        wanted("secret", ask("secret", "all")),
    ]);
    let before = watched.is("all", 15).await?;
    watched.is("eu", 10).await?;
    let said = watched.lacks("gone", "NotFound").await?;
    ensure!(said.contains("has no consumer gone of stream orders"), "{said}");
    let said = watched.lacks("secret", "AccessDenied").await?;
    ensure!(said.contains("Permissions Violation"), "{said}");

    // Three are done, and seven more come.
    for reply in taken.into_iter().take(3) {
        acknowledge(&admin, reply).await?;
    }
    send(&admin, "orders.us", 7).await?;
    let after = watched.is("all", 19).await?;
    let came = after.arrived.zip(before.arrived).map(|(now, then)| now - then);
    let done = after.served.zip(before.served).map(|(now, then)| now - then);
    ensure!((came, done) == (Some(7), Some(3)), "{before:?} {after:?}");
    watched.is("eu", 10).await?;

    // The stream is emptied: nothing waits but what was taken, and no counter goes back.
    crate::rig::nats::ask(&admin, "STREAM.PURGE.orders", json!({})).await?;
    let emptied = watched.until("all", "less waiting", |queue| queue.backlog <= 1).await?;
    ensure!(after.arrived <= emptied.arrived && after.served <= emptied.served, "{emptied:?}");

    // The consumer is deleted: that is no zero. The server goes, and comes back.
    crate::rig::nats::ask(&admin, "CONSUMER.DELETE.orders.eu", json!({})).await?;
    watched.lacks("eu", "NotFound").await?;
    server.process().kill9();
    watched.lacks("all", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    // Its streams were in memory.
    let said = watched.lacks("all", "NotFound").await?;
    ensure!(said.contains("stream orders"), "{said}");
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn every_way_to_log_in_is_taken_and_a_rotated_password_takes_over() -> Result<()> {
    let authority = Authority::new("nats")?;
    let folder = fresh_folder("nats-tls")?;
    let (certificate, key) = authority.server("nats")?.write(&folder, "server")?;
    fs::write(folder.join("ca.crt"), authority.certificate())?;
    let tls = format!(
        "tls {{cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true}}",
        certificate.display().to_string(),
        key.display().to_string(),
        folder.join("ca.crt").display().to_string()
    );
    // A user's seed and name, as `nk` makes them.
    let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
    let name = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";
    let server = Nats::start("", &[READER, &format!("{{nkey: {name}}}")]).await?;
    let secure = Nats::start(&tls, &[]).await?;
    let admin = server.client().await?;
    stream(&admin, "orders").await?;
    consumer(&admin, "orders", "all", json!({})).await?;
    send(&admin, "orders.eu", 3).await?;
    let url = format!("nats://127.0.0.1:{}", server.port);
    let ours = authority.client("penstock", None)?;
    let ca = authority.certificate();
    let login = [("username", ADMIN.0), ("password", ADMIN.1)];
    let bare = [login.as_slice(), &[("ca", ca.as_str())]].concat();
    let mutual =
        [bare.as_slice(), &[("cert", ours.certificate.as_str()), ("key", &ours.key)]].concat();
    let safe = format!("tls://localhost:{}", secure.port);
    let other = |url: &str, connection: &str, login| {
        let url = url.to_owned();
        let tls = url.starts_with("tls://");
        Address::Nats(source::Address { connection: connection.to_owned(), url, tls, login })
    };
    let watched = Watched::asking(vec![
        (
            "password",
            place(url.clone(), Login::Password),
            ask("orders", "all"),
            reader_of("s3cret"),
        ),
        ("nkey", place(url.clone(), Login::Nkey), ask("orders", "all"), keys(&[("nkey", seed)])),
        ("wrong", other(&url, "a", Login::Password), ask("orders", "all"), reader_of("wrong")),
        ("nobody", place(url.clone(), Login::Nobody), ask("orders", "all"), Arc::default()),
        ("mutual", place(safe.clone(), Login::Password), ask("orders", "all"), keys(&mutual)),
        ("bare", other(&safe, "a", Login::Password), ask("orders", "all"), keys(&bare)),
        ("stranger", other(&safe, "b", Login::Password), ask("orders", "all"), admin_keys()),
    ]);
    watched.is("password", 3).await?;
    watched.is("nkey", 3).await?;
    for name in ["wrong", "nobody"] {
        let said = watched.lacks(name, "AuthenticationFailed").await?;
        ensure!(!said.contains("s3cret"), "{said}");
    }
    // Behind TLS nobody has made the stream.
    let said = watched.lacks("mutual", "NotFound").await?;
    ensure!(said.contains("stream orders"), "{said}");
    watched.lacks("bare", "TlsFailed").await?;
    watched.lacks("stranger", "TlsFailed").await?;
    watched.observe.shutdown().await;
    Ok(())
}

/// The reader with this password.
fn reader_of(password: &str) -> Arc<Credentials> {
    keys(&[("username", "penstock"), ("password", password)])
}

#[tokio::test]
async fn a_thousand_consumers_are_read_in_one_poll_on_one_connection() -> Result<()> {
    let server = Nats::start("", &[READER]).await?;
    let admin = server.client().await?;
    stream(&admin, "orders").await?;
    let names: Vec<String> = (0..1000).map(|number| format!("c{number}")).collect();
    for name in &names {
        consumer(&admin, "orders", name, json!({})).await?;
    }
    send(&admin, "orders.eu", 2).await?;
    let url = format!("nats://127.0.0.1:{}", server.port);
    let wanted = names.iter().map(|name| {
        (
            name.as_str(),
            place(url.clone(), Login::Password),
            ask("orders", name),
            reader_of("s3cret"),
        )
    });
    let watched = Watched::asking(wanted.collect());
    for name in &names {
        watched.is(name, 2).await?;
    }
    let polls = watched.observe.polls(&id("c0")).context("no polls")?;
    // One is the admin's.
    let open = connections_to(server.port, std::process::id())? - 1;
    println!("nats: 1,000 consumers in {:?} on {open} connections", polls.took);
    ensure!(open == 1, "{open} connections");
    watched.observe.shutdown().await;
    Ok(())
}

/// What a worker of a consumer does: 10 messages a second.
async fn work(server: Arc<Nats>, consumer: &str, done: Done) -> Result<()> {
    let client = server.client().await?;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        for reply in take(&client, "orders", consumer, 1).await? {
            acknowledge(&client, reply).await?;
            done.add(1);
        }
    }
}

/// A server with the stream and a scene that may log in to it.
async fn opened(name: &str) -> Result<(Arc<Nats>, Client, Scene)> {
    let server = Arc::new(Nats::start("", &[READER]).await?);
    let admin = server.client().await?;
    stream(&admin, "orders").await?;
    let scene = Scene::open(name).await?;
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nats-penstock"},
            "stringData": {"username": "penstock", "password": "s3cret"},
        }))
        .await?;
    Ok((server, admin, scene))
}

/// The example as printed, with this server's address.
fn example(server: &Nats) -> String {
    let text = include_str!("../../deploy/examples/nats/pipeline.yaml");
    assert!(text.contains("nats://nats:4222 "));
    text.replace("nats://nats:4222 ", &format!("nats://127.0.0.1:{} ", server.port))
}

#[tokio::test]
async fn the_example_goes_from_0_to_the_6_that_its_readme_states() -> Result<()> {
    let (server, admin, scene) = opened("nats").await?;
    consumer(&admin, "orders", "enrich", json!({})).await?;
    scene.deployment("enrich", 0).await?;
    shared::cluster().await?.apply(&scene.namespace, &example(&server)).await?;
    scene.after_a_poll("orders").await?;
    let hands = Arc::clone(&server);
    let crew = Workers::hire(&scene, "enrich", move |done| {
        let hands = Arc::clone(&hands);
        async move { work(hands, "enrich", done).await }
    });
    publish(&admin, "orders.eu", 120).await?;
    assert_eq!(scene.until_moved(("enrich", 0, 6), SOON).await?, [6]);
    crew.until_done(&scene, 120).await?;
    scene.until_empty("orders").await
}

#[tokio::test]
async fn a_promise_sizes_a_stage_by_a_consumer_with_a_filter() -> Result<()> {
    let (server, admin, scene) = opened("promise").await?;
    consumer(&admin, "orders", "eu", json!({"filter_subject": "orders.eu"})).await?;
    scene.deployment("worker", 0).await?;
    let key = |key: &str| json!({"name": "nats-penstock", "key": key});
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "nats"},
            "spec": {"nats": {
                "url": format!("nats://127.0.0.1:{}", server.port),
                "usernameSecretRef": key("username"), "passwordSecretRef": key("password"),
            }},
        }))
        .await?;
    // 400 items, 10 a second each, within 30 s.
    let source = json!({"connectionRef": {"name": "nats"}, "stream": "orders", "consumer": "eu"});
    scene
        .pipeline("promised", json!({
            "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20}, "objective": {"maxDelay": "30s"},
            "ratePerReplica": 10, "sources": [{"name": "todo", "nats": source}],
        }))
        .await?;
    let hands = Arc::clone(&server);
    let crew = Workers::hire(&scene, "worker", move |done| {
        let hands = Arc::clone(&hands);
        async move { work(hands, "eu", done).await }
    });
    scene.after_a_poll("promised").await?;
    // What the filter holds back is not this stage's.
    publish(&admin, "orders.us", 1000).await?;
    scene.until_read("promised", 2).await?;
    assert_eq!(scene.moves("worker", 0)?, [0_u32; 0]);
    publish(&admin, "orders.eu", 400).await?;
    let moves = scene.until_any_move("worker", 0).await?;
    ensure!((2..=12).contains(&moves[0]), "{moves:?}");
    crew.until_done(&scene, 400).await?;
    scene.until_empty("promised").await
}
