//! Records turns as lines of JSON, for `penstock replay`, bug reports and tests: what was known and remembered, and what was decided.
//! The tellers hand turns in and never wait; [`Desk::write`] takes them to disk on a thread of its own. Nothing of it is a Secret: what is
//! recorded is what decide sees, and decide sees no credentials.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Metrics, Tick};
use crate::decide::{Memory, PipelineId, Plan, Reason, Snapshot, Stage};

mod format;
mod keeper;

pub use format::{FORMAT, Record, Recording, Unreadable};

use keeper::{Keeper, line, start};

/// Turns that wait for the disk at most; further ones are lost, and counted.
const WAITING: usize = 256;
/// What of an input fits into a log line.
const LOG_LIMIT: usize = 32 << 10;

/// Where turns are recorded, and how much of them is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// Bytes that all its files of turns may have together; the oldest make room.
    pub limit: u64,
}

/// What is kept of a turn.
#[derive(Debug)]
struct Turn {
    snapshot: Snapshot,
    plan: Plan,
    memory: Memory,
}

/// What is to be written.
#[derive(Debug)]
enum Page {
    /// All that is remembered before the next turn: some before it were lost, or there are none.
    Start(Memory),
    Turn(Box<Turn>),
    /// A pipeline was deleted.
    Forget(PipelineId),
    /// The input of a panic, which goes to a file of its own.
    Panic {
        pipeline: PipelineId,
        message: String,
        input: Vec<u8>,
    },
}

/// Where pages wait for the disk.
#[derive(Debug)]
pub(super) struct Desk {
    /// `None` when nothing is recorded.
    to: Option<Destination>,
    pile: Mutex<Pile>,
    bell: Notify,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Pile {
    pages: VecDeque<Page>,
    turns: usize,
    memory: Memory,
    /// Does the next turn lack what was remembered before it?
    is_gap: bool,
    is_closed: bool,
}

impl Desk {
    pub(super) fn new(to: Option<Destination>, metrics: Metrics) -> Arc<Self> {
        if to.is_some() {
            // So that the series are there before the first turn is lost.
            metrics.count_recorded(0, 0);
        }
        let (pile, bell) = (Mutex::default(), Notify::new());
        Arc::new(Self { to, pile, bell, metrics })
    }

    /// Takes in a turn. When the disk is too far behind, it is lost and counted.
    pub(super) fn take(&self, tick: &Tick) {
        if self.to.is_none() {
            return;
        }
        let mut pile = self.pile();
        let is_lost = WAITING <= pile.turns;
        if is_lost {
            pile.is_gap = true;
        } else {
            if std::mem::take(&mut pile.is_gap) {
                let memory = pile.memory.clone();
                pile.pages.push_back(Page::Start(memory));
            }
            let turn = Turn {
                snapshot: tick.snapshot.clone(),
                plan: tick.step.plan.clone(),
                memory: tick.step.memory.clone(),
            };
            pile.pages.push_back(Page::Turn(Box::new(turn)));
            pile.turns += 1;
        }
        pile.memory.merge(tick.step.memory.clone());
        drop(pile);
        self.bell.notify_one();
        if is_lost {
            self.metrics.count_recorded(0, 1);
        }
    }

    /// The memory forgets a deleted pipeline as the loop's does.
    pub(super) fn forget(&self, pipeline: &PipelineId) {
        if self.to.is_some() {
            let mut pile = self.pile();
            pile.memory.forget(pipeline);
            pile.pages.push_back(Page::Forget(pipeline.clone()));
        }
    }

    /// Keeps the input of a panic, or logs it when nothing is recorded.
    fn keep(&self, pipeline: &PipelineId, message: &str, input: Vec<u8>) {
        if self.to.is_some() {
            let (pipeline, message) = (pipeline.clone(), message.to_owned());
            self.pile().pages.push_back(Page::Panic { pipeline, message, input });
            self.bell.notify_one();
            return;
        }
        let input = String::from_utf8_lossy(&input);
        let input = &input[..input.floor_char_boundary(LOG_LIMIT)];
        tracing::error!(%pipeline, detail = message, input, "deciding panicked");
    }

    /// No turn will follow: what waits is still written.
    pub(super) fn close(&self) {
        self.pile().is_closed = true;
        self.bell.notify_one();
    }

    /// Writes what waits, until closed and empty.
    pub(super) async fn write(&self) {
        let Some(to) = self.to.clone() else { return };
        let mut keeper = Keeper::new(to);
        loop {
            let (pages, is_closed) = self.pages();
            if pages.is_empty() {
                if is_closed {
                    return;
                }
                self.bell.notified().await;
                continue;
            }
            let writing = tokio::task::spawn_blocking(move || {
                let kept = keeper.keep(pages);
                (keeper, kept)
            });
            let kept = match writing.await {
                Ok((back, kept)) => {
                    keeper = back;
                    kept
                }
                // As any panic of a teller: the process ends, and starts afresh.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            self.metrics.count_recorded(kept.written, kept.lost);
        }
    }

    fn pages(&self) -> (Vec<Page>, bool) {
        let mut pile = self.pile();
        pile.turns = 0;
        (pile.pages.drain(..).collect(), pile.is_closed)
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of turns in a folder, oldest first, with their numbers.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
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
    /// Looks for panics in a turn and keeps their input, as a recording of that one turn.
    pub(super) fn take(&mut self, tick: &Tick, desk: &Desk) {
        for verdict in &tick.step.plan.verdicts {
            let pipeline = &verdict.stage.pipeline;
            let Some(Reason::InternalError { message }) = verdict.reason() else { continue };
            if self.0.get(pipeline) == Some(message) {
                continue;
            }
            self.0.insert(pipeline.clone(), message.clone());
            let input = input_of(tick, pipeline).unwrap_or_else(|error| error.to_string().into());
            desk.keep(pipeline, message, input);
        }
    }

    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        self.0.remove(pipeline);
    }
}

fn input_of(tick: &Tick, pipeline: &PipelineId) -> serde_json::Result<Vec<u8>> {
    let due = || tick.snapshot.due.iter().filter(|due| due.pipeline.id == *pipeline);
    let questions = due().flat_map(|due| &due.pipeline.stages).flat_map(Stage::heard);
    let observations = questions
        .filter_map(|source| {
            let seen = tick.snapshot.observations.get(&source.question)?;
            Some((source.question.clone(), seen.clone()))
        })
        .collect();
    let Snapshot { at, may_act, pools, budgets, .. } = &tick.snapshot;
    let snapshot = Snapshot {
        due: due().cloned().collect(),
        observations,
        pools: pools.clone(),
        budgets: budgets.clone(),
        ..Snapshot::of(*at, *may_act)
    };
    let verdicts = tick.step.plan.verdicts.iter();
    let plan = Plan {
        verdicts: verdicts.filter(|verdict| verdict.stage.pipeline == *pipeline).cloned().collect(),
        ..Plan::default()
    };
    // After a panic the memory is as it was before the turn.
    let memory = tick.step.memory.only(pipeline);
    let mut input = line(&start(&memory))?;
    input.extend(line(&Record::Turn { snapshot, plan, memory: &memory })?);
    Ok(input)
}
