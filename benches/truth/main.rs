//! The simulator against reality: one scenario on real Kafka, real consumers and the real controllers, sized by Penstock and by a plain
//! HPA on lag; and the same in `simulate`. Run by `make truth`. Prints replica-seconds and late share of both, writes one report with
//! both plotted, exits 1 when they are further apart than promised, and says by how much.
//!
//! `-- --minutes N` (20), `--html FILE` (target/truth.html).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "../ending.rs"]
mod ending;
#[path = "../../tests/live/rig/mod.rs"]
mod rig;

mod real;
mod terms;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use penstock::simulate::peers::{Hpa, HpaSettings, Metric, Sight};
use penstock::simulate::{
    About, Contest, Entry, Penstock, Policy, Run, Scenario, Summary, View, page, run,
};

use real::Played;

/// How far apart they may be: a share of the replica-seconds, and a difference of the late shares.
const OFF: f64 = 0.10;
const LATE_OFF: f64 = 0.005;
/// Seeds of the simulated world: they draw when consumers commit, which nobody knows of the real ones.
const SEEDS: u64 = 10;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    ending::of(Box::pin(bench()).await)
}

/// What was asked for.
struct Options {
    minutes: u32,
    html: PathBuf,
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self { minutes: 20, html: PathBuf::from("target/truth.html") };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} takes a value"));
            match argument.as_str() {
                "--minutes" => {
                    options.minutes = value()?.parse().context("--minutes takes a number")?;
                }
                "--html" => options.html = value()?.into(),
                // What cargo adds.
                "--bench" => {}
                other => bail!("{other} is unknown; hint: --minutes N, --html FILE"),
            }
        }
        if !(3..=240).contains(&options.minutes) {
            bail!("--minutes must be from 3 to 240");
        }
        Ok(options)
    }
}

async fn bench() -> Result<Vec<String>> {
    let options = Options::read()?;
    let seconds = options.minutes * 60;
    let folder = rig::fresh_folder("truth")?;
    let scenario = terms::scenario(seconds, &folder)?;
    println!(
        "{} min, {} partitions, {} items/s a replica, no item later than {} s, {} s to start, commits every {} s; scored after the first minute",
        options.minutes,
        terms::PARTITIONS,
        terms::RATE,
        terms::MAX_DELAY,
        terms::STARTUP.as_secs(),
        terms::COMMITS.as_secs(),
    );
    let played = real::play(seconds).await?;
    told(&played);
    let phase = played.hpa_looks;
    let penstock =
        simulated("penstock, simulated", &scenario, || Box::new(Penstock::new(&scenario)));
    let hpa = simulated("HPA on lag, simulated", &scenario, || Box::new(PlainHpa::new(phase)));
    let pairs = [
        ("penstock", entry(vec![played.penstock]), penstock),
        ("HPA on lag", entry(vec![played.hpa]), hpa),
    ];
    let missed = compare(&pairs);
    let entries = pairs.into_iter().flat_map(|(_, real, simulated)| [real, simulated]).collect();
    let report = Contest {
        scenario: scenario.name.clone(),
        objective: scenario.objective(),
        scored: scenario.scored(),
        clairvoyant: None,
        clairvoyant_cost: None,
        pools: Vec::new(),
        entries,
    };
    let page = page(&report, &scenario, Some(&about(&missed))).context("make the report")?;
    std::fs::write(&options.html, page)
        .with_context(|| format!("write the report to {}", options.html.display()))?;
    println!("the report is in {}", options.html.display());
    Ok(missed)
}

/// What was seen of the real one that the simulated one is told beforehand, or must learn.
fn told(played: &Played) {
    let mut startups = played.startups.clone();
    startups.sort_by(f64::total_cmp);
    let startup = startups.get(startups.len() / 2);
    let startup = startup.map_or_else(|| "nothing".to_owned(), |it| format!("{it:.0} s"));
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| "nothing".to_owned(), |it| format!("{it:.1}"));
    println!(
        "in reality: {startup} from a write to that many consumers (median of {}); a consumer with a backlog got through {} items/s, and was learned as {}; the HPA looked first after {:.1} s\n",
        startups.len(),
        rate(played.pace),
        rate(played.learned),
        played.hpa_looks
    );
}

