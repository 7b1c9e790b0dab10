//! The clairvoyant on nodes: the least that any plan pays which knows all work and all weather beforehand and does every piece of work within the
//! deadline. Called by `contest` and by the bench, which divide the cost of every policy by it.
//!
//! The plan is exact on the grid of `simulate::bound`, rounded so that no plan is cheaper: slots of at most 15 s, work down, deadlines late. State:
//! nodes of each pool and the backlog; a node serves as many replicas as fit on it, of spot there are never more than the zones give at the best
//! second of each within the slot and the time for which nodes outlive the end of what their zone gives, and each node that is added costs the shortest time in which one ever comes, two slots less, since a node may come and go
//! in the middle of one. The minimum over all counts before is one running minimum for each pool and direction, so that a slot costs nodes times nodes times
//! backlog.

use super::super::bound::{
    Grid, Ground as Whole, Rounding, Sharing, index, lesser, real, shift, single,
};
use super::super::scenario::Scenario;
use super::super::work;
use super::{Kind, Weather};

/// What a plan is up against.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// Seconds from an item's arrival until it must be read.
    pub deadline: f64,
    /// Replicas that fit on a node: on demand, on spot.
    pub fit: [u32; 2],
    /// Most nodes: on demand, on spot.
    pub most: [u32; 2],
    /// Nodes on demand that are kept in any case.
    pub base: u32,
    /// Seconds for which every node is paid before a pod on it works.
    pub per_start: f64,
    /// Seconds for which nodes on spot may stay once their zone gives fewer.
    pub grace: u32,
    /// What a node of each pool costs an hour: on demand, spot.
    pub prices: [f64; 2],
}

/// More places in the table than this, over all slots, are too many to wait for: some twenty seconds.
const LARGEST: f64 = 1e10;
/// More places at one moment than this are too much memory: 200 MB.
const WIDEST: f64 = 5e7;

/// What the cheapest plan pays that has the work of one stage with lanes done in time, with at most twice the nodes that its highest load takes. What pools
/// of one kind differ in is taken at its best, `base` and `min` are none, and a node is paid from the shortest time before its pods work in which
/// one ever comes; so no policy that is in time pays less. `None` when not even such a plan is in time, or when there are too many nodes to try all plans.
pub fn least(scenario: &Scenario, stage: usize, seed: u64) -> Option<f64> {
    let lanes = &scenario.stages.get(stage)?.lanes;
    let works = work(scenario, seed);
    let work = works.get(stage)?.get(scenario.warmup as usize..)?;
    let deadline = scenario.objective()?;
    let longest = super::super::whole(deadline);
    let sums = work.chunks(longest.max(1) as usize).map(|part| part.iter().sum::<f64>());
    let peak = sums.fold(0.0, f64::max) / f64::from(longest.max(1));
    let of = |kind: Kind| lanes.iter().filter(move |lane| lane.kind() == kind);
    let fit = |kind| of(kind).map(|lane| lane.terms.fit).max().unwrap_or(1);
    let most = |kind| {
        let limits: Option<u32> = of(kind).map(|lane| lane.limit).sum();
        let enough = super::super::whole(2.0 * peak / f64::from(fit(kind))) + 1;
        limits.map_or(enough, |most| most.min(enough))
    };
    let price = |kind| of(kind).map(super::LaneWorld::least_price).fold(f64::INFINITY, f64::min);
    let starts = lanes.iter().map(|lane| lane.terms.boot.least() + lane.terms.start.least());
    let kinds = [Kind::OnDemand, Kind::Spot];
    let ground = Ground {
        deadline,
        fit: kinds.map(fit),
        most: kinds.map(most),
        base: 0,
        per_start: starts.fold(f64::INFINITY, f64::min),
        grace: of(Kind::Spot).map(|lane| lane.terms.grace()).max().unwrap_or(0),
        prices: kinds.map(price).map(|price| if price.is_finite() { price } else { 0.0 }),
    };
    let skies = of(Kind::Spot).zip(0_u64..).map(|(lane, rank)| {
        let seed = seed ^ (stage as u64) << 48 ^ rank << 56;
        lane.sky.weather(scenario.duration, seed)
    });
    let weather = skies.fold(Weather::default(), Weather::beside);
    bound(work, &weather.from(scenario.warmup), &ground)
}

