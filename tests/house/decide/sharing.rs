//! A pool that may grow no further and two pipelines with lanes on it: who is served first gets its places, who gives way is carried by its other lane
//! first, nobody asks for places that are not free, and nothing moves back and forth.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use penstock::decide::{
    Class, Ending, LaneSeen, Memory, Observation, Outcome, PerReplica, Pipeline, Places, PoolCpu,
    PoolSeen, Queue, Reading, Situation, Snapshot, Source, Target, Value, Verdict, Workload,
    decide,
};

use super::plain;

const KEPT: usize = 0;
const SPOT: usize = 1;
/// Turns from a place on a node to Ready.
const START: usize = 8;

/// Turns for which a pod that was let go keeps its place.
const END: usize = 3;

/// The pods of a lane, as a `ReplicaSet` that acts a turn late has them.
#[derive(Default)]
struct Pods {
    asked: u32,
    alive: u32,
    placed: u32,
    /// Those with a node at the last turns, and those that end.
    before: VecDeque<u32>,
    ending: VecDeque<u32>,
}

impl Pods {
    fn new(count: u32) -> Self {
        let before = VecDeque::from([count; START]);
        let ending = VecDeque::from([0; END]);
        Self { asked: count, alive: count, placed: count, before, ending }
    }

    fn taken(&self) -> u32 {
        self.placed + self.ending.iter().sum::<u32>()
    }

    /// A turn: so many places are free, and so many pods are asked for.
    fn pass(&mut self, free: u32, desired: u32) {
        self.ending.pop_front();
        let asked = std::mem::replace(&mut self.asked, desired);
        let kept = self.placed.min(asked);
        self.ending.push_back(self.placed - kept);
        self.alive = asked;
        self.placed = kept + (asked - kept).min(free);
        self.before.pop_front();
        self.before.push_back(self.placed);
    }

    fn ready(&self) -> u32 {
        self.before.iter().copied().min().unwrap_or(0)
    }
}

/// A pipeline of two lanes, two replicas on demand and seven of ten above them on spot.
struct Member {
    pipeline: Pipeline,
    backlog: u64,
    lanes: [LaneSeen; 2],
    pods: [Pods; 2],
    outcomes: Vec<(usize, Outcome)>,
    verdict: Option<Verdict>,
    is_gone: bool,
}

impl Member {
    fn new(name: &str, priority: i32) -> Self {
        let mut pipeline = plain::two_lanes();
        pipeline.id = plain::id(name);
        pipeline.priority = priority;
        let stage = &mut pipeline.stages[0];
        let todo = plain::source(&pipeline.id, "sink", "todo");
        stage.sources = vec![Source { per_replica: Some(10.0), ..todo }];
        for lane in &mut stage.lanes {
            lane.target = plain::deployment(&format!("{name}-{}", lane.pool));
        }
        stage.target = stage.lanes[KEPT].target.clone();
        let lane = |pool: &str, replicas| {
            let workload = plain::workload(&format!("{name}-{pool}"), replicas);
            LaneSeen { workload, places: Places::default() }
        };
        Self {
            pipeline,
            backlog: 20,
            lanes: [lane("kept", 2), lane("spot", 0)],
            pods: [Pods::new(2), Pods::new(0)],
            outcomes: Vec::new(),
            verdict: None,
            is_gone: false,
        }
    }

    /// What its pods come to, where spot has so many free places.
    fn pass(&mut self, free: u32, at: Timestamp) {
        let rooms = [u32::MAX, free];
        for ((seen, pods), free) in self.lanes.iter_mut().zip(&mut self.pods).zip(rooms) {
            let Workload { desired, current, ready, read_at, .. } = &mut seen.workload;
            pods.pass(free, *desired);
            (*current, *ready, *read_at) = (pods.alive, pods.ready(), at);
            let waits = seen.places.unplaced_since.unwrap_or(at);
            seen.places.unplaced = pods.alive - pods.placed;
            seen.places.unplaced_since = (0 < seen.places.unplaced).then_some(waits);
        }
    }

    fn desired(&self) -> [u32; 2] {
        [KEPT, SPOT].map(|lane| self.lanes[lane].workload.desired)
    }

    /// Pods that are Ready and have not been told to end.
    fn ready(&self) -> u32 {
        self.pods.iter().map(Pods::ready).sum()
    }

