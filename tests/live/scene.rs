//! What a scenario plays on: a namespace of its own on a cluster, a daemon that watches only it, and the API server's own record
//! of who wrote what. Used by the scenarios beside it; each brings its workload, its pipeline and its traffic.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::{Api, Client};
use penstock::answer::view;
use penstock::crd::ScaledPipeline;
use penstock::demo::traffic::{Consumers, Kafka, Ledger, Load, Pods, Producer, Work};
use serde_json::{Value, json};

use crate::crd::install;
use crate::rig::{Broker, Cluster, Penstock, Proxy, Request, RequestLog, shared, until};

/// How long what should take seconds may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A namespace, a daemon for it, and what is written there.
pub(crate) struct Scene {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) daemon: Penstock,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    log: RequestLog,
    scales: Vec<Request>,
}

/// A Deployment or a `StatefulSet` whose pods are labelled `app: NAME` and request so much; `more` goes into the spec of the pods.
pub(crate) fn workload(
    kind: &str,
    name: &str,
    replicas: u32,
    requests: &Value,
    more: Value,
) -> Value {
    let mut pods = json!({
        // Pods that go are not waited for: KWOK's have nothing to finish.
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "worker", "image": "none", "resources": {"requests": requests}}],
    });
    if let (Some(pods), Value::Object(more)) = (pods.as_object_mut(), more) {
        pods.extend(more);
    }
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pods},
        },
    })
}

impl Scene {
    /// On the shared cluster.
    pub(crate) async fn open(name: &str) -> Result<Self> {
        Self::on(shared::cluster().await?, name).await
    }

    /// On a cluster, which must have been started with `audit` and nodes.
    pub(crate) async fn on(cluster: &Cluster, name: &str) -> Result<Self> {
        install(cluster).await?;
        let namespace = cluster.namespace(name).await?;
        Self::within(cluster, namespace).await
    }

    /// On the shared cluster, with a daemon that may do no more than the rules say; its user is called as the namespace.
    pub(crate) async fn as_user(name: &str, rules: Vec<PolicyRule>) -> Result<Self> {
        let cluster = shared::cluster().await?;
        install(cluster).await?;
        let namespace = cluster.namespace(name).await?;
        let kubeconfig = cluster.user(&namespace, rules).await?;
        Self::start(cluster, &kubeconfig, namespace, &[]).await
    }

    /// On a cluster that the daemon reaches through a proxy.
    pub(crate) async fn through(proxy: &Proxy, cluster: &Cluster, name: &str) -> Result<Self> {
        let namespace = cluster.namespace(name).await?;
        Self::start(cluster, proxy.kubeconfig(), namespace, &[]).await
    }

    /// In a namespace that is there.
    pub(crate) async fn within(cluster: &Cluster, namespace: String) -> Result<Self> {
        Self::start(cluster, cluster.kubeconfig(), namespace, &[]).await
    }

    /// On the shared cluster, with a daemon that is told more.
    pub(crate) async fn open_with(name: &str, arguments: &[&str]) -> Result<Self> {
        let cluster = shared::cluster().await?;
        let namespace = cluster.namespace(name).await?;
        Self::start(cluster, cluster.kubeconfig(), namespace, arguments).await
    }

    /// In a namespace that is there, with a daemon that runs already.
    pub(crate) async fn with(
        cluster: &Cluster,
        namespace: String,
        daemon: Penstock,
    ) -> Result<Self> {
        let record = Mutex::new(Record { log: cluster.requests()?, scales: Vec::new() });
        Ok(Self { client: cluster.client().await?, namespace, daemon, record })
    }

    async fn start(
        cluster: &Cluster,
        kubeconfig: &Path,
        namespace: String,
        more: &[&str],
    ) -> Result<Self> {
        install(cluster).await?;
        let only_here = ["--namespace", &namespace, "--lease-namespace", &namespace];
        let daemon = Penstock::run(kubeconfig, &[&only_here[..], more].concat()).await?;
        Self::with(cluster, namespace, daemon).await
    }

    /// Makes an object in this namespace.
    pub(crate) async fn create(&self, object: Value) -> Result<()> {
        let (api, object) = self.api_for(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("create {name}"))?;
        Ok(())
    }

