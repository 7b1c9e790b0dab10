//! What comes every day is forecast once that has proved better than the present level, and what does not come as usual is told.

use penstock::decide::{Reason, Step, Verdict};

use super::story::{Given, World, verdict};

/// A day of readings, one each minute.
const DAY: i64 = 86_400;

/// A load of a full hour's swing, in items a second: 40 to 400.
fn swing(second: i64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds of an hour")]
    let hour = second.rem_euclid(3_600) as f64 / 3_600.0;
    #[expect(clippy::cast_possible_truncation, reason = "small")]
    let level = (220.0 - 180.0 * (std::f64::consts::TAU * hour).cos()) as i64;
    level
}

/// Plays so many days in which all is taken at once, and hands each turn to `see`.
fn play(
    forecast_off: bool,
    seconds: i64,
    load: impl Fn(i64) -> i64,
    mut see: impl FnMut(i64, &Step),
) {
    let given = Given {
        objective: Some(30),
        rate: Some(20.0),
        startup: Some(240),
        partitions: Some(48),
        poll: Some(60),
        commits: Some(60),
        desired: Some(8),
        forecast_off,
        ..Given::default()
    };
    let mut world = World::new(given);
    let count = i64::try_from(world.ends.len()).unwrap();
    let mut came = 0;
    while world.at < seconds {
        for (at, end) in world.ends.iter_mut().enumerate() {
            *end = 1_000_000 + (came + i64::try_from(at).unwrap()) / count;
        }
        world.positions.clone_from(&world.ends);
        world.commits_at = world.at;
        let step = world.turn();
        see(world.at, &step);
        world.workload.ready = world.workload.desired;
        came += 60 * load(world.at);
        world.at += 60;
    }
}

fn of(step: &Step) -> Verdict {
    verdict(step).clone()
}

#[test]
fn a_rise_that_comes_every_hour_is_forecast_once_it_has_been_learned() {
    let mut told = 0;
    play(false, 4 * DAY, swing, |at, step| {
        let verdict = of(step);
        if at < DAY {
            assert_eq!(verdict.signals.forecast_rate, None, "{at}: a day to learn from");
        }
        if let Some(forecast) = verdict.signals.forecast_rate.filter(|_| 3 * DAY < at) {
            told += 1;
            assert!((10.0..1_300.0).contains(&forecast), "{at}: {forecast}");
        }
    });
    assert!(1_000 < told, "told in {told} turns of a day");
}

#[test]
fn whoever_wants_none_gets_none() {
    play(true, 3 * DAY, swing, |at, step| {
        assert_eq!(of(step).signals.forecast_rate, None, "{at}");
    });
}

#[test]
fn arrivals_that_fall_out_of_the_usual_are_told_as_an_anomaly_until_they_are_as_usual_again() {
    let (fails, mends) = (6 * DAY + 7_200, 6 * DAY + 18_000);
    let load = |at| if (fails..mends).contains(&at) { swing(at) / 10 } else { swing(at) };
    let mut told = Vec::new();
    play(false, 7 * DAY, load, |at, step| {
        let odd = of(step).anomalies;
        if odd.iter().any(|odd| matches!(odd, Reason::UnusualArrivals { .. })) {
            told.push(at);
        }
    });
    let (first, last) = (told[0], *told.last().unwrap());
    assert!((fails + 1_800..=fails + 2_400).contains(&first), "first told at {}", first - fails);
    assert!((mends..=mends + 1_800).contains(&last), "last told at {}", last - mends);
}
