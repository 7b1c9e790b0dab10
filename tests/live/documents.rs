//! Scenarios of `http`: what a number and a time in a document size, behind a login, and what the server's trouble is told as.

use ::http::StatusCode;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::lineage::minutes_ago;
use crate::rig::Documents;
use crate::scene::{SOON, Scene};

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "desk"},
        "stringData": {"username": "penstock", "password": password},
    })
}

/// A stage sized by one field of one document.
fn stage(target: &str, json_path: &str, per_replica: u32) -> Value {
    json!({
        "target": {"name": target}, "replicas": {"max": 20},
        "sources": [{
            "name": "desk", "pollInterval": "1s",
            "http": {"connectionRef": {"name": "desk"}, "path": "/queue", "jsonPath": json_path, "perReplica": per_replica},
        }],
    })
}

#[tokio::test]
async fn a_number_and_a_time_in_a_document_size_deployments_behind_a_login() -> Result<()> {
    let server = Documents::start().await?;
    // penstock:s3cret
    server.ask_for("Basic cGVuc3RvY2s6czNjcmV0");
    let queue = json!({"depth": 45, "oldest": minutes_ago(32).to_string()});
    server.put("/queue", json!({"queue": queue}));
    let scene = Scene::open("http").await?;
    scene.create(secret("guessed")).await?;
    let key = |key| json!({"name": "desk", "key": key});
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "desk"},
            "spec": {"http": {
                "url": server.url(), "usernameSecretRef": key("username"), "passwordSecretRef": key("password"),
            }},
        }))
        .await?;
    for name in ["depth", "age"] {
        scene.deployment(name, 1).await?;
    }
    scene.pipeline_unread("depth", stage("depth", "$.queue.depth", 10)).await?;
    scene.pipeline_unread("age", stage("age", "$.queue.oldest", 300)).await?;
    let refused = ("Ready", "False", "AuthenticationFailed");
    let said = scene.until_condition("depth", refused, SOON).await?;
    let words = format!("{} refuses the login: status 401", server.url());
    assert!(said.contains(&words) && !said.contains("guessed"), "{said}");
    assert_eq!(scene.moves("depth", 1)?, [0_u32; 0]);
    // Secrets are read again every 30 s. 45 at 10 for each replica; 32 min and some seconds at 300 s.
    scene.change(secret("s3cret")).await?;
    assert_eq!(scene.until_moved(("depth", 1, 5), SOON * 2).await?, [5]);
    assert_eq!(scene.until_moved(("age", 1, 7), SOON).await?, [7]);
    scene.until_condition("depth", ("Ready", "True", "Serving"), SOON).await?;

    // Trouble is told by its word, and moves nobody.
    let is = async |state: &str, words: &str| {
        scene
            .until(&format!("{state}: {words}"), SOON, async || {
                let source = scene.stage("depth").await?.sources.into_iter().next();
                let source = source.context("no source")?;
                let said = source.message.unwrap_or_default();
                anyhow::ensure!(source.state == state && said.contains(words), "{said}");
                Ok(Some(()))
            })
            .await
    };
    server.remove("/queue");
    is("Stale", "has no /queue").await?;
    server.put("/queue", json!({"queue": {"depth": null}}));
    is("Stale", "with nothing").await?;
    server.put("/queue", json!({"queue": {"depth": -1}}));
    is("Stale", "which is no count").await?;
    server.break_down(Some(StatusCode::BAD_GATEWAY));
    is("Stale", "status 502").await?;
    assert_eq!(scene.moves("depth", 1)?, [5]);
    server.break_down(None);
    server.put("/queue", json!({"queue": {"depth": 80}}));
    assert_eq!(scene.until_moved(("depth", 1, 8), SOON).await?, [5, 8]);
    Ok(())
}
