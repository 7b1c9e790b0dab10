//! RabbitMQ beyond the contract: what counts as waiting, what is counted besides, virtual hosts, odd names, refusals, many queues at once,
//! lines that were cut, and logins that change.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock::decide::Observation;
use penstock::observe::rabbitmq::{self, Ask};
use penstock::observe::web::Login;
use penstock::observe::{Address, Ask as AnyAsk, Credentials, Question};
use serde_json::json;
use tokio::time::Instant;

use super::contract::Server;
use super::rabbits::{Broker, Management, ask, shown};
use super::rig::*;

fn question(name: &str, server: &impl Server, ask: AnyAsk) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: server.address(),
        credentials: Arc::new(Credentials::default()),
        ask,
    }
}

fn keys(pairs: &[(&'static str, &str)]) -> Arc<Credentials> {
    let mut keys = Credentials::default();
    for (usage, text) in pairs {
        keys.put(usage, text.as_bytes().to_vec());
    }
    Arc::new(keys)
}

/// What is said of a question that has no answer: the word, the sentence, and whether somebody must mend something.
fn said(watcher: &Watcher, name: &str) -> (String, String, bool) {
    match watcher.latest(name) {
        Some(Observation::Failed(missing) | Observation::Stale(_, missing)) => {
            (missing.label.to_string(), missing.message.to_string(), missing.is_lasting)
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Waits until the newest login is refused, or no longer is.
async fn until_refused(watcher: &mut Watcher, is_refused: bool) {
    let deadline = Instant::now() + SOON;
    while watcher.observe.refusal(&id("a")).is_some() != is_refused {
        assert!(Instant::now() < deadline, "{:?}", watcher.observe.refusal(&id("a")));
        watcher.visited().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ready_and_what_is_delivered_both_wait_unless_the_owner_says_otherwise() {
    let server = Management::start().await;
    server.put("/", "jobs", shown(7, 3));
    let ready = AnyAsk::RabbitMq(Ask {
        vhost: "/".to_owned(),
        queue: "jobs".to_owned(),
        exclude_unacked: true,
    });
    let mut watcher = Watcher::asking(vec![
        question("all", &server, ask("/", "jobs")),
        question("ready", &server, ready),
    ]);
    let all = watcher.until_backlog("all", 10).await;
    let ready = watcher.until_backlog("ready", 7).await;
    assert_eq!(all.arrived.zip(all.served), Some((50, 40)));
    // The counters are of the whole queue either way.
    assert_eq!(ready.arrived.zip(ready.served), Some((50, 40)));
    assert_eq!(server.desk().requests, 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_and_was_done_is_counted_across_a_restart_of_the_server() {
    let server = Management::start().await;
    let put = |publish: u64, ack: u64, waiting: u64| {
        let mut shown = shown(waiting, 0);
        shown["message_stats"] = json!({"publish": publish, "ack": ack, "get_no_ack": 1});
        server.put("/", "jobs", shown);
    };
    put(100, 39, 60);
    let mut watcher = Watcher::asking(vec![question("a", &server, ask("/", "jobs"))]);
    let first = watcher.until_backlog("a", 60).await;
    put(130, 49, 81);
    let second = watcher.until_backlog("a", 81).await;
    // It began to count again, and has counted 4 in and 3 out since.
    put(4, 2, 82);
    let third = watcher.until_backlog("a", 82).await;
    let moved = |a: &penstock::decide::Queue, b: &penstock::decide::Queue| {
        (b.arrived.unwrap() - a.arrived.unwrap(), b.served.unwrap() - a.served.unwrap())
    };
    assert_eq!(moved(&first, &second), (30, 10));
    assert_eq!(moved(&second, &third), (4, 3));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_statistics_says_what_waits_and_counts_nothing() {
    let server = Management::start().await;
    let mut bare = shown(7, 0);
    bare.as_object_mut().unwrap().remove("message_stats");
    server.put("/", "jobs", bare);
    let mut watcher = Watcher::asking(vec![question("a", &server, ask("/", "jobs"))]);
    let queue = watcher.until_backlog("a", 7).await;
    assert_eq!((queue.arrived, queue.served), (None, None));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_that_cannot_be_counted_are_told_each_with_its_reason() {
    let server = Management::start().await;
    server.put("/", "good", shown(7, 0));
    let state = |state: &str| {
        let mut shown = shown(7, 0);
        shown["state"] = json!(state);
        shown
    };
    server.put("/", "down", state("down"));
    server.put("/", "minority", state("minority"));
    let mut stream = shown(7, 0);
    stream["type"] = json!("stream");
    server.put("/", "log", stream);
    server.put("/", "new", json!({"state": "running"}));
    server.put("/", "odd", shown(-1, 0));
    let names = ["good", "down", "minority", "log", "new", "odd", "gone"];
    let mut questions: Vec<_> = names.map(|name| question(name, &server, ask("/", name))).to_vec();
    questions.push(question("elsewhere", &server, ask("nowhere", "good")));
    let mut watcher = Watcher::asking(questions);
    watcher.until_amount("good", 7.0).await;
    let cases = [
        ("down", "SourceFailed", "its state is down", false),
        ("minority", "SourceFailed", "its state is minority", false),
        ("log", "QueryRefused", "queue log is a stream", true),
        ("new", "EmptyAnswer", "answers queue new with nothing", false),
        ("odd", "BadValue", "-1, which is no count", false),
        ("gone", "NotFound", "has no queue gone", true),
        ("elsewhere", "NotFound", "has no virtual host nowhere", true),
    ];
    for (name, word, sentence, is_lasting) in cases {
        let (label, message, lasting) = said(&watcher, name);
        assert_eq!((label.as_str(), lasting), (word, is_lasting), "{name}: {message}");
        assert!(message.contains(sentence), "{name}: {message}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_letter_by_letter_and_virtual_hosts_apart() {
    let server = Management::start().await;
    for (number, (vhost, queue)) in [
        ("/", "a.b"),
        ("/", "aXb"),
        ("/", "A.B"),
        ("/", "(x|y)*"),
        ("shop/eu", "a.b"),
        ("/", "größe ü"),
    ]
    .into_iter()
    .enumerate()
    {
        server.put(vhost, queue, shown(number, 0));
    }
    let asks = [("/", "a.b"), ("/", "A.B"), ("/", "(x|y)*"), ("shop/eu", "a.b"), ("/", "größe ü")];
    let named = ["dot", "case", "odd", "host", "letters"].into_iter().zip(asks);
    let questions =
        named.map(|(name, (vhost, queue))| question(name, &server, ask(vhost, queue))).collect();
    let mut watcher = Watcher::asking(questions);
    for (name, number) in
        [("dot", 0.0), ("case", 2.0), ("odd", 3.0), ("host", 4.0), ("letters", 5.0)]
    {
        watcher.until_amount(name, number).await;
    }
    assert_eq!(watcher.latest("host").map(|seen| amount(&seen)), Some(Some(4.0)));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_hangs_delays_no_other() {
    let server = Management::start().await;
    server.put("/", "jobs", shown(7, 0));
    server.put("slow", "jobs", shown(7, 0));
    server.desk().hangs.insert("slow".to_owned());
    let mut watcher = Watcher::asking(vec![
        question("good", &server, ask("/", "jobs")),
        question("slow", &server, ask("slow", "jobs")),
    ]);
    watcher.until_amount("good", 7.0).await;
    assert_eq!(said(&watcher, "slow").0, "Timeout");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_queues_are_read_by_a_few_requests_on_at_most_four_connections() {
    let server = Management::start().await;
    let mut questions = Vec::new();
    for number in 0..1000 {
        let name = format!("orders.q{number}");
        server.put("/", &name, shown(number, 0));
        let mut question = question(&name, &server, ask("/", &name));
        question.poll_interval = Duration::from_mins(10);
        questions.push(question);
    }
    let mut watcher = Watcher::asking(questions);
    assert_eq!(watcher.visited().await.len(), 1000);
    for number in 0..1000 {
        let seen = watcher.latest(&format!("orders.q{number}")).unwrap();
        assert_eq!(amount(&seen), Some(f64::from(number)), "{seen:?}");
    }
    let (calls, requests) = server.traffic();
    assert!(requests <= 8, "{requests} requests");
    // A spare connection is opened when one comes back to the pool too late.
    assert!(calls <= 6, "{calls} connections");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_to_the_management_api_is_sent_and_a_new_one_takes_over_when_it_is_good() {
    let server = Management::start().await;
    server.put("/", "jobs", shown(7, 0));
    let basic =
        |password: &str| format!("Basic {}", STANDARD.encode(format!("penstock:{password}")));
    server.desk().login = Some(basic("old"));
    let mut address = server.web();
    address.login = Login::Basic;
    let asked = |password: &str| Question {
        address: Address::RabbitMq(rabbitmq::Address::Management(address.clone())),
        credentials: keys(&[("username", "penstock"), ("password", password)]),
        ..question("a", &server, ask("/", "jobs"))
    };
    let mut watcher = Watcher::asking(vec![asked("old")]);
    watcher.until_amount("a", 7.0).await;
    watcher.observe.ask(vec![asked("new")]);
    until_refused(&mut watcher, true).await;
    assert!(watcher.latest("a").unwrap().is_fresh());
    assert_eq!(&*watcher.observe.refusal(&id("a")).unwrap().label, "AuthenticationFailed");
    server.desk().login = Some(basic("new"));
    server.put("/", "jobs", shown(9, 0));
    watcher.until_amount("a", 9.0).await;
    until_refused(&mut watcher, false).await;
    watcher.observe.shutdown().await;
}

fn put(server: &Broker, vhost: &str, queue: &str, ready: u32) {
    server.hall().queues.insert((vhost.to_owned(), queue.to_owned()), ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp_keeps_one_line_to_each_virtual_host() {
    let server = Broker::start().await;
    put(&server, "/", "jobs", 7);
    put(&server, "shop", "jobs", 8);
    let mut watcher = Watcher::asking(vec![
        question("root", &server, ask("/", "jobs")),
        question("shop", &server, ask("shop", "jobs")),
        question("nowhere", &server, ask("nowhere", "jobs")),
    ]);
    let root = watcher.until_backlog("root", 7).await;
    assert_eq!((root.arrived, root.served), (None, None));
    watcher.until_backlog("shop", 8).await;
    assert_eq!(server.hall().login, ("PLAIN".to_owned(), "\0guest\0guest".to_owned()));
    let (label, message, _) = said(&watcher, "nowhere");
    assert_eq!(label, "NotFound");
    assert!(message.contains("has no virtual host nowhere"), "{message}");
    // The two that were opened stay; the third is tried each time.
    watcher.observe.ask(vec![
        question("root", &server, ask("/", "jobs")),
        question("shop", &server, ask("shop", "jobs")),
    ]);
    watcher.visited().await;
    let calls = server.line.calls();
    assert!(watcher.visits_within(POLL * 4).await > 1);
    assert_eq!(server.line.calls(), calls);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp_reads_a_thousand_queues_on_one_line_and_unknown_ones_harm_no_other() {
    let server = Broker::start().await;
    let mut questions = Vec::new();
    for number in 0..1000 {
        let name = format!("q{number:04}");
        if number % 100 != 50 {
            put(&server, "/", &name, number);
        }
        let mut question = question(&name, &server, ask("/", &name));
        question.poll_interval = Duration::from_secs(1);
        questions.push(question);
    }
    let mut watcher = Watcher::asking(questions);
    for round in 0..2 {
        assert_eq!(watcher.visited().await.len(), 1000);
        for number in 0..1000 {
            let seen = watcher.latest(&format!("q{number:04}")).unwrap();
            if number % 100 == 50 {
                assert_eq!(label(&seen), "NotFound", "{seen:?}");
            } else {
                assert_eq!(amount(&seen), Some(f64::from(number)), "{seen:?}");
            }
        }
        let declared = std::mem::take(&mut server.hall().declared);
        // At first each unknown one costs a part of a batch; then they stand last.
        assert!(declared <= if round == 0 { 1000 + 10 * 64 } else { 1010 + 10 }, "{declared}");
    }
    assert_eq!(server.line.calls(), 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amqp_tells_what_the_server_does_not_allow() {
    let server = Broker::start().await;
    put(&server, "/", "good", 7);
    for (queue, code) in [("locked", 405), ("secret", 403), ("broken", 541), ("away", 404)] {
        server.hall().refused.insert(queue.to_owned(), code);
    }
    let names = ["good", "locked", "secret", "broken", "away"];
    let questions = names.map(|name| question(name, &server, ask("/", name))).to_vec();
    let mut watcher = Watcher::asking(questions);
    watcher.until_amount("good", 7.0).await;
    let cases = [
        ("locked", "AccessDenied", "denies access to queue locked: 405 - queue 'locked'"),
        ("secret", "AccessDenied", "denies access to queue secret: 403"),
        ("broken", "SourceFailed", "cannot answer queue broken: 541"),
        // It is there, and nobody has to create it.
        ("away", "SourceFailed", "cannot answer queue away: 404"),
    ];
    for (name, word, sentence) in cases {
        let (label, message, _) = said(&watcher, name);
        assert_eq!(label, word, "{message}");
        assert!(message.contains(sentence), "{message}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_cut_between_two_visits_costs_no_reading() {
    let server = Broker::start().await;
    put(&server, "/", "jobs", 7);
    let mut watcher = Watcher::asking(vec![question("a", &server, ask("/", "jobs"))]);
    watcher.until_amount("a", 7.0).await;
    server.cut();
    server.mend();
    put(&server, "/", "jobs", 8);
    watcher.until_amount("a", 8.0).await;
    assert_eq!(watcher.observe.polls(&id("a")).unwrap().failed, 0);
    assert_eq!(server.line.calls(), 2);
    watcher.observe.shutdown().await;
}

/// The server with a login wanted.
fn amqp(server: &Broker, password: &str) -> Question {
    let host = server.line.address.to_string();
    let connection = "shop/mq".to_owned();
    Question {
        address: Address::RabbitMq(rabbitmq::Address::Amqp {
            connection,
            host,
            tls: false,
            login: true,
        }),
        credentials: keys(&[("username", "penstock"), ("password", password)]),
        ..question("a", server, ask("/", "jobs"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_amqp_is_refused_in_words_and_a_new_one_takes_over_when_it_is_good() {
    let server = Broker::start().await;
    put(&server, "/", "jobs", 7);
    server.hall().password = Some("old".to_owned());
    let mut watcher = Watcher::asking(vec![amqp(&server, "old")]);
    watcher.until_amount("a", 7.0).await;
    // The new one is in the Secret before the server knows it: the old line goes on.
    watcher.observe.ask(vec![amqp(&server, "new")]);
    until_refused(&mut watcher, true).await;
    assert!(watcher.latest("a").unwrap().is_fresh());
    let refusal = watcher.observe.refusal(&id("a")).unwrap();
    assert_eq!(&*refusal.label, "AuthenticationFailed");
    assert!(refusal.message.contains("ACCESS_REFUSED - Login was refused"), "{}", refusal.message);
    server.hall().password = Some("new".to_owned());
    put(&server, "/", "jobs", 9);
    watcher.until_amount("a", 9.0).await;
    until_refused(&mut watcher, false).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_at_the_login_or_takes_no_password_has_refused_it() {
    let server = Broker::start().await;
    put(&server, "/", "jobs", 7);
    server.hall().password = Some("other".to_owned());
    server.hall().is_curt = true;
    let mut watcher = Watcher::asking(vec![amqp(&server, "wrong")]);
    watcher.until("a", |seen| label(seen) == "AuthenticationFailed").await;
    assert!(said(&watcher, "a").1.contains("it hung up at the login"));
    server.hall().mechanisms = Some("EXTERNAL".to_owned());
    watcher
        .until("a", |seen| {
            let Observation::Failed(missing) = seen else { return false };
            missing.message.contains("it takes EXTERNAL and not PLAIN")
        })
        .await;
    watcher.observe.shutdown().await;
}
