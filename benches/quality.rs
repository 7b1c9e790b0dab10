//! The benchmark of decision quality: what Penstock's one default costs and how late it lets data come, beside the bound that no plan
//! can beat and beside the rules of others, each tuned to each load. Run by `make quality`. Exits 1 when a must is missed, and says by
//! how much.
//!
//! `-- --seeds N` (10), `--only NAME` (loads whose name contains it), `--policy NAME` (only this policy; `penstock` alone is the quick
//! look while working on `decide`), `--matrix` (only the table of other objectives and start-up times).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "ending.rs"]
mod ending;
#[path = "quality/arena.rs"]
mod arena;
#[path = "quality/loads.rs"]
mod loads;
#[path = "quality/matrix.rs"]
mod matrix;
#[path = "quality/musts.rs"]
mod musts;
#[path = "quality/odd.rs"]
mod odd;
#[path = "quality/rates.rs"]
mod rates;
#[path = "quality/speed.rs"]
mod speed;
#[path = "quality/table.rs"]
mod table;
#[path = "quality/tuned.rs"]
mod tuned;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use penstock::simulate::peers;

use arena::{Contender, Round};
use loads::{LOADS, Load, Terms};
use musts::Book;

/// Seeds of the worlds with eager rebalances.
const EAGER: u64 = 3;

fn main() -> ExitCode {
    ending::of(Options::read().and_then(|options| bench(&options)))
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    seeds: u64,
    only: Option<String>,
    policy: Option<String>,
    is_matrix: bool,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { seeds: 10, only: None, policy: None, is_matrix: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} takes a value"));
            match argument.as_str() {
                "--seeds" => options.seeds = value()?.parse().context("--seeds takes a number")?,
                "--only" => options.only = Some(value()?),
                "--policy" => options.policy = Some(value()?),
                "--matrix" => options.is_matrix = true,
                // What cargo adds.
                "--bench" => {}
                other => bail!(
                    "{other} is unknown; hint: --seeds N, --only NAME, --policy NAME, --matrix"
                ),
            }
        }
        let known = |name: &String| name == "penstock" || peers::NAMES.contains(&name.as_str());
        if let Some(name) = options.policy.as_ref().filter(|name| !known(name)) {
            bail!("{name} is no policy; hint: penstock, {}", peers::NAMES.join(", "));
        }
        if options.seeds == 0 {
            bail!("--seeds must be 1 or more");
        }
        Ok(options)
    }

    fn loads(&self) -> Vec<&'static Load> {
        let only = self.only.as_deref().unwrap_or_default();
        LOADS.iter().filter(|load| load.name.contains(only)).collect()
    }

    fn is_asked(&self, policy: &str) -> bool {
        self.policy.as_deref().is_none_or(|name| name == policy)
    }
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is one of the figures")]
fn bench(options: &Options) -> Result<Vec<String>> {
    let start = Instant::now();
    let loads = options.loads();
    if loads.is_empty() {
        bail!("no load is called so; hint: {}", LOADS.map(|load| load.name).join(", "));
    }
    let mut book = Book::default();
    if options.is_matrix {
        matrix::print(options.seeds, &loads, &mut book)?;
        return Ok(judged(&mut book, start));
    }
    println!("{}", table::PREAMBLE);
    let rounds = arena::rounds(&loads, Terms::USUAL, options.seeds)?;
    println!("bounds of {} worlds in {:.1?}\n", rounds.len(), start.elapsed());
    if options.is_asked("penstock") {
        let games: Vec<_> = rounds.iter().map(|round| (Contender::Penstock, round)).collect();
        let scores = arena::play_all(&games);
        println!("Penstock, one default, rate of a replica unknown\n{}", table::HEAD);
        for load in &loads {
            let figures = arena::of_load(load, &rounds, &scores);
            println!("{}", table::row(load, load.name, &figures));
            book.note(load, "penstock", figures);
        }
        println!("after {:.0?}\n", start.elapsed());
        let eager: Vec<_> = rounds.iter().filter(|it| it.seed <= EAGER).map(Round::eager).collect();
        let games: Vec<_> = eager.iter().map(|round| (Contender::Penstock, round)).collect();
        let scores = arena::play_all(&games);
        println!("Penstock where every rebalance stops the whole group for 10 s\n{}", table::HEAD);
        for load in &loads {
            let figures = arena::of_load(load, &eager, &scores);
            println!("{}", table::row(load, load.name, &figures));
            book.note(load, "eager", figures);
        }
        println!("after {:.0?}\n", start.elapsed());
    }
    if options.policy.as_deref() != Some("penstock") {
        for load in &loads {
            let own: Vec<&Round> = rounds.iter().filter(|round| round.load == load.name).collect();
            println!("{}\n{}", load.title(&own), table::HEAD);
            if let Some(figures) = book.of(load, "penstock") {
                println!("{}", table::row(load, "penstock (one default)", figures));
            }
            for name in peers::NAMES.iter().filter(|name| options.is_asked(name)) {
                let found = tuned::tune(name, &own);
                println!("{}", table::row(load, &found.label, &found.figures));
                println!("      {}", found.frontier);
                if let Some((label, figures)) = &found.published {
                    println!("{}", table::row(load, label, figures));
                    book.note(load, musts::published(name), figures.clone());
                }
                book.note(load, name, found.figures);
            }
            if options.policy.is_none() {
                let figures = arena::repeat(&Contender::Static, &own);
                println!("{}", table::row(load, "static peak (p99.9)", &figures));
                book.note(load, "static", figures);
            }
            println!("after {:.0?}\n", start.elapsed());
        }
    }
    if let Some(round) = rounds.first().filter(|_| options.is_asked("penstock")) {
        speed::print(round, &mut book)?;
        rates::print(options.seeds, &mut book)?;
    }
    if options.is_asked("penstock") && loads.iter().any(|load| load.name == "taxi") {
        odd::print()?;
    }
    if options.policy.is_none() && options.only.is_none() {
        matrix::print(options.seeds, &loads, &mut book)?;
        println!("after {:.0?}\n", start.elapsed());
    }
    Ok(judged(&mut book, start))
}

/// The musts that what was played can be held against: those missed.
fn judged(book: &mut Book, start: Instant) -> Vec<String> {
    let missed = book.missed();
    println!("{}\nthe whole run took {:.0?}", book.verdict(missed.len()), start.elapsed());
    missed
}
