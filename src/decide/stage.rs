//! One stage's turn, phase by phase: what is known, what is wished, what is held back, what is written. Called by `decide` for
//! each stage of a due pipeline; each phase may change the number only by adding a reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::blind;
use super::capacity::{
    self, Asked, Budget, LanePlan, PerReplica, PoolClaim, PoolSeen, Pools, Purses, Reserves,
    StagePools, Standing,
};
use super::demand::{Bid, Means};
use super::doubt::Doubts;
use super::evidence::{self, Evidence};
use super::flow::{Above, Passed};
use super::frame::Frame;
use super::gate::Gates;
use super::jobs;
use super::knowledge::Known;
use super::memory::StageMemory;
use super::order;
use super::pipeline::{Pipeline, Stage, TargetId};
use super::plan::{Action, Outcome, StageId, Verdict};
use super::reason::Reason;
use super::snapshot::{Recalled, Situation, Snapshot, Target, Workload};
use super::steady::{Brake, Haste, Moment};
use super::wish::Draft;
use super::writes::{Move, later};

/// All that a stage's turn looks at.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) at: Timestamp,
    pub(super) may_act: bool,
    pub(super) pipeline: &'a Pipeline,
    pub(super) index: usize,
    pub(super) stage: &'a Stage,
    pub(super) target: &'a Target,
    pub(super) outcomes: Vec<&'a Outcome>,
    pub(super) of_rooms: Vec<&'a Outcome>,
    pub(super) recalled: Option<&'a Recalled>,
    pub(super) evidence: Evidence<'a>,
    pub(super) gates: Gates,
    /// What the stages that feed it pass on.
    pub(super) above: Above,
    /// A stage it feeds that is late with all the replicas it may have.
    pub(super) full_below: Option<&'a str>,
    pub(super) doubts: Doubts,
    /// What is believed of pools of nodes, and what is seen of them.
    pub(super) pools: StagePools<'a>,
    pub(super) pools_seen: &'a BTreeMap<Arc<str>, PoolSeen>,
    /// The budgets over it, what others have asked of them, and what one replica of it uses.
    pub(super) budgets: &'a [Arc<str>],
    pub(super) budgets_seen: &'a BTreeMap<Arc<str>, Arc<Budget>>,
    pub(super) purses: &'a Purses,
    pub(super) per_replica: PerReplica,
    /// For how many replicas of it there are pods; 0 where no budget asks.
    pub(super) present: u32,
    /// Where the pods of its workloads stand, if it empties nodes or keeps room on them.
    pub(super) standing: &'a [(TargetId, Standing)],
    /// What stands for the room that is kept for all stages of the pipeline, and whether that may be buffers.
    pub(super) reserves: &'a Reserves,
    pub(super) serves_buffers: bool,
}

/// What a stage's turn comes to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// What is to be written: at most one for each of its workloads.
    pub(super) actions: Vec<Action>,
    /// What is to be done besides, whatever becomes of its count.
    pub(super) besides: Vec<Action>,
    /// What that comes to, where it has lanes.
    pub(super) plan: Option<LanePlan>,
    /// What the stage has now, before the move.
    pub(super) from: Option<u32>,
    /// Moves accepted since the last turn.
    pub(super) moves: Vec<Move>,
    /// Does the owner's own word lower it, by a pinned count or a lower `max`?
    pub(super) is_told: bool,
    pub(super) violations: u32,
    /// What it hands to the stages after it.
    pub(super) passed: Option<Passed>,
    /// What it asked of the budgets over it.
    pub(super) asked: Option<Asked>,
    /// What it asked of pools that may grow no further.
    pub(super) on_pools: Vec<PoolClaim>,
    /// Was a move down withheld, after all else was decided?
    pub(super) is_withheld: bool,
}

impl Answer {
    /// What is known without the target's count: nothing is written.
    pub(super) fn of(verdict: Verdict) -> Self {
        Self {
            verdict,
            actions: Vec::new(),
            besides: Vec::new(),
            plan: None,
            from: None,
            moves: Vec::new(),
            is_told: false,
            violations: 0,
            passed: None,
            asked: None,
            on_pools: Vec::new(),
            is_withheld: false,
        }
    }

