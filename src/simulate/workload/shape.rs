//! The shapes of made-up load, each between 0 and 1 for every second; the workload scales them to a peak. Defaults are those of the
//! benchmark of decision quality: three days of each.

use std::f64::consts::TAU;

use serde::Deserialize;

use crate::simulate::chance::Chance;
use crate::simulate::span::Span;

const DAY: f64 = 86_400.0;

/// Always the same.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steady {}

/// Levels from 1/n to 1 in a random order, each held for a while; never the same twice in a row.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Steps {
    /// How many. Default 8.
    pub levels: u32,
    /// How long each is held. Default 90m.
    pub hold: Span,
}

/// From low to high and back, by a factor each hour, with a rest at both ends.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ramp {
    /// The lowest, as a share of the peak. Default 0.04.
    pub low: f64,
    /// Factor within an hour. Default 5.
    pub per_hour: f64,
    /// How long it stays low and high. Default 1h.
    pub hold: Span,
}

/// Day and night: a wave of a day and one of half a day; highest at two in the afternoon.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Diurnal {
    /// The lowest, as a share of the peak. Default 0.2.
    pub low: f64,
}

/// Days as in `diurnal`, five of them busy and two quieter.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Week {
    /// The lowest of a busy day, as a share of the peak. Default 0.2.
    pub low: f64,
    /// A weekend's load, as a share of a busy day's. Default 0.5.
    pub weekend: f64,
}

/// A few states, evenly spaced up to 1, each kept for a random time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Switching {
    /// How many. Default 4.
    pub states: u32,
    /// Kept at least so long. Default 2m.
    pub shortest: Span,
    /// And at most. Default 15m.
    pub longest: Span,
}

/// Calm, then a crowd: up within 40 s, and gone by a factor of e every 25 min.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Flash {
    /// The calm, as a share of the peak. Default 0.15.
    pub low: f64,
    /// Mean time between two crowds. Default 8h.
    pub every: Span,
    /// How long a crowd takes to come. Default 40s.
    pub rise: Span,
    /// In which it shrinks by a factor of e. Default 25m.
    pub decay: Span,
}

/// A producer that stops for a while, then sends what it held on top of what is new.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Outage {
    /// Time from one to the next. Default 6h.
    pub every: Span,
    /// How long it stops. Default 5m.
    pub lasts: Span,
    /// What comes afterwards, as a multiple of the usual. Default 3.5.
    pub burst: f64,
    /// For how long. Default 2m.
    pub burst_lasts: Span,
}

/// Nothing for long, then a burst of random height.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Rare {
    /// Mean time between two bursts. Default 2h.
    pub every: Span,
    /// A burst lasts at least this long. Default 30s.
    pub shortest: Span,
    /// And at most. Default 5m.
    pub longest: Span,
}

/// Short bursts far above what comes between them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Spikes {
    /// Height, as a multiple of what comes between. Default 30.
    pub height: f64,
    /// Mean time between two. Default 10m.
    pub every: Span,
    /// A spike lasts at least this long. Default 30s.
    pub shortest: Span,
    /// And at most. Default 2m.
    pub longest: Span,
}

/// High and low by the clock, as work comes from jobs that run every few minutes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Pulses {
    /// The lower level, as a share of the peak. Default 0.2.
    pub low: f64,
    /// From one pulse to the next. Default 4m.
    pub every: Span,
    /// How long each lasts. Default 2m.
    pub lasts: Span,
}

/// A level that changes all the time, up or down at random, between a tenth and 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ragged {
    /// By how much, as a share. Default 0.3.
    pub change: f64,
    /// How often. Default 5m.
    pub every: Span,
}

impl Default for Steps {
    fn default() -> Self {
        Self { levels: 8, hold: Span::of(5400.0) }
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self { low: 0.04, per_hour: 5.0, hold: Span::of(3600.0) }
    }
}

impl Default for Diurnal {
    fn default() -> Self {
        Self { low: 0.2 }
    }
}

impl Default for Week {
    fn default() -> Self {
        Self { low: 0.2, weekend: 0.5 }
    }
}

impl Default for Switching {
    fn default() -> Self {
        Self { states: 4, shortest: Span::of(120.0), longest: Span::of(900.0) }
    }
}

impl Default for Flash {
    fn default() -> Self {
        let (every, rise, decay) = (Span::of(28_800.0), Span::of(40.0), Span::of(1500.0));
        Self { low: 0.15, every, rise, decay }
    }
}

