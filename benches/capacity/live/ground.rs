//! What the live part plays on: a real control plane, a daemon that watches one namespace, and in it stages of two lanes, each on pools of its own.
//! Nodes are KWOK's. Used by every act.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};

use crate::rig::{Cluster, ClusterOptions, Kubernetes, Request};
use crate::scene::{Scene, workload};
use crate::yard::node;

use super::terms::{GRACE, START};

/// A cluster, and a scene on it.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) scene: Scene,
}

/// A stage's two lanes: the one on demand comes first.
pub(crate) const LANES: [&str; 2] = ["kept", "spot"];

impl Ground {
    pub(crate) async fn open(name: &str) -> Result<Self> {
        let options =
            ClusterOptions { nodes: 1, audit: true, startup: START, ..ClusterOptions::default() };
        let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
        let scene = Scene::on(&cluster, name).await?;
        Ok(Self { cluster, scene })
    }

    /// Makes an object that lies in no namespace.
    pub(crate) async fn make(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = Api::all_with(self.scene.client.clone(), &resource);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Makes an Event about an object that lies in no namespace.
    pub(crate) async fn make_event(&self, event: Value) -> Result<()> {
        let events = Api::<Event>::namespaced(self.scene.client.clone(), "default");
        events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
        Ok(())
    }

    /// Two pools without nodes and a Deployment on each, called `STAGE-kept` and `STAGE-spot`. `spot` is merged into what is said of that pool.
    pub(crate) async fn lay_out(&self, stage: &str, spot: &Value) -> Result<()> {
        for (lane, class) in LANES.into_iter().zip(["OnDemand", "Spot"]) {
            let name = format!("{stage}-{lane}");
            let mut spec = json!({"class": class, "nodeSelector": {"pool": name}});
            if let (Value::Object(spec), Value::Object(more), "spot") = (&mut spec, spot, lane) {
                spec.extend(more.clone());
            }
            self.make(json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec,
            }))
            .await?;
            let on =
                json!({"nodeSelector": {"pool": name}, "terminationGracePeriodSeconds": GRACE});
            let pods = workload("Deployment", &name, 0, &json!({"cpu": "1"}), on);
            self.scene.create(pods).await?;
        }
        Ok(())
    }

    /// A node on demand that has room for all that a stage may ever want there.
    pub(crate) async fn large(&self, stage: &str) -> Result<()> {
        self.make(node(&format!("{stage}-kept"), 0, 60)).await
    }

    /// The writes to `/scale` of a target that changed its count, by the API server's record.
    pub(crate) fn changes(&self, target: &str) -> Result<Vec<Request>> {
        let (mut writes, mut now) = (self.scene.writes(target)?, None);
        writes.retain(|write| std::mem::replace(&mut now, write.replicas) != write.replicas);
        Ok(writes)
    }

    /// What the lanes of a stage are asked for.
    pub(crate) async fn asked(&self, stage: &str) -> Result<[u32; 2]> {
        let all = Api::<Deployment>::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let mut asked = [0; 2];
        for (asked, lane) in asked.iter_mut().zip(LANES) {
            let spec = all.get(&format!("{stage}-{lane}")).await?.spec;
            *asked = u32::try_from(spec.and_then(|spec| spec.replicas).unwrap_or(1))?;
        }
        Ok(asked)
    }

    /// Waits until the lanes of a stage are asked for these counts.
    pub(crate) async fn until_asked(&self, stage: &str, wanted: [u32; 2]) -> Result<()> {
        self.scene
            .until(&format!("{stage} to be asked for {wanted:?}"), super::terms::LONG, async || {
                let asked = self.asked(stage).await?;
                ensure!(asked == wanted, "it is asked for {asked:?}");
                Ok(Some(()))
            })
            .await
    }
}

/// What a stage says of its lanes: so many on demand at the least, and of the rest so many per cent on spot.
pub(crate) fn lanes(stage: &str, base: u32, share: u32) -> Value {
    let lane = |lane: &str| {
        let name = format!("{stage}-{lane}");
        json!({"pool": name, "target": {"name": name}})
    };
    let (mut kept, mut spot) = (lane("kept"), lane("spot"));
    kept["base"] = json!(base);
    (spot["share"], spot["fallbackTo"]) = (json!(share), kept["pool"].clone());
    json!([kept, spot])
}

/// Of the pods of both lanes of a stage.
pub(crate) fn selector(stage: &str) -> String {
    format!("app in ({stage}-kept, {stage}-spot)")
}
