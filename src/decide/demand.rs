//! How many replicas one stage needs: each threshold's wish and the objective's, of which the largest wins. Called between
//! `evidence` and `steady`; bounds and calm are for later phases.
//!
//! The objective's closed form: what waits now must be served, in the order it came, before it is older than promised, by the pods
//! that work now and, once they are up, by those added; and what arrives must not pile up.

use super::batch::{self, Due};
use super::evidence::{Evidence, Trust};
use super::lesson;
use super::need::{Lack, Need};
use super::partitions::{capacity, ceil};
use super::pipeline::Stage;
use super::reason::Reason;
use super::skew::Skew;
use super::slack::{Slack, Spell};
use super::sum::Sum;

/// A number with all its reasons: no phase may change the one without adding to the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bid {
    pub(super) replicas: u32,
    pub(super) why: Vec<Reason>,
}

impl Bid {
    pub(super) fn new(replicas: u32, reason: Reason) -> Self {
        Self { replicas, why: vec![reason] }
    }

    /// Changes the number, and says why.
    pub(super) fn set(&mut self, replicas: u32, reason: Reason) {
        self.replicas = replicas;
        self.why.push(reason);
    }
}

/// What a stage has to do, over all its queues. Items and seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    /// Items waiting, as read.
    pub(super) lag: u64,
    /// Of those, the ones not yet taken: commits lag behind the work.
    pub(super) backlog: f64,
    /// Items a second that arrive, or are about to.
    pub(super) arrivals: f64,
    /// Are they about to, since the stages above send more than arrives yet?
    pub(super) is_sent: bool,
    /// Did so much come since the poll before that it may be a burst or a new level? The next poll tells.
    pub(super) is_jump: bool,
    /// So many times what arrives may come before new pods are at work; at least 1.
    pub(super) surge: f64,
    /// Is that so because it is usual at this time of day?
    pub(super) is_forecast: bool,
    /// Age of the oldest item.
    pub(super) delay: f64,
    /// Age of the item behind which a tenth of them waits: what came at once is as old at its end as at its head.
    pub(super) tail: f64,
    /// Time between two commits: work counts as done only then.
    pub(super) commits: f64,
    /// Partitions, if every queue has them: they bound the useful replicas.
    pub(super) partitions: Option<u32>,
    /// How unevenly what arrives falls on them.
    pub(super) skew: &'a Skew,
    /// How unevenly what waits lies on them, where that is looked at.
    pub(super) lying: Option<&'a Skew>,
    /// Share of what arrives that the busiest of the present consumers gets, if it is known who holds what.
    pub(super) busiest: Option<f64>,
    /// Items a second that come to one partition, where that is more than one consumer gets through. What waits there is not in the rest.
    pub(super) hot: Option<f64>,
    /// By when it is to be done, where that is what is promised.
    pub(super) due: Option<Due>,
}

#[cfg(test)]
impl<'a> Load<'a> {
    /// Nothing waits in 48 partitions and nothing comes; commits every 5 s. A test says what differs.
    pub(super) fn none(skew: &'a Skew) -> Self {
        Self {
            lag: 0,
            backlog: 0.0,
            arrivals: 0.0,
            is_sent: false,
            is_jump: false,
            surge: 1.0,
            is_forecast: false,
            delay: 0.0,
            tail: 0.0,
            commits: 5.0,
            partitions: Some(48),
            skew,
            lying: None,
            busiest: None,
            hot: None,
            due: None,
        }
    }
}

/// What a stage can do. Items and seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    /// Items a second of one replica, once known.
    pub(super) rate: Option<f64>,
    /// Is that what pods got through that had more CPU or less? Then it takes no replica away.
    pub(super) is_former: bool,
    /// The least it has shown, while not known.
    pub(super) shown: Option<f64>,
    /// From a write to Ready.
    pub(super) startup: f64,
    /// Until the pods still starting are Ready.
    pub(super) pending: f64,
    /// Pause of the group when its members change.
    pub(super) rebalance: f64,
    /// Pods that work.
    pub(super) ready: u32,
    /// Pods that are wanted now.
    pub(super) desired: u32,
    /// How long the present pods have been at work.
    pub(super) settled: f64,
    /// How long it takes to learn a rate from busy pods.
    pub(super) lesson: f64,
    /// Has it been quiet enough, long enough, to try fewer?
    pub(super) may_probe: bool,
}

