//! How a stage is sized whose rate is not known, or is that of pods that had other CPU: run a few, watch them work, then jump; or try the next
//! lower count and see. Called by `demand`.

use super::demand::{Bid, Load, Means, size};
use super::partitions::breakpoints;
use super::pipeline::Stage;
use super::reason::Reason;

/// A lower count that is tried is seen to be too low within so many seconds, and may use up so much of the objective until mended.
const NOTICED: f64 = 15.0;
const RISKED: f64 = 0.5;

/// No rate is known: run a few, watch them work, then jump.
pub(super) fn unknown(stage: &Stage, objective: f64, load: &Load<'_>, means: &Means) -> Bid {
    let desired = means.desired;
    if desired == 0 {
        return learning(few(load, (stage.min, stage.max)));
    }
    let Load { delay, commits, .. } = *load;
    let bearable = (0.25 * objective).max(commits + 2.0);
    let is_untold = means.shown.is_none() && 0 < load.lag;
    if is_untold || bearable < delay {
        return match means.shown_at_length() {
            Some(shown) => {
                let bid = size(stage, objective, load, means, shown);
                if desired < bid.replicas { bid } else { learning(desired) }
            }
            None => learning(desired),
        };
    }
    match (means.may_probe, fewer(desired, load.partitions), means.shown) {
        (true, Some(replicas), at_least) if is_bearable(means, replicas, objective) => {
            let at_least = at_least.unwrap_or(0.0);
            Bid::new(replicas, Reason::Probing { replicas, at_least })
        }
        _ => Bid::new(desired, Reason::Steady { delay, objective }),
    }
}

/// Where the rate is that of pods with more CPU or less, and by it fewer would do than there are: as while none is known, one step down at
/// a time shows whether fewer do, and makes those that are left show what they get through; until it is quiet enough for that the count
/// is kept. Whatever made the wish: the objective, a threshold beside it or the owner's own rule.
pub(super) fn keep(stage: &Stage, partitions: Option<u32>, means: &Means, bid: &mut Bid) {
    let (wished, desired) = (bid.replicas, means.desired);
    let (Some(objective), Some(rate)) = (stage.max_delay, means.known()) else { return };
    if !means.is_former || desired <= wished {
        return;
    }
    let is_tried = |&fewer: &u32| {
        means.may_probe && wished <= fewer && is_bearable(means, fewer, objective.as_secs_f64())
    };
    match fewer(desired, partitions).filter(is_tried) {
        Some(replicas) => {
            let at_least = means.shown.unwrap_or(0.0);
            bid.set(replicas, Reason::Probing { replicas, at_least });
        }
        None => bid.set(desired, Reason::Relearning { wished, rate }),
    }
}

/// Would a lower count that turns out too low be noticed and mended before much of the objective is used up? The present one is
/// enough, so the lower one lacks no more than the difference.
fn is_bearable(means: &Means, fewer: u32, objective: f64) -> bool {
    let lacks = 1.0 - f64::from(fewer) / f64::from(means.desired.max(1));
    (means.startup + means.rebalance + NOTICED) * lacks <= RISKED * objective
}

/// So many are woken to learn from.
pub(super) fn few(load: &Load<'_>, (min, max): (u32, u32)) -> u32 {
    load.partitions.map_or(1, |partitions| partitions / 8).max(min).max(1).min(max)
}

pub(super) fn learning(replicas: u32) -> Bid {
    Bid::new(replicas, Reason::Learning { replicas })
}

/// The next lower count worth trying.
fn fewer(desired: u32, partitions: Option<u32>) -> Option<u32> {
    let next = match partitions {
        Some(partitions) => breakpoints(partitions).take_while(|&n| n < desired).last(),
        None => Some(desired - (desired / 8).max(1)),
    };
    next.filter(|&n| 0 < n && n < desired)
}
