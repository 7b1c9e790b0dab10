//! All pipelines together: only a share of them goes far down at once, and when many that ask one server fall silent together, it is
//! the server that is doubted. Called by `decide` once every due pipeline has had its turn; it withholds moves down and makes none.
//!
//! The two bounds are for the day when everything is wrong in the same way: a broker that answers with nothing, a metrics server
//! that lost its data, a bad release of ours. Each pipeline's own guards see one queue; only here can it be seen that it is not one.
//! What is remembered starts empty after a restart; every stage then keeps what it found for a while of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Trust};
use super::memory::StageMemory;
use super::pipeline::PipelineId;
use super::plan::{Action, Doubted, Ending, Outcome, StageId};
use super::reason::Reason;
use super::stage::Answer;
use super::writes::{Move, later, span};

/// Far downs are counted over this long.
const MINUTE: Duration = Duration::from_mins(1);
/// So many pipelines may go down by more than half within it: one in ten of all, or a few where there are few.
const TENTH: usize = 10;
const FEW: usize = 5;
/// A server is doubted when so many of a hundred of its pipelines fall silent within one poll, and no fewer than `FEW`.
const PERCENT: usize = 30;
/// For so long: two of the shortest down windows. Who is silent all that time is believed; a batch that is done costs this once.
const CONFIRM: Duration = Duration::from_mins(2);
/// Only who was heard at every reading for this long, and for so many polls, falls silent: the pauses of a trickle are no news.
const STEADY: Duration = Duration::from_secs(30);
const POLLS: u32 = 3;

/// What is remembered of all pipelines together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Fleet {
    /// Moves down of the last minute.
    downs: Vec<Down>,
    /// Pipelines that fell silent lately, by the server they ask.
    servers: BTreeMap<Arc<str>, Server>,
}

/// A stage that went down, or is on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Down {
    stage: StageId,
    at: Timestamp,
    from: u32,
    /// Was it, with those before it, by more than half?
    is_far: bool,
    /// Is its outcome not known yet?
    is_asked: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Server {
    silent: Vec<Silence>,
    /// Until when it is doubted.
    doubted: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Silence {
    pipeline: PipelineId,
    since: Timestamp,
    poll: Duration,
}

/// What one server says of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Voice {
    /// See [`Source::origin`](super::Source::origin).
    pub(super) origin: Arc<str>,
    /// How often it is asked.
    poll: Duration,
    /// Since when something has waited or come at every reading; `None` now that nothing does. Not to know is silence too.
    loud_since: Option<Timestamp>,
}

/// Adds what the sources of one stage say at `at` to the voices of its pipeline; `before` are those of its last turn.
pub(super) fn listen(
    voices: &mut Vec<Voice>,
    before: &[Voice],
    evidence: &Evidence<'_>,
    memory: &StageMemory,
    at: Timestamp,
) {
    // One that nobody can ask yet has no origin.
    for seen in evidence.sources.iter().filter(|seen| !seen.source.origin.is_empty()) {
        let source = seen.source;
        let is_told = matches!(seen.trust, Trust::Fresh | Trust::AtLeast);
        let came = memory.traces.get(&source.name).is_some_and(|trace| 0 < trace.came());
        let is_loud = is_told && (came || seen.amount().is_some_and(|amount| 0.0 < amount));
        let since = voice_of(before, &source.origin).and_then(|voice| voice.loud_since);
        let loud_since = is_loud.then(|| since.unwrap_or(at));
        if let Some(voice) = voices.iter_mut().find(|voice| voice.origin == source.origin) {
            voice.loud_since = voice.loud_since.or(loud_since);
            voice.poll = voice.poll.max(source.poll_interval);
        } else {
            let (origin, poll) = (Arc::clone(&source.origin), source.poll_interval);
            voices.push(Voice { origin, poll, loud_since });
        }
    }
}

fn voice_of<'a>(voices: &'a [Voice], origin: &str) -> Option<&'a Voice> {
    voices.iter().find(|voice| *voice.origin == *origin)
}

