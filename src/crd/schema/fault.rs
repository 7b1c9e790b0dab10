//! What is wrong with one field, in the API server's words. Made by the checks of this room, read by whoever prints them.

use serde_json::Value;
use std::fmt;

/// Why a field was refused: the machine word of a Status cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A required field is missing.
    Required,
    /// The value breaks a bound, a pattern or a rule.
    Invalid,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The value is not in the closed list.
    NotSupported,
    /// Two items of a set, or two keys of a map, are equal.
    Duplicate,
    /// The value is not allowed here.
    Forbidden,
    /// The string is too long.
    TooLong,
    /// The list or map has too many items.
    TooMany,
}

impl Reason {
    /// The word that stands in `details.causes[].reason`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    /// CEL rules are not run on objects whose shape is wrong: a rule could not even read them.
    pub(super) fn blocks_rules(self) -> bool {
        matches!(
            self,
            Self::NotSupported | Self::Required | Self::TooLong | Self::TooMany | Self::TypeInvalid
        )
    }
}

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `spec.stages[0].replicas.max`; `<nil>` for the object as a whole.
    pub path: String,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence without the path: `Invalid value: 0: should be …`.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Fault {
    /// A fault at `path` (the root when empty). `value` is printed when given, `detail` when not empty.
    pub fn new(path: &str, reason: Reason, value: Option<&Value>, detail: &str) -> Self {
        let path = if path.is_empty() { "<nil>" } else { path };
        let mut message = reason.title().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&go_json(value));
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self { path: path.to_owned(), reason, message }
    }

    /// A value that breaks a bound or rule.
    pub fn invalid(path: &str, value: Option<&Value>, detail: &str) -> Self {
        Self::new(path, Reason::Invalid, value, detail)
    }

    /// A field that must be there and is not.
    pub fn required(path: &str, detail: &str) -> Self {
        Self::new(path, Reason::Required, None, detail)
    }

    pub(super) fn rules_not_checked() -> Self {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        Self::invalid("", Some(&Value::Null), detail)
    }
}

/// JSON as Go's encoder prints it: keys sorted, and `<`, `>`, `&` escaped.
pub fn go_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_json(&map[key], out);
            }
            out.push('}');
        }
        Value::String(_) => {
            let text = value.to_string();
            for c in text.chars() {
                match c {
                    '<' => out.push_str("\\u003c"),
                    '>' => out.push_str("\\u003e"),
                    '&' => out.push_str("\\u0026"),
                    c => out.push(c),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}
