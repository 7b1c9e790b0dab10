//! What a node costs by the hour of the calendar, and how the time until something is due divides by that. Asked by `batch`, which may
//! choose its hours; whatever has to be done now pays what now costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::PoolSeen;
use super::hours::Hours;
use super::pipeline::Stage;
use super::writes::span;

/// What a price is where nothing is written of the hour: all of it.
const WHOLE: u16 = 100;
/// A tariff that turns more often than so until something is due is looked at no further: what comes later counts as dear.
const TURNS: usize = 64;

/// Hours with a price of their own. Where several hold, the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff(Vec<Rate>);

/// In these hours a node costs so many per cent of its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// When.
    pub hours: Hours,
    /// Of the price as it is written.
    pub percent: u16,
}

impl Tariff {
    /// Prices for some hours; the first that holds counts.
    pub const fn new(rates: Vec<Rate>) -> Self {
        Self(rates)
    }

    /// Does every hour cost the same?
    pub const fn is_flat(&self) -> bool {
        self.0.is_empty()
    }

    /// The least that a node costs at any time, in per cent of its price, or less than that.
    pub fn least(&self) -> u16 {
        self.0.iter().map(|rate| rate.percent).fold(WHOLE, u16::min)
    }

    /// What a node costs at an instant in per cent of its price, and until when that stays so at least; `None`: for good.
    pub fn look(&self, at: Timestamp) -> (u16, Option<Timestamp>) {
        let mut until = None;
        let mut percent = None;
        for rate in &self.0 {
            let (is_inside, turns) = rate.hours.look(at);
            until = [until, turns].into_iter().flatten().min();
            percent = percent.or_else(|| is_inside.then_some(rate.percent));
        }
        (percent.unwrap_or(WHOLE), until)
    }
}

/// What the pools of a stage's lanes cost by the hour; nothing where no lane names one that is known, or where one may grow no further now: who
/// knows how much of it there will be then.
pub(super) fn of_lanes<'a>(
    stage: &Stage,
    pools: &'a BTreeMap<Arc<str>, PoolSeen>,
) -> Vec<&'a Tariff> {
    let seen = || stage.lanes.iter().filter_map(|lane| pools.get(&lane.pool));
    if seen().any(|pool| pool.full.is_some()) {
        return Vec::new();
    }
    seen().map(|pool| &pool.pool.tariff).collect()
}

/// How the time until something is due divides by price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spans {
    /// What a node costs now, in per cent of its price.
    pub(super) now: f64,
    /// Seconds at that price, the present ones with them.
    pub(super) alike: f64,
    /// Seconds at a lower price, and in how many pieces.
    pub(super) cheaper: f64,
    pub(super) pieces: f64,
    /// When the first of these begins, and what a node costs then.
    pub(super) begins: Option<(Timestamp, f64)>,
}

impl Spans {
    /// Divides the time from an instant to another. Several tariffs, as of the pools of a stage's lanes, count alike.
    pub(super) fn of(tariffs: &[&Tariff], from: Timestamp, to: Timestamp) -> Self {
        let count = f64::from(u32::try_from(tariffs.len()).unwrap_or(u32::MAX).max(1));
        let look = |at: Timestamp| {
            let looks = tariffs.iter().map(|tariff| tariff.look(at));
            let (percent, until) = looks.fold((0.0, None), |(sum, until), (percent, turns)| {
                (sum + f64::from(percent), [until, turns].into_iter().flatten().min())
            });
            (percent / count, until)
        };
        let (now, _) = look(from);
        let mut spans = Self { now, ..Self::default() };
        let (mut at, mut was_cheaper) = (from, false);
        for _ in 0..TURNS {
            let (percent, until) = look(at);
            let end = until.filter(|&until| at < until && until < to).unwrap_or(to);
            let length = span(at, end).as_secs_f64();
            let is_cheaper = percent < now;
            if is_cheaper {
                spans.cheaper += length;
                spans.pieces += if was_cheaper { 0.0 } else { 1.0 };
                spans.begins = spans.begins.or(Some((at, percent)));
            } else if percent <= now {
                spans.alike += length;
            }
            (at, was_cheaper) = (end, is_cheaper);
            if to <= at {
                break;
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rate(start: &str, end: &str, percent: u16) -> Rate {
        Rate { hours: Hours::new(start, end, "UTC").unwrap(), percent }
    }

    /// Half the price at night, twice at noon.
    fn tariff() -> Tariff {
        Tariff::new(vec![
            rate("0 22 * * *", "0 4 * * *", 50),
            rate("0 12 * * *", "0 13 * * *", 200),
        ])
    }

    #[test]
    fn the_first_rate_that_holds_is_the_price_until_any_turns() {
        let look = |time: &str| {
            let (percent, until) = tariff().look(at(time));
            (percent, until.unwrap().to_string())
        };
        assert_eq!(look("2026-01-10T03:00:00Z"), (50, "2026-01-10T04:00:00Z".to_owned()));
        assert_eq!(look("2026-01-10T04:00:00Z"), (100, "2026-01-10T12:00:00Z".to_owned()));
        assert_eq!(look("2026-01-10T12:30:00Z"), (200, "2026-01-10T13:00:00Z".to_owned()));
        assert_eq!(Tariff::default().look(at("2026-01-10T12:30:00Z")), (100, None));
    }

    #[test]
    fn time_divides_by_what_it_costs_beside_now() {
        let until_six = |tariffs: &[&Tariff], from: &str| {
            let Spans { now, alike, cheaper, pieces, begins } =
                Spans::of(tariffs, at(from), at("2026-01-11T06:00:00Z"));
            let begins = begins.map(|(at, then)| format!(" from {at} on for {then} %"));
            let [alike, cheaper] = [alike, cheaper].map(|span| span / 3600.0);
            let begins = begins.unwrap_or_default();
            format!("{alike} h for {now} %, {cheaper} h in {pieces} cheaper{begins}")
        };
        let (tariff, flat) = (tariff(), Tariff::default());
        for (tariffs, from, expected) in [
            (
                &[&tariff][..],
                "2026-01-10T12:30:00Z",
                "0.5 h for 200 %, 17 h in 1 cheaper from 2026-01-10T13:00:00Z on for 100 %",
            ),
            // Two hours before the night and two after it.
            (
                &[&tariff][..],
                "2026-01-10T20:00:00Z",
                "4 h for 100 %, 6 h in 1 cheaper from 2026-01-10T22:00:00Z on for 50 %",
            ),
            (&[&tariff][..], "2026-01-11T01:00:00Z", "3 h for 50 %, 0 h in 0 cheaper"),
            (
                &[&tariff, &flat][..],
                "2026-01-10T20:00:00Z",
                "4 h for 100 %, 6 h in 1 cheaper from 2026-01-10T22:00:00Z on for 75 %",
            ),
        ] {
            assert_eq!(until_six(tariffs, from), expected, "{from}");
        }
    }
}
