//! Every recipe and every example, followed as it is written: what a page takes to be there is applied, its Secrets are made, its rights given,
//! its manifests applied and its questions asked. Kinds of others are taken as they come, and the servers that the manifests name are not
//! there: that the counts are reached is tried in `examples.rs` and `operated.rs`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Reader, documents, file};
use crate::pages::followed::{of_folders, passed};
use crate::pages::{blocks, script};

/// Groups that an API server has by itself, and ours.
const OWN_GROUPS: &[&str] =
    &["", "apps", "batch", "penstock.dev", "networking.k8s.io", "rbac.authorization.k8s.io"];
/// Where the manifests of pages lie that name no namespace.
const NAMESPACES: &[&str] = &["airflow", "dagster", "video", "kafka"];

#[tokio::test]
async fn every_recipe_and_example_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    for namespace in NAMESPACES {
        reader.cluster.kubectl(&["create", "namespace", namespace]).await?;
    }
    let install = "helm install penstock charts/penstock -n penstock --create-namespace";
    reader.give(install, &[]).await?;
    let mut kinds = BTreeSet::new();
    let (mut pages, mut given) = (0, 0);
    // Examples come first by name: what they make, recipes look at.
    for page in of_folders() {
        given += reader.cook(&page, &mut kinds).await.with_context(|| page.clone())?;
        pages += 1;
    }
    ensure!(pages > 25 && given > 70, "{given} commands of {pages} pages");
    Ok(())
}

impl Reader {
    /// Follows one page; how many commands it had.
    async fn cook(&mut self, page: &str, kinds: &mut BTreeSet<String>) -> Result<usize> {
        // Each page makes its own logins.
        for namespace in NAMESPACES.iter().chain(&["shop", "default"]) {
            self.cluster.kubectl(&["-n", namespace, "delete", "secrets", "--all"]).await?;
        }
        let folder = page.strip_suffix("/README.md").map(|folder| format!("cd {folder} && "));
        let folder = folder.unwrap_or_default();
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            std::fs::write(self.folder.join(name), "no certificate, and nobody connects")?;
        }
        let mut given = 0;
        for block in blocks().into_iter().filter(|block| block.page == page) {
            match block.language.as_str() {
                "yaml" if block.heading().is_none() => {
                    let objects = documents(&block.text)?;
                    if objects.iter().all(|object| object["kind"].is_string()) {
                        self.define(&objects, kinds).await?;
                        self.cluster.apply("shop", &block.text).await?;
                    }
                }
                "sh" => {
                    let commands = script(&block.text, "").into_iter().map(|(_, command)| command);
                    for command in commands.filter(|command| passed(page, command).is_none()) {
                        for manifest in named(&command, page) {
                            self.define(&documents(&file(&manifest)?)?, kinds).await?;
                        }
                        let at = if command.contains(" -f pipeline.yaml") { &*folder } else { "" };
                        let said = self.give(&format!("{at}{command}"), &[]).await;
                        let said = said.with_context(|| block.place())?;
                        let words = expected(&command)?;
                        ensure!(
                            words.iter().any(|word| said.contains(&**word)),
                            "{}: `{command}` says none of {words:?}: {said}",
                            block.place()
                        );
                        given += 1;
                    }
                }
                _ => {}
            }
        }
        Ok(given)
    }

    /// Makes the kinds of others known, each with whatever fields it has.
    async fn define(&self, objects: &[Value], known: &mut BTreeSet<String>) -> Result<()> {
        for object in objects {
            let kind = object["kind"].as_str().context("an object without a kind")?;
            let version = object["apiVersion"].as_str().context("an object of no version")?;
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            if OWN_GROUPS.contains(&group) || !known.insert(format!("{group}/{kind}")) {
                continue;
            }
            let plural = format!("{}s", kind.to_lowercase());
            let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {
                    "name": format!("{plural}.{group}"),
                    "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
                },
                "spec": {
                    "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                    "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
                },
            });
            self.cluster.apply("default", &definition.to_string()).await?;
            self.cluster.served(&[&format!("crd/{plural}.{group}")]).await?;
        }
        Ok(())
    }
}

/// The manifests that a command applies, from the root of the repository.
fn named(command: &str, page: &str) -> Vec<String> {
    let words = shlex::split(command).unwrap_or_default();
    let files = words.windows(2).filter(|pair| pair[0] == "-f").map(|pair| pair[1].clone());
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let whole = |name: String| if name.contains('/') { name } else { format!("{folder}/{name}") };
    files.map(whole).collect()
}

/// Words of which a command says one when it did what it is there for.
fn expected(command: &str) -> Result<Vec<String>> {
    let words = shlex::split(command).context("a quote is not closed")?;
    let last = words.last().cloned().unwrap_or_default();
    let has = |word: &str| words.iter().any(|it| it == word);
    let one = |word: &str| Ok(vec![word.to_owned()]);
    match words[0].as_str() {
        "helm" => one("STATUS: deployed"),
        "penstock" if has("explain") => {
            let namespace = words.iter().skip_while(|word| *word != "-n").nth(1);
            one(&format!("Pipeline {}/{last}", namespace.map_or("default", |it| it)))
        }
        "kubectl" if has("apply") => {
            Ok(["created", "configured", "unchanged"].map(String::from).into())
        }
        "kubectl" if has("create") => one("created"),
        "kubectl" if has("label") => one("labeled"),
        "kubectl" if has("spl") => one(&last),
        // What is asked for is there; there may be none of what Penstock would have made.
        "kubectl" if has("get") => one(""),
        _ => bail!("nobody knows what `{command}` says"),
    }
}
