//! The HPA of the simulator is the real one: recorded metric series go through the real kube-controller-manager, and each of its looks
//! must end as `simulate::peers::Hpa` says it ends. Drift on either side fails the test.
//!
//! A metric is answered on a beat, so that looks come at times at which no window and no period is about to end; what each look saw and
//! wrote stands in the API server's own record.

mod cases;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use penstock::clock::Clock;
use penstock::simulate::peers::{Hpa, HpaSettings, Metric, Sight};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::cases::{Case, LOOKS, cases};
use crate::rig::{Answer, Cluster, ClusterOptions, External, Kubernetes, Request, until};

/// Between two answers. Of the windows and periods in the cases none is within 0.4 s of a multiple.
const BEAT: Duration = Duration::from_millis(1400);
/// The controller's sync period: it asks again so soon after a look, and then waits for the beat.
const SYNC: Duration = Duration::from_millis(400);
/// The controller's own down window, in seconds, where an object names none.
const WINDOW: f64 = 9.0;
/// After a look that took longer, the real one may have had a window end in it that our times do not show: nothing is compared any more.
/// That happens on a machine with too much to do, and never to all of a case.
const LATE: f64 = 0.35;

/// What the targets are: counts, and pods that come when the case says so. No controller but the test's own is between.
const TARGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pinned.example.com}
spec:
  group: example.com
  names: {kind: Pinned, plural: pinned}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {replicas: {type: integer}}}, status: {type: object, properties: {replicas: {type: integer}, selector: {type: string}}}}}}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}
";

#[tokio::test]
async fn the_hpa_of_the_simulator_does_at_each_look_what_the_real_one_does() -> Result<()> {
    let controller_flags = vec![
        format!("--horizontal-pod-autoscaler-sync-period={}ms", SYNC.as_millis()),
        format!("--horizontal-pod-autoscaler-downscale-stabilization={WINDOW}s"),
        "--concurrent-horizontal-pod-autoscaler-syncs=40".to_owned(),
    ];
    let options = ClusterOptions {
        nodes: 1,
        audit: true,
        scale_reads: true,
        controller_flags,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    cluster.apply("default", TARGETS).await?;
    cluster.served(&["crd/pinned.example.com"]).await?;
    let namespace = cluster.namespace("pinned").await?;
    let cases = cases()?;
    let served = Arc::new(Served::new(&cases));
    let external = External::serve(&cluster, served.answers()).await?;
    let mut requests = cluster.requests()?;
    let stage = Stage { client: cluster.client().await?, namespace };
    let mut kubelets = JoinSet::new();
    for case in &cases {
        stage.set_up(case).await?;
        kubelets.spawn(stage.clone().follow(case.name, case.pods_after));
    }
    served.until_over().await?;
    drop((kubelets, external));

    let mut record: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for request in requests.take()? {
        if request.subresource == "scale"
            && request.user_agent.contains("horizontal-pod-autoscaler")
        {
            record.entry(request.name.clone()).or_default().push(request);
        }
    }
    let answers = served.answers.lock().unwrap();
    let (mut drift, mut late, mut behind) = (String::new(), String::new(), 0);
    for case in &cases {
        let looks = looks(record.get(case.name).map_or(&[][..], Vec::as_slice), &answers, case);
        if let Err(error) = compare(case, &looks, &mut drift) {
            writeln!(late, "{}: {error:#}", case.name)?;
            behind += 1;
        }
    }
    assert!(drift.is_empty(), "the simulator's HPA and the real one differ:\n{drift}");
    // A look that a busy machine held up ends its case early.
    assert!(behind * 4 <= cases.len(), "{behind} of {} were not compared:\n{late}", cases.len());
    Ok(())
}

/// What the real HPA did at one look.
#[derive(Debug)]
struct Look {
    /// When it had its metrics, or read the scale if it asked for none.
    at: Timestamp,
    spec: u32,
    status: u32,
    /// One for each metric of the object, if it asked.
    values: Vec<Option<f64>>,
    wrote: Option<u32>,
    /// Seconds from `at` to its end.
    took: f64,
}

/// The looks of one object, from what the API server wrote down and what was answered.
fn looks(record: &[Request], answers: &[Answered], case: &Case) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    let mut begins = Vec::new();
    let mut is_again = false;
    for request in record {
        match (request.verb.as_str(), request.code) {
            // Read once more because someone else had written: the same look.
            ("get", _) if is_again => is_again = false,
            ("get", 200) => {
                let Some((spec, status)) = request.found else { continue };
                begins.push(request.came);
                looks.push(Look {
                    at: request.came,
                    spec,
                    status,
                    values: Vec::new(),
                    wrote: None,
                    took: 0.0,
                });
            }
            ("update", 409) => is_again = true,
            ("update", 200) => {
                if let Some(look) = looks.last_mut() {
                    look.wrote = request.replicas;
                    look.at = request.came;
                }
            }
            _ => {}
        }
    }
    let ends = begins.iter().copied().skip(1).chain(begins.last().copied());
    for (look, (begin, end)) in looks.iter_mut().zip(begins.iter().copied().zip(ends)) {
        let own = answers.iter().filter(|it| it.case == case.name && begin <= it.at && it.at < end);
        let own: Vec<_> = own.collect();
        look.values = own.iter().map(|answered| answered.value).collect();
        let wrote = look.at;
        if let Some(last) = own.last() {
            look.at = last.at;
        }
        // Without a write its end is seen only by the next one's begin.
        let next = seconds(look.at, end) - SYNC.as_secs_f64();
        look.took = if look.wrote.is_some() { seconds(look.at, wrote).max(next) } else { next };
    }
    // The last one may have been cut off.
    looks.pop();
    looks
}

