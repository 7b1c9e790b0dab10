//! What would come of other counts: for each that is worth having, what it costs until the horizon, how old its oldest item gets, and why it
//! is not the one. Called when somebody asks (`penstock explain`), never in a turn, so nothing of it is remembered; the counts are judged
//! by the very rules of `demand`.
//!
//! Costs and delays are a fluid replay of the near future, first in, first out: what arrives now goes on, and the count is held until the
//! horizon. Deciding itself keeps room for more than that.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::capacity::{Pools, Purses};
use super::demand::{self, Load, Means};
use super::figures::{number, replicas, seconds};
use super::flow::Above;
use super::jobs;
use super::knowledge::Known;
use super::memory::{Memory, StageMemory};
use super::need::{EXCESS, Lack};
use super::partitions::{breakpoints, capacity};
use super::pipeline::Stage;
use super::plan::Verdict;
use super::schedule::Bound;
use super::snapshot::{Situation, Snapshot, Target, Workload};
use super::stage::Turn;
use super::sum::Sum;

/// Looked ahead: this long at least, else twice the start of a pod and four times the objective.
const SHORTEST: f64 = 480.0;
/// Counts shown at most below the chosen one, and above it.
const BELOW: usize = 7;
const ABOVE: usize = 4;
/// The replay has about so many steps, none shorter than a second.
const STEPS: f64 = 1000.0;

/// The longest delay that is thought of, in seconds; and so many times its rate a replica may be thought to do.
const LONGEST: f64 = 86_400.0;
const FASTEST: f64 = 4.0;

/// The counts that one stage could have.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// How far it looks, in seconds.
    pub horizon: f64,
    /// By count, ascending.
    pub prospects: Vec<Prospect>,
    /// The sum behind the count that keeps the objective.
    pub sum: Sum,
    /// The shortest objective, in seconds, for which fewer replicas would be wished, and how many; `None` where the present one wishes
    /// for another count than the chosen, or none is long enough.
    pub longer: Option<(f64, u32)>,
    /// The longest objective for which more would be.
    pub shorter: Option<(f64, u32)>,
    /// The least rate of a replica, in items a second, at which fewer would be.
    pub faster: Option<(f64, u32)>,
}

impl Outlook {
    /// What to change to get another count, where the objective made this one.
    pub fn hint(&self) -> Option<String> {
        let promise =
            |(objective, count): (f64, u32)| format!("{objective:.0}s for {}", replicas(count));
        let promised: Vec<_> =
            [self.longer, self.shorter].into_iter().flatten().map(promise).collect();
        let promised = (!promised.is_empty())
            .then(|| format!("state objective.maxDelay: {}", promised.join(", or ")));
        let faster = self.faster.map(|(rate, count)| {
            format!(
                "make each replica get through {}/s, and {} would do",
                number(rate),
                replicas(count)
            )
        });
        promised.into_iter().chain(faster).reduce(|a, b| format!("{a}; or {b}"))
    }
}

/// One count, and what would come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prospect {
    /// The count.
    pub replicas: u32,
    /// Items a second that it gets through.
    pub serves: f64,
    /// Replica-seconds until the horizon, what is left to be done then included.
    pub cost: f64,
    /// Age of the oldest item at its worst, in seconds.
    pub delay: f64,
    /// Does it still grow at the horizon?
    pub is_rising: bool,
    /// For how many seconds until the horizon the objective is missed.
    pub late: f64,
    /// What speaks for or against it.
    pub fate: Fate,
}

/// What speaks for or against a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// It is the one.
    Chosen,
    /// It is the one, for now: more arrives than it serves.
    ForNow,
    /// More arrives than it serves.
    FallsBehind,
    /// What waits takes too long.
    TooSlow {
        /// Seconds in which it is planned to be done.
        planned: f64,
    },
    /// So many times what arrives may come before new pods are at work, which is more than it serves.
    NoRoom {
        /// At least 1.
        surge: f64,
    },
    /// It would just do, and fewer than now are taken with some to spare only.
    NoSpare,
    /// It would do, and so does a lower one.
    Dearer,
    /// It would do; what holds the stage at more is among the reasons.
    Kept,
    /// Fewer than there may be.
    BelowMin {
        /// What there may be at least.
        min: u32,
    },
    /// More than there may be.
    AboveMax {
        /// What there may be at most.
        max: u32,
    },
}

