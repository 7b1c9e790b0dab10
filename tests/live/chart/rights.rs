//! The daemon with exactly the rights of the chart: its own account's token, the arguments of the rendered Deployment, a real loop from Kafka's
//! lag to the replicas and back. Whatever it asks is allowed: neither the API server's record nor its own log knows a refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::hook::{self, helm_test};
use super::rendered::{hook_rules, roles, rules, triples};
use super::{documents, helm_on, path, restricted, template};
use crate::headroom::ahead_of_a_schedule;
use crate::rig::{
    Cluster, ClusterOptions, Kubernetes, Penstock, Program, Request, free_port, fresh_folder,
    http_get_as, shared, until, until_granted,
};
use crate::scaling::there_and_back;
use crate::scene::{SOON, Scene, kafka};

const ACCOUNT: &str = "system:serviceaccount:penstock:penstock";

#[tokio::test]
async fn the_loop_runs_on_the_rights_of_the_chart() -> Result<()> {
    let page = free_port()?;
    let cluster = &cluster(page).await?;
    let namespaced: &[&str] = &[
        "--set",
        "namespaces={shop},rbac.namespaced=true,secrets.shop={login},ui.open.enabled=true",
    ];
    // Nothing outside of shop, but the Lease and the questions of who looks.
    let (used, allowed) = run(cluster, page, namespaced, "shop").await?;
    ensure!(
        used.iter()
            .all(|(_, resource, _)| resource != "namespaces" && resource != "clusterconnections"),
        "{used:?}"
    );
    nothing_in_vain(&used, &allowed)?;
    // The chart as it comes, and one Secret, a page that is open, pods that are told to go, drains that are held, room that is kept, and quotas that are heeded.
    let more = [
        "--set",
        "secrets.mill={login},ui.open.enabled=true,packing.enabled=true,draining.enabled=true,headroom.enabled=true,quotas.enabled=true",
    ];
    let (used, allowed) = run(cluster, page, &more, "mill").await?;
    nothing_in_vain(&used, &allowed)?;
    Ok(())
}

pub(super) type Triples = BTreeSet<(String, String, String)>;

