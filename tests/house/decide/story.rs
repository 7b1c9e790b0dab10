//! A story is a stage and what befalls it, written in YAML; told, it is one line for each turn that says something new: the time,
//! the replicas, the code and the sentence that bound, and the write if there was one. Used by the tests of decide.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use penstock::decide::{
    Action, Behaviour, Cpu, DoneBy, Ending, Fallback, FallbackPolicy, ForeignWriter, Formula, Gate,
    Gives, Headroom, Idle, Lost, Memory, Missing, Mode, Observation, OnSilence, Outcome, Partition,
    Pause, Pipeline, PipelineId, Policy, Prefer, QuestionId, Queue, Reading, Reason, Recalled,
    ReserveSeen, Reserves, Rules, Schedule, Select, Situation, Snapshot, Source, Stage, Step,
    Target, Unit, Unusable, Value, Verdict, Workload, Writing, decide,
};
use serde::Deserialize;

use super::{headroom, plain};

/// The stage of a story. Left out: a Deployment of 1 to 48 replicas on a topic of 24 partitions, polled every 2 s.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "a story says what is so")]
pub(crate) struct Given {
    pub min: Option<u32>,
    pub max: Option<u32>,
    /// Seconds.
    pub objective: Option<u64>,
    /// Hour and minute, UTC.
    pub done_by: Option<(i8, i8)>,
    pub per_replica: Option<f64>,
    pub rate: Option<f64>,
    pub startup: Option<u64>,
    pub activation: f64,
    pub idle: Option<(u32, u64)>,
    pub follow: bool,
    pub forecast_off: bool,
    pub prefer: Prefer,
    /// Room is kept ahead of need, for so many at most.
    pub headroom: Option<u32>,
    pub down: Option<Side>,
    pub up: Option<Side>,
    pub fallback: Option<(String, u32, u64)>,
    pub observe: bool,
    pub pinned: Option<u32>,
    pub paused: bool,
    pub paused_in: bool,
    pub paused_out: bool,
    pub forced: bool,
    pub partitions: Option<usize>,
    /// Several topics of the first source, and how many partitions each has, instead of `partitions` of one.
    pub topics: Vec<(String, usize)>,
    pub poll: Option<u64>,
    /// Seconds between two commits.
    pub commits: Option<u64>,
    /// A second source that is a bare number, with its threshold.
    pub gauge: Option<f64>,
    /// That number is an age in seconds.
    pub is_age: bool,
    pub sources: Option<usize>,
    /// `combine.expression` over `orders`, `orders1`, `gauge`.
    pub combine: Option<String>,
    /// Name, start, end, min, max; in UTC. A story begins at midnight.
    pub schedules: Vec<Scheduled>,
    /// `holdWhen` of the gate `quality`.
    pub gate: Option<String>,
    /// The server that all of them ask. Left out: one that nobody knows.
    pub origin: String,
    pub merge: bool,
    pub standby: bool,
    /// What status remembers.
    pub recalled: Option<Remembered>,
    /// What runs when the story begins. Left out: 1.
    pub desired: Option<u32>,
    /// Has the group committed? Left out: yes. If not, only what waits from the earliest offset counts, where that is what is asked.
    pub uncommitted: bool,
    pub earliest: bool,
    /// So many consumers hold the partitions by turns, and it is known who holds which.
    pub consumers: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Side {
    pub window: Option<u64>,
    pub select: Option<String>,
    /// Unit, value, period.
    pub policies: Vec<(String, u32, u64)>,
    pub tolerance: Option<f64>,
}

/// Name, start, end, min, max.
type Scheduled = (String, String, String, Option<u32>, Option<u32>);

/// Rate, startup, and a hold with the seconds before the story at which it began.
type Remembered = (Option<f64>, Option<u64>, Option<(u32, i64)>);

/// What befalls it. Each event happens at its time; turns are taken at each poll in between.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Event {
    /// Seconds since the story began.
    pub at: i64,
    /// Items waiting from now on (spread evenly); arrivals make up the difference.
    pub lag: Option<i64>,
    /// Items a second that arrive and are taken from now on.
    pub arrive: Option<i64>,
    pub take: Option<i64>,
    /// Items that arrive at once.
    pub burst: Option<i64>,
    pub gauge: Option<f64>,
    /// What the gate's source says, and how: Fresh, Stale, Failed, None.
    pub gate: Option<f64>,
    pub gate_sight: Option<String>,
    /// Fresh, Partial, Stale, Failed, Late, None.
    pub sight: Option<String>,
    pub desired: Option<u32>,
    pub ready: Option<u32>,
    /// How the next write ends: Done, Lost (no outcome), Unknown, Outdated, Refused, `NotSent`, Conflict NAME, Apply NAME.
    pub ends: Option<String>,
    /// Does a write show in the cluster at once? Left out: yes.
    pub shows: Option<bool>,
    pub hpa: Option<String>,
    pub ours: Option<bool>,
    pub target: Option<String>,
    /// The topic is recreated: its offsets start again.
    pub recreate: bool,
    /// The group is reset this many items back.
    pub rewind: Option<i64>,
    pub committed: bool,
    pub max: Option<u32>,
    pub paused: Option<bool>,
    /// Penstock starts anew.
    pub restart: bool,
    /// Partitions of the topic from now on.
    pub partitions: Option<usize>,
    /// Thousandths of a core that every pod is limited to from now on.
    pub cpu: Option<u32>,
    /// A new object of the same name.
    pub uid: Option<String>,
    /// From now on nobody takes anything from this partition; one that is not there frees them all.
    pub stuck: Option<usize>,
    /// From now on all that arrives arrives here, or so many per cent of it.
    pub hot: Option<usize>,
    pub share: Option<i64>,
    /// So many partitions, the last ones, are missing in a partial reading.
    pub missing: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    stage: Given,
    then: Vec<Event>,
    /// The story ends here, in seconds.
    until: i64,
}

