//! A pool that has reached its limits: the stages with lanes on it share out what their pods find on its nodes as they share a budget, by
//! priority, and evenly inside one. Who gets less than it has lets go of it when the lanes that take over carry it, and who gets more asks for
//! it when others have let go.
//!
//! What a pool holds is measured and not read off its limits: nodes have room in which no pod fits, and pods of others. It is the most that
//! pods of lanes were seen to take of it since it may grow no further, as far as its nodes are there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::pipeline::{Lane, PipelineId};
use super::super::snapshot::Workload;
use super::super::stage::Turn;
use super::PoolCpu;
use super::budget::{Budget, Thing};
use super::claim::{Asked, Claim, Claimant};
use super::purse::{Purse, Purses};
use super::ration::{Ask, fits};
use super::split::Stand;

/// For so long the highest wish counts, so that others do not move with one that wavers.
const WINDOW: Duration = Duration::from_mins(5);

/// What a lane asked of its pool at a turn.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::decide) struct PoolClaim {
    budget: Arc<str>,
    /// CPUs that the pool holds.
    held: f64,
    /// Replicas that are asked for.
    desired: u32,
    asked: Asked,
    /// Who comes first, where somebody does; else how many share evenly.
    first: Option<PipelineId>,
    equals: u32,
}

impl PoolClaim {
    fn of(budget: &Budget, desired: u32, ask: Ask) -> Self {
        Self {
            budget: Arc::clone(&budget.name),
            held: budget.rooms.first().map_or(0.0, |room| room.left),
            desired,
            asked: Asked { ask, window: WINDOW, ..Asked::nothing() },
            first: None,
            equals: 0,
        }
    }

    /// The pool's name.
    pub(super) fn pool(&self) -> Option<&str> {
        Budget::pool(&self.budget)
    }

    /// Why it is left no more than it is, where others have a part in that.
    pub(super) fn first(&self) -> Option<String> {
        match (&self.first, self.equals) {
            (Some(first), _) => Some(format!("{first} is served first")),
            (None, 0) => None,
            (None, equals) => Some(format!("it is shared evenly with {equals} more")),
        }
    }
}

impl Turn<'_> {
    /// How many replicas a lane may be asked for on a pool at its limits, where it wants so many, and `alone` if nobody else wanted any.
    pub(super) fn on_pool(
        &self,
        lane: &Lane,
        stand: &Stand,
        alone: u32,
        wanted: u32,
    ) -> (u32, PoolClaim) {
        let desired = stand.desired;
        let (budget, free) = self.held_by(&lane.pool);
        let ask = match (stand.is_fixed, lane.fallback_to) {
            (true, _) => Ask { wished: desired, least: desired },
            (false, Some(_)) => Ask { wished: wanted, least: lane.base.min(wanted) },
            // Nobody takes over from it: what it has it keeps.
            (false, None) => Ask { wished: wanted, least: stand.ready.min(wanted) },
        };
        let mut claim = PoolClaim::of(&budget, desired, ask);
        let claimant = self.on_its_own(desired);
        let unit = self.per_replica.counted(Thing::Cpu.unit());
        let budget = Arc::new(budget);
        let (Some(unit), false) = (unit, self.purses.are_new(std::iter::once(&budget), self.at))
        else {
            // Nobody knows yet what it takes, or what others want: it stays as it is.
            return (alone, claim);
        };
        // No more than is surely there, and step by step: what is on its way has been counted already.
        let more = if desired <= stand.ready { desired + fits(free, unit) } else { desired };
        if !self.purses.is_wanted_beside(&budget, &claimant) {
            return (alone.max(more), claim);
        }
        let cut = self.purses.cuts(std::iter::once(&budget), &claimant, ask, self.at).pop();
        let granted = cut.as_ref().map_or(wanted, |cut| cut.granted);
        if let Some(cut) = cut {
            claim.asked.left.push((cut.budget, granted));
            (claim.first, claim.equals) = (cut.first, cut.equals);
        }
        (if granted < desired { granted } else { granted.min(more) }, claim)
    }

    /// What lanes ask of pools at their limits whose counts are not written: what they have.
    pub(super) fn kept_on_pools(&self, workload: &Workload) -> Vec<PoolClaim> {
        let each = self.stage.lanes.iter().zip(&workload.lanes);
        let kept = each.filter(|(lane, _)| self.is_at_limits(&lane.pool)).map(|(lane, seen)| {
            let desired = seen.workload.desired;
            let (budget, _) = self.held_by(&lane.pool);
            let claim = PoolClaim::of(&budget, desired, Ask { wished: desired, least: desired });
            // What it wished before it does not get.
            let asked = Asked { window: Duration::ZERO, ..claim.asked };
            PoolClaim { asked, ..claim }
        });
        kept.collect()
    }

    /// What a pool at its limits holds, and CPUs of that which are free.
    fn held_by(&self, pool: &str) -> (Budget, f64) {
        let seen = self.pools_seen.get(pool).and_then(|seen| seen.cpu);
        let PoolCpu { cores, taken } = seen.unwrap_or_default();
        let held = self.purses.held(pool).min(cores).max(taken);
        (Budget::of_pool(pool, held), held - taken)
    }

    fn on_its_own(&self, desired: u32) -> Claimant<'_> {
        Claimant::of(self.pipeline, self.stage, (desired, desired), self.per_replica)
    }
}

impl Purses {
    /// CPUs that a pool was seen to hold.
    fn held(&self, pool: &str) -> f64 {
        self.each.get(&*Budget::name_of(pool)).map_or(0.0, |purse| purse.held)
    }

    /// Does any other stage want anything of it?
    fn is_wanted_beside(&self, budget: &Budget, claimant: &Claimant<'_>) -> bool {
        let Some(purse) = self.each.get(&budget.name) else { return false };
        let (before, _, after) = purse.around(claimant);
        let wants = |claim: &Claim| claim.running.max(claim.ask.wished).max(claim.peak.0) != 0;
        before.iter().chain(after).any(wants)
    }

    /// Takes in what a lane asked of its pool.
    pub(in crate::decide) fn note_on_pool(
        &mut self,
        claim: &PoolClaim,
        claimant: &Claimant<'_>,
        at: Timestamp,
    ) {
        let claimant =
            Claimant { running: claim.desired, present: claim.desired, ..claimant.clone() };
        let new = || Purse::new(at);
        let purse = self.each.entry(Arc::clone(&claim.budget)).or_insert_with(new);
        purse.note(&claim.budget, &claimant, &claim.asked, at);
        purse.held = claim.held;
    }
}
