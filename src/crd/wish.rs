//! What a pipeline or a stage is wished to do: objectives, schedules, forecast, gates, and how wishes combine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::{Duration, within};
use super::rules;
use super::source::Kinds;

/// How late data may be, end to end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Age that the oldest datum may reach from the first source to the last commit, 1s to 7 days (168h). Split equally over
    /// the longest path of stages that pin no share of their own. Default 60s where no stage has an objective or a threshold. Where
    /// some have, it is 60s for each of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "168h")))]
    pub max_delay: Option<Duration>,
    /// What to lean to when delay and cost pull apart. Default Balanced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Prefer>,
}

/// What to lean to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Prefer {
    /// fewer replicas, nearer to the objective.
    Cost,
    /// the middle.
    Balanced,
    /// more replicas, farther from the objective.
    Latency,
}

/// How late one stage may be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("!has(self.maxDelay) || !has(self.doneBy)", rules::DELAY_OR_TIME),
]))]
pub struct StageObjective {
    /// Age that the oldest item of this stage's queues may reach, 1s to 7 days (168h).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "168h")))]
    pub max_delay: Option<Duration>,
    /// Batch: the queue is to be empty by then, at the least cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_by: Option<DoneBy>,
}

/// A time of day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DoneBy {
    /// Hour and minute, for example "06:00".
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub time: String,
    /// IANA name, for example Europe/Berlin. Default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// Bounds that hold between two points of a calendar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Name of the schedule, unique in the stage.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// When it begins: cron with five fields.
    #[schemars(length(min = 9, max = 100))]
    pub start: String,
    /// When it ends: cron with five fields.
    #[schemars(length(min = 9, max = 100))]
    pub end: String,
    /// IANA name, for example Europe/Berlin. Default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Bounds in the meantime.
    pub replicas: ScheduledReplicas,
}

/// Bounds of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("!has(self.min) || !has(self.max) || self.min <= self.max", rules::MIN_ABOVE_MAX),
    rules::rule("has(self.min) || has(self.max)", "min or max must be set"),
]))]
pub struct ScheduledReplicas {
    /// Never fewer, if that is more than the stage's own minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub min: Option<u32>,
    /// Never more, if that is less than the stage's own maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max: Option<u32>,
}

/// Whether arrivals are forecast.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Default Auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ForecastMode>,
}

/// Whether arrivals are forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForecastMode {
    /// where a forecast has proved better than none.
    Auto,
    /// never.
    Off,
}

/// A source whose value may hold the stage as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of the gate, unique in the stage.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What is read: exactly one kind.
    #[schemars(extend("x-kubernetes-validations" = [
        rules::rule(rules::exactly_one(&super::source::KINDS), rules::ONE_SOURCE),
        rules::rule(rules::no_threshold(&super::source::KINDS), rules::GATE_SIZES),
    ]))]
    pub source: Kinds,
    /// CEL over `value`, a double: true holds the stage.
    #[schemars(length(min = 1, max = 1024))]
    pub hold_when: String,
}

/// How the wishes of several sources become one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Combine {
    /// CEL over the replicas that each source wants, as doubles by source name. A source it names that is missing holds the
    /// stage.
    #[schemars(length(min = 1, max = 1024))]
    pub expression: String,
}
