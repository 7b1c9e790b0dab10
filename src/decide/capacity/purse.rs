//! What is asked of budgets: every stage's last claim, and who gives way when there are more than a budget allows. Pure; a stage's own turn
//! (`afford`) cuts its wish down to what `ration` grants it, and `vacancy` shares out among rooms what real pods leave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::pipeline::PipelineId;
use super::super::writes::span;
use super::budget::{Budget, Limit, Room};
use super::claim::{Asked, Claim, Claimant};
use super::ration::{Ask, Share, fits, grants};

/// For so long after its first claim not everybody under a budget may have been heard. Meanwhile nobody grows once this part of it is
/// asked for.
const GETTING_READY: Duration = Duration::from_secs(15);
const UNHEARD: f64 = 0.5;

/// Why a stage gets less than it asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cut {
    pub(super) budget: Arc<str>,
    pub(super) granted: u32,
    /// Who comes first, with the most above its least; `None` when nobody does.
    pub(super) first: Option<PipelineId>,
    /// Stages it shares with.
    pub(super) equals: u32,
    /// What a quota has left of what it lacks, and whether some of that is still to be given back by others.
    pub(super) room: Option<(Room, bool)>,
}

/// What is remembered of all budgets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Purses {
    pub(super) each: BTreeMap<Arc<str>, Purse>,
}

/// What is remembered of one budget: who falls under it, by pipeline and stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Purse {
    /// Its first claim in this process.
    pub(super) since: Timestamp,
    pub(super) claims: Vec<Claim>,
    /// Of a pool: CPUs that pods of lanes were seen to take of it, at the most.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) held: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(held: &f64) -> bool {
    *held == 0.0
}

impl Purses {
    /// What each of these budgets leaves a stage, where that is less than it asks for. Others stand as they were at their last turn.
    pub(super) fn cuts<'b>(
        &self,
        budgets: impl Iterator<Item = &'b Arc<Budget>>,
        claimant: &Claimant<'_>,
        ask: Ask,
        at: Timestamp,
    ) -> Vec<Cut> {
        let enforced = budgets.filter(|budget| budget.is_enforced);
        let nobody = Purse::new(at);
        let cut = |budget: &'b Arc<Budget>| {
            self.each.get(&budget.name).unwrap_or(&nobody).cut(budget, claimant, ask, at)
        };
        enforced.filter_map(cut).collect()
    }

    /// Is there one of them of which not everybody has been heard yet?
    pub(super) fn are_new<'b>(
        &self,
        mut budgets: impl Iterator<Item = &'b Arc<Budget>>,
        at: Timestamp,
    ) -> bool {
        let is_new =
            |budget: &Arc<Budget>| self.each.get(&budget.name).is_none_or(|purse| purse.is_new(at));
        budgets.any(is_new)
    }

    /// Takes in what a stage asked for at its turn.
    pub(in crate::decide) fn note(
        &mut self,
        budgets: &[Arc<str>],
        claimant: &Claimant<'_>,
        asked: &Asked,
        at: Timestamp,
    ) {
        for name in budgets {
            let purse = self.each.entry(Arc::clone(name)).or_insert_with(|| Purse::new(at));
            purse.note(name, claimant, asked, at);
        }
    }

    /// What a stage runs was kept after all.
    pub(in crate::decide) fn keep(&mut self, pipeline: &PipelineId, stage: &str, kept: u32) {
        // Of a pool it has a part only, and keeps what it has of that anyway.
        let budgets = self.each.iter_mut().filter(|(name, _)| Budget::pool(name).is_none());
        for (_, purse) in budgets {
            if let Ok(index) = purse.place(pipeline, stage) {
                purse.claims[index].keep(kept);
            }
        }
    }

    /// Forgets what a pipeline asked for, but of what is kept: budget and stage.
    pub(in crate::decide) fn forget_but(
        &mut self,
        pipeline: &PipelineId,
        is_kept: impl Fn(&str, &str) -> bool,
    ) {
        for (name, purse) in &mut self.each {
            let is_other = |claim: &Claim| claim.pipeline != *pipeline;
            purse.let_go(|claim| is_other(claim) || is_kept(name, &claim.stage));
        }
        self.each.retain(|_, purse| !purse.claims.is_empty());
    }

    /// Forgets what a stage asked for, whose workload is gone.
    pub(in crate::decide) fn forget_stage(&mut self, claimant: &Claimant<'_>) {
        let is_it = |claim: &Claim| {
            claim.pipeline == *claimant.pipeline && *claim.stage == **claimant.stage
        };
        self.each.values_mut().for_each(|purse| purse.let_go(|claim| !is_it(claim)));
    }

    /// Forgets a deleted pipeline.
    pub(in crate::decide) fn forget(&mut self, pipeline: &PipelineId) {
        self.forget_but(pipeline, |_, _| false);
    }
}

