//! Penstock itself in the made-up world: the very same `decide`, given what its rooms would give it, its writes carried out and their
//! outcomes told. Knows nothing of the world but what a [`View`] shows; in particular not what a replica really gets through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::keeper::{Keeper, played};
use super::pilot::{Pilot, Why};
use super::policy::{Policy, QueueView, View};
use super::promise::DAWN;
use super::scenario::Scenario;
use crate::decide::{
    Action, Ending, LaneSeen, Memory, Missing, Observation, Outcome, Partition, Pipeline, Places,
    PoolSeen, PoolState, PoolVerdict, QuestionId, Queue, Reading, Reserves, Situation, Snapshot,
    Step, Target, Value, Workload, Writing, advance,
};

/// A complete reading older than this is stale, however short the poll interval, as `observe` has it.
const STALE_FLOOR: f64 = 10.0;
/// How often a group that rests is read.
const REST: f64 = 30.0;
/// Commits that must be seen before their interval is known.
const COMMITS_TO_LEARN: u32 = 4;

/// Penstock, sizing a pipeline.
#[derive(Debug)]
pub struct Penstock {
    pipeline: Arc<Pipeline>,
    memory: Memory,
    eyes: Vec<Eye>,
    /// What became of the writes of the last turn.
    outcomes: Vec<(usize, Outcome)>,
    /// When it wants to think again, in seconds.
    next: f64,
    /// Counts changes of the targets, as an API server does.
    version: u64,
    /// What it believes of pools, where stages have lanes.
    pools: Vec<PoolVerdict>,
    violations: u32,
}

/// What it knows of one stage besides its memory.
#[derive(Debug)]
struct Eye {
    question: QuestionId,
    poll: f64,
    next_poll: f64,
    /// How old a reading is when it comes.
    delay: f64,
    /// Since when nothing complete has come.
    since: f64,
    whole: Option<Arc<Reading>>,
    has_failed: bool,
    commits: Commits,
    /// Its workload, or one for each lane.
    targets: Vec<LaneSeen>,
    is_laned: bool,
    keeper: Keeper,
    /// Replicas that the stage needs, by the last turn.
    need: Option<u32>,
    believed: Option<f64>,
    why: Option<Why>,
}

/// One lane of a stage, as its world shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LaneView {
    /// `spec.replicas`.
    pub(super) desired: u32,
    /// Pods that exist.
    pub(super) current: u32,
    /// Of those, Ready.
    pub(super) ready: u32,
    /// When the youngest Ready pod became so, in seconds.
    pub(super) ready_since: Option<f64>,
    /// Where its pods stand.
    pub(super) places: Places,
}

/// How often commits are read: at every poll until their interval is known, then once in it, as `observe` does.
#[derive(Debug, Default)]
struct Commits {
    positions: Vec<i64>,
    read_at: Option<f64>,
    seen: u32,
    interval: Option<f64>,
}

impl Penstock {
    /// Penstock before its first turn, with nothing learned.
    pub fn new(scenario: &Scenario) -> Self {
        let pipeline = played(&scenario.pipeline);
        let eyes = pipeline.stages.iter().zip(&scenario.stages);
        let eyes = eyes.filter_map(|(stage, world)| {
            let source = stage.sources.first()?;
            let keeper = Keeper::new(&pipeline, stage);
            let delay = world.ground.metric_delay.seconds();
            Some(Eye { keeper, ..Eye::new(source, stage.lanes.len(), delay) })
        });
        Self {
            eyes: eyes.collect(),
            pipeline: Arc::new(pipeline),
            memory: Memory::default(),
            outcomes: Vec::new(),
            next: 0.0,
            version: 1,
            pools: Vec::new(),
            violations: 0,
        }
    }

