//! Scenarios of Jobs: a table of PostgreSQL drives them, the real Job controller makes their pods, and workers say when those are done.
//! Judged by what the API server recorded.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::rig::{Penstock, Postgres, RequestLog, shared};
use crate::scene::{SOON, Scene};

/// The Jobs of a scene's namespace.
pub(crate) async fn jobs(scene: &Scene) -> Result<Vec<Job>> {
    let api: Api<Job> = Api::namespaced(scene.client.clone(), &scene.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}

/// Number and uid of a Job.
fn numbered(job: &Job) -> Option<(u64, String)> {
    let name = job.name_any();
    let (_, number) = name.rsplit_once("-p")?;
    Some((number.parse().ok()?, job.uid()?))
}

fn is_over(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|it| matches!(&*it.type_, "Complete" | "Failed"))
}

/// A table with so many rows, a CronJob, and a pipeline that makes a Job for each row, at most eight.
async fn table(scene: &Scene, rows: u32) -> Result<Postgres> {
    let server = Postgres::start().await?;
    server
        .tell(&format!(
            "CREATE TABLE todo (id bigserial PRIMARY KEY);
             CREATE ROLE penstock LOGIN PASSWORD 's3cret';
             GRANT SELECT ON todo TO penstock;
             INSERT INTO todo SELECT n FROM generate_series(1, {rows}) n"
        ))
        .await?;
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"user": "penstock", "password": "s3cret"},
        }))
        .await?;
    let key = |key| json!({"name": "login", "key": key});
    let postgres = json!({
        "host": "127.0.0.1", "port": server.port, "database": "postgres",
        "usernameSecretRef": key("user"), "passwordSecretRef": key("password"),
    });
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "db"},
            "spec": {"postgres": postgres},
        }))
        .await?;
    let template = json!({
        "metadata": {"labels": {"app": "backfill"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "none"}]},
    });
    scene
        .create(json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backfill"},
            "spec": {
                "suspend": true, "schedule": "0 0 1 1 *", "successfulJobsHistoryLimit": 2,
                "jobTemplate": {"spec": {"backoffLimit": 0, "template": template}},
            },
        }))
        .await?;
    let todo = json!({
        "connectionRef": {"name": "db"}, "query": "SELECT count(*) FROM todo", "perReplica": 1,
    });
    let stage = json!({
        "name": "backfill", "jobs": {"templateRef": {"name": "backfill"}}, "replicas": {"min": 0, "max": 8},
        "sources": [{"name": "todo", "pollInterval": "1s", "postgres": todo}],
    });
    scene
        .create(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": "nightly"},
            "spec": {"stages": [stage]},
        }))
        .await?;
    Ok(server)
}

/// Works on a row for each pod that runs; when the row is gone the pod has succeeded.
struct Crew {
    /// The most Jobs that were seen to run at once.
    most: Arc<AtomicUsize>,
    /// Every Job that was ever seen: its number and uid. The API server's record knows fewer: a daemon that is killed does not hear the answer, and
    /// the record then has no 201.
    seen: Arc<Mutex<BTreeSet<(u64, String)>>>,
    tasks: JoinSet<()>,
}

