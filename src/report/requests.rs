//! Counts what we ask of the API server: a layer for every client, so that `penstock_api_requests_total` misses none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

/// A request in three words: verb, resource, status code (or `error` when no answer came).
pub type Counted = (&'static str, String, String);

/// The count, and the layer that counts. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<Counted, u64>>>);

impl Requests {
    /// All counts so far.
    pub fn counts(&self) -> BTreeMap<Counted, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, verb: &'static str, resource: String, code: String) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((verb, resource, code)).or_default() += 1;
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counter<S>;

    fn layer(&self, inner: S) -> Counter<S> {
        Counter { inner, requests: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub struct Counter<S> {
    inner: S,
    requests: Requests,
}

impl<S, In, Out> Service<Request<In>> for Counter<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    Out: 'static,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (verb, resource) = words(request.method(), request.uri());
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => "error".to_owned(),
            };
            requests.count(verb, resource, code);
            answer
        })
    }
}

/// Verb and resource, as the API server's own audit names them.
fn words(method: &Method, uri: &http::Uri) -> (&'static str, String) {
    let mut parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let prefix = match parts.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        _ => usize::MAX,
    };
    if parts.len() <= prefix {
        return (verb(method, true, uri), "discovery".to_owned());
    }
    parts.drain(..prefix);
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    let resource = match parts.as_slice() {
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        [] => "discovery".to_owned(),
    };
    (verb(method, parts.len() > 1, uri), resource)
}

fn verb(method: &Method, has_name: bool, uri: &http::Uri) -> &'static str {
    let is_watch = || {
        uri.query().is_some_and(|query| {
            query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
        })
    };
    match *method {
        Method::GET if is_watch() => "watch",
        Method::GET if has_name => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_the_api_server_names_it() {
        for (method, uri, named) in [
            ("GET", "/apis/apps/v1/namespaces/a/deployments/e/scale", ("get", "deployments/scale")),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/e/scale?force=true",
                ("patch", "deployments/scale"),
            ),
            ("GET", "/api/v1/pods?watch=true&x=1", ("watch", "pods")),
            ("GET", "/api/v1/namespaces/a/pods", ("list", "pods")),
            ("GET", "/api/v1/namespaces/a", ("get", "namespaces")),
            ("GET", "/api/v1/namespaces/a/secrets/s", ("get", "secrets")),
            (
                "GET",
                "/apis/penstock.dev/v1alpha1/scaledpipelines?limit=500",
                ("list", "scaledpipelines"),
            ),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/p/leases/p", ("update", "leases")),
            ("POST", "/apis/events.k8s.io/v1/namespaces/p/events", ("create", "events")),
            ("GET", "/apis/apps/v1", ("get", "discovery")),
            ("GET", "/version", ("get", "discovery")),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let (verb, resource) = words(&method, &uri.parse().unwrap());
            assert_eq!((verb, resource.as_str()), named, "{uri}");
        }
    }
}
