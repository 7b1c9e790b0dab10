//! Holds a bid back until it has earned the right to move. Called after `demand` and `blind`. It only smooths wishes: it never
//! raises a bid above what ran or was wished, and what the owner wrote in `behavior` comes last, as a hard limit.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::demand::Bid;
use super::limits::{self, Moves, Wishes};
use super::minutes::Minutes;
use super::pipeline::Behaviour;
use super::reason::Reason;
use super::window::{self, Window};
use super::writes::{Move, later};

/// Minutes in a row with arrivals that make a stream: fewer are a burst.
const STREAM: usize = 4;
/// Silence after a stream is held against a lower count for so long.
const SILENCE: Duration = Duration::from_mins(10);
/// The down window before fewer replicas than keep up are tried for a while.
const SPELL: Duration = Duration::from_secs(30);

/// What is remembered so that nothing flaps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calm {
    /// Wishes within the down window, and within a written up window.
    highs: Wishes,
    lows: Wishes,
    moves: Moves,
    /// How long more than needed is kept.
    window: Window,
    /// Is the last move down that was asked for one that rides on the slack of the objective?
    rides: bool,
    /// A hold that is under way: how many, since when.
    held: Option<(u32, Timestamp)>,
    silence: Silence,
}

/// What keeps a stage from going down for now, whatever is wished, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brake {
    /// Too little has been seen since Penstock began to look.
    Start(Timestamp),
    /// Arrivals stopped all at once.
    Silence(Timestamp),
    /// Pods asked for are not Ready yet; so many are.
    Pods(u32, Timestamp),
}

impl Brake {
    fn until(self) -> Timestamp {
        match self {
            Self::Start(until) | Self::Silence(until) | Self::Pods(_, until) => until,
        }
    }

    fn reason(self, wished: u32, kept: u32) -> Reason {
        match self {
            Self::Start(until) => Reason::HeldSinceStart { wished, kept, until },
            Self::Silence(until) => Reason::HeldBySilence { wished, until },
            Self::Pods(ready, _) => Reason::AwaitingPods { wished, ready },
        }
    }
}

/// How much of a stage's own calm a bid is subject to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// All of it.
    No,
    /// The owner said what to do and when (fallback): windows do not apply, policies do.
    Told,
    /// To sleep, or awake: `idle` and `activation` govern that, as in KEDA; only a direction that is disabled stays so.
    Sleep,
}

/// The moment a bid is judged at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) at: Timestamp,
    /// What runs, within bounds.
    pub(super) current: u32,
    pub(super) behaviour: &'a Behaviour,
    /// Penstock's own down window before lengthening.
    pub(super) window: Duration,
    /// A stage that wakes gets so many, whatever the policies: waking is no change of size.
    pub(super) least: u32,
}

impl Calm {
    /// Takes in an accepted move; `first` is the down window before anything is learned.
    pub(super) fn moved(&mut self, moved: Move, first: Duration, behaviour: &Behaviour) {
        self.moves.push(moved, behaviour);
        self.window.moved(moved, self.rides, first);
    }

    /// A window that was open in an earlier life.
    pub(super) fn recall(&mut self, (replicas, since): (u32, Timestamp)) {
        self.highs.push_high(replicas, since, Duration::MAX);
        self.held = Some((replicas, since));
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.highs.weight() + self.lows.weight() + self.moves.weight()
    }

    /// Notes how fast items arrive, for the guard against silence, and where they size the stage for the window.
    pub(super) fn listen(&mut self, arrivals: Arrivals, sizes: bool, at: Timestamp) {
        if sizes {
            self.window.listen(arrivals.recent, arrivals.sudden.max(arrivals.recent));
        }
        self.silence.listen(arrivals, at);
    }

    /// Did arrivals stop all at once, and until when is that held against a lower count?
    pub(super) fn silent(&self, arrivals: Arrivals, at: Timestamp) -> Option<Timestamp> {
        self.silence.until(arrivals, self.window.patience(), at)
    }

    /// The down window in force.
    pub(super) fn window(&self, moment: &Moment<'_>) -> Duration {
        moment.behaviour.down.window.unwrap_or_else(|| self.own_window(moment.window))
    }

    /// Penstock's own, from the first one.
    pub(super) fn own_window(&self, first: Duration) -> Duration {
        self.window.length(first)
    }

