//! How long a watch that failed rests before it is tried again: longer each time, never so long that a cluster that is back goes unseen for a
//! minute. Used by everything that watches.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(800);
/// Before chance, which at most doubles it.
const LONGEST: Duration = Duration::from_secs(15);
/// After so long without a failure the next is the first again. A list begun is no success yet: kube tells of it before it is answered. Less than
/// a watch lasts by itself: a load balancer that cuts each after a minute would leave us blind for half of the next.
const CALM: Duration = Duration::from_secs(45);

/// The pauses of one watch.
#[derive(Debug)]
pub(super) struct Pauses {
    pause: Duration,
    /// When the last one ended, or will.
    ended: Option<Instant>,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { pause: FIRST, ended: None }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.ended.is_some_and(|ended| ended + CALM <= now) {
            self.pause = FIRST;
        }
        let pause = self.pause.mul_f64(1.0 + fastrand::f64());
        self.pause = LONGEST.min(2 * self.pause);
        self.ended = Some(now + pause);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_half_a_minute_at_most_and_begin_anew_after_a_calm() {
        let mut pauses = Pauses::new();
        let mut pause = async || {
            let pause = pauses.next().unwrap();
            tokio::time::sleep(pause).await;
            // What kube tells before a list is answered.
            pauses.reset();
            pause
        };
        assert!(pause().await < Duration::from_secs(2));
        for _ in 0..50 {
            assert!(pause().await <= Duration::from_secs(30));
        }
        assert!(LONGEST <= pause().await);
        tokio::time::sleep(CALM).await;
        assert!(pause().await < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_cut_each_minute_is_begun_anew_at_once() {
        let mut pauses = Pauses::new();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_mins(1)).await;
            let pause = pauses.next().unwrap();
            assert!(pause < Duration::from_secs(2), "{pause:?}");
            tokio::time::sleep(pause).await;
        }
    }
}
