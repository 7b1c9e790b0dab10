//! How a limit is rationed among those who ask for more than it allows.
//!
//! First everybody gets its least: budgets starve nobody, and where even that is too much it is told. What is left goes by priority; who
//! comes later gets nothing of it until all who come first have what they wish. Inside one priority the parts of their wishes are made
//! as equal as can be (weighted max-min fairness by progressive filling: Bertsekas and Gallager, Data Networks, section 6.5.2).

use serde::{Deserialize, Serialize};

/// What a stage asks of the budgets over it, all else decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::decide) struct Ask {
    /// What it would have.
    pub(in crate::decide) wished: u32,
    /// Never fewer: what its owner, or want of fresh data, forbids to go below.
    pub(in crate::decide) least: u32,
}

/// One of those who share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// What one replica takes of the limit.
    pub(super) unit: f64,
    pub(super) priority: i32,
    pub(super) ask: Ask,
}

/// How many replicas each of these gets of what `limit` allows.
pub(super) fn grants(limit: f64, shares: &[Share]) -> Vec<u32> {
    let mut granted: Vec<u32> =
        shares.iter().map(|share| share.ask.wished.min(share.ask.least)).collect();
    let taken: f64 =
        shares.iter().zip(&granted).map(|(share, &count)| share.unit * f64::from(count)).sum();
    let mut left = limit - taken + slack(limit);
    let mut priorities: Vec<i32> = shares.iter().map(|share| share.priority).collect();
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    priorities.dedup();
    for priority in priorities {
        let of: Vec<usize> =
            (0..shares.len()).filter(|&index| shares[index].priority == priority).collect();
        let more: f64 = of
            .iter()
            .map(|&index| shares[index].unit * f64::from(shares[index].lacks(granted[index])))
            .sum();
        if more <= left {
            for index in of {
                granted[index] = granted[index].max(shares[index].ask.wished);
            }
            left -= more;
            continue;
        }
        fill(left.max(0.0), &of, shares, &mut granted);
        break;
    }
    granted
}

/// What is forgiven beyond a limit: sums of prices are not exact.
pub(super) fn slack(limit: f64) -> f64 {
    limit.abs() * 1e-9
}

impl Share {
    fn lacks(&self, granted: u32) -> u32 {
        self.ask.wished.saturating_sub(granted)
    }

    /// What it has when everybody has this part of its wish, or its least where that is more.
    fn at(&self, level: f64) -> f64 {
        (f64::from(self.ask.wished) * level).max(f64::from(self.ask.wished.min(self.ask.least)))
    }
}

/// Raises the level of those who share until what is left is used up, then gives what rounding left over one by one.
fn fill(left: f64, of: &[usize], shares: &[Share], granted: &mut [u32]) {
    let base: f64 = of.iter().map(|&index| shares[index].unit * f64::from(granted[index])).sum();
    let needs = |level: f64| -> f64 {
        of.iter().map(|&index| shares[index].unit * shares[index].at(level)).sum::<f64>() - base
    };
    // Halving the interval so often leaves less than a millionth of a replica.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if needs(middle) <= left { low = middle } else { high = middle }
    }
    let mut over = left;
    let mut rests: Vec<(f64, usize)> = Vec::with_capacity(of.len());
    for &index in of {
        let share = &shares[index];
        let whole =
            whole(share.at(low)).clamp(granted[index], share.ask.wished.max(granted[index]));
        over -= share.unit * f64::from(whole - granted[index]);
        granted[index] = whole;
        // Who stands on its least is above the level already.
        let rest = f64::from(share.ask.wished) * low - f64::from(whole);
        if 0.0 < rest {
            rests.push((rest, index));
        }
    }
    // The largest remainder first; the earlier of two that are equal.
    rests.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
    for (_, index) in rests {
        let share = &shares[index];
        if granted[index] < share.ask.wished && share.unit <= over {
            granted[index] += 1;
            over -= share.unit;
        }
    }
}

