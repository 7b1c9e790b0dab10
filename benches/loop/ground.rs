//! The servers, and what is done on them to whoever is measured: backlogs sent at random phase, and a crowd that is only watched.
//! Called by `main`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::contender::Contender;
use crate::figures::{Cost, Reactions, count};
use crate::rig::{
    Broker, BrokerOptions, Cluster, ClusterOptions, Kafka, Kubernetes, Request, RequestLog,
};

/// Pipelines beside those that are timed.
pub(crate) const OTHERS: usize = 499;
pub(crate) const PARTITIONS: i32 = 24;
/// Messages of lag for each replica, where a threshold sizes.
pub(crate) const PER_REPLICA: usize = 100;
/// Items a second of one replica, where a known rate does.
pub(crate) const RATE: u32 = 2;
/// Backlog for 24 replicas at 100 each. At 2/s each, 20 replicas serve it within 60 s; and since 24 partitions go evenly to 24
/// replicas only, 24 of them.
const BACKLOG: usize = 2_400;
/// For how long costs are counted; and at most so many quarters of it they are let settle before.
pub(crate) const QUIET: Duration = Duration::from_mins(1);
const SETTLING: usize = 16;
/// Runs that overlap, each with a phase of its own.
const AT_ONCE: usize = 4;

/// How a stage is sized.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sizing {
    Threshold,
    KnownRate,
}

/// The servers.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) broker: Broker,
    pub(crate) client: Client,
}

