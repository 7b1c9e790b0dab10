//! What arrives at the first stages: a shape over time, scaled to a peak, and the texture of single items on it. Read by the
//! scenario, used by the world once at the start, so that every policy meets the same arrivals.

use serde::Deserialize;

use super::chance::{Chance, Tag};
use super::span::Span;

mod shape;
mod trace;

pub use shape::{
    Diurnal, Flash, Outage, Pulses, Ragged, Ramp, Rare, Spikes, Steady, Steps, Switching, Week,
};
pub use trace::{Join, Trace, TraceFault};

/// What arrives at a stage from outside.
#[derive(Debug, Clone)]
pub struct Workload {
    /// How the load moves.
    pub shape: Shape,
    /// How high it gets.
    pub peak: Peak,
    /// Variance of the items in a second divided by their mean: 1 is Poisson (the default), 0 a smooth flow, more is burstier.
    pub dispersion: f64,
}

/// How high the load gets at its highest, over the whole scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Peak {
    /// As the shape says; only a trace says anything but 1.
    AsIs,
    /// Items a second.
    Rate(f64),
    /// What so many replicas get through at their nominal rate.
    Replicas(f64),
}

/// How the load moves. All but a trace are between 0 and 1 until they are scaled to the peak.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Always the same.
    Steady(Steady),
    /// Levels, each held for a while.
    Steps(Steps),
    /// Up and down by a factor an hour.
    Ramp(Ramp),
    /// Day and night.
    Diurnal(Diurnal),
    /// Days, and weekends that are quieter.
    Week(Week),
    /// A few states, switched at random (a Markov-modulated Poisson process).
    Switching(Switching),
    /// Calm, then a crowd all at once.
    Flash(Flash),
    /// A producer that stops, and comes back with what it held.
    Outage(Outage),
    /// Nothing for long, then a burst.
    Rare(Rare),
    /// Short bursts far above the mean.
    Spikes(Spikes),
    /// High and low by the clock.
    Pulses(Pulses),
    /// A level that changes all the time.
    Ragged(Ragged),
    /// Real load.
    Trace(Trace),
}

impl Workload {
    /// Mean items a second for each second. `rate` is what one replica nominally gets through; `which` tells stages apart.
    pub fn rates(&self, seconds: u32, rate: f64, seed: u64, which: u64) -> Vec<f64> {
        let mut chance = Chance::new(seed, Tag::Shape, which);
        let mut rates = self.shape.draw(seconds, &mut chance);
        let highest = rates.iter().copied().fold(0.0, f64::max);
        let scale = match self.peak {
            Peak::AsIs => 1.0,
            Peak::Rate(peak) => peak / highest,
            Peak::Replicas(count) => count * rate / highest,
        };
        if scale.is_finite() {
            for rate in &mut rates {
                *rate *= scale;
            }
        }
        rates
    }

    /// Items that arrive in each second: the mean with its texture. A dispersion above 1 is a compound Poisson process: batches of
    /// that size; below 1 it is normal, cut at nothing.
    pub fn arrivals(&self, seconds: u32, rate: f64, seed: u64, which: u64) -> Vec<f64> {
        let mut arrivals = self.rates(seconds, rate, seed, which);
        let mut chance = Chance::new(seed, Tag::Texture, which);
        let dispersion = self.dispersion;
        if dispersion <= 0.0 {
            return arrivals;
        }
        for items in &mut arrivals {
            *items = if dispersion < 1.0 {
                (*items + (dispersion * *items).sqrt() * chance.normal()).max(0.0)
            } else {
                dispersion * chance.poisson(*items / dispersion)
            };
        }
        arrivals
    }
}

impl Shape {
    fn draw(&self, seconds: u32, chance: &mut Chance) -> Vec<f64> {
        match self {
            Self::Steady(_) => vec![1.0; seconds as usize],
            Self::Steps(shape) => shape.draw(seconds, chance),
            Self::Ramp(shape) => shape.draw(seconds),
            Self::Diurnal(shape) => shape.draw(seconds),
            Self::Week(shape) => shape.draw(seconds),
            Self::Switching(shape) => shape.draw(seconds, chance),
            Self::Flash(shape) => shape.draw(seconds, chance),
            Self::Outage(shape) => shape.draw(seconds),
            Self::Rare(shape) => shape.draw(seconds, chance),
            Self::Spikes(shape) => shape.draw(seconds, chance),
            Self::Pulses(shape) => shape.draw(seconds),
            Self::Ragged(shape) => shape.draw(seconds, chance),
            Self::Trace(trace) => trace.draw(seconds),
        }
    }
}

