//! The load as a function of time and seed.

use penstock::demo::traffic::Load;
use proptest::prelude::*;

use super::{close, secs};

#[test]
fn a_path_is_straight_between_its_points_and_holds_after_the_last() {
    let load = Load::path([(secs(10.0), 0.0), (secs(20.0), 100.0), (secs(20.0), 50.0)]);
    let rates = [5.0, 10.0, 15.0, 20.0, 99.0].map(|at| load.rate(secs(at)));
    let wanted = [0.0, 0.0, 50.0, 50.0, 50.0];
    assert!(rates.iter().zip(wanted).all(|(rate, wanted)| close(*rate, wanted)), "{rates:?}");
    assert!(close(load.made_by(secs(15.0)), 125.0));
    assert!(close(load.made_by(secs(20.0)), 500.0));
    assert!(close(load.made_by(secs(30.0)), 1000.0));
    assert!(close(load.peak(), 100.0));
    assert!(close(Load::steady(7.0).made_by(secs(10.0)), 70.0));
}

#[test]
fn the_story_starts_with_nothing_rises_spikes_and_stops() {
    for seed in 0..50 {
        let load = Load::story(secs(180.0), seed);
        let at = |share: f64| load.rate(secs(180.0 * share));
        assert!(close(at(0.005), 0.0), "seed {seed} begins at {}", at(0.005));
        assert!(at(0.1) > 140.0 && at(0.1) < 220.0, "seed {seed} starts at {}", at(0.1));
        assert!(at(0.4) > 1.4 * at(0.1), "seed {seed} does not rise");
        assert!(at(0.51) > 1.5 * at(0.4), "seed {seed} does not spike");
        assert!(at(0.65) < at(0.4), "seed {seed} does not calm down");
        assert!(close(at(0.82), 0.0), "seed {seed} does not stop");
        assert!(close(load.made_by(secs(148.0)), load.made_by(secs(9999.0))));
    }
}

#[test]
fn one_seed_tells_one_story_and_a_long_run_tells_it_again_with_other_numbers() {
    let length = secs(540.0);
    assert_eq!(Load::story(length, 7), Load::story(length, 7));
    assert_ne!(Load::story(length, 7), Load::story(length, 8));
    let load = Load::story(length, 7);
    let days = [0.51, 1.51, 2.51].map(|day| load.rate(secs(180.0 * day)));
    assert!(days.iter().all(|rate| *rate > 400.0), "{days:?}");
    assert!(!close(days[0], days[1]) && !close(days[1], days[2]), "{days:?}");
    let first = load.scene(secs(0.0));
    assert_eq!(first, load.scene(secs(180.5)));
    assert!(load.scene(secs(180.0 * 1.51)).contains("Spike"));
}

proptest! {
    #[test]
    fn what_is_made_is_the_area_under_the_rate(seed: u64, from in 0.0..170.0f64) {
        let load = Load::story(secs(180.0), seed);
        let steps = 20_000;
        let width = 10.0 / f64::from(steps);
        let area: f64 = (0..steps).map(|step| load.rate(secs(from + (f64::from(step) + 0.5) * width)) * width).sum();
        let made = load.made_by(secs(from + 10.0)) - load.made_by(secs(from));
        prop_assert!((area - made).abs() < 1.0 + made * 1e-3, "{area} against {made}");
    }
}
