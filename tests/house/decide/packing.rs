//! Scale-in that empties nodes: who is told to go, when the step is made, and that neither another writer, a refusal nor a crash keeps a
//! stage from going down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Action, Behaviour, Cost, Ending, GiveUpFirst, Memory, NodeStanding, Observation, OnSilence,
    Outcome, Pipeline, PodStanding, Queue, Reading, Reason, Rules, Scale, Situation, Snapshot,
    Source, Stage, Standing, Step, Target, Value, Verdict, Workload, decide,
};

use super::plain;

/// Ten items a replica; a reading every two seconds.
struct World {
    at: i64,
    backlog: u64,
    workload: Workload,
    standing: Standing,
    memory: Memory,
    outcomes: Vec<(usize, Outcome)>,
    /// Is a told cost answered with a refusal?
    is_refused: bool,
    /// Does the watch show what was told?
    is_shown: bool,
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn pipeline() -> Pipeline {
    let id = plain::id("orders");
    let source = Source { per_replica: Some(10.0), ..plain::source(&id, "sink", "todo") };
    let at_once = Rules { window: Some(Duration::ZERO), ..Rules::default() };
    let stage = Stage {
        packs: true,
        on_silence: OnSilence::Follow,
        behaviour: Behaviour { up: at_once.clone(), down: at_once },
        ..plain::stage("sink", plain::deployment("sink"), vec![source])
    };
    plain::pipeline(id, stage)
}

fn pod(name: String) -> PodStanding {
    PodStanding { name: name.into(), version: 1, is_ready: true, is_kept: false, cost: None }
}

impl World {
    /// So many pods on each node.
    fn new(nodes: &[usize]) -> Self {
        let node = |(at, pods): (usize, &usize)| {
            let pods = (0..*pods).map(|number| pod(format!("{at}-{number}"))).collect();
            (Arc::from(format!("node-{at}")), NodeStanding { pods, ..NodeStanding::default() })
        };
        let standing =
            Standing { nodes: nodes.iter().enumerate().map(node).collect(), ..Standing::default() };
        let replicas = u32::try_from(nodes.iter().sum::<usize>()).unwrap();
        let mut world = Self {
            at: 0,
            backlog: u64::from(replicas) * 10,
            workload: Workload {
                ready_since: Some(time(-1000)),
                read_at: time(0),
                ..plain::workload("sink", replicas)
            },
            standing,
            memory: Memory::default(),
            outcomes: Vec::new(),
            is_refused: false,
            is_shown: true,
        };
        // Past the window that every stage keeps after a start.
        for _ in 0..400 {
            assert_eq!(world.turn(2).1, Vec::new(), "quiet means no write");
        }
        world
    }

    fn pods(&self) -> impl Iterator<Item = &PodStanding> {
        self.standing.nodes.values().flat_map(|node| &node.pods)
    }

    fn pod(&mut self, name: &str) -> &mut PodStanding {
        let mut all = self.standing.nodes.values_mut().flat_map(|node| &mut node.pods);
        all.find(|pod| &*pod.name == name).unwrap()
    }

    /// Nodes that have pods.
    fn nodes(&self) -> Vec<usize> {
        let counts = self.standing.nodes.values().map(|node| node.pods.len());
        counts.filter(|pods| *pods != 0).collect()
    }

    /// What was decided, and what was written; then so many seconds pass.
    fn turn(&mut self, seconds: i64) -> (Verdict, Vec<Action>) {
        let pipeline = pipeline();
        let queue = Queue { backlog: self.backlog, ..Queue::default() };
        let reading = Arc::new(Reading { at: time(self.at), value: Value::Queue(queue) });
        let question = pipeline.stages[0].sources[0].question.clone();
        self.workload.read_at = time(self.at);
        let snapshot = Snapshot {
            due: vec![Situation {
                targets: vec![Target::Seen(self.workload.clone())],
                outcomes: std::mem::take(&mut self.outcomes),
                standing: vec![(plain::deployment("sink"), self.standing.clone())],
                ..Situation::of(Arc::new(pipeline))
            }],
            observations: BTreeMap::from([(question, Observation::Fresh(reading))]),
            ..Snapshot::of(time(self.at), true)
        };
        let Step { plan, memory } = decide(&snapshot, &self.memory);
        self.memory.merge(memory);
        for action in &plan.actions {
            self.carry_out(action);
        }
        assert_eq!(plan.violations, 0);
        self.at += seconds;
        (plan.verdicts.into_iter().next().unwrap(), plan.actions)
    }