/// What the cheapest plan pays for this work, from a free choice of nodes at the start to the last item read. `work` is what arrives in each
/// second, in seconds of one replica; the weather's second 0 is its first. `None` when no plan is in time with so many nodes.
pub fn bound(work: &[f64], weather: &Weather, ground: &Ground) -> Option<f64> {
    // Work is reckoned in what as many replicas do as divide a node of either kind.
    let part = divisor(ground.fit[0], ground.fit[1]);
    let most = ground.most[0].max(ground.most[1]);
    let whole = Whole { deadline: ground.deadline, per_start: 0.0, most, sharing: Sharing::Free };
    let grid = Grid::new(&whole);
    let by_part: Vec<f64> = work.iter().map(|work| work / f64::from(part)).collect();
    let (ends, dues) = grid.cumulate(&by_part, Rounding::Below);
    let widest = ends.iter().zip(&dues).map(|(end, due)| end - due).max()?;
    let places = ground.most.map(|most| index(f64::from(most)) + 1);
    let wide: f64 = places.into_iter().chain([widest + 1]).map(real).product();
    if WIDEST < wide || LARGEST < wide * real(ends.len()) {
        return None;
    }
    let mut table = Table::new(ground, &grid, widest);
    let (mut end, mut width) = (0, 0);
    for (slot, (&next, &due)) in ends.iter().zip(&dues).enumerate() {
        let from = whole_second((real(slot) * grid.slot).floor());
        let to = whole_second((real(slot + 1) * grid.slot).ceil());
        let spot = weather.most(from.saturating_sub(ground.grace), to.max(from + 1));
        table.slot(next - end, width, next - due, spot);
        (end, width) = (next, next - due);
    }
    table.least().map(|cost| cost / 3600.0)
}

/// The least cost of every count of nodes and backlog.
struct Table {
    /// Counts of each pool: 0 to the most.
    counts: [usize; 2],
    /// On demand, never fewer than this.
    kept: usize,
    /// Room for one count's backlogs.
    width: usize,
    /// Units that a node of each pool does in a slot.
    grain: [usize; 2],
    /// Of a node and a slot, and of a node that is added, of each pool; price-seconds.
    paid: [f32; 2],
    start: [f32; 2],
    value: Vec<f32>,
    /// What was taken off all values, so that small numbers stay exact.
    base: f64,
    slots: usize,
    row: Vec<f32>,
}

impl Table {
    fn new(ground: &Ground, grid: &Grid, widest: usize) -> Self {
        let counts = ground.most.map(|most| index(f64::from(most)) + 1);
        let width = widest + 1;
        let mut value = vec![f32::INFINITY; counts[0] * counts[1] * width];
        let part = divisor(ground.fit[0], ground.fit[1]);
        value.iter_mut().step_by(width).for_each(|none| *none = 0.0);
        let start = (ground.per_start - 2.0 * grid.slot).max(0.0);
        Self {
            counts,
            kept: index(f64::from(ground.base)),
            width,
            grain: ground.fit.map(|fit| grid.grain * index(f64::from(fit / part))),
            paid: ground.prices.map(|price| single(price * grid.slot)),
            start: ground.prices.map(|price| single(price * start)),
            value,
            base: 0.0,
            slots: 0,
            row: vec![0.0; width],
        }
    }

    /// One slot: so much arrives; backlogs were within `before`, and must be within `after` at its end; so many nodes of spot can be had.
    fn slot(&mut self, arriving: usize, before: usize, after: usize, spot: u32) {
        let [kept_counts, counts] = self.counts;
        // On demand first, then spot, each up and down: from any counts to any others.
        for other in 0..counts {
            self.relax(|count| count * counts + other, kept_counts, self.start[0], before);
        }
        for other in 0..kept_counts {
            self.relax(|count| other * counts + count, counts, self.start[1], before);
        }
        let spot = index(f64::from(spot));
        for kept in 0..kept_counts {
            for taken in 0..counts {
                let at = (kept * counts + taken) * self.width;
                let row = &mut self.value[at..at + self.width];
                self.row[..=before].copy_from_slice(&row[..=before]);
                row.fill(f32::INFINITY);
                if spot < taken || kept < self.kept {
                    continue;
                }
                let served = kept * self.grain[0] + taken * self.grain[1];
                shift(&self.row[..=before], row, arriving, served, after);
                let paid = single(real(kept)) * self.paid[0] + single(real(taken)) * self.paid[1];
                for cost in &mut row[..=after] {
                    *cost += paid;
                }
            }
        }
        self.slots += 1;
        if self.slots.is_multiple_of(16) {
            self.rebase();
        }
    }

