//! Lists that break off between two pages: what the first brought and the next list does not show is gone. On the in-memory API, one object a
//! page.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use penstock::clock::Clock;
use penstock::decide::{PipelineId, Target, Unusable};
use penstock::demo::cluster::{Cluster, Options};
use penstock::tasks::Tasks;
use penstock::watch::{self, Watch};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower::{BoxError, ServiceExt};

/// A cluster without controllers, and a watch on it whose lists of one resource break off after the first page.
struct Torn {
    cluster: Cluster,
    watch: Watch,
    clock: Clock,
    /// Of which, and how often one has.
    resource: Arc<Mutex<(Option<&'static str>, usize)>>,
}

impl Torn {
    /// Two of each of these, `a` and `b`, with a pipeline on each.
    async fn of(resource: &'static str, kind: &str, group: &str, spec: &Value) -> Self {
        let cluster = Cluster::new(Options { controllers: false, nodes: 0, ..Options::default() });
        for definition in penstock::crd::all() {
            cluster.define(json!(definition)).unwrap();
        }
        for name in ["a", "b"] {
            let plural = format!("{}s", kind.to_lowercase());
            let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec});
            cluster.put(group, "v1", &plural, "default", object).unwrap();
            let source = json!({"name": "q", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}});
            let target = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "name": name});
            let mut stage = json!({"name": "s", "replicas": {"max": 3}, "sources": [source]});
            if kind == "CronJob" {
                stage["jobs"] = json!({"templateRef": {"name": name}});
            } else {
                stage["target"] = target;
            }
            let pipeline = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
                "metadata": {"name": name}, "spec": {"stages": [stage]}});
            cluster
                .put("penstock.dev", "v1alpha1", "scaledpipelines", "default", pipeline)
                .unwrap();
        }
        let broken = Arc::new(Mutex::new((Some(resource), 0)));
        let (door, of) = (cluster.service(), Arc::clone(&broken));
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (door, of) = (door.clone(), Arc::clone(&of));
            async move {
                let uri = request.uri().to_string().replace("limit=100", "limit=1");
                if uri.contains("continue=") {
                    let (torn, times) = &mut *of.lock().unwrap();
                    if torn.is_some_and(|torn| uri.contains(torn)) {
                        *times += 1;
                        return Err(BoxError::from("the connection was cut"));
                    }
                }
                *request.uri_mut() = uri.parse()?;
                let answer = door.oneshot(request).await?;
                Ok::<_, BoxError>(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()))
            }
        });
        let (clock, options) = (Clock::start(), watch::Options::default());
        let client = Client::new(service, "default");
        let watch = Watch::start(client, clock, options, Tasks::default());
        let scene = Self { cluster, watch, clock, resource: broken };
        // The first list has brought `a`, and broken off.
        scene.until(|it| 0 < it.resource.lock().unwrap().1).await;
        scene
    }

    /// `a` goes, and lists are whole again.
    fn lose(&self, client: &Client, path: &str) -> impl Future<Output = ()> {
        let request = Request::delete(format!("{path}/a")).body(Vec::new()).unwrap();
        let (client, resource) = (client.clone(), Arc::clone(&self.resource));
        async move {
            client.request::<Value>(request).await.unwrap();
            resource.lock().unwrap().0 = None;
        }
    }

    async fn until(&self, is_it: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_it(self) {
                // As the loop does: so kinds are looked up.
                self.look();
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_mins(2), wait).await.expect("it never came to that");
    }

    fn look(&self) -> Option<Target> {
        let id = PipelineId { namespace: "default".into(), name: "a".into() };
        let mut seen = self.watch.seen(&BTreeSet::from([id]), self.clock.now());
        seen.sights.pop()?.targets.first().cloned()
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_a_list_that_broke_off_is_dropped_when_the_next_shows_it_no_more() {
    let pod = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": pod});
    let scene = Torn::of("/scaledpipelines", "Deployment", "apps", &spec).await;
    assert_eq!(scene.watch.pipelines().len(), 1);
    let path = "/apis/penstock.dev/v1alpha1/namespaces/default/scaledpipelines";
    scene.lose(&scene.cluster.client(), path).await;
    scene.until(|it| it.watch.unsynced().is_empty()).await;
    let names: Vec<_> = scene.watch.pipelines().iter().map(|id| id.name.to_string()).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_target_of_a_list_that_broke_off_is_not_found_when_the_next_shows_it_no_more() {
    let pod = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": pod});
    let scene = Torn::of("/deployments", "Deployment", "apps", &spec).await;
    scene.lose(&scene.cluster.client(), "/apis/apps/v1/namespaces/default/deployments").await;
    scene.until(|it| it.look() == Some(Target::Unusable(Unusable::NotFound))).await;
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_of_a_list_that_broke_off_is_not_found_when_the_next_shows_it_no_more() {
    let pod =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": pod}}});
    let scene = Torn::of("/cronjobs", "CronJob", "batch", &spec).await;
    scene.lose(&scene.cluster.client(), "/apis/batch/v1/namespaces/default/cronjobs").await;
    scene.until(|it| it.look() == Some(Target::Unusable(Unusable::NotFound))).await;
}
