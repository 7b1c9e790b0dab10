//! What the cluster says: stores, targets, Secrets, on the in-memory API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use penstock::clock::Clock;
use penstock::daemon::{self, Clients};
use penstock::decide::{
    Missing, Mode, Observation, PipelineId, QuestionId, Reading, Target, Unusable, Value as Said,
    Workload, Writing,
};
use penstock::demo::cluster::{Cluster, Fault, Match, Options};
use penstock::observe::{Address, Question};
use penstock::tasks::Tasks;
use penstock::watch::{self, PoolSight, Seen, Sight, Watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::daemons;

/// A cluster with the CRDs, and a watch on it.
struct Scene {
    cluster: Cluster,
    client: Client,
    tasks: Tasks,
    clock: Clock,
}

impl Scene {
    async fn new() -> Self {
        Self::without(&[]).await
    }

    /// Without the definitions of these kinds.
    async fn without(kinds: &[&str]) -> Self {
        let cluster = Cluster::new(Options::default());
        let client = cluster.client();
        let scene = Self { cluster, client, tasks: Tasks::default(), clock: Clock::start() };
        for crd in penstock::crd::all() {
            if !kinds.contains(&&*crd.spec.names.kind) {
                scene.define(&crd).await;
            }
        }
        scene
    }

    async fn define(&self, crd: &CustomResourceDefinition) {
        let version = "apiextensions.k8s.io/v1";
        let name = crd.name_any();
        self.apply(version, "CustomResourceDefinition", "", &name, &json!(crd)).await;
    }

    /// Server-side apply of any object.
    async fn apply(&self, version: &str, kind: &str, namespace: &str, name: &str, object: &Value) {
        let mut object = object.clone();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name);
        let api = self.api(version, kind, namespace);
        let params = PatchParams::apply("test").force();
        api.patch(name, &params, &Patch::Apply(&object)).await.unwrap();
    }

    fn api(&self, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
        let resource = kube::api::ApiResource::from_gvk(&kind);
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    async fn deployment(&self, name: &str, replicas: u32) {
        let labels = json!({"app": name});
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        self.apply("apps/v1", "Deployment", "default", name, &json!({"spec": spec})).await;
    }

    async fn pipeline(&self, name: &str, target: &Value) {
        let spec = json!({"stages": [{"name": "s", "target": target, "replicas": {"max": 9},
            "sources": [{"name": "q", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}}]}]});
        self.apply(
            "penstock.dev/v1alpha1",
            "ScaledPipeline",
            "default",
            name,
            &json!({"spec": spec}),
        )
        .await;
    }

    fn watch(&self) -> Watch {
        self.watch_in(&[])
    }

    /// With rights in these namespaces alone.
    fn watch_in(&self, namespaces: &[&str]) -> Watch {
        let options = watch::Options {
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            is_namespaced: !namespaces.is_empty(),
            ..watch::Options::default()
        };
        Watch::start(self.client.clone(), self.clock, options, self.tasks.clone())
    }

    /// From now on these requests are refused.
    fn refuse(&self, verb: &str, resource: &str, subresource: &str) {
        let requests = Match::of(verb, resource, subresource);
        self.cluster.faults().plan(requests, Fault::Refuse(403), usize::MAX);
    }

    /// What is seen of a pipeline at this moment.
    fn look(&self, watch: &Watch, name: &str) -> Sight {
        watch.seen(&BTreeSet::from([id(name)]), self.clock.now()).sights.pop().unwrap()
    }

    /// What is seen of a pipeline once `is_it` holds.
    async fn see(&self, watch: &Watch, name: &str, is_it: impl Fn(&Sight) -> bool) -> Sight {
        let due = BTreeSet::from([id(name)]);
        let mut last = None;
        for _ in 0..500 {
            if watch.unsynced().is_empty() {
                let Seen { sights, .. } = watch.seen(&due, self.clock.now());
                if let Some(sight) = sights.into_iter().find(|sight| is_it(sight)) {
                    return sight;
                }
                last = watch.seen(&due, self.clock.now()).sights.pop();
            }
            drop(tokio::time::timeout(Duration::from_millis(20), watch.changed()).await);
        }
        panic!("it was never seen; the last sight was {last:#?}");
    }

    fn requests(&self, verb: &str, subresource: &str) -> usize {
        let log = self.cluster.faults().log();
        log.iter().filter(|r| r.verb == verb && r.subresource == subresource).count()
    }
}

fn id(name: &str) -> PipelineId {
    PipelineId { namespace: "default".into(), name: name.into() }
}

fn workload(sight: &Sight) -> Option<&Workload> {
    match sight.targets.first()? {
        Target::Seen(workload) => Some(workload),
        Target::Unseen | Target::Unusable(_) => None,
    }
}

