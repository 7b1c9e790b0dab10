//! How the metrics are printed: the latest pictures and the counts, as families of `prometheus-client`. Called by its registry
//! at each scrape; what is counted, and when, is for `metrics`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::metrics::{Counts, Sheet};
use super::{Heard, Picture};
use crate::decide::{Observation, PipelineId, Reason, Verdict};

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn stage_labels<'a>(pipeline: &'a PipelineId, stage: &'a str) -> Labels<'a> {
    vec![("namespace", &pipeline.namespace), ("pipeline", &pipeline.name), ("stage", stage)]
}

/// A gauge of each stage, where its picture has one.
type Gauge = (&'static str, &'static str, fn(&Verdict) -> Option<f64>);

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
const STAGE_GAUGES: [Gauge; 7] = [
    ("stage_lag_messages", "Items waiting.", |v| v.signals.lag.map(|lag| lag as f64)),
    ("stage_delay_seconds", "Age of the oldest item waiting.", |v| v.signals.delay),
    ("stage_objective_seconds", "Age that it may reach.", |v| v.signals.objective),
    ("stage_arrival_rate", "Items a second that arrive.", |v| v.signals.arrival_rate),
    (
        "stage_forecast_rate",
        "Items a second that are forecast for when new pods are at work.",
        |v| v.signals.forecast_rate,
    ),
    ("stage_service_rate", "Items a second that one replica gets through.", |v| {
        v.signals.rate_per_replica
    }),
    ("stage_resolution_seconds", "Finest delay that can be seen.", |v| v.signals.resolution),
];

impl Collector for Sheet {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let pictures = self.standing.all();
        encode_replicas(&mut to, &pictures)?;
        for (name, help, value) in STAGE_GAUGES {
            let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for picture in &pictures {
                for verdict in &picture.verdicts {
                    if let Some(value) = value(verdict).filter(|value| value.is_finite()) {
                        let labels = stage_labels(&verdict.stage.pipeline, &verdict.stage.name);
                        family.encode_family(&labels)?.encode_gauge(&value)?;
                    }
                }
            }
        }
        encode_anomalies(&mut to, &pictures)?;
        encode_sources(&mut to, &pictures)?;
        let counts = self.counts();
        encode_stage_counts(&mut to, &counts)?;
        encode_polls(&mut to, &pictures)?;
        encode_process(&mut to, &counts, *self.leads.borrow())?;
        drop(counts);
        let help = "Requests to the API server; code is error when no answer came.";
        let mut family = to.encode_descriptor("api_requests", help, None, MetricType::Counter)?;
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
    let help = "Replicas: there are, are ready, should be, may be.";
    let mut family = to.encode_descriptor("stage_replicas", help, None, MetricType::Gauge)?;
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

fn encode_anomalies(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let help = "1 while something is odd about a stage, by its code.";
    let mut family = to.encode_descriptor("stage_anomaly", help, None, MetricType::Gauge)?;
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

fn encode_sources(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let help = "1 when the latest reading is complete and young.";
    encode_source(to, pictures, ("source_up", help), |heard| {
        heard.observation.as_ref().map(Observation::is_fresh)
    })?;
    let help = "1 when the newest credentials are refused while the former ones still work.";
    encode_source(to, pictures, ("source_credentials_refused", help), |heard| {
        heard.observation.as_ref().map(|_| heard.refusal.is_some())
    })
}

fn encode_source(
    to: &mut DescriptorEncoder<'_>,
    pictures: &[Arc<Picture>],
    (name, help): (&str, &str),
    is_so: fn(&Heard) -> Option<bool>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, heard) in pictures.iter().flat_map(|picture| each_source(picture)) {
        let Some(is_so) = is_so(heard) else { continue };
        family.encode_family(&labels)?.encode_gauge(&f64::from(u8::from(is_so)))?;
    }
    Ok(())
}

/// What the sources of a pipeline said, each with its labels.
fn each_source(picture: &Picture) -> impl Iterator<Item = (Labels<'_>, &Heard)> {
    let stages = picture.situation.iter().flat_map(|situation| &situation.pipeline.stages);
    let sources = stages.flat_map(|stage| stage.sources.iter().map(move |source| (stage, source)));
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
    let help = "Writes of a replica count that were taken.";
    let mut family = to.encode_descriptor("scale_moves", help, None, MetricType::Counter)?;
    for (labels, stage) in stages() {
        for ((direction, reason), count) in stage.moves.iter() {
            let mut labels = labels.clone();
            labels.extend([("direction", direction), ("reason", reason)]);
            encode_count(&mut family, &labels, count)?;
        }
    }
    let help = "Times that a stage began to be held back.";
    let mut family = to.encode_descriptor("holds", help, None, MetricType::Counter)?;
    for (labels, stage) in stages() {
        for (reason, count) in stage.holds.iter() {
            let mut labels = labels.clone();
            labels.push(("reason", reason));
            encode_count(&mut family, &labels, count)?;
        }
    }
    Ok(())
}

fn encode_polls(to: &mut DescriptorEncoder<'_>, pictures: &[Arc<Picture>]) -> fmt::Result {
    let help = "Times that a source was asked: fresh, partial or failed.";
    let mut family = to.encode_descriptor("source_polls", help, None, MetricType::Counter)?;
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
    to.encode_descriptor("build", "What runs.", None, MetricType::Info)?.encode_info(&version)?;
    to.encode_descriptor("leader", "1 when this replica leads.", None, MetricType::Gauge)?
        .encode_gauge(&f64::from(u8::from(leads)))?;
    let help = "How long a turn of the loop took.";
    let turns = &counts.turns;
    to.encode_descriptor("turn_duration_seconds", help, None, MetricType::Histogram)?
        .encode_histogram::<Labels<'_>>(turns.sum, turns.count, &turns.cells(), None)?;
    let help = "How long a visit to a source took, by each question that it asked.";
    let visits = &counts.visits;
    to.encode_descriptor("source_poll_duration_seconds", help, None, MetricType::Histogram)?
        .encode_histogram::<Labels<'_>>(visits.sum, visits.count, &visits.cells(), None)?;
    let help = "How long after it was due the latest turn began.";
    to.encode_descriptor("turn_lateness_seconds", help, None, MetricType::Gauge)?
        .encode_gauge(&counts.lateness)?;
    let help = "Decisions that broke a promise of Penstock's own; always 0.";
    to.encode_descriptor("invariant_violations", help, None, MetricType::Counter)?
        .encode_counter::<Labels<'_>, u64, f64>(&counts.violations, None)?;
    let Some((written, lost)) = counts.recorded else { return Ok(()) };
    let help = "Turns for the recording: written to disk, or lost.";
    let mut family = to.encode_descriptor("recorded_turns", help, None, MetricType::Counter)?;
    for (result, count) in [("written", written), ("lost", lost)] {
        encode_count(&mut family, &vec![("result", result)], count)?;
    }
    Ok(())
}
