//! The benchmark of the whole loop on real servers: how soon the right count is asked for, and what watching 500 pipelines costs.
//! Run by `make bench`. Prints a table; exits 1 when a target is missed, and says by how much.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::large_futures, reason = "few, and none is kept")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "../tests/live/rig/mod.rs"]
mod rig;

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use rig::{
    Broker, BrokerOptions, Cluster, ClusterOptions, Kafka, Kubernetes, Penstock, Program, until,
};

/// Pipelines beside the one that is timed.
const OTHERS: usize = 499;
const PARTITIONS: i32 = 24;
/// Backlog for 24 replicas at 100 each.
const BACKLOG: usize = 2_400;
/// Runs of each kind, unless `-- --runs N` says another number.
const RUNS: usize = 20;
const QUIET: Duration = Duration::from_mins(1);

fn main() -> std::process::ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(Box::pin(bench())) {
        Ok(Missed(missed)) if missed.is_empty() => std::process::ExitCode::SUCCESS,
        Ok(Missed(missed)) => {
            for miss in missed {
                println!("MISSED  {miss}");
            }
            std::process::ExitCode::FAILURE
        }
        Err(error) => {
            println!("the benchmark could not run: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// How many runs of each kind are asked for.
fn runs() -> Result<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--runs").skip(1);
    arguments.next().map_or(Ok(RUNS), |number| number.parse().context("--runs takes a number"))
}

/// Targets that were missed, and by how much.
#[derive(Debug, Default)]
struct Missed(Vec<String>);

impl Missed {
    /// Notes a figure above its target.
    fn above(&mut self, what: &str, figure: f64, target: f64) {
        if figure > target {
            self.0.push(format!(
                "{what}: {figure:.2}, target {target:.2}, {:.2} too much",
                figure - target
            ));
        }
    }
}

async fn bench() -> Result<Missed> {
    let mut missed = Missed::default();
    let ground = Ground::start(runs()?).await?;
    let daemon = Penstock::run(ground.cluster.kubeconfig(), &[]).await?;
    println!(
        "{:<52}{:>10}{:>10}{:>8}",
        "from backlog to the right spec.replicas", "median s", "worst s", "writes"
    );
    ground.reactions("alone", &daemon, &mut missed).await?;
    ground.crowd(&daemon).await?;
    println!("\n{OTHERS} other pipelines x {PARTITIONS} partitions, over {} s", QUIET.as_secs());
    ground.costs("nothing moves", &daemon, 0.0, &mut missed).await?;
    ground.reactions("499 others idle", &daemon, &mut missed).await?;
    let stop = CancellationToken::new();
    let measured = async {
        // The first rates are learned, and told, before anything is counted.
        tokio::time::sleep(QUIET).await;
        let lag = "every lag moves inside its objective";
        ground.costs(lag, &daemon, 0.2, &mut missed).await?;
        ground.reactions("499 others moving", &daemon, &mut missed).await?;
        stop.cancel();
        anyhow::Ok(())
    };
    tokio::try_join!(measured, ground.traffic(&stop))?;
    Ok(missed)
}

/// The servers.
struct Ground {
    cluster: Cluster,
    broker: Broker,
    client: Client,
    runs: usize,
}

impl Ground {
    async fn start(runs: usize) -> Result<Self> {
        let options = ClusterOptions { nodes: 2, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        // 12,000 partitions on one broker: small indexes, or it runs out of memory maps.
        let small = [("log.index.size.max.bytes", "4096"), ("num.partitions", "1")];
        let properties = small.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let options = BrokerOptions { request_log: true, properties, ..BrokerOptions::default() };
        let broker = Broker::start(Kafka::V4_1, options).await?;
        let crds = Program::new(env!("CARGO_BIN_EXE_penstock")).arg("crds").run().await?;
        cluster.apply("default", &crds).await?;
        cluster
            .kubectl(&["wait", "--for=condition=Established", "crd/scaledpipelines.penstock.dev"])
            .await?;
        let client = cluster.client().await?;
        Ok(Self { cluster, broker, client, runs })
    }

    async fn create(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &resource);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// A Deployment and the pipeline that scales it, both of this name; so are the topic and the group.
    async fn pipeline(&self, name: &str, replicas: u32, kafka: Value, stage: Value) -> Result<()> {
        self.create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]},
            }},
        }))
        .await?;
        let mut source =
            json!({"bootstrapServers": self.broker.bootstrap(), "topics": [name], "group": name});
        merge(&mut source, kafka);
        let mut whole = json!({
            "name": "work", "target": {"name": name}, "replicas": {"min": replicas, "max": 48},
            "sources": [{"name": "queue", "kafka": source}],
        });
        merge(&mut whole, stage);
        self.create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": name}, "spec": {"stages": [whole]},
        }))
        .await
    }

    /// Waits until the daemon has a fresh reading of these pipelines.
    async fn read(&self, daemon: &Penstock, names: &[String]) -> Result<()> {
        until("first readings", Duration::from_mins(3), async || {
            let page = daemon.page("/api/v1/pipelines").await?;
            let fresh = page["pipelines"].as_array().into_iter().flatten().filter(|pipeline| {
                names.iter().any(|name| pipeline["name"] == **name)
                    && pipeline["stages"][0]["sources"][0]["state"] == "Fresh"
            });
            Ok((fresh.count() == names.len()).then_some(()))
        })
        .await
    }

    /// Runs at random phase, from 1 and from 0, by a threshold and by a known rate.
    async fn reactions(&self, company: &str, daemon: &Penstock, missed: &mut Missed) -> Result<()> {
        let threshold = (json!({"perReplica": 100}), json!({}));
        // 2,400 items within 60 s at 2/s each: 20 replicas and, since 24 partitions go evenly to 24 only, 24 of them.
        let rate = (json!({}), json!({"ratePerReplica": 2, "objective": {"maxDelay": "60s"}}));
        for (sized, from, (kafka, stage)) in [
            ("threshold", 1, threshold.clone()),
            ("threshold", 0, threshold),
            ("known rate", 1, rate),
        ] {
            let mut kafka = kafka;
            merge(&mut kafka, json!({"offsetReset": "Earliest"}));
            let label = company.replace(' ', "-");
            let name = |run| format!("r-{label}-{}-{from}-{run}", sized.replace(' ', "-"));
            let names: Vec<_> = (0..self.runs).map(name).collect();
            self.broker.topics(&names, PARTITIONS).await?;
            for name in &names {
                self.pipeline(name, from, kafka.clone(), stage.clone()).await?;
            }
            self.read(daemon, &names).await?;
            let mut took = Vec::new();
            let mut writes = 0;
            for name in &names {
                let (time, count) = self.reaction(name).await?;
                took.push(time.as_secs_f64());
                writes = writes.max(count);
            }
            took.sort_by(f64::total_cmp);
            let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
            let what = format!("{company}, {sized}, {from} to {PARTITIONS}");
            println!("{what:<52}{median:>10.2}{worst:>10.2}{writes:>8}");
            missed.above(&format!("{what}, worst seconds"), worst, 3.0);
            missed.above(&format!("{what}, writes"), count_of(writes), 1.0);
            for name in &names {
                self.cluster
                    .kubectl(&[
                        "delete",
                        "--wait=false",
                        &format!("spl/{name}"),
                        &format!("deploy/{name}"),
                    ])
                    .await?;
            }
        }
        Ok(())
    }

    /// One run: time from the first item sent to the count asked for, and the writes it took.
    async fn reaction(&self, name: &str) -> Result<(Duration, usize)> {
        let mut log = self.cluster.requests()?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..2_000))).await;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), "default");
        let right = kube::runtime::wait::await_condition(
            deployments,
            name,
            |deployment: Option<&Deployment>| {
                let spec = deployment.and_then(|deployment| deployment.spec.as_ref());
                spec.and_then(|spec| spec.replicas) == Some(PARTITIONS)
            },
        );
        let start = Instant::now();
        let sent = self.broker.send(name, None, BACKLOG);
        let (seen, ()) = tokio::try_join!(
            async {
                Ok(tokio::time::timeout(Duration::from_mins(2), right)
                    .await
                    .context("the count never came")??)
            },
            sent
        )?;
        drop(seen);
        let took = start.elapsed();
        // One more poll could change it again.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut count = None;
        let mut writes = 0;
        for request in log.take()? {
            let is_write = request.name == name
                && request.subresource == "scale"
                && request.replicas.is_some();
            if is_write && request.code < 300 && request.replicas != count {
                count = request.replicas;
                writes += 1;
            }
        }
        Ok((took, writes))
    }

    /// The others: each with a topic, a group and a Deployment of its own, sized by an objective.
    async fn crowd(&self, daemon: &Penstock) -> Result<()> {
        let names: Vec<_> = (0..OTHERS).map(other).collect();
        for some in names.chunks(50) {
            self.broker.topics(some, PARTITIONS).await?;
        }
        let kafka = json!({"offsetReset": "Earliest"});
        let stage = json!({"ratePerReplica": 100, "objective": {"maxDelay": "60s"}});
        stream::iter(&names)
            .map(|name| self.pipeline(name, 1, kafka.clone(), stage.clone()))
            .buffer_unordered(8)
            .try_collect::<Vec<_>>()
            .await?;
        self.read(daemon, &names).await
    }

    /// What the daemon costs for a while.
    async fn costs(
        &self,
        what: &str,
        daemon: &Penstock,
        writes: f64,
        missed: &mut Missed,
    ) -> Result<()> {
        // What was written for the way here is not counted.
        tokio::time::sleep(QUIET).await;
        let pid = daemon.process().pid()?;
        let mut log = self.cluster.requests()?;
        let (cpu, asked) = (cpu_seconds(pid)?, self.broker.requests("penstock")?);
        tokio::time::sleep(QUIET).await;
        let seconds = QUIET.as_secs_f64();
        let cpu = (cpu_seconds(pid)? - cpu) / seconds;
        let asked = count_of(self.broker.requests("penstock")? - asked) / seconds;
        let requests: Vec<_> = log
            .take()?
            .into_iter()
            .filter(|r| !r.resource.starts_with("leases") && is_ours(&r.user_agent))
            .collect();
        let rate = |verbs: &[&str]| {
            count_of(requests.iter().filter(|r| verbs.contains(&r.verb.as_str())).count()) / seconds
        };
        let (memory, connections) = (mebibytes(pid)?, self.broker.connections_of(pid)?);
        let written = rate(&["create", "update", "patch", "delete"]);
        let read = rate(&["get", "list"]);
        println!(
            "{what:<40} {memory:>6.1} MiB  {:>6.2} % of a core  {connections} connections  {asked:>6.1} broker requests/s  {written:.2} writes/s  {read:.2} reads/s",
            cpu * 100.0
        );
        missed.above(&format!("{what}, MiB"), memory, 40.0);
        missed.above(&format!("{what}, broker connections"), count_of(connections), 3.0);
        missed.above(&format!("{what}, API writes/s"), written, writes);
        missed.above(&format!("{what}, API reads/s"), read, 0.0);
        Ok(())
    }

    /// Lets every lag of the others move, well inside its objective, until `stop`: items come, and groups commit behind them.
    async fn traffic(&self, stop: &CancellationToken) -> Result<()> {
        let client = self.broker.client();
        let end = stop.clone();
        tokio::task::spawn_blocking(move || move_lags(&client, &end)).await?
    }
}

