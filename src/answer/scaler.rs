//! KEDA's external scaler protocol, served out of the standing picture: a `ScaledObject` of type `external` or `external-push` takes
//! Penstock's decision. It says what was decided and nothing else: what is not known is an error, never a number.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::Answer;
use super::bound::bounded;
use super::identity::{Identity, LOOK};
use crate::decide::PipelineId;
use crate::proto::external_scaler::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use crate::proto::external_scaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
};

/// The one metric: replicas, of which one replica serves one.
const METRIC: &str = "replicas";
/// Requests of one connection at once, its streams included. Each takes some 10 KiB from its first header on.
const REQUESTS: u32 = 4_096;
/// Bytes of a request, and of its headers: the metadata of a trigger are a few hundred.
const LARGEST: u16 = 16 << 10;
/// A request is there and answered within this time; a stream that is open goes on.
const PROMPT: Duration = Duration::from_secs(10);
/// Streams at once, of all connections: KEDA opens one for each `ScaledObject` of type `external-push`.
const STREAMS: usize = 2_000;
/// Connections at once; others wait in the kernel until one ends. KEDA makes one for each address that triggers name.
const CONNECTIONS: usize = 512;
/// Who is silent for so long is asked whether he is there still.
const SILENCE: Duration = Duration::from_secs(30);
/// And is cut off when he does not answer within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A `ScaledObject` may come before its pipeline, by this much: then its stream ends.
const UNKNOWN: Duration = Duration::from_mins(1);
/// How long agreeing on TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// So many may be about it at once.
const HANDSHAKES: usize = 256;

/// Where KEDA asks.
#[derive(Debug)]
pub struct Door {
    /// The port.
    pub listener: TcpListener,
    /// Who we are to those who ask; `None` speaks plain text.
    pub identity: Option<Arc<Identity>>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, identity: None }
    }
}

/// Answers at the door until `stop`.
pub async fn serve(door: impl Into<Door>, answer: Answer, stop: CancellationToken) {
    let Door { listener, identity } = door.into();
    let streams = Arc::new(Semaphore::new(STREAMS));
    let scaler = ExternalScalerServer::new(Scaler { answer, streams, stop: stop.clone() })
        .max_decoding_message_size(LARGEST.into());
    let router = Server::builder()
        .max_concurrent_streams(REQUESTS)
        .http2_max_header_list_size(u32::from(LARGEST))
        .timeout(PROMPT)
        .http2_keepalive_interval(Some(SILENCE))
        .http2_keepalive_timeout(Some(PATIENCE))
        .add_service(scaler);
    // Before it speaks HTTP/2 only the kernel asks whether the other end is there.
    let incoming = TcpIncoming::from(listener)
        .with_keepalive(Some(SILENCE))
        .with_keepalive_interval(Some(PATIENCE))
        .with_keepalive_retries(Some(3));
    let incoming = bounded(incoming, CONNECTIONS);
    let ended = stop.cancelled_owned();
    let end = match identity {
        None => router.serve_with_incoming_shutdown(incoming, ended).await,
        Some(identity) => {
            let incoming = Box::pin(agreed(incoming, Arc::clone(&identity)));
            tokio::select! {
                end = router.serve_with_incoming_shutdown(incoming, ended) => end,
                () = identity.follow(LOOK) => Ok(()),
            }
        }
    };
    if let Err(error) = end {
        tracing::warn!(%error, "the external scaler server ended");
    }
}

/// The connections that TLS was agreed on with; one that hangs holds up no other, and what fails is its own affair.
fn agreed<T: AsyncRead + AsyncWrite + Unpin>(
    incoming: impl Stream<Item = io::Result<T>>,
    identity: Arc<Identity>,
) -> impl Stream<Item = io::Result<TlsStream<T>>> {
    let agreed = incoming.map(move |tcp| {
        let acceptor = identity.acceptor();
        async move {
            let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp?)).await;
            handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
    });
    agreed.buffer_unordered(HANDSHAKES).filter_map(async |stream| match stream {
        Ok(stream) => Some(Ok(stream)),
        Err(error) => {
            tracing::debug!(%error, "no TLS with one who asks as KEDA does");
            None
        }
    })
}

