//! Whether a pool has reached the limits that its owner gave it.

use std::sync::Arc;

use super::{Node, PoolNote};

impl PoolNote {
    /// Which of its owner's limits is reached: what is left of it is nothing, or less than the smallest of its nodes. A lone node does not tell
    /// of what size the next will be.
    pub(super) fn full(&mut self, members: &[&Node], cost: Option<f64>) -> Option<Arc<str>> {
        let limits = self.spec.limits.as_ref()?;
        let least = |of: fn(&Node) -> Option<f64>| {
            let each = members.iter().filter_map(|node| of(node));
            each.reduce(f64::min).filter(|_| 1 < members.len()).unwrap_or_default()
        };
        let cores: f64 = members.iter().map(|node| node.whole.cores).sum();
        let smallest = least(|node| Some(node.whole.cores));
        let smallest = self.smallest.map_or(smallest, |known| known.min(smallest));
        self.smallest =
            members.iter().map(|it| it.whole.cores).chain(self.smallest).reduce(f64::min);
        if let Some(most) = limits.cpu().filter(|most| is_full(cores, smallest, *most)) {
            let rest = if cores < most {
                format!(", too little for one more of {smallest}")
            } else {
                String::new()
            };
            let full = format!("its nodes have {cores} CPUs, and limits.cpu is {most}{rest}");
            return Some(full.into());
        }
        let most = limits.cost_per_hour()?;
        let cheapest = least(|node| node.price);
        let cost = cost.filter(|cost| is_full(*cost, cheapest, most))?;
        let rest = if cost < most {
            format!(", too little for one more of {cheapest:.2}")
        } else {
            String::new()
        };
        let full = format!("its nodes cost {cost:.2} an hour, and limits.costPerHour is {most}");
        Some(format!("{full}{rest}").into())
    }
}

/// Does `most` leave nothing, or too little for one more? Prices are sums of decimals, which are off by a little.
fn is_full(has: f64, one: f64, most: f64) -> bool {
    most <= has || most * (1.0 + 1e-9) < has + one
}

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn a_limit_is_reached_when_what_is_left_is_too_little_for_one_more() {
        assert!(is_full(8.0, 0.0, 8.0) && is_full(8.0, 4.0, 10.0));
        assert!(!is_full(8.0, 4.0, 12.0) && !is_full(8.0, 0.0, 10.0));
        assert!(!is_full(0.14, 0.07, 0.21), "a sum that is off by a little");
    }
}
