//! Makes Jobs from a CronJob's template and removes finished ones. The name of each Job follows from what was seen, so that a second
//! hand that saw the same is refused by the API server instead of making a second Job for the same work. No Job that runs is touched.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::Method;
use kube::Client;
use kube::core::Status;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::round::{Round, all, first};
use super::wire::{Failed, JSON, cut, ending_of, get, odd, request, send, text};
use super::{FIELD_MANAGER, Licence};
use crate::clock::Clock;
use crate::decide::{Ending, FinishedJob, Scale, StartJobs};

/// The label by which `watch` tells the Jobs made here; its value is the CronJob's name.
const CRON_JOB: &str = "penstock.dev/cronjob";
const PIPELINE: &str = "penstock.dev/pipeline";
const STAGE: &str = "penstock.dev/stage";
/// What a label's value may fill.
const LABEL_LIMIT: usize = 63;

/// What makes Jobs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Maker {
    client: Client,
    clock: Clock,
}

/// What became of one Job.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Made, at this `resourceVersion`.
    Made(u64),
    /// There was no time, or one before it failed: not tried.
    Left,
    /// It could not be made, or nobody knows.
    Not(Ending),
}

#[derive(Deserialize)]
struct Answered {
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Answered>,
}

impl Maker {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// Removes what is too much, then makes what is lacking. What cannot be removed keeps nobody from working.
    pub(super) async fn carry_out(&self, jobs: &StartJobs, licence: &Licence) -> Ending {
        let scale = &jobs.scale;
        let round = Round::begin(self.clock);
        if let Some(refused) = odd(&[&scale.target.namespace, &scale.target.name]) {
            return refused;
        }
        let removed = self.remove_all(scale, &jobs.remove, licence).await;
        if scale.to <= scale.from {
            return removed;
        }
        let template = match self.template(scale).await {
            Ok(template) => template,
            Err(ending) => return ending,
        };
        let last = jobs.first.saturating_add(u64::from(scale.to - scale.from));
        let has_failed = AtomicBool::new(false);
        let one = async |number| {
            if has_failed.load(Relaxed) || round.is_over() {
                return Fate::Left;
            }
            let fate = self.make(scale, &template, number, licence).await;
            if matches!(fate, Fate::Not(_)) {
                has_failed.store(true, Relaxed);
            }
            fate
        };
        sum(scale, all((jobs.first..last).map(one)).await)
    }

    /// The CronJob's `jobTemplate` as it stands now, fields of later versions included.
    async fn template(&self, scale: &Scale) -> Result<Value, Ending> {
        let (namespace, name) = (&scale.target.namespace, &scale.target.name);
        let path = format!("/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}");
        let cron_job: Value = match get(&self.client, &path).await {
            Ok(cron_job) => cron_job,
            Err(kube::Error::Api(status)) => return Err(ending_of(&status)),
            Err(error) => {
                let message = cut(&format!("the CronJob could not be read: {}", text(&error)));
                return Err(Ending::NotSent { message });
            }
        };
        let meta = &cron_job["metadata"];
        if meta["uid"] != *scale.uid || meta.get("deletionTimestamp").is_some() {
            return Err(Ending::Gone);
        }
        Ok(cron_job["spec"]["jobTemplate"].clone())
    }

    /// Makes one Job. The licence is asked at the last moment.
    async fn make(&self, scale: &Scale, template: &Value, number: u64, licence: &Licence) -> Fate {
        let namespace = &scale.target.namespace;
        let path =
            format!("/apis/batch/v1/namespaces/{namespace}/jobs?fieldManager={FIELD_MANAGER}");
        let job = job(scale, template, number);
        let request = request(Method::POST, &path, Some((JSON, &job)));
        match send::<Answered>(&self.client, request, licence).await {
            Ok(made) => Fate::Made(made.metadata.resource_version.parse().unwrap_or(0)),
            Err(Failed::Answered(status)) if status.reason == "AlreadyExists" => {
                Fate::Not(self.met(scale, number, &status).await)
            }
            Err(failed) => Fate::Not(failed.into()),
        }
    }

    /// A Job of this name is there. If it was made here, what was decided on is outdated; else someone must move it out of the way.
    async fn met(&self, scale: &Scale, number: u64, status: &Status) -> Ending {
        let (namespace, name) = (&scale.target.namespace, name_of(scale, number));
        let path = format!(
            "/apis/batch/v1/namespaces/{namespace}/jobs?fieldSelector=metadata.name%3D{name}"
        );
        match get::<List>(&self.client, &path).await {
            Ok(list)
                if list.items.iter().any(|job| !job.metadata.labels.contains_key(CRON_JOB)) =>
            {
                let message = format!(
                    "Job {name} is there already and was not made by Penstock; delete it, or give it another name"
                );
                Ending::Refused { code: status.code, message }
            }
            _ => Ending::Outdated,
        }
    }

