//! The calls of the protocol, each with a deadline, and what a refusal means. Used by the source; `streams.rs` opens its streams here.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Address, Ask};
use crate::observe::dial::dial;
use crate::observe::figure::line;
use crate::observe::{Credentials, Error, fault, tls};
use crate::proto::external_scaler::external_scaler_client::ExternalScalerClient;
use crate::proto::external_scaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, ScaledObjectRef,
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// An idle connection is tried so often, so that a stream notices when it is cut.
const PING: Duration = Duration::from_secs(30);
/// An answer longer than this is not read.
const LONGEST: usize = 1 << 20;

/// Makes calls. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub(super) struct Caller {
    at: Arc<str>,
    client: ExternalScalerClient<Channel>,
    login: Option<MetadataValue<Ascii>>,
}

impl Caller {
    /// Does not wait for the server: the first call connects.
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let at: Arc<str> = to.host.as_str().into();
        let login = if to.basic {
            let name = fault::text(&at, keys, "username")?;
            let password = fault::text(&at, keys, "password")?;
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            let mut value: MetadataValue<Ascii> =
                value.parse().map_err(|_| Error::CredentialsInvalid {
                    at: Arc::clone(&at),
                    usage: "password",
                    detail: "it holds a character that no header may have".to_owned(),
                })?;
            value.set_sensitive(true);
            Some(value)
        } else {
            None
        };
        let tls = if to.tls {
            let mut config = tls::config(&at, keys)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(TlsConnector::from(Arc::new(config)))
        } else {
            None
        };
        // TLS is spoken below, so that it is the same for every source.
        let endpoint = Endpoint::from_shared(format!("http://{}", to.host)).map_err(|error| {
            Error::Unreachable { at: Arc::clone(&at), detail: line(&error.to_string()) }
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(CONNECT)
            .keep_alive_while_idle(true);
        let host = to.host.clone();
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let (host, tls) = (host.clone(), tls.clone());
            async move { dial(&host, tls.as_ref()).await.map(TokioIo::new) }
        }));
        let client = ExternalScalerClient::new(channel).max_decoding_message_size(LONGEST);
        Ok(Self { at, client, login })
    }

    /// Its name in errors.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// Any answer will do: nobody may be asked about yet.
    pub(super) async fn greet(&self, deadline: Instant) -> Result<(), Error> {
        let mut client = self.client.clone();
        let request = self.request(ScaledObjectRef::default(), Some(deadline));
        match self.within(deadline, client.is_active(request)).await {
            Err(
                error @ (Error::Unreachable { .. }
                | Error::AuthenticationFailed { .. }
                | Error::TlsFailed { .. }
                | Error::Timeout { .. }),
            ) => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) async fn specs(
        &self,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<GetMetricSpecResponse, Error> {
        let mut client = self.client.clone();
        let request = self.request(ask.object(), Some(deadline));
        self.within(deadline, client.get_metric_spec(request)).await
    }

    pub(super) async fn metrics(
        &self,
        ask: &Ask,
        metric: &str,
        deadline: Instant,
    ) -> Result<GetMetricsResponse, Error> {
        let mut client = self.client.clone();
        let request = GetMetricsRequest {
            scaled_object_ref: Some(ask.object()),
            metric_name: metric.to_owned(),
        };
        let request = self.request(request, Some(deadline));
        self.within(deadline, client.get_metrics(request)).await
    }

    pub(super) async fn is_active(&self, ask: &Ask, deadline: Instant) -> Result<bool, Error> {
        let mut client = self.client.clone();
        let request = self.request(ask.object(), Some(deadline));
        Ok(self.within(deadline, client.is_active(request)).await?.result)
    }

    /// Opens a stream; the server may take any time for its first word.
    pub(super) async fn stream(&self, ask: &Ask) -> Result<Streaming<IsActiveResponse>, Status> {
        let mut client = self.client.clone();
        let request = self.request(ask.object(), None);
        client.stream_is_active(request).await.map(Response::into_inner)
    }

    fn request<T>(&self, message: T, deadline: Option<Instant>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(login) = &self.login {
            request.metadata_mut().insert("authorization", login.clone());
        }
        request
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_) => Err(Error::Timeout {
                at: Arc::clone(&self.at),
                detail: "waited for its answer".to_owned(),
            }),
        }
    }

    /// What a status that is not OK means.
    fn refused(&self, status: &Status) -> Error {
        let at = Arc::clone(&self.at);
        let detail = line(status.message());
        if let Some(cause) = std::error::Error::source(status) {
            return fault::transport(&self.at, cause);
        }
        match status.code() {
            Code::Unauthenticated => Error::AuthenticationFailed { at, detail },
            Code::PermissionDenied => {
                Error::AccessDenied { at, what: "this metric".to_owned(), detail }
            }
            Code::NotFound => Error::NotFound { at, what: format!("such object: {detail}") },
            Code::InvalidArgument => Error::QueryRefused { at, detail },
            Code::Unimplemented => {
                Error::QueryRefused { at, detail: "it is no external scaler".to_owned() }
            }
            Code::DeadlineExceeded | Code::Cancelled => Error::Timeout { at, detail },
            code @ (Code::Ok
            | Code::Unknown
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss) => {
                let detail = format!("{}: {detail}", code.description());
                Error::SourceFailed { at, about: "the question".to_owned(), detail }
            }
        }
    }
}
