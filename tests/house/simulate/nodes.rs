//! Nodes in the simulator: the same seed gives the same world, pods stand on nodes that are there, what is paid is node-time, a notice is kept, and the
//! bound is below all who are in time.

use std::sync::Arc;

use penstock::crd::CapacityPoolSpec;
use penstock::decide::Pool;
use penstock::simulate::Scenario;
use penstock::simulate::nodes::{
    AllOnDemand, AllSpot, Event, FixedShare, Ground, LANES, OnLanes, Placer, Play, Region, Ruled,
    Run, SkyServe, Split, Terms, Tick, Weather, bound, play, work,
};
use serde_json::json;

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

fn pools() -> [Arc<Pool>; 2] {
    LANES.map(|name| {
        let class = if name == "spot" { "Spot" } else { "OnDemand" };
        let spec = json!({"class": class, "nodeSelector": {"pool": name}});
        let spec: CapacityPoolSpec = serde_json::from_value(spec).unwrap();
        Arc::new(spec.meant(&name.into()))
    })
}

/// Spot that comes and goes several times in these hours.
fn weather(seed: u64) -> Weather {
    let zones = vec![0.6, 0.5];
    let region = Region { zones, correlation: 0.4, region_lasts: 5400.0, zone_lasts: 2700.0 };
    Weather::draw(&[region], 6, HOURS * 3600, seed)
}

fn placers() -> Vec<Box<dyn Placer>> {
    let plain = scenario();
    vec![
        Box::new(Ruled::new(AllOnDemand, &plain)),
        Box::new(Ruled::new(AllSpot, &plain)),
        Box::new(Ruled::new(FixedShare { base: 2, share: 70 }, &plain)),
        Box::new(Ruled::new(SkyServe { base: 2, extra: 2 }, &plain)),
        Box::new(OnLanes::new(&SPLIT.of(&plain))),
    ]
}

/// That a pod stands on a node that is there, and no node has more pods than fit, the world itself asserts in every second.
fn run(placer: &mut dyn Placer, terms: &Terms, weather: &Weather, seed: u64) -> Run {
    let (scenario, pools) = (scenario(), pools());
    play(Play { scenario: &scenario, terms, weather, pools: &pools }, placer, seed)
}

fn penstock(terms: &Terms, weather: &Weather, seed: u64) -> Run {
    run(&mut OnLanes::new(&SPLIT.of(&scenario())), terms, weather, seed)
}

#[test]
fn a_seed_gives_the_same_world_and_another_gives_another() {
    let terms = Terms::default();
    let one = penstock(&terms, &weather(1), 1);
    assert_eq!(one, penstock(&terms, &weather(1), 1));
    assert_ne!(one.ticks, penstock(&terms, &weather(1), 2).ticks, "other boots and other load");
    assert_ne!(weather(1), weather(2));
}

#[test]
fn what_is_paid_is_the_time_of_nodes_at_their_price() {
    let terms = Terms::default();
    for mut placer in placers() {
        let run = run(&mut *placer, &terms, &weather(3), 3);
        let mut cost = 0.0;
        for (pool, price) in terms.prices.into_iter().enumerate() {
            let scored = run.ticks.iter().skip(3600);
            let hours: u32 = scored.map(|tick| tick.nodes[pool]).sum();
            cost += f64::from(hours) / 3600.0 * price;
        }
        assert!((run.cost - cost).abs() < 1e-6, "{}: {} and {cost}", run.policy, run.cost);
        for tick in &run.ticks {
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
        let run = penstock(&terms, &weather, 1);
        let told: Vec<u32> = run
            .events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Told { .. }))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(told, strikes);
        let lost = run.events.iter().filter(|(_, event)| matches!(event, Event::Lost { .. }));
        let lost: Vec<u32> = lost.map(|(at, _)| *at).collect();
        assert!(!lost.is_empty());
        assert!(lost.iter().all(|at| told.contains(&(at - notice))), "{told:?} {lost:?}");
    }
}

#[test]
fn without_room_there_is_no_spot_and_it_is_said() {
    let terms = Terms::default();
    let dry = Weather::of(vec![vec![(0, 0)]]);
    let run = penstock(&terms, &dry, 1);
    assert!(run.ticks.iter().all(|tick| tick.nodes[1] == 0 && tick.ready[1] == 0));
    assert!(!run.refusals.is_empty() && run.late < 0.01, "{} late", run.late);
    let untold = Terms { is_told: false, ..terms };
    assert!(penstock(&untold, &dry, 1).refusals.is_empty());
}

#[test]
fn the_bound_is_below_everyone_who_is_in_time_and_above_the_work() {
    let terms = Terms::default();
    let plain = scenario();
    for seed in [1] {
        let work = work(&plain, seed);
        let ground = Ground {
            deadline: DELAY,
            fit: terms.fit,
            most: 8,
            base: 0,
            per_start: terms.boot.least() + terms.start.least(),
            prices: terms.prices,
        };
        let least = bound(&work[3600..], &weather(seed).from(3600), &ground).unwrap();
        let floor =
            work[3600..].iter().sum::<f64>() / f64::from(terms.fit) / 3600.0 * terms.prices[1];
        assert!(floor < least, "{floor} and {least}");
        let mut in_time = 0;
        for mut placer in placers() {
            let run = run(&mut *placer, &terms, &weather(seed), seed);
            if run.late <= 0.0 {
                in_time += 1;
                assert!(least < run.cost, "{}: {} below {least}", run.policy, run.cost);
            }
        }
        assert!(0 < in_time, "nobody was in time: this compares nothing");
    }
}

#[test]
fn penstock_keeps_its_base_and_saves() {
    let terms = Terms::default();
    let kept = run(&mut Ruled::new(AllOnDemand, &scenario()), &terms, &weather(1), 1);
    let own = penstock(&terms, &weather(1), 1);
    assert!(own.cost < 0.9 * kept.cost, "{} beside {}", own.cost, kept.cost);
    assert!(own.ticks.iter().all(|tick| SPLIT.base <= tick.desired[0]));
    // A pod of the base may crash, as any pod may: it is back once it has started anew, on the node it was on.
    let lacks = |tick: &Tick| tick.ready[0] < SPLIT.base;
    let longest = own.ticks.chunk_by(|one, other| lacks(one) == lacks(other));
    let longest = longest.filter(|chunk| lacks(&chunk[0])).map(<[Tick]>::len).max();
    assert!(longest.is_none_or(|seconds| seconds <= 60), "{longest:?} s without the base");
    assert!(own.late < 0.01, "{}", own.late);
}
