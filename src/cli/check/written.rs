//! What the pipelines of a cluster lean on: the kinds they scale, the Secrets and Kafka clusters they name, whether pods are metered. Read
//! from the objects as they are written.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::reach::{self, Plurals};
use super::install::Account;
use crate::crd::pipeline::Stage;
use crate::crd::pool::{Pricing, ProviderKind};
use crate::crd::workload::{Drain, HeadroomMode, ScaleIn};
use crate::crd::{CapacityBudget, CapacityPool, ClusterConnection, Connection, ScaledPipeline};
use crate::decide::CRON_JOB;

/// A kind that is scaled, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) namespace: String,
    /// With its group: `apps/v1`.
    pub(super) version: String,
    pub(super) name: String,
    /// As paths have it.
    pub(super) plural: String,
}

impl Kind {
    pub(super) fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(super) fn is_jobs(&self) -> bool {
        (&*self.version, &*self.name) == CRON_JOB
    }
}

/// What all pipelines lean on.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Written {
    pub(super) pipelines: Vec<ScaledPipeline>,
    pub(super) targets: BTreeSet<Kind>,
    /// Kinds that are named and that the API server does not know, with who names them.
    pub(super) unknown: BTreeMap<(String, String), String>,
    /// Namespace and name of every Secret.
    pub(super) secrets: BTreeSet<(String, String)>,
    /// Namespace and name of every Kafka object of Strimzi.
    pub(super) clusters: BTreeSet<(String, String)>,
    /// Is anything sized by CPU or memory?
    pub(super) is_metered: bool,
    /// Namespaces in which a stage empties nodes.
    pub(super) packing: BTreeSet<String>,
    /// Namespaces in which a stage holds drains.
    pub(super) draining: BTreeSet<String>,
    /// Namespaces in which a stage keeps room on nodes, and the kinds, as paths have them, whose templates tell for what pods.
    pub(super) roomy: BTreeSet<String>,
    pub(super) templates: BTreeSet<(String, String)>,
    /// Is there a `CapacityPool`?
    pub(super) has_pools: bool,
    /// And one whose owner says that Karpenter makes its nodes?
    pub(super) has_karpenter: bool,
    /// And a `CapacityBudget`?
    pub(super) has_budgets: bool,
}

impl Written {
    /// Reads all pipelines that this daemon looks after, and the connections they name.
    pub(super) async fn read(client: &Client, account: &Account) -> anyhow::Result<Self> {
        let (namespaces, labels) = (&account.watches, account.selector.as_deref());
        let mut written = Self::default();
        let mut plurals = Plurals::default();
        let (pipelines, connections) = (
            list::<ScaledPipeline>(client, namespaces, labels).await?,
            list::<Connection>(client, namespaces, None).await?,
        );
        // Who may watch some namespaces only cannot read those of the cluster, and nothing leans on them there.
        let shared = Api::<ClusterConnection>::all(client.clone());
        let shared = shared.list(&ListParams::default()).await.map(|list| list.items);
        let shared = shared.unwrap_or_default();
        let pools = Api::<CapacityPool>::all(client.clone());
        let pools = pools.list(&ListParams::default()).await.map(|list| list.items);
        let pools = pools.unwrap_or_default();
        written.has_pools = !pools.is_empty();
        let makers = pools.iter().filter_map(|pool| pool.spec.provider.as_ref());
        written.has_karpenter =
            makers.into_iter().any(|maker| maker.kind == ProviderKind::Karpenter);
        let budgets = Api::<CapacityBudget>::all(client.clone());
        let budgets = budgets.list(&ListParams::default().limit(1)).await;
        written.has_budgets = budgets.is_ok_and(|list| !list.items.is_empty());
        for pool in &pools {
            let Some(Pricing::OpenCost(name)) = pool.spec.pricing() else { continue };
            let found = shared.iter().find(|it| it.name_any() == name);
            let lender = found.and_then(|it| it.spec.secret_namespace.clone());
            if let (Some(found), Some(lender)) = (found, lender) {
                written.lean_on(&lender, &found.spec)?;
            }
        }
        for pipeline in &pipelines {
            let namespace = pipeline.namespace().unwrap_or_default();
            for stage in &pipeline.spec.stages {
                written.is_metered |= is_metered(stage);
                let capacity = stage.capacity.as_ref();
                if capacity.is_some_and(|it| it.scale_in == Some(ScaleIn::Pack)) {
                    written.packing.insert(namespace.clone());
                }
                if capacity.is_some_and(|it| it.drain == Some(Drain::Hold)) {
                    written.draining.insert(namespace.clone());
                }
                let headroom = capacity.and_then(|it| it.headroom.as_ref()?.mode);
                let keeps_room = headroom == Some(HeadroomMode::Auto);
                if keeps_room {
                    written.roomy.insert(namespace.clone());
                }
                for (version, kind) in kinds(stage) {
                    let (version, kind) = (version.to_owned(), kind.to_owned());
                    if let Some(plural) = plurals.of(client, &version, &kind).await? {
                        let namespace = namespace.clone();
                        if keeps_room {
                            written.templates.insert((namespace.clone(), plural.clone()));
                        }
                        written.targets.insert(Kind { namespace, version, name: kind, plural });
                    } else {
                        let who = format!("{namespace}/{}", pipeline.name_any());
                        written.unknown.insert((version, kind), who);
                    }
                }
            }
            let spec = serde_json::to_value(&pipeline.spec).context("cannot read a pipeline")?;
            for (is_shared, name) in connection_refs(&spec) {
                if is_shared {
                    let found = shared.iter().find(|it| it.name_any() == name);
                    let lender = found.and_then(|it| it.spec.secret_namespace.clone());
                    if let (Some(found), Some(lender)) = (found, lender) {
                        written.lean_on(&lender, &found.spec)?;
                    }
                } else if let Some(found) = connections
                    .iter()
                    .find(|it| it.name_any() == name && it.namespace().as_ref() == Some(&namespace))
                {
                    written.lean_on(&namespace, &found.spec)?;
                }
            }
        }
        written.pipelines = pipelines;
        Ok(written)
    }

