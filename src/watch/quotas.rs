//! `ResourceQuota`s as they stand: what each leaves to pipelines of its namespace, beside what other pods there take. It is reckoned from the pods
//! themselves and not from the quota's status: that is later or earlier than what is seen of pods, and the difference would look like somebody
//! else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use crate::crd::quantity::Quantity;
use crate::decide::{Budget, Mode, PipelineId, Room, Stage, Thing};

use super::stores::{Name, Nothing, Stores};
use super::written::Written;

/// How often what others take is added up, at most: in a large namespace pods move all the time.
const OFTEN: Duration = Duration::from_secs(1);

/// A quota as it is asked of the API server.
pub(super) type WireQuota = Object<WireQuotaSpec, Nothing>;

/// What it limits, and of which pods.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireQuotaSpec {
    #[serde(default)]
    hard: BTreeMap<String, Quantity>,
    #[serde(default)]
    scopes: Vec<String>,
    scope_selector: Option<Nothing>,
}

/// All quotas that limit what pods of a namespace take.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// By namespace and name.
    each: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Quota>>,
    /// Namespaces where pods or quotas have moved since what others take was added up.
    stale: BTreeSet<Arc<str>>,
    /// When that was last done.
    added: Option<Timestamp>,
}

#[derive(Debug)]
struct Quota {
    hard: Vec<(Thing, f64)>,
    meant: Arc<Budget>,
}

impl Quotas {
    /// Pods or targets of a namespace moved.
    pub(super) fn touch(&mut self, namespace: &Arc<str>) {
        if self.each.contains_key(namespace) {
            self.stale.insert(Arc::clone(namespace));
        }
    }

    /// A pipeline came into a namespace: what its quotas leave is added up before it is asked, whenever that was done last.
    pub(super) fn enter(&mut self, namespace: &Arc<str>) {
        if self.each.contains_key(namespace) {
            self.stale.insert(Arc::clone(namespace));
            self.added = None;
        }
    }

    fn of(&self, namespace: &str) -> impl Iterator<Item = &Quota> {
        self.each.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// Names of those over a namespace.
    pub(super) fn over(&self, namespace: &str) -> impl Iterator<Item = Arc<str>> {
        self.of(namespace).map(|quota| Arc::clone(&quota.meant.name))
    }
}

impl Stores {
    /// A quota came or changed.
    pub(super) fn put_quota(&mut self, name: &Name, wire: WireQuota) {
        let WireQuotaSpec { hard, scopes, scope_selector } = wire.spec;
        let mut limits = BTreeMap::new();
        for (limit, most) in hard {
            if let Some((thing, most)) = Thing::named(&limit).zip(most.read()) {
                let least = limits.entry(thing).or_insert(most);
                *least = most.min(*least);
            }
        }
        // One of some pods only would have to know what makes them so.
        let is_of_some = !scopes.is_empty() || scope_selector.is_some();
        if limits.is_empty() || is_of_some {
            self.drop_quota(name);
            return;
        }
        let hard: Vec<_> = limits.into_iter().collect();
        let here = self.quotas.each.entry(Arc::clone(&name.namespace)).or_default();
        if here.get(&name.name).is_some_and(|old| old.hard == hard) {
            return;
        }
        let meant = meant((&name.namespace, &name.name), &hard, |_| 0.0);
        here.insert(Arc::clone(&name.name), Quota { hard, meant });
        // What it leaves is not known before that is done.
        self.quotas.added = None;
        self.quotas.stale.insert(Arc::clone(&name.namespace));
        self.touch_namespace(&name.namespace);
    }

    /// A quota went.
    pub(super) fn drop_quota(&mut self, name: &Name) {
        let Some(here) = self.quotas.each.get_mut(&name.namespace) else { return };
        if here.remove(&name.name).is_none() {
            return;
        }
        if here.is_empty() {
            self.quotas.each.remove(&name.namespace);
        }
        self.touch_namespace(&name.namespace);
    }

    /// Marks the pipelines of a namespace.
    pub(super) fn touch_namespace(&mut self, namespace: &str) {
        let here: Vec<_> = self.pipelines_of(namespace).map(|(id, _)| id.clone()).collect();
        self.dirty.extend(here);
    }

    /// Adds up what others than pipelines take of quotas, where that may have moved and there is a pipeline to ask.
    pub(super) fn share_quotas(&mut self, now: Timestamp) {
        let since = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        if self.quotas.stale.is_empty() || self.quotas.added.is_some_and(|at| since(at) < OFTEN) {
            return;
        }
        self.quotas.added = Some(now);
        for namespace in std::mem::take(&mut self.quotas.stale) {
            if self.pipelines_of(&namespace).next().is_none() {
                continue;
            }
            let targets = self.stages_of(&namespace).flat_map(Stage::targets);
            let ours: Vec<_> = targets.filter_map(|target| self.targets.selector(target)).collect();
            let others = self.pods.beside(&namespace, &ours, &self.rooms_of(&namespace));
            let here = self.quotas.each.get_mut(&namespace).into_iter().flatten();
            for (name, quota) in here {
                let new = meant((&namespace, name), &quota.hard, |thing| others.of(thing));
                if *new != *quota.meant {
                    quota.meant = new;
                }
            }
        }
    }

