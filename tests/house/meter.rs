//! What pods use and how many there are, read by the watch: a double of metrics.k8s.io beside the in-memory API. Each row of the table of
//! faults in docs/sources that is the cluster's own stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::client::Body;
use penstock::clock::Clock;
use penstock::decide::{Observation, PipelineId, Value as Number};
use penstock::demo::cluster::{Cluster, Options};
use penstock::tasks::Tasks;
use penstock::watch::{self, Watch};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};

/// A metrics.k8s.io that says what it is told.
#[derive(Debug, Default)]
struct Metrics {
    /// What each container of each pod uses: CPU and memory, by the prefix of the pod's name.
    used: Mutex<BTreeMap<String, (&'static str, &'static str)>>,
    /// Instead: a status and a body.
    refuses: Mutex<Option<(u16, Value)>>,
    /// Instead: nothing, ever.
    hangs: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl Metrics {
    fn set(&self, prefix: &str, cpu: &'static str, memory: &'static str) {
        self.used.lock().unwrap().insert(prefix.to_owned(), (cpu, memory));
    }

    fn refuse(&self, answer: Option<(u16, Value)>) {
        *self.refuses.lock().unwrap() = answer;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, uri: String, pods: &[String]) -> (u16, Value) {
        self.asked.lock().unwrap().push(uri);
        if let Some(answer) = self.refuses.lock().unwrap().clone() {
            return answer;
        }
        let used = self.used.lock().unwrap();
        let items: Vec<Value> = pods
            .iter()
            .filter_map(|pod| {
                let (_, (cpu, memory)) =
                    used.iter().find(|(prefix, _)| pod.starts_with(*prefix))?;
                Some(json!({
                    "metadata": {"name": pod}, "timestamp": Clock::start().now(), "window": "1ms",
                    "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": memory}}],
                }))
            })
            .collect();
        (
            200,
            json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}),
        )
    }
}

struct Scene {
    client: Client,
    metrics: Arc<Metrics>,
    watch: Watch,
    clock: Clock,
    cluster: Cluster,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::new(Options::default());
        let metrics = Arc::new(Metrics::default());
        let (door, double, lister) = (cluster.service(), Arc::clone(&metrics), cluster.client());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (door, double, lister) = (door.clone(), Arc::clone(&double), lister.clone());
            async move {
                if !request.uri().path().starts_with("/apis/metrics.k8s.io/") {
                    let answer = door.oneshot(request).await?;
                    return Ok::<_, BoxError>(
                        answer.map(|body| body.map_err(BoxError::from).boxed_unsync()),
                    );
                }
                let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(lister, "default");
                let pods = pods.list(&ListParams::default()).await?;
                let names: Vec<_> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
                if *double.hangs.lock().unwrap() {
                    std::future::pending::<()>().await;
                }
                let (status, body) = double.answer(request.uri().to_string(), &names);
                let answer = Response::builder().status(status);
                let answer = answer.header("content-type", "application/json");
                let body = Full::new(Bytes::from(body.to_string()));
                Ok(answer.body(body.map_err(|never| match never {}).boxed_unsync())?)
            }
        });
        let client = Client::new(service, "default");
        let clock = Clock::start();
        let watch =
            Watch::start(client.clone(), clock, watch::Options::default(), Tasks::default());
        let scene = Self { client, metrics, watch, clock, cluster };
        for crd in penstock::crd::all() {
            let name = crd.metadata.name.clone().unwrap();
            scene
                .apply("apiextensions.k8s.io/v1", "CustomResourceDefinition", &name, json!(crd))
                .await;
        }
        scene
    }

    async fn apply(&self, version: &str, kind: &str, name: &str, mut object: Value) {
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name);
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = if kind == "CustomResourceDefinition" {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), "default", &resource)
        };
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// A Deployment whose one container, `c`, requests this.
    async fn deployment(&self, name: &str, replicas: u32, requests: Value) {
        let labels = json!({"app": name});
        let container = json!({"name": "c", "image": "i", "resources": {"requests": requests}});
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}});
        self.apply("apps/v1", "Deployment", name, json!({"spec": spec})).await;
    }

    /// A pipeline of one stage that scales the Deployment of its name by one source, `q`.
    async fn pipeline(&self, name: &str, source: Value) {
        self.pipeline_of(name, json!({"name": name}), source).await;
    }

    async fn pipeline_of(&self, name: &str, target: Value, mut source: Value) {
        source["name"] = json!("q");
        let stage =
            json!({"name": "s", "target": target, "replicas": {"max": 9}, "sources": [source]});
        let spec = json!({"pollInterval": "1s", "stages": [stage]});
        self.apply("penstock.dev/v1alpha1", "ScaledPipeline", name, json!({"spec": spec})).await;
    }

    /// A kind of workload of somebody's own, whose two replicas nobody ever makes; with or without a selector in its scale.
    async fn idle_kind(&self, kind: &str, scale: &Value) {
        let (plural, open) =
            (format!("{}s", kind.to_lowercase()), "x-kubernetes-preserve-unknown-fields");
        let part = json!({"type": "object", open: true});
        let schema = json!({"type": "object", "properties": {"spec": part, "status": part}});
        let version = json!({
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": scale},
        });
        let spec = json!({
            "group": "example.dev", "scope": "Namespaced", "names": {"kind": kind, "plural": plural}, "versions": [version],
        });
        let definition =
            json!({"metadata": {"name": format!("{plural}.example.dev")}, "spec": spec});
        self.cluster.define(definition).unwrap();
        let object = json!({
            "apiVersion": "example.dev/v1", "kind": kind, "metadata": {"name": "w"},
            "spec": {"replicas": 2},
        });
        self.cluster.put("example.dev", "v1", &plural, "default", object).unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.dev", "v1", kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &resource);
        let status = json!({"status": {"replicas": 0, "selector": "app=nobody"}});
        api.patch_status("w", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// What is said of the source of a pipeline, once `is_it` holds.
    async fn until(
        &self,
        name: &str,
        what: &str,
        is_it: impl Fn(&Observation) -> bool,
    ) -> Observation {
        let id = PipelineId { namespace: "default".into(), name: name.into() };
        let due = BTreeSet::from([id]);
        let mut last = None;
        for _ in 0..1000 {
            if self.watch.unsynced().is_empty() {
                let sights = self.watch.seen(&due, self.clock.now()).sights;
                let said = sights.into_iter().flat_map(|sight| sight.answered).next();
                if let Some((_, said)) = said {
                    if is_it(&said) {
                        return said;
                    }
                    last = Some(said);
                }
            }
            drop(tokio::time::timeout(Duration::from_millis(20), self.watch.changed()).await);
        }
        panic!("{what} was never seen; the last was {last:#?}");
    }

    /// The same for a fresh number.
    async fn until_fresh(&self, name: &str, number: f64) {
        let is_it = |said: &Observation| {
            let Observation::Fresh(reading) = said else { return false };
            matches!(reading.value, Number::Gauge(it) if (it - number).abs() < 1e-6)
        };
        self.until(name, &format!("{number}"), is_it).await;
    }
}

fn label(said: &Observation) -> Option<(&str, bool)> {
    match said {
        Observation::Failed(missing) | Observation::Stale(_, missing) => {
            Some((&missing.label, missing.is_lasting))
        }
        Observation::Fresh(_) | Observation::Partial(..) => None,
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code});
    (code, body)
}

