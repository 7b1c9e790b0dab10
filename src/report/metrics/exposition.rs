//! How the metrics are printed: the latest pictures and the counts, as families of `prometheus-client`. Called by its registry
//! at each scrape; what is counted, and when, is for `metrics`, and what the families are called for `table`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::super::{Costs, Glance};
use super::table::{self, Family, Kind, Unit};
use super::{Counts, Heard, Picture, PoolPicture, Sheet};
use crate::decide::{Observation, PipelineId, PoolState, Reason, Verdict};

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn stage_labels<'a>(pipeline: &'a PipelineId, stage: &'a str) -> Labels<'a> {
    vec![("namespace", &pipeline.namespace), ("pipeline", &pipeline.name), ("stage", stage)]
}

static MESSAGES: LazyLock<prometheus_client::registry::Unit> =
    LazyLock::new(|| prometheus_client::registry::Unit::Other("messages".to_owned()));

/// Begins a family: its head, after which its series follow.
fn begin<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    family: &Family,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let kind = match family.kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    };
    let unit = family.unit.map(|unit| match unit {
        Unit::Seconds => &prometheus_client::registry::Unit::Seconds,
        Unit::Messages => &*MESSAGES,
    });
    to.encode_descriptor(family.stem(), family.help, unit, kind)
}

impl Family {
    /// The name without prefix, unit, and what OpenMetrics adds to counters and infos: the printer puts these back.
    fn stem(&self) -> &'static str {
        let name = self.name.trim_start_matches(table::PREFIX).trim_start_matches('_');
        let name = match self.kind {
            Kind::Counter => name.trim_end_matches("_total"),
            Kind::Info => name.trim_end_matches("_info"),
            Kind::Gauge | Kind::Histogram => name,
        };
        self.unit.map_or(name, |unit| name.trim_end_matches(unit.word()).trim_end_matches('_'))
    }
}

/// A gauge of each stage, where its picture has one.
type Gauge = (Family, fn(&Verdict) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
const STAGE_GAUGES: [Gauge; 9] = [
    (table::STAGE_LAG, |v| v.signals.lag.map(|lag| lag as f64)),
    (table::STAGE_DELAY, |v| v.signals.delay),
    (table::STAGE_OBJECTIVE, |v| v.signals.objective),
    (table::STAGE_RESOLUTION, |v| v.signals.resolution),
    (table::STAGE_ARRIVAL_RATE, |v| v.signals.arrival_rate),
    (table::STAGE_FORECAST_RATE, |v| v.signals.forecast_rate),
    (table::STAGE_SERVICE_RATE, |v| v.signals.rate_per_replica),
    (table::STAGE_STARTUP, |v| v.signals.startup),
    (table::STAGE_REBALANCE, |v| v.signals.rebalance),
];

impl Collector for Sheet {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let pictures = self.standing.all();
        encode_replicas(&mut to, &pictures)?;
        for (family, value) in STAGE_GAUGES {
            let mut family = begin(&mut to, &family)?;
            for picture in &pictures {
                for verdict in &picture.verdicts {
                    if let Some(value) = value(verdict).filter(|value| value.is_finite()) {
                        let labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
                        family.encode_family(&labels)?.encode_gauge(&value)?;
                    }
                }
            }
        }
        encode_lanes(&mut to, &pictures)?;
        encode_costs(&mut to, &pictures)?;
        encode_pools(&mut to, &pictures, &self.pools.pictures())?;
        let leads = *self.leads.borrow();
        encode_reasons(&mut to, &pictures, leads)?;
        encode_withheld(&mut to, &pictures)?;
        encode_anomalies(&mut to, &pictures)?;
        encode_sources(&mut to, &pictures)?;
        let counts = self.counts();
        encode_conditions(&mut to, &counts, leads)?;
        encode_stage_counts(&mut to, &counts)?;
        encode_polls(&mut to, &pictures)?;
        encode_process(&mut to, &counts, leads)?;
        drop(counts);
        let mut family = begin(&mut to, &table::API_REQUESTS)?;
        for ((verb, resource, code), count) in self.requests.counts() {
            let labels: Labels<'_> = vec![("verb", verb), ("resource", &resource), ("code", &code)];
            encode_count(&mut family, &labels, count)?;
        }
        Ok(())
    }
}

