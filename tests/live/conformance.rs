//! The conformance cases on real API servers: what the in-memory API of the fast tests answers, these answer too.

#[path = "../conformance/mod.rs"]
pub(crate) mod conformance;

use anyhow::Result;
use conformance::ground::Ground;

use crate::rig::{Cluster, ClusterOptions, Kubernetes, plain_client, shared, until};
use crate::scene::SOON;

/// A client that tells of each answer as it comes: no retries behind the case's back.
async fn ground(cluster: &Cluster, minor: u32) -> Result<Ground> {
    let client = plain_client(cluster.kubeconfig()).await?;
    Ok(Ground { client, namespace: cluster.namespace("conformance").await?, minor })
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

#[tokio::test]
async fn what_is_asked_of_a_forgotten_past_has_expired() -> Result<()> {
    let options = ClusterOptions {
        apiserver_flags: vec!["--etcd-compaction-interval=1s".to_owned()],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let ground = ground(&cluster, 36).await?;
    let moment = conformance::old::remember(&ground).await;
    // The API server's own cache remembers what etcd has forgotten.
    cluster.apiserver().kill9();
    cluster.apiserver().start_again()?;
    cluster.apiserver_ready().await?;
    until("etcd to be compacted", SOON, async || {
        Ok(conformance::old::is_forgotten(&ground, &moment).await.then_some(()))
    })
    .await?;
    conformance::old::a_forgotten_past_has_expired(&ground, &moment).await;
    Ok(())
}
