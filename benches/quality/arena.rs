//! Where policies meet loads: rounds (a load, a seed, its bound) and games (a policy in a round), spread over all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use penstock::simulate::bound::{Ground, Rounding, Sharing, bound};
use penstock::simulate::peers::Settings;
use penstock::simulate::{
    Each, Fixed, Mode, Penstock, Pilot, Policy, Scenario, Score, Span, run_whole, work,
};

use crate::loads::{Load, Terms};

const PARTITIONS: u32 = 48;

/// One load with one seed, and what the best plan would cost there. Replica-seconds.
#[derive(Debug)]
pub(crate) struct Round {
    /// Name of the load.
    pub(crate) load: &'static str,
    pub(crate) seed: u64,
    pub(crate) scenario: Scenario,
    /// The delay to keep over all stages, in seconds.
    objective: f64,
    /// Seconds that are scored.
    pub(crate) seconds: f64,
    /// Work alone.
    pub(crate) work: f64,
    /// What no policy can beat.
    pub(crate) bound: f64,
    /// The cost of a plan that holds, and the bound when work can only be shared by partitions; with the first seed only.
    pub(crate) beside: Option<(f64, f64)>,
}

impl Round {
    fn new(load: &Load, terms: Terms, seed: u64) -> Result<Self> {
        let scenario = load.scenario(terms, seed)?;
        let objective = scenario.objective().context("a stage without a delay to keep")?;
        let warmup = usize::try_from(scenario.warmup)?;
        let stages = work(&scenario, seed);
        let stages: Vec<&[f64]> = stages.iter().filter_map(|work| work.get(warmup..)).collect();
        let work = stages.iter().flat_map(|work| work.iter()).sum();
        let ground = |sharing| Ground {
            deadline: objective,
            per_start: terms.startup,
            most: PARTITIONS,
            sharing,
        };
        // An item may spend all its time in any one stage, so the sum of the stages' bounds is a bound.
        let sum = |sharing, rounding| -> Result<f64> {
            let bounds = stages.iter().map(|work| bound(work, &ground(sharing), rounding));
            let bounds: Option<Vec<f64>> = bounds.collect();
            Ok(bounds.context("no plan is in time, not even one that knows all")?.iter().sum())
        };
        let free = sum(Sharing::Free, Rounding::Below)?.max(work);
        let beside = if seed == 1 {
            let feasible = sum(Sharing::Free, Rounding::Feasible)?;
            Some((feasible, sum(Sharing::Partitions(PARTITIONS), Rounding::Below)?))
        } else {
            None
        };
        let seconds = f64::from(scenario.scored());
        Ok(Self { load: load.name, seed, scenario, objective, seconds, work, bound: free, beside })
    }

    /// The same load, bound and all, where a rebalance stops the whole group for 10 s.
    pub(crate) fn eager(&self) -> Self {
        let mut scenario = self.scenario.clone();
        for stage in &mut scenario.stages {
            stage.ground.rebalance.mode = Mode::Eager;
            stage.ground.rebalance.pause = Span::of(10.0);
        }
        Self { scenario, ..*self }
    }
}

/// A policy to be played.
#[derive(Debug, Clone)]
pub(crate) enum Contender {
    Penstock,
    Static,
    Peer(Box<Settings>),
}

impl Contender {
    fn pilot(&self, round: &Round) -> Box<dyn Pilot> {
        match self {
            Self::Penstock => Box::new(Penstock::new(&round.scenario)),
            Self::Static => {
                each(round, &|stage| Box::new(Fixed::peak(&round.scenario, stage, round.seed)))
            }
            Self::Peer(settings) => each(round, &|_| settings.policy()),
        }
    }
}

/// A policy for each stage.
fn each(round: &Round, policy: &dyn Fn(usize) -> Box<dyn Policy>) -> Box<dyn Pilot> {
    Box::new(Each::new((0..round.scenario.stages.len()).map(policy).collect()))
}

/// What a game came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Replica-seconds over the bound.
    pub(crate) cost: f64,
    /// Replica-hours.
    pub(crate) hours: f64,
    /// Share of the items that were late.
    pub(crate) late: f64,
    /// Delay that 99 of 100 items do not exceed, in seconds, and as a share of the objective.
    pub(crate) p99: f64,
    pub(crate) tightness: f64,
    /// A day.
    pub(crate) actions: f64,
    pub(crate) undone: f64,
    pub(crate) rebalances: f64,
    /// Share of the paid time in which nothing was done.
    pub(crate) slack: f64,
    /// How far the believed rate was off in the mean, as a share.
    pub(crate) rate_error: Option<f64>,
    /// Promises of its own that it broke.
    pub(crate) violations: u32,
}

impl Figures {
    fn of(score: &Score, round: &Round) -> Self {
        Self {
            cost: 3600.0 * score.replica_hours / round.bound,
            hours: score.replica_hours,
            // No negative zero, which a sum of shares may leave; what is not known meets no must.
            late: score.late_share.map_or(f64::NAN, |late| late.max(0.0) + 0.0),
            p99: score.delay_p99,
            tightness: score.delay_p99 / round.objective,
            actions: score.actions_per_day,
            undone: score.undone_per_day,
            rebalances: score.rebalances_per_day,
            slack: 1.0 - score.work_hours / score.replica_hours,
            rate_error: score.rate_error,
            violations: score.violations,
        }
    }
}

/// The rounds of these loads with seeds from 1.
pub(crate) fn rounds(loads: &[&Load], terms: Terms, seeds: u64) -> Result<Vec<Round>> {
    let all: Vec<_> =
        loads.iter().flat_map(|load| (1..=seeds).map(move |seed| (*load, seed))).collect();
    spread(&all, |(load, seed)| Round::new(load, terms, *seed)).into_iter().collect()
}

/// Plays games, and gives their figures in the same order.
pub(crate) fn play_all(games: &[(Contender, &Round)]) -> Vec<Figures> {
    spread(games, |(contender, round)| {
        let run = run_whole(&round.scenario, &mut *contender.pilot(round), round.seed);
        Figures::of(&run.score, round)
    })
}

/// One policy in several rounds.
pub(crate) fn repeat(contender: &Contender, rounds: &[&Round]) -> Vec<Figures> {
    play_all(&rounds.iter().map(|round| (contender.clone(), *round)).collect::<Vec<_>>())
}

/// The figures of one load, of those of all rounds.
pub(crate) fn of_load(load: &Load, rounds: &[Round], figures: &[Figures]) -> Vec<Figures> {
    let pairs = rounds.iter().zip(figures).filter(|(round, _)| round.load == load.name);
    pairs.map(|(_, figures)| *figures).collect()
}

/// Does the work for each item on all cores; the results come in the items' order.
fn spread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