#[tokio::test]
async fn cpu_and_memory_are_read_as_the_hpa_reckons_them() {
    let scene = Scene::new().await;
    scene.metrics.set("burns", "900m", "64Mi");
    scene.metrics.set("fills", "1n", "512Mi");
    scene.deployment("burns", 2, json!({"cpu": "1"})).await;
    scene.deployment("fills", 3, json!({"memory": "1Gi"})).await;
    scene.pipeline("burns", json!({"cpu": {"utilization": 50}})).await;
    scene.pipeline("fills", json!({"memory": {"perReplica": "256Mi"}})).await;
    // Two pods at 90 % of what they request; three at 512 Mi.
    scene.until_fresh("burns", 180.0).await;
    scene.until_fresh("fills", 3.0 * 512.0 * 1024.0 * 1024.0).await;
    scene.metrics.set("burns", "450m", "64Mi");
    scene.until_fresh("burns", 90.0).await;
}

#[tokio::test]
async fn a_namespace_is_listed_once_in_a_poll_and_one_target_alone_by_its_selector() {
    let scene = Scene::new().await;
    scene.metrics.set("a", "500m", "64Mi");
    scene.deployment("a", 1, json!({"cpu": "1", "memory": "64Mi"})).await;
    scene.pipeline("a", json!({"cpu": {"utilization": 50}})).await;
    scene.until_fresh("a", 50.0).await;
    // The first list may come before the target's selector is known.
    let mut last = String::new();
    for _ in 0..100 {
        last = scene.metrics.asked().pop().unwrap();
        if last.contains("labelSelector") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        last.contains("/namespaces/default/pods?") && last.contains("labelSelector=app%3Da"),
        "{last}"
    );
    for name in ["b", "c", "d"] {
        scene.metrics.set(name, "500m", "64Mi");
        scene.deployment(name, 1, json!({"cpu": "1"})).await;
        scene.pipeline(name, json!({"cpu": {"utilization": 50}})).await;
    }
    for name in ["b", "c", "d"] {
        scene.until_fresh(name, 50.0).await;
    }
    let before = scene.metrics.asked().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let asked = scene.metrics.asked();
    let lately = &asked[before..];
    assert!((2..=4).contains(&lately.len()), "four targets, three seconds: {lately:?}");
    assert!(lately.iter().all(|uri| !uri.contains("labelSelector=")), "{lately:?}");
}

