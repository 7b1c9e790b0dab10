//! The lanes of a stage in its turn: what they are together, what became of the writes to each, and which count each shall have. To the
//! rest of the turn a stage with lanes is one workload with one count; only here is it several.
//!
//! The count of the stage is remembered, since the lanes alone do not tell it: at times more run than it needs, because some replace
//! others that are about to go, or try whether a pool gives nodes again. It changes when all lanes show what was asked for, as the count of a
//! single workload does when its write is taken. After a restart all that runs counts, until a down window has passed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::demand::Bid;
use super::super::memory::{ByName, StageMemory};
use super::super::order::{Order, within};
use super::super::pipeline::{Lane, Mode, Stage};
use super::super::plan::{Action, Outcome};
use super::super::reason::Reason;
use super::super::snapshot::{Workload, Writing};
use super::super::stage::Turn;
use super::super::writes::{Move, Writes, later};
use super::pack::count;
use super::sharing::PoolClaim;
use super::split::{Part, Room, Stand, split};
use super::{Before, LaneSeen, LaneVerdict, Nodes};

/// What carries for others in a consumer group gives back no sooner after its last write: else the group would be formed anew with each pod
/// that comes back.
const GIVING: Duration = Duration::from_secs(30);

/// While data is late it gives nothing back at all, but for no longer than this, as long as the longest down window: a stage that is always late
/// would pay for both for ever.
const KEEPING: Duration = Duration::from_mins(10);

/// What is remembered of the lanes of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Lanes {
    /// By pool.
    each: ByName<Known>,
    /// What the stage needs, as the lanes have shown it to be in force; `None` before they were first seen.
    need: Option<u32>,
    /// What it was decided to need, until the lanes show it.
    wish: Option<u32>,
    /// When what it needs last changed by a decision, from above zero.
    moved: Option<Timestamp>,
    /// After how long on a node a pod of it is hardly going to get Ready any more.
    #[serde(default)]
    overdue: Duration,
    /// Since when nothing is given back because data is late.
    #[serde(default)]
    keeps_since: Option<Timestamp>,
}

/// What is remembered of one lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    writes: Writes,
    /// What it was asked for before the last decision, and by it.
    before: u32,
    asked: u32,
    /// Pods that interruptions ended: ever, as far as is known, and since the last turn.
    #[serde(default)]
    interrupted: Option<u64>,
    #[serde(default)]
    ended: u32,
}

/// What a turn asks of all lanes: in force once it is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::decide) struct LanePlan {
    need: u32,
    /// Pool, count before, count asked for.
    lanes: Vec<(Arc<str>, u32, u32)>,
}

impl Workload {
    /// Several lanes as one workload. Its counts are their sums; it has no uid, version or lever of its own, and nobody writes it.
    pub fn of_lanes(lanes: Vec<LaneSeen>) -> Self {
        let all = || lanes.iter().map(|lane| &lane.workload);
        let sum = |of: fn(&Self) -> u32| all().map(of).fold(0, u32::saturating_add);
        Self {
            uid: "".into(),
            resource_version: "".into(),
            desired: sum(|lane| lane.desired),
            current: sum(|lane| lane.current),
            ready: sum(|lane| lane.ready),
            ready_since: all().filter_map(|lane| lane.ready_since).max(),
            writing: Writing::Merge,
            read_at: all().map(|lane| lane.read_at).min().unwrap_or(Timestamp::MIN),
            is_ours: true,
            hpa: None,
            jobs: None,
            // Lanes whose pods differ say nothing: what moves between them would look like another CPU.
            cpu: all().map(|lane| lane.cpu).reduce(|a, b| a.filter(|_| a == b)).flatten(),
            lanes,
        }
    }
}

/// A stage with lanes as the rest of its turn sees it: with the count that it needs, not with what runs besides.
pub(in crate::decide) fn counted(workload: &Workload, lanes: Option<&Lanes>) -> Option<Workload> {
    let desired = lanes.filter(|_| !workload.lanes.is_empty())?.count(workload);
    Some(Workload { desired, ..workload.clone() })
}

