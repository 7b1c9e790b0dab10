//! Lets every lag of the crowd move, well inside its objective: items come every few seconds, and groups commit behind them. Called
//! by `main` while it measures.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::ground::{OTHERS, PARTITIONS, other};
use crate::rig::Broker;

/// How often each topic gets an item: every poll of the daemon sees each lag moved.
const EVERY: Duration = Duration::from_secs(2);
/// How often each group commits, a third of what it has promised.
const COMMIT_EVERY: Duration = Duration::from_secs(20);
/// Hands that commit. One was not enough on a busy machine: its groups were late in truth, and Penstock said so of each.
const HANDS: usize = 4;
/// How often a commit is tried again that found no coordinator, and for how long.
const AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Moves the lags until `stop`. Returns the longest time between two commits of a group.
pub(crate) async fn run(broker: &Broker, stop: &CancellationToken) -> Result<Duration> {
    let client = broker.client();
    let end = stop.clone();
    tokio::task::spawn_blocking(move || move_lags(&client, &end)).await?
}

fn move_lags(client: &ClientConfig, stop: &CancellationToken) -> Result<Duration> {
    let rounds = AtomicI32::new(0);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                let rounds = &rounds;
                scope.spawn(move || {
                    let longest = commit_all(client, stop, rounds, hand);
                    longest.inspect_err(|_| stop.cancel())
                })
            })
            .collect();
        let sent = send_all(client, stop, &rounds);
        // Whoever fails first ends the others.
        stop.cancel();
        let mut longest = Duration::ZERO;
        for hand in hands {
            let took =
                hand.join().map_err(|_| anyhow::anyhow!("a committing thread panicked"))??;
            longest = longest.max(took);
        }
        sent.map(|()| longest)
    })
}

/// One item to each topic every two seconds, to its partitions in turn.
#[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
fn send_all(client: &ClientConfig, stop: &CancellationToken, rounds: &AtomicI32) -> Result<()> {
    let producer: ThreadedProducer<_> = client.create()?;
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let partition = rounds.load(Ordering::SeqCst) % PARTITIONS;
        for name in (0..OTHERS).map(other) {
            let record = BaseRecord::<(), str>::to(&name).partition(partition).payload("an item");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(Duration::from_secs(30))?;
        rounds.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

/// Lets the groups of one hand commit, one after the other, evenly spread. Returns the longest time that a round took.
#[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
fn commit_all(
    client: &ClientConfig,
    stop: &CancellationToken,
    rounds: &AtomicI32,
    hand: usize,
) -> Result<Duration> {
    let mine: Vec<_> = (hand..OTHERS).step_by(HANDS).map(other).collect();
    let pause = COMMIT_EVERY / u32::try_from(mine.len())?;
    let mut longest = Duration::ZERO;
    while !stop.is_cancelled() {
        let round = Instant::now();
        for name in &mine {
            if stop.is_cancelled() {
                break;
            }
            let begun = Instant::now();
            commit(client, name, rounds.load(Ordering::SeqCst))?;
            std::thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
        longest = longest.max(round.elapsed());
    }
    Ok(longest)
}

/// Commits all that came.
fn commit(client: &ClientConfig, name: &str, rounds: i32) -> Result<()> {
    let consumer: BaseConsumer = client.clone().set("group.id", name).create()?;
    let mut done = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let came = rounds / PARTITIONS + i32::from(partition < rounds % PARTITIONS);
        done.add_partition_offset(name, partition, Offset::Offset(i64::from(came)))?;
    }
    let mut left = PATIENCE;
    loop {
        match consumer.commit(&done, CommitMode::Sync) {
            Err(KafkaError::ConsumerCommit(code)) if is_passing(code) && !left.is_zero() => {
                left = left.saturating_sub(AGAIN);
                #[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
                std::thread::sleep(AGAIN);
            }
            end => return Ok(end?),
        }
    }
}

/// A fresh broker's coordinators take a moment to come up.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress
    )
}
