//! Watermarks, numaflow, and the list of names.

use penstock::simulate::peers::{
    NAMES, Numaflow, NumaflowSettings, Watermark, WatermarkSettings, by_name, grid,
};

use super::Stage;

fn stage(replicas: u32, lag: f64) -> Stage {
    Stage { replicas, ready: replicas, ..Stage::default() }.with_lag(lag)
}

fn watermark() -> Watermark {
    Watermark::new(WatermarkSettings::default())
}

#[test]
fn watermarks_move_only_outside_the_marks() {
    // Marks at 1,000 and 500 a pod, with a tenth of tolerance.
    assert_eq!(stage(10, 10_900.0).turn(&mut watermark()), 10);
    assert_eq!(stage(10, 12_000.0).turn(&mut watermark()), 12);
    assert_eq!(stage(10, 4_600.0).turn(&mut watermark()), 10);
    assert_eq!(stage(10, 4_400.0).turn(&mut watermark()), 8);
}

#[test]
fn watermarks_are_limited_by_half_up_and_a_fifth_down() {
    assert_eq!(stage(10, 30_000.0).turn(&mut watermark()), 15);
    assert_eq!(stage(10, 1_000.0).turn(&mut watermark()), 8);
    assert_eq!(stage(1, 30_000.0).turn(&mut watermark()), 2);
    // Zero is taken for a broken metric, unless told otherwise.
    assert_eq!(stage(10, 0.0).turn(&mut watermark()), 10);
    let told = WatermarkSettings { tolerates_zero: true, ..WatermarkSettings::default() };
    assert_eq!(stage(10, 0.0).turn(&mut Watermark::new(told)), 8);
}

#[test]
fn watermarks_forbid_a_second_change_for_a_while() {
    let mut policy = watermark();
    let mut stage = stage(10, 60_000.0);
    assert_eq!([(); 5].map(|()| stage.turn(&mut policy)), [15, 15, 15, 15, 22]);
    let mut stage = Stage { at: stage.at, ..self::stage(22, 2_000.0) };
    // Changed at 60 s: the next down may be at 360 s, and it is 75 s.
    let counts: Vec<_> = (0..20).map(|_| stage.turn(&mut policy)).collect();
    assert!(counts[..19].iter().all(|&count| count == 22), "{counts:?}");
    assert_eq!(counts[19], 18);
}

fn numaflow() -> Numaflow {
    Numaflow::new(NumaflowSettings::default())
}

#[test]
fn numaflow_goes_by_two_every_ninety_seconds() {
    let mut policy = numaflow();
    let mut stage = stage(2, 60_000.0);
    // 60,000 at 200 a second are 300 s of 20: thirty. The first look knows no rate.
    let counts = stage.flow(&mut policy, 8, 200.0, 200.0);
    assert_eq!(counts, [2, 4, 4, 4, 6, 6, 6, 8]);
}

#[test]
fn numaflow_scales_by_pending_over_rate() {
    let mut policy = numaflow();
    // 6,000 at 200 a second are 30 s: one and a half times 2.
    assert_eq!(stage(2, 6_000.0).flow(&mut policy, 2, 200.0, 200.0), [2, 3]);
    let mut policy = numaflow();
    // 3,000 at 400 a second are 7.5 s: 3/8 of 8 is 3, two at a time.
    assert_eq!(stage(8, 3_000.0).flow(&mut policy, 2, 400.0, 400.0), [8, 6]);
}

#[test]
fn numaflow_sleeps_at_zero_and_then_peeks() {
    let mut policy = numaflow();
    let mut stage = stage(1, 0.0);
    let counts = stage.flow(&mut policy, 7, 0.0, 0.0);
    // The first look knows no rate; nothing pends and nothing is done, so zero at 30 s; 120 s later it peeks.
    assert_eq!(counts, [1, 0, 0, 0, 0, 1, 1]);
}

#[test]
fn every_name_has_a_policy_and_a_grid_that_begins_with_its_defaults() {
    for name in NAMES {
        let mut policy = by_name(name).expect(name);
        let grid = grid(name);
        assert_eq!(grid[0].policy().name(), policy.name());
        assert!(policy.name().starts_with(name.trim_end_matches("-rate")), "{}", policy.name());
        let mut names: Vec<_> = grid.iter().map(|settings| settings.policy().name()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "two settings of {name} are called the same");
        assert!(1 < count && 0.0 < policy.period());
        // All keep within the bounds when nothing is known.
        let mut lost = Stage { replicas: 5, ready: 5, is_lost: true, ..Stage::default() };
        assert!(lost.turn(&mut *policy) <= 48);
    }
    assert!(by_name("nobody").is_none());
}
