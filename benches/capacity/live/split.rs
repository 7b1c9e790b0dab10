//! A stage of two lanes is moved up and down: does each lane have as many pods as was planned five seconds after the first count was written, and is
//! the base on demand ever short? Its pods always find room, so they also tell how long a pod takes to start on this machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use penstock::clock::Clock;
use serde_json::json;
use tokio::time::Instant;

use crate::book::{Bar, Book};
use crate::eye::Eye;
use crate::yard::{Items, node};

use super::ground::{Ground, LANES, lanes, selector};
use super::terms::LONG;

/// As many as there are replicas at the most.
const PARTITIONS: i32 = 30;
const NAME: &str = "split";
const BASE: u32 = 2;
const SHARE: u32 = 70;
const FIRST: u32 = 6;
const STEPS: [u32; 12] = [12, 5, 20, 9, 16, 3, 24, 14, 7, 18, 30, 2];
/// As the goal has it.
const AFTER: Duration = Duration::from_secs(5);

/// What docs/lanes.md says: the base, and of the rest so many per cent on spot, rounded down.
fn planned(all: u32) -> [u32; 2] {
    let spot = all.saturating_sub(BASE) * SHARE / 100;
    [all - spot, spot]
}

/// What it tells.
pub(crate) struct Played {
    pub(crate) told: Vec<String>,
    /// How long a pod with room takes from when it is made until it is Ready, in 95 of 100 cases.
    pub(crate) start: Duration,
}

/// Plays it; in words, and beside its targets.
pub(crate) async fn split(ground: &Ground, book: &mut Book) -> Result<Played> {
    let scene = &ground.scene;
    let pods = Eye::on(scene.client.clone(), &scene.namespace, &selector(NAME));
    ground.lay_out(NAME, &json!({})).await?;
    ground.large(NAME).await?;
    ground.make(node("split-spot", 1, 40)).await?;
    let mut items = Items::over(&format!("{}-{NAME}", scene.namespace), PARTITIONS).await?;
    items.want(FIRST.into()).await?;
    let at_once = json!({"stabilizationWindowSeconds": 0});
    scene
        .pipeline(
            NAME,
            json!({
                "name": "sink", "replicas": {"min": 2, "max": 40}, "lanes": lanes(NAME, BASE, SHARE),
                "behavior": {"scaleUp": at_once, "scaleDown": at_once}, "sources": [items.source()],
            }),
        )
        .await?;
    ground.until_asked(NAME, planned(FIRST)).await?;
    let eye = Eye::on(scene.client.clone(), &scene.namespace, &format!("app={NAME}-kept"));
    let base = usize::try_from(BASE)?;
    scene
        .until("the base to be Ready", LONG, async || {
            let ready = eye.seen().ready.len();
            ensure!(base <= ready, "{ready} are");
            Ok(Some(()))
        })
        .await?;
    let since = Instant::now();
    let (mut off, mut worst) = (0, 0);
    for step in STEPS {
        let before = changes(ground)?.map(|lane| lane.len());
        items.want(step.into()).await?;
        let first = scene
            .until(&format!("the first write of the step to {step}"), LONG, async || {
                let new = changes(ground)?.into_iter().zip(before);
                Ok(new.flat_map(|(lane, before)| lane.into_iter().skip(before)).min())
            })
            .await?;
        let gone = Duration::try_from(Clock::start().now().duration_since(first));
        tokio::time::sleep(AFTER.saturating_sub(gone.unwrap_or_default())).await;
        let there = there(ground).await?;
        let by: u32 = there.iter().zip(planned(step)).map(|(is, plan)| is.abs_diff(plan)).sum();
        off += u32::from(0 < by);
        worst = worst.max(by);
        // Judged by now; the next step begins when this one is asked for.
        ground.until_asked(NAME, planned(step)).await?;
    }
    let fewest = eye.seen().fewest(since);
    let steps = STEPS.len();
    let mut starts = pods.seen().starts.clone();
    starts.sort_unstable();
    let start = *starts
        .get((starts.len() * 95).div_ceil(100).saturating_sub(1))
        .context("no pod was made")?;
    let kind = format!("live, split: off by, worst of {steps} steps");
    book.note(kind, f64::from(worst), (Bar::AtMost, 0.0), "");
    let fewest = f64::from(u32::try_from(fewest)?);
    book.note("live, split: Ready on demand at the least", fewest, (Bar::AtLeast, BASE.into()), "");
    let told = vec![
        format!(
            "split: base {BASE}, {SHARE} % of the rest on spot; of {steps} steps {off} were off {} s after the first write, {worst} pods at the most; Ready on demand never below {fewest}",
            AFTER.as_secs()
        ),
        format!(
            "a pod's start: p95 of {} pods of that stage {:.2} s, from when it is made until it is Ready",
            starts.len(),
            start.as_secs_f64()
        ),
    ];
    Ok(Played { told, start })
}

/// When the count of each lane was changed.
fn changes(ground: &Ground) -> Result<[Vec<Timestamp>; 2]> {
    let [kept, spot] = LANES.map(|lane| ground.changes(&format!("{NAME}-{lane}")));
    Ok([kept?, spot?].map(|lane| lane.into_iter().map(|write| write.at).collect()))
}

/// Pods of each lane that are not told to end.
async fn there(ground: &Ground) -> Result<[u32; 2]> {
    let pods = Api::<Pod>::namespaced(ground.scene.client.clone(), &ground.scene.namespace);
    let mut there = [0; 2];
    for (there, lane) in there.iter_mut().zip(LANES) {
        let ours = ListParams::default().labels(&format!("app={NAME}-{lane}"));
        let all = pods.list(&ours).await?;
        let lives = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        *there = u32::try_from(lives.count())?;
    }
    Ok(there)
}
