//! Laws of decide: they hold for any input, however odd. Those of stages that feed each other are in `row` too.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use penstock::decide::{
    Action, Behaviour, DoneBy, Fallback, FallbackPolicy, Formula, Gate, Gives, Idle, Lost, Memory,
    Missing, Observation, OnSilence, Partition, Pipeline, Policy, Prefer, QuestionId, Queue,
    Reading, Recalled, Rules, Schedule, Select, Situation, Snapshot, Source, Stage, Step, Target,
    Unit, Value, Workload, Writing, decide,
};
use proptest::prelude::*;

use super::plain;
use super::story::{DAWN, Given, World, pipeline_id};

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

fn any_prefer() -> impl Strategy<Value = Prefer> {
    prop::sample::select(vec![Prefer::Cost, Prefer::Balanced, Prefer::Latency])
}

fn any_done_by() -> impl Strategy<Value = DoneBy> {
    (0..24_i8, 0..60_i8).prop_map(|(hour, minute)| DoneBy { hour, minute, zone: TimeZone::UTC })
}

/// One that begins or ends about dawn, when these turns are, or never near it.
fn any_schedule() -> impl Strategy<Value = Schedule> {
    let times = prop::sample::select(vec![
        ("50 23 * * *", "5 0 * * *"),
        ("2 0 * * *", "9 0 * * 1-5"),
        ("0 8 * * *", "0 18 * * *"),
    ]);
    let bounds = (prop::option::of(any_count()), prop::option::of(any_count()));
    (times, bounds)
        .prop_map(|(times, bounds)| Schedule::new("hours", times, "UTC", bounds).unwrap())
}

/// What an owner may make of sources `a` and `b`.
fn any_combine() -> impl Strategy<Value = Formula> {
    let texts =
        prop::sample::select(vec!["a", "b * 2.0", "a + b", "a / (b - 1.0)", "[a, b].max()"]);
    texts.prop_map(|text| Formula::new(text, &["a", "b"], Gives::Number).unwrap())
}

fn any_gate() -> impl Strategy<Value = Gate> {
    any_source("gate/g").prop_map(|source| {
        let hold_when = Formula::new("value > 5.0", &["value"], Gives::Truth).unwrap();
        Gate { name: "g".into(), source, hold_when }
    })
}