    /// Keeps what there is until then.
    pub(super) fn withhold(&mut self, kept: u32, reason: Reason, until: Timestamp) {
        self.actions.clear();
        self.plan = None;
        self.verdict.replicas = Some(kept);
        self.verdict.why.push(reason);
        self.is_withheld = true;
        self.wake(Some(until));
    }

    /// Has the stage decided on again then at the latest.
    pub(super) fn wake(&mut self, at: Option<Timestamp>) {
        self.verdict.next = self.verdict.next.into_iter().chain(at).min();
    }
}

impl<'a> Turn<'a> {
    /// What a stage's turn looks at of one instant, before it is known what became of its writes. `stage` has the bounds of that instant.
    pub(super) fn new(
        now: &'a Snapshot,
        situation: &'a Situation,
        (index, stage): (usize, &'a Stage),
        above: Above,
        (pools, purses): (&'a Pools, &'a Purses),
    ) -> Self {
        Self {
            at: now.at,
            may_act: now.may_act,
            pipeline: &situation.pipeline,
            index,
            stage,
            target: situation.targets.get(index).unwrap_or(&Target::Unseen),
            outcomes: Vec::new(),
            of_rooms: Vec::new(),
            recalled: None,
            evidence: Evidence::gather(stage, &now.observations, now.at),
            gates: Gates::look(stage, &now.observations, now.at),
            above,
            full_below: None,
            doubts: Doubts::default(),
            pools: StagePools::new(pools, stage),
            pools_seen: &now.pools,
            budgets: &situation.budgets,
            budgets_seen: &now.budgets,
            purses,
            per_replica: situation.per_replica.get(index).copied().unwrap_or_default(),
            present: situation.present.get(index).copied().unwrap_or(0),
            standing: &situation.standing,
            reserves: &situation.reserves,
            serves_buffers: situation.serves_buffers,
        }
    }
}

impl Turn<'_> {
    pub(super) fn id(&self) -> StageId {
        StageId {
            pipeline: self.pipeline.id.clone(),
            index: self.index,
            name: Arc::clone(&self.stage.name),
        }
    }

    /// The stage's turn.
    pub(super) fn take(&mut self, memory: &mut StageMemory) -> Answer {
        // What is known: of the sources, of the workload, of what became of the last writes.
        memory.start(self.stage, self.recalled);
        memory.read(self.stage, &mut self.evidence, self.target, self.at);
        memory.settle_rooms(self);
        let found = match self.target {
            Target::Unseen => return self.without_target(memory, Reason::TargetUnseen),
            Target::Unusable(why) => {
                return self.without_target(memory, Reason::unusable(why, self.stage));
            }
            Target::Seen(workload) => workload,
        };
        let counted = jobs::counted(found, &self.evidence);
        let found = counted.as_ref().unwrap_or(found);
        let moves = memory.settle(self, found);
        let needed = capacity::counted(found, memory.lanes.as_deref());
        let workload = needed.as_ref().unwrap_or(found);
        let known = memory.learn(self, workload, &moves);
        memory.doubt(self, &known, &moves);
        if let Some(bid) = memory.stands(self.stage, workload) {
            // What is on its way counts, as in the turn that sent it: else those after it would be moved twice.
            let passed = self.passes(&known, memory, bid.replicas);
            return Answer { moves, passed, ..self.answer(bid, &known, workload, memory) };
        }
        if let Some(jobs) = &workload.jobs {
            self.doubts.note(jobs::odd(self, jobs));
        }

        // What is wished.
        let frame = Frame::new(self.stage, workload.desired, self.pipeline.pause.force_activation);
        let patience = self.patience(&known, memory);
        let work = memory.look(self, &known, frame, patience);
        let mut draft = self.wish(&known, memory, frame, work.as_ref());

        // What holds it back, the owner's word last.
        self.doubts.hold(&mut draft.bid, memory, frame.current);
        let Stage { fallback, .. } = self.stage;
        let is_blind = blind::hold(
            &mut draft.bid,
            &memory.blind,
            &self.evidence,
            fallback,
            (frame.current, self.at),
        );
        // Of Jobs what runs is let end: there is nothing to hold.
        let is_end = self.is_jobs() && draft.bid.replicas < frame.current;
        draft.is_told |= is_blind;
        if is_blind || is_end {
            draft.haste = Haste::Told;
        }
        let next = self.hold(&mut draft, &known, memory, frame);
        self.gates.hold(&mut draft.bid, frame.desired);
        let told = (frame, draft.is_told);
        let mut asked = self.afford(&mut draft.bid, &known, memory, told);
        self.respect(&mut draft, frame);
        let broken = self.broken(&draft, frame);
        if let Some(promise) = broken {
            draft.bid.set(frame.current, Reason::PromiseBroken { promise: promise.to_owned() });
        }
        order::keep_within(&mut draft.bid, workload);

        // What is written.
        let (mut actions, plan, on_pools) = if let Some(lanes) = &mut memory.lanes {
            self.write_lanes(&mut draft.bid, workload, (lanes, self.is_late(&known)))
        } else {
            let action = self.write(&mut draft.bid, workload, memory);
            (action.into_iter().collect(), None, Vec::new())
        };
        let will_be = if actions.is_empty() { workload.desired } else { draft.bid.replicas };
        let room = (&draft.bid, &mut asked);
        actions.extend(self.keep_room(room, &known, workload, memory));

        // What is told, and when to look again.
        let answer = self.answer(draft.bid, &known, workload, memory);
        memory.is_full = self.is_full(&known, &answer, memory.is_full);
        let timers = [
            next,
            answer.verdict.next,
            memory.quiet.until(patience),
            memory.blind.fallback_at(fallback),
            memory.pods.given_up(),
            memory.effect.until(),
            self.gates.next,
            jobs::rests_until(workload, self.at).map(|(_, until)| until),
        ];
        let next = timers.into_iter().flatten().filter(|&next| self.at < next).min();
        Answer {
            verdict: Verdict { next, ..answer.verdict },
            actions,
            plan,
            from: Some(workload.desired),
            moves,
            is_told: self.stage.pinned.is_some() || self.stage.max < workload.desired,
            violations: u32::from(broken.is_some()),
            passed: self.passes(&known, memory, will_be),
            asked,
            on_pools,
            ..answer
        }
    }

