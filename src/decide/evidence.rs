//! What the sources of one stage say at this instant, and how far each may be trusted. Called first in a stage's turn; what
//! follows from it is for the later phases to say.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::pipeline::{QuestionId, Source, Stage};
use super::reason::Reason;
use super::snapshot::{Observation, Queue, Reading, Value};

/// A number above this cannot be a count of anything: a double no longer tells it from its neighbour.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Nothing is polled or committed more slowly than this, whatever is claimed.
const SLOWEST: Duration = Duration::from_hours(1);

/// The sources of a stage, in the order of their names so that the order of writing decides nothing.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) sources: Vec<Seen<'a>>,
}

/// One source, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    pub(super) source: &'a Source,
    pub(super) trust: Trust,
    /// The reading, unless there is none or its value is none.
    pub(super) reading: Option<&'a Reading>,
    /// Why it is not trusted.
    pub(super) complaint: Option<Reason>,
    /// Since when nothing complete has come, as the source says.
    pub(super) blind_since: Option<Timestamp>,
    /// Items that wait where the consumers stand still: no reason for more replicas.
    pub(super) stuck: u64,
    /// Items that should wait in partitions that are there and did not answer.
    pub(super) lacking: f64,
    /// Partitions that are there and did not answer: consumers serve them all the same.
    unseen: u32,
}

/// How far a reading may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Complete and young: may raise and lower.
    Fresh,
    /// Incomplete: what is there may raise.
    AtLeast,
    /// Complete once, now old: may be carried on for a while.
    Old,
    /// Nothing to go by.
    Nothing,
}

impl<'a> Evidence<'a> {
    pub(super) fn gather(
        stage: &'a Stage,
        observations: &'a BTreeMap<QuestionId, Observation>,
        at: Timestamp,
    ) -> Self {
        let mut sources: Vec<_> = stage
            .sources
            .iter()
            .map(|source| Seen::new(source, observations.get(&source.question), at))
            .collect();
        sources.sort_by(|a, b| a.source.name.cmp(&b.source.name));
        Self { sources }
    }

    /// May the stage be lowered on this?
    pub(super) fn is_fresh(&self) -> bool {
        self.sources.iter().all(|seen| seen.trust == Trust::Fresh)
    }

    /// Why not: the complaint of the first source that is not fresh.
    pub(super) fn complaint(&self) -> Option<&Reason> {
        self.sources.iter().find_map(|seen| seen.complaint.as_ref())
    }

    /// The queues that were read, however well.
    pub(super) fn queues(&self) -> impl Iterator<Item = (&Seen<'a>, &'a Queue)> {
        self.sources.iter().filter_map(|seen| Some((seen, seen.queue()?)))
    }

    /// Partitions of all queues, seen or not: the same pods serve them all.
    pub(super) fn partitions(&self) -> u32 {
        self.queues().fold(0, |all, (seen, _)| all.saturating_add(seen.partitions()))
    }

    /// Does every queue have partitions, so that their number bounds the useful replicas?
    pub(super) fn is_partitioned(&self) -> bool {
        let mut queues = self.queues().peekable();
        queues.peek().is_some() && queues.all(|(_, queue)| !queue.partitions.is_empty())
    }

    /// Items waiting in all queues; `None` when no queue was read.
    pub(super) fn lag(&self) -> Option<u64> {
        self.queues().map(|(_, queue)| lag(queue)).reduce(u64::saturating_add)
    }

    /// What waits in each partition of all queues, the least first: in which order they were told means nothing.
    pub(super) fn lags(&self) -> Vec<f64> {
        let all = self.queues().flat_map(|(_, queue)| &queue.partitions);
        let mut lags: Vec<f64> = all.map(|partition| float(partition.lag())).collect();
        lags.sort_unstable_by(f64::total_cmp);
        lags
    }

    /// The largest age that a source tells by itself.
    pub(super) fn told_age(&self) -> Option<f64> {
        let ages = self.sources.iter().filter_map(|seen| match seen.reading?.value {
            Value::Age(age) => Some(age),
            Value::Queue(_) | Value::Gauge(_) | Value::Each(_) => None,
        });
        ages.reduce(f64::max)
    }

    /// The shortest gap between two polls of its sources.
    pub(super) fn poll(&self) -> Duration {
        let poll = self.sources.iter().map(|seen| seen.source.poll_interval).min();
        poll.unwrap_or(Duration::from_secs(15)).min(SLOWEST)
    }

