//! The pods of a stage with lanes: each lane a workload on the nodes of its own pool, and what all of them came to. Seated by `crew` where a stage without
//! lanes has its plain pods.

use std::sync::Arc;
use std::time::Duration;

use super::super::chance::{Tag, lot};
use super::super::ground::Ground;
use super::super::penstock::time;
use super::super::record::Series;
use super::super::span::Span;
use super::lane::{Change as Moved, Lane, Seat};
use super::score::{NodeScore, Strips, Sums};
use super::terms::Kind;
use super::weather::Weather;
use super::{Event, LaneWorld, Log, Seen, Tick};
use crate::decide::{Class, LaneNeed, PoolSeen, PoolState, Sign, TargetId};

/// Signs of the last hour are shown, the newest ten, as `watch` keeps them.
const FRESH: u32 = 3600;
const KEPT: usize = 10;

/// The lanes of a stage.
#[derive(Debug)]
pub(in crate::simulate) struct Lanes<'a> {
    worlds: &'a [LaneWorld],
    skies: Vec<Weather>,
    list: Vec<Lane>,
    /// Replicas that the stage was thought to need when somebody looked last.
    need: u32,
    /// New pods that found no place in this second.
    waited: u32,
    /// What is believed of each pool, by who believes anything.
    beliefs: Vec<Option<PoolState>>,
    sums: Sums,
    strips: Strips,
    log: Option<Log>,
    seed: u64,
    which: u64,
}

/// What a second brought.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::simulate) struct Change {
    /// Did any pod become Ready, or leave that was?
    pub(in crate::simulate) is_ready: bool,
    /// Did anything move that can be seen from outside?
    pub(in crate::simulate) has_moved: bool,
    /// One that crashed, if one did.
    pub(in crate::simulate) crashed: Option<u32>,
}

impl<'a> Lanes<'a> {
    /// The lanes at the start: so many pods, all Ready, on the lane of those who know of none.
    pub(in crate::simulate) fn new(
        worlds: &'a [LaneWorld],
        count: u32,
        points: &Series,
        seconds: u32,
        (seed, which): (u64, u64),
    ) -> Self {
        let seed = seed ^ which << 48;
        let mut ranks = [0; 2];
        let of = u32::try_from(worlds.len()).unwrap_or(u32::MAX);
        let first = plain(worlds);
        let (mut skies, mut list) = (Vec::new(), Vec::new());
        for (index, world) in (0..).zip(worlds) {
            let rank = ranks[world.kind() as usize];
            ranks[world.kind() as usize] += 1;
            let weather = match world.kind() {
                Kind::OnDemand => Weather::default(),
                Kind::Spot => world.sky.weather(seconds, seed ^ u64::from(rank) << 56),
            };
            let desired = if first == index as usize { count } else { 0 };
            list.push(Lane::new(world, Seat { index, rank, of }, desired, &weather, seed));
            skies.push(weather);
        }
        Self {
            worlds,
            skies,
            beliefs: vec![None; list.len()],
            sums: Sums::new(list.len()),
            strips: Strips::new(worlds, (points.start, points.step)),
            list,
            need: count,
            waited: 0,
            log: None,
            seed,
            which,
        }
    }

    /// From now on all is written down second by second.
    pub(super) fn follow(&mut self) {
        self.log = Some(Log::default());
    }

    /// What was written down.
    pub(super) fn told(&mut self) -> Log {
        self.log.take().unwrap_or_default()
    }

    /// What the second `now` brings to nodes and pods.
    pub(in crate::simulate) fn pass(&mut self, now: u32, ground: &Ground) -> Change {
        let mut change = Change::default();
        let mut all_lost = 0;
        self.waited = 0;
        for (at, (lane, world)) in self.list.iter_mut().zip(self.worlds).enumerate() {
            let before = lane.pool.refusals().len();
            let moved = lane.pass(now, &self.skies[at], &world.terms);
            let Moved { is_ready, is_other, told, lost, waited } = moved;
            change.is_ready |= is_ready;
            change.has_moved |= is_ready || is_other;
            let refused = super::pool::count(lane.pool.refusals().len() - before);
            self.sums.lanes[at].refusals += refused;
            self.sums.interrupted += told;
            self.waited += waited;
            all_lost += lost;
            if let Some(log) = &mut self.log {
                let told = (0 < told).then_some(Event::Told { nodes: told });
                let lost = (0 < lost).then_some(Event::Lost { pods: lost });
                let refused = (0 < refused).then_some(Event::Refused);
                log.events.extend([told, lost, refused].into_iter().flatten().map(|it| (now, it)));
            }
        }
        self.sums.waited += self.waited;
        self.sums.lost += all_lost;
        self.sums.missed += all_lost.min(self.need.saturating_sub(self.ready()));
        change.crashed = self.crash(now, ground);
        change.has_moved |= change.crashed.is_some();
        debug_assert!(
            self.is_whole(),
            "a pod stands on a node that is gone, or a node on too many"
        );
        change
    }

