//! What is asked over HTTP, and the word for each thing that its server may do wrong: rows of the tables of faults in docs/sources. What was
//! read before goes on as old, and what comes after is fresh again.

use std::sync::Arc;

use penstock::decide::Observation;
use penstock::observe::prometheus::OnEmpty;
use penstock::observe::{Address, Ask, Question, Unit, http, prometheus, sqs};

use super::contract::Behind;
use super::line::Line;
use super::logins::{mutual, signed};
use super::rig::*;
use super::sqs::keys;

/// What a server does.
enum Deed {
    Says(u16, String),
    Hangs,
    HangsUp,
}

fn says(status: u16, said: &str) -> Deed {
    Deed::Says(status, said.to_owned())
}

/// A server on which 7 wait.
async fn server() -> Behind {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    server
}

/// Goes through all deeds; the server is well before and after each.
async fn each_has_its_word(server: &Behind, address: Address, ask: Ask, deeds: Vec<(Deed, &str)>) {
    let credentials = keys("s3cret");
    let question = Question { id: id("a"), poll_interval: POLL, address, credentials, ask };
    let mut watcher = Watcher::asking(vec![question]);
    for (deed, word) in deeds {
        watcher.until_amount("a", 7.0).await;
        match deed {
            Deed::Says(status, said) => server.web.desk().nonsense = Some((status, said)),
            Deed::Hangs => server.web.desk().hangs = Some(String::new()),
            Deed::HangsUp => server.line.cut(),
        }
        let seen = watcher.until("a", |seen| !seen.is_fresh()).await;
        assert_eq!(label(&seen), word, "{seen:?}");
        assert!(matches!(seen, Observation::Stale(..)), "{seen:?}");
        let mut desk = server.web.desk();
        (desk.nonsense, desk.hangs) = (None, None);
        drop(desk);
        server.line.mend();
    }
    watcher.until_amount("a", 7.0).await;
    watcher.observe.shutdown().await;
}

