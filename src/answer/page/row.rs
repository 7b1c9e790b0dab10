//! A pipeline as one line of the page's table, with what needs a look about it. Says no time but those of its concerns, so that a line
//! changes only when something worth showing does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attention::{Concern, Severity, concerns};
use crate::answer::view;
use crate::report::Picture;

/// All pipelines, a line each: `GET /api/v1/overview`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// When this was answered.
    pub at: Timestamp,
    /// Where the stream goes on from: `GET /api/v1/stream?since=`.
    pub version: String,
    /// By namespace and name.
    pub pipelines: Vec<Row>,
}

/// What needs a look, of all pipelines: `GET /api/v1/attention`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// When this was answered.
    pub at: Timestamp,
    /// The gravest first, then by namespace and name.
    pub concerns: Vec<Placed>,
}

/// A concern, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placed {
    /// Namespace of the pipeline.
    pub namespace: String,
    /// Its name.
    pub pipeline: String,
    /// What it is.
    #[serde(flatten)]
    pub concern: Concern,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it is, in a word.
    pub state: State,
    /// Stages.
    pub stages: usize,
    /// Replicas that there should be, over all stages that are known.
    pub desired: u32,
    /// Of which Ready.
    pub ready: u32,
    /// Items waiting, over all stages that are known; `None` when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Items a second that arrive at the stages that nothing feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival_rate: Option<f64>,
    /// The stage worst against its objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// Age of the oldest item of that stage, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<f64>,
    /// Age that it may reach, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_seconds: Option<f64>,
    /// Code of the reason that bound the bottleneck, or the first stage where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What needs a look, the gravest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concerns: Vec<Concern>,
}

/// How a pipeline is, in a word: the gravest of its concerns, else what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Nothing works until somebody mends it.
    Broken,
    /// The promise is not kept now.
    Late,
    /// It may not or cannot move.
    Held,
    /// It works, and something about it is not as it should be.
    Odd,
    /// Paused, pinned or only observed, as somebody wanted.
    Note,
    /// No source has said what waits.
    Unknown,
    /// Work waits or arrives, and all is in time.
    Working,
    /// Nothing waits and nothing arrives.
    Quiet,
}

impl Row {
    /// The line of a picture.
    pub(super) fn of(picture: &Picture) -> Self {
        let seen = view::Pipeline::of(picture, picture.at);
        let concerns = concerns(picture, &seen);
        let sum = |count: fn(&view::Replicas) -> Option<u32>| -> u32 {
            seen.stages.iter().filter_map(|stage| count(&stage.replicas)).sum()
        };
        let total = |values: Vec<u64>| (!values.is_empty()).then(|| values.iter().sum());
        let lag: Option<u64> = total(seen.stages.iter().filter_map(|stage| stage.lag).collect());
        let first = seen.stages.iter().filter(|stage| stage.after.is_empty());
        let arrivals: Vec<f64> = first.filter_map(|stage| stage.arrival_rate).collect();
        let arrival_rate = (!arrivals.is_empty()).then(|| three(arrivals.iter().sum()));
        let worst = seen
            .stages
            .iter()
            .find(|stage| Some(&stage.name) == seen.bottleneck.as_ref())
            .or_else(|| seen.stages.first());
        Self {
            state: state(&concerns, lag, arrival_rate),
            stages: seen.stages.len(),
            desired: sum(|replicas| replicas.desired),
            ready: sum(|replicas| replicas.ready),
            lag,
            arrival_rate,
            delay_seconds: seen.delay_seconds.map(three),
            objective_seconds: worst.and_then(|stage| stage.objective_seconds),
            reason: worst.and_then(|stage| Some(stage.reasons.last()?.code.clone())),
            bottleneck: seen.bottleneck,
            namespace: seen.namespace,
            name: seen.name,
            concerns,
        }
    }
}

fn state(concerns: &[Concern], lag: Option<u64>, arrivals: Option<f64>) -> State {
    match concerns.first().map(|concern| concern.severity) {
        Some(Severity::Broken) => State::Broken,
        Some(Severity::Late) => State::Late,
        Some(Severity::Held) => State::Held,
        Some(Severity::Odd) => State::Odd,
        Some(Severity::Note) => State::Note,
        None if lag.is_none() && arrivals.is_none() => State::Unknown,
        None if lag.unwrap_or(0) == 0 && arrivals.is_none_or(|rate| rate <= 0.0) => State::Quiet,
        None => State::Working,
    }
}

/// Three figures: what a table shows, and so what makes a line worth sending again.
fn three(value: f64) -> f64 {
    if !value.is_finite() || value.abs() < 0.001 {
        return 0.0;
    }
    let places = 10_f64.powf(2.0 - value.abs().log10().floor());
    // Whole above a hundred: nobody reads 1234 s as 1230 s.
    if places < 1.0 { value.round() } else { (value * places).round() / places }
}
