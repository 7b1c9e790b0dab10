//! The score of runs worked out by hand.

use penstock::demo::score::{Run, score};
use penstock::demo::traffic::Item;

use super::{close, secs};

fn item(made: f64, done: impl Into<Option<f64>>) -> Item {
    Item { made: secs(made), done: done.into().map(secs) }
}

#[test]
fn a_run_without_items_is_in_time_and_still_costs() {
    let run = Run {
        length: secs(3600.0),
        objective: secs(30.0),
        items: &[],
        replicas: &[(secs(0.0), 2)],
        peak_replicas: 3,
    };
    let score = score(&run);
    assert!(close(score.items_in_time, 1.0) && close(score.time_in_time, 1.0));
    assert!(close(score.replica_hours, 2.0) && close(score.peak_hours, 3.0));
    assert_eq!((score.items, score.waiting, score.moves), (0, 0, 0));
}

#[test]
fn late_time_counts_once_however_many_items_are_late() {
    // Late from 40 to 50 and from 45 to 60: 20 s of 100; the third is at its limit, the fourth is not done: late from 70 on.
    let items = [item(10.0, 50.0), item(15.0, 60.0), item(20.0, 50.0), item(40.0, None)];
    let run = Run {
        length: secs(100.0),
        objective: secs(30.0),
        items: &items,
        replicas: &[],
        peak_replicas: 0,
    };
    let score = score(&run);
    assert!(close(score.time_in_time, 0.5), "{}", score.time_in_time);
    assert!(close(score.items_in_time, 0.25), "{}", score.items_in_time);
    assert_eq!(
        (score.waiting, score.p50, score.p99, score.max),
        (1, secs(40.0), secs(60.0), secs(60.0))
    );
}

#[test]
fn an_item_still_waiting_within_the_objective_is_not_late() {
    let items = [item(90.0, None)];
    let run = Run {
        length: secs(100.0),
        objective: secs(30.0),
        items: &items,
        replicas: &[],
        peak_replicas: 0,
    };
    let score = score(&run);
    assert!(close(score.items_in_time, 1.0) && close(score.time_in_time, 1.0));
    assert_eq!((score.waiting, score.max), (1, secs(10.0)));
}

#[test]
fn replica_hours_are_the_area_under_the_count_and_moves_its_changes() {
    let replicas = [(secs(900.0), 4), (secs(1800.0), 4), (secs(2700.0), 0), (secs(4000.0), 9)];
    let run = Run {
        length: secs(3600.0),
        objective: secs(30.0),
        items: &[],
        replicas: &replicas,
        peak_replicas: 1,
    };
    let score = score(&run);
    assert!(close(score.replica_hours, 2.0), "{}", score.replica_hours);
    assert_eq!(score.moves, 2);
}