    /// What the stages after it get from so many replicas. A count that is not written brings them nothing, and pods that nobody waits for any
    /// more send nothing; those that are asked for now are waited for.
    fn passes(&self, known: &Known, memory: &StageMemory, replicas: u32) -> Option<Passed> {
        let Means { desired, ready, .. } = known.means;
        let is_awaited = memory.pods.given_up().is_some_and(|until| self.at < until);
        let here = if is_awaited { desired } else { ready.min(desired) };
        let new = replicas.saturating_sub(desired);
        known.passes(replicas.min(here.saturating_add(new)))
    }

    /// Holds what has not earned its move.
    fn hold(
        &self,
        draft: &mut Draft,
        known: &Known,
        memory: &mut StageMemory,
        frame: Frame,
    ) -> Option<Timestamp> {
        let moment = Moment {
            at: self.at,
            current: frame.current,
            behaviour: &self.stage.behaviour,
            window: known.window(),
            least: if frame.is_asleep && draft.haste == Haste::No { frame.floor } else { 0 },
        };
        let mut brakes = Vec::new();
        let window = memory.calm.window(&moment);
        brakes.extend(memory.newborn(window, self.at).map(Brake::Start));
        if !known.is_mature {
            brakes.push(Brake::Start(later(self.at, Duration::from_secs(20))));
        }
        brakes.extend(known.silent.map(Brake::Silence));
        if let Some(until) = memory.pods.given_up().filter(|&until| self.at < until) {
            brakes.push(Brake::Pods(known.means.ready, until));
        }
        if let Some(until) = memory.recreated().map(|at| later(at, known.window())) {
            brakes.extend((self.at < until).then_some(Brake::Start(until)));
        }
        let next = memory.calm.hold(&mut draft.bid, &moment, &brakes, draft.haste);
        if let Some(stage) = self.full_below
            && !frame.is_asleep
            && frame.current < draft.bid.replicas
        {
            let (wished, stage) = (draft.bid.replicas, stage.to_owned());
            draft.bid.set(frame.current, Reason::DownstreamFull { wished, stage });
        }
        next
    }

