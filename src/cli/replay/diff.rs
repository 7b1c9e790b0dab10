//! What differs between two plans for the same turn, stage by stage, and how it is told. Called by `penstock replay` for each turn.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::decide::{Action, Plan, Reason, Verdict};

/// Numbers this near to each other are the same: another machine's logarithm may end in another digit.
const NEAR: f64 = 1e-9;

/// One stage that was decided otherwise, at one turn or at several in a row in the same way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Difference {
    /// Namespace and name.
    pub(super) pipeline: String,
    pub(super) stage: String,
    /// The first turn and the last.
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Turns of this stage that differ in this way, one after the other.
    pub(super) turns: usize,
    /// As it was recorded, and as it is decided now; of the first turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Said>,
    /// What else of the verdict differs, by the name of its field: before and after.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) also: BTreeMap<String, (Value, Value)>,
}

/// A verdict in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    pub(super) replicas: Option<u32>,
    /// The codes of all who had a say; the last one bound.
    pub(super) codes: Vec<&'static str>,
    /// The sentence that bound.
    pub(super) sentence: String,
    /// What is written, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) write: Option<String>,
}

impl Difference {
    /// Does this one go on in the next turn of its stage?
    pub(super) fn is_continued_by(&self, next: &Self) -> bool {
        let gist = |said: &Option<Said>| {
            said.as_ref().map(|said| (said.replicas, said.codes.clone(), said.write.clone()))
        };
        gist(&self.before) == gist(&next.before)
            && gist(&self.after) == gist(&next.after)
            && (self.before != self.after || self.also.keys().eq(next.also.keys()))
    }

    /// To be read: where and when, then before and after.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // A String takes any text.
        let _taken = self.write(&mut text);
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let clock = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        write!(to, "{}", clock(self.from))?;
        if 1 < self.turns {
            write!(to, " to {}, {} turns", self.to.strftime("%H:%M:%S"), self.turns)?;
        }
        writeln!(to, ": {} stage {}", self.pipeline, self.stage)?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write_change(to, before, after)?,
            (Some(before), None) => writeln!(to, "  - {}\n  + nothing is decided", before.line())?,
            (None, Some(after)) => writeln!(to, "  - nothing was decided\n  + {}", after.line())?,
            (None, None) => {}
        }
        if self.before != self.after {
            return Ok(());
        }
        // The words are the same: then what they rest on, or when they are thought over, is not.
        for (name, (before, after)) in &self.also {
            writeln!(to, "  {name}: {before} -> {after}")?;
        }
        Ok(())
    }
}

fn write_change(to: &mut String, before: &Said, after: &Said) -> std::fmt::Result {
    if before == after {
        return writeln!(to, "  the same: {}", before.line());
    }
    let count = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    if before.replicas != after.replicas {
        writeln!(to, "  replicas: {} -> {}", count(before.replicas), count(after.replicas))?;
    }
    if before.codes != after.codes {
        let chain = |codes: &[&str]| codes.join(", ");
        writeln!(to, "  reasons: {} -> {}", chain(&before.codes), chain(&after.codes))?;
    }
    if before.write != after.write {
        let said = |write: &Option<String>| write.clone().unwrap_or_else(|| "nothing".to_owned());
        writeln!(to, "  writes: {} -> {}", said(&before.write), said(&after.write))?;
    }
    writeln!(to, "  - {}\n  + {}", before.sentence, after.sentence)
}

impl Said {
    fn line(&self) -> String {
        let count = self.replicas.map_or_else(|| "?".to_owned(), |n| n.to_string());
        format!("{count} replicas, {}: {}", self.codes.join(", "), self.sentence)
    }
}