/// A cluster where the account must be what RBAC says, and a port-forward to the page of any pod leads to this port.
async fn cluster(page: u16) -> Result<Cluster> {
    let options = ClusterOptions {
        nodes: 2,
        audit: true,
        forwards: vec![(8082, page)],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    for name in ["penstock", "shop", "mill"] {
        restricted(&cluster, name).await?;
    }
    Ok(cluster)
}

/// Installs the chart, plays the daemon in the place of its pods, and gives what it asked for and what it might ask for.
async fn run(
    cluster: &Cluster,
    page: u16,
    sets: &[&str],
    namespace: &str,
) -> Result<(Triples, Triples)> {
    let chart = path("charts/penstock").display().to_string();
    let install =
        ["upgrade", "--install", "penstock", &chart, "-n", "penstock", "--wait", "--timeout=3m"];
    helm_on(cluster, &[&install[..], sets].concat()).await?;
    let rendered = documents(&template(sets).await?)?;
    until_granted(cluster.client().await?, ACCOUNT, roles(&rendered, false)).await?;
    let mut log = cluster.requests()?;
    let (mut arguments, open) = (arguments(&rendered)?, free_port()?);
    arguments.push(format!("--page-open=127.0.0.1:{open}"));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let kubeconfig = kubeconfig(cluster, "penstock", "penstock").await?;
    let daemon = Penstock::run_with_page(&kubeconfig, page, &arguments).await?;
    let scene = Scene::with(cluster, namespace.to_owned(), daemon).await?;

    // A login that is read, though this broker wants none: a Connection of its own that leads nowhere.
    let login = json!({"username": "u", "password": "p"});
    scene
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": login}))
        .await?;
    let key = |key: &str| json!({"name": "login", "key": key});
    let login = json!({"mechanism": "PLAIN", "usernameSecretRef": key("username"), "passwordSecretRef": key("password")});
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "nowhere"},
            "spec": {"kafka": {"bootstrapServers": "127.0.0.1:1", "sasl": login}},
        }))
        .await?;
    for (kind, name) in [("Deployment", "worker"), ("StatefulSet", "keeper")] {
        scene.create(workload(kind, name)).await?;
    }
    // With it begins the watch of nodes; a daemon of some namespaces does not look.
    let pool = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "all"},
        "spec": {"class": "OnDemand", "nodeSelector": {"kubernetes.io/os": "linux"}},
    });
    cluster.apply(namespace, &pool.to_string()).await?;
    let budget = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityBudget", "metadata": {"name": "all"},
        "spec": {"namespaceSelector": {}, "limits": {"cpu": "600"}},
    });
    cluster.apply(namespace, &budget.to_string()).await?;
    let broker = shared::broker().await?;
    scene
        .pipeline_unread("lost", json!({
            "target": {"kind": "StatefulSet", "name": "keeper"}, "replicas": {"max": 3},
            "sources": [{"name": "q", "kafka": {"connectionRef": {"name": "nowhere"}, "topics": ["t"], "group": "g"}}],
        }))
        .await?;
    there_and_back(&scene, broker, json!({"name": "worker"})).await?;
    scene.until_condition("worker", ("Ready", "True", ""), SOON).await?;
    let is_packing = sets.iter().any(|set| set.contains("packing.enabled"));
    if is_packing {
        empties_a_node(&scene).await?;
        keeps_room(&scene).await?;
    }
    if sets.iter().any(|set| set.contains("draining.enabled")) {
        holds_a_drain(cluster, &scene).await?;
    }
    let events = ["-n", namespace, "get", "events.events.k8s.io", "-o", "json"];
    scene
        .until("an event on a pipeline", SOON, async || {
            let events: Value = serde_json::from_str(&cluster.kubectl(&events).await?)?;
            let told = events["items"].as_array().context("no list of events")?;
            let is_ours = |event: &Value| event["regarding"]["kind"] == "ScaledPipeline";
            Ok(told.iter().any(is_ours).then_some(()))
        })
        .await?;
    let lease = cluster
        .kubectl(&[
            "-n",
            "penstock",
            "get",
            "lease",
            "penstock",
            "-o",
            "jsonpath={.spec.holderIdentity}",
        ])
        .await?;
    ensure!(!lease.is_empty(), "nobody holds the lease");

    let is_everywhere = sets.iter().all(|set| !set.contains("rbac.namespaced"));
    let state = ["get", "capacitypool", "all", "-o", "jsonpath={.status.state}"];
    let used = ["get", "capacitybudget", "all", "-o", "jsonpath={.status.used.cpu}"];
    scene
        .until("the pool and the budget to be told of", SOON, async || {
            let (state, used) = (cluster.kubectl(&state).await?, cluster.kubectl(&used).await?);
            let are_told = !state.is_empty() && !used.is_empty();
            Ok((!is_everywhere || are_told).then_some(()))
        })
        .await?;

    let token = cluster.kubectl(&["-n", namespace, "create", "token", "default"]).await?;
    let seen = scene
        .until("the page to let somebody in", SOON, async || {
            let (code, seen) = http_get_as(open, "/api/v1/overview", token.trim()).await?;
            ensure!(code == 200, "{code} {seen}");
            Ok(Some(seen))
        })
        .await?;
    ensure!(!seen.contains("worker"), "who may list nothing sees {seen}");
    test(cluster, &scene, &rendered).await?;
    let said = scene.daemon.process().log()?;
    // As the API server words a refusal; its number may stand in any time of day.
    let refused: Vec<_> =
        said.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    ensure!(refused.is_empty(), "refused: {}", refused.join("\n"));
    let end = scene.daemon.stop().await?;
    ensure!(end.success(), "{end}");
    // The next one has to make its own.
    cluster.kubectl(&["-n", "penstock", "delete", "lease", "penstock"]).await?;
    let requests = log.take()?;
    let mut used = Triples::new();
    for request in requests.iter().filter(|request| request.user == ACCOUNT) {
        ensure!(request.code != 403 && request.code != 401, "{request:?}");
        if let Some(triple) = triple(request) {
            used.insert(triple);
        }
    }
    let (asked, refused) = hook::asked(&requests);
    the_hook_has_what_it_uses(&asked, &refused, &rendered, is_everywhere)?;
    nothing_missing(cluster).await?;
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "worker").await?;
    for (kind, name) in [("Deployment", "worker"), ("StatefulSet", "keeper")] {
        scene.delete("apps/v1", kind, name).await?;
    }
    Ok((used, triples(&rules(&rendered)).into_iter().collect()))
}