    /// Lets one pool's count change: fewer for nothing, more at a price each. `place` says where a count of it stands.
    fn relax(&mut self, place: impl Fn(usize) -> usize, counts: usize, start: f32, before: usize) {
        for fewer in (1..counts).rev() {
            self.pass(place(fewer), place(fewer - 1), 0.0, before);
        }
        for more in 1..counts {
            self.pass(place(more - 1), place(more), start, before);
        }
    }

    /// From one place to another at a price, where that is cheaper.
    fn pass(&mut self, from: usize, to: usize, price: f32, before: usize) {
        let (from, to) = (from * self.width, to * self.width);
        let (from, to) = if from < to {
            let (low, high) = self.value.split_at_mut(to);
            (&low[from..=from + before], &mut high[..=before])
        } else {
            let (low, high) = self.value.split_at_mut(from);
            (&high[..=before], &mut low[to..=to + before])
        };
        for (to, from) in to.iter_mut().zip(from) {
            *to = lesser(*to, *from + price);
        }
    }

    /// Takes the least value off all.
    fn rebase(&mut self) {
        let least = self.value.iter().copied().fold(f32::INFINITY, lesser);
        if least.is_finite() {
            self.base += f64::from(least);
            self.value.iter_mut().for_each(|value| *value -= least);
        }
    }

    /// The least cost with nothing left to read.
    fn least(&self) -> Option<f64> {
        let done = self.value.iter().step_by(self.width).copied().fold(f32::INFINITY, lesser);
        done.is_finite().then(|| self.base + f64::from(done))
    }
}

/// The largest number that divides both.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

