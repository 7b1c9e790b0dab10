//! A whole daemon over the in-memory cluster asks a scripted broker: a decision that hangs on commits has them read at once, and no
//! other does.

use std::time::Duration;

use penstock::daemon;
use penstock::demo::cluster::{Cluster, Options};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::Broker;

use crate::daemons;

/// Consumers commit this often; a source is polled every second.
const COMMITS: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_read_at_each_poll_while_a_rate_is_learned_and_rarely_by_the_known_and_the_quiet()
 {
    let broker = Broker::start().await;
    broker.topic("busy", &[(0, 1_000), (0, 1_000)]);
    broker.topic("idle", &[(0, 40)]);
    broker.commit("quiet", "idle", 0, 40);
    // Pods that are never Ready teach nothing, so the learning goes on for as long as this test.
    let never = Duration::from_hours(1);
    let cluster = Cluster::new(Options { startup: (never, never), ..Options::default() });
    for kind in penstock::crd::all() {
        cluster.define(serde_json::to_value(kind).unwrap()).unwrap();
    }
    pipeline(&cluster, &broker, ("learning", "busy"), json!({}));
    pipeline(&cluster, &broker, ("known", "busy"), json!({"ratePerReplica": 5}));
    pipeline(&cluster, &broker, ("quiet", "idle"), json!({}));

    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    tasks.spawn(run(cluster.clone(), stop.clone()));
    let work = async {
        let mut ticks = interval(COMMITS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for offset in (0..).step_by(10) {
            ticks.tick().await;
            for (group, partition) in [("learning", 0), ("learning", 1), ("known", 0), ("known", 1)]
            {
                broker.commit(group, "busy", partition, offset);
            }
        }
    };
    let ahead = async {
        // Until commit intervals are measured all that are busy are read at each poll; from then on only who is pressed is.
        let end = Instant::now() + PATIENCE;
        while broker.fetches("learning") < broker.fetches("known") + 8 {
            let fetches = ["learning", "known", "quiet"].map(|group| broker.fetches(group));
            assert!(Instant::now() < end, "learning, known, quiet were read {fetches:?} times");
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = ahead => {}
    }
    let (learning, quiet) = (broker.fetches("learning"), broker.fetches("quiet"));
    assert!((1..=learning / 4).contains(&quiet), "{quiet} times of {learning}");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

async fn run(cluster: Cluster, stop: CancellationToken) {
    let clients = daemons::clients(cluster.client(), cluster.client());
    let options = daemons::options("test");
    Box::pin(daemon::run(clients, options, stop)).await.unwrap();
}

/// A pipeline with one stage whose name is that of its workload and its group.
fn pipeline(cluster: &Cluster, broker: &Broker, (name, topic): (&str, &str), more: Value) {
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": "none"}]}},
        },
    });
    cluster.put("apps", "v1", "deployments", "default", deployment).unwrap();
    let mut stage = json!({
        "name": "work", "target": {"kind": "Deployment", "name": name}, "replicas": {"max": 1},
        "sources": [{"name": "queue", "pollInterval": "1s", "kafka": {
            "bootstrapServers": broker.address, "topics": [topic], "group": name, "offsetReset": "Earliest",
        }}],
    });
    if let (Value::Object(stage), Value::Object(more)) = (&mut stage, more) {
        stage.extend(more);
    }
    let pipeline = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"stages": [stage]},
    });
    cluster.put("penstock.dev", "v1alpha1", "scaledpipelines", "default", pipeline).unwrap();
}
