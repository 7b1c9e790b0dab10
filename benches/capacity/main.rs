//! The right kind of node: what lanes on demand and spot cost, how late data comes, and how interruptions and droughts of spot are got over, beside other
//! ways to split and beside the least that any plan could pay. Run by `make bench-capacity`. Prints its parameters above the tables; exits 1 when
//! a target is missed, and says by how much. Most is played in `simulate::nodes`; `live` plays what it can on real servers.
//!
//! `-- --seeds N` (3) worlds of each pattern, `--trials` the trials alone, `--live` the live part alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "../ending.rs"]
mod ending;
#[path = "../../tests/live/eye.rs"]
mod eye;
#[path = "../../tests/live/rig/mod.rs"]
mod rig;
#[path = "../../tests/live/scene.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod scene;
#[path = "../../tests/live/yard.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod yard;

/// Our kinds, as the scene wants them: as the binary prints them.
mod crd {
    pub(crate) async fn install(cluster: &crate::rig::Cluster) -> anyhow::Result<()> {
        cluster.install().await
    }
}

mod book;
mod live;
mod patterns;
mod trials;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use penstock::simulate::nodes::{
    AllOnDemand, AllSpot, FixedShare, Ground, Log, PRICES, Ruled, SkyServe, Terms, Weather, bound,
    followed,
};
use penstock::simulate::{Penstock, Pilot, Run, Scenario};

use book::{Bar, Book};
use patterns::{DELAY, DURATION, PATTERNS, Pattern, Room, SPLIT, WARMUP};

const SEEDS: u64 = 3;
/// Most nodes of a pool that the bound may use: more than any policy does.
const MOST: u32 = 12;
/// Seconds that the bound may be later with what is needed.
const WITHIN: f64 = 60.0;

/// Ways to split. All on demand comes first: the others are held against it.
const WAYS: [Way; 6] =
    [Way::OnDemand, Way::Spot, Way::Share, Way::SkyServe, Way::Penstock, Way::Roomy];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    OnDemand,
    Spot,
    Share,
    SkyServe,
    Penstock,
    /// Penstock with headroom.
    Roomy,
}

/// A world and one way in it, or its bound.
#[derive(Debug, Clone, Copy)]
struct Game {
    pattern: usize,
    seed: u64,
    /// `None` for the bound.
    way: Option<Way>,
}

/// What a game came to.
#[derive(Debug, Clone, Default)]
struct Score {
    name: String,
    cost: f64,
    late: f64,
    delay_p99: f64,
    /// Times an hour that spot was no longer trusted.
    flaps: f64,
    /// Pods a day that had to wait for a node, and that went with theirs before they were replaced.
    waited: f64,
    missed: f64,
    /// Fewest Ready on demand, in seconds that are scored.
    least_kept: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    ending::of(Box::pin(bench()).await)
}

/// What was asked for.
struct Options {
    seeds: u64,
    only: Option<Only>,
}

/// A part that was asked for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    Trials,
    Live,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { seeds: SEEDS, only: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seeds" => {
                    let value = arguments.next().context("--seeds takes a value")?;
                    options.seeds = value.parse().context("--seeds takes a number")?;
                }
                "--trials" => options.only = Some(Only::Trials),
                "--live" => options.only = Some(Only::Live),
                // What cargo adds.
                "--bench" => {}
                other => bail!("{other} is unknown; hint: --seeds N, --trials, --live"),
            }
        }
        if options.seeds == 0 {
            bail!("--seeds must be 1 or more");
        }
        Ok(options)
    }
}

async fn bench() -> Result<Vec<String>> {
    let options = Options::read()?;
    let mut book = Book::default();
    if options.only != Some(Only::Live) {
        simulated(&options, &mut book)?;
    }
    if options.only != Some(Only::Trials) {
        live::live(&mut book).await?;
    }
    let (all, missed) = book.close();
    println!("\n{ELSEWHERE}\n");
    for line in all {
        println!("{line}");
    }
    Ok(missed)
}

/// What is played in virtual time.
fn simulated(options: &Options, book: &mut Book) -> Result<()> {
    let terms = Terms::default();
    println!("simulated: {terms}.");
    println!(
        "one stage on Kafka, promised within {DELAY} s, {} h a world of which {} h are not scored, seeds 1 to {}; a day's load from 7 to 24 replicas; base {} on \
         demand, {} % of the rest on spot; how many replicas there shall be is Penstock's word for every way.",
        DURATION / 3600,
        WARMUP / 3600,
        options.seeds,
        SPLIT.base,
        SPLIT.share,
    );
    if options.only.is_none() {
        worlds(options, &terms, book)?;
    }
    println!("\n{TRIALS}");
    for line in trials::trials(book)? {
        println!("  {line}");
    }
    Ok(())
}

