//! Makes it so: carries the actions of a plan out, and does nothing else.
//!
//! The loop calls [`Act::start`], which never waits: each target gets a task of its own, with one deadline for everything, no
//! retry, and an [`Outcome`] at its end whatever happens. What follows from an outcome is decide's to say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::client::{Body, ClientBuilder, DynBody};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::task::TaskTracker;
use tower::BoxError;
use tower::util::BoxService;
use tracing::Instrument;

use crate::clock::Clock;
use crate::decide::{Action, Concern, Ending, Outcome, TargetId};
use crate::spans;

mod brake;
mod costs;
mod drain;
mod field;
mod headroom;
mod jobs;
mod kinds;
mod licence;
mod round;
mod scale;
mod wire;

pub use brake::{Brake, rest};
pub use headroom::Placeholders;
pub use licence::{Grant, Licence, NoLicence, WRITE_DEADLINE, WRITE_WINDOW};

/// Actions that are carried out at once; others wait their turn, for as long as a write may take.
const AT_ONCE: usize = 32;

/// How long an action may take in all: it waits for its turn as long as it may take then.
pub const LONGEST: Duration = WRITE_DEADLINE.saturating_mul(2);

/// The field manager of every replica count we write.
pub const FIELD_MANAGER: &str = "penstock";

/// The inside of a client, before the layers around it.
pub type Stack = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;

/// The stack of a client that writes: as kube builds it, but without its retries (a retried write lands long after what it was
/// decided on), and with time limits on every step below the deadline of a whole write.
/// Add layers to it (request counts), then `build()`.
///
/// # Errors
/// The configuration's certificates, credentials or proxy cannot be used.
pub fn writer(mut config: kube::Config) -> Result<ClientBuilder<Stack>, kube::Error> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(Duration::from_secs(5));
    ClientBuilder::try_from(config)
}

/// The hands. Cheap to clone; all clones share what is in flight.
#[derive(Clone)]
pub struct Act {
    hand: scale::Hand,
    maker: jobs::Maker,
    crier: costs::Crier,
    warden: drain::Warden,
    keeper: headroom::Keeper,
    clock: Clock,
    outcomes: UnboundedSender<Outcome>,
    flights: Arc<Mutex<BTreeSet<(TargetId, Concern)>>>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Act {
    /// Hands that write through `client` (see [`writer`]) and put every outcome into `outcomes`.
    pub fn new(client: kube::Client, clock: Clock, outcomes: UnboundedSender<Outcome>) -> Self {
        Self::braked(client, clock, outcomes, &Brake::default())
    }

    /// The same, with a brake that others heed, too.
    pub fn braked(
        client: kube::Client,
        clock: Clock,
        outcomes: UnboundedSender<Outcome>,
        brake: &Brake,
    ) -> Self {
        let client = brake.on(client);
        Self {
            hand: scale::Hand::new(client.clone()),
            crier: costs::Crier::new(client.clone(), clock),
            warden: drain::Warden::new(client.clone(), clock),
            keeper: headroom::Keeper::new(client.clone(), Placeholders::default()),
            maker: jobs::Maker::new(client, clock),
            clock,
            outcomes,
            flights: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }

    /// The same, with these placeholders.
    #[must_use]
    pub fn keeping_room_by(mut self, placeholders: Placeholders) -> Self {
        self.keeper = self.keeper.with(placeholders);
        self
    }

    /// Starts each action in a task of its own and returns at once. Each gets exactly one outcome. An action for a target that has
    /// a write of the same concern in flight is `NotSent`, and so is one that finds `licence` gone or too old at the moment of sending.
    pub fn start(&self, actions: &[Action], licence: &Licence) {
        for action in actions {
            let Some(flight) = self.take_off(action) else {
                let message = "another write to this target is in flight".into();
                self.tell(action.clone(), Ending::NotSent { message });
                continue;
            };
            let (act, licence, action) = (self.clone(), licence.clone(), action.clone());
            let span = spans::write(&action);
            let write = async move {
                let ending = act.in_turn(&action, &licence).await;
                spans::ended(&ending);
                flight.land(ending);
            };
            self.tasks.spawn(write.instrument(span));
        }
    }

    /// Targets with a write on its way.
    pub fn in_flight(&self) -> BTreeSet<TargetId> {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.iter().map(|(target, _)| target.clone()).collect()
    }

    /// Waits until nothing is in flight, at most for `limit`. True when all have landed. Start nothing meanwhile.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.tasks.close();
        let landed = tokio::time::timeout(limit, self.tasks.wait()).await.is_ok();
        self.tasks.reopen();
        landed
    }

    /// What does not come to its turn was not sent, and the loop knows better by then what to write.
    async fn in_turn(&self, action: &Action, licence: &Licence) -> Ending {
        let Ok(Ok(_turn)) = tokio::time::timeout(WRITE_DEADLINE, self.turns.acquire()).await else {
            let message = format!("{AT_ONCE} other writes are on their way");
            return Ending::NotSent { message };
        };
        self.carry_out(action, licence).await
    }

    async fn carry_out(&self, action: &Action, licence: &Licence) -> Ending {
        match action {
            Action::Scale(scale) => {
                within_deadline(self.hand.write(scale, scale.to, scale.force, licence)).await
            }
            // The count that is there already, and never by force: owning it is all that is wanted.
            Action::Claim(scale) => {
                within_deadline(self.hand.write(scale, scale.from, false, licence)).await
            }
            Action::StartJobs(jobs) => within_deadline(self.maker.carry_out(jobs, licence)).await,
            Action::GiveUpFirst(told) => within_deadline(self.crier.carry_out(told, licence)).await,
            Action::HoldDrain(hold) => within_deadline(self.warden.hold(hold, licence)).await,
            Action::LetGo(gone) => within_deadline(self.warden.let_go(gone, licence)).await,
            Action::Reserve(reserve) => {
                within_deadline(self.keeper.carry_out(reserve, licence)).await
            }
        }
    }

    fn take_off(&self, action: &Action) -> Option<Flight> {
        let flight = key(action);
        let is_new = self.flights.lock().unwrap_or_else(PoisonError::into_inner).insert(flight);
        is_new.then(|| Flight { act: self.clone(), action: action.clone(), has_landed: false })
    }

    fn tell(&self, action: Action, result: Ending) {
        // The loop is gone only when the process ends; then nobody needs to know.
        drop(self.outcomes.send(Outcome { action, at: self.clock.now(), result }));
    }
}

/// A write on its way. Lands exactly once: also when its task dies, and then nobody knows what became of it.
struct Flight {
    act: Act,
    action: Action,
    has_landed: bool,
}

impl Flight {
    fn land(mut self, ending: Ending) {
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        self.has_landed = true;
        self.act.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(&self.action));
        self.act.tell(self.action.clone(), ending);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.has_landed {
            self.end(Ending::Unknown { message: "the task of this write ended early".into() });
        }
    }
}

/// What a write has to itself while it is on its way.
fn key(action: &Action) -> (TargetId, Concern) {
    (action.scale().target.clone(), action.concern())
}

async fn within_deadline(work: impl Future<Output = Ending>) -> Ending {
    match tokio::time::timeout(WRITE_DEADLINE, work).await {
        Ok(ending) => ending,
        Err(_) => Ending::Unknown {
            message: format!("no answer from the API server within {} s", WRITE_DEADLINE.as_secs()),
        },
    }
}
