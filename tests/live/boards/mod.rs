//! The boards and the alerts on a real Prometheus that scrapes a real daemon under known traffic, with our labels honoured and not:
//! every query of every board is sent, and what a panel shows is held against what brokers, producers and the API server know.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;
use penstock::demo::traffic::{Load, Producer, Work};
use serde_json::{Value, json};

use crate::rig::{
    Broker, Penstock, Program, Prometheus, free_port, fresh_folder, promtool, shared, tool, until,
};
use crate::scene::{Crew, SOON, Scene, kafka, workload};

mod facts;
pub(crate) mod grafana;
mod told;

use facts::Facts;
use grafana::{Chosen, Shown, ask, boards, moment};
use told::Told;

/// The namespace that a scrape says Penstock runs in.
const OWN: &str = "observability";
const RULES: &str = "charts/penstock/rules/penstock.yaml";

/// With `prometheusRule.inTime` of 0.8: a stage that is always late pages, one that is late for half of the time does not.
const LOOSE: &str = r#"
rule_files: [loose.yaml]
group_eval_order: [penstock-records, penstock-objective, penstock-stages, penstock-sources, penstock-itself]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - series: penstock_stage_delay_seconds{namespace="shop", pipeline="orders", job="penstock", instance="a:8080", stage="late"}
    values: 90x240
  - series: penstock_stage_delay_seconds{namespace="shop", pipeline="orders", job="penstock", instance="a:8080", stage="half"}
    values: 90x120 10x120
  - series: penstock_stage_objective_seconds{namespace="shop", pipeline="orders", job="penstock", instance="a:8080", stage="late"}
    values: 60x240
  - series: penstock_stage_objective_seconds{namespace="shop", pipeline="orders", job="penstock", instance="a:8080", stage="half"}
    values: 60x240
  promql_expr_test:
  - expr: count by (stage, window) (ALERTS{alertname="PenstockDelayObjectiveBurn", alertstate="firing", severity="critical"})
    eval_time: 200m
    exp_samples:
    - {labels: '{stage="late", window="1h"}', value: 1}
    - {labels: '{stage="late", window="6h"}', value: 1}
"#;

#[tokio::test]
async fn the_alerts_fire_when_they_should_and_only_then() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = promtool(&["check", "rules", &root.join(RULES).display().to_string()]).await?;
    ensure!(said.contains("SUCCESS"), "{said}");
    let mut files = 0;
    for entry in std::fs::read_dir(root.join("tests/data/alerts"))? {
        let path = entry?.path();
        let said = promtool(&["test", "rules", &path.display().to_string()]).await;
        said.with_context(|| path.display().to_string())?;
        files += 1;
    }
    assert_eq!(files, 5);
    // promtool does fail when an alert does not come: the same tests without a rule.
    let folder = fresh_folder("promtool")?;
    let tests = std::fs::read_to_string(root.join("tests/data/alerts/sources.yaml"))?;
    std::fs::write(folder.join("none.yaml"), "groups: []\n")?;
    let tests = tests.replace(&format!("../../../{RULES}"), "none.yaml");
    std::fs::write(folder.join("tests.yaml"), tests)?;
    let file = folder.join("tests.yaml").display().to_string();
    assert!(
        promtool(&["test", "rules", &file]).await.is_err(),
        "promtool finds all well without rules"
    );
    // Of a budget of a fifth, 14.4 times are more than all of the time.
    let rules = std::fs::read_to_string(root.join(RULES))?;
    std::fs::write(folder.join("loose.yaml"), rules.replace("vector(0.01)", "vector(0.2)"))?;
    std::fs::write(folder.join("tests.yaml"), LOOSE)?;
    promtool(&["test", "rules", &file]).await?;
    Ok(())
}

#[tokio::test]
async fn the_chart_ships_the_very_rules_and_boards() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let helm = Program::new(tool("helm/helm")?).in_folder(root).args([
        "template",
        "penstock",
        "charts/penstock",
        "--set=dashboards.enabled=true,prometheusRule.enabled=true",
        "--show-only=templates/dashboards.yaml",
        "--show-only=templates/prometheusrule.yaml",
    ]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&helm.run().await?)?;
    let mut shipped = 0;
    for object in objects.iter().filter(|object| !object.is_null()) {
        if object["kind"] == "PrometheusRule" {
            let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(root.join(RULES))?)?;
            assert_eq!(object["spec"]["groups"], rules["groups"]);
            shipped += 1;
            continue;
        }
        let data = object["data"].as_object().context("a ConfigMap without data")?;
        for (name, board) in data {
            let file = name.strip_prefix("penstock-").context("an odd name")?;
            let kept = std::fs::read_to_string(root.join("charts/penstock/dashboards").join(file))?;
            assert_eq!(board.as_str(), Some(kept.trim()), "{name}");
            shipped += 1;
        }
    }
    assert_eq!(shipped, 1 + boards()?.len());
    Ok(())
}

