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

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::writes::{later, span};
use super::patience::{LONGEST, given_up, lasts, patience, waited};
use super::split::Room;
use super::{LaneNeed, PoolSeen, PoolState, PoolVerdict, Sign};

/// Signs kept.
const KEPT: usize = 10;
/// Hard signs within `SOON`, each so long after the one before, that shut a pool: one batch of a node autoscaler says no many times.
const HARD: usize = 3;
const SOON: Duration = Duration::from_mins(5);
const APART: Duration = Duration::from_secs(10);
/// The figures in what is said of a limit are told anew after this.
const REPEAT: Duration = Duration::from_secs(30);
/// Replicas that may try at last before the pool is trusted again.
const TRUSTED: u32 = 4;

/// What is believed of one pool, or of it by one lane alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Belief {
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
    /// Why it may grow no further, where it is distrusted for that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limited: Option<Arc<str>>,
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

impl Belief {
    /// What an earlier life left in status, or a fresh trust.
    pub(super) fn recalled(seen: &PoolSeen, at: Timestamp) -> Self {
        let probe = seen.pool.probe;
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
            None => (PoolState::Unknown, at, Phase::Free),
        };
        // Who had waited for long before that did not count: else it would have been distrusted sooner.
        let freed = match phase {
            _ if seen.recalled.is_none() => Timestamp::MIN,
            Phase::Waiting { since } => since.checked_sub(LONGEST).unwrap_or(Timestamp::MIN),
            Phase::Free | Phase::Shut { .. } | Phase::Opening { .. } => since,
        };
        let limited = seen.full.clone().filter(|_| matches!(phase, Phase::Waiting { .. }));
        let sign = |what: &Arc<str>| Sign { at: since, is_hard: true, what: Arc::clone(what) };
        let evidence = limited.iter().map(sign).collect();
        let heard = Timestamp::MIN;
        Self { phase, since, state, evidence, heard, freed, pause: probe, limited }
    }

    /// What room it leaves.
    pub(super) fn room(&self) -> Room {
        match self.phase {
            Phase::Free => Room::Free,
            Phase::Waiting { .. } => Room::AsAsked,
            Phase::Shut { .. } => Room::BeyondPlaced(0),
            Phase::Opening { tries, .. } => Room::BeyondPlaced(tries),
        }
    }

    /// Is it trusted?
    pub(super) fn is_free(&self) -> bool {
        self.phase == Phase::Free
    }

    /// The last sign against it.
    pub(super) fn sign(&self) -> Option<&Sign> {
        self.evidence.last()
    }

    /// For report.
    pub(super) fn verdict(&self, pool: &Arc<str>) -> PoolVerdict {
        PoolVerdict {
            pool: Arc::clone(pool),
            state: self.state,
            since: self.since,
            evidence: self.evidence.clone(),
            next_probe: match self.phase {
                Phase::Shut { until } => Some(until),
                Phase::Free | Phase::Waiting { .. } | Phase::Opening { .. } => None,
            },
        }
    }

    /// When it may be another though nothing happens.
    pub(super) fn changes(&self, seen: &PoolSeen) -> Option<Timestamp> {
        match self.phase {
            Phase::Free => Some(later(waited(seen, self.freed)?, patience(seen))),
            Phase::Waiting { since } => Some(match waited(seen, self.freed) {
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

    /// Those of its lanes that have waited too long while another got a node later and lacks none: what they lack is not the pool's.
    pub(super) fn stranded<'a>(
        &self,
        seen: &'a PoolSeen,
        all: &[LaneNeed],
        at: Timestamp,
    ) -> Vec<&'a LaneNeed> {
        let mark = match self.phase {
            Phase::Free | Phase::Waiting { .. } => self.freed,
            Phase::Opening { since, .. } => since,
            Phase::Shut { .. } => return Vec::new(),
        };
        // Under its owner's limits it gives none to anybody.
        if seen.full.is_some() {
            return Vec::new();
        }
        let long = patience(seen);
        let lacks = |lane: &LaneNeed| lane.waiting.is_some_and(|since| later(since, long) <= at);
        let is_stranded = |lane: &&LaneNeed| {
            let Some(since) = lane.waiting.filter(|since| mark <= *since) else { return false };
            let thrives = |other: &LaneNeed| {
                let is_later = other.placed.is_some_and(|placed| since <= placed);
                other.target != lane.target && is_later && !lacks(other)
            };
            lacks(lane) && all.iter().any(thrives)
        };
        seen.lanes.iter().filter(is_stranded).collect()
    }

    /// After another look.
    pub(super) fn next(mut self, seen: &PoolSeen, at: Timestamp) -> Self {
        let is_told = self.listen(seen, at);
        let waits = |mark, limit| {
            waited(seen, mark).map(|since| span(since, at)).filter(|waited| limit <= *waited)
        };
        let is_served = |since: Timestamp| {
            let served = seen.lanes.iter().filter_map(|lane| lane.served).max();
            let came = served.max(seen.newest);
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
            // Nothing else was held against it.
            Phase::Waiting { since } if self.limited.is_some() && self.heard < since => Phase::Free,
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
            Phase::Opening { since, .. }
                if is_denied(seen, since, is_told) || waits(since, lasts(seen)).is_some() =>
            {
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
        if let (Some(what), Phase::Waiting { .. }) = (&seen.full, phase) {
            self.limit(what, at);
        } else if let (Some(long), Phase::Free) = (long, self.phase)
            && phase != Phase::Free
        {
            let what = format!("a pod has waited {} s for a node", long.as_secs()).into();
            self.note(Sign { at, is_hard: false, what });
        }
        match (self.phase, phase) {
            (Phase::Free, Phase::Free) => {}
            (_, Phase::Free) => {
                (self.freed, self.pause, self.limited) = (at, seen.pool.probe, None);
            }
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

    /// Takes in the hard signs that are new; true when there was one. What is said while only those wait that tell nothing new does not, either.
    fn listen(&mut self, seen: &PoolSeen, at: Timestamp) -> bool {
        let is_new = |sign: &&Sign| {
            let is_known = || self.evidence.iter().any(|known| known == *sign);
            self.heard <= sign.at && span(sign.at, at) < SOON && !is_known()
        };
        let waits = |lane: &&LaneNeed| lane.waiting.is_some_and(|since| self.freed <= since);
        let waiting = seen.lanes.iter().filter(waits);
        let counts = waiting.clone().count() != 0 || waited(seen, Timestamp::MIN).is_none();
        let of_pool = seen.signs.iter().filter(|_| counts);
        let signs = of_pool.chain(waiting.flat_map(|lane| &lane.signs));
        let mut new: Vec<Sign> = signs.filter(is_new).cloned().collect();
        new.sort_by_key(|sign| sign.at);
        let is_told = !new.is_empty();
        for sign in new {
            self.heard = self.heard.max(sign.at);
            self.note(sign);
        }
        is_told
    }

    /// Notes why it may grow no further; in the place of what was said of that before, since it is one sign and not one more.
    fn limit(&mut self, what: &Arc<str>, at: Timestamp) {
        let sign = Sign { at, is_hard: true, what: Arc::clone(what) };
        if self.phase == Phase::Free {
            self.note(sign);
        } else if let Some(told) = self.limited.as_ref().filter(|told| *told != what) {
            let of_it = |it: &&mut Sign| it.what == *told && later(it.at, REPEAT) <= at;
            let Some(before) = self.evidence.last_mut().filter(of_it) else { return };
            *before = sign;
        } else {
            return;
        }
        self.limited = Some(Arc::clone(what));
    }

    /// Adds to what it rests on.
    pub(super) fn note(&mut self, sign: Sign) {
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

/// Is there nothing for those who have tried since then? Where several wait, nobody can tell about whom a word on the pool is.
fn is_denied(seen: &PoolSeen, since: Timestamp, is_told: bool) -> bool {
    let waiting = || seen.lanes.iter().filter(|lane| lane.waiting.is_some());
    let tries = || waiting().filter(|lane| Some(since) <= lane.waiting);
    let was_told = |lane: &LaneNeed| lane.signs.iter().any(|sign| since <= sign.at);
    let is_one = waiting().count() <= 1 && tries().count() == waiting().count();
    is_told && is_one || tries().count() != 0 && tries().all(was_told)
}
