//! Our own writes and the hands of others: what became of what we asked for, who else writes this count, and so whether a stage
//! may be written now. Called first and last in a stage's turn; how many replicas it should have is not its concern.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::Costs;
use super::demand::Bid;
use super::plan::{Action, Ending, ForeignWriter, Outcome};
use super::reason::Reason;
use super::snapshot::{Workload, Writing};

/// An answer comes within 3 s of the start, which comes at once; after this long it is not coming any more.
const ANSWER: Duration = Duration::from_secs(8);
/// A hand that comes back sooner than this after it was taken over is no hand but another writer.
const RETURNS: Duration = Duration::from_mins(1);
/// Conflicts this far back count for the length of the back-off.
const CONFLICTS: Duration = Duration::from_mins(30);
/// Longest back-off. Whoever changes our count for the third time within it is left alone for so long at once.
const LONGEST: Duration = Duration::from_mins(10);
const THIRD: usize = 3;
/// The present count is not claimed more often than this.
const CLAIMS: Duration = Duration::from_mins(1);
/// Finished Jobs are removed no more often than this: until then the watch has shown that those before are gone.
const TIDIES: Duration = Duration::from_secs(5);
/// After they could not be, they are left alone for so long.
const UNTIDY: Duration = Duration::from_mins(5);
/// A reading of the target this much later than an accepted write has seen it, whatever its version says.
const SURELY_SEEN: Duration = Duration::from_mins(1);