/// The world of a story.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a story says each by itself")]
pub(crate) struct World {
    pub given: Given,
    pub at: i64,
    pub ends: Vec<i64>,
    pub positions: Vec<i64>,
    pub arrive: i64,
    pub take: i64,
    pub gauge: f64,
    pub gate: f64,
    pub gate_sight: String,
    pub gate_read: i64,
    pub sight: String,
    pub workload: Workload,
    pub target: Option<Unusable>,
    pub is_unseen: bool,
    pub ending: String,
    pub shows: bool,
    pub frozen: BTreeMap<QuestionId, Observation>,
    pub blind_since: i64,
    pub outcomes: Vec<(usize, Outcome)>,
    pub memory: Memory,
    pub version: u64,
    pub is_committed: bool,
    /// When commits were last read, where they are read less often than ends.
    pub commits_at: i64,
    pub stuck: usize,
    pub hot: Option<usize>,
    pub share: i64,
    pub missing: usize,
    /// What stands for room that is kept, and whether it may be buffers.
    pub reserves: Vec<ReserveSeen>,
    pub serves_buffers: bool,
}

/// 2026-01-01T00:00:00Z, when all stories begin.
pub(crate) const DAWN: i64 = 1_767_225_600;

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(DAWN + seconds).unwrap()
}

/// A turn of a story: what was decided.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at: i64,
    pub(crate) replicas: Option<u32>,
    pub(crate) code: &'static str,
    pub(crate) sentence: String,
    /// What is odd, in code and in words.
    pub(crate) odd: Vec<&'static str>,
    pub(crate) odds: Vec<String>,
    /// Age of the oldest item, in seconds.
    pub(crate) delay: Option<f64>,
    /// What one replica is thought to get through, in items a second.
    pub(crate) rate: Option<f64>,
}

/// Tells the story.
pub(crate) fn told(story: &str) -> String {
    let mut told = String::new();
    let mut last = String::new();
    play(story, |at, step| {
        let (brief, line) = line(step);
        if brief != last || !step.plan.actions.is_empty() {
            writeln!(told, "{at:>4} s  {line}").unwrap();
        }
        last = brief;
    });
    told
}

