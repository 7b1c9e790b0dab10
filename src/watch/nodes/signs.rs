//! What the makers of nodes say in Events: that no more can be had, or that one is taken back. Karpenter says so of a `NodeClaim` or a Node, Cluster
//! Autoscaler of a pod. Events may be lost or late, so they only hasten what waiting pods and taints show as well; what may be about something
//! else is not taken for a sign.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde::Deserialize;

use super::super::stores::{Name, Stores};
use super::{FRESH, Nodes};
use crate::decide::{Class, Lane, Sign, TargetId};

/// The reasons that are asked for: one watch each, since a field selector knows no "or".
pub(in crate::watch) const REASONS: [&str; 3] =
    ["InsufficientCapacityError", UNTRIGGERED, INTERRUPTED];
/// What Cluster Autoscaler says of a pod for which it makes no node.
const UNTRIGGERED: &str = "NotTriggerScaleUp";
/// What Karpenter says of a node when the cloud takes it back: its taint says no more than that it drains the node, for whatever cause.
const INTERRUPTED: &str = "SpotInterrupted";
/// Why Cluster Autoscaler makes none, where that is for want of nodes. All else that it names is what the pod asks for and no group has.
const WANTS: [&str; 6] = [
    "in backoff after failed scale-up",
    "max node group size reached",
    "not ready for scale-up",
    "max cluster ",
    "max total nodes in cluster reached",
    "exceeded quota: ",
];
/// What Amazon says when it is spot that it has none of, in lower case.
const OF_SPOT: [&str; 2] = ["no spot capacity", "maxspotinstancecountexceeded"];
/// Signs kept of a pool, and of each lane.
const KEPT: usize = 10;

/// Signs of a pool, and those of the pods of one lane.
#[derive(Debug, Default)]
pub(super) struct Signs(BTreeMap<Option<TargetId>, Vec<Sign>>);

impl Signs {
    /// Notes one; true when it is new. Lists of Events come by name, so an old one may come after a new one: it is not taken, and takes the
    /// place of none.
    fn put(&mut self, lane: Option<&TargetId>, sign: &Sign, now: Timestamp) -> bool {
        // Clocks of others may be ahead.
        let is_near = |sign: &Sign| now.duration_since(sign.at).unsigned_abs() < FRESH;
        self.0.retain(|_, all| all.iter().any(is_near));
        if !is_near(sign) {
            return false;
        }
        let all = self.0.entry(lane.cloned()).or_default();
        if all.contains(sign) {
            return false;
        }
        let place = all.partition_point(|other| other.at <= sign.at);
        all.insert(place, sign.clone());
        if all.len() <= KEPT {
            return true;
        }
        all.remove(0);
        0 < place
    }

    /// Those that may be of use yet.
    pub(super) fn fresh(&self, lane: Option<&TargetId>, now: Timestamp) -> Vec<Sign> {
        let all = self.0.get(&lane.cloned()).into_iter().flatten();
        let age = |sign: &Sign| Duration::try_from(now.duration_since(sign.at));
        all.filter(|sign| age(sign).is_ok_and(|age| age < FRESH)).cloned().collect()
    }
}

impl Nodes {
    /// What was said of the pods of a lane.
    pub(in crate::watch) fn said_of(&self, lane: &Lane, now: Timestamp) -> Vec<Sign> {
        let note = self.pools.get(&lane.pool);
        note.map(|note| note.signs.fresh(Some(&lane.target), now)).unwrap_or_default()
    }

