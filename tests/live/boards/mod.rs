//! The boards and the alerts on a real Prometheus that scrapes a real daemon under known traffic, with our labels honoured and not:
//! every query of every board is sent, and what a panel shows is held against what brokers, producers and the API server know.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::crd::ScaledPipeline;
use penstock::demo::traffic::{Load, Work};
use serde_json::json;

use crate::rig::{self, Broker, Prometheus, folder, ports, promtool, shared, until};
use crate::scene::{Crew, SOON, Scene, kafka};

mod grafana;

use grafana::{Chosen, Shown, ask, boards};

/// The namespace that a scrape says Penstock runs in.
const OWN: &str = "observability";
const RULES: &str = "charts/penstock/rules/penstock.yaml";

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
    assert_eq!(files, 4);
    // promtool does fail when an alert does not come: the same tests without a rule.
    let folder = folder::fresh("promtool")?;
    let tests = std::fs::read_to_string(root.join("tests/data/alerts/sources.yaml"))?;
    std::fs::write(folder.join("none.yaml"), "groups: []\n")?;
    let tests = tests.replace(&format!("../../../{RULES}"), "none.yaml");
    std::fs::write(folder.join("tests.yaml"), tests)?;
    let file = folder.join("tests.yaml").display().to_string();
    assert!(promtool(&["test", "rules", &file]).await.is_err(), "promtool finds all well without rules");
    Ok(())
}

/// Four pipelines: one at work, one that only waits, one whose source is away, one whose target is missing.
struct Stage {
    scene: Scene,
    crew: Crew,
    server: Prometheus,
}

const ARRIVES: f64 = 30.0;
const RATE: f64 = 20.0;
const WAITING: u64 = 500;

#[tokio::test]
async fn the_boards_show_what_is_true_with_labels_honoured_and_renamed() -> Result<()> {
    let stage = Stage::set(shared::broker().await?).await?;
    for job in ["honoured", "renamed"] {
        stage.judge(job).await.with_context(|| format!("scraped as {job}"))?;
    }
    stage.rules_are_well().await?;
    stage.crew.stop().await;
    Ok(())
}

impl Stage {
    async fn set(broker: &Broker) -> Result<Self> {
        let records = folder::fresh("recording")?.display().to_string();
        let scene = Scene::open_with("boards", &["--record", &records]).await?;
        let server = Prometheus::with_config(&config(scene.daemon.port())).await?;
        let [work, still, empty] = ["work", "still", "empty"].map(|it| format!("{}-{it}", scene.namespace));
        for topic in [&work, &still, &empty] {
            broker.topic(topic, 8).await?;
        }
        let earliest = || json!({"offsetReset": "Earliest"});
        for name in ["worker", "idler", "blinded"] {
            scene.deployment(name, 1).await?;
        }
        let crew = scene.consume(broker, "worker", Work::on(&work, &work, RATE))?;
        let producer = crew.producer(&work)?;
        let stage = |target: &str, source, more| {
            let mut stage = json!({
                "target": {"name": target}, "replicas": {"min": 1, "max": 8}, "sources": [source],
            });
            if let (Some(stage), serde_json::Value::Object(more)) = (stage.as_object_mut(), more) {
                stage.extend(more);
            }
            stage
        };
        let known = json!({"objective": {"maxDelay": "60s"}, "ratePerReplica": RATE, "startup": "3s"});
        scene.pipeline("orders", stage("worker", kafka(broker, &[&work], &work, earliest()), known)).await?;
        let watched = json!({"objective": {"maxDelay": "5s"}, "mode": "Observe"});
        scene.pipeline("still", stage("idler", kafka(broker, &[&still], &still, earliest()), watched)).await?;
        let nowhere = json!({"name": "queue", "kafka": {
            "bootstrapServers": format!("127.0.0.1:{}", ports::free()?), "topics": ["t"], "group": "g",
        }});
        let fallback = json!({"fallback": {"after": "5s", "policy": "AtLeast", "replicas": 3}});
        scene.pipeline_unread("blind", stage("blinded", nowhere, fallback)).await?;
        let lost = json!({"objective": {"maxDelay": "60s"}});
        scene.pipeline_unread("broken", stage("nobody", kafka(broker, &[&empty], &empty, earliest()), lost)).await?;

        broker.send(&still, None, usize::try_from(WAITING)?).await?;
        producer.add(1_200);
        producer.follow(Load::steady(ARRIVES));
        scene.until_any_move("worker", 1).await?;
        scene.until_condition("blind", ("Fallback", "True", ""), SOON).await?;
        scene.until_condition("broken", ("Ready", "False", ""), SOON).await?;
        scene.until_done(&crew, 1_200).await?;
        // Rates are read over the last 20 s, and what a panel shows last is at most 5 s old.
        scene
            .until("half a minute of steady work", SOON * 3, async || {
                let lag = scene.stage("orders").await?.lag;
                ensure!(lag.is_some_and(|lag| lag < 200), "{lag:?} wait");
                Ok(Some(()))
            })
            .await?;
        let begun = crew.done();
        scene
            .until("a steady half minute", SOON, async || Ok((crew.done() > begun + 900).then_some(())))
            .await?;
        Ok(Self { scene, crew, server })
    }

