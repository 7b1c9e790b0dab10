//! Sleep and waking: zero (or the idle count) is earned by complete readings of nothing for long enough, and left at the first sign
//! of work. Called between `demand` and `steady`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::Trace;
use super::evidence::{Evidence, Seen, Trust, float, whole};
use super::writes::later;

/// Complete readings of nothing, in a row, before a stage may sleep.
const READINGS: u8 = 3;

/// What is remembered of the quiet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Quiet {
    /// Since when nothing has waited or arrived.
    since: Option<Timestamp>,
    /// Complete readings of it in a row.
    readings: u8,
    /// The latest of them.
    counted: Option<Timestamp>,
}

/// The first sign of work, if there is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) source: String,
    pub(super) items: u64,
}

impl Quiet {
    /// Looks at the sources: is there work?
    pub(super) fn observe(&mut self, evidence: &Evidence<'_>, work: Option<&Work>, at: Timestamp) {
        if work.is_some() {
            *self = Self::default();
            return;
        }
        if evidence.sources.is_empty() || !evidence.is_fresh() {
            self.readings = 0;
            return;
        }
        self.since.get_or_insert(at);
        // All sources must have been read anew.
        let oldest = evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at)).min();
        if oldest.is_some() && self.counted < oldest {
            self.readings = self.readings.saturating_add(1);
            self.counted = evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at)).max();
        }
    }

    /// Since when it has been quiet, if it is.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Since when it has been quiet, once that is long enough.
    pub(super) fn earned(&self, after: Duration, at: Timestamp) -> Option<Timestamp> {
        self.since.filter(|&since| READINGS <= self.readings && later(since, after) <= at)
    }

    /// When it will have been quiet long enough.
    pub(super) fn until(&self, after: Duration) -> Option<Timestamp> {
        self.since.map(|since| later(since, after))
    }
}

/// Is there work in this source? More waits than its activation, or enough arrives to exceed it before the stage would sleep. While
/// the stage is `asleep`, also what came into partitions of which a group without commits would know nothing.
pub(super) fn work(
    seen: &Seen<'_>,
    trace: Option<&Trace>,
    asleep: bool,
    after: Duration,
) -> Option<Work> {
    if matches!(seen.trust, Trust::Nothing | Trust::Old) {
        return None;
    }
    let activation = seen.source.activation.max(0.0);
    let amount = seen.whole()?;
    let work = |items: f64| {
        Some(Work { source: seen.source.name.to_string(), items: whole(items.ceil()) })
    };
    if activation < amount {
        return work(amount);
    }
    let trace = trace?;
    if asleep {
        let unclaimed = float(trace.unclaimed());
        return if activation < unclaimed { work(unclaimed) } else { None };
    }
    let came = trace.came();
    let poll = seen.source.poll_interval.as_secs_f64().max(0.001);
    let expected = float(came) * (after.as_secs_f64() / poll).max(1.0);
    if 0 < came && activation < expected { work(float(came)) } else { None }
}
