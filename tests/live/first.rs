//! The first manifest of the manual: what a user writes first must work. No rate is known and the stage is at zero, so it wakes, learns
//! and jumps. Judged by what the API server recorded and by the ages of the items that real consumers worked off.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock::clock::Clock;
use penstock::demo::traffic::{Load, Work};

use crate::manifests::PIPELINE;
use crate::rig::{Broker, shared};
use crate::scene::{Crew, SOON, Scene};

/// Items a second that arrive, and that one consumer gets through: nine would do. Of the counts that 24 partitions are even among, 8 are
/// too few and 12 are enough, also when the rate is learned a tenth too high or too low.
const ARRIVALS: f64 = 180.0;
const RATE: f64 = 20.0;
const RIGHT: u32 = 12;
/// What the manifest promises, and how soon the right count is to be asked for.
const PROMISE: Duration = Duration::from_mins(1);
/// What a busy machine adds.
const LEEWAY: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_first_manifest_word_for_word_is_right_within_a_minute_by_two_writes() -> Result<()> {
    let (cluster, broker) = (shared::cluster().await?, shared::broker().await?);
    cluster.kubectl(&["create", "namespace", "shop"]).await?;
    let scene = Scene::within(cluster, "shop".to_owned()).await?;
    let manifest = PIPELINE.replace("kafka:9092", &broker.bootstrap());
    // A group that has worked before: what comes now is all its own.
    play(&scene, broker, ("orders", "enrich"), Some(0), &manifest).await
}

#[tokio::test]
async fn the_first_manifest_with_earliest_is_right_as_soon_for_a_group_that_never_committed()
-> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("earliest").await?;
    let topic = &scene.namespace;
    let manifest = PIPELINE
        .replace("kafka:9092", &broker.bootstrap())
        .replace("namespace: shop", &format!("namespace: {}", scene.namespace))
        .replace("topics: [orders]", &format!("topics: [{topic}]"))
        .replace("group: enrich", &format!("group: {topic}, offsetReset: Earliest"));
    play(&scene, broker, (topic, topic), None, &manifest).await
}

async fn play(
    scene: &Scene,
    broker: &Broker,
    (topic, group): (&str, &str),
    committed: Option<i64>,
    manifest: &str,
) -> Result<()> {
    broker.topic(topic, 24).await?;
    if let Some(offset) = committed {
        broker.commit(group, topic, offset).await?;
    }
    scene.deployment("enrich", 0).await?;
    let work = Work { commit_interval: Duration::from_secs(5), ..Work::on(topic, group, RATE) };
    let crew = scene.consume(broker, "enrich", work)?;
    let producer = crew.producer(topic)?;
    shared::cluster().await?.apply(&scene.namespace, manifest).await?;
    scene
        .until("the first reading", SOON, async || {
            let view = scene.view("orders").await?;
            let stage = view.stages.first().context("no stage was decided on")?;
            Ok((stage.sources[0].state == "Fresh").then_some(()))
        })
        .await?;
    scene.after_a_poll("orders").await?;

    let begun = Clock::start().now();
    producer.follow(Load::steady(ARRIVALS));
    let enough = |moves: &[u32]| moves.last() == Some(&RIGHT);
    scene
        .until("the right count", AT_ONCE + SOON, async || {
            let moves = scene.moves("enrich", 0)?;
            anyhow::ensure!(enough(&moves), "its moves are {moves:?}");
            Ok(Some(()))
        })
        .await?;
    let last = scene.writes("enrich")?.pop().context("a write")?;
    let took = Duration::try_from(last.at.duration_since(begun))?;
    assert!(took <= AT_ONCE, "the right count was asked for after {took:?}");
    // It stays right while what has gathered is worked off.
    scene
        .until("the backlog to be gone", SOON * 2, async || Ok(is_in_time(&crew).then_some(())))
        .await?;
    let moves = scene.moves("enrich", 0)?;
    assert!(moves.len() <= 2 && enough(&moves), "{moves:?}");
    // Whole before it is counted: told to follow no load, it may be in the midst of a tick yet.
    producer.stop().await;
    let made = crew.made();
    scene.until_done(&crew, made).await?;
    let oldest = crew.oldest()?;
    assert!(oldest <= PROMISE + LEEWAY, "an item of age {oldest:?} with {moves:?}");
    crew.stop().await;
    Ok(())
}

/// Is nothing left that has waited for long?
fn is_in_time(crew: &Crew) -> bool {
    crew.ledger().tally(0).oldest.is_none_or(|oldest| oldest < Duration::from_secs(3))
}
