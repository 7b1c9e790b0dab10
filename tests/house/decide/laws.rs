//! Laws of decide: they hold for any input, however odd.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Behaviour, Fallback, FallbackPolicy, Idle, Lost, Memory, Missing, Observation,
    OnSilence, Partition, Policy, QuestionId, Queue, Reading, Recalled, Rules, Select, Situation,
    Snapshot, Source, Stage, Step, Target, Unit, Value, Workload, Writing, decide,
};
use proptest::prelude::*;

use super::plain;
use super::story::{DAWN, Given, World, pipeline_id, verdict};

/// Any double, the odd ones often.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1e6,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, 1e-300]),
    ]
}

fn any_count() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..100_u32, 1 => any::<u32>()]
}

fn any_seconds() -> impl Strategy<Value = Duration> {
    prop_oneof![8 => 0..1000_u64, 1 => any::<u64>()].prop_map(Duration::from_secs)
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let sane = (-1000..1000_i64).prop_map(|s| Timestamp::from_second(DAWN + s).unwrap());
    let odd = prop::sample::select(vec![Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]);
    prop_oneof![20 => sane, 1 => odd]
}

fn any_offset() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..100_000_i64, 1 => any::<i64>()]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let select = prop::sample::select(vec![Select::Max, Select::Min, Select::Disabled]);
    let policy = (any::<bool>(), any_count(), any_seconds()).prop_map(|(pods, value, period)| {
        let unit = if pods { Unit::Pods } else { Unit::Percent };
        Policy { unit, value, period }
    });
    let policies = prop::collection::vec(policy, 0..3);
    (prop::option::of(any_seconds()), select, policies, prop::option::of(any_number())).prop_map(
        |(window, select, policies, tolerance)| Rules { window, select, policies, tolerance },
    )
}

fn any_source(name: &'static str) -> impl Strategy<Value = Source> {
    (any_seconds(), any_number(), prop::option::of(any_number())).prop_map(
        move |(poll_interval, activation, per_replica)| Source {
            name: name.into(),
            question: QuestionId::new(&pipeline_id(), "work", name),
            origin: Arc::default(),
            poll_interval,
            activation,
            per_replica,
            topics: Vec::new(),
        },
    )
}

fn any_stage() -> impl Strategy<Value = Stage> {
    let policy = prop_oneof![
        Just(FallbackPolicy::Hold),
        any_count().prop_map(FallbackPolicy::Static),
        any_count().prop_map(FallbackPolicy::AtLeast),
        any_count().prop_map(FallbackPolicy::AtMost),
    ];
    let idle = (any_count(), any_seconds()).prop_map(|(replicas, after)| Idle { replicas, after });
    let sizes = (any_count(), any_count(), prop::option::of(idle), any::<bool>());
    let goals = (
        prop::option::of(any_seconds()),
        prop::option::of(any_number()),
        prop::option::of(any_seconds()),
    );
    let rules = (any_rules(), any_rules(), any_seconds(), policy);
    (sizes, goals, rules, any_source("a"), any_source("b"), 0..3_usize).prop_map(
        |(
            (a, b, idle, follows),
            (max_delay, rate_hint, startup_hint),
            rules,
            first,
            second,
            count,
        )| {
            Stage {
                min: a.min(b),
                max: a.max(b).max(1),
                idle,
                max_delay,
                rate_hint,
                startup_hint,
                on_silence: if follows { OnSilence::Follow } else { OnSilence::Hold },
                behaviour: Behaviour { up: rules.0, down: rules.1 },
                fallback: Fallback { after: rules.2, policy: rules.3 },
                ..plain::stage(
                    "work",
                    plain::deployment("work"),
                    [first, second].into_iter().take(count).collect(),
                )
            }
        },
    )
}

fn any_observation() -> impl Strategy<Value = Option<Observation>> {
    let partition = (0..3_u16, 0..6_i32, any_offset(), any_offset(), any::<bool>()).prop_map(
        |(topic, id, end, position, is_committed)| Partition {
            topic,
            id,
            end,
            position,
            is_committed,
            owner: None,
        },
    );
    let counters = (any::<u64>(), prop::option::of(any::<u64>()), prop::option::of(any::<u64>()));
    let times = (prop::option::of(any_time()), prop::option::of(any_seconds()));
    let queue = (counters, times, prop::collection::vec(partition, 0..8)).prop_map(
        |((backlog, arrived, served), (served_at, commit_interval), partitions)| {
            Value::Queue(Queue {
                backlog,
                arrived,
                served,
                served_at,
                commit_interval,
                partitions,
                uncommitted: 0,
            })
        },
    );
    let value = prop_oneof![3 => queue, 1 => any_number().prop_map(Value::Gauge)];
    (0..6, any_time(), value, any_time()).prop_map(|(kind, at, value, since)| {
        let reading = Arc::new(Reading { at, value });
        let (label, message) = ("Odd".into(), "as odd as can be".into());
        let missing = Missing { label, message, is_lasting: false, since };
        let lost = Lost { partitions: 1, of: 2, error: "gone".into() };
        match kind {
            0 => None,
            1 => Some(Observation::Partial(reading, lost)),
            2 => Some(Observation::Stale(reading, missing)),
            3 => Some(Observation::Failed(missing)),
            _ => Some(Observation::Fresh(reading)),
        }
    })
}

