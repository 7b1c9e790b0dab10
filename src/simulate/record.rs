//! What a run looked like, for plots: load, delay and replicas over time, and every move with its reason. Written by `world`, drawn by
//! `page`.

use std::borrow::Cow;

use serde::Serialize;

use super::nodes::LaneSeries;
use super::pilot::Why;

/// A plot has about so many points.
const POINTS: u32 = 1440;

/// What a stage looked like over the scored time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Series {
    /// Second of the first point.
    pub start: u32,
    /// Seconds from point to point.
    pub step: u32,
    /// Items a second that arrived, mean of each step.
    pub load: Vec<f64>,
    /// Age of the oldest item that waited, in seconds, the highest of each step.
    pub delay: Vec<f64>,
    /// Pods that existed, mean of each step.
    pub replicas: Vec<f64>,
    /// Of those, Ready.
    pub ready: Vec<f64>,
    /// Lane by lane, where it has lanes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<LaneSeries>,
}

/// A change of a replica count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Second since the scenario began.
    pub at: u32,
    /// Replicas before.
    pub from: u32,
    /// Replicas asked for.
    pub to: u32,
    /// How many of these each lane has, where there are lanes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<u32>,
    /// A word for why, where the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// And a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
}

/// Takes down what happens.
#[derive(Debug)]
pub(super) struct Recorder {
    series: Series,
    moves: Vec<Move>,
    count: u32,
    load: f64,
    delay: u32,
    replicas: f64,
    ready: f64,
}

impl Recorder {
    pub(super) fn new(start: u32, end: u32) -> Self {
        let step = end.saturating_sub(start).div_ceil(POINTS).max(1);
        Self {
            series: Series { start, step, ..Series::default() },
            moves: Vec::new(),
            count: 0,
            load: 0.0,
            delay: 0,
            replicas: 0.0,
            ready: 0.0,
        }
    }

    pub(super) fn moved(
        &mut self,
        at: u32,
        (from, to): (u32, u32),
        lanes: Vec<u32>,
        why: Option<Why>,
    ) {
        let (code, sentence) = why.map(|why| (Cow::Borrowed(why.code), why.sentence)).unzip();
        self.moves.push(Move { at, from, to, lanes, code, sentence });
    }

    /// Where its points begin, and how far apart they are.
    pub(super) fn points(&self) -> &Series {
        &self.series
    }

    pub(super) fn second(&mut self, now: u32, load: f64, delay: u32, current: u32, ready: u32) {
        if now < self.series.start {
            return;
        }
        self.load += load;
        self.delay = self.delay.max(delay);
        self.replicas += f64::from(current);
        self.ready += f64::from(ready);
        self.count += 1;
        if self.count == self.series.step {
            self.close();
        }
    }

    /// Ends the present point, if it has begun.
    pub(super) fn close(&mut self) {
        if self.count == 0 {
            return;
        }
        let seconds = f64::from(std::mem::take(&mut self.count));
        self.series.load.push(std::mem::take(&mut self.load) / seconds);
        self.series.delay.push(f64::from(std::mem::take(&mut self.delay)));
        self.series.replicas.push(std::mem::take(&mut self.replicas) / seconds);
        self.series.ready.push(std::mem::take(&mut self.ready) / seconds);
    }

    pub(super) fn into_parts(self) -> (Series, Vec<Move>) {
        (self.series, self.moves)
    }
}
