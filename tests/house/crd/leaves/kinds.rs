//! The kinds of source besides Kafka that work, each with samples that together write all of its leaves and those of its connection. A leaf
//! is changed by itself: words get longer, numbers larger, and choices another of their words. A new kind has its entry here, and none in
//! `later` and `logins` any more.

use serde_json::{Value, json};

use super::super::put;

/// A kind of source.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) sources: Vec<Value>,
    pub(super) connections: Vec<Value>,
}

/// All of them.
pub(super) fn kinds() -> Vec<Kind> {
    let at = || json!({"kind": "Connection", "name": "events"});
    vec![
        Kind {
            name: "prometheus",
            sources: vec![
                json!({"connectionRef": at(), "query": "sum(x)", "onEmpty": "Zero", "perReplica": "5"}),
            ],
            connections: webs(),
        },
        Kind {
            name: "http",
            sources: vec![
                json!({"connectionRef": at(), "path": "/depth", "jsonPath": "$.n", "perReplica": 5}),
            ],
            connections: webs(),
        },
        Kind {
            name: "external",
            sources: vec![
                json!({"connectionRef": at(), "metadata": {"a": "b"}, "metric": "m", "perReplica": 5}),
            ],
            connections: vec![json!({
                "url": "host:1", "tls": tls(), "usernameSecretRef": secret(), "passwordSecretRef": secret(),
            })],
        },
        Kind {
            name: "redis",
            sources: vec![
                json!({"connectionRef": at(), "list": "todo", "perReplica": 5}),
                json!({"connectionRef": at(), "stream": "todo", "group": "g"}),
            ],
            connections: vec![
                json!({
                    "addresses": ["r:1"], "database": 1, "tls": tls(),
                    "usernameSecretRef": secret(), "passwordSecretRef": secret(),
                    "sentinel": {
                        "master": "m", "usernameSecretRef": secret(), "passwordSecretRef": secret(),
                    },
                }),
                json!({"addresses": ["r:1"], "cluster": true}),
            ],
        },
        Kind {
            name: "sqs",
            sources: vec![json!({
                "connectionRef": at(), "queueUrl": "https://sqs/q", "excludeInFlight": true, "includeDelayed": true,
                "perReplica": 5,
            })],
            connections: vec![json!({
                "region": "eu-central-1", "endpoint": "http://x", "accessKeyIdSecretRef": secret(),
                "secretAccessKeySecretRef": secret(),
            })],
        },
        Kind {
            name: "airflow",
            sources: vec![
                json!({"connectionRef": at(), "queue": "q", "perReplica": 16}),
                json!({"connectionRef": at(), "pool": "p"}),
            ],
            connections: databases(),
        },
        Kind {
            name: "dagster",
            sources: vec![json!({"connectionRef": at(), "pool": "p", "perReplica": 5})],
            connections: databases(),
        },
        Kind {
            name: "lineage",
            sources: vec![json!({"namespace": "n", "dataset": "d", "perReplica": 100})],
            connections: Vec::new(),
        },
        Kind { name: "postgres", sources: queries(), connections: databases() },
        Kind { name: "mysql", sources: queries(), connections: databases() },
        Kind {
            name: "rabbitmq",
            sources: vec![
                json!({"connectionRef": at(), "queue": "q", "vhost": "/", "excludeUnacked": true, "perReplica": 20}),
            ],
            connections: ["https://host", "amqps://host"]
                .map(|url| {
                    json!({
                        "url": url, "tls": tls(), "usernameSecretRef": secret(), "passwordSecretRef": secret(),
                    })
                })
                .to_vec(),
        },
        Kind {
            name: "nats",
            sources: vec![
                json!({"connectionRef": at(), "stream": "s", "consumer": "c", "perReplica": 5}),
            ],
            connections: vec![
                json!({
                    "url": "nats://host", "tls": tls(), "usernameSecretRef": secret(), "passwordSecretRef": secret(),
                }),
                json!({"url": "nats://host", "tokenSecretRef": secret()}),
                json!({"url": "nats://host", "credentialsSecretRef": secret()}),
                json!({"url": "nats://host", "nkeySecretRef": secret()}),
            ],
        },
    ]
}

impl Kind {
    /// The kind of its connections: a preset has none of its own.
    pub(super) fn login(&self) -> &'static str {
        match self.name {
            "airflow" | "dagster" => "postgres",
            name => name,
        }
    }
}

fn secret() -> Value {
    json!({"name": "s", "key": "k"})
}

fn tls() -> Value {
    json!({"caSecretRef": secret(), "certSecretRef": secret(), "keySecretRef": secret()})
}

fn queries() -> Vec<Value> {
    let at = json!({"kind": "Connection", "name": "events"});
    vec![json!({"connectionRef": at, "query": "SELECT count(*) FROM todo", "perReplica": 5})]
}

fn databases() -> Vec<Value> {
    vec![json!({
        "host": "db", "port": 1, "database": "d", "tls": tls(), "usernameSecretRef": secret(),
        "passwordSecretRef": secret(),
    })]
}

/// Every way to log in to an HTTP server.
fn webs() -> Vec<Value> {
    let oauth2 = json!({
        "tokenUrl": "https://tokens/t", "clientIdSecretRef": secret(), "clientSecretSecretRef": secret(),
        "scopes": ["read"],
    });
    vec![
        json!({
            "url": "https://host", "tls": tls(), "usernameSecretRef": secret(), "passwordSecretRef": secret(),
            "headers": {"X-Scope": "a"},
        }),
        json!({"url": "http://host", "tokenSecretRef": secret()}),
        json!({"url": "http://host", "oauth2": oauth2}),
    ]
}

/// Every leaf that a value writes: its path as the schema spells it, and the value with that leaf changed.
pub(super) fn changed_leaves(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    walk(value, "", "", &mut |path, pointer, leaf| {
        let mut after = value.clone();
        put(&mut after, pointer, &otherwise(path, leaf));
        found.push((path.to_owned(), after));
    });
    found
}

fn walk(value: &Value, path: &str, pointer: &str, see: &mut impl FnMut(&str, &str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (name, below) in fields {
                // A map's keys are the owner's.
                let is_map =
                    ["headers", "metadata", "matchLabels"].iter().any(|map| path.ends_with(map));
                let path = if is_map { format!("{path}{{}}") } else { format!("{path}.{name}") };
                walk(below, &path, &format!("{pointer}/{name}"), see);
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                walk(below, &format!("{path}[]"), &format!("{pointer}/{index}"), see);
            }
        }
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            see(path, pointer, leaf);
        }
    }
}

/// Another value that may stand in the same place.
fn otherwise(path: &str, leaf: &Value) -> Value {
    match leaf {
        Value::Bool(it) => (!it).into(),
        Value::Number(number) => (number.as_i64().unwrap() + 1).into(),
        Value::String(text) if path.ends_with("perReplica") && text != "500m" => {
            (text.parse::<i64>().unwrap() + 1).into()
        }
        Value::String(text) => match text.as_str() {
            "Zero" => "Error".into(),
            "Connection" => "ClusterConnection".into(),
            "Latest" => "Earliest".into(),
            "In" => "NotIn".into(),
            "500m" => "600m".into(),
            "ReadCommitted" => "ReadUncommitted".into(),
            text if path.ends_with("bootstrapServers") => format!("x{text}").into(),
            text => format!("{text}x").into(),
        },
        other @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
            panic!("{path}: no other value than {other} is known")
        }
    }
}
