//! Writes requests to an API server down by their shape. As a proxy before a real server it hears whoever has its kubeconfig; as a
//! client it hears the conformance cases. Called by the test that holds the one against the other.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    TRANSFER_ENCODING,
};
use ::http::{Method, Request, Response, StatusCode, Uri};
use anyhow::{Context, Result};
use axum::Router;
use axum::response::IntoResponse;
use kube::Client;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::certs::write;
use super::folder;

/// Bodies are no larger than this.
const LARGEST: usize = 16 << 20;

/// What a request is like, whatever it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; else the method.
    verb: String,
    /// `deployments.apps/scale`; any custom kind is `(custom)`; a path for what is no resource.
    resource: String,
    /// Content type of the body.
    media: String,
    /// The form of answer that is asked for first, where it is not the object itself: `Table`, `PartialObjectMetadataList`.
    form: String,
    /// Keys of the query.
    query: BTreeSet<String>,
    /// HTTP status of the answer.
    code: u16,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        for (index, key) in self.query.iter().enumerate() {
            write!(f, "{}{key}", if index == 0 { '?' } else { '&' })?;
        }
        if !self.media.is_empty() {
            write!(f, " of {}", self.media)?;
        }
        if !self.form.is_empty() {
            write!(f, " as {}", self.form)?;
        }
        write!(f, " -> {}", self.code)
    }
}

impl Shape {
    fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let query = uri.query().unwrap_or_default();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let is_watch =
            pairs.iter().any(|(key, value)| key == "watch" && (value == "true" || value == "1"));
        let (resource, is_named) = resource(uri.path());
        let verb = match (method.as_str(), is_named) {
            (method, None) => method.to_lowercase(),
            ("GET", _) if is_watch => "watch".to_owned(),
            ("GET", Some(true)) => "get".to_owned(),
            ("GET", Some(false)) => "list".to_owned(),
            ("DELETE", Some(false)) => "deletecollection".to_owned(),
            ("POST", _) => "create".to_owned(),
            ("PUT", _) => "update".to_owned(),
            (method, _) => method.to_lowercase(),
        };
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = if *method == Method::GET { "" } else { text(CONTENT_TYPE) };
        Self {
            verb,
            resource,
            media: media.split(';').next().unwrap_or_default().to_owned(),
            form: form(text(ACCEPT)),
            query: pairs.into_iter().map(|(key, _)| key.into_owned()).collect(),
            code: 0,
        }
    }
}

/// The resource of a path, and whether it names one object; `None` for a path that is no resource.
fn resource(path: &str) -> (String, Option<bool>) {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
        ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
        parts => {
            // The version of a custom kind says no more than its group.
            let known = parts.iter().take_while(|part| !is_custom(part));
            let is_known = known.clone().count() == parts.len();
            let named = known.copied().chain((!is_known).then_some("(custom)"));
            return (format!("/{}", named.collect::<Vec<_>>().join("/")), None);
        }
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let plural = match rest.first() {
        Some(_) if is_custom(group) => "(custom)".to_owned(),
        Some(plural) if group.is_empty() => (*plural).to_owned(),
        Some(plural) => format!("{plural}.{group}"),
        None => String::new(),
    };
    let resource = rest.get(2).map_or_else(|| plural.clone(), |sub| format!("{plural}/{sub}"));
    (resource, Some(rest.len() > 1))
}

/// Groups of custom kinds have a domain that is not Kubernetes' own.
fn is_custom(group: &str) -> bool {
    group.contains('.') && !group.ends_with(".k8s.io")
}

fn form(accept: &str) -> String {
    let first = accept.split(',').next().unwrap_or_default();
    let mut words = first.split(';').map(str::trim);
    let media = words.next().unwrap_or_default();
    match words.find_map(|word| word.strip_prefix("as=")) {
        Some(form) => form.to_owned(),
        None if ["", "*/*", "application/json"].contains(&media) => String::new(),
        None => media.to_owned(),
    }
}

/// What was asked, by shape. Clones write into the same book.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<BTreeSet<Shape>>>);

impl Recorder {
    /// What was asked so far.
    pub(crate) fn shapes(&self) -> BTreeSet<Shape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client whose requests are written down on their way to another.
    pub(crate) fn client(&self, to: Client) -> Client {
        let recorder = self.clone();
        let namespace = to.default_namespace().to_owned();
        let pass = move |request: Request<Body>| {
            let (recorder, to) = (recorder.clone(), to.clone());
            async move { recorder.pass(&to, request).await }
        };
        Client::new(tower::service_fn(pass), namespace)
    }

    /// Serves whoever comes with the kubeconfig of the proxy, with the rights of `to`.
    pub(crate) async fn before(&self, to: Client) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for requests")?;
        let address = listener.local_addr()?;
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster: {{server: \"http://{address}\"}}\nusers:\n- name: test\n  user: {{}}\ncontexts:\n- name: test\n  context: {{cluster: test, user: test}}\n"
        );
        let kubeconfig = write(&folder::fresh("recorder")?, "kubeconfig", &kubeconfig)?;
        let recorder = self.clone();
        let app = Router::new().fallback(move |request: Request<axum::body::Body>| {
            let (recorder, to) = (recorder.clone(), to.clone());
            async move {
                recorder.forward(&to, request).await.unwrap_or_else(|error| {
                    (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()
                })
            }
        });
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await });
        Ok(Proxy { kubeconfig, _task: task })
    }

    async fn forward(
        &self,
        to: &Client,
        request: Request<axum::body::Body>,
    ) -> Result<Response<axum::body::Body>> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LARGEST).await?;
        let mut onward = Request::builder().method(parts.method).uri(parts.uri);
        let own = [HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, ACCEPT_ENCODING];
        for (name, value) in parts.headers.iter().filter(|(name, _)| !own.contains(name)) {
            onward = onward.header(name, value);
        }
        let mut answer = self.pass(to, onward.body(Body::from(body))?).await?;
        answer.headers_mut().remove(TRANSFER_ENCODING);
        Ok(answer.map(axum::body::Body::new))
    }

    async fn pass(
        &self,
        to: &Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, kube::Error> {
        let shape = Shape::new(request.method(), request.uri(), request.headers());
        let answer = to.send(request).await?;
        let shape = Shape { code: answer.status().as_u16(), ..shape };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shape);
        Ok(answer)
    }
}

/// A recorder that listens. Dropped, it does no more.
#[derive(Debug)]
pub(crate) struct Proxy {
    kubeconfig: PathBuf,
    _task: JoinSet<std::io::Result<()>>,
}

impl Proxy {
    /// How to reach the server through it.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