/// Every turn of the story.
pub(crate) fn turns(story: &str) -> Vec<Told> {
    let mut turns = Vec::new();
    play(story, |at, step| {
        let verdict = verdict(step);
        let reason = verdict.reason().unwrap();
        turns.push(Told {
            at,
            replicas: verdict.replicas,
            code: reason.code(),
            sentence: reason.to_string(),
            odd: verdict.anomalies.iter().map(Reason::code).collect(),
            odds: verdict.anomalies.iter().map(ToString::to_string).collect(),
            delay: verdict.signals.delay,
            rate: verdict.signals.rate_per_replica,
        });
    });
    turns
}

/// Lets the story happen, and shows each turn.
fn play(story: &str, mut show: impl FnMut(i64, &Step)) {
    let script: Script = serde_saphyr::from_str(story).unwrap();
    let mut world = World::new(script.stage);
    let mut events = script.then.into_iter().peekable();
    let poll = i64::try_from(world.given.poll.unwrap_or(2)).unwrap();
    while world.at <= script.until {
        while let Some(event) = events.next_if(|event| event.at <= world.at) {
            world.befall(event);
        }
        let step = world.turn();
        show(world.at, &step);
        let next = events.peek().map_or(i64::MAX, |event| event.at);
        world.pass((world.at + poll).min(next) - world.at);
    }
}

/// One turn in brief (count and code, which decide whether it is worth telling) and in full.
fn line(step: &Step) -> (String, String) {
    let verdict = verdict(step);
    let reason = verdict.reason().unwrap();
    let count = verdict.replicas.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let mut brief = format!("{count} {}", reason.code());
    for odd in &verdict.anomalies {
        write!(brief, " ({})", odd.code()).unwrap();
    }
    let mut line = brief.clone();
    for action in &step.plan.actions {
        let scale = action.scale();
        match action {
            Action::StartJobs(_)
            | Action::GiveUpFirst(_)
            | Action::HoldDrain(_)
            | Action::LetGo(_) => {
                panic!("no stage of these stories runs Jobs, empties nodes or holds drains")
            }
            Action::Reserve(_) => write!(line, " | keeps room for {}", scale.to).unwrap(),
            Action::Claim(_) => write!(line, " | claims {}", scale.to).unwrap(),
            Action::Scale(_) => {
                let force = if scale.force { " by force" } else { "" };
                write!(line, " | writes {} for {}{force}", scale.to, scale.from).unwrap();
            }
        }
    }
    write!(line, "\n        {reason}").unwrap();
    for odd in verdict.anomalies.iter().filter(|odd| *odd != reason) {
        write!(line, "\n        odd: {odd}").unwrap();
    }
    assert_eq!(step.plan.violations, 0, "a promise was broken: {line}");
    (brief, line)
}

/// The verdict of the only stage.
pub(crate) fn verdict(step: &Step) -> &Verdict {
    assert_eq!(step.plan.verdicts.len(), 1);
    &step.plan.verdicts[0]
}

impl Given {
    /// Topic and number of a partition.
    fn place(&self, number: usize) -> (u16, i32) {
        let mut id = number;
        for (topic, (_, partitions)) in (0..).zip(&self.topics) {
            if id < *partitions {
                return (topic, i32::try_from(id).unwrap());
            }
            id -= partitions;
        }
        (0, i32::try_from(number).unwrap())
    }

    fn names(&self) -> Vec<Arc<str>> {
        if self.topics.is_empty() {
            return vec!["orders".into()];
        }
        self.topics.iter().map(|(name, _)| name.as_str().into()).collect()
    }
}

impl World {
    pub(crate) fn new(given: Given) -> Self {
        let several = given.topics.iter().map(|(_, partitions)| partitions).sum();
        let each = if given.topics.is_empty() { given.partitions.unwrap_or(24) } else { several };
        let partitions = each * given.sources.unwrap_or(1);
        let desired = given.desired.unwrap_or(1);
        Self {
            at: 0,
            ends: vec![1_000_000; partitions],
            positions: vec![1_000_000; partitions],
            arrive: 0,
            take: 0,
            gauge: 0.0,
            gate: 0.0,
            gate_sight: "Fresh".into(),
            gate_read: 0,
            sight: "Fresh".into(),
            workload: Workload {
                resource_version: "100".into(),
                writing: if given.merge { Writing::Merge } else { Writing::Apply },
                read_at: time(0),
                is_ours: !given.merge,
                ..plain::workload("target-uid", desired)
            },
            target: None,
            is_unseen: false,
            ending: "Done".into(),
            shows: true,
            reserves: Vec::new(),
            serves_buffers: false,
            frozen: BTreeMap::new(),
            blind_since: 0,
            outcomes: Vec::new(),
            memory: Memory::default(),
            version: 100,
            commits_at: 0,
            stuck: usize::MAX,
            hot: None,
            share: 100,
            missing: 0,
            is_committed: !given.uncommitted,
            given,
        }
    }

