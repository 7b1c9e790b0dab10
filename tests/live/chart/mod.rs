//! The chart, and what is made of it: rendered and held to its files, installed by the real Helm, run with the rights it gives, asked who may
//! point it at what. Each subject has a file beside this one; here is what they share.

mod deploy;
mod followed;
mod hook;
mod kept;
mod lifecycle;
mod people;
mod rendered;
mod rights;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::rig::{Cluster, Program, fresh_folder, tool};

/// A path of the repository.
fn path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// A file of the repository.
fn file(below: &str) -> Result<String> {
    fs::read_to_string(path(below)).with_context(|| format!("read {below}"))
}

/// Helm, with a home of its own, in the repository.
fn helm() -> Result<Program> {
    let home = fresh_folder("helm")?.display().to_string();
    let program = Program::new(tool("helm/helm")?).in_folder(path(""));
    Ok(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
        .into_iter()
        .fold(program, |program, name| program.env(name, home.clone())))
}

/// Helm at work on a cluster as its administrator; its output.
async fn helm_on(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    helm()?.args(["--kubeconfig", &kubeconfig]).args(arguments.iter().copied()).run().await
}

/// The chart, rendered for release and namespace `penstock`: text.
async fn template(arguments: &[&str]) -> Result<String> {
    helm()?
        .args(["template", "penstock", "charts/penstock", "-n", "penstock"])
        .args(arguments.iter().copied())
        .run()
        .await
}

/// The documents of YAML that say something.
fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// The values files of `charts/penstock/ci`, by name and path, in order.
fn values_files() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path("charts/penstock/ci"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("an odd name")?;
        let name = name.strip_suffix("-values.yaml").context("what is this in ci?")?.to_owned();
        found.push((name, path.display().to_string()));
    }
    found.sort();
    anyhow::ensure!(found.len() > 5, "only {} values files were found", found.len());
    Ok(found)
}

/// A namespace in which Pod Security `restricted` is enforced.
async fn restricted(cluster: &Cluster, name: &str) -> Result<()> {
    let namespace = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
        }},
    });
    cluster.apply("default", &namespace.to_string()).await?;
    Ok(())
}