impl Crew {
    fn hire(scene: &Scene, server: Arc<Postgres>, work: Duration) -> Self {
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let all: Api<Job> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let most = Arc::<AtomicUsize>::default();
        let at_once = Arc::clone(&most);
        let seen = Arc::<Mutex<BTreeSet<(u64, String)>>>::default();
        let book = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut begun: Vec<(Instant, String)> = Vec::new();
            loop {
                if let Ok(jobs) = all.list(&ListParams::default()).await {
                    let running = jobs.iter().filter(|job| !is_over(job)).count();
                    at_once.fetch_max(running, Ordering::SeqCst);
                    book.lock().unwrap().extend(jobs.iter().filter_map(numbered));
                }
                let found = pods.list(&ListParams::default()).await;
                for pod in found.into_iter().flatten() {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    let name = pod.name_any();
                    if phase == Some("Running") && !begun.iter().any(|(_, known)| *known == name) {
                        begun.push((Instant::now(), name));
                    }
                }
                for (since, pod) in &mut begun {
                    if work <= since.elapsed() && finish(&server, &pods, pod).await.is_ok() {
                        *since += Duration::from_hours(1);
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Self { most, seen, tasks }
    }

    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn finish(server: &Postgres, pods: &Api<Pod>, pod: &str) -> Result<()> {
    server.tell("DELETE FROM todo WHERE id = (SELECT min(id) FROM todo)").await?;
    let status = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    pods.patch_status(pod, &PatchParams::default(), &status).await?;
    Ok(())
}

/// What was asked of the API server about Jobs and their CronJob here by daemons: verb and resource of each, and how many Jobs were made.
struct Asked {
    log: RequestLog,
    namespace: String,
    made: usize,
    verbs: BTreeSet<(String, String)>,
}

impl Asked {
    async fn from_now(scene: &Scene) -> Result<Self> {
        let log = shared::cluster().await?.requests()?;
        let namespace = scene.namespace.clone();
        Ok(Self { log, namespace, made: 0, verbs: BTreeSet::new() })
    }

    fn made(&mut self) -> Result<usize> {
        for request in self.log.take()? {
            let Some(resource) = request.resource.strip_suffix(".batch") else { continue };
            // Of these kinds the test itself makes one CronJob, and lists Jobs as the daemon does.
            let is_tests = (&*request.verb, resource) == ("create", "cronjobs");
            let is_ours = !request.user_agent.starts_with("kube")
                && !is_tests
                && (request.namespace.is_empty() || request.namespace == self.namespace);
            if is_ours && ["jobs", "cronjobs"].contains(&resource) {
                self.made += usize::from(request.verb == "create" && request.code == 201);
                self.verbs.insert((resource.to_owned(), request.verb));
            }
        }
        Ok(self.made)
    }
}

async fn until_made(scene: &Scene, asked: &mut Asked, least: usize) -> Result<()> {
    let end = Instant::now() + SOON;
    while asked.made()? < least {
        ensure!(
            Instant::now() < end,
            "{} of {least} Jobs were made in {}",
            asked.made,
            scene.namespace
        );
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_is_killed_between_two_jobs_makes_none_twice() -> Result<()> {
    const ROWS: u32 = 24;
    let scene = Scene::open("jobs-killed").await?;
    let mut asked = Asked::from_now(&scene).await?;
    let server = Arc::new(table(&scene, ROWS).await?);
    let mut crew = Crew::hire(&scene, Arc::clone(&server), Duration::from_secs(2));
    for least in [1, 9, 17] {
        until_made(&scene, &mut asked, least).await?;
        scene.daemon.process().kill9();
        scene.daemon.process().start_again()?;
        scene.daemon.ready().await?;
    }
    until_done(&scene, &crew, 24).await?;
    assert_eq!(crew.seen(), 24, "one for each row");
    asked.made()?;
    assert!(crew.most.load(Ordering::SeqCst) <= 8, "never more than max");
    crew.tasks.shutdown().await;
    // The newest two are kept, and the CronJob's own controller took no offence.
    // Numbers follow from the Jobs that are there, so a daemon that dies among several may leave a gap.
    let kept: BTreeSet<_> = jobs(&scene).await?.iter().filter_map(numbered).collect();
    let newest: BTreeSet<_> = crew.seen.lock().unwrap().iter().rev().take(2).cloned().collect();
    assert_eq!(kept, newest);
    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(scene.client.clone(), &scene.namespace);
    let events = events.list(&ListParams::default()).await?.items;
    let odd = |reason: Option<&str>| matches!(reason, Some("UnexpectedJob" | "MissingJob"));
    assert!(!events.iter().any(|event| odd(event.reason.as_deref())), "{events:?}");
    // What was asked for is what the Role of docs/jobs.md allows.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/jobs.md"))?;
    let role = page
        .split("```yaml\n")
        .find(|block| block.contains("ClusterRole"))
        .and_then(|block| block.split("```").next())
        .context("docs/jobs.md prints no Role")?;
    let role: Value = serde_saphyr::from_str(role)?;
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        for resource in texts(&rule["resources"]) {
            allowed.extend(texts(&rule["verbs"]).into_iter().map(|verb| (resource.clone(), verb)));
        }
    }
    assert_eq!(asked.verbs, allowed);
    Ok(())
}

#[tokio::test]
async fn a_standby_that_takes_over_makes_no_job_twice() -> Result<()> {
    let scene = Scene::open("jobs-standby").await?;
    let mut asked = Asked::from_now(&scene).await?;
    let only_here = ["--namespace", &scene.namespace, "--lease-namespace", &scene.namespace];
    let _standby = Penstock::run(shared::cluster().await?.kubeconfig(), &only_here).await?;
    let server = Arc::new(table(&scene, 12).await?);
    let mut crew = Crew::hire(&scene, Arc::clone(&server), Duration::from_secs(2));
    until_made(&scene, &mut asked, 1).await?;
    scene.daemon.process().kill9();
    until_done(&scene, &crew, 12).await?;
    assert_eq!(crew.seen(), 12);
    crew.tasks.shutdown().await;
    Ok(())
}

/// Waits until as many Jobs were made as there are rows, all are over, and the history is trimmed; and a while longer.
async fn until_done(scene: &Scene, crew: &Crew, rows: usize) -> Result<()> {
    let end = Instant::now() + SOON * 3;
    loop {
        let jobs = jobs(scene).await?;
        if rows <= crew.seen() && jobs.iter().all(is_over) && jobs.len() == 2 {
            // Another poll or two, to see that it rests.
            sleep(Duration::from_secs(3)).await;
            return Ok(());
        }
        ensure!(Instant::now() < end, "{} of {rows} made, {} there", crew.seen(), jobs.len());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_job_in_flight_survives_that_its_work_is_called_off_and_goes_with_the_cron_job()
-> Result<()> {
    let scene = Scene::open("jobs-flight").await?;
    let server = table(&scene, 3).await?;
    let running = async |count: usize| -> Result<BTreeSet<String>> {
        scene
            .until(&format!("{count} Jobs with a Ready pod"), SOON, async || {
                let jobs = jobs(&scene).await?;
                let is_ready = |job: &&Job| job.status.as_ref().and_then(|it| it.ready) == Some(1);
                let uids: BTreeSet<_> =
                    jobs.iter().filter(is_ready).filter_map(ResourceExt::uid).collect();
                ensure!(uids.len() == count, "{} of {}", uids.len(), jobs.len());
                Ok(Some(uids))
            })
            .await
    };
    let before = running(3).await?;
    server.tell("DELETE FROM todo").await?;
    scene
        .until("the daemon to let them end", SOON, async || {
            let stage = scene.stage("nightly").await?;
            let code = stage.reasons.last().map(|reason| reason.code.clone());
            ensure!(code.as_deref() == Some("LetEnd"), "{code:?}");
            let counts = (stage.replicas.desired, stage.replicas.current);
            ensure!(counts == (Some(1), Some(3)), "{stage:?}");
            Ok(Some(()))
        })
        .await?;
    scene.until_read("nightly", 4).await?;
    assert_eq!(running(3).await?, before, "the same three");
    let lives: Vec<_> = jobs(&scene).await?.into_iter().filter(is_over).collect();
    assert!(lives.is_empty());
    scene.delete("batch/v1", "CronJob", "backfill").await?;
    let message =
        scene.until_condition("nightly", ("Ready", "False", "TargetUnusable"), SOON).await?;
    assert!(message.contains("create the CronJob, with suspend: true"), "{message}");
    scene
        .until("its Jobs to be collected", SOON, async || {
            Ok(jobs(&scene).await?.is_empty().then_some(()))
        })
        .await
}

#[tokio::test]
async fn a_quota_is_told_in_its_own_words_and_what_it_allows_is_made() -> Result<()> {
    let scene = Scene::open("jobs-quota").await?;
    scene
        .create(json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
            "spec": {"hard": {"count/jobs.batch": "2"}},
        }))
        .await?;
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> =
        Api::namespaced(scene.client.clone(), &scene.namespace);
    scene
        .until("the quota to be in force", SOON, async || {
            let status = quotas.get("few").await?.status;
            Ok(status.and_then(|it| it.hard).filter(|hard| !hard.is_empty()).map(drop))
        })
        .await?;
    let _server = table(&scene, 5).await?;
    let message =
        scene.until_condition("nightly", ("Ready", "False", "WriteRefused"), SOON).await?;
    assert!(message.contains("exceeded quota: few"), "{message}");
    assert_eq!(jobs(&scene).await?.len(), 2);
    Ok(())
}
