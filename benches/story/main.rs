//! One pipeline, four ways: a fixed count, the HPA on CPU, KEDA's rules, Penstock; a day each, with faults, many times over. Run by
//! `make story`. Prints how long the hourly backfill takes, what was paid, how much came late and how often a human had to act; exits
//! 1 when what is promised of Penstock does not hold, and says by how much. Everything here is played in `simulate`; how far that is from
//! reality is what `make truth` measures.
//!
//! `-- --runs N` (80, at least 20), `--html FILE` for the plots of the first run.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../ending.rs"]
mod ending;
mod terms;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use penstock::simulate::peers::{Amount, CpuHpa, CpuSettings, HpaSettings, Keda, KedaSettings};
use penstock::simulate::{
    About, Contest, Each, Entry, Fixed, Interval, Penstock, Pilot, Policy, Run, Scenario, Series,
    StageRun, Summary, page, run_whole,
};

/// Runs without `--runs`, and at least.
const RUNS: u64 = 80;
const FEWEST: u64 = 20;

/// A page goes out when an item has waited for twice what was promised, and goes on waiting, for so many seconds in one piece.
const PAGED_AT: f64 = 2.0;
const PAGED_AFTER: f64 = 600.0;
/// A run is good when nobody was paged, all backfills were done before the next came, and at most so many items were late.
const GOOD: f64 = 0.01;

/// What is promised of Penstock beside the fixed count: share of the cost that is saved, and share of the runs that are good.
const SAVED: f64 = 0.25;
const GOOD_RUNS: f64 = 0.987;

/// Ways to size it.
const WAYS: [Way; 4] = [Way::Static, Way::Cpu, Way::Keda, Way::Penstock];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Static,
    Cpu,
    Keda,
    Penstock,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Cpu => "HPA on CPU, 80 %",
            Self::Keda => "KEDA, lag of 5 s of work",
            Self::Penstock => "penstock",
        }
    }

    /// Who sizes a scenario this way. The fixed count knows its run's load beforehand (99.9 % of its seconds), but for the backfill.
    fn pilot(self, scenario: &Scenario, is_batch: bool, seed: u64) -> Box<dyn Pilot> {
        let each = |policy: &dyn Fn(usize) -> Box<dyn Policy>| -> Box<dyn Pilot> {
            Box::new(Each::new((0..scenario.stages.len()).map(policy).collect()))
        };
        match self {
            Self::Static if is_batch => each(&|_| Box::new(Fixed::new(terms::STATIC_BATCH))),
            Self::Static => each(&|stage| Box::new(Fixed::peak(scenario, stage, seed))),
            Self::Cpu => each(&|_| Box::new(CpuHpa::new(CpuSettings::default()))),
            Self::Keda => {
                let lag = Amount::Seconds(5.0);
                let settings =
                    KedaSettings { lag, hpa: HpaSettings::default(), ..KedaSettings::default() };
                each(&|_| Box::new(Keda::new(settings.clone())))
            }
            Self::Penstock => Box::new(Penstock::new(scenario)),
        }
    }
}

fn main() -> ExitCode {
    ending::of(bench())
}

/// What was asked for.
struct Options {
    runs: u64,
    html: Option<PathBuf>,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { runs: RUNS, html: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} takes a value"));
            match argument.as_str() {
                "--runs" => options.runs = value()?.parse().context("--runs takes a number")?,
                "--html" => options.html = Some(value()?.into()),
                // What cargo adds.
                "--bench" => {}
                other => bail!("{other} is unknown; hint: --runs N, --html FILE"),
            }
        }
        if options.runs < FEWEST {
            bail!("--runs must be at least {FEWEST}");
        }
        Ok(options)
    }
}

/// One day, one way.
struct Day {
    /// Minutes from the full hour to the last item of its backfill, for each hour; `None` where the next one came before.
    finished: Vec<Option<f64>>,
    replica_hours: f64,
    cost: f64,
    /// Of the live items, and of the backfill's.
    late: f64,
    batch_late: f64,
    /// Times that somebody was paged.
    pages: usize,
    live: Run,
}

