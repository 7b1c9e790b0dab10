//! One task for each address: connect, ask all due questions at once, back off, publish. Started and told what to ask by the daemon
//! through [`Observe`]; what a server's answers mean is left to its [`Source`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::{Board, Polls};
use super::kafka::Kafka;
use super::{Address, Asked, Credentials, Error, Question, Source};
use crate::clock::Clock;
use crate::decide::{Missing, Observation, QuestionId};

/// How long one visit may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// What a source may overrun its deadline before it is taken for hung and its client is given up.
const GRACE: Duration = Duration::from_millis(500);
/// Questions due within this are asked together.
const SLACK: Duration = Duration::from_millis(100);
/// The first visit to a server comes within this when there are few servers.
const FIRST_VISIT: Duration = Duration::from_millis(200);
/// Servers beyond so many spread their first visits further, in proportion.
const FEW: u32 = 8;
/// A server that stays silent is tried at the polls so many times, then ever more rarely.
const PATIENCE: u32 = 5;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Watches over all questions in force. Cheap to ask; answers are read from where the visits left them.
pub struct Observe {
    clock: Clock,
    runtime: tokio::runtime::Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    board: Arc<Board>,
    wake: mpsc::UnboundedSender<Vec<QuestionId>>,
    office: Mutex<Office>,
}

/// What is asked now, and by whom it is carried.
#[derive(Default)]
struct Office {
    /// In force, by id.
    questions: BTreeMap<QuestionId, Arc<Question>>,
    desks: BTreeMap<Address, Desk>,
}

/// The line to one visitor.
struct Desk {
    orders: watch::Sender<Orders>,
    pressed: Arc<Mutex<BTreeSet<QuestionId>>>,
    refusal: Arc<Mutex<Option<Missing>>>,
    stop: CancellationToken,
}

