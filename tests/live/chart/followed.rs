//! docs/getting-started.md, followed as it is written: its manifests saved, its commands given to a shell one after the other, with the real Helm
//! and kubectl, on a real API server. Pods pull no image there, so the daemon is the built binary with the account that the chart made; a
//! port-forward to any pod leads to it. And every Helm command and values file of all pages is rendered by the real Helm.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rights::{arguments, kubeconfig};
use super::{documents, helm, path, template};
use crate::pages::{Block, blocks, script};
use crate::rig::{
    Cluster, ClusterOptions, Kubernetes, Process, Program, free_port, fresh_folder, http_get,
    shared, tool, until,
};
use crate::scene::SOON;

const PAGE: &str = "docs/getting-started.md";
/// What builds programs and images, and brings them to a registry: that is not what is tried here, and `make image-test` tries the image.
const ELSEWHERE: &[&str] = &["cargo install", "docker ", "make image", "skopeo ", "kind load"];
/// Ports of the daemon's pods that people look at.
const PROBES: u16 = 8080;
const PEOPLE: u16 = 8082;

/// Who follows the page: a cluster, and a folder that looks like the repository.
struct Reader {
    cluster: Cluster,
    folder: PathBuf,
    /// The ports of the daemon.
    probes: u16,
    people: u16,
    daemon: Option<Process>,
}

#[tokio::test]
async fn getting_started_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    reader.before().await?;
    let steps: Vec<Block> = blocks().into_iter().filter(|block| block.page == PAGE).collect();
    let (mut followed, mut passed) = (Vec::new(), 0);
    for block in steps {
        match block.language.as_str() {
            "yaml" => reader.save(&block).await?,
            "sh" => {
                for (_, command) in script(&block.text, "") {
                    if ELSEWHERE.iter().any(|start| command.starts_with(start)) {
                        passed += 1;
                        continue;
                    }
                    let said = reader
                        .follow(&command)
                        .await
                        .with_context(|| format!("{}: {command}", block.place()))?;
                    followed.push((command, said));
                }
            }
            other => bail!("{}: nobody can follow {other:?}", block.place()),
        }
    }
    ensure!(
        followed.len() > 25 && passed == 7,
        "{} were followed, {passed} passed over",
        followed.len()
    );
    told(&followed)?;
    // As before: nothing of it is left.
    for what in ["crd", "clusterroles", "validatingadmissionpolicies", "namespaces"] {
        let left = reader.cluster.kubectl(&["get", what, "-o", "name"]).await?;
        let is_left = left.lines().any(|name| {
            name.contains("penstock.dev")
                || name.ends_with("mailroom")
                || (what != "namespaces" && name.contains("penstock"))
        });
        ensure!(!is_left, "{left}");
    }
    Ok(())
}

/// What the page says that its reader will see.
fn told(followed: &[(String, String)]) -> Result<()> {
    let said = |start: &str| -> Vec<&str> {
        followed
            .iter()
            .filter(|(command, _)| command.starts_with(start))
            .map(|(_, said)| said.as_str())
            .collect()
    };
    let explained = said("penstock explain -n mailroom post");
    let [one, four, _kept] = explained.as_slice() else {
        bail!("explained {} times", explained.len())
    };
    ensure!(
        one.contains("sort should have 1 replica") && one.contains("To change this: "),
        "{one}"
    );
    ensure!(
        four.contains("sort should have 4 replicas") && four.contains("letters stands at 12"),
        "{four}"
    );
    ensure!(four.contains("Told by pod penstock/penstock-"), "{four}");
    for (command, words) in [
        ("penstock check", "ok"),
        ("kubectl -n mailroom get scaledpipelines", "post"),
        ("kubectl -n mailroom get events", "to 4 replicas: "),
        ("penstock top", "mailroom/post"),
        ("kubectl -n penstock port-forward deploy/penstock 8082", "Penstock"),
        ("kubectl -n penstock port-forward deploy/penstock 8080", "penstock_stage_replicas{"),
        ("penstock validate orders.yaml", "good"),
        ("penstock explain -n shop orders", "enrich"),
    ] {
        let all = said(command);
        ensure!(
            all.iter().any(|said| said.contains(words)),
            "{command} says no {words:?}: {all:?}"
        );
    }
    Ok(())
}

