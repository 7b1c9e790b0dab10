//! When rights count: the API server hears of roles a moment after they are written, and until then refuses what they allow. In a cluster a container
//! takes longer to start than that; who acts in its place waits here.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;

use super::until;

/// How long it may take on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// One thing that a role allows; a `ClusterRole` has no namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) namespace: Option<String>,
    /// Where it is for objects of these names only, one of them.
    pub(crate) name: Option<String>,
    pub(crate) group: String,
    /// With its subresource after a slash.
    pub(crate) resource: String,
    pub(crate) verb: String,
}

/// Waits until `user` may do all that these roles allow, by the API server's own word.
pub(crate) async fn until_granted(
    client: Client,
    user: &str,
    roles: impl Iterator<Item = &Value>,
) -> Result<()> {
    let mut lacking: BTreeSet<_> = roles.flat_map(rights).collect();
    let reviews = Api::<SubjectAccessReview>::all(client);
    until(&format!("the rights of {user} to count"), SOON, async || {
        for right in lacking.clone() {
            let review = right.review(user);
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

/// All that a role allows.
pub(crate) fn rights(role: &Value) -> Vec<Right> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(text).collect()
    };
    let mut found = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    found.push(Right {
                        namespace: text(&role["metadata"]["namespace"]),
                        name: text(&rule["resourceNames"][0]),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb,
                    });
                }
            }
        }
    }
    found
}

impl Right {
    fn review(&self, user: &str) -> SubjectAccessReview {
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
                user: Some(user.to_owned()),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }
}
