//! Nodes and the pools that people make of them: which node belongs to which pool, which are about to go, and how long they take to come.
//! Nothing of a node is kept but that. The watch of nodes starts with the first `CapacityPool`: without one, nobody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crd::duration::Duration as Written;
use crate::crd::pool::{CapacityPool, CapacityPoolSpec, Pricing};
use crate::crd::pool_status::{CapacityPoolStatus, PoolStartup};
use crate::decide::{Pool, PoolCpu, PoolSeen, PoolState};

use super::stores::{Name, Stores};
use boots::Boots;
use going::{Going, Term};
use makers::Makers;
use prices::Prices;
use signs::Signs;

pub(super) use makers::{Insight, NODE_POOLS, Owed, WireNodePool};
pub use prices::Unpriced;
pub(super) use signs::REASONS as SIGNS;
pub(super) use wire::WireNode;

mod boots;
mod going;
mod limits;
mod makers;
mod prices;
mod requirements;
mod signs;
mod wire;

/// A node that was cordoned, and nothing more, is believed to go for so long: who drains does it by then. Nor is who drains one without a
/// known end held up for longer.
pub(super) const CORDON: Duration = Duration::from_mins(10);
/// Signs are of use for so long.
const FRESH: Duration = Duration::from_hours(1);

/// Every pool, and every node.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pools: BTreeMap<Arc<str>, PoolNote>,
    each: BTreeMap<Arc<str>, Node>,
    /// When those who take nodes back said so, by the name of the node.
    warned: BTreeMap<Arc<str>, Timestamp>,
    prices: Prices,
    pub(super) makers: Makers,
    /// Are the watches of nodes, and of what is said of them, on their way?
    pub(super) is_followed: bool,
    pub(super) is_listened: bool,
    /// Has anything moved since the pools were last looked at?
    pub(super) has_moved: bool,
}

/// A `CapacityPool`, and what is known of it besides its nodes.
#[derive(Debug)]
struct PoolNote {
    meant: Arc<Pool>,
    /// What a node costs in this hour, in per cent of its price; and which hours cannot be read.
    percent: u16,
    odd_hours: Option<Unpriced>,
    spec: CapacityPoolSpec,
    place: Place,
    recalled: Option<(PoolState, Timestamp)>,
    signs: Signs,
    boots: Boots,
    /// CPUs of the smallest node that it ever had: who makes nodes may make such a one again.
    smallest: Option<f64>,
    /// NodePools of which nodes of it were seen, and those that make its nodes, where that is known of all of them.
    made_by: BTreeSet<Arc<str>>,
    makers: Vec<Arc<str>>,
}

/// What a write of the status of a pool needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`.
    pub resource_version: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<CapacityPoolStatus>,
}

/// A pool and what its nodes come to, for report.
#[derive(Debug, Clone)]
pub struct PoolSight {
    /// What decide is told.
    pub seen: PoolSeen,
    /// The object.
    pub place: Place,
    /// Half of its nodes took no longer to come.
    pub median_boot: Option<Duration>,
    /// CPUs of all its nodes.
    pub cores: f64,
    /// What its nodes cost in an hour; `None` when the price of one is unknown.
    pub cost: Option<f64>,
    /// Why no price is known, where a server is to say it and does not.
    pub unpriced: Option<Unpriced>,
    /// Why nothing is known of who makes its nodes, where its owner says who does.
    pub unmade: Option<Unpriced>,
}

/// A node, cut down.
#[derive(Debug, Default, PartialEq)]
struct Node {
    labels: BTreeMap<String, String>,
    /// All it has, which is what is paid for.
    whole: Room,
    /// Of that, what pods may have.
    room: Room,
    created: Option<Timestamp>,
    ready_since: Option<Timestamp>,
    going: Option<Going>,
    /// When it was first seen to go.
    noticed: Option<Timestamp>,
    /// When who takes it back said so.
    warned: Option<Timestamp>,
    /// The first pool, by name, that it belongs to, and what it costs there in an hour.
    pool: Option<Arc<str>>,
    price: Option<f64>,
}

/// When a node that is about to go is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    /// Nobody says.
    Open,
    /// By then.
    By(Timestamp),
}

/// Cores and bytes of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Room {
    pub(super) cores: f64,
    pub(super) bytes: f64,
}

/// What is known of the node that a pod stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    /// Is it about to go?
    pub(super) going: Option<End>,
    /// Since when it has been, as far as is known.
    pub(super) since: Option<Timestamp>,
    /// What it costs in an hour.
    pub(super) price: Option<f64>,
    pub(super) room: Room,
    /// The pool that it belongs to.
    pub(super) pool: Option<&'a Arc<str>>,
}

