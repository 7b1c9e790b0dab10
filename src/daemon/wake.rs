//! The closed list of what may wake the loop, and the shortest gap between two turns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::decide::{Outcome, PipelineId, QuestionId};

/// What wakes the loop.
#[derive(Debug)]
pub(super) enum Wake {
    /// A pipeline asked to be thought of again at this time.
    Timer,
    /// Nothing for a while: the loop shows that it lives.
    Beat,
    /// Something in the stores moved.
    Changed,
    /// Sources answered.
    Readings(Vec<QuestionId>),
    /// A write ended.
    Outcome(Box<Outcome>),
    /// The lease came or went.
    Leadership,
    /// The process is asked to end.
    Goodbye,
}

/// The shortest time between the starts of two turns: what comes within it shares one turn.
pub(super) const SHORTEST_GAP: Duration = Duration::from_millis(20);

/// How long a pipeline goes unthought of at most, though nothing moved: lost events are repaired within it.
pub(super) const RESYNC: Duration = Duration::from_mins(5);

/// What is due, and why: gathered between turns.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeSet<PipelineId>,
    outcomes: BTreeMap<PipelineId, Vec<(usize, Outcome)>>,
    timers: BTreeMap<PipelineId, Timestamp>,
}

impl Agenda {
    /// Puts pipelines on the list.
    pub(super) fn add(&mut self, pipelines: impl IntoIterator<Item = PipelineId>) {
        self.due.extend(pipelines);
    }

    /// Puts the pipelines of these questions on the list.
    pub(super) fn add_readings(&mut self, questions: &[QuestionId]) {
        self.due.extend(questions.iter().filter_map(QuestionId::pipeline));
    }

    /// Keeps an outcome for its pipeline's next turn, which is now if `is_urgent`.
    pub(super) fn add_outcome(&mut self, outcome: Outcome, is_urgent: bool) {
        let stage = outcome.action.scale().stage.clone();
        if is_urgent {
            self.due.insert(stage.pipeline.clone());
        }
        self.outcomes.entry(stage.pipeline).or_default().push((stage.index, outcome));
    }

    /// Sets when a pipeline is to be thought of again.
    pub(super) fn set_timer(&mut self, pipeline: &PipelineId, at: Timestamp) {
        self.timers.insert(pipeline.clone(), at);
    }

    /// When the next timer rings.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.values().min().copied()
    }

    /// Takes everything that is due now off the list.
    pub(super) fn take_due(&mut self, now: Timestamp) -> BTreeSet<PipelineId> {
        let rung = self
            .timers
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| id.clone())
            .collect::<Vec<_>>();
        for id in &rung {
            self.timers.remove(id);
        }
        let mut due = std::mem::take(&mut self.due);
        due.extend(rung);
        due
    }

    /// Takes the outcomes that wait for a pipeline.
    pub(super) fn take_outcomes(&mut self, pipeline: &PipelineId) -> Vec<(usize, Outcome)> {
        self.outcomes.remove(pipeline).unwrap_or_default()
    }

    /// Forgets a deleted pipeline.
    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        self.due.remove(pipeline);
        self.outcomes.remove(pipeline);
        self.timers.remove(pipeline);
    }
}

/// When each pipeline that was looked at is to be thought of again: when that was `asked` for, and after [`RESYNC`] at the latest. That holds for
/// those, too, of which nothing was decided: what is told of them may have been told over an object that has moved.
pub(super) fn timers<'a>(
    seen: impl Iterator<Item = &'a PipelineId>,
    asked: impl Iterator<Item = (&'a PipelineId, Option<Timestamp>)>,
    now: Timestamp,
) -> BTreeMap<&'a PipelineId, Timestamp> {
    let resync = now.checked_add(RESYNC).unwrap_or(now);
    let mut next: BTreeMap<_, _> = seen.map(|pipeline| (pipeline, resync)).collect();
    for (pipeline, at) in asked {
        let at = at.filter(|at| *at > now).unwrap_or(resync).min(resync);
        let entry = next.entry(pipeline).or_insert(at);
        *entry = at.min(*entry);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_of_which_nothing_is_decided_is_looked_at_again_all_the_same() {
        let id = |name: &str| PipelineId { namespace: "default".into(), name: name.into() };
        let (faulty, quiet, soon) = (id("faulty"), id("quiet"), id("soon"));
        let now = Timestamp::UNIX_EPOCH;
        let after = |pause: Duration| now.checked_add(pause).unwrap();
        let second = after(Duration::from_secs(1));
        let asked = [(&quiet, None), (&soon, None), (&soon, Some(second))];
        let next = timers([&faulty, &quiet, &soon].into_iter(), asked.into_iter(), now);
        let resync = after(RESYNC);
        assert_eq!(
            next.into_iter().collect::<Vec<_>>(),
            [(&faulty, resync), (&quiet, resync), (&soon, second)]
        );
    }
}
