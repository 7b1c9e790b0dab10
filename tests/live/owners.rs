//! Who holds which partition, as real brokers tell it: of a group that its clients lead (classic), and of one that the broker leads
//! (KIP-848).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::clock::Clock;
use penstock::decide::{QuestionId, Value};
use penstock::observe::kafka::{self, Isolation, OffsetReset};
use penstock::observe::{Address, Ask, Credentials, Observe, Question};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::mpsc;

use crate::rig::{Broker, BrokerOptions, Kafka, until};

const PARTITIONS: i32 = 6;
/// A group is described every 10 s while it lags, and its first members take a while to share out.
const SOON: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_owners_of_a_classic_group_are_told_on_4_1() -> Result<()> {
    told(Kafka::V4_1, "classic").await
}

#[tokio::test]
async fn the_owners_of_a_group_that_the_broker_leads_are_told_on_4_1() -> Result<()> {
    told(Kafka::V4_1, "consumer").await
}

#[tokio::test]
async fn the_owners_of_a_classic_group_are_told_on_3_9() -> Result<()> {
    told(Kafka::V3_9, "classic").await
}

/// Two consumers that never finish: each holds half, and when one leaves the other holds all.
async fn told(version: Kafka, protocol: &str) -> Result<()> {
    let broker = Broker::start(version, BrokerOptions::default()).await?;
    broker.topic("work", PARTITIONS).await?;
    broker.send("work", None, 6_000).await?;
    let (first, second) = (member(&broker, protocol)?, member(&broker, protocol)?);
    let (wake, _wakes) = mpsc::unbounded_channel();
    let observe = Observe::start(Clock::start(), wake);
    let id = QuestionId("shop/orders/work/queue".into());
    observe.ask(vec![question(&broker, &id)]);

    let halves = vec![3, 3];
    until("each to hold half", SOON, async || shares(&observe, &id, &halves)).await?;
    drop(second);
    until("one to hold all", SOON, async || shares(&observe, &id, &[6])).await?;
    drop(first);
    observe.shutdown().await;
    Ok(())
}

/// `Some` once the owners hold so many partitions each; an error says how many they hold.
fn shares(observe: &Observe, id: &QuestionId, wished: &[usize]) -> Result<Option<()>> {
    let seen = observe.latest(id).context("nobody has answered yet")?;
    let reading = seen.reading().context("no reading")?;
    let Value::Queue(queue) = &reading.value else { anyhow::bail!("Kafka speaks of queues") };
    let owners: Option<Vec<u32>> = queue.partitions.iter().map(|it| it.owner).collect();
    let mut owners = owners.with_context(|| format!("no owners in {:?}", queue.partitions))?;
    owners.sort_unstable();
    let held: Vec<_> = owners.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
    anyhow::ensure!(held == wished, "they hold {held:?}");
    Ok(Some(()))
}

fn question(broker: &Broker, id: &QuestionId) -> Question {
    Question {
        id: id.clone(),
        poll_interval: Duration::from_secs(1),
        address: Address::Kafka(kafka::Address {
            connection: String::new(),
            bootstrap_servers: broker.bootstrap(),
            tls: false,
            sasl: None,
        }),
        credentials: Arc::new(Credentials::default()),
        ask: Ask::Kafka(kafka::Ask {
            topics: vec!["work".to_owned()],
            group: "workers".to_owned(),
            offset_reset: OffsetReset::Earliest,
            isolation: Isolation::ReadUncommitted,
        }),
    }
}

/// A consumer in a thread of its own; leaves its group when dropped.
struct Member(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            drop(thread.join());
        }
    }
}

/// Takes ten items a second and commits every second, so that its group lags and moves.
#[expect(clippy::disallowed_methods, reason = "librdkafka's consumer blocks the thread it is in")]
fn member(broker: &Broker, protocol: &str) -> Result<Member> {
    let mut config = broker.client();
    config
        .set("group.id", "workers")
        .set("group.protocol", protocol)
        .set("auto.offset.reset", "earliest")
        .set("auto.commit.interval.ms", "1000");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&["work"])?;
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let thread = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            drop(consumer.poll(Duration::from_millis(100)));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    Ok(Member(ends, Some(thread)))
}
