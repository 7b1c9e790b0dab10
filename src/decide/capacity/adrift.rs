//! Budgets that nobody looks after: those of a pipeline that cannot be decided on, of one whose turn failed in our own code, and of a workload that
//! cannot be told. They stay as they are, since a tight one lets an eviction through for each replacement that becomes Ready whoever looks; but
//! none is tight for longer than it says itself. Called by `drain` and, for pipelines that have no turn, at the door of decide. The pen that
//! writes budgets is here, too.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::pipeline::{PipelineId, TargetId};
use super::super::plan::{Action, HoldDrain, Scale, StageId};
use super::super::reason::Reason;
use super::super::snapshot::{Adrift, Writing};
use super::super::writes::later;
use super::Nodes;
use super::drain::{Drained, Drains, ECHO};
use super::evictions::{BudgetSeen, Draining};

/// What writes the budgets of a pipeline, in one turn.
pub(super) struct Pen<'a> {
    pub(super) pipeline: &'a PipelineId,
    /// The uid of the pipeline.
    pub(super) owner: &'a Arc<str>,
    /// The stage that stands for budgets of none; without a name where nobody can tell.
    pub(super) stage: Arc<str>,
    pub(super) draining: &'a Draining,
    pub(super) at: Timestamp,
    pub(super) may_act: bool,
    pub(super) memory: &'a mut Drains,
}

impl Drains {
    /// The turn of a pipeline on which nothing can be decided.
    pub(in crate::decide) fn drift(
        &mut self,
        adrift: &Adrift,
        (at, may_act): (Timestamp, bool),
    ) -> Drained {
        let mut drained = Drained::default();
        for (_, outcome) in &adrift.outcomes {
            self.take(outcome);
        }
        self.forget(at);
        let mut pen = Pen {
            pipeline: &adrift.pipeline,
            owner: &adrift.uid,
            stage: "".into(),
            draining: &adrift.draining,
            at,
            may_act,
            memory: self,
        };
        pen.let_lapse(|_| false, &mut drained);
        drained
    }
}

impl Pen<'_> {
    /// Takes away the budgets that nobody tends and that have been tight for as long as they say.
    pub(super) fn let_lapse(&mut self, is_tended: impl Fn(&str) -> bool, drained: &mut Drained) {
        let draining = self.draining;
        for budget in draining.budgets.iter().filter(|budget| !is_tended(&budget.name)) {
            match budget.until {
                Some(until) if until <= self.at => self.remove(budget, drained),
                Some(until) => drained.again(until, self.at),
                None => {}
            }
        }
    }

    /// Takes a budget away, whatever its pods are.
    pub(super) fn remove(&mut self, budget: &BudgetSeen, drained: &mut Drained) {
        let over = Nodes::DrainOver { budget: budget.name.to_string() };
        let (namespace, kind) = (&self.pipeline.namespace, "PodDisruptionBudget");
        let stage =
            StageId { pipeline: self.pipeline.clone(), index: 0, name: Arc::clone(&self.stage) };
        let hold = HoldDrain {
            scale: Scale {
                stage,
                lane: None,
                target: TargetId::object(namespace, "policy/v1", kind, &budget.name),
                uid: Arc::clone(&budget.uid),
                resource_version: Arc::clone(&budget.version),
                writing: Writing::Merge,
                from: 0,
                to: 0,
                force: false,
                why: Reason::Nodes(over),
            },
            budget: Arc::clone(&budget.name),
            uid: Some(Arc::clone(&budget.uid)),
            version: Some(Arc::clone(&budget.version)),
            grip: None,
            selector: Vec::new(),
            owner: Arc::clone(self.owner),
        };
        self.write(hold, drained);
    }

    /// Writes a budget, unless that was just done or cannot be.
    pub(super) fn write(&mut self, hold: HoldDrain, drained: &mut Drained) {
        if !self.may_act || self.draining.is_unreadable {
            return;
        }
        if let Some(until) = self.memory.refused_until(&hold).filter(|until| self.at < *until) {
            drained.again(until, self.at);
            return;
        }
        let version = hold.version.clone().unwrap_or_default();
        if let Some((told, on)) = self.memory.told.get(&hold.budget)
            && *on == version
        {
            drained.again(later(*told, ECHO), self.at);
            return;
        }
        self.memory.told.put(&hold.budget, (self.at, version));
        drained.again(later(self.at, ECHO), self.at);
        drained.actions.push(Action::HoldDrain(hold));
    }
}
