//! What a source says in a bare number, looked at before anybody reckons with it. Called by the sources whose answers are numbers; what
//! is none becomes an error here and never a zero.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use serde_json::Value as Json;

use super::Error;
use crate::decide::{Queue, Value};

/// Beyond this a double no longer tells a count from its neighbour.
pub(super) const LARGEST: f64 = 9_007_199_254_740_992.0;
/// So much of an answer that is no number is shown.
const SHOWN: usize = 64;
/// A time that lies no further ahead than this is now: clocks differ.
const AHEAD: Duration = Duration::from_mins(1);

/// What a number counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Items that wait, for an objective: rounded up.
    Backlog,
    /// A bare number, for a threshold.
    Gauge,
}

impl Unit {
    /// The reading that a number makes, or why it makes none.
    ///
    /// # Errors
    /// It is NaN, infinite, negative or beyond 2^53.
    pub fn value(self, at: &Arc<str>, about: &str, number: f64) -> Result<Value, Error> {
        if !(0.0..=LARGEST).contains(&number) {
            return Err(unusable(at, about, &number.to_string()));
        }
        Ok(match self {
            Self::Gauge => Value::Gauge(number),
            Self::Backlog => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 2^53"
                )]
                let backlog = number.ceil() as u64;
                Value::Queue(Queue { backlog, ..Queue::default() })
            }
        })
    }
}

/// The number that a text stands for: itself, or the age in seconds of a time (RFC 3339).
pub(super) fn number(text: &str, now: Timestamp) -> Option<f64> {
    let text = text.trim();
    text.parse().ok().or_else(|| Some(age(text.parse().ok()?, now)))
}

/// How old a time is, in seconds; negative when it lies ahead by more than clocks differ.
pub(super) fn age(time: Timestamp, now: Timestamp) -> f64 {
    let age = now.duration_since(time).as_secs_f64();
    if -AHEAD.as_secs_f64() <= age { age.max(0.0) } else { age }
}

/// A count out of JSON: a whole number from 0 to 2^53.
pub(super) fn count(said: &Json) -> Option<u64> {
    said.as_u64().filter(|count| *count <= 1 << 53)
}

/// The error of an answer that is no count; shown cut short.
pub(super) fn unusable(at: &Arc<str>, about: &str, shown: &str) -> Error {
    let mut value: String = shown.chars().take(SHOWN).filter(|c| !c.is_control()).collect();
    if value.len() < shown.len() {
        value.push('…');
    }
    Error::BadValue { at: Arc::clone(at), about: about.to_owned(), value }
}

/// Text of a server, fit for one line: without control characters, cut short.
pub(super) fn line(said: &str) -> String {
    let said: String =
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(256).collect();
    said.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_finite_number_that_is_not_negative_is_a_reading() {
        let at: Arc<str> = "here".into();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, -1e300, 1e16, f64::MAX] {
            for unit in [Unit::Gauge, Unit::Backlog] {
                assert_eq!(unit.value(&at, "x", bad).unwrap_err().label(), "BadValue", "{bad}");
            }
        }
        assert_eq!(Unit::Gauge.value(&at, "x", 0.5), Ok(Value::Gauge(0.5)));
        let Ok(Value::Queue(queue)) = Unit::Backlog.value(&at, "x", 0.5) else {
            panic!("no queue")
        };
        assert_eq!(queue.backlog, 1);
    }

    #[test]
    fn only_a_whole_number_that_is_not_negative_is_a_count() {
        for bad in ["-1", "0.5", "1e300", "18446744073709551615", "null", "true", "[]", "\"7\""] {
            assert_eq!(count(&serde_json::from_str(bad).unwrap()), None, "{bad}");
        }
        assert_eq!(count(&7.into()), Some(7));
    }
}