fn unusable(sight: &Sight) -> Option<&Unusable> {
    match sight.targets.first()? {
        Target::Unusable(why) => Some(why),
        Target::Unseen | Target::Seen(_) => None,
    }
}

#[tokio::test]
async fn a_deployment_is_seen_with_its_ready_pods() {
    let scene = Scene::new().await;
    scene.deployment("d", 3).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let watch = scene.watch();
    let sight = scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.ready == 3)).await;
    let workload = workload(&sight).unwrap();
    assert_eq!((workload.desired, workload.current), (3, 3));
    assert_eq!(workload.writing, Writing::Apply);
    assert!(workload.ready_since.is_some() && !workload.is_ours && workload.hpa.is_none());
}

#[tokio::test]
async fn the_scale_is_read_only_when_its_object_moved() {
    let scene = Scene::new().await;
    scene.deployment("d", 2).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let watch = scene.watch();
    scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.ready == 2)).await;
    let before = scene.requests("get", "scale");
    scene.deployment("other", 2).await;
    for _ in 0..10 {
        watch.seen(&BTreeSet::from([id("p")]), scene.clock.now());
    }
    scene.deployment("d", 5).await;
    scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.desired == 5 && w.ready == 5)).await;
    let moved = scene.api("apps/v1", "Deployment", "default").get("d").await.unwrap();
    let after = scene.requests("get", "scale");
    let versions: u64 = moved.resource_version().unwrap().parse().unwrap();
    assert!(after > before, "a moved object is read again");
    // Its status moves as pods come; each version is read at most once.
    assert!(
        u64::try_from(after).unwrap() < versions,
        "{after} reads for {versions} versions of everything"
    );
}

