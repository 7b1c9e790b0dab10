//! The guard against spikes of a bare number: a reading far above all that came lately needs a second one that agrees before it may more
//! than double a stage. Called by `doubt` once a turn. A queue whose counters explain what waits is not subject to it: Kafka's backlog
//! acts at once.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Trust};
use super::memory::ByName;
use super::minutes::Minutes;
use super::writes::span;

/// Minutes looked back over; so many times the largest of them is a spike.
const LATELY: usize = 10;
const SPIKE: f64 = 10.0;
/// A second reading agrees when it is at least this share of the first.
const AGREES: f64 = 0.5;
/// Without readings over this long there is nothing to compare with.
const YOUNG: Duration = Duration::from_mins(1);

/// What is remembered of bare numbers, by source. Nothing is kept for a queue that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spikes(ByName<Record>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    /// The largest numbers of late.
    minutes: Minutes,
    first: Option<Timestamp>,
    read: Option<Timestamp>,
    /// A spike that nothing has confirmed yet.
    suspect: Option<f64>,
}

/// A reading that waits to be confirmed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spike {
    pub(super) source: String,
    pub(super) value: f64,
    /// The largest of the last ten minutes.
    pub(super) usual: f64,
}

impl Spikes {
    /// Looks at the readings. Returns the first that waits to be confirmed.
    pub(super) fn observe(&mut self, evidence: &Evidence<'_>) -> Option<Spike> {
        self.0.keep(|known| evidence.sources.iter().any(|seen| *seen.source.name == *known));
        let mut found = None;
        for seen in &evidence.sources {
            let is_counted = seen.queue().is_some_and(|queue| {
                !queue.partitions.is_empty() || (queue.arrived.is_some() && queue.served.is_some())
            });
            let (Some(reading), Some(value), false) = (seen.reading, seen.amount(), is_counted)
            else {
                continue;
            };
            if !matches!(seen.trust, Trust::Fresh | Trust::AtLeast) {
                continue;
            }
            let mut record = self.0.take(&seen.source.name).unwrap_or_default();
            let usual = record.take(value, reading.at);
            let is_suspect = record.suspect.is_some();
            self.0.put(&seen.source.name, record);
            if is_suspect && found.is_none() {
                found = Some(Spike { source: seen.source.name.to_string(), value, usual });
            }
        }
        found
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.0.weight(|_| 0)
    }
}

impl Record {
    /// Takes in a reading, once. Returns the largest that was usual before it.
    fn take(&mut self, value: f64, at: Timestamp) -> f64 {
        self.minutes.pass(at);
        let lately = self.minutes.last().take(LATELY);
        let usual = f64::from(lately.map(|(_, most)| most).fold(0.0, f32::max));
        if self.read.is_some_and(|read| at <= read) {
            return usual;
        }
        self.read = Some(at);
        let first = *self.first.get_or_insert(at);
        // After silence any number is large: to wake is for activation to judge.
        let is_spike = 0.0 < usual && SPIKE * usual < value && YOUNG <= span(first, at);
        let is_confirmed = self.suspect.is_some_and(|suspect| AGREES * suspect <= value);
        if is_spike && !is_confirmed {
            self.suspect = Some(value);
            return usual;
        }
        self.suspect = None;
        self.minutes.note(value);
        usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_020 + second).unwrap()
    }

    /// Two minutes of 5.
    fn calm() -> Record {
        let mut record = Record::default();
        for second in (0..120).step_by(15) {
            record.take(5.0, at(second));
            assert_eq!(record.suspect, None);
        }
        record
    }

    #[test]
    fn the_second_reading_that_agrees_confirms_a_spike() {
        let mut record = calm();
        record.take(500.0, at(120));
        assert_eq!(record.suspect, Some(500.0));
        record.take(500.0, at(120));
        assert_eq!(record.suspect, Some(500.0), "the same reading again is no second one");
        record.take(300.0, at(135));
        assert_eq!(record.suspect, None);
    }

    #[test]
    fn garbage_that_differs_each_time_is_never_believed_and_changes_nothing_of_what_is_usual() {
        let mut record = calm();
        for (turn, value) in [9e9, 5.0, 8e7, 4e6, 1e5].into_iter().enumerate() {
            record.take(value, at(120 + 15 * i64::try_from(turn).unwrap()));
            assert_eq!(record.suspect.is_some(), 50.0 < value, "{value}");
        }
        assert!((record.take(5.0, at(300)) - 5.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_usual_is_forgotten_after_ten_minutes_and_the_first_minute_guards_nothing() {
        let mut record = calm();
        assert!(record.take(0.0, at(120 + 660)).abs() < 1e-6);
        let mut young = Record::default();
        young.take(5.0, at(0));
        young.take(500.0, at(15));
        assert_eq!(young.suspect, None);
    }
}
