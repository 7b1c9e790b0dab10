//! One HTTP server as a client sees it: a login, a deadline, a bounded answer, over the few connections of `lines.rs`. Used by the sources that
//! speak HTTP; what an answer means is theirs to say. Follows no redirect, so that a login goes where it was meant to; takes no compressed answer, so that none grows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::Full;
use hyper::body::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::figure::line;
use super::lines::Lines;
use super::purse::Purse;
use super::{Credentials, Error, fault, tls};

/// Requests of one client on their way at once, and the most connections it has.
pub(super) const AT_ONCE: usize = 4;
/// An answer longer than this is not read.
pub(super) const LONGEST: usize = 1 << 20;
/// How long a connection may take to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Who we say we are.
const AGENT: &str = concat!("penstock/", env!("CARGO_PKG_VERSION"));
/// What a form is sent as.
const FORM: &str = "application/x-www-form-urlencoded";

/// An HTTP server and how to log in. Secrets are not part of it: they come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// Scheme, host, port and perhaps a path; without user, password and query. `https` takes `ca` from the credentials, else the
    /// system's roots; with `cert` and `key` also mutual.
    pub url: String,
    /// Headers to send with every request.
    pub headers: Vec<(String, String)>,
    /// How to log in.
    pub login: Login,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// How to log in to an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// Not at all, or by client certificate.
    Nobody,
    /// `username` and `password` of the credentials.
    Basic,
    /// `token` of the credentials.
    Bearer,
    /// OAuth 2.0 client credentials (RFC 6749 section 4.4): `client-id` and `client-secret` of the credentials buy a token.
    OAuth2 {
        /// Where.
        token_url: String,
        /// For what; may be empty.
        scopes: Vec<String>,
    },
}

/// A client of one HTTP server.
#[derive(Debug)]
pub(super) struct Web {
    at: Arc<str>,
    /// The path of the address, without a slash at its end.
    base: String,
    lines: Lines,
    headers: HeaderMap,
    /// What buys tokens, and what carries it to those who sell them.
    purse: Option<(Purse, Client)>,
}

impl Web {
    /// A client; does not wait for the server.
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let at: Arc<str> = to.url.as_str().into();
        let mut headers = HeaderMap::new();
        for (name, value) in &to.headers {
            // Checked when they were read; what is no header after all is not sent.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        let text = |usage: &'static str| fault::text(&at, keys, usage);
        let mut purse = None;
        match &to.login {
            Login::Nobody => {}
            Login::Basic => {
                let pair = format!("{}:{}", text("username")?, text("password")?);
                let value = format!("Basic {}", STANDARD.encode(pair));
                headers.insert(AUTHORIZATION, secret(&at, "password", &value)?);
            }
            Login::Bearer => {
                let value = format!("Bearer {}", text("token")?);
                headers.insert(AUTHORIZATION, secret(&at, "token", &value)?);
            }
            Login::OAuth2 { token_url, scopes } => {
                // Another server than this one: it sees no certificate and no header of ours, and may be known to others than our `ca`.
                let buyer = client(&at, tls::beside(&at, keys)?, HeaderMap::new())?;
                purse = Some((Purse::new(&at, token_url, scopes, keys)?, buyer));
            }
        }
        let url = Url::parse(&to.url).map_err(|error| unfit(&at, &error.to_string()))?;
        let (host, port) = (url.host_str(), url.port_or_known_default());
        let (Some(host), Some(port)) = (host, port) else {
            return Err(unfit(&at, "it names no host"));
        };
        // Read even where no TLS is spoken, so that what cannot be used is told.
        let tls = tls::config(&at, keys)?;
        let tls = (url.scheme() == "https").then(|| TlsConnector::from(Arc::new(tls)));
        let lines = Lines::to(&at, format!("{host}:{port}"), tls);
        let named = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let named =
            HeaderValue::from_str(&named).map_err(|error| unfit(&at, &error.to_string()))?;
        headers.entry(HOST).or_insert(named);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let base = url.path().trim_end_matches('/').to_owned();
        Ok(Self { at, base, lines, headers, purse })
    }

    /// Its name in errors.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// Buys a token when one is needed and the last is about to end.
    pub(super) async fn log_in(&mut self, deadline: Instant) -> Result<(), Error> {
        match &mut self.purse {
            Some((purse, client)) => purse.fill(client, deadline).await,
            None => Ok(()),
        }
    }

    /// The server did not take the token: the next visit buys another.
    pub(super) fn discard_token(&mut self) {
        if let Some((purse, _)) = &mut self.purse {
            purse.discard();
        }
    }

    /// The status and the body of a document of the server, logged in.
    pub(super) async fn get(
        &self,
        url: &str,
        deadline: Instant,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        self.ask(Request::get(self.path(url)?), Bytes::new(), deadline).await
    }