impl Means {
    /// Items a second of one replica, once known and of use.
    pub(super) fn known(&self) -> Option<f64> {
        self.rate.filter(|rate| rate.is_finite() && 0.0 < *rate)
    }

    /// So many settled pods that do 100 items/s each, start in 45 s and stand still for 5 s when their group changes. A test says what differs.
    #[cfg(test)]
    pub(super) fn of(pods: u32) -> Self {
        Self {
            rate: Some(100.0),
            is_former: false,
            shown: None,
            startup: 45.0,
            pending: 0.0,
            rebalance: 5.0,
            ready: pods,
            desired: pods,
            settled: 1000.0,
            lesson: 20.0,
            may_probe: true,
        }
    }

    /// Busy pods show their rate within a lesson. If they do not, what they have shown must do.
    pub(super) fn shown_at_length(&self) -> Option<f64> {
        let overdue = 60.0_f64.max(self.lesson) < self.settled;
        self.shown.filter(|shown| 0.0 < *shown && overdue && 0 < self.ready)
    }
}

/// The largest wish, or none when nothing that was read can size the stage.
pub(super) fn wish(
    stage: &Stage,
    evidence: &Evidence<'_>,
    load: Option<&Load<'_>>,
    means: &Means,
) -> Option<Bid> {
    let mut wishes = thresholds(evidence);
    // A threshold of a queue says what to do with what waits in it while no rate is known. One of another source says nothing of that.
    let is_alone = !evidence.sources.iter().any(|seen| {
        seen.trust != Trust::Old && seen.source.per_replica.is_some() && seen.queue().is_some()
    });
    let batch = |load: &Load<'_>| Some(batch::bid((stage.min, stage.max), load, means, &load.due?));
    let kept = |load: &Load<'_>| {
        let mut bid = objective(stage, load, means, is_alone)?;
        lesson::keep(stage, load.partitions, means, &mut bid);
        Some(bid)
    };
    let promised = load.and_then(|load| batch(load).or_else(|| kept(load)));
    wishes.extend(promised);
    // Of equal wishes the first speaks, so that the reason does not flip with noise.
    wishes.into_iter().rev().max_by_key(|bid| bid.replicas)
}

fn thresholds(evidence: &Evidence<'_>) -> Vec<Bid> {
    let partitions = evidence.is_partitioned().then(|| evidence.partitions());
    let mut bids = Vec::new();
    for seen in evidence.sources.iter().filter(|seen| seen.trust != Trust::Old) {
        let (Some(per_replica), Some(amount)) = (seen.source.per_replica, seen.amount()) else {
            continue;
        };
        if per_replica.is_nan() || per_replica <= 0.0 {
            continue;
        }
        // To zero is not a matter of thresholds: that is earned by idleness.
        let wished = ceil(amount / per_replica).max(1);
        let source = seen.source.name.to_string();
        let mut bid =
            Bid::new(wished, Reason::Threshold { source, lag: amount, per_replica, wished });
        if let (Some(partitions), Some(_)) = (partitions.filter(|&p| 0 < p), seen.queue())
            && partitions < wished
        {
            bid.set(partitions, Reason::PartitionBound { wished, partitions });
        }
        bids.push(bid);
    }
    bids
}

/// What the objective asks for, by the rate there is; `None` without one. While none is known, thresholds speak alone if there are any.
/// By the rate of pods that had other CPU fewer may come of it than there are: see `lesson::keep`.
pub(super) fn objective(
    stage: &Stage,
    load: &Load<'_>,
    means: &Means,
    is_alone: bool,
) -> Option<Bid> {
    let objective = stage.max_delay?.as_secs_f64();
    let Some(rate) = means.known() else {
        return is_alone.then(|| lesson::unknown(stage, objective, load, means));
    };
    Some(size(stage, objective, load, means, rate))
}

/// What a count lacks to keep the objective; `None` when it does, or when no rate is known.
pub(super) fn lack(
    stage: &Stage,
    objective: f64,
    load: &Load<'_>,
    means: &Means,
    count: u32,
) -> Option<Lack> {
    let Needed { need, partitions, .. } = Needed::of(stage, objective, load, means, means.known()?);
    need.lack(count, partitions)
}

