//! KubeRay: worker groups in a list, and Ray's own autoscaler, which writes `replicas` where it is on.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::definitions;
use super::yard::{Complaints, Operator, Yard, people, seen};

const VERSION: &str = "ray.io/v1";

/// Runs one cluster. Its autoscaler, where it is on, wants as many workers as it may have.
pub(crate) struct Ray {
    clusters: Api<DynamicObject>,
    pods: Api<DynamicObject>,
    name: String,
    /// Replicas of each group as the autoscaler wrote them.
    written: Vec<Value>,
    complaints: Complaints,
}

impl Ray {
    pub(crate) fn of(yard: &Yard, name: &str) -> Self {
        let (clusters, pods) = (yard.api(VERSION, "RayCluster"), yard.api("v1", "Pod"));
        let (name, complaints) = (name.to_owned(), yard.complaints());
        Self { clusters, pods, name, written: Vec::new(), complaints }
    }

    async fn autoscale(&mut self, groups: &[Value]) -> Result<()> {
        let replicas = groups.iter().map(|group| group["replicas"].clone());
        let replicas: Vec<_> = replicas.collect();
        if !self.written.is_empty() && self.written != replicas {
            let complaint =
                format!("{}: somebody wrote replicas, which Ray owns: {replicas:?}", self.name);
            self.complaints.lock().unwrap().push(complaint);
        }
        let wanted: Vec<_> = groups.iter().map(|group| group["maxReplicas"].clone()).collect();
        let steps = wanted.iter().enumerate().map(|(index, count)| {
            json!({"op": "replace", "path": format!("/spec/workerGroupSpecs/{index}/replicas"), "value": count})
        });
        if wanted != replicas {
            let patch = Patch::Json::<()>(serde_json::from_value(steps.collect())?);
            self.clusters.patch(&self.name, &PatchParams::default(), &patch).await?;
        }
        self.written = wanted;
        Ok(())
    }
}

impl Operator for Ray {
    async fn round(&mut self) -> Result<()> {
        let object = seen(&self.clusters, &self.name).await?;
        let groups = object["spec"]["workerGroupSpecs"].as_array().cloned().unwrap_or_default();
        for group in &groups {
            let name = group["groupName"].as_str().unwrap_or_default();
            let number = |key: &str| group[key].as_u64().unwrap_or(1);
            let pods = number("replicas").clamp(number("minReplicas"), number("maxReplicas"));
            let labels = json!({"ray.io/cluster": self.name, "ray.io/group": name});
            let stem = format!("{}-{name}", self.name);
            people(&self.pods, &stem, &labels, pods * number("numOfHosts")).await?;
        }
        if object["spec"]["enableInTreeAutoscaling"] == true {
            self.autoscale(&groups).await?;
        }
        Ok(())
    }
}

fn cluster(name: &str, is_autoscaled: bool) -> Value {
    let group = |name: &str, hosts: u32| {
        json!({
            "groupName": name, "replicas": 2, "minReplicas": 1, "maxReplicas": 6, "numOfHosts": hosts,
            "rayStartParams": {}, "template": {"spec": {"containers": [{"name": "worker", "image": "none"}]}},
        })
    };
    json!({
        "apiVersion": VERSION, "kind": "RayCluster", "metadata": {"name": name},
        "spec": {"enableInTreeAutoscaling": is_autoscaled, "workerGroupSpecs": [group("cpu", 1), group("gpu", 2)]},
    })
}

pub(crate) async fn a_group_is_moved_within_its_bounds_and_no_other(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::ray_cluster()).await?;
    yard.create(&cluster("train", false)).await?;
    yard.employ(Ray::of(&yard, "train"));
    let api = yard.api(VERSION, "RayCluster");
    let trail = yard.follow(&api, "train", "/spec/workerGroupSpecs/1/replicas").await?;
    let target =
        json!({"apiVersion": VERSION, "kind": "RayCluster", "name": "train", "part": "gpu"});
    yard.pipeline("train", json!({"target": target, "replicas": {"min": 0, "max": 40}})).await?;
    yard.wait_in("train", 90);
    let said = yard.until_reason("train", "TargetLimit").await?;
    ensure!(said == "kept at 6: 9 would do, but maxReplicas of this worker group is 6", "{said}");
    // Each of these workers is two pods.
    yard.until("six to be Ready", async || {
        let replicas = yard.stage("train").await?["replicas"].clone();
        ensure!(replicas["ready"] == 6 && replicas["current"] == 6, "{replicas}");
        Ok(Some(()))
    })
    .await?;
    yard.wait_in("train", 40);
    yard.until("four", async || Ok((trail.seen().last() == Some(&json!(4))).then_some(()))).await?;
    let groups = seen(&api, "train").await?["spec"]["workerGroupSpecs"].clone();
    let expected = cluster("train", false)["spec"]["workerGroupSpecs"].clone();
    ensure!(groups[0] == expected[0], "the other group: {groups}");
    ensure!(groups[1]["template"] == expected[1]["template"], "{groups}");
    yard.is_unharmed()
}

pub(crate) async fn what_rays_autoscaler_owns_is_left_alone(mut yard: Yard) -> Result<()> {
    yard.define(&definitions::ray_cluster()).await?;
    yard.create(&cluster("serve", true)).await?;
    yard.employ(Ray::of(&yard, "serve"));
    let api = yard.api(VERSION, "RayCluster");
    let trail = yard.follow(&api, "serve", "/spec/workerGroupSpecs/0/maxReplicas").await?;
    let target =
        json!({"apiVersion": VERSION, "kind": "RayCluster", "name": "serve", "part": "cpu"});
    let idle = json!({"replicas": 0, "after": "1s"});
    let stage = json!({"target": target, "replicas": {"min": 0, "max": 40}, "idle": idle});
    yard.pipeline("serve", stage).await?;
    yard.wait_in("serve", 90);
    yard.until("a ceiling of nine", async || Ok(trail.seen().contains(&json!(9)).then_some(())))
        .await?;
    yard.until("Ray to take it up", async || {
        let object = seen(&api, "serve").await?;
        Ok((object["spec"]["workerGroupSpecs"][0]["replicas"] == 9).then_some(()))
    })
    .await?;
    yard.wait_in("serve", 0);
    let said = yard.until_reason("serve", "TargetLimit").await?;
    ensure!(said.ends_with("minReplicas of this worker group is 1"), "{said}");
    yard.is_unharmed()
}
