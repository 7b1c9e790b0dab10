//! What lies outside the cluster: the queues. Asked by the daemon, it answers with [`Observation`](crate::decide::Observation)s and knows nothing of replicas
//! or Kubernetes. One task for each connection visits its server at the pace of its questions; nobody waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::decide::{Lost, QuestionId, Value};

mod error;
mod office;
mod visit;
mod board;
mod figure;
mod ledger;
mod fault;
mod tls;
mod dial;
mod lines;
mod late;
mod path;
mod purse;
pub mod web;
pub mod kafka;
pub mod prometheus;
pub mod http;
pub mod external;
pub mod redis;
pub mod sql;
pub mod rabbitmq;
pub mod nats;
pub mod sqs;
pub mod lineage;

pub use board::Polls;
pub use error::Error;
pub use figure::Unit;
pub use office::Observe;

/// What to read, where, how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Whose it is.
    pub id: QuestionId,
    /// How often to read it, 1 s to 10 min.
    pub poll_interval: Duration,
    /// Where. Questions with one address share one client.
    pub address: Address,
    /// What to log in with; a change rebuilds the address's client without losing a poll.
    pub credentials: Arc<Credentials>,
    /// What.
    pub ask: Ask,
}

/// Where a question goes. Equal addresses share one connection set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A Kafka cluster.
    Kafka(kafka::Address),
    /// A Prometheus.
    Prometheus(prometheus::Address),
    /// An HTTP server.
    Http(http::Address),
    /// A scaler of another make.
    External(external::Address),
    /// A Redis.
    Redis(redis::Address),
    /// A database.
    Sql(sql::Address),
    /// A RabbitMQ.
    RabbitMq(rabbitmq::Address),
    /// A NATS.
    Nats(nats::Address),
    /// An SQS.
    Sqs(sqs::Address),
    /// What this daemon and its like have heard of runs.
    Lineage(lineage::Address),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka(address) => address.fmt(f),
            Self::Prometheus(address) | Self::Http(address) => address.fmt(f),
            Self::External(address) => address.fmt(f),
            Self::Redis(address) => address.fmt(f),
            Self::Sql(address) => address.fmt(f),
            Self::RabbitMq(address) => address.fmt(f),
            Self::Nats(address) => address.fmt(f),
            Self::Sqs(address) => address.fmt(f),
            Self::Lineage(address) => address.fmt(f),
        }
    }
}

/// The closed list of what can be asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The lag of a consumer group.
    Kafka(kafka::Ask),
    /// The value of a query.
    Prometheus(prometheus::Ask),
    /// A number in a JSON document.
    Http(http::Ask),
    /// A metric of a scaler.
    External(external::Ask),
    /// The length of a list or stream, or what a group has to do.
    Redis(redis::Ask),
    /// A number in a database.
    Sql(sql::Ask),
    /// The depth of a queue.
    RabbitMq(rabbitmq::Ask),
    /// What a consumer of a stream has not done.
    Nats(nats::Ask),
    /// The depth of an SQS queue.
    Sqs(sqs::Ask),
    /// The age of a dataset.
    Lineage(lineage::Ask),
}

/// Secret bytes by the name of their use (`username`, `password`, `token`, `client-id`, `client-secret`, `creds`, `nkey`, `access-key`,
/// `secret-key`, `ca`, `cert`, `key`), read by `watch::secrets`; and what was looked up besides (`bootstrap.servers`, `security.protocol`,
/// `sasl.mechanism`), so that it takes over as a Secret does. Never printed.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credentials(BTreeMap<&'static str, Vec<u8>>);

impl Credentials {
    /// Puts the bytes for a use.
    pub fn put(&mut self, usage: &'static str, bytes: Vec<u8>) {
        self.0.insert(usage, bytes);
    }

    /// Is there anything to log in with?
    pub fn has_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The bytes for a use, if there are any.
    pub fn bytes(&self, usage: &str) -> Option<&[u8]> {
        self.0.get(usage).map(Vec::as_slice)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A system where work waits and can be counted. `visit.rs` owns one for each address and is its only caller, so nothing here is
/// shared: a visit at a time, each with a deadline.
pub trait Source: Sized + Send + 'static {
    /// Where it is.
    type Address: Clone + Ord + fmt::Display + Send + Sync;
    /// What can be asked of it.
    type Ask: Clone + Ord + Send + Sync;

    /// The ask in the closed list, when it is for this source.
    fn ask_of(ask: &Ask) -> Option<&Self::Ask>;

    /// Makes a client. Does not wait for the server: the first visit says whether it is there.
    fn connect(to: &Self::Address, keys: &Credentials, clock: Clock) -> Result<Self, Error>;

    /// Logs in and comes back. A client with new credentials must pass this before it takes over.
    fn greet(&mut self, deadline: Instant) -> impl Future<Output = Result<(), Error>> + Send;

    /// Answers each ask, in the order asked, before the deadline. No asks, no traffic.
    fn read(
        &mut self,
        asks: &[Asked<'_, Self::Ask>],
        deadline: Instant,
    ) -> impl Future<Output = Vec<Answer>> + Send;

    /// Comes back when the server says by itself that something has happened: then all questions are asked soon. Never, for a source
    /// that does not push. Dropped and called again at any time.
    fn stir(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Goes on with what an earlier client of the same address remembers.
    fn inherit(&mut self, old: &mut Self);

    /// Forgets what belongs to asks that are no longer in force.
    fn forget(&mut self, in_force: &[&Self::Ask]);

    /// Closes the connections.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// One ask that is due.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a, A> {
    /// What is asked.
    pub ask: &'a A,
    /// How often it is asked.
    pub poll_interval: Duration,
    /// Does a decision hang on it? Then nothing may be answered from memory to save a request.
    pub is_pressed: bool,
}

/// What a source says to one ask: a value, perhaps with a part missing, or why there is none.
pub type Answer = Result<(Value, Option<Lost>), Error>;
