//! What Helm prints after an install, followed as it is written: its commands are given to a shell on a cluster where nothing is but Penstock.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Reader;
use crate::rig::until;
use crate::scene::SOON;

/// How the line above some commands begins, and words of what they say. The notes in their order.
const NOTES: &[(&str, &[&str])] = &[
    ("Is it up?", &["successfully rolled out", "all is well"]),
    (
        "A first pipeline",
        &["namespace/mailroom created", "scaledpipeline.penstock.dev/post created"],
    ),
    ("Why has it as many", &["condition met", "sort should have"]),
    ("All pipelines", &["Penstock"]),
    ("To remove Penstock", &["release \"penstock\" uninstalled", "-room-", "poddisruptionbudget"]),
    ("That leaves the CRDs", &["scaledpipelines.penstock.dev", "deleted"]),
];
/// Commands that are tried elsewhere, or are part of one.
const PASSED: &[&str] = &["The same from within the cluster", "No published image exists yet"];

/// The commands of the notes, each with the line above it.
fn scripts(notes: &str) -> Vec<(String, String)> {
    let (mut found, mut above): (Vec<(String, String)>, _) = (Vec::new(), String::new());
    let mut goes_on = false;
    for line in notes.lines() {
        match line.strip_prefix("  ") {
            Some(command) if goes_on => {
                if let Some((_, script)) = found.last_mut() {
                    script.push('\n');
                    script.push_str(command);
                }
            }
            Some(command) => found.push((above.clone(), command.to_owned())),
            None => line.clone_into(&mut above),
        }
        goes_on = line.starts_with("  ");
    }
    found.retain(|(above, _)| !PASSED.iter().any(|passed| above.starts_with(passed)));
    found
}

/// One stage that will need room in four minutes, and one whose drains are held: what makes objects that stay.
fn leaving() -> String {
    let soon = penstock::clock::Clock::start().now() + Duration::from_mins(4);
    let [start, end] =
        [soon, soon + Duration::from_hours(1)].map(|at| at.strftime("%M %H * * *").to_string());
    format!(
        r#"
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {{name: post}}
spec:
  stages:
  - name: sort
    target: {{kind: Deployment, name: clerks}}
    replicas: {{min: 1, max: 10}}
    capacity: {{headroom: {{mode: Auto}}}}
    schedules: [{{name: opening, start: "{start}", end: "{end}", timeZone: UTC, replicas: {{min: 9}}}}]
    sources: [{{name: letters, workload: {{selector: {{matchLabels: {{app: letters}}}}, perReplica: 3}}}}]
---
apiVersion: penstock.dev/v1alpha1
kind: CapacityPool
metadata: {{name: all}}
spec: {{class: OnDemand, nodeSelector: {{kubernetes.io/os: linux}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: stamps}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: stamps}}}}
  template:
    metadata: {{labels: {{app: stamps}}}}
    spec: {{containers: [{{name: stamp, image: "none:1"}}]}}
---
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {{name: stamps}}
spec:
  stages:
  - name: stamp
    replicas: {{min: 1, max: 10}}
    capacity: {{drain: Hold}}
    lanes: [{{pool: all, share: 100, target: {{kind: Deployment, name: stamps}}}}]
    sources: [{{name: letters, workload: {{selector: {{matchLabels: {{app: letters}}}}, perReplica: 3}}}}]
"#
    )
}

#[tokio::test]
async fn the_notes_of_the_chart_work_as_they_are_written_and_leave_nothing() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let install = "helm install penstock charts/penstock -n penstock --create-namespace --set headroom.enabled=true,draining.enabled=true";
    let notes = reader.give(install, &[]).await?;
    let mut scripts = scripts(&notes).into_iter();
    for (start, words) in NOTES {
        if *start == "To remove Penstock" {
            what_stays(&reader).await?;
        }
        let (above, script) =
            scripts.next().with_context(|| format!("where is {start}? {notes}"))?;
        ensure!(above.starts_with(start), "{above:?} stands where {start:?} is expected: {notes}");
        let said = reader.give(&script, words).await.with_context(|| script.clone())?;
        for word in *words {
            ensure!(said.contains(word), "`{script}` says no {word:?}: {said}");
        }
    }
    ensure!(scripts.next().is_none(), "nobody followed the end of {notes}");
    let mine = ["get", "deployments,poddisruptionbudgets", "-A", "-o", "name", "-l"];
    for label in ["penstock.dev/headroom", "penstock.dev/drain"] {
        let left = reader.cluster.kubectl(&[&mine[..], &[label]].concat()).await?;
        ensure!(left.trim().is_empty(), "{left}");
    }
    Ok(())
}

/// Has Penstock make what outlives it.
async fn what_stays(reader: &Reader) -> Result<()> {
    reader.cluster.apply("mailroom", &leaving()).await?;
    for (kind, label) in
        [("deployments", "penstock.dev/headroom"), ("poddisruptionbudgets", "penstock.dev/drain")]
    {
        until("what keeps room and holds drains", SOON, async || {
            let get = ["-n", "mailroom", "get", kind, "-l", label, "-o", "name"];
            let there = reader.cluster.kubectl(&get).await?;
            ensure!(!there.trim().is_empty(), "no {kind} with {label}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}
