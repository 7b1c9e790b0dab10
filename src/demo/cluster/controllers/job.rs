//! Jobs: pods until enough of them have succeeded, or more have failed than may. Called by the crew. A pod runs until whoever plays its
//! work says in its status that it has succeeded or failed.

use super::{
    JOBS, PODS, count, create, delete, is_going, owned, pods, reference, set_status, text,
};
use crate::demo::cluster::entry_of;
use crate::demo::cluster::http::Api;
use crate::demo::cluster::store::{Place, place_of};
use crate::demo::cluster::with_condition;
use crate::demo::cluster::write::{State, suffix};
use serde_json::{Value, json};

/// Brings a Job one step closer to its end and writes its status.
pub(super) fn job(api: &Api, state: &mut State, place: &Place) {
    let Some(job) = state.store.object(JOBS, place).cloned() else { return };
    let conditions = job.pointer("/status/conditions");
    let is_over = ["Complete", "Failed"].iter().any(|kind| entry_of(conditions, kind).is_some());
    if is_going(&job) || is_over {
        return;
    }
    let have = owned(state, text(&job, "/metadata/uid"), PODS);
    let ended = |phase: &str| have.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (succeeded, failed) = (number(ended("Succeeded")), number(ended("Failed")));
    let active: Vec<_> = have
        .iter()
        .filter(|pod| {
            !is_going(pod) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
        })
        .collect();
    let present = number(active.len());
    let parallelism = count(&job, "/spec/parallelism");
    // Without a number of completions, the first that succeeds says that there is no more to do.
    let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
    let is_complete = match completions {
        Some(completions) => completions <= succeeded,
        None => 0 < succeeded && present == 0,
    };
    let is_failed = count(&job, "/spec/backoffLimit") < failed;
    let is_suspended = job.pointer("/spec/suspend") == Some(&json!(true));
    let wanted = match completions {
        _ if is_complete || is_failed || is_suspended => 0,
        Some(completions) => parallelism.min(completions - succeeded),
        None if 0 < succeeded => present.min(parallelism),
        None => parallelism,
    };
    for _ in present..wanted {
        let pod = pod(&job, &suffix(&mut state.lots));
        create(api, state, PODS, &place.0, pod);
    }
    for pod in active.iter().skip(usize::try_from(wanted).unwrap_or_default()) {
        delete(api, state, PODS, &place_of(pod));
    }
    let now = api.now();
    let mut status = job.get("status").cloned().unwrap_or_else(|| json!({}));
    if status.get("startTime").is_none() && !is_suspended {
        status["startTime"] = json!(now);
    }
    let ready = number(active.iter().filter(|pod| pods::is_ready(pod)).count());
    for (key, value) in [
        ("active", wanted),
        ("ready", ready.min(wanted)),
        ("succeeded", succeeded),
        ("failed", failed),
    ] {
        status[key] = json!(value);
    }
    let condition = |kind, words| json!([with_condition(None, kind, true, words, &now)]);
    if is_complete {
        let words = ("CompletionsReached", "Reached expected number of succeeded pods");
        status["conditions"] = condition("Complete", words);
        status["completionTime"] = json!(now);
    } else if is_failed {
        let words = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        status["conditions"] = condition("Failed", words);
    }
    set_status(api, state, JOBS, place, status);
}

fn pod(job: &Value, suffix: &str) -> Value {
    let template = &job["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    let name = text(job, "/metadata/name");
    pod["metadata"]["name"] = json!(format!("{name}-{suffix}"));
    pod["metadata"]["generateName"] = json!(format!("{name}-"));
    pod["metadata"]["ownerReferences"] = reference(job);
    pod
}