    /// One of the Ready pods may crash.
    fn crash(&mut self, now: u32, ground: &Ground) -> Option<u32> {
        if ground.crashes_per_day <= 0.0 {
            return None;
        }
        let often = ground.crashes_per_day / 86_400.0 * f64::from(self.ready());
        let drawn = lot(self.seed, Tag::Crashes, self.which, u64::from(now));
        if often <= drawn {
            return None;
        }
        let victim = Span::of(drawn / often * f64::from(self.ready())).steps();
        let mut victim = victim.min(self.ready().saturating_sub(1));
        for (lane, world) in self.list.iter_mut().zip(self.worlds) {
            match victim.checked_sub(lane.ready()) {
                Some(rest) => victim = rest,
                None => return lane.crash(victim as usize, now, &world.terms),
            }
        }
        None
    }

    /// The second is over: what it cost, and what it looked like.
    pub(in crate::simulate) fn second(&mut self, now: u32) {
        let lanes = self.list.iter().zip(self.worlds).zip(&self.skies);
        let looks = lanes.map(|((lane, world), sky)| {
            let is_open = world.kind() == Kind::OnDemand || 0 < sky.all(now);
            (lane.ready(), is_open && !lane.pool.is_full())
        });
        self.strips.second(now, looks);
        for ((sum, lane), world) in self.sums.lanes.iter_mut().zip(&self.list).zip(self.worlds) {
            let (nodes, fit) = (f64::from(lane.pool.count()), f64::from(world.terms.fit));
            let price = sum.price(now, world);
            sum.nodes += nodes;
            sum.paid += price * nodes;
            sum.ready += f64::from(lane.ready());
            sum.room += f64::from(lane.room.wanted);
            sum.held += price * f64::from(lane.room.placed()) / fit;
        }
        self.sums.short += u32::from(self.ready() < self.need);
        if self.log.is_some() {
            let tick = Tick {
                need: self.need,
                desired: self.pair(|lane| lane.desired),
                ready: self.pair(Lane::ready),
                doomed: self.sum(|lane| lane.doomed(now)),
                waited: self.waited,
                room: self.pair(|lane| lane.room.placed()),
                nodes: self.pair(|lane| lane.pool.count()),
            };
            self.log.get_or_insert_default().ticks.push(tick);
        }
    }

    /// The warm-up is over: all counts begin anew.
    pub(in crate::simulate) fn reset(&mut self) {
        self.sums = Sums::new(self.list.len());
    }

    /// So many replicas are asked for, lane by lane, where so many are needed.
    pub(in crate::simulate) fn scale(&mut self, wants: &[u32], need: u32, now: u32) {
        let before = self.desired();
        for (lane, want) in self.list.iter_mut().zip(wants) {
            lane.desired = *want;
        }
        if 0 < self.sum(|lane| lane.doomed(now)) {
            self.sums.surges += self.desired().saturating_sub(before.max(need));
        }
        self.need = need;
    }

    /// Room is kept for so many replicas, lane by lane.
    pub(in crate::simulate) fn keep(&mut self, room: &[u32]) {
        for (lane, room) in self.list.iter_mut().zip(room) {
            lane.room.wanted = *room;
        }
    }

    /// All of them on the lane of those who know of none.
    pub(in crate::simulate) fn on_one(&self, want: u32) -> Vec<u32> {
        let first = plain(self.worlds);
        (0..self.list.len()).map(|at| if at == first { want } else { 0 }).collect()
    }

    /// What is believed of its pools, if anybody believes anything.
    pub(in crate::simulate) fn believe(
        &mut self,
        now: u32,
        of: impl Fn(&str) -> Option<PoolState>,
    ) {
        for (at, (lane, world)) in self.list.iter().zip(self.worlds).enumerate() {
            let Some(state) = of(&world.pool.name) else { continue };
            if world.kind() == Kind::OnDemand || self.beliefs[at] == Some(state) {
                continue;
            }
            self.beliefs[at] = Some(state);
            let waited = lane.waits_since().map(|since| now - since);
            let boot = lane.pool.slowest();
            if let Some(log) = &mut self.log {
                log.events.push((now, Event::Believed { state, waited, boot }));
            }
        }
    }