fn simulated(name: &str, scenario: &Scenario, policy: impl Fn() -> Box<dyn Policy>) -> Entry {
    let runs = (1..=SEEDS)
        .map(|seed| Run { policy: name.to_owned(), ..run(scenario, &mut *policy(), seed) });
    entry(runs.collect())
}

fn entry(runs: Vec<Run>) -> Entry {
    let name = runs.first().map(|run| run.policy.clone()).unwrap_or_default();
    let scores: Vec<_> = runs.iter().map(|run| &run.score).collect();
    let summary = Summary::of(&scores);
    Entry { policy: name.clone(), settings: name, summary, nodes: None, runs }
}

/// Prints both beside each other; what is further apart than promised.
fn compare(pairs: &[(&str, Entry, Entry); 2]) -> Vec<String> {
    let mut missed = Vec::new();
    println!("{:<14}{:>32}{:>34}", "", "replica-seconds", "late, % of the items");
    println!(
        "{:<14}{:>10}{:>12}{:>10}{:>12}{:>12}{:>10}{:>16}",
        "", "real", "simulated", "off", "real", "simulated", "off", "moves"
    );
    for (who, real, simulated) in pairs {
        let (real, simulated) = (&real.summary, &simulated.summary);
        let paid = [real, simulated].map(|it| 3600.0 * it.replica_hours.mean);
        let late = [real, simulated].map(|it| it.late_share.map_or(f64::NAN, |late| late.mean));
        let moves = [real, simulated].map(|it| it.actions_per_day.mean);
        let off = paid[1] / paid[0] - 1.0;
        let late_off = late[1] - late[0];
        println!(
            "{who:<14}{:>10.0}{:>12.0}{:>9.1}%{:>12.2}{:>12.2}{:>10.2}{:>9.0} / {:.0} a day",
            paid[0],
            paid[1],
            100.0 * off,
            100.0 * late[0],
            100.0 * late[1],
            100.0 * late_off,
            moves[0],
            moves[1]
        );
        if off.abs() > OFF {
            let over = 100.0 * (off.abs() - OFF);
            missed.push(format!(
                "{who}: replica-seconds {:+.1} % off, {over:.1} % too much",
                100.0 * off
            ));
        }
        if late_off.abs() > LATE_OFF {
            let over = 100.0 * (late_off.abs() - LATE_OFF);
            missed.push(format!(
                "{who}: late share {:+.2} points off, {over:.2} too much",
                100.0 * late_off
            ));
        }
    }
    missed
}

fn about(missed: &[String]) -> About {
    let verdict = if missed.is_empty() {
        "Simulated and real agree: replica-seconds within 10 %, the late share within half a point."
            .to_owned()
    } else {
        format!("Simulated and real do not agree as promised. {}", missed.join("; "))
    };
    About {
        brand: "penstock, make truth".to_owned(),
        verdict,
        footer: format!(
            "Penstock {}: one scenario on real Kafka 4.1, real consumers on KWOK's pods and the real controllers of Kubernetes 1.36, and the same in penstock simulate.",
            env!("CARGO_PKG_VERSION")
        ),
    }
}

/// The HPA of the simulator on the lag of its stage, as the real one is set.
struct PlainHpa {
    hpa: Hpa,
    /// When it looks next; the first time is that of the real one.
    next: f64,
}

impl PlainHpa {
    fn new(first: f64) -> Self {
        Self { hpa: Hpa::new(HpaSettings::default()), next: first }
    }
}

impl Policy for PlainHpa {
    fn name(&self) -> String {
        "HPA on lag".to_owned()
    }

    fn period(&self) -> f64 {
        1.0
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        if view.at < self.next {
            return view.desired;
        }
        self.next += terms::SYNC;
        let lags = view.queue.iter().flat_map(|queue| queue.partitions);
        let lag: f64 = lags.map(|it| (it.end - it.committed).max(0.0)).sum();
        let metrics = [Metric { value: view.queue.map(|_| lag.floor()), target: terms::LAG }];
        self.hpa.reconcile(&Sight::of(view, &metrics))
    }
}