impl Day {
    fn play(way: Way, seed: u64) -> Result<Self> {
        let (live, batch) = (terms::live(seed)?, terms::backfill()?);
        let run = |scenario: &Scenario, is_batch| {
            run_whole(scenario, &mut *way.pilot(scenario, is_batch, seed), seed)
        };
        let (live, batch) = (run(&live, false), run(&batch, true));
        let priced = live
            .stages
            .iter()
            .zip(terms::PRICES)
            .chain(batch.stages.iter().zip([terms::BATCH_PRICE]));
        let cost = priced.map(|(stage, price)| stage.score.replica_hours * price).sum();
        let backfill = batch.stages.first().context("a backfill without a stage")?;
        Ok(Self {
            finished: finished(&backfill.series),
            replica_hours: live.score.replica_hours + batch.score.replica_hours,
            cost,
            late: live.score.late_share.context("live stages that promise nothing")?,
            batch_late: batch.score.late_share.context("a backfill that promises nothing")?,
            pages: live.stages.iter().chain(&batch.stages).map(pages).sum(),
            live,
        })
    }

    fn is_good(&self) -> bool {
        let is_done = self.finished.iter().all(Option::is_some);
        self.pages == 0 && is_done && self.late <= GOOD && self.batch_late <= GOOD
    }

    /// Minutes, the mean of the day; a backfill that was not done counts as an hour.
    fn minutes(&self) -> f64 {
        let all = self.finished.iter().map(|minutes| minutes.unwrap_or(60.0));
        all.sum::<f64>() / number(self.finished.len()).max(1.0)
    }
}

/// When each hour's backfill was done: the first moment after it came at which nothing waits.
fn finished(series: &Series) -> Vec<Option<f64>> {
    let points = |seconds: u32| (seconds / series.step.max(1)) as usize;
    let hour = points(3600);
    // Nothing of it waits yet in the minute in which it comes.
    let comes = points(60) + 1;
    let hours = series.delay.chunks(hour).filter(|delays| delays.len() == hour);
    hours
        .map(|delays| {
            let done = delays.iter().skip(comes).position(|delay| *delay <= 0.0)?;
            Some(number(comes + done) * f64::from(series.step) / 60.0)
        })
        .collect()
}

/// Stretches in which somebody was paged for a stage.
fn pages(stage: &StageRun) -> usize {
    let limit = PAGED_AT * stage.objective.unwrap_or(f64::INFINITY);
    let mut pages = 0;
    let mut seconds = 0.0;
    for delay in &stage.series.delay {
        let before = seconds;
        seconds = if limit < *delay { seconds + f64::from(stage.series.step) } else { 0.0 };
        pages += usize::from(before < PAGED_AFTER && PAGED_AFTER <= seconds);
    }
    pages
}

fn bench() -> Result<Vec<String>> {
    let options = Options::read()?;
    println!("{PREAMBLE}\n");
    println!(
        "{:<26}{:>16}{:>15}{:>15}{:>12}{:>14}{:>12}{:>10}",
        "mean of a day",
        "backfill, min",
        "replica-hours",
        "cost",
        "live late %",
        "backfill late %",
        "pages",
        "good"
    );
    let mut found = Vec::new();
    for way in WAYS {
        let days = play(way, options.runs)?;
        println!("{}", row(way, &days));
        if way == Way::Penstock {
            days.iter().zip(1..).for_each(|(day, run)| tell_of(day, run));
        }
        found.push((way, days));
    }
    if let Some(file) = &options.html {
        report(file, &found)?;
    }
    Ok(missed(&found))
}

/// Says of a run that is not good what was wrong with it.
fn tell_of(day: &Day, run: u64) {
    if day.is_good() {
        return;
    }
    let late = |share: f64| 100.0 * share;
    let left = day.finished.iter().filter(|done| done.is_none()).count();
    println!(
        "  run {run}: {:.2} % late live, {:.2} % of the backfill, {} pages, {left} backfills not done in their hour",
        late(day.late),
        late(day.batch_late),
        day.pages
    );
}

const PREAMBLE: &str = "\
simulated: parse, enrich and sink on Kafka with a day of the World Cup's load, promised within 3 min end to end; and a backfill of
360,000 items at every full hour, promised within 20 min, on a Deployment (the simulator runs no Jobs). Replicas crash, a third of
the pods is interrupted three times a day, nodes come late, readings are lost, enrich is a quarter slower for two hours.
static knows its day's load beforehand (99.9 % of its seconds) and has 8 replicas for the backfill; HPA on CPU sees the share of its time
that a consumer works; KEDA's threshold is set with the true rate. A page: an item older than twice what was promised, for 10 min. A run
is good without a page, with every backfill done in its hour, and with at most 1 % late. Cost: 0.04 for a vCPU and hour.";