impl Fate {
    /// Its word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Chosen => "Chosen",
            Self::ForNow => "ForNow",
            Self::FallsBehind => "FallsBehind",
            Self::TooSlow { .. } => "TooSlow",
            Self::NoRoom { .. } => "NoRoom",
            Self::NoSpare => "NoSpare",
            Self::Dearer => "Dearer",
            Self::Kept => "Kept",
            Self::BelowMin { .. } => "BelowMin",
            Self::AboveMax { .. } => "AboveMax",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => write!(f, "this is it"),
            Self::ForNow => write!(f, "this is it for now, though it falls behind"),
            Self::FallsBehind => write!(f, "falls behind what arrives"),
            Self::TooSlow { planned } => {
                write!(
                    f,
                    "too slow for what waits: more than the {} planned with",
                    seconds(*planned)
                )
            }
            Self::NoRoom { surge } => {
                write!(f, "too few if {surge:.1} times as much comes before new pods work")
            }
            Self::NoSpare => write!(f, "just enough; to go down, some must be to spare"),
            Self::Dearer => write!(f, "would do, and costs more"),
            Self::Kept => write!(f, "would do; what holds it back is told above"),
            Self::BelowMin { min } => write!(f, "below min {min}"),
            Self::AboveMax { max } => write!(f, "above max {max}"),
        }
    }
}

/// The outlook of each stage of a pipeline, in flow order, given its latest turn: what was known (`now` has this pipeline alone), what is
/// remembered since, and what was decided. `None` for a stage that no objective sizes, or of which too little is known.
pub fn prospects(now: &Snapshot, memory: &Memory, verdicts: &[Verdict]) -> Vec<Option<Outlook>> {
    let Some(situation) = now.due.first() else { return Vec::new() };
    let pipeline = &situation.pipeline;
    let remembered = memory.of(&pipeline.id, &pipeline.uid);
    let (pools, purses) = (memory.pools(), memory.purses());
    let mut passed = Vec::new();
    let mut outlooks = Vec::new();
    for ((index, stage), verdict) in pipeline.stages.iter().enumerate().zip(verdicts) {
        let mut above = Above::default();
        for feed in stage.after.iter().filter_map(|&feed| passed.get(feed)) {
            above.push(*feed);
        }
        let bound = Bound::of(stage, now.at);
        let Some(Target::Seen(workload)) = situation.targets.get(index) else {
            passed.push(None);
            outlooks.push(None);
            continue;
        };
        let memory = remembered.stages.get(&stage.name).cloned().unwrap_or_default();
        let house = (&pools, &purses);
        let eye = Eye { now, situation, index, above, house, memory, workload };
        let (known, turn) = eye.look(&bound.stage);
        passed.push(known.passes(verdict.replicas.unwrap_or(workload.desired)));
        let load = known.load().map(|load| turn.doubts.amend(load));
        let chosen = verdict.replicas;
        let ahead =
            known.means.startup + known.means.rebalance + 2.0 * turn.evidence.poll().as_secs_f64();
        let found =
            load.and_then(|load| outlook(&bound.stage, &load, (&known.means, ahead), chosen?));
        outlooks.push(found.map(|found| eye.others(&bound.stage, chosen, known.means.rate, found)));
    }
    outlooks
}

/// All that one stage's turn saw, to be looked at again with another promise.
struct Eye<'a> {
    now: &'a Snapshot,
    situation: &'a Situation,
    index: usize,
    above: Above,
    /// What is believed of pools of nodes, and what was asked of budgets.
    house: (&'a Pools, &'a Purses),
    memory: StageMemory,
    workload: &'a Workload,
}

impl Eye<'_> {
    fn look<'b>(&'b self, stage: &'b Stage) -> (Known, Turn<'b>) {
        let Self { now, situation, index, house, workload, .. } = *self;
        let mut memory = self.memory.clone();
        let turn = Turn::new(now, situation, (index, stage), self.above.clone(), house);
        let mut turn = Turn { may_act: false, ..turn };
        let counted = jobs::counted(workload, &turn.evidence);
        let workload = counted.as_ref().unwrap_or(workload);
        let known = Known::of(&turn, &memory, Some(workload), memory.arrivals(&turn.evidence));
        memory.doubt(&mut turn, &known, &[]);
        (known, turn)
    }

    /// What would be wished with another objective, in seconds, and another rate of a replica.
    fn wish(&self, stage: &Stage, objective: f64, rate: Option<f64>) -> Option<u32> {
        let max_delay = Some(Duration::try_from_secs_f64(objective).ok()?);
        let stage = Stage { max_delay, ..stage.clone() };
        let (mut known, turn) = self.look(&stage);
        known.means.rate = rate;
        let load = known.load().map(|load| turn.doubts.amend(load));
        let bid = demand::wish(&stage, &turn.evidence, load.as_ref(), &known.means)?;
        Some(bid.replicas.max(stage.min).min(stage.max))
    }

    /// Adds what would make another count of the chosen one, if the wish alone made it.
    fn others(
        &self,
        stage: &Stage,
        chosen: Option<u32>,
        rate: Option<f64>,
        found: Outlook,
    ) -> Outlook {
        let (Some(promised), Some(chosen), Some(rate)) = (stage.max_delay, chosen, rate) else {
            return found;
        };
        let promised = promised.as_secs_f64();
        if self.wish(stage, promised, Some(rate)) != Some(chosen) {
            return found;
        }
        let with = |objective: f64| self.wish(stage, objective, Some(rate));
        let told = |objective: Option<f64>| objective.and_then(|it| Some((it, with(it)?)));
        let longer = nearest(promised, LONGEST, 1.0, |it| with(it).is_some_and(|n| n < chosen));
        let shorter = nearest(promised, 1.0, 1.0, |it| with(it).is_some_and(|n| chosen < n));
        let quick = |rate: f64| self.wish(stage, promised, Some(rate));
        let grain = 10.0_f64.powf(rate.log10().floor() - 1.0);
        let faster =
            nearest(rate, FASTEST * rate, grain, |it| quick(it).is_some_and(|n| n < chosen));
        let faster = faster.and_then(|rate| Some((rate, quick(rate)?)));
        Outlook { longer: told(longer), shorter: told(shorter), faster, ..found }
    }
}

