//! Scenarios of `external`: a scaler of another make, asked over TLS with a certificate on each side, that is polled and that speaks up.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::rig::{Authority, Scaler};
use crate::scene::{SOON, Scene};

/// The Secrets, and a Connection for each login: `scaler` shows a certificate and a name, `stranger` shows nothing.
async fn connect(scene: &Scene, scaler: &Scaler, authority: &Authority) -> Result<()> {
    let pair = authority.client("penstock", None)?;
    for (name, data) in [
        (
            "tls",
            json!({"ca.crt": authority.certificate(), "tls.crt": pair.certificate, "tls.key": pair.key}),
        ),
        ("login", json!({"username": "penstock", "password": "s3cret"})),
    ] {
        scene
            .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}))
            .await?;
    }
    let key = |name: &str, key: &str| json!({"name": name, "key": key});
    let tls = json!({
        "caSecretRef": key("tls", "ca.crt"), "certSecretRef": key("tls", "tls.crt"), "keySecretRef": key("tls", "tls.key"),
    });
    for (name, external) in [
        (
            "scaler",
            json!({
                "url": scaler.address(), "tls": tls,
                "usernameSecretRef": key("login", "username"), "passwordSecretRef": key("login", "password"),
            }),
        ),
        (
            "stranger",
            json!({"url": scaler.address(), "tls": {"caSecretRef": key("tls", "ca.crt")}}),
        ),
    ] {
        scene
            .create(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": name},
                "spec": {"external": external},
            }))
            .await?;
    }
    Ok(())
}

fn stage(target: &str, connection: &str, poll: &str) -> Value {
    json!({
        "name": "answer", "target": {"name": target}, "replicas": {"min": 0, "max": 20},
        "sources": [{
            "name": "tickets", "pollInterval": poll,
            "external": {"connectionRef": {"name": connection}, "metadata": {"queue": "support"}},
        }],
    })
}

#[tokio::test]
async fn a_scaler_is_polled_over_mutual_tls_and_its_own_target_counts() -> Result<()> {
    let authority = Authority::new("scaler")?;
    let mut scaler = Scaler::start_with_tls(&authority)?;
    scaler.fill(70.0);
    let scene = Scene::open("external").await?;
    connect(&scene, &scaler, &authority).await?;
    for name in ["polled", "strange"] {
        scene.deployment(name, 0).await?;
    }
    scene.pipeline("tickets", stage("polled", "scaler", "1s")).await?;
    assert_eq!(scene.until_moved(("polled", 0, 7), SOON).await?, [7]);
    let asked = (scene.namespace.clone(), "tickets-answer".to_owned(), "support".to_owned());
    assert_eq!(scaler.asked(), asked);
    // penstock:s3cret
    assert_eq!(scaler.login().as_deref(), Some("Basic cGVuc3RvY2s6czNjcmV0"));
    // One who shows no certificate is not let in, and told so; nothing is taken for none.
    scene.pipeline_unread("strange", stage("strange", "stranger", "1s")).await?;
    let source = async |pipeline: &str| {
        let source = scene.stage(pipeline).await?.sources.into_iter().next();
        source.context("no source")
    };
    scene
        .until("the stranger to fail", SOON, async || {
            Ok((source("strange").await?.state == "Failed").then_some(()))
        })
        .await?;
    assert_eq!(scene.moves("strange", 0)?, [0_u32; 0]);
    // The scaler goes: the stage is held. It comes back, with more.
    scaler.stop();
    let words = format!("{} cannot be reached", scaler.address());
    scene
        .until("the scaler to be missed", SOON, async || {
            let source = source("tickets").await?;
            let said = source.message.unwrap_or_default();
            anyhow::ensure!(source.state == "Stale" && said.contains(&words), "{said}");
            Ok(Some(()))
        })
        .await?;
    assert_eq!(scene.moves("polled", 0)?, [7]);
    scaler.fill(95.0);
    scaler.start_again()?;
    assert_eq!(scene.until_moved(("polled", 0, 10), SOON).await?, [7, 10]);
    Ok(())
}

#[tokio::test]
async fn a_scaler_that_speaks_up_wakes_a_stage_long_before_the_next_poll() -> Result<()> {
    let authority = Authority::new("scaler")?;
    let scaler = Scaler::start_with_tls(&authority)?;
    let scene = Scene::open("push").await?;
    connect(&scene, &scaler, &authority).await?;
    scene.deployment("pushed", 0).await?;
    scene.pipeline("tickets", stage("pushed", "scaler", "10m")).await?;
    scene.until("a stream", SOON, async || Ok((0 < scaler.streams()).then_some(()))).await?;
    // More work without a word is seen at the next poll, and so not yet.
    scaler.fill(42.0);
    tokio::time::timeout(Duration::from_secs(3), scene.until_any_move("pushed", 0))
        .await
        .err()
        .context("it was asked although nobody said anything")?;
    scaler.say(true);
    assert_eq!(scene.until_moved(("pushed", 0, 5), SOON).await?, [5]);
    Ok(())
}
