//! The weather of spot capacity: how many nodes each zone can give, second by second. Made once from a seed, before anything is played, so
//! that every policy meets the same.
//!
//! A zone has room while a hidden number of its own is below a mark; the number is a mix of one draw of the region, which all its zones share, and
//! one of its own, and each draw is made anew after a random time. So a zone is up for exactly the share of the time that is asked for, zones
//! of a region go down together as often as their correlation says, and near the mark there is room for a few nodes only.

use std::fmt;

use super::super::chance::{Chance, Tag};
use super::super::span::Span;

/// A region of zones. The numbers in use are those measured on public spot traces (45 days, nine zones): one zone has room 17 to 90 % of
/// the time, and zones of one region are correlated by 0.25 to 0.59.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// For each zone, the share of the time in which it has room.
    pub zones: Vec<f64>,
    /// How much of what befalls a zone befalls its region.
    pub correlation: f64,
    /// Mean seconds until the region's draw is made anew.
    pub region_lasts: f64,
    /// Mean seconds until a zone's own is.
    pub zone_lasts: f64,
}

/// A time in which no zone gives anything, whatever the weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its first second.
    pub at: u32,
    /// How many there are.
    pub lasts: u32,
}

/// Where the weather of a pool comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Sky {
    /// It is drawn from each seed.
    Drawn {
        /// The zones.
        region: Region,
        /// Nodes that one zone gives at most.
        most: u32,
        /// And besides.
        outages: Vec<Outage>,
    },
    /// It is always this one.
    Written(Weather),
}

impl Sky {
    /// The weather of so many seconds.
    pub fn weather(&self, seconds: u32, seed: u64) -> Weather {
        match self {
            Self::Written(weather) => weather.clone(),
            Self::Drawn { region, most, outages } => {
                let drawn = Weather::draw(std::slice::from_ref(region), *most, seconds, seed);
                outages.iter().copied().fold(drawn, Weather::without)
            }
        }
    }
}

impl fmt::Display for Sky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Drawn { region, most, outages } = self else {
            return f.write_str("weather as it was written down");
        };
        let length = |seconds: f64| Span::of(seconds);
        let zones: Vec<_> =
            region.zones.iter().map(|share| format!("{:.0}", 100.0 * share)).collect();
        write!(f, "zones have room {} % of the time, {most} nodes each at most", zones.join(", "))?;
        if 1 < region.zones.len() {
            write!(f, ", correlated by {}", region.correlation)?;
        }
        let (all, each) = (length(region.region_lasts), length(region.zone_lasts));
        write!(f, ", drawn anew after {all} (all) and {each} (each) in the mean")?;
        for Outage { at, lasts } in outages {
            let (at, lasts) = (length(f64::from(*at)), length(f64::from(*lasts)));
            write!(f, "; none at {at} for {lasts}")?;
        }
        Ok(())
    }
}

/// When there is room where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// For each zone: from this second on, so many nodes; in order, the first at 0.
    zones: Vec<Vec<(u32, u32)>>,
    /// Seconds in which one node is taken though there is room, in order.
    strikes: Vec<u32>,
}

/// So far below the mark a zone gives all its nodes, in standard deviations.
const MARGIN: f64 = 0.5;

impl Weather {
    /// The weather of some regions for so many seconds; each zone gives so many nodes at most.
    pub fn draw(regions: &[Region], most: u32, seconds: u32, seed: u64) -> Self {
        let mut zones = Vec::new();
        for (number, region) in (0_u64..).zip(regions) {
            let shared = drift(region.region_lasts, seconds, seed, number << 8);
            for (zone, share) in (1_u64..).zip(&region.zones) {
                let own = drift(region.zone_lasts, seconds, seed, (number << 8) | zone);
                zones.push(join(&shared, &own, region.correlation, quantile(*share), most));
            }
        }
        Self { zones, strikes: Vec::new() }
    }

    /// The weather that is written down: for each zone, from which second on there is room for how many nodes.
    pub fn of(zones: Vec<Vec<(u32, u32)>>) -> Self {
        Self { zones, strikes: Vec::new() }
    }

    /// The same, and at each of these seconds one node that pods stand on is told that it will go.
    #[must_use]
    pub fn striking(self, mut strikes: Vec<u32>) -> Self {
        strikes.sort_unstable();
        Self { strikes, ..self }
    }

