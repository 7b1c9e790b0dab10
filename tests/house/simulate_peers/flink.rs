//! Flink's autoscaler: its windows, its band, its delayed downs, its alignment to partitions.

use penstock::simulate::Policy;
use penstock::simulate::peers::{Flink, FlinkSettings};

use super::{RATE, Stage};

fn stage(replicas: u32, busy: f64) -> Stage {
    Stage { replicas, ready: replicas, busy, ..Stage::default() }
}

#[test]
fn inside_the_band_nothing_moves() {
    let mut flink = Flink::new(FlinkSettings::default());
    // True rate 700 / 0.7 is 1,000. Up below 700; down above 700/0.4 + 700·300/1800 = 1,867.
    let counts = stage(10, 0.7).flow(&mut flink, 120, 700.0, 700.0);
    assert!(counts.iter().all(|&count| count == 10), "{counts:?}");
}

#[test]
fn a_shortage_is_mended_once_the_window_is_full() {
    let mut flink = Flink::new(FlinkSettings::default());
    let counts = stage(10, 1.0).flow(&mut flink, 22, 1200.0, 1000.0);
    // Five minutes of peace and fifteen of measuring: look 20, at 1,200 s.
    assert!(counts[..20].iter().all(|&count| count == 10), "{counts:?}");
    // Lag is 240,000: 133 to catch up, 200 for the restart, 1,714 at 0.7: 2,048 of 1,000 is 21 tasks, and 24 divides 48.
    assert_eq!(counts[20], 24);
}

#[test]
fn less_is_wanted_for_an_hour_before_it_is_so() {
    let mut flink = Flink::new(FlinkSettings::default());
    let counts = stage(10, 0.1).flow(&mut flink, 90, 100.0, 100.0);
    // 160 of 1,000, but at most 60 % go at once: 4 tasks, which divides 48. First wished at 1,200 s, done at 4,800 s.
    assert!(counts[..80].iter().all(|&count| count == 10), "{counts:?}");
    assert_eq!(counts[80], 4);
}

#[test]
fn the_largest_wish_of_the_hour_is_taken() {
    let settings = FlinkSettings { window: 60.0, stabilization: 60.0, ..FlinkSettings::default() };
    let mut flink = Flink::new(settings);
    let mut stage = stage(20, 0.1);
    let mut counts = stage.flow(&mut flink, 40, 200.0, 200.0);
    stage.busy = 0.3;
    counts.extend(stage.flow(&mut flink, 10, 600.0, 600.0));
    stage.busy = 0.1;
    counts.extend(stage.flow(&mut flink, 20, 200.0, 200.0));
    // At 200 a second 40 % of 20 are 8 tasks. At 600, 600·(1/6 + 1/0.7) = 957 of 2,000 is 10 tasks, and 12 divides 48. First wished
    // at 120 s, done at 3,720 s.
    let first = counts.iter().position(|&count| count < 20).unwrap();
    assert_eq!((first, counts[first]), (62, 12), "{counts:?}");
}

#[test]
fn a_long_backlog_keeps_it_from_going_down() {
    let settings = FlinkSettings { down_interval: 0.0, ..FlinkSettings::default() };
    let mut flink = Flink::new(settings);
    let mut stage = stage(10, 1.0).with_lag(1_700_000.0);
    // 50 a second arrive and 1,000 are done. Lag of 332,000 at look 24 is more than five minutes of work, 275,000 at look 25 is less:
    // then 1,000 is more than 153 + 8 + 50/0.4, and at most 60 % go.
    let counts = stage.flow(&mut flink, 26, 50.0, 1000.0);
    assert!(counts[..25].iter().all(|&count| count == 10), "{counts:?}");
    assert_eq!(counts[25], 4);
}

#[test]
fn with_enough_waiting_what_tasks_do_is_what_they_can() {
    let settings = FlinkSettings { catch_up: 0.0, ..FlinkSettings::default() };
    let mut flink = Flink::new(settings);
    // Busy half their time, yet 500 a second is all they do while 20,000 wait: 500, not 1,000, is their true rate. For 600 a second,
    // at 0.7, 857 of 500 makes 18 of 10, and 24 divides 48.
    let counts = stage(10, 0.5).with_lag(20_000.0).flow(&mut flink, 21, 600.0, 500.0);
    assert_eq!(counts[20], 24, "{counts:?}");
}

#[test]
fn alignment_is_to_divisors_or_to_fewer_partitions_a_task() {
    // Window and peace of a minute; the wish is chosen by the arrivals: lag none, restart free.
    let wish = |present: u32, partitions: u16, wished: f64| {
        let settings = FlinkSettings {
            window: 60.0,
            stabilization: 0.0,
            down_interval: 0.0,
            restart: 0.0,
            boundary: 0.0,
            max_down: 1.0,
            ..FlinkSettings::default()
        };
        let mut flink = Flink::new(settings);
        let arrivals = 0.7 * RATE * (wished - 0.01);
        let busy = arrivals / (RATE * f64::from(present));
        let mut stage = Stage { partitions, ..stage(present, busy) };
        *stage.flow(&mut flink, 3, arrivals, arrivals).last().unwrap()
    };
    // The published example: 4 of 7 becomes 7, although ⌈7/4⌉ = ⌈7/6⌉ = 2.
    assert_eq!(wish(2, 7, 4.0), 7);
    // 13 of 48: 16 divides. 9 of 48: at 10 a task has 4 whole partitions, not 5.
    assert_eq!(wish(8, 48, 13.0), 16);
    assert_eq!(wish(4, 48, 9.0), 10);
    // Going down from 16 to 13: 16 itself is the next, so it stays.
    assert_eq!(wish(16, 48, 13.0), 16);
    assert_eq!(wish(16, 48, 11.0), 12);
}

#[test]
fn a_change_of_pods_starts_the_window_anew() {
    let mut flink = Flink::new(FlinkSettings::default());
    let mut stage = stage(10, 1.0);
    stage.flow(&mut flink, 15, 1200.0, 1000.0);
    stage.ready = 9;
    let asked = stage.ask(&mut flink);
    assert_eq!(asked, 10);
    stage.at += flink.period();
    // At 960 s one was still missing: five minutes and fifteen from there.
    let counts = stage.flow(&mut flink, 21, 1200.0, 1000.0);
    assert!(counts[..20].iter().all(|&count| count == 10), "{counts:?}");
    assert!(10 < counts[20], "{counts:?}");
}
