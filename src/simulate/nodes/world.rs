//! The world of a stage with two lanes: one queue, one group of consumers, and under it pods that need nodes. Played second by second for whoever
//! places the pods; what it came to is summed up in a [`Run`].
//!
//! Queue, consumers and readings are those of the world without nodes (`queue`, `group`, `sight`): the same items, aged to the second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::group::{Group, Worked};
use super::super::pace::Pace;
use super::super::penstock::time;
use super::super::policy::{QueueView, View};
use super::super::queue::Queue;
use super::super::scenario::{Scenario, objective_of};
use super::super::sight::Sight;
use super::super::tally::Tally;
use super::lane::{Change, Lane};
use super::terms::{Kind, Terms};
use super::weather::Weather;
use super::{Event, LANES, Placer, Run, Seen, Tick};
use crate::decide::{Pool, PoolSeen, Sign};

/// What is played: a scenario of one stage, and the nodes under it.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a> {
    /// The stage, its load and its consumers. Its `startup` is not used: pods start as the terms say.
    pub scenario: &'a Scenario,
    /// What is true of nodes.
    pub terms: &'a Terms,
    /// How much spot there is.
    pub weather: &'a Weather,
    /// What a `CapacityPool` says of each pool.
    pub pools: &'a [Arc<Pool>; 2],
}

/// Signs of the last hour are shown, the newest ten, as `watch` keeps them.
const FRESH: u32 = 3600;
const KEPT: usize = 10;

#[derive(Debug)]
struct World<'a> {
    play: Play<'a>,
    queue: Queue,
    group: Group,
    sight: Sight,
    tally: Tally,
    lanes: [Lane; 2],
    arrivals: Vec<f64>,
    pace: Pace<'a>,
    ticks: Vec<Tick>,
    events: Vec<(u32, Event)>,
    /// Node-seconds of each pool when the warm-up was over.
    before: [f64; 2],
}

/// Plays it to the end.
pub fn play(play: Play<'_>, placer: &mut dyn Placer, seed: u64) -> Run {
    let mut world = World::new(play, seed);
    for now in 0..play.scenario.duration {
        if now == play.scenario.warmup {
            world.tally.reset();
            world.before = world.spent();
        }
        world.second(now, placer);
    }
    world.end(placer.name())
}

impl<'a> World<'a> {
    fn new(play: Play<'a>, seed: u64) -> Self {
        let (stage, bounds) = (&play.scenario.stages[0], &play.scenario.pipeline.stages[0]);
        let (ground, seconds) = (&stage.ground, play.scenario.duration);
        let load = stage.workload.as_ref();
        let arrivals =
            load.map(|load| load.arrivals(seconds, ground.rate, seed, 0)).unwrap_or_default();
        let first = arrivals.iter().take(60).sum::<f64>() / 60.0;
        let needed = super::super::whole(1.25 * first / ground.rate).clamp(bounds.min, bounds.max);
        let lane = |kind, desired| Lane::new(kind, desired, play.weather, play.terms, seed);
        Self {
            play,
            queue: Queue::new(ground.partitions, &ground.skew, seconds, false, (seed, 0)),
            group: Group::new(ground.partitions, seed, 0),
            sight: Sight::new(ground, seconds, seed, 0),
            tally: Tally::new(false),
            lanes: [lane(Kind::OnDemand, needed), lane(Kind::Spot, 0)],
            arrivals,
            pace: Pace::new(ground, seed, 0),
            ticks: Vec::with_capacity(seconds as usize),
            events: Vec::new(),
            before: [0.0; 2],
        }
    }

    fn spent(&self) -> [f64; 2] {
        [self.lanes[0].pool.seconds, self.lanes[1].pool.seconds]
    }

    /// One second: nodes and pods first, then whoever places them, then the work.
    fn second(&mut self, now: u32, placer: &mut dyn Placer) {
        let ground = &self.play.scenario.stages[0].ground;
        let mut has_moved = false;
        let mut is_ready = now == 0;
        for lane in &mut self.lanes {
            let Change { is_ready: ready, is_other, told, lost } =
                lane.pass(now, self.play.weather, self.play.terms);
            is_ready |= ready;
            has_moved |= ready || is_other;
            self.events.extend((0 < told).then_some((now, Event::Told { nodes: told })));
            self.events.extend((0 < lost).then_some((now, Event::Lost { pods: lost })));
        }
        if is_ready || self.group.is_giving_up(now) {
            let mut pods: Vec<_> = self.lanes.iter().flat_map(Lane::working).collect();
            pods.sort_unstable_by_key(|(id, since)| (*since, *id));
            self.group.form(now, &pods, &mut self.queue, ground);
        }
        self.sight.pass(now, &self.queue, &self.group);
        let need = self.place(now, has_moved, placer);
        if self.queue.fill(now, self.arrivals.get(now as usize).copied().unwrap_or(0.0), None) {
            self.group.refresh();
        }
        let pace = self.pace;
        let Worked { work, .. } =
            self.group.work(now, || pace.rate(now), &mut self.queue, &mut self.tally, ground);
        self.tally.depart(now);
        let ready = self.lanes.each_ref().map(Lane::ready);
        self.group.note_busy(work, ready.iter().sum());
        self.ticks.push(Tick {
            need,
            desired: self.lanes.each_ref().map(|lane| lane.desired),
            ready,
            doomed: self.lanes.iter().map(|lane| lane.doomed(now)).sum(),
            nodes: self.lanes.each_ref().map(|lane| lane.pool.count()),
        });
        debug_assert!(
            self.is_whole(),
            "a pod stands on a node that is gone, or a node on too many"
        );
    }