    /// A turn: what is seen is looked at and thought about, and what comes of it is done.
    fn turn(&mut self, at: f64, views: &[View<'_>], wants: &mut [u32]) {
        let mut pools = BTreeMap::new();
        for (eye, view) in self.eyes.iter_mut().zip(views) {
            if let Some(seen) = view.lanes.filter(|_| eye.is_laned) {
                eye.look(at, view, &seen.lanes, &mut self.version);
                eye.keeper.look(seen);
                pools
                    .extend(seen.pools.iter().map(|(name, seen)| (Arc::clone(name), seen.clone())));
                continue;
            }
            let (desired, current, ready) = (view.desired, view.current, view.ready);
            let (ready_since, places) = (view.ready_since, Places::default());
            let whole = LaneView { desired, current, ready, ready_since, places };
            eye.look(at, view, &[whole], &mut self.version);
        }
        self.think(at, pools, wants);
    }

    /// What was seen is thought about, and what comes of it is done.
    fn think(&mut self, at: f64, pools: BTreeMap<Arc<str>, PoolSeen>, wants: &mut [u32]) {
        let target = |eye: &Eye| Target::Seen(eye.workload());
        let situation = Situation {
            targets: self.eyes.iter().map(target).collect(),
            outcomes: std::mem::take(&mut self.outcomes),
            standing: self.eyes.iter().flat_map(|eye| eye.keeper.standing()).collect(),
            reserves: self.reserves(),
            ..Situation::of(Arc::clone(&self.pipeline))
        };
        let observations: BTreeMap<_, _> = self
            .eyes
            .iter()
            .filter_map(|eye| Some((eye.question.clone(), eye.latest(at)?)))
            .collect();
        let now = time(at);
        let due = vec![situation];
        let snapshot = Snapshot { due, observations, pools, ..Snapshot::of(now, true) };
        let step = advance(&snapshot, &mut self.memory);
        self.violations += step.plan.violations;
        self.act(now, &step, wants);
        let visits = self.eyes.iter().map(|eye| eye.next_poll);
        let timers = step.plan.verdicts.iter().filter_map(|verdict| verdict.next).map(seconds);
        self.next = visits.chain(timers).fold(f64::INFINITY, f64::min);
        if !self.outcomes.is_empty() {
            self.next = at + 1.0;
        }
        self.pools = step.plan.pools;
    }

    /// What stands for room, where any stage keeps some.
    fn reserves(&self) -> Reserves {
        if self.pipeline.stages.iter().all(|stage| stage.headroom.is_none()) {
            return Reserves::Unseen;
        }
        Reserves::Seen(self.eyes.iter().flat_map(|eye| eye.keeper.reserves()).collect())
    }

    /// Carries the plan out. The API server of this world takes every write at once.
    fn act(&mut self, now: Timestamp, step: &Step, wants: &mut [u32]) {
        for verdict in &step.plan.verdicts {
            let Some(eye) = self.eyes.get_mut(verdict.stage.index) else { continue };
            eye.believed = verdict.signals.rate_per_replica;
            eye.need = verdict.replicas;
        }
        for action in &step.plan.actions {
            let scale = action.scale();
            let index = scale.stage.index;
            let lanes = self.pipeline.stages.get(index).map(|stage| &stage.lanes);
            let lane = |pool: &str| lanes?.iter().position(|lane| *lane.pool == *pool);
            let at = scale.lane.as_deref().and_then(lane).unwrap_or(0);
            let Some(eye) = self.eyes.get_mut(index) else { continue };
            if let Action::Reserve(reserve) = action {
                eye.keeper.keep(reserve);
                let result = Ending::Done { resource_version: "".into() };
                self.outcomes.push((index, Outcome { action: action.clone(), at: now, result }));
                continue;
            }
            let Some(LaneSeen { workload: target, .. }) = eye.targets.get_mut(at) else { continue };
            match action {
                Action::Scale(scale) => {
                    let (code, sentence) = (scale.why.code(), scale.why.to_string());
                    eye.why = Some(Why { code, sentence });
                }
                // A scenario has no Jobs, and nobody writes on its pods: neither is asked for.
                Action::Claim(_)
                | Action::StartJobs(_)
                | Action::GiveUpFirst(_)
                | Action::HoldDrain(_)
                | Action::LetGo(_)
                | Action::Reserve(_) => {}
            }
            self.version += 1;
            target.is_ours = true;
            target.desired = scale.to;
            target.resource_version = self.version.to_string().into();
            let result = Ending::Done { resource_version: Arc::clone(&target.resource_version) };
            self.outcomes.push((index, Outcome { action: action.clone(), at: now, result }));
            if let (Action::Scale(_), Some(want)) = (action, wants.get_mut(index)) {
                *want = eye.targets.iter().map(|lane| lane.workload.desired).sum();
            }
        }
    }
}

impl Eye {
    fn new(source: &crate::decide::Source, lanes: usize, delay: f64) -> Self {
        let target = Workload {
            uid: "simulated".into(),
            resource_version: "1".into(),
            desired: 0,
            current: 0,
            ready: 0,
            ready_since: None,
            writing: Writing::Apply,
            read_at: time(0.0),
            is_ours: false,
            hpa: None,
            cpu: None,
            jobs: None,
            lanes: Vec::new(),
        };
        Self {
            question: source.question.clone(),
            poll: source.poll_interval.as_secs_f64(),
            next_poll: 0.0,
            delay,
            since: 0.0,
            whole: None,
            has_failed: false,
            commits: Commits::default(),
            targets: vec![LaneSeen { workload: target, places: Places::default() }; lanes.max(1)],
            is_laned: 0 < lanes,
            keeper: Keeper::default(),
            need: None,
            believed: None,
            why: None,
        }
    }

