//! Keeps a recording on disk: files of lines, of which the oldest make room. Called by `record` on a thread where waiting for a disk
//! delays nobody; which turns are worth keeping is not its concern.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::format::{FORMAT, Record};
use super::{Destination, Page, numbered};
use crate::decide::{Memory, PipelineId};

/// The folder's limit is shared by so many files, so that dropping the oldest costs an eighth.
const SHARES: u64 = 8;
/// Each process begins a file, so a daemon that often starts anew makes many small ones.
const FILES: usize = 32;
/// Inputs of panics that are kept.
const PANICS: usize = 32;
/// After a failure nothing is tried for this long.
const PAUSE: Duration = Duration::from_secs(30);

/// Writes pages to a folder.
#[derive(Debug)]
pub(super) struct Keeper {
    to: Destination,
    memory: Memory,
    open: Option<Open>,
    /// The disk failed at this turn, and has not taken one since.
    failed: Option<Timestamp>,
}

#[derive(Debug)]
struct Open {
    file: BufWriter<File>,
    written: u64,
}

/// What became of turns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) written: u64,
    pub(super) lost: u64,
}

impl Keeper {
    pub(super) fn new(to: Destination) -> Self {
        Self { to, memory: Memory::default(), open: None, failed: None }
    }

    /// Writes pages, as far as the disk takes them. A failure is logged once, and its end too.
    pub(super) fn keep(&mut self, pages: Vec<Page>) -> Kept {
        let mut kept = Kept::default();
        let (mut unflushed, mut latest) = (0, Timestamp::MIN);
        for page in pages {
            match page {
                Page::Start(memory) => {
                    self.memory = memory;
                    if let Some(open) = &mut self.open
                        && open.start(&self.memory).is_err()
                    {
                        self.open = None;
                    }
                }
                Page::Turn(turn) => {
                    let at = turn.snapshot.at;
                    latest = at;
                    let written = if self.is_resting(at) { Ok(false) } else { self.write(&turn) };
                    self.note(written.as_ref().err(), at);
                    if let Ok(true) = written {
                        unflushed += 1;
                    } else {
                        kept.lost += 1;
                    }
                    self.memory.merge(turn.memory);
                }
                Page::Forget(pipeline) => self.memory.forget(&pipeline),
                Page::Panic { pipeline, message, input } => {
                    self.keep_panic(&pipeline, &message, &input);
                }
            }
        }
        let flushed = self.open.as_mut().map_or(Ok(()), |open| open.file.flush());
        if let Err(error) = flushed {
            // What was counted as written may be torn; the next turn begins a new file.
            self.open = None;
            kept.lost += unflushed;
            self.note(Some(&error), latest);
        } else {
            kept.written += unflushed;
        }
        kept
    }

    fn is_resting(&self, at: Timestamp) -> bool {
        self.failed.is_some_and(|failed| at.duration_since(failed).unsigned_abs() < PAUSE)
    }

    fn note(&mut self, error: Option<&io::Error>, at: Timestamp) {
        let folder = self.to.folder.display();
        match (error, self.failed) {
            (Some(error), None) => {
                tracing::warn!(%folder, %error, "turns cannot be recorded; tried again every 30 s");
                self.failed = Some(at);
            }
            (Some(_), Some(_)) => self.failed = Some(at),
            (None, Some(_)) if self.open.is_some() => {
                tracing::info!(%folder, "turns are recorded again");
                self.failed = None;
            }
            (None, _) => {}
        }
        if error.is_some() {
            self.open = None;
        }
    }

    fn write(&mut self, turn: &super::Turn) -> io::Result<bool> {
        let limit = self.to.limit / SHARES;
        let mut open = match self.open.take() {
            Some(open) if open.written < limit => open,
            Some(mut full) => {
                full.file.flush()?;
                self.begin()?
            }
            None => self.begin()?,
        };
        let super::Turn { snapshot, plan, memory } = turn;
        open.written += open.line(&Record::Turn { snapshot, plan, memory })?;
        self.open = Some(open);
        Ok(true)
    }

    /// Begins a file, and lets the oldest go once it is begun.
    fn begin(&self) -> io::Result<Open> {
        let folder = &self.to.folder;
        fs::create_dir_all(folder)?;
        let old = numbered(folder)?;
        let number = old.last().map_or(1, |(number, _)| number + 1);
        let path = folder.join(format!("turns-{number:06}.jsonl"));
        let mut open = Open { file: BufWriter::new(File::create_new(&path)?), written: 0 };
        let begun = open.start(&self.memory).and_then(|length| {
            open.file.flush()?;
            Ok(length)
        });
        match begun {
            Ok(length) => {
                self.make_room(&old, length)?;
                Ok(open)
            }
            Err(error) => {
                // A file without its first line is of no use to anybody.
                drop(fs::remove_file(&path));
                Err(error)
            }
        }
    }

    /// Removes the oldest files until the new one may fill its share.
    fn make_room(&self, old: &[(u64, PathBuf)], begun: u64) -> io::Result<()> {
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |data| data.len());
        let mut left = old.len();
        let mut sum = begun + self.to.limit / SHARES;
        sum += old.iter().map(|(_, path)| size(path)).sum::<u64>();
        for (_, path) in old {
            if left < FILES && sum <= self.to.limit {
                break;
            }
            sum = sum.saturating_sub(size(path));
            left -= 1;
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Keeps the input of a panic in a file of its own, and logs where it is.
    fn keep_panic(&self, pipeline: &PipelineId, message: &str, input: &[u8]) {
        match self.write_panic(pipeline, input) {
            Ok(path) => {
                let path = path.display();
                tracing::error!(%pipeline, detail = message, %path, "deciding panicked; its input is kept, penstock replay shows it");
            }
            Err(error) => {
                let folder = self.to.folder.display();
                tracing::error!(%pipeline, detail = message, %folder, %error, "deciding panicked, and its input could not be kept");
            }
        }
    }

    fn write_panic(&self, pipeline: &PipelineId, input: &[u8]) -> io::Result<PathBuf> {
        let folder = &self.to.folder;
        fs::create_dir_all(folder)?;
        let mut others = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_prefix("panic-").is_some_and(|rest| rest.strip_suffix(".jsonl").is_some())
            {
                let age = fs::metadata(&path).and_then(|data| data.modified());
                others.push((age.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        others.sort();
        for (_, path) in others.iter().take((others.len() + 1).saturating_sub(PANICS)) {
            fs::remove_file(path)?;
        }
        // A namespace has no dot, so no two pipelines share a file.
        let path = folder.join(format!("panic-{}.{}.jsonl", pipeline.namespace, pipeline.name));
        fs::write(&path, input)?;
        Ok(path)
    }
}

impl Open {
    fn start(&mut self, memory: &Memory) -> io::Result<u64> {
        self.line(&start(memory))
    }

    /// Writes a line. Returns its length.
    fn line(&mut self, record: &impl Serialize) -> io::Result<u64> {
        let line = line(record)?;
        self.file.write_all(&line)?;
        Ok(line.len() as u64)
    }
}

/// A first line.
pub(super) fn start(memory: &Memory) -> Record<(), (), &Memory> {
    Record::Start { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), memory }
}

/// A record and the end of its line.
pub(super) fn line(record: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}
