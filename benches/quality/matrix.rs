//! How the figures depend on what is asked for: the delay L against the time S that a pod takes to start, Penstock beside tuned KEDA.

use anyhow::Result;

use crate::arena::{Contender, Figures, repeat, rounds};
use crate::loads::{LOADS, Load, Terms};
use crate::musts::{Book, Cell};
use crate::tuned::{mean, tune};

const DEADLINES: [f64; 4] = [10.0, 30.0, 60.0, 300.0];
const STARTUPS: [f64; 3] = [5.0, 45.0, 240.0];
/// A load of strong days, a quiet service, a restless one, a smooth wave, and one that jumps.
const SHOWN: [&str; 5] = ["worldcup98", "service-9", "service-11", "diurnal", "mmpp"];
const SEEDS: u64 = 2;

/// Plays and prints it. Cost over the bound, and per cent late; KEDA's cost in brackets.
pub(crate) fn print(seeds: u64, book: &mut Book) -> Result<()> {
    println!(
        "Delay asked for (L) against start-up (S): cost/bound at late %, and [tuned KEDA's]; seeds: {}",
        seeds.min(SEEDS)
    );
    for load in LOADS.iter().filter(|load| SHOWN.contains(&load.name)) {
        println!(
            "\n  {:<14}{}",
            load.name,
            STARTUPS.map(|it| format!("{:>38}", format!("S = {it} s"))).concat()
        );
        for deadline in DEADLINES {
            let cells = STARTUPS.iter().map(|&startup| cell(load, deadline, startup, seeds, book));
            let cells: Result<Vec<String>> = cells.collect();
            println!("  L = {deadline:<10}{}", cells?.concat());
        }
    }
    println!();
    Ok(())
}

fn cell(load: &Load, deadline: f64, startup: f64, seeds: u64, book: &mut Book) -> Result<String> {
    let terms = Terms { deadline, startup };
    let rounds = rounds(&[load], terms, seeds.min(SEEDS))?;
    let rounds: Vec<_> = rounds.iter().collect();
    let own = repeat(&Contender::Penstock, &rounds);
    let keda = tune("keda", &rounds).figures;
    book.cells.push(Cell { load: load.name, terms, own: own.clone(), keda: keda.clone() });
    let text = |figures: &[Figures]| {
        format!("{:.2} at {:.2}", mean(figures, |it| it.cost), 100.0 * mean(figures, |it| it.late))
    };
    Ok(format!("{:>38}", format!("{} [{}]", text(&own), text(&keda))))
}
