//! NATS beyond the contract: what counts as waiting and as done, what `JetStream` refuses, one that hangs, many at once, and logins.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::Observation;
use penstock::observe::nats::{Address as Nats, Login};
use penstock::observe::{Address, Ask as AnyAsk, Credentials, Question};
use serde_json::json;
use tokio::time::Instant;

use super::contract::Server;
use super::jetstream::{JetStream, ask};
use super::rig::*;

fn question(name: &str, server: &JetStream, ask: AnyAsk) -> Question {
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

fn message(seen: &Observation) -> &str {
    match seen {
        Observation::Failed(missing) | Observation::Stale(_, missing) => &missing.message,
        Observation::Fresh(_) | Observation::Partial(..) => "",
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
async fn what_is_not_taken_and_what_is_not_acknowledged_waits_and_the_rest_is_done() {
    let server = JetStream::start().await;
    server.put("enrich", (100, 7, 3));
    let mut watcher = Watcher::asking(vec![question("a", &server, ask("orders", "enrich"))]);
    let first = watcher.until_backlog("a", 10).await;
    assert_eq!((first.arrived, first.served), (Some(107), Some(97)));
    // 20 more came, 15 more were taken, all but 1 are done.
    server.put("enrich", (115, 12, 1));
    let second = watcher.until_backlog("a", 13).await;
    assert_eq!((second.arrived, second.served), (Some(127), Some(114)));
    // The consumer is made anew and reads all that is kept: nothing goes back.
    server.put("enrich", (0, 50, 0));
    let third = watcher.until_backlog("a", 50).await;
    assert_eq!((third.arrived, third.served), (Some(164), Some(114)));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jetstream_refuses_is_told_each_with_its_reason() {
    let server = JetStream::start().await;
    server.put("good", (1, 7, 0));
    server.put("secret", (1, 7, 0));
    server.desk().denied.insert("secret".to_owned());
    let cases = [
        ("orders", "gone", "NotFound", "has no consumer gone of stream orders", true),
        ("nothing", "good", "NotFound", "has no stream nothing", true),
        ("old", "good", "QueryRefused", "JetStream not enabled", true),
        ("away", "good", "SourceFailed", "JetStream system temporarily unavailable", false),
        ("orders", "secret", "AccessDenied", "Permissions Violation", true),
    ];
    let mut questions = vec![question("good", &server, ask("orders", "good"))];
    for (stream, consumer, ..) in cases {
        questions.push(question(&format!("{stream}-{consumer}"), &server, ask(stream, consumer)));
    }
    let start = Instant::now();
    let mut watcher = Watcher::asking(questions);
    watcher.until_amount("good", 7.0).await;
    // None of them was waited for until its time was up.
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    for (stream, consumer, word, sentence, is_lasting) in cases {
        let seen = watcher.latest(&format!("{stream}-{consumer}")).unwrap();
        assert_eq!(label(&seen), word, "{seen:?}");
        assert!(message(&seen).contains(sentence), "{seen:?}");
        let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
        assert_eq!(missing.is_lasting, is_lasting, "{stream} {consumer}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_about_which_nobody_answers_delays_no_other_twice() {
    let server = JetStream::start().await;
    server.put("good", (1, 7, 0));
    server.desk().hangs.insert("hung".to_owned());
    let mut watcher = Watcher::asking(vec![
        question("good", &server, ask("orders", "good")),
        question("hung", &server, ask("orders", "hung")),
    ]);
    watcher.until_amount("good", 7.0).await;
    assert_eq!(label(&watcher.latest("hung").unwrap()), "Timeout");
    let start = Instant::now();
    watcher.visited().await;
    assert!(start.elapsed() < Duration::from_millis(1300), "{:?}", start.elapsed());
    server.desk().hangs.clear();
    server.put("hung", (1, 8, 0));
    watcher.until_amount("hung", 8.0).await;
    assert_eq!(server.line.calls(), 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_consumers_are_read_in_one_visit_on_one_connection() {
    let server = JetStream::start().await;
    let mut questions = Vec::new();
    for number in 0..1000 {
        let name = format!("c{number}");
        server.put(&name, (number, number, 0));
        let mut question = question(&name, &server, ask("orders", &name));
        question.poll_interval = Duration::from_mins(10);
        questions.push(question);
    }
    let mut watcher = Watcher::asking(questions);
    assert_eq!(watcher.visited().await.len(), 1000);
    for number in 0..1000 {
        let seen = watcher.latest(&format!("c{number}")).unwrap();
        assert_eq!(amount(&seen), Some(f64::from(number)), "{seen:?}");
    }
    assert_eq!(server.traffic(), (1, 1000));
    watcher.observe.shutdown().await;
}

/// A way to log in, its Secrets, and what the server is told.
type Way<'a> = (Login, &'a [(&'static str, &'a str)], serde_json::Value);

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_log_in_is_sent_and_a_new_one_takes_over_when_it_is_good() {
    // A user's seed, and what it signs the server's nonce with.
    let seed = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
    let name = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\nj.w.t\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let ways: [Way<'_>; 5] = [
        (Login::Nobody, &[], json!({"name": "penstock"})),
        (
            Login::Password,
            &[("username", "penstock"), ("password", "s3cret\n")],
            json!({"user": "penstock", "pass": "s3cret"}),
        ),
        (Login::Token, &[("token", "t0ken")], json!({"auth_token": "t0ken"})),
        (Login::Nkey, &[("nkey", seed)], json!({"nkey": name})),
        (Login::Credentials, &[("creds", &creds)], json!({"jwt": "j.w.t"})),
    ];
    for (login, pairs, wanted) in ways {
        let server = JetStream::start().await;
        server.put("enrich", (1, 7, 0));
        server.desk().login = Some(wanted);
        let address = Address::Nats(Nats { login, ..server.nats() });
        let asked = |pairs: &[(&'static str, &str)]| Question {
            address: address.clone(),
            credentials: keys(pairs),
            ..question("a", &server, ask("orders", "enrich"))
        };
        let mut watcher = Watcher::asking(vec![asked(pairs)]);
        watcher.until_amount("a", 7.0).await;
        if login != Login::Password {
            watcher.observe.shutdown().await;
            continue;
        }
        // The new password is in the Secret before the server knows it.
        watcher.observe.ask(vec![asked(&[("username", "penstock"), ("password", "new")])]);
        until_refused(&mut watcher, true).await;
        assert!(watcher.latest("a").unwrap().is_fresh());
        let refusal = watcher.observe.refusal(&id("a")).unwrap();
        assert_eq!(&*refusal.label, "AuthenticationFailed");
        assert!(!refusal.message.contains("s3cret"), "{}", refusal.message);
        server.desk().login = Some(json!({"user": "penstock", "pass": "new"}));
        server.put("enrich", (1, 9, 0));
        watcher.until_amount("a", 9.0).await;
        until_refused(&mut watcher, false).await;
        watcher.observe.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_none_are_told_before_anybody_is_called() {
    let server = JetStream::start().await;
    for (login, keys, usage) in [
        (Login::Credentials, keys(&[("creds", "no credentials")]), "creds"),
        (Login::Token, keys(&[]), "token"),
        (Login::Nobody, keys(&[("ca", "no PEM")]), "ca"),
    ] {
        let asked = Question {
            address: Address::Nats(Nats { login, ..server.nats() }),
            credentials: keys,
            ..question("a", &server, ask("orders", "enrich"))
        };
        let mut watcher = Watcher::asking(vec![asked]);
        let seen = watcher.until("a", |_| true).await;
        assert_eq!(label(&seen), "CredentialsInvalid", "{seen:?}");
        assert!(message(&seen).contains(&format!("the {usage} for")), "{seen:?}");
        watcher.observe.shutdown().await;
    }
    assert_eq!(server.traffic(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_about_a_consumer_has_its_word() {
    let server = JetStream::start().await;
    let mut watcher = Watcher::asking(vec![question("one", &server, ask("orders", "one"))]);
    let info = |stream: &str, name: &str, pending: serde_json::Value| {
        json!({
            "stream_name": stream, "name": name, "num_pending": pending, "num_ack_pending": 0,
            "delivered": {"consumer_seq": 0},
        })
        .to_string()
    };
    for (said, word) in [
        (info("orders", "two", json!(0)), "SourceFailed"),
        (info("two", "one", json!(0)), "SourceFailed"),
        ("no JSON".to_owned(), "SourceFailed"),
        (info("orders", "one", json!(-1)), "BadValue"),
        (info("orders", "one", json!(0.5)), "BadValue"),
        (info("orders", "one", json!(null)), "BadValue"),
    ] {
        server.put("one", (1, 7, 0));
        watcher.until_amount("one", 7.0).await;
        server.desk().nonsense = Some(said.clone().into_bytes());
        let seen = watcher.until("one", |seen| !seen.is_fresh()).await;
        assert_eq!(label(&seen), word, "{said}: {seen:?}");
        server.desk().nonsense = None;
    }
    watcher.observe.shutdown().await;
}
