//! A Kafka cluster inside this process: librdkafka's mock, spoken to over loopback TCP by real clients. Started by the story.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::{Error, Kafka};

/// A one-broker Kafka. Dropped last: clients that outlive it only see connections refused.
///
/// It keeps at most 100,000 records or 5 MiB a partition. A group's rebalance lasts its session timeout less a second (a mock never
/// notices that all have joined), and commits are refused meanwhile; [`Broker::kafka`] has the settings that keep both short.
pub struct Broker(MockCluster<'static, DefaultProducerContext>);

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Broker").field(&self.0.bootstrap_servers()).finish()
    }
}

impl Broker {
    /// Starts it with these topics, each with its number of partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Error> {
        let mock = MockCluster::new(1).map_err(Error::Broker)?;
        for (topic, partitions) in topics {
            mock.create_topic(topic, *partitions, 1).map_err(Error::Broker)?;
        }
        Ok(Self(mock))
    }

    /// How to reach it, with the settings that suit a mock.
    pub fn kafka(&self) -> Kafka {
        Kafka::at(self.0.bootstrap_servers())
            .with("consumer.session.timeout.ms", "2500")
            .with("consumer.heartbeat.interval.ms", "250")
            // The mock holds an empty fetch for the whole wait, even when a record comes.
            .with("consumer.fetch.wait.max.ms", "100")
    }
}
