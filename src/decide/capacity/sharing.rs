//! A pool that has reached its limits: the stages with lanes on it share out what their pods find on its nodes as they share a budget, by
//! priority, and evenly inside one. Who gets less than it has lets go of it when the lanes that take over carry it, and who gets more asks for
//! it when others have let go.
//!
//! What a pool holds is measured and not read off its limits: nodes have room in which no pod fits, and pods of others. It is the most that
//! pods of lanes were seen to take of it since it may grow no further, as far as its nodes are there; and for as long as that can be believed,
//! what who makes its nodes may still add and is making, less what others were asked for and wait for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::pipeline::{Lane, PipelineId};
use super::super::snapshot::Workload;
use super::super::stage::Turn;
use super::super::writes::{later, span};
use super::budget::{Budget, PerReplica, Thing};
use super::claim::{Asked, Claim, Claimant};
use super::patience::patience;
use super::purse::{Purse, Purses};
use super::ration::{Ask, fits};
use super::split::Stand;
use super::{LaneSeen, PoolCpu};

/// For so long the highest wish counts, so that others do not move with one that wavers.
const WINDOW: Duration = Duration::from_mins(5);

/// Who makes nodes has begun to after so long, if it can: what is left may be too little for the smallest that it may make.
const BEGINS: Duration = Duration::from_secs(20);
/// Whether nodes come is looked at so often.
const LOOKS: Duration = Duration::from_secs(5);

/// Who has waited for so long on a place that was thought to be free does so in vain.
const WAITS: Duration = Duration::from_secs(30);

/// What a lane asked of its pool at a turn.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::decide) struct PoolClaim {
    budget: Arc<str>,
    /// CPUs that the pool was seen to hold.
    held: f64,
    /// Replicas that are asked for, and what one takes.
    desired: u32,
    per: PerReplica,
    asked: Asked,
    /// Who comes first, where somebody does; else how many share evenly.
    first: Option<PipelineId>,
    equals: u32,
}

