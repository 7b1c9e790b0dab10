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

/// On how many cases a law is tried: so many, or that per cent of them which `PENSTOCK_CASES` says: many more in `make laws`, fewer in
/// `make mutants`. Says it, for whoever counts. Laws that live through an hour each have fewer cases of their own.
#[expect(clippy::print_stdout, reason = "a test that passes says it only when asked")]
fn cases(count: u32) -> ProptestConfig {
    let percent: u32 = std::env::var_os("PENSTOCK_CASES").map_or(100, |percent| {
        percent
            .to_str()
            .and_then(|percent| percent.parse().ok())
            .expect("PENSTOCK_CASES is no number")
    });
    let cases = (count * percent).div_ceil(100);
    let thread = std::thread::current();
    println!("{}: {cases} cases", thread.name().unwrap_or("a law"));
    ProptestConfig::with_cases(cases)
}
