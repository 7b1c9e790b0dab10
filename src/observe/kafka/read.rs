//! One cluster, visited: which topics and groups to ask about this time, and an answer put together for each question. Owned by a
//! visitor (`observe/visit.rs`); speaks to the brokers through `cluster.rs`, leaves the arithmetic to `lag.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Cluster, Said, Want};
use super::group::Group;
use super::protocol::{self, Spec, code, code_text};
use super::topic::Topic;
use super::{Address, Ask, Isolation, lag};
use crate::clock::Clock;
use crate::decide::Value;
use crate::observe::{Answer, Asked, Credentials, Error, Source};

/// How long partition counts and log starts are taken for true.
const DESCRIPTION_AGE: Duration = Duration::from_mins(1);
/// A topic that cannot be read, or did not fit, is described again this soon.
const DOUBT_AGE: Duration = Duration::from_secs(5);
/// The part of a visit that the topics' ends may take, so that a broker that hangs leaves time for the groups.
const ENDS_SHARE: f64 = 0.6;

/// A Kafka cluster, visited.
#[derive(Debug)]
pub(crate) struct Kafka {
    clock: Clock,
    cluster: Cluster,
    topics: BTreeMap<Arc<str>, Topic>,
    groups: BTreeMap<Arc<str>, Group>,
    /// Visits so far; tells old from new.
    visit: u64,
}

impl Source for Kafka {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &crate::observe::Ask) -> Option<&Ask> {
        match ask {
            crate::observe::Ask::Kafka(ask) => Some(ask),
        }
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        let cluster = Cluster::new(to, keys)?;
        Ok(Self { clock, cluster, topics: BTreeMap::new(), groups: BTreeMap::new(), visit: 0 })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.cluster.metadata(&[], deadline).await.map(drop)
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        self.visit += 1;
        self.expect(asks);
        if let Err(error) = self.describe(asks, deadline).await {
            return vec![Err(error); asks.len()];
        }
        let now = Instant::now();
        let ends_until = now + deadline.saturating_duration_since(now).mul_f64(ENDS_SHARE);
        let silent = self.read_ends(asks, ends_until).await;
        self.read_commits(asks, deadline).await;
        asks.iter().map(|asked| self.answer(asked.ask, silent.as_ref())).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        self.cluster.inherit(&mut old.cluster);
        self.topics = std::mem::take(&mut old.topics);
        self.groups = std::mem::take(&mut old.groups);
        self.visit = old.visit;
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
            group.commits.retain(|topic, _| wanted.is_some_and(|topics| topics.contains(&**topic)));
            wanted.is_some()
        });
    }

    async fn close(self) {}
}

