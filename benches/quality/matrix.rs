//! How the figures depend on what is asked for: the delay L against the time S that a pod takes to start, Penstock beside tuned KEDA.

use anyhow::Result;
use penstock::simulate::Interval;

use crate::arena::{Contender, Figures, repeat, rounds};
use crate::loads::{Load, Terms};
use crate::musts::{Book, Cell};
use crate::tuned::tune;

const DEADLINES: [f64; 4] = [10.0, 30.0, 60.0, 300.0];
const STARTUPS: [f64; 3] = [5.0, 45.0, 240.0];
/// A load of strong days, a quiet service, a restless one, a smooth wave, and one that jumps.
const SHOWN: [&str; 5] = ["worldcup98", "service-9", "service-11", "diurnal", "mmpp"];
/// How wide a cell is printed.
const WIDE: usize = 58;
/// As many as the table has: a cell of two is chance.
const SEEDS: u64 = 10;

/// Plays and prints it for those of its loads that are among these. Cost over the bound, and per cent late, each with half the 95 % interval; KEDA's in brackets.
pub(crate) fn print(seeds: u64, loads: &[&'static Load], book: &mut Book) -> Result<()> {
    println!(
        "Delay asked for (L) against start-up (S): cost/bound at late %, each +- half the 95 % interval, and [tuned KEDA's]; seeds: {}",
        seeds.min(SEEDS)
    );
    for load in loads.iter().filter(|load| SHOWN.contains(&load.name)) {
        println!(
            "\n  {:<14}{}",
            load.name,
            STARTUPS.map(|it| format!("{:>WIDE$}", format!("S = {it} s"))).concat()
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
    Ok(format!("{:>WIDE$}", format!("{} [{}]", text(&own), text(&keda))))
}

/// Cost and lateness of one policy in a cell.
fn text(figures: &[Figures]) -> String {
    let of = |figure: fn(&Figures) -> f64| {
        let Interval { mean, half } = Interval::of(&figures.iter().map(figure).collect::<Vec<_>>());
        format!("{mean:.2}+-{half:.2}")
    };
    format!("{} at {}", of(|it| it.cost), of(|it| 100.0 * it.late))
}