/// A Deployment on two nodes goes down by half, by its owner's word: pods are told which of them go.
async fn empties_a_node(scene: &Scene) -> Result<()> {
    let mut packed = workload("Deployment", "packed");
    packed["spec"]["replicas"] = json!(4);
    packed["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "packed"}},
    }]);
    scene.create(packed).await?;
    let stage = json!({
        "name": "work", "target": {"name": "packed"}, "replicas": {"max": 4}, "capacity": {"scaleIn": "Pack"},
    });
    scene.pipeline_unread("packed", stage).await?;
    let pods = Api::<Pod>::namespaced(scene.client.clone(), &scene.namespace);
    let nodes = async || -> Result<BTreeMap<String, u32>> {
        let mut nodes = BTreeMap::new();
        for pod in pods.list(&ListParams::default().labels("app=packed")).await? {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            let is_ready = conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True");
            let node = pod.spec.and_then(|spec| spec.node_name).filter(|_| is_ready);
            *nodes.entry(node.unwrap_or_default()).or_default() += 1;
        }
        Ok(nodes)
    };
    scene
        .until("pods on two nodes", SOON * 2, async || {
            let nodes = nodes().await?;
            Ok((nodes.len() == 2 && nodes.values().all(|pods| *pods == 2)).then_some(()))
        })
        .await?;
    // What it has not seen Ready goes first, whatever it costs.
    scene
        .until("Penstock to see them", SOON * 2, async || {
            Ok((scene.stage("packed").await?.replicas.ready == Some(4)).then_some(()))
        })
        .await?;
    let pinned = json!({"penstock.dev/paused-replicas": "2"});
    scene
        .change(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": "packed", "annotations": pinned},
        }))
        .await?;
    // Where they stand is the matter of `packing`; that they are told shows in the rights that are used.
    scene
        .until("two pods", SOON * 2, async || {
            Ok((nodes().await?.values().sum::<u32>() == 2).then_some(()))
        })
        .await?;
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "packed").await?;
    scene.delete("apps/v1", "Deployment", "packed").await
}

/// A node is taken back in seconds, and nobody drains it: a budget is made, tightened and loosened, a pod is deleted, and at last the budget.
async fn holds_a_drain(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let pool = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "all"},
        "spec": {"class": "Spot", "nodeSelector": {"kubernetes.io/os": "linux"}, "notice": "30s"},
    });
    cluster.apply(&scene.namespace, &pool.to_string()).await?;
    let mut held = workload("Deployment", "held");
    held["spec"]["replicas"] = json!(2);
    held["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "held"}},
    }]);
    scene.create(held).await?;
    let stage = json!({
        "name": "work", "replicas": {"min": 2, "max": 2}, "capacity": {"drain": "Hold"},
        "lanes": [{"pool": "all", "share": 100, "target": {"name": "held"}}],
    });
    scene.pipeline_unread("held", stage).await?;
    let here = ["-n", &scene.namespace, "get"];
    let says = ["pdb", "penstock-deployment-held", "-o", "jsonpath={.spec.maxUnavailable}"];
    let nodes = ["pods", "-l", "app=held", "-o", "jsonpath={.items[*].spec.nodeName}"];
    let until_loose_on = async |pods: usize| {
        scene
            .until(&format!("a loose budget, and {pods} pods on nodes"), SOON, async || {
                let says = cluster.kubectl(&[&here[..], &says].concat()).await?;
                let nodes = cluster.kubectl(&[&here[..], &nodes].concat()).await?;
                ensure!(says == "1" && nodes.split(' ').count() == pods, "{says} on {nodes}");
                Ok(Some(nodes))
            })
            .await
    };
    let nodes = until_loose_on(2).await?;
    let doomed = nodes.split(' ').next().context("no node")?;
    let taint = "cloud.google.com/impending-node-termination=true:NoSchedule";
    cluster.kubectl(&["taint", "node", doomed, taint]).await?;
    scene
        .until("its pods to be gone", SOON, async || {
            let nodes = until_loose_on(2).await?;
            Ok((!nodes.contains(doomed)).then_some(()))
        })
        .await?;
    cluster.kubectl(&["taint", "node", doomed, &format!("{taint}-")]).await?;
    let here = ["-n", &scene.namespace];
    let leave =
        json!([{"op": "replace", "path": "/spec/stages/0/capacity/drain", "value": "Leave"}]);
    let patch = ["patch", "spl", "held", "--type=json", "-p", &leave.to_string()];
    cluster.kubectl(&[&here[..], &patch].concat()).await?;
    scene
        .until("the budget to be gone", SOON, async || {
            let all = cluster.kubectl(&[&here[..], &["get", "pdb", "-o", "name"]].concat()).await?;
            Ok(all.is_empty().then_some(()))
        })
        .await?;
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "held").await?;
    scene.delete("apps/v1", "Deployment", "held").await
}