    fn carry_out(&mut self, action: &Action) {
        let mut result =
            Ending::Done { resource_version: Arc::clone(&self.workload.resource_version) };
        match action {
            Action::GiveUpFirst(_) if self.is_refused => {
                result = Ending::Refused { code: 403, message: "pods is forbidden".into() };
            }
            Action::GiveUpFirst(told) if self.is_shown => self.show(told),
            Action::GiveUpFirst(_) => {}
            Action::Scale(scale) => {
                self.workload.resource_version = (self.at + 10).to_string().into();
                let version = Arc::clone(&self.workload.resource_version);
                result = Ending::Done { resource_version: version };
                self.step(scale);
            }
            Action::Claim(_)
            | Action::StartJobs(_)
            | Action::Reserve(_)
            | Action::HoldDrain(_)
            | Action::LetGo(_) => {
                panic!("{action:?}")
            }
        }
        self.outcomes.push((0, Outcome { action: action.clone(), at: time(self.at), result }));
    }

    fn show(&mut self, told: &GiveUpFirst) {
        for cost in &told.costs {
            let pod = self.pod(&cost.pod);
            assert_eq!(cost.version, pod.version);
            pod.version += 1;
            pod.cost = cost.cost.map(|value| Cost { value, writer: None });
        }
    }

    /// As a `ReplicaSet` does: those that are not Ready go first, then the cheapest, and among equals of the fullest node.
    fn step(&mut self, scale: &Scale) {
        for _ in scale.to..scale.from {
            let nodes = self.standing.nodes.iter();
            let all = nodes.flat_map(|(node, it)| it.pods.iter().map(move |pod| (node, it, pod)));
            let rank = |pod: &PodStanding, on: usize| {
                let cost = pod.cost.as_ref().map_or(0, |cost| cost.value);
                (pod.is_ready, cost, std::cmp::Reverse(on))
            };
            let victim = all.min_by_key(|(_, it, pod)| rank(pod, it.pods.len())).unwrap();
            let (node, name) = (Arc::clone(victim.0), Arc::clone(&victim.2.name));
            let pods = &mut self.standing.nodes.get_mut(&node).unwrap().pods;
            pods.retain(|pod| pod.name != name);
        }
        for number in scale.from..scale.to {
            let node = self.standing.nodes.values_mut().min_by_key(|node| node.pods.len()).unwrap();
            node.pods.push(pod(format!("new-{}-{number}", self.at)));
        }
        let ready = u32::try_from(self.pods().filter(|pod| pod.is_ready).count()).unwrap();
        self.workload =
            Workload { desired: scale.to, current: scale.to, ready, ..self.workload.clone() };
    }