const TRIALS: &str = "\
single events at 12 replicas, 10 of them on spot; N+1 is one spare node of spot, which whoever makes nodes keeps; headroom is what Penstock keeps by
capacity.headroom. Ramps are on nodes on demand:";

const ELSEWHERE: &str = "\
left to the live tests: who gives way to whom (budgets.rs, limits.rs), what nodes cost (nodes.rs, prices.rs), room that is kept (headroom.rs), whether those pods go on the
way down that were told to (packing.rs). Simulated alone: what is saved, 200 interruptions of each kind, fallback after a wait, data in time while spot is out and comes back,
flaps over hours, ramps. Not compared: Karpenter's own price metric, which its provider for KWOK does not have.";

/// Every way in every world.
fn worlds(options: &Options, terms: &Terms, book: &mut Book) -> Result<()> {
    let mut games = Vec::new();
    for pattern in 0..PATTERNS.len() {
        for seed in 1..=options.seeds {
            games.push(Game { pattern, seed, way: None });
            games.extend(WAYS.map(|way| Game { pattern, seed, way: Some(way) }));
        }
    }
    let scores = all(&games, terms)?;
    let of = |pattern: usize, way: Option<Way>| {
        let each = games.iter().zip(&scores);
        each.filter(move |(game, _)| game.pattern == pattern && game.way == way)
            .map(|(_, score)| score)
            .collect::<Vec<_>>()
    };
    let mut savings = Vec::new();
    let mut kept = u32::MAX;
    println!(
        "{}",
        without_spot(
            options.seeds,
            terms,
            mean(of(0, Some(Way::OnDemand)).iter().map(|score| score.cost))
        )?
    );
    println!(
        "\n{:<34}{:>9}{:>11}{:>13}{:>9}{:>10}{:>9}{:>12}{:>10}",
        "",
        "saved %",
        "on time %",
        "p99 delay s",
        "x bound",
        "flaps/h",
        "cost",
        "no place/d",
        "missed/d"
    );
    for (at, pattern) in PATTERNS.iter().enumerate() {
        let up = (1..=options.seeds).map(|seed| pattern.weather(seed).up(DURATION));
        println!("{} (any zone has room {:.0} % of the time)", pattern.name, 100.0 * mean(up));
        let least = mean(of(at, None).iter().map(|score| score.cost));
        let base = mean(of(at, Some(Way::OnDemand)).iter().map(|score| score.cost));
        for way in WAYS {
            let scores = of(at, Some(way));
            let over = |field: fn(&Score) -> f64| mean(scores.iter().map(|score| field(score)));
            let cost = over(|score| score.cost);
            let (saved, late) = (100.0 * (1.0 - cost / base), over(|score| score.late));
            let name = scores.first().map(|score| score.name.clone()).unwrap_or_default();
            println!(
                "  {name:<32}{saved:>9.1}{:>11.2}{:>13.0}{:>9.2}{:>10.2}{cost:>9.1}{:>12.1}{:>10.1}",
                100.0 * (1.0 - late),
                over(|score| score.delay_p99),
                cost / least,
                over(|score| score.flaps),
                over(|score| score.waited),
                over(|score| score.missed),
            );
            if way == Way::Penstock {
                let what = |what: &str| format!("{}: {what}", pattern.name);
                book.note(what("on time"), 100.0 * (1.0 - late), (Bar::AtLeast, 99.0), " %");
                book.note(what("cost beside the bound"), cost / least, (Bar::AtMost, 1.15), " x");
                book.note(what("flaps"), over(|score| score.flaps), (Bar::AtMost, 1.0), " /h");
                savings.push(saved);
                kept = scores.iter().map(|score| score.least_kept).fold(kept, u32::min);
            }
        }
        println!(
            "  {:<32}{:>9.1}{:>11.2}{:>13}{:>9.2}{:>10}{least:>9.1}",
            "bound: knows all beforehand",
            100.0 * (1.0 - least / base),
            100.0,
            "",
            1.0,
            ""
        );
    }
    let saved = mean(savings.iter().copied());
    book.note(
        "saved beside all on demand, mean of the patterns",
        saved,
        (Bar::AtLeast, 43.0),
        " %",
    );
    let base = f64::from(SPLIT.base);
    book.note("Ready on demand at the least", f64::from(kept), (Bar::AtLeast, base), "");
    println!(
        "\npenstock saves {saved:.1} % beside all on demand, in the mean of {} patterns",
        PATTERNS.len()
    );
    Ok(())
}

