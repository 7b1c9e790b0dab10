//! RabbitMQ, a real one: asked by its management API and by AMQP, of classic and quorum queues, in other virtual hosts, by TLS and with
//! certificates; a thousand queues; and a stage that is sized by one.

use std::sync::Arc;
use std::time::Duration;

use amqprs::channel::{BasicAckArguments, BasicGetArguments};
use anyhow::{Context, Result, ensure};
use penstock::decide::Queue;
use penstock::observe::rabbitmq::{self, Ask};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask as AnyAsk, Credentials};
use serde_json::{Value, json};

use crate::rig::rabbitmq::{ADMIN, READER, RabbitMq};
use crate::rig::{connections_to, shared, until};
use crate::scene::{SOON, Scene};
use crate::watched::{Watched, id, keys};
use crate::workers::{Done, Workers};

fn management(server: &RabbitMq) -> Address {
    Address::RabbitMq(rabbitmq::Address::Management(web::Address {
        connection: "shop/mq".to_owned(),
        url: format!("http://127.0.0.1:{}", server.management),
        headers: Vec::new(),
        login: Login::Basic,
    }))
}

fn amqp(port: u16, tls: bool, login: bool) -> Address {
    let host = if tls { format!("localhost:{port}") } else { format!("127.0.0.1:{port}") };
    Address::RabbitMq(rabbitmq::Address::Amqp {
        connection: "shop/mq".to_owned(),
        host,
        tls,
        login,
    })
}

fn ask(vhost: &str, queue: &str) -> AnyAsk {
    AnyAsk::RabbitMq(Ask {
        vhost: vhost.to_owned(),
        queue: queue.to_owned(),
        exclude_unacked: false,
    })
}

fn ready(queue: &str) -> AnyAsk {
    AnyAsk::RabbitMq(Ask { vhost: "/".to_owned(), queue: queue.to_owned(), exclude_unacked: true })
}

fn reader() -> Arc<Credentials> {
    keys(&[("username", READER.0), ("password", READER.1)])
}

