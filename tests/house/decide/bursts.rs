//! Bursts that are over before new pods are at work: a level that clears each in time is kept, until what comes is no burst.

use super::story::Given;
use super::tale::{Tale, unknown};

/// Items a second of one pod, which takes 45 s to start.
const RATE: f64 = 47.0;

/// Ten seconds of twenty pods' work in each minute.
fn minutes(tale: &mut Tale, count: i64) {
    for _ in 0..count {
        let at = tale.world.at;
        tale.arrive = 20.0 * RATE;
        tale.run(at + 10);
        tale.arrive = 0.0;
        tale.run(at + 60);
    }
}

fn tale() -> Tale {
    let given = Given { rate: Some(RATE), startup: Some(45), ..unknown(5, 60) };
    let given = Given { min: Some(1), desired: Some(1), max: Some(24), ..given };
    Tale::new(given, RATE, 45.0)
}

#[test]
fn a_train_of_bursts_is_met_by_a_level_that_clears_each_in_time() {
    let mut tale = tale();
    minutes(&mut tale, 40);
    assert!(tale.writes.iter().any(|write| write.3.code() == "KeepLevel"), "{:?}", tale.writes);
    (tale.worst, tale.writes) = (0.0, Vec::new());
    minutes(&mut tale, 20);
    assert!(tale.writes.is_empty(), "{:?}", tale.writes);
    let level = tale.world.workload.desired;
    assert!((4..=8).contains(&level) && tale.worst < 60.0, "{level}, {} s", tale.worst);
}

#[test]
fn a_level_that_no_longer_carries_what_comes_is_left_in_time() {
    let mut tale = tale();
    minutes(&mut tale, 60);
    (tale.worst, tale.writes) = (0.0, Vec::new());
    tale.arrive = 20.0 * RATE;
    let at = tale.world.at;
    tale.run(at + 300);
    let is_whole = |write: &&(i64, u32, u32, _)| write.2 == 24;
    let asked = tale.writes.iter().find(is_whole).map(|write| write.0);
    assert!(asked.is_some_and(|asked| asked <= at + 45), "{:?}", tale.writes);
    assert!(tale.worst < 90.0, "{} s", tale.worst);
}

#[test]
fn a_level_is_given_back_when_the_bursts_end() {
    let mut tale = tale();
    minutes(&mut tale, 60);
    assert!(4 <= tale.world.workload.desired);
    tale.arrive = 10.0;
    let at = tale.world.at;
    tale.run(at + 2400);
    assert_eq!(tale.world.workload.desired, 1, "{:?}", tale.writes);
}
