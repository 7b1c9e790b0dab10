//! A `ScaledObject` as a pipeline of one stage.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::behaviour::{behaviour, fallback};
use super::formula;
use super::given::{Surroundings, namespace};
use super::keda::{Advanced, ScaleTarget, ScaledObject, ScalingModifiers, plain};
use super::report::Notes;
use super::stage::{self, Ground, Owner, Wishes, is_of_pods};
use crate::crd::behaviour::Idle;
use crate::crd::pipeline::{Replicas, ScaledPipelineSpec, Stage};
use crate::crd::quantity::Quantity;
use crate::crd::source::Kinds;
use crate::crd::wish::Combine;
use crate::crd::workload::Target;

const MODIFIERS: &str = "spec.advanced.scalingModifiers";

/// Converts it; `None` where nothing of it could be.
pub(super) fn convert(ground: &mut Ground<'_>, title: String, document: &Value) -> Option<Value> {
    let mut notes = ground.report.of(title);
    let notes = &mut notes;
    let spec = document.get("spec").cloned().unwrap_or_default();
    let read: ScaledObject = match serde_json::from_value(spec) {
        Ok(read) => read,
        Err(error) => {
            notes.not_supported("spec", format!("cannot be read: {error}"));
            return None;
        }
    };
    let target = target(notes, &read.scale_target_ref)?;
    let bounds = stage::bounds(notes, &read.common);
    let names = stage::names(&read.common.triggers);
    let advanced = read.advanced.as_ref();
    let said = advanced.and_then(|advanced| advanced.scaling_modifiers.as_ref());
    let combine = said.and_then(|said| combined(notes, said, (&read, &names)));
    let pods = ground.world.pod(namespace(document), target.kind(), &target.name);
    let workload = format!("{} {}/{}", target.kind(), namespace(document), target.name);
    let around = Surroundings {
        namespace: namespace(document),
        pod: pods,
        container: read.scale_target_ref.env_source_container_name.as_deref(),
        title: &workload,
    };
    let in_formula = combine.as_ref().map(|it| it.triggers.clone()).unwrap_or_default();
    let owner = Owner { document, around, common: &read.common, max: bounds.max, in_formula };
    let mut wishes = stage::triggers(ground.world, ground.connections, notes, owner);
    if let Some(combine) = &combine {
        keep_named(notes, combine, &mut wishes)?;
    }
    if wishes.sources.is_empty() && wishes.schedules.is_empty() {
        notes.not_supported("spec", "nothing is left to size it by: no ScaledPipeline is written");
        return None;
    }
    let mut stage = Stage {
        name: stage::stage_name(&target.name),
        target: Some(target),
        replicas: awake(notes, bounds, &wishes),
        combine: combine.map(|it| Combine { expression: it.expression }),
        behavior: Some(behaviour(
            notes,
            advanced.and_then(|it| it.horizontal_pod_autoscaler_config.as_ref()),
        )),
        fallback: read.fallback.as_ref().map(|written| fallback(notes, written)),
        ..Stage::default()
    };
    stage.idle = idle(notes, &read, &stage.replicas);
    advanced_rest(notes, advanced);
    stage::unknown(notes, "spec", &read.common.rest);
    if wishes.sources.is_empty() {
        notes.changes(
            "spec.triggers",
            "are schedules only: a source that always says 0 (nothing) stands beside, so that the count goes back when they end",
        );
        wishes.sources.push(stage::nothing());
    }
    let objective = stage::promised(&wishes, &mut stage);
    stage.sources = wishes.sources;
    stage.schedules = wishes.schedules;
    let poll_interval = stage::poll_interval(notes, &read.common, true);
    let spec =
        ScaledPipelineSpec { objective, poll_interval, stages: vec![stage], ..Default::default() };
    stage::pipeline(notes, document, spec)
}

fn target(notes: &mut Notes<'_>, written: &ScaleTarget) -> Option<Target> {
    stage::unknown(notes, "spec.scaleTargetRef", &written.rest);
    if written.name.is_empty() {
        notes.not_supported("spec", "scaleTargetRef.name is not set");
        return None;
    }
    if written.env_source_container_name.is_some() {
        notes.same(
            "spec.scaleTargetRef.envSourceContainerName",
            "says whose environment was looked into",
        );
    }
    notes.same("spec.scaleTargetRef", "is target");
    let some = |written: &Option<String>, usual: &str| {
        let written = written.clone().filter(|it| !it.is_empty());
        Some(written.unwrap_or_else(|| usual.to_owned()))
    };
    Some(Target {
        api_version: some(&written.api_version, "apps/v1"),
        kind: some(&written.kind, "Deployment"),
        name: written.name.clone(),
        part: None,
    })
}

/// Nobody wakes a stage by what its own pods use, so KEDA's HPA keeps one.
fn awake(notes: &mut Notes<'_>, bounds: Replicas, wishes: &Wishes) -> Replicas {
    let is_of_pods = !wishes.sources.is_empty() && wishes.sources.iter().all(is_of_pods);
    if bounds.min != Some(0) || !is_of_pods {
        return bounds;
    }
    notes.changes(
        "spec.minReplicaCount",
        "is 0, and cpu and memory wake nobody: min is 1, as the HPA has it",
    );
    Replicas { min: Some(1), ..bounds }
}

