//! A pool that may grow no further and two pipelines with lanes on it: who is served first gets its places, who gives way is carried by its other lane
//! first, nobody asks for places that are not free, and nothing moves back and forth.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use penstock::decide::{
    Class, Ending, Lane, LaneSeen, Memory, Observation, Outcome, PerReplica, Pipeline, Places,
    PoolSeen, Queue, Reading, Situation, Snapshot, Source, Target, Value, Verdict, Workload,
    decide,
};

use super::plain;

const KEPT: usize = 0;
const SPOT: usize = 1;
/// Turns from a place on a node to Ready.
const START: usize = 8;

/// A pipeline of two lanes, two replicas on demand and seven of ten above them on spot.
struct Member {
    pipeline: Pipeline,
    backlog: u64,
    lanes: [LaneSeen; 2],
    /// Pods with a node, lane by lane, at the last turns.
    placed: [VecDeque<u32>; 2],
    outcomes: Vec<(usize, Outcome)>,
    verdict: Option<Verdict>,
}

impl Member {
    fn new(name: &str, priority: i32) -> Self {
        let mut pipeline = plain::two_lanes();
        pipeline.id = plain::id(name);
        pipeline.priority = priority;
        let stage = &mut pipeline.stages[0];
        let todo = plain::source(&pipeline.id, "sink", "todo");
        stage.sources = vec![Source { per_replica: Some(10.0), ..todo }];
        let target = |lane: &Lane| plain::deployment(&format!("{name}-{}", lane.pool));
        stage.lanes =
            stage.lanes.iter().map(|lane| Lane { target: target(lane), ..lane.clone() }).collect();
        stage.target = stage.lanes[KEPT].target.clone();
        let lane = |pool: &str, replicas| {
            let workload = plain::workload(&format!("{name}-{pool}"), replicas);
            LaneSeen { workload, places: Places::default() }
        };
        let lanes = [lane("kept", 2), lane("spot", 0)];
        let placed = [2, 0].map(|count| VecDeque::from([count; START]));
        Self { pipeline, backlog: 20, lanes, placed, outcomes: Vec::new(), verdict: None }
    }

    /// Its pods, where a lane has at most so many places.
    fn pods(&mut self, room: [u32; 2], at: Timestamp) -> u32 {
        for (lane, seen) in self.lanes.iter_mut().enumerate() {
            let Workload { desired, current, ready, read_at, .. } = &mut seen.workload;
            let before = self.placed[lane].back().copied().unwrap_or(0);
            let placed = (*desired).min(before.max(room[lane]));
            self.placed[lane].push_back(placed);
            let since = self.placed[lane].len() - START;
            self.placed[lane].drain(..since);
            (*current, *read_at) = (*desired, at);
            *ready = self.placed[lane].iter().copied().min().unwrap_or(0);
            let waits = seen.places.unplaced_since.unwrap_or(at);
            seen.places.unplaced = *desired - placed;
            seen.places.unplaced_since = (placed < *desired).then_some(waits);
        }
        self.placed[SPOT].back().copied().unwrap_or(0)
    }

    fn desired(&self) -> [u32; 2] {
        [KEPT, SPOT].map(|lane| self.lanes[lane].workload.desired)
    }

    fn ready(&self) -> u32 {
        self.lanes.iter().map(|lane| lane.workload.ready).sum()
    }

    fn says(&self) -> Vec<String> {
        self.verdict.iter().flat_map(|it| &it.anomalies).map(ToString::to_string).collect()
    }
}

/// Both of them on the same pools, of which spot has so many places and is at its limit.
struct Yard {
    members: [Member; 2],
    places: u32,
    pools: BTreeMap<Arc<str>, PoolSeen>,
    memory: Memory,
    at: i64,
}