#[tokio::test]
async fn no_store_is_trusted_before_its_first_list() {
    let scene = Scene::new().await;
    scene.cluster.faults().plan(Match::of("list", "pods", ""), Fault::Refuse(503), 3);
    let watch = scene.watch();
    let waits = async {
        while !watch.unsynced().iter().all(|store| store.starts_with("pods")) {
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
    assert_eq!(watch.unsynced(), ["pods 0"]);
    let synced = async {
        while !watch.unsynced().is_empty() {
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), synced).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn kinds_one_can_do_without_are_asked_for_every_half_minute_and_seen_once_they_are_there() {
    let scene = Scene::without(&["CapacityPool"]).await;
    let watch = scene.watch();
    let synced = async {
        while !watch.unsynced().is_empty() {
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), synced).await.unwrap();
    let asked = || {
        let log = scene.cluster.faults().log();
        // What is not served is written down by its path.
        log.iter().filter(|request| request.resource.contains("capacitypools")).count()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = asked();
    tokio::time::sleep(Duration::from_mins(5)).await;
    let in_five_minutes = asked() - before;
    assert!((9..=11).contains(&in_five_minutes), "asked {in_five_minutes} times");

    let all = penstock::crd::all();
    scene.define(all.iter().find(|crd| crd.spec.names.kind == "CapacityPool").unwrap()).await;
    let spec = json!({"spec": {"class": "Spot", "nodeSelector": {"pool": "spot"}}});
    scene.apply("penstock.dev/v1alpha1", "CapacityPool", "", "spot", &spec).await;
    let seen = async {
        while watch.seen(&BTreeSet::new(), scene.clock.now()).pools.is_empty() {
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(35), seen).await.unwrap();
}

#[tokio::test]
async fn a_target_that_cannot_be_scaled_says_why_and_heals() {
    let scene = Scene::new().await;
    scene.pipeline("lost", &json!({"kind": "Deployment", "name": "d"})).await;
    scene.pipeline("odd", &json!({"apiVersion": "v1", "kind": "Secret", "name": "d"})).await;
    scene
        .pipeline("unknown", &json!({"apiVersion": "a.io/v1", "kind": "Thing", "name": "d"}))
        .await;
    let watch = scene.watch();
    scene.see(&watch, "lost", |s| unusable(s) == Some(&Unusable::NotFound)).await;
    scene.see(&watch, "odd", |s| unusable(s) == Some(&Unusable::NotScalable)).await;
    scene.see(&watch, "unknown", |s| unusable(s) == Some(&Unusable::UnknownKind)).await;
    scene.deployment("d", 1).await;
    scene.see(&watch, "lost", |s| workload(s).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_listed_says_so_and_heals() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    scene.refuse("list", "deployments", "");
    let watch = scene.watch();
    let may_not = Unusable::Forbidden("list deployments.apps".to_owned());
    scene.see(&watch, "p", |s| unusable(s) == Some(&may_not)).await;
    scene.cluster.faults().clear();
    let granted = Instant::now();
    while workload(&scene.look(&watch, "p")).is_none() {
        assert!(granted.elapsed() < Duration::from_secs(35));
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_kind_may_not_be_listed_no_other_namespace_is_held_up() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let refused = Match { namespace: "kube-public".into(), ..Match::of("list", "deployments", "") };
    scene.cluster.faults().plan(refused, Fault::Refuse(403), usize::MAX);
    let watch = scene.watch_in(&["default", "kube-public"]);
    scene.see(&watch, "p", |s| workload(s).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_may_not_be_read_is_asked_for_again_though_nothing_moved() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    scene.refuse("get", "deployments", "scale");
    let watch = scene.watch();
    let may_not = Unusable::Forbidden("get deployments/scale in default".to_owned());
    scene.see(&watch, "p", |s| unusable(s) == Some(&may_not)).await;
    let reads = || scene.requests("get", "scale");
    sleep(Duration::from_secs(5)).await;
    let before = reads();
    sleep(Duration::from_mins(5)).await;
    let asked = reads() - before;
    assert!((14..=15).contains(&asked), "asked {asked} times");
    scene.cluster.faults().clear();
    sleep(Duration::from_secs(21)).await;
    assert!(workload(&scene.look(&watch, "p")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_shut_keeps_no_other_waiting_and_is_taken_up_when_it_opens() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let in_shut = |verb| Match { namespace: "kube-public".into(), ..Match::of(verb, "", "") };
    scene.cluster.faults().plan(in_shut("list"), Fault::Refuse(403), usize::MAX);
    let spec = json!({"stages": [{"name": "s", "target": {"name": "x"}, "replicas": {"max": 9},
        "sources": [{"name": "q", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}}]}]});
    let late = json!({"spec": spec});
    scene.apply("penstock.dev/v1alpha1", "ScaledPipeline", "kube-public", "late", &late).await;
    let watch = scene.watch_in(&["default", "kube-public"]);
    sleep(Duration::from_secs(15)).await;
    assert!(
        watch.unsynced().iter().all(|store| store.ends_with(" of kube-public")),
        "one refusal is not believed: an API server that comes up refuses what it grants in a moment"
    );
    assert!(watch.unsynced().contains(&"pipelines of kube-public".to_owned()));
    sleep(Duration::from_secs(25)).await;
    assert_eq!(watch.unsynced(), [""; 0]);
    scene.see(&watch, "p", |s| workload(s).is_some()).await;
    assert_eq!(watch.pipelines(), [id("p")]);
    scene.cluster.faults().clear();
    sleep(Duration::from_secs(35)).await;
    assert_eq!(watch.pipelines().len(), 2, "it is taken up");
}

#[tokio::test(start_paused = true)]
async fn where_pods_may_not_be_read_no_target_is_usable() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    scene.refuse("list", "pods", "");
    let watch = scene.watch_in(&["default"]);
    sleep(Duration::from_secs(40)).await;
    let may_not = Unusable::Forbidden("list pods in default".to_owned());
    scene.see(&watch, "p", |s| unusable(s) == Some(&may_not)).await;
    scene.cluster.faults().clear();
    sleep(Duration::from_secs(35)).await;
    let sight = scene.look(&watch, "p");
    assert_eq!(workload(&sight).map(|workload| workload.ready), Some(1));
}

#[tokio::test(start_paused = true)]
async fn that_autoscalers_may_not_be_read_is_not_believed_at_once() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
    let hpa = json!({"spec": spec});
    scene.apply("autoscaling/v2", "HorizontalPodAutoscaler", "default", "h", &hpa).await;
    let lists = Match::of("list", "horizontalpodautoscalers", "");
    scene.cluster.faults().plan(lists.clone(), Fault::Refuse(403), 2);
    let watch = scene.watch();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(watch.unsynced(), ["horizontal pod autoscalers 0"]);
    // The first time that pipelines can be thought of, the autoscaler is known.
    while !watch.unsynced().is_empty() {
        watch.changed().await;
    }
    let by = |w: &Workload| w.hpa.as_deref() == Some("h");
    let seen = scene.see(&watch, "p", |s| workload(s).is_some()).await;
    assert!(workload(&seen).is_some_and(by));
    // Whoever may never read them goes on without, after half a minute.
    let other = Scene::new().await;
    other.cluster.faults().plan(lists, Fault::Refuse(403), usize::MAX);
    let watch = other.watch();
    sleep(Duration::from_secs(35)).await;
    assert_eq!(watch.unsynced(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_that_is_pointed_elsewhere_lets_its_former_target_go() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let hpa = |name: &str| json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}}});
    let (version, kind) = ("autoscaling/v2", "HorizontalPodAutoscaler");
    scene.apply(version, kind, "default", "h", &hpa("d")).await;
    let watch = scene.watch();
    scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.hpa.is_some() && w.ready == 1)).await;
    sleep(Duration::from_secs(5)).await;
    watch.take_moved();
    scene.apply(version, kind, "default", "h", &hpa("other")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(watch.take_moved(), BTreeSet::from([id("p")]));
}

#[tokio::test(start_paused = true)]
async fn after_three_minutes_without_an_api_server_everything_is_watched_again_within_one() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    scene.cluster.serve(listener);
    let clients = Clients::of(kube::Config::new(url.parse().unwrap())).unwrap();
    // In small steps: paused time waits for no socket.
    let mut steps = JoinSet::new();
    steps.spawn(async {
        loop {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let options = watch::Options::default();
    let watch = Watch::start(clients.reader, scene.clock, options, scene.tasks.clone());
    scene.see(&watch, "p", |s| workload(s).is_some()).await;
    let watched = || -> BTreeSet<String> {
        let log = scene.cluster.faults().log();
        let begun =
            log.into_iter().filter(|request| request.verb == "watch" && request.code == 200);
        begun.map(|request| request.resource).collect()
    };
    sleep(Duration::from_secs(2)).await;
    let before = watched();
    assert!(8 < before.len(), "{before:?}");
    scene.cluster.faults().plan(Match::default(), Fault::Refuse(503), usize::MAX);
    scene.cluster.drop_watches();
    sleep(Duration::from_mins(3)).await;
    scene.cluster.faults().clear();
    scene.cluster.faults().clear_log();
    scene.deployment("d", 7).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(watched(), before);
    assert_eq!(workload(&scene.look(&watch, "p")).map(|workload| workload.desired), Some(7));
}

#[tokio::test]
async fn of_two_pipelines_on_one_target_the_older_has_it() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("z-older", &json!({"kind": "Deployment", "name": "d"})).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    scene.pipeline("a-younger", &json!({"kind": "Deployment", "name": "d"})).await;
    let watch = scene.watch();
    scene.see(&watch, "z-older", |s| workload(s).is_some()).await;
    let taken = Unusable::TakenBy("default/z-older".to_owned());
    scene.see(&watch, "a-younger", |s| unusable(s) == Some(&taken)).await;
    scene
        .api("penstock.dev/v1alpha1", "ScaledPipeline", "default")
        .delete("z-older", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    scene.see(&watch, "a-younger", |s| workload(s).is_some()).await;
}

#[tokio::test]
async fn a_pipeline_that_observes_takes_a_target_from_nobody_and_is_refused_by_nobody() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    let say = |name: &'static str, mode: &'static str| {
        let spec = json!({"mode": mode, "stages": [{"name": "s", "target": {"name": "d"}, "replicas": {"max": 9}}]});
        let (scene, version) = (&scene, "penstock.dev/v1alpha1");
        async move {
            scene.apply(version, "ScaledPipeline", "default", name, &json!({"spec": spec})).await;
        }
    };
    say("a-older", "Observe").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    say("b-younger", "Enforce").await;
    let watch = scene.watch();
    scene.see(&watch, "a-older", |s| workload(s).is_some()).await;
    scene.see(&watch, "b-younger", |s| workload(s).is_some()).await;

    // Both enforce: the older has it, and the younger is told at once.
    watch.take_moved();
    say("a-older", "Enforce").await;
    let is_enforced =
        |s: &Sight| s.pipeline.as_ref().is_some_and(|it| it.stages[0].mode == Mode::Enforce);
    scene.see(&watch, "a-older", is_enforced).await;
    assert!(watch.take_moved().contains(&id("b-younger")));
    let taken = Unusable::TakenBy("default/a-older".to_owned());
    scene.see(&watch, "b-younger", |s| unusable(s) == Some(&taken)).await;
    scene.see(&watch, "a-older", |s| workload(s).is_some()).await;

    // And the other way about; nobody enforces; a pause gives nothing away.
    say("b-younger", "Observe").await;
    scene.see(&watch, "b-younger", |s| workload(s).is_some()).await;
    say("a-older", "Observe").await;
    scene.see(&watch, "a-older", |s| workload(s).is_some() && !is_enforced(s)).await;
    scene.see(&watch, "b-younger", |s| workload(s).is_some()).await;
    say("a-older", "Enforce").await;
    say("b-younger", "Enforce").await;
    let paused = json!({"metadata": {"annotations": {"penstock.dev/paused": "true"}}});
    let api = scene.api("penstock.dev/v1alpha1", "ScaledPipeline", "default");
    api.patch("a-older", &PatchParams::default(), &Patch::Merge(&paused)).await.unwrap();
    scene.see(&watch, "a-older", |s| s.pipeline.as_ref().is_some_and(|it| it.pause.all)).await;
    scene.see(&watch, "b-younger", |s| unusable(s) == Some(&taken)).await;
}

#[tokio::test]
async fn a_horizontal_pod_autoscaler_on_the_target_is_named() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let watch = scene.watch();
    scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.hpa.is_none())).await;
    let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
    scene
        .apply("autoscaling/v2", "HorizontalPodAutoscaler", "default", "h", &json!({"spec": spec}))
        .await;
    scene.see(&watch, "p", |s| workload(s).is_some_and(|w| w.hpa.as_deref() == Some("h"))).await;
}

#[tokio::test]
async fn a_pipeline_that_cannot_work_stops_no_other() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("good", &json!({"kind": "Deployment", "name": "d"})).await;
    let spec = json!({"stages": [{"name": "s", "target": {"name": "x"}, "actuate": "HPA", "replicas": {"max": 9}}]});
    scene
        .apply("penstock.dev/v1alpha1", "ScaledPipeline", "default", "bad", &json!({"spec": spec}))
        .await;
    let watch = scene.watch();
    let bad = scene.see(&watch, "bad", |s| !s.faults.is_empty()).await;
    assert!(bad.pipeline.is_none());
    assert!(
        bad.faults.iter().any(|fault| fault.path == "spec.stages[0].actuate"),
        "{:?}",
        bad.faults
    );
    scene.see(&watch, "good", |s| workload(s).is_some()).await;
}

#[tokio::test]
async fn a_secret_that_is_lacking_is_an_answer_and_one_that_comes_is_used() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    let kafka = json!({"bootstrapServers": "127.0.0.1:1", "sasl": {"mechanism": "PLAIN",
        "usernameSecretRef": {"name": "login", "key": "user"}, "passwordSecretRef": {"name": "login", "key": "password"}}});
    scene
        .apply(
            "penstock.dev/v1alpha1",
            "Connection",
            "default",
            "c",
            &json!({"spec": {"kafka": kafka}}),
        )
        .await;
    let spec = json!({"stages": [{"name": "s", "target": {"kind": "Deployment", "name": "d"}, "replicas": {"max": 9},
        "sources": [{"name": "q", "kafka": {"connectionRef": {"name": "c"}, "topics": ["t"], "group": "g"}}]}]});
    scene
        .apply("penstock.dev/v1alpha1", "ScaledPipeline", "default", "p", &json!({"spec": spec}))
        .await;
    let watch = scene.watch();
    let sight = scene.see(&watch, "p", |s| !s.answered.is_empty()).await;
    let said = format!("{:?}", sight.answered);
    assert!(said.contains("SecretNotFound") && said.contains("default/login"), "{said}");
    let data = json!({"stringData": {"user": "u", "password": "canary-in-the-secret"}});
    scene.apply("v1", "Secret", "default", "login", &data).await;
    scene.see(&watch, "p", |s| s.answered.is_empty()).await;
}