impl Lanes {
    /// Takes in what became of earlier writes and what each lane says now. Returns the moves of the stage as a whole: what goes from one
    /// lane to another is none.
    pub(in crate::decide) fn settle(
        &mut self,
        stage: &Stage,
        workload: &Workload,
        outcomes: &[&Outcome],
        at: Timestamp,
        may_act: bool,
    ) -> Vec<Move> {
        self.each.keep(|pool| stage.lanes.iter().any(|lane| *lane.pool == *pool));
        for (lane, seen) in stage.lanes.iter().zip(&workload.lanes) {
            let desired = seen.workload.desired;
            let new = || Known { before: desired, asked: desired, ..Known::default() };
            let mut known = self.each.take(&lane.pool).unwrap_or_else(new);
            let of_lane = |outcome: &&&Outcome| outcome.action.scale().target == lane.target;
            let mine: Vec<_> = outcomes.iter().filter(of_lane).copied().collect();
            known.writes.settle(&seen.workload, &mine, at, may_act);
            if stage.mode == Mode::Observe {
                known.writes.forgive();
            }
            let ever = seen.places.interrupted;
            let ended = ever.saturating_sub(known.interrupted.replace(ever).unwrap_or(ever));
            known.ended = u32::try_from(ended).unwrap_or(u32::MAX);
            self.each.put(&lane.pool, known);
        }
        let from = *self.need.get_or_insert(workload.desired);
        if self.stands(stage, workload).is_some() {
            return Vec::new();
        }
        let to = self.shown(stage, workload, from);
        if let Some(wish) = self.wish.take()
            && wish == to
            && 0 < from
            && from != to
        {
            self.moved = Some(at);
        }
        self.need = Some(to);
        let moved = Move { at: self.last().unwrap_or(at), from, to };
        if from == to { Vec::new() } else { vec![moved] }
    }

    /// Takes in after how long on a node a pod is hardly going to get Ready any more.
    pub(in crate::decide) fn give_up_after(&mut self, overdue: Duration) {
        self.overdue = overdue;
    }

    /// Is nothing to be given back yet, where something would be?
    fn keeps(&mut self, would_give: bool, at: Timestamp) -> bool {
        self.keeps_since = would_give.then(|| self.keeps_since.unwrap_or(at));
        self.keeps_until().is_some_and(|until| at < until)
    }

    /// Until when nothing is given back.
    fn keeps_until(&self) -> Option<Timestamp> {
        self.keeps_since.map(|since| later(since, KEEPING))
    }

