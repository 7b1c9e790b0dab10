//! Who may point Penstock at what: the admission policy of the chart on a real API server. Who may write pipelines and nothing else is
//! refused with the right he lacks; who may scale the targets himself is not; and the API server's budget for such questions is never used up.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{helm_on, path, restricted};
use crate::rig::{Cluster, ClusterOptions, Kubernetes, fresh_folder, kubectl, until};
use crate::scene::SOON;

/// A cluster with the chart and its policy, in force.
async fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_try_init(async || {
            let cluster = Cluster::start(Kubernetes::V1_36, ClusterOptions::default()).await?;
            restricted(&cluster, "penstock").await?;
            restricted(&cluster, "shop").await?;
            let chart = path("charts/penstock").display().to_string();
            let sets = "levers[0].apiGroup=flink.apache.org,levers[0].resource=flinkdeployments,admissionPolicy.plurals.example\\.com/Gateway=gatewayz";
            helm_on(&cluster, &["install", "penstock", &chart, "-n", "penstock", "--set", sets]).await?;
            cluster.served(&["crd/scaledpipelines.penstock.dev"]).await?;
            // The API server learns of a policy when it looks.
            let nobody = user(&cluster, "nobody", &[]).await?;
            until("the policy to be in force", SOON, async || {
                let said = tries(&nobody, &pipeline(&[deployment("x")])).await?;
                Ok(said.is_some_and(|said| said.contains("ValidatingAdmissionPolicy")).then_some(()))
            })
            .await?;
            Ok(cluster)
        })
        .await
}

/// Someone who may write pipelines, and what else these rules say: verb, group, resource, and a name or none.
async fn user(cluster: &Cluster, name: &str, more: &[(&str, &str, &str, &str)]) -> Result<PathBuf> {
    let rule = |verbs: &[&str], group: &str, resource: &str, names: Vec<String>| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        resource_names: (!names.is_empty()).then_some(names),
        ..PolicyRule::default()
    };
    let mut rules = vec![rule(
        &["get", "create", "update", "patch"],
        "penstock.dev",
        "scaledpipelines",
        Vec::new(),
    )];
    rules.extend(more.iter().map(|(verb, group, resource, names)| {
        let names = names.split_whitespace().map(str::to_owned).collect();
        rule(&[verb], group, resource, names)
    }));
    cluster.user(name, rules).await
}

/// What the API server says to a user who would create this; `None` when it takes it. Nothing stays.
async fn tries(user: &Path, object: &Value) -> Result<Option<String>> {
    let file = fresh_folder("tried")?.join("object.json");
    std::fs::write(&file, object.to_string())?;
    let file = file.display().to_string();
    let create = ["create", "--dry-run=server", "--validate=false", "-n", "shop", "-f", &file];
    Ok(kubectl(user)?.args(create).run().await.err().map(|error| format!("{error:#}")))
}

async fn allowed(user: &Path, workloads: &[Value]) -> Result<()> {
    let said = tries(user, &pipeline(workloads)).await?;
    ensure!(said.is_none(), "{}: refused: {}", user.display(), said.unwrap_or_default());
    Ok(())
}

async fn refused(user: &Path, workloads: &[Value], words: &str) -> Result<()> {
    let said = tries(user, &pipeline(workloads)).await?.unwrap_or_default();
    ensure!(said.contains(words), "{}: not refused with {words:?} but: {said}", user.display());
    ensure!(!said.contains("budget"), "the budget was used up: {said}");
    Ok(())
}

/// A pipeline of stages with these workloads: `target`, `lanes` or `jobs`.
fn pipeline(workloads: &[Value]) -> Value {
    let stage = |(at, workload): (usize, &Value)| {
        let mut stage = json!({
            "name": format!("s{at}"), "replicas": {"max": 3},
            "sources": [{"name": "q", "kafka": {"bootstrapServers": "kafka:9092", "topics": ["t"], "group": "g"}}],
        });
        if let (Value::Object(stage), Value::Object(workload)) = (&mut stage, workload) {
            stage.extend(workload.clone());
        }
        stage
    };
    let stages: Vec<_> = workloads.iter().enumerate().map(stage).collect();
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": "orders"}, "spec": {"stages": stages},
    })
}