impl Yard {
    /// The first has what it wants of both pools, the second two replicas; so many places there are on spot.
    fn new(priority: i32, places: u32) -> Self {
        let pool = |name: &str, class| (Arc::from(name), plain::pool(name, class));
        let mut pools = BTreeMap::from([pool("kept", Class::OnDemand), pool("spot", Class::Spot)]);
        let full = "its nodes have 7 CPUs, and limits.cpu is 7";
        pools.get_mut("spot").unwrap().full = Some(full.into());
        let members = [Member::new("bills", 0), Member::new("orders", priority)];
        let mut yard = Self { members, places, pools, memory: Memory::default(), at: 0 };
        let ready_yet = yard.pools.get_mut("spot").unwrap().full.take();
        yard.turns(200, |_| ());
        yard.members[0].backlog = 120;
        yard.turns(60, |_| ());
        assert_eq!(yard.desired(), [[5, 7], [2, 0]]);
        yard.pools.get_mut("spot").unwrap().full = ready_yet;
        yard.turns(20, |_| ());
        assert_eq!(yard.desired(), [[5, 7], [2, 0]]);
        yard
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + self.at).unwrap()
    }

    /// So many turns two seconds apart, of both; looked at after each.
    fn turns(&mut self, count: usize, mut look: impl FnMut(&Self)) {
        for _ in 0..count {
            self.at += 2;
            let now = self.now();
            let mut free = self.places;
            let taken: u32 = self
                .members
                .iter()
                .map(|it| it.placed[SPOT].back().copied().unwrap_or(0).min(it.desired()[SPOT]))
                .sum();
            free = free.saturating_sub(taken);
            for member in &mut self.members {
                let before =
                    member.placed[SPOT].back().copied().unwrap_or(0).min(member.desired()[SPOT]);
                let after = member.pods([u32::MAX, before + free], now);
                free -= after - before;
            }
            for index in [0, 1] {
                self.turn(index);
            }
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
        for (pool, lane) in ["kept", "spot"].into_iter().zip(&member.lanes) {
            let pool = pools.get_mut(pool).unwrap();
            pool.waiting = lane.places.unplaced_since.into_iter().collect();
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

    fn desired(&self) -> [[u32; 2]; 2] {
        [self.members[0].desired(), self.members[1].desired()]
    }
}

#[test]
fn who_is_served_first_gets_the_places_and_who_gives_way_is_carried_first() {
    let mut yard = Yard::new(5, 7);
    yard.members[1].backlog = 120;
    let mut waited = 0;
    yard.turns(200, |yard| {
        assert!(12 <= yard.members[0].ready(), "bills has {:?}", yard.desired());
        waited = waited.max(yard.members[1].lanes[SPOT].places.unplaced);
    });
    assert_eq!(yard.desired(), [[12, 0], [5, 7]]);
    assert_eq!(waited, 0, "nobody asks for places that are not free");
    let said = yard.members[0].says();
    assert_eq!(
        said,
        [
            "pool spot gives no nodes for 7 replicas (its nodes have 7 CPUs, and limits.cpu is 7; shop/orders is served first); kept carries what is lacking"
        ]
    );
    assert!(yard.members[1].says().is_empty(), "{:?}", yard.members[1].says());

    // What it gives back is had again, and then nothing moves any more.
    yard.members[1].backlog = 20;
    yard.turns(300, |yard| {
        assert!(12 <= yard.members[0].ready(), "bills has {:?}", yard.desired())
    });
    assert_eq!(yard.desired(), [[5, 7], [2, 0]]);
    yard.turns(100, |yard| assert_eq!(yard.desired(), [[5, 7], [2, 0]]));
}

#[test]
fn equals_have_equal_parts_and_keep_them() {
    let mut yard = Yard::new(0, 7);
    yard.members[1].backlog = 120;
    yard.turns(200, |_| ());
    let shared = yard.desired();
    assert_eq!(shared[0][SPOT] + shared[1][SPOT], 7, "{shared:?}");
    assert!(shared[0][SPOT].abs_diff(shared[1][SPOT]) == 1, "{shared:?}");
    for [kept, spot] in shared {
        assert_eq!(kept + spot, 12);
    }
    yard.turns(200, |yard| assert_eq!(yard.desired(), shared));
    let said = yard.members[0].says();
    assert!(said[0].contains("limits.cpu is 7; it is shared evenly with 1 more"), "{said:?}");
}

#[test]
fn a_new_leader_moves_nobody_before_it_has_heard_all() {
    let mut yard = Yard::new(5, 7);
    yard.members[1].backlog = 120;
    yard.turns(200, |_| ());
    assert_eq!(yard.desired(), [[12, 0], [5, 7]]);
    yard.memory = Memory::default();
    yard.turns(200, |yard| assert_eq!(yard.desired(), [[12, 0], [5, 7]]));
}
