//! The HPA's arithmetic, with and without `behavior`.

use std::time::Duration;

use penstock::decide::{Behaviour, Policy, Rules, Select, Unit};
use penstock::simulate::peers::{Hpa, HpaSettings, Metric, Sight};

/// One object over time, every 15 s, with a target of 10 for a replica.
struct Watch {
    hpa: Hpa,
    at: f64,
    replicas: u32,
}

impl Watch {
    fn new(replicas: u32, behavior: Option<Behaviour>) -> Self {
        let hpa = Hpa::new(HpaSettings { behavior, ..HpaSettings::default() });
        Self { hpa, at: 0.0, replicas }
    }

    fn see(&mut self, values: &[Option<f64>]) -> u32 {
        let metrics: Vec<_> = values.iter().map(|&value| Metric { value, target: 10.0 }).collect();
        let Self { at, replicas, .. } = *self;
        let sight =
            Sight { at, spec: replicas, status: replicas, min: 1, max: 100, metrics: &metrics };
        self.replicas = self.hpa.reconcile(&sight);
        self.at += 15.0;
        self.replicas
    }

    fn read(&mut self, value: f64) -> u32 {
        self.see(&[Some(value)])
    }
}

fn side(window: u64, policies: &[(Unit, u32, u64)]) -> Rules {
    let policy = |&(unit, value, period): &(Unit, u32, u64)| Policy {
        unit,
        value,
        period: Duration::from_secs(period),
    };
    Rules {
        window: Some(Duration::from_secs(window)),
        policies: policies.iter().map(policy).collect(),
        ..Rules::default()
    }
}

#[test]
fn without_behavior_it_doubles_until_it_has_enough() {
    let mut watch = Watch::new(3, None);
    // 250 / 10 asks for 25. At 24 the ratio is 1.04 and asks for 24, but the 25 of before still count.
    assert_eq!([(); 5].map(|()| watch.read(250.0)), [6, 12, 24, 25, 25]);
}

#[test]
fn without_behavior_one_becomes_four() {
    assert_eq!(Watch::new(1, None).read(1e6), 4);
}

#[test]
fn a_ratio_within_the_tolerance_keeps_the_count() {
    assert_eq!(Watch::new(10, None).read(109.0), 10);
    assert_eq!(Watch::new(10, None).read(111.0), 12);
    assert_eq!(Watch::new(10, None).read(91.0), 10);
}

#[test]
fn the_largest_recommendation_counts_for_five_minutes() {
    let mut watch = Watch::new(24, None);
    assert_eq!(watch.read(240.0), 24);
    let down: Vec<_> = (0..21).map(|_| watch.read(10.0)).collect();
    // Looks from 15 s to 300 s still see the 24 of the start; the one at 315 s does not.
    assert!(down[..20].iter().all(|&count| count == 24), "{down:?}");
    assert_eq!(down[20], 1);
}

#[test]
fn a_failed_metric_stops_downs_but_not_ups() {
    assert_eq!(Watch::new(6, None).see(&[None, Some(20.0)]), 6);
    assert_eq!(Watch::new(6, None).see(&[None, Some(90.0)]), 9);
    assert_eq!(Watch::new(6, None).see(&[None, None]), 6);
    // Of two that answer, the larger counts.
    assert_eq!(Watch::new(6, None).see(&[Some(70.0), Some(90.0)]), 9);
}

#[test]
fn zero_replicas_switch_it_off_and_bounds_come_before_metrics() {
    assert_eq!(Watch::new(0, None).read(1e6), 0);
    assert_eq!(Watch::new(120, None).see(&[None]), 100);
}

#[test]
fn with_behavior_four_pods_or_double_may_come_in_fifteen_seconds() {
    let mut watch = Watch::new(1, Some(Behaviour::default()));
    assert_eq!([(); 4].map(|()| watch.read(1e6)), [5, 10, 20, 40]);
}

#[test]
fn a_policy_counts_what_was_added_in_its_period() {
    let up = side(0, &[(Unit::Pods, 4, 60)]);
    let mut watch = Watch::new(2, Some(Behaviour { up, ..Behaviour::default() }));
    // The move at 0 s leaves the period at 60 s.
    assert_eq!([(); 6].map(|()| watch.read(1e6)), [6, 6, 6, 6, 10, 10]);
}

#[test]
fn per_cent_are_cut_off_going_down_and_rounded_up_going_up() {
    let down = side(0, &[(Unit::Percent, 10, 60)]);
    let up = side(0, &[(Unit::Percent, 10, 15)]);
    let both = Behaviour { up, down };
    let mut watch = Watch::new(20, Some(both.clone()));
    // 18; then held for a minute; then 16.2 is 16.
    assert_eq!([(); 5].map(|()| watch.read(10.0)), [18, 18, 18, 18, 16]);
    // 12.1 is 13.
    assert_eq!(Watch::new(11, Some(both)).read(1e6), 13);
}

#[test]
fn windows_of_behavior_take_the_least_up_and_the_most_down() {
    let both = Behaviour { up: side(45, &[]), down: side(30, &[]) };
    let mut watch = Watch::new(4, Some(both));
    // The 4 of the start holds it for 45 s; from then the least of the last 45 s is 20.
    assert_eq!([200.0, 300.0, 200.0, 300.0].map(|value| watch.read(value)), [4, 4, 4, 8]);
    // Going down, the 30 of the look before counts for less than 30 s.
    assert_eq!([10.0, 10.0].map(|value| watch.read(value)), [8, 1]);
}

#[test]
fn a_disabled_direction_does_not_move() {
    let down = Rules { select: Select::Disabled, ..side(0, &[]) };
    let mut watch = Watch::new(9, Some(Behaviour { down, ..Behaviour::default() }));
    assert_eq!(watch.read(10.0), 9);
    assert_eq!(watch.read(120.0), 12);
}

#[test]
fn a_move_that_its_own_direction_no_longer_counts_gives_its_place_to_the_next() {
    let up = side(0, &[(Unit::Pods, 4, 15)]);
    let down = side(0, &[(Unit::Pods, 3, 60)]);
    let mut watch = Watch::new(2, Some(Behaviour { up, down }));
    assert_eq!([(); 3].map(|()| watch.read(1e6)), [6, 10, 14]);
    // Of the 12 that came within the minute only 8 are remembered: 14 - 8 - 3.
    assert_eq!(watch.read(10.0), 3);
}