/// The value nearest to `from` that does, in steps of `grain`, on the way to `end`, if one is found by doubling the way.
fn nearest(from: f64, end: f64, grain: f64, does: impl Fn(f64) -> bool) -> Option<f64> {
    let sign = (end - from).signum();
    // Rounded away from where it does not.
    let round = |it: f64| {
        if 0.0 < sign { (it / grain).ceil() * grain } else { (it / grain).floor() * grain }
    };
    let (mut not, mut step) = (from, grain);
    let mut far = loop {
        let next = round(from + sign * step);
        if 0.0 < sign * (next - end) {
            return None;
        }
        if does(next) {
            break next;
        }
        (not, step) = (next, 2.0 * step);
    };
    while 1.5 * grain < (far - not).abs() {
        let middle = round(f64::midpoint(far, not));
        if (middle - far).abs() < 0.5 * grain {
            break;
        }
        if does(middle) { far = middle } else { not = middle }
    }
    Some(far)
}

fn outlook(
    stage: &Stage,
    load: &Load<'_>,
    (means, ahead): (&Means, f64),
    chosen: u32,
) -> Option<Outlook> {
    let objective = stage.max_delay.filter(|_| stage.combine.is_none())?.as_secs_f64();
    let rate = means.known()?;
    if load.arrivals <= 0.0 && load.backlog < 1.0 {
        return None;
    }
    let sum = demand::sum(stage, objective, load, means, ahead)?;
    let horizon = SHORTEST.max(2.0 * means.startup + 4.0 * objective);
    let near = Ahead { load, means, rate, objective, horizon };
    let prospects = counts(stage, load, means, chosen).into_iter().map(|replicas| {
        let fate = match demand::lack(stage, objective, load, means, replicas) {
            Some(Lack::KeepUp) if replicas == chosen => Fate::ForNow,
            _ if replicas == chosen => Fate::Chosen,
            _ if replicas < stage.min => Fate::BelowMin { min: stage.min },
            _ if stage.max < replicas => Fate::AboveMax { max: stage.max },
            Some(Lack::KeepUp) => Fate::FallsBehind,
            Some(Lack::Backlog) => Fate::TooSlow { planned: sum.planned },
            Some(Lack::Room) => Fate::NoRoom { surge: load.surge },
            Some(Lack::Spare) => Fate::NoSpare,
            None if chosen < replicas => Fate::Dearer,
            None => Fate::Kept,
        };
        near.play(replicas, fate)
    });
    Some(Outlook {
        horizon,
        prospects: prospects.collect(),
        sum,
        longer: None,
        shorter: None,
        faster: None,
    })
}

/// The counts worth showing: those at which partitions fall otherwise, or where work splits at will those about the chosen one; the
/// present one and the bounds.
fn counts(stage: &Stage, load: &Load<'_>, means: &Means, chosen: u32) -> BTreeSet<u32> {
    let partitions = load.partitions.filter(|&partitions| 0 < partitions);
    let mut all: BTreeSet<u32> = if let Some(partitions) = partitions {
        breakpoints(partitions).collect()
    } else {
        let step = (chosen / 8).max(1);
        let about = (0..=8).map(|i| chosen.saturating_sub(4 * step).saturating_add(i * step));
        about.chain([chosen / 2, chosen.saturating_mul(2)]).collect()
    };
    all.remove(&0);
    let near: BTreeSet<u32> = all
        .range(..chosen)
        .rev()
        .take(BELOW)
        .chain(all.range(chosen..).take(ABOVE + 1))
        .copied()
        .collect();
    let marks = [chosen, means.desired, stage.min, stage.max.min(partitions.unwrap_or(u32::MAX))];
    near.into_iter().chain(marks).filter(|&count| 0 < count || count == chosen).collect()
}

