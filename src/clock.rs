//! The one clock: wall time at start plus monotonic time since, so that no jump of the wall clock changes a decision.
//! Every room but decide may read it; decide is handed the time.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock that never jumps. Cheap to copy; follows tokio's paused time in tests.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock once, here and nowhere else.
    #[expect(clippy::disallowed_methods, reason = "the one place where wall time enters")]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), start: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The time that a monotonic instant stands for.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let since = instant.saturating_duration_since(self.start);
        self.wall.checked_add(since).unwrap_or(self.wall)
    }

    /// The monotonic instant of a time; a time before the start is the start.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let since = at.duration_since(self.wall);
        self.start + Duration::try_from(since).unwrap_or_default()
    }
}

/// Waits until an instant, or for ever if there is none.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
