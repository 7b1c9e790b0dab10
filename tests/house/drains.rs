//! Drains that are held, as the watch tells of them and the daemon writes, on the in-memory API: which pods have a notice, which budgets are ours,
//! by when a drain is held up no more; and a budget that an earlier life left tight for a pipeline that cannot be read.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use penstock::clock::Clock;
use penstock::crd;
use penstock::daemon;
use penstock::decide::{Draining, Grip, PipelineId};
use penstock::demo::cluster::{Cluster, Fault, Logged, Match, Options};
use penstock::tasks::Tasks;
use penstock::watch::{self, Watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::daemons;

const BUDGET: &str = "penstock-deployment-sink";
const SELECTOR: &str = "app";

/// A cluster without controllers: a pool of spot, a Deployment on it, and a pipeline that holds who drains it.
struct Yard {
    cluster: Cluster,
    client: Client,
    clock: Clock,
}

impl Yard {
    fn new(namespaces: &[&str]) -> Self {
        let cluster = Cluster::new(Options { controllers: false, nodes: 0, ..Options::default() });
        for definition in crd::all() {
            cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
        }
        let client = cluster.client();
        let yard = Self { cluster, client, clock: Clock::start() };
        let pool = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"},
            "spec": {"class": "Spot", "nodeSelector": {"pool": "spot"}, "notice": "120s"},
        });
        yard.put("penstock.dev", "v1alpha1", "capacitypools", "", pool);
        for namespace in namespaces.iter().copied() {
            if namespace != "default" {
                let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                yard.put("", "v1", "namespaces", "", object);
            }
            let labels = json!({SELECTOR: "sink"});
            let container = json!({"name": "c", "image": "i"});
            let sink = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sink"},
                "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
                    "metadata": {"labels": labels}, "spec": {"containers": [container]},
                }},
            });
            yard.put("apps", "v1", "deployments", namespace, sink);
        }
        yard
    }

    fn put(&self, group: &str, version: &str, plural: &str, namespace: &str, object: Value) {
        self.cluster.put(group, version, plural, namespace, object).unwrap();
    }

    /// One stage that holds drains, of these lanes; where there are none, of one, and without the port of its brokers it cannot be read.
    fn pipeline(&self, namespace: &str, lanes: Option<&Value>) {
        let one = json!([{"pool": "spot", "target": {"name": "sink"}}]);
        let servers = if lanes.is_some() { "127.0.0.1:1" } else { "127.0.0.1" };
        let lanes = lanes.unwrap_or(&one);
        let object = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "orders"},
            "spec": {"stages": [{
                "name": "sink", "replicas": {"min": 2, "max": 9}, "capacity": {"drain": "Hold"}, "lanes": lanes,
                "sources": [{"name": "q", "kafka": {"bootstrapServers": servers, "topics": ["t"], "group": "g"}}],
            }]},
        });
        self.put("penstock.dev", "v1alpha1", "scaledpipelines", namespace, object);
    }

    /// A node of spot, with these taints.
    fn node(&self, name: &str, taints: &[&str]) {
        let taints: Vec<_> =
            taints.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"pool": "spot"}},
            "spec": {"taints": taints},
        });
        self.put("", "v1", "nodes", "", node);
    }

    /// A Ready pod that was started so many seconds ago.
    async fn pod(&self, name: &str, node: &str, age: i64) {
        let started = self.seconds_ago(age);
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": started});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {SELECTOR: "sink"}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": "i"}]},
        });
        self.put("", "v1", "pods", "default", pod);
        let status =
            json!({"status": {"phase": "Running", "startTime": started, "conditions": [ready]}});
        let pods = self.api("v1", "Pod");
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    fn seconds_ago(&self, seconds: i64) -> String {
        let then = self.clock.now() - seconds.seconds();
        then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn watch(&self, namespaces: &[&str]) -> Watch {
        let namespaces = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
        let options = watch::Options { namespaces, ..watch::Options::default() };
        Watch::start(self.client.clone(), self.clock, options, Tasks::default())
    }

    /// What is known of the evictions of a pipeline's pods, once it is as it should be.
    async fn see(
        &self,
        watch: &Watch,
        namespace: &str,
        is_it: impl Fn(&Draining) -> bool,
    ) -> Draining {
        let due = BTreeSet::from([id(namespace)]);
        let mut last = None;
        for _ in 0..500 {
            if watch.unsynced().is_empty() {
                let sight = watch.seen(&due, self.clock.now()).sights.pop();
                last = sight.and_then(|sight| sight.draining);
                if let Some(draining) = last.take_if(|draining| is_it(draining)) {
                    return draining;
                }
            }
            drop(timeout(Duration::from_millis(20), watch.changed()).await);
        }
        panic!("it was never seen; the last was {last:#?}");
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
        let resource = kube::api::ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    /// A tight budget of this name; of Penstock's where it has an owner.
    fn budget(&self, name: &str, owner: Option<&str>, until: Timestamp) {
        let mut metadata = json!({"name": name});
        if let Some(uid) = owner {
            metadata["labels"] = json!({Draining::LABEL: "held"});
            metadata["annotations"] = json!({Grip::UNTIL: until.to_string()});
            metadata["ownerReferences"] = json!([{
                "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders", "uid": uid,
            }]);
        }
        let selector =
            json!({"matchExpressions": [{"key": SELECTOR, "operator": "In", "values": ["sink"]}]});
        let object = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata,
            "spec": {"minAvailable": 2, "selector": selector},
        });
        self.put("policy", "v1", "poddisruptionbudgets", "default", object);
    }

    async fn uid(&self) -> String {
        let pipeline = self.api("penstock.dev/v1alpha1", "ScaledPipeline").get("orders").await;
        pipeline.unwrap().metadata.uid.unwrap()
    }
}

