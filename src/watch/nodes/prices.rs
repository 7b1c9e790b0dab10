//! Prices that are asked of a server: what each `ClusterConnection` that pools name said last of every node, and how long that holds. The
//! asking is done by `observe`, as of any source; the daemon brings the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::crd::meaning::{Fault, QuestionDraft};
use crate::decide::{Observation, Reading, Value};

use super::super::stores::Stores;

/// A price holds for so long after it was last told: it changes by the hour, and a server that is away for some minutes takes no figure
/// away. After that nobody knows it any more.
const HOLDS: Duration = Duration::from_mins(15);

/// By `ClusterConnection`.
#[derive(Debug, Default)]
pub(super) struct Prices(BTreeMap<Arc<str>, Told>);

/// What one of them says.
#[derive(Debug, Default)]
struct Told {
    last: Option<Arc<Reading>>,
    /// Why it cannot be asked, and why it does not answer.
    fault: Option<Unpriced>,
    silence: Option<Unpriced>,
}

/// Why no price of a pool is known: a CamelCase word, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpriced {
    /// The word.
    pub label: Arc<str>,
    /// The sentence.
    pub message: Arc<str>,
}

impl Prices {
    /// What a node costs in an hour, as this connection says.
    pub(super) fn of(&self, connection: &str, node: &str) -> Option<f64> {
        match &self.0.get(connection)?.last.as_ref()?.value {
            Value::Each(prices) => prices.get(node).copied(),
            Value::Queue(_) | Value::Gauge(_) | Value::Age(_) => None,
        }
    }

    /// Why this connection tells no price; `None` while what it said holds, and before it was asked.
    pub(super) fn missing(&self, connection: &str) -> Option<Unpriced> {
        let told = self.0.get(connection).filter(|told| told.last.is_none())?;
        told.fault.as_ref().or(told.silence.as_ref()).cloned()
    }

    /// These are asked, or cannot be, which is told; others are forgotten.
    fn want(&mut self, wanted: BTreeMap<Arc<str>, Option<Unpriced>>) {
        self.0.retain(|connection, _| wanted.contains_key(connection));
        for (connection, fault) in wanted {
            self.0.entry(connection).or_default().fault = fault;
        }
    }

    /// Takes an answer in; true when there is news in it.
    fn hear(&mut self, connection: &str, said: &Observation) -> bool {
        let Some(told) = self.0.get_mut(connection) else { return false };
        let silence = match said {
            Observation::Fresh(_) | Observation::Partial(..) => None,
            Observation::Stale(_, missing) | Observation::Failed(missing) => Some(Unpriced {
                label: Arc::clone(&missing.label),
                message: Arc::clone(&missing.message),
            }),
        };
        let is_new = |new: &&Arc<Reading>| told.last.as_ref().is_none_or(|old| old.at < new.at);
        let news = said.reading().filter(is_new).cloned();
        let value = |reading: &Option<Arc<Reading>>| reading.as_ref().map(|it| it.value.clone());
        let is_other = news.is_some() && value(&news) != value(&told.last);
        let is_silent = told.last.is_none() && silence != told.silence;
        told.silence = silence;
        told.last = news.or_else(|| told.last.take());
        is_other || is_silent
    }

    /// Forgets what was told too long ago; true when there was such a thing.
    pub(super) fn pass(&mut self, now: Timestamp) -> bool {
        let mut has_moved = false;
        for told in self.0.values_mut() {
            let is_old = |last: &mut Arc<Reading>| {
                Duration::try_from(now.duration_since(last.at)).is_ok_and(|age| HOLDS <= age)
            };
            has_moved |= told.last.take_if(is_old).is_some();
        }
        has_moved
    }
}

impl Stores {
    /// How the prices of pools are asked for; those that cannot be are noted.
    pub(in crate::watch) fn price_drafts(&mut self) -> Vec<QuestionDraft> {
        let specs = self.nodes.pools.values().map(|note| &note.spec);
        let asked: BTreeMap<Arc<str>, Result<QuestionDraft, Fault>> = specs
            .filter_map(|spec| spec.prices(self))
            .map(|(name, it)| (name.into(), it))
            .collect();
        let mut wanted = BTreeMap::new();
        let mut drafts = Vec::new();
        for (name, asked) in asked {
            let fault = match asked {
                Ok(draft) => {
                    let lacking = self.lacking(&draft);
                    drafts.push(draft);
                    lacking
                }
                Err(fault) => Some((fault.code.label(), fault.to_string())),
            };
            let fault = fault
                .map(|(label, message)| Unpriced { label: label.into(), message: message.into() });
            wanted.insert(name, fault);
        }
        self.nodes.prices.want(wanted);
        drafts
    }

    /// A server was asked what nodes cost.
    pub(in crate::watch) fn put_prices(&mut self, connection: &str, said: &Observation) {
        if self.nodes.prices.hear(connection, said) {
            self.nodes.assign();
        }
    }
}