    fn sum(&self, of: impl Fn(&Lane) -> u32) -> u32 {
        self.list.iter().map(of).sum()
    }

    fn pair(&self, of: impl Fn(&Lane) -> u32) -> [u32; 2] {
        let mut pair = [0; 2];
        for (lane, world) in self.list.iter().zip(self.worlds) {
            pair[world.kind() as usize] += of(lane);
        }
        pair
    }

    /// Replicas asked for, of all lanes.
    pub(in crate::simulate) fn desired(&self) -> u32 {
        self.sum(|lane| lane.desired)
    }

    /// Replicas asked for, lane by lane.
    pub(in crate::simulate) fn split(&self) -> Vec<u32> {
        self.list.iter().map(|lane| lane.desired).collect()
    }

    /// Pods that exist.
    pub(in crate::simulate) fn current(&self) -> u32 {
        self.sum(Lane::current)
    }

    pub(in crate::simulate) fn ready(&self) -> u32 {
        self.sum(Lane::ready)
    }

    pub(in crate::simulate) fn ready_since(&self) -> Option<u32> {
        self.list.iter().filter_map(Lane::ready_since).max()
    }

    /// Those that are Ready, the eldest first, and since when.
    pub(in crate::simulate) fn working(&self) -> Vec<(u32, u32)> {
        let mut pods: Vec<_> = self.list.iter().flat_map(Lane::working).collect();
        pods.sort_unstable_by_key(|(id, since)| (*since, *id));
        pods
    }

    /// Lanes and pools, as `watch` would show them.
    pub(in crate::simulate) fn seen(&self, now: u32) -> Seen {
        let wall = |second: u32| time(second.into());
        let each = self.worlds.iter().zip(&self.list);
        let pools = each.map(|(world, lane)| {
            let is_fresh = |said: &&u32| now.saturating_sub(**said) < FRESH;
            let said = lane.pool.refusals();
            let said = said[said.len().saturating_sub(KEPT)..].iter().filter(is_fresh);
            let what: Arc<str> = "InsufficientCapacityError".into();
            let sign = |at: &u32| Sign { at: wall(*at), is_hard: true, what: Arc::clone(&what) };
            let full = || format!("it has {} nodes, as many as it may", lane.pool.count());
            let seen = PoolSeen {
                pool: Arc::clone(&world.pool),
                nodes: lane.pool.open(now),
                newest: lane.pool.newest().map(wall),
                boot: lane.pool.slowest().map(|boot| Duration::from_secs(boot.into())),
                signs: said.map(sign).collect(),
                full: lane.pool.is_full().then(|| full().into()),
                cpu: None,
                lanes: vec![LaneNeed {
                    target: TargetId::object(&"lanes".into(), "", "", &world.pool.name),
                    waiting: lane.waits_since().map(wall),
                    served: lane.ready_since().map(wall),
                    placed: lane.ready_since().map(wall),
                    signs: Vec::new(),
                }],
                recalled: None,
            };
            (Arc::clone(&world.pool.name), seen)
        });
        Seen {
            lanes: self.list.iter().map(|lane| lane.view(now)).collect(),
            kinds: self.worlds.iter().map(LaneWorld::kind).collect(),
            rooms: self.list.iter().map(|lane| lane.room.wanted).collect(),
            footing: self.list.iter().map(|lane| lane.footing(now)).collect(),
            pools: pools.collect(),
        }
    }

    /// Does every pod stand on a node that is there, and no node have more than fit?
    fn is_whole(&self) -> bool {
        self.list.iter().zip(self.worlds).all(|(lane, world)| {
            let fit = world.terms.fit;
            let mut loads = lane.loads().into_iter();
            loads.all(|(node, pods)| lane.pool.node(node).is_some() && pods <= fit)
        })
    }

    /// What it came to, of so many seconds, and what it looked like.
    pub(in crate::simulate) fn close(self, seconds: u32, series: &mut Series) -> NodeScore {
        series.lanes = self.strips.into_series();
        self.sums.score(self.worlds, seconds)
    }
}

/// The lane of those who know of none: the first on demand that has no limit, or else the first that is not on spot, or else the first.
pub(super) fn plain(worlds: &[LaneWorld]) -> usize {
    let is_open = |world: &LaneWorld| world.pool.class == Class::OnDemand && world.limit.is_none();
    let is_kept = |world: &LaneWorld| world.kind() == Kind::OnDemand;
    let first = worlds.iter().position(is_open);
    first.or_else(|| worlds.iter().position(is_kept)).unwrap_or(0)
}