fn target(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"target": {"apiVersion": api_version, "kind": kind, "name": name}})
}

fn deployment(name: &str) -> Value {
    json!({"target": {"name": name}})
}

#[tokio::test]
async fn who_may_not_scale_a_target_may_not_point_penstock_at_it() -> Result<()> {
    let cluster = cluster().await?;
    let writer = user(cluster, "writer", &[]).await?;
    let words = "writer may not patch deployments/scale of apps named enrich in shop, so he may not let Penstock do it";
    refused(&writer, &[deployment("enrich")], words).await?;
    // One who may scale all Deployments; one who may scale this one; one who may update it, as kubectl scale did.
    for (name, more) in [
        ("mover", ("patch", "apps", "deployments/scale", "")),
        ("steward", ("patch", "apps", "deployments/scale", "enrich")),
        ("updater", ("update", "apps", "deployments/scale", "enrich")),
        ("wide", ("patch", "*", "*/scale", "")),
    ] {
        let user = user(cluster, name, &[more]).await?;
        allowed(&user, &[deployment("enrich")]).await?;
        if !["mover", "wide"].contains(&name) {
            let words = format!("{name} may not patch deployments/scale of apps named other");
            refused(&user, &[deployment("enrich"), deployment("other")], &words).await?;
        }
    }
    // The right on the Deployment itself is none on its scale, and one in another group none here.
    let near = user(
        cluster,
        "near",
        &[("patch", "apps", "deployments", ""), ("patch", "example.com", "deployments/scale", "")],
    )
    .await?;
    refused(&near, &[deployment("enrich")], "near may not patch deployments/scale").await?;
    Ok(())
}