fn any_workload() -> impl Strategy<Value = Workload> {
    let times = (prop::option::of(any_time()), any_time());
    (any_count(), any_count(), any_count(), times, any::<bool>(), any::<bool>(), any::<u16>())
        .prop_map(|(desired, current, ready, (ready_since, read_at), merges, is_ours, version)| {
            Workload {
                resource_version: version.to_string().into(),
                current,
                ready,
                ready_since,
                writing: if merges { Writing::Merge } else { Writing::Apply },
                read_at,
                is_ours,
                ..plain::workload("uid", desired)
            }
        })
}

fn any_turn() -> impl Strategy<Value = (Timestamp, Workload, [Option<Observation>; 2])> {
    (any_time(), any_workload(), [any_observation(), any_observation()])
}

fn any_recalled() -> impl Strategy<Value = Option<Recalled>> {
    let held = prop::option::of((any_count(), any_time()));
    let times = (prop::option::of(any_seconds()), prop::option::of(any_seconds()));
    prop::option::of((prop::option::of(any_number()), times, held).prop_map(
        |(rate_per_replica, (startup, rebalance), held)| Recalled {
            rate_per_replica,
            former_rate: None,
            startup,
            rebalance,
            held,
        },
    ))
}

fn snapshot(
    stage: &Stage,
    (at, workload, observations): (Timestamp, Workload, [Option<Observation>; 2]),
    recalled: Option<Recalled>,
) -> Snapshot {
    let questions = ["a", "b"].map(|name| QuestionId::new(&pipeline_id(), "work", name));
    let observations = questions.into_iter().zip(observations);
    Snapshot {
        due: vec![Situation {
            targets: vec![Target::Seen(workload)],
            recalled: vec![recalled],
            ..Situation::of(Arc::new(plain::pipeline(pipeline_id(), stage.clone())))
        }],
        observations: observations.filter_map(|(id, seen)| Some((id, seen?))).collect(),
        ..Snapshot::of(at, true)
    }
}

/// What must hold after any turn.
fn assert_lawful(stage: &Stage, now: &Snapshot, step: &Step) {
    let verdict = verdict(step);
    let reason = verdict.reason().expect("a verdict without a reason");
    assert!(reason.code() != "InternalError" && reason.code() != "PromiseBroken", "{reason}");
    assert_eq!(step.plan.violations, 0);
    let Target::Seen(workload) = &now.due[0].targets[0] else { panic!("no workload") };
    assert!(step.plan.actions.len() <= 1);
    for action in &step.plan.actions {
        let scale = action.scale();
        assert!(scale.to <= stage.max || matches!(action, Action::Claim(_)), "above max");
        let idle = stage.idle.map(|idle| idle.replicas).or((stage.min == 0).then_some(0));
        let floor = idle.map_or(stage.min, |idle| idle.min(stage.min)).min(stage.max);
        assert!(floor <= scale.to, "below the floor");
        assert_eq!(scale.from, workload.desired);
        let is_told =
            matches!(stage.fallback.policy, FallbackPolicy::Static(_) | FallbackPolicy::AtMost(_));
        let is_blind = !verdict.signals.is_fresh;
        if is_blind && !is_told && stage.max >= workload.desired {
            assert!(workload.desired <= scale.to, "lowered without fresh data: {reason}");
        }
        assert!(scale.to == scale.from || verdict.replicas == Some(scale.to));
    }
    for reason in &verdict.why {
        assert!(penstock::decide::Reason::CODES.contains(&reason.code()));
        assert!(!reason.to_string().is_empty());
    }
    serde_json::to_string(&step.memory).expect("memory that cannot be written");
}

proptest! {
    #![proptest_config(super::cases(1500))]

    #[test]
    fn no_input_panics_or_breaks_a_promise(
        stage in any_stage(),
        recalled in any_recalled(),
        turns in prop::collection::vec(any_turn(), 1..6),
    ) {
        let mut memory = Memory::default();
        for turn in turns {
            let now = snapshot(&stage, turn, recalled);
            let step = decide(&now, &memory);
            assert_lawful(&stage, &now, &step);
            let again = decide(&now, &memory);
            prop_assert_eq!(format!("{:?}", step), format!("{:?}", again), "same input, same plan");
            memory.merge(step.memory);
        }
    }
}

/// A sane life of a stage, for the laws that compare two lives.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) given: Given,
    /// Seconds until the next turn, items that come, items that are taken.
    pub(super) turns: Vec<(i64, i64, i64)>,
}

