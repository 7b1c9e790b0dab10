//! Holding drains: how many pods of a lane may be evicted at a time, and which are let go before their node ends. Called once for each due
//! pipeline, after the turns of its stages; it changes no count.
//!
//! The means is one `PodDisruptionBudget` for each held workload, and never one where somebody else's selects a pod: evictions of a pod with
//! two budgets fail (kubernetes: pkg/registry/core/pod/storage/eviction.go). It stands from the first pod on, since who drains begins
//! 0.1 s after the notice, and is then as loose as is safe while nobody looks after it: one pod at a time. While replacements are on their way it
//! is tight: each that becomes Ready frees one eviction. Who drains is never held up for longer than was promised: then the budget goes, until the
//! last Ready pod has left these nodes. A loose one would not do: it counts what is asked for, replacements that never come among it, and one pod
//! that is not Ready is then all that may be lacking. What is there is seen, not remembered: whoever takes over in the middle finds a tight budget and
//! loosens it. Where nobody can tell what to do, `adrift` keeps that promise.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::memory::ByName;
use super::super::pipeline::{Lane, Mode, Stage, TargetId};
use super::super::plan::{
    Action, Concern, Ending, HoldDrain, LetGo, Outcome, PodSeen, Scale, StageId, Verdict,
};
use super::super::reason::Reason;
use super::super::snapshot::{Situation, Target, Workload};
use super::super::writes::later;
use super::adrift::Pen;
use super::evictions::{BudgetSeen, Crew, Grip, Leaving};
use super::pack::count;
use super::{LaneSeen, LaneVerdict, Nodes};

/// For so long after it was written a budget is not written again, unless the watch shows another than was written on.
pub(super) const ECHO: Duration = Duration::from_secs(2);
/// After a write was refused, none is tried for so long.
const REFUSED: Duration = Duration::from_mins(10);
/// One that loosens is tried again so soon: whoever drains waits for it.
const LOOSENED: Duration = Duration::from_secs(10);
/// What the API server says when there is one of that name.
const THERE: u16 = 409;
/// A tight budget that is there until later than this before it should is left as it is.
const CLOSE: Duration = Duration::from_secs(30);
/// A node that outlives its end by so long was not taken away; what is on it stays.
const OVERDUE: Duration = Duration::from_mins(1);
/// Pods let go at a time.
const AT_ONCE: usize = 50;

/// What is remembered of the drains of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Drains {
    /// When each budget was last written, and on which version.
    pub(super) told: ByName<(Timestamp, Arc<str>)>,
    /// When pods of each workload were last let go, by the name of its budget.
    freed: ByName<Timestamp>,
    /// Which budgets could not be written of late.
    refused: ByName<Refusal>,
    /// Pods cannot be let go until then, and why.
    kept: Option<(Timestamp, Arc<str>)>,
}

/// A write of a budget that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Refusal {
    at: Timestamp,
    code: u16,
    message: Arc<str>,
}

impl Refusal {
    /// Until when this is not tried.
    fn until(&self, hold: &HoldDrain) -> Timestamp {
        let is_seen = hold.uid.is_some();
        let wait = match hold.grip {
            // The one that was in the way, or one that was made before the watch showed it, is known by now.
            _ if is_seen && self.code == THERE => Duration::ZERO,
            None | Some(Grip::Loose) if is_seen => LOOSENED,
            _ => REFUSED,
        };
        later(self.at, wait)
    }
}

/// What a pipeline's turn comes to besides its counts.
#[derive(Debug, Default)]
pub(in crate::decide) struct Drained {
    pub(in crate::decide) actions: Vec<Action>,
    /// What is to be told, by the index of the stage.
    pub(in crate::decide) told: Vec<(usize, Reason)>,
    /// When to look again though nothing happens.
    pub(in crate::decide) next: Option<Timestamp>,
    /// The budgets that were looked after.
    tended: Vec<String>,
}

impl Drains {
    /// Does it remember nothing?
    pub(in crate::decide) fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// Bytes on the heap, text apart.
    pub(in crate::decide) fn weight(&self) -> usize {
        self.told.weight(|_| 0) + self.freed.weight(|_| 0) + self.refused.weight(|_| 0)
    }

