//! What the daemon may do, and what it must be able to: asked of the API server one right at a time, and what is missing printed as the
//! roles that grant it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::super::reach;
use super::install::Account;
use super::written::Written;
use crate::crd::GROUP;
use crate::watch::Lever;

/// How many reviews are asked for at once.
const AT_ONCE: usize = 8;

/// One thing that someone may do or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    /// Where; everywhere if `None`.
    pub(super) namespace: Option<String>,
    pub(super) group: String,
    /// With its subresource, as a role has it: `deployments/scale`.
    pub(super) resource: String,
    /// Of this object alone.
    pub(super) name: Option<String>,
    pub(super) verb: &'static str,
}

impl Right {
    /// For people: `patch deployments.apps/scale in shop`.
    pub(super) fn text(&self) -> String {
        let (resource, sub) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let dot = if self.group.is_empty() { "" } else { "." };
        let slash = if sub.is_empty() { "" } else { "/" };
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let place = self.namespace.as_deref().map_or_else(
            || "in all namespaces".to_owned(),
            |namespace| format!("in namespace {namespace}"),
        );
        format!("{} {resource}{dot}{}{slash}{sub}{name} {place}", self.verb, self.group)
    }
}

/// What it does with what lies in no namespace.
fn of_no_namespace(
    written: &Written,
    account: &Account,
) -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    const SEE: &[&str] = &["list", "watch"];
    const TELL: &[&str] = &["patch"];
    if account.is_confined {
        return Vec::new();
    }
    let mut all = vec![(GROUP, "clusterconnections", SEE), ("", "namespaces", SEE)];
    if written.has_budgets {
        all.extend([(GROUP, "capacitybudgets", SEE), (GROUP, "capacitybudgets/status", TELL)]);
    }
    if written.has_pools {
        all.extend([(GROUP, "capacitypools", SEE), (GROUP, "capacitypools/status", TELL)]);
        all.extend([("", "nodes", SEE), ("events.k8s.io", "events", SEE)]);
        if written.has_karpenter {
            all.push(("karpenter.sh", "nodepools", SEE));
        }
    }
    all
}

/// Everything that the daemon does, with what is written now.
pub(super) fn needed(written: &Written, account: &Account) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    let mut add =
        |places: &[Option<String>], group: &str, resource: &str, verbs: &[&'static str]| {
            for (place, verb) in
                places.iter().flat_map(|place| verbs.iter().map(move |verb| (place, verb)))
            {
                let (namespace, group, resource) =
                    (place.clone(), group.to_owned(), resource.to_owned());
                all.insert(Right { namespace, group, resource, name: None, verb });
            }
        };
    let everywhere = [None];
    let places: Vec<_> = if account.watches.is_empty() {
        everywhere.to_vec()
    } else {
        account.watches.iter().cloned().map(Some).collect()
    };
    let see = ["list", "watch"];
    add(&places, GROUP, "scaledpipelines", &see);
    add(&places, GROUP, "scaledpipelines/status", &["patch"]);
    add(&places, GROUP, "connections", &see);
    add(&places, "", "pods", &see);
    add(&places, "autoscaling", "horizontalpodautoscalers", &see);
    add(&places, "events.k8s.io", "events", &["create", "list", "patch"]);
    if account.heeds_quotas {
        add(&places, "", "resourcequotas", &see);
    }
    for (group, resource, verbs) in of_no_namespace(written, account) {
        add(&everywhere, group, resource, verbs);
    }
    let asks = if account.is_open { &everywhere[..] } else { &[] };
    add(asks, "authentication.k8s.io", "tokenreviews", &["create"]);
    add(asks, "authorization.k8s.io", "subjectaccessreviews", &["create"]);
    let lease = [Some(account.lease_namespace.clone())];
    add(&lease, "coordination.k8s.io", "leases", &["create"]);
    if written.is_metered {
        add(&places, "metrics.k8s.io", "pods", &["list"]);
    }
    for namespace in &written.packing {
        let place = if account.watches.is_empty() { None } else { Some(namespace.clone()) };
        add(&[place], "", "pods", &["patch"]);
    }
    let sees_budgets = if written.draining.is_empty() { &[][..] } else { &places };
    add(sees_budgets, "policy", "poddisruptionbudgets", &see);
    for namespace in &written.draining {
        let place = [if account.watches.is_empty() { None } else { Some(namespace.clone()) }];
        let budgets = ["create", "patch", "delete"];
        add(&place, "policy", "poddisruptionbudgets", &budgets);
        add(&place, "", "pods", &["delete"]);
    }
    for namespace in &written.roomy {
        let place = if account.watches.is_empty() { None } else { Some(namespace.clone()) };
        let kept = ["list", "watch", "create", "patch", "delete"];
        add(std::slice::from_ref(&place), "apps", "deployments", &kept);
        add(&[place], "autoscaling.x-k8s.io", "capacitybuffers", &kept);
    }
    // Their templates are read.
    for (namespace, plural) in &written.templates {
        let place = if account.watches.is_empty() { None } else { Some(namespace.clone()) };
        add(&[place], "apps", plural, &["get"]);
    }
    for target in &written.targets {
        let place = if account.watches.is_empty() { None } else { Some(target.namespace.clone()) };
        let (place, group) = ([place], target.group());
        if target.is_jobs() {
            add(&place, group, &target.plural, &["get", "list", "watch"]);
            add(&place, group, "jobs", &["list", "watch", "create", "delete"]);
            continue;
        }
        match Lever::of(&target.version, &target.name) {
            Some(Lever::Namespace) => {
                add(&everywhere, group, &target.plural, &["get", "list", "watch", "patch"]);
            }
            Some(_) => add(&place, group, &target.plural, &["get", "list", "watch", "patch"]),
            None => {
                add(&place, group, &target.plural, &see);
                add(&place, group, &format!("{}/scale", target.plural), &["get", "patch"]);
            }
        }
    }
    let mut add_named =
        |(namespace, name): (&String, &String), group: &str, resource: &str, verb| {
            let (namespace, name) = (Some(namespace.clone()), Some(name.clone()));
            let (group, resource) = (group.to_owned(), resource.to_owned());
            all.insert(Right { namespace, group, resource, name, verb });
        };
    // By name, as the chart grants it; a thing to be made has none yet.
    for verb in ["get", "update"] {
        let lease = (&account.lease_namespace, &account.lease_name);
        add_named(lease, "coordination.k8s.io", "leases", verb);
    }
    for (namespace, name) in &written.secrets {
        add_named((namespace, name), "", "secrets", "get");
    }
    for (namespace, name) in &written.clusters {
        add_named((namespace, name), "kafka.strimzi.io", "kafkas", "get");
    }
    all
}

