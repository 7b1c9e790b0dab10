//! Whether nodes of a pool can be had: believed until signs speak against it, and tried again by few before it is trusted with many.
//!
//! ```text
//! Free ──soft or hard sign──► Waiting ──3 hard in 5 min, or nothing for long──► Shut ──time──► Opening
//!   ▲                            │ nodes or pods came                             ▲               │ a sign: twice as long
//!   └────────────────────────────┴──────────────────────────── 1, 2, 4 had nodes ─┼───────────────┤
//!                                                                                 └───────────────┘
//! ```
//! Coming back is by doubling, as TCP's slow start is: one replica of each lane tries, then two, then four, then all. A pool that flaps so
//! costs few pods and ever longer pauses. A pod that has waited since before the pool was last trusted tells nothing new: it may fit nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::writes::{later, span};
use super::patience::{given_up, lasts, patience, waited};
use super::split::Room;
use super::{PoolSeen, PoolState, PoolVerdict, Sign};

/// Signs kept.
const KEPT: usize = 10;
/// Hard signs within `SOON`, each so long after the one before, that shut a pool: one batch of a node autoscaler says no many times.
const HARD: usize = 3;
const SOON: Duration = Duration::from_mins(5);
const APART: Duration = Duration::from_secs(10);
/// Replicas that may try at last before the pool is trusted again.
const TRUSTED: u32 = 4;

/// What is remembered of all pools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::decide) struct Pools(BTreeMap<Arc<str>, Belief>);

/// What is believed of one pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Belief {
    phase: Phase,
    /// Since when its state is what it is.
    since: Timestamp,
    state: PoolState,
    evidence: Vec<Sign>,
    /// The newest hard sign that was taken in.
    heard: Timestamp,
    /// When it was last trusted (again).
    freed: Timestamp,
    /// How long it is left alone when it is shut next.
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Phase {
    Free,
    /// What waits may wait.
    Waiting {
        since: Timestamp,
    },
    /// Left alone until then.
    Shut {
        until: Timestamp,
    },
    /// So many may try, since then.
    Opening {
        tries: u32,
        since: Timestamp,
    },
}

impl Pools {
    /// Takes in what is seen of all pools. Pools that are not seen any more are forgotten.
    pub(in crate::decide) fn observe(
        &mut self,
        seen: &BTreeMap<Arc<str>, PoolSeen>,
        at: Timestamp,
    ) -> Vec<PoolVerdict> {
        self.0.retain(|name, _| seen.contains_key(name));
        let verdict = |(name, seen): (&Arc<str>, &PoolSeen)| {
            let belief = match self.0.get(name) {
                Some(belief) => belief.clone(),
                None => Belief::recalled(seen, at),
            };
            let belief = belief.next(seen, at);
            let verdict = PoolVerdict {
                pool: Arc::clone(name),
                state: belief.state,
                since: belief.since,
                evidence: belief.evidence.clone(),
                next_probe: match belief.phase {
                    Phase::Shut { until } => Some(until),
                    Phase::Free | Phase::Waiting { .. } | Phase::Opening { .. } => None,
                },
            };
            self.0.insert(Arc::clone(name), belief);
            verdict
        };
        seen.iter().map(verdict).collect()
    }

    /// What room a lane has on a pool. One that nobody describes is used as if nodes could be had.
    pub(super) fn room(&self, pool: &str) -> Room {
        match self.0.get(pool).map(|belief| belief.phase) {
            None | Some(Phase::Free) => Room::Free,
            Some(Phase::Waiting { .. }) => Room::AsAsked,
            Some(Phase::Shut { .. }) => Room::BeyondPlaced(0),
            Some(Phase::Opening { tries, .. }) => Room::BeyondPlaced(tries),
        }
    }

    /// Does its owner's limit keep a pool from growing, and nothing else?
    pub(in crate::decide) fn is_at_limits(&self, seen: &PoolSeen) -> bool {
        seen.full.is_some() && self.room(&seen.pool.name) == Room::AsAsked
    }

