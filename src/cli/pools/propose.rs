//! Which CapacityPools a cluster lacks: one for each NodePool and capacity type that it allows, then one for each label by which the
//! remaining nodes tell how they were had. Pure; called by the command.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::karpenter::{CapacityType, NodePool};
use super::marks::{self, CAPACITY_TYPE, Cloud, GROUPS, INSTANCE_TYPE, Mark};
use super::seen::{Ground, Machine};
use crate::crd::budget::Limits;
use crate::crd::duration::Duration;
use crate::crd::pool::{Class, PRICE_LABEL, Price, PriceSource, Provider, ProviderKind};
use crate::crd::{CapacityPool, CapacityPoolSpec};

/// Karpenter's label of the NodePool that a node is of.
const NODE_POOL: &str = "karpenter.sh/nodepool";
/// A lane names its pool in so many letters.
const NAME_MAX: usize = 63;
/// More instance types than these are not told.
const TYPES_TOLD: usize = 6;

/// What a cluster lacks.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    pub(super) pools: Vec<Proposal>,
    /// Nodes that belong to no pool, and whose labels do not tell how they were had.
    pub(super) unmarked: Vec<String>,
}

/// A CapacityPool that could be.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) pool: CapacityPool,
    /// What it was found by, in words.
    pub(super) from: String,
    /// Nodes that would belong to it now.
    pub(super) nodes: usize,
    /// What was derived from what, and what is left to the reader: a sentence each.
    pub(super) notes: Vec<String>,
}

/// A proposal in the making.
struct Draft<'a> {
    name: String,
    class: Class,
    selector: BTreeMap<String, String>,
    zones: Vec<String>,
    cloud: Option<Cloud>,
    limits: Option<Limits>,
    provider: Option<Provider>,
    machines: Vec<&'a Machine>,
    from: String,
}

/// Finds what the cluster lacks.
pub(super) fn propose(ground: &Ground) -> Proposed {
    let mut proposed = Proposed::default();
    let mut names: BTreeSet<String> = ground.pools.iter().map(ResourceExt::name_any).collect();
    let mut drafts = of_node_pools(ground);
    let is_in = |draft: &Draft<'_>, machine: &Machine| {
        draft.selector.iter().all(|(key, value)| machine.labels.get(key) == Some(value))
    };
    let mut rest: Vec<&Machine> = ground
        .machines
        .iter()
        .filter(|machine| !ground.pools.iter().any(|pool| pool.spec.has(&machine.labels)))
        .filter(|machine| !drafts.iter().any(|draft| is_in(draft, machine)))
        .collect();
    drafts.retain(|draft| !ground.pools.iter().any(|pool| draft.is_covered_by(&pool.spec)));
    drafts.extend(of_labels(ground, &mut rest));
    proposed.unmarked = rest.iter().map(|machine| machine.name.clone()).collect();
    for mut draft in drafts {
        draft.name = free(&draft.name, &mut names);
        proposed.pools.push(draft.complete(ground));
    }
    proposed
}

/// One for each NodePool of Karpenter and each capacity type that it allows.
fn of_node_pools(ground: &Ground) -> Vec<Draft<'_>> {
    let mut drafts = Vec::new();
    for node_pool in ground.node_pools.iter().flatten() {
        for kind in node_pool.capacity_types() {
            drafts.push(of_node_pool(ground, node_pool, kind));
        }
    }
    drafts
}

fn of_node_pool<'a>(ground: &'a Ground, of: &NodePool, kind: CapacityType) -> Draft<'a> {
    let selector = BTreeMap::from([
        (NODE_POOL.to_owned(), of.name.clone()),
        (CAPACITY_TYPE.to_owned(), kind.word.to_owned()),
    ]);
    let has = |machine: &&Machine| {
        selector.iter().all(|(key, value)| machine.labels.get(key) == Some(value))
    };
    Draft {
        name: joined(&of.name, kind.word),
        class: kind.class,
        zones: of.zones(),
        cloud: of.cloud,
        limits: of.cpu.clone().map(|cpu| Limits { cpu: Some(cpu), cost_per_hour: None }),
        provider: Some(Provider { kind: ProviderKind::Karpenter, name: Some(of.name.clone()) }),
        machines: ground.machines.iter().filter(has).collect(),
        from: format!("Karpenter's NodePool {}, whose requirements allow {}", of.name, kind.word),
        selector,
    }
}

/// One for each label that tells how the rest of the nodes was had; those that tell nothing stay in the rest.
fn of_labels<'a>(ground: &Ground, rest: &mut Vec<&'a Machine>) -> Vec<Draft<'a>> {
    let mut found: BTreeMap<(&str, String), Vec<&Machine>> = BTreeMap::new();
    let mut unmarked = Vec::new();
    for machine in std::mem::take(rest) {
        let mark = Mark::of(&machine.labels);
        // Where NodePools are known, a node of Karpenter that none of them would make again is on its way out.
        let is_going =
            mark.is_some_and(|mark| mark.key == CAPACITY_TYPE) && ground.node_pools.is_some();
        let group = GROUPS.iter().copied().find(|label| machine.labels.contains_key(*label));
        match mark.map(|mark| mark.key).or(group).filter(|_| !is_going) {
            Some(key) => {
                let value = machine.labels.get(key).cloned().unwrap_or_default();
                found.entry((key, value)).or_default().push(machine);
            }
            None => unmarked.push(machine),
        }
    }
    *rest = unmarked;
    let draft = |((key, value), machines): ((&str, String), Vec<&'a Machine>)| {
        let first = machines.first();
        let mark = first.and_then(|machine| Mark::of(&machine.labels));
        let class = mark.map_or(Class::OnDemand, |mark| mark.class);
        let provider = mark.and_then(|mark| mark.provider);
        let said = if value.is_empty() { key.to_owned() } else { format!("{key}={value}") };
        let but = if mark.is_some() { "" } else { ", without one of spot capacity" };
        Draft {
            name: if mark.is_some() { word(class).to_owned() } else { value.clone() },
            class,
            selector: BTreeMap::from([(key.to_owned(), value)]),
            zones: Vec::new(),
            cloud: first.and_then(|machine| machine.cloud),
            limits: None,
            provider: provider.map(|kind| Provider { kind, name: None }),
            from: format!("the nodes' label {said}{but}"),
            machines,
        }
    };
    found.into_iter().map(draft).collect()
}