impl Purse {
    pub(super) fn new(at: Timestamp) -> Self {
        Self { since: at, claims: Vec::new(), held: 0.0 }
    }

    /// Takes in what a stage asked for at its turn.
    pub(super) fn note(
        &mut self,
        name: &str,
        claimant: &Claimant<'_>,
        asked: &Asked,
        at: Timestamp,
    ) {
        let place = self.place(claimant.pipeline, claimant.stage);
        let known = place.ok().and_then(|index| self.claims.get(index));
        let claim = Claim::new(name, claimant, asked, known, at);
        match place {
            Ok(index) => self.claims[index] = claim,
            Err(index) => self.claims.insert(index, claim),
        }
    }

    /// Forgets claims. Their pods may stay where they are: what a pool has for the others is to be seen anew.
    fn let_go(&mut self, is_kept: impl Fn(&Claim) -> bool) {
        let before = self.claims.len();
        self.claims.retain(is_kept);
        if self.claims.len() < before {
            self.held = 0.0;
        }
    }

    /// Where the claim of a stage is, or belongs.
    fn place(&self, pipeline: &PipelineId, stage: &str) -> Result<usize, usize> {
        self.claims
            .binary_search_by(|claim| (&claim.pipeline, &*claim.stage).cmp(&(pipeline, stage)))
    }

    /// What who is at its turn claimed last, and the claims of others before and after it: in the order of names, so that all who share
    /// come to the same shares.
    pub(super) fn around(&self, claimant: &Claimant<'_>) -> (&[Claim], Option<&Claim>, &[Claim]) {
        match self.place(claimant.pipeline, claimant.stage) {
            Ok(here) => (&self.claims[..here], self.claims.get(here), &self.claims[here + 1..]),
            Err(here) => (&self.claims[..here], None, &self.claims[here..]),
        }
    }

    /// Has not everybody been heard yet?
    pub(super) fn is_new(&self, at: Timestamp) -> bool {
        span(self.since, at) < GETTING_READY
    }

