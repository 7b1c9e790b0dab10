//! The rig: real servers for the live tests and the benchmark, started, hurt and stopped by the test that asks for them.
//! Used by `tests/live/main.rs`, and by the benchmark through `#[path]`. It knows no scenario: those are beside it.
//!
//! Everything listens on loopback, writes into one folder below `target/tmp`, and ends with the test process, however that
//! ends. What takes time is waited for by asking, never by sleeping. Binaries come from `target/tools`, which
//! `tests/live/tools/build` fills.
//!
//! Traffic is the library's, `penstock::demo::traffic`: a `Producer` and, on the Ready pods of a selector, `Consumers`, that
//! enter each item in a `Ledger`. `Broker::traffic` says how they reach a broker; `servers.rs` has an example.

// Two crates use the rig, and neither uses all of it.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "neither the tests nor the benchmark use all of the rig"
)]

mod folder;
mod ports;
mod process;
mod http;
mod certs;
mod cluster;
mod requests;
mod rights;
mod recorder;
mod kafka;
mod daemon;
mod debian;
mod browser;
mod databases;
mod documents;
mod gate;
mod served;
mod external;
pub(crate) mod rabbitmq;
pub(crate) mod nats;
mod elasticmq;
mod karpenter;
mod vpa;
mod scaler;
pub(crate) mod shared;

use std::path::{Path, PathBuf};

#[allow(unused_imports, reason = "neither the tests nor the benchmark use all of the rig")]
pub(crate) use self::{
    browser::{Browser, Task},
    certs::{Authority, Pair},
    cluster::{Cluster, ClusterOptions, Kubernetes, client, kubectl, plain_client},
    daemon::Penstock,
    databases::{Mariadb, Postgres},
    debian::{Prometheus, Redis, promtool},
    documents::Documents,
    elasticmq::ElasticMq,
    external::{Answer, External, Reply},
    folder::fresh as fresh_folder,
    gate::{Gate, Keeper},
    http::{get as http_get, get_as as http_get_as, post as http_post},
    kafka::{Broker, BrokerOptions, Kafka, Listener, USER},
    karpenter::Karpenter,
    ports::free as free_port,
    process::{Process, Program, Usage, connections_to},
    recorder::{Proxy, Recorder, Shape},
    requests::{Request, RequestLog},
    rights::{rights, until_granted},
    scaler::Scaler,
    served::{serve, serve_on},
    vpa::Recommender,
};

/// A file of `target/tools`, or an error that says how to get it.
pub(crate) fn tool(path: &str) -> anyhow::Result<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(path);
    anyhow::ensure!(
        full.exists(),
        "{} is missing; hint: `make tools` builds the servers of the live tests",
        full.display()
    );
    Ok(full)
}

/// Asks again and again until the answer is `Some`; after the deadline the error names what was waited for and the last answer.
pub(crate) async fn until<T>(
    what: &str,
    deadline: std::time::Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = tokio::time::Instant::now() + deadline;
    let mut answer = None;
    loop {
        answer = match tokio::time::timeout_at(end, ask()).await {
            Ok(Ok(Some(found))) => return Ok(found),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(match answer.take() {
                Some(error) => error.context("the last question was not answered in time; before"),
                None => anyhow::anyhow!("the last question was not answered in time"),
            }),
        };
        if tokio::time::Instant::now() >= end {
            let late = format!("waited {deadline:?} for {what}");
            return Err(answer
                .map_or_else(|| anyhow::anyhow!("{late}"), |error| error.context(late.clone())));
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
}
