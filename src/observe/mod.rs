//! What lies outside the cluster: the queues. Asked by the daemon, it answers with [`Observation`]s and knows nothing of replicas
//! or Kubernetes. One task for each connection visits its server at the pace of its questions; nobody waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::decide::QuestionId;

pub mod kafka;

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
}

/// The closed list of what can be asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The lag of a consumer group.
    Kafka(kafka::Ask),
}

/// Secret bytes by the name of their use (`username`, `password`, `ca`, `cert`, `key`), read by `watch::secrets`. Never printed.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credentials(BTreeMap<&'static str, Vec<u8>>);

impl Credentials {
    /// Puts the bytes for a use.
    pub fn put(&mut self, usage: &'static str, bytes: Vec<u8>) {
        self.0.insert(usage, bytes);
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