impl Draft<'_> {
    /// Would every node of it belong to this pool?
    fn is_covered_by(&self, pool: &CapacityPoolSpec) -> bool {
        let has = |(key, value): (&String, &String)| self.selector.get(key) == Some(value);
        let is_in_zones = pool.zones.is_empty()
            || (!self.zones.is_empty() && self.zones.iter().all(|zone| pool.zones.contains(zone)));
        pool.node_selector.iter().all(has) && is_in_zones
    }

    /// Could a node belong to both?
    fn may_overlap(&self, pool: &CapacityPoolSpec) -> bool {
        self.machines.iter().any(|machine| pool.has(&machine.labels))
            || pool
                .node_selector
                .iter()
                .all(|(key, value)| self.selector.get(key).is_none_or(|own| own == value))
                && self
                    .selector
                    .iter()
                    .all(|(key, value)| pool.node_selector.get(key) == Some(value))
    }

    fn complete(self, ground: &Ground) -> Proposal {
        let mut notes = Vec::new();
        let notice = match (self.class, self.cloud) {
            (Class::Spot, Some(cloud)) => {
                notes.push(format!("notice: what {} leaves", cloud.name()));
                Some(Duration(cloud.notice().to_owned()))
            }
            (Class::Spot, None) => {
                notes.push("notice: the cloud is not known, and 120s are in force; write it if yours leaves less".to_owned());
                None
            }
            (Class::OnDemand | Class::Reserved, _) => None,
        };
        let price = self.price(ground, &mut notes);
        if self.limits.is_some() {
            notes.push(
                "limits: those of the NodePool, for all its capacity types together".to_owned(),
            );
        }
        for pool in &ground.pools {
            if self.may_overlap(&pool.spec) {
                notes.push(format!(
                    "beware: nodes of CapacityPool {} would belong to this one, too; narrow one of the two",
                    pool.name_any()
                ));
            }
        }
        let spec = CapacityPoolSpec {
            class: self.class,
            node_selector: self.selector,
            zones: self.zones,
            notice,
            price,
            limits: self.limits,
            probe: None,
            provider: self.provider,
        };
        Proposal {
            pool: CapacityPool::new(&self.name, spec),
            from: self.from,
            nodes: self.machines.len(),
            notes,
        }
    }

    /// The instance types of its nodes, as the table of a price begins: with what the API server refuses until it is filled in.
    fn types(&self) -> String {
        let types = self.machines.iter().filter_map(|machine| machine.labels.get(INSTANCE_TYPE));
        let types: BTreeSet<&str> = types.map(String::as_str).collect();
        let mut rows: Vec<_> =
            types.iter().take(TYPES_TOLD).map(|kind| format!("{kind}: \"?\"")).collect();
        if types.is_empty() {
            rows.push("INSTANCE-TYPE: \"?\"".to_owned());
        } else if types.len() > TYPES_TOLD {
            rows.push("...".to_owned());
        }
        rows.join(", ")
    }

    /// Where the price stands, by the labels that its nodes carry, or if it has none yet, others of the same maker.
    fn price(&self, ground: &Ground, notes: &mut Vec<String>) -> Option<Price> {
        let is_made_alike = |machine: &&Machine| machine.labels.contains_key(NODE_POOL);
        let of_karpenter =
            self.provider.as_ref().is_some_and(|it| it.kind == ProviderKind::Karpenter);
        let (machines, whose) = if self.machines.is_empty() && of_karpenter {
            (
                ground.machines.iter().filter(is_made_alike).collect(),
                "other nodes of Karpenter carry",
            )
        } else {
            (self.machines.clone(), "its nodes carry")
        };
        let Some(label) = marks::price_label(&machines) else {
            notes.push(format!(
                "price: no label tells it, so no cost is told; hint: price: {{source: Table, table: {{{}}}}}",
                self.types()
            ));
            return None;
        };
        notes.push(format!("price: {whose} the label {label}"));
        Some(Price {
            source: PriceSource::NodeLabel,
            label: (label != PRICE_LABEL).then(|| label.to_owned()),
            per_cpu_hour: None,
            per_gib_hour: None,
            table: BTreeMap::new(),
            connection_ref: None,
            hours: Vec::new(),
        })
    }
}

/// A class as names have it.
const fn word(class: Class) -> &'static str {
    match class {
        Class::OnDemand => "on-demand",
        Class::Spot => "spot",
        Class::Reserved => "reserved",
    }
}

/// A name of two parts; the first gives way when it gets too long.
fn joined(first: &str, second: &str) -> String {
    let room = NAME_MAX.saturating_sub(second.len() + 1);
    let first: String = first.chars().take(room).collect();
    format!("{}-{second}", first.trim_end_matches(['-', '.']))
}

/// The name as a Kubernetes object may have it, made unlike those that are taken.
fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let lower = name.to_lowercase().replace('_', "-");
    let mut found = lower.clone();
    for number in 2.. {
        if taken.insert(found.clone()) {
            break;
        }
        found = joined(&lower, &number.to_string());
    }
    found
}
