//! The scenario on real servers: Kafka, consumers on KWOK's pods, the real controllers; sized by Penstock's daemon and, beside it, by a
//! plain HPA on lag. What happened is taken down second by second and scored as the simulator scores its worlds. Called by `main`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use penstock::answer::view;
use penstock::demo::traffic::{Consumers, Counts, Ledger, Load, Pods, Producer, Work};
use penstock::simulate::{Move, Run, Score, Series, StageRun};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use crate::rig::{
    Answer, Broker, BrokerOptions, Cluster, ClusterOptions, External, Kafka, Kubernetes, Penstock,
    until,
};
use crate::terms;

const START: Duration = Duration::from_mins(3);
/// A move is undone when one the other way follows within so many seconds, as the simulator has it.
const UNDONE: u32 = 600;

/// What became of both.
pub(crate) struct Played {
    pub(crate) penstock: Run,
    pub(crate) hpa: Run,
    /// When the HPA looked first, in seconds since the start.
    pub(crate) hpa_looks: f64,
    /// Items a second of one consumer, as the daemon learned it.
    pub(crate) learned: Option<f64>,
    /// And as it was, by the mean of all while items waited everywhere.
    pub(crate) pace: Option<f64>,
    /// Seconds from a write to as many consumers, each time more were asked for.
    pub(crate) startups: Vec<f64>,
}

