//! Bounds by the calendar: between two points of cron in a time zone a stage has another `min` or `max`. Called before a stage's turn, which
//! sees the bounds of that instant as if they had been written, and after it, to tell which schedule bound. The time is the turn's, the
//! rules of time zones are built in, so that a replay says the same.
//!
//! Summer time is as cron has it (Vixie): a time of day that a spring night skips is the first instant after the gap; one that an autumn
//! night has twice is the first of the two.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Unit, Zoned};
use serde::{Deserialize, Serialize};

use super::pipeline::Stage;
use super::reason::Reason;
use super::stage::Answer;

/// What a cron that says more than a time of day may be looked for: it must come within so many years.
const YEARS: i64 = 9;

/// Bounds between two points of the calendar. Two of one text are equal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Schedule {
    written: Written,
    start: Arc<Cron>,
    end: Arc<Cron>,
    zone: TimeZone,
}

/// A schedule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    name: Arc<str>,
    start: Arc<str>,
    end: Arc<str>,
    zone: Arc<str>,
    min: Option<u32>,
    max: Option<u32>,
}

/// What of a schedule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The field: `start`, `end` or `timeZone`.
    pub field: &'static str,
    /// The fault in words.
    pub message: String,
    /// How to mend it.
    pub hint: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl Schedule {
    /// Reads a schedule: `start` and `end` are cron with five fields, `zone` is an IANA name.
    ///
    /// # Errors
    /// A cron is none or never comes, both are the same, or nobody knows the time zone.
    pub fn new(
        name: &str,
        (start, end): (&str, &str),
        zone: &str,
        (min, max): (Option<u32>, Option<u32>),
    ) -> Result<Self, Unreadable> {
        let known = TimeZoneDatabase::bundled().get(zone).map_err(|_| Unreadable {
            field: "timeZone",
            message: format!("nobody knows the time zone {zone:?}"),
            hint: "write an IANA name, as Europe/Berlin or UTC",
        })?;
        if start.split_whitespace().eq(end.split_whitespace()) {
            return Err(Unreadable {
                field: "end",
                message: "is the same as start, so that it lasts for no time".to_owned(),
                hint: "a bound that always holds is replicas.min or replicas.max",
            });
        }
        Ok(Self {
            start: Arc::new(cron("start", start, &known)?),
            end: Arc::new(cron("end", end, &known)?),
            zone: known,
            written: Written {
                name: name.into(),
                start: start.into(),
                end: end.into(),
                zone: zone.into(),
                min,
                max,
            },
        })
    }

    /// Is this instant within it, and until when does that stay so? From a start (included) to the next end (excluded): what came last of
    /// the two, and of both at once the start.
    pub fn look(&self, at: Timestamp) -> (bool, Option<Timestamp>) {
        let at = at.round(Unit::Second).map_or(at, |rounded| {
            if at < rounded { rounded - jiff::SignedDuration::from_secs(1) } else { rounded }
        });
        let now = at.to_zoned(self.zone.clone());
        let last = |cron: &Cron| cron.find_previous_occurrence(&now, true).ok();
        let is_inside = match (last(&self.start), last(&self.end)) {
            (Some(start), Some(end)) => start.cmp(&end) != Ordering::Less,
            (start, None) => start.is_some(),
            (None, Some(_)) => false,
        };
        let (next, other) =
            if is_inside { (&self.end, &self.start) } else { (&self.start, &self.end) };
        (is_inside, turns(&now, next, other, is_inside))
    }
}

/// When it turns from inside to outside or back: at an end where no start falls together with it, or at a start.
fn turns(now: &Zoned, next: &Cron, other: &Cron, is_inside: bool) -> Option<Timestamp> {
    let mut from = now.clone();
    // A start and an end that always fall together never end it: after a few looks that is taken for granted.
    for _ in 0..8 {
        let turn = next.find_next_occurrence(&from, false).ok()?;
        let is_both = is_inside
            && other.find_previous_occurrence(&turn, true).is_ok_and(|start| start == turn);
        if !is_both {
            return Some(turn.timestamp());
        }
        from = turn;
    }
    Some(from.timestamp())
}

