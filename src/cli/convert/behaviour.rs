//! What the HPA does by itself, written out; and what is done while a trigger fails.

use std::time::Duration;

use serde_json::Value;

use super::keda::{Fallback as Written, HpaConfig};
use super::report::Notes;
use crate::crd::behaviour::{
    Behavior, Fallback, FallbackPolicy, Policy, PolicyType, Rules, SelectPolicy,
};
use crate::crd::quantity::Quantity;

/// How often the HPA looks, and so how often a failing trigger is asked.
pub(super) const HPA_LOOKS: u64 = 15;
const CONFIG: &str = "spec.advanced.horizontalPodAutoscalerConfig";

/// The behaviour of the HPA that KEDA makes, with all that it leaves unsaid.
pub(super) fn behaviour(notes: &mut Notes<'_>, config: Option<&HpaConfig>) -> Behavior {
    if config.is_some_and(|config| config.name.is_some()) {
        notes.same(format!("{CONFIG}.name"), "has no use: no HPA is made");
    }
    for field in config.iter().flat_map(|config| config.rest.keys()) {
        notes.not_supported(
            format!("{CONFIG}.{field}"),
            "is left out: nobody here knows this field",
        );
    }
    let written = config.and_then(|config| config.behavior.as_ref());
    let read = written.map_or_else(Behavior::default, |written| read(notes, written));
    Behavior {
        scale_up: Some(filled(read.scale_up, usual_up())),
        scale_down: Some(filled(read.scale_down, usual_down())),
    }
}

fn read(notes: &mut Notes<'_>, written: &Value) -> Behavior {
    let path = format!("{CONFIG}.behavior");
    match serde_json::from_value::<Behavior>(written.clone()) {
        Ok(read) => {
            for (field, rules) in [("scaleUp", &read.scale_up), ("scaleDown", &read.scale_down)] {
                if rules.as_ref().and_then(|it| it.select_policy) == Some(SelectPolicy::Disabled) {
                    notes.changes(
                        format!("{path}.{field}.selectPolicy"),
                        "stops the HPA, and KEDA still goes from and to 0; here nothing moves in this direction",
                    );
                }
            }
            for unknown in unknown(written, &serde_json::to_value(&read).unwrap_or_default()) {
                notes.not_supported(
                    format!("{path}.{unknown}"),
                    "is left out: nobody here knows this field",
                );
            }
            notes.same(path, "is behavior, with the HPA's defaults written out");
            read
        }
        Err(error) => {
            notes.not_supported(
                path,
                format!("cannot be read ({error}): the HPA's defaults are written"),
            );
            Behavior::default()
        }
    }
}

/// Fields of what was written that were not read.
fn unknown(written: &Value, read: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (Some(written), Some(read)) = (written.as_object(), read.as_object()) else { return found };
    for (field, value) in written {
        match read.get(field) {
            Some(read) => {
                found.extend(unknown(value, read).into_iter().map(|it| format!("{field}.{it}")));
            }
            None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => {}
            None => found.push(field.clone()),
        }
    }
    found
}

fn filled(written: Option<Rules>, usual: Rules) -> Rules {
    let Some(written) = written else { return usual };
    let policies = if written.policies.is_empty() { usual.policies } else { written.policies };
    Rules {
        stabilization_window_seconds: written
            .stabilization_window_seconds
            .or(usual.stabilization_window_seconds),
        select_policy: written.select_policy.or(usual.select_policy),
        policies,
        tolerance: written.tolerance.or(usual.tolerance),
    }
}

fn usual_up() -> Rules {
    let policy = |unit, value| Policy { unit, value, period_seconds: 15 };
    Rules {
        stabilization_window_seconds: Some(0),
        select_policy: Some(SelectPolicy::Max),
        policies: vec![policy(PolicyType::Pods, 4), policy(PolicyType::Percent, 100)],
        tolerance: Some(Quantity::Text("0.1".to_owned())),
    }
}

fn usual_down() -> Rules {
    Rules {
        stabilization_window_seconds: Some(300),
        select_policy: Some(SelectPolicy::Max),
        policies: vec![Policy { unit: PolicyType::Percent, value: 100, period_seconds: 15 }],
        tolerance: Some(Quantity::Text("0.1".to_owned())),
    }
}

/// What a stage is given while its triggers fail.
pub(super) fn fallback(notes: &mut Notes<'_>, written: &Written) -> Fallback {
    for field in written.rest.keys() {
        notes.not_supported(
            format!("spec.fallback.{field}"),
            "is left out: nobody here knows this field",
        );
    }
    let policy = match written.behavior.as_deref() {
        None | Some("static") => FallbackPolicy::Static,
        Some("currentReplicas") => FallbackPolicy::Hold,
        Some("currentReplicasIfHigher") => FallbackPolicy::AtLeast,
        Some("currentReplicasIfLower") => FallbackPolicy::AtMost,
        Some(other) => {
            notes.not_supported(
                "spec.fallback.behavior",
                format!("{other} has no counterpart: Static is written, for when nothing answers"),
            );
            FallbackPolicy::Static
        }
    };
    let failures = written.failure_threshold.unwrap_or(3);
    let after = Duration::from_secs((failures * HPA_LOOKS).clamp(1, 86_400));
    notes.changes(
        "spec.fallback.failureThreshold",
        format!("counts failures of each trigger; here it is time without an answer, by which the HPA asks {failures} times ({HPA_LOOKS} s apart), and the count holds for the stage"),
    );
    notes.same("spec.fallback", "is fallback");
    let is_hold = policy == FallbackPolicy::Hold;
    Fallback {
        after: Some(after.into()),
        policy: Some(policy),
        replicas: if is_hold { None } else { Some(written.replicas.unwrap_or(0)) },
    }
}
