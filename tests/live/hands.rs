//! The hands on real API servers, the newest and the oldest: what each write to `/scale` comes to, told apart exactly.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, Config, ResourceExt};
use penstock::act::{self, Act, Grant, Licence};
use penstock::clock::Clock;
use penstock::decide::{
    Action, Ending, ForeignWriter, Outcome, PipelineId, Reason, Scale, StageId, TargetId, Writing,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, shared};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: enrich}
spec:
  replicas: 2
  selector: {matchLabels: {app: enrich}}
  template: {metadata: {labels: {app: enrich}}, spec: {containers: [{name: main, image: none}]}}
";

const WORKERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: handworkers.live.example.com}
spec:
  group: live.example.com
  names: {kind: HandWorker, plural: handworkers}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {replicas: {type: integer}}}, status: {type: object, properties: {replicas: {type: integer}}}}}}
    subresources: {scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
";

/// The hands, and one target for them.
struct Bench<'c> {
    cluster: &'c Cluster,
    namespace: String,
    act: Act,
    outcomes: UnboundedReceiver<Outcome>,
    licence: Licence,
    grant: Grant,
}

impl<'c> Bench<'c> {
    async fn new(cluster: &'c Cluster) -> Result<Self> {
        let file = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let (sender, outcomes) = unbounded_channel();
        let (grant, licence) = Licence::new();
        let act = Act::new(act::writer(config)?.build(), Clock::start(), sender);
        let namespace = cluster.namespace("hands").await?;
        Ok(Self { cluster, namespace, act, outcomes, licence, grant })
    }

    fn resource(kind: &str) -> ApiResource {
        let (group, plural) = match kind {
            "HandWorker" => ("live.example.com", "handworkers"),
            _ => ("apps", "deployments"),
        };
        ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version: format!("{group}/v1"),
            kind: kind.into(),
            plural: plural.into(),
        }
    }

    /// A write decided on the object as it is now.
    async fn decided(&self, kind: &str, to: u32) -> Result<Scale> {
        let resource = Self::resource(kind);
        let client = self.cluster.client().await?;
        let api = Api::<DynamicObject>::namespaced_with(client, &self.namespace, &resource);
        let object = api.get("enrich").await?;
        let from = object.data["spec"]["replicas"].as_u64().unwrap_or(1);
        Ok(Scale {
            lane: None,
            stage: StageId {
                pipeline: PipelineId {
                    namespace: self.namespace.as_str().into(),
                    name: "orders".into(),
                },
                index: 0,
                name: "enrich".into(),
            },
            target: TargetId {
                api_version: resource.api_version.as_str().into(),
                kind: kind.into(),
                namespace: self.namespace.as_str().into(),
                name: "enrich".into(),
                part: None,
            },
            uid: object.uid().context("a uid")?.into(),
            resource_version: object.resource_version().context("a version")?.into(),
            writing: if kind == "HandWorker" { Writing::Merge } else { Writing::Apply },
            from: u32::try_from(from)?,
            to,
            force: false,
            why: Reason::Learning { replicas: to },
        })
    }

    async fn ending(&mut self, action: Action) -> Result<Ending> {
        self.grant.renew(tokio::time::Instant::now());
        self.act.start(&[action], &self.licence);
        Ok(self.outcomes.recv().await.context("an outcome")?.result)
    }

    async fn scale(&mut self, to: u32) -> Result<Ending> {
        self.decide_and(to, Action::Scale).await
    }

    /// Controllers write the status of a deployment whenever they like: what was decided before is decided anew, as the loop does.
    async fn decide_and(&mut self, to: u32, action: impl Fn(Scale) -> Action) -> Result<Ending> {
        for _ in 0..20 {
            let scale = self.decided("Deployment", to).await?;
            match self.ending(action(scale)).await? {
                Ending::Outdated => {}
                ending => return Ok(ending),
            }
        }
        anyhow::bail!("the deployment never stood still")
    }

    async fn apply(&self, arguments: &[&str], replicas: u32) -> Result<()> {
        let yaml = DEPLOYMENT.replace("replicas: 2", &format!("replicas: {replicas}"));
        let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        std::fs::write(&file, yaml)?;
        let path = file.path().display().to_string();
        let all = [&["apply", "-n", &self.namespace, "-f", &path], arguments].concat();
        self.cluster.kubectl(&all).await.map(drop)
    }

    async fn replicas(&self) -> Result<i32> {
        let client = self.cluster.client().await?;
        let object = Api::<Deployment>::namespaced(client, &self.namespace).get("enrich").await?;
        object.spec.and_then(|spec| spec.replicas).context("a count")
    }
}

fn writer(manager: &str, applies: bool) -> Ending {
    Ending::Conflict { writer: ForeignWriter { manager: Arc::from(manager), applies } }
}

