//! The age of a dataset: time since a run that wrote it last completed, by the OpenLineage events that this replica and the others have taken.
//! Before each reading the other replicas are asked what they have heard, so that an event may reach any of them, and one that starts anew
//! learns from those that stay. What nobody has heard of is not known, which is neither young nor old.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use reqwest::Client;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

mod inbox;

pub use inbox::{Dataset, Event, Heard, Inbox, Peers};

use super::web::{self, AT_ONCE, body, within};
use super::{Answer, Asked, Credentials, Error, Source, figure, tls};
use crate::clock::Clock;
use crate::decide::Value;

/// What to do about a dataset of which nobody has heard.
const POST: &str = "post OpenLineage events to /api/v1/lineage; after a restart the next run tells";
const LISTEN: &str = "start Penstock with --lineage-listen, so that it takes OpenLineage events";

/// The one place where events are kept: the daemon itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lineage")
    }
}

/// What to read: the age of a dataset.
pub type Ask = Dataset;

/// The address, and what is kept there.
#[derive(Debug, Clone)]
pub(crate) struct Place(pub(crate) Inbox);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Address.fmt(f)
    }
}

/// There is one place.
impl Ord for Place {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

/// What was heard, visited.
#[derive(Debug)]
pub(crate) struct Lineage {
    inbox: Inbox,
    client: Client,
    clock: Clock,
    /// Peers that did not answer lately: told once.
    away: Vec<String>,
}

impl Source for Lineage {
    type Address = Place;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Lineage(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Place, _: &Credentials, clock: Clock) -> Result<Self, Error> {
        let at: Arc<str> = Address.to_string().into();
        let tls = tls::config(&at, &Credentials::default())?;
        let client = web::client(&at, tls, HeaderMap::new())?;
        Ok(Self { inbox: to.0.clone(), client, clock, away: Vec::new() })
    }

    /// Nobody logs in here.
    async fn greet(&mut self, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        self.hear_the_others(deadline).await;
        asks.iter().map(|asked| self.age(asked.ask)).collect()
    }

    async fn stir(&mut self) {
        self.inbox.news().await;
    }

    fn inherit(&mut self, _: &mut Self) {}

    fn forget(&mut self, _: &[&Ask]) {}

    async fn close(self) {}
}

impl Lineage {
    /// Asks every other replica what it has heard. One that is away may know of a younger dataset, never of an older one: what is known
    /// without it is not too low, so it is no reason to hold.
    async fn hear_the_others(&mut self, deadline: Instant) {
        let Some(peers) = self.inbox.peers().filter(|peers| !peers.addresses.is_empty()) else {
            return;
        };
        let Some(token) = self.inbox.token().await else { return };
        let mut addresses = Vec::new();
        let mut away = Vec::new();
        for name in &peers.addresses {
            match tokio::time::timeout_at(deadline, tokio::net::lookup_host(name)).await {
                Ok(Ok(found)) => addresses.extend(found),
                Ok(Err(_)) | Err(_) => away.push(name.clone()),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        // One that hangs costs the others half of the visit at most.
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let (client, token) = (&self.client, &token);
        let told = addresses.into_iter().map(|address| async move {
            (address, ask(client, &format!("http://{address}/api/v1/lineage"), token, until).await)
        });
        let told: Vec<_> = futures::stream::iter(told.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (address, told) in told {
            match told {
                Ok(heard) => self.inbox.take_in(heard),
                Err(error) => {
                    away.push(address.to_string());
                    if !self.away.contains(&address.to_string()) {
                        tracing::info!(%address, "a replica does not tell what lineage it has heard: {error}");
                    }
                }
            }
        }
        self.away = away;
    }

    fn age(&self, dataset: &Dataset) -> Answer {
        let at: Arc<str> = Address.to_string().into();
        let about = format!("dataset {} of {}", dataset.name, dataset.namespace);
        let Some(completed) = self.inbox.completed(dataset) else {
            let hint = if self.inbox.peers().is_some() { POST } else { LISTEN };
            return Err(Error::Unheard { about, hint });
        };
        let age = figure::age(completed, self.clock.now());
        if !(0.0..=figure::LARGEST).contains(&age) {
            return Err(figure::unusable(&at, &about, &completed.to_string()));
        }
        Ok((Value::Age(age), None))
    }
}

/// What one replica has heard.
async fn ask(client: &Client, url: &str, token: &str, until: Instant) -> Result<Heard, Error> {
    let at: Arc<str> = url.into();
    let response = within(&at, until, client.get(url).bearer_auth(token).send()).await?;
    let status = response.status();
    let said = body(&at, until, response).await?;
    if !status.is_success() {
        return Err(web::refused(&at, "what it has heard", status, &said));
    }
    serde_json::from_slice(&said).map_err(|error| Error::SourceFailed {
        at: Arc::clone(&at),
        about: "what it has heard".to_owned(),
        detail: format!("its answer is no JSON: {:?} error", error.classify()),
    })
}