    /// Is there such a pool?
    pub(super) fn knows(&self, pool: &str) -> bool {
        self.0.contains_key(pool)
    }

    /// The last sign that a pool gives no more.
    pub(super) fn sign(&self, pool: &str) -> Option<&Sign> {
        self.0.get(pool)?.evidence.last()
    }

    /// When a pool may be thought of differently though nothing happens.
    pub(super) fn next(&self, pool: &str, seen: &PoolSeen) -> Option<Timestamp> {
        let belief = self.0.get(pool)?;
        match belief.phase {
            Phase::Free => Some(later(waited(seen, belief.freed)?, patience(seen))),
            Phase::Waiting { since } => Some(match waited(seen, belief.freed) {
                Some(waited) => later(waited, given_up(seen)),
                None => later(since, seen.pool.probe),
            }),
            Phase::Shut { until } => Some(until),
            Phase::Opening { since, .. } => Some(match waited(seen, since) {
                Some(waited) => later(waited, lasts(seen)),
                None => later(since, seen.pool.probe),
            }),
        }
    }
}

impl Belief {
    /// What an earlier life left in status, or a fresh trust.
    fn recalled(seen: &PoolSeen, at: Timestamp) -> Self {
        let probe = seen.pool.probe;
        let free = (PoolState::Unknown, at, Phase::Free);
        let (state, since, phase) = match seen.recalled {
            Some((PoolState::Exhausted, since)) => {
                let until = later(since, probe).max(at);
                (PoolState::Exhausted, since, Phase::Shut { until })
            }
            Some((PoolState::Constrained, since)) => {
                (PoolState::Constrained, since, Phase::Waiting { since })
            }
            Some((state @ (PoolState::Available | PoolState::Unknown), since)) => {
                (state, since, Phase::Free)
            }
            None => free,
        };
        let (heard, freed) = (Timestamp::MIN, Timestamp::MIN);
        Self { phase, since, state, evidence: Vec::new(), heard, freed, pause: probe }
    }

    fn next(mut self, seen: &PoolSeen, at: Timestamp) -> Self {
        let is_told = self.listen(seen, at);
        let waits = |mark, limit| {
            waited(seen, mark).map(|since| span(since, at)).filter(|waited| limit <= *waited)
        };
        let is_served = |since: Timestamp| {
            let came = seen.served.max(seen.newest);
            waited(seen, since).is_none() && came.is_some_and(|came| since < came)
        };
        let long = waits(self.freed, patience(seen));
        let is_quiet = |since| later(since, seen.pool.probe) <= at && !is_told;
        let phase = match self.phase {
            Phase::Free | Phase::Waiting { .. } if self.is_refused(at) => self.shut(seen, at),
            Phase::Free if is_told || long.is_some() || seen.full.is_some() => {
                Phase::Waiting { since: at }
            }
            Phase::Waiting { .. } if seen.full.is_some() => self.phase,
            // Some that came say nothing while others wait on: a zone may have had room for a few.
            Phase::Waiting { since } if is_served(since) && waited(seen, self.freed).is_none() => {
                Phase::Free
            }
            Phase::Waiting { .. } if waits(self.freed, given_up(seen)).is_some() => {
                self.shut(seen, at)
            }
            // Nobody wants more of it any longer: the next who does finds out.
            Phase::Waiting { since } if waited(seen, self.freed).is_none() && is_quiet(since) => {
                Phase::Free
            }
            Phase::Shut { until } if until <= at => Phase::Opening { tries: 1, since: at },
            Phase::Opening { since, .. } if is_told || waits(since, lasts(seen)).is_some() => {
                Phase::Shut { until: later(at, (2 * self.pause).min(seen.pool.longest_probe)) }
            }
            Phase::Opening { tries, since } if is_served(since) && TRUSTED <= tries => Phase::Free,
            Phase::Opening { tries, since } if is_served(since) => {
                Phase::Opening { tries: 2 * tries, since: at }
            }
            Phase::Opening { since, .. } if waited(seen, since).is_none() && is_quiet(since) => {
                Phase::Free
            }
            Phase::Free | Phase::Waiting { .. } | Phase::Shut { .. } | Phase::Opening { .. } => {
                self.phase
            }
        };
        if let (Some(what), Phase::Free, Phase::Waiting { .. }) = (&seen.full, self.phase, phase) {
            self.note(Sign { at, is_hard: true, what: Arc::clone(what) });
        } else if let (Some(long), Phase::Free) = (long, self.phase)
            && phase != Phase::Free
        {
            let what = format!("a pod has waited {} s for a node", long.as_secs()).into();
            self.note(Sign { at, is_hard: false, what });
        }
        match (self.phase, phase) {
            (Phase::Free, Phase::Free) => {}
            (_, Phase::Free) => (self.freed, self.pause) = (at, seen.pool.probe),
            (Phase::Opening { .. }, Phase::Shut { until }) => self.pause = span(at, until),
            _ => {}
        }
        self.phase = phase;
        let state = match phase {
            Phase::Free if seen.nodes == 0 && self.state == PoolState::Unknown => {
                PoolState::Unknown
            }
            Phase::Free => PoolState::Available,
            Phase::Shut { .. } | Phase::Opening { tries: 1, .. } => PoolState::Exhausted,
            Phase::Waiting { .. } | Phase::Opening { .. } => PoolState::Constrained,
        };
        if state != self.state {
            self.state = state;
            self.since = at;
        }
        self
    }

