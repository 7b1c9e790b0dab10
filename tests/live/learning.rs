//! Scenarios of learning: what one replica gets through is found out from commits, however rarely these come. Judged against the
//! pace at which the consumers really worked.

use std::time::Duration;

use anyhow::{Context, Result};
use penstock::demo::traffic::{Ledger, Load, Work};
use serde_json::json;

use crate::rig::shared;
use crate::scene::{SOON, Scene, kafka};

/// Items a second of one consumer, and in all: three and a half would do, and 12 partitions are even among four and six.
const RATE: f64 = 25.0;
const ARRIVALS: f64 = 85.0;
const RIGHT: [u32; 2] = [4, 6];

#[tokio::test]
async fn a_rate_is_learned_from_commits_every_second() -> Result<()> {
    learn(Duration::from_secs(1)).await
}

#[tokio::test]
async fn a_rate_is_learned_from_commits_every_5_s() -> Result<()> {
    learn(Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_rate_is_learned_from_commits_every_30_s() -> Result<()> {
    learn(Duration::from_secs(30)).await
}

/// Two busy consumers where four are needed, until their rate is known and the count that follows from it is written.
async fn learn(commit_interval: Duration) -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("learned").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 12).await?;
    scene.deployment("worker", 2).await?;
    let work = Work { commit_interval, ..Work::on(topic, topic, RATE) };
    let crew = scene.consume(broker, "worker", work)?;
    let producer = crew.sending(topic, Load::steady(ARRIVALS))?;
    producer.add(500);
    scene.until("both at work", SOON, async || Ok((crew.count() == 2).then_some(()))).await?;
    scene.until_done(&crew, 50).await?;
    let from = crew.ledger().now();
    // What arrives is to decide, not what waits, of which a slow committer seems to have more.
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": 2, "max": 12}, "objective": {"maxDelay": "5m"},
        "sources": [kafka(broker, &[topic], topic, json!({"offsetReset": "Earliest"}))],
    });
    scene.pipeline("orders", stage).await?;
    let count = scene
        .until("a move", SOON * 4, async || Ok(scene.moves("worker", 2)?.first().copied()))
        .await?;
    // The pods that it brings need longer than this question.
    let to = crew.ledger().now();
    let learned = scene.stage("orders").await?.rate_per_replica.context("no rate is shown")?;
    let real = done_between(crew.ledger(), from, to) / 2.0;
    producer.stop().await;
    crew.stop().await;
    assert!((learned / real - 1.0).abs() < 0.1, "learned {learned}, in truth {real}");
    assert!(RIGHT.contains(&count), "{count} replicas");
    Ok(())
}

/// Items a second that were worked off in this time.
fn done_between(ledger: &Ledger, from: Duration, to: Duration) -> f64 {
    let items = ledger.items();
    let done = items.iter().filter_map(|item| item.done).filter(|done| (from..to).contains(done));
    f64::from(u32::try_from(done.count()).unwrap_or(u32::MAX))
        / to.saturating_sub(from).as_secs_f64()
}
