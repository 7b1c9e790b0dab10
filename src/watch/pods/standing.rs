//! Where the pods of a workload stand, who else stands there, and what is written on them of who goes first. Asked for by `seen`, for stages
//! that empty nodes; nobody else's pods are looked at but to be counted.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::decide::{Cost, NodeStanding, PodStanding, ReserveSeen, Standing};
use crate::watch::nodes::Nodes;
use crate::watch::selector::Selector;

use super::{Pod, Pods, State};

/// The field manager of the costs that `act` writes.
const OURS: &str = "penstock-scalein";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// What says that nobody shall evict a pod, to Cluster Autoscaler and to Karpenter.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// A pod of the kubelet's own, which the API server only shows.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Which revision of a Deployment or a `StatefulSet` a pod is of.
const REVISIONS: [&str; 2] = ["pod-template-hash=", "controller-revision-hash="];

/// What of a pod's metadata tells whether it may be told to go.
#[derive(Debug, PartialEq)]
pub(super) struct Mark {
    /// Its `resourceVersion`; 0 where that is no number, and then nothing is written on it.
    version: u64,
    cost: Option<Box<Cost>>,
    is_kept: bool,
    /// Does it go with its node, as those of a `DaemonSet` do?
    is_bound: bool,
    /// Does it only keep room for a pod to come?
    pub(super) is_placeholder: bool,
}

impl Mark {
    pub(super) fn read(meta: &ObjectMeta) -> Self {
        let annotation = |key: &str| meta.annotations.as_ref()?.get(key).map(String::as_str);
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let cost = annotation(COST).map(|text| Cost {
            // The API server takes whole numbers only.
            value: text.parse().unwrap_or(0),
            writer: writer(meta.managed_fields.as_deref().unwrap_or_default()),
        });
        Self {
            version: meta.resource_version.as_ref().and_then(|it| it.parse().ok()).unwrap_or(0),
            cost: cost.map(Box::new),
            is_kept: annotation(SAFE_TO_EVICT) == Some("false")
                || annotation(DO_NOT_DISRUPT).is_some_and(|text| text != "false"),
            is_bound: owners.iter().any(|owner| owner.kind == "DaemonSet")
                || annotation(MIRROR).is_some(),
            is_placeholder: meta
                .labels
                .as_ref()
                .is_some_and(|all| all.contains_key(ReserveSeen::LABEL)),
        }
    }

    /// The `resourceVersion` of its pod; 0 where that is no number.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Does it tell another cost than before?
    pub(super) fn costs_otherwise(&self, before: &Self) -> bool {
        self.cost != before.cost
    }
}

/// Who wrote the cost; `None` if it was Penstock and nobody else.
fn writer(managers: &[ManagedFieldsEntry]) -> Option<Arc<str>> {
    let writes = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|it| !it["f:metadata"]["f:annotations"][format!("f:{COST}")].is_null())
    };
    let mut known = managers.iter().filter(writes).map(|entry| entry.manager.as_deref());
    let first = known.next().flatten();
    let other = known.flatten().find(|manager| *manager != OURS);
    let name = other.or(first).unwrap_or("another writer");
    (name != OURS).then(|| name.into())
}

impl Pod {
    /// Does it keep its node from being empty? A placeholder does not: it goes when a real pod comes, or when no room is wanted.
    fn fills(&self) -> Option<&Arc<str>> {
        let Mark { is_bound, is_placeholder, .. } = self.mark;
        let stays =
            matches!(self.state, State::Pending | State::Runs) && !(is_bound || is_placeholder);
        self.node.as_ref().filter(|_| stays)
    }
}

impl Pods {
    /// A pod came: its node is fuller by one.
    pub(super) fn fill(&mut self, pod: &Pod) {
        if let Some(node) = pod.fills() {
            *self.filling.entry(Arc::clone(node)).or_default() += 1;
        }
    }

