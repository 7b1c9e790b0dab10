//! Tables, as `kubectl get` asks for them: columns of built-in kinds as the real server has them, of custom kinds as their definition
//! says. Called by `view`, `read` and `watch`.

use super::kinds::{Column, Resource};
use super::view;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// How long ago, in kubectl's words: `5s`, `3m`, `4h12m`, `2d3h`, `40d`.
pub(super) fn age(now: Timestamp, then: &str) -> String {
    let Ok(then) = then.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(then).as_secs();
    if seconds < 0 {
        return "<invalid>".to_owned();
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 { format!("{a}{unit}") } else { format!("{a}{unit}{b}{small}") }
    };
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if minutes < 10 => pair(minutes, "m", s % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => pair(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ => pair(days / 365, "y", days % 365, "d"),
    }
}

fn column(name: &str, kind: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": if name == "Name" { "name" } else { "" }, "description": "", "priority": priority})
}

/// A table of objects; without `head` the columns are left out, as in all but the first event of a watch.
pub(super) fn table(
    resource: &Resource,
    objects: &[Arc<Value>],
    head: bool,
    now: Timestamp,
) -> Value {
    let custom;
    let columns: &[(&str, &str, i64)] =
        if resource.custom { &[] } else { columns_of(&resource.kind) };
    let definitions: Vec<Value> = if resource.custom {
        custom = custom_columns(resource);
        custom.iter().map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority})).collect()
    } else {
        columns.iter().map(|(name, kind, priority)| column(name, kind, *priority)).collect()
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells = if resource.custom {
                custom_cells(resource, object, now)
            } else {
                cells(resource, object, now)
            };
            json!({"cells": cells, "object": view::metadata(object)})
        })
        .collect();
    let revision =
        if let [only] = objects { only["metadata"]["resourceVersion"].clone() } else { json!("") };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision},
        "columnDefinitions": if head { json!(definitions) } else { Value::Null },
        "rows": rows
    })
}

fn custom_columns(resource: &Resource) -> Vec<Column> {
    let fixed = |name: &str, kind: &str, format: &str| Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: format.to_owned(),
        description: String::new(),
        priority: 0,
        path: String::new(),
    };
    let mut columns = vec![fixed("Name", "string", "name")];
    if resource.columns.is_empty() {
        columns.push(fixed("Age", "date", ""));
    } else {
        columns.extend(resource.columns.iter().cloned());
    }
    columns
}

fn custom_cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    if resource.columns.is_empty() {
        cells.push(json!(age(
            now,
            object["metadata"]["creationTimestamp"].as_str().unwrap_or_default()
        )));
    }
    for column in &resource.columns {
        let found = find(object, &column.path);
        cells.push(match (found, column.kind.as_str()) {
            (Some(Value::String(text)), "date") => json!(age(now, text)),
            (Some(value), "integer" | "number" | "boolean") if !value.is_string() => value.clone(),
            (Some(Value::String(text)), _) => json!(text),
            (Some(value), _) => json!(value.to_string()),
            (None, _) => Value::Null,
        });
    }
    cells
}

/// The value at a `JSONPath` of fields, indexes and simple filters: `.status.conditions[?(@.type=="Ready")].status`.
pub(super) fn find<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let mut at = object;
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = inner.split_once(']')?;
            rest = after;
            at = if let Some(filter) = inside.strip_prefix("?(@.").and_then(|f| f.strip_suffix(')'))
            {
                let (key, wanted) = filter.split_once("==")?;
                let wanted = wanted.trim().trim_matches(['"', '\'']);
                at.as_array()?
                    .iter()
                    .find(|item| item.get(key.trim()).and_then(Value::as_str) == Some(wanted))?
            } else if let Ok(i) = inside.parse::<usize>() {
                at.get(i)?
            } else {
                at.get(inside.trim_matches(['"', '\'']))?
            };
            continue;
        }
        rest = rest.trim_start_matches('.');
        // A dot or bracket with a backslash belongs to the name, as in annotation keys.
        let mut name = String::new();
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    end = i;
                    break;
                }
                c => name.push(c),
            }
        }
        rest = &rest[end..];
        at = at.get(&name)?;
    }
    (!at.is_null()).then_some(at)
}