/// How far all on demand is from a planner who has no spot either: what of the distance to the bound lies in nodes and not in the split.
fn without_spot(seeds: u64, terms: &Terms, cost: f64) -> Result<String> {
    let none = Weather::default();
    let laned = SPLIT.of(&patterns::daily(Room::Nobody)?, terms, &none);
    let least: Option<Vec<f64>> =
        (1..=seeds).map(|seed| least(&laned, terms, &none, seed)).collect();
    let least = mean(least.context("no plan has what is needed on demand")?.into_iter());
    Ok(format!(
        "\nall on demand costs {:.2} times the bound of a planner who has no spot: nodes that stand part empty, or boot, whoever splits",
        cost / least
    ))
}

/// All games, on all cores.
fn all(games: &[Game], terms: &Terms) -> Result<Vec<Score>> {
    let next = AtomicUsize::new(0);
    let scores: Mutex<Vec<(usize, Result<Score>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(game) = games.get(at) else { return };
                    let score = game.play(terms);
                    scores.lock().unwrap_or_else(PoisonError::into_inner).push((at, score));
                }
            });
        }
    });
    let mut scores = scores.into_inner().unwrap_or_else(PoisonError::into_inner);
    scores.sort_by_key(|(at, _)| *at);
    scores.into_iter().map(|(_, score)| score).collect()
}

impl Game {
    fn play(self, terms: &Terms) -> Result<Score> {
        let pattern: &Pattern = PATTERNS.get(self.pattern).context("no such pattern")?;
        let weather = pattern.weather(self.seed);
        let room = if self.way == Some(Way::Roomy) { Room::Own } else { Room::Nobody };
        let laned = SPLIT.of(&patterns::daily(room)?, terms, &weather);
        let Some(way) = self.way else {
            let cost = least(&laned, terms, &weather, self.seed);
            let cost = cost.context("no plan has what is needed")?;
            return Ok(Score { cost, ..Score::default() });
        };
        let mut pilot: Box<dyn Pilot> = match way {
            Way::OnDemand => Box::new(Ruled::new(AllOnDemand, &laned)),
            Way::Spot => Box::new(Ruled::new(AllSpot, &laned)),
            Way::Share => {
                let rule = FixedShare { base: SPLIT.base, share: 70 };
                Box::new(Ruled::new(rule, &laned))
            }
            Way::SkyServe => {
                let rule = SkyServe { base: SPLIT.base, extra: 2 };
                Box::new(Ruled::new(rule, &laned))
            }
            Way::Penstock | Way::Roomy => Box::new(Penstock::new(&laned)),
        };
        let score = Score::of(&followed(&laned, &mut *pilot, self.seed))?;
        let name = score.name;
        let name = if way == Way::Roomy { format!("{name} with headroom") } else { name };
        Ok(Score { name, ..score })
    }
}

/// The least that has what the stage needs, which is what it is given all on demand: within a minute, on nodes that come in no time worth paying for,
/// with the same base.
fn least(scenario: &Scenario, terms: &Terms, weather: &Weather, seed: u64) -> Option<f64> {
    let (_, log) = followed(scenario, &mut Ruled::new(AllOnDemand, scenario), seed);
    let needs = log.ticks.iter().skip(WARMUP as usize).map(|tick| f64::from(tick.need));
    let ground = Ground {
        deadline: WITHIN,
        fit: [terms.fit; 2],
        most: [MOST; 2],
        base: SPLIT.base.div_ceil(terms.fit),
        per_start: terms.boot.least() + terms.start.least(),
        grace: terms.grace(),
        prices: PRICES,
    };
    bound(&needs.collect::<Vec<_>>(), &weather.from(WARMUP), &ground)
}

impl Score {
    fn of((run, log): &(Run, Log)) -> Result<Self> {
        let scored = log.ticks.iter().skip(WARMUP as usize);
        let nodes = run.nodes.as_ref().context("nobody reckoned what nodes cost")?;
        Ok(Self {
            name: run.policy.clone(),
            cost: nodes.cost,
            waited: nodes.waited_per_day,
            missed: nodes.missed_per_day,
            late: run.score.late_share.context("nothing is promised")?,
            delay_p99: run.score.delay_p99,
            flaps: f64::from(trials::left(log)) * 3600.0 / f64::from(DURATION),
            least_kept: scored.map(|tick| tick.ready[0]).min().unwrap_or(0),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    sum / f64::max(count, 1.0)
}
