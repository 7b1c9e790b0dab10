//! The world: the same for the same seed, just to all policies, and true to what can be worked out by hand.

use penstock::simulate::{Run, run, run_whole};

use super::{STILL, plain, scripted};

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1.0)
}

fn told(run: &Run) -> String {
    let stage = &run.stages[0];
    let (series, moves) =
        (serde_json::to_string(&stage.series), serde_json::to_string(&stage.moves));
    format!("{} {} {}", serde_json::to_string(run).unwrap(), series.unwrap(), moves.unwrap())
}

/// Everything that can happen happens.
const EVERYTHING: &str = "
workload: {flash: {every: 1h}, peakReplicas: 12, dispersion: 2}
world:
  rate: 50
  skew: {zipf: 0.5, drift: 1h}
  spread: 0.1
  cold: {lasts: 10s}
  contention: 0.01
  startup: {p50: 30s, p90: 60s}
  nodes: {probability: 0.1}
  lost: {share: 0.05, outageEvery: 2h}
  crashesPerDay: 5
  interruptions: {every: 1h}
  metricDelay: 3s
duration: 4h
";

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let scenario = plain(EVERYTHING);
    let play = |seed| {
        let mut pilot = penstock::simulate::pilot("penstock", &scenario, seed).unwrap();
        told(&run_whole(&scenario, &mut *pilot, seed))
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

#[test]
fn every_policy_meets_the_same_arrivals_and_the_same_lost_readings() {
    let scenario = plain(EVERYTHING);
    let mut few = scripted(|_| 3);
    let mut many = scripted(|at| if at < 3000.0 { 20 } else { 9 });
    run(&scenario, &mut few, 5);
    run(&scenario, &mut many, 5);
    let arrivals = |seen: &[super::Seen]| -> Vec<Option<f64>> {
        seen.iter().map(|seen| seen.arrived).collect()
    };
    assert_eq!(arrivals(&few.seen), arrivals(&many.seen));
    let lost = few.seen.iter().filter(|seen| seen.arrived.is_none()).count();
    assert!((600..4000).contains(&lost), "5 % of 14400 and an outage or two: {lost}");
    let ends =
        |seen: &super::Seen| -> Vec<f64> { seen.partitions.iter().map(|it| it.end).collect() };
    assert!(few.seen.iter().zip(&many.seen).all(|(a, b)| ends(a) == ends(b)));
}

#[test]
fn no_item_is_lost_or_read_twice_whatever_befalls_the_pods() {
    let rest = EVERYTHING.replace("lost: {share: 0.05, outageEvery: 2h}", "sessionTimeout: 30s");
    let scenario = plain(&rest);
    let arrived: f64 = {
        let stage = &scenario.stages[0];
        let workload = stage.workload.as_ref().unwrap();
        workload.arrivals(scenario.duration, stage.ground.rate, 3, 0).iter().sum()
    };
    // Starved for an hour and restless for another; then there is plenty.
    let restless = |at: f64| match at {
        at if at < 3600.0 => 1,
        at if at < 7200.0 => {
            if (at / 50.0).floor() % 2.0 < 1.0 {
                4
            } else {
                17
            }
        }
        _ => 60,
    };
    let mut policy = scripted(restless);
    let run = run(&scenario, &mut policy, 3);
    let last = policy.seen.last().unwrap();
    let waiting: f64 = last.partitions.iter().map(|it| it.end - it.committed).sum();
    let counted = run.score.items;
    assert!(counted <= arrived * (1.0 + 1e-9), "{counted} of {arrived}");
    assert!(arrived - counted <= waiting + 4000.0, "{counted} of {arrived}, {waiting} wait");
    assert!(
        0.2 < run.score.late_share.unwrap(),
        "an hour of one replica: {}",
        run.score.late_share.unwrap()
    );
}

#[test]
fn lateness_is_what_can_be_worked_out_by_hand() {
    // Nobody works until 110 s; then one replica takes 20 a second of which 10 are new. The item read at t came at 2(t - 110), so
    // it is 220 - t old: 110 s at first, none at 220 s. Older than 60 s are those read before 160 s: 50 s of 20.
    let scenario = plain(&format!(
        "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, startup: 10s, rebalance: {{pause: 0s, joinDelay: 0s}}, replicas: 0, {STILL}}}
duration: 300s
"
    ));
    let run = run(&scenario, &mut scripted(|at| u32::from(100.0 <= at)), 1);
    let score = &run.score;
    assert!(near(score.items, 3000.0), "{score:?}");
    assert!((score.late_share.unwrap() - 1000.0 / 3000.0).abs() < 0.01, "{score:?}");
    assert!((score.delay_max - 110.0).abs() <= 1.0, "{score:?}");
    // 800 items are read at once; the others are evenly 0 to 110 s old: the median is 110 (1500 - 800) / 2200 s.
    assert!((score.delay_p50 - 35.0).abs() <= 1.0, "{score:?}");
    assert!(
        (score.late_seconds_per_day.unwrap() - 99.0 * 86_400.0 / 300.0).abs() <= 2.0 * 288.0,
        "{score:?}"
    );
    assert!(near(score.replica_hours, 200.0 / 3600.0), "{score:?}");
    assert!(near(score.work_hours, 150.0 / 3600.0), "{score:?}");
    assert!(near(score.actions_per_day, 288.0), "{score:?}");
}

#[test]
fn what_nobody_reads_counts_as_late() {
    let scenario = plain(&format!(
        "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, replicas: 0, {STILL}}}
duration: 300s
"
    ));
    let run = run(&scenario, &mut scripted(|_| 0), 1);
    assert!(near(run.score.late_share.unwrap(), 1.0), "{:?}", run.score);
    assert!(
        (run.score.items - 2400.0).abs() <= 10.0,
        "those younger than 60 s may yet come in time"
    );
}

#[test]
fn a_rebalance_costs_what_its_pause_keeps_from_being_read() {
    // Ten a second arrive at two replicas, a third joins at 110 s: all stand still for 10 s, or a third of the partitions does.
    let late = |mode: &str| {
        let scenario = plain(&format!(
            "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, startup: 10s, rebalance: {{mode: {mode}, pause: 10s}}, replicas: 2, {STILL}}}
duration: 400s
warmup: 50s
"
        ));
        let run = run(&scenario, &mut scripted(|at| if at < 100.0 { 2 } else { 3 }), 1);
        assert!((run.score.delay_max - 10.0).abs() <= 1.0, "{mode}: {:?}", run.score);
        assert!(near(run.score.items, 3500.0), "{mode}: {:?}", run.score);
        run.score.rebalances_per_day * 350.0 / 86_400.0
    };
    assert!(near(late("Eager"), 1.0));
    assert!(near(late("Cooperative"), 1.0));
}

#[test]
fn an_eager_pause_delays_everyone_and_a_cooperative_one_few() {
    let waited = |mode: &str| {
        let scenario = plain(&format!(
            "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, startup: 10s, rebalance: {{mode: {mode}, pause: 10s}}, replicas: 2, {STILL}}}
duration: 200s
warmup: 50s
"
        ));
        let mut policy = scripted(|at| if at < 100.0 { 2 } else { 3 });
        run(&scenario, &mut policy, 1);
        // What is not committed at the end of the pause: what came in 10 s where the partitions stood still, and commits lag 5 s.
        let seen = policy.seen.iter().find(|seen| seen.at >= 120.0).unwrap();
        let still = seen.partitions.iter().filter(|it| 1.9 < it.end - it.committed).count();
        (still, seen.ready)
    };
    assert_eq!(waited("Eager"), (48, 3));
    assert_eq!(waited("Cooperative"), (16, 3));
}

#[test]
fn departures_of_one_stage_are_arrivals_of_the_next() {
    let text = std::fs::read_to_string("deploy/examples/scenarios/three-stages.yaml").unwrap();
    let text = text.replace("duration: 3d\nwarmup: 1d", "duration: 2h");
    let scenario = penstock::simulate::Scenario::read(&text, "deploy/examples/scenarios".as_ref());
    let scenario = scenario.unwrap();
    let mut pilot = penstock::simulate::pilot("static=48", &scenario, 1).unwrap();
    let run = run_whole(&scenario, &mut *pilot, 1);
    let items: Vec<f64> = run.stages.iter().map(|stage| stage.score.items).collect();
    assert!((items[1] / items[0] - 0.6).abs() < 0.01, "{items:?}");
    assert!((items[2] / items[1] - 1.5).abs() < 0.02, "{items:?}");
    assert!(near(run.score.items, items[2]), "delays are taken where items leave: {:?}", run.score);
    assert!(run.score.delay_p99 < 30.0 && run.score.late_share.unwrap() < 0.01, "{:?}", run.score);
    assert!((scenario.objective().unwrap() - 180.0).abs() < 1e-6);
}

#[test]
fn the_delay_of_a_pipeline_is_that_of_its_stages_together() {
    let text = std::fs::read_to_string("deploy/examples/scenarios/three-stages.yaml").unwrap();
    let text =
        text.replace("duration: 3d\nwarmup: 1d", "duration: 2h").replace("rate: 60,", "rate: 20,");
    let text = text.replace("rate: 400", "rate: 2000").replace("rate: 250", "rate: 2000");
    let scenario = penstock::simulate::Scenario::read(&text, "deploy/examples/scenarios".as_ref());
    let scenario = scenario.unwrap();
    let mut pilot = penstock::simulate::pilot("static=10", &scenario, 1).unwrap();
    let run = run_whole(&scenario, &mut *pilot, 1);
    let of = |at: usize| run.stages[at].score.delay_max;
    assert!(1000.0 < of(1), "the second stage is far too small: {}", of(1));
    assert!(of(0) < 60.0 && of(2) < 60.0, "the others are not: {} {}", of(0), of(2));
    let whole = run.score.delay_max;
    assert!(of(1) * 0.9 < whole && whole < of(0) + of(1) + of(2) + 5.0, "{whole}");
    assert!(0.5 < run.score.late_share.unwrap());
}
