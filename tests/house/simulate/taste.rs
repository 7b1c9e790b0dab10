//! Scenarios with a score ceiling: the regression test of taste. A change of decide that makes it dearer, later or more restless shows
//! here first; `make quality` has the whole picture.

use penstock::simulate::{Fixed, Penstock, Score, run, run_whole};

use super::told;

fn penstock(rest: &str) -> Score {
    let scenario = told(rest);
    let mut pilot = penstock::simulate::pilot("penstock", &scenario, 1).unwrap();
    let run = run_whole(&scenario, &mut *pilot, 1);
    assert_eq!(run.score.violations, 0);
    run.score
}

#[test]
fn a_day_and_a_night_cost_little_and_come_in_time() {
    let score = penstock(
        "
workload: {diurnal: {}, peakReplicas: 20}
world: {rate: 100}
duration: 16h
warmup: 4h
",
    );
    assert!(score.late_share.unwrap() <= 0.001, "{score:?}");
    assert!(score.replica_hours < 1.5 * score.work_hours, "{score:?}");
    assert!(score.actions_per_day < 60.0, "{score:?}");
    assert!(score.rate_error.unwrap() < 0.1, "{score:?}");
}

#[test]
fn not_knowing_lowers_nothing() {
    let scenario = told(
        "
workload: {diurnal: {}, peakReplicas: 20}
world: {rate: 100, lost: {share: 0.02, outageEvery: 40m, outageLasts: 5m}}
duration: 8h
",
    );
    let mut pilot = penstock::simulate::pilot("penstock", &scenario, 1).unwrap();
    let outcome = run_whole(&scenario, &mut *pilot, 1);
    assert_eq!(outcome.score.violations, 0);
    let mut watcher = super::scripted(|_| 20);
    run(&scenario, &mut watcher, 1);
    let is_lost = |at: u32| watcher.seen[at as usize].arrived.is_none();
    let moves = &outcome.stages[0].moves;
    assert!(moves.iter().any(|it| it.to < it.from), "{moves:?}");
    let blind: Vec<_> = moves.iter().filter(|it| it.to < it.from && is_lost(it.at)).collect();
    assert!(blind.is_empty(), "{blind:?}");
}

#[test]
fn every_move_has_its_reason() {
    let scenario = told(
        "
workload: {steps: {hold: 30m}, peakReplicas: 20}
world: {rate: 100}
duration: 4h
",
    );
    let mut pilot = penstock::simulate::pilot("penstock", &scenario, 1).unwrap();
    let run = run_whole(&scenario, &mut *pilot, 1);
    let moves = &run.stages[0].moves;
    assert!(4 <= moves.len(), "{moves:?}");
    for it in moves {
        assert!(
            it.code.is_some() && it.sentence.as_ref().is_some_and(|it| 10 < it.len()),
            "{it:?}"
        );
    }
}

#[test]
fn a_fixed_count_is_never_moved() {
    let scenario = told(
        "
workload: {diurnal: {}, peakReplicas: 20}
world: {rate: 100, replicas: 7}
duration: 2h
",
    );
    let outcome = run(&scenario, &mut Fixed::new(7), 1);
    assert!(outcome.stages[0].moves.is_empty());
    assert!((outcome.score.replica_hours - 14.0).abs() < 1e-9);
}

#[test]
fn alone_with_one_stage_penstock_is_a_policy_like_any_other() {
    let scenario = told(
        "
workload: {steps: {hold: 20m}, peakReplicas: 20}
world: {rate: 100, lost: {share: 0.02}}
duration: 2h
",
    );
    let alone = run(&scenario, &mut Penstock::new(&scenario), 3);
    let whole = run_whole(&scenario, &mut Penstock::new(&scenario), 3);
    let moves = |run: &penstock::simulate::Run| -> Vec<(u32, u32)> {
        run.stages[0].moves.iter().map(|it| (it.at, it.to)).collect()
    };
    assert_eq!(moves(&alone), moves(&whole));
    assert!(2 < moves(&alone).len());
}