/// Plays it on servers of its own.
pub(crate) async fn play(seconds: u32) -> Result<Played> {
    let options = ClusterOptions { nodes: 2, startup: terms::STARTUP, ..ClusterOptions::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let broker = Arc::new(Broker::start(Kafka::V4_1, BrokerOptions::default()).await?);
    cluster.install().await?;
    let daemon = Penstock::run(cluster.kubeconfig(), &[]).await?;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let _external =
        External::serve(&cluster, lag_of(Arc::clone(&broker), Arc::clone(&asked))).await?;
    let penstock = Site::prepare(&cluster, &broker, "penstock").await?;
    let hpa = Site::prepare(&cluster, &broker, "hpa").await?;
    for site in [&penstock, &hpa] {
        site.until_all_work().await?;
    }
    penstock.create(terms::pipeline(&broker.bootstrap(), &penstock.namespace)).await?;
    hpa.create(terms::hpa(&hpa.namespace)).await?;
    let begun = Instant::now();
    let (mut penstock, mut hpa) = tokio::try_join!(
        penstock.watch(&broker, seconds, Some(&daemon)),
        hpa.watch(&broker, seconds, None),
    )?;
    let view = stage(&daemon, &penstock.0.namespace).await?;
    let first = asked.lock().unwrap().iter().copied().filter(|at| begun <= *at).min();
    let first = first.context("the HPA never asked for its metric")?;
    let pace = hpa.1.pace().or_else(|| penstock.1.pace());
    let mut startups = penstock.1.startups();
    startups.extend(hpa.1.startups());
    for site in [&mut penstock.0, &mut hpa.0] {
        if let Some(consumers) = site.consumers.take() {
            consumers.stop().await;
        }
    }
    Ok(Played {
        penstock: penstock.1.run("penstock, real", seconds),
        hpa: hpa.1.run("HPA on lag, real", seconds),
        hpa_looks: first.duration_since(begun).as_secs_f64(),
        learned: view.rate_per_replica,
        pace,
        startups,
    })
}

/// A metric is the lag of the group on the topic of that name, as the broker has it when it is asked for.
fn lag_of(broker: Arc<Broker>, asked: Arc<Mutex<Vec<Instant>>>) -> Answer {
    Arc::new(move |_, topic| {
        let (broker, asked) = (Arc::clone(&broker), Arc::clone(&asked));
        async move {
            asked.lock().unwrap().push(Instant::now());
            let lag = broker.lag(&topic, &topic).await.ok()?;
            Some(f64::from(u32::try_from(lag).unwrap_or(u32::MAX)))
        }
        .boxed()
    })
}

async fn stage(daemon: &Penstock, namespace: &str) -> Result<view::Stage> {
    let page = daemon.page(&format!("/api/v1/pipelines/{namespace}/orders")).await?;
    let view: view::Pipeline =
        serde_json::from_value(page).context("understand the daemon's page")?;
    view.stages.into_iter().next().context("no stage was decided on")
}

/// A namespace with a Deployment, and a topic of the same name that consumers on its pods read.
struct Site {
    namespace: String,
    client: Client,
    ledger: Arc<Ledger>,
    consumers: Option<Consumers>,
}

impl Site {
    async fn prepare(cluster: &Cluster, broker: &Broker, name: &str) -> Result<Self> {
        let namespace = cluster.namespace(name).await?;
        broker.topic(&namespace, terms::PARTITIONS).await?;
        let client = cluster.client().await?;
        let ledger = Arc::new(Ledger::new(1));
        let work = Work {
            commit_interval: terms::COMMITS,
            ..Work::on(&namespace, &namespace, terms::RATE)
        };
        let pods = Pods { namespace: namespace.clone(), selector: "app=work".to_owned() };
        let consumers =
            Consumers::start(client.clone(), pods, broker.traffic(), work, Arc::clone(&ledger))?;
        let site = Self { namespace, client, ledger, consumers: Some(consumers) };
        site.create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "work"},
            "spec": {"replicas": terms::START, "selector": {"matchLabels": {"app": "work"}}, "template": {
                "metadata": {"labels": {"app": "work"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]},
            }},
        }))
        .await?;
        Ok(site)
    }

    async fn create(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.consumers.as_ref().map(Consumers::counts).unwrap_or_default()
    }

    /// Waits until all partitions are given out among the consumers of the start.
    async fn until_all_work(&self) -> Result<()> {
        until("the first consumers", START, async || {
            let counts = self.counts();
            let has_all = counts.consumers >= usize::try_from(terms::START)?
                && counts.assignments >= u64::try_from(terms::PARTITIONS)?;
            anyhow::ensure!(has_all, "{counts:?}");
            Ok(Some(()))
        })
        .await?;
        // And until the last of them has its own: a rebalance is two rounds of a heartbeat.
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok(())
    }

    /// The scenario itself, looked at every second.
    async fn watch(
        self,
        broker: &Broker,
        seconds: u32,
        daemon: Option<&Penstock>,
    ) -> Result<(Self, Record)> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let begun = self.ledger.now();
        let load: Load = terms::load(seconds);
        let producer =
            Producer::start(&broker.traffic(), &self.namespace, load, Arc::clone(&self.ledger))?;
        let mut record = Record::default();
        let mut asked_for = terms::START;
        let (mut before, mut assignments) = (self.ledger.tally(0), self.counts().assignments);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tick.tick().await;
        let start = Instant::now();
        while record.seconds.len() < usize::try_from(seconds)? {
            tick.tick().await;
            // On a busy machine a look may take longer than its second: what it finds then stands for all of them.
            let now = u32::try_from(start.elapsed().as_secs())?.min(seconds);
            let gap = now.saturating_sub(u32::try_from(record.seconds.len())?);
            if gap == 0 {
                continue;
            }
            let counts = self.counts();
            let tally = self.ledger.tally(0);
            let spec = deployments.get("work").await?.spec.and_then(|spec| spec.replicas);
            let spec = u32::try_from(spec.unwrap_or(0))?;
            if spec != asked_for {
                let why = match daemon {
                    Some(daemon) => stage(daemon, &self.namespace).await?.reasons.pop(),
                    None => None,
                };
                let (code, sentence) = why.map(|why| (why.code.into(), why.sentence)).unzip();
                let (from, to, lanes) = (asked_for, spec, Vec::new());
                record.moves.push(Move { at: now, from, to, lanes, code, sentence });
                asked_for = spec;
            }
            let share = |items: u64| anyhow::Ok(u32::try_from(items)? / gap);
            let second = Second {
                made: share(tally.arrived - before.arrived)?,
                done: share(tally.done - before.done)?,
                oldest: tally.oldest.unwrap_or_default().as_secs_f64(),
                pods: u32::try_from(counts.pods)?,
                ready: u32::try_from(counts.consumers)?,
                given: share(counts.assignments - assignments)?,
            };
            record.seconds.extend((0..gap).map(|_| second));
            (before, assignments) = (tally, counts.assignments);
        }
        record.end(&self.ledger, begun);
        producer.stop().await;
        Ok((self, record))
    }
}

/// What a second looked like.
#[derive(Debug, Clone, Copy)]
struct Second {
    /// Items that came.
    made: u32,
    /// Items that were worked off.
    done: u32,
    /// Age of the oldest that waits, in seconds.
    oldest: f64,
    pods: u32,
    ready: u32,
    /// Partitions given to a consumer.
    given: u32,
}

/// What happened at one site.
#[derive(Debug, Default)]
struct Record {
    seconds: Vec<Second>,
    moves: Vec<Move>,
    /// Delays, in seconds: of what was worked off after the warm-up, and of what waits at the end and is late already.
    delays: Vec<f64>,
}

