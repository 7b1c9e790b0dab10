//! Single events, many times over, at twelve replicas: nodes of spot that are taken, spot that is not to be had and comes back. Each trial looks at
//! what a run wrote down second by second. Used by `main`.

use anyhow::{Context, Result};
use penstock::decide::PoolState;
use penstock::simulate::nodes::{Event, Log, Split, Terms, Tick, Weather, followed};
use penstock::simulate::{Penstock, Run, Scenario};

use crate::book::{Bar, Book};
use crate::patterns::{self, DAY, Room, SPLIT};

/// Interruptions of each kind, and seconds between two.
const STRIKES: u32 = 200;
const APART: u32 = 1800;
/// Outages of spot in minutes, over and over, and seconds from one to the next.
const OUTAGES: [u32; 6] = [3, 10, 20, 40, 90, 180];
const ROUNDS: u32 = 5;
const CYCLE: u32 = 5 * 3600;
/// Worlds of each ramp, and all of a stage on demand.
const SEEDS: u32 = 3;
const KEPT: Split = Split { base: 60, share: 0 };
/// The first event, when all is at rest.
const FIRST: u32 = 2 * 3600;

/// All trials of Penstock; prints what was seen and notes it beside its target.
pub(crate) fn trials(book: &mut Book) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for notice in [120, 30] {
        for room in [Room::Own, Room::Spare, Room::Nobody] {
            told.push(interruptions(notice, room, book)?);
        }
    }
    told.push(outages(true, book)?);
    told.push(outages(false, book)?);
    for ramp in &RAMPS {
        told.push(ramps(ramp, book)?);
    }
    Ok(told)
}

