//! The one clock: wall time at start plus monotonic time since, so that no jump of the wall clock changes a decision.
//! Every room but decide may read it; decide is handed the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// How often wall time is looked at.
const LOOK: Duration = Duration::from_mins(1);
/// So far apart, twice in a row, wall time was set, or this machine slept.
const APART: SignedDuration = SignedDuration::from_secs(2);

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

impl Clock {
    /// Says when wall time has left this clock, for as long as the process lives. It is told and not followed: every window and age that is
    /// remembered is in this clock's time, and a jump would open or close all of them at once.
    pub async fn compare(self) {
        let mut looks = Looks::default();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(apart) = looks.take(self.apart()) {
                let seconds = apart.as_secs();
                tracing::warn!(
                    seconds,
                    "wall time was set, or this machine slept: schedules, doneBy and prices by the hour go by the time since the start; hint: \
                     restart this pod"
                );
            }
        }
    }

    /// How far wall time is ahead of this clock.
    #[expect(clippy::disallowed_methods, reason = "compared, not used")]
    fn apart(&self) -> SignedDuration {
        Timestamp::now().duration_since(self.now())
    }
}

/// What the looks at wall time found.
#[derive(Debug, Default)]
struct Looks {
    last: SignedDuration,
    told: SignedDuration,
}

impl Looks {
    /// What is news and lasts: far from what was told, and near to the look before.
    fn take(&mut self, apart: SignedDuration) -> Option<SignedDuration> {
        let last = std::mem::replace(&mut self.last, apart);
        let is_far = |from: SignedDuration| APART < apart.saturating_sub(from).abs();
        if is_far(last) || !is_far(self.told) {
            return None;
        }
        self.told = apart;
        Some(apart)
    }
}

/// Waits until an instant, or for ever if there is none.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_that_lasts_is_told_once_and_so_is_the_way_back() {
        let mut looks = Looks::default();
        let mut told = |seconds: &[i64]| {
            let looked = seconds.iter().map(|s| looks.take(SignedDuration::from_secs(*s)));
            looked.map(|told| told.map(|apart| apart.as_secs())).collect::<Vec<_>>()
        };
        assert_eq!(told(&[0, 1, 2, 1, 0]), [None; 5], "what clocks differ by anyway");
        assert_eq!(told(&[30, 0, 0]), [None; 3], "one look is none");
        assert_eq!(told(&[3_600, 3_601, 3_600]), [None, Some(3_601), None]);
        assert_eq!(told(&[0, 0, 0]), [None, Some(0), None]);
        assert_eq!(told(&[-3_600, -3_600]), [None, Some(-3_600)]);
        // A drift that grows by little at each look is told as well, once it is far.
        assert_eq!(told(&[-3_601, -3_602, -3_603])[2], Some(-3_603));
    }
}
