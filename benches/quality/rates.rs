//! How well the rate of a replica is known after ten minutes in which all replicas were busy. Nobody tells it: it is learned from what the
//! group commits, whatever the interval of its commits.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use penstock::simulate::{
    Interval, Peak, Penstock, Scenario, Shape, Span, Steady, Workload, run_whole,
};

use crate::loads::BASE;
use crate::musts::Book;

/// Seconds in which it is learned, and in which it is looked at.
const LEARNED: u32 = 600;
const LOOKED: u32 = 300;
/// Replicas, and for how many there is work, so that every one of them always has some.
const REPLICAS: u32 = 8;
const WORK: f64 = 12.0;
/// Seconds between two commits of a consumer.
const COMMITS: [f64; 3] = [1.0, 5.0, 30.0];

/// Plays and prints it.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
pub(crate) fn print(seeds: u64, book: &mut Book) -> Result<()> {
    for commits in COMMITS {
        let scenario = scenario(commits)?;
        let play =
            |seed| run_whole(&scenario, &mut Penstock::new(&scenario), seed).score.rate_error;
        let errors: Option<Vec<f64>> = (1..=seeds).map(play).collect();
        let errors = errors.context("no rate was learned in ten busy minutes")?;
        let error = 100.0 * Interval::of(&errors).mean;
        println!(
            "rate of a replica after 10 busy minutes, commits every {commits} s: {error:.1} % off in the mean"
        );
        book.rate(commits, error);
    }
    println!();
    Ok(())
}

fn scenario(commits: f64) -> Result<Scenario> {
    let mut scenario = Scenario::read(BASE, Path::new("."))?;
    (scenario.duration, scenario.warmup) = (LEARNED + LOOKED, LEARNED);
    let pipeline = Arc::make_mut(&mut scenario.pipeline);
    for stage in &mut pipeline.stages {
        (stage.min, stage.max) = (REPLICAS, REPLICAS);
    }
    for stage in &mut scenario.stages {
        stage.ground.commit_interval = Span::of(commits);
        stage.ground.replicas = Some(REPLICAS);
        let peak = Peak::Rate(WORK * stage.ground.rate);
        let shape = Shape::Steady(Steady::default());
        stage.workload = Some(Workload { shape, peak, dispersion: 1.0 });
    }
    Ok(scenario)
}
