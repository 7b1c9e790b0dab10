//! The API as a tower service and as an HTTP server. Made by `Cluster`; requests go on to `http`.

use super::http::Api;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt};

/// The body of an answer: all at once, or line by line for a watch.
#[derive(Debug)]
pub struct Body(UnsyncBoxBody<Bytes, io::Error>);

impl Body {
    pub(super) fn full(bytes: Vec<u8>) -> Self {
        let never = |e: Infallible| match e {};
        Self(UnsyncBoxBody::new(Full::new(Bytes::from(bytes)).map_err(never)))
    }

    pub(super) fn lines(lines: BoxStream<'static, Bytes>) -> Self {
        Self(UnsyncBoxBody::new(StreamBody::new(lines.map(Ok).map_ok(Frame::data))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// The way in: one request in, one answer out. An error is a connection broken on purpose.
#[derive(Debug, Clone)]
pub struct Door {
    api: Arc<Api>,
}

impl Door {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api }
    }
}

impl<B> Service<Request<B>> for Door
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = Arc::clone(&self.api);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            api.answer(parts, body).await
        })
    }
}

/// Takes connections until the task is dropped; each connection is a task of its own in this one's set.
pub(super) async fn serve(listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Small answers must not wait for more to come.
                drop(stream.set_nodelay(true));
                let door = door.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| door.clone().oneshot(request));
                    // A connection that breaks is the caller's to notice.
                    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
