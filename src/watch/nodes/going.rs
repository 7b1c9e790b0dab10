//! Which nodes are about to go, told by what each cloud and each autoscaler leaves on them. One table; the field names and their meanings
//! are those of Karpenter 1.14, Cluster Autoscaler, aws-node-termination-handler 1.25, GKE and AKS.

use super::wire::{WireCondition, WireNode};

/// A node that is about to go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Going {
    /// What says so.
    pub(super) sign: String,
    pub(super) term: Term,
}

/// How long it has. Where several signs are there, the first of these counts: it says most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    // The hook waits for who handles it, or for a heartbeat, of minutes up to an hour.
    ("aws-node-termination-handler/asg-lifecycle-termination", Term::Open),
    ("aws-node-termination-handler/scheduled-maintenance", Term::Open),
    // It comes ten minutes before an interruption, or with none after it.
    ("aws-node-termination-handler/rebalance-recommendation", Term::Perhaps),
    ("cloud.google.com/impending-node-termination", Term::Notice),
    // AKS drains for reboots as well, after which the node is the same; whether it goes its condition says.
    ("remediator.kubernetes.azure.com/unschedulable", Term::Open),
    ("remediator.aks.microsoft.com/unschedulable", Term::Open),
    ("node.kubernetes.io/out-of-service", Term::Open),
];

/// The condition of AKS for whatever is about to happen to a machine: most of these events it outlives.
const EVENT: &str = "VMEventScheduled";
/// What it says, in reason or message, of those that it does not: `Preempt`, `Terminate`, and the forms made of them.
const FATAL: [&str; 2] = ["preempt", "terminat"];
/// The condition of GKE's node problem detector.
const TERMINATION: &str = "TerminationScheduled";

impl Going {
    /// What a node shows of its end; `None` when it stays.
    pub(super) fn read(wire: &WireNode) -> Option<Self> {
        let taints = wire.spec.taints.iter();
        let tainted = TAINTS.iter().filter(|(key, _)| taints.clone().any(|it| it.key == *key));
        let conditions = wire.status.iter().flat_map(|status| &status.conditions);
        let said = conditions.filter_map(|it| Some((it.kind.as_str(), condition(it)?)));
        let is_deleted = wire.metadata.deletion_timestamp.is_some();
        let deleted = is_deleted.then_some(("it is being deleted", Term::Open));
        let cordoned = wire.spec.unschedulable.then_some(("it is cordoned", Term::Perhaps));
        let signs = deleted.into_iter().chain(tainted.copied()).chain(said).chain(cordoned);
        let (sign, term) = signs.min_by_key(|(_, term)| *term)?;
        Some(Self { sign: sign.to_owned(), term })
    }
}

/// How long a node has of which this is True; `None` when it says nothing of its end.
fn condition(of: &WireCondition) -> Option<Term> {
    if of.status != "True" {
        return None;
    }
    match of.kind.as_str() {
        TERMINATION => Some(Term::Notice),
        EVENT => {
            let words = format!("{} {}", of.reason, of.message).to_lowercase();
            let is_fatal = FATAL.iter().any(|word| words.contains(word));
            Some(if is_fatal { Term::Notice } else { Term::Open })
        }
        _ => None,
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
        let ended = json!([{"type": "TerminationScheduled", "status": "True"}]);
        assert_eq!(read(&json!({}), &ended).map(|it| it.term), Some(Term::Notice));
    }

    #[test]
    fn of_what_befalls_a_machine_of_aks_only_its_end_is_one() {
        let event = |status: &str, reason: &str, message: &str| {
            let said = json!({
                "type": "VMEventScheduled", "status": status, "reason": reason, "message": message,
            });
            read(&json!({}), &json!([said])).map(|it| it.term)
        };
        for reason in ["FreezeScheduled", "RebootScheduled", "RedeployScheduled", ""] {
            assert_eq!(event("True", reason, "in 15 min"), Some(Term::Open), "{reason}");
        }
        assert_eq!(event("True", "PreemptScheduled", ""), Some(Term::Notice));
        assert_eq!(event("True", "VMEventScheduled", "EventType: Terminate"), Some(Term::Notice));
        assert_eq!(event("False", "NoVMEventScheduled", "no Preempt is scheduled"), None);
    }

    #[test]
    fn of_several_signs_the_one_that_says_most_counts() {
        let taints = json!({"unschedulable": true, "taints": [
            {"key": "karpenter.sh/disrupted"}, {"key": "aws-node-termination-handler/spot-itn"},
        ]});
        let going = read(&taints, &json!([])).map(|it| it.sign);
        assert_eq!(going.as_deref(), Some("aws-node-termination-handler/spot-itn"));
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