    /// Every quota over one of these pipelines: a cluster has many more, and most of them are not asked now.
    pub(super) fn quotas_over<'a>(
        &self,
        due: impl Iterator<Item = &'a PipelineId>,
    ) -> BTreeMap<Arc<str>, Arc<Budget>> {
        if self.quotas.each.is_empty() {
            return BTreeMap::new();
        }
        let namespaces: BTreeSet<&str> = due.map(|id| &*id.namespace).collect();
        let quotas = namespaces.into_iter().flat_map(|namespace| self.quotas.of(namespace));
        quotas.map(|quota| (Arc::clone(&quota.meant.name), Arc::clone(&quota.meant))).collect()
    }

    fn pipelines_of<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a PipelineId, &'a Written)> {
        let first = PipelineId { namespace: namespace.into(), name: "".into() };
        self.pipelines.range(first..).take_while(move |(id, _)| *id.namespace == *namespace)
    }

    /// The names of what keeps room in a namespace and is given back as soon as a real pod lacks it: not where nothing is written.
    fn rooms_of(&self, namespace: &str) -> BTreeSet<Arc<str>> {
        let here = self.pipelines_of(namespace).filter_map(|(_, written)| written.meant());
        let acting = here.map(|meant| &meant.pipeline).filter(|pipeline| !pipeline.pause.all);
        let each = acting.flat_map(|pipeline| {
            let stages = pipeline.stages.iter().filter(|stage| stage.mode == Mode::Enforce);
            stages.flat_map(|stage| stage.reserves(&pipeline.id))
        });
        each.map(|keeps| keeps.name).collect()
    }

    fn stages_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Stage> {
        let here = self.pipelines_of(namespace).filter_map(|(_, written)| written.meant());
        here.flat_map(|meant| &meant.pipeline.stages)
    }
}

/// What a quota leaves to pipelines.
fn meant(
    (namespace, name): (&str, &str),
    hard: &[(Thing, f64)],
    others: impl Fn(Thing) -> f64,
) -> Arc<Budget> {
    let room = |&(of, hard): &(Thing, f64)| Room { of, hard, left: hard - others(of) };
    Arc::new(Budget {
        name: format!("{namespace}/{name}").into(),
        cost_per_hour: None,
        cores: None,
        is_enforced: true,
        rooms: hard.iter().map(room).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A quota of ten pods, of which others have one, and of the room of a stage there are two.
    fn left(annotations: &Value, capacity: &Value) -> f64 {
        let mut stores = Stores::default();
        let name = |name: &str| Name { namespace: "shop".into(), name: name.into() };
        let quota = json!({"metadata": {}, "spec": {"hard": {"pods": "10"}}});
        stores.put_quota(&name("pods"), serde_json::from_value(quota).unwrap());
        let kafka = json!({"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"});
        let stage = json!({
            "name": "sink", "target": {"kind": "Deployment", "name": "sink"},
            "capacity": capacity, "replicas": {"max": 9}, "sources": [{"name": "q", "kafka": kafka}],
        });
        let pipeline = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "u", "annotations": annotations},
            "spec": {"stages": [stage]},
        });
        stores.put_pipeline(&name("orders"), serde_json::from_value(pipeline).unwrap());
        let due = stores.pipelines.keys().cloned().collect::<Vec<_>>();
        stores.understand();
        let reserve = crate::decide::reserve_name(&due[0], "sink", None);
        for (pod, labels) in [
            ("other", json!({"app": "web"})),
            ("room-1", json!({crate::decide::ReserveSeen::LABEL: reserve})),
            ("room-2", json!({crate::decide::ReserveSeen::LABEL: reserve})),
        ] {
            let wire = json!({"metadata": {"name": pod, "labels": labels}, "spec": {}, "status": {"phase": "Running"}});
            stores.pods.put(&name(pod), &serde_json::from_value(wire).unwrap());
        }
        stores.share_quotas(Timestamp::UNIX_EPOCH);
        stores.quotas_over(due.iter())["shop/pods"].rooms[0].left
    }

    #[test]
    fn placeholders_that_give_way_take_nothing_of_a_quota_and_others_do() {
        let headroom = json!({"headroom": {"mode": "Auto"}});
        assert!((left(&json!({}), &headroom) - 9.0).abs() < 1e-9);
        assert!((left(&json!({}), &Value::Null) - 7.0).abs() < 1e-9, "no stage keeps them");
        let paused = json!({"penstock.dev/paused": "true"});
        assert!((left(&paused, &headroom) - 7.0).abs() < 1e-9, "nobody takes them away");
    }
}