/// A workload as it is written: one shape, one peak.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Written {
    steady: Option<Steady>,
    steps: Option<Steps>,
    ramp: Option<Ramp>,
    diurnal: Option<Diurnal>,
    week: Option<Week>,
    switching: Option<Switching>,
    flash: Option<Flash>,
    outage: Option<Outage>,
    rare: Option<Rare>,
    spikes: Option<Spikes>,
    pulses: Option<Pulses>,
    ragged: Option<Ragged>,
    trace: Option<WrittenTrace>,
    peak_replicas: Option<f64>,
    peak_rate: Option<f64>,
    dispersion: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenTrace {
    /// Relative to the scenario file.
    file: String,
    /// Where in the trace the scenario begins.
    #[serde(default)]
    from: Span,
    /// Held from row to row, or joined by lines.
    #[serde(default)]
    join: Join,
    /// Begins again at its end.
    #[serde(default)]
    repeat: bool,
}

/// The names a shape can have, for the hint.
const SHAPES: &str = "steady, steps, ramp, diurnal, week, switching, flash, outage, rare, spikes, pulses, ragged, trace";

impl Written {
    /// The workload; `open` finds the text of a trace. What is wrong comes with the field it is about.
    pub(super) fn read(
        self,
        seconds: u32,
        open: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Workload, (&'static str, String)> {
        let is_trace = self.trace.is_some();
        let peak = match (self.peak_replicas, self.peak_rate) {
            (Some(_), Some(_)) => {
                return Err(("peakRate", "peakReplicas says the same already".into()));
            }
            (Some(count), None) if 0.0 < count && count.is_finite() => Peak::Replicas(count),
            (None, Some(rate)) if 0.0 < rate && rate.is_finite() => Peak::Rate(rate),
            (Some(_), None) => return Err(("peakReplicas", "must be above 0".into())),
            (None, Some(_)) => return Err(("peakRate", "must be above 0".into())),
            (None, None) if is_trace => Peak::AsIs,
            (None, None) => {
                let hint = "says no peak; hint: peakReplicas: 20 is what 20 replicas get through, \
                            peakRate: 2000 items a second";
                return Err(("", hint.into()));
            }
        };
        let dispersion = self.dispersion.unwrap_or(1.0);
        if !(0.0..=1e6).contains(&dispersion) {
            return Err(("dispersion", "must be from 0 (smooth) over 1 (Poisson) to 1e6".into()));
        }
        let trace = self.trace.map(|trace| trace.read(seconds, open)).transpose();
        let trace = trace.map_err(|fault| ("trace", fault))?;
        let shapes = [
            self.steady.map(Shape::Steady),
            self.steps.map(Shape::Steps),
            self.ramp.map(Shape::Ramp),
            self.diurnal.map(Shape::Diurnal),
            self.week.map(Shape::Week),
            self.switching.map(Shape::Switching),
            self.flash.map(Shape::Flash),
            self.outage.map(Shape::Outage),
            self.rare.map(Shape::Rare),
            self.spikes.map(Shape::Spikes),
            self.pulses.map(Shape::Pulses),
            self.ragged.map(Shape::Ragged),
            trace.map(Shape::Trace),
        ];
        let mut shapes = shapes.into_iter().flatten();
        match (shapes.next(), shapes.next()) {
            (Some(shape), None) => {
                shape.check()?;
                Ok(Workload { shape, peak, dispersion })
            }
            _ => Err((
                "",
                format!(
                    "needs exactly one shape; hint: one of {SHAPES}, for example diurnal: {{}}"
                ),
            )),
        }
    }
}

impl WrittenTrace {
    fn read(
        self,
        seconds: u32,
        open: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Trace, String> {
        let text = open(&self.file)?;
        let trace = Trace::read(&text, self.from, self.join, self.repeat);
        let trace = trace.map_err(|fault| format!("{}: {fault}", self.file))?;
        let (has, needs) = (trace.seconds(), self.from.seconds() + f64::from(seconds));
        if !self.repeat && has < needs {
            let (has, needs) = (Span::of(has), Span::of(needs));
            return Err(format!(
                "{} lasts {has}, and from and duration ask for {needs}; hint: shorten duration, or say repeat: true",
                self.file
            ));
        }
        Ok(trace)
    }
}
