//! The right to write: held while the lease is ours and young, by monotonic time. `daemon::lease` grants it; `act` and `report` ask
//! for it at the last moment before a write leaves.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A write starts no later than this after the last renewal of the lease.
pub const WRITE_WINDOW: Duration = Duration::from_secs(5);

/// A write ends no later than this after its start, so that with [`WRITE_WINDOW`] it ends within the lease of 8 s.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// Why nothing may be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLicence {
    /// Another replica leads, or nobody does yet.
    #[error("this replica does not hold the lease")]
    NotHeld,
    /// It was ours, but its renewal is overdue.
    #[error("the lease was last renewed more than {} s ago", WRITE_WINDOW.as_secs())]
    TooOld,
}

/// The right to write, as its users see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Licence(watch::Receiver<Option<Instant>>);

/// The right to write, as its giver sees it.
#[derive(Debug)]
pub struct Grant(watch::Sender<Option<Instant>>);

impl Licence {
    /// A licence that is not held yet, and the grant that changes it. When the grant is dropped, the licence ages out.
    pub fn new() -> (Grant, Self) {
        let (sender, receiver) = watch::channel(None);
        (Grant(sender), Self(receiver))
    }

    /// May a write start at this very moment?
    ///
    /// # Errors
    /// The lease is not held, or its last renewal is [`WRITE_WINDOW`] or more ago.
    pub fn check(&self) -> Result<(), NoLicence> {
        match *self.0.borrow() {
            None => Err(NoLicence::NotHeld),
            Some(renewed) if renewed.elapsed() >= WRITE_WINDOW => Err(NoLicence::TooOld),
            Some(_) => Ok(()),
        }
    }

    /// Resolves once a write may start. For tasks that wait to lead; decides nothing.
    pub async fn held(&mut self) {
        while self.check().is_err() {
            if self.0.changed().await.is_err() {
                // Nobody can grant it any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Grant {
    /// The lease is ours, by a renewal that was **sent** at this instant (not answered: the answer may be long on its way).
    pub fn renew(&self, sent: Instant) {
        self.0.send_replace(Some(sent));
    }

    /// The lease is no longer ours.
    pub fn revoke(&self) {
        self.0.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_licence_ends_five_seconds_after_the_renewal_was_sent() {
        let (grant, licence) = Licence::new();
        assert_eq!(licence.check(), Err(NoLicence::NotHeld));
        let sent = tokio::time::Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        grant.renew(sent);
        tokio::time::advance(Duration::from_millis(2_999)).await;
        assert_eq!(licence.check(), Ok(()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(licence.check(), Err(NoLicence::TooOld));
        grant.revoke();
        assert_eq!(licence.check(), Err(NoLicence::NotHeld));
    }

    #[test]
    fn a_write_that_starts_last_ends_within_the_lease() {
        assert_eq!(WRITE_WINDOW + WRITE_DEADLINE, Duration::from_secs(8));
    }
}
