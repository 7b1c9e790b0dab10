//! Drains that are held: when a budget stands, when it is tight and for how long, whose it never overlaps, and which pods are let go before their
//! node ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Adrift, BudgetSeen, Class, Compare, Crew, Draining, Ending, Grip, LaneSeen, Leaving,
    Memory, Mode, Observation, Outcome, Pipeline, Places, PoolSeen, Queue, Reading, Reason, Sign,
    Situation, Snapshot, Step, Target, Term, Unusable, Value, Verdict, Workload, decide,
};

use super::plain;

const KEPT: usize = 0;
const SPOT: usize = 1;
const BUDGET_OF_SPOT: &str = "penstock-deployment-sink-spot";

/// Two on demand, and seven of ten above them on spot; twelve needed, and there.
struct World {
    pipeline: Pipeline,
    at: i64,
    lanes: [LaneSeen; 2],
    crews: Vec<Crew>,
    budgets: Vec<BudgetSeen>,
    is_unreadable: bool,
    pools: BTreeMap<Arc<str>, PoolSeen>,
    memory: Memory,
    outcomes: Vec<(usize, Outcome)>,
    may_act: bool,
    /// With which code writes of budgets and of pods are refused.
    refused: Option<u16>,
    /// Why the stage's workload cannot be scaled, if it cannot.
    lost: Option<Unusable>,
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn pipeline() -> Pipeline {
    let mut pipeline = plain::two_lanes();
    pipeline.stages[0].holds = true;
    pipeline
}

fn lane(name: &str, replicas: u32) -> LaneSeen {
    let workload = Workload { ready_since: Some(time(-1000)), ..plain::workload(name, replicas) };
    LaneSeen { workload, places: Places::default() }
}

fn crew(name: &str, pods: u32) -> Crew {
    let app =
        Term { key: "app".into(), operator: Compare::In, values: vec![format!("sink-{name}")] };
    Crew {
        target: plain::deployment(&format!("sink-{name}")),
        selector: vec![app],
        pods,
        other: None,
        until: None,
        leaving: Vec::new(),
    }
}

fn pool(name: &str, class: Class) -> (Arc<str>, PoolSeen) {
    let boot = Some(Duration::from_secs(50));
    (name.into(), PoolSeen { newest: Some(time(-2000)), boot, ..plain::pool(name, class) })
}

fn budget(name: Arc<str>, uid: Arc<str>, version: Arc<str>, grip: Option<Grip>) -> BudgetSeen {
    let until = match grip {
        Some(Grip::Tight { until, .. }) => Some(until),
        Some(Grip::Loose) | None => None,
    };
    BudgetSeen { name, uid, version, grip, until }
}

impl World {
    /// One in which nobody holds anything yet.
    fn bare() -> Self {
        Self {
            pipeline: pipeline(),
            at: 0,
            lanes: [lane("kept", 5), lane("spot", 7)],
            crews: vec![crew("kept", 5), crew("spot", 7)],
            budgets: Vec::new(),
            is_unreadable: false,
            pools: BTreeMap::from([pool("kept", Class::OnDemand), pool("spot", Class::Spot)]),
            memory: Memory::default(),
            outcomes: Vec::new(),
            may_act: true,
            refused: None,
            lost: None,
        }
    }

    /// One in which both budgets stand.
    fn held() -> Self {
        let mut world = Self::bare();
        assert_eq!(world.turn().1, ["kept: loose", "spot: loose"]);
        world.at += 10;
        assert_eq!(world.turn().1, [""; 0], "quiet means no write");
        world
    }

