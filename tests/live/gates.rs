//! Scenarios of who may keep a stage from what its queue asks for: a gate, over what a real server says, and a schedule in its time zone.

use ::http::StatusCode;
use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use kube::Api;
use penstock::crd::ScaledPipeline;
use serde_json::{Value, json};

use crate::rig::{Documents, Redis};
use crate::scene::{SOON, Scene};

/// Now, by the clock of this machine.
fn now() -> Timestamp {
    penstock::clock::Clock::start().now()
}

/// The Connections of a Redis and of a web server.
async fn connect(scene: &Scene, redis: &Redis, checks: &Documents) -> Result<()> {
    for (name, spec) in [
        ("queue", json!({"redis": {"addresses": [redis.address()]}})),
        ("checks", json!({"http": {"url": checks.url()}})),
    ] {
        scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": name}, "spec": spec,
            }))
            .await?;
    }
    Ok(())
}

/// A replica for ten items of the list `todo`.
fn todo() -> Value {
    json!([{"name": "todo", "redis": {"connectionRef": {"name": "queue"}, "list": "todo", "perReplica": 10}}])
}

/// Makes a pipeline whose sources and gates are asked every second, and waits until all were read.
async fn pipeline(scene: &Scene, name: &str, mut stage: Value) -> Result<()> {
    stage["name"] = json!("work");
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
            "spec": {"pollInterval": "1s", "stages": [stage]},
        }))
        .await?;
    scene
        .until(&format!("the first reading of {name}"), SOON, async || {
            let sources = scene.stage(name).await?.sources;
            Ok(sources.iter().all(|source| source.state == "Fresh").then_some(()))
        })
        .await
}

/// A stage with a gate that holds while a check has failed.
fn gated() -> Value {
    json!({
        "target": {"name": "publish"}, "replicas": {"min": 1, "max": 20}, "sources": todo(),
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        "gates": [{
            "name": "quality", "holdWhen": "value > 0.0",
            "source": {"http": {"connectionRef": {"name": "checks"}, "path": "orders", "jsonPath": "$.failed"}},
        }],
    })
}

/// At once, so that no poll sees a part of them.
async fn push(redis: &Redis, items: u32) -> Result<()> {
    let all: Vec<_> = (0..items).map(|number| number.to_string()).collect();
    redis.tell(&format!("RPUSH todo {}", all.join(" "))).await?;
    Ok(())
}

/// Waits until this reason stands in the status of the only stage; its sentence. A status is written once a minute at most.
pub(crate) async fn until_reason(scene: &Scene, pipeline: &str, code: &str) -> Result<String> {
    scene
        .until(&format!("{code} in the status of {pipeline}"), SOON * 2, async || {
            let api = Api::<ScaledPipeline>::namespaced(scene.client.clone(), &scene.namespace);
            let status = api.get(pipeline).await?.status.context("no status")?;
            let stage = status.stages.into_iter().next().context("no stage")?;
            let reason = stage.reason.context("no reason")?;
            anyhow::ensure!(reason.code == code, "{reason:?}");
            Ok(Some(reason.message))
        })
        .await
}

/// Waits until the daemon gives this reason for the count of the only stage; its sentence.
async fn until_bound(scene: &Scene, pipeline: &str, code: &str) -> Result<String> {
    scene
        .until(&format!("{code} to bind {pipeline}"), SOON, async || {
            let reasons = scene.stage(pipeline).await?.reasons;
            let said = reasons.into_iter().next_back().context("no reason")?;
            anyhow::ensure!(said.code == code, "{said:?}");
            Ok(Some(said.sentence))
        })
        .await
}

async fn until_ready(scene: &Scene, pipeline: &str, pods: u32) -> Result<()> {
    scene
        .until(&format!("{pods} pods to be Ready"), SOON, async || {
            let replicas = scene.stage(pipeline).await?.replicas;
            Ok((replicas.ready == Some(pods)).then_some(()))
        })
        .await
}

#[tokio::test]
async fn a_gate_holds_a_stage_up_and_down_says_so_and_lets_go() -> Result<()> {
    let (redis, checks) = (Redis::start(&[]).await?, Documents::start().await?);
    let scene = Scene::open("gates").await?;
    connect(&scene, &redis, &checks).await?;
    scene.deployment("publish", 2).await?;
    // 50 wait for 5 replicas, and a check has failed.
    push(&redis, 50).await?;
    checks.put("/orders", json!({"failed": 3}));
    pipeline(&scene, "orders", gated()).await?;
    let said = until_reason(&scene, "orders", "GateHolds").await?;
    assert_eq!(said, "held by gate quality: value > 0.0, and value is 3");
    scene.until_read("orders", 3).await?;
    assert_eq!(scene.moves("publish", 2)?, [0_u32; 0], "it is held while a check has failed");
    checks.put("/orders", json!({"failed": 0}));
    assert_eq!(scene.until_moved(("publish", 2, 5), SOON).await?, [5]);
    until_ready(&scene, "orders", 5).await?;
    // The check fails again, and nothing waits any more: nobody goes.
    checks.put("/orders", json!({"failed": 1}));
    until_bound(&scene, "orders", "GateHolds").await?;
    redis.tell("DEL todo").await?;
    scene.until_empty("orders").await?;
    scene.until_read("orders", 3).await?;
    assert_eq!(scene.moves("publish", 2)?, [5]);
    until_bound(&scene, "orders", "GateHolds").await?;
    assert_eq!(scene.stage("orders").await?.replicas.desired, Some(5));
    checks.put("/orders", json!({"failed": 0}));
    assert_eq!(scene.until_moved(("publish", 2, 1), SOON).await?, [5, 1]);
    Ok(())
}