/// Lets the simulator's HPA see what the real one saw, and holds the one against the other.
fn compare(case: &Case, looks: &[Look], drift: &mut String) -> Result<()> {
    let first = looks.first().context("the HPA never looked")?.at;
    anyhow::ensure!(10 < looks.len(), "it looked only {} times", looks.len());
    let mut hpa = Hpa::new(HpaSettings {
        window: WINDOW,
        behavior: case.behavior(),
        ..HpaSettings::default()
    });
    let (mut moves, mut asked) = (0, 0);
    let mut story = String::new();
    let mut is_same = true;
    for look in looks.iter().take_while(|look| look.took < LATE) {
        let metrics = look.values.iter().zip(&case.metrics);
        let metrics: Vec<_> =
            metrics.map(|(&value, metric)| Metric { value, target: metric.target }).collect();
        anyhow::ensure!(
            metrics.is_empty() || look.values.len() == case.metrics.len(),
            "a look asked for {} metrics of {}",
            look.values.len(),
            case.metrics.len()
        );
        let at = seconds(first, look.at);
        let expected = hpa.reconcile(&Sight {
            at,
            spec: look.spec,
            status: look.status,
            min: case.min,
            max: case.max,
            metrics: &metrics,
        });
        let got = look.wrote.unwrap_or(look.spec);
        moves += usize::from(look.wrote.is_some());
        asked += usize::from(!metrics.is_empty());
        let mark = if got == expected { ' ' } else { '!' };
        is_same &= got == expected;
        writeln!(
            story,
            "{mark} {at:>7.2} s  spec {:>3}, status {:>3}, metrics {:?}: the real one {got}, the simulator's {expected}",
            look.spec, look.status, look.values
        )?;
    }
    if !is_same {
        writeln!(drift, "{}\n{story}", case.name)?;
    }
    anyhow::ensure!(case.looks() / 2 <= asked, "only {asked} looks could be compared:\n{story}");
    anyhow::ensure!(case.moves <= moves, "only {moves} moves, {} are wanted:\n{story}", case.moves);
    Ok(())
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// One answer to the real HPA.
#[derive(Debug)]
struct Answered {
    case: &'static str,
    at: Timestamp,
    value: Option<f64>,
}

/// The series, and how far each was played.
#[derive(Debug)]
struct Served {
    clock: Clock,
    series: BTreeMap<&'static str, Series>,
    answers: Mutex<Vec<Answered>>,
}

/// The metrics of one case.
#[derive(Debug)]
struct Series {
    metrics: Vec<Vec<Option<f64>>>,
    wanted: usize,
    played: Mutex<Played>,
}

#[derive(Debug, Default)]
struct Played {
    /// When the first answer was given: the beat counts from there.
    begun: Option<Instant>,
    looks: usize,
}

impl Served {
    fn new(cases: &[Case]) -> Self {
        let series = cases.iter().map(|case| {
            let metrics = case.metrics.iter().map(|metric| metric.series.clone()).collect();
            (case.name, Series { metrics, wanted: case.looks(), played: Mutex::default() })
        });
        Self { clock: Clock::start(), series: series.collect(), answers: Mutex::default() }
    }

    fn answers(self: &Arc<Self>) -> Answer {
        let served = Arc::clone(self);
        Arc::new(move |_, metric| {
            let served = Arc::clone(&served);
            async move { served.answer(&metric).await }.boxed()
        })
    }

    /// A metric is called CASE-INDEX. The first of a look waits for the beat, the others are of the same moment.
    async fn answer(&self, metric: &str) -> Option<f64> {
        let (case, index) = metric.rsplit_once('-')?;
        let (&case, series) = self.series.get_key_value(case)?;
        let index: usize = index.parse().ok()?;
        if index == 0 {
            // No guard may live over the wait.
            let begun = series.played.lock().unwrap().begun;
            if let Some(begun) = begun {
                let beats = begun.elapsed().as_secs_f64() / BEAT.as_secs_f64();
                tokio::time::sleep_until(begun + BEAT.mul_f64(beats.ceil())).await;
            }
            let mut played = series.played.lock().unwrap();
            played.begun.get_or_insert_with(Instant::now);
            played.looks += 1;
        }
        let look = series.played.lock().unwrap().looks.saturating_sub(1);
        let of_metric = series.metrics.get(index)?;
        let value = of_metric.get(look).or_else(|| of_metric.last()).copied().flatten();
        self.answers.lock().unwrap().push(Answered { case, at: self.clock.now(), value });
        value
    }

    async fn until_over(&self) -> Result<()> {
        let deadline = BEAT * u32::try_from(LOOKS)? * 2 + Duration::from_mins(1);
        until("all series to be played", deadline, async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let is_behind = |series: &Series| series.played.lock().unwrap().looks <= series.wanted;
            let behind: Vec<_> = self
                .series
                .iter()
                .filter(|(_, series)| series.wanted > 0 && is_behind(series))
                .map(|(name, series)| format!("{name} at {}", series.played.lock().unwrap().looks))
                .collect();
            anyhow::ensure!(behind.is_empty(), "not over: {}", behind.join(", "));
            Ok(Some(()))
        })
        .await
    }
}

