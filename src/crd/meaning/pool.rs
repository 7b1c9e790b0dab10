//! The crossing from a `CapacityPool` as it is written to the pool that `decide` knows, and between the words of both for its state.

use std::sync::Arc;

use crate::crd::CapacityPoolSpec;
use crate::crd::pool::{Class as WrittenClass, Pricing};
use crate::crd::pool_status::PoolState as WrittenState;
use crate::decide::{Class, Pool, PoolState};

impl CapacityPoolSpec {
    /// The pool that is meant, with what is in force where something was left out.
    pub fn meant(&self, name: &Arc<str>) -> Pool {
        let (probe, longest_probe) = self.probe();
        let class = match self.class {
            WrittenClass::OnDemand => Class::OnDemand,
            WrittenClass::Spot => Class::Spot,
            WrittenClass::Reserved => Class::Reserved,
        };
        Pool { name: Arc::clone(name), class, notice: self.notice(), probe, longest_probe }
    }

    /// What is written and does not work in this version, by path.
    pub fn unserved(&self) -> Vec<String> {
        let asks = matches!(self.pricing(), Some(Pricing::OpenCost(_)));
        asks.then(|| "spec.price.source: OpenCost".to_owned()).into_iter().collect()
    }
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
