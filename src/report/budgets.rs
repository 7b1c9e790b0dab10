//! Budgets as they are told: what the status of a `CapacityBudget` says. The desk writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use super::compose::condition;
use super::conditions::{Claim, Truth, cut};
use super::desk::Subject;
use crate::crd::CapacityBudgetStatus;
use crate::crd::budget::{GaveWay, Used};
use crate::decide::{Budget, BudgetVerdict, PipelineId};

/// As many of those who gave way are named.
const NAMED: usize = 32;

/// A budget as an object.
#[derive(Debug, Clone)]
pub struct BudgetGlance {
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`; a status write carries it.
    pub resource_version: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<CapacityBudgetStatus>,
}

/// One budget at the latest turn: what metrics and pages show.
#[derive(Debug, Clone)]
pub struct BudgetPicture {
    /// The object.
    pub glance: BudgetGlance,
    /// Its limits.
    pub meant: Arc<Budget>,
    /// How it fares.
    pub verdict: BudgetVerdict,
    /// When the turn was.
    pub at: Timestamp,
}

/// What a turn showed of each budget, with what it made of it.
pub(super) fn pictures(
    glances: BTreeMap<Arc<str>, BudgetGlance>,
    meant: &BTreeMap<Arc<str>, Arc<Budget>>,
    verdicts: &[BudgetVerdict],
    at: Timestamp,
) -> BTreeMap<Arc<str>, BudgetPicture> {
    let picture = |(name, glance): (Arc<str>, BudgetGlance)| {
        let verdict = verdicts.iter().find(|verdict| verdict.budget == name)?.clone();
        let meant = Arc::clone(meant.get(&name)?);
        Some((name, BudgetPicture { glance, meant, verdict, at }))
    };
    glances.into_iter().filter_map(picture).collect()
}

impl Subject for BudgetPicture {
    type Status = CapacityBudgetStatus;
    const PLURAL: &'static str = "capacitybudgets";
    const CLEARED: &'static [(&'static str, Value)] =
        &[("gaveWay", Value::Array(Vec::new())), ("used", Value::Null)];
    const PARTS: &'static [(&'static str, &'static str)] =
        &[("used", "costPerHour"), ("used", "cpu")];

    fn place(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.glance.uid, &self.glance.resource_version)
    }

    fn known(&self) -> &Arc<CapacityBudgetStatus> {
        &self.glance.status
    }

    fn knowing(mut self, status: Arc<CapacityBudgetStatus>) -> Self {
        self.glance.status = status;
        self
    }

    fn status(&self) -> CapacityBudgetStatus {
        let BudgetVerdict { cost_per_hour, cores, gave_way, .. } = &self.verdict;
        let gave = gave_way.iter().take(NAMED);
        CapacityBudgetStatus {
            observed_generation: Some(self.glance.generation),
            used: Some(Used {
                cost_per_hour: cost_per_hour.map(|cost| format!("{cost:.2}")),
                cpu: Some(figure(*cores)),
            }),
            gave_way: gave
                .map(|(pipeline, replicas)| GaveWay {
                    pipeline: pipeline.to_string(),
                    replicas: *replicas,
                })
                .collect(),
            conditions: vec![self.ready()],
        }
    }

    fn gist(status: &CapacityBudgetStatus) -> CapacityBudgetStatus {
        // Who gave way is news; by how much, a figure.
        let gave = status.gave_way.iter().map(|gave| GaveWay { replicas: 0, ..gave.clone() });
        CapacityBudgetStatus { used: None, gave_way: gave.collect(), ..status.clone() }
    }

    fn tell(&self, old: Option<&Self>) {
        let BudgetVerdict { budget, is_exceeded, .. } = &self.verdict;
        if old.is_some_and(|old| old.verdict.is_exceeded == *is_exceeded) {
            return;
        }
        if *is_exceeded {
            tracing::warn!(%budget, "more is asked for than the budget allows");
        } else if old.is_some() {
            tracing::info!(%budget, "the budget allows what is asked for");
        }
    }
}

impl BudgetPicture {
    /// Its condition `Ready`: does it do what its owner wrote it for?
    fn ready(&self) -> Condition {
        let BudgetVerdict { gave_way, is_exceeded, unpriced, .. } = &self.verdict;
        let (truth, reason, message) = if !unpriced.is_empty() {
            let message = format!(
                "nobody knows what replicas of {} cost, so limits.costPerHour does not count them; hint: their nodes need a CapacityPool with a price",
                names(unpriced)
            );
            (Truth::False, "PriceUnknown", cut(message))
        } else if !gave_way.is_empty() {
            let pipelines: Vec<_> = gave_way.iter().map(|(pipeline, _)| pipeline.clone()).collect();
            let message = format!("fewer replicas than wished: {}", names(&pipelines));
            (Truth::True, "GaveWay", cut(message))
        } else if *is_exceeded {
            (Truth::True, "Exceeded", "more runs or is asked for than it allows".to_owned())
        } else {
            (Truth::True, "WithinLimits", String::new())
        };
        let claim = Claim { kind: "Ready", truth, reason: reason.into(), message: message.into() };
        condition(&claim, self.at, self.glance.generation, &self.glance.status.conditions)
    }
}

/// The first few of them.
fn names(pipelines: &[PipelineId]) -> String {
    let named: Vec<_> = pipelines.iter().take(5).map(ToString::to_string).collect();
    match pipelines.len().saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// CPUs as people write them.
fn figure(cores: f64) -> String {
    let rounded = (cores * 1000.0).round() / 1000.0;
    format!("{rounded}")
}
