//! One cluster, visited: which topics and groups to ask about this time, and an answer put together for each question. Owned by a
//! visitor (`observe/visit.rs`); speaks to the brokers through `cluster.rs`, leaves the arithmetic to `lag.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::Cluster;
use super::group::Group;
use super::lag::{self, View};
use super::protocol::{code, code_text};
use super::topic::Topic;
use super::{Address, Ask};
use crate::clock::Clock;
use crate::decide::Value;
use crate::observe::{Answer, Asked, Credentials, Error, Source};

/// The part of a visit that the topics' ends may take, so that a broker that hangs leaves time for the groups.
const ENDS_SHARE: f64 = 0.6;
/// What did not move for this long stands still.
const STILL: Duration = Duration::from_secs(6);

/// A Kafka cluster, visited.
#[derive(Debug)]
pub(crate) struct Kafka {
    pub(super) clock: Clock,
    pub(super) cluster: Cluster,
    // Boxed: a tree sets places aside for about twice as many as there are.
    pub(super) topics: BTreeMap<Arc<str>, Box<Topic>>,
    pub(super) groups: BTreeMap<Arc<str>, Box<Group>>,
    /// Visits so far; tells old from new.
    pub(super) visit: u64,
    /// What has not moved since this visit stands still.
    pub(super) still_since: u64,
    /// The visits since then, and when they were.
    recent: VecDeque<(u64, Instant)>,
}

impl Source for Kafka {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &crate::observe::Ask) -> Option<&Ask> {
        let crate::observe::Ask::Kafka(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        let cluster = Cluster::new(to, keys)?;
        Ok(Self {
            clock,
            cluster,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            visit: 0,
            still_since: 0,
            recent: VecDeque::new(),
        })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.cluster.log_in(deadline).await?;
        self.cluster.metadata(&[], deadline).await.map(drop)
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.cluster.log_in(deadline).await {
            return vec![Err(error); asks.len()];
        }
        self.begin();
        self.expect(asks);
        if let Err(error) = self.describe(asks, deadline).await {
            return vec![Err(error); asks.len()];
        }
        let now = Instant::now();
        let ends_until = now + deadline.saturating_duration_since(now).mul_f64(ENDS_SHARE);
        let silent = self.read_ends(asks, ends_until).await;
        self.settle_ends(ends_until).await;
        let read = self.read_commits(asks, deadline).await;
        self.find_shares(deadline).await;
        self.recheck_ends(asks, deadline).await;
        self.read_tails(asks, deadline).await;
        self.read_owners(asks, &read, deadline).await;
        asks.iter().map(|asked| self.answer(asked.ask, silent.as_ref())).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        self.cluster.inherit(&mut old.cluster);
        self.topics = std::mem::take(&mut old.topics);
        self.groups = std::mem::take(&mut old.groups);
        self.visit = old.visit;
        self.still_since = old.still_since;
        self.recent = std::mem::take(&mut old.recent);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        let topics: BTreeSet<&str> =
            in_force.iter().flat_map(|ask| ask.topics.iter().map(String::as_str)).collect();
        self.topics.retain(|name, _| topics.contains(&**name));
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for ask in in_force {
            groups.entry(&ask.group).or_default().extend(ask.topics.iter().map(String::as_str));
        }
        self.groups.retain(|name, group| {
            let wanted = groups.get(&**name);
            let is_wanted = |topic: &str| wanted.is_some_and(|topics| topics.contains(topic));
            group.commits.retain(|topic, _| is_wanted(topic));
            group.tails.retain(|(topic, _), _| is_wanted(topic));
            group.holders.retain(is_wanted);
            wanted.is_some()
        });
    }

    async fn close(self) {}
}

impl Kafka {
    /// A new visit.
    fn begin(&mut self) {
        let now = Instant::now();
        self.visit += 1;
        self.recent.push_back((self.visit, now));
        while let Some((visit, _)) =
            self.recent.front().copied().filter(|(_, at)| *at + STILL <= now)
        {
            self.still_since = visit;
            self.recent.pop_front();
        }
    }

    pub(super) fn malformed(&self, about: &str) -> Error {
        let detail = "its answer is malformed".to_owned();
        Error::SourceFailed { at: self.cluster.at(), about: about.to_owned(), detail }
    }

    /// What is known of one topic of an ask.
    pub(super) fn view<'a>(&'a self, ask: &Ask, name: &str) -> Option<View<'a>> {
        let (name, topic) = self.topics.get_key_value(name)?;
        let group = self.groups.get(ask.group.as_str());
        let commits = group.and_then(|group| group.commits.get(name));
        let key = (Arc::clone(name), ask.isolation);
        let tails = group.and_then(|group| group.tails.get(&key));
        let owners = group.map_or(&[][..], |group| group.holders.of(name));
        Some(View { topic, commits: commits.map_or(&[][..], Vec::as_slice), tails, owners })
    }

    /// Makes room for what is asked.
    fn expect(&mut self, asks: &[Asked<'_, Ask>]) {
        let now = Instant::now();
        for ask in asks.iter().map(|asked| asked.ask) {
            for name in &ask.topics {
                if !self.topics.contains_key(name.as_str()) {
                    self.topics.insert(name.as_str().into(), Box::new(Topic::new(now)));
                }
            }
            if !self.groups.contains_key(ask.group.as_str()) {
                self.groups.insert(ask.group.as_str().into(), Box::new(Group::new(now)));
            }
        }
    }

    fn answer(&self, ask: &Ask, silent: Option<&Error>) -> Answer {
        let at = || self.cluster.at();
        let mut topics = Vec::with_capacity(ask.topics.len());
        let group = self.groups.get(ask.group.as_str());
        for name in &ask.topics {
            let view = self.view(ask, name).ok_or_else(|| Error::InternalError { at: at() })?;
            match view.topic.error {
                code::NONE => {}
                code::TOPIC_DENIED => {
                    return Err(Error::TopicDenied { at: at(), topic: name.clone() });
                }
                code::UNKNOWN_TOPIC_OR_PARTITION | code::INVALID_TOPIC => {
                    return Err(Error::UnknownTopic { at: at(), topic: name.clone() });
                }
                error => {
                    let about = format!("topic {name}");
                    return Err(Error::SourceFailed { at: at(), about, detail: code_text(error) });
                }
            }
            topics.push(view);
        }
        let group = group.ok_or_else(|| Error::InternalError { at: at() })?;
        if let Some(fault) = self.share_fault(&ask.group) {
            return Err(fault);
        }
        if let Some(fault) = &group.fault {
            return Err(fault.clone());
        }
        let silent_words = silent.map(ToString::to_string);
        let (mut queue, lost) = lag::queue(ask, &topics, silent_words.as_deref());
        if let Some(lost) = &lost
            && queue.partitions.is_empty()
        {
            let about = ask.topics.join(", ");
            let detail = lost.error.to_string();
            return Err(silent.cloned().unwrap_or_else(|| Error::SourceFailed {
                at: at(),
                about,
                detail,
            }));
        }
        queue.served_at = group.read.map(|reading| reading.at);
        queue.commit_interval = group.pace.interval();
        Ok((Value::Queue(queue), lost))
    }
}
