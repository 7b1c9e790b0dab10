//! Before a step down of a stage that empties nodes: the pods that `pack` chooses are given a deletion cost, so that the controller of the
//! workload takes those. Called by the two places that order a write of a count, last of all; it may put a step off for seconds or make it
//! smaller, never larger.
//!
//! The controller sorts by what its own cache shows, so a cost that was just written may come too late (kubernetes/kubernetes#126138): the
//! step is made once the watch has shown all costs for a while. Nothing is remembered that the pods do not show, but for a few instants:
//! whoever takes over in the middle finds costs of Penstock's, and goes on with them or takes them away.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::order::Order;
use super::super::pipeline::TargetId;
use super::super::plan::{Ending, GiveUpFirst, Outcome, PodCost};
use super::super::reason::Reason;
use super::super::snapshot::Workload;
use super::super::stage::Turn;
use super::super::writes::{Writes, later};
use super::Nodes;
use super::pack::{Choice, PodStanding, Standing, count};

/// From the watch showing the last cost to the step, for the cache of the controller to have it too.
const SETTLE: Duration = Duration::from_secs(1);
/// For so long after they were written, costs that the watch does not show are not written again.
const ECHO: Duration = Duration::from_secs(2);
/// A step that is due is made after so long, whatever the pods show: pods that are too many cost more than nodes that are not empty.
const PATIENCE: Duration = Duration::from_secs(20);
/// Costs that no step needs any more are taken away after so long: the next reading may want the step after all.
const IDLE: Duration = Duration::from_secs(10);
/// After they could not be written, steps are made without for so long.
const REFUSED: Duration = Duration::from_mins(10);
/// Costs written at a time: as many pods as a `ReplicaSet` takes away at a time.
const AT_ONCE: usize = 500;

/// What is remembered of the costs of one workload's pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Costs {
    /// Since when a step down has been due.
    due: Option<Timestamp>,
    /// Since when so many pods have shown a cost for it.
    shown: Option<(Timestamp, usize)>,
    /// When costs were last written, or taken away.
    told: Option<Timestamp>,
    /// Since when there are costs that no step needs.
    idle: Option<Timestamp>,
    /// So many pods were to go by the last step.
    stepped: Option<usize>,
    /// Costs cannot be written until then, and why.
    refused: Option<(Timestamp, Arc<str>)>,
    /// When to look again though nothing happens.
    again: Option<Timestamp>,
}

/// What comes before the write of a count.
#[derive(Debug)]
pub(in crate::decide) enum Before {
    /// Nothing: this count may be written.
    Step(u32),
    /// This count may be, and why not all the way: the rest goes by another step.
    Part(u32, Nodes),
    /// The controller is to see first what was told.
    Wait(Nodes),
    /// This is to be told first; and why the step waits, if one is due.
    Tell(Box<GiveUpFirst>, Option<Nodes>),
}

impl Costs {
    /// When to look again though nothing happens.
    pub(in crate::decide) fn next(&self) -> Option<Timestamp> {
        self.again
    }

    /// What became of costs that were told. What was written the watch will show; what was not is told again.
    pub(in crate::decide) fn take(&mut self, outcome: &Outcome) {
        if let Ending::Refused { message, .. } = &outcome.result {
            self.refused = Some((later(outcome.at, REFUSED), message.as_str().into()));
        }
    }

    /// A step down was taken: the pods with costs are to be those that go.
    pub(in crate::decide) fn step(&mut self) {
        self.stepped = self.shown.take().map(|(_, pods)| pods);
        (self.due, self.idle) = (None, None);
    }

    fn is_refused(&self, at: Timestamp) -> bool {
        self.refused.as_ref().is_some_and(|(until, _)| at < *until)
    }

    /// May costs be written (again)?
    fn may_tell(&self, at: Timestamp) -> bool {
        !self.is_refused(at) && self.told.is_none_or(|told| later(told, ECHO) <= at)
    }

    /// Since when so many pods have shown a cost; if it is another number than before, since now.
    fn shown_since(&mut self, pods: usize, at: Timestamp) -> Timestamp {
        let known = self.shown.filter(|(_, before)| *before == pods);
        self.shown.insert(known.unwrap_or((at, pods))).0
    }
}

