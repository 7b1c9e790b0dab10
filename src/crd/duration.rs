//! Durations as people write them in Kubernetes (GEP-2257): `90s`, `5m`, `1h30m`.
//! The schema refuses others with words; `meaning` reads them.

use std::borrow::Cow;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// GEP-2257's own pattern.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration as written. Kept as text, so that a bad one is a complaint about a field and not an unreadable object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Duration(pub String);

impl Duration {
    /// What the text stands for; `None` when it is no GEP-2257 duration.
    pub fn read(&self) -> Option<time::Duration> {
        let mut rest = self.0.as_str();
        let mut sum = time::Duration::ZERO;
        for part in 0..=4 {
            if rest.is_empty() {
                return (part > 0).then_some(sum);
            }
            if part == 4 {
                return None;
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = rest.split_at(digits);
            if digits > 5 {
                return None;
            }
            let count: u64 = number.parse().ok()?;
            let (millis, length) = match unit.as_bytes() {
                [b'm', b's', ..] => (1, 2),
                [b'h', ..] => (3_600_000, 1),
                [b'm', ..] => (60_000, 1),
                [b's', ..] => (1_000, 1),
                _ => return None,
            };
            sum += time::Duration::from_millis(count * millis);
            rest = unit.get(length..)?;
        }
        None
    }
}

impl From<time::Duration> for Duration {
    /// Writes whole milliseconds, largest unit first; more than 99,999 h are cut to that.
    fn from(duration: time::Duration) -> Self {
        let millis = duration.as_millis();
        let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let mut text = String::new();
        let mut rest = millis;
        for (unit, size) in units {
            let count = (rest / size).min(99_999);
            rest %= size;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push_str(unit);
            }
        }
        Self(if text.is_empty() { "0s".to_owned() } else { text })
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": PATTERN,
            "x-kubernetes-validations": [{
                "rule": format!("self.matches('{PATTERN}')"),
                "message": "must be a duration such as 90s, 5m or 1h30m",
            }],
        })
    }
}

/// The rules of a duration field with bounds, both included; replaces the type's own.
pub(super) fn within(least: &str, most: &str) -> Value {
    json!([{
        "rule": format!(
            "self.matches('{PATTERN}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
        ),
        "message": out_of_bounds(least, most),
    }])
}

/// The words for a duration that is none, or outside its bounds.
pub(super) fn out_of_bounds(least: &str, most: &str) -> String {
    format!("must be a duration from {least} to {most}, such as 90s, 5m or 1h30m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gep_2257_allows_is_read_and_nothing_else() {
        let read = |text: &str| Duration(text.to_owned()).read();
        assert_eq!(read("90s"), Some(time::Duration::from_secs(90)));
        assert_eq!(read("1h30m"), Some(time::Duration::from_mins(90)));
        assert_eq!(read("1m500ms"), Some(time::Duration::from_millis(60_500)));
        assert_eq!(read("0s"), Some(time::Duration::ZERO));
        for bad in ["", "s", "5", "1.5s", "-1s", "1d", "100000s", "1s1s1s1s1s", "1 s", "1us", "é"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_duration_is_written_so_that_it_reads_back() {
        for millis in [0_u64, 1, 999, 1_000, 41_000, 90_000, 3_600_000, 5_430_250] {
            let written = Duration::from(time::Duration::from_millis(millis));
            assert_eq!(written.read(), Some(time::Duration::from_millis(millis)), "{written:?}");
        }
        assert_eq!(Duration::from(time::Duration::from_secs(41)).0, "41s");
    }
}
