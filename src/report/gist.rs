//! When is a status worth writing? The gist of a picture and the gist of what stands written, and the rule between them:
//! a new generation or condition at once; a move, a new reason, a crossed limit within a minute; a drifting rate within the hour.

use std::time::Duration;

use jiff::Timestamp;

use super::Picture;
use super::compose::{Told, headroom};
use super::conditions::{CREDENTIALS_REFUSED, Claim, HICCUP, Truth, is_hiccup};
use crate::crd::PipelineStatus;
use crate::crd::duration;
use crate::crd::status::HeadroomStatus;

/// Between two writes for one pipeline, unless its generation or a condition changed.
const SHORTEST_GAP: Duration = Duration::from_mins(1);
/// How long a new reason must stand that tells of no trouble, and a delay below a limit it was above, so that reasons which take turns are not written in turn.
const DWELL: Duration = Duration::from_mins(1);
/// Between two writes for nothing but a learned rate that moved.
const LEARNED_GAP: Duration = Duration::from_hours(1);
const LEARNED_SHARE: f64 = 0.1;
/// A delay has left a band once it is this far below its lower end.
const BAND_SLACK: f64 = 0.9;

/// What of a status decides whether it is written anew. Made where it is needed, never kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gist<'a> {
    generation: i64,
    /// Type, status, reason.
    conditions: Vec<(&'a str, &'a str, &'a str)>,
    stages: Vec<StageGist<'a>>,
    /// Delay against objective: 0 within it, 1 beyond 100 %, 2 beyond 200 %.
    band: u8,
}

#[derive(Debug, Clone, PartialEq)]
struct StageGist<'a> {
    name: &'a str,
    desired: Option<u32>,
    code: &'a str,
    rate: Option<f64>,
    is_held: bool,
    room: RoomGist,
}

/// What is told of room on nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum RoomGist {
    Now(Option<(u32, Option<u32>)>),
    /// What stands written stays.
    AsBefore,
}

impl RoomGist {
    fn of(status: Option<&HeadroomStatus>) -> Self {
        Self::Now(status.map(|it| (it.replicas, it.placed)))
    }
}

/// What is remembered between two turns of a pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Dwell {
    /// Code of each stage, and since when.
    codes: Vec<(&'static str, Timestamp)>,
    band: u8,
    /// Since when the delay is below that band.
    below: Option<Timestamp>,
    /// The band as it was when we wrote last, and the one that is read out of what we wrote: texts are rounded, and know of no way down.
    told: Option<(u8, u8)>,
}

impl Dwell {
    /// Where an earlier life left off.
    pub(super) fn starting_at(band: u8) -> Self {
        Self { codes: Vec::new(), band, below: None, told: None }
    }

    /// We wrote this.
    pub(super) fn tells(&mut self, status: &PipelineStatus) {
        self.told = Some((self.band, Gist::of_status(status).band));
    }

    /// The band that is told by what stands written.
    fn told(&self, written: &Gist<'_>) -> u8 {
        self.told.filter(|(_, read)| *read == written.band).map_or(written.band, |(band, _)| band)
    }

    /// Up at once, down after a while: where commits come in leaps, a delay falls with each and grows back.
    fn follow(&mut self, band: u8, at: Timestamp) {
        let since = (band < self.band).then(|| self.below.unwrap_or(at));
        let is_long = since.is_some_and(|since| {
            Duration::try_from(at.duration_since(since)).is_ok_and(|below| below >= DWELL)
        });
        self.below = since.filter(|_| !is_long);
        if is_long || self.band < band {
            self.band = band;
        }
    }
}

/// How urgent a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Nothing to write.
    None,
    /// Not before this.
    At(Timestamp),
    /// Now.
    Now,
}

