//! Karpenter's NodePools, which make the nodes of pools: whether each makes any, and what its limits leave. What they leave binds a pool as its
//! owner's limits do, before a pod waits. Where they are not served, or may not be read, nothing is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::super::seen::Need;
use super::super::stores::{Name, Stores};
use super::requirements::{Requirement, allow};
use super::wire::WireCondition;
use super::{Node, Nodes, PoolNote, PoolSight, Unpriced};
use crate::crd::budget::Limits as Limited;
use crate::crd::pool::ProviderKind;
use crate::crd::quantity::Quantity;
use crate::decide::PoolCpu;

/// How the store is called.
pub(in crate::watch) const NODE_POOLS: &str = "node pools";
/// The label that names the NodePool of a node.
const LABEL: &str = "karpenter.sh/nodepool";
/// What `Ready` sums up: who of them says no tells more.
const PARTS: [&str; 2] = ["ValidationSucceeded", "NodeClassReady"];
/// So long after it is Ready a node has the pods that waited for it: the scheduler tries them again after up to 10 s.
const SETTLES: Duration = Duration::from_secs(10);
/// What of its words is told.
const WORDS: usize = 160;

/// A NodePool as it is asked of the API server: everything that is not named here is dropped while it is parsed.
pub(in crate::watch) type WireNodePool = Object<WireSpec, WireStatus>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::watch) struct WireSpec {
    #[serde(default)]
    limits: BTreeMap<String, Quantity>,
    #[serde(default)]
    template: WireTemplate,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireTemplate {
    #[serde(default)]
    metadata: WireLabels,
    #[serde(default)]
    spec: WireRequirements,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireLabels {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireRequirements {
    #[serde(default)]
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::watch) struct WireStatus {
    #[serde(default)]
    resources: BTreeMap<String, Quantity>,
    #[serde(default)]
    conditions: Vec<WireCondition>,
}

/// CPUs, bytes and nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Amounts {
    cores: f64,
    bytes: f64,
    nodes: f64,
}

/// What there may be of each; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Limits {
    cores: Option<f64>,
    bytes: Option<f64>,
    nodes: Option<f64>,
}

/// A NodePool, cut down.
#[derive(Debug, Default, PartialEq)]
pub(super) struct NodePool {
    limits: Limits,
    /// What all its nodes have, by its own word, which is late by some seconds, and by the nodes that are there.
    told: Amounts,
    seen: Amounts,
    /// CPUs of those of these nodes that hardly had time to take a pod.
    young: f64,
    /// Why it makes no nodes.
    refuses: Option<Arc<str>>,
    /// The labels of its template, which its nodes have, too, and what it requires of them.
    labels: BTreeMap<String, String>,
    requirements: Vec<Requirement>,
}

/// All NodePools.
#[derive(Debug, Default)]
pub(in crate::watch) struct Makers {
    each: BTreeMap<Arc<str>, NodePool>,
    insight: Insight,
    /// Is the watch of them on its way?
    pub(in crate::watch) are_followed: bool,
}

/// Can NodePools be read?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::watch) enum Insight {
    /// Nobody asked yet, or the answer has not come.
    #[default]
    Awaited,
    /// They are not served, or may not be read.
    Refused,
    /// Yes.
    Granted,
}

/// What the pods of lanes that have no node ask for, and what one of them does: in CPUs and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::watch) struct Owed {
    pub(in crate::watch) cores: f64,
    pub(in crate::watch) bytes: f64,
    /// The smallest.
    pub(in crate::watch) one: Option<(f64, f64)>,
}

impl Owed {
    /// Adds what a lane asks for: so many of this size.
    pub(in crate::watch) fn add(&mut self, count: f64, (cores, bytes): (f64, f64)) {
        self.cores += count * cores;
        self.bytes += count * bytes;
        let least = |of: (f64, f64)| (of.0.min(cores), of.1.min(bytes));
        self.one = Some(self.one.map_or((cores, bytes), least));
    }

    pub(in crate::watch) fn join(&mut self, other: &Self) {
        self.cores += other.cores;
        self.bytes += other.bytes;
        let both = self.one.zip(other.one).map(|(a, b)| (a.0.min(b.0), a.1.min(b.1)));
        self.one = both.or(self.one).or(other.one);
    }
}

