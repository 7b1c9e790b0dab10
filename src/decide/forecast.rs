//! What is usual at this time of day, and so what is about to arrive: fed by `knowledge` once a turn with what has arrived. `demand` asks
//! for it where it has proved better than the present level; `anomaly` tells when what arrives is far from it.
//!
//! The profile is a mean of logarithms for each quarter of an hour, of working days and of weekends (in UTC), in which each day counts
//! three tenths of all before it; a forecast is the present level times the profile's ratio. Whether that beats the present level
//! alone is judged by what came of both: mean absolute errors of logarithms, as experts are judged (Cesa-Bianchi and Lugosi 2006).
//!
//! For what is odd alone it is also remembered how each hour of the week usually differs from the profile of its kind of day: the night
//! to a Friday is no other night, and no anomaly.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::float;

/// Bins of a day, each so many seconds wide, and kinds of day.
const BINS: usize = 96;
const WIDE: f64 = 900.0;
const WIDTH: i64 = 900;
/// A bin is a byte: steps of a logarithm to the base of 2, from 2^-6 items a second (fourteen in a quarter) to 2^19.4.
const STEPS: f64 = 10.0;
const LEAST: f64 = -6.0;
const MOST_LOG: f64 = LEAST + 255.0 / STEPS;
/// A new day counts so much against those before it; an unusual quarter hardly.
const NEW: f64 = 0.3;
const UNUSUAL: f64 = 0.1;
/// A quarter must have been watched for this share.
const WATCHED: f64 = 0.8;

/// What came of the last forecasts counts most: so much for each.
const JUDGED: f64 = 0.02;
/// Forecasts judged before one is believed, and how much better it must be than none.
const ENOUGH: u16 = 100;
const BETTER: f64 = 0.97;
/// Errors as often to one side as to the other and with tails as long as Laplace's lie below so many times their mean in nine cases of ten.
const NINE_IN_TEN: f64 = 1.61;
/// A forecast says no more than this of the present level, and no less.
const MOST: f64 = 3.0;

/// Quarters of one kind of day before what is unusual can be told: three days.
const KNOWN: u16 = 288;
/// Unusual is what lies so many times the usual distance from the profile, and a tenth at least; usual again, half of that.
const FAR: f64 = 5.0;
const TENTH: f64 = 0.15;
/// How slowly the usual distance follows: about four days.
const SLOW: f64 = 0.0025;
/// Hours of a week; how much one quarter says of its hour; steps of a logarithm in which an hour is remembered.
const HOURS: usize = 168;
const SAID: f64 = 0.1;
const FINE: f64 = 20.0;
/// Quarters in a row before it is told.
const LASTS: u8 = 2;

/// What is remembered of the time of day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Forecast {
    /// Logarithm of the rate for each bin, working days first; 0: never seen. Empty before the first quarter.
    profile: Box<[u8]>,
    /// How each hour of the week differs from that, as a logarithm. Empty before the first quarter that has a profile.
    #[serde(default)]
    week: Box<[i8]>,
    #[serde(default)]
    hour: Hour,
    /// Quarters seen of each kind of day.
    seen: [u16; 2],
    /// The quarter under way: when it was first looked at, and what had arrived by then.
    quarter: Option<(i64, u64)>,
    /// A forecast that waits for its time to come.
    made: Option<Made>,
    /// Mean errors of the present level, and of the profile; how many went into them.
    errors: [f32; 2],
    judged: u16,
    /// The usual distance of a quarter from the profile, as a logarithm.
    scale: f32,
    odd: Odd,
}

/// An hour of the week that is not over yet: how its quarters differed from the profile. They count when it is, so that what is odd in one
/// of them is not half usual in the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Hour {
    /// Hours since the epoch.
    at: i32,
    sum: f32,
    quarters: u8,
}

/// A forecast, and the present level when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Made {
    /// Seconds since the epoch.
    due: u32,
    level: f32,
    ratio: f32,
}

/// Quarters far from the profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Odd {
    /// So many in a row on one side of it, and since when.
    quarters: u8,
    is_above: bool,
    /// Seconds since the epoch; 0 while nothing is odd.
    since: u32,
    rate: f32,
    usual: f32,
}

/// Arrivals, in items a second, that would be nothing unusual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// From so many.
    pub low: f64,
    /// To so many.
    pub high: f64,
}

/// What arrives, and what is usual: items a second, since when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unusual {
    pub(super) rate: f64,
    pub(super) usual: f64,
    pub(super) since: Timestamp,
}

