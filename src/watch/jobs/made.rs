//! The Jobs made from one CronJob, and what their lives have taught: who runs, who ended when, how long they take. Filled by the store;
//! times are of the daemon's own clock, at the moment the watch told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::wire::WireJob;
use crate::decide::Failing;

/// What ended longer ago than this is in no reading any more.
const LATELY: Duration = Duration::from_mins(30);
/// So many ends are remembered at most.
const ENDS: usize = 500;
/// Share of a new life in what a Job is thought to take.
const GAIN: f64 = 0.3;

/// All Jobs made from one CronJob.
#[derive(Debug, Default)]
pub(super) struct Made {
    jobs: BTreeMap<Arc<str>, Job>,
    /// The newest `resourceVersion` among them, gone ones too: our own writes are seen once it has passed them.
    pub(super) version: u64,
    /// When they were last listed on purpose.
    pub(super) read_at: Option<Timestamp>,
    /// When each that ended of late was seen to have ended.
    pub(super) ended: VecDeque<Timestamp>,
    /// How long one is at work.
    pub(super) life: Option<Duration>,
    /// From being made to its first Ready pod, of the last that became so.
    pub(super) startup: Option<Duration>,
    /// Rounds of failures without a success.
    pub(super) failing: Option<Failing>,
    /// When the last of those rounds ended, by the API server's clock.
    failed: Option<Timestamp>,
}

/// One Job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) uid: Arc<str>,
    /// The CronJob that owns it.
    owner: Option<Arc<str>>,
    /// The number in its name.
    pub(super) number: u64,
    version: u64,
    /// When it was first shown; `None` when it was there before we looked.
    shown: Option<Timestamp>,
    /// When its first pod was seen Ready, while it has one that is.
    pub(super) ready_at: Option<Timestamp>,
    /// Is it over, and did it fail?
    pub(super) end: Option<bool>,
    pub(super) is_going: bool,
}

/// Has anything that counts changed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// No.
    Same,
    /// Yes.
    Otherwise,
}

impl Made {
    /// The Jobs that this CronJob owns, by name.
    pub(super) fn named<'a>(
        &'a self,
        owner: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Job)> {
        self.jobs.iter().filter(move |(_, job)| job.owner.as_deref() == Some(owner))
    }

    /// The Jobs that this CronJob owns.
    pub(super) fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Job> {
        self.named(owner).map(|(_, job)| job)
    }

    /// The number of the next Job: it follows from those that are there, whoever owns them, and from nothing else, so that two who see
    /// the same choose the same name, and one of them is refused.
    pub(super) fn next(&self) -> u64 {
        self.jobs.values().map(|job| job.number).max().unwrap_or(0).saturating_add(1)
    }

    /// Names that are not in this list.
    pub(super) fn others(&self, listed: &[Arc<str>]) -> Vec<Arc<str>> {
        self.jobs.keys().filter(|name| !listed.contains(name)).cloned().collect()
    }

    /// A Job came or changed.
    pub(super) fn put(
        &mut self,
        name: &Arc<str>,
        wire: &WireJob,
        now: Timestamp,
        is_first: bool,
    ) -> Turned {
        let version = version_of(wire);
        self.version = self.version.max(version);
        let uid = wire.uid().unwrap_or_default();
        let before = self.jobs.get(name).filter(|job| *job.uid == *uid).cloned();
        if before.as_ref().is_some_and(|before| version < before.version) {
            return Turned::Same;
        }
        let status = wire.status.as_ref();
        let end = status.and_then(|status| status.end());
        let is_ready = end.is_none() && status.is_some_and(|status| 0 < status.ready.unwrap_or(0));
        let ready_at = before.as_ref().and_then(|before| before.ready_at);
        let mut job = Job {
            uid: uid.into(),
            owner: owner_of(wire),
            number: number_of(name),
            version,
            shown: before
                .as_ref()
                .map_or_else(|| (!is_first).then_some(now), |before| before.shown),
            ready_at: ready_at.or(Some(now)).filter(|_| is_ready),
            end: end.map(|(_, is_failed)| is_failed),
            is_going: wire.metadata.deletion_timestamp.is_some(),
        };
        if let (true, None, true) = (is_ready, ready_at, is_first) {
            // It was at work before we looked: since when, its start tells best.
            job.ready_at = status.and_then(|status| status.start_time).map(|at| at.min(now));
        } else if let (true, None, Some(shown)) = (is_ready, ready_at, job.shown) {
            self.startup = Some(span(shown, now));
        }
        if let Some((condition, is_failed)) = end
            && before.as_ref().is_none_or(|before| before.end.is_none())
        {
            let at = condition.last_transition_time;
            let is_old = at.is_some_and(|at| Duration::from_mins(1) < span(at, now));
            if !is_first || !is_old {
                self.note_end(now);
            }
            if is_failed {
                self.fail(wire, at.unwrap_or(now), condition.text(), now);
            } else {
                self.failing = None;
                let started = status.and_then(|status| status.start_time);
                let life =
                    ready_at.map(|ready| span(ready, now)).or_else(|| Some(span(started?, at?)));
                self.live(life);
            }
        }
        let is_same = before.as_ref().is_some_and(|before| {
            let same_time = before.ready_at.is_some() == job.ready_at.is_some();
            same_time
                && (&before.owner, before.end, before.is_going)
                    == (&job.owner, job.end, job.is_going)
        });
        self.jobs.insert(Arc::clone(name), job);
        if is_same { Turned::Same } else { Turned::Otherwise }
    }

    /// A Job went.
    pub(super) fn drop(&mut self, name: &str, now: Timestamp) -> Turned {
        match self.jobs.remove(name) {
            Some(job) => {
                if job.end.is_none() {
                    self.note_end(now);
                }
                Turned::Otherwise
            }
            None => Turned::Same,
        }
    }

    fn note_end(&mut self, now: Timestamp) {
        self.ended.push_back(now);
        while self.ended.len() > ENDS
            || self.ended.front().is_some_and(|&ended| LATELY < span(ended, now))
        {
            self.ended.pop_front();
        }
    }

    fn live(&mut self, life: Option<Duration>) {
        let Some(life) = life else { return };
        let before = self.life.unwrap_or(life).as_secs_f64();
        let new = before + GAIN * (life.as_secs_f64() - before);
        self.life = Duration::try_from_secs_f64(new).ok();
    }

    /// Jobs that ran at the same time fail together: they are one round.
    fn fail(&mut self, wire: &WireJob, ended: Timestamp, message: String, now: Timestamp) {
        let made = wire.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let is_new = self.failed.is_none_or(|failed| made.is_some_and(|made| failed <= made));
        let jobs = self.failing.as_ref().map_or(0, |failing| failing.jobs);
        if is_new || jobs == 0 {
            self.failed = Some(ended);
            let jobs = jobs.saturating_add(1);
            self.failing = Some(Failing { jobs, message: message.into(), at: now });
        }
    }
}

