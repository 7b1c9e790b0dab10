//! Which nodes are about to go, told by what each cloud and each autoscaler leaves on them. One table; the field names and their meanings
//! are those of Karpenter 1.14, Cluster Autoscaler, aws-node-termination-handler 1.25, GKE and AKS.

use super::wire::WireNode;

/// A node that is about to go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Going {
    /// What says so.
    pub(super) sign: String,
    pub(super) term: Term,
}

/// How long it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Term {
    /// It is taken away after the notice of its pool.
    Notice,
    /// It is drained; nobody says by when.
    Open,
    /// It may be kept after all, if nothing happens for long.
    Perhaps,
}

/// Taints by their key.
const TAINTS: [(&str, Term); 10] = [
    // Karpenter drains it, be it for an interruption, for consolidation or for age.
    ("karpenter.sh/disrupted", Term::Open),
    ("ToBeDeletedByClusterAutoscaler", Term::Open),
    ("aws-node-termination-handler/spot-itn", Term::Notice),
    ("aws-node-termination-handler/asg-lifecycle-termination", Term::Notice),
    ("aws-node-termination-handler/scheduled-maintenance", Term::Open),
    // It comes ten minutes before an interruption, or with none after it.
    ("aws-node-termination-handler/rebalance-recommendation", Term::Perhaps),
    ("cloud.google.com/impending-node-termination", Term::Notice),
    ("remediator.kubernetes.azure.com/unschedulable", Term::Notice),
    ("remediator.aks.microsoft.com/unschedulable", Term::Notice),
    ("node.kubernetes.io/out-of-service", Term::Open),
];

/// Conditions that say so when they are True.
const CONDITIONS: [(&str, Term); 2] =
    // AKS, and the node problem detector of GKE.
    [("VMEventScheduled", Term::Notice), ("TerminationScheduled", Term::Notice)];

impl Going {
    /// What a node shows of its end; `None` when it stays.
    pub(super) fn read(wire: &WireNode) -> Option<Self> {
        let going = |sign: &str, term| Self { sign: sign.to_owned(), term };
        if wire.metadata.deletion_timestamp.is_some() {
            return Some(going("it is being deleted", Term::Open));
        }
        let keys: Vec<_> = wire.spec.taints.iter().map(|taint| taint.key.as_str()).collect();
        let tainted = TAINTS.iter().find(|(key, _)| keys.contains(key));
        if let Some((key, term)) = tainted {
            return Some(going(key, *term));
        }
        let conditions = wire.status.iter().flat_map(|status| &status.conditions);
        let mut said = conditions.filter(|condition| condition.status == "True");
        let found =
            said.find_map(|condition| CONDITIONS.iter().find(|(kind, _)| *kind == condition.kind));
        if let Some((kind, term)) = found {
            return Some(going(kind, *term));
        }
        wire.spec.unschedulable.then(|| going("it is cordoned", Term::Perhaps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: &serde_json::Value, conditions: &serde_json::Value) -> Option<Going> {
        let node = json!({
            "metadata": {"name": "a"}, "spec": spec, "status": {"conditions": conditions},
        });
        Going::read(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn what_clouds_and_autoscalers_leave_on_a_node_is_understood() {
        for (key, term) in TAINTS {
            let taint = json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
            assert_eq!(read(&taint, &json!([])).map(|it| it.term), Some(term), "{key}");
        }
        let cordoned = read(&json!({"unschedulable": true}), &json!([]));
        assert_eq!(cordoned.map(|it| it.term), Some(Term::Perhaps));
        let event = json!([{"type": "VMEventScheduled", "status": "True"}]);
        assert_eq!(read(&json!({}), &event).map(|it| it.term), Some(Term::Notice));
    }

    #[test]
    fn a_node_that_is_merely_special_stays() {
        for key in ["kubernetes.azure.com/scalesetpriority", "DeletionCandidateOfClusterAutoscaler"]
        {
            let taint = json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
            assert_eq!(read(&taint, &json!([{"type": "Ready", "status": "True"}])), None, "{key}");
        }
    }
}