    /// A pipeline's drains, after its stages have had their turns: `verdicts` are theirs.
    pub(in crate::decide) fn turn(
        &mut self,
        situation: &Situation,
        verdicts: &[&Verdict],
        (at, may_act): (Timestamp, bool),
    ) -> Drained {
        let mut drained = Drained::default();
        for (_, outcome) in &situation.outcomes {
            self.take(outcome);
        }
        let Some(draining) = &situation.draining else { return drained };
        self.forget(at);
        let pipeline = &situation.pipeline;
        let first = pipeline.stages.first().map(|stage| Arc::clone(&stage.name));
        let pen = Pen {
            pipeline: &pipeline.id,
            owner: &pipeline.uid,
            stage: first.unwrap_or_default(),
            draining,
            at,
            may_act,
            memory: self,
        };
        let mut look = Look { is_paused: pipeline.pause.all, pen };
        let mut wanted = Vec::new();
        for (index, stage) in pipeline.stages.iter().enumerate() {
            if !stage.holds {
                continue;
            }
            wanted.extend(stage.targets().map(TargetId::budget));
            let (Some(Target::Seen(workload)), Some(verdict)) =
                (situation.targets.get(index), verdicts.get(index))
            else {
                continue;
            };
            look.stage(stage, workload, verdict, &mut drained);
        }
        look.strays(&wanted, &mut drained);
        let tended = std::mem::take(&mut drained.tended);
        look.pen.let_lapse(|name| tended.iter().any(|it| **it == *name), &mut drained);
        drained
    }

    /// Until when this is not tried, since it was refused.
    pub(super) fn refused_until(&self, hold: &HoldDrain) -> Option<Timestamp> {
        self.refused.get(&hold.budget).map(|refusal| refusal.until(hold))
    }

    /// Takes in what became of earlier writes. What was written the watch will show.
    pub(super) fn take(&mut self, outcome: &Outcome) {
        let Ending::Refused { code, message } = &outcome.result else { return };
        let message: Arc<str> = message.as_str().into();
        if let Action::HoldDrain(hold) = &outcome.action {
            self.refused.put(&hold.budget, Refusal { at: outcome.at, code: *code, message });
        } else if outcome.action.concern() == Concern::Pods {
            self.kept = Some((later(outcome.at, REFUSED), message));
        }
    }

    /// What is long past is forgotten.
    pub(super) fn forget(&mut self, at: Timestamp) {
        self.refused.keep_if(|refusal| at < later(refusal.at, REFUSED));
        self.kept.take_if(|(until, _)| *until <= at);
        self.told.keep_if(|(told, _)| at < later(*told, ECHO));
        self.freed.keep_if(|freed| at < later(*freed, ECHO));
    }
}

/// What one turn looks at.
struct Look<'a> {
    is_paused: bool,
    pen: Pen<'a>,
}

