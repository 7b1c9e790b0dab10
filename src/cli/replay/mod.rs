//! `penstock replay`: recorded turns through decide again: the same plan, or what differs. With `--with`, what another policy would
//! have decided at each of those moments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::out::{self, Format, Output};
use super::progress::Progress;
use crate::crd::manifest::pipelines;
use crate::decide::{Memory, Pipeline, PipelineId, Situation, Snapshot, Target, decide};
use crate::report::{Record, Recording};

mod diff;

use diff::{Difference, differences};

/// So many differences are printed for people unless they ask for all.
const SHOWN: usize = 20;

/// The arguments of `penstock replay`.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A recording: the folder that `run --record` was given, or one file of it
    path: PathBuf,
    /// Decide by the pipelines of this file, manifests, instead of those recorded under their names
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// Go on with what this run remembers, instead of what was remembered at each turn: differences add up as they would have
    #[arg(long)]
    carry: bool,
    /// Print every difference
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Files, oldest first.
    files: Vec<PathBuf>,
    /// Version of Penstock that recorded it.
    recorded_by: String,
    turns: usize,
    pipelines: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    /// Files whose last line is not whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    torn: Vec<PathBuf>,
    /// Turns with another plan.
    differing: usize,
    /// Turns after which something else would be remembered.
    remembering: usize,
    differences: Vec<Difference>,
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let misuse = |error: &dyn std::fmt::Display| Failure::Misuse(error.to_string());
        let others = match &self.with {
            Some(file) => other_policies(file)?,
            None => BTreeMap::new(),
        };
        let mut recording = Recording::open(&self.path).map_err(|error| misuse(&error))?;
        let mut run = Run { others, carries: self.carry, ..Run::default() };
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let length = recording.paths.iter().map(length).sum();
        let progress = Progress::of(length, "{bar:32} {percent} % of the recording, {eta} left");
        while let Some(record) = recording.read().map_err(|error| misuse(&error))? {
            run.take(record);
            progress.at(recording.done);
        }
        drop(progress);
        if let Some(unknown) = run.others.keys().find(|id| !run.met.contains(*id)) {
            return Err(Failure::Misuse(format!(
                "the recording has no pipeline {unknown}; hint: it has {}",
                run.outcome.pipelines.iter().cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        let outcome = Outcome {
            files: recording.paths,
            torn: recording.torn,
            recorded_by: recording.version,
            ..run.outcome
        };
        if outcome.turns == 0 {
            let path = self.path.display();
            return Err(Failure::Misuse(format!(
                "{path} holds no whole turn; hint: record a little longer"
            )));
        }
        match self.output.format {
            Format::Table => out::text(&outcome.text(self.all))?,
            Format::Json => out::json(&outcome)?,
            Format::Yaml => out::yaml(&outcome)?,
        }
        if outcome.differing == 0 { Ok(()) } else { Err(Failure::Told) }
    }
}

/// A replay under way.
#[derive(Debug, Default)]
struct Run {
    /// Policies to decide by instead of the recorded ones.
    others: BTreeMap<PipelineId, Pipeline>,
    met: BTreeSet<PipelineId>,
    carries: bool,
    memory: Memory,
    /// The latest difference of each stage, by its place in the list, and the turn of that stage it was at.
    latest: BTreeMap<(String, String), (usize, usize)>,
    /// Turns of each pipeline so far.
    counts: BTreeMap<String, usize>,
    outcome: Outcome,
}

impl Run {
    fn take(&mut self, record: Record) {
        match record {
            Record::Start { memory, .. } => {
                // A process that starts anew remembers nothing; a file that only goes on is no reason to forget.
                if !self.carries || memory == Memory::default() {
                    self.memory = memory;
                }
            }
            Record::Turn { mut snapshot, plan, memory } => {
                self.count(&snapshot);
                for situation in &mut snapshot.due {
                    if let Some(other) = self.others.get(&situation.pipeline.id) {
                        self.met.insert(other.id.clone());
                        obey(situation, other);
                    }
                }
                let step = decide(&snapshot, &self.memory);
                let found = differences(snapshot.at, &plan, &step.plan);
                self.outcome.differing += usize::from(!found.is_empty());
                self.outcome.remembering += usize::from(step.memory != memory);
                for difference in found {
                    self.add(difference);
                }
                self.memory.merge(if self.carries { step.memory } else { memory });
            }
        }
    }

    fn count(&mut self, snapshot: &Snapshot) {
        let outcome = &mut self.outcome;
        outcome.turns += 1;
        outcome.from.get_or_insert(snapshot.at);
        outcome.to = Some(snapshot.at);
        for situation in &snapshot.due {
            let name = situation.pipeline.id.to_string();
            *self.counts.entry(name.clone()).or_default() += 1;
            outcome.pipelines.insert(name);
        }
    }

    /// Adds a difference, to the one before it if that goes on.
    fn add(&mut self, difference: Difference) {
        let key = (difference.pipeline.clone(), difference.stage.clone());
        let turn = self.counts.get(&difference.pipeline).copied().unwrap_or_default();
        let list = &mut self.outcome.differences;
        if let Some((place, at)) = self.latest.get_mut(&key)
            && *at + 1 == turn
            && let Some(before) = list.get_mut(*place)
            && before.is_continued_by(&difference)
        {
            before.turns += 1;
            before.to = difference.to;
            *at = turn;
        } else {
            self.latest.insert(key, (list.len(), turn));
            list.push(difference);
        }
    }
}

/// The pipelines of a file, as decide takes them.
fn other_policies(file: &Path) -> Result<BTreeMap<PipelineId, Pipeline>, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::Misuse(format!("cannot read {name}: {error}; hint: name a file of manifests"))
    })?;
    let found = pipelines(&text)
        .map_err(|error| Failure::Misuse(format!("{name}: {error}; hint: penstock validate")))?;
    if found.is_empty() {
        let line = format!("{name} holds no ScaledPipeline; hint: kubectl get spl NAME -o yaml");
        return Err(Failure::Misuse(line));
    }
    Ok(found.into_iter().map(|pipeline| (pipeline.id.clone(), pipeline)).collect())
}