#[tokio::test]
async fn a_gate_that_cannot_be_read_lets_a_stage_up_and_not_down() -> Result<()> {
    let (redis, checks) = (Redis::start(&[]).await?, Documents::start().await?);
    let scene = Scene::open("blind-gate").await?;
    connect(&scene, &redis, &checks).await?;
    scene.deployment("publish", 1).await?;
    checks.put("/orders", json!({"failed": 0}));
    pipeline(&scene, "orders", gated()).await?;
    // Whoever checks is away: neither yes nor no.
    checks.break_down(Some(StatusCode::SERVICE_UNAVAILABLE));
    scene
        .until("the gate not to be read", SOON, async || {
            let sources = scene.stage("orders").await?.sources;
            let gate = sources.iter().find(|source| source.name == "gate/quality");
            Ok((gate.context("no gate is shown")?.state == "Stale").then_some(()))
        })
        .await?;
    push(&redis, 40).await?;
    assert_eq!(scene.until_moved(("publish", 1, 4), SOON).await?, [4]);
    until_ready(&scene, "orders", 4).await?;
    redis.tell("DEL todo").await?;
    scene.until_empty("orders").await?;
    let said = until_bound(&scene, "orders", "GateUnread").await?;
    let words = "not lowered: gate quality cannot be read (SourceFailed: ";
    assert!(said.starts_with(words) && said.contains("status 503"), "{said}");
    let read = async || -> Result<_> { Ok(scene.stage("orders").await?.sources[0].at) };
    let before = read().await?;
    scene
        .until("another reading of the list", SOON, async || {
            Ok((before < read().await?).then_some(()))
        })
        .await?;
    assert_eq!(scene.moves("publish", 1)?, [4]);
    checks.break_down(None);
    assert_eq!(scene.until_moved(("publish", 1, 1), SOON).await?, [4, 1]);
    Ok(())
}

/// Cron for the minute of this time of day.
fn cron(time: &Zoned) -> String {
    format!("{} {} * * *", time.minute(), time.hour())
}

#[tokio::test]
async fn a_schedule_binds_in_its_time_zone_and_lets_go_at_its_end() -> Result<()> {
    let (redis, checks) = (Redis::start(&[]).await?, Documents::start().await?);
    let scene = Scene::open("schedules").await?;
    connect(&scene, &redis, &checks).await?;
    push(&redis, 50).await?;
    for name in ["capped", "kept", "elsewhere"] {
        scene.deployment(name, 0).await?;
    }
    // The same times of day hold now in one zone, and not in another three and a quarter hours away. Neither has a summer time.
    let (here, there) = ("Asia/Tokyo", "Asia/Kathmandu");
    let local = now().to_zoned(TimeZone::get(here)?);
    let (begun, ended) =
        (&local - SignedDuration::from_hours(1), &local + SignedDuration::from_hours(1));
    let span = |zone: &str, replicas: Value| json!([{"name": "day", "start": cron(&begun), "end": cron(&ended), "timeZone": zone, "replicas": replicas}]);
    let stage = |name: &str, schedules: Value| {
        json!({
            "target": {"name": name}, "replicas": {"min": 0, "max": 20}, "sources": todo(), "schedules": schedules,
        })
    };
    pipeline(&scene, "kept", stage("kept", span(here, json!({"min": 7})))).await?;
    pipeline(&scene, "elsewhere", stage("elsewhere", span(there, json!({"min": 7})))).await?;
    assert_eq!(scene.until_moved(("kept", 0, 7), SOON).await?, [7]);
    let said = until_reason(&scene, "kept", "AtScheduledMin").await?;
    let until = ended.timestamp().strftime("%H:%M").to_string();
    assert!(said.contains("kept at min 7 by schedule day") && said.contains(&until), "{said}");
    assert_eq!(
        scene.until_moved(("elsewhere", 0, 5), SOON).await?,
        [5],
        "it is another hour there"
    );

    // An end that comes while we look: what the queue asked for all along is done at once.
    let end = now() + SignedDuration::from_secs(130);
    let end = end.to_zoned(TimeZone::get(here)?);
    let until_soon = json!([{
        "name": "night", "start": cron(&begun), "end": cron(&end), "timeZone": here, "replicas": {"max": 2},
    }]);
    pipeline(&scene, "capped", stage("capped", until_soon)).await?;
    assert_eq!(scene.until_moved(("capped", 0, 2), SOON).await?, [2]);
    until_bound(&scene, "capped", "AtScheduledMax").await?;
    let moves = scene.until_moved(("capped", 0, 5), SOON * 3).await?;
    assert_eq!(moves, [2, 5]);
    let ended = end.timestamp().as_second() - i64::from(end.second());
    assert!(ended <= now().as_second(), "it was let go before the end of the schedule");
    Ok(())
}
