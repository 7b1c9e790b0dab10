//! One cluster seen through one client: which topics and groups to ask about, and the answers put together for each question.
//! Owned by a visitor (`observe/visit.rs`); speaks to the brokers through `admin.rs`, leaves the arithmetic to `lag.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::admin::{Admin, Event, Reply, Spec, Ticket, Topic};
use super::lag::{self, Known};
use super::settings::{connection_error, settings};
use super::{Address, Ask, Isolation};
use crate::clock::Clock;
use crate::decide::Value;
use crate::observe::{Answer, Asked, Credentials, Error, Source};

/// How long partition counts are taken for true.
const TOPIC_AGE: Duration = Duration::from_mins(1);
/// Partitions in one call: the library's own bookkeeping is quadratic in them.
const PARTITIONS_A_CALL: usize = 500;
/// Time left for putting answers together.
const MARGIN: Duration = Duration::from_millis(100);

/// A Kafka cluster, visited.
#[derive(Debug)]
pub(crate) struct Kafka {
    at: Arc<str>,
    admin: Admin,
    clock: Clock,
    topics: BTreeMap<String, Subject>,
    cluster: Option<String>,
    /// The latest complaint about the connection, while nothing has been answered since.
    trouble: Option<(Code, String)>,
}

/// A topic as it was last described.
#[derive(Debug)]
struct Subject {
    name: CString,
    leaders: Result<Vec<i32>, Code>,
    checked: Instant,
}

type Offsets = BTreeMap<(String, i32), Result<Option<i64>, String>>;

impl Source for Kafka {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &crate::observe::Ask) -> Option<&Ask> {
        match ask {
            crate::observe::Ask::Kafka(ask) => Some(ask),
        }
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        let at: Arc<str> = to.bootstrap_servers.as_str().into();
        let admin = Admin::new(&settings(to, keys)?).map_err(|(usage, detail)| {
            Error::CredentialsInvalid { at: Arc::clone(&at), usage, detail }
        })?;
        Ok(Self { at, admin, clock, topics: BTreeMap::new(), cluster: None, trouble: None })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.describe(&BTreeSet::from(["__consumer_offsets"]), deadline).await
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        let wanted: BTreeSet<&str> =
            asks.iter().flat_map(|asked| asked.ask.topics.iter().map(String::as_str)).collect();
        let now = Instant::now();
        let unknown: BTreeSet<&str> = wanted
            .into_iter()
            .filter(|name| {
                self.topics
                    .get(*name)
                    .is_none_or(|known| known.checked + TOPIC_AGE <= now || known.leaders.is_err())
            })
            .collect();
        if !unknown.is_empty()
            && let Err(error) = self.describe(&unknown, deadline).await
        {
            return vec![Err(error); asks.len()];
        }
        self.read_offsets(asks, deadline).await
    }

    fn inherit(&mut self, old: &mut Self) {
        self.topics = std::mem::take(&mut old.topics);
        self.cluster = old.cluster.take();
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        let wanted: BTreeSet<&str> =
            in_force.iter().flat_map(|ask| ask.topics.iter().map(String::as_str)).collect();
        self.topics.retain(|name, _| wanted.contains(name.as_str()));
    }

    async fn close(self) {
        // The library's farewell waits for its threads.
        tokio::task::spawn_blocking(move || drop(self)).await.ok();
    }
}

