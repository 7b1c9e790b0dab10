//! A small web server whose JSON documents the test writes, perhaps behind a login. Used by the tests of `http` sources and of gates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, StatusCode, Uri};
use anyhow::Result;
use axum::Router;
use axum::extract::State;
use serde_json::Value;
use tokio::task::JoinSet;

use super::served::serve;

/// What it shows, and to whom.
#[derive(Debug, Default)]
struct Shelf {
    documents: BTreeMap<String, Value>,
    /// What has to stand in `authorization`.
    login: Option<String>,
    /// Every question is answered with this status.
    broken: Option<StatusCode>,
}

/// A web server. Dropped, it answers no more.
#[derive(Debug)]
pub(crate) struct Documents {
    port: u16,
    shelf: Arc<Mutex<Shelf>>,
    _tasks: JoinSet<()>,
}

impl Documents {
    /// Listens on a port of its own.
    pub(crate) async fn start() -> Result<Self> {
        let shelf: Arc<Mutex<Shelf>> = Arc::default();
        let router = Router::new().fallback(show).with_state(Arc::clone(&shelf));
        let (port, tasks) = serve(router).await?;
        Ok(Self { port, shelf, _tasks: tasks })
    }

    /// Puts a document at a path, in the place of what was there.
    pub(crate) fn put(&self, path: &str, document: Value) {
        self.shelf().documents.insert(path.to_owned(), document);
    }

    /// Takes a document away.
    pub(crate) fn remove(&self, path: &str) {
        self.shelf().documents.remove(path);
    }

    /// From now on shows documents only to those who send this.
    pub(crate) fn ask_for(&self, authorization: &str) {
        self.shelf().login = Some(authorization.to_owned());
    }

    /// Answers every question with this status, or again with what it has.
    pub(crate) fn break_down(&self, with: Option<StatusCode>) {
        self.shelf().broken = with;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn show(
    State(shelf): State<Arc<Mutex<Shelf>>>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    let given = headers.get(AUTHORIZATION).and_then(|given| given.to_str().ok());
    if let Some(status) = shelf.broken {
        return (status, String::new());
    }
    if shelf.login.as_deref().is_some_and(|wanted| given != Some(wanted)) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    match shelf.documents.get(uri.path()) {
        Some(document) => (StatusCode::OK, document.to_string()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}
