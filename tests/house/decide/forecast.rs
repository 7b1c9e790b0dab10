//! What comes every day is forecast once that has proved better than the present level, and what does not come as usual is told.

use std::iter::once;

use penstock::decide::{Band, Memory, Reason, Step, Verdict};

use super::story::{Given, World, pipeline_id, time, verdict};

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

/// Plays so many seconds in which all is taken at once, a look each minute, and hands each turn to `see`.
fn play(forecast_off: bool, seconds: i64, load: impl Fn(i64) -> i64, see: impl FnMut(i64, &Step)) {
    looked(60, forecast_off, seconds, load, see);
}

/// What is remembered after so many days of the hour's swing, a look each quarter of an hour.
pub(crate) fn swung(days: i64) -> Memory {
    let mut memory = Memory::default();
    looked(900, false, days * DAY, |_| 220, |_, step| memory = step.memory.clone());
    memory
}

fn looked(
    each: u32,
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
        poll: Some(each.into()),
        commits: Some(each.into()),
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
        came += i64::from(each) * load(world.at);
        world.at += i64::from(each);
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
fn what_is_told_as_odd_lies_outside_the_band_and_what_is_usual_within() {
    let fails = 6 * DAY + 7_200;
    let load = |at| if fails <= at { swing(at) / 10 } else { swing(at) };
    let quarter = |at: i64| (at..at + 900).step_by(60).map(load).sum::<i64>() / 15;
    let mut seen = [0, 0];
    play(false, fails + 7_200, load, |at, step| {
        let Some(Band { low, high }) = band(&step.memory, at) else {
            assert!(at < 5 * DAY, "{at}: by then there were three working days");
            return;
        };
        assert!(low < high, "{at}: {low} to {high}");
        if at % 900 == 0 {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let is_usual = (low..=high).contains(&(quarter(at) as f64));
            assert_eq!(is_usual, at < fails, "{at}: {} of {low} to {high}", quarter(at));
            seen[usize::from(is_usual)] += 1;
        }
    });
    assert!(seen.iter().all(|&times| 7 < times), "{seen:?}");
}

/// What would be usual at an instant.
fn band(memory: &Memory, at: i64) -> Option<Band> {
    memory.usual(&pipeline_id(), "work", once(time(at))).pop().unwrap()
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
