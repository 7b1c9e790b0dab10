//! What is made of silences, refusals and half answers.

use std::time::Duration;

use penstock::decide::Observation;
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Said};
use tokio::time::Instant;

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_soon_and_with_words() {
    let mut watcher =
        Watcher::asking(vec![question("p", "127.0.0.1:1", ask(&["orders"], "enrich"))]);
    let start = Instant::now();
    let seen = watcher.until("p", |_| true).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
    assert_eq!(&*missing.label, "BrokerUnreachable");
    assert!(missing.message.contains("127.0.0.1:1"), "{}", missing.message);
    assert!(!missing.is_lasting);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_makes_the_reading_stale_and_is_found_again_within_two_polls() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 2).await;

    cluster.broker_down(1).unwrap();
    let down = Instant::now();
    let seen = watcher.until("p", |seen| !seen.is_fresh()).await;
    assert!(down.elapsed() < Duration::from_millis(3500), "{:?}", down.elapsed());
    assert!(matches!(&seen, Observation::Stale(..)), "{seen:?}");
    assert_eq!(label(&seen), "BrokerUnreachable");
    assert_eq!(queue(&seen).backlog, 2);

    cluster.broker_up(1).unwrap();
    let up = Instant::now();
    watcher.until_backlog("p", 2).await;
    assert!(up.elapsed() < POLL * 2 + Duration::from_millis(500), "{:?}", up.elapsed());
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_broker_of_two_leaves_a_partial_reading() {
    let cluster = cluster(2);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 2, 1).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    cluster.partition_leader("orders", 1, Some(2)).unwrap();
    cluster.coordinator(MockCoordinator::Group("enrich".into()), 1).unwrap();
    produce(&at, "orders", 0, 3).await;
    produce(&at, "orders", 1, 5).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 8).await;

    cluster.broker_down(2).unwrap();
    let seen = watcher.until("p", |seen| matches!(seen, Observation::Partial(..))).await;
    let Observation::Partial(_, lost) = &seen else { panic!("{seen:?}") };
    assert_eq!((lost.partitions, lost.of), (1, 2));
    assert_eq!(queue(&seen).backlog, 3);
    assert_eq!(queue(&seen).arrived, None);

    cluster.broker_up(2).unwrap();
    watcher.until_backlog("p", 8).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_moves_is_followed_within_the_visit() {
    let cluster = cluster(2);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 2).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    produce(&at, "orders", 0, 3).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 3).await;
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    for _ in 0..4 {
        watcher.visited().await;
        let seen = watcher.latest("p").unwrap();
        assert!(seen.is_fresh(), "{seen:?}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_died_is_replaced_by_the_one_elected() {
    let cluster = cluster(2);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 2).unwrap();
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    cluster.coordinator(MockCoordinator::Group("enrich".into()), 1).unwrap();
    produce(&at, "orders", 0, 3).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 3).await;
    cluster.broker_down(2).unwrap();
    watcher.until("p", |seen| !seen.is_fresh()).await;
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    watcher.until_backlog("p", 3).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_moves_is_followed_within_the_visit() {
    let cluster = cluster(2);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    commit(&at, "enrich", &[("orders", 0, 1)]).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 1).await;
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[Said::RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
    for _ in 0..4 {
        watcher.visited().await;
        let seen = watcher.latest("p").unwrap();
        assert!(seen.is_fresh(), "{seen:?}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_group_says_what_is_missing() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    let denied = [Said::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 40];
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &denied);
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    let seen = watcher.until("p", |_| true).await;
    let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
    assert_eq!(&*missing.label, "GroupDenied");
    assert!(
        missing.message.contains("enrich") && missing.message.contains("Describe"),
        "{}",
        missing.message
    );
    cluster.clear_request_errors(RDKafkaApiKey::OffsetFetch);
    watcher.until_backlog("p", 2).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_is_late_and_not_zero() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 2).await;
    cluster.broker_round_trip_time(1, Duration::from_secs(8)).unwrap();
    let hung = Instant::now();
    let seen = watcher.until("p", |seen| !seen.is_fresh()).await;
    assert!(hung.elapsed() < Duration::from_secs(5), "{:?}", hung.elapsed());
    assert_eq!(label(&seen), "Timeout");
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    watcher.until_backlog("p", 2).await;
    watcher.observe.shutdown().await;
}
