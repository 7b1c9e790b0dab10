//! The latest answer to each question, and how good it is by now. Written by the visits, read by [`Observe::latest`](super::Observe).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Answer, Error};
use crate::decide::{Lost, Missing, Observation, QuestionId, Reading};

/// A complete reading older than this is stale, however short the poll interval.
const STALE_FLOOR: Duration = Duration::from_secs(10);

/// How often a question was asked and what came of it, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polls {
    /// Complete answers.
    pub fresh: u64,
    /// Answers with a part missing.
    pub partial: u64,
    /// No answer.
    pub failed: u64,
    /// How long the latest visit took that asked it.
    pub took: Duration,
}

/// What hangs on the board for one question.
#[derive(Debug)]
struct Standing {
    poll_interval: Duration,
    polls: Polls,
    /// Since when nothing complete has come: the last complete reading, or when it was first asked.
    since: Timestamp,
    whole: Option<Arc<Reading>>,
    /// The latest answer, when it was not complete.
    flaw: Option<Flaw>,
}

#[derive(Debug)]
enum Flaw {
    Part(Arc<Reading>, Lost),
    Nothing(Error),
}

/// Answers by question. Locks are held for a map access at most.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<QuestionId, Standing>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<QuestionId, Standing>> {
        // A panic elsewhere cannot leave a map entry half written, so the map is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for these questions and forgets all others; answers already there stay.
    pub(super) fn expect<'a>(
        &self,
        questions: impl Iterator<Item = (&'a QuestionId, Duration, bool)>,
        now: Timestamp,
    ) {
        let mut board = self.lock();
        let mut old = std::mem::take(&mut *board);
        for (id, poll_interval, is_changed) in questions {
            let standing = match old.remove(id) {
                Some(standing) if !is_changed => Standing { poll_interval, ..standing },
                _ => {
                    let polls = Polls::default();
                    Standing { poll_interval, polls, since: now, whole: None, flaw: None }
                }
            };
            board.insert(id.clone(), standing);
        }
    }

    /// Hangs up the answers of one visit, read at `at`, which took so long.
    pub(super) fn publish(
        &self,
        at: Timestamp,
        took: Duration,
        answers: Vec<(QuestionId, Answer)>,
    ) {
        let mut board = self.lock();
        for (id, answer) in answers {
            // A question that was withdrawn during the visit has no place any more.
            let Some(standing) = board.get_mut(&id) else { continue };
            let polls = &mut standing.polls;
            polls.took = took;
            *match &answer {
                Ok((_, None)) => &mut polls.fresh,
                Ok((_, Some(_))) => &mut polls.partial,
                Err(_) => &mut polls.failed,
            } += 1;
            match answer {
                Ok((value, None)) => {
                    standing.since = at;
                    standing.whole = Some(Arc::new(Reading { at, value }));
                    standing.flaw = None;
                }
                Ok((value, Some(lost))) => {
                    standing.flaw = Some(Flaw::Part(Arc::new(Reading { at, value }), lost));
                }
                Err(error) => standing.flaw = Some(Flaw::Nothing(error)),
            }
        }
    }

    /// How often a question was asked; `None` when it is not in force.
    pub(super) fn polls(&self, id: &QuestionId) -> Option<Polls> {
        self.lock().get(id).map(|standing| standing.polls)
    }

    /// How good the latest answer is now; `None` while nobody has answered since it was asked.
    pub(super) fn latest(&self, id: &QuestionId, now: Timestamp) -> Option<Observation> {
        let board = self.lock();
        let standing = board.get(id)?;
        let limit = STALE_FLOOR.max(standing.poll_interval.saturating_mul(3));
        let age_of = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        let late = || Missing {
            label: "Late".into(),
            message: format!("nothing has come for {} s", age_of(standing.since).as_secs()).into(),
            is_lasting: false,
            since: standing.since,
        };
        match (&standing.flaw, &standing.whole) {
            (None, None) if age_of(standing.since) > limit => Some(Observation::Failed(late())),
            (None, None) => None,
            (None, Some(whole)) if age_of(whole.at) > limit => {
                Some(Observation::Stale(Arc::clone(whole), late()))
            }
            (None, Some(whole)) => Some(Observation::Fresh(Arc::clone(whole))),
            (Some(Flaw::Part(part, lost)), _) if age_of(part.at) <= limit => {
                Some(Observation::Partial(Arc::clone(part), lost.clone()))
            }
            (Some(Flaw::Part(..)), Some(whole)) => {
                Some(Observation::Stale(Arc::clone(whole), late()))
            }
            (Some(Flaw::Part(..)), None) => Some(Observation::Failed(late())),
            (Some(Flaw::Nothing(error)), Some(whole)) => {
                Some(Observation::Stale(Arc::clone(whole), error.missing(standing.since)))
            }
            (Some(Flaw::Nothing(error)), None) => {
                Some(Observation::Failed(error.missing(standing.since)))
            }
        }
    }
}