    fn shut(&self, seen: &PoolSeen, at: Timestamp) -> Phase {
        Phase::Shut { until: later(at, self.pause.max(seen.pool.probe)) }
    }

    /// Takes in the hard signs that are new; true when there was one.
    fn listen(&mut self, seen: &PoolSeen, at: Timestamp) -> bool {
        let is_new = |sign: &&Sign| {
            let is_known = || self.evidence.iter().any(|known| known == *sign);
            self.heard <= sign.at && span(sign.at, at) < SOON && !is_known()
        };
        let mut new: Vec<Sign> = seen.signs.iter().filter(is_new).cloned().collect();
        new.sort_by_key(|sign| sign.at);
        let is_told = !new.is_empty();
        for sign in new {
            self.heard = self.heard.max(sign.at);
            self.note(sign);
        }
        is_told
    }

    fn note(&mut self, sign: Sign) {
        if KEPT <= self.evidence.len() {
            self.evidence.remove(0);
        }
        self.evidence.push(sign);
    }

    /// Has whoever makes its nodes said no again and again, since it was last trusted?
    fn is_refused(&self, at: Timestamp) -> bool {
        let hard = self
            .evidence
            .iter()
            .filter(|sign| sign.is_hard && span(sign.at, at) < SOON && self.freed <= sign.at);
        let (mut times, mut last) = (0, Timestamp::MIN);
        for sign in hard {
            if later(last, APART) <= sign.at {
                (times, last) = (times + 1, sign.at);
            }
        }
        HARD <= times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Tariff;
    use crate::decide::capacity::{Class, Pool};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(signs: &[i64]) -> PoolSeen {
        let pool = Pool {
            name: "spot".into(),
            class: Class::Spot,
            notice: Duration::from_mins(2),
            probe: Duration::from_mins(10),
            longest_probe: Duration::from_hours(1),
            tariff: Tariff::default(),
        };
        let sign = |&at: &i64| Sign { at: second(at), is_hard: true, what: "no capacity".into() };
        PoolSeen {
            pool: Arc::new(pool),
            nodes: 3,
            newest: None,
            boot: Some(Duration::from_secs(50)),
            signs: signs.iter().map(sign).collect(),
            full: None,
            cpu: None,
            waiting: Vec::new(),
            served: None,
            recalled: None,
        }
    }

    #[derive(Default)]
    struct Life(Pools);

    impl Life {
        fn turn(
            &mut self,
            seen: PoolSeen,
            unplaced: Option<i64>,
            ready: Option<i64>,
            at: i64,
        ) -> PoolState {
            let name: Arc<str> = "spot".into();
            let waiting = unplaced.map(second).into_iter().collect();
            let seen = PoolSeen { waiting, served: ready.map(second), ..seen };
            self.0.observe(&BTreeMap::from([(name, seen)]), second(at))[0].state
        }

        fn room(&self) -> Room {
            self.0.room("spot")
        }
    }

    #[test]
    fn a_pod_that_waits_no_longer_than_nodes_take_to_come_is_no_sign() {
        let mut life = Life::default();
        assert_eq!(life.turn(seen(&[]), Some(100), None, 159), PoolState::Available);
        assert_eq!(life.turn(seen(&[]), Some(100), None, 160), PoolState::Constrained);
        assert_eq!(life.room(), Room::AsAsked);
        assert_eq!(life.turn(seen(&[]), None, Some(170), 171), PoolState::Available);
    }

    #[test]
    fn a_pool_that_serves_some_and_keeps_others_waiting_is_not_trusted_yet() {
        let mut life = Life::default();
        life.turn(seen(&[100]), Some(97), None, 101);
        assert_eq!(life.turn(seen(&[100]), Some(97), Some(110), 111), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100]), None, Some(120), 121), PoolState::Available);
    }

    #[test]
    fn one_hard_sign_is_believed_at_once_and_three_shut_the_pool() {
        let mut life = Life::default();
        assert_eq!(life.turn(seen(&[100]), Some(99), None, 101), PoolState::Constrained);
        assert_eq!(
            life.turn(seen(&[100, 103, 106]), Some(99), None, 107),
            PoolState::Constrained,
            "one batch"
        );
        assert_eq!(life.turn(seen(&[100, 110, 120]), Some(99), None, 121), PoolState::Exhausted);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
    }

    #[test]
    fn signs_count_once_in_whatever_order_they_come_and_not_after_recovery() {
        let mut life = Life::default();
        life.turn(seen(&[100, 50]), Some(40), None, 101);
        assert_eq!(life.turn(seen(&[100, 50]), Some(40), None, 102), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100, 50]), None, Some(150), 151), PoolState::Available);
        assert_eq!(life.turn(seen(&[100, 50, 200]), Some(199), None, 201), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[100, 50, 200]), Some(199), None, 203), PoolState::Constrained);
    }

    #[test]
    fn a_dry_pool_is_tried_by_one_then_two_then_four_then_all() {
        let mut life = Life::default();
        life.turn(seen(&[100, 110, 120]), Some(99), None, 121);
        assert_eq!(life.turn(seen(&[]), None, None, 720), PoolState::Exhausted);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), None, None, 721);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
        assert_eq!(life.turn(seen(&[]), None, Some(780), 781), PoolState::Constrained);
        assert_eq!(life.room(), Room::BeyondPlaced(2));
        life.turn(seen(&[]), None, Some(840), 841);
        assert_eq!(life.room(), Room::BeyondPlaced(4));
        assert_eq!(life.turn(seen(&[]), None, Some(900), 901), PoolState::Available);
        assert_eq!(life.room(), Room::Free);
    }

    #[test]
    fn a_pool_of_which_nobody_wants_more_is_trusted_again_in_time() {
        let mut life = Life::default();
        life.turn(seen(&[100, 110, 120]), Some(99), None, 121);
        life.turn(seen(&[]), None, None, 721);
        life.turn(seen(&[]), None, Some(780), 781);
        assert_eq!(life.turn(seen(&[]), None, Some(780), 1380), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), None, Some(780), 1381), PoolState::Available);
    }

    #[test]
    fn nodes_that_take_long_are_not_given_up_though_few_or_none_have_been_seen() {
        let mut life = Life::default();
        life.turn(seen(&[]), Some(0), None, 60);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 1079), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), Some(0), None, 1080), PoolState::Exhausted);
        let mut life = Life::default();
        let slow = || PoolSeen { nodes: 0, boot: None, ..seen(&[]) };
        assert_eq!(life.turn(slow(), Some(0), None, 60), PoolState::Constrained, "another carries");
        assert_eq!(
            life.turn(slow(), Some(0), None, 900),
            PoolState::Constrained,
            "but they may wait"
        );
        assert_eq!(life.turn(slow(), Some(0), None, 1080), PoolState::Exhausted);
    }

    #[test]
    fn a_pod_that_fits_nowhere_keeps_nobody_else_from_the_pool() {
        let mut life = Life::default();
        life.turn(seen(&[]), Some(0), None, 60);
        life.turn(seen(&[]), Some(0), None, 1080);
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), Some(0), None, 1680);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
        life.turn(seen(&[]), Some(0), None, 2200);
        assert_eq!(
            life.room(),
            Room::BeyondPlaced(1),
            "it waited before: it says nothing of this try"
        );
        for (ready, at) in [(2210, 2211), (2220, 2221), (2230, 2231)] {
            life.turn(seen(&[]), Some(0), Some(ready), at);
        }
        assert_eq!(life.turn(seen(&[]), Some(0), Some(2230), 2400), PoolState::Available);
    }

    #[test]
    fn each_try_in_vain_doubles_the_pause_up_to_the_longest() {
        let mut life = Life::default();
        life.turn(seen(&[0, 10, 20]), Some(0), None, 21);
        let mut at = 621;
        for pause in [1200, 2400, 3600, 3600] {
            life.turn(seen(&[]), None, None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(1), "at {at}");
            at += 400;
            life.turn(seen(&[]), Some(at - 359), None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(1), "a node may take so long");
            life.turn(seen(&[]), Some(at - 360), None, at);
            assert_eq!(life.room(), Room::BeyondPlaced(0));
            life.turn(seen(&[]), None, None, at + pause - 1);
            assert_eq!(life.room(), Room::BeyondPlaced(0));
            at += pause;
        }
    }

    #[test]
    fn what_status_says_is_believed_after_a_restart() {
        let mut life = Life::default();
        let recalled = Some((PoolState::Exhausted, second(0)));
        assert_eq!(
            life.turn(PoolSeen { recalled, ..seen(&[]) }, None, None, 300),
            PoolState::Exhausted
        );
        assert_eq!(life.room(), Room::BeyondPlaced(0));
        life.turn(seen(&[]), None, None, 600);
        assert_eq!(life.room(), Room::BeyondPlaced(1));
    }

    #[test]
    fn a_pool_at_its_limit_grows_no_further_and_does_when_it_is_raised() {
        let mut life = Life::default();
        let full = || PoolSeen { full: Some("8 of 8 CPUs".into()), ..seen(&[]) };
        assert_eq!(life.turn(full(), None, None, 0), PoolState::Constrained);
        assert_eq!(life.turn(full(), None, Some(5), 5000), PoolState::Constrained);
        assert_eq!(life.turn(seen(&[]), None, Some(6000), 6001), PoolState::Available);
    }

    #[test]
    fn a_pool_without_nodes_or_signs_is_unknown_and_used() {
        let mut life = Life::default();
        let none = || PoolSeen { nodes: 0, ..seen(&[]) };
        assert_eq!(life.turn(none(), None, None, 0), PoolState::Unknown);
        assert_eq!(life.room(), Room::Free);
        assert_eq!(life.turn(seen(&[]), None, None, 10), PoolState::Available);
        assert_eq!(life.turn(none(), None, None, 20), PoolState::Available);
    }
}
