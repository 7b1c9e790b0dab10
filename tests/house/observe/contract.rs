//! What every source must do, told once: answers in order, errors that are not zero, silence when nothing is asked, and coming back after
//! the line was cut. A new source gives a [`Server`] and passes the same tale.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::Observation;
use penstock::observe::{Address, Ask, Credentials, Question};
use tokio::time::Instant;

use super::broker::Broker;
use super::rig::*;

/// A server of some kind, in the hands of the test.
trait Server {
    async fn start() -> Self;
    fn address(&self) -> Address;
    /// How to ask for the backlog of a queue.
    fn ask(&self, queue: &str) -> Ask;
    /// Makes the queue if need be, and its backlog this large.
    fn fill(&self, queue: &str, backlog: i64);
    /// Hangs up on everybody, until mended.
    fn cut(&self);
    fn mend(&self);
    /// Connections and requests ever made.
    fn traffic(&self) -> (usize, usize);
}

impl Server for Broker {
    async fn start() -> Self {
        Self::start().await
    }

    fn address(&self) -> Address {
        question("any", &self.address, ask(&["any"], "any")).address
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::Kafka(ask(&[queue], "group"))
    }

    fn fill(&self, queue: &str, backlog: i64) {
        self.topic(queue, &[(0, backlog)]);
    }

    fn cut(&self) {
        self.cut();
    }

    fn mend(&self) {
        self.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        let state = self.state();
        (state.connections, state.requests.values().sum())
    }
}

async fn tale<S: Server>() {
    let server = S::start().await;
    let ask = |name: &str, queue: &str| Question {
        id: id(name),
        poll_interval: POLL,
        address: server.address(),
        credentials: Arc::new(Credentials::default()),
        ask: server.ask(queue),
    };
    for (queue, backlog) in [("three", 3), ("one", 1), ("two", 2)] {
        server.fill(queue, backlog);
    }

    // Nobody asks, nobody calls.
    let mut watcher = Watcher::asking(Vec::new());
    tokio::time::sleep(POLL).await;
    assert_eq!(server.traffic(), (0, 0));

    // Each gets its own answer, all in one visit; an unknown queue is an error and not zero, and harms no other.
    let all = ["b3", "a1", "d2"].into_iter().zip(["three", "one", "two"]);
    let mut questions: Vec<_> = all.map(|(name, queue)| ask(name, queue)).collect();
    questions.push(ask("c0", "unknown"));
    watcher.observe.ask(questions);
    assert_eq!(watcher.visited().await.len(), 4);
    for (name, backlog) in [("b3", 3), ("a1", 1), ("d2", 2)] {
        assert_eq!(queue(&watcher.latest(name).unwrap()).backlog, backlog);
    }
    let unknown = watcher.latest("c0").unwrap();
    assert!(matches!(&unknown, Observation::Failed(missing) if missing.is_lasting), "{unknown:?}");

    // A later reading is later, and sees what changed.
    server.fill("one", 5);
    watcher.until_backlog("a1", 5).await;

    // A cut line is told within the deadline, keeps what was known, and mends within two polls.
    server.cut();
    let cut = Instant::now();
    let stale = watcher.until("a1", |seen| !seen.is_fresh()).await;
    assert!(cut.elapsed() < Duration::from_millis(3500), "{:?}", cut.elapsed());
    assert!(matches!(stale, Observation::Stale(..)), "{stale:?}");
    server.mend();
    let mended = Instant::now();
    watcher.until_backlog("a1", 5).await;
    assert!(mended.elapsed() < POLL * 2 + Duration::from_millis(300), "{:?}", mended.elapsed());

    // No more questions, no more traffic.
    watcher.observe.ask(Vec::new());
    tokio::time::sleep(POLL).await;
    let before = server.traffic();
    tokio::time::sleep(POLL * 3).await;
    assert_eq!(server.traffic(), before);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_the_contract() {
    tale::<Broker>().await;
}
