//! Between what counts a stage may be: what runs, the fewest awake, and what is kept asleep. Made at the start of its turn.

use super::pipeline::Stage;

/// What the bounds and the owner's word make of the count that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// What runs.
    pub(super) desired: u32,
    /// The same within bounds: what a hold keeps.
    pub(super) current: u32,
    /// Never fewer, awake.
    pub(super) floor: u32,
    /// What to keep asleep; `None` when the stage never sleeps.
    pub(super) idle: Option<u32>,
    /// Is it asleep?
    pub(super) is_asleep: bool,
}

impl Frame {
    pub(super) fn new(stage: &Stage, desired: u32, forced: bool) -> Self {
        let least = u32::from(forced);
        let idle = stage.idle.map(|idle| idle.replicas).or_else(|| (stage.min == 0).then_some(0));
        let idle = idle.map(|idle| idle.max(least).min(stage.max));
        let floor = stage.min.max(1).min(stage.max);
        let is_asleep = idle.is_some_and(|idle| desired <= idle && desired < floor);
        let lowest = if is_asleep { desired } else { floor };
        Self {
            desired,
            current: desired.clamp(lowest, stage.max.max(lowest)),
            floor,
            idle,
            is_asleep,
        }
    }
}
