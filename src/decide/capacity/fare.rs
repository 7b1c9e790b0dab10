//! How budgets fare after a turn: what runs under each, who gave way, and whether more is asked for than it allows. Told of `CapacityBudget`s
//! only: a quota has an owner of its own, who does not read it here.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::super::pipeline::PipelineId;
use super::budget::{Budget, BudgetVerdict, Limit, Unit, whole};
use super::claim::Claim;
use super::purse::{Purse, Purses};
use super::ration::slack;

impl Purses {
    /// How each of these budgets fares, but for quotas and for those of which too little is known yet. A budget that is no more is
    /// forgotten; a quota is when the last pipeline under it says so, since only those of pipelines that are due are told.
    pub(in crate::decide) fn verdicts(
        &mut self,
        budgets: &BTreeMap<Arc<str>, Arc<Budget>>,
        at: Timestamp,
    ) -> Vec<BudgetVerdict> {
        self.each.retain(|name, _| Budget::is_of_quota(name) || budgets.contains_key(name));
        let nobody = Purse::new(Timestamp::MIN);
        let of = |budget: &Arc<Budget>| {
            let purse = self.each.get(&budget.name).unwrap_or(&nobody);
            (!purse.is_new(at)).then(|| purse.verdict(budget))
        };
        let told = budgets.values().filter(|budget| !Budget::is_of_quota(&budget.name));
        told.filter_map(of).collect()
    }
}

impl Purse {
    fn verdict(&self, budget: &Budget) -> BudgetVerdict {
        let mut gave_way: BTreeMap<&PipelineId, u32> = BTreeMap::new();
        for claim in self
            .claims
            .iter()
            .filter(|claim| budget.is_enforced && claim.granted < claim.ask.wished)
        {
            *gave_way.entry(&claim.pipeline).or_default() += claim.ask.wished - claim.granted;
        }
        let sum = |count: fn(&Claim) -> u32, unit: Unit| {
            let of = |claim: &Claim| Some(f64::from(count(claim)) * unit(&claim.per)?);
            self.claims
                .iter()
                .filter(|claim| count(claim) != 0)
                .map(of)
                .collect::<Option<Vec<f64>>>()
        };
        let running: fn(&Claim) -> u32 = |claim| claim.running;
        let cost = sum(running, |per| per.cost_per_hour).map(|costs| whole(costs.into_iter()));
        let known = |claim: &Claim| Some(f64::from(claim.running) * claim.per.cores?);
        let cores = whole(self.claims.iter().filter_map(known));
        let is_exceeded = budget.limits().any(|Limit { most: limit, unit, .. }| {
            let of = |claim: &Claim| {
                let most = claim.ask.wished.max(claim.running);
                Some(f64::from(most) * unit(&claim.per)?)
            };
            limit + slack(limit) < self.claims.iter().filter_map(of).sum::<f64>()
        });
        let is_unpriced = |claim: &&Claim| claim.per.cost_per_hour.is_none() && claim.running != 0;
        let mut unpriced: Vec<PipelineId> = match budget.cost_per_hour {
            Some(_) => {
                self.claims.iter().filter(is_unpriced).map(|claim| claim.pipeline.clone()).collect()
            }
            None => Vec::new(),
        };
        unpriced.dedup();
        BudgetVerdict {
            budget: Arc::clone(&budget.name),
            cost_per_hour: cost,
            cores,
            gave_way: gave_way.into_iter().map(|(id, by)| (id.clone(), by)).collect(),
            is_exceeded,
            unpriced,
        }
    }
}
