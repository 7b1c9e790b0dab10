//! HTTP servers of a few lines: a Prometheus that knows some queues, and one document. They count what they are asked, note who asks, and
//! talk nonsense when told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What a server knows and does.
#[derive(Default)]
pub(super) struct Desk {
    /// Items that wait, by queue.
    pub(super) queues: BTreeMap<String, i32>,
    /// How many seconds ago the samples of plain metrics were made.
    pub(super) sample_age: f64,
    /// What it says instead.
    pub(super) nonsense: Option<(u16, String)>,
    /// The login it wants; none for anybody.
    pub(super) login: Option<String>,
    /// The token it sells to whom.
    pub(super) seller: Option<(String, String)>,
    /// The headers of the latest purchase.
    pub(super) buyer: HeaderMap,
    /// Tokens sold.
    pub(super) sold: usize,
    pub(super) requests: usize,
    /// The headers of the latest request.
    pub(super) headers: HeaderMap,
    /// The path and query of each request.
    pub(super) asked: Vec<String>,
    /// Never answers questions with this in them.
    pub(super) hangs: Option<String>,
    /// How long each answer takes.
    pub(super) takes: Duration,
}

/// A server that answers as its desk says.
pub(super) struct Web {
    pub(super) address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

impl Web {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&desk));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, desk, _tasks: tasks }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }
}

async fn answer(
    State(desk): State<Arc<Mutex<Desk>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text =
        format!("{}?{}&{}", uri.path(), uri.query().unwrap_or(""), String::from_utf8_lossy(&body));
    let (hangs, takes) = {
        let mut desk = desk.lock().unwrap();
        desk.requests += 1;
        desk.asked.push(text.clone());
        (desk.hangs.as_ref().is_some_and(|hangs| text.contains(hangs)), desk.takes)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(takes).await;
    let mut desk = desk.lock().unwrap();
    let login = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
    if uri.path() == "/token" {
        let Some((wanted, token)) = desk.seller.clone() else { return text_of(404, "no tokens") };
        if login.as_ref() != Some(&wanted) || !text.contains("grant_type=client_credentials") {
            return text_of(401, "who are you?");
        }
        desk.sold += 1;
        desk.buyer = headers;
        return text_of(200, &format!(r#"{{"access_token": "{token}", "expires_in": 3600}}"#));
    }
    desk.headers = headers;
    if desk.login.is_some() && desk.login != login {
        return text_of(401, "who are you?");
    }
    if let Some((status, said)) = &desk.nonsense {
        return text_of(*status, said);
    }
    if let Some(target) = desk.headers.get("x-amz-target") {
        let operation = target.to_str().unwrap().to_owned();
        let (status, said) = sqs(&desk, &operation, &body);
        return text_of(status, &said);
    }
    if uri.path().ends_with("/api/v1/query") {
        let query = form_urlencoded::parse(text.split_once('?').unwrap().1.as_bytes())
            .find(|(name, _)| name == "query")
            .unwrap()
            .1
            .into_owned();
        return text_of(200, &instant(&desk, &query));
    }
    match desk.queues.get(uri.path().trim_start_matches('/')) {
        Some(depth) => {
            text_of(200, &format!(r#"{{"queue": {{"depth": {depth}}}, "many": [1, 2]}}"#))
        }
        None => text_of(404, "nothing here"),
    }
}

/// What a Prometheus makes of `sum(queue_NAME)`, `queue_NAME` and `timestamp(queue_NAME)`.
fn instant(desk: &Desk, query: &str) -> String {
    const NOW: f64 = 1_767_225_600.0;
    let is_time = query.starts_with("timestamp(");
    let name =
        query.trim_start_matches("timestamp(").trim_start_matches("sum(").trim_end_matches(')');
    let value = match name {
        "vector(1" => Some(1.0),
        name => name
            .strip_prefix("queue_")
            .and_then(|name| desk.queues.get(name))
            .map(|it| f64::from(*it)),
    };
    let value = value.map(|value| if is_time { NOW - desk.sample_age } else { value });
    let result = value.map_or(String::new(), |value| {
        format!(r#"{{"metric": {{}}, "value": [{NOW}, "{value}"]}}"#)
    });
    format!(r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{result}]}}}}"#)
}

/// What an SQS says: the parts of a queue are in `NAME`, `NAME.flying` and `NAME.later`.
fn sqs(desk: &Desk, operation: &str, body: &[u8]) -> (u16, String) {
    if operation == "AmazonSQS.ListQueues" {
        return (200, "{}".to_owned());
    }
    assert_eq!(operation, "AmazonSQS.GetQueueAttributes");
    let asked: serde_json::Value = serde_json::from_slice(body).unwrap();
    let url = asked["QueueUrl"].as_str().unwrap();
    let name = url.rsplit('/').next().unwrap();
    let Some(visible) = desk.queues.get(name) else {
        let said =
            r#"{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}"#;
        return (400, said.to_owned());
    };
    let part = |part: &str| desk.queues.get(&format!("{name}.{part}")).copied().unwrap_or(0);
    let parts = [("", *visible), ("NotVisible", part("flying")), ("Delayed", part("later"))];
    let parts = parts.map(|(part, count)| {
        (format!("ApproximateNumberOfMessages{part}"), serde_json::json!(count.to_string()))
    });
    let parts: serde_json::Map<_, _> = parts.into_iter().collect();
    (200, serde_json::json!({ "Attributes": parts }).to_string())
}

fn text_of(status: u16, said: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let mut headers = vec![(header::CONTENT_TYPE, "application/json")];
    if status.is_redirection() {
        headers.push((header::LOCATION, "/elsewhere"));
    }
    let mut response = (status, said.to_owned()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
