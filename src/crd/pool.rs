//! `CapacityPool`: the nodes of one kind, what they cost and how they may be taken away. What people write, optional and lenient,
//! and what is in force where they left something out. Nodes are made by others: a pool only says which of them belong together.

use std::collections::BTreeMap;
use std::time;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Limits;
use super::duration::{Duration, within};
use super::pool_status::CapacityPoolStatus;
use super::quantity::Quantity;
use super::rules;

/// The label that says in which zone a node stands.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// The label that a price is read from when none is named.
pub const PRICE_LABEL: &str = "eks-node-viewer/instance-price";
/// What an interruption leaves when nothing is written: that of AWS.
const NOTICE: time::Duration = time::Duration::from_mins(2);
/// How often a pool that gave no node is tried again at first.
const PROBE: time::Duration = time::Duration::from_mins(5);
/// How seldom it is tried in the end.
const PROBE_MAX: time::Duration = time::Duration::from_mins(5);

/// The nodes of one kind, what they cost and how they may be taken away.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "CapacityPool",
    plural = "capacitypools",
    shortname = "cpool",
    category = "penstock",
    status = "CapacityPoolStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Class","type":"string","jsonPath":".spec.class"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Nodes","type":"integer","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Cost","type":"string","jsonPath":".status.costPerHour"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CapacityPoolSpec {
    /// How its nodes are had, and whether they may be taken away.
    pub class: Class,
    /// Labels of its nodes; a node belongs to the pool when it has all of them. At least one.
    #[schemars(transform = rules::label_values, extend("minProperties" = 1), extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Zones that it is limited to. Left out: all that its nodes stand in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub zones: Vec<String>,
    /// Time from the news of an interruption to the end of the node, up to 1h: 120s on AWS, 30s on GKE and AKS. Default 120s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("0s", "1h")))]
    pub notice: Option<Duration>,
    /// What a node costs. Left out: as its label eks-node-viewer/instance-price says. Where no price is known no cost is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// How large it may become. Left out: as large as whoever makes its nodes allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How a pool that gave no node is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Who makes its nodes. Left out: found out by their labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

/// How nodes are had.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Class {
    /// when asked for, at the full price, and kept as long as wanted.
    OnDemand,
    /// cheap, not always, and taken away at short notice.
    Spot,
    /// paid for in advance, as many as were bought.
    Reserved,
}

/// What a node of the pool costs in an hour, in the currency of the installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("!has(self.label) || self.source == 'NodeLabel'", rules::PRICE_LABEL),
    rules::rule(
        "self.source == 'Static' ? has(self.perCpuHour) && has(self.perGibHour) : !has(self.perCpuHour) && !has(self.perGibHour)",
        rules::PRICE_STATIC
    ),
    rules::rule("(self.source == 'Table') == has(self.table)", rules::PRICE_TABLE),
    rules::rule("(self.source == 'OpenCost') == has(self.connectionRef)", rules::PRICE_OPENCOST),
    rules::rule("self.source != 'OpenCost' || !has(self.hours)", rules::PRICE_HOURS),
]))]
pub struct Price {
    /// Where the price stands.
    pub source: PriceSource,
    /// The label, with NodeLabel. Default eks-node-viewer/instance-price.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub label: Option<String>,
    /// Price of one CPU for an hour, with Static.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_cpu_hour: Option<Quantity>,
    /// Price of one GiB of memory for an hour, with Static.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_gib_hour: Option<Quantity>,
    /// Price of a node for an hour by its label node.kubernetes.io/instance-type, with Table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1), extend("maxProperties" = 256))]
    pub table: BTreeMap<String, Quantity>,
    /// The Prometheus that has OpenCost's metrics, with OpenCost: a `ClusterConnection` of kind prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<PriceConnection>,
    /// Hours in which a node costs more or less than that; of those that overlap the first. A stage with objective.doneBy and a lane on the
    /// pool chooses the cheapest that are enough for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub hours: Vec<PriceHours>,
}

/// Hours with a price of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceHours {
    /// When they begin: cron with five fields.
    #[schemars(length(min = 9, max = 100))]
    pub start: String,
    /// When they end: cron with five fields.
    #[schemars(length(min = 9, max = 100))]
    pub end: String,
    /// IANA name, for example Europe/Berlin. Default UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// What a node costs then, in per cent of its price.
    #[schemars(range(min = 1, max = 1000))]
    pub percent: u16,
}

/// Where a price stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PriceSource {
    /// on each node, as a label.
    NodeLabel,
    /// in the metrics of OpenCost.
    OpenCost,
    /// here, for CPU and memory.
    Static,
    /// here, for each type of instance.
    Table,
}

/// Which connection leads to the prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceConnection {
    /// A pool lies in no namespace, so only one of the cluster will do; may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<PriceConnectionKind>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The one kind of connection that a pool may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PriceConnectionKind {
    /// one of the cluster.
    ClusterConnection,
}

/// How a pool that gave no node is tried again: by one pod, at an interval that doubles while it fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule_at(
        ".interval",
        "!has(self.interval) || !has(self.maxInterval) || duration(self.interval) <= duration(self.maxInterval)",
        rules::PROBE_INTERVAL
    ),
]))]
pub struct Probe {
    /// The first interval, 1s to 24h. Default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "24h")))]
    pub interval: Option<Duration>,
    /// The longest interval, 1s to 24h. Default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "24h")))]
    pub max_interval: Option<Duration>,
}

/// Who makes the nodes of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// What it is.
    pub kind: ProviderKind,
    /// Its name for the pool: a NodePool of Karpenter, a node group, a MachineDeployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
}

