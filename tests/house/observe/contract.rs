//! What every source must do, told once: answers in order, errors that are not zero, silence when nothing is asked, coming back after
//! the line was cut, and no number out of nonsense. A new source gives a [`Server`] and passes the same tale.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::Observation;
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, Credentials, Question, Unit, http, prometheus, sqs};
use tokio::time::Instant;

use super::broker::Broker;
use super::jetstream::JetStream;
use super::line::Line;
use super::rabbits;
use super::rig::*;
use super::webs::Web;

/// A server of some kind, in the hands of the test.
pub(super) trait Server {
    async fn start() -> Self;
    fn address(&self) -> Address;
    /// As whom to ask.
    fn credentials(&self) -> Arc<Credentials> {
        Arc::default()
    }
    /// How to ask for the backlog of a queue.
    fn ask(&self, queue: &str) -> Ask;
    /// Makes the queue if need be, and its backlog this large.
    fn fill(&self, queue: &str, backlog: i32);
    /// Hangs up on everybody, until mended.
    fn cut(&self);
    fn mend(&self);
    /// Connections and requests ever made.
    fn traffic(&self) -> (usize, usize);
    /// Talks nonsense to whatever is asked, in the way of this number, until mended; false when there is no such way.
    fn rave(&self, way: usize) -> bool;
}

impl Server for Broker {
    async fn start() -> Self {
        Self::start().await
    }

    fn address(&self) -> Address {
        question("any", &self.address, ask(&["any"], "any")).address
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::Kafka(ask(&[queue], "group"))
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.topic(queue, &[(0, backlog.into())]);
    }

    fn cut(&self) {
        self.cut();
    }

    fn mend(&self) {
        self.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        let state = self.state();
        (state.connections, state.requests.values().sum())
    }

    /// What Kafka makes of nonsense is told in `scripted` and, byte by byte, at the foot of `wire`.
    fn rave(&self, _: usize) -> bool {
        false
    }
}

/// A server of ours behind a line.
pub(super) struct Behind {
    pub(super) web: Web,
    pub(super) line: Line,
}

impl Behind {
    pub(super) async fn start() -> Self {
        let web = Web::start().await;
        let line = Line::to(web.address, None).await;
        Self { web, line }
    }

    pub(super) fn address(&self) -> web::Address {
        web::Address {
            connection: "shop/web".to_owned(),
            url: format!("http://{}", self.line.address),
            headers: Vec::new(),
            login: Login::Nobody,
        }
    }

    fn fill(&self, queue: &str, backlog: i32) {
        let mut desk = self.web.desk();
        desk.queues.insert(queue.to_owned(), backlog);
        desk.nonsense = None;
    }

    fn traffic(&self) -> (usize, usize) {
        (self.line.calls(), self.web.desk().requests)
    }

    fn rave(&self, ways: &[(u16, String)], way: usize) -> bool {
        self.web.desk().nonsense = ways.get(way).cloned();
        way < ways.len()
    }
}

