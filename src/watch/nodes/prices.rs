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
    /// What each node costs in an hour, and when that was last told.
    each: BTreeMap<Arc<str>, (f64, Timestamp)>,
    /// The newest answer that holds, if it told of nodes or not.
    last: Option<Timestamp>,
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
        self.0.get(connection)?.each.get(node).map(|(price, _)| *price)
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
        let is_silent = told.last.is_none() && silence != told.silence;
        told.silence = silence;
        let is_new = |new: &&Arc<Reading>| told.last.is_none_or(|old| old < new.at);
        let Some(new) = said.reading().filter(is_new).cloned() else { return is_silent };
        told.take_in(&new, matches!(said, Observation::Fresh(_))) || is_silent
    }

    /// Forgets what was told too long ago; true when there was such a thing.
    pub(super) fn pass(&mut self, now: Timestamp) -> bool {
        let mut has_moved = false;
        let is_old = |at: Timestamp| {
            Duration::try_from(now.duration_since(at)).is_ok_and(|age| HOLDS <= age)
        };
        for told in self.0.values_mut() {
            has_moved |= told.last.take_if(|at| is_old(*at)).is_some();
            let before = told.each.len();
            told.each.retain(|_, (_, at)| !is_old(*at));
            has_moved |= told.each.len() != before;
        }
        has_moved
    }
}

impl Told {
    /// Takes in an answer; true when some price is another. A whole one stands in place of all before it. Of one with gaps each price is
    /// newer than what was told of that node, and says nothing of the others: theirs hold as long as they would have.
    fn take_in(&mut self, new: &Reading, is_whole: bool) -> bool {
        let is_first = self.last.replace(new.at).is_none();
        let none = BTreeMap::new();
        let prices = match &new.value {
            Value::Each(prices) => prices,
            Value::Queue(_) | Value::Gauge(_) | Value::Age(_) => &none,
        };
        let before = self.each.len();
        if is_whole {
            self.each.retain(|node, _| prices.contains_key(node));
        }
        let mut is_other = is_first || self.each.len() != before;
        for (node, price) in prices {
            let old = self.each.insert(Arc::clone(node), (*price, new.at));
            is_other |= old.is_none_or(|(old, _)| old.to_bits() != price.to_bits());
        }
        is_other
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Lost;

    fn reading(second: i64, prices: &[(&str, f64)]) -> Arc<Reading> {
        let prices = prices.iter().map(|(node, price)| ((*node).into(), *price)).collect();
        let at = Timestamp::from_second(second).unwrap();
        Arc::new(Reading { at, value: Value::Each(prices) })
    }

    #[test]
    fn an_answer_with_gaps_takes_no_price_away_before_its_time() {
        let mut prices = Prices::default();
        prices.want(BTreeMap::from([("opencost".into(), None)]));
        let whole = Observation::Fresh(reading(0, &[("a", 1.0), ("b", 2.0), ("c", 3.0)]));
        assert!(prices.hear("opencost", &whole) && !prices.hear("opencost", &whole));
        let lost = Lost { partitions: 2, of: 3, error: "warnings".into() };
        let gaps = |at, price| Observation::Partial(reading(at, &[("a", price)]), lost.clone());
        assert!(prices.hear("opencost", &gaps(600, 1.5)));
        let of = |prices: &Prices, node| prices.of("opencost", node);
        assert_eq!((of(&prices, "a"), of(&prices, "b")), (Some(1.5), Some(2.0)));
        // What was told of the others ends when it would have.
        assert!(prices.pass(Timestamp::from_second(900).unwrap()));
        assert_eq!((of(&prices, "a"), of(&prices, "b")), (Some(1.5), None));
        assert!(!prices.hear("opencost", &gaps(910, 1.5)), "nothing is new");
        // A whole answer is all there is.
        let other = Observation::Fresh(reading(920, &[("b", 2.0)]));
        assert!(prices.hear("opencost", &other));
        assert_eq!((of(&prices, "a"), of(&prices, "b")), (None, Some(2.0)));
    }
}