    fn says(&self) -> Vec<String> {
        self.verdict.iter().flat_map(|it| &it.anomalies).map(ToString::to_string).collect()
    }
}

/// Some on the same pools, of which spot has so many places and is at its limit.
struct Yard {
    members: Vec<Member>,
    places: u32,
    pools: BTreeMap<Arc<str>, PoolSeen>,
    /// CPUs of spot that may still be made, that are being made, and that others wait for.
    hopes: [f64; 3],
    memory: Memory,
    at: i64,
}

impl Yard {
    /// The first has what it wants of both pools, twelve replicas, the others two each; spot has seven places and is full.
    fn new(priorities: &[i32]) -> Self {
        let pool = |name: &str, class| (Arc::from(name), plain::pool(name, class));
        let pools = BTreeMap::from([pool("kept", Class::OnDemand), pool("spot", Class::Spot)]);
        let names = ["orders", "prints", "mails"].into_iter().zip(priorities);
        let others = names.map(|(name, priority)| Member::new(name, *priority));
        let members = std::iter::once(Member::new("bills", 0)).chain(others).collect();
        let (memory, hopes) = (Memory::default(), [0.0; 3]);
        let mut yard = Self { members, places: 7, pools, hopes, memory, at: 0 };
        yard.turns(200, |_| ());
        yard.members[0].backlog = 120;
        yard.turns(60, |_| ());
        let full = "its nodes have 8 CPUs, and limits.cpu is 8";
        yard.pools.get_mut("spot").unwrap().full = Some(full.into());
        yard.turns(20, |_| ());
        assert_eq!(yard.desired()[0], [5, 7]);
        yard
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + self.at).unwrap()
    }

    fn taken(&self) -> u32 {
        self.members.iter().map(|member| member.pods[SPOT].taken()).sum()
    }

    /// So many turns two seconds apart, of all that are there; looked at after each.
    fn turns(&mut self, count: usize, mut look: impl FnMut(&Self)) {
        for _ in 0..count {
            self.at += 2;
            let now = self.now();
            let there = (0..self.members.len()).filter(|index| !self.members[*index].is_gone);
            let there: Vec<_> = there.collect();
            for &index in &there {
                let free = self.places.saturating_sub(self.taken());
                self.members[index].pass(free, now);
            }
            let taken = f64::from(self.taken());
            // A CPU that no pod of a whole one finds place in.
            let waits = |member: &Member| f64::from(member.lanes[SPOT].places.unplaced);
            let [left, coming, others] = self.hopes;
            let owed = others + self.members.iter().map(waits).sum::<f64>();
            let cpu = PoolCpu { cores: 8.0, taken, left, coming, owed };
            self.pools.get_mut("spot").unwrap().cpu = Some(cpu);
            there.into_iter().for_each(|index| self.turn(index));
            look(self);
        }
    }

    fn turn(&mut self, index: usize) {
        let now = self.now();
        let member = &mut self.members[index];
        let queue = Queue { backlog: member.backlog, ..Queue::default() };
        let reading = Arc::new(Reading { at: now, value: Value::Queue(queue) });
        let question = member.pipeline.stages[0].sources[0].question.clone();
        let mut pools = self.pools.clone();
        for (lane, seen) in member.pipeline.stages[0].lanes.iter().zip(&member.lanes) {
            let pool = pools.get_mut(&lane.pool).unwrap();
            pool.lanes = vec![plain::need(lane, seen.places.unplaced_since, None)];
        }
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(Workload::of_lanes(member.lanes.to_vec()))],
                outcomes: std::mem::take(&mut member.outcomes),
                per_replica: vec![PerReplica { cores: Some(1.0), ..PerReplica::default() }],
                ..Situation::of(Arc::new(member.pipeline.clone()))
            }],
            observations: BTreeMap::from([(question, Observation::Fresh(reading))]),
            pools,
            ..Snapshot::of(now, true)
        };
        let mut step = decide(&snapshot, &self.memory);
        assert_eq!(step.plan.violations, 0);
        self.memory.merge(step.memory);
        for action in step.plan.actions {
            let (to, target) = (action.scale().to, action.scale().target.clone());
            let version: Arc<str> = (self.at + 2).to_string().into();
            let lanes = member.pipeline.stages[0].lanes.iter().zip(&mut member.lanes);
            for (_, seen) in lanes.filter(|(lane, _)| lane.target == target) {
                (seen.workload.desired, seen.workload.resource_version) =
                    (to, Arc::clone(&version));
            }
            let result = Ending::Done { resource_version: version };
            member.outcomes.push((0, Outcome { action, at: now, result }));
        }
        member.verdict = Some(step.plan.verdicts.remove(0));
    }

    fn desired(&self) -> Vec<[u32; 2]> {
        self.members.iter().map(Member::desired).collect()
    }

    /// Turns in which the first always has as many Ready as it needs, and nobody waits for a place.
    fn smoothly(&mut self, count: usize) {
        self.turns(count, |yard| {
            assert!(12 <= yard.members[0].ready(), "bills has too few: {:?}", yard.desired());
            let waits = |member: &Member| member.lanes[SPOT].places.unplaced != 0;
            assert!(!yard.members.iter().any(waits), "somebody waits: {:?}", yard.desired());
        });
    }
}

