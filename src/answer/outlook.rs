//! What other counts would bring, what is in force, and what arrivals are usual, for those who ask: the daemon lends what it remembers, and `decide` reckons
//! from that and the latest picture. Called by the API of one pipeline; a turn neither waits for it nor does anything more for its sake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::view;
use crate::decide::{Band, Memory, Pipeline, PipelineId, Snapshot, prospects};
use crate::report::Picture;

/// What is remembered, lent by the daemon. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Recollection(Arc<Mutex<Memory>>);

impl Recollection {
    /// Lends this.
    pub fn of(memory: Memory) -> Self {
        Self(Arc::new(Mutex::new(memory)))
    }

    /// Opens it, for a turn or a look. Never held across an await.
    pub fn open(&self) -> MutexGuard<'_, Memory> {
        // A turn that panics outside of any pipeline ends the process.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arrivals that would be nothing unusual for a stage at each of these instants.
    pub(super) fn usual(
        &self,
        pipeline: &PipelineId,
        stage: &str,
        instants: impl Iterator<Item = Timestamp>,
    ) -> Vec<Option<Band>> {
        let memory = self.open().only(pipeline);
        memory.usual(pipeline, stage, instants)
    }

    /// Adds to the view of a picture what other counts would bring, and what is in force.
    pub(super) fn tell(&self, view: &mut view::Pipeline, picture: &Picture) {
        let Some(situation) = &picture.situation else { return };
        let heard = picture.heard.iter();
        let observations: BTreeMap<_, _> =
            heard.filter_map(|it| Some((it.question.clone(), it.observation.clone()?))).collect();
        let due = vec![situation.clone()];
        let now = Snapshot { due, observations, ..Snapshot::of(picture.at, picture.may_act) };
        let memory = self.open().only(&situation.pipeline.id);
        let outlooks = prospects(&now, &memory, &picture.verdicts);
        let Pipeline { id, priority, stages, .. } = &*situation.pipeline;
        for (stage, meant) in view.stages.iter_mut().zip(stages) {
            stage.in_force = Some(view::InForce::of(*priority, meant, memory.habits(id, meant)));
        }
        for ((stage, outlook), verdict) in
            view.stages.iter_mut().zip(outlooks).zip(&picture.verdicts)
        {
            stage.outlook = outlook.as_ref().map(view::Outlook::of);
            // Now it is known with which objective another count would do.
            let bound = verdict.reason().filter(|reason| reason.hangs_on_objective());
            if let (Some(hint), Some(said), Some(_)) =
                (outlook.and_then(|it| it.hint()), stage.reasons.last_mut(), bound)
            {
                said.hint = Some(hint);
            }
        }
    }
}