impl PoolClaim {
    fn of(holding: &Holding, (desired, per): (u32, PerReplica), ask: Ask) -> Self {
        Self {
            budget: Arc::clone(&holding.budget.name),
            held: holding.held,
            desired,
            per,
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

/// What a pool at its limits has for a lane: as a budget, what of that it was seen to hold, and what is free, in CPUs.
struct Holding {
    budget: Budget,
    held: f64,
    free: f64,
}

/// Replicas that a lane is asked for and that have no node.
fn unserved(lane: &LaneSeen) -> u32 {
    let Workload { desired, current, .. } = lane.workload;
    let placed = current.saturating_sub(lane.places.unplaced);
    desired.max(current).saturating_sub(placed)
}

impl Turn<'_> {
    /// How many replicas a lane may be asked for on a pool at its limits, where it wants so many, and `alone` if nobody else wanted any.
    pub(super) fn on_pool(
        &self,
        (lane, seen): (&Lane, &LaneSeen),
        stand: &Stand,
        alone: u32,
        wanted: u32,
    ) -> (u32, PoolClaim) {
        let desired = stand.desired;
        let holding = self.held_by(&lane.pool, seen);
        let free = holding.free - self.owed_beside(&lane.pool, seen);
        let ask = match (stand.is_fixed, lane.fallback_to) {
            (true, _) => Ask { wished: desired, least: desired },
            (false, Some(_)) => Ask { wished: wanted, least: lane.base.min(wanted) },
            // Nobody takes over from it: what it has it keeps.
            (false, None) => Ask { wished: wanted, least: stand.ready.min(wanted) },
        };
        let per = self.takes(seen);
        let mut claim = PoolClaim::of(&holding, (desired, per), ask);
        let claimant = Claimant::of(self.pipeline, self.stage, (desired, desired), per);
        let unit = per.counted(Thing::Cpu.unit());
        let budget = Arc::new(holding.budget);
        let (Some(unit), false) = (unit, self.purses.are_new(std::iter::once(&budget), self.at))
        else {
            // Nobody knows yet what it takes, or what others want: it stays as it is.
            return (alone, claim);
        };
        // No more than is surely there: what is on its way has been counted already.
        let more = desired.max(stand.ready.min(desired).saturating_add(fits(free, unit)));
        if !self.purses.is_wanted_beside(&budget, &claimant) {
            return (alone.max(more), claim);
        }
        let cut = self.purses.cuts(std::iter::once(&budget), &claimant, ask, self.at).pop();
        let granted = cut.as_ref().map_or(wanted, |cut| cut.granted);
        if let Some(cut) = cut {
            claim.asked.left.push((cut.budget, granted));
            (claim.first, claim.equals) = (cut.first, cut.equals);
        }
        (if granted < desired { granted } else { granted.min(more).max(alone) }, claim)
    }

    /// What lanes ask of pools at their limits whose counts are not written: what they have.
    pub(super) fn kept_on_pools(&self, workload: &Workload) -> Vec<PoolClaim> {
        let each = self.stage.lanes.iter().zip(&workload.lanes);
        let kept = each.filter(|(lane, _)| self.is_at_limits(&lane.pool)).map(|(lane, seen)| {
            let desired = seen.workload.desired;
            let holding = self.held_by(&lane.pool, seen);
            let ask = Ask { wished: desired, least: desired };
            let claim = PoolClaim::of(&holding, (desired, self.takes(seen)), ask);
            // What it wished before it does not get.
            let asked = Asked { window: Duration::ZERO, ..claim.asked };
            PoolClaim { asked, ..claim }
        });
        kept.collect()
    }

    /// What a pool at its limits holds for a lane.
    fn held_by(&self, pool: &str, lane: &LaneSeen) -> Holding {
        let PoolCpu { cores, taken, .. } = self.cpu_of(pool);
        // Pods of others, which are not counted, may have come meanwhile to where there was room.
        let is_gone = WAITS < self.waits(lane);
        let before = if is_gone { 0.0 } else { self.purses.held(pool) };
        let held = before.min(cores).max(taken);
        let hoped = self.hoped(pool, lane);
        Holding { budget: Budget::of_pool(pool, held + hoped), held, free: held - taken + hoped }
    }

    fn cpu_of(&self, pool: &str) -> PoolCpu {
        self.pools_seen.get(pool).and_then(|seen| seen.cpu).unwrap_or_default()
    }

    /// How long a pod of the lane has waited for a node.
    fn waits(&self, lane: &LaneSeen) -> Duration {
        lane.places.unplaced_since.map(|since| span(since, self.at)).unwrap_or_default()
    }

    /// CPUs that a pool at its limits may still come to: what may be made, unless nobody began to while a pod of the lane waited, and what is
    /// being made, unless it does not come.
    fn hoped(&self, pool: &str, lane: &LaneSeen) -> f64 {
        let Some(seen) = self.pools_seen.get(pool) else { return 0.0 };
        let PoolCpu { left, coming, .. } = seen.cpu.unwrap_or_default();
        match self.waits(lane) {
            waited if waited <= BEGINS => left + coming,
            waited if waited <= patience(seen) => coming,
            _ => 0.0,
        }
    }

    /// When to look again whether nodes come for the pods of a lane that wait at a pool's limits, while they may.
    pub(super) fn hopes_until(&self, pool: &str, lane: &LaneSeen) -> Option<Timestamp> {
        let is_waiting = lane.places.unplaced != 0 && self.is_at_limits(pool);
        (is_waiting && 0.0 < self.hoped(pool, lane)).then(|| later(self.at, LOOKS))
    }

    /// CPUs that other lanes have asked for and not been given yet.
    fn owed_beside(&self, pool: &str, lane: &LaneSeen) -> f64 {
        let unit = self.takes(lane).counted(Thing::Cpu.unit()).unwrap_or_default();
        (self.cpu_of(pool).owed - unit * f64::from(unserved(lane))).max(0.0)
    }

    /// Of the replicas of a lane that have no node, how many may get one yet of a pool at its limits.
    pub(super) fn still_coming(&self, pool: &str, lane: &LaneSeen) -> u32 {
        let unit = self.takes(lane).counted(Thing::Cpu.unit());
        let hoped = self.hoped(pool, lane) - self.owed_beside(pool, lane);
        unit.map_or(0, |unit| fits(hoped, unit))
    }

    /// What a replica of a lane takes: as its own pods say while any is Ready, else as those of all lanes do.
    fn takes(&self, seen: &LaneSeen) -> PerReplica {
        if self.per_replica == PerReplica::NOTHING {
            return self.per_replica;
        }
        let own = seen.workload.cpu.map(|cpu| f64::from(cpu.request) / 1000.0);
        PerReplica { cores: own.or(self.per_replica.cores), ..self.per_replica }
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
        let (running, per) = (claim.desired, claim.per);
        let claimant = Claimant { running, present: running, per, ..claimant.clone() };
        let new = || Purse::new(at);
        let purse = self.each.entry(Arc::clone(&claim.budget)).or_insert_with(new);
        purse.note(&claim.budget, &claimant, &claim.asked, at);
        purse.held = claim.held;
    }
}
