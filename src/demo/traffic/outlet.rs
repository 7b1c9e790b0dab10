//! The way into one topic, shared by the producer and by consumers that pass items on. An item's record has its number as key and
//! no value: keys spread evenly over the partitions, and an item can be followed from topic to topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::{Error, Kafka};

/// How long the last items may take to reach the broker.
const FLUSH: Duration = Duration::from_secs(5);

/// One client, one topic. Sends in the background; a slow broker is waited for, not skipped.
pub(super) struct Outlet {
    client: ThreadedProducer<Receipts>,
    receipts: Receipts,
    topic: String,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Outlet {
    pub(super) fn open(kafka: &Kafka, topic: &str) -> Result<Self, Error> {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "penstock-demo-producer")
            .set("linger.ms", "50")
            // The Java client's choice, which knows new partitions a metadata refresh later.
            .set("partitioner", "murmur2_random")
            .set("topic.metadata.refresh.interval.ms", "5000");
        kafka.apply(&mut config, false);
        let receipts = Receipts::default();
        let client =
            config.create_with_context(receipts.clone()).map_err(|source| Error::Client {
                role: "producer",
                bootstrap_servers: kafka.bootstrap_servers.clone(),
                source,
            })?;
        Ok(Self { client, receipts, topic: topic.to_owned() })
    }

    /// Hands one item over, to the partition of its key unless one is named. False when the client's queue is full: try again later.
    pub(super) fn put(&self, number: u64, partition: Option<i32>) -> bool {
        let key = number.to_string();
        let mut record = BaseRecord::<str, str>::to(&self.topic).key(&key).payload("");
        record.partition = partition;
        match self.client.send(record) {
            Ok(()) => true,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => false,
            Err((error, _)) => {
                tracing::warn!(topic = self.topic, %error, "an item could not be sent");
                self.receipts.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// Items the broker has confirmed.
    pub(super) fn confirmed(&self) -> u64 {
        self.receipts.confirmed.load(Ordering::Relaxed)
    }

    /// Items given up for lost.
    pub(super) fn lost(&self) -> u64 {
        self.receipts.lost.load(Ordering::Relaxed)
    }

    /// Waits, without holding a runtime thread, until the broker has everything, at most five seconds.
    pub(super) async fn flush(self: Arc<Self>) {
        let flushed = tokio::task::spawn_blocking(move || self.client.flush(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last items were not confirmed");
        }
    }
}

/// Counts what became of the records.
#[derive(Debug, Clone, Default)]
struct Receipts {
    confirmed: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.confirmed } else { &self.lost };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
