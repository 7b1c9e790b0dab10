//! What decision quality must reach, and whether it does. Fed with the figures of all rows; says what is missed and by how much.

use std::collections::BTreeMap;

use crate::arena::Figures;
use crate::loads::{Load, Terms};
use crate::tuned::{ENOUGH, mean};

/// The figures that were seen.
#[derive(Debug, Default)]
pub(crate) struct Book {
    rows: BTreeMap<(&'static str, String), Vec<Figures>>,
    /// In the order of the table: name, and whether it is real.
    loads: Vec<(&'static str, bool)>,
    /// Of the matrix.
    pub(crate) cells: Vec<Cell>,
    checked: usize,
    /// Microseconds of a look, in the median and at the 99th percentile, and seconds of a week with ten policies.
    speeds: Option<([f64; 2], f64)>,
    /// How far a learned rate is off, in per cent, by the seconds between two commits.
    rates: Vec<(f64, f64)>,
}

/// One cell of the matrix.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) load: &'static str,
    pub(crate) terms: Terms,
    pub(crate) own: Vec<Figures>,
    pub(crate) keda: Vec<Figures>,
}

/// What a peer's row is called when its settings are the published ones and not the best.
pub(crate) fn published(name: &str) -> &'static str {
    if name == "keda" { "keda as published" } else { "another as published" }
}

impl Book {
    /// Takes a row in.
    pub(crate) fn note(&mut self, load: &Load, policy: &str, figures: Vec<Figures>) {
        if !self.loads.iter().any(|(name, _)| *name == load.name) {
            self.loads.push((load.name, load.is_real()));
        }
        self.rows.insert((load.name, policy.to_owned()), figures);
    }

    /// A row that was taken in.
    pub(crate) fn of(&self, load: &Load, policy: &str) -> Option<&[Figures]> {
        self.row(load.name, policy)
    }

    fn row(&self, load: &'static str, policy: &str) -> Option<&[Figures]> {
        self.rows.get(&(load, policy.to_owned())).map(Vec::as_slice)
    }

    /// A mean figure of a policy for each load that has it.
    fn means(&self, policy: &str, of: fn(&Figures) -> f64) -> Vec<(&'static str, bool, f64)> {
        let loads = self.loads.iter();
        loads
            .filter_map(|&(name, is_real)| Some((name, is_real, mean(self.row(name, policy)?, of))))
            .collect()
    }

    /// Takes in how long a look takes, in microseconds (median, 99th percentile), and a week with ten policies, in seconds.
    pub(crate) fn speed(&mut self, looks: [f64; 2], week: f64) {
        self.speeds = Some((looks, week));
    }

    /// Takes in how far a learned rate was off, in per cent, where commits came every so many seconds.
    pub(crate) fn rate(&mut self, commits: f64, error: f64) {
        self.rates.push((commits, error));
    }

    /// What is missed, a line each.
    pub(crate) fn missed(&mut self) -> Vec<String> {
        let mut found = Found::default();
        self.costs(&mut found);
        self.promises(&mut found);
        self.calm(&mut found);
        self.peers(&mut found);
        self.slow_starts(&mut found);
        if let Some(([median, most], week)) = self.speeds {
            found.at_most("a look of Penstock at one stage, microseconds", median, 100.0);
            found.at_most("the same at the 99th percentile, microseconds", most, 100.0);
            found.at_most("a week with ten policies, seconds", week, 10.0);
        }
        for (commits, error) in &self.rates {
            let what =
                format!("rate after 10 busy minutes, commits every {commits} s: per cent off");
            found.at_most(&what, *error, 5.0);
        }
        self.checked = found.checked;
        found.missed
    }

    /// The last line but the time.
    pub(crate) fn verdict(&self, missed: usize) -> String {
        format!("{} of {} musts are met", self.checked.saturating_sub(missed), self.checked)
    }

    fn costs(&self, found: &mut Found) {
        let costs = self.means("penstock", |it| it.cost);
        let mut real: Vec<f64> = costs.iter().filter(|it| it.1).map(|it| it.2).collect();
        if let Some(median) = median(&mut real) {
            found.at_most("median cost on real loads, times the bound", median, 1.45);
        }
        for (name, is_real, cost) in costs {
            found.at_most(&format!("{name}: cost, times the bound"), cost, most(name, is_real));
        }
        for (name, is_real, cost) in self.means("eager", |it| it.cost) {
            let what = format!("{name}, eager rebalances: cost, times the bound");
            found.at_most(&what, cost, most(name, is_real));
        }
        let slack = self.means("penstock", |it| 100.0 * it.slack);
        let mut real: Vec<f64> = slack.iter().filter(|it| it.1).map(|it| it.2).collect();
        if let Some(median) = median(&mut real) {
            found.at_most("median slack on real loads, per cent of paid time", median, 30.0);
        }
    }

