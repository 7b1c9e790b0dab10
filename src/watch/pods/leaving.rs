//! The pods of a workload whose drain is held: whose budget selects them, and which stand on nodes that are about to go.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::decide::Leaving;
use crate::watch::nodes::{CORDON, End, Nodes};
use crate::watch::selector::Selector;

use super::{Pod, Pods, State};

/// A budget yields so long after the end of the node for which it was tight, at the latest.
const AFTER: Duration = Duration::from_mins(1);

/// The pods of a workload, for those who drain their nodes.
#[derive(Debug, Default)]
pub(in crate::watch) struct Crowd {
    pub(in crate::watch) pods: u32,
    /// Somebody else's budget that selects one of them.
    pub(in crate::watch) other: Option<Arc<str>>,
    /// How long who drains may be held up: till the first of the nodes that go, and have a Ready pod, was waited for long enough. `None` while
    /// there is none. Of a node that merely stays cordoned this is long past, and not none: whoever comes to drain it is not held up either.
    pub(in crate::watch) until: Option<Timestamp>,
    pub(in crate::watch) leaving: Vec<Leaving>,
}

impl Pod {
    fn is_there(&self) -> bool {
        matches!(self.state, State::Pending | State::Runs)
    }
}

impl Pods {
    /// The pods that a selector matches, those apart that are on their way out; `other` says whose budget selects a pod with these labels.
    pub(in crate::watch) fn crowd(
        &self,
        namespace: &str,
        selector: &Selector,
        nodes: &Nodes,
        now: Timestamp,
        other: impl Fn(&str) -> Option<Arc<str>>,
    ) -> Crowd {
        let mut crowd = Crowd::default();
        // Most of a workload's pods have the same labels, and share them.
        let mut looked: Option<&Arc<str>> = None;
        for (name, pod) in self.matching(namespace, selector).filter(|(_, pod)| pod.is_there()) {
            crowd.pods += 1;
            if looked.is_none_or(|labels| !Arc::ptr_eq(labels, &pod.labels)) {
                looked = Some(&pod.labels);
                crowd.other = crowd.other.or_else(|| other(&pod.labels));
            }
            let ground = pod.node.as_ref().and_then(|node| nodes.ground(node, now));
            let Some((going, since)) = ground.and_then(|it| Some((it.going, it.since?))) else {
                continue;
            };
            let until = match going {
                Some(End::By(end)) => end.checked_add(AFTER),
                Some(End::Open) | None => since.checked_add(CORDON),
            };
            if pod.ready_since.is_some()
                && let Ok(until) = until
            {
                crowd.until = Some(crowd.until.map_or(until, |first| first.min(until)));
            }
            // One that came after the notice was put there by somebody who knows better.
            let was_there = pod.started.is_some_and(|started| started <= since.as_second());
            if let Some(End::By(end)) = going
                && was_there
                && pod.mark.version() != 0
            {
                crowd.leaving.push(Leaving {
                    pod: Arc::clone(name),
                    version: pod.mark.version(),
                    grace: Duration::from_secs(pod.grace.into()),
                    end,
                });
            }
        }
        crowd
    }

    /// Does this pod stand Ready on a node with a notice? Then its packed labels.
    pub(in crate::watch) fn awaits_interruption(
        &self,
        namespace: &str,
        name: &str,
        nodes: &Nodes,
    ) -> Option<Arc<str>> {
        let pod = self.by_namespace.get(namespace)?.get(name)?;
        let node = pod.node.as_ref().filter(|_| pod.ready_since.is_some())?;
        nodes.has_notice(node).then(|| Arc::clone(&pod.labels))
    }
}
