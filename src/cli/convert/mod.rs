//! `penstock convert`: KEDA's objects as Penstock's manifests on standard output, and on standard error what of them changes meaning or has
//! no counterpart. It reads the files that it is given and nothing else, and what it writes passes `penstock validate`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

mod keda;
mod given;
mod address;
mod connections;
mod report;
mod triggers;
mod behaviour;
mod formula;
mod stage;
mod object;
mod job;

use super::out::{self, Documents};
use super::{Failure, manifests};
use crate::crd::manifest::{Checked, Checker, Neighbours, Outcome};
use connections::Connections;
use given::{World, namespace, text};
use keda::{Authentication, GROUP};
use report::{Grade, Report};
use stage::Ground;

/// The arguments of `penstock convert`.
#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Manifests of KEDA, YAML or JSON, each of one or many documents; - is standard input. Workloads, Secrets and ConfigMaps beside them
    /// are looked into
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print the manifests
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    output: Documents,
    /// What to report on standard error
    #[arg(long, value_name = "WHAT", default_value = "changes")]
    report: Told,
    /// Where ClusterTriggerAuthentications have their Secrets
    #[arg(long, value_name = "NAMESPACE", default_value = "keda")]
    keda_namespace: String,
}

/// What the report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Told {
    /// What changes its meaning or is not supported
    Changes,
    /// What stays the same, too
    All,
    /// All of it, for programs
    Json,
}

