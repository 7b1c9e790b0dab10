//! Lengths of time as a scenario writes them: `45s`, `1h30m`, `3d`. Like GEP-2257, with days, since scenarios last for days.

use std::fmt;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Span(f64);

/// Units, the largest first.
const UNITS: [(&str, f64); 5] =
    [("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

impl Span {
    /// So many seconds.
    pub const fn of(seconds: f64) -> Self {
        Self(seconds)
    }

    /// In seconds.
    pub const fn seconds(self) -> f64 {
        self.0
    }

    /// In whole seconds, the world's steps: rounded, at most a hundred years.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    pub fn steps(self) -> u32 {
        self.0.round().clamp(0.0, 3.2e9) as u32
    }

    /// What a text stands for.
    fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut seconds = 0.0;
        if rest.is_empty() || 32 < rest.len() {
            return None;
        }
        while !rest.is_empty() {
            let digits =
                rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
            seconds += number.parse::<f64>().ok()? * size;
            rest = after;
        }
        Some(Self(seconds))
    }
}

impl fmt::Display for Span {
    /// Largest unit first, no unit that counts nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut is_empty = true;
        for (name, size) in UNITS {
            let count =
                if name == "ms" { (rest / size).round() } else { ((rest + 1e-6) / size).floor() };
            if 0.0 < count {
                write!(f, "{count}{name}")?;
                rest = (rest - count * size).max(0.0);
                is_empty = false;
            }
        }
        if is_empty { f.write_str("0s") } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        let text = value.as_str().ok_or_else(|| {
            D::Error::custom(format!("{value} is no length of time; hint: add a unit, as in 45s"))
        })?;
        Self::read(text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no length of time; hint: write 45s, 1h30m or 3d (units d h m s ms)"
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_written() {
        for (text, seconds) in
            [("45s", 45.0), ("1h30m", 5400.0), ("3d", 259_200.0), ("1.5h", 5400.0), ("250ms", 0.25)]
        {
            let span = Span::read(text).unwrap();
            assert!((span.seconds() - seconds).abs() < 1e-9, "{text}");
        }
        for bad in ["", "45", "s", "3w", "1h 30m", "-1s", "1..5s"] {
            assert_eq!(Span::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_are_shown_as_people_write_them() {
        let shown: Vec<_> =
            [0.0, 45.0, 90.0, 5400.0, 259_200.0, 0.25].map(|s| Span::of(s).to_string()).into();
        assert_eq!(shown, ["0s", "45s", "1m30s", "1h30m", "3d", "250ms"]);
        assert_eq!(Span::of(44.6).steps(), 45);
    }
}
