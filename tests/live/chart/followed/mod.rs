//! The pages, followed as they are written: their manifests saved, their commands given to a shell one after the other, with the real Helm and
//! kubectl, on a real API server; what each says is read. Pods pull no image there, so where the cluster has Deployments of Penstock the built
//! binary runs in their place, with their arguments and their account, and a port-forward to any pod leads to it.
//!
//! Which pages are followed, and which commands are not and why, stands in `tests/pages/followed.rs`.

mod notes;
mod pages;
mod recipes;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rights::{arguments, kubeconfig};
use super::{documents, file, path};
use crate::pages::followed::{is_followed, passed};
use crate::pages::{Block, blocks, script};
use crate::rig::{
    Cluster, ClusterOptions, Kubernetes, Process, Program, free_port, fresh_folder, http_get,
    shared, tool, until,
};
use crate::scene::SOON;

/// Ports of the daemon's pods that people look at.
const PROBES: u16 = 8080;
const PEOPLE: u16 = 8082;
/// Where the pages install it.
const HOME: &str = "penstock";

/// How the next command of the page begins, and words of what it says. One that begins with `+ ` is no command of the page: its reader gives
/// it besides, to have what the page takes to be there, or to see that what it promises came.
type Line = (&'static str, &'static [&'static str]);

/// What a page asks of its reader, in its order.
struct Page {
    path: &'static str,
    steps: VecDeque<Step>,
}

enum Step {
    /// Save this under the name that its first line says.
    Save(Block),
    /// Give this to a shell; where it stands.
    Run(String, String),
}

impl Page {
    fn of(path: &'static str) -> Result<Self> {
        ensure!(is_followed(path), "{path} is not said to be followed");
        let mut steps = VecDeque::new();
        for block in blocks().into_iter().filter(|block| block.page == path) {
            let place = block.place();
            match block.language.as_str() {
                "sh" => {
                    let commands = script(&block.text, "").into_iter().map(|(_, command)| command);
                    let commands = commands.filter(|command| passed(path, command).is_none());
                    steps.extend(commands.map(|command| Step::Run(place.clone(), command)));
                }
                "yaml" if block.heading().is_some_and(is_name) => {
                    steps.push_back(Step::Save(block));
                }
                "yaml" | "text" => {}
                other => bail!("{place}: nobody can follow {other:?}"),
            }
        }
        Ok(Self { path, steps })
    }

    /// Fails unless all of it was followed.
    fn end(self) -> Result<()> {
        match self.steps.into_iter().find(|step| matches!(step, Step::Run(..))) {
            Some(Step::Run(place, command)) => bail!("{place}: nobody followed `{command}`"),
            Some(Step::Save(_)) | None => Ok(()),
        }
    }
}

/// Is it the name of a file to be written, and not a part of something or a file that is there?
fn is_name(heading: &str) -> bool {
    let is_yaml = Path::new(heading).extension().is_some_and(|kind| kind == "yaml");
    is_yaml && !heading.contains('/') && heading != "values.yaml"
}

/// Who follows the pages: a cluster, and a folder that looks like the repository.
struct Reader {
    cluster: Cluster,
    folder: PathBuf,
    /// Where port-forwards lead.
    probes: u16,
    people: u16,
    /// What runs in the pods, by namespace.
    daemons: BTreeMap<String, Daemon>,
    /// Variables that were given their values at the prompt, one a line.
    variables: String,
    /// What was started at the prompt and goes on.
    begun: Vec<Process>,
}

/// The built binary in the place of the pods of one Deployment.
struct Daemon {
    account: String,
    arguments: Vec<String>,
    process: Process,
}

impl Reader {
    async fn sit_down() -> Result<Self> {
        let (probes, people) = (free_port()?, free_port()?);
        let folder = fresh_folder("reader")?;
        let options = ClusterOptions {
            nodes: 2,
            forwards: vec![(PROBES, probes), (PEOPLE, people)],
            logs: Some(folder.join("pods.log")),
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        for below in [".cargo/bin", ".kube", "deploy/examples"] {
            std::fs::create_dir_all(folder.join(below))?;
        }
        symlink(cluster.kubeconfig(), folder.join(".kube/config"))?;
        // The pages call an image by its commit; what is unpacked from an archive has none.
        let commit = "git init -q && git -c user.name=reader -c user.email=reader@example.com commit -q --allow-empty -m first";
        Program::new("bash").args(["-euc", commit]).in_folder(&folder).run().await?;
        let programs = [
            ("helm", tool("helm/helm")?),
            ("kubectl", tool("kubernetes-1.36/kubectl")?),
            ("penstock", PathBuf::from(env!("CARGO_BIN_EXE_penstock"))),
        ];
        for (name, program) in programs {
            symlink(program, folder.join(".cargo/bin").join(name))?;
        }
        for below in ["charts", "docs"] {
            symlink(path(below), folder.join(below))?;
        }
        for below in ["deploy", "deploy/examples"] {
            for entry in std::fs::read_dir(path(below))? {
                let name = Path::new(below).join(entry?.file_name());
                if !folder.join(&name).exists() {
                    symlink(path("").join(&name), folder.join(&name))?;
                }
            }
        }
        let shortest = "deploy/examples/shortest.yaml";
        std::fs::remove_file(folder.join(shortest))?;
        let daemons = BTreeMap::new();
        let reader = Self {
            cluster,
            folder,
            probes,
            people,
            daemons,
            variables: String::new(),
            begun: Vec::new(),
        };
        std::fs::write(reader.folder.join(shortest), reader.own(&file(shortest)?).await?)?;
        reader.before().await?;
        Ok(reader)
    }

    /// What the pages take to be there: the reader's own workload and queue, Argo CD's settings, and the kinds of the Prometheus operator.
    async fn before(&self) -> Result<()> {
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "enrich"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "enrich"}}, "template": {
                "metadata": {"labels": {"app": "enrich"}}, "spec": {"containers": [{"name": "worker", "image": "none"}]},
            }},
        });
        for namespace in ["shop", "argocd"] {
            self.cluster.kubectl(&["create", "namespace", namespace]).await?;
        }
        self.cluster.apply("shop", &workload.to_string()).await?;
        self.cluster.kubectl(&["-n", "argocd", "create", "configmap", "argocd-cm"]).await?;
        shared::broker().await?.topic(&self.topic(), 4).await?;
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

    /// Follows a page by so many commands as there are lines, and reads what they say.
    async fn follow(&mut self, page: &mut Page, lines: &[Line]) -> Result<()> {
        for (start, words) in lines {
            let (place, command) = match start.strip_prefix("+ ") {
                Some(command) => (format!("beside {}", page.path), command.to_owned()),
                None => self.next(page).await?,
            };
            let is_it = start.starts_with("+ ") || command.starts_with(start);
            ensure!(is_it, "{place}: `{command}` stands where `{start}` is expected");
            let said = self.give(&command, words).await;
            let said = said.with_context(|| format!("{place}: {command}"))?;
            for word in *words {
                ensure!(said.contains(word), "{place}: `{command}` says no {word:?}: {said}");
            }
        }
        Ok(())
    }

    /// The next command of a page; what is to be saved before it is.
    async fn next(&self, page: &mut Page) -> Result<(String, String)> {
        loop {
            match page.steps.pop_front().with_context(|| format!("{} has no more", page.path))? {
                Step::Run(place, command) => return Ok((place, command)),
                Step::Save(block) => {
                    let name = block.heading().context("a manifest without a name")?;
                    std::fs::write(self.folder.join(name), self.own(&block.text).await?)?;
                }
            }
        }
    }

    /// Gives a command to a shell; what it said. One that never ends is waited for until it said these words.
    async fn give(&mut self, command: &str, words: &[&str]) -> Result<String> {
        if let Some(after) = command.split("port-forward deploy/penstock ").nth(1) {
            let port = after.split_whitespace().next().context("a port-forward to no port")?;
            return self.look(command, port.parse()?).await;
        }
        if command.split(' ').next().is_some_and(|word| word.contains('=')) {
            let said = self.shell(command).run().await?;
            self.variables.push_str(command);
            self.variables.push('\n');
            return Ok(said);
        }
        if command.starts_with("penstock run ") {
            // Where it would listen, something else may on this machine.
            let nowhere = "--listen=127.0.0.1:0 --page-listen=127.0.0.1:0 --grpc-listen=none";
            let (process, said) = self.begin(&format!("{command} {nowhere}"), words).await?;
            self.begun.push(process);
            return Ok(said);
        }
        if command.ends_with(" -w") {
            return Ok(self.begin(command, words).await?.1);
        }
        if command.contains(" logs ") {
            self.keep_logs()?;
        }
        let said = self.shell(command).run().await?;
        self.fill_pods().await?;
        Ok(said)
    }

    fn shell(&self, command: &str) -> Program {
        let home = self.folder.display().to_string();
        let variables = &self.variables;
        let command = format!("export PATH={home}/.cargo/bin:$PATH\n{variables}{command}");
        let program = Program::new("bash").args(["-euo", "pipefail", "-c", &command]);
        ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
            .into_iter()
            .fold(program.in_folder(&self.folder), |program, name| {
                program.env(name, format!("{home}/.helm"))
            })
            .env("HOME", &home)
            .env("PASSWORD", "s3cret")
            .env("KUBECONFIG", self.cluster.kubeconfig().display().to_string())
    }

    /// Begins what never ends, and waits until it has said these words.
    async fn begin(&self, command: &str, words: &[&str]) -> Result<(Process, String)> {
        let name = format!("begun-{}", command.split(' ').take(2).collect::<Vec<_>>().join("-"));
        let process = Process::start(&name, self.shell(command), &self.folder)?;
        let mut said = String::new();
        process
            .ready(SOON, async || {
                said = process.log()?;
                let lacks = words.iter().find(|word| !said.contains(**word));
                ensure!(lacks.is_none(), "it says no {lacks:?}: {said}");
                Ok(())
            })
            .await?;
        Ok((process, said))
    }

    /// Has as many daemons run as there are Deployments of Penstock that want pods, each as its own says now.
    async fn fill_pods(&mut self) -> Result<()> {
        let label = "app.kubernetes.io/name=penstock";
        let found = ["get", "deployments", "-A", "-l", label, "-o", "json"];
        let found: Value = serde_json::from_str(&self.cluster.kubectl(&found).await?)?;
        let mut wanted = BTreeMap::new();
        for deployment in found["items"].as_array().context("no list")? {
            let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
            if deployment["spec"]["replicas"] != 0 {
                let account = text(&deployment["spec"]["template"]["spec"]["serviceAccountName"])?;
                let arguments = arguments(std::slice::from_ref(deployment))?;
                wanted.insert(text(&deployment["metadata"]["namespace"])?, (account, arguments));
            }
        }
        for (namespace, daemon) in std::mem::take(&mut self.daemons) {
            let now = wanted.get(&namespace);
            if now.is_some_and(|now| *now == (daemon.account.clone(), daemon.arguments.clone())) {
                self.daemons.insert(namespace, daemon);
            } else {
                daemon.process.stop().await?;
            }
        }
        for (namespace, (account, arguments)) in wanted {
            if !self.daemons.contains_key(&namespace) {
                let daemon = self.daemon(&namespace, account, arguments).await?;
                self.daemons.insert(namespace, daemon);
            }
        }
        Ok(())
    }

    async fn daemon(
        &self,
        namespace: &str,
        account: String,
        arguments: Vec<String>,
    ) -> Result<Daemon> {
        let (probes, people) = match namespace {
            HOME => (self.probes, self.people),
            _ => (free_port()?, free_port()?),
        };
        let config = kubeconfig(&self.cluster, namespace, &account).await?;
        let program = Program::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["run", "--kubeconfig", &config.display().to_string(), "--grpc-listen=none"])
            .args(arguments.clone())
            .arg(format!("--listen=127.0.0.1:{probes}"))
            .arg(format!("--page-listen=127.0.0.1:{people}"));
        let process = Process::start(&format!("penstock-of-{namespace}"), program, &self.folder)?;
        process
            .ready(SOON, async || {
                let (code, body) = http_get(probes, "/readyz").await?;
                ensure!(code == 200, "{body}");
                Ok(())
            })
            .await?;
        Ok(Daemon { account, arguments, process })
    }

    /// What the daemon has said so far, as a container runtime keeps it, for `kubectl logs`.
    fn keep_logs(&self) -> Result<()> {
        let daemon = self.daemons.get(HOME).context("nothing runs")?;
        let now = penstock::clock::Clock::start().now();
        let lines = daemon.process.log()?;
        let lines: Vec<_> = lines.lines().map(|line| format!("{now} stderr F {line}\n")).collect();
        let lines = lines.concat();
        Ok(std::fs::write(self.folder.join("pods.log"), lines)?)
    }

    /// A port-forward, from a port of this machine that is free, and what is seen through it.
    async fn look(&self, command: &str, port: u16) -> Result<String> {
        let free = free_port()?;
        let command =
            format!("exec {command}").replace(&format!(" {port}"), &format!(" {free}:{port}"));
        let forward =
            Process::start(&format!("forward-{port}"), self.shell(&command), &self.folder)?;
        let place = if port == PEOPLE { "/" } else { "/metrics" };
        let said =
            until("the port-forward to answer", SOON, async || Ok(Some(seen(free, place).await?)))
                .await
                .with_context(|| forward.log().unwrap_or_default())?;
        forward.kill9();
        Ok(said)
    }

    /// The queue of the pages, which becomes the reader's own; others read on the same broker.
    fn topic(&self) -> String {
        format!("followed-{}", self.probes)
    }

    /// A manifest with the address and the topic of the reader's own broker.
    async fn own(&self, text: &str) -> Result<String> {
        let broker = shared::broker().await?.bootstrap();
        let (mut text, topics) = (text.to_owned(), format!("topics: [{}]", self.topic()));
        for (theirs, own) in [("kafka:9092", &broker), ("topics: [orders]", &topics)] {
            ensure!(text.contains(theirs), "it does not say {theirs}: {text}");
            text = text.replace(theirs, own);
        }
        Ok(text)
    }

    /// Fails where anything is left of Penstock, or of the first example.
    async fn nothing_left(&self) -> Result<()> {
        for what in ["crd", "clusterroles", "validatingadmissionpolicies", "namespaces"] {
            let left = self.cluster.kubectl(&["get", what, "-o", "name"]).await?;
            let is_left = left.lines().any(|name| {
                name.contains("penstock.dev")
                    || name.ends_with("mailroom")
                    || (what != "namespaces" && name.contains("penstock"))
            });
            ensure!(!is_left, "{left}");
        }
        Ok(())
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