/// All that one address is to be asked.
#[derive(Debug, Clone, Default)]
struct Orders {
    questions: Arc<[Arc<Question>]>,
    credentials: Arc<Credentials>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves whole values behind, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Observe {
    /// Starts with no questions. `wake` is sent the ids of the questions of each visit as their answers come in, good or bad.
    /// Must be called within a tokio runtime.
    pub fn start(clock: Clock, wake: mpsc::UnboundedSender<Vec<QuestionId>>) -> Self {
        Self {
            clock,
            runtime: tokio::runtime::Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            board: Arc::default(),
            wake,
            office: Mutex::default(),
        }
    }

    /// Puts this complete set of questions in force; what is not in it is forgotten. Never waits; costs a comparison when nothing
    /// changed. Of two questions with one id the later counts.
    pub fn ask(&self, questions: Vec<Question>) {
        let mut office = locked(&self.office);
        let office = &mut *office;
        if questions.len() == office.questions.len()
            && questions
                .iter()
                .all(|new| office.questions.get(&new.id).is_some_and(|old| **old == *new))
        {
            return;
        }
        let mut in_force = BTreeMap::new();
        let mut changed = BTreeSet::new();
        for new in questions {
            let question = match office.questions.get(&new.id) {
                Some(old) if **old == new => Arc::clone(old),
                old => {
                    if old.is_some_and(|old| old.ask != new.ask || old.address != new.address) {
                        changed.insert(new.id.clone());
                    }
                    Arc::new(new)
                }
            };
            in_force.insert(question.id.clone(), question);
        }
        let places = in_force
            .values()
            .map(|question| (&question.id, question.poll_interval, changed.contains(&question.id)));
        self.board.expect(places, self.clock.now());
        let mut by_address: BTreeMap<&Address, Vec<Arc<Question>>> = BTreeMap::new();
        for question in in_force.values() {
            by_address.entry(&question.address).or_default().push(Arc::clone(question));
        }
        office.desks.retain(|address, desk| {
            let stays = by_address.contains_key(address);
            if !stays {
                desk.stop.cancel();
            }
            stays
        });
        let servers = u32::try_from(by_address.len()).unwrap_or(u32::MAX);
        for (address, questions) in by_address {
            let credentials =
                questions.first().map(|first| Arc::clone(&first.credentials)).unwrap_or_default();
            let orders = Orders { questions: questions.into(), credentials };
            match office.desks.get(address) {
                Some(desk) => {
                    desk.orders.send_if_modified(|old| {
                        let is_new = old.differs(&orders);
                        *old = orders;
                        is_new
                    });
                }
                None => {
                    office.desks.insert(address.clone(), self.open(address, orders, servers));
                }
            }
        }
        office.questions = in_force;
    }

    /// Starts the visitor of an address.
    fn open(&self, address: &Address, orders: Orders, servers: u32) -> Desk {
        let (sender, receiver) = watch::channel(orders);
        let desk = Desk {
            orders: sender,
            pressed: Arc::default(),
            refusal: Arc::default(),
            stop: self.stop.child_token(),
        };
        let spread = FIRST_VISIT.saturating_mul(servers.div_ceil(FEW)).min(LONGEST_PAUSE);
        let errand = Errand {
            clock: self.clock,
            board: Arc::clone(&self.board),
            wake: self.wake.clone(),
            orders: receiver,
            pressed: Arc::clone(&desk.pressed),
            refusal: Arc::clone(&desk.refusal),
            stop: desk.stop.clone(),
            first: Instant::now() + spread.mul_f64(fastrand::f64()),
        };
        match address {
            Address::Kafka(to) => {
                self.tasks.spawn_on(Visitor::<Kafka>::new(to.clone(), errand).run(), &self.runtime);
            }
        }
        desk
    }

    /// How often a question was asked since it came in force; `None` when it is not.
    pub fn polls(&self, id: &QuestionId) -> Option<Polls> {
        self.board.polls(id)
    }

    /// The latest answer to a question and how good it is by now; `None` while nobody has answered, or for an unknown question.
    pub fn latest(&self, id: &QuestionId) -> Option<Observation> {
        self.board.latest(id, self.clock.now())
    }

    /// A decision hangs on these: at their next poll everything is read anew, whatever a source would save otherwise.
    pub fn press(&self, ids: &[QuestionId]) {
        let office = locked(&self.office);
        for id in ids {
            let address = office.questions.get(id).map(|question| &question.address);
            if let Some(desk) = address.and_then(|address| office.desks.get(address)) {
                locked(&desk.pressed).insert(id.clone());
            }
        }
    }

    /// Why the newest credentials of this question's connection are not in use, when they were refused and the former ones still
    /// answer.
    pub fn refusal(&self, id: &QuestionId) -> Option<Missing> {
        let office = locked(&self.office);
        let question = office.questions.get(id)?;
        let desk = office.desks.get(&question.address)?;
        locked(&desk.refusal).clone()
    }

    /// Stops all visits, closes all clients and waits for both.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Orders {
    fn differs(&self, other: &Self) -> bool {
        self.questions.len() != other.questions.len()
            || self.questions.iter().zip(other.questions.iter()).any(|(a, b)| !Arc::ptr_eq(a, b))
            || self.credentials != other.credentials
    }
}

/// What a visitor is sent out with.
struct Errand {
    clock: Clock,
    board: Arc<Board>,
    wake: mpsc::UnboundedSender<Vec<QuestionId>>,
    orders: watch::Receiver<Orders>,
    pressed: Arc<Mutex<BTreeSet<QuestionId>>>,
    refusal: Arc<Mutex<Option<Missing>>>,
    stop: CancellationToken,
    first: Instant,
}

/// Visits one address.
struct Visitor<S: Source> {
    to: S::Address,
    errand: Errand,
    orders: Orders,
    client: Option<S>,
    /// What `client` logged in with.
    keys: Arc<Credentials>,
    /// A client with newer credentials that has yet to show that they are good.
    candidate: Option<(S, Arc<Credentials>)>,
    /// When each question is to be asked next.
    due: BTreeMap<QuestionId, Instant>,
    /// Visits in a row in which the server gave no answer at all.
    silences: u32,
    not_before: Instant,
}

impl<S: Source> Visitor<S> {
    fn new(to: S::Address, errand: Errand) -> Self {
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
        }
    }

