//! The story: a pipeline of three stages that a day of real load goes through, a backfill that comes every hour, and what goes wrong.
//! Used by `main`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use penstock::simulate::{Join, Peak, Scenario, Shape, Span, Trace, Workload};
use serde_json::{Value, json};

const HOUR: u32 = 3600;
/// Of each run, the hours that are scored, after one to warm up.
pub(crate) const HOURS: u32 = 24;
pub(crate) const WARMUP: u32 = HOUR;
/// How late a live item may be from end to end, and an item of the backfill. Seconds.
pub(crate) const LIVE: u32 = 180;
pub(crate) const BATCH: u32 = 20 * 60;
/// Items of one backfill, which come within a minute at the full hour: what six replicas do in those 20 minutes.
const BATCH_ITEMS: f64 = 6.0 * BATCH_RATE * 1200.0;
const BATCH_RATE: f64 = 50.0;
/// What a team gives the backfill that does not scale it: 24 partitions go evenly to six or to eight, and six have nothing to spare.
pub(crate) const STATIC_BATCH: u32 = 8;
/// Items a second at the highest minute of the two weeks.
const PEAK: f64 = 2000.0;
/// Where in the trace the run of a seed begins, as steps of so many hours through two weeks.
const STEP: f64 = 29.0;
const TRACE_HOURS: f64 = 330.0;

/// What one replica of each stage costs an hour, by its vCPUs at 0.04 each: parse, enrich, sink; and the backfill.
pub(crate) const PRICES: [f64; 3] = [0.5 * 0.04, 2.0 * 0.04, 0.04];
pub(crate) const BATCH_PRICE: f64 = 2.0 * 0.04;

/// The live pipeline of a seed: one of the days of the trace, its own bad release, its own chance.
pub(crate) fn live(seed: u64) -> Result<Scenario> {
    let stage = |name: &str, after: &[&str], reads: &str, max: u32| {
        json!({
            "name": name, "after": after, "target": {"kind": "Deployment", "name": name},
            "replicas": {"min": 1, "max": max},
            "sources": [{"name": "queue", "kafka": {"bootstrapServers": "kafka:9092", "topics": [reads], "group": name}}],
        })
    };
    let mut parse = stage("parse", &[], "raw", 24);
    if let Value::Object(parse) = &mut parse {
        parse.remove("after");
    }
    let stages = [
        parse,
        stage("enrich", &["parse"], "parsed", 48),
        stage("sink", &["enrich"], "enriched", 24),
    ];
    let released = bad_release(seed);
    let mut world = faults();
    merge(&mut world, json!({"partitions": 24, "startup": {"p50": "30s", "p90": "60s"}}));
    let text = json!({
        "name": "story", "pipeline": pipeline("orders", LIVE, &stages), "world": world,
        "workload": {"steady": {}, "peakRate": PEAK},
        "stages": {
            "parse": {"rate": 200},
            "enrich": {"rate": 60, "partitions": 48, "selectivity": 0.6, "steps": released},
            "sink": {"rate": 150},
        },
        "duration": format!("{}s", WARMUP + HOURS * HOUR), "warmup": format!("{WARMUP}s"),
    });
    let mut scenario = read(&text)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces/worldcup98.csv");
    let rows =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let from = (hours(seed) * STEP).rem_euclid(TRACE_HOURS - f64::from(HOURS) - 1.0);
    let highest =
        rows.lines().filter_map(|line| line.split_once(',')?.1.parse().ok()).fold(1.0, f64::max);
    let scaled: Vec<_> = rows
        .lines()
        .filter_map(|line| {
            let (at, rate) = line.split_once(',')?;
            let (at, rate): (f64, f64) = (at.parse().ok()?, rate.parse().ok()?);
            Some(format!("{at},{}", rate / highest * PEAK))
        })
        .collect();
    let trace = Trace::read(&scaled.join("\n"), Span::of(from * 3600.0), Join::Hold, false)?;
    give(&mut scenario, trace)?;
    Ok(scenario)
}

/// The backfill, the same in every run but for chance.
pub(crate) fn backfill() -> Result<Scenario> {
    let stage = json!({
        "name": "backfill", "target": {"kind": "Deployment", "name": "backfill"},
        "replicas": {"min": 0, "max": 24},
        "sources": [{"name": "queue", "kafka": {"bootstrapServers": "kafka:9092", "topics": ["todo"], "group": "backfill"}}],
    });
    let mut world = faults();
    merge(
        &mut world,
        json!({
            "partitions": 24, "rate": BATCH_RATE, "replicas": STATIC_BATCH, "startup": {"p50": "30s", "p90": "60s"},
        }),
    );
    let text = json!({
        "name": "backfill", "pipeline": pipeline("backfill", BATCH, &[stage]), "world": world,
        "workload": {"steady": {}, "peakRate": 1},
        "duration": format!("{}s", WARMUP + HOURS * HOUR), "warmup": format!("{WARMUP}s"),
    });
    let mut scenario = read(&text)?;
    let mut rows = String::new();
    for hour in 0..=HOURS {
        let (begin, end) = (hour * HOUR, hour * HOUR + 60);
        writeln!(rows, "{begin},{}\n{end},0", BATCH_ITEMS / 60.0)?;
    }
    writeln!(rows, "{},0", (HOURS + 2) * HOUR)?;
    give(&mut scenario, Trace::read(&rows, Span::of(0.0), Join::Hold, false)?)?;
    Ok(scenario)
}

/// What goes wrong in every run: each replica crashes about once in two days, a third of the pods is taken away three times a day, one
/// pod in ten waits for a node, one reading in a hundred is lost, and for five minutes twice a day all of them.
fn faults() -> Value {
    json!({
        "crashesPerDay": 0.5,
        "interruptions": {"every": "8h", "share": 0.33},
        "nodes": {"probability": 0.1, "p50": "2m", "p90": "4m"},
        "lost": {"share": 0.01, "outageEvery": "12h", "outageLasts": "5m"},
    })
}

/// For two hours of the day enrich is a quarter slower: someone released what they should not have, and took it back.
fn bad_release(seed: u64) -> Value {
    let at = WARMUP + HOUR * (2 + u32::try_from(seed * 7 % 19).unwrap_or(0));
    json!([{"at": format!("{at}s"), "factor": 0.75}, {"at": format!("{}s", at + 2 * HOUR), "factor": 1.0}])
}

fn pipeline(name: &str, max_delay: u32, stages: &[Value]) -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"objective": {"maxDelay": format!("{max_delay}s")}, "stages": stages},
    })
}

fn read(text: &Value) -> Result<Scenario> {
    Ok(Scenario::read(&text.to_string(), Path::new("."))?)
}

/// The first stage gets this load, as it is written.
fn give(scenario: &mut Scenario, trace: Trace) -> Result<()> {
    let first = scenario.stages.first_mut().context("a scenario without a stage")?;
    first.workload =
        Some(Workload { shape: Shape::Trace(trace), peak: Peak::AsIs, dispersion: 1.0 });
    Ok(())
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn hours(seed: u64) -> f64 {
    f64::from(u32::try_from(seed).unwrap_or(u32::MAX))
}
