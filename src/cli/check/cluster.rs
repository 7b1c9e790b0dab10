//! What the cluster itself is: its version, the definitions in it, and who serves the metrics APIs.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{Api, Client, ResourceExt};

use super::super::reach;
use super::finding::{Area, Finding, Grade};
use crate::crd::{self, VERSION};

/// The oldest and the newest minor version of Kubernetes 1 that Penstock is tested on.
const TESTED: (u32, u32) = (33, 36);

/// The version of the API server.
///
/// # Errors
/// Nobody answers.
pub(super) async fn version(client: &Client) -> anyhow::Result<Finding> {
    let info = client.apiserver_version().await.map_err(|error| reach::plain(&error));
    let info = info.context("the API server does not answer")?;
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or(0)
    };
    let (major, minor) = (number(&info.major), number(&info.minor));
    let (oldest, newest) = TESTED;
    let said = format!("{}; tested are 1.{oldest} to 1.{newest}", info.git_version);
    let found = Finding::new(Area::Cluster, "Kubernetes");
    Ok(match (major, minor) {
        (1, minor) if minor < oldest => {
            found.bad(said).hint("upgrade the cluster; CEL rules of the definitions may be refused")
        }
        (1, minor) if minor <= newest => found.good(said),
        _ => found.note(said),
    })
}

/// Each of our definitions: is it there, and does it say what this binary says? And are there enough of them: the daemon goes on without
/// the kinds that lie in no namespace.
///
/// # Errors
/// They may not be read.
pub(super) async fn definitions(client: &Client) -> anyhow::Result<(Vec<Finding>, bool)> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let mut found = Vec::new();
    let mut are_enough = true;
    for ours in crd::all() {
        let name = ours.name_any();
        let there = reach::if_allowed(definitions.get_opt(&name).await);
        let finding = match there.context("cannot read the definitions")? {
            Some(there) => compare(&ours, there.as_ref()),
            None => unread(Finding::new(Area::Cluster, &format!("definition {name}"))),
        };
        are_enough &= finding.grade != Grade::Bad || ours.spec.scope == "Cluster";
        found.push(finding);
    }
    Ok((found, are_enough))
}

/// Who installs into some namespaces may not look at what lies in none.
fn unread(about: Finding) -> Finding {
    about.note("you may not read it, so it is not looked at")
}

fn compare(ours: &CustomResourceDefinition, theirs: Option<&CustomResourceDefinition>) -> Finding {
    let apply = "apply those of this version: penstock crds | kubectl apply --server-side -f -";
    let apply = theirs.and_then(release).unwrap_or_else(|| apply.to_owned());
    let found = Finding::new(Area::Cluster, &format!("definition {}", ours.name_any()));
    let Some(theirs) = theirs else {
        return found.bad("it is not there").hint(apply);
    };
    let schema = |of: &CustomResourceDefinition| {
        let version = of.spec.versions.iter().find(|version| version.name == VERSION)?;
        version.served.then(|| version.schema.clone())
    };
    match (schema(ours), schema(theirs)) {
        (_, None) => found.bad(format!("it serves no {VERSION}")).hint(apply),
        (ours, theirs) if ours == theirs => found.good("as this binary has it"),
        _ => found
            .note("another version's: fields that one of the two does not know are dropped or refused")
            .hint(apply),
    }
}

/// How to bring a definition that is Helm's to this version: applied by hand it would be Helm's no more.
fn release(theirs: &CustomResourceDefinition) -> Option<String> {
    let said = |key: &str| theirs.annotations().get(&format!("meta.helm.sh/release-{key}"));
    let (name, namespace) = (said("name")?, said("namespace")?);
    Some(format!(
        "it is Helm's: helm upgrade {name} charts/penstock -n {namespace} --reset-then-reuse-values, with the chart of this version"
    ))
}

/// Who serves the APIs by which autoscalers read metrics. Penstock takes none of them unless asked to.
///
/// # Errors
/// They may not be read.
pub(super) async fn metrics(client: &Client, is_metered: bool) -> anyhow::Result<Vec<Finding>> {
    let mut found = Vec::new();
    let external = service(client, "v1beta1.external.metrics.k8s.io").await?;
    let about = Finding::new(Area::Cluster, "external.metrics.k8s.io");
    found.push(match external {
        Served::Unread => unread(about),
        Served::ByNobody => about.good("served by nobody"),
        Served::By(who, true) => about.good(format!("served by {who}; Penstock leaves it alone")),
        Served::By(who, false) => about
            .note(format!("{who} should serve it and is not available; Penstock does not need it")),
    });
    if is_metered {
        let about = Finding::new(Area::Cluster, "metrics.k8s.io");
        let needed = "and pipelines are sized by cpu or memory";
        found.push(match service(client, "v1beta1.metrics.k8s.io").await? {
            Served::Unread => unread(about),
            Served::ByNobody => {
                about.bad(format!("served by nobody, {needed}")).hint("install metrics-server")
            }
            Served::By(who, true) => about.good(format!("served by {who}")),
            Served::By(who, false) => about.bad(format!("{who} is not available, {needed}")),
        });
    }
    Ok(found)
}

/// Who answers to an aggregated API.
enum Served {
    /// The caller may not know.
    Unread,
    ByNobody,
    /// A service, and whether it is available.
    By(String, bool),
}

async fn service(client: &Client, name: &str) -> anyhow::Result<Served> {
    let services = Api::<APIService>::all(client.clone());
    let found = reach::if_allowed(services.get_opt(name).await);
    let found = match found.with_context(|| format!("cannot read APIService {name}"))? {
        None => return Ok(Served::Unread),
        Some(None) => return Ok(Served::ByNobody),
        Some(Some(found)) => found,
    };
    let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
    let is_up = conditions.iter().any(|it| it.type_ == "Available" && it.status == "True");
    let service = found.spec.and_then(|spec| spec.service).map_or_else(
        || "the API server itself".to_owned(),
        |it| format!("{}/{}", it.namespace.unwrap_or_default(), it.name.unwrap_or_default()),
    );
    Ok(Served::By(service, is_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_of_another_version_is_mended_by_whoever_brought_it() {
        let ours = crd::all().swap_remove(0);
        assert_eq!(compare(&ours, Some(&ours)).hint, None);
        let mut theirs = ours.clone();
        theirs.spec.versions[0].schema = None;
        let hint = |theirs: &CustomResourceDefinition| compare(&ours, Some(theirs)).hint.unwrap();
        assert!(hint(&theirs).contains("penstock crds | kubectl apply"));
        let notes =
            [("meta.helm.sh/release-name", "flow"), ("meta.helm.sh/release-namespace", "ops")];
        let notes = notes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        theirs.metadata.annotations = Some(notes.into());
        let said = hint(&theirs);
        assert!(said.contains("helm upgrade flow charts/penstock -n ops"), "{said}");
    }
}