    fn promises(&self, found: &mut Found) {
        for (name, _, late) in self.means("penstock", |it| 100.0 * it.late) {
            found.at_most(&format!("{name}: late, per cent"), late, 100.0 * ENOUGH);
        }
        for (name, _, late) in self.means("eager", |it| 100.0 * it.late) {
            found.at_most(&format!("{name}, eager rebalances: late, per cent"), late, 1.0);
        }
        for (name, _, p99) in self.means("penstock", |it| it.tightness) {
            found.at_most(&format!("{name}: p99 of delays, share of the objective"), p99, 0.8);
        }
        for (name, _, broken) in self.means("penstock", |it| f64::from(it.violations)) {
            found.at_most(&format!("{name}: promises of its own broken"), broken, 0.0);
        }
    }

    fn calm(&self, found: &mut Found) {
        let actions = self.means("penstock", |it| it.actions);
        let undone = self.means("penstock", |it| it.undone);
        for ((name, is_real, actions), (.., undone)) in actions.into_iter().zip(undone) {
            if name == "llm-code" {
                continue;
            }
            if is_real {
                found.at_most(&format!("{name}: actions a day"), actions, 200.0);
                let share = 100.0 * undone / actions.max(1.0);
                found.at_most(&format!("{name}: undone, per cent of actions"), share, 10.0);
            } else if name == "ragged" || name.starts_with("pulses") {
                found.at_most(&format!("{name}: actions a day"), actions, 300.0);
            }
        }
    }

    /// Against peers at their best, where they are late no more than one in a thousand: of KEDA's two rules, the cheaper that is.
    fn peers(&self, found: &mut Found) {
        let rivals: [(&str, &[&str], f64, bool); 2] =
            [("KEDA", &["keda", "keda-rate"], 20.0, true), ("Flink", &["flink"], 15.0, false)];
        for (who, rules, least, is_never_dearer) in rivals {
            let mut savings = Vec::new();
            for &(name, _) in &self.loads {
                let (Some(own), Some((rule, theirs))) =
                    (self.row(name, "penstock"), self.cheapest(name, rules))
                else {
                    continue;
                };
                let saved = 100.0 * (1.0 - mean(own, |it| it.hours) / theirs);
                savings.push(saved);
                if is_never_dearer {
                    let what = format!("{name}: dearer than {who} tuned ({rule}), per cent");
                    found.at_most(&what, -saved, 0.0);
                }
            }
            if let Some(median) = median(&mut savings) {
                let what = format!("median saving against {who} tuned, per cent");
                found.at_least(&what, median, least);
            }
        }
        for (name, _, late) in self.means("keda as published", |it| 100.0 * it.late) {
            if let Some(own) = self.row(name, "penstock")
                && 100.0 * ENOUGH < late
            {
                let own = 100.0 * mean(own, |it| it.late);
                found.at_most(
                    &format!("{name}: late, against a tenth of KEDA's as published"),
                    own,
                    late / 10.0,
                );
            }
        }
    }

    /// Of these rules the cheapest on a load that is in time, and its replica-hours.
    fn cheapest<'a>(&self, load: &'static str, rules: &[&'a str]) -> Option<(&'a str, f64)> {
        let rows = rules.iter().filter_map(|rule| Some((*rule, self.row(load, rule)?)));
        let in_time = rows.filter(|(_, figures)| mean(figures, |it| it.late) <= ENOUGH);
        let paid = in_time.map(|(rule, figures)| (rule, mean(figures, |it| it.hours)));
        paid.min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Where pods take four minutes to start and items may take one.
    fn slow_starts(&self, found: &mut Found) {
        let is_slow = |cell: &&Cell| {
            240.0 <= cell.terms.startup && (59.0..61.0).contains(&cell.terms.deadline)
        };
        for Cell { load, own, keda, .. } in self.cells.iter().filter(is_slow) {
            let [late, theirs] = [own, keda].map(|it| 100.0 * mean(it, |it| it.late));
            let [cost, their_cost] = [own, keda].map(|it| mean(it, |it| it.cost));
            found.at_most(
                &format!("{load}, S = 240 s: late, per cent, against KEDA's"),
                late,
                theirs,
            );
            found.at_most(
                &format!("{load}, S = 240 s: cost, against 0.8 of KEDA's"),
                cost,
                0.8 * their_cost,
            );
        }
    }
}

/// The most that a load may cost, times the bound.
fn most(load: &str, is_real: bool) -> f64 {
    match (is_real, load) {
        (true, _) => 1.6,
        (false, "spikes") => 2.5,
        (false, _) => 2.3,
    }
}

#[derive(Debug, Default)]
struct Found {
    checked: usize,
    missed: Vec<String>,
}

impl Found {
    fn at_most(&mut self, what: &str, figure: f64, most: f64) {
        self.checked += 1;
        // A figure that is none meets nothing.
        if most < figure || figure.is_nan() {
            let by = figure - most;
            self.missed
                .push(format!("{what}: {figure:.3}, must be at most {most:.3}: {by:.3} too much"));
        }
    }

    fn at_least(&mut self, what: &str, figure: f64, least: f64) {
        self.checked += 1;
        if figure < least || figure.is_nan() {
            let by = least - figure;
            self.missed.push(format!(
                "{what}: {figure:.3}, must be at least {least:.3}: {by:.3} too little"
            ));
        }
    }
}

fn median(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    let is_odd = figures.len() % 2 == 1;
    let lower = if is_odd { upper } else { figures.get(middle - 1).copied().unwrap_or(upper) };
    Some(f64::midpoint(lower, upper))
}