    fn befall(&mut self, event: Event) {
        if let Some(lag) = event.lag {
            let now: i64 = self.ends.iter().zip(&self.positions).map(|(end, at)| end - at).sum();
            if lag < now { self.serve(now - lag) } else { self.bring(lag - now) }
        }
        self.arrive = event.arrive.unwrap_or(self.arrive);
        self.take = event.take.unwrap_or(self.take);
        self.bring(event.burst.unwrap_or(0));
        self.gauge = event.gauge.unwrap_or(self.gauge);
        self.gate = event.gate.unwrap_or(self.gate);
        if let Some(sight) = &event.gate_sight {
            self.gate_sight.clone_from(sight);
            self.gate_read = self.at;
        }
        if let Some(sight) = event.sight {
            self.frozen = self.observations();
            self.blind_since = self.at;
            self.sight = sight;
        }
        if let Some(desired) = event.desired {
            self.scale(desired, false);
        }
        if let Some(ready) = event.ready {
            self.workload.ready = ready;
            self.workload.ready_since = Some(time(self.at));
        }
        self.ending = event.ends.unwrap_or_else(|| std::mem::take(&mut self.ending));
        self.shows = event.shows.unwrap_or(self.shows);
        if let Some(hpa) = event.hpa {
            self.workload.hpa = (!hpa.is_empty()).then(|| hpa.into());
        }
        self.workload.is_ours = event.ours.unwrap_or(self.workload.is_ours);
        if let Some(target) = event.target {
            self.is_unseen = target == "Unseen";
            self.target = match target.as_str() {
                "NotFound" => Some(Unusable::NotFound),
                "Forbidden" => Some(Unusable::Forbidden("patch deployments/scale".into())),
                "Taken" => Some(Unusable::TakenBy("shop/other".into())),
                _ => None,
            };
        }
        if event.recreate {
            self.ends.fill(0);
            self.positions.fill(0);
        }
        if let Some(items) = event.rewind {
            let each = items / i64::try_from(self.positions.len()).unwrap();
            self.positions.iter_mut().for_each(|position| *position -= each);
        }
        self.stuck = event.stuck.unwrap_or(self.stuck);
        self.hot = event.hot.or(self.hot);
        self.share = event.share.unwrap_or(self.share);
        self.missing = event.missing.unwrap_or(self.missing);
        self.is_committed |= event.committed;
        self.given.max = event.max.or(self.given.max);
        self.given.paused = event.paused.unwrap_or(self.given.paused);
        if event.restart {
            self.memory = Memory::default();
            self.outcomes.clear();
        }
        if let Some(partitions) = event.partitions {
            self.ends.resize(partitions, 0);
            self.positions.resize(partitions, 0);
        }
        if let Some(limit) = event.cpu {
            self.workload.cpu = Some(Cpu { request: limit, limit });
        }
        if let Some(uid) = event.uid {
            self.workload.uid = uid.into();
        }
    }

