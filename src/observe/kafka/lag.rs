//! From offsets to a queue: what waits in each partition, and what could not be told. Pure; called by `read.rs` with what the brokers
//! said.

use crate::decide::{Lost, Partition, Queue};

use super::{Ask, OffsetReset};

/// What is known of one partition. `Err` is what the broker said instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Log end, by the ask's isolation.
    pub(super) end: Result<i64, String>,
    /// Log start, if it was read.
    pub(super) start: Option<i64>,
    /// Committed offset, `None` for no commit.
    pub(super) commit: Result<Option<i64>, String>,
}

/// The queue that an ask stands for, and what it lacks. `topics` are in the ask's order, partitions in theirs.
pub(super) fn queue(ask: &Ask, topics: &[Vec<Known>]) -> (Queue, Option<Lost>) {
    let mut queue = Queue::default();
    let mut lost: Option<Lost> = None;
    let mut of = 0;
    let (mut arrived, mut served) = (0_u64, 0_u64);
    for (topic, partitions) in topics.iter().enumerate() {
        for (id, known) in partitions.iter().enumerate() {
            of += 1;
            let partition = match place(ask.offset_reset, known) {
                Ok((end, position, is_committed)) => Partition {
                    topic: u16::try_from(topic).unwrap_or(u16::MAX),
                    id: i32::try_from(id).unwrap_or(i32::MAX),
                    end,
                    position,
                    is_committed,
                },
                Err(error) => {
                    let lost = lost.get_or_insert_with(|| Lost {
                        partitions: 0,
                        of: 0,
                        error: error.into(),
                    });
                    lost.partitions += 1;
                    continue;
                }
            };
            queue.backlog += partition.lag();
            queue.uncommitted += u32::from(!partition.is_committed);
            arrived += u64::try_from(partition.end).unwrap_or(0);
            served += u64::try_from(partition.position).unwrap_or(0);
            queue.partitions.push(partition);
        }
    }
    queue.arrived = lost.is_none().then_some(arrived);
    queue.served = lost.is_none().then_some(served);
    (queue, lost.map(|lost| Lost { of, ..lost }))
}

/// End, position, and whether the group had committed.
fn place(reset: OffsetReset, known: &Known) -> Result<(i64, i64, bool), String> {
    let end = known.end.clone()?;
    let start = known.start.unwrap_or(0);
    let (position, is_committed) = match (known.commit.clone()?, reset) {
        (Some(commit), _) => (commit.max(start), true),
        (None, OffsetReset::Latest) => (end, false),
        (None, OffsetReset::Earliest) => (start, false),
    };
    Ok((end, position, is_committed))
}
