//! The file people write: a pipeline, what arrives, what the world is like, for how long. Read here from YAML into what `world`
//! plays; whatever is wrong is told with its path and a way to mend it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ground::Ground;
use super::manifest::Found;
use super::nodes::{self, LaneWorld};
use super::promise::Promise;
use super::span::Span;
use super::workload::{self, Workload};
use crate::crd::CapacityPoolSpec;
use crate::decide::{Pipeline, Stage};

/// The longest scenario.
const LONGEST: Span = Span::of(366.0 * 86_400.0);

/// What is played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// What the pipeline means.
    pub pipeline: Arc<Pipeline>,
    /// In the order of the pipeline's stages.
    pub stages: Vec<StageWorld>,
    /// Seconds it lasts, the warm-up counted.
    pub duration: u32,
    /// Seconds at the start that are not scored.
    pub warmup: u32,
    /// How many seeds it is played with, unless said otherwise.
    pub seeds: u32,
}

/// The world of one stage.
#[derive(Debug, Clone)]
pub struct StageWorld {
    /// What its replicas and its queue are like.
    pub ground: Ground,
    /// What arrives from outside.
    pub workload: Option<Workload>,
    /// Stages that feed it, by index, and how many items each of theirs makes here.
    pub feeds: Vec<(usize, f64)>,
    /// The nodes of each of its lanes; empty where its pods find a place anywhere.
    pub lanes: Vec<LaneWorld>,
}

/// Why a scenario cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no YAML.
    #[error("is no YAML: {message}")]
    NotYaml {
        /// As the parser said it, in one line.
        message: String,
    },
    /// A field is wrong.
    #[error("{path}: {message}")]
    Field {
        /// Where, from the top of the file.
        path: String,
        /// What, and how to mend it.
        message: String,
    },
    /// No policy of that name.
    #[error("no policy is called {name:?}; hint: one of {known}")]
    UnknownPolicy {
        /// As it was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A policy that has no place in this scenario.
    #[error("{name} needs {needs}; hint: docs/simulate.md has a scenario with lanes")]
    UnfitPolicy {
        /// As it was asked for.
        name: String,
        /// What the scenario lacks.
        needs: String,
    },
}

impl Error {
    pub(super) fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { path: path.into(), message: message.into() }
    }

    /// What the parser says, in one line.
    pub(super) fn not_yaml(error: &impl ToString) -> Self {
        let text = error.to_string();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self::NotYaml { message: lines.collect::<Vec<_>>().join(" ") }
    }

    /// At a field, or at what holds it when the field has no name of its own.
    pub(super) fn within(path: &str, field: &str, message: impl Into<String>) -> Self {
        let path = if field.is_empty() { path.to_owned() } else { format!("{path}.{field}") };
        Self::field(path, message)
    }
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    name: Option<String>,
    /// A `ScaledPipeline`, or the name of a file that holds one.
    pipeline: Value,
    workload: Option<workload::Written>,
    #[serde(default)]
    world: Map<String, Value>,
    #[serde(default)]
    stages: BTreeMap<String, Map<String, Value>>,
    /// The pools of nodes that lanes are on.
    #[serde(default)]
    pools: BTreeMap<String, Value>,
    duration: Span,
    warmup: Option<Span>,
    seeds: Option<u32>,
}

/// How many items of a stage each of another makes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Selectivity {
    /// The same from every stage that feeds it.
    Same(f64),
    /// By the name of the feeding stage.
    Each(BTreeMap<String, f64>),
}

impl Scenario {
    /// Reads a scenario; files it names are looked for in `folder`.
    pub fn read(text: &str, folder: &Path) -> Result<Self, Error> {
        let written: Written = parse("", yaml(text)?)?;
        let Found { pipeline, name, pools } = Found::read(&written.pipeline, folder)?;
        let duration = span("duration", written.duration, LONGEST)?;
        let warmup = written.warmup.unwrap_or_default();
        let warmup = span("warmup", warmup, LONGEST)?;
        if duration <= warmup {
            return Err(Error::field(
                "duration",
                "must be longer than warmup, which is the part of it that is not scored",
            ));
        }
        let seeds = written.seeds.unwrap_or(1);
        if !(1..=1000).contains(&seeds) {
            return Err(Error::field("seeds", "must be from 1 to 1000"));
        }
        for name in written.stages.keys() {
            if !pipeline.stages.iter().any(|stage| *stage.name == **name) {
                let names: Vec<_> = pipeline.stages.iter().map(|stage| &*stage.name).collect();
                return Err(Error::within(
                    "stages",
                    name,
                    format!("the pipeline has no such stage; hint: it has {}", names.join(", ")),
                ));
            }
        }
        let on: Vec<_> =
            pipeline.stages.iter().flat_map(|stage| &stage.lanes).map(|lane| &*lane.pool).collect();
        for name in written.pools.keys() {
            if !on.contains(&name.as_str()) {
                let hint = match on.as_slice() {
                    [] => "no stage of the pipeline has lanes; hint: leave pools out".to_owned(),
                    on => format!("no lane is on it; hint: the lanes are on {}", on.join(", ")),
                };
                return Err(Error::within("pools", name, hint));
            }
        }
        let mut reader = Reader {
            pools: written.pools,
            described: pools,
            taken: BTreeMap::new(),
            folder,
            duration,
            world: written.world,
            stages: written.stages,
            workload: written.workload,
            is_workload_used: false,
        };
        // Complaints about what all stages share name it, and not the first stage.
        if !reader.world.is_empty() {
            parse::<Ground>("world", Value::Object(reader.world.clone()))?;
        }
        let stages: Result<Vec<_>, _> =
            (0..pipeline.stages.len()).map(|at| reader.stage(&pipeline, at)).collect();
        Ok(Self {
            name: written.name.unwrap_or(name),
            pipeline: Arc::new(pipeline),
            stages: stages?,
            duration,
            warmup,
            seeds,
        })
    }