#[tokio::test]
async fn each_fault_of_the_metrics_has_its_word_and_is_never_a_zero() {
    let scene = Scene::new().await;
    scene.metrics.set("w", "500m", "64Mi");
    scene.deployment("w", 1, json!({"cpu": "1"})).await;
    scene.pipeline("w", json!({"cpu": {"utilization": 50}})).await;
    scene.until_fresh("w", 50.0).await;
    for (answer, word, is_lasting) in [
        (refusal(404, "NotFound"), "MetricsNotServed", true),
        (refusal(403, "Forbidden"), "AccessDenied", true),
        (refusal(503, "ServiceUnavailable"), "MetricsUnavailable", false),
        ((200, json!({"items": "none"})), "MetricsUnavailable", false),
    ] {
        scene.metrics.refuse(Some(answer));
        let said = scene.until("w", word, |said| label(said) == Some((word, is_lasting))).await;
        // What was read before goes on, as old.
        assert!(matches!(said, Observation::Stale(..)), "{said:?}");
        scene.metrics.refuse(None);
        scene.until_fresh("w", 50.0).await;
    }
    scene.metrics.refuse(Some((200, json!({"items": []}))));
    let said = scene.until("w", "NoMetrics", |said| label(said).is_some()).await;
    assert_eq!(label(&said), Some(("NoMetrics", false)));
    scene.metrics.refuse(None);
    scene.metrics.set("bare", "500m", "64Mi");
    scene.deployment("bare", 1, json!({"memory": "64Mi"})).await;
    scene.pipeline("bare", json!({"cpu": {"utilization": 50}})).await;
    let said = scene
        .until("bare", "NoRequest", |said| label(said).is_some_and(|(it, _)| it == "NoRequest"));
    assert_eq!(label(&said.await), Some(("NoRequest", true)));
}

#[tokio::test]
async fn pods_are_counted_from_the_watch_with_no_request_at_all() {
    let scene = Scene::new().await;
    scene.deployment("client", 3, json!({})).await;
    scene.deployment("other", 2, json!({})).await;
    scene.deployment("sidecar", 1, json!({})).await;
    let selector =
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["client"]}]});
    scene.pipeline("sidecar", json!({"workload": {"selector": selector, "perReplica": 1}})).await;
    scene.until_fresh("sidecar", 3.0).await;
    scene.deployment("client", 5, json!({})).await;
    scene.until_fresh("sidecar", 5.0).await;
    scene.deployment("client", 0, json!({})).await;
    scene.until_fresh("sidecar", 0.0).await;
    assert_eq!(scene.metrics.asked(), [] as [String; 0]);
}

#[tokio::test]
async fn a_workload_whose_pods_nobody_can_tell_or_that_has_none_yet_is_no_zero() {
    let scene = Scene::new().await;
    let paths =
        json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let mut told = paths.clone();
    told["labelSelectorPath"] = json!(".status.selector");
    for (kind, scale, word, is_lasting) in
        [("Mute", paths, "NoSelector", true), ("Crowd", told, "NoPods", false)]
    {
        scene.idle_kind(kind, &scale).await;
        let target = json!({"apiVersion": "example.dev/v1", "kind": kind, "name": "w"});
        let name = kind.to_lowercase();
        scene.pipeline_of(&name, target, json!({"cpu": {"utilization": 50}})).await;
        let said = scene.until(&name, word, |said| label(said).is_some()).await;
        assert_eq!(label(&said), Some((word, is_lasting)), "{said:?}");
        assert!(matches!(said, Observation::Failed(_)), "{said:?}");
    }
}

#[tokio::test]
async fn metrics_that_hang_are_given_up_and_what_was_read_grows_old() {
    let scene = Scene::new().await;
    scene.metrics.set("w", "500m", "64Mi");
    scene.deployment("w", 1, json!({"cpu": "1"})).await;
    scene.pipeline("w", json!({"cpu": {"utilization": 50}})).await;
    scene.until_fresh("w", 50.0).await;
    *scene.metrics.hangs.lock().unwrap() = true;
    let is_timeout = |said: &Observation| label(said) == Some(("Timeout", false));
    let said = scene.until("w", "Timeout", is_timeout).await;
    assert!(matches!(said, Observation::Stale(..)), "{said:?}");
    *scene.metrics.hangs.lock().unwrap() = false;
    scene.metrics.set("w", "900m", "64Mi");
    scene.until_fresh("w", 90.0).await;
}
