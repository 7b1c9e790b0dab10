//! The demo's parts: load and score by the numbers, producer and consumers on the Kafka of this process.

use std::sync::Arc;
use std::time::Duration;

use penstock::demo::score::{Run, score};
use penstock::demo::traffic::{Broker, Consumers, Item, Ledger, Load, Pods, Producer, Work};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::script;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn item(made: f64, done: impl Into<Option<f64>>) -> Item {
    Item { made: secs(made), done: done.into().map(secs) }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * b.abs().max(1.0)
}

#[test]
fn a_path_is_straight_between_its_points_and_holds_after_the_last() {
    let load = Load::path([(secs(10.0), 0.0), (secs(20.0), 100.0), (secs(20.0), 50.0)]);
    let rates = [5.0, 10.0, 15.0, 20.0, 99.0].map(|at| load.rate(secs(at)));
    let wanted = [0.0, 0.0, 50.0, 50.0, 50.0];
    assert!(rates.iter().zip(wanted).all(|(rate, wanted)| close(*rate, wanted)), "{rates:?}");
    assert!(close(load.made_by(secs(15.0)), 125.0));
    assert!(close(load.made_by(secs(20.0)), 500.0));
    assert!(close(load.made_by(secs(30.0)), 1000.0));
    assert!(close(load.peak(), 100.0));
    assert!(close(Load::steady(7.0).made_by(secs(10.0)), 70.0));
}

#[test]
fn the_story_starts_with_nothing_rises_spikes_and_stops() {
    for seed in 0..50 {
        let load = Load::story(secs(180.0), seed);
        let at = |share: f64| load.rate(secs(180.0 * share));
        assert!(close(at(0.005), 0.0), "seed {seed} begins at {}", at(0.005));
        assert!(at(0.03) > 20.0 && at(0.03) < 60.0, "seed {seed}");
        assert!(at(0.33) > 3.0 * at(0.03), "seed {seed} does not rise");
        assert!(at(0.45) > 1.5 * at(0.33), "seed {seed} does not spike");
        assert!(at(0.60) < at(0.33), "seed {seed} does not calm down");
        assert!(close(at(0.76), 0.0), "seed {seed} does not stop");
        assert!(close(load.made_by(secs(140.0)), load.made_by(secs(9999.0))));
    }
}

#[test]
fn one_seed_tells_one_story_and_a_long_run_tells_it_again_with_other_numbers() {
    let length = secs(540.0);
    assert_eq!(Load::story(length, 7), Load::story(length, 7));
    assert_ne!(Load::story(length, 7), Load::story(length, 8));
    let load = Load::story(length, 7);
    let days = [0.45, 1.45, 2.45].map(|day| load.rate(secs(180.0 * day)));
    assert!(days.iter().all(|rate| *rate > 400.0), "{days:?}");
    assert!(!close(days[0], days[1]) && !close(days[1], days[2]), "{days:?}");
    let first = load.scene(secs(0.0));
    assert_eq!(first, load.scene(secs(180.5)));
    assert!(load.scene(secs(180.0 * 1.45)).contains("Spike"));
}

proptest! {
    #[test]
    fn what_is_made_is_the_area_under_the_rate(seed: u64, from in 0.0..170.0f64) {
        let load = Load::story(secs(180.0), seed);
        let steps = 20_000;
        let width = 10.0 / f64::from(steps);
        let area: f64 = (0..steps).map(|step| load.rate(secs(from + (f64::from(step) + 0.5) * width)) * width).sum();
        let made = load.made_by(secs(from + 10.0)) - load.made_by(secs(from));
        prop_assert!((area - made).abs() < 1.0 + made * 1e-3, "{area} against {made}");
    }
}

#[test]
fn a_run_without_items_is_in_time_and_still_costs() {
    let run = Run {
        length: secs(3600.0),
        objective: secs(30.0),
        items: &[],
        replicas: &[(secs(0.0), 2)],
        peak_replicas: 3,
    };
    let score = score(&run);
    assert!(close(score.items_in_time, 1.0) && close(score.time_in_time, 1.0));
    assert!(close(score.replica_hours, 2.0) && close(score.peak_hours, 3.0));
    assert_eq!((score.items, score.waiting, score.moves), (0, 0, 0));
}

#[test]
fn late_time_counts_once_however_many_items_are_late() {
    // Late from 40 to 50 and from 45 to 60: 20 s of 100; the third is at its limit, the fourth is not done: late from 70 on.
    let items = [item(10.0, 50.0), item(15.0, 60.0), item(20.0, 50.0), item(40.0, None)];
    let run = Run {
        length: secs(100.0),
        objective: secs(30.0),
        items: &items,
        replicas: &[],
        peak_replicas: 0,
    };
    let score = score(&run);
    assert!(close(score.time_in_time, 0.5), "{}", score.time_in_time);
    assert!(close(score.items_in_time, 0.25), "{}", score.items_in_time);
    assert_eq!(
        (score.waiting, score.p50, score.p99, score.max),
        (1, secs(40.0), secs(60.0), secs(60.0))
    );
}

#[test]
fn an_item_still_waiting_within_the_objective_is_not_late() {
    let items = [item(90.0, None)];
    let run = Run {
        length: secs(100.0),
        objective: secs(30.0),
        items: &items,
        replicas: &[],
        peak_replicas: 0,
    };
    let score = score(&run);
    assert!(close(score.items_in_time, 1.0) && close(score.time_in_time, 1.0));
    assert_eq!((score.waiting, score.max), (1, secs(10.0)));
}