/// The sum behind the count that keeps the objective; `None` while no rate is known. `ahead`: until pods asked for now work.
pub(super) fn sum(
    stage: &Stage,
    objective: f64,
    load: &Load<'_>,
    means: &Means,
    ahead: f64,
) -> Option<Sum> {
    let rate = means.known()?;
    let Needed { need, partitions, wished, .. } = Needed::of(stage, objective, load, means, rate);
    let (rest, within) = need.rest(wished);
    Some(Sum {
        replicas: wished,
        carries: capacity(wished, partitions),
        rate,
        startup: means.startup,
        rebalance: means.rebalance,
        lead: ahead,
        planned: need.goal,
        waiting: rate * need.backlog,
        done: rate * (need.backlog - rest),
        within,
        arrivals: rate * need.arrivals,
        margin: need.uneven(wished, partitions).max(load.surge),
        spare: need.slack(wished),
    })
}

/// What must be done, and the smallest count that does it.
struct Needed<'a> {
    need: Need<'a>,
    partitions: Option<u32>,
    /// Not more than this, whatever is needed.
    most: u32,
    wished: u32,
}

impl<'a> Needed<'a> {
    fn of(stage: &Stage, objective: f64, load: &Load<'a>, means: &'a Means, rate: f64) -> Self {
        let mut need = Need::new(objective, load, means, rate);
        let partitions = load.partitions.filter(|&partitions| 0 < partitions);
        let mut most = partitions.unwrap_or(u32::MAX).min(stage.max).max(1);
        if stage.target.is_jobs() {
            // A Job ends when it finds nothing to do: each needs an item.
            most = most.min(u32::try_from(load.lag).unwrap_or(u32::MAX)).max(1);
        }
        let mut wished = need.smallest(partitions, most);
        if load.is_jump && means.desired < wished {
            // The next poll tells a burst from a new level. Only what cannot wait for it is a reason to move now: one move, not two.
            let patient = need.within(objective);
            let urgent = patient.smallest(partitions, most);
            if urgent <= means.desired {
                (need, wished) = (patient, urgent);
            }
        }
        Self { need, partitions, most, wished }
    }
}

pub(super) fn size(
    stage: &Stage,
    objective: f64,
    load: &Load<'_>,
    means: &Means,
    rate: f64,
) -> Bid {
    let Needed { need, partitions, most, mut wished } =
        Needed::of(stage, objective, load, means, rate);
    let slack = Slack::of(stage.prefer, objective, load, means, rate);
    if means.desired < wished && slack.as_ref().is_some_and(Slack::carries_on) {
        wished = means.desired.min(most);
    } else if wished == means.desired
        && let Some(Spell { replicas, lasts }) = slack.and_then(|slack| slack.lower())
    {
        let Load { arrivals, delay, .. } = *load;
        let keeps_up = wished;
        return Bid::new(
            replicas,
            Reason::OnSlack { wished: replicas, keeps_up, arrivals, delay, objective, lasts },
        );
    }
    let Load { lag, delay, arrivals, .. } = *load;
    let lacks = if means.desired < wished { need.lack(means.desired, partitions) } else { None };
    let mut bid = if wished == means.desired {
        Bid::new(wished, Reason::Steady { delay, objective })
    } else if lacks == Some(Lack::Backlog) || need.is_backlog(wished) {
        Bid::new(wished, Reason::CatchUp { lag, delay, objective, rate, wished })
    } else if need.without_surge().smallest(partitions, most) < wished {
        let Load { surge, is_forecast, .. } = *load;
        let startup = means.startup;
        if is_forecast {
            let expected = surge * arrivals;
            Bid::new(wished, Reason::Forecast { arrivals, expected, startup, wished })
        } else {
            Bid::new(wished, Reason::KeepRoom { arrivals, surge, startup, wished })
        }
    } else if load.is_sent {
        Bid::new(wished, Reason::KeepAhead { arrivals, rate, wished })
    } else {
        Bid::new(wished, Reason::KeepUp { arrivals, rate, wished })
    };
    let plain = need.plain(wished);
    match partitions {
        Some(partitions) if partitions < plain => {
            bid.set(wished, Reason::PartitionBound { wished: plain, partitions });
        }
        Some(partitions) if plain < wished && wished != means.desired => {
            let per_consumer = partitions.div_ceil(wished);
            bid.why.insert(0, Reason::Breakpoint { wished: plain, partitions, per_consumer });
        }
        _ => {}
    }
    if stage.max < plain && wished == stage.max {
        bid.set(wished, Reason::AtMax { wished: plain, max: stage.max });
    }
    bid
}
