//! All pipelines together: how many may go far down at once, and when the server is doubted rather than all who ask it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Behaviour, Budget, Class, Ending, Headroom, Memory, Missing, Mode, Observation,
    OnSilence, Outcome, Pause, PerReplica, Pipeline, PipelineId, PoolSeen, Queue, Reading, Reason,
    ReserveSeen, Reserves, Rules, Schedule, Situation, Snapshot, Source, Stage, Step, Target,
    TargetId, Unusable, Value, Verdict, Workload, Writing, decide,
};
use proptest::prelude::*;

use super::{headroom, plain};

/// Seconds between two turns.
const POLL: i64 = 2;
/// What warms every stage up: no history holds it afterwards.
const WARM: i64 = 180;

/// One pipeline of one stage, sized at ten items a replica and free to follow at once.
#[derive(Debug, Clone)]
pub(super) struct One {
    origin: &'static str,
    /// Items waiting; `None` when its source does not answer.
    pub(super) lag: Option<u64>,
    pub(super) replicas: u32,
    max: u32,
    pub(super) pinned: Option<u32>,
    pub(super) priority: i32,
    /// So many there are to be from nine on, for which room is kept before; and what stands for that.
    pub(super) at_nine: Option<u32>,
    pub(super) reserves: Vec<ReserveSeen>,
    /// Is it only looked at; is its workload gone?
    pub(super) is_observed: bool,
    pub(super) is_gone: bool,
    is_refused: bool,
    outcomes: Vec<(usize, Outcome)>,
}

impl One {
    fn new(origin: &'static str) -> Self {
        Self {
            origin,
            lag: Some(100),
            replicas: 10,
            max: 1000,
            pinned: None,
            priority: 0,
            at_nine: None,
            reserves: Vec::new(),
            is_observed: false,
            is_gone: false,
            is_refused: false,
            outcomes: Vec::new(),
        }
    }
}

