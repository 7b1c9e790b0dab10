//! Stages that run Jobs: a whole daemon over the in-memory cluster, asking a queue over HTTP. Jobs end when a test says that their pods
//! have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use penstock::daemon;
use penstock::demo::cluster::{Cluster, Fault, Match, Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::daemons;

const PATIENCE: Duration = Duration::from_mins(1);
/// The shortest poll there is.
const POLL: Duration = Duration::from_secs(1);

/// A cluster with a CronJob, a pipeline that runs its Jobs, and a queue. Dropped, the daemons end.
struct Scene {
    cluster: Cluster,
    client: Client,
    queue: Arc<AtomicU64>,
    address: String,
    /// Readings so far.
    asked: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(json!({}), json!({})).await
    }

    /// `more` goes into the CronJob's spec, `job` into the spec of its Jobs.
    async fn with(more: Value, job: Value) -> Self {
        Self::on(Options::default(), more, job).await
    }

    async fn on(options: Options, more: Value, job: Value) -> Self {
        let cluster = Cluster::new(options);
        for kind in penstock::crd::all() {
            cluster.define(serde_json::to_value(kind).unwrap()).unwrap();
        }
        let (queue, asked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (depth, count) = (Arc::clone(&queue), Arc::clone(&asked));
        let answer = get(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let depth = depth.load(Ordering::SeqCst);
            async move { json!({"waiting": depth}).to_string() }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, Router::new().route("/depth", answer)).await.unwrap();
        });
        let scene = Self { client: cluster.client(), cluster, queue, address, asked, tasks };
        let connection = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"http": {"url": scene.address}},
        });
        scene.put("penstock.dev", "v1alpha1", "connections", connection);
        scene.cron_job("backfill", more, job);
        scene
    }

    fn put(&self, group: &str, version: &str, plural: &str, object: Value) {
        self.cluster.put(group, version, plural, "default", object).unwrap();
    }

    fn cron_job(&self, name: &str, more: Value, job: Value) {
        let mut spec = json!({
            "template": {"metadata": {"labels": {"app": "backfill"}}, "spec": {
                "restartPolicy": "Never", "containers": [{"name": "worker", "image": "none"}],
            }},
        });
        merge(&mut spec, job);
        let mut cron_job = json!({
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"metadata": {"labels": {"team": "data"}, "annotations": {"note": "n"}}, "spec": spec},
        });
        merge(&mut cron_job, more);
        let object = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"}, "spec": cron_job,
        });
        self.put("batch", "v1", "cronjobs", object);
    }

    /// A stage with one Job for each item that waits.
    fn pipeline(&self, more: Value) {
        self.pipeline_of("backfill", more, &json!({}));
    }

    fn pipeline_of(&self, cron_job: &str, more: Value, annotations: &Value) {
        let mut stage = json!({
            "name": "backfill", "jobs": {"templateRef": {"name": cron_job}}, "replicas": {"min": 0, "max": 20},
            "sources": [{"name": "todo", "pollInterval": "1s", "http": {
                "connectionRef": {"name": "web"}, "path": "/depth", "jsonPath": "$.waiting", "perReplica": 1,
            }}],
        });
        merge(&mut stage, more);
        let object = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": "nightly", "namespace": "default", "annotations": annotations}, "spec": {"stages": [stage]},
        });
        self.put("penstock.dev", "v1alpha1", "scaledpipelines", object);
    }

    /// Starts a daemon; it ends when the token is cancelled, and dies with the scene.
    fn daemon(&mut self, identity: &str) -> CancellationToken {
        self.daemon_by(identity, self.cluster.client())
    }

    fn daemon_by(&mut self, identity: &str, writer: Client) -> CancellationToken {
        let stop = CancellationToken::new();
        let clients = daemons::clients(self.cluster.client(), writer);
        let options = daemons::options(identity);
        let end = stop.clone();
        self.tasks.spawn(async move {
            Box::pin(daemon::run(clients, options, end)).await.unwrap();
        });
        stop
    }

    fn waits(&self, items: u64) {
        self.queue.store(items, Ordering::SeqCst);
    }

    /// Until the queue has been read so many times more, and there was time to act on it.
    async fn readings(&self, times: u64) {
        let before = self.asked.load(Ordering::SeqCst);
        self.until("the queue to be read", async || {
            before + times <= self.asked.load(Ordering::SeqCst)
        })
        .await;
        sleep(POLL / 4).await;
    }

    async fn until(&self, what: &str, is_it: impl AsyncFn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_it().await {
            assert!(Instant::now() < end, "waited in vain for {what}: {:#?}", self.shown().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn shown(&self) -> (Vec<String>, Value) {
        (self.jobs().await.iter().map(ResourceExt::name_any).collect(), self.status().await)
    }

    fn api(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn jobs(&self) -> Vec<Job> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    async fn names(&self) -> BTreeSet<String> {
        self.jobs().await.iter().map(ResourceExt::name_any).collect()
    }

    async fn running(&self) -> usize {
        self.jobs().await.iter().filter(|job| !is_over(job)).count()
    }

    async fn until_running(&self, count: usize) {
        self.until(&format!("{count} Jobs to run"), async || self.running().await == count).await;
    }

    /// Names of Jobs that were asked for and made.
    fn made(&self) -> usize {
        let log = self.cluster.faults().log();
        log.iter()
            .filter(|it| (&*it.verb, &*it.resource, it.code) == ("create", "jobs", 201))
            .count()
    }

    /// The pods of a Job end so.
    async fn end(&self, job: &str, phase: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let label = format!("job-name={job}");
        let of_job =
            || async { pods.list(&ListParams::default().labels(&label)).await.unwrap().items };
        self.until("its pods", async || !of_job().await.is_empty()).await;
        for pod in of_job().await {
            let status = Patch::Merge(json!({"status": {"phase": phase}}));
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await.unwrap();
        }
        let api = self.api();
        self.until("the Job to end", async || {
            api.get_opt(job).await.unwrap().is_none_or(|job| is_over(&job))
        })
        .await;
    }

    /// The work of a Job is done, and its item is no longer in the queue.
    async fn complete(&self, job: &str) {
        self.queue.fetch_sub(1, Ordering::SeqCst);
        self.end(job, "Succeeded").await;
    }

    async fn status(&self) -> Value {
        let kind = kube::core::GroupVersionKind::gvk("penstock.dev", "v1alpha1", "ScaledPipeline");
        let resource = kube::api::ApiResource::from_gvk(&kind);
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.client.clone(), "default", &resource);
        api.get("nightly").await.unwrap().data["status"].clone()
    }

    async fn condition(&self, kind: &str) -> Value {
        let status = self.status().await;
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|it| it["type"] == kind).unwrap_or_default()
    }

    async fn until_ready_says(&self, truth: &str, reason: &str) -> String {
        self.until(&format!("Ready={truth} {reason}"), async || {
            let ready = self.condition("Ready").await;
            ready["status"] == truth && ready["reason"] == reason
        })
        .await;
        self.condition("Ready").await["message"].as_str().unwrap().to_owned()
    }

    /// Notes of all events of this reason.
    async fn told(&self, reason: &str) -> Vec<String> {
        let api: Api<k8s_openapi::api::events::v1::Event> =
            Api::namespaced(self.client.clone(), "default");
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let of_reason = events.into_iter().filter(|it| it.reason.as_deref() == Some(reason));
        of_reason.filter_map(|it| it.note).collect()
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn is_over(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| matches!(&*it.type_, "Complete" | "Failed"))
}

fn all(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_of_the_template_for_each_item_and_not_again_while_it_runs() {
    let mut scene = Scene::new().await;
    scene.waits(3);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(3).await;
    assert_eq!(scene.names().await, all(&["backfill-p1", "backfill-p2", "backfill-p3"]));
    let cron_jobs: Api<CronJob> = Api::namespaced(scene.client.clone(), "default");
    let owner = cron_jobs.get("backfill").await.unwrap();
    let job = scene.api().get("backfill-p1").await.unwrap();
    let by = &job.owner_references()[0];
    assert_eq!(
        (&*by.kind, &*by.name, Some(&by.uid)),
        ("CronJob", "backfill", owner.uid().as_ref())
    );
    assert_eq!((by.controller, by.block_owner_deletion), (None, None));
    for (key, value) in [
        ("team", "data"),
        ("penstock.dev/cronjob", "backfill"),
        ("penstock.dev/pipeline", "nightly"),
        ("penstock.dev/stage", "backfill"),
    ] {
        assert_eq!(job.labels().get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(job.annotations()["note"], "n");
    let why = "3 replicas: todo stands at 3, and each replica may have 1";
    assert_eq!(job.annotations()["penstock.dev/reason"], why);
    // The items are in work, and still counted: whatever is read meanwhile, nothing more is made.
    scene.readings(4).await;
    assert_eq!((scene.made(), scene.running().await), (3, 3));
    let note = format!(
        "stage backfill: 3 Jobs made from CronJob default/backfill (numbers 1 to 3): {why}"
    );
    assert_eq!(scene.told("JobsCreated").await, [note]);
    // One more comes, one is done: two of them at once.
    scene.waits(4);
    scene.until_running(4).await;
    assert!(scene.names().await.contains("backfill-p4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_whose_pods_are_slow_to_start_are_not_made_twice() {
    let hour = Duration::from_hours(1);
    let options = Options { startup: (hour, hour), ..Options::default() };
    let mut scene = Scene::on(options, json!({}), json!({})).await;
    scene.waits(5);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(5).await;
    scene.readings(5).await;
    assert_eq!(scene.made(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_was_done_since_the_reading_brings_no_second_job() {
    let mut scene = Scene::new().await;
    scene.waits(6);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(6).await;
    // Each ends between two readings, and the last reading still tells of its item.
    for number in 1..=6 {
        scene.complete(&format!("backfill-p{number}")).await;
    }
    scene.readings(3).await;
    assert_eq!((scene.made(), scene.running().await), (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_items_end_no_job_that_runs() {
    let mut scene = Scene::new().await;
    scene.waits(4);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(4).await;
    scene.waits(0);
    scene.readings(4).await;
    assert_eq!(scene.running().await, 4);
    scene
        .until("the status to say so", async || {
            let stage = &scene.status().await["stages"][0];
            stage["reason"]["code"] == "LetEnd" && stage["desired"] == 1 && stage["current"] == 4
        })
        .await;
    let log = scene.cluster.faults().log();
    assert!(!log.iter().any(|it| it.verb == "delete" && it.resource == "jobs"));
    // They end by themselves, down to zero.
    for number in 1..=4 {
        scene.end(&format!("backfill-p{number}"), "Succeeded").await;
    }
    scene.until_running(0).await;
    scene.readings(2).await;
    assert_eq!(scene.made(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_does_not_count_and_its_item_gets_another() {
    let mut scene = Scene::with(json!({}), json!({"backoffLimit": 0})).await;
    scene.waits(2);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.end("backfill-p1", "Failed").await;
    scene.until("another", async || scene.names().await.contains("backfill-p3")).await;
    assert_eq!(scene.running().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_beyond_the_history_limits_go_and_the_newest_stay() {
    let limits = json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1});
    let mut scene = Scene::with(limits, json!({"backoffLimit": 0})).await;
    scene.waits(7);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(7).await;
    scene.waits(1);
    // The newest by number are kept, in whatever order they end; a Job that someone else made is left alone.
    for (number, phase) in [
        (4, "Succeeded"),
        (3, "Succeeded"),
        (1, "Succeeded"),
        (2, "Succeeded"),
        (6, "Failed"),
        (5, "Failed"),
    ] {
        scene.end(&format!("backfill-p{number}"), phase).await;
    }
    let kept = all(&["backfill-p3", "backfill-p4", "backfill-p6", "backfill-p7"]);
    scene.until("the rest to go", async || scene.names().await == kept).await;
    scene.readings(2).await;
    assert_eq!((scene.names().await, scene.running().await), (kept, 1));
    let log = scene.cluster.faults().log();
    let removed = log.iter().filter(|it| it.verb == "delete" && it.resource == "jobs").count();
    assert_eq!(removed, 3, "each is removed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_several_pods_is_one_replica_and_one_that_waits_for_leave_counts() {
    let mut scene = Scene::with(json!({}), json!({"parallelism": 3, "completions": 3})).await;
    scene.waits(2);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.until("six pods", async || scene.cluster.count("pods") == 6).await;
    scene.readings(2).await;
    assert_eq!(scene.made(), 2);
    // As a queueing controller does that lets Jobs in one by one.
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    scene.api().patch("backfill-p1", &PatchParams::default(), &suspend).await.unwrap();
    scene.readings(3).await;
    assert_eq!((scene.made(), scene.running().await), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_between_two_jobs_and_the_next_one_make_none_twice() {
    let mut scene = Scene::new().await;
    scene.waits(8);
    scene.pipeline(json!({}));
    // The fourth is made, and its answer never comes; the daemon does not live to hear of the others.
    let fourth = Match { name: String::new(), ..Match::of("create", "jobs", "") };
    for _ in 0..3 {
        scene.cluster.faults().plan(fourth.clone(), Fault::Delay(Duration::from_millis(20)), 1);
    }
    scene.cluster.faults().plan(fourth.clone(), Fault::ForwardThenDrop, 1);
    scene.cluster.faults().plan(fourth, Fault::Hang, 4);
    let mut first = JoinSet::new();
    std::mem::swap(&mut first, &mut scene.tasks);
    let _daemon = scene.daemon("a");
    std::mem::swap(&mut first, &mut scene.tasks);
    scene.until("some of them", async || 4 <= scene.jobs().await.len()).await;
    first.shutdown().await;
    scene.cluster.faults().clear();
    let _next = scene.daemon("b");
    scene.until_running(8).await;
    scene.readings(3).await;
    assert_eq!(scene.jobs().await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_see_the_same_choose_the_same_names() {
    let mut scene = Scene::new().await;
    scene.waits(3);
    // Someone who saw the same has made the first of them a moment ago, and the watch does not tell of it yet.
    scene.pipeline(json!({}));
    scene.cluster.faults().plan(
        Match::of("list", "jobs", ""),
        Fault::Delay(Duration::from_secs(2)),
        1,
    );
    let _daemon = scene.daemon("a");
    let _other = scene.daemon("b");
    scene.until_running(3).await;
    scene.readings(3).await;
    assert_eq!(scene.jobs().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_before_anything_else() {
    let mut scene = Scene::new().await;
    scene.waits(2);
    scene.pipeline(json!({}));
    scene.cluster.faults().plan(Match::of("create", "jobs", ""), Fault::ForwardThenRefuse(503), 2);
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.readings(3).await;
    assert_eq!(scene.jobs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_someone_else_has_is_told_and_nothing_is_made_in_its_place() {
    let mut scene = Scene::new().await;
    let foreign = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "backfill-p1", "namespace": "default"},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    scene.put("batch", "v1", "jobs", foreign);
    scene.waits(1);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    let message = scene.until_ready_says("False", "WriteRefused").await;
    assert!(
        message.contains("Job backfill-p1 is there already and was not made by Penstock"),
        "{message}"
    );
    assert_eq!(scene.jobs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_full_is_told_in_its_own_words() {
    let mut scene = Scene::new().await;
    scene.waits(4);
    scene.cluster.faults().plan(Match::of("create", "jobs", ""), Fault::Refuse(403), 1);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    let message = scene.until_ready_says("False", "WriteRefused").await;
    assert!(message.contains("403"), "{message}");
    // Half a minute later it is tried again, and those that were made meanwhile are not made twice.
    scene.until_running(4).await;
    assert_eq!(scene.jobs().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_cron_job_is_told_with_a_hint_and_served_once_it_is_there() {
    let mut scene = Scene::new().await;
    scene.waits(2);
    scene.pipeline_of("absent", json!({}), &json!({}));
    let _daemon = scene.daemon("a");
    let message = scene.until_ready_says("False", "TargetUnusable").await;
    assert_eq!(
        message,
        "stage backfill: held: the target cannot be scaled: there is no CronJob default/absent, from whose template its Jobs are \
         made; hint: create the CronJob, with suspend: true, or mend jobs.templateRef.name"
    );
    scene.cron_job("absent", json!({}), json!({}));
    scene.until_running(2).await;
    scene.until_ready_says("True", "Serving").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_that_is_not_suspended_is_told_of_and_its_own_jobs_do_not_count() {
    let mut scene = Scene::with(json!({"suspend": false}), json!({})).await;
    let cron_jobs: Api<CronJob> = Api::namespaced(scene.client.clone(), "default");
    let uid = cron_jobs.get("backfill").await.unwrap().uid().unwrap();
    let own = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "backfill-29400000", "namespace": "default", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "CronJob", "name": "backfill", "uid": uid, "controller": true},
        ]},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    scene.put("batch", "v1", "jobs", own);
    scene.waits(2);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until("two of ours", async || scene.made() == 2).await;
    scene.until("the event", async || !scene.told("SchedulesItself").await.is_empty()).await;
    let told = scene.told("SchedulesItself").await;
    assert!(told[0].contains("CronJob backfill is not suspended"), "{told:?}");
    assert!(told[0].contains("hint: set spec.suspend of CronJob backfill to true"), "{told:?}");
    // Suspended, it is over.
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    cron_jobs.patch("backfill", &PatchParams::default(), &suspend).await.unwrap();
    scene.until("its end", async || !scene.told("SchedulesItselfEnded").await.is_empty()).await;
    scene.end("backfill-29400000", "Succeeded").await;
    scene.readings(2).await;
    assert!(scene.names().await.contains("backfill-29400000"), "the history of others is theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_min_is_kept_running() {
    let mut scene = Scene::new().await;
    scene.pipeline(json!({"replicas": {"min": 2, "max": 5}}));
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.waits(50);
    scene.until_running(5).await;
    scene.readings(3).await;
    assert_eq!(scene.made(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_and_pause_write_nothing_and_say_what_they_would() {
    for (more, annotations, code) in [
        (json!({"mode": "Observe"}), json!({}), "Observed"),
        (json!({}), json!({"penstock.dev/paused": "true"}), "Paused"),
        (json!({}), json!({"penstock.dev/paused-scale-out": "true"}), "Paused"),
    ] {
        let mut scene = Scene::new().await;
        scene.waits(3);
        scene.pipeline_of("backfill", more, &annotations);
        let _daemon = scene.daemon("a");
        scene
            .until(code, async || scene.status().await["stages"][0]["reason"]["code"] == code)
            .await;
        let message = scene.status().await["stages"][0]["reason"]["message"].to_string();
        assert!(message.contains("3 replicas would be written"), "{message}");
        assert_eq!(scene.made(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_pinned_is_kept_running() {
    let mut scene = Scene::new().await;
    scene.waits(9);
    scene.pipeline_of("backfill", json!({}), &json!({"penstock.dev/paused-replicas": "2"}));
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.end("backfill-p1", "Succeeded").await;
    scene.until("another", async || scene.names().await.contains("backfill-p3")).await;
    assert_eq!(scene.running().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_steady_state_nothing_is_written_and_nothing_is_read() {
    let mut scene = Scene::new().await;
    scene.waits(3);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(3).await;
    scene.until_ready_says("True", "Serving").await;
    scene.readings(2).await;
    // What is still to be told of the move is told within a minute; none of it concerns Jobs.
    scene.cluster.faults().clear_log();
    scene.readings(6).await;
    let of_jobs = |it: &&penstock::demo::cluster::Logged| {
        it.resource.contains("job") && !(it.verb == "list" && it.user_agent.is_empty())
    };
    let log = scene.cluster.faults().log();
    let asked: Vec<_> = log.iter().filter(of_jobs).filter(|it| it.verb != "watch").collect();
    assert!(asked.is_empty(), "{asked:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named() {
    let mut scene = Scene::new().await;
    scene.waits(1);
    scene.pipeline(json!({}));
    scene.cluster.faults().plan(Match::of("list", "jobs", ""), Fault::Refuse(403), 3);
    let _daemon = scene.daemon("a");
    let message = scene.until_ready_says("False", "TargetUnusable").await;
    assert!(message.contains("Penstock may not list jobs.batch"), "{message}");
    scene.until_ready_says("True", "Serving").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_may_not_be_removed_keep_nobody_from_working() {
    let mut scene = Scene::with(json!({"successfulJobsHistoryLimit": 0}), json!({})).await;
    scene.waits(1);
    scene.pipeline(json!({}));
    scene.cluster.faults().plan(Match::of("delete", "jobs", ""), Fault::Refuse(403), 100);
    let _daemon = scene.daemon("a");
    scene.until_running(1).await;
    scene.complete("backfill-p1").await;
    scene.until("the event", async || !scene.told("WriteRefused").await.is_empty()).await;
    scene.waits(2);
    scene.until_running(2).await;
    assert!(scene.names().await.contains("backfill-p2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_someone_deletes_is_made_again_for_its_item() {
    let mut scene = Scene::new().await;
    scene.waits(2);
    scene.pipeline(json!({}));
    let _daemon = scene.daemon("a");
    scene.until_running(2).await;
    scene.api().delete("backfill-p2", &DeleteParams::background()).await.unwrap();
    scene.until("another", async || scene.made() == 3).await;
    assert_eq!(scene.running().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_as_a_plain_target_is_refused_with_the_words_to_write() {
    let mut scene = Scene::new().await;
    let target = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "backfill"});
    let stage = json!({"name": "backfill", "target": target, "replicas": {"max": 2}});
    let object = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": "nightly", "namespace": "default"}, "spec": {"stages": [stage]},
    });
    scene.put("penstock.dev", "v1alpha1", "scaledpipelines", object);
    let _daemon = scene.daemon("a");
    let message = scene.until_ready_says("False", "InvalidSpec").await;
    assert!(
        message.contains("write jobs: {templateRef: {name: backfill}} instead of target"),
        "{message}"
    );
}
