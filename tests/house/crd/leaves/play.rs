//! One eventful hour in which most of what can befall a stage does: what is decided in it, turn by turn, by what a pipeline means.
//! Two meanings with the same hour decide alike. Used by the walk over the leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::crd::meaning::{Meaning, QuestionDraft};
use penstock::decide::{
    Action, Budget, Class, Crew, Draining, Ending, JobsSeen, LaneSeen, Memory, Missing,
    Observation, Outcome, Partition, PerReplica, Pipeline, Places, PodStanding, PoolSeen,
    QuestionId, Queue, Reading, ReserveSeen, Reserves, Sign, Situation, Snapshot, Stage, StageId,
    Standing, Target, TargetId, Value, Workload, decide,
};
use penstock::observe::kafka::{Isolation, Mechanism, OffsetReset};
use penstock::observe::{Address, Ask};

use crate::decide::{headroom, plain};

/// Seconds between two turns.
const TURN: i64 = 5;
/// Partitions of each topic.
const PARTITIONS: i32 = 24;
/// Items a second that one replica gets through.
const RATE: i64 = 50;
/// Seconds from a write to Ready.
const STARTUP: i64 = 30;
/// Items of the open transaction at the end of each partition.
const OPEN: i64 = 200;

/// What was decided: a line for each turn that decides otherwise than the one before.
pub(super) fn decided(meaning: &Meaning) -> Vec<String> {
    lines(meaning).collect()
}

/// Does this meaning decide otherwise than `known`? Plays no further than the first turn that tells.
pub(super) fn decides_otherwise(meaning: &Meaning, known: &[String]) -> bool {
    !lines(meaning).eq(known.iter().cloned())
}

fn lines(meaning: &Meaning) -> impl Iterator<Item = String> {
    let mut hour = Hour::new(meaning);
    let mut last = String::new();
    std::iter::from_fn(move || {
        while hour.at < 3_500 {
            let (at, line) = (hour.at, hour.turn(meaning));
            hour.pass();
            if line != last {
                last.clone_from(&line);
                return Some(format!("{at:>4} s {line}"));
            }
        }
        None
    })
}

/// Items a second that arrive, and items that arrive at once.
fn arrivals(at: i64) -> (i64, i64) {
    match at {
        500 => (0, 60),
        560 => (300, 40_000),
        565..900 => (300, 0),
        900..1_100 => (420, 0),
        1_100..1_300 => (290, 0),
        2_300 => (300, 6_000),
        1_300..1_500 | 2_305..3_400 => (60, 0),
        _ => (0, 0),
    }
}

/// Does the broker answer?
fn answers(at: i64) -> bool {
    !(2_900..3_300).contains(&at)
}

/// Does the broker know this login? Where one is given it must be the contract's.
fn logs_in(draft: &QuestionDraft) -> bool {
    let known = [
        ("events-cluster-ca-cert", "ca.crt"),
        ("penstock", "user.crt"),
        ("penstock", "user.key"),
        ("penstock", "username"),
        ("penstock", "password"),
    ];
    let Address::Kafka(address) = &draft.address else { return true };
    let named = draft.secrets.iter().map(|secret| (secret.name.as_str(), secret.key.as_str()));
    let lies_well = |namespace: &str| namespace == "shop" || namespace == "kafka";
    draft.secrets.is_empty()
        || address.sasl == Some(Mechanism::ScramSha512)
            && named.eq(known)
            && draft.secrets.iter().all(|secret| lies_well(&secret.namespace))
}

