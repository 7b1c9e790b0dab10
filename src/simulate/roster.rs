//! Policies by name, for the command line and the benches: `penstock`, `static`, the HPA on CPU, the peers, and the rules for lanes.

use super::fixed::Fixed;
use super::nodes;
use super::peers::{self, CpuHpa, CpuSettings};
use super::penstock::Penstock;
use super::pilot::{Each, Pilot};
use super::policy::Policy;
use super::scenario::{Error, Scenario};

/// The names there are, in the order of tables. `static=N` is a fixed count of N.
pub fn names() -> Vec<String> {
    ["penstock", "static", "hpa-cpu"].into_iter().chain(peers::NAMES).map(str::to_owned).collect()
}

/// Those that a scenario is played with when nobody says.
pub fn fitting(scenario: &Scenario) -> Vec<String> {
    let mut rules: Vec<&str> = nodes::fitting(scenario).collect();
    if rules.is_empty() {
        rules.push("static");
    }
    ["penstock"].into_iter().chain(rules).map(str::to_owned).collect()
}

/// The pilot of this name for a scenario; the seed is for those that know the load beforehand.
pub fn pilot(name: &str, scenario: &Scenario, seed: u64) -> Result<Box<dyn Pilot>, Error> {
    if name == "penstock" {
        return Ok(Box::new(Penstock::new(scenario)));
    }
    if let Some(rule) = nodes::by_name(name, scenario)? {
        return Ok(rule);
    }
    let stages = 0..scenario.stages.len();
    let policies: Option<Vec<_>> =
        stages.map(|stage| policy(name, scenario, stage, seed)).collect();
    let policies = policies.ok_or_else(|| Error::UnknownPolicy {
        name: name.to_owned(),
        known: format!(
            "{}, static=N, and with lanes {}, fixed-share=N",
            names().join(", "),
            nodes::NAMES.join(", ")
        ),
    })?;
    Ok(Box::new(Each::new(policies)))
}

/// The policy of this name for one stage.
fn policy(name: &str, scenario: &Scenario, stage: usize, seed: u64) -> Option<Box<dyn Policy>> {
    if name == "static" {
        return Some(Box::new(Fixed::peak(scenario, stage, seed)));
    }
    if name == "hpa-cpu" {
        return Some(Box::new(CpuHpa::new(CpuSettings::default())));
    }
    match name.strip_prefix("static=") {
        Some(count) => Some(Box::new(Fixed::new(count.parse().ok()?))),
        None => peers::by_name(name),
    }
}
