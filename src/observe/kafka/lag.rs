//! From offsets to a queue: what waits in each partition, and what could not be told. Pure; called by `read.rs` with what the brokers
//! said.

use std::collections::BTreeMap;

use super::group::{AGREEING, Commit, NO_COMMIT};
use super::protocol::{code, code_text};
use super::tail::Tail;
use super::topic::{Partition, Topic, UNKNOWN};
use super::{Ask, Isolation, OffsetReset};
use crate::decide::{self, Lost, Queue};

/// What is known of one topic of an ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) topic: &'a Topic,
    /// The group's commits, by partition number.
    pub(super) commits: &'a [Commit],
    /// What lies behind commits that stand still, by partition number.
    pub(super) tails: Option<&'a BTreeMap<usize, Tail>>,
    /// Who holds what, by partition number; empty when nobody can tell.
    pub(super) owners: &'a [Option<u32>],
}

/// The queue that an ask stands for, and what it lacks. `topics` are in the ask's order; `silent` is what to say of partitions that nobody said anything of.
pub(super) fn queue(ask: &Ask, topics: &[View<'_>], silent: Option<&str>) -> (Queue, Option<Lost>) {
    let count = topics.iter().map(|view| view.topic.partitions.len()).sum();
    let mut queue = Queue { partitions: Vec::with_capacity(count), ..Queue::default() };
    let mut lost: Option<Lost> = None;
    let (mut of, mut arrived, mut served) = (0, 0_i64, 0_i64);
    for (index, view) in topics.iter().enumerate() {
        for (number, partition) in view.topic.partitions.iter().enumerate() {
            of += 1;
            match place(ask, view, number, partition) {
                Ok(Place { end, position, is_committed }) => {
                    let is_unread = partition.start < end && !is_committed;
                    let is_latest = ask.offset_reset == OffsetReset::Latest;
                    let partition = decide::Partition {
                        topic: u16::try_from(index).unwrap_or(u16::MAX),
                        id: i32::try_from(number).unwrap_or(i32::MAX),
                        end,
                        position,
                        is_committed,
                        owner: view.owners.get(number).copied().flatten(),
                    };
                    queue.backlog = queue.backlog.saturating_add(partition.lag());
                    queue.uncommitted += u32::from(is_unread && is_latest);
                    arrived = arrived.saturating_add(end);
                    served = served.saturating_add(position);
                    queue.partitions.push(partition);
                }
                Err(why) => {
                    let lost = lost.get_or_insert_with(|| {
                        let why = silent.filter(|_| why == code_text(code::SILENT)).unwrap_or(&why);
                        let name = ask.topics.get(index).map_or("", String::as_str);
                        Lost {
                            partitions: 0,
                            of: 0,
                            error: format!("{name} partition {number}: {why}").into(),
                        }
                    });
                    lost.partitions += 1;
                }
            }
        }
    }
    // Sums that leave out a partition would jump when it comes back.
    queue.arrived = u64::try_from(arrived).ok().filter(|_| lost.is_none());
    queue.served = u64::try_from(served).ok().filter(|_| lost.is_none());
    (queue, lost.map(|lost| Lost { of, ..lost }))
}

/// Where a group stands in a partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) end: i64,
    pub(super) position: i64,
    pub(super) is_committed: bool,
}

/// Where the group stands in this partition, or why nobody can tell.
pub(super) fn place(
    ask: &Ask,
    view: &View<'_>,
    number: usize,
    partition: &Partition,
) -> Result<Place, String> {
    let commit = view.commits.get(number).ok_or_else(|| code_text(code::SILENT))?;
    if partition.leader < 0 {
        return Err(code_text(code::LEADER_NOT_AVAILABLE));
    }
    let (end, stable_error) = match ask.isolation {
        Isolation::ReadUncommitted => (partition.end, code::NONE),
        Isolation::ReadCommitted => (partition.stable_end, partition.stable_error),
    };
    for error in [partition.end_error, stable_error, commit.error] {
        if error != code::NONE {
            return Err(code_text(error));
        }
    }
    if partition.start == UNKNOWN {
        return Err("its log start is not known yet".to_owned());
    }
    let is_reset =
        commit.doubts >= AGREEING || (commit.doubts > 0 && commit.since < view.topic.born);
    if commit.doubts > 0 && !is_reset {
        return Err(format!(
            "the log ends at {}, before the group's commit at {}; it was recreated or cut, waiting to see it again",
            partition.end, commit.offset
        ));
    }
    // Where the consumers of a group without a commit, or with one that no longer exists, will start.
    if is_reset || commit.offset == NO_COMMIT {
        let position = match ask.offset_reset {
            OffsetReset::Latest => end,
            OffsetReset::Earliest => partition.start.min(end),
        };
        return Ok(Place { end, position, is_committed: false });
    }
    // What was deleted before it was read is not waiting. A commit beyond the end was read after it: nothing waited then.
    let tail = view.tails.and_then(|tails| tails.get(&number));
    let skipped = tail.filter(|tail| tail.commit == commit.offset).map_or(0, |tail| tail.position);
    let position = commit.offset.max(partition.start).max(skipped).min(end);
    Ok(Place { end, position, is_committed: true })
}