    /// The longest measured time between two commits of a queue's consumers.
    pub(super) fn commits(&self) -> Option<Duration> {
        self.queues().filter_map(|(_, queue)| Some(queue.commit_interval?.min(SLOWEST))).max()
    }
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        source: &'a Source,
        observation: Option<&'a Observation>,
        at: Timestamp,
    ) -> Self {
        let mut seen = Self {
            source,
            trust: Trust::Nothing,
            reading: None,
            complaint: None,
            blind_since: None,
            stuck: 0,
            lacking: 0.0,
            unseen: 0,
        };
        let name = || source.name.to_string();
        match observation {
            None => seen.complaint = Some(Reason::AwaitingData { source: name() }),
            Some(Observation::Fresh(reading)) => {
                seen.trust = Trust::Fresh;
                seen.reading = Some(reading);
            }
            Some(Observation::Partial(reading, lost)) => {
                seen.trust = Trust::AtLeast;
                seen.reading = Some(reading);
                seen.unseen = lost.partitions;
                let message =
                    format!("{} of {} partitions: {}", lost.partitions, lost.of, lost.error);
                seen.complain("Partial", message);
            }
            Some(Observation::Stale(reading, missing)) => {
                seen.trust = Trust::Old;
                seen.reading = Some(reading);
                seen.blind_since = Some(missing.since);
                seen.complain(&missing.label, missing.message.to_string());
            }
            Some(Observation::Failed(missing)) => {
                seen.blind_since = Some(missing.since);
                seen.complain(&missing.label, missing.message.to_string());
            }
        }
        seen.doubt(at);
        seen
    }

    /// What calls itself fresh is looked at again: it may be late, or no number.
    fn doubt(&mut self, at: Timestamp) {
        let Some(reading) = self.reading else { return };
        if let Value::Gauge(value) | Value::Age(value) = reading.value
            && !(0.0..=LARGEST).contains(&value)
        {
            self.trust = Trust::Nothing;
            self.reading = None;
            self.complain("BadValue", format!("{value} is no count"));
            return;
        }
        let age = at.duration_since(reading.at).unsigned_abs();
        if at > reading.at && age > patience(self.source.poll_interval) {
            if self.trust == Trust::Fresh {
                self.complain("Late", format!("its last answer is {} s old", age.as_secs()));
                self.blind_since = Some(reading.at);
            }
            self.trust = Trust::Old;
        }
    }

    /// Its offsets went backwards: nothing is concluded from it until a second reading agrees.
    pub(super) fn suspect(&mut self) {
        self.trust = Trust::Nothing;
        self.reading = None;
        self.complaint = Some(Reason::OffsetsReset { source: self.source.name.to_string() });
    }

    fn complain(&mut self, label: &str, message: String) {
        self.complaint = Some(Reason::NoFreshData {
            source: self.source.name.to_string(),
            label: label.to_owned(),
            message,
        });
    }

    pub(super) fn queue(&self) -> Option<&'a Queue> {
        match &self.reading?.value {
            Value::Queue(queue) => Some(queue),
            Value::Gauge(_) | Value::Age(_) | Value::Each(_) => None,
        }
    }

    /// Partitions of its queue, seen or not.
    pub(super) fn partitions(&self) -> u32 {
        let seen = self.queue().map_or(0, |queue| queue.partitions.len());
        u32::try_from(seen).unwrap_or(u32::MAX).saturating_add(self.unseen)
    }

    /// What a threshold is compared with: items waiting that more replicas could serve, or the number itself.
    pub(super) fn amount(&self) -> Option<f64> {
        Some((self.whole()? - float(self.stuck)).max(0.0) + self.lacking)
    }

    /// What an activation is compared with: all items waiting, or the number itself.
    pub(super) fn whole(&self) -> Option<f64> {
        Some(match &self.reading?.value {
            Value::Queue(queue) => float(lag(queue)),
            Value::Gauge(value) | Value::Age(value) => *value,
            Value::Each(_) => return None,
        })
    }
}

/// How old a reading may be before it is late: three polls, at least 10 s.
pub(super) fn patience(poll: Duration) -> Duration {
    poll.saturating_mul(3).max(Duration::from_secs(10))
}

/// Items waiting in a queue. Where it has partitions, they say everything.
pub(super) fn lag(queue: &Queue) -> u64 {
    if queue.partitions.is_empty() {
        queue.backlog
    } else {
        queue.partitions.iter().fold(0, |sum, partition| sum.saturating_add(partition.lag()))
    }
}

/// The whole part of a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to int cast saturates, and no count of items comes near 2^64"
)]
pub(super) fn whole(items: f64) -> u64 {
    items as u64
}

/// A count as a double, for arithmetic that is rounded anyway.
#[expect(clippy::cast_precision_loss, reason = "rates and sizes need three figures, not nineteen")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
