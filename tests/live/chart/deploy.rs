//! What lies in `deploy`: written from the chart and the Lua as `make chart` would, built by the real Kustomize and taken by a real API server;
//! Argo CD's health and actions run by the Lua that Argo CD runs, Flux's expressions in its order, on statuses of every kind.

use anyhow::{Context, Result, ensure};
use kube_cel::cel::objects::Value as Cel;
use kube_cel::cel::{Context as Terms, Program as Expression};
use serde_json::{Value, json};

use super::{documents, file, path, restricted};
use crate::rig::{Program, fresh_folder, shared, tool};

#[tokio::test]
async fn what_is_rendered_is_fresh() -> Result<()> {
    let folder = fresh_folder("rendered")?;
    let render = Program::new(path("deploy/render")).arg(folder.display().to_string());
    render.env("HELM", tool("helm/helm")?.display().to_string()).run().await?;
    for name in [
        "base/penstock.yaml",
        "overlays/namespaced/penstock.yaml",
        "overlays/monitoring/monitoring.yaml",
        "argocd/argocd-cm.yaml",
    ] {
        let fresh = std::fs::read_to_string(folder.join(name))?;
        ensure!(
            fresh == file(&format!("deploy/{name}"))?,
            "deploy/{name} is stale; hint: make chart"
        );
    }
    Ok(())
}

#[tokio::test]
async fn kustomize_builds_each_overlay_and_an_api_server_takes_it() -> Result<()> {
    let cluster = shared::cluster().await?;
    restricted(cluster, "penstock").await?;
    let folder = fresh_folder("built")?;
    let mut built = 0;
    let mut overlays = vec![path("deploy/base")];
    for entry in std::fs::read_dir(path("deploy/overlays"))? {
        overlays.push(entry?.path());
    }
    for overlay in overlays {
        let name = overlay.file_name().context("no name")?.to_string_lossy().into_owned();
        let text = cluster.kubectl(&["kustomize", &overlay.display().to_string()]).await?;
        expect(&name, &documents(&text)?)?;
        // Its namespace is not in question here, and may be another test's; and kinds of the Prometheus operator are not served.
        let text = text.replace("namespace: shop", "namespace: penstock");
        let is_served = |part: &&str| !part.contains("apiVersion: monitoring.coreos.com/");
        let text = text.split("\n---\n").filter(is_served).collect::<Vec<_>>().join("\n---\n");
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, text)?;
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
        ];
        let file = file.display().to_string();
        cluster.kubectl(&[&apply[..], &["-f", &file]].concat()).await.with_context(|| name)?;
        built += 1;
    }
    ensure!(built >= 5, "{built} were built");
    Ok(())
}