/// What any HTTP server may do.
fn of_the_web() -> Vec<(Deed, &'static str)> {
    let huge = format!(r#"{{"queue": {{"depth": 1}}, "x": "{}"}}"#, "x".repeat(2 << 20));
    vec![
        (Deed::HangsUp, "Unreachable"),
        (Deed::Hangs, "Timeout"),
        (says(401, "who are you?"), "AuthenticationFailed"),
        (says(403, "no"), "AccessDenied"),
        (says(404, "nothing here"), "NotFound"),
        (says(400, "what?"), "QueryRefused"),
        (says(422, "what?"), "QueryRefused"),
        (says(429, "later"), "SourceFailed"),
        (says(503, "Service Unavailable"), "SourceFailed"),
        (says(302, ""), "SourceFailed"),
        (says(200, "<html>7</html>"), "SourceFailed"),
        (says(200, &huge), "SourceFailed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_prometheus_has_its_word() {
    let server = server().await;
    let query = "sum(queue_jobs)".to_owned();
    let ask = prometheus::Ask {
        query,
        on_empty: OnEmpty::Error,
        gives: prometheus::Gives::One(Unit::Gauge),
    };
    let vector = |values: &[&str]| {
        let one = |value: &&str| format!(r#"{{"metric": {{}}, "value": [1, "{value}"]}}"#);
        let all: Vec<String> = values.iter().map(one).collect();
        let all = all.join(", ");
        let data = format!(r#"{{"resultType": "vector", "result": [{all}]}}"#);
        Deed::Says(200, format!(r#"{{"status": "success", "data": {data}}}"#))
    };
    let mut deeds = of_the_web();
    deeds.extend([
        (
            says(200, r#"{"status": "success", "data": {"resultType": "matrix", "result": []}}"#),
            "QueryRefused",
        ),
        (says(503, r#"{"status": "error", "error": "query timed out"}"#), "SourceFailed"),
        (vector(&[]), "EmptyAnswer"),
        (vector(&["7", "7"]), "ManyValues"),
        (vector(&["NaN"]), "BadValue"),
        (vector(&["+Inf"]), "BadValue"),
        (vector(&["-1"]), "BadValue"),
    ]);
    each_has_its_word(&server, Address::Prometheus(server.address()), Ask::Prometheus(ask), deeds)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_document_has_its_word() {
    let server = server().await;
    let (path, json_path) = ("jobs".to_owned(), "$.queue.depth".to_owned());
    let ask = http::Ask { path, json_path, unit: Unit::Gauge };
    let depth = |depth: &str| Deed::Says(200, format!(r#"{{"queue": {{"depth": {depth}}}}}"#));
    let mut deeds = of_the_web();
    deeds.extend([
        (says(200, "{}"), "EmptyAnswer"),
        (depth("null"), "EmptyAnswer"),
        (depth("true"), "BadValue"),
        (depth("-1"), "BadValue"),
        (depth("1e300"), "BadValue"),
        (depth(r#""soon""#), "BadValue"),
        (depth(r#""2999-01-01T00:00:00Z""#), "BadValue"),
    ]);
    each_has_its_word(&server, Address::Http(server.address()), Ask::Http(ask), deeds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_an_sqs_has_its_word() {
    let server = server().await;
    let address = Address::Sqs(sqs::Address {
        connection: "shop/queues".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: Some(format!("http://{}", server.line.address)),
        login: sqs::Login::Keys,
    });
    let queue_url = "https://sqs.eu-central-1.amazonaws.com/1/jobs".to_owned();
    let ask = Ask::Sqs(sqs::Ask { queue_url, in_flight: false, delayed: false });
    let visible = |count: &str| {
        let attributes = format!(r#"{{"ApproximateNumberOfMessages": {count}}}"#);
        Deed::Says(200, format!(r#"{{"Attributes": {attributes}}}"#))
    };
    let refusal = |status: u16, code: &str| {
        Deed::Says(status, format!(r#"{{"__type": "{code}", "message": "so it is"}}"#))
    };
    let deeds = vec![
        (Deed::HangsUp, "Unreachable"),
        (Deed::Hangs, "Timeout"),
        (refusal(403, "InvalidClientTokenId"), "AuthenticationFailed"),
        (refusal(400, "AccessDeniedException"), "AccessDenied"),
        (refusal(400, "com.amazonaws.sqs#QueueDoesNotExist"), "NotFound"),
        (refusal(400, "com.amazonaws.sqs#InvalidAddress"), "QueryRefused"),
        (refusal(400, "RequestThrottled"), "SourceFailed"),
        (refusal(503, "ServiceUnavailable"), "SourceFailed"),
        (says(200, r#"{"Attributes": {}}"#), "EmptyAnswer"),
        (visible(r#""-1""#), "BadValue"),
        (visible(r#""1.5""#), "BadValue"),
        (says(200, "<html>7</html>"), "SourceFailed"),
    ];
    each_has_its_word(&server, address, ask, deeds).await;
}

/// Nobody is asked without a login that can be used.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_none_is_told_before_anybody_is_called() {
    let server = server().await;
    let mut address = server.address();
    address.login = penstock::observe::web::Login::Bearer;
    let (path, json_path) = ("jobs".to_owned(), "$.queue.depth".to_owned());
    let mut watcher = Watcher::asking(vec![Question {
        id: id("a"),
        poll_interval: POLL,
        address: Address::Http(address),
        credentials: Arc::default(),
        ask: Ask::Http(http::Ask { path, json_path, unit: Unit::Gauge }),
    }]);
    watcher.until("a", |seen| label(seen) == "CredentialsInvalid").await;
    assert_eq!(server.line.calls(), 0);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqs_with_a_certificate_of_a_stranger_is_not_trusted() {
    let server = server().await;
    let (ca, cert, key) = signed();
    let line = Line::to(server.web.address, Some(mutual(&ca, &cert, &key))).await;
    let asked = |credentials| {
        let endpoint = Some(format!("https://localhost:{}", line.address.port()));
        let region = "eu-central-1".to_owned();
        let connection = "shop/queues".to_owned();
        let login = sqs::Login::Keys;
        let queue_url = "https://sqs.eu-central-1.amazonaws.com/1/jobs".to_owned();
        Question {
            id: id("a"),
            poll_interval: POLL,
            address: Address::Sqs(sqs::Address { connection, region, endpoint, login }),
            credentials,
            ask: Ask::Sqs(sqs::Ask { queue_url, in_flight: false, delayed: false }),
        }
    };
    for (credentials, word) in
        [(keys("s3cret"), "TlsFailed"), (Arc::default(), "CredentialsInvalid")]
    {
        let mut watcher = Watcher::asking(vec![asked(credentials)]);
        let seen = watcher.until("a", |_| true).await;
        assert_eq!(label(&seen), word, "{seen:?}");
        watcher.observe.shutdown().await;
    }
}