async fn a_built_in_workload(cluster: &Cluster) -> Result<()> {
    let mut bench = Bench::new(cluster).await?;
    bench.apply(&[], 2).await?;
    // Nobody asked us: what kubectl wrote is kubectl's.
    let ending = bench.scale(5).await?;
    ensure!(ending == writer("kubectl-client-side-apply", false), "{ending:?}");
    let before = bench.decided("Deployment", 9).await?;
    let Ending::Done { resource_version } = bench.decide_and(2, Action::Claim).await? else {
        anyhow::bail!("a claim beside an Update manager is taken");
    };
    ensure!(resource_version != before.resource_version, "the version after it");
    let ending = bench.ending(Action::Scale(before)).await?;
    ensure!(ending == Ending::Outdated, "{ending:?}");
    ensure!(matches!(bench.scale(5).await?, Ending::Done { .. }), "ours now");
    ensure!(bench.replicas().await? == 5, "scaled");
    // A hand.
    cluster
        .kubectl(&["-n", &bench.namespace, "scale", "deployment", "enrich", "--replicas", "7"])
        .await?;
    let ending = bench.scale(4).await?;
    ensure!(ending == writer("kubectl", false), "{ending:?}");
    let force = |scale| Action::Scale(Scale { force: true, ..scale });
    let ending = bench.decide_and(4, force).await?;
    ensure!(matches!(ending, Ending::Done { .. }), "taken over: {ending:?}");
    // GitOps, which applies.
    bench
        .apply(&["--server-side", "--field-manager=argocd-controller", "--force-conflicts"], 8)
        .await?;
    let ending = bench.scale(4).await?;
    ensure!(ending == writer("argocd-controller", true), "{ending:?}");
    let ending = bench.decide_and(8, Action::Claim).await?;
    ensure!(matches!(ending, Ending::Done { .. }), "both own the count: {ending:?}");
    let ending = bench.scale(4).await?;
    ensure!(
        ending == writer("argocd-controller", true),
        "and none may change it alone: {ending:?}"
    );
    // Another of its name.
    let old = Scale { force: true, ..bench.decided("Deployment", 3).await? };
    cluster.kubectl(&["-n", &bench.namespace, "delete", "deployment", "enrich", "--wait"]).await?;
    let ending = bench.ending(Action::Scale(old.clone())).await?;
    ensure!(ending == Ending::Gone, "{ending:?}");
    bench.apply(&[], 2).await?;
    let ending = bench.ending(Action::Scale(old.clone())).await?;
    ensure!(matches!(ending, Ending::Gone | Ending::Outdated), "an old version: {ending:?}");
    let other = |scale| Action::Scale(Scale { uid: Arc::clone(&old.uid), force: true, ..scale });
    let ending = bench.decide_and(3, other).await?;
    ensure!(ending == Ending::Gone, "an old uid: {ending:?}");
    ensure!(bench.replicas().await? == 2, "untouched");
    Ok(())
}

async fn a_custom_workload(cluster: &Cluster) -> Result<()> {
    let mut bench = Bench::new(cluster).await?;
    cluster.apply(&bench.namespace, WORKERS).await?;
    cluster.served(&["crd/handworkers.live.example.com"]).await?;
    let worker = "{apiVersion: live.example.com/v1, kind: HandWorker, metadata: {name: enrich}, spec: {replicas: 2}}";
    cluster.apply(&bench.namespace, worker).await?;
    let scale = bench.decided("HandWorker", 6).await?;
    let ending = bench.ending(Action::Scale(scale.clone())).await?;
    ensure!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    ensure!(bench.decided("HandWorker", 6).await?.from == 6, "scaled");
    let ending = bench.ending(Action::Scale(Scale { to: 9, ..scale.clone() })).await?;
    ensure!(ending == Ending::Outdated, "{ending:?}");
    cluster.kubectl(&["-n", &bench.namespace, "delete", "handworker", "enrich"]).await?;
    let ending = bench.ending(Action::Scale(scale)).await?;
    ensure!(ending == Ending::Gone, "{ending:?}");
    Ok(())
}

async fn a_user_without_the_right(cluster: &Cluster) -> Result<()> {
    let mut bench = Bench::new(cluster).await?;
    bench.apply(&[], 2).await?;
    let scale = bench.decided("Deployment", 5).await?;
    let kubeconfig = cluster.user(&format!("onlooker-{}", fastrand::u32(..)), Vec::new()).await?;
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let (sender, outcomes) = unbounded_channel();
    bench.act = Act::new(act::writer(config)?.build(), Clock::start(), sender);
    bench.outcomes = outcomes;
    let ending = bench.ending(Action::Scale(scale)).await?;
    let Ending::Refused { code: 403, message } = ending else { anyhow::bail!("{ending:?}") };
    ensure!(message.contains("cannot patch resource \"deployments/scale\""), "{message}");
    Ok(())
}

#[tokio::test]
async fn the_newest_api_server_answers_the_hands_as_told() -> Result<()> {
    let cluster = shared::cluster().await?;
    a_built_in_workload(cluster).await?;
    a_custom_workload(cluster).await?;
    a_user_without_the_right(cluster).await
}

#[tokio::test]
async fn the_oldest_api_server_answers_the_hands_the_same() -> Result<()> {
    let cluster = Cluster::start(Kubernetes::V1_33, ClusterOptions::default()).await?;
    a_built_in_workload(&cluster).await?;
    a_custom_workload(&cluster).await?;
    a_user_without_the_right(&cluster).await
}