    /// Has any of its stages lanes?
    pub fn has_lanes(&self) -> bool {
        self.stages.iter().any(|stage| !stage.lanes.is_empty())
    }

    /// Seconds that are scored.
    pub fn scored(&self) -> u32 {
        self.duration - self.warmup
    }

    /// The delay of the whole pipeline, in seconds: of the longest path from a first stage to a last one. `None` where a stage promises
    /// none: then each is scored by its own promise.
    pub fn objective(&self) -> Option<f64> {
        let mut into: Vec<f64> = Vec::new();
        for stage in &self.pipeline.stages {
            let above = stage.after.iter().filter_map(|at| into.get(*at)).copied();
            into.push(above.fold(0.0, f64::max) + Promise::of(stage).delay()?);
        }
        Some(into.into_iter().fold(0.0, f64::max))
    }

    /// Each stage by name, and what it promises.
    pub fn promises(&self) -> impl Iterator<Item = (&str, Promise)> {
        self.pipeline.stages.iter().map(|stage| (&*stage.name, Promise::of(stage)))
    }

    /// Items a second that a stage can expect in each second, what other stages pass on counted as if they kept up.
    pub fn expected(&self, stage: usize, seed: u64) -> Vec<f64> {
        let world = &self.stages[stage];
        let own = world.workload.as_ref();
        let own = own.map(|it| it.rates(self.duration, world.ground.rate, seed, stage as u64));
        let mut rates = own.unwrap_or_else(|| vec![0.0; self.duration as usize]);
        for &(from, selectivity) in &world.feeds {
            for (rate, above) in rates.iter_mut().zip(self.expected(from, seed)) {
                *rate += selectivity * above;
            }
        }
        rates
    }
}

/// Reads the stages one by one.
struct Reader<'a> {
    pools: BTreeMap<String, Value>,
    /// What `CapacityPool`s beside the pipeline say.
    described: BTreeMap<String, CapacityPoolSpec>,
    /// The stage that each pool serves.
    taken: BTreeMap<String, Arc<str>>,
    folder: &'a Path,
    duration: u32,
    world: Map<String, Value>,
    stages: BTreeMap<String, Map<String, Value>>,
    workload: Option<workload::Written>,
    is_workload_used: bool,
}

