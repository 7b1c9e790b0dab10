//! The stores besides targets and Secrets, one function each: what is kept of the objects of a kind.
//! Called once, by `Watch::start`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{Object, PartialObjectMeta};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::crd::pool::CapacityPool;
use crate::crd::{CapacityBudget, ClusterConnection, Connection, ScaledPipeline};
use crate::decide::{ReserveSeen, TargetId};

use super::drains::WireBudget;
use super::nodes::{NODE_POOLS, SIGNS, WireNode, WireNodePool};
use super::pods::{PODS, WirePod};
use super::quotas::WireQuota;
use super::reserves::{BUFFERS, PLACEHOLDERS, WireBuffer, WireDeployment};
use super::stores::{Keeper, Name, Nothing, Stores, Without, chain, config};
use super::{Reach, Watch, drains, targets};

/// Starts every store.
pub(super) fn keep_all(watch: &Watch) {
    let selector = watch.options.selector.as_deref();
    watch.keep(&ApiResource::erase::<ScaledPipeline>(&()), Reach::Namespaces, &pipelines(selector));
    watch.keep(&ApiResource::erase::<Connection>(&()), Reach::Namespaces, &connections());
    watch.keep(
        &ApiResource::erase::<ClusterConnection>(&()),
        Reach::Cluster,
        &cluster_connections(),
    );
    watch.keep(&ApiResource::erase::<CapacityPool>(&()), Reach::Cluster, &pools());
    watch.keep(&ApiResource::erase::<CapacityBudget>(&()), Reach::Cluster, &budgets());
    watch.keep(&ApiResource::erase::<Namespace>(&()), Reach::Cluster, &namespaces());
    watch.keep(&ApiResource::erase::<Pod>(&()), Reach::Namespaces, &pods());
    if watch.options.heeds_quotas {
        watch.keep(&ApiResource::erase::<ResourceQuota>(&()), Reach::Namespaces, &quotas());
    }
    watch.keep(&ApiResource::erase::<HorizontalPodAutoscaler>(&()), Reach::Namespaces, &hpas());
}

/// Starts the stores that only pools of nodes need.
pub(super) fn keep_nodes(watch: &Watch) {
    watch.keep(&ApiResource::erase::<Node>(&()), Reach::Cluster, &nodes());
}

/// And that of Karpenter's NodePools, which make nodes.
pub(super) fn keep_node_pools(watch: &Watch) {
    let makers = ApiResource {
        group: "karpenter.sh".to_owned(),
        version: "v1".to_owned(),
        api_version: "karpenter.sh/v1".to_owned(),
        kind: "NodePool".to_owned(),
        plural: "nodepools".to_owned(),
    };
    watch.keep(&makers, Reach::Cluster, &node_pools());
}

/// And those of what is said of nodes and of pods that find none.
pub(super) fn keep_signs(watch: &Watch) {
    for reason in SIGNS {
        watch.keep(&ApiResource::erase::<Event>(&()), Reach::Cluster, &signs(reason));
    }
}

/// Starts the stores that only room kept on nodes needs.
pub(super) fn keep_reserves(watch: &Watch) {
    let buffers = ApiResource {
        group: "autoscaling.x-k8s.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "autoscaling.x-k8s.io/v1beta1".to_owned(),
        kind: "CapacityBuffer".to_owned(),
        plural: "capacitybuffers".to_owned(),
    };
    let deployments = ApiResource::erase::<Deployment>(&());
    watch.keep(&deployments, Reach::Namespaces, &placeholders());
    watch.keep(&buffers, Reach::Namespaces, &capacity_buffers());
}

fn placeholders() -> Keeper<WireDeployment> {
    Keeper {
        store: PLACEHOLDERS.to_owned(),
        config: config().labels(ReserveSeen::LABEL),
        without: Without::AtOnce,
        put: Stores::put_placeholders,
        gone: Stores::drop_placeholders,
    }
}

fn capacity_buffers() -> Keeper<WireBuffer> {
    Keeper {
        store: BUFFERS.to_owned(),
        config: config().labels(ReserveSeen::LABEL),
        // Where none are served placeholders stand for them, and stay: one answer of an API server that just came up is not enough for that.
        without: Without::RefusedOrUnserved,
        put: Stores::put_buffer,
        gone: Stores::drop_buffer,
    }
}

