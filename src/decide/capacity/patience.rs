//! How long a pod may wait for a node: before that is a sign against its pool, and before nobody waits any longer. Arithmetic on what is seen of
//! a pool; `pool` acts on it.

use std::time::Duration;

use jiff::Timestamp;

use super::PoolSeen;

/// How long a pod may be without a node before that is a sign: somewhat longer than nodes take, within these bounds.
const BOOT: Duration = Duration::from_mins(1);
const SHORTEST: Duration = Duration::from_secs(30);
pub(super) const LONGEST: Duration = Duration::from_mins(5);
const MARGIN: f64 = 1.2;
/// How long nodes may take at the least, when pods are to be taken back for it: the slowest of a few nodes says little of the next one, and to shut a pool
/// that was only slow costs more than to wait.
const SLOWEST: Duration = Duration::from_mins(5);

/// Since when a pod has waited that began to after `mark`.
pub(super) fn waited(seen: &PoolSeen, mark: Timestamp) -> Option<Timestamp> {
    let waiting = seen.lanes.iter().filter_map(|lane| lane.waiting);
    waiting.filter(|since| mark <= *since).min()
}

/// How long a pod may be without a node before that is a sign.
pub(super) fn patience(seen: &PoolSeen) -> Duration {
    let boot = seen.boot.map_or(BOOT, |boot| boot.mul_f64(MARGIN));
    boot.clamp(SHORTEST, LONGEST)
}

/// How long nodes may take before it is certain that none comes.
pub(super) fn lasts(seen: &PoolSeen) -> Duration {
    seen.boot.unwrap_or_default().max(SLOWEST).mul_f64(MARGIN)
}

/// How long a pod may be without a node before the pool is shut.
pub(super) fn given_up(seen: &PoolSeen) -> Duration {
    3 * lasts(seen)
}
