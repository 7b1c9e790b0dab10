//! The kinds on real API servers, the newest and the oldest: the definitions are taken whole, the contract's manifests are
//! accepted, and each rule refuses with the words that `penstock validate` says.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::manifests::{
    self, BUDGET, CLUSTER_CONNECTION, CONNECTION, EVERYTHING, PIPELINE, POOL, put, yaml,
};
use crate::rig::{Cluster, shared, until};

const WAIT: std::time::Duration = std::time::Duration::from_mins(1);

#[tokio::test]
async fn the_newest_api_server_takes_the_kinds_and_refuses_in_the_words_of_validate() -> Result<()>
{
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    accepts(cluster).await?;
    refuses(cluster, str::to_owned).await
}

#[tokio::test]
async fn the_oldest_api_server_takes_the_kinds_and_refuses_in_the_same_words() -> Result<()> {
    let cluster = shared::oldest_cluster().await?;
    install(cluster).await?;
    accepts(cluster).await?;
    refuses(cluster, without_value).await
}

#[tokio::test]
async fn kubectl_lists_explains_and_shows_what_the_contract_says() -> Result<()> {
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    let namespace = cluster.namespace("columns").await?;
    let shortest = PIPELINE.replace("namespace: shop", &format!("namespace: {namespace}"));
    cluster.apply(&namespace, &shortest).await?;
    // What is defaulted, and nothing else.
    let kept = cluster.kubectl(&["-n", &namespace, "get", "spl", "orders", "-o", "json"]).await?;
    let kept: Value = serde_json::from_str(&kept)?;
    let mut meant = yaml(&shortest);
    put(&mut meant, "/spec/mode", &json!("Enforce"));
    put(&mut meant, "/spec/stages/0/target/apiVersion", &json!("apps/v1"));
    put(&mut meant, "/spec/stages/0/sources/0/kafka/offsetReset", &json!("Latest"));
    ensure!(kept["spec"] == meant["spec"], "{}", kept["spec"]);
    let status = json!({"status": {
        "observedGeneration": 3, "observedAt": "2026-11-21T08:00:00Z", "stageCount": 4, "bottleneck": "enrich", "delay": "41s",
        "replicas": {"desired": 31, "ready": 27},
        "conditions": [{
            "type": "ObjectiveMet", "status": "True", "reason": "WithinObjective", "message": "all stages keep it",
            "lastTransitionTime": "2026-11-21T08:00:00Z", "observedGeneration": 3,
        }],
        "stages": [{
            "name": "enrich", "desired": 7, "current": 4, "ready": 4, "lag": 182_000, "delay": "41s", "objective": "30s",
            "reason": {"code": "CatchUp", "message": "a sentence"},
            "held": {"replicas": 12, "since": "2026-11-21T08:00:00Z"},
            "learned": {"ratePerReplica": 48.2, "startup": "38s", "rebalance": "4s"},
        }],
    }});
    let patch = status.to_string();
    let patch = [
        "-n",
        &namespace,
        "patch",
        "spl",
        "orders",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl(&patch).await?;
    let after = cluster.kubectl(&["-n", &namespace, "get", "spl", "orders", "-o", "json"]).await?;
    let after: Value = serde_json::from_str(&after)?;
    ensure!(after["status"] == status["status"], "pruned: {}", after["status"]);
    let table = cluster.kubectl(&["-n", &namespace, "get", "spl"]).await?;
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    ensure!(
        rows[0]
            == [
                "NAME",
                "MODE",
                "STAGES",
                "BOTTLENECK",
                "DELAY",
                "DESIRED",
                "READY",
                "OBJECTIVEMET",
                "AGE"
            ],
        "{table}"
    );
    ensure!(
        rows[1][..8] == ["orders", "Enforce", "4", "enrich", "41s", "31", "27", "True"],
        "{table}"
    );
    let category = cluster.kubectl(&["-n", &namespace, "get", "penstock", "-o", "name"]).await?;
    ensure!(category.contains("scaledpipeline.penstock.dev/orders"), "{category}");
    let manual = cluster.kubectl(&["explain", "spl.spec.stages.fallback.policy"]).await?;
    ensure!(manual.contains("AtLeast: no fewer than replicas."), "{manual}");
    Ok(())
}

/// Applies the definitions as people do, and waits until they are served.
pub(crate) async fn install(cluster: &Cluster) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(cluster.client().await?);
    for crd in penstock::crd::all() {
        let name = crd.name_any();
        api.patch(&name, &PatchParams::apply("penstock").force(), &Patch::Apply(&crd))
            .await
            .with_context(|| format!("apply {name}"))?;
        until(&format!("{name} to be served"), WAIT, async || {
            let found = api.get(&name).await?;
            let conditions =
                found.status.into_iter().flat_map(|status| status.conditions.unwrap_or_default());
            let is = |kind: &str| {
                conditions.clone().any(|found| found.type_ == kind && found.status == "True")
            };
            Ok(is("Established").then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// What the contract shows is taken by the API server, with no unknown field.
async fn accepts(cluster: &Cluster) -> Result<()> {
    let client = cluster.client().await?;
    let namespace = cluster.namespace("accepted").await?;
    for text in [PIPELINE, EVERYTHING, CONNECTION, CLUSTER_CONNECTION, POOL, BUDGET] {
        let manifest = yaml(text);
        if let Some(said) = refusal(&client, &namespace, &manifest).await? {
            bail!("{} {} is refused: {said:#?}", manifest["kind"], manifest["metadata"]["name"]);
        }
    }
    Ok(())
}

/// Every case is refused with its words, read the way this server says them.
async fn refuses(cluster: &Cluster, read: impl Fn(&str) -> String) -> Result<()> {
    let client = cluster.client().await?;
    let namespace = cluster.namespace("refused").await?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in manifests::cases() {
        let said = refusal(&client, &namespace, &case.manifest()).await?.unwrap_or_default();
        let said = sorted(said.iter().map(|line| read(line)));
        let meant = sorted(case.says.iter().map(|line| read(line)));
        if said != meant {
            wrong.push(format!("{}\n  server: {said:#?}\n  kept:   {meant:#?}", case.title));
        }
        count += 1;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(count > 100, "only {count} cases were tried");
    Ok(())
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// What the API server says when it is asked to make an object; `None` when it would. Nothing is made.
async fn refusal(
    client: &Client,
    namespace: &str,
    manifest: &Value,
) -> Result<Option<Vec<String>>> {
    let mut manifest = manifest.clone();
    let (scope, plural) = match manifest["kind"].as_str() {
        Some("ClusterConnection") => (String::new(), "clusterconnections"),
        Some("CapacityPool") => (String::new(), "capacitypools"),
        Some("CapacityBudget") => (String::new(), "capacitybudgets"),
        Some("Connection") => (format!("namespaces/{namespace}/"), "connections"),
        _ => (format!("namespaces/{namespace}/"), "scaledpipelines"),
    };
    if !scope.is_empty() {
        put(&mut manifest, "/metadata/namespace", &json!(namespace));
    }
    let path =
        format!("/apis/penstock.dev/v1alpha1/{scope}{plural}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&manifest)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.reason == "Invalid" => {
            let details = status.details.clone().context("the refusal has no details")?;
            let line = |cause: &kube::core::response::StatusCause| {
                format!("{}: {}", cause.field, cause.message)
            };
            Ok(Some(details.causes.iter().map(line).collect()))
        }
        Err(kube::Error::Api(status)) => {
            let (_, unknown) = status
                .message
                .split_once("strict decoding error: ")
                .with_context(|| format!("refused in another way: {}", status.message))?;
            Ok(Some(vec![unknown.to_owned()]))
        }
        Err(error) => Err(error).context("ask the API server"),
    }
}

/// The line without the value it shows: 1.33 shows the type of an object or list where 1.36 shows nothing, and prints keys of
/// lists as Go does.
fn without_value(line: &str) -> String {
    let line = line.replace("map[string]interface {}", "");
    let Some((field, rest)) = line.split_once(": Invalid value: ") else { return line };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let words = match values.next() {
        Some(Ok(_)) => rest[values.byte_offset()..].trim_start_matches(": "),
        Some(Err(_)) | None => rest,
    };
    format!("{field}: {words}")
}
