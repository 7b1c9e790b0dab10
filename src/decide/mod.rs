//! What should be: the whole thinking, pure. Values in, values out; no I/O, no clock, no log, no chance. Called by the daemon and the
//! simulator alike; every change of a number carries a [`Reason`].

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod pipeline;
mod snapshot;
mod field;
mod number;
mod capacity;
mod plan;
mod reason;
mod words;
mod figures;
mod hints;
mod memory;
mod minutes;
mod stage;
mod absent;
mod frame;
mod order;
mod evidence;
mod part;
mod age;
mod arrivals;
mod depth;
mod rate;
mod skew;
mod slack;
mod pods;
mod knowledge;
mod reckon;
mod partitions;
mod demand;
mod lesson;
mod sum;
mod prospect;
mod batch;
mod chore;
mod formula;
mod check;
mod combine;
mod hours;
mod schedule;
mod tariff;
mod gate;
mod idle;
mod blind;
mod doubt;
mod stuck;
mod spike;
mod effect;
mod enough;
mod anomaly;
mod steady;
mod surge;
mod forecast;
mod window;
mod limits;
mod writes;
mod jobs;
mod fleet;
mod flow;

use capacity::{Claimant, Drained, Pools, Purses};
use flow::Above;
use memory::PipelineMemory;
use schedule::Bound;
use stage::{Answer, Turn};

pub use capacity::{
    Budget, BudgetSeen, BudgetVerdict, Cause, Class, Compare, Cost, Crew, Draining, Grip, Keeps,
    LaneSeen, LaneVerdict, Leaving, Method, NodeStanding, Nodes, PerReplica, Places, PodStanding,
    Pool, PoolCpu, PoolSeen, PoolState, PoolVerdict, ReserveSeen, Reserves, Room, RoomVerdict,
    Sign, Standing, Term, Thing, reserve_name, reserve_of,
};
pub use field::{Field, Form, Limit};
pub use forecast::Band;
pub use formula::{Formula, Gives, Wrong};
pub use gate::Gate;
pub use hours::{Hours, Unreadable};
pub use memory::Memory;
pub use pipeline::{
    Behaviour, CRON_JOB, DoneBy, Fallback, FallbackPolicy, Headroom, Idle, Lane, Mode, OnSilence,
    Pause, Pipeline, PipelineId, Policy, Prefer, QuestionId, Rules, Select, Source, Stage,
    TargetId, Unit,
};
pub use plan::{
    Action, Concern, Doubted, Ending, ForeignWriter, GiveUpFirst, HoldDrain, LetGo, Outcome, Plan,
    PodCost, PodSeen, Reserve, Scale, Signals, StageId, StartJobs, Verdict,
};
pub use prospect::{Fate, Outlook, Prospect, prospects};
pub use reason::Reason;
pub use schedule::Schedule;
pub use snapshot::{
    Adrift, Cpu, Failing, FinishedJob, JobsSeen, Lost, Missing, Observation, Partition, Queue,
    Reading, Recalled, Situation, Snapshot, Target, Unusable, Value, Workload, Writing,
};
pub use sum::Sum;
pub use tariff::{Rate, Tariff};

/// What one turn comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do, and why.
    pub plan: Plan,
    /// The memory of the due pipelines after it.
    pub memory: Memory,
}

/// What should be, given all that is known now and all that is remembered. Never waits, fails or guesses: the same input gives the
/// same answer. Each pipeline alone: one that makes our own code panic is held with [`Reason::InternalError`], the others go on. Then
/// all of them together: see `fleet` for what withholds moves down.
pub fn decide(now: &Snapshot, before: &Memory) -> Step {
    advance(now, &mut before.clone())
}

