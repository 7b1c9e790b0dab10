//! What a stage promises of its items: none waits longer than so long, or all are done by a time of day, or nothing at all. Only what was
//! promised is scored: `world` asks while it plays, `score` when it is over.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::scenario::Scenario;
use super::tally::Ages;
use crate::decide::{DoneBy, Stage};

/// 2026-01-01T00:00:00Z, when all scenarios begin.
pub(super) const DAWN: i64 = 1_767_225_600;
/// Fewer items than this are none: what rounding leaves.
const NOTHING: f64 = 1e-6;

/// What is promised of the items of one stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Promise {
    /// None waits longer than so many seconds.
    Delay(f64),
    /// What has arrived is done by the next such time of day.
    DoneBy(DoneBy),
    /// Thresholds alone size it: nobody said when its items are to be done.
    Nothing,
}

impl Promise {
    /// Of a stage as it is meant.
    pub fn of(stage: &Stage) -> Self {
        match (&stage.max_delay, &stage.done_by) {
            (Some(delay), _) => Self::Delay(delay.as_secs_f64()),
            (None, Some(done_by)) => Self::DoneBy(done_by.clone()),
            (None, None) => Self::Nothing,
        }
    }

    /// The delay to keep, in seconds.
    pub fn delay(&self) -> Option<f64> {
        match self {
            Self::Delay(delay) => Some(*delay),
            Self::DoneBy(_) | Self::Nothing => None,
        }
    }

    /// The time of day, as `06:00 Europe/Berlin`.
    pub fn time(&self) -> Option<String> {
        match self {
            Self::DoneBy(DoneBy { hour, minute, zone }) => {
                Some(format!("{hour:02}:{minute:02} {}", zone.iana_name().unwrap_or("UTC")))
            }
            Self::Delay(_) | Self::Nothing => None,
        }
    }

    /// The times a scenario brings by which its items are to be done, for those that have such.
    pub(super) fn dues(&self, scenario: &Scenario) -> Option<Dues> {
        let Self::DoneBy(done_by) = self else { return None };
        let after = |at: u32| {
            let now = dawn() + SignedDuration::from_secs(at.into());
            u32::try_from(done_by.next(now).duration_since(dawn()).as_secs()).ok()
        };
        let times = std::iter::successors(after(0), |&at| after(at));
        let times = times.take_while(|&at| at < scenario.duration);
        Some(Dues(times.map(|at| Due { at, ..Due::default() }).collect()))
    }
}

fn dawn() -> Timestamp {
    Timestamp::from_second(DAWN).unwrap_or_default()
}

/// The due times of a stage, in their order. What arrives after the last has none within the scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct Dues(Vec<Due>);

/// One of them.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    /// Second since the scenario began.
    at: u32,
    /// Items that had to be done by then, and those that were not.
    items: f64,
    late: f64,
    /// When the last of these was done.
    last: u32,
}

impl Dues {
    /// The first after what arrived in a second.
    fn of(&mut self, arrived: u32) -> Option<&mut Due> {
        let first = self.0.partition_point(|due| due.at <= arrived);
        self.0.get_mut(first)
    }

    /// Items that arrived in a second are done in another, or are not at the end, which is as late as they are known to be.
    pub(super) fn done(&mut self, items: f64, arrived: u32, now: u32) {
        let Some(due) = self.of(arrived) else { return };
        due.items += items;
        if due.at < now {
            due.late += items;
            due.last = due.last.max(now);
        }
    }

    /// Nothing of this counts: the warm-up is over.
    pub(super) fn reset(&mut self) {
        for due in &mut self.0 {
            *due = Due { at: due.at, ..Due::default() };
        }
    }

    /// Is something that arrived then overdue?
    pub(super) fn is_overdue(&mut self, arrived: u32, now: u32) -> bool {
        self.of(arrived).is_some_and(|due| due.at < now)
    }
}

/// Items that had a promise, and those of them that were late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    all: f64,
    late: f64,
    due: Option<DueTimes>,
}

/// How the due times of a stage were kept, or those of several stages or seeds together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DueTimes {
    /// How many there were.
    pub times: u32,
    /// At how many of them all was done that had arrived before.
    pub met: u32,
    /// How long after its due time the last item was done, where that took longest; in seconds.
    pub overdue: f64,
}

impl DueTimes {
    /// Those of several together; none of none.
    pub(super) fn join(all: impl Iterator<Item = Self>) -> Option<Self> {
        all.reduce(|one, other| Self {
            times: one.times + other.times,
            met: one.met + other.met,
            overdue: one.overdue.max(other.overdue),
        })
    }
}

impl Kept {
    /// A delay, by the ages at which items were read.
    pub(super) fn within(limit: f64, ages: &Ages) -> Self {
        Self { all: ages.total(), late: ages.above(limit), due: None }
    }

    /// Due times after the warm-up.
    pub(super) fn by(dues: &Dues, warmup: u32) -> Self {
        let mut kept = Self::default();
        let mut times = DueTimes::default();
        for due in dues.0.iter().filter(|due| warmup < due.at) {
            kept.all += due.items;
            kept.late += due.late;
            times.times += 1;
            if due.late <= NOTHING {
                times.met += 1;
            } else {
                times.overdue = times.overdue.max(f64::from(due.last - due.at));
            }
        }
        Self { due: Some(times), ..kept }
    }

    /// That of several stages together.
    pub(super) fn and(self, other: Self) -> Self {
        let due = DueTimes::join(self.due.into_iter().chain(other.due));
        Self { all: self.all + other.all, late: self.late + other.late, due }
    }

    /// The late ones as a share of all.
    pub(super) fn late_share(&self) -> f64 {
        if 0.0 < self.all { self.late / self.all } else { 0.0 }
    }

    pub(super) fn due(&self) -> Option<DueTimes> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_before_a_due_time_is_late_after_it() {
        let mut dues = Dues([100, 200].map(|at| Due { at, ..Due::default() }).to_vec());
        dues.done(5.0, 99, 100);
        dues.done(3.0, 100, 150);
        dues.done(2.0, 150, 230);
        dues.done(1.0, 150, 215);
        dues.done(9.0, 200, 5000);
        let kept = Kept::by(&dues, 0);
        assert!((kept.late_share() - 3.0 / 11.0).abs() < 1e-9, "{kept:?}");
        assert_eq!(kept.due(), Some(DueTimes { times: 2, met: 1, overdue: 30.0 }));
        assert_eq!(Kept::by(&dues, 100).due().unwrap().times, 1, "the warm-up is not scored");
        assert!(dues.is_overdue(150, 201) && !dues.is_overdue(150, 200));
        dues.reset();
        assert_eq!(Kept::by(&dues, 0).due().unwrap().met, 2);
    }
}
