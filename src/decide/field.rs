//! A count that is kept in a field of the object itself and not behind `/scale`: where it stands, how it is spelled, and how far it
//! may be moved without harm. `watch` reads it off the object, `act` writes it, the stage's turn keeps within it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::plan::ForeignWriter;

/// The lever of one object, as it stood at one `resourceVersion`; a write carries that version, so nothing here can be out of date
/// when the write lands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// JSON pointer (RFC 6901) to the count.
    pub pointer: Arc<str>,
    /// How the count is spelled there.
    pub form: Form,
    /// No move of ours ends below this.
    pub least: Option<Limit>,
    /// No move of ours ends above this.
    pub most: Option<Limit>,
    /// Who owns the field, by the object's managed fields; `None` when nobody does.
    pub writer: Option<ForeignWriter>,
}

/// How a count is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// A number.
    Number,
    /// A number as text: labels, the data of a `ConfigMap`, Flink's options.
    Text,
    /// A switch that is true at 0 and false at 1: `suspend`.
    Suspend,
}

/// A bound that the object itself sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The count.
    pub count: u32,
    /// What sets it, as the end of "..., but".
    pub why: Arc<str>,
}

impl Field {
    /// Where a move from `from` to `to` may end, and what stops it there. A limit stops a move; it never makes one.
    pub(super) fn within(&self, from: u32, to: u32) -> Option<(u32, &Limit)> {
        if to < from {
            let least = self.least.as_ref().filter(|least| to < least.count)?;
            Some((least.count.min(from), least))
        } else {
            let most = self.most.as_ref().filter(|most| most.count < to && from < to)?;
            Some((most.count.max(from), most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(least: u32, most: u32) -> Field {
        let limit = |count| Some(Limit { count, why: "so".into() });
        let (least, most) = (limit(least), limit(most));
        Field { pointer: "/spec/n".into(), form: Form::Number, least, most, writer: None }
    }

    #[test]
    fn a_limit_stops_a_move_and_makes_none() {
        let ends = |from, to| field(2, 6).within(from, to).map(|(count, _)| count);
        assert_eq!((ends(4, 3), ends(4, 6), ends(4, 4)), (None, None, None));
        assert_eq!((ends(4, 0), ends(4, 9)), (Some(2), Some(6)));
        // Whoever stands outside is not pulled in.
        assert_eq!(
            (ends(1, 0), ends(8, 9), ends(8, 8), ends(1, 1)),
            (Some(1), Some(8), None, None)
        );
        assert_eq!((ends(1, 4), ends(8, 4)), (None, None));
    }
}