#[test]
fn who_is_served_first_gets_the_places_and_who_gives_way_is_carried_first() {
    let mut yard = Yard::new(&[5]);
    yard.members[1].backlog = 120;
    yard.smoothly(200);
    assert_eq!(yard.desired(), [[12, 0], [5, 7]]);
    let said = yard.members[0].says();
    let why = "its nodes have 8 CPUs, and limits.cpu is 8; shop/orders is served first";
    let short =
        format!("pool spot gives no nodes for 7 replicas ({why}); kept carries what is lacking");
    assert_eq!(said, [short]);
    assert!(yard.members[1].says().is_empty(), "{:?}", yard.members[1].says());

    // What it gives back is had again, and then nothing moves any more.
    yard.members[1].backlog = 20;
    yard.smoothly(300);
    assert_eq!(yard.desired(), [[5, 7], [2, 0]]);
    yard.turns(100, |yard| assert_eq!(yard.desired(), [[5, 7], [2, 0]]));
}

#[test]
fn equals_have_equal_parts_and_keep_them() {
    let mut yard = Yard::new(&[0]);
    yard.members[1].backlog = 120;
    yard.smoothly(200);
    let shared = yard.desired();
    assert_eq!(shared[0][SPOT] + shared[1][SPOT], 7, "{shared:?}");
    assert!(shared[0][SPOT].abs_diff(shared[1][SPOT]) == 1, "{shared:?}");
    for [kept, spot] in &shared {
        assert_eq!(kept + spot, 12);
    }
    yard.turns(200, |yard| assert_eq!(yard.desired(), shared));
    let said = yard.members[0].says();
    assert!(said[0].contains("limits.cpu is 8; it is shared evenly with 1 more"), "{said:?}");
}

#[test]
fn a_base_on_the_pool_comes_before_all_shares() {
    let mut yard = Yard::new(&[-1]);
    // Five, and nothing of what is above.
    let lanes = &mut yard.members[1].pipeline.stages[0].lanes;
    (lanes[KEPT].base, lanes[SPOT].base, lanes[SPOT].share) = (0, 5, Some(0));
    yard.members[1].backlog = 50;
    yard.smoothly(200);
    assert_eq!(yard.desired(), [[10, 2], [0, 5]]);
}

#[test]
fn who_is_not_written_keeps_what_it_has_and_claims_no_more() {
    let mut yard = Yard::new(&[5]);
    yard.members[1].backlog = 120;
    yard.smoothly(1);
    // Paused in the middle: what it had wished for is not held for it.
    yard.members[1].pipeline.pause.all = true;
    yard.smoothly(60);
    assert_eq!(yard.desired()[0], [5, 7]);
    yard.members[1].pipeline.pause.all = false;
    yard.smoothly(200);
    assert_eq!(yard.desired(), [[12, 0], [5, 7]]);
    yard.members[1].pipeline.pause.all = true;
    yard.members[1].backlog = 20;
    yard.smoothly(200);
    assert_eq!(yard.desired(), [[12, 0], [5, 7]], "it runs on");
}

#[test]
fn the_places_of_a_pipeline_that_is_gone_are_asked_for_when_its_pods_are() {
    let mut yard = Yard::new(&[5]);
    yard.members[1].backlog = 120;
    yard.smoothly(200);
    let id = yard.members[1].pipeline.id.clone();
    yard.members[1].is_gone = true;
    yard.memory.forget(&id);
    // Its Deployments run on, and nobody counts them among lanes any more.
    let orphans = std::mem::replace(&mut yard.members[1].pods[SPOT], Pods::new(0));
    assert_eq!(orphans.taken(), 7);
    yard.members[1].lanes[SPOT].places = Places::default();
    yard.places = 0;
    yard.smoothly(200);
    assert_eq!(yard.desired()[0], [12, 0]);
}

