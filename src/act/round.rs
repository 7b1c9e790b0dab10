//! A round of small writes for one workload: some at once, none begun when its time is over, and what they come to. Called by everything
//! that writes to pods or Jobs one by one.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::Licence;
use super::wire::{Answered, odd, request, send};
use crate::clock::Clock;
use crate::decide::{Ending, Scale};

/// Requests at once.
const AT_ONCE: usize = 8;
/// The last is begun no later than this: what is left over is for the next turn, and the answers come within the deadline.
const BUDGET: Duration = Duration::from_secs(2);

/// The time of a round.
pub(super) struct Round {
    clock: Clock,
    began: Timestamp,
}

impl Round {
    pub(super) fn begin(clock: Clock) -> Self {
        Self { clock, began: clock.now() }
    }

    /// Is it too late to begin another?
    pub(super) fn is_over(&self) -> bool {
        Duration::try_from(self.clock.now().duration_since(self.began))
            .is_ok_and(|passed| BUDGET <= passed)
    }
}

/// Does all of it, begun in this order, some at a time.
pub(super) async fn all<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    // A future for each: what borrows from an iterator could not be sent to another thread.
    let work: Vec<_> = work.collect();
    stream::iter(work).buffered(AT_ONCE).collect().await
}

/// The first that stood in the way; without any, all of it is done.
pub(super) fn first(scale: &Scale, endings: Vec<Option<Ending>>) -> Ending {
    let done = || Ending::Done { resource_version: Arc::clone(&scale.resource_version) };
    endings.into_iter().flatten().next().unwrap_or_else(done)
}

/// What one pod is told: a request to its path.
pub(super) struct Word {
    pub(super) method: Method,
    /// Behind the path, with its question mark.
    pub(super) query: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: Value,
}

/// Who speaks to pods. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pods {
    client: Client,
    clock: Clock,
}

impl Pods {
    pub(super) fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// Tells all of them. What came of it the watch shows; a pod that moved meanwhile or is gone is for the next turn. So there is nothing to
    /// report but what keeps all of them from being told.
    pub(super) async fn tell<'a>(
        &self,
        scale: &Scale,
        words: impl Iterator<Item = (&'a Arc<str>, Word)>,
        licence: &Licence,
    ) -> Ending {
        let round = &Round::begin(self.clock);
        let namespace = &scale.target.namespace;
        let one = async |(pod, word): (&Arc<str>, Word)| {
            if let Some(refused) = odd(&[namespace, pod]) {
                return Some(refused);
            }
            if round.is_over() {
                return None;
            }
            let Word { method, query, kind, body } = word;
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}{query}");
            let request = request(method, &path, Some((kind, &body)));
            match send::<Answered>(&self.client, request, licence).await {
                Ok(_) => None,
                // Gone, or moved: the watch shows which.
                Err(failed) if matches!(failed.code(), Some(404 | 409)) => None,
                Err(failed) => Some(failed.into()),
            }
        };
        first(scale, all(words.map(one)).await)
    }
}
