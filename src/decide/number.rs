//! A number as JSON can hold it: what is infinite or no number is written in words, since JSON would make `null` of it and a recorded
//! turn could not be read back. Used by serde for what a source said.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
enum Word {
    #[serde(rename = "NaN")]
    Nan,
    #[serde(rename = "inf")]
    Infinite,
    #[serde(rename = "-inf")]
    BelowAll,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    let written = match *number {
        n if n.is_nan() => Written::Word(Word::Nan),
        f64::INFINITY => Written::Word(Word::Infinite),
        f64::NEG_INFINITY => Written::Word(Word::BelowAll),
        n => Written::Number(n),
    };
    written.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(match Written::deserialize(from)? {
        Written::Number(number) => number,
        Written::Word(Word::Nan) => f64::NAN,
        Written::Word(Word::Infinite) => f64::INFINITY,
        Written::Word(Word::BelowAll) => f64::NEG_INFINITY,
    })
}