impl Kafka {
    /// Waits for the answers to these tickets until all are there or time is up.
    async fn collect(
        &mut self,
        mut open: BTreeSet<Ticket>,
        deadline: Instant,
    ) -> BTreeMap<Ticket, Reply> {
        let mut replies = BTreeMap::new();
        while !open.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.admin.event()).await else {
                break;
            };
            match event {
                Event::Reply(ticket, reply) => {
                    // An answer to an earlier visit that gave up waiting has no ticket here and is dropped.
                    if open.remove(&ticket) {
                        if reply.error().is_none() {
                            self.trouble = None;
                        }
                        replies.insert(ticket, reply);
                    }
                }
                Event::Trouble(code, detail) => {
                    tracing::debug!(at = %self.at, ?code, detail, "kafka client in trouble");
                    let is_final =
                        matches!(code, Code::Authentication | Code::SSL | Code::AllBrokersDown);
                    // The general complaint says less than the particular one before it.
                    if code != Code::AllBrokersDown || self.trouble.is_none() {
                        self.trouble = Some((code, detail));
                    }
                    if is_final && replies.is_empty() {
                        break;
                    }
                }
                Event::Log(level, line) => {
                    tracing::debug!(at = %self.at, level, line, "librdkafka");
                }
            }
        }
        replies
    }

    /// What to say when a request came to nothing.
    fn complaint(&self, code: Code, detail: String, started: Instant) -> Error {
        let (code, detail) = self.trouble.clone().unwrap_or((code, detail));
        connection_error(&self.at, code, detail, started.elapsed())
    }

    /// Learns what these topics look like; fails only when the cluster does not answer at all.
    async fn describe(&mut self, names: &BTreeSet<&str>, deadline: Instant) -> Result<(), Error> {
        let started = Instant::now();
        let c_names: Vec<CString> =
            names.iter().filter_map(|name| CString::new(*name).ok()).collect();
        let timeout = (deadline - MARGIN).saturating_duration_since(started);
        let borrowed: Vec<&CStr> = c_names.iter().map(CString::as_c_str).collect();
        let Some(ticket) = self.admin.ask_topics(&borrowed, timeout) else {
            return Err(Error::InternalError { at: Arc::clone(&self.at) });
        };
        let mut replies = self.collect(BTreeSet::from([ticket]), deadline).await;
        let Some(reply) = replies.remove(&ticket) else {
            return Err(self.complaint(
                Code::OperationTimedOut,
                "what topics look like".into(),
                started,
            ));
        };
        if let Some((code, detail)) = reply.error() {
            return Err(self.complaint(code, detail, started));
        }
        self.check_cluster()?;
        for Topic { name, leaders, .. } in reply.topics() {
            let Ok(c_name) = CString::new(name.as_str()) else { continue };
            self.topics.insert(name, Subject { name: c_name, leaders, checked: Instant::now() });
        }
        Ok(())
    }

    /// The address must go on leading to the same cluster.
    fn check_cluster(&mut self) -> Result<(), Error> {
        let Some(is) = self.admin.cluster_id() else { return Ok(()) };
        match &self.cluster {
            Some(was) if *was != is => Err(Error::ClusterChanged {
                at: Arc::clone(&self.at),
                was: was.as_str().into(),
                is: is.into(),
            }),
            Some(_) => Ok(()),
            None => {
                self.cluster = Some(is);
                Ok(())
            }
        }
    }

    async fn read_offsets(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        let started = Instant::now();
        let timeout = (deadline - MARGIN).saturating_duration_since(started);
        let mut open = BTreeSet::new();
        let mut offset_tickets = Vec::new();
        for spec in [Spec::Latest, Spec::LatestStable, Spec::Earliest] {
            let topics: BTreeSet<&str> = asks
                .iter()
                .filter(|asked| match spec {
                    Spec::Earliest => true,
                    Spec::Latest => asked.ask.isolation == Isolation::ReadUncommitted,
                    Spec::LatestStable => asked.ask.isolation == Isolation::ReadCommitted,
                })
                .flat_map(|asked| asked.ask.topics.iter().map(String::as_str))
                .collect();
            for chunk in self.chunks(&topics) {
                let partitions =
                    chunk.iter().map(|(name, partition)| (name.as_c_str(), *partition));
                if let Some(ticket) = self.admin.ask_offsets(partitions, spec, timeout) {
                    open.insert(ticket);
                    offset_tickets.push((spec, ticket));
                }
            }
        }
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for asked in asks {
            groups
                .entry(&asked.ask.group)
                .or_default()
                .extend(asked.ask.topics.iter().map(String::as_str));
        }
        let mut group_tickets = BTreeMap::new();
        for (group, topics) in &groups {
            let all: Vec<(CString, i32)> = self.chunks(topics).into_iter().flatten().collect();
            let Ok(c_group) = CString::new(*group) else { continue };
            if all.is_empty() {
                continue;
            }
            let partitions = all.iter().map(|(name, partition)| (name.as_c_str(), *partition));
            if let Some(ticket) = self.admin.ask_commits(&c_group, partitions, timeout) {
                open.insert(ticket);
                group_tickets.insert(*group, ticket);
            }
        }
        let replies = self.collect(open, deadline).await;
        let mut ends: [Offsets; 3] = Default::default();
        for (spec, ticket) in offset_tickets {
            if let Some(reply) = replies.get(&ticket) {
                let into = &mut ends[spec as usize];
                reply.offsets(|topic, partition, offset| {
                    into.insert(
                        (topic.to_string_lossy().into_owned(), partition),
                        offset.map_err(|code| code.to_string()),
                    );
                });
            }
        }
        asks.iter()
            .map(|asked| {
                let reply = group_tickets
                    .get(asked.ask.group.as_str())
                    .and_then(|ticket| replies.get(ticket));
                self.answer(asked.ask, &ends, reply, started)
            })
            .collect()
    }

    /// All partitions of these topics, by leader so that a broker that hangs delays nobody else, in calls of a good size.
    fn chunks(&self, topics: &BTreeSet<&str>) -> Vec<Vec<(CString, i32)>> {
        let mut by_leader: BTreeMap<i32, Vec<(CString, i32)>> = BTreeMap::new();
        for subject in topics.iter().filter_map(|name| self.topics.get(*name)) {
            for (partition, leader) in subject.leaders.iter().flatten().enumerate() {
                let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                by_leader.entry(*leader).or_default().push((subject.name.clone(), partition));
            }
        }
        by_leader
            .into_values()
            .flat_map(|all| all.chunks(PARTITIONS_A_CALL).map(<[_]>::to_vec).collect::<Vec<_>>())
            .collect()
    }

    fn answer(
        &self,
        ask: &Ask,
        ends: &[Offsets; 3],
        commits: Option<&Reply>,
        started: Instant,
    ) -> Answer {
        let at = || Arc::clone(&self.at);
        for topic in &ask.topics {
            match self.topics.get(topic).map(|subject| &subject.leaders) {
                Some(Ok(_)) => {}
                Some(Err(Code::TopicAuthorizationFailed)) => {
                    return Err(Error::TopicDenied { at: at(), topic: topic.clone() });
                }
                Some(Err(Code::UnknownTopicOrPartition | Code::UnknownTopic)) | None => {
                    return Err(Error::UnknownTopic { at: at(), topic: topic.clone() });
                }
                Some(Err(code)) => {
                    let about = format!("topic {topic}");
                    return Err(Error::SourceFailed { at: at(), about, detail: code.to_string() });
                }
            }
        }
        let Some(commits) = commits else {
            let detail = format!("the commits of group {}", ask.group);
            return Err(self.complaint(Code::OperationTimedOut, detail, started));
        };
        match commits.error() {
            None => {}
            Some((Code::GroupAuthorizationFailed, _)) => {
                return Err(Error::GroupDenied { at: at(), group: ask.group.clone() });
            }
            Some((code @ (Code::OperationTimedOut | Code::BrokerTransportFailure), detail)) => {
                return Err(self.complaint(code, detail, started));
            }
            Some((_, detail)) => {
                let about = format!("the commits of group {}", ask.group);
                return Err(Error::SourceFailed { at: at(), about, detail });
            }
        }
        let mut committed = Offsets::new();
        commits.commits(|topic, partition, offset| {
            committed.insert(
                (topic.to_string_lossy().into_owned(), partition),
                offset.map_err(|code| code.to_string()),
            );
        });
        let spec = match ask.isolation {
            Isolation::ReadUncommitted => Spec::Latest,
            Isolation::ReadCommitted => Spec::LatestStable,
        };
        let topics: Vec<Vec<Known>> = ask
            .topics
            .iter()
            .map(|topic| {
                let count = self
                    .topics
                    .get(topic)
                    .and_then(|subject| subject.leaders.as_ref().ok())
                    .map_or(0, Vec::len);
                (0..i32::try_from(count).unwrap_or(i32::MAX))
                    .map(|partition| {
                        let key = (topic.clone(), partition);
                        let nothing = || Err("no answer".to_owned());
                        Known {
                            end: ends[spec as usize]
                                .get(&key)
                                .cloned()
                                .unwrap_or_else(nothing)
                                .and_then(|end| end.ok_or_else(|| "no answer".to_owned())),
                            start: ends[Spec::Earliest as usize]
                                .get(&key)
                                .and_then(|start| start.clone().ok().flatten()),
                            commit: committed.get(&key).cloned().unwrap_or_else(nothing),
                        }
                    })
                    .collect()
            })
            .collect();
        let (mut queue, lost) = lag::queue(ask, &topics);
        queue.served_at = Some(self.clock.at(started));
        Ok((Value::Queue(queue), lost))
    }
}
