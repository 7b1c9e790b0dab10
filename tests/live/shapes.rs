//! The in-memory API must not agree only with itself: whatever the daemon and kubectl ask of a real API server is written down by its
//! shape, and each shape must be one that a conformance case asks as well. The cases run on both tiers, so both answer it alike.

use std::collections::BTreeSet;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use penstock::demo::cluster::{Cluster as Toy, Options};
use penstock::demo::traffic::Work;
use serde_json::json;
use tokio::task::JoinSet;

use crate::conformance::conformance;
use crate::headroom::ahead_of_a_schedule;
use crate::jobs::jobs;
use crate::kubectl::{Hands, PIPELINE, WORKER, until_printed};
use crate::levers::operators::definitions;
use crate::levers::operators::yard::{change, seen};
use crate::levers::yard;
use crate::rig::{Proxy, Recorder, Shape, plain_client, shared};
use crate::scene::{SOON, Scene, kafka};
use crate::targets::{GEAR, Kinds, WHEEL};

/// What needs no case, and why. At most five.
const EXCEPTIONS: [&str; 4] = [
    // The in-memory API serves no OpenAPI v2; kubectl does without, as `kubectl.rs` shows.
    "get /openapi/v2?timeout as application/com.github.proto-openapi.spec.v2@v1.0+protobuf -> 200",
    "get /openapi/v2?timeout as application/com.github.proto-openapi.spec.v2@v1.0+protobuf -> 304",
    // It tags no document, so kubectl reads each anew.
    "get /openapi/v3?timeout -> 304",
    // Pages are asked by cases of other kinds; the other tests of the same run may fill more than one page with namespaces.
    "list namespaces?continue&limit as PartialObjectMetadataList -> 200",
];

#[tokio::test]
async fn every_request_of_the_daemon_and_of_kubectl_has_a_conformance_case() -> Result<()> {
    let cluster = shared::cluster().await?;
    let (daemon, people) = (Recorder::default(), Recorder::default());
    let before = async |recorder: &Recorder| -> Result<Proxy> {
        recorder.before(plain_client(cluster.kubeconfig()).await?).await
    };
    let (way, hands) = (before(&daemon).await?, before(&people).await?);
    let scene = Scene::through(&way, cluster, "shapes").await?;
    let hands = Hands::new(hands.kubeconfig(), &scene.namespace)?;
    work(&scene, &hands).await?;
    scene.daemon.stop().await?;

    let cases = cases().await?;
    let lacking = |shapes: BTreeSet<Shape>| -> Vec<String> {
        let lacking = shapes.difference(&cases).map(ToString::to_string);
        lacking.filter(|shape| !EXCEPTIONS.contains(&shape.as_str())).collect()
    };
    let (daemon, people) = (daemon.shapes(), people.shapes());
    assert!(
        daemon.len() > 20 && people.len() > 15,
        "too little was heard:\n{daemon:#?}\n{people:#?}"
    );
    let (daemon, people) = (lacking(daemon), lacking(people));
    assert!(
        daemon.is_empty() && people.is_empty(),
        "no conformance case asks, as the daemon does,\n{daemon:#?}\nand as kubectl does,\n{people:#?}"
    );
    Ok(())
}

/// What the conformance cases ask.
async fn cases() -> Result<BTreeSet<Shape>> {
    let recorder = Recorder::default();
    let mut tasks = JoinSet::new();
    macro_rules! all {
        ($($room:ident: $($case:ident),+;)+) => {
            $($({
                let toy = Toy::new(Options { controllers: false, ..Options::default() });
                let ground = conformance::ground::Ground {
                    client: recorder.client(toy.client()),
                    namespace: "default".to_owned(),
                    minor: 36,
                };
                tasks.spawn(async move {
                    conformance::$room::$case(ground).await;
                    drop(toy);
                });
            })+)+
        };
    }
    conformance::every_case!(all);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(recorder.shapes())
}