    /// Removes finished Jobs: each only while it is the one that was seen to have finished.
    async fn remove_all(&self, scale: &Scale, remove: &[FinishedJob], licence: &Licence) -> Ending {
        first(scale, all(remove.iter().map(|job| self.remove(scale, job, licence))).await)
    }

    /// Removes one; `None` when it is gone.
    async fn remove(&self, scale: &Scale, job: &FinishedJob, licence: &Licence) -> Option<Ending> {
        let namespace = &scale.target.namespace;
        let FinishedJob { name, uid } = job;
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs/{name}");
        let body = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        });
        let request = request(Method::DELETE, &path, Some((JSON, &body)));
        match send::<Value>(&self.client, request, licence).await {
            Ok(_) => None,
            // Gone already, or another of its name.
            Err(failed) if matches!(failed.code(), Some(404 | 409)) => None,
            // It is asked for again while the Job is there.
            Err(Failed::Unanswered(Ending::Unknown { message })) => {
                Some(Ending::NotSent { message })
            }
            Err(failed) => Some(failed.into()),
        }
    }
}

/// What all of it comes to: what nobody knows weighs most, then what must be mended, then what must be read again.
fn sum(scale: &Scale, fates: Vec<Fate>) -> Ending {
    let wanted = fates.len();
    let (mut made, mut newest, mut worst) = (0_usize, 0_u64, None::<Ending>);
    for fate in fates {
        match fate {
            Fate::Made(version) => {
                made += 1;
                newest = newest.max(version);
            }
            Fate::Left => {}
            Fate::Not(ending) => {
                if worst.as_ref().is_none_or(|worst| weight(worst) < weight(&ending)) {
                    worst = Some(ending);
                }
            }
        }
    }
    match worst {
        Some(Ending::Refused { code, message }) if 0 < made => {
            let message = cut(&format!("{made} of {wanted} Jobs were made, then: {message}"));
            Ending::Refused { code, message }
        }
        // What was made is seen by the watch; what was not is decided on anew.
        Some(Ending::NotSent { .. }) | None if 0 < made => done(newest),
        Some(worst) => worst,
        None => Ending::NotSent { message: format!("no time was left to make {}", scale.target) },
    }
}

fn done(version: u64) -> Ending {
    Ending::Done { resource_version: version.to_string().into() }
}

fn weight(ending: &Ending) -> u8 {
    match ending {
        Ending::Unknown { .. } => 5,
        Ending::Gone => 4,
        Ending::Refused { .. } => 3,
        Ending::Conflict { .. } | Ending::Outdated => 2,
        Ending::NotSent { .. } => 1,
        Ending::Done { .. } => 0,
    }
}

fn name_of(scale: &Scale, number: u64) -> String {
    format!("{}-p{number}", scale.target.name)
}

/// A Job of the template. The CronJob owns it, so that it goes when the CronJob goes, but is not its controller: the CronJob's own
/// controller would count it, warn of it, remove it by its own rules and end it under `concurrencyPolicy: Replace`.
fn job(scale: &Scale, template: &Value, number: u64) -> Value {
    let part = |name: &str| -> Map<String, Value> {
        template["metadata"][name].as_object().cloned().unwrap_or_default()
    };
    let mut labels = part("labels");
    let pipeline = &scale.stage.pipeline;
    for (key, value) in
        [(CRON_JOB, &*scale.target.name), (PIPELINE, &*pipeline.name), (STAGE, &*scale.stage.name)]
    {
        labels.insert(key.to_owned(), as_label(value).into());
    }
    let mut annotations = part("annotations");
    annotations.insert("penstock.dev/reason".to_owned(), scale.why.to_string().into());
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(scale, number),
            "namespace": scale.target.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "name": scale.target.name,
                "uid": scale.uid,
            }],
        },
        "spec": template["spec"],
    })
}

/// A name as a label's value, cut where it is too long.
pub(super) fn as_label(name: &str) -> &str {
    let end = name.floor_char_boundary(LABEL_LIMIT);
    name[..end].trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_becomes_a_label_the_api_server_takes() {
        assert_eq!(as_label("orders"), "orders");
        let long = format!("{}.b", "a".repeat(62));
        assert_eq!(as_label(&long), "a".repeat(62));
    }
}