impl Default for Outage {
    fn default() -> Self {
        let (every, lasts, burst_lasts) = (Span::of(21_600.0), Span::of(300.0), Span::of(120.0));
        Self { every, lasts, burst: 3.5, burst_lasts }
    }
}

impl Default for Rare {
    fn default() -> Self {
        Self { every: Span::of(7200.0), shortest: Span::of(30.0), longest: Span::of(300.0) }
    }
}

impl Default for Spikes {
    fn default() -> Self {
        let (every, shortest, longest) = (Span::of(600.0), Span::of(30.0), Span::of(120.0));
        Self { height: 30.0, every, shortest, longest }
    }
}

impl Default for Pulses {
    fn default() -> Self {
        Self { low: 0.2, every: Span::of(240.0), lasts: Span::of(120.0) }
    }
}

impl Default for Ragged {
    fn default() -> Self {
        Self { change: 0.3, every: Span::of(300.0) }
    }
}

impl Steps {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let count = self.levels.max(2);
        let mut order: Vec<u32> = (1..=count).collect();
        let mut left = 0;
        let mut level = 0;
        pieces(seconds, || {
            if left == 0 {
                left = order.len();
                chance.shuffle(&mut order);
                if order[left - 1] == level {
                    order.swap(0, left - 1);
                }
            }
            left -= 1;
            level = order[left];
            (self.hold.steps(), f64::from(level) / f64::from(count))
        })
    }
}

impl Ramp {
    pub(super) fn draw(self, seconds: u32) -> Vec<f64> {
        let climb = (1.0 / self.low).ln() / self.per_hour.ln() * 3600.0;
        let hold = self.hold.seconds();
        let cycle = 2.0 * (climb + hold);
        let at = |second: u32| {
            let phase = f64::from(second) % cycle;
            let up = (phase - hold).clamp(0.0, climb);
            let down = (phase - climb - 2.0 * hold).clamp(0.0, climb);
            self.low * self.per_hour.powf((up - down) / 3600.0)
        };
        (0..seconds).map(at).collect()
    }
}

impl Diurnal {
    fn at(self, second: u32) -> f64 {
        let phase = TAU * (f64::from(second) / DAY - 14.0 / 24.0);
        // Between -1.13 and 1: the second wave makes the day broad and the night narrow.
        let wave = (phase.cos() + 0.2 * (2.0 * phase).cos() - 0.2).clamp(-1.0, 1.0);
        self.low + (1.0 - self.low) * (1.0 + wave) / 2.0
    }

    pub(super) fn draw(self, seconds: u32) -> Vec<f64> {
        (0..seconds).map(|second| self.at(second)).collect()
    }
}

impl Week {
    pub(super) fn draw(self, seconds: u32) -> Vec<f64> {
        let day = Diurnal { low: self.low };
        let at = |second: u32| {
            let is_weekend = 5 <= second / 86_400 % 7;
            day.at(second) * if is_weekend { self.weekend } else { 1.0 }
        };
        (0..seconds).map(at).collect()
    }
}

impl Switching {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let states = f64::from(self.states.max(2));
        let mut state = 0.0;
        pieces(seconds, || {
            // Any state but the present one.
            let step = 1.0 + (chance.unit() * (states - 1.0)).floor();
            state = (state + step) % states;
            let stay = chance.between(self.shortest.seconds(), self.longest.seconds());
            (Span::of(stay).steps(), (state + 1.0) / states)
        })
    }
}

impl Flash {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let (rise, decay) = (self.rise.seconds().max(1.0), self.decay.seconds().max(1.0));
        let mut crowd = 0.0_f64;
        let mut next = 0.5 * self.every.seconds();
        let mut at = |second: u32| {
            let now = f64::from(second);
            if next <= now && now < next + rise {
                crowd = crowd.max((now - next + 1.0) / rise).min(1.0);
            } else {
                if next + rise <= now {
                    next = now + (0.25 + chance.exponential(0.75)) * self.every.seconds();
                }
                crowd *= (-1.0 / decay).exp();
            }
            self.low + (1.0 - self.low) * crowd
        };
        (0..seconds).map(&mut at).collect()
    }
}

impl Outage {
    pub(super) fn draw(self, seconds: u32) -> Vec<f64> {
        let every = self.every.seconds().max(1.0);
        let (lasts, burst_lasts) = (self.lasts.seconds(), self.burst_lasts.seconds());
        let at = |second: u32| {
            let phase = (f64::from(second) - 0.5 * every).rem_euclid(every);
            if phase < lasts {
                0.0
            } else if phase < lasts + burst_lasts {
                1.0
            } else {
                1.0 / self.burst.max(1.0)
            }
        };
        (0..seconds).map(at).collect()
    }
}