fn signs(reason: &str) -> Keeper<DynamicObject> {
    Keeper {
        store: format!("events {reason}"),
        config: config().fields(&format!("reason={reason}")),
        without: Without::AtOnce,
        put: Stores::put_sign,
        // What was said stays said.
        gone: |_, _| {},
    }
}

fn pools() -> Keeper<DynamicObject> {
    Keeper {
        store: "capacity pools".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, object| {
            if let Some(pool) = parsed(name, object) {
                stores.put_pool(name, pool);
            }
        },
        gone: Stores::drop_pool,
    }
}

fn budgets() -> Keeper<DynamicObject> {
    Keeper {
        store: "capacity budgets".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, object| {
            if let Some(budget) = parsed(name, object) {
                stores.put_budget(name, budget);
            }
        },
        gone: Stores::drop_budget,
    }
}

fn nodes() -> Keeper<WireNode> {
    Keeper {
        store: "nodes".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, node| stores.put_node(name, &node),
        gone: Stores::drop_node,
    }
}

fn node_pools() -> Keeper<WireNodePool> {
    Keeper {
        store: NODE_POOLS.to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, pool| stores.put_node_pool(name, &pool),
        gone: Stores::drop_node_pool,
    }
}

/// Starts the store that only stages need that hold drains.
pub(super) fn keep_budgets_of_pods(watch: &Watch) {
    let budgets = Keeper {
        store: drains::STORE.to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores: &mut Stores, name: &Name, budget: WireBudget| {
            stores.put_budget_of_pods(name, &budget);
        },
        gone: Stores::drop_budget_of_pods,
    };
    watch.keep(&ApiResource::erase::<PodDisruptionBudget>(&()), Reach::Namespaces, &budgets);
}

fn pipelines(selector: Option<&str>) -> Keeper<DynamicObject> {
    let config = config();
    Keeper {
        store: "pipelines".to_owned(),
        config: match selector {
            Some(selector) => config.labels(selector),
            None => config,
        },
        without: Without::Never,
        put: Stores::put_pipeline,
        gone: Stores::drop_pipeline,
    }
}

fn connections() -> Keeper<DynamicObject> {
    Keeper {
        store: "connections".to_owned(),
        config: config(),
        without: Without::Never,
        put: |stores, name, object| {
            if let Some(connection) = parsed(name, object) {
                stores.connections.insert(name.clone(), Arc::new(connection));
                stores.reread_all();
            }
        },
        gone: |stores, name| {
            stores.connections.remove(name);
            stores.reread_all();
        },
    }
}

fn cluster_connections() -> Keeper<DynamicObject> {
    Keeper {
        store: "cluster connections".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, object| {
            if let Some(connection) = parsed(name, object) {
                stores.cluster_connections.insert(Arc::clone(&name.name), Arc::new(connection));
                stores.reread_all();
            }
        },
        gone: |stores, name| {
            stores.cluster_connections.remove(&name.name);
            stores.reread_all();
        },
    }
}

fn namespaces() -> Keeper<PartialObjectMeta<DynamicObject>> {
    Keeper {
        store: "namespaces".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: |stores, name, object| {
            let labels = object.metadata.labels.unwrap_or_default();
            let before = stores.namespaces.insert(Arc::clone(&name.name), labels.clone());
            // Only a ClusterConnection and a budget look at them.
            if before != Some(labels) {
                stores.relabelled(&name.name);
            }
        },
        gone: |stores, name| {
            stores.namespaces.remove(&name.name);
        },
    }
}

fn pods() -> Keeper<WirePod> {
    Keeper {
        store: PODS.to_owned(),
        config: config(),
        without: Without::Never,
        put: |stores, name, pod| {
            stores.quotas.touch(&name.namespace);
            let awaits = |stores: &Stores| {
                stores.pods.awaits_interruption(&name.namespace, &name.name, &stores.nodes)
            };
            let awaited = awaits(stores);
            if let Some([new, old]) = stores.pods.put(name, &pod) {
                if let Some(labels) = awaited.filter(|_| awaits(stores).is_none()) {
                    stores.end_by_interruption(name, &labels);
                }
                targets::pod_moved(stores, name, &[&new, &old]);
            }
        },
        gone: |stores, name| {
            stores.quotas.touch(&name.namespace);
            let of = (&name.namespace, &name.name);
            if let Some(labels) = stores.pods.awaits_interruption(of.0, of.1, &stores.nodes) {
                stores.end_by_interruption(name, &labels);
            }
            stores.forget_ending(name);
            if let Some(labels) = stores.pods.gone(name) {
                targets::pod_moved(stores, name, &[&labels]);
            }
        },
    }
}

