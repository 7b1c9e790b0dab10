//! Bounds by the calendar: when they hold, also in the nights on which clocks are changed, and what they make of a stage.

use insta::assert_snapshot;
use jiff::{SignedDuration, Timestamp};
use penstock::decide::Schedule;

use super::story::told;

/// How far apart `spells` asks. Turns of the schedules here fall on it; one that did not would be seen as foretold for another time.
const STEP: SignedDuration = SignedDuration::from_mins(5);

fn schedule(start: &str, end: &str, zone: &str) -> Schedule {
    Schedule::new("s", (start, end), zone, (Some(4), None)).unwrap()
}

/// The spells between two instants, as `from to until`, in UTC; found by asking step by step, and held against what is foretold.
fn spells(schedule: &Schedule, from: &str, until: &str) -> String {
    let (mut at, until): (Timestamp, Timestamp) = (from.parse().unwrap(), until.parse().unwrap());
    let mut lines: Vec<String> = Vec::new();
    let mut began: Option<Timestamp> = None;
    let mut foretold = schedule.look(at).1.unwrap();
    let mut before = schedule.look(at).0;
    while at <= until {
        let (is_inside, next) = schedule.look(at);
        assert!(at < next.unwrap(), "{at}: {next:?}");
        if is_inside != before {
            assert_eq!(foretold, at, "it turned at another time than it had said");
        } else if foretold <= at {
            panic!("{at}: it had said that it would turn at {foretold}");
        }
        foretold = next.unwrap();
        match (is_inside, began) {
            (true, None) => began = Some(at),
            (false, Some(since)) => {
                lines.push(format!("{since} to {at}"));
                began = None;
            }
            _ => {}
        }
        before = is_inside;
        at += STEP;
    }
    lines.extend(began.map(|since| format!("{since} to later")));
    lines.join("\n")
}

