//! Who holds which partition: told where it can be had, and nobody's trouble where it cannot.

use penstock::decide::Queue;
use tokio::time::Instant;

use super::broker::{Broker, Crew, Manners, OFFSET_FETCH, assignment};
use super::rig::*;

/// A stable group of these members, each with its partitions of topic `orders`.
fn crew(members: &[(&str, &[i32])]) -> Crew {
    let members = members.iter().map(|(id, held)| ((*id).to_owned(), assignment("orders", held)));
    Crew { error: 0, state: "Stable", members: members.collect() }
}

/// A broker with a topic of four partitions, in which these groups lag.
async fn broker(groups: &[(&str, Crew)]) -> Broker {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 10); 4]);
    for (group, _) in groups {
        for number in 0..4 {
            broker.commit(group, "orders", number, 9);
        }
    }
    let crews = groups.iter().map(|(group, crew)| ((*group).to_owned(), crew.clone()));
    broker.state().crews = Some(crews.collect());
    broker
}

fn watch(broker: &Broker, groups: &[&str]) -> Watcher {
    let of = |group: &&str| question(group, &broker.address, ask(&["orders"], group));
    Watcher::asking(groups.iter().map(of).collect())
}

fn owners(queue: &Queue) -> Vec<Option<u32>> {
    queue.partitions.iter().map(|partition| partition.owner).collect()
}