impl Nodes {
    /// Is there a pool?
    pub(super) fn has_pools(&self) -> bool {
        !self.pools.is_empty()
    }

    /// Takes a pool in; true when it is another than before, our own words in its status apart.
    fn put_pool(&mut self, name: &Arc<str>, object: CapacityPool) -> bool {
        let status = object.status.unwrap_or_default();
        let old = self.pools.remove(name);
        let uid: Arc<str> = object.metadata.uid.unwrap_or_default().into();
        let mut old = old.filter(|old| old.place.uid == uid);
        let is_news = old.as_ref().is_none_or(|old| old.spec != object.spec);
        // Only what an earlier life wrote is news; what comes back later are our own words.
        let recalled = match &old {
            Some(old) => old.recalled,
            None => status.state.map(PoolState::from).zip(status.since),
        };
        let recalled_boots = || Boots::recalled(status.startup.as_ref().and_then(boots_of));
        // Which hour it is, `pass` says.
        let (signs, boots, smallest, percent) = old.as_mut().map_or_else(
            || (Signs::default(), recalled_boots(), None, 100),
            |old| (take(&mut old.signs), take(&mut old.boots), old.smallest, old.percent),
        );
        let (made_by, makers) = old.map(|old| (old.made_by, old.makers)).unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let resource_version = object.metadata.resource_version.unwrap_or_default().into();
        let status = Arc::new(status);
        let place = Place { uid, resource_version, generation, status };
        let note = PoolNote {
            meant: Arc::new(object.spec.meant(name)),
            percent,
            odd_hours: object.spec.tariff().1.map(|fault| Unpriced {
                label: fault.code.label().into(),
                message: format!("not all hours have the price that is meant: {fault}").into(),
            }),
            spec: object.spec,
            place,
            recalled,
            signs,
            boots,
            smallest,
            made_by,
            makers,
        };
        self.pools.insert(Arc::clone(name), note);
        if is_news {
            self.assign();
        }
        is_news
    }

    /// Finds the pool of every node anew, since a pool came, changed or went.
    fn assign(&mut self) {
        for (name, node) in &mut self.each {
            node.assign(name, &self.pools, &self.prices);
        }
        self.has_moved = true;
    }

    /// Takes a node in; true when something moved that counts.
    fn put_node(&mut self, name: &Arc<str>, wire: &WireNode) -> bool {
        let old = self.each.remove(name);
        let mut new = wire::read(wire);
        if let Some(old) = &old {
            // A reboot that becomes an end is another notice, though the same condition gives it.
            new.noticed = old.noticed.filter(|_| old.going == new.going);
        }
        new.warned = self.warned.get(name).copied().filter(|at| new.created <= Some(*at));
        new.assign(name, &self.pools, &self.prices);
        let is_member = new.pool.is_some() || old.as_ref().is_some_and(|old| old.pool.is_some());
        let has_moved = is_member && old.as_ref() != Some(&new);
        self.each.insert(Arc::clone(name), new);
        self.has_moved |= has_moved;
        has_moved
    }

    /// Notes since when nodes have been going, so that their end can be told, which hour's prices hold, and who makes the nodes of each pool, and
    /// forgets prices that were told too long ago.
    pub(super) fn pass(&mut self, insight: Insight, now: Timestamp) {
        let mut is_other = self.prices.pass(now);
        for note in self.pools.values_mut() {
            let (percent, _) = note.meant.tariff.look(now);
            is_other |= replace(&mut note.percent, percent) != percent;
        }
        if is_other {
            self.assign();
        }
        self.find_makers(insight, now);
        for node in self.each.values_mut().filter(|node| node.going.is_some()) {
            node.noticed.get_or_insert(now);
        }
    }

