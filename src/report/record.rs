//! Records turns as lines of JSON, for `penstock replay`, bug reports and tests: what was known and remembered, and what was decided.
//! Bounded: a file is closed at 32 MiB, and the latest eight are kept. The input of a pipeline that made deciding panic is kept
//! apart, or logged when nothing is recorded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Tick;
use crate::decide::{Memory, PipelineId, Plan, Reason, Snapshot};

/// A file is closed beyond this.
const FILE_LIMIT: u64 = 32 << 20;
/// So many are kept.
const FILES: usize = 8;
/// What of an input fits into a log line.
const LOG_LIMIT: usize = 32 << 10;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase")]
pub enum Record<S = Snapshot, P = Plan, M = Memory> {
    /// The first line of a file: all that was remembered before its first turn.
    Start {
        /// Version of Penstock.
        version: String,
        /// The whole memory.
        memory: M,
    },
    /// A turn.
    Turn {
        /// What was known.
        snapshot: S,
        /// What was decided.
        plan: P,
        /// What is remembered of its pipelines after it.
        memory: M,
    },
}

/// Writes turns to a folder.
#[derive(Debug)]
pub(super) struct Recorder {
    folder: PathBuf,
    memory: Memory,
    open: Option<Open>,
    next: u64,
    is_failing: bool,
}

#[derive(Debug)]
struct Open {
    file: BufWriter<File>,
    written: u64,
}

impl Recorder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, memory: Memory::default(), open: None, next: 0, is_failing: false }
    }

    /// Writes a turn; a disk that fails is told once and costs the record, nothing else.
    pub(super) fn take(&mut self, tick: &Tick) {
        let written = self.write(tick);
        if let Err(error) = &written
            && !self.is_failing
        {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "turns cannot be recorded");
        }
        self.is_failing = written.is_err();
        if self.is_failing {
            self.open = None;
        }
        self.memory.merge(tick.step.memory.clone());
    }

    /// The memory forgets a deleted pipeline as the loop's does.
    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        self.memory.forget(pipeline);
    }

    /// Keeps the input of a panic in a file of its own.
    pub(super) fn keep(&self, pipeline: &PipelineId, input: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let PipelineId { namespace, name } = pipeline;
        let path = self.folder.join(format!("panic-{namespace}-{name}.json"));
        fs::write(&path, input)?;
        Ok(path)
    }

    fn write(&mut self, tick: &Tick) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if open.written < FILE_LIMIT => open,
            _ => self.begin()?,
        };
        let turn = Record::Turn {
            snapshot: &tick.snapshot,
            plan: &tick.step.plan,
            memory: &tick.step.memory,
        };
        open.line(&turn)?;
        open.file.flush()?;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Open> {
        fs::create_dir_all(&self.folder)?;
        let old = recorded(&self.folder)?;
        let last = old.last().map_or(0, |(number, _)| *number);
        self.next = self.next.max(last + 1);
        let surplus = (old.len() + 1).saturating_sub(FILES);
        for (_, path) in old.iter().take(surplus) {
            fs::remove_file(path)?;
        }
        let path = self.folder.join(format!("turns-{:06}.jsonl", self.next));
        let file = BufWriter::new(File::create_new(path)?);
        self.next += 1;
        let mut open = Open { file, written: 0 };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        open.line(&Record::<(), (), &Memory>::Start { version, memory: &self.memory })?;
        Ok(open)
    }
}

impl Open {
    fn line(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.written += line.len() as u64;
        self.file.write_all(&line)
    }
}

/// The files of turns in a folder, oldest first, with their numbers.
fn recorded(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("turns-")?.strip_suffix(".jsonl"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Tells of pipelines that make our own code panic: each once for each message.
#[derive(Debug, Default)]
pub(super) struct Alarm(BTreeMap<PipelineId, String>);

impl Alarm {
    /// Looks for panics in a turn and keeps their input: what was known of that pipeline, and what was remembered.
    pub(super) fn take(&mut self, tick: &Tick, recorder: Option<&Recorder>) {
        for verdict in &tick.step.plan.verdicts {
            let pipeline = &verdict.stage.pipeline;
            let Some(Reason::InternalError { message }) = verdict.reason() else { continue };
            if self.0.get(pipeline) == Some(message) {
                continue;
            }
            self.0.insert(pipeline.clone(), message.clone());
            let input = input_of(tick, pipeline);
            let kept = recorder.map(|recorder| recorder.keep(pipeline, input.as_bytes()));
            if let Some(Ok(path)) = kept {
                let path = path.display();
                tracing::error!(%pipeline, message, %path, "deciding panicked; its input is kept");
            } else {
                let mut end = input.len().min(LOG_LIMIT);
                while !input.is_char_boundary(end) {
                    end -= 1;
                }
                let input = &input[..end];
                tracing::error!(%pipeline, message, input, "deciding panicked");
            }
        }
    }

    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        self.0.remove(pipeline);
    }
}

fn input_of(tick: &Tick, pipeline: &PipelineId) -> String {
    let due = || tick.snapshot.due.iter().filter(|due| due.pipeline.id == *pipeline);
    let questions = due().flat_map(|due| &due.pipeline.stages).flat_map(|stage| &stage.sources);
    let observations = questions
        .filter_map(|source| {
            let seen = tick.snapshot.observations.get(&source.question)?;
            Some((source.question.clone(), seen.clone()))
        })
        .collect();
    let snapshot = Snapshot {
        at: tick.snapshot.at,
        may_act: tick.snapshot.may_act,
        due: due().cloned().collect(),
        observations,
    };
    // After a panic the memory is as it was before the turn.
    serde_json::to_string(&(snapshot, &tick.step.memory)).unwrap_or_else(|error| error.to_string())
}
