//! Real traffic: a producer that sends at a rate, and consumers attached to the Ready pods of a workload, as if they ran in
//! them. Called by tests and the benchmark, which judge by the ages of the items that were worked off.

mod producer;
mod consumers;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use penstock::clock::Clock;

pub(crate) use consumers::{Consumers, Item, Work};
pub(crate) use producer::Producer;

/// Milliseconds since the epoch, for items on both sides.
pub(crate) fn now() -> i64 {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::start).now().as_millisecond()
}

pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