/// What differs between the plan that was recorded for a turn and the one that is made now.
pub(super) fn differences(at: Timestamp, recorded: &Plan, now: &Plan) -> Vec<Difference> {
    let name =
        |verdict: &Verdict| (verdict.stage.pipeline.to_string(), verdict.stage.name.to_string());
    let mut pairs: BTreeMap<_, (Option<&Verdict>, Option<&Verdict>)> = BTreeMap::new();
    for verdict in &recorded.verdicts {
        pairs.entry(name(verdict)).or_default().0 = Some(verdict);
    }
    for verdict in &now.verdicts {
        pairs.entry(name(verdict)).or_default().1 = Some(verdict);
    }
    let mut found = Vec::new();
    for ((pipeline, stage), (before, after)) in pairs {
        let said = |verdict: Option<&Verdict>, plan| verdict.map(|it| said(it, plan));
        let words = (said(before, recorded), said(after, now));
        let also = match (before, after) {
            (Some(before), Some(after)) => rest(before, after),
            _ => BTreeMap::new(),
        };
        if words.0 != words.1 || !also.is_empty() {
            let (from, to, turns) = (at, at, 1);
            let (before, after) = words;
            found.push(Difference { pipeline, stage, from, to, turns, before, after, also });
        }
    }
    found
}

fn said(verdict: &Verdict, plan: &Plan) -> Said {
    let of_stage = |action: &&Action| {
        let stage = &action.scale().stage;
        stage.pipeline == verdict.stage.pipeline && stage.name == verdict.stage.name
    };
    let write = |action: &Action| {
        let scale = action.scale();
        let force = if scale.force { " by force" } else { "" };
        let on = scale.lane.as_ref().map(|pool| format!(" on {pool}")).unwrap_or_default();
        match action {
            Action::Scale(_) => format!("{} for {}{on}{force}", scale.to, scale.from),
            Action::Claim(_) => format!("a claim of {}{on}", scale.to),
            Action::GiveUpFirst(told) => format!("the costs of {} pods{on}", told.costs.len()),
            Action::HoldDrain(hold) => match hold.grip {
                Some(grip) => format!("the drain{on} held: {grip:?}"),
                None => format!("the drain{on} let be"),
            },
            Action::LetGo(gone) => format!("{} pods{on} let go", gone.pods.len()),
            Action::Reserve(_) => format!("room for {}{on}", scale.to),
            Action::StartJobs(jobs) => {
                let (made, removed) = (scale.to.saturating_sub(scale.from), jobs.remove.len());
                format!("{made} Jobs made, {removed} removed")
            }
        }
    };
    let writes: Vec<_> = plan.actions.iter().filter(of_stage).map(write).collect();
    Said {
        replicas: verdict.replicas,
        codes: verdict.why.iter().map(Reason::code).collect(),
        sentence: verdict.reason().map(ToString::to_string).unwrap_or_default(),
        write: (!writes.is_empty()).then(|| writes.join(", ")),
    }
}

/// What differs besides the words: signals, holds, when to look again, and numbers in reasons that the sentence rounds.
fn rest(before: &Verdict, after: &Verdict) -> BTreeMap<String, (Value, Value)> {
    if before == after {
        return BTreeMap::new();
    }
    let fields = |verdict: &Verdict| {
        let signals = serde_json::to_value(verdict.signals).unwrap_or_default();
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        for (name, value) in signals.as_object().into_iter().flatten() {
            fields.insert(name.clone(), value.clone());
        }
        let text = |value: &Option<Timestamp>| value.map(|at| at.to_string());
        fields.insert("held".into(), serde_json::to_value(verdict.held).unwrap_or_default());
        fields.insert("next".into(), serde_json::to_value(text(&verdict.next)).unwrap_or_default());
        let why = serde_json::to_value(&verdict.why).unwrap_or_default();
        fields.insert("reason".into(), why);
        fields
    };
    let (before, mut after) = (fields(before), fields(after));
    let pairs = before.into_iter().filter_map(|(name, old)| {
        let new = after.remove(&name).unwrap_or_default();
        (!is_same(&old, &new)).then_some((name, (old, new)))
    });
    let mut rest: BTreeMap<_, _> = pairs.collect();
    // Another reason is told in words.
    rest.remove("reason");
    rest
}

/// The same but for the last digits of numbers.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= NEAR * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let of = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| is_same(a, b));
            a.len() == b.len() && a.iter().all(of)
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_digit_of_a_number_is_no_difference() {
        let a = json!({"rate": [48.200_000_000_000_01, 3], "at": "x"});
        assert!(is_same(&a, &json!({"rate": [48.2, 3], "at": "x"})));
        assert!(!is_same(&a, &json!({"rate": [48.3, 3], "at": "x"})));
        assert!(!is_same(&a, &json!({"rate": [48.2], "at": "x"})));
        assert!(!is_same(&json!(null), &json!(0)));
    }
}
