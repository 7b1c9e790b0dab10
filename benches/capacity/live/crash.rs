//! A thousand pods are made while the daemon is killed: does anything of Penstock's stand in the way of one? What it installs besides itself,
//! its admission policies, stays.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::time::Instant;

use crate::book::{Bar, Book};
use crate::rig::plain_client;

use super::ground::Ground;

const PODS: usize = 1000;
/// The daemon is killed when so many are made; so many are made at once.
const KILLED_AT: usize = 300;
const AT_ONCE: usize = 4;
/// What takes longer was held up.
const BLOCKED: Duration = Duration::from_secs(5);
const POLICY: &str = "kind: ValidatingAdmissionPolicy";

/// Plays it; in words, and beside its target. The daemon of the ground is dead afterwards.
pub(crate) async fn crash(ground: &Ground, book: &mut Book) -> Result<Vec<String>> {
    let installed = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/penstock.yaml"),
    )
    .context("read what is installed")?;
    let policies: Vec<_> =
        installed.split("\n---\n").filter(|part| part.contains(POLICY)).collect();
    ensure!(!policies.is_empty(), "no policy is installed");
    ground.cluster.apply("default", &policies.join("\n---\n")).await?;
    let client = plain_client(ground.cluster.kubeconfig()).await?;
    let pods = Api::<Pod>::namespaced(client, &ground.scene.namespace);
    let mut made = Box::pin(
        stream::iter(0..PODS)
            .map(|number| make(&pods, number))
            .buffer_unordered(AT_ONCE)
            .enumerate(),
    );
    let (mut refused, mut blocked, mut slowest) = (0, 0, Duration::ZERO);
    while let Some((number, (is_made, took))) = made.next().await {
        if number == KILLED_AT {
            let daemon = &ground.scene.daemon;
            let (code, body) = daemon.get("/readyz").await?;
            ensure!(code == 200, "before it is killed, /readyz answers {code}: {body}");
            daemon.process().kill9();
            ensure!(daemon.get("/readyz").await.is_err(), "the killed daemon answers");
        }
        refused += u32::from(!is_made);
        blocked += u32::from(BLOCKED < took);
        slowest = slowest.max(took);
    }
    let stood = f64::from(refused + blocked);
    let kind = format!("live, killed during {PODS} creates: refused or held up");
    book.note(kind, stood, (Bar::AtMost, 0.0), "");
    Ok(vec![format!(
        "admission: {PODS} pods made, the daemon killed after {KILLED_AT} with {} of its policies and bindings installed: {refused} refused, {blocked} held up for longer than {} s, the slowest took {:.2} s",
        policies.len(),
        BLOCKED.as_secs(),
        slowest.as_secs_f64()
    )])
}

/// Makes a pod that nobody schedules; whether that went well, and how long it took.
async fn make(pods: &Api<Pod>, number: usize) -> (bool, Duration) {
    let pod = json!({
        "metadata": {"name": format!("crowd-{number}"), "labels": {"app": "crowd"}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "none"}]},
    });
    let since = Instant::now();
    let made = match serde_json::from_value(pod) {
        Ok(pod) => pods.create(&PostParams::default(), &pod).await.is_ok(),
        Err(_) => false,
    };
    (made, since.elapsed())
}
