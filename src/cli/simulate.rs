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
use crate::simulate::{self, Contest, Interval, Promise, Scenario, Summary, nodes};

/// Columns of a scenario with stages that are to be done by a time of day.
const DUE: [&str; 2] = ["DUE MET", "OVERDUE"];

/// The arguments of `penstock simulate`.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The scenario, YAML; - is standard input. Examples are in deploy/examples/scenarios
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Who sizes the stages; several side by side. See --help for their names. Default: penstock and static, or the ways to split where stages have lanes
    #[arg(long, value_name = "NAME", value_delimiter = ',', long_help = policies_help())]
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
        "Who sizes the stages; several side by side, with commas between. There are: {}, and static=N for a fixed count. Where stages have lanes, these put all they want on demand; \
         beside penstock, which splits, there are ways to split what Penstock wants: {}, and fixed-share=N for N per cent on spot. Default: penstock,static, or penstock and all ways to split where stages have lanes",
        simulate::names().join(", "),
        nodes::NAMES.join(", ")
    )
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let scenario = self.scenario()?;
        let seeds = self.seeds.unwrap_or(scenario.seeds);
        let clock = Clock::start();
        let started = clock.now();
        let policies =
            if self.policy.is_empty() { simulate::fitting(&scenario) } else { self.policy.clone() };
        let contest = play(&scenario, &policies, seeds)?;
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
            Format::Table if scenario.has_lanes() => {
                out::text(&on_nodes(&contest, &scenario, seeds))?;
            }
            Format::Table => out::text(&table(&contest, &scenario, seeds))?,
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
}

fn play(scenario: &Scenario, policies: &[String], seeds: u32) -> Result<Contest, Failure> {
    let runs = u64::from(seeds) * policies.len() as u64;
    let progress = Progress::of(runs, "{bar:32} {pos}/{len} runs, {eta} left");
    let contest = simulate::contest(scenario, policies, seeds, &|| progress.one_more());
    drop(progress);
    contest.map_err(|error| Failure::Misuse(error.to_string()))
}

/// How long it took, in a line.
fn speed(contest: &Contest, scenario: &Scenario, took: Duration) -> String {
    let runs: usize = contest.entries.iter().map(|entry| entry.runs.len()).sum();
    let each = took / u32::try_from(runs.max(1)).unwrap_or(u32::MAX);
    let length = simulate::Span::of(f64::from(scenario.duration));
    format!("{runs} runs of {length} in {took:.2?}: {each:.2?} each")
}

/// The result for people: a row for each policy.
fn table(contest: &Contest, scenario: &Scenario, seeds: u32) -> String {
    let head = [
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
    ];
    let has_due = contest.entries.iter().any(|entry| entry.summary.due.is_some());
    let of_due = DUE.into_iter().filter(|_| has_due);
    let mut table = figures::table(head.into_iter().chain(of_due));
    for entry in &contest.entries {
        let it = &entry.summary;
        let busy = it.work_hours.mean / it.replica_hours.mean.max(1e-9);
        let row = [
            entry.policy.clone(),
            late(it),
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
        ];
        table.add_row(row.into_iter().chain(due(it).into_iter().filter(|_| has_due)));
    }
    let least = contest.clairvoyant.map(|hours| format!("{hours:.1} replica-hours"));
    headed(contest, scenario, seeds, &table) + &cheapest(least)
}

/// What the bound came to, where it is known.
fn cheapest(least: Option<String>) -> String {
    least.map_or_else(String::new, |least| {
        format!("\nThe cheapest plan that knows all of this beforehand and is never late pays {least}.\n")
    })
}