struct Scaler {
    answer: Answer,
    /// One for each stream that there may be.
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Scaler {
    /// What is to be said of the replicas decided on, now and whenever that is another thing than before. While nothing is known nothing is
    /// said, and of what does not exist the stream ends.
    fn stream<T: PartialEq + Clone + Send + 'static>(
        &self,
        request: Request<ScaledObjectRef>,
        say: fn(u32) -> T,
    ) -> Result<Response<Streamed<T>>, Status> {
        let object = request.into_inner();
        name_of(&object)?;
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let most = format!("{STREAMS} streams are open; hint: use type external");
            Status::resource_exhausted(most)
        })?;
        let answer = self.answer.clone();
        let moved = answer.standing.moved();
        let state = Some((answer, object, moved, None::<T>, place));
        let words = stream::unfold(state, move |state| async move {
            let (answer, object, mut moved, told, place) = state?;
            let mut unknown = None;
            loop {
                moved.mark_unchanged();
                let now = match answer.decided(&object) {
                    Ok(replicas) => {
                        unknown = None;
                        Some(say(replicas))
                    }
                    Err(status) if status.code() == Code::NotFound => {
                        let since = *unknown.get_or_insert_with(Instant::now);
                        if UNKNOWN <= since.elapsed() {
                            return Some((Err(status), None));
                        }
                        None
                    }
                    Err(_) => {
                        unknown = None;
                        None
                    }
                };
                if let Some(said) = now.clone().filter(|_| told != now) {
                    return Some((Ok(said), Some((answer, object, moved, now, place))));
                }
                let again = unknown.unwrap_or_else(Instant::now) + UNKNOWN;
                tokio::select! {
                    moved = moved.changed() => moved.ok()?,
                    () = tokio::time::sleep_until(again) => {}
                }
            }
        });
        let stop = self.stop.clone();
        Ok(Response::new(Box::pin(words.take_until(stop.cancelled_owned()))))
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let replicas = self.answer.decided(request.get_ref())?;
        Ok(Response::new(IsActiveResponse { result: 0 < replicas }))
    }

    type StreamIsActiveStream = Streamed<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Streamed<IsActiveResponse>>, Status> {
        self.stream(request, |replicas| IsActiveResponse { result: 0 < replicas })
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        // An HPA is made of this: not before the stage is known to be decided on.
        self.answer.decided(request.get_ref())?;
        Ok(Response::new(spec()))
    }

    type StreamMetricSpecStream = Streamed<GetMetricSpecResponse>;

    /// What `get_metric_spec` answers, as soon as the stage is decided on. It never changes, so nothing follows.
    async fn stream_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<Streamed<GetMetricSpecResponse>>, Status> {
        self.stream(request, |_| spec())
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let GetMetricsRequest { scaled_object_ref, metric_name } = request.get_ref();
        if metric_name != METRIC {
            return Err(Status::not_found(format!("no metric {metric_name}, only {METRIC}")));
        }
        let object = scaled_object_ref
            .as_ref()
            .ok_or_else(|| Status::invalid_argument("no scaledObjectRef is given"))?;
        let replicas = self.answer.decided(object)?;
        let value = MetricValue {
            metric_name: METRIC.to_owned(),
            metric_value: replicas.into(),
            metric_value_float: replicas.into(),
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}

/// The one metric that there is.
fn spec() -> GetMetricSpecResponse {
    let spec =
        MetricSpec { metric_name: METRIC.to_owned(), target_size: 1, target_size_float: 1.0 };
    GetMetricSpecResponse { metric_specs: vec![spec] }
}

/// The pipeline that is meant: metadata `pipeline`, in the object's own namespace.
fn name_of(object: &ScaledObjectRef) -> Result<PipelineId, Status> {
    let name = object.scaler_metadata.get("pipeline").ok_or_else(|| {
        Status::invalid_argument("metadata pipeline is missing; hint: name the ScaledPipeline")
    })?;
    Ok(PipelineId { namespace: object.namespace.as_str().into(), name: name.as_str().into() })
}

impl Answer {
    /// How many replicas were decided for what the object names.
    fn decided(&self, object: &ScaledObjectRef) -> Result<u32, Status> {
        let id = name_of(object)?;
        if !(self.pulse.is_ready() && self.pulse.is_alive()) {
            return Err(Status::unavailable("nothing is decided yet, or the process is ending"));
        }
        let picture =
            self.standing.of(&id).ok_or_else(|| Status::not_found(format!("no pipeline {id}")))?;
        if let Some(fault) = picture.glance.faults.first() {
            return Err(Status::failed_precondition(format!("pipeline {id}: {fault}")));
        }
        let named = object.scaler_metadata.get("stage");
        let mut found = picture
            .verdicts
            .iter()
            .filter(|verdict| named.is_none_or(|stage| **stage == *verdict.stage.name));
        let verdict = found.next().ok_or_else(|| {
            Status::not_found(format!("pipeline {id} has no stage {}", named.map_or("", |it| it)))
        })?;
        if found.next().is_some() {
            return Err(Status::invalid_argument(format!(
                "pipeline {id} has several stages; hint: name one in metadata stage"
            )));
        }
        let why = || verdict.reason().map(ToString::to_string).unwrap_or_default();
        let decided = verdict.replicas.ok_or_else(|| Status::unavailable(why()))?;
        // What is decided of a paused stage is told and not carried out, here no more than elsewhere.
        Ok(picture.paused_at(verdict.stage.index).unwrap_or(decided))
    }
}
