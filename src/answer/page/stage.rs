//! One stage as the page's drawer shows it: its view, what happened to it in the last day, how it fared, and how unevenly its work lies.
//! `GET /api/v1/pipelines/NAMESPACE/NAME/stages/STAGE`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::answer::{Recollection, view};
use crate::decide::{Band, PipelineId, Value};
use crate::report::{Course, Entry, Picture, Timeline};

/// Steps of a day's course, of a quarter of an hour each, that what is usual is told beyond now.
const AHEAD: i64 = 12;

/// One stage, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// When this was answered.
    pub at: Timestamp,
    /// Namespace of the pipeline.
    pub namespace: String,
    /// Its name.
    pub pipeline: String,
    /// The stage, as its pipeline has it.
    pub stage: view::Stage,
    /// What was told of it in the last day, newest first.
    pub timeline: Vec<Moment>,
    /// The last ten minutes, in steps of ten seconds.
    pub near: Trend,
    /// The last day, in steps of a quarter of an hour.
    pub far: Trend,
    /// Arrivals that would be nothing unusual, over that day and some hours more; absent before some days have been seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<Usual>,
    /// How the work lies on the partitions of each source that has some.
    pub spreads: Vec<Spread>,
}

/// Something that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// CamelCase word of its event.
    pub code: String,
    /// Replicas before, where it is a move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// And after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// Is it trouble?
    pub is_warning: bool,
    /// One sentence.
    pub sentence: String,
}

/// Numbers at equal steps, oldest first; `null` where nothing was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// When the first step began.
    pub start: Timestamp,
    /// From one to the next.
    pub step_seconds: i64,
    /// The longest delay of each step, in seconds, within 4 %.
    pub delay_seconds: Vec<Option<f64>>,
    /// The highest rate of arrivals of each step, in items a second, within 4 %.
    pub arrival_rate: Vec<Option<f64>>,
    /// The most replicas of each step.
    pub replicas: Vec<Option<u32>>,
}

/// From how many to how many items a second would be nothing unusual, at equal steps; `null` where too little was seen of that kind of day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usual {
    /// When the first step began.
    pub start: Timestamp,
    /// From one to the next.
    pub step_seconds: i64,
    /// From so many.
    pub low: Vec<Option<f64>>,
    /// To so many.
    pub high: Vec<Option<f64>>,
}

/// What waits on each partition of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Name of the source.
    pub source: String,
    /// Items waiting on all of them.
    pub lag: u64,
    /// By topic and number.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its topic, where it is known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its number.
    pub id: i32,
    /// Items waiting.
    pub lag: u64,
    /// Which consumer holds it: a number that is the same for all partitions of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

impl Detail {
    /// Stage `index` of a picture.
    pub(super) fn of(
        picture: &Picture,
        index: usize,
        timeline: Option<Timeline>,
        memory: &Recollection,
        now: Timestamp,
    ) -> Option<Self> {
        let mut seen = view::Pipeline::of(picture, now);
        let stage = (index < seen.stages.len()).then(|| seen.stages.swap_remove(index))?;
        let (entries, near, far) = timeline.map_or_else(Default::default, |timeline| {
            (timeline.entries, timeline.trail.near, timeline.trail.far)
        });
        Some(Self {
            at: now,
            namespace: seen.namespace,
            pipeline: seen.name,
            spreads: spreads(picture, index),
            timeline: entries.into_iter().rev().map(Moment::of).collect(),
            near: Trend::of(near),
            usual: Usual::of(memory, &picture.glance.id, &stage.name, &far),
            far: Trend::of(far),
            stage,
        })
    }
}

impl Moment {
    fn of(entry: Entry) -> Self {
        let Entry { at, code, moved, is_warning, sentence } = entry;
        let (from, to) = moved.unzip();
        Self { at, code, from, to, is_warning, sentence }
    }
}

impl Trend {
    fn of(course: Course) -> Self {
        let Course { step, start, delay, arrivals, replicas } = course;
        let rounded = |values: Vec<_>| values.into_iter().map(round).collect();
        Self {
            start,
            step_seconds: step,
            delay_seconds: rounded(delay),
            arrival_rate: rounded(arrivals),
            replicas,
        }
    }
}

impl Usual {
    /// For the steps of this course, and some hours more; `None` where nothing is usual yet.
    fn of(
        memory: &Recollection,
        pipeline: &PipelineId,
        stage: &str,
        course: &Course,
    ) -> Option<Self> {
        let steps = i64::try_from(course.replicas.len()).ok()? + AHEAD;
        // The middle of each step stands for it.
        let middle = |step: i64| course.start.as_second() + step * course.step + course.step / 2;
        let instants = (0..steps).filter_map(|step| Timestamp::from_second(middle(step)).ok());
        let bands = memory.usual(pipeline, stage, instants);
        let side = |of: fn(Band) -> f64| bands.iter().map(|band| round(band.map(of))).collect();
        bands.iter().any(Option::is_some).then(|| Self {
            start: course.start,
            step_seconds: course.step,
            low: side(|band| band.low),
            high: side(|band| band.high),
        })
    }
}

/// To hundredths.
fn round(value: Option<f64>) -> Option<f64> {
    Some((value? * 100.0).round() / 100.0)
}

fn spreads(picture: &Picture, index: usize) -> Vec<Spread> {
    let stages = picture.situation.as_ref().map(|situation| &situation.pipeline.stages);
    let Some(stage) = stages.and_then(|stages| stages.get(index)) else { return Vec::new() };
    let spread = |source: &crate::decide::Source| {
        let reading = picture.heard(&source.question)?.observation.as_ref()?.reading()?;
        let Value::Queue(queue) = &reading.value else { return None };
        let partitions = queue.partitions.iter().map(|partition| Partition {
            topic: source.topics.get(usize::from(partition.topic)).map(ToString::to_string),
            id: partition.id,
            lag: partition.lag(),
            owner: partition.owner,
        });
        let partitions: Vec<Partition> = partitions.collect();
        let lag = partitions.iter().map(|partition| partition.lag).sum();
        let name = source.name.to_string();
        (!partitions.is_empty()).then_some(Spread { source: name, lag, partitions })
    };
    stage.sources.iter().filter_map(spread).collect()
}
