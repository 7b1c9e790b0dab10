//! Where OpenLineage events are posted: each replica takes them, and tells the others what it has heard. Off unless the daemon is given an
//! address and a token for it; whoever calls shows the token, no faster than so many times a second. What events mean is for `observe::lineage`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::clock::Clock;
use crate::observe::lineage::{Dataset, Event, Heard, Inbox};

/// An event larger than this is not read.
const LARGEST: usize = 1 << 20;
/// Requests a second in the long run, and how many may come at once.
const PER_SECOND: f64 = 100.0;
const AT_ONCE: f64 = 200.0;
/// Bodies that are read at once: so much memory they may take.
const BODIES: usize = 8;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(10);
/// An event's time may lie so far ahead: clocks differ.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// What the route works with.
#[derive(Debug, Clone)]
struct Door {
    inbox: Inbox,
    clock: Clock,
    bucket: Arc<Mutex<Bucket>>,
    bodies: Arc<Semaphore>,
}

/// How many requests may still come at once.
#[derive(Debug)]
struct Bucket {
    left: f64,
    since: Instant,
}

/// The words of an event that count (OpenLineage 2.0.2, `RunEvent`); all else in it is passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    event_time: Timestamp,
    #[serde(default)]
    event_type: Option<String>,
    #[serde(default)]
    run: Option<Run>,
    #[serde(default)]
    outputs: Vec<Dataset>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    run_id: String,
}

/// Takes events, and tells what was heard: `POST` and `GET /api/v1/lineage`.
pub fn router(inbox: Inbox, clock: Clock) -> Router {
    let bucket = Arc::new(Mutex::new(Bucket { left: AT_ONCE, since: Instant::now() }));
    let door = Door { inbox, clock, bucket, bodies: Arc::new(Semaphore::new(BODIES)) };
    Router::new()
        .route("/api/v1/lineage", get(tell).post(take))
        .layer(middleware::from_fn_with_state(door.clone(), guard))
        .with_state(door)
}

/// Nobody gets further without the token, nor faster than is bearable.
async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let Some(token) = door.inbox.token().await else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the file of --lineage-token-file cannot be read or is empty",
        );
    };
    if !shows(request.headers(), &token) {
        return refuse(StatusCode::UNAUTHORIZED, "the token is missing or another one");
    }
    // Only now: who has no token takes nothing from those who have.
    if !door.may_enter() {
        let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    next.run(request).await
}

async fn take(State(door): State<Door>, headers: HeaderMap, body: Body) -> Response {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed events are not taken; hint: compression: none",
        );
    }
    let Ok(_place) = door.bodies.acquire().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the process is ending");
    };
    let whole: Bytes = match tokio::time::timeout(BODY, to_bytes(body, LARGEST)).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(_)) => {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the event is larger than 1 MiB, or broke off",
            );
        }
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the event took longer than 10 s"),
    };
    match read(&whole, door.clock.now()) {
        Ok(event) => {
            if let Some(event) = event {
                door.inbox.hear(event);
            }
            StatusCode::CREATED.into_response()
        }
        Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
    }
}

async fn tell(State(door): State<Door>) -> Json<Heard> {
    Json(door.inbox.told())
}

/// What an event says of a run; `None` where it is of no run, as those of a dataset's or a job's design.
fn read(body: &[u8], now: Timestamp) -> Result<Option<Event>, String> {
    let written: Written =
        serde_json::from_slice(body).map_err(|error| format!("no OpenLineage event: {error}"))?;
    let Some(run) = written.run else { return Ok(None) };
    let ahead = written.event_time.duration_since(now);
    if ahead > AHEAD {
        // It would make its dataset young for as long.
        return Err(format!("eventTime {} lies ahead of our clock", written.event_time));
    }
    let is_complete = written.event_type.is_some_and(|word| word.eq_ignore_ascii_case("COMPLETE"));
    Ok(Some(Event {
        run: run.run_id,
        completed: is_complete.then_some(written.event_time),
        outputs: written.outputs,
    }))
}

impl Door {
    fn may_enter(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let came = now.duration_since(bucket.since).as_secs_f64() * PER_SECOND;
        bucket.since = now;
        bucket.left = (bucket.left + came).min(AT_ONCE);
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

/// Do they show the token? Compared in the same time wherever they differ.
fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(shown) = shown.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    let differ = shown.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    shown.len() == token.len() && differ == 0
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"code": status.as_u16(), "message": message}))).into_response()
}
