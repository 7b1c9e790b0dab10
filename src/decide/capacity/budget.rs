//! Budgets: how much the pipelines of some namespaces may use together, and who gives way when they would use more. Pure arithmetic over
//! what every stage last asked for; a stage's own turn cuts its wish down to what `ration` grants it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::demand::Bid;
use super::super::frame::Frame;
use super::super::pipeline::{Mode, PipelineId};
use super::super::reason::Reason;
use super::super::stage::Turn;
use super::ration::{Ask, Share, grants};

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

/// Why a stage gets less than it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct Cut {
    pub(in crate::decide) budget: Arc<str>,
    pub(in crate::decide) granted: u32,
    /// Who comes first, with the most above its least; `None` when it shares with its equals, or nobody else asks.
    pub(in crate::decide) first: Option<PipelineId>,
}

/// What is remembered of all budgets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Purses {
    each: BTreeMap<Arc<str>, Purse>,
}

/// What is remembered of one budget: who falls under it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Purse(Vec<Claim>);

/// What a stage last asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Claim {
    pipeline: PipelineId,
    stage: Arc<str>,
    priority: i32,
    ask: Ask,
    /// What it was left with.
    granted: u32,
    /// Replicas that run.
    running: u32,
    per: PerReplica,
}

/// A stage at its turn, as budgets see it.
#[derive(Debug, Clone)]
pub(in crate::decide) struct Claimant<'a> {
    pub(in crate::decide) pipeline: &'a PipelineId,
    pub(in crate::decide) stage: &'a Arc<str>,
    pub(in crate::decide) priority: i32,
    pub(in crate::decide) running: u32,
    pub(in crate::decide) per: PerReplica,
}

