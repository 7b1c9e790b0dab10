//! When rights count: the API server hears of roles a moment after they are written, and until then refuses what they allow. A kubelet takes
//! longer to start a container than that; tests that play one wait for it here.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use super::rendered::triples;
use crate::rig::{Cluster, until};
use crate::scene::SOON;

/// Waits until `account` (as RBAC knows it) may do all that these roles allow, by the API server's own word.
pub(super) async fn until_granted(
    cluster: &Cluster,
    account: &str,
    roles: impl Iterator<Item = &Value>,
) -> Result<()> {
    let mut lacking: BTreeSet<_> = roles.flat_map(rights).collect();
    ensure!(!lacking.is_empty(), "no role gives {account} anything");
    let reviews = Api::<SubjectAccessReview>::all(cluster.client().await?);
    until(&format!("the rights of {account} to count"), SOON, async || {
        for right in lacking.clone() {
            let review = right.review(account);
            let said = reviews.create(&PostParams::default(), &review).await?;
            if said.status.is_some_and(|status| status.allowed) {
                lacking.remove(&right);
            }
        }
        ensure!(lacking.is_empty(), "refused are {lacking:?}");
        Ok(Some(()))
    })
    .await
}

/// One thing that a role allows; a `ClusterRole` has no namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    namespace: Option<String>,
    /// Where it is for objects of these names only, one of them.
    name: Option<String>,
    group: String,
    /// With its subresource after a slash.
    resource: String,
    verb: String,
}

fn rights(role: &Value) -> Vec<Right> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let namespace = text(&role["metadata"]["namespace"]);
    let of_rule =
        |rule: &Value| {
            let (namespace, name) = (namespace.clone(), text(&rule["resourceNames"][0]));
            triples(std::slice::from_ref(rule)).into_iter().map(move |(group, resource, verb)| {
                Right { namespace: namespace.clone(), name: name.clone(), group, resource, verb }
            })
        };
    role["rules"].as_array().into_iter().flatten().flat_map(of_rule).collect()
}

impl Right {
    fn review(&self, account: &str) -> SubjectAccessReview {
        let (resource, sub) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let attributes = ResourceAttributes {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: Some(sub.to_owned()),
            verb: Some(self.verb.clone()),
            ..ResourceAttributes::default()
        };
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(account.to_owned()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}
