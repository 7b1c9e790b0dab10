//! A stage with lanes: how its replicas are shared out, what becomes of them when a pool runs dry or its nodes go, and that neither a
//! crash in the middle nor somebody else's hand makes it forget how many it needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Budget, Class, Ending, ForeignWriter, LaneSeen, Memory, Missing, Observation, Outcome,
    Partition, PerReplica, Pipeline, Places, PoolSeen, PoolState, Queue, Reading, ReserveSeen,
    Reserves, Sign, Situation, Snapshot, Standing, Step, Target, TargetId, Value, Verdict,
    Workload, Writing, decide,
};

use super::{headroom, plain};

/// Two on demand, and seven of ten above them on spot; ten items a replica.
pub(super) struct World {
    pub(super) pipeline: Pipeline,
    pub(super) at: i64,
    pub(super) backlog: u64,
    pub(super) lanes: [LaneSeen; 2],
    pub(super) pools: BTreeMap<Arc<str>, PoolSeen>,
    pub(super) memory: Memory,
    outcomes: Vec<(usize, Outcome)>,
    may_act: bool,
    /// Does the source fail?
    is_silent: bool,
    /// Pods by node, and what stands for room that is kept.
    pub(super) standing: Vec<(TargetId, Standing)>,
    pub(super) reserves: Vec<ReserveSeen>,
    /// Places that it finds, at most.
    pub(super) places: u32,
    /// Of the topic; none where what is read has none.
    pub(super) partitions: i32,
    /// Budgets over it.
    pub(super) budgets: BTreeMap<Arc<str>, Arc<Budget>>,
}

pub(super) const KEPT: usize = 0;
pub(super) const SPOT: usize = 1;

pub(super) fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn lane(name: &str, replicas: u32) -> LaneSeen {
    let workload = Workload {
        ready_since: Some(time(-1000)),
        read_at: time(0),
        ..plain::workload(name, replicas)
    };
    LaneSeen { workload, places: Places::default() }
}

fn pool(name: &str, class: Class) -> PoolSeen {
    let boot = Some(Duration::from_secs(50));
    PoolSeen { newest: Some(time(-2000)), boot, ..plain::pool(name, class) }
}

impl World {
    pub(super) fn new() -> Self {
        let pools = [("kept", Class::OnDemand), ("spot", Class::Spot)];
        let pools = pools.map(|(name, class)| (Arc::from(name), pool(name, class)));
        let mut world = Self {
            pipeline: plain::two_lanes(),
            at: 0,
            backlog: 20,
            lanes: [lane("kept", 2), lane("spot", 0)],
            pools: BTreeMap::from(pools),
            memory: Memory::default(),
            outcomes: Vec::new(),
            may_act: true,
            is_silent: false,
            standing: Vec::new(),
            reserves: Vec::new(),
            places: u32::MAX,
            partitions: 0,
            budgets: BTreeMap::new(),
        };
        // Past the window that every stage keeps after a start.
        for _ in 0..400 {
            world.turn();
            world.at += 2;
        }
        world
    }

    /// The same world once more.
    fn again(&self) -> Self {
        Self {
            pipeline: self.pipeline.clone(),
            at: self.at,
            backlog: self.backlog,
            lanes: self.lanes.clone(),
            pools: self.pools.clone(),
            memory: self.memory.clone(),
            outcomes: self.outcomes.clone(),
            may_act: self.may_act,
            is_silent: self.is_silent,
            standing: self.standing.clone(),
            reserves: self.reserves.clone(),
            places: self.places,
            partitions: self.partitions,
            budgets: self.budgets.clone(),
        }
    }