impl Rare {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let mut is_burst = true;
        pieces(seconds, || {
            is_burst = !is_burst;
            if is_burst {
                let lasts = chance.between(self.shortest.seconds(), self.longest.seconds());
                (Span::of(lasts).steps(), chance.between(0.2, 1.0))
            } else {
                (Span::of(chance.exponential(self.every.seconds())).steps(), 0.0)
            }
        })
    }
}

impl Spikes {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let mut is_spike = true;
        pieces(seconds, || {
            is_spike = !is_spike;
            if is_spike {
                let lasts = chance.between(self.shortest.seconds(), self.longest.seconds());
                (Span::of(lasts).steps(), 1.0)
            } else {
                let gap = chance.exponential(self.every.seconds());
                (Span::of(gap).steps(), 1.0 / self.height.max(1.0))
            }
        })
    }
}

impl Pulses {
    pub(super) fn draw(self, seconds: u32) -> Vec<f64> {
        let (every, lasts) = (self.every.seconds(), self.lasts.seconds());
        let at = |second: u32| if f64::from(second) % every < lasts { 1.0 } else { self.low };
        (0..seconds).map(at).collect()
    }
}

impl Ragged {
    pub(super) fn draw(self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        let mut level = 0.4;
        pieces(seconds, || {
            let factor = 1.0 + self.change;
            let (up, down) = (level * factor, level / factor);
            // Drawn back to the middle, so that it wanders for ever.
            let chance_of_up = if 1.0 < up {
                0.0
            } else if down < 0.1 {
                1.0
            } else {
                0.5
            };
            level = if chance.unit() < chance_of_up { up } else { down };
            (self.every.steps(), level)
        })
    }
}

/// Draws piece by piece: each is a length in seconds and a level.
fn pieces(seconds: u32, mut next: impl FnMut() -> (u32, f64)) -> Vec<f64> {
    let mut rates = Vec::with_capacity(seconds as usize);
    while rates.len() < seconds as usize {
        let (lasts, level) = next();
        let until = rates.len() + lasts.max(1) as usize;
        rates.resize(until.min(seconds as usize), level);
    }
    rates
}

impl super::Shape {
    /// Whether its numbers make sense; else the field and the rule.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let share = |field, share: f64| {
            let is_share = 0.0 < share && share <= 1.0;
            is_share
                .then_some(())
                .ok_or_else(|| (field, "must be above 0 and at most 1".to_owned()))
        };
        let above = |field, value: f64, least: f64| {
            (least < value && value < 1e9)
                .then_some(())
                .ok_or_else(|| (field, format!("must be above {least}")))
        };
        match self {
            Self::Steady(_) | Self::Trace(_) => Ok(()),
            Self::Steps(it) => above("steps.levels", f64::from(it.levels), 1.0)
                .and_then(|()| above("steps.hold", it.hold.seconds(), 0.0)),
            Self::Ramp(it) => share("ramp.low", it.low)
                .and_then(|()| above("ramp.perHour", it.per_hour, 1.0))
                .and_then(|()| above("ramp.hold", it.hold.seconds(), 0.0)),
            Self::Diurnal(it) => share("diurnal.low", it.low),
            Self::Week(it) => {
                share("week.low", it.low).and_then(|()| share("week.weekend", it.weekend))
            }
            Self::Switching(it) => above("switching.states", f64::from(it.states), 1.0)
                .and_then(|()| above("switching.shortest", it.shortest.seconds(), 0.0)),
            Self::Flash(it) => share("flash.low", it.low)
                .and_then(|()| above("flash.every", it.every.seconds(), 0.0)),
            Self::Outage(it) => above("outage.every", it.every.seconds(), 0.0)
                .and_then(|()| above("outage.burst", it.burst, 1.0)),
            Self::Rare(it) => above("rare.every", it.every.seconds(), 0.0),
            Self::Spikes(it) => above("spikes.every", it.every.seconds(), 0.0)
                .and_then(|()| above("spikes.height", it.height, 1.0)),
            Self::Pulses(it) => share("pulses.low", it.low)
                .and_then(|()| above("pulses.every", it.every.seconds(), 0.0))
                .and_then(|()| above("pulses.lasts", it.lasts.seconds(), 0.0)),
            Self::Ragged(it) => share("ragged.change", it.change)
                .and_then(|()| above("ragged.every", it.every.seconds(), 0.0)),
        }
    }
}
