//! How much more than arrives now may come before new pods are at work: learned from what came before, so that a stage whose pods start
//! slowly keeps room for it. Fed by `knowledge` once a turn; read by `demand` and `slack`.
//!
//! New pods come a lead after the load has changed. What arrived in that time and is by then older than the goal, the present ones must
//! have served: `A(v)` items by `v + goal`, for each `v` up to `lead - goal`. So for one instant after the other it is noted what capacity
//! would have done, as a multiple of what arrived then, and the room kept is a quantile of these: the order-up-to level of a stock with a
//! lead time (Arrow, Harris and Marschak 1951), in rates instead of goods. No model of the load is needed. Where pods come before
//! anything is late nothing is kept.
//!
//! A multiple alone says too much where a load is on or off: out of next to nothing it grows a thousandfold, and is then at its height.
//! So the most that was ever needed is remembered, too, in items a second, and room is kept for no more than that.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::evidence::float;
use super::memory::StageMemory;
use super::need::GOAL;
use super::pipeline::{Prefer, Stage};
use super::stage::Turn;
use super::writes::span;

/// Instants watched at a time.
const WATCHED: usize = 4;
/// Bins of the multiple, by its logarithm: so many to a doubling, and so many in all. The first is for 1 and less.
const FINE: f64 = 8.0;
const BINS: usize = 20;
/// What was learned fades to a half in so many seconds.
const FADES: f64 = 86_400.0;
/// The most that was needed fades to a half in so many: a load that swings by the day or the week must find it again.
const RECORD_FADES: f64 = 7.0 * 86_400.0;
/// A record is broken now and then: so much more than it is kept room for.
const BEYOND: f64 = 1.1;
/// Nothing is said before so many leads were watched.
const ENOUGH: f32 = 20.0;
/// Fewer items than this in a lead are chance.
const ITEMS: f64 = 30.0;

/// What is remembered of surges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Surge {
    watched: [Option<Mark>; WATCHED],
    /// How often each multiple would have been needed; the sum is in leads.
    bins: [f32; BINS],
    /// The most that was needed, in items a second.
    #[serde(default)]
    record: f32,
}

/// The room to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    /// So many times what arrives, at least 1.
    factor: f64,
    /// So many times what arrives is expected at this time of day.
    expects: f64,
    /// No more than this, in items a second.
    most: f64,
}

impl Room {
    const NONE: Self = Self { factor: 1.0, expects: 1.0, most: f64::INFINITY };

    /// As a multiple of so many items a second, at least 1. What was needed of pods that kept up says nothing where they do not: then all
    /// that comes waits for new ones, and how high the level is shows only later.
    pub(super) fn over(&self, arrivals: f64, is_carried: bool) -> f64 {
        let most = if is_carried && 0.0 < arrivals { self.most / arrivals } else { f64::INFINITY };
        (self.factor * self.expects).min(most.max(self.expects)).max(1.0)
    }

    /// Is it the time of day that asks for it?
    pub(super) fn is_forecast(&self) -> bool {
        self.factor < self.expects
    }
}

/// An instant that is watched for as long as what came after it is the present pods' to serve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Mark {
    at: Timestamp,
    /// Items that had arrived by then, and how many arrived in a second.
    arrived: u64,
    level: f32,
    /// The multiple of that needed so far.
    needed: f32,
}

/// What a turn shows. Items and seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) at: Timestamp,
    /// Items since the record began.
    pub(super) arrived: u64,
    /// Items a second that are to be expected.
    pub(super) level: f64,
    /// How long before new pods are at work something may be late; above 0.
    pub(super) exposed: f64,
    /// The delay that may be reached.
    pub(super) goal: f64,
}

impl Surge {
    /// Takes in a turn.
    #[expect(clippy::cast_possible_truncation, reason = "seven figures are plenty")]
    pub(super) fn observe(&mut self, flow: &Flow) {
        let &Flow { at, arrived, level, exposed, goal } = flow;
        let step = exposed / float(WATCHED as u64);
        let mut done = Vec::new();
        let mut latest = f64::INFINITY;
        for place in &mut self.watched {
            let Some(mark) = place else { continue };
            let passed = span(mark.at, at).as_secs_f64();
            latest = latest.min(passed);
            let came = float(arrived.saturating_sub(mark.arrived));
            let needed = came / (passed + goal).max(1.0) / f64::from(mark.level);
            mark.needed = mark.needed.max(needed as f32);
            if exposed <= passed {
                done.push((mark.needed, mark.level));
                *place = None;
            }
        }
        for (needed, level) in done {
            self.record *= 0.5_f64.powf(step / RECORD_FADES) as f32;
            self.record = self.record.max(needed * level);
            self.note(f64::from(needed), 1.0 / float(WATCHED as u64), step);
        }
        let is_flow = ITEMS <= level * (exposed + goal);
        if step <= latest
            && is_flow
            && let Some(place) = self.watched.iter_mut().find(|place| place.is_none())
        {
            *place = Some(Mark { at, arrived, level: level as f32, needed: 0.0 });
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to int cast saturates, and bins are few"
    )]
    fn note(&mut self, needed: f64, weight: f64, seconds: f64) {
        let kept = 0.5_f64.powf(seconds / FADES) as f32;
        self.bins.iter_mut().for_each(|bin| *bin *= kept);
        let bin = (needed.max(1.0).log2() * FINE).ceil() as usize;
        self.bins[bin.min(BINS - 1)] += weight as f32;
    }

