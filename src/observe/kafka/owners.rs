//! The members' side of a visit: which groups are described this time, and what is made of their answers. Called by `read.rs` last of
//! all; nothing here fails a reading, since a queue can be judged without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Said, Want};
use super::holders::Outcome;
use super::members::{self, Kind};
use super::read::Kafka;
use super::{Ask, lag};
use crate::observe::Asked;

/// What a visit may take longer for it.
const LONGEST: Duration = Duration::from_secs(1);
/// Groups described in one visit; the others have their turn in the next.
const GROUPS_A_VISIT: usize = 500;

/// What goes on in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stir {
    Idle,
    Moving,
    Lagging,
}

impl Kafka {
    /// Asks who holds the partitions of the groups whose commits were just read, where something goes on and it is time.
    pub(super) async fn read_owners(
        &mut self,
        asks: &[Asked<'_, Ask>],
        read: &BTreeSet<Arc<str>>,
        deadline: Instant,
    ) {
        let now = Instant::now();
        for group in self.groups.values_mut() {
            group.holders.expire(now);
        }
        let mut open = self.due_to_describe(asks, read, now);
        let until = deadline.min(now + LONGEST);
        // A group that is not of the kind we took it for is asked about as the other kind, once.
        for is_last in [false, true] {
            if open.is_empty() || Instant::now() >= until {
                break;
            }
            let outcomes = self.describe_groups(&open, until).await;
            open = self.conclude(outcomes, is_last);
        }
    }

    fn due_to_describe(
        &self,
        asks: &[Asked<'_, Ask>],
        read: &BTreeSet<Arc<str>>,
        now: Instant,
    ) -> BTreeSet<Arc<str>> {
        let mut stirs: BTreeMap<&Arc<str>, Stir> = BTreeMap::new();
        for ask in asks.iter().map(|asked| asked.ask) {
            let Some((name, group)) = self.groups.get_key_value(ask.group.as_str()) else {
                continue;
            };
            // First what costs nothing: most are not due however much they lag.
            let is_read = read.contains(name) && group.fault.is_none();
            if is_read && group.coordinator.is_some() && group.holders.is_due(now, true) {
                let stir = stirs.entry(name).or_insert(Stir::Idle);
                *stir = self.stir(ask).max(*stir);
            }
        }
        let due = stirs.into_iter().filter_map(|(name, stir)| {
            let holders = &self.groups.get(name)?.holders;
            let is_due = stir > Stir::Idle && holders.is_due(now, stir == Stir::Lagging);
            is_due.then(|| (holders.asked(), Arc::clone(name)))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due.truncate(GROUPS_A_VISIT);
        due.into_iter().map(|(_, name)| name).collect()
    }

    /// What goes on in the group of this ask, on its topics.
    fn stir(&self, ask: &Ask) -> Stir {
        let first = self.groups.get(ask.group.as_str()).map_or(0, |group| group.first);
        let mut stir = Stir::Idle;
        for name in &ask.topics {
            let Some(view) = self.view(ask, name) else { continue };
            for (number, partition) in view.topic.partitions.iter().enumerate() {
                if lag::place(ask, &view, number, partition)
                    .is_ok_and(|place| place.position < place.end)
                {
                    return Stir::Lagging;
                }
                // What the first reading found may have stood for long.
                let commit = view.commits.get(number).map_or(0, |commit| commit.since);
                if partition.moved > self.still_since || commit > self.still_since.max(first) {
                    stir = Stir::Moving;
                }
            }
        }
        stir
    }

    /// One request to each coordinator for each kind of group.
    async fn describe_groups(
        &mut self,
        names: &BTreeSet<Arc<str>>,
        deadline: Instant,
    ) -> BTreeMap<Arc<str>, Outcome> {
        let mut asked: BTreeMap<(i32, Kind), Vec<&Arc<str>>> = BTreeMap::new();
        for name in names {
            let Some(group) = self.groups.get(name) else { continue };
            let Some(node) = group.coordinator else { continue };
            asked.entry((node, group.holders.kind)).or_default().push(name);
        }
        let mut kinds: BTreeMap<i32, Vec<Kind>> = BTreeMap::new();
        let mut wants: BTreeMap<i32, Vec<Want<'_>>> = BTreeMap::new();
        for ((node, kind), names) in &asked {
            kinds.entry(*node).or_default().push(*kind);
            let names = names.iter().map(|name| &***name).collect();
            wants.entry(*node).or_default().push(Want::Members(*kind, names));
        }
        let answers = self.cluster.fan_out(wants, "group members", deadline).await;
        let mut outcomes = BTreeMap::new();
        for ((node, kind), group_names) in asked {
            let otherwise = match answers.get(&node) {
                Some(Ok(said)) => {
                    let want =
                        kinds.get(&node).and_then(|all| all.iter().position(|it| *it == kind));
                    let said: Vec<&Said> =
                        said.iter().filter(|said| Some(said.want) == want).collect();
                    if said.is_empty() {
                        Outcome::Unsupported
                    } else {
                        for said in said {
                            self.take_members(kind, said, names, &mut outcomes);
                        }
                        Outcome::Silent
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(at = %self.cluster.at(), %error, "no group members");
                    Outcome::Silent
                }
                None => Outcome::Silent,
            };
            for name in group_names {
                outcomes.entry(Arc::clone(name)).or_insert(otherwise);
            }
        }
        outcomes
    }

    fn take_members(
        &mut self,
        kind: Kind,
        said: &Said,
        names: &BTreeSet<Arc<str>>,
        outcomes: &mut BTreeMap<Arc<str>, Outcome>,
    ) {
        let groups = &mut self.groups;
        let outcome = members::described(kind, said.version, &said.bytes, |described| {
            let Some(name) = names.get(described.group) else { return };
            let Some(group) = groups.get_mut(name) else { return };
            let outcome = group.holders.learn(described, &group.commits);
            outcomes.insert(Arc::clone(name), outcome);
        });
        if outcome.is_err() {
            tracing::debug!(at = %self.cluster.at(), ?kind, "a malformed description of groups");
        }
    }

    /// Notes what came of asking, and tells which groups are to be asked about as the other kind.
    fn conclude(
        &mut self,
        outcomes: BTreeMap<Arc<str>, Outcome>,
        is_last: bool,
    ) -> BTreeSet<Arc<str>> {
        let now = Instant::now();
        let mut open = BTreeSet::new();
        for (name, outcome) in outcomes {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            let holders = &mut group.holders;
            // The older request is known where the newer one is not.
            let is_beyond = outcome == Outcome::Unsupported && holders.kind == Kind::Consumer;
            let outcome = if is_beyond { Outcome::OtherKind } else { outcome };
            if outcome == Outcome::OtherKind && !is_last {
                holders.finish(Outcome::Unsettled, now);
                holders.kind = holders.kind.other();
                open.insert(name);
            } else {
                holders.finish(outcome, now);
            }
        }
        open
    }
}
