//! The parameters of the live part, told above its table.

use std::time::Duration;

/// A pod that has found a node is Ready after so long; one that is told to end has so many seconds.
pub(crate) const START: Duration = Duration::from_secs(3);
pub(crate) const GRACE: u64 = 2;
/// A node that was asked for is Ready after so long.
pub(crate) const BOOT: Duration = Duration::from_secs(40);
/// Pods that a node of spot takes.
pub(crate) const FIT: usize = 5;
/// What is waited for at the most: a busy machine takes several times as long as it should.
pub(crate) const LONG: Duration = Duration::from_mins(4);
