//! The stage that is played, and the weather it is played in: its load, its lanes, and how spot comes and goes. Used by `main` and `trials`.

use std::path::Path;

use anyhow::Result;
use penstock::simulate::Scenario;
use penstock::simulate::nodes::{Region, Split, Weather};

/// Seconds played of each pattern, and of these the ones that are not scored.
pub(crate) const DURATION: u32 = 50 * 3600;
pub(crate) const WARMUP: u32 = 2 * 3600;
/// The delay to keep, in seconds.
pub(crate) const DELAY: u32 = 180;
/// What is on demand in any case; all above it is spot's.
pub(crate) const SPLIT: Split = Split { base: 2, share: 100 };
/// Nodes that one zone gives at most.
pub(crate) const MOST: u32 = 8;

pub(crate) const DAY: u32 = 86_400;

/// Who keeps room on nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Nobody,
    /// Who makes nodes keeps one of spot to spare.
    Spare,
    /// Penstock, by `capacity.headroom`.
    Own,
}

/// How spot comes and goes.
pub(crate) struct Pattern {
    pub(crate) name: &'static str,
    /// For each region, the share of the time in which each of its zones has room, in per cent.
    regions: &'static [&'static [u32]],
    /// Of zones within a region, in per cent.
    correlation: u32,
    /// Mean minutes until what befalls a region, and a zone, is drawn anew.
    lasts: (u32, u32),
}

/// After what was measured on public spot traces (skypilot-org/spot-traces, 45 days, nine zones): a zone has room 17 to 90 % of the time, any of four zones of
/// us-east-1 71 %, any of three of us-west-2 96 %, any of nine 99 %; zones of one region are correlated by 0.25 to 0.59.
pub(crate) const PATTERNS: [Pattern; 6] = [
    Pattern { name: "one zone, 90 %", regions: &[&[90]], correlation: 0, lasts: (240, 120) },
    Pattern { name: "one zone, 54 %", regions: &[&[54]], correlation: 0, lasts: (240, 120) },
    Pattern {
        name: "three zones of a region",
        regions: &[&[90, 75, 60]],
        correlation: 25,
        lasts: (240, 120),
    },
    Pattern {
        name: "four zones of a region",
        regions: &[&[17, 30, 42, 55]],
        correlation: 59,
        lasts: (240, 120),
    },
    Pattern {
        name: "nine zones, three regions",
        regions: &[&[90, 75, 60], &[17, 30, 42], &[55, 48, 36]],
        correlation: 40,
        lasts: (240, 120),
    },
    Pattern {
        name: "three zones, restless",
        regions: &[&[80, 65, 50]],
        correlation: 25,
        lasts: (60, 30),
    },
];

impl Pattern {
    pub(crate) fn weather(&self, seed: u64) -> Weather {
        let share = |per_cent: &u32| f64::from(*per_cent) / 100.0;
        let region = |zones: &&[u32]| Region {
            zones: zones.iter().map(share).collect(),
            correlation: share(&self.correlation),
            region_lasts: f64::from(self.lasts.0) * 60.0,
            zone_lasts: f64::from(self.lasts.1) * 60.0,
        };
        let regions: Vec<_> = self.regions.iter().map(region).collect();
        Weather::draw(&regions, MOST, DURATION, seed)
    }
}

/// The stage under a day's load, two days long: from a third of the peak to 24 replicas.
pub(crate) fn daily(room: Room) -> Result<Scenario> {
    let load = "{diurnal: {low: 0.3}, peakReplicas: 24}";
    scenario((load, ""), "{min: 2, max: 60}", room, (DURATION, WARMUP))
}

/// The stage with twelve replicas, no more and no fewer, and work for eight.
pub(crate) fn steady(duration: u32, room: Room) -> Result<Scenario> {
    let load = "{steady: {}, peakReplicas: 8}";
    scenario((load, ""), "{min: 12, max: 12}", room, (duration, 3600))
}

/// The stage under a load that climbs to five times as much within an hour, twice a day, over so many days of which the first are not scored.
pub(crate) fn climbing(room: Room, days: (u32, u32)) -> Result<Scenario> {
    let load = "{ramp: {low: 0.2, perHour: 5, hold: 5h}, peakReplicas: 24}";
    scenario((load, ""), "{min: 2, max: 60}", room, (days.0 * DAY, days.1 * DAY))
}

/// The stage with work for four replicas, of which its owner wants 16 from eight to six.
pub(crate) fn opening(room: Room, days: (u32, u32)) -> Result<Scenario> {
    let load = "{steady: {}, peakReplicas: 4}";
    let schedule = r#"schedules: [{name: day, start: "0 8 * * *", end: "0 18 * * *", timeZone: UTC, replicas: {min: 16}}]"#;
    scenario((load, schedule), "{min: 2, max: 60}", room, (days.0 * DAY, days.1 * DAY))
}

fn scenario(
    (workload, schedules): (&str, &str),
    replicas: &str,
    room: Room,
    (duration, warmup): (u32, u32),
) -> Result<Scenario> {
    let headroom = if room == Room::Own { "capacity: {headroom: {mode: Auto}}" } else { "" };
    let text = format!(
        r#"
name: capacity
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {{name: orders, namespace: shop}}
  spec:
    objective: {{maxDelay: {DELAY}s}}
    stages:
    - name: sink
      target: {{kind: Deployment, name: sink}}
      replicas: {replicas}
      {headroom}
      {schedules}
      sources: [{{name: queue, kafka: {{bootstrapServers: "kafka:9092", topics: [todo], group: sink}}}}]
workload: {workload}
world: {{rate: 100, partitions: 144}}
duration: {duration}s
warmup: {warmup}s
"#
    );
    Ok(Scenario::read(&text, Path::new("."))?)
}
