//! The Jobs that stages run: each CronJob whose template is used, and the Jobs that Penstock made from it, told by their label. `follow`
//! fills it from two watches; `seen` asks it for a target. Counts are exact: a Job runs from being made until Complete or Failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::decide::{FinishedJob, JobsSeen, Target, TargetId, Unusable, Workload, Writing};

use super::stores::{Name, Stores};

mod follow;
mod made;
mod wire;

pub(super) use follow::{follow, read};

use made::{Made, Turned};
use wire::{WireCronJob, WireJob};

/// The label of every Job that Penstock makes; its value is the name of the CronJob. `act` writes it.
const LABEL: &str = "penstock.dev/cronjob";
/// Finished Jobs that one turn is told of at most.
const SURPLUS: usize = 20;

/// Each CronJob, and the Jobs made from it.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    templates: BTreeMap<Name, CronJob>,
    /// By namespace, and name of the CronJob.
    made: BTreeMap<Name, Made>,
    /// When the first lists were asked for.
    listed: Option<Timestamp>,
}

/// A CronJob, cut down to what a stage needs of it. The template itself is read when Jobs are made.
#[derive(Debug, PartialEq)]
struct CronJob {
    uid: Arc<str>,
    is_scheduled: bool,
    /// Finished Jobs that are kept: completed, failed.
    keeps: (usize, usize),
}

impl CronJob {
    fn read(wire: &WireCronJob) -> Self {
        let spec = &wire.spec;
        let limit = |written: Option<u32>, usual| {
            usize::try_from(written.unwrap_or(usual)).unwrap_or(usize::MAX)
        };
        Self {
            uid: wire.uid().unwrap_or_default().into(),
            is_scheduled: !spec.suspend.unwrap_or(false),
            keeps: (
                limit(spec.successful_jobs_history_limit, 3),
                limit(spec.failed_jobs_history_limit, 1),
            ),
        }
    }
}

impl Stores {
    /// What is known of a stage's Jobs now.
    pub(super) fn jobs_of(&self, target: &TargetId) -> Target {
        if let Some(veiled) = self.veiled(target) {
            return veiled;
        }
        let name = name_of(target);
        let Some(cron_job) = self.jobs.templates.get(&name) else {
            return Target::Unusable(Unusable::NotFound);
        };
        let nothing = Made::default();
        let made = self.jobs.made.get(&name).unwrap_or(&nothing);
        let running = || made.of(&cron_job.uid).filter(|job| job.end.is_none());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let ready_at = || running().filter_map(|job| job.ready_at);
        Target::Seen(Workload {
            uid: Arc::clone(&cron_job.uid),
            resource_version: made.version.to_string().into(),
            desired: count(running().count()),
            current: count(running().count()),
            ready: count(ready_at().count()),
            ready_since: ready_at().max(),
            writing: Writing::Merge,
            read_at: made.read_at.max(self.jobs.listed).unwrap_or(Timestamp::MIN),
            is_ours: true,
            hpa: None,
            cpu: None,
            lanes: Vec::new(),
            jobs: Some(Box::new(JobsSeen {
                next: made.next(),
                ended: made.ended.iter().copied().collect(),
                oldest: ready_at().min(),
                life: made.life,
                startup: made.startup,
                surplus: surplus(made, cron_job),
                is_scheduled: cron_job.is_scheduled,
                failing: made.failing.clone(),
            })),
        })
    }

    fn put_cron_job(&mut self, name: &Name, wire: &WireCronJob) {
        let new = CronJob::read(wire);
        if self.jobs.templates.get(name) == Some(&new) {
            return;
        }
        self.jobs.templates.insert(name.clone(), new);
        self.touch_target(&target_id(name));
    }

    fn drop_cron_job(&mut self, name: &Name) {
        self.jobs.templates.remove(name);
        self.touch_target(&target_id(name));
    }

    /// A Job came or changed. `is_first`: as the first list shows it, so that nobody saw it begin or end.
    fn put_job(&mut self, name: &Name, wire: &WireJob, now: Timestamp, is_first: bool) {
        let Some(group) = group_of(&name.namespace, wire) else { return };
        let made = self.jobs.made.entry(group.clone()).or_default();
        if made.put(&name.name, wire, now, is_first) == Turned::Otherwise {
            self.touch_target(&target_id(&group));
        }
    }

    fn drop_job(&mut self, group: &Name, name: &str, version: u64, now: Timestamp) {
        let Some(made) = self.jobs.made.get_mut(group) else { return };
        made.version = made.version.max(version);
        if made.drop(name, now) == Turned::Otherwise {
            self.touch_target(&target_id(group));
        }
    }
}

/// Finished Jobs beyond the history limits, oldest first. The newest by number are kept: what was made last is always among them, and
/// the numbers of later Jobs follow from it.
fn surplus(made: &Made, cron_job: &CronJob) -> Vec<FinishedJob> {
    let finished = |is_failed: bool, keep: usize| {
        let mut ended: Vec<_> = made
            .named(&cron_job.uid)
            .filter(|(_, job)| !job.is_going && job.end.is_some_and(|failed| failed == is_failed))
            .collect();
        ended.sort_by_key(|(name, job)| (std::cmp::Reverse(job.number), *name));
        ended.into_iter().skip(keep).collect::<Vec<_>>()
    };
    let (completed, failed) = cron_job.keeps;
    let mut all = finished(false, completed);
    all.extend(finished(true, failed));
    all.sort_by_key(|(name, job)| (job.number, *name));
    all.truncate(SURPLUS);
    all.into_iter()
        .map(|(name, job)| FinishedJob { name: Arc::clone(name), uid: Arc::clone(&job.uid) })
        .collect()
}

/// Namespace and CronJob of a Job.
fn group_of(namespace: &Arc<str>, wire: &WireJob) -> Option<Name> {
    let name = wire.labels().get(LABEL)?.as_str().into();
    Some(Name { namespace: Arc::clone(namespace), name })
}

fn name_of(target: &TargetId) -> Name {
    Name { namespace: Arc::clone(&target.namespace), name: Arc::clone(&target.name) }
}

fn target_id(name: &Name) -> TargetId {
    TargetId::cron_job(&name.namespace, &name.name)
}
