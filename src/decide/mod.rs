//! What should be: the whole thinking, pure. Values in, values out; no I/O, no clock, no log, no chance. Called by the daemon and the
//! simulator alike; every change of a number carries a [`Reason`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

// What is asked, seen, answered and said.
mod pipeline;
mod snapshot;
mod field;
mod number;
mod plan;
mod reason;
mod words;
mod figures;
mod hints;
mod holds;

// A stage's turn, from start to end.
mod stage;
mod memory;
mod frame;
mod absent;
mod order;
mod writes;

// What is known of it.
mod evidence;
mod knowledge;
mod part;
mod age;
mod arrivals;
mod depth;
mod reckon;
mod rate;
mod skew;
mod pods;
mod minutes;

// What it wishes.
mod wish;
mod demand;
mod need;
mod partitions;
mod slack;
mod lesson;
mod surge;
mod forecast;
mod enough;
mod flow;
mod sum;
mod prospect;
mod habits;

// What its owner wishes.
mod schedule;
mod hours;
mod tariff;
mod batch;
mod chore;
mod formula;
mod check;
mod combine;
mod gate;
mod idle;
mod jobs;

// What is doubted.
mod blind;
mod doubt;
mod stuck;
mod spike;
mod effect;
mod anomaly;

// What holds it back.
mod steady;
mod window;
mod limits;

// All stages and nodes together.
mod after;
mod guard;
mod fleet;
mod capacity;

use capacity::{Claimant, Pools, Purses};
use flow::Above;
use memory::PipelineMemory;
use schedule::Bound;
use stage::{Answer, Turn};

pub use capacity::{
    Budget, BudgetSeen, BudgetVerdict, Cause, Class, Compare, Cost, Crew, Draining, Grip, Keeps,
    LaneNeed, LaneSeen, LaneVerdict, Leaving, Method, NodeStanding, Nodes, PerReplica, Places,
    PodStanding, Pool, PoolCpu, PoolSeen, PoolState, PoolVerdict, ReserveSeen, Reserves, Room,
    RoomVerdict, Sign, Standing, Term, Thing, reserve_name, reserve_of,
};
pub use field::{Field, Form, Limit};
pub use forecast::Band;
pub use formula::{Formula, Gives, Wrong};
pub use gate::Gate;
pub use habits::Habits;
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
    let (mut fleet, mut pools, mut purses) = (memory.fleet(), memory.pools(), memory.purses());
    step.plan.pools = pools.observe(&now.pools, now.at);

    // Each pipeline alone.
    let mut turns = Vec::with_capacity(now.due.len());
    for situation in &now.due {
        let id = &situation.pipeline.id;
        let before = memory.of(id, &situation.pipeline.uid);
        let (answers, after) = guard::guarded(now, situation, &before, |memory| {
            turn(now, situation, (&pools, &mut purses), memory)
        });
        for ((index, answer), stage) in answers.iter().enumerate().zip(&situation.pipeline.stages) {
            // Who only observes sees the moves of others, each of which counts once.
            let moves = if stage.mode == Mode::Enforce { &answer.moves[..] } else { &[] };
            let ended = situation.ended(index, Concern::Count);
            fleet.settle(&answer.verdict.stage, ended, moves);
        }
        fleet.hear(id, &before.voices, &after.voices, now.at);
        purses.forget_but(id, |budget, stage| is_over(now, situation, &pools, (budget, stage)));
        memory.put(id.clone(), after);
        turns.push((id, answers));
    }

    // All of them together.
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

    // Those on which nothing can be decided, and which have promised something all the same.
    for adrift in &now.adrift {
        let id = &adrift.pipeline;
        let mut after = PipelineMemory::clone(&memory.of(id, &adrift.uid));
        let drained = self::after::drift(now, adrift, &mut after);
        step.plan.actions.extend(drained.actions);
        step.plan.again.extend(drained.next.map(|next| (id.clone(), next)));
        memory.put(id.clone(), after);
        step.memory.share(memory, id);
    }

    step.plan.budgets = purses.verdicts(&now.budgets, now.at);
    memory.put_fleet(fleet);
    memory.put_pools(pools);
    memory.put_purses(purses);
    step.memory.share_house(memory);
    step
}

/// Has a stage of it to do with this budget still? With that of a pool only while the pool may grow no further.
fn is_over(
    now: &Snapshot,
    situation: &Situation,
    pools: &Pools,
    (budget, stage): (&str, &str),
) -> bool {
    let Some(pool) = Budget::pool(budget) else { return situation.is_under(budget, stage) };
    let pool = now.pools.get(pool).filter(|pool| pools.is_at_limits(pool));
    pool.is_some_and(|pool| situation.has_lane(stage, &pool.pool.name))
}

/// One pipeline's turn, stage by stage.
fn turn(
    now: &Snapshot,
    situation: &Situation,
    (pools, purses): (&Pools, &mut Purses),
    memory: &mut PipelineMemory,
) -> Vec<Answer> {
    let mut stages = std::mem::take(&mut memory.stages);
    let before = std::mem::take(&mut memory.voices);
    let written = &situation.pipeline.stages;
    let full: Vec<bool> =
        written.iter().map(|stage| stages.get(&stage.name).is_some_and(|it| it.is_full)).collect();
    let mut taken = BTreeSet::new();
    let mut answers: Vec<Answer> = Vec::new();
    for (index, stage) in written.iter().enumerate() {
        // What the stages before it send, and which one after it has no room.
        let mut above = Above::default();
        for feed in stage.after.iter().filter_map(|&feed| answers.get(feed)) {
            above.push(feed.passed);
        }
        let below =
            written.iter().zip(&full).find(|(it, full)| **full && it.after.contains(&index));

        // No two stages have one workload.
        let twice = Target::Unusable(Unusable::TakenBy(situation.pipeline.id.to_string()));
        let is_free = !stage.targets().any(|target| taken.contains(target));
        taken.extend(stage.targets());
        let target =
            if is_free { situation.targets.get(index).unwrap_or(&Target::Unseen) } else { &twice };

        let bound = Bound::of(stage, now.at);
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

        // What it would have of each budget, for the others to reckon with.
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
    after::hold_drains(now, situation, memory, &mut answers);
    after::clear_rooms(now, situation, memory, &mut answers);
    answers
}
