//! The best setting of a peer for a load: what its owner would find who knows the load, the rate of a replica, and has all night.

use penstock::simulate::peers::{Settings, grid};

use crate::arena::{Contender, Figures, Round, play_all, repeat};

/// Late items that are still within the objective: one in a thousand.
pub(crate) const ENOUGH: f64 = 0.001;
/// Of the grid, the best on the first seed go on: one of so many.
const KEPT: usize = 4;
/// Seeds on which those are tried; the best of them are played on all.
const TRIED: usize = 3;
/// How many are played on all seeds until one is late no more than that.
const BEST: usize = 4;

/// A peer at its best.
#[derive(Debug)]
pub(crate) struct Tuned {
    pub(crate) label: String,
    pub(crate) figures: Vec<Figures>,
    /// The least cost of the grid where more may be late.
    pub(crate) frontier: String,
    /// As published, when that is not the best.
    pub(crate) published: Option<(String, Vec<Figures>)>,
}

/// The cheapest setting of the grid that is late for at most one in a thousand, in the mean of these rounds; else the least late.
pub(crate) fn tune(name: &str, rounds: &[&Round]) -> Tuned {
    let settings = grid(name);
    let (first, rest) = rounds.split_at(rounds.len().min(1));
    let mut ranked = try_all(settings.iter().map(|it| (it, Vec::new())).collect(), first);
    let frontier = frontier(&ranked);
    ranked.truncate(ranked.len().div_ceil(KEPT));
    let ranked = try_all(ranked, &rest[..rest.len().min(TRIED - 1)]);
    let on_all = |settings: &Settings| repeat(&Contender::Peer(Box::new(settings.clone())), rounds);
    let mut best: Option<(&Settings, Vec<Figures>)> = None;
    for (settings, _) in ranked.iter().take(BEST) {
        let figures = on_all(settings);
        if best.as_ref().is_none_or(|(_, known)| rank(&figures) < rank(known)) {
            best = Some((settings, figures));
        }
        if best.as_ref().is_some_and(|(_, known)| mean(known, |it| it.late) <= ENOUGH) {
            break;
        }
    }
    let published = settings.first().map(|first| (first, first.policy().name()));
    let (label, figures) = best
        .map_or_else(Default::default, |(settings, figures)| (settings.policy().name(), figures));
    let published = published.filter(|(_, name)| *name != label);
    let published = published.map(|(first, name)| (format!("published: {name}"), on_all(first)));
    Tuned { label, figures, frontier, published }
}

/// Settings with what they came to so far.
type Ranked<'a> = Vec<(&'a Settings, Vec<Figures>)>;

/// Plays all of them in these rounds too, and puts the best first.
fn try_all<'a>(mut tried: Ranked<'a>, rounds: &[&Round]) -> Ranked<'a> {
    let games: Vec<_> = tried
        .iter()
        .flat_map(|(it, _)| {
            rounds.iter().map(|round| (Contender::Peer(Box::new((*it).clone())), *round))
        })
        .collect();
    let mut figures = play_all(&games).into_iter();
    for (_, known) in &mut tried {
        known.extend(figures.by_ref().take(rounds.len()));
    }
    tried.sort_by(|(_, a), (_, b)| rank(a).total_cmp(&rank(b)));
    tried
}

/// What the grid costs at least where so much may be late, on the first seed.
fn frontier(tried: &Ranked<'_>) -> String {
    let at = |late: f64| {
        let within = tried.iter().filter(|(_, figures)| mean(figures, |it| it.late) <= late);
        let costs = within.map(|(_, figures)| mean(figures, |it| it.cost));
        let least = costs.fold(f64::INFINITY, f64::min);
        let cost = if least.is_finite() { format!("{least:.3}") } else { "never".to_owned() };
        format!("{cost} at {} % late", 100.0 * late)
    };
    format!("its frontier: {}, {}, {}", at(ENOUGH), at(0.01), at(0.05))
}

/// The lower the better: cost where late is low enough, lateness above any cost elsewhere.
fn rank(figures: &[Figures]) -> f64 {
    let late = mean(figures, |it| it.late);
    if late <= ENOUGH { mean(figures, |it| it.cost) } else { 1e6 * (1.0 + late) }
}

/// Mean of a figure.
pub(crate) fn mean(figures: &[Figures], of: fn(&Figures) -> f64) -> f64 {
    let count = f64::from(u32::try_from(figures.len()).unwrap_or(u32::MAX));
    figures.iter().map(of).sum::<f64>() / count
}
