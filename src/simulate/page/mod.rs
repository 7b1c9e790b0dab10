//! A contest as a page to show: load, delay and replicas over time, decisions with their reasons, cost against lateness. One file that
//! needs nothing else. Called by `penstock simulate --html`, and by benches that set real runs beside simulated ones.

use serde::Serialize;
use serde_json::json;

use super::nodes::{LaneSeries, NodeSummary, is_rule};
use super::record::{Move, Series};
use super::{Contest, Entry, Ground, Mode, Promise, Run, Scenario, Startup};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The least share of late items that the plot tells from none: `floor` in the script.
const PLOTTED: f64 = 1e-5;

/// A policy as the page's script reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    settings: &'a str,
    summary: &'a super::Summary,
    /// What it paid with the first seed over what the clairvoyant pays: replica-hours, or money where stages have lanes.
    over: Option<f64>,
    nodes: Option<&'a NodeSummary>,
    /// Of the first seed, stage by stage.
    series: Vec<Series>,
    moves: Vec<Vec<&'a Move>>,
}

/// What a page says of itself, where it is not made by `penstock simulate`. Plain text.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// What made it: the line above the title.
    pub brand: String,
    /// What is to be learned from it, in a sentence or two.
    pub verdict: String,
    /// What the world was, at the foot.
    pub footer: String,
}

/// The page, whole. With something to say of itself it shows all policies at first.
pub fn page(
    contest: &Contest,
    scenario: &Scenario,
    about: Option<&About>,
) -> Result<String, serde_json::Error> {
    let seeds = contest.entries.first().map_or(0, |entry| entry.runs.len());
    let stages = scenario.pipeline.stages.iter().zip(&scenario.stages);
    let stages = stages.map(|(stage, world)| {
        let promise = Promise::of(stage);
        json!({"name": &*stage.name, "objective": promise.delay(), "doneBy": promise.time(), "facts": facts(&world.ground)})
    });
    let data = serde_json::to_string(&json!({
        "scenario": contest.scenario,
        "objective": contest.objective,
        "scored": contest.scored,
        "clairvoyant": contest.clairvoyant.or(contest.clairvoyant_cost),
        "unplotted": unplotted(contest),
        "isPriced": scenario.has_lanes(),
        "pools": contest.pools,
        "warmup": scenario.warmup,
        "duration": scenario.duration,
        "seeds": seeds,
        "version": env!("CARGO_PKG_VERSION"),
        "about": about,
        "stages": stages.collect::<Vec<_>>(),
        "policies": contest.entries.iter().map(|entry| shown(entry, scenario, contest)).collect::<Vec<_>>(),
    }))?;
    // Inside a script element `</` could end it early, and `<!--` keep it from ending; JSON has `<` in strings alone.
    let data = data.replace('<', "\\u003c");
    let brand = about.map_or("penstock simulate", |about| &about.brand);
    let title = text(&format!("{} · {brand}", contest.scenario));
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = PAGE;
    for (mark, part) in
        [("@title@", title.as_str()), ("@style@", STYLE), ("@data@", &data), ("@script@", SCRIPT)]
    {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn shown<'a>(entry: &'a Entry, scenario: &Scenario, contest: &Contest) -> Shown<'a> {
    let first = entry.runs.first();
    let stages = first.map(|run| run.stages.as_slice()).unwrap_or_default();
    let moves = stages
        .iter()
        .map(|stage| stage.moves.iter().filter(|it| scenario.warmup <= it.at).collect());
    Shown {
        name: if is_rule(&entry.policy) { &entry.settings } else { &entry.policy },
        settings: &entry.settings,
        summary: &entry.summary,
        over: over(contest, first),
        nodes: entry.nodes.as_ref(),
        series: stages.iter().map(|stage| rounded(&stage.series)).collect(),
        moves: moves.collect(),
    }
}

/// What stands in place of cost against lateness where there is no lateness to be drawn.
fn unplotted(contest: &Contest) -> Option<&'static str> {
    let late = contest.entries.iter().filter_map(|entry| entry.summary.late_share);
    let most = late.map(|late| late.mean).reduce(f64::max);
    match most {
        None => Some(
            "Nothing is promised of these items, neither maxDelay nor doneBy, so that nothing is late: what each pays is in the table above.",
        ),
        Some(most) if most < PLOTTED => Some(
            "Nobody let as much as 0.001 % of the items be late, so that cost alone tells them apart: it is in the table above.",
        ),
        Some(_) => None,
    }
}

fn over(contest: &Contest, first: Option<&Run>) -> Option<f64> {
    let replica_hours = contest.clairvoyant.map(|least| Some(first?.score.replica_hours / least));
    let cost = contest.clairvoyant_cost.map(|least| Some(first?.nodes.as_ref()?.cost / least));
    replica_hours.or(cost)?
}

/// What a stage stands on, in a line.
fn facts(ground: &Ground) -> String {
    let startup = match ground.startup {
        Startup::Fixed(span) => span.to_string(),
        Startup::Spread(spread) => format!("{} to {}", spread.p50, spread.p90),
    };
    let mode = match ground.rebalance.mode {
        Mode::Eager => "eager",
        Mode::Cooperative => "cooperative",
    };
    format!(
        "{} partitions · one replica gets through about {} a second, which nobody tells Penstock · {startup} to start · {mode} rebalances of {}",
        ground.partitions, ground.rate, ground.rebalance.pause
    )
}

/// Two places are more than a plot can show.
fn rounded(series: &Series) -> Series {
    let round = |values: &[f64]| values.iter().map(|x| (x * 100.0).round() / 100.0).collect();
    Series {
        start: series.start,
        step: series.step,
        load: round(&series.load),
        delay: round(&series.delay),
        replicas: round(&series.replicas),
        ready: round(&series.ready),
        lanes: series
            .lanes
            .iter()
            .map(|lane| LaneSeries {
                ready: round(&lane.ready),
                open: round(&lane.open),
                ..lane.clone()
            })
            .collect(),
    }
}

/// Text as HTML has it.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