    /// A turn whose writes have not been taken yet.
    fn decide(&mut self) -> Step {
        let source = &self.pipeline.stages[0].sources[0];
        let lag = i64::try_from(self.backlog).unwrap() / i64::from(self.partitions.max(1));
        let partition =
            |id| Partition { topic: 0, id, end: lag, position: 0, is_committed: true, owner: None };
        let partitions = (0..self.partitions).map(partition).collect();
        let queue = Queue { backlog: self.backlog, partitions, ..Queue::default() };
        let reading = Arc::new(Reading { at: time(self.at), value: Value::Queue(queue) });
        let failed = Missing {
            label: "Timeout".into(),
            message: "no answer".into(),
            is_lasting: false,
            since: time(self.at),
        };
        let observation =
            if self.is_silent { Observation::Failed(failed) } else { Observation::Fresh(reading) };
        for lane in &mut self.lanes {
            lane.workload.read_at = time(self.at);
        }
        for (lane, seen) in self.pipeline.stages[0].lanes.iter().zip(&self.lanes) {
            if let Some(pool) = self.pools.get_mut(&lane.pool) {
                let ready = seen.workload.ready_since;
                pool.lanes = vec![plain::need(lane, seen.places.unplaced_since, ready)];
            }
        }
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(Workload::of_lanes(self.lanes.to_vec()))],
                outcomes: std::mem::take(&mut self.outcomes),
                standing: self.standing.clone(),
                reserves: Reserves::Seen(self.reserves.clone()),
                budgets: self.budgets.keys().cloned().collect(),
                per_replica: vec![PerReplica { pods: Some(1.0), ..PerReplica::default() }],
                ..Situation::of(Arc::new(self.pipeline.clone()))
            }],
            observations: BTreeMap::from([(source.question.clone(), observation)]),
            pools: self.pools.clone(),
            budgets: self.budgets.clone(),
            ..Snapshot::of(time(self.at), self.may_act)
        };
        let step = decide(&snapshot, &self.memory);
        assert_eq!(step.plan.violations, 0);
        self.memory.merge(step.memory.clone());
        step
    }

    fn end(&mut self, action: Action, result: Ending) {
        self.outcomes.push((0, Outcome { action, at: time(self.at), result }));
    }

    /// Takes a write: the count is what was asked for.
    fn take(&mut self, action: Action) {
        if let Action::Reserve(reserve) = &action {
            headroom::keep(&mut self.reserves, reserve, self.places);
            return self.end(action, Ending::Done { resource_version: "1".into() });
        }
        let (to, target) = (action.scale().to, action.scale().target.clone());
        let at = self.at;
        let lanes = self.pipeline.stages[0].lanes.iter().zip(&mut self.lanes);
        for (_, seen) in lanes.filter(|(lane, _)| lane.target == target) {
            seen.workload.desired = to;
            seen.workload.resource_version = (at + 2).to_string().into();
        }
        self.end(action, Ending::Done { resource_version: (at + 2).to_string().into() });
    }

    /// A turn whose writes are taken at once.
    pub(super) fn turn(&mut self) -> Verdict {
        let mut step = self.decide();
        for action in step.plan.actions {
            self.take(action);
        }
        step.plan.verdicts.remove(0)
    }

    /// Turns until nothing more is written, two seconds apart, at most 40; pods come at once where they can.
    pub(super) fn settle(&mut self, can: [bool; 2]) -> Verdict {
        for _ in 0..40 {
            self.pods(can);
            self.at += 2;
            self.turn();
        }
        self.turn()
    }

    pub(super) fn pods(&mut self, can: [bool; 2]) {
        for (seen, can) in self.lanes.iter_mut().zip(can) {
            let Workload { desired, ready, current, ready_since, .. } = &mut seen.workload;
            *current = *desired;
            if can && *ready < *desired {
                *ready_since = Some(time(self.at));
            }
            *ready = if can { *desired } else { (*ready).min(*desired) };
            let unplaced = *desired - *ready;
            let since = seen.places.unplaced_since.unwrap_or(time(self.at));
            seen.places.unplaced = unplaced;
            seen.places.unplaced_since = (0 < unplaced).then_some(since);
        }
    }

    pub(super) fn desired(&self) -> [u32; 2] {
        [KEPT, SPOT].map(|lane| self.lanes[lane].workload.desired)
    }

    pub(super) fn say(&mut self, pool: &str) {
        let sign = Sign { at: time(self.at), is_hard: true, what: "no capacity".into() };
        self.pools.get_mut(pool).unwrap().signs.push(sign);
    }
}

pub(super) fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.anomalies.iter().map(penstock::decide::Reason::code).collect()
}

