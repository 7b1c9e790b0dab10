//! Several policies over several seeds, side by side on all cores, and what they come to in the mean. Called by `penstock simulate`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::bound::{self, Rounding, Sharing};
use super::ground::{Spread, Startup};
use super::nodes::{self, NodeSummary};
use super::promise::DueTimes;
use super::roster;
use super::scenario::{Error, Scenario};
use super::score::{Interval, Score};
use super::{Run, run_whole};

/// What came of a contest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contest {
    /// The scenario's name.
    pub scenario: String,
    /// The delay to keep, in seconds, over all stages; `None` where not every stage promises one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// Seconds that were scored.
    pub scored: u32,
    /// Replica-hours that the cheapest plan pays which knows everything beforehand and is never late, with the first seed; `None` when
    /// not even such a plan is in time, or where there is no delay to keep over all stages. Start-up times count as their first decile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clairvoyant: Option<f64>,
    /// The same in money, where stages have lanes: what such a plan pays for nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clairvoyant_cost: Option<f64>,
    /// What is true of the pools of nodes, in words; none where no stage has lanes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// The policies, in the order they were asked for.
    pub entries: Vec<Entry>,
}

/// One policy in it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name, as it was asked for.
    pub policy: String,
    /// Its name with its settings, where it has any.
    pub settings: String,
    /// Means and intervals over the seeds.
    pub summary: Summary,
    /// The same of what nodes came to, where stages have lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSummary>,
    /// Seed by seed.
    pub runs: Vec<Run>,
}

/// A score in the mean over seeds; see [`Score`] for what each is. Due times are those of all seeds together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of Score")]
pub struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_share: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_seconds_per_day: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DueTimes>,
    pub delay_p50: Interval,
    pub delay_p99: Interval,
    pub delay_max: Interval,
    pub replica_hours: Interval,
    pub work_hours: Interval,
    pub actions_per_day: Interval,
    pub undone_per_day: Interval,
    pub rebalances_per_day: Interval,
    pub moved_per_day: Interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_error: Option<Interval>,
}

impl Summary {
    /// Of these scores.
    pub fn of(scores: &[&Score]) -> Self {
        let over = |figure| Interval::over(scores, figure);
        let known = |figure: fn(&Score) -> Option<f64>| {
            let known: Vec<_> = scores.iter().filter_map(|score| figure(score)).collect();
            (!known.is_empty()).then(|| Interval::of(&known))
        };
        Self {
            late_share: known(|score| score.late_share),
            late_seconds_per_day: known(|score| score.late_seconds_per_day),
            due: DueTimes::join(scores.iter().filter_map(|score| score.due)),
            delay_p50: over(|score| score.delay_p50),
            delay_p99: over(|score| score.delay_p99),
            delay_max: over(|score| score.delay_max),
            replica_hours: over(|score| score.replica_hours),
            work_hours: over(|score| score.work_hours),
            actions_per_day: over(|score| score.actions_per_day),
            undone_per_day: over(|score| score.undone_per_day),
            rebalances_per_day: over(|score| score.rebalances_per_day),
            moved_per_day: over(|score| score.moved_per_day),
            rate_error: known(|score| score.rate_error),
        }
    }
}

/// Plays a scenario with each policy and each seed from 1 on, on as many threads as there are cores. `done` is told after each run.
pub fn contest(
    scenario: &Scenario,
    policies: &[String],
    seeds: u32,
    done: &(dyn Fn() + Sync),
) -> Result<Contest, Error> {
    let mut games = Vec::new();
    for policy in policies {
        // The name is tried before anything is played.
        roster::pilot(policy, scenario, 1)?;
        games.extend((1..=u64::from(seeds)).map(|seed| (policy.as_str(), seed)));
    }
    let clairvoyant: Mutex<(Option<f64>, Option<f64>)> = Mutex::default();
    // The bound takes longest, so it comes first.
    let next = AtomicUsize::new(0);
    let results = Mutex::new(games.iter().map(|_| None).collect::<Vec<Option<Run>>>());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(games.len() + 1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(at) = at.checked_sub(1) else {
                        *locked(&clairvoyant) = if scenario.has_lanes() {
                            (None, least_cost(scenario, 1))
                        } else {
                            (least(scenario, 1), None)
                        };
                        continue;
                    };
                    let Some((policy, seed)) = games.get(at) else { return };
                    if let Ok(mut pilot) = roster::pilot(policy, scenario, *seed) {
                        let run = run_whole(scenario, &mut *pilot, *seed);
                        locked(&results)[at] = Some(run);
                    }
                    done();
                }
            });
        }
    });
    let mut runs = locked(&results).drain(..).flatten().collect::<Vec<_>>().into_iter();
    let entries = policies
        .iter()
        .map(|policy| Entry::of(policy, runs.by_ref().take(seeds as usize).collect()));
    let (clairvoyant, clairvoyant_cost) = *locked(&clairvoyant);
    let pools = scenario.stages.iter().flat_map(|stage| &stage.lanes);
    Ok(Contest {
        scenario: scenario.name.clone(),
        objective: scenario.objective(),
        scored: scenario.scored(),
        clairvoyant,
        clairvoyant_cost,
        pools: pools.map(ToString::to_string).collect(),
        entries: entries.collect(),
    })
}

/// What no policy can beat that is never late, in replica-hours. An item may spend all its time in any one stage, so the sum of the
/// stages' bounds is a bound.
fn least(scenario: &Scenario, seed: u64) -> Option<f64> {
    let warmup = scenario.warmup as usize;
    let deadline = scenario.objective()?;
    let mut seconds = 0.0;
    for (at, work) in super::work(scenario, seed).iter().enumerate() {
        let work = work.get(warmup..)?;
        let ground = bound::Ground {
            deadline,
            per_start: match scenario.stages[at].ground.startup {
                Startup::Fixed(span) => span.seconds(),
                Startup::Spread(Spread { p50, p90 }) => p50.seconds().powi(2) / p90.seconds(),
            },
            most: scenario.pipeline.stages[at].max,
            sharing: Sharing::Free,
        };
        let least = bound::bound(work, &ground, Rounding::Below)?;
        seconds += least.max(work.iter().sum());
    }
    Some(seconds / 3600.0)
}

/// What no policy can beat that is never late, in money: the sum over the stages that have lanes, each of which may have all the time there is.
fn least_cost(scenario: &Scenario, seed: u64) -> Option<f64> {
    let stages = (0..scenario.stages.len()).filter(|at| !scenario.stages[*at].lanes.is_empty());
    stages.map(|stage| nodes::least(scenario, stage, seed)).sum()
}

impl Entry {
    fn of(policy: &str, runs: Vec<Run>) -> Self {
        let scores: Vec<_> = runs.iter().map(|run| &run.score).collect();
        let settings = runs.first().map(|run| run.policy.clone()).unwrap_or_default();
        let summary = Summary::of(&scores);
        let scores: Vec<_> = runs.iter().filter_map(|run| run.nodes.as_ref()).collect();
        let nodes = NodeSummary::of(&scores);
        Self { policy: policy.to_owned(), settings, summary, nodes, runs }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panics takes the scope down with it; nobody reads half a result.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