impl Kafka {
    /// Makes room for what is asked.
    fn expect(&mut self, asks: &[Asked<'_, Ask>]) {
        let now = Instant::now();
        for ask in asks.iter().map(|asked| asked.ask) {
            for name in &ask.topics {
                if !self.topics.contains_key(name.as_str()) {
                    self.topics.insert(name.as_str().into(), Topic::new(now));
                }
            }
            if !self.groups.contains_key(ask.group.as_str()) {
                self.groups.insert(ask.group.as_str().into(), Group::new(now));
            }
        }
    }

    /// Describes the topics whose description is missing, old or in doubt. Fails only when nobody answers and nothing is known.
    async fn describe(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Result<(), Error> {
        let now = Instant::now();
        let mut due = BTreeSet::new();
        let mut is_first = false;
        for name in asks.iter().flat_map(|asked| &asked.ask.topics) {
            let Some((name, topic)) = self.topics.get_key_value(name.as_str()) else { continue };
            let age = now.saturating_duration_since(topic.described);
            let is_new = topic.error == code::SILENT;
            let is_odd = topic.error != code::NONE || topic.is_doubtful;
            if is_new || age >= DESCRIPTION_AGE || (is_odd && age >= DOUBT_AGE) {
                due.insert(Arc::clone(name));
                is_first |= is_new;
            }
        }
        match self.describe_these(&due, deadline).await {
            // What is known still holds; the ends will tell what does not answer.
            Err(error) if is_first || matches!(error, Error::ClusterChanged { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn describe_these(
        &mut self,
        names: &BTreeSet<Arc<str>>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let said = self.cluster.metadata(&names, deadline).await?;
        let now = Instant::now();
        for said in &said.topics {
            if let Some(topic) = self.topics.get_mut(said.name.as_str()) {
                topic.describe(said, self.visit, now);
            }
        }
        Ok(())
    }

    /// Reads the ends of all partitions in question, and their starts when these are old. Returns what to say of silent ones.
    async fn read_ends(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Option<Error> {
        let mut wanted: BTreeMap<Arc<str>, BTreeSet<Spec>> = BTreeMap::new();
        let now = Instant::now();
        for ask in asks.iter().map(|asked| asked.ask) {
            for name in &ask.topics {
                let Some((name, topic)) = self.topics.get_key_value(name.as_str()) else {
                    continue;
                };
                if topic.error != code::NONE {
                    continue;
                }
                let specs = wanted.entry(Arc::clone(name)).or_default();
                specs.insert(Spec::End);
                if ask.isolation == Isolation::ReadCommitted {
                    specs.insert(Spec::StableEnd);
                }
                if topic.starts_read.is_none_or(|read| read + DESCRIPTION_AGE <= now) {
                    specs.insert(Spec::Start);
                }
            }
        }
        for name in wanted.keys() {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.expect_ends();
            }
        }
        let mut silent = self.ask_offsets(&wanted, deadline).await;
        // A leader that moved is found by asking anew who leads, once.
        let moved: BTreeSet<Arc<str>> = wanted
            .keys()
            .filter(|name| self.topics.get(*name).is_some_and(has_moved))
            .map(Arc::clone)
            .collect();
        if !moved.is_empty() && self.describe_these(&moved, deadline).await.is_ok() {
            wanted.retain(|name, _| moved.contains(name));
            silent = self.ask_offsets(&wanted, deadline).await.or(silent);
        }
        for name in &moved {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.is_doubtful |= has_moved(topic);
            }
        }
        silent
    }

    /// One request to each leader for each kind of offset. Returns the error of a broker that did not answer.
    async fn ask_offsets(
        &mut self,
        wanted: &BTreeMap<Arc<str>, BTreeSet<Spec>>,
        deadline: Instant,
    ) -> Option<Error> {
        let nodes: BTreeSet<i32> = wanted
            .keys()
            .filter_map(|name| self.topics.get(name))
            .flat_map(|topic| topic.partitions.iter().map(|partition| partition.leader))
            .filter(|leader| *leader >= 0)
            .collect();
        let mut specs: BTreeMap<i32, Vec<Spec>> = BTreeMap::new();
        let mut wants: BTreeMap<i32, Vec<Want<'_>>> = BTreeMap::new();
        for node in nodes {
            for spec in [Spec::Start, Spec::End, Spec::StableEnd] {
                let topics = wanted.iter().filter(|(_, specs)| specs.contains(&spec));
                let topics: Vec<(&str, Vec<i32>)> = topics
                    .filter_map(|(name, _)| Some((&**name, self.topics.get(name)?.led_by(node))))
                    .filter(|(_, partitions)| !partitions.is_empty())
                    .collect();
                if !topics.is_empty() {
                    specs.entry(node).or_default().push(spec);
                    wants.entry(node).or_default().push(Want::Offsets(spec, topics));
                }
            }
        }
        let answers = self.cluster.fan_out(wants, "log ends", deadline).await;
        let mut silent = None;
        let mut started: BTreeSet<Arc<str>> = BTreeSet::new();
        for (node, outcome) in answers {
            let outcome = outcome.and_then(|said| {
                for Said { want, version, bytes, .. } in said {
                    let spec = specs
                        .get(&node)
                        .and_then(|specs| specs.get(want))
                        .copied()
                        .unwrap_or(Spec::End);
                    protocol::list_offsets_said(version, &bytes, |name, number, error, offset| {
                        let Some((name, _)) = self.topics.get_key_value(name) else { return };
                        let name = Arc::clone(name);
                        if let Some(topic) = self.topics.get_mut(&name) {
                            topic.tell(spec, number, error, offset);
                        }
                        if spec == Spec::Start && error == code::NONE {
                            started.insert(name);
                        }
                    })
                    .map_err(|_| self.malformed("log ends"))?;
                }
                Ok(())
            });
            silent = outcome.err().or(silent);
        }
        let now = Instant::now();
        for name in started {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.starts_read = Some(now);
            }
        }
        silent
    }

    fn malformed(&self, about: &str) -> Error {
        let detail = "its answer is malformed".to_owned();
        Error::SourceFailed { at: self.cluster.at(), about: about.to_owned(), detail }
    }

    /// Reads the commits of the groups for which it is time.
    async fn read_commits(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) {
        let due = self.due_groups(asks);
        for name in &due {
            if let Some(group) = self.groups.get_mut(name) {
                group.begin();
            }
        }
        let mut open = due;
        for _ in 0..2 {
            self.find_coordinators(&open, deadline).await;
            self.ask_commits(&open, deadline).await;
            // A coordinator that moved is found by looking again, once.
            open.retain(|name| {
                self.groups
                    .get(name)
                    .is_some_and(|group| group.coordinator.is_none() && group.fault.is_some())
            });
            if open.is_empty() {
                break;
            }
        }
    }

    fn due_groups(&mut self, asks: &[Asked<'_, Ask>]) -> BTreeSet<Arc<str>> {
        let now = Instant::now();
        let mut due = BTreeSet::new();
        for asked in asks {
            let Some((name, _)) = self.groups.get_key_value(asked.ask.group.as_str()) else {
                continue;
            };
            let name = Arc::clone(name);
            let Some(group) = self.groups.get_mut(&name) else { continue };
            let (mut is_busy, mut is_doubtful) = (false, false);
            for topic in &asked.ask.topics {
                let Some((topic_name, topic)) = self.topics.get_key_value(topic.as_str()) else {
                    continue;
                };
                group.expect(topic_name, topic.partitions.len());
                is_doubtful |= group.doubt(topic_name, topic);
                is_busy |= group.is_busy(topic_name, topic);
            }
            if is_doubtful {
                for topic in &asked.ask.topics {
                    if let Some(topic) = self.topics.get_mut(topic.as_str()) {
                        topic.is_doubtful = true;
                    }
                }
            }
            if group.is_due(now, asked.poll_interval, is_busy, asked.is_pressed || is_doubtful) {
                due.insert(name);
            }
        }
        due
    }

    async fn find_coordinators(&mut self, names: &BTreeSet<Arc<str>>, deadline: Instant) {
        let lost: Vec<&str> = names
            .iter()
            .filter(|name| self.groups.get(*name).is_some_and(|group| group.coordinator.is_none()))
            .map(|name| &**name)
            .collect();
        let Some(node) = self.cluster.any().filter(|_| !lost.is_empty()) else { return };
        let wants = BTreeMap::from([(node, vec![Want::Coordinators(lost.clone())])]);
        let mut answers = self.cluster.fan_out(wants, "group coordinators", deadline).await;
        let mut faults: BTreeMap<String, Error> = BTreeMap::new();
        match answers.remove(&node) {
            Some(Ok(said)) => {
                for Said { first, version, bytes, .. } in said {
                    let mut met = Vec::new();
                    let outcome = protocol::find_coordinator_said(
                        version,
                        &bytes,
                        |group, error, node, host, port| {
                            let Some(name) = group.or_else(|| lost.get(first).copied()) else {
                                return;
                            };
                            if error != code::NONE {
                                faults.insert(name.to_owned(), self.group_fault(name, error));
                            } else if let Some(group) = self.groups.get_mut(name) {
                                group.coordinator = Some(node);
                                met.push((node, host.to_owned(), port));
                            }
                        },
                    );
                    for (node, host, port) in met {
                        self.cluster.meet(node, &host, port);
                    }
                    if outcome.is_err() {
                        let fault = self.malformed("group coordinators");
                        faults.extend(lost.iter().map(|name| ((*name).to_owned(), fault.clone())));
                    }
                }
            }
            Some(Err(error)) => {
                faults.extend(lost.iter().map(|name| ((*name).to_owned(), error.clone())));
            }
            None => {}
        }
        for name in lost {
            if let Some(group) = self.groups.get_mut(name) {
                group.fault = faults.remove(name);
            }
        }
    }

    async fn ask_commits(&mut self, names: &BTreeSet<Arc<str>>, deadline: Instant) {
        let mut wants: BTreeMap<i32, Vec<protocol::GroupAsked<'_>>> = BTreeMap::new();
        for name in names {
            let Some(group) = self.groups.get(name) else { continue };
            let Some(node) = group.coordinator else { continue };
            let topics = group.commits.iter().filter(|(_, commits)| !commits.is_empty());
            let topics: Vec<(&str, Vec<i32>)> = topics
                .map(|(topic, commits)| {
                    (&**topic, (0..).zip(commits).map(|(number, _)| number).collect())
                })
                .collect();
            if !topics.is_empty() {
                wants.entry(node).or_default().push((name, topics));
            }
        }
        let asked: BTreeMap<i32, Vec<Arc<str>>> = wants
            .iter()
            .map(|(node, groups)| {
                let names = groups.iter().filter_map(|(name, _)| names.get(*name).map(Arc::clone));
                (*node, names.collect())
            })
            .collect();
        let wants =
            wants.into_iter().map(|(node, groups)| (node, vec![Want::Commits(groups)])).collect();
        let at = self.clock.now();
        let answers = self.cluster.fan_out(wants, "commits", deadline).await;
        for (node, names) in asked {
            match answers.get(&node) {
                Some(Ok(said)) => self.take_commits(&names, said, at),
                Some(Err(error)) => {
                    for name in &names {
                        if let Some(group) = self.groups.get_mut(name) {
                            group.fault = Some(error.clone());
                            // It may have moved; whoever answers next will know.
                            group.coordinator = None;
                        }
                    }
                }
                None => {}
            }
        }
    }

    fn take_commits(&mut self, names: &[Arc<str>], said: &[Said], at: jiff::Timestamp) {
        let mut failed: BTreeMap<&str, i16> = BTreeMap::new();
        let mut is_malformed = false;
        for Said { first, version, bytes, .. } in said {
            let only = names.get(*first).map(|name| &**name);
            let groups = &mut self.groups;
            let outcome = protocol::offset_fetch_said(
                *version,
                bytes,
                |commit| {
                    let group = commit.group.or(only).and_then(|name| groups.get_mut(name));
                    if let Some(group) = group {
                        group.tell(
                            commit.topic,
                            commit.partition,
                            commit.error,
                            commit.offset,
                            self.visit,
                        );
                    }
                },
                |group, error| {
                    if let Some(name) = group.or(only) {
                        failed.insert(name, error);
                    }
                },
            );
            is_malformed |= outcome.is_err();
        }
        let now = Instant::now();
        for name in names {
            let fault = match failed.get(&**name) {
                Some(error) => Some(self.group_fault(name, *error)),
                None if is_malformed => Some(self.malformed("commits")),
                None => None,
            };
            let Some(group) = self.groups.get_mut(name) else { continue };
            match fault {
                None => group.finish(&self.topics, self.visit, at, now),
                Some(fault) => {
                    group.fault = Some(fault);
                    if let Some(&(code::NOT_COORDINATOR | code::COORDINATOR_NOT_AVAILABLE)) =
                        failed.get(&**name)
                    {
                        group.coordinator = None;
                    }
                }
            }
        }
    }

    fn group_fault(&self, group: &str, error: i16) -> Error {
        let at = self.cluster.at();
        match error {
            code::GROUP_DENIED => Error::GroupDenied { at, group: group.to_owned() },
            error => {
                let about = format!("the commits of group {group}");
                Error::SourceFailed { at, about, detail: code_text(error) }
            }
        }
    }

    fn answer(&self, ask: &Ask, silent: Option<&Error>) -> Answer {
        let at = || self.cluster.at();
        let mut topics = Vec::with_capacity(ask.topics.len());
        let group = self.groups.get(ask.group.as_str());
        for name in &ask.topics {
            let topic =
                self.topics.get(name.as_str()).ok_or_else(|| Error::InternalError { at: at() })?;
            match topic.error {
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
            let commits = group.and_then(|group| group.commits.get(name.as_str()));
            topics.push((topic, commits.map_or(&[][..], Vec::as_slice)));
        }
        let group = group.ok_or_else(|| Error::InternalError { at: at() })?;
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

/// Did a leader say that it is not, or is there none?
fn has_moved(topic: &Topic) -> bool {
    topic.partitions.iter().any(|partition| {
        partition.leader < 0
            || [partition.end_error, partition.stable_error]
                .iter()
                .any(|error| !matches!(*error, code::NONE | code::SILENT | code::TOPIC_DENIED))
    })
}
