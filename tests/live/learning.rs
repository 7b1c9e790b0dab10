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
    learn(Duration::from_secs(1), 4).await
}

#[tokio::test]
async fn a_rate_is_learned_from_commits_every_5_s() -> Result<()> {
    learn(Duration::from_secs(5), 4).await
}

#[tokio::test]
async fn a_rate_is_learned_from_commits_every_30_s() -> Result<()> {
    // A lesson takes two commits, so each is long and good.
    learn(Duration::from_secs(30), 1).await
}

/// Two busy consumers where four are needed, observed until their rate was learned from so many stretches of work, and then let go:
/// the count that follows from it is written.
async fn learn(commit_interval: Duration, lessons: usize) -> Result<()> {
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
        "target": {"name": "worker"}, "replicas": {"min": 2, "max": 12}, "objective": {"maxDelay": "10m"},
        "sources": [kafka(broker, &[topic], topic, json!({"offsetReset": "Earliest"}))],
    });
    scene.pipeline("orders", stage).await?;
    let mode = |mode| {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "orders"},
            // Ten minutes leave room to stay with two for long; here the rate is to be seen in what follows from it.
            "spec": {"mode": mode, "objective": {"prefer": "Latency"}},
        })
    };
    scene.change(mode("Observe")).await?;
    let mut learned = Vec::new();
    scene
        .until(&format!("{lessons} lessons"), SOON * 4, async || {
            if let Some(rate) = scene.stage("orders").await?.rate_per_replica
                && learned.last() != Some(&rate)
            {
                learned.push(rate);
            }
            anyhow::ensure!(learned.len() >= lessons, "learned so far: {learned:?}");
            Ok(Some(()))
        })
        .await?;
    let real = done_between(crew.ledger(), from, crew.ledger().now()) / 2.0;
    let last = learned.last().context("no rate is shown")?;
    assert!((last / real - 1.0).abs() < 0.1, "learned {learned:?}, in truth {real}");

    assert_eq!(scene.moves("worker", 2)?, [0_u32; 0]);
    scene.change(mode("Enforce")).await?;
    let count = scene
        .until("a move", SOON, async || Ok(scene.moves("worker", 2)?.first().copied()))
        .await?;
    producer.stop().await;
    crew.stop().await;
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
