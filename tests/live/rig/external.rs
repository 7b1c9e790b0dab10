//! `external.metrics.k8s.io` and `metrics.k8s.io`, answered by this process: what a real HPA or Penstock asks for goes to whoever started
//! it. Used by the test that pins the HPA, by the benchmark that runs a plain HPA on lag, and by the test of CPU and memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use anyhow::{Context, Result};
use axum::body::Body;
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Authority, Cluster, until};

const GROUP: &str = "external.metrics.k8s.io";
const NAMESPACE: &str = "default";
const START: Duration = Duration::from_mins(1);

/// Answers what a metric is worth, by its namespace and its name; `None` is an error to who asked. It may take its time.
pub(crate) type Answer =
    Arc<dyn Fn(String, String) -> BoxFuture<'static, Option<f64>> + Send + Sync>;

/// Answers a path below the group's version with an object; `None` is nothing found.
pub(crate) type Reply = Arc<dyn Fn(String) -> BoxFuture<'static, Option<Value>> + Send + Sync>;

/// The metrics API of a cluster. Dropped, it answers no more.
#[derive(Debug)]
pub(crate) struct External {
    _tasks: JoinSet<()>,
}

impl External {
    /// Listens, tells the API server of it, and waits until it is served through there.
    pub(crate) async fn serve(cluster: &Cluster, answer: Answer) -> Result<Self> {
        let reply: Reply = Arc::new(move |path| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                let parts: Vec<&str> = path.split('/').collect();
                let ["", "namespaces", namespace, metric] = parts[..] else { return None };
                let value = answer(namespace.to_owned(), metric.to_owned()).await?;
                Some(list(metric, value))
            })
        });
        Self::serve_group(cluster, GROUP, reply).await
    }

    /// The same for any API group, version v1beta1.
    pub(crate) async fn serve_group(
        cluster: &Cluster,
        group: &'static str,
        reply: Reply,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for metrics")?;
        let port = listener.local_addr()?.port();
        let tls = TlsAcceptor::from(Arc::new(tls(group)?));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok(call) = listener.accept().await {
                lines.spawn(carry(call, tls.clone(), (group, Arc::clone(&reply))));
                while lines.try_join_next().is_some() {}
            }
        });
        cluster.apply(NAMESPACE, &objects(group, port)).await?;
        let client = cluster.client().await?;
        until(&format!("{group} to be served"), START, async || {
            let path = format!("/apis/{group}/v1beta1");
            client.request_text(Request::get(path).body(Vec::new())?).await?;
            Ok(Some(()))
        })
        .await?;
        Ok(Self { _tasks: tasks })
    }
}

/// How the API server reaches this process, which runs outside the cluster.
fn objects(group: &str, port: u16) -> String {
    let name = group.replace('.', "-");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    });
    let api = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": format!("v1beta1.{group}")},
        "spec": {
            "service": {"name": name, "namespace": NAMESPACE, "port": port},
            "group": group, "version": "v1beta1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    });
    format!("{service}\n---\n{api}")
}

fn tls(name: &str) -> Result<ServerConfig> {
    let pair = Authority::new(name)?.server("localhost")?;
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(config)
}

/// One connection of the API server.
async fn carry(
    (stream, _): (tokio::net::TcpStream, SocketAddr),
    tls: TlsAcceptor,
    (group, reply): (&'static str, Reply),
) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let reply = Arc::clone(&reply);
        async move { anyhow::Ok(replied(request.uri().path(), group, &reply).await?) }
    });
    // A connection that breaks is the API server's to make again.
    drop(
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn replied(path: &str, group: &str, reply: &Reply) -> Result<Response<Body>, ::http::Error> {
    let version = format!("{group}/v1beta1");
    let Some(rest) = path.strip_prefix(&format!("/apis/{version}")) else {
        return told(StatusCode::NOT_FOUND, &refused("there is no such path"));
    };
    if rest.is_empty() {
        let all = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []});
        return told(StatusCode::OK, &all);
    }
    match reply(rest.to_owned()).await {
        Some(object) => told(StatusCode::OK, &object),
        None => told(StatusCode::NOT_FOUND, &refused("nobody knows this now")),
    }
}

/// One series of this value, to the thousandth as the HPA reckons.
fn list(metric: &str, value: f64) -> Value {
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": format!("{GROUP}/v1beta1"), "metadata": {},
        "items": [{
            "metricName": metric, "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z",
            "value": format!("{:.0}m", value * 1000.0),
        }],
    })
}

fn refused(message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": message})
}

fn told(code: StatusCode, body: &Value) -> Result<Response<Body>, ::http::Error> {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Body::from(body.to_string()))
}
