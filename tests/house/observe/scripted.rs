//! What a broker may do that the mock cluster cannot: lose partitions, swap clusters, change passwords, recreate topics.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::Observation;
use penstock::observe::kafka::{Isolation, Mechanism, OffsetReset};
use penstock::observe::{Address, Credentials, Question};

use tokio::time::Instant;

use super::broker::{Broker, LIST_OFFSETS, OFFSET_FETCH};
use super::line::Line;
use super::logins::{mutual, signed};
use super::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_missing_in_the_answer_makes_it_partial() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4), (0, 6)]);
    broker.state().unsaid.insert(("orders".into(), 1));
    let mut watcher =
        Watcher::asking(vec![question("p", &broker.address, ask(&["orders"], "enrich"))]);
    let seen = watcher.until("p", |_| true).await;
    let Observation::Partial(_, lost) = &seen else { panic!("{seen:?}") };
    assert_eq!((lost.partitions, lost.of, queue(&seen).backlog), (1, 2, 4));
    assert!(lost.error.contains("orders partition 1"), "{}", lost.error);
    broker.state().unsaid.clear();
    watcher.until_backlog("p", 10).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_is_still_coming_is_read_to_its_end_and_a_trickle_is_not_waited_for() {
    for (bursts, seen_first) in [([20, 30, 10], 120), ([7, 1, 1], 14)] {
        let broker = Broker::start().await;
        broker.topic("orders", &[(0, 4), (0, 6)]);
        broker.commit("enrich", "orders", 0, 4);
        broker.commit("enrich", "orders", 1, 6);
        let mut watcher =
            Watcher::asking(vec![question("p", &broker.address, ask(&["orders"], "enrich"))]);
        watcher.until_backlog("p", 0).await;
        broker.state().bursts.extend(bursts);
        let seen = watcher.until("p", |seen| queue_backlog(seen) != 0).await;
        assert_eq!(queue_backlog(&seen), seen_first);
        watcher.observe.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_before_it_was_read_is_not_waiting() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(70, 100), (0, 10), (90, 95)]);
    broker.commit("enrich", "orders", 0, 20);
    broker.commit("enrich", "orders", 1, 4);
    let mut watcher =
        Watcher::asking(vec![question("p", &broker.address, ask(&["orders"], "enrich"))]);
    let queue = watcher.until_backlog("p", 30 + 6 + 5).await;
    assert_eq!(queue.partitions.iter().map(|p| p.position).collect::<Vec<_>>(), [70, 4, 90]);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_commit_is_never_zero_before_it_is_seen_twice() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 100)]);
    broker.commit("enrich", "orders", 0, 90);
    let mut committed = ask(&["orders"], "enrich");
    committed.isolation = Isolation::ReadCommitted;
    let mut latest = ask(&["orders"], "enrich");
    latest.offset_reset = OffsetReset::Latest;
    let asks =
        [("earliest", ask(&["orders"], "enrich")), ("committed", committed), ("latest", latest)];
    let questions = asks.map(|(name, ask)| question(name, &broker.address, ask)).to_vec();
    let mut watcher = Watcher::asking(questions);
    watcher.until_backlog("earliest", 10).await;
    while watcher.latest("latest").is_none() {
        watcher.visited().await;
    }

    broker.topic("orders", &[(0, 7)]);
    for name in ["earliest", "committed", "latest"] {
        let seen = watcher
            .until(name, |seen| seen.reading().is_none_or(|_| queue_backlog(seen) != 10))
            .await;
        // Nothing is known of the only partition, so there is no reading but the old one.
        assert_eq!(label(&seen), "SourceFailed", "{name}: {seen:?}");
    }
    // The consumers will be sent to where offsetReset says.
    assert!(!watcher.until_backlog("earliest", 7).await.partitions[0].is_committed);
    watcher.until_backlog("committed", 7).await;
    assert_eq!(watcher.until_backlog("latest", 0).await.uncommitted, 1);
    watcher.observe.shutdown().await;
}