impl NodePool {
    fn read(wire: &WireNodePool) -> Self {
        let amount = |of: &BTreeMap<String, Quantity>, key| of.get(key).and_then(Quantity::read);
        let limit = |key| amount(&wire.spec.limits, key);
        let status = wire.status.as_ref();
        let has = |key| status.and_then(|status| amount(&status.resources, key)).unwrap_or(0.0);
        Self {
            limits: Limits { cores: limit("cpu"), bytes: limit("memory"), nodes: limit("nodes") },
            told: Amounts { cores: has("cpu"), bytes: has("memory"), nodes: has("nodes") },
            seen: Amounts::default(),
            young: 0.0,
            refuses: refusal(wire),
            labels: wire.spec.template.metadata.labels.clone(),
            requirements: wire.spec.template.spec.requirements.clone(),
        }
    }

    /// Could it make a node that belongs to the pool?
    fn could_make(&self, note: &PoolNote) -> bool {
        let allows = |key: &str, value: &str| allow(&self.labels, &self.requirements, key, value);
        let zone = crate::crd::pool::ZONE_LABEL;
        let zones = &note.spec.zones;
        note.spec.node_selector.iter().all(|(key, value)| allows(key, value))
            && (zones.is_empty() || zones.iter().any(|value| allows(zone, value)))
    }

    /// CPUs that its nodes may yet get; `None` where nothing says how many. What is there and not told of yet counts, and so does what is told of and
    /// not there yet. `one` is what a pod asks for at the least: where there is memory for fewer pods than there are CPUs, that counts.
    fn left(&self, one: Option<(f64, f64)>) -> (Option<f64>, Option<&'static str>) {
        if self.refuses.is_some() {
            return (Some(0.0), None);
        }
        let rest = |limit: Option<f64>, of: fn(&Amounts) -> f64| {
            limit.map(|limit| (limit - of(&self.told).max(of(&self.seen))).max(0.0))
        };
        let nodes = rest(self.limits.nodes, |it| it.nodes);
        if nodes.is_some_and(|nodes| nodes < 1.0) {
            return (Some(0.0), Some("nodes"));
        }
        let cores = rest(self.limits.cores, |it| it.cores).map(|cores| (cores, "cpu"));
        let bytes = rest(self.limits.bytes, |it| it.bytes).and_then(|bytes| match one {
            Some((cores, each)) if 0.0 < each => Some((bytes / each * cores, "memory")),
            _ => (bytes <= 0.0).then_some((0.0, "memory")),
        });
        let least = [cores, bytes].into_iter().flatten().min_by(|a, b| a.0.total_cmp(&b.0));
        (least.map(|(left, _)| left), least.map(|(_, of)| of))
    }

    /// CPUs of nodes that it tells of and that are not there yet, or not for long.
    fn coming(&self) -> f64 {
        (self.told.cores - self.seen.cores).max(0.0) + self.young
    }

    /// Why it makes no more nodes, in words that stay as long as that does.
    fn words(&self, name: &str, of: Option<&str>) -> String {
        if let Some(refuses) = &self.refuses {
            return format!("NodePool {name} {refuses}");
        }
        let bytes = self.limits.bytes.map(|bytes| format!("{:.0} GiB", bytes / super::wire::GIB));
        let limit = match of {
            Some("nodes") => self.limits.nodes.map(|nodes| nodes.to_string()),
            Some("memory") => bytes,
            _ => self.limits.cores.map(|cores| cores.to_string()),
        };
        let (of, limit) = (of.unwrap_or("cpu"), limit.unwrap_or_default());
        format!("NodePool {name} is at its limits: its limits.{of} is {limit}")
    }
}

/// Why it makes no nodes, as it says itself. That it does not know yet says nothing.
fn refusal(wire: &WireNodePool) -> Option<Arc<str>> {
    if wire.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".into());
    }
    let conditions = &wire.status.as_ref()?.conditions;
    let denies = |kind: &str| conditions.iter().find(|it| it.kind == kind && it.status == "False");
    let (ready, part) = (denies("Ready"), PARTS.iter().find_map(|kind| denies(kind)));
    // The part that fails may be one that `Ready` does not know of yet.
    let class = denies("NodeClassReady");
    let told = ready.and(part).or(ready).or(class)?;
    let reason = if told.reason.is_empty() { &told.kind } else { &told.reason };
    let message = told.message.trim();
    let colon = if message.is_empty() { "" } else { ", " };
    let message = &message[..message.floor_char_boundary(WORDS)];
    Some(format!("is not Ready: {reason}{colon}{message}").into())
}

