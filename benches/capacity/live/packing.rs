//! A stage that says `scaleIn: Pack` goes down in steps: how many nodes are empty after each, of those that so many pods fewer could empty; and how
//! many pods are written on for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::book::{Bar, Book};
use crate::eye::Eye;
use crate::rig::RequestLog;
use crate::scene::workload;
use crate::yard::{Items, node};

use super::ground::Ground;
use super::terms::{GRACE, LONG};

/// As many as there are replicas at the most.
const PARTITIONS: i32 = 30;
const NAME: &str = "pack";
const NODES: u32 = 6;
/// Four pods on each node, which takes five.
const ALL: u32 = 24;
/// Counts, one after the other; what goes up is spread evenly again.
const STEPS: [u32; 9] = [16, 12, 4, ALL, 20, 13, 8, ALL, 2];
/// Longer than costs stand there that no step needs.
const QUIET: Duration = Duration::from_secs(15);

/// Plays it; in words, and beside its targets.
pub(crate) async fn packing(ground: &Ground, book: &mut Book) -> Result<Vec<String>> {
    let scene = &ground.scene;
    for number in 1..=NODES {
        ground.make(node(NAME, number, 5)).await?;
    }
    let more = json!({
        "nodeSelector": {"pool": NAME}, "terminationGracePeriodSeconds": GRACE,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": NAME}},
        }],
    });
    scene.create(workload("Deployment", NAME, ALL, &json!({"cpu": "1"}), more)).await?;
    let mut items = Items::over(&format!("{}-{NAME}", scene.namespace), PARTITIONS).await?;
    items.want(ALL.into()).await?;
    let eye = Eye::on(scene.client.clone(), &scene.namespace, &format!("app={NAME}"));
    until_ready(ground, &eye, ALL).await?;
    let mut log = ground.cluster.requests()?;
    let at_once = json!({"stabilizationWindowSeconds": 0});
    scene
        .pipeline(
            NAME,
            json!({
                "name": "sink", "target": {"name": NAME}, "replicas": {"min": 1, "max": 40}, "capacity": {"scaleIn": "Pack"},
                "behavior": {"scaleUp": at_once, "scaleDown": at_once}, "sources": [items.source()],
            }),
        )
        .await?;
    tokio::time::sleep(QUIET).await;
    let mut idle = told(&mut log, &scene.namespace)?;
    let (mut emptied, mut could, mut writes, mut touched, mut now) = (0, 0, 0, 0, ALL);
    let mut worst = 0.0_f64;
    for step in STEPS {
        let before = eye.seen().standing();
        items.want(step.into()).await?;
        until_ready(ground, &eye, step).await?;
        let after = eye.seen().standing();
        let wrote = told(&mut log, &scene.namespace)?;
        if step < now {
            let go = usize::try_from(now - step)?;
            emptied += before.len() - after.len();
            could += most(before.values().copied().collect(), go);
            let lost = before.iter().filter(|(node, pods)| after.get(*node) != Some(*pods));
            let stood = lost.map(|(_, pods)| *pods).sum();
            worst = worst.max(number(wrote) / number(stood));
            (writes, touched) = (writes + wrote, touched + stood);
        } else {
            idle += wrote;
        }
        now = step;
    }
    tokio::time::sleep(QUIET).await;
    idle += told(&mut log, &scene.namespace)?;
    let share = number(emptied) / number(could);
    book.note("live, packing: emptied of what could be", share, (Bar::AtLeast, 0.95), "");
    let kind = "live, packing: writes for each pod of victims' nodes, worst step";
    book.note(kind, worst, (Bar::AtMost, 1.0), "");
    book.note("live, packing: writes while nothing goes", number(idle), (Bar::AtMost, 0.0), "");
    Ok(vec![format!(
        "packing: {emptied} of {could} nodes emptied over the steps {STEPS:?} from {ALL}; {writes} deletion costs written, {touched} pods stood on the nodes that lost some ({worst:.2} for each of them in the worst step); {idle} written while nothing went"
    )])
}

async fn until_ready(ground: &Ground, eye: &Eye, count: u32) -> Result<()> {
    let count = usize::try_from(count)?;
    ground
        .scene
        .until(&format!("{count} pods to be Ready"), LONG, async || {
            let ready = eye.seen().ready.len();
            ensure!(ready == count, "{ready} are");
            Ok(Some(()))
        })
        .await
}

/// The most nodes that so many pods fewer can empty.
fn most(mut standing: Vec<usize>, mut go: usize) -> usize {
    standing.sort_unstable();
    let mut empties = |pods: &&usize| {
        let fits = **pods <= go;
        go = go.saturating_sub(**pods);
        fits
    };
    standing.iter().take_while(&mut empties).count()
}

/// Pods that Penstock wrote a deletion cost on since the last call.
fn told(log: &mut RequestLog, namespace: &str) -> Result<usize> {
    let is_ours = |uri: &str| uri.contains("fieldManager=penstock-scalein");
    let all = log.take()?;
    let ours = all.iter().filter(|it| it.code == 200 && is_ours(&it.uri));
    Ok(ours.filter(|it| it.namespace == namespace).count())
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
