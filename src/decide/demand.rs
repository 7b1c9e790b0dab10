//! How many replicas one stage needs: each threshold's wish and the objective's, of which the largest wins. Called between
//! `evidence` and `steady`; bounds and calm are for later phases.

use super::evidence::{Evidence, Trust, float};
use super::partitions::{ceil, enough};
use super::pipeline::Stage;
use super::reason::Reason;

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

/// What a stage is sized with, learned or hinted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Items a second that arrive.
    pub(super) arrivals: Option<f64>,
    /// Items a second that one replica gets through.
    pub(super) rate: Option<f64>,
    /// Age of the oldest item, in seconds.
    pub(super) delay: Option<f64>,
}

/// The largest wish, or none when nothing that was read can size the stage.
pub(super) fn wish(stage: &Stage, evidence: &Evidence<'_>, pace: Pace) -> Option<Bid> {
    let mut wishes = thresholds(evidence);
    wishes.extend(objective(stage, evidence, pace));
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
        let wished = ceil(amount / per_replica);
        let source = seen.source.name.to_string();
        let mut bid =
            Bid::new(wished, Reason::Threshold { source, lag: amount, per_replica, wished });
        if let (Some(partitions), Some(_)) = (partitions, seen.queue())
            && partitions < wished
        {
            bid.set(partitions, Reason::PartitionBound { wished, partitions });
        }
        bids.push(bid);
    }
    bids
}

fn objective(stage: &Stage, evidence: &Evidence<'_>, pace: Pace) -> Option<Bid> {
    let objective = stage.max_delay?.as_secs_f64();
    let rate = pace.rate.filter(|rate| rate.is_finite() && 0.0 < *rate)?;
    let lag = evidence.lag()?;
    let within = (0.8 * objective).max(1.0);
    let arrivals = pace.arrivals.unwrap_or(0.0);
    let backlog = float(lag) / within;
    let load = backlog.max(arrivals) / rate;
    let partitions = evidence.is_partitioned().then(|| evidence.partitions());
    let most = partitions.unwrap_or(u32::MAX).min(stage.max);
    let plain = ceil(load);
    let wished = if plain == 0 { 0 } else { enough(load, partitions, most).unwrap_or(most.max(1)) };
    let delay = pace.delay.unwrap_or(0.0);
    let mut bid = if arrivals < backlog {
        Bid::new(wished, Reason::CatchUp { lag, delay, objective, rate, wished })
    } else {
        Bid::new(wished, Reason::KeepUp { arrivals, rate, wished })
    };
    if let Some(partitions) = partitions
        && partitions < plain
    {
        bid.set(wished, Reason::PartitionBound { wished: plain, partitions });
    }
    Some(bid)
}