/// One item to each partition of a topic in turn, topic after topic; then the group commits all but the last item of each partition.
fn move_lags(client: &ClientConfig, stop: &CancellationToken) -> Result<()> {
    let producer: ThreadedProducer<_> = client.create()?;
    for round in 0_i64.. {
        for name in (0..OTHERS).map(other) {
            if stop.is_cancelled() {
                return Ok(());
            }
            let consumer: BaseConsumer = client.clone().set("group.id", &name).create()?;
            let mut done = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                let record =
                    BaseRecord::<(), str>::to(&name).partition(partition).payload("an item");
                producer.send(record).map_err(|(error, _)| error)?;
                done.add_partition_offset(&name, partition, Offset::Offset(round))?;
            }
            consumer.commit(&done, CommitMode::Sync)?;
        }
        producer.flush(Duration::from_secs(30))?;
    }
    Ok(())
}

fn other(index: usize) -> String {
    format!("other-{index:03}")
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// Requests of the daemon, not of the benchmark itself, kubectl or the controllers.
fn is_ours(agent: &str) -> bool {
    agent.starts_with("penstock/")
}

fn count_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Resident memory of a process.
fn mebibytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// CPU time of a process so far. Ticks are hundredths of a second on every Linux that Rust runs on.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> =
        stat.rsplit_once(')').context("an odd stat")?.1.split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).context("a short stat")?.parse::<f64>().context("an odd stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
