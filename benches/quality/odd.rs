//! How well unusual arrivals are told: the labelled year of taxi rides, played through decide, and what it calls odd against what really was.
//! The labels are the windows that the Numenta Anomaly Benchmark gives this trace (`labels/combined_windows.json` of numenta/NAB, MIT):
//! four holidays or feasts, and a snow storm.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use penstock::decide::{
    Memory, Observation, Queue, Reading, Reason, Situation, Snapshot, Target, Value, Workload,
    Writing, advance,
};
use penstock::simulate::Scenario;

use crate::loads::BASE;

/// 1 July 2014, 0:00, when the trace begins; New York's own time taken for UTC, as the labels are.
const BEGIN: i64 = 1_404_172_800;
const WINDOWS: [(&str, &str, &str); 5] = [
    ("marathon", "2014-10-30T15:30:00Z", "2014-11-03T22:30:00Z"),
    ("Thanksgiving", "2014-11-25T12:00:00Z", "2014-11-29T19:00:00Z"),
    ("Christmas", "2014-12-23T11:30:00Z", "2014-12-27T18:30:00Z"),
    ("New Year", "2014-12-29T21:30:00Z", "2015-01-03T04:30:00Z"),
    ("snow storm", "2015-01-24T20:30:00Z", "2015-01-29T03:30:00Z"),
];
/// Seconds between two looks.
const STEP: i64 = 30;
/// Items for each passenger, so that the highest half hour is about 28 replicas' worth.
const TIMES: f64 = 130.0;
/// What is odd again within this long is the same story.
const SAME: i64 = 12 * 3600;

/// A time in which something was called odd, in Unix seconds.
#[derive(Debug, Clone, Copy)]
struct Spell {
    from: i64,
    to: i64,
}

/// Plays the trace, and prints what was told rightly and wrongly.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
pub(crate) fn print() -> Result<()> {
    let rows = rows(include_str!("../../tests/data/traces/taxi.csv"))?;
    let spells = told(&rows)?;
    let windows = WINDOWS.map(|(name, from, to)| (name, second(from), second(to)));
    let meets =
        |spell: &Spell, &(_, from, to): &(&str, i64, i64)| from <= spell.to && spell.from <= to;
    let mut found = Vec::new();
    for window in &windows {
        let first = spells.iter().find(|spell| meets(spell, window));
        found.push(match first {
            Some(_) => window.0.to_owned(),
            None => format!("not {}", window.0),
        });
    }
    let hits = windows.iter().filter(|it| spells.iter().any(|spell| meets(spell, it))).count();
    let right = spells.iter().filter(|spell| windows.iter().any(|it| meets(spell, it))).count();
    let share = |part: usize, whole: usize| {
        let [part, whole] =
            [part, whole].map(|it| f64::from(u32::try_from(it).unwrap_or(u32::MAX)));
        100.0 * part / whole.max(1.0)
    };
    println!(
        "unusual arrivals in 215 days of taxi rides with 5 labelled windows: {} spells told, {right} of them in a window: precision {:.0} %; \
         {hits} of 5 windows found: recall {:.0} % ({})",
        spells.len(),
        share(right, spells.len()),
        share(hits, windows.len()),
        found.join(", "),
    );
    for spell in spells.iter().filter(|spell| !windows.iter().any(|it| meets(spell, it))) {
        let at = |second| {
            Timestamp::from_second(second).map(|it| it.strftime("%a %d %b %H:%M").to_string())
        };
        println!("  outside of all windows: {} to {}", at(spell.from)?, at(spell.to)?);
    }
    println!();
    Ok(())
}

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

/// Seconds since the start, and passengers a second.
fn rows(text: &str) -> Result<Vec<(i64, f64)>> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let (at, rate) = line.split_once(',').context("a row without a comma")?;
            Ok((at.parse()?, rate.parse()?))
        })
        .collect()
}

/// When decide called the arrivals unusual.
fn told(rows: &[(i64, f64)]) -> Result<Vec<Spell>> {
    let pipeline = Scenario::read(BASE, Path::new("."))?.pipeline;
    let source = pipeline.stages.first().and_then(|stage| stage.sources.first());
    let question = source.context("no source")?.question.clone();
    let mut memory = Memory::default();
    let mut spells: Vec<Spell> = Vec::new();
    let mut arrived = 0.0_f64;
    for pair in rows.windows(2) {
        let [(from, before), (to, after)] = [pair[0], pair[1]];
        for at in (from..to).step_by(usize::try_from(STEP)?) {
            let share = whole(at - from) / whole((to - from).max(1));
            arrived += TIMES * whole(STEP) * (before + share * (after - before));
            let now = Timestamp::from_second(BEGIN + at)?;
            let queue = Queue {
                arrived: Some(count(arrived)),
                served: Some(count(arrived)),
                ..Queue::default()
            };
            let reading = Arc::new(Reading { at: now, value: Value::Queue(queue) });
            let snapshot = Snapshot {
                due: vec![Situation {
                    targets: vec![Target::Seen(workload(now))],
                    ..Situation::of(Arc::clone(&pipeline))
                }],
                observations: BTreeMap::from([(question.clone(), Observation::Fresh(reading))]),
                ..Snapshot::of(now, false)
            };
            let step = advance(&snapshot, &mut memory);
            let odd = step.plan.verdicts.iter().flat_map(|verdict| &verdict.anomalies);
            let mut odd = odd.filter(|reason| matches!(reason, Reason::UnusualArrivals { .. }));
            if odd.next().is_some() {
                let at = BEGIN + at;
                match spells.last_mut().filter(|spell| at <= spell.to + SAME) {
                    Some(spell) => spell.to = at,
                    None => spells.push(Spell { from: at, to: at }),
                }
            }
        }
    }
    Ok(spells)
}

/// Enough pods, and nobody moves them: arrivals are what is looked at.
fn workload(now: Timestamp) -> Workload {
    Workload {
        uid: "uid".into(),
        resource_version: "1".into(),
        desired: 40,
        current: 40,
        ready: 40,
        ready_since: now.checked_sub(Duration::from_hours(1)).ok(),
        writing: Writing::Merge,
        read_at: now,
        is_ours: false,
        hpa: None,
        cpu: None,
        jobs: None,
        lanes: Vec::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of some months")]
fn whole(seconds: i64) -> f64 {
    seconds as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "items of some months")]
fn count(items: f64) -> u64 {
    items as u64
}
