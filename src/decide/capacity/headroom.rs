//! Room ahead of need, at a stage's turn: how much of it is kept for the stage or for each of its lanes. `rooms` says what is written so that it is
//! there. Called last in the turn, once it is known how many replicas are asked for.
//!
//! Room is kept for what the forecast at its upper end may ask for before a node that is asked for now has a pod at work, and a schedule in twice
//! that time; and for a lane on spot nodes for as many pods as stand on its fullest node, pods and room together, so that the news of its end finds
//! places for them. Each replica that is
//! asked for takes a place of the first kind: then it is the replica that has a node made, not the room.
//!
//! Without fresh readings room of the first kind is never given back, unless real pods would lack what it takes.

use std::sync::Arc;
use std::time::Duration;

use super::super::demand::{Bid, Load};
use super::super::knowledge::Known;
use super::super::memory::StageMemory;
use super::super::partitions::{breakpoints, ceil};
use super::super::pipeline::{Headroom, Lane, TargetId};
use super::super::plan::Action;
use super::super::reason::Reason;
use super::super::schedule::Bound;
use super::super::snapshot::Workload;
use super::super::stage::Turn;
use super::super::writes::later;
use super::Class;
use super::claim::Asked;
use super::reserve::{Cause, Keeps, Level, Reserves, RoomVerdict, cut};
use super::rooms::{Kept, Order, Rooms};
use super::split::{Part, Room};

/// How long 95 of 100 nodes are thought to take while none was seen to come, and at the least where a schedule is waited for.
const BOOT: Duration = Duration::from_mins(3);

/// A load climbs when more than so many times what arrives is expected, and that is more than half of what the upper end adds to it.
const CLIMB: f64 = 1.05;

/// What uneven partitions, catching up and the next step of counts take at the most while it climbs, in multiples of what the rate asks for.
const BESIDE: f64 = 2.0;

/// A workload that room is kept for.
struct Post<'a> {
    keeps: Keeps<'a>,
    /// Replicas that are asked for, and that may be needed before long.
    asked: u32,
    need: u32,
    /// Room for what may be lost at once, and why.
    spare: u32,
    why: Cause,
}