impl Ground {
    pub(crate) async fn start() -> Result<Self> {
        let options = ClusterOptions { nodes: 2, audit: true, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        // 12,000 partitions on one broker: small indexes, or it runs out of memory maps.
        let small = [("log.index.size.max.bytes", "4096"), ("num.partitions", "1")];
        let properties = small.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let options = BrokerOptions { request_log: true, properties, ..BrokerOptions::default() };
        let broker = Broker::start(Kafka::V4_1, options).await?;
        let client = cluster.client().await?;
        Ok(Self { cluster, broker, client })
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

    /// A Deployment and what scales it.
    async fn workload(&self, who: &Contender, name: &str, from: u32, sizing: Sizing) -> Result<()> {
        self.create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": from, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]},
            }},
        }))
        .await?;
        self.create(who.scaler(name, from, sizing, &self.broker.bootstrap())).await
    }

    /// Runs at random phase, from 1 or from 0 to 24.
    pub(crate) async fn reactions(
        &self,
        company: &str,
        who: &Contender,
        sizing: Sizing,
        from: u32,
        runs: usize,
    ) -> Result<Reactions> {
        let by = match sizing {
            Sizing::Threshold => "threshold",
            Sizing::KnownRate => "known rate",
        };
        let name = |run| format!("r-{company}-{}-{from}-{run}", by.replace(' ', "-"));
        let names: Vec<_> = (0..runs).map(name).collect();
        self.broker.topics(&names, PARTITIONS).await?;
        for name in &names {
            self.workload(who, name, from, sizing).await?;
        }
        who.read(self, &names).await?;
        let found: Vec<_> = stream::iter(&names)
            .map(|name| self.reaction(who, name))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for name in &names {
            for kind in [who.kind(), "deployments.apps"] {
                self.cluster.kubectl(&["delete", "--wait=false", kind, name]).await?;
            }
        }
        Ok(Reactions {
            who: who.name(),
            kind: format!("{by}, {from} to {PARTITIONS}"),
            is_ours: who.is_ours(),
            writes: found.iter().map(|(_, writes)| *writes).max().unwrap_or(0),
            took: found.into_iter().map(|(took, _)| took).collect(),
        })
    }

    /// One run: time from the first item sent to the count asked for, and the writes it took.
    async fn reaction(&self, who: &Contender, name: &str) -> Result<(Duration, usize)> {
        // At any point of whatever is done at intervals.
        let phase = if who.is_ours() { 2_000 } else { 30_000 };
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..phase))).await;
        let mut log = self.cluster.requests()?;
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
        let came = async {
            let came = tokio::time::timeout(Duration::from_mins(3), right).await;
            came.with_context(|| format!("{name} never had the right count"))??;
            Ok(start.elapsed())
        };
        let (took, ()) = tokio::try_join!(came, sent)?;
        // One more poll could change it again.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut last = None;
        let mut writes = 0;
        for request in log.take()? {
            let is_write = request.name == name && request.subresource == "scale";
            if is_write && request.replicas.is_some() && request.replicas != last {
                last = request.replicas;
                writes += 1;
            }
        }
        Ok((took, writes))
    }

    /// The others: each with a topic, a group and a Deployment of its own.
    pub(crate) async fn crowd(&self, who: &Contender) -> Result<()> {
        let names: Vec<_> = (0..OTHERS).map(other).collect();
        for some in names.chunks(50) {
            self.broker.topics(some, PARTITIONS).await?;
        }
        stream::iter(&names)
            .map(|name| self.workload(who, name, 1, Sizing::KnownRate))
            .buffer_unordered(8)
            .try_collect::<Vec<_>>()
            .await?;
        who.read(self, &names).await
    }

    /// What somebody costs for a while.
    pub(crate) async fn cost(&self, what: &str, who: &Contender) -> Result<Cost> {
        let client = who.client();
        let mut log = self.settled(who).await?;
        let (before, asked) = (self.usage(who)?, self.broker.requests(client)?);
        tokio::time::sleep(QUIET).await;
        let (after, asked) = (self.usage(who)?, self.broker.requests(client)? - asked);
        let seconds = QUIET.as_secs_f64();
        let requests: Vec<_> =
            log.take()?.into_iter().filter(|request| who.causes(request)).collect();
        let rate = |verbs: &[&str]| {
            count(requests.iter().filter(|one| verbs.contains(&one.verb.as_str())).count())
                / seconds
        };
        let mut kinds = BTreeMap::<_, usize>::new();
        for one in &requests {
            // Each external metric is a resource of its own.
            let metric = one.resource.split_once(".external.metrics.k8s.io");
            let resource = metric.map_or(&*one.resource, |_| "external.metrics.k8s.io");
            let kind = format!("{} {resource} {}", one.verb, one.subresource);
            *kinds.entry(kind.trim_end().to_owned()).or_default() += 1;
        }
        kinds.retain(|kind, _| !kind.starts_with("watch"));
        Ok(Cost {
            who: who.name(),
            what: what.into(),
            is_ours: who.is_ours(),
            kinds,
            memory: after.memory,
            cpu: (after.cpu - before.cpu) / seconds,
            connections: after.connections,
            broker_requests: count(asked) / seconds,
            writes: rate(&["create", "update", "patch", "delete"]),
            reads: rate(&["get", "list"]),
        })
    }

    /// Waits until it has written nothing for a while, or never will: what was written for the way here is not counted.
    async fn settled(&self, who: &Contender) -> Result<RequestLog> {
        let mut log = self.cluster.requests()?;
        for _ in 0..SETTLING {
            tokio::time::sleep(QUIET / 4).await;
            let is_write = |request: &Request| !["get", "list", "watch"].contains(&&*request.verb);
            if !log.take()?.iter().any(|request| who.causes(request) && is_write(request)) {
                break;
            }
        }
        Ok(log)
    }

    /// What all its processes use.
    fn usage(&self, who: &Contender) -> Result<Usage> {
        let mut sum = Usage::default();
        for process in who.processes() {
            let usage = process.usage()?;
            sum.cpu += usage.cpu.as_secs_f64();
            sum.memory += mebibytes(usage.resident);
            sum.connections += self.broker.connections_of(process.pid()?)?;
        }
        Ok(sum)
    }
}

#[derive(Default)]
struct Usage {
    cpu: f64,
    memory: f64,
    connections: usize,
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

/// Name of one of the crowd.
pub(crate) fn other(index: usize) -> String {
    format!("other-{index:03}")
}

/// Puts the fields of `more` into `into`.
pub(crate) fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