impl Look<'_> {
    /// The lanes of one stage.
    fn stage(
        &mut self,
        stage: &Stage,
        workload: &Workload,
        verdict: &Verdict,
        drained: &mut Drained,
    ) {
        let may_hold = stage.mode == Mode::Enforce && !self.is_paused;
        let index = verdict.stage.index;
        let each = stage.lanes.iter().zip(&workload.lanes).enumerate();
        for (number, (lane, seen)) in each {
            let Some(crew) = self.pen.draining.held.iter().find(|crew| crew.target == lane.target)
            else {
                continue;
            };
            let pool = || lane.pool.to_string();
            let mut tell = |told: Nodes| drained.told.push((index, Reason::Nodes(told)));
            let grip = self.grip(crew, seen, least(&verdict.lanes, &workload.lanes, number));
            let name = crew.target.budget();
            let can_hold =
                self.pen.memory.refused.get(&name).is_none() && !self.pen.draining.is_unreadable;
            let held = match grip {
                Some(grip) => Nodes::DrainHeld { pool: pool(), grip },
                None => Nodes::DrainOver { budget: name },
            };
            match (&crew.other, grip) {
                (Some(budget), _) => {
                    tell(Nodes::DrainOfAnother { pool: pool(), budget: budget.to_string() });
                }
                (None, Some(Grip::Loose)) => {}
                (None, _) if may_hold && can_hold => tell(held.clone()),
                (None, _) => {}
            }
            let due = self.due(crew);
            let leaves = Nodes::LetGo { pool: pool(), pods: count(due.len()) };
            if !due.is_empty() && may_hold {
                tell(leaves.clone());
            }
            let scale = |why| scale(&verdict.stage, lane, &seen.workload, why);
            self.budget(crew, grip, may_hold, &scale(held), drained);
            if may_hold {
                self.let_go(crew, &due, scale(leaves), drained);
            }
        }
        let mut budgets = stage.lanes.iter().map(|lane| lane.target.budget());
        let refused = budgets.find_map(|name| Some(&self.pen.memory.refused.get(&name)?.message));
        let kept = || self.pen.memory.kept.as_ref().map(|(_, message)| message);
        let message = refused.or_else(kept).map(ToString::to_string);
        let unreadable = || "PodDisruptionBudgets cannot be listed and watched".to_owned();
        let message = message.or_else(|| self.pen.draining.is_unreadable.then(unreadable));
        if let Some(message) = message {
            drained.told.push((index, Reason::Nodes(Nodes::DrainRefused { message })));
        }
    }

    /// How tight the budget is to be; `None` is none at all. Only replacements that are asked for are waited for: where nobody starts any, the
    /// drain goes on as ever, one at a time.
    fn grip(&self, crew: &Crew, seen: &LaneSeen, least: Option<u32>) -> Option<Grip> {
        let Some(until) = crew.until else { return Some(Grip::Loose) };
        let least = least.filter(|_| seen.places.doomed != 0);
        let grip = least.map_or(Grip::Loose, |least| Grip::Tight { least, until });
        (self.pen.at < until).then_some(grip)
    }

    /// Makes the budget of a workload what it should be.
    fn budget(
        &mut self,
        crew: &Crew,
        grip: Option<Grip>,
        may_hold: bool,
        scale: &Scale,
        drained: &mut Drained,
    ) {
        let name = crew.target.budget();
        drained.tended.push(name.clone());
        let seen = self.pen.draining.budgets.iter().find(|budget| *budget.name == *name);
        if let Some(until) = crew.until {
            drained.again(until, self.pen.at);
        }
        let there = seen.and_then(|seen| seen.grip);
        let will_do = there.zip(grip).is_some_and(|(there, grip)| will_do(there, grip));
        let wish = match (&crew.other, seen, grip) {
            (Some(_), Some(_), _) | (None, Some(_), None) => None,
            (None, Some(_), _) if will_do => return,
            (None, Some(_), Some(Grip::Loose)) => grip,
            // Nobody is there to be held.
            (None, None, _) if crew.pods == 0 => return,
            (None, _, Some(_)) if may_hold => grip,
            // Somebody else's budget is there alone, none is wanted, or nothing may be written.
            (_, None, _) | (None, Some(_), Some(Grip::Tight { .. })) => return,
        };
        let hold = HoldDrain {
            scale: scale.clone(),
            budget: name.into(),
            uid: seen.map(|seen| Arc::clone(&seen.uid)),
            version: seen.map(|seen| Arc::clone(&seen.version)),
            grip: wish,
            selector: crew.selector.clone(),
            owner: Arc::clone(self.pen.owner),
        };
        self.pen.write(hold, drained);
    }

    /// Budgets that nobody wants any more: the stage holds no drains, or the workload is in no stage.
    fn strays(&mut self, wanted: &[String], drained: &mut Drained) {
        let is_stray = |budget: &&BudgetSeen| wanted.iter().all(|name| **name != *budget.name);
        let draining = self.pen.draining;
        for stray in draining.budgets.iter().filter(is_stray) {
            self.pen.remove(stray, drained);
        }
    }

    /// The pods that need all the time that is left to end before their node does: those first that need it first.
    fn due<'b>(&self, crew: &'b Crew) -> Vec<&'b Leaving> {
        let is_due = |leaving: &&Leaving| {
            leaving.at() <= self.pen.at && self.pen.at < later(leaving.end, OVERDUE)
        };
        let mut due: Vec<_> = crew.leaving.iter().filter(is_due).collect();
        due.sort_by_key(|leaving| (leaving.at(), Arc::clone(&leaving.pod)));
        due
    }

    /// Lets pods go that are due.
    fn let_go(&mut self, crew: &Crew, due: &[&Leaving], scale: Scale, drained: &mut Drained) {
        for leaving in &crew.leaving {
            drained.again(leaving.at(), self.pen.at);
        }
        if due.is_empty() || !self.pen.may_act {
            return;
        }
        if let Some((until, _)) = &self.pen.memory.kept {
            drained.again(*until, self.pen.at);
            return;
        }
        let name: Arc<str> = crew.target.budget().into();
        if let Some(freed) = self.pen.memory.freed.get(&name) {
            drained.again(later(*freed, ECHO), self.pen.at);
            return;
        }
        let seen = |leaving: &&Leaving| PodSeen {
            pod: Arc::clone(&leaving.pod),
            version: leaving.version,
        };
        self.pen.memory.freed.put(&name, self.pen.at);
        drained.again(later(self.pen.at, ECHO), self.pen.at);
        let pods = due.iter().take(AT_ONCE).map(seen).collect();
        drained.actions.push(Action::LetGo(LetGo { scale, pods }));
    }
}

