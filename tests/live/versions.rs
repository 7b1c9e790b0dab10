//! The oldest Kubernetes and the oldest Kafka that are promised: the same loop there and back. All other scenarios run on the newest.

use anyhow::Result;
use serde_json::json;

use crate::rig::{Broker, BrokerOptions, Kafka, shared};
use crate::scaling::there_and_back;
use crate::scene::Scene;
use crate::targets::{GEAR, Kinds};

#[tokio::test]
async fn the_oldest_kubernetes_and_the_oldest_kafka_go_there_and_back() -> Result<()> {
    let (cluster, broker) = tokio::try_join!(
        shared::oldest_cluster(),
        Broker::start(Kafka::V3_9, BrokerOptions::default())
    )?;
    let kinds = Kinds::install(cluster).await?;
    let scene = Scene::on(cluster, "oldest").await?;
    scene.deployment("worker", 0).await?;
    let gear = kinds.make(&scene, GEAR).await?;
    tokio::try_join!(
        there_and_back(&scene, &broker, json!({"name": "worker"})),
        there_and_back(&scene, &broker, gear.target()),
    )?;
    Ok(())
}
