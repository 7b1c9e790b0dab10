//! What a test asks of a broker's topics: to make them, to grow them, and what waits in them. Called by tests through `Broker`.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::{Broker, START};
use crate::rig::until;

impl Broker {
    /// Makes a topic, and waits until the broker knows it.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.topic_with(name, partitions, &[]).await
    }

    /// The same with settings such as `("retention.ms", "1000")`.
    pub(crate) async fn topic_with(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let plain = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(plain, |topic, (key, value)| topic.set(key, value));
        let made = self.admin()?.create_topics([&topic], &options()).await?;
        each(
            made.into_iter()
                .map(|one| one.map_err(|(name, code)| format!("create the topic {name}: {code}"))),
        )?;
        until(&format!("the topic {name}"), START, async || {
            Ok((self.partitions(name).await? == usize::try_from(partitions)?).then_some(()))
        })
        .await
    }

    /// Many topics in one call.
    pub(crate) async fn topics(&self, names: &[String], partitions: i32) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let topics: Vec<_> = names
            .iter()
            .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
            .collect();
        let made = self.admin()?.create_topics(&topics, &options()).await?;
        each(
            made.into_iter()
                .map(|one| one.map_err(|(name, code)| format!("create the topic {name}: {code}"))),
        )
    }

    /// Raises the number of partitions.
    pub(crate) async fn grow(&self, topic: &str, partitions: usize) -> Result<()> {
        let made = self
            .admin()?
            .create_partitions([&NewPartitions::new(topic, partitions)], &options())
            .await?;
        each(
            made.into_iter()
                .map(|one| one.map_err(|(name, code)| format!("add partitions to {name}: {code}"))),
        )
    }

    pub(crate) async fn delete(&self, topic: &str) -> Result<()> {
        let gone = self.admin()?.delete_topics(&[topic], &options()).await?;
        each(
            gone.into_iter()
                .map(|one| one.map_err(|(name, code)| format!("delete the topic {name}: {code}"))),
        )
    }

    /// Sends so many items at once, to the partitions in turn or to one, and waits until the broker has them.
    pub(crate) async fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        count: usize,
    ) -> Result<()> {
        let partitions = i32::try_from(self.partitions(topic).await?)?;
        anyhow::ensure!(partitions > 0, "there is no topic {topic}");
        let producer: ThreadedProducer<_> = self.client().create().context("make a producer")?;
        for (_, next) in (0..count).zip((0..partitions).cycle()) {
            let mut record = BaseRecord::<(), str>::to(topic)
                .partition(partition.unwrap_or(next))
                .payload("an item");
            while let Err((error, same)) = producer.send(record) {
                anyhow::ensure!(
                    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull),
                    "send an item: {error}"
                );
                record = same;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        blocking(move || producer.flush(START).context("wait for the broker to have all items"))
            .await
    }

    /// Commits for a group without members: on every partition of the topic it has read so far.
    pub(crate) async fn commit(&self, group: &str, topic: &str, offset: i64) -> Result<()> {
        let partitions = self.partitions(topic).await?;
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions)? {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        let group = group.to_owned();
        blocking(move || {
            consumer.commit(&list, CommitMode::Sync).with_context(|| format!("commit for {group}"))
        })
        .await
    }

    /// How many partitions the broker says a topic has; 0 when it does not know it.
    pub(crate) async fn partitions(&self, topic: &str) -> Result<usize> {
        let (consumer, topic) = (self.client().create::<BaseConsumer>()?, topic.to_owned());
        blocking(move || {
            let found = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10))?;
            Ok(found
                .topics()
                .iter()
                .filter(|one| one.error().is_none())
                .map(|one| one.partitions().len())
                .sum())
        })
        .await
    }

    /// The lag of a group on a topic as the broker knows it, a partition without a commit counting from its start.
    pub(crate) async fn lag(&self, group: &str, topic: &str) -> Result<i64> {
        let partitions = self.partitions(topic).await?;
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let topic = topic.to_owned();
        blocking(move || {
            let wait = Duration::from_secs(10);
            let mut asked = TopicPartitionList::new();
            for partition in 0..partitions {
                asked.add_partition(&topic, i32::try_from(partition)?);
            }
            let mut lag = 0;
            for one in consumer.committed_offsets(asked, wait)?.elements() {
                let (first, end) = consumer.fetch_watermarks(&topic, one.partition(), wait)?;
                lag += end
                    - if let Offset::Offset(committed) = one.offset() {
                        committed.max(first)
                    } else {
                        first
                    };
            }
            Ok(lag)
        })
        .await
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client().create().context("make an admin client")
    }
}

fn options() -> AdminOptions {
    let wait = Some(Duration::from_secs(30));
    AdminOptions::new().operation_timeout(wait).request_timeout(wait)
}

fn each(mut results: impl Iterator<Item = Result<String, String>>) -> Result<()> {
    results.try_for_each(|one| one.map(drop).map_err(anyhow::Error::msg))
}

/// librdkafka's questions wait in their thread.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(ask).await.context("ask the broker")?
}
