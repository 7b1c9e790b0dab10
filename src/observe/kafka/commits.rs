//! The groups' side of a visit: whose commits are read this time, who coordinates them, and what they say. Called by `read.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Ask;
use super::cluster::{Said, Want};
use super::protocol::{self, code, code_text};
use super::read::Kafka;
use crate::observe::{Asked, Error};

impl Kafka {
    /// Reads the commits of the groups for which it is time, and tells which these are.
    pub(super) async fn read_commits(
        &mut self,
        asks: &[Asked<'_, Ask>],
        deadline: Instant,
    ) -> BTreeSet<Arc<str>> {
        let due = self.due_groups(asks);
        for name in &due {
            if let Some(group) = self.groups.get_mut(name) {
                group.begin();
            }
        }
        let mut open = due.clone();
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
        due
    }

    fn due_groups(&mut self, asks: &[Asked<'_, Ask>]) -> BTreeSet<Arc<str>> {
        let now = Instant::now();
        let mut due = BTreeSet::new();
        let mut compared = BTreeSet::new();
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
                // Two questions may name the same; a visit is one piece of evidence all the same.
                if compared.insert((Arc::clone(&name), Arc::clone(topic_name))) {
                    is_doubtful |= group.doubt(topic_name, topic, false);
                }
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
}