/// Those that the account lacks.
///
/// # Errors
/// The API server cannot be asked: the caller may not review the rights of others.
pub(super) async fn missing(
    client: &Client,
    account: &Account,
    needed: BTreeSet<Right>,
) -> anyhow::Result<BTreeSet<Right>> {
    stream::iter(needed)
        .map(|right| async move {
            let allowed = is_allowed(client, account, &right).await?;
            anyhow::Ok((!allowed).then_some(right))
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|missing| async { Ok(missing) })
        .try_collect()
        .await
}

async fn is_allowed(client: &Client, account: &Account, right: &Right) -> anyhow::Result<bool> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (&*right.resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: right.namespace.clone(),
        group: Some(right.group.clone()),
        resource: Some(resource.to_owned()),
        subresource,
        name: right.name.clone(),
        verb: Some(right.verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let params = PostParams::default();
    let status = if let Some(service) = &account.service {
        let spec = SubjectAccessReviewSpec {
            user: Some(service.user()),
            groups: Some(service.groups()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        // Of a daemon with Roles only, who administers its namespaces may ask there.
        match &right.namespace {
            Some(place) if !account.watches.is_empty() => {
                let mut review = LocalSubjectAccessReview { spec, ..Default::default() };
                review.metadata.namespace = Some(place.clone());
                let reviews = Api::<LocalSubjectAccessReview>::namespaced(client.clone(), place);
                reviews.create(&params, &review).await.map(|review| review.status)
            }
            _ => {
                let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
                let reviews = Api::<SubjectAccessReview>::all(client.clone());
                reviews.create(&params, &review).await.map(|review| review.status)
            }
        }
    } else {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
        reviews.create(&params, &review).await.map(|review| review.status)
    };
    let status = status.map_err(|error| reach::plain(&error)).context("cannot review rights")?;
    Ok(status.is_some_and(|status| status.allowed))
}

/// The roles that grant what is missing, and their bindings.
pub(super) fn roles(account: &Account, missing: &BTreeSet<Right>) -> Vec<Value> {
    let mut by_place: BTreeMap<&Option<String>, Vec<&Right>> = BTreeMap::new();
    for right in missing {
        by_place.entry(&right.namespace).or_default().push(right);
    }
    by_place
        .into_iter()
        .flat_map(|(place, rights)| role(account, place.as_deref(), &rights))
        .collect()
}

fn role(account: &Account, place: Option<&str>, rights: &[&Right]) -> [Value; 2] {
    // One rule for each resource and set of names.
    let mut rules: BTreeMap<(&str, &str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for right in rights {
        let key = (&*right.group, &*right.resource, right.name.as_deref());
        rules.entry(key).or_default().push(right.verb);
    }
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|((group, resource, name), verbs)| {
            let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
            if let Some(name) = name {
                rule["resourceNames"] = json!([name]);
            }
            rule
        })
        .collect();
    let kind = if place.is_some() { "Role" } else { "ClusterRole" };
    let mut metadata = json!({"name": "penstock-missing"});
    if let Some(namespace) = place {
        metadata["namespace"] = json!(namespace);
    }
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    let subject = account.service.as_ref().map_or_else(
        || json!({"kind": "ServiceAccount", "name": "NAME", "namespace": "NAMESPACE"}),
        |it| json!({"kind": "ServiceAccount", "name": it.name, "namespace": it.namespace}),
    );
    [
        json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": "penstock-missing"}, "subjects": [subject],
        }),
    ]
}
