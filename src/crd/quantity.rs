//! Numbers as Kubernetes writes quantities: `1000`, `"0.5"`, `"500m"`. A fraction wants quotes, as everywhere in Kubernetes.
//! The schema refuses others; `meaning` reads them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Quantities that are not negative: digits, perhaps a fraction, perhaps a suffix or an exponent.
const PATTERN: &str =
    r"^([0-9]{1,15}(\.[0-9]{0,9})?|\.[0-9]{1,9})([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?$";

/// The same, but not nothing. No CEL rule: Kubernetes 1.33 reckons that a quantity may be 3 MB long, and refuses the cost.
const ABOVE_ZERO_PATTERN: &str = r"^(0*[1-9][0-9]{0,14}(\.[0-9]{0,9})?|0*\.0*[1-9][0-9]{0,8})([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?$";
/// The words for what is no quantity, or a negative one.
pub(super) const NOT_NEGATIVE: &str =
    "must be a quantity of 0 or more, such as 100, \"0.5\" or 500m";
/// The words for a threshold that is no quantity, or nothing.
pub(super) const ABOVE_ZERO: &str = "must be a quantity above 0, such as 100, \"0.5\" or 500m";

/// A quantity as written, never negative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A bare whole number.
    Whole(i64),
    /// Anything else, in quotes.
    Text(String),
}

impl Quantity {
    /// The number it stands for; `None` when it is no quantity, negative or beyond reckoning.
    pub fn read(&self) -> Option<f64> {
        let value = match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a threshold of 2^53 needs no last digit"
            )]
            Self::Whole(whole) => *whole as f64,
            Self::Text(text) => read(text)?,
        };
        (value.is_finite() && value >= 0.0).then_some(value)
    }
}

/// Reads the text of a quantity.
fn read(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?;
            10_f64.powi(power.parse().ok().filter(|power: &i32| power.abs() <= 99)?)
        }
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "minimum": 0,
            "pattern": PATTERN,
        })
    }
}

/// Narrows the schema of a quantity to those above 0.
pub(super) fn above_zero(schema: &mut Schema) {
    schema.insert("pattern".to_owned(), ABOVE_ZERO_PATTERN.into());
    schema.insert("exclusiveMinimum".to_owned(), true.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let read = |text: &str| Quantity::Text(text.to_owned()).read();
        for (text, value) in [
            ("0.5", 0.5),
            ("500m", 0.5),
            ("2k", 2e3),
            ("1Ki", 1024.0),
            ("1e3", 1e3),
            (".5", 0.5),
            ("3.", 3.0),
        ] {
            let got = read(text).unwrap();
            assert!((got - value).abs() < 1e-9, "{text}: {got}");
        }
        for bad in ["", ".", "-1", "1.2.3", "1x", "one", "1e999", "1e", "NaN", "inf", "1 "] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Quantity::Whole(-1).read(), None);
    }
}