    /// What was decided, and what was written, in a word each.
    fn turn(&mut self) -> (Verdict, Vec<String>) {
        let source = &self.pipeline.stages[0].sources[0];
        let queue = Queue { backlog: 120, ..Queue::default() };
        let reading = Arc::new(Reading { at: time(self.at), value: Value::Queue(queue) });
        for lane in &mut self.lanes {
            lane.workload.read_at = time(self.at);
        }
        let lanes = self.pipeline.stages[0].lanes.iter().map(|lane| match &*lane.pool {
            "kept" => self.lanes[KEPT].clone(),
            _ => self.lanes[SPOT].clone(),
        });
        let holds = self.pipeline.stages[0].holds;
        let draining = Draining {
            held: if holds { self.crews.clone() } else { Vec::new() },
            budgets: self.budgets.clone(),
            is_unreadable: self.is_unreadable,
        };
        let seen = || Target::Seen(Workload::of_lanes(lanes.collect()));
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![self.lost.clone().map_or_else(seen, Target::Unusable)],
                outcomes: std::mem::take(&mut self.outcomes),
                draining: Some(draining),
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations: BTreeMap::from([(source.question.clone(), Observation::Fresh(reading))]),
            pools: self.pools.clone(),
            ..Snapshot::of(time(self.at), self.may_act)
        };
        let Step { plan, memory } = decide(&snapshot, &self.memory);
        assert_eq!(plan.violations, 0);
        self.memory.merge(memory);
        let words = plan.actions.into_iter().map(|action| self.carry_out(action)).collect();
        (plan.verdicts.into_iter().next().unwrap(), words)
    }

    /// The same where nobody understands what was written: when to look again, and what was written.
    fn drift(&mut self) -> (Option<Timestamp>, Vec<String>) {
        let adrift = Adrift {
            pipeline: self.pipeline.id.clone(),
            uid: Arc::clone(&self.pipeline.uid),
            draining: Draining {
                held: Vec::new(),
                budgets: self.budgets.clone(),
                is_unreadable: self.is_unreadable,
            },
            outcomes: std::mem::take(&mut self.outcomes),
        };
        let snapshot =
            Snapshot { adrift: vec![adrift], ..Snapshot::of(time(self.at), self.may_act) };
        let Step { plan, memory } = decide(&snapshot, &self.memory);
        self.memory.merge(memory);
        assert_eq!(plan.verdicts, [], "nothing is decided of counts");
        let next = plan.again.first().map(|(pipeline, at)| {
            assert_eq!(*pipeline, self.pipeline.id);
            *at
        });
        let words = plan.actions.into_iter().map(|action| self.carry_out(action)).collect();
        (next, words)
    }

    fn carry_out(&mut self, action: Action) -> String {
        let version: Arc<str> = (self.at + 2).to_string().into();
        let mut result = Ending::Done { resource_version: Arc::clone(&version) };
        let lane = action.scale().lane.clone().unwrap_or_else(|| "nobody".into());
        let word = match &action {
            Action::Scale(scale) => {
                let at = if &*lane == "kept" { KEPT } else { SPOT };
                let workload = &mut self.lanes[at].workload;
                (workload.desired, workload.resource_version) = (scale.to, version);
                format!("{lane}: {} replicas", scale.to)
            }
            Action::HoldDrain(_) | Action::LetGo(_) if self.refused.is_some() => {
                let message = "poddisruptionbudgets is forbidden".to_owned();
                result = Ending::Refused { code: self.refused.unwrap(), message };
                format!("{lane}: refused")
            }
            Action::HoldDrain(hold) => {
                let of = |known: &BudgetSeen| known.name == hold.budget;
                let known = self.budgets.iter().find(|known| of(known));
                assert_eq!(known.map(|it| &it.uid), hold.uid.as_ref());
                assert_eq!(known.map(|it| &it.version), hold.version.as_ref());
                self.budgets.retain(|known| !of(known));
                let (name, uid) = (Arc::clone(&hold.budget), Arc::clone(&hold.budget));
                if hold.grip.is_some() {
                    self.budgets.push(budget(name, uid, version, hold.grip));
                }
                match hold.grip {
                    Some(Grip::Loose) => format!("{lane}: loose"),
                    Some(Grip::Tight { least, .. }) => format!("{lane}: tight {least}"),
                    None => format!("{lane}: without"),
                }
            }
            Action::LetGo(gone) => {
                let pods: Vec<_> = gone.pods.iter().map(|pod| &*pod.pod).collect();
                format!("{lane}: goes {}", pods.join(","))
            }
            Action::Claim(_)
            | Action::StartJobs(_)
            | Action::GiveUpFirst(_)
            | Action::Reserve(_) => panic!("{action:?}"),
        };
        self.outcomes.push((0, Outcome { action, at: time(self.at), result }));
        word
    }