    /// Takes up what a connection names.
    fn lean_on(&mut self, namespace: &str, spec: &impl serde::Serialize) -> anyhow::Result<()> {
        let spec = serde_json::to_value(spec).context("cannot read a connection")?;
        let place = |name: &str| (namespace.to_owned(), name.to_owned());
        each(&spec, &mut |key, value| {
            if key.ends_with("SecretRef")
                && let Some(name) = value["name"].as_str()
            {
                self.secrets.insert(place(name));
            }
            if key == "strimzi"
                && let Some(cluster) = value["cluster"].as_str()
            {
                self.clusters.insert(place(cluster));
                self.secrets.insert(place(&format!("{cluster}-cluster-ca-cert")));
                self.secrets.extend(value["user"].as_str().map(place));
            }
        });
        Ok(())
    }
}

async fn list<K>(
    client: &Client,
    namespaces: &[String],
    labels: Option<&str>,
) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let everywhere = vec![Api::<K>::all(client.clone())];
    let some = namespaces.iter().map(|it| Api::namespaced(client.clone(), it)).collect();
    let mut all = Vec::new();
    for api in if namespaces.is_empty() { everywhere } else { some } {
        let wanted = ListParams { label_selector: labels.map(str::to_owned), ..Default::default() };
        let found = api.list(&wanted).await.map_err(|error| reach::plain(&error));
        all.extend(found.with_context(|| format!("cannot list {}", K::plural(&())))?.items);
    }
    Ok(all)
}

/// Version and kind of what a stage scales.
fn kinds(stage: &Stage) -> impl Iterator<Item = (&str, &str)> {
    let jobs = stage.jobs.iter().map(|_| CRON_JOB);
    let lanes = stage.lanes.iter().map(|lane| &lane.target);
    let targets =
        stage.target.iter().chain(lanes).map(|target| (target.api_version(), target.kind()));
    jobs.chain(targets)
}

fn is_metered(stage: &Stage) -> bool {
    let gates = stage.gates.iter().map(|gate| &gate.source);
    let mut kinds = stage.sources.iter().map(|source| &source.kind).chain(gates);
    kinds.any(|kind| kind.cpu.is_some() || kind.memory.is_some())
}

/// The connections that a pipeline names: whether a ClusterConnection, and the name.
fn connection_refs(spec: &Value) -> Vec<(bool, String)> {
    let mut all = Vec::new();
    each(spec, &mut |key, value| {
        if key == "connectionRef"
            && let Some(name) = value["name"].as_str()
        {
            all.push((value["kind"] == "ClusterConnection", name.to_owned()));
        }
    });
    all
}

/// Visits every field of an object, however deep.
fn each(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                visit(key, value);
                each(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
