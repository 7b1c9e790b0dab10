//! Drains that are held, with the real controllers and scheduler on nodes of KWOK's: who evicts is answered 429 until a replacement is Ready, what is
//! left is deleted with its grace before the node ends, somebody else's budget has ours vanish, a drain without replacements is held up for as long as was
//! promised, and while the daemon is dead a tight budget lets go of a pod for each replacement; its heir loosens it. Judged by every state of the pods that the API server told, by the answers to evictions, and
//! by its record of who wrote what.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::eye::Eye;
use crate::rig::{
    Cluster, ClusterOptions, Karpenter, Kubernetes, Penstock, Request, RequestLog, plain_client,
    until,
};
use crate::scene::{SOON, Scene, workload};
use crate::yard::{self, node};

const BUDGET: &str = "penstock-deployment-sink";
/// Replicas that are needed, half of them on each node.
const NEEDED: usize = 4;
/// A pod takes so long to be Ready, and may take so many seconds to end.
const STARTUP: Duration = Duration::from_secs(3);
const GRACE: i64 = 2;

/// Two nodes of spot, a Deployment on both, a pipeline with one lane, and somebody who sees every state of its pods.
struct Yard {
    cluster: Cluster,
    scene: Scene,
    eye: Eye,
    /// When the fewest of them were asked for last.
    since: Mutex<Instant>,
    log: RequestLog,
    record: Vec<Request>,
}

fn pool(of: &Value, notice: &str) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"},
        "spec": {"class": "Spot", "nodeSelector": of, "notice": notice},
    })
}

/// The label of the nodes made here.
fn ours() -> Value {
    json!({"pool": "spot"})
}

fn deployment(of: &Value) -> Value {
    let more = json!({
        "terminationGracePeriodSeconds": GRACE, "nodeSelector": of,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "sink"}},
        }],
    });
    workload("Deployment", "sink", u32::try_from(NEEDED).unwrap(), &json!({"cpu": "1"}), more)
}

impl Yard {
    async fn cluster() -> Result<Cluster> {
        let options =
            ClusterOptions { nodes: 1, audit: true, startup: STARTUP, ..ClusterOptions::default() };
        Cluster::start(Kubernetes::V1_36, options).await
    }

    /// On nodes with this label, wherever they come from.
    async fn on(cluster: Cluster, of: &Value) -> Result<Self> {
        let scene = Scene::on(&cluster, "draining").await?;
        cluster.apply("default", &pool(of, "120s").to_string()).await?;
        scene.create(deployment(of)).await?;
        let eye = Eye::on(scene.client.clone(), &scene.namespace, "app=sink");
        let log = cluster.requests()?;
        let since = Mutex::new(Instant::now());
        let yard = Self { cluster, scene, eye, since, log, record: Vec::new() };
        until("all pods to be ready", SOON * 2, async || {
            let ready = yard.eye.seen().ready.len();
            ensure!(ready == NEEDED, "{ready} are");
            Ok(Some(()))
        })
        .await?;
        yard.scene
            .pipeline_unread(
                "orders",
                json!({
                    "name": "sink", "replicas": {"min": NEEDED, "max": NEEDED}, "capacity": {"drain": "Hold"},
                    "lanes": [{"pool": "spot", "share": 100, "target": {"name": "sink"}}],
                }),
            )
            .await?;
        Ok(yard)
    }

    fn standing(&self) -> BTreeMap<String, usize> {
        self.eye.seen().standing()
    }

    async fn until_ready(&self, wanted: &[(&str, usize)]) -> Result<()> {
        let wanted: BTreeMap<_, _> =
            wanted.iter().map(|(node, pods)| ((*node).to_owned(), *pods)).collect();
        until(&format!("pods to stand as {wanted:?}"), SOON * 2, async || {
            let standing = self.standing();
            ensure!(standing == wanted, "they stand as {standing:?}");
            Ok(Some(()))
        })
        .await
    }

    /// The fewest pods that were Ready and stayed since the last call.
    fn fewest(&self) -> usize {
        let since = std::mem::replace(&mut *self.since.lock().unwrap(), Instant::now());
        self.eye.seen().fewest(since)
    }

    /// Puts on a node what aws-node-termination-handler leaves there when it is taken back, or takes it away; a program of its own would take
    /// seconds for that on a busy machine.
    async fn notice(&self, node: &str, is_given: bool) -> Result<()> {
        let taint = json!({
            "key": "aws-node-termination-handler/spot-itn", "value": "true", "effect": "NoSchedule",
        });
        let taints = if is_given { vec![taint] } else { Vec::new() };
        let change = Patch::Merge(json!({"spec": {"taints": taints}}));
        let nodes = Api::<Node>::all(self.scene.client.clone());
        nodes.patch(node, &PatchParams::default(), &change).await?;
        Ok(())
    }

