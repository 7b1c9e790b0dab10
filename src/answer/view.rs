//! A pipeline as the API and `penstock explain` show it: every number and every reason of its latest turn, in words and in code.
//! Made from report's picture; the names of the fields are the contract of `/api/v1`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lanes::{lanes, rooms};
use super::page::Currency;
use super::partitions;
use crate::decide::{Mode, Observation, Reason, Source, Stage as Meant, Target, TargetId, Verdict};
use crate::report::{self, Picture};

pub use super::counts::{Count, Outlook, Sum};
pub use super::inforce::{Fallback, InForce};
pub use super::lanes::{Lane, Room};

/// All pipelines of a replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pipelines {
    /// When this was answered.
    pub at: Timestamp,
    /// By namespace and name.
    pub pipelines: Vec<Pipeline>,
}

/// One pipeline at its latest turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pipeline {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Generation of the spec that was decided on.
    pub generation: i64,
    /// When the turn was; `None` when this was read from a status without a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How old the turn was when this was answered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Did the replica that answers hold the lease at that turn?
    pub leads: bool,
    /// The stage worst against its objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// Age of the oldest item of that stage, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// What is wrong with what was written; when there is something, nothing is decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Conditions that are not as they should be; only where this was read from a status, since a daemon tells what they are made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Trouble>,
    /// What all prices are in; left out where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// In flow order.
    pub stages: Vec<Stage>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The field, as the API server spells it.
    pub path: String,
    /// CamelCase word.
    pub code: String,
    /// The rule, in words.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A condition that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Its type: `Ready`, `Fallback`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// CamelCase word.
    pub reason: String,
    /// What it says.
    pub message: String,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its workload, for example `Deployment enrich`.
    pub target: String,
    /// `Enforce` or `Observe`.
    pub mode: String,
    /// Stages that feed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Replicas.
    pub replicas: Replicas,
    /// How they are shared out over lanes; empty where there is one workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// Room that is kept on nodes for replicas to come: for the stage, or for each of its lanes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Room>,
    /// Items waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Age of the oldest of them, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// True when the oldest is older than Penstock has watched.
    #[serde(default)]
    pub is_delay_at_least: bool,
    /// Age that it may reach, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective_seconds: Option<f64>,
    /// True when nobody wrote that: 60 s from end to end, or what of it is its share.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_default_objective: bool,
    /// When a batch is to be done; in the past while it is overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_by: Option<Timestamp>,
    /// Items a second that arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_rate: Option<f64>,
    /// Items a second that will arrive when pods asked for now are at work, where a forecast has proved better than the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast_rate: Option<f64>,
    /// Items a second that one replica gets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_replica: Option<f64>,
    /// Seconds from a write to Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_seconds: Option<f64>,
    /// Seconds a group pauses when its members change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebalance_seconds: Option<f64>,
    /// Finest delay that can be seen, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution_seconds: Option<f64>,
    /// Partitions of its sources.
    #[serde(default)]
    pub partitions: u32,
    /// A down window that keeps more than is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Why it has the replicas it has: every phase that had a say, in order; the last one bound.
    pub reasons: Vec<Said>,
    /// What is odd, though it need not bind the count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Said>,
    /// What other counts would bring; only where one pipeline is asked for and an objective sizes the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
    /// What is in force where it need not be written; only where one pipeline is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// What its sources said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Sighting>,
}

/// Replicas of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicas {
    /// There should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u32>,
    /// There are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u32>,
    /// Are Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// Never fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Never more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// A down window that keeps more than is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// How many are kept.
    pub replicas: u32,
    /// Since when.
    pub since: Timestamp,
}

/// A reason, said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// CamelCase word.
    pub code: String,
    /// One sentence.
    pub sentence: String,
    /// What to change to get another answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a source said last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// Name of the source.
    pub name: String,
    /// `Fresh`, `Partial`, `Stale`, `Failed`, or `Awaited` before the first answer.
    pub state: String,
    /// When it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How old the reading was when this was answered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// What is wrong, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why its newest credentials are not in use, while it still answers to the former ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Seconds between two questions.
    #[serde(default)]
    pub poll_seconds: f64,
    /// A sleeping stage wakes above this many items.
    #[serde(default)]
    pub activation: f64,
}

/// Why the newest credentials of a source are not in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// CamelCase word, for example `AuthenticationFailed`.
    pub code: String,
    /// What the server said, and a hint how to mend it; never a secret.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

impl Pipeline {
    /// The view of a picture, answered at `now`.
    pub fn of(picture: &Picture, now: Timestamp) -> Self {
        let glance = &picture.glance;
        let stages: Vec<Stage> = picture
            .situation
            .iter()
            .flat_map(|situation| situation.pipeline.stages.iter().enumerate())
            .map(|(index, meant)| Stage::of(picture, index, meant, now))
            .collect();
        let mut view = Self {
            namespace: glance.id.namespace.to_string(),
            name: glance.id.name.to_string(),
            generation: glance.generation,
            at: Some(picture.at),
            age_seconds: Some(age(picture.at, now)),
            leads: picture.may_act,
            faults: glance.faults.iter().map(Fault::of).collect(),
            stages,
            ..Self::default()
        };
        if let Some((name, delay)) = view.worst() {
            (view.bottleneck, view.delay_seconds) = (Some(name), Some(delay));
        }
        view
    }

