//! KEDA: waking, its cap at the partitions, its cooldown, two triggers.

use penstock::simulate::Policy;
use penstock::simulate::peers::{Amount, Keda, KedaSettings, RateTrigger};

use super::Stage;

fn keda() -> Keda {
    Keda::new(KedaSettings::default())
}

#[test]
fn it_wakes_one_and_the_hpa_doubles_up_to_the_partitions() {
    let mut policy = keda();
    let mut stage = Stage { replicas: 0, ready: 0, ..Stage::default() }.with_lag(100_000.0);
    // 100,000 / 10 is cut to 48 partitions.
    assert_eq!([(); 7].map(|()| stage.turn(&mut policy)), [1, 4, 8, 16, 32, 48, 48]);
}

#[test]
fn at_zero_it_looks_only_every_thirty_seconds() {
    let mut policy = keda();
    let mut stage = Stage { replicas: 0, ready: 0, ..Stage::default() };
    assert_eq!(stage.turn(&mut policy), 0);
    stage = stage.with_lag(5.0);
    // 15 s: no poll is due. 30 s: it is.
    assert_eq!([(); 2].map(|()| stage.turn(&mut policy)), [0, 1]);
}

#[test]
fn the_last_goes_when_nothing_waited_for_five_minutes() {
    let mut policy = keda();
    let mut stage = Stage::default().with_lag(5.0);
    assert_eq!(stage.turn(&mut policy), 1);
    stage = stage.with_lag(0.0);
    let counts: Vec<_> = (0..22).map(|_| stage.turn(&mut policy)).collect();
    // Active at 0 s; the poll at 300 s is not yet after the cooldown, the one at 330 s is.
    assert!(counts[..21].iter().all(|&count| count == 1), "{counts:?}");
    assert_eq!(counts[21], 0);
}

#[test]
fn a_lost_reading_changes_nothing() {
    let mut policy = keda();
    let mut stage = Stage { replicas: 7, is_lost: true, ..Stage::default() };
    let counts: Vec<_> = (0..40).map(|_| stage.turn(&mut policy)).collect();
    assert!(counts.iter().all(|&count| count == 7), "{counts:?}");
}

#[test]
fn a_threshold_in_seconds_is_what_one_replica_does_in_them() {
    let settings = KedaSettings { lag: Amount::Seconds(8.0), ..KedaSettings::default() };
    let mut policy = Keda::new(settings);
    // 8,000 / (8 s of 100) is 10.
    let mut stage = Stage { replicas: 6, ..Stage::default() }.with_lag(8000.0);
    assert_eq!(stage.turn(&mut policy), 10);
}

#[test]
fn of_two_triggers_the_larger_counts() {
    let rate = Some(RateTrigger { share: 0.7, window: 60.0 });
    let settings = KedaSettings { rate, ..KedaSettings::default() };
    let mut policy = Keda::new(settings);
    let mut stage = Stage { replicas: 9, ready: 9, min: 1, ..Stage::default() };
    // The first look knows no rate yet: that trigger fails, and lag alone may not lower. Then 770 a second over 70 is 11, and no lag
    // is none.
    assert_eq!(stage.flow(&mut policy, 2, 770.0, 770.0), [9, 11]);
    assert!(policy.name().contains("rate 70 %"), "{}", policy.name());
}
