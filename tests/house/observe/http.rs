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
