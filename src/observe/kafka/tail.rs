//! What really lies between a commit and the end: transactions end with markers, and those given up leave records that nobody will be
//! handed. Both have offsets, so a group that is done can show a lag for ever (KEDA's #5675). When a small lag stands still, the headers
//! of its batches are read once to tell. Pure; called by `read.rs`.

use super::wire::{Malformed, Reader};

/// Lags above this are not looked into: they are work whatever lies among it.
pub(super) const LARGEST: i64 = 1000;
/// Bytes of one partition that may be read for it.
pub(super) const MAX_BYTES: i32 = 64 << 10;

/// Set in a batch that holds a marker.
const CONTROL: i16 = 1 << 5;
/// Set in a batch that belongs to a transaction.
const TRANSACTIONAL: i16 = 1 << 4;
/// The batch format since Kafka 0.11; those before it have no transactions.
const MAGIC: i8 = 2;
/// Bytes of offset and length before what the length counts.
const HEAD: usize = 12;

/// What was found behind a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// The commit it lies behind.
    pub(super) commit: i64,
    /// The end at that time.
    pub(super) end: i64,
    /// Where a group that stands at the commit counts as standing, so that only records lie ahead.
    pub(super) position: i64,
}

/// How many records lie in `from..end`, at most. `bytes` are the batches from `from` on, perhaps cut off: what is not seen counts as
/// records. `aborted` are producers and first offsets of transactions given up.
pub(super) fn records(bytes: &[u8], aborted: &[(i64, i64)], from: i64, end: i64) -> i64 {
    let mut next = from;
    let mut count = 0_i64;
    let mut given_up: Vec<i64> = Vec::new();
    let mut to_come: Vec<(i64, i64)> = aborted.to_vec();
    let mut rest = bytes;
    while next < end
        && let Ok((batch, after)) = Batch::read(rest)
    {
        rest = after;
        let last = batch.base.saturating_add(i64::from(batch.last_delta));
        // A batch that lies before counts for nothing, and yet says which transactions were given up and which have ended.
        let is_before = last < next;
        to_come.retain(|(producer, first)| {
            let is_open = *first <= last;
            if is_open {
                given_up.push(*producer);
            }
            !is_open
        });
        if batch.attributes & CONTROL != 0 {
            given_up.retain(|producer| *producer != batch.producer);
        } else if !is_before
            && (batch.attributes & TRANSACTIONAL == 0 || !given_up.contains(&batch.producer))
        {
            count += i64::from(batch.count).min(last - next.max(batch.base) + 1);
        }
        next = next.max(last.saturating_add(1));
    }
    count + (end - next).max(0)
}

/// The header of a record batch.
struct Batch {
    base: i64,
    attributes: i16,
    last_delta: i32,
    producer: i64,
    count: i32,
}

impl Batch {
    /// The first batch and what comes after it. A batch whose records are cut off still has its header.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut r = Reader::new(bytes, false);
        let base = r.i64()?;
        let length = usize::try_from(r.i32()?).map_err(|_| Malformed)?;
        r.i32()?; // leader epoch
        if r.i8()? != MAGIC {
            return Err(Malformed);
        }
        r.i32()?; // checksum
        let attributes = r.i16()?;
        let last_delta = r.i32()?;
        r.i64()?; // first timestamp
        r.i64()?; // last timestamp
        let producer = r.i64()?;
        r.i16()?; // producer epoch
        r.i32()?; // first sequence
        let count = r.i32()?;
        if last_delta < 0 || count < 0 {
            return Err(Malformed);
        }
        let after = bytes.get(HEAD.saturating_add(length)..).unwrap_or_default();
        Ok((Self { base, attributes, last_delta, producer, count }, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, records: i32, attributes: i16, producer: i64) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(0_i32.to_be_bytes());
        body.extend(MAGIC.to_be_bytes());
        body.extend(0_i32.to_be_bytes());
        body.extend(attributes.to_be_bytes());
        body.extend((records - 1).to_be_bytes());
        body.extend([0; 16]);
        body.extend(producer.to_be_bytes());
        body.extend([0; 6]);
        body.extend(records.to_be_bytes());
        body.extend([7; 20]);
        let length = i32::try_from(body.len()).unwrap();
        [&base.to_be_bytes()[..], &length.to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn markers_are_not_records() {
        let marker = batch(10, 1, TRANSACTIONAL | CONTROL, 5);
        assert_eq!(records(&marker, &[], 10, 11), 0);
        let more = [marker.clone(), batch(11, 3, 0, -1), batch(14, 1, CONTROL | TRANSACTIONAL, 5)]
            .concat();
        assert_eq!(records(&more, &[], 10, 15), 3);
    }

    #[test]
    fn a_batch_read_in_part_counts_from_the_commit() {
        assert_eq!(records(&batch(0, 10, 0, -1), &[], 7, 10), 3);
    }

    #[test]
    fn transactions_given_up_are_not_records_until_their_marker() {
        let log = [
            batch(0, 2, TRANSACTIONAL, 5),
            batch(2, 2, TRANSACTIONAL, 6),
            batch(4, 1, TRANSACTIONAL | CONTROL, 5),
            batch(5, 2, TRANSACTIONAL, 5),
        ]
        .concat();
        assert_eq!(records(&log, &[(5, 0)], 0, 7), 4);
        assert_eq!(records(&log, &[], 0, 7), 6);
    }

    #[test]
    fn a_marker_that_lies_before_ends_its_transaction() {
        let log = [
            batch(0, 2, TRANSACTIONAL, 5),
            batch(2, 1, TRANSACTIONAL | CONTROL, 5),
            batch(3, 2, TRANSACTIONAL, 5),
        ]
        .concat();
        // Another group stands at 0, so the log was read from there on.
        assert_eq!(records(&log, &[(5, 0)], 3, 5), 2);
        assert_eq!(records(&log, &[(5, 0), (5, 3)], 3, 5), 0);
    }

    #[test]
    fn what_is_not_seen_counts_as_records() {
        assert_eq!(records(&[], &[], 3, 9), 6);
        assert_eq!(records(&batch(3, 2, CONTROL, 5), &[], 3, 9), 4);
        let old_format = [&[0; 8][..], &[0, 0, 0, 20], &[0; 4], &[1], &[0; 40]].concat();
        assert_eq!(records(&old_format, &[], 0, 2), 2);
        let cut = batch(3, 2, 0, -1);
        assert_eq!(records(&cut[..cut.len() - 10], &[], 3, 5), 2);
    }
}
