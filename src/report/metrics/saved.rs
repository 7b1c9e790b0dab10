//! What spot saves: of each turn what the pods of a stage cost on nodes of that class, against what as many CPUs cost on demand. Fed with every
//! turn; printed as a counter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Picture, PoolGlance};
use crate::decide::Class;

/// Turns further apart than this tell nothing of what ran between them.
const GAP: Duration = Duration::from_mins(5);

/// What a CPU costs in an hour, by pool: the last that was known, so that a pool which is empty for now can be compared with.
#[derive(Debug, Default)]
pub(super) struct Fares(BTreeMap<Arc<str>, (Class, Option<f64>)>);

impl Fares {
    /// Takes in the pools that there are.
    pub(super) fn take<'a>(&mut self, pools: impl Iterator<Item = (&'a Arc<str>, &'a PoolGlance)>) {
        let fares = pools.map(|(pool, glance)| {
            let now = glance.cost.filter(|_| 0.0 < glance.cores).map(|cost| cost / glance.cores);
            let known = self.0.get(pool).and_then(|it| it.1);
            (Arc::clone(pool), (glance.class, now.or(known)))
        });
        self.0 = fares.collect();
    }

    /// What a stage with these pools saves in an hour by what it costs on each of those on spot, beside the cheapest of them on demand. Nothing
    /// where a price is not known, or where none of its pools is on demand.
    pub(super) fn saved<'a>(
        &self,
        pools: &[&'a Arc<str>],
        costs: &BTreeMap<Arc<str>, Option<f64>>,
    ) -> impl Iterator<Item = (&'a Arc<str>, f64)> {
        let of = |class| {
            pools.iter().filter_map(move |&pool| {
                let fare = self.0.get(pool).filter(|it| it.0 == class)?.1?;
                Some((pool, fare))
            })
        };
        let usual = of(Class::OnDemand).map(|(_, fare)| fare).reduce(f64::min);
        of(Class::Spot).filter_map(move |(pool, fare)| {
            let cost = (*costs.get(pool)?)?;
            let saved = cost * (usual? / fare - 1.0);
            saved.is_finite().then_some((pool, saved.max(0.0)))
        })
    }
}

/// Hours since the turn before, as far as they count.
pub(super) fn hours(picture: &Picture, before: Option<&Picture>) -> Option<f64> {
    let since = Duration::try_from(picture.at.duration_since(before?.at)).ok()?;
    (since <= GAP).then_some(since.as_secs_f64() / 3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(class: Class, cores: f64, cost: Option<f64>) -> PoolGlance {
        PoolGlance {
            uid: "p".into(),
            resource_version: "1".into(),
            class,
            generation: 1,
            status: Arc::default(),
            unpriced: None,
            unmade: None,
            nodes: 1,
            cores,
            startup: None,
            cost,
        }
    }

    fn saved(fares: &Fares, cost: Option<f64>) -> Vec<(String, f64)> {
        let pools: [Arc<str>; 2] = ["kept".into(), "spot".into()];
        let costs = pools.iter().map(|pool| (Arc::clone(pool), cost)).collect();
        fares.saved(&pools.each_ref(), &costs).map(|(pool, it)| (pool.to_string(), it)).collect()
    }

    #[test]
    fn spot_is_held_against_the_cheapest_pool_on_demand() {
        let mut fares = Fares::default();
        let mut pools = BTreeMap::from([
            ("kept".into(), glance(Class::OnDemand, 8.0, Some(0.4))),
            ("spot".into(), glance(Class::Spot, 16.0, Some(0.32))),
        ]);
        fares.take(pools.iter());
        // 0.05 a CPU beside 0.02: what costs 1 would cost 2.5.
        assert_eq!(saved(&fares, Some(1.0)), [("spot".to_owned(), 1.5)]);
        assert_eq!(saved(&fares, None), [], "no price, no figure");

        pools.insert("kept".into(), glance(Class::OnDemand, 0.0, Some(0.0)));
        fares.take(pools.iter());
        assert_eq!(saved(&fares, Some(1.0)), [("spot".to_owned(), 1.5)], "empty for now");
        pools.insert("spot".into(), glance(Class::Spot, 4.0, Some(0.4)));
        fares.take(pools.iter());
        assert_eq!(saved(&fares, Some(1.0)), [("spot".to_owned(), 0.0)], "dearer saves nothing");
        pools.remove("kept");
        fares.take(pools.iter());
        assert_eq!(saved(&fares, Some(1.0)), [], "nothing to hold it against");
    }
}