/// All that the daemon does to a cluster, and all that people do meanwhile.
async fn work(scene: &Scene, hands: &Hands) -> Result<()> {
    let broker = shared::broker().await?;
    let kinds = Kinds::install(shared::cluster().await?).await?;
    // A login that the daemon has to look up, though this broker lets nobody in by it.
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"user": "nobody", "password": "unknown"},
        }))
        .await?;
    let key = |key| json!({"name": "login", "key": key});
    let sasl = json!({"mechanism": "PLAIN", "usernameSecretRef": key("user"), "passwordSecretRef": key("password")});
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "events"},
            "spec": {"kafka": {"bootstrapServers": broker.bootstrap(), "sasl": sasl}},
        }))
        .await?;
    scene.deployment("locked", 1).await?;
    let connection =
        json!({"connectionRef": {"name": "events"}, "topics": ["locked"], "group": "locked"});
    let locked = json!({
        "target": {"name": "locked"}, "replicas": {"max": 4}, "sources": [{"name": "queue", "kafka": connection}],
    });
    scene.pipeline_unread("locked", locked).await?;

    // Targets of every way of writing go up, and down again.
    let (gear, wheel) = (kinds.make(scene, GEAR).await?, kinds.make(scene, WHEEL).await?);
    scene.workload("StatefulSet", "stateful", 0).await?;
    scene.deployment("stateless", 0).await?;
    let mut crews = Vec::new();
    for (name, target) in [
        ("stateless", json!({"name": "stateless"})),
        ("stateful", json!({"kind": "StatefulSet", "name": "stateful"})),
        ("gear", gear.target()),
        ("wheel", wheel.target()),
    ] {
        let topic = format!("{}-{name}", scene.namespace);
        broker.topic(&topic, 2).await?;
        let crew = scene.consume(broker, name, Work::on(&topic, &topic, 20.0))?;
        let stage = json!({
            "target": target, "replicas": {"min": 0, "max": 2}, "idle": {"replicas": 0, "after": "3s"},
            "sources": [kafka(broker, &[&topic], &topic, json!({"perReplica": 10, "offsetReset": "Earliest"}))],
        });
        scene.pipeline(name, stage).await?;
        scene.after_a_poll(name).await?;
        let producer = crew.producer(&topic)?;
        producer.add(20);
        crews.push((name, crew, producer));
    }
    for (name, crew, producer) in crews {
        assert_eq!(scene.until_moved((name, 0, 0), SOON * 2).await?, [2, 0], "{name}");
        producer.stop().await;
        crew.stop().await;
    }

    keep_room(scene).await?;
    run_jobs(scene).await?;
    pull_levers(scene).await?;

    // People.
    hands.apply(WORKER, &[]).await?;
    let watches = [hands.watch("deployments")?, hands.watch("pods")?, hands.watch("spl")?];
    hands.apply(PIPELINE, &[]).await?;
    hands.apply(PIPELINE, &[]).await?;
    hands.apply(&PIPELINE.replace("max: 20", "max: 10"), &[]).await?;
    hands.apply(&WORKER.replace("team: data", "team: other"), &[]).await?;
    hands.apply(WORKER, &["--server-side", "--force-conflicts"]).await?;
    hands.run(&["scale", "deployment/worker", "--replicas=3"]).await?;
    until_printed(&watches[0], &["worker", "3/3"]).await?;
    hands.edit("deployment/worker", ("image: none", "image: other")).await?;
    hands.edit("spl/orders", ("mode: Observe", "mode: Enforce")).await?;
    hands.run(&["scale", "gear/gear", "--replicas=1"]).await?;
    hands.run(&["get", "spl,deployments,pods", "-o", "wide"]).await?;
    hands.run(&["get", "spl/orders", "-o", "yaml"]).await?;
    until_printed(&watches[1], &["worker-", "1/1"]).await?;
    until_printed(&watches[2], &["orders", "Enforce"]).await?;
    // A hand on what is ours: a conflict, and a word about it.
    hands.run(&["scale", "deployment/stateless", "--replicas=2"]).await?;
    scene
        .until("the hand to be taken over", SOON * 2, async || {
            let moves = scene.moves("stateless", 0)?;
            anyhow::ensure!(moves == [2, 0, 2, 0], "its moves are {moves:?}");
            Ok(Some(()))
        })
        .await
}

