//! What stands for room that is kept on nodes: what is remembered of it, what is to be written so that it is what it shall be, and what is told.
//! `headroom` says how much there shall be.
//!
//! Level-triggered: what stands there is seen, not remembered.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::memory::{ByName, StageMemory};
use super::super::pipeline::{Mode, Pipeline, Stage, TargetId};
use super::super::plan::{Action, Concern, Ending, Outcome, Reserve, Scale, StageId};
use super::super::reason::Reason;
use super::super::snapshot::{Situation, Writing};
use super::super::stage::Turn;
use super::super::writes::later;
use super::Nodes;
use super::reserve::{Cause, Level, Method, ReserveSeen, Reserves, RoomVerdict, reserve_of};

/// Who serves buffers says so within so long; else nobody does.
const TENDED: Duration = Duration::from_mins(1);
/// Then another is not tried for so long.
const UNTENDED: Duration = Duration::from_hours(1);
/// A write that the watch does not show is made again after so long.
const ECHO: Duration = Duration::from_secs(10);
/// After a refusal nothing is written for so long.
const REFUSED: Duration = Duration::from_mins(5);

/// What is remembered of reserves, by their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Rooms(pub(super) ByName<Kept>);

/// What is remembered of one reserve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// For what may be needed, and for what may be lost.
    pub(super) ahead: Level,
    pub(super) spare: Level,
    /// Replicas that were asked for at the last turn.
    pub(super) asked: Option<u32>,
    /// What it comes to, and why; `None` for what is to go.
    pub(super) room: Option<RoomVerdict>,
    /// Writes: of a buffer, and of placeholders.
    errands: [Errand; 2],
    /// Since when nobody has taken up a buffer that is there.
    unheard: Option<Timestamp>,
    /// Nobody tends buffers, or none may be written: until then none is made.
    untended: Option<Timestamp>,
}

/// What is remembered of the writes of one object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Errand {
    /// One that the watch does not show yet.
    sent: Option<Sent>,
    /// Nothing can be written until then, and why.
    refused: Option<(Timestamp, Arc<str>)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sent {
    at: Timestamp,
    room: u32,
    of: Arc<str>,
    revision: Option<Arc<str>>,
}

/// Room that stands for nobody any more: what is to be written so that it goes, and what is told of that.
#[derive(Debug, Default)]
pub(in crate::decide) struct Cleared {
    pub(in crate::decide) actions: Vec<Action>,
    pub(in crate::decide) told: Vec<Reason>,
    pub(in crate::decide) next: Option<Timestamp>,
}

/// A reserve that is to be what it shall be, and for whom.
pub(super) struct Order<'a> {
    pub(super) at: Timestamp,
    pub(super) pipeline: &'a Pipeline,
    pub(super) stage: StageId,
    pub(super) pool: Option<&'a Arc<str>>,
    pub(super) name: &'a Arc<str>,
    /// The workload it is kept for, and its revision, where that is known.
    pub(super) of: &'a TargetId,
    pub(super) revision: Option<&'a Arc<str>>,
}

impl Errand {
    fn is_refused(&self, at: Timestamp) -> bool {
        self.refused.as_ref().is_some_and(|(until, _)| at < *until)
    }
}

impl Kept {
    /// What an earlier life left.
    pub(super) fn of(ahead: Level) -> Self {
        Self { ahead, ..Self::default() }
    }

    /// The refusals that hold still.
    fn refusals(&self, at: Timestamp) -> impl Iterator<Item = Reason> {
        let errands = self.errands.iter().filter(move |errand| errand.is_refused(at));
        let refused = errands.filter_map(|errand| errand.refused.as_ref());
        refused
            .map(|(_, message)| Reason::Nodes(Nodes::RoomRefused { message: message.to_string() }))
    }

    /// By what room is kept now, seeing what stands there.
    fn method(
        &self,
        serves_buffers: bool,
        seen: &[ReserveSeen],
        name: &str,
        at: Timestamp,
    ) -> Method {
        let is_there = |method| seen.iter().any(|it| *it.name == *name && it.method == method);
        let may_buffer = serves_buffers && self.untended.is_none_or(|until| until <= at);
        let has_placeholders = !is_there(Method::Buffer) && is_there(Method::Placeholders);
        if may_buffer && !has_placeholders { Method::Buffer } else { Method::Placeholders }
    }

    /// Notes whether somebody takes up the buffer that is there.
    fn watch_buffer(&mut self, buffer: Option<&ReserveSeen>, at: Timestamp) {
        if buffer.is_none_or(|seen| seen.is_tended) {
            self.unheard = None;
            return;
        }
        let since = *self.unheard.get_or_insert(at);
        if later(since, TENDED) <= at {
            self.untended = Some(later(at, UNTENDED));
        }
    }

