//! Tells which pods of a workload are to go first: writes `controller.kubernetes.io/pod-deletion-cost`, or takes it away again. A JSON merge
//! patch that states the `resourceVersion` the pod was seen at: a cost that somebody else wrote since is never overwritten, and a pod
//! that is gone is not made anew, as an apply would try to.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::json;

use super::Licence;
use super::kinds::is_plain;
use super::scale::{cut, ending_of, text};
use crate::clock::Clock;
use crate::decide::{Ending, GiveUpFirst, PodCost, Scale};

/// By this name `watch` tells our costs from those of others.
const FIELD_MANAGER: &str = "penstock-scalein";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Requests at once.
const AT_ONCE: usize = 8;
/// The last pod is begun no later than this: who is left over is told in the next turn, and the answers come within the deadline.
const BUDGET: Duration = Duration::from_secs(2);

/// Who tells pods. Cheap to clone.
#[derive(Clone)]
pub(super) struct Crier {
    client: Client,
    clock: Clock,
}

/// Of an answered pod nothing is read.
#[derive(Deserialize)]
struct Answered {}

impl Crier {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// Tells all of them. What was told the watch shows; a pod that moved meanwhile or is gone is for the next turn. So there is nothing to
    /// report but what keeps all of them from being told.
    pub(super) async fn carry_out(&self, told: &GiveUpFirst, licence: &Licence) -> Ending {
        let scale = &told.scale;
        let began = self.clock.now();
        let work: Vec<_> =
            told.costs.iter().map(|cost| self.tell(scale, cost, began, licence)).collect();
        let endings: Vec<_> = stream::iter(work).buffered(AT_ONCE).collect().await;
        let done = || Ending::Done { resource_version: Arc::clone(&scale.resource_version) };
        endings.into_iter().flatten().next().unwrap_or_else(done)
    }

    /// Tells one; `None` unless something stands in the way of others, too.
    async fn tell(
        &self,
        scale: &Scale,
        cost: &PodCost,
        began: Timestamp,
        licence: &Licence,
    ) -> Option<Ending> {
        let namespace = &scale.target.namespace;
        for part in [namespace, &cost.pod] {
            if !is_plain(part) {
                let message = format!("`{part}` cannot be part of an API path");
                return Some(Ending::Refused { code: 400, message });
            }
        }
        let passed = Duration::try_from(self.clock.now().duration_since(began));
        if passed.is_ok_and(|passed| BUDGET <= passed) {
            return None;
        }
        let request = match request(namespace, cost) {
            Ok(request) => request,
            Err(error) => {
                return Some(Ending::Refused { code: 400, message: cut(&error.to_string()) });
            }
        };
        if let Err(none) = licence.check() {
            return Some(Ending::NotSent { message: none.to_string() });
        }
        match self.client.request::<Answered>(request).await {
            Ok(Answered {}) => None,
            // Gone, or moved: the watch shows which.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
            Err(kube::Error::Api(status)) => Some(ending_of(&status)),
            Err(error) => Some(Ending::Unknown { message: cut(&text(&error)) }),
        }
    }
}

fn request(namespace: &str, cost: &PodCost) -> Result<Request<Vec<u8>>, http::Error> {
    // Null takes it away.
    let value = cost.cost.map(|value| value.to_string());
    let body = json!({"metadata": {
        "resourceVersion": cost.version.to_string(),
        "annotations": {COST: value},
    }});
    Request::builder()
        .method(Method::PATCH)
        .uri(format!(
            "/api/v1/namespaces/{namespace}/pods/{}?fieldManager={FIELD_MANAGER}",
            cost.pod
        ))
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
}
