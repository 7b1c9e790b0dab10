//! Consumers that come and go with the Ready pods of a workload, each at its rate. Called by tests and the benchmark.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{held, now};

/// What each consumer does. What `client` says already (a commit interval, `auto.offset.reset`) is left as it is.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// How to reach the broker.
    pub(crate) client: ClientConfig,
    pub(crate) topics: Vec<String>,
    pub(crate) group: String,
    /// Items per second one consumer gets through.
    pub(crate) rate: f64,
    /// How often it commits what it has done.
    pub(crate) commit_every: Duration,
    /// librdkafka's `partition.assignment.strategy`: `range`, `roundrobin` or `cooperative-sticky`.
    pub(crate) assignment: &'static str,
}

impl Work {
    /// A consumer that commits every 5 s and shares partitions by range, as most do.
    pub(crate) fn new(client: ClientConfig, topics: &[&str], group: &str, rate: f64) -> Self {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Self {
            client,
            topics,
            group: group.to_owned(),
            rate,
            commit_every: Duration::from_secs(5),
            assignment: "range",
        }
    }

    fn config(&self) -> ClientConfig {
        let mut config = self.client.clone();
        config.set("group.id", &self.group);
        config.set("enable.auto.commit", "true").set("enable.auto.offset.store", "false");
        let defaults = [
            ("auto.commit.interval.ms", self.commit_every.as_millis().to_string()),
            ("partition.assignment.strategy", self.assignment.to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("session.timeout.ms", "6000".to_owned()),
            ("heartbeat.interval.ms", "1000".to_owned()),
            // Dozens of them share this process, and what they have fetched but not done is fetched again by the next owner.
            ("queued.min.messages", "1000".to_owned()),
            ("queued.max.messages.kbytes", "1024".to_owned()),
            ("fetch.queue.backoff.ms", "50".to_owned()),
        ];
        for (key, value) in defaults {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        config
    }
}

/// One item that was worked off. Times are milliseconds since the epoch, by one clock for producers and consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// With the partition it tells an item that was delivered twice.
    pub(crate) offset: i64,
    pub(crate) produced: i64,
    pub(crate) done: i64,
    pub(crate) pod: Arc<str>,
}

impl Item {
    /// From being produced to being worked off.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.done - self.produced).unwrap_or(0))
    }
}

/// Consumers, one for each Ready pod of a label selector; a pod that goes stops its consumer, which commits and leaves the group.
#[derive(Debug)]
pub(crate) struct Consumers {
    crew: Arc<Crew>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Crew {
    items: Mutex<Vec<Item>>,
    /// The pods that have a consumer.
    at_work: Mutex<BTreeMap<String, CancellationToken>>,
}

impl Consumers {
    /// Begins to follow the pods.
    pub(crate) fn follow(client: Client, namespace: &str, selector: &str, work: Work) -> Self {
        let (crew, stop) = (Arc::new(Crew::default()), CancellationToken::new());
        let pods = watch(
            Api::<Pod>::namespaced(client, namespace),
            watcher::Config::default().labels(selector),
        )
        .default_backoff();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(pods, work, Arc::clone(&crew), stop.clone()));
        Self { crew, stop, tasks }
    }

    /// How many work now.
    pub(crate) fn count(&self) -> usize {
        held(&self.crew.at_work).len()
    }

    /// How many items were worked off so far, those delivered twice counted twice.
    pub(crate) fn done(&self) -> usize {
        held(&self.crew.items).len()
    }

    /// What was worked off so far, in this order.
    pub(crate) fn items(&self) -> Vec<Item> {
        held(&self.crew.items).clone()
    }

    /// The age of the oldest item worked off in the last `window`; `None` if there was none.
    pub(crate) fn oldest_in(&self, window: Duration) -> Option<Duration> {
        let since = now() - i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        held(&self.crew.items)
            .iter()
            .rev()
            .take_while(|item| item.done >= since)
            .map(Item::age)
            .max()
    }

    /// Stops them all; each commits what it has done and leaves its group.
    pub(crate) async fn stop(mut self) -> Vec<Item> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.items()
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn follow(
    pods: impl futures::Stream<Item = Result<Event<Pod>, watcher::Error>> + Send,
    work: Work,
    crew: Arc<Crew>,
    stop: CancellationToken,
) {
    pin_mut!(pods);
    let mut consumers = JoinSet::new();
    let mut listed = Vec::new();
    while let Some(Some(event)) = stop.run_until_cancelled(pods.next()).await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                let name = pod.name_any();
                listed.push(name.clone());
                let mut at_work = held(&crew.at_work);
                if !is_ready(&pod) {
                    dismiss(&mut at_work, &name);
                } else if !at_work.contains_key(&name) {
                    let leave = stop.child_token();
                    at_work.insert(name.clone(), leave.clone());
                    consumers.spawn(consume(work.clone(), name.into(), Arc::clone(&crew), leave));
                }
            }
            Ok(Event::Delete(pod)) => dismiss(&mut held(&crew.at_work), &pod.name_any()),
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitDone) => {
                let mut at_work = held(&crew.at_work);
                let gone: Vec<_> =
                    at_work.keys().filter(|name| !listed.contains(name)).cloned().collect();
                for name in &gone {
                    dismiss(&mut at_work, name);
                }
            }
            // The API server is away: consumers work on, and the watch comes back by itself.
            Err(_) => {}
        }
    }
    held(&crew.at_work).clear();
    while consumers.join_next().await.is_some() {}
}

fn dismiss(at_work: &mut BTreeMap<String, CancellationToken>, pod: &str) {
    if let Some(leave) = at_work.remove(pod) {
        leave.cancel();
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// One consumer, until it is told to leave. A broker that is away is waited for.
async fn consume(work: Work, pod: Arc<str>, crew: Arc<Crew>, leave: CancellationToken) {
    let Ok(consumer) = work.config().create::<StreamConsumer>() else { return };
    let topics: Vec<_> = work.topics.iter().map(String::as_str).collect();
    drop(consumer.subscribe(&topics));
    let names: BTreeMap<&str, Arc<str>> =
        topics.iter().map(|&topic| (topic, topic.into())).collect();
    let step = Duration::from_secs_f64(1.0 / work.rate);
    let mut free = Instant::now();
    loop {
        let message = match leave.run_until_cancelled(consumer.recv()).await {
            None => break,
            Some(Ok(message)) => message,
            Some(Err(_)) => {
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Timers are late by a millisecond or more: what was lost so is made good, but no more than a tenth of a second.
        let begun = Instant::now()
            .checked_sub(Duration::from_millis(100))
            .map_or(free, |earliest| free.max(earliest));
        free = begun + step;
        if leave.run_until_cancelled(sleep_until(free)).await.is_none() {
            break;
        }
        drop(consumer.store_offset_from_message(&message));
        let topic = names.get(message.topic()).map_or_else(|| message.topic().into(), Arc::clone);
        held(&crew.items).push(Item {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            produced: message.timestamp().to_millis().unwrap_or_default(),
            done: now(),
            pod: Arc::clone(&pod),
        });
    }
    // Closing commits, leaves the group, and waits for both.
    drop(tokio::task::spawn_blocking(move || drop(consumer)).await);
}