fn columns_of(kind: &str) -> &'static [(&'static str, &'static str, i64)] {
    match kind {
        "Pod" => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
        "Deployment" => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Up-to-date", "string", 0),
            ("Available", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        "ReplicaSet" => &[
            ("Name", "string", 0),
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        "StatefulSet" => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
        ],
        "Namespace" => &[("Name", "string", 0), ("Status", "string", 0), ("Age", "string", 0)],
        "Node" => &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
        ],
        "Event" => &[
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Message", "string", 0),
        ],
        "Lease" => &[("Name", "string", 0), ("Holder", "string", 0), ("Age", "string", 0)],
        "ConfigMap" => &[("Name", "string", 0), ("Data", "string", 0), ("Age", "string", 0)],
        "Secret" => &[
            ("Name", "string", 0),
            ("Type", "string", 0),
            ("Data", "string", 0),
            ("Age", "string", 0),
        ],
        "CustomResourceDefinition" => &[("Name", "string", 0), ("Created At", "date", 0)],
        _ => &[("Name", "string", 0), ("Age", "string", 0)],
    }
}

fn images(object: &Value) -> (String, String) {
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let list = |key: &str| {
        containers
            .into_iter()
            .flatten()
            .filter_map(|c| c[key].as_str())
            .collect::<Vec<_>>()
            .join(",")
    };
    (list("name"), list("image"))
}

fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let size = |pointer: &str| {
        object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
    };
    let name = json!(text("/metadata/name"));
    let old = json!(age(now, text("/metadata/creationTimestamp")));
    let (containers, images) = images(object);
    let selector = super::selector::Selector::text(&object["spec"]["selector"]);
    match resource.kind.as_str() {
        "Pod" => pod_cells(object, old),
        "Deployment" => {
            let ready = format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"));
            vec![
                name,
                json!(ready),
                json!(count("/status/updatedReplicas")),
                json!(count("/status/availableReplicas")),
                old,
                json!(containers),
                json!(images),
                json!(selector),
            ]
        }
        "ReplicaSet" => vec![
            name,
            json!(count("/spec/replicas")),
            json!(count("/status/replicas")),
            json!(count("/status/readyReplicas")),
            old,
            json!(containers),
            json!(images),
            json!(selector),
        ],
        "StatefulSet" => vec![
            name,
            json!(format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"))),
            old,
            json!(containers),
            json!(images),
        ],
        "Namespace" => vec![name, json!(text("/status/phase")), old],
        "Node" => {
            let ready = find(object, ".status.conditions[?(@.type==\"Ready\")].status")
                .is_some_and(|s| s == "True");
            vec![
                name,
                json!(if ready { "Ready" } else { "NotReady" }),
                json!("<none>"),
                old,
                json!(text("/status/nodeInfo/kubeletVersion")),
            ]
        }
        "Event" => {
            let seen =
                ["/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"]
                    .iter()
                    .map(|p| text(p))
                    .find(|t| !t.is_empty());
            let about = format!(
                "{}/{}",
                text("/involvedObject/kind").to_lowercase(),
                text("/involvedObject/name")
            );
            vec![
                json!(age(now, seen.unwrap_or_default())),
                json!(text("/type")),
                json!(text("/reason")),
                json!(about),
                json!(text("/message")),
            ]
        }
        "Lease" => vec![name, json!(text("/spec/holderIdentity")), old],
        "ConfigMap" => vec![name, json!(size("/data") + size("/binaryData")), old],
        "Secret" => vec![name, json!(text("/type")), json!(size("/data")), old],
        "CustomResourceDefinition" => vec![name, json!(text("/metadata/creationTimestamp"))],
        _ => vec![name, old],
    }
}

fn pod_cells(object: &Value, old: Value) -> Vec<Value> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let statuses = object.pointer("/status/containerStatuses").and_then(Value::as_array);
    let all = object.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    let ready = statuses.into_iter().flatten().filter(|s| s["ready"] == true).count();
    let restarts: i64 =
        statuses.into_iter().flatten().filter_map(|s| s["restartCount"].as_i64()).sum();
    let waiting =
        statuses.into_iter().flatten().find_map(|s| s.pointer("/state/waiting/reason")?.as_str());
    let status = if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else {
        waiting.unwrap_or_else(|| text("/status/phase"))
    };
    let or_none = |text: &str| json!(if text.is_empty() { "<none>" } else { text });
    vec![
        json!(text("/metadata/name")),
        json!(format!("{ready}/{all}")),
        json!(status),
        json!(restarts.to_string()),
        old,
        or_none(text("/status/podIP")),
        or_none(text("/spec/nodeName")),
        or_none(text("/status/nominatedNodeName")),
        or_none(""),
    ]
}