impl Record {
    fn end(&mut self, ledger: &Ledger, begun: Duration) {
        let (warm, now) = (begun + Duration::from_secs(terms::WARMUP.into()), ledger.now());
        let limit = Duration::from_secs(terms::MAX_DELAY.into());
        let delay = |made: Duration, done: Option<Duration>| match done {
            Some(done) => (warm <= done).then(|| done.saturating_sub(made)),
            None => Some(now.saturating_sub(made)).filter(|age| limit < *age),
        };
        let items = ledger.items();
        let delays = items.iter().filter_map(|item| delay(item.made, item.done));
        self.delays = delays.map(|delay| delay.as_secs_f64()).collect();
        self.delays.sort_by(f64::total_cmp);
    }

    /// Seconds from each move up to as many consumers, where no other move came between.
    fn startups(&self) -> Vec<f64> {
        let ends = self.moves.iter().skip(1).map(|it| it.at as usize).chain([self.seconds.len()]);
        let ups = self.moves.iter().zip(ends).filter(|(it, _)| it.from < it.to);
        ups.filter_map(|(it, end)| {
            let after = self.seconds.get(it.at as usize..end)?;
            after.iter().position(|second| it.to <= second.ready).map(number)
        })
        .collect()
    }

    /// Items a second of a consumer, over all seconds in which the oldest item had waited for a while and nobody had come or gone.
    fn pace(&self) -> Option<f64> {
        let is_full = |stretch: &&[Second]| {
            let ready = stretch[0].ready;
            stretch.iter().all(|it| it.ready == ready && 20.0 < it.oldest && it.given == 0)
        };
        let full: Vec<_> =
            self.seconds.windows(10).filter(is_full).filter_map(<[_]>::last).collect();
        let ready: f64 = full.iter().map(|it| f64::from(it.ready)).sum();
        (0.0 < ready).then(|| full.iter().map(|it| f64::from(it.done)).sum::<f64>() / ready)
    }

    /// As the simulator tells of its runs.
    fn run(self, policy: &str, seconds: u32) -> Run {
        let warm = self.seconds.get(terms::WARMUP as usize..).unwrap_or_default();
        let of = |field: fn(&Second) -> f64| warm.iter().map(field).collect::<Vec<_>>();
        let series = Series {
            start: terms::WARMUP,
            step: 1,
            load: of(|it| f64::from(it.made)),
            delay: of(|it| it.oldest),
            replicas: of(|it| f64::from(it.pods)),
            ready: of(|it| f64::from(it.ready)),
            lanes: Vec::new(),
        };
        let score = self.score(warm, f64::from(seconds - terms::WARMUP));
        let name = "work".to_owned();
        let (objective, done_by) = (Some(f64::from(terms::MAX_DELAY)), None);
        let (moves, nodes) = (self.moves, None);
        let stage =
            StageRun { name, objective, done_by, score: score.clone(), nodes, series, moves };
        Run { policy: policy.to_owned(), seed: 1, score, nodes: None, stages: vec![stage] }
    }

    fn score(&self, warm: &[Second], seconds: f64) -> Score {
        let days = seconds / 86_400.0;
        let limit = f64::from(terms::MAX_DELAY);
        let items = number(self.delays.len());
        let late = self.delays.len() - self.delays.partition_point(|delay| *delay <= limit);
        let moves: Vec<_> = self.moves.iter().filter(|it| terms::WARMUP <= it.at).collect();
        let is_undone = |pair: &&[&Move]| {
            (pair[0].from < pair[0].to) != (pair[1].from < pair[1].to)
                && pair[1].at - pair[0].at <= UNDONE
        };
        // The first of the sorted delays of which so many, in thousandths, are not longer.
        let quantile = |thousandths: usize| {
            let at = (self.delays.len() * thousandths).div_ceil(1000).max(1) - 1;
            self.delays.get(at).copied().unwrap_or(0.0)
        };
        Score {
            late_share: Some(number(late) / items.max(1.0)),
            late_seconds_per_day: Some(
                number(warm.iter().filter(|it| limit < it.oldest).count()) / days,
            ),
            due: None,
            delay_p50: quantile(500),
            delay_p99: quantile(990),
            delay_max: self.delays.last().copied().unwrap_or(0.0),
            replica_hours: warm.iter().map(|it| f64::from(it.pods)).sum::<f64>() / 3600.0,
            work_hours: items / terms::RATE / 3600.0,
            actions_per_day: number(moves.len()) / days,
            undone_per_day: number(moves.windows(2).filter(is_undone).count()) / days,
            // Seconds in which partitions were given out: a round that lasts longer than a second counts once more.
            rebalances_per_day: number(warm.iter().filter(|it| 0 < it.given).count()) / days,
            moved_per_day: warm.iter().map(|it| f64::from(it.given)).sum::<f64>() / days,
            rate_error: None,
            items,
            violations: 0,
        }
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
