//! HPA v2 `behavior`, word for word: tolerance, stabilization windows, policies over sliding periods. Applied after Penstock's own
//! choice, as a hard limit, for what was written; called by `steady`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::Bid;
use super::pipeline::{Behaviour, Policy, Rules, Select, Unit};
use super::reason::Reason;
use super::steady::Moment;
use super::writes::{Move, span};

/// Wishes and moves kept; beyond it the two oldest are joined.
const KEPT: usize = 24;

/// Wishes of the past, as far as a window needs them: for the largest, only those not exceeded since; for the smallest, only those
/// not undercut since.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Wishes(Vec<(Timestamp, u32)>);

impl Wishes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a wish of which the largest counts.
    pub(super) fn push_high(&mut self, wish: u32, at: Timestamp, window: Duration) {
        self.0.retain(|&(then, old)| wish < old && is_within(then, at, window));
        self.push(wish, at, u32::max);
    }

    /// Remembers a wish of which the smallest counts.
    pub(super) fn push_low(&mut self, wish: u32, at: Timestamp, window: Duration) {
        self.0.retain(|&(then, old)| old < wish && is_within(then, at, window));
        self.push(wish, at, u32::min);
    }

    fn push(&mut self, wish: u32, at: Timestamp, join: fn(u32, u32) -> u32) {
        if KEPT <= self.0.len() {
            let (_, oldest) = self.0.remove(0);
            if let Some((_, next)) = self.0.first_mut() {
                *next = join(*next, oldest);
            }
        }
        grow(&mut self.0);
        self.0.push((at, wish));
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.0.capacity() * size_of::<(Timestamp, u32)>()
    }

    /// The wish that counts, and when it was last wished: the oldest still within the window.
    pub(super) fn extreme(&self, at: Timestamp, window: Duration) -> Option<(Timestamp, u32)> {
        self.0.iter().copied().find(|&(then, _)| is_within(then, at, window))
    }
}

/// Accepted moves, as far back as policies look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moves(Vec<(Timestamp, i64)>);

impl Moves {
    /// Remembers a move for as long as a policy of `behavior` looks back.
    pub(super) fn push(&mut self, moved: Move, behaviour: &Behaviour) {
        let policies = behaviour.up.policies.iter().chain(&behaviour.down.policies);
        let longest = policies.map(|policy| policy.period).max().unwrap_or_default();
        self.0.retain(|&(then, _)| is_within(then, moved.at, longest));
        if KEPT <= self.0.len() {
            let (_, oldest) = self.0.remove(0);
            if let Some((_, next)) = self.0.first_mut() {
                *next = next.saturating_add(oldest);
            }
        }
        grow(&mut self.0);
        self.0.push((moved.at, i64::from(moved.to) - i64::from(moved.from)));
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.0.capacity() * size_of::<(Timestamp, i64)>()
    }

    /// Replicas added and removed within the period.
    fn within(&self, period: Duration, at: Timestamp) -> (i64, i64) {
        let moves = self.0.iter().filter(|&&(then, _)| is_within(then, at, period));
        moves.fold((0, 0), |(added, removed), &(_, change)| {
            (added + change.max(0), removed - change.min(0))
        })
    }

    /// When the first move within the period leaves it: a limit may then loosen.
    fn loosens(&self, period: Duration, at: Timestamp) -> Option<Timestamp> {
        let first = self.0.iter().map(|&(then, _)| then).find(|&then| is_within(then, at, period));
        first.and_then(|then| then.checked_add(period).ok())
    }
}

/// Makes room for one more, by eight: doubling would set a third more aside than is ever kept.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(KEPT / 3);
    }
}

/// HPA's "after now − period": the far edge itself is out.
fn is_within(then: Timestamp, at: Timestamp, window: Duration) -> bool {
    span(then, at) < window
}

/// Keeps a change too small to be worth it.
pub(super) fn tolerate(bid: &mut Bid, current: u32, behaviour: &Behaviour) {
    if current == 0 || bid.replicas == current {
        return;
    }
    let wished = bid.replicas;
    let rules = if current < wished { &behaviour.up } else { &behaviour.down };
    let Some(tolerance) = rules.tolerance else { return };
    let off = (f64::from(wished) / f64::from(current) - 1.0).abs();
    if off <= tolerance {
        bid.set(current, Reason::WithinTolerance { wished, tolerance });
    }
}

/// Keeps a disabled direction disabled, and knows no other limit.
pub(super) fn direction(bid: &mut Bid, current: u32, behaviour: &Behaviour) -> Option<Timestamp> {
    let wished = bid.replicas;
    let is_up = current < wished;
    let rules = if is_up { &behaviour.up } else { &behaviour.down };
    if wished != current && rules.select == Select::Disabled {
        bid.set(current, Reason::DirectionDisabled { wished, is_up });
    }
    None
}

/// Keeps the change within what `behavior` allows now. Says when more may be allowed.
pub(super) fn limit(bid: &mut Bid, moment: &Moment<'_>, moves: &Moves) -> Option<Timestamp> {
    let Moment { at, current, behaviour, least, .. } = *moment;
    let wished = bid.replicas;
    let is_up = current < wished;
    direction(bid, current, behaviour);
    if bid.replicas == current {
        return None;
    }
    let rules = if is_up { &behaviour.up } else { &behaviour.down };
    let (limit, policy) = strictest(rules, is_up, current, moves, at)?;
    let allowed = if is_up {
        wished.min(limit.max(current).max(least))
    } else {
        wished.max(limit.min(current))
    };
    if allowed == wished {
        return None;
    }
    bid.set(allowed, Reason::LimitedByPolicy { wished, limit: allowed, period: policy.period });
    moves.loosens(policy.period, at)
}

/// Where the selected policy ends, and which one that is; `None` when none was written.
fn strictest(
    rules: &Rules,
    is_up: bool,
    current: u32,
    moves: &Moves,
    at: Timestamp,
) -> Option<(u32, Policy)> {
    let ends =
        rules.policies.iter().map(|policy| (end(policy, is_up, current, moves, at), *policy));
    // Most change is the highest end when going up and the lowest when going down.
    if is_up == (rules.select == Select::Max) {
        ends.rev().max_by_key(|(end, _)| *end)
    } else {
        ends.min_by_key(|(end, _)| *end)
    }
}

fn end(policy: &Policy, is_up: bool, current: u32, moves: &Moves, at: Timestamp) -> u32 {
    let (added, removed) = moves.within(policy.period, at);
    let start = i64::from(current) - added + removed;
    let value = f64::from(policy.value);
    let start_share = |share: f64| real(start) * share;
    match (policy.unit, is_up) {
        (Unit::Pods, true) => clamp(start + i64::from(policy.value)),
        (Unit::Pods, false) => clamp(start - i64::from(policy.value)),
        // Plain doubles, as the HPA: 10 % of 10 lets 10 grow to 12, since 10 × 1.1 is a hair above 11.
        (Unit::Percent, true) => whole(start_share(1.0 + value / 100.0).ceil()),
        (Unit::Percent, false) => whole(start_share(1.0 - value / 100.0)),
    }
}

fn clamp(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of replicas fit a double exactly")]
fn real(count: i64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to int cast saturates"
)]
fn whole(x: f64) -> u32 {
    x.max(0.0) as u32
}
