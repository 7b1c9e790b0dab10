//! Single events, many times over, at twelve replicas: nodes of spot that are taken, spot that is not to be had and comes back. Each trial looks at
//! what a run wrote down second by second. Used by `main`.

use anyhow::Result;
use penstock::decide::PoolState;
use penstock::simulate::nodes::{Event, Log, Terms, Tick, Weather, followed};
use penstock::simulate::{Penstock, Run};

use crate::book::{Bar, Book};
use crate::patterns::{self, SPLIT};

/// Interruptions of each kind, and seconds between two.
const STRIKES: u32 = 200;
const APART: u32 = 1800;
/// Outages of spot in minutes, over and over, and seconds from one to the next.
const OUTAGES: [u32; 6] = [3, 10, 20, 40, 90, 180];
const ROUNDS: u32 = 5;
const CYCLE: u32 = 5 * 3600;
/// The first event, when all is at rest.
const FIRST: u32 = 2 * 3600;

/// All trials of Penstock; prints what was seen and notes it beside its target.
pub(crate) fn trials(book: &mut Book) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for (notice, spare) in [(120, 1), (120, 0), (30, 1), (30, 0)] {
        told.push(interruptions(notice, spare, book)?);
    }
    told.push(outages(true, book)?);
    told.push(outages(false, book)?);
    Ok(told)
}

/// Nodes are taken one at a time, with room for others.
fn interruptions(notice: u32, spare: u32, book: &mut Book) -> Result<String> {
    let terms = Terms { notice, spare, ..Terms::default() };
    let strikes: Vec<u32> = (0..STRIKES).map(|number| FIRST + number * APART).collect();
    let duration = FIRST + STRIKES * APART;
    let weather = Weather::of(vec![vec![(0, 64)]]).striking(strikes.clone());
    let (_, log) = run(&terms, &weather, duration, 1)?;
    let struck: Vec<Struck> = strikes.iter().filter_map(|&at| Struck::of(&log, at)).collect();
    let survived = struck.iter().filter(|it| it.dip == 0).count();
    let unhurt = 100.0 * number(survived) / number(struck.len());
    let dips = sorted(struck.iter().map(|it| it.dip));
    let lasts = sorted(struck.iter().map(|it| it.lasts));
    let replaced = sorted(struck.iter().map(|it| it.replaced));
    let (worst, longest) = (at(&dips, 100), at(&lasts, 100));
    let (start, ready) = (terms.start.p95, terms.boot.p95);
    let kind = format!("{notice} s notice, {}", if spare == 0 { "no headroom" } else { "N+1" });
    match (notice, spare) {
        (120, 1) => {
            book.note(format!("{kind}: survived"), unhurt, (Bar::AtLeast, 100.0), " %");
        }
        (120, _) => {
            book.note(format!("{kind}: longest dip"), longest, (Bar::AtMost, start), " s");
        }
        (_, 1) => {
            book.note(
                format!("{kind}: to N again, p95"),
                at(&lasts, 95),
                (Bar::AtMost, start),
                " s",
            );
            book.note(format!("{kind}: worst dip"), worst, (Bar::AtMost, f64::from(terms.fit)), "");
        }
        (_, _) => {
            book.note(format!("{kind}: worst dip"), worst, (Bar::AtMost, f64::from(terms.fit)), "");
        }
    }
    // All pods of a node are replaced when the slowest of them is Ready.
    let slowest = terms.start.slowest(terms.fit);
    let bar = if spare == 0 { ready + 5.0 } else { slowest + 2.0 };
    if notice == 120 {
        book.note(format!("{kind}: replaced, p95"), at(&replaced, 95), (Bar::AtMost, bar), " s");
    }
    Ok(format!(
        "{kind}: {} interruptions, {unhurt:.1} % survived with all N Ready; dip worst {worst}, lasting p95 {} s, longest {longest} s; replaced p50 {} s, p95 {} s",
        struck.len(),
        at(&lasts, 95),
        at(&replaced, 50),
        at(&replaced, 95),
    ))
}

/// One interruption.
struct Struck {
    /// Most replicas fewer Ready than are needed, and for how many seconds there were fewer.
    dip: u32,
    lasts: u32,
    /// Seconds from the news until as many are Ready on nodes that stay as are needed.
    replaced: u32,
}

impl Struck {
    /// What came of the one at this second; `None` when no pods stood on a node to take.
    fn of(log: &Log, at: u32) -> Option<Self> {
        let from = at as usize;
        let ticks = log.ticks.get(from..from + APART as usize - 1)?;
        let is_hit = log
            .events
            .iter()
            .any(|(when, event)| *when == at && matches!(event, Event::Told { .. }));
        if !is_hit {
            return None;
        }
        let ready = |tick: &Tick| tick.ready[0] + tick.ready[1];
        let lacking = |tick: &Tick| tick.need.saturating_sub(ready(tick));
        let stays = |tick: &&Tick| tick.need <= ready(tick) - tick.doomed;
        let replaced = ticks.iter().position(|tick| stays(&tick)).unwrap_or(ticks.len());
        Some(Self {
            dip: ticks.iter().map(lacking).max()?,
            lasts: small(ticks.iter().filter(|tick| 0 < lacking(tick)).count()),
            replaced: small(replaced),
        })
    }
}

