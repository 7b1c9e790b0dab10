//! Spot gives no nodes, and whoever makes them says so: how soon the lane on demand takes over. Then there are nodes again: how soon spot has its
//! share back, and is it kept. Many small stages, each on pools of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use penstock::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::book::{Bar, Book};
use crate::scene::SOON;
use crate::yard::node;

use super::cloud::event;
use super::ground::{Ground, lanes};
use super::terms::{FIT, LONG};

/// Stages, and those of them whose pool is told of three times, so that it is tried before it is trusted.
const STAGES: usize = 20;
const SHUT: usize = 4;
/// One on demand and three on spot; and how they stand when all are carried.
const SPLIT: [u32; 2] = [1, 3];
/// The sign is not the only one, and not at once: a pool is shut by three that are so far apart.
const APART: Duration = Duration::from_secs(11);
/// How often a shut pool is tried; 5 min is what it is when nobody says.
const PROBE: Duration = Duration::from_secs(20);
/// It is to be back three times as soon as a pool is tried, as with 5 min it is to be in 15 min.
const BACK: Duration = PROBE.saturating_mul(3);
/// For how long it is looked, from its return on, whether a stage keeps its share.
const KEPT: Duration = Duration::from_secs(45);
/// For so long it is looked, at one stage, that nothing is done without a sign.
const UNTOLD: Duration = Duration::from_secs(5);

fn name(number: usize) -> String {
    format!("dry-{number:02}")
}

fn spot(number: usize, boot: u32) -> Value {
    node(&format!("{}-spot", name(number)), boot, FIT)
}

