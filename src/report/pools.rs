//! Pools of nodes as they are told: what the status of a `CapacityPool` says, and what of it metrics and pages show. The desk writes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use super::compose::{condition, whole_second};
use super::conditions::{Claim, Truth, cut};
use super::desk::Subject;
use crate::crd::duration;
use crate::crd::pool_status::{CapacityPoolStatus, PoolEvidence, PoolEvidenceKind, PoolStartup};
use crate::decide::{Class, PoolState, PoolVerdict, Sign};

/// What one sentence of evidence may fill.
const SENTENCE: usize = 256;

/// A pool as an object, and the figures of its nodes.
#[derive(Debug, Clone)]
pub struct PoolGlance {
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`; a status write carries it.
    pub resource_version: Arc<str>,
    /// How its nodes are paid for.
    pub class: Class,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<CapacityPoolStatus>,
    /// Why no price of its nodes is known, where a server is to say it: a CamelCase word and a sentence. Then it is not Ready.
    pub unpriced: Option<(Arc<str>, Arc<str>)>,
    /// Why nothing is known of who makes its nodes, where its owner says who does: as above, and with the same end.
    pub unmade: Option<(Arc<str>, Arc<str>)>,
    /// Nodes that are Ready and stay.
    pub nodes: u32,
    /// CPUs of all its nodes.
    pub cores: f64,
    /// How long nodes take to come: half of them, and 95 of 100, no longer than this.
    pub startup: Option<(Duration, Duration)>,
    /// What its nodes cost in an hour; `None` when the price of one is unknown.
    pub cost: Option<f64>,
}

/// One pool at the latest turn: what metrics and pages show.
#[derive(Debug, Clone)]
pub struct PoolPicture {
    /// The object and its figures.
    pub glance: PoolGlance,
    /// What is believed of it.
    pub verdict: PoolVerdict,
    /// When the turn was.
    pub at: Timestamp,
}

impl Subject for PoolPicture {
    type Status = CapacityPoolStatus;
    const PLURAL: &'static str = "capacitypools";
    const CLEARED: &'static [(&'static str, Value)] = &[
        ("startup", Value::Null),
        ("costPerHour", Value::Null),
        ("evidence", Value::Array(Vec::new())),
    ];

    fn place(&self) -> (&Arc<str>, &Arc<str>) {
        (&self.glance.uid, &self.glance.resource_version)
    }

    fn known(&self) -> &Arc<CapacityPoolStatus> {
        &self.glance.status
    }

    fn knowing(mut self, status: Arc<CapacityPoolStatus>) -> Self {
        self.glance.status = status;
        self
    }

    fn status(&self) -> CapacityPoolStatus {
        let PoolVerdict { state, since, evidence, .. } = &self.verdict;
        let span = |span: Duration| duration::Duration::from(Duration::from_secs(span.as_secs())).0;
        CapacityPoolStatus {
            observed_generation: Some(self.glance.generation),
            state: Some((*state).into()),
            since: Some(whole_second(*since)),
            nodes: Some(self.glance.nodes),
            startup: self
                .glance
                .startup
                .map(|(p50, p95)| PoolStartup { p50: Some(span(p50)), p95: Some(span(p95)) }),
            evidence: evidence.iter().rev().map(told).collect(),
            cost_per_hour: self.glance.cost.map(|cost| format!("{cost:.2}")),
            conditions: vec![self.ready()],
        }
    }

    fn gist(status: &CapacityPoolStatus) -> CapacityPoolStatus {
        CapacityPoolStatus { nodes: None, startup: None, cost_per_hour: None, ..status.clone() }
    }

    fn tell(&self, old: Option<&Self>) {
        let PoolVerdict { pool, state, evidence, .. } = &self.verdict;
        if old.is_some_and(|old| old.verdict.state == *state) {
            return;
        }
        let sign = evidence.last().map(|sign| sign.what.as_ref()).unwrap_or_default();
        match state {
            PoolState::Unknown | PoolState::Available => {
                tracing::info!(%pool, state = state.label(), "pool of nodes");
            }
            PoolState::Constrained | PoolState::Exhausted => {
                tracing::warn!(%pool, state = state.label(), sign, "pool of nodes");
            }
        }
    }
}

/// What a turn showed of each pool, with what it made of it.
pub(super) fn pictures(
    glances: BTreeMap<Arc<str>, PoolGlance>,
    verdicts: &[PoolVerdict],
    at: Timestamp,
) -> BTreeMap<Arc<str>, PoolPicture> {
    let picture = |(name, glance): (Arc<str>, PoolGlance)| {
        let verdict = verdicts.iter().find(|verdict| verdict.pool == name)?.clone();
        Some((name, PoolPicture { glance, verdict, at }))
    };
    glances.into_iter().filter_map(picture).collect()
}

impl PoolPicture {
    /// Its condition `Ready`.
    fn ready(&self) -> Condition {
        let (truth, reason, message) =
            match self.glance.unpriced.as_ref().or(self.glance.unmade.as_ref()) {
                None => (Truth::True, "Serving".into(), String::new()),
                Some((label, message)) => {
                    (Truth::False, label.to_string().into(), cut(message.to_string()))
                }
            };
        let claim = Claim { kind: "Ready", truth, reason, message: message.into() };
        condition(&claim, self.at, self.glance.generation, &self.glance.status.conditions)
    }
}

fn told(sign: &Sign) -> PoolEvidence {
    PoolEvidence {
        at: whole_second(sign.at),
        kind: if sign.is_hard { PoolEvidenceKind::Hard } else { PoolEvidenceKind::Soft },
        what: sign.what[..sign.what.floor_char_boundary(SENTENCE)].to_owned(),
    }
}