/// Five fields, and comes at all.
fn cron(field: &'static str, text: &str, zone: &TimeZone) -> Result<Cron, Unreadable> {
    const HINT: &str = "minute, hour, day of month, month, day of week: \"0 8 * * 1-5\" is 8:00 from Monday to Friday";
    let wrong = |message: String| Unreadable { field, message, hint: HINT };
    if text.split_whitespace().count() != 5 {
        return Err(wrong(format!("{text:?} is no cron with five fields")));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron =
        parser.parse(text).map_err(|error| wrong(format!("{text:?} is no cron: {error}")))?;
    // Any fixed date will do: the calendar repeats within that time.
    let from = Timestamp::UNIX_EPOCH.to_zoned(zone.clone());
    let until = from.timestamp().as_second() + YEARS * 366 * 86_400;
    match cron.find_next_occurrence(&from, false) {
        Ok(next) if next.timestamp().as_second() < until => Ok(cron),
        _ => Err(wrong(format!("{text:?} never comes"))),
    }
}

/// The stage as it is bound at an instant.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub(super) stage: Cow<'a, Stage>,
    /// Whose the bounds are, where they are not the stage's own: the schedule, until when.
    min: Option<(Arc<str>, Option<Timestamp>)>,
    max: Option<(Arc<str>, Option<Timestamp>)>,
    /// When any schedule turns.
    next: Option<Timestamp>,
}

impl<'a> Bound<'a> {
    /// Of schedules that overlap the largest `min` and the smallest `max` count, and where these cross, the `max`. A scheduled `min` above
    /// zero keeps the stage awake, whatever `idle` says.
    pub(super) fn of(stage: &'a Stage, at: Timestamp) -> Self {
        let mut bound = Self { stage: Cow::Borrowed(stage), min: None, max: None, next: None };
        for schedule in &stage.schedules {
            let (is_inside, until) = schedule.look(at);
            bound.next = bound.next.into_iter().chain(until).min();
            if !is_inside {
                continue;
            }
            let Written { name, min, max, .. } = &schedule.written;
            if let Some(min) = min.filter(|min| bound.stage.min < *min) {
                let stage = bound.stage.to_mut();
                stage.min = min;
                stage.idle = stage.idle.filter(|idle| min <= idle.replicas);
                bound.min = Some((Arc::clone(name), until));
            }
            if let Some(max) = max.filter(|max| *max < bound.stage.max) {
                bound.stage.to_mut().max = max;
                bound.max = Some((Arc::clone(name), until));
            }
        }
        if bound.stage.max < bound.stage.min {
            let stage = bound.stage.to_mut();
            stage.min = stage.max;
            bound.min = bound.max.clone();
        }
        bound
    }

    /// Says which schedule bound it, and when to look again.
    pub(super) fn tell(&self, answer: &mut Answer, at: Timestamp) {
        let verdict = &mut answer.verdict;
        verdict.why.iter_mut().for_each(|reason| self.name(reason));
        for action in &mut answer.actions {
            self.name(&mut action.scale_mut().why);
        }
        let next = verdict.next.into_iter().chain(self.next);
        verdict.next = next.filter(|&next| at < next).min();
    }

    fn name(&self, reason: &mut Reason) {
        match (&*reason, &self.min, &self.max) {
            (&Reason::AtMin { wished, min }, Some((schedule, until)), _)
                if min == self.stage.min =>
            {
                let (schedule, until) = (schedule.to_string(), *until);
                *reason = Reason::AtScheduledMin { wished, min, schedule, until };
            }
            (&Reason::AtMax { wished, max }, _, Some((schedule, until)))
                if max == self.stage.max =>
            {
                let (schedule, until) = (schedule.to_string(), *until);
                *reason = Reason::AtScheduledMax { wished, max, schedule, until };
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl From<Schedule> for Written {
    fn from(schedule: Schedule) -> Self {
        schedule.written
    }
}

impl TryFrom<Written> for Schedule {
    type Error = Unreadable;

    fn try_from(text: Written) -> Result<Self, Unreadable> {
        let Written { name, start, end, zone, min, max } = text;
        Self::new(&name, (&start, &end), &zone, (min, max))
    }
}
