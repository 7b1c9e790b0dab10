//! Stages whose replicas are Jobs: which of them count, what one gets through at the least, when none is made though more are wished.
//! Called by a stage's turn. A Job ends by itself when its work is done, so here nothing is ever lowered: none is made, that is all.

use std::time::Duration;

use jiff::Timestamp;

use super::demand::Bid;
use super::evidence::{Evidence, Trust};
use super::memory::StageMemory;
use super::order::Order;
use super::plan::{Action, StartJobs};
use super::reason::Reason;
use super::snapshot::{FinishedJob, JobsSeen, Workload};
use super::stage::Turn;
use super::writes::{later, span};

/// After so many rounds of Jobs that all failed, the next ones are made ever later.
const FAILURES: u32 = 3;
/// The first wait, doubled with each further round.
const FIRST: Duration = Duration::from_secs(10);
/// The longest.
const LONGEST: Duration = Duration::from_mins(5);

/// The workload as it is to be decided on. A Job that ended after a reading was made may still have had its items in it, so it counts as
/// running until every source has been read anew: else another Job would be made for work that is done.
pub(super) fn counted(workload: &Workload, evidence: &Evidence<'_>) -> Option<Workload> {
    let jobs = workload.jobs.as_ref()?;
    let told = evidence.sources.iter().filter(|seen| told(seen.trust));
    let oldest = told.filter_map(|seen| Some(seen.reading?.at)).min();
    let ended = jobs.ended.iter().filter(|&&ended| oldest.is_some_and(|read| read <= ended));
    let ended = u32::try_from(ended.count()).unwrap_or(u32::MAX);
    Some(Workload { desired: workload.desired.saturating_add(ended), ..workload.clone() })
}

fn told(trust: Trust) -> bool {
    matches!(trust, Trust::Fresh | Trust::AtLeast)
}

/// Items a second that one replica gets through, all in all: a Job ends, and until the next one works in its place it has to be asked for
/// by a reading and to start. Where no rate is known it is taken to do one item in its life, which is how long those before it took, or
/// how long the oldest has been at it.
pub(super) fn rate(
    known: Option<f64>,
    workload: &Workload,
    (startup, poll): (f64, Duration),
    at: Timestamp,
) -> Option<f64> {
    let Some(jobs) = &workload.jobs else { return known };
    let life = jobs.life.or_else(|| jobs.oldest.map(|oldest| span(oldest, at)));
    let Some(life) = life.map(|life| life.as_secs_f64()) else { return known };
    let items = known.map_or(1.0, |rate| (rate * life).max(1.0));
    Some(items / (life + startup + poll.as_secs_f64()).max(1.0))
}

/// Finished Jobs to be removed now.
pub(super) fn surplus(workload: &Workload) -> &[FinishedJob] {
    workload.jobs.as_ref().map_or(&[], |jobs| &jobs.surplus)
}

/// Until when no Job is made, since those before it have failed one after another.
pub(super) fn rests_until(workload: &Workload, at: Timestamp) -> Option<(u32, Timestamp)> {
    let failing = workload.jobs.as_ref()?.failing.as_ref()?;
    let rounds = failing.jobs.checked_sub(FAILURES)?;
    let wait = FIRST.saturating_mul(2_u32.saturating_pow(rounds)).min(LONGEST);
    Some((failing.jobs, later(failing.at, wait))).filter(|(_, until)| at < *until)
}

/// What is odd about the Jobs, or about the CronJob they are made from.
pub(super) fn odd(turn: &Turn<'_>, jobs: &JobsSeen) -> Vec<Reason> {
    let mut odd = Vec::new();
    if jobs.is_scheduled {
        odd.push(Reason::SchedulesItself { cron_job: turn.stage.target.name.to_string() });
    }
    if let Some(failing) = jobs.failing.as_ref().filter(|failing| FAILURES <= failing.jobs) {
        let message = failing.message.to_string();
        odd.push(Reason::JobsFail { jobs: failing.jobs, message });
    }
    odd
}

/// Says why no Job is made though another count is wished.
pub(super) fn explain(bid: &mut Bid, workload: &Workload) {
    let (wished, running, counted) = (bid.replicas, workload.current, workload.desired);
    if wished < running {
        bid.set(wished, Reason::LetEnd { wished, running });
    } else if running < wished && wished <= counted {
        let ended = counted - running;
        bid.set(wished, Reason::AwaitingReading { wished, running, ended });
    }
}

impl Turn<'_> {
    /// Are its replicas Jobs?
    pub(super) fn is_jobs(&self) -> bool {
        self.stage.target.is_jobs()
    }

    /// The Jobs that are lacking, and the finished ones that are too many. No gap is kept after the last ones: it does no harm to the
    /// work under way, and each reading is answered once.
    pub(super) fn start_jobs(
        &self,
        bid: &mut Bid,
        workload: &Workload,
        memory: &StageMemory,
    ) -> Option<Action> {
        let jobs = workload.jobs.as_ref()?;
        let mut to = bid.replicas.max(workload.desired);
        if let Some((rounds, until)) = rests_until(workload, self.at)
            && workload.desired < to
        {
            let wished = to;
            to = workload.desired;
            bid.set(to, Reason::AwaitingRetry { wished, jobs: rounds, until });
        }
        let all = surplus(workload);
        let remove = if memory.writes.may_tidy(self.at) { all } else { &[] };
        if to == workload.desired && remove.is_empty() {
            return None;
        }
        let why = bid.why.last().cloned();
        let order = Order { target: &self.stage.target, lane: None, why };
        let scale = self.scale(&order, workload, to);
        Some(Action::StartJobs(StartJobs { scale, first: jobs.next, remove: remove.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Failing, Writing};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failing(jobs: u32) -> Workload {
        let failing = Failing { jobs, message: "BackoffLimitExceeded".into(), at: second(100) };
        let jobs = JobsSeen { failing: Some(failing), ..JobsSeen::default() };
        workload(jobs)
    }

    fn workload(jobs: JobsSeen) -> Workload {
        Workload {
            uid: "a".into(),
            resource_version: "1".into(),
            desired: 0,
            current: 0,
            ready: 0,
            ready_since: None,
            writing: Writing::Merge,
            read_at: second(0),
            is_ours: true,
            hpa: None,
            cpu: None,
            jobs: Some(Box::new(jobs)),
            lanes: Vec::new(),
        }
    }

    #[test]
    fn jobs_that_fail_one_after_another_are_made_ever_later() {
        let until = |jobs| rests_until(&failing(jobs), second(101)).map(|(_, until)| until);
        assert_eq!(until(2), None);
        assert_eq!(until(3), Some(second(110)));
        assert_eq!(until(5), Some(second(140)));
        assert_eq!(until(u32::MAX), Some(second(400)));
        assert_eq!(rests_until(&failing(3), second(110)), None);
    }

    #[test]
    fn a_job_gets_through_one_item_in_its_life_and_until_the_next_works_time_goes_by() {
        let of = |known, life, oldest| {
            let jobs = JobsSeen { oldest, life, ..JobsSeen::default() };
            rate(known, &workload(jobs), (10.0, Duration::from_secs(15)), second(100))
        };
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(None, None, Some(second(60))), Some(1.0 / 65.0));
        let twenty = Some(Duration::from_secs(20));
        assert_eq!(of(None, twenty, Some(second(60))), Some(1.0 / 45.0));
        assert_eq!(of(Some(0.5), twenty, None), Some(10.0 / 45.0));
        assert_eq!(of(Some(0.001), twenty, None), Some(1.0 / 45.0));
    }
}
