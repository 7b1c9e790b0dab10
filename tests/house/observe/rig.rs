//! A mock cluster, records and commits in it, and an `Observe` to watch it with.

use std::sync::Arc;
use std::time::Duration;

use penstock::clock::Clock;
use penstock::decide::{Observation, QuestionId, Queue, Value};
use penstock::observe::kafka::{self, Isolation, OffsetReset};
use penstock::observe::{Address, Ask, Credentials, Observe, Question};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(super) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// How long a thing may take that ought to happen soon.
pub(super) const SOON: Duration = Duration::from_secs(15);
/// How often these tests poll.
pub(super) const POLL: Duration = Duration::from_millis(300);

pub(super) fn cluster(brokers: i32) -> Cluster {
    MockCluster::new(brokers).unwrap()
}

pub(super) fn id(name: &str) -> QuestionId {
    QuestionId(format!("shop/{name}/stage/source").into())
}

pub(super) fn ask(topics: &[&str], group: &str) -> kafka::Ask {
    kafka::Ask {
        topics: topics.iter().map(ToString::to_string).collect(),
        group: group.to_owned(),
        offset_reset: OffsetReset::Earliest,
        isolation: Isolation::ReadUncommitted,
    }
}

pub(super) fn question(name: &str, bootstrap: &str, ask: kafka::Ask) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Kafka(kafka::Address {
            connection: String::new(),
            bootstrap_servers: bootstrap.to_owned(),
            tls: false,
            sasl: None,
        }),
        credentials: Arc::new(Credentials::default()),
        ask: Ask::Kafka(ask),
    }
}

/// An `Observe` and what it wakes us with.
pub(super) struct Watcher {
    pub(super) observe: Observe,
    wakes: mpsc::UnboundedReceiver<Vec<QuestionId>>,
}

impl Watcher {
    pub(super) fn start() -> Self {
        let (wake, wakes) = mpsc::unbounded_channel();
        Self { observe: Observe::start(Clock::start(), wake), wakes }
    }

    pub(super) fn asking(questions: Vec<Question>) -> Self {
        let watcher = Self::start();
        watcher.observe.ask(questions);
        watcher
    }

    /// Waits until the observation of `name` is as wished; tells the last one seen when it never is.
    pub(super) async fn until(
        &mut self,
        name: &str,
        wished: impl Fn(&Observation) -> bool,
    ) -> Observation {
        let deadline = Instant::now() + SOON;
        loop {
            let seen = self.observe.latest(&id(name));
            if let Some(seen) = &seen
                && wished(seen)
            {
                return seen.clone();
            }
            // Observations also age without a wake.
            let patience = deadline.min(Instant::now() + POLL);
            let woken = tokio::time::timeout_at(patience, self.wakes.recv()).await;
            assert!(
                woken.is_ok() || Instant::now() < deadline,
                "{name} never became as wished; last seen: {seen:?}"
            );
        }
    }

    pub(super) async fn until_backlog(&mut self, name: &str, backlog: u64) -> Queue {
        let seen = self.until(name, |seen| seen.is_fresh() && queue(seen).backlog == backlog).await;
        queue(&seen)
    }

    pub(super) async fn until_amount(&mut self, name: &str, wished: f64) -> Observation {
        self.until(name, |seen| {
            seen.is_fresh() && amount(seen).is_some_and(|it| (it - wished).abs() < 1e-9)
        })
        .await
    }

    /// Waits for the next visit.
    pub(super) async fn visited(&mut self) -> Vec<QuestionId> {
        tokio::time::timeout(SOON, self.wakes.recv()).await.unwrap().unwrap()
    }

    pub(super) fn latest(&self, name: &str) -> Option<Observation> {
        self.observe.latest(&id(name))
    }

    /// Counts the visits that come in this time.
    pub(super) async fn visits_within(&mut self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut visits = 0;
        while tokio::time::timeout_at(end, self.wakes.recv()).await.is_ok() {
            visits += 1;
        }
        visits
    }
}

pub(super) fn queue(seen: &Observation) -> Queue {
    match &seen.reading().unwrap().value {
        Value::Queue(queue) => queue.clone(),
        Value::Gauge(_) | Value::Age(_) | Value::Each(_) => panic!("this is no queue"),
    }
}

/// What waits, or the bare number; `None` when nothing was read.
pub(super) fn amount(seen: &Observation) -> Option<f64> {
    Some(match &seen.reading()?.value {
        Value::Queue(queue) => f64::from(u32::try_from(queue.backlog).unwrap()),
        Value::Gauge(number) | Value::Age(number) => *number,
        Value::Each(_) => return None,
    })
}

/// The word for what is missing; empty when nothing is.
pub(super) fn label(seen: &Observation) -> &str {
    match seen {
        Observation::Failed(missing) | Observation::Stale(_, missing) => &missing.label,
        Observation::Fresh(_) | Observation::Partial(..) => "",
    }
}

pub(super) async fn produce(bootstrap: &str, topic: &str, partition: i32, count: usize) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    for _ in 0..count {
        let record = FutureRecord::<(), str>::to(topic).partition(partition).payload("x");
        producer.send(record, SOON).await.unwrap();
    }
}

pub(super) async fn commit(bootstrap: &str, group: &str, offsets: &[(&str, i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    let config =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).clone();
    let commit = move || {
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    };
    tokio::task::spawn_blocking(commit).await.unwrap();
}
