//! What is done for a pipeline once each of its stages had its turn, and changes no count: room that nobody keeps any more is taken away, and
//! evictions are held until replacements are there. Called by `decide`; what is to be written goes with the answer of the first stage.

use super::capacity::Drained;
use super::guard::caught;
use super::memory::PipelineMemory;
use super::snapshot::{Adrift, Situation, Snapshot};
use super::stage::Answer;

/// Takes away what stands for room that no stage keeps any more, whatever becomes of the stages themselves.
pub(super) fn clear_rooms(
    now: &Snapshot,
    situation: &Situation,
    memory: &mut PipelineMemory,
    answers: &mut [Answer],
) {
    if situation.reserves.seen().is_empty() && memory.unwanted.is_none() {
        return;
    }
    let mut unwanted = memory.unwanted.take().unwrap_or_default();
    let cleared = unwanted.clear(situation, (now.at, now.may_act));
    memory.unwanted = (!unwanted.is_idle()).then_some(unwanted);
    if let Some(answer) = answers.first_mut() {
        answer.besides.extend(cleared.actions);
        answer.verdict.anomalies.extend(cleared.told);
        answer.wake(cleared.next);
    }
}

/// What is to be done about the evictions of a pipeline's pods, once it is known how many there shall be.
pub(super) fn hold_drains(
    now: &Snapshot,
    situation: &Situation,
    memory: &mut PipelineMemory,
    answers: &mut [Answer],
) {
    if situation.draining.is_none() && memory.drains.is_none() {
        return;
    }
    let mut drains = memory.drains.take().unwrap_or_default();
    let verdicts: Vec<_> = answers.iter().map(|answer| &answer.verdict).collect();
    let drained = drains.turn(situation, &verdicts, (now.at, now.may_act));
    memory.drains = (!drains.is_idle()).then_some(drains);
    hand_over(drained, answers);
}

/// Puts what is to be done about evictions with the first stage, and what is said with the stage that it is of.
pub(super) fn hand_over(drained: Drained, answers: &mut [Answer]) {
    for (index, reason) in drained.told {
        if let Some(answer) = answers.get_mut(index) {
            answer.verdict.anomalies.push(reason);
        }
    }
    if let Some(answer) = answers.first_mut() {
        answer.besides.extend(drained.actions);
        answer.wake(drained.next);
    }
}

/// What becomes of the budgets of a pipeline on which nothing can be decided. One that makes our own code panic here has them stay.
pub(super) fn drift(now: &Snapshot, adrift: &Adrift, memory: &mut PipelineMemory) -> Drained {
    let mut drains = memory.drains.take().unwrap_or_default();
    let drained = caught(|| drains.drift(adrift, (now.at, now.may_act)));
    memory.drains = (!drains.is_idle()).then_some(drains);
    drained.unwrap_or_default()
}