    /// When each pod that has a node and is not Ready is given up on.
    fn given_up<'a>(&self, seen: &'a LaneSeen) -> impl Iterator<Item = Timestamp> + use<'a> {
        let overdue = self.overdue;
        seen.places.unready.iter().map(move |since| later(*since, overdue))
    }

    /// What the lanes show the stage to need: what was decided, once all of them have it, and what others have changed besides. Where a lane
    /// does not have it, because its write was refused or lost, more is kept rather than less.
    fn shown(&mut self, stage: &Stage, workload: &Workload, from: u32) -> u32 {
        let (mut is_whole, mut changed) = (true, 0_i64);
        for (lane, seen) in stage.lanes.iter().zip(&workload.lanes) {
            let (desired, pool) = (seen.workload.desired, &lane.pool);
            let Some(known) = self.each.get_mut(pool) else { continue };
            if desired != known.asked && desired != known.before {
                changed += i64::from(desired) - i64::from(known.asked);
            } else {
                is_whole &= desired == known.asked;
            }
            (known.before, known.asked) = (desired, desired);
        }
        let need = match self.wish {
            Some(wish) if is_whole => wish,
            Some(wish) => wish.max(from),
            None => from,
        };
        u32::try_from((i64::from(need) + changed).max(0)).unwrap_or(u32::MAX)
    }

    /// The count of the stage.
    fn count(&self, workload: &Workload) -> u32 {
        self.need.unwrap_or(workload.desired)
    }

    /// What was asked of all lanes is on its way.
    pub(in crate::decide) fn plan(&mut self, plan: &LanePlan) {
        self.wish = Some(plan.need);
        for (pool, before, asked) in &plan.lanes {
            if let Some(known) = self.each.get_mut(pool) {
                (known.before, known.asked) = (*before, *asked);
            }
        }
    }

    /// The bid that stands while the count of a lane cannot be trusted.
    pub(in crate::decide) fn stands(&self, stage: &Stage, workload: &Workload) -> Option<Bid> {
        let mut each = stage.lanes.iter().zip(&workload.lanes);
        let stands = |(lane, seen): (&Lane, &LaneSeen)| {
            self.each.get(&lane.pool)?.writes.stands(&seen.workload)
        };
        let bid = each.find_map(stands)?;
        let replicas = self.wish.unwrap_or_else(|| self.count(workload));
        Some(Bid { replicas, why: bid.why })
    }

    /// Why a lane's count is left to somebody else.
    fn forbidden(&self, lane: &Lane, seen: &LaneSeen) -> Option<Reason> {
        self.each.get(&lane.pool)?.writes.forbidden(&seen.workload)
    }

    /// What became of the writes to a lane.
    fn writes(&self, pool: &str) -> Option<&Writes> {
        self.each.get(pool).map(|known| &known.writes)
    }

    /// When the shortest gap after the last move of the stage ends. What goes from one lane to another starts none.
    fn rests_until(&self, gap: Duration, at: Timestamp) -> Option<Timestamp> {
        self.moved.map(|moved| later(moved, gap)).filter(|&until| at < until)
    }

    /// Notes that an action is on its way.
    pub(in crate::decide) fn ask(&mut self, action: &Action, pool: &str, at: Timestamp) {
        if let Some(known) = self.each.get_mut(pool) {
            known.writes.ask(action, at);
        }
    }

    /// When our last write was accepted.
    pub(in crate::decide) fn last(&self) -> Option<Timestamp> {
        self.each.values().filter_map(|known| known.writes.last()).max()
    }

    /// When to look again though nothing happens.
    pub(in crate::decide) fn next(&self, at: Timestamp) -> Option<Timestamp> {
        self.each.values().filter_map(|known| known.writes.next(at)).min()
    }

    /// Bytes on the heap.
    pub(in crate::decide) fn weight(&self) -> usize {
        size_of::<Self>() + self.each.weight(|known| known.writes.weight())
    }
}

