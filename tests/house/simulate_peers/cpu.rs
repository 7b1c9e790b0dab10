//! The HPA on CPU: what utilization asks for while pods start and when all of them are there.

use penstock::simulate::peers::{CpuHpa, CpuSettings};

use super::Stage;

/// What it wants of ten replicas of which so many are Ready and so busy.
fn wants(ready: u32, busy: f64) -> u32 {
    let stage = Stage { replicas: 10, ready, busy, ..Stage::default() };
    stage.ask(&mut CpuHpa::new(CpuSettings::default()))
}

#[test]
fn full_work_asks_for_a_quarter_more() {
    assert_eq!(wants(10, 1.0), 13);
    // 85 of 80 per cent is within the tolerance; so is 89, and 0.8899 is 88.
    assert_eq!([0.85, 0.8899].map(|busy| wants(10, busy)), [10, 10]);
}

#[test]
fn pods_that_start_count_as_idle_on_the_way_up() {
    assert_eq!(wants(9, 1.0), 12);
    // Half of them start: together they are at 50 per cent, which would be down, so nothing is done.
    assert_eq!(wants(5, 1.0), 10);
}

#[test]
fn nothing_is_done_when_nothing_is_ready() {
    assert_eq!(wants(0, 0.0), 10);
}

#[test]
fn it_goes_down_once_the_highest_wish_is_five_minutes_old() {
    let mut policy = CpuHpa::new(CpuSettings::default());
    let mut stage = Stage { replicas: 10, ready: 10, busy: 0.2, ..Stage::default() };
    let counts: Vec<_> = (0..22).map(|_| stage.turn(&mut policy)).collect();
    assert_eq!(counts[20], 10, "{counts:?}");
    assert_eq!(counts[21], 3, "{counts:?}");
}
