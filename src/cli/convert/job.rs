//! A `ScaledJob` as a pipeline of one stage that runs Jobs, and the suspended `CronJob` that holds their template.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::given::{Surroundings, namespace, text};
use super::keda::{ScaledJob, ScalingStrategy};
use super::report::Notes;
use super::stage::{self, Ground, Owner, Wishes, is_of_pods};
use crate::crd::pipeline::{ScaledPipelineSpec, Stage};
use crate::crd::wish::Combine;
use crate::crd::workload::{Jobs, TemplateRef};

/// The longest name that a `CronJob` may have.
const LONGEST: usize = 52;
/// Of finished Jobs KEDA keeps as many of each kind.
const KEPT: u32 = 100;

/// Converts it: the `CronJob`, then the pipeline. Nothing where nothing of it could be.
pub(super) fn convert(
    ground: &mut Ground<'_>,
    title: String,
    document: &Value,
) -> Option<[Value; 2]> {
    let mut notes = ground.report.of(title);
    let notes = &mut notes;
    let spec = document.get("spec").cloned().unwrap_or_default();
    let read: ScaledJob = match serde_json::from_value(spec) {
        Ok(read) => read,
        Err(error) => {
            notes.not_supported("spec", format!("cannot be read: {error}"));
            return None;
        }
    };
    let name = text(document, "/metadata/name");
    let cron_job = cron_job(notes, document, &read)?;
    let bounds = stage::bounds(notes, &read.common);
    if bounds.min.is_some_and(|min| 0 < min) {
        notes.changes(
            "spec.minReplicaCount",
            "runs beside what the queue asks for; here min is the least in all",
        );
    }
    let workload = format!("ScaledJob {}/{name}", namespace(document));
    let around = Surroundings {
        namespace: namespace(document),
        pod: read.job_target_ref.pointer("/template/spec"),
        container: read.env_source_container_name.as_deref(),
        title: &workload,
    };
    if read.env_source_container_name.is_some() {
        notes.same("spec.envSourceContainerName", "says whose environment was looked into");
    }
    let owner = Owner {
        document,
        around,
        common: &read.common,
        max: bounds.max,
        in_formula: BTreeSet::new(),
    };
    let mut wishes = stage::triggers(ground.world, ground.connections, notes, owner);
    wishes.sources.retain(|source| {
        let is_kept = !is_of_pods(source);
        if !is_kept {
            notes.not_supported(
                "spec.triggers",
                format!(
                    "{} says nothing of how many Jobs there should be: it is left out",
                    source.name
                ),
            );
        }
        is_kept
    });
    if wishes.sources.is_empty() && wishes.schedules.is_empty() {
        notes.not_supported("spec", "nothing is left to size it by: no ScaledPipeline is written");
        return None;
    }
    if wishes.sources.is_empty() {
        notes.changes(
            "spec.triggers",
            "are schedules only: a source that always says 0 (nothing) stands beside",
        );
        wishes.sources.push(stage::nothing());
    }
    rollout(notes, &read);
    let mut stage = Stage {
        name: stage::stage_name(name),
        jobs: Some(Jobs {
            template_ref: TemplateRef {
                kind: None,
                name: text(&cron_job, "/metadata/name").to_owned(),
            },
        }),
        replicas: bounds,
        combine: strategy(notes, read.scaling_strategy.as_ref(), &wishes),
        ..Stage::default()
    };
    forgets(notes, &wishes);
    stage::unknown(notes, "spec", &read.common.rest);
    let objective = stage::promised(&wishes, &mut stage);
    stage.sources = wishes.sources;
    stage.schedules = wishes.schedules;
    let poll_interval = stage::poll_interval(notes, &read.common, false);
    let spec =
        ScaledPipelineSpec { objective, poll_interval, stages: vec![stage], ..Default::default() };
    Some([cron_job, stage::pipeline(notes, document, spec)?])
}