    /// Holds the bid as long as it has to be. Returns when to look again.
    pub(super) fn hold(
        &mut self,
        bid: &mut Bid,
        moment: &Moment<'_>,
        brakes: &[Brake],
        haste: Haste,
    ) -> Option<Timestamp> {
        let Moment { at, current, behaviour, .. } = *moment;
        limits::tolerate(bid, current, behaviour);
        self.window.wished(bid.replicas, current, moment.window, at);
        let window = self.window(moment);
        let rides = bid.why.iter().any(|reason| matches!(reason, Reason::OnSlack { .. }));
        // What is to be undone anyway need not have been enough for long.
        let is_own = behaviour.down.window.is_none();
        let kept = if rides && is_own { window.min(SPELL) } else { window };
        let rise = behaviour.up.window.unwrap_or_default();
        self.highs.push_high(bid.replicas, at, window.max(Duration::from_mins(1)));
        if self.lows.is_empty() {
            // As the HPA begins: what runs counts as the first wish.
            self.lows.push_low(current, at, rise);
        }
        self.lows.push_low(bid.replicas, at, rise);
        let mut next = None;
        if haste == Haste::No && bid.replicas < current {
            next = self.keep(bid, current, kept, is_own, at);
        }
        if haste == Haste::No && bid.replicas < current {
            next = brake(bid, current, brakes).or(next);
        }
        if haste == Haste::No && current < bid.replicas {
            next = self.wait(bid, current, rise, at);
        }
        if bid.replicas < current {
            self.rides = rides;
        }
        let loosens = match haste {
            Haste::Sleep => limits::direction(bid, current, behaviour),
            Haste::No | Haste::Told => limits::limit(bid, moment, &self.moves),
        };
        next.or(loosens)
    }

    /// Keeps the largest wish within the down window.
    fn keep(
        &mut self,
        bid: &mut Bid,
        current: u32,
        window: Duration,
        is_own: bool,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let (since, peak) = self.highs.extreme(at, window)?;
        let wished = bid.replicas;
        // A wish that fell step by step is followed in one.
        let soon = window.saturating_sub(window::FALLING);
        let next = self.highs.extreme(at, soon).map_or(wished, |(_, next)| next);
        let falls = is_own && next < peak && peak < current;
        let fell = self.window.fell(window, at).filter(|_| falls);
        let (kept, window) = match fell {
            Some(fell) => (current, fell),
            None => (peak.min(current), window),
        };
        if kept <= wished {
            return None;
        }
        bid.set(kept, Reason::HeldByWindow { wished, peak: kept, window });
        Some(later(since, window))
    }

    /// Goes no higher than the smallest wish within a written up window.
    fn wait(
        &mut self,
        bid: &mut Bid,
        current: u32,
        window: Duration,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let (since, lowest) = self.lows.extreme(at, window)?;
        let wished = bid.replicas;
        let lowest = lowest.max(current);
        if wished <= lowest {
            return None;
        }
        bid.set(lowest, Reason::HeldByUpWindow { wished, lowest, window });
        Some(later(since, window))
    }

    /// The hold under way after this turn: how many are kept above what is wished, since when.
    pub(super) fn held(&mut self, bid: &Bid, at: Timestamp) -> Option<(u32, Timestamp)> {
        let is_held = bid.why.iter().any(|reason| {
            matches!(reason, Reason::HeldByWindow { .. } | Reason::HeldSinceStart { .. })
        });
        self.held = is_held.then_some(match self.held {
            Some((replicas, since)) if replicas == bid.replicas => (replicas, since),
            Some(_) | None => (bid.replicas, at),
        });
        self.held
    }
}

/// Applies the brake that lasts longest.
fn brake(bid: &mut Bid, current: u32, brakes: &[Brake]) -> Option<Timestamp> {
    let brake = brakes.iter().max_by_key(|brake| brake.until())?;
    bid.set(current, brake.reason(bid.replicas, current));
    Some(brake.until())
}

/// How fast items arrived, at the most, in each of the last minutes: enough for a stream and the silence after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Silence(Minutes);

impl Silence {
    /// Minutes without a look were like the reading that ends them, which tells of all the time since the last one.
    fn listen(&mut self, arrivals: Arrivals, at: Timestamp) {
        self.0.fill(at, arrivals.recent);
    }

