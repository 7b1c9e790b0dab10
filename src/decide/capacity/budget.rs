//! A budget as its owner describes it, what one replica takes of it, and how it fares.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::pipeline::PipelineId;

/// What a replica uses counts as before when it is within this part of it.
const NEARLY: f64 = 0.05;

/// A budget, as its owner describes it. Made by `crd::meaning`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Name of the `CapacityBudget`.
    pub name: Arc<str>,
    /// Money for an hour.
    pub cost_per_hour: Option<f64>,
    /// CPUs, as pods request them.
    pub cores: Option<f64>,
    /// True when wishes are cut down to it; false when it is only told.
    pub is_enforced: bool,
}

/// What one replica of a stage uses, as its pods show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PerReplica {
    /// CPUs that it requests; `None` while no pod has been seen.
    pub cores: Option<f64>,
    /// Money for an hour; `None` while the price of its nodes is not known.
    pub cost_per_hour: Option<f64>,
}

/// How a budget fares after a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetVerdict {
    /// Name of the budget.
    pub budget: Arc<str>,
    /// Money for an hour that runs; `None` when the price of something that runs is not known.
    pub cost_per_hour: Option<f64>,
    /// CPUs that run.
    pub cores: f64,
    /// Who gets fewer replicas than it wishes, and by how many, all its stages together. In the order of names.
    pub gave_way: Vec<(PipelineId, u32)>,
    /// Is more asked for, or running, than the budget allows?
    pub is_exceeded: bool,
    /// Pipelines of which nobody knows what a replica costs, where the budget is in money: they are not counted.
    pub unpriced: Vec<PipelineId>,
}

impl PerReplica {
    /// What is known now, or else what was. Prices waver with the nodes that pods happen to stand on; what is nearly as before is as before,
    /// so that counts do not waver with them.
    pub(super) fn after(self, known: Option<Self>) -> Self {
        let known = known.unwrap_or_default();
        let join = |new: Option<f64>, old: Option<f64>| match (new, old) {
            (Some(new), Some(old)) if (new - old).abs() <= old.abs() * NEARLY => Some(old),
            (new, old) => new.or(old),
        };
        Self {
            cores: join(self.cores, known.cores),
            cost_per_hour: join(self.cost_per_hour, known.cost_per_hour),
        }
    }
}

/// One limit and what a replica takes of it.
pub(super) type Limit = (f64, fn(&PerReplica) -> Option<f64>);

impl Budget {
    /// Its limits. Each is kept on its own, so of two the stricter holds for every stage.
    pub(super) fn limits(&self) -> impl Iterator<Item = Limit> {
        let cost: Option<Limit> = self.cost_per_hour.map(|most| (most, cost_of as _));
        let cores: Option<Limit> = self.cores.map(|most| (most, cores_of as _));
        cost.into_iter().chain(cores)
    }
}

fn cost_of(per: &PerReplica) -> Option<f64> {
    per.cost_per_hour
}

fn cores_of(per: &PerReplica) -> Option<f64> {
    per.cores
}
