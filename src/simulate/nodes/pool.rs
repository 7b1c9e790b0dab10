//! A pool of nodes and whoever makes them: a node is asked for when pods find none, comes after a while or is refused, is taken away after a
//! notice, and is removed when it has been empty for a while. Paid for from the second it is made to the second it is gone. Used by `lane`.

use super::super::chance::{Chance, Tag, lot};
use super::super::span::Span;
use super::terms::{Kind, Terms};
use super::weather::Weather;

/// How many nodes' times are kept, as `watch` keeps them.
const BOOTS: usize = 20;

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) id: u32,
    zone: usize,
    made: u32,
    ready_at: u32,
    is_ready: bool,
    /// When it is told that it will go, if that is settled, and when it is gone.
    told_at: u32,
    goes_at: u32,
    /// Since when it has had no pod.
    empty_since: Option<u32>,
    /// Do placeholders alone stand on it?
    is_spare: bool,
}

impl Node {
    /// Can a pod be put on it?
    pub(super) fn is_open(&self, now: u32) -> bool {
        self.is_ready && !self.is_doomed(now)
    }

    /// Does everyone know that it is about to go?
    pub(super) fn is_doomed(&self, now: u32) -> bool {
        self.told_at <= now
    }

    /// When it is gone, for who has been told.
    pub(super) fn goes_at(&self) -> u32 {
        self.goes_at
    }
}

/// What a second brought.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Nodes that are gone.
    pub(super) gone: Vec<u32>,
    /// Did a node become Ready, or was one told that it will go?
    pub(super) is_other: bool,
    /// Nodes that were told now.
    pub(super) told: u32,
}

/// A pool.
#[derive(Debug)]
pub(super) struct Pool {
    kind: Kind,
    nodes: Vec<Node>,
    next: u32,
    /// How long those took that came, by node.
    boots: Vec<(u32, u32)>,
    /// 95 of 100 of the nodes it had last took no longer.
    slowest: Option<u32>,
    newest: Option<u32>,
    /// No node is asked for before this second: capacity was refused a while ago.
    asks_at: u32,
    /// When the answer to a request that cannot be met comes.
    answer_at: Option<u32>,
    /// When it was said that there is no capacity.
    refusals: Vec<u32>,
    /// Most nodes there may be.
    most: u32,
    seeds: Seeds,
}

/// Where its chance comes from: how long nodes take, and which are taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeds {
    pub(super) boots: u64,
    pub(super) fates: u64,
}

impl Pool {
    /// A pool with so many nodes that are Ready and stand where there is room.
    pub(super) fn new(kind: Kind, count: u32, most: u32, weather: &Weather, seeds: Seeds) -> Self {
        let mut pool = Self {
            kind,
            nodes: Vec::new(),
            next: 0,
            boots: Vec::new(),
            slowest: None,
            newest: None,
            asks_at: 0,
            answer_at: None,
            refusals: Vec::new(),
            most,
            seeds,
        };
        for _ in 0..count.min(most) {
            let Some(zone) = pool.zone(0, weather) else { break };
            pool.put(zone, 0, 0);
        }
        for node in &mut pool.nodes {
            node.is_ready = true;
        }
        pool
    }