    /// Says what Karpenter says of a node that its cloud takes back.
    async fn interrupted(&self, node: &str, at: Timestamp) -> Result<()> {
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let told = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "interrupted", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node}, "type": "Warning",
            "reason": "SpotInterrupted", "message": "Spot interruption warning was triggered",
            "firstTimestamp": at, "lastTimestamp": at, "count": 1, "source": {"component": "karpenter"},
        });
        self.cluster.apply("default", &told.to_string()).await?;
        Ok(())
    }

    fn budgets(&self) -> Api<PodDisruptionBudget> {
        Api::namespaced(self.scene.client.clone(), &self.scene.namespace)
    }

    async fn until_budget(&self, least: Option<i32>) -> Result<PodDisruptionBudget> {
        yard::until_budget(&self.scene, BUDGET, least).await
    }

    /// The pods, for who wants every answer: kube's own client would ask again by itself when it is told 429.
    async fn pods(&self) -> Result<Api<Pod>> {
        let client = plain_client(self.cluster.kubeconfig()).await?;
        Ok(Api::namespaced(client, &self.scene.namespace))
    }

    async fn drain(&self, node: &str) -> Result<Vec<u16>> {
        yard::drain(&self.pods().await?, node).await
    }

    /// Waits until so many pods have been counted as interrupted.
    async fn until_interrupted(&self, pods: f64) -> Result<()> {
        self.scene
            .until(&format!("{pods} interrupted pods"), SOON, async || {
                let (_, metrics) = self.scene.daemon.get("/metrics").await?;
                let of = |line: &&str| line.starts_with("penstock_interruptions_total");
                let lines: Vec<_> = metrics.lines().filter(of).collect();
                let value = |line: &&str| line.rsplit(' ').next()?.parse::<f64>().ok();
                let counted: f64 = lines.iter().filter_map(value).sum();
                ensure!((counted - pods).abs() < 0.1, "{lines:?}");
                Ok(Some(()))
            })
            .await
    }

    /// What the daemon wrote since the last call besides counts, in words: verb and resource.
    fn written(&mut self) -> Result<Vec<String>> {
        let is_ours = |request: &&Request| {
            let is_daemon = request.user_agent.starts_with("penstock");
            let writes = ["create", "patch", "delete"].contains(&request.verb.as_str());
            let is_it =
                ["poddisruptionbudgets.policy", "pods"].contains(&request.resource.as_str());
            request.namespace == self.scene.namespace
                && request.subresource.is_empty()
                && is_daemon
                && writes
                && is_it
                && request.code < 300
        };
        let new = self.log.take()?;
        let words = new.iter().filter(is_ours);
        let words = words.map(|it| format!("{} {}", it.verb, it.resource)).collect();
        self.record.extend(new);
        Ok(words)
    }
}

#[tokio::test]
async fn drains_wait_for_replacements_and_what_is_left_goes_before_the_node() -> Result<()> {
    let cluster = Yard::cluster().await?;
    for number in [1, 2] {
        cluster.apply("default", &node("spot", number, NEEDED + 2).to_string()).await?;
    }
    // One that joins the pool later, with room for what is needed and no more.
    let mut later = node("spot", 3, NEEDED);
    later["metadata"]["labels"]["pool"] = json!("later");
    cluster.apply("default", &later.to_string()).await?;
    let mut yard = Yard::on(cluster, &ours()).await?;
    yard.until_ready(&[("spot-1", 2), ("spot-2", 2)]).await?;
    let standing = yard.until_budget(None).await?;
    let owner = standing.metadata.owner_references.and_then(|mut owners| owners.pop());
    ensure!(owner.is_some_and(|owner| owner.kind == "ScaledPipeline" && owner.name == "orders"));
    until("one eviction to be allowed", SOON, async || {
        let status = yard.budgets().get(BUDGET).await?.status.context("no status")?;
        Ok((status.disruptions_allowed == 1).then_some(()))
    })
    .await?;
    yard.fewest();

    drained(&yard).await?;
    let budgets = |words: &[&str]| -> Vec<String> {
        words.iter().map(|word| format!("{word} poddisruptionbudgets.policy")).collect()
    };
    let written = yard.written()?;
    ensure!(written == budgets(&["create", "patch", "patch"]), "{written:?}");

    of_another(&yard).await?;
    let written = yard.written()?;
    ensure!(written == budgets(&["delete", "create"]), "{written:?}");

    in_time(&mut yard).await?;
    hopeless(&mut yard).await?;
    killed(&yard).await?;
    Ok(())
}