#[test]
fn replicas_are_shared_out_in_one_turn() {
    let mut world = World::new();
    world.backlog = 120;
    let verdict = world.turn();
    assert_eq!(verdict.replicas, Some(12));
    assert_eq!(world.desired(), [5, 7], "two, and three of ten above them; seven of ten");
    let verdict = world.settle([true, true]);
    assert_eq!((world.desired(), codes(&verdict)), ([5, 7], vec![]));
    world.backlog = 40;
    let verdict = world.settle([true, true]);
    assert_eq!((verdict.replicas, world.desired()), (Some(4), [3, 1]));
}

#[test]
fn one_hard_sign_moves_what_is_lacking_at_the_next_turn() {
    let mut world = World::new();
    world.backlog = 120;
    world.turn();
    world.pods([true, false]);
    world.at += 2;
    world.say("spot");
    let verdict = world.turn();
    assert_eq!(world.desired(), [12, 7], "what waits may wait");
    assert_eq!((verdict.replicas, codes(&verdict)), (Some(12), vec!["PoolShort"]));
    let short = verdict.anomalies[0].to_string();
    assert!(short.contains("7 replicas") && short.contains("kept carries"), "{short}");
}

#[test]
fn a_node_that_boots_is_waited_for_and_one_that_never_comes_is_not() {
    let mut world = World::new();
    world.backlog = 120;
    world.turn();
    let begun = world.at;
    let mut moved = None;
    for _ in 0..600 {
        world.pods([true, false]);
        world.at += 2;
        world.turn();
        if world.desired() != [5, 7] && moved.is_none() {
            moved = Some(world.at - begun);
        }
    }
    assert_eq!(moved, Some(60), "1.2 times as long as its nodes take to come");
    assert_eq!(world.desired(), [12, 0], "after 18 min it is left alone");
}

#[test]
fn a_pool_comes_back_by_one_two_four_and_its_heir_lets_go_as_they_are_ready() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    // All of spot goes at once, and nothing can be had.
    world.lanes[SPOT].workload.ready = 0;
    for _ in 0..3 {
        world.say("spot");
        world.at += 10;
    }
    world.settle([true, false]);
    assert_eq!(world.desired(), [12, 0]);
    let (shut, mut seen) = (world.at, vec![world.desired()]);
    while world.desired() != [5, 7] {
        assert!(world.at < shut + 900, "back within 15 min: {seen:?}");
        world.at += 1;
        world.pods([true, true]);
        world.at += 1;
        world.turn();
        let before = world.desired();
        let ready = world.lanes.each_ref().map(|lane| lane.workload.ready);
        assert!(12 <= ready.iter().sum::<u32>(), "never fewer ready than needed: {ready:?}");
        if seen.last() != Some(&before) {
            seen.push(before);
        }
    }
    assert_eq!(seen[..4], [[12, 0], [12, 1], [11, 3], [9, 7]], "{seen:?}");
}

#[test]
fn a_group_is_not_formed_anew_with_each_pod_that_comes_back() {
    // What the lane on demand is asked for while spot comes back, one pod every two seconds.
    let played = |partitions| {
        let mut world = World::new();
        (world.partitions, world.backlog) = (partitions, 120);
        world.settle([true, true]);
        world.lanes[SPOT].workload.ready = 0;
        for _ in 0..3 {
            world.say("spot");
            world.at += 10;
        }
        world.settle([true, false]);
        assert_eq!(world.desired(), [12, 0]);
        let (shut, mut asked) = (world.at, vec![12]);
        while world.desired() != [5, 7] {
            assert!(world.at < shut + 900, "back within 15 min: {asked:?}");
            world.at += 2;
            let ready = world.lanes[SPOT].workload.ready;
            world.pods([true, true]);
            let spot = &mut world.lanes[SPOT].workload;
            spot.ready = spot.desired.min(ready + 1);
            world.turn();
            let now = world.desired()[KEPT];
            if asked.last() != Some(&now) {
                asked.push(now);
            }
        }
        asked
    };
    // Nothing is paid for twice where nothing stands still meanwhile.
    assert_eq!(played(0), [12, 11, 10, 9, 8, 7, 6, 5]);
    assert_eq!(played(24), [12, 11, 5], "one for the first, one when all are");
}

