//! How long a stage waits now before it goes down or to sleep, for those who ask: what is written, else what was learned. Called by the API
//! of one pipeline; a turn has no use for it.

use std::time::Duration;

use super::memory::Memory;
use super::pipeline::{PipelineId, Stage};
use super::window::Window;

/// How long a stage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// The down window.
    pub down_window: Duration,
    /// How long it must be quiet before the stage sleeps; `None` where it never does.
    pub sleep_after: Option<Duration>,
}

impl Memory {
    /// How long this stage waits; `None` before its first turn.
    pub fn habits(&self, pipeline: &PipelineId, stage: &Stage) -> Option<Habits> {
        let memory = self.stage(pipeline, &stage.name)?;
        let (startup, rebalance) = (memory.pods.startup(), memory.pods.rebalance());
        let learned = || memory.calm.own_window(Window::first(startup, rebalance));
        let quiet = || memory.quiet.patience(startup + rebalance);
        let idle = stage.idle.map(|idle| idle.after);
        Some(Habits {
            down_window: stage.behaviour.down.window.unwrap_or_else(learned),
            sleep_after: idle.or_else(|| (stage.min == 0).then(quiet)),
        })
    }
}