impl Turn<'_> {
    /// What comes before this count is written.
    pub(in crate::decide) fn before(
        &self,
        order: &Order<'_>,
        workload: &Workload,
        costs: &mut Option<Box<Costs>>,
        to: u32,
    ) -> Before {
        let Some(standing) = self.standing(order.target) else { return Before::Step(to) };
        if let Some(costs) = costs {
            costs.again = None;
        }
        if to < workload.desired {
            // To go down to none no order is needed; nor is there one that another's costs would let be.
            if to == 0 || standing.is_rolling || standing.writer().is_some() {
                return Before::Step(to);
            }
            return self.prepare(order, workload, costs.get_or_insert_default(), (standing, to));
        }
        if to == workload.desired {
            return self.tidy(order, workload, costs, standing);
        }
        if let Some(costs) = costs {
            (costs.due, costs.shown) = (None, None);
        }
        Before::Step(to)
    }

    /// The pods of a workload of this stage, if it empties nodes.
    fn standing(&self, target: &TargetId) -> Option<&Standing> {
        let known = self.stage.packs.then_some(self.standing)?;
        known.iter().find(|(known, _)| known == target).map(|(_, standing)| standing)
    }

    /// A step down: those that shall go are told first, and it is made when they have been.
    fn prepare(
        &self,
        order: &Order<'_>,
        workload: &Workload,
        costs: &mut Costs,
        (standing, to): (&Standing, u32),
    ) -> Before {
        let desired = workload.desired;
        let due = *costs.due.get_or_insert(self.at);
        let patience = later(due, PATIENCE);
        (costs.idle, costs.stepped) = (None, None);
        if costs.is_refused(self.at) || patience <= self.at {
            costs.shown = None;
            return Before::Step(to);
        }
        // Those that are not Ready go first, whatever they cost.
        let ready = count(standing.pods().filter(|pod| pod.is_ready).count());
        let unready = desired.saturating_sub(ready).min(desired - to);
        let chosen = standing.choose(desired - to - unready);
        let is_chosen = |pod: &PodStanding| chosen.iter().any(|choice| choice.pod.name == pod.name);
        let (pods, nodes) = (count(chosen.len()), standing.emptied(&chosen));
        let waits = Nodes::Emptying { wished: to, pods, nodes };
        if desired < count(standing.pods().count()) {
            // The step before this one is still being carried out.
            costs.again = Some(patience);
            return Before::Wait(waits);
        }
        let told = standing.ours().count();
        if !standing.ours().all(is_chosen) || (told == 0 && !chosen.is_empty()) {
            costs.shown = None;
            costs.again = Some(costs.told.map_or(patience, |told| later(told, ECHO)));
            if !costs.may_tell(self.at) {
                return Before::Wait(waits);
            }
            costs.told = Some(self.at);
            costs.again = Some(later(self.at, ECHO));
            let told = GiveUpFirst {
                scale: self.scale(order, workload, desired),
                costs: changes(standing, &chosen),
            };
            return Before::Tell(Box::new(told), Some(waits));
        }
        let settled = later(costs.shown_since(told, self.at), SETTLE);
        if self.at < settled && told != 0 {
            costs.again = Some(settled);
            return Before::Wait(waits);
        }
        // Where fewer have been told than are wished to go by now, these go, and the others by the next step.
        if told == chosen.len() {
            Before::Step(to)
        } else {
            Before::Part(desired - unready - count(told), waits)
        }
    }

    /// No step is due: costs that are left over are taken away.
    fn tidy(
        &self,
        order: &Order<'_>,
        workload: &Workload,
        known: &mut Option<Box<Costs>>,
        standing: &Standing,
    ) -> Before {
        let to = workload.desired;
        let rest = || standing.ours().take(AT_ONCE);
        if rest().next().is_none() {
            // What is there without costs of ours is as if nothing had been; but for a refusal, which is still true.
            *known = known
                .take()
                .filter(|costs| costs.is_refused(self.at))
                .map(|costs| Box::new(Costs { refused: costs.refused, ..Costs::default() }));
            return Before::Step(to);
        }
        let costs = known.get_or_insert_default();
        (costs.due, costs.shown) = (None, None);
        if to < count(standing.pods().count()) {
            // The controller has not chosen yet.
            return Before::Step(to);
        }
        let since = *costs.idle.get_or_insert(self.at);
        if self.at < later(since, IDLE) || !costs.may_tell(self.at) {
            costs.again = Some(later(since, IDLE));
            return Before::Step(to);
        }
        costs.told = Some(self.at);
        let none = |pod: &PodStanding| change(pod, None);
        let told = GiveUpFirst {
            scale: self.scale(order, workload, to),
            costs: rest().map(none).collect(),
        };
        Before::Tell(Box::new(told), None)
    }

    /// What is to be told of the emptying of nodes, though it binds no count.
    pub(in crate::decide) fn told_of_costs(
        &self,
        target: &TargetId,
        workload: &Workload,
        writes: &Writes,
    ) -> Vec<Reason> {
        let Some(standing) = self.standing(target) else { return Vec::new() };
        let mut told = Vec::new();
        if let Some((writer, pods)) = standing.writer() {
            told.push(Nodes::CostsOfAnother { writer: writer.to_string(), pods });
        }
        if let Some(costs) = writes.costs() {
            if let Some((_, message)) = costs.refused.as_ref().filter(|_| costs.is_refused(self.at))
            {
                told.push(Nodes::CostsRefused { message: message.to_string() });
            }
            let left = standing.ours().count();
            let has_chosen = count(standing.pods().count()) <= workload.desired;
            if let Some(of) = costs.stepped.filter(|_| has_chosen && left != 0) {
                told.push(Nodes::OthersWent { left: count(left), of: count(of) });
            }
        }
        told.into_iter().map(Reason::Nodes).collect()
    }
}

/// What is to be written so that the chosen have their costs and no other pod has one of ours.
fn changes(standing: &Standing, chosen: &[Choice<'_>]) -> Vec<PodCost> {
    let stays = |pod: &&PodStanding| chosen.iter().all(|choice| choice.pod.name != pod.name);
    let left = standing.ours().filter(stays).map(|pod| change(pod, None));
    let new = chosen.iter().filter(|choice| choice.pod.cost.is_none());
    let all = left.chain(new.map(|choice| change(choice.pod, Some(choice.cost))));
    all.take(AT_ONCE).collect()
}

fn change(pod: &PodStanding, cost: Option<i32>) -> PodCost {
    PodCost { pod: Arc::clone(&pod.name), version: pod.version, cost }
}