/// Nonsense that any HTTP server may talk.
pub(super) fn web_nonsense() -> Vec<(u16, String)> {
    let huge = format!(r#"{{"queue": {{"depth": 1}}, "x": "{}"}}"#, "x".repeat(2 << 20));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    [
        (200, ""),
        (200, "<html>0</html>"),
        (200, "0"),
        (200, "null"),
        (200, "[]"),
        (200, "{}"),
        (200, r#"{"queue": {"depth": "#),
        (200, &huge),
        (200, &deep),
        (204, ""),
        (302, r#"{"queue": {"depth": 0}}"#),
        (400, r#"{"queue": {"depth": 0}}"#),
        (401, r#"{"queue": {"depth": 0}}"#),
        (403, r#"{"queue": {"depth": 0}}"#),
        (429, r#"{"queue": {"depth": 0}}"#),
        (500, r#"{"queue": {"depth": 0}}"#),
        (503, "Service Unavailable"),
    ]
    .map(|(status, said)| (status, said.to_owned()))
    .to_vec()
}

/// A Prometheus.
struct Prometheus(Behind);

impl Server for Prometheus {
    async fn start() -> Self {
        Self(Behind::start().await)
    }

    fn address(&self) -> Address {
        Address::Prometheus(self.0.address())
    }

    fn ask(&self, queue: &str) -> Ask {
        let query = format!("sum(queue_{queue})");
        let on_empty = prometheus::OnEmpty::Error;
        let gives = prometheus::Gives::One(Unit::Gauge);
        Ask::Prometheus(prometheus::Ask { query, on_empty, gives })
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.0.fill(queue, backlog);
    }

    fn cut(&self) {
        self.0.line.cut();
    }

    fn mend(&self) {
        self.0.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        self.0.traffic()
    }

    fn rave(&self, way: usize) -> bool {
        let vector = |values: &[&str]| {
            let one = |value: &&str| format!(r#"{{"metric": {{}}, "value": [1, {value}]}}"#);
            let all: Vec<String> = values.iter().map(one).collect();
            let all = all.join(", ");
            format!(
                r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{all}]}}}}"#
            )
        };
        let mut ways = web_nonsense();
        let values = [
            "\"NaN\"",
            "\"+Inf\"",
            "\"-Inf\"",
            "\"-1\"",
            "\"1e300\"",
            "\"\"",
            "\"x\"",
            "1",
            "null",
        ];
        ways.extend(values.map(|value| (200, vector(&[value]))));
        ways.push((200, vector(&[])));
        ways.push((200, vector(&["\"0\"", "\"0\""])));
        ways.push((500, vector(&["\"0\""])));
        ways.push((
            200,
            r#"{"status": "success", "data": {"resultType": "matrix", "result": []}}"#.to_owned(),
        ));
        ways.push((
            200,
            r#"{"status": "success", "data": {"resultType": "string", "result": [1, "0"]}}"#
                .to_owned(),
        ));
        ways.push((
            200,
            r#"{"status": "error", "data": {"resultType": "scalar", "result": [1, "0"]}}"#
                .to_owned(),
        ));
        ways.push((200, r#"{"status": "success"}"#.to_owned()));
        ways.push((
            200,
            vector(&["\"0\""]).replacen('{', r#"{"warnings": ["a store is away"], "#, 1),
        ));
        ways.push((
            422,
            r#"{"status": "error", "errorType": "execution", "error": "too many samples"}"#
                .to_owned(),
        ));
        self.0.rave(&ways, way)
    }
}

/// A document on the web for each queue.
struct Documents(Behind);

impl Server for Documents {
    async fn start() -> Self {
        Self(Behind::start().await)
    }

    fn address(&self) -> Address {
        Address::Http(self.0.address())
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::Http(http::Ask {
            path: queue.to_owned(),
            json_path: "$.queue.depth".to_owned(),
            unit: Unit::Backlog,
        })
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.0.fill(queue, backlog);
    }

    fn cut(&self) {
        self.0.line.cut();
    }

    fn mend(&self) {
        self.0.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        self.0.traffic()
    }

    fn rave(&self, way: usize) -> bool {
        let mut ways = web_nonsense();
        let values = [
            "null",
            "true",
            "[0]",
            "{}",
            "-1",
            "1e300",
            r#""""#,
            r#""NaN""#,
            r#""soon""#,
            r#""2999-01-01T00:00:00Z""#,
        ];
        ways.extend(values.map(|value| (200, format!(r#"{{"queue": {{"depth": {value}}}}}"#))));
        self.0.rave(&ways, way)
    }
}

/// An SQS.
struct Sqs(Behind);

impl Server for Sqs {
    async fn start() -> Self {
        Self(Behind::start().await)
    }

    fn address(&self) -> Address {
        Address::Sqs(sqs::Address {
            connection: "shop/queues".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some(format!("http://{}", self.0.line.address)),
            login: sqs::Login::Keys,
        })
    }

    fn credentials(&self) -> Arc<Credentials> {
        let mut keys = Credentials::default();
        keys.put("access-key", b"AKID".to_vec());
        keys.put("secret-key", b"s3cret".to_vec());
        Arc::new(keys)
    }

    fn ask(&self, queue: &str) -> Ask {
        let queue_url = format!("https://sqs.eu-central-1.amazonaws.com/1/{queue}");
        Ask::Sqs(sqs::Ask { queue_url, in_flight: true, delayed: true })
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.0.fill(queue, backlog);
    }

    fn cut(&self) {
        self.0.line.cut();
    }

    fn mend(&self) {
        self.0.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        self.0.traffic()
    }

    fn rave(&self, way: usize) -> bool {
        let mut ways = web_nonsense();
        let depth = |count: &str| {
            let parts = ["", "NotVisible", "Delayed"]
                .map(|part| format!(r#""ApproximateNumberOfMessages{part}": {count}"#));
            format!(r#"{{"Attributes": {{{}}}}}"#, parts.join(", "))
        };
        let values = [
            "null",
            "7",
            "[]",
            r#""""#,
            r#""-1""#,
            r#""1.5""#,
            r#""NaN""#,
            r#""0x0""#,
            r#""99999999999999999999""#,
        ];
        ways.extend(values.map(|value| (200, depth(value))));
        ways.push((200, r#"{"Attributes": {}}"#.to_owned()));
        ways.push((200, r#"{"Attributes": {"ApproximateNumberOfMessages": "0"}}"#.to_owned()));
        ways.push((400, depth(r#""0""#)));
        ways.push((500, depth(r#""0""#)));
        self.0.rave(&ways, way)
    }
}

pub(super) async fn tale<S: Server>() {
    let server = S::start().await;
    let ask = |name: &str, queue: &str| Question {
        id: id(name),
        poll_interval: POLL,
        address: server.address(),
        credentials: server.credentials(),
        ask: server.ask(queue),
    };
    for (queue, backlog) in [("three", 3), ("one", 1), ("two", 2)] {
        server.fill(queue, backlog);
    }

    // Nobody asks, nobody calls.
    let mut watcher = Watcher::asking(Vec::new());
    tokio::time::sleep(POLL).await;
    assert_eq!(server.traffic(), (0, 0));

    // Each gets its own answer, all in one visit; an unknown queue is an error and not zero, and harms no other.
    let all = ["b3", "a1", "d2"].into_iter().zip(["three", "one", "two"]);
    let mut questions: Vec<_> = all.map(|(name, queue)| ask(name, queue)).collect();
    questions.push(ask("c0", "unknown"));
    watcher.observe.ask(questions);
    assert_eq!(watcher.visited().await.len(), 4);
    for (name, backlog) in [("b3", 3), ("a1", 1), ("d2", 2)] {
        watcher.until_amount(name, f64::from(backlog)).await;
    }
    let unknown = watcher.latest("c0").unwrap();
    assert!(matches!(unknown, Observation::Failed(_)), "{unknown:?}");

    // A later reading is later, and sees what changed.
    server.fill("one", 5);
    watcher.until_amount("a1", 5.0).await;

    // A cut line is told within the deadline, keeps what was known, and mends within two polls.
    server.cut();
    let cut = Instant::now();
    let stale = watcher.until("a1", |seen| !seen.is_fresh()).await;
    assert!(cut.elapsed() < Duration::from_millis(3500), "{:?}", cut.elapsed());
    assert!(matches!(stale, Observation::Stale(..)), "{stale:?}");
    server.mend();
    let mended = Instant::now();
    watcher.until_amount("a1", 5.0).await;
    assert!(mended.elapsed() < POLL * 2 + Duration::from_millis(300), "{:?}", mended.elapsed());

    // Nonsense is no number: what was known is kept, and told to be old.
    let mut way = 0;
    while server.rave(way) {
        let (first, second) = (watcher.visited().await, watcher.visited().await);
        assert!(!first.is_empty() && !second.is_empty());
        let seen = watcher.latest("a1").unwrap();
        assert!(!seen.is_fresh(), "way {way}: {seen:?}");
        server.fill("one", 5);
        watcher.until_amount("a1", 5.0).await;
        way += 1;
    }

    // No more questions, no more traffic.
    watcher.observe.ask(Vec::new());
    tokio::time::sleep(POLL).await;
    let before = server.traffic();
    tokio::time::sleep(POLL * 3).await;
    assert_eq!(server.traffic(), before);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_contract() {
    tale::<Broker>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_keeps_the_contract() {
    tale::<Prometheus>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_keeps_the_contract() {
    tale::<Documents>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_keeps_the_contract_by_its_management_api() {
    tale::<rabbits::Management>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_keeps_the_contract_by_amqp() {
    tale::<rabbits::Broker>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_the_contract() {
    tale::<JetStream>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_keeps_the_contract() {
    tale::<Sqs>().await;
}