/// Nodes are taken one at a time, with room for others.
fn interruptions(notice: u32, room: Room, book: &mut Book) -> Result<String> {
    let spare = u32::from(room == Room::Spare);
    let terms = Terms { notice, spare, ..Terms::default() };
    let strikes: Vec<u32> = (0..STRIKES).map(|number| FIRST + number * APART).collect();
    let duration = FIRST + STRIKES * APART;
    let weather = Weather::of(vec![vec![(0, 64)]]).striking(strikes.clone());
    let (run, log) = run(&terms, &weather, &patterns::steady(duration, room)?);
    let struck: Vec<Struck> = strikes.iter().filter_map(|&at| Struck::of(&log, at)).collect();
    let survived = struck.iter().filter(|it| it.dip == 0).count();
    let unhurt = 100.0 * number(survived) / number(struck.len());
    let dips = sorted(struck.iter().map(|it| it.dip));
    let lasts = sorted(struck.iter().map(|it| it.lasts));
    let replaced = sorted(struck.iter().map(|it| it.replaced));
    let (worst, longest) = (at(&dips, 100), at(&lasts, 100));
    let (start, ready) = (terms.start.p95, terms.boot.p95);
    let kept = match room {
        Room::Nobody => "no headroom",
        Room::Spare => "N+1",
        Room::Own => "headroom",
    };
    let kind = format!("{notice} s notice, {kept}");
    let (judged, all) = (number(struck.len()), f64::from(STRIKES));
    book.note(format!("{kind}: interruptions judged"), judged, (Bar::AtLeast, all), "");
    match (notice, room) {
        (120, Room::Spare | Room::Own) => {
            book.note(format!("{kind}: survived"), unhurt, (Bar::AtLeast, 100.0), " %");
        }
        (120, Room::Nobody) => {
            book.note(format!("{kind}: longest dip"), longest, (Bar::AtMost, start), " s");
        }
        (_, Room::Spare | Room::Own) => {
            book.note(
                format!("{kind}: to N again, p95"),
                at(&lasts, 95),
                (Bar::AtMost, start),
                " s",
            );
            book.note(format!("{kind}: worst dip"), worst, (Bar::AtMost, f64::from(terms.fit)), "");
        }
        (_, Room::Nobody) => {
            book.note(format!("{kind}: worst dip"), worst, (Bar::AtMost, f64::from(terms.fit)), "");
        }
    }
    // All pods of a node are replaced when the slowest of them is Ready.
    let slowest = terms.start.slowest(terms.fit);
    let bar = if room == Room::Nobody { ready + 5.0 } else { slowest + 2.0 };
    if notice == 120 {
        book.note(format!("{kind}: replaced, p95"), at(&replaced, 95), (Bar::AtMost, bar), " s");
    }
    Ok(format!(
        "{kind}: {} interruptions, {unhurt:.1} % survived with all N Ready; dip worst {worst}, lasting p95 {} s, longest {longest} s; replaced p50 {} s, p95 {} s; cost {:.1} a day",
        struck.len(),
        at(&lasts, 95),
        at(&replaced, 50),
        at(&replaced, 95),
        run.nodes.map_or(f64::NAN, |nodes| nodes.cost) * 86_400.0 / f64::from(duration - 3600),
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
    let steady = patterns::steady(FIRST + count * CYCLE, Room::Nobody)?;
    let (run, log) = run(&terms, &weather, &steady);
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
        100.0 * (1.0 - run.score.late_share.unwrap_or(f64::NAN)),
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

/// More is asked for at certain hours, day by day: with headroom and without.
struct Ramp {
    name: &'static str,
    of: fn(Room, (u32, u32)) -> Result<Scenario>,
    /// Days played, and of these the first ones, which are not looked at.
    days: (u32, u32),
    /// From which seconds of a day, and for how many.
    from: &'static [u32],
    lasts: u32,
}

const RAMPS: [Ramp; 2] = [
    Ramp {
        name: "a climb that is known",
        of: patterns::climbing,
        days: (11, 8),
        from: &[18_000, 61_200],
        lasts: 4500,
    },
    Ramp { name: "a schedule", of: patterns::opening, days: (6, 1), from: &[28_800], lasts: 900 },
];

fn ramps(ramp: &Ramp, book: &mut Book) -> Result<String> {
    let (name, days) = (ramp.name, ramp.days);
    let mut told = vec![format!("{name}, {SEEDS} seeds of {} days", days.0 - days.1)];
    let mut costs = Vec::new();
    for room in [Room::Own, Room::Nobody] {
        let plain = (ramp.of)(room, days)?;
        let scenario = KEPT.of(&plain, &Terms::default(), &Weather::of(vec![vec![(0, 0)]]));
        let (mut waited, mut share, mut cost) = (0, 0.0_f64, 0.0);
        for (run, log) in seeds(&scenario)? {
            let nodes = run.nodes.context("nobody reckoned what nodes cost")?;
            let is_looked_at = |second: &u32| {
                let of_day = second % DAY;
                days.1 * DAY <= *second
                    && ramp.from.iter().any(|from| (*from..from + ramp.lasts).contains(&of_day))
            };
            let each = (0..).zip(&log.ticks).filter(|(second, _)| is_looked_at(second));
            waited += each.map(|(_, tick)| tick.waited).sum::<u32>();
            share = share.max(100.0 * nodes.room_share);
            cost += nodes.cost;
        }
        let with = if room == Room::Own { "headroom" } else { "none" };
        told.push(format!(
            "{with}: {waited} pods found no node, {share:.1} % of the cost for room, cost {cost:.1}"
        ));
        costs.push(cost);
        if room == Room::Own {
            let waited = f64::from(waited);
            book.note(format!("{name}: pods without a node"), waited, (Bar::AtMost, 0.0), "");
        }
    }
    if let [own, none] = costs[..] {
        let adds = 100.0 * (own / none - 1.0);
        book.note(
            format!("{name}: what headroom adds to the cost"),
            adds,
            (Bar::AtMost, 10.0),
            " %",
        );
    }
    Ok(told.join("; "))
}

/// A scenario with each seed, all at once.
fn seeds(scenario: &Scenario) -> Result<Vec<(Run, Log)>> {
    let play = |seed: u32| followed(scenario, &mut Penstock::new(scenario), seed.into());
    std::thread::scope(|scope| {
        let all: Vec<_> = (1..=SEEDS).map(|seed| scope.spawn(move || play(seed))).collect();
        let ended = all.into_iter().map(|one| one.join().ok());
        ended.collect::<Option<_>>().context("a run has panicked")
    })
}

fn run(terms: &Terms, weather: &Weather, scenario: &Scenario) -> (Run, Log) {
    let scenario = SPLIT.of(scenario, terms, weather);
    followed(&scenario, &mut Penstock::new(&scenario), 1)
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