    /// Two pods of spot stand on a node that goes; who drains it may be held up for so long.
    fn doom(&mut self, until: i64) {
        self.lanes[SPOT].places.doomed = 2;
        self.crews[SPOT].until = Some(time(until));
    }

    /// They have gone, and their replacements are Ready.
    fn done(&mut self) {
        self.lanes[SPOT].places = Places::default();
        self.crews[SPOT].until = None;
        self.ready(7);
    }

    fn ready(&mut self, pods: u32) {
        self.lanes[SPOT].workload.ready = pods;
    }

    fn leaving(&mut self, pod: &str, grace: u64, end: i64) {
        let grace = Duration::from_secs(grace);
        let leaving = Leaving { pod: pod.into(), version: 7, grace, end: time(end) };
        self.crews[SPOT].leaving.push(leaving);
    }

    fn grip_of_spot(&self) -> Option<Grip> {
        self.budgets.iter().find(|budget| &*budget.name == BUDGET_OF_SPOT)?.grip
    }
}

fn odd(verdict: &Verdict) -> Vec<&str> {
    verdict.anomalies.iter().map(Reason::code).collect()
}

#[test]
fn a_budget_stands_from_the_first_pod_on_and_nothing_is_written_after_that() {
    let mut world = World::bare();
    world.crews[SPOT].pods = 0;
    assert_eq!(world.turn().1, ["kept: loose"], "there is nobody to be held");
    world.crews[SPOT].pods = 7;
    world.at += 1;
    assert_eq!(world.turn().1, ["spot: loose"]);
    world.crews[SPOT].pods = 0;
    for _ in 0..100 {
        world.at += 2;
        let (verdict, words) = world.turn();
        assert_eq!((words, odd(&verdict)), (Vec::<String>::new(), Vec::new()));
    }
}

#[test]
fn with_the_replacements_the_budget_is_tightened_and_each_that_is_ready_frees_one() {
    let mut world = World::held();
    world.doom(200);
    let (verdict, words) = world.turn();
    assert_eq!(words, ["spot: 9 replicas", "spot: tight 7"]);
    assert_eq!(odd(&verdict), ["NodesGoing", "DrainHeld"]);
    let said = verdict.anomalies[1].to_string();
    assert_eq!(
        said,
        "evictions from pool spot wait until more than 7 replicas of it are ready, at most until 00:03:20 UTC"
    );
    // What the budget says stays true while replacements come and evictions land, so nothing is written.
    for ready in [8, 9, 8] {
        world.at += 10;
        world.ready(ready);
        assert_eq!(world.turn().1, [""; 0]);
    }
    world.at += 10;
    world.lanes[SPOT].places.doomed = 1;
    assert_eq!(world.turn().1, ["spot: 8 replicas"]);
    world.done();
    world.at += 10;
    assert_eq!(world.turn().1, ["spot: 7 replicas", "spot: loose"]);
}

#[test]
fn what_another_lane_carries_is_let_go_here_once_it_is_ready_there() {
    let mut world = World::held();
    let sign = Sign { at: time(world.at), is_hard: true, what: "no capacity".into() };
    world.pools.get_mut("spot").unwrap().signs.push(sign);
    world.doom(200);
    assert_eq!(world.turn().1, ["kept: 7 replicas", "spot: tight 7"]);
    for (ready, least) in [(6, "spot: tight 6"), (7, "spot: tight 5")] {
        world.at += 10;
        world.lanes[KEPT].workload.ready = ready;
        assert_eq!(world.turn().1, [least]);
    }
}

#[test]
fn a_budget_of_somebody_else_has_ours_vanish_at_once() {
    let mut world = World::held();
    world.crews[SPOT].other = Some("team-budget".into());
    world.doom(200);
    let (verdict, words) = world.turn();
    assert_eq!(words, ["spot: 9 replicas", "spot: without"]);
    assert_eq!(odd(&verdict), ["NodesGoing", "DrainOfAnother"]);
    assert_eq!(
        verdict.anomalies[1].to_string(),
        "PodDisruptionBudget team-budget selects pods of pool spot: who may evict them is left to it"
    );
    for _ in 0..10 {
        world.at += 10;
        assert_eq!(world.turn().1, [""; 0], "none is made beside it");
    }
    world.crews[SPOT].other = None;
    world.at += 10;
    assert_eq!(world.turn().1, ["spot: tight 7"]);
}

