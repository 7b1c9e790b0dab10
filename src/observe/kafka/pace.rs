//! How often a group's commits are worth reading: its commit interval, measured from how its commits move, and a rest for groups where
//! nothing happens. Pure; owned by `group.rs`.

use std::time::Duration;

/// A group where nothing moves is read this often.
const REST: Duration = Duration::from_secs(30);
/// So many gaps between commits are remembered.
const REMEMBERED: usize = 16;
/// So many are needed before they say something.
const ENOUGH: usize = 4;
/// When so many partitions in a row had moved by the time they were read, commits may come faster than we read.
const SUSPICIOUS: u16 = 16;

/// The pace of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    /// Milliseconds between two moves of a partition's commit, a ring.
    gaps: [u32; REMEMBERED],
    count: usize,
    /// Busy partitions in a row that had moved at every reading.
    moved: u16,
    /// How long the next rest is; random, so that groups spread out.
    rest: Duration,
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
    /// A partition's commit was seen to move, this long after it was last seen to.
    pub(super) fn gap(&mut self, gap: Duration) {
        if let Some(slot) = self.gaps.get_mut(self.count % REMEMBERED) {
            *slot = u32::try_from(gap.as_millis()).unwrap_or(u32::MAX);
        }
        self.count += 1;
    }

    /// A partition with something to commit was read: had its commit moved?
    pub(super) fn saw(&mut self, has_moved: bool) {
        self.moved = if has_moved { self.moved.saturating_add(1) } else { 0 };
    }

    /// The commits were read; `chance` in 0..1 spreads the rests of many groups.
    pub(super) fn rests(&mut self, chance: f64) {
        self.rest = REST.mul_f64(0.75 + chance / 2.0);
    }

    /// The measured time between two commits, once known. Never shorter than the poll interval, below which nobody can see.
    pub(super) fn interval(&self) -> Option<Duration> {
        let known = self.count.min(REMEMBERED);
        if known < ENOUGH {
            return None;
        }
        let mut gaps = self.gaps;
        let gaps = gaps.get_mut(..known)?;
        gaps.sort_unstable();
        // The middle half: a pause of the consumers or a missed commit shall not count.
        let middle = gaps.get(known / 4..known - known / 4)?;
        let sum: u64 = middle.iter().map(|gap| u64::from(*gap)).sum();
        Some(Duration::from_millis(sum / u64::try_from(middle.len()).unwrap_or(1).max(1)))
    }

    /// Is it time to read the commits?
    pub(super) fn is_due(&self, due: &Due) -> bool {
        let Some(age) = due.age else { return true };
        if due.is_pressed || age >= self.rest {
            return true;
        }
        let half = due.poll / 2;
        if !due.is_busy || age < half {
            return false;
        }
        match self.interval() {
            // Every reading finds all moved: perhaps they commit faster than we thought, so look at every poll again.
            Some(_) if self.moved >= SUSPICIOUS => true,
            // Half a poll early: the polls do not fall on the commits, and reading late each time would measure itself.
            Some(interval) => age + half >= interval,
            None => true,
        }
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
            pace.rests(0.5);
            let commit = now / commit_s;
            pace.saw(commit != seen);
            if commit != seen {
                if let Some(before) = last_move.replace(now) {
                    pace.gap(Duration::from_secs(now - before));
                }
                seen = commit;
            }
        }
        (pace.interval().unwrap(), readings)
    }

    #[test]
    fn commit_intervals_are_measured_and_save_readings() {
        let (interval, readings) = measured(1);
        assert_eq!(interval, POLL);
        assert_eq!(readings, 300);
        let (interval, readings) = measured(5);
        assert!((4500..=5500).contains(&interval.as_millis()), "{interval:?}");
        assert!(readings < 170, "{readings}");
        let (interval, readings) = measured(30);
        assert!((28..=32).contains(&interval.as_secs()), "{interval:?}");
        assert!(readings < 100, "{readings}");
    }

    #[test]
    fn a_group_that_starts_to_commit_faster_is_found_out() {
        let mut pace = Pace::default();
        for _ in 0..REMEMBERED {
            pace.gap(Duration::from_secs(30));
        }
        pace.rests(0.5);
        let due = Due { age: Some(POLL), poll: POLL, is_busy: true, is_pressed: false };
        assert!(!pace.is_due(&due));
        for _ in 0..SUSPICIOUS {
            pace.saw(true);
        }
        assert!(pace.is_due(&due));
    }

    #[test]
    fn an_idle_group_rests_unless_a_decision_hangs_on_it() {
        let mut pace = Pace::default();
        pace.rests(0.0);
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