    /// Its workload, as `watch` puts the lanes of a stage together.
    fn workload(&self) -> Workload {
        match self.targets.as_slice() {
            [only] if !self.is_laned => only.workload.clone(),
            lanes => Workload::of_lanes(lanes.to_vec()),
        }
    }

    /// Looks at the pods always, at the queue when its poll is due.
    fn look(&mut self, at: f64, view: &View<'_>, lanes: &[LaneView], version: &mut u64) {
        for (LaneSeen { workload: target, places }, lane) in self.targets.iter_mut().zip(lanes) {
            let is_same = target.desired == lane.desired
                && target.current == lane.current
                && target.ready == lane.ready;
            if !is_same {
                *version += 1;
                target.resource_version = version.to_string().into();
            }
            target.desired = lane.desired;
            target.current = lane.current;
            target.ready = lane.ready;
            target.ready_since = lane.ready_since.map(time);
            target.read_at = time(at);
            places.clone_from(&lane.places);
        }
        if at < self.next_poll {
            return;
        }
        self.next_poll = at + self.poll;
        self.has_failed = view.queue.is_none();
        if let Some(queue) = &view.queue {
            let read = at - self.delay;
            let value = Value::Queue(self.commits.read(read, queue, self.poll));
            self.since = read;
            self.whole = Some(Arc::new(Reading { at: time(read), value }));
        }
    }

    /// How good the latest reading is now, in the words of `observe`'s board.
    fn latest(&self, at: f64) -> Option<Observation> {
        let age = at - self.since;
        let is_late = STALE_FLOOR.max(3.0 * self.poll) < age;
        let missing = |label: &str, message: String| Missing {
            label: label.into(),
            message: message.into(),
            is_lasting: false,
            since: time(self.since),
        };
        let late = || missing("Late", format!("nothing has come for {age:.0} s"));
        let timeout = || missing("Timeout", "the brokers did not answer in time".to_owned());
        match (&self.whole, self.has_failed) {
            (Some(whole), true) => Some(Observation::Stale(Arc::clone(whole), timeout())),
            (Some(whole), false) if is_late => Some(Observation::Stale(Arc::clone(whole), late())),
            (Some(whole), false) => Some(Observation::Fresh(Arc::clone(whole))),
            (None, true) => Some(Observation::Failed(timeout())),
            (None, false) if is_late => Some(Observation::Failed(late())),
            (None, false) => None,
        }
    }
}

impl Commits {
    /// What a reading says: ends as they are, positions as they were when commits were last read.
    fn read(&mut self, at: f64, view: &QueueView<'_>, poll: f64) -> Queue {
        if self.is_due(at, view, poll) {
            let positions = view.partitions.iter().map(|it| offset(it.committed));
            let have_moved =
                !self.positions.is_empty() && !positions.clone().eq(self.positions.iter().copied());
            self.seen += u32::from(have_moved);
            if COMMITS_TO_LEARN < self.seen {
                self.interval = Some(view.commit_interval.max(poll));
            }
            self.positions.clear();
            self.positions.extend(positions);
            self.read_at = Some(at);
        }
        let partitions: Vec<Partition> = (0..)
            .zip(view.partitions.iter().zip(&self.positions))
            .map(|(id, (it, &position))| {
                let end = offset(it.end).max(position);
                Partition { topic: 0, id, end, position, is_committed: true, owner: it.owner }
            })
            .collect();
        let sum = |of: fn(&Partition) -> i64| -> u64 {
            partitions.iter().map(|it| u64::try_from(of(it)).unwrap_or(0)).sum()
        };
        Queue {
            backlog: partitions.iter().map(Partition::lag).sum(),
            arrived: Some(sum(|it| it.end)),
            served: Some(sum(|it| it.position)),
            served_at: self.read_at.map(time),
            commit_interval: self.interval.map(duration),
            partitions,
            uncommitted: 0,
        }
    }