fn id(namespace: &str) -> PipelineId {
    PipelineId { namespace: namespace.into(), name: "orders".into() }
}

fn lanes() -> Value {
    json!([{"pool": "spot", "share": 100, "target": {"name": "sink"}}])
}

#[tokio::test]
async fn a_pod_that_came_after_the_notice_is_not_let_go_and_the_first_end_counts() {
    let yard = Yard::new(&["default"]);
    yard.pipeline("default", Some(&lanes()));
    yard.node("noticed", &["aws-node-termination-handler/spot-itn"]);
    yard.node("drained", &["karpenter.sh/disrupted"]);
    yard.node("stays", &[]);
    yard.pod("old", "noticed", 60).await;
    // As if its node had been noticed before it came.
    yard.pod("late", "noticed", -30).await;
    yard.pod("elsewhere", "drained", 60).await;
    yard.pod("safe", "stays", 60).await;
    let watch = yard.watch(&[]);
    let before = yard.clock.now();
    let is_all = |it: &Draining| {
        it.held.first().is_some_and(|crew| crew.pods == 4 && !crew.leaving.is_empty())
    };
    let draining = yard.see(&watch, "default", is_all).await;
    let crew = &draining.held[0];
    let leaving: Vec<_> = crew.leaving.iter().map(|leaving| &*leaving.pod).collect();
    assert_eq!(leaving, ["old"], "whose end is known, and who was there before");
    assert_eq!(crew.leaving[0].grace, Duration::from_secs(30));
    // Two minutes of notice and one besides, which is before the ten of a node that is merely drained.
    let until = crew.until.unwrap();
    let after = until.duration_since(before).as_secs_f64();
    assert!((179.0..191.0).contains(&after), "{after} s");
    assert_eq!(crew.leaving[0].end, until - 60.seconds());
}

#[tokio::test]
async fn a_foreign_budget_of_our_name_is_somebody_elses() {
    let yard = Yard::new(&["default"]);
    yard.pipeline("default", Some(&lanes()));
    yard.node("stays", &[]);
    yard.pod("safe", "stays", 60).await;
    let watch = yard.watch(&[]);
    let none = yard.see(&watch, "default", |it| !it.held.is_empty()).await;
    assert_eq!((none.held[0].other.as_deref(), none.budgets.len()), (None, 0));
    yard.budget(BUDGET, None, Timestamp::UNIX_EPOCH);
    let draining = yard.see(&watch, "default", |it| it.held[0].other.is_some()).await;
    assert_eq!(draining.held[0].other.as_deref(), Some(BUDGET));
    assert_eq!(draining.budgets, [], "so that nobody may write it");
}