#[test]
fn from_monday_to_friday_is_so_in_the_zone_and_not_in_utc() {
    let trading = schedule("0 8 * * 1-5", "0 20 * * 1-5", "Europe/Berlin");
    assert_snapshot!(spells(&trading, "2026-11-19T00:00:00Z", "2026-11-24T12:00:00Z"), @"
    2026-11-19T07:00:00Z to 2026-11-19T19:00:00Z
    2026-11-20T07:00:00Z to 2026-11-20T19:00:00Z
    2026-11-23T07:00:00Z to 2026-11-23T19:00:00Z
    2026-11-24T07:00:00Z to later
    ");
    let new_york = schedule("30 9 * * MON-FRI", "0 16 * * MON-FRI", "America/New_York");
    assert_snapshot!(spells(&new_york, "2026-11-19T00:00:00Z", "2026-11-21T00:00:00Z"), @"
    2026-11-19T14:30:00Z to 2026-11-19T21:00:00Z
    2026-11-20T14:30:00Z to 2026-11-20T21:00:00Z
    ");
}

#[test]
fn it_wraps_over_midnight_the_weekend_and_the_year() {
    let night = schedule("0 22 * * *", "0 6 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&night, "2026-12-30T12:00:00Z", "2027-01-02T00:00:00Z"), @"
    2026-12-30T21:00:00Z to 2026-12-31T05:00:00Z
    2026-12-31T21:00:00Z to 2027-01-01T05:00:00Z
    2027-01-01T21:00:00Z to later
    ");
    let weekend = schedule("0 18 * * FRI", "0 6 * * MON", "UTC");
    assert_snapshot!(spells(&weekend, "2026-11-19T00:00:00Z", "2026-11-24T00:00:00Z"), @"2026-11-20T18:00:00Z to 2026-11-23T06:00:00Z");
    let last_days = schedule("0 0 L * *", "0 0 2 * *", "UTC");
    assert_snapshot!(spells(&last_days, "2026-02-20T00:00:00Z", "2026-04-05T00:00:00Z"), @"
    2026-02-28T00:00:00Z to 2026-03-02T00:00:00Z
    2026-03-31T00:00:00Z to 2026-04-02T00:00:00Z
    ");
}

#[test]
fn a_time_that_spring_skips_is_the_first_instant_after_the_gap() {
    // Berlin goes from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC, New York from 02:00 to 03:00 on 2026-03-08 at 07:00 UTC.
    let from = schedule("30 2 * * *", "0 5 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&from, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"), @"
    2026-03-28T01:30:00Z to 2026-03-28T04:00:00Z
    2026-03-29T01:00:00Z to 2026-03-29T03:00:00Z
    2026-03-30T00:30:00Z to 2026-03-30T03:00:00Z
    ");
    let to = schedule("0 1 * * *", "30 2 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&to, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"), @"
    2026-03-28T00:00:00Z to 2026-03-28T01:30:00Z
    2026-03-29T00:00:00Z to 2026-03-29T01:00:00Z
    2026-03-29T23:00:00Z to 2026-03-30T00:30:00Z
    ");
    let new_york = schedule("30 2 * * *", "0 5 * * *", "America/New_York");
    assert_snapshot!(spells(&new_york, "2026-03-07T00:00:00Z", "2026-03-09T12:00:00Z"), @"
    2026-03-07T07:30:00Z to 2026-03-07T10:00:00Z
    2026-03-08T07:00:00Z to 2026-03-08T09:00:00Z
    2026-03-09T06:30:00Z to 2026-03-09T09:00:00Z
    ");
    let over = schedule("0 22 * * *", "30 2 * * *", "America/New_York");
    assert_snapshot!(spells(&over, "2026-03-07T00:00:00Z", "2026-03-09T12:00:00Z"), @"
    2026-03-07T03:00:00Z to 2026-03-07T07:30:00Z
    2026-03-08T03:00:00Z to 2026-03-08T07:00:00Z
    2026-03-09T02:00:00Z to 2026-03-09T06:30:00Z
    ");
}

#[test]
fn a_time_that_autumn_has_twice_is_the_first_of_the_two() {
    // Berlin goes back from 03:00 to 02:00 on 2026-10-25 at 01:00 UTC, New York from 02:00 to 01:00 on 2026-11-01 at 06:00 UTC.
    let from = schedule("30 2 * * *", "0 5 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&from, "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z"), @"
    2026-10-24T00:30:00Z to 2026-10-24T03:00:00Z
    2026-10-25T00:30:00Z to 2026-10-25T04:00:00Z
    2026-10-26T01:30:00Z to 2026-10-26T04:00:00Z
    ");
    let to = schedule("0 22 * * *", "30 2 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&to, "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z"), @"
    2026-10-23T20:00:00Z to 2026-10-24T00:30:00Z
    2026-10-24T20:00:00Z to 2026-10-25T00:30:00Z
    2026-10-25T21:00:00Z to 2026-10-26T01:30:00Z
    ");
    let new_york = schedule("30 1 * * *", "0 5 * * *", "America/New_York");
    assert_snapshot!(spells(&new_york, "2026-10-31T00:00:00Z", "2026-11-02T12:00:00Z"), @"
    2026-10-31T05:30:00Z to 2026-10-31T09:00:00Z
    2026-11-01T05:30:00Z to 2026-11-01T10:00:00Z
    2026-11-02T06:30:00Z to 2026-11-02T10:00:00Z
    ");
    let over = schedule("0 0 * * *", "30 1 * * *", "America/New_York");
    assert_snapshot!(spells(&over, "2026-10-31T00:00:00Z", "2026-11-02T12:00:00Z"), @"
    2026-10-31T04:00:00Z to 2026-10-31T05:30:00Z
    2026-11-01T04:00:00Z to 2026-11-01T05:30:00Z
    2026-11-02T05:00:00Z to 2026-11-02T06:30:00Z
    ");
}

#[test]
fn a_night_with_a_change_is_an_hour_shorter_or_longer() {
    let night = schedule("0 22 * * *", "0 6 * * *", "Europe/Berlin");
    assert_snapshot!(spells(&night, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"), @"2026-03-28T21:00:00Z to 2026-03-29T04:00:00Z");
    assert_snapshot!(spells(&night, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"), @"2026-10-24T20:00:00Z to 2026-10-25T05:00:00Z");
}

#[test]
fn every_hour_has_its_window_in_every_night() {
    let hourly = schedule("0 * * * *", "10 * * * *", "Europe/Berlin");
    for (from, to) in [
        ("2026-03-28T22:55:00Z", "2026-03-29T04:55:00Z"),
        ("2026-10-24T22:55:00Z", "2026-10-25T04:55:00Z"),
    ] {
        assert_eq!(spells(&hourly, from, to).lines().count(), 6, "{}", spells(&hourly, from, to));
    }
}

#[test]
fn where_an_end_and_a_start_fall_together_it_goes_on() {
    let both = schedule("0 8 * * 1,2", "0 8 * * 2,3", "UTC");
    assert_snapshot!(spells(&both, "2026-11-15T00:00:00Z", "2026-11-20T00:00:00Z"), @"2026-11-16T08:00:00Z to 2026-11-18T08:00:00Z");
    let always = schedule("0 * * * *", "0 8 * * *", "UTC");
    let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
    assert!(always.look(at).0 && always.look(at).1.is_some_and(|until| at < until));
}

#[test]
fn it_holds_from_the_very_instant_of_its_start_and_no_longer_at_that_of_its_end() {
    let day = schedule("0 8 * * *", "0 20 * * *", "UTC");
    let inside = |text: &str| day.look(text.parse().unwrap()).0;
    assert!(!inside("2026-11-20T07:59:59.999999999Z"));
    assert!(inside("2026-11-20T08:00:00Z") && inside("2026-11-20T08:00:00.5Z"));
    assert!(inside("2026-11-20T19:59:59.999999999Z"));
    assert!(!inside("2026-11-20T20:00:00Z"));
}

#[test]
fn what_is_no_calendar_is_refused_with_a_hint() {
    let says = |start: &str, end: &str, zone: &str| {
        let wrong = Schedule::new("s", (start, end), zone, (Some(1), None)).unwrap_err();
        format!("{wrong}; hint: {}", wrong.hint)
    };
    let lines = [
        says("0 8 * *", "0 20 * * *", "UTC"),
        says("0 8 * * *", "0 25 * * *", "UTC"),
        says("0 8 30 2 *", "0 20 * * *", "UTC"),
        says("0 0 8 * * *", "0 20 * * *", "UTC"),
        says("@midnight", "0 20 * * *", "UTC"),
        says("0 8 * * *", "0  8 * * *", "UTC"),
        says("0 8 * * *", "0 20 * * *", "Europe/Atlantis"),
    ];
    assert_snapshot!(lines.join("\n"), @r#"
    start: "0 8 * *" is no cron with five fields; hint: minute, hour, day of month, month, day of week: "0 8 * * 1-5" is 8:00 from Monday to Friday
    end: "0 25 * * *" is no cron: Component error: Number out of bounds.; hint: minute, hour, day of month, month, day of week: "0 8 * * 1-5" is 8:00 from Monday to Friday
    start: "0 8 30 2 *" never comes; hint: minute, hour, day of month, month, day of week: "0 8 * * 1-5" is 8:00 from Monday to Friday
    start: "0 0 8 * * *" is no cron with five fields; hint: minute, hour, day of month, month, day of week: "0 8 * * 1-5" is 8:00 from Monday to Friday
    start: "@midnight" is no cron with five fields; hint: minute, hour, day of month, month, day of week: "0 8 * * 1-5" is 8:00 from Monday to Friday
    end: is the same as start, so that it lasts for no time; hint: what always holds is written without hours: as replicas.min or max, or as the price itself
    timeZone: nobody knows the time zone "Europe/Atlantis"; hint: write an IANA name, as Europe/Berlin or UTC
    "#);
    assert!(Schedule::new("s", ("0 8 29 2 *", "0 20 * * *"), "UTC", (None, None)).is_ok());
}

#[test]
fn a_schedule_comes_back_from_its_record() {
    let trading = schedule("0 8 * * 1-5", "0 20 * * 1-5", "Europe/Berlin");
    let text = serde_json::to_string(&trading).unwrap();
    assert_eq!(
        text,
        r#"{"name":"s","start":"0 8 * * 1-5","end":"0 20 * * 1-5","zone":"Europe/Berlin","min":4,"max":null}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), trading);
    assert!(serde_json::from_str::<Schedule>(&text.replace("Berlin", "Atlantis")).is_err());
}

#[test]
fn a_stage_is_woken_at_the_start_and_told_by_which_schedule_and_until_when() {
    let story = r#"
stage: {min: 0, perReplica: 1000, desired: 0, idle: [0, 60], schedules: [[trading, "1 0 * * *", "5 0 * * *", 4, null]]}
until: 900
"#;
    assert_snapshot!(told(story), @"
      0 s  0 Idle
           0 replicas: nothing has waited or arrived since 00:00:00 UTC
     60 s  4 AtScheduledMin | writes 4 for 0
           kept at min 4 by schedule trading until 2026-01-01 00:05 UTC: 1 would do
    300 s  0 Idle | writes 0 for 4
           0 replicas: nothing has waited or arrived since 00:00:00 UTC
    ");
}

#[test]
fn a_scheduled_max_lowers_a_stage_at_once_though_it_is_blind() {
    let story = r#"
stage: {perReplica: 1000, schedules: [[night, "1 0 * * *", "3 0 * * *", null, 2]]}
then:
- {at: 2, lag: 9000}
- {at: 50, sight: Failed}
- {at: 200, sight: Fresh}
until: 210
"#;
    assert_snapshot!(told(story), @"
      0 s  1 Threshold
           1 replica: orders stands at 0, and each replica may have 1000
      2 s  9 Threshold | writes 9 for 1
           9 replicas: orders stands at 9000, and each replica may have 1000
     50 s  9 NoFreshData
           held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
     60 s  2 AtScheduledMax | writes 2 for 9
           kept at max 2 by schedule night until 2026-01-01 00:03 UTC: 9 are wished
     62 s  2 NoFreshData
           held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
    200 s  9 Threshold | writes 9 for 2
           9 replicas: orders stands at 9000, and each replica may have 1000
    ");
}

#[test]
fn of_schedules_that_overlap_the_largest_min_and_the_smallest_max_count() {
    let story = r#"
stage:
  perReplica: 1000
  schedules:
  - [a, "1 0 * * *", "9 0 * * *", 3, null]
  - [b, "2 0 * * *", "8 0 * * *", 6, null]
  - [c, "3 0 * * *", "7 0 * * *", null, 5]
until: 700
"#;
    assert_snapshot!(told(story), @"
      0 s  1 Threshold
           1 replica: orders stands at 0, and each replica may have 1000
     60 s  3 AtScheduledMin | writes 3 for 1
           kept at min 3 by schedule a until 2026-01-01 00:09 UTC: 1 would do
    120 s  6 AtScheduledMin | writes 6 for 3
           kept at min 6 by schedule b until 2026-01-01 00:08 UTC: 1 would do
    180 s  5 AtScheduledMax | writes 5 for 6
           kept at max 5 by schedule c until 2026-01-01 00:07 UTC: 6 are wished
    182 s  5 AtScheduledMin
           kept at min 5 by schedule c until 2026-01-01 00:07 UTC: 1 would do
    420 s  6 AtScheduledMin | writes 6 for 5
           kept at min 6 by schedule b until 2026-01-01 00:08 UTC: 1 would do
    480 s  6 HeldByWindow
           kept at 6: 3 would do now, but 6 were needed within the last 60 s
    538 s  3 AtScheduledMin | writes 3 for 6
           kept at min 3 by schedule a until 2026-01-01 00:09 UTC: 1 would do
    540 s  3 HeldByWindow
           kept at 3: 1 would do now, but 3 were needed within the last 60 s
    598 s  1 Threshold | writes 1 for 3
           1 replica: orders stands at 0, and each replica may have 1000
    ");
}

#[test]
fn a_restart_within_a_schedule_changes_nothing() {
    let story = r#"
stage: {perReplica: 1000, schedules: [[day, "1 0 * * *", "9 0 * * *", 4, null]]}
then:
- {at: 100, restart: true}
until: 200
"#;
    assert_snapshot!(told(story), @"
     0 s  1 Threshold
          1 replica: orders stands at 0, and each replica may have 1000
    60 s  4 AtScheduledMin | writes 4 for 1
          kept at min 4 by schedule day until 2026-01-01 00:09 UTC: 1 would do
    ");
}
