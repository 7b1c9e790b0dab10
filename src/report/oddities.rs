//! What is odd about stages, as it comes and goes: an event when it begins and one when it is over. Called by the tellers for each
//! picture; what is odd, decide says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Picture;
use super::tale::{self, Tale};
use crate::decide::PipelineId;

type Odd = BTreeSet<(Arc<str>, &'static str)>;

/// What was odd at the latest turn of each pipeline; nothing is kept of those that are well.
#[derive(Debug, Default)]
pub(super) struct Oddities(BTreeMap<PipelineId, Odd>);

impl Oddities {
    /// Takes in a turn. Returns what began and what ended.
    pub(super) fn take(&mut self, picture: &Picture) -> Vec<Tale> {
        let id = &picture.glance.id;
        let mut tales = Vec::new();
        let mut now = Odd::new();
        for verdict in &picture.verdicts {
            for reason in &verdict.anomalies {
                let key = (Arc::clone(&verdict.stage.name), reason.code());
                if !self.0.get(id).is_some_and(|before| before.contains(&key)) {
                    let mut note = format!("stage {}: {reason}", verdict.stage.name);
                    if let Some(hint) = reason.hint() {
                        note.push_str("; hint: ");
                        note.push_str(&hint);
                    }
                    tales.push(tale::of_oddity(&picture.glance, reason.code(), note, true));
                }
                now.insert(key);
            }
        }
        for (stage, code) in self.0.get(id).into_iter().flatten() {
            if !now.contains(&(Arc::clone(stage), *code)) {
                let note = format!("stage {stage}: {code} is over");
                tales.push(tale::of_oddity(&picture.glance, &format!("{code}Ended"), note, false));
            }
        }
        if now.is_empty() {
            self.0.remove(id);
        } else {
            self.0.insert(id.clone(), now);
        }
        tales
    }

    /// Forgets a deleted pipeline.
    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        self.0.remove(pipeline);
    }
}
