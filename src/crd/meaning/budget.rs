//! The crossing from a `CapacityBudget` as it is written to the budget that `decide` knows.

use std::sync::Arc;

use crate::crd::CapacityBudgetSpec;
use crate::crd::budget::OnExceeded;
use crate::decide::Budget;

impl CapacityBudgetSpec {
    /// The budget that is meant, with what is in force where something was left out.
    pub fn meant(&self, name: &Arc<str>) -> Budget {
        Budget {
            name: Arc::clone(name),
            cost_per_hour: self.limits.cost_per_hour(),
            cores: self.limits.cpu(),
            is_enforced: self.on_exceeded() == OnExceeded::Limit,
            rooms: Vec::new(),
        }
    }
}
