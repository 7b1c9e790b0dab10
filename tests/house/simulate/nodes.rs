//! Nodes in the simulator: the same seed gives the same world, pods stand on nodes that are there, what is paid is node-time, a notice is kept, and the
//! bound is below all who are in time.

use penstock::simulate::nodes::{
    AllOnDemand, AllSpot, Event, FixedShare, Ground, LANES, Log, PRICES, Region, Ruled, SkyServe,
    Spell, Split, Terms, Tick, Weather, bound, followed,
};
use penstock::simulate::{Penstock, Pilot, Run, Scenario, work};

const HOURS: u32 = 4;
const SPLIT: Split = Split { base: 2, share: 100 };
const DELAY: f64 = 180.0;

fn scenario() -> Scenario {
    let rest = format!(
        "workload: {{diurnal: {{low: 0.5}}, peakReplicas: 12}}\nworld: {{rate: 100}}\nduration: {HOURS}h\nwarmup: 1h"
    );
    let text = super::PLAIN.replace("60s", "180s").replace("min: 0", "min: 2") + &rest;
    Scenario::read(&text, std::path::Path::new(".")).unwrap()
}

/// Spot that comes and goes several times in these hours.
fn weather(seed: u64) -> Weather {
    let zones = vec![0.6, 0.5];
    let region = Region { zones, correlation: 0.4, region_lasts: 5400.0, zone_lasts: 2700.0 };
    Weather::draw(&[region], 6, HOURS * 3600, seed)
}

fn pilots(on: &Scenario) -> Vec<Box<dyn Pilot>> {
    vec![
        Box::new(Ruled::new(AllOnDemand, on)),
        Box::new(Ruled::new(AllSpot, on)),
        Box::new(Ruled::new(FixedShare { base: 2, share: 70 }, on)),
        Box::new(Ruled::new(SkyServe { base: 2, extra: 2 }, on)),
        Box::new(Penstock::new(on)),
    ]
}

/// That a pod stands on a node that is there, and no node has more pods than fit, the world itself asserts in every second.
fn penstock(terms: &Terms, weather: &Weather, seed: u64) -> (Run, Log) {
    let on = SPLIT.of(&scenario(), terms, weather);
    followed(&on, &mut Penstock::new(&on), seed)
}

#[test]
fn a_seed_gives_the_same_world_and_another_gives_another() {
    let terms = Terms::default();
    let (one, log) = penstock(&terms, &weather(1), 1);
    let (again, same) = penstock(&terms, &weather(1), 1);
    let told = |run: &Run| serde_json::to_string(run).unwrap();
    assert_eq!((told(&one), &log), (told(&again), &same));
    assert_ne!(log, penstock(&terms, &weather(1), 2).1, "other boots and other load");
    assert_ne!(weather(1), weather(2));
}

#[test]
fn what_is_paid_is_the_time_of_nodes_at_their_price() {
    let terms = Terms::default();
    let on = SPLIT.of(&scenario(), &terms, &weather(3));
    for mut pilot in pilots(&on) {
        let (run, log) = followed(&on, &mut *pilot, 3);
        let nodes = run.nodes.unwrap();
        let mut cost = 0.0;
        for (pool, price) in PRICES.into_iter().enumerate() {
            let scored = log.ticks.iter().skip(3600);
            let hours: u32 = scored.map(|tick| tick.nodes[pool]).sum();
            cost += f64::from(hours) / 3600.0 * price;
            assert_eq!(nodes.pools[pool].pool, LANES[pool]);
        }
        assert!((nodes.cost - cost).abs() < 1e-6, "{}: {} and {cost}", run.policy, nodes.cost);
        for tick in &log.ticks {
            for (ready, nodes) in tick.ready.into_iter().zip(tick.nodes) {
                assert!(ready <= nodes * terms.fit, "{}: {tick:?}", run.policy);
            }
        }
    }
}

#[test]
fn a_node_goes_when_its_notice_is_over_and_not_before() {
    for notice in [30, 120] {
        let terms = Terms { notice, ..Terms::default() };
        let strikes: Vec<u32> = (4..HOURS * 2).map(|half| half * 1800).collect();
        let weather = Weather::of(vec![vec![(0, 32)]]).striking(strikes.clone());
        let (run, log) = penstock(&terms, &weather, 1);
        let told: Vec<u32> = log
            .events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Told { .. }))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(told, strikes);
        let all: u32 = log.events.iter().filter(|(at, _)| 3600 <= *at).map(|it| gone(it.1)).sum();
        let a_day = f64::from(all) / f64::from(HOURS - 1) * 24.0;
        assert!((run.nodes.unwrap().lost_per_day - a_day).abs() < 1e-6, "{a_day}");
        let lost = log.events.iter().filter(|(_, event)| matches!(event, Event::Lost { .. }));
        let lost: Vec<u32> = lost.map(|(at, _)| *at).collect();
        assert!(!lost.is_empty());
        assert!(lost.iter().all(|at| told.contains(&(at - notice))), "{told:?} {lost:?}");
    }
}

