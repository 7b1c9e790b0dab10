//! How long more than needed is kept: the adaptive down window, and what it learns from how earlier holds and moves down turned out.
//! Called by `steady`, which does the holding.
//!
//! Ski rental with a memory. It begins at twice what it takes to get pods back. A move down that has to be undone doubles it; a hold
//! after which nothing more was needed shortens it, one that paid lengthens it again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::writes::{Move, span};

/// Bounds of the window until something was learned, and of a lengthened one.
const SHORTEST: f64 = 60.0;
const LONGEST: f64 = 600.0;
/// A shortened window is at least this long.
const HASTIEST: f64 = 20.0;
/// Where more of the window runs out within this time, that is waited for, so that a wish which fell step by step is followed in one;
/// but not longer than this in all.
pub(super) const FALLING: Duration = Duration::from_secs(20);
const FALLEN: Duration = Duration::from_mins(1);
/// Steps of the length, in tenths of a doubling: by a move down that was undone, by a hold that paid and by one that did not; and
/// the most either way.
const UNDONE: i8 = 10;
const PAID: i8 = 10;
const UNPAID: i8 = -4;
const MOST: i8 = 40;
const LEAST: i8 = -30;
/// A move up is no regret over the last one down if so much more arrives than then.
const MORE: f32 = 1.3;
/// Without a regretted move for this long, half of the lengthening is forgotten.
const QUIET: Duration = Duration::from_hours(1);

/// What is remembered of the window's length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    /// In tenths of a doubling of its first length.
    length: i8,
    /// When it was lengthened last, or half of that was forgotten.
    lengthened: Option<Timestamp>,
    /// The last move down that was meant to last, and what arrived then.
    down: Option<(Timestamp, f32)>,
    /// The wish is below what ran.
    fallen: Option<Fall>,
    /// What arrives, in items a second: over the last seconds, and at the most in two polls.
    level: f32,
    surge: f32,
}

/// A wish that fell below what ran: from which count, since when, and whether it is known that holding did not pay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Fall {
    from: u32,
    since: Timestamp,
    is_judged: bool,
}

impl Window {
    /// Penstock's own down window before anything is learned: twice what it takes to get pods back, 60 to 600 s.
    pub(super) fn first(startup: f64, rebalance: f64) -> Duration {
        seconds((2.0 * (startup + rebalance)).clamp(SHORTEST, LONGEST))
    }

    /// Its length now, from the first one.
    pub(super) fn length(&self, first: Duration) -> Duration {
        let length = first.as_secs_f64() * 2.0_f64.powf(f64::from(self.length) / 10.0);
        seconds(length.clamp(HASTIEST, LONGEST))
    }

    /// Notes what arrives, in items a second: over the last seconds, and at the most in two polls.
    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    pub(super) fn listen(&mut self, level: f64, surge: f64) {
        (self.level, self.surge) = (level as f32, surge as f32);
    }

    /// Takes in an accepted move; one that `rides` on the slack of the objective is meant to be undone.
    pub(super) fn moved(&mut self, moved: Move, rides: bool, first: Duration) {
        if moved.to < moved.from {
            self.down = (!rides).then_some((moved.at, self.level));
        } else if let Some((down, level)) = self.down.take()
            && span(down, moved.at) <= 2 * self.length(first)
            && self.surge <= MORE * level
        {
            self.length = self.length.max(0).saturating_add(UNDONE).min(MOST);
            self.lengthened = Some(moved.at);
        }
    }

    /// Takes in a wish: learns whether holding pays, which it does when what ran is needed again soon after the wish fell.
    pub(super) fn wished(&mut self, wished: u32, current: u32, first: Duration, at: Timestamp) {
        if self.lengthened.is_some_and(|since| QUIET <= span(since, at)) {
            self.length /= 2;
            self.lengthened = (0 < self.length).then_some(at);
        }
        let Some(fall) = &mut self.fallen else {
            let new = Fall { from: current, since: at, is_judged: false };
            self.fallen = (wished < current).then_some(new);
            return;
        };
        let ago = span(fall.since, at);
        if fall.from <= wished {
            if !fall.is_judged && self.length < 0 && ago <= first {
                self.length = self.length.saturating_add(PAID).min(0);
            }
            self.fallen = None;
        } else if !fall.is_judged && 3 * first <= ago {
            fall.is_judged = true;
            if self.length <= 0 {
                self.length = self.length.saturating_add(UNPAID).max(LEAST);
            }
        } else if fall.is_judged && current <= wished {
            self.fallen = None;
        }
    }

    /// How long ago the wish fell below what ran, while what it fell by later is still waited for.
    pub(super) fn fell(&self, window: Duration, at: Timestamp) -> Option<Duration> {
        let ago = span(self.fallen?.since, at);
        (ago < window + FALLEN).then_some(ago)
    }

    /// The share of its full time that a hold on suspicion lasts: less where holding has not paid more than twice.
    pub(super) fn patience(&self) -> f64 {
        2.0_f64.powf(f64::from(self.length.saturating_sub(2 * UNPAID).min(0)) / 10.0)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_mins(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(100);

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn length(window: &Window) -> u64 {
        window.length(FIRST).as_secs()
    }

    fn moved(window: &mut Window, from: u32, to: u32, at: i64, rides: bool) {
        window.moved(Move { from, to, at: second(at) }, rides, FIRST);
    }

    #[test]
    fn a_move_down_that_is_undone_doubles_it_for_an_hour() {
        let mut window = Window::default();
        window.listen(100.0, 100.0);
        moved(&mut window, 8, 6, 0, false);
        moved(&mut window, 6, 8, 150, false);
        assert_eq!(length(&window), 200);
        window.wished(8, 8, FIRST, second(151 + 3600));
        assert_eq!(length(&window), 141);
    }

    #[test]
    fn what_is_undone_for_much_more_work_or_as_planned_is_no_regret() {
        let mut window = Window::default();
        window.listen(100.0, 100.0);
        moved(&mut window, 8, 6, 0, false);
        window.listen(140.0, 140.0);
        moved(&mut window, 6, 8, 50, false);
        moved(&mut window, 8, 6, 1000, true);
        moved(&mut window, 6, 8, 1050, false);
        assert_eq!(length(&window), 100);
    }

    #[test]
    fn holds_that_never_pay_shorten_it_and_one_that_does_lengthens_it_again() {
        let mut window = Window::default();
        for burst in 0..20 {
            window.wished(2, 48, FIRST, second(burst * 1000));
            window.wished(2, 2, FIRST, second(burst * 1000 + 300));
        }
        assert_eq!(length(&window), 20);
        window.wished(2, 48, FIRST, second(30_000));
        window.wished(48, 48, FIRST, second(30_030));
        assert_eq!(length(&window), 25);
    }
}
