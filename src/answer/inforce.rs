//! What is in force of a stage where it need not be written, as the API shows it. Part of `view`.

use serde::{Deserialize, Serialize};

use crate::decide::{self, FallbackPolicy, Habits, OnSilence, Prefer};

/// What is in force of a stage where it need not be written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// Who is served first when capacity is short: the pipeline's.
    pub priority: i32,
    /// `Cost`, `Balanced` or `Latency`.
    pub prefer: String,
    /// `Hold` or `Follow`.
    pub on_silence: String,
    /// What there is when its sources have been silent for long.
    pub fallback: Fallback,
    /// Seconds for which it keeps what was needed; left out before its first turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_window_seconds: Option<f64>,
    /// Seconds of quiet before it sleeps; left out where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_after_seconds: Option<f64>,
}

/// What a blind stage is given, and when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// `Hold`, `Static`, `AtLeast` or `AtMost`.
    pub policy: String,
    /// The count that it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Seconds of silence that are borne first.
    pub after_seconds: f64,
}

impl InForce {
    pub(super) fn of(priority: i32, stage: &decide::Stage, habits: Option<Habits>) -> Self {
        let (policy, replicas) = match stage.fallback.policy {
            FallbackPolicy::Hold => ("Hold", None),
            FallbackPolicy::Static(count) => ("Static", Some(count)),
            FallbackPolicy::AtLeast(count) => ("AtLeast", Some(count)),
            FallbackPolicy::AtMost(count) => ("AtMost", Some(count)),
        };
        let prefer = match stage.prefer {
            Prefer::Cost => "Cost",
            Prefer::Balanced => "Balanced",
            Prefer::Latency => "Latency",
        };
        let on_silence = match stage.on_silence {
            OnSilence::Hold => "Hold",
            OnSilence::Follow => "Follow",
        };
        Self {
            priority,
            prefer: prefer.to_owned(),
            on_silence: on_silence.to_owned(),
            fallback: Fallback {
                policy: policy.to_owned(),
                replicas,
                after_seconds: stage.fallback.after.as_secs_f64(),
            },
            down_window_seconds: habits.map(|habits| habits.down_window.as_secs_f64()),
            sleep_after_seconds: habits.and_then(|it| Some(it.sleep_after?.as_secs_f64())),
        }
    }
}