/// The owners in the reading that comes after several more visits, all of which must bring a good one.
async fn after_visits(watcher: &mut Watcher, name: &str) -> Vec<Option<u32>> {
    for _ in 0..6 {
        watcher.visited().await;
        assert!(watcher.latest(name).unwrap().is_fresh());
    }
    owners(&queue(&watcher.latest(name).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_names_the_consumer_that_holds_it() {
    let broker = broker(&[("enrich", crew(&[("one", &[3, 0]), ("two", &[1])]))]).await;
    let mut watcher = watch(&broker, &["enrich"]);
    let first = owners(&watcher.until_backlog("enrich", 4).await);
    assert_eq!(first, [Some(0), Some(1), None, Some(0)], "in the first reading");
    assert_eq!(after_visits(&mut watcher, "enrich").await, first);
    assert_eq!(broker.state().described.len(), 1, "not at each poll");

    // The next description finds another consumer, which is not taken for one of before.
    let others = crew(&[("two", &[1, 0]), ("three", &[2, 3])]);
    broker.state().crews.as_mut().unwrap().insert("enrich".into(), others);
    let seen = watcher.until("enrich", |seen| owners(&queue(seen)) != first).await;
    assert_eq!(owners(&queue(&seen)), [Some(1), Some(1), Some(2), Some(2)]);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_rebalances_has_no_owners_until_it_is_stable() {
    let stable = crew(&[("one", &[0, 1, 2, 3])]);
    let shaken = Crew { state: "CompletingRebalance", ..stable.clone() };
    let broker = broker(&[("enrich", shaken)]).await;
    let mut watcher = watch(&broker, &["enrich"]);
    assert_eq!(owners(&watcher.until_backlog("enrich", 4).await), [None; 4]);
    broker.state().crews.as_mut().unwrap().insert("enrich".into(), stable);
    let seen = watcher.until("enrich", |seen| owners(&queue(seen)) != [None; 4]).await;
    assert_eq!(owners(&queue(&seen)), [Some(0); 4]);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_describe_groups_is_not_asked_and_keeps_its_connection() {
    let broker = broker(&[("enrich", crew(&[]))]).await;
    broker.state().crews = None;
    // So much that nobody looks into it, which this broker knows no request for either.
    broker.topic("orders", &[(0, 1_109); 4]);
    let mut watcher = watch(&broker, &["enrich"]);
    assert_eq!(owners(&watcher.until_backlog("enrich", 4_400).await), [None; 4]);
    assert_eq!(after_visits(&mut watcher, "enrich").await, [None; 4]);
    assert_eq!(broker.state().described.len(), 0);
    assert_eq!(broker.state().connections, 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_to_describe_groups_is_no_error_and_is_not_asked_for_again_soon() {
    const GROUP_AUTHORIZATION_FAILED: i16 = 30;
    let refused = Crew { error: GROUP_AUTHORIZATION_FAILED, state: "", members: Vec::new() };
    let broker = broker(&[("enrich", refused)]).await;
    let mut watcher = watch(&broker, &["enrich"]);
    assert_eq!(owners(&watcher.until_backlog("enrich", 4).await), [None; 4]);
    assert_eq!(after_visits(&mut watcher, "enrich").await, [None; 4]);
    assert_eq!(broker.state().described.len(), 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_assignment_has_no_owners_and_harms_no_other_group() {
    let mut torn = crew(&[("one", &[0, 1]), ("two", &[2, 3])]);
    torn.members[1].1.truncate(14);
    let mut lying = torn.clone();
    lying.members[1].1 = vec![0, 1, 0x7f, 0xff, 0xff, 0xff];
    let whole = crew(&[("one", &[0, 1, 2, 3])]);
    let broker = broker(&[("torn", torn), ("lying", lying), ("whole", whole)]).await;
    let mut watcher = watch(&broker, &["torn", "lying", "whole"]);
    for (group, expected) in [("torn", None), ("lying", None), ("whole", Some(0))] {
        assert_eq!(owners(&watcher.until_backlog(group, 4).await), [expected; 4], "{group}");
        assert_eq!(after_visits(&mut watcher, group).await, [expected; 4], "{group}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_fails_at_describing_groups_fails_no_reading() {
    for manners in [Manners::HalfAnswers, Manners::NeverAnswers, Manners::HangsUp] {
        let broker = broker(&[("enrich", crew(&[("one", &[0, 1, 2, 3])]))]).await;
        broker.state().manners = manners;
        let start = Instant::now();
        let mut watcher = watch(&broker, &["enrich"]);
        let seen = watcher.until("enrich", |_| true).await;
        assert!(seen.is_fresh() && queue(&seen).backlog == 4, "{seen:?}");
        assert!(start.elapsed().as_millis() < 2_000, "{:?}", start.elapsed());
        assert_eq!(after_visits(&mut watcher, "enrich").await, [None; 4]);
        // Hung up on, it is asked once more through a new connection.
        assert!((1..=2).contains(&broker.state().described.len()));
        watcher.observe.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_group_is_not_described_before_something_moves_in_it() {
    let broker = broker(&[("enrich", crew(&[("one", &[0, 1, 2, 3])]))]).await;
    for number in 0..4 {
        broker.commit("enrich", "orders", number, 10);
    }
    let mut watcher = watch(&broker, &["enrich"]);
    assert_eq!(owners(&watcher.until_backlog("enrich", 0).await), [None; 4]);
    assert_eq!(after_visits(&mut watcher, "enrich").await, [None; 4]);
    watcher.observe.press(&[id("enrich")]);
    let fetches = broker.requests(OFFSET_FETCH);
    assert_eq!(after_visits(&mut watcher, "enrich").await, [None; 4]);
    assert!(broker.requests(OFFSET_FETCH) > fetches, "pressed");
    assert_eq!(broker.state().described.len(), 0, "nothing moved");

    broker.topic("orders", &[(0, 11); 4]);
    for number in 0..4 {
        broker.commit("enrich", "orders", number, 11);
    }
    let seen = watcher.until("enrich", |seen| owners(&queue(seen)) == [Some(0); 4]).await;
    assert_eq!(queue(&seen).backlog, 0, "without ever lagging");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_one_coordinator_are_described_in_one_request() {
    let names = ["a", "b", "c"];
    let broker = broker(&names.map(|name| (name, crew(&[(name, &[0, 1, 2, 3])])))).await;
    let mut watcher = watch(&broker, &names);
    for name in names {
        let seen = watcher.until(name, |seen| owners(&queue(seen)) == [Some(0); 4]).await;
        assert!(seen.is_fresh(), "{name}");
    }
    assert_eq!(broker.state().described, [names.map(str::to_owned)]);
    watcher.observe.shutdown().await;
}