    /// Whoever places the pods looks, if it wants to, and what it wants is done.
    fn place(&mut self, now: u32, has_moved: bool, placer: &mut dyn Placer) -> u32 {
        let before = self.ticks.last().map_or(0, |tick| tick.need);
        if !placer.is_due(f64::from(now), has_moved) {
            return before;
        }
        let play = self.play;
        let (stage, bounds) = (&play.scenario.stages[0], &play.scenario.pipeline.stages[0]);
        let is_shown = self.sight.look(now, &self.queue, &self.group);
        let partitions = &self.sight.shown[..];
        let queue = is_shown.then(|| QueueView {
            partitions,
            arrived: partitions.iter().map(|it| it.end).sum(),
            committed: partitions.iter().map(|it| it.committed).sum(),
            commit_interval: stage.ground.commit_interval.seconds(),
        });
        let sum = |of: fn(&Lane) -> u32| self.lanes.iter().map(of).sum();
        let view = View {
            at: f64::from(now),
            desired: sum(|lane| lane.desired),
            current: sum(Lane::current),
            ready: sum(Lane::ready),
            ready_since: self.lanes.iter().filter_map(Lane::ready_since).max().map(f64::from),
            queue,
            busy: self.group.busy(),
            true_rate: self.pace.rate(now),
            min: bounds.min,
            max: bounds.max,
            max_delay: objective_of(bounds),
        };
        let seen = Seen {
            lanes: self.lanes.each_ref().map(|lane| lane.view(now)),
            pools: self.pools(now),
        };
        let wants = placer.place(&view, &seen);
        for (at, (lane, want)) in self.lanes.iter_mut().zip(wants.lanes).enumerate() {
            if lane.desired != want {
                let (from, to) = (lane.desired, want);
                self.events.push((now, Event::Asked { lane: LANES[at], from, to }));
                lane.desired = want;
            }
        }
        if let Some(state) = wants.spot
            && self.last_state() != Some(state)
        {
            let waited = self.lanes[1].waits_since().map(|since| now - since);
            let boot = self.lanes[1].pool.slowest();
            self.events.push((now, Event::Believed { state, waited, boot }));
        }
        wants.need
    }

    fn last_state(&self) -> Option<crate::decide::PoolState> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Believed { state, .. } => Some(*state),
            Event::Told { .. } | Event::Lost { .. } | Event::Asked { .. } => None,
        })
    }

    /// The pools, as `watch` would show them.
    fn pools(&self, now: u32) -> BTreeMap<Arc<str>, PoolSeen> {
        let wall = |second: u32| time(second.into());
        let each = self.play.pools.iter().zip(&self.lanes);
        let seen = each.map(|(pool, lane)| {
            let is_fresh = |said: &&u32| now.saturating_sub(**said) < FRESH;
            let said = lane.pool.refusals();
            let said = said[said.len().saturating_sub(KEPT)..].iter().filter(is_fresh);
            let what: Arc<str> = "InsufficientCapacityError".into();
            let sign = |at: &u32| Sign { at: wall(*at), is_hard: true, what: Arc::clone(&what) };
            let view = lane.view(now);
            let seen = PoolSeen {
                pool: Arc::clone(pool),
                nodes: lane.pool.open(now),
                newest: lane.pool.newest().map(wall),
                boot: lane.pool.slowest().map(|boot| Duration::from_secs(boot.into())),
                signs: said.map(sign).collect(),
                full: None,
                waiting: view.places.unplaced_since.into_iter().collect(),
                served: lane.ready_since().map(wall),
                recalled: None,
            };
            (Arc::clone(&pool.name), seen)
        });
        seen.collect()
    }

    /// Does every pod stand on a node that is there, and no node have more than fit?
    fn is_whole(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let mut on: BTreeMap<u32, u32> = BTreeMap::new();
            lane.stands().flatten().for_each(|node| *on.entry(node).or_default() += 1);
            on.iter()
                .all(|(node, pods)| lane.pool.node(*node).is_some() && *pods <= self.play.terms.fit)
        })
    }

    fn end(mut self, policy: String) -> Run {
        let (scenario, terms) = (self.play.scenario, self.play.terms);
        let limit = objective_of(&scenario.pipeline.stages[0]);
        self.queue.close(scenario.duration, (limit, limit), &mut self.tally);
        let (spent, mut node_hours) = (self.spent(), [0.0; 2]);
        for at in 0..2 {
            node_hours[at] = (spent[at] - self.before[at]) / 3600.0;
        }
        let (items, ages) = (self.tally.ages.total(), &self.tally.ages);
        Run {
            policy,
            late: if 0.0 < items { ages.above(limit) / items } else { 0.0 },
            delay_p99: ages.quantile(0.99),
            node_hours,
            cost: node_hours[0] * terms.prices[0] + node_hours[1] * terms.prices[1],
            refusals: self.lanes[1].pool.refusals().to_vec(),
            ticks: self.ticks,
            events: self.events,
        }
    }
}

/// The work of each second, in seconds of one replica: what the bound plans with.
pub fn work(scenario: &Scenario, seed: u64) -> Vec<f64> {
    let Some(stage) = scenario.stages.first() else { return Vec::new() };
    let load = stage.workload.as_ref();
    let load = load.map(|it| it.arrivals(scenario.duration, stage.ground.rate, seed, 0));
    let pace = Pace::new(&stage.ground, seed, 0);
    let load = load.unwrap_or_default();
    (0..).zip(load).map(|(now, items)| items / pace.rate(now)).collect()
}
