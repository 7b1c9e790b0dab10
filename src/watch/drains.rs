//! `PodDisruptionBudgets`: which pods each selects, and which are Penstock's own. Followed from the first stage on that holds drains: without
//! one nobody asks, and no right is needed. And how many pods of each workload interruptions have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use crate::crd::connection::Selector as Written;
use crate::decide::{BudgetSeen, Crew, Draining, Grip, PipelineId, Stage, TargetId, Term};

use super::selector::Selector;
use super::stores::{Name, Stores};

/// How the store is called.
pub(super) const STORE: &str = "pod disruption budgets";

/// A budget as it is asked of the API server: everything that is not named here is dropped while it is parsed.
pub(super) type WireBudget = Object<WireSpec, Nothing>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSpec {
    min_available: Option<IntOrString>,
    max_unavailable: Option<IntOrString>,
    selector: Option<Written>,
}

/// A part of an object that is not looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Nothing {}

/// Every budget, and what interruptions have ended.
#[derive(Debug, Default)]
pub(super) struct Drains {
    budgets: BTreeMap<Name, Note>,
    /// Is the watch of budgets on its way?
    pub(super) is_followed: bool,
    /// Pipelines with a stage that holds drains, or says so and cannot be read.
    pub(super) holding: BTreeSet<PipelineId>,
    /// How many pods of each workload interruptions have ended.
    ended: BTreeMap<TargetId, u64>,
    /// Those of them that are there still, so that each counts once.
    ending: BTreeSet<Name>,
}

/// A budget, cut down.
#[derive(Debug, PartialEq)]
struct Note {
    /// Which pods; `None` is none.
    selector: Option<Selector>,
    ours: Option<Ours>,
}

/// What is known of one of Penstock's own.
#[derive(Debug, PartialEq)]
struct Ours {
    uid: Arc<str>,
    version: Arc<str>,
    /// uid of the pipeline it belongs to.
    owner: Arc<str>,
    grip: Option<Grip>,
    /// Until when it is tight, as it says.
    until: Option<Timestamp>,
    terms: Vec<Term>,
}

impl Note {
    fn read(wire: &WireBudget) -> Self {
        let meta = &wire.metadata;
        let selector = wire.spec.selector.as_ref().map(Selector::of);
        let is_ours =
            meta.labels.as_ref().is_some_and(|labels| labels.contains_key(Draining::LABEL));
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.kind == "ScaledPipeline");
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let ours = owner.filter(|_| is_ours).map(|owner| Ours {
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            owner: owner.uid.as_str().into(),
            grip: grip(wire),
            until: until(wire),
            terms: selector.as_ref().map(Selector::terms).unwrap_or_default(),
        });
        Self { selector, ours }
    }

    fn matches(&self, labels: &str) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}

/// What a budget of Penstock's says, if that is something that Penstock writes.
fn grip(wire: &WireBudget) -> Option<Grip> {
    match (&wire.spec.min_available, &wire.spec.max_unavailable) {
        (None, Some(IntOrString::Int(1))) => Some(Grip::Loose),
        (Some(IntOrString::Int(least)), None) => {
            Some(Grip::Tight { least: u32::try_from(*least).ok()?, until: until(wire)? })
        }
        _ => None,
    }
}

/// Until when a budget is tight, as it says.
fn until(wire: &WireBudget) -> Option<Timestamp> {
    wire.metadata.annotations.as_ref()?.get(Grip::UNTIL)?.parse().ok()
}

impl Drains {
    /// The budgets of a namespace.
    fn here<'a, 'b>(
        &'a self,
        namespace: &'b str,
    ) -> impl Iterator<Item = (&'a Name, &'a Note)> + use<'a, 'b> {
        let first = Name { namespace: namespace.into(), name: "".into() };
        self.budgets.range(first..).take_while(move |(name, _)| *name.namespace == *namespace)
    }

    /// The first budget by name that is not this workload's own and selects a pod with these labels. Of two of Penstock's, which two
    /// workloads with a selector in common would have, the first by name stands.
    fn other(&self, own: &Name, labels: &str) -> Option<&Arc<str>> {
        let mut here = self.here(&own.namespace);
        let in_the_way = |(name, note): &(&Name, &Note)| {
            let is_first = note.ours.is_none() || **name < *own;
            *name != own && is_first && note.matches(labels)
        };
        here.find(in_the_way).map(|(name, _)| &name.name)
    }

    /// The budget that has the name of this workload's own and is not Penstock's: whatever it selects, none can be made.
    fn in_its_place(&self, own: &Name) -> Option<&Arc<str>> {
        let (name, note) = self.budgets.get_key_value(own)?;
        note.ours.is_none().then_some(&name.name)
    }

    /// Budgets of Penstock's that a pipeline owns, and those of its workloads.
    fn of<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a str,
        names: &'a [String],
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Ours)> {
        self.here(namespace).filter_map(move |(name, note)| {
            let ours = note.ours.as_ref()?;
            let is_named = || names.iter().any(|own| **own == *name.name);
            (*ours.owner == *owner || is_named()).then_some((&name.name, ours))
        })
    }
}

