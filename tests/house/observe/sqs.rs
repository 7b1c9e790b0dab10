//! SQS beyond the contract: which messages count, who signs, what is asked once, and how each refusal is called.

use std::sync::Arc;

use penstock::observe::sqs::{self, Login};
use penstock::observe::{Address, Ask, Credentials, Question};

use super::contract::Behind;
use super::rig::*;

pub(super) fn keys(secret: &str) -> Arc<Credentials> {
    let mut keys = Credentials::default();
    keys.put("access-key", b"AKID\n".to_vec());
    keys.put("secret-key", secret.as_bytes().to_vec());
    Arc::new(keys)
}

fn question(
    server: &Behind,
    name: &str,
    queue: &str,
    (in_flight, delayed): (bool, bool),
) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Sqs(sqs::Address {
            connection: "shop/queues".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some(format!("http://{}", server.line.address)),
            login: Login::Keys,
        }),
        credentials: keys("s3cret"),
        ask: Ask::Sqs(sqs::Ask { queue_url: format!("http://sqs/1/{queue}"), in_flight, delayed }),
    }
}

async fn filled() -> Behind {
    let server = Behind::start().await;
    let parts = [("todo", 7), ("todo.flying", 20), ("todo.later", 100)];
    server.web.desk().queues.extend(parts.map(|(name, count)| (name.to_owned(), count)));
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn visible_messages_count_and_those_in_flight_and_delayed_as_asked() {
    let server = filled().await;
    let mut watcher = Watcher::asking(vec![
        question(&server, "visible", "todo", (false, false)),
        question(&server, "flying", "todo", (true, false)),
        question(&server, "later", "todo", (false, true)),
        question(&server, "all", "todo", (true, true)),
    ]);
    for (name, sum) in [("visible", 7.0), ("flying", 27.0), ("later", 107.0), ("all", 127.0)] {
        watcher.until_amount(name, sum).await;
    }
    // Asked once for all of them, signed, in the region that was named.
    {
        let desk = server.web.desk();
        let login = desk.headers["authorization"].to_str().unwrap();
        assert!(login.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{login}");
        assert!(login.contains("/eu-central-1/sqs/aws4_request"), "{login}");
        assert!(!desk.asked.iter().any(|asked| asked.contains("s3cret")), "{:?}", desk.asked);
    }
    let visits = watcher.visits_within(POLL * 3).await;
    let polls = watcher.observe.polls(&id("all")).unwrap();
    let requests = server.web.desk().requests;
    assert!(visits > 0 && u64::try_from(requests).unwrap() <= polls.fresh + 1, "{requests}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_word() {
    let server = filled().await;
    let mut watcher = Watcher::asking(vec![question(&server, "it", "todo", (true, false))]);
    watcher.until_amount("it", 27.0).await;
    for (status, code, word) in [
        (400, "com.amazonaws.sqs#QueueDoesNotExist", "NotFound"),
        (400, "com.amazon.coral.service#AccessDeniedException", "AccessDenied"),
        (403, "com.amazon.coral.service#UnrecognizedClientException", "AuthenticationFailed"),
        (403, "InvalidClientTokenId", "AuthenticationFailed"),
        (403, "SignatureDoesNotMatch", "AuthenticationFailed"),
        (400, "com.amazonaws.sqs#InvalidAddress", "QueryRefused"),
        (400, "com.amazonaws.sqs#RequestThrottled", "SourceFailed"),
        (503, "ServiceUnavailable", "SourceFailed"),
    ] {
        let said = format!(r#"{{"__type": "{code}", "message": "so it is"}}"#);
        server.web.desk().nonsense = Some((status, said));
        watcher.until("it", |seen| label(seen) == word).await;
    }
    server.web.desk().nonsense = None;
    watcher.until_amount("it", 27.0).await;
    server.web.desk().hangs = Some("QueueUrl".to_owned());
    watcher.until("it", |seen| label(seen) == "Timeout").await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_takes_over_once_it_is_let_in() {
    let server = filled().await;
    let asked = |secret: &str| {
        vec![Question {
            credentials: keys(secret),
            ..question(&server, "it", "todo", (true, false))
        }]
    };
    let mut watcher = Watcher::asking(asked("s3cret"));
    watcher.until_amount("it", 27.0).await;
    let before = server.web.desk().headers["authorization"].clone();
    watcher.observe.ask(asked("n3w"));
    watcher.visited().await;
    watcher.visited().await;
    watcher.until_amount("it", 27.0).await;
    assert!(watcher.observe.refusal(&id("it")).is_none());
    assert_ne!(server.web.desk().headers["authorization"], before);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_an_identity_is_told_so_and_asks_nobody() {
    let server = filled().await;
    let mut asked = question(&server, "it", "todo", (true, false));
    let Address::Sqs(address) = &mut asked.address else { panic!("no SQS") };
    address.login = Login::Pod;
    asked.credentials = Arc::default();
    let mut watcher = Watcher::asking(vec![asked]);
    let seen = watcher.until("it", |seen| label(seen) == "AuthenticationFailed").await;
    assert!(format!("{seen:?}").contains("the pod has no AWS identity"), "{seen:?}");
    assert_eq!(server.web.desk().requests, 0);
    watcher.observe.shutdown().await;
}
