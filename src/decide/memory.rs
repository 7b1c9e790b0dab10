//! What decide remembers from turn to turn: recent bids, learned rates, last moves. Plain data, serializable, bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pipeline::PipelineId;

/// All that is remembered, by pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pipelines: BTreeMap<PipelineId, PipelineMemory>,
}

/// What is remembered of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PipelineMemory {
    /// uid of the object it belongs to; another uid starts afresh.
    pub uid: String,
}

impl Memory {
    /// Takes in what a turn changed.
    pub fn merge(&mut self, changed: Self) {
        self.pipelines.extend(changed.pipelines);
    }

    /// Forgets a deleted pipeline.
    pub fn forget(&mut self, pipeline: &PipelineId) {
        self.pipelines.remove(pipeline);
    }
}
