//! Room ahead of need, at a stage's turn: how much of it is kept for the stage or for each of its lanes, and what is written so that it is there.
//! Called last in the turn, once it is known how many replicas are asked for.
//!
//! Room is kept for what the forecast at its upper end, or a schedule, may ask for before a node that is asked for now has a pod at work; and for a
//! lane on spot nodes for as many pods as stand on its fullest node, so that the news of its end finds places for them. Each replica that is
//! asked for takes a place of the first kind: then it is the replica that has a node made, not the room.
//!
//! Level-triggered: what stands there is seen, not remembered. Without fresh readings room is never given back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::demand::Bid;
use super::super::knowledge::Known;
use super::super::memory::{ByName, StageMemory};
use super::super::partitions::{breakpoints, ceil};
use super::super::pipeline::{Headroom, Mode, TargetId};
use super::super::plan::{Action, Ending, Outcome, Reserve, Scale};
use super::super::reason::Reason;
use super::super::schedule::Bound;
use super::super::snapshot::{Workload, Writing};
use super::super::stage::Turn;
use super::super::writes::later;
use super::reserve::{Cause, Level, Method, ReserveSeen, Reserves, RoomVerdict, cut, reserve_name};
use super::split::{Part, Room};
use super::{Class, Nodes};

/// How long 95 of 100 nodes are thought to take while none was seen to come.
const BOOT: Duration = Duration::from_mins(3);
/// Who serves buffers moves the conditions of one within so long; else nobody does.
const TENDED: Duration = Duration::from_mins(1);
/// Then another is not tried for so long.
const UNTENDED: Duration = Duration::from_hours(1);
/// A write that the watch does not show is made again after so long.
const ECHO: Duration = Duration::from_secs(10);
/// After a refusal nothing is written for so long.
const REFUSED: Duration = Duration::from_mins(5);

/// What is remembered of the reserves of a stage, by their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Rooms(ByName<Kept>);

/// What is remembered of one reserve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// For what may be needed, and for what may be lost.
    ahead: Level,
    spare: Level,
    /// Replicas that were asked for at the last turn.
    asked: Option<u32>,
    /// What it comes to, and why; `None` for what is to go.
    room: Option<RoomVerdict>,
    /// Writes that the watch does not show yet: of a buffer, and of placeholders.
    sent: [Option<Sent>; 2],
    /// Nobody tends buffers: until then none is made.
    untended: Option<Timestamp>,
    /// Nothing can be written until then, and why.
    refused: Option<(Timestamp, Arc<str>)>,
    /// When to look again though nothing happens.
    again: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sent {
    at: Timestamp,
    room: u32,
    revision: Option<Arc<str>>,
}

/// A workload that room is kept for.
struct Post<'a> {
    name: Arc<str>,
    pool: Option<&'a Arc<str>>,
    target: &'a TargetId,
    /// Replicas that are asked for, and that may be needed before long.
    asked: u32,
    need: u32,
    /// Pods whose places may be lost at once.
    fullest: u32,
    revision: Option<&'a Arc<str>>,
}

impl Rooms {
    /// Takes in what became of writes, and what stands there.
    pub(in crate::decide) fn settle(&mut self, outcomes: &[&Outcome], reserves: &Reserves) {
        for outcome in outcomes {
            let Action::Reserve(reserve) = &outcome.action else { continue };
            let Some(kept) = self.0.get_mut(&reserve.scale.target.name) else { continue };
            match &outcome.result {
                Ending::Refused { message, .. } => {
                    kept.refused = Some((later(outcome.at, REFUSED), message.as_str().into()));
                    kept.sent[reserve.method as usize] = None;
                }
                // What was written the watch will show; what was not is tried again if it does not.
                Ending::Done { .. } => kept.refused = None,
                Ending::Conflict { .. }
                | Ending::Outdated
                | Ending::Gone
                | Ending::Unknown { .. }
                | Ending::NotSent { .. } => {}
            }
        }
        let Reserves::Seen(seen) = reserves else { return };
        for method in Method::ALL {
            let of = |name: &str| seen.iter().find(|it| *it.name == *name && it.method == method);
            self.0.change(|name, kept| {
                let is_shown = |sent: &mut Sent| match of(name) {
                    Some(seen) => {
                        sent.room == seen.replicas
                            && (method == Method::Buffer || sent.revision == seen.revision)
                    }
                    None => sent.room == 0,
                };
                kept.sent[method as usize].take_if(is_shown);
            });
        }
    }