    /// Silence after a stream (not after a burst, and not a pause among few items) is held against a lower count until the stream
    /// is ten minutes past, or that share of them which `patience` is. What came before the stream and comes again is no silence.
    fn until(&self, arrivals: Arrivals, patience: f64, at: Timestamp) -> Option<Timestamp> {
        let peak = self.0.last().map(|(_, most)| most).fold(0.0, f32::max);
        let is_quiet = arrivals.recent < 0.1 * f64::from(peak);
        if !is_quiet || 20.0 * f64::from(peak) <= 10.0 {
            return None;
        }
        let is_strong = |&(_, most): &(i64, f32)| 0.3 * peak <= most;
        let minutes: Vec<_> = self.0.last().collect();
        let (latest, _) = *minutes.iter().find(|minute| is_strong(minute))?;
        let mut runs = minutes.chunk_by(|a, b| is_strong(a) == is_strong(b));
        runs.find(|run| STREAM <= run.len() && run.first().is_some_and(is_strong))?;
        // The middle one of the minutes before: neither one odd minute nor the way up.
        let before = runs.next().unwrap_or_default().iter().map(|it| it.1);
        let mut before: Vec<f32> = before.filter(|most| 0.0 < *most).collect();
        before.sort_by(f32::total_cmp);
        let usual = before.get(before.len() / 2).map(|usual| f64::from(*usual));
        if usual.is_some_and(|usual| 0.5 * usual <= arrivals.recent) {
            return None;
        }
        let passed = Timestamp::from_second(latest * 60).ok()?;
        let until = later(passed, SILENCE.mul_f64(patience));
        (at < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(recent: f64) -> Arrivals {
        Arrivals { minute: recent, recent, sudden: recent, is_jump: false, is_mature: true }
    }

    /// Is silence held against a lower count after these levels, each with how many minutes it lasted?
    fn is_held(levels: &[(f64, i64)]) -> bool {
        is_held_by_looks_every(2, levels)
    }

    fn is_held_by_looks_every(step: usize, levels: &[(f64, i64)]) -> bool {
        let mut silence = Silence::default();
        let mut now = 6_000;
        let mut last = 0.0;
        for &(level, minutes) in levels {
            for second in (now..now + 60 * minutes).step_by(step) {
                let at = Timestamp::from_second(second).unwrap();
                silence.listen(of(level), at);
            }
            now += 60 * minutes;
            last = level;
        }
        silence.until(of(last), 1.0, Timestamp::from_second(now).unwrap()).is_some()
    }

    #[test]
    fn a_stream_that_stops_is_held_and_bursts_are_not() {
        assert!(is_held(&[(100.0, 20), (0.0, 2)]));
        assert!(is_held(&[(100.0, 4), (0.0, 1)]), "four minutes are a stream");
        assert!(!is_held(&[(100.0, 3), (0.0, 1)]), "three are a burst");
        let bursts = [(100.0, 3), (0.0, 1), (100.0, 3), (0.0, 1)];
        assert!(!is_held(&bursts), "two bursts are no stream");
        assert!(!is_held(&[(100.0, 4), (0.0, 12)]), "ten minutes are enough");
        let blip = [(100.0, 8), (0.0, 2), (100.0, 1), (0.0, 1)];
        assert!(is_held(&blip), "a producer that came back for a minute is gone all the same");
        let slow = |levels| is_held_by_looks_every(120, levels);
        assert!(slow(&[(100.0, 20), (0.0, 2)]), "minutes without a look are no pauses");
        assert!(!slow(&[(0.0, 8), (100.0, 2), (0.0, 2)]), "and one look is no stream");
    }

    #[test]
    fn what_came_before_a_stream_and_comes_again_is_no_silence() {
        assert!(!is_held(&[(5.0, 3), (100.0, 6), (5.0, 1)]));
        assert!(!is_held(&[(5.0, 1), (100.0, 6), (5.0, 1)]), "one minute tells as well");
        assert!(is_held(&[(5.0, 3), (100.0, 6), (1.0, 1)]), "less than before is");
        let hiccup = [(25.0, 3), (0.2, 1), (25.0, 3), (100.0, 5), (0.15, 1)];
        assert!(is_held(&hiccup), "one odd minute is not what is usual");
        assert!(
            is_held(&[(5.0, 3), (100.0, 14), (5.0, 1)]),
            "nobody knows any more what was before"
        );
        assert!(
            is_held(&[(100.0, 8), (5.0, 2)]),
            "a twentieth of a stream is not what was before it"
        );
    }
}
