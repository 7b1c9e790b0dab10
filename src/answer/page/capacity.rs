//! Pools of nodes and budgets, as the page shows them. `GET /api/v1/capacity`.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::answer::sight::Sight;
use crate::decide::{Class, Sign};
use crate::report::{self, BudgetPicture, PoolPicture};

/// What all prices of an installation are in: three capital letters (ISO 4217). It is only ever shown; nothing is converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency(String);

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() != 3 || !text.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(format!("{text:?} is no currency; hint: three capital letters, EUR"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// All pools and all budgets, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// When this was answered.
    pub at: Timestamp,
    /// What all prices are in; left out where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Pools of nodes.
    pub pools: Vec<PoolRow>,
    /// Budgets.
    pub budgets: Vec<BudgetRow>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolRow {
    /// Name of the `CapacityPool`.
    pub name: String,
    /// `OnDemand`, `Spot` or `Reserved`.
    pub class: String,
    /// `Unknown`, `Available`, `Constrained` or `Exhausted`.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// Nodes that are Ready and stay.
    pub nodes: u32,
    /// Half of its nodes took no longer to come, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_seconds: Option<f64>,
    /// 95 of 100 took no longer, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_startup_seconds: Option<f64>,
    /// What its nodes cost in an hour; left out when the price of one is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_hour: Option<f64>,
    /// When it is tried again, while it is exhausted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_probe: Option<Timestamp>,
    /// What its state rests on, newest first.
    pub evidence: Vec<SignSeen>,
}

/// A sign that a pool gives no more nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignSeen {
    /// When it was given.
    pub at: Timestamp,
    /// True for the word of who makes nodes.
    pub is_hard: bool,
    /// What was said, and by whom.
    pub what: String,
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetRow {
    /// Name of the `CapacityBudget`.
    pub name: String,
    /// True when wishes are cut down to it; false when it is only told.
    pub is_enforced: bool,
    /// Is more asked for, or running, than it allows?
    pub is_exceeded: bool,
    /// Its limit in money for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_limit: Option<f64>,
    /// Money for an hour that runs; left out when a price is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_per_hour: Option<f64>,
    /// Its limit in CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// CPUs that run.
    pub cpu: f64,
    /// Who has fewer replicas than it wishes.
    pub gave_way: Vec<GaveWay>,
    /// Pipelines of which nobody knows what a replica costs: `NAMESPACE/NAME`.
    pub unpriced: Vec<String>,
}

/// A pipeline that has fewer replicas than it wishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GaveWay {
    /// `NAMESPACE/NAME`.
    pub pipeline: String,
    /// By how many, all its stages together.
    pub replicas: u32,
}

impl Capacity {
    pub(super) fn of(
        capacity: &report::Capacity,
        currency: Option<Currency>,
        at: Timestamp,
    ) -> Self {
        Self {
            at,
            currency,
            pools: capacity.pools().iter().map(PoolRow::of).collect(),
            budgets: capacity.budgets().iter().map(BudgetRow::of).collect(),
        }
    }

    /// The same without what somebody may not see.
    pub(super) fn cut_to(mut self, sight: &Sight) -> Self {
        self.pools.retain(|_| sight.pools);
        self.budgets.retain(|_| sight.budgets);
        let sees = |pipeline: &String| {
            sight.sees(pipeline.split_once('/').map_or("", |(namespace, _)| namespace))
        };
        for budget in &mut self.budgets {
            budget.gave_way.retain(|it| sees(&it.pipeline));
            budget.unpriced.retain(sees);
        }
        self
    }
}

impl PoolRow {
    fn of(picture: &PoolPicture) -> Self {
        let PoolPicture { glance, verdict, .. } = picture;
        let class = match glance.class {
            Class::OnDemand => "OnDemand",
            Class::Spot => "Spot",
            Class::Reserved => "Reserved",
        };
        let sign = |sign: &Sign| SignSeen {
            at: sign.at,
            is_hard: sign.is_hard,
            what: sign.what.to_string(),
        };
        Self {
            name: verdict.pool.to_string(),
            class: class.to_owned(),
            state: verdict.state.label().to_owned(),
            since: verdict.since,
            nodes: glance.nodes,
            startup_seconds: glance.startup.map(|(half, _)| half.as_secs_f64()),
            longest_startup_seconds: glance.startup.map(|(_, most)| most.as_secs_f64()),
            cost_per_hour: glance.cost,
            next_probe: verdict.next_probe,
            evidence: verdict.evidence.iter().rev().map(sign).collect(),
        }
    }
}

impl BudgetRow {
    fn of(picture: &BudgetPicture) -> Self {
        let BudgetPicture { meant, verdict, .. } = picture;
        let gave = verdict.gave_way.iter();
        Self {
            name: meant.name.to_string(),
            is_enforced: meant.is_enforced,
            is_exceeded: verdict.is_exceeded,
            cost_limit: meant.cost_per_hour,
            cost_per_hour: verdict.cost_per_hour,
            cpu_limit: meant.cores,
            cpu: verdict.cores,
            gave_way: gave
                .map(|(pipeline, by)| GaveWay { pipeline: pipeline.to_string(), replicas: *by })
                .collect(),
            unpriced: verdict.unpriced.iter().map(ToString::to_string).collect(),
        }
    }
}
