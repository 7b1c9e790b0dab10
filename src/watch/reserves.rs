//! Room that is kept on nodes: the objects that stand for it, told by their label, and what they cost. What is there is seen, not remembered.
//! The watches of them start with the first stage that keeps room, or whose status says that it did.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use crate::crd::GROUP;
use crate::decide::{Keeps, Method, PipelineId, ReserveSeen, Reserves, Stage};

use super::stores::{Name, Stores};

/// Who injects pods for a buffer says that it has done so in each of its rounds, before it is known what nodes there are for them.
const INJECTED: &str = "FakePodsInjected";
/// The stores of both, as they are called.
pub(super) const PLACEHOLDERS: &str = "placeholders";
pub(super) const BUFFERS: &str = "capacity buffers";
/// What one message may fill.
const MESSAGE_LIMIT: usize = 256;

/// Every object that stands for room, by the pipeline that owns it.
#[derive(Debug, Default)]
pub(super) struct Stock {
    each: BTreeMap<PipelineId, BTreeMap<(Method, Arc<str>), Note>>,
    /// Are the watches on their way?
    pub(super) are_followed: bool,
}

#[derive(Debug, PartialEq)]
struct Note {
    /// uid of the pipeline that owns it.
    owner: Arc<str>,
    seen: ReserveSeen,
}