#[tokio::test]
async fn a_question_stays_in_force_while_another_secret_is_read_for_it() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    let connect = async |secret: &str| {
        let key = |key: &str| json!({"name": secret, "key": key});
        let kafka = json!({"bootstrapServers": "127.0.0.1:1", "sasl": {"mechanism": "PLAIN",
            "usernameSecretRef": key("user"), "passwordSecretRef": key("password")}});
        let object = json!({"spec": {"kafka": kafka}});
        scene.apply("penstock.dev/v1alpha1", "Connection", "default", "c", &object).await;
    };
    for name in ["old", "new"] {
        let data = json!({"stringData": {"user": "u", "password": name}});
        scene.apply("v1", "Secret", "default", name, &data).await;
    }
    connect("old").await;
    let spec = json!({"stages": [{"name": "s", "target": {"kind": "Deployment", "name": "d"}, "replicas": {"max": 9},
        "sources": [{"name": "q", "kafka": {"connectionRef": {"name": "c"}, "topics": ["t"], "group": "g"}}]}]});
    let object = json!({"spec": spec});
    scene.apply("penstock.dev/v1alpha1", "ScaledPipeline", "default", "p", &object).await;
    let watch = scene.watch();
    let mut is_asked = false;
    for wanted in ["old", "new"] {
        connect(wanted).await;
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let seen = watch.seen(&BTreeSet::from([id("p")]), scene.clock.now());
                if let Some(questions) = seen.questions {
                    let password =
                        questions.first().and_then(|it| it.credentials.bytes("password"));
                    assert!(password.is_some() || !is_asked, "the question was taken back");
                    is_asked |= password.is_some();
                    if password == Some(wanted.as_bytes()) {
                        return;
                    }
                }
                watch.changed().await;
            }
        });
        found.await.unwrap();
    }
}