#[test]
fn nobody_is_held_up_for_longer_than_was_promised() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    assert!(matches!(world.grip_of_spot(), Some(Grip::Tight { until, .. }) if until == time(200)));
    world.at = 190;
    let (verdict, words) = world.turn();
    assert_eq!(words, [""; 0]);
    assert!(verdict.next.is_some_and(|next| next <= time(200)), "{:?}", verdict.next);
    world.at = 200;
    assert_eq!(world.turn().1, ["spot: without"]);
    world.at = 210;
    assert_eq!(world.turn().1, [""; 0], "the node is there still");
}

#[test]
fn replacements_that_never_come_hold_nobody_up_for_longer() {
    let mut world = World::held();
    world.doom(200);
    assert_eq!(world.turn().1, ["spot: 9 replicas", "spot: tight 7"]);
    while world.at < 190 {
        world.at += 10;
        assert_eq!(world.turn().1, [""; 0]);
    }
    // Of nine that are asked for seven are Ready: one that may be lacking would let nobody go.
    world.at = 200;
    let (verdict, words) = world.turn();
    assert_eq!(words, ["spot: without"]);
    assert!(odd(&verdict).contains(&"DrainOver"), "{:?}", odd(&verdict));
    world.ready(5);
    for _ in 0..100 {
        world.at += 10;
        assert_eq!(world.turn().1, [""; 0], "it is open until the node has gone");
    }
    world.at += 10;
    world.done();
    assert_eq!(world.turn().1, ["spot: 7 replicas", "spot: loose"]);
}

#[test]
fn a_drain_for_which_nobody_starts_replacements_goes_one_by_one_and_then_as_it_likes() {
    let mut world = World::held();
    world.crews[SPOT].until = Some(time(200));
    let (verdict, words) = world.turn();
    assert_eq!(words, [""; 0]);
    assert!(verdict.next.is_some_and(|next| next <= time(200)), "{:?}", verdict.next);
    world.at = 200;
    world.pipeline.pause.all = true;
    assert_eq!(world.turn().1, ["spot: without"], "paused or not");
}

#[test]
fn what_is_refused_of_one_budget_keeps_no_other_tight() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    world.budgets.retain(|budget| &*budget.name == BUDGET_OF_SPOT);
    world.at = 195;
    world.refused = Some(403);
    assert_eq!(world.turn().1, ["kept: refused"]);
    world.at = 200;
    assert_eq!(world.turn().1, ["spot: refused"]);
    world.at = 209;
    assert_eq!(world.turn().1, [""; 0]);
    world.refused = None;
    world.at = 210;
    assert_eq!(world.turn().1, ["spot: without"], "whoever drains waits for it");
}

#[test]
fn a_budget_that_is_in_the_way_is_not_made_again_and_again() {
    let mut world = World::bare();
    world.refused = Some(409);
    assert_eq!(world.turn().1, ["kept: refused", "spot: refused"]);
    world.refused = None;
    world.at = 10;
    assert_eq!(world.turn().1, [""; 0]);
    // It was Penstock's, and the watch was late to show it.
    let (name, version) = (Arc::<str>::from(BUDGET_OF_SPOT), "1".into());
    let grip = Some(Grip::Loose);
    world.budgets.push(budget(Arc::clone(&name), name, version, grip));
    world.doom(200);
    assert_eq!(world.turn().1, ["spot: 9 replicas", "spot: tight 7"]);
}

#[test]
fn whoever_takes_over_finds_a_tight_budget_and_loosens_it() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    world.memory = Memory::default();
    world.outcomes.clear();
    world.done();
    world.lanes[SPOT].workload.desired = 7;
    world.may_act = false;
    assert_eq!(world.turn().1, [""; 0], "a standby writes nothing");
    world.may_act = true;
    world.at += 10;
    assert_eq!(world.turn().1, ["spot: loose"]);
}

