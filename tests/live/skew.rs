//! Definitions of another version than the binary's, as they stand beside each other during every upgrade and after every half of one: the
//! first that were kept, and older still; and what a later version might add. Pipelines go on, and what lacks is said.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::check::check;
use crate::rig::{Cluster, ClusterOptions, Kubernetes, Penstock, Program, fresh_folder, shared};
use crate::scaling::there_and_back;
use crate::scene::{SOON, Scene, kafka};

async fn cluster() -> Result<Cluster> {
    let options = ClusterOptions { nodes: 2, audit: true, ..ClusterOptions::default() };
    Cluster::start(Kubernetes::V1_36, options).await
}

/// Applies definitions, a file or a folder, and waits until they are served.
async fn define(cluster: &Cluster, what: &str) -> Result<()> {
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", what]).await?;
    cluster.served(&["-f", what]).await
}

/// A namespace, and a daemon that looks at the whole cluster, as one does that the chart installs.
async fn scene(cluster: &Cluster, name: &str) -> Result<Scene> {
    let namespace = cluster.namespace(name).await?;
    let daemon = Penstock::run(cluster.kubeconfig(), &["--lease-namespace", &namespace]).await?;
    Scene::with(cluster, namespace, daemon).await
}

/// What a pipeline is now.
async fn pipeline(cluster: &Cluster, scene: &Scene, name: &str) -> Result<Value> {
    let get = ["-n", &scene.namespace, "get", "spl", name, "-o", "json"];
    Ok(serde_json::from_str(&cluster.kubectl(&get).await?)?)
}

#[tokio::test]
async fn the_first_definitions_are_enough_to_scale_and_what_lacks_is_said() -> Result<()> {
    let cluster = cluster().await?;
    let folder = fresh_folder("first")?;
    let first = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/crd/first.tgz");
    Program::new("tar").args(["-xzf", first]).in_folder(&folder).run().await?;
    define(&cluster, &folder.join("definitions").display().to_string()).await?;
    let scene = scene(&cluster, "first").await?;
    let broker = shared::broker().await?;
    scene.deployment("worker", 0).await?;
    there_and_back(&scene, broker, json!({"name": "worker"})).await?;

    let log = scene.daemon.process().log()?;
    for kind in ["capacity pools", "capacity budgets"] {
        let is_said = |line: &str| line.contains(kind) && line.contains("done without");
        ensure!(log.lines().any(is_said), "nothing is said of {kind}: {log}");
    }
    let said = check(cluster.kubeconfig(), &["--timeout", "5", "-o", "json"]).await?;
    for kind in ["capacitypools", "capacitybudgets"] {
        let (grade, words) = said.of(&format!("definition {kind}.penstock.dev"))?;
        ensure!(grade == "Bad" && words == "it is not there", "{kind}: {grade}, {words}");
    }
    let (grade, words) = said.of("definition scaledpipelines.penstock.dev")?;
    ensure!(grade == "Note" && words.starts_with("another version's"), "{grade}, {words}");
    // And it goes on to the pipelines.
    said.of(&format!("{}/worker", scene.namespace))?;

    // Older still: of what is told the API server keeps the conditions and the time.
    forget(&cluster, &["conditions", "observedAt"]).await?;
    scene.deployment("other", 0).await?;
    there_and_back(&scene, broker, json!({"name": "other"})).await?;
    let known = pipeline(&cluster, &scene, "other").await?;
    let fields = known["status"].as_object().context("no status")?;
    ensure!(fields.keys().all(|it| it == "conditions" || it == "observedAt"), "{fields:?}");
    // What is dropped is not written again and again.
    let mut requests = cluster.requests()?;
    scene.until_read("other", 8).await?;
    let requests = requests.take()?;
    let of_status = |verb: &str| {
        requests.iter().filter(|it| it.subresource == "status" && it.verb == verb).count()
    };
    // Both pipelines may fall asleep meanwhile, and say so.
    ensure!(of_status("patch") <= 4, "{} writes while nothing happens", of_status("patch"));
    // And what is not there is not asked for all the time.
    let asked = requests.iter().filter(|it| it.uri.contains("/capacity")).count();
    ensure!(asked <= 4, "{asked} requests for kinds that are not defined");
    ensure!(scene.daemon.stop().await?.success());
    Ok(())
}

