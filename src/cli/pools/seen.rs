//! What a cluster has: its CapacityPools, its nodes and Karpenter's NodePools, as far as a proposal wants them. Called by the command.

use std::collections::BTreeMap;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;

use super::super::reach;
use super::karpenter::NodePool;
use super::marks::Cloud;
use crate::crd::CapacityPool;

/// Nodes of the control plane run no pipeline.
const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// Objects in one page of a list.
const PAGE: u32 = 500;

/// What a cluster has.
#[derive(Debug, Default)]
pub(super) struct Ground {
    pub(super) pools: Vec<CapacityPool>,
    pub(super) machines: Vec<Machine>,
    /// `None` when Karpenter's kinds are not served, or may not be read.
    pub(super) node_pools: Option<Vec<NodePool>>,
    /// What could not be read, and what to do about it, a line each.
    pub(super) missing: Vec<String>,
}

/// A node that work may run on.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) cloud: Option<Cloud>,
}

impl Ground {
    /// Asks the cluster.
    ///
    /// # Errors
    /// Nodes or CapacityPools may not be listed, or nobody answers.
    pub(super) async fn see(client: &Client) -> anyhow::Result<Self> {
        let mut ground = Self::default();
        match all(&Api::<CapacityPool>::all(client.clone())).await {
            Ok(pools) => ground.pools = pools,
            Err(error) if is_status(&error, 404) => ground.missing.push(
                "this cluster knows no CapacityPool; hint: penstock crds | kubectl apply --server-side -f -".to_owned(),
            ),
            Err(error) => return Err(reach::plain(&error)).context("cannot list CapacityPools"),
        }
        let nodes = all(&Api::<Node>::all(client.clone())).await;
        let nodes = nodes.map_err(|error| reach::plain(&error)).context("cannot list nodes")?;
        ground.machines = nodes.into_iter().filter_map(Machine::of).collect();
        let kind = ApiResource {
            group: "karpenter.sh".to_owned(),
            version: "v1".to_owned(),
            api_version: "karpenter.sh/v1".to_owned(),
            kind: "NodePool".to_owned(),
            plural: "nodepools".to_owned(),
        };
        match all(&Api::<DynamicObject>::all_with(client.clone(), &kind)).await {
            Ok(found) => ground.node_pools = Some(found.iter().map(NodePool::of).collect()),
            Err(error) if is_status(&error, 404) => {}
            Err(error) if is_status(&error, 403) => ground.missing.push(format!(
                "Karpenter's NodePools may not be listed ({:#}); the labels of nodes are taken instead",
                reach::plain(&error)
            )),
            Err(error) => return Err(reach::plain(&error)).context("cannot list NodePools"),
        }
        Ok(ground)
    }

    /// The nodes that have these labels, and stand in one of these zones if any are named.
    pub(super) fn nodes_of(&self, pool: &CapacityPool) -> usize {
        self.machines.iter().filter(|machine| pool.spec.has(&machine.labels)).count()
    }
}

impl Machine {
    /// A node of the cluster; `None` for those of the control plane.
    fn of(node: Node) -> Option<Self> {
        let name = node.name_any();
        let labels = node.metadata.labels.unwrap_or_default();
        if CONTROL_PLANE.iter().any(|label| labels.contains_key(*label)) {
            return None;
        }
        let provider = node.spec.and_then(|spec| spec.provider_id).unwrap_or_default();
        Some(Self { name, cloud: Cloud::of(&provider, &labels), labels })
    }
}

/// All objects of a kind, page by page.
async fn all<K>(api: &Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await?;
        found.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
