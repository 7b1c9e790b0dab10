//! The topics' side of a visit: descriptions, log starts and ends, and what small lags that stand still consist of. Called by `read.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Said, Want};
use super::protocol::{self, Spec, code};
use super::read::Kafka;
use super::tail::{self, Tail};
use super::topic::Topic;
use super::{Ask, Isolation, lag};
use crate::observe::{Asked, Error};

/// How long partition counts and log starts are taken for true.
const DESCRIPTION_AGE: Duration = Duration::from_mins(1);
/// A topic that cannot be read, or did not fit, is described again this soon.
const DOUBT_AGE: Duration = Duration::from_secs(5);
/// Partitions of one broker whose tails are looked into in one visit.
const TAILS_A_VISIT: usize = 50;

impl Kafka {
    /// Describes the topics whose description is missing, old or in doubt. Fails only when nobody answers and nothing is known.
    pub(super) async fn describe(
        &mut self,
        asks: &[Asked<'_, Ask>],
        deadline: Instant,
    ) -> Result<(), Error> {
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
    pub(super) async fn read_ends(
        &mut self,
        asks: &[Asked<'_, Ask>],
        deadline: Instant,
    ) -> Option<Error> {
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
                if topic.needs_starts(now, DESCRIPTION_AGE) {
                    specs.insert(Spec::Start);
                }
            }
        }
        for name in wanted.keys() {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.expect_ends(self.still_since);
            }
        }
        let mut silent = self.ask_offsets(&wanted, deadline).await;
        // A leader that moved is found by asking anew who leads, once.
        let moved: BTreeSet<Arc<str>> = wanted
            .keys()
            .filter(|name| self.topics.get(*name).is_some_and(|topic| has_moved(topic)))
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
    pub(super) async fn ask_offsets(
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
        let (mut silent, visit) = (None, self.visit);
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
                            topic.tell(spec, number, error, offset, visit);
                        }
                        if spec == Spec::Start && error == code::NONE {
                            started.insert(name);
                        }
                    })
                    .map_err(|_| self.malformed("log ends"))?;
                }
                Ok(())
            });
            if let Err(error) = outcome {
                // Perhaps others lead by now, or the broker lives elsewhere.
                for topic in self.topics.values_mut() {
                    topic.is_doubtful |=
                        topic.partitions.iter().any(|partition| partition.leader == node);
                }
                silent = Some(error);
            }
        }
        let now = Instant::now();
        for name in started {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.starts_read = Some(now);
            }
        }
        silent
    }

    /// Commits were read after the ends, so one may lie beyond its end because the log went on in between. Reads such ends again: then a
    /// log that still ends before the commit is another log, or was cut.
    pub(super) async fn recheck_ends(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) {
        let mut odd: BTreeMap<Arc<str>, BTreeSet<Spec>> = BTreeMap::new();
        let mut holders: BTreeSet<(Arc<str>, Arc<str>)> = BTreeSet::new();
        for ask in asks.iter().map(|asked| asked.ask) {
            let Some((group_name, group)) = self.groups.get_key_value(ask.group.as_str()) else {
                continue;
            };
            for name in &ask.topics {
                let Some((name, topic)) = self.topics.get_key_value(name.as_str()) else {
                    continue;
                };
                if group.is_beyond(name, topic) {
                    odd.insert(Arc::clone(name), BTreeSet::from([Spec::End, Spec::StableEnd]));
                    holders.insert((Arc::clone(group_name), Arc::clone(name)));
                }
            }
        }
        if odd.is_empty() {
            return;
        }
        self.ask_offsets(&odd, deadline).await;
        for (group, name) in holders {
            if let (Some(group), Some(topic)) =
                (self.groups.get_mut(&group), self.topics.get_mut(&name))
            {
                topic.is_doubtful |= group.doubt(&name, topic, true);
            }
        }
    }

    /// Looks into small lags that stand still: are there records, or only the remains of transactions?
    pub(super) async fn read_tails(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) {
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let asks = asks.iter().map(|asked| asked.ask).filter(|ask| ask.isolation == isolation);
            let sought: Vec<Sought> = asks.flat_map(|ask| self.standing(ask)).collect();
            if !sought.is_empty() {
                self.ask_tails(isolation, sought, deadline).await;
            }
        }
    }

    /// The partitions of an ask with a small lag that stands still and has not been looked into.
    fn standing(&self, ask: &Ask) -> Vec<Sought> {
        let mut sought = Vec::new();
        for name in &ask.topics {
            let Some(view) = self.view(ask, name).filter(|view| view.topic.error == code::NONE)
            else {
                continue;
            };
            // What the first reading found may have stood for long.
            let still_since = self
                .still_since
                .max(self.groups.get(ask.group.as_str()).map_or(0, |group| group.first));
            for (number, (partition, commit)) in
                view.topic.partitions.iter().zip(view.commits).enumerate()
            {
                let is_still = partition.moved <= self.still_since && commit.since <= still_since;
                if !is_still || partition.end <= commit.offset {
                    continue;
                }
                let known = view.tails.and_then(|tails| tails.get(&number));
                let Ok(place) = lag::place(ask, &view, number, partition) else { continue };
                let is_known =
                    known.is_some_and(|tail| (tail.commit, tail.end) == (commit.offset, place.end));
                let is_small = (1..=tail::LARGEST).contains(&(place.end - place.position));
                if place.is_committed && is_small && !is_known {
                    sought.push(Sought {
                        group: ask.group.as_str().into(),
                        topic: name.as_str().into(),
                        number,
                        leader: partition.leader,
                        from: commit.offset.max(partition.start),
                        tail: Tail {
                            commit: commit.offset,
                            end: place.end,
                            position: place.position,
                        },
                    });
                }
            }
        }
        sought
    }

    async fn ask_tails(&mut self, isolation: Isolation, sought: Vec<Sought>, deadline: Instant) {
        let is_committed_only = isolation == Isolation::ReadCommitted;
        let mut by_leader: BTreeMap<i32, BTreeMap<(&str, i32), i64>> = BTreeMap::new();
        for one in &sought {
            let from = by_leader.entry(one.leader).or_default();
            let number = i32::try_from(one.number).unwrap_or(i32::MAX);
            if from.len() < TAILS_A_VISIT {
                // Two groups may stand in one partition: from the first of them on.
                let from = from.entry((&one.topic, number)).or_insert(one.from);
                *from = one.from.min(*from);
            }
        }
        let wants = by_leader
            .into_iter()
            .map(|(node, from)| {
                let from =
                    from.into_iter().map(|((topic, number), from)| (topic, number, from)).collect();
                (node, vec![Want::Tails { is_committed_only, from }])
            })
            .collect();
        let answers = self.cluster.fan_out(wants, "the ends of topics", deadline).await;
        for said in answers.into_values().flatten().flatten() {
            let groups = &mut self.groups;
            let outcome = protocol::fetch_said(&said.bytes, |fetched| {
                // A refusal is an answer too: nobody knows better until something moves.
                if !matches!(fetched.error, code::NONE | code::TOPIC_DENIED) {
                    return;
                }
                let here = |one: &&Sought| {
                    *one.topic == *fetched.topic
                        && i32::try_from(one.number) == Ok(fetched.partition)
                };
                for one in sought.iter().filter(here) {
                    let mut tail = one.tail;
                    if fetched.error == code::NONE {
                        let records =
                            tail::records(fetched.records, &fetched.aborted, one.from, tail.end);
                        tail.position = tail.position.max(tail.end - records);
                    }
                    if let Some(group) = groups.get_mut(&one.group) {
                        group
                            .tails
                            .entry((Arc::clone(&one.topic), isolation))
                            .or_default()
                            .insert(one.number, tail);
                    }
                }
            });
            if outcome.is_err() {
                tracing::debug!(at = %self.cluster.at(), "a malformed answer to a look at the ends of topics");
            }
        }
    }
}

/// A partition whose tail is looked into.
struct Sought {
    group: Arc<str>,
    topic: Arc<str>,
    number: usize,
    leader: i32,
    from: i64,
    /// As it is known without looking.
    tail: Tail,
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