/// Four pipelines: one at work, one that only waits, one whose source is away, one whose target is missing.
struct Stage {
    scene: Scene,
    crew: Crew,
    producer: Producer,
    server: Prometheus,
    /// Another replica, that stands by and tells what it sees all the same.
    standby: Penstock,
    /// When what only waits was sent.
    sent: tokio::time::Instant,
    /// How many there are, and what the scheduler may give away of one.
    nodes: f64,
    cores_of_a_node: f64,
}

const ARRIVES: f64 = 30.0;
const RATE: f64 = 20.0;
const WAITING: u32 = 500;
/// What a replica at work requests, and what a node costs in an hour.
const CORES: f64 = 50.0;
const PRICE: f64 = 0.5;

#[tokio::test]
async fn the_boards_show_what_is_true_with_labels_honoured_and_renamed() -> Result<()> {
    let stage = Stage::set(shared::broker().await?).await?;
    for job in ["honoured", "renamed"] {
        let scraped = || format!("scraped as {job}");
        stage.judge(job).await.with_context(scraped)?;
        stage.moves_were_shown(job).await.with_context(scraped)?;
    }
    stage.rules_are_well().await?;
    assert!(stage.standby.stop().await?.success());
    stage.producer.stop().await;
    stage.crew.stop().await;
    Ok(())
}