#[test]
fn replica_hours_are_the_area_under_the_count_and_moves_its_changes() {
    let replicas = [(secs(900.0), 4), (secs(1800.0), 4), (secs(2700.0), 0), (secs(4000.0), 9)];
    let run = Run {
        length: secs(3600.0),
        objective: secs(30.0),
        items: &[],
        replicas: &replicas,
        peak_replicas: 1,
    };
    let score = score(&run);
    assert!(close(score.replica_hours, 2.0), "{}", score.replica_hours);
    assert_eq!(score.moves, 2);
}

#[test]
fn a_ledger_counts_an_item_once_and_ages_the_oldest() {
    let ledger = Ledger::new(2);
    let numbers = [ledger.make(), ledger.make(), ledger.make()];
    assert!(ledger.done(0, numbers[1]) && !ledger.done(0, numbers[1]));
    assert!(!ledger.done(0, 99), "an item that nobody made");
    assert!(ledger.tally(0).oldest.is_some());
    let first = ledger.tally(0);
    assert_eq!((first.arrived, first.done, first.again), (3, 1, 1));
    assert_eq!(ledger.tally(1).arrived, 1);
    assert!(
        ledger.items().iter().all(|item| item.done.is_none()),
        "only the last stage is the end"
    );
    for number in numbers {
        ledger.done(0, number);
        ledger.done(1, number);
    }
    assert_eq!(ledger.tally(1).oldest, None);
    assert!(ledger.items().iter().all(|item| item.done.is_some_and(|done| done >= item.made)));
}

/// An API server that knows pods only; every change makes watchers list anew.
fn pods() -> (kube::Client, watch::Sender<Vec<&'static str>>) {
    let (set, seen) = watch::channel(Vec::new());
    let (client, _) = script::client(move |asked| {
        let mut seen = seen.clone();
        async move {
            if asked.uri.contains("watch=true") {
                seen.mark_unchanged();
                seen.changed().await?;
                let status = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
                return Ok((200, json!({"type": "ERROR", "object": status})));
            }
            let items: Vec<Value> = seen.borrow().iter().map(|name| json!({
                "metadata": {"name": name, "namespace": "shop", "uid": name},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            })).collect();
            Ok((
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}),
            ))
        }
    });
    (client, set)
}

async fn until(what: &str, limit: f64, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < secs(limit), "{what}: not within {limit} s");
        sleep(secs(0.02)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ready_pod_has_a_consumer_and_no_item_is_lost_over_rebalances() {
    let broker = Broker::start(&[("orders", 12)]).unwrap();
    let ledger = Arc::new(Ledger::new(1));
    let producer =
        Producer::start(&broker.kafka(), "orders", Load::steady(0.0), Arc::clone(&ledger)).unwrap();
    let (client, pods) = pods();
    let of = Pods { namespace: "shop".into(), selector: "app=enrich".into() };
    let work = Work::on("orders", "enrich", 100.0);
    let consumers =
        Consumers::start(client, of, broker.kafka(), work, Arc::clone(&ledger)).unwrap();
    let done = || ledger.tally(0).done;

    producer.add(1500);
    until("sent", 5.0, || producer.confirmed() == 1500).await;
    assert_eq!(done(), 0, "nobody works without a pod");

    pods.send(vec!["a"]).unwrap();
    until("the first pod works", 20.0, || done() > 0).await;
    let (before, took) = (done(), until("one pod has done 200 more", 20.0, || done() > 200).await);
    let rate = f64::from(u32::try_from(200 - before).unwrap()) / took.as_secs_f64();
    assert!((80.0..120.0).contains(&rate), "one pod at 100 items/s does {rate}");

    pods.send(vec!["a", "b", "c"]).unwrap();
    until("all share the partitions", 30.0, || consumers.counts().assignments >= 12 + 8).await;
    until("all is done", 30.0, || done() == 1500).await;
    assert_eq!(consumers.counts().fault, None);

    pods.send(vec![]).unwrap();
    until("nobody works", 5.0, || consumers.counts().consumers == 0).await;
    consumers.stop().await;
    producer.stop().await;
    let items = ledger.items();
    assert_eq!(items.len(), 1500);
    assert!(items.iter().all(|item| item.done.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_passed_on_keep_their_number_through_two_stages() {
    let broker = Broker::start(&[("raw", 4), ("parsed", 4)]).unwrap();
    let ledger = Arc::new(Ledger::new(2));
    let load = Load::steady(100.0);
    let producer = Producer::start(&broker.kafka(), "raw", load, Arc::clone(&ledger)).unwrap();
    let (client, pods) = pods();
    pods.send(vec!["a"]).unwrap();
    let start = |work: Work| {
        let of = Pods { namespace: "shop".into(), selector: "app=any".into() };
        Consumers::start(client.clone(), of, broker.kafka(), work, Arc::clone(&ledger)).unwrap()
    };
    let parse = start(Work { pass_on: Some("parsed".into()), ..Work::on("raw", "parse", 500.0) });
    let enrich = start(Work { stage: 1, ..Work::on("parsed", "enrich", 500.0) });
    until("items reach the end", 30.0, || ledger.tally(1).done >= 300).await;
    producer.stop().await;
    let made = ledger.tally(0).arrived;
    until("all reach the end", 30.0, || ledger.tally(1).done == made).await;
    parse.stop().await;
    enrich.stop().await;
    assert!(ledger.items().iter().all(|item| item.done.is_some_and(|done| done >= item.made)));
}