#[tokio::test]
async fn lanes_jobs_and_custom_kinds_are_asked_alike() -> Result<()> {
    let cluster = cluster().await?;
    let mover = user(cluster, "lanes-mover", &[("patch", "apps", "deployments/scale", "")]).await?;
    let lanes = |second: Value| {
        json!({"lanes": [
            {"pool": "steady", "base": 1, "target": {"name": "sink"}},
            {"pool": "spot", "target": second},
        ]})
    };
    allowed(&mover, &[lanes(json!({"name": "sink-spot"}))]).await?;
    let set = lanes(json!({"kind": "StatefulSet", "name": "sink-spot"}));
    refused(&mover, &[set], "may not patch statefulsets/scale of apps named sink-spot").await?;

    let jobs = json!({"jobs": {"templateRef": {"name": "backfill"}}});
    refused(&mover, std::slice::from_ref(&jobs), "lanes-mover may not create Jobs in shop").await?;
    let maker = user(cluster, "maker", &[("create", "batch", "jobs", "")]).await?;
    allowed(&maker, &[jobs]).await?;

    // By a plural that the chart knows by itself.
    let vertex = target("numaflow.numaproj.io/v1alpha1", "MonoVertex", "one");
    refused(&mover, &[vertex], "monovertices/scale of numaflow.numaproj.io named one").await?;

    for (kind, plural) in
        [("Gear", "gears"), ("Proxy", "proxies"), ("Bus", "buses"), ("Gateway", "gatewayz")]
    {
        let stage = target("example.com/v1", kind, "one");
        refused(
            &mover,
            std::slice::from_ref(&stage),
            &format!("may not patch {plural}/scale of example.com named one"),
        )
        .await?;
        let owner = user(
            cluster,
            &format!("owner-{plural}"),
            &[("patch", "example.com", &format!("{plural}/scale"), "one")],
        )
        .await?;
        allowed(&owner, &[stage]).await?;
    }
    // What is moved by a field of the object is patched itself; a right on a scale that it has not is none.
    for (version, kind, group, plural) in [
        ("flink.apache.org/v1beta1", "FlinkDeployment", "flink.apache.org", "flinkdeployments"),
        ("v1", "ConfigMap", "", "configmaps"),
        ("v1", "Namespace", "", "namespaces"),
    ] {
        let mut stage = target(version, kind, "one");
        if kind == "ConfigMap" {
            stage["target"]["part"] = json!("limit");
        }
        let scaler = user(
            cluster,
            &format!("scaler-{plural}"),
            &[("patch", group, &format!("{plural}/scale"), "")],
        )
        .await?;
        refused(&scaler, std::slice::from_ref(&stage), &format!("may not patch {plural}")).await?;
        let owner =
            user(cluster, &format!("holder-{plural}"), &[("patch", group, plural, "one")]).await?;
        allowed(&owner, &[stage]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_spec_or_annotation_is_asked_and_a_label_is_not() -> Result<()> {
    let cluster = cluster().await?;
    let mut object = pipeline(&[deployment("enrich")]);
    object["metadata"]["name"] = json!("standing");
    object["metadata"]["annotations"] = json!({"penstock.dev/paused": "true"});
    cluster.apply("shop", &object.to_string()).await?;
    let writer = user(cluster, "changer", &[]).await?;
    let mover =
        user(cluster, "changing-mover", &[("patch", "apps", "deployments/scale", "")]).await?;
    let change = async |user: &Path, arguments: &[&str]| -> Result<String> {
        let all = [arguments, &["-n", "shop", "--dry-run=server"][..]].concat();
        Ok(kubectl(user)?
            .args(all)
            .run()
            .await
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default())
    };
    let harmless: &[&[&str]] = &[
        &["label", "spl", "standing", "team=data"],
        &["annotate", "spl", "standing", "example.com/note=hello"],
    ];
    for arguments in harmless {
        let said = change(&writer, arguments).await?;
        ensure!(said.is_empty(), "{arguments:?}: {said}");
    }
    let moving: &[&[&str]] = &[
        &["annotate", "spl", "standing", "penstock.dev/paused-replicas=0"],
        &["annotate", "spl", "standing", "penstock.dev/paused-"],
        &["annotate", "--overwrite", "spl", "standing", "penstock.dev/paused=false"],
        &[
            "patch",
            "spl",
            "standing",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/stages/0/replicas/max","value":9}]"#,
        ],
    ];
    for arguments in moving {
        let said = change(&writer, arguments).await?;
        ensure!(said.contains("changer may not patch deployments/scale"), "{arguments:?}: {said}");
        let said = change(&mover, arguments).await?;
        ensure!(said.is_empty(), "{arguments:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn the_largest_pipelines_are_within_the_budget_of_questions() -> Result<()> {
    let cluster = cluster().await?;
    let admin = cluster.kubeconfig().to_owned();
    let many =
        |count: usize, stage: &dyn Fn(usize) -> Value| (0..count).map(stage).collect::<Vec<_>>();
    let gears = |at: usize| target("example.com/v1", "Gear", &format!("gear-{at}"));
    let deployments = |at: usize| deployment(&format!("worker-{at}"));
    // The administrator may all, and who may scale all Deployments has as many stages as there may be.
    allowed(&admin, &many(32, &gears)).await?;
    let mover =
        user(cluster, "mover-of-many", &[("patch", "apps", "deployments/scale", "")]).await?;
    allowed(&mover, &many(32, &deployments)).await?;
    // Name by name ten at most, even when the second question is what lets him; and refusals say what they are.
    let owner =
        user(cluster, "owner-of-many", &[("update", "example.com", "gears/scale", "")]).await?;
    allowed(&owner, &many(10, &gears)).await?;
    refused(&owner, &many(11, &gears), "10 of the first 32 at most are looked at by name").await?;
    let writer = user(cluster, "writer-of-many", &[]).await?;
    refused(&writer, &many(10, &gears), "may not patch gears/scale of example.com named gear-0")
        .await?;
    refused(&writer, &many(32, &deployments), "10 of the first 32 at most are looked at by name")
        .await?;
    Ok(())
}