impl Drained {
    /// Looks again then, if that is to come.
    pub(super) fn again(&mut self, then: Timestamp, at: Timestamp) {
        if at < then {
            self.next = Some(self.next.map_or(then, |next| next.min(then)));
        }
    }
}

/// Pods of a lane that must stay for the stage to have what it needs: what of the need is the lane's own, and what other lanes carry and do
/// not have Ready yet. `None` when no replacements are asked for.
fn least(verdicts: &[LaneVerdict], lanes: &[LaneSeen], number: usize) -> Option<u32> {
    let asked_besides: u32 = verdicts.iter().map(|lane| lane.extra).sum();
    let own = |lane: &LaneVerdict| lane.replicas.saturating_sub(lane.extra);
    let lacking = |(at, (verdict, seen)): (usize, (&LaneVerdict, &LaneSeen))| {
        if at == number { 0 } else { own(verdict).saturating_sub(seen.workload.ready) }
    };
    let mine = verdicts.get(number).filter(|_| asked_besides != 0)?;
    let others: u32 = verdicts.iter().zip(lanes).enumerate().map(lacking).sum();
    Some(own(mine).saturating_add(others))
}

/// Is what is there as good as what is wished for?
fn will_do(there: Grip, wish: Grip) -> bool {
    match (there, wish) {
        (Grip::Loose, Grip::Loose) => true,
        (Grip::Tight { least, until }, Grip::Tight { least: wished, until: by }) => {
            least == wished && by <= later(until, CLOSE)
        }
        (Grip::Loose, Grip::Tight { .. }) | (Grip::Tight { .. }, Grip::Loose) => false,
    }
}

/// What an action about the pods of a lane is decided on; the count stays as it is.
fn scale(stage: &StageId, lane: &Lane, workload: &Workload, why: Nodes) -> Scale {
    Scale {
        stage: stage.clone(),
        lane: Some(Arc::clone(&lane.pool)),
        target: lane.target.clone(),
        uid: Arc::clone(&workload.uid),
        resource_version: Arc::clone(&workload.resource_version),
        writing: workload.writing.clone(),
        from: workload.desired,
        to: workload.desired,
        force: false,
        why: Reason::Nodes(why),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Places;
    use super::*;

    fn lane(own: u32, extra: u32, ready: u32) -> (LaneVerdict, LaneSeen) {
        let verdict = LaneVerdict {
            pool: "p".into(),
            share: own,
            replicas: own + extra,
            extra,
            survived: 0,
            missed: 0,
        };
        let all = Workload::of_lanes(Vec::new());
        (verdict, LaneSeen { workload: Workload { ready, ..all }, places: Places::default() })
    }

    proptest! {
        #[test]
        fn no_more_may_go_than_are_ready_beyond_need(
            drawn in vec((0_u32..20, 0_u32..5, 0_u32..25), 1..5)
        ) {
            let lanes = drawn.iter().map(|&(own, extra, ready)| lane(own, extra, ready));
            let (verdicts, seen): (Vec<_>, Vec<_>) = lanes.unzip();
            let need: u32 = drawn.iter().map(|(own, ..)| own).sum();
            let ready: u32 = drawn.iter().map(|(.., ready)| ready).sum();
            let may_go = |number: usize| {
                let least = least(&verdicts, &seen, number)?;
                Some(seen[number].workload.ready.saturating_sub(least))
            };
            let going: u32 = (0..drawn.len()).filter_map(may_go).sum();
            prop_assert!(going <= ready.saturating_sub(need), "{going} of {ready}, {need} needed");
        }
    }

    #[test]
    fn a_pod_is_let_go_so_early_that_it_ends_before_its_node() {
        let end = Timestamp::from_second(1000).unwrap_or_default();
        let grace = Duration::from_secs(30);
        let leaving = Leaving { pod: "a".into(), version: 1, grace, end };
        assert_eq!(leaving.at().as_second(), 965);
    }
}
