//! The one scenario that is played twice: its load, its consumers, what is promised; and the same in the words of `penstock simulate`.
//! Used by `real` and by `main`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::demo::traffic::Load;
use penstock::simulate::Scenario;
use serde_json::{Value, json};

pub(crate) const PARTITIONS: i32 = 24;
/// Items a second of one consumer: it waits for a twentieth of a second with each.
pub(crate) const RATE: f64 = 20.0;
pub(crate) const MAX_DELAY: u32 = 60;
/// From a pod that is bound to a node to one that is Ready. That a pod is made and bound takes less than a second more.
pub(crate) const STARTUP: Duration = Duration::from_secs(20);
pub(crate) const COMMITS: Duration = Duration::from_secs(5);
/// Replicas at the start, at least and at most.
pub(crate) const START: u32 = 4;
pub(crate) const MIN: u32 = 1;
pub(crate) const MAX: u32 = 24;
/// What the plain HPA is set to: items of lag for each replica, 15 s of its work. Its looks are Kubernetes' own, 15 s apart.
pub(crate) const LAG: f64 = 300.0;
pub(crate) const SYNC: f64 = 15.0;
/// Not scored: consumers join, and nothing is known yet.
pub(crate) const WARMUP: u32 = 60;
/// What a partition stands still when it moves from one consumer to another: librdkafka's second round of a cooperative rebalance,
/// which begins with a heartbeat (every 3 s), and the fetch after it.
const PAUSE: &str = "4s";

/// Share of the time, and items a second: a morning, a noon, a crowd out of nowhere, an evening.
const LOAD: [(f64, f64); 11] = [
    (0.0, 60.0),
    (0.1, 60.0),
    (0.25, 180.0),
    (0.4, 180.0),
    (0.405, 320.0),
    (0.52, 320.0),
    (0.525, 140.0),
    (0.7, 140.0),
    (0.8, 240.0),
    (0.9, 100.0),
    (1.0, 80.0),
];

/// Seconds, and items a second.
fn corners(seconds: u32) -> impl Iterator<Item = (f64, f64)> {
    LOAD.into_iter().map(move |(share, rate)| ((share * f64::from(seconds)).round(), rate))
}

/// As the real producer follows it.
pub(crate) fn load(seconds: u32) -> Load {
    Load::path(corners(seconds).map(|(at, rate)| (Duration::from_secs_f64(at), rate)))
}

/// What Penstock is given, in the cluster and in the simulator.
pub(crate) fn pipeline(bootstrap: &str, topic: &str) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "orders"},
        "spec": {
            "objective": {"maxDelay": format!("{MAX_DELAY}s")},
            "stages": [{
                "name": "work", "target": {"kind": "Deployment", "name": "work"},
                "replicas": {"min": MIN, "max": MAX},
                "sources": [{"name": "queue", "kafka": {
                    "bootstrapServers": bootstrap, "topics": [topic], "group": topic, "offsetReset": "Earliest",
                }}],
            }],
        },
    })
}

/// What the plain HPA is given.
pub(crate) fn hpa(metric: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "orders"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "work"},
            "minReplicas": MIN, "maxReplicas": MAX,
            "metrics": [{"type": "External", "external": {
                "metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": format!("{LAG}")},
            }}],
        },
    })
}

/// The same for the simulator. Its load is written to `load.csv` in the folder.
pub(crate) fn scenario(seconds: u32, folder: &Path) -> Result<Scenario> {
    let mut rows = "seconds,rate\n".to_owned();
    for (at, rate) in corners(seconds) {
        writeln!(rows, "{at},{rate}")?;
    }
    std::fs::write(folder.join("load.csv"), rows).context("write the load")?;
    let text = json!({
        "name": "The simulator against reality",
        "pipeline": pipeline("kafka:9092", "orders"),
        "workload": {"trace": {"file": "load.csv", "join": "Linear"}, "dispersion": 0},
        "world": {
            "rate": RATE, "partitions": PARTITIONS, "skew": {"uniform": 0}, "noise": 0, "drift": {"by": 0},
            "startup": format!("{}s", STARTUP.as_secs() + 1),
            "rebalance": {"mode": "Cooperative", "pause": PAUSE, "joinDelay": "3s"},
            "commitInterval": format!("{}s", COMMITS.as_secs()), "replicas": START,
        },
        "duration": format!("{seconds}s"), "warmup": format!("{WARMUP}s"),
    });
    Scenario::read(&text.to_string(), folder).context("read the scenario")
}
