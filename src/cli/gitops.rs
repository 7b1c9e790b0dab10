//! `penstock gitops`: what to write into an Argo CD Application or a Flux Kustomization so that Git leaves the replicas of a pipeline's
//! workloads alone. Reads the ScaledPipeline and, for custom kinds, where their definition keeps the count; writes nothing.
//! `docs/gitops.md` has the reasons.

use anyhow::{Context, anyhow, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use super::Failure;
use super::cluster::Cluster;
use super::out::{self, Format, Output};
use super::progress::Progress;
use super::reach::{self, Plurals};
use crate::crd::ScaledPipeline;
use crate::crd::pipeline::Stage;
use crate::crd::workload::Target;
use crate::watch::Lever;

/// Where kinds keep their count that say nothing else.
const USUAL: &str = "/spec/replicas";

/// The arguments of `penstock gitops`.
#[derive(Debug, clap::Args)]
pub(super) struct Gitops {
    /// Name of the ScaledPipeline
    name: String,
    /// Its namespace. Default: the one kubectl would use
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Print for this tool only
    #[arg(long, value_name = "TOOL")]
    tool: Option<Tool>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tool {
    /// An Application of Argo CD
    Argocd,
    /// A Kustomization of Flux
    Flux,
}

/// A workload whose count Git shall leave alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Workload {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    /// JSON pointer to its count.
    count: String,
    /// Can Penstock own its count, so that Git may drop it? See `docs/gitops.md`.
    is_ownable: bool,
}

/// All that is said, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// The only tool that was asked about.
    #[serde(skip)]
    tool: Option<Tool>,
    workloads: Vec<Workload>,
    /// Into an Application.
    #[serde(skip_serializing_if = "Option::is_none")]
    argocd: Option<Value>,
    /// Into a Kustomization; nothing where it only has to leave the counts out.
    #[serde(skip_serializing_if = "Option::is_none")]
    flux: Option<Value>,
}

impl Told {
    /// For people: the snippets, each under a line that says where it belongs.
    fn snippets(&self) -> anyhow::Result<String> {
        let mut snippets = Vec::new();
        if let Some(body) = &self.argocd {
            snippets.push(snippet(
                "Argo CD: into the Application. Without RespectIgnoreDifferences a sync still writes Git's count.",
                body,
            )?);
        }
        if let Some(body) = &self.flux {
            let head = "Flux: into the Kustomization (kustomize-controller 1.9 and later).";
            snippets.push(snippet(head, body)?);
        }
        let owned = named(&self.workloads, true).filter(|_| self.tool != Some(Tool::Argocd));
        let owned = owned.map_or_else(String::new, |names| {
            format!("# Flux: leave the count of {names} out of Git; a rule that ignores it keeps Flux its owner.\n")
        });
        Ok(format!("{}{owned}{}", advice(&self.workloads), snippets.join("---\n")))
    }
}

impl Gitops {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let workloads = runtime.block_on(self.workloads())?;
        let argocd = (self.tool != Some(Tool::Flux)).then(|| argocd(&workloads));
        let flux = flux(&workloads).filter(|_| self.tool != Some(Tool::Argocd));
        let told = Told { tool: self.tool, workloads, argocd, flux };
        match self.output.format {
            Format::Table => out::text(&told.snippets()?)?,
            Format::Json => out::json(&told)?,
            Format::Yaml => out::yaml(&told)?,
        }
        Ok(())
    }

    async fn workloads(&self) -> anyhow::Result<Vec<Workload>> {
        let _progress = Progress::waiting("asking the API server");
        let (client, usual) = self.cluster.client().await?;
        let namespace = self.namespace.clone().unwrap_or(usual);
        let name = &self.name;
        let pipeline = Api::<ScaledPipeline>::namespaced(client.clone(), &namespace)
            .get_opt(name)
            .await
            .map_err(|error| reach::plain(&error))
            .context("cannot read the ScaledPipeline")?
            .ok_or_else(|| {
                anyhow!("no ScaledPipeline {namespace}/{name}; hint: kubectl get spl -A lists all")
            })?;
        let mut workloads = Vec::new();
        for target in pipeline.spec.stages.iter().flat_map(targets) {
            workloads.push(workload(&client, &namespace, target).await?);
        }
        if workloads.is_empty() {
            bail!("{namespace}/{name} scales Jobs only, which Git states no count of");
        }
        Ok(workloads)
    }
}

/// The workloads of a stage; none when it runs Jobs.
fn targets(stage: &Stage) -> impl Iterator<Item = &Target> {
    stage.target.iter().chain(stage.lanes.iter().map(|lane| &lane.target))
}

