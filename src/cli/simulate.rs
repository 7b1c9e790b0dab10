//! `penstock simulate`: a pipeline against a workload in a made-up world, under one or several policies, over one or several seeds.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::Failure;
use super::figures::{self, short};
use super::out::{self, Format, Output};
use super::progress::Progress;
use crate::clock::Clock;
use crate::simulate::{self, Contest, Interval, Scenario};

/// The arguments of `penstock simulate`.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The scenario, YAML; - is standard input. Examples are in deploy/examples/scenarios
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Who sizes the stages; several side by side. See --help for their names
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "penstock,static", long_help = policies_help())]
    policy: Vec<String>,
    /// How many seeds to play it with; more narrow the intervals. Default: as the scenario says, or 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: Option<u32>,
    /// Write a report with plots to this file: one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    /// Say on standard error how long it took
    #[arg(short, long)]
    verbose: bool,
}

fn policies_help() -> String {
    format!(
        "Who sizes the stages; several side by side, with commas between. There are: {}, and static=N for a fixed count",
        simulate::names().join(", ")
    )
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let scenario = self.scenario()?;
        let seeds = self.seeds.unwrap_or(scenario.seeds);
        let clock = Clock::start();
        let started = clock.now();
        let contest = self.play(&scenario, seeds)?;
        let took = Duration::try_from(clock.now().duration_since(started)).unwrap_or_default();
        if self.verbose {
            out::aside(&speed(&contest, &scenario, took));
        }
        if let Some(file) = &self.html {
            let page =
                simulate::page(&contest, &scenario, None).context("cannot make the report")?;
            std::fs::write(file, page)
                .with_context(|| format!("cannot write the report to {}", file.display()))?;
        }
        match self.output.format {
            Format::Table => out::text(&table(&contest, seeds))?,
            Format::Json => out::json(&contest)?,
            Format::Yaml => out::yaml(&contest)?,
        }
        Ok(())
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        let name = self.file.display().to_string();
        let (text, folder) = if self.file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            (text, Path::new("."))
        } else {
            let text = std::fs::read_to_string(&self.file).map_err(|error| {
                Failure::Misuse(format!(
                    "cannot read {name}: {error}; hint: name a scenario, as those in deploy/examples/scenarios, or - for standard input"
                ))
            })?;
            (text, self.file.parent().unwrap_or_else(|| Path::new(".")))
        };
        Ok(Scenario::read(&text, folder).with_context(|| name)?)
    }

    fn play(&self, scenario: &Scenario, seeds: u32) -> Result<Contest, Failure> {
        let runs = u64::from(seeds) * self.policy.len() as u64;
        let progress = Progress::of(runs, "{bar:32} {pos}/{len} runs, {eta} left");
        let contest = simulate::contest(scenario, &self.policy, seeds, &|| progress.one_more());
        drop(progress);
        contest.map_err(|error| Failure::Misuse(error.to_string()))
    }
}

/// How long it took, in a line.
fn speed(contest: &Contest, scenario: &Scenario, took: Duration) -> String {
    let runs: usize = contest.entries.iter().map(|entry| entry.runs.len()).sum();
    let each = took / u32::try_from(runs.max(1)).unwrap_or(u32::MAX);
    let length = simulate::Span::of(f64::from(scenario.duration));
    format!("{runs} runs of {length} in {took:.2?}: {each:.2?} each")
}

/// The result for people: a row for each policy.
fn table(contest: &Contest, seeds: u32) -> String {
    let mut table = figures::table([
        "POLICY",
        "LATE",
        "P50",
        "P99",
        "MAX",
        "REPLICA-H",
        "× BOUND",
        "AT WORK",
        "ACTIONS/D",
        "UNDONE/D",
        "REBALANCES/D",
        "RATE OFF",
    ]);
    for entry in &contest.entries {
        let it = &entry.summary;
        let busy = it.work_hours.mean / it.replica_hours.mean.max(1e-9);
        table.add_row([
            entry.policy.clone(),
            with(it.late_share, |share| format!("{:.3} %", 100.0 * share)),
            with(it.delay_p50, short),
            with(it.delay_p99, short),
            short(it.delay_max.mean),
            with(it.replica_hours, |hours| format!("{hours:.1}")),
            figures::shown(contest.clairvoyant.map(|least| {
                let first = entry.runs.first().map_or(0.0, |run| run.score.replica_hours);
                format!("{:.2}", first / least)
            })),
            format!("{:.0} %", 100.0 * busy),
            with(it.actions_per_day, |count| format!("{count:.1}")),
            with(it.undone_per_day, |count| format!("{count:.1}")),
            with(it.rebalances_per_day, |count| format!("{count:.0}")),
            figures::shown(it.rate_error.map(|off| format!("{:.1} %", 100.0 * off.mean))),
        ]);
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    let scored = simulate::Span::of(f64::from(contest.scored));
    let seeds = if seeds == 1 { "1 seed".to_owned() } else { format!("{seeds} seeds") };
    format!(
        "{}: {scored} scored, {seeds}; no item later than {}.\n\n{}\n",
        contest.scenario,
        short(contest.objective),
        lines.join("\n")
    ) + &contest.clairvoyant.map_or_else(String::new, |hours| {
        format!("\nThe cheapest plan that knows all of this beforehand and is never late pays {hours:.1} replica-hours.\n")
    })
}

/// A mean, and what it may be off by where that is known.
fn with(interval: Interval, say: impl Fn(f64) -> String) -> String {
    if interval.half > 0.0 {
        format!("{} ±{}", say(interval.mean), say(interval.half))
    } else {
        say(interval.mean)
    }
}
