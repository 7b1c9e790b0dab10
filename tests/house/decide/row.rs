//! Several stages at play, one queue each: what a stage takes comes to those after it. For what only shows between stages: why one waits
//! for another, and laws of flow. Names of laws as in the field study: S1 bounds, S2 no data, no down, S13 idempotent, S16 monotone.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::{
    Behaviour, Ending, Lost, Memory, Missing, Mode, Observation, Outcome, Partition, Pipeline,
    Queue, Reading, Rules, Situation, Snapshot, Source, Stage, Step, Target, Value, Workload,
    decide,
};
use proptest::prelude::*;

use super::plain;
use super::story::{pipeline_id, time};

/// How the queue of a stage is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Fresh,
    Partial,
    Stale,
    Failed,
    Unread,
}

/// What stands at a stage.
#[derive(Debug, Clone)]
struct Place {
    ends: Vec<i64>,
    positions: Vec<i64>,
    workload: Workload,
    sight: Sight,
    /// Nobody takes anything from this partition.
    stuck: Option<usize>,
}

impl Place {
    fn new(partitions: usize, replicas: u32) -> Self {
        Self {
            ends: vec![1_000_000; partitions],
            positions: vec![1_000_000; partitions],
            workload: plain::workload("uid", replicas),
            sight: Sight::Fresh,
            stuck: None,
        }
    }

    fn bring(&mut self, items: i64) {
        let count = i64::try_from(self.ends.len()).unwrap();
        for (at, end) in (0..).zip(&mut self.ends) {
            *end += items / count + i64::from(at < items % count);
        }
    }

    /// So many are taken, of every partition alike as far as it has them; how many that was.
    fn serve(&mut self, items: i64) -> i64 {
        let mut left = items;
        let stuck = self.stuck;
        let moves = move |at: usize| Some(at) != stuck;
        while 0 < left {
            let all = self.ends.iter().zip(&self.positions).enumerate();
            let waiting = all.filter(|&(at, (end, position))| moves(at) && position < end);
            let Ok(count @ 1..) = i64::try_from(waiting.count()) else { break };
            let each = (left / count).max(1);
            let all = self.ends.iter().zip(&mut self.positions).enumerate();
            for (_, (end, position)) in all.filter(|(at, _)| moves(*at)) {
                let taken = each.min(end - *position).min(left);
                *position += taken;
                left -= taken;
            }
        }
        items - left
    }

    fn observation(&self, at: i64) -> Option<Observation> {
        let partition = |(id, (end, position)): (i32, (&i64, &i64))| Partition {
            topic: 0,
            id,
            end: *end,
            position: *position,
            is_committed: true,
            owner: None,
        };
        let partitions: Vec<_> =
            (0..).zip(self.ends.iter().zip(&self.positions)).map(partition).collect();
        let backlog = partitions.iter().map(Partition::lag).sum();
        let queue = Queue { backlog, partitions, ..Queue::default() };
        let reading = Arc::new(Reading { at: time(at), value: Value::Queue(queue) });
        let missing = Missing {
            label: "BrokerDown".into(),
            message: "no broker answers".into(),
            is_lasting: false,
            since: time(at),
        };
        match self.sight {
            Sight::Fresh => Some(Observation::Fresh(reading)),
            Sight::Partial => Some(Observation::Partial(
                reading,
                Lost { partitions: 1, of: 2, error: "gone".into() },
            )),
            Sight::Stale => Some(Observation::Stale(reading, missing)),
            Sight::Failed => Some(Observation::Failed(missing)),
            Sight::Unread => None,
        }
    }
}

/// The stages, what stands at each, and what is remembered.
#[derive(Debug, Clone)]
struct Row {
    at: i64,
    pipeline: Pipeline,
    places: Vec<Place>,
    memory: Memory,
    outcomes: Vec<(usize, Outcome)>,
}

impl Row {
    fn new(stages: Vec<Stage>, places: Vec<Place>) -> Self {
        let first = stages[0].clone();
        let pipeline = Pipeline { stages, ..plain::pipeline(pipeline_id(), first) };
        Self { at: 0, pipeline, places, memory: Memory::default(), outcomes: Vec::new() }
    }