    /// What is to be written: the reserve by one method, and none by the other.
    pub(super) fn written(
        &mut self,
        order: &Order<'_>,
        seen: &[ReserveSeen],
        serves_buffers: bool,
    ) -> Vec<Action> {
        let of = |method| seen.iter().find(|it| it.name == *order.name && it.method == method);
        self.watch_buffer(of(Method::Buffer), order.at);
        let method = self.method(serves_buffers, seen, order.name, order.at);
        let room = self.room.as_ref().map_or(0, |room| room.replicas);
        let each = Method::ALL.into_iter().filter_map(|which| {
            self.ordered(order, (which, if which == method { room } else { 0 }), of(which))
        });
        each.collect()
    }

    /// The write that makes one object what it shall be, unless it is that already or nothing may be written.
    fn ordered(
        &self,
        order: &Order<'_>,
        (method, room): (Method, u32),
        seen: Option<&ReserveSeen>,
    ) -> Option<Action> {
        let Order { at, pipeline, stage, pool, name, of, revision } = order;
        let revision = revision.cloned();
        let shaped = |seen: &ReserveSeen| {
            let is_of = seen.of.as_deref() == Some(&*reserve_of(of)) && !seen.is_other;
            let is_up = method == Method::Buffer || revision.is_none() || seen.revision == revision;
            is_of && is_up
        };
        let is_there = match seen {
            Some(seen) => 0 < room && seen.replicas == room && shaped(seen),
            None => room == 0,
        };
        let errand = &self.errands[method as usize];
        let waits = errand.sent.as_ref().is_some_and(|it| *at < later(it.at, ECHO));
        if is_there || waits || errand.is_refused(*at) {
            return None;
        }
        let why = self.room.clone().unwrap_or(RoomVerdict {
            pool: None,
            replicas: 0,
            placed: Some(0),
            why: Cause::Unneeded,
            is_only_told: false,
        });
        let scale = Scale {
            stage: stage.clone(),
            lane: pool.cloned(),
            target: method.object(&pipeline.id.namespace, name),
            uid: seen.map(|seen| Arc::clone(&seen.uid)).unwrap_or_default(),
            resource_version: "".into(),
            writing: Writing::Apply,
            from: seen.map_or(0, |seen| seen.replicas),
            to: room,
            force: false,
            why: Reason::Nodes(Nodes::RoomKept(why)),
        };
        let is_reshaped = !seen.is_some_and(shaped);
        let revision = revision.or_else(|| seen?.revision.clone());
        let (of, owner) = (TargetId::clone(of), Arc::clone(&pipeline.uid));
        Some(Action::Reserve(Reserve { scale, of, method, owner, revision, is_reshaped }))
    }
}