/// The CronJob of a Job. `act` makes it the owner, but not the controller: the CronJob's own controller leaves the Job alone.
fn owner_of(wire: &WireJob) -> Option<Arc<str>> {
    let owners = wire.metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.kind == "CronJob")?;
    Some(owner.uid.as_str().into())
}

/// The number at the end of `NAME-pNUMBER`; 0 for another name.
fn number_of(name: &str) -> u64 {
    name.rsplit_once("-p").and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

pub(super) fn version_of(wire: &WireJob) -> u64 {
    wire.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn span(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(version: u64, made: i64, status: &serde_json::Value) -> WireJob {
        let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "b", "uid": "c"});
        serde_json::from_value(json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"uid": format!("u{made}"), "resourceVersion": version.to_string(),
                "creationTimestamp": second(made).to_string(), "ownerReferences": [owner]},
            "spec": {}, "status": status,
        }))
        .unwrap()
    }

    fn over(kind: &str, at: i64) -> serde_json::Value {
        json!({"conditions": [{"type": kind, "status": "True", "reason": "Why",
            "lastTransitionTime": second(at).to_string()}]})
    }

    fn running(made: &Made) -> usize {
        made.of("c").filter(|job| job.end.is_none()).count()
    }

    #[test]
    fn a_job_runs_from_being_made_until_it_is_over() {
        let mut made = Made::default();
        let name: Arc<str> = "b-p7".into();
        assert_eq!(made.put(&name, &job(5, 0, &json!({})), second(1), false), Turned::Otherwise);
        assert_eq!((running(&made), made.next(), made.version), (1, 8, 5));
        made.put(&name, &job(6, 0, &json!({"ready": 1})), second(9), false);
        assert_eq!(made.startup, Some(Duration::from_secs(8)));
        // Between the work and the end stands a condition that ends nothing.
        made.put(&name, &job(7, 0, &over("SuccessCriteriaMet", 20)), second(20), false);
        assert_eq!(running(&made), 1);
        made.put(&name, &job(8, 0, &over("Complete", 21)), second(22), false);
        assert_eq!((running(&made), made.ended.len(), made.next()), (0, 1, 8));
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let mut made = Made::default();
        let name: Arc<str> = "b-p1".into();
        made.put(&name, &job(8, 0, &over("Complete", 21)), second(22), false);
        assert_eq!(made.put(&name, &job(7, 0, &json!({})), second(23), false), Turned::Same);
        assert_eq!(running(&made), 0);
    }

    #[test]
    fn a_life_is_counted_from_the_first_ready_pod() {
        let mut made = Made::default();
        let name: Arc<str> = "b-p1".into();
        made.put(&name, &job(5, 0, &json!({})), second(1), false);
        made.put(&name, &job(6, 0, &json!({"ready": 2})), second(10), false);
        made.put(&name, &job(7, 0, &over("Complete", 30)), second(30), false);
        assert_eq!(made.life, Some(Duration::from_secs(20)));
    }

    #[test]
    fn jobs_that_fail_together_are_one_round_and_a_success_ends_the_row() {
        let mut made = Made::default();
        let rounds = |made: &Made| made.failing.as_ref().map_or(0, |failing| failing.jobs);
        for (number, begun) in [(1, 10), (2, 11), (3, 12)] {
            let name: Arc<str> = format!("b-p{number}").into();
            made.put(&name, &job(number, begun, &over("Failed", 20 + begun)), second(40), false);
        }
        assert_eq!(rounds(&made), 1);
        made.put(&"b-p4".into(), &job(4, 50, &over("Failed", 60)), second(60), false);
        assert_eq!(rounds(&made), 2);
        made.put(&"b-p5".into(), &job(5, 70, &over("Complete", 80)), second(80), false);
        assert_eq!(rounds(&made), 0);
    }

    #[test]
    fn a_running_job_that_someone_deletes_has_ended() {
        let mut made = Made::default();
        made.put(&"b-p1".into(), &job(5, 0, &json!({})), second(1), false);
        assert_eq!(made.drop("b-p1", second(2)), Turned::Otherwise);
        assert_eq!((running(&made), made.ended.len(), made.next()), (0, 1, 1));
    }
}
