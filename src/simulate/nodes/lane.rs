//! One lane of a stage: a workload whose pods run on the nodes of one pool. What a `ReplicaSet`, the scheduler and the kubelet do to it,
//! second by second. Used by `lanes`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::chance::{Chance, Tag};
use super::super::penstock::{LaneView, time};
use super::LaneWorld;
use super::pool::{Node, Pool, Seeds, count};
use super::room::{Room, Stand, stands};
use super::terms::{Kind, Terms};
use super::weather::Weather;
use crate::decide::Places;

/// A pod.
#[derive(Debug, Clone, Copy)]
struct Pod {
    id: u32,
    made: u32,
    node: Option<u32>,
    /// Since when it has had a node, or has been starting again there.
    since: u32,
    /// Second in which it becomes Ready, once it has a node.
    ready_at: u32,
    is_ready: bool,
}

/// A workload and its pool.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) pool: Pool,
    kind: Kind,
    pods: Vec<Pod>,
    pub(super) desired: u32,
    /// Placeholders, for who keeps room.
    pub(super) room: Room,
    next: u32,
    /// Lanes of its stage, which number their pods apart.
    step: u32,
    seed: u64,
}

/// Which lane of its stage it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// From 0 on.
    pub(super) index: u32,
    /// The same among those of its kind.
    pub(super) rank: u32,
    /// How many lanes the stage has.
    pub(super) of: u32,
}

/// What a second brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    /// Did any pod become Ready, or leave that was?
    pub(super) is_ready: bool,
    /// Did anything else move that can be seen from outside?
    pub(super) is_other: bool,
    /// Nodes that were told that they will go.
    pub(super) told: u32,
    /// Ready pods that went with their node.
    pub(super) lost: u32,
    /// New pods that found no place at once.
    pub(super) waited: u32,
}

impl Lane {
    /// A lane with so many pods, all Ready, as far as its pool gives nodes for them.
    pub(super) fn new(
        world: &LaneWorld,
        seat: Seat,
        desired: u32,
        weather: &Weather,
        seed: u64,
    ) -> Self {
        let (kind, terms) = (world.kind(), &world.terms);
        let keep = if kind == Kind::Spot { terms.spare } else { 0 };
        let nodes = desired.div_ceil(terms.fit) + keep;
        let of = |number: u32| seed ^ u64::from(number) << 56;
        let seeds = Seeds { boots: of(seat.index), fates: of(seat.rank) };
        let most = world.limit.unwrap_or(u32::MAX);
        let mut lane = Self {
            pool: Pool::new(kind, nodes, most, weather, seeds),
            kind,
            pods: Vec::new(),
            desired,
            room: Room::default(),
            next: seat.index,
            step: seat.of,
            seed,
        };
        lane.make(0);
        lane.place(0, terms);
        for pod in lane.pods.iter_mut().filter(|pod| pod.node.is_some()) {
            (pod.ready_at, pod.is_ready) = (0, true);
        }
        lane
    }

    /// What the second `now` brings.
    pub(super) fn pass(&mut self, now: u32, weather: &Weather, terms: &Terms) -> Change {
        let mut change = Change::default();
        let nodes = self.pool.pass(now, weather, terms);
        (change.is_other, change.told) = (nodes.is_other, nodes.told);
        if !nodes.gone.is_empty() {
            let is_gone = |pod: &Pod| pod.node.is_some_and(|node| nodes.gone.contains(&node));
            let lost = self.pods.iter().filter(|pod| is_gone(pod) && pod.is_ready).count();
            change.lost = count(lost);
            change.is_ready |= 0 < lost;
            self.pods.retain(|pod| !is_gone(pod));
            nodes.gone.iter().for_each(|node| self.room.leave(*node));
        }
        for pod in &mut self.pods {
            if !pod.is_ready && pod.ready_at <= now {
                pod.is_ready = true;
                change.is_ready = true;
            }
        }
        change.is_ready |= self.shrink();
        change.is_other |= self.room.shrink();
        if terms.repack != 0 && now.is_multiple_of(terms.repack) {
            change.is_ready |= self.repack(now, terms);
        }
        change.is_other |= self.make(now);
        change.is_other |= self.place(now, terms);
        let waits = |pod: &&Pod| pod.node.is_none() && pod.made == now;
        change.waited = count(self.pods.iter().filter(waits).count());
        let loads = self.loads();
        let on = |node: u32| loads.get(&node).copied().unwrap_or(0);
        let lacking = self.lacking(now, terms, on);
        let said = self.pool.refusals().len();
        self.pool.ask(lacking, now, weather, terms);
        change.is_other |= said != self.pool.refusals().len();
        let keep = self.spare(terms);
        self.pool.tidy(now, keep, terms, |node| (on(node), self.room.on(node)));
        change
    }