#[test]
fn a_budget_that_somebody_changed_is_mended() {
    let mut world = World::held();
    world.budgets[0].grip = None;
    assert_eq!(world.turn().1, ["kept: loose"]);
}

#[test]
fn paused_it_holds_nobody_anew_and_still_lets_loose() {
    let mut world = World::held();
    world.pipeline.pause.all = true;
    world.doom(200);
    assert_eq!(world.turn().1, [""; 0]);
    world.pipeline.pause.all = false;
    world.at += 10;
    assert_eq!(world.turn().1, ["spot: 9 replicas", "spot: tight 7"]);
    world.pipeline.pause.all = true;
    world.at += 10;
    world.done();
    assert_eq!(world.turn().1, ["spot: loose"]);
    world.pipeline.stages[0].mode = Mode::Observe;
    world.leaving("a", 30, world.at);
    assert_eq!(world.turn().1, [""; 0], "and deletes nothing");
}

#[test]
fn a_pipeline_that_cannot_be_read_keeps_no_budget_tight_for_longer_than_was_promised() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    world.at = 100;
    assert_eq!(world.drift(), (Some(time(200)), Vec::new()), "each that is Ready frees one");
    world.may_act = false;
    world.at = 200;
    assert_eq!(world.drift(), (None, Vec::new()), "a standby writes nothing");
    world.may_act = true;
    assert_eq!(world.drift(), (Some(time(202)), vec!["nobody: without".to_owned()]));
    assert_eq!(world.budgets.len(), 1, "the one of the other lane is loose");
    world.at = 210;
    assert_eq!(world.drift(), (None, Vec::new()));
    // It can be read again, and knows what it knew.
    world.at = 220;
    assert_eq!(world.turn().1, [""; 0], "the node is there still");
    world.done();
    world.at = 230;
    assert_eq!(world.turn().1, ["spot: 7 replicas", "spot: loose"]);
}

#[test]
fn what_is_refused_of_a_pipeline_that_cannot_be_read_is_tried_again() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    (world.at, world.refused) = (200, Some(403));
    assert_eq!(world.drift().1, ["nobody: refused"]);
    (world.at, world.refused) = (203, None);
    assert_eq!(world.drift(), (Some(time(210)), Vec::new()));
    world.at = 210;
    assert_eq!(world.drift().1, ["nobody: without"]);
}

#[test]
fn a_stage_whose_workload_cannot_be_scaled_keeps_no_budget_tight_for_longer() {
    for lost in [Unusable::NotFound, Unusable::TakenBy("shop/other".to_owned())] {
        let mut world = World::held();
        world.doom(200);
        world.turn();
        world.lost = Some(lost);
        world.at = 100;
        let (verdict, words) = world.turn();
        assert_eq!((words, verdict.next), (Vec::new(), Some(time(200))));
        world.at = 200;
        assert_eq!(world.turn().1, ["nobody: without"]);
        assert_eq!(world.budgets.len(), 1, "the one of the other lane is loose");
        world.at = 210;
        assert_eq!(world.turn().1, [""; 0]);
    }
}

#[test]
fn a_turn_that_fails_in_our_own_code_keeps_no_budget_tight_for_longer() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    // No pod has such a grace; what is reckoned with it overflows.
    world.leaving("odd", u64::MAX, 300);
    world.at = 100;
    let (verdict, words) = world.turn();
    assert_eq!(verdict.reason().map(Reason::code), Some("InternalError"));
    assert_eq!((words, verdict.next), (Vec::new(), Some(time(200))));
    world.at = 200;
    assert_eq!(world.turn().1, ["nobody: without"]);
    world.at = 201;
    assert_eq!(world.turn().1, [""; 0]);
}

#[test]
fn a_budget_of_another_pipeline_is_left_to_it() {
    let mut world = World::held();
    world.doom(200);
    world.turn();
    // As the watch shows one that another pipeline owns.
    for budget in &mut world.budgets {
        (budget.grip, budget.until) = (None, None);
    }
    world.lost = Some(Unusable::TakenBy("shop/other".to_owned()));
    world.at = 300;
    assert_eq!(world.turn().1, [""; 0]);
}