impl Reader<'_> {
    fn stage(&mut self, pipeline: &Pipeline, at: usize) -> Result<StageWorld, Error> {
        let stage = &pipeline.stages[at];
        let path = format!("stages.{}", stage.name);
        if stage.sources.len() != 1 {
            return Err(Error::field(
                format!("pipeline.spec.stages[{at}].sources"),
                "must be one Kafka source: a simulated stage reads one queue",
            ));
        }
        if !stage.gates.is_empty() {
            return Err(Error::field(
                format!("pipeline.spec.stages[{at}].gates"),
                "must be left out: nothing in a simulated world answers a gate",
            ));
        }
        let mut own = self.stages.remove(&*stage.name).unwrap_or_default();
        let workload = own.remove("workload");
        let selectivity = own.remove("selectivity");
        let is_own = !own.is_empty();
        let mut all = self.world.clone();
        merge(&mut all, own);
        let place = if is_own { path.as_str() } else { "world" };
        let ground: Ground = parse(place, Value::Object(all))?;
        ground.check().map_err(|(field, rule)| Error::within(place, field, rule))?;
        let workload = match workload {
            Some(written) => {
                let path = format!("{path}.workload");
                Some(self.workload(&path, parse(&path, written)?)?)
            }
            None if stage.after.is_empty() => Some(self.shared_workload(&path)?),
            None => None,
        };
        let feeds = self::feeds(pipeline, stage, &path, selectivity)?;
        let lanes = self.lanes(stage, &ground, place)?;
        Ok(StageWorld { ground, workload, feeds, lanes })
    }

    /// What the lanes of a stage are played on.
    fn lanes(
        &mut self,
        stage: &Stage,
        ground: &Ground,
        place: &str,
    ) -> Result<Vec<LaneWorld>, Error> {
        let odd = [
            (0.0 < ground.nodes.probability, "nodes"),
            (0.0 < ground.interruptions.every.seconds(), "interruptions"),
        ];
        if let Some((_, field)) = odd.into_iter().find(|(is_said, _)| *is_said)
            && !stage.lanes.is_empty()
        {
            let rule = format!(
                "must be left out of stage {}, which has lanes: how nodes come and go is said in pools",
                stage.name
            );
            return Err(Error::within(place, field, rule));
        }
        let lanes = stage.lanes.iter().map(|lane| {
            let path = format!("pools.{}", lane.pool);
            let taken = self.taken.insert(lane.pool.to_string(), Arc::clone(&stage.name));
            if let Some(other) = taken {
                let rule = format!("serves stages {other} and {}, and is played for one only; hint: name one pool for each stage, alike", stage.name);
                return Err(Error::field(path, rule));
            }
            let written = self.pools.remove(&*lane.pool).filter(|written| !written.is_null());
            let written: nodes::Written =
                written.map(|written| parse(&path, written)).transpose()?.unwrap_or_default();
            let spec = self.described.get(&*lane.pool);
            let read = written.read(nodes::About { lane, spec, ground, max: stage.max });
            read.map_err(|(field, rule)| Error::within(&path, field, rule))
        });
        lanes.collect()
    }

    /// What arrives at the first stages; one only, since a workload is no two streams.
    fn shared_workload(&mut self, path: &str) -> Result<Workload, Error> {
        let Some(written) = self.workload.take() else {
            return Err(if self.is_workload_used {
                Error::within(
                    path,
                    "workload",
                    "is missing: another first stage has the one at the top",
                )
            } else {
                Error::field(
                    "workload",
                    "is missing; hint: workload: {diurnal: {}, peakReplicas: 20}",
                )
            });
        };
        self.is_workload_used = true;
        self.workload("workload", written)
    }

    fn workload(&self, path: &str, written: workload::Written) -> Result<Workload, Error> {
        let open = |file: &str| open(self.folder, file);
        let read = written.read(self.duration, &open);
        read.map_err(|(field, message)| Error::within(path, field, message))
    }
}

fn feeds(
    pipeline: &Pipeline,
    stage: &Stage,
    path: &str,
    selectivity: Option<Value>,
) -> Result<Vec<(usize, f64)>, Error> {
    let path = format!("{path}.selectivity");
    let written: Option<Selectivity> =
        selectivity.map(serde_json::from_value).transpose().map_err(|_| {
            Error::field(&path, "must be items out for each item in; hint: 0.3, or {parse: 0.3}")
        })?;
    let name = |at: usize| &*pipeline.stages[at].name;
    if let Some(Selectivity::Each(each)) = &written
        && let Some(other) =
            each.keys().find(|key| !stage.after.iter().any(|at| name(*at) == **key))
    {
        return Err(Error::within(&path, other, "is no stage that this one comes after"));
    }
    let of = |at: usize| match &written {
        None => 1.0,
        Some(Selectivity::Same(all)) => *all,
        Some(Selectivity::Each(each)) => each.get(name(at)).copied().unwrap_or(1.0),
    };
    let feeds: Vec<_> = stage.after.iter().map(|&at| (at, of(at))).collect();
    if feeds.iter().any(|(_, each)| !(0.0..=1e6).contains(each)) {
        return Err(Error::field(path, "must be from 0 to 1e6"));
    }
    Ok(feeds)
}

/// The text of a file that the scenario names.
pub(super) fn open(folder: &Path, file: &str) -> Result<String, String> {
    let path: PathBuf = folder.join(file);
    std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "cannot read {}: {error}; hint: files are looked for beside the scenario",
            path.display()
        )
    })
}

fn yaml(text: &str) -> Result<Value, Error> {
    serde_saphyr::from_str(text).map_err(|error| Error::not_yaml(&error))
}

/// Reads a value; what is wrong comes with its path under `place`.
fn parse<T: DeserializeOwned>(place: &str, value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = match (place, path.as_str()) {
            ("", ".") => "scenario".to_owned(),
            ("", path) => path.to_owned(),
            (place, ".") => place.to_owned(),
            (place, path) => format!("{place}.{path}"),
        };
        Error::field(path, error.into_inner().to_string())
    })
}

fn span(path: &str, span: Span, most: Span) -> Result<u32, Error> {
    if most < span {
        return Err(Error::field(path, format!("must be at most {most}")));
    }
    Ok(span.steps())
}

/// Lays one object over another, field by field.
fn merge(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}
