//! The world: every second pods come and go, items arrive, members read and commit, and whoever sizes the stages may look. Played by
//! `run`; what it came to is summed up by `score` and `record`.

use super::crew::{Change, Crew};
use super::ground::Ground;
use super::group::{Group, Worked};
use super::nodes::{Lanes, Seen};
use super::pace::Pace;
use super::pilot::Pilot;
use super::pods::Pods;
use super::policy::{QueueView, View};
use super::promise::Promise;
use super::queue::Queue;
use super::record::Recorder;
use super::scenario::Scenario;
use super::score::Sums;
use super::sight::Sight;
use super::tally::Tally;

/// One stage at play.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) ground: &'a Ground,
    queue: Queue,
    group: Group,
    pub(super) crew: Crew<'a>,
    sight: Sight,
    /// What comes from outside in each second.
    outside: Vec<f64>,
    /// Stages that feed it, and how many items each of theirs makes here.
    feeds: &'a [(usize, f64)],
    pace: Pace<'a>,
    /// What it promises.
    pub(super) promise: Promise,
    /// What left it in this second: items, and their mean second of birth.
    departed: (f64, f64),
    is_fed: bool,
    /// Did the latest reading come?
    is_shown: bool,
    pub(super) tally: Tally,
    pub(super) sums: Sums,
    pub(super) recorder: Recorder,
}

/// The world of one run.
#[derive(Debug)]
pub(super) struct World<'a> {
    scenario: &'a Scenario,
    pub(super) scenes: Vec<Scene<'a>>,
}

impl<'a> World<'a> {
    /// The world before its first second.
    pub(super) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let count = scenario.stages.len();
        let is_last = |stage: usize| {
            !scenario.stages.iter().any(|other| other.feeds.iter().any(|(from, _)| *from == stage))
        };
        let mut scenes: Vec<Scene<'a>> = Vec::with_capacity(count);
        let mut expected: Vec<f64> = Vec::with_capacity(count);
        for at in 0..count {
            let feeds = &scenario.stages[at].feeds;
            let fed: f64 = feeds.iter().map(|(from, each)| each * expected[*from]).sum();
            let scene = Scene::new(scenario, at, (1 < count && is_last(at), fed), seed);
            let first = &scene.outside[..scene.outside.len().min(60)];
            expected.push(fed + first.iter().sum::<f64>() / 60.0);
            scenes.push(scene);
        }
        Self { scenario, scenes }
    }

    /// For each stage and second, the work that comes if stages above pass everything on at once. Seconds of one replica.
    pub(super) fn work(self) -> Vec<Vec<f64>> {
        let mut items: Vec<Vec<f64>> = Vec::with_capacity(self.scenes.len());
        let mut work = Vec::with_capacity(self.scenes.len());
        for scene in self.scenes {
            let mut own = scene.outside;
            own.resize(self.scenario.duration as usize, 0.0);
            for &(from, selectivity) in scene.feeds {
                for (own, above) in own.iter_mut().zip(&items[from]) {
                    *own += selectivity * above;
                }
            }
            work.push((0..).zip(&own).map(|(now, items)| items / scene.pace.rate(now)).collect());
            items.push(own);
        }
        work
    }

    /// Plays it to the end.
    pub(super) fn play(&mut self, pilot: &mut dyn Pilot) {
        for now in 0..self.scenario.duration {
            if now == self.scenario.warmup {
                for scene in &mut self.scenes {
                    scene.tally.reset();
                    scene.sums = Sums::default();
                    if let Some(lanes) = scene.crew.lanes() {
                        lanes.reset();
                    }
                }
            }
            let mut has_moved = false;
            for scene in &mut self.scenes {
                has_moved |= scene.befall(now);
            }
            if pilot.is_due(f64::from(now)) || (has_moved && pilot.is_woken()) {
                self.look(now, pilot);
            }
            for at in 0..self.scenes.len() {
                let (above, below) = self.scenes.split_at_mut(at);
                if let Some(scene) = below.first_mut() {
                    scene.pass(now, above);
                }
            }
        }
        let whole = self.scenario.objective();
        for scene in &mut self.scenes {
            let own = scene.promise.delay();
            let limit = if scene.tally.whole.is_some() { whole } else { own };
            scene.queue.close(self.scenario.duration, (own, limit), &mut scene.tally);
            scene.recorder.close();
        }
    }

    /// Whoever sizes the stages looks, and what it wants is done.
    fn look(&mut self, now: u32, pilot: &mut dyn Pilot) {
        let stages = &self.scenario.pipeline.stages;
        for scene in &mut self.scenes {
            scene.is_shown = scene.sight.look(now, &scene.queue, &scene.group);
        }
        let seen: Vec<_> = self.scenes.iter().map(|scene| scene.crew.seen(now)).collect();
        let each = self.scenes.iter().zip(stages).zip(&seen);
        let views: Vec<View<'_>> =
            each.map(|((scene, stage), seen)| scene.view(now, stage, seen.as_ref())).collect();
        let mut wants: Vec<u32> = views.iter().map(|view| view.desired).collect();
        pilot.decide(&views, &mut wants);
        for (at, (scene, stage)) in self.scenes.iter_mut().zip(stages).enumerate() {
            let want = wants[at].min(stage.max);
            if let Some(lanes) = scene.crew.lanes() {
                let (before, from) = (lanes.split(), lanes.desired());
                // Who knows of lanes may ask for more than the most, in place of what is about to go.
                let split = pilot.split(at).unwrap_or_else(|| lanes.on_one(want));
                lanes.scale(&split, pilot.need(at).unwrap_or(wants[at]), now);
                if let Some(room) = pilot.room(at) {
                    lanes.keep(&room);
                }
                lanes.believe(now, |pool| pilot.believed_of(pool));
                if split != before {
                    let to = split.iter().sum();
                    scene.recorder.moved(now, (from, to), split, pilot.why(at));
                }
            } else if want != scene.crew.desired() {
                let from = scene.crew.desired();
                scene.scale(want, now);
                scene.recorder.moved(now, (from, want), Vec::new(), pilot.why(at));
            }
            if let Some(believed) = pilot.believed_rate(at) {
                scene.sums.believed(believed / scene.pace.rate(now));
            }
        }
    }
}