impl<'a> Gist<'a> {
    /// Of a turn.
    pub(super) fn of(picture: &'a Picture, claims: &'a [Claim], dwell: &mut Dwell) -> Self {
        dwell.follow(band(picture, dwell.band), picture.at);
        let stages = picture.verdicts.iter().map(|verdict| StageGist {
            name: &verdict.stage.name,
            desired: verdict.replicas,
            code: verdict.reason().map_or("", |reason| reason.code()),
            rate: learned_rate(picture, verdict.stage.index),
            is_held: verdict.held.is_some(),
            room: match headroom(picture, verdict.stage.index) {
                Told::Now(room) => RoomGist::of(room.as_ref()),
                Told::AsBefore | Told::Owed => RoomGist::AsBefore,
            },
        });
        let code = |verdict: &crate::decide::Verdict| verdict.reason().map_or("", |r| r.code());
        let codes = picture.verdicts.iter().enumerate().map(|(index, verdict)| {
            match dwell.codes.get(index) {
                Some(&(before, since)) if before == code(verdict) => (before, since),
                _ => (code(verdict), picture.at),
            }
        });
        let codes = codes.collect();
        dwell.codes = codes;
        Self {
            generation: picture.glance.generation,
            conditions: claims.iter().map(|c| (c.kind, c.truth.word(), &*c.reason)).collect(),
            stages: stages.collect(),
            band: dwell.band,
        }
    }

    /// Of what stands written.
    pub(super) fn of_status(status: &'a PipelineStatus) -> Self {
        let seconds = |text: &Option<String>| {
            duration::Duration(text.clone()?).read().map(|duration| duration.as_secs_f64())
        };
        let ratios = status
            .stages
            .iter()
            .filter_map(|stage| Some(seconds(&stage.delay)? / seconds(&stage.objective)?));
        Self {
            generation: status.observed_generation.unwrap_or(-1),
            conditions: status
                .conditions
                .iter()
                .map(|c| (&*c.type_, &*c.status, &*c.reason))
                .collect(),
            stages: status
                .stages
                .iter()
                .map(|stage| StageGist {
                    name: &stage.name,
                    desired: stage.desired,
                    code: stage.reason.as_ref().map_or("", |reason| &reason.code),
                    rate: stage.learned.as_ref().and_then(|learned| learned.rate_per_replica),
                    is_held: stage.held.is_some(),
                    room: RoomGist::of(stage.headroom.as_ref()),
                })
                .collect(),
            band: ratios.map(band_of).max().unwrap_or(0),
        }
    }

    /// As it is told of a pipeline that cannot be read: what stands written of its stages stays.
    pub(super) fn keeping_stages(self, written: &Self) -> Self {
        Self { stages: written.stages.clone(), band: written.band, ..self }
    }

    /// Is it only that this process has not heard yet what an earlier one knew?
    pub(super) fn is_still_starting(&self, written: &Gist<'_>) -> bool {
        self.generation == written.generation && self.truth("Reconciling") == Some("True")
    }

    /// Leaves out what is not known yet and was before.
    pub(super) fn without_ignorance(mut self, written: &Self) -> Self {
        for condition in self.conditions.iter_mut().filter(|condition| condition.1 == "Unknown") {
            if let Some(known) = written.conditions.iter().find(|known| known.0 == condition.0) {
                *condition = *known;
            }
        }
        self
    }

    /// Status of a condition.
    pub(super) fn truth(&self, kind: &str) -> Option<&str> {
        self.conditions.iter().find(|condition| condition.0 == kind).map(|condition| condition.1)
    }

    /// Status of a condition, and whether it warns.
    pub(super) fn told(&self, kind: &str) -> (Option<Truth>, bool) {
        match self.conditions.iter().find(|condition| condition.0 == kind) {
            Some((_, status, reason)) => (Truth::of(status), *reason == CREDENTIALS_REFUSED),
            None => (None, false),
        }
    }

    pub(super) fn band(&self) -> u8 {
        self.band
    }

