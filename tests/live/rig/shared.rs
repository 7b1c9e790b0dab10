//! The servers that tests share: a cluster and a broker, started by the first test that asks, ended with the process.
//! Each test has a namespace and topics of its own there, and leaves the servers alone.

use anyhow::Result;
use tokio::sync::OnceCell;

use super::cluster::{Cluster, ClusterOptions, Kubernetes};
use super::kafka::{Broker, BrokerOptions, Kafka};

/// Kubernetes 1.36 with controllers, two nodes, and its requests written down.
pub(crate) async fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let options = || ClusterOptions { nodes: 2, audit: true, ..ClusterOptions::default() };
    CLUSTER.get_or_try_init(async || Cluster::start(Kubernetes::V1_36, options()).await).await
}

/// The same of Kubernetes 1.33.
pub(crate) async fn oldest_cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let options = || ClusterOptions { nodes: 2, audit: true, ..ClusterOptions::default() };
    CLUSTER.get_or_try_init(async || Cluster::start(Kubernetes::V1_33, options()).await).await
}

/// Kafka 4.1 with its plain listener.
pub(crate) async fn broker() -> Result<&'static Broker> {
    static BROKER: OnceCell<Broker> = OnceCell::const_new();
    BROKER
        .get_or_try_init(async || Broker::start(Kafka::V4_1, BrokerOptions::default()).await)
        .await
}

/// Kafka 4.1 with every listener.
pub(crate) async fn secured_broker() -> Result<&'static Broker> {
    static BROKER: OnceCell<Broker> = OnceCell::const_new();
    let options = || BrokerOptions { secured: true, ..BrokerOptions::default() };
    BROKER.get_or_try_init(async || Broker::start(Kafka::V4_1, options()).await).await
}