impl Forecast {
    /// Takes in a turn: items that had arrived since the record began, items a second that arrive, and how long pods take to be at work.
    pub(super) fn observe(&mut self, arrived: u64, level: f64, lead: Duration, at: Timestamp) {
        self.judge(level, lead, at);
        let now = at.as_second();
        let Some((began, before)) = self.quarter else {
            self.quarter = Some((now, arrived));
            return;
        };
        if quarter(began) == quarter(now) && before <= arrived {
            return;
        }
        self.quarter = Some((now, arrived));
        #[expect(clippy::cast_precision_loss, reason = "a quarter of an hour in seconds")]
        let passed = (now - began) as f64;
        if (WATCHED * WIDE..2.0 * WIDE).contains(&passed) && before <= arrived {
            let came = float(arrived - before);
            self.learn(began, came, passed);
        }
    }

    /// What is to be expected a while from an instant, as a multiple of what arrives then; `None` while that has not proved better than
    /// the present level.
    pub(super) fn ratio(&self, ahead: Duration, at: Timestamp) -> Option<f64> {
        let [persists, profile] = self.errors;
        let is_better = ENOUGH <= self.judged && f64::from(profile) < BETTER * f64::from(persists);
        if is_better { self.told(ahead, at) } else { None }
    }

    /// The most that is to be expected at any time until then, unless the forecast is more wrong than nine times in ten. It is judged at a
    /// shorter time; what it is wrong by is thought to grow with the root of the time, as that of a level does which drifts.
    pub(super) fn most(&self, ahead: Duration, judged: Duration, at: Timestamp) -> Option<f64> {
        let [_, error] = self.errors;
        let longer = (ahead.as_secs_f64() / judged.as_secs_f64().max(1.0)).max(1.0).sqrt();
        let beyond = 2.0_f64.powf(NINE_IN_TEN * f64::from(error) * longer).min(MOST);
        let steps = [0.25, 0.5, 0.75, 1.0].map(|share| self.ratio(ahead.mul_f64(share), at));
        let most = steps.into_iter().flatten().reduce(f64::max)?;
        Some(most * beyond)
    }

    /// What is far from usual, and has been for two quarters.
    pub(super) fn unusual(&self) -> Option<Unusual> {
        let Odd { rate, usual, since, quarters, .. } = self.odd;
        let since = Timestamp::from_second(since.into()).ok().filter(|_| LASTS <= quarters)?;
        Some(Unusual { rate: rate.into(), usual: usual.into(), since })
    }

    /// What would be nothing unusual in the quarter of an hour around an instant, past or to come; `None` before three days of its kind
    /// have been seen.
    pub(super) fn band(&self, at: Timestamp) -> Option<Band> {
        let quarter = quarter(at.as_second());
        if self.seen[kind(quarter)] < KNOWN {
            return None;
        }
        let usual = self.own(index(quarter))?;
        let (least, most) = self.span(quarter, usual);
        let rate = |log: f64, off: f64| 2.0_f64.powf(log + off);
        let low = rate(least, -self.far(least, WIDE));
        Some(Band { low, high: rate(most, self.far(most, WIDE)) })
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.profile.len() + self.week.len()
    }

    fn told(&self, ahead: Duration, at: Timestamp) -> Option<f64> {
        let then = at.checked_add(ahead).ok()?;
        let grows = self.usual(then)? - self.usual(at)?;
        Some(2.0_f64.powf(grows).clamp(1.0 / MOST, MOST))
    }

