//! Servers that take a call and never answer, one of each kind: each is told as such within its visit, and none of them makes another wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock::observe::web::{self, Login};
use penstock::observe::{
    Address, Ask, Credentials, Question, Unit, external, http, nats, prometheus, rabbitmq, redis,
    sql, sqs,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::contract::Behind;
use super::rig::*;

/// How long each time is watched: so many polls, and 10 % of them.
const WATCHED: Duration = Duration::from_secs(9);

/// Takes calls, and says nothing.
async fn silent() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((caller, _)) = listener.accept().await {
            kept.push(caller);
        }
    });
    (place, tasks)
}

fn web(place: &str) -> web::Address {
    web::Address {
        connection: "shop/silent".to_owned(),
        url: format!("http://{place}"),
        headers: Vec::new(),
        login: Login::Nobody,
    }
}

fn database(place: &str, engine: sql::Engine) -> Address {
    let (host, port) = place.split_once(':').unwrap();
    Address::Sql(sql::Address {
        connection: "shop/silent".to_owned(),
        engine,
        host: host.to_owned(),
        port: port.parse().unwrap(),
        database: "shop".to_owned(),
        tls: false,
    })
}

/// A question of every kind to the same silence.
fn every_kind(place: &str) -> Vec<(&'static str, Address, Ask)> {
    let connection = || "shop/silent".to_owned();
    let query = || Ask::Sql(sql::Ask { query: "SELECT 1".to_owned(), unit: Unit::Gauge });
    let queue =
        || rabbitmq::Ask { vhost: "/".to_owned(), queue: "q".to_owned(), exclude_unacked: false };
    let kafka = question("any", place, ask(&["t"], "g"));
    vec![
        ("kafka", kafka.address, kafka.ask),
        (
            "prometheus",
            Address::Prometheus(web(place)),
            Ask::Prometheus(prometheus::Ask {
                query: "x".to_owned(),
                on_empty: prometheus::OnEmpty::Error,
                gives: prometheus::Gives::One(Unit::Gauge),
            }),
        ),
        (
            "http",
            Address::Http(web(place)),
            Ask::Http(http::Ask {
                path: String::new(),
                json_path: "$".to_owned(),
                unit: Unit::Gauge,
            }),
        ),
        (
            "external",
            Address::External(external::Address {
                connection: connection(),
                host: place.to_owned(),
                tls: false,
                basic: false,
            }),
            Ask::External(external::Ask {
                namespace: "shop".to_owned(),
                name: "p".to_owned(),
                metadata: BTreeMap::new(),
                metric: None,
                in_targets: false,
            }),
        ),
        (
            "redis",
            Address::Redis(redis::Address {
                connection: connection(),
                addresses: vec![place.to_owned()],
                mode: redis::Mode::Alone,
                database: 0,
                tls: false,
            }),
            Ask::Redis(redis::Ask::List("l".to_owned())),
        ),
        ("postgres", database(place, sql::Engine::Postgres), query()),
        ("mysql", database(place, sql::Engine::Mysql), query()),
        (
            "management",
            Address::RabbitMq(rabbitmq::Address::Management(web(place))),
            Ask::RabbitMq(queue()),
        ),
        (
            "amqp",
            Address::RabbitMq(rabbitmq::Address::Amqp {
                connection: connection(),
                host: place.to_owned(),
                tls: false,
                login: false,
            }),
            Ask::RabbitMq(queue()),
        ),
        (
            "nats",
            Address::Nats(nats::Address {
                connection: connection(),
                url: format!("nats://{place}"),
                tls: false,
                login: nats::Login::Nobody,
            }),
            Ask::Nats(nats::Ask { stream: "s".to_owned(), consumer: "c".to_owned() }),
        ),
        (
            "sqs",
            Address::Sqs(sqs::Address {
                connection: connection(),
                region: "eu-central-1".to_owned(),
                endpoint: Some(format!("http://{place}")),
                login: sqs::Login::Keys,
            }),
            Ask::Sqs(sqs::Ask {
                queue_url: "http://sqs/1/q".to_owned(),
                in_flight: true,
                delayed: false,
            }),
        ),
    ]
}

fn keys() -> Arc<Credentials> {
    let mut keys = Credentials::default();
    for usage in ["username", "password", "access-key", "secret-key"] {
        keys.put(usage, b"penstock".to_vec());
    }
    Arc::new(keys)
}

/// The gaps between two readings of the sound server while it is watched, in order of their length.
async fn gaps(watcher: &mut Watcher) -> Vec<Duration> {
    let end = Instant::now() + WATCHED;
    let mut gaps = Vec::new();
    let mut last = None;
    while Instant::now() < end {
        let seen = watcher.visited().await;
        if seen.contains(&id("sound")) {
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                gaps.push(now - last);
            }
        }
    }
    gaps.sort_unstable();
    gaps
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_every_kind_that_hang_delay_no_other_by_a_tenth() {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    let sound = Question {
        id: id("sound"),
        poll_interval: POLL,
        address: Address::Http(server.address()),
        credentials: Arc::default(),
        ask: Ask::Http(http::Ask {
            path: "jobs".to_owned(),
            json_path: "$.queue.depth".to_owned(),
            unit: Unit::Gauge,
        }),
    };
    let mut watcher = Watcher::asking(vec![sound.clone()]);
    watcher.until_amount("sound", 7.0).await;
    let alone = gaps(&mut watcher).await;
    let (place, _tasks) = silent().await;
    let kinds = every_kind(&place);
    let mut all = vec![sound];
    all.extend(kinds.iter().map(|(name, address, ask)| Question {
        id: id(name),
        poll_interval: POLL,
        address: address.clone(),
        credentials: keys(),
        ask: ask.clone(),
    }));
    watcher.observe.ask(all);
    let beside = gaps(&mut watcher).await;
    // As many readings, and at the same pace.
    assert!(alone.len() * 9 / 10 <= beside.len(), "{} and {}", alone.len(), beside.len());
    let middle = |gaps: &[Duration]| gaps[gaps.len() / 2];
    assert!(
        middle(&beside) < middle(&alone).mul_f64(1.1),
        "{:?} and {:?}",
        middle(&alone),
        middle(&beside)
    );
    // Each silence has its own word, and none is a number.
    for (name, ..) in &kinds {
        let seen = watcher.latest(name);
        let word = seen.as_ref().map(label);
        let is_told = matches!(word, Some("Timeout" | "Unreachable" | "BrokerUnreachable"));
        assert!(is_told, "{name}: {seen:?}");
    }
    watcher.observe.shutdown().await;
}
