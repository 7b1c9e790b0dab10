//! One pipeline that makes our own code panic harms no other: its stages keep what they have and say so. Called by `decide` around each
//! pipeline's turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::after::{drift, hand_over};
use super::memory::PipelineMemory;
use super::pipeline::Stage;
use super::plan::{Signals, StageId, Verdict};
use super::reason::Reason;
use super::snapshot::{Situation, Snapshot, Target};
use super::stage::Answer;

/// Runs a pipeline's turn; if it panics, every stage keeps what it has and memory stays as it was, but for what its budgets promised.
pub(super) fn guarded(
    now: &Snapshot,
    situation: &Situation,
    remembered: &PipelineMemory,
    turn: impl FnOnce(&mut PipelineMemory) -> Vec<Answer>,
) -> (Vec<Answer>, PipelineMemory) {
    let mut memory = remembered.clone();
    let message = match caught(|| turn(&mut memory)) {
        Ok(answers) => return (answers, memory),
        Err(message) => message,
    };
    let mut memory = remembered.clone();
    let mut answers = held(situation, &message);
    if let Some(adrift) = situation.adrift() {
        hand_over(drift(now, &adrift, &mut memory), &mut answers);
    }
    (answers, memory)
}

/// What our own code comes to, or the words of its panic.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// What a pipeline gets whose turn failed in our own code: what it has.
fn held(situation: &Situation, message: &str) -> Vec<Answer> {
    let stages = situation.pipeline.stages.iter().enumerate();
    let answer = |(index, stage): (usize, &Stage)| {
        let replicas = match situation.targets.get(index) {
            Some(Target::Seen(workload)) => Some(workload.desired),
            Some(Target::Unseen | Target::Unusable(_)) | None => None,
        };
        let verdict = Verdict {
            stage: StageId {
                pipeline: situation.pipeline.id.clone(),
                index,
                name: Arc::clone(&stage.name),
            },
            replicas,
            why: vec![Reason::InternalError { message: message.to_owned() }],
            signals: Signals::default(),
            held: None,
            next: None,
            anomalies: Vec::new(),
            lanes: Vec::new(),
            rooms: Vec::new(),
        };
        Answer::of(verdict)
    };
    stages.map(answer).collect()
}