/// A stage keeps room ahead of its schedule, less of it when its owner says so, and none when it shall not. The namespace takes restricted pods only.
async fn keeps_room(scene: &Scene) -> Result<()> {
    let mut roomy = workload("Deployment", "roomy");
    roomy["spec"]["replicas"] = json!(1);
    scene.create(roomy).await?;
    let (broker, topic) = (shared::broker().await?, format!("{}-roomy", scene.namespace));
    broker.topic(&topic, 2).await?;
    broker.commit(&topic, &topic, 0).await?;
    let stage = || {
        let source = kafka(broker, &[&topic], &topic, json!({"perReplica": 2}));
        ahead_of_a_schedule("roomy", 4, &source)
    };
    scene.pipeline_unread("roomy", stage()?).await?;
    let until_there = async |count: usize| {
        let pods = Api::<Pod>::namespaced(scene.client.clone(), &scene.namespace);
        let mine = ListParams::default().labels("penstock.dev/headroom");
        scene
            .until(&format!("{count} placeholders"), SOON, async || {
                let found = pods.list(&mine).await?.items.len();
                ensure!(found == count, "there are {found}");
                Ok(Some(()))
            })
            .await
    };
    until_there(3).await?;
    let change = async |headroom: Value| {
        let mut stage = stage()?;
        stage["capacity"] = headroom;
        let metadata = json!({"name": "roomy"});
        scene
            .change(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
                "metadata": metadata, "spec": {"stages": [stage]},
            }))
            .await
    };
    change(json!({"headroom": {"mode": "Auto", "max": 2}})).await?;
    until_there(2).await?;
    change(Value::Null).await?;
    until_there(0).await?;
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "roomy").await?;
    scene.delete("apps/v1", "Deployment", "roomy").await
}

/// `helm test` while a source does not answer, and without it: the one fails and leaves its pod to be read, the other leaves nothing.
async fn test(cluster: &Cluster, scene: &Scene, rendered: &[Value]) -> Result<()> {
    scene
        .until("worker to be read", SOON, async || {
            let stage = scene.stage("worker").await?;
            Ok(stage.sources.iter().all(|source| source.state == "Fresh").then_some(()))
        })
        .await?;
    let tested = helm_test(cluster, rendered).await?;
    let (lost, said) = (format!("{}/lost work q", scene.namespace), &tested.said);
    ensure!(!tested.is_well && said.contains(&lost) && said.contains("1 of "), "{said}");
    ensure!(said.contains("told by pod penstock/penstock-"), "it did not ask the daemon: {said}");
    ensure!(said.contains("may do all of the"), "it did not look at rights: {said}");
    ensure!(tested.left.trim() == "pod/penstock-test", "a failed test left {}", tested.left);
    scene.delete("penstock.dev/v1alpha1", "ScaledPipeline", "lost").await?;
    scene
        .until("the daemon to forget it", SOON, async || {
            let all = scene.daemon.page("/api/v1/pipelines").await?.to_string();
            Ok((!all.contains("\"lost\"")).then_some(()))
        })
        .await?;
    // A test is one look, and a poll may fail at that moment.
    let tested = until("a test that is well", SOON * 4, async || {
        let tested = helm_test(cluster, rendered).await?;
        ensure!(tested.is_well && tested.said.contains("all is well"), "{}", tested.said);
        Ok(Some(tested))
    })
    .await?;
    ensure!(tested.left.trim().is_empty(), "a test left {}", tested.left);
    Ok(())
}

/// The rights of the hook are those that it used; what lies in no namespace it goes without where it has Roles only, and the pods of all
/// namespaces always.
fn the_hook_has_what_it_uses(
    used: &Triples,
    refused: &BTreeSet<String>,
    rendered: &[Value],
    is_everywhere: bool,
) -> Result<()> {
    let allowed: Triples = triples(&hook_rules(rendered)).into_iter().collect();
    // The API server asks for it behind the request, to open the stream.
    let opens = |it: &&(String, String, String)| it.1 == "pods/portforward" && it.2 == "create";
    let vain: Vec<_> = allowed.difference(used).filter(|it| !opens(it)).collect();
    ensure!(vain.is_empty(), "the hook may, and never does: {vain:?}");
    let strange: Vec<_> = used.difference(&allowed).collect();
    ensure!(strange.is_empty(), "the hook does, and the chart does not allow: {strange:?}");
    let of_all = [
        "apiservices.apiregistration.k8s.io",
        "capacitybudgets.penstock.dev",
        "capacitypools.penstock.dev",
        "clusterconnections.penstock.dev",
        "customresourcedefinitions.apiextensions.k8s.io",
    ];
    let expected = of_all.iter().filter(|_| !is_everywhere).chain(&["pods"]);
    let expected: BTreeSet<_> = expected.map(|it| (*it).to_owned()).collect();
    ensure!(*refused == expected, "the hook was refused {refused:?}");
    Ok(())
}