/// Has the definition of pipelines know these fields of the status alone.
async fn forget(cluster: &Cluster, kept: &[&str]) -> Result<()> {
    let name = "scaledpipelines.penstock.dev";
    let text = cluster.kubectl(&["get", "crd", name, "-o", "json"]).await?;
    let mut definition: Value = serde_json::from_str(&text)?;
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let fields = schema["properties"]["status"]["properties"].as_object_mut();
    fields.context("no status")?.retain(|field, _| kept.contains(&&**field));
    // Columns of what is gone show nothing.
    let file = fresh_folder("older")?.join("definition.json");
    std::fs::write(&file, definition.to_string())?;
    cluster.kubectl(&["replace", "-f", &file.display().to_string()]).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_later_version_adds_is_kept_and_stops_nobody() -> Result<()> {
    let cluster = cluster().await?;
    let file = fresh_folder("later")?.join("definitions.json");
    std::fs::write(&file, later()?.to_string())?;
    define(&cluster, &file.display().to_string()).await?;
    let scene = scene(&cluster, "later").await?;
    let broker = shared::broker().await?;
    let topic = &scene.namespace;
    broker.topic(topic, 24).await?;
    for name in ["worker", "advised"] {
        scene.deployment(name, 1).await?;
    }
    let stage = |target: &str| {
        json!({
            "name": "work", "target": {"name": target}, "replicas": {"max": 48}, "turbo": {"boost": 2},
            "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 100, "offsetReset": "Earliest"}))],
        })
    };
    scene.pipeline("orders", stage("worker")).await?;
    for (subresource, patch) in [
        ("", json!({"spec": {"tint": "teal"}})),
        ("--subresource=status", json!({"status": {"weather": "fair"}})),
    ] {
        let patch = patch.to_string();
        let mut words = vec!["-n", topic, "patch", "spl", "orders", "--type=merge", "-p", &patch];
        words.extend(Some(subresource).filter(|word| !word.is_empty()));
        cluster.kubectl(&words).await?;
    }
    // One that asks for what this version has not, and a pool that is of no class it knows.
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "advised"},
            "spec": {"mode": "Advise", "stages": [stage("advised")]},
        }))
        .await?;
    let pool = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "lent"},
        "spec": {"class": "Borrowed", "nodeSelector": {"kubernetes.io/os": "linux"}},
    });
    cluster.apply(topic, &pool.to_string()).await?;
    let refused = ["-n", topic, "wait", "--for=condition=Ready=False", "--timeout=60s"];
    cluster.kubectl(&[&refused[..], &["spl/advised"]].concat()).await?;
    let said = pipeline(&cluster, &scene, "advised").await?["status"].to_string();
    ensure!(said.contains("cannot be read by this version") && said.contains("Advise"), "{said}");

    // All others go on, and lose nothing.
    scene.after_a_poll("orders").await?;
    broker.send(topic, None, 2_400).await?;
    let moves = scene.until_moved(("worker", 1, 24), SOON).await?;
    ensure!(moves.last() == Some(&24), "{moves:?}");
    scene
        .until("the status to tell of it", SOON, async || {
            let orders = pipeline(&cluster, &scene, "orders").await?;
            let status = &orders["status"];
            ensure!(status["stages"][0]["desired"] == 24, "{status}");
            ensure!(status["weather"] == "fair", "the status lost something: {status}");
            let spec = &orders["spec"];
            let is_whole = spec["tint"] == "teal" && spec["stages"][0]["turbo"]["boost"] == 2;
            ensure!(is_whole, "the spec lost something: {spec}");
            Ok(Some(()))
        })
        .await?;
    scene.until_condition("orders", ("Ready", "True", ""), SOON).await?;
    ensure!(scene.moves("advised", 1)?.is_empty(), "{:?}", scene.moves("advised", 1)?);
    let log = scene.daemon.process().log()?;
    let is_said = |line: &str| line.contains("lent") && line.contains("cannot be read");
    ensure!(log.lines().any(is_said), "nothing is said of the pool: {log}");
    ensure!(scene.daemon.stop().await?.success());
    Ok(())
}

/// Our definitions with what a later version might have: fields in spec and status, values of enums.
fn later() -> Result<Value> {
    let mut definitions = Vec::new();
    for definition in penstock::crd::all() {
        let mut definition = serde_json::to_value(definition)?;
        let kind = definition["spec"]["names"]["kind"].clone();
        let known =
            &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        if kind == "ScaledPipeline" {
            let spec = &mut known["spec"]["properties"];
            spec["tint"] = json!({"type": "string"});
            let turbo = json!({"type": "object", "properties": {"boost": {"type": "integer"}}});
            spec["stages"]["items"]["properties"]["turbo"] = turbo;
            add(&mut spec["mode"], "Advise")?;
            known["status"]["properties"]["weather"] = json!({"type": "string"});
        }
        if kind == "CapacityPool" {
            add(&mut known["spec"]["properties"]["class"], "Borrowed")?;
        }
        definitions.push(definition);
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": definitions}))
}

fn add(field: &mut Value, value: &str) -> Result<()> {
    field["enum"].as_array_mut().context("no enum")?.push(value.into());
    Ok(())
}
