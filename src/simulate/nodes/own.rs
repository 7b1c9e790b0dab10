//! Penstock on lanes: the daemon's `decide`, with its word for every lane. Seated as [`crate::simulate::Penstock`] is, whose eyes and hands
//! it has.

use super::super::penstock::Penstock;
use super::super::pilot::Pilot;
use super::super::policy::View;
use super::super::scenario::Scenario;
use super::{LANES, Placer, Seen, Wants};

/// Penstock, placing the pods of a stage with lanes.
#[derive(Debug)]
pub struct OnLanes(Penstock);

impl OnLanes {
    /// Penstock before its first turn; the scenario's first stage has lanes (see [`super::Split`]).
    pub fn new(scenario: &Scenario) -> Self {
        Self(Penstock::new(scenario))
    }
}

impl Placer for OnLanes {
    fn name(&self) -> String {
        Pilot::name(&self.0)
    }

    /// Whatever moves in the cluster wakes the daemon.
    fn is_due(&self, at: f64, has_moved: bool) -> bool {
        has_moved || self.0.is_due(at)
    }

    fn place(&mut self, view: &View<'_>, seen: &Seen) -> Wants {
        let mut lanes = seen.lanes.map(|lane| lane.desired);
        let step = self.0.turn_on_nodes(view, &seen.lanes, seen.pools.clone(), &mut lanes);
        let need = step.plan.verdicts.first().and_then(|verdict| verdict.replicas);
        let spot = step.plan.pools.iter().find(|pool| *pool.pool == *LANES[1]);
        Wants { need: need.unwrap_or(view.desired), lanes, spot: spot.map(|pool| pool.state) }
    }
}