#[test]
fn what_nobody_wants_any_more_goes() {
    let mut world = World::held();
    world.pipeline.stages[0].holds = false;
    assert_eq!(world.turn().1, ["nobody: without", "nobody: without"]);
    world.at += 10;
    assert_eq!(world.turn().1, [""; 0]);
    // A lane that is no more.
    let mut world = World::held();
    world.pipeline.stages[0].lanes.truncate(1);
    world.crews.truncate(1);
    let words = world.turn().1;
    assert!(words.contains(&"nobody: without".to_owned()), "{words:?}");
    assert_eq!(world.budgets.len(), 1);
}

#[test]
fn without_the_rights_all_else_goes_on_and_the_stage_says_so() {
    let mut world = World::bare();
    world.refused = Some(403);
    assert_eq!(world.turn().1, ["kept: refused", "spot: refused"]);
    world.doom(2000);
    world.leaving("a", 30, 2000);
    world.at += 10;
    let (verdict, words) = world.turn();
    assert_eq!(words, ["spot: 9 replicas"]);
    assert_eq!(odd(&verdict), ["NodesGoing", "DrainRefused"]);
    assert_eq!(
        verdict.anomalies[1].to_string(),
        "nodes are drained as ever, whatever is ready elsewhere: poddisruptionbudgets is forbidden"
    );
    world.at = 599;
    assert_eq!(world.turn().1, [""; 0], "it is not asked for again and again");
    world.refused = None;
    world.at = 611;
    assert_eq!(world.turn().1, ["kept: loose", "spot: tight 7"]);

    let mut world = World::bare();
    world.is_unreadable = true;
    let (verdict, words) = world.turn();
    assert_eq!(words, [""; 0], "somebody else's might be there");
    assert_eq!(odd(&verdict), ["DrainRefused"]);
}

#[test]
fn what_is_left_is_let_go_in_time_and_once() {
    let mut world = World::held();
    world.doom(400);
    world.leaving("slow", 60, 300);
    world.leaving("quick", 5, 300);
    world.turn();
    world.at = 234;
    let (verdict, words) = world.turn();
    assert_eq!(words, [""; 0]);
    assert_eq!(verdict.next, Some(time(235)));
    world.at = 235;
    let (verdict, words) = world.turn();
    assert_eq!(words, ["spot: goes slow"]);
    assert!(odd(&verdict).contains(&"LetGo"), "{:?}", odd(&verdict));
    world.at = 236;
    assert_eq!(world.turn().1, [""; 0], "the watch may not show it yet");
    world.at = 238;
    assert_eq!(world.turn().1, ["spot: goes slow"], "it did not go");
    world.crews[SPOT].leaving.remove(0);
    world.at = 289;
    assert_eq!(world.turn().1, [""; 0]);
    world.at = 290;
    assert_eq!(world.turn().1, ["spot: goes quick"]);
    // The node outlived its end.
    world.at = 360;
    assert_eq!(world.turn().1, [""; 0]);
}

#[test]
fn no_more_than_fifty_are_let_go_at_a_time_and_those_first_that_need_it_first() {
    let mut world = World::held();
    for number in 10..80 {
        world.leaving(&format!("{number}"), number, 300);
    }
    world.at = 294;
    let words = world.turn().1;
    let Some(pods) = words[0].strip_prefix("spot: goes ") else { panic!("{words:?}") };
    let pods: Vec<_> = pods.split(',').collect();
    assert_eq!((pods.len(), pods[0], pods[49]), (50, "79", "30"));
}

#[test]
fn each_interrupted_pod_is_counted_once_by_whether_its_replacement_was_ready() {
    let mut world = World::held();
    let counts = |verdict: &Verdict| (verdict.lanes[SPOT].survived, verdict.lanes[SPOT].missed);
    world.lanes[SPOT].places.interrupted = 2;
    assert_eq!(counts(&world.turn().0), (2, 0));
    assert_eq!(counts(&world.turn().0), (0, 0));
    world.lanes[SPOT].places.interrupted = 5;
    world.ready(6);
    assert_eq!(counts(&world.turn().0), (2, 1));
    // What an earlier process counted is no news to this one.
    world.memory = Memory::default();
    assert_eq!(counts(&world.turn().0), (0, 0));
}
