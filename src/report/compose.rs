//! The status that a picture comes to, field by field as the contract has it. Called by the status teller.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Map, Value, json};

use super::Picture;
use super::conditions::{Claim, cut};
use super::gist::learned_rate;
use crate::crd::PipelineStatus;
use crate::crd::duration;
use crate::crd::status::{
    HeadroomStatus, HeldStatus, LearnedStatus, ReasonStatus, ReplicasStatus, StageStatus,
};
use crate::decide::{Reserves, Stage};

/// A merge patch keeps what it does not name, so what is no longer so is named with null.
pub(super) fn whole(status: &PipelineStatus) -> Result<Value, serde_json::Error> {
    let mut patch = Map::new();
    for field in ["bottleneck", "delay"] {
        patch.insert(field.to_owned(), Value::Null);
    }
    if let Value::Object(fields) = serde_json::to_value(status)? {
        patch.extend(fields);
    }
    for field in ["conditions", "stages"] {
        patch.entry(field).or_insert_with(|| json!([]));
    }
    Ok(Value::Object(patch))
}

/// The status that a picture comes to. Transition times go on from what stands written, and so does all of a pipeline that cannot be read.
pub(super) fn compose(
    picture: &Picture,
    claims: &[Claim],
    known: &PipelineStatus,
) -> PipelineStatus {
    let glance = &picture.glance;
    let conditions: Vec<Condition> = claims
        .iter()
        .map(|claim| condition(claim, picture.at, glance.generation, &known.conditions))
        .collect();
    let observed_at = Some(whole_second(picture.at));
    let observed_generation = Some(glance.generation);
    if picture.situation.is_none() {
        // Nothing was decided. What was learned of the stages, and what stands for their room, is read back from here.
        return PipelineStatus {
            observed_generation,
            observed_at,
            bottleneck: None,
            delay: None,
            conditions,
            ..known.clone()
        };
    }
    let stages: Vec<StageStatus> =
        (0..picture.verdicts.len()).filter_map(|index| stage(picture, index, known)).collect();
    let worst = picture
        .verdicts
        .iter()
        .filter_map(|verdict| {
            let (delay, objective) = (verdict.signals.delay?, verdict.signals.objective?);
            Some((delay / objective, delay, &verdict.stage.name))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let replicas = (!picture.verdicts.is_empty()).then(|| ReplicasStatus {
        desired: picture.verdicts.iter().filter_map(|verdict| verdict.replicas).sum(),
        ready: stages.iter().filter_map(|stage| stage.ready).sum(),
    });
    PipelineStatus {
        observed_generation,
        observed_at,
        stage_count: u32::try_from(stages.len()).ok(),
        bottleneck: worst.map(|(_, _, name)| name.to_string()),
        delay: worst.map(|(_, delay, _)| span(delay)),
        replicas,
        conditions,
        stages,
    }
}

/// A claim as a condition. It goes on since when the `known` one of its type was written, if it says the same.
pub(super) fn condition(
    claim: &Claim,
    at: Timestamp,
    generation: i64,
    known: &[Condition],
) -> Condition {
    let before = known.iter().find(|before| before.type_ == claim.kind);
    let since = before
        .filter(|before| before.status == claim.truth.word())
        .map_or_else(|| Time(whole_second(at)), |before| before.last_transition_time.clone());
    Condition {
        type_: claim.kind.to_owned(),
        status: claim.truth.word().to_owned(),
        reason: claim.reason.to_string(),
        message: claim.message.to_string(),
        last_transition_time: since,
        observed_generation: Some(generation),
    }
}

fn stage(picture: &Picture, index: usize, known: &PipelineStatus) -> Option<StageStatus> {
    let verdict = picture.verdicts.get(index)?;
    let workload = picture.workload(index);
    let signals = &verdict.signals;
    let meant = picture.situation.as_ref()?.pipeline.stages.get(index)?;
    let startup = signals.startup.filter(|_| meant.startup_hint.is_none());
    let learned = LearnedStatus {
        rate_per_replica: learned_rate(picture, index).map(three_figures),
        former_rate_per_replica: signals.former_rate.filter(|it| it.is_finite()).map(three_figures),
        startup: startup.map(span),
        rebalance: signals.rebalance.map(span),
    };
    Some(StageStatus {
        name: verdict.stage.name.to_string(),
        desired: verdict.replicas,
        current: workload.map(|workload| workload.current),
        ready: workload.map(|workload| workload.ready),
        lag: signals.lag.and_then(|lag| i64::try_from(lag).ok()),
        delay: signals.delay.map(span),
        objective: signals.objective.map(span),
        reason: verdict.reason().map(|reason| ReasonStatus {
            code: reason.code().to_owned(),
            message: cut(reason.to_string()),
        }),
        held: verdict.held.map(|(replicas, since)| HeldStatus { replicas, since }),
        headroom: match headroom(picture, index) {
            Told::Now(room) => room,
            Told::AsBefore => {
                let before = known.stages.iter().find(|it| *it.name == *verdict.stage.name);
                before.and_then(|stage| stage.headroom.clone())
            }
            Told::Owed => known.stages.iter().find_map(|stage| stage.headroom.as_ref()).map(|_| {
                HeadroomStatus { message: Some(OWED.to_owned()), ..HeadroomStatus::default() }
            }),
        },
        learned: (learned != LearnedStatus::default()).then_some(learned),
    })
}

/// What a status has to say of room on nodes.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Now(Option<HeadroomStatus>),
    /// Nobody has looked yet.
    AsBefore,
    /// None is kept any more. Whether any is left nobody may see: as long as that is so, what was told once stays told, so that whoever starts
    /// next looks for it.
    Owed,
}

const OWED: &str = "none is kept any more; what stood for it could not be looked for yet";

/// Room that is kept for a stage, in all its lanes.
pub(super) fn headroom(picture: &Picture, index: usize) -> Told {
    let rooms = picture.verdicts.get(index).map_or(&[][..], |verdict| &verdict.rooms);
    let Some(situation) = &picture.situation else { return Told::AsBefore };
    let keeps = |stage: &Stage| stage.headroom.is_some();
    if rooms.is_empty() {
        let stages = &situation.pipeline.stages;
        return match &situation.reserves {
            _ if stages.get(index).is_some_and(keeps) => Told::AsBefore,
            // Any stage will do, so that it is written somewhere.
            Reserves::Seen(left) if index == 0 && !left.is_empty() && !stages.iter().any(keeps) => {
                let message = "none is kept any more; what stood for it is taken away".to_owned();
                Told::Now(Some(HeadroomStatus { message: Some(message), ..Default::default() }))
            }
            Reserves::Unseen | Reserves::Forbidden if index == 0 => Told::Owed,
            Reserves::Seen(_) | Reserves::Unseen | Reserves::Forbidden => Told::Now(None),
        };
    }
    let kept = || rooms.iter().filter(|room| room.replicas != 0);
    let said: Vec<_> = kept().map(ToString::to_string).collect();
    Told::Now(Some(HeadroomStatus {
        replicas: kept().map(|room| room.replicas).sum(),
        placed: kept().map(|room| room.placed).sum(),
        message: (!said.is_empty()).then(|| cut(said.join("; "))),
    }))
}

/// Kubernetes keeps whole seconds.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Seconds as people write them; from 10 s on without a fraction.
fn span(seconds: f64) -> String {
    let rounded = if seconds < 10.0 { (seconds * 10.0).round() / 10.0 } else { seconds.round() };
    let duration = Duration::try_from_secs_f64(rounded.max(0.0)).unwrap_or(Duration::ZERO);
    duration::Duration::from(duration).0
}

/// What a reader needs of a rate.
fn three_figures(rate: f64) -> f64 {
    let text = format!("{rate:.2e}");
    text.parse().unwrap_or(rate)
}