#[tokio::test]
async fn queues_of_all_kinds_are_read_by_both_ways() -> Result<()> {
    let server = RabbitMq::start().await?;
    server.put("/api/vhosts/shop%2Feu", json!({})).await?;
    server
        .put(
            &format!("/api/permissions/shop%2Feu/{}", ADMIN.0),
            json!({"configure": ".*", "write": ".*", "read": ".*"}),
        )
        .await?;
    server.put("/api/vhosts/closed", json!({})).await?;
    server.allow("shop%2Feu").await?;
    for (vhost, queue, kind) in [
        ("/", "jobs", "classic"),
        ("/", "a.b (ü)|*", "classic"),
        ("/", "safe", "quorum"),
        ("/", "log", "stream"),
        ("shop/eu", "jobs", "classic"),
    ] {
        server.queue(vhost, queue, kind).await?;
    }
    server.send("/", "jobs", 10).await?;
    server.send("/", "a.b (ü)|*", 3).await?;
    server.send("/", "safe", 4).await?;
    server.send("shop/eu", "jobs", 5).await?;
    // Two are delivered and not acknowledged, one is done.
    let (connection, channel) = server.channel("/").await?;
    let mut tags = Vec::new();
    for _ in 0..3 {
        let got = channel.basic_get(BasicGetArguments::new("jobs")).await?.context("no message")?;
        tags.push(got.0.delivery_tag());
    }
    channel.basic_ack(BasicAckArguments::new(tags[0], false)).await?;

    let by_web = |name: &'static str, ask: AnyAsk| (name, management(&server), ask, reader());
    let by_amqp =
        |name: &'static str, ask: AnyAsk| (name, amqp(server.amqp, false, true), ask, reader());
    let watched = Watched::asking(vec![
        by_web("jobs", ask("/", "jobs")),
        by_web("ready", ready("jobs")),
        by_web("odd", ask("/", "a.b (ü)|*")),
        by_web("safe", ask("/", "safe")),
        by_web("shop", ask("shop/eu", "jobs")),
        by_web("log", ask("/", "log")),
        by_web("gone", ask("/", "gone")),
        by_web("nowhere", ask("nowhere", "jobs")),
        by_web("closed", ask("closed", "jobs")),
        by_amqp("amqp jobs", ready("jobs")),
        by_amqp("amqp odd", ready("a.b (ü)|*")),
        by_amqp("amqp safe", ready("safe")),
        by_amqp("amqp shop", ask("shop/eu", "jobs")),
        by_amqp("amqp gone", ready("gone")),
        by_amqp("amqp nowhere", ask("nowhere", "jobs")),
        by_amqp("amqp closed", ask("closed", "jobs")),
    ]);
    watched.is("jobs", 9).await?;
    for (name, backlog) in [
        ("ready", 7),
        ("odd", 3),
        ("safe", 4),
        ("shop", 5),
        ("amqp jobs", 7),
        ("amqp odd", 3),
        ("amqp safe", 4),
        ("amqp shop", 5),
    ] {
        watched.is(name, backlog).await?;
    }
    for (name, label, sentence) in [
        ("log", "QueryRefused", "queue log is a stream"),
        ("gone", "NotFound", "has no queue gone"),
        ("nowhere", "NotFound", "has no virtual host nowhere"),
        ("closed", "AuthenticationFailed", "status 401"),
        ("amqp gone", "NotFound", "has no queue gone"),
        ("amqp nowhere", "NotFound", "has no virtual host nowhere"),
        ("amqp closed", "AccessDenied", "denies access to virtual host closed"),
    ] {
        let said = watched.lacks(name, label).await?;
        ensure!(said.contains(sentence), "{name}: {said}");
    }

    // What comes and is done is counted, to the item.
    // The server tells each counter and the depth a while after they moved, and each at its own time.
    let told =
        |queue: &Queue, came, done| (queue.arrived, queue.served) == (Some(came), Some(done));
    watched.until("jobs", "10 come and 1 done", |queue| told(queue, 10, 1)).await?;
    server.send("/", "jobs", 20).await?;
    channel.basic_ack(BasicAckArguments::new(tags[2], true)).await?;
    let moved = |queue: &Queue| told(queue, 30, 3) && queue.backlog == 27;
    watched.until("jobs", "20 more come and 2 more done", moved).await?;

    // Deleted, it is no zero; the server goes and comes back.
    server.delete("/api/queues/%2F/safe").await?;
    watched.lacks("safe", "NotFound").await?;
    watched.lacks("amqp safe", "NotFound").await?;
    connection.close().await?;
    server.process().kill9();
    watched.lacks("jobs", "Unreachable").await?;
    watched.lacks("amqp jobs", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    // It keeps its queues, and these messages not.
    watched.is("jobs", 0).await?;
    watched.is("amqp jobs", 0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn logins_by_password_and_certificate_are_told_apart_and_rotated() -> Result<()> {
    let server = RabbitMq::start().await?;
    server.queue("/", "jobs", "classic").await?;
    let ours = server.authority.client("penstock", None)?;
    let ca = server.authority.certificate();
    let mutual = || {
        let pairs = [("ca", ca.as_str()), ("cert", &ours.certificate), ("key", &ours.key)];
        [pairs.as_slice(), &[("username", READER.0), ("password", READER.1)]].concat()
    };
    let secure = Address::RabbitMq(rabbitmq::Address::Management(web::Address {
        connection: "shop/mq".to_owned(),
        url: format!("https://localhost:{}", server.management_tls),
        headers: Vec::new(),
        login: Login::Basic,
    }));
    let bare = keys(&[("ca", &ca), ("username", READER.0), ("password", READER.1)]);
    let wrong = keys(&[("username", READER.0), ("password", "wrong")]);
    let other = |address: Address, connection: &str| match address {
        Address::RabbitMq(rabbitmq::Address::Management(mut web)) => {
            web.connection = connection.to_owned();
            Address::RabbitMq(rabbitmq::Address::Management(web))
        }
        Address::RabbitMq(rabbitmq::Address::Amqp { host, tls, login, .. }) => {
            let connection = connection.to_owned();
            Address::RabbitMq(rabbitmq::Address::Amqp { connection, host, tls, login })
        }
        other => other,
    };
    let asked = |password: &str| {
        let rotated = keys(&[("username", READER.0), ("password", password)]);
        vec![
            ("web", management(&server), ask("/", "jobs"), Arc::clone(&rotated)),
            ("amqp", amqp(server.amqp, false, true), ready("jobs"), rotated),
            ("web mutual", secure.clone(), ask("/", "jobs"), keys(&mutual())),
            ("amqp mutual", amqp(server.amqps, true, true), ready("jobs"), keys(&mutual())),
            ("web bare", other(secure.clone(), "a"), ask("/", "jobs"), Arc::clone(&bare)),
            (
                "amqp bare",
                other(amqp(server.amqps, true, true), "a"),
                ready("jobs"),
                Arc::clone(&bare),
            ),
            ("web wrong", other(management(&server), "b"), ask("/", "jobs"), Arc::clone(&wrong)),
            (
                "amqp wrong",
                other(amqp(server.amqp, false, true), "b"),
                ready("jobs"),
                Arc::clone(&wrong),
            ),
        ]
    };
    let watched = Watched::asking(asked(READER.1));
    for name in ["web", "amqp", "web mutual", "amqp mutual"] {
        watched.is(name, 0).await?;
    }
    watched.lacks("web bare", "TlsFailed").await?;
    watched.lacks("amqp bare", "TlsFailed").await?;
    for name in ["web wrong", "amqp wrong"] {
        let said = watched.lacks(name, "AuthenticationFailed").await?;
        ensure!(!said.contains(READER.1), "{said}");
    }
    // A password is rotated: first in the Secret, then at the server.
    watched.ask(asked("r0tated"));
    until("the new login to be refused", SOON, async || {
        let refused = ["web", "amqp"].map(|name| watched.observe.refusal(&id(name)).is_some());
        Ok((refused == [true, true]).then_some(()))
    })
    .await?;
    watched.is("web", 0).await?;
    watched.is("amqp", 0).await?;
    let user = json!({"password": "r0tated", "tags": "monitoring"});
    server.put(&format!("/api/users/{}", READER.0), user).await?;
    until("the new login to take over", SOON, async || {
        let refused = ["web", "amqp"].map(|name| watched.observe.refusal(&id(name)).is_some());
        Ok((refused == [false, false]).then_some(()))
    })
    .await?;
    server.send("/", "jobs", 2).await?;
    watched.is("web", 2).await?;
    watched.is("amqp", 2).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_thousand_queues_are_read_in_one_poll_on_at_most_four_connections() -> Result<()> {
    let server = RabbitMq::start().await?;
    let (connection, channel) = server.channel("/").await?;
    for number in 0..1000 {
        let mut declare = amqprs::channel::QueueDeclareArguments::durable_client_named(&format!(
            "orders.{number}"
        ));
        declare.no_wait(number % 100 != 99);
        channel.queue_declare(declare).await?;
    }
    server.send("/", "orders.999", 3).await?;
    let names: Vec<String> = (0..1000).map(|number| format!("orders.{number}")).collect();
    for (way, address, port) in [
        ("web", management(&server), server.management),
        ("amqp", amqp(server.amqp, false, true), server.amqp),
    ] {
        let wanted =
            names.iter().map(|name| (name.as_str(), address.clone(), ready(name), reader()));
        let watched = Watched::asking(wanted.collect());
        watched.is("orders.999", 3).await?;
        // A server that has just started may not answer all of them at the first poll.
        until("all to be fresh at once", SOON, async || {
            let is_fresh = |name: &&String| {
                watched.observe.latest(&id(name)).is_some_and(|seen| seen.is_fresh())
            };
            let missing = names.iter().find(|name| !is_fresh(name));
            ensure!(missing.is_none(), "{missing:?} is not");
            Ok(Some(()))
        })
        .await?;
        let polls = watched.observe.polls(&id("orders.0")).context("no polls")?;
        let open = connections_to(port, std::process::id())?;
        println!("{way}: 1,000 queues in {:?} on {open} connections", polls.took);
        // The admin has one by AMQP.
        ensure!(open <= 4 + usize::from(way == "amqp"), "{way}: {open} connections");
        watched.observe.shutdown().await;
    }
    connection.close().await?;
    Ok(())
}

/// What a worker of a queue does: 10 items a second.
async fn work(server: Arc<RabbitMq>, queue: &str, done: Done) -> Result<()> {
    let (_connection, channel) = server.channel("/").await?;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        if let Some(got) = channel.basic_get(BasicGetArguments::new(queue)).await? {
            channel.basic_ack(BasicAckArguments::new(got.0.delivery_tag(), false)).await?;
            done.add(1);
        }
    }
}

/// The example as printed, with this server's address.
fn example(url: &str) -> String {
    let text = include_str!("../../deploy/examples/rabbitmq/pipeline.yaml");
    assert!(text.contains("http://rabbitmq:15672 "));
    text.replace("http://rabbitmq:15672 ", &format!("{url} "))
}

async fn secret(scene: &Scene) -> Result<()> {
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rabbitmq-penstock"},
            "stringData": {"username": READER.0, "password": READER.1},
        }))
        .await
}