/// Some pipelines and their cluster.
#[derive(Clone)]
pub(super) struct Fleet {
    at: i64,
    pub(super) is_standby: bool,
    pub(super) all: Vec<One>,
    /// The budgets over all of them; a replica requests one CPU.
    pub(super) budgets: BTreeMap<Arc<str>, Arc<Budget>>,
    pub(super) memory: Memory,
    version: u64,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(super) fn id(index: usize) -> PipelineId {
    PipelineId { namespace: "shop".into(), name: format!("p{index:03}").into() }
}

impl Fleet {
    /// So many pipelines of each origin, all at ten replicas for ten times ten items, for as long as it takes to trust them.
    pub(super) fn warm(origins: &[(&'static str, usize)]) -> Self {
        let all = origins.iter().flat_map(|&(origin, count)| vec![One::new(origin); count]);
        let (all, memory) = (all.collect(), Memory::default());
        let budgets = BTreeMap::new();
        let mut fleet = Self { at: 0, is_standby: false, all, budgets, memory, version: 1 };
        fleet.turns(WARM / POLL);
        fleet
    }

    /// Some pipelines have this lag from now on.
    fn lag(&mut self, of: std::ops::Range<usize>, lag: Option<u64>) {
        self.all[of].iter_mut().for_each(|one| one.lag = lag);
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let at = time(self.at);
        let mut observations = BTreeMap::new();
        let mut due = Vec::new();
        for (index, one) in self.all.iter_mut().enumerate() {
            let pipeline = pipeline(index, one);
            let question = pipeline.stages[0].sources[0].question.clone();
            let observation = match one.lag {
                Some(backlog) => {
                    let value = Value::Queue(Queue { backlog, ..Queue::default() });
                    Observation::Fresh(Arc::new(Reading { at, value }))
                }
                None => Observation::Failed(Missing {
                    label: "Timeout".into(),
                    message: "no answer".into(),
                    is_lasting: false,
                    since: at,
                }),
            };
            observations.insert(question, observation);
            let workload = Workload {
                resource_version: self.version.to_string().into(),
                ready_since: Some(time(-600)),
                writing: Writing::Merge,
                read_at: at,
                ..plain::workload("uid", one.replicas)
            };
            let target = if one.is_gone {
                Target::Unusable(Unusable::NotFound)
            } else {
                Target::Seen(workload)
            };
            due.push(Situation {
                targets: vec![target],
                present: vec![one.replicas],
                reserves: Reserves::Seen(one.reserves.clone()),
                outcomes: std::mem::take(&mut one.outcomes),
                recalled: vec![None],
                budgets: self.budgets.keys().cloned().collect(),
                per_replica: vec![PerReplica {
                    cores: Some(1.0),
                    pods: Some(1.0),
                    ..PerReplica::default()
                }],
                ..Situation::of(Arc::new(pipeline))
            });
        }
        let budgets = self.budgets.clone();
        // Its nodes take an hour to come.
        let pool = plain::pool("slow", Class::OnDemand);
        let pool = PoolSeen { boot: Some(Duration::from_hours(1)), ..pool };
        let pools = BTreeMap::from([(Arc::from("slow"), pool)]);
        Snapshot { due, observations, budgets, pools, ..Snapshot::of(at, !self.is_standby) }
    }

    /// A turn whose writes are carried out at once.
    pub(super) fn turn(&mut self) -> Step {
        let now = self.snapshot();
        self.carry_out(&now)
    }

    /// The same of what is known now, a little changed.
    pub(super) fn carry_out(&mut self, now: &Snapshot) -> Step {
        let step = decide(now, &self.memory);
        assert_eq!(step.plan.violations, 0);
        self.memory.merge(step.memory.clone());
        for action in &step.plan.actions {
            let scale = action.scale();
            let index: usize = scale.stage.pipeline.name[1..].parse().unwrap();
            let one = &mut self.all[index];
            self.version += 1;
            let result = if let Action::Reserve(reserve) = action {
                headroom::keep(&mut one.reserves, reserve, u32::MAX);
                Ending::Done { resource_version: "".into() }
            } else if one.is_refused {
                Ending::Refused { code: 403, message: "quota".into() }
            } else {
                one.replicas = scale.to;
                Ending::Done { resource_version: self.version.to_string().into() }
            };
            let outcome = Outcome { action: action.clone(), at: time(self.at), result };
            one.outcomes.push((0, outcome));
        }
        self.at += POLL;
        step
    }

    pub(super) fn turns(&mut self, count: i64) -> Vec<Step> {
        (0..count).map(|_| self.turn()).collect()
    }

    /// How many pipelines have these replicas.
    fn having(&self, replicas: u32) -> usize {
        self.all.iter().filter(|one| one.replicas == replicas).count()
    }
}

/// The world begins at eight.
fn at_nine(min: u32) -> Schedule {
    Schedule::new("day", ("0 9 * * *", "0 20 * * *"), "UTC", (Some(min), None)).unwrap()
}

fn pipeline(index: usize, one: &One) -> Pipeline {
    let id = id(index);
    let source = Source {
        origin: one.origin.into(),
        poll_interval: Duration::from_secs(POLL.unsigned_abs()),
        per_replica: Some(10.0),
        ..plain::source(&id, "work", "queue")
    };
    let stage = Stage {
        max: one.max,
        pinned: one.pinned,
        on_silence: OnSilence::Follow,
        behaviour: Behaviour {
            down: Rules { window: Some(Duration::ZERO), ..Rules::default() },
            ..Behaviour::default()
        },
        mode: if one.is_observed { Mode::Observe } else { Mode::Enforce },
        headroom: one.at_nine.map(|_| Headroom::default()),
        schedules: one.at_nine.into_iter().map(at_nine).collect(),
        ..plain::stage(
            "work",
            TargetId::object(&id.namespace, "example.com/v1", "Worker", &id.name),
            vec![source],
        )
    };
    let (pause, stages) = (Pause::default(), vec![stage]);
    Pipeline {
        id,
        uid: "pipeline-uid".into(),
        generation: 1,
        pause,
        priority: one.priority,
        stages,
    }
}

fn code(verdict: &Verdict) -> &'static str {
    verdict.reason().unwrap().code()
}

#[test]
fn a_tenth_of_all_pipelines_goes_far_down_in_a_minute_and_the_others_wait_their_turn() {
    let mut fleet = Fleet::warm(&[("kafka", 100)]);
    assert_eq!(fleet.having(10), 100);
    fleet.lag(0..100, Some(40));
    let first = fleet.turn();
    assert_eq!(first.plan.actions.len(), 10);
    let waiting = first.plan.verdicts.iter().filter(|verdict| code(verdict) == "FleetBudget");
    assert_eq!(waiting.clone().count(), 90);
    for verdict in waiting {
        let until = time(WARM + 60);
        assert_eq!(verdict.replicas, Some(10));
        assert_eq!(verdict.reason(), Some(&Reason::FleetBudget { wished: 4, until }));
    }
    fleet.turns(60 / POLL - 1);
    assert_eq!((fleet.having(4), fleet.having(10)), (10, 90));
    fleet.turns(1);
    assert_eq!(fleet.having(4), 20);
    fleet.turns(10 * 60 / POLL);
    assert_eq!(fleet.having(4), 100);
}

#[test]
fn a_few_may_always_go_and_half_is_not_far() {
    let mut fleet = Fleet::warm(&[("kafka", 8)]);
    fleet.lag(0..8, Some(50));
    fleet.turns(10);
    assert_eq!(fleet.having(5), 8);
    // With what was taken a moment ago it is more than half.
    fleet.lag(0..8, Some(40));
    fleet.turns(10);
    assert_eq!((fleet.having(4), fleet.having(5)), (5, 3));
}

#[test]
fn who_pins_a_count_or_lowers_max_is_not_made_to_wait() {
    let mut fleet = Fleet::warm(&[("kafka", 20)]);
    fleet.lag(0..10, Some(10));
    fleet.turns(5);
    assert_eq!((fleet.having(1), fleet.having(10)), (5, 15));
    fleet.all[18].pinned = Some(2);
    fleet.all[19].max = 3;
    fleet.turns(5);
    assert_eq!((fleet.all[18].replicas, fleet.all[19].replicas), (2, 3));
}

#[test]
fn ways_up_are_never_withheld() {
    let mut fleet = Fleet::warm(&[("kafka", 20)]);
    fleet.lag(0..20, Some(10));
    fleet.turns(5);
    fleet.lag(0..20, Some(500));
    fleet.turns(5);
    assert_eq!(fleet.having(50), 20);
}

#[test]
fn a_write_that_was_refused_takes_nobodys_place() {
    let mut fleet = Fleet::warm(&[("kafka", 10)]);
    fleet.all[..5].iter_mut().for_each(|one| one.is_refused = true);
    fleet.lag(0..10, Some(10));
    fleet.turns(30);
    assert_eq!((fleet.having(1), fleet.having(10)), (5, 5));
}

#[test]
fn a_standby_counts_what_the_leader_does() {
    let mut leader = Fleet::warm(&[("kafka", 50)]);
    let mut standby = Fleet::warm(&[("kafka", 50)]);
    standby.is_standby = true;
    leader.lag(0..50, Some(10));
    standby.lag(0..50, Some(10));
    leader.turn();
    for (seen, done) in standby.all.iter_mut().zip(&leader.all) {
        seen.replicas = done.replicas;
    }
    standby.turns(3);
    standby.is_standby = false;
    let first = standby.turn();
    assert!(first.plan.actions.is_empty(), "the leader has used up this minute");
    assert_eq!((standby.having(1), standby.having(10)), (5, 45));
}

#[test]
fn a_server_whose_pipelines_fall_silent_together_is_doubted_and_the_alarm_is_given_once() {
    let mut fleet = Fleet::warm(&[("kafka", 20), ("rabbit", 20)]);
    // Three of ten of the one server's, and two of the other's.
    fleet.lag(0..6, Some(0));
    fleet.lag(20..22, Some(0));
    // One of the first that still has work needs a little less of it.
    fleet.lag(19..20, Some(90));
    let mut steps = fleet.turns(120 / POLL);
    let doubted: Vec<_> = steps.iter().flat_map(|step| step.plan.doubted.clone()).collect();
    assert_eq!(doubted.len(), 1);
    let (origin, until) = (&*doubted[0].origin, doubted[0].until);
    assert_eq!((origin, doubted[0].silent, doubted[0].of), ("kafka", 6, 20));
    assert_eq!(until, time(WARM + 120));
    let kept = steps.swap_remove(0).plan.verdicts;
    for (index, wished) in [(0, 1), (19, 9)] {
        let origin = "kafka".to_owned();
        assert_eq!(kept[index].replicas, Some(10));
        assert_eq!(kept[index].reason(), Some(&Reason::SourceDoubted { wished, origin, until }));
    }
    assert!(fleet.all[..20].iter().all(|one| one.replicas == 10), "nothing is concluded yet");
    assert!(fleet.all[20..22].iter().all(|one| one.replicas == 1), "others go down as ever");
    // Silent for so long: it is so.
    let steps = fleet.turns(60);
    assert!(steps.iter().all(|step| step.plan.doubted.is_empty()));
    assert!(fleet.all[..6].iter().all(|one| one.replicas == 1));
    assert_eq!(fleet.all[19].replicas, 9);
}

#[test]
fn a_server_that_is_heard_again_is_believed_at_once() {
    for lost in [Some(0), None] {
        let mut fleet = Fleet::warm(&[("kafka", 10)]);
        fleet.lag(0..9, lost);
        fleet.lag(9..10, Some(60));
        let steps = fleet.turns(10);
        assert_eq!(steps.iter().map(|step| step.plan.doubted.len()).sum::<usize>(), 1);
        assert_eq!(fleet.having(10), 10);
        fleet.lag(0..9, Some(100));
        fleet.turns(3);
        assert_eq!((fleet.having(10), fleet.having(6)), (9, 1));
    }
}

#[test]
fn a_few_that_are_done_and_trickles_are_no_reason_to_doubt() {
    let mut fleet = Fleet::warm(&[("kafka", 20)]);
    fleet.lag(0..5, Some(0));
    let steps = fleet.turns(5);
    assert!(steps.iter().all(|step| step.plan.doubted.is_empty()), "five of twenty");
    let mut fleet = Fleet::warm(&[("kafka", 20)]);
    fleet.lag(0..20, Some(0));
    assert_eq!(fleet.turn().plan.doubted.len(), 1);
    // From here on all of them pause every other time.
    for turn in 0..100 {
        fleet.lag(0..20, Some(turn % 2 * 10));
        let step = fleet.turn();
        assert!(turn < 2 || step.plan.doubted.is_empty(), "turn {turn}");
    }
}

proptest! {
    #![proptest_config(super::cases(24))]

    /// In any minute at most a tenth of all, or five, go below half of what they had in it; and who is kept is told why.
    #[test]
    fn no_minute_sees_more_than_a_tenth_go_far_down(
        count in 1..80_usize,
        turns in prop::collection::vec((0..80_usize, 0..80_usize, 0..200_u64), 1..60),
    ) {
        let mut fleet = Fleet::warm(&[("", count)]);
        let room = (count / 10).max(5);
        let mut past: VecDeque<Vec<u32>> = VecDeque::new();
        let mut fell: VecDeque<BTreeSet<usize>> = VecDeque::new();
        for (from, to, lag) in turns {
            let range = from.min(to).min(count)..from.max(to).min(count);
            fleet.lag(range, Some(lag));
            past.push_back(fleet.all.iter().map(|one| one.replicas).collect());
            if 60 / POLL < i64::try_from(past.len()).unwrap() {
                past.pop_front();
                fell.pop_front();
            }
            let step = fleet.turn();
            // What each had at most within the minute, and who goes below half of it.
            let far = step.plan.actions.iter().filter_map(|action| {
                let Action::Scale(scale) = action else { return None };
                let index: usize = scale.stage.pipeline.name[1..].parse().unwrap();
                let most = past.iter().map(|then| then[index]).max().unwrap();
                (scale.to < scale.from && scale.to * 2 < most).then_some(index)
            });
            fell.push_back(far.collect());
            let distinct: BTreeSet<_> = fell.iter().flatten().collect();
            prop_assert!(distinct.len() <= room, "{distinct:?} of {count}");
            for verdict in &step.plan.verdicts {
                prop_assert!(code(verdict) != "SourceDoubted");
            }
        }
    }
}

proptest! {
    #![proptest_config(super::cases(40))]

    /// S8: when three of ten of a server's pipelines, and at least five, fall silent within one poll, none of them goes down for two
    /// minutes, and one alarm is given; fewer are believed at once, and who asks another server always is.
    #[test]
    fn those_who_fall_silent_together_are_doubted_and_nobody_else(
        (many, others) in (1..24_usize, 0..8_usize),
        silent in 0..24_usize,
        answers in any::<bool>(),
    ) {
        let silent = silent.min(many);
        let mut fleet = Fleet::warm(&[("kafka", many), ("rabbit", others)]);
        // A little less work for all the others, and no answer or an empty one for these.
        fleet.lag(silent..many + others, Some(60));
        fleet.lag(0..silent, answers.then_some(0));
        let is_odd = 5.max((many * 30).div_ceil(100)) <= silent;
        let steps = fleet.turns(120 / POLL);
        let alarms: usize = steps.iter().map(|step| step.plan.doubted.len()).sum();
        prop_assert_eq!(alarms, usize::from(is_odd));
        let has = |range: std::ops::Range<usize>, count| fleet.all[range].iter().all(|one| one.replicas == count);
        prop_assert!(has(many..many + others, 6), "who asks another server follows");
        prop_assert!(has(silent..many, if is_odd { 10 } else { 6 }), "{silent} of {many}");
        // Unheard is not zero, doubted or not; of those who say zero, five may go far down in a minute.
        let kept = fleet.all[..silent].iter().filter(|one| one.replicas == 10).count();
        let least = if is_odd || !answers { silent } else { silent.saturating_sub(10) };
        prop_assert_eq!(kept, least);
    }
}
