//! The definitions of the operators' kinds, cut down to the fields that matter, with their real groups, names and subresources.

use kube::api::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// Kinds whose plural is not what one would guess.
pub(crate) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    match kind {
        "Vertex" => ApiResource::from_gvk_with_plural(&gvk, "vertices"),
        "MonoVertex" => ApiResource::from_gvk_with_plural(&gvk, "monovertices"),
        _ => ApiResource::from_gvk(&gvk),
    }
}

pub(crate) fn whole() -> Value {
    json!({"type": "integer", "format": "int32", "minimum": 0})
}

pub(crate) fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

pub(crate) fn object(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

/// A definition: group and version, kind, plural, what its spec and its status hold, and its `/scale` if it has one.
pub(crate) fn definition(
    (group, version): (&str, &str),
    (kind, plural): (&str, &str),
    (spec, status): (Value, Value),
    scale: Option<Value>,
) -> Value {
    let mut subresources = json!({"status": {}});
    if let Some(scale) = scale {
        subresources["scale"] = scale;
    }
    // The API server takes a group of this domain only with a word on who approved of it, as Kubeflow's definitions have one.
    let annotations = if group.ends_with(".k8s.io") {
        json!({"api-approved.kubernetes.io": "https://github.com/kubeflow/spark-operator/pull/1298"})
    } else {
        json!({})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "annotations": annotations},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": subresources,
                "schema": {"openAPIV3Schema": object(&json!({"spec": spec, "status": status}))},
            }],
        },
    })
}

fn spark_spec() -> Value {
    let dynamic = object(&json!({
        "enabled": {"type": "boolean"}, "initialExecutors": whole(), "minExecutors": whole(), "maxExecutors": whole(),
    }));
    object(&json!({
        "type": {"type": "string"}, "mode": {"type": "string"}, "image": {"type": "string"},
        "mainApplicationFile": {"type": "string"}, "sparkVersion": {"type": "string"},
        "suspend": {"type": "boolean"}, "timeToLiveSeconds": whole(),
        "driver": open(), "executor": object(&json!({"instances": whole(), "cores": whole(), "memory": {"type": "string"}})),
        "dynamicAllocation": dynamic,
    }))
}

pub(crate) fn spark_application() -> Value {
    let status = object(
        &json!({"applicationState": object(&json!({"state": {"type": "string"}})), "executorState": open()}),
    );
    definition(
        ("sparkoperator.k8s.io", "v1beta2"),
        ("SparkApplication", "sparkapplications"),
        (spark_spec(), status),
        None,
    )
}

pub(crate) fn scheduled_spark_application() -> Value {
    let spec = object(&json!({
        "schedule": {"type": "string"}, "concurrencyPolicy": {"type": "string"}, "suspend": {"type": "boolean"},
        "template": spark_spec(),
    }));
    let status =
        object(&json!({"lastRunName": {"type": "string"}, "scheduleState": {"type": "string"}}));
    definition(
        ("sparkoperator.k8s.io", "v1beta2"),
        ("ScheduledSparkApplication", "scheduledsparkapplications"),
        (spec, status),
        None,
    )
}

pub(crate) fn flink_deployment() -> Value {
    let job = object(&json!({
        "jarURI": {"type": "string"}, "parallelism": whole(), "state": {"type": "string"}, "upgradeMode": {"type": "string"},
    }));
    let managers = object(&json!({"replicas": whole(), "labelSelector": {"type": "string"}}));
    let spec = object(&json!({
        "image": {"type": "string"}, "flinkVersion": {"type": "string"}, "serviceAccount": {"type": "string"},
        "mode": {"type": "string"}, "flinkConfiguration": open(), "job": job, "jobManager": open(),
        "taskManager": object(&json!({"replicas": whole(), "resource": open()})),
    }));
    let status = object(&json!({
        "jobManagerDeploymentStatus": {"type": "string"}, "taskManager": managers,
        "jobStatus": object(&json!({"state": {"type": "string"}})),
    }));
    let scale = json!({
        "specReplicasPath": ".spec.taskManager.replicas", "statusReplicasPath": ".status.taskManager.replicas",
        "labelSelectorPath": ".status.taskManager.labelSelector",
    });
    definition(
        ("flink.apache.org", "v1beta1"),
        ("FlinkDeployment", "flinkdeployments"),
        (spec, status),
        Some(scale),
    )
}

pub(crate) fn ray_cluster() -> Value {
    let group = object(&json!({
        "groupName": {"type": "string"}, "replicas": whole(), "minReplicas": whole(), "maxReplicas": whole(),
        "numOfHosts": whole(), "suspend": {"type": "boolean"}, "rayStartParams": open(), "template": open(),
    }));
    let spec = object(&json!({
        "rayVersion": {"type": "string"}, "enableInTreeAutoscaling": {"type": "boolean"}, "suspend": {"type": "boolean"},
        "headGroupSpec": open(), "workerGroupSpecs": {"type": "array", "items": group},
    }));
    let status = object(&json!({"readyWorkerReplicas": whole(), "desiredWorkerReplicas": whole()}));
    definition(("ray.io", "v1"), ("RayCluster", "rayclusters"), (spec, status), None)
}

/// Of a `Vertex` or a `MonoVertex`.
pub(crate) fn vertex(kind: &str) -> Value {
    let scale = object(&json!({"disabled": {"type": "boolean"}, "min": whole(), "max": whole()}));
    let spec = object(&json!({
        "name": {"type": "string"}, "pipelineName": {"type": "string"}, "replicas": whole(), "scale": scale, "udf": open(),
        "source": open(), "sink": open(),
        "lifecycle": object(&json!({"desiredPhase": {"type": "string"}})),
    }));
    let status = object(&json!({"replicas": whole(), "selector": {"type": "string"}}));
    definition(
        ("numaflow.numaproj.io", "v1alpha1"),
        (kind, &resource("numaflow.numaproj.io/v1alpha1", kind).plural),
        (spec, status),
        Some(json!({
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector",
        })),
    )
}

pub(crate) fn rollout() -> Value {
    let spec = object(
        &json!({"replicas": whole(), "selector": open(), "strategy": open(), "template": open()}),
    );
    let status = object(&json!({"HPAReplicas": whole(), "selector": {"type": "string"}}));
    definition(
        ("argoproj.io", "v1alpha1"),
        ("Rollout", "rollouts"),
        (spec, status),
        Some(json!({
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.HPAReplicas", "labelSelectorPath": ".status.selector",
        })),
    )
}

pub(crate) fn kafka_connector() -> Value {
    let spec = object(&json!({"class": {"type": "string"}, "tasksMax": whole(), "config": open()}));
    let status = object(&json!({"tasksMax": whole()}));
    definition(
        ("kafka.strimzi.io", "v1"),
        ("KafkaConnector", "kafkaconnectors"),
        (spec, status),
        Some(
            json!({"specReplicasPath": ".spec.tasksMax", "statusReplicasPath": ".status.tasksMax"}),
        ),
    )
}
