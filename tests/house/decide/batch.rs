//! Batches: a queue that is to be empty by a time of day, at the least cost.

use penstock::decide::Reason;

use super::story::{Given, verdict};
use super::tale::Tale;

/// To be done by one o'clock; a replica gets through 47 items a second and starts in 20 s. The tale begins at midnight.
fn batch(rate: Option<f64>) -> Tale {
    let given = Given {
        min: Some(0),
        done_by: Some((1, 0)),
        rate,
        startup: Some(20),
        commits: Some(5),
        desired: Some(0),
        ..Given::default()
    };
    Tale::new(given, 47.0, 20.0)
}

/// When, from, to.
fn moves(tale: &Tale) -> Vec<(i64, u32, u32)> {
    tale.writes.iter().map(|(at, from, to, _)| (*at, *from, *to)).collect()
}

fn codes(tale: &Tale) -> Vec<&'static str> {
    tale.writes.iter().map(|(_, _, _, why)| why.code()).collect()
}

/// Until when something waited.
fn done(tale: &mut Tale, from: i64, until: i64) -> i64 {
    let mut done = from;
    for second in from..until {
        tale.run(second);
        if 0.5 < tale.ends.iter().zip(&tale.truth).map(|(end, truth)| end - truth).sum::<f64>() {
            done = second;
        }
    }
    done
}

#[test]
fn much_is_begun_at_once_by_the_fewest_that_are_done_in_time_and_all_sleep_after_it() {
    let mut tale = batch(Some(47.0));
    tale.run(6);
    // Three and a half hours of one replica's work.
    tale.burst(47.0 * 12_600.0);
    let done = done(&mut tale, 7, 4_000);
    assert!((2_400..3_600).contains(&done), "done at {done}");
    assert_eq!(codes(&tale), ["InTime", "Gathering"], "{:?}", tale.writes);
    let [(6, 0, up), (_, also, 0)] = moves(&tale)[..] else { panic!("{:?}", tale.writes) };
    assert!(up == also && (4..=5).contains(&up), "{:?}", tale.writes);
}

#[test]
fn little_gathers_and_is_begun_when_it_must_be() {
    let mut tale = batch(Some(47.0));
    tale.run(6);
    tale.burst(47.0 * 120.0);
    tale.run(1_800);
    assert_eq!(moves(&tale), [], "two minutes of work are not worth a start yet");
    let done = done(&mut tale, 1_801, 4_000);
    assert!((3_200..3_600).contains(&done), "done at {done}: {:?}", tale.writes);
    let [(begun, 0, 1), (_, 1, 0)] = moves(&tale)[..] else { panic!("{:?}", tale.writes) };
    assert!((3_200..3_500).contains(&begun), "{begun}");
}

#[test]
fn a_trickle_is_worked_in_spells_and_not_all_day() {
    let mut tale = batch(Some(47.0));
    // A fifth of what one replica gets through.
    tale.arrive = 9.4;
    tale.run(3_600);
    let mut paid = 0;
    let ends = moves(&tale).iter().map(|(at, ..)| *at).skip(1).chain([3_600]).collect::<Vec<_>>();
    for ((at, _, to), end) in moves(&tale).into_iter().zip(ends) {
        paid += i64::from(to) * (end - at);
    }
    assert!(
        (600..1_300).contains(&paid),
        "{paid} replica-seconds for 720 of work: {:?}",
        tale.writes
    );
}

#[test]
fn a_stream_that_never_ends_keeps_no_more_than_it_needs_once_all_was_done() {
    let mut tale = batch(Some(47.0));
    tale.run(6);
    tale.burst(47.0 * 12_600.0);
    // Two and a half replicas' work, on and on: worth a start at any time.
    tale.arrive = 117.5;
    tale.run(7_200);
    let most = moves(&tale).iter().map(|&(_, _, to)| to).max().unwrap();
    assert!(6 < most, "{:?}", tale.writes);
    let kept = tale.world.workload.desired;
    assert!((1..=4).contains(&kept), "{kept} of {most}: {:?}", tale.writes);
}

#[test]
fn no_rate_is_known_so_a_few_learn_it_and_then_it_is_sized() {
    let mut tale = batch(None);
    tale.run(6);
    tale.burst(47.0 * 12_600.0);
    let done = done(&mut tale, 7, 4_000);
    assert!(done < 3_600, "done at {done}: {:?}", tale.writes);
    assert_eq!(codes(&tale)[..2], ["Learning", "InTime"], "{:?}", tale.writes);
    assert!(tale.writes.len() <= 4, "{:?}", tale.writes);
}

#[test]
fn replicas_slower_than_the_owner_believes_are_made_up_for() {
    let mut tale = batch(Some(80.0));
    tale.run(6);
    tale.burst(47.0 * 12_600.0);
    let done = done(&mut tale, 7, 4_000);
    assert!(done < 3_600, "done at {done}: {:?}", tale.writes);
}

#[test]
fn what_is_overdue_says_so_and_is_hurried() {
    let mut tale = batch(Some(47.0));
    tale.run(6);
    // The producer comes five minutes before the time, with two hours of one replica's work and more replicas than there may be.
    tale.run(3_300);
    tale.world.given.max = Some(10);
    tale.burst(47.0 * 7_200.0);
    tale.run(3_700);
    let step = tale.world.turn();
    let verdict = verdict(&step);
    assert!(verdict.signals.is_overdue, "{:?}", verdict.signals);
    assert!(
        verdict.why.iter().any(|why| matches!(why, Reason::Overdue { .. })),
        "{:?}",
        verdict.why
    );
    assert_eq!(tale.world.workload.desired, 10);
    tale.run(5_000);
    assert_eq!(tale.world.workload.desired, 0, "{:?}", tale.writes);
    let step = tale.world.turn();
    assert!(!super::story::verdict(&step).signals.is_overdue, "and the next time is tomorrow's");
}

#[test]
fn blind_it_keeps_what_it_has() {
    let mut tale = batch(Some(47.0));
    tale.run(6);
    tale.burst(47.0 * 12_600.0);
    tale.run(600);
    let before = tale.world.workload.desired;
    tale.world.sight = "Failed".into();
    tale.run(4_200);
    assert_eq!(tale.world.workload.desired, before);
}
