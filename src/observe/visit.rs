//! One task for each address: connect, ask all due questions at once, back off, publish. Started and told what to ask by
//! `office.rs`; what a server's answers mean is left to its [`Source`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::{Asked, Credentials, Error, Question, Source};
use crate::clock::Clock;
use crate::decide::{Missing, QuestionId};

/// How long one visit may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// What a source may overrun its deadline before it is taken for hung and its client is given up.
const GRACE: Duration = Duration::from_millis(500);
/// Questions due within this are asked together.
const SLACK: Duration = Duration::from_millis(100);
/// A server that refuses us is tried at the polls so many times, then ever more rarely: it takes somebody to mend that.
const PATIENCE_WHEN_REFUSED: u32 = 5;
/// One that is away is tried at the polls for so long, since brokers restart and shall be found within two polls.
const PATIENCE_WHEN_AWAY: Duration = Duration::from_mins(2);
/// One line for each server in this time, however it comes and goes.
const COMPLAINT_EVERY: Duration = Duration::from_mins(1);
/// A server that stirs is asked out of turn at most once in this time.
const STIR: Duration = Duration::from_secs(1);
/// The first and the longest pause between two tries.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// All that one address is to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    pub(super) questions: Arc<[Arc<Question>]>,
    pub(super) credentials: Arc<Credentials>,
}

impl Orders {
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.questions.len() != other.questions.len()
            || self.questions.iter().zip(other.questions.iter()).any(|(a, b)| !Arc::ptr_eq(a, b))
            || self.credentials != other.credentials
    }
}

/// The value behind a lock.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves whole values behind, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a visitor is sent out with.
pub(super) struct Errand {
    pub(super) clock: Clock,
    pub(super) board: Arc<Board>,
    pub(super) wake: mpsc::UnboundedSender<Vec<QuestionId>>,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) pressed: Arc<Mutex<BTreeSet<QuestionId>>>,
    pub(super) refusal: Arc<Mutex<Option<Missing>>>,
    pub(super) stop: CancellationToken,
    pub(super) first: Instant,
}

/// Visits one address.
pub(super) struct Visitor<S: Source> {
    to: S::Address,
    errand: Errand,
    orders: Orders,
    client: Option<S>,
    /// What `client` logged in with.
    keys: Arc<Credentials>,
    candidate: Option<Candidate<S>>,
    /// When each question is to be asked next.
    due: BTreeMap<QuestionId, Instant>,
    /// Visits in a row in which the server gave no answer at all.
    silences: u32,
    not_before: Instant,
    /// When the server's stirring last had it asked out of turn.
    stirred: Instant,
    /// When the log was last told of a silence, while it lasts or since.
    complained: Option<Instant>,
}

/// A client with newer credentials that has yet to show that they are good.
struct Candidate<S> {
    client: S,
    keys: Arc<Credentials>,
    /// A login that was refused is tried ever more rarely: it costs the server more than us, and may lock the account.
    not_before: Instant,
    pause: Duration,
}

/// When the server stirs; never while there is no client.
async fn stirred<S: Source>(client: Option<&mut S>) {
    match client {
        Some(client) => client.stir().await,
        None => std::future::pending().await,
    }
}

impl<S: Source> Visitor<S> {
    pub(super) fn new(to: S::Address, errand: Errand) -> Self {
        let first = errand.first;
        Self {
            to,
            errand,
            orders: Orders::default(),
            client: None,
            keys: Arc::default(),
            candidate: None,
            due: BTreeMap::new(),
            silences: 0,
            not_before: first,
            stirred: first,
            complained: None,
        }
    }