/// What is remembered of the writes to one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Writes {
    /// The object all this is about.
    uid: Arc<str>,
    /// On its way.
    asked: Option<Asked>,
    /// The last one taken: count, version, when.
    done: Option<Done>,
    /// Nobody knows what became of a write to this count; an older reading of the target is not decided on.
    unread: Option<(u32, Timestamp)>,
    /// The object moved under a write decided on this version.
    outdated: Option<(Arc<str>, Timestamp)>,
    /// When the present count was last claimed; of Jobs, which nobody claims, when finished ones were last removed.
    tended: Option<Timestamp>,
    /// The last one never left: when that was learned.
    unsent: Option<Timestamp>,
    /// The count we last wrote or saw: another one is someone's doing.
    known: Option<u32>,
    /// Someone's count that the next write replaces.
    hand: Option<Hand>,
    /// When a hand's count was last replaced.
    taken: Option<Timestamp>,
    /// Recent conflicts, newest last, at most four.
    conflicts: Vec<Timestamp>,
    /// When others changed our count lately, newest last, at most three.
    #[serde(default)]
    reverts: Vec<Timestamp>,
    /// When one was last left alone for the longest time: until that is long past, one write of ours is enough to be undone.
    rival: Option<Timestamp>,
    /// Refusals in a row.
    refusals: u32,
    /// Nothing is written until then, and why.
    blocked: Option<Box<(Timestamp, Reason)>>,
    /// Which of its pods were told to go first.
    #[serde(default)]
    pub(super) costs: Option<Box<Costs>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Asked {
    to: u32,
    since: Timestamp,
    /// What it was decided for: still the reason to give until the watch shows it.
    why: Reason,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Done {
    to: u32,
    /// Did it change a count above zero? Claims and waking start no rest.
    starts_rest: bool,
    why: Reason,
    version: Arc<str>,
    at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Hand {
    /// Field manager, once a conflict named it.
    manager: Option<Arc<str>>,
    theirs: u32,
}

impl Writes {
    /// Takes in what became of earlier writes and what the target says now. Returns the accepted moves, oldest first.
    pub(super) fn settle(
        &mut self,
        workload: &Workload,
        outcomes: &[&Outcome],
        at: Timestamp,
        may_act: bool,
    ) -> Vec<Move> {
        if self.uid != workload.uid {
            *self = Self { uid: Arc::clone(&workload.uid), ..Self::default() };
        }
        let mut moves = Vec::new();
        for outcome in outcomes {
            if outcome.action.scale().uid == self.uid {
                moves.extend(self.take(outcome));
            }
        }
        if let Some(asked) = self.asked.take_if(|asked| ANSWER < span(asked.since, at)) {
            self.unread = Some((asked.to, asked.since));
        }
        if self.unread.is_some_and(|(_, since)| since < workload.read_at)
            && let Some((to, _)) = self.unread.take()
            && to == workload.desired
        {
            self.known = Some(to);
        }
        if self.outdated.as_ref().is_some_and(|(version, since)| {
            *version != workload.resource_version || *since < workload.read_at
        }) {
            self.outdated = None;
        }
        if self.blocked.as_ref().is_some_and(|blocked| blocked.0 <= at) {
            self.blocked = None;
        }
        moves.extend(self.notice(workload, at, may_act));
        moves
    }

    fn take(&mut self, outcome: &Outcome) -> Option<Move> {
        let scale = outcome.action.scale();
        self.asked = None;
        if let Action::GiveUpFirst(_) = outcome.action {
            // It was about the pods; the count is as it was.
            self.costs.get_or_insert_default().take(outcome);
            return None;
        }
        match &outcome.result {
            Ending::Done { resource_version } => {
                if scale.to < scale.from
                    && let Some(costs) = &mut self.costs
                {
                    costs.step();
                }
                self.done = Some(Done {
                    to: scale.to,
                    starts_rest: 0 < scale.from && scale.from != scale.to,
                    why: scale.why.clone(),
                    version: Arc::clone(resource_version),
                    at: outcome.at,
                });
                self.known = Some(scale.to);
                self.refusals = 0;
                self.unread = None;
                self.outdated = None;
                if self.hand.take().is_some() || scale.force || self.has_rival(outcome.at) {
                    self.taken = Some(outcome.at);
                }
                return Move::of(&outcome.action, outcome.at);
            }
            Ending::Conflict { writer } => self.conflict(Some(writer), scale.from, outcome.at),
            Ending::Outdated => {
                self.outdated = Some((Arc::clone(&scale.resource_version), outcome.at));
                // A claim that met a newer object claimed nothing: the next look may.
                self.tended = None;
            }
            Ending::NotSent { .. } => self.unsent = Some(outcome.at),
            Ending::Gone => self.outdated = Some((Arc::clone(&scale.resource_version), outcome.at)),
            Ending::Refused { .. }
                if matches!(outcome.action, Action::StartJobs(_)) && scale.from == scale.to =>
            {
                // Finished Jobs may not be removed: that keeps nobody from working.
                self.tended = Some(later(outcome.at, UNTIDY));
            }
            Ending::Refused { code, message } => {
                self.refusals = self.refusals.saturating_add(1);
                let pause = growing(Duration::from_secs(30), 2, self.refusals);
                let until = later(outcome.at, pause);
                let message = message.clone();
                let refused = Reason::WriteRefused { code: *code, message, until };
                self.blocked = Some(Box::new((until, refused)));
            }
            Ending::Unknown { .. } => self.unread = Some((scale.to, outcome.at)),
        }
        None
    }

    /// Someone else owns the count. A hand is taken over, once; whoever comes back, or applies again and again, is left alone.
    fn conflict(&mut self, writer: Option<&ForeignWriter>, theirs: u32, at: Timestamp) {
        self.reverts.retain(|&earlier| span(earlier, at) < LONGEST);
        // What stands since before our last write was counted then.
        let is_new =
            self.reverts.last().is_none_or(|&last| self.last().is_some_and(|at| last <= at));
        if is_new {
            self.reverts.push(at);
        }
        let is_third = THIRD <= self.reverts.len();
        if is_third {
            self.reverts.remove(0);
        }
        let returns = if self.has_rival(at) { LONGEST } else { RETURNS };
        let comes_back = self.taken.is_some_and(|taken| span(taken, at) < returns);
        if is_third || comes_back && self.has_rival(at) {
            self.rival = Some(at);
        }
        let manager = writer.map(|writer| Arc::clone(&writer.manager));
        if is_third || comes_back || writer.is_some_and(|writer| writer.applies) {
            self.block(&manager.unwrap_or_else(|| "another writer".into()), at);
        } else {
            self.hand = Some(Hand { manager, theirs });
        }
    }

    /// Is there someone who fought us over the count of late?
    fn has_rival(&self, at: Timestamp) -> bool {
        self.rival.is_some_and(|since| span(since, at) < CONFLICTS)
    }

    fn block(&mut self, manager: &Arc<str>, at: Timestamp) {
        self.hand = None;
        self.conflicts.retain(|&earlier| span(earlier, at) < CONFLICTS);
        self.conflicts.push(at);
        if 4 < self.conflicts.len() {
            self.conflicts.remove(0);
        }
        let times = u32::try_from(self.conflicts.len()).unwrap_or(u32::MAX);
        let pause =
            if self.has_rival(at) { LONGEST } else { growing(Duration::from_mins(1), 3, times) };
        let until = later(at, pause);
        let manager = manager.to_string();
        self.blocked = Some(Box::new((until, Reason::WriterConflict { manager, until })));
    }

    /// A count that is neither the last we saw nor one we wrote is someone's doing.
    /// A move of another Penstock, which is what a standby sees, is returned as one of ours.
    fn notice(&mut self, workload: &Workload, at: Timestamp, may_act: bool) -> Option<Move> {
        if self.asked.is_some() || self.unread.is_some() || self.is_behind(workload) {
            return None;
        }
        let theirs = workload.desired;
        let before = self.known.replace(theirs).filter(|&before| before != theirs)?;
        if workload.jobs.is_some() {
            // They end by themselves; more of them are another Penstock's, as a standby sees it.
            return (before < theirs).then_some(Move { at, from: before, to: theirs });
        }
        if !may_act || workload.is_ours {
            return Some(Move { at, from: before, to: theirs });
        }
        match &workload.writing {
            // An apply that meets another owner says who it is: no need to guess.
            Writing::Apply => {}
            Writing::Merge => self.conflict(None, theirs, at),
            Writing::Field(field) => self.conflict(field.writer.as_ref(), theirs, at),
        }
        None
    }

    /// Who writes nothing has nobody in his way: what others did meanwhile is not held against them.
    pub(super) fn forgive(&mut self) {
        self.hand = None;
        self.reverts.clear();
        let is_theirs = |blocked: &mut Box<(Timestamp, Reason)>| {
            matches!(blocked.1, Reason::WriterConflict { .. })
        };
        drop(self.blocked.take_if(is_theirs));
    }

    /// Is the reading of the target older than our last accepted write?
    fn is_behind(&self, workload: &Workload) -> bool {
        let Some(done) = &self.done else { return false };
        if later(done.at, SURELY_SEEN) < workload.read_at {
            return false;
        }
        match (workload.resource_version.parse::<u64>(), done.version.parse::<u64>()) {
            (Ok(cached), Ok(written)) => cached < written,
            _ => workload.resource_version != done.version && workload.read_at <= done.at,
        }
    }

    /// The bid that stands while the target's count cannot be trusted: after a write, until its answer has come and the watch
    /// shows it.
    pub(super) fn stands(&self, workload: &Workload) -> Option<Bid> {
        if let Some(Asked { to, why, .. }) = &self.asked {
            return Some(Bid { replicas: *to, why: vec![Reason::WriteInFlight, why.clone()] });
        }
        if self.unread.is_some() {
            let message = "no answer came".to_owned();
            return Some(Bid::new(workload.desired, Reason::OutcomeUnknown { message }));
        }
        if let Some(Done { to, why, .. }) = self.done.as_ref().filter(|_| self.is_behind(workload))
        {
            return Some(Bid { replicas: *to, why: vec![Reason::WriteInFlight, why.clone()] });
        }
        let outdated = self.outdated.is_some();
        outdated.then(|| Bid::new(workload.desired, Reason::WriteInFlight))
    }

    /// When our last write was accepted.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.done.as_ref().map(|done| done.at)
    }

    /// Why nothing may be written though the count is known.
    pub(super) fn forbidden(&self, workload: &Workload) -> Option<Reason> {
        if let Some(hpa) = &workload.hpa {
            return Some(Reason::HpaOnTarget { hpa: hpa.to_string() });
        }
        self.blocked.as_ref().map(|blocked| blocked.1.clone())
    }

    /// When the shortest gap after the last accepted move ends. Waking starts none: the first poll after it may tell more; nor does a
    /// claim, which changes nothing.
    pub(super) fn rests_until(&self, gap: Duration, at: Timestamp) -> Option<Timestamp> {
        let done = self.done.as_ref().filter(|done| done.starts_rest)?;
        Some(later(done.at, gap)).filter(|&until| at < until)
    }

    /// What was told to the pods.
    pub(super) fn costs(&self) -> Option<&Costs> {
        self.costs.as_deref()
    }

    /// When to look again though nothing happens.
    pub(super) fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let second = Duration::from_secs(1);
        let answer = self.asked.as_ref().map(|asked| later(later(asked.since, ANSWER), second));
        let again = self.unsent.map(|at| later(at, second));
        let free = self.blocked.as_ref().map(|blocked| blocked.0);
        let tidy = self.tended.map(|tended| later(tended, TIDIES));
        let told = self.costs.as_ref().and_then(|costs| costs.next());
        let all = answer.into_iter().chain(again).chain(free).chain(tidy).chain(told);
        all.filter(|&next| at < next).min()
    }

    /// Someone's count that the next write replaces: with force once a conflict named them.
    pub(super) fn hand(&self) -> Option<(bool, Reason)> {
        let hand = self.hand.as_ref()?;
        let manager = hand.manager.as_deref().unwrap_or("another writer").to_owned();
        Some((hand.manager.is_some(), Reason::TakenOver { manager, theirs: hand.theirs }))
    }

    /// May the present count be claimed (again)?
    pub(super) fn may_claim(&self, at: Timestamp) -> bool {
        self.tended.is_none_or(|tended| CLAIMS <= span(tended, at))
    }

    /// May finished Jobs be removed (again)?
    pub(super) fn may_tidy(&self, at: Timestamp) -> bool {
        self.tended.is_none_or(|tended| later(tended, TIDIES) <= at)
    }

    /// Bytes on the heap, text apart.
    pub(super) fn weight(&self) -> usize {
        let blocked = self.blocked.as_ref().map_or(0, |_| size_of::<(Timestamp, Reason)>());
        let times = self.conflicts.capacity() + self.reverts.capacity();
        let costs = self.costs.as_ref().map_or(0, |_| size_of::<Costs>());
        times * size_of::<Timestamp>() + blocked + costs
    }

    /// Notes that an action is on its way.
    pub(super) fn ask(&mut self, action: &Action, at: Timestamp) {
        let scale = action.scale();
        self.unsent = None;
        if let Action::Claim(_) = action {
            self.tended = Some(at);
        }
        if let Action::StartJobs(jobs) = action
            && !jobs.remove.is_empty()
        {
            self.tended = Some(at);
        }
        self.asked = Some(Asked { to: scale.to, since: at, why: scale.why.clone() });
    }
}

/// An accepted change of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) at: Timestamp,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Move {
    fn of(action: &Action, at: Timestamp) -> Option<Self> {
        let scale = action.scale();
        (scale.from != scale.to).then_some(Self { at, from: scale.from, to: scale.to })
    }
}

/// Time from `earlier` to `later`; none when the clock went back.
pub(super) fn span(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// `at` plus `by`, or the end of time.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `first` for the first time, `factor` times longer each time after, never longer than the longest.
fn growing(first: Duration, factor: u32, times: u32) -> Duration {
    first.saturating_mul(factor.saturating_pow(times.saturating_sub(1))).min(LONGEST)
}
