//! The daemon's counter: takes the questions in force, keeps a visitor for each address, and hands out the latest answers. Knows which
//! sources there are; the visits themselves are left to `visit.rs`, the answers to `board.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::{Board, Polls};
use super::external::External;
use super::http::Http;
use super::kafka::Kafka;
use super::lineage::{Inbox, Lineage, Place};
use super::nats::Nats;
use super::prometheus::Prometheus;
use super::rabbitmq::RabbitMq;
use super::redis::Redis;
use super::sql::Sql;
use super::sqs::Sqs;
use super::visit::{Errand, Orders, Visitor, locked};
use super::{Address, Question, Source};
use crate::clock::Clock;
use crate::decide::{Missing, Observation, QuestionId};

/// The first visit to a server comes within this when there are few servers.
const FIRST_VISIT: Duration = Duration::from_millis(200);
/// Servers beyond so many spread their first visits further, in proportion,
const FEW: u32 = 8;
/// but no further than this.
const WIDEST: Duration = Duration::from_secs(30);

/// Watches over all questions in force. Cheap to ask; answers are read from where the visits left them.
pub struct Observe {
    clock: Clock,
    runtime: tokio::runtime::Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    board: Arc<Board>,
    wake: mpsc::UnboundedSender<Vec<QuestionId>>,
    inbox: Inbox,
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
            inbox: Inbox::default(),
            office: Mutex::default(),
        }
    }

    /// Reads what is pushed to us out of this inbox. Without it nothing is ever heard.
    #[must_use]
    pub fn hearing(mut self, inbox: Inbox) -> Self {
        self.inbox = inbox;
        self
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
        let spread = FIRST_VISIT.saturating_mul(servers.div_ceil(FEW)).min(WIDEST);
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
            Address::Kafka(to) => self.send_out::<Kafka>(to, errand),
            Address::Prometheus(to) => self.send_out::<Prometheus>(to, errand),
            Address::External(to) => self.send_out::<External>(to, errand),
            Address::Redis(to) => self.send_out::<Redis>(to, errand),
            Address::Sql(to) => self.send_out::<Sql>(to, errand),
            Address::Sqs(to) => self.send_out::<Sqs>(to, errand),
            Address::Lineage(_) => {
                self.send_out::<Lineage>(&Place(self.inbox.clone()), errand);
            }
            Address::Http(to) => self.send_out::<Http>(to, errand),
            Address::RabbitMq(to) => self.send_out::<RabbitMq>(to, errand),
            Address::Nats(to) => self.send_out::<Nats>(to, errand),
        }
        desk
    }

    fn send_out<S: Source>(&self, to: &S::Address, errand: Errand) {
        self.tasks.spawn_on(Visitor::<S>::new(to.clone(), errand).run(), &self.runtime);
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