    /// The stage worst against its objective, and its delay in seconds.
    fn worst(&self) -> Option<(String, f64)> {
        let share = |stage: &Stage| Some(stage.delay_seconds? / stage.objective_seconds?);
        let stages = self.stages.iter().filter_map(|stage| Some((share(stage)?, stage)));
        let (_, stage) = stages.max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((stage.name.clone(), stage.delay_seconds?))
    }
}

impl Fault {
    fn of(fault: &report::Fault) -> Self {
        Self {
            path: fault.path.clone(),
            code: fault.code.label().to_owned(),
            message: fault.message.clone(),
            hint: fault.hint.clone(),
        }
    }
}

impl Stage {
    fn of(picture: &Picture, index: usize, meant: &Meant, now: Timestamp) -> Self {
        let verdict = picture.verdicts.get(index);
        let situation = picture.situation.as_ref();
        let all =
            situation.map(|situation| situation.pipeline.stages.as_slice()).unwrap_or_default();
        let after = meant.after.iter().filter_map(|of| Some(all.get(*of)?.name.to_string()));
        let signals = verdict.map(|verdict| verdict.signals).unwrap_or_default();
        let workload = match situation.and_then(|situation| situation.targets.get(index)) {
            Some(Target::Seen(workload)) => Some(workload),
            Some(Target::Unseen | Target::Unusable(_)) | None => None,
        };
        Self {
            name: meant.name.to_string(),
            target: target(&meant.target),
            mode: match meant.mode {
                Mode::Enforce => "Enforce",
                Mode::Observe => "Observe",
            }
            .to_owned(),
            after: after.collect(),
            replicas: Replicas {
                desired: verdict.and_then(|verdict| verdict.replicas),
                current: workload.map(|workload| workload.current),
                ready: workload.map(|workload| workload.ready),
                min: Some(meant.min),
                max: Some(meant.max),
            },
            lanes: lanes(picture, index, meant),
            rooms: rooms(verdict),
            lag: signals.lag,
            delay_seconds: signals.delay,
            is_delay_at_least: signals.is_delay_at_least,
            objective_seconds: signals.objective,
            is_default_objective: meant.is_default_objective,
            done_by: signals.done_by,
            arrival_rate: signals.arrival_rate,
            forecast_rate: signals.forecast_rate,
            rate_per_replica: signals.rate_per_replica,
            startup_seconds: signals.startup,
            rebalance_seconds: signals.rebalance,
            resolution_seconds: signals.resolution,
            partitions: signals.partitions,
            held: verdict.and_then(held),
            reasons: said(verdict.map(|verdict| &verdict.why), meant, picture),
            anomalies: said(verdict.map(|verdict| &verdict.anomalies), meant, picture),
            outlook: None,
            in_force: None,
            sources: meant.heard().map(|source| Sighting::of(source, picture, now)).collect(),
        }
    }
}

fn held(verdict: &Verdict) -> Option<Held> {
    verdict.held.map(|(replicas, since)| Held { replicas, since })
}

fn said(reasons: Option<&Vec<Reason>>, meant: &Meant, picture: &Picture) -> Vec<Said> {
    let reasons = reasons.map_or(&[][..], Vec::as_slice);
    let before = (0..).map(|index| reasons.get(..index).unwrap_or_default());
    let said = |(reason, before)| Said::of(reason, before, meant, picture);
    reasons.iter().zip(before).map(said).collect()
}

impl Said {
    fn of(reason: &Reason, before: &[Reason], meant: &Meant, picture: &Picture) -> Self {
        let hint = partitions::to_add(reason, before, meant, picture)
            .or_else(|| Some(reason.hint()?.into_owned()));
        Self { code: reason.code().to_owned(), sentence: reason.to_string(), hint }
    }
}

impl Sighting {
    fn of(source: &Source, picture: &Picture, now: Timestamp) -> Self {
        let heard = picture.heard(&source.question);
        let observation = heard.and_then(|heard| heard.observation.as_ref());
        let (state, message) = match observation {
            None => ("Awaited", None),
            Some(Observation::Fresh(_)) => ("Fresh", None),
            Some(Observation::Partial(_, lost)) => {
                let (some, all, error) = (lost.partitions, lost.of, &lost.error);
                ("Partial", Some(format!("{some} of {all} partitions did not answer: {error}")))
            }
            Some(Observation::Stale(_, missing)) => ("Stale", Some(missing.message.to_string())),
            Some(Observation::Failed(missing)) => ("Failed", Some(missing.message.to_string())),
        };
        let at = observation.and_then(|seen| Some(seen.reading()?.at));
        Self {
            name: source.name.to_string(),
            state: state.to_owned(),
            at,
            age_seconds: at.map(|at| age(at, now)),
            message,
            refusal: heard.and_then(|heard| heard.refusal.as_ref()).map(|why| Refusal {
                code: why.label.to_string(),
                message: why.message.to_string(),
                since: why.since,
            }),
            poll_seconds: source.poll_interval.as_secs_f64(),
            activation: source.activation,
        }
    }
}

fn age(at: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

/// A target as people say it, without its namespace.
pub(super) fn target(id: &TargetId) -> String {
    let part = id.part.as_ref().map_or_else(String::new, |part| format!(" ({part})"));
    format!("{} {}{part}", id.kind, id.name)
}
