//! `Connection` and `ClusterConnection`: where a source is and how to log in. Secrets are named, never written here.
//! No field takes a path of a file.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::login::{Endpoint, HttpLogin, Kafka, Nats, Redis, Server, Sqs};
use super::rules;

/// The kinds, as they are spelled.
pub(super) const KINDS: [&str; 10] = [
    "kafka",
    "prometheus",
    "rabbitmq",
    "redis",
    "postgres",
    "mysql",
    "nats",
    "sqs",
    "http",
    "external",
];

/// Where a source is and how to log in, for the pipelines of one namespace. Reads Secrets of its own namespace only.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "Connection",
    plural = "connections",
    namespaced,
    shortname = "splconn",
    category = "penstock",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&KINDS), rules::ONE_CONNECTION),
]))]
pub struct ConnectionSpec {
    /// Where to, and as whom.
    #[serde(flatten)]
    pub kind: Kinds,
}

/// Where a source is and how to log in, for the namespaces it allows.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "ClusterConnection",
    plural = "clusterconnections",
    shortname = "splcconn",
    category = "penstock",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Secrets","type":"string","jsonPath":".spec.secretNamespace"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&KINDS), rules::ONE_CONNECTION),
    rules::rule_at(".secretNamespace", names_no_secret(), rules::SECRET_NAMESPACE),
]))]
pub struct ClusterConnectionSpec {
    /// Namespace of the Secrets it names, and of what `strimzi` names. It must be listed in the chart's values. Required when
    /// Secrets or strimzi are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub secret_namespace: Option<String>,
    /// Which namespaces may use it, by label. Left out: none. Empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<Selector>,
    /// Where to, and as whom.
    #[serde(flatten)]
    pub kind: Kinds,
}

/// Where to: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kinds {
    /// A Kafka cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// A Prometheus, or what speaks its query API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<HttpLogin>,
    /// A RabbitMQ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<Endpoint>,
    /// A Redis, alone, behind sentinels or as a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// A PostgreSQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Server>,
    /// A MySQL or MariaDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<Server>,
    /// A NATS with JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// An AWS account's SQS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqs: Option<Sqs>,
    /// Anything that answers JSON over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpLogin>,
    /// A KEDA external scaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Endpoint>,
}

/// Chooses objects by their labels; all parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels that must be so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = rules::labels, extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements in the words of Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule_at(
        ".values",
        "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
        "values go with In and NotIn, and only with them"
    ),
]))]
pub struct Requirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what, for In and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// its value is one of these.
    In,
    /// its value is none of these, or there is none.
    NotIn,
    /// there is one.
    Exists,
    /// there is none.
    DoesNotExist,
}

impl Selector {
    /// Do these labels satisfy it? The empty selector is satisfied by all.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    /// Do these labels satisfy it?
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => !value.is_some_and(|value| self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// CEL: a namespace for Secrets is given, or nothing here names one.
fn names_no_secret() -> String {
    let mut names = Vec::new();
    for (kind, paths) in super::login::SECRETS {
        for path in paths {
            let parts: Vec<&str> = path.split('.').collect();
            let mut test = format!("has(self.{kind})");
            let mut at = kind.to_owned();
            for part in parts {
                at = format!("{at}.{part}");
                test = format!("{test} && has(self.{at})");
            }
            names.push(format!("({test})"));
        }
    }
    format!("has(self.secretNamespace) || !({})", names.join(" || "))
}