/// Karpenter takes a node with all pods on it back, as it does when its cloud says so: it evicts them as replacements become Ready.
#[tokio::test]
async fn karpenter_drains_a_node_as_replacements_become_ready() -> Result<()> {
    let cluster = Yard::cluster().await?;
    let karpenter = Karpenter::start(&cluster, "").await?;
    let spot = json!({"karpenter.sh/capacity-type": "spot"});
    cluster.apply("default", &Karpenter::node_pool("spot", &["spot"], "{}")).await?;
    let yard = Yard::on(cluster, &spot)
        .await
        .with_context(|| karpenter.process().log().unwrap_or_default())?;
    yard.until_budget(None).await?;
    let standing = yard.standing();
    let (doomed, on_it) =
        standing.iter().max_by_key(|(_, pods)| **pods).context("no pod stands anywhere")?;
    yard.fewest();
    // What its handler of interruptions does: it says so of the node, and deletes the claim.
    yard.interrupted(doomed, Clock::start().now()).await?;
    let name =
        "jsonpath={.items[?(@.status.nodeName==\"NODE\")].metadata.name}".replace("NODE", doomed);
    let claim = yard.cluster.kubectl(&["get", "nodeclaims", "-o", &name]).await?;
    yard.cluster.kubectl(&["delete", "nodeclaim", &claim, "--wait=false"]).await?;
    until("the node to be gone", SOON * 3, async || {
        let left = yard.cluster.kubectl(&["get", "nodeclaims", "-o", "name"]).await?;
        ensure!(!left.contains(&claim), "{left}, and pods stand as {:?}", yard.standing());
        Ok(Some(()))
    })
    .await?;
    let fewest = yard.fewest();
    ensure!(NEEDED - 1 <= fewest, "{fewest} were ready, of {NEEDED} needed");
    yard.until_budget(None).await?;
    let on_it = u32::try_from(*on_it)?;
    yard.until_interrupted(f64::from(on_it)).await?;
    Ok(())
}

/// A node is announced to go, and drained from then on: evictions wait for replacements, and never fail.
async fn drained(yard: &Yard) -> Result<()> {
    yard.notice("spot-1", true).await?;
    let codes = yard.drain("spot-1").await?;
    ensure!(codes.contains(&429), "no eviction had to wait: {codes:?}");
    ensure!(codes.iter().all(|code| [201, 404, 429].contains(code)), "{codes:?}");
    yard.until_ready(&[("spot-2", NEEDED)]).await?;
    yard.until_budget(None).await?;
    // One may have gone before the notice was heard of: that is what a standing budget allows.
    let fewest = yard.fewest();
    ensure!(NEEDED - 1 <= fewest, "{fewest} were ready, of {NEEDED} needed");
    yard.until_interrupted(2.0).await?;
    yard.cluster.kubectl(&["delete", "node", "spot-1"]).await?;
    yard.cluster.kubectl(&["label", "node", "spot-3", "pool=spot", "--overwrite"]).await?;
    Ok(())
}

/// Somebody else's budget selects the pods: ours goes, so that evictions are answered by theirs; and is back when theirs is gone.
async fn of_another(yard: &Yard) -> Result<()> {
    let theirs = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "theirs"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "sink"}}},
    });
    yard.scene.create(theirs).await?;
    yard.scene
        .until("ours to be gone", SOON, async || {
            let there = yard.budgets().get_opt(BUDGET).await?;
            Ok(there.is_none().then_some(()))
        })
        .await?;
    let pods = yard.pods().await?;
    let first = pods.list(&ListParams::default()).await?.items.pop().context("no pod")?;
    let code = yard::evict(&pods, &first.name_any()).await?;
    ensure!(code == 429, "two budgets on one pod: {code}");
    yard.scene
        .until("theirs to be named", SOON, async || {
            let odd = yard.scene.stage("orders").await?.anomalies;
            Ok(odd.iter().any(|it| it.code == "DrainOfAnother").then_some(()))
        })
        .await?;
    yard.scene.delete("policy/v1", "PodDisruptionBudget", "theirs").await?;
    yard.until_budget(None).await.map(drop)
}

