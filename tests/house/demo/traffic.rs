//! Producers and consumers on librdkafka's mock: real clients, real time, pods that a script says are Ready.

use std::sync::Arc;
use std::time::Duration;

use penstock::demo::traffic::{Broker, Consumers, Ledger, Load, Pods, Producer, Work};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::secs;
use crate::script;

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
