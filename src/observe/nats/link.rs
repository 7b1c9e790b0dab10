//! The connection to a NATS: made when it is needed, asked, and given up when it does not answer. Called by the source, once a visit; what
//! answers mean is left to it.
//!
//! The client of the NATS project reconnects by itself; here it may try that once, since a visit that finds no connection makes one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Address, Login};
use crate::observe::figure::line;
use crate::observe::{Credentials, Error, fault, tls};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// An answer longer than this is not read.
const LONGEST: usize = 1 << 20;
/// Complaints of the server that are kept at most.
const COMPLAINTS: usize = 4096;

/// What the server said we may not do, by subject; it says so beside the answers.
type Denied = BTreeMap<String, String>;

/// A connection, or the means to make one.
pub(super) struct Link {
    at: Arc<str>,
    to: Address,
    keys: Credentials,
    client: Option<Client>,
    denied: watch::Sender<Denied>,
}

impl Link {
    /// Does not wait for the server.
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let link = Self {
            at: to.url.as_str().into(),
            to: to.clone(),
            keys: keys.clone(),
            client: None,
            denied: watch::Sender::default(),
        };
        // What cannot be used is told before anybody is called.
        link.options()?;
        Ok(link)
    }

    /// Its name in errors.
    pub(super) fn at(&self) -> &Arc<str> {
        &self.at
    }

    fn options(&self) -> Result<ConnectOptions, Error> {
        let text = |usage: &'static str| fault::text(&self.at, &self.keys, usage);
        let options = match self.to.login {
            Login::Nobody => ConnectOptions::new(),
            Login::Password => {
                ConnectOptions::with_user_and_password(text("username")?, text("password")?)
            }
            Login::Token => ConnectOptions::with_token(text("token")?),
            Login::Nkey => ConnectOptions::with_nkey(text("nkey")?),
            Login::Credentials => {
                // The client wants the line feed at the end that Secrets are read without.
                let creds = format!("{}\n", text("creds")?);
                let invalid = |_| Error::CredentialsInvalid {
                    at: Arc::clone(&self.at),
                    usage: "creds",
                    detail: "it holds no JWT and seed of a user".to_owned(),
                };
                ConnectOptions::with_credentials(&creds).map_err(invalid)?
            }
        };
        let denied = self.denied.clone();
        Ok(options
            .name("penstock")
            .tls_client_config(tls::config(&self.at, &self.keys)?)
            .require_tls(self.to.tls)
            .connection_timeout(CONNECT)
            // One try for a connection that was cut; from then on the visits make new ones.
            .max_reconnects(Some(1_usize))
            .ignore_discovered_servers()
            .request_timeout(None)
            .event_callback(move |event| {
                note(&denied, &event);
                std::future::ready(())
            }))
    }

    /// A client that is connected.
    pub(super) async fn ready(&mut self, deadline: Instant) -> Result<Client, Error> {
        self.denied.send_modify(Denied::clear);
        let connected = self.client.take();
        let connected = connected.filter(|client| client.connection_state() == State::Connected);
        let client = match connected {
            Some(client) => client,
            None => self.connected(deadline).await?,
        };
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn connected(&self, deadline: Instant) -> Result<Client, Error> {
        let connecting = self.options()?.connect(self.to.url.as_str());
        let error = match tokio::time::timeout_at(deadline, connecting).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => error,
            Err(_) => return Err(self.late()),
        };
        let at = Arc::clone(&self.at);
        Err(match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Error::AuthenticationFailed { at, detail: line(&error.kind().to_string()) }
            }
            ConnectErrorKind::TimedOut => self.late(),
            // An account that expired, a user that was revoked.
            ConnectErrorKind::Io if fault::detail(&error).contains("authentication") => {
                Error::AuthenticationFailed { at, detail: fault::detail(&error) }
            }
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => fault::transport(&at, &error),
        })
    }

    /// Asks, and waits for the answer or the word that we may not ask.
    pub(super) async fn ask(
        &self,
        client: &Client,
        subject: String,
        about: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let mut denied = self.denied.subscribe();
        let asked = async {
            tokio::select! {
                said = client.request(subject.clone(), Bytes::new()) => said.map(Some),
                () = refused(&mut denied, &subject) => Ok(None),
            }
        };
        let at = || Arc::clone(&self.at);
        let answered = tokio::time::timeout_at(deadline, asked).await;
        let failed =
            |detail: String| Error::SourceFailed { at: at(), about: about.to_owned(), detail };
        let error = match answered {
            Ok(Ok(Some(said))) if said.payload.len() <= LONGEST => return Ok(said.payload.into()),
            Ok(Ok(Some(_))) => return Err(failed("its answer is longer than 1 MiB".to_owned())),
            Ok(Ok(None)) => {
                let detail = complaint(&self.denied.borrow(), &subject).unwrap_or_default();
                return Err(Error::AccessDenied { at: at(), what: about.to_owned(), detail });
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(self.late()),
        };
        Err(match error.kind() {
            RequestErrorKind::NoResponders => failed(
                "nobody answers for JetStream; hint: is it enabled for this account?".to_owned(),
            ),
            RequestErrorKind::TimedOut => self.late(),
            RequestErrorKind::InvalidSubject => Error::QueryRefused {
                at: at(),
                detail: format!("{about} has a name that no subject may hold"),
            },
            RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::Other => {
                Error::Unreachable { at: at(), detail: "the connection was cut".to_owned() }
            }
        })
    }

    fn late(&self) -> Error {
        Error::Timeout { at: Arc::clone(&self.at), detail: "waited for its answer".to_owned() }
    }

    /// Gives the connection up; it closes when the last request on it is done.
    pub(super) fn hang_up(&mut self) {
        self.client = None;
    }
}

/// Comes back when the server has said that we may not ask there.
async fn refused(denied: &mut watch::Receiver<Denied>, subject: &str) {
    let is_said = denied.wait_for(|denied| complaint(denied, subject).is_some()).await.is_ok();
    if !is_said {
        std::future::pending::<()>().await;
    }
}

/// What the server said about asking there, or about hearing any answer.
fn complaint(denied: &Denied, subject: &str) -> Option<String> {
    let deaf = || denied.iter().find(|(about, _)| about.starts_with("_INBOX.")).map(|(_, it)| it);
    denied.get(subject).or_else(deaf).cloned()
}

/// Keeps what the server says we may not do: `Permissions Violation for Publish to "SUBJECT"`.
fn note(denied: &watch::Sender<Denied>, event: &Event) {
    let Event::ServerError(ServerError::Other(text)) = event else { return };
    let mut parts = text.split('"');
    let (Some(what), Some(subject)) = (parts.next(), parts.next()) else { return };
    if !what.to_ascii_lowercase().starts_with("permissions violation") {
        return;
    }
    denied.send_modify(|denied| {
        if denied.len() < COMPLAINTS {
            denied.insert(subject.to_owned(), line(text));
        }
    });
}