#[tokio::test]
async fn a_kafka_that_is_not_strimzis_is_named() {
    let scene = Scene::new().await;
    let crd = std::fs::read_to_string("tests/data/strimzi/kafka.crd.yaml").unwrap();
    let mut crd: Value = serde_saphyr::from_str(&crd).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let name = "kafkas.kafka.strimzi.io";
    scene.apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name, &crd).await;
    let object = json!({"spec": {"kafka": {"listeners": "tls"}}});
    scene.apply("kafka.strimzi.io/v1", "Kafka", "default", "events", &object).await;
    scene.deployment("d", 1).await;
    let object = json!({"spec": {"kafka": {"strimzi": {"cluster": "events"}}}});
    scene.apply("penstock.dev/v1alpha1", "Connection", "default", "c", &object).await;
    let spec = json!({"stages": [{"name": "s", "target": {"kind": "Deployment", "name": "d"}, "replicas": {"max": 9},
        "sources": [{"name": "q", "kafka": {"connectionRef": {"name": "c"}, "topics": ["t"], "group": "g"}}]}]});
    let object = json!({"spec": spec});
    scene.apply("penstock.dev/v1alpha1", "ScaledPipeline", "default", "p", &object).await;
    let watch = scene.watch();
    let sight = scene.see(&watch, "p", |s| !s.answered.is_empty()).await;
    let said = format!("{:?}", sight.answered);
    let words = "Kafka default/events cannot be read: ";
    assert!(said.contains("KafkaUnreadable") && said.contains(words), "{said}");
}

