//! The KPA: its two windows, panic, limits of a step, and zero.

use penstock::simulate::peers::{Kpa, KpaSettings};

use super::Stage;

#[test]
fn pods_are_the_offered_load_over_the_target() {
    let mut kpa = Kpa::new(KpaSettings::default());
    let mut stage = Stage { replicas: 5, ready: 5, ..Stage::default() };
    // 350 a second, 10 ms each: 3.5 at once, over 0.7 is 5.
    assert_eq!(stage.flow(&mut kpa, 60, 350.0, 350.0).last(), Some(&5));
    // 364 a second is 5.2: the stable window sees it whole after a minute.
    assert_eq!(stage.flow(&mut kpa, 32, 364.0, 364.0).last(), Some(&6));
}

#[test]
fn twice_the_ready_pods_in_six_seconds_is_panic_and_nothing_goes_down_for_a_minute() {
    let mut kpa = Kpa::new(KpaSettings::default());
    let mut stage = Stage { replicas: 2, ready: 2, ..Stage::default() };
    assert_eq!(stage.flow(&mut kpa, 60, 140.0, 140.0).last(), Some(&2));
    // 1,000 a second for 6 s: 10 at once over 0.7 is 15. After 2 s the panic window holds a third of it: (1000 + 2·140)/3 is 427, 7.
    let panicked = stage.flow(&mut kpa, 4, 1000.0, 1000.0);
    assert_eq!(panicked, [2, 7, 11, 15]);
    // Only the 7 were twice what was Ready, two looks before the surge ends. The first look that is more than a minute later lets go:
    // the thirty-first after it, and by half at most.
    let after = stage.flow(&mut kpa, 40, 0.0, 0.0);
    let first = after.iter().position(|&count| count < 15).unwrap();
    assert_eq!((first, after[first]), (28, 7), "{after:?}");
}

#[test]
fn zero_takes_an_empty_window_and_half_a_minute() {
    let mut kpa = Kpa::new(KpaSettings::default());
    let mut stage = Stage::default();
    stage.flow(&mut kpa, 40, 50.0, 50.0);
    let counts = stage.flow(&mut kpa, 60, 0.0, 0.0);
    let zero = counts.iter().position(|&count| count == 0).unwrap();
    // The window is empty 60 s after the last item, at look 30; the grace is 15 looks more.
    assert_eq!(zero, 45, "{counts:?}");
}

#[test]
fn a_new_autoscaler_keeps_what_it_finds_for_a_minute() {
    let mut kpa = Kpa::new(KpaSettings::default());
    let mut stage = Stage { replicas: 8, ready: 8, ..Stage::default() };
    let counts = stage.flow(&mut kpa, 40, 70.0, 70.0);
    let first = counts.iter().position(|&count| count < 8).unwrap();
    // Panic from 0 s; let go at the first look after 60 s; half of 8.
    assert_eq!((first, counts[first]), (31, 4), "{counts:?}");
}

#[test]
fn a_scale_down_delay_keeps_the_largest_wish() {
    let settings = KpaSettings { down_delay: 120.0, ..KpaSettings::default() };
    let mut kpa = Kpa::new(settings);
    let mut stage = Stage { replicas: 1, ready: 1, ..Stage::default() };
    stage.flow(&mut kpa, 60, 130.0, 130.0);
    assert_eq!(stage.replicas, 2);
    // The mean of a minute is 70 a second, one pod, after 52 s of 60 a second. The look before still wanted two, and counts for 120 s:
    // until look 85.
    let counts = stage.flow(&mut kpa, 120, 60.0, 60.0);
    assert_eq!(counts.iter().position(|&count| count == 1), Some(86), "{counts:?}");
}
