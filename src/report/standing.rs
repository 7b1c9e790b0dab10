//! The standing picture: the latest turn of each pipeline, whole. Written by the tellers, read by `answer` and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Glance, Polls, Tick};
use crate::decide::{
    Missing, Observation, PipelineId, QuestionId, Situation, Stage, Target, Verdict, Workload,
};

/// One pipeline at its latest turn.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The object.
    pub glance: Glance,
    /// What was known; `None` when it cannot be decided on (see the glance's faults).
    pub situation: Option<Situation>,
    /// What was decided, in stage order.
    pub verdicts: Box<[Verdict]>,
    /// What its sources said, in the order of stages and sources.
    pub heard: Box<[Heard]>,
    /// When the turn was.
    pub at: Timestamp,
    /// Did this replica hold the lease then?
    pub may_act: bool,
}

/// What one source said, and how asking it goes.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Which source.
    pub question: QuestionId,
    /// Its answer; `None` before the first.
    pub observation: Option<Observation>,
    /// How often it was asked so far; `None` when it is not in force.
    pub polls: Option<Polls>,
    /// Why its newest credentials are not in use, though it still answers to the former ones.
    pub refusal: Option<Missing>,
}

impl Picture {
    /// The count that a stage keeps because its pipeline is paused; `None` where it is not, or the stage has a count by its owner's word.
    pub fn paused_at(&self, stage: usize) -> Option<u32> {
        let Situation { pipeline, targets, .. } = self.situation.as_ref()?;
        let is_held = pipeline.pause.all && pipeline.stages.get(stage)?.pinned.is_none();
        match targets.get(stage)? {
            Target::Seen(workload) => is_held.then_some(workload.desired),
            Target::Unseen | Target::Unusable(_) => None,
        }
    }

    /// What a source said.
    pub fn heard(&self, question: &QuestionId) -> Option<&Heard> {
        self.heard.iter().find(|heard| heard.question == *question)
    }

    /// The workload of a stage, when it is there.
    pub fn workload(&self, index: usize) -> Option<&Workload> {
        match self.situation.as_ref()?.targets.get(index)? {
            Target::Seen(workload) => Some(workload),
            Target::Unseen | Target::Unusable(_) => None,
        }
    }
}

/// The latest picture of every pipeline. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pictures: Arc<RwLock<BTreeMap<PipelineId, Arc<Picture>>>>,
    moved: watch::Sender<()>,
}

impl Standing {
    /// All pictures, by namespace and name.
    pub fn all(&self) -> Vec<Arc<Picture>> {
        self.pictures
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(Arc::clone)
            .collect()
    }

    /// The picture of one pipeline.
    pub fn of(&self, pipeline: &PipelineId) -> Option<Arc<Picture>> {
        self.pictures.read().unwrap_or_else(PoisonError::into_inner).get(pipeline).map(Arc::clone)
    }

    /// Tells of every change, for those who pass them on.
    pub fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn put(&self, picture: Arc<Picture>) {
        let id = picture.glance.id.clone();
        self.pictures.write().unwrap_or_else(PoisonError::into_inner).insert(id, picture);
        self.moved.send_replace(());
    }

    pub(super) fn remove(&self, pipeline: &PipelineId) {
        self.pictures.write().unwrap_or_else(PoisonError::into_inner).remove(pipeline);
        self.moved.send_replace(());
    }
}

/// Takes a turn apart, pipeline by pipeline.
pub(super) fn pictures(tick: Tick) -> impl Iterator<Item = Picture> {
    let Tick { snapshot, step, glances, mut polls, mut refusals, .. } = tick;
    let (at, may_act, mut observations) = (snapshot.at, snapshot.may_act, snapshot.observations);
    let mut verdicts: BTreeMap<PipelineId, Vec<Verdict>> = BTreeMap::new();
    for verdict in step.plan.verdicts {
        verdicts.entry(verdict.stage.pipeline.clone()).or_default().push(verdict);
    }
    let mut situations: BTreeMap<PipelineId, Situation> =
        snapshot.due.into_iter().map(|due| (due.pipeline.id.clone(), due)).collect();
    glances.into_iter().map(move |glance| {
        let situation = situations.remove(&glance.id);
        let stages = situation.iter().flat_map(|situation| &situation.pipeline.stages);
        let heard = stages.flat_map(Stage::heard).map(|source| {
            let question = source.question.clone();
            let observation = observations.remove(&question);
            // When not even the former credentials bring an answer, the observation itself says why.
            let answers =
                matches!(observation, Some(Observation::Fresh(_) | Observation::Partial(..)));
            let refusal = refusals.remove(&question).filter(|_| answers);
            let polls = polls.remove(&question);
            Heard { question, observation, polls, refusal }
        });
        let heard = heard.collect();
        let verdicts = verdicts.remove(&glance.id).unwrap_or_default().into();
        Picture { glance, situation, verdicts, heard, at, may_act }
    })
}