fn encode_count(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, count: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<Labels<'_>, u64, f64>(&count, None)
}

fn encode_replicas(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let mut family = begin(to, &table::STAGE_REPLICAS)?;
    for picture in pictures {
        let Some(situation) = &picture.situation else { continue };
        for (index, stage) in situation.pipeline.stages.iter().enumerate() {
            let workload = picture.workload(index);
            let states = [
                ("current", workload.map(|workload| workload.current)),
                ("ready", workload.map(|workload| workload.ready)),
                ("desired", picture.verdicts.get(index).and_then(|verdict| verdict.replicas)),
                ("min", Some(stage.min)),
                ("max", Some(stage.max)),
            ];
            for (state, replicas) in states {
                let Some(replicas) = replicas else { continue };
                let mut labels = stage_labels(&picture.glance.id, &stage.name);
                labels.push(("state", state));
                family.encode_family(&labels)?.encode_gauge(&f64::from(replicas))?;
            }
        }
    }
    Ok(())
}

/// What binds each stage, told by the leader alone: another may see it otherwise, and nothing comes of that.
fn encode_reasons(
    to: &mut DescriptorEncoder<'_>,
    pictures: &[Arc<Picture>],
    leads: bool,
) -> fmt::Result {
    let mut family = begin(to, &table::STAGE_REASON)?;
    let verdicts = pictures.iter().flat_map(|picture| &picture.verdicts);
    for verdict in verdicts.filter(|_| leads) {
        let Some(reason) = verdict.reason() else { continue };
        let mut labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
        labels.push(("reason", reason.code()));
        family.encode_family(&labels)?.encode_gauge(&1.0)?;
    }
    Ok(())
}

fn encode_withheld(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let mut family = begin(to, &table::STAGE_WITHHELD)?;
    for picture in pictures {
        let Some(situation) = &picture.situation else { continue };
        for stage in &situation.pipeline.stages {
            let Some(reason) = situation.pipeline.withholds(stage) else { continue };
            let mut labels = stage_labels(&picture.glance.id, &stage.name);
            labels.push(("reason", reason));
            family.encode_family(&labels)?.encode_gauge(&1.0)?;
        }
    }
    Ok(())
}

/// What stands in the statuses, told by the leader alone: it writes them.
fn encode_conditions(to: &mut DescriptorEncoder<'_>, counts: &Counts, leads: bool) -> fmt::Result {
    let mut family = begin(to, &table::PIPELINE_CONDITION)?;
    for (pipeline, conditions) in counts.conditions.iter().filter(|_| leads) {
        // Those of kstatus say again what Ready says.
        for stand in conditions.iter().filter(|it| !matches!(it.kind, "Reconciling" | "Stalled")) {
            let labels: Labels<'_> = vec![
                ("namespace", &pipeline.namespace),
                ("pipeline", &pipeline.name),
                ("type", stand.kind),
                ("status", stand.truth.word()),
                ("reason", &stand.reason),
            ];
            family.encode_family(&labels)?.encode_gauge(&1.0)?;
        }
    }
    Ok(())
}

fn encode_anomalies(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let mut family = begin(to, &table::STAGE_ANOMALY)?;
    for verdict in pictures.iter().flat_map(|picture| &picture.verdicts) {
        let codes: BTreeSet<_> = verdict.anomalies.iter().map(Reason::code).collect();
        for code in codes {
            let mut labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
            labels.push(("reason", code));
            family.encode_family(&labels)?.encode_gauge(&1.0)?;
        }
    }
    Ok(())
}

fn encode_lanes(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let mut family = begin(to, &table::LANE_REPLICAS)?;
    for picture in pictures {
        for (index, verdict) in picture.verdicts.iter().enumerate() {
            let seen = picture.workload(index).map(|workload| &*workload.lanes).unwrap_or_default();
            for (lane, seen) in verdict.lanes.iter().zip(seen) {
                let states = [
                    ("share", lane.share),
                    ("desired", lane.replicas),
                    ("ready", seen.workload.ready),
                ];
                for (state, replicas) in states {
                    let mut labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
                    labels.extend([("pool", &*lane.pool), ("state", state)]);
                    family.encode_family(&labels)?.encode_gauge(&f64::from(replicas))?;
                }
            }
        }
    }
    Ok(())
}