    /// What is known of a node.
    pub(super) fn ground(&self, node: &str, now: Timestamp) -> Option<Ground<'_>> {
        let node = self.each.get(node)?;
        let of = node.pool.as_ref().and_then(|pool| self.pools.get(pool));
        Some(Ground {
            going: node.goes(of.map(|of| of.meant.notice), now),
            since: node.warned.or(node.noticed),
            price: node.price,
            room: node.room,
            pool: node.pool.as_ref(),
        })
    }

    /// Is it going to be taken away after a notice?
    pub(super) fn has_notice(&self, node: &str) -> bool {
        let Some(node) = self.each.get(node) else { return false };
        let is_said = node.going.as_ref().is_some_and(|going| going.term == Term::Notice);
        node.pool.is_some() && (is_said || node.warned.is_some())
    }

    /// Who takes a node back has said so.
    fn warn(&mut self, name: &Arc<str>, at: Timestamp) -> bool {
        let is_fresh = |told: &Timestamp| at.duration_since(*told).unsigned_abs() < FRESH;
        self.warned.retain(|_, told| is_fresh(told));
        let first = *self.warned.entry(Arc::clone(name)).or_insert(at);
        let Some(node) = self.each.get_mut(name).filter(|node| node.created <= Some(first)) else {
            return false;
        };
        let is_news = node.warned.replace(first) != Some(first) && node.pool.is_some();
        self.has_moved |= is_news;
        is_news
    }

    /// Every pool at this instant.
    pub(super) fn sights(&mut self, now: Timestamp) -> BTreeMap<Arc<str>, PoolSight> {
        let mut members: BTreeMap<&Arc<str>, Vec<(&Arc<str>, &Node)>> = BTreeMap::new();
        for (name, node) in &self.each {
            if let Some(pool) = &node.pool {
                members.entry(pool).or_default().push((name, node));
            }
        }
        let sight = |(name, note): (&Arc<str>, &mut PoolNote)| {
            let members = members.get(name).map(Vec::as_slice).unwrap_or_default();
            (Arc::clone(name), note.sight(members, &self.prices, now))
        };
        self.pools.iter_mut().map(sight).collect()
    }
}

impl Node {
    fn assign(&mut self, name: &str, pools: &BTreeMap<Arc<str>, PoolNote>, prices: &Prices) {
        let found = pools.iter().find(|(_, note)| note.spec.has(&self.labels));
        self.price = found.and_then(|(_, note)| {
            let price = wire::price(&note.spec, (name, self), prices)?;
            Some(price * f64::from(note.percent) / 100.0)
        });
        self.pool = found.map(|(name, _)| Arc::clone(name));
    }

    /// Is it about to go, and when is it gone, as far as anyone can tell?
    fn goes(&self, notice: Option<Duration>, now: Timestamp) -> Option<End> {
        let end =
            |since: Timestamp, span: Duration| since.checked_add(span).unwrap_or(Timestamp::MAX);
        if let Some((warned, notice)) = self.warned.zip(notice) {
            return Some(End::By(end(warned, notice)));
        }
        let going = self.going.as_ref()?;
        let since = self.noticed.unwrap_or(now);
        let after = |span: Duration| end(since, span);
        match going.term {
            Term::Notice => Some(notice.map_or(End::Open, |notice| End::By(after(notice)))),
            Term::Open => Some(End::Open),
            Term::Perhaps => (now < after(CORDON)).then_some(End::Open),
        }
    }
}

impl PoolNote {
    /// Does a `NodePool` of Karpenter, or a node group, of this name make its nodes?
    fn is_made_by(&self, maker: &str) -> bool {
        let provider = self.spec.provider.as_ref().and_then(|provider| provider.name.as_deref());
        let label = self.spec.node_selector.get("karpenter.sh/nodepool").map(String::as_str);
        provider == Some(maker) || label == Some(maker)
    }

    /// `members` by name.
    fn sight(
        &mut self,
        members: &[(&Arc<str>, &Node)],
        prices: &Prices,
        now: Timestamp,
    ) -> PoolSight {
        let boots = self.boots.learn(members);
        let members: Vec<&Node> = members.iter().map(|(_, node)| *node).collect();
        let notice = self.meant.notice;
        let stay = || {
            let all = members.iter().filter(|node| node.goes(Some(notice), now).is_none());
            all.filter_map(|node| node.ready_since)
        };
        let costs: Option<Vec<f64>> = members.iter().map(|node| node.price).collect();
        let cost = costs.map(|costs| costs.iter().sum());
        let seen = PoolSeen {
            pool: Arc::clone(&self.meant),
            nodes: u32::try_from(stay().count()).unwrap_or(u32::MAX),
            newest: stay().max(),
            boot: boots.map(|(_, most)| most),
            signs: self.signs.fresh(None, now),
            full: self.full(&members, cost),
            cpu: (self.spec.limits.is_some() || !self.makers.is_empty()).then(|| PoolCpu {
                cores: members.iter().map(|node| node.room.cores).sum(),
                ..PoolCpu::default()
            }),
            lanes: Vec::new(),
            recalled: self.recalled,
        };
        PoolSight {
            seen,
            place: self.place.clone(),
            median_boot: boots.map(|(half, _)| half),
            cores: members.iter().map(|node| node.whole.cores).sum(),
            cost,
            unpriced: self.unpriced(prices),
            unmade: None,
        }
    }

