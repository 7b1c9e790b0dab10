//! The page that people look at, and the JSON twin of each of its views. Everything is made when it is asked for, out of report's standing
//! pictures and timelines; nothing here writes, and no file of it comes from elsewhere.

use axum::Router;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::sight::Sight;
use super::{Answer, failure, not_found, view};
use crate::decide::PipelineId;

mod words;
mod graph;
mod draw;
mod attention;
mod row;
mod sheet;
mod stream;
mod stage;
mod capacity;
mod assets;
mod hosts;
mod entrance;

pub use attention::{Concern, Severity};
pub use capacity::{BudgetRow, Capacity, Currency, GaveWay, PoolRow, SignSeen};
pub use hosts::{Host, Hosts};
pub use row::{Attention, Overview, Placed, Row, State as Mood};
pub use stage::{Detail, Moment, Partition, Spread, Trend, Usual};

pub(in crate::answer) use entrance::{guarded, unguarded};
pub(in crate::answer) use hosts::known;
pub(in crate::answer) use sheet::Sheets;

use assets::ASSETS;
use graph::Flow;

/// Where people ask, and by which names.
#[derive(Debug)]
pub struct Door {
    /// The place where everybody sees everything, if there is one: loopback.
    pub listener: Option<TcpListener>,
    /// The place where each shows a token and sees what he may, if there is one.
    pub open: Option<Open>,
    /// Names besides `localhost` and addresses: of the open place alone, where there is one.
    pub hosts: Hosts,
    /// What prices are in, if that was said.
    pub currency: Option<Currency>,
}

/// A place that is open to the cluster.
#[derive(Debug)]
pub struct Open {
    /// The place.
    pub listener: TcpListener,
    /// Whom tokens must be for; the API server itself where none is named.
    pub audiences: Vec<String>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        let listener = Some(listener);
        Self { listener, open: None, hosts: Hosts::default(), currency: None }
    }
}

/// Scripts, styles and data from here and from nowhere else; no frame around it; no text becomes markup but by the one policy `picture`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types picture";

/// What every answer says to browsers.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The files of the page, in which nothing stands of anybody's pipelines.
pub(super) fn files() -> Router<Answer> {
    let mut router = Router::new().route("/", get(async |asked: HeaderMap| assets::page(&asked)));
    for asset in ASSETS {
        router = router.route(asset.path, get(async |asked: HeaderMap| asset.answer(&asked)));
    }
    router
}

/// The twins of its views. The pipelines themselves are `answer`'s own routes.
pub(super) fn views() -> Router<Answer> {
    Router::new()
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/attention", get(attention))
        .route("/api/v1/stream", get(stream))
        .route("/api/v1/capacity", get(capacity))
        .route("/api/v1/pipelines/{namespace}/{name}/graph.svg", get(graph))
        .route("/api/v1/pipelines/{namespace}/{name}/stages/{stage}", get(stage))
}

/// Puts on every answer what browsers are to be told.
pub(super) async fn fenced(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        // The page itself says a little more of what it may do.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn overview(State(answer): State<Answer>, Extension(sight): Extension<Sight>) -> Response {
    let news = answer.sheets.since(None, &sight);
    let (at, version) = (answer.clock.now(), answer.sheets.token(news.version, &sight));
    let lines = news.lines.join(",");
    let body = format!(r#"{{"at":"{at}","version":"{version}","pipelines":[{lines}]}}"#);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn attention(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
) -> Json<Attention> {
    let mut concerns = Vec::new();
    for picture in answer.pictures(&sight) {
        let seen = view::Pipeline::of(&picture, picture.at);
        let all = attention::concerns(&picture, &seen).into_iter();
        concerns.extend(all.map(|concern| Placed {
            namespace: seen.namespace.clone(),
            pipeline: seen.name.clone(),
            concern,
        }));
    }
    // Stable: by namespace and name within a severity.
    concerns.sort_by_key(|placed| placed.concern.severity);
    Json(Attention { at: answer.clock.now(), concerns })
}

async fn capacity(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
) -> Json<Capacity> {
    Json(Capacity::of(&answer.capacity, answer.currency, answer.clock.now()).cut_to(&sight))
}

/// Where a stream goes on, and what it shows whole.
#[derive(Debug, Deserialize)]
struct Wanted {
    /// A version, as the latest event or the overview told it.
    since: Option<String>,
    /// `NAMESPACE/NAME`.
    pipeline: Option<String>,
}

async fn stream(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    // After a cut a browser says by itself what it has seen last.
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let seen = told.or(wanted.since.as_deref());
    let seen = seen.and_then(|token| answer.sheets.version(token, &sight));
    let focus = wanted.pipeline.as_deref().and_then(|text| text.split_once('/'));
    let focus = focus.map(|(namespace, name)| id(namespace, name));
    let ended = answer.pulse.ended();
    stream::stream(&answer, sight, ended, seen, focus).unwrap_or_else(|| {
        let code = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = failure(code, "ServiceUnavailable", &stream::full());
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        response
    })
}

/// Which way the picture flows.
#[derive(Debug, Deserialize)]
struct Drawn {
    /// `right` (default) or `down`.
    flow: Option<String>,
}

async fn graph(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
    Path((namespace, name)): Path<(String, String)>,
    Query(drawn): Query<Drawn>,
) -> Response {
    let id = id(&namespace, &name);
    let Some(picture) = answer.picture(&id, &sight) else { return nobody(&id) };
    let flow = if drawn.flow.as_deref() == Some("down") { Flow::Down } else { Flow::Right };
    let svg = draw::picture(&view::Pipeline::of(&picture, answer.clock.now()), flow);
    ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
}

async fn stage(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
    Path((namespace, name, stage)): Path<(String, String, String)>,
) -> Response {
    let id = id(&namespace, &name);
    let Some(picture) = answer.picture(&id, &sight) else { return nobody(&id) };
    let stages = picture.situation.iter().flat_map(|situation| &situation.pipeline.stages);
    let index = stages.into_iter().position(|it| *it.name == *stage);
    let now = answer.clock.now();
    let timeline = answer.timelines.of(&id, &stage, now);
    let memory = &answer.recollection;
    match index.and_then(|index| Detail::of(&picture, index, timeline, memory, now)) {
        Some(detail) => Json(detail).into_response(),
        None => not_found(&format!(
            "pipeline {id} has no stage {stage}; hint: GET /api/v1/pipelines/{id} lists them"
        )),
    }
}

fn id(namespace: &str, name: &str) -> PipelineId {
    PipelineId { namespace: namespace.into(), name: name.into() }
}

/// What is said of a pipeline that is not there.
pub(super) fn nobody(id: &PipelineId) -> Response {
    not_found(&format!("no pipeline {id}; hint: GET /api/v1/pipelines lists all"))
}