    /// What a form that only asks is answered with.
    pub(super) async fn post(
        &self,
        url: &str,
        form: String,
        deadline: Instant,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let request = Request::post(self.path(url)?).header(CONTENT_TYPE, FORM);
        self.ask(request, form.into(), deadline).await
    }

    /// The part of a URL that is sent.
    fn path(&self, url: &str) -> Result<String, Error> {
        let url = Url::parse(url).map_err(|error| unfit(&self.at, &error.to_string()))?;
        // The login is for what lies below the address.
        let is_below = url
            .path()
            .strip_prefix(&self.base)
            .is_some_and(|it| it.is_empty() || it.starts_with('/'));
        if !is_below {
            let detail = format!("{} lies beside the Connection's URL", line(url.path()));
            return Err(Error::QueryRefused { at: Arc::clone(&self.at), detail });
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("{}{query}", url.path()))
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let request = request.body(Full::new(body));
        let mut request = request.map_err(|error| unfit(&self.at, &error.to_string()))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(token) = self.purse.as_ref().and_then(|(purse, _)| purse.header()) {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let (status, said) = self.lines.ask(request, deadline).await?;
        if status == StatusCode::UNAUTHORIZED {
            let detail = "status 401".to_owned();
            return Err(Error::AuthenticationFailed { at: Arc::clone(&self.at), detail });
        }
        Ok((status, said))
    }
}

/// What is no address.
fn unfit(at: &Arc<str>, detail: &str) -> Error {
    Error::Unreachable { at: Arc::clone(at), detail: line(detail) }
}

/// An HTTP client for servers whose addresses are not known before, as those that sell tokens.
pub(super) fn client(
    at: &Arc<str>,
    tls: ClientConfig,
    headers: HeaderMap,
) -> Result<Client, Error> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .default_headers(headers)
        .user_agent(AGENT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(AT_ONCE)
        .connect_timeout(CONNECT)
        .build();
    client.map_err(|error| Error::CredentialsInvalid {
        at: Arc::clone(at),
        usage: "ca",
        detail: fault::detail(&error),
    })
}

/// The error of a status that is no success, for what was asked.
pub(super) fn refused(at: &Arc<str>, what: &str, status: StatusCode, said: &[u8]) -> Error {
    let at = Arc::clone(at);
    let said = line(&String::from_utf8_lossy(said));
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { at, what: what.to_owned() },
        StatusCode::FORBIDDEN => {
            Error::AccessDenied { at, what: what.to_owned(), detail: "status 403".to_owned() }
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Error::QueryRefused { at, detail: said }
        }
        _ => {
            let mut detail = format!("status {}", status.as_u16());
            if status.is_redirection() {
                detail.push_str(", a redirect; hint: give the Connection the address it leads to");
            }
            Error::SourceFailed { at, about: what.to_owned(), detail }
        }
    }
}

/// Waits for an answer, at most until the deadline.
pub(super) async fn within<E: std::error::Error + 'static>(
    at: &Arc<str>,
    deadline: Instant,
    request: impl Future<Output = Result<Response, E>>,
) -> Result<Response, Error> {
    match tokio::time::timeout_at(deadline, request).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(fault::transport(at, &error)),
        Err(_) => Err(late(at)),
    }
}

/// No answer came in time.
pub(super) fn late(at: &Arc<str>) -> Error {
    Error::Timeout { at: Arc::clone(at), detail: "waited for its answer".to_owned() }
}

/// The answer is not read to its end.
pub(super) fn too_long(at: &Arc<str>) -> Error {
    Error::SourceFailed {
        at: Arc::clone(at),
        about: "the question".to_owned(),
        detail: "its answer is longer than 1 MiB".to_owned(),
    }
}

/// Reads a body, at most so long and until the deadline.
pub(super) async fn body(
    at: &Arc<str>,
    deadline: Instant,
    mut response: Response,
) -> Result<Vec<u8>, Error> {
    if response.content_length().is_some_and(|length| LONGEST as u64 <= length) {
        return Err(too_long(at));
    }
    let mut whole = Vec::new();
    loop {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) if whole.len() + chunk.len() < LONGEST => whole.extend(&chunk),
            Ok(Ok(Some(_))) => return Err(too_long(at)),
            Ok(Ok(None)) => return Ok(whole),
            Ok(Err(error)) => return Err(fault::transport(at, &error)),
            Err(_) => return Err(late(at)),
        }
    }
}

/// A header that is never printed.
pub(super) fn secret(
    at: &Arc<str>,
    usage: &'static str,
    value: &str,
) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(value).map_err(|_| Error::CredentialsInvalid {
        at: Arc::clone(at),
        usage,
        detail: "it holds a character that no header may have".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
