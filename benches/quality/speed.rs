//! How long deciding takes, and how long a week takes to be played back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use penstock::simulate::{Penstock, Pilot, View, Why, contest, run_whole};

use crate::arena::Round;
use crate::loads::{LOADS, Terms};
use crate::musts::Book;

/// Ten of them.
const POLICIES: [&str; 10] = [
    "penstock",
    "static",
    "static=8",
    "static=24",
    "keda",
    "keda-rate",
    "kpa",
    "flink",
    "watermark",
    "numaflow",
];
const WEEK: u32 = 7 * 86_400;

/// Measures and prints both.
pub(crate) fn print(round: &Round, book: &mut Book) -> Result<()> {
    let mut timed = Timed { pilot: Penstock::new(&round.scenario), spent: Vec::new() };
    run_whole(&round.scenario, &mut timed, round.seed);
    timed.spent.sort_unstable();
    let at = |share: usize| {
        let spent = timed.spent.get(timed.spent.len() * share / 100).copied();
        1e6 * spent.unwrap_or_default().as_secs_f64()
    };
    let (median, most) = (at(50), at(99));
    println!(
        "a look of Penstock at one stage: {median:.1} us in the median, {most:.1} us at the 99th percentile"
    );
    let week = LOADS.iter().find(|load| load.name == "week").context("no load is called week")?;
    let mut scenario = week.scenario(Terms::USUAL, 1)?;
    (scenario.duration, scenario.warmup) = (WEEK, 0);
    let start = now();
    contest(&scenario, &POLICIES.map(str::to_owned), 1, &|| ())?;
    let seconds = start.elapsed().as_secs_f64();
    println!("a week with ten policies: {seconds:.1} s\n");
    book.speed([median, most], seconds);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Penstock with a stopwatch.
struct Timed {
    pilot: Penstock,
    spent: Vec<Duration>,
}

impl Pilot for Timed {
    fn name(&self) -> String {
        self.pilot.name()
    }

    fn is_due(&self, at: f64) -> bool {
        self.pilot.is_due(at)
    }

    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]) {
        let start = now();
        self.pilot.decide(views, wants);
        self.spent.push(start.elapsed());
    }

    fn believed_rate(&self, stage: usize) -> Option<f64> {
        self.pilot.believed_rate(stage)
    }

    fn why(&self, stage: usize) -> Option<Why> {
        self.pilot.why(stage)
    }

    fn violations(&self) -> u32 {
        self.pilot.violations()
    }
}
