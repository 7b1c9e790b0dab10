//! SQS as a source, asked of a real server that speaks it: visible, in flight and delayed, a queue that is not there, a server that goes and
//! comes back; and keys that are had for a web identity, which a double of STS gives and a gate before the server asks for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use jiff::Timestamp;
use penstock::clock::Clock;
use penstock::observe::sqs::{self, Login};
use penstock::observe::{Address, Ask};

use serde_json::json;

use crate::beside::{Watched, keys};
use crate::crd::install;
use crate::rig::{ElasticMq, Gate, Keeper, Penstock, fresh_folder, serve_on, shared};
use crate::scene::{SOON, Scene};

fn place(server: &ElasticMq) -> Address {
    Address::Sqs(sqs::Address {
        connection: "shop/queues".to_owned(),
        region: "elasticmq".to_owned(),
        endpoint: Some(server.url()),
        login: Login::Keys,
    })
}

fn depth(url: &str, in_flight: bool, delayed: bool) -> Ask {
    Ask::Sqs(sqs::Ask { queue_url: url.to_owned(), in_flight, delayed })
}

#[tokio::test]
async fn sqs_tells_what_is_visible_in_flight_and_delayed() -> Result<()> {
    let server = ElasticMq::start().await?;
    let url = server.queue("todo", 300).await?;
    let gone = url.replace("todo", "gone");
    server.send(&url, 25, 0).await?;
    server.send(&url, 3, 600).await?;
    let login = || keys(&[("access-key", "AKID"), ("secret-key", "s3cret")]);
    let ask = |name: &'static str, ask: Ask| (name, place(&server), ask, login());
    let mut watched = Watched::asking(vec![
        ask("visible", depth(&url, false, false)),
        ask("busy", depth(&url, true, false)),
        ask("all", depth(&url, true, true)),
        ask("gone", depth(&gone, true, false)),
    ]);
    watched.is("visible", 25.0).await?;
    watched.is("busy", 25.0).await?;
    watched.is("all", 28.0).await?;
    let said = watched.lacks("gone", "NotFound").await?;
    assert!(said.contains("has no queue gone"), "{said}");
    // Ten are being worked on: they are no longer visible, and still somebody's work.
    let handles = server.receive(&url).await?;
    watched.is("visible", 15.0).await?;
    watched.is("busy", 25.0).await?;
    assert_eq!(handles.len(), 10);
    for handle in handles {
        let done = json!({"QueueUrl": url, "ReceiptHandle": handle});
        server.ask("DeleteMessage", done).await?;
    }
    watched.is("busy", 15.0).await?;
    watched.is("all", 18.0).await?;
    server.process().kill9();
    watched.lacks("busy", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    // Its queues were in its memory: what is gone is no zero.
    watched.lacks("busy", "NotFound").await?;
    server.queue("todo", 300).await?;
    watched.is("busy", 0.0).await?;
    watched.visited().await?;
    watched.observe.shutdown().await;
    Ok(())
}

const ROLE: &str = "arn:aws:iam::123456789012:role/penstock";
/// How long keys last. The library wants new ones ten seconds before their end.
const LIFE: Duration = Duration::from_secs(15);

/// A double of STS: the tokens it was shown, and when the keys end that it gave.
#[derive(Debug, Default)]
struct Sts {
    shown: Vec<String>,
    given: Vec<Timestamp>,
}

type SharedSts = Arc<Mutex<Sts>>;

async fn start(sts: &SharedSts) -> Result<String> {
    serve_on(Router::new().route("/", post(exchange)).with_state(Arc::clone(sts))).await
}

/// `AssumeRoleWithWebIdentity`: keys for a token that begins with `good`.
async fn exchange(State(sts): State<SharedSts>, form: String) -> (StatusCode, String) {
    let said = |name: &str| {
        let mut pairs = form_urlencoded::parse(form.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let mut sts = sts.lock().unwrap_or_else(PoisonError::into_inner);
    let token = said("WebIdentityToken");
    let is_good = said("Action") == "AssumeRoleWithWebIdentity"
        && said("RoleArn") == ROLE
        && token.starts_with("good");
    sts.shown.push(token);
    if !is_good {
        let refusal = r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
            <Code>InvalidIdentityToken</Code><Message>who are you?</Message></Error></ErrorResponse>"#;
        return (StatusCode::BAD_REQUEST, refusal.to_owned());
    }
    let end = Clock::start().now() + LIFE;
    sts.given.push(end);
    let number = sts.given.len();
    let keys = format!(
        r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
            <AssumedRoleUser><Arn>{ROLE}/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>
            <Credentials><AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>
            <SessionToken>session-{number}</SessionToken><Expiration>{end:.0}</Expiration></Credentials>
            </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"#
    );
    (StatusCode::OK, keys)
}

/// Lets in whoever signs with keys that STS gave and that have not ended.
fn keeper(sts: &SharedSts) -> Keeper {
    let sts = Arc::clone(sts);
    Arc::new(move |headers| {
        let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("");
        let number = header("x-amz-security-token").strip_prefix("session-").unwrap_or("0");
        let is_signed = header("authorization").contains(&format!("Credential=ASIA{number}/"));
        let sts = sts.lock().unwrap_or_else(PoisonError::into_inner);
        let index = number.parse::<usize>().unwrap_or(0).wrapping_sub(1);
        let is_good = sts.given.get(index).is_some_and(|end| Clock::start().now() < *end);
        let refusal =
            r#"{"__type": "com.amazonaws.sqs#InvalidClientTokenId", "message": "no such key"}"#;
        (is_signed && is_good)
            .then_some(())
            .ok_or_else(|| (StatusCode::FORBIDDEN, refusal.to_owned()))
    })
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_keys_and_read_anew_before_they_end() -> Result<()> {
    let (server, sts) = (ElasticMq::start().await?, SharedSts::default());
    let queue = server.queue("uploads", 600).await?;
    server.send(&queue, 45, 0).await?;
    let gate = Gate::before(server.port, keeper(&sts)).await?;
    let token = fresh_folder("identity")?.join("token");
    std::fs::write(&token, "good-1")?;
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    let namespace = cluster.namespace("identity").await?;
    let (file, url) = (token.display().to_string(), start(&sts).await?);
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*file),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ENDPOINT_URL_STS", &*url),
    ];
    let only_here = ["--namespace", &namespace, "--lease-namespace", &namespace];
    let daemon = Penstock::run_in(&environment, cluster.kubeconfig(), &only_here).await?;
    let scene = Scene::with(cluster, namespace.clone(), daemon).await?;
    scene.deployment("scan", 0).await?;
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "aws"},
            "spec": {"sqs": {"region": "elasticmq", "endpoint": gate.url()}},
        }))
        .await?;
    let sqs = json!({"connectionRef": {"name": "aws"}, "queueUrl": queue, "perReplica": 10});
    let source = json!({"name": "uploads", "pollInterval": "1s", "sqs": sqs});
    let stage =
        json!({"target": {"name": "scan"}, "replicas": {"min": 0, "max": 20}, "sources": [source]});
    scene.pipeline("uploads", stage).await?;
    assert_eq!(scene.until_moved(("scan", 0, 5), SOON).await?, [5]);
    // The kubelet has written the next token: it is shown when the keys are about to end.
    std::fs::write(&token, "good-2")?;
    let shown = |token: &str| {
        let sts = sts.lock().unwrap_or_else(PoisonError::into_inner);
        sts.shown.iter().any(|shown| shown == token).then_some(())
    };
    scene.until("the next token to be shown", SOON, async || Ok(shown("good-2"))).await?;
    server.send(&queue, 20, 0).await?;
    scene.until_moved(("scan", 0, 7), SOON).await?;
    // A token that is refused: the stage is held as it is.
    std::fs::write(&token, "bad")?;
    let refused = ("Ready", "False", "AuthenticationFailed");
    let said = scene.until_condition("uploads", refused, SOON).await?;
    assert!(said.contains("InvalidIdentityToken") && !said.contains("s3cret"), "{said}");
    assert_eq!(scene.moves("scan", 0)?.last().context("no moves")?, &7);
    Ok(())
}