/// All of spot goes, is not to be had for a while, and comes back.
fn outages(is_told: bool, book: &mut Book) -> Result<String> {
    let terms = Terms { is_told, ..Terms::default() };
    let count = ROUNDS * small(OUTAGES.len());
    let outages: Vec<(u32, u32)> = (0..count)
        .zip(OUTAGES.iter().cycle())
        .map(|(number, minutes)| (FIRST + number * CYCLE, FIRST + number * CYCLE + minutes * 60))
        .collect();
    let steps = outages.iter().flat_map(|&(from, to)| [(from, 0), (to, 8)]);
    let weather = Weather::of(vec![std::iter::once((0, 8)).chain(steps).collect()]);
    let (run, log) = run(&terms, &weather, FIRST + count * CYCLE, 1)?;
    let kind = if is_told { "told" } else { "not told" };
    let back = sorted(outages.iter().map(|&(_, to)| returned(&log, to)));
    book.note(
        format!("spot out and back, {kind}: return, longest"),
        at(&back, 100) / 60.0,
        (Bar::AtMost, 15.0),
        " min",
    );
    let hours = f64::from(small(log.ticks.len())) / 3600.0;
    let flaps = f64::from(left(&log)) - f64::from(count);
    book.note(
        format!("spot out and back, {kind}: flaps"),
        flaps.max(0.0) / hours,
        (Bar::AtMost, 1.0),
        " /h",
    );
    book.note(
        format!("spot out and back, {kind}: on time"),
        100.0 * (1.0 - run.score.late_share),
        (Bar::AtLeast, 99.0),
        " %",
    );
    let waits = if is_told { hard(&log) } else { soft(&log) };
    book.note(
        if is_told {
            "fallback after hard evidence, p99".to_owned()
        } else {
            "fallback after a wait, beyond the wait, p99".to_owned()
        },
        at(&waits, 99),
        (Bar::AtMost, 2.0),
        " s",
    );
    Ok(format!(
        "spot out {count} times for {OUTAGES:?} min, {kind}: {} signs, fallback after p99 {} s; back after p50 {:.1} min, longest {:.1} min; spot distrusted {} times",
        waits.len(),
        at(&waits, 99),
        at(&back, 50) / 60.0,
        at(&back, 100) / 60.0,
        left(&log),
    ))
}

/// Seconds from the word that there is no capacity, while spot was trusted, until all that lacks is asked of the other lane.
fn hard(log: &Log) -> Vec<f64> {
    let said = log.events.iter().filter(|(_, event)| *event == Event::Refused);
    let signs = said.map(|(at, _)| *at).filter(|at| is_trusted(log, *at));
    sorted(signs.map(|at| carried(log, at)))
}

/// The same from when a pod had waited for as long as nodes are given.
fn soft(log: &Log) -> Vec<f64> {
    let mut found = Vec::new();
    let mut before = PoolState::Unknown;
    for &(at, event) in &log.events {
        let Event::Believed { state, waited, boot } = event else { continue };
        let is_trusted = matches!(before, PoolState::Unknown | PoolState::Available);
        if is_trusted
            && state == PoolState::Constrained
            && let Some(waited) = waited
        {
            // docs/lanes.md: 1.2 times as long as nodes take, from 30 s to 5 min; a minute while none was seen.
            let given = boot.map_or(60.0, |boot| (1.2 * f64::from(boot)).clamp(30.0, 300.0));
            found.push((f64::from(waited) - given).max(0.0) + f64::from(carried(log, at)));
        }
        before = state;
    }
    found.sort_by(f64::total_cmp);
    found
}

/// Was spot trusted just before this second?
fn is_trusted(log: &Log, at: u32) -> bool {
    let states = log.events.iter().take_while(|(when, _)| *when < at);
    let last = states.filter_map(|(_, event)| match event {
        Event::Believed { state, .. } => Some(*state),
        Event::Told { .. } | Event::Lost { .. } | Event::Refused => None,
    });
    matches!(last.last(), None | Some(PoolState::Unknown | PoolState::Available))
}

/// Seconds from one on until the lane on demand is asked for all that spot lacks.
fn carried(log: &Log, at: u32) -> u32 {
    let lacks = |tick: &Tick| {
        let stays = tick.ready[1].saturating_sub(tick.doomed);
        tick.desired[0] + stays < tick.need
    };
    small(log.ticks.iter().skip(at as usize).take_while(|tick| lacks(tick)).count())
}

/// Times that spot was no longer trusted.
pub(crate) fn left(log: &Log) -> u32 {
    let states = log.events.iter().filter_map(|(_, event)| match event {
        Event::Believed { state, .. } => Some(*state),
        Event::Told { .. } | Event::Lost { .. } | Event::Refused => None,
    });
    let states: Vec<_> = states.collect();
    let is_left =
        |pair: &&[PoolState]| pair[0] == PoolState::Available && pair[1] != PoolState::Available;
    small(states.windows(2).filter(is_left).count())
}

/// Seconds from the end of an outage until every lane has its share, all of it Ready.
fn returned(log: &Log, to: u32) -> u32 {
    let is_back = |tick: &Tick| {
        let spot = tick.need - SPLIT.base;
        tick.desired == [SPLIT.base, spot] && spot <= tick.ready[1]
    };
    let after = log.ticks.iter().skip(to as usize);
    small(after.take_while(|tick| !is_back(tick)).count())
}

fn run(terms: &Terms, weather: &Weather, duration: u32, seed: u64) -> Result<(Run, Log)> {
    let scenario = SPLIT.of(&patterns::steady(duration)?, terms, weather);
    Ok(followed(&scenario, &mut Penstock::new(&scenario), seed))
}

fn sorted(values: impl Iterator<Item = u32>) -> Vec<f64> {
    let mut values: Vec<u32> = values.collect();
    values.sort_unstable();
    values.into_iter().map(f64::from).collect()
}

/// The value that so many of a hundred do not exceed; not a number where there is none.
fn at(sorted: &[f64], hundredths: usize) -> f64 {
    let place = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn number(count: usize) -> f64 {
    f64::from(small(count))
}
