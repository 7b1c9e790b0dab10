//! The standing picture: the latest turn of each pipeline, whole. Written by the tellers, read by `answer` and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::{Glance, Polls, Tick};
use crate::decide::{
    Missing, Observation, PipelineId, QuestionId, Situation, Target, Verdict, Workload,
};

/// One pipeline at its latest turn.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The object.
    pub glance: Glance,
    /// What was known; `None` when it cannot be decided on (see the glance's faults).
    pub situation: Option<Situation>,
    /// What was decided, in stage order.
    pub verdicts: Vec<Verdict>,
    /// What its sources said.
    pub observations: BTreeMap<QuestionId, Observation>,
    /// How often they were asked so far.
    pub polls: BTreeMap<QuestionId, Polls>,
    /// Whose newest credentials are refused though the source still answers to the former ones.
    pub refusals: BTreeMap<QuestionId, Missing>,
    /// When the turn was.
    pub at: Timestamp,
    /// Did this replica hold the lease then?
    pub may_act: bool,
}

impl Picture {
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
pub struct Standing(Arc<RwLock<BTreeMap<PipelineId, Arc<Picture>>>>);

impl Standing {
    /// All pictures, by namespace and name.
    pub fn all(&self) -> Vec<Arc<Picture>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    /// The picture of one pipeline.
    pub fn of(&self, pipeline: &PipelineId) -> Option<Arc<Picture>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(pipeline).map(Arc::clone)
    }

    pub(super) fn put(&self, picture: Arc<Picture>) {
        let id = picture.glance.id.clone();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, picture);
    }

    pub(super) fn remove(&self, pipeline: &PipelineId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(pipeline);
    }
}

/// Takes a turn apart, pipeline by pipeline.
pub(super) fn pictures(tick: Tick) -> Vec<Picture> {
    let Tick { snapshot, step, glances, polls, refusals, .. } = tick;
    let mut verdicts: BTreeMap<PipelineId, Vec<Verdict>> = BTreeMap::new();
    for verdict in step.plan.verdicts {
        verdicts.entry(verdict.stage.pipeline.clone()).or_default().push(verdict);
    }
    let mut situations: BTreeMap<PipelineId, Situation> =
        snapshot.due.into_iter().map(|due| (due.pipeline.id.clone(), due)).collect();
    let picture = |glance: Glance| {
        let situation = situations.remove(&glance.id);
        let stages = || situation.iter().flat_map(|situation| &situation.pipeline.stages);
        let sources = || stages().flat_map(|stage| &stage.sources);
        let polls = sources()
            .filter_map(|source| Some((source.question.clone(), *polls.get(&source.question)?)))
            .collect();
        let observations: BTreeMap<_, _> = sources()
            .filter_map(|source| {
                let observation = snapshot.observations.get(&source.question)?;
                Some((source.question.clone(), observation.clone()))
            })
            .collect();
        // When not even the former credentials bring an answer, the observation itself says why.
        let answers = |question| {
            matches!(
                observations.get(question),
                Some(Observation::Fresh(_) | Observation::Partial(..))
            )
        };
        let refusals = sources()
            .filter(|source| answers(&source.question))
            .filter_map(|source| {
                Some((source.question.clone(), refusals.get(&source.question)?.clone()))
            })
            .collect();
        let verdicts = verdicts.remove(&glance.id).unwrap_or_default();
        let (at, may_act) = (snapshot.at, snapshot.may_act);
        Picture { glance, situation, verdicts, observations, polls, refusals, at, may_act }
    };
    glances.into_iter().map(picture).collect()
}
