//! What the makers of nodes say in Events: that no more can be had, or that one is taken back. Karpenter says so of a `NodeClaim` or a Node, Cluster
//! Autoscaler of a pod. Events may be lost or late, so they only hasten what waiting pods and taints show as well.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde::Deserialize;

use super::super::stores::{Name, Stores};
use crate::decide::{Sign, Stage};

/// The reasons that are asked for: one watch each, since a field selector knows no "or".
pub(in crate::watch) const REASONS: [&str; 3] =
    ["InsufficientCapacityError", "NotTriggerScaleUp", INTERRUPTED];
/// What Karpenter says of a node when the cloud takes it back: its taint says no more than that it drains the node, for whatever cause.
const INTERRUPTED: &str = "SpotInterrupted";

/// What of an Event counts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default)]
    note: String,
    #[serde(default)]
    reason: String,
    regarding: Regarding,
    event_time: Option<Timestamp>,
    deprecated_last_timestamp: Option<Timestamp>,
    series: Option<Series>,
}

#[derive(Debug, Deserialize)]
struct Regarding {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    last_observed_time: Option<Timestamp>,
}

impl Told {
    fn at(&self) -> Option<Timestamp> {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time);
        [series, self.event_time, self.deprecated_last_timestamp].into_iter().flatten().max()
    }
}

impl Stores {
    /// Somebody who makes nodes has said something.
    pub(in crate::watch) fn put_sign(&mut self, _: &Name, object: DynamicObject) {
        let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let Ok(told) = serde_json::from_value::<Told>(object.data) else { return };
        let Some(at) = told.at().or(created) else { return };
        if told.reason == INTERRUPTED {
            let is_news = told.regarding.kind == "Node"
                && self.nodes.warn(&told.regarding.name.as_str().into(), at);
            if is_news {
                self.touch_laned();
            }
            return;
        }
        let what = format!("{}: {}", told.reason, told.note).into();
        let sign = Sign { at, is_hard: true, what };
        let has_moved =
            match told.regarding.kind.as_str() {
                // A NodeClaim is called after its NodePool, and five letters.
                "NodeClaim" => told.regarding.name.rsplit_once('-').is_some_and(|(maker, _)| {
                    self.nodes.sign(|pool| pool.is_made_by(maker), &sign)
                }),
                "Pod" => {
                    let pools = self.pools_of_pod(&told.regarding.namespace, &told.regarding.name);
                    self.nodes.sign(|pool| pools.contains(&pool.meant.name), &sign)
                }
                _ => false,
            };
        if has_moved {
            self.touch_laned();
        }
    }

    /// The pools that a pod may run on, by the lane it belongs to.
    fn pools_of_pod(&self, namespace: &str, name: &str) -> Vec<Arc<str>> {
        let Some(labels) = self.pods.labels_of(namespace, name) else { return Vec::new() };
        let owners = self.targets.touched_by(namespace, &[labels]);
        let owning = self.laned.iter().filter_map(|id| self.pipelines.get(id)?.meant());
        let lanes = owning.flat_map(|meant| &meant.pipeline.stages).flat_map(lanes_of);
        lanes.filter(|(_, target)| owners.contains(target)).map(|(pool, _)| pool).collect()
    }
}

fn lanes_of(stage: &Stage) -> impl Iterator<Item = (Arc<str>, &crate::decide::TargetId)> {
    stage.lanes.iter().map(|lane| (Arc::clone(&lane.pool), &lane.target))
}
