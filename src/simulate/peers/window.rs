//! What a rule remembers of the recent past: a counter's rate over a window, and the largest of recent wishes. Used by the peers.

use std::collections::VecDeque;

/// Readings of a counter over a sliding window, as a metrics server keeps them.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    /// Seconds kept.
    span: f64,
    readings: VecDeque<(f64, f64)>,
}

impl Counter {
    pub(super) fn new(span: f64) -> Self {
        Self { span, readings: VecDeque::new() }
    }

    /// Takes a reading, and forgets all but one of those older than the window.
    pub(super) fn push(&mut self, at: f64, value: f64) {
        self.readings.push_back((at, value));
        while self.readings.get(1).is_some_and(|&(then, _)| then <= at - self.span) {
            self.readings.pop_front();
        }
    }

    /// Growth per second over the last `over` seconds, or over what there is of them; `None` before there are two readings.
    pub(super) fn rate(&self, over: f64) -> Option<f64> {
        let &(at, value) = self.readings.back()?;
        let old = self.readings.iter().rev().find(|&&(then, _)| then <= at - over);
        let &(then, before) = old.or_else(|| self.readings.front())?;
        (then < at).then(|| ((value - before) / (at - then)).max(0.0))
    }
}

/// Wishes of a sliding window, of which the largest counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Highs(VecDeque<(f64, u32)>);

impl Highs {
    /// Notes a wish; those it exceeds no longer count.
    pub(super) fn push(&mut self, at: f64, wish: u32) {
        while self.0.back().is_some_and(|&(_, old)| old <= wish) {
            self.0.pop_back();
        }
        self.0.push_back((at, wish));
    }

    /// The largest wish since then, that instant included.
    pub(super) fn largest_since(&mut self, since: f64) -> Option<u32> {
        while self.0.front().is_some_and(|&(then, _)| then < since) {
            self.0.pop_front();
        }
        self.0.front().map(|&(_, wish)| wish)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
