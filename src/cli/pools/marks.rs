//! What the labels of a node tell: how it was had, in which cloud it stands, what it costs. The only list of these labels; the proposals
//! lean on it.

use std::collections::BTreeMap;

use super::seen::Machine;
use crate::crd::pool::{Class, PRICE_LABEL, ProviderKind};

/// Karpenter's label of the way a node is had.
pub(super) const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// The label of a node's type.
pub(super) const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// A label that tells how a node was had.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) key: &'static str,
    /// `None`: any value but `false`.
    value: Option<&'static str>,
    pub(super) class: Class,
    /// Who made the node, when the label is his alone.
    pub(super) provider: Option<ProviderKind>,
}

const fn mark(key: &'static str, value: &'static str, class: Class) -> Mark {
    Mark { key, value: Some(value), class, provider: None }
}

const fn karpenter(value: &'static str, class: Class) -> Mark {
    Mark { key: CAPACITY_TYPE, value: Some(value), class, provider: Some(ProviderKind::Karpenter) }
}

/// The labels, the surest first: of several on one node the first counts.
const MARKS: [Mark; 17] = [
    karpenter("spot", Class::Spot),
    karpenter("on-demand", Class::OnDemand),
    karpenter("reserved", Class::Reserved),
    mark("eks.amazonaws.com/capacityType", "SPOT", Class::Spot),
    mark("eks.amazonaws.com/capacityType", "ON_DEMAND", Class::OnDemand),
    mark("eks.amazonaws.com/capacityType", "CAPACITY_BLOCK", Class::Reserved),
    mark("cloud.google.com/gke-spot", "true", Class::Spot),
    mark("cloud.google.com/gke-preemptible", "true", Class::Spot),
    mark("cloud.google.com/gke-provisioning", "spot", Class::Spot),
    mark("cloud.google.com/gke-provisioning", "preemptible", Class::Spot),
    mark("cloud.google.com/gke-provisioning", "standard", Class::OnDemand),
    mark("kubernetes.azure.com/scalesetpriority", "spot", Class::Spot),
    mark("kubernetes.azure.com/scalesetpriority", "regular", Class::OnDemand),
    Mark {
        key: "cluster.x-k8s.io/interruptible",
        value: None,
        class: Class::Spot,
        provider: Some(ProviderKind::ClusterAPI),
    },
    mark("node.kubernetes.io/lifecycle", "spot", Class::Spot),
    mark("node.kubernetes.io/lifecycle", "normal", Class::OnDemand),
    mark("node.kubernetes.io/lifecycle", "on-demand", Class::OnDemand),
];

/// Labels that name a group of nodes where what has no mark is bought at the full price: GKE and AKS mark the others only.
pub(super) const GROUPS: [&str; 2] =
    ["cloud.google.com/gke-nodepool", "kubernetes.azure.com/agentpool"];

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    Aws,
    Google,
    Azure,
}

impl Mark {
    /// What tells how this node was had.
    pub(super) fn of(labels: &BTreeMap<String, String>) -> Option<&'static Self> {
        MARKS.iter().find(|mark| {
            labels.get(mark.key).is_some_and(|value| match mark.value {
                Some(meant) => value == meant,
                None => value != "false",
            })
        })
    }
}

impl Cloud {
    /// By the id that its provider gave a node, else by the labels that only one cloud writes.
    pub(super) fn of(provider_id: &str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let has = |domain: &str| labels.keys().any(|key| key.starts_with(domain));
        match provider_id.split_once("://").map(|(scheme, _)| scheme) {
            Some("aws") => Some(Self::Aws),
            Some("gce") => Some(Self::Google),
            Some("azure") => Some(Self::Azure),
            _ if has("eks.amazonaws.com/") || has("karpenter.k8s.aws/") => Some(Self::Aws),
            _ if has("cloud.google.com/") => Some(Self::Google),
            _ if has("kubernetes.azure.com/") || has("karpenter.azure.com/") => Some(Self::Azure),
            _ => None,
        }
    }

    /// By the group of a node class of Karpenter.
    pub(super) fn of_node_class(group: &str) -> Option<Self> {
        match group {
            "karpenter.k8s.aws" | "eks.amazonaws.com" => Some(Self::Aws),
            "karpenter.k8s.gcp" => Some(Self::Google),
            "karpenter.azure.com" => Some(Self::Azure),
            _ => None,
        }
    }

    /// What an interruption leaves there.
    pub(super) const fn notice(self) -> &'static str {
        match self {
            Self::Aws => "120s",
            Self::Google | Self::Azure => "30s",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Google => "Google Cloud",
            Self::Azure => "Azure",
        }
    }
}

/// The label that says what these nodes cost: the usual one if any has it, else one that all have, whose name says price and whose
/// values are numbers.
pub(super) fn price_label<'a>(machines: &[&'a Machine]) -> Option<&'a str> {
    if let Some((key, _)) = machines.iter().find_map(|it| it.labels.get_key_value(PRICE_LABEL)) {
        return Some(key);
    }
    let (first, others) = machines.split_first()?;
    let is_price = |machine: &Machine, key: &str| {
        let value = machine.labels.get(key).and_then(|value| value.parse::<f64>().ok());
        value.is_some_and(|value| value.is_finite() && value >= 0.0)
    };
    let names_price = |key: &str| key.rsplit('/').next().is_some_and(|name| name.contains("price"));
    let key = first.labels.keys().find(|key| {
        names_price(key)
            && is_price(first, key)
            && others.iter().all(|machine| is_price(machine, key))
    })?;
    Some(key)
}
