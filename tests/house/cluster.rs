//! The in-memory API: the conformance cases, and what only it has (controllers, faults, the log).

#[path = "../conformance/mod.rs"]
mod conformance;

use std::time::Duration;

use conformance::ground::{Ground, config_map, deployment, rollout};
use http::Method;
use penstock::demo::cluster::{Cluster, Fault, Match, Options};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

macro_rules! in_memory {
    ($($room:ident: $($case:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() {
                super::conformance::$room::$case(super::ground()).await;
            })+
        })+
    };
}
conformance::every_case!(in_memory);

fn ground() -> Ground {
    ground_of(&Cluster::new(Options { controllers: false, ..Options::default() }))
}

fn ground_of(cluster: &Cluster) -> Ground {
    Ground { client: cluster.client(), namespace: "default".to_owned(), minor: 36 }
}

#[tokio::test]
async fn what_is_asked_of_a_forgotten_past_has_expired() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    let ground = ground_of(&cluster);
    let moment = conformance::old::remember(&ground).await;
    assert!(!conformance::old::is_forgotten(&ground, &moment).await);
    cluster.compact();
    assert!(conformance::old::is_forgotten(&ground, &moment).await);
    conformance::old::a_forgotten_past_has_expired(&ground, &moment).await;
}

/// A cluster whose pods take as long to start, and the ground to ask it from.
fn living(startup: u64, options: Options) -> (Cluster, Ground) {
    let startup = Duration::from_secs(startup);
    let cluster = Cluster::new(Options { startup: (startup, startup), ..options });
    let ground = ground_of(&cluster);
    (cluster, ground)
}

/// Lets so many seconds pass, and what is due in them happen.
async fn after(seconds: u64) {
    sleep(Duration::from_secs(seconds) + Duration::from_millis(500)).await;
}

/// Name and phase of each pod, and whether it is Ready.
async fn pods(g: &Ground) -> Vec<(String, String, bool)> {
    let list = g.get(&g.path("v1", "pods", "")).await.expect(200).body;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let pods = list["items"].as_array().into_iter().flatten();
    pods.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["status"]["phase"]), is_ready(pod)))
        .collect()
}

async fn scale_to(g: &Ground, path: &str, replicas: u32) {
    g.merge(&format!("{path}/scale"), &json!({"spec": {"replicas": replicas}})).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deployment_are_ready_once_they_have_started_and_go_when_it_shrinks() {
    let (_cluster, g) = living(20, Options::default());
    g.post(&g.deployment(""), &deployment("web", Some(3))).await.expect(201);
    after(18).await;
    assert_eq!(pods(&g).await.iter().map(|pod| pod.2).collect::<Vec<_>>(), [false; 3]);
    after(2).await;
    assert_eq!(pods(&g).await.iter().map(|pod| pod.2).collect::<Vec<_>>(), [true; 3]);
    let status = g.get(&g.deployment("web")).await.body["status"].clone();
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(3), &json!(3)));
    scale_to(&g, &g.deployment("web"), 1).await;
    after(0).await;
    assert_eq!(pods(&g).await.len(), 1);
    scale_to(&g, &g.deployment("web"), 0).await;
    after(0).await;
    assert_eq!(g.get(&g.deployment("web/scale")).await.body["status"]["replicas"], 0);
}