impl Stage {
    async fn set(broker: &Broker) -> Result<Self> {
        let records = fresh_folder("recording")?.display().to_string();
        let scene = Scene::open_with("boards", &["--record", &records]).await?;
        let cluster = shared::cluster().await?;
        let only_here = ["--namespace", &scene.namespace, "--lease-namespace", &scene.namespace];
        let standby = Penstock::run(cluster.kubeconfig(), &only_here).await?;
        let server =
            Prometheus::with_config(&config([scene.daemon.port(), standby.port()])).await?;
        let [work, still, empty] =
            ["work", "still", "empty"].map(|it| format!("{}-{it}", scene.namespace));
        for topic in [&work, &still, &empty] {
            broker.topic(topic, 8).await?;
        }
        let earliest = || json!({"offsetReset": "Earliest"});
        for name in ["idler", "blinded"] {
            scene.deployment(name, 1).await?;
        }
        let requests = json!({"cpu": CORES.to_string()});
        scene.create(workload("Deployment", "worker", 1, &requests, json!({}))).await?;
        let crew = scene.consume(broker, "worker", Work::on(&work, &work, RATE))?;
        let producer = crew.producer(&work)?;
        let stage = |target: &str, source, more| {
            let mut stage = json!({
                "target": {"name": target}, "replicas": {"min": 1, "max": 8}, "sources": [source],
            });
            if let (Some(stage), Value::Object(more)) = (stage.as_object_mut(), more) {
                stage.extend(more);
            }
            stage
        };
        // Every node of the cluster is of one pool, on which the one at work has its only lane.
        cluster
            .kubectl(&[
                "label",
                "nodes",
                "--all",
                "boards=yes",
                &format!("eks-node-viewer/instance-price={PRICE}"),
            ])
            .await?;
        let nodes = Api::<Node>::all(scene.client.clone());
        let nodes = nodes.list(&ListParams::default().labels("boards=yes")).await?.items;
        let cores = nodes[0].status.as_ref().and_then(|it| it.allocatable.as_ref()?.get("cpu"));
        let cores = cores.context("a node without CPUs")?.0.as_str();
        let cores_of_a_node = match cores.strip_suffix('k') {
            Some(thousands) => 1_000.0 * thousands.parse::<f64>()?,
            None => cores.parse()?,
        };
        let nodes = facts::float(nodes.len());
        let pool = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "boards"},
            "spec": {"class": "OnDemand", "nodeSelector": {"boards": "yes"}},
        });
        cluster.apply("default", &pool.to_string()).await?;
        let known = json!({
            "target": null, "lanes": [{"pool": "boards", "target": {"name": "worker"}}],
            "objective": {"maxDelay": "60s"}, "ratePerReplica": RATE, "startup": "3s",
        });
        scene
            .pipeline("orders", stage("worker", kafka(broker, &[&work], &work, earliest()), known))
            .await?;
        let watched = json!({"objective": {"maxDelay": "5s"}, "mode": "Observe"});
        scene
            .pipeline(
                "still",
                stage("idler", kafka(broker, &[&still], &still, earliest()), watched),
            )
            .await?;
        let nowhere = json!({"name": "queue", "kafka": {
            "bootstrapServers": format!("127.0.0.1:{}", free_port()?), "topics": ["t"], "group": "g",
        }});
        let fallback = json!({"fallback": {"after": "5s", "policy": "AtLeast", "replicas": 3}});
        scene.pipeline_unread("blind", stage("blinded", nowhere, fallback)).await?;
        let lost = json!({"objective": {"maxDelay": "60s"}});
        scene
            .pipeline_unread(
                "broken",
                stage("nobody", kafka(broker, &[&empty], &empty, earliest()), lost),
            )
            .await?;

        broker.send(&still, None, usize::try_from(WAITING)?).await?;
        let sent = tokio::time::Instant::now();
        producer.add(1_200);
        producer.follow(Load::steady(ARRIVES));
        scene.until_any_move("worker", 1).await?;
        scene.until_condition("blind", ("Fallback", "True", ""), SOON).await?;
        scene.until_condition("broken", ("Ready", "False", ""), SOON).await?;
        scene.until_done(&crew, 1_200).await?;
        // An arrival rate is a minute's mean.
        let begun = crew.done();
        scene
            .until("a minute of steady work", SOON * 2, async || {
                let done = crew.done() - begun;
                ensure!(done > 2_100, "{done} are done");
                Ok(Some(()))
            })
            .await?;
        Ok(Self { scene, crew, producer, server, standby, sent, nodes, cores_of_a_node })
    }

    /// The choices on a board of one pipeline, scraped by this job.
    fn choice<'a>(&'a self, job: &'a str, pipeline: &'a str) -> Chosen<'a> {
        let anything = [("cluster", ".*"), ("instance", ".+"), ("stage", ".*")];
        let ours = [("namespace", self.scene.namespace.as_str()), ("job", job)];
        anything.into_iter().chain(ours).chain([("pipeline", pipeline)]).collect()
    }

    /// Every panel of every board, scraped by this job.
    async fn judge(&self, job: &str) -> Result<()> {
        let namespace = self.scene.namespace.as_str();
        let mut unknown = BTreeSet::new();
        for board in boards()? {
            let mut known = BTreeSet::new();
            for pipeline in ["orders", "still", "blind"] {
                let chosen = self.choice(job, pipeline);
                assert!(board.offers(&self.server, "job", &chosen).await?.contains(job));
                assert_eq!(board.offers(&self.server, "instance", &chosen).await?.len(), 2);
                if board.name != "internals" {
                    assert_eq!(
                        board.offers(&self.server, "namespace", &chosen).await?,
                        [namespace.to_owned()].into()
                    );
                }
                if board.name == "pipeline" {
                    let all = ["orders", "still", "blind", "broken"].map(str::to_owned);
                    assert_eq!(board.offers(&self.server, "pipeline", &chosen).await?, all.into());
                    assert_eq!(
                        board.offers(&self.server, "stage", &chosen).await?,
                        ["work".to_owned()].into()
                    );
                }
                // A number that moves is read again: what is true moves while one reads.
                until("boards that show what is true", SOON * 2, async || {
                    let now = moment(&self.server).await?;
                    let shown = board.show_at(&self.server, &chosen, now).await?;
                    let facts = Facts::of(self, Told::at(&self.server, job, now).await?).await?;
                    known.extend(compare(&shown, &facts, pipeline)?);
                    Ok(Some(()))
                })
                .await
                .with_context(|| format!("board {} of {pipeline}", board.name))?;
                if board.name != "pipeline" {
                    break;
                }
            }
            let panels = board.panels().map(|panel| (board.name.clone(), panel));
            unknown.extend(panels.filter(|(_, panel)| !known.contains(panel)));
        }
        // A panel that is not held against anything may show whatever it likes.
        assert_eq!(unknown, facts::ELSEWHERE.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
        Ok(())
    }

    /// Moves are of a moment: when the worker was first moved, the panels showed as many as the API server took.
    async fn moves_were_shown(&self, job: &str) -> Result<()> {
        let moved = self.scene.writes("worker")?.into_iter().find(|it| it.replicas != Some(1));
        let first = moved.context("the worker was never moved")?.at;
        let at = f64::from(i32::try_from(first.as_second())? + 5);
        let since = |name: &str| -> Result<f64> {
            let mut now = 1;
            let writes = self.scene.writes(name)?.into_iter().filter(|write| {
                let to = write.replicas.unwrap_or(now);
                let age = at - write.at.as_duration().as_secs_f64();
                std::mem::replace(&mut now, to) != to && (0.0..20.0).contains(&age)
            });
            Ok(facts::float(writes.count()))
        };
        let (worker, blinded) = (since("worker")?, since("blinded")?);
        for (name, truth) in [("fleet", worker + blinded), ("pipeline", worker)] {
            let board = boards()?.into_iter().find(|it| it.name == name).context("no board")?;
            let shown = board.show_at(&self.server, &self.choice(job, "orders"), at).await?;
            let panel = shown.iter().find(|it| it.panel == "Moves").context("no such panel")?;
            let seen: f64 = panel.with(&[]).iter().sum();
            ensure!((seen - truth).abs() <= 0.1 * truth, "{name} shows {seen} moves of {truth}");
        }
        Ok(())
    }

    /// The rules on real series: each is evaluated without an error, and the alerts that this stage calls for are on their way.
    async fn rules_are_well(&self) -> Result<()> {
        until("alerts on their way", SOON, async || {
            let data = ask(&self.server, "rules", &[]).await?;
            let groups = data["groups"].as_array().into_iter().flatten();
            let rules: Vec<_> =
                groups.flat_map(|it| it["rules"].as_array().into_iter().flatten()).collect();
            ensure!(rules.len() > 30, "only {} rules", rules.len());
            let ill: Vec<_> = rules.iter().filter(|it| it["health"] != "ok").collect();
            ensure!(ill.is_empty(), "{ill:?}");
            let active = |name: &str| {
                let rule = rules.iter().filter(|it| it["name"] == name);
                rule.flat_map(|it| it["alerts"].as_array().into_iter().flatten())
                    .map(|it| it["labels"]["pipeline"].to_string())
                    .collect::<Vec<_>>()
            };
            for (alert, pipeline) in [
                ("PenstockSourceDown", "blind"),
                ("PenstockFallbackActive", "blind"),
                ("PenstockPipelineNotReady", "broken"),
            ] {
                // Both jobs tell of one pipeline, and one alert comes of it.
                ensure!(active(alert) == [format!("{pipeline:?}")], "{alert}: {:?}", active(alert));
            }
            for alert in [
                "PenstockDown",
                "PenstockNoLeader",
                "PenstockManyLeaders",
                "PenstockWriteConflict",
                "PenstockInvariantViolated",
            ] {
                ensure!(active(alert).is_empty(), "{alert}: {:?}", active(alert));
            }
            Ok(Some(()))
        })
        .await
    }
}

