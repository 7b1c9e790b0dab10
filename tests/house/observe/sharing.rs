//! Who shares what with whom, and what is not asked at all.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_one_address_are_asked_in_one_visit() {
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 1).await;
    let mut watcher = Watcher::asking(vec![
        question("a", &at, ask(&["orders"], "one")),
        question("b", &at, ask(&["orders"], "two")),
    ]);
    assert_eq!(watcher.visited().await.len(), 2);
    assert_eq!(watcher.visited().await.len(), 2);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_questions_make_no_connection_and_repeating_them_makes_no_visit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let mut watcher = Watcher::start();
    watcher.observe.ask(Vec::new());
    assert!(tokio::time::timeout(POLL * 3, listener.accept()).await.is_err());

    let asked = question("p", &at, ask(&["orders"], "enrich"));
    for _ in 0..50 {
        watcher.observe.ask(vec![asked.clone()]);
    }
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
    assert!(
        tokio::time::timeout(POLL * 3, listener.accept()).await.is_err(),
        "one connection is enough"
    );
    // Withdrawing the question closes it.
    watcher.observe.ask(Vec::new());
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(watcher.visits_within(POLL * 3).await, 0);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_delays_no_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster(1);
    let at = cluster.bootstrap_servers();
    cluster.create_topic("orders", 1, 1).unwrap();
    produce(&at, "orders", 0, 2).await;
    let hanging = silent.local_addr().unwrap().to_string();
    let mut watcher = Watcher::asking(vec![
        question("hanging", &hanging, ask(&["orders"], "enrich")),
        question("p", &at, ask(&["orders"], "enrich")),
    ]);
    let start = Instant::now();
    watcher.until_backlog("p", 2).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let seen = watcher.until("hanging", |_| true).await;
    assert_eq!(label(&seen), "Timeout");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_groups_are_read_through_one_client() {
    let cluster = cluster(3);
    let at = cluster.bootstrap_servers();
    for number in 0..5 {
        cluster.create_topic(&format!("topic-{number}"), 3, 1).unwrap();
    }
    let of = |number: usize| {
        let (topic, group) = (format!("topic-{}", number % 5), format!("group-{number}"));
        question(&format!("p{number}"), &at, ask(&[&topic], &group))
    };
    let questions = (0..500).map(of).collect();
    produce(&at, "topic-4", 1, 7).await;
    let mut watcher = Watcher::asking(questions);
    watcher.until_backlog("p499", 7).await;
    for number in 0..499 {
        assert!(watcher.latest(&format!("p{number}")).unwrap().is_fresh(), "{number}");
    }
    watcher.observe.shutdown().await;
}