async fn workload(client: &Client, namespace: &str, target: &Target) -> anyhow::Result<Workload> {
    let version = target.api_version();
    let kind = target.kind().to_owned();
    let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
    let (namespace, name) = (namespace.to_owned(), target.name.clone());
    let (count, is_ownable) = match Lever::of(version, &kind) {
        Some(lever) => (lever_of(client, lever, version, &namespace, target).await?, false),
        None if matches!(&*group, "apps" | "") => (USUAL.to_owned(), true),
        None => (count_of(client, version, &kind).await?, false),
    };
    Ok(Workload { group, kind, namespace, name, count, is_ownable })
}

/// Where an object keeps the count of a kind that has a lever of its own.
async fn lever_of(
    client: &Client,
    lever: Lever,
    version: &str,
    namespace: &str,
    target: &Target,
) -> anyhow::Result<String> {
    let kind = target.kind.as_deref().unwrap_or_default();
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let plural = plural(client, version, kind).await?;
    let resource = ApiResource {
        group: group.to_owned(),
        version: number.to_owned(),
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        plural,
    };
    let objects: Api<DynamicObject> = if lever == Lever::Namespace {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    let name = &target.name;
    let found = objects.get(name).await.map_err(|error| reach::plain(&error));
    let found = found.with_context(|| format!("cannot read {kind} {namespace}/{name}"))?;
    let object = serde_json::to_value(found).context("cannot understand it")?;
    let count = lever.read(&object, target.part.as_deref());
    let count = count.map_err(|what| anyhow!("{kind} {namespace}/{name}: {what}"))?;
    Ok(count.field.pointer.to_string())
}

/// Where a custom kind keeps its count, as its definition says.
async fn count_of(client: &Client, version: &str, kind: &str) -> anyhow::Result<String> {
    let plural = plural(client, version, kind).await?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let definition = format!("{plural}.{group}");
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let found = definitions.get_opt(&definition).await.map_err(|error| reach::plain(&error));
    let found = found.with_context(|| format!("cannot read the definition {definition}"))?;
    // An aggregated API has none, and none says otherwise than what is usual.
    let versions = found.map(|found| found.spec.versions).unwrap_or_default();
    let scale = versions.into_iter().find(|known| known.name == version);
    let scale = scale.and_then(|known| known.subresources?.scale);
    Ok(scale.map_or_else(|| USUAL.to_owned(), |scale| scale.spec_replicas_path.replace('.', "/")))
}

/// The word of a kind in paths.
async fn plural(client: &Client, version: &str, kind: &str) -> anyhow::Result<String> {
    let found = Plurals::default().of(client, version, kind).await?;
    found.with_context(|| format!("the API server knows no {version} {kind}"))
}

/// What no snippet can say.
fn advice(workloads: &[Workload]) -> String {
    named(workloads, false).map_or_else(String::new, |names| {
        format!(
            "# Keep the count of {names} in Git: what a manifest drops falls back to its default.\n"
        )
    })
}

/// Those whose count Penstock can own, or those whose count it cannot.
fn named(workloads: &[Workload], is_ownable: bool) -> Option<String> {
    let named = workloads.iter().filter(|workload| workload.is_ownable == is_ownable);
    let named: Vec<_> = named.map(|it| format!("{} {}", it.kind, it.name)).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn argocd(workloads: &[Workload]) -> Value {
    let ignored: Vec<Value> = workloads
        .iter()
        .map(|Workload { group, kind, namespace, name, count, .. }| {
            json!({
                "group": group, "kind": kind, "namespace": namespace, "name": name,
                "jsonPointers": [count],
            })
        })
        .collect();
    json!({"spec": {
        "ignoreDifferences": ignored,
        "syncPolicy": {"syncOptions": ["RespectIgnoreDifferences=true"]},
    }})
}

/// Only of custom kinds: what Flux ignores it goes on owning, and Penstock takes no count from an owner like that.
fn flux(workloads: &[Workload]) -> Option<Value> {
    let ignored: Vec<Value> = workloads
        .iter()
        .filter(|workload| !workload.is_ownable)
        .map(|Workload { group, kind, namespace, name, count, .. }| {
            let target =
                json!({"group": group, "kind": kind, "namespace": namespace, "name": name});
            json!({"paths": [count], "target": target})
        })
        .collect();
    (!ignored.is_empty()).then(|| json!({"spec": {"ignore": ignored}}))
}

fn snippet(head: &str, body: &Value) -> anyhow::Result<String> {
    let mut body = serde_saphyr::to_string(body).context("cannot print YAML")?;
    if !body.ends_with('\n') {
        body.push('\n');
    }
    Ok(format!("# {head}\n{body}"))
}
