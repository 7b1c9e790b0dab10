//! Scenarios of logging in to Kafka by OAUTHBEARER: a real broker that checks the token, and a seller of tokens in this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::rig::{Broker, BrokerOptions, Kafka, Listener, serve_on};
use crate::scene::{SOON, Scene};

/// How long a token lives, seconds.
const LIFE: u64 = 12;

/// What the seller does and has done.
#[derive(Debug, Default)]
pub(crate) struct Shop {
    /// Tokens that ended long ago are sold.
    sells_stale: bool,
    is_broken: bool,
    pub(crate) sold: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<Shop>>;

/// Starts the seller, who sells to penstock with s3cret for scope kafka; gives its URL.
pub(crate) async fn open(shop: &Shared) -> Result<String> {
    let router = Router::new().route("/token", post(sell)).with_state(Arc::clone(shop));
    Ok(format!("{}/token", serve_on(router).await?))
}

async fn sell(
    State(shop): State<Shared>,
    headers: HeaderMap,
    form: String,
) -> (StatusCode, String) {
    let mut shop = shop.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = format!("Basic {}", STANDARD.encode("penstock:s3cret"));
    if shop.is_broken {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    if headers.get("authorization").is_none_or(|given| *given != *wanted) {
        return (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}).to_string());
    }
    if form != "grant_type=client_credentials&scope=kafka" {
        return (StatusCode::BAD_REQUEST, json!({"error": "invalid_scope"}).to_string());
    }
    let token = token(shop.sells_stale);
    shop.sold.push(token.clone());
    (
        StatusCode::OK,
        json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFE}).to_string(),
    )
}

/// A token without a signature, as Kafka's own handler for trials takes it.
#[expect(clippy::disallowed_methods, reason = "a token's end is wall time")]
fn token(is_stale: bool) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let begin = if is_stale { now - 3_600 } else { now };
    let claims = json!({"sub": "gatekeeper", "iat": begin, "exp": begin + LIFE, "scope": "kafka"});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims))
}

fn change(shop: &Shared, change: impl FnOnce(&mut Shop)) {
    change(&mut shop.lock().unwrap_or_else(PoisonError::into_inner));
}

async fn broker() -> Result<Broker> {
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                  unsecuredLoginStringClaim_sub=\"broker\";";
    let key = |rest: &str| format!("listener.name.sasltls.{rest}");
    let properties = vec![
        (key("sasl.enabled.mechanisms"), "OAUTHBEARER".to_owned()),
        (key("oauthbearer.sasl.jaas.config"), module.to_owned()),
        // A session ends with its token, and the broker hangs up.
        (key("oauthbearer.connections.max.reauth.ms"), "3600000".to_owned()),
    ];
    let options =
        BrokerOptions { secured: true, request_log: true, properties, ..BrokerOptions::default() };
    Broker::start(Kafka::V4_1, options).await
}

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client"},
        "stringData": {"id": "penstock", "secret": password},
    })
}

#[tokio::test]
async fn a_token_is_bought_renewed_before_it_ends_and_what_goes_wrong_is_named() -> Result<()> {
    let (broker, shop) = (broker().await?, Shared::default());
    let url = open(&shop).await?;
    let scene = Scene::open("tokens").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 4).await?;
    broker.send(topic, None, 40).await?;
    scene.deployment("worker", 0).await?;
    scene.create(secret("guessed")).await?;
    let data = json!({"ca.crt": broker.authority()});
    scene
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": data}))
        .await?;
    let key = |key| json!({"name": "client", "key": key});
    let oauth2 = json!({
        "tokenUrl": url, "clientIdSecretRef": key("id"), "clientSecretSecretRef": key("secret"), "scopes": ["kafka"],
    });
    let kafka = json!({
        "bootstrapServers": broker.address(Listener::SaslTls)?,
        "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}},
        "sasl": {"mechanism": "OAUTHBEARER", "oauth2": oauth2},
    });
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "events"},
            "spec": {"kafka": kafka},
        }))
        .await?;
    let kafka = json!({
        "connectionRef": {"name": "events"}, "topics": [topic], "group": topic, "offsetReset": "Earliest",
        "perReplica": 10,
    });
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20},
        "sources": [{"name": "queue", "kafka": kafka}],
    });
    scene.pipeline_unread("orders", stage).await?;

    // The seller does not know us.
    let refused = ("Ready", "False", "AuthenticationFailed");
    let said = scene.until_condition("orders", refused, SOON).await?;
    let words = format!("{url} refuses the login: status 401, invalid_client");
    assert!(said.contains(&words) && !said.contains("guessed"), "{said}");
    scene.change(secret("s3cret")).await?;
    assert_eq!(scene.until_moved(("worker", 0, 4), SOON * 2).await?, [4]);
    assert!(broker.has_served("User:gatekeeper")?);
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;

    // Three lives of a token, and no reading fails.
    let sold = |shop: &Shared| shop.lock().unwrap_or_else(PoisonError::into_inner).sold.len();
    let before = sold(&shop);
    scene
        .until("three more tokens", Duration::from_secs(LIFE * 8), async || {
            let source = scene.stage("orders").await?.sources.remove(0);
            anyhow::ensure!(source.state == "Fresh", "{source:?}");
            Ok((before + 3 <= sold(&shop)).then_some(()))
        })
        .await?;

    // The seller is away for longer than a token lives: nobody can log in, and everything is as before when it is back.
    let is = async |state: &str, words: &str| {
        scene
            .until(&format!("{state} {words}"), SOON * 2, async || {
                let source = scene.stage("orders").await?.sources.remove(0);
                let said = source.message.unwrap_or_default();
                Ok((source.state == state && said.contains(words)).then_some(()))
            })
            .await
    };
    change(&shop, |shop| shop.is_broken = true);
    is("Stale", &format!("{url} cannot answer the purchase of a token: status 503")).await?;
    change(&shop, |shop| shop.is_broken = false);
    is("Fresh", "").await?;

    // The broker does not take what is sold.
    change(&shop, |shop| shop.sells_stale = true);
    is("Stale", "refuses the login").await?;
    change(&shop, |shop| shop.sells_stale = false);
    is("Fresh", "").await?;
    Ok(())
}