#[tokio::test]
async fn a_cluster_of_strimzi_is_looked_up_of_either_version() {
    for version in ["v1", "v1beta2"] {
        let scene = Scene::new().await;
        let crd = std::fs::read_to_string("tests/data/strimzi/kafka.crd.yaml").unwrap();
        let crd = crd.replace("- name: v1\n", &format!("- name: {version}\n"));
        let crd: Value = serde_saphyr::from_str(&crd).unwrap();
        scene.deployment("d", 1).await;
        let kafka = json!({"strimzi": {"cluster": "events", "listener": "tls", "user": "reader"}});
        let object = json!({"spec": {"kafka": kafka}});
        scene.apply("penstock.dev/v1alpha1", "Connection", "default", "c", &object).await;
        let spec = json!({"stages": [{"name": "s", "target": {"kind": "Deployment", "name": "d"}, "replicas": {"max": 9},
            "sources": [{"name": "q", "kafka": {"connectionRef": {"name": "c"}, "topics": ["t"], "group": "g"}}]}]});
        let object = json!({"spec": spec});
        scene.apply("penstock.dev/v1alpha1", "ScaledPipeline", "default", "p", &object).await;
        let watch = scene.watch();
        let said = |sight: &Sight| format!("{:?}", sight.answered);
        let sight = scene.see(&watch, "p", |s| !s.answered.is_empty()).await;
        assert!(said(&sight).contains("StrimziNotFound"), "{}", said(&sight));
        let crds = "apiextensions.k8s.io/v1";
        let name = "kafkas.kafka.strimzi.io";
        scene.apply(crds, "CustomResourceDefinition", "", name, &crd).await;
        let listeners = json!([
            {"name": "tls", "port": 9093, "type": "internal", "tls": true, "authentication": {"type": "scram-sha-512"}},
        ]);
        let object = json!({
            "spec": {"kafka": {"listeners": listeners}},
            "status": {"listeners": [{"name": "tls", "bootstrapServers": "a:9093, b:9093", "certificates": ["own"]}]},
        });
        let version = format!("kafka.strimzi.io/{version}");
        scene.apply(&version, "Kafka", "default", "events", &object).await;
        let api = scene.api(&version, "Kafka", "default");
        let status = Patch::Merge(json!({"status": object["status"]}));
        api.patch_status("events", &PatchParams::default(), &status).await.unwrap();
        let data = json!({"stringData": {"password": "p"}});
        scene.apply("v1", "Secret", "default", "reader", &data).await;
        let data = json!({"stringData": {"ca.crt": "new", "ca-2026-01-01T00-00-00Z.crt": "old", "ca.p12": "x"}});
        scene.apply("v1", "Secret", "default", "events-cluster-ca-cert", &data).await;
        let question = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let seen = watch.seen(&BTreeSet::from([id("p")]), scene.clock.now());
                if let Some([question]) = seen.questions.as_deref() {
                    return question.clone();
                }
                watch.changed().await;
            }
        });
        let question = question.await.unwrap();
        let key = |usage| question.credentials.bytes(usage).map(String::from_utf8_lossy);
        assert_eq!(key("bootstrap.servers").as_deref(), Some("a:9093,b:9093"));
        assert_eq!(key("security.protocol").as_deref(), Some("SASL_SSL"));
        assert_eq!(key("sasl.mechanism").as_deref(), Some("SCRAM-SHA-512"));
        assert_eq!(key("username").as_deref(), Some("reader"));
        assert_eq!(key("password").as_deref(), Some("p"));
        assert_eq!(key("ca").as_deref(), Some("old\nnew\nown"));
        assert_eq!(question.address.to_string(), "Kafka default/events");
    }
}