    /// Logarithm of what is usual at an instant, on the line between the middles of two quarters.
    fn usual(&self, at: Timestamp) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium")]
        let place = (at.as_second() as f64) / WIDE - 0.5;
        let share = place - place.floor();
        #[expect(clippy::cast_possible_truncation, reason = "quarters of this millennium")]
        let before = place.floor() as i64;
        Some(self.bin(before)? * (1.0 - share) + self.bin(before + 1)? * share)
    }

    /// Logarithm of what is usual in a quarter, counted from the epoch. Until the first weekend is over it is taken for a working day.
    fn bin(&self, quarter: i64) -> Option<f64> {
        self.own(index(quarter)).or_else(|| self.own((index(quarter) + BINS) % (2 * BINS)))
    }

    fn own(&self, index: usize) -> Option<f64> {
        let code = *self.profile.get(index)?;
        (0 < code).then(|| f64::from(code) / STEPS + LEAST)
    }

    /// Sets what came against what was forecast, and makes a new forecast.
    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    fn judge(&mut self, level: f64, lead: Duration, at: Timestamp) {
        let now = at.as_second();
        if let Some(made) = self.made {
            if now < i64::from(made.due) {
                return;
            }
            let came = (level.max(0.001) / f64::from(made.level)).log2();
            let errors = [came.abs(), (came - f64::from(made.ratio).log2()).abs()];
            self.judged = self.judged.saturating_add(1);
            let share = JUDGED.max(1.0 / f64::from(self.judged));
            for (mean, error) in self.errors.iter_mut().zip(errors) {
                *mean += (share * (error - f64::from(*mean))) as f32;
            }
        }
        let seconds = i64::try_from(lead.as_secs()).unwrap_or(i64::MAX);
        let ratio = self.told(lead, at).filter(|_| 0.01 < level);
        self.made = ratio.map(|ratio| Made {
            due: u32::try_from(now.saturating_add(seconds)).unwrap_or(u32::MAX),
            level: level as f32,
            ratio: ratio as f32,
        });
    }

    /// Takes in a quarter of an hour.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range first"
    )]
    fn learn(&mut self, began: i64, came: f64, passed: f64) {
        let log = (came / passed).max(f64::MIN_POSITIVE).log2().clamp(LEAST, MOST_LOG);
        let quarter = quarter(began);
        let usual = self.own(index(quarter));
        let is_odd = usual.is_some_and(|usual| {
            let (least, most) = self.span(quarter, usual);
            let near = log.clamp(least, most);
            let is_odd = self.is_odd((usual, near), log, passed, began);
            self.learn_hour(quarter, log - usual);
            is_odd
        });
        if self.profile.is_empty() {
            self.profile = vec![0; 2 * BINS].into();
        }
        let share = if is_odd { UNUSUAL } else { NEW };
        let step = 1.0 / STEPS;
        let mean = usual.map_or(log, |usual| match log - usual {
            // What is too little for a step would never be learned.
            off if step <= off.abs() => usual + (share * off.abs()).max(step).copysign(off),
            _ => usual,
        });
        let code = ((mean - LEAST) * STEPS).round().clamp(1.0, 255.0) as u8;
        if let Some(bin) = self.profile.get_mut(index(quarter)) {
            *bin = code;
        }
        let seen = &mut self.seen[kind(quarter)];
        *seen = seen.saturating_add(1);
    }

    /// What is usual for the hour of the week or for the hour of the day is not odd, nor what lies between: of the one little has been
    /// seen, of the other not every day is the same.
    fn span(&self, quarter: i64, usual: f64) -> (f64, f64) {
        let differs = self.week.get(hour(quarter)).map_or(0.0, |&it| f64::from(it) / FINE);
        let other = usual + differs;
        (usual.min(other), usual.max(other))
    }

    /// How far from the usual is far, as a logarithm, for so many seconds.
    fn far(&self, usual: f64, seconds: f64) -> f64 {
        let items = 2.0_f64.powf(usual) * seconds;
        // Of few items, chance alone makes as much.
        let chance = std::f64::consts::LOG2_E / items.max(1.0).sqrt();
        (FAR * f64::from(self.scale)).max(TENTH) + 3.0 * chance
    }

    /// Takes in how much a quarter differs from the profile of its kind of day: what is odd, too, or what comes every week would stay so.
    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    fn learn_hour(&mut self, quarter: i64, off: f64) {
        if self.week.is_empty() {
            self.week = vec![0; HOURS].into();
        }
        let at = i32::try_from(quarter.div_euclid(4)).unwrap_or(i32::MAX);
        if self.hour.at != at {
            let Hour { at: over, sum, quarters } = std::mem::take(&mut self.hour);
            if let Some(hour) =
                self.week.get_mut(hour(i64::from(over) * 4)).filter(|_| 0 < quarters)
            {
                let off = f64::from(sum) / f64::from(quarters);
                let known = f64::from(*hour) / FINE;
                let mean = off + (known - off) * (1.0 - SAID).powi(i32::from(quarters));
                *hour = (mean * FINE).round().clamp(-127.0, 127.0) as i8;
            }
            self.hour.at = at;
        }
        self.hour.sum += off as f32;
        self.hour.quarters = self.hour.quarters.saturating_add(1);
    }

    /// Is a quarter far from what is usual? Says so to whoever asks once two in a row are. How far is far is learned from the profile of
    /// the kind of day; what this quarter is held against is the second.
    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    fn is_odd(&mut self, (kind_of, usual): (f64, f64), log: f64, passed: f64, began: i64) -> bool {
        let off = log - usual;
        let band = self.far(usual, passed);
        let is_known = KNOWN <= self.seen[kind(quarter(began))];
        let was_odd = LASTS <= self.odd.quarters && self.odd.is_above == (0.0 < off);
        let limit = if was_odd { 0.5 * band } else { band };
        let is_far = is_known && limit < off.abs();
        if is_far {
            let Odd { quarters, is_above, since, .. } = self.odd;
            let goes_on = 0 < quarters && is_above == (0.0 < off);
            self.odd = Odd {
                quarters: if goes_on { quarters.saturating_add(1) } else { 1 },
                is_above: 0.0 < off,
                since: if goes_on { since } else { u32::try_from(began).unwrap_or_default() },
                rate: 2.0_f64.powf(log) as f32,
                usual: 2.0_f64.powf(usual) as f32,
            };
        } else {
            self.odd = Odd::default();
        }
        let distance = (log - kind_of).abs().min(if is_known { band } else { f64::INFINITY });
        let share = SLOW.max(1.0 / f64::from(self.seen[0].saturating_add(self.seen[1]).max(1)));
        self.scale += (share * (distance - f64::from(self.scale))) as f32;
        is_far
    }
}

