//! Hours of the calendar: from one point of cron to another in a time zone. Looked at by `schedule`, whose bounds hold in them, and by
//! `tariff`, whose prices do. The time is the turn's, the rules of time zones are built in, so that a replay says the same.
//!
//! Summer time is as cron has it (Vixie): a time of day that a spring night skips is the first instant after the gap; one that an autumn
//! night has twice is the first of the two.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Unit, Zoned};
use serde::{Deserialize, Serialize};

/// What a cron that says more than a time of day may be looked for: it must come within so many years.
const YEARS: i64 = 9;

/// From a point of the calendar to another. Two of one text are equal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Hours {
    written: Written,
    start: Arc<Cron>,
    end: Arc<Cron>,
    zone: TimeZone,
}

/// Hours as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    start: Arc<str>,
    end: Arc<str>,
    zone: Arc<str>,
}

/// What of them cannot be read.
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

impl Hours {
    /// Reads them: `start` and `end` are cron with five fields, `zone` is an IANA name.
    ///
    /// # Errors
    /// A cron is none or never comes, both are the same, or nobody knows the time zone.
    pub fn new(start: &str, end: &str, zone: &str) -> Result<Self, Unreadable> {
        let known = TimeZoneDatabase::bundled().get(zone).map_err(|_| Unreadable {
            field: "timeZone",
            message: format!("nobody knows the time zone {zone:?}"),
            hint: "write an IANA name, as Europe/Berlin or UTC",
        })?;
        if start.split_whitespace().eq(end.split_whitespace()) {
            return Err(Unreadable {
                field: "end",
                message: "is the same as start, so that it lasts for no time".to_owned(),
                hint: "what always holds is written without hours: as replicas.min or max, or as the price itself",
            });
        }
        Ok(Self {
            start: Arc::new(cron("start", start, &known)?),
            end: Arc::new(cron("end", end, &known)?),
            zone: known,
            written: Written { start: start.into(), end: end.into(), zone: zone.into() },
        })
    }

    /// Is this instant within them, and until when does that stay so? From a start (included) to the next end (excluded): what came last of
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

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

impl PartialEq for Hours {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Hours {}

impl From<Hours> for Written {
    fn from(hours: Hours) -> Self {
        hours.written
    }
}

impl TryFrom<Written> for Hours {
    type Error = Unreadable;

    fn try_from(text: Written) -> Result<Self, Unreadable> {
        Self::new(&text.start, &text.end, &text.zone)
    }
}
