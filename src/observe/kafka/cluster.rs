//! The brokers of one cluster and a link to each that is needed: finds them from the bootstrap addresses, fans requests out, and keeps
//! a broker that hangs from delaying the others twice. Owned by `read.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::link::{Fault, Link, resolve};
use super::login::Login;
use super::members::{self, Kind};
use super::protocol::{self, Api, Call, GroupAsked, Metadata, Spec};
use super::tokens::Tokens;
use super::{Address, tail, wire};
use crate::observe::{Credentials, Error};

/// What a broker may take that let its last deadline pass.
const SHORT_LEASH: Duration = Duration::from_millis(700);
/// So many visits on a short leash, then one on a long one.
const LEASH_TURNS: u32 = 10;
/// Groups in one request, so that no broker is kept busy long.
const GROUPS_A_CALL: usize = 250;

/// A cluster, as far as we know it.
#[derive(Debug)]
pub(super) struct Cluster {
    at: Arc<str>,
    login: Login,
    /// Where the token of the login comes from, when it is one.
    tokens: Option<Tokens>,
    bootstrap: Vec<Broker>,
    brokers: BTreeMap<i32, Broker>,
    id: Option<Arc<str>>,
    /// Which bootstrap address is tried first.
    turn: usize,
}

/// One broker.
#[derive(Debug, Default)]
struct Broker {
    host: String,
    port: u16,
    link: Option<Link>,
    /// Visits in a row in which it let the deadline pass.
    hangs: u32,
    /// A look-up that outlived the visit which asked for it; the system's resolver cannot be hurried nor stopped.
    lookup: Option<JoinHandle<Result<Vec<SocketAddr>, Fault>>>,
}

