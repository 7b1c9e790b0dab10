//! The shapes of built-in kinds: their Go types as compiled schemas, with the list keys that server-side apply and strategic
//! merge need. Built once from k8s-openapi's schemas; the keys are the table below, copied from the API's own markers.

use crate::crd::schema::{Kind, ListKind, Node, Schema};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Type, field, list-map keys (empty: a set), strategic merge key (empty: none).
const LISTS: &[(&str, &str, &[&str], &str)] = &[
    ("ObjectMeta", "ownerReferences", &["uid"], "uid"),
    ("ObjectMeta", "finalizers", &[], ""),
    ("PodSpec", "containers", &["name"], "name"),
    ("PodSpec", "initContainers", &["name"], "name"),
    ("PodSpec", "ephemeralContainers", &["name"], "name"),
    ("PodSpec", "volumes", &["name"], "name"),
    ("PodSpec", "imagePullSecrets", &["name"], "name"),
    ("PodSpec", "hostAliases", &["ip"], "ip"),
    ("PodSpec", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"], "topologyKey"),
    ("PodSpec", "resourceClaims", &["name"], "name"),
    ("PodSpec", "schedulingGates", &["name"], "name"),
    ("PodStatus", "conditions", &["type"], "type"),
    ("PodStatus", "podIPs", &["ip"], "ip"),
    ("PodStatus", "hostIPs", &["ip"], "ip"),
    ("Container", "ports", &["containerPort", "protocol"], "containerPort"),
    ("Container", "env", &["name"], "name"),
    ("Container", "volumeMounts", &["mountPath"], "mountPath"),
    ("Container", "volumeDevices", &["devicePath"], "devicePath"),
    ("ServiceSpec", "ports", &["port", "protocol"], "port"),
    ("ServiceStatus", "conditions", &["type"], "type"),
    ("DeploymentStatus", "conditions", &["type"], "type"),
    ("ReplicaSetStatus", "conditions", &["type"], "type"),
    ("StatefulSetStatus", "conditions", &["type"], "type"),
    ("JobStatus", "conditions", &["type"], "type"),
    ("HorizontalPodAutoscalerStatus", "conditions", &["type"], "type"),
    ("PodDisruptionBudgetStatus", "conditions", &["type"], "type"),
    ("NamespaceStatus", "conditions", &["type"], "type"),
    ("NodeStatus", "conditions", &["type"], "type"),
    ("NodeStatus", "addresses", &["type"], "type"),
    ("NodeSpec", "podCIDRs", &[], ""),
    ("ServiceAccount", "secrets", &["name"], "name"),
];

/// Types that are one value, replaced as a whole.
const ATOMIC: &[&str] = &[
    "LabelSelector",
    "LocalObjectReference",
    "ObjectReference",
    "OwnerReference",
    "SecretKeySelector",
    "ConfigMapKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "TypedLocalObjectReference",
    "SecretReference",
];

/// Fields that are atomic maps although their type is a plain map.
const ATOMIC_FIELDS: &[(&str, &str)] = &[
    ("PodSpec", "nodeSelector"),
    ("ServiceSpec", "selector"),
    ("ReplicationControllerSpec", "selector"),
];

/// Builds shapes, sharing what kinds have in common.
pub(super) struct Shapes {
    generator: SchemaGenerator,
    done: BTreeMap<String, Arc<Node>>,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self { generator: SchemaSettings::draft2020_12().into_generator(), done: BTreeMap::new() }
    }

    /// The shape of one kind's whole object. Types come from k8s-openapi; a schema it cannot have compiled is a bug of the build,
    /// so the kind is then served without one.
    pub(super) fn of<T: JsonSchema>(&mut self) -> Option<Schema> {
        let schema = self.generator.subschema_for::<T>().to_value();
        let definitions = self.generator.definitions().clone();
        self.node("", "", &schema, &definitions).ok().map(Schema::of)
    }

    fn node(
        &mut self,
        path: &str,
        owner: &str,
        schema: &Value,
        all: &Map<String, Value>,
    ) -> Result<Arc<Node>, String> {
        if let Some(name) =
            schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next())
        {
            if let Some(done) = self.done.get(name) {
                return Ok(Arc::clone(done));
            }
            let definition = all.get(name).ok_or_else(|| format!("{name} is not defined"))?;
            let node = self.node(path, name, definition, all)?;
            self.done.insert(name.to_owned(), Arc::clone(&node));
            return Ok(node);
        }
        let empty = Map::new();
        let map = schema.as_object().unwrap_or(&empty);
        let owner_type = owner.rsplit('.').next().unwrap_or_default();
        let mut node =
            Node::from_map(path, map, &mut |path, child| self.node(path, "", child, all))?;
        if node.kind == Kind::Any && node.fields.is_empty() {
            node.preserve = true;
        }
        if node.kind == Kind::Object && node.fields.is_empty() && node.extra.is_none() {
            node.preserve = true;
        }
        node.atomic_map |= ATOMIC.contains(&owner_type);
        for (name, child) in &mut node.fields {
            if let Some((_, _, keys, merge)) =
                LISTS.iter().find(|(t, f, ..)| *t == owner_type && f == name)
            {
                *child = Arc::new(keyed(child, keys, merge));
            } else if ATOMIC_FIELDS.contains(&(owner_type, name.as_str())) {
                let mut whole = plain(child);
                whole.atomic_map = true;
                *child = Arc::new(whole);
            }
        }
        if owner_type == "ContainerPort" || owner_type == "ServicePort" {
            let mut protocol = Node::default();
            protocol.kind = Kind::String;
            protocol.default = Some(json!("TCP"));
            node.fields.insert("protocol".to_owned(), Arc::new(protocol));
        }
        Ok(Arc::new(node))
    }
}

/// A copy of what matters of a list or map node of a built-in type, which has no bounds.
fn plain(node: &Node) -> Node {
    let mut copy = Node::default();
    copy.kind = node.kind;
    copy.preserve = node.preserve;
    copy.extra.clone_from(&node.extra);
    copy.items.clone_from(&node.items);
    copy
}

fn keyed(node: &Node, keys: &[&str], merge: &str) -> Node {
    let mut list = plain(node);
    list.list = if keys.is_empty() {
        ListKind::Set
    } else {
        ListKind::Map(keys.iter().map(|k| (*k).to_owned()).collect())
    };
    list.patch_key = (!merge.is_empty()).then(|| merge.to_owned());
    list.patch_union = keys.is_empty();
    list
}
