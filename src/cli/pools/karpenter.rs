//! Karpenter's NodePool as far as a proposal wants it: which capacity types and zones its requirements allow. Read from the object as it
//! stands; a field that is not there or is something else is as good as left out.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::marks::{CAPACITY_TYPE, Cloud};
use crate::crd::pool::{Class, ZONE_LABEL};
use crate::crd::quantity::Quantity;

/// A NodePool.
#[derive(Debug, Clone)]
pub(super) struct NodePool {
    pub(super) name: String,
    pub(super) cloud: Option<Cloud>,
    /// Its requirements, and the labels of its template, which are requirements, too.
    requirements: Vec<Requirement>,
    /// CPUs that all its nodes may have together.
    pub(super) cpu: Option<Quantity>,
}

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

/// A way to have nodes, as Karpenter calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CapacityType {
    pub(super) word: &'static str,
    pub(super) class: Class,
}

/// All of them.
const CAPACITY_TYPES: [CapacityType; 3] = [
    CapacityType { word: "on-demand", class: Class::OnDemand },
    CapacityType { word: "spot", class: Class::Spot },
    CapacityType { word: "reserved", class: Class::Reserved },
];

impl NodePool {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let at = |pointer: &str| object.data.pointer(pointer);
        let template = "/spec/template/spec/requirements";
        let written = at(template).and_then(Value::as_array).into_iter().flatten();
        let mut requirements: Vec<_> = written.filter_map(Requirement::of).collect();
        let labels = at("/spec/template/metadata/labels").and_then(Value::as_object);
        requirements.extend(labels.into_iter().flatten().filter_map(|(key, value)| {
            let values = vec![value.as_str()?.to_owned()];
            Some(Requirement { key: key.clone(), operator: "In".to_owned(), values })
        }));
        let group = at("/spec/template/spec/nodeClassRef/group").and_then(Value::as_str);
        let cpu = at("/spec/limits/cpu").and_then(|cpu| serde_json::from_value(cpu.clone()).ok());
        Self {
            name: object.name_any(),
            cloud: group.and_then(Cloud::of_node_class),
            requirements,
            cpu: cpu.filter(|cpu: &Quantity| cpu.read().is_some()),
        }
    }

    /// The capacity types that it may make nodes of. Reserved ones only if its requirements name them: without a requirement all are
    /// allowed, and hardly anyone has reservations.
    pub(super) fn capacity_types(&self) -> Vec<CapacityType> {
        let all = CAPACITY_TYPES.iter().copied();
        all.filter(|it| self.allows(CAPACITY_TYPE, it.word))
            .filter(|it| it.class != Class::Reserved || self.names(CAPACITY_TYPE, it.word))
            .collect()
    }

    /// The zones that it names; none when it is not limited to some.
    pub(super) fn zones(&self) -> Vec<String> {
        let mut zones: Vec<String> = self
            .requirements
            .iter()
            .filter(|it| it.key == ZONE_LABEL && it.operator == "In")
            .flat_map(|it| it.values.clone())
            .filter(|zone| self.allows(ZONE_LABEL, zone))
            .collect();
        zones.sort();
        zones.dedup();
        zones
    }

    /// Do all requirements on a label allow this value?
    fn allows(&self, key: &str, value: &str) -> bool {
        let is_in = |it: &Requirement| it.values.iter().any(|allowed| allowed == value);
        self.requirements.iter().filter(|it| it.key == key).all(|it| match it.operator.as_str() {
            "In" => is_in(it),
            "NotIn" => !is_in(it),
            "DoesNotExist" => false,
            _ => true,
        })
    }

    /// Does a requirement on a label name this value as one of those it allows?
    fn names(&self, key: &str, value: &str) -> bool {
        let of_key = self.requirements.iter().filter(|it| it.key == key && it.operator == "In");
        of_key.flat_map(|it| &it.values).any(|allowed| allowed == value)
    }
}

impl Requirement {
    fn of(written: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let values = written["values"].as_array().into_iter().flatten().filter_map(text);
        Some(Self {
            key: text(&written["key"])?,
            operator: text(&written["operator"])?,
            values: values.collect(),
        })
    }
}