/// On the heap, as what is drawn of it: the stack of a test has no room for all that a stage may be.
fn any_stage() -> BoxedStrategy<Stage> {
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
    let sources = (any_source("a"), any_source("b"), 0..3_usize);
    let seldom = (
        prop_oneof![4 => Just(None), 1 => any_done_by().prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => any_combine().prop_map(Some)],
        prop_oneof![9 => Just(Vec::new()), 1 => prop::collection::vec(any_schedule(), 1..3)],
        prop_oneof![4 => Just(Vec::new()), 1 => any_gate().prop_map(|gate| vec![gate])],
    );
    (sizes, goals, rules, sources, seldom, (any_prefer(), any::<bool>()))
        .prop_map(
            |(
                (a, b, idle, follows),
                (max_delay, rate_hint, startup_hint),
                rules,
                (first, second, count),
                (done_by, combine, schedules, gates),
                (prefer, is_forecast),
            )| {
                Stage {
                    // As `meaning` has it: a batch has no delay to keep, and a formula names what is there.
                    max_delay: max_delay.filter(|_| done_by.is_none()),
                    done_by,
                    combine: combine.filter(|_| count == 2),
                    schedules,
                    gates,
                    prefer,
                    is_forecast,
                    min: a.min(b),
                    max: a.max(b).max(1),
                    idle,
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
        .boxed()
}

fn any_observation() -> BoxedStrategy<Option<Observation>> {
    let offsets = (any_offset(), any_offset(), any::<bool>());
    let owner = prop::option::of(0..4_u32);
    let partition = (0..3_u16, 0..6_i32, offsets, owner).prop_map(
        |(topic, id, (end, position, is_committed), owner)| Partition {
            topic,
            id,
            end,
            position,
            is_committed,
            owner,
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
    let each = prop::collection::btree_map(Just(Arc::from("a")), any_number(), 0..2);
    let value = prop_oneof![
        6 => queue,
        2 => any_number().prop_map(Value::Gauge),
        2 => any_number().prop_map(Value::Age),
        1 => each.prop_map(Value::Each),
    ];
    (0..6, any_time(), value, any_time())
        .prop_map(|(kind, at, value, since)| {
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
        .boxed()
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

/// When, what runs, and what is read: of `a`, of `b` and of the gate.
type Turn = (Timestamp, Workload, [Option<Observation>; 3]);

fn any_turn() -> impl Strategy<Value = Turn> {
    (any_time(), any_workload(), [any_observation(), any_observation(), any_observation()])
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

/// All stages ask the same and run the same.
fn snapshot(
    stages: &[Stage],
    (at, workload, observations): Turn,
    recalled: Option<Recalled>,
) -> Snapshot {
    let pipeline = plain::pipeline(pipeline_id(), stages[0].clone());
    let pipeline = Pipeline { stages: stages.to_vec(), ..pipeline };
    let questions = ["a", "b", "gate/g"].map(|name| QuestionId::new(&pipeline_id(), "work", name));
    let observations = questions.into_iter().zip(observations);
    Snapshot {
        due: vec![Situation {
            targets: vec![Target::Seen(workload); stages.len()],
            recalled: vec![recalled; stages.len()],
            ..Situation::of(Arc::new(pipeline))
        }],
        observations: observations.filter_map(|(id, seen)| Some((id, seen?))).collect(),
        ..Snapshot::of(at, true)
    }
}

/// What must hold after any turn.
fn assert_lawful(now: &Snapshot, step: &Step) {
    let stages = &now.due[0].pipeline.stages;
    assert_eq!(step.plan.verdicts.len(), stages.len());
    assert_eq!(step.plan.violations, 0);
    assert!(step.plan.actions.len() <= stages.len());
    for (at, stage) in stages.iter().enumerate() {
        assert_stage_is_lawful((at, stage), now, step);
    }
    serde_json::to_string(&step.memory).expect("memory that cannot be written");
}

fn assert_stage_is_lawful((at, stage): (usize, &Stage), now: &Snapshot, step: &Step) {
    let verdict = &step.plan.verdicts[at];
    let reason = verdict.reason().expect("a verdict without a reason");
    assert!(reason.code() != "InternalError" && reason.code() != "PromiseBroken", "{reason}");
    let Target::Seen(workload) = &now.due[0].targets[at] else { panic!("no workload") };
    // A schedule may lower the most that there may be, and with it the least.
    let record = |schedule| serde_json::to_value(schedule).unwrap()["max"].as_u64();
    let scheduled = stage.schedules.iter().filter_map(record);
    let least_max = scheduled.map(|max| u32::try_from(max).unwrap()).fold(stage.max, u32::min);
    let actions = step.plan.actions.iter();
    for action in actions.filter(|action| action.scale().stage.index == at) {
        let scale = action.scale();
        assert!(scale.to <= stage.max || matches!(action, Action::Claim(_)), "above max");
        let idle = stage.idle.map(|idle| idle.replicas).or((stage.min == 0).then_some(0));
        let floor = idle.map_or(stage.min, |idle| idle.min(stage.min)).min(least_max);
        assert!(floor <= scale.to, "below the floor");
        assert_eq!(scale.from, workload.desired);
        let is_told =
            matches!(stage.fallback.policy, FallbackPolicy::Static(_) | FallbackPolicy::AtMost(_));
        let is_blind = !verdict.signals.is_fresh;
        if is_blind && !is_told && least_max >= workload.desired {
            assert!(workload.desired <= scale.to, "lowered without fresh data: {reason}");
        }
        assert!(scale.to == scale.from || verdict.replicas == Some(scale.to));
    }
    for reason in &verdict.why {
        assert!(penstock::decide::Reason::CODES.contains(&reason.code()));
        assert!(!reason.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(super::cases(1500))]

    #[test]
    fn no_input_panics_or_breaks_a_promise(
        stage in any_stage(),
        next in prop_oneof![4 => Just(None), 1 => any_stage().prop_map(Some)],
        recalled in any_recalled(),
        turns in prop::collection::vec(any_turn(), 1..6),
    ) {
        let next = next.map(|next| Stage {
            name: "next".into(),
            after: vec![0],
            target: plain::deployment("next"),
            ..next
        });
        let stages: Vec<_> = [stage].into_iter().chain(next).collect();
        let mut memory = Memory::default();
        for turn in turns {
            let now = snapshot(&stages, turn, recalled);
            let step = decide(&now, &memory);
            assert_lawful(&now, &step);
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
    /// What the second source and the gate say, where there are such.
    pub(super) says: (f64, f64),
}

pub(super) fn any_life() -> impl Strategy<Value = Life> {
    let stage = (0..3_u32, 3..40_u32, prop::option::of(20..300_u64), prop::option::of(1.0..5000.0));
    let more = (prop::option::of(5.0..200.0), 0..20_u32, 1..60_usize, any::<bool>());
    let consumers = prop_oneof![1 => Just(None), 1 => (1..6_u32).prop_map(Some)];
    let words = (any_prefer(), any::<bool>(), consumers);
    let turn = (2..40_i64, 0..20_000_i64, 0..20_000_i64);
    (stage, more, words, prop::collection::vec(turn, 1..25)).prop_map(
        |(
            (min, max, objective, per_replica),
            (rate, desired, partitions, follow),
            (prefer, forecast_off, consumers),
            turns,
        )| Life {
            given: Given {
                min: Some(min),
                max: Some(max),
                objective: objective.or(per_replica.is_none().then_some(60)),
                per_replica,
                rate,
                desired: Some(desired.min(max)),
                partitions: Some(partitions),
                follow,
                prefer,
                forecast_off,
                consumers,
                ..Given::default()
            },
            turns,
            says: (0.0, 0.0),
        },
    )
}

/// The same with what else an owner may say, where a law holds for all of it: a batch in place of a delay, a second source that is a
/// number or an age, a rule of his own over both, a schedule that bounds from below, and a gate.
fn any_full_life() -> impl Strategy<Value = Life> {
    let done_by = prop_oneof![3 => Just(None), 1 => (0..2_i8, 0..60_i8).prop_map(Some)];
    let second = (prop::option::of(1.0..20.0), any::<bool>(), any::<bool>());
    // Cron takes its time.
    let starts = prop_oneof![7 => Just(None), 1 => (0..10_u32, 1..40_u32).prop_map(Some)];
    let says = (0.0..100.0, 0.0..10.0);
    (any_life(), done_by, second, starts, any::<bool>(), says).prop_map(
        |(life, done_by, (gauge, is_age, is_combined), starts, is_gated, says)| {
            let schedule = |(minute, min): (u32, u32)| {
                let (start, end) = (format!("{minute} 0 * * *"), format!("{} 0 * * *", minute + 4));
                ("hours".to_owned(), start, end, Some(min), None)
            };
            let has_two = gauge.is_some() && is_combined;
            let objective = life.given.objective.filter(|_| done_by.is_none());
            let given = Given {
                objective,
                done_by,
                gauge,
                is_age,
                combine: has_two.then(|| "[orders, gauge].max() + 1.0".to_owned()),
                schedules: starts.map(schedule).into_iter().collect(),
                gate: is_gated.then(|| "value > 5.0".to_owned()),
                ..life.given
            };
            Life { given, says, ..life }
        },
    )
}

impl Life {
    /// The world it begins in.
    fn world(&self) -> World {
        let mut world = World::new(self.given.clone());
        (world.gauge, world.gate) = self.says;
        world
    }

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
    fn a_repeated_turn_does_nothing(life in any_full_life()) {
        let mut world = life.world();
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
    fn what_is_not_fresh_never_lowers(life in any_full_life(), from in 0..10_usize, sight in 0..4_usize) {
        let mut world = life.world();
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
        let scaled = Life { given: given.clone(), turns: more.collect(), ..life };
        let once = Life { given: Given { partitions: Some(1), ..once.given }, ..once };
        prop_assert_eq!(once.live(World::new(once.given.clone())), scaled.live(World::new(given)));
    }

    #[test]
    fn the_order_of_partitions_and_sources_changes_nothing(life in any_full_life(), sources in 1..4_usize) {
        let given = Given { sources: Some(sources), gauge: Some(7.0), ..life.given.clone() };
        let mut world = Life { given, ..life.clone() }.world();
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