/// The result of a scenario with lanes: what nodes cost, and how their ends were got over.
fn on_nodes(contest: &Contest, scenario: &Scenario, seeds: u32) -> String {
    let head = [
        "POLICY",
        "LATE",
        "P99",
        "MAX",
        "COST",
        "SAVED",
        "× BOUND",
        "ON SPOT",
        "TOLD/D",
        "LOST/D",
        "MISSED/D",
        "SURGES/D",
        "REPLICA-H",
        "ACTIONS/D",
    ];
    let of_room = ["ROOM", "ROOM'S COST", "NO PLACE/D"];
    let mut rooms = contest.entries.iter().filter_map(|entry| entry.nodes);
    let keeps_room = rooms.any(|nodes| 0.0 < nodes.room.mean);
    let has_due = contest.entries.iter().any(|entry| entry.summary.due.is_some());
    let of_room = of_room.into_iter().filter(|_| keeps_room);
    let of_due = DUE.into_iter().filter(|_| has_due);
    let mut table = figures::table(head.into_iter().chain(of_room).chain(of_due));
    let kept = contest.entries.iter().find(|entry| entry.policy == "all-on-demand");
    let kept = kept.and_then(|entry| Some(entry.nodes?.cost.mean));
    for entry in &contest.entries {
        let it = &entry.summary;
        let nodes = entry.nodes.unwrap_or_default();
        let first = entry.runs.first().and_then(|run| run.nodes.as_ref());
        let over = first.zip(contest.clairvoyant_cost).map(|(first, least)| first.cost / least);
        let is_rule = nodes::is_rule(&entry.policy);
        let saved = kept.map(|kept| format!("{:.1} %", 100.0 * (1.0 - nodes.cost.mean / kept)));
        let row = [
            if is_rule { entry.settings.clone() } else { entry.policy.clone() },
            late(it),
            with(it.delay_p99, short),
            short(it.delay_max.mean),
            with(nodes.cost, |cost| format!("{cost:.1}")),
            figures::shown(saved),
            figures::shown(over.map(|over| format!("{over:.2}"))),
            format!("{:.0} %", 100.0 * nodes.spot_share.mean),
            with(nodes.interrupted_per_day, |count| format!("{count:.1}")),
            with(nodes.lost_per_day, |count| format!("{count:.1}")),
            with(nodes.missed_per_day, |count| format!("{count:.1}")),
            with(nodes.surges_per_day, |count| format!("{count:.1}")),
            with(it.replica_hours, |hours| format!("{hours:.1}")),
            with(it.actions_per_day, |count| format!("{count:.1}")),
        ];
        let of_room = [
            with(nodes.room, |replicas| format!("{replicas:.1}")),
            with(nodes.room_share, |share| format!("{:.1} %", 100.0 * share)),
            with(nodes.waited_per_day, |count| format!("{count:.1}")),
        ];
        let of_room = of_room.into_iter().filter(|_| keeps_room);
        let of_due = due(it).into_iter().filter(|_| has_due);
        table.add_row(row.into_iter().chain(of_room).chain(of_due));
    }
    let least = contest.clairvoyant_cost.map(|cost| format!("{cost:.1}"));
    let headed = headed(contest, scenario, seeds, &table);
    format!("{}\n\n{headed}{}", contest.pools.join("\n"), cheapest(least))
}

/// A table under what it is of.
fn headed(
    contest: &Contest,
    scenario: &Scenario,
    seeds: u32,
    table: &comfy_table::Table,
) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    let scored = simulate::Span::of(f64::from(contest.scored));
    let seeds = if seeds == 1 { "1 seed".to_owned() } else { format!("{seeds} seeds") };
    format!(
        "{}: {scored} scored, {seeds}; {}.\n\n{}\n{}",
        contest.scenario,
        promised(scenario),
        lines.join("\n"),
        unscored(scenario)
    )
}

/// Of the whole pipeline where that has a delay to keep, else stage by stage.
fn promised(scenario: &Scenario) -> String {
    let say = |promise: &Promise| match (promise.delay(), promise.time()) {
        (Some(delay), _) => format!("no item later than {}", short(delay)),
        (None, Some(time)) => format!("done by {time}"),
        (None, None) => "nothing promised".to_owned(),
    };
    if let Some(delay) = scenario.objective() {
        return say(&Promise::Delay(delay));
    }
    let stages: Vec<_> = scenario.promises().collect();
    match stages.as_slice() {
        [(_, promise)] => say(promise),
        stages => {
            let each = stages.iter().map(|(name, promise)| format!("{name}: {}", say(promise)));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

/// Which stages promise nothing and so are never late, and where there is no bound; nothing of a pipeline with a delay to keep.
fn unscored(scenario: &Scenario) -> String {
    if scenario.objective().is_some() {
        return String::new();
    }
    let silent = scenario.promises().filter(|(_, promise)| *promise == Promise::Nothing);
    let silent: Vec<_> = silent.map(|(name, _)| name).collect();
    let silent = match silent.as_slice() {
        [] => String::new(),
        [one] => format!(
            "Stage {one} promises nothing, neither maxDelay nor doneBy, so none of its items is late. "
        ),
        all => format!(
            "Stages {} promise nothing, neither maxDelay nor doneBy, so none of their items is late. ",
            all.join(", ")
        ),
    };
    format!("\n{silent}There is a bound only where every stage has a delay to keep.\n")
}

/// How due times were kept, all seeds together, where there are such.
fn due(summary: &Summary) -> [String; 2] {
    let met = summary.due.map(|due| format!("{} of {}", due.met, due.times));
    let overdue = summary.due.filter(|due| 0.0 < due.overdue).map(|due| short(due.overdue));
    [figures::shown(met), figures::shown(overdue)]
}

/// Items that were late, where anything was promised of them.
fn late(summary: &Summary) -> String {
    let share = |late| with(late, |share| format!("{:.3} %", 100.0 * share));
    figures::shown(summary.late_share.map(share))
}

/// A mean, and what it may be off by where that is known.
fn with(interval: Interval, say: impl Fn(f64) -> String) -> String {
    if interval.half > 0.0 {
        format!("{} ±{}", say(interval.mean), say(interval.half))
    } else {
        say(interval.mean)
    }
}
