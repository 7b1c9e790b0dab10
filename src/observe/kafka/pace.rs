//! How often a group's commits are worth reading: its commit interval, measured from how its commits move, and a rest for groups where
//! nothing happens. Pure; owned by `group.rs`.

use std::time::Duration;

/// A group where nothing moves is read this often.
const REST: Duration = Duration::from_secs(30);
/// So many gaps between commits are kept while measuring.
const KEPT: usize = 16;
/// So many readings must show gaps before they are believed; fewer when an earlier measure is only checked.
const ENOUGH: u8 = 4;
const ENOUGH_TO_CHECK: u8 = 2;
/// After so many spared readings the measure is checked.
const CHECKED_AFTER: u8 = 30;

/// The pace of one group. While measuring, a busy group is read at every poll; afterwards once in its commit interval, since commits
/// that are seen only as often as they happen would measure the looking.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Milliseconds between two moves of a partition's commit, a ring.
    gaps: [u32; KEPT],
    count: usize,
    /// Readings with gaps that are still wanted; none when not measuring.
    wanted: u8,
    /// Readings since the last measure.
    spared: u8,
    interval: Option<Duration>,
    /// How long the next rest is; random, so that groups spread out.
    rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (gaps, rest) = ([0; KEPT], Duration::ZERO);
        Self { gaps, count: 0, wanted: ENOUGH, spared: 0, interval: None, rest }
    }
}

/// Why a group's commits would be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Since the last reading; `None` for never.
    pub(super) age: Option<Duration>,
    /// The pipeline's poll interval.
    pub(super) poll: Duration,
    /// Does it lag, or did an end offset move since?
    pub(super) is_busy: bool,
    /// Does a decision hang on it?
    pub(super) is_pressed: bool,
}

impl Pace {
    /// Do gaps count now?
    pub(super) fn is_measuring(&self) -> bool {
        self.wanted > 0
    }

    /// A partition's commit was seen to move, this long after it was last seen to, with something to commit all the while.
    pub(super) fn gap(&mut self, gap: Duration) {
        if let Some(slot) = self.gaps.get_mut(self.count % KEPT) {
            *slot = u32::try_from(gap.as_millis()).unwrap_or(u32::MAX);
        }
        self.count += 1;
    }

    /// A reading is done, with or without gaps; `chance` in 0..1 spreads the rests of many groups.
    pub(super) fn finish(&mut self, had_gaps: bool, chance: f64) {
        self.rest = REST.mul_f64(0.75 + chance / 2.0);
        if self.is_measuring() {
            self.wanted -= u8::from(had_gaps);
            if !self.is_measuring() {
                self.interval = self.measured();
                self.spared = 0;
            }
        } else {
            self.spared += 1;
            if self.spared >= CHECKED_AFTER {
                self.wanted = ENOUGH_TO_CHECK;
                self.count = 0;
            }
        }
    }

    /// The mean gap, without those that a pause of the consumers or a missed commit made.
    fn measured(&self) -> Option<Duration> {
        let mut gaps = self.gaps;
        let gaps = gaps.get_mut(..self.count.min(KEPT))?;
        gaps.sort_unstable();
        let median = *gaps.get(gaps.len() / 2)?;
        let usual =
            gaps.iter().filter(|gap| (median / 2..=median.saturating_mul(3) / 2).contains(*gap));
        let (sum, count) =
            usual.fold((0_u64, 0_u64), |(sum, count), gap| (sum + u64::from(*gap), count + 1));
        sum.checked_div(count).map(Duration::from_millis)
    }

    /// The measured time between two commits, once known. Never shorter than the poll interval, below which nobody can see.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Is it time to read the commits?
    pub(super) fn is_due(&self, due: &Due) -> bool {
        let Some(age) = due.age else { return true };
        if due.is_pressed || age >= self.rest {
            return true;
        }
        // Half a poll early: polls do not come to the millisecond.
        let half = due.poll / 2;
        let spare = self.interval.filter(|_| !self.is_measuring()).unwrap_or(due.poll);
        due.is_busy && age + half >= spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(2);

    /// Reads a group that commits every `commit_s` seconds at each poll that is due, for ten minutes.
    fn measured(commit_s: u64) -> (Duration, usize) {
        let mut pace = Pace::default();
        let (mut last_read, mut last_move, mut seen, mut readings) =
            (None::<u64>, None::<u64>, 0, 0);
        for now in (0..600).step_by(2) {
            let age = last_read.map(|read| Duration::from_secs(now - read));
            if !pace.is_due(&Due { age, poll: POLL, is_busy: true, is_pressed: false }) {
                continue;
            }
            readings += 1;
            last_read = Some(now);
            let commit = (now + 1) / commit_s;
            let mut had_gaps = false;
            if commit != seen {
                let before = last_move.replace(now).filter(|_| pace.is_measuring());
                if let Some(before) = before {
                    pace.gap(Duration::from_secs(now - before));
                    had_gaps = true;
                }
                seen = commit;
            }
            pace.finish(had_gaps, 0.5);
            if !pace.is_measuring() {
                last_move = None;
            }
        }
        (pace.interval().unwrap(), readings)
    }

    #[test]
    fn commit_intervals_are_measured_and_save_readings() {
        let (interval, readings) = measured(1);
        assert_eq!((interval, readings), (POLL, 300));
        let (interval, readings) = measured(5);
        assert!((4500..=5500).contains(&interval.as_millis()), "{interval:?}");
        assert!(readings < 180, "{readings}");
        let (interval, readings) = measured(30);
        assert!((28..=32).contains(&interval.as_secs()), "{interval:?}");
        assert!(readings < 100, "{readings}");
    }

    #[test]
    fn a_changed_interval_is_found_when_the_measure_is_checked() {
        let mut pace = Pace::default();
        for _ in 0..ENOUGH {
            pace.gap(Duration::from_secs(30));
            pace.finish(true, 0.5);
        }
        assert_eq!(pace.interval(), Some(Duration::from_secs(30)));
        let due = Due { age: Some(POLL), poll: POLL, is_busy: true, is_pressed: false };
        assert!(!pace.is_due(&due));
        for _ in 0..CHECKED_AFTER {
            pace.finish(false, 0.5);
        }
        assert!(pace.is_due(&due));
        for _ in 0..ENOUGH_TO_CHECK {
            pace.gap(Duration::from_secs(4));
            pace.finish(true, 0.5);
        }
        assert_eq!(pace.interval(), Some(Duration::from_secs(4)));
    }

    #[test]
    fn an_idle_group_rests_unless_a_decision_hangs_on_it() {
        let mut pace = Pace::default();
        pace.finish(false, 0.0);
        let mut due = Due {
            age: Some(Duration::from_secs(20)),
            poll: POLL,
            is_busy: false,
            is_pressed: false,
        };
        assert!(!pace.is_due(&due));
        due.is_pressed = true;
        assert!(pace.is_due(&due));
        due = Due { age: Some(Duration::from_secs(23)), is_pressed: false, ..due };
        assert!(pace.is_due(&due));
        assert!(pace.is_due(&Due { age: None, ..due }));
    }
}
