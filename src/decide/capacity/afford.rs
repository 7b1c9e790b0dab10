//! A stage under budgets, at its turn: what it asks of them, and what they leave it.

use std::sync::Arc;

use super::super::demand::Bid;
use super::super::frame::Frame;
use super::super::knowledge::Known;
use super::super::memory::StageMemory;
use super::super::pipeline::{Mode, Select};
use super::super::reason::Reason;
use super::super::snapshot::Target;
use super::super::stage::Turn;
use super::Budget;
use super::claim::{Asked, Claimant, RoomAsk};
use super::purse::Cut;
use super::ration::Ask;
use super::split::{Part, Room, Stand, split};

impl Turn<'_> {
    /// Cuts a wish down to what the budgets over the stage leave it; `None` where there are none. `is_told` when the owner's own word made
    /// the wish, whatever is known.
    pub(in crate::decide) fn afford(
        &self,
        bid: &mut Bid,
        known: &Known,
        memory: &StageMemory,
        (frame, is_told): (Frame, bool),
    ) -> Option<Asked> {
        let Target::Seen(workload) = self.target else { return None };
        if self.budgets.is_empty() {
            return None;
        }
        let is_sure = is_told || self.evidence.is_fresh();
        let is_foreign = memory.writes.forbidden(workload).is_some();
        let is_kept = !is_sure || is_foreign || self.gates.keeps();
        let window = self.stage.behaviour.down.window.unwrap_or_else(|| known.window());
        let ask = self.ask(bid.replicas, frame, is_kept);
        let (pipeline, stage) = (self.pipeline, self.stage);
        let claimant =
            Claimant::of(pipeline, stage, (frame.desired, self.present), self.per_replica);
        let cuts = self.purses.cuts(self.budgets_here(), &claimant, ask, self.at);
        let left = cuts.iter().map(|cut| (Arc::clone(&cut.budget), cut.granted)).collect();
        if let Some(cut) = cuts.into_iter().min_by_key(|cut| cut.granted)
            && cut.granted < bid.replicas
        {
            let Cut { budget, granted, first, equals, room } = cut;
            let wished = ask.wished;
            let reason = match room {
                None => {
                    let budget = budget.to_string();
                    Reason::OverBudget { wished, granted, budget, first, equals }
                }
                Some((room, is_awaited)) => {
                    let quota = budget.rsplit('/').next().unwrap_or_default().into();
                    Reason::OverQuota { wished, granted, quota, room, first, equals, is_awaited }
                }
            };
            bid.set(granted, reason);
        }
        Some(Asked { ask, left, window, ..Asked::nothing() })
    }

    /// What waits for a node is taken back where a quota has no place for it beside those that another lane carries: its place there is worth
    /// more than its place in the line, since pods beyond a quota are not made.
    pub(super) fn within_quota(
        &self,
        parts: Vec<Part>,
        mut stands: Vec<Stand>,
        replicas: u32,
    ) -> Vec<Part> {
        let asked = parts.iter().map(|part| part.replicas).sum();
        let waits = |stand: &&mut Stand| {
            stand.unplaced != 0 && matches!(stand.room, Room::AsAsked | Room::Full(_))
        };
        if asked <= replicas || !self.is_beyond_quota(asked, replicas) {
            return parts;
        }
        stands.iter_mut().filter(waits).for_each(|stand| stand.room = Room::BeyondPlaced(0));
        split(&self.stage.lanes, &stands, replicas)
    }

    /// Do the quotas over the stage leave it fewer than so many, of which it needs a part?
    fn is_beyond_quota(&self, asked: u32, needed: u32) -> bool {
        let quotas = || self.budgets_here().filter(|budget| Budget::is_of_quota(&budget.name));
        if self.purses.are_new(quotas(), self.at) {
            return false;
        }
        let (pipeline, stage, counts) = (self.pipeline, self.stage, (needed, needed));
        let claimant = Claimant::of(pipeline, stage, counts, self.per_replica);
        let ask = Ask { wished: asked, least: needed };
        self.purses.cuts(quotas(), &claimant, ask, self.at).iter().any(|cut| cut.granted < asked)
    }

    /// The budgets over the stage, as they are now.
    pub(super) fn budgets_here(&self) -> impl Iterator<Item = &Arc<Budget>> {
        self.budgets.iter().filter_map(|name| self.budgets_seen.get(name))
    }

    /// How much room the budgets over the stage leave it beside so many replicas, up to what is wanted, and notes that with what it asks of
    /// them. Real pods come first, whoever's they are.
    pub(super) fn room_beside(&self, replicas: u32, wanted: u32, asked: &mut Asked) -> u32 {
        if self.budgets.is_empty() {
            return wanted;
        }
        let standing = self.room_standing();
        asked.room = RoomAsk { wished: wanted, standing, kept: 0 };
        let enforced = self.budgets_here().filter(|budget| budget.is_enforced);
        let enforced: Vec<_> = enforced.collect();
        let kept = if self.purses.are_new(enforced.iter().copied(), self.at) {
            // Nobody knows yet what is left: what stands stays, and no more is made.
            wanted.min(standing)
        } else {
            let counts = (replicas, self.present);
            let claimant = Claimant::of(self.pipeline, self.stage, counts, self.per_replica);
            self.purses.admit(&enforced, &claimant, asked, self.at)
        };
        // What is only told takes nothing from others.
        asked.room =
            if self.only_tells() { RoomAsk::default() } else { RoomAsk { kept, ..asked.room } };
        kept
    }

    /// Who is not written keeps what runs. So does who `is_kept` for now: without fresh data, behind a gate, or where others write.
    fn ask(&self, wished: u32, frame: Frame, is_kept: bool) -> Ask {
        let pause = &self.pipeline.pause;
        if let Some(replicas) = self.stage.pinned {
            return Ask { wished: replicas, least: replicas };
        }
        if self.stage.mode == Mode::Observe || pause.all {
            return Ask { wished: frame.desired, least: frame.desired };
        }
        // Jobs that run are never ended, and one may say that its workload never goes down.
        let never_falls = self.is_jobs() || self.stage.behaviour.down.select == Select::Disabled;
        let wished = wished.min(self.stage.max);
        let (wished, lowest) = match (pause.scale_out, pause.scale_in || is_kept || never_falls) {
            (true, true) => (frame.desired, frame.desired),
            (true, false) => (wished.min(frame.desired), frame.floor),
            (false, true) => (wished.max(frame.current), frame.current),
            (false, false) => (wished, frame.floor),
        };
        Ask { wished, least: lowest.min(wished) }
    }
}
