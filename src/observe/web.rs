//! One HTTP server as a client sees it: a login, a deadline, a bounded answer. Used by the sources that speak HTTP; what an answer means
//! is theirs to say. Follows no redirect, so that a login goes where it was meant to; takes no compressed answer, so that none grows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use super::figure::line;
use super::purse::Purse;
use super::{Credentials, Error, fault, tls};

/// Requests of one client on their way at once, and so the most connections it opens.
pub(super) const AT_ONCE: usize = 4;
/// An answer longer than this is not read.
const LONGEST: usize = 1 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

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
    client: Client,
    purse: Option<Purse>,
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
                purse = Some(Purse::new(&at, token_url, scopes, keys)?);
            }
        }
        let client = client(&at, tls::config(&at, keys)?, headers)?;
        Ok(Self { at, client, purse })
    }

    /// Its name in errors.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    /// The client inside, for libraries that want one.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Buys a token when one is needed and the last is about to end.
    pub(super) async fn log_in(&mut self, deadline: Instant) -> Result<(), Error> {
        match &mut self.purse {
            Some(purse) => purse.fill(&self.client, deadline).await,
            None => Ok(()),
        }
    }

    /// What to send as `authorization` besides what the client sends anyhow.
    pub(super) fn token(&self) -> Option<HeaderValue> {
        self.purse.as_ref()?.header()
    }

    /// The server did not take the token: the next visit buys another.
    pub(super) fn discard_token(&mut self) {
        if let Some(purse) = &mut self.purse {
            purse.discard();
        }
    }

    /// A request for a document, logged in.
    pub(super) fn get(&self, url: &str) -> reqwest::RequestBuilder {
        let request = self.client.get(url);
        match self.token() {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    /// The status and the body of an answer.
    pub(super) async fn answer<E: std::error::Error + 'static>(
        &self,
        deadline: Instant,
        request: impl Future<Output = Result<Response, E>>,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let response = within(&self.at, deadline, request).await?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let detail = "status 401".to_owned();
            return Err(Error::AuthenticationFailed { at: Arc::clone(&self.at), detail });
        }
        Ok((status, body(&self.at, deadline, response).await?))
    }
}

/// An HTTP client as all of ours are.
pub(super) fn client(
    at: &Arc<str>,
    tls: ClientConfig,
    headers: HeaderMap,
) -> Result<Client, Error> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .default_headers(headers)
        .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
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

fn late(at: &Arc<str>) -> Error {
    Error::Timeout { at: Arc::clone(at), detail: "waited for its answer".to_owned() }
}

/// Reads a body, at most so long and until the deadline.
pub(super) async fn body(
    at: &Arc<str>,
    deadline: Instant,
    mut response: Response,
) -> Result<Vec<u8>, Error> {
    let too_long = || Error::SourceFailed {
        at: Arc::clone(at),
        about: "the question".to_owned(),
        detail: "its answer is longer than 1 MiB".to_owned(),
    };
    if response.content_length().is_some_and(|length| LONGEST as u64 <= length) {
        return Err(too_long());
    }
    let mut whole = Vec::new();
    loop {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) if whole.len() + chunk.len() < LONGEST => whole.extend(&chunk),
            Ok(Ok(Some(_))) => return Err(too_long()),
            Ok(Ok(None)) => {
                // Lets its connection come back to the pool before the next question looks for one.
                tokio::task::yield_now().await;
                return Ok(whole);
            }
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
