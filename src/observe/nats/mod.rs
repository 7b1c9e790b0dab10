//! NATS `JetStream`: what a consumer of a stream has not taken, and what it took and did not acknowledge. One connection for each
//! address; all questions of a visit are on their way at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::figure::{count, line, unusable};
use super::ledger::{Counts, Ledger};
use super::{Answer, Asked, Credentials, Error, Source};
use crate::clock::Clock;
use crate::decide::{Queue, Value};

mod link;
mod info;

use info::{Fault, Info};
use link::Link;

/// Questions on their way at once.
const AT_ONCE: usize = 256;
/// How long one answer may take. Less than a visit, so that one that hangs delays no other.
const PATIENCE: Duration = Duration::from_secs(2);
/// And how long for a consumer that gave none last time.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// A NATS and how to log in. Secrets are not part of it: they come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// `nats://` or `tls://`, host and perhaps a port.
    pub url: String,
    /// Must it be TLS? With `ca` of the credentials, else the system's roots; with `cert` and `key` also mutual.
    pub tls: bool,
    /// How to log in.
    pub login: Login,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// How to log in to a NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// Not at all, or by client certificate.
    Nobody,
    /// `username` and `password` of the credentials.
    Password,
    /// `token` of the credentials.
    Token,
    /// `creds` of the credentials: a user's JWT and seed, as `nsc` writes them.
    Credentials,
    /// `nkey` of the credentials: a user's seed.
    Nkey,
}

/// What to read: what a consumer has to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Its stream.
    pub stream: String,
    /// Its durable name.
    pub consumer: String,
}

impl Ask {
    /// How errors call it.
    fn title(&self) -> String {
        format!("consumer {} of stream {}", self.consumer, self.stream)
    }

    /// Where the server is asked.
    fn subject(&self) -> String {
        format!("$JS.API.CONSUMER.INFO.{}.{}", self.stream, self.consumer)
    }
}

/// A NATS, visited.
pub(crate) struct Nats {
    link: Link,
    /// What was counted.
    ledgers: BTreeMap<Ask, Ledger>,
    /// Consumers that gave no answer last time.
    slow: BTreeSet<Ask>,
}

impl Source for Nats {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Nats(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        let link = Link::new(to, keys)?;
        Ok(Self { link, ledgers: BTreeMap::new(), slow: BTreeSet::new() })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.link.ready(deadline).await.map(drop)
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        let client = match self.link.ready(deadline).await {
            Ok(client) => client,
            Err(error) => return vec![Err(error); asks.len()],
        };
        let wanted: BTreeSet<&Ask> = asks.iter().map(|asked| asked.ask).collect();
        let this = &*self;
        let all: Vec<_> = wanted
            .into_iter()
            .map(|ask| {
                let patience = if this.slow.contains(ask) { IMPATIENCE } else { PATIENCE };
                let deadline = deadline.min(Instant::now() + patience);
                let client = client.clone();
                async move {
                    let said = this.link.ask(&client, ask.subject(), &ask.title(), deadline).await;
                    (ask, said.and_then(|said| this.understood(ask, &said)))
                }
            })
            .collect();
        let found: BTreeMap<&Ask, Result<Counts, Error>> =
            futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        self.slow = found
            .iter()
            .filter(|(_, found)| matches!(found, Err(Error::Timeout { .. })))
            .map(|(ask, _)| (*ask).clone())
            .collect();
        // A line on which nobody answers is not trusted any longer.
        if found.values().all(|found| found.as_ref().is_err_and(Error::is_of_connection)) {
            self.link.hang_up();
        }
        let mut values = BTreeMap::new();
        for (ask, found) in found {
            let value = found.map(|counts| {
                let mut queue = Queue { backlog: counts.waiting, ..Queue::default() };
                self.ledgers.entry(ask.clone()).or_default().enter(
                    counts,
                    Instant::now(),
                    &mut queue,
                );
                (Value::Queue(queue), None)
            });
            values.insert(ask, value);
        }
        let nobody = || Err(Error::InternalError { at: Arc::clone(self.link.at()) });
        asks.iter().map(|asked| values.get(asked.ask).cloned().unwrap_or_else(nobody)).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        self.ledgers = std::mem::take(&mut old.ledgers);
        self.slow = std::mem::take(&mut old.slow);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        let in_force: BTreeSet<&Ask> = in_force.iter().copied().collect();
        self.ledgers.retain(|ask, _| in_force.contains(ask));
        self.slow.retain(|ask| in_force.contains(ask));
    }

    async fn close(mut self) {
        self.link.hang_up();
    }
}

impl Nats {
    /// What an answer says of one consumer.
    fn understood(&self, ask: &Ask, said: &[u8]) -> Result<Counts, Error> {
        let at = || Arc::clone(self.link.at());
        let failed = |detail: &str| Error::SourceFailed {
            at: at(),
            about: ask.title(),
            detail: detail.to_owned(),
        };
        let Ok(info) = serde_json::from_slice::<Info>(said) else {
            return Err(failed("its answer is not what JetStream says"));
        };
        if let Some(fault) = &info.error {
            return Err(self.refused(ask, fault));
        }
        if info.stream_name != ask.stream || info.name != ask.consumer {
            return Err(failed("it answers for another consumer"));
        }
        let number = |what: &serde_json::Value| {
            count(what).ok_or_else(|| unusable(self.link.at(), &ask.title(), &what.to_string()))
        };
        let (pending, unacked) = (number(&info.num_pending)?, number(&info.num_ack_pending)?);
        let taken = number(&info.delivered.consumer_seq)?;
        Ok(Counts {
            came: None,
            // A message that is delivered once more counts as taken once more.
            done: taken.saturating_sub(unacked),
            waiting: pending.saturating_add(unacked),
        })
    }

    /// JetStream's own error.
    fn refused(&self, ask: &Ask, fault: &Fault) -> Error {
        let at = Arc::clone(self.link.at());
        let detail = line(&fault.description);
        match (fault.code, fault.err_code) {
            (_, info::NO_STREAM) => Error::NotFound { at, what: format!("stream {}", ask.stream) },
            (404, _) => Error::NotFound { at, what: ask.title() },
            (_, info::NO_JETSTREAM | info::NO_JETSTREAM_FOR_ACCOUNT) => {
                Error::QueryRefused { at, detail }
            }
            (400, _) => Error::QueryRefused { at, detail },
            (401 | 403, _) => Error::AccessDenied { at, what: ask.title(), detail },
            _ => Error::SourceFailed { at, about: ask.title(), detail },
        }
    }
}
