//! Bounds by the calendar: in some hours a stage has another `min` or `max`. Called before a stage's turn, which sees the bounds of that
//! instant as if they had been written, and after it, to tell which schedule bound.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hours::{Hours, Unreadable};
use super::pipeline::Stage;
use super::reason::Reason;
use super::stage::Answer;

/// Bounds that hold in some hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    name: Arc<str>,
    #[serde(flatten)]
    hours: Hours,
    min: Option<u32>,
    max: Option<u32>,
}

impl Schedule {
    /// Reads a schedule: `start` and `end` are cron with five fields, `zone` is an IANA name.
    ///
    /// # Errors
    /// A cron is none or never comes, both are the same, or nobody knows the time zone.
    pub fn new(
        name: &str,
        (start, end): (&str, &str),
        zone: &str,
        (min, max): (Option<u32>, Option<u32>),
    ) -> Result<Self, Unreadable> {
        Ok(Self { name: name.into(), hours: Hours::new(start, end, zone)?, min, max })
    }

    /// The most replicas there may be in its hours, if it says so.
    pub(super) const fn max(&self) -> Option<u32> {
        self.max
    }

    /// Is this instant within it, and until when does that stay so?
    pub fn look(&self, at: Timestamp) -> (bool, Option<Timestamp>) {
        self.hours.look(at)
    }
}

/// The stage as it is bound at an instant.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub(super) stage: Cow<'a, Stage>,
    /// Whose the bounds are, where they are not the stage's own: the schedule, until when.
    min: Option<(Arc<str>, Option<Timestamp>)>,
    max: Option<(Arc<str>, Option<Timestamp>)>,
    /// When any schedule turns.
    next: Option<Timestamp>,
}

impl<'a> Bound<'a> {
    /// Of schedules that overlap the largest `min` and the smallest `max` count, and where these cross, the `max`. A scheduled `min` above
    /// zero keeps the stage awake, whatever `idle` says.
    pub(super) fn of(stage: &'a Stage, at: Timestamp) -> Self {
        let mut bound = Self { stage: Cow::Borrowed(stage), min: None, max: None, next: None };
        for schedule in &stage.schedules {
            let (is_inside, until) = schedule.look(at);
            bound.next = bound.next.into_iter().chain(until).min();
            if !is_inside {
                continue;
            }
            let Schedule { name, min, max, .. } = schedule;
            if let Some(min) = min.filter(|min| bound.stage.min < *min) {
                let stage = bound.stage.to_mut();
                stage.min = min;
                stage.idle = stage.idle.filter(|idle| min <= idle.replicas);
                bound.min = Some((Arc::clone(name), until));
            }
            if let Some(max) = max.filter(|max| *max < bound.stage.max) {
                bound.stage.to_mut().max = max;
                bound.max = Some((Arc::clone(name), until));
            }
        }
        if bound.stage.max < bound.stage.min {
            let stage = bound.stage.to_mut();
            stage.min = stage.max;
            bound.min = bound.max.clone();
        }
        bound
    }

    /// Says which schedule bound it, and when to look again.
    pub(super) fn tell(&self, answer: &mut Answer, at: Timestamp) {
        let verdict = &mut answer.verdict;
        verdict.why.iter_mut().for_each(|reason| self.name(reason));
        for action in &mut answer.actions {
            self.name(&mut action.scale_mut().why);
        }
        let next = verdict.next.into_iter().chain(self.next);
        verdict.next = next.filter(|&next| at < next).min();
    }

    fn name(&self, reason: &mut Reason) {
        match (&*reason, &self.min, &self.max) {
            (&Reason::AtMin { wished, min }, Some((schedule, until)), _)
                if min == self.stage.min =>
            {
                let (schedule, until) = (schedule.to_string(), *until);
                *reason = Reason::AtScheduledMin { wished, min, schedule, until };
            }
            (&Reason::AtMax { wished, max }, _, Some((schedule, until)))
                if max == self.stage.max =>
            {
                let (schedule, until) = (schedule.to_string(), *until);
                *reason = Reason::AtScheduledMax { wished, max, schedule, until };
            }
            _ => {}
        }
    }
}
