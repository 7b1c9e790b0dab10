//! A whole daemon over the in-memory cluster records its turns: they can be decided again, and hold no Secret.

use std::process::Command;
use std::time::Duration;

use penstock::daemon::{self, Destination};
use penstock::demo::cluster::{Cluster, Options};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::Broker;

use crate::daemons;

const PASSWORD: &str = "correct-horse-battery-staple";
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_records_what_can_be_decided_again_and_no_secret() {
    let broker = Broker::start().await;
    broker.state().password = Some(PASSWORD.to_owned());
    broker.topic("orders", &[(0, 4_000), (0, 4_000), (0, 4_000), (0, 4_000)]);
    broker.commit("enrich", "orders", 0, 0);
    let cluster = Cluster::new(Options::default());
    for kind in penstock::crd::all() {
        cluster.define(serde_json::to_value(kind).unwrap()).unwrap();
    }
    scene(&cluster, &broker);
    let folder = tempfile::tempdir().unwrap();
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    tasks.spawn(run(cluster.clone(), folder.path().to_owned(), stop.clone()));
    let end = Instant::now() + PATIENCE;
    let file = folder.path().join("turns-000001.jsonl");
    // Scaled for the backlog it read, and then some.
    let is_enough = |text: &str| text.contains("\"Fresh\"") && text.contains("\"Done\"");
    while !std::fs::read_to_string(&file).is_ok_and(|text| is_enough(&text)) {
        assert!(Instant::now() < end, "{:?}", std::fs::read_to_string(&file));
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(2)).await;
    stop.cancel();
    while let Some(end) = tasks.join_next().await {
        end.unwrap();
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(PASSWORD) && !text.contains(&encoded(PASSWORD)), "a Secret: {text}");
    let replayed = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("replay")
        .arg(folder.path())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&replayed.stdout);
    assert_eq!(replayed.status.code(), Some(0), "{out}");
    assert!(out.trim_end().ends_with("The same plan at every turn."), "{out}");
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn run(cluster: Cluster, folder: std::path::PathBuf, stop: CancellationToken) {
    let clients = daemons::clients(cluster.client(), cluster.client());
    let record = Some(Destination { folder, limit: 64 << 20 });
    let options = daemon::Options { record, ..daemons::options("test") };
    Box::pin(daemon::run(clients, options, stop)).await.unwrap();
}

/// A pipeline whose broker wants a password that lies in a Secret.
fn scene(cluster: &Cluster, broker: &Broker) {
    let labels = json!({"app": "enrich"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "enrich", "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "none"}]}},
        },
    });
    cluster.put("apps", "v1", "deployments", "default", deployment).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "default"},
        "data": {"user": encoded("penstock"), "password": encoded(PASSWORD)},
    });
    cluster.put("", "v1", "secrets", "default", secret).unwrap();
    let connection = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "events", "namespace": "default"},
        "spec": {"kafka": {"bootstrapServers": broker.address, "sasl": {
            "mechanism": "PLAIN",
            "usernameSecretRef": {"name": "login", "key": "user"},
            "passwordSecretRef": {"name": "login", "key": "password"},
        }}},
    });
    cluster.put("penstock.dev", "v1alpha1", "connections", "default", connection).unwrap();
    let pipeline = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"stages": [{
            "name": "enrich", "target": {"kind": "Deployment", "name": "enrich"}, "replicas": {"max": 4},
            "sources": [{"name": "queue", "pollInterval": "1s", "kafka": {
                "connectionRef": {"name": "events"}, "topics": ["orders"], "group": "enrich",
                "offsetReset": "Earliest", "perReplica": 1000,
            }}],
        }]},
    });
    cluster.put("penstock.dev", "v1alpha1", "scaledpipelines", "default", pipeline).unwrap();
}