    /// The capacity to keep, as a multiple of what arrives: at least 1, at most 5.2. One in 20, 100 or 500 instants would have needed
    /// more, by what is preferred.
    pub(super) fn factor(&self, prefer: Prefer) -> f64 {
        let all: f32 = self.bins.iter().sum();
        if all < ENOUGH {
            return 1.0;
        }
        let rare = match prefer {
            Prefer::Cost => 0.05,
            Prefer::Balanced => 0.01,
            Prefer::Latency => 0.002,
        };
        let mut above = 0.0;
        for (bin, weight) in self.bins.iter().enumerate().rev() {
            above += weight / all;
            if rare < above {
                return 2.0_f64.powf(float(bin as u64) / FINE);
            }
        }
        1.0
    }
}

impl StageMemory {
    /// For how long before new pods are at work something may be late, and the delay that may be reached, in seconds; `None` where pods
    /// come in time.
    pub(super) fn exposed(&self, stage: &Stage, poll: Duration) -> Option<(f64, f64)> {
        let goal = GOAL * stage.max_delay?.as_secs_f64();
        let lead = self.lead(poll).as_secs_f64();
        (goal < lead).then_some((lead - goal, goal))
    }

    /// What may come before new pods are at work, for which room is kept.
    pub(super) fn room(&self, stage: &Stage, poll: Duration, at: Timestamp) -> Room {
        let factor = self.exposed(stage, poll).map(|_| self.surge.factor(stage.prefer));
        let Some(factor) = factor.filter(|factor| 1.0 < *factor) else { return Room::NONE };
        let most = BEYOND * f64::from(self.surge.record);
        Room { factor, expects: self.expects(stage, poll, at), most }
    }

    /// Watches how much more comes while pods start than was to be expected: `expects` times what arrives.
    pub(super) fn watch_surge(
        &mut self,
        turn: &Turn<'_>,
        arrivals: Option<Arrivals>,
        arrived: Option<u64>,
        expects: f64,
    ) {
        if let Some((exposed, goal)) = self.exposed(turn.stage, turn.evidence.poll())
            && turn.evidence.is_fresh()
            && let (Some(Arrivals { minute, .. }), Some(arrived)) = (arrivals, arrived)
        {
            let level = minute * expects;
            self.surge.observe(&Flow { at: turn.at, arrived, level, exposed, goal });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Plays a load of a day, in items a second, to pods that come 200 s too late for a goal of 50 s.
    fn learned(level: impl Fn(i64) -> f64) -> Surge {
        let mut surge = Surge::default();
        let mut arrived = 0.0;
        for second in (0..86_400).step_by(5) {
            arrived += 5.0 * level(second);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            surge.observe(&Flow {
                at: at(second),
                arrived: arrived as u64,
                level: level(second),
                exposed: 200.0,
                goal: 50.0,
            });
        }
        surge
    }

    fn assert_no_room(level: impl Fn(i64) -> f64) {
        let factor = learned(level).factor(Prefer::Latency);
        assert!((factor - 1.0).abs() < 1e-9, "{factor}");
    }

    #[test]
    fn a_level_load_needs_no_room() {
        assert_no_room(|_| 100.0);
    }

    #[test]
    fn what_doubles_every_hour_needs_room_for_it() {
        let surge = learned(|second| if second % 3600 < 600 { 200.0 } else { 100.0 });
        // One instant in a hundred has such a step within its next 36 s: 36 s of one level and 164 s of two are to be served in 250 s,
        // that is 1.46 times what arrived then, and bins round up.
        let factor = surge.factor(Prefer::Balanced);
        assert!((1.46..1.6).contains(&factor), "{factor}");
        assert!(surge.factor(Prefer::Cost) <= factor && factor <= surge.factor(Prefer::Latency));
    }

    #[test]
    fn nothing_is_said_of_a_load_not_watched_for_long_or_of_a_few_items() {
        assert_no_room(
            |second| if second < 3000 { 100.0 * f64::from(second < 1500) + 100.0 } else { 0.0 },
        );
        assert_no_room(|second| if second % 600 < 300 { 0.1 } else { 0.01 });
    }
}
