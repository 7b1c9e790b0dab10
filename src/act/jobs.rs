//! Makes Jobs from a CronJob's template and removes finished ones. The name of each Job follows from what was seen, so that a second
//! hand that saw the same is refused by the API server instead of making a second Job for the same work. No Job that runs is touched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use kube::core::Status;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kinds::is_plain;
use super::scale::{cut, ending_of, text};
use super::{FIELD_MANAGER, Licence};
use crate::clock::Clock;
use crate::decide::{Ending, FinishedJob, Scale, StartJobs};

/// The label by which `watch` tells the Jobs made here; its value is the CronJob's name.
const CRON_JOB: &str = "penstock.dev/cronjob";
const PIPELINE: &str = "penstock.dev/pipeline";
const STAGE: &str = "penstock.dev/stage";
/// What a label's value may fill.
const LABEL_LIMIT: usize = 63;
/// Requests at once.
const AT_ONCE: usize = 8;
/// The last Job is begun no later than this: what is left over is for the next turn, and the answers come within the deadline.
const BUDGET: Duration = Duration::from_secs(2);

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
        let began = self.clock.now();
        for part in [&scale.target.namespace, &scale.target.name] {
            if !is_plain(part) {
                let message = format!("`{part}` cannot be part of an API path");
                return Ending::Refused { code: 400, message };
            }
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
            if has_failed.load(Relaxed) || self.is_late(began) {
                return Fate::Left;
            }
            let fate = self.make(scale, &template, number, licence).await;
            if matches!(fate, Fate::Not(_)) {
                has_failed.store(true, Relaxed);
            }
            fate
        };
        // A future for each, begun in this order, some at a time.
        let work: Vec<_> = (jobs.first..last).map(one).collect();
        sum(scale, stream::iter(work).buffered(AT_ONCE).collect().await)
    }

    fn is_late(&self, began: Timestamp) -> bool {
        Duration::try_from(self.clock.now().duration_since(began))
            .is_ok_and(|passed| BUDGET <= passed)
    }

    /// The CronJob's `jobTemplate` as it stands now, fields of later versions included.
    async fn template(&self, scale: &Scale) -> Result<Value, Ending> {
        let (namespace, name) = (&scale.target.namespace, &scale.target.name);
        let path = format!("/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}");
        let request = request(Method::GET, &path, None);
        let cron_job: Value = match self.client.request(request).await {
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
        let request = request(Method::POST, &path, Some(&job(scale, template, number)));
        if let Err(none) = licence.check() {
            return Fate::Not(Ending::NotSent { message: none.to_string() });
        }
        match self.client.request::<Answered>(request).await {
            Ok(made) => Fate::Made(made.metadata.resource_version.parse().unwrap_or(0)),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                Fate::Not(self.met(scale, number, &status).await)
            }
            Err(kube::Error::Api(status)) => Fate::Not(ending_of(&status)),
            Err(error) => Fate::Not(Ending::Unknown { message: cut(&text(&error)) }),
        }
    }

    /// A Job of this name is there. If it was made here, what was decided on is outdated; else someone must move it out of the way.
    async fn met(&self, scale: &Scale, number: u64, status: &Status) -> Ending {
        let (namespace, name) = (&scale.target.namespace, name_of(scale, number));
        let path = format!(
            "/apis/batch/v1/namespaces/{namespace}/jobs?fieldSelector=metadata.name%3D{name}"
        );
        match self.client.request::<List>(request(Method::GET, &path, None)).await {
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
        let work: Vec<_> = remove.iter().map(|job| self.remove(scale, job, licence)).collect();
        let endings: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let done = || Ending::Done { resource_version: Arc::clone(&scale.resource_version) };
        endings.into_iter().flatten().next().unwrap_or_else(done)
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
        let request = request(Method::DELETE, &path, Some(&body));
        if let Err(none) = licence.check() {
            return Some(Ending::NotSent { message: none.to_string() });
        }
        match self.client.request::<Value>(request).await {
            Ok(_) => None,
            // Gone already, or another of its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
            Err(kube::Error::Api(status)) => Some(ending_of(&status)),
            Err(error) => Some(Ending::NotSent { message: cut(&text(&error)) }),
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

pub(super) fn request(method: Method, path: &str, body: Option<&Value>) -> Request<Vec<u8>> {
    let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let mut request = Request::new(bytes);
    *request.method_mut() = method;
    // Every part of the path was looked at before.
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
    if body.is_some() {
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
    }
    request
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
