//! A thousand pipelines whose numbers move, and the daemon that watches them: a Kubernetes API and a Kafka in this process, the built
//! binary beside it. Called by `main`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use penstock::answer::page::{Mood, Overview};
use penstock::demo::cluster::{Cluster, Options};
use penstock::demo::traffic::{Broker, Kafka};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::rig::{Penstock, Usage, fresh_folder, until};

/// Pipelines.
pub(crate) const PIPELINES: usize = 1_000;
/// Namespaces they lie in.
const NAMESPACES: usize = 20;
/// Every so many-th has no target, so that there is something that needs a look.
const BROKEN: usize = 50;
const PARTITIONS: i32 = 3;
/// How often each topic gets an item: every poll of the daemon sees each lag moved.
const EVERY: Duration = Duration::from_secs(2);
/// How long the daemon may take to know all of them.
const PATIENCE: Duration = Duration::from_mins(3);

/// All that runs.
pub(crate) struct Crowd {
    pub(crate) daemon: Penstock,
    /// From the daemon's start until every pipeline's state was known.
    pub(crate) known_after: Duration,
    traffic: Traffic,
    _cluster: Cluster,
    _broker: Broker,
}

impl Crowd {
    /// Raises it, and waits until the daemon knows the state of each pipeline.
    #[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
    pub(crate) async fn raise() -> Result<Self> {
        let names: Vec<String> = (0..PIPELINES).map(topic).collect();
        let topics: Vec<_> = names.iter().map(|name| (&**name, PARTITIONS)).collect();
        let broker = Broker::start(&topics)?;
        let cluster = Cluster::new(Options::default());
        furnish(&cluster, &broker.kafka()).map_err(|message| anyhow!(message))?;
        let traffic = Traffic::start(&broker.kafka())?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let kubeconfig = fresh_folder("crowd")?.join("kubeconfig");
        tokio::fs::write(&kubeconfig, cluster.kubeconfig(listener.local_addr()?)).await?;
        cluster.serve(listener);
        let begun = Instant::now();
        let daemon = Penstock::run(&kubeconfig, &[]).await?;
        let waited = until("every pipeline's state", PATIENCE, async || {
            let overview: Overview =
                serde_json::from_value(daemon.page("/api/v1/overview").await?)?;
            let count = |is: fn(&Mood) -> bool| {
                overview.pipelines.iter().filter(|row| is(&row.state)).count()
            };
            let (all, unknown) = (overview.pipelines.len(), count(|state| *state == Mood::Unknown));
            ensure!(
                all == PIPELINES && unknown == 0,
                "{unknown} of {all} pipelines are Unknown after {:?}",
                begun.elapsed()
            );
            ensure!(
                count(|state| *state == Mood::Broken) == PIPELINES / BROKEN,
                "not all are as meant"
            );
            Ok(Some(()))
        });
        waited.await?;
        let known_after = begun.elapsed();
        Ok(Self { daemon, known_after, traffic, _cluster: cluster, _broker: broker })
    }

    /// What the daemon has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.daemon.process().usage()
    }

    /// Ends the traffic; how many rounds of items were sent, each of one item to each topic.
    pub(crate) fn end(self) -> Result<usize> {
        self.traffic.end()
    }
}

fn namespace(number: usize) -> String {
    format!("team-{:02}", number % NAMESPACES)
}

fn topic(number: usize) -> String {
    format!("orders-{number:04}")
}

/// Definitions, namespaces, Deployments and pipelines.
fn furnish(cluster: &Cluster, kafka: &Kafka) -> Result<(), String> {
    for definition in penstock::crd::all() {
        cluster.define(serde_json::to_value(definition).map_err(|error| error.to_string())?)?;
    }
    for number in 0..NAMESPACES {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}});
        cluster.put("", "v1", "namespaces", "", object)?;
    }
    for number in 0..PIPELINES {
        let (name, namespace) = (topic(number), namespace(number));
        if number % BROKEN != 0 {
            cluster.put("apps", "v1", "deployments", &namespace, deployment(&name))?;
        }
        let pipeline = pipeline(&name, &kafka.bootstrap_servers);
        cluster.put("penstock.dev", "v1alpha1", "scaledpipelines", &namespace, pipeline)?;
    }
    Ok(())
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "none"}]},
        }},
    })
}

fn pipeline(name: &str, bootstrap: &str) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
        "spec": {"stages": [{
            "name": "work", "target": {"name": name}, "replicas": {"min": 1, "max": 48},
            "sources": [{"name": "queue", "kafka": {
                "bootstrapServers": bootstrap, "topics": [name], "group": name, "offsetReset": "Earliest", "perReplica": 1000,
            }}],
        }]},
    })
}

/// Items to every topic, now and then.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Traffic {
    fn start(kafka: &Kafka) -> Result<Self> {
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .set("linger.ms", "50")
            .create()?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let names: Vec<String> = (0..PIPELINES).map(topic).collect();
            let mut rounds = 0;
            while !told.load(Ordering::Relaxed) {
                for name in &names {
                    send(&producer, name)?;
                }
                rounds += 1;
                #[expect(clippy::disallowed_methods, reason = "a benchmark keeps real time")]
                std::thread::sleep(EVERY);
            }
            producer.flush(Duration::from_secs(10))?;
            Ok(rounds)
        });
        Ok(Self { stop, thread })
    }

    /// Stops; how many rounds there were.
    fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the thread that sends broke")?
    }
}

fn send(
    producer: &ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    topic: &str,
) -> Result<()> {
    match producer.send(BaseRecord::<(), str>::to(topic).payload("an item")) {
        // The broker is busy: that item is not missed.
        Ok(()) | Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(()),
        Err((error, _)) => Err(error.into()),
    }
}
