//! Where a case plays: a namespace, a queue whose depth it sets, what a daemon says of a stage, and who works there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use futures::{StreamExt, TryStreamExt};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::definitions;

/// How long what takes seconds may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Depths of queues, by name.
type Depths = Arc<Mutex<BTreeMap<String, u64>>>;

/// A namespace that a daemon watches.
pub(crate) struct Yard {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Where the daemon shows its page: `127.0.0.1:PORT`.
    page: String,
    depths: Depths,
    address: String,
    tasks: JoinSet<()>,
    complaints: Complaints,
}

/// What those who work there were made to do and should not.
pub(crate) type Complaints = Arc<Mutex<Vec<String>>>;

/// Who works for a kind: looks, and does what is due.
pub(crate) trait Operator: Send + 'static {
    /// One look.
    fn round(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// The counts that a field had, each that differed from the one before.
#[derive(Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Vec<Value>>>);

impl Trail {
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

impl Yard {
    /// In a namespace that is there; makes the connection to the queues, which serve this process's own numbers.
    pub(crate) async fn open(client: Client, namespace: &str, page: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let depths = Depths::default();
        let answer = async |State(depths): State<Depths>, uri: Uri| {
            let name = uri.path().trim_start_matches('/');
            json!({"waiting": depths.lock().unwrap().get(name)}).to_string()
        };
        let router = Router::new().fallback(answer).with_state(Arc::clone(&depths));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let namespace = namespace.to_owned();
        let complaints = Complaints::default();
        let yard = Self { client, namespace, page, depths, address, tasks, complaints };
        let url = format!("http://{}", yard.address);
        yard.create(&json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "depths"},
            "spec": {"http": {"url": url}},
        }))
        .await?;
        Ok(yard)
    }

    /// Objects of a kind in this namespace.
    pub(crate) fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = definitions::resource(api_version, kind);
        if kind == "Namespace" {
            return Api::all_with(self.client.clone(), &resource);
        }
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Puts a definition in and waits until it is served.
    pub(crate) async fn define(&self, definition: &Value) -> Result<()> {
        let name =
            definition["metadata"]["name"].as_str().context("a definition without a name")?;
        let resource = ApiResource::erase::<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        >(&());
        let definitions: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let params = PatchParams::apply("tests").force();
        definitions.patch(name, &params, &Patch::Apply(definition)).await.context("define")?;
        let spec = &definition["spec"];
        let version = spec["versions"][0]["name"].as_str().unwrap_or_default();
        let version = format!("{}/{version}", spec["group"].as_str().unwrap_or_default());
        let objects = self.api(&version, spec["names"]["kind"].as_str().unwrap_or_default());
        self.until(&format!("{name} to be served"), async || {
            objects.list(&ListParams::default()).await?;
            Ok(Some(()))
        })
        .await
    }

    pub(crate) async fn create(&self, object: &Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.clone().context("an object without a kind")?;
        let api = self.api(&types.api_version, &types.kind);
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("create {} {}", types.kind, object.name_any()))?;
        Ok(())
    }

    /// Makes a pipeline with one stage sized by its own queue: a replica for each ten that wait there.
    pub(crate) async fn pipeline(&self, name: &str, mut stage: Value) -> Result<()> {
        self.wait_in(name, 0);
        stage["name"] = json!("work");
        let source = json!({"connectionRef": {"name": "depths"}, "path": name, "jsonPath": "$.waiting", "perReplica": 10});
        stage["sources"] = json!([{"name": "todo", "http": source}]);
        stage["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
        self.create(&json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
            "spec": {"pollInterval": "1s", "stages": [stage]},
        }))
        .await
    }

    /// So many wait in a queue.
    pub(crate) fn wait_in(&self, queue: &str, waiting: u64) {
        self.depths.lock().unwrap().insert(queue.to_owned(), waiting);
    }

    /// Sets somebody to work until the case ends.
    pub(crate) fn employ(&mut self, mut operator: impl Operator) {
        self.tasks.spawn(async move {
            loop {
                // An API server that is away comes back; the next round mends what this one left.
                drop(operator.round().await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }

    /// Where to complain of what must not be.
    pub(crate) fn complaints(&self) -> Complaints {
        Arc::clone(&self.complaints)
    }

    /// Nobody was made to do harm.
    pub(crate) fn is_unharmed(&self) -> Result<()> {
        let complaints = self.complaints.lock().unwrap();
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(())
    }

    /// Follows a field of an object from now on.
    pub(crate) async fn follow(
        &mut self,
        api: &Api<DynamicObject>,
        name: &str,
        pointer: &str,
    ) -> Result<Trail> {
        let trail = Trail::default();
        let (seen, pointer) = (trail.clone(), pointer.to_owned());
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(api.clone(), config).default_backoff().applied_objects().boxed();
        self.tasks.spawn(async move {
            let mut events = events;
            while let Ok(Some(object)) = events.try_next().await {
                let object = serde_json::to_value(object).unwrap();
                let count = object.pointer(&pointer).cloned().unwrap_or_default();
                let mut seen = seen.0.lock().unwrap();
                if seen.last() != Some(&count) {
                    seen.push(count);
                }
            }
        });
        self.until("the first look at a field", async || {
            Ok((!trail.seen().is_empty()).then_some(()))
        })
        .await?;
        Ok(trail)
    }

    /// Waits until a field has gone this way and no other.
    pub(crate) async fn until_gone(&self, trail: &Trail, way: &Value) -> Result<()> {
        self.until(&format!("a field to go {way}"), async || {
            let seen = json!(trail.seen());
            if seen != *way {
                bail!("it went {seen}");
            }
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the stage of a pipeline gives this reason last; what it says.
    pub(crate) async fn until_reason(&self, pipeline: &str, code: &str) -> Result<String> {
        self.until(&format!("the reason {code}"), async || {
            let stage = self.stage(pipeline).await?;
            let reason = stage["reasons"].as_array().and_then(|all| all.last()).cloned();
            let reason = reason.unwrap_or_default();
            if reason["code"] != code {
                bail!("it is {reason}");
            }
            Ok(Some(reason["sentence"].as_str().unwrap_or_default().to_owned()))
        })
        .await
    }

    /// The stage of a pipeline as the daemon shows it.
    pub(crate) async fn stage(&self, pipeline: &str) -> Result<Value> {
        let path = format!("/api/v1/pipelines/{}/{pipeline}", self.namespace);
        let page = get(&self.page, &path).await?;
        page["stages"].get(0).cloned().with_context(|| format!("no stage was decided on: {page}"))
    }

    /// Waits until `ask` is content; what it complained of last when it never is.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut ask: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let answer = match ask().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => anyhow::anyhow!("not yet"),
                Err(error) => error,
            };
            if end < tokio::time::Instant::now() {
                let shown = get(&self.page, "/api/v1/pipelines").await;
                let shown = shown.map_or_else(|e| format!("{e:#}"), |page| format!("{page:#}"));
                let late =
                    format!("in {}: waited for {what}; the daemon shows {shown}", self.namespace);
                return Err(answer.context(late));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A document of the daemon's page.
async fn get(page: &str, path: &str) -> Result<Value> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(page).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.contains(" 200 "), "{path}: {head}");
    Ok(serde_json::from_str(body)?)
}

/// An object as JSON.
pub(crate) async fn seen(api: &Api<DynamicObject>, name: &str) -> Result<Value> {
    Ok(serde_json::to_value(api.get(name).await?)?)
}

/// Merges into the status of an object.
pub(crate) async fn tell(api: &Api<DynamicObject>, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Changes an object as somebody else.
pub(crate) async fn change(
    api: &Api<DynamicObject>,
    name: &str,
    (manager, patch): (&str, Value),
) -> Result<()> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Merge(patch)).await?;
    Ok(())
}

/// Makes and deletes pods until there are so many with these labels.
pub(crate) async fn people(
    pods: &Api<DynamicObject>,
    stem: &str,
    labels: &Value,
    wanted: u64,
) -> Result<()> {
    let selector = labels.as_object().into_iter().flatten();
    let selector: Vec<_> = selector
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let there = pods.list(&ListParams::default().labels(&selector.join(","))).await?;
    let there: std::collections::BTreeSet<_> =
        there.items.iter().map(ResourceExt::name_any).collect();
    let names: std::collections::BTreeSet<_> = (0..wanted).map(|n| format!("{stem}-{n}")).collect();
    for name in names.difference(&there) {
        let pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "worker", "image": "none"}]},
        }))?;
        pods.create(&PostParams::default(), &pod).await?;
    }
    for name in there.difference(&names) {
        pods.delete(name, &kube::api::DeleteParams::default().grace_period(0)).await?;
    }
    Ok(())
}