/// Pods that went with their node.
fn gone(event: Event) -> u32 {
    if let Event::Lost { pods } = event { pods } else { 0 }
}

#[test]
fn without_room_there_is_no_spot_and_it_is_said() {
    let terms = Terms::default();
    let dry = Weather::of(vec![vec![(0, 0)]]);
    let refused = |log: &Log| log.events.iter().any(|(_, event)| *event == Event::Refused);
    let (run, log) = penstock(&terms, &dry, 1);
    assert!(log.ticks.iter().all(|tick| tick.nodes[1] == 0 && tick.ready[1] == 0));
    assert!(refused(&log) && run.score.late_share.unwrap() < 0.01, "{:?}", run.score);
    let untold = Terms { is_told: false, ..terms };
    assert!(!refused(&penstock(&untold, &dry, 1).1));
}

#[test]
fn the_bound_is_below_everyone_who_is_in_time_and_above_the_work() {
    let terms = Terms::default();
    let plain = scenario();
    for seed in [1] {
        let work = work(&plain, seed).remove(0);
        let ground = Ground {
            deadline: DELAY,
            fit: [terms.fit; 2],
            most: [8; 2],
            base: 0,
            per_start: terms.boot.least() + terms.start.least(),
            grace: terms.grace(),
            prices: PRICES,
        };
        let least = bound(&work[3600..], &weather(seed).from(3600), &ground).unwrap();
        let floor = work[3600..].iter().sum::<f64>() / f64::from(terms.fit) / 3600.0 * PRICES[1];
        assert!(floor < least, "{floor} and {least}");
        let mut in_time = 0;
        let on = SPLIT.of(&plain, &terms, &weather(seed));
        for mut pilot in pilots(&on) {
            let (run, _) = followed(&on, &mut *pilot, seed);
            let cost = run.nodes.unwrap().cost;
            if run.score.late_share.unwrap() <= 0.0 {
                in_time += 1;
                assert!(least < cost, "{}: {cost} below {least}", run.policy);
            }
        }
        assert!(0 < in_time, "nobody was in time: this compares nothing");
    }
}

#[test]
fn penstock_keeps_its_base_and_saves() {
    let terms = Terms::default();
    let on = SPLIT.of(&scenario(), &terms, &weather(1));
    let (kept, _) = followed(&on, &mut Ruled::new(AllOnDemand, &on), 1);
    let (own, log) = followed(&on, &mut Penstock::new(&on), 1);
    let [kept, cost] = [&kept, &own].map(|run| run.nodes.as_ref().unwrap().cost);
    assert!(cost < 0.9 * kept, "{cost} beside {kept}");
    assert!(log.ticks.iter().all(|tick| SPLIT.base <= tick.desired[0]));
    // A pod of the base may crash, as any pod may: it is back once it has started anew, on the node it was on.
    let lacks = |tick: &Tick| tick.ready[0] < SPLIT.base;
    let longest = log.ticks.chunk_by(|one, other| lacks(one) == lacks(other));
    let longest = longest.filter(|chunk| lacks(&chunk[0])).map(<[Tick]>::len).max();
    assert!(longest.is_none_or(|seconds| seconds <= 60), "{longest:?} s without the base");
    assert!(own.score.late_share.unwrap() < 0.01, "{}", own.score.late_share.unwrap());
}

/// The stage with so much in the manifest besides, on nodes and pods that all take as long.
fn keeping(more: &str, split: Split, terms: &Terms, weather: &Weather) -> Scenario {
    let rest = format!(
        "workload: {{steady: {{}}, peakReplicas: 8}}\nworld: {{rate: 100}}\nduration: {HOURS}h\nwarmup: 1h"
    );
    let more = format!("replicas: {{min: 10, max: 40}}\n      {more}");
    let text = super::PLAIN.replace("replicas: {min: 0, max: 60}", &more) + &rest;
    let plain = Scenario::read(&text, std::path::Path::new(".")).unwrap();
    split.of(&plain, terms, weather)
}

