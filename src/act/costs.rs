//! Tells which pods of a workload are to go first: writes `controller.kubernetes.io/pod-deletion-cost`, or takes it away again. A JSON merge
//! patch that states the `resourceVersion` the pod was seen at: a cost that somebody else wrote since is never overwritten, and a pod
//! that is gone is not made anew, as an apply would try to.

use http::Method;
use kube::Client;
use serde_json::json;

use super::Licence;
use super::round::{Pods, Word};
use super::wire::MERGE_PATCH;
use crate::clock::Clock;
use crate::decide::{Ending, GiveUpFirst, PodCost};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// By the name of this field manager `watch` tells our costs from those of others.
const BY: &str = "?fieldManager=penstock-scalein";

/// Who tells pods. Cheap to clone.
#[derive(Clone)]
pub(super) struct Crier(Pods);

impl Crier {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self(Pods::new(client, clock))
    }

    /// Tells all of them.
    pub(super) async fn carry_out(&self, told: &GiveUpFirst, licence: &Licence) -> Ending {
        let words = told.costs.iter().map(|cost| (&cost.pod, word(cost)));
        self.0.tell(&told.scale, words, licence).await
    }
}

fn word(cost: &PodCost) -> Word {
    // Null takes it away.
    let value = cost.cost.map(|value| value.to_string());
    let body = json!({"metadata": {
        "resourceVersion": cost.version.to_string(),
        "annotations": {COST: value},
    }});
    Word { method: Method::PATCH, query: BY, kind: MERGE_PATCH, body }
}