/// All days of one way, on all cores.
fn play(way: Way, runs: u64) -> Result<Vec<Day>> {
    let next = AtomicU64::new(1);
    let days: Mutex<Vec<(u64, Result<Day>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if runs < seed {
                        return;
                    }
                    let day = Day::play(way, seed);
                    days.lock().unwrap_or_else(PoisonError::into_inner).push((seed, day));
                }
            });
        }
    });
    let mut days = days.into_inner().unwrap_or_else(PoisonError::into_inner);
    days.sort_by_key(|(seed, _)| *seed);
    days.into_iter().map(|(_, day)| day).collect()
}

fn mean(days: &[Day], of: impl Fn(&Day) -> f64) -> Interval {
    Interval::of(&days.iter().map(of).collect::<Vec<_>>())
}

fn good(days: &[Day]) -> f64 {
    number(days.iter().filter(|day| day.is_good()).count()) / number(days.len())
}

fn row(way: Way, days: &[Day]) -> String {
    let with = |it: Interval, places: usize| format!("{:.places$} +-{:.places$}", it.mean, it.half);
    format!(
        "{:<26}{:>16}{:>15}{:>15}{:>12.3}{:>14.3}{:>12.2}{:>9.1}%",
        way.name(),
        with(mean(days, Day::minutes), 1),
        with(mean(days, |day| day.replica_hours), 0),
        with(mean(days, |day| day.cost), 2),
        100.0 * mean(days, |day| day.late).mean,
        100.0 * mean(days, |day| day.batch_late).mean,
        mean(days, |day| number(day.pages)).mean,
        100.0 * good(days),
    )
}

/// What Penstock's days come to beside the static ones, and what of it is not as promised.
fn missed(found: &[(Way, Vec<Day>)]) -> Vec<String> {
    let of = |way| {
        found.iter().find(|(it, _)| *it == way).map(|(_, days)| days.as_slice()).unwrap_or_default()
    };
    let (fixed, own) = (of(Way::Static), of(Way::Penstock));
    let less = |value: fn(&Day) -> f64| 1.0 - mean(own, value).mean / mean(fixed, value).mean;
    let (cheaper, faster) = (less(|day| day.cost), less(Day::minutes));
    let best = own.iter().zip(fixed).map(|(own, fixed)| 1.0 - own.minutes() / fixed.minutes());
    println!(
        "\npenstock beside static: {:.0} % cheaper, backfills {:.0} % faster in the mean and {:.0} % on its best day; {:.1} % of the runs good",
        100.0 * cheaper,
        100.0 * faster,
        100.0 * best.fold(f64::NEG_INFINITY, f64::max),
        100.0 * good(own),
    );
    let mut missed = Vec::new();
    let mut at_least = |what: &str, got: f64, bar: f64| {
        if got < bar {
            let under = 100.0 * (bar - got);
            missed.push(format!(
                "{what}: {:.1} %, at least {:.1} %, {under:.1} too few",
                100.0 * got,
                100.0 * bar
            ));
        }
    };
    at_least("saved beside static", cheaper, SAVED);
    at_least("good runs", good(own), GOOD_RUNS);
    missed
}

/// The live pipeline of the first day, all ways beside each other.
fn report(file: &PathBuf, found: &[(Way, Vec<Day>)]) -> Result<()> {
    let scenario = terms::live(1)?;
    let entries = found.iter().map(|(way, days)| {
        let scores: Vec<_> = days.iter().map(|day| &day.live.score).collect();
        let name = way.name().to_owned();
        Entry {
            policy: name.clone(),
            settings: name,
            summary: Summary::of(&scores),
            nodes: None,
            runs: days.iter().map(|day| day.live.clone()).collect(),
        }
    });
    let contest = Contest {
        scenario: "One pipeline, four ways".to_owned(),
        objective: scenario.objective(),
        scored: scenario.scored(),
        clairvoyant: None,
        clairvoyant_cost: None,
        pools: Vec::new(),
        entries: entries.collect(),
    };
    let about = About {
        brand: "penstock, make story".to_owned(),
        verdict: "The live stages of the first of the days; means over all of them. The hourly backfill is in the table that make story prints.".to_owned(),
        footer: format!("Penstock {}: simulated, with faults.", env!("CARGO_PKG_VERSION")),
    };
    std::fs::write(file, page(&contest, &scenario, Some(&about))?)
        .with_context(|| format!("write the report to {}", file.display()))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