pub(super) fn any_life() -> impl Strategy<Value = Life> {
    let stage = (0..3_u32, 3..40_u32, prop::option::of(20..300_u64), prop::option::of(1.0..5000.0));
    let more = (prop::option::of(5.0..200.0), 0..20_u32, 1..60_usize, any::<bool>());
    let turn = (2..40_i64, 0..20_000_i64, 0..20_000_i64);
    (stage, more, prop::collection::vec(turn, 1..25)).prop_map(
        |((min, max, objective, per_replica), (rate, desired, partitions, follow), turns)| Life {
            given: Given {
                min: Some(min),
                max: Some(max),
                objective: objective.or(per_replica.is_none().then_some(60)),
                per_replica,
                rate,
                desired: Some(desired.min(max)),
                partitions: Some(partitions),
                follow,
                ..Given::default()
            },
            turns,
        },
    )
}

impl Life {
    /// Lives it up to the present.
    pub(super) fn past(&self) -> World {
        let mut world = World::new(self.given.clone());
        for &(seconds, come, taken) in &self.turns {
            world.bring(come);
            world.serve(taken);
            world.turn();
            world.pass(seconds);
        }
        world
    }

    /// The counts it comes to.
    pub(super) fn live(&self, mut world: World) -> Vec<u32> {
        let mut counts = Vec::new();
        for &(seconds, come, taken) in &self.turns {
            world.bring(come);
            world.serve(taken);
            world.turn();
            counts.push(world.workload.desired);
            world.pass(seconds);
        }
        counts
    }
}

proptest! {
    #![proptest_config(super::cases(120))]

    #[test]
    fn a_repeated_turn_does_nothing(life in any_life()) {
        let mut world = World::new(life.given.clone());
        for &(seconds, come, taken) in &life.turns {
            world.bring(come);
            world.serve(taken);
            let mut mute = world.clone();
            mute.ending = "Lost".into();
            mute.turn();
            let again = mute.turn();
            prop_assert!(again.plan.actions.is_empty(), "{:?}", again.plan.actions);
            world.turn();
            world.pass(seconds);
        }
    }

    #[test]
    fn what_is_not_fresh_never_lowers(life in any_life(), from in 0..10_usize, sight in 0..4_usize) {
        let mut world = World::new(life.given.clone());
        for (at, &(seconds, come, taken)) in life.turns.iter().enumerate() {
            if at == from {
                world.frozen = world.observations();
                world.sight = ["Partial", "Stale", "Failed", "None"][sight].into();
            }
            world.bring(come);
            world.serve(taken);
            let before = world.workload.desired;
            world.turn();
            if from <= at {
                prop_assert!(before.min(life.given.max.unwrap()) <= world.workload.desired);
            }
            world.pass(seconds);
        }
    }

    #[test]
    fn more_lag_never_means_fewer_replicas(life in any_life(), more in 1..100_000_i64) {
        let world = life.past();
        // Two presents of one past: in one the consumers lag further behind.
        let mut behind = world.clone();
        let each = more / i64::try_from(behind.positions.len()).unwrap() + 1;
        let mut ahead = world;
        behind.positions.iter_mut().for_each(|at| *at -= each);
        // Positions that went back are doubted once; both see the same twice.
        for present in [&mut ahead, &mut behind] {
            present.turn();
            present.at += 1;
            present.turn();
        }
        let (few, many) = (ahead.workload.desired, behind.workload.desired);
        prop_assert!(few <= many, "{} with less lag, {} with more", few, many);
    }

    #[test]
    fn scaling_lag_and_threshold_alike_changes_nothing(life in any_life(), factor in 2..9_i64) {
        let mut given = life.given.clone();
        given.objective = None;
        given.per_replica = Some(given.per_replica.map_or(100.0, f64::round));
        let once = Life { given: given.clone(), ..life.clone() };
        let per_replica = given.per_replica.map(|items| items * f64::from(i32::try_from(factor).unwrap()));
        let more = life.turns.iter().map(|&(seconds, come, taken)| (seconds, come * factor, taken * factor));
        let given = Given { per_replica, partitions: Some(1), ..given };
        let scaled = Life { given: given.clone(), turns: more.collect() };
        let once = Life { given: Given { partitions: Some(1), ..once.given }, ..once };
        prop_assert_eq!(once.live(World::new(once.given.clone())), scaled.live(World::new(given)));
    }

    #[test]
    fn the_order_of_partitions_and_sources_changes_nothing(life in any_life(), sources in 1..4_usize) {
        let given = Given { sources: Some(sources), gauge: Some(7.0), ..life.given.clone() };
        let mut world = World::new(given);
        let mut turned = Memory::default();
        for &(seconds, come, taken) in &life.turns {
            world.bring(come);
            world.serve(taken);
            let mut other = world.clone().snapshot();
            let mut pipeline = (*other.due[0].pipeline).clone();
            pipeline.stages[0].sources.reverse();
            other.due[0].pipeline = Arc::new(pipeline);
            for observation in other.observations.values_mut() {
                if let Observation::Fresh(reading) = observation
                    && let Value::Queue(queue) = &mut Arc::make_mut(reading).value
                {
                    queue.partitions.reverse();
                }
            }
            let there = decide(&other, &turned);
            turned.merge(there.memory.clone());
            let here = world.turn();
            prop_assert_eq!(here.plan, there.plan);
            world.pass(seconds);
        }
    }
}