#[tokio::test]
async fn the_example_goes_from_0_to_the_6_that_its_readme_states() -> Result<()> {
    let server = Arc::new(RabbitMq::start().await?);
    server.queue("/", "thumbnails", "classic").await?;
    let scene = Scene::open("rabbit").await?;
    secret(&scene).await?;
    scene.deployment("resize", 0).await?;
    let manifest = example(&format!("http://127.0.0.1:{}", server.management));
    shared::cluster().await?.apply(&scene.namespace, &manifest).await?;
    scene.after_a_poll("thumbnails").await?;
    let hands = Arc::clone(&server);
    let crew = Workers::hire(&scene, "resize", move |done| {
        let hands = Arc::clone(&hands);
        async move { work(hands, "thumbnails", done).await }
    });
    server.send("/", "thumbnails", 120).await?;
    assert_eq!(scene.until_moved(("resize", 0, 6), SOON).await?, [6]);
    crew.until_done(&scene, 120).await?;
    scene.until_empty("thumbnails").await
}

#[tokio::test]
async fn a_promise_over_the_management_api_and_a_threshold_over_amqp_size_their_stages()
-> Result<()> {
    let server = Arc::new(RabbitMq::start().await?);
    let scene = Scene::open("promise").await?;
    secret(&scene).await?;
    let key = |key: &str| json!({"name": "rabbitmq-penstock", "key": key});
    for (name, url) in [
        ("web", format!("http://127.0.0.1:{}", server.management)),
        ("amqp", format!("amqp://127.0.0.1:{}", server.amqp)),
    ] {
        scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": name},
                "spec": {"rabbitmq": {
                    "url": url, "usernameSecretRef": key("username"), "passwordSecretRef": key("password"),
                }},
            }))
            .await?;
    }
    let source = |connection: &str, queue: &str, more: Value| {
        let mut source = json!({"connectionRef": {"name": connection}, "queue": queue});
        source
            .as_object_mut()
            .into_iter()
            .for_each(|it| it.extend(more.as_object().cloned().unwrap_or_default()));
        json!([{"name": "todo", "rabbitmq": source}])
    };
    for queue in ["promised", "counted"] {
        server.queue("/", queue, "quorum").await?;
        scene.deployment(queue, 0).await?;
    }
    scene
        .pipeline(
            "counted",
            json!({
                "target": {"name": "counted"}, "replicas": {"min": 0, "max": 20},
                "sources": source("amqp", "counted", json!({"perReplica": 20})),
            }),
        )
        .await?;
    // 400 items, 10 a second each, within 30 s.
    scene
        .pipeline("promised", json!({
            "target": {"name": "promised"}, "replicas": {"min": 0, "max": 20}, "objective": {"maxDelay": "30s"},
            "ratePerReplica": 10, "sources": source("web", "promised", json!({})),
        }))
        .await?;
    let crews = ["promised", "counted"].map(|queue| {
        let server = Arc::clone(&server);
        Workers::hire(&scene, queue, move |done| {
            let server = Arc::clone(&server);
            async move { work(server, queue, done).await }
        })
    });
    server.send("/", "counted", 120).await?;
    scene.until_moved(("counted", 0, 6), SOON).await?;
    server.send("/", "promised", 400).await?;
    let moves = scene.until_any_move("promised", 0).await?;
    // In 30 s one replica does 300 at most, and some of that time is spent on starting.
    ensure!((2..=12).contains(&moves[0]), "{moves:?}");
    crews[1].until_done(&scene, 120).await?;
    crews[0].until_done(&scene, 400).await?;
    scene.until_empty("promised").await?;
    scene.until_empty("counted").await
}