    /// Pods on each node that has any, placeholders among them.
    pub(super) fn loads(&self) -> BTreeMap<u32, u32> {
        let mut loads: BTreeMap<u32, u32> = self.room.places().collect();
        for node in self.stands().flatten() {
            *loads.entry(node).or_default() += 1;
        }
        loads
    }

    /// Free places that are kept.
    fn spare(&self, terms: &Terms) -> u32 {
        if self.kind == Kind::Spot { terms.spare * terms.fit } else { 0 }
    }

    /// The `ReplicaSet` makes what is lacking.
    fn make(&mut self, now: u32) -> bool {
        let before = self.pods.len();
        while self.pods.len() < self.desired as usize {
            let id = self.next;
            // Lanes of one stage number their pods apart, and in small numbers, as `observe` numbers consumers.
            self.next += self.step;
            let (node, ready_at, is_ready) = (None, u32::MAX, false);
            self.pods.push(Pod { id, made: now, node, since: now, ready_at, is_ready });
        }
        before != self.pods.len()
    }

    /// And removes what is too many, in the order of the real one: without a node, not Ready, with the most pods of its own on the same
    /// node, the youngest. Says whether a Ready one left.
    fn shrink(&mut self) -> bool {
        let mut is_ready = false;
        while (self.desired as usize) < self.pods.len() {
            let company = |pod: &Pod| self.pods.iter().filter(|it| it.node == pod.node).count();
            let rank = |pod: &Pod| {
                let youth = if pod.is_ready { pod.ready_at } else { pod.made };
                (pod.node.is_none(), !pod.is_ready, company(pod), youth, pod.id)
            };
            let first = self.pods.iter().enumerate().max_by_key(|(_, pod)| rank(pod));
            let Some(at) = first.map(|(at, _)| at) else { break };
            is_ready |= self.pods.remove(at).is_ready;
        }
        is_ready
    }

    /// Who makes nodes moves the pods of one to others that have room, and lets it go: one node at a time, and none while pods wait or start. Says
    /// whether it did.
    fn repack(&mut self, now: u32, terms: &Terms) -> bool {
        if self.pods.iter().any(|pod| !pod.is_ready) || self.current() != self.desired {
            return false;
        }
        let loads = self.loads();
        let on = |node: &Node| loads.get(&node.id).copied().unwrap_or(0);
        let open = || self.pool.nodes().iter().filter(|node| node.is_open(now));
        let used = open().filter(|node| 0 < on(node));
        let Some(least) = used.min_by_key(|node| (on(node), std::cmp::Reverse(node.id))) else {
            return false;
        };
        let (id, moved) = (least.id, on(least));
        // Who has none is let go of by itself.
        let others = open().filter(|node| node.id != id && 0 < on(node));
        let free: u32 = others.map(|node| terms.fit.saturating_sub(on(node))).sum();
        if free < moved + self.spare(terms) {
            return false;
        }
        self.pods.retain(|pod| pod.node != Some(id));
        self.room.leave(id);
        self.pool.release(id);
        true
    }

    /// The scheduler gives pods a node: the one with the fewest, as it does by default, and where none has a free place one that a placeholder
    /// leaves. Placeholders have what is left.
    fn place(&mut self, now: u32, terms: &Terms) -> bool {
        if self.pods.iter().all(|pod| pod.node.is_some()) && self.room.waiting() == 0 {
            return false;
        }
        let loads = self.loads();
        let open = self.pool.nodes().iter().filter(|node| node.is_open(now));
        let on = |node: u32| loads.get(&node).copied().unwrap_or(0);
        let mut free: Vec<(u32, u32)> = open.map(|node| (on(node.id), node.id)).collect();
        let seed = self.seed;
        let mut has_placed = false;
        for pod in self.pods.iter_mut().filter(|pod| pod.node.is_none()) {
            let node = match free.iter_mut().min() {
                Some((on, node)) if *on < terms.fit => {
                    *on += 1;
                    *node
                }
                _ => {
                    let is_open = |node: u32| free.iter().any(|(_, open)| *open == node);
                    let Some(node) = self.room.give_way(is_open) else { break };
                    node
                }
            };
            (pod.node, pod.since) = (Some(node), now);
            pod.ready_at = now + start(seed, pod.id, now, terms);
            has_placed = true;
        }
        self.room.place(&mut free, terms.fit) || has_placed
    }