/// Where the targets and their HPAs are.
#[derive(Clone)]
struct Stage {
    client: Client,
    namespace: String,
}

impl Stage {
    fn targets(&self) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("example.com", "v1", "Pinned"),
            "pinned",
        );
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind)
    }

    /// The target of a case with all its pods there, and then its HPA.
    async fn set_up(&self, case: &Case) -> Result<()> {
        let target = json!({
            "apiVersion": "example.com/v1", "kind": "Pinned", "metadata": {"name": case.name},
            "spec": {"replicas": case.start},
        });
        self.targets().create(&PostParams::default(), &serde_json::from_value(target)?).await?;
        self.show(case.name, case.start).await?;
        let gvk = GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler");
        let hpas: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::from_gvk(&gvk),
        );
        hpas.create(&PostParams::default(), &serde_json::from_value(case.object())?).await?;
        Ok(())
    }

    async fn show(&self, name: &str, pods: u32) -> Result<()> {
        let status: Value =
            json!({"status": {"replicas": pods, "selector": format!("app={name}")}});
        self.targets().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Stands in for the target's controller: its pods come and go a while after they were asked for.
    async fn follow(self, name: &'static str, after: Duration) -> Result<()> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = std::pin::pin!(watcher(self.targets(), config).applied_objects());
        while let Some(target) = events.next().await {
            // A watch that breaks is taken up again by the stream itself.
            let Ok(target) = target else { continue };
            let count = |part: &str| target.data[part]["replicas"].as_u64().unwrap_or(0);
            if count("spec") != count("status") {
                tokio::time::sleep(after).await;
                self.show(name, u32::try_from(count("spec"))?).await?;
            }
        }
        Ok(())
    }
}
