//! The format of a recording: what a line of it is, and how it is read back. Written by `keeper`, read by `penstock replay` and the
//! tests; what a difference is, is for them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::numbered;
use crate::decide::{Memory, Plan, Snapshot};

/// The number of the format. It goes up with every change after which a line of an earlier Penstock reads otherwise or not at all.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase")]
pub enum Record<S = Snapshot, P = Plan, M = Memory> {
    /// The first line of a file, and the line after turns that were lost: all that was remembered before the turn that follows.
    Start {
        /// [`FORMAT`].
        format: u32,
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

/// As much of a first line as every format has.
#[derive(Debug, Deserialize)]
struct Head {
    record: String,
    #[serde(default)]
    format: u32,
    #[serde(default)]
    version: String,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file or folder is not there, or may not be read.
    #[error("cannot read {}: {source}; hint: name the folder that `run --record` was given, or a file of it", .path.display())]
    NotThere {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder without a file of turns.
    #[error("{} holds no recording; hint: its files are called turns-000001.jsonl and so on", .path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Something else.
    #[error("{} is no recording of Penstock's: its first line does not say so; hint: record one with `penstock run --record DIR`", .path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// Of another format.
    #[error("{} has format {format}, and this Penstock reads format {FORMAT}; hint: replay it with the Penstock that recorded it, version {version}", .path.display())]
    OtherFormat {
        /// Which.
        path: PathBuf,
        /// Its format; 0 before formats had numbers.
        format: u32,
        /// Who wrote it.
        version: String,
    },
    /// A line that is no record, and not the torn last one.
    #[error("{} line {line} cannot be read: {source}; hint: it was written by Penstock {version}, which can read it if the file is whole", .path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// Who wrote the file.
        version: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// A recording, read line by line: one file, or all files of a folder in order.
#[derive(Debug)]
pub struct Recording {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<Open>,
    /// Files of it, oldest first.
    pub paths: Vec<PathBuf>,
    /// Files whose last line is not whole: the process ended, or the disk was full, in the middle of it.
    pub torn: Vec<PathBuf>,
    /// Who wrote what was read so far: version of Penstock, of the latest file.
    pub version: String,
    /// Bytes that were read so far.
    pub done: u64,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
}

impl Recording {
    /// Opens a file, or all files of turns in a folder.
    ///
    /// # Errors
    /// It is not there, or a folder without turns.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let not_there = |source| Unreadable::NotThere { path: path.to_owned(), source };
        let paths = if fs::metadata(path).map_err(not_there)?.is_dir() {
            let found = numbered(path).map_err(not_there)?;
            found.into_iter().map(|(_, path)| path).collect()
        } else {
            vec![path.to_owned()]
        };
        if paths.is_empty() {
            return Err(Unreadable::Empty { path: path.to_owned() });
        }
        let files = paths.clone().into_iter();
        Ok(Self { files, open: None, paths, torn: Vec::new(), version: String::new(), done: 0 })
    }

    /// The next record; none at the end. The torn last line of a file is left out, and noted in `torn`.
    ///
    /// # Errors
    /// A file is none of ours, of another format, or broken in the middle.
    pub fn read(&mut self) -> Result<Option<Record>, Unreadable> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.files.next() {
                    Some(path) => Open::new(path)?,
                    None => return Ok(None),
                },
            };
            let Some(text) = open.next()? else { continue };
            self.done += text.len() as u64;
            if open.line == 1 {
                self.version = open.version(&text)?;
            }
            match serde_json::from_str(&text) {
                Ok(record) => {
                    self.open = Some(open);
                    return Ok(Some(record));
                }
                Err(_) if !text.ends_with('\n') => self.torn.push(open.path),
                Err(source) => {
                    let Open { path, line, .. } = open;
                    let version = self.version.clone();
                    return Err(Unreadable::Line { path, line, version, source });
                }
            }
        }
    }
}

impl Open {
    fn new(path: PathBuf) -> Result<Self, Unreadable> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, lines: BufReader::new(file), line: 0 }),
            Err(source) => Err(Unreadable::NotThere { path, source }),
        }
    }

    /// The next line, with its end if it has one; none after the last.
    fn next(&mut self) -> Result<Option<String>, Unreadable> {
        let mut bytes = Vec::new();
        let read = self.lines.read_until(b'\n', &mut bytes);
        self.line += 1;
        match read {
            Ok(0) if self.line == 1 => Err(self.not_ours()),
            Ok(0) => Ok(None),
            // What is no text is no record either, and is told as such.
            Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(source) => Err(Unreadable::NotThere { path: self.path.clone(), source }),
        }
    }

    /// Who wrote the file, by its first line, if it is of our format.
    fn version(&self, first: &str) -> Result<String, Unreadable> {
        let head: Head = serde_json::from_str(first).map_err(|_| self.not_ours())?;
        let Head { record, format, version } = head;
        if record != "start" {
            return Err(self.not_ours());
        }
        if format != FORMAT {
            return Err(Unreadable::OtherFormat { path: self.path.clone(), format, version });
        }
        Ok(version)
    }

    fn not_ours(&self) -> Unreadable {
        Unreadable::NotOurs { path: self.path.clone() }
    }
}