/// The backlog, while the observation is good.
fn queue_backlog(seen: &Observation) -> u64 {
    if seen.is_fresh() { queue(seen).backlog } else { u64::MAX }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_at_the_same_address_is_refused() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    let mut watcher =
        Watcher::asking(vec![question("p", &broker.address, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 4).await;
    {
        let mut state = broker.state();
        state.cluster = "second".into();
        state.topics.clear();
        state.topics.insert("orders".into(), vec![(0, 0)]);
    }
    // The next connection asks who is there.
    broker.cut();
    watcher.until("p", |seen| !seen.is_fresh()).await;
    broker.mend();
    let seen = watcher.until("p", |seen| label(seen) == "ClusterChanged").await;
    let Observation::Stale(_, missing) = &seen else { panic!("{seen:?}") };
    assert!(
        missing.is_lasting
            && missing.message.contains("first")
            && missing.message.contains("second")
    );
    // It stays refused.
    assert!(watcher.visits_within(POLL * 4).await > 0);
    assert_eq!(label(&watcher.latest("p").unwrap()), "ClusterChanged");
    watcher.observe.shutdown().await;
}

fn with_password(question: &Question, password: &str) -> Question {
    let mut keys = Credentials::default();
    keys.put("username", b"penstock".to_vec());
    keys.put("password", password.as_bytes().to_vec());
    let Address::Kafka(mut address) = question.address.clone() else { panic!("no Kafka") };
    address.sasl = Some(Mechanism::Plain);
    Question { address: Address::Kafka(address), credentials: Arc::new(keys), ..question.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_password_leaves_the_good_client_in_place_and_is_told() {
    const GOOD: &str = "good-password-0123456789";
    const BAD: &str = "wrong-password-0123456789";
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    broker.state().password = Some(GOOD.into());
    let plain = question("p", &broker.address, ask(&["orders"], "enrich"));
    let mut watcher = Watcher::asking(vec![with_password(&plain, GOOD)]);
    watcher.until_backlog("p", 4).await;
    assert_eq!(watcher.observe.refusal(&id("p")), None);

    watcher.observe.ask(vec![with_password(&plain, BAD)]);
    broker.topic("orders", &[(0, 5)]);
    watcher.until_backlog("p", 5).await;
    while watcher.observe.refusal(&id("p")).is_none() {
        watcher.visited().await;
    }
    let refusal = watcher.observe.refusal(&id("p")).unwrap();
    assert_eq!(&*refusal.label, "AuthenticationFailed");
    assert!(!refusal.message.contains("password-0123"), "{}", refusal.message);
    // It is not knocked at every poll: that may lock the account.
    let (tried, since) = (broker.state().logins_refused, Instant::now());
    for _ in 0..8 {
        watcher.visited().await;
    }
    let more = broker.state().logins_refused - tried;
    let fair = since.elapsed().as_secs() / 2 + 1;
    assert!(u64::try_from(more).unwrap() <= fair, "{more} more tries in {:?}", since.elapsed());

    // The right one takes over without a poll being lost, and the complaint goes.
    broker.state().password = Some("newer-password-0123456789".into());
    watcher.observe.ask(vec![with_password(&plain, "newer-password-0123456789")]);
    while watcher.observe.refusal(&id("p")).is_some() {
        watcher.visited().await;
        assert!(watcher.latest("p").unwrap().is_fresh());
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_lasting_and_is_tried_ever_more_rarely() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    broker.state().password = Some("x".repeat(24));
    let plain = question("p", &broker.address, ask(&["orders"], "enrich"));
    let mut watcher = Watcher::asking(vec![with_password(&plain, "y")]);
    let seen = watcher.until("p", |_| true).await;
    let Observation::Failed(missing) = &seen else { panic!("{seen:?}") };
    assert_eq!((&*missing.label, missing.is_lasting), ("AuthenticationFailed", true));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = broker.state().logins_refused;
    assert!((5..=11).contains(&refused), "{refused} tries");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_read_at_each_poll_and_commits_only_when_something_moves_or_a_decision_hangs_on_them()
 {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    broker.commit("enrich", "orders", 0, 4);
    let mut watcher =
        Watcher::asking(vec![question("p", &broker.address, ask(&["orders"], "enrich"))]);
    watcher.until_backlog("p", 0).await;
    let (ends, commits) = (broker.requests(LIST_OFFSETS), broker.requests(OFFSET_FETCH));
    for _ in 0..5 {
        watcher.visited().await;
    }
    assert!(broker.requests(LIST_OFFSETS) >= ends + 4);
    assert_eq!(broker.requests(OFFSET_FETCH), commits, "nothing moved");

    watcher.observe.press(&[id("p")]);
    watcher.visited().await;
    watcher.visited().await;
    assert_eq!(broker.requests(OFFSET_FETCH), commits + 1, "pressed once");

    broker.topic("orders", &[(0, 5)]);
    watcher.until_backlog("p", 1).await;
    assert!(broker.requests(OFFSET_FETCH) > commits + 1, "an end moved");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pipelines_share_one_connection() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    let mut watcher = Watcher::asking(vec![
        question("a", &broker.address, ask(&["orders"], "one")),
        question("b", &broker.address, ask(&["orders"], "two")),
    ]);
    watcher.until_backlog("a", 4).await;
    watcher.until_backlog("b", 4).await;
    assert!(watcher.visits_within(POLL * 4).await >= 3);
    assert_eq!(broker.state().connections, 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_topic_says_what_is_missing_and_harms_no_other() {
    let broker = Broker::start().await;
    broker.topic("orders", &[(0, 4)]);
    broker.topic("secret", &[(0, 4)]);
    broker.state().denied.insert("secret".to_owned());
    let asks = [("open", "orders"), ("closed", "secret")];
    let questions =
        asks.map(|(name, topic)| question(name, &broker.address, ask(&[topic], "enrich")));
    let mut watcher = Watcher::asking(questions.to_vec());
    watcher.until_backlog("open", 4).await;
    let seen = watcher.until("closed", |_| true).await;
    let Observation::Failed(missing) = &seen else { panic!("{seen:?}") };
    assert_eq!((&*missing.label, missing.is_lasting), ("TopicDenied", true));
    assert!(
        missing.message.contains("secret") && missing.message.contains("Describe"),
        "{}",
        missing.message
    );
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_behind_tls_is_trusted_by_its_authority_alone() {
    let broker = Broker::start().await;
    let (ca, cert, key) = signed();
    let secured = Line::to(broker.address.parse().unwrap(), Some(mutual(&ca, &cert, &key))).await;
    let secured = format!("localhost:{}", secured.address.port());
    let (other, ..) = signed();
    for (authority, word) in [(&*other, "TlsFailed"), ("no PEM", "CredentialsInvalid")] {
        let mut question = question("p", &secured, ask(&["orders"], "enrich"));
        let Address::Kafka(mut address) = question.address else { panic!("no Kafka") };
        address.tls = true;
        question.address = Address::Kafka(address);
        let mut keys = Credentials::default();
        keys.put("ca", authority.as_bytes().to_vec());
        question.credentials = Arc::new(keys);
        let mut watcher = Watcher::asking(vec![question]);
        let seen = watcher.until("p", |_| true).await;
        assert_eq!(label(&seen), word, "{seen:?}");
        watcher.observe.shutdown().await;
    }
}
