//! The sources beside Kafka, asked of real servers: what waits is seen, what is gone is no zero, and what comes back is found again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use penstock::clock::Clock;
use penstock::decide::{Observation, QuestionId, Value};
use penstock::observe::prometheus::OnEmpty;
use penstock::observe::redis::{self, Mode};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, Credentials, Observe, Question, Unit, prometheus};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::rig::{Prometheus, Redis, until};

const SOON: Duration = Duration::from_secs(30);

struct Watched {
    observe: Observe,
    _wakes: mpsc::UnboundedReceiver<Vec<QuestionId>>,
}

fn id(name: &str) -> QuestionId {
    QuestionId(format!("shop/orders/stage/{name}").into())
}

impl Watched {
    fn asking(asks: Vec<(&str, Address, Ask, Arc<Credentials>)>) -> Self {
        let (wake, wakes) = mpsc::unbounded_channel();
        let observe = Observe::start(Clock::start(), wake);
        let question = |(name, address, ask, credentials): (&str, Address, Ask, _)| Question {
            id: id(name),
            poll_interval: Duration::from_secs(1),
            address,
            credentials,
            ask,
        };
        observe.ask(asks.into_iter().map(question).collect());
        Self { observe, _wakes: wakes }
    }

    async fn is(&self, name: &str, wished: f64) -> Result<()> {
        let what = format!("{name} to be {wished}");
        until(&what, SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let Observation::Fresh(reading) = &seen else { anyhow::bail!("{seen:?}") };
            let amount = match &reading.value {
                Value::Gauge(number) => *number,
                Value::Queue(queue) => f64::from(u32::try_from(queue.backlog)?),
            };
            ensure!((amount - wished).abs() < 1e-9, "{amount}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits for this word, and tells the whole sentence.
    async fn lacks(&self, name: &str, label: &str) -> Result<String> {
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
async fn exporter(said: Arc<Mutex<String>>) -> Result<(u16, JoinSet<()>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let answer = get(move || async move { said.lock().unwrap().clone() });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        axum::serve(listener, Router::new().route("/metrics", answer)).await.unwrap();
    });
    Ok((port, tasks))
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
        let ask = Ask::Prometheus(prometheus::Ask { query, on_empty, unit: Unit::Gauge });
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
    let mut keys = Credentials::default();
    keys.put("username", b"penstock".to_vec());
    keys.put("password", b"s3cret".to_vec());
    let keys = Arc::new(keys);
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
    let watched = Watched::asking(vec![("list", there, list("todo"), Arc::default())]);
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
async fn a_cluster_of_redis_is_read() -> Result<()> {
    let node = Redis::start(&["--cluster-enabled", "yes"]).await?;
    node.tell("CLUSTER ADDSLOTSRANGE 0 16383").await?;
    until("the cluster to be well", SOON, async || {
        let info = format!("{:?}", node.tell("CLUSTER INFO").await?);
        ensure!(info.contains("cluster_state:ok"), "{info}");
        Ok(Some(()))
    })
    .await?;
    node.tell("RPUSH todo a b c").await?;
    node.tell("RPUSH other a").await?;
    let there = || place(vec![node.address()], Mode::Cluster);
    let watched = Watched::asking(vec![
        ("todo", there(), list("todo"), Arc::default()),
        ("other", there(), list("other"), Arc::default()),
    ]);
    watched.is("todo", 3.0).await?;
    watched.is("other", 1.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}
