//! OpenLineage events, posted as their producers post them: what makes a dataset young, who may post, and how replicas hear of each other.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use penstock::answer;
use penstock::clock::Clock;
use penstock::decide::Observation;
use penstock::observe::lineage::{self, Dataset, Inbox, Peers};
use penstock::observe::{Address, Ask, Credentials, Question};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::rig::*;

/// A replica's door, and the inbox behind it.
struct Door {
    place: String,
    inbox: Inbox,
    clock: Clock,
    folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Door {
    async fn open(peers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::at(listener, peers)
    }

    fn at(listener: TcpListener, peers: &[&str]) -> Self {
        let place = listener.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let token: PathBuf = folder.path().join("token");
        std::fs::write(&token, "s3cret\n").unwrap();
        let addresses = peers.iter().map(ToString::to_string).collect();
        let inbox = Inbox::open(Peers { addresses, token });
        let clock = Clock::start();
        let router = answer::lineage::router(inbox.clone(), clock);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { place, inbox, clock, folder, _tasks: tasks }
    }

    async fn post(&self, event: &Value) -> u16 {
        self.send("POST", &["Authorization: Bearer s3cret"], &event.to_string()).await.0
    }

    /// The status and the whole of an answer.
    async fn send(&self, method: &str, headers: &[&str], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.place).await.unwrap();
        let headers: Vec<_> = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let headers = headers.concat();
        let length = body.len();
        let head = format!(
            "{method} /api/v1/lineage HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        // It may hang up on what it does not want to read.
        stream.write_all(head.as_bytes()).await.ok();
        stream.write_all(body.as_bytes()).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        (status.unwrap_or_else(|| panic!("no answer: {answer}")), answer)
    }

    fn ago(&self, seconds: i64) -> Timestamp {
        self.clock.now() - SignedDuration::from_secs(seconds)
    }

    /// What asks for the age of `orders`.
    fn watch(&self) -> Watcher {
        let mut watcher = Watcher::start();
        watcher.observe = watcher.observe.hearing(self.inbox.clone());
        watcher.observe.ask(vec![question("it", "orders")]);
        watcher
    }
}

fn question(name: &str, dataset: &str) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Lineage(lineage::Address),
        credentials: Arc::new(Credentials::default()),
        ask: Ask::Lineage(Dataset {
            namespace: "postgres://warehouse:5432".to_owned(),
            name: dataset.to_owned(),
        }),
    }
}

/// An event as the Spark and Airflow integrations send it.
fn event(kind: &str, run: &str, at: Timestamp, outputs: &[&str]) -> Value {
    let outputs: Vec<_> = outputs
        .iter()
        .map(|name| {
            json!({
                "namespace": "postgres://warehouse:5432", "name": name,
                "facets": {"schema": {"_producer": "p", "_schemaURL": "s", "fields": [{"name": "id", "type": "BIGINT"}]}},
                "outputFacets": {"outputStatistics": {"_producer": "p", "_schemaURL": "s", "rowCount": 42, "size": 4096}},
            })
        })
        .collect();
    json!({
        "eventType": kind, "eventTime": at.to_string(),
        "run": {"runId": run, "facets": {"nominalTime": {"nominalStartTime": "2026-01-01T00:00:00Z"}}},
        "job": {"namespace": "shop", "name": "load_orders", "facets": {}},
        "inputs": [{"namespace": "kafka://broker:9092", "name": "orders-raw"}],
        "outputs": outputs,
        "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.40.0/integration/spark",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    })
}