impl Turn<'_> {
    /// How so many replicas are shared out over the lanes, and what is to be told of nodes, though it binds no count of the stage.
    pub(in crate::decide) fn shared_out(
        &self,
        workload: &Workload,
        memory: &StageMemory,
        replicas: u32,
    ) -> (Vec<LaneVerdict>, Vec<Reason>) {
        let Some(lanes) = &memory.lanes else {
            let told = self.told_of_costs(&self.stage.target, workload, &memory.writes);
            return (Vec::new(), told);
        };
        let (parts, on_pools) = self.parts(workload, lanes, replicas);
        let each = self.stage.lanes.iter().zip(&workload.lanes).zip(&parts);
        let told = each.clone().flat_map(|(at, part)| self.told_of(at, part, &on_pools));
        let mut told: Vec<_> = told.chain(self.misplaced()).map(Reason::Nodes).collect();
        for (lane, seen) in self.stage.lanes.iter().zip(&workload.lanes) {
            let writes = lanes.writes(&lane.pool);
            told.extend(
                writes
                    .into_iter()
                    .flat_map(|writes| self.told_of_costs(&lane.target, &seen.workload, writes)),
            );
        }
        // As many as are lacking had no replacement yet.
        let mut lacking = replicas.saturating_sub(workload.ready);
        let verdicts = each.map(|((lane, _), part)| {
            let ended = lanes.each.get(&lane.pool).map_or(0, |known| known.ended);
            let missed = ended.min(lacking);
            lacking -= missed;
            LaneVerdict {
                pool: Arc::clone(&lane.pool),
                share: part.share,
                replicas: part.replicas,
                extra: part.extra(),
                survived: ended - missed,
                missed,
            }
        });
        (verdicts.collect(), told)
    }

    /// How the lanes stand, and what that makes of so many replicas; and what is asked of pools that may grow no further.
    pub(super) fn parts(
        &self,
        workload: &Workload,
        lanes: &Lanes,
        replicas: u32,
    ) -> (Vec<Part>, Vec<PoolClaim>) {
        let each = || self.stage.lanes.iter().zip(&workload.lanes);
        let mut stands: Vec<_> = each()
            .map(|(lane, seen)| Stand {
                desired: seen.workload.desired,
                ready: seen.workload.ready,
                placed: seen.workload.current.saturating_sub(seen.places.unplaced),
                unplaced: seen.places.unplaced,
                held: self.room_held(&lane.pool),
                doomed: seen.places.doomed,
                room: self.pools.room(&lane.pool),
                stuck: count(lanes.given_up(seen).filter(|at| *at <= self.at).count()),
                coming: 0,
                is_fixed: lanes.forbidden(lane, seen).is_some(),
            })
            .collect();
        let mut on_pools = Vec::new();
        for ((lane, seen), stand) in each().zip(&mut stands) {
            if self.is_at_limits(&lane.pool) {
                stand.coming = self.still_coming(&lane.pool, seen);
                stand.room = Room::Full(
                    stand.desired
                        + stand.held.saturating_sub(stand.desired.saturating_sub(stand.ready)),
                );
            }
        }
        let parts = split(&self.stage.lanes, &stands, replicas);
        for ((lane, seen), (part, stand)) in each().zip(parts.iter().zip(&mut stands)) {
            if let Room::Full(alone) = stand.room {
                let wanted = part.counted + part.lent;
                let (most, claim) = self.on_pool((lane, seen), stand, alone, wanted);
                stand.room = Room::Full(most);
                on_pools.push(claim);
            }
        }
        let is_shared = !on_pools.is_empty();
        let parts = if is_shared { split(&self.stage.lanes, &stands, replicas) } else { parts };
        (self.within_quota(parts, stands, replicas), on_pools)
    }

    /// Does its owner's limit keep a pool from growing?
    pub(super) fn is_at_limits(&self, pool: &str) -> bool {
        self.pools_seen.get(pool).is_some_and(|seen| self.pools.is_at_limits(seen))
    }

    fn told_of(
        &self,
        (lane, seen): (&Lane, &LaneSeen),
        part: &Part,
        on_pools: &[PoolClaim],
    ) -> Vec<Nodes> {
        let pool = lane.pool.to_string();
        let heir = lane.fallback_to.and_then(|heir| self.stage.lanes.get(heir));
        let mut told = Vec::new();
        if !self.pools.knows(&lane.pool) {
            told.push(Nodes::Undescribed { pool: pool.clone() });
        }
        if seen.places.doomed != 0 {
            let (doomed, until) = (seen.places.doomed, seen.places.deadline);
            told.push(Nodes::Going { pool: pool.clone(), doomed, until });
        }
        if part.stuck != 0 {
            let (pods, heir) = (part.stuck, heir.map(|heir| heir.pool.to_string()));
            told.push(Nodes::Unready { pool: pool.clone(), pods, heir });
        }
        if self.pools.room(&lane.pool) != Room::Free && (part.lent != 0 || part.lost != 0) {
            let heir = heir.map(|heir| heir.pool.to_string());
            let sign = self.pools.sign(&lane.pool).map(|sign| sign.what.to_string());
            let first = on_pools.iter().find(|claim| claim.pool() == Some(&pool));
            let signs = sign.into_iter().chain(first.and_then(PoolClaim::first));
            let sign = signs.collect::<Vec<_>>().join("; ");
            let lacking = part.lent.max(part.lost);
            told.push(Nodes::Short { pool, lacking, heir, sign });
        }
        told
    }

    /// When its lanes are to be looked at again though nothing happens.
    pub(in crate::decide) fn lanes_next(
        &self,
        workload: &Workload,
        memory: &StageMemory,
    ) -> Option<Timestamp> {
        let next = |lane: &Lane| self.pools.next(&lane.pool, self.pools_seen.get(&lane.pool)?);
        let pools = self.stage.lanes.iter().filter_map(next);
        let lanes = memory.lanes.iter();
        let given_up =
            lanes.flat_map(|lanes| workload.lanes.iter().flat_map(|seen| lanes.given_up(seen)));
        let kept = memory.lanes.iter().filter_map(|lanes| lanes.keeps_until());
        let each = self.stage.lanes.iter().zip(&workload.lanes);
        let hopes = each.filter_map(|(lane, seen)| self.hopes_until(&lane.pool, seen));
        pools.chain(hopes).chain(given_up.chain(kept).filter(|at| self.at < *at)).min()
    }

    /// What is to be written to each lane, unless something forbids it; and what all of it comes to.
    pub(in crate::decide) fn write_lanes(
        &self,
        bid: &mut Bid,
        workload: &Workload,
        (lanes, is_late): (&mut Lanes, bool),
    ) -> (Vec<Action>, Option<LanePlan>, Vec<PoolClaim>) {
        let wished = bid.replicas;
        if self.withholds(bid, workload.desired != wished) {
            return (Vec::new(), None, self.kept_on_pools(workload));
        }
        for (lane, seen) in self.stage.lanes.iter().zip(&workload.lanes) {
            if let Some(reason) = lanes.forbidden(lane, seen) {
                bid.set(wished, reason);
            }
        }
        if let Some(until) = lanes.rests_until(self.gap(), self.at)
            && workload.desired != wished
            && workload.desired != 0
        {
            bid.set(workload.desired, Reason::TooSoon { wished, until });
        }
        let (parts, on_pools) = self.parts(workload, lanes, bid.replicas);
        if !self.may_act {
            return (Vec::new(), None, on_pools);
        }
        let is_even = workload.desired == bid.replicas;
        let is_behind = is_late || workload.ready < bid.replicas;
        let each = || self.stage.lanes.iter().zip(&workload.lanes).zip(&parts).enumerate();
        let mut carrying = each().map(|(at, ((_, seen), part))| self.carries(at, seen, part));
        let is_no_less = workload.desired <= bid.replicas;
        let would_give = is_no_less && is_behind && carrying.any(|it| it.is_some());
        let keeps_all = lanes.keeps(would_give, self.at);
        let mut plan = LanePlan { need: bid.replicas, lanes: Vec::new() };
        let mut actions = Vec::new();
        for (at, ((lane, seen), part)) in each() {
            let is_fixed = lanes.forbidden(lane, seen).is_some();
            let Some(known) = lanes.each.get_mut(&lane.pool) else { continue };
            let desired = seen.workload.desired;
            let rests = known.writes.last().is_some_and(|last| self.at < later(last, GIVING));
            let gives = part.share < part.counted && part.replicas < desired;
            let keeps = gives && is_even && rests && self.evidence.is_partitioned();
            let carried = self.carries(at, seen, part).filter(|_| keeps_all);
            let wanted = part.replicas.max(carried.unwrap_or(0));
            let asked = if is_fixed || keeps { desired } else { within(&seen.workload, wanted) };
            plan.lanes.push((Arc::clone(&lane.pool), desired, asked));
            let why = if is_even {
                Some(Reason::Nodes(self.why((lane, seen), part, &on_pools)))
            } else {
                bid.why.last().cloned()
            };
            let order = Order { target: &lane.target, lane: Some(&lane.pool), why };
            if is_fixed {
                continue;
            }
            match self.before(&order, &seen.workload, &mut known.writes.costs, asked) {
                Before::Step(to) | Before::Part(to, _) => {
                    actions.extend(self.order(bid, &order, &seen.workload, &known.writes, to));
                }
                Before::Wait(nodes) => bid.set(bid.replicas, Reason::Nodes(nodes)),
                Before::Tell(told, nodes) => {
                    actions.push(Action::GiveUpFirst(*told));
                    if let Some(nodes) = nodes {
                        bid.set(bid.replicas, Reason::Nodes(nodes));
                    }
                }
            }
        }
        (actions, Some(plan), on_pools)
    }

    /// What a lane that takes over from others has Ready, where it would give some of that back and its group be formed anew.
    fn carries(&self, at: usize, seen: &LaneSeen, part: &Part) -> Option<u32> {
        let ready = seen.workload.ready.min(seen.workload.desired);
        let is_heir = self.stage.lanes.iter().any(|lane| lane.fallback_to == Some(at));
        (is_heir && part.replicas < ready && self.evidence.is_partitioned()).then_some(ready)
    }

    /// Why a lane has another count though the stage needs as many as before.
    fn why(&self, at: (&Lane, &LaneSeen), part: &Part, on_pools: &[PoolClaim]) -> Nodes {
        let (share, carried) = (part.share, part.counted.saturating_sub(part.share));
        let shared = Nodes::Shared { pool: at.0.pool.to_string(), share, carried };
        self.told_of(at, part, on_pools).pop().unwrap_or(shared)
    }
}
