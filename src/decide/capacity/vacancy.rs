//! What budgets leave for room on nodes, once every real pod has its place: shared out among those who keep room as replicas are, by priority,
//! and evenly inside one. Pure; `afford` joins it to the turn.
//!
//! Who grows waits until others have given back what they have too much; who shrinks leaves them what they are to have. So all rooms together
//! never come to more than is left when each has had its turn, and all come to their parts.

use std::sync::Arc;

use jiff::Timestamp;

use super::budget::{Budget, Limit, whole};
use super::claim::{Asked, Claim, Claimant, RoomAsk};
use super::purse::{Purse, Purses};
use super::ration::{fits, grants};

/// What a limit leaves a stage for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Vacancy {
    /// Its part, when all have theirs.
    part: u32,
    /// What others are not to have after their last turns.
    spared: u32,
    /// And what of that nothing of theirs stands on any more.
    free: u32,
}

impl Vacancy {
    /// The less of both, in each.
    fn min(self, other: Self) -> Self {
        Self {
            part: self.part.min(other.part),
            spared: self.spared.min(other.spared),
            free: self.free.min(other.free),
        }
    }
}

impl Purses {
    /// For how many replicas a stage may keep room, of those it asks for. Notes in `asked` what each budget leaves of that, so that no other
    /// budget is asked for it.
    pub(super) fn admit(
        &self,
        budgets: &[&Arc<Budget>],
        claimant: &Claimant<'_>,
        asked: &mut Asked,
        at: Timestamp,
    ) -> u32 {
        let nobody = Purse::new(at);
        let of = |budget: &&Arc<Budget>, asked: &Asked| {
            let purse = self.each.get(&budget.name).unwrap_or(&nobody);
            let vacancy = purse.vacancy(budget, claimant, asked, at)?;
            Some((Arc::clone(&budget.name), vacancy))
        };
        let each: Vec<_> = budgets.iter().filter_map(|budget| of(budget, asked)).collect();
        asked.room_left = each.into_iter().map(|(name, vacancy)| (name, vacancy.part)).collect();
        // What one does not leave is not asked of another: with that its part may be less.
        let each = budgets.iter().filter_map(|budget| of(budget, asked));
        let RoomAsk { wished, standing, .. } = asked.room;
        let least = each.map(|(_, vacancy)| vacancy).reduce(Vacancy::min);
        least.map_or(wished, |Vacancy { part, spared, free }| {
            part.min(free.max(spared.min(standing))).min(wished)
        })
    }
}

impl Purse {
    /// What it leaves a stage for room; `None` where nothing that it limits is known of the stage.
    fn vacancy(
        &self,
        budget: &Budget,
        claimant: &Claimant<'_>,
        asked: &Asked,
        at: Timestamp,
    ) -> Option<Vacancy> {
        let (before, known, after) = self.around(claimant);
        let mine = Claim::new(&budget.name, claimant, asked, known, at);
        let all = || before.iter().chain([&mine]).chain(after);
        let of = |Limit { most, unit, .. }: Limit| {
            let my_unit = mine.per.counted(unit)?;
            let index = before.iter().filter(|it| it.per.counted(unit).is_some()).count();
            let counted = all().filter_map(|claim| Some((claim.per.counted(unit)?, claim)));
            let counted: Vec<(f64, &Claim)> = counted.collect();
            let real: Vec<_> = counted.iter().map(|(unit, claim)| claim.share(*unit)).collect();
            let real = counted.iter().zip(grants(most, &real));
            let taken = real.map(|((unit, claim), it)| unit * f64::from(it.max(claim.holds())));
            let left = most - whole(taken);
            let rooms: Vec<_> =
                counted.iter().map(|(unit, claim)| claim.room_share(*unit)).collect();
            let part = *grants(left.max(0.0), &rooms).get(index)?;
            let beside = |room: fn(RoomAsk) -> u32| {
                let others = counted.iter().enumerate().filter(|(at, _)| *at != index);
                let theirs = others.map(|(_, (unit, claim))| unit * f64::from(room(claim.room)));
                fits(left - whole(theirs), my_unit)
            };
            let spared = beside(|room| room.kept);
            Some(Vacancy { part, spared, free: beside(|room| room.kept.max(room.standing)) })
        };
        budget.limits().filter_map(of).reduce(Vacancy::min)
    }
}
