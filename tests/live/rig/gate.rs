//! A gate before a server that lets everybody in: it passes on what the test allows, and turns the rest away in the words of the server it stands for.
//! Used by the tests of logins that a server of the rig does not know.

use std::sync::Arc;

use ::http::{HeaderMap, Request, Response, StatusCode};
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use tokio::task::JoinSet;

use super::http;
use super::served::serve;

/// May whoever sends these headers come in? If not, the status and the body of the refusal.
pub(crate) type Keeper = Arc<dyn Fn(&HeaderMap) -> Result<(), (StatusCode, String)> + Send + Sync>;

/// A gate. Dropped, it is closed to all.
#[derive(Debug)]
pub(crate) struct Gate {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// Before the server at a port of this machine.
    pub(crate) async fn before(server: u16, keeper: Keeper) -> Result<Self> {
        let router = Router::new().fallback(pass).with_state((server, keeper));
        let (port, tasks) = serve(router).await?;
        Ok(Self { port, _tasks: tasks })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn pass(
    State((server, keeper)): State<(u16, Keeper)>,
    request: Request<Body>,
) -> Response<Body> {
    let told = |status: StatusCode, body: String| {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
    };
    if let Err((status, body)) = keeper(request.headers()) {
        return told(status, body);
    }
    match passed_on(server, request).await {
        Ok((code, body)) => {
            told(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY), body)
        }
        Err(error) => told(StatusCode::BAD_GATEWAY, format!("{error:#}")),
    }
}

async fn passed_on(server: u16, request: Request<Body>) -> Result<(u16, String)> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().context("no path")?.as_str();
    if parts.method == ::http::Method::GET {
        return http::get(server, path).await;
    }
    let body = axum::body::to_bytes(body, 1 << 20).await?;
    let name = |name: &::http::HeaderName| name.as_str().to_owned();
    let own = ["host", "content-length", "connection", "accept-encoding"];
    let kept = parts.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers: Vec<_> = kept
        .filter_map(|(key, value)| Some((name(key), value.to_str().ok()?.to_owned())))
        .collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    http::post(server, path, &headers, std::str::from_utf8(&body)?).await
}
