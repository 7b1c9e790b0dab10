//! The owner's own rule for what several sources make of a stage: `combine.expression`, over the replicas that each source wants. Called
//! by the stage's turn in place of `demand`, whose arithmetic it asks about each source alone.

use super::demand::{self, Bid};
use super::doubt::Doubts;
use super::evidence::{Evidence, Seen, Trust};
use super::flow::Above;
use super::formula::Formula;
use super::gate::Gates;
use super::knowledge::Known;
use super::lesson;
use super::memory::StageMemory;
use super::partitions::ceil;
use super::reason::Reason;
use super::snapshot::Workload;
use super::stage::Turn;

/// What the expression asks for; what runs (`current`) is kept where a source it names is missing or it gives no count. By the rate of pods
/// that had other CPU each source says plainly what it wants, and it is the count they come to that takes nothing away. While a source needs a
/// rate and none is known, the stage learns it as a whole, unless thresholds alone ask for more: were each to want what runs, a sum of them
/// would double at every turn.
pub(super) fn wish(
    turn: &Turn<'_>,
    (memory, known): (&StageMemory, &Known),
    workload: &Workload,
    formula: &Formula,
    current: u32,
) -> Bid {
    let mut wants = Vec::new();
    let (mut is_reckoned, mut is_unlearned) = (false, false);
    let load = known.load().map(|load| turn.doubts.amend(load));
    for name in formula.names() {
        let seen = turn.evidence.sources.iter().find(|seen| *seen.source.name == *name);
        is_reckoned |= seen.is_some_and(|seen| seen.queue().is_some());
        let fresh = seen.filter(|seen| seen.trust == Trust::Fresh);
        if known.means.known().is_none() && fresh.is_some_and(|seen| needs_rate(turn, seen)) {
            is_unlearned = true;
            wants.push((name, 0.0));
            continue;
        }
        let want = fresh.and_then(|seen| want(turn, memory, workload, seen));
        let Some(want) = want else {
            let complaint = seen.and_then(|seen| seen.complaint.clone());
            let reason = complaint.unwrap_or_else(|| Reason::CombineFailed {
                message: format!("nothing says how many replicas {name} wants"),
            });
            return Bid::new(current, reason);
        };
        wants.push((name, want));
    }
    if is_unlearned {
        let bid = load.and_then(|load| demand::objective(turn.stage, &load, &known.means, true));
        let bid = bid.unwrap_or_else(|| lesson::learning(current));
        if formula.number(&wants).map_or(0, ceil) <= bid.replicas {
            return bid;
        }
    }
    match formula.number(&wants) {
        Ok(value) => {
            let wished = ceil(value);
            let wants = wants.into_iter().map(|(name, want)| (name.to_owned(), want)).collect();
            let mut bid = Bid::new(wished, Reason::Combined { wants, wished });
            if is_reckoned {
                let partitions = load.and_then(|load| load.partitions);
                lesson::keep(turn.stage, partitions, &known.means, &mut bid);
            }
            bid
        }
        Err(message) => Bid::new(current, Reason::CombineFailed { message }),
    }
}

/// Is it the objective alone that says what this source wants?
fn needs_rate(turn: &Turn<'_>, seen: &Seen<'_>) -> bool {
    turn.stage.max_delay.is_some() && seen.queue().is_some() && threshold(seen).is_none()
}

/// What it wants by its threshold.
fn threshold(seen: &Seen<'_>) -> Option<f64> {
    let per_replica = seen.source.per_replica.filter(|per_replica| 0.0 < *per_replica)?;
    Some(seen.amount()? / per_replica)
}

/// The replicas that one source wants for itself: by its threshold as it stands, not rounded; by the objective, a whole number; by both,
/// the larger. Nothing where neither sizes it.
fn want(
    turn: &Turn<'_>,
    memory: &StageMemory,
    workload: &Workload,
    seen: &Seen<'_>,
) -> Option<f64> {
    let objective = if turn.stage.max_delay.is_some() && seen.queue().is_some() {
        objective(turn, memory, workload, seen)
    } else {
        None
    };
    [threshold(seen), objective].into_iter().flatten().reduce(f64::max)
}

/// What the objective asks for this queue, as if it were the only one; `None` while no rate is known.
fn objective(
    turn: &Turn<'_>,
    memory: &StageMemory,
    workload: &Workload,
    seen: &Seen<'_>,
) -> Option<f64> {
    let is_only = turn.evidence.queues().count() == 1;
    let alone = Turn {
        evidence: Evidence { sources: vec![seen.clone()] },
        // What the stages above send cannot be told apart by queues.
        above: if is_only { turn.above.clone() } else { Above::default() },
        outcomes: Vec::new(),
        of_rooms: Vec::new(),
        gates: Gates::default(),
        doubts: Doubts::default(),
        ..*turn
    };
    let known = Known::of(&alone, memory, Some(workload), memory.arrivals(&alone.evidence));
    let load = known.load()?;
    let load = if is_only { turn.doubts.amend(load) } else { load };
    if load.lag == 0 && load.arrivals <= 0.0 && known.means.rate.is_some() {
        return Some(0.0);
    }
    let bid = demand::objective(turn.stage, &load, &known.means, false)?;
    Some(f64::from(bid.replicas))
}