/// Plays it; in words, and beside its targets.
pub(crate) async fn fallback(ground: &Ground, book: &mut Book) -> Result<Vec<String>> {
    for number in 0..STAGES {
        open(ground, number).await?;
    }
    for number in 0..STAGES {
        until_split(ground, number).await?;
    }
    let mut took = Vec::new();
    let mut untold = 0;
    for number in 0..STAGES {
        lose(ground, number).await?;
        if number == 0 {
            untold = moves(ground, number, UNTOLD).await?;
        }
        took.push(carried(ground, number).await?.as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    let (median, slowest) = (took[STAGES / 2], took[STAGES - 1]);
    for more in 1..=2 {
        tokio::time::sleep(APART).await;
        for number in 0..SHUT {
            say(ground, number, more).await?;
        }
    }
    until_shut(ground).await?;
    let (back, flaps) = back(ground).await?;
    let (shut, open) = back.split_at(SHUT);
    let slow = |spells: &[Duration]| spells.iter().max().map_or(f64::NAN, Duration::as_secs_f64);
    let (shut, open) = (slow(shut), slow(open));
    let kind = format!("live, fallback after hard evidence, slowest of {STAGES}");
    book.note(kind, slowest, (Bar::AtMost, 2.0), " s");
    let kind = format!("live, moves in {} s of one stage without a sign", UNTOLD.as_secs());
    book.note(kind, number(untold), (Bar::AtMost, 0.0), "");
    let kind = format!("live, return, probe {} s: longest of {STAGES}", PROBE.as_secs());
    book.note(kind, shut.max(open), (Bar::AtMost, BACK.as_secs_f64()), " s");
    let kind = format!("live, return: flaps in the {} s after it, all stages", KEPT.as_secs());
    book.note(kind, number(flaps), (Bar::AtMost, 0.0), "");
    Ok(vec![
        format!(
            "fallback: {STAGES} signs, p50 {median:.2} s, slowest {slowest:.2} s from Karpenter's Event to the write; {untold} moves in {} s of a stage that was not told yet",
            UNTOLD.as_secs()
        ),
        format!(
            "return: share restored after {open:.1} s at the most where the pool was short, {shut:.1} s where it was shut and is tried every {} s ({SHUT} pools); {flaps} flaps, each stage looked at for {} s from its own return on",
            PROBE.as_secs(),
            KEPT.as_secs()
        ),
    ])
}

async fn open(ground: &Ground, number: usize) -> Result<()> {
    let name = name(number);
    let probe = json!({"interval": format!("{}s", PROBE.as_secs())});
    let provider = json!({"kind": "Karpenter", "name": format!("{name}-spot")});
    ground.lay_out(&name, &json!({"provider": provider, "probe": probe})).await?;
    ground.large(&name).await?;
    ground.make(spot(number, 1)).await?;
    let need: u32 = SPLIT.iter().sum();
    let stage = json!({
        "name": "sink", "replicas": {"min": need, "max": need}, "lanes": lanes(&name, SPLIT[0], 100),
    });
    ground.scene.pipeline_unread(&name, stage).await
}

/// Waits until all is as it should be when spot is to be had.
async fn until_split(ground: &Ground, number: usize) -> Result<()> {
    let name = name(number);
    ground.until_asked(&name, SPLIT).await?;
    let need = usize::try_from(SPLIT[1])?;
    ground
        .scene
        .until(&format!("spot of {name} to be Ready"), LONG, async || {
            let ready = pods(ground, &name, is_ready).await?;
            ensure!(ready == need, "{ready} are");
            Ok(Some(()))
        })
        .await
}

/// How many pods of a stage on spot are so.
async fn pods(ground: &Ground, name: &str, are: fn(&Pod) -> bool) -> Result<usize> {
    let all = Api::<Pod>::namespaced(ground.scene.client.clone(), &ground.scene.namespace);
    let all = all.list(&ListParams::default().labels(&format!("app={name}-spot"))).await?;
    let lives = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(lives.filter(|pod| are(pod)).count())
}

fn is(pod: &Pod, kind: &str, status: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == kind && it.status == status)
}

fn is_ready(pod: &Pod) -> bool {
    is(pod, "Ready", "True")
}

fn has_no_place(pod: &Pod) -> bool {
    is(pod, "PodScheduled", "False")
}

/// The node of a stage is gone, and no other can be had.
async fn lose(ground: &Ground, number: usize) -> Result<()> {
    let (name, scene) = (name(number), &ground.scene);
    let gone = format!("{name}-spot-1");
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    let all = Api::<Pod>::namespaced(scene.client.clone(), &scene.namespace);
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(scene.client.clone());
    nodes.delete(&gone, &now).await?;
    let on_it = ListParams::default().fields(&format!("spec.nodeName={gone}"));
    all.delete_collection(&now, &on_it).await?;
    let waiting = usize::try_from(SPLIT[1])?;
    scene
        .until(&format!("pods of {name} to wait"), SOON, async || {
            let found = pods(ground, &name, has_no_place).await?;
            ensure!(found == waiting, "{found} do");
            Ok(Some(()))
        })
        .await
}

fn kept(number: usize) -> String {
    format!("{}-kept", name(number))
}

/// How often the count of a stage's lane on demand is changed in that time.
async fn moves(ground: &Ground, number: usize, within: Duration) -> Result<usize> {
    let before = ground.changes(&kept(number))?.len();
    tokio::time::sleep(within).await;
    Ok(ground.changes(&kept(number))?.len() - before)
}

/// It is said that no node can be had: how long until the lane on demand is asked for all.
async fn carried(ground: &Ground, number: usize) -> Result<Duration> {
    let (target, scene) = (kept(number), &ground.scene);
    let before = scene.writes(&target)?.len();
    let at = Clock::start().now();
    say(ground, number, 0).await?;
    let need: u32 = SPLIT.iter().sum();
    let write = scene
        .until(&format!("{target} to take over"), SOON, async || {
            let writes = scene.writes(&target)?;
            Ok(writes.into_iter().skip(before).find(|it| it.replicas == Some(need)))
        })
        .await?;
    Duration::try_from(write.at.duration_since(at)).context("it took over before it was told")
}

/// Karpenter says that a claim of the pool cannot be fulfilled.
async fn say(ground: &Ground, number: usize, more: usize) -> Result<()> {
    let claim = format!("{}-spot-x7k2{more}", name(number));
    let about = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": claim});
    let said = ("InsufficientCapacityError", "all requested instance types were unavailable");
    ground.make_event(event(said, &format!("{claim}.dry"), &about)).await
}

async fn until_shut(ground: &Ground) -> Result<()> {
    for number in 0..SHUT {
        let pool = format!("{}-spot", name(number));
        ground
            .scene
            .until(&format!("{pool} to be shut"), SOON, async || {
                let ask = ["get", "capacitypool", &pool, "-o", "jsonpath={.status.state}"];
                let state = ground.cluster.kubectl(&ask).await?;
                ensure!(state == "Exhausted", "it is {state}");
                Ok(Some(()))
            })
            .await?;
    }
    Ok(())
}

/// There are nodes again: how long each stage takes to have its share on spot, and how often the counts were changed after that.
async fn back(ground: &Ground) -> Result<(Vec<Duration>, usize)> {
    let mut since = Vec::new();
    for number in 0..STAGES {
        since.push((Instant::now(), ground.changes(&kept(number))?.len()));
        ground.make(spot(number, 2)).await?;
    }
    let each = since.iter().enumerate().map(async |(number, (since, before))| {
        until_split(ground, number).await?;
        let took = since.elapsed();
        tokio::time::sleep(KEPT).await;
        let mut after = ground.changes(&kept(number))?.into_iter().skip(*before);
        after.find(|it| it.replicas == Some(SPLIT[0])).context("nobody wrote that it is back")?;
        anyhow::Ok((took, after.count()))
    });
    let back = futures::future::try_join_all(each).await?;
    let flaps = back.iter().map(|(_, flaps)| flaps).sum();
    Ok((back.into_iter().map(|(took, _)| took).collect(), flaps))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