fn whole_second(at: f64) -> u32 {
    super::super::whole(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a grid of one minute: deadline of four slots of 15 s, two replicas on a node, no start to pay.
    const GROUND: Ground = Ground {
        deadline: 60.0,
        fit: [2; 2],
        most: [3; 2],
        base: 0,
        per_start: 0.0,
        grace: 0,
        prices: [1.0, 0.25],
    };

    fn always(nodes: u32) -> Weather {
        Weather::of(vec![vec![(0, nodes)]])
    }

    #[test]
    fn work_is_paid_at_the_price_of_what_there_is() {
        // Four replicas' work for an hour: two nodes.
        let work = vec![4.0; 3600];
        for (spot, cost) in [(0, 2.0), (1, 1.25), (2, 0.5), (3, 0.5)] {
            let least = bound(&work, &always(spot), &GROUND).unwrap();
            assert!((least - cost).abs() < 0.02, "{spot}: {least}");
        }
    }

    #[test]
    fn what_can_wait_for_spot_waits() {
        // A burst of one node and 30 s, when spot comes 30 s later and an item may wait for a minute.
        let mut work = vec![0.0; 120];
        work[0] = 60.0;
        let soon = Weather::of(vec![vec![(0, 0), (30, 3)]]);
        let late = Weather::of(vec![vec![(0, 0), (90, 3)]]);
        let spot = bound(&work, &soon, &GROUND).unwrap();
        let kept = bound(&work, &late, &GROUND).unwrap();
        assert!((spot - 0.25 * 30.0 / 3600.0).abs() < 1e-6, "{spot}");
        assert!((kept - 30.0 / 3600.0).abs() < 1e-6, "{kept}");
    }

    #[test]
    fn what_is_kept_is_paid_though_nobody_works_on_it() {
        let ground = Ground { base: 1, ..GROUND };
        let least = bound(&vec![4.0; 3600], &always(3), &ground).unwrap();
        // An hour, and the minute in which the last item may still be read.
        assert!((least - 1.25 - 1.0 / 60.0).abs() < 0.01, "{least}");
    }

    #[test]
    fn more_than_all_nodes_do_has_no_plan() {
        assert_eq!(bound(&vec![7.0; 3600], &always(0), &GROUND), None);
        assert!(bound(&vec![7.0; 3600], &always(1), &GROUND).is_some());
    }

    #[test]
    fn nodes_of_two_sizes_each_do_their_part() {
        // Work of six replicas: one node on demand does four, one on spot two.
        let ground = Ground { fit: [4, 2], most: [2, 1], ..GROUND };
        let least = bound(&vec![6.0; 3600], &always(1), &ground).unwrap();
        assert!((least - 1.25).abs() < 0.03, "{least}");
        let none = Ground { most: [0, 3], ..ground };
        let least = bound(&vec![6.0; 3600], &always(3), &none).unwrap();
        assert!((least - 0.75).abs() < 0.03, "{least}");
    }

    #[test]
    fn never_below_the_work_at_the_price_of_spot() {
        let work: Vec<f64> = (0..3600_u32).map(|now| f64::from(now % 600) / 150.0).collect();
        let sum: f64 = work.iter().sum();
        let least = bound(&work, &always(3), &GROUND).unwrap();
        let floor = sum / 2.0 * 0.25 / 3600.0;
        assert!(floor * 0.999 <= least && least < 1.2 * floor, "{least} and {floor}");
    }

    /// Every plan of a small world, tried one by one: the table finds the cheapest.
    #[test]
    fn as_cheap_as_the_cheapest_of_all_plans_that_there_are() {
        let ground = Ground { most: [1; 2], per_start: 45.0, ..GROUND };
        let slots = 4_usize;
        for number in 0_u32..32 {
            // Work of one node for one slot arrives at the start of a slot, or does not; spot comes and goes.
            let has_work = |slot: usize| (number >> (slot % 3)) & 1 == 1;
            let has_spot = |slot: usize| (number >> (3 + slot / 2)) & 1 == 1;
            let mut work = vec![0.0; slots * 15];
            (0..slots).filter(|&slot| has_work(slot)).for_each(|slot| work[slot * 15] = 30.0);
            let rooms = (0..slots)
                .map(|slot| (u32::try_from(slot * 15).unwrap(), u32::from(has_spot(slot))));
            let weather = Weather::of(vec![rooms.collect()]);
            let least = bound(&work, &weather, &ground).unwrap();
            let tried = cheapest(&ground, slots + 4, &has_work, &has_spot, slots).unwrap();
            assert!((least - tried).abs() < 1e-6, "{number}: {least} and {tried}");
        }
    }

    /// The cheapest of all plans, on the grid of the test above.
    fn cheapest(
        ground: &Ground,
        all: usize,
        has_work: &dyn Fn(usize) -> bool,
        has_spot: &dyn Fn(usize) -> bool,
        slots: usize,
    ) -> Option<f64> {
        let mut least = None;
        for plan in 0_u32..4_u32.pow(u32::try_from(all).unwrap()) {
            let count = |slot: usize, pool: usize| (plan >> (2 * slot + pool)) & 1;
            let (mut cost, mut arrived, mut done) = (0.0, 0_u32, 0_u32);
            let mut came = vec![0_u32; all + 1];
            let mut holds = true;
            for slot in 0..all {
                let (kept, spot) = (count(slot, 0), count(slot, 1));
                // After the last slot the weather stays as it was.
                holds &= spot == 0 || has_spot(slot.min(slots - 1));
                arrived += u32::from(slot < slots && has_work(slot));
                came[slot + 1] = arrived;
                done = (done + kept + spot).min(arrived);
                // What came at the start of a slot is read by the end of the fourth.
                holds &= came[(slot + 1).saturating_sub(4)] <= done;
                cost += 15.0
                    * (f64::from(kept) * ground.prices[0] + f64::from(spot) * ground.prices[1]);
                for pool in [0, 1] {
                    let before = if slot == 0 { count(0, pool) } else { count(slot - 1, pool) };
                    let added = count(slot, pool).saturating_sub(before);
                    cost += f64::from(added) * 15.0 * ground.prices[pool];
                }
            }
            holds &= done == arrived;
            if holds && least.is_none_or(|least| cost / 3600.0 < least) {
                least = Some(cost / 3600.0);
            }
        }
        least
    }
}
