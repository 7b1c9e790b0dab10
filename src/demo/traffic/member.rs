//! One consumer: joins the group, takes an item, spends the time its rate says, marks it done, commits now and then. It waits
//! instead of working, so a hundred of them cost next to nothing. Run by `consumers` for each Ready pod.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::message::Message as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::consumers::{Notes, Work};
use super::outlet::Outlet;
use super::{Error, Kafka, Ledger};

/// How long to leave a consumer alone that reported an error, or an outlet that is full.
const PAUSE: Duration = Duration::from_millis(100);

/// What every consumer of a stage has in common.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) kafka: Kafka,
    pub(super) work: Work,
    pub(super) ledger: Arc<Ledger>,
    pub(super) outlet: Option<Arc<Outlet>>,
    pub(super) notes: Arc<Notes>,
}

impl Member {
    /// Works as pod `name` until stopped; then commits and leaves the group.
    pub(super) async fn work(self, name: String, stop: CancellationToken) {
        let consumer = match self.join(&name) {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::error!(pod = name, %error, "no consumer for a pod");
                return self.notes.fault(error.to_string());
            }
        };
        stop.run_until_cancelled(self.consume(&consumer)).await;
        // Leaving commits and says goodbye to the broker, which blocks its thread.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(consumer)).await {
            self.notes.fault(format!("consumer of pod {name} did not close: {error}"));
        }
    }

    fn join(&self, name: &str) -> Result<StreamConsumer<Desk>, Error> {
        let mut config = ClientConfig::new();
        config
            .set("group.id", &self.work.group)
            .set("client.id", name)
            .set("partition.assignment.strategy", &self.work.assignor)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", self.work.commit_interval.as_millis().to_string())
            .set("enable.auto.offset.store", "false")
            .set("topic.metadata.refresh.interval.ms", "5000")
            // Small helpings, so that partitions take turns and little is fetched twice after a rebalance.
            .set("max.partition.fetch.bytes", "16384")
            .set("queued.min.messages", "500")
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.queue.backoff.ms", "100");
        self.kafka.apply(&mut config, true);
        let desk = Desk { notes: Arc::clone(&self.notes) };
        let consumer: StreamConsumer<Desk> =
            config.create_with_context(desk).map_err(|source| Error::Client {
                role: "consumer",
                bootstrap_servers: self.kafka.bootstrap_servers.clone(),
                source,
            })?;
        let topics: Vec<&str> = self.work.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|source| Error::Subscribe { topics: self.work.topics.clone(), source })?;
        Ok(consumer)
    }

    /// Takes items one after the other, for ever. May be dropped at any await: an item that was not finished was not stored, and
    /// the group's next reader does it again.
    async fn consume(&self, consumer: &StreamConsumer<Desk>) {
        let mut pace = Pace::new(self.work.rate);
        loop {
            let message = match consumer.recv().await {
                Ok(message) => message,
                Err(error) => {
                    self.notes.fault(error.to_string());
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            pace.spend().await;
            if let Some(number) = message.key().and_then(number) {
                if let Some(outlet) = &self.outlet {
                    while !outlet.put(number, None) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                self.ledger.done(self.work.stage, number);
            }
            if let Err(error) = consumer.store_offset_from_message(&message) {
                // Its partition was taken away while we worked on it: the next owner does it again.
                tracing::debug!(partition = message.partition(), %error, "an item was finished too late to be ours");
            }
        }
    }
}

fn number(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// Counts what the group gives to its members.
struct Desk {
    notes: Arc<Notes>,
}

impl ClientContext for Desk {}

impl ConsumerContext for Desk {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                self.notes.assignments.fetch_add(partitions.count() as u64, Ordering::Relaxed);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.notes.fault(error.to_string()),
        }
    }
}

/// Spends the same time on every item, on average: a late wake-up is made good by the next items.
struct Pace {
    each: Duration,
    busy_until: Instant,
}

/// A wait below this is put together with the next ones.
const GRAIN: Duration = Duration::from_millis(2);
/// Lateness older than this is not made good: it was idleness.
const CREDIT: Duration = Duration::from_millis(50);

impl Pace {
    fn new(rate: f64) -> Self {
        let each = Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default();
        Self { each, busy_until: Instant::now() }
    }

    /// Waits until the item at hand is done.
    async fn spend(&mut self) {
        let now = Instant::now();
        let credit = CREDIT.min(self.each * 4);
        self.busy_until = self.busy_until.max(now.checked_sub(credit).unwrap_or(now)) + self.each;
        if self.busy_until > now + GRAIN {
            tokio::time::sleep_until(self.busy_until).await;
        }
    }
}