/// What an overlay is for.
fn expect(name: &str, objects: &[Value]) -> Result<()> {
    let of =
        |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let definitions = of("CustomResourceDefinition");
    ensure!(definitions.len() == 5, "{name}: {} definitions", definitions.len());
    let daemons = of("Deployment");
    let daemon = &daemons.first().context("no Deployment")?["spec"];
    let pod = &daemon["template"]["spec"];
    ensure!(of("ClusterRole").is_empty() == (name == "namespaced"), "{name}: its ClusterRoles");
    let image = pod["containers"][0]["image"].as_str().unwrap_or_default();
    ensure!(
        (image == "registry.example.com/penstock:0.1.0") == (name == "registry"),
        "{name}: {image}"
    );
    let is_ha = daemon["replicas"] == 3
        && pod["priorityClassName"] == "system-cluster-critical"
        && pod["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
        && pod["topologySpreadConstraints"][0]["topologyKey"] == "topology.kubernetes.io/zone";
    ensure!(is_ha == (name == "ha"), "{name}: {daemon}");
    let monitors = of("PodMonitor");
    ensure!((monitors.len() == 1) == (name == "monitoring"), "{name}: {} monitors", monitors.len());
    for monitor in monitors {
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().context("no labels")?;
        let labels = &daemon["template"]["metadata"]["labels"];
        ensure!(
            wanted.iter().all(|(key, value)| labels[key] == *value),
            "it finds no pod: {wanted:?}"
        );
        let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
        let ports = pod["containers"][0]["ports"].as_array().context("no ports")?;
        ensure!(ports.iter().any(|it| it["name"] == *port), "no port {port}");
        ensure!(of("PrometheusRule").len() == 1, "no alerts");
    }
    for definition in definitions {
        let options = &definition["metadata"]["annotations"]["argocd.argoproj.io/sync-options"];
        ensure!(
            (options == "ServerSideApply=true,Prune=false") == (name == "argocd"),
            "{name}: {options}"
        );
    }
    let text = serde_json::to_string(objects)?;
    ensure!(!text.contains("Helm") && !text.contains("helm.sh"), "{name} speaks of Helm");
    Ok(())
}

/// A pipeline with these conditions, `TYPE=STATUS`, seen at its generation.
fn seen(conditions: &[&str]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .filter_map(|condition| condition.split_once('='))
        .map(|(kind, status)| json!({"type": kind, "status": status, "reason": format!("{kind}Is{status}"), "message": "said so"}))
        .collect();
    json!({
        "metadata": {"name": "orders", "generation": 3, "annotations": {"penstock.dev/other": "kept"}},
        "status": {"observedGeneration": 3, "conditions": conditions},
    })
}

/// Objects, with what Argo CD and Flux shall say of them.
fn cases() -> Vec<(Value, &'static str, &'static str)> {
    const FINE: &[&str] = &[
        "Ready=True",
        "Active=True",
        "Paused=False",
        "Fallback=False",
        "ObjectiveMet=True",
        "CapacityShort=False",
        "WriterConflict=False",
        "Reconciling=False",
        "Stalled=False",
    ];
    let but = |changed: &[&'static str]| {
        let kind_of = |condition: &str| condition.split('=').next().unwrap_or_default().to_owned();
        let mut all: Vec<_> = FINE.to_vec();
        all.retain(|old| changed.iter().all(|new| kind_of(new) != kind_of(old)));
        all.extend(changed);
        seen(&all)
    };
    let mut behind = but(&[]);
    behind["metadata"]["generation"] = json!(4);
    let mut unwritten = but(&[]);
    unwritten["status"] = json!({});
    vec![
        (but(&[]), "Healthy", "Current"),
        (behind, "Progressing", "InProgress"),
        (unwritten, "Progressing", "InProgress"),
        (but(&["Ready=Unknown", "Reconciling=True"]), "Progressing", "InProgress"),
        (but(&["Ready=False"]), "Degraded", "Failed"),
        (but(&["Ready=False", "Stalled=True"]), "Degraded", "Failed"),
        (but(&["WriterConflict=True"]), "Degraded", "Failed"),
        (but(&["Fallback=True"]), "Degraded", "Current"),
        (but(&["Paused=True"]), "Suspended", "Current"),
        (but(&["Paused=True", "Ready=False"]), "Degraded", "Failed"),
        (but(&["Active=False"]), "Healthy", "Current"),
        (but(&["ObjectiveMet=False"]), "Healthy", "Current"),
        (but(&["ObjectiveMet=Unknown"]), "Healthy", "Current"),
        (but(&["CapacityShort=True"]), "Healthy", "Current"),
        (seen(&[]), "Progressing", "InProgress"),
    ]
}

#[tokio::test]
async fn argo_cd_sees_the_health_of_every_status() -> Result<()> {
    for (object, argo, _) in cases() {
        let (status, message) = health(&object).await?;
        ensure!(status == argo, "{status}, not {argo}, for {object}");
        ensure!(!message.is_empty(), "no message for {object}");
    }
    let late = seen(&["Ready=True", "ObjectiveMet=False"]);
    ensure!(health(&late).await?.1 == "ObjectiveMetIsFalse: said so");
    // Before anything was written at all.
    let (status, message) = health(&json!({"metadata": {"name": "orders"}})).await?;
    ensure!(status == "Progressing" && message.contains("not looked"), "{status}: {message}");
    Ok(())
}

#[test]
fn flux_sees_the_health_of_every_status() -> Result<()> {
    let kustomization = documents(&file("deploy/flux/workloads.yaml")?)?;
    let expressions = &kustomization[0]["spec"]["healthCheckExprs"][0];
    let is = |name: &str, object: &Value| -> Result<bool> {
        let text = expressions[name].as_str().context("no such expression")?;
        let mut terms = Terms::default();
        for field in ["metadata", "status"] {
            terms
                .add_variable(field, object[field].clone())
                .map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        let value = Expression::compile(text)
            .map_err(|error| anyhow::anyhow!("{text}: {error}"))?
            .execute(&terms);
        match value {
            Ok(Cel::Bool(is)) => Ok(is),
            other => anyhow::bail!("{text} is {other:?} for {object}"),
        }
    };
    for (object, _, flux) in cases() {
        // Its controller's order: a generation that was not seen, then these, and none of them is in progress, too.
        let is_behind = object["status"]["observedGeneration"]
            .as_i64()
            .is_some_and(|seen| object["metadata"]["generation"] != seen);
        let said = if is_behind || is("inProgress", &object)? {
            "InProgress"
        } else if is("failed", &object)? {
            "Failed"
        } else if is("current", &object)? {
            "Current"
        } else {
            "InProgress"
        };
        ensure!(said == flux, "{said}, not {flux}, for {object}");
    }
    Ok(())
}

#[tokio::test]
async fn the_actions_of_argo_cd_set_and_take_back_what_penstock_reads() -> Result<()> {
    let plain = seen(&["Ready=True"]);
    let names = actions()?.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    ensure!(names == ["pause", "pause-at", "pause-scale-in", "resume"], "{names:?}");
    ensure!(offered(&plain).await? == ["pause", "pause-at", "pause-scale-in"]);
    for (action, replicas, annotation, value, then) in [
        ("pause", None, "penstock.dev/paused", "true", &["resume"][..]),
        (
            "pause-at",
            Some("parse=3,enrich=0"),
            "penstock.dev/paused-replicas",
            "parse=3,enrich=0",
            &["pause-at", "resume"],
        ),
        (
            "pause-scale-in",
            None,
            "penstock.dev/paused-scale-in",
            "true",
            &["pause", "pause-at", "resume"],
        ),
    ] {
        let after = acted(action, &plain, replicas).await?;
        let annotations = &after["metadata"]["annotations"];
        ensure!(annotations[annotation] == value, "{action}: {annotations}");
        ensure!(
            annotations["penstock.dev/other"] == "kept",
            "{action} took something away: {annotations}"
        );
        ensure!(offered(&after).await? == then, "after {action}: {:?}", offered(&after).await?);
        let back = acted("resume", &after, None).await?;
        ensure!(back["metadata"] == plain["metadata"], "{}", back["metadata"]);
    }
    let bare = acted("pause", &json!({"metadata": {"name": "orders"}}), None).await?;
    ensure!(bare["metadata"]["annotations"]["penstock.dev/paused"] == "true", "{bare}");
    let refused = acted("pause-at", &plain, None).await.err().context("no number is taken")?;
    ensure!(format!("{refused:#}").contains("replicas are missing"), "{refused:#}");
    Ok(())
}

/// The Lua of a customization, as Argo CD reads it from its `ConfigMap`.
fn customization(what: &str) -> Result<String> {
    let map = documents(&file("deploy/argocd/argocd-cm.yaml")?)?;
    let key = format!("resource.customizations.{what}.penstock.dev_ScaledPipeline");
    Ok(map[0]["data"][key].as_str().context("no such customization")?.to_owned())
}

/// The actions by name, with their Lua.
fn actions() -> Result<Vec<(String, String)>> {
    let text: Value = serde_saphyr::from_str(&customization("actions")?)?;
    let all = text["definitions"].as_array().context("no definitions")?.clone();
    let word = |action: &Value, field: &str| {
        action[field].as_str().map(str::to_owned).context("an action lacks a word")
    };
    all.iter().map(|action| Ok((word(action, "name")?, word(action, "action.lua")?))).collect()
}

/// Status and message of an object's health.
pub(super) async fn health(object: &Value) -> Result<(String, String)> {
    let said =
        lua(object, None, &customization("health")?, "print(said.status .. '\\t' .. said.message)")
            .await?;
    let (status, message) = said.trim_end().split_once('\t').context("no health")?;
    Ok((status.to_owned(), message.to_owned()))
}

/// The actions that may be clicked, in the order of the alphabet.
async fn offered(object: &Value) -> Result<Vec<String>> {
    let text: Value = serde_saphyr::from_str(&customization("actions")?)?;
    let discovery = text["discovery.lua"].as_str().context("no discovery")?;
    let print =
        "for name, action in pairs(said) do if not action.disabled then print(name) end end";
    let said = lua(object, None, discovery, print).await?;
    let mut names: Vec<_> = said.lines().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// The object after an action; of it only the annotations can have changed.
async fn acted(action: &str, object: &Value, replicas: Option<&str>) -> Result<Value> {
    let all = actions()?;
    let (_, text) = all.iter().find(|(name, _)| name == action).context("no such action")?;
    let print =
        "for name, value in pairs(said.metadata.annotations) do print(name .. '=' .. value) end";
    let said = lua(object, replicas, text, print).await?;
    let mut after = object.clone();
    let annotations = said.lines().filter_map(|line| line.split_once('='));
    after["metadata"]["annotations"] =
        annotations.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    Ok(after)
}

/// Runs a script of Argo CD's kind, which finds `obj` and perhaps `actionParams` and returns something, and then prints of it.
async fn lua(object: &Value, replicas: Option<&str>, script: &str, print: &str) -> Result<String> {
    let folder = fresh_folder("lua")?;
    std::fs::write(folder.join("script.lua"), script)?;
    let parameters = replicas
        .map_or_else(|| "{}".to_owned(), |replicas| literal(&json!({"replicas": replicas})));
    let driver = format!(
        "obj = {}\nactionParams = {parameters}\nlocal said = assert(loadfile('script.lua'))()\n{print}\n",
        literal(object)
    );
    std::fs::write(folder.join("driver.lua"), driver)?;
    Program::new(tool("helm/glua")?).arg("driver.lua").in_folder(&folder).run().await
}

/// A value as Lua writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("[{name:?}] = {}", literal(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}