    /// The container of a Ready pod crashes, and starts again in the same pod. Which one it was.
    pub(super) fn crash(&mut self, which: usize, now: u32, terms: &Terms) -> Option<u32> {
        let pod = self.pods.iter_mut().filter(|pod| pod.is_ready).nth(which)?;
        (pod.is_ready, pod.since) = (false, now);
        pod.ready_at = now + start(self.seed, pod.id, now, terms);
        Some(pod.id)
    }

    /// Places for which no node is on its way.
    fn lacking(&self, now: u32, terms: &Terms, on: impl Fn(u32) -> u32) -> u32 {
        let waiting = self.waiting() + self.room.waiting();
        let (mut free, mut coming) = (0, 0);
        for node in self.pool.nodes().iter().filter(|node| !node.is_doomed(now)) {
            if node.is_open(now) {
                free += terms.fit.saturating_sub(on(node.id));
            } else {
                coming += terms.fit;
            }
        }
        (waiting + self.spare(terms)).saturating_sub(free + coming)
    }

    /// Those that are Ready, and since when.
    pub(super) fn working(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pods.iter().filter(|pod| pod.is_ready).map(|pod| (pod.id, pod.ready_at))
    }

    /// Pods that have no node.
    pub(super) fn waiting(&self) -> u32 {
        count(self.pods.iter().filter(|pod| pod.node.is_none()).count())
    }

    /// Who stands on which node.
    pub(super) fn footing(&self, now: u32) -> Vec<Stand> {
        let is_going = |node| self.pool.node(node).is_some_and(|node| node.is_doomed(now));
        stands(self.stands().flatten(), &self.room, is_going)
    }

    /// Every pod, with its node.
    pub(super) fn stands(&self) -> impl Iterator<Item = Option<u32>> {
        self.pods.iter().map(|pod| pod.node)
    }

    /// Pods that exist.
    pub(super) fn current(&self) -> u32 {
        count(self.pods.len())
    }

    pub(super) fn ready(&self) -> u32 {
        count(self.working().count())
    }

    pub(super) fn ready_since(&self) -> Option<u32> {
        self.working().map(|(_, since)| since).max()
    }

    /// The end of the node of each Ready pod that stands on one that is about to go.
    fn ends(&self, now: u32) -> impl Iterator<Item = u32> {
        self.pods.iter().filter(|pod| pod.is_ready).filter_map(move |pod| {
            let node = self.pool.node(pod.node?)?;
            node.is_doomed(now).then(|| node.goes_at())
        })
    }

    /// Ready pods on nodes that are about to go.
    pub(super) fn doomed(&self, now: u32) -> u32 {
        count(self.ends(now).count())
    }

    /// Since when the oldest pod without a node has waited for one.
    pub(super) fn waits_since(&self) -> Option<u32> {
        self.pods.iter().filter(|pod| pod.node.is_none()).map(|pod| pod.made).min()
    }

    /// Since when each pod that has a node has been starting there.
    fn starting(&self) -> impl Iterator<Item = u32> {
        let starting = |pod: &&Pod| pod.node.is_some() && !pod.is_ready;
        self.pods.iter().filter(starting).map(|pod| pod.since)
    }

    /// What everyone can see of it.
    pub(super) fn view(&self, now: u32) -> LaneView {
        let wall = |second: u32| -> Timestamp { time(second.into()) };
        LaneView {
            desired: self.desired,
            current: self.current(),
            ready: self.ready(),
            ready_since: self.ready_since().map(f64::from),
            places: Places {
                doomed: self.doomed(now),
                deadline: self.ends(now).min().map(wall),
                unplaced: self.waiting(),
                unplaced_since: self.waits_since().map(wall),
                unready: self.starting().map(wall).collect(),
                interrupted: 0,
            },
        }
    }
}

/// Seconds from a place on a node to a Ready pod: by its number and the time, so that it does not depend on what others did.
fn start(seed: u64, pod: u32, now: u32, terms: &Terms) -> u32 {
    let which = (u64::from(pod) << 32) | u64::from(now);
    terms.start.draw(Chance::new(seed, Tag::Starts, which).normal()).max(1)
}
