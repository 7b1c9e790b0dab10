//! The largest figure of each of the last minutes: a small ring that forgets by itself. Kept by `steady` for arrivals and by `spike` for
//! bare numbers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Minutes remembered, as a number of slots and of minutes.
const MINUTES: usize = 14;
const SLOTS: i64 = 14;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Minutes {
    largest: [f32; MINUTES],
    /// The minute since the epoch that was written last.
    newest: i64,
}

impl Minutes {
    /// Forgets the minutes that have passed by then.
    pub(super) fn pass(&mut self, at: Timestamp) {
        let minute = at.as_second().div_euclid(60);
        for passed in (self.newest + 1..=minute).rev().take(MINUTES) {
            self.largest[slot(passed)] = 0.0;
        }
        self.newest = self.newest.max(minute);
    }

    /// Takes in a figure of the newest minute.
    pub(super) fn note(&mut self, figure: f64) {
        self.write(slot(self.newest), figure);
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    fn write(&mut self, slot: usize, figure: f64) {
        let largest = &mut self.largest[slot];
        *largest = largest.max(figure as f32);
    }

    /// Takes in a figure of all the time since the last one: the minutes that passed meanwhile have it, too.
    pub(super) fn fill(&mut self, at: Timestamp, figure: f64) {
        let before = self.newest;
        self.pass(at);
        // Before the first figure nothing is known.
        let first = if before == 0 { self.newest } else { (before + 1).min(self.newest) };
        for passed in (first..=self.newest).rev().take(MINUTES) {
            self.write(slot(passed), figure);
        }
    }

    /// The last minutes since the epoch, newest first, and the largest figure of each; 0 where there was none.
    pub(super) fn last(&self) -> impl Iterator<Item = (i64, f32)> {
        (0..SLOTS).map(|ago| self.newest - ago).map(|minute| (minute, self.largest[slot(minute)]))
    }
}

fn slot(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(SLOTS)).unwrap_or(0)
}
