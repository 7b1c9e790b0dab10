//! Documents beyond the contract: a document is fetched once, a time counts as its age, a path may give too much.

use std::sync::Arc;

use penstock::observe::http::Ask;
use penstock::observe::{Address, Ask as AnyAsk, Credentials, Question, Unit};

use super::contract::Behind;
use super::rig::*;

fn question(server: &Behind, name: &str, path: &str, json_path: &str) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Http(server.address()),
        credentials: Arc::new(Credentials::default()),
        ask: AnyAsk::Http(Ask {
            path: path.to_owned(),
            json_path: json_path.to_owned(),
            unit: Unit::Gauge,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_fetched_once_for_all_that_ask_for_it() {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    let mut watcher = Watcher::asking(vec![
        question(&server, "depth", "jobs", "$.queue.depth"),
        question(&server, "first", "jobs", "$.many[0]"),
        question(&server, "many", "jobs", "$.many[*]"),
        question(&server, "none", "jobs", "$.nothing"),
        question(&server, "gone", "elsewhere", "$"),
    ]);
    assert_eq!(watcher.visited().await.len(), 5);
    assert_eq!(amount(&watcher.latest("depth").unwrap()), Some(7.0));
    assert_eq!(amount(&watcher.latest("first").unwrap()), Some(1.0));
    assert_eq!(label(&watcher.latest("many").unwrap()), "ManyValues");
    assert_eq!(label(&watcher.latest("none").unwrap()), "EmptyAnswer");
    assert_eq!(label(&watcher.latest("gone").unwrap()), "NotFound");
    assert_eq!(server.web.desk().requests, 2);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_counts_as_its_age() {
    let server = Behind::start().await;
    let then = penstock::clock::Clock::start().now() - jiff::SignedDuration::from_mins(10);
    server.web.desk().nonsense = Some((200, format!(r#"{{"at": "{then}"}}"#)));
    let mut watcher = Watcher::asking(vec![question(&server, "age", "", "$.at")]);
    let seen = watcher.until("age", penstock::decide::Observation::is_fresh).await;
    let age = amount(&seen).unwrap();
    assert!((600.0..620.0).contains(&age), "{age}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_cut_between_two_visits_costs_no_reading() {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    let mut watcher = Watcher::asking(vec![question(&server, "a", "jobs", "$.queue.depth")]);
    watcher.until_amount("a", 7.0).await;
    server.line.cut();
    server.line.mend();
    server.web.desk().queues.insert("jobs".to_owned(), 8);
    watcher.until_amount("a", 8.0).await;
    assert_eq!(watcher.observe.polls(&id("a")).unwrap().failed, 0);
    assert_eq!(server.line.calls(), 2, "one line at a time");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_documents_are_fetched_on_four_lines_at_most_visit_after_visit() {
    let server = Behind::start().await;
    let names: Vec<String> = (0..100).map(|number| format!("q{number}")).collect();
    for name in &names {
        server.web.desk().queues.insert(name.clone(), 7);
    }
    let questions = names.iter().map(|name| question(&server, name, name, "$.queue.depth"));
    let mut watcher = Watcher::asking(questions.collect());
    for _ in 0..5 {
        watcher.visited().await;
    }
    assert!(names.iter().all(|name| amount(&watcher.latest(name).unwrap()) == Some(7.0)));
    assert!(server.line.calls() <= 4, "{} lines", server.line.calls());
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_looks_at_too_much_is_refused_and_delays_no_other() {
    let server = Behind::start().await;
    let eight = |inside: String| format!("[{}]", vec![inside; 8].join(","));
    let nested = (0..5).fold("1".to_owned(), |inside, _| eight(inside));
    server.web.desk().nonsense = Some((200, format!(r#"{{"n": 7, "deep": {nested}}}"#)));
    let mut watcher = Watcher::asking(vec![
        question(&server, "a", "jobs", "$..*..*..*..*"),
        question(&server, "b", "jobs", "$.n"),
    ]);
    watcher.until_amount("b", 7.0).await;
    let seen = watcher.until("a", |_| true).await;
    assert_eq!(label(&seen), "QueryRefused", "{seen:?}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_beside_the_url_is_not_asked_for() {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    let mut address = server.address();
    address.url.push_str("/base");
    let beside = |name: &str, path: &str| Question {
        address: Address::Http(address.clone()),
        ..question(&server, name, path, "$.queue.depth")
    };
    let mut watcher = Watcher::asking(vec![
        beside("a", "../jobs"),
        beside("b", "%2e%2E/jobs"),
        beside("c", "jobs"),
    ]);
    for (name, wished) in [("a", "QueryRefused"), ("b", "QueryRefused"), ("c", "NotFound")] {
        let seen = watcher.until(name, |_| true).await;
        assert_eq!(label(&seen), wished, "{seen:?}");
    }
    assert!(!server.web.desk().asked.iter().any(|asked| asked.starts_with("/jobs")));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_hang_delay_no_other_for_long() {
    let server = Behind::start().await;
    server.web.desk().queues.insert("z".to_owned(), 1);
    server.web.desk().hangs = Some("slow".to_owned());
    let slow = (0..9).map(|number| format!("slow{number}"));
    let mut questions: Vec<_> =
        slow.map(|name| question(&server, &name, &name, "$.queue.depth")).collect();
    questions.push(question(&server, "z", "z", "$.queue.depth"));
    let mut watcher = Watcher::asking(questions);
    watcher.until_amount("z", 1.0).await;
    // From now on the slow ones are asked last.
    server.web.desk().queues.insert("z".to_owned(), 2);
    watcher.until_amount("z", 2.0).await;
    watcher.observe.shutdown().await;
}