const HEADROOM: &str = "capacity: {headroom: {mode: Auto}}";
const ALL_KEPT: Split = Split { base: 60, share: 0 };

fn even() -> Terms {
    let (boot, start) = (Spell { p50: 90.0, p95: 90.0 }, Spell { p50: 15.0, p95: 15.0 });
    Terms { boot, start, ..Terms::default() }
}

fn play(on: &Scenario) -> (Run, Log) {
    followed(on, &mut Penstock::new(on), 1)
}

#[test]
fn what_a_schedule_asks_for_finds_the_room_that_was_kept_for_it() {
    let schedule = r#"schedules: [{name: two, start: "0 2 * * *", end: "0 3 * * *", timeZone: UTC, replicas: {min: 24}}]"#;
    let on = |headroom: &str| {
        keeping(&format!("{headroom}\n      {schedule}"), ALL_KEPT, &even(), &Weather::default())
    };
    let (with, log) = play(&on(HEADROOM));
    let (without, bare) = play(&on(""));
    let scored = |log: &Log| log.ticks[3600..].to_vec();
    assert!(scored(&log).iter().all(|tick| tick.waited == 0), "who came late found no place");
    assert!(scored(&bare).iter().any(|tick| 8 <= tick.waited), "there is nothing to foresee");
    let [with, without] = [with, without].map(|run| run.nodes.unwrap());
    assert!(with.waited_per_day <= 0.0 && 0.0 < without.waited_per_day);
    assert!(without.room <= 0.0 && without.room_share <= 0.0);
    // All of it is there before two, is filled at two, and is not asked for again: not even when the schedule ends.
    let room = |log: &Log, at: usize| log.ticks[at].room[0];
    let all = room(&log, 7190) + log.ticks[7190].desired[0];
    assert_eq!((all, room(&log, 7230), room(&log, 14_000)), (24, 0, 0));
    let first = log.ticks.iter().position(|tick| 0 < tick.room[0]).unwrap();
    assert!((6600..7110).contains(&first), "{first}");
    // Four places are a node.
    let hours: f64 = log.ticks[3600..].iter().map(|tick| f64::from(tick.room[0]) / 4.0).sum();
    assert!((with.pools[0].room_cost - hours / 3600.0 * PRICES[0]).abs() < 1e-6, "{hours}");
    assert!((with.room_share - with.pools[0].room_cost / with.cost).abs() < 1e-9);
}

#[test]
fn pods_of_a_node_that_goes_push_out_the_room_that_was_kept_for_them() {
    // Nobody moves pods besides.
    let terms = Terms { notice: 30, repack: 0, ..even() };
    let strikes: Vec<u32> = (4..HOURS * 2).map(|half| half * 1800).collect();
    let weather = Weather::of(vec![vec![(0, 32)]]).striking(strikes.clone());
    let (run, log) = play(&keeping(HEADROOM, SPLIT, &terms, &weather));
    let (_, bare) = play(&keeping("", SPLIT, &terms, &weather));
    let lacks = |tick: &Tick| tick.need.saturating_sub(tick.ready[0] + tick.ready[1]);
    let mut hit = 0;
    for at in strikes.into_iter().map(|at| at as usize) {
        hit += u32::from(0 < log.ticks[at].doomed);
        let before = log.ticks[at - 1];
        assert!(before.room[1] >= 4, "as many as stand on a node: {before:?}");
        // One may start meanwhile because more has come.
        assert!(log.ticks[at..at + 5].iter().all(|tick| tick.waited == 0), "{at}");
        assert!(log.ticks[at..at + 120].iter().all(|tick| lacks(tick) <= 1), "{at}");
    }
    assert!(2 <= hit, "{hit} of the nodes that went had pods");
    assert!(bare.ticks.iter().any(|tick| 2 <= lacks(tick)), "without room they would lack");
    let nodes = run.nodes.unwrap();
    assert!(nodes.missed_per_day <= 0.0 && 0.0 < nodes.room_share && nodes.room_share < 0.9);
    assert!(3.0 < nodes.room, "{}", nodes.room);
}

#[test]
fn headroom_that_nothing_asks_for_changes_nothing() {
    let terms = Terms::default();
    let of = |more| play(&keeping(more, ALL_KEPT, &terms, &weather(1)));
    let (kept, log) = of(HEADROOM);
    let (plain, same) = of("");
    assert_eq!(log, same);
    assert_eq!(serde_json::to_string(&kept).unwrap(), serde_json::to_string(&plain).unwrap());
}