impl Rooms {
    /// Takes in what became of writes, and what stands there.
    pub(in crate::decide) fn settle<'a>(
        &mut self,
        outcomes: impl Iterator<Item = &'a Outcome>,
        reserves: &Reserves,
    ) {
        for outcome in outcomes {
            let Action::Reserve(reserve) = &outcome.action else { continue };
            let Some(kept) = self.0.get_mut(&reserve.scale.target.name) else { continue };
            let errand = &mut kept.errands[reserve.method as usize];
            match &outcome.result {
                Ending::Refused { message, .. } => {
                    let until = later(outcome.at, REFUSED);
                    *errand =
                        Errand { sent: None, refused: Some((until, message.as_str().into())) };
                    // Where no buffer may be written, nobody tends one.
                    if reserve.method == Method::Buffer && reserve.scale.to != 0 {
                        kept.untended = Some(later(outcome.at, UNTENDED));
                    }
                }
                // What was written the watch will show; what was not is tried again if it does not.
                Ending::Done { .. } => errand.refused = None,
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
                        let is_up = method == Method::Buffer || sent.revision == seen.revision;
                        let is_of = seen.of.as_ref() == Some(&sent.of) && !seen.is_other;
                        sent.room == seen.replicas && is_up && is_of
                    }
                    None => sent.room == 0,
                };
                kept.errands[method as usize].sent.take_if(is_shown);
            });
        }
    }

    /// Notes that a write is on its way.
    pub(in crate::decide) fn ask(&mut self, reserve: &Reserve, at: Timestamp) {
        if let Some(kept) = self.0.get_mut(&reserve.scale.target.name) {
            let (of, revision) = (reserve_of(&reserve.of).into(), reserve.revision.clone());
            let sent = Sent { at, room: reserve.scale.to, of, revision };
            kept.errands[reserve.method as usize].sent = Some(sent);
        }
    }

    /// When to look again though nothing happens.
    pub(in crate::decide) fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let of = |kept: &Kept| {
            let sent = kept.errands.iter().filter_map(|it| Some(later(it.sent.as_ref()?.at, ECHO)));
            let refused = kept.errands.iter().filter_map(|it| Some(it.refused.as_ref()?.0));
            let unheard = kept.unheard.map(|since| later(since, TENDED));
            let levels = [kept.ahead.next(), kept.spare.next(), unheard].into_iter().flatten();
            sent.chain(refused).chain(levels).filter(|&next| at < next).min()
        };
        self.0.values().filter_map(of).min()
    }

    /// Bytes on the heap.
    pub(in crate::decide) fn weight(&self) -> usize {
        size_of::<Self>() + self.0.weight(|_| 0)
    }

    /// Takes away what no stage of a pipeline keeps any more, whoever made it and whatever its stages do: one that was taken out, a lane that is
    /// gone, a stage that keeps none now.
    pub(in crate::decide) fn clear(
        &mut self,
        situation: &Situation,
        (at, may_act): (Timestamp, bool),
    ) -> Cleared {
        let pipeline = &situation.pipeline;
        let wanted: Vec<_> = pipeline
            .stages
            .iter()
            .flat_map(|stage| stage.reserves(&pipeline.id))
            .map(|post| post.name)
            .collect();
        let seen = situation.reserves.seen().iter();
        let gone: Vec<_> = seen.filter(|seen| !wanted.contains(&seen.name)).collect();
        self.0.keep(|name| gone.iter().any(|seen| *seen.name == *name));
        let outcomes = (0..pipeline.stages.len()).flat_map(|it| situation.ended(it, Concern::Room));
        self.settle(outcomes, &situation.reserves);
        let writes = |stage: &Stage| stage.mode == Mode::Enforce;
        let Some(index) = pipeline.stages.iter().position(writes) else {
            return Cleared::default();
        };
        let mut cleared = Cleared::default();
        for seen in gone {
            let kept = self.0.take(&seen.name).unwrap_or_default();
            let stage = &pipeline.stages[index];
            let order = Order {
                at,
                pipeline,
                stage: StageId {
                    pipeline: pipeline.id.clone(),
                    index,
                    name: Arc::clone(&stage.name),
                },
                pool: None,
                name: &seen.name,
                of: &stage.target,
                revision: None,
            };
            let write = kept.ordered(&order, (seen.method, 0), Some(seen));
            cleared.told.extend(kept.refusals(at));
            self.0.put(&seen.name, kept);
            if let Some(Action::Reserve(reserve)) = write.filter(|_| may_act && !pipeline.pause.all)
            {
                self.ask(&reserve, at);
                cleared.actions.push(Action::Reserve(reserve));
            }
        }
        cleared.told.dedup();
        cleared.next = self.next(at);
        cleared
    }

    /// Is there nothing to remember?
    pub(in crate::decide) fn is_idle(&self) -> bool {
        self.0.values().next().is_none()
    }
}

impl Turn<'_> {
    /// May nothing be written for the stage, whatever is decided?
    pub(super) fn only_tells(&self) -> bool {
        self.stage.mode == Mode::Observe || self.pipeline.pause.all
    }

    /// How much room is kept, and what is to be told of that, though it binds no count.
    pub(in crate::decide) fn rooms(&self, memory: &StageMemory) -> (Vec<RoomVerdict>, Vec<Reason>) {
        let (mut rooms, mut told) = (Vec::new(), Vec::new());
        let is_forbidden = *self.reserves == Reserves::Forbidden && self.stage.headroom.is_some();
        if is_forbidden {
            let message = "Deployments may not be listed and watched".to_owned();
            told.push(Reason::Nodes(Nodes::RoomRefused { message }));
        }
        let known = memory.rooms.iter().flat_map(|rooms| rooms.0.iter());
        for (name, kept) in known {
            told.extend(kept.refusals(self.at));
            let Some(room) = &kept.room else { continue };
            let seen = || self.reserves.of(name);
            if let Some(trouble) = seen().find_map(|seen| seen.trouble.as_ref())
                && 0 < room.replicas
            {
                let message = trouble.to_string();
                let replicas = room.replicas;
                told.push(Reason::Nodes(Nodes::RoomTroubled { room: replicas, message }));
            }
            // Of two that stand for the same room, while one follows the other, the better known.
            let placed = seen().map(|seen| seen.placed).max().unwrap_or(Some(0));
            let method = kept.method(self.serves_buffers, self.reserves.seen(), name, self.at);
            let is_refused = kept.errands[method as usize].is_refused(self.at);
            rooms.push(RoomVerdict {
                placed: placed.map(|placed| placed.min(room.replicas)),
                is_only_told: self.only_tells() || is_forbidden || is_refused,
                ..room.clone()
            });
        }
        told.dedup();
        (rooms, told)
    }
}