/// A node is announced to go in seconds, and nobody drains it: its pods are deleted in time, with all of their grace.
async fn in_time(yard: &mut Yard) -> Result<()> {
    let notice = 15;
    yard.cluster.apply("default", &pool(&ours(), &format!("{notice}s")).to_string()).await?;
    yard.fewest();
    yard.eye.seen().graces.clear();
    let noticed = Clock::start().now();
    yard.notice("spot-2", true).await?;
    yard.until_ready(&[("spot-3", NEEDED)]).await?;
    let fewest = yard.fewest();
    ensure!(fewest == NEEDED, "{fewest} were ready, of {NEEDED} needed");
    let mut graces: Vec<_> = yard.eye.seen().graces.values().cloned().collect();
    graces.retain(|told| told.node.as_deref() == Some("spot-2"));
    ensure!(graces.len() == NEEDED && graces.iter().all(|it| it.grace == GRACE), "{graces:?}");
    yard.until_budget(None).await?;
    let written = yard.written()?;
    let deleted = written.iter().filter(|word| *word == "delete pods").count();
    ensure!(deleted == NEEDED, "{written:?}");
    let is_delete = |it: &&Request| {
        let is_daemon = it.user_agent.starts_with("penstock");
        is_daemon && it.verb == "delete" && it.resource == "pods" && noticed <= it.came
    };
    let first = yard.record.iter().find(is_delete).context("no pod was deleted")?;
    let after = first.came.duration_since(noticed).as_secs_f64();
    let (soonest, latest) = (8.0 - 0.1, 8.0 + 4.0);
    ensure!((soonest..latest).contains(&after), "the first was deleted {after} s after the notice");
    yard.cluster.kubectl(&["delete", "node", "spot-2"]).await?;
    Ok(())
}

/// A node is drained for whose pods there is room nowhere else: it is held up for as long as was promised, and then passes. They came after
/// the notice, so nobody but who drains the node takes them away.
async fn hopeless(yard: &mut Yard) -> Result<()> {
    yard.cluster.apply("default", &pool(&ours(), "1s").to_string()).await?;
    let nodes = Api::<Node>::all(yard.scene.client.clone());
    let created = nodes.get("spot-3").await?.metadata.creation_timestamp.context("no time")?.0;
    // The notice was given a while ago, since the promise is a minute longer than it.
    let now = Clock::start().now();
    yard.interrupted("spot-3", created.max(now - 45.seconds())).await?;
    let tight = yard.until_budget(Some(i32::try_from(NEEDED)?)).await?;
    let promised: Timestamp =
        tight.annotations().get("penstock.dev/tight-until").context("no promise")?.parse()?;
    ensure!(promised <= now + 61.seconds(), "{promised} is late at {now}");
    yard.cluster.kubectl(&["cordon", "spot-3"]).await?;
    let codes = yard.drain("spot-3").await?;
    let after = Clock::start().now().duration_since(promised).as_secs_f64();
    ensure!(codes.contains(&429), "no eviction had to wait: {codes:?}");
    ensure!((0.0..15.0).contains(&after), "it was drained {after} s after what was promised");
    yard.until_budget(None).await?;
    let written = yard.written()?;
    let budgets =
        ["patch", "delete", "create"].map(|it| format!("{it} poddisruptionbudgets.policy"));
    ensure!(written == budgets, "{written:?}");
    yard.cluster.kubectl(&["delete", "node", "spot-3"]).await?;
    yard.cluster.apply("default", &node("spot", 4, NEEDED + 2).to_string()).await?;
    yard.until_ready(&[("spot-4", NEEDED)]).await
}

/// The daemon is killed while the budget is tight, and the node is drained: each replacement that is Ready lets one go all the same. The notice is
/// taken back, and the daemon's heir loosens the budget.
async fn killed(yard: &Yard) -> Result<()> {
    yard.cluster.apply("default", &pool(&ours(), "120s").to_string()).await?;
    yard.cluster.apply("default", &node("spot", 5, NEEDED + 2).to_string()).await?;
    let least = Some(i32::try_from(NEEDED)?);
    yard.notice("spot-4", true).await?;
    yard.until_budget(least).await?;
    let sinks = Api::<Deployment>::namespaced(yard.scene.client.clone(), &yard.scene.namespace);
    until("replacements to be asked for", SOON, async || {
        let replicas = sinks.get("sink").await?.spec.and_then(|spec| spec.replicas);
        Ok((replicas == i32::try_from(NEEDED * 2).ok()).then_some(()))
    })
    .await?;
    yard.scene.daemon.process().kill9();
    yard.fewest();
    let codes = yard.drain("spot-4").await?;
    ensure!(codes.contains(&429), "no eviction had to wait: {codes:?}");
    let fewest = yard.fewest();
    ensure!(fewest == NEEDED, "{fewest} were ready, of {NEEDED} needed");
    yard.notice("spot-4", false).await?;
    yard.until_budget(least).await?;
    let here = ["--namespace", &yard.scene.namespace, "--lease-namespace", &yard.scene.namespace];
    let next = Penstock::run(yard.cluster.kubeconfig(), &here).await?;
    until("a budget that allows one to be lacking", SOON, async || {
        let spec = yard.budgets().get(BUDGET).await?.spec.context("no spec")?;
        Ok((spec.max_unavailable == Some(IntOrString::Int(1))).then_some(()))
    })
    .await?;
    next.stop().await?;
    Ok(())
}
