//! A CronJob and a Job as they are asked of the API server: everything that is not named here is dropped while it is parsed.

use jiff::Timestamp;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::super::stores::Nothing;

pub(super) type WireCronJob = Object<WireCronJobSpec, Nothing>;
pub(super) type WireJob = Object<Nothing, WireJobStatus>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireCronJobSpec {
    pub(super) suspend: Option<bool>,
    pub(super) successful_jobs_history_limit: Option<u32>,
    pub(super) failed_jobs_history_limit: Option<u32>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireJobStatus {
    pub(super) ready: Option<u32>,
    pub(super) start_time: Option<Timestamp>,
    #[serde(default)]
    pub(super) conditions: Vec<WireCondition>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    pub(super) last_transition_time: Option<Timestamp>,
}

impl WireJobStatus {
    /// The condition that says it is over, and whether it failed. `SuccessCriteriaMet` and `FailureTarget` come before, while pods
    /// still stop: until those are gone the Job runs.
    pub(super) fn end(&self) -> Option<(&WireCondition, bool)> {
        self.conditions.iter().find_map(|condition| {
            match (condition.kind.as_str(), condition.status.as_str()) {
                ("Complete", "True") => Some((condition, false)),
                ("Failed", "True") => Some((condition, true)),
                _ => None,
            }
        })
    }
}

impl WireCondition {
    /// Reason and message, cut short.
    pub(super) fn text(&self) -> String {
        let text = if self.message.is_empty() {
            self.reason.clone()
        } else {
            format!("{}: {}", self.reason, self.message)
        };
        text.chars().take(160).collect()
    }
}
