//! What the demo shows, to the letter.

use penstock::demo::view::{Frame, Screen, Stage, Trail, paint};

use super::secs;

fn frame(at: f64, load: f64, delay: f64, replicas: u32) -> Frame {
    let stage = Stage {
        name: "enrich".to_owned(),
        lag: 1234,
        delay: secs(delay),
        arriving: load,
        doing: 99.6,
        desired: replicas,
        ready: replicas / 2,
        rate: (replicas > 4).then_some(49.7),
        reason: format!(
            "{replicas} replicas: 1234 messages wait, and the sentence is longer than the line"
        ),
    };
    Frame {
        at: secs(at),
        length: secs(180.0),
        objective: secs(30.0),
        scene: "Noon: 300 items a second.".to_owned(),
        load,
        delay: secs(delay),
        stages: vec![stage],
        news: (at > 3.0)
            .then(|| (secs(2.0), "stage enrich from 1 to 6 replicas: because".to_owned())),
        hints: vec!["Try: kubectl".to_owned()],
    }
}

#[test]
fn the_picture_fits_the_terminal_and_the_run() {
    let mut trail = Trail::default();
    for second in 0..120_u32 {
        trail.add(&frame(f64::from(second), f64::from(second), 15.0, second / 30));
    }
    let lines = paint(&frame(120.0, 119.0, 15.0, 6), &trail, 70);
    assert!(lines.iter().all(|line| line.chars().count() <= 70));
    insta::assert_snapshot!(lines.join("\n"), @r"
    penstock demo, 2:00 of 3:00. Objective: no item older than 30 s.
    Noon: 300 items a second.

    STAGE          LAG    DELAY   IN/S  OUT/S  READY/WANTED  PER REPLICA
    enrich        1234   15.0 s    119    100           3/6       49.7/s
      6 replicas: 1234 messages wait, and the sentence is longer than the…

    load          119/s  ▁▁▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▆▆▆▆▇▇▇▇████
    delay        15.0 s  ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄
    replicas          6         ▃▃▃▃▃▃▃▃▆▆▆▆▆▆▆████████

    Event, 118 s ago: stage enrich from 1 to 6 replicas: because

    Try: kubectl
    Ctrl-C stops.
    ");
}

#[test]
fn without_a_terminal_a_line_is_written_when_something_moves_and_every_five_seconds() {
    let mut out = Vec::new();
    let mut screen = Screen::plain(&mut out);
    for quarter in 0..40_u32 {
        let at = f64::from(quarter) / 4.0;
        screen.show(&frame(at, 50.0, 1.0, if at < 2.0 { 1 } else { 6 })).unwrap();
    }
    screen.say("The end.").unwrap();
    drop(screen);
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
    Try: kubectl
    0:00 Noon: 300 items a second.
    0:00 enrich: lag 1234, delay 1.0 s, in 50/s, out 100/s, 0 of 1 replicas ready; 1 replicas: 1234 messages wait, and the sentence is longer than the line
    0:03 stage enrich from 1 to 6 replicas: because
    0:03 enrich: lag 1234, delay 1.0 s, in 50/s, out 100/s, 3 of 6 replicas ready; 6 replicas: 1234 messages wait, and the sentence is longer than the line
    0:08 enrich: lag 1234, delay 1.0 s, in 50/s, out 100/s, 3 of 6 replicas ready; 6 replicas: 1234 messages wait, and the sentence is longer than the line
    The end.
    ");
}

#[test]
fn a_painted_picture_stays_above_what_is_said_after_it_and_the_cursor_comes_back() {
    let mut out = Vec::new();
    let mut screen = Screen::painted(&mut out).unwrap();
    screen.show(&frame(1.0, 50.0, 1.0, 1)).unwrap();
    screen.show(&frame(2.0, 50.0, 1.0, 1)).unwrap();
    screen.say("The end.").unwrap();
    drop(screen);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text.matches("\u{1b}[J").count(),
        1,
        "only the second picture is painted over the first"
    );
    assert!(text.ends_with("The end.\n\u{1b}[?25h"), "{text:?}");
}
