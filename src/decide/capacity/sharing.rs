//! A pool that has reached its limits: the stages with lanes on it share out what their pods find on its nodes as they share a budget, by
//! priority, and evenly inside one. Who gets less than it has lets go of it when the lane of its `fallbackTo` carries it, and who gets
//! more asks for it when others have let go.
//!
//! What a pool holds is measured and not read off its limits: nodes have room in which no pod fits, and pods of others. It is the most that
//! pods of these lanes were seen to take of it since it may grow no further.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::pipeline::{Lane, PipelineId};
use super::super::stage::Turn;
use super::LaneSeen;
use super::budget::{Budget, Thing, whole};
use super::claim::{Asked, Claim, Claimant};
use super::purse::{Purse, Purses};
use super::ration::Ask;

/// For so long the highest wish counts, so that others do not move with one that wavers.
const WINDOW: Duration = Duration::from_mins(5);

/// What a lane asked of its pool at a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct PoolClaim {
    budget: Arc<str>,
    /// Replicas that are asked for, and those that have a node.
    counts: (u32, u32),
    asked: Asked,
    /// Who comes first, where somebody does; else how many share evenly.
    first: Option<PipelineId>,
    equals: u32,
}

impl PoolClaim {
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
    /// How many replicas a lane may ask for on a pool that may grow no further, where it wants so many.
    pub(super) fn on_pool(&self, lane: &Lane, seen: &LaneSeen, wanted: u32) -> (u32, PoolClaim) {
        let (desired, current) = (seen.workload.desired, seen.workload.current);
        let counts = (desired, current.saturating_sub(seen.places.unplaced));
        let ask = Ask { wished: wanted, least: lane.base.min(wanted) };
        let claimant = Claimant::of(self.pipeline, self.stage, counts, self.per_replica);
        let budget = Arc::new(Budget::of_pool(&lane.pool, self.purses.held(&lane.pool, &claimant)));
        let mut claim = PoolClaim {
            budget: Arc::clone(&budget.name),
            counts,
            asked: Asked { ask, window: WINDOW, ..Asked::nothing() },
            first: None,
            equals: 0,
        };
        if self.per_replica.counted(Thing::Cpu.unit()).is_none() {
            // Nobody knows what it takes: it stays as it is.
            return (desired, claim);
        }
        let cuts = self.purses.cuts(std::iter::once(&budget), &claimant, ask, self.at);
        let Some(cut) = cuts.into_iter().next() else { return (wanted.max(desired), claim) };
        // What waits may wait, where nobody else would have its place.
        let is_alone = cut.first.is_none() && cut.equals == 0;
        let most = if is_alone { cut.granted.max(desired) } else { cut.granted };
        claim.asked.left.push((cut.budget, cut.granted));
        (claim.first, claim.equals) = (cut.first, cut.equals);
        (most, claim)
    }
}

impl Purses {
    /// CPUs that a pool holds for pods of stages, this one's as they are now.
    fn held(&self, pool: &str, claimant: &Claimant<'_>) -> f64 {
        let unit = Thing::Cpu.unit();
        let mine = claimant.per.counted(unit).unwrap_or(0.0) * f64::from(claimant.present);
        let known = self.each.get(&*format!("/{pool}"));
        known.map_or(mine, |purse| purse.held.max(purse.taken_beside(claimant) + mine))
    }

    /// Takes in what a lane asked of its pool.
    pub(in crate::decide) fn note_on_pool(
        &mut self,
        claim: &PoolClaim,
        claimant: &Claimant<'_>,
        at: Timestamp,
    ) {
        let (running, present) = claim.counts;
        let claimant = Claimant { running, present, ..claimant.clone() };
        let held = claim.pool().map_or(0.0, |pool| self.held(pool, &claimant));
        let purse = self.each.entry(Arc::clone(&claim.budget)).or_insert_with(|| Purse::new(at));
        purse.note(&claim.budget, &claimant, &claim.asked, at);
        purse.held = held;
    }
}

impl Purse {
    /// CPUs that placed pods of others take.
    fn taken_beside(&self, claimant: &Claimant<'_>) -> f64 {
        let (before, _, after) = self.around(claimant);
        let unit = Thing::Cpu.unit();
        let of = |claim: &Claim| Some(claim.per.counted(unit)? * f64::from(claim.present));
        whole(before.iter().chain(after).filter_map(of))
    }
}