    /// Is `self` worth writing over `written`, and when?
    pub(super) fn urgency(
        &self,
        written: &Self,
        last_write: Option<Timestamp>,
        dwell: &Dwell,
        at: Timestamp,
    ) -> Urgency {
        if self.generation != written.generation || self.has_other_conditions(written) {
            return Urgency::Now;
        }
        let not_before =
            |gap: Duration| last_write.and_then(|last| last.checked_add(gap).ok()).unwrap_or(at);
        if self.band != dwell.told(written)
            || self.has_moved(written)
            || self.has_news(written, dwell, at)
        {
            return Urgency::At(not_before(SHORTEST_GAP));
        }
        let pairs = || self.stages.iter().zip(&written.stages);
        if pairs().any(|(new, old)| new.rate.is_some() && old.rate.is_none()) {
            return Urgency::At(not_before(SHORTEST_GAP));
        }
        let drifts = pairs().any(|(new, old)| match (new.rate, old.rate) {
            (Some(new), Some(old)) => (new - old).abs() >= LEARNED_SHARE * old.abs(),
            _ => false,
        });
        if drifts { Urgency::At(not_before(LEARNED_GAP)) } else { Urgency::None }
    }

    fn has_other_conditions(&self, written: &Self) -> bool {
        // Someone may have put conditions of their own beside ours.
        self.conditions.iter().any(|claim| !written.conditions.contains(claim))
    }

    fn has_moved(&self, written: &Self) -> bool {
        self.stages.len() != written.stages.len()
            || self.stages.iter().zip(&written.stages).any(|(new, old)| {
                let has_other_room = new.room != RoomGist::AsBefore && new.room != old.room;
                has_other_room
                    || (new.name, new.desired, new.is_held) != (old.name, old.desired, old.is_held)
            })
    }

    fn has_news(&self, written: &Self, dwell: &Dwell, at: Timestamp) -> bool {
        self.stages.iter().zip(&written.stages).zip(&dwell.codes).any(|((new, old), (_, since))| {
            let stood = Duration::try_from(at.duration_since(*since)).unwrap_or_default();
            new.code != old.code && patience(new.code) <= stood
        })
    }
}

/// How long a code must stand before it is worth a write.
fn patience(code: &str) -> Duration {
    match code {
        "NoFreshData" => HICCUP,
        code if tells_of_trouble(code) => Duration::ZERO,
        _ => DWELL,
    }
}

/// Codes worth a write at once; the others say in which way all is well.
fn tells_of_trouble(code: &str) -> bool {
    matches!(
        code,
        "OffsetsReset"
            | "Fallback"
            | "NoSources"
            | "Observed"
            | "Paused"
            | "PinnedByAnnotation"
            | "ForcedActive"
            | "WriterConflict"
            | "TakenOver"
            | "SourceDoubted"
            | "HpaOnTarget"
            | "TargetTaken"
            | "TargetUnusable"
            | "OutcomeUnknown"
            | "WriteRefused"
            | "PromiseBroken"
            | "InternalError"
    )
}

/// The rate worth remembering: one that was learned, not one that the owner wrote.
pub(super) fn learned_rate(picture: &Picture, index: usize) -> Option<f64> {
    let stage = picture.situation.as_ref()?.pipeline.stages.get(index)?;
    let rate = picture.verdicts.get(index)?.signals.rate_per_replica?;
    let is_hint = stage.rate_hint.is_some_and(|hint| (hint - rate).abs() <= f64::EPSILON * hint);
    (rate.is_finite() && rate > 0.0 && !is_hint).then_some(rate)
}

fn band(picture: &Picture, before: u8) -> u8 {
    let signals = picture.verdicts.iter().map(|verdict| &verdict.signals);
    let ratios = signals
        .filter(|signals| !is_hiccup(signals, picture.at))
        .filter_map(|signals| Some(signals.delay? / signals.objective?));
    let worst = ratios.fold(0.0, f64::max);
    let now = band_of(worst);
    // Down only when clearly below, so that a delay around a limit is told once.
    if now < before { band_of(worst / BAND_SLACK).min(before) } else { now }
}

fn band_of(ratio: f64) -> u8 {
    if ratio > 2.0 { 2 } else { u8::from(ratio > 1.0) }
}