#[test]
fn what_is_about_to_go_is_replaced_before_it_goes() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    world.lanes[SPOT].places =
        Places { doomed: 3, deadline: Some(time(5000)), ..Places::default() };
    let verdict = world.turn();
    assert_eq!((verdict.replicas, world.desired()), (Some(12), [5, 10]));
    assert_eq!(codes(&verdict), ["NodesGoing"]);
    // Evictions land one by one; each is followed by one replica less.
    for doomed in [2, 1, 0] {
        world.at += 10;
        world.lanes[SPOT].places.doomed = doomed;
        world.turn();
        assert_eq!(world.desired(), [5, 7 + doomed]);
    }
    let verdict = world.settle([true, true]);
    assert_eq!((verdict.replicas, world.desired()), (Some(12), [5, 7]), "nothing is left over");
}

#[test]
fn replacements_never_raise_what_the_stage_is_thought_to_need() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    for round in 0..20 {
        world.lanes[SPOT].places.doomed = 1 + round % 4;
        let verdict = world.settle([true, true]);
        assert_eq!(verdict.replicas, Some(12), "round {round}");
    }
    world.lanes[SPOT].places.doomed = 0;
    assert_eq!(world.settle([true, true]).replicas, Some(12));
    assert_eq!(world.desired(), [5, 7]);
}

#[test]
fn the_spot_of_a_dry_pool_that_goes_is_replaced_elsewhere() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    world.say("spot");
    world.turn();
    world.lanes[SPOT].places.doomed = 4;
    world.at += 2;
    world.turn();
    assert_eq!(world.desired(), [9, 7]);
}

#[test]
fn a_new_leader_finds_its_way_from_what_runs() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    world.lanes[SPOT].places.doomed = 3;
    world.turn();
    world.pods([true, true]);
    assert_eq!(world.desired(), [5, 10]);
    world.memory = Memory::default();
    world.lanes[SPOT].places.doomed = 0;
    let verdict = world.turn();
    assert!(verdict.replicas >= Some(12), "what runs is kept until the window has passed");
    for _ in 0..400 {
        world.pods([true, true]);
        world.at += 2;
        world.turn();
    }
    assert_eq!(world.desired(), [5, 7]);
}

#[test]
fn a_standby_writes_nothing() {
    let mut world = World::new();
    (world.backlog, world.may_act) = (120, false);
    let step = world.decide();
    assert!(step.plan.actions.is_empty());
    assert_eq!(step.plan.verdicts[0].lanes[SPOT].replicas, 7, "but it says what should be");
}

#[test]
fn one_lane_in_other_hands_is_left_and_the_other_makes_up_for_it() {
    let mut world = World::new();
    world.backlog = 120;
    let step = world.decide();
    for action in step.plan.actions {
        if action.scale().lane.as_deref() == Some("spot") {
            let writer = ForeignWriter { manager: "argocd-controller".into(), applies: true };
            world.end(action, Ending::Conflict { writer });
        } else {
            world.take(action);
        }
    }
    for _ in 0..10 {
        world.pods([true, true]);
        world.at += 2;
        world.turn();
    }
    let verdict = world.turn();
    assert_eq!((verdict.replicas, world.desired()), (Some(12), [12, 0]));
    assert!(verdict.why.iter().any(|reason| reason.code() == "WriterConflict"));
}

#[test]
fn a_hand_on_one_lane_is_taken_over_once() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    world.lanes[KEPT].workload.desired = 9;
    world.lanes[KEPT].workload.is_ours = false;
    world.lanes[KEPT].workload.resource_version = (world.at + 1).to_string().into();
    world.lanes[KEPT].workload.writing = Writing::Merge;
    world.settle([true, true]);
    assert_eq!(world.desired(), [5, 7]);
}

#[test]
fn while_a_write_is_on_its_way_nothing_else_is_decided() {
    let mut world = World::new();
    world.backlog = 120;
    let step = world.decide();
    assert_eq!(step.plan.actions.len(), 2);
    for action in step.plan.actions {
        world.end(action, Ending::Unknown { message: "no answer".into() });
    }
    world.at += 2;
    for lane in &mut world.lanes {
        lane.workload.read_at = time(world.at - 3);
    }
    let verdict = world.turn();
    assert_eq!((verdict.replicas, world.desired()), (Some(12), [5, 7]), "read again, and written");
}

