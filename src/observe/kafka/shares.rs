//! Share groups (KIP-932): they keep no commits, so their lag would read as that of a group which has not begun. They are asked for by
//! name wherever a group shows no commit, and refused. Called by `read.rs` after the commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Said, Want};
use super::members::{self, Kind};
use super::protocol::code;
use super::read::Kafka;
use crate::observe::Error;

/// A group without a commit is asked about this often.
const AGAIN: Duration = Duration::from_secs(30);
/// What a visit may take longer for it.
const LONGEST: Duration = Duration::from_secs(1);

/// What is known of a group's being a share group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    asked: Option<Instant>,
    pub(super) is_one: bool,
}

impl Kafka {
    /// Asks about the groups in which nobody ever committed.
    pub(super) async fn find_shares(&mut self, deadline: Instant) {
        let now = Instant::now();
        let mut asked: BTreeMap<i32, Vec<Arc<str>>> = BTreeMap::new();
        for (name, group) in &mut self.groups {
            let is_recent = group.share.asked.is_some_and(|at| now < at + AGAIN);
            if group.has_commits() {
                group.share = Share::default();
            } else if let Some(node) = group.coordinator.filter(|_| !is_recent) {
                group.share.asked = Some(now);
                asked.entry(node).or_default().push(Arc::clone(name));
            }
        }
        if asked.is_empty() {
            return;
        }
        let wants = asked.iter().map(|(node, names)| {
            let names = names.iter().map(|name| &**name).collect();
            (*node, vec![Want::Members(Kind::Share, names)])
        });
        let until = deadline.min(now + LONGEST);
        let answers = self.cluster.fan_out(wants.collect(), "share groups", until).await;
        for (node, answer) in answers {
            let Ok(said) = answer else {
                // Who did not answer is asked again at the next visit.
                for name in asked.get(&node).into_iter().flatten() {
                    if let Some(group) = self.groups.get_mut(name) {
                        group.share.asked = None;
                    }
                }
                continue;
            };
            self.take_shares(&said);
        }
    }

    fn take_shares(&mut self, answers: &[Said]) {
        for said in answers {
            let groups = &mut self.groups;
            let outcome = members::described(Kind::Share, said.version, &said.bytes, |described| {
                if let Some(group) = groups.get_mut(described.group) {
                    group.share.is_one = described.error == code::NONE && described.state != "Dead";
                }
            });
            if outcome.is_err() {
                tracing::debug!(at = %self.cluster.at(), "a malformed description of share groups");
            }
        }
    }

    /// The refusal of a share group.
    pub(super) fn share_fault(&self, group: &str) -> Option<Error> {
        let is_one = self.groups.get(group).is_some_and(|group| group.share.is_one);
        is_one.then(|| Error::ShareGroup { at: self.cluster.at(), group: group.to_owned() })
    }
}