    /// Is it late with all the replicas it may have, so that more would only pile up before it? What cannot be read for a moment is as it was.
    fn is_full(&self, known: &Known, answer: &Answer, was: bool) -> bool {
        if !self.evidence.is_fresh() {
            return was && known.is_in_sight(self.at);
        }
        let is_cut = |reason: &Reason| {
            matches!(reason, Reason::OverBudget { .. } | Reason::OverQuota { .. })
        };
        let most = answer.verdict.replicas.filter(|replicas| {
            *replicas == self.stage.max || answer.verdict.why.iter().any(is_cut)
        });
        self.is_late(known) && most == Some(known.means.ready)
    }

    /// Is the oldest item older than promised? What waits where no count helps is late without that.
    fn is_late(&self, known: &Known) -> bool {
        let load = known.load().map(|load| self.doubts.amend(load));
        let delay = load.map(|load| load.delay).into_iter().chain(self.evidence.told_age());
        let delay = delay.fold(0.0, f64::max);
        self.stage.max_delay.is_some_and(|most| most.as_secs_f64() < delay)
    }

    /// What the owner says with bounds and annotations comes last.
    fn respect(&self, draft: &mut Draft, frame: Frame) {
        let pause = &self.pipeline.pause;
        let bid = &mut draft.bid;
        let would_be = bid.replicas;
        let paused = |direction| Reason::Paused {
            annotation: format!("penstock.dev/paused-scale-{direction}"),
            would_be,
        };
        if pause.scale_in && would_be < frame.desired {
            bid.set(frame.desired, paused("in"));
        }
        if pause.scale_out && frame.desired < would_be {
            bid.set(frame.desired, paused("out"));
        }
        let Stage { min, max, .. } = *self.stage;
        let lowest = frame.idle.map_or(min, |idle| idle.min(min));
        if bid.replicas < lowest && !pause.scale_out {
            bid.set(lowest, Reason::AtMin { wished: bid.replicas, min: lowest });
        }
        if pause.force_activation && bid.replicas == 0 {
            bid.set(1, Reason::ForcedActive { replicas: 1 });
        }
        if max < bid.replicas || (max < frame.desired && bid.replicas == max) {
            bid.set(max, Reason::AtMax { wished: bid.replicas.max(frame.desired), max });
        }
        if let Some(replicas) = self.stage.pinned {
            bid.set(replicas, Reason::PinnedByAnnotation { replicas });
            draft.is_told = true;
        }
    }

    /// A promise of ours that the bid breaks, if any. Checked in release, too: what comes out of here is written.
    fn broken(&self, draft: &Draft, frame: Frame) -> Option<&'static str> {
        if self.stage.pinned.is_some() {
            return None;
        }
        let replicas = draft.bid.replicas;
        if self.stage.max < replicas {
            return Some("never above max");
        }
        let paused = self.pipeline.pause.scale_out;
        let lowest = frame.idle.map_or(self.stage.min, |idle| idle.min(self.stage.min));
        if replicas < lowest.min(self.stage.max) && !paused {
            return Some("never below min");
        }
        let is_down = replicas < frame.desired.min(self.stage.max);
        if is_down && !self.evidence.is_fresh() && !draft.is_told {
            return Some("never down without fresh data");
        }
        None
    }

    fn answer(
        &self,
        bid: Bid,
        known: &Known,
        workload: &Workload,
        memory: &mut StageMemory,
    ) -> Answer {
        let late = self.evidence.sources.iter().filter_map(|seen| {
            let patience = evidence::patience(seen.source.poll_interval);
            Some(later(later(seen.reading?.at, patience), Duration::from_millis(1)))
        });
        let next = late.chain(memory.next_write(self.at)).chain(self.lanes_next(workload, memory));
        let next = next.filter(|&next| self.at < next).min();
        let mut anomalies = self.doubts.odd(&bid);
        let (lanes, nodes) = self.shared_out(workload, memory, bid.replicas);
        let (rooms, said) = self.rooms(memory);
        anomalies.extend(nodes.into_iter().chain(said));
        let verdict = Verdict {
            stage: self.id(),
            replicas: Some(bid.replicas),
            held: memory.calm.held(&bid, self.at),
            why: bid.why,
            signals: known.signals(self),
            next,
            anomalies,
            lanes,
            rooms,
        };
        Answer::of(verdict)
    }
}