impl Reader {
    async fn sit_down() -> Result<Self> {
        let (probes, people) = (free_port()?, free_port()?);
        let forwards = vec![(PROBES, probes), (PEOPLE, people)];
        let options = ClusterOptions { nodes: 2, forwards, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let folder = fresh_folder("reader")?;
        std::fs::create_dir(folder.join("bin"))?;
        let programs = [
            ("helm", tool("helm/helm")?),
            ("kubectl", tool("kubernetes-1.36/kubectl")?),
            ("penstock", PathBuf::from(env!("CARGO_BIN_EXE_penstock"))),
        ];
        for (name, program) in programs {
            std::os::unix::fs::symlink(program, folder.join("bin").join(name))?;
        }
        for below in ["charts", "deploy", "docs"] {
            std::os::unix::fs::symlink(path(below), folder.join(below))?;
        }
        Ok(Self { cluster, folder, probes, people, daemon: None })
    }

    /// What the page takes to be there: the reader's own workload and queue, and the kinds of the Prometheus operator.
    async fn before(&self) -> Result<()> {
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "enrich"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "enrich"}}, "template": {
                "metadata": {"labels": {"app": "enrich"}}, "spec": {"containers": [{"name": "worker", "image": "none"}]},
            }},
        });
        self.cluster.kubectl(&["create", "namespace", "shop"]).await?;
        self.cluster.apply("shop", &workload.to_string()).await?;
        shared::broker().await?.topic("followed", 4).await?;
        for (kind, plural) in
            [("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")]
        {
            let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
                "spec": {
                    "group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
                },
            });
            self.cluster.apply("default", &definition.to_string()).await?;
        }
        Ok(())
    }

    /// Saves a manifest under the name that its first line says, with the address and the topic of the reader's own broker.
    async fn save(&self, block: &Block) -> Result<()> {
        let name = block.heading().context("a manifest without a name")?;
        let broker = shared::broker().await?.bootstrap();
        let mut text = block.text.clone();
        for (theirs, own) in
            [("kafka:9092", broker.as_str()), ("topics: [orders]", "topics: [followed]")]
        {
            ensure!(text.contains(theirs), "{} does not say {theirs}", block.place());
            text = text.replace(theirs, own);
        }
        std::fs::write(self.folder.join(name), text)?;
        Ok(())
    }

    /// Gives a command to a shell; what it said.
    async fn follow(&mut self, command: &str) -> Result<String> {
        if let Some(port) = command.split("port-forward deploy/penstock ").nth(1) {
            return self.look(command, port.trim().parse()?).await;
        }
        let said = self.shell(command).run().await?;
        if command.contains("rollout status") && self.daemon.is_none() {
            self.daemon = Some(self.daemon().await?);
        }
        Ok(said)
    }

    fn shell(&self, command: &str) -> Program {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let command = format!("export PATH={}:$PATH\n{command}", at("bin"));
        let program = Program::new("bash").args(["-euo", "pipefail", "-c", &command]);
        ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
            .into_iter()
            .fold(program.in_folder(&self.folder), |program, name| program.env(name, at("home")))
            .env("KUBECONFIG", self.cluster.kubeconfig().display().to_string())
    }

    /// What runs in the pods: the daemon, by the arguments and with the account of the chart.
    async fn daemon(&self) -> Result<Process> {
        let rendered = documents(&template(&[]).await?)?;
        let account = kubeconfig(&self.cluster).await?;
        let program = Program::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["run", "--kubeconfig", &account.display().to_string(), "--grpc-listen=none"])
            .args(arguments(&rendered)?)
            .arg(format!("--listen=127.0.0.1:{}", self.probes))
            .arg(format!("--page-listen=127.0.0.1:{}", self.people));
        let daemon = Process::start("penstock", program, &self.folder)?;
        let port = self.probes;
        daemon
            .ready(SOON, async || {
                let (code, body) = http_get(port, "/readyz").await?;
                ensure!(code == 200, "{body}");
                Ok(())
            })
            .await?;
        Ok(daemon)
    }

    /// A port-forward, from a port of this machine that is free, and what is seen through it.
    async fn look(&self, command: &str, port: u16) -> Result<String> {
        let own = free_port()?;
        let command =
            format!("exec {command}").replace(&format!(" {port}"), &format!(" {own}:{port}"));
        let forward =
            Process::start(&format!("forward-{port}"), self.shell(&command), &self.folder)?;
        let place = if port == PEOPLE { "/" } else { "/metrics" };
        let said =
            until("the port-forward to answer", SOON, async || Ok(Some(seen(own, place).await?)))
                .await
                .with_context(|| forward.log().unwrap_or_default())?;
        forward.kill9();
        Ok(said)
    }
}

/// What a browser sees: it asks by the name and the port that it was given, and reads as much as the answer says it holds, since the end of a
/// connection does not come through KWOK's port-forward.
async fn seen(port: u16, place: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let question = format!("GET {place} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            ensure!(head.starts_with("HTTP/1.1 200"), "{text}");
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.context("an answer without a length")?.parse::<usize>()? <= body.len() {
                return Ok(body.to_owned());
            }
        }
        ensure!(count > 0, "cut off: {text}");
    }
}

#[tokio::test]
async fn helm_takes_the_values_of_every_page() -> Result<()> {
    let folder = fresh_folder("values")?;
    let mut count = 0;
    for block in blocks() {
        if block.heading() == Some("values.yaml") {
            let file = folder.join("values.yaml");
            std::fs::write(&file, &block.text)?;
            let rendered = template(&["-f", &file.display().to_string()]).await;
            let rendered = documents(&rendered.with_context(|| block.place())?)?;
            ensure!(rendered.len() > 10, "{}: {} objects", block.place(), rendered.len());
            count += 1;
        }
        let commands = if block.language == "sh" { script(&block.text, "") } else { Vec::new() };
        for (_, command) in commands {
            let Some(words) = shlex::split(&command).filter(|words| words[0] == "helm") else {
                continue;
            };
            if !words.iter().any(|word| word == "charts/penstock") {
                continue;
            }
            let sets = words.windows(2).filter(|pair| pair[0] == "--set");
            let sets: Vec<&str> = sets.flat_map(|pair| pair.iter().map(String::as_str)).collect();
            let rendered =
                helm()?.args(["template", "penstock", "charts/penstock"]).args(sets).run().await;
            let rendered = rendered.with_context(|| format!("{}: {command}", block.place()))?;
            ensure!(documents(&rendered)?.len() > 10, "{}: {command}", block.place());
            count += 1;
        }
    }
    ensure!(count > 20, "only {count} were rendered");
    Ok(())
}