#[tokio::test(start_paused = true)]
async fn pods_beyond_what_the_nodes_take_stay_pending() {
    let (_cluster, g) = living(0, Options { nodes: 1, pods_per_node: 2, ..Options::default() });
    g.post(&g.deployment(""), &deployment("web", Some(3))).await.expect(201);
    after(5).await;
    let mut phases: Vec<_> = pods(&g).await.into_iter().map(|(_, phase, _)| phase).collect();
    phases.sort();
    assert_eq!(phases, ["Pending", "Running", "Running"]);
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_grows_and_shrinks_in_order() {
    let (_cluster, g) = living(10, Options::default());
    let mut set = deployment("db", Some(2));
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("db");
    g.post(&g.path("apps/v1", "statefulsets", ""), &set).await.expect(201);
    let names = async || pods(&g).await.into_iter().map(|pod| pod.0).collect::<Vec<_>>();
    after(8).await;
    assert_eq!(names().await, ["db-0"], "the second waits for the first");
    after(3).await;
    assert_eq!(names().await, ["db-0", "db-1"]);
    after(11).await;
    scale_to(&g, &g.path("apps/v1", "statefulsets", "db"), 1).await;
    after(1).await;
    assert_eq!(names().await, ["db-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_custom_kind_that_the_options_name_has_pods_and_tells_of_them() {
    let workloads = vec!["rollouts.alive.example.com".to_owned()];
    let (_cluster, g) = living(3, Options { workloads, ..Options::default() });
    let version = g.define("alive").await;
    let object = rollout(&version, "r", &json!({"name": "abc", "replicas": 2}));
    g.post(&g.path(&version, "rollouts", ""), &object).await.expect(201);
    after(5).await;
    assert_eq!(pods(&g).await.iter().filter(|pod| pod.2).count(), 2);
    let shown = g.get(&g.path(&version, "rollouts", "r/scale")).await.expect(200).body;
    assert_eq!(shown["status"], json!({"replicas": 2, "selector": "app=r"}));
}

#[tokio::test(start_paused = true)]
async fn answers_go_wrong_as_planned_and_no_more_often() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    let (g, faults) = (ground_of(&cluster), cluster.faults());
    g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let gets = || Match::of("get", "configmaps", "-");
    faults.plan(gets(), Fault::Refuse(500), 2);
    let codes = [g.get(&g.config_map("c")).await.code, g.get(&g.config_map("c")).await.code];
    assert_eq!((codes, g.get(&g.config_map("c")).await.code), ([500, 500], 200));

    faults.plan(gets(), Fault::Delay(Duration::from_secs(7)), 1);
    let begun = Instant::now();
    g.get(&g.config_map("c")).await.expect(200);
    assert!(begun.elapsed() >= Duration::from_secs(7));
    faults.plan(gets(), Fault::Hang, 1);
    let hung = timeout(Duration::from_mins(10), g.get(&g.config_map("c"))).await;
    assert!(hung.is_err(), "nothing is ever answered");

    // What the caller cannot know, the server does.
    let create = |name: &str| {
        let body = config_map(name).to_string().into_bytes();
        let request = http::Request::builder().method(Method::POST).uri(g.config_map(""));
        request
            .header("content-type", "application/json")
            .body(kube::client::Body::from(body))
            .unwrap()
    };
    let creates = || Match::of("create", "configmaps", "");
    faults.plan(creates(), Fault::Drop, 1);
    assert!(g.client.send(create("dropped")).await.is_err());
    g.get(&g.config_map("dropped")).await.expect(404);
    faults.plan(creates(), Fault::ForwardThenDrop, 1);
    assert!(g.client.send(create("done")).await.is_err());
    g.get(&g.config_map("done")).await.expect(200);
    faults.plan(creates(), Fault::ForwardThenRefuse(504), 1);
    assert_eq!(g.client.send(create("late")).await.unwrap().status(), 504);
    g.get(&g.config_map("late")).await.expect(200);

    faults.clear_log();
    faults.plan(gets(), Fault::Refuse(429), 9);
    faults.clear();
    g.merge(&g.config_map("c?fieldManager=me"), &json!({"data": {"a": "1"}})).await.expect(200);
    g.get(&g.config_map("c")).await.expect(200);
    let log = faults.log();
    let patch = &log[0];
    assert_eq!((patch.verb.as_str(), patch.name.as_str(), patch.code), ("patch", "c", 200));
    assert_eq!(
        (patch.query.as_str(), patch.content_type.as_str()),
        ("fieldManager=me", "application/merge-patch+json")
    );
    assert_eq!((patch.user_agent.as_str(), log.len()), ("conformance/1", 2));
}