/// The same for whoever keeps the memory and has no use for what it was before: what was remembered of a pipeline is let go as soon as
/// it had its turn, so that a turn of many never holds all of it twice. What the step says of memory is in `memory` already.
pub fn advance(now: &Snapshot, memory: &mut Memory) -> Step {
    let mut step = Step::default();
    let mut fleet = memory.fleet();
    let mut pools = memory.pools();
    step.plan.pools = pools.observe(&now.pools, now.at);
    let mut purses = memory.purses();
    let mut turns = Vec::with_capacity(now.due.len());
    for situation in &now.due {
        let pipeline = &situation.pipeline;
        let before = memory.of(&pipeline.id, &pipeline.uid);
        let (answers, after) = guarded(now, situation, &before, |memory| {
            turn(now, situation, (&pools, &mut purses), memory)
        });
        for ((answer, stage), index) in answers.iter().zip(&pipeline.stages).zip(0..) {
            // Who only observes sees the moves of others, each of which counts once.
            let moves = if stage.mode == Mode::Enforce { &answer.moves[..] } else { &[] };
            let ended = situation.ended(index, Concern::Count);
            fleet.settle(&answer.verdict.stage, ended, moves);
        }
        fleet.hear(&pipeline.id, &before.voices, &after.voices, now.at);
        let is_over = |budget: &str, stage: &str| match Budget::pool(budget) {
            None => situation.is_under(budget, stage),
            Some(pool) => {
                let pool = now.pools.get(pool).filter(|pool| pools.is_at_limits(pool));
                pool.is_some_and(|pool| situation.has_lane(stage, &pool.pool.name))
            }
        };
        purses.forget_but(&pipeline.id, is_over);
        memory.put(pipeline.id.clone(), after);
        turns.push((&pipeline.id, answers));
    }
    step.plan.doubted = fleet.doubt(now.at, |origin| memory.asking(origin));
    let all = memory.len();
    for (id, answers) in turns {
        for mut answer in answers {
            memory.change(id, |memory| {
                fleet.admit(&mut answer, &memory.voices, all, now.at);
                if let (Some(kept), true) = (answer.verdict.replicas, answer.is_withheld) {
                    purses.keep(id, &answer.verdict.stage.name, kept);
                }
                memory.ask(&mut answer, now.at);
            });
            step.plan.verdicts.push(answer.verdict);
            step.plan.actions.extend(answer.actions);
            step.plan.actions.extend(answer.besides);
            step.plan.violations += answer.violations;
        }
        step.memory.share(memory, id);
    }
    for adrift in &now.adrift {
        let id = &adrift.pipeline;
        let mut after = PipelineMemory::clone(&memory.of(id, &adrift.uid));
        let drained = drift(now, adrift, &mut after);
        step.plan.actions.extend(drained.actions);
        step.plan.again.extend(drained.next.map(|next| (id.clone(), next)));
        memory.put(id.clone(), after);
        step.memory.share(memory, id);
    }
    memory.put_fleet(fleet);
    memory.put_pools(pools);
    step.plan.budgets = purses.verdicts(&now.budgets, now.at);
    memory.put_purses(purses);
    step.memory.share_house(memory);
    step
}

/// One pipeline's turn, stage by stage.
fn turn(
    now: &Snapshot,
    situation: &Situation,
    (pools, purses): (&Pools, &mut Purses),
    memory: &mut PipelineMemory,
) -> Vec<Answer> {
    let mut taken = BTreeSet::new();
    let mut stages = std::mem::take(&mut memory.stages);
    let before = std::mem::take(&mut memory.voices);
    let mut answers: Vec<Answer> = Vec::new();
    let written = &situation.pipeline.stages;
    let full: Vec<bool> =
        written.iter().map(|stage| stages.get(&stage.name).is_some_and(|it| it.is_full)).collect();
    for (index, stage) in written.iter().enumerate() {
        let bound = Bound::of(stage, now.at);
        let mut above = Above::default();
        for feed in stage.after.iter().filter_map(|&feed| answers.get(feed)) {
            above.push(feed.passed);
        }
        let below =
            written.iter().zip(&full).find(|(it, full)| **full && it.after.contains(&index));
        let twice = Target::Unusable(Unusable::TakenBy(situation.pipeline.id.to_string()));
        let is_free = !stage.targets().any(|target| taken.contains(target));
        taken.extend(stage.targets());
        let target =
            if is_free { situation.targets.get(index).unwrap_or(&Target::Unseen) } else { &twice };
        let mut turn = Turn {
            target,
            outcomes: situation.ended(index, Concern::Count).collect(),
            of_rooms: situation.ended(index, Concern::Room).collect(),
            recalled: situation.recalled.get(index).and_then(Option::as_ref),
            full_below: below.map(|(stage, _)| &*stage.name),
            ..Turn::new(now, situation, (index, &bound.stage), above, (pools, &*purses))
        };
        let mut remembered = stages.take(&stage.name).unwrap_or_default();
        let mut answer = turn.take(&mut remembered);
        bound.tell(&mut answer, now.at);
        fleet::listen(&mut memory.voices, &before, &turn.evidence, &remembered, now.at);
        let per = situation.per_replica.get(index).copied().unwrap_or_default();
        // Pods of a workload that is not there for the stage are not its own.
        let counts = answer.from.map_or((0, 0), |from| (from, turn.present));
        let claimant = Claimant::of(&situation.pipeline, stage, counts, per);
        match (&answer.asked, target) {
            (Some(asked), _) => purses.note(&situation.budgets, &claimant, asked, now.at),
            (None, Target::Unusable(_)) => purses.forget_stage(&claimant),
            (None, _) => {}
        }
        for claim in &answer.on_pools {
            purses.note_on_pool(claim, &claimant, now.at);
        }
        answers.push(answer);
        memory.stages.put(&stage.name, remembered);
    }
    hold_drains(now, situation, memory, &mut answers);
    clear_rooms(now, situation, memory, &mut answers);
    answers
}

