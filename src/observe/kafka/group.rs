//! What is known of a consumer group: its commits, who coordinates it, and when it is worth asking again. Filled by `read.rs`, judged
//! by `lag.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Isolation;
use super::holders::Holders;
use super::pace::{Due, Pace};
use super::protocol::code;
use super::shares::Share;
use super::tail::Tail;
use super::topic::Topic;
use crate::observe::Error;

/// The group never committed here.
pub(super) const NO_COMMIT: i64 = -1;

/// A log that ends before a commit is believed to be another log when it did so in this many visits in a row.
pub(super) const AGREEING: u8 = 2;

/// A consumer group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Node id of its coordinator, once known.
    pub(super) coordinator: Option<i32>,
    /// Its commits on the topics in question, by partition number.
    pub(super) commits: BTreeMap<Arc<str>, Vec<Commit>>,
    /// When its commits were last read in full.
    pub(super) read: Option<Reading>,
    /// The visit in which that was done for the first time.
    pub(super) first: u64,
    /// Why the latest attempt to read them failed.
    pub(super) fault: Option<Error>,
    pub(super) pace: Pace,
    /// What lies behind commits that stand still, by topic and reading, then by partition number.
    pub(super) tails: BTreeMap<(Arc<str>, Isolation), BTreeMap<usize, Tail>>,
    /// Who holds which partition.
    pub(super) holders: Holders,
    /// Is it a share group?
    pub(super) share: Share,
    /// Time that the gaps between commits are counted from.
    epoch: Instant,
}

/// One complete reading of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Timestamp,
    pub(super) instant: Instant,
}

/// A commit on one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    /// `NO_COMMIT` for none.
    pub(super) offset: i64,
    pub(super) error: i16,
    /// Visits in a row in which the log ended before this commit.
    pub(super) doubts: u8,
    /// The visit since which this offset stands.
    pub(super) since: u64,
    /// Log end when the commit was read.
    pub(super) end_then: i64,
    /// Milliseconds since the epoch at which it was seen to move, while it has had something to commit ever since; else zero.
    moved_ms: u32,
}

impl Commit {
    fn new() -> Self {
        Self {
            offset: NO_COMMIT,
            error: code::SILENT,
            doubts: 0,
            since: 0,
            end_then: 0,
            moved_ms: 0,
        }
    }
}

impl Group {
    /// A group that nobody has been asked about yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            coordinator: None,
            commits: BTreeMap::new(),
            read: None,
            first: 0,
            fault: None,
            pace: Pace::default(),
            tails: BTreeMap::new(),
            holders: Holders::default(),
            share: Share::default(),
            epoch: now,
        }
    }

    /// Has anybody ever committed, as far as is known?
    pub(super) fn has_commits(&self) -> bool {
        self.commits.values().flatten().any(|commit| commit.offset != NO_COMMIT)
    }

    /// Makes room for the commits on a topic. New room means that the group has to be read.
    pub(super) fn expect(&mut self, topic: &Arc<str>, partitions: usize) {
        let commits = self.commits.entry(Arc::clone(topic)).or_default();
        if commits.len() != partitions {
            commits.resize_with(partitions, Commit::new);
            self.read = None;
            self.holders.renew();
        }
    }

    /// Compares the log ends just read with the commits known from before; `is_again` when this visit has done so already. A log that
    /// ends before a commit is either another log or a cut one. True when that is news: then topic and commits are read again to tell.
    pub(super) fn doubt(&mut self, name: &str, topic: &Topic, is_again: bool) -> bool {
        let mut is_news = false;
        let commits = self.commits.get_mut(name).into_iter().flatten();
        for (commit, partition) in commits.zip(&topic.partitions) {
            if partition.end_error != code::NONE || commit.error != code::NONE {
                continue;
            }
            if commit.offset <= partition.end {
                commit.doubts = 0;
            } else if !is_again || commit.doubts == 0 {
                commit.doubts = commit.doubts.saturating_add(1);
                is_news |= commit.doubts <= AGREEING;
            }
        }
        is_news
    }

    /// Does a commit lie beyond its log's end, without this having been noticed before?
    pub(super) fn is_beyond(&self, name: &str, topic: &Topic) -> bool {
        let commits = self.commits.get(name).into_iter().flatten();
        commits.zip(&topic.partitions).any(|(commit, partition)| {
            commit.error == code::NONE
                && partition.end_error == code::NONE
                && commit.offset > partition.end
                && commit.doubts == 0
        })
    }

    /// Is there something to read: a lag, an end that moved since the last reading?
    pub(super) fn is_busy(&self, name: &str, topic: &Topic) -> bool {
        let commits = self.commits.get(name).into_iter().flatten();
        commits.zip(&topic.partitions).any(|(commit, partition)| {
            commit.error != code::NONE
                || partition.end != commit.end_then
                || partition.end > commit.offset.max(0)
        })
    }

    /// Is it time to read the commits?
    pub(super) fn is_due(
        &self,
        now: Instant,
        poll: Duration,
        is_busy: bool,
        is_pressed: bool,
    ) -> bool {
        let age = self.read.map(|reading| now.saturating_duration_since(reading.instant));
        self.fault.is_some() || self.pace.is_due(&Due { age, poll, is_busy, is_pressed })
    }

    /// Whatever stays silent in the reading that begins is missing.
    pub(super) fn begin(&mut self) {
        for commit in self.commits.values_mut().flatten() {
            commit.error = code::SILENT;
        }
    }

    /// Takes over one commit.
    pub(super) fn tell(&mut self, topic: &str, number: i32, error: i16, offset: i64, visit: u64) {
        let commits = self.commits.get_mut(topic);
        let known = usize::try_from(number).ok().and_then(|number| commits?.get_mut(number));
        let Some(commit) = known else { return };
        commit.error = error;
        let offset = offset.max(NO_COMMIT);
        if error == code::NONE && offset != commit.offset {
            commit.doubts = 0;
            commit.since = visit;
            commit.offset = offset;
        } else if error == code::NONE && commit.since == 0 {
            commit.since = visit;
        }
    }

    /// The reading of `visit` is complete: measures how the commits moved.
    pub(super) fn finish(
        &mut self,
        topics: &BTreeMap<Arc<str>, Box<Topic>>,
        visit: u64,
        at: Timestamp,
        now: Instant,
    ) {
        self.fault = None;
        let is_first = self.read.is_none();
        if self.first == 0 {
            self.first = visit;
        }
        self.read = Some(Reading { at, instant: now });
        // One is added so that zero can stand for never.
        let now_ms = u32::try_from(now.saturating_duration_since(self.epoch).as_millis())
            .unwrap_or(u32::MAX - 1)
            + 1;
        let mut had_gaps = false;
        for (name, commits) in &mut self.commits {
            let Some(topic) = topics.get(name) else { continue };
            for (commit, partition) in commits.iter_mut().zip(&topic.partitions) {
                if commit.since == visit && !is_first {
                    if commit.moved_ms > 0 {
                        let gap = now_ms.saturating_sub(commit.moved_ms);
                        self.pace.gap(Duration::from_millis(u64::from(gap)));
                        had_gaps = true;
                    }
                    commit.moved_ms = now_ms;
                }
                if partition.end_error == code::NONE {
                    commit.end_then = partition.end;
                }
                // With nothing left to commit the next gap would be the producers'; when readings are spared, ours.
                if commit.offset >= commit.end_then || !self.pace.is_measuring() {
                    commit.moved_ms = 0;
                }
            }
        }
        self.pace.finish(had_gaps, fastrand::f64());
    }
}