impl Nodes {
    /// Takes a NodePool in; true when something moved that counts.
    fn put_node_pool(&mut self, name: &Arc<str>, wire: &WireNodePool) -> bool {
        let old = self.makers.each.remove(name);
        let (seen, young) = old.as_ref().map(|old| (old.seen, old.young)).unwrap_or_default();
        let new = NodePool { seen, young, ..NodePool::read(wire) };
        let has_moved = old.as_ref() != Some(&new);
        self.makers.each.insert(Arc::clone(name), new);
        self.has_moved |= has_moved;
        has_moved
    }

    /// Does it say how large a pool may become, whoever it is?
    pub(in crate::watch) fn has_limits(&self, pool: &str) -> bool {
        let is_bounded = |note: &PoolNote| note.spec.limits.is_some() || !note.makers.is_empty();
        self.pools.get(pool).is_some_and(is_bounded)
    }

    /// Is there a pool whose nodes Karpenter makes? Only then NodePools are asked for.
    pub(in crate::watch) fn are_karpenters(&self) -> bool {
        self.pools.values().any(PoolNote::is_karpenters)
    }

    /// Finds who makes the nodes of each pool, and what nodes each of them has. Where NodePools cannot be read nobody does.
    pub(super) fn find_makers(&mut self, insight: Insight, now: Timestamp) {
        self.makers.insight = insight;
        let reset = |it: &mut NodePool| (it.seen, it.young) = (Amounts::default(), 0.0);
        self.makers.each.values_mut().for_each(reset);
        let mut others = BTreeSet::new();
        for node in self.each.values() {
            let note = node.pool.as_ref().and_then(|pool| self.pools.get_mut(pool));
            match (node.labels.get(LABEL), note) {
                (Some(name), note) => {
                    if let Some(maker) = self.makers.each.get_mut(&**name) {
                        maker.count(node, now);
                    }
                    if let Some(note) = note.filter(|note| !note.made_by.contains(&**name)) {
                        note.made_by.insert(name.as_str().into());
                    }
                }
                (None, Some(note)) => {
                    others.insert(Arc::clone(&note.meant.name));
                }
                (None, None) => {}
            }
        }
        for (pool, note) in &mut self.pools {
            note.makers.clear();
            if insight != Insight::Granted {
                continue;
            }
            let named = note.named_maker();
            let is_one = |name: &str, it: &NodePool| match named {
                Some(named) => named == name,
                None => note.made_by.contains(name) || it.could_make(note),
            };
            // Where some of its nodes are made by others, it may grow without a NodePool.
            let is_karpenters = note.is_karpenters() && (named.is_some() || !others.contains(pool));
            let all = self.makers.each.iter().filter(|(name, it)| is_one(name, it));
            let makers = all.filter(|_| is_karpenters).map(|(name, _)| Arc::clone(name)).collect();
            note.makers = makers;
        }
    }

    /// Says of each pool what those who make its nodes leave of it, where that is known.
    pub(in crate::watch) fn bind(
        &self,
        pools: &mut BTreeMap<Arc<str>, PoolSight>,
        needs: &BTreeMap<Arc<str>, Need>,
    ) {
        for (name, sight) in pools {
            let Some(note) = self.pools.get(name) else { continue };
            sight.unmade = self.unmade(note);
            if !note.makers.is_empty() {
                self.bind_one(note, sight, needs);
            }
        }
    }

