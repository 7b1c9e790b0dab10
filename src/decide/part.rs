//! One partition as the record of a queue keeps it: where it ends and where its consumer stands, in few bytes. Owned by `age`, which
//! keeps a row of them for each queue.

use serde::{Deserialize, Serialize};

use super::snapshot::{Partition, Queue};

/// The owner of a partition that nobody holds, or nobody can tell.
const NOBODY: u16 = 0x7FFF;
const COMMITTED: u16 = 0x8000;

/// What is remembered of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) topic: u16,
    /// Who holds it, `NOBODY` when nobody can tell; and whether the group has committed here, in the highest bit.
    pub(super) holder: u16,
    pub(super) id: i32,
    pub(super) base: i64,
    pub(super) end: i64,
    pub(super) position: i64,
}

impl Part {
    pub(super) fn new(partition: &Partition) -> Self {
        let Partition { topic, id, end, position, is_committed, owner } = *partition;
        let holder = holder(owner, is_committed);
        Self { topic, holder, id, end, position, base: 0 }.based()
    }

    /// Had the group committed here?
    pub(super) fn is_committed(&self) -> bool {
        COMMITTED <= self.holder
    }

    /// Who holds it, if anybody can tell.
    pub(super) fn owner(&self) -> Option<u16> {
        Some(self.holder & NOBODY).filter(|&owner| owner != NOBODY)
    }

    /// Counts from where the consumers stand, so that what waits when a partition is first seen counts as come since the reading
    /// before; from as far back as 32 bits reach when more waits.
    pub(super) fn based(self) -> Self {
        let farthest = self.end.saturating_sub(i64::from(u32::MAX));
        Self { base: self.position.min(self.end).max(farthest), ..self }
    }

    /// Topic and number.
    pub(super) fn key(&self) -> (u16, i32) {
        (self.topic, self.id)
    }

    /// Items waiting in it.
    pub(super) fn lag(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.position)).unwrap_or(0)
    }

    /// Does anything wait in it?
    pub(super) fn is_waiting(&self) -> bool {
        self.position < self.end
    }

    /// Its end, counted from its base.
    pub(super) fn offset(&self) -> u32 {
        u32::try_from(self.end.saturating_sub(self.base).max(0)).unwrap_or(u32::MAX)
    }
}

/// The partitions of a queue in order; a queue that only counts in and out is one of them.
pub(super) fn partitions(queue: &Queue) -> Vec<Part> {
    let mut parts: Vec<_> = queue.partitions.iter().map(Part::new).collect();
    if let (true, Some(arrived), Some(served)) = (parts.is_empty(), queue.arrived, queue.served) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (end, position, is_committed) = (whole(arrived), whole(served), true);
        let holder = holder(None, is_committed);
        parts.push(Part { topic: 0, holder, id: -1, end, position, base: 0 }.based());
    }
    parts.sort_by_key(Part::key);
    parts.dedup_by_key(|part| part.key());
    parts
}

/// What is kept of who holds a partition.
fn holder(owner: Option<u32>, is_committed: bool) -> u16 {
    let owner =
        owner.and_then(|owner| u16::try_from(owner).ok()).map_or(NOBODY, |it| it.min(NOBODY));
    if is_committed { owner | COMMITTED } else { owner }
}
