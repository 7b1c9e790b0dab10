//! The operators of the data world on the in-memory API, with a daemon in process.

#[path = "../operators/mod.rs"]
mod operators;

use operators::yard::Yard;
use penstock::daemon;
use penstock::demo::cluster::{Cluster, Options};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::daemons;

/// A cluster and the daemon that watches it.
struct Ground {
    cluster: Cluster,
    page: String,
    _daemon: JoinSet<()>,
}

impl Ground {
    async fn new() -> Self {
        let cluster = Cluster::new(Options::default());
        for definition in penstock::crd::all() {
            cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        let clients = daemons::clients(cluster.client(), cluster.client());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let page = listener.local_addr().unwrap().to_string();
        let options = daemon::Options { page: Some(listener.into()), ..daemons::options("test") };
        let mut daemon = JoinSet::new();
        daemon.spawn(async move {
            Box::pin(daemon::run(clients, options, CancellationToken::new())).await.unwrap();
        });
        Self { cluster, page, _daemon: daemon }
    }

    async fn yard(&self) -> anyhow::Result<Yard> {
        Yard::open(self.cluster.client(), "default", self.page.clone()).await
    }
}

macro_rules! in_memory {
    ($($room:ident: $($case:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() -> anyhow::Result<()> {
                let ground = super::Ground::new().await;
                super::operators::$room::$case(ground.yard().await?).await
            })+
        })+
    };
}
operators::every_operator!(in_memory);