#[tokio::test]
async fn a_daemon_that_only_observes_reads_every_stage_so() {
    let scene = Scene::new().await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let options = watch::Options { observe_only: true, ..watch::Options::default() };
    let watch = Watch::start(scene.client.clone(), scene.clock, options, scene.tasks.clone());
    let sight = scene.see(&watch, "p", |s| s.pipeline.is_some()).await;
    assert!(sight.pipeline.unwrap().stages.iter().all(|stage| stage.mode == Mode::Observe));
}

#[tokio::test]
async fn what_a_relist_no_longer_shows_is_dropped() {
    let scene = Scene::new().await;
    scene.deployment("d", 1).await;
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "d"})).await;
    let watch = scene.watch();
    scene.see(&watch, "p", |s| workload(s).is_some()).await;
    // Deleted while nobody watches: only the list after the gap can tell.
    scene.cluster.drop_watches();
    scene
        .api("apps/v1", "Deployment", "default")
        .delete("d", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    scene.cluster.compact();
    scene.see(&watch, "p", |s| unusable(s) == Some(&Unusable::NotFound)).await;
}

/// The pool `spot` and the questions in force, once `is_it` holds.
async fn see_pool(
    scene: &Scene,
    watch: &Watch,
    is_it: impl Fn(&PoolSight, &[Question]) -> bool,
) -> (PoolSight, Vec<Question>) {
    let mut asked = Vec::new();
    let mut last = None;
    for _ in 0..500 {
        if watch.unsynced().is_empty() {
            let mut seen = watch.seen(&BTreeSet::new(), scene.clock.now());
            asked = seen.questions.take().unwrap_or(asked);
            last = seen.pools.remove("spot");
            if let Some(pool) = last.take_if(|pool| is_it(pool, &asked)) {
                return (pool, asked);
            }
        }
        drop(tokio::time::timeout(Duration::from_millis(20), watch.changed()).await);
    }
    panic!("it was never seen; the last was {last:#?}, and asked is {asked:#?}");
}

#[tokio::test]
async fn a_pool_whose_prices_opencost_knows_has_them_asked_and_forgets_old_ones() {
    let scene = Scene::new().await;
    let ours = "penstock.dev/v1alpha1";
    let spec = json!({"class": "Spot", "nodeSelector": {"pool": "spot"},
        "price": {"source": "OpenCost", "connectionRef": {"name": "prom"}}});
    scene.apply(ours, "CapacityPool", "", "spot", &json!({"spec": spec})).await;
    for name in ["a", "b"] {
        let node = json!({"metadata": {"labels": {"pool": "spot"}}});
        scene.apply("v1", "Node", "", name, &node).await;
    }
    let watch = scene.watch();
    let (pool, asked) = see_pool(&scene, &watch, |pool, _| pool.unpriced.is_some()).await;
    assert_eq!(&*pool.unpriced.unwrap().label, "ConnectionNotFound");
    assert!(asked.is_empty());

    // Allowed for no namespace at all: a pool lies in none.
    let spec = json!({"prometheus": {"url": "http://prometheus.monitoring:9090"}});
    scene.apply(ours, "ClusterConnection", "", "prom", &json!({"spec": spec})).await;
    let (pool, asked) = see_pool(&scene, &watch, |_, asked| !asked.is_empty()).await;
    assert_eq!(pool.unpriced, None);
    let [question] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&question.id, question.id.pipeline()), (&QuestionId::prices("prom"), None));
    assert_eq!(question.id.priced_by(), Some("prom"));
    assert!(matches!(question.address, Address::Prometheus(_)), "{question:?}");

    let at = scene.clock.now();
    let told = |pairs: &[(&str, f64)]| {
        let prices: BTreeMap<Arc<str>, f64> =
            pairs.iter().map(|(node, price)| ((*node).into(), *price)).collect();
        Observation::Fresh(Arc::new(Reading { at, value: Said::Each(prices) }))
    };
    // Of one node it is not known: no figure.
    let known = |pool: &PoolSight, _: &[Question]| pool.cost.is_none();
    see_pool(&scene, &watch, known).await;
    watch.hear_prices("prom", &told(&[("a", 0.5), ("elsewhere", 9.0)]));
    assert_eq!(see_pool(&scene, &watch, |_, _| true).await.0.cost, None);
    let at = scene.clock.now();
    let prices = BTreeMap::from([("a".into(), 0.5), ("b".into(), 0.25)]);
    let both = Reading { at, value: Said::Each(prices) };
    let both = Arc::new(both);
    watch.hear_prices("prom", &Observation::Fresh(Arc::clone(&both)));
    assert_eq!(see_pool(&scene, &watch, |_, _| true).await.0.cost, Some(0.75));

    // It does not answer any more: what it said holds for a quarter of an hour, and then nobody knows.
    let missing = Missing {
        label: "Unreachable".into(),
        message: "gone".into(),
        is_lasting: false,
        since: at,
    };
    watch.hear_prices("prom", &Observation::Stale(both, missing));
    let later = |minutes: i64| at + jiff::SignedDuration::from_mins(minutes);
    let pool = |minutes: i64| watch.seen(&BTreeSet::new(), later(minutes)).pools["spot"].clone();
    assert_eq!((pool(14).cost, pool(14).unpriced), (Some(0.75), None));
    assert_eq!((pool(15).cost, &*pool(15).unpriced.unwrap().label), (None, "Unreachable"));
}

