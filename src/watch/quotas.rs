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
use crate::decide::{Budget, PipelineId, Room, Stage, Thing};

use super::stores::{Name, Stores};

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

/// A part that is not looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Nothing {}

/// All quotas that limit what pods of a namespace take.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    each: BTreeMap<Name, Quota>,
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
        if self.of(namespace).next().is_some() {
            self.stale.insert(Arc::clone(namespace));
        }
    }

    fn of<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Quota> + use<'a> {
        let first = Name { namespace: namespace.into(), name: "".into() };
        let namespace = Arc::clone(&first.namespace);
        let after = self.each.range(first..);
        after.take_while(move |(name, _)| name.namespace == namespace).map(|(_, quota)| quota)
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
        if self.quotas.each.get(name).is_some_and(|old| old.hard == hard) {
            return;
        }
        let meant = meant(name, &hard, |_| 0.0);
        self.quotas.each.insert(name.clone(), Quota { hard, meant });
        // What it leaves is not known before that is done.
        self.quotas.added = None;
        self.quotas.stale.insert(Arc::clone(&name.namespace));
        self.touch_namespace(&name.namespace);
    }

    /// A quota went.
    pub(super) fn drop_quota(&mut self, name: &Name) {
        if self.quotas.each.remove(name).is_some() {
            self.touch_namespace(&name.namespace);
        }
    }

    /// Marks the pipelines of a namespace.
    pub(super) fn touch_namespace(&mut self, namespace: &str) {
        let here = self.pipelines.keys().filter(|id| *id.namespace == *namespace);
        let here: Vec<_> = here.cloned().collect();
        self.dirty.extend(here);
    }

    /// Adds up what others than pipelines take of quotas, where that may have moved.
    pub(super) fn share_quotas(&mut self, now: Timestamp) {
        let since = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        if self.quotas.stale.is_empty() || self.quotas.added.is_some_and(|at| since(at) < OFTEN) {
            return;
        }
        self.quotas.added = Some(now);
        for namespace in std::mem::take(&mut self.quotas.stale) {
            let targets = self.stages_of(&namespace).flat_map(Stage::targets);
            let ours: Vec<_> = targets.filter_map(|target| self.targets.selector(target)).collect();
            let others = self.pods.beside(&namespace, &ours);
            let quotas = self.quotas.each.iter_mut();
            for (name, quota) in quotas.filter(|(name, _)| name.namespace == namespace) {
                let new = meant(name, &quota.hard, |thing| others.of(thing));
                if *new != *quota.meant {
                    quota.meant = new;
                }
            }
        }
    }

    /// Every quota over some pipeline: a cluster has many more.
    pub(super) fn quotas_meant(&self) -> BTreeMap<Arc<str>, Arc<Budget>> {
        let mut all = BTreeMap::new();
        let mut next = self.pipelines.keys().next().filter(|_| !self.quotas.each.is_empty());
        while let Some(PipelineId { namespace, .. }) = next {
            let here = self.quotas.of(namespace).map(|quota| &quota.meant);
            all.extend(here.map(|meant| (Arc::clone(&meant.name), Arc::clone(meant))));
            // No name of an object sorts after this one.
            let last = PipelineId { namespace: Arc::clone(namespace), name: "~".into() };
            next = self.pipelines.range(last..).next().map(|(id, _)| id);
        }
        all
    }

    fn stages_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Stage> {
        let first = PipelineId { namespace: namespace.into(), name: "".into() };
        let here =
            self.pipelines.range(first..).take_while(move |(id, _)| *id.namespace == *namespace);
        here.filter_map(|(_, written)| written.meant()).flat_map(|meant| &meant.pipeline.stages)
    }
}

/// What a quota leaves to pipelines.
fn meant(name: &Name, hard: &[(Thing, f64)], others: impl Fn(Thing) -> f64) -> Arc<Budget> {
    let room = |&(of, hard): &(Thing, f64)| Room { of, hard, left: hard - others(of) };
    Arc::new(Budget {
        name: format!("{}/{}", name.namespace, name.name).into(),
        cost_per_hour: None,
        cores: None,
        is_enforced: true,
        rooms: hard.iter().map(room).collect(),
    })
}