/// Waits until the dataset is about so old.
async fn until_age(watcher: &mut Watcher, seconds: f64) {
    watcher
        .until("it", |seen| {
            let age = amount(seen).unwrap_or(-1.0);
            seen.is_fresh() && (seconds..seconds + 20.0).contains(&age)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_run_that_completes_makes_what_it_writes_young() {
    let door = Door::open(&[]).await;
    let mut watcher = door.watch();
    // Not knowing is not zero, and no age either.
    let seen = watcher.until("it", |seen| label(seen) == "Unheard").await;
    assert!(matches!(&seen, Observation::Failed(_)), "{seen:?}");
    assert!(
        format!("{seen:?}").contains("dataset orders of postgres://warehouse:5432"),
        "{seen:?}"
    );
    let made = 201;
    for (number, kind) in ["START", "RUNNING", "FAIL", "ABORT", "OTHER"].into_iter().enumerate() {
        let event = event(kind, &format!("run {number}"), door.ago(5), &["orders"]);
        assert_eq!(door.post(&event).await, made, "{kind}");
    }
    assert_eq!(door.post(&event("COMPLETE", "other", door.ago(5), &["users"])).await, made);
    watcher.visited().await;
    watcher.visited().await;
    assert_eq!(label(&watcher.latest("it").unwrap()), "Unheard");
    // Outputs are named at the start, and the end comes without them.
    assert_eq!(door.post(&event("START", "a", door.ago(700), &["orders"])).await, made);
    assert_eq!(door.post(&event("COMPLETE", "a", door.ago(600), &[])).await, made);
    until_age(&mut watcher, 600.0).await;
    // An older run that is told of later makes nothing older; a younger one is seen at once.
    assert_eq!(door.post(&event("COMPLETE", "b", door.ago(3600), &["orders"])).await, made);
    assert_eq!(door.post(&event("COMPLETE", "c", door.ago(60), &["orders"])).await, made);
    until_age(&mut watcher, 60.0).await;
    // What is no event of a run is taken and changes nothing.
    let design = json!({
        "eventTime": door.ago(1).to_string(), "producer": "p", "schemaURL": "s",
        "dataset": {"namespace": "postgres://warehouse:5432", "name": "orders"},
    });
    assert_eq!(door.post(&design).await, made);
    until_age(&mut watcher, 60.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_another_replica_took_is_known_here_and_after_a_restart() {
    let other = Door::open(&[]).await;
    let here = Door::open(&[&other.place]).await;
    let mut watcher = here.watch();
    watcher.until("it", |seen| label(seen) == "Unheard").await;
    // Each replica hears one half of the run.
    here.post(&event("START", "a", here.ago(700), &["orders"])).await;
    other.post(&event("COMPLETE", "a", other.ago(600), &[])).await;
    until_age(&mut watcher, 600.0).await;
    watcher.observe.shutdown().await;
    // It starts anew and remembers nothing: the other still does not know the first half, and nobody pretends.
    let fresh = Door::open(&[&other.place]).await;
    let mut watcher = fresh.watch();
    watcher.until("it", |seen| label(seen) == "Unheard").await;
    // What the other knows whole, it learns at its first poll.
    other.post(&event("COMPLETE", "b", other.ago(300), &["orders"])).await;
    until_age(&mut watcher, 300.0).await;
    // A replica that is away may know of something younger, never of something older: no reason to hold.
    drop(other);
    watcher.visited().await;
    watcher.visited().await;
    until_age(&mut watcher, 300.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_the_token_nor_with_what_cannot_be_read() {
    let door = Door::open(&[]).await;
    let good = event("COMPLETE", "a", door.ago(60), &["orders"]).to_string();
    for shown in [
        "X: y",
        "Authorization: Bearer guess",
        "Authorization: Bearer s3cre",
        "Authorization: Basic s3cret",
    ] {
        assert_eq!(door.send("POST", &[shown], &good).await.0, 401, "{shown}");
        assert_eq!(door.send("GET", &[shown], "").await.0, 401, "{shown}");
    }
    let token = "Authorization: Bearer s3cret";
    let sent = async |body: &str| door.send("POST", &[token], body).await.0;
    assert_eq!(sent(&"x".repeat((1 << 20) + 1000)).await, 413);
    assert_eq!(door.send("POST", &[token, "Content-Encoding: gzip"], "x").await.0, 415);
    for nonsense in ["", "[]", "0", "{}", r#"{"eventTime": "soon"}"#, &"[".repeat(100_000)] {
        assert_eq!(sent(nonsense).await, 400, "{}", &nonsense[..nonsense.len().min(40)]);
    }
    // An event from the future would make its dataset young for as long.
    let future = event("COMPLETE", "f", door.ago(-3600), &["orders"]);
    assert_eq!(door.post(&future).await, 400);
    let mut watcher = door.watch();
    watcher.until("it", |seen| label(seen) == "Unheard").await;
    assert_eq!(sent(&good).await, 201);
    until_age(&mut watcher, 60.0).await;
    // A rotated token is in force at once; without one nobody gets in.
    let file = door.folder.path().join("token");
    std::fs::write(&file, "n3w").unwrap();
    assert_eq!(sent(&good).await, 401);
    std::fs::write(&file, "").unwrap();
    assert_eq!(sent(&good).await, 503);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_told_to_come_back_later_and_those_who_do_are_let_in() {
    let door = Door::open(&[]).await;
    let good = event("COMPLETE", "a", door.ago(60), &["orders"]).to_string();
    let token = &["Authorization: Bearer s3cret"];
    let mut refused = Vec::new();
    for _ in 0..40 {
        let wave = (0..40).map(|_| door.send("POST", token, &good));
        let answers = futures::future::join_all(wave).await;
        refused.extend(answers.into_iter().filter(|(status, _)| *status == 429));
        if !refused.is_empty() {
            break;
        }
    }
    let (_, answer) = &refused[0];
    assert!(answer.to_lowercase().contains("retry-after: 1\r\n"), "{answer}");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(door.send("POST", token, &good).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_events_are_taken_a_dataset_is_unheard_of_and_says_what_to_start() {
    let mut watcher = Watcher::asking(vec![question("it", "orders")]);
    let seen = watcher.until("it", |seen| label(seen) == "Unheard").await;
    assert!(format!("{seen:?}").contains("--lineage-listen"), "{seen:?}");
    watcher.observe.shutdown().await;
}