impl Stores {
    /// A budget came or changed.
    pub(super) fn put_budget_of_pods(&mut self, name: &Name, wire: &WireBudget) {
        let note = Note::read(wire);
        let says = |note: &Note| {
            let ours = note.ours.as_ref();
            (
                note.selector.clone(),
                ours.map(|ours| (Arc::clone(&ours.owner), ours.grip, ours.until)),
            )
        };
        let is_news = self.drains.budgets.get(name).map(says) != Some(says(&note));
        self.drains.budgets.insert(name.clone(), note);
        if is_news {
            self.touch_holding(name);
        }
    }

    /// A budget went.
    pub(super) fn drop_budget_of_pods(&mut self, name: &Name) {
        self.touch_holding(name);
        self.drains.budgets.remove(name);
    }

    /// Marks the pipelines that a budget concerns.
    fn touch_holding(&mut self, name: &Name) {
        let owner = self.drains.budgets.get(name).and_then(|note| note.ours.as_ref());
        let concerns = |id: &&PipelineId| {
            let owns = |uid: &Arc<str>| owner.is_some_and(|ours| ours.owner == *uid);
            id.namespace == name.namespace
                && (self.drains.holding.contains(*id)
                    || self.pipelines.get(*id).is_some_and(|it| owns(&it.uid)))
        };
        let concerned: Vec<_> = self.pipelines.keys().filter(concerns).cloned().collect();
        self.dirty.extend(concerned);
    }

    /// What is known of the evictions of a pipeline's pods; `None` while nobody holds any back, or budgets are still being listed.
    pub(super) fn draining(
        &self,
        id: &PipelineId,
        uid: &str,
        stages: &[Stage],
        now: Timestamp,
    ) -> Option<Draining> {
        if !self.drains.is_followed || self.awaits_in(STORE, &id.namespace) {
            return None;
        }
        let holding = stages.iter().filter(|stage| stage.holds);
        let targets: Vec<_> = holding.flat_map(Stage::targets).collect();
        let names: Vec<_> = targets.iter().map(|target| target.budget()).collect();
        let held: Vec<_> = targets.iter().filter_map(|target| self.crew(target, now)).collect();
        let seen = |(name, ours): (&Arc<str>, &Ours)| {
            let crew = held.iter().find(|crew| *crew.target.budget() == **name);
            let is_own = *ours.owner == *uid;
            let fits = is_own && crew.is_none_or(|crew| crew.selector == ours.terms);
            BudgetSeen {
                name: Arc::clone(name),
                uid: Arc::clone(&ours.uid),
                version: Arc::clone(&ours.version),
                grip: ours.grip.filter(|_| fits),
                until: ours.until.filter(|_| is_own),
            }
        };
        let budgets: Vec<_> = self.drains.of(&id.namespace, uid, &names).map(seen).collect();
        if targets.is_empty() && budgets.is_empty() {
            return None;
        }
        let is_unreadable = self.is_without_in(STORE, &id.namespace);
        Some(Draining { held, budgets, is_unreadable })
    }

    /// The pods of a workload whose drain is held; `None` while they cannot be told.
    fn crew(&self, target: &TargetId, now: Timestamp) -> Option<Crew> {
        let selector = self.targets.selector(target)?;
        let own = Name { namespace: Arc::clone(&target.namespace), name: target.budget().into() };
        let other = |labels: &str| self.drains.other(&own, labels).cloned();
        let crowd = self.pods.crowd(&target.namespace, selector, &self.nodes, now, other);
        Some(Crew {
            target: target.clone(),
            selector: selector.terms(),
            pods: crowd.pods,
            other: crowd.other.or_else(|| self.drains.in_its_place(&own).cloned()),
            until: crowd.until,
            leaving: crowd.leaving,
        })
    }

    /// How many pods of a workload interruptions of their nodes have ended.
    pub(super) fn interrupted(&self, target: &TargetId) -> u64 {
        self.drains.ended.get(target).copied().unwrap_or(0)
    }

    /// A pod that stood Ready on a node with a notice is Ready no more: its interruption has ended it, and it counts once.
    pub(super) fn end_by_interruption(&mut self, name: &Name, labels: &str) {
        if !self.drains.ending.insert(name.clone()) {
            return;
        }
        for target in self.targets.touched_by(&name.namespace, &[labels]) {
            *self.drains.ended.entry(target).or_default() += 1;
        }
    }

    /// A pod is gone.
    pub(super) fn forget_ending(&mut self, name: &Name) {
        self.drains.ending.remove(name);
    }

    /// Forgets what was counted for workloads that nobody names any more, and sets who holds drains.
    pub(super) fn keep_drains(&mut self, holding: BTreeSet<PipelineId>) {
        self.drains.holding = holding;
        let targets = &self.targets;
        self.drains.ended.retain(|target, _| targets.owners(target).is_some());
    }
}
