//! The window: what others may ask, on every replica. Reads the standing picture and the metrics that report keeps, makes no
//! decision and writes nothing. The daemon starts it and tells it, through [`Pulse`], that the loop is alive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::decide::PipelineId;
use crate::report::{Capacity, Metrics, Picture, Report, Standing, Timelines};

pub mod view;
mod bound;
mod door;
mod counts;
mod inforce;
mod lanes;
mod outlook;
mod partitions;
pub mod page;
pub mod identity;
pub mod gate;
mod sight;
pub mod scaler;
pub mod lineage;

pub use door::{listen, serve};
pub use gate::Gate;
pub use outlook::Recollection;

use sight::Sight;

/// The loop beats at least this often, even when nothing is due.
pub const BEAT: Duration = Duration::from_secs(5);
/// So many beats may be lacking before the process is called sick.
const PATIENCE: u32 = 10;

/// What goes wrong before anybody can ask.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; hint: is another process there? choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How the loop says that it lives. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    beats: Arc<Mutex<Beats>>,
    begun: CancellationToken,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Beats {
    last: Option<Instant>,
    is_ready: bool,
    /// What is waited for before the first.
    awaited: Vec<String>,
}

impl Pulse {
    /// The loop has come round. The first time says that the stores are in and a turn is done: ready.
    pub fn beat(&self) {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        if beats.last.replace(Instant::now()).is_none() {
            beats.is_ready = true;
            self.begun.cancel();
        }
    }

    /// Before the first beat: these stores have not had their first list.
    pub fn awaits(&self, stores: Vec<String>) {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).awaited = stores;
    }

    /// Cancelled by the first beat: from then on the cluster is seen whole.
    pub fn begun(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// The process is about to end: no longer ready.
    pub fn end(&self) {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.last = Some(Instant::now());
        beats.is_ready = false;
        // Streams have no end of their own.
        self.ended.cancel();
    }

    /// Cancelled when the process is about to end.
    fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    fn is_ready(&self) -> bool {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).is_ready
    }

    /// Why it is not ready.
    fn lacks(&self) -> String {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        if beats.last.is_some() {
            return "the process is ending\n".to_owned();
        }
        match &beats.awaited[..] {
            [] => "the stores are not in yet\n".to_owned(),
            stores => format!("no list yet of: {}; hint: penstock check\n", stores.join(", ")),
        }
    }

    /// Before the first beat the stores are being filled, which may take as long as it takes.
    fn is_alive(&self) -> bool {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.last.is_none_or(|last| last.elapsed() < BEAT * PATIENCE)
    }
}

/// What the answers are made of. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Answer {
    pulse: Pulse,
    clock: Clock,
    standing: Standing,
    timelines: Timelines,
    metrics: Metrics,
    sheets: page::Sheets,
    recollection: Recollection,
    hosts: page::Hosts,
    capacity: Capacity,
    currency: Option<page::Currency>,
}

impl Answer {
    /// Answers out of what `report` keeps.
    pub fn new(report: &Report, pulse: Pulse, clock: Clock) -> Self {
        let (standing, metrics) = (report.standing().clone(), report.metrics().clone());
        let sheets = page::Sheets::new(standing.clone(), clock);
        let timelines = report.timelines().clone();
        let (recollection, hosts) = (Recollection::default(), page::Hosts::default());
        let capacity = report.capacity().clone();
        Self {
            pulse,
            clock,
            standing,
            timelines,
            metrics,
            sheets,
            recollection,
            hosts,
            capacity,
            currency: None,
        }
    }

    /// Tells of one pipeline what other counts would bring, too. Without it nothing is said of that.
    #[must_use]
    pub fn recalling(mut self, recollection: Recollection) -> Self {
        self.recollection = recollection;
        self
    }

    /// The same, whose page may be asked for by these names, too.
    #[must_use]
    pub fn known_as(self, hosts: page::Hosts) -> Self {
        Self { hosts, ..self }
    }

    /// The same, and its page names the currency of prices.
    #[must_use]
    pub fn priced_in(self, currency: Option<page::Currency>) -> Self {
        Self { currency, ..self }
    }

    /// For probes and Prometheus: `/metrics`, `/healthz`, `/readyz`.
    pub fn probes(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self.clone())
    }

    /// For people who reach this process itself: the page at `/`, and the JSON twin of each of its views below `/api/v1`, whole.
    pub fn page(&self) -> Router {
        self.shown(page::unguarded(Self::views()))
    }

    /// The same for people of the cluster: each shows a token, and sees what this gate says he may.
    pub fn open_page(&self, gate: Gate) -> Router {
        self.shown(page::guarded(Self::views(), self, gate))
    }

    fn views() -> Router<Self> {
        page::views()
            .route("/api/v1/pipelines", get(pipelines))
            .route("/api/v1/pipelines/{namespace}/{name}", get(pipeline))
    }

    fn shown(&self, views: Router<Self>) -> Router {
        page::files()
            .merge(views)
            .fallback(nowhere)
            .layer(from_fn_with_state(self.hosts.clone(), page::known))
            .layer(map_response(page::fenced))
            .with_state(self.clone())
    }

    /// All pictures in sight, by namespace and name.
    fn pictures(&self, sight: &Sight) -> Vec<Arc<Picture>> {
        let mut all = self.standing.all();
        all.retain(|picture| sight.sees(&picture.glance.id.namespace));
        all
    }

    /// The picture of a pipeline, where it is in sight.
    fn picture(&self, id: &PipelineId, sight: &Sight) -> Option<Arc<Picture>> {
        self.standing.of(id).filter(|_| sight.sees(&id.namespace))
    }

    /// A pipeline as it is shown.
    fn view(&self, picture: &Picture, now: Timestamp) -> view::Pipeline {
        let currency = self.currency.clone();
        view::Pipeline { currency, ..view::Pipeline::of(picture, now) }
    }

    /// Lines that are kept for those who look: none while nobody does.
    pub fn kept(&self) -> usize {
        self.sheets.kept()
    }
}

async fn metrics(State(answer): State<Answer>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match answer.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(State(answer): State<Answer>) -> (StatusCode, &'static str) {
    if answer.pulse.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop has not come round for 50 s\n")
    }
}

async fn readyz(State(answer): State<Answer>) -> (StatusCode, String) {
    if answer.pulse.is_ready() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, answer.pulse.lacks())
    }
}

async fn pipelines(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
) -> Json<view::Pipelines> {
    let pictures = answer.pictures(&sight);
    let now = answer.clock.now();
    let pipelines = pictures.iter().map(|picture| answer.view(picture, now)).collect();
    Json(view::Pipelines { at: now, pipelines })
}

async fn pipeline(
    State(answer): State<Answer>,
    Extension(sight): Extension<Sight>,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    let id = PipelineId { namespace: namespace.into(), name: name.into() };
    if let Some(picture) = answer.picture(&id, &sight) {
        let mut view = answer.view(&picture, answer.clock.now());
        answer.recollection.tell(&mut view, &picture);
        return Json(view).into_response();
    }
    page::nobody(&id)
}

async fn nowhere() -> Response {
    not_found("nothing here; hint: GET /api/v1/pipelines")
}

fn not_found(message: &str) -> Response {
    failure(StatusCode::NOT_FOUND, "NotFound", message)
}

/// In the shape of Kubernetes' own failures, so that its clients read it.
fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16(),
    });
    (code, Json(body)).into_response()
}
