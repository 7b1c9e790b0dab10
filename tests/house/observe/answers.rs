//! What is made of what the brokers say.

use penstock::decide::Observation;
use penstock::observe::kafka::OffsetReset;

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_what_lies_between_commit_and_end() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 3, 1).unwrap();
    produce(&at, "orders", 0, 5).await;
    produce(&at, "orders", 1, 3).await;
    commit(&at, "enrich", &[("orders", 0, 2), ("orders", 1, 3)]).await;

    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    let queue = watcher.until_backlog("p", 3).await;
    assert_eq!(queue.partitions.len(), 3);
    assert_eq!((queue.arrived, queue.served), (Some(8), Some(5)));
    let committed: Vec<_> = queue.partitions.iter().map(|p| p.is_committed).collect();
    assert_eq!(committed, [true, true, false]);

    commit(&at, "enrich", &[("orders", 0, 5)]).await;
    watcher.until_backlog("p", 0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_of_one_group_keep_the_order_asked() {
    let cluster = cluster(2);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("b", 2, 1).unwrap();
    cluster.create_topic("a", 1, 1).unwrap();
    produce(&at, "b", 1, 4).await;
    produce(&at, "a", 0, 2).await;
    commit(&at, "enrich", &[("b", 1, 1), ("a", 0, 1)]).await;

    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["b", "a"], "enrich"))]);
    let queue = watcher.until_backlog("p", 4).await;
    let places: Vec<_> =
        queue.partitions.iter().map(|p| (p.topic, p.id, p.end, p.position)).collect();
    assert_eq!(places, [(0, 0, 0, 0), (0, 1, 4, 1), (1, 0, 2, 1)]);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_commits_counts_by_its_offset_reset() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 2, 1).unwrap();
    produce(&at, "orders", 0, 3).await;
    let mut latest = ask(&["orders"], "new");
    latest.offset_reset = OffsetReset::Latest;
    let mut watcher = Watcher::asking(vec![
        question("earliest", &at, ask(&["orders"], "new")),
        question("latest", &at, latest),
    ]);
    let queue = watcher.until_backlog("earliest", 3).await;
    assert!(queue.partitions.iter().all(|p| !p.is_committed), "{queue:?}");
    assert_eq!(queue.uncommitted, 0);
    // One of the two has something in it that may all be waiting.
    let queue = watcher.until_backlog("latest", 0).await;
    assert!(queue.partitions.iter().all(|p| !p.is_committed), "{queue:?}");
    assert_eq!((queue.uncommitted, queue.arrived), (1, Some(3)));
    // An end that moves is seen all the same, so that it can wake a stage at zero.
    produce(&at, "orders", 1, 1).await;
    watcher.until("latest", |seen| queue_arrived(seen) == Some(4)).await;
    watcher.observe.shutdown().await;
}

fn queue_arrived(seen: &Observation) -> Option<u64> {
    queue(seen).arrived
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_an_error_and_not_zero_and_harms_no_other() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 1).await;
    let mut watcher = Watcher::asking(vec![
        question("good", &at, ask(&["orders"], "enrich")),
        question("bad", &at, ask(&["orders", "typo"], "enrich")),
    ]);
    watcher.until_backlog("good", 1).await;
    let seen = watcher.until("bad", |_| true).await;
    let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
    assert_eq!(&*missing.label, "UnknownTopic");
    assert!(missing.is_lasting);
    assert!(
        missing.message.contains("typo") && missing.message.contains(&at),
        "{}",
        missing.message
    );
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_question_never_shows_its_old_answer() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    cluster.create_topic("other", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    let mut watcher = Watcher::asking(vec![question("p", &at, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 2).await;
    watcher.observe.ask(vec![question("p", &at, ask(&["other"], "enrich"))]);
    assert!(watcher.latest("p").is_none_or(|seen| queue(&seen).backlog == 0));
    watcher.until_backlog("p", 0).await;
    watcher.observe.ask(Vec::new());
    assert_eq!(watcher.latest("p"), None);
    watcher.observe.shutdown().await;
}
