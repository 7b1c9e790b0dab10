//! Gates: a source whose value may hold a stage as it is, whatever its other sources ask for. Called in the stage's turn after `steady` and
//! before the owner's bounds and annotations, which a gate does not touch.
//!
//! Not knowing is neither yes nor no: a gate that cannot be read keeps the stage from going down and lets it go up. What it said last stands
//! for as long as `fallback.after`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::Bid;
use super::evidence::{Seen, Trust};
use super::formula::Formula;
use super::pipeline::{QuestionId, Source, Stage};
use super::reason::Reason;
use super::snapshot::Observation;
use super::writes::later;

/// A source whose value may hold the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Unique among the gates of its stage.
    pub name: Arc<str>,
    /// What is read. Its name is `gate/` and that of the gate.
    pub source: Source,
    /// Over `value`: true holds the stage.
    pub hold_when: Formula,
}

/// What the gates of a stage come to at an instant.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates {
    /// The first that holds the stage.
    holds: Option<Reason>,
    /// The first that cannot be read.
    unread: Option<Reason>,
    /// When that changes by itself.
    pub(super) next: Option<Timestamp>,
}

impl Gates {
    /// Looks at all gates of a stage.
    pub(super) fn look(
        stage: &Stage,
        observations: &BTreeMap<QuestionId, Observation>,
        at: Timestamp,
    ) -> Self {
        let mut gates = Self::default();
        for gate in &stage.gates {
            let observation = observations.get(&gate.source.question);
            let seen = Seen::new(&gate.source, observation, at);
            gates.take(gate, &seen, stage, at);
        }
        gates
    }

    fn take(&mut self, gate: &Gate, seen: &Seen<'_>, stage: &Stage, at: Timestamp) {
        let said = seen.whole().map(|value| (value, gate.hold_when.holds(&[("value", value)])));
        let holds = |value: f64, since: Option<Timestamp>| Reason::GateHolds {
            gate: (*gate.name).into(),
            value,
            hold_when: gate.hold_when.text().into(),
            since,
        };
        match (seen.trust, &said) {
            (Trust::Fresh, Some((_, Ok(false)))) => return,
            (Trust::Fresh | Trust::AtLeast, Some((value, Ok(true)))) => {
                self.holds.get_or_insert_with(|| holds(*value, None));
                return;
            }
            (Trust::Old, Some((value, Ok(true)))) => {
                let read = seen.reading.map_or(at, |reading| reading.at);
                let until = later(read, stage.fallback.after);
                if at < until {
                    self.holds.get_or_insert_with(|| holds(*value, Some(read)));
                    self.next = self.next.into_iter().chain([until]).min();
                    return;
                }
            }
            (Trust::Nothing, _) if matches!(seen.complaint, Some(Reason::AwaitingData { .. })) => {
                // The first answer, or word that there is none, comes within a poll or three.
                self.holds = self.holds.take().or_else(|| seen.complaint.clone());
                return;
            }
            _ => {}
        }
        self.unread
            .get_or_insert_with(|| unread(gate, seen, said.and_then(|(_, said)| said.err())));
    }

    /// Holds the bid at what runs, if a gate says so; bounds come after.
    pub(super) fn hold(&self, bid: &mut Bid, current: u32) {
        if let Some(reason) = &self.holds {
            bid.set(current, reason.clone());
        } else if let Some(reason) = self.unread.as_ref().filter(|_| bid.replicas < current) {
            bid.set(current, reason.clone());
        }
    }

    /// Does one forbid to go down?
    pub(super) fn keeps(&self) -> bool {
        self.holds.is_some() || self.unread.is_some()
    }
}

fn unread(gate: &Gate, seen: &Seen<'_>, wrong: Option<String>) -> Reason {
    let (label, message) = match (&seen.complaint, wrong) {
        (Some(Reason::NoFreshData { label, message, .. }), _) => (label.clone(), message.clone()),
        (_, Some(wrong)) => ("BadValue".to_owned(), wrong),
        _ => ("NoFreshData".to_owned(), "it has not answered".to_owned()),
    };
    Reason::GateUnread { gate: gate.name.to_string(), label, message }
}
