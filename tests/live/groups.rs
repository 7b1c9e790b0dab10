//! What kinds of group there are, and what a transaction that is still open counts as, on a real broker: classic groups, those that the
//! broker leads (KIP-848), and share groups (KIP-932), which are refused by name.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::clock::Clock;
use penstock::decide::{Observation, QuestionId, Value};
use penstock::observe::kafka::{self, Isolation, OffsetReset};
use penstock::observe::{Address, Ask, Credentials, Observe, Question};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::sync::mpsc;

use crate::rig::{Broker, BrokerOptions, Kafka, until};

const SOON: Duration = Duration::from_mins(1);
const WAIT: Duration = Duration::from_secs(10);

fn question(broker: &Broker, name: &str, group: &str, isolation: Isolation) -> Question {
    Question {
        id: QuestionId(name.into()),
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
            group: group.to_owned(),
            offset_reset: OffsetReset::Earliest,
            isolation,
        }),
    }
}

/// Waits until so much waits.
async fn lag(observe: &Observe, name: &str, wished: u64) -> Result<()> {
    let id = QuestionId(name.into());
    until(&format!("a lag of {wished} in {name}"), SOON, async || {
        let seen = observe.latest(&id).context("nobody has answered yet")?;
        let reading = seen.reading().with_context(|| format!("{seen:?}"))?;
        let Value::Queue(queue) = &reading.value else { anyhow::bail!("Kafka speaks of queues") };
        let lag = queue.partitions.iter().map(|it| it.end.saturating_sub(it.position)).sum::<i64>();
        anyhow::ensure!(u64::try_from(lag)? == wished, "it is {lag}");
        Ok(Some(()))
    })
    .await
}

/// Reads so many items as a member of the group, commits, and leaves.
async fn work_off(broker: &Broker, protocol: &str, group: &str, items: usize) -> Result<()> {
    let mut config = broker.client();
    config
        .set("group.id", group)
        .set("group.protocol", protocol)
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    tokio::task::spawn_blocking(move || {
        consumer.subscribe(&["work"])?;
        let mut seen = 0;
        for _ in 0..600 {
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                message?.payload().context("an empty item")?;
                seen += 1;
            }
            if seen == items {
                consumer.commit_consumer_state(CommitMode::Sync)?;
                return Ok(());
            }
        }
        anyhow::bail!("only {seen} of {items} came")
    })
    .await?
}

#[tokio::test]
async fn groups_of_both_protocols_are_read_and_an_open_transaction_counts_as_the_source_says()
-> Result<()> {
    let broker = Broker::start(Kafka::V4_1, BrokerOptions::default()).await?;
    broker.topic("work", 1).await?;
    broker.send("work", None, 30).await?;
    let (wake, _wakes) = mpsc::unbounded_channel();
    let observe = Observe::start(Clock::start(), wake);
    let mut questions = Vec::new();
    for (group, isolation) in [
        ("classic", Isolation::ReadUncommitted),
        ("consumer", Isolation::ReadUncommitted),
        ("classic", Isolation::ReadCommitted),
        ("consumer", Isolation::ReadCommitted),
    ] {
        questions.push(question(&broker, &format!("{group} {isolation:?}"), group, isolation));
    }
    observe.ask(questions);
    let all = async |uncommitted: u64, committed: u64| {
        for group in ["classic", "consumer"] {
            lag(&observe, &format!("{group} ReadUncommitted"), uncommitted).await?;
            lag(&observe, &format!("{group} ReadCommitted"), committed).await?;
        }
        anyhow::Ok(())
    };
    all(30, 30).await?;
    work_off(&broker, "classic", "classic", 30).await?;
    work_off(&broker, "consumer", "consumer", 30).await?;
    all(0, 0).await?;

    let mut config = broker.client();
    config.set("transactional.id", "exact");
    let producer: BaseProducer = config.create()?;
    let producer = tokio::task::spawn_blocking(move || {
        producer.init_transactions(WAIT)?;
        producer.begin_transaction()?;
        for _ in 0..7 {
            let record = BaseRecord::<str, str>::to("work").payload("item");
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(WAIT)?;
        anyhow::Ok(producer)
    })
    .await??;
    // Nobody who reads committed items gets at them.
    all(7, 0).await?;
    let producer = tokio::task::spawn_blocking(move || {
        producer.commit_transaction(WAIT)?;
        anyhow::Ok(producer)
    })
    .await??;
    // Seven and the mark of the commit.
    all(8, 8).await?;
    work_off(&broker, "classic", "classic", 7).await?;
    work_off(&broker, "consumer", "consumer", 7).await?;
    // The mark is nobody's work, wherever the commit stands.
    all(0, 0).await?;
    drop(producer);
    observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_share_group_is_refused_by_name_and_others_beside_it_are_read() -> Result<()> {
    let topic =
        |setting: &str| (format!("share.coordinator.state.topic.{setting}"), "1".to_owned());
    let options = BrokerOptions {
        features: vec!["share.version=1".to_owned()],
        properties: ["replication.factor", "min.isr", "num.partitions"].map(topic).into(),
        ..BrokerOptions::default()
    };
    let broker = Broker::start(Kafka::V4_1, options).await?;
    broker.topic("work", 2).await?;
    let (wake, _wakes) = mpsc::unbounded_channel();
    let observe = Observe::start(Clock::start(), wake);
    observe.ask(vec![
        question(&broker, "shared", "shared", Isolation::ReadUncommitted),
        question(&broker, "other", "other", Isolation::ReadUncommitted),
    ]);
    // Before there is any such group nobody can know.
    lag(&observe, "shared", 0).await?;
    let sharing = broker.share("work", "shared")?;
    let id = QuestionId("shared".into());
    until("the refusal", SOON * 2, async || {
        let seen = observe.latest(&id).context("nobody has answered yet")?;
        let (Observation::Failed(missing) | Observation::Stale(_, missing)) = seen else {
            anyhow::bail!("{seen:?}")
        };
        anyhow::ensure!(&*missing.label == "ShareGroup", "{missing:?}");
        let words = "shared is a share group, whose lag cannot be read yet; hint:";
        anyhow::ensure!(missing.is_lasting && missing.message.contains(words), "{missing:?}");
        Ok(Some(()))
    })
    .await?;
    broker.send("work", None, 12).await?;
    lag(&observe, "other", 12).await?;
    drop(sharing);
    observe.shutdown().await;
    Ok(())
}