/// Takes away what stands for room that no stage keeps any more, whatever becomes of the stages themselves.
fn clear_rooms(
    now: &Snapshot,
    situation: &Situation,
    memory: &mut PipelineMemory,
    answers: &mut [Answer],
) {
    if situation.reserves.seen().is_empty() && memory.unwanted.is_none() {
        return;
    }
    let mut unwanted = memory.unwanted.take().unwrap_or_default();
    let cleared = unwanted.clear(situation, (now.at, now.may_act));
    memory.unwanted = (!unwanted.is_idle()).then_some(unwanted);
    if let Some(answer) = answers.first_mut() {
        answer.besides.extend(cleared.actions);
        answer.verdict.anomalies.extend(cleared.told);
        answer.verdict.next = answer.verdict.next.into_iter().chain(cleared.next).min();
    }
}

/// What is to be done about the evictions of a pipeline's pods, once it is known how many there shall be.
fn hold_drains(
    now: &Snapshot,
    situation: &Situation,
    memory: &mut PipelineMemory,
    answers: &mut [Answer],
) {
    if situation.draining.is_none() && memory.drains.is_none() {
        return;
    }
    let mut drains = memory.drains.take().unwrap_or_default();
    let verdicts: Vec<_> = answers.iter().map(|answer| &answer.verdict).collect();
    let drained = drains.turn(situation, &verdicts, (now.at, now.may_act));
    memory.drains = (!drains.is_idle()).then_some(drains);
    hand_over(drained, answers);
}

fn hand_over(drained: Drained, answers: &mut [Answer]) {
    for (index, reason) in drained.told {
        if let Some(answer) = answers.get_mut(index) {
            answer.verdict.anomalies.push(reason);
        }
    }
    if let Some(answer) = answers.first_mut() {
        answer.besides.extend(drained.actions);
        answer.verdict.next = answer.verdict.next.into_iter().chain(drained.next).min();
    }
}

/// What becomes of the budgets of a pipeline on which nothing can be decided. One that makes our own code panic here has them stay.
fn drift(now: &Snapshot, adrift: &Adrift, memory: &mut PipelineMemory) -> Drained {
    let mut drains = memory.drains.take().unwrap_or_default();
    let drained = caught(|| drains.drift(adrift, (now.at, now.may_act)));
    memory.drains = (!drains.is_idle()).then_some(drains);
    drained.unwrap_or_default()
}

/// Runs a pipeline's turn; if it panics, every stage keeps what it has and memory stays as it was, but for what its budgets promised.
fn guarded(
    now: &Snapshot,
    situation: &Situation,
    remembered: &PipelineMemory,
    turn: impl FnOnce(&mut PipelineMemory) -> Vec<Answer>,
) -> (Vec<Answer>, PipelineMemory) {
    let mut memory = remembered.clone();
    let message = match caught(|| turn(&mut memory)) {
        Ok(answers) => return (answers, memory),
        Err(message) => message,
    };
    let mut memory = remembered.clone();
    let mut answers = held(situation, &message);
    if let Some(adrift) = situation.adrift() {
        hand_over(drift(now, &adrift, &mut memory), &mut answers);
    }
    (answers, memory)
}

/// What our own code comes to, or the words of its panic.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// What a pipeline gets whose turn failed in our own code: what it has.
fn held(situation: &Situation, message: &str) -> Vec<Answer> {
    let stages = situation.pipeline.stages.iter().enumerate();
    let answer = |(index, stage): (usize, &Stage)| {
        let replicas = match situation.targets.get(index) {
            Some(Target::Seen(workload)) => Some(workload.desired),
            Some(Target::Unseen | Target::Unusable(_)) | None => None,
        };
        let verdict = Verdict {
            stage: StageId {
                pipeline: situation.pipeline.id.clone(),
                index,
                name: Arc::clone(&stage.name),
            },
            replicas,
            why: vec![Reason::InternalError { message: message.to_owned() }],
            signals: Signals::default(),
            held: None,
            next: None,
            anomalies: Vec::new(),
            lanes: Vec::new(),
            rooms: Vec::new(),
        };
        Answer::of(verdict)
    };
    stages.map(answer).collect()
}
