//! The sources beside Kafka, asked of real servers: what waits is seen, what is gone is no zero, and what comes back is found again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use penstock::clock::Clock;
use penstock::decide::{Observation, QuestionId, Value};
use penstock::observe::prometheus::{Gives, OnEmpty};
use penstock::observe::redis::{self, Mode};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, Credentials, Observe, Question, Unit, prometheus};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::rig::{
    Authority, Prometheus, Redis, connections_to, free_port, fresh_folder, http_get, serve, until,
};

pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Questions of a test, and their answers.
pub(crate) struct Watched {
    pub(crate) observe: Observe,
    wakes: mpsc::UnboundedReceiver<Vec<QuestionId>>,
}

pub(crate) fn id(name: &str) -> QuestionId {
    QuestionId(format!("shop/orders/stage/{name}").into())
}

/// The name of a question, where it goes, what it asks and as whom.
pub(crate) type Asked<'a> = (&'a str, Address, Ask, Arc<Credentials>);

pub(crate) fn keys(pairs: &[(&'static str, &str)]) -> Arc<Credentials> {
    let mut keys = Credentials::default();
    for (usage, text) in pairs {
        keys.put(usage, text.as_bytes().to_vec());
    }
    Arc::new(keys)
}

impl Watched {
    pub(crate) fn asking(asks: Vec<Asked<'_>>) -> Self {
        let (wake, wakes) = mpsc::unbounded_channel();
        let watched = Self { observe: Observe::start(Clock::start(), wake), wakes };
        watched.ask(asks);
        watched
    }

    /// Asks these from now on, and nothing else.
    pub(crate) fn ask(&self, asks: Vec<Asked<'_>>) {
        let question = |(name, address, ask, credentials): Asked<'_>| Question {
            id: id(name),
            poll_interval: Duration::from_secs(1),
            address,
            credentials,
            ask,
        };
        self.observe.ask(asks.into_iter().map(question).collect());
    }

    /// Waits for the next visit.
    pub(crate) async fn visited(&mut self) -> Result<Vec<QuestionId>> {
        let visit = tokio::time::timeout(SOON, self.wakes.recv()).await;
        visit.context("nobody visits")?.context("the visits have ended")
    }

    pub(crate) async fn is(&self, name: &str, wished: f64) -> Result<()> {
        let what = format!("{name} to be {wished}");
        until(&what, SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let Observation::Fresh(reading) = &seen else { anyhow::bail!("{seen:?}") };
            let amount = match &reading.value {
                Value::Gauge(number) | Value::Age(number) => *number,
                Value::Queue(queue) => f64::from(u32::try_from(queue.backlog)?),
                Value::Each(_) => anyhow::bail!("it is not one number: {seen:?}"),
            };
            ensure!((amount - wished).abs() < 1e-9, "{amount}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits for this word, and tells the whole sentence.
    pub(crate) async fn lacks(&self, name: &str, label: &str) -> Result<String> {
        until(&format!("{name} to be {label}"), SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let (Observation::Failed(missing) | Observation::Stale(_, missing)) = &seen else {
                anyhow::bail!("{seen:?}")
            };
            ensure!(&*missing.label == label, "{}: {}", missing.label, missing.message);
            Ok(Some(missing.message.to_string()))
        })
        .await
    }
}

/// An exporter that says what it is told to.
pub(crate) async fn exporter(said: Arc<Mutex<String>>) -> Result<(u16, JoinSet<()>)> {
    let answer = get(move || async move { said.lock().unwrap().clone() });
    serve(Router::new().route("/metrics", answer)).await
}

#[tokio::test]
async fn prometheus_is_read_and_what_it_does_not_know_is_no_zero() -> Result<()> {
    let text =
        "jobs_waiting{queue=\"a\"} 7\njobs_waiting{queue=\"b\"} 5\njobs_odd NaN\njobs_far +Inf\n";
    let said = Arc::new(Mutex::new(text.to_owned()));
    let (port, tasks) = exporter(Arc::clone(&said)).await?;
    let server = Prometheus::start(port).await?;
    let address = || {
        Address::Prometheus(web::Address {
            connection: "shop/prom".to_owned(),
            url: server.url(),
            headers: Vec::new(),
            login: Login::Nobody,
        })
    };
    let ask = |name: &'static str, query: &str, on_empty| {
        let query = query.to_owned();
        let gives = Gives::One(Unit::Gauge);
        let ask = Ask::Prometheus(prometheus::Ask { query, on_empty, gives });
        (name, address(), ask, Arc::default())
    };
    let watched = Watched::asking(vec![
        ask("sum", "sum(jobs_waiting)", OnEmpty::Error),
        ask("one", "jobs_waiting{queue=\"a\"}", OnEmpty::Error),
        ask("scalar", "scalar(jobs_waiting{queue=\"b\"}) * 2", OnEmpty::Error),
        ask("many", "jobs_waiting", OnEmpty::Error),
        ask("none", "jobs_unknown", OnEmpty::Error),
        ask("zero", "jobs_unknown", OnEmpty::Zero),
        ask("odd", "jobs_odd", OnEmpty::Zero),
        ask("far", "jobs_far", OnEmpty::Zero),
        ask("range", "jobs_waiting[1m]", OnEmpty::Error),
        ask("wrong", "sum(", OnEmpty::Error),
    ]);
    watched.is("sum", 12.0).await?;
    watched.is("one", 7.0).await?;
    watched.is("scalar", 10.0).await?;
    watched.is("zero", 0.0).await?;
    watched.lacks("many", "ManyValues").await?;
    watched.lacks("none", "EmptyAnswer").await?;
    watched.lacks("odd", "BadValue").await?;
    watched.lacks("far", "BadValue").await?;
    watched.lacks("range", "QueryRefused").await?;
    let words = watched.lacks("wrong", "QueryRefused").await?;
    ensure!(words.contains("parse error"), "{words}");
    *said.lock().unwrap() = "jobs_waiting{queue=\"a\"} 3\n".to_owned();
    watched.is("sum", 3.0).await?;
    // The exporter goes: its series end, and that is no zero.
    drop(tasks);
    watched.lacks("sum", "EmptyAnswer").await?;
    // The server goes and comes back.
    server.process().kill9();
    watched.lacks("zero", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    watched.is("zero", 0.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

/// How many connections a Prometheus has ever taken, by its own count; this question is one of them.
async fn accepted(server: &Prometheus) -> Result<u64> {
    let (_, said) = http_get(server.port(), "/metrics").await?;
    let name = "net_conntrack_listener_conn_accepted_total{listener_name=\"http\"} ";
    let count = said.lines().find_map(|line| line.strip_prefix(name)).context("it counts none")?;
    Ok(count.trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_queries_of_one_prometheus_are_answered_in_one_poll_over_four_connections_at_most()
-> Result<()> {
    let text: String = (0..1000)
        .map(|number| format!("jobs_waiting{{queue=\"q{number}\"}} {number}\n"))
        .collect::<Vec<_>>()
        .concat();
    let (port, _exporter) = exporter(Arc::new(Mutex::new(text))).await?;
    let server = Prometheus::start(port).await?;
    server.scraped("jobs_waiting").await?;
    let names: Vec<String> = (0..1000).map(|number| format!("q{number}")).collect();
    // Every other one is a plain metric, of which the sample's age is asked, too.
    let query = |(number, name): (usize, &String)| match number % 2 {
        0 => format!("sum(jobs_waiting{{queue=\"{name}\"}})"),
        _ => format!("jobs_waiting{{queue=\"{name}\"}}"),
    };
    let asks = names.iter().enumerate().map(|(number, name)| {
        let query = query((number, name));
        let gives = Gives::One(Unit::Gauge);
        let ask = prometheus::Ask { query, on_empty: OnEmpty::Error, gives };
        let address = Address::Prometheus(web::Address {
            connection: "shop/prom".to_owned(),
            url: server.url(),
            headers: Vec::new(),
            login: Login::Nobody,
        });
        (name.as_str(), address, Ask::Prometheus(ask), Arc::default())
    });
    let before = accepted(&server).await?;
    let mut watched = Watched::asking(asks.collect());
    ensure!(watched.visited().await?.len() == 1000);
    // On a machine that is busy elsewhere the first visit may end before all were asked.
    until("all to be answered in one poll", SOON, async || {
        for (number, name) in names.iter().enumerate() {
            let seen = watched.observe.latest(&id(name)).context("nobody has answered")?;
            let Observation::Fresh(reading) = &seen else { anyhow::bail!("{name}: {seen:?}") };
            let expected = Value::Gauge(f64::from(u32::try_from(number)?));
            ensure!(reading.value == expected, "{name}: {seen:?}");
        }
        Ok(Some(()))
    })
    .await?;
    let took = watched.observe.polls(&id("q0")).context("no polls")?.took;
    // Three visits more open none.
    for _ in 0..3 {
        watched.visited().await?;
    }
    let open = connections_to(server.port(), std::process::id())?;
    let ever = accepted(&server).await? - before - 1;
    eprintln!("1,000 queries: {took:?}; {open} connections open, {ever} ever made");
    ensure!((1..=4).contains(&ever), "{ever} connections were made, {open} are open");
    watched.observe.shutdown().await;
    Ok(())
}

fn place(addresses: Vec<String>, mode: Mode) -> Address {
    Address::Redis(redis::Address {
        connection: "shop/redis".to_owned(),
        addresses,
        mode,
        database: 0,
        tls: false,
    })
}

fn list(key: &str) -> Ask {
    Ask::Redis(redis::Ask::List(key.to_owned()))
}

#[tokio::test]
async fn lists_and_streams_of_a_redis_are_read_under_an_acl() -> Result<()> {
    let server = Redis::start(&[]).await?;
    server.tell("ACL SETUSER penstock on >s3cret ~* +@read +@connection").await?;
    server.tell("RPUSH todo a b c").await?;
    server.tell("ZADD later 1 a 2 b").await?;
    server.tell("SET text x").await?;
    for _ in 0..10 {
        server.tell("XADD orders * k v").await?;
    }
    server.tell("XGROUP CREATE orders enrich 0").await?;
    server.tell("XREADGROUP GROUP enrich one COUNT 4 STREAMS orders >").await?;
    let keys = keys(&[("username", "penstock"), ("password", "s3cret")]);
    let group = |stream: &str, group: &str| {
        let (stream, group) = (stream.to_owned(), group.to_owned());
        Ask::Redis(redis::Ask::Group { stream, group })
    };
    let ask = |name: &'static str, ask: Ask| {
        (name, place(vec![server.address()], Mode::Alone), ask, Arc::clone(&keys))
    };
    let watched = Watched::asking(vec![
        ask("list", list("todo")),
        ask("sorted", list("later")),
        ask("empty", list("nothing")),
        ask("text", list("text")),
        ask("stream", Ask::Redis(redis::Ask::Stream("orders".to_owned()))),
        ask("group", group("orders", "enrich")),
        ask("nogroup", group("orders", "other")),
        ask("nostream", group("nothing", "enrich")),
    ]);
    watched.is("list", 3.0).await?;
    watched.is("sorted", 2.0).await?;
    watched.is("empty", 0.0).await?;
    watched.is("stream", 10.0).await?;
    watched.is("group", 10.0).await?;
    watched.lacks("text", "QueryRefused").await?;
    watched.lacks("nogroup", "NotFound").await?;
    watched.lacks("nostream", "NotFound").await?;
    let seen = watched.observe.latest(&id("group")).context("gone")?;
    let Value::Queue(queue) = &seen.reading().context("gone")?.value else {
        anyhow::bail!("{seen:?}")
    };
    ensure!((queue.arrived, queue.served) == (Some(10), Some(0)), "{queue:?}");
    server.tell("ACL SETUSER penstock resetpass >other").await?;
    server.tell("CLIENT KILL USER penstock").await?;
    let words = watched.lacks("list", "AuthenticationFailed").await?;
    ensure!(!words.contains("s3cret"), "{words}");
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_redis_behind_sentinels_is_found_again_after_a_failover() -> Result<()> {
    let first = Redis::start(&[]).await?;
    let second = Redis::start(&["--replicaof", "127.0.0.1", &first.port.to_string()]).await?;
    first.tell("RPUSH todo a b c").await?;
    let sentinel = Redis::sentinel(first.port).await?;
    until("the replica to be known and to have the list", SOON, async || {
        let known = format!("{:?}", sentinel.tell("SENTINEL REPLICAS orders").await?);
        ensure!(known.contains(&second.port.to_string()), "{known}");
        let length = second.tell("LLEN todo").await?;
        ensure!(length == ::redis::Value::Int(3), "{length:?}");
        Ok(Some(()))
    })
    .await?;
    let mode = Mode::Sentinel("orders".to_owned());
    let there = place(vec![sentinel.address()], mode);
    let guessed = keys(&[("sentinel-password", "guessed")]);
    let asked = |keys| vec![("list", there.clone(), list("todo"), keys)];
    let watched = Watched::asking(asked(guessed));
    watched.lacks("list", "AuthenticationFailed").await?;
    watched.ask(asked(keys(&[("sentinel-password", "watchword")])));
    watched.is("list", 3.0).await?;
    first.process().kill9();
    watched.lacks("list", "Unreachable").await?;
    watched.is("list", 3.0).await?;
    second.tell("RPUSH todo d").await?;
    watched.is("list", 4.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_redis_is_read_wherever_a_key_lies_and_a_slot_that_moves_is_followed()
-> Result<()> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        // The bus of a cluster has a port of its own, by default one that may be taken.
        let bus = free_port()?.to_string();
        let node = Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await?;
        nodes.push((node, bus));
    }
    let slots = ["0 5460", "5461 10922", "10923 16383"];
    for ((node, _), slots) in nodes.iter().zip(slots) {
        node.tell(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await?;
    }
    let [(first, _), others @ ..] = &nodes[..] else { anyhow::bail!("no nodes") };
    for (other, bus) in others {
        first.tell(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port)).await?;
    }
    for (node, _) in &nodes {
        until("the cluster to be well", SOON, async || {
            let info = format!("{:?}", node.tell("CLUSTER INFO").await?);
            let is_well =
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
            ensure!(is_well, "{info}");
            Ok(Some(()))
        })
        .await?;
    }
    // The keys a, b and c lie in slots 15495, 3300 and 7365: one on each node.
    for (key, (node, _), items) in
        [("b", &nodes[0], "1"), ("c", &nodes[1], "1 2"), ("a", &nodes[2], "1 2 3")]
    {
        node.tell(&format!("RPUSH {key} {items}")).await?;
    }
    nodes[1].0.tell("XADD {c}s * k v").await?;
    nodes[1].0.tell("XGROUP CREATE {c}s g 0").await?;
    let there = || place(vec![first.address()], Mode::Cluster);
    let group = Ask::Redis(redis::Ask::Group { stream: "{c}s".to_owned(), group: "g".to_owned() });
    let watched = Watched::asking(vec![
        ("a", there(), list("a"), Arc::default()),
        ("b", there(), list("b"), Arc::default()),
        ("c", there(), list("c"), Arc::default()),
        ("g", there(), group, Arc::default()),
    ]);
    for (name, size) in [("a", 3.0), ("b", 1.0), ("c", 2.0), ("g", 1.0)] {
        watched.is(name, size).await?;
    }
    // Slot 15495 goes to the first node, with its key.
    let text = |said: ::redis::Value| -> Result<String> { Ok(::redis::from_redis_value(said)?) };
    let new = text(first.tell("CLUSTER MYID").await?)?;
    let old = text(nodes[2].0.tell("CLUSTER MYID").await?)?;
    first.tell(&format!("CLUSTER SETSLOT 15495 IMPORTING {old}")).await?;
    nodes[2].0.tell(&format!("CLUSTER SETSLOT 15495 MIGRATING {new}")).await?;
    nodes[2].0.tell(&format!("MIGRATE 127.0.0.1 {} a 0 5000", first.port)).await?;
    for (node, _) in &nodes {
        node.tell(&format!("CLUSTER SETSLOT 15495 NODE {new}")).await?;
    }
    first.tell("RPUSH a 4").await?;
    watched.is("a", 4.0).await?;
    // One node goes: what lies there is unknown and no zero, and what lies elsewhere is told no more than that.
    nodes[1].0.process().kill9();
    until("the list of the lost node to be missing", SOON, async || {
        let seen = watched.observe.latest(&id("c")).context("nobody has answered yet")?;
        ensure!(!seen.is_fresh(), "{seen:?}");
        Ok(Some(()))
    })
    .await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_redis_with_tls_asks_for_a_certificate_and_is_asked_for_one() -> Result<()> {
    let folder = fresh_folder("redis-tls")?;
    let (ours, stranger) = (Authority::new("ours")?, Authority::new("stranger")?);
    let (cert, key) = ours.server("redis")?.write(&folder, "redis")?;
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, ours.certificate())?;
    let (cert, key, ca) =
        (cert.display().to_string(), key.display().to_string(), ca.display().to_string());
    let port = free_port()?.to_string();
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let all = [&["--tls-port", &port, "--tls-auth-clients", "yes"][..], &files].concat();
    let server = Redis::start(&all).await?;
    server.tell("RPUSH todo a b c").await?;
    let there = || {
        Address::Redis(redis::Address {
            connection: "shop/redis".to_owned(),
            addresses: vec![format!("localhost:{port}")],
            mode: Mode::Alone,
            database: 0,
            tls: true,
        })
    };
    let pair = ours.client("penstock", None)?;
    let ca = ours.certificate();
    let good = keys(&[("ca", &ca), ("cert", &pair.certificate), ("key", &pair.key)]);
    let watched = Watched::asking(vec![("list", there(), list("todo"), Arc::clone(&good))]);
    watched.is("list", 3.0).await?;
    watched.observe.shutdown().await;
    let other = stranger.certificate();
    for (credentials, words) in [
        (
            keys(&[("ca", &other), ("cert", &pair.certificate), ("key", &pair.key)]),
            &["TlsFailed"][..],
        ),
        // With TLS 1.3 a server says only after the handshake that it misses a certificate.
        (keys(&[("ca", &ca)]), &["TlsFailed", "Unreachable"]),
    ] {
        let watched = Watched::asking(vec![("list", there(), list("todo"), credentials)]);
        until("the login to fail", SOON, async || {
            let seen = watched.observe.latest(&id("list")).context("nobody has answered yet")?;
            let Observation::Failed(missing) = &seen else { anyhow::bail!("{seen:?}") };
            ensure!(words.contains(&&*missing.label), "{}: {}", missing.label, missing.message);
            Ok(Some(()))
        })
        .await?;
        watched.observe.shutdown().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_rotated_password_of_a_redis_takes_over_without_losing_a_poll() -> Result<()> {
    let server = Redis::start(&[]).await?;
    server.tell("ACL SETUSER penstock on >old ~* +@read +@connection").await?;
    server.tell("RPUSH todo a b c").await?;
    let asked = |password: &str| {
        let keys = keys(&[("username", "penstock"), ("password", password)]);
        vec![("list", place(vec![server.address()], Mode::Alone), list("todo"), keys)]
    };
    let mut watched = Watched::asking(asked("old"));
    watched.is("list", 3.0).await?;
    // The Secret is new before the server knows it: the old login goes on, and the refusal is told.
    watched.ask(asked("new"));
    until("the new password to be refused", SOON, async || {
        let refusal = watched.observe.refusal(&id("list")).context("nothing is refused")?;
        ensure!(&*refusal.label == "AuthenticationFailed", "{refusal:?}");
        ensure!(watched.observe.latest(&id("list")).is_some_and(|seen| seen.is_fresh()));
        Ok(Some(()))
    })
    .await?;
    server.tell("ACL SETUSER penstock >new").await?;
    until("the new password to be in use", SOON, async || {
        ensure!(watched.observe.refusal(&id("list")).is_none());
        Ok(Some(()))
    })
    .await?;
    // The old password goes, and with it whoever came in by it.
    server.tell("ACL SETUSER penstock <old").await?;
    server.tell("RPUSH todo d").await?;
    for _ in 0..3 {
        watched.visited().await?;
        ensure!(watched.observe.latest(&id("list")).is_some_and(|seen| seen.is_fresh()));
    }
    watched.is("list", 4.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_thousand_questions_to_one_redis_are_answered_in_one_poll_over_four_connections_at_most()
-> Result<()> {
    let server = Redis::start(&[]).await?;
    let names: Vec<String> = (0..1000).map(|number| format!("q{number}")).collect();
    for (size, name) in (1..).zip(&names) {
        let command = if size % 2 == 0 { "XADD" } else { "RPUSH" };
        let rest = if size % 2 == 0 { "* k v" } else { "a" };
        server.tell(&format!("{command} {name} {rest}")).await?;
        if size % 2 == 0 {
            server.tell(&format!("XGROUP CREATE {name} g 0")).await?;
        }
    }
    let there = || place(vec![server.address()], Mode::Alone);
    let ask = |(size, name): (u32, &String)| match size % 2 {
        0 => Ask::Redis(redis::Ask::Group { stream: name.clone(), group: "g".to_owned() }),
        _ => list(name),
    };
    let asks = (1..)
        .zip(&names)
        .map(|(size, name)| (name.as_str(), there(), ask((size, name)), Arc::default()));
    let begun = tokio::time::Instant::now();
    let mut watched = Watched::asking(asks.collect());
    ensure!(watched.visited().await?.len() == 1000);
    let took = begun.elapsed();
    for name in &names {
        let seen = watched.observe.latest(&id(name)).context("nobody has answered")?;
        ensure!(seen.is_fresh(), "{name}: {seen:?}");
    }
    // One visit; what that takes is for the benches.
    ensure!(took < Duration::from_secs(10), "{took:?}");
    let clients: String = ::redis::from_redis_value(server.tell("CLIENT LIST TYPE NORMAL").await?)?;
    // The one that asks is among them.
    let ours = clients.lines().count() - 1;
    ensure!((1..=4).contains(&ours), "{ours} connections:\n{clients}");
    eprintln!("1,000 questions: {took:?} with the wait for the first visit, {ours} connections");
    watched.observe.shutdown().await;
    Ok(())
}