impl Purses {
    /// The least that a budget over this stage leaves it, when that is less than it asks for. Others stand as they were at their last turn.
    pub(in crate::decide) fn cut<'b>(
        &self,
        budgets: impl Iterator<Item = &'b Arc<Budget>>,
        claimant: &Claimant<'_>,
        ask: Ask,
    ) -> Option<Cut> {
        let cuts = budgets.filter(|budget| budget.is_enforced).filter_map(|budget| {
            let nobody = Purse::default();
            let purse = self.each.get(&budget.name).unwrap_or(&nobody);
            purse.cut(budget, claimant, ask)
        });
        cuts.min_by_key(|cut| cut.granted)
    }

    /// Takes in what a pipeline's stages asked for at their turn, and what they were left with, for the budgets over its namespace; it is
    /// under no other any more. Of a stage that could not ask, what it last asked for stands.
    pub(in crate::decide) fn note(
        &mut self,
        budgets: &[Arc<str>],
        pipeline: &PipelineId,
        asked: &[(Claimant<'_>, Option<(Ask, u32)>)],
    ) {
        for (name, purse) in &mut self.each {
            if !budgets.contains(name) {
                purse.0.retain(|claim| claim.pipeline != *pipeline);
            }
        }
        for name in budgets {
            let purse = self.each.entry(Arc::clone(name)).or_default();
            let mine = |claim: &Claim| claim.pipeline == *pipeline;
            let (old, others) = std::mem::take(&mut purse.0).into_iter().partition(mine);
            let old: Vec<Claim> = old;
            purse.0 = others;
            purse.0.extend(asked.iter().filter_map(|(claimant, asked)| {
                let known = old.iter().find(|claim| claim.stage == *claimant.stage);
                let Some((ask, granted)) = *asked else { return known.cloned() };
                Some(Claim {
                    pipeline: pipeline.clone(),
                    stage: Arc::clone(claimant.stage),
                    priority: claimant.priority,
                    ask,
                    granted,
                    running: claimant.running,
                    per: claimant.per.after(known.map(|claim| claim.per)),
                })
            }));
            purse.0.sort_by(|a, b| (&a.pipeline, &a.stage).cmp(&(&b.pipeline, &b.stage)));
        }
        self.each.retain(|_, purse| !purse.0.is_empty());
    }

    /// Forgets a deleted pipeline.
    pub(in crate::decide) fn forget(&mut self, pipeline: &PipelineId) {
        self.note(&[], pipeline, &[]);
    }

    /// How each of these budgets fares. One that is no more is forgotten.
    pub(in crate::decide) fn verdicts(
        &mut self,
        budgets: &BTreeMap<Arc<str>, Arc<Budget>>,
    ) -> Vec<BudgetVerdict> {
        self.each.retain(|name, _| budgets.contains_key(name));
        let nobody = Purse::default();
        let of =
            |budget: &Arc<Budget>| self.each.get(&budget.name).unwrap_or(&nobody).verdict(budget);
        budgets.values().map(of).collect()
    }
}

impl PerReplica {
    /// What is known now, or else what was. Prices waver with the nodes that pods happen to stand on; what is nearly as before is as before,
    /// so that counts do not waver with them.
    fn after(self, known: Option<Self>) -> Self {
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

impl Purse {
    fn cut(&self, budget: &Budget, claimant: &Claimant<'_>, ask: Ask) -> Option<Cut> {
        let is_me =
            |claim: &Claim| claim.pipeline == *claimant.pipeline && claim.stage == *claimant.stage;
        let mine = self.0.iter().find(|claim| is_me(claim));
        let per = claimant.per.after(mine.map(|claim| claim.per));
        let others = || self.0.iter().filter(|claim| !is_me(claim));
        let granted = budget.limits().filter_map(|(limit, unit)| {
            let me = Share { unit: unit(&per)?, priority: claimant.priority, ask };
            let of = |claim: &Claim| {
                let unit = unit(&claim.per)?;
                Some(Share { unit, priority: claim.priority, ask: claim.ask })
            };
            let shares: Vec<Share> = [me].into_iter().chain(others().filter_map(of)).collect();
            grants(limit, &shares).first().copied()
        });
        let granted = granted.min().filter(|granted| *granted < ask.wished)?;
        let ahead = others().filter(|claim| claimant.priority < claim.priority);
        let first = ahead.max_by_key(|claim| claim.ask.wished.saturating_sub(claim.ask.least));
        let first = first.map(|claim| claim.pipeline.clone());
        Some(Cut { budget: Arc::clone(&budget.name), granted, first })
    }

    fn verdict(&self, budget: &Budget) -> BudgetVerdict {
        let mut gave_way: BTreeMap<&PipelineId, u32> = BTreeMap::new();
        for claim in
            self.0.iter().filter(|claim| budget.is_enforced && claim.granted < claim.ask.wished)
        {
            *gave_way.entry(&claim.pipeline).or_default() += claim.ask.wished - claim.granted;
        }
        let sum = |count: fn(&Claim) -> u32, unit: fn(&PerReplica) -> Option<f64>| {
            let of = |claim: &Claim| Some(f64::from(count(claim)) * unit(&claim.per)?);
            self.0.iter().filter(|claim| count(claim) != 0).map(of).collect::<Option<Vec<f64>>>()
        };
        let running: fn(&Claim) -> u32 = |claim| claim.running;
        let cost = sum(running, |per| per.cost_per_hour).map(|costs| costs.iter().sum());
        let known = |claim: &Claim| Some(f64::from(claim.running) * claim.per.cores?);
        let cores = self.0.iter().filter_map(known).sum();
        let is_exceeded = budget.limits().any(|(limit, unit)| {
            let of = |claim: &Claim| {
                let most = claim.ask.wished.max(claim.running);
                Some(f64::from(most) * unit(&claim.per)?)
            };
            limit < self.0.iter().filter_map(of).sum::<f64>()
        });
        let is_unpriced = |claim: &&Claim| claim.per.cost_per_hour.is_none() && claim.running != 0;
        let mut unpriced: Vec<PipelineId> = match budget.cost_per_hour {
            Some(_) => {
                self.0.iter().filter(is_unpriced).map(|claim| claim.pipeline.clone()).collect()
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

impl Turn<'_> {
    /// Cuts a wish down to what the budgets over the stage leave it. `None` where there are none.
    pub(in crate::decide) fn afford(
        &self,
        bid: &mut Bid,
        frame: Frame,
        is_sure: bool,
    ) -> Option<Ask> {
        if self.budgets.is_empty() {
            return None;
        }
        let budgets = self.budgets.iter().filter_map(|name| self.budgets_seen.get(name));
        let ask = self.ask(bid.replicas, frame, is_sure);
        let claimant = Claimant {
            pipeline: &self.pipeline.id,
            stage: &self.stage.name,
            priority: self.pipeline.priority,
            running: frame.desired,
            per: self.per_replica,
        };
        if let Some(cut) = self.purses.cut(budgets, &claimant, ask)
            && cut.granted < bid.replicas
        {
            let Cut { budget, granted, first } = cut;
            let budget = budget.to_string();
            bid.set(granted, Reason::OverBudget { wished: ask.wished, granted, budget, first });
        }
        Some(ask)
    }

    /// Who is not written keeps what runs; who is written keeps it too while his data are not fresh, or his owner says so.
    fn ask(&self, wished: u32, frame: Frame, is_sure: bool) -> Ask {
        let pause = &self.pipeline.pause;
        if let Some(replicas) = self.stage.pinned {
            return Ask { wished: replicas, least: replicas };
        }
        if self.stage.mode == Mode::Observe || pause.all {
            return Ask { wished: frame.desired, least: frame.desired };
        }
        let wished = wished.min(self.stage.max);
        let (wished, lowest) = match (pause.scale_out, pause.scale_in || !is_sure) {
            (true, true) => (frame.desired, frame.desired),
            (true, false) => (wished.min(frame.desired), frame.floor),
            (false, true) => (wished.max(frame.current), frame.current),
            (false, false) => (wished, frame.floor),
        };
        Ask { wished, least: lowest.min(wished) }
    }
}

/// One limit and what a replica takes of it.
type Limit = (f64, fn(&PerReplica) -> Option<f64>);

impl Budget {
    /// Its limits. Each is kept on its own, so of two the stricter holds for every stage.
    fn limits(&self) -> impl Iterator<Item = Limit> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PipelineId {
        PipelineId { namespace: "shop".into(), name: name.into() }
    }

    fn budget(cores: f64) -> Arc<Budget> {
        Arc::new(Budget {
            name: "team".into(),
            cost_per_hour: None,
            cores: Some(cores),
            is_enforced: true,
        })
    }

    const CORE: PerReplica = PerReplica { cores: Some(1.0), cost_per_hour: None };

    #[test]
    fn a_claim_stands_until_its_pipeline_asks_again_or_goes() {
        let (orders, bills, stage) = (id("orders"), id("bills"), Arc::<str>::from("work"));
        let (mut purses, team) = (Purses::default(), budget(10.0));
        let claimant = |pipeline, priority, per| Claimant {
            pipeline,
            stage: &stage,
            priority,
            running: 4,
            per,
        };
        let over = [Arc::clone(&team.name)];
        let ask = |wished| Ask { wished, least: 1 };
        let first = claimant(&orders, 5, CORE);
        assert_eq!(purses.cut([&team].into_iter(), &first, ask(8)), None, "nobody else asks");
        purses.note(&over, &orders, &[(first, Some((ask(8), 8)))]);

        let second = claimant(&bills, 0, CORE);
        let cut = purses.cut([&team].into_iter(), &second, ask(6)).expect("8 of 10 are taken");
        assert_eq!((cut.granted, cut.first), (2, Some(orders.clone())));
        purses.note(&over, &bills, &[(second.clone(), Some((ask(6), 2)))]);
        let budgets = BTreeMap::from([(Arc::clone(&team.name), Arc::clone(&team))]);
        let verdict = purses.verdicts(&budgets).remove(0);
        assert_eq!((verdict.cores, verdict.gave_way), (8.0, vec![(bills.clone(), 4)]));
        assert!(verdict.is_exceeded);

        // A turn in which its target could not be seen changes nothing; asleep it has no pods, and what one uses is remembered.
        let blind = Claimant { per: PerReplica::default(), ..claimant(&orders, 5, CORE) };
        purses.note(&over, &orders, &[(blind.clone(), None)]);
        assert!(purses.cut([&team].into_iter(), &second, ask(6)).is_some());
        purses.note(&over, &orders, &[(blind, Some((ask(8), 8)))]);
        assert!(purses.cut([&team].into_iter(), &second, ask(6)).is_some());
        // In another namespace, it is under the budget no more.
        purses.note(&[], &orders, &[]);
        assert_eq!(purses.cut([&team].into_iter(), &second, ask(6)), None);
    }

    #[test]
    fn a_wavering_price_moves_no_grant() {
        let (orders, stage) = (id("orders"), Arc::<str>::from("work"));
        let per = |cores| PerReplica { cores: Some(cores), cost_per_hour: None };
        let claimant = |cores| Claimant {
            pipeline: &orders,
            stage: &stage,
            priority: 0,
            running: 4,
            per: per(cores),
        };
        let (mut purses, team) = (Purses::default(), budget(10.0));
        let ask = Ask { wished: 20, least: 1 };
        let over = [Arc::clone(&team.name)];
        purses.note(&over, &orders, &[(claimant(1.0), Some((ask, 10)))]);
        let granted = |purses: &Purses, cores| {
            purses.cut([&team].into_iter(), &claimant(cores), ask).map(|cut| cut.granted)
        };
        assert_eq!(granted(&purses, 1.04), Some(10));
        assert_eq!(granted(&purses, 1.2), Some(8));
    }
}