/// The template, in a `CronJob` whose own schedule never comes.
fn cron_job(notes: &mut Notes<'_>, document: &Value, read: &ScaledJob) -> Option<Value> {
    let mut job = read.job_target_ref.clone();
    let Some(pod) = job.pointer_mut("/template/spec").and_then(Value::as_object_mut) else {
        notes.not_supported("spec", "jobTargetRef has no template.spec");
        return None;
    };
    if !pod.contains_key("restartPolicy") {
        pod.insert("restartPolicy".to_owned(), json!("OnFailure"));
    }
    let full = text(document, "/metadata/name");
    let name = full.get(..LONGEST).unwrap_or(full).trim_end_matches(['-', '.']);
    if name != full {
        notes.changes(
            "metadata.name",
            format!("is longer than the {LONGEST} letters of a CronJob, which is called {name}"),
        );
    }
    let mut metadata = json!({"name": name});
    let namespace = text(document, "/metadata/namespace");
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    notes.same("spec.jobTargetRef", format!("is the jobTemplate of the suspended CronJob {name}"));
    for (field, written) in [
        ("successfulJobsHistoryLimit", read.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", read.failed_jobs_history_limit),
    ] {
        if written.is_some() {
            notes.same(format!("spec.{field}"), "is in the CronJob");
        }
    }
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {
            "suspend": true,
            "schedule": "0 0 1 1 *",
            "successfulJobsHistoryLimit": read.successful_jobs_history_limit.unwrap_or(KEPT),
            "failedJobsHistoryLimit": read.failed_jobs_history_limit.unwrap_or(KEPT),
            "jobTemplate": {"spec": job},
        },
    }))
}

fn rollout(notes: &mut Notes<'_>, read: &ScaledJob) {
    let rollout = read.rollout.as_ref();
    let new = rollout.and_then(|rollout| rollout.strategy.as_deref());
    let (path, strategy) = match new {
        Some(new) => ("spec.rollout.strategy", new),
        None => ("spec.rolloutStrategy", read.rollout_strategy.as_deref().unwrap_or("default")),
    };
    if strategy == "gradual" {
        notes.same(path, "is how it is here: a change ends no Job");
    } else {
        notes
            .changes(path, "ends running Jobs when the ScaledJob changes; here a change ends none");
    }
    for field in rollout.iter().flat_map(|rollout| rollout.rest.keys()) {
        notes.changes(format!("spec.rollout.{field}"), "is left out: a change ends no Job");
    }
}

/// How many Jobs are made, and how several triggers become one wish.
fn strategy(
    notes: &mut Notes<'_>,
    written: Option<&ScalingStrategy>,
    wishes: &Wishes,
) -> Option<Combine> {
    let written = written?;
    let at = "spec.scalingStrategy";
    let path = format!("{at}.strategy");
    match written.strategy.as_deref() {
        None => {}
        Some("default" | "eager") => notes.same(path, "is how it is here: what is wished, less what runs"),
        Some("accurate") => notes.changes(
            path,
            "is for queues that forget an item when it is taken; here what runs is taken off what waits: count what is taken, too (docs/jobs.md)",
        ),
        Some(other) => notes.not_supported(path, format!("is {other}: what is made is what is wished, less what runs")),
    }
    for field in written.rest.keys() {
        notes.not_supported(
            format!("{at}.{field}"),
            "is left out: a Job that is made counts as running until it ends",
        );
    }
    let path = format!("{at}.multipleScalersCalculation");
    let names: Vec<&str> = wishes.sources.iter().map(|source| source.name.as_str()).collect();
    let list = names.join(", ");
    let expression = match written.multiple_scalers_calculation.as_deref()? {
        "sum" => format!("[{list}].sum()"),
        "min" => format!("[{list}].min()"),
        "avg" => format!("[{list}].sum() / {}.0", names.len()),
        "max" => {
            notes.same(path, "is how it is here");
            return None;
        }
        other => {
            notes.not_supported(path, format!("is {other}, which nobody here knows"));
            return None;
        }
    };
    notes.same(path, format!("is combine: {expression}"));
    (1 < names.len()).then_some(Combine { expression })
}

/// A list forgets an item when it is taken.
fn forgets(notes: &mut Notes<'_>, wishes: &Wishes) {
    let is_list = |it: &&crate::crd::source::Source| {
        it.kind.redis.as_ref().is_some_and(|redis| redis.list.is_some())
    };
    for source in wishes.sources.iter().filter(is_list) {
        notes.changes(
            "spec.triggers",
            format!("{} is a list, which forgets an item when it is taken, so too few Jobs are made rather than too many: docs/jobs.md tells how to count it", source.name),
        );
    }
}