    fn put(&mut self, zone: usize, now: u32, ready_at: u32) {
        let id = self.next;
        self.next += 1;
        let (told_at, goes_at) = (u32::MAX, u32::MAX);
        let node = Node {
            id,
            zone,
            made: now,
            ready_at,
            is_ready: false,
            told_at,
            goes_at,
            empty_since: None,
            is_spare: false,
        };
        self.nodes.push(node);
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Nodes that exist.
    pub(super) fn count(&self) -> u32 {
        count(self.nodes.len())
    }

    /// Are there as many as there may be?
    pub(super) fn is_full(&self) -> bool {
        self.most <= self.count()
    }

    /// Nodes that are Ready and stay.
    pub(super) fn open(&self, now: u32) -> u32 {
        count(self.nodes.iter().filter(|node| node.is_open(now)).count())
    }

    pub(super) fn newest(&self) -> Option<u32> {
        self.newest
    }

    pub(super) fn slowest(&self) -> Option<u32> {
        self.slowest
    }

    /// When it was said that there is no capacity.
    pub(super) fn refusals(&self) -> &[u32] {
        &self.refusals
    }

    /// Nodes become Ready, are told that they will go, and go.
    pub(super) fn pass(&mut self, now: u32, weather: &Weather, terms: &Terms) -> Change {
        let mut change = Change::default();
        if self.kind == Kind::Spot {
            self.lose(now, weather, terms);
        }
        for node in &mut self.nodes {
            if node.told_at == now {
                change.told += 1;
                change.is_other = true;
                if !node.is_ready {
                    node.goes_at = now;
                }
            }
            if !node.is_ready && node.ready_at <= now && now < node.told_at {
                node.is_ready = true;
                self.boots.push((node.id, now - node.made));
                self.newest = Some(now);
                change.is_other = true;
            }
        }
        change.gone = self.nodes.iter().filter(|it| it.goes_at <= now).map(|it| it.id).collect();
        if !change.gone.is_empty() {
            self.nodes.retain(|node| now < node.goes_at);
            change.is_other = true;
        }
        if change.is_other {
            self.learn();
        }
        change
    }

    /// Zones that no longer give what stands in them take it back, one node after the other.
    fn lose(&mut self, now: u32, weather: &Weather, terms: &Terms) {
        // Which one is drawn by its number, the same for every policy that has it.
        let seed = self.seeds.fates;
        let draw = |node: &Node| lot(seed, Tag::Interruptions, 0, node.id.into());
        if weather.strikes(now) {
            let is_used = |node: &&mut Node| {
                let is_empty = node.empty_since.is_some() || node.is_spare;
                node.is_ready && node.told_at == u32::MAX && !is_empty
            };
            let struck = self.nodes.iter_mut().filter(is_used);
            if let Some(node) = struck.min_by(|a, b| draw(a).total_cmp(&draw(b))) {
                (node.told_at, node.goes_at) = (now, now + terms.notice);
            }
        }
        for zone in 0..weather.zones() {
            let stays = |node: &Node| node.zone == zone && node.told_at == u32::MAX;
            let room = weather.room(zone, now) as usize;
            let mut staying = self.nodes.iter().filter(|node| stays(node)).count();
            while room < staying {
                let next = self.nodes.iter().enumerate().filter(|(_, node)| stays(node));
                let next = next.min_by(|(_, a), (_, b)| draw(a).total_cmp(&draw(b)));
                let Some(at) = next.map(|(at, _)| at) else { break };
                let id = self.nodes[at].id;
                let wait = terms.joint * lot(seed, Tag::Interruptions, 1, id.into());
                let told_at = now + Span::of(wait).steps();
                self.nodes[at].told_at = told_at;
                self.nodes[at].goes_at = told_at + terms.notice;
                staying -= 1;
            }
        }
    }

    /// How long nodes take, as `watch` reckons it: of those that stand, and of the latest that are gone, up to so many in all.
    fn learn(&mut self) {
        let mut surplus = self.boots.len().saturating_sub(BOOTS);
        let stands = |id: u32| self.nodes.iter().any(|node| node.id == id);
        // The oldest come first.
        self.boots.retain(|(id, _)| {
            let is_kept = surplus == 0 || stands(*id);
            surplus -= usize::from(!is_kept);
            is_kept
        });
        let mut boots: Vec<u32> = self.boots.iter().map(|(_, took)| *took).collect();
        boots.sort_unstable();
        let at = (boots.len() * 95).div_ceil(100).saturating_sub(1);
        self.slowest = boots.get(at).copied().or(self.slowest);
    }

    /// So many pods lack a place for which no node is on its way: nodes are asked for. `lacking` counts places, as does `free`.
    pub(super) fn ask(&mut self, lacking: u32, now: u32, weather: &Weather, terms: &Terms) {
        if self.answer_at == Some(now) {
            self.answer_at = None;
            self.asks_at = now + terms.retry;
            if terms.is_told {
                self.refusals.push(now);
            }
        }
        if lacking == 0 || now < self.asks_at || self.answer_at.is_some() {
            return;
        }
        let may_come = self.most.saturating_sub(self.count());
        for _ in 0..lacking.div_ceil(terms.fit).min(may_come) {
            let Some(zone) = self.zone(now, weather) else {
                self.answer_at = Some(now + terms.answer);
                return;
            };
            let boot = self.boot(now, terms);
            self.put(zone, now, now + boot);
        }
    }

    /// Of the zones with room, the one with the fewest nodes: a spread over zones, as far as there is room.
    fn zone(&self, now: u32, weather: &Weather) -> Option<usize> {
        if self.kind == Kind::OnDemand {
            return Some(0);
        }
        let stand = |zone: usize| count(self.nodes.iter().filter(|it| it.zone == zone).count());
        let zones = (0..weather.zones()).filter(|zone| stand(*zone) < weather.room(*zone, now));
        zones.min_by_key(|zone| (stand(*zone), *zone))
    }

    /// How long a node takes: by its number and the time, so that it does not depend on what others did.
    fn boot(&self, now: u32, terms: &Terms) -> u32 {
        let which = (u64::from(self.next) << 32) | u64::from(now);
        let mut chance = Chance::new(self.seeds.boots, Tag::Boots, which);
        terms.boot.draw(chance.normal()).max(1)
    }

    /// A node that is let go at once, since its pods fit on others.
    pub(super) fn release(&mut self, id: u32) {
        self.nodes.retain(|node| node.id != id);
    }

    /// Empty nodes go after a while, but so many free places are kept. `pods` says how many pods stand on a node, and how many of these are
    /// placeholders.
    pub(super) fn tidy(
        &mut self,
        now: u32,
        keep: u32,
        terms: &Terms,
        pods: impl Fn(u32) -> (u32, u32),
    ) {
        let mut free = 0;
        for node in &mut self.nodes {
            let (on, room) = pods(node.id);
            node.is_spare = on != 0 && on == room;
            node.empty_since = match (on, node.is_ready) {
                (0, true) => node.empty_since.or(Some(now)),
                _ => None,
            };
            if node.is_open(now) {
                free += terms.fit.saturating_sub(on);
            }
        }
        let after = terms.empty_after;
        self.nodes.retain(|node| {
            let is_due = node.empty_since.is_some_and(|since| since + after <= now);
            let goes = is_due && (node.is_doomed(now) || keep + terms.fit <= free);
            if goes && !node.is_doomed(now) {
                free -= terms.fit;
            }
            !goes
        });
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