/// A Deployment of placeholders, cut down.
pub(super) type WireDeployment = Object<WireSpec, WireStatus>;
/// A `CapacityBuffer`, cut down.
pub(super) type WireBuffer = Object<WireSpec, WireStatus>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct WireSpec {
    replicas: Option<u32>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct WireStatus {
    /// What is left of the replicas under quotas.
    replicas: Option<u32>,
    #[serde(default)]
    conditions: Vec<WireCondition>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    observed_generation: Option<i64>,
}

impl WireStatus {
    /// What it says of an object of this generation. Conditions that do not tell what they are of are thought to be of this one.
    fn of(&self, generation: Option<i64>) -> Self {
        let mut now = self.clone();
        now.conditions.retain(|it| {
            generation.is_none() || generation <= it.observed_generation.or(generation)
        });
        now
    }

    /// Replicas of a buffer of so many that have room; `None` where that is not said.
    fn placed(&self, replicas: u32) -> Option<u32> {
        let room = self.conditions.iter().find(|it| it.kind == "Provisioning");
        match room.filter(|it| it.status == "True") {
            None => Some(0),
            Some(it) if it.reason == INJECTED => None,
            Some(_) => Some(self.replicas.unwrap_or(replicas).min(replicas)),
        }
    }

    /// What a condition says that stands in the way.
    fn trouble(&self, kind: &str, status: &str) -> Option<Arc<str>> {
        let found = self.conditions.iter().find(|it| it.kind == kind && it.status == status)?;
        let text = if found.message.is_empty() { kind } else { &found.message };
        Some(text[..text.floor_char_boundary(MESSAGE_LIMIT)].into())
    }
}

impl Note {
    fn of(
        name: &Name,
        method: Method,
        meta: &ObjectMeta,
        spec: &WireSpec,
        (status, made_of): (&WireStatus, Option<&str>),
    ) -> Option<(PipelineId, Self)> {
        let owners = meta.owner_references.iter().flatten();
        let version = format!("{GROUP}/");
        let mut owners = owners.filter(|owner| {
            owner.kind == "ScaledPipeline" && owner.api_version.starts_with(&version)
        });
        let owner = owners.next()?;
        let id =
            PipelineId { namespace: Arc::clone(&name.namespace), name: owner.name.as_str().into() };
        let annotation = |key| meta.annotations.as_ref()?.get(key).map(String::as_str);
        let replicas = spec.replicas.unwrap_or(1);
        let status = status.of(meta.generation);
        let (is_tended, placed, trouble) = match method {
            // Pods are counted where they stand.
            Method::Placeholders => (true, Some(0), status.trouble("ReplicaFailure", "True")),
            Method::Buffer => {
                let limited = status.trouble("LimitedByQuotas", "True");
                let unready = status.trouble("ReadyForProvisioning", "False");
                let is_tended = !status.conditions.is_empty();
                (is_tended, status.placed(replicas), limited.or(unready))
            }
        };
        let seen = ReserveSeen {
            name: Arc::clone(&name.name),
            method,
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            replicas,
            placed,
            nodes: Vec::new(),
            of: annotation(ReserveSeen::OF).map(Into::into),
            is_other: method == Method::Placeholders
                && made_of.is_some_and(|made_of| annotation(ReserveSeen::MADE) != Some(made_of)),
            revision: annotation(ReserveSeen::REVISION).map(Into::into),
            is_tended,
            trouble,
        };
        Some((id, Self { owner: owner.uid.as_str().into(), seen }))
    }
}

impl Stores {
    pub(super) fn put_placeholders(&mut self, name: &Name, wire: WireDeployment) {
        self.put_reserve(name, Method::Placeholders, &wire.metadata, &wire.spec, wire.status);
    }

    pub(super) fn drop_placeholders(&mut self, name: &Name) {
        self.drop_reserve(name, Method::Placeholders);
    }

    pub(super) fn put_buffer(&mut self, name: &Name, wire: WireBuffer) {
        self.put_reserve(name, Method::Buffer, &wire.metadata, &wire.spec, wire.status);
    }

    pub(super) fn drop_buffer(&mut self, name: &Name) {
        self.drop_reserve(name, Method::Buffer);
    }

    fn put_reserve(
        &mut self,
        name: &Name,
        method: Method,
        meta: &ObjectMeta,
        spec: &WireSpec,
        status: Option<WireStatus>,
    ) {
        if meta.deletion_timestamp.is_some() {
            return self.drop_reserve(name, method);
        }
        let about = (&status.unwrap_or_default(), self.house.placeholders.as_deref());
        let note = Note::of(name, method, meta, spec, about);
        let Some((id, note)) = note else { return self.drop_reserve(name, method) };
        let of_pipeline = self.reserves.each.entry(id.clone()).or_default();
        let key = (method, Arc::clone(&name.name));
        if of_pipeline.get(&key) != Some(&note) {
            of_pipeline.insert(key, note);
            self.touch(id);
        }
    }

    fn drop_reserve(&mut self, name: &Name, method: Method) {
        let key = (method, Arc::clone(&name.name));
        let mut gone = None;
        for (id, each) in &mut self.reserves.each {
            if id.namespace == name.namespace && each.remove(&key).is_some() {
                gone = Some(id.clone());
            }
        }
        self.reserves.each.retain(|_, each| !each.is_empty());
        if let Some(id) = gone {
            self.touch(id);
        }
    }

    /// Marks a pipeline that is there.
    fn touch(&mut self, id: PipelineId) {
        if self.pipelines.contains_key(&id) {
            self.dirty.insert(id);
        }
    }

    /// What stands for the room of a pipeline. What an earlier pipeline of this name left goes by itself.
    pub(super) fn reserves_of(&self, id: &PipelineId, uid: &str, now: Timestamp) -> Reserves {
        let awaits = |store| self.awaits(store);
        if !self.reserves.are_followed || awaits(PLACEHOLDERS) || awaits(BUFFERS) {
            return Reserves::Unseen;
        }
        if self.is_without(PLACEHOLDERS) {
            return Reserves::Forbidden;
        }
        let all = self.reserves.each.get(id).into_iter().flat_map(BTreeMap::values);
        let mine = all.filter(|note| *note.owner == *uid).map(|note| note.seen.clone());
        let counted = mine.map(|seen| match seen.method {
            Method::Placeholders => {
                let room = (&*id.namespace, &*seen.name);
                let nodes = self.pods.placeholder_nodes(room, &self.nodes, now);
                let placed = Some(nodes.iter().map(|(_, places)| *places).sum());
                ReserveSeen { placed, nodes, ..seen }
            }
            Method::Buffer => seen,
        });
        Reserves::Seen(counted.collect())
    }

    /// May `CapacityBuffer`s be read, and does the API server know them?
    pub(super) fn serves_buffers(&self) -> bool {
        !self.is_without(BUFFERS)
    }

    /// What the room costs in an hour that is kept for a stage, by pool.
    pub(super) fn room_costs(
        &self,
        id: &PipelineId,
        stage: &Stage,
        reserves: &[ReserveSeen],
        now: Timestamp,
    ) -> BTreeMap<Arc<str>, Option<f64>> {
        let mut costs = BTreeMap::new();
        if !self.nodes.has_pools() || stage.headroom.is_none() {
            return costs;
        }
        for Keeps { name, of: target, .. } in stage.reserves(id) {
            let mut add = |pool: &Arc<str>, cost: Option<f64>| {
                let sum = costs.entry(Arc::clone(pool)).or_insert(Some(0.0));
                *sum = sum.zip(cost).map(|(sum, cost): (f64, f64)| sum + cost);
            };
            for seen in reserves.iter().filter(|seen| *seen.name == *name) {
                match seen.method {
                    Method::Placeholders => {
                        let place = (&*id.namespace, &*name);
                        let each = self.pods.room_costs(place, &self.nodes, now);
                        for (pool, cost) in &each {
                            add(pool, *cost);
                        }
                    }
                    // It has no pods: the room of one replica costs what a replica does that runs there.
                    // Where nobody can tell how much of it is there, nobody can tell what it costs.
                    Method::Buffer => {
                        let Some(placed @ 1..) = seen.placed else { continue };
                        let each = self.costs(target, now);
                        let Some(selector) = self.targets.selector(target) else { continue };
                        let of = &target.namespace;
                        let pods = self.pods.demand(of, selector, &self.nodes, now).placed;
                        let share = f64::from(placed) / f64::from(pods.max(1));
                        for (pool, cost) in &each {
                            add(pool, cost.map(|cost| cost * share));
                        }
                    }
                }
            }
        }
        costs
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name() -> Name {
        Name { namespace: "shop".into(), name: "orders-sink-room-1".into() }
    }

    fn wire(method: Method, status: &serde_json::Value) -> Option<(PipelineId, Note)> {
        let owner = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders", "uid": "o"});
        let wire: WireBuffer = serde_json::from_value(json!({
            "metadata": {
                "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [owner],
                "annotations": {ReserveSeen::REVISION: "abc", ReserveSeen::OF: "apps/v1/Deployment/sink", ReserveSeen::MADE: "pause:1 last"},
                "generation": 3,
            },
            "spec": {"replicas": 4}, "status": status,
        }))
        .unwrap();
        let about = (&wire.status.unwrap_or_default(), Some("pause:1 last"));
        Note::of(&name(), method, &wire.metadata, &wire.spec, about)
    }

    #[test]
    fn a_buffer_has_room_when_who_makes_nodes_says_so_and_tells_what_limits_it() {
        let of = |conditions| {
            let status = json!({"replicas": 3, "conditions": conditions});
            let (id, note) = wire(Method::Buffer, &status).unwrap();
            assert_eq!((&*id.name, &*note.owner), ("orders", "o"));
            (note.seen.is_tended, note.seen.placed, note.seen.trouble)
        };
        assert_eq!(of(json!([])), (false, Some(0), None));
        let ready = json!({"type": "ReadyForProvisioning", "status": "True"});
        let room = json!({"type": "Provisioning", "status": "True", "message": "fits"});
        assert_eq!(of(json!([ready])), (true, Some(0), None));
        assert_eq!(of(json!([ready, room])), (true, Some(3), None), "what quotas leave of four");
        // That pods were injected says nothing of nodes.
        let injected =
            json!({"type": "Provisioning", "status": "True", "reason": "FakePodsInjected"});
        assert_eq!(of(json!([ready, injected])), (true, None, None));
        // What was said of an earlier generation is not said of this one.
        let old = json!({"type": "Provisioning", "status": "True", "observedGeneration": 2});
        assert_eq!(of(json!([old])), (false, Some(0), None));
        let new = json!({"type": "Provisioning", "status": "True", "observedGeneration": 3});
        assert_eq!(of(json!([new])), (true, Some(3), None));
        let limited =
            json!({"type": "LimitedByQuotas", "status": "True", "message": "quota cpu is used up"});
        let used_up = Some("quota cpu is used up".into());
        assert_eq!(of(json!([ready, limited])), (true, Some(0), used_up));
    }

    #[test]
    fn placeholders_tell_their_revision_and_why_pods_of_theirs_cannot_be_made() {
        let failure =
            json!({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"});
        let (_, note) = wire(Method::Placeholders, &json!({"conditions": [failure]})).unwrap();
        assert_eq!(note.seen.revision.as_deref(), Some("abc"));
        assert_eq!(note.seen.of.as_deref(), Some("apps/v1/Deployment/sink"));
        assert!(!note.seen.is_other);
        assert_eq!((note.seen.replicas, note.seen.trouble.as_deref()), (4, Some("exceeded quota")));
    }

    #[test]
    fn placeholders_of_another_image_or_priority_are_told_apart() {
        let put = |made_of: &str| {
            let mut stores = Stores::default();
            stores.house.placeholders = Some(made_of.to_owned());
            let wire = serde_json::from_value(json!({
                "metadata": {
                    "uid": "u", "annotations": {ReserveSeen::MADE: "pause:1 last"},
                    "ownerReferences": [{"apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders", "uid": "o"}],
                },
                "spec": {"replicas": 4},
            }));
            stores.put_placeholders(&name(), wire.unwrap());
            let (_, each) = stores.reserves.each.pop_first().unwrap();
            each.into_values().next().unwrap().seen.is_other
        };
        assert_eq!(
            [put("pause:1 last"), put("pause:2 last"), put("pause:1 first")],
            [false, true, true]
        );
    }
}