    /// Changes an object in this namespace: what `object` names is merged into it.
    pub(crate) async fn change(&self, object: Value) -> Result<()> {
        let (api, object) = self.api_for(object)?;
        let name = object.metadata.name.clone().context("an object without a name")?;
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&object))
            .await
            .with_context(|| format!("change {name}"))?;
        Ok(())
    }

    /// Deletes an object of this namespace.
    pub(crate) async fn delete(&self, api_version: &str, kind: &str, name: &str) -> Result<()> {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        self.api_for(object)?.0.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn api_for(&self, object: Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        Ok((Api::namespaced_with(self.client.clone(), &self.namespace, &resource), object))
    }

    /// Makes a Deployment or a `StatefulSet` whose pods are labelled `app: NAME`.
    pub(crate) async fn workload(&self, kind: &str, name: &str, replicas: u32) -> Result<()> {
        let mut object = workload(kind, name, replicas, &json!({}), json!({}));
        if kind == "StatefulSet" {
            object["spec"]["podManagementPolicy"] = json!("Parallel");
        }
        self.create(object).await
    }

    pub(crate) async fn deployment(&self, name: &str, replicas: u32) -> Result<()> {
        self.workload("Deployment", name, replicas).await
    }

    /// Makes a pipeline with one stage, and waits until the daemon has decided on it with what its sources say.
    pub(crate) async fn pipeline(&self, name: &str, stage: Value) -> Result<()> {
        self.pipeline_unread(name, stage).await?;
        self.until(&format!("the first reading of {name}"), SOON, async || {
            let stage = self.stage(name).await?;
            let is_read = stage.sources.iter().all(|source| source.state == "Fresh");
            Ok((is_read && stage.replicas.desired.is_some()).then_some(()))
        })
        .await
    }

    /// The same, and waits for nothing.
    pub(crate) async fn pipeline_unread(&self, name: &str, mut stage: Value) -> Result<()> {
        if stage.get("name").is_none() {
            stage["name"] = json!("work");
        }
        self.create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": name}, "spec": {"stages": [stage]},
        }))
        .await
    }

    /// Consumers on the Ready pods labelled `app: NAME`.
    pub(crate) fn consume(&self, broker: &Broker, name: &str, work: Work) -> Result<Crew> {
        self.consume_by(broker.traffic(), name, work)
    }

    /// The same with settings of Kafka's clients.
    pub(crate) fn consume_by(&self, kafka: Kafka, name: &str, work: Work) -> Result<Crew> {
        let ledger = Arc::new(Ledger::new(1));
        let pods = Pods { namespace: self.namespace.clone(), selector: format!("app={name}") };
        let client = self.client.clone();
        let consumers = Consumers::start(client, pods, kafka.clone(), work, Arc::clone(&ledger))?;
        Ok(Crew { kafka, ledger, consumers })
    }

    /// Waits until a poll is just over, so that what is sent now is seen whole by the next one.
    pub(crate) async fn after_a_poll(&self, pipeline: &str) -> Result<()> {
        self.until_read(pipeline, 1).await
    }

    /// A pipeline as the daemon shows it.
    pub(crate) async fn view(&self, pipeline: &str) -> Result<view::Pipeline> {
        let path = format!("/api/v1/pipelines/{}/{pipeline}", self.namespace);
        let page = self.daemon.page(&path).await?;
        serde_json::from_value(page).context("understand the daemon's page")
    }

    /// The only stage of a pipeline as the daemon shows it.
    pub(crate) async fn stage(&self, pipeline: &str) -> Result<view::Stage> {
        let view = self.view(pipeline).await?;
        view.stages.into_iter().next().context("no stage was decided on")
    }

    /// A condition of a pipeline, as it stands written.
    pub(crate) async fn condition(&self, pipeline: &str, kind: &str) -> Result<Option<Condition>> {
        let api = Api::<ScaledPipeline>::namespaced(self.client.clone(), &self.namespace);
        let conditions =
            api.get(pipeline).await?.status.map(|status| status.conditions).unwrap_or_default();
        Ok(conditions.into_iter().find(|condition| condition.type_ == kind))
    }

    /// Waits until a condition stands written with this status and, unless it is empty, this reason; its message.
    pub(crate) async fn until_condition(
        &self,
        pipeline: &str,
        (kind, status, reason): (&str, &str, &str),
        deadline: Duration,
    ) -> Result<String> {
        self.until(&format!("{kind}={status} {reason}"), deadline, async || {
            let Some(found) = self.condition(pipeline, kind).await? else { return Ok(None) };
            let is_it = found.status == status && (reason.is_empty() || found.reason == reason);
            if !is_it {
                let (status, reason) = (found.status, found.reason);
                anyhow::bail!("{kind} is {status}, {reason}: {}", found.message);
            }
            Ok(Some(found.message))
        })
        .await
    }

    /// All accepted writes to the `/scale` of an object of this namespace since the daemon was started, by anyone.
    pub(crate) fn writes(&self, target: &str) -> Result<Vec<Request>> {
        let mut record = self.record.lock().unwrap();
        let new = record.log.take()?;
        record.scales.extend(new.into_iter().filter(|request| {
            request.namespace == self.namespace
                && request.subresource == "scale"
                && ["patch", "update"].contains(&request.verb.as_str())
                && request.code < 300
        }));
        Ok(record.scales.iter().filter(|request| request.name == target).cloned().collect())
    }

    /// The counts that those writes left, each that changed it: a claim of the present count is no move.
    pub(crate) fn moves(&self, target: &str, from: u32) -> Result<Vec<u32>> {
        let mut now = from;
        let mut moves = Vec::new();
        for write in self.writes(target)? {
            let count = write.replicas.context("a write to /scale without its answer")?;
            if count != now {
                moves.push(count);
                now = count;
            }
        }
        Ok(moves)
    }

    /// Waits until the count of a target was moved to this; gives all moves so far.
    pub(crate) async fn until_moved(
        &self,
        (target, from, to): (&str, u32, u32),
        deadline: Duration,
    ) -> Result<Vec<u32>> {
        self.until(&format!("{target} to be moved from {from} to {to}"), deadline, async || {
            let moves = self.moves(target, from)?;
            if moves.last() != Some(&to) {
                anyhow::bail!("its moves are {moves:?}");
            }
            Ok(Some(moves))
        })
        .await
    }

    /// Waits until a target was moved at all; gives all moves so far.
    pub(crate) async fn until_any_move(&self, target: &str, from: u32) -> Result<Vec<u32>> {
        self.until(&format!("{target} to be moved from {from}"), SOON, async || {
            Ok(Some(self.moves(target, from)?).filter(|moves| !moves.is_empty()))
        })
        .await
    }

    /// Waits until nothing waits for the only stage of a pipeline.
    pub(crate) async fn until_empty(&self, pipeline: &str) -> Result<()> {
        self.until(&format!("nothing to wait for {pipeline}"), SOON, async || {
            let lag = self.stage(pipeline).await?.lag;
            anyhow::ensure!(lag == Some(0), "{lag:?} wait");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until consumers have worked off so many items.
    pub(crate) async fn until_done(&self, crew: &Crew, items: u64) -> Result<()> {
        self.until(&format!("{items} items to be worked off"), SOON * 2, async || {
            let done = crew.done();
            anyhow::ensure!(done >= items, "{done} are done, by {} consumers", crew.count());
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the sources of a pipeline were read so many times more.
    pub(crate) async fn until_read(&self, pipeline: &str, times: usize) -> Result<()> {
        let mut readings = BTreeSet::new();
        self.until(&format!("{times} more readings of {pipeline}"), SOON, async || {
            let stage = self.stage(pipeline).await?;
            readings.extend(stage.sources.iter().filter_map(|source| source.at).min());
            // The first was there already.
            Ok((readings.len() > times).then_some(()))
        })
        .await
    }

    /// As [`until`]; when it fails, it tells what the daemon thinks and what was written.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        ask: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        match until(what, deadline, ask).await {
            Ok(found) => Ok(found),
            Err(error) => {
                let page = self.daemon.page("/api/v1/pipelines").await;
                let page = page.map_or_else(|e| format!("{e:#}"), |page| format!("{page:#}"));
                let log = self.daemon.process().log()?;
                let log: Vec<_> = log.lines().rev().take(20).collect();
                let log: Vec<_> = log.into_iter().rev().collect();
                Err(error.context(format!(
                    "in {}\nthe daemon shows {page}\nits log ends with\n{}\n",
                    self.namespace,
                    log.join("\n")
                )))
            }
        }
    }
}

/// The consumers of a workload, those who send them items, and the book of both.
pub(crate) struct Crew {
    kafka: Kafka,
    ledger: Arc<Ledger>,
    consumers: Consumers,
}

impl Crew {
    /// One who sends items to a topic when told so.
    pub(crate) fn producer(&self, topic: &str) -> Result<Producer> {
        self.sending(topic, Load::steady(0.0))
    }

    /// One who sends items to a topic as a load says.
    pub(crate) fn sending(&self, topic: &str, load: Load) -> Result<Producer> {
        Ok(Producer::start(&self.kafka, topic, load, Arc::clone(&self.ledger))?)
    }

    /// Items made so far.
    pub(crate) fn made(&self) -> u64 {
        self.ledger.tally(0).arrived
    }

    /// Items worked off so far.
    pub(crate) fn done(&self) -> u64 {
        self.ledger.tally(0).done
    }

    /// Consumers at work.
    pub(crate) fn count(&self) -> usize {
        self.consumers.counts().consumers
    }

    /// The book.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The greatest age that an item had reached when it was worked off; an error while one is not.
    pub(crate) fn oldest(&self) -> Result<Duration> {
        let mut oldest = Duration::ZERO;
        for item in self.ledger.items() {
            let done = item.done.context("an item is not worked off")?;
            oldest = oldest.max(done.saturating_sub(item.made));
        }
        Ok(oldest)
    }

    /// Stops the consumers: each commits and leaves its group.
    pub(crate) async fn stop(self) {
        self.consumers.stop().await;
    }
}

/// A Kafka source, by the words of the manifest; `more` is merged into its `kafka`.
pub(crate) fn kafka(broker: &Broker, topics: &[&str], group: &str, more: Value) -> Value {
    let mut kafka =
        json!({"bootstrapServers": broker.bootstrap(), "topics": topics, "group": group});
    if let (Value::Object(kafka), Value::Object(more)) = (&mut kafka, more) {
        kafka.extend(more);
    }
    json!({"name": "queue", "kafka": kafka})
}
