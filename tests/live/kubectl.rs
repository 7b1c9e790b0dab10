//! kubectl at work: apply, get -w, scale, edit. Here against the in-memory API of the demo, which must take it for a real one; `shapes.rs`
//! has the same hands work on a real one and listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use penstock::demo::cluster::{Cluster as Toy, Options};
use tokio::net::TcpListener;

use crate::rig::{Process, Program, kubectl, until};
use crate::scene::SOON;

/// What is scaled.
pub(crate) const WORKER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, labels: {team: data}}
spec:
  replicas: 2
  selector: {matchLabels: {app: worker}}
  template: {metadata: {labels: {app: worker}}, spec: {containers: [{name: main, image: none}]}}
";

/// Who scales it; never fewer than one.
pub(crate) const PIPELINE: &str = "
apiVersion: penstock.dev/v1alpha1
kind: ScaledPipeline
metadata: {name: orders}
spec:
  mode: Observe
  stages:
  - name: work
    target: {kind: Deployment, name: worker}
    replicas: {max: 20}
    sources: [{name: todo, kafka: {bootstrapServers: 'nowhere:9092', topics: [todo], group: work}}]
";

/// Somebody with kubectl and a namespace.
pub(crate) struct Hands {
    kubeconfig: PathBuf,
    namespace: String,
    folder: tempfile::TempDir,
}

impl Hands {
    pub(crate) fn new(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let (kubeconfig, namespace) = (kubeconfig.to_owned(), namespace.to_owned());
        Ok(Self { kubeconfig, namespace, folder: tempfile::tempdir()? })
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<Program> {
        let program = kubectl(&self.kubeconfig)?.args(["-n", &self.namespace]);
        // What it remembers of a server is not to come from another test.
        let cache = self.folder.path().join("cache").display().to_string();
        Ok(program.args(["--cache-dir", &cache]).args(arguments.iter().copied()))
    }

    /// Runs it to its end; what it said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl(arguments)?.run().await
    }

    /// Applies YAML.
    pub(crate) async fn apply(&self, yaml: &str, more: &[&str]) -> Result<String> {
        let file = self.folder.path().join("manifest.yaml");
        fs::write(&file, yaml)?;
        let file = file.display().to_string();
        self.run(&[&["apply", "-f", &file], more].concat()).await
    }

    /// Watches; what it prints is in the log of the process, which ends with it.
    pub(crate) fn watch(&self, what: &str) -> Result<Process> {
        let program = self.kubectl(&["get", what, "-w"])?;
        Process::start(&format!("watch-{what}"), program, self.folder.path())
    }

    /// Edits an object with an editor that puts one text in the place of another.
    pub(crate) async fn edit(&self, what: &str, (old, new): (&str, &str)) -> Result<String> {
        let editor = self.folder.path().join("editor");
        fs::write(&editor, format!("#!/bin/sh\nexec sed -i 's|{old}|{new}|' \"$1\"\n"))?;
        fs::set_permissions(&editor, fs::Permissions::from_mode(0o755))?;
        let program = self.kubectl(&["edit", what])?;
        program.env("KUBE_EDITOR", editor.display().to_string()).run().await
    }
}

/// Waits until a watch has printed a line that has all these words.
pub(crate) async fn until_printed(watch: &Process, words: &[&str]) -> Result<()> {
    until(&format!("a line with {words:?}"), SOON, async || {
        let log = watch.log()?;
        let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        anyhow::ensure!(found, "it printed\n{log}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn kubectl_takes_the_in_memory_api_for_a_real_one() -> Result<()> {
    let toy = Toy::new(Options::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, toy.kubeconfig(listener.local_addr()?))?;
    toy.serve(listener);
    let hands = Hands::new(&kubeconfig, "default")?;

    let kinds = Program::new(env!("CARGO_BIN_EXE_penstock")).arg("crds").run().await?;
    let said = hands.apply(&kinds, &["--server-side"]).await?;
    assert!(said.contains("scaledpipelines.penstock.dev serverside-applied"), "{said}");
    assert_eq!(hands.apply(WORKER, &[]).await?, "deployment.apps/worker created\n");
    assert_eq!(hands.apply(WORKER, &[]).await?, "deployment.apps/worker unchanged\n");
    let (workers, pods) = (hands.watch("deployments")?, hands.watch("pods")?);
    until_printed(&workers, &["worker", "2/2"]).await?;
    until_printed(&pods, &["worker-", "1/1", "Running"]).await?;

    let said = hands.run(&["scale", "deployment/worker", "--replicas=4"]).await?;
    assert_eq!(said, "deployment.apps/worker scaled\n");
    until_printed(&workers, &["worker", "4/4"]).await?;
    let said = hands.edit("deployment/worker", ("replicas: 4", "replicas: 1")).await?;
    assert_eq!(said, "deployment.apps/worker edited\n");
    until_printed(&workers, &["worker", "1/1"]).await?;
    until("one pod to be left", SOON, async || Ok((toy.count("pods") == 1).then_some(()))).await?;
    let less = WORKER.replace("labels: {team: data}", "labels: {}");
    assert_eq!(hands.apply(&less, &[]).await?, "deployment.apps/worker configured\n");
    let said =
        hands.run(&["get", "deployment/worker", "-o", "jsonpath={.metadata.labels}"]).await?;
    assert_eq!(said, "", "what is no longer applied is taken away");

    let watch = hands.watch("spl")?;
    assert_eq!(hands.apply(PIPELINE, &[]).await?, "scaledpipeline.penstock.dev/orders created\n");
    until_printed(&watch, &["NAME", "MODE", "STAGES", "BOTTLENECK", "DELAY", "OBJECTIVEMET"])
        .await?;
    until_printed(&watch, &["orders", "Observe"]).await?;
    let said = hands.edit("spl/orders", ("mode: Observe", "mode: Enforce")).await?;
    assert_eq!(said, "scaledpipeline.penstock.dev/orders edited\n");
    until_printed(&watch, &["orders", "Enforce"]).await?;
    let wrong = PIPELINE.replace("max: 20", "max: 20, min: 21");
    let refused = hands.apply(&wrong, &[]).await.expect_err("more at least than at most");
    assert!(format!("{refused:#}").contains("spec.stages[0].replicas"), "{refused:#}");
    let said = hands.run(&["scale", "spl/orders", "--replicas=1"]).await.expect_err("not scalable");
    assert!(format!("{said:#}").contains("could not find the requested resource"), "{said:#}");
    Ok(())
}