    /// Why not all is known of what its nodes cost.
    fn unpriced(&self, prices: &Prices) -> Option<Unpriced> {
        let told = |why: Unpriced| Unpriced {
            message: format!("what its nodes cost is not known: {}", why.message).into(),
            ..why
        };
        match self.spec.pricing() {
            Some(Pricing::OpenCost(connection)) => prices.missing(connection).map(told),
            Some(Pricing::Label(_) | Pricing::Rates { .. } | Pricing::Table(_)) | None => {
                self.odd_hours.clone()
            }
        }
    }
}

/// How long nodes took to come, as a status tells it.
fn boots_of(written: &PoolStartup) -> Option<(Duration, Duration)> {
    let read = |text: &Option<String>| Written(text.clone()?).read();
    read(&written.p50).zip(read(&written.p95))
}

impl Stores {
    /// A pool came or changed.
    pub(super) fn put_pool(&mut self, name: &Name, pool: CapacityPool) {
        if self.nodes.put_pool(&name.name, pool) {
            self.touch_laned();
            // It may name who knows its prices.
            self.questions_moved = true;
        }
    }

    /// A pool went.
    pub(super) fn drop_pool(&mut self, name: &Name) {
        self.nodes.pools.remove(&name.name);
        self.nodes.assign();
        self.touch_laned();
        self.questions_moved = true;
    }

    /// A node came or changed.
    pub(super) fn put_node(&mut self, name: &Name, wire: &WireNode) {
        if self.nodes.put_node(&name.name, wire) {
            self.touch_laned();
        }
    }

    /// A node went.
    pub(super) fn drop_node(&mut self, name: &Name) {
        self.nodes.warned.remove(&name.name);
        if self.nodes.each.remove(&name.name).is_some_and(|node| node.pool.is_some()) {
            self.nodes.has_moved = true;
            self.touch_laned();
        }
    }

    /// Marks the pipelines whose stages have lanes.
    pub(super) fn touch_laned(&mut self) {
        self.dirty.extend(self.laned.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_costs_what_its_pool_says_of_the_hour() {
        let hours = r#"[{"start": "0 22 * * *", "end": "0 6 * * *", "percent": 40}]"#;
        let pool = |hours: &str| -> CapacityPool {
            let price =
                format!(r#"{{"source": "Table", "table": {{"m5": "0.5"}}, "hours": {hours}}}"#);
            serde_json::from_str(&format!(
                r#"{{"metadata": {{"name": "night", "uid": "1"}}, "spec": {{"class": "OnDemand", "nodeSelector": {{}}, "price": {price}}}}}"#
            ))
            .unwrap()
        };
        let mut nodes = Nodes::default();
        nodes.put_pool(&"night".into(), pool(hours));
        let node = r#"{"metadata": {"name": "one", "labels": {"node.kubernetes.io/instance-type": "m5"}}, "spec": {}, "status": {}}"#;
        nodes.put_node(&"one".into(), &serde_json::from_str(node).unwrap());
        let mut price = |time: &str| {
            nodes.pass(Insight::Awaited, at(time));
            let sights = nodes.sights(at(time));
            assert_eq!(sights["night"].unpriced, None);
            (nodes.ground("one", at(time)).unwrap().price, sights["night"].cost)
        };
        assert_eq!(price("2026-11-23T21:59:59Z"), (Some(0.5), Some(0.5)));
        assert_eq!(price("2026-11-23T22:00:00Z"), (Some(0.2), Some(0.2)));
        assert_eq!(price("2026-11-24T06:00:00Z"), (Some(0.5), Some(0.5)));
        // What cannot be read has no price of its own, and is told.
        nodes.put_pool(&"night".into(), pool(&hours.replace("0 22 * * *", "at ten it is")));
        nodes.pass(Insight::Awaited, at("2026-11-24T23:00:00Z"));
        let told = nodes.sights(at("2026-11-24T23:00:00Z"))["night"].unpriced.clone().unwrap();
        assert!(told.message.starts_with("not all hours have"), "{told:?}");
        assert!(told.message.contains("spec.price.hours[0].start"), "{told:?}");
        assert_eq!(nodes.ground("one", at("2026-11-24T23:00:00Z")).unwrap().price, Some(0.5));
    }
}
