//! Budgets as they stand in the cluster: whose namespaces each is over, and what one replica of a stage under it uses.
//! What follows from it is for `decide`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::{CapacityBudget, CapacityBudgetSpec, CapacityBudgetStatus};
use crate::decide::{Budget, PerReplica, PipelineId, Stage, Thing};

use super::pods::Demand;
use super::stores::{Name, Stores};

/// All budgets.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    each: BTreeMap<Arc<str>, Note>,
    /// Did one come, change or go since the last turn?
    pub(super) have_moved: bool,
}

#[derive(Debug)]
struct Note {
    meant: Arc<Budget>,
    spec: CapacityBudgetSpec,
    place: BudgetPlace,
}

/// A budget as an object.
#[derive(Debug, Clone)]
pub struct BudgetPlace {
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`.
    pub resource_version: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<CapacityBudgetStatus>,
}

/// A budget at a turn: for decide, and for report.
#[derive(Debug, Clone)]
pub struct BudgetSight {
    /// What decide is told.
    pub meant: Arc<Budget>,
    /// The object.
    pub place: BudgetPlace,
}

impl Budgets {
    fn put(&mut self, name: &Arc<str>, object: CapacityBudget) {
        let place = BudgetPlace {
            uid: object.metadata.uid.unwrap_or_default().into(),
            resource_version: object.metadata.resource_version.unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            status: Arc::new(object.status.unwrap_or_default()),
        };
        let note = Note { meant: Arc::new(object.spec.meant(name)), spec: object.spec, place };
        let old = self.each.insert(Arc::clone(name), note);
        let is_same = |old: Note| self.each.get(name).is_some_and(|new| new.spec == old.spec);
        // Our own words in its status are no news.
        self.have_moved |= !old.is_some_and(is_same);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Every budget as it stands.
    pub(super) fn sights(&self) -> BTreeMap<Arc<str>, BudgetSight> {
        let sight =
            |note: &Note| BudgetSight { meant: Arc::clone(&note.meant), place: note.place.clone() };
        self.each.iter().map(|(name, note)| (Arc::clone(name), sight(note))).collect()
    }
}

impl Stores {
    /// A budget came or changed.
    pub(super) fn put_budget(&mut self, name: &Name, object: CapacityBudget) {
        self.budgets.put(&name.name, object);
        self.touch_budgeted();
    }

    /// A budget went.
    pub(super) fn drop_budget(&mut self, name: &Name) {
        self.budgets.each.remove(&name.name);
        self.budgets.have_moved = true;
        self.touch_budgeted();
    }

    /// Marks every pipeline when a budget moved: one may share with any other.
    fn touch_budgeted(&mut self) {
        if self.budgets.have_moved {
            self.dirty.extend(self.pipelines.keys().cloned());
        }
    }

    /// Names of the budgets and the quotas over a pipeline. No budget is over a namespace whose labels are not known.
    pub(super) fn budgets_over(&self, id: &PipelineId) -> Vec<Arc<str>> {
        let labels = self.namespaces.get(&id.namespace);
        let is_over =
            |note: &Note| labels.is_some_and(|labels| note.spec.namespace_selector.matches(labels));
        let budgets = self.budgets.each.iter().filter(|(_, note)| is_over(note));
        let budgets = budgets.map(|(name, _)| Arc::clone(name));
        budgets.chain(self.quotas.over(&id.namespace)).collect()
    }

    /// What one replica of a stage uses, the mean of the pods there are; and how many replicas those make up.
    pub(super) fn per_replica(
        &self,
        stage: &Stage,
        costs: &BTreeMap<Arc<str>, Option<f64>>,
        now: Timestamp,
    ) -> (PerReplica, u32) {
        let mut all = Demand::default();
        // Only a kind with a lever of its own has more than one for a replica, and no lanes.
        let mut each = None;
        for target in stage.targets() {
            let Some(selector) = self.targets.selector(target) else { continue };
            all += self.pods.demand(&target.namespace, selector, &self.nodes, now);
            each = self.targets.pods_each(target);
        }
        let present = each.map_or(0, |each| all.pods.div_ceil(each.max(1)));
        let each = each.map(f64::from);
        let cost: Option<f64> = costs.values().copied().sum();
        let mean = |thing: Thing| {
            let pods = Some(all.pods).filter(|pods| *pods != 0);
            Some(all.of(thing) / f64::from(pods?) * each?)
        };
        let per = PerReplica {
            cores: mean(Thing::Cpu),
            // Of nodes in no pool nobody knows the price.
            cost_per_hour: cost
                .filter(|_| all.placed != 0)
                .and_then(|cost| Some(cost / f64::from(all.placed) * each?)),
            bytes: mean(Thing::Memory),
            cpu_limit: mean(Thing::CpuLimit),
            memory_limit: mean(Thing::MemoryLimit),
            pods: each,
        };
        (per, present)
    }
}