    /// The zones of this weather and of another.
    #[must_use]
    pub(super) fn beside(mut self, other: Self) -> Self {
        self.zones.extend(other.zones);
        self.strikes.extend(other.strikes);
        self.strikes.sort_unstable();
        self
    }

    /// The same, but for a time in which no zone has room.
    fn without(self, outage: Outage) -> Self {
        let until = outage.at.saturating_add(outage.lasts);
        let is_in = |at: u32| outage.at <= at && at < until;
        let of = |zone: usize| {
            let steps = &self.zones[zone];
            let mut kept: Vec<_> = steps.iter().copied().filter(|(at, _)| !is_in(*at)).collect();
            kept.extend([(outage.at, 0), (until, self.room(zone, until))]);
            kept.sort_unstable_by_key(|(at, _)| *at);
            // A step of its own at the end says the same.
            kept.dedup_by_key(|(at, _)| *at);
            kept
        };
        Self { zones: (0..self.zones.len()).map(of).collect(), strikes: self.strikes }
    }

    /// The weather from a second on, which becomes its first.
    #[must_use]
    pub fn from(&self, start: u32) -> Self {
        let later = |(from, nodes): &(u32, u32)| (from.saturating_sub(start), *nodes);
        let of = |zone: usize| {
            let steps = self.zones.get(zone).map(Vec::as_slice).unwrap_or_default();
            let after = steps.iter().filter(|(from, _)| start < *from).map(later);
            std::iter::once((0, self.room(zone, start))).chain(after).collect()
        };
        let strikes = self.strikes.iter().filter_map(|at| at.checked_sub(start));
        Self { zones: (0..self.zones.len()).map(of).collect(), strikes: strikes.collect() }
    }

    /// Is one node taken at this second, whatever the room?
    pub(super) fn strikes(&self, now: u32) -> bool {
        self.strikes.binary_search(&now).is_ok()
    }

    /// How many zones there are.
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// Nodes that a zone gives at a second.
    pub fn room(&self, zone: usize, now: u32) -> u32 {
        let Some(steps) = self.zones.get(zone) else { return 0 };
        let after = steps.partition_point(|(from, _)| *from <= now);
        after.checked_sub(1).and_then(|at| steps.get(at)).map_or(0, |(_, nodes)| *nodes)
    }

    /// Nodes that all zones give at a second.
    pub fn all(&self, now: u32) -> u32 {
        (0..self.zones.len()).map(|zone| self.room(zone, now)).sum()
    }

    /// The most nodes that can stand between two seconds, the latter left out: what each zone gives at its best.
    pub fn most(&self, from: u32, until: u32) -> u32 {
        let of = |zone: usize| {
            let steps = self.zones.get(zone).map_or(&[][..], Vec::as_slice);
            let within = steps.iter().filter(|(at, _)| from < *at && *at < until);
            within.map(|(_, nodes)| *nodes).fold(self.room(zone, from), u32::max)
        };
        (0..self.zones.len()).map(of).sum()
    }

    /// Share of these seconds in which any zone has room.
    pub fn up(&self, seconds: u32) -> f64 {
        let up = (0..seconds).filter(|&now| (0..self.zones()).any(|zone| 0 < self.room(zone, now)));
        f64::from(u32::try_from(up.count()).unwrap_or(u32::MAX)) / f64::from(seconds.max(1))
    }
}

/// A hidden number: from this second on, this draw.
fn drift(lasts: f64, seconds: u32, seed: u64, which: u64) -> Vec<(u32, f64)> {
    let mut chance = Chance::new(seed, Tag::Weather, which);
    let first = chance.normal();
    let moments = chance.moments(lasts, 0.0, seconds);
    let mut drawn = vec![(0, first)];
    drawn.extend(moments.into_iter().map(|at| (at, chance.normal())));
    drawn
}