fn quotas() -> Keeper<WireQuota> {
    Keeper {
        store: "resource quotas".to_owned(),
        config: config(),
        without: Without::AtOnce,
        put: Stores::put_quota,
        gone: Stores::drop_quota,
    }
}

/// A HorizontalPodAutoscaler cut down to what it scales.
type WireHpa = Object<WireHpaSpec, Nothing>;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHpaSpec {
    scale_target_ref: WireRef,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRef {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
}

fn hpas() -> Keeper<WireHpa> {
    Keeper {
        store: "horizontal pod autoscalers".to_owned(),
        config: config(),
        without: Without::RefusedOrUnserved,
        put: |stores, name, hpa| {
            let named = hpa.spec.scale_target_ref;
            let target =
                TargetId::object(&name.namespace, &named.api_version, &named.kind, &named.name);
            let before = stores.hpas.insert(name.clone(), target.clone());
            for target in before.iter().chain([&target]) {
                stores.touch_target(target);
            }
        },
        gone: |stores, name| {
            if let Some(target) = stores.hpas.remove(name) {
                stores.touch_target(&target);
            }
        },
    }
}

/// Reads an object as one of ours. One that cannot be read is left out and said; the watch goes on.
fn parsed<K: Resource + serde::de::DeserializeOwned>(
    name: &Name,
    object: DynamicObject,
) -> Option<K> {
    match object.try_parse::<K>() {
        Ok(object) => Some(object),
        Err(error) => {
            warn!(name = %name.name, namespace = %name.namespace, error = %chain(&error), "an object cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use kube::{Api, Client};
    use serde_json::json;
    use tower::BoxError;

    use super::super::stores::{Shelf, keep};
    use super::*;

    /// What each list of buffers is answered in turn, and the last one for ever; a watch ends after a second, with what makes a list follow.
    const SAID: [u16; 7] = [403, 403, 200, 404, 404, 200, 404];

    #[tokio::test(start_paused = true)]
    async fn that_buffers_are_refused_or_served_no_more_is_believed_the_third_time() {
        let shelf = Arc::<Shelf>::default();
        let without = Arc::<Mutex<Vec<bool>>>::default();
        let (held, seen) = (Arc::clone(&shelf), Arc::clone(&without));
        let server = tower::service_fn(move |request: Request<Body>| {
            let (held, seen) = (Arc::clone(&held), Arc::clone(&seen));
            async move {
                let status = |code: u16| json!({"kind": "Status", "status": "Failure", "code": code, "reason": "", "message": ""});
                let (code, body) = if request.uri().query().is_some_and(|it| it.contains("watch="))
                {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    (200, json!({"type": "ERROR", "object": status(410)}))
                } else {
                    let mut seen = seen.lock().unwrap();
                    seen.push(held.open().is_without(BUFFERS));
                    match SAID.get(seen.len() - 1).copied().unwrap_or(404) {
                        200 => (200, json!({"metadata": {"resourceVersion": "1"}, "items": []})),
                        code => (code, status(code)),
                    }
                };
                let body = Full::new(Bytes::from(format!("{body}\n")));
                Ok::<_, BoxError>(Response::builder().status(code).body(body)?)
            }
        });
        let resource = ApiResource::erase::<Deployment>(&());
        let api = Api::all_with(Client::new(server, "default"), &resource);
        let keeping = keep(api, shelf, capacity_buffers());
        assert!(tokio::time::timeout(Duration::from_mins(5), keeping).await.is_err());
        let without = without.lock().unwrap();
        let (before, after) = without.split_at(9);
        assert!(!before.contains(&true) && after.first() == Some(&true), "{without:?}");
    }
}