/// A Prometheus that scrapes both replicas each second in both ways, as the operator does with `honorLabels` true and false.
fn config(ports: [u16; 2]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES);
    let targets = ports.map(|port| format!("127.0.0.1:{port}"));
    let job = |name: &str, honour: bool| {
        format!(
            "- {{job_name: {name}, honor_labels: {honour}, static_configs: [{{targets: {targets:?}, labels: {{namespace: {OWN}}}}}]}}\n"
        )
    };
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n{}{}",
        root.display().to_string(),
        job("honoured", true),
        job("renamed", false),
    )
}

/// Holds what panels show against what is true. The panels of which something is known.
fn compare(shown: &[Shown], facts: &Facts, pipeline: &str) -> Result<BTreeSet<String>> {
    let mut wrong = Vec::new();
    let mut held = BTreeSet::new();
    for panel in shown {
        let known = facts.known(panel, pipeline);
        if panel.is_empty() && known.is_empty() && !facts::may_be_empty(panel, pipeline) {
            wrong.push(format!("{} {:?} shows nothing", panel.board, panel.panel));
        }
        if !known.is_empty() {
            held.insert(panel.panel.clone());
        }
        for (what, seen, truth) in known {
            let is_right = seen.is_some_and(|seen| (seen - truth).abs() <= 0.1 * truth.abs());
            if !is_right {
                wrong.push(format!(
                    "{} {:?} {what}: shows {seen:?}, and {truth} is true",
                    panel.board, panel.panel
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(held)
}