#[test]
fn a_pool_that_nobody_describes_is_used_and_told_of() {
    let mut world = World::new();
    world.pools.clear();
    world.backlog = 120;
    let verdict = world.turn();
    assert_eq!(world.desired(), [5, 7]);
    assert_eq!(codes(&verdict), ["PoolUndescribed", "PoolUndescribed"]);
}

#[test]
fn what_is_believed_of_a_pool_is_told_with_the_plan() {
    let mut world = World::new();
    world.backlog = 120;
    for _ in 0..3 {
        world.at += 10;
        world.say("spot");
    }
    let step = world.decide();
    let spot = step.plan.pools.iter().find(|pool| *pool.pool == *"spot").unwrap();
    assert_eq!((spot.state, spot.evidence.len()), (PoolState::Exhausted, 3));
    assert_eq!(spot.next_probe, Some(time(world.at + 600)));
    assert_eq!(step.plan.verdicts[0].next.map(|next| next <= time(world.at + 600)), Some(true));
}

#[test]
fn a_move_down_that_was_not_made_is_not_believed_when_the_source_falls_silent() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    for ending in [
        Ending::Refused { code: 403, message: "quota".into() },
        Ending::NotSent { message: "no lease".into() },
        Ending::Outdated,
    ] {
        let mut world = world.again();
        world.backlog = 40;
        let step = world.decide();
        assert_eq!(step.plan.actions.len(), 2, "both lanes go down");
        for action in step.plan.actions {
            world.end(action, ending.clone());
        }
        world.is_silent = true;
        for _ in 0..20 {
            world.at += 2;
            for lane in &mut world.lanes {
                lane.workload.resource_version = (world.at + 2).to_string().into();
            }
            world.turn();
            assert_eq!(world.desired(), [5, 7], "{ending:?}");
        }
    }
}

#[test]
fn a_withheld_move_down_is_withheld_at_the_next_turn_too() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    world.pipeline.pause.scale_in = true;
    world.backlog = 20;
    for _ in 0..5 {
        world.at += 2;
        assert_eq!(world.turn().replicas, Some(12));
        assert_eq!(world.desired(), [5, 7]);
    }
}

#[test]
fn what_moves_between_lanes_keeps_no_move_of_the_stage_waiting() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    for doomed in [3, 2, 1] {
        world.lanes[SPOT].places.doomed = doomed;
        world.at += 2;
        world.turn();
    }
    world.backlog = 300;
    world.at += 2;
    assert_eq!(world.turn().replicas, Some(30));
}

#[test]
fn pods_that_are_not_ready_for_a_moment_do_not_shrink_a_dry_pool() {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    for _ in 0..3 {
        world.say("spot");
        world.at += 10;
        world.turn();
    }
    world.lanes[SPOT].workload.ready = 0;
    world.at += 2;
    world.turn();
    assert_eq!(world.desired(), [12, 7]);
}

#[test]
fn the_way_back_of_a_large_share_leaves_as_many_ready_as_are_needed() {
    let mut world = World::new();
    world.backlog = 400;
    world.settle([true, true]);
    assert_eq!(world.desired(), [14, 26]);
    world.lanes[SPOT].workload.ready = 0;
    for _ in 0..3 {
        world.say("spot");
        world.at += 10;
    }
    world.settle([true, false]);
    let begun = world.at;
    while world.desired() != [14, 26] {
        assert!(world.at < begun + 900, "back within 15 min");
        // Pods take three turns to become Ready, though a node is found at once.
        if world.at % 6 == 0 {
            world.pods([true, true]);
        } else {
            world.lanes[SPOT].places = Places::default();
            world.lanes[SPOT].workload.current = world.lanes[SPOT].workload.desired;
        }
        world.at += 2;
        world.turn();
        let ready: u32 =
            world.lanes.iter().map(|it| it.workload.ready.min(it.workload.desired)).sum();
        assert!(40 <= ready, "{ready} are ready of {:?}", world.desired());
    }
}