fn encode_costs(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let families: [(_, Told); 2] =
        [(&table::STAGE_COST, |it| &it.costs), (&table::HEADROOM_COST, |it| &it.room_costs)];
    for (family, costs) in families {
        encode_cost(begin(to, family)?, pictures, costs)?;
    }
    Ok(())
}

/// Which costs of a picture are told.
type Told = fn(&Glance) -> &Costs;

fn encode_cost(
    mut family: MetricEncoder<'_>,
    pictures: &[Arc<Picture>],
    costs: Told,
) -> fmt::Result {
    for picture in pictures {
        for (verdict, costs) in picture.verdicts.iter().zip(costs(&picture.glance)) {
            for (pool, cost) in costs {
                let Some(cost) = cost else { continue };
                let mut labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
                labels.push(("pool", pool));
                family.encode_family(&labels)?.encode_gauge(cost)?;
            }
        }
    }
    Ok(())
}

fn encode_pools(
    to: &mut DescriptorEncoder<'_>,
    pictures: &[Arc<Picture>],
    pools: &[PoolPicture],
) -> fmt::Result {
    let mut family = begin(to, &table::POOL_NODES)?;
    for PoolPicture { glance, verdict, .. } in pools {
        let labels: Labels<'_> = vec![("pool", &verdict.pool)];
        family.encode_family(&labels)?.encode_gauge(&f64::from(glance.nodes))?;
    }
    let mut family = begin(to, &table::POOL_STATE)?;
    for PoolPicture { verdict, .. } in pools {
        for state in PoolState::ALL {
            let labels: Labels<'_> = vec![("pool", &verdict.pool), ("state", state.label())];
            let is_it = f64::from(u8::from(state == verdict.state));
            family.encode_family(&labels)?.encode_gauge(&is_it)?;
        }
    }
    let mut family = begin(to, &table::POOL_COST)?;
    for PoolPicture { glance, verdict, .. } in pools {
        let Some(cost) = glance.cost else { continue };
        let labels: Labels<'_> = vec![("pool", &verdict.pool)];
        family.encode_family(&labels)?.encode_gauge(&cost)?;
    }
    let mut family = begin(to, &table::IDLE_COST)?;
    for PoolPicture { glance, verdict, .. } in pools {
        let Some(idle) = glance.cost.zip(used(pictures, &verdict.pool)) else { continue };
        let labels: Labels<'_> = vec![("pool", &verdict.pool)];
        family.encode_family(&labels)?.encode_gauge(&(idle.0 - idle.1).max(0.0))?;
    }
    Ok(())
}

/// What pods of stages, and the room for them, take of what a pool costs in an hour.
fn used(pictures: &[Arc<Picture>], pool: &str) -> Option<f64> {
    let glances = pictures.iter().map(|picture| &picture.glance);
    let stages = glances.flat_map(|glance| glance.costs.iter().chain(&glance.room_costs));
    stages.filter_map(|costs| costs.get(pool)).copied().sum()
}

fn encode_sources(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    encode_source(to, pictures, &table::SOURCE_UP, |heard| {
        heard.observation.as_ref().map(Observation::is_fresh)
    })?;
    encode_source(to, pictures, &table::SOURCE_CREDENTIALS_REFUSED, |heard| {
        heard.observation.as_ref().map(|_| heard.refusal.is_some())
    })
}

fn encode_source(
    to: &mut DescriptorEncoder<'_>,
    pictures: &[Arc<Picture>],
    family: &Family,
    is_so: fn(&Heard) -> Option<bool>,
) -> fmt::Result {
    let mut family = begin(to, family)?;
    for (labels, heard) in pictures.iter().flat_map(|picture| each_source(picture)) {
        let Some(is_so) = is_so(heard) else { continue };
        family.encode_family(&labels)?.encode_gauge(&f64::from(u8::from(is_so)))?;
    }
    Ok(())
}