/// `penstock check` knows what the daemon needs by another way: it, too, finds nothing missing.
async fn nothing_missing(cluster: &Cluster) -> Result<()> {
    let check =
        Program::new(env!("CARGO_BIN_EXE_penstock")).args(["check", "--here", "-o", "json"]);
    let check = check.arg("--kubeconfig").arg(cluster.kubeconfig().display().to_string());
    // It ends with 1 for the pipeline whose broker is nowhere, and prints all the same.
    let said = match check.run().await {
        Ok(said) => said,
        Err(error) => format!("{error:#}"),
    };
    ensure!(said.contains(ACCOUNT), "it looks at the rights of someone else: {said}");
    ensure!(!said.contains("may not") && !said.contains("\"roles\""), "it misses rights: {said}");
    Ok(())
}

/// What a request took: group, resource with subresource, verb. `None` for paths, which are everyone's.
pub(super) fn triple(request: &Request) -> Option<(String, String, String)> {
    let (resource, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
    if resource.is_empty() {
        return None;
    }
    let whole = if request.subresource.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}/{}", request.subresource)
    };
    Some((group.to_owned(), whole, request.verb.clone()))
}

/// Each right is used by this loop, but for those on kinds and sources that it has none of.
fn nothing_in_vain(used: &Triples, allowed: &Triples) -> Result<()> {
    let elsewhere = |(group, resource, verb): &&(String, String, String)| {
        resource.starts_with("replicasets")
            || (resource == "statefulsets/scale" && verb == "patch")
            || (group == "metrics.k8s.io")
            || (resource == "statefulsets" && verb == "get")
            // Nobody serves them here: tests/live/headroom.rs has them with a real Karpenter.
            || (group == "autoscaling.x-k8s.io")
            || (group == "events.k8s.io" && verb == "patch")
    };
    let vain: Vec<_> = allowed.difference(used).filter(|triple| !elsewhere(triple)).collect();
    ensure!(vain.is_empty(), "allowed and never used: {vain:?}");
    let strange: Vec<_> = used.difference(allowed).collect();
    ensure!(strange.is_empty(), "used and not allowed by the chart: {strange:?}");
    Ok(())
}

/// What the daemon of the rendered Deployment is started with, but for where it listens.
pub(super) fn arguments(rendered: &[Value]) -> Result<Vec<String>> {
    let daemon =
        rendered.iter().find(|object| object["kind"] == "Deployment").context("no Deployment")?;
    let words = daemon["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()
        .context("no arguments")?;
    let words: Vec<_> = words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    ensure!(words.first().is_some_and(|word| word == "run"), "{words:?}");
    Ok(words
        .into_iter()
        .skip(1)
        .filter(|word| !word.starts_with("--listen") && !word.starts_with("--page-open"))
        .collect())
}

/// The kubeconfig that a pod's files make: the account's token, and its namespace.
pub(super) async fn kubeconfig(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
) -> Result<PathBuf> {
    let token =
        cluster.kubectl(&["-n", namespace, "create", "token", account, "--duration=1h"]).await?;
    let admin: Value = serde_json::from_str(&std::fs::read_to_string(cluster.kubeconfig())?)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "pod", "clusters": admin["clusters"],
        "users": [{"name": "pod", "user": {"token": token.trim()}}],
        "contexts": [{"name": "pod", "context": {"cluster": admin["clusters"][0]["name"], "user": "pod", "namespace": namespace}}],
    });
    let file = fresh_folder("token")?.join("kubeconfig");
    std::fs::write(&file, config.to_string())?;
    Ok(file)
}

/// A workload without replicas whose pods a restricted namespace takes.
fn workload(kind: &str, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "worker", "image": "none", "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                }}],
            }},
        },
    });
    if kind == "StatefulSet" {
        object["spec"]["podManagementPolicy"] = json!("Parallel");
    }
    object
}