/// What a zone gives, from the region's draws and its own.
fn join(
    shared: &[(u32, f64)],
    own: &[(u32, f64)],
    correlation: f64,
    mark: f64,
    most: u32,
) -> Vec<(u32, u32)> {
    let mut moments: Vec<u32> = shared.iter().chain(own).map(|(at, _)| *at).collect();
    moments.sort_unstable();
    moments.dedup();
    let at = |draws: &[(u32, f64)], now: u32| {
        let after = draws.partition_point(|(from, _)| *from <= now);
        after.checked_sub(1).and_then(|at| draws.get(at)).map_or(0.0, |(_, draw)| *draw)
    };
    let mut steps: Vec<(u32, u32)> = Vec::new();
    for now in moments {
        let hidden =
            correlation.sqrt() * at(shared, now) + (1.0 - correlation).sqrt() * at(own, now);
        let part = ((mark - hidden) / MARGIN).clamp(0.0, 1.0);
        let nodes = super::super::whole(part * f64::from(most));
        if steps.last().is_none_or(|(_, before)| *before != nodes) {
            steps.push((now, nodes));
        }
    }
    steps
}

/// The number that a standard normal draw is below with this chance, to a thousandth.
pub(super) fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-6.0_f64, 6.0_f64);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if below(middle) < share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The chance that a standard normal draw is below this (Abramowitz and Stegun 7.1.26, within 1e-7).
fn below(x: f64) -> f64 {
    let y = x.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * y);
    let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let tail = series.iter().fold(0.0, |sum, part| (sum + part) * t) * (-y * y).exp();
    if x < 0.0 { tail / 2.0 } else { 1.0 - tail / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 86_400;

    fn region(zones: &[f64], correlation: f64) -> Region {
        let zones = zones.to_vec();
        Region { zones, correlation, region_lasts: 7200.0, zone_lasts: 3600.0 }
    }

    #[test]
    fn quantiles_are_those_of_the_normal() {
        for (share, at) in [(0.5, 0.0), (0.17, -0.954), (0.9, 1.282), (0.975, 1.960)] {
            assert!((quantile(share) - at).abs() < 1e-3, "{share}: {}", quantile(share));
        }
    }

    #[test]
    fn a_zone_has_room_for_the_share_of_the_time_that_was_asked_for() {
        for share in [0.17, 0.54, 0.9] {
            let weather = Weather::draw(&[region(&[share], 0.4)], 8, 100 * DAY, 1);
            let up = weather.up(100 * DAY);
            assert!((up - share).abs() < 0.04, "{share}: {up}");
        }
    }

    #[test]
    fn zones_of_a_region_go_down_together_and_others_do_not() {
        let both = |weather: &Weather| {
            let down = |now: &u32| (0..2).all(|zone| weather.room(zone, *now) == 0);
            f64::from(u32::try_from((0..400 * DAY).step_by(60).filter(down).count()).unwrap())
                / f64::from(400 * DAY / 60)
        };
        let together = Weather::draw(&[region(&[0.5, 0.5], 0.59)], 8, 400 * DAY, 1);
        let apart = [region(&[0.5], 0.59), region(&[0.5], 0.59)];
        let apart = Weather::draw(&apart, 8, 400 * DAY, 1);
        // A quarter where they are independent; 1/4 + asin(0.59)/2π where they are not.
        assert!((both(&apart) - 0.25).abs() < 0.03, "{}", both(&apart));
        assert!((both(&together) - 0.350).abs() < 0.03, "{}", both(&together));
    }

    #[test]
    fn an_outage_takes_all_rooms_and_gives_back_what_there_is_then() {
        let weather = Weather::of(vec![vec![(0, 4), (10, 2), (20, 3)], vec![(0, 1)]]);
        let weather = weather.without(Outage { at: 5, lasts: 10 });
        let rooms = [0, 4, 5, 14, 15, 19, 20].map(|now| weather.all(now));
        assert_eq!(rooms, [5, 5, 0, 0, 3, 3, 4]);
        let weather = weather.without(Outage { at: 15, lasts: 5 });
        assert_eq!([14, 15, 19, 20].map(|now| weather.all(now)), [0, 0, 0, 4]);
    }

    #[test]
    fn room_is_what_was_written_down() {
        let weather = Weather::of(vec![vec![(0, 4), (10, 0), (20, 2)], vec![(15, 1)]]);
        let rooms = [0, 9, 10, 15, 20].map(|now| weather.all(now));
        assert_eq!(rooms, [4, 4, 0, 1, 3]);
        let most = [(0, 1), (10, 15), (9, 16), (16, 21)].map(|(from, to)| weather.most(from, to));
        assert_eq!(most, [4, 0, 5, 3], "each zone at its best");
    }
}
