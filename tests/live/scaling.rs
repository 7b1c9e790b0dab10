//! Scenarios of moving: from zero, from one, and back to zero, by a threshold and by a known rate. Judged by what the API server
//! recorded and by the ages of the items that real consumers worked off.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock::demo::traffic::Work;
use serde_json::{Value, json};

use crate::rig::{Broker, shared};
use crate::scene::{SOON, Scene, kafka};

#[tokio::test]
async fn a_threshold_moves_from_one_to_its_count_in_one_write() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("threshold").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 24).await?;
    scene.deployment("worker", 1).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 20.0))?;
    let producer = crew.producer(topic)?;
    let per_replica = json!({"perReplica": 100, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"max": 48},
        "sources": [kafka(broker, &[topic], topic, per_replica)],
    });
    scene.pipeline("orders", stage).await?;
    scene.after_a_poll("orders").await?;
    producer.add(2_400);
    assert_eq!(scene.until_moved(("worker", 1, 24), SOON).await?, [24]);
    scene.until_done(&crew, 2_400).await?;
    assert_eq!(scene.moves("worker", 1)?, [24]);
    crew.stop().await;
    Ok(())
}

/// How late an item may be where a rate is known.
const PROMISE: Duration = Duration::from_secs(40);
/// What a busy machine adds.
const LEEWAY: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_known_rate_moves_from_zero_to_enough_in_one_write() -> Result<()> {
    known_rate(0).await
}

#[tokio::test]
async fn a_known_rate_moves_from_one_to_enough_in_one_write() -> Result<()> {
    known_rate(1).await
}

async fn known_rate(from: u32) -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("rate").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 24).await?;
    scene.deployment("worker", from).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 20.0))?;
    let producer = crew.producer(topic)?;
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": from, "max": 48},
        "objective": {"maxDelay": "40s"}, "ratePerReplica": 20, "startup": "3s",
        "sources": [kafka(broker, &[topic], topic, json!({"offsetReset": "Earliest"}))],
    });
    scene.pipeline("orders", stage).await?;
    scene.after_a_poll("orders").await?;
    producer.add(4_000);
    let moved = scene
        .until("a move", SOON, async || Ok(scene.moves("worker", from)?.first().copied()))
        .await?;
    scene.until_done(&crew, 4_000).await?;
    assert_eq!(scene.moves("worker", from)?, [moved]);
    // Five replicas would need the whole promise for the work alone; 24 partitions are even among 6, 8 or 12.
    assert!([6, 8, 12].contains(&moved), "{moved} replicas for 4,000 items of 1/20 s in 40 s");
    let oldest = crew.oldest()?;
    assert!(oldest <= PROMISE + LEEWAY, "an item of age {oldest:?} with {moved} replicas");
    crew.stop().await;
    Ok(())
}

/// From zero by a threshold in one write, all items worked off, and back to zero, but not before the stage was idle for as long as
/// it says. `target` is of the manifest; its pods are labelled `app: NAME`.
pub(crate) async fn there_and_back(scene: &Scene, broker: &Broker, target: Value) -> Result<()> {
    const ITEMS: u64 = 80;
    const IDLE: Duration = Duration::from_secs(6);
    let name = target["name"].as_str().context("a target without a name")?.to_owned();
    let topic = &format!("{}-{name}", scene.namespace);
    broker.topic(topic, 8).await?;
    let crew = scene.consume(broker, &name, Work::on(topic, topic, 5.0))?;
    let producer = crew.producer(topic)?;
    let per_replica = json!({"perReplica": 10, "offsetReset": "Earliest"});
    let stage = json!({
        "target": target, "replicas": {"min": 0, "max": 20}, "idle": {"replicas": 0, "after": "6s"},
        "sources": [kafka(broker, &[topic], topic, per_replica)],
    });
    scene.pipeline(&name, stage).await?;
    scene.after_a_poll(&name).await?;
    producer.add(ITEMS);
    let mut moves = scene.until_moved((&name, 0, 8), SOON).await?;
    // A poll that comes while the items are being sent sees a part of them, and the next one the rest.
    assert!(moves.len() <= 2 && moves.is_sorted(), "{moves:?}");
    scene.until("eight at work", SOON, async || Ok((crew.count() == 8).then_some(()))).await?;
    scene.until_done(&crew, ITEMS).await?;
    let done = crew.ledger().items().into_iter().filter_map(|item| item.done).max();
    let done = done.context("nothing was worked off")?;
    moves.push(0);
    assert_eq!(scene.until_moved((&name, 0, 0), SOON).await?, moves);
    let idle = crew.ledger().now().checked_sub(done).unwrap();
    assert!(idle >= IDLE, "back to zero {idle:?} after the last item");
    scene.until("none at work", SOON, async || Ok((crew.count() == 0).then_some(()))).await?;
    crew.stop().await;
    Ok(())
}