    /// What it leaves a stage; `None` when that is what it asks for.
    fn cut(
        &self,
        budget: &Budget,
        claimant: &Claimant<'_>,
        ask: Ask,
        at: Timestamp,
    ) -> Option<Cut> {
        let (before, mine, after) = self.around(claimant);
        let others = || before.iter().chain(after);
        let per = claimant.per.after(mine.map(|claim| claim.per));
        let granted = budget.limits().filter_map(|Limit { most: limit, unit, room }| {
            let peak = mine.map_or(0, |claim| claim.peak.0);
            let high = Ask { wished: ask.wished.max(peak), ..ask };
            let me = Share { unit: per.counted(unit)?, priority: claimant.priority, ask: high };
            let of = |claim: &Claim| Some(claim.share(claim.per.counted(unit)?));
            let mut shares: Vec<Share> = before.iter().filter_map(of).collect();
            let index = shares.len();
            shares.push(me);
            shares.extend(after.iter().filter_map(of));
            let most: f64 = shares.iter().map(|it| it.unit * f64::from(it.ask.wished)).sum();
            let granted = grants(limit, &shares).get(index).copied()?;
            // Who has not been heard yet may come first.
            let waits = self.is_new(at) && UNHEARD * limit < most;
            let kept = claimant.running.max(ask.least);
            let granted = if waits { granted.min(kept) } else { granted };
            let Some(room) = room else { return Some((granted, None)) };
            // What runs, or is still ending, has not been given back yet, and a pod beyond a quota is not made.
            let of_one = |it: &Claim| Some(it.per.counted(unit)? * f64::from(it.holds()));
            let taken: f64 = others().filter_map(of_one).sum();
            let ending = f64::from(claimant.present.saturating_sub(claimant.running)) * me.unit;
            let free = fits(limit - taken - ending, me.unit).max(kept);
            Some((granted.min(free), Some((room, free < granted))))
        });
        let (granted, room) = granted.min_by_key(|(granted, _)| *granted)?;
        if ask.wished <= granted {
            return None;
        }
        let growing = || others().filter(|claim| claim.ask.least < claim.ask.wished);
        let ahead = growing().filter(|claim| claimant.priority < claim.priority);
        let first = ahead.max_by_key(|claim| claim.ask.wished - claim.ask.least);
        let equals = growing().filter(|claim| claim.priority == claimant.priority).count();
        Some(Cut {
            budget: Arc::clone(&budget.name),
            granted,
            first: first.map(|claim| claim.pipeline.clone()),
            equals: u32::try_from(equals).unwrap_or(u32::MAX),
            room,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::{BudgetVerdict, PerReplica};
    use super::*;

    fn id(name: &str) -> PipelineId {
        PipelineId { namespace: "shop".into(), name: name.into() }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn budget(name: &str, cost: Option<f64>, cores: Option<f64>) -> Arc<Budget> {
        let cost_per_hour = cost;
        let rooms = Vec::new();
        Arc::new(Budget { name: name.into(), cost_per_hour, cores, is_enforced: true, rooms })
    }

    /// Some stages under some budgets, each turned in its order.
    struct Office {
        budgets: Vec<Arc<Budget>>,
        purses: Purses,
        stage: Arc<str>,
        at: i64,
    }

    impl Office {
        fn over(budgets: Vec<Arc<Budget>>) -> Self {
            Self { budgets, purses: Purses::default(), stage: "work".into(), at: 0 }
        }

        /// A turn: what it is left with.
        fn ask(&mut self, name: &str, priority: i32, wished: u32, per: PerReplica) -> u32 {
            let (pipeline, stage) = (id(name), Arc::clone(&self.stage));
            let (running, present) = (4, 4);
            let claimant =
                Claimant { pipeline: &pipeline, stage: &stage, priority, running, present, per };
            let ask = Ask { wished, least: wished.min(1) };
            let cuts = self.purses.cuts(self.budgets.iter(), &claimant, ask, time(self.at));
            let left: Vec<_> =
                cuts.iter().map(|cut| (Arc::clone(&cut.budget), cut.granted)).collect();
            let granted = left.iter().map(|(_, left)| *left).min().unwrap_or(wished);
            let asked = Asked { ask, left, window: Duration::from_mins(1), ..Asked::nothing() };
            let names: Vec<_> = self.budgets.iter().map(|it| Arc::clone(&it.name)).collect();
            self.purses.note(&names, &claimant, &asked, time(self.at));
            granted
        }

        fn verdict(&mut self) -> BudgetVerdict {
            let budgets = self.budgets.iter().map(|it| (Arc::clone(&it.name), Arc::clone(it)));
            self.purses.verdicts(&budgets.collect(), time(self.at)).remove(0)
        }
    }

    fn core() -> PerReplica {
        PerReplica { cores: Some(1.0), ..PerReplica::default() }
    }

    fn money(cost: f64) -> PerReplica {
        PerReplica { cost_per_hour: Some(cost), ..PerReplica::default() }
    }

    #[test]
    fn a_quota_is_held_by_pods_that_are_still_there() {
        let room = Room { of: super::super::Thing::Cpu, hard: 12.0, left: 12.0 };
        let rooms = vec![room];
        let quota = Budget {
            name: "shop/compute".into(),
            cost_per_hour: None,
            cores: None,
            is_enforced: true,
            rooms,
        };
        let (book, print, stage) = (id("book"), id("print"), Arc::<str>::from("work"));
        let mut purses = Purses::default();
        let claims = |pipeline, (running, present), priority| Claimant {
            pipeline,
            stage: &stage,
            priority,
            running,
            present,
            per: core(),
        };
        let names = [Arc::clone(&quota.name)];
        let ask = Ask { wished: 4, least: 1 };
        let quota = Arc::new(quota);
        let mut granted = |prints: (u32, u32), books: (u32, u32)| {
            let asked = Asked { ask, ..Asked::nothing() };
            for at in [0, 30] {
                purses.note(&names, &claims(&print, prints, 0), &asked, time(at));
            }
            let book = claims(&book, books, 5);
            let cuts =
                purses.cuts(std::iter::once(&quota), &book, Ask { wished: 8, least: 1 }, time(30));
            cuts.first().map_or(8, |cut| cut.granted)
        };
        // Eight of another's replicas are on their way to four, whose pods are all there still; then two more are gone; then all four.
        assert_eq!(granted((4, 8), (2, 2)), 4);
        assert_eq!(granted((4, 6), (2, 2)), 6);
        assert_eq!(granted((4, 4), (2, 2)), 8);
        // Its own that are still ending count as well.
        assert_eq!(granted((4, 4), (2, 5)), 5);
    }

    #[test]
    fn equals_together_never_have_more_than_there_is() {
        for (stages, wished, limit, sum) in
            [(2, 12, 15.0, 15), (10, 10, 95.0, 95), (4, 20, 50.0, 50)]
        {
            let mut office = Office::over(vec![budget("team", None, Some(limit))]);
            let mut all = Vec::new();
            for turn in 0..12 {
                office.at = turn * 2;
                let ask = |stage| office.ask(&format!("p{stage}"), 0, wished, core());
                all = (0..stages).map(ask).collect();
            }
            assert_eq!(all.iter().sum::<u32>(), sum, "{all:?}");
        }
    }

    #[test]
    fn nobody_grows_before_all_have_been_heard() {
        let mut office = Office::over(vec![budget("team", None, Some(10.0))]);
        assert_eq!(office.ask("bills", 0, 9, core()), 4, "four run");
        assert_eq!(office.ask("orders", 5, 8, core()), 4);
        office.at = 15;
        assert_eq!(office.ask("bills", 0, 9, core()), 2);
        assert_eq!(office.ask("orders", 5, 8, core()), 8);
        assert_eq!(office.verdict().gave_way, [(id("bills"), 7)]);
    }

    #[test]
    fn a_wish_that_wavers_moves_nobody_else_within_its_window() {
        let mut office = Office::over(vec![budget("team", None, Some(18.0))]);
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..100 {
            office.at = turn * 2;
            office.ask("bills", 0, 10 + u32::from(turn % 7 == 0) * 4, core());
            let left = office.ask("orders", 0, 24, core());
            if 20 < turn {
                seen.insert(left);
            }
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    }

    #[test]
    fn a_budget_in_money_counts_by_price_and_says_whose_is_unknown() {
        let mut office = Office::over(vec![budget("team", Some(1.0), None)]);
        for at in [0, 15] {
            office.at = at;
            office.ask("orders", 5, 4, money(0.2));
            office.ask("bills", 0, 8, money(0.1));
        }
        assert_eq!(office.ask("bills", 0, 8, money(0.1)), 2);
        let verdict = office.verdict();
        assert_eq!((verdict.unpriced.len(), verdict.is_exceeded), (0, true));
        assert!((verdict.cost_per_hour.unwrap() - 1.2).abs() < 1e-9, "{verdict:?}");

        // Whose price nobody knows, nothing is taken from; nor from who takes nothing.
        assert_eq!(office.ask("blind", 0, 50, PerReplica::default()), 50);
        assert_eq!(office.ask("free", 0, 50, money(0.0)), 50);
        assert_eq!(office.verdict().unpriced, [id("blind")]);
        assert_eq!(office.verdict().cost_per_hour, None);
        // Asleep it has no pods, and what a replica takes is remembered; and a price that wavers is as it was.
        assert_eq!(office.ask("bills", 0, 8, PerReplica::default()), 2);
        assert_eq!(office.ask("bills", 0, 8, money(0.104)), 2);
        assert_eq!(office.ask("bills", 0, 8, money(0.2)), 1);
    }

    #[test]
    fn what_one_budget_does_not_leave_is_not_asked_of_another() {
        let (team, all) = (budget("team", None, Some(10.0)), budget("all", None, Some(20.0)));
        let mut office = Office::over(vec![Arc::clone(&team), Arc::clone(&all)]);
        for at in [0, 15, 17] {
            office.at = at;
            office.budgets = vec![Arc::clone(&team), Arc::clone(&all)];
            office.ask("orders", 0, 100, core());
            office.budgets = vec![Arc::clone(&all)];
            office.ask("other", 0, 10, core());
        }
        assert_eq!(office.ask("other", 0, 10, core()), 10, "the team has its ten");
    }

    #[test]
    fn who_watches_what_another_has_takes_nothing_of_it() {
        let mut office = Office::over(vec![budget("team", Some(1.0), Some(10.0))]);
        let per = PerReplica { cost_per_hour: Some(0.1), ..core() };
        for at in [0, 15] {
            office.at = at;
            office.ask("copy", 9, 6, per);
            office.ask("orders", 0, 9, per);
        }
        assert_eq!(office.ask("orders", 0, 9, per), 4, "the copy had six before");
        office.ask("copy", 9, 6, PerReplica::NOTHING);
        assert_eq!(office.ask("orders", 0, 9, per), 9);
        let verdict = office.verdict();
        assert_eq!(verdict.unpriced, []);
        assert!((verdict.cost_per_hour.unwrap() - 0.4).abs() < 1e-9, "{verdict:?}");
    }

    #[test]
    fn a_claim_ends_with_its_pipeline_its_stage_or_its_namespace() {
        let mut office = Office::over(vec![budget("team", None, Some(10.0))]);
        let fill = |office: &mut Office| {
            for at in [0, 15] {
                office.at = at;
                office.ask("orders", 5, 8, core());
            }
            office.ask("bills", 0, 6, core())
        };
        assert_eq!(fill(&mut office), 2);
        office.purses.forget(&id("orders"));
        assert_eq!(office.ask("bills", 0, 6, core()), 6);
        fill(&mut office);
        office
            .purses
            .forget_but(&id("orders"), |budget, stage| budget == "team" && stage != "work");
        assert_eq!(office.ask("bills", 0, 6, core()), 6);
        // What was kept after all, others do not have.
        fill(&mut office);
        office.purses.keep(&id("orders"), "work", 9);
        assert_eq!(office.ask("bills", 0, 6, core()), 1);
    }
}
