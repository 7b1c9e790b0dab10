//! The slow changes of what one replica of a stage gets through: two waves and the lasting steps of its ground. Drawn from the seed, so that it
//! is the same in every world that has this stage.

use std::f64::consts::TAU;

use super::chance::{Chance, Tag};
use super::ground::Ground;

/// The slow changes of a stage's rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace<'a> {
    ground: &'a Ground,
    /// Of the two waves.
    phases: [f64; 2],
}

impl<'a> Pace<'a> {
    /// Those of a stage; `which` tells stages apart.
    pub(super) fn new(ground: &'a Ground, seed: u64, which: u64) -> Self {
        let mut chance = Chance::new(seed, Tag::Drift, which);
        Self { ground, phases: [chance.unit(), chance.unit()] }
    }

    /// Items a second that one replica, alone and warm, gets through now.
    pub(super) fn rate(&self, now: u32) -> f64 {
        let ground = self.ground;
        let turn = TAU * f64::from(now) / ground.drift.period.seconds();
        let wave = 0.7 * (turn + TAU * self.phases[0]).sin()
            + 0.3 * (turn * 2.7 + TAU * self.phases[1]).sin();
        let factor = ground.steps.iter().rev().find(|step| step.at.seconds() <= f64::from(now));
        ground.rate * (1.0 + ground.drift.by * wave) * factor.map_or(1.0, |step| step.factor)
    }
}
