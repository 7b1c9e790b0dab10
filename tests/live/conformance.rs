//! The conformance cases on real API servers: what the in-memory API of the fast tests answers, these answer too.

#[path = "../conformance/mod.rs"]
mod conformance;

use anyhow::Result;
use conformance::ground::Ground;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, shared};

/// A client that tells of each answer as it comes: no retries behind the case's back.
async fn ground(cluster: &Cluster, minor: u32) -> Result<Ground> {
    let file = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    let namespace = cluster.namespace("conformance").await?;
    Ok(Ground { client: Client::try_from(config)?, namespace, minor })
}

macro_rules! newest {
    ($($room:ident: $($case:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() -> anyhow::Result<()> {
                let cluster = super::shared::cluster().await?;
                super::conformance::$room::$case(super::ground(cluster, 36).await?).await;
                Ok(())
            })+
        })+
    };
}
conformance::every_case!(newest);

macro_rules! oldest {
    ($($room:ident: $($case:ident),+;)+) => {
        #[tokio::test]
        async fn the_oldest_api_server_answers_the_same() -> Result<()> {
            let cluster = Cluster::start(Kubernetes::V1_33, ClusterOptions::default()).await?;
            $($(
                println!("{}: {}", stringify!($room), stringify!($case));
                conformance::$room::$case(ground(&cluster, 33).await?).await;
            )+)+
            Ok(())
        }
    };
}
conformance::every_case!(oldest);