    /// A stage takes so many, and those after it get as many each.
    fn serve(&mut self, stage: usize, items: i64) {
        let taken = self.places[stage].serve(items);
        for (next, place) in self.pipeline.stages.iter().zip(&mut self.places) {
            if next.after.contains(&stage) {
                place.bring(taken);
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let questions = self.pipeline.stages.iter().map(|stage| stage.sources[0].question.clone());
        let seen = questions.zip(&self.places);
        let seen = seen.filter_map(|(id, place)| Some((id, place.observation(self.at)?)));
        let target = |place: &Place| {
            Target::Seen(Workload { read_at: time(self.at), ..place.workload.clone() })
        };
        Snapshot {
            due: vec![Situation {
                targets: self.places.iter().map(target).collect(),
                outcomes: std::mem::take(&mut self.outcomes),
                recalled: vec![None; self.places.len()],
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations: seen.collect(),
            ..Snapshot::of(time(self.at), true)
        }
    }

    /// One turn; what it writes is done at once, and pods are Ready at once.
    fn turn(&mut self) -> Step {
        let step = self.mute();
        for action in &step.plan.actions {
            let scale = action.scale();
            let workload = &mut self.places[scale.stage.index].workload;
            if workload.desired < scale.to {
                workload.ready_since = Some(time(self.at));
            }
            let version = format!("{}0", self.at + 1).into();
            workload.resource_version = Arc::clone(&version);
            (workload.desired, workload.current, workload.ready) = (scale.to, scale.to, scale.to);
            let result = Ending::Done { resource_version: version };
            let outcome = Outcome { action: action.clone(), at: time(self.at), result };
            self.outcomes.push((scale.stage.index, outcome));
        }
        step
    }

    /// One turn of whose writes nothing is heard.
    fn mute(&mut self) -> Step {
        let snapshot = self.snapshot();
        let step = decide(&snapshot, &self.memory);
        self.memory.merge(step.memory.clone());
        step
    }

    fn counts(&self) -> Vec<u32> {
        self.places.iter().map(|place| place.workload.desired).collect()
    }
}

/// A stage of 1 to `max` replicas that do 100 items a second each, and may be a minute late.
fn stage(name: &str, after: &[usize], max: u32) -> Stage {
    let id = pipeline_id();
    let source = Source { topics: vec![name.into()], ..plain::source(&id, name, "queue") };
    Stage {
        after: after.to_vec(),
        max,
        max_delay: Some(Duration::from_mins(1)),
        rate_hint: Some(100.0),
        startup_hint: Some(Duration::from_secs(20)),
        ..plain::stage(name, plain::deployment(name), vec![source])
    }
}

/// Lets five minutes pass in which so many a second come to each first stage, and each stage takes what its pods get through.
fn flow(row: &mut Row, each: i64) -> Step {
    let mut step = row.turn();
    for _ in 0..150 {
        row.at += 2;
        for at in 0..row.places.len() {
            if row.pipeline.stages[at].after.is_empty() {
                row.places[at].bring(2 * each);
            }
            row.serve(at, 200 * i64::from(row.places[at].workload.ready));
        }
        step = row.turn();
    }
    step
}

/// The codes that bind, in the stages' order.
fn codes(step: &Step) -> Vec<&'static str> {
    step.plan.verdicts.iter().map(|verdict| verdict.reason().unwrap().code()).collect()
}

#[test]
fn a_stage_before_one_that_is_full_is_kept_and_says_which() {
    let stages = vec![stage("parse", &[], 48), stage("sink", &[0], 2)];
    let mut row = Row::new(stages, vec![Place::new(24, 2), Place::new(24, 2)]);
    flow(&mut row, 150);
    // More than the two replicas of the sink ever get through in a minute waits at both.
    row.places[1].bring(60_000);
    row.at += 70;
    row.turn();
    row.places[0].bring(60_000);
    row.at += 2;
    let step = row.turn();
    assert_eq!(codes(&step)[0], "DownstreamFull", "{:?}", codes(&step));
    let said = step.plan.verdicts[0].reason().unwrap().to_string();
    let (wished, rest) = said.strip_prefix("kept: ").and_then(|said| said.split_once(' ')).unwrap();
    assert!(2 < wished.parse::<u32>().unwrap(), "{said}");
    assert_eq!(
        rest,
        "would do, but stage sink after it is late with all the replicas it may have, and more would only wait there"
    );
    assert_eq!(row.counts()[0], 2, "{:?}", step.plan.actions);
}

#[test]
fn what_stands_still_in_a_full_stage_keeps_nobody_before_it() {
    let stages = vec![stage("parse", &[], 48), stage("sink", &[0], 2)];
    let mut row = Row::new(stages, vec![Place::new(24, 2), Place::new(24, 2)]);
    flow(&mut row, 150);
    row.places[1].stuck = Some(5);
    flow(&mut row, 150);
    let late = flow(&mut row, 150).plan.verdicts[1].signals.delay;
    assert!(late.is_some_and(|late| 500.0 < late), "{late:?}");
    row.places[0].bring(60_000);
    row.at += 2;
    let step = row.turn();
    assert!(2 < row.counts()[0], "{:?}", codes(&step));
}

#[test]
fn what_is_not_written_brings_nothing_to_the_stages_after_it() {
    let first = Stage { mode: Mode::Observe, ..stage("parse", &[], 48) };
    let stages = vec![first, stage("sink", &[0], 48)];
    let mut row = Row::new(stages, vec![Place::new(48, 4), Place::new(48, 4)]);
    // Half as much again as the four of the first stage get through.
    let step = flow(&mut row, 600);
    assert_eq!(codes(&step)[0], "Observed");
    assert!(row.counts()[1] <= 6, "{:?}: {:?}", row.counts(), codes(&step));
}

#[test]
fn what_pods_that_are_still_starting_will_send_is_reckoned_with() {
    let stages = vec![stage("parse", &[], 48), stage("sink", &[0], 48)];
    let mut row = Row::new(stages, vec![Place::new(48, 2), Place::new(48, 2)]);
    flow(&mut row, 150);
    row.places[0].bring(90_000);
    row.at += 2;
    row.turn();
    let risen = row.counts();
    assert!(2 < risen[1], "{risen:?}");
    for _ in 0..8 {
        row.places[0].workload.ready = 2;
        row.at += 2;
        row.places[0].bring(300);
        row.serve(0, 400);
        row.serve(1, 400);
        let step = row.turn();
        assert!(!codes(&step).contains(&"HeldByWindow"), "{:?} {:?}", codes(&step), row.counts());
    }
}

#[test]
fn pods_that_were_ready_and_are_no_more_send_nothing() {
    let stages = vec![stage("parse", &[], 48), stage("sink", &[0], 48)];
    let mut row = Row::new(stages, vec![Place::new(48, 8), Place::new(48, 8)]);
    flow(&mut row, 700);
    assert!(6 < row.counts()[1], "{:?}", row.counts());
    for _ in 0..300 {
        row.places[0].workload.ready = 0;
        row.at += 2;
        row.places[0].bring(1400);
        row.serve(1, 2000);
        row.turn();
    }
    assert_eq!(row.counts()[1], 1, "all pods of the first stage crash");
}

#[test]
fn a_stage_before_one_that_has_room_is_not_kept() {
    let stages = vec![stage("parse", &[], 48), stage("sink", &[0], 3)];
    let mut row = Row::new(stages, vec![Place::new(24, 2), Place::new(24, 2)]);
    flow(&mut row, 150);
    row.places[0].bring(60_000);
    row.at += 2;
    let step = row.turn();
    assert!(2 < row.counts()[0], "{:?}", codes(&step));
}

#[test]
fn all_that_feed_a_full_stage_are_kept() {
    let stages =
        vec![stage("orders", &[], 48), stage("clicks", &[], 48), stage("sink", &[0, 1], 4)];
    let places = vec![Place::new(24, 2), Place::new(24, 2), Place::new(24, 4)];
    let mut row = Row::new(stages, places);
    flow(&mut row, 150);
    row.places[2].bring(200_000);
    row.at += 70;
    row.turn();
    row.places[0].bring(60_000);
    row.places[1].bring(60_000);
    row.at += 2;
    let step = row.turn();
    assert_eq!(codes(&step)[..2], ["DownstreamFull"; 2], "{:?}", codes(&step));
}

#[test]
fn a_stage_that_two_feed_rises_to_what_both_will_pass_on() {
    let stages =
        vec![stage("orders", &[], 48), stage("clicks", &[], 48), stage("sink", &[0, 1], 48)];
    let risen = |lags: [i64; 2]| {
        let places = vec![Place::new(48, 2), Place::new(48, 2), Place::new(48, 4)];
        let mut row = Row::new(stages.clone(), places);
        flow(&mut row, 150);
        lags.into_iter().zip(&mut row.places).for_each(|(lag, place)| place.bring(lag));
        row.at += 2;
        let step = row.turn();
        (row.counts()[2], codes(&step)[2])
    };
    let (none, one, both) = (risen([0, 0]), risen([90_000, 0]), risen([90_000, 90_000]));
    assert_eq!((one.1, both.1), ("KeepAhead", "KeepAhead"));
    assert!(none.0 < one.0 && one.0 < both.0, "{none:?} {one:?} {both:?}");
    assert_eq!(one, risen([0, 90_000]), "whichever of the two it is");
}

/// Stages that feed each other, and what befalls them: seconds until the next turn, items that come to each first stage, and items that
/// each stage takes at most.
#[derive(Debug, Clone)]
struct Course {
    row: Row,
    turns: Vec<(i64, i64, [i64; 3])>,
}

/// Two in a row, three in a row, or two that feed a third.
const SHAPES: [&[&[usize]]; 3] = [&[&[], &[0]], &[&[], &[0], &[1]], &[&[], &[], &[0, 1]]];

fn any_course() -> impl Strategy<Value = Course> {
    let sizes = (0..3_u32, 3..40_u32, 0..20_u32, 1..40_usize);
    let goals = (
        prop::option::of(20..300_u64),
        prop::option::of(1.0..5000.0),
        prop::option::of(5.0..200.0),
    );
    let stages = prop::collection::vec((sizes, goals), 3);
    let turn = (2..40_i64, 0..20_000_i64, [0..20_000_i64, 0..20_000, 0..20_000]);
    (0..SHAPES.len(), stages, prop::collection::vec(turn, 1..20)).prop_map(
        |(shape, stages, turns)| {
            let mut places = Vec::new();
            let each = ["first", "second", "third"].into_iter().zip(SHAPES[shape]).zip(stages);
            let stages = each.map(|((name, after), ((min, max, desired, partitions), goals))| {
                let (objective, per_replica, rate) = goals;
                places.push(Place::new(partitions, desired.min(max)));
                let mut stage = stage(name, after, max);
                stage.min = min;
                let objective = objective.or(per_replica.is_none().then_some(60));
                stage.max_delay = objective.map(Duration::from_secs);
                stage.rate_hint = rate;
                stage.sources[0].per_replica = per_replica;
                // As in `presents`: Penstock's own window follows in one go what fell step by step.
                let window = Some(Duration::from_mins(1));
                stage.behaviour =
                    Behaviour { down: Rules { window, ..Rules::default() }, ..stage.behaviour };
                stage
            });
            Course { row: Row::new(stages.collect(), places), turns }
        },
    )
}

impl Course {
    /// What comes and is taken before a turn.
    fn befall(row: &mut Row, (_, come, taken): (i64, i64, [i64; 3])) {
        for (at, taken) in (0..row.places.len()).zip(taken) {
            if row.pipeline.stages[at].after.is_empty() {
                row.places[at].bring(come);
            }
            row.serve(at, taken);
        }
    }

    /// Plays it up to the present.
    fn past(&self) -> Row {
        let mut row = self.row.clone();
        for &turn in &self.turns {
            Self::befall(&mut row, turn);
            row.turn();
            row.at += turn.0;
        }
        row
    }
}

/// What two presents of one past come to: the count of each stage, and why.
fn next(mut few: Row, mut many: Row) -> [Vec<(u32, String)>; 2] {
    let said = |row: &mut Row| -> Vec<_> {
        let step = row.turn();
        let why = step.plan.verdicts.iter().map(|verdict| format!("{:?}", verdict.why));
        row.counts().into_iter().zip(why).collect()
    };
    [said(&mut few), said(&mut many)]
}

proptest! {
    #![proptest_config(super::cases(120))]

    /// S1, S2, S13: however one stage is seen, all keep to their bounds, what is not seen in full is not lowered, the same input gives
    /// the same plan, and a turn that is repeated before anything is heard of its writes does nothing new.
    #[test]
    fn stages_that_feed_each_other_keep_the_laws_of_one(
        course in any_course(),
        (which, from, sight) in (0..3_usize, 0..20_usize, 0..4_usize),
    ) {
        let mut row = course.row.clone();
        let which = which % row.places.len();
        for (at, &turn) in course.turns.iter().enumerate() {
            if at == from {
                row.places[which].sight =
                    [Sight::Partial, Sight::Stale, Sight::Failed, Sight::Unread][sight];
            }
            Course::befall(&mut row, turn);
            let mut other = row.clone();
            let before = row.counts();
            let step = row.turn();
            let same = other.mute();
            prop_assert_eq!(format!("{same:?}"), format!("{step:?}"));
            let again = other.mute();
            for action in &again.plan.actions {
                // That the stage after it is full no more, one that was kept for it hears a turn later.
                let reason = step.plan.verdicts[action.scale().stage.index].reason().unwrap();
                prop_assert_eq!(reason.code(), "DownstreamFull", "{:?}", action);
            }
            prop_assert_eq!(step.plan.violations, 0);
            for action in &step.plan.actions {
                let scale = action.scale();
                let stage = &row.pipeline.stages[scale.stage.index];
                prop_assert!((stage.min..=stage.max).contains(&scale.to), "to {}", scale.to);
            }
            if row.places[which].sight != Sight::Fresh {
                prop_assert!(before[which] <= row.counts()[which], "lowered unseen");
            }
            row.at += turn.0;
        }
    }

    /// S16: the more waits at a stage, the more, or as many, it gets, whatever is passed to it, while rates are told; but for one that is
    /// kept because what comes after it has become full by then. Not of the stages after it: a consumer that goes back spoils the sample of
    /// how much comes of what it takes.
    #[test]
    fn more_lag_at_a_stage_never_means_fewer_replicas_there(
        mut course in any_course(),
        which in 0..3_usize,
        more in 1..100_000_i64,
    ) {
        for stage in &mut course.row.pipeline.stages {
            stage.rate_hint.get_or_insert(50.0);
        }
        let mut few = course.past();
        let which = which % few.places.len();
        let mut many = few.clone();
        let positions = &mut many.places[which].positions;
        let each = more / i64::try_from(positions.len()).unwrap() + 1;
        positions.iter_mut().for_each(|position| *position -= each);
        // Positions that went back are doubted once; both see the same twice.
        for row in [&mut few, &mut many] {
            row.turn();
            row.at += 1;
        }
        let [few, many] = next(few, many).map(|stages| stages[which].clone());
        let is_kept = many.1.contains("DownstreamFull");
        prop_assert!(few.0 <= many.0 || is_kept, "{few:?}, and {many:?} with more lag");
    }

    /// S16: nor fewer in any stage where the last may have more. A stage before one that is full is kept as it is; with a higher max below
    /// it may rise, and is never lowered for that.
    #[test]
    fn a_higher_max_below_never_means_fewer_replicas_above(course in any_course(), more in 1..60_u32) {
        let few = course.past();
        let mut many = few.clone();
        many.pipeline.stages.last_mut().unwrap().max += more;
        let [few, many] = next(few, many);
        for (few, many) in few.iter().zip(&many) {
            prop_assert!(few.0 <= many.0, "{few:?}, and {many:?} with the higher max");
        }
    }
}