#[tokio::test]
async fn a_budget_of_another_pipeline_says_nothing_that_this_one_promised() {
    let yard = Yard::new(&["default"]);
    yard.pipeline("default", Some(&lanes()));
    yard.node("stays", &[]);
    yard.pod("safe", "stays", 60).await;
    let until = yard.clock.now() + 60.seconds();
    yard.budget(BUDGET, Some("of-another"), until);
    let own = yard.uid().await;
    yard.budget("penstock-deployment-former", Some(&own), until);
    let watch = yard.watch(&[]);
    let draining = yard.see(&watch, "default", |it| it.budgets.len() == 2).await;
    let says: Vec<_> =
        draining.budgets.iter().map(|it| (&*it.name, it.grip.is_some(), it.until)).collect();
    let own = ("penstock-deployment-former", true, Some(until));
    assert_eq!(says, [own, (BUDGET, false, None)]);
}

#[tokio::test]
async fn what_may_not_be_read_in_one_namespace_keeps_no_other_from_holding() {
    let both = ["default", "shop"];
    let yard = Yard::new(&both);
    for namespace in both {
        yard.pipeline(namespace, Some(&lanes()));
    }
    let list = Match::of("list", "poddisruptionbudgets", "");
    yard.cluster.faults().plan(list, Fault::Refuse(403), 1);
    let watch = yard.watch(&both);
    let mut unreadable = 0;
    for namespace in both {
        let draining = yard.see(&watch, namespace, |it| !it.held.is_empty()).await;
        unreadable += u32::from(draining.is_unreadable);
    }
    assert_eq!(unreadable, 1, "of the two that were asked one was refused");
}

#[tokio::test]
async fn what_an_earlier_life_left_tight_is_taken_away_though_the_pipeline_cannot_be_read() {
    let yard = Yard::new(&["default"]);
    yard.pipeline("default", None);
    let promised = yard.clock.now() + 3.seconds();
    yard.budget(BUDGET, Some(&yard.uid().await), promised);
    yard.budget("theirs", None, promised);
    let clients = daemons::clients(yard.client.clone(), yard.client.clone());
    let options = daemons::options("a");
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let end = stop.clone();
    tasks.spawn(async move { Box::pin(daemon::run(clients, options, end)).await.unwrap() });
    let budgets = yard.api("policy/v1", "PodDisruptionBudget");
    let mut gone_at = None;
    for _ in 0..1000 {
        if budgets.get_opt(BUDGET).await.unwrap().is_none() {
            gone_at = Some(yard.clock.now());
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let gone_at = gone_at.expect("it is there still");
    assert!(promised <= gone_at, "what is promised is kept: {promised}, {gone_at}");
    let pipeline = yard.api("penstock.dev/v1alpha1", "ScaledPipeline").get("orders").await.unwrap();
    let said = pipeline.data["status"]["conditions"].to_string();
    assert!(said.contains("must be host:port"), "{said}");
    assert!(budgets.get_opt("theirs").await.unwrap().is_some());
    let log = yard.cluster.faults().log();
    let is_delete = |it: &&Logged| it.verb == "delete" && it.resource == "poddisruptionbudgets";
    assert_eq!(log.iter().filter(is_delete).count(), 1);
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test]
async fn a_drain_in_its_middle_is_held_by_a_daemon_that_has_to_wait_for_the_list_of_nodes() {
    let yard = Yard::new(&["default"]);
    yard.pipeline("default", Some(&lanes()));
    yard.node("drained", &["karpenter.sh/disrupted"]);
    yard.pod("one", "drained", 60).await;
    yard.pod("two", "drained", 60).await;
    yard.budget(BUDGET, Some(&yard.uid().await), yard.clock.now() + 600.seconds());
    let slow = Fault::Delay(Duration::from_secs(2));
    yard.cluster.faults().plan(Match::of("list", "nodes", ""), slow, 1);
    let clients = daemons::clients(yard.client.clone(), yard.client.clone());
    let options = daemons::options("a");
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let end = stop.clone();
    tasks.spawn(async move { Box::pin(daemon::run(clients, options, end)).await.unwrap() });
    let budgets = yard.api("policy/v1", "PodDisruptionBudget");
    let is_asked = |resource: &str| {
        let log = yard.cluster.faults().log();
        log.iter().any(|it| it.verb == "list" && it.resource == resource)
    };
    // Two seconds for the nodes, and two in which it would be loosened.
    for _ in 0..400 {
        let budget = budgets.get(BUDGET).await.unwrap();
        assert_eq!(budget.data["spec"]["minAvailable"], 2, "{budget:?}");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(is_asked("nodes") && is_asked("poddisruptionbudgets"), "it never looked");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}
