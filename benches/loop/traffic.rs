//! Lets every lag of the crowd move, well inside its objective: items come every few seconds, and groups commit behind them. Called
//! by `main` while it measures.

use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::ground::{OTHERS, PARTITIONS, other};
use crate::rig::Broker;

/// How often each topic gets an item: every poll of the daemon sees each lag moved.
const EVERY: Duration = Duration::from_secs(2);

/// Moves the lags until `stop`.
pub(crate) async fn run(broker: &Broker, stop: &CancellationToken) -> Result<()> {
    let client = broker.client();
    let end = stop.clone();
    tokio::task::spawn_blocking(move || move_lags(&client, &end)).await?
}

/// One item to each topic every two seconds, to its partitions in turn; between these, the groups commit one after the other.
#[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
fn move_lags(client: &ClientConfig, stop: &CancellationToken) -> Result<()> {
    let producer: ThreadedProducer<_> = client.create()?;
    let mut rounds = 0_i32;
    let mut next = Instant::now();
    for at in (0..OTHERS).cycle() {
        if stop.is_cancelled() {
            break;
        }
        if next <= Instant::now() {
            next = Instant::now() + EVERY;
            for name in (0..OTHERS).map(other) {
                let partition = rounds % PARTITIONS;
                let record =
                    BaseRecord::<(), str>::to(&name).partition(partition).payload("an item");
                producer.send(record).map_err(|(error, _)| error)?;
            }
            producer.flush(Duration::from_secs(30))?;
            rounds += 1;
        }
        commit(client, &other(at), rounds)?;
    }
    Ok(())
}

/// Commits all that came.
fn commit(client: &ClientConfig, name: &str, rounds: i32) -> Result<()> {
    let consumer: BaseConsumer = client.clone().set("group.id", name).create()?;
    let mut done = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let came = rounds / PARTITIONS + i32::from(partition < rounds % PARTITIONS);
        done.add_partition_offset(name, partition, Offset::Offset(i64::from(came)))?;
    }
    consumer.commit(&done, CommitMode::Sync)?;
    Ok(())
}