/// Puts another policy in the place of the recorded one. What was known of a stage goes with its name.
fn obey(situation: &mut Situation, other: &Pipeline) {
    let recorded = Arc::clone(&situation.pipeline);
    let place = |name: &str| recorded.stages.iter().position(|stage| *stage.name == *name);
    let places: Vec<_> = other.stages.iter().map(|stage| place(&stage.name)).collect();
    let of = |place: &Option<usize>, list: &[Target]| {
        place.and_then(|at| list.get(at).cloned()).unwrap_or(Target::Unseen)
    };
    situation.targets = places.iter().map(|place| of(place, &situation.targets)).collect();
    let recalled =
        |place: &Option<usize>| place.and_then(|at| situation.recalled.get(at).copied()).flatten();
    situation.recalled = places.iter().map(recalled).collect();
    let per = |place: &Option<usize>| place.and_then(|at| situation.per_replica.get(at).copied());
    situation.per_replica = places.iter().map(|place| per(place).unwrap_or_default()).collect();
    situation.outcomes.retain_mut(|(index, _)| {
        let now = places.iter().position(|place| *place == Some(*index));
        *index = now.unwrap_or_default();
        now.is_some()
    });
    // The same object as far as memory goes.
    let (uid, generation) = (Arc::clone(&recorded.uid), recorded.generation);
    situation.pipeline = Arc::new(Pipeline { uid, generation, ..other.clone() });
}

impl Outcome {
    fn text(&self, all: bool) -> String {
        let mut lines = vec![self.header()];
        for torn in &self.torn {
            lines
                .push(format!("The last line of {} is not whole and is left out.", torn.display()));
        }
        let shown = if all { self.differences.len() } else { SHOWN };
        for difference in self.differences.iter().take(shown) {
            lines.push(format!("\n{}", difference.text().trim_end()));
        }
        let more = self.differences.len().saturating_sub(shown);
        if 0 < more {
            lines.push(format!("\n... and {more} more; --all prints them."));
        }
        lines.push(match (self.differing, self.remembering) {
            (0, 0) => "The same plan at every turn.".to_owned(),
            (0, n) => format!(
                "The same plan at every turn; after {n} of them something else would be remembered."
            ),
            (1, _) => format!("\n1 of {} has another plan.", turns(self.turns)),
            (n, _) => format!("\n{n} of {} have another plan.", turns(self.turns)),
        });
        lines.join("\n") + "\n"
    }

    fn header(&self) -> String {
        let name = |path: &PathBuf| path.display().to_string();
        let files = match &self.files[..] {
            [] => String::new(),
            [only] => name(only),
            [first, .., last] => {
                let last = last.file_name().and_then(|last| last.to_str()).unwrap_or_default();
                format!("{} to {last}", name(first))
            }
        };
        let clock = |at: Option<Timestamp>| {
            at.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
        };
        let pipelines: Vec<_> = self.pipelines.iter().take(3).map(String::as_str).collect();
        let more = self.pipelines.len().saturating_sub(pipelines.len());
        let more = if 0 < more { format!(" and {more} more") } else { String::new() };
        format!(
            "{files}, recorded by Penstock {}: {} of {}{more}, {} to {}.",
            self.recorded_by,
            turns(self.turns),
            pipelines.join(", "),
            clock(self.from),
            clock(self.to)
        )
    }
}

fn turns(count: usize) -> String {
    if count == 1 { "1 turn".to_owned() } else { format!("{count} turns") }
}