/// The world of the hour.
struct Hour {
    at: i64,
    end: i64,
    position: i64,
    workloads: BTreeMap<TargetId, (Workload, i64)>,
    outcomes: Vec<(usize, Outcome)>,
    /// What stands for room that is kept.
    reserves: Vec<ReserveSeen>,
    read: BTreeMap<QuestionId, (i64, Observation)>,
    memory: Memory,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// Four pods on a node.
fn standing(workload: &Workload) -> Standing {
    let mut standing = Standing::default();
    for number in 0..workload.ready {
        let node = standing.nodes.entry(format!("node-{}", number / 4).into()).or_default();
        node.pods.push(PodStanding {
            name: format!("pod-{number}").into(),
            version: 1,
            is_ready: true,
            is_kept: false,
            cost: None,
        });
    }
    standing
}

/// Each workload whose drain is held has three pods, and whatever is written of it is lost.
fn draining(pipeline: &Pipeline) -> Draining {
    let crew = |target: &TargetId| Crew {
        target: target.clone(),
        selector: Vec::new(),
        pods: 3,
        other: None,
        until: None,
        leaving: Vec::new(),
    };
    let holding = pipeline.stages.iter().filter(|stage| stage.holds);
    Draining { held: holding.flat_map(Stage::targets).map(crew).collect(), ..Draining::default() }
}

/// For a while a budget is over the pipeline and another that asks for as much, with a priority a little above the lowest.
fn shared_with_a_rival(mine: Situation, known: Snapshot) -> Snapshot {
    let team: Arc<str> = "team".into();
    let (cost_per_hour, cores) = (None, Some(12.0));
    let (name, rooms) = (Arc::clone(&team), Vec::new());
    let budget = Budget { name, cost_per_hour, cores, is_enforced: true, rooms };
    let mut rival = Pipeline::clone(&mine.pipeline);
    rival.id.name = "rival".into();
    rival.priority = 1;
    for target in rival.stages.iter_mut().map(|stage| &mut stage.target) {
        target.name = format!("rival-{}", target.name).into();
    }
    let core = PerReplica { cores: Some(1.0), ..PerReplica::default() };
    let under = |situation: Situation| Situation {
        budgets: vec![Arc::clone(&team)],
        per_replica: vec![core; situation.pipeline.stages.len()],
        ..situation
    };
    let rival = Situation { pipeline: Arc::new(rival), outcomes: Vec::new(), ..mine.clone() };
    Snapshot {
        due: vec![under(mine), under(rival)],
        budgets: BTreeMap::from([(team, Arc::new(budget))]),
        ..known
    }
}

impl Hour {
    fn new(meaning: &Meaning) -> Self {
        let workload = Workload { read_at: time(0), ..plain::workload("target", 3) };
        let none = || {
            let jobs = Some(Box::<JobsSeen>::default());
            Workload { desired: 0, current: 0, ready: 0, jobs, ..workload.clone() }
        };
        let stages = meaning.pipeline.stages.iter();
        Self {
            at: 0,
            end: 600_000,
            position: 600_000,
            workloads: stages
                .flat_map(Stage::targets)
                .map(|target| {
                    let workload = if target.is_jobs() { none() } else { workload.clone() };
                    (target.clone(), (workload, 0))
                })
                .collect(),
            outcomes: Vec::new(),
            reserves: Vec::new(),
            read: BTreeMap::new(),
            memory: Memory::default(),
        }
    }

    /// One turn, in a line: counts, codes, writes.
    fn turn(&mut self, meaning: &Meaning) -> String {
        let observations =
            meaning.questions.iter().map(|draft| (draft.id.clone(), self.observed(draft)));
        let mut observations: BTreeMap<_, _> = observations.collect();
        for (question, fault) in &meaning.unanswerable {
            observations.insert(question.clone(), self.missing(fault.code.label(), true));
        }
        let seen = |target: &TargetId| {
            let (workload, _) = &self.workloads[target];
            Workload { read_at: time(self.at), ..workload.clone() }
        };
        let targets = meaning.pipeline.stages.iter().map(|stage| {
            if stage.lanes.is_empty() {
                return Target::Seen(seen(&stage.target));
            }
            let lane = |target| LaneSeen { workload: seen(target), places: Places::default() };
            Target::Seen(Workload::of_lanes(stage.targets().map(lane).collect()))
        });
        let mine = Situation {
            targets: targets.collect(),
            outcomes: std::mem::take(&mut self.outcomes),
            draining: Some(draining(&meaning.pipeline)),
            reserves: Reserves::Seen(self.reserves.clone()),
            standing: self.workloads.iter().map(|(of, it)| (of.clone(), standing(&it.0))).collect(),
            ..Situation::of(Arc::new(meaning.pipeline.clone()))
        };
        let known =
            Snapshot { observations, pools: self.pools(), ..Snapshot::of(time(self.at), true) };
        let snapshot = match self.at {
            1_000..1_060 => shared_with_a_rival(mine, known),
            _ => Snapshot { due: vec![mine], ..known },
        };
        let step = decide(&snapshot, &self.memory);
        self.memory.merge(step.memory.clone());
        let mut line = String::new();
        let is_mine = |stage: &StageId| stage.pipeline == meaning.pipeline.id;
        for verdict in step.plan.verdicts.iter().filter(|verdict| is_mine(&verdict.stage)) {
            let code = verdict.reason().map_or("", |reason| reason.code());
            write!(line, "{}: {:?} {code}; ", verdict.stage.name, verdict.replicas).unwrap();
        }
        for action in &step.plan.actions {
            let scale = action.scale();
            if !is_mine(&scale.stage) {
                continue;
            }
            write!(line, "writes {} to {:?}: {}; ", scale.to, scale.target, scale.why).unwrap();
            if let Action::Reserve(reserve) = action {
                headroom::keep(&mut self.reserves, reserve, u32::MAX);
                let result = Ending::Done { resource_version: "1".into() };
                let outcome = Outcome { action: action.clone(), at: time(self.at), result };
                self.outcomes.push((scale.stage.index, outcome));
                continue;
            }
            let (workload, since) = self.workloads.get_mut(&scale.target).unwrap();
            let version = self.at.to_string();
            workload.resource_version = version.as_str().into();
            workload.desired = scale.to;
            workload.current = scale.to;
            workload.ready = workload.ready.min(scale.to);
            *since = self.at;
            let result = Ending::Done { resource_version: version.into() };
            let outcome = Outcome { action: action.clone(), at: time(self.at), result };
            self.outcomes.push((scale.stage.index, outcome));
        }
        line
    }