    /// A pod went, or is another now.
    pub(super) fn unfill(&mut self, pod: &Pod) {
        let Some(node) = pod.fills() else { return };
        if let Some(count) = self.filling.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.filling.remove(node);
            }
        }
    }

    /// Where the pods stand that a selector matches, those apart that are on their way out.
    pub(in crate::watch) fn standing(
        &self,
        namespace: &str,
        selector: &Selector,
        nodes: &Nodes,
        now: Timestamp,
    ) -> Standing {
        let mut standing = Standing::default();
        let mut revision = None;
        for (name, pod) in self.matching(namespace, selector) {
            let Some(node) = pod.fills() else { continue };
            let mut pairs = pod.labels.split_terminator('\0');
            let of = pairs.find_map(|pair| REVISIONS.iter().find_map(|key| pair.strip_prefix(key)));
            standing.is_rolling |= *revision.get_or_insert(of) != of;
            let place = standing.nodes.entry(Arc::clone(node)).or_insert_with(|| {
                let is_going = nodes.ground(node, now).is_some_and(|ground| ground.going.is_some());
                let others = self.filling.get(node).copied().unwrap_or(0);
                NodeStanding { pods: Vec::new(), others, is_going }
            });
            place.others = place.others.saturating_sub(1);
            place.pods.push(PodStanding {
                name: Arc::clone(name),
                version: pod.mark.version,
                is_ready: pod.ready_since.is_some(),
                // One that cannot be written on stays as it is.
                is_kept: pod.mark.is_kept || pod.mark.version == 0,
                cost: pod.mark.cost.as_deref().cloned(),
            });
        }
        let is_one = !standing.is_rolling;
        standing.revision = revision.flatten().filter(|_| is_one).map(Into::into);
        standing
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::watch::stores::Name;

    fn put(pods: &mut Pods, name: &str, node: &str, more: Value) -> bool {
        let mut wire = json!({
            "metadata": {"name": name, "resourceVersion": "7", "labels": {"app": "sink"}},
            "spec": {"nodeName": node}, "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        });
        let Value::Object(more) = more else { panic!("{more} is no metadata") };
        for (key, value) in more {
            wire["metadata"][key] = value;
        }
        let name = Name { namespace: "shop".into(), name: name.into() };
        pods.put(&name, &serde_json::from_value(wire).unwrap()).is_some()
    }

    fn standing(pods: &Pods) -> Standing {
        let selector = Selector::read("app=sink").unwrap();
        pods.standing("shop", &selector, &Nodes::default(), Timestamp::UNIX_EPOCH)
    }

    /// A cost, and who owns that annotation.
    fn costs(managers: &[&str]) -> Value {
        let fields = json!({"f:metadata": {"f:annotations": {".": {}, format!("f:{COST}"): {}}}});
        let entry = |manager: &&str| json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let entries: Vec<_> = managers.iter().map(entry).collect();
        json!({"annotations": {COST: "-5"}, "managedFields": entries})
    }

    #[test]
    fn a_node_has_pods_of_the_workload_and_others_but_not_those_that_go_with_it() {
        let mut pods = Pods::default();
        put(&mut pods, "a", "n1", json!({}));
        put(&mut pods, "b", "n1", json!({"annotations": {SAFE_TO_EVICT: "false"}}));
        put(&mut pods, "other", "n1", json!({"labels": {"app": "web"}}));
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs", "uid": "u"}]);
        put(&mut pods, "logs", "n1", json!({"labels": {"app": "logs"}, "ownerReferences": owner}));
        let seen = standing(&pods);
        let node = &seen.nodes["n1"];
        assert_eq!((node.pods.len(), node.others, seen.is_rolling), (2, 1, false));
        assert_eq!([node.pods[0].is_kept, node.pods[1].is_kept], [false, true]);
        // One that is on its way out stands there no more.
        put(
            &mut pods,
            "other",
            "n1",
            json!({"labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        );
        assert_eq!(standing(&pods).nodes["n1"].others, 0);
        // One that only keeps room fills nothing, and is nobody's pod.
        put(&mut pods, "room", "n1", json!({"labels": {"app": "sink", ReserveSeen::LABEL: "r"}}));
        let node = &standing(&pods).nodes["n1"];
        assert_eq!((node.pods.len(), node.others), (2, 0));
        let room = pods.placeholder_nodes(("shop", "r"), &Nodes::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(room, [("n1".into(), 1)]);
        for name in ["a", "b", "other", "logs", "room"] {
            pods.gone(&Name { namespace: "shop".into(), name: name.into() });
        }
        assert!(pods.filling.is_empty());
    }

    #[test]
    fn whose_a_cost_is_the_api_server_says() {
        let mut pods = Pods::default();
        let writer = |pods: &Pods| {
            let cost = standing(pods).nodes["n1"].pods[0].cost.clone();
            cost.map(|cost| cost.writer.as_deref().unwrap_or("").to_owned())
        };
        put(&mut pods, "a", "n1", json!({}));
        assert_eq!(writer(&pods), None);
        assert!(put(&mut pods, "a", "n1", costs(&["kubelet", OURS])), "a cost is news");
        assert_eq!(writer(&pods).as_deref(), Some("kubelet"), "of two the other is named");
        assert!(put(&mut pods, "a", "n1", costs(&[OURS])));
        assert_eq!(writer(&pods).as_deref(), Some(""));
        assert!(!put(&mut pods, "a", "n1", costs(&[OURS])), "the same again is none");
        put(&mut pods, "a", "n1", costs(&["karpenter"]));
        assert_eq!(writer(&pods).as_deref(), Some("karpenter"));
        put(&mut pods, "a", "n1", costs(&[]));
        assert_eq!(writer(&pods).as_deref(), Some("another writer"));
    }

    #[test]
    fn pods_of_two_revisions_are_a_rollout() {
        let mut pods = Pods::default();
        let of = |revision: &str| json!({"labels": {"app": "sink", "pod-template-hash": revision}});
        put(&mut pods, "a", "n1", of("x"));
        put(&mut pods, "b", "n2", of("x"));
        assert!(!standing(&pods).is_rolling);
        put(&mut pods, "c", "n2", of("y"));
        assert!(standing(&pods).is_rolling);
    }
}