/// Quarters since the epoch, of a second since then.
fn quarter(second: i64) -> i64 {
    second.div_euclid(WIDTH)
}

/// 0 for working days, 1 for weekends. The epoch was a Thursday.
fn kind(quarter: i64) -> usize {
    let day = (quarter.div_euclid(96) + 3).rem_euclid(7);
    usize::from(5 <= day)
}

/// Hour of the week.
fn hour(quarter: i64) -> usize {
    usize::try_from(quarter.div_euclid(4).rem_euclid(168)).unwrap_or(0)
}

fn index(quarter: i64) -> usize {
    let bin = usize::try_from(quarter.rem_euclid(96)).unwrap_or(0);
    kind(quarter) * BINS + bin
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Duration = Duration::from_mins(4);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Plays so many days of a load, in items a second, a look every minute.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    fn played(days: i64, level: impl Fn(i64) -> f64) -> Forecast {
        let mut forecast = Forecast::default();
        let mut arrived = 0.0;
        for second in (0..days * 86_400).step_by(60) {
            forecast.observe(arrived as u64, level(second), LEAD, at(second));
            arrived += 60.0 * level(second);
        }
        forecast
    }

    /// Twice as much in the second half of each hour of the day, rising in a line.
    fn waves(second: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a day")]
        let day = (second.rem_euclid(86_400)) as f64 / 86_400.0;
        200.0 - 150.0 * (24.0 * std::f64::consts::PI * day).cos()
    }

    #[test]
    fn what_comes_every_day_is_forecast_once_it_has_proved_better() {
        let forecast = played(4, waves);
        let rises = 4 * 86_400 + 1_500;
        let ratio = forecast.ratio(LEAD, at(rises)).unwrap();
        let truth = waves(rises + 240) / waves(rises);
        assert!((ratio / truth - 1.0).abs() < 0.1, "{ratio}, in truth {truth}");
        assert_eq!(forecast.unusual(), None);
    }

    #[test]
    fn a_load_that_knows_no_hour_is_not_forecast() {
        let forecast = played(4, |second| {
            let mixed = (second / 600).wrapping_mul(6_364_136_223_846_793_005) >> 33;
            if mixed & 1 == 0 { 100.0 } else { 200.0 }
        });
        assert_eq!(forecast.ratio(LEAD, at(4 * 86_400)), None);
    }

    #[test]
    fn nothing_is_said_in_the_first_days() {
        assert_eq!(played(1, waves).ratio(LEAD, at(86_400)), None);
        let early = played(2, |second| if second < 86_400 { waves(second) } else { 5.0 });
        assert_eq!(early.unusual(), None);
    }

    #[test]
    fn what_is_far_from_the_usual_is_told_after_half_an_hour_with_both_figures() {
        let broken = 6 * 86_400 + 43_200;
        let load = |second| if second < broken { waves(second) } else { 0.2 * waves(second) };
        let day = |seconds: i64| {
            let mut forecast = Forecast::default();
            let mut arrived = 0.0;
            for second in (0..broken + seconds).step_by(60) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small"
                )]
                forecast.observe(arrived as u64, load(second), LEAD, at(second));
                arrived += 60.0 * load(second);
            }
            forecast.unusual()
        };
        assert_eq!(day(1_200), None);
        let unusual = day(2_400).unwrap();
        assert_eq!(unusual.since, at(broken));
        assert!((unusual.rate / unusual.usual - 0.2).abs() < 0.03, "{unusual:?}");
    }

    #[test]
    fn weekends_have_a_profile_of_their_own() {
        // 3 January 1970 was a Saturday.
        let is_weekend = |second: i64| 5 <= (second.div_euclid(86_400) + 3).rem_euclid(7);
        let forecast = played(21, |second| if is_weekend(second) { 20.0 } else { 200.0 });
        assert_eq!(forecast.unusual(), None);
        assert!(forecast.usual(at(9 * 86_400 + 40_000)).unwrap() < 5.0);
        assert!(7.0 < forecast.usual(at(12 * 86_400 + 40_000)).unwrap());
    }
}