    /// Nodes that are kept, and spot, of which no more can be had after a while.
    fn pools(&self) -> BTreeMap<Arc<str>, PoolSeen> {
        let dry = 1200;
        let pool = |name: &str, class| {
            let signs = (0..3).map(|number| dry + 10 * number).filter(|at| *at <= self.at);
            let sign = |at| Sign { at: time(at), is_hard: true, what: "no capacity".into() };
            let signs: Vec<_> = signs.filter(|_| class == Class::Spot).map(sign).collect();
            (Arc::from(name), PoolSeen { signs, ..plain::pool(name, class) })
        };
        [pool("kept", Class::OnDemand), pool("spot", Class::Spot)].into()
    }

    /// Time passes: items come and go, pods become Ready.
    fn pass(&mut self) {
        self.at += TURN;
        let (rate, burst) = arrivals(self.at);
        self.end += rate * TURN + burst;
        let mut served = 0;
        for (workload, since) in self.workloads.values_mut() {
            if workload.ready < workload.desired && *since + STARTUP <= self.at {
                workload.ready = workload.desired;
                workload.ready_since = Some(time(self.at));
            }
            served = i64::from(workload.ready) * RATE * TURN;
        }
        self.position = self.end.min(self.position + served);
    }

    /// The latest answer to a question: asked at its pace.
    fn observed(&mut self, draft: &QuestionDraft) -> Observation {
        let pace = i64::try_from(draft.poll_interval.as_secs()).unwrap();
        let last = self.read.get(&draft.id).cloned();
        if let Some((at, observation)) = &last
            && self.at < at + pace
        {
            return observation.clone();
        }
        let observation = match last {
            _ if !logs_in(draft) => self.missing("AuthenticationFailed", true),
            _ if answers(self.at) => Observation::Fresh(Arc::new(self.reading(draft))),
            Some((_, old)) => match old.reading() {
                Some(reading) => Observation::Stale(Arc::clone(reading), self.gone()),
                None => Observation::Failed(self.gone()),
            },
            None => Observation::Failed(self.gone()),
        };
        self.read.insert(draft.id.clone(), (self.at, observation.clone()));
        observation
    }

    fn gone(&self) -> Missing {
        Missing {
            label: "BrokerDown".into(),
            message: "no broker answers".into(),
            is_lasting: false,
            since: time(self.at.min(2_900)),
        }
    }

    fn missing(&self, label: &str, is_lasting: bool) -> Observation {
        Observation::Failed(Missing { label: label.into(), is_lasting, ..self.gone() })
    }

    /// What the broker says: the group `enrich` reads topic `orders`; another group, topic or broker has its own count. In each topic
    /// one partition has no commit at first, and each partition ends with an open transaction.
    fn reading(&self, draft: &QuestionDraft) -> Reading {
        let (Address::Kafka(address), Ask::Kafka(ask)) = (&draft.address, &draft.ask) else {
            return self.other_reading(draft);
        };
        let mut more = 0;
        if address.bootstrap_servers.starts_with("other") {
            more += 2_000;
        }
        if ask.group != "enrich" {
            more += 3_000;
        }
        if address.connection.starts_with('/') {
            more += 4_000;
        }
        let mut partitions = Vec::new();
        for topic in (0_u16..).take(ask.topics.len()) {
            for id in 0..PARTITIONS {
                let share = |sum: i64| sum / i64::from(PARTITIONS);
                let open = if ask.isolation == Isolation::ReadCommitted { OPEN } else { 0 };
                let end = share(self.end) - open;
                let is_committed = id > 0 || self.at > 700;
                let position = match ask.offset_reset {
                    _ if is_committed => {
                        share(self.position) - share(more) - i64::from(topic) * 200
                    }
                    OffsetReset::Latest => end,
                    OffsetReset::Earliest => end - 2_500,
                };
                let position = position.min(end);
                let owner = None;
                partitions.push(Partition { topic, id, end, position, is_committed, owner });
            }
        }
        let queue = Queue {
            backlog: partitions.iter().map(Partition::lag).sum(),
            commit_interval: Some(Duration::from_secs(5)),
            uncommitted: u32::try_from(ask.topics.len()).unwrap(),
            partitions,
            ..Queue::default()
        };
        Reading { at: time(self.at), value: Value::Queue(queue) }
    }

    /// What any other server says: items that wait, and more of them by a number of its own for each question, address and login. A kind
    /// that is asked for a bare number says half of that.
    fn other_reading(&self, draft: &QuestionDraft) -> Reading {
        let text = format!("{:?} {:?} {:?}", draft.ask, draft.address, draft.secrets);
        let mark = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |mark, byte| {
            (mark ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        });
        let more = u32::try_from(mark >> 32).unwrap() % 997 * 7;
        let waiting = u32::try_from(self.end - self.position).unwrap() + more;
        let value = if text.contains("unit: Gauge") || text.starts_with("External") {
            Value::Gauge(f64::from(waiting) / 2.0)
        } else if text.starts_with("Lineage") {
            Value::Age(f64::from(waiting) / 2.0)
        } else {
            let backlog = waiting.into();
            Value::Queue(Queue { backlog, ..Queue::default() })
        };
        Reading { at: time(self.at), value }
    }
}
