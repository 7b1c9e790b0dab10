//! A node as it is asked of the API server: everything that is not named here is dropped while it is parsed. And its price.

use jiff::Timestamp;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use crate::crd::pool::{CapacityPoolSpec, Pricing};
use crate::crd::quantity::Quantity;

use super::going::Going;
use super::prices::Prices;
use super::{Node, Room};

/// A node cut down to what tells whether it stays, when it came and what it costs.
pub(in crate::watch) type WireNode = Object<WireSpec, WireStatus>;

pub(super) const GIB: f64 = 1_073_741_824.0;
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::watch) struct WireSpec {
    #[serde(default)]
    pub(super) unschedulable: bool,
    #[serde(default)]
    pub(super) taints: Vec<WireTaint>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::watch) struct WireTaint {
    pub(super) key: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::watch) struct WireStatus {
    #[serde(default)]
    pub(super) conditions: Vec<WireCondition>,
    #[serde(default)]
    capacity: WireAmounts,
    #[serde(default)]
    allocatable: WireAmounts,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WireAmounts {
    cpu: Option<Quantity>,
    memory: Option<Quantity>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::watch) struct WireCondition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) message: String,
    last_transition_time: Option<Timestamp>,
}

impl WireAmounts {
    fn read(&self) -> Room {
        let amount = |of: &Option<Quantity>| of.as_ref().and_then(Quantity::read).unwrap_or(0.0);
        Room { cores: amount(&self.cpu), bytes: amount(&self.memory) }
    }
}

/// What of a node counts.
pub(super) fn read(wire: &WireNode) -> Node {
    let status = wire.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|it| it.kind == "Ready" && it.status == "True");
    let created = wire.metadata.creation_timestamp.as_ref().map(|time| time.0);
    Node {
        labels: wire.metadata.labels.clone().unwrap_or_default(),
        whole: status.map(|status| status.capacity.read()).unwrap_or_default(),
        room: status.map(|status| status.allocatable.read()).unwrap_or_default(),
        created,
        ready_since: ready.map(|ready| ready.last_transition_time.or(created).unwrap_or_default()),
        going: Going::read(wire),
        noticed: None,
        warned: None,
        pool: None,
        price: None,
    }
}

/// What a node costs in an hour; `None` when nobody knows.
pub(super) fn price(
    spec: &CapacityPoolSpec,
    (name, node): (&str, &Node),
    prices: &Prices,
) -> Option<f64> {
    let is_price = |price: &f64| price.is_finite() && 0.0 <= *price;
    match spec.pricing()? {
        Pricing::Label(label) => node.labels.get(label)?.parse().ok().filter(is_price),
        Pricing::Rates { per_cpu, per_gib } => {
            Some(node.whole.cores * per_cpu + node.whole.bytes / GIB * per_gib)
        }
        Pricing::Table(table) => {
            table.get(node.labels.get(INSTANCE_TYPE)?.as_str()).copied().filter(is_price)
        }
        Pricing::OpenCost(connection) => prices.of(connection, name),
    }
}