#[test]
fn a_new_leader_moves_nobody_before_it_has_heard_all() {
    let mut yard = Yard::new(&[5, -1]);
    yard.members[1].backlog = 120;
    yard.members[2].backlog = 120;
    yard.smoothly(300);
    let before = yard.desired();
    assert_eq!(before, [[12, 0], [5, 7], [12, 0]]);
    yard.memory = Memory::default();
    yard.turns(200, |yard| assert_eq!(yard.desired(), before));

    let mut yard = Yard::new(&[5]);
    (yard.memory, yard.members[1].backlog) = (Memory::default(), 120);
    yard.turns(6, |yard| assert_eq!(yard.desired()[0], [5, 7]));
    yard.smoothly(200);
    assert_eq!(yard.desired(), [[12, 0], [5, 7]]);
}

#[test]
fn what_waits_may_wait_where_nobody_else_would_have_its_place() {
    let mut yard = Yard::new(&[]);
    // A node is gone, and the pool can have no other.
    yard.places = 4;
    (yard.members[0].pods[SPOT].placed, yard.members[0].pods[SPOT].alive) = (4, 7);
    yard.turns(100, |_| ());
    assert_eq!(yard.desired(), [[8, 7]], "three are carried meanwhile");
    yard.memory = Memory::default();
    yard.turns(100, |_| ());
    assert_eq!(yard.desired()[0][SPOT], 7, "nor where nobody remembers that there was more");
    yard.places = 7;
    yard.turns(100, |_| ());
    assert_eq!(yard.desired(), [[5, 7]]);
}

#[test]
fn what_may_be_made_or_is_being_made_counts_until_it_does_not_come() {
    let short = |hopes| {
        let mut yard = Yard::new(&[]);
        yard.places = 4;
        (yard.members[0].pods[SPOT].placed, yard.members[0].pods[SPOT].alive) = (4, 7);
        yard.hopes = hopes;
        yard.turns(START, |_| ());
        yard
    };
    let mut yard = short([2.0, 0.0, 0.0]);
    assert_eq!(yard.desired(), [[6, 7]], "one of three surely finds no place");
    let says = yard.members[0].says();
    assert!(says[0].contains("gives no nodes for 1 replica "), "{says:?}");
    yard.turns(START, |_| ());
    assert_eq!(yard.desired(), [[8, 7]], "nobody began to make one for 20 s");
    let mut yard = short([1.0, 1.0, 0.0]);
    assert_eq!(yard.desired(), [[6, 7]]);
    yard.turns(START, |_| ());
    assert_eq!(yard.desired(), [[7, 7]], "what is being made counts for longer");
    yard.turns(20, |_| ());
    assert_eq!(yard.desired(), [[8, 7]], "but not for ever");
    yard.places = 7;
    yard.turns(100, |_| ());
    assert_eq!(yard.desired(), [[5, 7]]);
    let mut yard = short([2.0, 0.0, 1.0]);
    assert_eq!(yard.desired(), [[7, 7]], "another waits for one of the two");
    yard.hopes = [2.0, 4.0, 2.0];
    yard.places = 7;
    yard.turns(100, |_| ());
    assert_eq!(yard.desired(), [[5, 7]]);
}

#[test]
fn while_no_node_is_made_only_new_replicas_go_elsewhere_and_then_they_are_back_at_once() {
    let mut yard = Yard::new(&[]);
    let why = "NodePool cheap is not Ready: NodeClassNotFound";
    yard.pools.get_mut("spot").unwrap().full = Some(why.into());
    yard.members[0].backlog = 200;
    yard.smoothly(3);
    assert_eq!(yard.desired(), [[13, 7]]);
    yard.turns(40, |_| ());
    let says = yard.members[0].says();
    assert!(says[0].contains(why), "{says:?}");
    yard.pools.get_mut("spot").unwrap().full = None;
    yard.places = 12;
    yard.turns(2, |_| ());
    assert_eq!(yard.desired(), [[13, 12]], "they are asked for at once");
    yard.turns(3 * START, |_| ());
    assert_eq!(yard.desired(), [[8, 12]], "and let go of where they stood in");
}