    pub(super) async fn run(mut self) {
        self.take_orders();
        loop {
            let next = self.due.values().min().copied().unwrap_or(self.errand.first);
            tokio::select! {
                () = self.errand.stop.cancelled() => break,
                changed = self.errand.orders.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.take_orders();
                }
                () = stirred(self.client.as_mut()), if !self.due.is_empty() => {
                    let soon = Instant::now().max(self.stirred + STIR);
                    self.stirred = soon;
                    self.due.values_mut().for_each(|due| *due = soon.min(*due));
                }
                () = tokio::time::sleep_until(next.max(self.not_before)), if !self.due.is_empty() => {
                    let stop = self.errand.stop.clone();
                    // Dropping a visit half way is safe: what it had asked for is thrown away with the client.
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.visit() => {}
                    }
                }
            }
        }
        self.close().await;
    }

    /// Takes over what is in force now. New and changed questions are due at once.
    fn take_orders(&mut self) {
        let orders = self.errand.orders.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.orders, orders);
        let same: BTreeSet<*const Question> = before.questions.iter().map(Arc::as_ptr).collect();
        let now = Instant::now();
        let mut old = std::mem::take(&mut self.due);
        // An ask of another kind than its address has nobody to answer it: `crd` refuses it, and here it is never due.
        let answerable = |question: &&Arc<Question>| S::ask_of(&question.ask).is_some();
        for question in self.orders.questions.iter().filter(answerable) {
            let known = old.remove(&question.id).filter(|_| same.contains(&Arc::as_ptr(question)));
            self.due.insert(question.id.clone(), known.unwrap_or(now));
        }
        locked(&self.errand.pressed).retain(|id| self.due.contains_key(id));
        if let Some(client) = &mut self.client {
            let in_force: Vec<_> = self
                .orders
                .questions
                .iter()
                .filter_map(|question| S::ask_of(&question.ask))
                .collect();
            client.forget(&in_force);
        }
        if self.keys != self.orders.credentials {
            // Somebody mended something: do not sit out a pause that the old credentials earned.
            self.silences = 0;
            self.not_before = self.not_before.min(now.max(self.errand.first));
        }
    }

    async fn visit(&mut self) {
        let start = Instant::now();
        let questions = Arc::clone(&self.orders.questions);
        let is_due = |question: &Question| {
            self.due.get(&question.id).is_some_and(|due| *due <= start + SLACK)
        };
        let (due, asks): (Vec<&Arc<Question>>, Vec<&S::Ask>) = questions
            .iter()
            .filter(|question| is_due(question))
            .filter_map(|question| Some((question, S::ask_of(&question.ask)?)))
            .unzip();
        let asks: Vec<Asked<'_, S::Ask>> = {
            // What is pressed and not due yet stays so until its own poll.
            let mut pressed = locked(&self.errand.pressed);
            let asked = |(question, ask): (&&Arc<Question>, _)| Asked {
                ask,
                poll_interval: question.poll_interval,
                is_pressed: pressed.remove(&question.id),
            };
            due.iter().zip(asks).map(asked).collect()
        };
        let answers = match self.ready_client(start).await {
            Ok(()) => self.read(&asks, start).await,
            Err(error) => vec![Err(error); asks.len()],
        };
        // Stamped with the start: a reading is never younger than what it says.
        let at = self.errand.clock.at(start);
        let is_silent =
            answers.iter().all(|answer| answer.as_ref().is_err_and(Error::is_of_connection));
        let silence =
            answers.first().filter(|_| is_silent).and_then(|answer| answer.as_ref().err());
        self.schedule(&due, start, silence);
        if let Some(error) = silence {
            self.complain(error, start);
            // Perhaps it is the server that has gone over to what the candidate knows.
            if let Some(candidate) = &mut self.candidate {
                candidate.not_before = start;
            }
        }
        let ids: Vec<QuestionId> = due.iter().map(|question| question.id.clone()).collect();
        self.publish(at, start.elapsed(), ids, answers);
    }

    fn publish(
        &self,
        at: Timestamp,
        took: Duration,
        ids: Vec<QuestionId>,
        answers: Vec<super::Answer>,
    ) {
        self.errand.board.publish(at, took, ids.iter().cloned().zip(answers).collect());
        // The daemon may have gone before us; then nobody needs waking.
        self.errand.wake.send(ids).ok();
    }

    /// Tells the log of a silence when it begins, and not more than once in a while.
    fn complain(&mut self, error: &Error, now: Instant) {
        let is_recent = self.complained.is_some_and(|told| told + COMPLAINT_EVERY > now);
        if self.silences == 1 && !is_recent {
            tracing::warn!(address = %self.to, label = error.label(), "no answer: {error}");
            self.complained = Some(now);
        } else {
            tracing::debug!(address = %self.to, label = error.label(), silences = self.silences, "no answer: {error}");
        }
    }

    /// When the questions just asked are asked again. All questions of an address share one grid of time, so that intervals that
    /// are multiples of each other meet in one visit.
    fn schedule(&mut self, asked: &[&Arc<Question>], start: Instant, silence: Option<&Error>) {
        for question in asked {
            let interval = question.poll_interval.max(SLACK * 2);
            // From now on, not from the start: a visit that took longer than the interval is not made up for.
            let since = (Instant::now() + SLACK).saturating_duration_since(self.errand.first);
            let rounds =
                u32::try_from(since.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX - 1);
            self.due.insert(question.id.clone(), self.errand.first + interval * (rounds + 1));
        }
        let Some(error) = silence else {
            self.silences = 0;
            return;
        };
        self.silences = self.silences.saturating_add(1);
        let base = asked
            .iter()
            .map(|question| question.poll_interval)
            .min()
            .unwrap_or(DEADLINE)
            .max(SLACK);
        let patience = if error.is_lasting() {
            PATIENCE_WHEN_REFUSED
        } else {
            u32::try_from(PATIENCE_WHEN_AWAY.as_millis() / base.as_millis())
                .unwrap_or(0)
                .max(PATIENCE_WHEN_REFUSED)
        };
        if self.silences > patience {
            let doubled = base.saturating_mul(1 << (self.silences - patience).min(10));
            let pause = doubled.min(LONGEST_PAUSE.max(base));
            self.not_before = start + pause.mul_f64(0.75 + fastrand::f64() / 4.0);
        }
    }

    /// Reads, and survives a source that hangs or panics: its client is thrown away and the next visit makes a new one.
    async fn read(&mut self, asks: &[Asked<'_, S::Ask>], start: Instant) -> Vec<super::Answer> {
        let Some(client) = &mut self.client else { return Vec::new() };
        let read = AssertUnwindSafe(client.read(asks, start + DEADLINE)).catch_unwind();
        let error = match tokio::time::timeout_at(start + DEADLINE + GRACE, read).await {
            Ok(Ok(answers)) if answers.len() == asks.len() => return answers,
            Ok(_) => Error::InternalError { at: self.name() },
            Err(_) => Error::Timeout { at: self.name(), detail: "the visit hung".into() },
        };
        self.client = None;
        vec![Err(error); asks.len()]
    }

    fn name(&self) -> Arc<str> {
        self.to.to_string().into()
    }

    /// Sees to it that there is a client, and that it has the newest credentials as soon as these are proven good.
    async fn ready_client(&mut self, start: Instant) -> Result<(), Error> {
        let wanted = Arc::clone(&self.orders.credentials);
        if self.client.is_none() {
            self.candidate = None;
            self.client = Some(S::connect(&self.to, &wanted, self.errand.clock)?);
            self.keys = wanted;
            *locked(&self.errand.refusal) = None;
            return Ok(());
        }
        if self.keys == wanted {
            self.candidate = None;
            *locked(&self.errand.refusal) = None;
            return Ok(());
        }
        if self.candidate.as_ref().is_none_or(|candidate| candidate.keys != wanted) {
            self.candidate = match S::connect(&self.to, &wanted, self.errand.clock) {
                Ok(client) => {
                    let (not_before, pause) = (start, SHORTEST_PAUSE);
                    Some(Candidate { client, keys: wanted, not_before, pause })
                }
                Err(error) => {
                    self.refuse(&error);
                    return Ok(());
                }
            };
        }
        self.try_candidate(start).await;
        Ok(())
    }

    /// Lets the candidate log in; when it can, it takes over. Half of the visit is kept for the client that is in use.
    async fn try_candidate(&mut self, start: Instant) {
        let ready = self.candidate.take_if(|candidate| candidate.not_before <= start);
        let Some(mut candidate) = ready else { return };
        match candidate.client.greet(start + DEADLINE / 2).await {
            Ok(()) => {
                if let Some(mut old) = self.client.take() {
                    candidate.client.inherit(&mut old);
                    old.close().await;
                }
                self.client = Some(candidate.client);
                self.keys = candidate.keys;
                *locked(&self.errand.refusal) = None;
            }
            Err(error) => {
                self.refuse(&error);
                candidate.not_before = start + candidate.pause;
                candidate.pause = (candidate.pause * 2).min(LONGEST_PAUSE);
                self.candidate = Some(candidate);
            }
        }
    }

    fn refuse(&self, error: &Error) {
        let mut refusal = locked(&self.errand.refusal);
        let since = refusal.as_ref().map_or_else(|| self.errand.clock.now(), |old| old.since);
        *refusal = Some(error.missing(since));
    }

    async fn close(self) {
        if let Some(candidate) = self.candidate {
            candidate.client.close().await;
        }
        if let Some(client) = self.client {
            client.close().await;
        }
    }
}