/// Something wanted of one broker.
#[derive(Debug)]
pub(super) enum Want<'a> {
    Offsets(Spec, Vec<(&'a str, Vec<i32>)>),
    Commits(Vec<GroupAsked<'a>>),
    Coordinators(Vec<&'a str>),
    Members(Kind, Vec<&'a str>),
    Tails { is_committed_only: bool, from: Vec<(&'a str, i32, i64)> },
}

/// The answer to one request made for a want.
#[derive(Debug)]
pub(super) struct Said {
    /// Index of the want.
    pub(super) want: usize,
    /// Index of the first group asked for in this request.
    pub(super) first: usize,
    pub(super) version: i16,
    pub(super) bytes: Vec<u8>,
}

impl Want<'_> {
    /// The requests it takes on this link, each with the index of its first group.
    fn calls(&self, link: &Link) -> Result<Vec<(usize, Call)>, Fault> {
        Ok(match self {
            Self::Offsets(spec, topics) => {
                vec![(0, protocol::list_offsets(link.version(Api::ListOffsets)?, *spec, topics))]
            }
            Self::Commits(groups) => {
                let version = link.version(Api::OffsetFetch)?;
                let many = if version >= 8 { GROUPS_A_CALL } else { 1 };
                let calls = groups.chunks(many).enumerate();
                calls
                    .map(|(n, groups)| (n * many, protocol::offset_fetch(version, groups)))
                    .collect()
            }
            Self::Coordinators(groups) => {
                let version = link.version(Api::FindCoordinator)?;
                let many = if version >= 4 { GROUPS_A_CALL } else { 1 };
                let calls = groups.chunks(many).enumerate();
                calls
                    .map(|(n, groups)| (n * many, protocol::find_coordinator(version, groups)))
                    .collect()
            }
            Self::Members(kind, groups) => {
                // Not to be had everywhere, and nobody's fault: no request, no answer.
                let Ok(version) = link.version(kind.api()) else { return Ok(Vec::new()) };
                let calls = groups.chunks(GROUPS_A_CALL).enumerate();
                calls
                    .map(|(n, groups)| {
                        (n * GROUPS_A_CALL, members::describe(*kind, version, groups))
                    })
                    .collect()
            }
            Self::Tails { is_committed_only, from } => {
                link.version(Api::Fetch)?;
                vec![(0, protocol::fetch(*is_committed_only, tail::MAX_BYTES, from))]
            }
        })
    }
}

impl Broker {
    fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..Self::default() }
    }

    /// A link that is logged in: the one we have, or a new one.
    async fn link(&mut self, login: &Login) -> Result<(Link, bool), Fault> {
        if let Some(link) = self.link.take().filter(|link| link.is_good(Instant::now())) {
            return Ok((link, false));
        }
        let (host, port) = (self.host.clone(), self.port);
        // Kept in the broker while it runs, so that a visit which gives up leaves it to the next.
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the look-up; a broker has at most one"
        )]
        let lookup = self.lookup.get_or_insert_with(|| tokio::spawn(resolve(host, port)));
        let found = lookup.await;
        self.lookup = None;
        let addresses = found.unwrap_or_else(|error| Err(Fault::Broken(error.to_string())))?;
        Ok((Link::open(&self.host, &addresses, login).await?, true))
    }

    /// Makes the requests and waits for the answers. A link that turns out to have been closed while idle is replaced once.
    async fn exchange<T>(
        &mut self,
        login: &Login,
        cluster: Option<&str>,
        make: impl Fn(&Link) -> Result<Vec<(T, Call)>, Fault>,
        deadline: Instant,
    ) -> Result<Vec<(T, i16, Vec<u8>)>, Fault> {
        let is_on_short_leash = !self.hangs.is_multiple_of(LEASH_TURNS);
        let leash =
            if is_on_short_leash { deadline.min(Instant::now() + SHORT_LEASH) } else { deadline };
        let attempt = async {
            loop {
                let (mut link, is_new) = self.link(login).await?;
                if let Some(cluster) = cluster.filter(|_| is_new) {
                    check(&mut link, cluster).await?;
                }
                let (tags, calls): (Vec<T>, Vec<Call>) = make(&link)?.into_iter().unzip();
                match link.exchange(&calls).await {
                    Ok(answers) => {
                        self.link = Some(link);
                        let versions = calls.iter().map(|call| call.version);
                        return Ok(tags
                            .into_iter()
                            .zip(versions)
                            .zip(answers)
                            .map(|((t, v), a)| (t, v, a))
                            .collect());
                    }
                    Err(Fault::Broken(_)) if !is_new => {}
                    Err(fault) => return Err(fault),
                }
            }
        };
        let outcome = tokio::time::timeout_at(leash, attempt).await.unwrap_or(Err(Fault::Late));
        self.hangs =
            if matches!(outcome, Err(Fault::Late)) { self.hangs.saturating_add(1) } else { 0 };
        outcome
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Cluster {
    /// A cluster that nobody has been asked about yet.
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let login = Login::new(to, keys)?;
        let at = Arc::clone(&login.bootstrap_servers);
        let tokens = Tokens::new(&login, keys)?;
        let bootstrap: Option<Vec<Broker>> = at
            .split(',')
            .filter(|entry| !entry.trim().is_empty())
            .map(|entry| place(entry).map(|(host, port)| Broker::new(&host, port)))
            .collect();
        let bootstrap =
            bootstrap.filter(|all| !all.is_empty()).ok_or_else(|| Error::BrokerUnreachable {
                at: Arc::clone(&at),
                detail: "that is no list of host:port".into(),
            })?;
        let turn = fastrand::usize(..bootstrap.len());
        Ok(Self { at, login, tokens, bootstrap, brokers: BTreeMap::new(), id: None, turn })
    }

    /// Sees to it that there is a token to log in with, where that is the way. Called at the beginning of each visit.
    pub(super) async fn log_in(&mut self, deadline: Instant) -> Result<(), Error> {
        match &mut self.tokens {
            Some(tokens) => tokens.renew(&mut self.login, deadline).await,
            None => Ok(()),
        }
    }

    /// Goes on as the cluster that another client knew.
    pub(super) fn inherit(&mut self, old: &mut Self) {
        // The id stays with this client's own server: new credentials may lead somewhere else on purpose.
        if self.brokers.is_empty() {
            for (node, broker) in &old.brokers {
                self.brokers.insert(*node, Broker::new(&broker.host, broker.port));
            }
        }
    }

    /// What these topics look like. Asks whoever answers; learns who the brokers are on the way.
    pub(super) async fn metadata(
        &mut self,
        topics: &[&str],
        deadline: Instant,
    ) -> Result<Metadata, Error> {
        let mut nodes: Vec<i32> = self.brokers.keys().copied().collect();
        fastrand::shuffle(&mut nodes);
        nodes.sort_by_key(|node| {
            self.brokers.get(node).map(|broker| (broker.hangs, broker.link.is_none()))
        });
        let mut first: Option<Error> = None;
        let attempts = nodes.len() + self.bootstrap.len();
        for attempt in 0..attempts {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left < Duration::from_millis(5) {
                break;
            }
            // The last attempt may have all that is left, each before it only half.
            let until = if attempt + 1 < attempts { now + left / 2 } else { deadline };
            let broker = if let Some(node) = nodes.get(attempt) {
                self.brokers.get_mut(node)
            } else {
                let index = (self.turn + attempt - nodes.len()) % self.bootstrap.len();
                self.bootstrap.get_mut(index)
            };
            let Some(broker) = broker else { continue };
            let make = |link: &Link| {
                Ok(vec![((), protocol::metadata(link.version(Api::Metadata)?, topics))])
            };
            let outcome =
                broker.exchange(&self.login, None, make, until).await.and_then(|mut said| {
                    let ((), version, bytes) = said.pop().ok_or(wire::Malformed)?;
                    Ok(protocol::metadata_said(version, &bytes)?)
                });
            let place = broker.name();
            match outcome {
                Ok(said) => return self.learn(said),
                Err(fault) => {
                    tracing::debug!(at = %self.at, broker = place, ?fault, "no metadata");
                    let error = self.error(fault, &place, "what the topics look like");
                    // A refusal says more than silence, and comes from whoever listens.
                    if first.as_ref().is_none_or(|old| error.is_lasting() && !old.is_lasting()) {
                        first = Some(error);
                    }
                }
            }
        }
        self.turn = (self.turn + 1) % self.bootstrap.len().max(1);
        Err(first.unwrap_or_else(|| self.error(Fault::Late, &self.at, "what the topics look like")))
    }

    /// Takes over who the brokers are. Another cluster's answer is refused.
    fn learn(&mut self, said: Metadata) -> Result<Metadata, Error> {
        if said.brokers.is_empty() {
            let fault = Fault::Foreign("it knows no brokers".into());
            return Err(self.error(fault, &self.at, "who the brokers are"));
        }
        if let Some(is) = &said.cluster_id {
            match &self.id {
                Some(was) if **was != **is => {
                    let (at, was) = (Arc::clone(&self.at), Arc::clone(was));
                    return Err(Error::ClusterChanged { at, was, is: is.as_str().into() });
                }
                Some(_) => {}
                None => self.id = Some(is.as_str().into()),
            }
        }
        let mut old = std::mem::take(&mut self.brokers);
        for (node, host, port) in &said.brokers {
            let known =
                old.remove(node).filter(|broker| broker.host == *host && broker.port == *port);
            let mut broker = known.unwrap_or_else(|| Broker::new(host, *port));
            if broker.link.is_none() {
                // The link that answered may be to the same place under its bootstrap name.
                let same =
                    self.bootstrap.iter_mut().find(|boot| boot.host == *host && boot.port == *port);
                broker.link = same.and_then(|boot| boot.link.take());
            }
            self.brokers.insert(*node, broker);
        }
        for boot in &mut self.bootstrap {
            boot.link = None;
        }
        Ok(said)
    }

    /// A broker to ask what any can tell: one that is linked and answers, if there is one.
    pub(super) fn any(&self) -> Option<i32> {
        let best =
            self.brokers.iter().min_by_key(|(_, broker)| (broker.hangs, broker.link.is_none()));
        best.map(|(node, _)| *node)
    }

    /// Remembers a broker that a coordinator look-up named.
    pub(super) fn meet(&mut self, node: i32, host: &str, port: i32) {
        if let Ok(port) = u16::try_from(port)
            && !self.brokers.contains_key(&node)
        {
            self.brokers.insert(node, Broker::new(host, port));
        }
    }

    /// Asks each broker for all that is wanted of it, all at once.
    pub(super) async fn fan_out(
        &mut self,
        mut wants: BTreeMap<i32, Vec<Want<'_>>>,
        about: &str,
        deadline: Instant,
    ) -> BTreeMap<i32, Result<Vec<Said>, Error>> {
        let (login, id) = (&self.login, self.id.clone());
        let asked = self
            .brokers
            .iter_mut()
            .filter_map(|(node, broker)| Some((*node, broker, wants.remove(node)?)));
        let all = asked.map(async |(node, broker, wants)| {
            let make = |link: &Link| {
                let mut calls = Vec::new();
                for (want, asked) in wants.iter().enumerate() {
                    calls.extend(
                        asked.calls(link)?.into_iter().map(|(first, call)| ((want, first), call)),
                    );
                }
                Ok(calls)
            };
            (node, broker.exchange(login, id.as_deref(), make, deadline).await, broker.name())
        });
        let all = join_all(all).await;
        let mut answers: BTreeMap<i32, Result<Vec<Said>, Error>> = BTreeMap::new();
        for (node, outcome, place) in all {
            let said = outcome.map(|said| {
                let said = said.into_iter();
                said.map(|((want, first), version, bytes)| Said { want, first, version, bytes })
                    .collect()
            });
            answers.insert(node, said.map_err(|fault| self.error(fault, &place, about)));
        }
        for node in wants.into_keys() {
            let fault = Fault::Broken(format!("nobody knows broker {node}"));
            answers.insert(node, Err(self.error(fault, &self.at, about)));
        }
        answers
    }

    /// A fault in the room's words.
    fn error(&self, fault: Fault, place: &str, about: &str) -> Error {
        let at = Arc::clone(&self.at);
        let detail =
            |why: &str| if place == &*self.at { why.to_owned() } else { format!("{place}: {why}") };
        match fault {
            Fault::Broken(why) => Error::BrokerUnreachable { at, detail: detail(&why) },
            Fault::Refused(why) => {
                if let Some(tokens) = &self.tokens {
                    tokens.note_refusal();
                }
                Error::AuthenticationFailed { at, detail: detail(&why) }
            }
            Fault::Tls(why) => Error::TlsFailed { at, detail: detail(&why) },
            Fault::Foreign(why) => {
                Error::SourceFailed { at, about: about.to_owned(), detail: detail(&why) }
            }
            Fault::Elsewhere { was, is } => {
                Error::ClusterChanged { at, was: was.into(), is: is.into() }
            }
            Fault::Late => Error::Timeout { at, detail: detail(&format!("asked for {about}")) },
        }
    }

    /// The bootstrap address, for messages.
    pub(super) fn at(&self) -> Arc<str> {
        Arc::clone(&self.at)
    }
}

/// A new link may lead to another cluster under an old address, whose offsets would be nonsense.
async fn check(link: &mut Link, cluster: &str) -> Result<(), Fault> {
    let version = link.version(Api::Metadata)?;
    let said = link.exchange(&[protocol::metadata(version, &[])]).await?;
    let said = protocol::metadata_said(version, said.first().ok_or(wire::Malformed)?)?;
    match said.cluster_id {
        Some(is) if is != cluster => Err(Fault::Elsewhere { was: cluster.to_owned(), is }),
        Some(_) | None => Ok(()),
    }
}

/// Host and port of one entry of a bootstrap list; the port is Kafka's own when there is none.
fn place(entry: &str) -> Option<(String, u16)> {
    let entry = entry.trim();
    let entry = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
            (host, port.parse().ok()?)
        }
        _ => (entry, 9092),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_entries_are_hosts_with_or_without_a_port() {
        let of = |entry| place(entry).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(of(" kafka:9093 ").as_deref(), Some("kafka 9093"));
        assert_eq!(of("kafka").as_deref(), Some("kafka 9092"));
        assert_eq!(of("SASL_SSL://b1.example:9094").as_deref(), Some("b1.example 9094"));
        assert_eq!(of("[::1]:9092").as_deref(), Some("::1 9092"));
        assert_eq!(of("::1").as_deref(), Some("::1 9092"));
        assert_eq!(of("kafka:port"), None);
        assert_eq!(of(":9092"), None);
    }
}