/// What the sources of a pipeline said, each with its labels.
fn each_source(picture: &Picture) -> impl Iterator<Item = (Labels<'_>, &Heard)> {
    let stages = picture.situation.iter().flat_map(|situation| &situation.pipeline.stages);
    let sources = stages.flat_map(|stage| stage.heard().map(move |source| (stage, source)));
    sources.zip(&picture.heard).map(|((stage, source), heard)| {
        let mut labels = stage_labels(&picture.glance.id, &stage.name);
        labels.push(("source", &source.name));
        (labels, heard)
    })
}

fn encode_stage_counts(to: &mut DescriptorEncoder<'_>, counts: &Counts) -> fmt::Result {
    let stages = || {
        counts.stages.iter().flat_map(|(pipeline, stages)| {
            stages.iter().map(move |stage| (stage_labels(pipeline, &stage.name), stage))
        })
    };
    let mut family = begin(to, &table::SCALE_MOVES)?;
    for (labels, stage) in stages() {
        for ((direction, reason), count) in stage.moves.iter() {
            let mut labels = labels.clone();
            labels.extend([("direction", direction), ("reason", reason)]);
            encode_count(&mut family, &labels, count)?;
        }
    }
    let mut family = begin(to, &table::HOLDS)?;
    for (labels, stage) in stages() {
        for (reason, count) in stage.holds.iter() {
            let mut labels = labels.clone();
            labels.push(("reason", reason));
            encode_count(&mut family, &labels, count)?;
        }
    }
    let mut family = begin(to, &table::INTERRUPTIONS)?;
    for (labels, stage) in stages() {
        for ((pool, survived), count) in &stage.interruptions {
            let mut labels = labels.clone();
            let survived = if *survived { "true" } else { "false" };
            labels.extend([("pool", &**pool), ("survived", survived)]);
            encode_count(&mut family, &labels, *count)?;
        }
    }
    let mut family = begin(to, &table::SAVED_COST)?;
    for (labels, stage) in stages() {
        for (pool, saved) in &stage.saved {
            let mut labels = labels.clone();
            labels.push(("pool", pool));
            let mut family = family.encode_family(&labels)?;
            family.encode_counter::<Labels<'_>, f64, f64>(saved, None)?;
        }
    }
    Ok(())
}

fn encode_polls(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let mut family = begin(to, &table::SOURCE_POLLS)?;
    for (labels, heard) in pictures.iter().flat_map(|picture| each_source(picture)) {
        let Some(polls) = heard.polls else { continue };
        let results =
            [("fresh", polls.fresh), ("partial", polls.partial), ("failed", polls.failed)];
        for (result, count) in results.into_iter().filter(|(_, count)| *count > 0) {
            let mut labels = labels.clone();
            labels.push(("result", result));
            encode_count(&mut family, &labels, count)?;
        }
    }
    Ok(())
}

fn encode_process(to: &mut DescriptorEncoder<'_>, counts: &Counts, leads: bool) -> fmt::Result {
    let version: Labels<'_> = vec![("version", env!("CARGO_PKG_VERSION"))];
    begin(to, &table::BUILD)?.encode_info(&version)?;
    begin(to, &table::LEADER)?.encode_gauge(&f64::from(u8::from(leads)))?;
    counts.turns.0.encode(begin(to, &table::TURN_DURATION)?)?;
    let (visits, cells) = (&counts.visits, counts.visits.cells());
    begin(to, &table::SOURCE_POLL_DURATION)?.encode_histogram::<Labels<'_>>(
        visits.sum,
        visits.count,
        &cells,
        None,
    )?;
    begin(to, &table::TURN_LATENESS)?.encode_gauge(&counts.lateness)?;
    begin(to, &table::INVARIANT_VIOLATIONS)?
        .encode_counter::<Labels<'_>, u64, f64>(&counts.violations, None)?;
    let mut family = begin(to, &table::RECORDED_TURNS)?;
    let Some((written, lost)) = counts.recorded else { return Ok(()) };
    for (result, count) in [("written", written), ("lost", lost)] {
        encode_count(&mut family, &vec![("result", result)], count)?;
    }
    Ok(())
}