impl Fleet {
    /// Takes in what became of a pipeline's writes, and the moves that were accepted, be they ours or another Penstock's.
    pub(super) fn settle<'a>(
        &mut self,
        stage: &StageId,
        outcomes: impl Iterator<Item = &'a Outcome>,
        moves: &[Move],
    ) {
        for outcome in outcomes {
            let of = |down: &Down| down.is_asked && down.stage == *stage;
            if matches!(outcome.result, Ending::Unknown { .. }) {
                // It may have been carried out.
                self.downs
                    .iter_mut()
                    .filter(|down| of(down))
                    .for_each(|down| down.is_asked = false);
            } else {
                self.downs.retain(|down| !of(down));
            }
        }
        for moved in moves.iter().filter(|moved| moved.to < moved.from) {
            self.note(stage, moved, false);
        }
    }

    /// Takes in whom a server told nothing of any more, and who is heard again.
    pub(super) fn hear(
        &mut self,
        pipeline: &PipelineId,
        before: &[Voice],
        now: &[Voice],
        at: Timestamp,
    ) {
        for voice in now {
            if voice.loud_since.is_some() {
                if let Some(server) = self.servers.get_mut(&voice.origin) {
                    server.silent.retain(|silence| silence.pipeline != *pipeline);
                }
                continue;
            }
            let since = voice_of(before, &voice.origin).and_then(|old| old.loud_since);
            let steady = STEADY.max(voice.poll.saturating_mul(POLLS));
            if since.is_some_and(|since| steady <= span(since, at)) {
                let server = self.servers.entry(Arc::clone(&voice.origin)).or_default();
                let (pipeline, poll) = (pipeline.clone(), voice.poll);
                server.silent.push(Silence { pipeline, since: at, poll });
            }
        }
    }

    /// Doubts servers, or ceases to. `count` says how many pipelines ask one. Returns those that are doubted from now on.
    pub(super) fn doubt(
        &mut self,
        at: Timestamp,
        count: impl Fn(&Arc<str>) -> usize,
    ) -> Vec<Doubted> {
        let mut news = Vec::new();
        for (origin, server) in &mut self.servers {
            if server.doubted.is_some_and(|until| until <= at) {
                // Silent for so long: it is so.
                *server = Server::default();
            }
            if server.doubted.is_none() {
                // Readings of one poll come together; those of the next come a poll later.
                server.silent.retain(|silence| span(silence.since, at) < silence.poll / 2);
            }
            let of = if server.silent.len() < FEW { 0 } else { count(origin) };
            let is_odd = FEW.max((of * PERCENT).div_ceil(100)) <= server.silent.len();
            match (is_odd, server.doubted) {
                (true, None) => {
                    let until = later(at, CONFIRM);
                    server.doubted = Some(until);
                    let size = |n| u32::try_from(n).unwrap_or(u32::MAX);
                    news.push(Doubted {
                        origin: Arc::clone(origin),
                        silent: size(server.silent.len()),
                        of: size(of),
                        until,
                    });
                }
                // They came back.
                (false, Some(_)) => server.doubted = None,
                _ => {}
            }
        }
        self.servers.retain(|_, server| !server.silent.is_empty());
        self.downs.retain(|down| span(down.at, at) < MINUTE);
        news
    }

    /// Lets a stage's action pass and notes it, or withholds it and says why. `all` is the number of pipelines there are.
    pub(super) fn admit(
        &mut self,
        answer: &mut Answer,
        voices: &[Voice],
        all: usize,
        at: Timestamp,
    ) {
        let is_scale = |action: &Action| matches!(action, Action::Scale(_));
        let (Some(from), Some(to)) = (answer.from, answer.verdict.replicas) else { return };
        let moved = Move { at, from, to };
        if !answer.actions.iter().any(is_scale) {
            return;
        }
        // Who pins a count or lowers `max` by hand is not made to wait.
        if moved.from <= moved.to || answer.is_told {
            return;
        }
        let stage = &answer.verdict.stage;
        let wished = moved.to;
        let doubted = voices.iter().find_map(|voice| {
            let until = self.servers.get(&voice.origin)?.doubted?;
            let origin = voice.origin.to_string();
            Some((Reason::SourceDoubted { wished, origin, until }, until))
        });
        let kept = doubted.or_else(|| {
            let until = self.frees(stage, &moved, all)?;
            Some((Reason::FleetBudget { wished, until }, until))
        });
        if let Some((reason, until)) = kept {
            answer.withhold(moved.from, reason, until);
        } else {
            let stage = stage.clone();
            self.note(&stage, &moved, true);
        }
    }

    /// When there is room for a move by more than half; `None` when there is now, or when it is not that far.
    fn frees(&self, stage: &StageId, moved: &Move, all: usize) -> Option<Timestamp> {
        if !self.is_far(stage, moved) {
            return None;
        }
        // When each pipeline that went far down last did so.
        let mut fallen: BTreeMap<&PipelineId, Timestamp> = BTreeMap::new();
        for down in self.downs.iter().filter(|down| down.is_far) {
            let latest = fallen.entry(&down.stage.pipeline).or_insert(down.at);
            *latest = down.at.max(*latest);
        }
        let room = FEW.max(all / TENTH);
        if fallen.contains_key(&stage.pipeline) || fallen.len() < room {
            return None;
        }
        let mut times: Vec<_> = fallen.into_values().collect();
        times.sort_unstable();
        times.get(times.len() - room).map(|&at| later(at, MINUTE))
    }

    /// Does a move take its stage below half of what ran within the last minute?
    fn is_far(&self, stage: &StageId, moved: &Move) -> bool {
        let of = self.downs.iter().filter(|down| down.stage == *stage).map(|down| down.from);
        let most = of.chain([moved.from]).max().unwrap_or(0);
        u64::from(moved.to) * 2 < u64::from(most)
    }

    fn note(&mut self, stage: &StageId, moved: &Move, is_asked: bool) {
        let Move { at, from, .. } = *moved;
        let is_far = self.is_far(stage, moved);
        self.downs.push(Down { stage: stage.clone(), at, from, is_far, is_asked });
    }

    /// Forgets a deleted pipeline; that it went down stays true.
    pub(super) fn forget(&mut self, pipeline: &PipelineId) {
        for server in self.servers.values_mut() {
            server.silent.retain(|silence| silence.pipeline != *pipeline);
        }
    }
}
