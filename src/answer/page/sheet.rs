//! The lines of all pipelines, each with the version at which it last changed: who looks asks for what is newer than what he has seen.
//! Made when somebody looks, at most once a second for all who do, and thrown away when nobody does any more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::row::Row;
use crate::answer::sight::Sight;
use crate::clock::Clock;
use crate::decide::PipelineId;
use crate::report::Standing;

/// The lines are made anew this often at most.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// Pages that can be open at once.
pub(super) const WATCHERS: usize = 32;
/// Deleted pipelines that are remembered for those who were away.
const GONE: usize = 256;

/// The lines of a replica. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub(in crate::answer) struct Sheets {
    inner: Arc<Mutex<Sheet>>,
    standing: Standing,
    clock: Clock,
    /// Tells the versions of this process from those of another.
    life: u32,
}

#[derive(Debug, Default)]
struct Sheet {
    made: Option<Instant>,
    /// Grows with every change.
    version: u64,
    /// What went before this version is forgotten.
    floor: u64,
    lines: BTreeMap<PipelineId, Line>,
    gone: VecDeque<(u64, PipelineId)>,
    watchers: usize,
}

#[derive(Debug)]
struct Line {
    /// The turn that it was made of.
    at: Timestamp,
    generation: i64,
    version: u64,
    json: Arc<str>,
}

/// What is new to somebody.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct News {
    /// Up to which version.
    pub(super) version: u64,
    /// True when these are all lines, and whatever else somebody has is no more.
    pub(super) is_whole: bool,
    /// Lines, as JSON.
    pub(super) lines: Vec<Arc<str>>,
    /// Pipelines that are no more.
    pub(super) gone: Vec<PipelineId>,
}

/// A page that is open; the place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher(Sheets);

impl Sheets {
    pub(in crate::answer) fn new(standing: Standing, clock: Clock) -> Self {
        let inner = Arc::new(Mutex::new(Sheet::default()));
        Self { inner, standing, clock, life: fastrand::u32(..) }
    }

    /// A place for one more page; `None` when all are taken.
    pub(super) fn watch(&self) -> Option<Watcher> {
        let mut sheet = self.sheet();
        if WATCHERS <= sheet.watchers {
            return None;
        }
        sheet.watchers += 1;
        Some(Watcher(self.clone()))
    }

    /// All in sight that is newer than a version, as of now; everything where that version is not known any more.
    pub(super) fn since(&self, seen: Option<u64>, sight: &Sight) -> News {
        let mut sheet = self.sheet();
        let now = Instant::now();
        if sheet.made.is_none_or(|made| PACE <= now.duration_since(made)) {
            sheet.make(&self.standing);
            sheet.made = Some(now);
        }
        let news = sheet.since(seen, sight);
        if sheet.watchers == 0 {
            sheet.forget();
        }
        news
    }

    /// When lines can be newer than those that were made last.
    pub(super) fn ready_at(&self) -> Instant {
        self.sheet().made.map_or_else(Instant::now, |made| made + PACE)
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A version as it is told to who sees so much.
    pub(super) fn token(&self, version: u64, sight: &Sight) -> String {
        format!("{:08x}.{version}", self.life ^ sight.mark())
    }

    /// Reads a version that was told; `None` for another life's, for what was told to who saw other namespaces, or for none at all.
    pub(super) fn version(&self, token: &str, sight: &Sight) -> Option<u64> {
        let (life, version) = token.split_once('.')?;
        (u32::from_str_radix(life, 16).ok()? == self.life ^ sight.mark())
            .then(|| version.parse().ok())?
    }

    /// Lines that are kept now: none while nobody looks.
    pub(in crate::answer) fn kept(&self) -> usize {
        self.sheet().lines.len()
    }

    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sheet {
    fn make(&mut self, standing: &Standing) {
        let pictures = standing.all();
        let mut before = std::mem::take(&mut self.lines);
        for picture in pictures {
            let id = picture.glance.id.clone();
            let known = before.remove(&id);
            let (at, generation) = (picture.at, picture.glance.generation);
            let line = match known {
                Some(line) if line.at == at && line.generation == generation => line,
                known => {
                    let json = serde_json::to_string(&Row::of(&picture)).unwrap_or_default();
                    match known {
                        Some(line) if *line.json == *json => Line { at, generation, ..line },
                        Some(_) | None => {
                            self.version += 1;
                            Line { at, generation, version: self.version, json: json.into() }
                        }
                    }
                }
            };
            self.lines.insert(id, line);
        }
        for id in before.into_keys() {
            self.version += 1;
            self.gone.push_back((self.version, id));
        }
        while GONE < self.gone.len() {
            self.floor = self.gone.pop_front().map_or(self.floor, |(version, _)| version);
        }
    }

    fn since(&self, seen: Option<u64>, sight: &Sight) -> News {
        let known = seen.filter(|seen| self.floor <= *seen && *seen <= self.version);
        let after = known.unwrap_or(0);
        let lines = self.lines.iter().filter(|(id, line)| {
            sight.sees(&id.namespace) && (known.is_none() || after < line.version)
        });
        let gone = self.gone.iter().filter(|(version, id)| {
            sight.sees(&id.namespace) && known.is_some() && after < *version
        });
        News {
            version: self.version,
            is_whole: known.is_none(),
            lines: lines.map(|(_, line)| Arc::clone(&line.json)).collect(),
            gone: gone
                .map(|(_, id)| id)
                .filter(|id| !self.lines.contains_key(*id))
                .cloned()
                .collect(),
        }
    }

    /// Nobody looks: what comes back is told everything.
    fn forget(&mut self) {
        self.version += 1;
        self.floor = self.version;
        self.lines.clear();
        self.gone.clear();
        self.made = None;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut sheet = self.0.sheet();
        sheet.watchers -= 1;
        if sheet.watchers == 0 {
            sheet.forget();
        }
    }
}
