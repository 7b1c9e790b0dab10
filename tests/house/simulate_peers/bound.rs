//! The clairvoyant bound: against brute force, against pure work, and as it must move with the deadline.

use penstock::simulate::bound::{Ground, Rounding, Sharing, bound};

/// A deadline of 60 s is four slots of 15 s, and a replica does four units in a slot.
const SLOT: f64 = 15.0;

fn ground() -> Ground {
    Ground { deadline: 60.0, per_start: 45.0, most: 48, sharing: Sharing::Free }
}

/// Work for so many replicas in each slot, second by second.
fn slots(work: &[f64]) -> Vec<f64> {
    work.iter().flat_map(|&replicas| [replicas; 15]).collect()
}

/// All plans of whole replicas a slot, tried one by one. Units as in the programme, which whole and half replicas fit exactly.
fn by_brute_force(work: &[f64], ground: &Ground) -> Option<f64> {
    let arrivals: Vec<f64> = work.iter().map(|work| work * SLOT).chain([0.0; 4]).collect();
    let most = usize::try_from(ground.most).unwrap() + 1;
    let plans = most.pow(u32::try_from(arrivals.len()).unwrap());
    (0..plans).filter_map(|plan| cost(plan, most, &arrivals, ground)).min_by(f64::total_cmp)
}

fn cost(mut plan: usize, most: usize, arrivals: &[f64], ground: &Ground) -> Option<f64> {
    let (mut cost, mut backlog, mut before) = (0.0, 0.0_f64, None);
    for (at, &arriving) in arrivals.iter().enumerate() {
        let now = f64::from(u32::try_from(plan % most).unwrap());
        plan /= most;
        let capacity = match ground.sharing {
            Sharing::Free => now,
            Sharing::Partitions(_) if now < 1.0 => 0.0,
            Sharing::Partitions(partitions) => {
                f64::from(partitions) / (f64::from(partitions) / now).ceil()
            }
        };
        cost += now * SLOT + ground.per_start * (now - before.unwrap_or(now)).max(0.0);
        backlog = (backlog + arriving - capacity * SLOT).max(0.0);
        let young: f64 = arrivals[(at + 1).saturating_sub(4)..=at].iter().sum();
        if young + 1e-9 < backlog {
            return None;
        }
        before = Some(now);
    }
    (backlog < 1e-9).then_some(cost)
}

#[test]
fn tiny_cases_agree_with_brute_force() {
    let mut random = fastrand::Rng::with_seed(7);
    for case in 0..40 {
        let length = random.usize(1..4);
        let work: Vec<f64> = (0..length).map(|_| f64::from(random.u8(0..7)) / 2.0).collect();
        let per_start = [0.0, 7.5, 45.0][case % 3];
        let ground = Ground { per_start, most: 3, ..ground() };
        let expected = by_brute_force(&work, &ground);
        for rounding in [Rounding::Below, Rounding::Feasible] {
            let found = bound(&slots(&work), &ground, rounding);
            assert_eq!(found, expected, "{work:?} {per_start} {rounding:?}");
        }
    }
}

#[test]
fn tiny_cases_with_partitions_agree_with_brute_force() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..20 {
        let length = random.usize(1..4);
        let work: Vec<f64> = (0..length).map(|_| f64::from(random.u8(0..7)) / 2.0).collect();
        // Two of four partitions or one: 3 replicas do no more than 2.
        let ground =
            Ground { per_start: 15.0, most: 3, sharing: Sharing::Partitions(4), ..ground() };
        let expected = by_brute_force(&work, &ground);
        assert_eq!(bound(&slots(&work), &ground, Rounding::Below), expected, "{work:?}");
    }
}

/// A smooth wave of two hours: one replica to 27.
fn smooth() -> Vec<f64> {
    let second =
        |second: u32| 14.0 - 13.0 * (f64::from(second) / 7200.0 * std::f64::consts::TAU).cos();
    (0..7200).map(second).collect()
}

/// The same with a spike each half hour.
fn spiky() -> Vec<f64> {
    let spike = |(at, work): (usize, f64)| work / 3.0 + if at % 1800 < 120 { 20.0 } else { 0.0 };
    smooth().into_iter().enumerate().map(spike).collect()
}

#[test]
fn a_smooth_wave_costs_little_more_than_its_work() {
    let work = smooth();
    let total: f64 = work.iter().sum();
    let below = bound(&work, &ground(), Rounding::Below).unwrap();
    let feasible = bound(&work, &ground(), Rounding::Feasible).unwrap();
    assert!(total * 0.9999 <= below && below <= 1.1 * total, "{below} for {total}");
    assert!(below <= feasible && feasible <= 1.01 * below, "{below} and {feasible}");
}

#[test]
fn partitions_never_make_it_cheaper() {
    for work in [smooth(), spiky()] {
        let free = bound(&work, &ground(), Rounding::Below).unwrap();
        let ground = Ground { sharing: Sharing::Partitions(48), ..ground() };
        let shared = bound(&work, &ground, Rounding::Below).unwrap();
        assert!(free * 0.999 <= shared && shared <= 1.15 * free, "{shared} and {free}");
    }
}

#[test]
fn more_time_never_costs_more() {
    let work = spiky();
    let at = |deadline| bound(&work, &Ground { deadline, ..ground() }, Rounding::Below).unwrap();
    let costs = [10.0, 30.0, 60.0, 120.0, 300.0].map(at);
    let total: f64 = work.iter().sum();
    // Slots differ below a minute, so equal costs may differ by a hair.
    assert!(costs.windows(2).all(|pair| pair[1] <= pair[0] * 1.001), "{costs:?}");
    assert!(costs[4] < 0.98 * costs[0] && total * 0.9999 <= costs[4], "{costs:?} for {total}");
}

#[test]
fn what_cannot_be_read_in_time_has_no_plan() {
    let few = Ground { most: 9, ..ground() };
    assert_eq!(bound(&[20.0; 600], &few, Rounding::Below), None);
    assert_eq!(bound(&[], &few, Rounding::Below), Some(0.0));
}