impl Convert {
    pub(super) fn run(self) -> Result<(), Failure> {
        let checker = Checker::new()
            .map_err(|error| anyhow!("the schemas of this program do not compile: {error}"))?;
        let mut documents = Vec::new();
        for file in &self.files {
            let found = manifests::documents(&manifests::text(file)?);
            documents.extend(found.map_err(|error| anyhow!("{} {error}", file.display()))?);
        }
        if !documents.iter().any(is_kedas) {
            return Err(Failure::Failed(anyhow!(
                "there is nothing to convert: no file has an object of KEDA"
            )));
        }
        let world = World::of(&documents, &self.keda_namespace);
        let mut report = Report::default();
        let all = converted(&documents, &world, &mut report);
        let all = used(accepted(&checker, all, &mut report));
        out::documents(self.output, &all)?;
        if self.report == Told::Json {
            out::aside(&serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            let table = report.table(self.report == Told::All);
            for line in table.lines().map(str::to_owned).chain(hints(&all, &report)) {
                out::aside(&line);
            }
        }
        if report.is_lacking() { Err(Failure::Told) } else { Ok(()) }
    }
}

/// Is it of a kind that KEDA, or what belongs to it, serves?
fn is_kedas(document: &Value) -> bool {
    let group = text(document, "/apiVersion").split('/').next().unwrap_or_default();
    group == GROUP || group.ends_with(&format!(".{GROUP}"))
}

/// What to call an object.
fn title(document: &Value) -> String {
    let (kind, name) = (text(document, "/kind"), text(document, "/metadata/name"));
    if kind.starts_with("Cluster") {
        return format!("{kind} {name}");
    }
    format!("{kind} {}/{name}", namespace(document))
}

/// All objects, one after the other; connections stand before the pipelines that name them.
fn converted(documents: &[Value], world: &World, report: &mut Report) -> Vec<Value> {
    let mut connections = Connections::default();
    let mut all = Vec::new();
    let used = authentications_used(documents);
    for document in documents.iter().filter(|document| is_kedas(document)) {
        let title = title(document);
        let mut ground = Ground { world, connections: &mut connections, report };
        let made: Vec<Value> = match text(document, "/kind") {
            "ScaledObject" => object::convert(&mut ground, title, document).into_iter().collect(),
            "ScaledJob" => {
                job::convert(&mut ground, title, document).into_iter().flatten().collect()
            }
            "TriggerAuthentication" | "ClusterTriggerAuthentication" => {
                authentication(report, title, document, &used);
                Vec::new()
            }
            _ => {
                let what = "is not converted: nobody here knows this kind";
                report.of(title).not_supported("kind", what);
                Vec::new()
            }
        };
        all.extend(connections.take());
        all.extend(made);
    }
    all
}

/// Which authentications triggers name: kind, namespace (none for those of the cluster), name.
fn authentications_used(documents: &[Value]) -> BTreeSet<(bool, String, String)> {
    let mut used = BTreeSet::new();
    for document in documents.iter().filter(|document| is_kedas(document)) {
        let triggers = document.pointer("/spec/triggers").and_then(Value::as_array);
        for reference in triggers.into_iter().flatten().filter_map(|it| it.get("authenticationRef"))
        {
            let is_cluster = text(reference, "/kind") == "ClusterTriggerAuthentication";
            let home = if is_cluster { String::new() } else { namespace(document).to_owned() };
            used.insert((is_cluster, home, text(reference, "/name").to_owned()));
        }
    }
    used
}

/// What an authentication gives is told where a trigger takes it.
fn authentication(
    report: &mut Report,
    title: String,
    document: &Value,
    used: &BTreeSet<(bool, String, String)>,
) {
    let mut notes = report.of(title);
    let spec = document.get("spec").cloned().unwrap_or_default();
    if let Err(error) = serde_json::from_value::<Authentication>(spec) {
        notes.not_supported("spec", format!("cannot be read: {error}"));
        return;
    }
    let is_cluster = text(document, "/kind") == "ClusterTriggerAuthentication";
    let home = if is_cluster { String::new() } else { namespace(document).to_owned() };
    let name = text(document, "/metadata/name").to_owned();
    if !used.contains(&(is_cluster, home, name)) {
        notes.changes("spec", "no trigger of these files names it: a Connection has an address, too, so none is written");
        return;
    }
    if is_cluster {
        notes.changes("metadata", "may be used in every namespace, and so may the ClusterConnection: narrow allowedNamespaces");
    }
    notes.same("spec", "is in the Connections of the triggers that name it, each with its address");
}

/// What the API server and the daemon would take. What they would not is taken out and told.
fn accepted(checker: &Checker, mut all: Vec<Value>, report: &mut Report) -> Vec<Value> {
    while let Some((index, why)) = refused(checker, &all) {
        let document = all.remove(index);
        report.of(title(&document)).not_supported("", format!("is not written: {why}"));
    }
    all
}

/// Without connections that no pipeline names, and without their logins: the pipeline may have come to nothing.
fn used(all: Vec<Value>) -> Vec<Value> {
    let pipelines = all.iter().filter(|it| text(it, "/kind") == "ScaledPipeline");
    let named: BTreeSet<String> = pipelines.flat_map(connections_named).collect();
    let is_named = |it: &&Value| named.contains(&title(it));
    let connections = all.iter().filter(is_named);
    let secrets: BTreeSet<String> = connections.flat_map(secrets_named).collect();
    let is_used = |it: &Value| match text(it, "/kind") {
        "Secret" => secrets.contains(&format!("{}/{}", namespace(it), text(it, "/metadata/name"))),
        "Connection" | "ClusterConnection" => named.contains(&title(it)),
        _ => true,
    };
    let used: Vec<bool> = all.iter().map(is_used).collect();
    all.into_iter().zip(used).filter(|(_, is_used)| *is_used).map(|(it, _)| it).collect()
}

/// The connections that a pipeline names, as they are called.
fn connections_named(pipeline: &Value) -> Vec<String> {
    let sources = pipeline.pointer("/spec/stages/0/sources").and_then(Value::as_array);
    let kinds =
        sources.into_iter().flatten().filter_map(Value::as_object).flat_map(|it| it.values());
    let references = kinds.filter_map(|kind| kind.get("connectionRef"));
    let title = |reference: &Value| match text(reference, "/kind") {
        "ClusterConnection" => format!("ClusterConnection {}", text(reference, "/name")),
        _ => format!("Connection {}/{}", namespace(pipeline), text(reference, "/name")),
    };
    references.map(title).collect()
}

/// The first that would not be taken, and why.
fn refused(checker: &Checker, all: &[Value]) -> Option<(usize, String)> {
    let neighbours = Neighbours::of(all);
    for (index, document) in all.iter().enumerate() {
        let Checked { result, faults, unworkable, warnings, .. } =
            checker.check(document, &neighbours);
        if matches!(result, Outcome::Good | Outcome::Skipped) {
            continue;
        }
        let why = [faults, unworkable, warnings].concat().join("; ");
        // A pipeline may be blamed for the connection that it names.
        let blamed = all.iter().position(|other| {
            text(other, "/kind").ends_with("Connection")
                && why.starts_with(&format!("{} ", title(other)))
        });
        return Some((blamed.unwrap_or(index), why));
    }
    None
}

/// What to do next, said once for all.
fn hints(all: &[Value], report: &Report) -> Vec<String> {
    let of_kind = |kind: &str| all.iter().filter(|it| text(it, "/kind") == kind).count();
    let pipelines = of_kind("ScaledPipeline");
    let mut hints = vec![format!(
        "{pipelines} of ScaledPipeline, {} of Connection and ClusterConnection; {} fields stay the same, {} change, {} are not supported",
        of_kind("Connection") + of_kind("ClusterConnection"),
        report.count(Grade::Same),
        report.count(Grade::Changes),
        report.count(Grade::NotSupported),
    )];
    if pipelines == 0 {
        return hints;
    }
    hints.push("hint: mode is Observe, so that nothing is written beside KEDA; how to hand over is in docs/keda.md".to_owned());
    if all.iter().any(|it| it.pointer("/spec/stages/0/behavior").is_some()) {
        hints.push("hint: behavior is the HPA's own, written out; without behavior.scaleUp a stage goes up in one move".to_owned());
    }
    hints.push("hint: thresholds stay as they are; with objective: {maxDelay: 60s} in their place Penstock learns what one replica gets through".to_owned());
    let secrets: BTreeSet<String> = all.iter().flat_map(secrets_named).collect();
    if !secrets.is_empty() {
        let secrets: Vec<String> = secrets.into_iter().collect();
        hints.push(format!(
            "hint: Penstock has to be let read these Secrets (the chart's value secrets): {}",
            secrets.join(", ")
        ));
    }
    hints
}

/// The Secrets that a connection names.
fn secrets_named(document: &Value) -> Vec<String> {
    if !text(document, "/kind").ends_with("Connection") {
        return Vec::new();
    }
    let home = match text(document, "/spec/secretNamespace") {
        "" => namespace(document),
        of_cluster => of_cluster,
    };
    let mut found = Vec::new();
    references(document.get("spec").unwrap_or(&Value::Null), &mut found);
    found.into_iter().map(|name| format!("{home}/{name}")).collect()
}

/// Every name in a field that ends with `SecretRef`.
fn references(at: &Value, found: &mut Vec<String>) {
    for (field, value) in at.as_object().into_iter().flatten() {
        if field.ends_with("SecretRef") {
            found.push(text(value, "/name").to_owned());
        } else {
            references(value, found);
        }
    }
}
