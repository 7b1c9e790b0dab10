//! The crossing from a `CapacityPool` as it is written to the pool that `decide` knows and to the question for its prices, and between the
//! words of both for its state.

use std::sync::Arc;
use std::time::Duration;

use super::login::Found;
use super::{Fault, QuestionDraft, Surroundings, unreadable};
use crate::crd::CapacityPoolSpec;
use crate::crd::pool::{Class as WrittenClass, PriceHours, Pricing};
use crate::crd::pool_status::PoolState as WrittenState;
use crate::decide::{Class, Hours, Pool, PoolState, QuestionId, Rate, Tariff, Unreadable};
use crate::observe::Ask;
use crate::observe::prometheus::{self, Gives, OnEmpty};

/// What OpenCost says of all nodes, by one query that is answered in few words.
const PRICES: &str = "max by (exported_node, node) (node_total_hourly_cost)";
/// What calls a node there. A scrape that lets labels of its own come first has put `exported_` before OpenCost's.
const NODE: &[&str] = &["exported_node", "node"];
/// Prices change by the hour, but a node may come at any minute.
const EVERY: Duration = Duration::from_mins(1);

impl CapacityPoolSpec {
    /// The pool that is meant, with what is in force where something was left out.
    pub fn meant(&self, name: &Arc<str>) -> Pool {
        let (probe, longest_probe) = self.probe();
        let class = match self.class {
            WrittenClass::OnDemand => Class::OnDemand,
            WrittenClass::Spot => Class::Spot,
            WrittenClass::Reserved => Class::Reserved,
        };
        let (tariff, _) = self.tariff();
        Pool { name: Arc::clone(name), class, notice: self.notice(), probe, longest_probe, tariff }
    }

    /// What its nodes cost by the hour, beside their price; and the first hours that cannot be read, which have no price of their own.
    pub fn tariff(&self) -> (Tariff, Option<Fault>) {
        let hours = self.price.as_ref().map(|price| price.hours.as_slice());
        let (tariff, wrong) = tariff(hours.unwrap_or_default());
        let fault =
            wrong.map(|(index, wrong)| unreadable(&format!("spec.price.hours[{index}]"), wrong));
        (tariff, fault)
    }

    /// The `ClusterConnection` that knows what its nodes cost, and how it is asked; `None` where no server is. One question does for all
    /// pools that name the same. A pool lies in no namespace, so that `allowedNamespaces` says nothing of it.
    pub fn prices(
        &self,
        around: &dyn Surroundings,
    ) -> Option<(&str, Result<QuestionDraft, Fault>)> {
        let Some(Pricing::OpenCost(name)) = self.pricing() else { return None };
        let found = Found::for_the_cluster(around, "spec.price.connectionRef", name);
        let draft = |(address, secrets)| QuestionDraft {
            id: QuestionId::prices(name),
            poll_interval: EVERY,
            address,
            ask: Ask::Prometheus(prometheus::Ask {
                query: PRICES.to_owned(),
                on_empty: OnEmpty::Error,
                gives: Gives::Prices(NODE),
            }),
            secrets,
            strimzi: None,
        };
        Some((name, found.and_then(|found| found.prometheus()).map(draft)))
    }
}

/// Prices by the hour, as they are written; and which of them is the first that cannot be read, and why.
pub(crate) fn tariff(written: &[PriceHours]) -> (Tariff, Option<(usize, Unreadable)>) {
    let (mut rates, mut wrong) = (Vec::new(), None);
    for (index, one) in written.iter().enumerate() {
        let zone = one.time_zone.as_deref().unwrap_or("UTC");
        match Hours::new(&one.start, &one.end, zone) {
            Ok(hours) => rates.push(Rate { hours, percent: one.percent }),
            Err(fault) => wrong = wrong.or(Some((index, fault))),
        }
    }
    (Tariff::new(rates), wrong)
}

impl From<WrittenState> for PoolState {
    fn from(written: WrittenState) -> Self {
        match written {
            WrittenState::Unknown => Self::Unknown,
            WrittenState::Available => Self::Available,
            WrittenState::Constrained => Self::Constrained,
            WrittenState::Exhausted => Self::Exhausted,
        }
    }
}

impl From<PoolState> for WrittenState {
    fn from(state: PoolState) -> Self {
        match state {
            PoolState::Unknown => Self::Unknown,
            PoolState::Available => Self::Available,
            PoolState::Constrained => Self::Constrained,
            PoolState::Exhausted => Self::Exhausted,
        }
    }
}
