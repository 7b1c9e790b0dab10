//! What lies in Git: workloads and the pipelines that Penstock scales them by, and the desk whose number sizes them. Told what changes in Git,
//! it writes the files; asked about the workloads, it tells what a fight over the count would show.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::rig::{Cluster, Documents, fresh_folder};
use crate::scene::{SOON, Scene};

/// A file of the repository, as YAML documents.
pub(crate) fn documents(below: &str) -> Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let text = fs::read_to_string(&path).with_context(|| format!("read {below}"))?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

/// A workload as Git states it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) image: &'static str,
    /// `None`: Git does not state it.
    pub(crate) replicas: Option<u32>,
    /// Where Git has its pipeline hold it.
    pub(crate) held: Option<u32>,
}

/// What is seen of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) count: Option<i32>,
    pub(crate) image: String,
    /// Counts every change of the spec, by anyone, also one that was undone at once.
    pub(crate) generation: i64,
    /// Who owns the count: manager, operation, subresource.
    pub(crate) owners: Vec<String>,
}

/// The shop: a namespace, what Git states of it, and the desk.
pub(crate) struct Shop {
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    desk: Documents,
    client: Client,
}

impl Shop {
    /// A namespace of its own, and a folder with the manifests in it.
    pub(crate) async fn open(
        cluster: &Cluster,
        name: &str,
        workloads: &[Workload],
    ) -> Result<Self> {
        crate::crd::install(cluster).await?;
        let desk = Documents::start().await?;
        let namespace = cluster.namespace(name).await?;
        let folder = fresh_folder("git")?;
        let client = cluster.client().await?;
        let shop = Self { namespace, folder, desk, client };
        shop.desk_says(50);
        shop.state(workloads)?;
        Ok(shop)
    }

    /// So much waits; ten for each replica.
    pub(crate) fn desk_says(&self, waiting: u32) {
        self.desk.put("/queue", json!({"waiting": waiting}));
    }

    /// Writes what Git states from now on: the workloads, each with a pipeline of the same name, and the connection to the desk.
    pub(crate) fn state(&self, workloads: &[Workload]) -> Result<()> {
        let connection = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "desk"},
            "spec": {"http": {"url": self.desk.url()}},
        });
        let mut files = BTreeMap::from([("desk".to_owned(), connection)]);
        for workload in workloads {
            files.insert(workload.name.to_owned(), manifest(*workload));
            files.insert(format!("{}-pipeline", workload.name), pipeline(*workload));
        }
        // JSON is YAML, and of YAML both take every file.
        for (name, object) in files {
            fs::write(self.folder.join(format!("{name}.yaml")), format!("{object:#}"))?;
        }
        Ok(())
    }

    /// What a workload is now.
    pub(crate) async fn see(&self, workload: &Workload) -> Result<Seen> {
        let (client, name) = (self.client.clone(), workload.name);
        let object = if workload.kind == "StatefulSet" {
            let api = Api::<StatefulSet>::namespaced(client, &self.namespace);
            serde_json::to_value(api.get(name).await?)?
        } else {
            let api = Api::<Deployment>::namespaced(client, &self.namespace);
            serde_json::to_value(api.get(name).await?)?
        };
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let owning =
            entries.iter().filter(|entry| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null());
        let owners = owning
            .map(|entry| {
                ["manager", "operation", "subresource"].map(|field| word(&entry[field])).join(" ")
            })
            .map(|owner| owner.trim_end().to_owned())
            .collect();
        Ok(Seen {
            count: object["spec"]["replicas"].as_i64().map(i32::try_from).transpose()?,
            image: word(&object["spec"]["template"]["spec"]["containers"][0]["image"]),
            generation: object["metadata"]["generation"].as_i64().context("no generation")?,
            owners,
        })
    }

    /// Waits until each of these is at this count.
    pub(crate) async fn until_all_at(
        &self,
        scene: &Scene,
        workloads: &[Workload],
        wanted: i32,
    ) -> Result<()> {
        for workload in workloads {
            scene
                .until(&format!("{} to be at {wanted}", workload.name), SOON, async || {
                    let seen = self.see(workload).await?;
                    ensure!(seen.count == Some(wanted), "{seen:?}");
                    Ok(Some(()))
                })
                .await?;
        }
        Ok(())
    }
}

fn manifest(workload: Workload) -> Value {
    let Workload { kind, name, image, replicas, .. } = workload;
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "worker", "image": image}]},
            },
        },
    });
    if kind == "StatefulSet" {
        object["spec"]["podManagementPolicy"] = json!("Parallel");
        object["spec"]["serviceName"] = json!(name);
    }
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

fn pipeline(Workload { kind, name, held, .. }: Workload) -> Value {
    let queue = json!({"connectionRef": {"name": "desk"}, "path": "/queue", "jsonPath": "$.waiting", "perReplica": 10});
    let mut object = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "metadata": {"name": name},
        "spec": {"stages": [{
            "name": "work", "target": {"kind": kind, "name": name}, "replicas": {"max": 20},
            "sources": [{"name": "desk", "pollInterval": "1s", "http": queue}],
        }]},
    });
    if let Some(held) = held {
        let held = json!({"penstock.dev/paused-replicas": format!("work={held}")});
        object["metadata"]["annotations"] = held;
    }
    object
}