    fn bind_one(&self, note: &PoolNote, sight: &mut PoolSight, needs: &BTreeMap<Arc<str>, Need>) {
        // What other pools are owed by one of the same makers is taken from the same.
        let mut owed = Owed::default();
        let shares = |other: &PoolNote| other.makers.iter().any(|it| note.makers.contains(it));
        let sharing = self.pools.iter().filter(|(_, other)| shares(other));
        sharing.filter_map(|(name, _)| needs.get(name)).for_each(|need| owed.join(&need.owed));
        let one = needs.get(&note.meant.name).and_then(|need| need.owed.one);
        let makers = || note.makers.iter().filter_map(|it| Some((it, self.makers.each.get(it)?)));
        let mut left = Some(0.0);
        let mut words = Vec::new();
        for (name, maker) in makers() {
            let (more, of) = maker.left(one);
            left = left.zip(more).map(|(left, more)| left + more);
            words.push(maker.words(name, of));
        }
        let coming: f64 = makers().map(|(_, maker)| maker.coming()).sum();
        // One of them has no limit.
        let Some(left) = left else { return };
        let after = left - (owed.cores - coming).max(0.0);
        let least = one.map_or(0.0, |(cores, _)| cores);
        if after <= 0.0 || after < least {
            sight.seen.full = Some(words.join("; ").into());
        }
        if let Some(cpu) = &mut sight.seen.cpu {
            // Its owner's limit is one as well.
            let own = note.spec.limits.as_ref().and_then(Limited::cpu);
            let own = own.map_or(f64::INFINITY, |most| (most - sight.cores).max(0.0));
            *cpu = PoolCpu { left: left.min(own), coming, owed: owed.cores, ..*cpu };
        }
    }

    /// Why nothing is known of who makes the nodes of a pool, where its owner says that it is a NodePool.
    fn unmade(&self, note: &PoolNote) -> Option<Unpriced> {
        let provider = note.spec.provider.as_ref();
        let provider = provider.filter(|provider| provider.kind == ProviderKind::Karpenter)?;
        if self.makers.insight == Insight::Awaited {
            return None;
        }
        if self.makers.insight == Insight::Refused {
            let message = "NodePools of Karpenter are not served, or may not be read, so that their limits and whether they are Ready are not known; hint: where Karpenter is there, the chart gives the right with --set capacity.nodePools=true";
            return Some(Unpriced { label: "NodePoolsUnread".into(), message: message.into() });
        }
        let name = provider.name.as_deref()?;
        let is_there = self.makers.each.contains_key(name);
        let message = || format!("spec.provider.name: no NodePool is named {name}").into();
        (!is_there).then(|| Unpriced { label: "NodePoolNotFound".into(), message: message() })
    }
}

impl NodePool {
    fn count(&mut self, node: &Node, now: Timestamp) {
        let settled = |since: Timestamp| SETTLES <= now.duration_since(since).unsigned_abs();
        if !node.ready_since.is_some_and(settled) && node.going.is_none() {
            self.young += node.room.cores;
        }
        self.seen.cores += node.whole.cores;
        self.seen.bytes += node.whole.bytes;
        self.seen.nodes += 1.0;
    }
}

impl PoolNote {
    /// The NodePool that its owner names.
    fn named_maker(&self) -> Option<&str> {
        let provider = self.spec.provider.as_ref().and_then(|provider| provider.name.as_deref());
        provider.or_else(|| self.spec.node_selector.get(LABEL).map(String::as_str))
    }

    /// Are its nodes made by Karpenter, as far as can be told?
    fn is_karpenters(&self) -> bool {
        if let Some(provider) = &self.spec.provider {
            return provider.kind == ProviderKind::Karpenter;
        }
        let mut keys = self.spec.node_selector.keys();
        !self.made_by.is_empty() || keys.any(|key| key.starts_with("karpenter."))
    }
}

impl Stores {
    /// Can NodePools be read?
    pub(in crate::watch) fn insight(&self) -> Insight {
        match (self.nodes.makers.are_followed, self.awaits(NODE_POOLS), self.is_without(NODE_POOLS))
        {
            (false, _, _) | (_, true, _) => Insight::Awaited,
            (true, false, true) => Insight::Refused,
            (true, false, false) => Insight::Granted,
        }
    }

    /// A NodePool came or changed.
    pub(in crate::watch) fn put_node_pool(&mut self, name: &Name, wire: &WireNodePool) {
        if self.nodes.put_node_pool(&name.name, wire) {
            self.touch_laned();
        }
    }

    /// A NodePool went.
    pub(in crate::watch) fn drop_node_pool(&mut self, name: &Name) {
        if self.nodes.makers.each.remove(&name.name).is_some() {
            self.nodes.has_moved = true;
            self.touch_laned();
        }
    }
}