    /// Notes a sign of a pool, or of the pods of one lane on it; true when it is new.
    fn sign(&mut self, pool: &str, lane: Option<&TargetId>, sign: &Sign, now: Timestamp) -> bool {
        let is_new = self.pools.get_mut(pool).is_some_and(|note| note.signs.put(lane, sign, now));
        self.has_moved |= is_new;
        is_new
    }
}

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

    /// Is it for want of nodes that there is none for a pod, and not for what the pod asks for?
    fn is_of_want(&self) -> bool {
        self.reason != UNTRIGGERED || WANTS.iter().any(|want| self.note.contains(want))
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
        let now = self.house.clock.map_or(at, |clock| clock.now());
        let has_moved = match told.regarding.kind.as_str() {
            "NodeClaim" => self
                .pool_of_claim(&told, at)
                .is_some_and(|pool| self.nodes.sign(&pool, None, &sign, now)),
            "Pod" if told.is_of_want() => {
                let lanes = self.lanes_of_pod(&told.regarding);
                let put = |(pool, target): &(Arc<str>, TargetId)| {
                    self.nodes.sign(pool, Some(target), &sign, now)
                };
                lanes.iter().map(put).fold(false, |any, one| any | one)
            }
            _ => false,
        };
        if has_moved {
            self.touch_laned();
        }
    }

    /// The pool of which a claim is. Karpenter says neither how nor where its nodes were to be had, so of several pools of one `NodePool` it is that
    /// for which pods wait; if there is no such one, or more than one, nobody knows.
    fn pool_of_claim(&self, told: &Told, at: Timestamp) -> Option<Arc<str>> {
        let claim = &told.regarding.name;
        // It is called after its NodePool, and five letters.
        let (maker, _) = claim.rsplit_once('-')?;
        let words = told.note.replace(claim.as_str(), "").to_lowercase();
        let is_of_spot = OF_SPOT.iter().any(|word| words.contains(word));
        let all = self.nodes.pools.iter().filter(|(_, note)| note.is_made_by(maker));
        let mut pools: Vec<_> = all
            .filter(|(_, note)| !is_of_spot || note.meant.class == Class::Spot)
            .map(|(name, _)| name)
            .collect();
        if 1 < pools.len() {
            let waits = |lane: &Lane| self.waits_since(&lane.target, at).is_some_and(|it| it <= at);
            let waiting: Vec<_> = self.lanes().filter(|lane| waits(lane)).collect();
            pools.retain(|pool| waiting.iter().any(|lane| lane.pool == **pool));
        }
        let [pool] = pools[..] else { return None };
        Some(Arc::clone(pool))
    }

    /// The lanes that a pod belongs to, and their pools.
    fn lanes_of_pod(&self, pod: &Regarding) -> Vec<(Arc<str>, TargetId)> {
        let Some(labels) = self.pods.labels_of(&pod.namespace, &pod.name) else {
            return Vec::new();
        };
        let owners = self.targets.touched_by(&pod.namespace, &[labels]);
        let lanes = self.lanes().filter(|lane| owners.contains(&lane.target));
        lanes.map(|lane| (Arc::clone(&lane.pool), lane.target.clone())).collect()
    }

    /// The lanes of all pipelines.
    pub(in crate::watch) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        let meant = self.laned.iter().filter_map(|id| self.pipelines.get(id)?.meant());
        meant.flat_map(|meant| &meant.pipeline.stages).flat_map(|stage| &stage.lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sign_that_comes_after_new_ones_takes_the_place_of_none() {
        let now = Timestamp::UNIX_EPOCH;
        let minutes_ago = |minutes: u64| Sign {
            at: now.checked_sub(Duration::from_mins(minutes)).unwrap(),
            is_hard: true,
            what: "InsufficientCapacityError".into(),
        };
        let mut signs = Signs::default();
        assert!(signs.put(None, &minutes_ago(5), now));
        assert!(!signs.put(None, &minutes_ago(120), now));
        assert_eq!(signs.fresh(None, now), [minutes_ago(5)]);
        // Of many the newest are kept, in whatever order they come.
        for minutes in (6..40).rev() {
            signs.put(None, &minutes_ago(minutes), now);
        }
        assert!(!signs.put(None, &minutes_ago(50), now));
        let ages = (5..15).rev().map(minutes_ago);
        assert_eq!(signs.fresh(None, now), ages.collect::<Vec<_>>());
        // What is old by now goes with the next that comes.
        assert!(signs.put(
            None,
            &minutes_ago(0),
            now.checked_add(Duration::from_mins(58)).unwrap()
        ));
        assert_eq!(signs.0.values().map(Vec::len).sum::<usize>(), 1);
    }
}