#[tokio::test]
async fn a_quota_leaves_to_pipelines_what_pods_of_others_do_not_take() {
    let scene = Scene::new().await;
    let hard = json!({"requests.cpu": "10", "limits.memory": "8Gi", "pods": "9", "secrets": "5"});
    let quota = json!({"spec": {"hard": hard}});
    scene.apply("v1", "ResourceQuota", "default", "compute", &quota).await;
    // One of some pods only is not looked at, and one over no pipeline is nobody's business.
    let some = json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}});
    scene.apply("v1", "ResourceQuota", "default", "best-effort", &some).await;
    let elsewhere = json!({"metadata": {"name": "elsewhere"}});
    scene.apply("v1", "Namespace", "", "elsewhere", &elsewhere).await;
    scene.apply("v1", "ResourceQuota", "elsewhere", "compute", &quota).await;
    for (name, replicas, cpu) in [("ours", 3, "500m"), ("other", 2, "1")] {
        let labels = json!({"app": name});
        let resources = json!({"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}});
        let containers = json!([{"name": "c", "image": "i", "resources": resources}]);
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}});
        scene.apply("apps/v1", "Deployment", "default", name, &json!({"spec": spec})).await;
    }
    scene.pipeline("p", &json!({"kind": "Deployment", "name": "ours"})).await;
    let options = watch::Options { heeds_quotas: true, ..watch::Options::default() };
    let watch = Watch::start(scene.client.clone(), scene.clock, options, scene.tasks.clone());
    let is_counted = |sight: &Sight| sight.per_replica.first().is_some_and(|it| it.cores.is_some());
    let sight = scene.see(&watch, "p", is_counted).await;
    assert_eq!(sight.budgets, [Arc::<str>::from("default/compute")]);
    let per = sight.per_replica[0];
    assert_eq!(
        (per.cores, per.pods, per.memory_limit),
        (Some(0.5), Some(1.0), Some(1_073_741_824.0))
    );
    let gib = 1_073_741_824.0;
    let expected =
        [("requests.cpu", 10.0, 8.0), ("limits.memory", 8.0 * gib, 6.0 * gib), ("pods", 9.0, 7.0)];
    let mut last = Vec::new();
    for _ in 0..500 {
        let seen = watch.seen(&BTreeSet::from([id("p")]), scene.clock.now());
        assert_eq!(seen.quotas.len(), 1, "{:?}", seen.quotas);
        let rooms = &seen.quotas["default/compute"].rooms;
        last = rooms.iter().map(|room| (room.of.name(), room.hard, room.left)).collect();
        if last == expected {
            return;
        }
        drop(tokio::time::timeout(Duration::from_millis(20), watch.changed()).await);
    }
    panic!("what it leaves is {last:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_not_seen_the_cluster_does_not_lead_it() {
    let scene = Scene::new().await;
    scene.cluster.faults().plan(Match::of("list", "pods", ""), Fault::Hang, usize::MAX);
    let (end, mut running) = (CancellationToken::new(), JoinSet::new());
    let clients = daemons::clients(scene.client.clone(), scene.client.clone());
    let (options, stop) = (daemons::options("a"), end.clone());
    running.spawn(async move { Box::pin(daemon::run(clients, options, stop)).await });
    sleep(Duration::from_mins(5)).await;
    let leases = scene.api("coordination.k8s.io/v1", "Lease", "default");
    assert!(leases.get_opt("penstock").await.unwrap().is_none(), "it took the lease");
    end.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    // And who has does.
    scene.cluster.faults().clear();
    let clients = daemons::clients(scene.client.clone(), scene.client.clone());
    let stop = CancellationToken::new();
    running.spawn(async move { Box::pin(daemon::run(clients, daemons::options("b"), stop)).await });
    sleep(Duration::from_secs(20)).await;
    let lease = leases.get("penstock").await.unwrap();
    assert!(lease.data["spec"]["holderIdentity"].as_str().is_some_and(|held| held == "b"));
}