    /// So many turns of a second each: what was written, in a word each.
    fn writes(&mut self, turns: usize) -> Vec<String> {
        let word = |action: Action| {
            if let Action::Scale(scale) = action {
                return scale.to.to_string();
            }
            let Action::GiveUpFirst(told) = action else { panic!("{action:?}") };
            let pods = told.costs.iter().filter(|cost| cost.cost.is_some()).count();
            format!("+{pods}-{}", told.costs.len() - pods)
        };
        (0..turns).flat_map(|_| self.turn(1).1).map(word).collect()
    }
}

fn odd(verdict: &Verdict) -> Vec<&str> {
    verdict.anomalies.iter().map(Reason::code).collect()
}

#[test]
fn the_pods_of_whole_nodes_are_told_and_the_step_follows_when_that_was_seen() {
    let mut world = World::new(&[4, 4, 4, 4, 4]);
    world.backlog = 100;
    let (verdict, actions) = world.turn(0);
    let [Action::GiveUpFirst(told)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((told.costs.len(), told.scale.from, told.scale.to), (10, 20, 20));
    assert_eq!(verdict.replicas, Some(20), "nothing goes yet");
    assert_eq!(
        verdict.reason().unwrap().to_string(),
        "10 replicas would do; the 10 pods to go are told first, so that 2 nodes become empty"
    );
    // Seen at once, and the controller's own cache is given a second.
    let (verdict, actions) = world.turn(1);
    assert_eq!((actions, verdict.next), (vec![], Some(time(world.at))));
    assert_eq!(world.writes(1), ["10"]);
    assert_eq!(world.nodes(), [2, 4, 4]);
    assert_eq!(world.writes(60), [""; 0], "none is left over");
}

#[test]
fn steps_of_one_end_with_as_few_nodes() {
    let mut world = World::new(&[3, 3, 3]);
    for pods in (3..9).rev() {
        world.backlog = pods * 10;
        world.writes(20);
    }
    assert_eq!(world.nodes(), [3]);
}

#[test]
fn who_else_writes_costs_is_named_and_left_alone() {
    let mut world = World::new(&[2, 2]);
    world.pod("0-1").cost = Some(Cost { value: -5, writer: Some("karpenter".into()) });
    world.backlog = 30;
    let (verdict, actions) = world.turn(1);
    assert!(matches!(actions.as_slice(), [Action::Scale(Scale { to: 3, .. })]), "{actions:?}");
    assert_eq!(odd(&verdict), ["DeletionCostTaken"]);
    let said = verdict.anomalies[0].to_string();
    assert!(said.starts_with("karpenter writes the deletion cost of 1 pod"), "{said}");
    assert!(world.pods().all(|pod| &*pod.name != "0-1"));
}

#[test]
fn costs_that_no_step_needs_any_more_are_taken_away_once() {
    let mut world = World::new(&[3, 3]);
    world.backlog = 30;
    assert_eq!(world.writes(1), ["+3-0"]);
    // Whoever takes over knows nothing but what the pods show, and needs all of them again.
    (world.memory, world.outcomes) = (Memory::default(), Vec::new());
    world.backlog = 60;
    assert_eq!(world.writes(700), ["+0-3"]);
    assert!(world.pods().all(|pod| pod.cost.is_none()));
    // And one that finds the step still due makes it.
    world.backlog = 30;
    assert_eq!(world.writes(1), ["+3-0"]);
    world.memory = Memory::default();
    world.outcomes.clear();
    let writes = world.writes(1200);
    assert_eq!(writes.last().map(String::as_str), Some("3"), "{writes:?}");
    assert_eq!(world.nodes(), [3]);
}

#[test]
fn where_nobody_may_be_told_the_step_is_made_without() {
    let mut world = World::new(&[3, 3]);
    world.is_refused = true;
    world.backlog = 30;
    assert_eq!(world.writes(2), ["+3-0", "3"]);
    let (verdict, _) = world.turn(1);
    assert_eq!(odd(&verdict), ["DeletionCostRefused"]);
    world.backlog = 20;
    assert_eq!(world.writes(30), ["2"], "nor is it tried again soon");
}

#[test]
fn a_step_waits_no_longer_than_20_s_for_what_the_watch_does_not_show() {
    let mut world = World::new(&[3, 3]);
    world.is_shown = false;
    world.backlog = 30;
    let writes = world.writes(20);
    assert!(writes.iter().all(|write| write == "+3-0") && 2 <= writes.len(), "{writes:?}");
    assert_eq!(world.writes(2), ["3"]);
}

#[test]
fn a_wish_that_falls_on_while_a_step_waits_puts_it_off_no_further() {
    let mut world = World::new(&[4, 4, 4]);
    world.backlog = 80;
    assert_eq!(world.writes(1), ["+4-0"]);
    world.backlog = 70;
    let (verdict, _) = world.turn(1);
    assert_eq!(verdict.reason().unwrap().code(), "EmptyingNodes");
    world.backlog = 60;
    assert_eq!(world.writes(1), ["8"], "those that were told");
    assert_eq!(world.nodes(), [4, 4]);
    assert_eq!(world.writes(20), ["+2-0", "6"], "and then the others");
}

#[test]
fn pods_that_are_not_ready_go_first_and_one_that_is_to_be_kept_is_never_told() {
    let mut world = World::new(&[3, 3]);
    world.pod("1-0").is_ready = false;
    world.workload.ready = 5;
    for name in ["0-0", "0-1", "0-2"] {
        world.pod(name).is_kept = true;
    }
    world.backlog = 30;
    let writes = world.writes(2000);
    assert_eq!(writes, ["+2-0", "3"]);
    assert_eq!(world.standing.nodes["node-0"].pods.len(), 3);
}

#[test]
fn where_no_node_can_become_empty_nobody_is_told() {
    let mut world = World::new(&[3, 3]);
    for node in world.standing.nodes.values_mut() {
        node.others = 1;
    }
    world.backlog = 30;
    assert_eq!(world.writes(20), ["3"]);
    assert_eq!(world.nodes(), [1, 2], "as the controller chooses");
    let mut world = World::new(&[3, 3]);
    world.standing.is_rolling = true;
    world.backlog = 30;
    assert_eq!(world.writes(20), ["3"], "in a rollout costs say little");
}

#[test]
fn pods_that_were_to_go_and_did_not_are_told_of_and_freed() {
    let mut world = World::new(&[3, 3]);
    world.backlog = 30;
    assert_eq!(world.writes(1), ["+3-0"]);
    world.turn(1);
    let told = world.pod("0-0").clone();
    assert_eq!(world.writes(1), ["3"]);
    // The controller sorted by a cache of before: one of those that were told is still there, and another has gone.
    let node = world.standing.nodes.get_mut("node-1").unwrap();
    node.pods.pop();
    node.pods.push(told);
    let (verdict, _) = world.turn(1);
    assert_eq!(odd(&verdict), ["OtherPodsWent"]);
    assert_eq!(world.writes(30), ["+0-1"]);
    assert_eq!(odd(&world.turn(1).0), [""; 0]);
}