impl Turn<'_> {
    /// Says how much room is kept, and returns what is to be written for it. What that asks of the budgets over the stage is noted in `asked`,
    /// where there are any.
    pub(in crate::decide) fn keep_room(
        &self,
        (bid, asked): (&Bid, &mut Option<Asked>),
        known: &Known,
        workload: &Workload,
        memory: &mut StageMemory,
    ) -> Vec<Action> {
        let Reserves::Seen(_) = self.reserves else { return Vec::new() };
        let Some(headroom) = self.stage.headroom else {
            memory.rooms = None;
            return Vec::new();
        };
        let mut rooms = memory.rooms.take().unwrap_or_default();
        let (need, within) = self.foreseen(known, memory, bid);
        let posts = self.posts(workload, memory, (bid.replicas, need));
        rooms.0.keep(|name| posts.iter().any(|post| *post.keeps.name == *name));
        self.level(&mut rooms, &posts, headroom, (bid, asked), (need, within));
        let actions = posts.iter().flat_map(|post| self.written(&mut rooms, &post.keeps));
        let actions = actions.collect();
        memory.rooms = Some(rooms);
        actions
    }

    /// The same for a stage whose workload cannot be scaled: nobody needs the room before someone mends that. It goes as slowly as any, and
    /// until it is gone nobody else can have it.
    pub(in crate::decide) fn give_room_back(
        &self,
        memory: &mut StageMemory,
    ) -> (Vec<Action>, Option<Asked>) {
        let Reserves::Seen(_) = self.reserves else { return (Vec::new(), None) };
        let mut rooms = memory.rooms.take().unwrap_or_default();
        let all: Vec<_> = self.stage.reserves(&self.pipeline.id).collect();
        rooms.0.keep(|name| all.iter().any(|keeps| *keeps.name == *name));
        let level = |keeps: &Keeps<'_>| {
            let mut kept = self.kept(&mut rooms, &keeps.name);
            kept.ahead.follow(0, self.at);
            kept.spare.follow(0, self.at);
            let level = kept.ahead.kept.max(kept.spare.kept);
            let most = kept.room.as_ref().map_or(u32::MAX, |room| room.replicas);
            rooms.0.put(&keeps.name, kept);
            level.min(most)
        };
        let mut levels: Vec<_> = all.iter().map(level).collect();
        let mut asked = Asked::nothing();
        let wished = levels.clone();
        self.fit_room(&mut levels, 0, &mut asked);
        let mut actions = Vec::new();
        for (keeps, (level, wished)) in all.iter().zip(levels.into_iter().zip(wished)) {
            let why = match level {
                _ if level < wished => Cause::Cut,
                0 => Cause::Unneeded,
                _ => Cause::Lingers,
            };
            if let Some(kept) = rooms.0.get_mut(&keeps.name) {
                kept.room = Some(verdict(keeps, level, why));
            }
            actions.extend(self.written(&mut rooms, keeps));
        }
        memory.rooms = (!rooms.is_idle()).then_some(rooms);
        (actions, asked.keeps_room().then_some(asked))
    }

    /// What is remembered of a reserve, or what an earlier life left of it.
    fn kept(&self, rooms: &mut Rooms, name: &Arc<str>) -> Kept {
        rooms.0.take(name).unwrap_or_else(|| {
            let seen = self.reserves.of(name);
            // Room that is not there yet is not missed, and what real pods have taken is not there any more.
            let kept = seen.map(|seen| seen.placed.unwrap_or(u32::MAX).min(seen.replicas)).max();
            Kept::of(Level::of(kept.unwrap_or(0)))
        })
    }

    fn written(&self, rooms: &mut Rooms, keeps: &Keeps<'_>) -> Vec<Action> {
        let Some(kept) = rooms.0.get_mut(&keeps.name) else { return Vec::new() };
        if !self.may_act || self.only_tells() {
            return Vec::new();
        }
        let order = Order {
            at: self.at,
            pipeline: self.pipeline,
            stage: self.id(),
            pool: keeps.pool,
            name: &keeps.name,
            of: keeps.of,
            revision: self.footing(keeps.of).and_then(|it| it.revision.as_ref()),
        };
        kept.written(&order, self.reserves.seen(), self.serves_buffers)
    }

    /// The workloads of the stage, with what is asked of them and what may be.
    fn posts(
        &self,
        workload: &Workload,
        memory: &StageMemory,
        (asked, need): (u32, u32),
    ) -> Vec<Post<'_>> {
        let all = self.stage.reserves(&self.pipeline.id);
        let mut posts: Vec<_> =
            all.map(|keeps| Post { keeps, asked, need, spare: 0, why: Cause::Unneeded }).collect();
        let Some(lanes) = &memory.lanes else { return posts };
        let (now, _) = self.parts(workload, lanes, asked);
        let (then, _) = self.parts(workload, lanes, need);
        for (post, (now, then)) in posts.iter_mut().zip(now.iter().zip(&then)) {
            let (now, then): (&Part, &Part) = (now, then);
            (post.asked, post.need) = (now.replicas, then.replicas);
        }
        for (at, lane) in self.stage.lanes.iter().enumerate() {
            let is_spot = |pool: &super::PoolSeen| pool.pool.class == Class::Spot;
            if !self.pools_seen.get(&lane.pool).is_some_and(is_spot) {
                continue;
            }
            let Some(post) = posts.get_mut(at) else { continue };
            let (fullest, beside) = self.at_stake(&post.keeps);
            let lost = fullest + beside;
            let is_free = self.pools.room(&lane.pool) == Room::Free;
            let heir = lane.fallback_to.filter(|heir| !is_free && *heir != at);
            // What the pool gave before it ran dry stays where it is: there is no better place. Its heir carries the rest.
            let own = if heir.is_none() { lost } else { lost.min(self.room_held(&lane.pool)) };
            if post.spare <= own {
                (post.spare, post.why) = (own, Cause::Spare { fullest, beside });
            }
            if let Some(post) = heir.and_then(|heir| posts.get_mut(heir))
                && post.spare < lost - own
            {
                (post.spare, post.why) = (lost - own, Cause::Carried);
            }
        }
        posts
    }

    /// Pods of a workload on the node whose going takes most, and those places of its room that would go with that node: they help nobody then.
    fn at_stake(&self, keeps: &Keeps<'_>) -> (u32, u32) {
        let Some(standing) = self.footing(keeps.of) else { return (0, 0) };
        // Room that comes to stand there as well would ask for more of itself, until the node is full.
        let most = standing.fullest();
        let beside = |node: &str| {
            let seen = self.reserves.of(&keeps.name);
            let there = seen.flat_map(|seen| &seen.nodes).filter(|(of, _)| **of == *node);
            there.map(|(_, places)| *places).sum::<u32>().min(most)
        };
        let each = standing.loads().map(|(node, pods)| (pods, beside(node)));
        each.max_by_key(|(pods, beside)| (pods + beside, *pods)).unwrap_or_default()
    }

    /// Replicas of the lane on this pool that room is kept for on nodes which are there.
    pub(super) fn room_held(&self, pool: &str) -> u32 {
        let mut all = self.stage.reserves(&self.pipeline.id);
        let keeps = all.find(|keeps| keeps.pool.is_some_and(|it| **it == *pool));
        let Some(keeps) = keeps else { return 0 };
        let seen = self.reserves.of(&keeps.name);
        seen.filter_map(|seen| Some(seen.placed?.min(seen.replicas))).max().unwrap_or(0)
    }

    /// Replicas of the stage that something stands for.
    pub(super) fn room_standing(&self) -> u32 {
        let of = |name: &str| self.reserves.of(name).map(|seen| seen.replicas).max().unwrap_or(0);
        self.stage.reserves(&self.pipeline.id).map(|keeps| of(&keeps.name)).sum()
    }

    /// Where the pods of a workload stand.
    fn footing(&self, target: &TargetId) -> Option<&super::Standing> {
        self.standing.iter().find(|(known, _)| known == target).map(|(_, standing)| standing)
    }

    /// How many replicas the stage may need before a node that is asked for now has a pod at work, and how long that is.
    fn foreseen(&self, known: &Known, memory: &StageMemory, bid: &Bid) -> (u32, Duration) {
        let pools = self.pools_seen.values().filter(|seen| {
            let is_its = |lane: &Lane| lane.pool == seen.pool.name;
            self.stage.lanes.is_empty() || self.stage.lanes.iter().any(is_its)
        });
        let boot = pools.filter_map(|seen| seen.boot).max().unwrap_or(BOOT);
        let lead = memory.lead(self.evidence.poll());
        let within = boot + lead;
        let mut need = bid.replicas;
        let (mut scheduled, mut most) = (None, self.stage.max);
        if let Some(written) = self.pipeline.stages.get(self.index) {
            // Its replicas are wanted all at once: of their nodes one may well be slower than 95 of 100, and a few minutes more cost little.
            let sure = 2 * boot.max(BOOT) + lead;
            for ahead in [within, sure] {
                let then = Bound::of(written, later(self.at, ahead)).stage;
                most = most.max(then.max);
                // A schedule that begins meanwhile.
                if self.stage.min < then.min && need < then.min {
                    (need, scheduled) = (then.min, Some(ahead));
                }
            }
        }
        let is_asked = self.stage.is_forecast && self.stage.done_by.is_none();
        let grows = is_asked.then(|| memory.forecast.most(within, lead, self.at)).flatten();
        if let (Some(grows), Some(load)) = (grows, known.load()) {
            let expected = memory.forecast.ratio(within, self.at).unwrap_or(1.0);
            let climbs = CLIMB < expected && grows < expected.powi(3);
            let takes = self.grown((grows, climbs), bid, known, &load);
            scheduled = scheduled.filter(|_| takes <= need);
            need = need.max(takes);
        }
        (need.min(most).max(bid.replicas), scheduled.unwrap_or(within))
    }

    /// How many replicas it takes when so many times as much arrives: by the rate of one, where a promise is kept by that, and by what the measure
    /// asks for now, in proportion, where that sizes the stage. While it climbs, what uneven partitions and catching up take besides the rate is taken
    /// to climb with it.
    fn grown(
        &self,
        (grows, climbs): (f64, bool),
        bid: &Bid,
        known: &Known,
        load: &Load<'_>,
    ) -> u32 {
        let partitions = load.partitions.filter(|&partitions| 0 < partitions);
        let rate = known.means.known().filter(|_| self.stage.max_delay.is_some());
        let by_rate = rate.map(|rate| {
            let by_rate = load.arrivals / rate;
            let spare = if climbs { BESIDE } else { 1.0 };
            let now = f64::from(bid.replicas).max(by_rate).min(spare * by_rate);
            let plain = ceil(grows * now);
            let Some(of) = partitions else { return plain };
            // Counts go by steps there, and a small error takes the whole of the next one.
            let mut steps = breakpoints(of).filter(|count| plain <= *count);
            let step = steps.next().unwrap_or(of);
            let next = steps.next().filter(|next| f64::from(*next) <= spare * f64::from(step));
            next.unwrap_or(step)
        });
        let measured = bid.why.iter().find_map(|reason| {
            let (Reason::Threshold { wished, .. } | Reason::Combined { wished, .. }) = reason
            else {
                return None;
            };
            Some(*wished)
        });
        // What runs serves what arrives, by whatever measure.
        let measured = measured.or_else(|| by_rate.is_none().then_some(bid.replicas));
        let by_measure = measured
            .map(|wished| ceil(grows * f64::from(wished)).min(partitions.unwrap_or(u32::MAX)));
        by_rate.max(by_measure).unwrap_or(0)
    }

    /// How much room each of the posts keeps.
    fn level(
        &self,
        rooms: &mut Rooms,
        posts: &[Post<'_>],
        headroom: Headroom,
        (bid, asked): (&Bid, &mut Option<Asked>),
        (need, within): (u32, Duration),
    ) {
        let is_cut = bid
            .why
            .iter()
            .any(|reason| matches!(reason, Reason::OverBudget { .. } | Reason::OverQuota { .. }));
        // Who is cut because others have not been heard yet may have it all a moment later.
        let is_cut = is_cut && !self.purses.are_new(self.budgets_here(), self.at);
        let is_pinned = self.stage.pinned.is_some() || self.pipeline.pause.scale_out;
        let is_fresh = self.evidence.is_fresh();
        let mut levels = Vec::with_capacity(posts.len());
        for post in posts {
            let mut kept = self.kept(rooms, &post.keeps.name);
            let came = kept.asked.map_or(0, |before| post.asked.saturating_sub(before));
            kept.asked = Some(post.asked);
            kept.ahead.take(came);
            let ahead = post.need.saturating_sub(post.asked);
            if is_fresh {
                kept.ahead.follow(ahead, self.at);
            }
            kept.spare.follow(post.spare, self.at);
            // No more is to come, whatever is expected; and what is not to be had is not kept from those who run.
            if is_cut || is_pinned {
                kept.ahead.drop_to(0);
            }
            if is_cut {
                kept.spare.drop_to(0);
            }
            let level = kept.ahead.kept.max(kept.spare.kept);
            let why = match level {
                0 if is_cut => Cause::Cut,
                0 => Cause::Unneeded,
                _ if level == post.spare => post.why,
                _ if !is_fresh => Cause::Unheard,
                _ if level == ahead => Cause::Ahead { need, within },
                _ => Cause::Lingers,
            };
            kept.room = Some(verdict(&post.keeps, level, why));
            levels.push(level);
            rooms.0.put(&post.keeps.name, kept);
        }
        cut(&mut levels, headroom.most.unwrap_or(u32::MAX));
        let wished = levels.clone();
        if let Some(asked) = asked {
            self.fit_room(&mut levels, bid.replicas, asked);
        }
        for (post, (level, wished)) in posts.iter().zip(levels.into_iter().zip(wished)) {
            let Some(kept) = rooms.0.get_mut(&post.keeps.name) else { continue };
            let Some(room) = &mut kept.room else { continue };
            if level < wished {
                room.why = Cause::Cut;
            }
            room.replicas = level;
        }
    }

    /// Cuts what room is wanted down to what budgets leave beside so many replicas.
    fn fit_room(&self, levels: &mut [u32], replicas: u32, asked: &mut Asked) {
        let wanted = levels.iter().fold(0, |sum: u32, level| sum.saturating_add(*level));
        cut(levels, self.room_beside(replicas, wanted, asked));
    }
}

fn verdict(keeps: &Keeps<'_>, replicas: u32, why: Cause) -> RoomVerdict {
    RoomVerdict { pool: keeps.pool.cloned(), replicas, placed: Some(0), why, is_only_told: false }
}
