//! What happened to each stage in the last day, for the page: what was told of it, and how it fared. Kept by the tellers on every
//! replica, at most 2 KiB a stage; [`past`] fills in what an earlier process told. Read by `answer`; decides and writes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::Picture;
use super::tale::Tale;
use crate::decide::PipelineId;

mod log;
mod trail;
pub(super) mod past;

pub use log::Entry;
pub use trail::{Course, Trail};

use log::Log;
use trail::Trails;

/// What is kept of a stage fills at most so many bytes.
pub const STAGE_LIMIT: usize = 2048;
/// And what concerns a pipeline as a whole.
pub const PIPELINE_LIMIT: usize = 512;
/// What the words of a stage may fill.
const WORDS: usize = STAGE_LIMIT - Trails::LIMIT - size_of::<Kept>();

/// All that is kept of one stage.
#[derive(Debug)]
struct Kept {
    name: Arc<str>,
    log: Log,
    trails: Trails,
    /// Replicas asked for at the latest turn: a standby sees by them that the leader has moved it.
    desired: Option<u32>,
}

#[derive(Debug, Default)]
struct Chronicle {
    uid: Arc<str>,
    /// What concerns no single stage.
    whole: Log,
    stages: Vec<Kept>,
}

/// What happened to one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// What was told of it and of its pipeline, oldest first.
    pub entries: Vec<Entry>,
    /// How it fared.
    pub trail: Trail,
}

/// The last day of every stage. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Timelines(Arc<RwLock<BTreeMap<PipelineId, Chronicle>>>);

impl Timelines {
    /// Takes in a turn and what is told of it.
    pub(super) fn take(&self, picture: &Picture, tales: &[Tale]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let chronicle = all.entry(picture.glance.id.clone()).or_default();
        if chronicle.uid != picture.glance.uid {
            *chronicle = Chronicle { uid: Arc::clone(&picture.glance.uid), ..Chronicle::default() };
        }
        chronicle.follow(picture);
        for tale in tales {
            let told = Told::read(&tale.note);
            chronicle.add(&told, &told.entry(picture.at, &tale.reason, tale.is_warning));
        }
    }

    /// Everything of a deleted pipeline vanishes.
    pub(super) fn forget(&self, pipeline: &PipelineId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(pipeline);
    }

    /// What happened to a stage; `None` when there is no such stage.
    pub fn of(&self, pipeline: &PipelineId, stage: &str, now: Timestamp) -> Option<Timeline> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let chronicle = all.get(pipeline)?;
        let kept = chronicle.stages.iter().find(|kept| &*kept.name == stage)?;
        let mut entries = kept.log.entries(now);
        entries.extend(chronicle.whole.entries(now));
        entries.sort_by_key(|entry| entry.at);
        Some(Timeline { entries, trail: kept.trails.show(now) })
    }

    /// Bytes that each stage of a pipeline fills, and its pipeline beside them; 0 when there is none.
    pub fn weight(&self, pipeline: &PipelineId) -> (Vec<usize>, usize) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(chronicle) = all.get(pipeline) else { return (Vec::new(), 0) };
        let stages = chronicle.stages.iter();
        let stages =
            stages.map(|kept| size_of::<Kept>() + kept.log.weight() + kept.trails.weight());
        (stages.collect(), size_of::<Chronicle>() + chronicle.whole.weight())
    }

    /// Fills in what was told of a pipeline before this process.
    fn refill(&self, pipeline: &PipelineId, uid: &str, past: Vec<(Told, Entry)>, now: Timestamp) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(chronicle) = all.get_mut(pipeline).filter(|it| &*it.uid == uid) else { return };
        let mut whole = Vec::new();
        let mut each: Vec<Vec<Entry>> = chronicle.stages.iter().map(|_| Vec::new()).collect();
        for (told, entry) in past {
            match told.place(&chronicle.stages) {
                Some(index) => each[index].push(entry),
                None if told.stage.is_none() => whole.push(entry),
                // Of a stage that is no more.
                None => {}
            }
        }
        if !whole.is_empty() {
            chronicle.whole.refill(whole, now, Chronicle::WORDS);
        }
        for (kept, past) in chronicle.stages.iter_mut().zip(each) {
            if !past.is_empty() {
                kept.log.refill(past, now, WORDS);
            }
        }
    }
}

impl Chronicle {
    const WORDS: usize = PIPELINE_LIMIT - size_of::<Self>();