    /// Every panel of every board, scraped by this job.
    async fn judge(&self, job: &str) -> Result<()> {
        let namespace = self.scene.namespace.as_str();
        for board in boards()? {
            for pipeline in ["orders", "still", "blind"] {
                let mut chosen: Chosen<'_> = [("cluster", ".*"), ("job", job), ("instance", ".+"), ("stage", ".*")].into();
                chosen.extend([("namespace", namespace), ("pipeline", pipeline)]);
                assert!(board.offers(&self.server, "job", &chosen).await?.contains(job));
                assert_eq!(board.offers(&self.server, "instance", &chosen).await?.len(), 1);
                if board.name != "internals" {
                    assert_eq!(board.offers(&self.server, "namespace", &chosen).await?, [namespace.to_owned()].into());
                }
                if board.name == "pipeline" {
                    let all = ["orders", "still", "blind", "broken"].map(str::to_owned);
                    assert_eq!(board.offers(&self.server, "pipeline", &chosen).await?, all.into());
                    assert_eq!(board.offers(&self.server, "stage", &chosen).await?, ["work".to_owned()].into());
                }
                // A number that moves is read again: what is true moves while one reads.
                until("boards that show what is true", Duration::from_secs(20), async || {
                    let shown = board.show(&self.server, &chosen).await?;
                    self.compare(&shown, pipeline).await.map(Some)
                })
                .await
                .with_context(|| format!("board {} of {pipeline}", board.name))?;
                if board.name != "pipeline" {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn compare(&self, shown: &[Shown], pipeline: &str) -> Result<()> {
        let facts = self.facts().await?;
        let mut wrong = Vec::new();
        for panel in shown {
            let known = facts.known(panel, pipeline);
            if panel.is_empty() && known.is_empty() && !may_be_empty(panel, pipeline) {
                wrong.push(format!("{} {:?} shows nothing", panel.board, panel.panel));
            }
            for (what, seen, truth) in known {
                let is_right = seen.is_some_and(|seen| (seen - truth).abs() <= 0.1 * truth.abs());
                if !is_right {
                    wrong.push(format!("{} {:?} {what}: shows {seen:?}, and {truth} is true", panel.board, panel.panel));
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    async fn facts(&self) -> Result<Facts> {
        let api = kube::Api::<ScaledPipeline>::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let statuses: Vec<_> = api.list(&kube::api::ListParams::default()).await?.items;
        let holds = |kind: &str, status: &str| {
            let with = statuses.iter().filter(|object| {
                let conditions = object.status.iter().flat_map(|it| &it.conditions);
                conditions.into_iter().any(|it| it.type_ == kind && it.status == status)
            });
            with.count()
        };
        let moves = self.scene.moves("worker", 1)?;
        Ok(Facts {
            replicas: f64::from(*moves.last().context("the worker was never moved")?),
            ups: moves.iter().scan(1, |now, to| Some(*to > std::mem::replace(now, *to))).filter(|it| *it).count() as f64,
            moves: moves.len() as f64,
            not_ready: holds("Ready", "False") as f64,
            in_fallback: holds("Fallback", "True") as f64,
        })
    }

    /// The rules on real series: each is evaluated without an error, and the alerts that this stage calls for are on their way.
    async fn rules_are_well(&self) -> Result<()> {
        until("alerts on their way", SOON, async || {
            let data = ask(&self.server, "rules", &[]).await?;
            let groups = data["groups"].as_array().into_iter().flatten();
            let rules: Vec<_> = groups.flat_map(|it| it["rules"].as_array().into_iter().flatten()).collect();
            ensure!(rules.len() > 30, "only {} rules", rules.len());
            let ill: Vec<_> = rules.iter().filter(|it| it["health"] != "ok").collect();
            ensure!(ill.is_empty(), "{ill:?}");
            let active = |name: &str| {
                let rule = rules.iter().filter(|it| it["name"] == name);
                rule.flat_map(|it| it["alerts"].as_array().into_iter().flatten()).map(|it| it["labels"]["pipeline"].to_string()).collect::<Vec<_>>()
            };
            for (alert, pipeline) in [
                ("PenstockSourceDown", "blind"),
                ("PenstockFallbackActive", "blind"),
                ("PenstockPipelineNotReady", "broken"),
            ] {
                // Both jobs tell of one pipeline, and one alert comes of it.
                ensure!(active(alert) == [format!("{pipeline:?}")], "{alert}: {:?}", active(alert));
            }
            for alert in ["PenstockDown", "PenstockNoLeader", "PenstockManyLeaders", "PenstockWriteConflict", "PenstockInvariantViolated"] {
                ensure!(active(alert).is_empty(), "{alert}: {:?}", active(alert));
            }
            Ok(Some(()))
        })
        .await
    }
}

/// What others than Penstock know.
struct Facts {
    replicas: f64,
    ups: f64,
    moves: f64,
    not_ready: f64,
    in_fallback: f64,
}

impl Facts {
    /// What is known of a panel: what is looked at, what it shows, what is true.
    fn known(&self, panel: &Shown, pipeline: &str) -> Vec<(&'static str, Option<f64>, f64)> {
        let number = panel.number();
        let with = |label: &str, is: &str| panel.with(label, is).first().copied();
        let one = |truth: f64| vec![("number", number, truth)];
        let work = pipeline == "orders";
        match (panel.board.as_str(), panel.panel.as_str()) {
            ("fleet", "Pipelines") => one(4.0),
            ("fleet", "Not ready") => one(self.not_ready),
            ("fleet", "In fallback") => one(self.in_fallback),
            // Of three that know their delay, the one that only waits is late.
            ("fleet", "In time") => one(2.0 / 3.0),
            ("fleet", "Late stages" | "Sources down") | ("fleet" | "internals", "Leaders") | ("internals", "Running") => one(1.0),
            ("fleet" | "internals", "Broken promises of its own") => one(0.0),
            ("fleet", "Nearest to their promise, or past it") => {
                let is_late = with("pipeline", "still").map(|share| f64::from(u8::from(share > 1.0)));
                vec![("the late one is past its promise", is_late, 1.0)]
            }
            ("fleet", "Conditions that want someone") => vec![
                ("broken", with("pipeline", "broken"), 1.0),
                ("blind", with("type", "Fallback"), 1.0),
                ("all", Some(panel.queries.iter().flatten().count() as f64), self.not_ready + self.in_fallback),
            ],
            ("fleet", "Sources that are not heard") => vec![("blind", with("pipeline", "blind"), 0.0)],
            ("fleet", "What is odd") => one(0.0),
            ("fleet", "Items that wait") => vec![("still", with("pipeline", "still"), WAITING as f64)],
            ("fleet", "What arrives, and what could be done") => {
                let values: Vec<_> = panel.queries.iter().map(|it| it.first().map(|(_, value)| *value)).collect();
                vec![("arrives", values[0], ARRIVES), ("could be done", values[1], self.replicas * RATE)]
            }
            ("fleet", "Moves by reason") => {
                let values = panel.queries.iter().flatten().map(|(_, value)| value).sum();
                let ups = panel.with("direction", "up").iter().sum();
                vec![("all", Some(values), self.moves), ("ups", Some(ups), self.ups)]
            }
            ("pipeline", "Items that wait") if pipeline == "still" => vec![("items", panel.queries[0].first().map(|it| it.1), WAITING as f64)],
            _ => Vec::new(),
        }
    }
}

fn may_be_empty(_panel: &Shown, _pipeline: &str) -> bool {
    false
}

/// A Prometheus that scrapes the daemon each second in both ways, as the operator does with `honorLabels` true and false.
fn config(port: u16) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES);
    let job = |name: &str, honour: bool| {
        format!(
            "- {{job_name: {name}, honor_labels: {honour}, static_configs: [{{targets: [\"127.0.0.1:{port}\"], labels: {{namespace: {OWN}}}}}]}}\n"
        )
    };
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n{}{}",
        root.display().to_string(),
        job("honoured", true),
        job("renamed", false),
    )
}