fn idle(notes: &mut Notes<'_>, read: &ScaledObject, bounds: &Replicas) -> Option<Idle> {
    if let Some(period) = read.initial_cooldown_period {
        let path = "spec.initialCooldownPeriod";
        if period == 0 {
            notes.same(path, "is how it is here");
        } else {
            notes.changes(path, "is left out: a stage sleeps only when it was seen quiet for idle.after, also when it is new");
        }
    }
    let (cooldown, idle) = ("spec.cooldownPeriod", "spec.idleReplicaCount");
    if read.idle_replica_count.is_some() {
        notes.same(idle, "is idle.replicas");
    }
    if read.idle_replica_count.is_none() && bounds.min != Some(0) {
        if read.cooldown_period.is_some() {
            notes.same(cooldown, "has no use: the stage never sleeps");
        }
        return None;
    }
    let period = read.cooldown_period.unwrap_or(300);
    if period > 86_400 {
        notes.changes(cooldown, "is longer than a day, which is the longest here");
    } else if read.cooldown_period.is_some() {
        notes.same(cooldown, "is idle.after");
    }
    Some(Idle {
        replicas: Some(read.idle_replica_count.unwrap_or(0)),
        after: Some(stage::seconds(period.min(86_400))),
    })
}

fn advanced_rest(notes: &mut Notes<'_>, advanced: Option<&Advanced>) {
    let Some(advanced) = advanced else { return };
    let path = "spec.advanced.restoreToOriginalReplicaCount";
    match advanced.restore_to_original_replica_count {
        Some(true) => notes.not_supported(
            path,
            "is left out: a workload keeps its count when its pipeline is deleted",
        ),
        Some(false) => notes.same(path, "is how it is here"),
        None => {}
    }
    stage::unknown(notes, "spec.advanced", &advanced.rest);
}

/// A formula that has been said in CEL.
struct Combined {
    expression: String,
    /// The triggers that it names.
    triggers: BTreeSet<String>,
    /// Their sources.
    named: BTreeSet<String>,
}

/// The formula as `combine`, where it can be said; else the usual rule, which the report tells.
fn combined(
    notes: &mut Notes<'_>,
    said: &ScalingModifiers,
    (read, names): (&ScaledObject, &[String]),
) -> Option<Combined> {
    stage::unknown(notes, MODIFIERS, &said.rest);
    let formula = said.formula.as_deref()?;
    let path = format!("{MODIFIERS}.formula");
    let used: BTreeSet<String> = formula::names(formula).into_iter().collect();
    let mut sources = BTreeMap::new();
    let mut beside = Vec::new();
    for (trigger, name) in read.common.triggers.iter().zip(names) {
        match (trigger.scaler.as_str(), &trigger.name) {
            ("cpu" | "memory", _) => beside.push(name.clone()),
            (_, Some(called)) if used.contains(called) => {
                sources.insert(called.clone(), name.clone());
            }
            _ => {}
        }
    }
    let target = said.target.as_ref().map(plain);
    let target = target.map_or(Some(1.0), |target| target.parse().ok());
    let target = target.filter(|target: &f64| target.is_finite() && 0.0 < *target);
    let written = match (said.metric_type.as_deref(), target) {
        (Some("Value"), _) => Err("metricType Value has no counterpart".to_owned()),
        (_, None) => Err("target is no number above 0".to_owned()),
        (_, Some(target)) => formula::expression(formula, target, &sources, &beside),
    };
    match written {
        Err(why) => {
            notes.not_supported(path, format!("{why}: each trigger wishes by its own threshold, and the largest wish wins until you write combine"));
            modifiers(notes, said, "is left out with the formula");
            None
        }
        Ok(expression) => {
            notes.same(path, format!("is combine: {expression}"));
            let activation = said.activation_target.as_ref().map(plain);
            if activation.is_some_and(|it| it != "0") {
                notes.changes(
                    format!("{MODIFIERS}.activationTarget"),
                    "is left out: a stage wakes when one of its sources is above its own activation",
                );
            }
            modifiers(notes, said, "is in combine");
            let kept = sources.values().cloned().collect();
            Some(Combined { expression, triggers: sources.into_keys().collect(), named: kept })
        }
    }
}

fn modifiers(notes: &mut Notes<'_>, said: &ScalingModifiers, what: &str) {
    let fields = [
        ("target", said.target.is_some()),
        ("metricType", said.metric_type.is_some()),
        ("activationTarget", said.activation_target.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        let path = format!("{MODIFIERS}.{field}");
        if !notes.has(&path) {
            notes.same(path, what);
        }
    }
}

/// Only what the formula names has a say, beside what pods use. Nothing without all of it.
fn keep_named(notes: &mut Notes<'_>, combine: &Combined, wishes: &mut Wishes) -> Option<()> {
    let has = |name: &String| wishes.sources.iter().any(|source| source.name == *name);
    if let Some(missing) = combine.named.iter().find(|name| !has(name)) {
        notes.not_supported(
            "spec",
            format!("the formula wants {missing}, which has become no source: no ScaledPipeline is written"),
        );
        return None;
    }
    wishes.sources.retain(|source| {
        let is_kept = combine.named.contains(&source.name) || is_of_pods(source);
        if !is_kept {
            notes.changes(
                "spec.triggers",
                format!(
                    "{} is no part of the formula, and so has no say: it is left out, as KEDA does",
                    source.name
                ),
            );
        }
        is_kept
    });
    for schedule in std::mem::take(&mut wishes.schedules) {
        notes.changes(
            "spec.triggers",
            format!(
                "{} is no part of the formula, and so has no say: it is left out, as KEDA does",
                schedule.name
            ),
        );
    }
    for source in wishes.sources.iter_mut().filter(|it| combine.named.contains(&it.name)) {
        by_value(&mut source.kind);
    }
    Some(())
}

/// In a formula a source counts as what it reads.
fn by_value(kind: &mut Kinds) {
    if let Some(external) = &mut kind.external {
        external.per_replica = Some(Quantity::Whole(1));
    }
}
