//! Sends items, at a rate or many at once. Called by tests and the benchmark.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{held, now};

/// Sends items to one topic, its partitions in turn; each carries the time at which it was made.
#[derive(Debug)]
pub(crate) struct Producer {
    state: Arc<Sending>,
    _task: JoinSet<()>,
}

struct Sending {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    partitions: i32,
    sent: Mutex<i64>,
    rate: Mutex<f64>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Producer {
    /// Sends nothing until told so.
    pub(crate) fn new(client: &ClientConfig, topic: &str, partitions: i32) -> Result<Self> {
        let producer = client.clone().set("linger.ms", "5").create().context("make a producer")?;
        let topic = topic.to_owned();
        let state = Arc::new(Sending {
            producer,
            topic,
            partitions,
            sent: Mutex::new(0),
            rate: Mutex::new(0.0),
        });
        let mut task = JoinSet::new();
        task.spawn(send_at_rate(Arc::clone(&state)));
        Ok(Self { state, _task: task })
    }

    /// From now on this many items per second; 0 stops.
    pub(crate) fn set_rate(&self, per_second: f64) {
        *held(&self.state.rate) = per_second;
    }

    /// Sends so many items at once, and waits until the broker has them.
    pub(crate) async fn send(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.state.send_one(None).await?;
        }
        self.flush().await
    }

    /// The same to one partition only.
    pub(crate) async fn send_to(&self, partition: i32, count: usize) -> Result<()> {
        for _ in 0..count {
            self.state.send_one(Some(partition)).await?;
        }
        self.flush().await
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> i64 {
        *held(&self.state.sent)
    }

    async fn flush(&self) -> Result<()> {
        let producer = self.state.producer.clone();
        tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(30)))
            .await?
            .context("wait for the broker to have all items")
    }
}

impl Sending {
    async fn send_one(&self, partition: Option<i32>) -> Result<()> {
        let number = *held(&self.sent);
        let partition =
            partition.map_or_else(|| i32::try_from(number % i64::from(self.partitions)), Ok)?;
        let mut record = BaseRecord::<(), str>::to(&self.topic)
            .partition(partition)
            .payload("an item")
            .timestamp(now());
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    record = same;
                }
                Err((error, _)) => return Err(error).context("send an item"),
            }
            sleep(Duration::from_millis(5)).await;
        }
        *held(&self.sent) += 1;
        Ok(())
    }
}

async fn send_at_rate(state: Arc<Sending>) {
    let mut due = 0.0;
    let mut last = Instant::now();
    loop {
        sleep(Duration::from_millis(10)).await;
        let now = Instant::now();
        let rate = *held(&state.rate);
        due = if rate > 0.0 { due + rate * now.duration_since(last).as_secs_f64() } else { 0.0 };
        last = now;
        while due >= 1.0 {
            // An error here is a partition that does not exist: the test that asked for it sees that nothing arrives.
            drop(state.send_one(None).await);
            due -= 1.0;
        }
    }
}
