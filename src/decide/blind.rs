//! What a stage is given while it cannot see: it keeps what it has, then the owner's fallback. Called after `demand`. Nothing here
//! lowers a stage but the owner's own `Static` and `AtMost`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::demand::Bid;
use super::evidence::Evidence;
use super::pipeline::{Fallback, FallbackPolicy};
use super::reason::Reason;
use super::writes::{later, span};

/// Since when a stage has been blind, if it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Blind {
    since: Option<Timestamp>,
}

impl Blind {
    pub(super) fn observe(&mut self, evidence: &Evidence<'_>, at: Timestamp) {
        if evidence.is_fresh() {
            self.since = None;
            return;
        }
        let told = evidence.sources.iter().filter_map(|seen| seen.blind_since).min();
        let since = self.since.or(told).unwrap_or(at);
        self.since = Some(told.map_or(since, |told| since.min(told)).min(at));
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// When the fallback applies, if it will.
    pub(super) fn fallback_at(&self, fallback: &Fallback) -> Option<Timestamp> {
        let since = self.since?;
        (fallback.policy != FallbackPolicy::Hold).then(|| later(since, fallback.after))
    }
}

/// What a blind stage gets: never fewer than it has, or what the owner's fallback says once blindness has lasted. A wish for more
/// that rests on what can be seen stands. Says whether the owner's exception lowers it.
pub(super) fn hold(
    bid: &mut Bid,
    blind: &Blind,
    evidence: &Evidence<'_>,
    fallback: &Fallback,
    (current, at): (u32, Timestamp),
) -> bool {
    let (Some(since), Some(complaint)) = (blind.since, evidence.complaint()) else { return false };
    if bid.replicas <= current {
        bid.set(current, complaint.clone());
    }
    let lasted = span(since, at);
    if lasted < fallback.after {
        return false;
    }
    let seen = bid.replicas;
    let (policy, replicas) = match fallback.policy {
        FallbackPolicy::Hold => return false,
        FallbackPolicy::Static(n) => ("Static", n),
        FallbackPolicy::AtLeast(n) => ("AtLeast", n.max(seen)),
        FallbackPolicy::AtMost(n) => ("AtMost", n.min(seen)),
    };
    let policy = policy.to_owned();
    bid.set(replicas, Reason::Fallback { policy, replicas, blind: lasted });
    replicas < current
}
