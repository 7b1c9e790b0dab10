//! What should be: the whole thinking, pure. Values in, values out; no I/O, no clock, no log, no chance. Called by the daemon and the
//! simulator alike; every change of a number carries a [`Reason`].

use serde::{Deserialize, Serialize};

mod pipeline;
mod snapshot;
mod plan;
mod reason;
mod memory;

pub use memory::Memory;
pub use pipeline::{
    Behaviour, Fallback, FallbackPolicy, Idle, Mode, OnSilence, Pause, Pipeline, PipelineId,
    Policy, QuestionId, Rules, Select, Source, Stage, TargetId, Unit,
};
pub use plan::{Action, Ending, ForeignWriter, Outcome, Plan, Scale, Signals, StageId, Verdict};
pub use reason::Reason;
pub use snapshot::{
    Lost, Missing, Observation, Partition, Queue, Reading, Recalled, Situation, Snapshot, Target,
    Unusable, Value, Workload, Writing,
};

/// What one turn comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do, and why.
    pub plan: Plan,
    /// The memory of the due pipelines after it.
    pub memory: Memory,
}
