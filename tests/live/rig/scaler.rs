//! An external scaler as others write them: it speaks KEDA's protocol on a socket of its own, in plain text or with TLS on both sides, answers
//! when it is asked, and says on its streams that there is work. Used by the tests of `external` sources.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use penstock::proto::external_scaler::external_scaler_server::{
    ExternalScaler, ExternalScalerServer,
};
use penstock::proto::external_scaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::{Authority, ports};

/// What one replica serves, by its own account.
const TARGET: f64 = 10.0;

/// What it knows, and what it was asked.
#[derive(Debug, Default)]
struct Desk {
    depth: f64,
    streams: usize,
    /// Namespace, name and queue that were asked for last.
    asked: (String, String, String),
    /// What came as `authorization` last.
    login: Option<String>,
}

/// A scaler. It may be stopped and started again on its port.
#[derive(Debug)]
pub(crate) struct Scaler {
    port: u16,
    tls: Option<ServerTlsConfig>,
    desk: Arc<Mutex<Desk>>,
    active: watch::Sender<bool>,
    /// A runtime of its own: what ends with it are the connections, too.
    runtime: Option<Runtime>,
}

impl Scaler {
    /// In plain text.
    pub(crate) fn start() -> Result<Self> {
        Self::with(None)
    }

    /// With a certificate of this authority, and only for those who show one of it.
    pub(crate) fn start_with_tls(authority: &Authority) -> Result<Self> {
        let pair = authority.server("scaler")?;
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(pair.certificate, pair.key))
            .client_ca_root(Certificate::from_pem(authority.certificate()));
        Self::with(Some(tls))
    }

    fn with(tls: Option<ServerTlsConfig>) -> Result<Self> {
        let (active, _) = watch::channel(false);
        let port = ports::free()?;
        let mut scaler = Self { port, tls, desk: Arc::default(), active, runtime: None };
        scaler.start_again()?;
        Ok(scaler)
    }

    /// Listens.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", self.port)).context("listen")?;
        listener.set_nonblocking(true)?;
        let mut server = Server::builder();
        if let Some(tls) = &self.tls {
            server = server.tls_config(tls.clone())?;
        }
        let service = Service { desk: Arc::clone(&self.desk), active: self.active.subscribe() };
        let router = server.add_service(ExternalScalerServer::new(service));
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            // It ends with its runtime alone.
            drop(router.serve_with_incoming(TcpIncoming::from(listener)).await);
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Hangs up on everybody and listens no more.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// There is so much of what it counts. Whoever asks is told; streams are not.
    pub(crate) fn fill(&self, depth: f64) {
        self.desk().depth = depth;
    }

    /// Says on every stream whether there is work.
    pub(crate) fn say(&self, is_active: bool) {
        self.active.send_replace(is_active);
    }

    /// Streams that were opened so far.
    pub(crate) fn streams(&self) -> usize {
        self.desk().streams
    }

    /// Namespace, name and queue that were asked for last.
    pub(crate) fn asked(&self) -> (String, String, String) {
        self.desk().asked.clone()
    }

    /// What came as `authorization` last.
    pub(crate) fn login(&self) -> Option<String> {
        self.desk().login.clone()
    }

    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scaler {
    /// A runtime must not be waited for in another.
    fn drop(&mut self) {
        self.stop();
    }
}

struct Service {
    desk: Arc<Mutex<Desk>>,
    active: watch::Receiver<bool>,
}

type Streamed = Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

impl Service {
    fn depth<T>(&self, request: &Request<T>, object: &ScaledObjectRef) -> f64 {
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = object.scaler_metadata.get("queue").cloned().unwrap_or_default();
        desk.asked = (object.namespace.clone(), object.name.clone(), queue);
        let login = request.metadata().get("authorization").and_then(|it| it.to_str().ok());
        desk.login = login.map(str::to_owned);
        desk.depth
    }
}

#[tonic::async_trait]
impl ExternalScaler for Service {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let result = 0.0 < self.depth(&request, request.get_ref());
        Ok(Response::new(IsActiveResponse { result }))
    }

    type StreamIsActiveStream = Streamed;

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Streamed>, Status> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner).streams += 1;
        let words = WatchStream::from_changes(self.active.clone());
        Ok(Response::new(Box::pin(words.map(|result| Ok(IsActiveResponse { result })))))
    }

    async fn get_metric_spec(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let spec = MetricSpec {
            metric_name: "tickets".to_owned(),
            target_size: 0,
            target_size_float: TARGET,
        };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    type StreamMetricSpecStream =
        Pin<Box<dyn Stream<Item = Result<GetMetricSpecResponse, Status>> + Send>>;

    async fn stream_metric_spec(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        Err(Status::unimplemented("as most scalers"))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let object = request.get_ref().scaled_object_ref.clone().unwrap_or_default();
        let value = MetricValue {
            metric_name: request.get_ref().metric_name.clone(),
            metric_value: 0,
            metric_value_float: self.depth(&request, &object),
        };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }
}
