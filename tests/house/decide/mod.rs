//! decide, through its one door: stories in, told plans out; laws that hold for any input; and tales of a queue that flows.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

pub(crate) mod plain;
pub(crate) mod story;

mod thresholds;
mod objective;
mod combine;
mod schedule;
mod gates;
mod sleep;
mod batch;
pub(crate) mod forecast;
mod blind;
mod missing;
mod relearn;
mod reset;
mod steady;
mod owner;
mod writes;
pub(crate) mod words;
mod size;
mod tale;
mod fleet;
mod budgets;
mod flow;
mod row;
mod laws;
mod presents;
mod restraint;
mod hpa;
mod jobs;
mod depth;
mod bursts;
mod lanes;
mod relief;
mod sharing;
mod draining;
mod packing;
pub(crate) mod headroom;
mod vacancy;
mod prospects;

/// On which cases a law is tried: on so many that are always the same, so that who changes something else is not stopped by a find; or on
/// that per cent of them which `PENSTOCK_CASES` says: fewer in `make mutants`, and many more and ever new ones in `make laws`. Says how many,
/// for whoever counts. Laws that live through an hour each have fewer cases of their own.
#[expect(clippy::print_stdout, reason = "a test that passes says it only when asked")]
fn cases(count: u32) -> ProptestConfig {
    let percent: Option<u32> = std::env::var_os("PENSTOCK_CASES").map(|percent| {
        let percent = percent.to_str().and_then(|percent| percent.parse().ok());
        percent.expect("PENSTOCK_CASES is no number")
    });
    let cases = (count * percent.unwrap_or(100)).div_ceil(100);
    let thread = std::thread::current();
    println!("{}: {cases} cases", thread.name().unwrap_or("a law"));
    let is_search = percent.is_some_and(|percent| 100 < percent);
    let rng_seed = if is_search { RngSeed::Random } else { RngSeed::Fixed(17) };
    ProptestConfig { cases, rng_seed, ..ProptestConfig::default() }
}