/// Those who make nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderKind {
    /// Karpenter; the name is a NodePool's.
    Karpenter,
    /// Cluster Autoscaler; the name is a node group's.
    ClusterAutoscaler,
    /// Cluster API; the name is a MachineDeployment's.
    ClusterAPI,
    /// nobody: the nodes are there, or are not.
    Static,
}

/// What a node costs, as it is in force.
#[derive(Debug, Clone, PartialEq)]
pub enum Pricing<'a> {
    /// As this label of the node says.
    Label(&'a str),
    /// As OpenCost says, asked by the `ClusterConnection` of this name.
    OpenCost(&'a str),
    /// So much for a CPU and an hour, and for a GiB and an hour.
    Rates {
        /// For one CPU.
        per_cpu: f64,
        /// For one GiB of memory.
        per_gib: f64,
    },
    /// So much for an hour of a node of this type.
    Table(BTreeMap<&'a str, f64>),
}

impl CapacityPoolSpec {
    /// Does a node with these labels belong to the pool?
    pub fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_in_zone = |zone: &String| self.zones.contains(zone);
        self.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && (self.zones.is_empty() || labels.get(ZONE_LABEL).is_some_and(is_in_zone))
    }

    /// Time from the news of an interruption to the end of the node, as it is in force: 120 s when nothing is written.
    pub fn notice(&self) -> time::Duration {
        self.notice.as_ref().and_then(Duration::read).unwrap_or(NOTICE)
    }

    /// The first and the longest interval between two probes, as they are in force: 5 min both, each moved by the other when
    /// only that one is written and crosses it.
    pub fn probe(&self) -> (time::Duration, time::Duration) {
        let read = |written: fn(&Probe) -> &Option<Duration>| {
            self.probe.as_ref().and_then(|probe| written(probe).as_ref()?.read())
        };
        match (read(|probe| &probe.interval), read(|probe| &probe.max_interval)) {
            (Some(first), Some(longest)) => (first, longest.max(first)),
            (Some(first), None) => (first, PROBE_MAX.max(first)),
            (None, Some(longest)) => (PROBE.min(longest), longest),
            (None, None) => (PROBE, PROBE_MAX),
        }
    }

    /// What a node costs, as it is in force: the usual label when nothing is written. `None` when what is written cannot be
    /// read, so that no price is known.
    pub fn pricing(&self) -> Option<Pricing<'_>> {
        let Some(price) = &self.price else { return Some(Pricing::Label(PRICE_LABEL)) };
        Some(match price.source {
            PriceSource::NodeLabel => Pricing::Label(price.label.as_deref().unwrap_or(PRICE_LABEL)),
            PriceSource::OpenCost => Pricing::OpenCost(&price.connection_ref.as_ref()?.name),
            PriceSource::Static => Pricing::Rates {
                per_cpu: price.per_cpu_hour.as_ref()?.read()?,
                per_gib: price.per_gib_hour.as_ref()?.read()?,
            },
            PriceSource::Table => {
                let rows = price.table.iter();
                let rows = rows.map(|(name, price)| Some((name.as_str(), price.read()?)));
                Pricing::Table(rows.collect::<Option<_>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(spec: &str) -> CapacityPoolSpec {
        serde_saphyr::from_str(&format!("class: Spot\nnodeSelector: {{a: b}}\n{spec}")).unwrap()
    }

    const fn secs(count: u64) -> time::Duration {
        time::Duration::from_secs(count)
    }

    #[test]
    fn what_is_left_out_is_in_force_as_the_manual_says() {
        let pool = pool("");
        assert_eq!(pool.notice(), secs(120));
        assert_eq!(pool.probe(), (secs(300), secs(300)));
        assert_eq!(pool.pricing(), Some(Pricing::Label("eks-node-viewer/instance-price")));
    }

    #[test]
    fn one_interval_alone_moves_the_other_where_it_crosses_it() {
        assert_eq!(pool("probe: {interval: 2h}").probe(), (secs(7200), secs(7200)));
        assert_eq!(pool("probe: {maxInterval: 5m}").probe(), (secs(300), secs(300)));
        assert_eq!(pool("probe: {interval: 1m, maxInterval: 5m}").probe(), (secs(60), secs(300)));
    }

    #[test]
    fn a_price_that_cannot_be_read_is_none() {
        let rates = pool("price: {source: Static, perCpuHour: \"0.03\", perGibHour: 4m}");
        assert_eq!(rates.pricing(), Some(Pricing::Rates { per_cpu: 0.03, per_gib: 0.004 }));
        assert_eq!(pool("price: {source: Static, perCpuHour: \"0.03\"}").pricing(), None);
        let table = pool("price: {source: Table, table: {m5.large: \"0.096\"}}");
        assert_eq!(table.pricing(), Some(Pricing::Table(BTreeMap::from([("m5.large", 0.096)]))));
        assert_eq!(pool("price: {source: Table, table: {m5.large: cheap}}").pricing(), None);
        let asked = pool("price: {source: OpenCost, connectionRef: {name: prom}}");
        assert_eq!(asked.pricing(), Some(Pricing::OpenCost("prom")));
    }

    #[test]
    fn a_node_belongs_to_the_pool_by_all_its_labels_and_its_zone() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let wide = pool("");
        assert!(wide.has(&labels(&[("a", "b"), ("c", "d")])));
        assert!(!wide.has(&labels(&[("a", "c")])));
        let narrow = pool("zones: [eu-1a]");
        assert!(narrow.has(&labels(&[("a", "b"), (ZONE_LABEL, "eu-1a")])));
        assert!(!narrow.has(&labels(&[("a", "b"), (ZONE_LABEL, "eu-1b")])));
        assert!(!narrow.has(&labels(&[("a", "b")])));
    }
}