/// The near future, if what arrives goes on.
struct Ahead<'a> {
    load: &'a Load<'a>,
    means: &'a Means,
    /// Items a second of one replica.
    rate: f64,
    /// In seconds.
    objective: f64,
    horizon: f64,
}

impl Ahead<'_> {
    /// Items a second of a count, as much as the busiest of its consumers lets it.
    fn serves(&self, count: u32) -> f64 {
        let partitions = self.load.partitions.filter(|&partitions| 0 < partitions);
        let uneven = if partitions.is_some() { self.load.skew.of(count) } else { 1.0 };
        self.rate * capacity(count, partitions) / (1.0 + EXCESS * (uneven - 1.0))
    }

    /// How long the pods there are go on alone, and how long nobody works then.
    fn change(&self, count: u32) -> (f64, f64) {
        let Means { startup, pending, rebalance, ready, desired, .. } = *self.means;
        match count {
            n if desired < n => (startup, rebalance),
            n if ready < n => (pending, rebalance),
            n if n == ready => (0.0, 0.0),
            _ => (0.0, rebalance),
        }
    }

    /// Age now of an item behind a share of what waits: what came at once is as old at its end as at its head.
    fn age(&self, share: f64) -> f64 {
        let Load { delay, tail, .. } = *self.load;
        (delay + 10.0 * share * (tail - delay).min(0.0)).max(0.0)
    }

    fn play(&self, replicas: u32, fate: Fate) -> Prospect {
        let (alone, pause) = self.change(replicas);
        let (before, after) = (self.serves(self.means.ready), self.serves(replicas));
        let (waits, arrives) = (self.load.backlog.max(0.0), self.load.arrivals.max(0.0));
        let step = (self.horizon / STEPS).max(1.0);
        let (mut at, mut done) = (0.0, 0.0);
        let (mut delay, mut late, mut last) = (0.0_f64, 0.0, 0.0);
        while at < self.horizon {
            // How much of the step falls before the change, and how much behind it.
            let until = at + step;
            let early = (alone.min(until) - at).max(0.0);
            let behind = (until - (alone + pause).max(at)).max(0.0);
            let come = waits + arrives * until;
            done = (done + before * early + after * behind).min(come);
            last = match () {
                () if come <= done + 1e-9 * come.max(1.0) => 0.0,
                () if done < waits => self.age(done / waits) + until,
                () => until - (done - waits) / arrives.max(f64::MIN_POSITIVE),
            };
            delay = delay.max(last);
            late += if self.objective < last { step } else { 0.0 };
            at = until;
        }
        let left = (waits + arrives * at - done).max(0.0);
        // In the long run: more comes than goes.
        let is_rising = after < arrives && 0.0 < left;
        Prospect {
            replicas,
            serves: after,
            cost: f64::from(replicas) * self.horizon + left / self.rate,
            delay: delay.max(last),
            is_rising,
            late: late.min(self.horizon),
            fate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::skew::Skew;

    /// 100 items a second of one replica, 60 s, 3,000 items that have just come at once, and pods that start in 30 s.
    fn played(arrivals: f64, ready: u32, replicas: u32) -> [i64; 4] {
        let skew = Skew::default();
        let load =
            Load { lag: 3000, backlog: 3000.0, arrivals, partitions: None, ..Load::none(&skew) };
        let means = Means { startup: 30.0, rebalance: 0.0, ..Means::of(ready) };
        let (load, means) = (&load, &means);
        let near = Ahead { load, means, rate: 100.0, objective: 60.0, horizon: 480.0 };
        let found = near.play(replicas, Fate::Chosen);
        let [cost, delay, late] = [found.cost, found.delay, found.late].map(|it| {
            #[expect(clippy::cast_possible_truncation, reason = "small")]
            let whole = it.round() as i64;
            whole
        });
        [cost, delay, late, i64::from(found.is_rising)]
    }

    #[test]
    fn what_waits_is_served_in_the_order_it_came() {
        // The last of what waits is served after 15 s, and from then on the age falls.
        assert_eq!(played(100.0, 2, 2), [960, 15, 0, 0]);
        // It keeps up and never catches up: the last waits 30 s, and so do all behind it.
        assert_eq!(played(100.0, 1, 1), [510, 30, 0, 0]);
    }

    #[test]
    fn who_falls_behind_is_late_from_when_on_and_pays_for_what_is_left() {
        // t/3 + 20 s is the age at t: 60 s at 120 s, 180 s at the end, when 27,000 items are left.
        assert_eq!(played(150.0, 1, 1), [750, 180, 360, 1]);
    }

    #[test]
    fn pods_that_start_help_when_they_are_up() {
        assert_eq!(played(150.0, 1, 4), [1920, 30, 0, 0]);
    }
}