    /// Time passes: items come and go.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.at += seconds;
        self.bring(self.arrive * seconds);
        self.serve(self.take * seconds);
    }

    pub(crate) fn bring(&mut self, mut items: i64) {
        let count = i64::try_from(self.ends.len()).unwrap();
        if count == 0 {
            return;
        }
        if let Some(hot) = self.hot {
            let most = items * self.share / 100;
            self.ends[hot] += most;
            items -= most;
        }
        for (at, end) in (0..).zip(self.ends.iter_mut()) {
            *end += items / count + i64::from(at < items % count);
        }
        if !self.is_committed && !self.given.earliest {
            self.positions.clone_from(&self.ends);
        }
    }

    /// Every partition gives the same, as far as it has it; the rest comes from those that have more.
    pub(crate) fn serve(&mut self, items: i64) {
        let mut left = items;
        while 0 < left {
            let served = |(at, _): &(usize, _)| *at != self.stuck;
            let waiting = self.ends.iter().zip(&self.positions).enumerate().filter(served);
            let waiting = waiting.filter(|(_, (end, at))| at < end);
            let Ok(count @ 1..) = i64::try_from(waiting.count()) else { return };
            let each = (left / count).max(1);
            let all = self.ends.iter().zip(self.positions.iter_mut()).enumerate();
            for (_, (end, position)) in all.filter(|(at, _)| *at != self.stuck) {
                let taken = each.min(end - *position).min(left);
                *position += taken;
                left -= taken;
            }
        }
    }

    /// The cluster takes a new count; pods are Ready at once.
    pub(crate) fn scale(&mut self, desired: u32, is_ours: bool) {
        self.version += 1;
        let workload = &mut self.workload;
        workload.resource_version = self.version.to_string().into();
        if workload.desired < desired {
            workload.ready_since = Some(time(self.at));
        }
        workload.desired = desired;
        workload.current = desired;
        workload.ready = desired;
        workload.is_ours = is_ours && workload.writing == Writing::Apply;
    }

    pub(crate) fn observations(&self) -> BTreeMap<QuestionId, Observation> {
        let missing = || Missing {
            label: "BrokerDown".into(),
            message: "no broker of kafka:9092 answers".into(),
            is_lasting: false,
            since: time(self.blind_since),
        };
        let lost = || Lost {
            partitions: u32::try_from(self.missing.max(1)).unwrap(),
            of: u32::try_from(self.ends.len()).unwrap(),
            error: "leader not available".into(),
        };
        let mut observations = BTreeMap::new();
        for (question, reading) in self.readings() {
            let frozen = self.frozen.get(&question).and_then(|old| old.reading().map(Arc::clone));
            let observation = match (self.sight.as_str(), frozen) {
                ("Fresh", _) => Observation::Fresh(Arc::new(reading)),
                ("Partial", _) => Observation::Partial(Arc::new(reading), lost()),
                ("Stale", Some(old)) => Observation::Stale(old, missing()),
                ("Late", Some(old)) => Observation::Fresh(old),
                ("None", _) => continue,
                _ => Observation::Failed(missing()),
            };
            observations.insert(question, observation);
        }
        self.observe_gate(&mut observations);
        observations
    }

    /// What the gate's source says; once it is not fresh, since when.
    fn observe_gate(&self, observations: &mut BTreeMap<QuestionId, Observation>) {
        let reading = |at| Arc::new(Reading { at: time(at), value: Value::Gauge(self.gate) });
        let missing = || Missing {
            label: "Unreachable".into(),
            message: "nobody answers at checks:80".into(),
            is_lasting: false,
            since: time(self.gate_read),
        };
        let observation = match self.gate_sight.as_str() {
            _ if self.given.gate.is_none() => return,
            "Fresh" => Observation::Fresh(reading(self.at)),
            "Stale" => Observation::Stale(reading(self.gate_read), missing()),
            "Failed" => Observation::Failed(missing()),
            _ => return,
        };
        observations.insert(QuestionId::new(&pipeline_id(), "work", "gate/quality"), observation);
    }

    fn readings(&self) -> Vec<(QuestionId, Reading)> {
        let pipeline = pipeline_id();
        let sources = self.given.sources.unwrap_or(1);
        let share = self.ends.len().checked_div(sources).unwrap_or(0);
        let mut readings = Vec::new();
        for source in 0..sources {
            let of = source * share..(source + 1) * share;
            let partition = |(number, at): (usize, usize)| {
                let (topic, id) = self.given.place(number);
                Partition {
                    topic,
                    id,
                    end: self.ends[at],
                    position: self.positions[at],
                    is_committed: self.is_committed,
                    owner: self.given.consumers.map(|count| u32::try_from(number).unwrap() % count),
                }
            };
            let mut partitions: Vec<_> = (0..).zip(of).map(partition).collect();
            if self.sight == "Partial" {
                partitions.truncate(partitions.len() - self.missing);
            }
            let count = u32::try_from(partitions.len()).unwrap();
            let queue = Queue {
                backlog: partitions.iter().map(Partition::lag).sum(),
                served_at: (0 < self.commits_at).then(|| time(self.commits_at)),
                commit_interval: self.given.commits.map(Duration::from_secs),
                uncommitted: if self.is_committed || self.given.earliest { 0 } else { count },
                partitions,
                ..Queue::default()
            };
            let question = QuestionId::new(&pipeline, "work", &name(source));
            readings.push((question, Reading { at: time(self.at), value: Value::Queue(queue) }));
        }
        if self.given.gauge.is_some() {
            let question = QuestionId::new(&pipeline, "work", "gauge");
            let value = if self.given.is_age { Value::Age } else { Value::Gauge };
            readings.push((question, Reading { at: time(self.at), value: value(self.gauge) }));
        }
        readings
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        let given = &self.given;
        let id = pipeline_id();
        let source = |name: String, per_replica: Option<f64>| Source {
            origin: given.origin.as_str().into(),
            poll_interval: Duration::from_secs(given.poll.unwrap_or(2)),
            activation: given.activation,
            per_replica,
            topics: given.names(),
            ..plain::source(&id, "work", &name)
        };
        let queues = 0..given.sources.unwrap_or(1);
        let mut sources: Vec<_> = queues.map(|at| source(name(at), given.per_replica)).collect();
        sources.extend(given.gauge.map(|per_replica| source("gauge".into(), Some(per_replica))));
        let seconds = Duration::from_secs;
        let named: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        let formula = |text: &String| Formula::new(text, &named, Gives::Number).unwrap();
        let combine = given.combine.as_ref().map(formula);
        let schedules = given.schedules.iter().map(|(name, start, end, min, max)| {
            Schedule::new(name, (start, end), "UTC", (*min, *max)).unwrap()
        });
        let gates = given.gate.iter().map(|hold_when| Gate {
            name: "quality".into(),
            source: source("gate/quality".into(), None),
            hold_when: Formula::new(hold_when, &["value"], Gives::Truth).unwrap(),
        });
        let stage = Stage {
            mode: if given.observe { Mode::Observe } else { Mode::Enforce },
            min: given.min.unwrap_or(1),
            max: given.max.unwrap_or(48),
            idle: given.idle.map(|(replicas, after)| Idle { replicas, after: seconds(after) }),
            pinned: given.pinned,
            max_delay: given.objective.map(seconds),
            done_by: given.done_by.map(|(hour, minute)| DoneBy {
                hour,
                minute,
                zone: TimeZone::UTC,
            }),
            is_forecast: !given.forecast_off,
            prefer: given.prefer,
            headroom: given.headroom.map(|most| Headroom { most: Some(most) }),
            rate_hint: given.rate,
            startup_hint: given.startup.map(seconds),
            on_silence: if given.follow { OnSilence::Follow } else { OnSilence::Hold },
            combine,
            schedules: schedules.collect(),
            gates: gates.collect(),
            behaviour: Behaviour {
                up: given.up.as_ref().map(rules).unwrap_or_default(),
                down: given.down.as_ref().map(rules).unwrap_or_default(),
            },
            fallback: match &given.fallback {
                None => Fallback { after: seconds(120), policy: FallbackPolicy::Hold },
                Some((policy, n, after)) => Fallback {
                    after: seconds(*after),
                    policy: match policy.as_str() {
                        "Static" => FallbackPolicy::Static(*n),
                        "AtLeast" => FallbackPolicy::AtLeast(*n),
                        _ => FallbackPolicy::AtMost(*n),
                    },
                },
            },
            ..plain::stage("work", plain::deployment("work"), sources)
        };
        Pipeline {
            pause: Pause {
                all: given.paused,
                scale_in: given.paused_in,
                scale_out: given.paused_out,
                force_activation: given.forced,
            },
            ..plain::pipeline(id, stage)
        }
    }

    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.workload.read_at = time(self.at);
        let target = match (&self.target, self.is_unseen) {
            (_, true) => Target::Unseen,
            (Some(why), _) => Target::Unusable(why.clone()),
            (None, _) => Target::Seen(self.workload.clone()),
        };
        let recalled = self.given.recalled.map(|(rate_per_replica, startup, held)| Recalled {
            rate_per_replica,
            former_rate: None,
            startup: startup.map(Duration::from_secs),
            rebalance: None,
            held: held.map(|(replicas, ago)| (replicas, time(-ago))),
        });
        Snapshot {
            due: vec![Situation {
                targets: vec![target],
                outcomes: std::mem::take(&mut self.outcomes),
                recalled: vec![recalled],
                reserves: Reserves::Seen(self.reserves.clone()),
                serves_buffers: self.serves_buffers,
                ..Situation::of(Arc::new(self.pipeline()))
            }],
            observations: self.observations(),
            ..Snapshot::of(time(self.at), !self.given.standby)
        }
    }

    /// One turn, its actions carried out as the story says.
    pub(crate) fn turn(&mut self) -> Step {
        let snapshot = self.snapshot();
        self.decide(&snapshot)
    }

    /// The same, of a snapshot taken before.
    pub(crate) fn decide(&mut self, snapshot: &Snapshot) -> Step {
        let step = decide(snapshot, &self.memory);
        self.memory.merge(step.memory.clone());
        for action in &step.plan.actions {
            self.carry_out(action);
        }
        step
    }

    fn carry_out(&mut self, action: &Action) {
        if let Action::Reserve(reserve) = action {
            let result = if self.ending == "Refused" {
                Ending::Refused { code: 403, message: "deployments is forbidden".into() }
            } else {
                headroom::keep(&mut self.reserves, reserve, u32::MAX);
                Ending::Done { resource_version: "1".into() }
            };
            let outcome = Outcome { action: action.clone(), at: time(self.at), result };
            return self.outcomes.push((0, outcome));
        }
        let ending = self.ending.clone();
        let named = |prefix| ending.strip_prefix(prefix).map(str::to_owned);
        let writer = |manager: String, applies| Ending::Conflict {
            writer: ForeignWriter { manager: manager.into(), applies },
        };
        let result = match ending.as_str() {
            // To apply the count that is there conflicts with nobody.
            _ if matches!(action, Action::Claim(_)) => {
                self.take_write(action);
                Ending::Done { resource_version: self.version.to_string().into() }
            }
            "Done" => {
                self.take_write(action);
                Ending::Done { resource_version: self.version.to_string().into() }
            }
            "Lost" => return,
            "LostButDone" => return self.take_write(action),
            "Unknown" => Ending::Unknown { message: "timed out".into() },
            "Outdated" => Ending::Outdated,
            "Refused" => Ending::Refused { code: 403, message: "quota exceeded".into() },
            "NotSent" => Ending::NotSent { message: "we do not hold the lease".into() },
            _ if action.scale().force => {
                self.take_write(action);
                Ending::Done { resource_version: self.version.to_string().into() }
            }
            _ => match (named("Conflict "), named("Apply ")) {
                (Some(name), _) => writer(name, false),
                (_, Some(name)) => writer(name, true),
                _ => panic!("no such ending: {ending}"),
            },
        };
        self.outcomes.push((0, Outcome { action: action.clone(), at: time(self.at), result }));
    }

    fn take_write(&mut self, action: &Action) {
        if self.shows {
            self.scale(action.scale().to, true);
        } else {
            self.version += 1;
        }
    }
}

fn rules(side: &Side) -> Rules {
    Rules {
        window: side.window.map(Duration::from_secs),
        select: match side.select.as_deref() {
            Some("Min") => Select::Min,
            Some("Disabled") => Select::Disabled,
            _ => Select::Max,
        },
        policies: side
            .policies
            .iter()
            .map(|(unit, value, period)| Policy {
                unit: if unit == "Pods" { Unit::Pods } else { Unit::Percent },
                value: *value,
                period: Duration::from_secs(*period),
            })
            .collect(),
        tolerance: side.tolerance,
    }
}

fn name(source: usize) -> String {
    if source == 0 { "orders".into() } else { format!("orders{source}") }
}

pub(crate) fn pipeline_id() -> PipelineId {
    plain::id("orders")
}
