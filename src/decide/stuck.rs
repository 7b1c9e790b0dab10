//! Partitions whose consumer stands still though something waits. Called by `doubt` once a turn: what waits there is no reason for more
//! replicas, and yet it is late. The rules are Burrow's (`LinkedIn`'s consumer lag evaluation: a partition whose committed offset does not
//! move over a full window while its lag does not shrink is STALLED, a group that commits no more has STOPPED), on what is read here.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::Trace;
use super::evidence::{Evidence, Seen, Trust};
use super::memory::ByName;
use super::part::Part;
use super::reason::Reason;
use super::writes::{later, span};

/// A full window is ten commits, as Burrow keeps, but no less than this; it may be longer where commits are rare.
const COMMITS: u32 = 10;
const SHORTEST: Duration = Duration::from_mins(2);
const UNMEASURED: Duration = Duration::from_mins(5);
/// A partition is watched once its oldest item is this old.
const OLD: Duration = Duration::from_secs(30);
/// Partitions watched at most. Where more stand still, those beyond it count as any other.
const MOST: usize = 16;

/// What is remembered of partitions that may be stuck.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stuck {
    watched: Vec<Watched>,
    /// Since when there has been a pod at work.
    working: Option<Timestamp>,
}

/// A partition that has not moved since.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Watched {
    /// Place of its source in the order of names.
    source: u8,
    topic: u16,
    id: i32,
    position: i64,
    /// In milliseconds since the epoch.
    since: i64,
}

impl Watched {
    fn since(&self) -> Timestamp {
        Timestamp::from_millisecond(self.since).unwrap_or_default()
    }
}

/// What stands still in one source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Still {
    /// Place of the source in the order of names.
    pub(super) place: usize,
    /// Items that wait in what stands still.
    pub(super) lag: u64,
    /// The partitions that stand still, by topic and number.
    pub(super) parts: Vec<(u16, i32)>,
    /// Does the whole group stand still?
    pub(super) is_all: bool,
    pub(super) reason: Reason,
}

impl Stuck {
    /// Looks at every source. `ready`: pods at work.
    pub(super) fn observe(
        &mut self,
        evidence: &Evidence<'_>,
        traces: &ByName<Trace>,
        ready: u32,
        at: Timestamp,
    ) -> Vec<Still> {
        if ready == 0 {
            *self = Self::default();
            return Vec::new();
        }
        let working = *self.working.get_or_insert(at);
        let mut found = Vec::new();
        for (place, seen) in evidence.sources.iter().enumerate() {
            // Where the work done is only reckoned, nobody sees it stand still.
            let trace = traces.get(&seen.source.name);
            let trace = trace.filter(|trace| trace.counts() && !trace.is_reckoned);
            if let (Some(trace), Ok(number)) = (trace, u8::try_from(place)) {
                // What cannot be read now is as it was when it could.
                let at = if seen.trust == Trust::Fresh {
                    self.watch(number, trace, at);
                    at
                } else {
                    trace.commits().0.unwrap_or(at)
                };
                let window = window(seen);
                found.extend(
                    stopped(place, seen, trace, (window, working), at)
                        .or_else(|| self.stalled(place, seen, trace, window, at)),
                );
            }
        }
        found
    }

    /// Keeps those that have not moved, and takes in those that have become old.
    fn watch(&mut self, source: u8, trace: &Trace, at: Timestamp) {
        let old_enough = trace.aged(at).filter(|(_, age)| OLD.as_secs_f64() <= *age);
        let waiting: Vec<&Part> = old_enough.map(|(part, _)| part).collect();
        self.watched
            .retain(|old| old.source != source || waiting.iter().any(|part| same(old, part)));
        for &&Part { topic, id, position, .. } in &waiting {
            let is_new = !self
                .watched
                .iter()
                .any(|old| (old.source, old.topic, old.id) == (source, topic, id));
            if is_new && self.watched.len() < MOST {
                self.watched.push(Watched {
                    source,
                    topic,
                    id,
                    position,
                    since: at.as_millisecond(),
                });
            }
        }
    }

    /// Partitions that stand still while others of their group move.
    fn stalled(
        &self,
        place: usize,
        seen: &Seen<'_>,
        trace: &Trace,
        window: Duration,
        at: Timestamp,
    ) -> Option<Still> {
        let moved = trace.commits().1?;
        let is_stuck = |old: &&Watched| {
            usize::from(old.source) == place
                && window <= span(old.since(), at)
                && old.since() < moved
        };
        let stuck: Vec<&Watched> = self.watched.iter().filter(is_stuck).collect();
        let first = stuck.iter().min_by_key(|old| (old.topic, old.id))?;
        let since = stuck.iter().map(|old| old.since()).min()?;
        let still = || trace.parts().iter().filter(|part| stuck.iter().any(|old| same(old, part)));
        let lag = still().map(Part::lag).fold(0, u64::saturating_add);
        let parts = still().map(Part::key).collect();
        let reason = Reason::Stuck {
            source: seen.source.name.to_string(),
            partition: first.id,
            stuck: u32::try_from(stuck.len()).unwrap_or(u32::MAX),
            of: trace.waiting(at, Duration::ZERO).0,
            lag,
            since,
        };
        Some(Still { place, lag, parts, is_all: false, reason })
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.watched.capacity() * size_of::<Watched>()
    }
}

/// A group that has committed before, and not for a full window though something waits and pods are at work.
fn stopped(
    place: usize,
    seen: &Seen<'_>,
    trace: &Trace,
    (window, working): (Duration, Timestamp),
    at: Timestamp,
) -> Option<Still> {
    let moved = trace.commits().1?;
    let (of, old) = trace.waiting(at, window);
    if old == 0 || at < later(moved.max(working), window) {
        return None;
    }
    let lag = trace.parts().iter().map(Part::lag).fold(0, u64::saturating_add);
    let parts = trace.parts().iter().map(Part::key).collect();
    let source = seen.source.name.to_string();
    let reason = Reason::Stopped { source, of, lag, since: moved };
    Some(Still { place, lag, parts, is_all: true, reason })
}

/// Is it where it was?
fn same(old: &Watched, part: &Part) -> bool {
    (old.topic, old.id, old.position) == (part.topic, part.id, part.position)
}

/// How long nothing must move until that means something.
pub(super) fn window(seen: &Seen<'_>) -> Duration {
    let commits = seen.queue().and_then(|queue| queue.commit_interval);
    let commits = commits.map_or(UNMEASURED, |interval| interval.saturating_mul(COMMITS));
    commits.max(seen.source.poll_interval.saturating_mul(COMMITS)).max(SHORTEST)
}
