//! decide, through its one door: stories in, told plans out; laws that hold for any input; and tales of a queue that flows.

use proptest::prelude::ProptestConfig;

pub(crate) mod story;

mod thresholds;
mod objective;
mod combine;
mod schedule;
mod gates;
mod sleep;
mod batch;
mod forecast;
mod blind;
mod missing;
mod reset;
mod steady;
mod owner;
mod writes;
mod words;
mod size;
mod tale;
mod fleet;
mod budgets;
mod flow;
mod laws;
mod presents;
mod restraint;
mod hpa;
mod jobs;
mod depth;
mod lanes;
mod prospects;

/// On how many cases a law is tried: so many, and `PENSTOCK_CASES` times as many where that is set, as `make laws` does. Says it, for
/// whoever counts. A few laws live through an hour each; their own count is smaller by what that takes.
fn cases(count: u32) -> ProptestConfig {
    let times = std::env::var_os("PENSTOCK_CASES").map_or(1, |times| {
        times.to_str().and_then(|times| times.parse().ok()).expect("PENSTOCK_CASES is no number")
    });
    let cases = count * times;
    let thread = std::thread::current();
    println!("{}: {cases} cases", thread.name().unwrap_or("a law"));
    ProptestConfig::with_cases(cases)
}
