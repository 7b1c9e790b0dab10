//! What other counts would bring, and the sum behind the one that keeps the objective, as the API shows them. Part of `view`.

use serde::{Deserialize, Serialize};

use crate::decide;

/// What each count that is worth having would bring, if what arrives goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// How far it looks, in seconds.
    pub horizon_seconds: f64,
    /// By count, ascending.
    pub counts: Vec<Count>,
    /// The sum behind the count that keeps the objective, to be done again by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<Sum>,
}

/// What a count was reckoned with: it must carry `spare` times the larger of (`waiting` - `done`) / (`withinSeconds` x `rate`) and
/// `arrivalRate` x `margin` / `rate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// The smallest count that keeps the objective, whatever holds the stage at another.
    pub replicas: u32,
    /// As much work as so many replicas do that share it evenly.
    pub carries: f64,
    /// Items a second of one replica.
    pub rate: f64,
    /// Seconds from a write to Ready: learned, or a guess until then.
    pub startup_seconds: f64,
    /// Seconds a group pauses when its members change: learned, or a guess until then.
    pub rebalance_seconds: f64,
    /// Seconds from a reading until pods asked for on it are at work: how far a forecast looks.
    pub lead_seconds: f64,
    /// Age, in seconds, before which what waits is planned to be done.
    pub planned_seconds: f64,
    /// Items that wait.
    pub waiting: f64,
    /// Items of those that the present pods have done before this count is at work.
    pub done: f64,
    /// Seconds in which the rest is to be done.
    pub within_seconds: f64,
    /// Items a second that arrive, or are about to.
    pub arrival_rate: f64,
    /// So many times what arrives is provided for.
    pub margin: f64,
    /// So many times all of that must be carried.
    pub spare: f64,
}

/// A count, and what it would bring.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// So many replicas.
    pub replicas: u32,
    /// Items a second that they get through.
    pub rate: f64,
    /// Replica-seconds until the horizon, what is left to be done then included.
    pub cost: f64,
    /// Age of the oldest item at its worst, in seconds.
    pub delay_seconds: f64,
    /// True when it still grows at the horizon.
    #[serde(default)]
    pub is_rising: bool,
    /// For how long until the horizon the objective is missed, in seconds.
    pub late_seconds: f64,
    /// CamelCase word for what speaks for or against it; `Chosen` or `ForNow` for the count it should have.
    pub code: String,
    /// The same in words.
    pub sentence: String,
}

impl Outlook {
    pub(super) fn of(outlook: &decide::Outlook) -> Self {
        let count = |it: &decide::Prospect| Count {
            replicas: it.replicas,
            rate: it.serves,
            cost: it.cost,
            delay_seconds: it.delay,
            is_rising: it.is_rising,
            late_seconds: it.late,
            code: it.fate.code().to_owned(),
            sentence: it.fate.to_string(),
        };
        let counts = outlook.prospects.iter().map(count).collect();
        Self { horizon_seconds: outlook.horizon, counts, sum: Some(Sum::of(&outlook.sum)) }
    }
}

impl Sum {
    fn of(sum: &decide::Sum) -> Self {
        Self {
            replicas: sum.replicas,
            carries: sum.carries,
            rate: sum.rate,
            startup_seconds: sum.startup,
            rebalance_seconds: sum.rebalance,
            lead_seconds: sum.lead,
            planned_seconds: sum.planned,
            waiting: sum.waiting,
            done: sum.done,
            within_seconds: sum.within,
            arrival_rate: sum.arrivals,
            margin: sum.margin,
            spare: sum.spare,
        }
    }
}