    /// As `observe`'s pace has it: half a poll early, and rarely where nothing moves.
    fn is_due(&self, at: f64, view: &QueueView<'_>, poll: f64) -> bool {
        let Some(read_at) = self.read_at else { return true };
        let age = at - read_at;
        let is_busy = || {
            let pairs = view.partitions.iter().zip(&self.positions);
            pairs.into_iter().any(|(it, position)| *position < offset(it.end))
        };
        REST <= age || (self.interval.unwrap_or(poll) <= age + poll / 2.0 && is_busy())
    }
}

impl Pilot for Penstock {
    fn name(&self) -> String {
        "penstock".to_owned()
    }

    fn is_due(&self, at: f64) -> bool {
        self.next <= at
    }

    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]) {
        if let Some(view) = views.first() {
            self.turn(view.at, views, wants);
        }
    }

    /// Whatever moves in the cluster wakes the daemon.
    fn is_woken(&self) -> bool {
        true
    }

    fn split(&self, stage: usize) -> Option<Vec<u32>> {
        let eye = self.eyes.get(stage).filter(|eye| eye.is_laned)?;
        Some(eye.targets.iter().map(|lane| lane.workload.desired).collect())
    }

    fn room(&self, stage: usize) -> Option<Vec<u32>> {
        self.eyes.get(stage)?.keeper.asked()
    }

    fn need(&self, stage: usize) -> Option<u32> {
        self.eyes.get(stage)?.need
    }

    fn believed_of(&self, pool: &str) -> Option<PoolState> {
        self.pools.iter().find(|it| *it.pool == *pool).map(|it| it.state)
    }

    fn believed_rate(&self, stage: usize) -> Option<f64> {
        self.eyes.get(stage)?.believed
    }

    fn why(&self, stage: usize) -> Option<Why> {
        self.eyes.get(stage)?.why.clone()
    }

    fn violations(&self) -> u32 {
        self.violations
    }
}

/// Alone with a single stage it is a policy like any other, which looks every second and mostly has nothing to say.
impl Policy for Penstock {
    fn name(&self) -> String {
        Pilot::name(self)
    }

    fn period(&self) -> f64 {
        1.0
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        let mut wants = [view.desired];
        if self.is_due(view.at) {
            self.turn(view.at, std::slice::from_ref(view), &mut wants);
        }
        wants[0]
    }
}

/// The wall time of a second.
#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a hundred years fit")]
pub(super) fn time(at: f64) -> Timestamp {
    Timestamp::from_millisecond(DAWN * 1000 + (at * 1000.0).round() as i64).unwrap_or_default()
}

/// The second of a wall time.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a hundred years fit a double")]
fn seconds(at: Timestamp) -> f64 {
    (at.as_millisecond() - DAWN * 1000) as f64 / 1000.0
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A whole offset: items that are there in full.
#[expect(clippy::cast_possible_truncation, reason = "offsets stay below 2^53")]
fn offset(items: f64) -> i64 {
    (items + 1e-6).floor() as i64
}