    async fn run(mut self) {
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

    /// Takes over what is in force now. New questions are due at once.
    fn take_orders(&mut self) {
        self.orders = self.errand.orders.borrow_and_update().clone();
        let now = Instant::now();
        let mut old = std::mem::take(&mut self.due);
        for question in self.orders.questions.iter() {
            let due = old.remove(&question.id).unwrap_or(now).min(now + question.poll_interval);
            self.due.insert(question.id.clone(), due);
        }
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
        let due: Vec<&Arc<Question>> = questions
            .iter()
            .filter(|question| self.due.get(&question.id).is_some_and(|due| *due <= start + SLACK))
            .collect();
        let pressed = std::mem::take(&mut *locked(&self.errand.pressed));
        let asks: Vec<Asked<'_, S::Ask>> = due
            .iter()
            .filter_map(|question| {
                let is_pressed = pressed.contains(&question.id);
                let poll_interval = question.poll_interval;
                S::ask_of(&question.ask).map(|ask| Asked { ask, poll_interval, is_pressed })
            })
            .collect();
        let answers = match self.ready_client(start).await {
            Ok(()) => self.read(&asks, start).await,
            Err(error) => vec![Err(error); asks.len()],
        };
        // Stamped with the start: a reading is never younger than what it says.
        let at = self.errand.clock.at(start);
        let is_silent = !answers.is_empty()
            && answers.iter().all(|answer| answer.as_ref().is_err_and(Error::is_of_connection));
        self.schedule(&due, start, is_silent);
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

    /// When the questions just asked are asked again. All questions of an address share one grid of time, so that intervals that
    /// are multiples of each other meet in one visit.
    fn schedule(&mut self, asked: &[&Arc<Question>], start: Instant, is_silent: bool) {
        for question in asked {
            let interval = question.poll_interval.max(SLACK * 2);
            let since = (start + SLACK).saturating_duration_since(self.errand.first);
            let rounds =
                u32::try_from(since.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX - 1);
            self.due.insert(question.id.clone(), self.errand.first + interval * (rounds + 1));
        }
        self.silences = if is_silent { self.silences.saturating_add(1) } else { 0 };
        if self.silences > PATIENCE {
            let shortest = asked.iter().map(|question| question.poll_interval).min();
            let base = shortest.unwrap_or(DEADLINE);
            let doubled = base.saturating_mul(1 << (self.silences - PATIENCE).min(10));
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
        format!("{:?}", self.to).into()
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
        if self.candidate.as_ref().is_none_or(|(_, keys)| *keys != wanted) {
            self.candidate = match S::connect(&self.to, &wanted, self.errand.clock) {
                Ok(candidate) => Some((candidate, wanted)),
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
        let Some((mut candidate, keys)) = self.candidate.take() else { return };
        match candidate.greet(start + DEADLINE / 2).await {
            Ok(()) => {
                if let Some(mut old) = self.client.take() {
                    candidate.inherit(&mut old);
                    old.close().await;
                }
                self.client = Some(candidate);
                self.keys = keys;
                *locked(&self.errand.refusal) = None;
            }
            Err(error) => {
                self.refuse(&error);
                self.candidate = Some((candidate, keys));
            }
        }
    }

    fn refuse(&self, error: &Error) {
        let mut refusal = locked(&self.errand.refusal);
        let since = refusal.as_ref().map_or_else(|| self.errand.clock.now(), |old| old.since);
        *refusal = Some(error.missing(since));
    }

    async fn close(self) {
        if let Some((candidate, _)) = self.candidate {
            candidate.close().await;
        }
        if let Some(client) = self.client {
            client.close().await;
        }
    }
}