/// How many whole replicas fit into what is left of a limit.
pub(super) fn fits(left: f64, unit: f64) -> u32 {
    whole(left / unit)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to int cast saturates"
)]
fn whole(count: f64) -> u32 {
    // A level that is a hair short of a whole replica is that replica.
    (count + 1e-6).max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(unit: f64, priority: i32, wished: u32, least: u32) -> Share {
        Share { unit, priority, ask: Ask { wished, least } }
    }

    #[test]
    fn who_comes_first_is_served_first_and_equals_share_evenly() {
        // Least are 1 each; of the 7 left the first takes 5, and two equals share 2.
        let shares = [share(1.0, 0, 6, 1), share(1.0, 5, 6, 1), share(1.0, 0, 6, 1)];
        assert_eq!(grants(10.0, &shares), [2, 6, 2]);
        // Even parts of what they wish, not even counts.
        assert_eq!(grants(9.0, &[share(1.0, 0, 12, 1), share(1.0, 0, 6, 1)]), [6, 3]);
        // A dear replica takes more of the budget, and its stage gets the same part of its wish.
        assert_eq!(grants(12.0, &[share(2.0, 0, 8, 0), share(1.0, 0, 8, 0)]), [4, 4]);
        // Enough for all.
        assert_eq!(grants(18.0, &shares), [6, 6, 6]);
        // Not even enough for the least: nobody gets more, and nobody less.
        assert_eq!(grants(1.0, &shares), [1, 1, 1]);
        assert_eq!(grants(0.3, &[share(0.1, 0, 3, 0)]), [3], "sums of tenths are not exact");
    }

    fn any_share() -> impl Strategy<Value = Share> {
        (1_u32..40, -2..3, 0_u32..60, 0_u32..8).prop_map(|(tenths, priority, wished, least)| {
            share(f64::from(tenths) / 10.0, priority, wished, least.min(wished))
        })
    }

    proptest! {
        #[test]
        fn grants_keep_the_limit_the_bounds_and_the_order(
            limit in 0.0_f64..300.0,
            shares in prop::collection::vec(any_share(), 1..12),
        ) {
            let granted = grants(limit, &shares);
            let cost = |counts: &[u32]| -> f64 {
                shares.iter().zip(counts).map(|(share, &count)| share.unit * f64::from(count)).sum()
            };
            let least: Vec<u32> = shares.iter().map(|share| share.ask.least).collect();
            prop_assert!(cost(&granted) <= limit.max(cost(&least)) + 1e-6);
            for (share, &granted) in shares.iter().zip(&granted) {
                prop_assert!(share.ask.least <= granted && granted <= share.ask.wished);
            }
            for (a, &mine) in shares.iter().zip(&granted) {
                for (b, &theirs) in shares.iter().zip(&granted) {
                    // No inversion: who comes later has more than its least only where who comes first lacks nothing.
                    if a.priority < b.priority && theirs < b.ask.wished {
                        prop_assert_eq!(mine, a.ask.least);
                    }
                    // Equals have equal parts, but for one replica and what is their least anyway.
                    if a.priority == b.priority && a.ask.least < mine && theirs < b.ask.wished {
                        let part = |count: u32, share: &Share| f64::from(count) / f64::from(share.ask.wished);
                        prop_assert!(
                            part(mine - 1, a) <= part(theirs + 1, b) + 1e-6,
                            "{:?} has {} and {:?} has {}", a, mine, b, theirs
                        );
                    }
                }
            }
            // Where all replicas take the same, none is left over that the first who lacks one could have.
            let lacks = shares.iter().zip(&granted).filter(|(share, granted)| **granted < share.ask.wished);
            if let Some(top) = lacks.map(|(share, _)| share.priority).max() {
                let mut units = shares.iter().filter(|share| share.priority == top).map(|share| share.unit);
                let unit = units.next().unwrap_or_default();
                let is_even = units.all(|other| other.to_bits() == unit.to_bits());
                prop_assert!(!is_even || limit < cost(&granted) + unit + 1e-6);
            }
        }
    }
}