impl<'a> Scene<'a> {
    /// A stage before the first second; `fed` items a second are expected from the stages above it.
    fn new(
        scenario: &'a Scenario,
        at: usize,
        (is_last_of_many, fed): (bool, f64),
        seed: u64,
    ) -> Self {
        let stage = &scenario.stages[at];
        let (ground, which) = (&stage.ground, at as u64);
        let seconds = scenario.duration;
        let outside = stage.workload.as_ref();
        let outside = outside.map(|it| it.arrivals(seconds, ground.rate, seed, which));
        let outside = outside.unwrap_or_default();
        let first = outside.iter().take(60).sum::<f64>() / 60.0;
        let needed = super::whole(1.25 * (fed + first) / ground.rate);
        let is_fed = !stage.feeds.is_empty();
        let bounds = &scenario.pipeline.stages[at];
        let count = ground.replicas.unwrap_or_else(|| needed.max(bounds.min)).min(bounds.max);
        let recorder = Recorder::new(scenario.warmup, seconds);
        let promise = Promise::of(bounds);
        let crew = if stage.lanes.is_empty() {
            Crew::Plain(Pods::new(count, ground, seconds, seed, which))
        } else {
            let points = recorder.points();
            Crew::Laned(Box::new(Lanes::new(&stage.lanes, count, points, seconds, (seed, which))))
        };
        let mut scene = Self {
            ground,
            queue: Queue::new(ground.partitions, &ground.skew, seconds, is_fed, (seed, which)),
            group: Group::new(ground.partitions, seed, which),
            crew,
            sight: Sight::new(ground, seconds, seed, which),
            outside,
            feeds: &stage.feeds,
            pace: Pace::new(ground, seed, which),
            tally: Tally::new(is_last_of_many, promise.dues(scenario)),
            promise,
            departed: (0.0, 0.0),
            is_fed,
            is_shown: false,
            sums: Sums::default(),
            recorder,
        };
        scene.form(0);
        scene
    }

    /// Pods come, go, crash and are taken away; the group follows. Says whether that wakes who watches lanes.
    fn befall(&mut self, now: u32) -> bool {
        let Change { is_other, crashed, has_moved } = self.crew.pass(now, self.ground);
        if let Some(pod) = crashed {
            self.group.lose(pod, now, &mut self.queue, self.ground);
        }
        if is_other || self.group.is_giving_up(now) {
            self.form(now);
        }
        self.sight.pass(now, &self.queue, &self.group);
        has_moved
    }

    fn form(&mut self, now: u32) {
        let pods = self.crew.working();
        let moved = self.group.form(now, &pods, &mut self.queue, self.ground);
        self.sums.rebalanced(moved);
    }

    fn scale(&mut self, count: u32, now: u32) {
        let Crew::Plain(pods) = &mut self.crew else { return };
        if pods.scale(count, now, self.ground) {
            self.form(now);
        }
    }

    fn view<'b>(
        &'b self,
        now: u32,
        stage: &crate::decide::Stage,
        lanes: Option<&'b Seen>,
    ) -> View<'b> {
        let partitions = &self.sight.shown[..];
        let queue = self.is_shown.then(|| QueueView {
            partitions,
            arrived: partitions.iter().map(|it| it.end).sum(),
            committed: partitions.iter().map(|it| it.committed).sum(),
            commit_interval: self.ground.commit_interval.seconds(),
        });
        View {
            at: f64::from(now),
            desired: self.crew.desired(),
            current: self.crew.current(),
            ready: self.crew.ready(),
            ready_since: self.crew.ready_since().map(f64::from),
            queue,
            busy: self.group.busy(),
            true_rate: self.pace.rate(now),
            min: stage.min,
            max: stage.max,
            lanes,
        }
    }

    /// The second itself: items arrive, are read, are committed.
    fn pass(&mut self, now: u32, above: &[Scene<'_>]) {
        let outside = self.outside.get(now as usize).copied().unwrap_or(0.0);
        let mut items = outside;
        let mut births = outside * f64::from(now);
        for &(from, selectivity) in self.feeds {
            let (out, birth) = above[from].departed;
            items += selectivity * out;
            births += selectivity * out * birth;
        }
        let birth = self.is_fed.then(|| if 0.0 < items { births / items } else { f64::from(now) });
        if self.queue.fill(now, items, birth) {
            self.group.refresh();
        }
        let (pace, ground) = (self.pace, self.ground);
        let Worked { oldest, work } =
            self.group.work(now, || pace.rate(now), &mut self.queue, &mut self.tally, ground);
        self.group.note_busy(work, self.crew.ready());
        self.departed = self.tally.depart(now);
        let (current, ready) = (self.crew.current(), self.crew.ready());
        let is_late = match self.promise {
            Promise::Delay(limit) => limit < f64::from(oldest),
            Promise::DoneBy(_) => self.tally.is_overdue(now - oldest, now),
            Promise::Nothing => false,
        };
        self.sums.second(is_late, current, work);
        self.recorder.second(now, items, oldest, current, ready);
        if let Some(lanes) = self.crew.lanes() {
            lanes.second(now);
        }
    }
}