/// Levers of both kinds, built in and custom, one of them in no namespace.
async fn pull_levers(scene: &Scene) -> Result<()> {
    let label = "workflows.argoproj.io/parallelism-limit";
    let limits = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits"}, "data": {"a": "1"}});
    let vertex = json!({
        "apiVersion": "numaflow.numaproj.io/v1alpha1", "kind": "Vertex", "metadata": {"name": "flow-a"},
        "spec": {"replicas": 1, "scale": {"disabled": true}},
    });
    let yard = yard(scene).await?;
    yard.define(&definitions::vertex("Vertex")).await?;
    for object in [&limits, &vertex] {
        yard.create(object).await?;
    }
    let namespaces = yard.api("v1", "Namespace");
    let labels = json!({"metadata": {"labels": {label: "1"}}});
    change(&namespaces, &scene.namespace, ("kubectl-label", labels)).await?;
    for (name, target) in [
        ("slots", json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "limits", "part": "a"})),
        ("flows", json!({"apiVersion": "v1", "kind": "Namespace", "name": scene.namespace})),
        (
            "vertex",
            json!({"apiVersion": "numaflow.numaproj.io/v1alpha1", "kind": "Vertex", "name": "flow-a"}),
        ),
    ] {
        yard.pipeline(name, json!({"target": target, "replicas": {"min": 3, "max": 3}})).await?;
    }
    yard.until("three of each", async || {
        let map = seen(&yard.api("v1", "ConfigMap"), "limits").await?;
        let vertex = seen(&yard.api("numaflow.numaproj.io/v1alpha1", "Vertex"), "flow-a").await?;
        let namespace = seen(&namespaces, &scene.namespace).await?;
        let counts = [
            &map["data"]["a"],
            &vertex["spec"]["replicas"],
            &namespace["metadata"]["labels"][label],
        ];
        anyhow::ensure!(counts == [&json!("3"), &json!(3), &json!("3")], "they are {counts:?}");
        Ok(Some(()))
    })
    .await?;
    Ok(())
}

/// Room is kept ahead of a schedule, then less of it, and then none.
async fn keep_room(scene: &Scene) -> Result<()> {
    let (broker, topic) = (shared::broker().await?, format!("{}-roomy", scene.namespace));
    broker.topic(&topic, 2).await?;
    broker.commit(&topic, &topic, 0).await?;
    scene.deployment("roomy", 1).await?;
    let source = kafka(broker, &[&topic], &topic, json!({"perReplica": 2}));
    let mut stage = ahead_of_a_schedule("roomy", 4, &source)?;
    scene.pipeline("roomy", stage.clone()).await?;
    let rooms = Api::<Deployment>::namespaced(scene.client.clone(), &scene.namespace);
    let mine = ListParams::default().labels("penstock.dev/headroom");
    for (capacity, wanted) in [
        (json!({"headroom": {"mode": "Auto"}}), vec![Some(3)]),
        (json!({"headroom": {"mode": "Auto", "max": 2}}), vec![Some(2)]),
        (json!(null), vec![]),
    ] {
        stage["capacity"] = capacity;
        let spec = json!({"stages": [stage]});
        let metadata = json!({"name": "roomy"});
        scene
            .change(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": metadata, "spec": spec,
            }))
            .await?;
        scene
            .until(&format!("room for {wanted:?}"), SOON, async || {
                let found = rooms.list(&mine).await?.items.into_iter();
                let found: Vec<_> = found.map(|it| it.spec.and_then(|it| it.replicas)).collect();
                anyhow::ensure!(found == wanted, "{found:?}");
                Ok(Some(()))
            })
            .await?;
    }
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "roomy").await
}

/// Two Jobs are made from a template, are done, and go by their history limit.
async fn run_jobs(scene: &Scene) -> Result<()> {
    let (broker, topic) = (shared::broker().await?, format!("{}-jobs", scene.namespace));
    broker.topic(&topic, 2).await?;
    let template = json!({
        "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "none"}]},
    });
    let spec = json!({
        "suspend": true, "schedule": "0 0 1 1 *", "successfulJobsHistoryLimit": 1,
        "jobTemplate": {"spec": {"template": template}},
    });
    scene
        .create(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backfill"}, "spec": spec,
        }))
        .await?;
    let stage = json!({
        "jobs": {"templateRef": {"name": "backfill"}}, "replicas": {"min": 0, "max": 2},
        "sources": [kafka(broker, &[&topic], &topic, json!({"perReplica": 10, "offsetReset": "Earliest"}))],
    });
    scene.pipeline("backfill", stage).await?;
    broker.send(&topic, None, 20).await?;
    let names = async || -> Result<Vec<String>> {
        Ok(jobs(scene).await?.iter().map(ResourceExt::name_any).collect())
    };
    let both = ["backfill-p1", "backfill-p2"];
    scene.until("two Jobs", SOON, async || Ok((names().await? == both).then_some(()))).await?;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let of_jobs = ListParams::default().labels("job-name in (backfill-p1,backfill-p2)");
    scene
        .until("the first to go", SOON, async || {
            for pod in pods.list(&of_jobs).await? {
                let status = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
                pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
            }
            let names = names().await?;
            anyhow::ensure!(!names.contains(&"backfill-p1".to_owned()), "{names:?}");
            Ok(Some(()))
        })
        .await?;
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "backfill").await
}