    /// Keeps step with the stages, and notes how each fares.
    fn follow(&mut self, picture: &Picture) {
        let Some(situation) = &picture.situation else { return };
        let stages = &situation.pipeline.stages;
        let is_same = self.stages.len() == stages.len()
            && self.stages.iter().zip(stages).all(|(kept, stage)| kept.name == stage.name);
        if !is_same {
            let mut before = std::mem::take(&mut self.stages);
            let kept = stages.iter().map(|stage| {
                let known = before.iter().position(|kept| kept.name == stage.name);
                known.map_or_else(|| Kept::new(&stage.name), |at| before.swap_remove(at))
            });
            self.stages = kept.collect();
        }
        for (index, kept) in self.stages.iter_mut().enumerate() {
            let Some(verdict) = picture.verdicts.get(index) else { continue };
            let workload = picture.workload(index);
            kept.trails.take(&verdict.signals, workload.map(|it| it.current), picture.at);
            let desired = workload.map(|workload| workload.desired);
            let (Some(from), Some(to)) = (kept.desired, desired) else {
                kept.desired = desired.or(kept.desired);
                continue;
            };
            kept.desired = Some(to);
            // The leader tells its own moves; a standby decides alike, so that it knows why.
            if from != to && !picture.may_act {
                let code = if from < to { "ScaledUp" } else { "ScaledDown" };
                let why = verdict.reason().filter(|_| verdict.replicas == Some(to));
                let entry = Entry {
                    at: picture.at,
                    code: code.to_owned(),
                    moved: Some((from, to)),
                    is_warning: false,
                    sentence: why.map(ToString::to_string).unwrap_or_default(),
                };
                kept.log.push(&entry, WORDS);
            }
        }
    }

    fn add(&mut self, told: &Told, entry: &Entry) {
        match told.place(&self.stages) {
            Some(index) => self.stages[index].log.push(entry, WORDS),
            None => self.whole.push(entry, Self::WORDS),
        }
    }
}

impl Kept {
    fn new(name: &Arc<str>) -> Self {
        let (log, trails) = (Log::default(), Trails::default());
        Self { name: Arc::clone(name), log, trails, desired: None }
    }
}

/// What the note of an event says: of which stage, what move, and the sentence.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    stage: Option<String>,
    moved: Option<(u32, u32)>,
    sentence: String,
}

impl Told {
    /// Reads `stage NAME: …`, `stage NAME from 4 to 9 replicas: …`, the same of a lane (`stage NAME on POOL from …`), `Late: stage NAME: …`, and what is said of a whole pipeline.
    fn read(note: &str) -> Self {
        let (prefix, rest) = match note.split_once(": stage ") {
            Some((kind, rest)) if kind.chars().all(char::is_alphanumeric) => (kind, Some(rest)),
            Some(_) | None => ("", note.strip_prefix("stage ")),
        };
        let of_all = || Self { stage: None, moved: None, sentence: note.to_owned() };
        let Some((head, sentence)) = rest.and_then(|rest| rest.split_once(": ")) else {
            return of_all();
        };
        let mut words = head.split(' ');
        let Some(name) = words.next() else { return of_all() };
        let words: Vec<&str> = words.collect();
        let moved = match words.as_slice() {
            ["from", from, "to", to, "replicas"]
            | ["on", _, "from", from, "to", to, "replicas"] => {
                from.parse().ok().zip(to.parse().ok())
            }
            _ => None,
        };
        if moved.is_none() && !words.is_empty() {
            return of_all();
        }
        let of_lane = words.first().filter(|word| **word == "on").and_then(|_| words.get(1));
        let sentence = match of_lane {
            Some(pool) => format!("on {pool}: {sentence}"),
            None if prefix.is_empty() => sentence.to_owned(),
            None => format!("{prefix}: {sentence}"),
        };
        Self { stage: Some(name.to_owned()), moved, sentence }
    }

    fn entry(&self, at: Timestamp, code: &str, is_warning: bool) -> Entry {
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let (moved, sentence) = (self.moved, self.sentence.clone());
        Entry { at, code: code.to_owned(), moved, is_warning, sentence }
    }

    fn place(&self, stages: &[Kept]) -> Option<usize> {
        let name = self.stage.as_deref()?;
        stages.iter().position(|kept| &*kept.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_of_which_stage_it_is() {
        let read = |note| {
            let Told { stage, moved, sentence } = Told::read(note);
            (stage, moved, sentence)
        };
        let stage = |name: &str| Some(name.to_owned());
        assert_eq!(
            read("stage enrich from 4 to 9 replicas: 9 replicas: 10 messages wait"),
            (stage("enrich"), Some((4, 9)), "9 replicas: 10 messages wait".to_owned())
        );
        assert_eq!(
            read("ObjectiveMet: stage sink: the oldest item has waited 70 s of 60 s"),
            (
                stage("sink"),
                None,
                "ObjectiveMet: the oldest item has waited 70 s of 60 s".to_owned()
            )
        );
        assert_eq!(
            read("stage sink: HotPartition is over"),
            (stage("sink"), None, "HotPartition is over".to_owned())
        );
        let whole = "ObjectiveMet: every stage keeps its objective";
        assert_eq!(read(whole), (None, None, whole.to_owned()));
    }
}