    /// Notes that a write is on its way.
    pub(in crate::decide) fn ask(&mut self, reserve: &Reserve, at: Timestamp) {
        if let Some(kept) = self.0.get_mut(&reserve.scale.target.name) {
            let revision = reserve.revision.clone();
            kept.sent[reserve.method as usize] =
                Some(Sent { at, room: reserve.scale.to, revision });
        }
    }

    /// When to look again though nothing happens.
    pub(in crate::decide) fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let of = |kept: &Kept| {
            let sent = kept.sent.iter().flatten().map(|sent| later(sent.at, ECHO));
            let refused = kept.refused.as_ref().map(|(until, _)| *until);
            let levels = [kept.ahead.next(), kept.spare.next(), refused, kept.again];
            sent.chain(levels.into_iter().flatten()).filter(|&next| at < next).min()
        };
        self.0.values().filter_map(of).min()
    }

    /// Bytes on the heap.
    pub(in crate::decide) fn weight(&self) -> usize {
        size_of::<Self>() + self.0.weight(|_| 0)
    }
}

impl Turn<'_> {
    /// How much room is kept, and what is to be told of that, though it binds no count.
    pub(in crate::decide) fn rooms(&self, memory: &StageMemory) -> (Vec<RoomVerdict>, Vec<Reason>) {
        let (mut rooms, mut told) = (Vec::new(), Vec::new());
        if *self.reserves == Reserves::Forbidden && self.stage.headroom.is_some() {
            let message = "Deployments may not be listed and watched".to_owned();
            told.push(Nodes::RoomRefused { message });
        }
        let known = memory.rooms.iter().flat_map(|rooms| rooms.0.iter());
        for (name, kept) in known {
            if let Some((until, message)) = &kept.refused
                && self.at < *until
            {
                told.push(Nodes::RoomRefused { message: message.to_string() });
            }
            let Some(room) = &kept.room else { continue };
            let seen = || self.reserves.seen().iter().filter(|seen| seen.name == *name);
            if let Some(trouble) = seen().find_map(|seen| seen.trouble.as_ref())
                && 0 < room.replicas
            {
                let message = trouble.to_string();
                told.push(Nodes::RoomTroubled { room: room.replicas, message });
            }
            let placed = seen().map(|seen| seen.placed).max().unwrap_or(0);
            rooms.push(RoomVerdict { placed: placed.min(room.replicas), ..room.clone() });
        }
        told.dedup();
        (rooms, told.into_iter().map(Reason::Nodes).collect())
    }

    /// Says how much room is kept, and returns what is to be written for it.
    pub(in crate::decide) fn keep_room(
        &self,
        bid: &Bid,
        known: &Known,
        workload: &Workload,
        memory: &mut StageMemory,
    ) -> Vec<Action> {
        let Reserves::Seen(_) = self.reserves else { return Vec::new() };
        let gone: Vec<_> = self.unwanted().collect();
        if self.stage.headroom.is_none() && gone.is_empty() {
            memory.rooms = None;
            return Vec::new();
        }
        let mut rooms = memory.rooms.take().unwrap_or_default();
        let (need, within) = self.foreseen(known, memory, bid.replicas);
        let posts = match self.stage.headroom {
            Some(_) => self.posts(workload, memory, (bid.replicas, need)),
            None => Vec::new(),
        };
        let is_kept = |name: &str| {
            posts.iter().any(|post| *post.name == *name)
                || gone.iter().any(|seen| *seen.name == *name)
        };
        rooms.0.keep(is_kept);
        if let Some(headroom) = self.stage.headroom {
            self.level(&mut rooms, &posts, headroom, (bid, need, within));
        }
        let mut actions = Vec::new();
        let is_forbidden = self.stage.mode == Mode::Observe || self.pipeline.pause.all;
        if self.may_act && !is_forbidden {
            for post in &posts {
                if let Some(kept) = rooms.0.get_mut(&post.name) {
                    actions.extend(self.written(post, kept));
                }
            }
            for seen in gone {
                let mut kept = rooms.0.take(&seen.name).unwrap_or_default();
                kept.room = None;
                actions.extend(self.ordered(None, &mut kept, (seen.method, 0), Some(seen)));
                rooms.0.put(&seen.name, kept);
            }
        }
        memory.rooms = Some(rooms);
        actions
    }

    /// Reserves of the pipeline that no stage of it keeps any more. The first stage that may be written for takes them away.
    fn unwanted(&self) -> impl Iterator<Item = &ReserveSeen> {
        let id = &self.pipeline.id;
        let stages = &self.pipeline.stages;
        let is_mine =
            stages.iter().position(|stage| stage.mode == Mode::Enforce) == Some(self.index);
        let is_wanted = move |seen: &ReserveSeen| {
            let of = |stage: &super::super::pipeline::Stage| {
                let pools = stage.lanes.iter().map(|lane| Some(&*lane.pool));
                let one = stage.lanes.is_empty().then_some(None);
                let mut names =
                    one.into_iter().chain(pools).map(|pool| reserve_name(id, &stage.name, pool));
                stage.headroom.is_some() && names.any(|name| *name == *seen.name)
            };
            stages.iter().any(of)
        };
        self.reserves.seen().iter().filter(move |seen| is_mine && !is_wanted(seen))
    }

    /// The workloads of the stage, with what is asked of them and what may be.
    fn posts(
        &self,
        workload: &Workload,
        memory: &StageMemory,
        (asked, need): (u32, u32),
    ) -> Vec<Post<'_>> {
        let name = |pool: Option<&str>| -> Arc<str> {
            reserve_name(&self.pipeline.id, &self.stage.name, pool).into()
        };
        let post = |pool: Option<&'_ Arc<str>>, target| Post {
            name: name(pool.map(|pool| &**pool)),
            pool: None,
            target,
            asked,
            need,
            fullest: 0,
            revision: self.footing(target).and_then(|it| it.revision.as_ref()),
        };
        let Some(lanes) = &memory.lanes else { return vec![post(None, &self.stage.target)] };
        let now = self.parts(workload, lanes, asked);
        let then = self.parts(workload, lanes, need);
        let each = self.stage.lanes.iter().zip(now.iter().zip(&then));
        let mut posts: Vec<_> = each
            .map(|(lane, (now, then)): (_, (&Part, &Part))| Post {
                pool: Some(&lane.pool),
                asked: now.replicas,
                need: then.replicas,
                ..post(Some(&lane.pool), &lane.target)
            })
            .collect();
        for (at, lane) in self.stage.lanes.iter().enumerate() {
            let is_spot = |pool: &super::PoolSeen| pool.pool.class == Class::Spot;
            if !self.pools_seen.get(&lane.pool).is_some_and(is_spot) {
                continue;
            }
            let fullest = self.footing(&lane.target).map_or(0, super::Standing::fullest);
            // What is lost while the pool gives nothing, its heir carries.
            let is_free = self.pools.room(&lane.pool) == Room::Free;
            let heir = if is_free { Some(at) } else { lane.fallback_to };
            if let Some(post) = heir.and_then(|heir| posts.get_mut(heir)) {
                post.fullest = post.fullest.max(fullest);
            }
        }
        posts
    }

    /// Where the pods of a workload stand.
    fn footing(&self, target: &TargetId) -> Option<&super::Standing> {
        self.standing.iter().find(|(known, _)| known == target).map(|(_, standing)| standing)
    }

    /// How many replicas the stage may need before a node that is asked for now has a pod at work, and how long that is.
    fn foreseen(&self, known: &Known, memory: &StageMemory, replicas: u32) -> (u32, Duration) {
        let pools = self.pools_seen.values().filter(|seen| {
            let is_its = |lane: &super::super::pipeline::Lane| lane.pool == seen.pool.name;
            self.stage.lanes.is_empty() || self.stage.lanes.iter().any(is_its)
        });
        let boot = pools.filter_map(|seen| seen.boot).max().unwrap_or(BOOT);
        let within = boot + memory.lead(self.evidence.poll());
        let mut need = replicas;
        let mut most = self.stage.max;
        if let Some(written) = self.pipeline.stages.get(self.index) {
            let then = Bound::of(written, later(self.at, within));
            // A schedule that begins meanwhile.
            if self.stage.min < then.stage.min {
                need = need.max(then.stage.min);
            }
            most = most.max(then.stage.max);
        }
        let is_asked = self.stage.is_forecast && self.stage.done_by.is_none();
        let grows = is_asked.then(|| memory.forecast.most(within, self.at)).flatten();
        if let (Some(grows), Some(load)) = (grows, known.load()) {
            let ahead = match known.means.known() {
                Some(rate) => {
                    let plain = ceil(grows * load.arrivals / rate);
                    let partitions = load.partitions.filter(|&partitions| 0 < partitions);
                    partitions.map_or(plain, |of| {
                        breakpoints(of).find(|count| plain <= *count).unwrap_or(of)
                    })
                }
                // What runs serves what arrives, by whatever measure.
                None => ceil(grows * f64::from(replicas)),
            };
            need = need.max(ahead);
        }
        (need.min(most).max(replicas), within)
    }

    /// How much room each of the posts keeps.
    fn level(
        &self,
        rooms: &mut Rooms,
        posts: &[Post<'_>],
        headroom: Headroom,
        (bid, need, within): (&Bid, u32, Duration),
    ) {
        let is_cut = bid.why.iter().any(|reason| matches!(reason, Reason::OverBudget { .. }));
        let is_pinned = self.stage.pinned.is_some() || self.pipeline.pause.scale_out;
        let is_fresh = self.evidence.is_fresh();
        let mut levels = Vec::with_capacity(posts.len());
        for post in posts {
            let mut kept = rooms.0.take(&post.name).unwrap_or_else(|| {
                let seen = self.reserves.seen().iter().filter(|seen| seen.name == post.name);
                // Room that is not there yet is not missed, and what real pods have taken is not there any more.
                let kept = seen.map(|seen| seen.placed.min(seen.replicas)).max().unwrap_or(0);
                Kept { ahead: Level::of(kept), ..Kept::default() }
            });
            let came = kept.asked.map_or(0, |before| post.asked.saturating_sub(before));
            kept.asked = Some(post.asked);
            kept.ahead.take(came);
            let wish = post.need.saturating_sub(post.asked);
            let (ahead, spare) = if is_cut { (0, 0) } else { (wish, post.fullest) };
            let ahead = if is_pinned { 0 } else { ahead };
            if is_fresh {
                kept.ahead.follow(ahead, self.at);
            }
            kept.spare.follow(spare, self.at);
            let level = kept.ahead.kept.max(kept.spare.kept);
            let why = match level {
                0 => Cause::Unneeded,
                _ if level == spare => Cause::Spare { fullest: spare },
                _ if !is_fresh => Cause::Unheard,
                _ if level == ahead => Cause::Ahead { need, within },
                _ => Cause::Lingers,
            };
            kept.room = Some(RoomVerdict {
                pool: post.pool.cloned(),
                replicas: level,
                placed: 0,
                why,
                is_only_told: self.stage.mode == Mode::Observe,
            });
            levels.push(level);
            rooms.0.put(&post.name, kept);
        }
        cut(&mut levels, headroom.most.unwrap_or(u32::MAX));
        for (post, level) in posts.iter().zip(levels) {
            if let Some(room) = rooms.0.get_mut(&post.name).and_then(|kept| kept.room.as_mut()) {
                room.replicas = level;
            }
        }
    }

    /// What is to be written for one post: its reserve, and none of the other kind.
    fn written(&self, post: &Post<'_>, kept: &mut Kept) -> Vec<Action> {
        kept.again = None;
        let room = kept.room.as_ref().map_or(0, |room| room.replicas);
        let of = |method| {
            let mut all = self.reserves.seen().iter();
            all.find(|it| it.name == post.name && it.method == method)
        };
        let buffer = of(Method::Buffer);
        let is_tended = |seen: &ReserveSeen| seen.is_tended || self.at < later(seen.made, TENDED);
        if let Some(seen) = buffer.filter(|seen| !seen.is_tended) {
            kept.again = Some(later(seen.made, TENDED));
            if !is_tended(seen) {
                kept.untended = Some(later(self.at, UNTENDED));
            }
        }
        let may_buffer = self.serves_buffers && kept.untended.is_none_or(|until| until <= self.at);
        let has_placeholders = buffer.is_none() && of(Method::Placeholders).is_some();
        let method =
            if may_buffer && !has_placeholders { Method::Buffer } else { Method::Placeholders };
        let order = |kept: &mut Kept, which: Method| {
            let room = if which == method { room } else { 0 };
            self.ordered(Some(post), kept, (which, room), of(which))
        };
        Method::ALL.into_iter().filter_map(|which| order(kept, which)).collect()
    }

    /// The write that makes one object what it shall be, unless it is that already or nothing may be written.
    fn ordered(
        &self,
        post: Option<&Post<'_>>,
        kept: &mut Kept,
        (method, room): (Method, u32),
        seen: Option<&ReserveSeen>,
    ) -> Option<Action> {
        let name = post.map(|post| &post.name).or_else(|| seen.map(|seen| &seen.name))?;
        let revision = post.and_then(|post| post.revision).cloned();
        let shaped = |seen: &ReserveSeen| {
            method == Method::Buffer || revision.is_none() || seen.revision == revision
        };
        let is_there = match seen {
            Some(seen) => 0 < room && seen.replicas == room && shaped(seen),
            None => room == 0,
        };
        let waits =
            kept.sent[method as usize].as_ref().is_some_and(|it| self.at < later(it.at, ECHO));
        let is_refused = kept.refused.as_ref().is_some_and(|(until, _)| self.at < *until);
        if is_there || waits || is_refused {
            return None;
        }
        let of = post.map_or(&self.stage.target, |post| post.target);
        let why = kept.room.clone().unwrap_or(RoomVerdict {
            pool: None,
            replicas: 0,
            placed: 0,
            why: Cause::Unneeded,
            is_only_told: false,
        });
        let scale = Scale {
            stage: self.id(),
            lane: post.and_then(|post| post.pool).cloned(),
            target: method.object(&self.pipeline.id.namespace, name),
            uid: seen.map(|seen| Arc::clone(&seen.uid)).unwrap_or_default(),
            resource_version: "".into(),
            writing: Writing::Apply,
            from: seen.map_or(0, |seen| seen.replicas),
            to: room,
            force: false,
            why: Reason::Nodes(Nodes::RoomKept(why)),
        };
        let owner = Arc::clone(&self.pipeline.uid);
        let is_reshaped = !seen.is_some_and(shaped);
        let revision = revision.or_else(|| seen?.revision.clone());
        Some(Action::Reserve(Reserve {
            scale,
            of: of.clone(),
            method,
            owner,
            revision,
            is_reshaped,
        }))
    }
}
