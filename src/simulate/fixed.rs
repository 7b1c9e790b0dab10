//! A fixed count: what a team that never scales would run. `static` is the count that carries all but a thousandth of the load.

use super::policy::{Policy, View};
use super::scenario::Scenario;

/// Share of the seconds whose load it carries.
const CARRIED: f64 = 0.999;

/// Always the same count.
#[derive(Debug, Clone)]
pub struct Fixed {
    name: String,
    count: u32,
}

impl Fixed {
    /// So many replicas, whatever happens.
    pub fn new(count: u32) -> Self {
        Self { name: format!("static={count}"), count }
    }

    /// The static peak of a stage: as many as carry the 99.9th percentile of its load at the nominal rate, partitions dealt evenly.
    /// It knows the whole load beforehand, which no team does.
    pub fn peak(scenario: &Scenario, stage: usize, seed: u64) -> Self {
        let mut rates = scenario.expected(stage, seed);
        rates.sort_by(f64::total_cmp);
        let last = super::whole(f64::from(scenario.duration) * CARRIED) as usize;
        let peak = rates.get(last.min(rates.len().saturating_sub(1))).copied().unwrap_or(0.0);
        let (bounds, ground) = (&scenario.pipeline.stages[stage], &scenario.stages[stage].ground);
        let partitions = ground.partitions;
        let carries = |count: u32| {
            let busiest = f64::from(partitions.div_ceil(count)) / f64::from(partitions);
            peak * busiest <= ground.rate
        };
        let count = (1..=bounds.max).find(|count| carries(*count)).unwrap_or(bounds.max);
        Self { name: "static".to_owned(), count }
    }
}

impl Policy for Fixed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn period(&self) -> f64 {
        15.0
    }

    fn decide(&mut self, _: &View<'_>) -> u32 {
        self.count
    }
}
