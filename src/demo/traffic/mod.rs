//! Real traffic for a toy (or a real) cluster: a Kafka in this process, a producer that follows a load, and one real consumer for
//! each Ready pod. Called by the demo's story and by the live tests, which bring their own Kafka; it knows nothing of Penstock.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

mod broker;
mod consumers;
mod ledger;
mod load;
mod member;
mod outlet;
mod producer;

pub use broker::Broker;
pub use consumers::{Consumers, Counts, Pods, Work};
pub use ledger::{Item, Ledger, Tally};
pub use load::Load;
pub use producer::Producer;

/// What went wrong in the traffic itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kafka in this process did not start.
    #[error(
        "the kafka cluster of this process did not start; hint: it listens on free ports of 127.0.0.1"
    )]
    Broker(#[source] rdkafka::error::KafkaError),
    /// A Kafka client was refused its settings.
    #[error("no kafka {role} for {bootstrap_servers}; hint: the cause names the setting")]
    Client {
        /// `producer` or `consumer`.
        role: &'static str,
        /// Where it was to connect to.
        bootstrap_servers: String,
        /// librdkafka's words.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The group's topics could not be subscribed to.
    #[error("no subscription to {topics:?}")]
    Subscribe {
        /// The topics.
        topics: Vec<String>,
        /// librdkafka's words.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

/// How to reach a Kafka cluster.
#[derive(Clone, Default)]
pub struct Kafka {
    /// `host:port[,host:port]`.
    pub bootstrap_servers: String,
    /// Further librdkafka settings of all clients, such as `security.protocol`; they win over our own. A setting that only
    /// consumers know is written `consumer.NAME`.
    pub settings: BTreeMap<String, String>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.settings.keys().collect();
        f.debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("settings", &names)
            .finish()
    }
}

/// Settings with this prefix go to consumers only.
const CONSUMERS_ONLY: &str = "consumer.";

impl Kafka {
    /// A cluster without TLS or login.
    pub fn at(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), settings: BTreeMap::new() }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    fn apply(&self, config: &mut ClientConfig, is_consumer: bool) {
        config.set("bootstrap.servers", &self.bootstrap_servers);
        for (name, value) in &self.settings {
            match name.strip_prefix(CONSUMERS_ONLY) {
                Some(name) if is_consumer => config.set(name, value),
                Some(_) => continue,
                None => config.set(name, value),
            };
        }
    }
}
