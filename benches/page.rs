//! How soon the page is there with 1,000 pipelines: the real daemon on the in-memory API, and a real Chromium without a screen that opens the
//! page again and again, with an empty cache and with a full one. Run by `make bench-page`. Prints when something is painted first, when the
//! pipelines are, and what came over the wire; exits 1 when a first paint takes longer than promised, and says by how much.
//!
//! `-- --pipelines N` (1,000), `-- --runs N` (20 of each kind).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "../tests/live/rig/mod.rs"]
mod rig;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::demo::cluster::{Cluster, Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use rig::{Browser, Penstock, fresh_folder, until};

/// From the click to the first paint, in milliseconds, the median of all runs of a kind.
const PROMISED: f64 = 200.0;
const PIPELINES: usize = 1_000;
const RUNS: usize = 20;
/// Teams, each with a namespace.
const TEAMS: usize = 20;
/// One of so many has no target, and needs a look.
const BROKEN: usize = 25;
/// For as long as a busy machine may take to decide on all of them.
const PATIENCE: Duration = Duration::from_mins(5);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(Box::pin(bench())) {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            for miss in missed {
                println!("MISSED  {miss}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("the benchmark could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The number after a flag.
fn option(flag: &str, usual: usize) -> Result<usize> {
    let said = std::env::args().skip_while(|argument| argument != flag).nth(1);
    said.map_or(Ok(usual), |said| said.parse().with_context(|| format!("{flag} takes a number")))
}

async fn bench() -> Result<Vec<String>> {
    let (count, runs) = (option("--pipelines", PIPELINES)?, option("--runs", RUNS)?);
    ensure!(count > 0 && runs > 0, "of nothing there is nothing to measure");
    let cluster = fleet(count)?;
    let daemon = serve(&cluster, count).await?;
    let page = format!("http://{}/", daemon.page_address());
    let mut browser = Browser::start().await?;
    browser.look(1280, 900, false).await?;
    // Chromium itself is warm, as a browser is in which one works.
    visit(&mut browser, &page).await?;
    println!("{count} pipelines, {runs} visits of each kind, in ms from the click:\n");
    println!("| cache | first paint, median | worst | pipelines on screen, median | worst | KiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for (cache, is_empty) in [("empty", true), ("full", false)] {
        browser.cache(!is_empty).await?;
        let mut visits = Vec::new();
        for _ in 0..runs {
            visits.push(visit(&mut browser, &page).await?);
        }
        let paint = Spread::of(&visits, |visit| visit.paint);
        let lines = Spread::of(&visits, |visit| visit.lines);
        let bytes = Spread::of(&visits, |visit| visit.kib);
        println!(
            "| {cache} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            paint.median, paint.worst, lines.median, lines.worst, bytes.median
        );
        if paint.median > PROMISED {
            missed.push(format!(
                "with {count} pipelines and an {cache} cache the first paint takes {:.0} ms, not {PROMISED}",
                paint.median
            ));
        }
    }
    ensure!(browser.errors.is_empty(), "{:#?}", browser.errors);
    Ok(missed)
}

/// A cluster in memory with so many pipelines, each with a Deployment of its own and pods that wait to be counted.
fn fleet(count: usize) -> Result<Cluster> {
    let cluster = Cluster::new(Options { nodes: 10, ..Options::default() });
    let failed = |error: String| anyhow::anyhow!(error);
    for definition in penstock::crd::all() {
        cluster.define(serde_json::to_value(definition)?).map_err(failed)?;
    }
    for team in 0..TEAMS {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("team-{team:02}")},
        });
        cluster.put("", "v1", "namespaces", "", object).map_err(failed)?;
    }
    for number in 0..count {
        let (team, name) = (format!("team-{:02}", number % TEAMS), format!("orders-{number:04}"));
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": team},
            "spec": {"replicas": 1 + number % 3, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]},
            }},
        });
        let target = if number % BROKEN == 0 { "nowhere" } else { &name };
        let pipeline = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": name, "namespace": team},
            "spec": {"stages": [{
                "name": "enrich", "target": {"kind": "Deployment", "name": target}, "replicas": {"max": 4},
                "sources": [{"name": "pods", "workload": {"selector": {"matchLabels": labels}, "perReplica": 1}}],
            }]},
        });
        cluster.put("apps", "v1", "deployments", &team, deployment).map_err(failed)?;
        cluster
            .put("penstock.dev", "v1alpha1", "scaledpipelines", &team, pipeline)
            .map_err(failed)?;
    }
    Ok(cluster)
}

/// The daemon, once it has decided on all of them.
async fn serve(cluster: &Cluster, count: usize) -> Result<Penstock> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let file = fresh_folder("fleet")?.join("kubeconfig");
    std::fs::write(&file, cluster.kubeconfig(listener.local_addr()?))?;
    cluster.serve(listener);
    let daemon = Penstock::run(&file, &["--lease-namespace", "default"]).await?;
    until("all pipelines to be decided on", PATIENCE, async || {
        let overview = daemon.page("/api/v1/overview").await?;
        let rows = overview["pipelines"].as_array().context("no overview")?;
        let known = rows.iter().filter(|row| row["state"] != "Unknown").count();
        ensure!(known == count, "{known} of {count} are known");
        Ok(Some(()))
    })
    .await?;
    Ok(daemon)
}

/// What one visit came to.
struct Visit {
    /// Milliseconds to the first paint.
    paint: f64,
    /// Milliseconds until the lines of the pipelines were on screen.
    lines: f64,
    /// What came, before it was packed for the way.
    kib: f64,
}

/// Opens the page, and waits until the pipelines are on screen.
async fn visit(browser: &mut Browser, page: &str) -> Result<Visit> {
    browser.go("about:blank").await?;
    browser.until("location.href === 'about:blank'").await?;
    browser.received = 0;
    browser.go(page).await?;
    browser.until("performance.getEntriesByName('lines').length > 0 && performance.getEntriesByType('paint').length > 0").await?;
    browser.until("document.querySelectorAll('tr[data-id]').length > 5").await?;
    let paint = "performance.getEntriesByName('first-paint')[0].startTime";
    let lines = "performance.getEntriesByName('lines')[0].startTime";
    let number = |value: Value| value.as_f64().context("no number");
    let paint = number(browser.value(paint).await?)?;
    let lines = number(browser.value(lines).await?)?;
    let kib = f64::from(u32::try_from(browser.received)?) / 1024.0;
    Ok(Visit { paint, lines, kib })
}

/// The middle and the worst of many.
struct Spread {
    median: f64,
    worst: f64,
}

impl Spread {
    fn of(visits: &[Visit], what: impl Fn(&Visit) -> f64) -> Self {
        let mut all: Vec<f64> = visits.iter().map(what).collect();
        all.sort_by(f64::total_cmp);
        let last = all.len().saturating_sub(1);
        Self { median: all[last / 2], worst: all[last] }
    }
}
